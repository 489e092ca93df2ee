"""Networks of ladder autoencoders, whose codes have several layers, the first nearest the image.

A layer's part of a code [B, latent_dim] is a slice of it. Networks between layers are dense, with SiLU, and have
8 · width hidden units, as do the features; the one at the image is of the families of `methods.parts.networks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from methods.parts.networks import ImageShape, Network, build_decoder, build_encoder, dense_layers


def layer_sizes(latent_dim: int, shares: Sequence[int]) -> list[int]:
    """Length of each layer's part of a code: in the proportion of `shares`, at least 1, the first has what is left.

    Raises ValueError where there are fewer than 2 layers, or more than dimensions.
    """
    if not 2 <= len(shares) <= latent_dim:
        raise ValueError(
            f"a code of {latent_dim} dimensions cannot have {len(shares)} layers; num_layers may be 2 to latent_dim"
        )
    upper = [max(latent_dim * share // sum(shares), 1) for share in shares[1:]]
    return [latent_dim - sum(upper), *upper]


class FeatureLadder(nn.Module):
    """Images [B, C, H, W] -> features [B, 8 · width] of each layer, each made from those of the layer below."""

    def __init__(
        self, network: Network, image_shape: ImageShape, num_layers: int, *, width: int, batch_norm: bool
    ) -> None:
        super().__init__()
        units = 8 * width
        bottom = build_encoder(network, image_shape, units, width=width, batch_norm=batch_norm)
        upper = [dense_layers([units] * 3, nn.SiLU, batch_norm=batch_norm) for _ in range(num_layers - 1)]
        self.steps = nn.ModuleList(nn.Sequential(step, nn.SiLU()) for step in [bottom, *upper])

    def forward(self, images: Tensor) -> list[Tensor]:
        features = [images]
        for step in self.steps:
            features.append(step(features[-1]))
        return features[1:]


class MarkovDecoder(nn.Module):
    """Codes [B, latent_dim] -> images, by a chain of Gaussians z_L → … → z_1 → image (arXiv 1602.02282).

    A code is the noise of the chain: its slice u_l says where z_l lies in p(z_l | z_{l+1}) = N(μ, diag(σ²)), namely
    at μ + σ u_l; z_L is u_L itself. So the prior of codes is N(0, I), and all layers have a part in the image.

    Args:
        sizes: length of each layer's slice, the first nearest the image.
    """

    def __init__(
        self, network: Network, image_shape: ImageShape, sizes: Sequence[int], *, width: int, batch_norm: bool
    ) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.transitions = nn.ModuleList(
            dense_layers([above, 8 * width, 8 * width, 2 * below], nn.SiLU, batch_norm=batch_norm)
            for below, above in pairwise(sizes)
        )
        self.image = build_decoder(network, image_shape, sizes[0], width=width, batch_norm=batch_norm)

    def transition(self, layer: int, above: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of p(z_l | z_{l+1}), [B, sizes[layer]] each, for layers counted from 0."""
        mean, log_variance = self.transitions[layer](above).chunk(2, dim=1)
        return mean, log_variance

    def forward(self, codes: Tensor) -> Tensor:
        *noise, latent = codes.split(self.sizes, dim=1)
        for layer in reversed(range(len(noise))):
            mean, log_variance = self.transition(layer, latent)
            latent = mean + (0.5 * log_variance).exp() * noise[layer]
        return self.image(latent)


class ShallowToDeepEncoder(nn.Module):
    """Images -> means and log-variances [B, 2 · latent_dim]: layers see the image through ever deeper networks.

    The first has a network of its own at the image, each further one two hidden layers on the features below it.
    """

    def __init__(
        self, network: Network, image_shape: ImageShape, sizes: Sequence[int], *, width: int, batch_norm: bool
    ) -> None:
        super().__init__()
        units = 8 * width
        self.features = FeatureLadder(network, image_shape, len(sizes) - 1, width=width, batch_norm=batch_norm)
        bottom = build_encoder(network, image_shape, 2 * sizes[0], width=width, batch_norm=batch_norm)
        upper = [dense_layers([units, units, units, 2 * size], nn.SiLU, batch_norm=batch_norm) for size in sizes[1:]]
        self.heads = nn.ModuleList([bottom, *upper])

    def forward(self, images: Tensor) -> Tensor:
        inputs = [images, *self.features(images)]
        outputs = [head(below).chunk(2, dim=1) for head, below in zip(self.heads, inputs, strict=True)]
        return torch.cat([part for parts in zip(*outputs, strict=True) for part in parts], dim=1)


class DeepToShallowDecoder(nn.Module):
    """Codes [B, latent_dim] -> images: layers enter from the last to the first, each joined to what came of those."""

    def __init__(
        self, network: Network, image_shape: ImageShape, sizes: Sequence[int], *, width: int, batch_norm: bool
    ) -> None:
        super().__init__()
        self.sizes = list(sizes)
        units = 8 * width
        self.entrances = nn.ModuleList(nn.Sequential(nn.Linear(size, units), nn.SiLU()) for size in sizes[:-1])
        inputs = [*[2 * units] * (len(sizes) - 2), sizes[-1]]
        self.steps = nn.ModuleList(
            nn.Sequential(dense_layers([size, units, units, units], nn.SiLU, batch_norm=batch_norm), nn.SiLU())
            for size in inputs
        )
        self.image = build_decoder(network, image_shape, 2 * units, width=width, batch_norm=batch_norm)

    def forward(self, codes: Tensor) -> Tensor:
        *parts, joined = codes.split(self.sizes, dim=1)
        for part, entrance, step in reversed(list(zip(parts, self.entrances, self.steps, strict=True))):
            joined = torch.cat([step(joined), entrance(part)], dim=1)
        return self.image(joined)
