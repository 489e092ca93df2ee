"""Min-max transport whose conjugates are maxima over the batch.

The solver MM-B of Korotin et al. (2021), "Do Neural Optimal Transport Solvers Work?", arXiv 2106.01954. The idea goes
back to Mallasto et al. (2019), "(q,p)-Wasserstein GANs", arXiv 1902.03642.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Shape
from methods.parts.benchmark_solver import TwoSidedSolver
from methods.parts.icnn import Potential


class MMB(TwoSidedSolver):
    """min over ψ of E[ψ(X) + ψ*(Y)] and over ψ̄ of E[ψ̄(Y) + ψ̄*(X)]; push = ∇ψ and pull = ∇ψ̄.

    ψ*(y) = max over x of ⟨x, y⟩ - ψ(x) is taken over the batch's points alone: too small, the more so the higher D,
    which biases the maps. The potentials are not convex and do not know of each other.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        lr: Adam's learning rate, both potentials.
        pretrain_steps: most updates spent on ∇ψ(x) ≈ x before training.
    """

    name = "mm-b"
    paper = "Korotin et al. 2021, arXiv 2106.01954; Mallasto et al. 2019, arXiv 1902.03642"
    summary = "potentials whose conjugates are maxima over the batch"
    check_params: ClassVar[Mapping[str, Any]] = {"pretrain_steps": 100}

    def __init__(self, shape: Shape, *, lr: float = 1e-3, pretrain_steps: int = 5000) -> None:
        super().__init__(shape, convex=False, reverse=False, lr=lr, pretrain_steps=pretrain_steps)

    @torch.no_grad()
    def maximizers(self, potential: Potential, points: Tensor, images: Tensor) -> Tensor:
        """The best of `points`."""
        return points[(images @ points.T - potential(points)).argmax(dim=1)]
