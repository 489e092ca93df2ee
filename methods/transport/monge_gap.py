"""A map fitted to the target by a Sinkhorn divergence and kept optimal by the Monge gap.

Uscidda, Cuturi (2023), "The Monge Gap: A Regularizer to Learn All Transport Maps", arXiv 2302.04953.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.base import Losses, Shape, TransportMap
from methods.parts.divergences import squared_distances
from methods.parts.mlp import ResidualMLP
from methods.parts.optimization import adam, update

MARGINAL_TOLERANCE = 1e-3
"""Sinkhorn's iterations end once the marginals are this close in L1 norm, as in the authors' library."""


class MongeGap(TransportMap):
    """A network T = push that minimizes  S_ε(T#P, Q) + λ M_ε'(T).

        S_ε(T#P, Q) = W_ε(T(X), Y) - ½ W_ε(T(X), T(X)) - ½ W_ε(Y, Y)      Sinkhorn divergence
        M_ε'(T)     = E‖T(X) - X‖² - W_ε'(X, T(X))                        Monge gap (paper, eq. 8)

    on batches, where W_ε is entropic optimal transport at the cost ‖x - y‖². The gap is at least 0 and vanishes, at
    ε' = 0, where T is optimal between P and T#P. W_ε(Y, Y) does not depend on T and is left out of the loss. There is
    no inverse. The defaults are those of the authors' tutorial for the squared Euclidean cost; their batch is 256.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        hidden: widths of the GELU network that is added to the identity.
        gap_weight: weight λ of the Monge gap.
        fitting_epsilon: ε as a share of the mean cost between points of Q, in each batch (theirs: once, beforehand).
        gap_epsilon: ε' as a share of the mean cost between points of P and of Q, in each batch.
        sinkhorn_iterations: most iterations for each W.
        lr: Adam's learning rate.
    """

    name = "monge-gap"
    paper = "Uscidda & Cuturi 2023, arXiv 2302.04953"
    summary = "a map fitted by a Sinkhorn divergence, with the Monge gap as regularizer"
    family = "OT map"
    check_params: ClassVar[Mapping[str, Any]] = {"sinkhorn_iterations": 50, "lr": 5e-3}

    def __init__(
        self,
        shape: Shape,
        *,
        hidden: tuple[int, ...] = (32, 64, 32),
        gap_weight: float = 0.1,
        fitting_epsilon: float = 0.1,
        gap_epsilon: float = 0.01,
        sinkhorn_iterations: int = 2000,
        lr: float = 1e-3,
    ) -> None:
        super().__init__(shape)
        for name, epsilon in (("fitting_epsilon", fitting_epsilon), ("gap_epsilon", gap_epsilon)):
            if epsilon <= 0:
                raise ValueError(f"monge-gap: {name} is {epsilon}; it must be positive")
        if sinkhorn_iterations < 1:
            raise ValueError(f"monge-gap: sinkhorn_iterations is {sinkhorn_iterations}; it must be at least 1")
        self.gap_weight = gap_weight
        self.fitting_epsilon = fitting_epsilon
        self.gap_epsilon = gap_epsilon
        self.sinkhorn_iterations = sinkhorn_iterations
        self.map = ResidualMLP(self.dim, hidden, nn.GELU)
        self.optimizer = adam(self.map.parameters(), lr=lr)

    def push(self, points: Tensor) -> Tensor:
        return self.map(points)

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        images = self.map(source_points)
        fitting_epsilon = self.fitting_epsilon * squared_distances(target_points, target_points).mean()
        gap_epsilon = self.gap_epsilon * squared_distances(source_points, target_points).mean()
        fitting = sinkhorn_cost(images, target_points, fitting_epsilon, self.sinkhorn_iterations)
        fitting = fitting - 0.5 * sinkhorn_cost(images, images, fitting_epsilon, self.sinkhorn_iterations)
        gap = monge_gap(source_points, images, gap_epsilon, self.sinkhorn_iterations)
        update(self.optimizer, fitting + self.gap_weight * gap)
        return {"fitting": fitting.detach(), "monge gap": gap.detach()}


def monge_gap(points: Tensor, images: Tensor, epsilon: Tensor | float, max_iterations: int) -> Tensor:
    """E‖T(X) - X‖² - W_ε(X, T(X)) of points X and their images T(X), [B, D] each."""
    displacement = (images - points).square().sum(dim=1).mean()
    return displacement - sinkhorn_cost(points, images, epsilon, max_iterations)


def sinkhorn_cost(left: Tensor, right: Tensor, epsilon: Tensor | float, max_iterations: int) -> Tensor:
    """W_ε = min over plans π of ⟨π, c⟩ + ε KL(π ‖ product), c = ‖x - y‖², of samples [n, D] and [m, D].

    Its gradient is that of ⟨π, c⟩ at the fixed optimal plan (envelope theorem), so no iteration is differentiated.
    """
    import ot  # here, as it takes a second

    costs = squared_distances(left, right)
    size = len(left) * len(right)
    with torch.no_grad():
        plan = ot.bregman.sinkhorn_log(
            costs.new_full((len(left),), 1 / len(left)),
            costs.new_full((len(right),), 1 / len(right)),
            costs,
            float(epsilon),
            numItermax=max_iterations,
            stopThr=MARGINAL_TOLERANCE / len(right) ** 0.5,  # which bounds the L1 norm from the L2 norm
            warn=False,
        )
        divergence = torch.special.xlogy(plan, plan * size).sum()
    return (plan * costs).sum() + epsilon * divergence
