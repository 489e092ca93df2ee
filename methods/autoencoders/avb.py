"""Adversarial variational Bayes (arXiv 1701.04722)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.autoencoders.vae import negative_log_likelihood
from methods.base import Likelihood, Losses
from methods.parts.adversaries import discriminator_loss
from methods.parts.joint_adversary import JointAdversary
from methods.parts.networks import dense_layers
from methods.parts.optimization import update

NOISE_WIDTH = 128


class AVB(JointAdversary):
    """A VAE whose posterior q(z | x) may be any law that is drawn from: a discriminator T estimates its KL term.

    Codes are z = μ(x) + Σ_k a_k(x) v_k(ε_k), of networks v_k of Gaussian noise ε_k. Minimizes
    E[−log p(x | z) + T(x, z)], while T(x, z) learns to tell codes from draws of N(0, I), so that at its optimum it is
    log q(z | x) − log p(z) (eq. 3.8, algorithm 1). With adaptive contrast (section 4), T compares the codes normalized
    to zero mean and unit variance given x instead, and the KL term is T + log r(z | x) − log p(z) with r the Gaussian
    of that mean and variance, which has no gradient through them. T's network adds to ½‖z‖².

    From the authors' code, whose v_k has no norm and whose mean and variance are of the batch: here the v_k have batch
    norm, so that mean and variance are μ and Σ_k a_k². Evaluation encodes to the mean.
    """

    name = "avb"
    paper = "Mescheder et al. 2017, arXiv:1701.04722"
    summary = "VAE with an implicit posterior, whose KL term a discriminator of pairs (image, code) estimates."
    family = "VAE"
    check_params: ClassVar[Mapping[str, Any]] = {"width": 8, "noise_bases": 4, "lr": 1e-3}

    likelihood: Likelihood = "gaussian"
    """"gaussian" of unit variance, as in the GWAE paper's baseline and the authors' CelebA; "bernoulli" in their
    MNIST."""
    adaptive_contrast: bool = True
    """Whether T sees codes normalized given x; off in the authors' CelebA and in the GWAE paper's baseline."""
    noise_bases: int = 16
    """Number of the v_k; 32 in the authors' MNIST with codes of length 32."""
    noise_dim: int = 32
    """Length of an ε_k; 64 in the authors' MNIST with codes of length 32."""
    lr: float = 5e-5
    """Learning rate of encoder and decoder; 1e-5 in the authors' CelebA, 1e-4 in the GWAE paper's baseline."""
    adversary_lr: float = 1e-4
    """Of the discriminator's Adam; 1e-3 in the GWAE paper's baseline."""

    def setup(self) -> None:
        self.encoder_outputs = 1 + self.noise_bases
        super().setup()
        sizes = [self.noise_dim, *[NOISE_WIDTH] * 3, self.latent_dim]
        self.noise_networks = nn.ModuleList(
            nn.Sequential(dense_layers(sizes, nn.ELU), nn.BatchNorm1d(self.latent_dim, affine=False))
            for _ in range(self.noise_bases)
        )
        self.optimizer.add_param_group({"params": list(self.noise_networks.parameters())})

    def encode(self, images: Tensor) -> Tensor:
        return self.center_and_scales(images)[0]

    def draw_codes(self, images: Tensor) -> Tensor:
        return self.draw(*self.center_and_scales(images))

    def center_and_scales(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """μ [B, latent_dim] and a [B, noise_bases, latent_dim], which starts near exp(−5)."""
        outputs = self.encoder(images).unflatten(1, (1 + self.noise_bases, self.latent_dim))
        return outputs[:, 0], F.elu(outputs[:, 1:] - 5) + 1

    def draw(self, center: Tensor, scales: Tensor) -> Tensor:
        """A draw of each posterior, [B, latent_dim]."""
        noise = torch.randn(self.noise_bases, len(center), self.noise_dim, device=center.device)
        values = torch.stack([network(eps) for network, eps in zip(self.noise_networks, noise, strict=True)], dim=1)
        return center + (scales * values).sum(dim=1)

    def contrast(self, center: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, latent_dim] of the Gaussian r(z | x): N(0, I) without adaptive contrast."""
        if not self.adaptive_contrast:
            return torch.zeros_like(center), torch.ones_like(center)
        return center.detach(), (scales.detach().square().sum(dim=1) + 1e-4).sqrt()

    def log_ratio(self, images: Tensor, points: Tensor) -> Tensor:
        """T [B]: log-odds of `points` [B, latent_dim] being normalized codes of the images, not draws of N(0, I)."""
        return self.adversary(images, points).squeeze(1) + 0.5 * points.square().sum(dim=1)

    def divergences(self, images: Tensor, codes: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """T + log r(z | x) − log p(z) [B], whose mean is KL(q(z | x) ‖ N(0, I)) where T is optimal."""
        normalized = (codes - mean) / deviation
        log_r = -0.5 * normalized.square().sum(dim=1) - deviation.log().sum(dim=1)
        log_p = -0.5 * codes.square().sum(dim=1)
        return self.log_ratio(images, normalized) + log_r - log_p

    def distortion_and_divergences(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """−log p(x | z) but for the Gaussian's constant, and `divergences`, at a draw of each posterior, [B] each."""
        center, scales = self.center_and_scales(images)
        codes = self.draw(center, scales)
        distortion = negative_log_likelihood(images, self.decoder(codes), self.likelihood)
        return distortion, self.divergences(images, codes, *self.contrast(center, scales))

    def objective(self, images: Tensor) -> Losses:
        distortion, divergences = (part.mean() for part in self.distortion_and_divergences(images))
        return {"loss": distortion + divergences, "reconstruction": distortion, "divergence": divergences}

    def train_step(self, images: Tensor) -> Losses:
        """Both sides are updated from where they stood before the step."""
        adversary = self.adversary_loss(images)
        losses = super().train_step(images)
        update(self.adversary_optimizer, adversary)
        return {**losses, "discriminator": adversary}

    def adversary_loss(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> what T minimizes, a scalar with no gradient to encoder and decoder."""
        with torch.no_grad():
            center, scales = self.center_and_scales(images)
            mean, deviation = self.contrast(center, scales)
            normalized = (self.draw(center, scales) - mean) / deviation
        return discriminator_loss(
            self.log_ratio(images, normalized), self.log_ratio(images, torch.randn_like(normalized))
        )

    def score(self, images: Tensor) -> Tensor:
        """The estimate of the negative evidence lower bound."""
        distortion, divergences = self.distortion_and_divergences(images)
        if self.likelihood == "gaussian":
            distortion = distortion + 0.5 * math.log(2 * math.pi) * math.prod(self.image_shape)
        return distortion + divergences
