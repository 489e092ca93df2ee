"""The Wasserstein autoencoder with an MMD penalty (arXiv 1711.01558, algorithm 2)."""

from __future__ import annotations

from torch import Tensor

from methods.parts.divergences import KernelName, imq_kernel, median_bandwidth, mmd, rbf_kernel
from methods.parts.wasserstein import WassersteinAutoencoder


class WAEMMD(WassersteinAutoencoder):
    """WAE whose divergence is the unbiased estimate of the squared MMD; it may be negative."""

    name = "wae-mmd"
    paper = "Tolstikhin et al. 2018, arXiv:1711.01558"
    summary = "Wasserstein autoencoder with an MMD penalty between codes and prior."

    kernel: KernelName = "imq"
    """"imq", inverse multiquadratics at seven scales around the prior's spread (2 · latent_dim for the normal one), or
    "rbf" with the authors' median heuristic."""

    def divergence(self, codes: Tensor, noise: Tensor) -> Tensor:
        if self.kernel == "imq":
            return mmd(codes, noise, imq_kernel(self.code_prior.squared_spread()))
        return mmd(codes, noise, rbf_kernel(median_bandwidth(codes, noise)))
