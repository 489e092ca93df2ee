"""Divergences against known answers, closed forms of torch.distributions, and POT."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from methods.parts.adversaries import discriminator_loss, gradient_penalty, non_saturating_loss
from methods.parts.divergences import (
    IMQ_SCALES,
    gromov_wasserstein,
    imq_kernel,
    kl_to_standard_normal,
    median_bandwidth,
    mmd,
    moment_mismatch,
    pairwise_distances,
    rbf_kernel,
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


def test_discriminator_losses_are_binary_cross_entropies() -> None:
    prior, codes = torch.randn(8), torch.randn(8)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = bce(prior, torch.ones(8)) + bce(codes, torch.zeros(8))
    torch.testing.assert_close(discriminator_loss(prior, codes), expected)
    torch.testing.assert_close(non_saturating_loss(codes), bce(codes, torch.ones(8)))


def test_gradient_penalty_of_a_linear_critic_is_known() -> None:
    # ∇ has 12 entries of 2 and 4 of 3: its norm is √(48 + 36), wherever it is taken.
    def critic(images: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return 2 * images.flatten(1).sum(1, keepdim=True) + 3 * codes.sum(1, keepdim=True)

    real, fake = (torch.rand(5, 3, 2, 2), torch.rand(5, 4)), (torch.rand(5, 3, 2, 2), torch.rand(5, 4))
    assert gradient_penalty(critic, real, fake).item() == pytest.approx((math.sqrt(84) - 1) ** 2, rel=1e-5)


def test_gradient_penalty_interpolates_all_arguments_with_one_weight() -> None:
    # Between (0, 0) and (1, 1) the two arguments stay equal, so that this critic's gradient is 0 and the penalty 1.
    def critic(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).square().sum(dim=1)

    zeros, ones = torch.zeros(9, 2), torch.ones(9, 2)
    assert gradient_penalty(critic, (zeros, zeros), (ones, ones)).item() == pytest.approx(1)
