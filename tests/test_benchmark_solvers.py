"""The solvers of the W2 benchmark: their conjugates, their objectives, and the maps they find between Gaussians."""

from __future__ import annotations

import copy

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from datasets.pairs.gaussians import Gaussians
from methods.base import Sampler
from methods.parts.benchmark_solver import BenchmarkSolver, correlation_and_dual, descend
from methods.parts.icnn import Potential
from methods.transport.mm import MM
from methods.transport.mm_b import MMB
from methods.transport.mm_v1 import MMv1
from methods.transport.mm_v2 import MMv2
from methods.transport.qc import QC, batch_duals


class Bowl(Potential):
    """ψ(x) = ½ Σ aᵢ xᵢ² + ⟨b, x⟩, whose conjugate is known."""

    def __init__(self, curvatures: Tensor, slope: Tensor) -> None:
        super().__init__()
        self.curvatures = torch.nn.Parameter(curvatures)
        self.slope = torch.nn.Parameter(slope)

    def evaluate(self, points: Tensor, *, with_gradient: bool) -> tuple[Tensor, Tensor]:
        values = (0.5 * self.curvatures * points.square() + self.slope * points).sum(dim=1)
        return values, self.curvatures * points + self.slope

    def inverse(self, images: Tensor) -> Tensor:
        return (images - self.slope) / self.curvatures

    def conjugate(self, images: Tensor) -> Tensor:
        return 0.5 * (self.curvatures * self.inverse(images).square()).sum(dim=1)


@pytest.fixture
def bowl() -> Bowl:
    return Bowl(torch.tensor([0.5, 1.0, 3.0]), torch.tensor([1.0, -2.0, 0.0]))


def samplers(pair: Gaussians, seed: int) -> tuple[Sampler, Sampler]:
    draws = torch.Generator().manual_seed(seed)
    return lambda count: pair.source(count, draws), lambda count: pair.target(count, draws)


def l2_uvp_of_trained(method: BenchmarkSolver, steps: int, batch_size: int) -> tuple[float, float, float]:
    """Trains on the Gaussians in the plane: L2-UVP of the map and its inverse, and the last "dual" on many points."""
    pair = Gaussians(dim=2)
    source, target = samplers(pair, seed=0)
    for _ in method.prepare(source, target):
        pass
    for _ in range(steps):
        losses = method.train_step(source(batch_size), target(batch_size))
        assert all(loss.isfinite() and not loss.requires_grad for loss in losses.values())
    points = samplers(pair, seed=1)[0](4096)
    images = pair.true_map(points)
    with torch.no_grad():
        pushed, pulled = method.push(points), method.pull(images)
    assert not pushed.requires_grad
    forward = 100 * (pushed - images).square().sum(dim=1).mean() / pair.target_variance
    inverse = 100 * (pulled - points).square().sum(dim=1).mean() / pair.source_variance
    return forward.item(), inverse.item(), method.train_step(points[:2048], target(2048))["dual"].item()


def half_squared_distance() -> float:
    """½W₂² between the Gaussians in the plane."""
    pair = Gaussians(dim=2)
    return pair.source_variance - np.linalg.norm(pair.source_factor.T @ pair.target_factor, ord="nuc")


def assert_recovered(forward: float, inverse: float, dual: float, *, tolerance: float) -> None:
    """`tolerance` in percent of L2-UVP; the dual estimate within a tenth of ½W₂²."""
    assert forward < tolerance
    assert inverse < tolerance
    assert dual == pytest.approx(-half_squared_distance(), rel=0.1)


# What they recover


@pytest.mark.parametrize("reverse", [False, True])
def test_mm_recovers_the_map_its_inverse_and_the_distance(reverse):
    torch.manual_seed(0)
    method = MM(2, reverse=reverse, inner_steps=8)
    assert_recovered(*l2_uvp_of_trained(method, steps=100, batch_size=64), tolerance=6)


@pytest.mark.parametrize("reverse", [False, True])
def test_mm_v2_recovers_the_map_its_inverse_and_the_distance(reverse):
    torch.manual_seed(0)
    method = MMv2(2, reverse=reverse, inner_steps=4, lr=5e-3)
    assert_recovered(*l2_uvp_of_trained(method, steps=100, batch_size=64), tolerance=6)


def test_mm_v1_recovers_the_map_its_inverse_and_the_distance():
    torch.manual_seed(0)
    method = MMv1(2, lr=3e-3, conjugate_steps=40)
    assert_recovered(*l2_uvp_of_trained(method, steps=60, batch_size=64), tolerance=5)


def test_mm_b_recovers_the_map_its_inverse_and_the_distance():
    torch.manual_seed(0)
    assert_recovered(*l2_uvp_of_trained(MMB(2, lr=2e-3), steps=150, batch_size=128), tolerance=3)


def test_qc_approaches_the_map_and_its_inverse_and_recovers_the_distance():
    """Its regression on noisy duals, of small batches, leaves a fraction of the identity's error, which is 93 %."""
    torch.manual_seed(0)
    assert_recovered(*l2_uvp_of_trained(QC(2, lr=3e-3), steps=120, batch_size=256), tolerance=25)


# Objectives


def test_the_dual_at_the_optimum_is_minus_half_the_squared_distance(bowl):
    points = torch.randn(1000, 3)
    images = bowl.gradient(points)
    _, dual = correlation_and_dual(bowl, points, images, bowl.inverse(images))
    torch.testing.assert_close(dual, -0.5 * (points - images).square().sum(dim=1).mean())
    elsewhere = torch.randn(1000, 3)
    _, dual = correlation_and_dual(bowl, points, elsewhere, bowl.inverse(elsewhere))
    legendre = (bowl(points) + bowl.conjugate(elsewhere)).mean()
    torch.testing.assert_close(dual, legendre - 0.5 * (points.square() + elsewhere.square()).sum(dim=1).mean())


def test_the_correlation_descends_the_dual_as_the_envelope_theorem_says(bowl):
    """The gradient of E[ψ(X) + ψ*(Y)] with ψ* in closed form."""
    points, images = torch.randn(2, 50, 3)
    correlation, _ = correlation_and_dual(bowl, points, images, bowl.inverse(images))
    found = torch.autograd.grad(correlation, list(bowl.parameters()))
    expected = torch.autograd.grad((bowl(points) + bowl.conjugate(images)).mean(), list(bowl.parameters()))
    torch.testing.assert_close(found, expected)


def test_descent_moves_one_potential_and_leaves_no_gradient_in_the_other():
    torch.manual_seed(0)
    method = MMv2(2)
    before = copy.deepcopy(method.state_dict())
    loss = method.potential(method.conjugate.gradient(torch.randn(8, 2))).mean()
    descend(loss, method.conjugate, method.conjugate_optimizer)
    assert all(weight.grad is None for weight in method.potential.parameters())
    moved = {name.split(".")[0] for name, weight in method.state_dict().items() if not weight.equal(before[name])}
    assert moved == {"conjugate"}
    assert all(weight.min() >= 0 for weight in method.conjugate.convex_weights)


@pytest.mark.parametrize("reverse", [False, True])
def test_inner_steps_draw_fresh_batches_of_the_inner_side(reverse):
    drawn = []

    def sampler(side: str) -> Sampler:
        def draw(count: int) -> Tensor:
            drawn.append((side, count))
            return torch.randn(count, 2)

        return draw

    method = MM(2, reverse=reverse, inner_steps=3, pretrain_steps=0)
    list(method.prepare(sampler("source"), sampler("target")))
    method.train_step(torch.randn(7, 2), torch.randn(7, 2))
    assert drawn == [("source" if reverse else "target", 7)] * 3


def test_one_update_of_mm_is_one_step_on_the_potential_and_inner_steps_on_the_conjugate():
    torch.manual_seed(0)
    method = MM(2, inner_steps=5, pretrain_steps=0)
    list(method.prepare(lambda n: torch.randn(n, 2), lambda n: torch.randn(n, 2)))
    method.train_step(torch.randn(16, 2), torch.randn(16, 2))
    counts = [
        {state["step"].item() for state in optimizer.state.values()}
        for optimizer in (method.optimizer, method.conjugate_optimizer)
    ]
    assert counts == [{1}, {5}]


def test_only_mm_v1_and_mm_v2_are_convex():
    for cls, convex in ((MM, False), (MMv2, True), (MMv1, True), (MMB, False), (QC, False)):
        method = cls(3)
        assert (method.potential.convex, method.conjugate.convex) == (convex, convex)


# Conjugates


def test_mm_v1_solves_for_the_conjugate_of_a_quadratic(bowl):
    torch.manual_seed(0)
    images = torch.randn(100, 3)
    found = MMv1(3).maximizers(bowl, torch.empty(0, 3), images)
    torch.testing.assert_close(found, bowl.inverse(images), atol=2e-2, rtol=0)
    attained = (found * images).sum(dim=1) - bowl(found)
    torch.testing.assert_close(attained, bowl.conjugate(images), atol=2e-4, rtol=0)


def test_mm_v1_stops_at_the_tolerance_or_the_limit(bowl):
    images = torch.randn(100, 3)

    def gradient_size(**options: float) -> float:
        torch.manual_seed(0)
        found = MMv1(3, **options).maximizers(bowl, torch.empty(0, 3), images)
        return (bowl.gradient(found) - images).square().mean(dim=1).sqrt().mean().item()

    assert 1e-3 < gradient_size(conjugate_tolerance=1e-2) < 1e-2
    assert gradient_size() < 1e-3
    assert gradient_size(conjugate_steps=3) > 0.1


def test_mm_b_takes_the_best_point_of_the_batch(bowl):
    torch.manual_seed(0)
    points, images = torch.randn(40, 3), torch.randn(30, 3)
    found = MMB(3).maximizers(bowl, points, images)
    for image, best in zip(images, found, strict=True):
        values = [torch.dot(point, image) - bowl(point[None])[0] for point in points]
        torch.testing.assert_close(torch.dot(best, image) - bowl(best[None])[0], max(values))
        assert any(best.equal(point) for point in points)


# WGAN-QC


def test_qc_duals_and_partners_are_those_of_the_linear_programme():
    torch.manual_seed(0)
    points, images = torch.randn(12, 2), torch.randn(12, 2) * 2 + 1
    point_duals, image_duals, partners = batch_duals(points, images)
    cost = 0.5 * torch.cdist(points, images).square()
    slack = cost - (image_duals - point_duals[:, None])
    assert slack.min() > -1e-5
    assert slack[torch.arange(12), partners].abs().max() < 1e-5
    assert sorted(partners.tolist()) == list(range(12))
    assert (point_duals.mean() + image_duals.mean()).abs() < 1e-5

    marginals = np.concatenate([np.kron(np.eye(12), np.ones(12)), np.kron(np.ones(12), np.eye(12))])
    optimum = linprog(cost.numpy().ravel(), A_eq=marginals, b_eq=np.full(24, 1 / 12)).fun
    assert (image_duals.mean() - point_duals.mean()).item() == pytest.approx(optimum, abs=1e-5)


def test_qc_targets_are_pots_duals_up_to_a_constant():
    torch.manual_seed(0)
    points, images = torch.randn(2, 64, 4)
    point_duals, image_duals, partners = batch_duals(points, images)
    plan, log = ot.emd([], [], 0.5 * ot.dist(points.double().numpy(), images.double().numpy()), log=True)
    np.testing.assert_array_equal(partners, plan.argmax(axis=1))
    for ours, pots in ((-point_duals, log["u"]), (image_duals, log["v"])):
        np.testing.assert_allclose(ours - ours.mean(), pots - pots.mean(), atol=1e-5)


def test_qc_loss_is_the_benchmarks():
    """The three terms by nested automatic differentiation, with their constants: K = 1, λ = 4√K γ."""
    torch.manual_seed(0)
    method = QC(3, gamma=0.7).double()
    points, images = torch.randn(2, 10, 3, dtype=torch.float64)
    v, u, partners = batch_duals(points, images)
    points.requires_grad_()
    values = method.potential(points) - points.square().sum(dim=1) / 2
    image_values = method.potential(images) - images.square().sum(dim=1) / 2
    (slopes,) = torch.autograd.grad(values.sum(), points, create_graph=True)
    regression = 0.5 * (image_values.mean() - u.mean()) ** 2 + 0.5 * (values - v).square().mean()
    gaps = slopes.norm(dim=1) / 2 - (images[partners] - points).norm(dim=1) / 2
    expected = regression + 4 * 0.7 * 0.5 * gaps.square().mean()
    weights = list(method.potential.parameters())
    loss, dual = method._loss(method.potential, points.detach(), images)
    torch.testing.assert_close(loss, expected)
    assert dual.item() == pytest.approx((v.mean() - u.mean()).item())
    found = torch.autograd.grad(loss, weights)
    for ours, theirs in zip(found, torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(ours, theirs)
