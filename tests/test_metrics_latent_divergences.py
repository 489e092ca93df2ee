"""Divergences of codes from the prior: known answers, POT, and the definitions as plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from bench.metrics.base import Unmeasurable
from bench.metrics.latent.divergences import TILE, latent_mmd, latent_sinkhorn, latent_sliced_w2
from methods.parts import divergences as training


def normal(count: int, latents: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, latents)).astype(np.float32)


def mmd(codes: np.ndarray, noise: np.ndarray) -> float:
    return latent_mmd(codes, noise, num_samples=len(noise))["latent-mmd"]


def sliced_w2(codes: np.ndarray, noise: np.ndarray, projections: int = 1000, seed: int = 0) -> float:
    rng = np.random.default_rng(seed)
    return latent_sliced_w2(codes, noise, rng, projections=projections, num_samples=len(noise))["latent-sliced-w2"]


def sinkhorn(codes: np.ndarray, noise: np.ndarray, epsilon: float = 0.5) -> float:
    return latent_sinkhorn(codes, noise, epsilon=epsilon, num_samples=len(noise))["latent-sinkhorn"]


Divergence = Callable[[np.ndarray, np.ndarray], float]
EACH = pytest.mark.parametrize("divergence", [mmd, sliced_w2, sinkhorn])


@EACH
def test_samples_of_one_distribution_are_nearer_than_those_of_others(divergence: Divergence) -> None:
    codes, noise = normal(300, 8), normal(300, 8, seed=1)
    equal = divergence(codes, noise)
    assert equal < 0.2
    for others in (codes + 0.5, 0.3 * codes, codes * np.linspace(0.2, 3, 8), np.zeros_like(codes)):
        assert divergence(others, noise) > equal + 0.1


@EACH
def test_the_order_of_either_sample_does_not_matter(divergence: Divergence) -> None:
    codes, noise = 0.5 * normal(300, 3), normal(300, 3, seed=1)
    assert divergence(codes[::-1], np.roll(noise, 7, axis=0)) == pytest.approx(divergence(codes, noise), rel=1e-9)


@EACH
def test_a_rotation_of_both_samples_does_not_matter(divergence: Divergence) -> None:
    codes, noise = normal(300, 3) * [1, 0.5, 2], normal(300, 3, seed=1)
    rotation = np.linalg.qr(normal(3, 3, seed=2).astype(np.float64))[0]
    # The directions of sliced W2 do not turn along: an error of Monte Carlo.
    tolerance = 0.05 if divergence is sliced_w2 else 1e-9
    assert divergence(codes @ rotation, noise @ rotation) == pytest.approx(divergence(codes, noise), rel=tolerance)


@EACH
def test_codes_that_are_not_finite_have_no_divergence(divergence: Divergence) -> None:
    broken = normal(10, 2)
    broken[3, 1] = np.inf
    with pytest.raises(Unmeasurable, match="drawn codes hold values that are not finite"):
        divergence(broken, normal(10, 2))


@EACH
def test_one_code_has_no_divergence(divergence: Divergence) -> None:
    with pytest.raises(Unmeasurable, match="two points"):
        divergence(normal(1, 2), normal(1, 2))


@pytest.mark.parametrize("metric", [sliced_w2, sinkhorn])
def test_fewer_codes_than_asked_for_have_no_biased_divergence(metric: Divergence) -> None:
    with pytest.raises(Unmeasurable, match="the split has 9 points, 10 were asked for"):
        metric(normal(9, 2), normal(10, 2))


# MMD


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    squared = sum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True))
    constants = [2 * len(x) * scale for scale in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
    return sum(constant / (constant + squared) for constant in constants)


def test_mmd_is_the_u_statistic_of_all_pairs() -> None:
    codes, noise = 0.7 * normal(12, 3) + 0.2, normal(15, 3, seed=1)
    among_codes = [kernel(x, y) for i, x in enumerate(codes) for j, y in enumerate(codes) if i != j]
    among_noise = [kernel(x, y) for i, x in enumerate(noise) for j, y in enumerate(noise) if i != j]
    across = [kernel(x, y) for x in codes for y in noise]
    expected = np.mean(among_codes) + np.mean(among_noise) - 2 * np.mean(across)
    assert mmd(codes, noise) == pytest.approx(expected, rel=1e-9)


def test_mmd_is_that_of_the_training_loss_of_wae() -> None:
    codes, noise = 0.5 * normal(2 * TILE + 3, 6), normal(3 * TILE, 6, seed=1)
    expected = training.mmd(torch.from_numpy(codes), torch.from_numpy(noise), training.imq_kernel(12.0))
    assert mmd(codes, noise) == pytest.approx(expected.item(), rel=1e-4)


def test_the_unbiased_mmd_of_a_sample_to_itself_is_below_0_by_what_its_bias_would_be() -> None:
    codes = normal(40, 3)
    mean_of_all = np.mean([kernel(x, y) for x in codes for y in codes])
    assert mmd(codes, codes) == pytest.approx(-2 * (7 - mean_of_all) / 39, rel=1e-6)


def test_mmd_of_samples_of_one_distribution_is_0_on_average() -> None:
    values = np.array([mmd(normal(100, 3, seed=2 * i), normal(100, 3, seed=2 * i + 1)) for i in range(60)])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(len(values))
    assert values.min() < 0 < values.max()


def test_mmd_of_points_ever_farther_apart_is_that_of_the_kernels_within() -> None:
    assert mmd(np.zeros((50, 2)), np.full((50, 2), 1e15)) == pytest.approx(14)


# Sliced W2


@pytest.mark.parametrize("latents", [1, 5, 20])
def test_sliced_w2_to_a_translate_is_its_squared_length_over_the_dimension(latents: int) -> None:
    codes = normal(200, latents).astype(np.float64)
    offset = np.linspace(-1, 2, latents)
    expected = np.square(offset).sum() / latents
    assert sliced_w2(codes + offset, codes, projections=20) == pytest.approx(expected, rel=1e-9)


def test_sliced_w2_of_normals_of_other_scale_is_the_squared_difference_of_scales() -> None:
    assert sliced_w2(3 * normal(20_000, 3), normal(20_000, 3, seed=1), projections=60) == pytest.approx(4, rel=0.02)


def test_sliced_w2_in_one_dimension_is_w2_of_pot() -> None:
    from ot import emd2_1d

    codes, noise = 0.3 * normal(50, 1) + 1, normal(50, 1, seed=1)
    assert sliced_w2(codes, noise, projections=3) == pytest.approx(emd2_1d(codes[:, 0], noise[:, 0]), rel=1e-6)


def test_sliced_w2_agrees_with_pot_within_the_spread_of_its_directions() -> None:
    from ot.sliced import sliced_wasserstein_distance

    codes, noise = normal(100, 4) * [1, 2, 0.5, 1] + [1, 0, 0, 0], normal(100, 4, seed=1)
    expected = sliced_wasserstein_distance(codes, noise, n_projections=20_000, seed=0) ** 2
    assert sliced_w2(codes, noise, projections=20_000) == pytest.approx(expected, rel=0.02)


def test_sliced_w2_is_of_the_directions_the_generator_gives() -> None:
    codes, noise = normal(100, 4) * [1, 2, 0.5, 1], normal(100, 4, seed=1)
    assert sliced_w2(codes, noise, seed=3) == sliced_w2(codes, noise, seed=3)
    assert sliced_w2(codes, noise, seed=3) != sliced_w2(codes, noise, seed=4)


def test_fewer_directions_than_dimensions_are_columns_of_one_orthonormal_matrix() -> None:
    codes, noise = normal(40, 6), normal(40, 6, seed=1)
    frame = np.linalg.qr(np.random.default_rng(3).standard_normal((6, 6)))[0][:, :2]
    gaps = np.sort(codes @ frame, axis=0) - np.sort(noise @ frame, axis=0)
    assert sliced_w2(codes, noise, projections=2, seed=3) == pytest.approx(np.square(gaps).mean(), rel=1e-6)


def test_sliced_w2_needs_a_direction() -> None:
    with pytest.raises(Unmeasurable, match="0 projections"):
        sliced_w2(normal(9, 2), normal(9, 2), projections=0)


# Sinkhorn divergence


def entropic_cost(x: np.ndarray, y: np.ndarray, epsilon: float) -> float:
    """By Sinkhorn's iterations as in Cuturi 2013: ⟨P, C⟩ + ε Σ P log(P / ab)."""
    cost = np.array([[np.square(p - q).sum() for q in y] for p in x], dtype=np.float64)
    gibbs, product = np.exp(-cost / epsilon), 1 / cost.size
    u, v = np.ones(len(x)), np.ones(len(y))
    for _ in range(5000):
        u = 1 / len(x) / (gibbs @ v)
        v = 1 / len(y) / (gibbs.T @ u)
    plan = u[:, None] * gibbs * v
    return float((plan * cost).sum() + epsilon * (plan * np.log(plan / product)).sum())


@pytest.mark.parametrize("epsilon", [0.1, 0.5])
def test_sinkhorn_is_the_debiased_value_of_the_entropic_problem(epsilon: float) -> None:
    codes, noise = (0.7 * normal(25, 3) + 0.4).astype(np.float64), normal(25, 3, seed=1).astype(np.float64)
    scale = epsilon * np.mean([np.square(p - q).sum() for i, p in enumerate(noise) for q in np.delete(noise, i, 0)])
    across, of_codes, of_noise = (
        entropic_cost(x, y, scale) for x, y in ((codes, noise), (codes, codes), (noise, noise))
    )
    expected = across - of_codes / 2 - of_noise / 2
    assert sinkhorn(codes, noise, epsilon) == pytest.approx(expected, rel=1e-5)


def test_sinkhorn_agrees_with_pot() -> None:
    from ot import dist, solve

    codes, noise = (0.7 * normal(60, 3) + 0.4).astype(np.float64), normal(60, 3, seed=1).astype(np.float64)
    epsilon = 0.2 * 2 * noise.var(axis=0, ddof=1).sum()
    across, of_codes, of_noise = (
        solve(dist(x, y), reg=epsilon, reg_type="KL", max_iter=5000, tol=1e-9).value
        for x, y in ((codes, noise), (codes, codes), (noise, noise))
    )
    assert sinkhorn(codes, noise, 0.2) == pytest.approx(across - of_codes / 2 - of_noise / 2, rel=1e-5)


def test_sinkhorn_tends_to_w2_of_pot_as_the_blur_goes() -> None:
    from ot import dist, emd2

    codes, noise = (0.7 * normal(12, 4) + 1).astype(np.float64), normal(12, 4, seed=10).astype(np.float64)
    exact = emd2([], [], dist(codes, noise))
    errors = [abs(sinkhorn(codes, noise, epsilon) / exact - 1) for epsilon in (0.5, 0.05, 0.02)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01


def test_sinkhorn_of_a_sample_to_itself_is_0() -> None:
    assert sinkhorn(normal(200, 5), normal(200, 5)) == pytest.approx(0, abs=1e-9)


def test_sinkhorn_to_a_translate_is_its_squared_length() -> None:
    codes = normal(200, 4).astype(np.float64)
    offset = np.array([0.5, -1, 2, 0])
    assert sinkhorn(codes + offset, codes) == pytest.approx(np.square(offset).sum(), rel=1e-6)


def test_sinkhorn_grows_with_the_square_of_the_scale() -> None:
    codes, noise = 0.5 * normal(100, 3), normal(100, 3, seed=1)
    assert sinkhorn(1e6 * codes, 1e6 * noise) == pytest.approx(1e12 * sinkhorn(codes, noise), rel=1e-5)


def test_sinkhorn_says_where_it_does_not_converge() -> None:
    with pytest.raises(Unmeasurable, match=r"marginals are off by .* after 1000 of Sinkhorn's iterations"):
        sinkhorn(1e5 * normal(50, 2), normal(50, 2, seed=1))


def test_sinkhorn_has_no_unit_of_blur_where_the_prior_is_a_point() -> None:
    with pytest.raises(Unmeasurable, match="draws of the prior are all the same"):
        sinkhorn(normal(50, 2), np.ones((50, 2)))
    with pytest.raises(Unmeasurable, match="epsilon is a share above 0"):
        sinkhorn(normal(50, 2), normal(50, 2), 0.0)
