"""Discrete optimal transport: the plans, and their extension to new points."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from datasets.pairs.gaussians import Gaussians
from methods.transport import discrete_ot
from methods.transport.discrete_ot import DiscreteOT

COUNT = 60


def sides(dim: int = 2) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    return torch.randn(COUNT, dim, generator=draws), 2 * torch.randn(COUNT, dim, generator=draws) + 1


def solved(source: Tensor, target: Tensor, **options: float | str) -> DiscreteOT:
    """The method on samples that are given."""
    method = DiscreteOT(source.shape[1], num_samples=len(source), **options)
    method.prepare(lambda count: source[:count], lambda count: target[:count])
    return method.eval()


def matched(source: Tensor, target: Tensor) -> Tensor:
    """The optimal partner of each source point, by scipy."""
    _, columns = linear_sum_assignment(torch.cdist(source, target).square().numpy())
    return target[torch.from_numpy(columns)]


def test_exact_plan_is_the_optimal_assignment():
    source, target = sides()
    method = solved(source, target, regularization="exact")
    torch.testing.assert_close(method.push(source), matched(source, target))
    torch.testing.assert_close(method.pull(matched(source, target)), source)


def test_exact_map_moves_new_points_as_the_nearest_sample_moves():
    source, target = sides()
    method = solved(source, target, regularization="exact")
    new = source + 1e-3 * torch.randn_like(source)
    torch.testing.assert_close(method.push(new) - new, matched(source, target) - source, atol=1e-5, rtol=0)


def test_a_translation_is_carried_to_new_points_exactly():
    source, _ = sides()
    shift = torch.tensor([3.0, -2.0])
    method = solved(source, source + shift, regularization="exact")
    new = torch.randn(100, 2) * 5
    torch.testing.assert_close(method.push(new), new + shift, atol=1e-4, rtol=0)
    torch.testing.assert_close(method.pull(new), new - shift, atol=1e-4, rtol=0)


def test_entropic_plan_has_the_marginals_and_push_and_pull_are_its_projections():
    source, target = sides()
    method = solved(source, target, epsilon=0.05)
    cost = 0.5 * torch.cdist(source, target).square()
    plan = (method.source_dual[:, None] + method.target_dual - cost / method.strength).exp()
    torch.testing.assert_close(plan.sum(dim=1), torch.full((COUNT,), 1 / COUNT), rtol=1e-3, atol=0)
    torch.testing.assert_close(plan.sum(dim=0), torch.full((COUNT,), 1 / COUNT), rtol=1e-2, atol=0)
    assert method.strength.item() == pytest.approx(0.05 * cost.mean().item(), rel=1e-5)
    torch.testing.assert_close(method.push(source), plan @ target / plan.sum(dim=1, keepdim=True), atol=1e-4, rtol=0)
    torch.testing.assert_close(method.pull(target), plan.T @ source / plan.sum(dim=0)[:, None], atol=1e-4, rtol=0)


def test_entropic_map_tends_to_the_matching_as_epsilon_vanishes():
    source, target = sides()
    gaps = []
    for epsilon in (0.1, 0.01, 0.001, 0.0003):
        method = solved(source, target, epsilon=epsilon, sinkhorn_steps=20_000)
        gaps.append((method.push(source) - matched(source, target)).square().sum(dim=1).mean().item())
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.02 * gaps[0]


def test_with_much_entropy_every_point_goes_to_the_mean():
    source, target = sides()
    method = solved(source, target, epsilon=1e4)
    torch.testing.assert_close(method.push(source), target.mean(dim=0).expand(COUNT, 2), atol=1e-2, rtol=0)


def test_the_entropic_map_is_nearer_to_the_true_one_than_the_matching():
    pair = Gaussians(dim=8)
    errors = {}
    for regularization in ("exact", "entropic"):
        draws = torch.Generator().manual_seed(0)
        method = DiscreteOT(8, regularization=regularization, num_samples=512)
        method.prepare(lambda n, draws=draws: pair.source(n, draws), lambda n, draws=draws: pair.target(n, draws))
        points = pair.source(2048, draws)
        error = (method.push(points) - pair.true_map(points)).square().sum(dim=1).mean()
        errors[regularization] = error.item() / pair.target_variance
    assert errors["entropic"] < 0.75 * errors["exact"] < 0.5


@pytest.mark.parametrize("regularization", ["exact", "entropic"])
def test_points_are_mapped_in_chunks_of_bounded_size(monkeypatch, regularization):
    source, target = sides()
    method = solved(source, target, regularization=regularization)
    points = torch.randn(100, 2)
    whole = method.push(points)
    rows = []
    distances = torch.cdist

    def watched(left: Tensor, right: Tensor) -> Tensor:
        rows.append(len(left) * len(right))
        return distances(left, right)

    monkeypatch.setattr(torch, "cdist", watched)
    monkeypatch.setattr(discrete_ot, "CHUNK_ENTRIES", 8 * COUNT)
    torch.testing.assert_close(method.push(points), whole, atol=1e-5, rtol=0)
    assert len(rows) == 13
    assert max(rows) == 8 * COUNT


@pytest.mark.parametrize("regularization", ["exact", "entropic"])
def test_the_map_is_restored_from_its_state(regularization):
    source, target = sides()
    method = solved(source, target, regularization=regularization)
    fresh = DiscreteOT(2, regularization=regularization, num_samples=COUNT)
    fresh.load_state_dict(method.state_dict())
    points = torch.randn(20, 2)
    assert torch.equal(fresh.push(points), method.push(points))
    assert torch.equal(fresh.pull(points), method.pull(points))


@pytest.mark.parametrize(
    ("option", "message"), [({"epsilon": 0.0}, "must be positive"), ({"num_samples": 0}, "a sample of each side")]
)
def test_settings_without_a_plan_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        DiscreteOT(2, **option)
