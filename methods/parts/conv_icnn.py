"""A convolutional input-convex network: a potential of images whose gradient is a monotone map of images.

ConvICNN follows the style-transfer experiment of Korotin et al., "Wasserstein-2 Generative Networks" (2021, arXiv
1909.13082), and its code, where it is made for 128 × 128.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, linear

from methods.parts.icnn import Potential

LINEAR_LAYERS = 4
SMALLEST_SIDE = 4
"""Convolutions of stride 2 follow until no side is longer: five at 128 × 128, four at 64 × 64."""


class ConvICNN(Potential):
    """Convolutional ICNN of images laid out as vectors, ψ: R^(C·H·W) -> R.

        h_0 = CELU(L(x) + S(x)² + b_0),  h_{k+1} = CELU(W_k h_k + b_{k+1}),  ψ(x) = w·h_K + m/2 ‖x‖²

    with W_k, w >= 0. L and S, squared entry by entry, are linear: four 3 × 3 convolutions in a row without activation.
    The W_k are 3 × 3 convolutions of stride 2 while a side is longer than 4, then three matrices. Departures from the
    authors' code: images of any size, strong convexity and dropout (theirs has neither), one CELU and not two between
    the last convolution and the first matrix.

    The gradient is written out, layer by layer, with the transposed convolution as the adjoint of the convolution; see
    `DenseICNN` for what that is good for.

    Args:
        shape: (channels, height, width) of the images, sides of at least 8.
        width: channels of all convolutions; the matrices have `width`, `width` / 2 and `width` / 4 rows.
        strong_convexity: the modulus m >= 0.
        init_std: every weight and bias starts as N(0, init_std²), then clamped where it must not be negative.
        dropout: probability of dropping an entry of W_k h_k, in training mode.

    Raises:
        ValueError: images or a width too small.
    """

    convex = True

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        width: int = 128,
        strong_convexity: float = 0.0,
        init_std: float = 0.01,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, *sides = shape
        if min(sides) < 8 or width < 4:
            raise ValueError(
                f"ConvICNN: {shape} images and width {width}; both sides must be at least 8 and width at least 4"
            )
        self.shape = shape
        self.strong_convexity = strong_convexity
        self.dropout = dropout

        def weights(*dims: int) -> nn.Parameter:
            return nn.Parameter(init_std * torch.randn(dims))

        depths = [channels] + [width] * LINEAR_LAYERS
        self.linear_weights = nn.ParameterList(weights(wide, narrow, 3, 3) for narrow, wide in pairwise(depths))
        self.square_weights = nn.ParameterList(weights(wide, narrow, 3, 3) for narrow, wide in pairwise(depths))
        self.bias = weights(width, 1, 1)
        self.conv_weights, self.conv_biases = nn.ParameterList(), nn.ParameterList()
        while max(sides) > SMALLEST_SIDE:
            sides = [(side + 1) // 2 for side in sides]
            self.conv_weights.append(weights(width, width, 3, 3))
            self.conv_biases.append(weights(width, 1, 1))
        widths = (width * sides[0] * sides[1], width, width // 2, width // 4)
        self.dense_weights = nn.ParameterList(weights(wide, narrow) for narrow, wide in pairwise(widths))
        self.dense_biases = nn.ParameterList(weights(wide) for wide in widths[1:])
        self.output_weight = weights(widths[-1])
        self.clamp_weights()

    def nonnegative_weights(self) -> Iterable[Tensor]:
        return (*self.conv_weights, *self.dense_weights, self.output_weight)

    def evaluate(self, points: Tensor, *, with_gradient: bool) -> tuple[Tensor, Tensor]:
        images = points.unflatten(1, self.shape)
        straight, squared = images, images
        for straight_weight, square_weight in zip(self.linear_weights, self.square_weights, strict=True):
            straight = conv2d(straight, straight_weight, padding=1)
            squared = conv2d(squared, square_weight, padding=1)
        hidden, slope = _celu(straight + squared.square() + self.bias)

        slopes, masks = [slope], []
        for weight, bias in zip(self.conv_weights, self.conv_biases, strict=True):
            carried = conv2d(hidden, weight, stride=2, padding=1)
            masks.append(self.dropout_mask(carried))
            hidden, slope = _celu(_masked(carried, masks[-1]) + bias)
            slopes.append(slope)
        hidden = hidden.flatten(start_dim=1)
        for weight, bias in zip(self.dense_weights, self.dense_biases, strict=True):
            carried = linear(hidden, weight)
            masks.append(self.dropout_mask(carried))
            hidden, slope = _celu(_masked(carried, masks[-1]) + bias)
            slopes.append(slope)
        values = hidden @ self.output_weight + 0.5 * self.strong_convexity * points.square().sum(dim=1)
        if not with_gradient:
            return values, points.new_empty(0, points.shape[1])

        signal = self.output_weight * slopes.pop()  # ∂ψ/∂(what a CELU acts on), then back through the layers
        for weight in reversed(self.dense_weights):
            slope = slopes.pop()
            signal = (_masked(signal, masks.pop()) @ weight).view_as(slope) * slope
        for weight in reversed(self.conv_weights):
            slope = slopes.pop()
            signal = _adjoint(_masked(signal, masks.pop()), weight, slope.shape) * slope
        straight, squared = signal, 2 * squared * signal
        for straight_weight, square_weight in zip(
            reversed(self.linear_weights), reversed(self.square_weights), strict=True
        ):
            straight = conv_transpose2d(straight, straight_weight, padding=1)
            squared = conv_transpose2d(squared, square_weight, padding=1)
        return values, (straight + squared).flatten(start_dim=1) + self.strong_convexity * points


def _adjoint(signal: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
    """Of the convolution of stride 2 and padding 1 that acts on images of `shape`."""
    even = [1 - side % 2 for side in shape[-2:]]
    return conv_transpose2d(signal, weight, stride=2, padding=1, output_padding=even)


def _celu(activation: Tensor) -> tuple[Tensor, Tensor]:
    """CELU and its derivative."""
    slope = activation.clamp(max=0).exp()
    return activation.clamp(min=0) + slope - 1, slope


def _masked(values: Tensor, mask: Tensor | None) -> Tensor:
    return values if mask is None else values * mask
