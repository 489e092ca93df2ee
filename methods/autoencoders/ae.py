"""The plain autoencoder."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Losses
from methods.parts.autoencoding import NetworkAutoencoder, squared_error
from methods.parts.perceptual import PerceptualDistance, pretrained_vgg16_blocks

ReconstructionLoss = Literal["squared-error", "l1-mse", "perceptual"]

L1_WEIGHT, MSE_WEIGHT, PERCEPTUAL_WEIGHT = 100.0, 300.0, 6.0
NOISE = 0.025


class AE(NetworkAutoencoder):
    """Minimizes a reconstruction loss and nothing else.

    Nothing draws the codes towards a prior, so `sample_prior`, N(0, I), is what the W2GN paper calls raw decoding: the
    floor that a map from noise to codes must rise above.

    Raises:
        FileNotFoundError: loss "perceptual" without the weights of VGG16; it says where to put them.
    """

    name = "ae"
    paper = "Hinton & Salakhutdinov 2006, doi:10.1126/science.1127647"
    summary = "Plain autoencoder; decoding N(0, I) is the floor for latent transport."
    family = "AE"

    loss: ReconstructionLoss = "squared-error"
    """"squared-error", ‖x − x̂‖²; or one of the W2GN authors' two for CelebA (arXiv 1909.13082), denoising ones:
    "l1-mse", 100 times the mean absolute plus 300 times the mean squared error over pixels, or "perceptual", that plus
    6 times the distance in features of VGG16. Theirs are of images in [−1, 1], to which the encoder sees noise of 0.025
    added."""

    def setup(self) -> None:
        super().setup()
        if self.loss == "perceptual":
            self.perceptual_distance = PerceptualDistance(pretrained_vgg16_blocks())

    def objective(self, images: Tensor) -> Losses:
        if self.loss == "squared-error":
            return {"loss": squared_error(images, self.decoder(self.encoder(images)))}
        # Half of what it is on [−1, 1], where the losses are.
        noise = 0.5 * NOISE * torch.randn_like(images)
        scaled, reconstructions = 2 * images - 1, 2 * self.decoder(self.encoder(images + noise)) - 1
        absolute, squared = F.l1_loss(reconstructions, scaled), F.mse_loss(reconstructions, scaled)
        loss = L1_WEIGHT * absolute + MSE_WEIGHT * squared
        if self.loss == "l1-mse":
            return {"loss": loss, "absolute": absolute, "squared": squared}
        perceptual = self.perceptual_distance(reconstructions, scaled)
        loss = loss + PERCEPTUAL_WEIGHT * perceptual
        return {"loss": loss, "absolute": absolute, "squared": squared, "perceptual": perceptual}
