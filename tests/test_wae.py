"""The Wasserstein autoencoders: their objectives against the formulas, priors, encoders, schedules, and adversary."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from methods.autoencoders.ae import AE
from methods.autoencoders.wae_gan import WAEGAN
from methods.autoencoders.wae_mmd import WAEMMD
from methods.base import Unsupported
from methods.parts.adversaries import CodeDiscriminator
from methods.parts.autoencoding import squared_error
from methods.parts.divergences import imq_kernel, mmd
from methods.parts.priors import PriorName
from methods.parts.wasserstein import PosteriorFamily
from tests.blurred_bars import SHAPE, digits, trained


@pytest.mark.parametrize("posterior", ["deterministic", "gaussian", "additive-noise"])
@pytest.mark.parametrize("prior", ["normal", "sphere", "uniform"])
def test_wae_minimizes_weighted_cost_plus_weighted_divergence(prior: PriorName, posterior: PosteriorFamily) -> None:
    torch.manual_seed(0)
    model = WAEMMD(SHAPE, latent_dim=3, width=4, penalty=7.0, prior=prior, posterior_family=posterior, batch_norm=False)
    images = digits()
    torch.manual_seed(2)
    codes = model.draw_codes(images)
    cost = 0.05 * squared_error(images, model.decoder(codes))
    divergence = mmd(codes, model.sample_prior(32), imq_kernel({"normal": 6.0, "sphere": 2.0, "uniform": 3.0}[prior]))
    expected = (cost + 7 * divergence).item()
    torch.manual_seed(2)
    assert model.train_step(images)["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_wae_evaluates_without_the_noise_of_its_encoder() -> None:
    for posterior in ("gaussian", "additive-noise"):
        model = WAEMMD(SHAPE, latent_dim=3, width=4, posterior_family=posterior).eval()
        assert torch.equal(model.encode(digits()), model.encode(digits()))
        assert not torch.equal(model.draw_codes(digits()), model.draw_codes(digits()))


def test_wae_tells_the_gaussian_it_draws_codes_from() -> None:
    torch.manual_seed(0)
    model = WAEMMD(SHAPE, latent_dim=3, width=4, posterior_family="gaussian").eval()
    images = digits(1)
    mean, log_variance = model.posterior(images)
    draws = model.draw_codes(images.expand(20_000, *SHAPE))
    torch.testing.assert_close(mean, model.encode(images))
    torch.testing.assert_close(draws.mean(dim=0), mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(draws.var(dim=0), log_variance[0].exp(), atol=0, rtol=0.05)


@pytest.mark.parametrize(
    "settings",
    [
        {"posterior_family": "deterministic"},
        {"posterior_family": "additive-noise"},
        {"posterior_family": "gaussian", "prior": "sphere"},
    ],
)
def test_wae_has_a_gaussian_posterior_only_where_it_draws_from_one(settings: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match="Gaussian"):
        WAEMMD(SHAPE, latent_dim=3, width=4, **settings).eval().posterior(digits())


def test_a_deterministic_encoder_draws_its_codes() -> None:
    for model in (AE(SHAPE, latent_dim=3, width=4), WAEMMD(SHAPE, latent_dim=3, width=4)):
        assert torch.equal(model.eval().draw_codes(digits()), model.encode(digits()))
        for tell in (model.posterior, model.rate_distortion, model.score):
            with pytest.raises(Unsupported, match=f"{model.name} has"):
                tell(digits())


def test_wae_pretraining_brings_the_moments_of_the_codes_to_the_priors() -> None:
    torch.manual_seed(0)
    model = WAEMMD(SHAPE, latent_dim=2, width=4, lr=1e-2, pretraining_batch=48)
    decoder = [p.clone() for p in model.decoder.parameters()]
    mismatch = [losses["moment_mismatch"].item() for losses in model.prepare(repeat(digits()))]
    assert mismatch[0] > 0.3
    assert mismatch[-1] < 0.1 or len(mismatch) == 200
    assert min(mismatch) == mismatch[-1]
    assert all(torch.equal(p, q) for p, q in zip(decoder, model.decoder.parameters(), strict=True))


def test_wae_pretraining_can_be_left_out() -> None:
    assert list(WAEMMD(SHAPE, latent_dim=2, width=4, pretraining_batch=0).prepare(repeat(digits()))) == []


def test_wae_pretraining_sees_as_many_images_as_asked_for() -> None:
    drawn = 0

    def batches() -> Iterator[Tensor]:
        nonlocal drawn
        while True:
            drawn += 1
            yield digits()

    model = WAEMMD(SHAPE, latent_dim=2, width=4, pretraining_batch=100)
    next(iter(model.prepare(batches())))
    assert drawn == 4


def test_wae_lowers_its_learning_rates_by_the_epoch() -> None:
    model = WAEGAN(SHAPE, latent_dim=2, width=4, adversary_width=8, schedule="smooth", lr=1e-3, adversary_lr=2e-3)
    trained(model, 20)
    assert model.optimizer.param_groups[0]["lr"] == pytest.approx(1e-5)
    assert model.adversary_optimizer.param_groups[0]["lr"] == pytest.approx(2e-5)


def test_wae_mmd_with_either_kernel_shapes_the_codes() -> None:
    for kernel in ("imq", "rbf"):
        torch.manual_seed(0)
        model = WAEMMD(SHAPE, latent_dim=2, width=4, kernel=kernel, lr=3e-3, pretraining_batch=0, penalty=50.0)
        codes = trained(model, 150, digits(128)).encode(digits(128))
        assert codes.mean(dim=0).abs().max() < 0.4
        assert codes.std(dim=0).tolist() == pytest.approx([1, 1], abs=0.4)


def test_wae_gan_gives_the_adversary_the_step_after() -> None:
    torch.manual_seed(0)
    model = WAEGAN(SHAPE, latent_dim=2, width=4, adversary_width=8)
    before = {name: p.clone() for name, p in model.named_parameters()}
    super(WAEGAN, model).train_step(digits())
    moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"encoder", "decoder"}
    losses = model.train_step(digits())
    moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"encoder", "decoder", "discriminator"}
    torch.testing.assert_close(losses["loss"], losses["reconstruction"] + 10 * losses["divergence"])


def test_the_known_prior_adds_its_log_density_to_the_logit() -> None:
    torch.manual_seed(0)
    plain = CodeDiscriminator(4, width=8, known_prior=False)
    known = CodeDiscriminator(4, width=8, known_prior=True)
    known.load_state_dict(plain.state_dict())
    codes = torch.randn(5, 4)
    density = Independent(Normal(torch.zeros(4), 1.0), 1).log_prob(codes)
    # The authors' constant is that of one dimension.
    torch.testing.assert_close(known(codes) - plain(codes), density + 1.5 * math.log(2 * math.pi))


def test_the_known_prior_must_be_normal() -> None:
    with pytest.raises(ValueError, match='known_prior needs prior = "normal", not "sphere"'):
        WAEGAN(SHAPE, known_prior=True, prior="sphere")
