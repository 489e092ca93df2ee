"""Autoencoders whose adversary judges pairs of an image and a code: what AVB and ALI share."""

from __future__ import annotations

from typing import Literal

from methods.parts.adversaries import DenseJointCritic, JointCritic, PairCritic
from methods.parts.autoencoding import NetworkAutoencoder
from methods.parts.optimization import adam

ADAM_BETAS = (0.5, 0.999)
CRITICS: dict[str, type[JointCritic | DenseJointCritic]] = {"conv": JointCritic, "mlp": DenseJointCritic}


class JointAdversary(NetworkAutoencoder):
    """An autoencoder and a discriminator of pairs, each with its Adam."""

    adversary_lr: float = 1e-4
    """Of the discriminator's Adam."""
    adversary_network: Literal["conv", "mlp"] = "conv"
    """Of the discriminator: `JointCritic` or `DenseJointCritic` of `methods.parts.adversaries`."""
    adversary_width: int = 8
    """Filters of the discriminator's first convolution; its dense layers have 32 times as many units."""
    adversary_dropout: float = 0.0
    """Share of the inputs of every layer of the discriminator that is left out in training."""
    adversary_spectral_norm: bool = False
    """Whether the discriminator's layers have spectral norm."""

    def setup(self) -> None:
        super().setup()
        self.optimizer = adam(self.parameters(), lr=self.lr, betas=ADAM_BETAS)
        self.adversary: PairCritic = CRITICS[self.adversary_network](
            self.image_shape,
            self.latent_dim,
            self.adversary_width,
            spectral=self.adversary_spectral_norm,
            dropout=self.adversary_dropout,
        )
        self.adversary_optimizer = adam(self.adversary.parameters(), lr=self.adversary_lr, betas=ADAM_BETAS)
