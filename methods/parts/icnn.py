"""Input-convex neural networks: scalar potentials whose gradients are monotone maps.

DenseICNN follows Korotin et al., "Wasserstein-2 Generative Networks" (2021, arXiv 1909.13082), and its code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import celu, dropout

NARROW = 16
"""Products of matrices with fewer columns are taken transposed."""


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

    The gradient is written out, and so are the derivatives of a loss of it: training a map ∇ψ needs no backward pass
    through a backward pass, and evaluating it no automatic differentiation. Value and gradient asked for together can
    be differentiated once; for more, start from ψ(x) alone.

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
        weights = self.square_weight, self.linear_weight, self.bias, self.output_weight, *self.convex_weights
        mask = self.dropout_mask(points.new_empty(len(points), 2 * sum(self.hidden) - self.hidden[0]))
        half_squares = 0.5 * self.strong_convexity * points.square().sum(dim=1)
        if with_gradient:
            values, gradients, *_ = _ValueAndGradient.apply(mask, points, *weights)
            return values + half_squares, gradients + self.strong_convexity * points
        return _evaluate(mask, points, *weights)[0] + half_squares, points.new_empty(0, points.shape[1])


class _ValueAndGradient(torch.autograd.Function):
    """ψ and ∇ψ of a `DenseICNN` with m = 0, and the derivatives of v ψ(x) + g·∇ψ(x), v and g those of a loss.

    ∇ψ is a backward pass through the layers. As g·∇ψ is the derivative of ψ along g, its own derivatives are a forward
    pass of the layers' tangents along g, and a backward pass. All of it is written for one network, of points [B, D],
    and for several, [S, B, D], whose weights have a first dimension more.
    """

    @staticmethod
    def forward(mask: Tensor | None, points: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        square_weight, linear_weight, bias, output_weight, *convex_weights = weights
        values, projections, layers = _evaluate(mask, points, *weights)
        skip_mask, masks = _split_mask(mask, convex_weights, bias.shape[-1])
        slopes = [(hidden + 1).clamp_(max=1) for hidden in layers[1:]]  # CELU'
        signal = output_weight.unsqueeze(-2).expand_as(layers[-1])  # ∂ψ/∂h_K, then back through the layers
        signals, bends = [], []
        for weight, slope, layer_mask in zip(reversed(convex_weights), reversed(slopes), reversed(masks), strict=True):
            bends.append(slope.frac().mul_(signal))  # CELU'' is CELU', but 0 where that is 1
            signal = signal * slope
            signals.append(signal)
            signal = _masked(signal, layer_mask) @ weight
        outer = _masked(torch.cat([signal, *reversed(signals)], dim=-1), skip_mask)  # ∂ψ/∂q_k, [B, Σ hidden]
        weighted = projections * outer.unsqueeze(-2)
        gradients = _to_points(weighted, outer, square_weight, linear_weight)
        return values, gradients, projections, weighted, outer, *layers, *slopes, *reversed(signals), *reversed(bends)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[2:])
        ctx.save_for_backward(*inputs, *output[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *of_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        mask, points, square_weight, linear_weight, bias, output_weight, *saved = ctx.saved_tensors
        rest = iter(saved)
        depth = len(ctx.needs_input_grad) - 6
        convex_weights = list(islice(rest, depth))
        projections, weighted, outer = islice(rest, 3)
        layers = list(islice(rest, depth + 1))
        slopes, signals, bends = (list(islice(rest, depth)) for _ in range(3))
        skip_mask, masks = _split_mask(mask, convex_weights, bias.shape[-1])
        of_values = points.new_zeros(points.shape[:-1]) if of_outputs[0] is None else of_outputs[0]
        of_gradients = torch.zeros_like(points) if of_outputs[1] is None else of_outputs[1]

        # The tangents of all layers along of_gradients.
        projection_tangents = _project(of_gradients, square_weight)
        quadratic_tangents = of_gradients @ linear_weight.mT  # not changed in place: torch 2.13 compiles that wrongly
        for projection, tangent in zip(projections.unbind(dim=-2), projection_tangents.unbind(dim=-2), strict=True):
            quadratic_tangents = quadratic_tangents.addcmul(projection, tangent, value=2)
        first, *skips = _split_layers(_masked(quadratic_tangents, skip_mask), convex_weights)
        tangents, activation_tangents = [first], []
        for weight, skip, layer_mask, slope in zip(convex_weights, skips, masks, slopes, strict=True):
            activation_tangents.append(_carry(tangents[-1], weight, skip, layer_mask))
            tangents.append(slope * activation_tangents[-1])

        # Back through the layers; what comes back to the tangents is the signals.
        of_output_weight = (of_values.unsqueeze(-2) @ layers[-1]).squeeze(-2) + tangents[-1].sum(dim=-2)
        of_layer = of_values.unsqueeze(-1) * output_weight.unsqueeze(-2)
        of_convex_weights, of_activations = [], []
        for k in reversed(range(depth)):
            of_activation = (slopes[k] * of_layer).addcmul_(bends[k], activation_tangents[k])
            of_activations.append(of_activation)
            of_carried, signal = _masked(of_activation, masks[k]), _masked(signals[k], masks[k])
            of_convex_weights.append(_add_product(of_carried.mT @ layers[k], signal.mT, tangents[k]))
            of_layer = of_carried @ convex_weights[k]
        of_quadratics = _masked(torch.cat([of_layer, *reversed(of_activations)], dim=-1), skip_mask)
        of_projections = (projections * of_quadratics.unsqueeze(-2)).addcmul_(projection_tangents, outer.unsqueeze(-2))
        of_points = None
        if ctx.needs_input_grad[1]:
            of_points = _to_points(of_projections, of_quadratics, square_weight, linear_weight)
        of_squares = _to_weights(of_projections.flatten(-2), points) + _to_weights(weighted.flatten(-2), of_gradients)
        of_linear = _to_weights(of_quadratics, points) + _to_weights(outer, of_gradients)
        return (
            None,
            of_points,
            (2 * of_squares).view_as(square_weight),
            of_linear,
            of_quadratics.sum(dim=-2),
            of_output_weight,
            *reversed(of_convex_weights),
        )

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        """Several networks at once, of `torch.func.vmap`."""

        def stacked(value: Tensor | None, dim: int | None) -> Tensor | None:
            if value is None:
                return None
            return value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)

        values, gradients, *_ = _ValueAndGradient.apply(*map(stacked, inputs, in_dims))
        return (values, gradients), (0, 0)


def _evaluate(
    mask: Tensor | None,
    points: Tensor,
    square_weight: Tensor,
    linear_weight: Tensor,
    bias: Tensor,
    output_weight: Tensor,
    *convex_weights: Tensor,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """ψ [B] for m = 0, the projections A_r x of all layers [B, R, Σ hidden], and h_1, …, h_K.

    The dropout mask, if any, is that of all q_k(x), then those of the W_k h_k, side by side.
    """
    skip_mask, masks = _split_mask(mask, convex_weights, bias.shape[-1])
    projections = _project(points, square_weight)
    quadratics = _add_product(bias.unsqueeze(-2), points, linear_weight.mT)
    for projection in projections.unbind(dim=-2):
        quadratics = quadratics.addcmul_(projection, projection)
    first, *skips = _split_layers(_masked(quadratics, skip_mask), convex_weights)
    layers = [first]
    for weight, skip, layer_mask in zip(convex_weights, skips, masks, strict=True):
        layers.append(celu(_carry(layers[-1], weight, skip, layer_mask)))
    return (layers[-1] @ output_weight.unsqueeze(-1)).squeeze(-1), projections, layers


def _project(points: Tensor, square_weight: Tensor) -> Tensor:
    """[B, D] and [R, Σ hidden, D] -> [B, R, Σ hidden]."""
    return (points @ square_weight.flatten(-3, -2).mT).unflatten(-1, square_weight.shape[-3:-1])


def _carry(hidden: Tensor, weight: Tensor, skip: Tensor, mask: Tensor | None) -> Tensor:
    """What the next layer's CELU acts on: W h + q."""
    return _add_product(skip, hidden, weight.mT) if mask is None else skip + mask * (hidden @ weight.mT)


def _to_points(of_projections: Tensor, of_quadratics: Tensor, square_weight: Tensor, linear_weight: Tensor) -> Tensor:
    """Derivatives by x, [B, D], from those by q and halves of those by A x, which are [B, (R,) Σ hidden]."""
    squares = _product(of_projections.flatten(-2), square_weight.flatten(-3, -2))
    return 2 * squares + _product(of_quadratics, linear_weight)


def _to_weights(of_outputs: Tensor, points: Tensor) -> Tensor:
    """Derivatives by a matrix from those by its products with x: [B, N] and [B, D] -> [N, D]."""
    return _product(of_outputs.mT, points)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right; transposed where the result is narrow, which MKL is four times slower at."""
    return left @ right if right.shape[-1] >= NARROW else (right.mT @ left.mT).mT


def _add_product(added: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """added + left @ right in one pass, of matrices or of batches of them."""
    return (torch.addmm if left.dim() == 2 else torch.baddbmm)(added, left, right)


def _split_layers(values: Tensor, convex_weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """[B, Σ hidden] -> those of each layer."""
    carried = [weight.shape[-2] for weight in convex_weights]
    return values.split([values.shape[-1] - sum(carried), *carried], dim=-1)


def _split_mask(
    mask: Tensor | None, convex_weights: Sequence[Tensor], total: int
) -> tuple[Tensor | None, Sequence[Tensor | None]]:
    """Those of all q_k(x) together, and of each W_k h_k."""
    if mask is None:
        return None, [None] * len(convex_weights)
    skip_mask, *masks = mask.split([total, *(weight.shape[-2] for weight in convex_weights)], dim=-1)
    return skip_mask, masks


def _masked(values: Tensor, mask: Tensor | None) -> Tensor:
    return values if mask is None else values * mask
