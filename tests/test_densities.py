"""Densities fitted to codes: their moments, and that they are restored."""

from __future__ import annotations

from itertools import repeat

import pytest
import torch
from torch import Tensor

from methods.autoencoders.ae import AE
from methods.parts.densities import FittedMixture, fit_mixture
from tests.blurred_bars import SHAPE, digits, trained


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def two_clouds() -> Tensor:
    """[4000, 2]: three quarters around (4, 0), stretched along the diagonal, the rest around (−4, 0)."""
    stretched = torch.randn(3000, 2) @ torch.tensor([[1.0, 0.9], [0.0, 0.3]]) + torch.tensor([4.0, 0.0])
    return torch.cat([stretched, 0.5 * torch.randn(1000, 2) - torch.tensor([4.0, 0.0])])


def test_a_density_is_standard_normal_until_it_is_fitted() -> None:
    draws = FittedMixture(3, 10)(50_000)
    torch.testing.assert_close(draws.mean(dim=0), torch.zeros(3), atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cov(draws.T), torch.eye(3), atol=0.03, rtol=0)


def test_a_fitted_gaussian_has_the_moments_of_the_codes() -> None:
    codes = two_clouds()
    density = FittedMixture(2, 1)
    density.fit(codes)
    torch.testing.assert_close(density.means[0], codes.mean(dim=0), atol=1e-4, rtol=0)
    covariance = density.factors[0] @ density.factors[0].T
    torch.testing.assert_close(covariance, torch.cov(codes.T, correction=0), atol=1e-4, rtol=0)
    draws = density(50_000)
    torch.testing.assert_close(draws.mean(dim=0), codes.mean(dim=0), atol=0.06, rtol=0)
    torch.testing.assert_close(torch.cov(draws.T), torch.cov(codes.T), atol=0.2, rtol=0.03)


def test_a_fitted_mixture_draws_each_cloud_as_often_and_as_wide_as_it_is() -> None:
    codes = two_clouds()
    density = FittedMixture(2, 2)
    density.fit(codes)
    draws = density(40_000)
    right = draws[:, 0] > 0
    assert right.float().mean().item() == pytest.approx(0.75, abs=0.01)
    for side, cloud in ((right, codes[:3000]), (~right, codes[3000:])):
        torch.testing.assert_close(draws[side].mean(dim=0), cloud.mean(dim=0), atol=0.03, rtol=0)
        torch.testing.assert_close(torch.cov(draws[side].T), torch.cov(cloud.T), atol=0.04, rtol=0)


def test_a_diagonal_mixture_has_the_variances_of_the_codes() -> None:
    codes = two_clouds()
    mixture = fit_mixture(codes, 1, "diag")
    expected = codes.double().var(dim=0, correction=0)
    torch.testing.assert_close(torch.tensor(mixture.covariances_[0]), expected, rtol=1e-5, atol=0)


def test_a_mixture_needs_as_many_codes_as_components() -> None:
    with pytest.raises(ValueError, match="10"):
        fit_mixture(torch.randn(9, 2), 10, "full")


def test_an_autoencoder_samples_the_density_fitted_to_its_codes() -> None:
    images = digits(128)
    model = trained(AE(SHAPE, latent_dim=2, width=4, lr=1e-2, density="gaussian"), 40, images)
    codes, samples = model.encode(images), model.sample_prior(20_000)
    spread = codes.std(dim=0)
    assert ((samples.mean(dim=0) - codes.mean(dim=0)).abs() < 0.05 * spread).all()
    torch.testing.assert_close(samples.std(dim=0), spread, rtol=0.05, atol=0)
    assert not torch.allclose(spread, torch.ones(2), rtol=0.1)


def test_a_fitted_density_is_part_of_the_state() -> None:
    model = trained(AE(SHAPE, latent_dim=2, width=4, density="gaussian-mixture"), 4)
    other = AE(SHAPE, latent_dim=2, width=4, density="gaussian-mixture").eval()
    other.load_state_dict(model.state_dict())
    torch.manual_seed(3)
    expected = model.sample_prior(50)
    torch.manual_seed(3)
    assert torch.equal(other.sample_prior(50), expected)


def test_a_density_is_fitted_the_same_way_again_from_the_same_seed() -> None:
    model = AE(SHAPE, latent_dim=2, width=4, density="gaussian-mixture")
    model.steps_per_epoch = 2
    fitted = []
    for _ in range(2):
        torch.manual_seed(7)
        model.finish(repeat(digits()))
        fitted.append(model.fitted_density.means.clone())
    assert torch.equal(*fitted)
