"""The Gromov–Wasserstein autoencoder (arXiv 2209.07007)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn, optim
from torch.nn.utils import parametrize

from methods.base import Losses, Unsupported
from methods.parts.adversaries import JointCritic, gradient_penalty
from methods.parts.autoencoding import GaussianAutoencoder, draw_gaussian, squared_error
from methods.parts.divergences import gromov_wasserstein
from methods.parts.optimization import update
from methods.parts.priors import FactorizedNeuralPrior, GaussianMixturePrior, NeuralPrior

LearnedPrior = Literal["neural", "factorized-neural", "gaussian-mixture"]

GRADIENT_PENALTY = 10.0
LOGIT_PENALTY = 1e-4


class GWAE(GaussianAutoencoder):
    """Learns prior and decoder together, so that distances between codes are those between the images they decode to.

    Minimizes L_GW + c_w L_W + c_d L_D + c_h L_H over encoder, decoder, prior and a unit of length a: the distortion of
    the decoder on draws of the prior, the reconstruction ½‖x − x̂‖², the critic's distance between (x, encode(x)) and
    (decode(z), z), and minus the entropy of the posteriors (their summed log-variances). The critic takes
    `critic_steps` steps after each; its penalty is 10 · (gradient penalty + 1e-4 · squared logits), as in the authors'
    code. Defaults are CelebA's; nothing is published for other data.

    """

    name = "gwae"
    paper = "Nakagawa et al. 2023, arXiv:2209.07007"
    summary = "Gromov–Wasserstein autoencoder: a learned prior whose metric structure matches that of the data."
    family = "GW"
    check_params: ClassVar[Mapping[str, Any]] = {"width": 8, "critic_steps": 1}

    prior: LearnedPrior = "neural"
    """"neural", "factorized-neural" (independent dimensions) or "gaussian-mixture" (for clustering)."""
    num_components: int = 10
    """Of the mixture prior."""
    reconstruction_weight: float = 1.0
    """c_w."""
    critic_weight: float = 1.0
    """c_d."""
    entropy_weight: float = 0.03
    """c_h."""
    initial_distance_scale: float = 2.5
    """a at the start; it is learned."""
    critic_steps: int = 5
    """Updates of the critic for one of everything else."""
    critic_width: int = 8
    """Filters of the critic's first convolution; its dense layers have 32 times as many units."""
    critic_lr: float = 1e-4
    """Of the critic's RMSprop."""
    batch_norm: bool = False

    def setup(self) -> None:
        super().setup()
        build_prior: dict[str, Callable[[int], nn.Module]] = {
            "neural": NeuralPrior,
            "factorized-neural": FactorizedNeuralPrior,
            "gaussian-mixture": partial(GaussianMixturePrior, num_components=self.num_components),
        }
        self.code_prior = build_prior[self.prior](self.latent_dim)
        self.log_distance_scale = nn.Parameter(torch.tensor(math.log(self.initial_distance_scale)))
        self.optimizer = optim.RMSprop(self.parameters(), lr=self.lr)
        self.critic = JointCritic(self.image_shape, self.latent_dim, self.critic_width)
        self.critic_optimizer = optim.RMSprop(self.critic.parameters(), lr=self.critic_lr)

    def draw_prior(self, count: int) -> Tensor:
        return self.code_prior(count, self.device)

    def components(self, images: Tensor) -> Tensor:
        """The component of the learned mixture prior most responsible for each image's code, the posterior's mean."""
        if not isinstance(self.code_prior, GaussianMixturePrior):
            raise Unsupported('gwae has components only with prior = "gaussian-mixture"')
        return self.code_prior.log_responsibilities(self.encode(images)).argmax(dim=1)

    def score(self, images: Tensor) -> Tensor:
        """The critic's value at (decode(z), z) for a draw z of the posterior, as in the authors' code.

        They call it the higher, the less alike; the image itself, on which the critic was trained, has no part in it.
        """
        codes = self.draw_codes(images)
        return self.critic(self.decoder(codes), codes).squeeze(1)

    def train_step(self, images: Tensor) -> Losses:
        losses = super().train_step(images)
        with torch.no_grad():
            mean, log_variance = self.posterior(images)
        for _ in range(self.critic_steps):
            losses["critic_loss"] = self.critic_step(images, draw_gaussian(mean, log_variance))
        return losses

    def objective(self, images: Tensor) -> Losses:
        mean, log_variance = self.posterior(images)
        codes = draw_gaussian(mean, log_variance)
        prior_codes = self.draw_prior(len(images))
        reconstructions, samples = self.decoder(codes), self.decoder(prior_codes)

        distortion = gromov_wasserstein(prior_codes, samples, self.log_distance_scale.exp())
        reconstruction = 0.5 * squared_error(images, reconstructions)
        self.critic.requires_grad_(False)
        data_logits, prior_logits = self.critic.compare((images, codes), (samples, prior_codes))
        self.critic.requires_grad_(True)
        distance = (prior_logits - data_logits).mean()
        entropy = -log_variance.sum(dim=1).mean()
        loss = (
            distortion
            + self.reconstruction_weight * reconstruction
            + self.critic_weight * distance
            + self.entropy_weight * entropy
        )
        return {
            "loss": loss,
            "gromov_wasserstein": distortion,
            "reconstruction": reconstruction,
            "critic": distance,
            "entropy": entropy,
        }

    def critic_step(self, images: Tensor, codes: Tensor) -> Tensor:
        """One update of the critic, on images with codes drawn from their posteriors, and on fresh samples."""
        with torch.no_grad():
            prior_codes = self.draw_prior(len(images))
            samples = self.decoder(prior_codes)
        # The weights do not change within a step: normalize them once for all evaluations.
        with parametrize.cached():
            data_logits, prior_logits = self.critic.compare((images, codes), (samples, prior_codes))
            slope = gradient_penalty(self.critic, (images, codes), (samples, prior_codes))
        size = data_logits.square().mean() + prior_logits.square().mean()
        loss = (data_logits - prior_logits).mean() + GRADIENT_PENALTY * (slope + LOGIT_PENALTY * size)
        update(self.critic_optimizer, loss)
        return loss
