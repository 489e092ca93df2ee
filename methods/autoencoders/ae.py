"""The plain autoencoder."""

from __future__ import annotations

from torch import Tensor, optim

from methods.base import Losses
from methods.parts.autoencoding import NetworkAutoencoder, squared_error
from methods.parts.networks import ImageShape, Network
from methods.parts.optimization import update


class AE(NetworkAutoencoder):
    """Minimizes ‖x − x̂‖² and nothing else.

    Nothing draws the codes towards a prior, so `sample_prior`, N(0, I), is what the W2GN paper calls raw decoding: the
    floor that a map from noise to codes must rise above.

    Args:
        latent_dim: length of a code.
        network: the family of networks, see `methods.parts.networks`.
        width: number of base filters.
        batch_norm: whether the networks have batch norm.
        lr: of Adam.
    """

    name = "ae"
    paper = "Hinton & Salakhutdinov 2006, doi:10.1126/science.1127647"
    summary = "Plain autoencoder; decoding N(0, I) is the floor for latent transport."
    family = "AE"

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        latent_dim: int = 64,
        network: Network = "conv",
        width: int = 32,
        batch_norm: bool = True,
        lr: float = 1e-4,
    ) -> None:
        super().__init__(image_shape, latent_dim=latent_dim, network=network, width=width, batch_norm=batch_norm)
        self.optimizer = optim.Adam(self.parameters(), lr=lr)

    def train_step(self, images: Tensor) -> Losses:
        loss = squared_error(images, self.decoder(self.encoder(images)))
        update(self.optimizer, loss)
        return {"loss": loss}
