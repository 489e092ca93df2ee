"""Large-scale optimal transport: a regularized plan from two dual networks, then a map by barycentric projection.

Seguy, Damodaran, Flamary, Courty, Rolet, Blondel (2018), "Large-Scale Optimal Transport and Mapping Estimation",
arXiv 1711.02283.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from methods.base import Losses, Shape, TransportMap

LINEAR_FROM = 30.0
"""Beyond this exponent exp is continued by its tangent: single precision overflows, and Adam squares gradients."""


class LSOT(TransportMap):
    """Stochastic ascent of the regularized dual in u and v (paper, Algorithm 1), then push = f (Algorithm 2).

    Cost c(x, y) = ‖x - y‖². Every pair of a batch counts. There is no inverse. The defaults are those of the authors'
    code, though no program of theirs has just this combination: networks, Adam with the AMSGrad correction, its lr and
    equal stages are of the script that takes the unsquared distance, ε is of the README's, which has the squared one.
    The settings behind the row that Korotin et al. (2021) tabulate for Gaussians in D dimensions are not in their code.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        regularization: "l2" penalizes the plan's squared density, "entropic" its entropy.
        epsilon: strength ε of the regularization, in units of the cost.
        potential_hidden: widths of the ReLU networks u and v.
        map_hidden: widths of the ReLU network f.
        dual_share: share of the planned steps spent on the dual; the rest trains the map.
        lr: Adam's learning rate, both stages.
    """

    name = "lsot"
    paper = "Seguy et al. 2018, arXiv 1711.02283"
    summary = "regularized dual in two networks, then a map by barycentric projection"
    family = "OT map"

    def __init__(
        self,
        shape: Shape,
        *,
        regularization: Literal["l2", "entropic"] = "l2",
        epsilon: float = 0.02,
        potential_hidden: tuple[int, ...] = (128, 256, 128),
        map_hidden: tuple[int, ...] = (128,),
        dual_share: float = 0.5,
        lr: float = 1e-3,
    ) -> None:
        super().__init__(shape)
        dim = self.dim
        if epsilon <= 0:
            raise ValueError(f"lsot: epsilon is {epsilon}; it must be positive")
        if not 0 < dual_share < 1:
            raise ValueError(f"lsot: dual_share is {dual_share}; both stages need steps, so it must lie within (0, 1)")
        self.regularization = regularization
        self.epsilon = epsilon
        self.dual_share = dual_share
        self.source_potential = _relu_network(dim, *potential_hidden, 1)
        self.target_potential = _relu_network(dim, *potential_hidden, 1)
        self.map = _relu_network(dim, *map_hidden, dim)
        duals = [*self.source_potential.parameters(), *self.target_potential.parameters()]
        self.dual_optimizer = torch.optim.Adam(duals, lr=lr, amsgrad=True)
        self.map_optimizer = torch.optim.Adam(self.map.parameters(), lr=lr, amsgrad=True)
        self.steps_taken = 0

    def push(self, points: Tensor) -> Tensor:
        return self.map(points)

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        """One update of u and v ("dual", the negated objective) or, once theirs are spent, of f ("map")."""
        training_dual = self.steps_taken < self.dual_share * self.planned_steps
        self.steps_taken += 1
        if training_dual:
            return self._dual_step(source_points, target_points)
        return self._map_step(source_points, target_points)

    def _dual_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        """Ascends E[u(X) + v(Y)] - E[F(s(X, Y))]."""
        u, v, slack = self._slack(source_points, target_points)
        loss = self.penalty(slack).mean() - u.mean() - v.mean()
        self.dual_optimizer.zero_grad()
        loss.backward()
        self.dual_optimizer.step()
        return {"dual": loss.detach()}

    def _map_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        """Descends E[H(X, Y) ‖f(X) - Y‖²] with H = F'(s) the density of the plan."""
        with torch.no_grad():
            density = self.density(self._slack(source_points, target_points)[2])
        loss = (density * _squared_distances(self.map(source_points), target_points)).mean()
        self.map_optimizer.zero_grad()
        loss.backward()
        self.map_optimizer.step()
        return {"map": loss.detach()}

    def _slack(self, source_points: Tensor, target_points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """u [B, 1], v [1, B'] and s = u + v - c of all pairs, [B, B']."""
        u, v = self.source_potential(source_points), self.target_potential(target_points).T
        return u, v, u + v - _squared_distances(source_points, target_points)

    def penalty(self, slack: Tensor) -> Tensor:
        """F(s): s₊²/(4ε) or ε exp(s/ε), entry by entry."""
        if self.regularization == "l2":
            return slack.clamp(min=0).square() / (4 * self.epsilon)
        exponent = slack / self.epsilon
        capped = exponent.clamp(max=LINEAR_FROM)
        return self.epsilon * capped.exp() * (1 + exponent - capped)

    def density(self, slack: Tensor) -> Tensor:
        """H(s) = F'(s): s₊/(2ε) or exp(s/ε), entry by entry."""
        if self.regularization == "l2":
            return slack.clamp(min=0) / (2 * self.epsilon)
        return (slack / self.epsilon).clamp(max=LINEAR_FROM).exp()


def _relu_network(*widths: int) -> nn.Sequential:
    """Fully connected, ReLU between layers."""
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(widths):
        layers += [nn.Linear(narrow, wide), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """‖leftᵢ - rightⱼ‖², [B, D] and [B', D] -> [B, B']."""
    squares = left.square().sum(dim=1, keepdim=True) + right.square().sum(dim=1)
    return squares - 2 * left @ right.T
