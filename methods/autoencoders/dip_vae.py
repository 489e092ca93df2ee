"""The disentangled-inferred-prior VAE (Kumar et al. 2018)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from methods.autoencoders.vae import VAE
from methods.parts.divergences import covariance
from methods.parts.variational import covariance_penalties


class DIPVAE(VAE):
    """A VAE that draws a covariance C of its codes to the identity (arXiv 1711.00848, eq. 6 and 7).

    Adds λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii − 1)² to the VAE's objective. Covariances are the batch's, divided by its
    size.
    """

    name = "dip-vae"
    paper = "Kumar et al. 2018, arXiv:1711.00848"
    summary = "VAE with a penalty on the covariance of its codes."

    variant: Literal["i", "ii"] = "i"
    """Whose covariance: "i", that of the posteriors' means; "ii", that of draws, with the mean of the variances."""
    off_diagonal_weight: float = 10.0
    """λ_od; 1 to 50 in the 2019 study of disentanglement (arXiv 1811.12359). In the GWAE paper's CelebA baselines 1 for
    "i", 10 for "ii"."""
    diagonal_weight: float = 100.0
    """λ_d; 10 λ_od for "i" and λ_od for "ii" in the 2019 study, 1 for either in the GWAE paper's baselines."""

    def regularizer(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        spread = covariance(mean, correction=0)
        if self.variant == "ii":
            spread = spread + log_variance.exp().mean(dim=0).diag()
        off_diagonal, diagonal = covariance_penalties(spread)
        kl = super().regularizer(codes, mean, log_variance)
        return kl + self.off_diagonal_weight * off_diagonal + self.diagonal_weight * diagonal
