"""The Wasserstein autoencoder with an adversarial penalty (arXiv 1711.01558, algorithm 1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn, optim

from methods.base import Losses
from methods.parts.adversaries import discriminator_loss, non_saturating_loss
from methods.parts.networks import ImageShape, Network, dense_layers
from methods.parts.optimization import Schedule, set_learning_rate, update
from methods.parts.priors import PriorName
from methods.parts.wasserstein import ADAM_BETAS, Posterior, WassersteinAutoencoder


class CodeDiscriminator(nn.Module):
    """Codes [B, latent_dim] -> logits [B] of coming from the prior: four hidden layers of ReLU units.

    With `known_prior`, the log-density of N(0, I) is added to the logit, so that the network has only the codes' own to
    learn (from arXiv 1701.04722; `gan_p_trick` in the authors' code, whose constant is that of one dimension, and which
    pairs every logit with every code's norm; here each has its own).
    """

    def __init__(self, latent_dim: int, *, width: int, known_prior: bool) -> None:
        super().__init__()
        self.layers = dense_layers([latent_dim, *[width] * 4, 1], nn.ReLU)
        self.known_prior = known_prior

    def forward(self, codes: Tensor) -> Tensor:
        logits = self.layers(codes).squeeze(1)
        if self.known_prior:
            logits = logits - 0.5 * codes.square().sum(dim=1) - 0.5 * math.log(2 * math.pi)
        return logits


class WAEGAN(WassersteinAutoencoder):
    """WAE whose divergence is adversarial: a discriminator learns to tell codes from draws of the prior.

    Encoder and decoder take a step against the discriminator (non-saturating), then it takes one. Defaults are MNIST's.

    Args:
        adversary_width: units of a hidden layer of the discriminator; 1024 for CelebA.
        adversary_lr: of the discriminator's Adam; 1e-3 for CelebA.
        known_prior: see `CodeDiscriminator`; on for CelebA. For the normal prior only.
        penalty, reconstruction_weight, prior, posterior, schedule, pretraining_batch, latent_dim, network, width,
            batch_norm, lr: see `WassersteinAutoencoder`. The code has λ = 100 for CelebA.

    Raises:
        ValueError: `known_prior` with a prior other than the normal.
    """

    name = "wae-gan"
    paper = "Tolstikhin et al. 2018, arXiv:1711.01558"
    summary = "Wasserstein autoencoder with an adversarial penalty between codes and prior."

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        adversary_width: int = 512,
        adversary_lr: float = 5e-4,
        known_prior: bool = False,
        penalty: float = 10.0,
        reconstruction_weight: float = 0.05,
        prior: PriorName = "normal",
        posterior: Posterior = "deterministic",
        schedule: Schedule = "steps",
        pretraining_batch: int = 1000,
        latent_dim: int = 64,
        network: Network = "conv",
        width: int = 32,
        batch_norm: bool = True,
        lr: float = 3e-4,
    ) -> None:
        if known_prior and prior != "normal":
            raise ValueError(f'known_prior needs prior = "normal", not "{prior}"')
        super().__init__(
            image_shape,
            penalty=penalty,
            reconstruction_weight=reconstruction_weight,
            prior=prior,
            posterior=posterior,
            schedule=schedule,
            pretraining_batch=pretraining_batch,
            latent_dim=latent_dim,
            network=network,
            width=width,
            batch_norm=batch_norm,
            lr=lr,
        )
        self.discriminator = CodeDiscriminator(latent_dim, width=adversary_width, known_prior=known_prior)
        self.adversary_lr = adversary_lr
        self.adversary_optimizer = optim.Adam(self.discriminator.parameters(), lr=adversary_lr, betas=ADAM_BETAS)

    def divergence(self, codes: Tensor, noise: Tensor) -> Tensor:
        return non_saturating_loss(self.discriminator(codes))

    def train_step(self, images: Tensor) -> Losses:
        set_learning_rate(self.adversary_optimizer, self.adversary_lr * self.decay())
        losses = super().train_step(images)
        with torch.no_grad():
            codes = self.draw_codes(images)
        noise = self.sample_prior(len(codes))
        adversary = self.penalty * discriminator_loss(self.discriminator(noise), self.discriminator(codes))
        update(self.adversary_optimizer, adversary)
        return {**losses, "discriminator": adversary}
