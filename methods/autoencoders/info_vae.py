"""The information-maximizing VAE (Zhao et al. 2019) with maximum mean discrepancy."""

from __future__ import annotations

from torch import Tensor

from methods.autoencoders.vae import VAE
from methods.parts.divergences import biased_mmd, infovae_kernel


class InfoVAE(VAE):
    """Minimizes E[−log p(x | z)] + (1 − α) KL(q(z | x) ‖ N(0, I)) + (α + λ − 1) MMD(q(z), N(0, I)).

    The squared MMD is between the codes drawn and as many draws of the prior, every pair counted, with the kernel
    exp(−mean((z − z')²) / d) of the authors' code. Defaults are those of the baseline that the GWAE paper
    (arXiv 2209.07007) calls WAE. The authors' released MNIST code has α = 1, deterministic codes, and, in the units
    used here, λ = ½ D for images of D numbers.
    """

    name = "info-vae"
    paper = "Zhao et al. 2019, arXiv:1706.02262"
    summary = "VAE whose aggregate posterior is drawn to the prior by MMD (MMD-VAE); the GWAE paper's WAE."

    alpha: float = 0.9
    """α: 0 leaves the VAE's KL, 1 removes it."""
    penalty: float = 100.0
    """λ."""

    def regularizer(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        divergence = biased_mmd(codes, self.draw_prior(len(codes)), infovae_kernel(self.latent_dim))
        kl = super().regularizer(codes, mean, log_variance)
        return (1 - self.alpha) * kl + (self.alpha + self.penalty - 1) * divergence
