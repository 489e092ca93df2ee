"""Neural optimal transport with potentials tied together by an expectile regularizer.

Buzun, Bobrin, Dylov (2024), "ENOT: Expectile Regularization for Fast and Accurate Training of Neural Optimal
Transport", arXiv 2403.03777.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Losses, Shape
from methods.parts.icnn import Potential
from methods.parts.mlp import DensePotential
from methods.parts.optimization import adam, cosine_decay, set_learning_rate
from methods.parts.potentials import PotentialPair, Pretraining


class ExpectileNOT(PotentialPair):
    """Two potentials with push = ∇ψ and pull = ∇ψ̄, trained by turns as the map and as the dual variable.

    In an update with ∇ψ as map (paper, Algorithm 1, for the cost -⟨x, y⟩), ψ̄ and ψ descend

        ψ̄:  E[ψ̄(Y) + ⟨X, Ŷ⟩ - ψ̄(Ŷ)] + λ E L_τ(⟨X, Y⟩ - ψ̄(Y) - ⟨X, Ŷ⟩ + ψ̄(Ŷ)),   Ŷ = ∇ψ(X) held fixed
        ψ:   E[ψ̄(∇ψ(X)) - ⟨X, ∇ψ(X)⟩],                                                ψ̄ held fixed

    with L_τ(u) = τ u² for u >= 0 and (1 - τ) u² below. ⟨X, Ŷ⟩ - ψ̄(Ŷ) is an estimate of ψ̄*(X) from below; the
    expectile of ⟨X, Y⟩ - ψ̄(Y) over Y at τ near 1 is near its maximum, which is ψ̄*(X), and the regularizer holds the
    two together. In the next update source and target change places.

    The authors' code regularizes by two such terms, each with a gradient of its own through one of the two potential
    values; the sum of these gradients is that of the one term here. The networks are ELU networks plus a quadratic as
    of `amortized-conjugate`, whose last activation and learned curvature the authors' have not, and start alike,
    where theirs start apart. Defaults are those of their script for the W2 benchmark at D = 64 (batch 1024, 300,001
    updates), where τ = 1.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        hidden: widths of the potentials.
        expectile: τ, from ½ (squared error) to 1 (only violations of ⟨x, y⟩ <= ψ̄(y) + ψ̄*(x) count).
        expectile_weight: λ.
        lr: Adam's learning rate, both potentials, at the start of a cosine decay over the planned steps.
        lr_floor: share of the learning rate at the end.
        adam_beta1, adam_beta2: Adam's decay rates.
    """

    name = "expectile-not"
    paper = "Buzun et al. 2024, arXiv 2403.03777"
    summary = "two potentials by turns map and dual variable, tied by an expectile regularizer"
    check_params: ClassVar[Mapping[str, Any]] = {"hidden": (32, 32), "lr": 5e-3}

    def __init__(
        self,
        shape: Shape,
        *,
        hidden: tuple[int, ...] = (512, 512, 512),
        expectile: float = 1.0,
        expectile_weight: float = 0.5,
        lr: float = 5e-4,
        lr_floor: float = 1e-2,
        adam_beta1: float = 0.9,
        adam_beta2: float = 0.99,
    ) -> None:
        if not 0.5 <= expectile <= 1:
            raise ValueError(f"expectile-not: expectile is {expectile}; it must lie within [0.5, 1]")
        super().__init__(
            shape, lambda: DensePotential(self.dim, hidden), reverse=False, pretraining=Pretraining(steps=0)
        )
        self.expectile = expectile
        self.expectile_weight = expectile_weight
        self.lr, self.lr_floor = lr, lr_floor
        betas = (adam_beta1, adam_beta2)
        self.optimizer = adam(self.potential.parameters(), lr=lr, betas=betas)
        self.conjugate_optimizer = adam(self.conjugate.parameters(), lr=lr, betas=betas)
        self.steps_taken = 0

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        points, images = self.sides(source_points, target_points)
        factor = cosine_decay(self.steps_taken, self.planned_steps, self.lr_floor)
        for optimizer in (self.optimizer, self.conjugate_optimizer):
            set_learning_rate(optimizer, self.lr * factor)
        forward = self.steps_taken % 2 == 0
        self.steps_taken += 1
        if forward:
            return self._turn(self.potential, self.conjugate, points, images)
        return self._turn(self.conjugate, self.potential, images, points)

    def _turn(self, mapping: Potential, dual: Potential, points: Tensor, images: Tensor) -> Losses:
        """One update of the potential whose gradient maps `points` to `images`, and of the other as dual variable."""
        mapped = mapping.gradient(points)
        fixed = mapped.detach()
        dual_values = dual(images)
        conjugate_values = (points * fixed).sum(dim=1) - dual(fixed)
        excess = (points * images).sum(dim=1) - dual_values - conjugate_values
        penalty = expectile_loss(excess, self.expectile).mean()
        dual_loss = (dual_values + conjugate_values).mean() + self.expectile_weight * penalty
        map_loss = (dual(mapped) - (points * mapped).sum(dim=1)).mean()

        self.optimizer.zero_grad()
        self.conjugate_optimizer.zero_grad()
        dual_loss.backward(inputs=list(dual.parameters()))
        map_loss.backward(inputs=list(mapping.parameters()))
        self.optimizer.step()
        self.conjugate_optimizer.step()
        return {"dual": dual_loss.detach(), "map": map_loss.detach(), "expectile": penalty.detach()}


def expectile_loss(residuals: Tensor, expectile: float) -> Tensor:
    """τ u² where u >= 0 and (1 - τ) u² below, entry by entry: its mean's minimum in an offset is the τ-expectile."""
    return torch.where(residuals >= 0, expectile, 1 - expectile) * residuals.square()
