"""The variationally inferred transformational autoencoder (arXiv 1906.11881), unconditional."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.autoencoders.vae import VAE
from methods.parts.networks import ImageShape, Network, build_decoder, build_encoder
from methods.parts.spatial import DiffeomorphicTransformer, split_code


class TwoEncoders(nn.Module):
    """Images -> means and log-variances [B, 2 · latent_dim]: each part of the code has a network of its own.

    Args:
        sizes: length of each part.
    """

    def __init__(
        self, network: Network, image_shape: ImageShape, sizes: list[int], *, width: int, batch_norm: bool
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            build_encoder(network, image_shape, 2 * size, width=width, batch_norm=batch_norm) for size in sizes
        )

    def forward(self, images: Tensor) -> Tensor:
        means, log_variances = zip(*(part(images).chunk(2, dim=1) for part in self.parts), strict=True)
        return torch.cat([*means, *log_variances], dim=1)


class TransformingDecoder(nn.Module):
    """Codes [B, latent_dim] -> images in [0, 1]: what the appearance decodes to, moved as the perspective says.

    Args:
        sizes: length of the perspective and of the appearance, in this order in a code.
    """

    def __init__(
        self, network: Network, image_shape: ImageShape, sizes: list[int], *, width: int, batch_norm: bool
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.transformer = DiffeomorphicTransformer(sizes[0], 8 * width)
        self.appearance = build_decoder(network, image_shape, sizes[1], width=width, batch_norm=batch_norm)

    def forward(self, codes: Tensor) -> Tensor:
        perspective, appearance = codes.split(self.sizes, dim=1)
        return self.transformer(self.appearance(appearance), perspective)


class VITAE(VAE):
    """A VAE whose codes (z_P, z_A) are perspective and appearance: x̂ = T(z_P) ∘ a(z_A) (arXiv 1906.11881).

    Minimizes E[−log p(x | z_P, z_A)] + KL(q(z_P | x) ‖ N(0, I)) + KL(q(z_A | x) ‖ N(0, I)). T is affine, by a matrix
    exponential of six numbers that a network makes of z_P (`affinediff` in the authors' code). Encoders of the two
    parts are separate networks, each of which sees the image: the paper's U-VITAE, as is the GWAE paper's baseline.
    C-VITAE, whose appearance is inferred from the image moved back by z_P, and the paper's piecewise-affine T (CPAB)
    are not here.

    The authors' code has Bernoulli pixels unless Gaussian ones are asked for, whose variance it learns, and warms the
    KL up for 100 of 200 epochs; pixels outside are black, here the border repeats. In the GWAE paper's baseline T adds
    a smooth displacement of every pixel (5 × 5 vectors, interpolated) to a grid whose axes are swapped, one encoder
    gives both parts, and the errors of 4 draws are summed, which weighs the reconstruction by 4.

    Raises:
        ValueError: perspective_dims leave perspective or appearance empty.
    """

    name = "vitae"
    paper = "Detlefsen & Hauberg 2019, arXiv:1906.11881"
    summary = "VAE with two codes: what is in the image, and the affine transformation it is seen under."
    packs = False  # its images are resampled one model after another

    perspective_dims: int | None = None
    """Length of z_P; None for half of the code, as in the authors' code; 62 of 64 in the GWAE paper's CelebA
    baseline."""
    lr: float = 1e-3
    """As in the authors' code; 1e-4 in the GWAE paper's baseline."""

    def make_networks(self) -> None:
        perspective_dims = self.latent_dim // 2 if self.perspective_dims is None else self.perspective_dims
        sizes = split_code("perspective_dims", perspective_dims, self.latent_dim)
        shape, width, batch_norm = self.image_shape, self.width, self.batch_norm
        self.encoder: TwoEncoders = TwoEncoders(self.network, shape, sizes, width=width, batch_norm=batch_norm)
        self.decoder: TransformingDecoder = TransformingDecoder(
            self.network, shape, sizes, width=width, batch_norm=batch_norm
        )
