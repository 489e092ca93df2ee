"""The Gromov–Wasserstein autoencoder (arXiv 2209.07007)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn, optim
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from methods.base import Losses, Unsupported
from methods.parts.adversaries import gradient_penalty
from methods.parts.autoencoding import GaussianAutoencoder, draw_gaussian, squared_error
from methods.parts.divergences import gromov_wasserstein
from methods.parts.networks import ImageShape, Network
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

    Args:
        prior: "neural", "factorized-neural" (independent dimensions) or "gaussian-mixture" (for clustering).
        num_components: of the mixture prior.
        reconstruction_weight: c_w.
        critic_weight: c_d.
        entropy_weight: c_h.
        initial_distance_scale: a at the start; it is learned.
        critic_steps: updates of the critic for one of everything else.
        critic_width: filters of the critic's first convolution; its dense layers have 32 times as many units.
        critic_lr: of the critic's RMSprop.
        latent_dim: length of a code.
        network: the family of networks, see `methods.parts.networks`.
        width: number of base filters.
        batch_norm: whether the networks have batch norm.
        lr: of RMSprop for everything else.
    """

    name = "gwae"
    paper = "Nakagawa et al. 2023, arXiv:2209.07007"
    summary = "Gromov–Wasserstein autoencoder: a learned prior whose metric structure matches that of the data."
    family = "GW"
    check_params: ClassVar[Mapping[str, Any]] = {"width": 8, "critic_steps": 1}

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        prior: LearnedPrior = "neural",
        num_components: int = 10,
        reconstruction_weight: float = 1.0,
        critic_weight: float = 1.0,
        entropy_weight: float = 0.03,
        initial_distance_scale: float = 2.5,
        critic_steps: int = 5,
        critic_width: int = 8,
        critic_lr: float = 1e-4,
        latent_dim: int = 64,
        network: Network = "conv",
        width: int = 32,
        batch_norm: bool = False,
        lr: float = 1e-4,
    ) -> None:
        super().__init__(image_shape, latent_dim=latent_dim, network=network, width=width, batch_norm=batch_norm)
        build_prior: dict[str, Callable[[int], nn.Module]] = {
            "neural": NeuralPrior,
            "factorized-neural": FactorizedNeuralPrior,
            "gaussian-mixture": partial(GaussianMixturePrior, num_components=num_components),
        }
        self.prior = build_prior[prior](latent_dim)
        self.log_distance_scale = nn.Parameter(torch.tensor(math.log(initial_distance_scale)))
        self.critic = JointCritic(image_shape, latent_dim, critic_width)
        self.reconstruction_weight = reconstruction_weight
        self.critic_weight = critic_weight
        self.entropy_weight = entropy_weight
        self.critic_steps = critic_steps
        main = itertools.chain(self.encoder.parameters(), self.decoder.parameters(), self.prior.parameters())
        self.optimizer = optim.RMSprop([*main, self.log_distance_scale], lr=lr)
        self.critic_optimizer = optim.RMSprop(self.critic.parameters(), lr=critic_lr)

    def sample_prior(self, count: int) -> Tensor:
        return self.prior(count, self.device)

    def components(self, images: Tensor) -> Tensor:
        """The component of the learned mixture prior most responsible for each image's code, the posterior's mean."""
        if not isinstance(self.prior, GaussianMixturePrior):
            raise Unsupported('gwae has components only with prior = "gaussian-mixture"')
        return self.prior.log_responsibilities(self.encode(images)).argmax(dim=1)

    def score(self, images: Tensor) -> Tensor:
        """The critic's value at (decode(z), z) for a draw z of the posterior, as in the authors' code.

        They call it the higher, the less alike; the image itself, on which the critic was trained, has no part in it.
        """
        codes = self.draw_codes(images)
        return self.critic(self.decoder(codes), codes).squeeze(1)

    def train_step(self, images: Tensor) -> Losses:
        losses = self.autoencoder_step(images)
        with torch.no_grad():
            mean, log_variance = self.posterior(images)
        for _ in range(self.critic_steps):
            losses["critic_loss"] = self.critic_step(images, draw_gaussian(mean, log_variance))
        return losses

    def autoencoder_step(self, images: Tensor) -> Losses:
        """One update of everything but the critic."""
        mean, log_variance = self.posterior(images)
        codes = draw_gaussian(mean, log_variance)
        prior_codes = self.sample_prior(len(images))
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
        update(self.optimizer, loss)
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
            prior_codes = self.sample_prior(len(images))
            samples = self.decoder(prior_codes)
        # The weights do not change within a step: normalize them once for all evaluations.
        with parametrize.cached():
            data_logits, prior_logits = self.critic.compare((images, codes), (samples, prior_codes))
            slope = gradient_penalty(self.critic, (images, codes), (samples, prior_codes))
        size = data_logits.square().mean() + prior_logits.square().mean()
        loss = (data_logits - prior_logits).mean() + GRADIENT_PENALTY * (slope + LOGIT_PENALTY * size)
        update(self.critic_optimizer, loss)
        return loss


class JointCritic(nn.Module):
    """(images [B, C, H, W], codes [B, latent_dim]) -> [B, 1], with spectral norm on every layer.

    Convolutions halve the image down to one pixel and double the filters (8 … 256 at 64 × 64, as in the paper); the
    features of image and code are halved when they are joined.
    """

    def __init__(self, image_shape: ImageShape, latent_dim: int, width: int) -> None:
        super().__init__()
        filters, side, _ = image_shape
        features, hidden = 8 * width, 32 * width
        layers: list[nn.Module] = []
        for i in range(int(math.log2(side))):
            layers += [spectral_norm(nn.Conv2d(filters, width * 2**i, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
            filters = width * 2**i
        self.image_features = nn.Sequential(*layers, nn.Flatten(), spectral_norm(nn.Linear(filters, features)))
        self.code_features = _dense([latent_dim, hidden, hidden, features])
        self.joint = _dense([2 * features, hidden, hidden, 1])[:-1]

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        return self.joint(torch.cat([self.image_features(images), self.code_features(codes)], dim=1) / 2)

    def compare(self, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits of two batches of pairs (images, codes), in one evaluation."""
        images, codes = (torch.cat(pair) for pair in zip(one, other, strict=True))
        first, second = self(images, codes).split([len(one[0]), len(other[0])])
        return first, second


def _dense(sizes: list[int]) -> nn.Sequential:
    """Spectrally normalized linear layers, each followed by LeakyReLU(0.2)."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [spectral_norm(nn.Linear(inputs, outputs)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)
