"""The β-VAE (Higgins et al. 2017)."""

from __future__ import annotations

from torch import Tensor

from methods.autoencoders.vae import VAE


class BetaVAE(VAE):
    """A VAE whose KL term is multiplied by β."""

    name = "beta-vae"
    paper = "Higgins et al. 2017, openreview:Sy2fzU9gl"
    summary = "VAE with a weight on the KL term: above 1 for disentanglement, below 1 for sharpness."

    beta: float = 4.0
    """Weight of the KL term; 4 in Higgins et al., 0.1 in the GWAE paper's CelebA baseline."""

    def regularizer(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        return self.beta * super().regularizer(codes, mean, log_variance)
