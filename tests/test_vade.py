"""VaDE: its objective against the paper's sum and torch.distributions, its initialization, its mixture."""

from __future__ import annotations

import math
from itertools import repeat
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from methods.autoencoders.vade import VaDE
from methods.base import Unsupported
from tests.blurred_bars import SHAPE, digits, trained
from tests.gradients import assert_same_gradients


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def mixed(**settings: Any) -> VaDE:
    """A model whose mixture is no longer a standard one."""
    model = VaDE(SHAPE, **{"latent_dim": 3, "width": 4, "num_components": 4, "pretraining_steps": 5, **settings}).eval()
    model.logits.data = torch.randn(4)
    model.log_variances.data = 0.5 * torch.randn(4, 3)
    return model


def prior(model: VaDE) -> MixtureSameFamily:
    parts = Independent(Normal(model.means, (0.5 * model.log_variances).exp()), 1)
    return MixtureSameFamily(Categorical(logits=model.logits), parts)


def test_divergence_under_one_standard_component_is_that_of_the_vae() -> None:
    model = VaDE(SHAPE, latent_dim=3, width=4, num_components=1)
    model.means.data.zero_()
    codes, mean, log_variance = torch.randn(3, 5, 3)
    expected = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(dim=1)
    torch.testing.assert_close(model.divergences(codes, mean, log_variance), expected)


def test_objective_is_the_papers_sum_over_components() -> None:
    model = mixed()
    images = digits(6).round()
    torch.manual_seed(2)
    mean, log_variance = model.posterior(images)
    codes = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    outputs = model.decoder(codes)
    total = torch.zeros(())
    weights, mixture = model.logits.softmax(dim=0), prior(model)
    parts = [Independent(Normal(m, (0.5 * v).exp()), 1) for m, v in zip(model.means, model.log_variances, strict=True)]
    for b in range(6):
        total = total - Independent(Bernoulli(outputs[b]), 3).log_prob(images[b])
        posterior = Independent(Normal(mean[b], (0.5 * log_variance[b]).exp()), 1)
        for c, part in enumerate(parts):
            gamma = weights[c] * (part.log_prob(codes[b]) - mixture.log_prob(codes[b])).exp()
            total = total + gamma * (kl_divergence(posterior, part) + gamma.log() - weights[c].log())
    torch.manual_seed(2)
    loss = model.objective(images)["loss"]
    torch.testing.assert_close(loss, total / 6)
    parameters = [model.means, model.log_variances, model.logits, *model.encoder.parameters()]
    assert_same_gradients(loss, total / 6, parameters, atol=1e-5)


def test_divergence_is_on_average_that_of_draws_of_codes_and_components() -> None:
    # KL(q(z, c) ‖ p(z, c)) with q(c) fixed, by 200,000 draws of z and the sum over c.
    model = mixed()
    mean, log_variance, at = torch.randn(3, 1, 3)
    gamma = model.log_responsibilities(at).exp()[0]
    posterior = Normal(mean[0], (0.5 * log_variance[0]).exp())
    z = posterior.sample((200_000,))
    log_q = posterior.log_prob(z).sum(dim=1)
    parts = Independent(Normal(model.means, (0.5 * model.log_variances).exp()), 1)
    ratios = log_q[:, None] + gamma.log() - parts.log_prob(z[:, None]) - model.logits.log_softmax(dim=0)
    estimate = (ratios @ gamma).mean()
    assert model.divergences(at, mean, log_variance).item() == pytest.approx(estimate.item(), rel=0.02)


def test_responsibilities_are_bayes_rule() -> None:
    model = mixed()
    codes = torch.randn(7, 3)
    parts = Independent(Normal(model.means, (0.5 * model.log_variances).exp()), 1)
    joint = parts.log_prob(codes[:, None]) + model.logits.log_softmax(dim=0)
    torch.testing.assert_close(model.log_responsibilities(codes), joint - prior(model).log_prob(codes)[:, None])


def test_prior_and_component_draws_have_the_moments_of_the_mixture() -> None:
    model = mixed()
    with torch.no_grad():
        torch.testing.assert_close(model.draw_prior(100_000).mean(dim=0), prior(model).mean, atol=0.03, rtol=0)
        draws = model.component_codes(50_000)
    torch.testing.assert_close(draws.mean(dim=1), model.means.detach(), atol=0.03, rtol=0)
    torch.testing.assert_close(draws.var(dim=1), model.log_variances.detach().exp(), atol=0, rtol=0.05)


def test_preparation_fits_the_mixture_to_the_pretrained_codes() -> None:
    model = VaDE(SHAPE, latent_dim=2, width=4, num_components=1, pretraining_steps=20, pretraining_lr=1e-2)
    model.steps_per_epoch = 2
    losses = [step["pretraining"].item() for step in model.prepare(repeat(digits()))]
    assert len(losses) == 20
    assert losses[-1] < 0.9 * losses[0]
    codes = model.eval().encode(digits())
    torch.testing.assert_close(model.means[0], codes.mean(dim=0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.log_variances[0].exp(), codes.var(dim=0, correction=0), atol=1e-5, rtol=1e-3)
    assert torch.equal(model.logits, torch.zeros(1))


def test_training_moves_networks_and_mixture() -> None:
    model = mixed(pretraining_steps=0)
    before = {name: p.clone() for name, p in model.named_parameters()}
    model.train().train_step(digits())
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_learning_rate_falls_by_a_tenth_every_ten_epochs_to_a_tenth() -> None:
    rates = {}
    model = mixed()
    model.steps_per_epoch = 1
    for epoch in (0, 9, 10, 25, 1000):
        model.steps_done = epoch
        model.train_step(digits(4))
        rates[epoch] = model.optimizer.param_groups[0]["lr"] / 2e-3
    assert rates == pytest.approx({0: 1, 9: 1, 10: 0.9, 25: 0.81, 1000: 0.1})


def test_components_find_two_kinds_of_images() -> None:
    images = torch.zeros(64, *SHAPE)
    images[:32, :, :, :4] = 0.9
    images[32:, :, 4:] = 0.9
    images += 0.05 * torch.rand(64, *SHAPE)
    model = VaDE(SHAPE, latent_dim=2, width=4, num_components=2, pretraining_steps=60, pretraining_lr=1e-2)
    found: Tensor = trained(model, 20, images).components(images)
    assert found[:32].unique().numel() == found[32:].unique().numel() == 1
    assert found[0] != found[-1]


def test_vade_has_no_bound_under_a_standard_normal() -> None:
    model = mixed()
    with pytest.raises(Unsupported, match="mixture"):
        model.rate_distortion(digits())
    scores = model.score(digits())
    assert scores.shape == (32,)
    assert math.isfinite(scores.sum().item())
