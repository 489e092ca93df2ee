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
from methods.parts.causal import CausalPrior
from methods.parts.divergences import biased_mmd, gromov_wasserstein, infovae_kernel
from methods.parts.normalization import PosteriorNorm
from methods.parts.optimization import adam, update
from methods.parts.priors import (
    FactorizedNeuralPrior,
    GaussianMixturePrior,
    NeuralPrior,
    NormalPrior,
    SpherePrior,
    UniformPrior,
    VectorQuantizedPrior,
)

GWAEPrior = Literal["neural", "factorized-neural", "gaussian-mixture", "causal", "normal", "uniform", "sphere", "vq"]
Pair = tuple[Tensor, Tensor]

GRADIENT_PENALTY = 10.0
LOGIT_PENALTY = 1e-4


class GWAE(GaussianAutoencoder):
    """Learns prior and decoder together, so that distances between codes are those between the images they decode to.

    Minimizes L_GW + c_w L_W + c_d L_D + c_h L_H over encoder, decoder, prior and a unit of length a: the distortion of
    the decoder on draws of the prior; the reconstruction ½‖x − x̂‖²; the critic's distance between (x, encode(x)) and
    (decode(z), z), or the MMD of codes and prior; and minus the entropy of the posteriors (their summed log-variances).
    The critic takes `critic_steps` steps after each; its penalty is 10 · (gradient penalty + 1e-4 · squared logits), as
    in the authors' code. Both are trained by RMSprop; without critic, by Adam. Defaults are CelebA's; nothing is
    published for other data.

    Raises:
        ValueError: learned_similarity or mixed_potential without the critic they are of.
    """

    name = "gwae"
    paper = "Nakagawa et al. 2023, arXiv:2209.07007"
    summary = "Gromov–Wasserstein autoencoder: a learned prior whose metric structure matches that of the data."
    family = "GW"
    check_params: ClassVar[Mapping[str, Any]] = {"width": 8, "critic_steps": 1}

    prior: GWAEPrior = "neural"
    """Learned and standardized: "neural", "factorized-neural" (independent dimensions), "gaussian-mixture" (for
    clustering) or "causal" (along an acyclic graph). Learned as it is: "vq", vectors in the proportions of their cells
    under N(0, I). Fixed: "normal", "uniform" of unit variance, or "sphere", on the unit sphere."""
    num_components: int = 10
    """Of the mixture prior; vectors of "vq". Without effect on the others."""
    matching: Literal["critic", "mmd"] = "critic"
    """L_D: the joint critic's distance ("merged condition" in the authors' code), or the MMD of codes and draws of the
    prior, every pair counted, with kernel exp(−mean((z − z')²) / d)."""
    learned_similarity: bool = False
    """Whether the critic's features of images are compared too: L_W + ½‖φ(x) − φ(x̂)‖²."""
    mixed_potential: bool = False
    """Whether the critic's value at samples is the mean of those at (decode(z), z) for draws z of the prior and for the
    codes, held fixed; its gradient penalty stays with the former."""
    latent_batch_norm: bool = False
    """Whether posteriors are standardized over the batch, see `PosteriorNorm`; in the authors' code in place of
    the encoder's batch norm."""
    reconstruction_weight: float = 1.0
    """c_w."""
    critic_weight: float = 1.0
    """c_d, whichever the matching."""
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
        has_critic = self.matching == "critic"
        if not has_critic and (self.learned_similarity or self.mixed_potential):
            raise ValueError(f'learned_similarity and mixed_potential need matching = "critic", not "{self.matching}"')
        super().setup()
        build_prior: dict[GWAEPrior, Callable[[int], nn.Module]] = {
            "neural": NeuralPrior,
            "factorized-neural": FactorizedNeuralPrior,
            "gaussian-mixture": partial(GaussianMixturePrior, num_components=self.num_components),
            "causal": CausalPrior,
            "normal": NormalPrior,
            "uniform": partial(UniformPrior, scale=math.sqrt(3)),
            "sphere": SpherePrior,
            "vq": partial(VectorQuantizedPrior, num_embeddings=self.num_components),
        }
        self.code_prior = build_prior[self.prior](self.latent_dim)
        self.log_distance_scale = nn.Parameter(torch.tensor(math.log(self.initial_distance_scale)))
        if self.latent_batch_norm:
            self.posterior_norm = PosteriorNorm(self.latent_dim)
        self.optimizer = (optim.RMSprop if has_critic else adam)(self.parameters(), lr=self.lr)
        if has_critic:
            self.critic = JointCritic(self.image_shape, self.latent_dim, self.critic_width)
            self.critic_optimizer = optim.RMSprop(self.critic.parameters(), lr=self.critic_lr)

    def draw_prior(self, count: int) -> Tensor:
        return self.code_prior(count, self.device)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = super().posterior(images)
        return self.posterior_norm(mean, log_variance) if self.latent_batch_norm else (mean, log_variance)

    def components(self, images: Tensor) -> Tensor:
        """The component of the learned mixture prior most responsible for each image's code, the posterior's mean."""
        return self._mixture().log_responsibilities(self.encode(images)).argmax(dim=1)

    def component_codes(self, count: int) -> Tensor:
        return self._mixture().component_codes(count)

    def _mixture(self) -> GaussianMixturePrior:
        if not isinstance(self.code_prior, GaussianMixturePrior):
            raise Unsupported('gwae has components only with prior = "gaussian-mixture"')
        return self.code_prior

    def causal_mask(self) -> Tensor:
        """The probability of each edge of the prior's graph; the authors show one draw of it."""
        if not isinstance(self.code_prior, CausalPrior):
            raise Unsupported('gwae has a causal mask only with prior = "causal"')
        return self.code_prior.graph.probabilities()

    def score(self, images: Tensor) -> Tensor:
        """The critic's value at (decode(z), z) for a draw z of the posterior, as in the authors' code.

        They call it the higher, the less alike; the image itself, on which the critic was trained, has no part in it.
        """
        if self.matching != "critic":
            raise Unsupported('gwae has an outlier score only with matching = "critic"')
        codes = self.draw_codes(images)
        return self.critic(self.decoder(codes), codes).squeeze(1)

    def train_step(self, images: Tensor) -> Losses:
        if self.matching != "critic":
            return super().train_step(images)
        self.critic.requires_grad_(False)
        losses = super().train_step(images)
        self.critic.requires_grad_(True)
        with torch.no_grad():
            mean, log_variance = self.posterior(images)
        for _ in range(self.critic_steps):
            losses["critic_loss"] = self.critic_step(images, draw_gaussian(mean, log_variance))
        return losses

    def objective(self, images: Tensor) -> Losses:
        mean, log_variance = self.posterior(images)
        codes = draw_gaussian(mean, log_variance)
        reconstructions = self.decoder(codes)
        generated = self.generate(codes)
        samples, prior_codes = generated[0]

        distortion = gromov_wasserstein(prior_codes, samples, self.log_distance_scale.exp())
        reconstruction = 0.5 * squared_error(images, reconstructions)
        if self.learned_similarity:
            features = self.critic.image_features
            reconstruction = reconstruction + 0.5 * squared_error(features(images), features(reconstructions))
        if self.matching == "critic":
            data_logits, logits = self.compare((images, codes), generated)
            discrepancy = (logits - data_logits).mean()
        else:
            discrepancy = biased_mmd(codes, prior_codes, infovae_kernel(self.latent_dim))
        entropy = -log_variance.sum(dim=1).mean()
        loss = (
            distortion
            + self.reconstruction_weight * reconstruction
            + self.critic_weight * discrepancy
            + self.entropy_weight * entropy
        )
        return {
            "loss": loss,
            "gromov_wasserstein": distortion,
            "reconstruction": reconstruction,
            self.matching: discrepancy,
            "entropy": entropy,
        }

    def generate(self, codes: Tensor) -> list[Pair]:
        """Pairs (decode(z), z) for as many draws z of the prior and, with the mixed potential, for the codes."""
        sources = [self.draw_prior(len(codes))]
        if self.mixed_potential:
            sources.append(codes.detach())
        return [(self.decoder(source), source) for source in sources]

    def compare(self, data: Pair, generated: list[Pair]) -> tuple[Tensor, Tensor]:
        """The critic's values [B, 1] at the data, and their mean over the generated pairs."""
        images, codes = (torch.cat(side) for side in zip(data, *generated, strict=True))
        data_logits, *logits = self.critic(images, codes).chunk(1 + len(generated))
        return data_logits, torch.stack(logits).mean(dim=0)

    def critic_step(self, images: Tensor, codes: Tensor) -> Tensor:
        """One update of the critic, on images with codes drawn from their posteriors, and on fresh samples."""
        with torch.no_grad():
            generated = self.generate(codes)
        # The weights do not change within a step: normalize them once for all evaluations.
        with parametrize.cached():
            data_logits, logits = self.compare((images, codes), generated)
            slope = gradient_penalty(self.critic, (images, codes), generated[0])
        size = data_logits.square().mean() + logits.square().mean()
        loss = (data_logits - logits).mean() + GRADIENT_PENALTY * (slope + LOGIT_PENALTY * size)
        update(self.critic_optimizer, loss)
        return loss
