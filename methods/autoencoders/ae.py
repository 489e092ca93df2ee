"""The plain autoencoder."""

from __future__ import annotations

from torch import Tensor

from methods.base import Losses
from methods.parts.autoencoding import NetworkAutoencoder, squared_error


class AE(NetworkAutoencoder):
    """Minimizes ‖x − x̂‖² and nothing else.

    Nothing draws the codes towards a prior, so `sample_prior`, N(0, I), is what the W2GN paper calls raw decoding: the
    floor that a map from noise to codes must rise above.
    """

    name = "ae"
    paper = "Hinton & Salakhutdinov 2006, doi:10.1126/science.1127647"
    summary = "Plain autoencoder; decoding N(0, I) is the floor for latent transport."
    family = "AE"

    def objective(self, images: Tensor) -> Losses:
        return {"loss": squared_error(images, self.decoder(self.encoder(images)))}
