"""Known answers of the transport metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import energy_distance as scipy_energy_distance

from bench.metrics import transport
from bench.metrics.base import Unmeasurable, all_metrics
from datasets.pairs.gaussians import Gaussians
from methods.transport.constant import Constant
from methods.transport.linear import Linear


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_true_map_has_no_unexplained_variance(rng):
    points = rng.normal(size=(100, 3))
    assert transport.l2_uvp(points, points, 3.0) == {"l2-uvp": 0.0}
    assert transport.l2_uvp_inverse(points, points, 3.0) == {"l2-uvp-inverse": 0.0}


def test_an_error_as_large_as_the_target_scores_100():
    errors = np.array([[3.0, 0.0], [0.0, 1.0]])  # mean squared length 5
    assert transport.l2_uvp(errors, np.zeros((2, 2)), 5.0)["l2-uvp"] == pytest.approx(100)
    assert transport.l2_uvp_inverse(errors, np.zeros((2, 2)), 10.0)["l2-uvp-inverse"] == pytest.approx(50)


def score_on_gaussians(method, dim: int, count: int) -> float:
    """L2-UVP of a closed-form map on the Gaussians."""
    pair = Gaussians(dim=dim)
    draws = torch.Generator().manual_seed(0)
    method.prepare(lambda n: pair.source(n, draws), lambda n: pair.target(n, draws))
    points = pair.source(count, draws)
    pushed, true_pushed = method.push(points).double().numpy(), pair.true_map(points).double().numpy()
    return transport.l2_uvp(pushed, true_pushed, pair.target_variance)["l2-uvp"]


@pytest.mark.parametrize("dim", [2, 16])
def test_constant_map_scores_100(dim):
    assert score_on_gaussians(Constant(dim), dim, 400_000) == pytest.approx(100, abs=1)


@pytest.mark.parametrize("dim", [2, 16, 64])
def test_linear_map_between_gaussians_scores_its_moments_error_only(dim):
    assert score_on_gaussians(Linear(dim), dim, 4096) < 0.1


def test_cosine_of_the_identity_is_0(rng):
    source = rng.normal(size=(50, 2))
    assert transport.cosine(source, source, source + 1) == {"cosine": 0.0}


def test_cosine_is_the_angle_between_displacement_fields(rng):
    source, moved = rng.normal(size=(2, 50, 2))
    assert transport.cosine(source, source + 3 * moved, source + moved)["cosine"] == pytest.approx(1)
    assert transport.cosine(source, source - moved, source + moved)["cosine"] == pytest.approx(-1)
    right, up = np.eye(2)
    assert transport.cosine(source, source + right, source + up)["cosine"] == pytest.approx(0, abs=1e-12)
    assert transport.cosine(source, source + right + up, source + up)["cosine"] == pytest.approx(np.sqrt(0.5))


def test_cosine_has_no_value_where_nothing_need_move(rng):
    source = rng.normal(size=(50, 2))
    with pytest.raises(Unmeasurable, match="identity"):
        transport.cosine(source, source + 1, source)


def test_energy_distance_of_two_points_is_twice_their_distance():
    at_origin, away = np.zeros((5, 2)), np.tile([3.0, 4.0], (7, 1))
    assert transport.energy_distance(at_origin, away)["energy-distance"] == pytest.approx(10)


def test_energy_distance_agrees_with_scipy_on_the_line(rng):
    left, right = rng.normal(size=(1500, 1)), 0.5 + rng.normal(size=(1300, 1))
    ours = transport.energy_distance(left, right)["energy-distance"]
    # SciPy's is the root of the biased estimate, whose within-sample means include the zero diagonal.
    diagonals = sum(np.abs(x - x.T).sum() * (1 / (n * (n - 1)) - 1 / n**2) for x, n in ((left, 1500), (right, 1300)))
    assert ours == pytest.approx(scipy_energy_distance(left[:, 0], right[:, 0]) ** 2 - diagonals, rel=1e-9)


def test_energy_distance_of_equal_distributions_is_0_in_expectation(rng):
    draws = [
        transport.energy_distance(rng.normal(size=(60, 2)), rng.normal(size=(40, 2)))["energy-distance"]
        for _ in range(300)
    ]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / np.sqrt(len(draws))
    assert min(draws) < 0


def test_energy_distance_does_not_depend_on_chunks(rng, monkeypatch):
    left, right = rng.normal(size=(2, 300, 2))
    whole = transport.energy_distance(left, right)["energy-distance"]
    monkeypatch.setattr(transport, "CHUNK_ROWS", 7)
    assert transport.energy_distance(left, right)["energy-distance"] == pytest.approx(whole, rel=1e-12)


def test_energy_distance_needs_two_points_of_each():
    with pytest.raises(Unmeasurable, match="two points"):
        transport.energy_distance(np.zeros((1, 2)), np.zeros((5, 2)))


def test_the_inverse_is_a_metric_of_its_own():
    metrics = all_metrics()
    assert metrics["l2-uvp"].arrays == ("pushed", "true_pushed", "target_variance")
    assert metrics["l2-uvp-inverse"].arrays == ("source", "recovered", "source_variance")
    assert metrics["cosine"].arrays == ("source", "pushed", "true_pushed")
    assert metrics["energy-distance"].arrays == ("pushed", "target")
