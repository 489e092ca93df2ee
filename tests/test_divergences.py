"""Divergences against known answers, closed forms of torch.distributions, and POT."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from methods.parts.divergences import (
    IMQ_SCALES,
    _mean_over_directions,
    biased_mmd,
    cramer_wold_to_standard_normal,
    gromov_wasserstein,
    imq_kernel,
    infovae_kernel,
    kl_to_standard_normal,
    median_bandwidth,
    mmd,
    moment_mismatch,
    pairwise_distances,
    rbf_kernel,
    silverman_bandwidth,
    sinkhorn_divergence,
    sliced_wasserstein,
    squared_distances,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_kl_is_that_of_torch_distributions() -> None:
    mean, log_variance = torch.randn(7, 5), torch.randn(7, 5)
    posterior = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    prior = Independent(Normal(torch.zeros(5), torch.ones(5)), 1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), kl_divergence(posterior, prior))


def test_kl_of_the_prior_itself_is_0() -> None:
    assert kl_to_standard_normal(torch.zeros(3, 4), torch.zeros(3, 4)).tolist() == [0, 0, 0]


def test_squared_distances_are_those_of_cdist() -> None:
    x, y = torch.randn(6, 3), torch.randn(4, 3)
    torch.testing.assert_close(squared_distances(x, y), torch.cdist(x, y) ** 2, rtol=1e-4, atol=1e-5)
    assert (squared_distances(x, x) >= 0).all()


def test_imq_kernel_at_a_known_distance() -> None:
    # At r² = C every scale s gives s / (s + 1).
    expected = sum(s / (s + 1) for s in IMQ_SCALES)
    assert imq_kernel(16.0)(torch.tensor(16.0)).item() == pytest.approx(expected, rel=1e-6)
    assert imq_kernel(16.0)(torch.tensor(0.0)).item() == pytest.approx(7.0)


def test_rbf_kernel_at_a_known_distance() -> None:
    assert rbf_kernel(2.0)(torch.tensor(4.0)).item() == pytest.approx(math.exp(-1))


def test_mmd_is_the_u_statistic_written_out() -> None:
    x, y = torch.randn(5, 2), torch.randn(5, 2)
    kernel = rbf_kernel(1.5)

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        return math.exp(-((a - b) ** 2).sum().item() / 3.0)

    within = sum(k(p[i], p[j]) for p in (x, y) for i in range(5) for j in range(5) if i != j) / 20
    between = sum(k(a, b) for a in x for b in y) / 25
    assert mmd(x, y, kernel).item() == pytest.approx(within - 2 * between, abs=1e-6)


def test_mmd_of_equal_samples_is_slightly_negative() -> None:
    x = torch.randn(200, 4)
    value = mmd(x, x, imq_kernel(8.0)).item()
    # The biased estimate is 0; leaving out the diagonal costs 2 (k̄ − k(0)) / (n − 1) on either side.
    mean = imq_kernel(8.0)(squared_distances(x, x)).mean().item()
    assert value == pytest.approx(2 * (mean - 7) / 199, rel=1e-3)
    assert value < 0


def test_mmd_of_two_samples_of_one_law_is_0_on_average() -> None:
    kernel = imq_kernel(6.0)
    values = torch.stack([mmd(torch.randn(50, 3), torch.randn(50, 3), kernel) for _ in range(400)])
    assert abs(values.mean()) < 3 * values.std() / 20
    assert (values < 0).any()


def test_mmd_tells_laws_apart() -> None:
    assert mmd(torch.randn(200, 3), torch.randn(200, 3) + 1, imq_kernel(6.0)) > 0.3


def test_biased_mmd_of_equal_samples_is_0() -> None:
    points = torch.randn(10, 3)
    assert biased_mmd(points, points, rbf_kernel(2.0)).item() == pytest.approx(0, abs=1e-6)


def test_biased_mmd_counts_every_pair() -> None:
    x, y = torch.randn(4, 3), torch.randn(4, 3)

    def mean_kernel(a: Tensor, b: Tensor) -> float:
        return sum(math.exp(-((p - q) ** 2).sum().item() / 5) for p in a for q in b) / 16

    expected = mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)
    assert biased_mmd(x, y, rbf_kernel(2.5)).item() == pytest.approx(expected, rel=1e-4)


def test_the_kernel_of_infovae_at_a_known_distance() -> None:
    # Two codes of four dimensions that are 2 apart in each: exp(−4 / 4).
    assert infovae_kernel(4)(torch.tensor(16.0)).item() == pytest.approx(math.exp(-1))


def test_bandwidth_is_the_sum_of_the_two_medians() -> None:
    codes, noise = 2 * torch.randn(40, 3), torch.randn(40, 3)
    off_diagonal = squared_distances(codes, codes)[~torch.eye(40, dtype=torch.bool)]
    expected = off_diagonal.median() + squared_distances(codes, noise).median()
    assert median_bandwidth(codes, noise).item() == pytest.approx(expected.item(), rel=0.02)


@pytest.mark.parametrize("dim", [2, 8])
def test_sliced_distance_of_a_translate_is_its_squared_length_over_the_dimension(dim: int) -> None:
    x, shift = torch.randn(30, dim), torch.full((dim,), 1.5)
    expected = shift.square().sum().item() / dim
    assert sliced_wasserstein(x, x[torch.randperm(30)] + shift, 20_000).item() == pytest.approx(expected, rel=0.05)


def test_sliced_distance_agrees_with_pot() -> None:
    ot = pytest.importorskip("ot")
    x, y = torch.randn(64, 4), 2 * torch.randn(64, 4) + 1
    expected = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), n_projections=20_000, seed=0) ** 2
    assert sliced_wasserstein(x, y, 20_000).item() == pytest.approx(expected, rel=0.03)


def test_sliced_distance_of_a_permuted_sample_is_0() -> None:
    x = torch.randn(30, 4)
    assert sliced_wasserstein(x, x.flip(0), 10).item() == pytest.approx(0, abs=1e-12)


def test_sliced_distance_and_its_gradient_are_those_of_exact_transport_along_each_direction() -> None:
    import ot

    x, y = torch.randn(12, 3, dtype=torch.float64, requires_grad=True), torch.randn(12, 3, dtype=torch.float64)
    torch.manual_seed(5)
    directions = torch.randn(3, 7)
    torch.manual_seed(5)
    value = sliced_wasserstein(x.float(), y.float(), 7)
    value.backward()
    expected, gradient = 0.0, np.zeros((12, 3))
    for direction in directions.T.double():
        direction = direction / direction.norm()
        left, right = ((points @ direction).detach().numpy() for points in (x, y))
        gaps = left[:, None] - right
        plan = ot.emd([], [], gaps**2)
        expected += (plan * gaps**2).sum() / 7
        gradient += 2 * (plan * gaps).sum(axis=1)[:, None] * direction.numpy() / 7
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), gradient, atol=1e-6)


def central_differences(function: Callable[[Tensor], Tensor], points: Tensor, step: float = 1e-5) -> Tensor:
    """Gradient of a scalar function at points [n, d] in float64, an entry at a time."""
    gradient = torch.zeros_like(points)
    for index in np.ndindex(*points.shape):
        shift = torch.zeros_like(points)
        shift[index] = step
        gradient[index] = (function(points + shift) - function(points - shift)) / (2 * step)
    return gradient


def test_sinkhorn_divergence_is_that_of_iterations_written_out() -> None:
    x, y, epsilon = torch.randn(7, 3), torch.randn(9, 3) + 0.5, 0.7

    def cost(left: Tensor, right: Tensor) -> float:
        squared = np.array([[((a - b) ** 2).sum().item() for b in right] for a in left])
        kernel, u = np.exp(-squared / epsilon), np.ones(len(left))
        for _ in range(5):
            v = 1 / len(right) / (kernel.T @ u)
            u = 1 / len(left) / (kernel @ v)
        return float((u[:, None] * kernel * v * squared).sum())

    expected = cost(x, y) - 0.5 * (cost(x, x) + cost(y, y))
    assert sinkhorn_divergence(x, y, epsilon, 5).item() == pytest.approx(expected, rel=1e-4)


def test_sinkhorn_divergence_is_that_of_pot() -> None:
    import ot

    x, y = np.random.default_rng(0).normal(size=(2, 20, 3))
    expected = ot.bregman.empirical_sinkhorn_divergence(x, y, 0.5, numIterMax=2001, stopThr=1e-11)
    assert sinkhorn_divergence(torch.tensor(x), torch.tensor(y), 0.5, 2000).item() == pytest.approx(expected, rel=1e-6)


def test_sinkhorn_divergence_tends_to_the_exact_transport_cost() -> None:
    import ot

    x, y = torch.randn(16, 2, dtype=torch.float64), torch.randn(16, 2, dtype=torch.float64) + 2
    exact = ot.emd2([], [], squared_distances(x, y).numpy())
    assert sinkhorn_divergence(x, y, 0.02, 3000).item() == pytest.approx(exact, rel=1e-3)


def test_sinkhorn_divergence_of_a_sample_from_itself_is_0() -> None:
    x = torch.randn(10, 4)
    assert sinkhorn_divergence(x, x, 0.1, 20).item() == 0


def test_gradient_of_the_sinkhorn_divergence_goes_through_its_iterations() -> None:
    x, y = torch.randn(6, 2, dtype=torch.float64, requires_grad=True), torch.randn(5, 2, dtype=torch.float64)

    def divergence(points: Tensor) -> Tensor:
        return sinkhorn_divergence(points, y, 0.3, 4)

    (gradient,) = torch.autograd.grad(divergence(x), x)
    torch.testing.assert_close(gradient, central_differences(divergence, x.detach()), rtol=1e-5, atol=1e-7)


def test_silverman_bandwidth_of_a_hundred_points() -> None:
    assert silverman_bandwidth(100) == pytest.approx((4 / 300) ** 0.4)


def cramer_wold_by_integration(codes: np.ndarray, directions: np.ndarray) -> float:
    """The squared distance to N(0, I) from its definition: smoothed densities on a grid, direction by direction."""
    gamma = silverman_bandwidth(len(codes))
    grid = np.linspace(-12, 12, 2401)

    def density(means: np.ndarray, variance: float) -> np.ndarray:
        bumps = np.exp(-((grid - means[:, None]) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
        return bumps.mean(axis=0)

    gaps = [density(codes @ v, gamma) - density(np.zeros(1), 1 + gamma) for v in directions]
    return float(np.mean([(gap**2).sum() * (grid[1] - grid[0]) for gap in gaps]))


@pytest.mark.parametrize(("dim", "tolerance"), [(1, 1e-4), (2, 1e-3), (20, 0.1)])
def test_cramer_wold_distance_is_the_mean_over_directions_of_that_of_smoothed_projections(
    dim: int, tolerance: float
) -> None:
    rng = np.random.default_rng(0)
    codes = 1.5 * rng.normal(size=(12, dim)) + 0.5
    if dim == 2:
        angles = np.pi * (np.arange(400) + 0.5) / 400
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    else:
        directions = rng.normal(size=(1 if dim == 1 else 4000, dim))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    expected = cramer_wold_by_integration(codes, directions)
    assert cramer_wold_to_standard_normal(torch.tensor(codes)).item() == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(("dim", "bound"), [(1, 1e-6), (2, 1e-6), (3, 0.13), (8, 0.031), (20, 0.011)])
def test_mean_over_directions_is_as_near_to_kummers_function_as_it_says(dim: int, bound: float) -> None:
    from scipy.special import hyp1f1

    s = np.logspace(-3, 2.5, 200)
    exact = np.exp(-s) if dim == 1 else hyp1f1(0.5, dim / 2, -s)
    np.testing.assert_allclose(_mean_over_directions(torch.tensor(s), dim).numpy(), exact, rtol=bound)


@pytest.mark.parametrize("dim", [1, 2, 8])
def test_gradient_of_the_cramer_wold_distance_is_that_of_finite_differences(dim: int) -> None:
    codes = torch.randn(6, dim, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(cramer_wold_to_standard_normal(codes), codes)
    expected = central_differences(cramer_wold_to_standard_normal, codes.detach())
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-9)


def test_cramer_wold_distance_is_least_for_draws_of_the_normal_itself() -> None:
    draws = torch.randn(400, 8)
    least = cramer_wold_to_standard_normal(draws)
    assert 0 < least < 0.2 * cramer_wold_to_standard_normal(draws + 1)
    assert least < 0.2 * cramer_wold_to_standard_normal(0.3 * draws)


def test_moment_mismatch_of_a_translate_is_the_mean_square_of_the_shift() -> None:
    x = torch.randn(50, 4, dtype=torch.float64)
    shift = torch.tensor([1.0, 2.0, 0.0, -1.0], dtype=torch.float64)
    assert moment_mismatch(x + shift, x).item() == pytest.approx(6 / 4)


def test_moment_mismatch_sees_covariances() -> None:
    # x has covariance c; doubling it leaves 3c, of which the mean over the 2 × 2 entries is taken.
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert moment_mismatch(2 * x, x).item() == pytest.approx(2 * (3 * 2 / 3) ** 2 / 4)


def test_distortion_of_an_isometry_is_0() -> None:
    codes = torch.randn(20, 3, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    images = 2.5 / codes.std(dim=0).mean() * codes @ rotation + 1
    assert gromov_wasserstein(codes, images, torch.tensor(2.5)).item() == pytest.approx(0, abs=1e-12)


def test_distortion_on_known_points() -> None:
    # Codes 0 and 2 have standard deviation √2, hence distance √2 in their own unit; the images are 5 apart.
    codes = torch.tensor([[0.0], [2.0]])
    images = torch.tensor([0.0, 0.0, 3.0, 4.0]).view(2, 1, 1, 2)
    expected = 2 * abs(3 * math.sqrt(2) - 5) / 4
    assert gromov_wasserstein(codes, images, torch.tensor(3.0)).item() == pytest.approx(expected, rel=1e-6)


def test_pairwise_distances_have_a_finite_gradient_where_points_coincide() -> None:
    points = torch.ones(3, 2, requires_grad=True)
    pairwise_distances(points).sum().backward()
    assert points.grad is not None
    assert (points.grad == 0).all()
