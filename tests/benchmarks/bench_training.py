"""Seconds of one update of each method as its paper has it, on batches of random data, one thread.

    python -m pytest tests/benchmarks/bench_training.py --benchmark-enable         # BENCH_DEVICE=cuda: on a GPU

Autoencoders: batches of 64 images. Transport maps: batches of 256 points. Nothing is prepared: pretraining changes
weights, and not what an update costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.registry import all_methods, kind_of
from methods.base import Shape
from tests.benchmarks.clocks import until_done

IMAGES = {"28x28": (1, 28, 28), "64x64": (3, 64, 64)}
DIMS = (8, 64, 256)
PLANNED_STEPS = 10_000
ROUNDS = {"cpu": 5, "cuda": 50}


def cases() -> Iterator[Any]:
    for name, method in all_methods().items():
        if not method.trains:
            continue
        if kind_of(method) == "autoencoding":
            for label, shape in IMAGES.items():
                yield pytest.param(name, shape, id=f"{name}-{label}")
        else:
            for dim in DIMS:
                yield pytest.param(name, dim, id=f"{name}-D{dim}")


@pytest.mark.parametrize(("name", "shape"), list(cases()))
def test_update(benchmark: BenchmarkFixture, name: str, shape: Shape, device: torch.device) -> None:
    torch.manual_seed(0)
    method: Any = all_methods()[name](shape).to(device)
    method.planned_steps, method.steps_per_epoch = PLANNED_STEPS, PLANNED_STEPS // 100
    if isinstance(shape, tuple):
        batch = [torch.rand(64, *shape, device=device)]
    else:
        batch = list(torch.randn(2, 256, shape, device=device))

        def draw(count: int) -> torch.Tensor:
            return torch.randn(count, method.dim, device=device)

        method.draw_images = draw  # what minimax solvers keep of the samplers as they are prepared
    losses = benchmark.pedantic(until_done(method.train_step), batch, rounds=ROUNDS[device.type], warmup_rounds=1)
    benchmark.extra_info["updates_a_second"] = 1 / benchmark.stats.stats.min
    assert math.isfinite(next(iter(losses.values())).detach())
