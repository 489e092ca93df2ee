"""GWAE: its losses, its critic, its priors and what it scores as unlike its images."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from methods.autoencoders.gwae import GWAE, LearnedPrior
from methods.base import Unsupported
from methods.parts.autoencoding import NetworkAutoencoder
from methods.parts.priors import GaussianMixturePrior
from tests.blurred_bars import SHAPE, digits, trained


def test_gwae_minimizes_its_four_weighted_terms() -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=3, width=4, reconstruction_weight=2.0, critic_weight=3.0, entropy_weight=0.5)
    losses = NetworkAutoencoder.train_step(model, digits())
    expected = losses["gromov_wasserstein"] + 2 * losses["reconstruction"] + 3 * losses["critic"]
    torch.testing.assert_close(losses["loss"], expected + 0.5 * losses["entropy"])


def test_gwae_trains_the_critic_apart() -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=3, width=4)
    images = digits()
    before = {name: p.clone() for name, p in model.named_parameters()}

    def moved() -> set[str]:
        return {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}

    model.critic_step(images, torch.randn(32, 3))
    assert moved() == {"critic"}
    before = {name: p.clone() for name, p in model.named_parameters()}
    NetworkAutoencoder.train_step(model, images)
    assert moved() == {"encoder", "decoder", "code_prior", "log_distance_scale"}


def test_gwae_gives_the_critic_its_number_of_steps() -> None:
    model = GWAE(SHAPE, latent_dim=3, width=4, critic_steps=3)
    model.train_step(digits())
    steps = {int(state["step"]) for state in model.critic_optimizer.state.values()}
    assert steps == {3}


def test_the_critic_of_gwae_learns_to_tell_joints_apart() -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=3, width=4, critic_lr=1e-3)
    images = digits()
    for _ in range(60):
        model.critic_step(images, torch.randn(32, 3) + 2)
    with torch.no_grad():
        prior_codes = model.sample_prior(32)
        ours = (images, torch.randn(32, 3) + 2)
        data, prior = model.critic.compare(ours, (model.decoder(prior_codes), prior_codes))
    assert (prior - data).mean() > 1


def test_the_score_of_gwae_is_the_critics_value_at_a_draw_of_the_posterior_and_its_decoding() -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=3, width=4).eval()
    images = digits()
    torch.manual_seed(2)
    score = model.score(images)
    torch.manual_seed(2)
    codes = model.draw_codes(images)
    assert score.std() > 0
    torch.testing.assert_close(score, model.critic(model.decode(codes), codes)[:, 0])


def test_the_score_of_gwae_is_higher_for_what_its_critic_learned_to_tell_from_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=3, width=4, critic_lr=1e-3)
    for _ in range(60):
        with torch.no_grad():
            codes = torch.randn(32, 3) + 2
            images = model.decoder(codes)
        model.critic_step(images, codes)
    scores = []
    with torch.no_grad():
        for codes in (torch.randn(32, 3) + 2, model.sample_prior(32)):
            monkeypatch.setattr(model, "draw_codes", lambda _, codes=codes: codes)
            scores.append(model.score(digits()))
    like_data, like_samples = scores
    assert (like_data < like_samples.mean()).all()
    assert like_samples.mean() - like_data.mean() > 1


def test_every_layer_of_the_critic_has_spectral_norm_1() -> None:
    torch.manual_seed(0)
    critic = GWAE(SHAPE, latent_dim=3, width=4).critic
    for _ in range(30):  # of power iteration
        critic(digits(), torch.randn(32, 3))
    weights = [module.weight for module in critic.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(weights) == 3 + 1 + 3 + 3
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, rel=0.02)


def test_the_critic_sees_one_pixel_at_the_end_of_its_convolutions() -> None:
    critic = GWAE((3, 64, 64), latent_dim=4, width=4).critic
    filters = [module.out_channels for module in critic.image_features if isinstance(module, nn.Conv2d)]
    assert filters == [8, 16, 32, 64, 128, 256]
    assert critic.image_features(torch.rand(2, 3, 64, 64)).shape == (2, 64)


@pytest.mark.parametrize("prior", ["neural", "factorized-neural", "gaussian-mixture"])
def test_gwae_samples_its_own_prior(prior: LearnedPrior) -> None:
    torch.manual_seed(0)
    model = trained(GWAE(SHAPE, latent_dim=3, width=4, prior=prior, critic_steps=1), 3)
    with torch.no_grad():
        assert model.sample_prior(7).shape == (7, 3)


def test_gwae_assigns_images_to_the_component_nearest_their_code() -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=2, width=4, prior="gaussian-mixture", num_components=3).eval()
    images = digits(3)
    assert isinstance(model.code_prior, GaussianMixturePrior)
    with torch.no_grad():
        model.code_prior.means.copy_(model.encode(images).flip(0) * math.sqrt(1 + 1e-5))
        model.code_prior.factors.copy_(1e-3 * torch.eye(2).expand(3, 2, 2))
    assert model.components(images).tolist() == [2, 1, 0]


def test_gwae_has_components_only_with_the_mixture() -> None:
    with pytest.raises(Unsupported, match="gaussian-mixture"):
        GWAE(SHAPE, latent_dim=2, width=4).components(digits())
