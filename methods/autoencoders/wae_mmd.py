"""The Wasserstein autoencoder with an MMD penalty (arXiv 1711.01558, algorithm 2)."""

from __future__ import annotations

from torch import Tensor

from methods.parts.divergences import KernelName, imq_kernel, median_bandwidth, mmd, rbf_kernel
from methods.parts.networks import ImageShape, Network
from methods.parts.optimization import Schedule
from methods.parts.priors import PriorName
from methods.parts.wasserstein import Posterior, WassersteinAutoencoder


class WAEMMD(WassersteinAutoencoder):
    """WAE whose divergence is the unbiased estimate of the squared MMD; it may be negative. Defaults are MNIST's.

    Args:
        kernel: "imq", inverse multiquadratics at seven scales around the prior's spread (2·latent_dim for the normal
            prior), or "rbf" with the authors' median heuristic.
        penalty, reconstruction_weight, prior, posterior, schedule, pretraining_batch, latent_dim, network, width,
            batch_norm, lr: see `WassersteinAutoencoder`. The code has λ = 100 for CelebA.
    """

    name = "wae-mmd"
    paper = "Tolstikhin et al. 2018, arXiv:1711.01558"
    summary = "Wasserstein autoencoder with an MMD penalty between codes and prior."

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        kernel: KernelName = "imq",
        penalty: float = 10.0,
        reconstruction_weight: float = 0.05,
        prior: PriorName = "normal",
        posterior: Posterior = "deterministic",
        schedule: Schedule = "steps",
        pretraining_batch: int = 1000,
        latent_dim: int = 64,
        network: Network = "conv",
        width: int = 32,
        batch_norm: bool = True,
        lr: float = 1e-3,
    ) -> None:
        super().__init__(
            image_shape,
            penalty=penalty,
            reconstruction_weight=reconstruction_weight,
            prior=prior,
            posterior=posterior,
            schedule=schedule,
            pretraining_batch=pretraining_batch,
            latent_dim=latent_dim,
            network=network,
            width=width,
            batch_norm=batch_norm,
            lr=lr,
        )
        self.kernel = kernel

    def divergence(self, codes: Tensor, noise: Tensor) -> Tensor:
        if self.kernel == "imq":
            return mmd(codes, noise, imq_kernel(self.prior.squared_spread()))
        return mmd(codes, noise, rbf_kernel(median_bandwidth(codes, noise)))
