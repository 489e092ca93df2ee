"""What is specific to each transport method; the contract they share is tested elsewhere."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from datasets.pairs.gaussians import Gaussians
from methods.base import Sampler, TransportMap, Unsupported
from methods.transport.constant import Constant
from methods.transport.identity import Identity
from methods.transport.linear import MOMENT_CHUNK, Linear, gaussian_map, sample_moments
from methods.transport.lsot import LSOT, Regularizer
from methods.transport.w2gn import W2GN


def samplers(pair: Gaussians, seed: int = 0) -> tuple[Sampler, Sampler]:
    draws = torch.Generator().manual_seed(seed)
    return lambda count: pair.source(count, draws), lambda count: pair.target(count, draws)


def train(method: TransportMap, pair: Gaussians, steps: int, batch_size: int) -> TransportMap:
    """Runs a method through prepare and its steps as the harness does."""
    method.planned_steps = steps
    source, target = samplers(pair)
    for _ in method.prepare(source, target) or ():
        pass
    for _ in range(steps):
        losses = method.train_step(source(batch_size), target(batch_size))
        assert all(loss.isfinite() for loss in losses.values())
    return method.eval()


def pretrain(method: TransportMap, source: Sampler, target: Sampler) -> list[float]:
    """The mean squared errors of the identity, step by step."""
    return [losses["identity"].item() for losses in method.prepare(source, target)]


def uvp(mapped: Tensor, true_mapped: Tensor, variance: float) -> float:
    return float(100 * (mapped.detach() - true_mapped).square().sum(dim=1).mean() / variance)


# Reference maps


def test_identity_moves_nothing():
    points = torch.randn(5, 3)
    assert torch.equal(Identity(3).push(points), points)
    assert torch.equal(Identity(3).pull(points), points)


def test_constant_sends_all_to_the_means():
    method = Constant(2)
    method.prepare(lambda n: torch.randn(n, 2) - 5, lambda n: torch.randn(n, 2) + 7)
    points = torch.randn(4, 2)
    torch.testing.assert_close(method.push(points), torch.full((4, 2), 7.0), atol=0.03, rtol=0)
    torch.testing.assert_close(method.pull(points), torch.full((4, 2), -5.0), atol=0.03, rtol=0)


@pytest.mark.parametrize("count", [MOMENT_CHUNK - 1, MOMENT_CHUNK, 2 * MOMENT_CHUNK + 3])
def test_moments_in_chunks_are_moments_of_all_draws(count: int):
    points = torch.randn(count, 3) * torch.tensor([1.0, 10.0, 0.1]) + 1000
    unread = iter(points.split(1))
    mean, covariance = sample_moments(lambda n: torch.cat([next(unread) for _ in range(n)]), count)
    assert next(unread, None) is None
    torch.testing.assert_close(mean, points.double().mean(dim=0))
    torch.testing.assert_close(covariance, torch.cov(points.double().T))


def test_map_between_equal_gaussians_is_the_identity():
    factor = torch.randn(4, 4, dtype=torch.float64)
    torch.testing.assert_close(gaussian_map(factor @ factor.T, factor @ factor.T), torch.eye(4, dtype=torch.float64))


def test_map_from_a_flat_gaussian_is_finite_and_flat():
    flat = torch.diag(torch.tensor([4.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(gaussian_map(flat, torch.eye(2, dtype=torch.float64)), torch.diag(flat.diag() / 8))


def test_linear_pull_inverts_push():
    pair = Gaussians(dim=8)
    method = Linear(8)
    method.prepare(*samplers(pair))
    points = samplers(pair)[0](100)
    torch.testing.assert_close(method.pull(method.push(points)), points, atol=1e-4, rtol=1e-4)


# W2GN


def test_w2gn_pretraining_stops_at_the_identity_with_equal_potentials():
    torch.manual_seed(0)
    pair = Gaussians(dim=2)
    method = W2GN(2, pretrain_tolerance=5e-4)
    source, target = samplers(pair)
    residuals = pretrain(method, source, target)
    assert 1 < len(residuals) < method.pretraining.steps
    assert residuals[-1] < 5e-4 < residuals[-2]
    points = source(1000)
    assert (method.push(points) - points).square().mean() < 5e-3
    assert torch.equal(method.push(points), method.pull(points))


@pytest.mark.parametrize(
    ("points", "mean", "std"), [("normal", 0.0, 2.0), ("uniform", 0.5, 2 / math.sqrt(12)), ("source", 10.0, 6.0)]
)
@pytest.mark.parametrize("optimizer", ["adam", "adamax"])
def test_w2gn_pretrains_on_the_points_asked_for(points, mean, std, optimizer):
    torch.manual_seed(0)
    settings = {"pretrain_points": points, "pretrain_scale": 2.0, "pretrain_optimizer": optimizer}
    method = W2GN(3, hidden=(32, 32), batch_size_pretrain=4096, pretrain_steps=300, **settings)
    seen = []
    gradient = method.potential.gradient
    method.potential.gradient = lambda points: seen.append(points) or gradient(points)
    errors = pretrain(method, lambda n: 3 * torch.randn(n, 3) + 5, lambda n: torch.randn(n, 3))
    assert errors[-1] < 0.05 * errors[0]
    for drawn in seen:
        assert drawn.mean().item() == pytest.approx(mean, abs=0.2)
        assert drawn.std().item() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("reverse", [False, True])
def test_w2gn_recovers_the_optimal_map_its_inverse_and_the_distance(reverse):
    torch.manual_seed(0)
    pair = Gaussians(dim=4)
    method = train(W2GN(4, hidden=(64, 64, 32), reverse=reverse, pretrain_steps=200), pair, steps=250, batch_size=256)
    source, target = samplers(pair, seed=1)
    points, images = source(4096), target(4096)
    assert uvp(method.push(points), pair.true_map(points), pair.target_variance) < 1
    assert uvp(method.pull(pair.true_map(points)), points, pair.source_variance) < 1
    torch.testing.assert_close(method.pull(method.push(points)), points, atol=0.5, rtol=0.1)

    correlation = torch.linalg.svdvals(torch.from_numpy(pair.source_factor.T @ pair.target_factor)).sum()
    half_squared_distance = pair.source_variance - correlation.item()
    assert method.train_step(points, images)["dual"].item() == pytest.approx(-half_squared_distance, rel=0.05)


def test_w2gn_reversed_is_w2gn_from_the_target_to_the_source():
    methods = []
    for reverse in (False, True):
        torch.manual_seed(0)
        methods.append(W2GN(3, hidden=(8, 8), reverse=reverse, pretrain_steps=3))
    forward, backward = methods
    left, right = 2 * torch.randn(20, 3), torch.randn(20, 3)
    pretrain(forward, lambda n: left, lambda n: right)
    pretrain(backward, lambda n: right, lambda n: left)
    forward.train_step(left, right)
    backward.train_step(right, left)
    assert torch.equal(forward.push(left), backward.pull(left))
    assert torch.equal(forward.pull(right), backward.push(right))
    assert not torch.equal(forward.push(left), forward.pull(left))


def test_w2gn_with_convolutions_recovers_a_change_of_contrast():
    torch.manual_seed(0)

    def source(count: int) -> Tensor:
        return torch.rand(count, 1, 1).expand(count, 8, 8).flatten(start_dim=1) + 0.1 * torch.rand(count, 64)

    method = W2GN(
        (1, 8, 8),
        network="conv",
        width=8,
        init_std=0.2,
        cycle_weight=100.0,
        lr=1e-3,
        batch_size_pretrain=32,
        pretrain_steps=200,
        pretrain_optimizer="adamax",
        pretrain_lr=3e-3,
        pretrain_points="uniform",
        pretrain_scale=2.0,
    )
    assert pretrain(method, source, source)[-1] < 0.006
    for _ in range(100):
        method.train_step(source(32), source(32) / 2)
    points = source(1024)
    variance = points.var(dim=0).sum().item()
    assert uvp(method.push(points), points / 2, variance / 4) < 5
    assert uvp(method.pull(points / 2), points, variance) < 10


def test_w2gn_with_convolutions_needs_images():
    with pytest.raises(ValueError, match='network = "conv" needs points that are images'):
        W2GN(64, network="conv")


@pytest.mark.parametrize("cycle_source", [True, False])
def test_w2gn_descends_the_papers_loss(cycle_source: bool):
    """The gradient of the loss, written with nested automatic differentiation."""
    torch.manual_seed(0)
    method = W2GN(3, hidden=(8, 8), init_std=0.5, l1=0.01, cycle_weight=2.0, cycle_source=cycle_source).double()
    source_points, target_points = torch.randn(2, 20, 3, dtype=torch.float64)

    def gradient_map(potential, points):
        points = points if points.requires_grad else points.clone().requires_grad_()
        return torch.autograd.grad(potential(points).sum(), points, create_graph=True)[0]

    inverse = gradient_map(method.conjugate, target_points)
    cycle = (gradient_map(method.potential, inverse) - target_points).square().mean()
    if cycle_source:
        pushed = gradient_map(method.potential, source_points)
        cycle = cycle + (gradient_map(method.conjugate, pushed) - source_points).square().mean()
    weights = list(method.parameters())
    loss = (method.potential(source_points) - method.potential(inverse.detach())).mean() + 2 * cycle
    loss = loss + 0.01 * sum(weight.abs().sum() for weight in weights)
    expected = torch.autograd.grad(loss, weights)

    losses = method.train_step(source_points, target_points)
    assert losses["cycle"].item() == pytest.approx(cycle.item())
    for weight, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient)


def test_w2gn_stays_convex_as_it_trains():
    torch.manual_seed(0)
    pair = Gaussians(dim=2)
    method = train(W2GN(2, hidden=(16, 16), pretrain_steps=5, lr=0.1), pair, steps=20, batch_size=64)
    for network in (method.potential, method.conjugate):
        assert all(weight.min() >= 0 for weight in (*network.convex_weights, network.output_weight))


def test_w2gn_takes_widths_and_cycle_weight_from_the_dimension():
    small, large = W2GN(2), W2GN(256)
    assert small.potential.hidden == (128, 128, 64)
    assert large.potential.hidden == (256, 256, 256)
    assert small.cycle_weight == 2
    assert large.cycle_weight == 50
    assert W2GN(2, hidden=(16,), cycle_weight=7.0).cycle_weight == 7


# LSOT


@pytest.mark.parametrize("kind", ["l2", "entropic"])
def test_lsot_density_is_the_derivative_of_the_penalty(kind):
    regularizer = Regularizer(kind, epsilon=0.5)
    slack = torch.linspace(-20, 30, 101, dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(regularizer.penalty(slack).sum(), slack)
    torch.testing.assert_close(derivative, regularizer.density(slack.detach()))


def test_lsot_penalties_are_the_papers():
    slack = torch.tensor([-1.0, 0.0, 1.0])
    torch.testing.assert_close(Regularizer("l2", 0.5).penalty(slack), torch.tensor([0.0, 0.0, 0.5]))
    torch.testing.assert_close(Regularizer("entropic", 0.5).penalty(slack), 0.5 * (slack / 0.5).exp())


def test_lsot_trains_the_dual_then_the_map():
    torch.manual_seed(0)
    method = LSOT(2, dual_share=0.3)
    method.planned_steps = 10
    method.prepare(torch.zeros, torch.zeros)
    trained = []
    for _ in range(10):
        before = {name: weight.clone() for name, weight in method.solver.named_parameters()}
        (loss_name,) = method.train_step(torch.randn(32, 2), torch.randn(32, 2))
        now = method.solver.named_parameters()
        trained.append((loss_name, {name.split(".")[0] for name, weight in now if not weight.equal(before[name])}))
    assert trained[:3] == [("dual", {"source_potential", "target_potential"})] * 3
    assert trained[3:] == [("map", {"map"})] * 7


def test_lsot_approaches_the_optimal_map_in_the_plane():
    torch.manual_seed(0)
    pair = Gaussians(dim=2)
    method = train(LSOT(2, lr=2e-3), pair, steps=800, batch_size=128)
    points = samplers(pair, seed=1)[0](4096)
    assert uvp(method.push(points), pair.true_map(points), pair.target_variance) < 8


@pytest.mark.parametrize("reading", ["barycentric", "gradient"])
def test_lsot_with_little_entropy_stays_finite_in_high_dimension(reading):
    torch.manual_seed(0)
    method = LSOT(64, map=reading, regularization="entropic", epsilon=0.01, lr=0.05, pretrain_steps=5)
    train(method, Gaussians(dim=64), steps=200, batch_size=64)


def test_gradients_of_lsot_descend_the_w2_benchmarks_loss():
    """The i-th point of the source meets the i-th of the target alone."""
    torch.manual_seed(0)
    method = LSOT(3, map="gradient", epsilon=0.5)
    pair = method.solver
    source_points, target_points = torch.randn(2, 20, 3)
    source_values, target_values = pair.potential(source_points), pair.conjugate(target_points)
    excess = ((source_points * target_points).sum(dim=1) - source_values - target_values).relu()
    loss = source_values.mean() + target_values.mean() + excess.square().mean() / 2
    assert excess.max() > 0
    expected = torch.autograd.grad(loss, list(pair.parameters()))
    half_squares = (source_points.square() + target_points.square()).sum(dim=1).mean() / 2

    losses = method.train_step(source_points, target_points)
    assert losses["dual"].item() == pytest.approx((loss - half_squares).item(), rel=1e-4)
    for weight, gradient in zip(pair.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient)


@pytest.mark.parametrize(
    ("regularization", "epsilon", "slope", "worst"),
    [("l2", 0.03, 2.0, 6), ("entropic", 1.0, (math.sqrt(17) - 1) / 2, 1)],
    ids=["l2", "entropic"],
)
def test_gradients_of_lsot_double_every_point(regularization, epsilon, slope, worst):
    """N(0, I) to N(0, 4 I); with entropy ε the map has the slope ½(√(16 + ε²) - ε) (Janati et al. 2020)."""
    torch.manual_seed(0)
    method = LSOT(2, map="gradient", regularization=regularization, epsilon=epsilon, lr=3e-3, pretrain_steps=100)
    pretrain(method, lambda n: torch.randn(n, 2), lambda n: torch.randn(n, 2))
    for _ in range(1000):
        method.train_step(torch.randn(256, 2), 2 * torch.randn(256, 2))
    points = torch.randn(4096, 2)
    assert uvp(method.push(points), slope * points, 8) < worst
    assert uvp(method.pull(2 * points), slope / 2 * points, 2) < worst


def test_barycentric_lsot_has_no_inverse():
    with pytest.raises(Unsupported, match="no inverse"):
        LSOT(2).pull(torch.zeros(1, 2))


@pytest.mark.parametrize(("option", "message"), [({"epsilon": 0.0}, "positive"), ({"dual_share": 1.0}, "both stages")])
def test_lsot_refuses_settings_it_cannot_run(option, message):
    with pytest.raises(ValueError, match=message):
        LSOT(2, **option)
