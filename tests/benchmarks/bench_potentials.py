"""Seconds of the gradients of potentials in closed form, beside those by automatic differentiation, one thread.

Maps alone, and one update of W2GN with both potentials' gradients made each way: there automatic differentiation goes
backward through its own backward pass.

python -m pytest tests/benchmarks/bench_potentials.py --benchmark-enable
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from methods.parts.icnn import Potential
from methods.transport.w2gn import W2GN

METHODS: dict[str, tuple[Callable[[], W2GN], int]] = {
    "dense-D64": (lambda: W2GN(64), 256),
    "dense-D256": (lambda: W2GN(256), 256),
    "conv-64x64-width16": (lambda: W2GN((3, 64, 64), network="conv", width=16), 4),
    "conv-32x32-width64": (lambda: W2GN((3, 32, 32), network="conv", width=64), 4),
}
"""A method and its batch size."""


@pytest.fixture(params=list(METHODS))
def made(request: pytest.FixtureRequest) -> tuple[W2GN, Tensor, Tensor]:
    make, batch_size = METHODS[request.param]
    torch.manual_seed(0)
    method = make()
    points, images = torch.rand(2, batch_size, method.dim)
    return method, points, images


@pytest.fixture(params=["closed-form", "autograd"])
def prepared(
    request: pytest.FixtureRequest, made: tuple[W2GN, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> tuple[W2GN, Tensor, Tensor]:
    if request.param == "autograd":
        monkeypatch.setattr(Potential, "value_and_gradient", by_autograd)
        monkeypatch.setattr(Potential, "gradient", lambda *arguments: by_autograd(*arguments)[1])
    return made


def by_autograd(potential: Potential, points: Tensor) -> tuple[Tensor, Tensor]:
    """ψ and ∇ψ; both can be differentiated again where gradients are enabled."""
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        if not points.requires_grad:
            points = points.clone().requires_grad_()
        values = potential(points)
        (gradient,) = torch.autograd.grad(values.sum(), points, create_graph=differentiable)
    return values, gradient


def test_map(benchmark: BenchmarkFixture, prepared: tuple[W2GN, Tensor, Tensor]) -> None:
    method, points, _ = prepared
    method.eval()
    with torch.no_grad():
        pushed = benchmark.pedantic(method.push, (points,), rounds=10, warmup_rounds=2)
    assert math.isfinite(pushed.sum())


def test_update(benchmark: BenchmarkFixture, prepared: tuple[W2GN, Tensor, Tensor]) -> None:
    method, points, images = prepared
    losses = benchmark.pedantic(method.train_step, (points, images), rounds=5, warmup_rounds=1)
    assert math.isfinite(losses["loss"])
