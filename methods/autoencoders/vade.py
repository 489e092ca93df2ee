"""Variational deep embedding (arXiv 1611.05148)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.autoencoders.vae import VAE
from methods.base import Likelihood, Losses, Unsupported
from methods.parts.autoencoding import draw_gaussian, encode_epoch
from methods.parts.densities import fit_mixture
from methods.parts.optimization import adam, set_learning_rate, update

ADAM_EPS = 1e-4
DECAY, DECAY_EPOCHS, DECAY_FLOOR = 0.9, 10, 0.1


class VaDE(VAE):
    """A VAE whose prior is a learned mixture of Gaussians with diagonal covariances: what clusters the images.

    Minimizes E[−log p(x | z)] + Σ_c γ_c (KL(q(z | x) ‖ N(μ_c, σ_c²)) + log(γ_c / π_c)), the negative evidence lower
    bound with q(c | x) = γ_c = p(c | z) at the draw z of q(z | x). The second term is the divergence of q(z, c | x)
    from p(z, c).

    Before, encoder (its means) and decoder are pretrained as a plain autoencoder on the same likelihood, and the
    mixture is fitted to the codes; its weights start equal, as in the authors' code. They publish pretrained weights
    of a stacked denoising autoencoder instead; their weights π are free numbers, here they are a softmax. The learning
    rate falls by a tenth every ten epochs, down to a tenth of its start.
    """

    name = "vade"
    paper = "Jiang et al. 2017, arXiv:1611.05148"
    summary = "VAE with a learned mixture of Gaussians as its prior, for clustering."
    check_params: ClassVar[Mapping[str, Any]] = {"pretraining_steps": 30, "width": 8}

    num_components: int = 10
    """Components of the mixture."""
    pretraining_steps: int = 10_000
    """Updates of the plain autoencoder."""
    pretraining_lr: float = 1e-3
    """Of its Adam."""
    likelihood: Likelihood = "bernoulli"
    latent_dim: int = 10
    batch_norm: bool = False
    lr: float = 2e-3

    def setup(self) -> None:
        super().setup()
        self.logits = nn.Parameter(torch.zeros(self.num_components))
        self.means = nn.Parameter(torch.randn(self.num_components, self.latent_dim))
        self.log_variances = nn.Parameter(torch.zeros(self.num_components, self.latent_dim))
        self.optimizer = adam(self.parameters(), lr=self.lr, eps=ADAM_EPS)

    def prepare(self, batches: Iterator[Tensor]) -> Iterator[Losses]:
        networks = [*self.encoder.parameters(), *self.decoder.parameters()]
        optimizer = adam(networks, lr=self.pretraining_lr)
        for _ in range(self.pretraining_steps):
            images = next(batches)
            loss = self.distortion(images, self.decoder(self.encode(images))).mean()
            update(optimizer, loss)
            yield {"pretraining": loss}
        mixture = fit_mixture(encode_epoch(self, batches), self.num_components, "diag")
        with torch.no_grad():
            self.means.copy_(torch.from_numpy(mixture.means_))
            self.log_variances.copy_(torch.from_numpy(mixture.covariances_).log())

    def before_update(self) -> None:
        epoch = self.steps_done // max(self.steps_per_epoch, 1)
        set_learning_rate(self.optimizer, self.lr * max(DECAY ** (epoch // DECAY_EPOCHS), DECAY_FLOOR))

    def log_responsibilities(self, codes: Tensor) -> Tensor:
        """log p(c | z), [B, latent_dim] -> [B, num_components]."""
        squared = (codes[:, None] - self.means).square() / self.log_variances.exp()
        log_density = -0.5 * (squared + self.log_variances).sum(dim=2)
        return (self.logits + log_density).log_softmax(dim=1)

    def divergences(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """KL(q(z, c | x) ‖ p(z, c)) of each image, [B, latent_dim] all three -> [B]; q(c | x) = p(c | codes)."""
        log_gamma = self.log_responsibilities(codes)
        log_ratio = log_variance[:, None] - self.log_variances
        squared = (mean[:, None] - self.means).square() / self.log_variances.exp()
        gaussian = 0.5 * (squared + log_ratio.exp() - log_ratio - 1).sum(dim=2)
        return (log_gamma.exp() * (gaussian + log_gamma - self.logits.log_softmax(dim=0))).sum(dim=1)

    def draw_prior(self, count: int) -> Tensor:
        members = torch.multinomial(self.logits.softmax(dim=0), count, replacement=True)
        return draw_gaussian(self.means[members], self.log_variances[members])

    def components(self, images: Tensor) -> Tensor:
        """The component most responsible for each image's code, the posterior's mean."""
        return self.log_responsibilities(self.encode(images)).argmax(dim=1)

    def component_codes(self, count: int) -> Tensor:
        means, log_variances = (values[:, None].expand(-1, count, -1) for values in (self.means, self.log_variances))
        return draw_gaussian(means, log_variances)

    def rate_distortion(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raise Unsupported(f"{self.name} has a mixture as its prior, not N(0, I)")
