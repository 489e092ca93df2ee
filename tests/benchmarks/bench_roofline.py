"""Seconds of one update of the largest cases, and its share of the device's speed in matrix products, one thread.

    python -m pytest tests/benchmarks/bench_roofline.py --benchmark-enable         # BENCH_DEVICE=cuda: on a GPU

An update's operations are those of its matrix products and convolutions, counted as torch is asked for them. The speed
that they attain is set beside that of a large square matrix product in float32, one before each round; both are of the
fastest round, on as many threads, and on a GPU without TF32, as trials are. 1 - share is the gap to this roof, which is
that of computing: bytes are not counted, so that an update may be held up by memory, or by being launched, below it.
"""

from __future__ import annotations

from collections.abc import Callable
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
from tests.benchmarks.side_by_side import seconds

CASES: dict[str, tuple[str, Shape, int, dict[str, Any]]] = {
    "w2gn-D256": ("w2gn", 256, 256, {}),
    "wae-mmd-conv-64x64": ("wae-mmd", (3, 64, 64), 64, {"network": "conv", "width": 32}),
    "wae-mmd-dcgan-64x64": ("wae-mmd", (3, 64, 64), 64, {"network": "dcgan", "width": 128}),
}
"""Method, shape, batch size, hyperparameters."""
SIDE = {"cpu": 2048, "cuda": 8192}
"""Of the square matrices."""
ROUNDS = {"cpu": 5, "cuda": 50}

Update = Callable[[], Any]


@pytest.mark.parametrize("case", list(CASES))
def test_update(benchmark: BenchmarkFixture, case: str, device: torch.device) -> None:
    name, shape, batch_size, params = CASES[case]
    method, batch = make(name, shape, batch_size, params, device)
    time_update(benchmark, lambda: method.train_step(*batch), device)


def test_update_of_a_pack(benchmark: BenchmarkFixture, device: torch.device) -> None:
    """Of w2gn, D = 64, with as many models as a pack on the device has at most."""
    methods, batches = zip(*(make("w2gn", 64, 256, {}, device) for _ in range(MOST[device.type])), strict=True)
    pack = Pack(methods, [global_stream(device)] * len(methods))
    time_update(benchmark, lambda: pack.step(batches), device)


def make(
    name: str, shape: Shape, batch_size: int, params: dict[str, Any], device: torch.device
) -> tuple[Any, list[torch.Tensor]]:
    """A method and a batch of random data, on the device."""
    torch.manual_seed(0)
    method: Any = find_method(name)(shape, **params).to(device)
    method.planned_steps, method.steps_per_epoch = 1000, 100
    if isinstance(shape, tuple):
        return method, [torch.rand(batch_size, *shape, device=device)]
    return method, list(torch.randn(2, batch_size, shape, device=device))


def operations(update: Update) -> int:
    """Additions and multiplications of an update's matrix products and convolutions, after a first one, in which
    packs look whether they agree with their models."""
    update()
    with FlopCounterMode(display=False) as counter:
        update()
    return counter.get_total_flops()


def time_update(benchmark: BenchmarkFixture, update: Update, device: torch.device) -> None:
    count = operations(update)
    side = SIDE[device.type]
    left, right, product = torch.randn(3, side, side, device=device)
    products: list[float] = []

    def one_product() -> None:
        products.append(seconds(lambda steps: torch.mm(left, right, out=product), 1))

    one_product()
    benchmark.pedantic(until_done(update), setup=one_product, rounds=ROUNDS[device.type])
    attained, roof = count / benchmark.stats.stats.min, 2 * side**3 / min(products)
    benchmark.extra_info |= {
        "GFLOP": count / 1e9,
        "GFLOP_a_second": attained / 1e9,
        "GFLOP_a_second_of_a_matrix_product": roof / 1e9,
        "share": attained / roof,
    }
