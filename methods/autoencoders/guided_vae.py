"""The guided VAE (Ding et al. 2020), in its unsupervised form."""

from __future__ import annotations

import math

from torch import Tensor, nn

from methods.autoencoders.vae import VAE
from methods.base import Losses
from methods.parts.autoencoding import squared_error
from methods.parts.networks import ImageShape
from methods.parts.spatial import AffineTransformer, split_code


class DeformablePCA(nn.Module):
    """Codes [B, latent_dim] -> images [B, C, H, W], linear in content and warped; not confined to [0, 1].

    The first part of a code decides the affine transformation, the other weighs the basis images b_k, which are added
    to a mean image.

    Args:
        sizes: length of the two parts.
        units: of a hidden layer of the network of the transformation.
    """

    def __init__(self, image_shape: ImageShape, sizes: list[int], units: int) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.sizes = sizes
        self.transformer = AffineTransformer(sizes[0], units)
        self.basis = nn.Linear(sizes[1], math.prod(image_shape))

    def forward(self, codes: Tensor) -> Tensor:
        deformation, content = codes.split(self.sizes, dim=1)
        return self.transformer(self.basis(content).unflatten(1, self.image_shape), deformation)

    def overlap(self) -> Tensor:
        """Σ_{j≠k} ⟨b_j, b_k⟩², a scalar: 0 where the basis images are orthogonal."""
        gram = self.basis.weight.T @ self.basis.weight
        return (gram - gram.diagonal().diag()).square().sum()


class GuidedVAE(VAE):
    """A VAE whose codes (z_def, z_cont) must also serve a second, transparent decoder (arXiv 2004.01255).

    Minimizes the VAE's objective plus w E‖x − τ(z_def) ∘ (Σ_k z_cont,k b_k + b_0)‖² + w_o Σ_{j≠k} ⟨b_j, b_k⟩², the
    deformable PCA of the paper's unsupervised strategy: images b_k are learned, and τ(z_def) is an affine
    transformation. This guide is for training only; images are decoded by the VAE's decoder. The paper's supervised
    strategy (excitation and inhibition) needs labels and has no part in this.

    In the authors' MNIST code one dimension scales and one rotates, the guide ends in a sigmoid and is compared by half
    the cross-entropy, overlaps are absolute and added once to the sum over a batch of 128, and images are black
    outside; here and in the GWAE paper's baseline a network of z_def gives all six numbers of τ, losses are the
    formula's, and the border repeats. That baseline's τ starts near 0, not near the identity, and its overlaps include
    the mean image b_0.

    Raises:
        ValueError: guided_dims leave z_def or z_cont empty.
    """

    name = "guided-vae"
    paper = "Ding et al. 2020, arXiv:2004.01255"
    summary = "VAE whose code must also explain images by a basis under affine transformations."
    packs = False  # its bases are resampled one model after another

    guided_dims: int = 2
    """Length of z_def, as in the authors' MNIST code, of 10; 32 of 64 in the GWAE paper's CelebA baseline."""
    guide_weight: float = 1.0
    """w."""
    overlap_weight: float = 1.0
    """w_o."""

    def make_networks(self) -> None:
        sizes = split_code("guided_dims", self.guided_dims, self.latent_dim)
        super().make_networks()
        self.guide = DeformablePCA(self.image_shape, sizes, 8 * self.width)

    def terms(self, images: Tensor, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Losses:
        return {
            **super().terms(images, codes, mean, log_variance),
            "guide": self.guide_weight * squared_error(images, self.guide(codes)),
            "overlap": self.overlap_weight * self.guide.overlap(),
        }
