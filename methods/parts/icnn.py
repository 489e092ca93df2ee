"""Input-convex neural networks: scalar potentials whose gradients are monotone maps.

DenseICNN follows Korotin et al., "Wasserstein-2 Generative Networks" (2021, arXiv 1909.13082), and its code.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear


class Potential(nn.Module):
    """ψ: R^D -> R with its gradient: what solvers need of a network, whatever its layers.

    Set in the constructor: `dropout`, a probability, and `convex`.
    """

    dropout: float
    convex: bool
    """Whether `clamp_weights` keeps ψ convex; without it, ψ is a network of the same shape and no ICNN."""

    def forward(self, points: Tensor) -> Tensor:
        """ψ: [B, D] -> [B]."""
        return self.evaluate(points, with_gradient=False)[0]

    def gradient(self, points: Tensor) -> Tensor:
        """∇ψ: [B, D] -> [B, D], differentiable in points and weights."""
        return self.evaluate(points, with_gradient=True)[1]

    def value_and_gradient(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """ψ [B] and ∇ψ [B, D] for the price of the gradient."""
        return self.evaluate(points, with_gradient=True)

    def evaluate(self, points: Tensor, *, with_gradient: bool) -> tuple[Tensor, Tensor]:
        """ψ and, if asked for, ∇ψ (else no rows)."""
        raise NotImplementedError

    def nonnegative_weights(self) -> Iterable[Tensor]:
        """The weights through which ψ is convex if none of them is negative."""
        raise NotImplementedError

    @torch.no_grad()
    def clamp_weights(self) -> None:
        """Projects them on the non-negative orthant, after each step of an optimizer; nothing where not `convex`."""
        if self.convex:
            for weight in self.nonnegative_weights():
                weight.clamp_(min=0)

    def dropout_mask(self, like: Tensor) -> Tensor | None:
        """Entries 0 with probability `dropout`, else 1/(1 - dropout); None where nothing is dropped."""
        if not self.training or self.dropout == 0:
            return None
        return dropout(torch.ones_like(like), self.dropout)


class DenseICNN(Potential):
    """Fully connected ICNN with convex quadratic skip connections, ψ: R^D -> R.

        h_1 = q_1(x),  h_{k+1} = CELU(W_k h_k + q_{k+1}(x)),  ψ(x) = w·h_K + m/2 ‖x‖²

    with W_k, w >= 0 and q(x) = Σ_r (A_r x)² + B x + b, so ψ is m-strongly convex. The optimizer does not keep the
    weights non-negative: call `clamp_weights` after each of its steps.

    The gradient is written out as a network of its own: training a map ∇ψ then needs one backward pass instead of a
    backward pass through a backward pass, and evaluating it needs no automatic differentiation.

    Args:
        dim: dimension D of the points.
        hidden: widths of h_1, …, h_K.
        rank: number R of squares in each quadratic form.
        strong_convexity: the modulus m >= 0.
        init_std: every weight and bias starts as N(0, init_std²), then clamped where it must not be negative.
        dropout: probability of dropping an entry of q_k(x) or of W_k h_k, in training mode.
        convex: whether `clamp_weights` holds W_k and w at or above 0.
    """

    def __init__(
        self,
        dim: int,
        hidden: tuple[int, ...],
        *,
        rank: int = 1,
        strong_convexity: float = 1e-6,
        init_std: float = 0.05,
        dropout: float = 0.0,
        convex: bool = True,
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("DenseICNN: hidden needs at least one width, such as (128, 128, 64)")
        self.hidden = tuple(hidden)
        self.strong_convexity = strong_convexity
        self.dropout = dropout
        self.convex = convex
        # The quadratic forms of all layers act on the same input, so they are stacked and evaluated at once.
        total = sum(hidden)
        self.square_weight = nn.Parameter(init_std * torch.randn(rank, total, dim))
        self.linear_weight = nn.Parameter(init_std * torch.randn(total, dim))
        self.bias = nn.Parameter(init_std * torch.randn(total))
        self.convex_weights = nn.ParameterList(
            init_std * torch.randn(wide, narrow) for narrow, wide in pairwise(hidden)
        )
        self.output_weight = nn.Parameter(init_std * torch.randn(hidden[-1]))
        self.clamp_weights()

    def nonnegative_weights(self) -> Iterable[Tensor]:
        return (*self.convex_weights, self.output_weight)

    def evaluate(self, points: Tensor, *, with_gradient: bool) -> tuple[Tensor, Tensor]:
        square_weight = self.square_weight.flatten(end_dim=1)
        projections = linear(points, square_weight).unflatten(1, self.square_weight.shape[:2])
        quadratics = projections.square().sum(dim=1) + linear(points, self.linear_weight, self.bias)
        skip_masks = self.dropout_mask(quadratics)
        if skip_masks is not None:
            quadratics = quadratics * skip_masks

        first, *skips = quadratics.split(self.hidden, dim=1)
        hidden = first
        layers = []
        for weight, skip in zip(self.convex_weights, skips, strict=True):
            carried = linear(hidden, weight)
            mask = self.dropout_mask(carried)
            activation = (carried if mask is None else carried * mask) + skip
            slope = activation.clamp(max=0).exp()  # CELU'
            hidden = activation.clamp(min=0) + slope - 1  # CELU
            layers.append((weight, mask, slope))
        values = hidden @ self.output_weight + 0.5 * self.strong_convexity * points.square().sum(dim=1)
        if not with_gradient:
            return values, points.new_empty(0, points.shape[1])

        signal = self.output_weight.expand_as(hidden)  # ∂ψ/∂h_K, then back through the layers
        signals = []
        for weight, mask, slope in reversed(layers):
            signal = signal * slope
            signals.append(signal)
            signal = (signal if mask is None else signal * mask) @ weight
        signals.append(signal)
        outer = torch.cat(signals[::-1], dim=1)  # ∂ψ/∂q_k of all layers, [B, Σ hidden]
        if skip_masks is not None:
            outer = outer * skip_masks
        squares = (2 * projections * outer.unsqueeze(1)).flatten(start_dim=1) @ square_weight
        return values, squares + outer @ self.linear_weight + self.strong_convexity * points
