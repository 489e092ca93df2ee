"""Distances between codes and between images: isometries, POT, and the definitions as plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.metrics.base import Unmeasurable, all_metrics
from bench.metrics.latent.geometry import gromov_wasserstein, isometry_correlation


def normal(count: int, latents: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, latents))


def gw(codes: np.ndarray, images: np.ndarray) -> float:
    return gromov_wasserstein(codes, images, num_samples=len(codes))["gromov-wasserstein"]


def isometric_images(codes: np.ndarray) -> np.ndarray:
    """A rotation of the codes into 2 × 3 × 3 pixels, scaled."""
    embedding = np.linalg.qr(normal(18, 18, seed=9))[0][: codes.shape[1]]
    return (5 * codes @ embedding).reshape(-1, 2, 3, 3)


def unit_mean_distances(points: np.ndarray) -> np.ndarray:
    flat = points.reshape(len(points), -1)
    distances = np.array([[np.sqrt(np.square(x - y).sum()) for y in flat] for x in flat])
    return distances / distances[~np.eye(len(flat), dtype=bool)].mean()


def test_an_isometry_up_to_scale_costs_nothing_and_correlates_fully() -> None:
    codes = normal(60, 4)
    assert gw(codes, isometric_images(codes)) == pytest.approx(0, abs=1e-9)
    assert isometry_correlation(codes, isometric_images(codes)) == pytest.approx(1)


def test_unrelated_codes_do_not_correlate_with_images() -> None:
    assert abs(isometry_correlation(normal(500, 4), isometric_images(normal(500, 4, seed=1)))) < 0.05


def test_gromov_wasserstein_grows_with_the_noise_on_an_isometry() -> None:
    codes = normal(100, 4)
    images = isometric_images(codes)
    values = [gw(codes + noise * normal(100, 4, seed=1), images) for noise in (0, 0.2, 0.5, 1)]
    assert values == sorted(values)
    assert values[-1] > 0.02


@pytest.mark.parametrize("change", ["rotation", "latents", "sign", "scale", "order"])
def test_isometries_of_codes_and_the_order_of_items_do_not_matter(change: str) -> None:
    codes = normal(80, 4)
    images = isometric_images(codes) + 0.5 * normal(80, 18, seed=1).reshape(80, 2, 3, 3)
    order = np.random.default_rng(2).permutation(80)
    changed = {
        "rotation": (codes @ np.linalg.qr(normal(4, 4, seed=3))[0], images),
        "latents": (codes[:, [2, 0, 3, 1]], images),
        "sign": (codes * [1, -1, -1, 1], images),
        "scale": (100 * codes, images),
        "order": (codes[order], images[order]),
    }[change]
    assert gw(*changed) == pytest.approx(gw(codes, images), rel=1e-6)
    assert isometry_correlation(*changed) == pytest.approx(isometry_correlation(codes, images), rel=1e-9)


# Gromov–Wasserstein


def test_it_is_at_most_the_distortion_of_the_pairing_and_at_least_0() -> None:
    for seed in range(5):
        codes, images = normal(60, 3, seed), normal(60, 5, seed + 10)
        distortion = np.square(unit_mean_distances(codes) - unit_mean_distances(images)).mean()
        assert 0 < gw(codes, images) < distortion


def test_it_is_not_below_the_best_permutation_of_a_small_problem() -> None:
    """Euclidean distances are conditionally negative definite, so a permutation is optimal (Maron and Lipman 2018)."""
    codes, images = normal(6, 2), normal(6, 3, seed=1)
    ours, theirs = unit_mean_distances(codes), unit_mean_distances(images)
    orders = [list(order) for order in itertools.permutations(range(6))]
    best = min(np.square(ours - theirs[np.ix_(order, order)]).mean() for order in orders)
    assert gw(codes, images) >= best - 1e-9
    undone = orders[[np.square(ours - theirs[np.ix_(o, o)]).mean() for o in orders].index(best)]
    assert gw(codes, images[undone]) == pytest.approx(best)


def test_it_is_that_of_pot_on_distances_of_mean_1() -> None:
    from ot.gromov import gromov_wasserstein2

    codes, images = normal(40, 3), normal(40, 5, seed=1)
    expected = gromov_wasserstein2(unit_mean_distances(codes), unit_mean_distances(images), G0=np.eye(40) / 40)
    assert gw(codes, images) == pytest.approx(expected)


def test_it_needs_as_many_points_as_asked_for() -> None:
    with pytest.raises(Unmeasurable, match="the split has 9 points, 10 were asked for"):
        gromov_wasserstein(normal(9, 2), normal(9, 2), num_samples=10)


# Correlation of distances


def test_the_correlation_is_pearsons_over_pairs_of_squared_distances() -> None:
    codes, images = normal(12, 2), normal(12, 3, seed=1)
    pairs = list(itertools.combinations(range(12), 2))
    of_codes = [np.square(codes[i] - codes[j]).sum() for i, j in pairs]
    of_images = [np.square(images[i] - images[j]).sum() for i, j in pairs]
    assert isometry_correlation(codes, images) == pytest.approx(np.corrcoef(of_codes, of_images)[0, 1])


def test_one_metric_is_of_data_and_one_of_samples() -> None:
    arrays = {name: metric.arrays for name, metric in all_metrics().items() if name.startswith("isometry-correlation")}
    assert arrays == {
        "isometry-correlation-data": ("codes", "images"),
        "isometry-correlation-generated": ("prior_codes", "samples"),
    }


# Degenerate input


@pytest.mark.parametrize("measure", [gw, isometry_correlation])
def test_points_that_are_all_the_same_have_no_geometry(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(Unmeasurable, match="the 20 codes are all the same"):
        measure(np.ones((20, 2)), normal(20, 3))
    with pytest.raises(Unmeasurable, match="the 20 images are all the same"):
        measure(normal(20, 2), np.zeros((20, 1, 4, 4), np.uint8))


def test_points_that_are_equally_far_apart_have_no_correlation() -> None:
    with pytest.raises(Unmeasurable, match="distances between the 5 codes are all the same"):
        isometry_correlation(np.eye(5), normal(5, 3))


def test_codes_that_are_not_finite_have_no_geometry() -> None:
    codes = normal(20, 2)
    codes[3] = np.nan
    with pytest.raises(Unmeasurable, match="codes hold values that are not finite"):
        gw(codes, normal(20, 3))
    with pytest.raises(Unmeasurable, match="codes hold values that are not finite"):
        all_metrics()["isometry-correlation-data"].compute(codes, normal(20, 3))
