"""The adversarial autoencoder (arXiv 1511.05644)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Losses
from methods.parts.adversaries import CodeDiscriminator, discriminator_loss, non_saturating_loss
from methods.parts.autoencoding import NetworkAutoencoder, squared_error
from methods.parts.optimization import adam, update


class AAE(NetworkAutoencoder):
    """A deterministic autoencoder whose codes are made to look like draws of N(0, σ² I) by a discriminator.

    Three updates a batch, each with an optimizer of its own (section 2): encoder and decoder on ½‖x − x̂‖²; the
    discriminator, on telling draws of the prior from codes; the encoder alone, on being taken for the prior, which does
    not saturate. The paper's are by stochastic gradient descent; here all three are by Adam, so that no weight balances
    the losses.
    """

    name = "aae"
    paper = "Makhzani et al. 2015, arXiv:1511.05644"
    summary = "Autoencoder whose codes a discriminator matches to a Gaussian prior, in turns with reconstruction."
    family = "WAE"
    check_params: ClassVar[Mapping[str, Any]] = {"width": 8, "adversary_width": 64, "lr": 1e-3}

    prior_scale: float = 5.0
    """σ; 5 for the paper's MNIST."""
    adversary_width: int = 1000
    """Units of each of the discriminator's two hidden layers; the GWAE authors' AAE has as many."""
    adversary_lr: float = 1e-4
    """Of the discriminator's Adam and of the encoder's against it; ours."""

    def setup(self) -> None:
        super().setup()
        self.discriminator = CodeDiscriminator(self.latent_dim, width=self.adversary_width, hidden_layers=2)
        self.adversary_optimizer = adam(self.discriminator.parameters(), lr=self.adversary_lr)
        self.regularization_optimizer = adam(self.encoder.parameters(), lr=self.adversary_lr)

    def draw_prior(self, count: int) -> Tensor:
        return self.prior_scale * super().draw_prior(count)

    def reconstruction(self, images: Tensor) -> Tensor:
        return 0.5 * squared_error(images, self.decoder(self.encoder(images)))

    def regularizer(self, images: Tensor) -> Tensor:
        return non_saturating_loss(self.discriminator(self.encoder(images)))

    def adversary_loss(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            codes = self.encoder(images)
        return discriminator_loss(self.discriminator(self.draw_prior(len(codes))), self.discriminator(codes))

    def objective(self, images: Tensor) -> Losses:
        reconstruction, regularizer = self.reconstruction(images), self.regularizer(images)
        return {"loss": reconstruction + regularizer, "reconstruction": reconstruction, "regularizer": regularizer}

    def train_step(self, images: Tensor) -> Losses:
        reconstruction = self.reconstruction(images)
        update(self.optimizer, reconstruction)
        adversary = self.adversary_loss(images)
        update(self.adversary_optimizer, adversary)
        regularizer = self.regularizer(images)
        update(self.regularization_optimizer, regularizer)
        self.steps_done += 1
        return {"reconstruction": reconstruction, "regularizer": regularizer, "discriminator": adversary}
