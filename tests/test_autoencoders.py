"""What is particular to each autoencoder: its objective, its order of updates, its two stages."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from methods.autoencoders.ae import AE
from methods.autoencoders.annealed_vae import AnnealedVAE
from methods.autoencoders.beta_vae import BetaVAE
from methods.autoencoders.geco import GECO
from methods.autoencoders.gwae import GWAE
from methods.autoencoders.latent_ot import LatentOT
from methods.autoencoders.swae import SWAE
from methods.autoencoders.untrained import Untrained
from methods.autoencoders.vae import VAE, negative_log_likelihood
from methods.autoencoders.wae_gan import WAEGAN
from methods.autoencoders.wae_mmd import WAEMMD
from methods.base import Autoencoder, Likelihood
from methods.parts.autoencoding import draw_gaussian, squared_error
from methods.parts.divergences import sliced_wasserstein
from tests.blurred_bars import SHAPE, digits, trained


def test_squared_error_is_summed_over_an_image_and_averaged_over_the_batch() -> None:
    assert squared_error(torch.ones(3, 2, 4, 4), torch.zeros(3, 2, 4, 4)) == 32


def test_gaussian_draws_have_the_mean_and_the_variance_asked_for() -> None:
    torch.manual_seed(0)
    draws = draw_gaussian(torch.full((20_000, 1), 3.0), torch.full((20_000, 1), math.log(4.0)))
    assert draws.mean().item() == pytest.approx(3, abs=0.05)
    assert draws.var().item() == pytest.approx(4, rel=0.05)


def test_ae_learns_to_reconstruct() -> None:
    torch.manual_seed(0)
    model = AE(SHAPE, latent_dim=2, width=4, lr=1e-2)
    images = digits()
    before = squared_error(images, model.eval().decode(model.encode(images)))
    trained(model, 150)
    assert squared_error(images, model.decode(model.encode(images))) < 0.2 * before


@pytest.mark.parametrize(
    ("method", "settings", "least"),
    [
        (AE, {"latent_dim": 0}, 1),
        (AE, {"width": -1}, 1),
        (SWAE, {"num_projections": 0}, 1),
        (GECO, {"multiplier_every": 0}, 1),
        (AnnealedVAE, {"capacity_steps": -1}, 0),
    ],
)
def test_counts_are_positive_and_steps_not_negative(
    method: type[Autoencoder], settings: dict[str, int], least: int
) -> None:
    ((option, value),) = settings.items()
    with pytest.raises(ValueError, match=f"^{method.name}: {option} is {value}; it must be at least {least}$"):
        method(SHAPE, **settings)


# VAE


def test_gaussian_likelihood_is_that_of_unit_variance() -> None:
    images, means = torch.rand(3, 1, 8, 8), torch.rand(3, 1, 8, 8)
    expected = -Independent(Normal(means, 1.0), 3).log_prob(images) - 32 * math.log(2 * math.pi)
    torch.testing.assert_close(negative_log_likelihood(images, means, "gaussian"), expected, rtol=1e-4, atol=1e-3)


def test_bernoulli_likelihood_is_that_of_torch_distributions() -> None:
    images, means = torch.rand(3, 1, 8, 8).round(), 0.1 + 0.8 * torch.rand(3, 1, 8, 8)
    expected = -Independent(Bernoulli(means), 3).log_prob(images)
    torch.testing.assert_close(negative_log_likelihood(images, means, "bernoulli"), expected)


def test_vae_encodes_to_the_posterior_mean() -> None:
    model = VAE(SHAPE, latent_dim=3, width=4).eval()
    images = digits()
    torch.testing.assert_close(model.encode(images), model.encoder(images)[:, :3])


def test_vae_adds_likelihood_and_kl() -> None:
    losses = VAE(SHAPE, latent_dim=3, width=4).train_step(digits())
    torch.testing.assert_close(losses["loss"], losses["reconstruction"] + losses["regularizer"])


def test_beta_vae_weights_the_kl_by_beta() -> None:
    torch.manual_seed(0)
    codes, mean, log_variance = torch.randn(3, 5, 2)
    vae, beta_vae = VAE(SHAPE, latent_dim=2, width=4), BetaVAE(SHAPE, beta=4.0, latent_dim=2, width=4)
    torch.testing.assert_close(
        beta_vae.regularizer(codes, mean, log_variance), 4 * vae.regularizer(codes, mean, log_variance)
    )


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_rate_and_distortion_are_those_of_torch_distributions_at_the_code_drawn(likelihood: Likelihood) -> None:
    torch.manual_seed(0)
    model = VAE(SHAPE, latent_dim=3, width=4, likelihood=likelihood).eval()
    images = digits().round()
    with torch.no_grad():
        mean, log_variance = model.posterior(images)
        torch.manual_seed(2)
        decoded = model.decode(model.draw_codes(images))
        torch.manual_seed(2)
        rate, distortion = model.rate_distortion(images)
    posterior = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    torch.testing.assert_close(rate, kl_divergence(posterior, Independent(Normal(torch.zeros(3), torch.ones(3)), 1)))
    observed = Normal(decoded, 1.0) if likelihood == "gaussian" else Bernoulli(decoded)
    torch.testing.assert_close(distortion, -Independent(observed, 3).log_prob(images))


def test_beta_weighs_neither_the_evidence_bound_nor_the_score() -> None:
    torch.manual_seed(0)
    vae, beta_vae = (cls(SHAPE, latent_dim=2, width=4).eval() for cls in (VAE, BetaVAE))
    beta_vae.load_state_dict(vae.state_dict())
    images = digits()
    judged = []
    for model in (vae, beta_vae):
        torch.manual_seed(2)
        rate, distortion = model.rate_distortion(images)
        torch.manual_seed(2)
        torch.testing.assert_close(model.score(images), rate + distortion)
        judged.append(torch.stack([rate, distortion]))
    assert torch.equal(*judged)


def test_a_trained_vae_finds_noise_unlike_its_images() -> None:
    torch.manual_seed(0)
    model = trained(VAE(SHAPE, latent_dim=2, width=4, lr=1e-2), 100)
    assert model.score(torch.rand(32, *SHAPE)).min() > model.score(digits()).max()


def test_a_large_beta_empties_the_codes() -> None:
    spreads = []
    for beta in (0.01, 100.0):
        torch.manual_seed(0)
        model = trained(BetaVAE(SHAPE, beta=beta, latent_dim=2, width=4, lr=1e-2), 60)
        spreads.append(model.encode(digits()).std().item())
    assert spreads[1] < 0.2 * spreads[0]


def test_swae_minimizes_cross_entropy_absolute_error_and_sliced_distance() -> None:
    torch.manual_seed(0)
    model = SWAE(SHAPE, latent_dim=3, width=4)
    images = digits()
    torch.manual_seed(2)
    codes = model.encoder(images)
    outputs = model.decoder(codes)
    cross_entropy = -(images * outputs.log() + (1 - images) * (1 - outputs).log()).mean()
    expected = cross_entropy + (images - outputs).abs().mean() + 10 * sliced_wasserstein(codes, torch.randn(32, 3), 50)
    torch.manual_seed(2)
    assert model.train_step(images)["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


# All


def test_untrained_has_the_very_networks_of_the_others_at_their_start() -> None:
    torch.manual_seed(0)
    reference = Untrained(SHAPE, latent_dim=2, width=4)
    torch.manual_seed(0)
    start = AE(SHAPE, latent_dim=2, width=4)
    assert not Untrained.trains
    assert all(torch.equal(value, start.state_dict()[key]) for key, value in reference.state_dict().items())


def test_no_two_weights_share_memory() -> None:
    for cls in (AE, VAE, BetaVAE, WAEMMD, WAEGAN, SWAE, GWAE, LatentOT, Untrained):
        places = [value.data_ptr() for value in cls(SHAPE, latent_dim=2, width=4).state_dict().values()]
        assert len(set(places)) == len(places)
