"""Autoencoders whose adversary judges pairs of an image and a code: what AVB and ALI share."""

from __future__ import annotations

from torch import Tensor, optim

from methods.base import Losses
from methods.parts.adversaries import JointCritic
from methods.parts.autoencoding import NetworkAutoencoder
from methods.parts.optimization import update

ADAM_BETAS = (0.5, 0.999)


class JointAdversary(NetworkAutoencoder):
    """An autoencoder and a discriminator of pairs, each updated by its Adam from where both stood before the step.

    Subclasses give `objective` and `adversary_loss`.
    """

    adversary_lr: float = 1e-4
    """Of the discriminator's Adam."""
    adversary_width: int = 8
    """Filters of the discriminator's first convolution, see `methods.parts.adversaries.JointCritic`."""
    adversary_dropout: float = 0.0
    """Share of the inputs of every layer of the discriminator that is left out in training."""
    adversary_spectral_norm: bool = False
    """Whether the discriminator's layers have spectral norm."""

    def setup(self) -> None:
        super().setup()
        self.optimizer = optim.Adam(self.parameters(), lr=self.lr, betas=ADAM_BETAS)
        self.adversary = JointCritic(
            self.image_shape,
            self.latent_dim,
            self.adversary_width,
            spectral=self.adversary_spectral_norm,
            dropout=self.adversary_dropout,
        )
        self.adversary_optimizer = optim.Adam(self.adversary.parameters(), lr=self.adversary_lr, betas=ADAM_BETAS)

    def adversary_loss(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> what the discriminator minimizes, a scalar with no gradient to encoder and decoder."""
        raise NotImplementedError

    def train_step(self, images: Tensor) -> Losses:
        adversary = self.adversary_loss(images)
        losses = super().train_step(images)
        update(self.adversary_optimizer, adversary)
        return {**losses, "discriminator": adversary}
