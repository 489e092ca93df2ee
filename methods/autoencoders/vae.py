"""The variational autoencoder (arXiv 1312.6114)."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from methods.base import Likelihood, Losses
from methods.parts.autoencoding import GaussianAutoencoder, draw_gaussian, squared_errors
from methods.parts.divergences import kl_to_standard_normal


class VAE(GaussianAutoencoder):
    """Minimizes E[−log p(x | z)] + KL(q(z | x) ‖ N(0, I)), the negative evidence lower bound.

    Defaults are those of the GWAE paper's baselines (arXiv 2209.07007). Variants override `regularizer` or
    `distortion`.
    """

    name = "vae"
    paper = "Kingma & Welling 2014, arXiv:1312.6114"
    summary = "Variational autoencoder, Gaussian posterior with diagonal covariance."
    family = "VAE"

    likelihood: Likelihood = "gaussian"
    """"gaussian" of unit variance, −log p(x | z) = ½‖x − x̂‖² up to a constant, as in those baselines; or "bernoulli",
    the cross-entropy, as in the 2019 study of disentanglement (arXiv 1811.12359)."""

    def objective(self, images: Tensor) -> Losses:
        mean, log_variance = self.posterior(images)
        codes = draw_gaussian(mean, log_variance)
        reconstruction = self.distortion(images, self.decoder(codes)).mean()
        regularizer = self.regularizer(codes, mean, log_variance)
        return {"loss": reconstruction + regularizer, "reconstruction": reconstruction, "regularizer": regularizer}

    def distortion(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """−log p(x | z) of each image, [B, C, H, W] -> [B], without the Gaussian's constant ½ D log 2π."""
        return negative_log_likelihood(images, reconstructions, self.likelihood)

    def regularizer(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """What is added to the reconstruction; `codes` are draws of the posteriors, [B, latent_dim] all three."""
        return kl_to_standard_normal(mean, log_variance).mean()

    def rate_distortion(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.posterior(images)
        distortion = self.distortion(images, self.decoder(draw_gaussian(mean, log_variance)))
        if self.likelihood == "gaussian":
            distortion = distortion + 0.5 * math.log(2 * math.pi) * math.prod(self.image_shape)
        return kl_to_standard_normal(mean, log_variance), distortion

    def score(self, images: Tensor) -> Tensor:
        """The negative evidence lower bound, whatever the weights of its parts in training."""
        rate, distortion = self.rate_distortion(images)
        return rate + distortion


def negative_log_likelihood(images: Tensor, reconstructions: Tensor, likelihood: Likelihood) -> Tensor:
    """−log p(x | z) of each image, [B, C, H, W] -> [B], without the Gaussian's constant ½ D log 2π."""
    if likelihood == "gaussian":
        return 0.5 * squared_errors(images, reconstructions)
    return F.binary_cross_entropy(reconstructions, images, reduction="none").flatten(start_dim=1).sum(dim=1)
