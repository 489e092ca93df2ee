"""Terms of variational objectives against their definitions, by loops and by torch.distributions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from methods.parts.variational import (
    AggregateEstimator,
    aggregate_log_weights,
    correlation_within_groups,
    covariance_penalties,
    decompose_kl,
    gaussian_log_density,
    log_mixture_density,
    permute_dimensions,
)
from tests.gradients import assert_same_gradients


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_log_density_is_that_of_torch_distributions() -> None:
    codes, mean, log_variance = torch.randn(3, 7, 4)
    expected = Normal(mean, (0.5 * log_variance).exp()).log_prob(codes)
    torch.testing.assert_close(gaussian_log_density(codes, mean, log_variance), expected)


def test_mixture_density_and_its_gradients_are_those_of_torch_distributions() -> None:
    codes, mean, log_variance = (torch.randn(n, 4, requires_grad=True) for n in (7, 5, 5))
    components = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    expected = MixtureSameFamily(Categorical(torch.ones(5)), components).log_prob(codes)
    found = log_mixture_density(codes, mean, log_variance)
    torch.testing.assert_close(found, expected)
    assert_same_gradients(found.sum(), expected.sum(), [codes, mean, log_variance])


# The aggregate posterior


def test_weighted_estimates_weigh_all_alike() -> None:
    torch.testing.assert_close(aggregate_log_weights("weighted", 4, 100).exp(), torch.full((4, 4), 1 / 400))


@pytest.mark.parametrize("estimator", ["stratified", "balanced"])
def test_unbiased_weights_sum_to_1_and_give_an_image_its_share_of_the_dataset(estimator: AggregateEstimator) -> None:
    weights = aggregate_log_weights(estimator, 5, 100).exp()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(weights.diagonal(), torch.full((5,), 0.01))


def test_balanced_weights_of_other_images_are_equal() -> None:
    weights = aggregate_log_weights("balanced", 5, 100).exp()
    torch.testing.assert_close(weights[~torch.eye(5, dtype=torch.bool)], torch.full((20,), 0.99 / 4))


@pytest.mark.parametrize("estimator", ["stratified", "balanced"])
def test_stratified_and_balanced_estimates_are_unbiased(estimator: AggregateEstimator) -> None:
    densities = torch.tensor([0.3, 1.7, 0.2, 4.0, 0.9])  # q(z | x) of each of five images, at a z of the first
    weights = aggregate_log_weights(estimator, 3, 5).exp()[0]
    batches = [(0, *others) for others in itertools.permutations(range(1, 5), 2)]
    estimates = torch.stack([weights @ densities[list(batch)] for batch in batches])
    torch.testing.assert_close(estimates.mean(), densities.mean())


@pytest.mark.parametrize("estimator", ["weighted", "stratified", "balanced"])
def test_decomposition_and_its_gradients_are_those_of_the_definition(estimator: AggregateEstimator) -> None:
    codes, mean, log_variance = (torch.randn(6, 3, requires_grad=True) for _ in range(3))
    log_weights = aggregate_log_weights(estimator, 6, 50)
    found = decompose_kl(codes, mean, log_variance, log_weights)
    expected = _decomposition(codes, mean, log_variance, log_weights.exp())
    for part, definition in zip(found, expected, strict=True):
        torch.testing.assert_close(part, definition)
        assert_same_gradients(part, definition, [codes, mean, log_variance])


def test_parts_of_the_decomposition_add_up_to_the_estimate_of_the_kl() -> None:
    codes, mean, log_variance = torch.randn(3, 20, 4)
    parts = decompose_kl(codes, mean, log_variance, aggregate_log_weights("stratified", 20, 1000))
    posterior = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    prior = Independent(Normal(torch.zeros(4), torch.ones(4)), 1)
    expected = (posterior.log_prob(codes) - prior.log_prob(codes)).mean()
    torch.testing.assert_close(torch.stack(parts).sum(), expected)


def test_codes_that_tell_nothing_have_no_information_and_no_total_correlation() -> None:
    mean, log_variance = torch.full((500, 2), 0.7), torch.full((500, 2), -0.4)
    codes = mean + (0.5 * log_variance).exp() * torch.randn(500, 2)
    information, correlation, _ = decompose_kl(codes, mean, log_variance, _evenly(500))
    assert information.item() == pytest.approx(0, abs=1e-4)
    assert correlation.item() == pytest.approx(0, abs=1e-4)


def test_total_correlation_of_correlated_codes_is_the_gaussians() -> None:
    # Posteriors of variance 0.19 about means of covariance [[0.81, 0.81], [0.81, 0.81]]: codes of correlation 0.81.
    mean = 0.9 * torch.randn(2000, 1).expand(2000, 2)
    log_variance = torch.full((2000, 2), math.log(0.19))
    codes = mean + 0.19**0.5 * torch.randn(2000, 2)
    _, correlation, dimension_wise = decompose_kl(codes, mean, log_variance, _evenly(2000))
    assert correlation.item() == pytest.approx(-0.5 * math.log(1 - 0.81**2), abs=0.05)
    assert dimension_wise.item() == pytest.approx(0, abs=0.05)


def test_correlation_within_groups_is_that_of_the_definition() -> None:
    codes, mean, log_variance = (torch.randn(6, 5, requires_grad=True) for _ in range(3))
    log_weights = aggregate_log_weights("balanced", 6, 50)
    found = correlation_within_groups(codes, mean, log_variance, log_weights, 2)
    first, second = (
        _decomposition(codes[:, group], mean[:, group], log_variance[:, group], log_weights.exp())[1]
        for group in ([0, 1, 2], [3, 4])
    )
    torch.testing.assert_close(found, first + second)
    assert_same_gradients(found, first + second, [codes, mean, log_variance])


@pytest.mark.parametrize(("order", "expected_within"), [([0, 1, 2, 3], 1.0), ([0, 2, 1, 3], 0.0)])
def test_correlation_is_within_groups_where_they_hold_what_is_correlated(
    order: list[int], expected_within: float
) -> None:
    # Two independent pairs of codes of correlation 0.81, as above.
    mean = 0.9 * torch.randn(2000, 2).repeat_interleave(2, dim=1)[:, order]
    log_variance = torch.full((2000, 4), math.log(0.19))
    codes = mean + 0.19**0.5 * torch.randn(2000, 4)
    found = correlation_within_groups(codes, mean, log_variance, _evenly(2000), 2)
    assert found.item() == pytest.approx(-expected_within * math.log(1 - 0.81**2), abs=0.1)


# Shuffled dimensions


def test_shuffling_dimensions_keeps_the_marginals() -> None:
    codes = torch.randn(50, 3)
    shuffled = permute_dimensions(codes)
    assert torch.equal(shuffled.sort(dim=0).values, codes.sort(dim=0).values)


def test_shuffling_dimensions_makes_them_independent() -> None:
    codes = torch.randn(5000, 1).expand(5000, 3)
    correlations = torch.corrcoef(permute_dimensions(codes).T)
    torch.testing.assert_close(correlations, torch.eye(3), atol=0.05, rtol=0)


# Covariance penalties


def test_covariance_penalties_of_whitened_codes_are_0() -> None:
    off_diagonal, diagonal = covariance_penalties(torch.eye(4))
    assert off_diagonal == 0
    assert diagonal == 0


def test_covariance_penalties_are_those_of_numpy() -> None:
    covariance = np.cov(np.random.default_rng(0).normal(size=(3, 10)))
    off_diagonal = sum(covariance[i, j] ** 2 for i in range(3) for j in range(3) if i != j)
    diagonal = sum((covariance[i, i] - 1) ** 2 for i in range(3))
    found = covariance_penalties(torch.from_numpy(covariance))
    assert [value.item() for value in found] == pytest.approx([off_diagonal, diagonal])


def test_gradients_of_covariance_penalties_are_their_finite_differences() -> None:
    covariance = torch.randn(4, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(covariance_penalties, covariance)


def _decomposition(codes: Tensor, mean: Tensor, log_variance: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mutual information, total correlation and dimension-wise KL, one density at a time."""
    size, dim = codes.shape
    deviation = (0.5 * log_variance).exp()

    def density(i: int, j: int, k: int) -> Tensor:
        return Normal(mean[j, k], deviation[j, k]).log_prob(codes[i, k]).exp()

    information, correlation, dimension_wise = [], [], []
    for i in range(size):
        posterior = torch.stack([density(i, i, k) for k in range(dim)]).prod()
        joint = torch.stack([torch.stack([density(i, j, k) for k in range(dim)]).prod() for j in range(size)])
        aggregate = weights[i] @ joint
        marginals = [weights[i] @ torch.stack([density(i, j, k) for j in range(size)]) for k in range(dim)]
        prior = Normal(0.0, 1.0).log_prob(codes[i]).exp().prod()
        product = torch.stack(marginals).prod()
        information.append((posterior / aggregate).log())
        correlation.append((aggregate / product).log())
        dimension_wise.append((product / prior).log())
    return torch.stack(information).mean(), torch.stack(correlation).mean(), torch.stack(dimension_wise).mean()


def _evenly(count: int) -> Tensor:
    """Log-weights of a batch that is the dataset: the aggregate posterior is then known exactly."""
    return torch.full((count, count), -math.log(count))
