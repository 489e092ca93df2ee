"""Min-max transport: the conjugate's maximization is a second network's.

The solver MM of Korotin et al. (2021), "Do Neural Optimal Transport Solvers Work? A Continuous Wasserstein-2
Benchmark", arXiv 2106.01954; with `reverse` their MM:R.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Losses, Sampler, Shape
from methods.parts.benchmark_solver import BenchmarkSolver, correlation_and_dual, descend


class MM(BenchmarkSolver):
    """min over ψ, max over ψ̄ of E[ψ(X) + ⟨∇ψ̄(Y), Y⟩ - ψ(∇ψ̄(Y))], with push = ∇ψ and pull = ∇ψ̄.

    The dual of transport is min over ψ of E[ψ(X) + ψ*(Y)] with ψ*(y) = max over x of ⟨x, y⟩ - ψ(x); here ∇ψ̄ proposes
    the maximizing x. An update is one step on ψ, then `inner_steps` on ψ̄, each on a fresh batch of Y. The potentials
    are not convex, so neither map need be optimal on the way. The authors publish the best of the maps they score
    every 100 of 50,001 steps; here, as for every method, the last one counts.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        reverse: whether ψ is of the target and push the inner network's gradient: min-max from the other side.
        inner_steps: updates of ψ̄ for each of ψ.
        lr: Adam's learning rate, both potentials.
        pretrain_steps: most updates spent on ∇ψ(x) ≈ x before training.
    """

    name = "mm"
    paper = "Korotin et al. 2021, arXiv 2106.01954"
    summary = "min-max over two unconstrained potentials"
    check_params: ClassVar[Mapping[str, Any]] = {"inner_steps": 3, "pretrain_steps": 100}
    convex: ClassVar[bool] = False

    def __init__(
        self,
        shape: Shape,
        *,
        reverse: bool = False,
        inner_steps: int = 15,
        lr: float = 1e-3,
        pretrain_steps: int = 5000,
    ) -> None:
        if inner_steps < 1:
            raise ValueError(f"{self.name}: inner_steps is {inner_steps}; it must be at least 1")
        super().__init__(shape, convex=self.convex, reverse=reverse, lr=lr, pretrain_steps=pretrain_steps)
        self.inner_steps = inner_steps

    def prepare(self, source: Sampler, target: Sampler) -> Iterator[Losses]:
        """As in the base; keeps the sampler that inner steps draw from."""
        self.draw_images = source if self.reverse else target
        return super().prepare(source, target)

    def update(self, points: Tensor, images: Tensor) -> Losses:
        """Losses: "dual", an estimate of minus ½W₂² where ψ̄ is near its optimum, and "conjugate", -E[ψ*(Y)]."""
        with torch.no_grad():
            inverses = self.conjugate.gradient(images)
        correlation, dual = correlation_and_dual(self.potential, points, images, inverses)
        descend(correlation, self.potential, self.optimizer)
        for _ in range(self.inner_steps):
            images = self.draw_images(len(points))
            inverses = self.conjugate.gradient(images)
            conjugate = (self.potential(inverses) - (inverses * images).sum(dim=1)).mean()
            descend(conjugate, self.conjugate, self.conjugate_optimizer)
        return {"dual": dual, "conjugate": conjugate.detach()}
