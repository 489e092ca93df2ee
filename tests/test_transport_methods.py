"""What is specific to each transport method; the contract they share is tested elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from datasets.pairs.gaussians import Gaussians
from methods.base import Sampler, TransportMap, Unsupported
from methods.transport.constant import Constant
from methods.transport.identity import Identity
from methods.transport.linear import MOMENT_CHUNK, Linear, gaussian_map, sample_moments
from methods.transport.lsot import LSOT
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
    residuals = [losses["identity"].item() for losses in method.prepare(source, target)]
    assert 1 < len(residuals) < method.pretraining.steps
    assert residuals[-1] < 5e-4 < residuals[-2]
    points = source(1000)
    assert (method.push(points) - points).square().mean() < 5e-3
    assert torch.equal(method.push(points), method.pull(points))


def test_w2gn_recovers_the_optimal_map_its_inverse_and_the_distance():
    torch.manual_seed(0)
    pair = Gaussians(dim=4)
    method = train(W2GN(4, pretrain_steps=200), pair, steps=300, batch_size=256)
    source, target = samplers(pair, seed=1)
    points, images = source(4096), target(4096)
    assert uvp(method.push(points), pair.true_map(points), pair.target_variance) < 1
    assert uvp(method.pull(pair.true_map(points)), points, pair.source_variance) < 1
    torch.testing.assert_close(method.pull(method.push(points)), points, atol=0.5, rtol=0.1)

    correlation = torch.linalg.svdvals(torch.from_numpy(pair.source_factor.T @ pair.target_factor)).sum()
    half_squared_distance = pair.source_variance - correlation.item()
    assert method.train_step(points, images)["dual"].item() == pytest.approx(-half_squared_distance, rel=0.05)


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


@pytest.mark.parametrize("regularization", ["l2", "entropic"])
def test_lsot_density_is_the_derivative_of_the_penalty(regularization):
    method = LSOT(2, regularization=regularization, epsilon=0.5)
    slack = torch.linspace(-20, 30, 101, dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(method.penalty(slack).sum(), slack)
    torch.testing.assert_close(derivative, method.density(slack.detach()))


def test_lsot_penalties_are_the_papers():
    slack = torch.tensor([-1.0, 0.0, 1.0])
    torch.testing.assert_close(LSOT(2, epsilon=0.5).penalty(slack), torch.tensor([0.0, 0.0, 0.5]))
    entropic = LSOT(2, regularization="entropic", epsilon=0.5)
    torch.testing.assert_close(entropic.penalty(slack), 0.5 * (slack / 0.5).exp())


def test_lsot_trains_the_dual_then_the_map():
    torch.manual_seed(0)
    method = LSOT(2, dual_share=0.3)
    method.planned_steps = 10
    trained = []
    for _ in range(10):
        before = {name: weight.clone() for name, weight in method.named_parameters()}
        (loss_name,) = method.train_step(torch.randn(32, 2), torch.randn(32, 2))
        moved = {name.split(".")[0] for name, weight in method.named_parameters() if not weight.equal(before[name])}
        trained.append((loss_name, moved))
    assert trained[:3] == [("dual", {"source_potential", "target_potential"})] * 3
    assert trained[3:] == [("map", {"map"})] * 7


def test_lsot_approaches_the_optimal_map_in_the_plane():
    torch.manual_seed(0)
    pair = Gaussians(dim=2)
    method = train(LSOT(2, lr=2e-3), pair, steps=800, batch_size=128)
    points = samplers(pair, seed=1)[0](4096)
    assert uvp(method.push(points), pair.true_map(points), pair.target_variance) < 8


def test_lsot_with_little_entropy_stays_finite_in_high_dimension():
    torch.manual_seed(0)
    train(LSOT(64, regularization="entropic", epsilon=0.01, lr=0.05), Gaussians(dim=64), steps=200, batch_size=64)


def test_lsot_has_no_inverse():
    with pytest.raises(Unsupported, match="no inverse"):
        LSOT(2).pull(torch.zeros(1, 2))


@pytest.mark.parametrize(("option", "message"), [({"epsilon": 0.0}, "positive"), ({"dual_share": 1.0}, "both stages")])
def test_lsot_refuses_settings_it_cannot_run(option, message):
    with pytest.raises(ValueError, match=message):
        LSOT(2, **option)
