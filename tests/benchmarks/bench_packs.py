"""Seconds of one update of eight models, one after another and packed as one, on one core and two.

    python -m pytest tests/benchmarks/bench_packs.py --benchmark-enable --benchmark-group-by=param:case,param:threads

Where packing pays, and so what `bench.packs.SMALL` is for a CPU, is read off here; extra_info has the floating-point
operations of an update's forward pass, and the updates of single models a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.utils.flop_counter import FlopCounterMode

from bench.packed_training import Pack, global_stream
from bench.registry import find_method
from methods.base import Shape

MODELS = 8
CASES: dict[str, tuple[str, Shape, int, dict[str, Any]]] = {
    "w2gn-D2-narrow": ("w2gn", 2, 64, {"hidden": (16, 16)}),
    "w2gn-D2": ("w2gn", 2, 256, {}),
    "w2gn-D8": ("w2gn", 8, 256, {}),
    "w2gn-D16": ("w2gn", 16, 256, {}),
    "w2gn-D64": ("w2gn", 64, 256, {}),
    "vae-mlp-8x8": ("vae", (1, 8, 8), 64, {"network": "mlp", "width": 8, "latent_dim": 8}),
    "wae-mmd-mlp-8x8": ("wae-mmd", (1, 8, 8), 64, {"network": "mlp", "width": 8, "latent_dim": 8}),
    "vae-mlp-28x28": ("vae", (1, 28, 28), 64, {"network": "mlp"}),
    "vae-conv-28x28-narrow": ("vae", (1, 28, 28), 64, {"width": 4}),
    "vae-conv-28x28": ("vae", (1, 28, 28), 64, {}),
}
"""Method, shape, batch size, hyperparameters."""


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


@pytest.mark.parametrize("packed", [False, True], ids=["one-by-one", "packed"])
def test_eight_updates(benchmark: BenchmarkFixture, case: str, threads: int, packed: bool) -> None:
    name, shape, batch_size, params = CASES[case]
    methods, batches, states = [], [], []
    for seed in range(MODELS):
        torch.manual_seed(seed)
        method: Any = find_method(name)(shape, **params)
        method.planned_steps, method.steps_per_epoch = 1000, 100
        methods.append(method)
        is_image = isinstance(shape, tuple)
        batches.append((torch.rand(batch_size, *shape),) if is_image else tuple(torch.randn(2, batch_size, shape)))
        states.append(global_stream(torch.device("cpu")))
    with FlopCounterMode(display=False) as counter:
        methods[0].objective(*batches[0])
    if packed:
        pack = Pack(methods, states)

        def update() -> None:
            pack.step(batches)
    else:

        def update() -> None:
            for method, batch in zip(methods, batches, strict=True):
                method.train_step(*batch)

    benchmark.pedantic(update, rounds=10, warmup_rounds=2)
    benchmark.extra_info["forward_operations"] = counter.get_total_flops()
    benchmark.extra_info["models_a_second"] = MODELS / benchmark.stats.stats.min
