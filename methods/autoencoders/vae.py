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

    Defaults are those of the GWAE paper's baselines (arXiv 2209.07007). Variants override as little as they need:
    `regularizer` or `distortion`; `divergences` for another prior; `infer` for another posterior; `terms` to add some.
    """

    name = "vae"
    paper = "Kingma & Welling 2014, arXiv:1312.6114"
    summary = "Variational autoencoder, Gaussian posterior with diagonal covariance."
    family = "VAE"

    likelihood: Likelihood = "gaussian"
    """"gaussian" of unit variance, −log p(x | z) = ½‖x − x̂‖² up to a constant, as in those baselines; or "bernoulli",
    the cross-entropy, as in the 2019 study of disentanglement (arXiv 1811.12359)."""

    def objective(self, images: Tensor) -> Losses:
        terms = self.terms(images, *self.infer(images))
        return {"loss": sum(terms.values(), start=images.new_zeros(())), **terms}

    def infer(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Draws of the posteriors, their means and their log-variances, [B, latent_dim] all three."""
        mean, log_variance = self.posterior(images)
        return draw_gaussian(mean, log_variance), mean, log_variance

    def terms(self, images: Tensor, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Losses:
        """Scalars whose sum is the objective, from images and what was inferred of them."""
        return {
            "reconstruction": self.distortion(images, self.decoder(codes)).mean(),
            "regularizer": self.regularizer(codes, mean, log_variance),
        }

    def distortion(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """−log p(x | z) of each image, [B, C, H, W] -> [B], without the Gaussian's constant ½ D log 2π."""
        return negative_log_likelihood(images, reconstructions, self.likelihood)

    def regularizer(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """What is added to the reconstruction; `codes` are draws of the posteriors, [B, latent_dim] all three."""
        return self.divergences(codes, mean, log_variance).mean()

    def divergences(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """KL(q(z | x) ‖ p(z)) of each image, or an estimate at its code, [B, latent_dim] all three -> [B]."""
        return kl_to_standard_normal(mean, log_variance)

    def negative_bound(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The two parts of the negative evidence lower bound, with all constants, at a draw of each posterior: [B]
        each, `divergences` and −log p(x | z), whatever their weights in training."""
        codes, mean, log_variance = self.infer(images)
        distortion = self.distortion(images, self.decoder(codes))
        if self.likelihood == "gaussian":
            distortion = distortion + 0.5 * math.log(2 * math.pi) * math.prod(self.image_shape)
        return self.divergences(codes, mean, log_variance), distortion

    def rate_distortion(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.negative_bound(images)

    def score(self, images: Tensor) -> Tensor:
        """The negative evidence lower bound."""
        divergences, distortion = self.negative_bound(images)
        return divergences + distortion


def negative_log_likelihood(images: Tensor, reconstructions: Tensor, likelihood: Likelihood) -> Tensor:
    """−log p(x | z) of each image, [B, C, H, W] -> [B], without the Gaussian's constant ½ D log 2π."""
    if likelihood == "gaussian":
        return 0.5 * squared_errors(images, reconstructions)
    return F.binary_cross_entropy(reconstructions, images, reduction="none").flatten(start_dim=1).sum(dim=1)
