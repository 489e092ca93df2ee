"""The FactorVAE (Kim & Mnih 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.autoencoders.vae import VAE
from methods.base import Losses
from methods.parts.adversaries import discriminator_loss
from methods.parts.networks import dense_layers
from methods.parts.optimization import adam, update
from methods.parts.variational import permute_dimensions

HIDDEN_LAYERS = 6
ADAM_BETAS = (0.5, 0.9)


class FactorVAE(VAE):
    """Adds γ TC(z) to the VAE's objective, as a discriminator estimates it (arXiv 1802.05983, eq. 2).

    The discriminator learns to tell codes from codes whose dimensions are shuffled over the batch; minus its logit of
    the latter estimates log q(z) / Π_j q(z_j). It takes its step after encoder and decoder have taken theirs, on codes
    drawn anew of the same images, where the authors shuffle the codes of a second batch; the GWAE paper's and the 2019
    study's code (arXiv 1811.12359) use one batch for both too. One logit stands for their two.
    """

    name = "factor-vae"
    paper = "Kim & Mnih 2018, arXiv:1802.05983"
    summary = "VAE with an adversarial estimate of the total correlation of its codes."
    check_params: ClassVar[Mapping[str, Any]] = {"adversary_width": 64}

    gamma: float = 35.0
    """Weight of the total correlation; 10 to 100 in the 2019 study, 0.1 in the GWAE paper's CelebA baseline."""
    adversary_width: int = 1000
    """Units of each of the discriminator's six hidden layers, as in the 2019 study; the GWAE paper's code has five."""
    adversary_lr: float = 1e-4
    """Of the discriminator's Adam; 1e-4 in the 2019 study, 1e-3 in the GWAE paper's CelebA baseline."""

    def setup(self) -> None:
        super().setup()
        sizes = [self.latent_dim, *[self.adversary_width] * HIDDEN_LAYERS, 1]
        self.discriminator = dense_layers(sizes, partial(nn.LeakyReLU, 0.2))
        self.adversary_optimizer = adam(self.discriminator.parameters(), lr=self.adversary_lr, betas=ADAM_BETAS)

    def regularizer(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        return super().regularizer(codes, mean, log_variance) + self.gamma * self.total_correlation(codes)

    def total_correlation(self, codes: Tensor) -> Tensor:
        """The discriminator's estimate, from codes [B, latent_dim]."""
        return -self.discriminator(codes).mean()

    def train_step(self, images: Tensor) -> Losses:
        losses = super().train_step(images)
        with torch.no_grad():
            codes = self.draw_codes(images)
        adversary = discriminator_loss(self.discriminator(permute_dimensions(codes)), self.discriminator(codes))
        update(self.adversary_optimizer, adversary)
        return {**losses, "discriminator": adversary}
