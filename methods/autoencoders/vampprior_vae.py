"""The VAE with a variational mixture of posteriors as its prior (Tomczak & Welling 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.autoencoders.vae import VAE
from methods.base import Losses, Unsupported
from methods.parts.autoencoding import draw_gaussian, gather
from methods.parts.variational import gaussian_log_density, log_mixture_density

INITIAL_MEAN, INITIAL_STD = 0.05, 0.01


class VampPriorVAE(VAE):
    """A VAE whose prior is the mixture of its own posteriors of K learned pseudo-inputs u_k (arXiv 1705.07120).

    Minimizes E[−log p(x | z) + log q(z | x) − log p(z)], p(z) = 1/K Σ_k q(z | u_k), at the codes drawn. Pseudo-inputs
    are images clamped to [0, 1], as in the authors' code. Its slow start, where the terms of z grow in over 100 epochs,
    is left out, as in the GWAE paper's code, whose densities lack the square of the difference.
    """

    name = "vampprior-vae"
    paper = "Tomczak & Welling 2018, arXiv:1705.07120"
    summary = "VAE whose prior is the mixture of its posteriors of learned pseudo-inputs."
    check_params: ClassVar[Mapping[str, Any]] = {"pseudo_inputs": 20}

    pseudo_inputs: int = 500
    """K."""
    start_from_data: bool = False
    """Whether pseudo-inputs start as training images, an option of the authors' code, rather than N(0.05, 0.01²), which
    is theirs for MNIST."""
    batch_norm: bool = False

    def make_networks(self) -> None:
        super().make_networks()
        noise = INITIAL_STD * torch.randn(self.pseudo_inputs, *self.image_shape)
        self.pseudo_images = nn.Parameter(INITIAL_MEAN + noise)

    @torch.no_grad()
    def prepare(self, batches: Iterator[Tensor]) -> Iterator[Losses] | None:
        if self.start_from_data:
            images = gather(batches, self.pseudo_inputs)
            self.pseudo_images.copy_(images + INITIAL_STD * torch.randn_like(images))
        return None

    def mixture(self) -> tuple[Tensor, Tensor]:
        """Means and log-variances of the prior's components, [K, latent_dim] each."""
        return self.posterior(self.pseudo_images.clamp(0, 1))

    def draw_prior(self, count: int) -> Tensor:
        means, log_variances = self.mixture()
        members = torch.randint(len(means), (count,), device=self.device)
        return draw_gaussian(means[members], log_variances[members])

    def components(self, images: Tensor) -> Tensor:
        raise Unsupported(f"{self.name} has a component for each pseudo-input, and they are not meant as clusters")

    def component_codes(self, count: int) -> Tensor:
        """Of the posterior of each pseudo-input."""
        means, log_variances = (values[:, None].expand(-1, count, -1) for values in self.mixture())
        return draw_gaussian(means, log_variances)

    def divergences(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """log q(z | x) − log p(z) of each code, the divergence's estimate at one draw."""
        log_posterior = gaussian_log_density(codes, mean, log_variance).sum(dim=1)
        return log_posterior - log_mixture_density(codes, *self.mixture())

    def rate_distortion(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raise Unsupported(f"{self.name} has a mixture as its prior, not N(0, I)")
