"""VAEs whose prior is learned: the VampPrior's mixture, and a second VAE on the codes."""

from __future__ import annotations

import math
from itertools import repeat

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from methods.autoencoders.two_stage_vae import CodeVAE, TwoStageVAE
from methods.autoencoders.vampprior_vae import VampPriorVAE
from methods.base import Unsupported
from tests.blurred_bars import SHAPE, digits, moved_by, trained
from tests.gaussians import normal_kl, posterior_of
from tests.gradients import assert_same_gradients


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# VampPrior


def test_vampprior_vaes_regularizer_and_its_gradients_are_those_of_torch_distributions() -> None:
    model = VampPriorVAE(SHAPE, latent_dim=3, width=4, pseudo_inputs=5)
    images = digits()
    torch.manual_seed(2)
    losses = model.objective(images)
    torch.manual_seed(2)
    mean, log_variance = model.posterior(images)
    codes = mean + (0.5 * log_variance).exp() * torch.randn(32, 3)
    components = posterior_of(*model.posterior(model.pseudo_images.clamp(0, 1)))
    prior = MixtureSameFamily(Categorical(torch.ones(5)), components)
    expected = (posterior_of(mean, log_variance).log_prob(codes) - prior.log_prob(codes)).mean()
    torch.testing.assert_close(losses["regularizer"], expected)
    weights = [*model.encoder.parameters(), model.pseudo_images]
    assert_same_gradients(losses["regularizer"], expected, weights, atol=1e-5)


def test_vampprior_vae_trains_its_pseudo_inputs() -> None:
    model = VampPriorVAE(SHAPE, latent_dim=3, width=4, pseudo_inputs=5)
    assert moved_by(lambda: model.train_step(digits()), model) == {"encoder", "decoder", "pseudo_images"}


def test_vampprior_draws_lie_about_the_codes_of_its_pseudo_inputs() -> None:
    model = VampPriorVAE(SHAPE, latent_dim=3, width=4, pseudo_inputs=4, start_from_data=True)
    trained(model, 60)
    with torch.no_grad():
        draws = model.sample_prior(20_000)
        mean, log_variance = model.posterior(model.pseudo_images.clamp(0, 1))
    spread = (log_variance.exp() + mean.square()).mean(dim=0) - mean.mean(dim=0).square()
    torch.testing.assert_close(draws.mean(dim=0), mean.mean(dim=0), atol=0.05, rtol=0)
    torch.testing.assert_close(draws.var(dim=0), spread, atol=0, rtol=0.1)


def test_vampprior_components_are_the_posteriors_of_its_pseudo_inputs() -> None:
    model = trained(VampPriorVAE(SHAPE, latent_dim=3, width=4, pseudo_inputs=4, start_from_data=True), 10)
    with torch.no_grad():
        draws = model.component_codes(20_000)
        mean, log_variance = model.posterior(model.pseudo_images.clamp(0, 1))
    torch.testing.assert_close(draws.mean(dim=1), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(draws.var(dim=1), log_variance.exp(), atol=0, rtol=0.1)
    with pytest.raises(Unsupported, match="not meant as clusters"):
        model.components(digits())


def test_vampprior_pseudo_inputs_may_start_as_training_images() -> None:
    model = VampPriorVAE(SHAPE, latent_dim=3, width=4, pseudo_inputs=40, start_from_data=True)
    model.prepare(repeat(digits()))
    torch.testing.assert_close(model.pseudo_images, torch.cat([digits(), digits()[:8]]), atol=0.06, rtol=0)


def test_vampprior_vae_has_no_rate_under_a_normal_prior_but_a_score_under_its_own() -> None:
    model = VampPriorVAE(SHAPE, latent_dim=2, width=4, pseudo_inputs=8, lr=1e-2, start_from_data=True)
    trained(model, 100)
    with pytest.raises(Unsupported, match="vampprior-vae has a mixture as its prior"):
        model.rate_distortion(digits())
    assert model.score(torch.rand(32, *SHAPE)).min() > model.score(digits()).max()


# Two-stage VAE


def test_the_second_stage_minimizes_the_negative_evidence_bound_of_codes() -> None:
    model = CodeVAE(3, 8)
    with torch.no_grad():
        model.log_gamma.fill_(-0.7)
    codes = torch.randn(5, 3)
    torch.manual_seed(2)
    mean, log_variance = model.encoder(codes).chunk(2, dim=1)
    decoded = model.decoder(mean + (0.5 * log_variance).exp() * torch.randn(5, 3))
    expected = normal_kl(mean, log_variance) - Independent(Normal(decoded, math.exp(-0.7)), 1).log_prob(codes)
    torch.manual_seed(2)
    torch.testing.assert_close(model.negative_bound(codes), expected)


def test_the_second_stage_learns_the_distribution_of_the_codes() -> None:
    model = TwoStageVAE(SHAPE, latent_dim=2, width=4, second_width=32, lr=1e-2, second_steps=400)
    trained(model, 40)
    with torch.no_grad():
        codes = torch.cat([model.draw_codes(digits()) for _ in range(50)])
        samples = model.sample_prior(2000)
    torch.testing.assert_close(samples.mean(dim=0), codes.mean(dim=0), atol=0.2, rtol=0)
    torch.testing.assert_close(torch.cov(samples.T), torch.cov(codes.T), atol=0.3, rtol=0.3)


def test_the_second_stage_takes_twice_the_steps_and_leaves_the_first_as_it_is() -> None:
    model = TwoStageVAE(SHAPE, latent_dim=2, width=4, second_width=8)
    model.planned_steps, model.steps_per_epoch = 100, 2
    for _ in range(5):  # fewer than planned: training was stopped early
        model.train_step(digits())
    steps: list[object] = []
    assert moved_by(lambda: steps.extend(model.finish(repeat(digits()))), model) == {"second_stage"}
    assert len(steps) == 10


def test_samples_come_from_a_fitted_density_where_there_is_one_not_from_the_second_stage() -> None:
    model = trained(TwoStageVAE(SHAPE, latent_dim=2, width=4, second_width=8, density="gaussian"), 5)
    with torch.no_grad():
        codes, samples = model.encode(digits()), model.sample_prior(20_000)
    torch.testing.assert_close(samples.mean(dim=0), codes.mean(dim=0), atol=0.02, rtol=0.05)
    torch.testing.assert_close(samples.var(dim=0), codes.var(dim=0, correction=0), atol=0.01, rtol=0.1)


def test_two_stage_vaes_score_is_the_bound_of_both_stages_as_torch_distributions_have_it() -> None:
    model = trained(TwoStageVAE(SHAPE, latent_dim=2, width=4, second_width=16, lr=1e-2), 10)
    images = digits(4)
    with torch.no_grad():
        torch.manual_seed(2)
        score = model.score(images)
        torch.manual_seed(2)
        first = posterior_of(*model.posterior(images))
        codes = first.rsample()
        mean, log_variance = model.second_stage.encoder(codes).chunk(2, dim=1)
        noise = posterior_of(mean, log_variance).rsample()
        prior = Independent(Normal(model.second_stage.decoder(noise), model.second_stage.log_gamma.exp()), 1)
        observed = -6 + math.log1p(math.exp(model.log_sigma.item() + 6))
        expected = -Independent(Normal(model.decode(codes), math.exp(observed)), 3).log_prob(images)
        expected += first.log_prob(codes) - prior.log_prob(codes) + normal_kl(mean, log_variance)
    torch.testing.assert_close(score, expected, rtol=1e-4, atol=1e-3)
    with pytest.raises(Unsupported, match="two-stage-vae learns the prior of its codes"):
        model.rate_distortion(images)


def test_two_stage_vae_halves_its_learning_rate_after_each_three_eighths() -> None:
    model = TwoStageVAE(SHAPE, latent_dim=2, width=4, second_width=8, lr=1e-3, second_steps=0)
    model.planned_steps = 8
    rates = []
    for _ in range(8):
        model.train_step(digits())
        rates.append(model.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3] * 3 + [5e-4] * 3 + [2.5e-4] * 2)
