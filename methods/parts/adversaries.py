"""Adversaries and their losses: discriminators (binary cross-entropy) and Wasserstein critics."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from methods.parts.networks import ImageShape, dense_layers


class CodeDiscriminator(nn.Module):
    """Codes [B, latent_dim] -> logits [B] of coming from the prior: hidden layers of `width` ReLU units."""

    def __init__(self, latent_dim: int, *, width: int, hidden_layers: int = 4) -> None:
        super().__init__()
        self.layers = dense_layers([latent_dim, *[width] * hidden_layers, 1], nn.ReLU)

    def forward(self, codes: Tensor) -> Tensor:
        return self.layers(codes).squeeze(1)


class PairCritic(nn.Module):
    """(images [B, C, H, W], codes [B, latent_dim]) -> [B, 1]."""

    def __init__(self, *, spectral: bool, dropout: float) -> None:
        super().__init__()
        self.spectral = spectral
        self.dropout = dropout

    def layer(self, linear: nn.Module) -> list[nn.Module]:
        """The layer with what `spectral` and `dropout` put around it."""
        normalized = spectral_norm(linear) if self.spectral else linear
        return [nn.Dropout(self.dropout), normalized] if self.dropout else [normalized]

    def dense(self, sizes: Sequence[int]) -> nn.Sequential:
        """Linear layers of the given sizes, each with its leaky ReLU."""
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [*self.layer(nn.Linear(inputs, outputs)), nn.LeakyReLU(0.2)]
        return nn.Sequential(*layers)

    def compare(self, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits of two batches of pairs (images, codes), in one evaluation."""
        images, codes = (torch.cat(pair) for pair in zip(one, other, strict=True))
        first, second = self(images, codes).split([len(one[0]), len(other[0])])
        return first, second


class DenseJointCritic(PairCritic):
    """A multilayer perceptron over all pixels and the code: three hidden layers of leaky ReLUs.

    Args:
        image_shape: (channels, height, width).
        latent_dim: length of a code.
        width: a 32nd of the units of a layer.
        spectral: whether every layer has spectral norm.
        dropout: share of every layer's inputs that is left out in training.
    """

    def __init__(
        self, image_shape: ImageShape, latent_dim: int, width: int, *, spectral: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__(spectral=spectral, dropout=dropout)
        hidden = 32 * width
        self.layers = self.dense([math.prod(image_shape) + latent_dim, hidden, hidden, hidden, 1])[:-1]

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        return self.layers(torch.cat([images.flatten(start_dim=1), codes], dim=1))


class JointCritic(PairCritic):
    """Convolutions halve the image down to one pixel and double the filters (8 … 256 at 64 × 64, in arXiv 2209.07007).

    The features of image and code are halved when they are joined. Raises ValueError for images that are not square.

    Args:
        image_shape: (channels, height, width).
        latent_dim: length of a code.
        width: filters of the first convolution; the dense layers have 32 times as many units.
        spectral: whether every layer has spectral norm.
        dropout: share of every layer's inputs that is left out in training.
    """

    def __init__(
        self, image_shape: ImageShape, latent_dim: int, width: int, *, spectral: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__(spectral=spectral, dropout=dropout)
        filters, side, breadth = image_shape
        if side != breadth:
            raise ValueError(
                f"the convolutional critic takes square images, not {side} x {breadth}; resize them, or have a dense "
                'critic where there is one (adversary_network = "mlp")'
            )
        features, hidden = 8 * width, 32 * width
        layers: list[nn.Module] = []
        for i in range(int(math.log2(side))):
            layers += [*self.layer(nn.Conv2d(filters, width * 2**i, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
            filters = width * 2**i
        self.image_features = nn.Sequential(*layers, nn.Flatten(), *self.layer(nn.Linear(filters, features)))
        self.code_features = self.dense([latent_dim, hidden, hidden, features])
        self.joint = self.dense([2 * features, hidden, hidden, 1])[:-1]

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        return self.joint(torch.cat([self.image_features(images), self.code_features(codes)], dim=1) / 2)


class ImageDiscriminator(nn.Module):
    """Images [B, C, H, W] -> features [B, ...] and logits [B] of being real (arXiv 1512.09300, table 1).

    A 5 × 5 convolution of `width` filters, three that halve (of 4, 8 and 8 times as many), a dense layer of 16 · width
    units, and the logit; ReLU between them, batch norm before it but for the first. The features are the last
    convolution's, before its batch norm, where the authors' CelebA code compares images. Width 32 is the paper's.
    """

    def __init__(self, image_shape: ImageShape, width: int) -> None:
        super().__init__()
        channels, height, breadth = image_shape
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 5, padding=2), nn.ReLU()]
        filters = [width, 4 * width, 8 * width, 8 * width]
        for inputs, outputs in itertools.pairwise(filters):
            layers += [nn.Conv2d(inputs, outputs, 5, stride=2, padding=2), nn.BatchNorm2d(outputs), nn.ReLU()]
        pixels = math.ceil(height / 8) * math.ceil(breadth / 8)
        self.features = nn.Sequential(*layers[:-2])
        self.judgement = nn.Sequential(
            *layers[-2:],
            nn.Flatten(),
            nn.Linear(filters[-1] * pixels, 16 * width),
            nn.BatchNorm1d(16 * width),
            nn.ReLU(),
            nn.Linear(16 * width, 1),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(images)
        return features, self.judgement(features).squeeze(1)


def discriminator_loss(logits: Tensor, other_logits: Tensor) -> Tensor:
    """Binary cross-entropy of telling the items of the first logits (label 1) from those of the others (label 0)."""
    return F.softplus(-logits).mean() + F.softplus(other_logits).mean()


def non_saturating_loss(logits: Tensor) -> Tensor:
    """What a generator of label 0 minimizes: the cross-entropy of its items being taken for those of label 1."""
    return F.softplus(-logits).mean()


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
