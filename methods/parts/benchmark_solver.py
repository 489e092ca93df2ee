"""What the solvers that Korotin et al. compare in "Do Neural Optimal Transport Solvers Work?" have in common.

The W2 benchmark (2021, arXiv 2106.01954) gives every solver the same potentials, the same start and the same Adam.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.base import Losses, Shape
from methods.parts.icnn import Potential
from methods.parts.optimization import adam
from methods.parts.potentials import PotentialPair, Pretraining, benchmark_potential


class BenchmarkSolver(PotentialPair):
    """Two benchmark potentials that start as the identity, each with an Adam of its own (β 0.9, 0.999).

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        convex: whether the potentials are held input-convex.
        reverse: whether the roles of source and target are exchanged.
        lr: Adam's learning rate, both potentials.
        pretrain_steps: most updates spent on ∇ψ(x) ≈ x before training.
    """

    def __init__(self, shape: Shape, *, convex: bool, reverse: bool, lr: float, pretrain_steps: int) -> None:
        super().__init__(
            shape,
            lambda: benchmark_potential(self.dim, convex=convex),
            reverse=reverse,
            pretraining=Pretraining(steps=pretrain_steps),
        )
        self.optimizer = adam(self.potential.parameters(), lr=lr)
        self.conjugate_optimizer = adam(self.conjugate.parameters(), lr=lr)

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        return self.update(*self.sides(source_points, target_points))

    def update(self, points: Tensor, images: Tensor) -> Losses:
        """One update of both potentials: ψ is of `points`, ψ̄ of `images`, independent batches [B, D]."""
        raise NotImplementedError


class TwoSidedSolver(BenchmarkSolver):
    """min over ψ of E[ψ(X) + ψ*(Y)] and, apart from it, min over ψ̄ of E[ψ̄(Y) + ψ̄*(X)].

    A subclass says how the conjugate's maximum is found. Neither potential knows of the other.
    """

    def update(self, points: Tensor, images: Tensor) -> Losses:
        """Losses: "dual", an estimate of minus ½W₂², the mean of the two sides'."""
        duals = []
        for potential, optimizer, near, far in (
            (self.potential, self.optimizer, points, images),
            (self.conjugate, self.conjugate_optimizer, images, points),
        ):
            correlation, dual = correlation_and_dual(potential, near, far, self.maximizers(potential, near, far))
            descend(correlation, potential, optimizer)
            duals.append(dual)
        return {"dual": torch.stack(duals).mean()}

    def maximizers(self, potential: Potential, points: Tensor, images: Tensor) -> Tensor:
        """The x of max ⟨x, y⟩ - ψ(x) for each row y of `images` [B, D], where ψ is of `points`: -> [B, D]."""
        raise NotImplementedError


def descend(loss: Tensor, potential: Potential, optimizer: torch.optim.Optimizer) -> None:
    """One update of a potential alone, whatever else the loss depends on; then its weights are clamped."""
    optimizer.zero_grad()
    loss.backward(inputs=list(potential.parameters()))
    optimizer.step()
    potential.clamp_weights()


def correlation_and_dual(
    potential: Potential, points: Tensor, images: Tensor, inverses: Tensor
) -> tuple[Tensor, Tensor]:
    """What a min-max solver descends in ψ, and the dual it estimates.

    `inverses` are points Y⁻ near the maximizers of ⟨x, Y⟩ - ψ(x), so that ⟨Y⁻, Y⟩ - ψ(Y⁻) stands for ψ*(Y). By the
    envelope theorem they are constants to ψ. X are `points`, Y `images`; all are [B, D].

    Returns:
        E[ψ(X) - ψ(Y⁻)], with gradient, and E[ψ(X) + ψ*(Y) - ½‖X‖² - ½‖Y‖²], without, which is at least minus half the
        squared Wasserstein-2 distance where the maximizers are exact.
    """
    inverses = inverses.detach()
    correlation = potential(points).mean() - potential(inverses).mean()
    fixed = (inverses * images).sum(dim=1).mean() - 0.5 * (points.square() + images.square()).sum(dim=1).mean()
    return correlation, correlation.detach() + fixed
