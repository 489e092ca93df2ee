"""Adversaries and their losses: discriminators (binary cross-entropy) and Wasserstein critics."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from methods.parts.networks import ImageShape, dense_layers


class CodeDiscriminator(nn.Module):
    """Codes [B, latent_dim] -> logits [B] of coming from the prior: four hidden layers of ReLU units.

    With `known_prior`, the log-density of N(0, I) is added to the logit, so that the network has only the codes' own to
    learn (from arXiv 1701.04722; `gan_p_trick` in the authors' code, whose constant is that of one dimension, and which
    pairs every logit with every code's norm; here each has its own).
    """

    def __init__(self, latent_dim: int, *, width: int, known_prior: bool) -> None:
        super().__init__()
        self.layers = dense_layers([latent_dim, *[width] * 4, 1], nn.ReLU)
        self.known_prior = known_prior

    def forward(self, codes: Tensor) -> Tensor:
        logits = self.layers(codes).squeeze(1)
        if self.known_prior:
            logits = logits - 0.5 * codes.square().sum(dim=1) - 0.5 * math.log(2 * math.pi)
        return logits


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


def discriminator_loss(prior_logits: Tensor, code_logits: Tensor) -> Tensor:
    """Binary cross-entropy of telling draws of the prior (label 1) from codes (label 0)."""
    return F.softplus(-prior_logits).mean() + F.softplus(code_logits).mean()


def non_saturating_loss(code_logits: Tensor) -> Tensor:
    """What the encoder minimizes: the cross-entropy of its codes being taken for draws of the prior."""
    return F.softplus(-code_logits).mean()


def gradient_penalty(critic: Callable[..., Tensor], real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> Tensor:
    """Mean of (‖∇ critic‖ − 1)² at random points between `real` and `fake` (arXiv 1704.00028, eq. 3).

    The critic may take several arguments [B, ...]: each item is interpolated with one weight for all of them, and the
    gradient is with respect to all of them together. Both sides are detached.
    """
    count = len(real[0])
    weight = torch.rand(count, device=real[0].device)
    between = []
    for one, other in zip(real, fake, strict=True):
        w = weight.view(count, *[1] * (one.ndim - 1))
        between.append((w * one + (1 - w) * other).detach().requires_grad_())
    gradients = torch.autograd.grad(critic(*between).sum(), between, create_graph=True)
    norms = torch.cat([gradient.flatten(start_dim=1) for gradient in gradients], dim=1).norm(dim=1)
    return (norms - 1).square().mean()
