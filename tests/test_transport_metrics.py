"""Known answers of the transport metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import energy_distance as scipy_energy_distance

from bench.metrics import sliced
from bench.metrics.base import Unmeasurable, all_metrics
from bench.metrics.transport import consistency, samples, truth
from datasets.pairs.gaussians import Gaussians
from datasets.pairs.toy2d import Toy2D
from methods.transport.constant import Constant
from methods.transport.linear import Linear


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_true_map_has_no_unexplained_variance(rng):
    points = rng.normal(size=(100, 3))
    assert truth.l2_uvp(points, points, 3.0) == {"l2-uvp": 0.0}
    assert truth.l2_uvp_inverse(points, points, 3.0) == {"l2-uvp-inverse": 0.0}


def test_an_error_as_large_as_the_target_scores_100():
    errors = np.array([[3.0, 0.0], [0.0, 1.0]])  # mean squared length 5
    assert truth.l2_uvp(errors, np.zeros((2, 2)), 5.0)["l2-uvp"] == pytest.approx(100)
    assert truth.l2_uvp_inverse(errors, np.zeros((2, 2)), 10.0)["l2-uvp-inverse"] == pytest.approx(50)


def score_on_gaussians(method, dim: int, count: int) -> float:
    """L2-UVP of a closed-form map on the Gaussians."""
    pair = Gaussians(dim=dim)
    draws = torch.Generator().manual_seed(0)
    method.prepare(lambda n: pair.source(n, draws), lambda n: pair.target(n, draws))
    points = pair.source(count, draws)
    pushed, true_pushed = method.push(points).double().numpy(), pair.true_map(points).double().numpy()
    return truth.l2_uvp(pushed, true_pushed, pair.target_variance)["l2-uvp"]


@pytest.mark.parametrize("dim", [2, 16])
def test_constant_map_scores_100(dim):
    assert score_on_gaussians(Constant(dim), dim, 400_000) == pytest.approx(100, abs=1)


@pytest.mark.parametrize("dim", [2, 16, 64])
def test_linear_map_between_gaussians_scores_its_moments_error_only(dim):
    assert score_on_gaussians(Linear(dim), dim, 4096) < 0.1


def test_cosine_of_the_identity_is_0(rng):
    source = rng.normal(size=(50, 2))
    assert truth.cosine(source, source, source + 1) == {"cosine": 0.0}


def test_cosine_is_the_angle_between_displacement_fields(rng):
    source, moved = rng.normal(size=(2, 50, 2))
    assert truth.cosine(source, source + 3 * moved, source + moved)["cosine"] == pytest.approx(1)
    assert truth.cosine(source, source - moved, source + moved)["cosine"] == pytest.approx(-1)
    right, up = np.eye(2)
    assert truth.cosine(source, source + right, source + up)["cosine"] == pytest.approx(0, abs=1e-12)
    assert truth.cosine(source, source + right + up, source + up)["cosine"] == pytest.approx(np.sqrt(0.5))


def test_cosine_has_no_value_where_nothing_need_move(rng):
    source = rng.normal(size=(50, 2))
    with pytest.raises(Unmeasurable, match="identity"):
        truth.cosine(source, source + 1, source)


def test_energy_distance_of_two_points_is_twice_their_distance():
    at_origin, away = np.zeros((5, 2)), np.tile([3.0, 4.0], (7, 1))
    assert samples.energy_distance(at_origin, away)["energy-distance"] == pytest.approx(10)


def test_energy_distance_agrees_with_scipy_on_the_line(rng):
    left, right = rng.normal(size=(1500, 1)), 0.5 + rng.normal(size=(1300, 1))
    ours = samples.energy_distance(left, right)["energy-distance"]
    # SciPy's is the root of the biased estimate, whose within-sample means include the zero diagonal.
    diagonals = sum(np.abs(x - x.T).sum() * (1 / (n * (n - 1)) - 1 / n**2) for x, n in ((left, 1500), (right, 1300)))
    assert ours == pytest.approx(scipy_energy_distance(left[:, 0], right[:, 0]) ** 2 - diagonals, rel=1e-9)


def test_energy_distance_of_equal_distributions_is_0_in_expectation(rng):
    draws = [
        samples.energy_distance(rng.normal(size=(60, 2)), rng.normal(size=(40, 2)))["energy-distance"]
        for _ in range(300)
    ]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / np.sqrt(len(draws))
    assert min(draws) < 0


def test_energy_distance_does_not_depend_on_chunks(rng, monkeypatch):
    left, right = rng.normal(size=(2, 300, 2))
    whole = samples.energy_distance(left, right)["energy-distance"]
    monkeypatch.setattr(samples, "CHUNK_ROWS", 7)
    assert samples.energy_distance(left, right)["energy-distance"] == pytest.approx(whole, rel=1e-12)


def test_energy_distance_needs_two_points_of_each():
    with pytest.raises(Unmeasurable, match="two points"):
        samples.energy_distance(np.zeros((1, 2)), np.zeros((5, 2)))


def test_energy_distance_is_accurate_far_from_the_origin(rng):
    left, right = rng.normal(size=(2, 200, 3))
    near = samples.energy_distance(left, right)["energy-distance"]
    assert samples.energy_distance(left + 1e6, right + 1e6)["energy-distance"] == pytest.approx(near, rel=1e-6)


# Costs


def test_w2_squared_of_a_translation_is_its_squared_length(rng):
    source, shift = rng.normal(size=(50, 3)), np.array([1.0, 2.0, 2.0])
    assert truth.w2_squared(source, source + shift)["w2-squared"] == pytest.approx(9)


def test_w2_squared_of_the_true_map_between_gaussians_is_the_closed_form():
    pair = Gaussians(dim=8)
    points = pair.source(200_000, torch.Generator().manual_seed(0))
    ours = truth.w2_squared(points.double().numpy(), pair.true_map(points).double().numpy())["w2-squared"]
    shared = np.linalg.svd(pair.source_factor.T @ pair.target_factor, compute_uv=False).sum()
    assert ours == pytest.approx(pair.source_variance + pair.target_variance - 2 * shared, rel=0.01)


def test_the_error_of_w2_squared_is_relative_and_has_no_sign(rng):
    source, shift = rng.normal(size=(50, 2)), np.array([3.0, 4.0])
    for pushed, error in [(source + shift, 0), (source + 2 * shift, 300), (source - shift, 0)]:
        found = truth.w2_squared_error(source, pushed, source + shift)["w2-squared-error"]
        assert found == pytest.approx(error, abs=1e-9)
    assert truth.w2_squared_error(source, source, source + shift) == {"w2-squared-error": 100.0}
    with pytest.raises(Unmeasurable, match="identity"):
        truth.w2_squared_error(source, source + 1, source)


# Sliced distance


def test_sliced_w2_of_a_translation_is_its_squared_length_over_the_dimension(rng):
    points, shift = rng.normal(size=(100, 4)), np.array([1.0, 2.0, 2.0, 4.0])
    moved = (points + shift)[::-1]
    assert samples.sliced_w2_forward(points, moved, rng, projections=8)["sliced-w2"] == pytest.approx(25 / 4)
    assert samples.sliced_w2_inverse(points, moved, rng, projections=8)["sliced-w2-inverse"] == pytest.approx(25 / 4)
    one = [samples.sliced_w2_forward(points, moved, rng, projections=1)["sliced-w2"] for _ in range(2000)]
    assert np.mean(one) == pytest.approx(25 / 4, rel=0.1)


def test_sliced_w2_agrees_with_pot(rng):
    import ot

    points, others = rng.normal(size=(2, 300, 5))
    directions = sliced.random_directions(5, 150, rng)
    theirs = ot.sliced_wasserstein_distance(points, 1 + 2 * others, projections=directions) ** 2
    assert sliced.sliced_w2(points, 1 + 2 * others, directions) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(("dimensions", "count"), [(3, 10), (3, 3), (50, 7)])
def test_directions_are_unit_vectors_orthogonal_in_groups(dimensions, count, rng):
    directions = sliced.random_directions(dimensions, count, rng)
    assert directions.shape == (dimensions, count)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 1)
    group = directions[:, : min(dimensions, count)]
    np.testing.assert_allclose(group.T @ group, np.eye(group.shape[1]), atol=1e-12)


def test_sliced_w2_needs_projections_and_sets_of_one_size(rng):
    points = rng.normal(size=(5, 2))
    with pytest.raises(Unmeasurable, match="0 projections"):
        samples.sliced_w2_forward(points, points, rng, projections=0)
    with pytest.raises(Unmeasurable, match="5 and 4"):
        samples.sliced_w2_forward(points, points[:4], rng)


# Moments


def normalized(points: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Points with exactly that mean and unbiased covariance."""
    centered = points - points.mean(axis=0)
    root = np.linalg.cholesky(np.cov(centered.T))
    return mean + centered @ np.linalg.inv(root).T @ np.linalg.cholesky(covariance).T


def test_bw_uvp_is_the_bures_distance_in_closed_form(rng):
    shift = np.array([1.0, 0.0, 2.0])
    pushed = normalized(rng.normal(size=(40, 3)), shift, np.diag([4.0, 9.0, 1.0]))
    target = normalized(rng.normal(size=(50, 3)), np.zeros(3), np.diag([1.0, 1.0, 25.0]))
    distance = 5 + (2 - 1) ** 2 + (3 - 1) ** 2 + (1 - 5) ** 2
    assert samples.bw_uvp(pushed, target, 27.0)["bw-uvp"] == pytest.approx(100 * distance / 27)


def test_bw_uvp_agrees_with_pot(rng):
    import ot

    pushed, target = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 4)), 1 + rng.normal(size=(40, 4))
    theirs = ot.gaussian.bures_wasserstein_distance(
        pushed.mean(axis=0), target.mean(axis=0), np.cov(pushed.T), np.cov(target.T)
    )
    assert samples.bw_uvp(pushed, target, 4.0)["bw-uvp"] == pytest.approx(100 * theirs**2 / 4, rel=1e-6)


def test_bw_uvp_of_the_constant_map_to_the_mean_is_100(rng):
    target = rng.normal(size=(50, 3))
    constant = np.tile(target.mean(axis=0), (50, 1))
    assert samples.bw_uvp(constant, target, np.trace(np.cov(target.T)))["bw-uvp"] == pytest.approx(100)


def test_bw_uvp_does_not_depend_on_dimensions_without_points(rng):
    """More dimensions than points take another way to the same number."""
    pushed, target = rng.normal(size=(2, 20, 6))
    frame = np.linalg.qr(rng.normal(size=(300, 300)))[0][:6]
    flat = samples.bw_uvp(pushed, target, 6.0)["bw-uvp"]
    assert samples.bw_uvp(pushed @ frame, target @ frame, 6.0)["bw-uvp"] == pytest.approx(flat)


def test_bw_uvp_needs_two_points_of_each():
    with pytest.raises(Unmeasurable, match="two points"):
        samples.bw_uvp(np.zeros((5, 2)), np.zeros((1, 2)), 1.0)


# Modes and labels


def test_a_map_that_drops_half_the_modes_covers_half_of_them(rng):
    modes = 10 * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    points = modes[np.arange(400) % 4] + rng.normal(size=(400, 2))
    assert samples.mode_coverage(points, modes, 1.0) == {"mode-coverage": 100.0}
    assert samples.mode_coverage(points[np.arange(400) % 4 < 2], modes, 1.0) == {"mode-coverage": 50.0}


def test_a_mode_with_less_than_its_part_is_not_covered():
    modes = np.array([[0.0], [1.0]])
    for count, share in [(12, 50), (13, 100)]:  # a quarter of 50 is 12.5
        points = np.repeat(modes, [100 - count, count], axis=0)
        assert samples.mode_coverage(points, modes, 0.1) == {"mode-coverage": share}
    assert samples.mode_coverage(points, modes, 0.1, min_share=0.5) == {"mode-coverage": 50.0}


def test_a_mode_has_the_points_within_3_deviations_of_it():
    modes = np.array([[0.0, 0.0], [10.0, 0.0]])
    for offset, share in [(2.99, 100), (3.01, 50)]:
        points = np.repeat([[0.0, 0.0], [10.0, offset]], 50, axis=0)
        assert samples.mode_coverage(points, modes, 1.0) == {"mode-coverage": share}


@pytest.mark.parametrize(
    ("shape", "most"), [("8-gaussians", 0), ("25-gaussians", 60), ("49-gaussians", 60), ("100-gaussians", 60)]
)
def test_a_normal_leaves_modes_of_toy_targets_out_and_their_samples_cover_all(rng, shape: str, most: float):
    pair = Toy2D(shape=shape)
    centers, deviation = pair.modes()
    modes = centers.double().numpy()
    drawn = pair.target(4096, torch.Generator().manual_seed(0)).double().numpy()
    assert samples.mode_coverage(drawn, modes, deviation) == {"mode-coverage": 100.0}
    assert samples.mode_coverage(rng.normal(size=(4096, 2)), modes, deviation)["mode-coverage"] <= most


def test_one_nn_accuracy_on_separable_classes_is_1(rng):
    labels = np.arange(60) % 3
    target = 20 * np.eye(3)[labels] + rng.normal(size=(60, 3))
    pushed = 20 * np.eye(3)[labels[:30]] + rng.normal(size=(30, 3))
    assert samples.one_nn_accuracy(pushed, labels[:30], target, labels) == {"one-nn-accuracy": 1.0}
    assert samples.one_nn_accuracy(pushed, (labels[:30] + 1) % 3, target, labels) == {"one-nn-accuracy": 0.0}
    half = np.where(np.arange(30) < 15, labels[:30], -1)
    assert samples.one_nn_accuracy(pushed, half, target, labels) == {"one-nn-accuracy": 0.5}


# Consistency


def test_cycle_error_is_a_share_of_the_sources_variance(rng):
    source = rng.normal(size=(50, 2))
    assert consistency.cycle_error(source, source, 2.0) == {"cycle-error": 0.0}
    assert consistency.cycle_error(source, source + np.array([3, 4]), 50.0)["cycle-error"] == pytest.approx(50)


def test_monotone_maps_have_no_violations_and_a_reflection_has_nothing_else(rng):
    source = rng.normal(size=(200, 3))
    for pushed, share in [(source, 0), (source**3, 0), (np.ones_like(source), 0), (-source, 100)]:
        found = consistency.monotonicity_violations(source, pushed, np.random.default_rng(0))
        assert found == {"monotonicity-violations": share}


def test_rotations_by_more_than_90_degrees_violate_and_unrelated_points_half_the_time(rng):
    source = rng.normal(size=(500, 2))
    for degrees, share in [(80, 0), (100, 100)]:
        turn = np.deg2rad(degrees)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        found = consistency.monotonicity_violations(source, source @ rotation, np.random.default_rng(0))
        assert found == {"monotonicity-violations": share}
    unrelated = consistency.monotonicity_violations(source, rng.normal(size=(500, 2)), np.random.default_rng(0))
    assert unrelated["monotonicity-violations"] == pytest.approx(50, abs=3)


def test_monotonicity_needs_pairs_of_different_points(rng):
    with pytest.raises(Unmeasurable, match="1 points"):
        consistency.monotonicity_violations(np.zeros((1, 2)), np.zeros((1, 2)), rng)
    with pytest.raises(Unmeasurable, match="0 pairs"):
        consistency.monotonicity_violations(np.zeros((5, 2)), np.zeros((5, 2)), rng, pairs=0)
    two = np.array([[0.0], [1.0]])  # if a point were paired with itself, fewer pairs would be violations
    assert consistency.monotonicity_violations(two, -two, rng) == {"monotonicity-violations": 100.0}


# Inverse


def test_cosine_of_the_inverse_is_measured_from_the_true_images(rng):
    source, moved = rng.normal(size=(2, 50, 2))
    images = source + moved
    assert truth.cosine_inverse(source, images, source)["cosine-inverse"] == pytest.approx(1)
    assert truth.cosine_inverse(source, images, images + moved)["cosine-inverse"] == pytest.approx(-1)
    assert truth.cosine_inverse(source, images, images) == {"cosine-inverse": 0.0}


def test_the_inverse_is_a_metric_of_its_own():
    metrics = all_metrics()
    assert metrics["l2-uvp"].arrays == ("pushed", "true_pushed", "target_variance")
    assert metrics["l2-uvp-inverse"].arrays == ("source", "recovered", "source_variance")
    assert metrics["cosine"].arrays == ("source", "pushed", "true_pushed")
    assert metrics["cosine-inverse"].arrays == ("source", "true_pushed", "recovered")
    for name in ("energy-distance", "sliced-w2"):
        assert metrics[name].arrays == ("pushed", "target")
        assert metrics[f"{name}-inverse"].arrays == ("pulled", "source")
