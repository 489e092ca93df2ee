"""The Wasserstein autoencoder with an adversarial penalty (arXiv 1711.01558, algorithm 1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from methods.base import Losses
from methods.parts.adversaries import CodeDiscriminator, discriminator_loss, non_saturating_loss
from methods.parts.optimization import adam, set_learning_rate, update
from methods.parts.wasserstein import ADAM_BETAS, WassersteinAutoencoder


class WAEGAN(WassersteinAutoencoder):
    """WAE whose divergence is adversarial: a discriminator D learns to tell codes from draws of the prior.

    Encoder and decoder take a step against it, with divergence mean of −log σ(D(codes)) (non-saturating), then it takes
    one of its own, on λ · cross-entropy.

    Raises:
        ValueError: `known_prior` with a prior other than the normal.
    """

    name = "wae-gan"
    paper = "Tolstikhin et al. 2018, arXiv:1711.01558"
    summary = "Wasserstein autoencoder with an adversarial penalty between codes and prior."

    adversary_width: int = 512
    """Units of a hidden layer of the discriminator; 1024 for CelebA."""
    adversary_lr: float = 5e-4
    """Of the discriminator's Adam; 1e-3 for CelebA."""
    known_prior: bool = False
    """Whether the log-density of the prior, the normal one only, is added to D, which has then only that of the codes
    to learn (from arXiv 1701.04722); on for CelebA."""
    lr: float = 3e-4

    def setup(self) -> None:
        if self.known_prior and self.prior != "normal":
            raise ValueError(f'known_prior needs prior = "normal", not "{self.prior}"')
        super().setup()
        self.discriminator = CodeDiscriminator(self.latent_dim, width=self.adversary_width)
        self.draw_weights(self.discriminator)
        self.adversary_optimizer = adam(self.discriminator.parameters(), lr=self.adversary_lr, betas=ADAM_BETAS)

    def logits(self, codes: Tensor) -> Tensor:
        """D, [B, latent_dim] -> [B].

        `gan_p_trick` of the authors' code takes the constant of one dimension, as here, and pairs every logit with
        every code's norm; here each has its own.
        """
        logits = self.discriminator(codes)
        if self.known_prior:
            variance = self.prior_scale**2
            logits = logits - codes.square().sum(dim=1) / (2 * variance) - 0.5 * math.log(2 * math.pi)
            logits = logits - 0.5 * self.latent_dim * math.log(variance)
        return logits

    def divergence(self, codes: Tensor, noise: Tensor) -> Tensor:
        return non_saturating_loss(self.logits(codes))

    def train_step(self, images: Tensor) -> Losses:
        set_learning_rate(self.adversary_optimizer, self.adversary_lr * self.decay())
        losses = super().train_step(images)
        with torch.no_grad():
            codes = self.draw_codes(images)
        noise = self.draw_prior(len(codes))
        adversary = self.penalty * discriminator_loss(self.logits(noise), self.logits(codes))
        update(self.adversary_optimizer, adversary)
        return {**losses, "discriminator": adversary}
