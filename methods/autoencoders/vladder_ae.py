"""The variational ladder autoencoder (arXiv 1702.08396)."""

from __future__ import annotations

from methods.autoencoders.vae import VAE
from methods.parts.ladder import DeepToShallowDecoder, ShallowToDeepEncoder, layer_sizes


class VLadderAE(VAE):
    """A VAE whose code's layers pass through networks of different depth, so that they hold features of their level.

    The objective is the VAE's, as is the prior N(0, I) of all layers; only the networks have a ladder:
    those of the authors' MNIST, but that a layer is joined to the others without their gate, as in their larger ones.
    Their code's error is the absolute one, times 8 (MNIST) or ½ (CelebA), and its KL term's weight at step t is
    1 − exp(−t / 2000); here both are as in the GWAE paper's baseline, which in turn has four layers at the four
    resolutions of a convolutional network, as the authors have for CelebA.
    """

    name = "vladder-ae"
    paper = "Zhao et al. 2017, arXiv:1702.08396"
    summary = "VAE whose code enters and leaves the networks at several depths, simple features first."

    num_layers: int = 3
    """Of the code, of one size, but that the first has what is left over: 3 for MNIST, 4 for CelebA."""
    lr: float = 2e-4
    """As in the authors' code; 1e-4 in the GWAE paper's baseline."""

    def make_networks(self) -> None:
        shape, width, batch_norm = self.image_shape, self.width, self.batch_norm
        sizes = layer_sizes(self.latent_dim, [1] * self.num_layers)
        self.encoder: ShallowToDeepEncoder = ShallowToDeepEncoder(
            self.network, shape, sizes, width=width, batch_norm=batch_norm
        )
        self.decoder: DeepToShallowDecoder = DeepToShallowDecoder(
            self.network, shape, sizes, width=width, batch_norm=batch_norm
        )
