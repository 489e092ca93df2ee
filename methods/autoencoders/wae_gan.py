"""The Wasserstein autoencoder with an adversarial penalty (arXiv 1711.01558, algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor, optim

from methods.base import Losses
from methods.parts.adversaries import CodeDiscriminator, discriminator_loss, non_saturating_loss
from methods.parts.optimization import set_learning_rate, update
from methods.parts.wasserstein import ADAM_BETAS, WassersteinAutoencoder


class WAEGAN(WassersteinAutoencoder):
    """WAE whose divergence is adversarial: a discriminator learns to tell codes from draws of the prior.

    Encoder and decoder take a step against the discriminator (non-saturating), then it takes one.

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
    """See `CodeDiscriminator`; on for CelebA. For the normal prior only."""
    lr: float = 3e-4

    def setup(self) -> None:
        if self.known_prior and self.prior != "normal":
            raise ValueError(f'known_prior needs prior = "normal", not "{self.prior}"')
        super().setup()
        self.discriminator = CodeDiscriminator(
            self.latent_dim, width=self.adversary_width, known_prior=self.known_prior
        )
        self.adversary_optimizer = optim.Adam(self.discriminator.parameters(), lr=self.adversary_lr, betas=ADAM_BETAS)

    def divergence(self, codes: Tensor, noise: Tensor) -> Tensor:
        return non_saturating_loss(self.discriminator(codes))

    def train_step(self, images: Tensor) -> Losses:
        set_learning_rate(self.adversary_optimizer, self.adversary_lr * self.decay())
        losses = super().train_step(images)
        with torch.no_grad():
            codes = self.draw_codes(images)
        noise = self.draw_prior(len(codes))
        adversary = self.penalty * discriminator_loss(self.discriminator(noise), self.discriminator(codes))
        update(self.adversary_optimizer, adversary)
        return {**losses, "discriminator": adversary}
