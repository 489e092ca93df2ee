"""Variants of the VAE: objectives and gradients against independent formulas, schedules, and order of updates."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from methods.autoencoders.annealed_vae import AnnealedVAE
from methods.autoencoders.beta_tcvae import BetaTCVAE
from methods.autoencoders.dip_vae import DIPVAE
from methods.autoencoders.factor_vae import FactorVAE
from methods.autoencoders.geco import GECO
from methods.autoencoders.hfvae import HFVAE
from methods.autoencoders.info_vae import InfoVAE
from methods.autoencoders.sigma_vae import SigmaVAE
from methods.autoencoders.vae import VAE
from methods.base import Unsupported
from methods.parts.autoencoding import squared_error
from methods.parts.variational import aggregate_log_weights, correlation_within_groups, decompose_kl
from tests.blurred_bars import SHAPE, digits, moved_by, trained
from tests.gaussians import normal_kl, posterior_of, standard_normal
from tests.gradients import assert_same_gradients


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# Annealed VAE


def test_annealed_vae_weighs_the_distance_of_the_kl_to_a_capacity_that_grows() -> None:
    model = AnnealedVAE(SHAPE, latent_dim=2, width=4, gamma=10.0, capacity=8.0, capacity_steps=100)
    codes, mean, log_variance = torch.randn(3, 5, 2)
    kl = normal_kl(mean, log_variance).mean()
    for steps, capacity in ((0, 0.0), (50, 4.0), (100, 8.0), (1000, 8.0)):
        model.steps_done = steps
        torch.testing.assert_close(model.regularizer(codes, mean, log_variance), 10 * (kl - capacity).abs())
    model.steps_done = 0
    torch.testing.assert_close(model.eval().regularizer(codes, mean, log_variance), 10 * (kl - 8).abs())
    model.capacity_steps = 0
    torch.testing.assert_close(model.train().regularizer(codes, mean, log_variance), 10 * (kl - 8).abs())


def test_annealed_vae_holds_the_kl_at_its_capacity() -> None:
    model = AnnealedVAE(SHAPE, latent_dim=2, width=4, lr=1e-2, gamma=100.0, capacity=2.0, capacity_steps=50)
    rate, _ = trained(model, 150).rate_distortion(digits())
    assert rate.mean().item() == pytest.approx(2, abs=0.5)


# β-TCVAE


def test_beta_tcvae_with_beta_1_estimates_the_kl() -> None:
    model = BetaTCVAE(SHAPE, latent_dim=3, width=4, beta=1.0)
    codes, mean, log_variance = torch.randn(3, 6, 3)
    expected = posterior_of(mean, log_variance).log_prob(codes) - standard_normal(3).log_prob(codes)
    torch.testing.assert_close(model.regularizer(codes, mean, log_variance), expected.mean())


def test_beta_tcvae_weighs_the_total_correlation_of_a_dataset_of_as_many_batches_as_an_epoch_has() -> None:
    model = BetaTCVAE(SHAPE, latent_dim=3, width=4, beta=5.0, estimator="stratified")
    model.steps_per_epoch = 7
    codes, mean, log_variance = torch.randn(3, 6, 3)
    _, correlation, _ = decompose_kl(codes, mean, log_variance, aggregate_log_weights("stratified", 6, 42))
    estimate = posterior_of(mean, log_variance).log_prob(codes) - standard_normal(3).log_prob(codes)
    torch.testing.assert_close(model.regularizer(codes, mean, log_variance), estimate.mean() + 4 * correlation)


# HFVAE


def test_hfvae_weighs_information_and_correlations_between_and_within_groups() -> None:
    model = HFVAE(SHAPE, latent_dim=4, width=4, num_groups=2, alpha=2.0, beta=5.0, gamma=3.0)
    model.steps_per_epoch = 7
    codes, mean, log_variance = torch.randn(3, 6, 4)
    log_weights = aggregate_log_weights("balanced", 6, 42)
    information, correlation, _ = decompose_kl(codes, mean, log_variance, log_weights)
    within = correlation_within_groups(codes, mean, log_variance, log_weights, 2)
    estimate = (posterior_of(mean, log_variance).log_prob(codes) - standard_normal(4).log_prob(codes)).mean()
    expected = estimate + information + 4 * (correlation - within) + 2 * within
    torch.testing.assert_close(model.regularizer(codes, mean, log_variance), expected)


def test_hfvae_with_groups_of_one_dimension_is_the_beta_tcvae() -> None:
    settings: dict[str, Any] = {"latent_dim": 4, "width": 4, "beta": 5.0, "estimator": "stratified"}
    codes, mean, log_variance = torch.randn(3, 6, 4)
    found, expected = (
        model.regularizer(codes, mean, log_variance)
        for model in (HFVAE(SHAPE, num_groups=4, gamma=100.0, **settings), BetaTCVAE(SHAPE, **settings))
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("num_groups", [0, 5])
def test_hfvae_needs_groups_that_have_dimensions(num_groups: int) -> None:
    with pytest.raises(ValueError, match="num_groups"):
        HFVAE(SHAPE, latent_dim=4, width=4, num_groups=num_groups)


# DIP-VAE


@pytest.mark.parametrize("variant", ["i", "ii"])
def test_dip_vae_penalizes_the_covariance_of_means_or_of_draws(variant: Literal["i", "ii"]) -> None:
    model = DIPVAE(SHAPE, latent_dim=3, width=4, variant=variant, off_diagonal_weight=2.0, diagonal_weight=5.0)
    codes, mean, log_variance = (torch.randn(20, 3, requires_grad=True) for _ in range(3))
    means, variances = mean.detach().numpy().astype(float), np.exp(log_variance.detach().numpy().astype(float))
    covariance = np.cov(means.T, bias=True) + (np.diag(variances.mean(axis=0)) if variant == "ii" else 0)
    # Half the penalty's slope in the covariance; its own in the means is then 4 / B (μ − mean of μ) times that.
    slope = 2.0 * covariance
    np.fill_diagonal(slope, 5.0 * (covariance.diagonal() - 1))
    expected = 2.0 * (covariance**2).sum() - 2.0 * (covariance.diagonal() ** 2).sum()
    expected += 5.0 * ((covariance.diagonal() - 1) ** 2).sum()

    penalty = model.regularizer(codes, mean, log_variance) - normal_kl(mean, log_variance).mean()
    assert penalty.item() == pytest.approx(expected, rel=1e-4)
    of_mean, of_log_variance = torch.autograd.grad(penalty, [mean, log_variance])
    np.testing.assert_allclose(of_mean, 4 / 20 * (means - means.mean(axis=0)) @ slope, rtol=1e-3, atol=1e-5)
    expected_slope = 2 / 20 * variances * slope.diagonal() if variant == "ii" else np.zeros((20, 3))
    np.testing.assert_allclose(of_log_variance, expected_slope, rtol=1e-3, atol=1e-5)


def test_dip_vae_brings_the_covariance_of_its_codes_to_the_identity() -> None:
    model = DIPVAE(SHAPE, latent_dim=2, width=4, lr=1e-2, off_diagonal_weight=100.0, diagonal_weight=100.0)
    codes = trained(model, 150).encode(digits())
    torch.testing.assert_close(torch.cov(codes.T, correction=0), torch.eye(2), atol=0.3, rtol=0)


# InfoVAE


def test_info_vae_adds_weighted_kl_and_mmd() -> None:
    model = InfoVAE(SHAPE, latent_dim=3, width=4, alpha=0.9, penalty=100.0)
    codes, mean, log_variance = torch.randn(3, 4, 3)
    torch.manual_seed(2)
    noise = torch.randn(4, 3)

    def mean_kernel(a: Tensor, b: Tensor) -> float:
        return sum(math.exp(-((p - q) ** 2).mean().item() / 3) for p in a for q in b) / 16

    mmd = mean_kernel(codes, codes) + mean_kernel(noise, noise) - 2 * mean_kernel(codes, noise)
    torch.manual_seed(2)
    found = model.regularizer(codes, mean, log_variance).item()
    assert found == pytest.approx(0.1 * normal_kl(mean, log_variance).mean().item() + 99.9 * mmd, rel=1e-4)


def test_info_vae_without_information_and_divergence_terms_is_the_vae() -> None:
    codes, mean, log_variance = torch.randn(3, 4, 3)
    found = InfoVAE(SHAPE, latent_dim=3, width=4, alpha=0.0, penalty=1.0).regularizer(codes, mean, log_variance)
    torch.testing.assert_close(found, normal_kl(mean, log_variance).mean())


# FactorVAE


def test_factor_vae_adds_gamma_times_minus_the_logit_of_being_shuffled() -> None:
    model = FactorVAE(SHAPE, latent_dim=3, width=4, gamma=5.0, adversary_width=8)
    codes, mean, log_variance = torch.randn(3, 4, 3)
    shuffled = model.discriminator(codes).sigmoid()  # the discriminator's probability
    expected = normal_kl(mean, log_variance).mean() + 5 * ((1 - shuffled) / shuffled).log().mean()
    torch.testing.assert_close(model.regularizer(codes, mean, log_variance), expected)


def test_factor_vaes_discriminator_has_six_hidden_layers_and_takes_the_step_after() -> None:
    model = FactorVAE(SHAPE, latent_dim=3, width=4, adversary_width=8)
    assert [tuple(p.shape) for p in model.discriminator.parameters() if p.ndim == 2] == [
        (8, 3),
        *[(8, 8)] * 5,
        (1, 8),
    ]
    assert moved_by(lambda: VAE.train_step(model, digits()), model) == {"encoder", "decoder"}
    assert moved_by(lambda: model.train_step(digits()), model) == {"encoder", "decoder", "discriminator"}


def test_factor_vaes_discriminator_learns_the_total_correlation(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FactorVAE(SHAPE, latent_dim=2, width=4, adversary_width=32, adversary_lr=1e-3)
    factor = torch.tensor([[1.0, 0.0], [0.8, 0.6]])

    def correlated(_: Tensor) -> Tensor:
        return torch.randn(512, 2) @ factor.T

    monkeypatch.setattr(model, "draw_codes", correlated)
    for _ in range(200):
        model.train_step(digits(2))
    estimate = torch.stack([model.total_correlation(correlated(digits(1))) for _ in range(10)]).mean()
    assert estimate.item() == pytest.approx(-0.5 * math.log(1 - 0.8**2), abs=0.1)


# σ-VAE


def test_the_optimal_sigma_is_the_root_mean_squared_error_of_the_batch() -> None:
    model = SigmaVAE(SHAPE, latent_dim=3, width=4)
    images, reconstructions = torch.rand(2, 6, *SHAPE)
    distortion = model.distortion(images, reconstructions).mean()
    error = (images - reconstructions).square().mean().sqrt()
    torch.testing.assert_close(model.log_sigma.exp().detach(), error)
    half_log_2_pi_d = 32 * math.log(2 * math.pi)
    for sigma in (0.5 * error, 0.8 * error, 1.25 * error, 2 * error):
        other = -Independent(Normal(reconstructions, sigma), 3).log_prob(images).mean() - half_log_2_pi_d
        assert distortion < other


def test_sigma_vaes_gradient_flows_through_sigma() -> None:
    model = SigmaVAE(SHAPE, latent_dim=3, width=4, batch_norm=False)
    images = digits()
    torch.manual_seed(2)
    losses = model.objective(images)
    torch.manual_seed(2)
    errors = (images - model.decoder(model.draw_codes(images))).square().sum(dim=(1, 2, 3))
    bounded = -6 + (1 + ((errors.mean() / 64).sqrt().log() + 6).exp()).log()
    expected = (errors / (2 * bounded.exp() ** 2) + 64 * bounded).mean()
    torch.testing.assert_close(losses["reconstruction"], expected)
    assert_same_gradients(losses["loss"], expected, model.decoder.parameters(), rtol=1e-4)


@pytest.mark.parametrize("sigma", ["optimal", "learned"])
def test_sigma_vae_is_evaluated_under_the_sigma_of_its_training(sigma: Literal["optimal", "learned"]) -> None:
    model = trained(SigmaVAE(SHAPE, latent_dim=3, width=4, lr=1e-2, sigma=sigma), 60)
    images = torch.rand(5, *SHAPE)  # unlike the training images, so that a σ of their own would show
    deviation = math.exp(-6 + math.log1p(math.exp(model.log_sigma.item() + 6)))
    with torch.no_grad():
        decoded = model.decode(model.encode(images))
        distortion = model.distortion(images, decoded) + 32 * math.log(2 * math.pi)
    expected = -Independent(Normal(decoded, deviation), 3).log_prob(images)
    torch.testing.assert_close(distortion, expected, rtol=1e-4, atol=1e-2)


def test_a_learned_sigma_comes_to_rest_at_the_root_mean_squared_error() -> None:
    model = SigmaVAE(SHAPE, latent_dim=3, width=4, sigma="learned")
    images, reconstructions = torch.rand(2, 6, *SHAPE)
    error = (images - reconstructions).square().mean().sqrt().log().item()
    for below, sign in ((0.1, -1), (0.0, 0), (-0.1, 1)):  # of log σ, from which the gradient leads back
        bounded = error - below
        with torch.no_grad():
            model.log_sigma.fill_(math.log(math.expm1(bounded + 6)) - 6)
        (slope,) = torch.autograd.grad(model.distortion(images, reconstructions).mean(), [model.log_sigma])
        assert slope.item() == pytest.approx(0, abs=1e-3) if sign == 0 else slope.item() * sign > 1


def test_sigma_vae_is_of_the_gaussian_likelihood() -> None:
    with pytest.raises(ValueError, match='leave likelihood at "gaussian"'):
        SigmaVAE(SHAPE, likelihood="bernoulli")


# GECO


def test_geco_minimizes_the_kl_plus_the_weighted_excess_of_the_squared_error() -> None:
    model = GECO(SHAPE, latent_dim=3, width=4, tolerance=2.0, batch_norm=False)
    model.log_multiplier.fill_(math.log(7.0))
    images = digits()
    torch.manual_seed(2)
    mean, log_variance = model.posterior(images)
    excess = squared_error(images, model.decoder(mean + (0.5 * log_variance).exp() * torch.randn(32, 3))) - 4
    expected = normal_kl(mean, log_variance).mean() + 7 * excess
    torch.manual_seed(2)
    losses = model.objective(images)
    torch.testing.assert_close(losses["loss"], expected)
    assert_same_gradients(losses["loss"], expected, model.parameters(), rtol=1e-5, atol=1e-5)


def test_geco_has_no_objective_to_stop_by() -> None:
    with pytest.raises(Unsupported, match="leave patience out"):
        GECO(SHAPE, latent_dim=2, width=4).eval().objective(digits())


def test_gecos_multiplier_follows_the_moving_average_of_the_constraint() -> None:
    model = GECO(SHAPE, latent_dim=2, width=4, network="mlp", tolerance=1.5, multiplier_every=3, momentum=0.9)
    average, multiplier = None, 1.0
    for step in range(1, 241):
        losses = model.train_step(digits(8))
        constraint = losses["constraint"].item()
        average = constraint if average is None else 0.9 * average + 0.1 * constraint
        assert model.average_constraint.item() == pytest.approx(average, rel=1e-3, abs=1e-4)
        if step > 200 and step % 3 == 0:
            multiplier *= min(max(math.exp(average), 0.9), 1.05)
        assert losses["multiplier"].item() == pytest.approx(multiplier, rel=1e-3)
    assert multiplier != 1


@pytest.mark.parametrize(("multiplier", "side"), [(10.0, -1), (0.1, 1)])
def test_geco_settles_at_its_constraint_from_either_side(multiplier: float, side: int) -> None:
    model = GECO(
        SHAPE, latent_dim=3, width=4, lr=1e-2, batch_norm=False, tolerance=1.5, multiplier_every=5, momentum=0.9
    )
    model.log_multiplier.fill_(math.log(multiplier))
    images = digits()
    constraints = [model.train_step(images)["constraint"].item() for _ in range(800)]
    before, settled = (sum(part) / 100 for part in (constraints[100:200], constraints[-100:]))
    assert side * before > 1
    assert abs(settled) < 0.2  # of κ² = 2.25
