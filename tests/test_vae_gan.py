"""VAE/GAN: what each of its three parts descends, and who waits."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional as F

from methods.autoencoders.vae_gan import VAEGAN
from methods.parts.adversaries import ImageDiscriminator
from tests.blurred_bars import SHAPE, digits
from tests.gradients import cross_entropy, found_gradients, gradients


def test_vae_gan_compares_the_last_convolution() -> None:
    discriminator = ImageDiscriminator((1, 28, 28), 2)
    features, logits = discriminator(torch.rand(3, 1, 28, 28))
    assert features.shape == (3, 16, 4, 4)
    assert logits.shape == (3,)
    assert features.min() < 0  # no ReLU after it


@pytest.mark.parametrize("both", [True, False])
def test_vae_gan_trains_each_part_on_its_own_loss(both: bool) -> None:
    torch.manual_seed(0)
    model = VAEGAN(
        SHAPE,
        latent_dim=3,
        width=4,
        adversary_width=2,
        similarity_weight=0.3,
        balanced=False,
        judge_reconstructions=both,
    )
    start, images = copy.deepcopy(model), digits()
    torch.manual_seed(2)
    losses = model.train_step(images)

    torch.manual_seed(2)
    noise, prior = torch.randn(32, 3), torch.randn(32, 3)
    outputs = start.encoder(images)
    mean, deviation = outputs[:, :3], (outputs[:, 3:] / 2).exp()
    generated = start.decoder(torch.cat([mean + deviation * noise, prior]))
    features, logits = start.discriminator(torch.cat([images, generated]))
    real, reconstructed, sampled = logits.split(32)
    similarity = 0.5 * F.mse_loss(features[32:64], features[:32], reduction="sum") / 32
    posterior = Independent(Normal(mean, deviation), 1)
    divergence = kl_divergence(posterior, Independent(Normal(torch.zeros(32, 3), torch.ones(32, 3)), 1)).mean()
    adversary = cross_entropy(real, 1) + cross_entropy(sampled, 0)
    if both:
        adversary = adversary + cross_entropy(reconstructed, 0)
    encoder, decoder = divergence + similarity, 0.3 * similarity - adversary

    for name, part, expected in [
        ("encoder", "encoder", encoder),
        ("decoder", "decoder", decoder),
        ("discriminator", "discriminator", adversary),
    ]:
        torch.testing.assert_close(losses[name], expected, rtol=1e-4, atol=1e-5)
        found = found_gradients(getattr(model, part))
        torch.testing.assert_close(found, gradients(expected, getattr(start, part)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("real", "generated", "expected"),
    [
        (0.7, 0.7, (True, True)),
        (0.1, 0.7, (True, False)),  # the discriminator is too strong on real images
        (0.7, 1.2, (False, True)),  # too weak on generated ones
        (0.1, 1.2, (True, True)),  # both: nobody waits
    ],
)
def test_vae_gan_lets_the_stronger_wait(real: float, generated: float, expected: tuple[bool, bool]) -> None:
    model = VAEGAN(SHAPE, latent_dim=3, width=4, adversary_width=2)
    assert model.who_learns(torch.tensor(real), torch.tensor(generated)) == expected


def test_vae_gan_lets_nobody_wait_unless_balanced() -> None:
    model = VAEGAN(SHAPE, latent_dim=3, width=4, adversary_width=2, balanced=False)
    assert model.who_learns(torch.tensor(0.1), torch.tensor(0.7)) == (True, True)


@pytest.mark.parametrize("learning", [(True, False), (False, True)])
def test_vae_gan_leaves_whoever_waits_unchanged(learning: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = VAEGAN(SHAPE, latent_dim=3, width=4, adversary_width=2)
    monkeypatch.setattr(model, "who_learns", lambda real, generated: learning)
    start = copy.deepcopy(model)
    model.train_step(digits())

    def moved(part: str) -> bool:
        pairs = zip(getattr(model, part).parameters(), getattr(start, part).parameters(), strict=True)
        return any(not torch.equal(now, before) for now, before in pairs)

    assert (moved("encoder"), moved("decoder"), moved("discriminator")) == (True, *learning)
