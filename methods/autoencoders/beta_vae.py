"""The β-VAE (Higgins et al. 2017)."""

from __future__ import annotations

from torch import Tensor

from methods.autoencoders.vae import VAE
from methods.base import Likelihood
from methods.parts.networks import ImageShape, Network


class BetaVAE(VAE):
    """A VAE whose KL term is multiplied by β.

    Args:
        beta: weight of the KL term; 4 in Higgins et al., 0.1 in the GWAE paper's CelebA baseline.
        latent_dim, network, width, batch_norm, lr, likelihood: see `VAE`.
    """

    name = "beta-vae"
    paper = "Higgins et al. 2017, openreview:Sy2fzU9gl"
    summary = "VAE with a weight on the KL term: above 1 for disentanglement, below 1 for sharpness."
    family = "VAE"

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        beta: float = 4.0,
        latent_dim: int = 64,
        network: Network = "conv",
        width: int = 32,
        batch_norm: bool = True,
        lr: float = 1e-4,
        likelihood: Likelihood = "gaussian",
    ) -> None:
        super().__init__(
            image_shape,
            latent_dim=latent_dim,
            network=network,
            width=width,
            batch_norm=batch_norm,
            lr=lr,
            likelihood=likelihood,
        )
        self.beta = beta

    def regularizer(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        return self.beta * super().regularizer(codes, mean, log_variance)
