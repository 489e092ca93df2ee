"""Seconds of one update of eight models, sixteen on a GPU, one after another and packed as one, on one core and two.

    python -m pytest tests/benchmarks/bench_packs.py --benchmark-enable --benchmark-group-by=param:case,param:threads

Where packing pays, and so what `bench.packs.SMALL` is, is read off here, for a GPU with BENCH_DEVICE=cuda; extra_info
has the floating-point operations of an update's forward pass, and the updates of single models a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.utils.flop_counter import FlopCounterMode

from bench.packed_training import Pack, global_stream
from bench.packs import MOST
from bench.registry import find_method
from methods.base import Shape
from tests.benchmarks.clocks import until_done

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
LARGER: dict[str, tuple[str, Shape, int, dict[str, Any]]] = {
    "w2gn-D256": ("w2gn", 256, 256, {}),
    "vae-conv-64x64": ("vae", (3, 64, 64), 64, {}),
    "vae-dcgan-64x64": ("vae", (3, 64, 64), 64, {"network": "dcgan", "width": 128}),
}
"""For a GPU, which all the others leave idle."""
ROUNDS = {"cpu": 10, "cuda": 30}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


@pytest.mark.parametrize("packed", [False, True], ids=["one-by-one", "packed"])
def test_eight_updates(benchmark: BenchmarkFixture, case: str, threads: int, packed: bool, cpu: torch.device) -> None:
    time_updates(benchmark, CASES[case], packed, cpu)


@pytest.mark.parametrize("packed", [False, True], ids=["one-by-one", "packed"])
@pytest.mark.parametrize("case", [*CASES, *LARGER])
def test_sixteen_updates(benchmark: BenchmarkFixture, case: str, packed: bool, gpu: torch.device) -> None:
    time_updates(benchmark, (CASES | LARGER)[case], packed, gpu)


def time_updates(
    benchmark: BenchmarkFixture, case: tuple[str, Shape, int, dict[str, Any]], packed: bool, device: torch.device
) -> None:
    """Of as many models as a pack on the device has at most."""
    name, shape, batch_size, params = case
    methods, batches, states = [], [], []
    for seed in range(MOST[device.type]):
        torch.manual_seed(seed)
        method: Any = find_method(name)(shape, **params).to(device)
        method.planned_steps, method.steps_per_epoch = 1000, 100
        methods.append(method)
        if isinstance(shape, tuple):
            batches.append((torch.rand(batch_size, *shape, device=device),))
        else:
            batches.append(tuple(torch.randn(2, batch_size, shape, device=device)))
        states.append(global_stream(device))
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

    benchmark.pedantic(until_done(update), rounds=ROUNDS[device.type], warmup_rounds=2)
    benchmark.extra_info["forward_operations"] = counter.get_total_flops()
    benchmark.extra_info["models_a_second"] = len(methods) / benchmark.stats.stats.min
