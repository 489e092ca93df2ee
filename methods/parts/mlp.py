"""Fully connected networks of points: potentials R^D -> R, and maps R^D -> R^D that start near the identity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from methods.parts.icnn import Potential
from methods.parts.networks import dense_layers


class DensePotential(Potential):
    """f(x) = σ(w·h_K + b) + ½ exp(α) ‖x‖² with h_{k+1} = σ(W_k h_k + b_k), σ = ELU and α learned; not convex.

    The potential of Amos, "On amortizing convex optimal transport" (2023, arXiv 2210.12153), whose last activation
    and quadratic term are of his code. Weights start as N(0, 1 / inputs), biases and α at 0. As in `DenseICNN`, the
    gradient is written out as a network of its own.

    Args:
        dim: dimension D of the points.
        hidden: widths of h_1, …, h_K.
    """

    dropout = 0.0
    convex = False

    def __init__(self, dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("DensePotential: hidden needs at least one width, such as (128, 128)")
        sizes = list(pairwise((dim, *hidden, 1)))
        self.weights = nn.ParameterList(torch.randn(outputs, inputs) / inputs**0.5 for inputs, outputs in sizes)
        self.biases = nn.ParameterList(torch.zeros(outputs) for _, outputs in sizes)
        self.log_curvature = nn.Parameter(torch.zeros(()))

    def evaluate(self, points: Tensor, *, with_gradient: bool) -> tuple[Tensor, Tensor]:
        hidden = points
        slopes = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            activation = linear(hidden, weight, bias)
            slope = activation.clamp(max=0).exp()  # ELU'
            hidden = activation.clamp(min=0) + slope - 1  # ELU
            slopes.append(slope)
        curvature = self.log_curvature.exp()
        values = hidden.squeeze(1) + 0.5 * curvature * points.square().sum(dim=1)
        if not with_gradient:
            return values, points.new_empty(0, points.shape[1])

        signal = slopes[-1]  # ∂f/∂ of the activations, back through the layers
        for weight, slope in zip(reversed(self.weights[1:]), reversed(slopes[:-1]), strict=True):
            signal = (signal @ weight) * slope
        return values, signal @ self.weights[0] + curvature * points

    def nonnegative_weights(self) -> Iterable[Tensor]:
        return ()


class ResidualMLP(nn.Module):
    """x + g(x): [B, D] -> [B, D] with g fully connected.

    Args:
        dim: dimension D of the points.
        hidden: widths of g's hidden layers.
        activation: makes the activation between them.
    """

    def __init__(self, dim: int, hidden: Sequence[int], activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.layers = dense_layers([dim, *hidden, dim], activation)

    def forward(self, points: Tensor) -> Tensor:
        return points + self.layers(points)
