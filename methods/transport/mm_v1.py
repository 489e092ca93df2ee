"""Transport by an input-convex potential whose conjugate is solved for anew at each batch.

Taghvaei, Jalali (2019), "2-Wasserstein approximation via restricted convex potentials with application to improved
training for GANs", arXiv 1902.07197, as the W2 benchmark of Korotin et al. (2021, arXiv 2106.01954) runs it: MMv1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Shape
from methods.parts.benchmark_solver import TwoSidedSolver
from methods.parts.icnn import Potential


class MMv1(TwoSidedSolver):
    """min over convex ψ of E[ψ(X) + ψ*(Y)] and over convex ψ̄ of E[ψ̄(Y) + ψ̄*(X)]; push = ∇ψ and pull = ∇ψ̄.

    ψ*(y) = max over x of ⟨x, y⟩ - ψ(x) is a concave problem, solved by Adam over x. The two potentials do not know of
    each other: the benchmark's code names a cycle weight D and uses it nowhere.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        lr: Adam's learning rate, both potentials.
        conjugate_lr: learning rate of the Adam that solves for the conjugate, from a uniform start in [0, 1]^D.
        conjugate_steps: most iterations of it.
        conjugate_tolerance: it ends once the gradient's root mean square over D, averaged over the batch, is below.
        pretrain_steps: most updates spent on ∇ψ(x) ≈ x before training.
    """

    name = "mm-v1"
    paper = "Taghvaei & Jalali 2019, arXiv 1902.07197"
    summary = "input-convex potentials, their conjugates solved for at each batch"
    check_params: ClassVar[Mapping[str, Any]] = {"conjugate_steps": 50, "pretrain_steps": 100}

    def __init__(
        self,
        shape: Shape,
        *,
        lr: float = 1e-3,
        conjugate_lr: float = 0.1,
        conjugate_steps: int = 1000,
        conjugate_tolerance: float = 1e-3,
        pretrain_steps: int = 5000,
    ) -> None:
        super().__init__(shape, convex=True, reverse=False, lr=lr, pretrain_steps=pretrain_steps)
        self.conjugate_lr = conjugate_lr
        self.conjugate_steps = conjugate_steps
        self.conjugate_tolerance = conjugate_tolerance

    @torch.no_grad()
    def maximizers(self, potential: Potential, points: Tensor, images: Tensor) -> Tensor:
        """To the tolerance, by iterations from a uniform start."""
        found = torch.rand_like(images)
        optimizer = torch.optim.Adam([found], lr=self.conjugate_lr)
        for _ in range(self.conjugate_steps):
            found.grad = potential.gradient(found) - images
            if found.grad.square().mean(dim=1).sqrt().mean() < self.conjugate_tolerance:
                break
            optimizer.step()
        return found
