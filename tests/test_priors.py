"""Moments, supports and independence of the priors."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from methods.parts.priors import (
    FIXED_PRIORS,
    FactorizedNeuralPrior,
    GaussianMixturePrior,
    LeakySiLU,
    NeuralPrior,
    NormalPrior,
    SpherePrior,
    UniformPrior,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_normal_prior_has_unit_covariance() -> None:
    torch.testing.assert_close(torch.cov(NormalPrior(3)(50_000, CPU).T), torch.eye(3), atol=0.03, rtol=0)


def test_sphere_prior_is_centered_on_the_unit_sphere() -> None:
    codes = SpherePrior(3)(20_000, CPU)
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(20_000))
    torch.testing.assert_close(codes.mean(dim=0), torch.zeros(3), atol=0.02, rtol=0)


def test_uniform_prior_fills_the_cube() -> None:
    codes = UniformPrior(2)(20_000, CPU)
    assert codes.abs().max() <= 1
    torch.testing.assert_close(codes.var(dim=0), torch.full((2,), 1 / 3), atol=0.01, rtol=0)


def test_codes_are_projected_into_the_support() -> None:
    outputs = 5 * torch.randn(10, 4)
    assert NormalPrior(4).project(outputs) is outputs
    torch.testing.assert_close(SpherePrior(4).project(outputs).norm(dim=1), torch.ones(10))
    assert UniformPrior(4).project(outputs).abs().max() <= 1


@pytest.mark.parametrize(("name", "ratio"), [("normal", 1.0), ("sphere", 1.0), ("uniform", 2 / 3)])
def test_spread_is_the_mean_squared_distance_of_two_draws(name: str, ratio: float) -> None:
    prior = FIXED_PRIORS[name](6)  # type: ignore[index]
    squared = (prior(50_000, CPU) - prior(50_000, CPU)).square().sum(dim=1).mean()
    assert squared.item() == pytest.approx(ratio * prior.squared_spread(), rel=0.02)


def test_leaky_silu_on_known_values() -> None:
    x = torch.tensor([-2.0, 0.0, 3.0])
    torch.testing.assert_close(LeakySiLU()(x), 0.8 * x * torch.sigmoid(x) + 0.2 * x)


@pytest.mark.parametrize("build", [NeuralPrior, FactorizedNeuralPrior, lambda dim: GaussianMixturePrior(dim, 5)])
def test_a_learned_prior_gives_standardized_batches(build: type[NeuralPrior]) -> None:
    prior = build(4)
    for name, weights in prior.named_parameters():
        if name.endswith("weight"):
            weights.data *= 3  # at the start the networks are so flat that the ε of batch norm would show
    codes = prior(256, CPU)
    assert codes.shape == (256, 4)
    torch.testing.assert_close(codes.mean(dim=0), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(codes.var(dim=0, unbiased=False), torch.ones(4), atol=0.01, rtol=0)


def test_a_learned_prior_in_eval_mode_keeps_the_law_it_was_trained_with() -> None:
    prior = NeuralPrior(4)
    for _ in range(20):
        prior(2048, CPU)
    codes = prior.eval()(20_000, CPU)
    torch.testing.assert_close(codes.mean(dim=0), torch.zeros(4), atol=0.1, rtol=0)
    torch.testing.assert_close(codes.var(dim=0), torch.ones(4), atol=0.15, rtol=0)
    assert prior(1, CPU).shape == (1, 4)


def test_each_dimension_of_the_factorized_prior_sees_its_own_noise_alone() -> None:
    prior = FactorizedNeuralPrior(3).eval()
    jacobian = torch.autograd.functional.jacobian(lambda noise: prior.network(noise[None])[0], torch.randn(3))
    assert (jacobian.diagonal() != 0).all()
    assert (jacobian - torch.diag(jacobian.diagonal()) == 0).all()


def test_the_dimensions_of_the_neural_prior_share_their_noise() -> None:
    prior = NeuralPrior(3).eval()
    jacobian = torch.autograd.functional.jacobian(lambda noise: prior.network(noise[None])[0], torch.randn(3))
    assert (jacobian != 0).all()


def test_the_mixture_draws_components_by_their_weights() -> None:
    prior = GaussianMixturePrior(1, 2).eval()
    with torch.no_grad():
        prior.means.copy_(torch.tensor([[-100.0], [100.0]]))
        prior.logits.copy_(torch.tensor([0.25, 0.75]).log() + 3)  # softmax takes the 3 away
    assert (prior(20_000, CPU) > 0).float().mean().item() == pytest.approx(0.75, abs=0.02)


def test_responsibilities_of_the_mixture_are_those_of_torch_distributions() -> None:
    prior = GaussianMixturePrior(3, 4)
    prior.factors.data += 0.5 * torch.randn(4, 3, 3)
    for _ in range(5):
        prior(512, CPU)  # moves the running moments away from 0 and 1
    prior.double().eval()
    points = torch.randn(6, 3, dtype=torch.float64)
    codes = prior.batch_norm(points)
    covariances = prior.factors.mT @ prior.factors
    mixture = MixtureSameFamily(Categorical(logits=prior.logits), MultivariateNormal(prior.means, covariances))
    expected = mixture.component_distribution.log_prob(points[:, None]) + prior.logits.log_softmax(0)
    torch.testing.assert_close(prior.log_responsibilities(codes), expected.log_softmax(1))


def test_draws_of_a_component_have_the_covariance_that_responsibilities_assume() -> None:
    prior = GaussianMixturePrior(2, 2).eval()
    with torch.no_grad():
        prior.means.zero_()
        prior.factors.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0]]).expand(2, 2, 2))
    expected = prior.factors[0].T @ prior.factors[0]
    torch.testing.assert_close(torch.cov(prior(50_000, CPU).T), expected, rtol=0.05, atol=0.05)


def test_a_mixture_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 components"):
        GaussianMixturePrior(3, 1)
