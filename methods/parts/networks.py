"""Encoders and decoders, chosen by image shape and shared by all the methods of a comparison.

Families, each with one free parameter, `width`, its number of base filters:

    conv          of Gromov–Wasserstein autoencoders (arXiv 2209.07007, after Higgins et al. 2017): 4 × 4 kernels, SiLU;
                  width 32 is the paper's (32-64-128-256 filters at 64 × 64)
    dcgan         of Wasserstein autoencoders (arXiv 1711.01558): DCGAN-like, ReLU; width 128 is the paper's
                  (128-256-512-1024 filters). The last layer of the decoder keeps the size (`dcgan_mod` in their code)
    dcgan-plain   the same, but that layer doubles the size as those before it do (`dcgan` in their code)
    mlp           three hidden layers of 8·width ReLU units: the small network of the WAE authors' code, at width 32

Batch norm stands where each paper has it: after the activation in `conv` and in the decoder of `mlp`, before it in the
others. Layers keep torch's default initialization. All but `mlp` take squares of 8 pixels or more
whose side halves evenly down to 7 or fewer (8, 28, 32, 64, …), `mlp` takes any shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, fold

Network = Literal["conv", "dcgan", "dcgan-plain", "mlp"]
ImageShape = tuple[int, int, int]

AFTER_FIRST_CONVOLUTION = 2
"""Where an encoder's channels are brought together: an image's single channel would hide how it is laid out."""


def build_encoder(
    network: Network, image_shape: ImageShape, outputs: int, *, width: int, batch_norm: bool
) -> nn.Sequential:
    """A network from images [B, C, H, W] in [0, 1] to [B, outputs].

    Raises ValueError for an image shape the family does not take.
    """
    return _ENCODERS[network](image_shape, outputs, width, batch_norm)


def build_decoder(
    network: Network, image_shape: ImageShape, latent_dim: int, *, width: int, batch_norm: bool
) -> nn.Sequential:
    """A network from codes [B, latent_dim] to images [B, C, H, W] in [0, 1]: the mirror of `build_encoder`'s."""
    return _DECODERS[network](image_shape, latent_dim, width, batch_norm)


def dense_layers(
    sizes: Sequence[int], activation: Callable[[], nn.Module], *, batch_norm: bool = False
) -> nn.Sequential:
    """Linear layers of the given sizes; between them, batch norm where asked for, and the activation."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs), *_norm(nn.BatchNorm1d, outputs, batch_norm), activation()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


class Logit(nn.Module):
    """log(x / (1 − x)) of intensities clamped to [ε, 1 − ε]: undoes the decoder's sigmoid (arXiv 2209.07007)."""

    def __init__(self, eps: float = 1e-4) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, images: Tensor) -> Tensor:
        return torch.logit(images, eps=self.eps)


class ChannelsLast(nn.Module):
    """Lays images out with all channels of a pixel side by side: convolutions on a CPU are faster on them."""

    def forward(self, images: Tensor) -> Tensor:
        return images if images.is_cuda else images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


class Bordered(nn.Conv2d):
    """A convolution of images whose border is repeated once around them.

    The border is put together of slices on a GPU, where torch's own is slow if it is to be deterministic, and when
    compiled: of the derivative of torch's own (2.13), the compiler mistakes the layout.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, padding=1, padding_mode="replicate")

    def forward(self, images: Tensor) -> Tensor:
        if not (images.is_cuda or torch.compiler.is_compiling()):
            return super().forward(images)
        rows = torch.cat([images[:, :, :1], images, images[:, :, -1:]], dim=2)
        bordered = torch.cat([rows[..., :1], rows, rows[..., -1:]], dim=3)
        return conv2d(bordered, self.weight, self.bias, self.stride)


class ToGrey(nn.ConvTranspose2d):
    """A transposed convolution; to a single channel on a CPU, a matrix product whose patches are added, for speed."""

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        if images.is_cuda or self.out_channels > 1:
            return super().forward(images, output_size)
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        height, width = ((side - 1) * stride + kernel - 2 * padding for side in images.shape[2:])
        patches = self.weight.flatten(start_dim=1).mT @ images.flatten(start_dim=2)
        added = fold(patches, (height, width), kernel, padding=padding, stride=stride)
        return added if self.bias is None else added + self.bias.unflatten(0, (-1, 1, 1))


def _conv_encoder(image_shape: ImageShape, outputs: int, width: int, batch_norm: bool) -> nn.Sequential:
    grid, halvings = _halve(image_shape, "conv", largest=7)
    filters = [width * 2**i for i in range(halvings)]
    layers: list[nn.Module] = [Logit()]
    for inputs, features in pairwise([image_shape[0], *filters]):
        layers += [Bordered(inputs, features, 4, stride=2), nn.SiLU()]
        layers += _norm(nn.BatchNorm2d, features, batch_norm)
    layers.insert(AFTER_FIRST_CONVOLUTION, ChannelsLast())
    head = dense_layers([filters[-1] * grid**2, 8 * width, outputs], nn.SiLU)
    return nn.Sequential(*layers, nn.Flatten(), *head)


def _conv_decoder(image_shape: ImageShape, latent_dim: int, width: int, batch_norm: bool) -> nn.Sequential:
    grid, halvings = _halve(image_shape, "conv", largest=7)
    filters = [width * 2**i for i in reversed(range(halvings))]
    stem = dense_layers([latent_dim, 8 * width, filters[0] * grid**2], nn.SiLU)
    layers: list[nn.Module] = [*stem, nn.SiLU(), nn.Unflatten(1, (filters[0], grid, grid)), ChannelsLast()]
    for inputs, features in pairwise(filters):
        layers += [nn.ConvTranspose2d(inputs, features, 4, stride=2, padding=1), nn.SiLU()]
        layers += _norm(nn.BatchNorm2d, features, batch_norm)
    layers += [ToGrey(filters[-1], image_shape[0], 4, stride=2, padding=1), nn.Sigmoid()]
    return nn.Sequential(*layers)


def _dcgan_encoder(image_shape: ImageShape, outputs: int, width: int, batch_norm: bool) -> nn.Sequential:
    channels, side, _ = image_shape
    kernel = _dcgan_kernel(side)
    layers: list[nn.Module] = []
    for inputs, features in pairwise([channels, *(width * 2**i for i in range(4))]):
        before, after = _same_padding(side, kernel, stride=2)
        layers += [nn.ZeroPad2d((before, after) * 2), nn.Conv2d(inputs, features, kernel, stride=2)]
        layers += [*_norm(nn.BatchNorm2d, features, batch_norm), nn.ReLU()]
        side = math.ceil(side / 2)  # odd sides are halved upwards: 28, 14, 7, 4, 2
    layers.insert(AFTER_FIRST_CONVOLUTION, ChannelsLast())
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * width * side**2, outputs))


def _dcgan_decoder(image_shape: ImageShape, latent_dim: int, width: int, batch_norm: bool) -> nn.Sequential:
    grid, halvings = _halve(image_shape, "dcgan", largest=8)
    return _doublings(image_shape, latent_dim, grid, [8 * width // 2**i for i in range(halvings + 1)], 1, batch_norm)


def _plain_dcgan_decoder(image_shape: ImageShape, latent_dim: int, width: int, batch_norm: bool) -> nn.Sequential:
    grid, halvings = _halve(image_shape, "dcgan-plain", largest=7)
    return _doublings(image_shape, latent_dim, grid, [8 * width // 2**i for i in range(halvings)], 2, batch_norm)


def _doublings(
    image_shape: ImageShape, latent_dim: int, grid: int, filters: list[int], last_stride: int, batch_norm: bool
) -> nn.Sequential:
    """From a grid of filters[0], transposed convolutions of stride 2 to each of the others, then one to the image."""
    channels, size, _ = image_shape
    kernel = _dcgan_kernel(size)
    layers: list[nn.Module] = [nn.Linear(latent_dim, filters[0] * grid**2), nn.ReLU()]
    layers += [nn.Unflatten(1, (filters[0], grid, grid)), ChannelsLast()]
    side = grid
    for inputs, features in pairwise(filters):
        side *= 2
        layers += _same_transposed(side, inputs, features, kernel, stride=2)
        layers += [*_norm(nn.BatchNorm2d, features, batch_norm), nn.ReLU()]
    layers += [*_same_transposed(size, filters[-1], channels, kernel, last_stride), nn.Sigmoid()]
    return nn.Sequential(*layers)


def _mlp_encoder(image_shape: ImageShape, outputs: int, width: int, batch_norm: bool) -> nn.Sequential:
    sizes = [math.prod(image_shape), *[8 * width] * 3, outputs]
    return nn.Sequential(nn.Flatten(), *dense_layers(sizes, nn.ReLU, batch_norm=batch_norm))


def _mlp_decoder(image_shape: ImageShape, latent_dim: int, width: int, batch_norm: bool) -> nn.Sequential:
    hidden = 8 * width
    layers: list[nn.Module] = []
    for inputs in (latent_dim, hidden, hidden):
        layers += [nn.Linear(inputs, hidden), nn.ReLU(), *_norm(nn.BatchNorm1d, hidden, batch_norm)]
    layers += [nn.Linear(hidden, math.prod(image_shape)), nn.Unflatten(1, image_shape), nn.Sigmoid()]
    return nn.Sequential(*layers)


def _norm(layer: Callable[[int], nn.Module], features: int, batch_norm: bool) -> list[nn.Module]:
    return [layer(features)] if batch_norm else []


def _same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after `side` pixels that TensorFlow's "same" gives a convolution: after, where one is over."""
    total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def _same_transposed(side: int, inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    """The transpose of a "same" convolution of `side` pixels: what the padding would have added is cropped."""
    before, after = _same_padding(side, kernel, stride)
    return [ToGrey(inputs, outputs, kernel, stride), nn.ZeroPad2d((-before, -after) * 2)]


def _dcgan_kernel(side: int) -> int:
    """5 × 5 for CelebA at 64 pixels, 4 × 4 for MNIST, as in the authors' settings."""
    return 5 if side >= 64 else 4


def _halve(image_shape: ImageShape, network: str, *, largest: int) -> tuple[int, int]:
    """Side of the coarsest grid, of at most `largest` pixels, and how many halvings lead there."""
    _, height, width = image_shape
    grid, halvings = height, 0
    while grid > largest and grid % 2 == 0:
        grid, halvings = grid // 2, halvings + 1
    if height != width or grid > largest or height < 8:
        raise ValueError(
            f'network "{network}" takes square images, 8 pixels or more, whose side halves evenly to {largest} pixels '
            f'or fewer, such as 28, 32 or 64, not {height} x {width}; resize them, or set network = "mlp"'
        )
    return grid, halvings


_Builder = Callable[[ImageShape, int, int, bool], nn.Sequential]
_ENCODERS: dict[str, _Builder] = {
    "conv": _conv_encoder,
    "dcgan": _dcgan_encoder,
    "dcgan-plain": _dcgan_encoder,
    "mlp": _mlp_encoder,
}
_DECODERS: dict[str, _Builder] = {
    "conv": _conv_decoder,
    "dcgan": _dcgan_decoder,
    "dcgan-plain": _plain_dcgan_decoder,
    "mlp": _mlp_decoder,
}
