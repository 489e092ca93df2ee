"""The reference floor: networks that were never trained."""

from __future__ import annotations

from methods.parts.autoencoding import NetworkAutoencoder
from methods.parts.networks import ImageShape, Network


class Untrained(NetworkAutoencoder):
    """The networks all methods share, as they are initialized; decodes N(0, I). Whatever learns must beat it.

    Args:
        latent_dim: length of a code.
        network: the family of networks, see `methods.parts.networks`.
        width: number of base filters.
        batch_norm: whether the networks have batch norm.
    """

    name = "untrained"
    paper = "none: a reference"
    summary = "The shared networks at initialization: the floor every trained method must rise above."
    family = "reference"
    trains = False

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        latent_dim: int = 64,
        network: Network = "conv",
        width: int = 32,
        batch_norm: bool = True,
    ) -> None:
        super().__init__(image_shape, latent_dim=latent_dim, network=network, width=width, batch_norm=batch_norm)
