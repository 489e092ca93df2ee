"""Marginals, normality and active units of codes: known answers, SciPy, and the definitions as plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.metrics.base import Unmeasurable
from bench.metrics.latent.marginals import active_units, latent_ks, latent_normality


def normal(count: int, latents: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, latents)).astype(np.float32)


def ks(codes: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
    found = latent_ks(codes, noise, num_samples=len(noise))
    return found["latent-ks-mean"], found["latent-ks-max"]


def marginal(codes: np.ndarray) -> float:
    found = latent_normality(codes, num_samples=len(codes))["latent-normality-marginal"]
    assert isinstance(found, float)
    return found


def radius(codes: np.ndarray) -> float:
    found = latent_normality(codes, num_samples=len(codes))["latent-normality-radius"]
    assert isinstance(found, float)
    return found


# Kolmogorov–Smirnov distance to the prior


def test_equal_samples_have_no_gap_and_disjoint_ones_a_gap_of_1() -> None:
    codes = normal(50, 3)
    assert ks(codes, codes) == (0, 0)
    assert ks(codes, codes + 100) == (1, 1)


def test_the_mean_and_the_widest_gap_are_over_dimensions() -> None:
    noise = normal(100, 4)
    codes = noise.copy()
    codes[:, 2] += 100
    assert ks(codes, noise) == (0.25, 1)


def test_the_gap_of_shifted_uniforms_is_the_shift() -> None:
    grid = np.arange(1000)[:, None] / 1000
    assert ks(grid + 0.3, grid)[0] == pytest.approx(0.3, abs=1e-3)


def test_the_gap_is_the_largest_difference_of_shares_below_a_point() -> None:
    codes, noise = 0.6 * normal(30, 2) + 0.2, normal(30, 2, seed=1)
    gaps = [
        max(
            abs(np.mean(codes[:, j] <= point) - np.mean(noise[:, j] <= point)) for point in [*codes[:, j], *noise[:, j]]
        )
        for j in range(2)
    ]
    assert ks(codes, noise) == pytest.approx((np.mean(gaps), max(gaps)))


def test_ties_count_on_both_sides() -> None:
    assert ks(np.zeros((10, 1)), np.zeros((10, 1))) == (0, 0)
    assert ks(np.zeros((10, 1)), np.repeat([[0.0], [1.0]], 5, axis=0)) == (0.5, 0.5)


# Normality


def test_normal_codes_of_any_mean_and_covariance_are_normal() -> None:
    codes = normal(4000, 5)
    mixed = codes @ normal(5, 5, seed=1) * 10 + 3
    for points in (codes, mixed):
        assert marginal(points) < 1 / math.sqrt(4000)
        assert radius(points) < 1.2 / math.sqrt(4000)


def test_the_marginal_gap_is_the_statistic_of_lilliefors() -> None:
    codes = normal(60, 2) ** 3
    expected = []
    for column in codes.astype(np.float64).T:
        ordered = sorted(column)
        law = stats.norm(np.mean(ordered), np.std(ordered, ddof=1))
        below = [max((i + 1) / 60 - law.cdf(x), law.cdf(x) - i / 60) for i, x in enumerate(ordered)]
        expected.append(max(below))
    assert marginal(codes) == pytest.approx(np.mean(expected))


def test_the_radius_gap_is_to_the_law_of_a_normal_samples_mahalanobis_distances() -> None:
    codes = (normal(60, 3) ** 3).astype(np.float64)
    mean, precision = codes.mean(axis=0), np.linalg.inv(np.cov(codes.T))
    shares = sorted((point - mean) @ precision @ (point - mean) * 60 / 59**2 for point in codes)
    law = stats.beta(3 / 2, (60 - 3 - 1) / 2)
    expected = max(max((i + 1) / 60 - law.cdf(x), law.cdf(x) - i / 60) for i, x in enumerate(shares))
    assert radius(codes) == pytest.approx(expected)


def test_distances_of_normal_codes_have_that_law_even_with_few_codes_a_dimension() -> None:
    gaps = [radius(normal(40, 20, seed=seed)) for seed in range(20)]
    assert np.mean(gaps) < 1 / math.sqrt(40)


def test_normal_marginals_do_not_hide_a_joint_distribution_that_is_not() -> None:
    codes = normal(4000, 8)
    signs = np.sign(normal(4000, 1, seed=1))
    dependent = (
        np.abs(codes[:, :1]) * np.where(normal(4000, 8, seed=2) > 0, 1, -1) * signs
    )  # each |N(0, 1)| with a sign
    assert marginal(dependent) < 1.5 / math.sqrt(4000)
    assert radius(dependent) > 0.2


def test_an_affine_map_of_codes_leaves_the_radius_gap() -> None:
    codes = normal(300, 4) ** 3
    assert radius(codes @ normal(4, 4, seed=1) + 5) == pytest.approx(radius(codes), abs=1e-3)


def test_a_constant_dimension_is_half_off_and_leaves_the_radius_without_a_value() -> None:
    codes = normal(500, 2)
    codes[:, 1] = 7
    found = latent_normality(codes, num_samples=500)
    assert found["latent-normality-marginal"] == pytest.approx((marginal(codes[:, :1]) + 0.5) / 2)
    assert str(found["latent-normality-radius"]) == "the 500 codes span 1 of 2 dimensions"


def test_a_dimension_given_twice_leaves_the_radius_without_a_value() -> None:
    codes = normal(500, 3)[:, [0, 1, 2, 0]]
    assert str(latent_normality(codes, num_samples=500)["latent-normality-radius"]).endswith("span 3 of 4 dimensions")


def test_the_radius_needs_more_codes_than_dimensions() -> None:
    found = latent_normality(normal(6, 5), num_samples=6)["latent-normality-radius"]
    assert isinstance(found, Unmeasurable)
    assert isinstance(latent_normality(normal(7, 5), num_samples=7)["latent-normality-radius"], float)


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 0, 2]])
def test_order_and_sign_of_dimensions_do_not_matter(order: list[int]) -> None:
    codes, noise = normal(200, 3) * [1, 0.5, 2] + [0, 1, 0], normal(200, 3, seed=1)
    signs = [-1, 1, -1]
    assert ks(codes[:, order] * signs, noise[:, order] * signs) == pytest.approx(ks(codes, noise))
    assert marginal(codes[:, order] * signs) == pytest.approx(marginal(codes))
    assert radius(codes[:, order] * signs) == pytest.approx(radius(codes))


def test_fewer_codes_than_asked_for_have_no_gap() -> None:
    with pytest.raises(Unmeasurable, match="the split has 9 points, 10 were asked for"):
        latent_ks(normal(9, 2), normal(10, 2), num_samples=10)
    with pytest.raises(Unmeasurable, match="the split has 9 points, 10 were asked for"):
        latent_normality(normal(9, 2), num_samples=10)


# Active units


def test_a_unit_is_active_where_its_variance_is_above_a_hundredth() -> None:
    codes = normal(5000, 4) * [1, 0.11, 0.09, 0]
    assert active_units(codes)["active-units"] == 2


def test_constant_codes_have_no_active_unit() -> None:
    assert active_units(np.full((10, 3), 5.0))["active-units"] == 0


def test_one_code_has_no_variance() -> None:
    with pytest.raises(Unmeasurable, match="codes must be at least two points; there is 1"):
        active_units(normal(1, 3))
