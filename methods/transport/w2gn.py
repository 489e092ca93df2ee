"""Wasserstein-2 generative networks: optimal maps as gradients of input-convex potentials, without minimax.

Korotin, Egiazarian, Asadulaev, Safin, Burnaev (2021), "Wasserstein-2 Generative Networks", arXiv 1909.13082.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from methods.base import Losses, Shape
from methods.parts.conv_icnn import ConvICNN
from methods.parts.icnn import DenseICNN, Potential
from methods.parts.optimization import adam
from methods.parts.potentials import Noise, PotentialPair, Pretraining, PretrainingOptimizer, benchmark_widths

WIDTHS = {
    "gaussians": lambda dim: (max(128, dim), max(128, dim), max(64, dim)),
    "benchmark": benchmark_widths,
}


class W2GN(PotentialPair):
    """Two convex potentials ψ and ψ̄ with push = ∇ψ and pull = ∇ψ̄.

        min over ψ, ψ̄ of E[ψ(X) - ψ(Y⁻)] + λ (E‖∇ψ(∇ψ̄(Y)) - Y‖² + E‖∇ψ̄(∇ψ(X)) - X‖²) / D,  Y⁻ = ∇ψ̄(Y) held fixed

    The first term has the gradient of the dual E[ψ(X) + ψ*(Y)] of the transport problem where Y⁻ maximizes
    ⟨Y, ·⟩ - ψ; that it does, which makes the maps inverse to each other, is what the cycle terms ask for, so that no
    inner maximization is needed (paper, equation 9 and Algorithm 1). The defaults are those of the paper's Gaussians
    experiment, as in its authors' code. Beside theirs, pretraining has no L1 term, and in the code of the
    style-transfer experiment ψ̄ is not the copy of ψ that the other experiments and the paper start from.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        network: fully connected potentials, or convolutional ones where points are images.
        hidden: widths of dense potentials; "gaussians" are those of the Gaussians experiment, max(128, D), max(128, D),
            max(64, D), and "benchmark" those of the W2 benchmark (arXiv 2106.01954), max(2D, 64), max(2D, 64),
            max(D, 32).
        rank: number of squares in each quadratic form of dense potentials.
        width: channels of convolutional potentials.
        strong_convexity: modulus m of both potentials: each map stretches every direction by at least m.
        init_std: standard deviation of the initial weights.
        dropout: dropout probability in the potentials.
        cycle_weight: weight λ of each cycle term; "dim" is D, "dim-up-to-50" is min(D, 50).
        cycle_source: whether ∇ψ̄(∇ψ(X)) ≈ X is asked for as well as ∇ψ(∇ψ̄(Y)) ≈ Y.
        reverse: whether the roles of source and target are exchanged, potentials and all (W2:R of arXiv 2106.01954).
        lr: Adam's learning rate, both potentials.
        adam_beta1, adam_beta2: Adam's decay rates for ψ.
        conjugate_beta1, conjugate_beta2: Adam's decay rates for ψ̄.
        weight_decay: Adam's L2 penalty.
        l1: weight of the L1 norm of all weights in the loss.
        batch_size_pretrain: points in a pretraining batch.
        pretrain_steps: most updates spent on ∇ψ(x) ≈ x before training (0: none).
        pretrain_tolerance: pretraining ends once the mean squared error of ∇ψ(x), over all entries, is below this;
            None is 3e-5 / D.
        pretrain_optimizer: what descends that error.
        pretrain_lr: its learning rate.
        pretrain_beta1, pretrain_beta2: its decay rates.
        pretrain_points: draws of the source (of the target, if `reverse`), of N(0, I), or of U[0, 1]^D.
        pretrain_scale: they are blown up by this factor, the cube about its center.

    Raises:
        ValueError: convolutional potentials of points that are no images.
    """

    name = "w2gn"
    version = 3
    paper = "Korotin et al. 2021, arXiv 1909.13082"
    summary = "gradients of two input-convex potentials, tied by a cycle penalty"
    check_params: ClassVar[Mapping[str, Any]] = {"hidden": (32, 32), "width": 8, "pretrain_steps": 20}

    def __init__(
        self,
        shape: Shape,
        *,
        network: Literal["dense", "conv"] = "dense",
        hidden: tuple[int, ...] | Literal["gaussians", "benchmark"] = "gaussians",
        rank: int = 1,
        width: int = 128,
        strong_convexity: float = 0.05,
        init_std: float = 0.05,
        dropout: float = 0.0,
        cycle_weight: float | Literal["dim", "dim-up-to-50"] = "dim-up-to-50",
        cycle_source: bool = True,
        reverse: bool = False,
        lr: float = 3e-4,
        adam_beta1: float = 0.8,
        adam_beta2: float = 0.99,
        conjugate_beta1: float = 0.4,
        conjugate_beta2: float = 0.4,
        weight_decay: float = 0.0,
        l1: float = 1e-10,
        batch_size_pretrain: int = 256,
        pretrain_steps: int = 10_000,
        pretrain_tolerance: float | None = None,
        pretrain_optimizer: PretrainingOptimizer = "adam",
        pretrain_lr: float = 1e-3,
        pretrain_beta1: float = 0.8,
        pretrain_beta2: float = 0.9,
        pretrain_points: Noise = "source",
        pretrain_scale: float = 3.0,
    ) -> None:
        dim = shape if isinstance(shape, int) else math.prod(shape)

        def potential() -> Potential:
            if network == "dense":
                widths = WIDTHS[hidden](dim) if isinstance(hidden, str) else hidden
                return DenseICNN(
                    dim, widths, rank=rank, strong_convexity=strong_convexity, init_std=init_std, dropout=dropout
                )
            if isinstance(shape, int):
                raise ValueError(
                    f'w2gn: network = "conv" needs points that are images, and these are vectors of {shape} numbers; '
                    'use network = "dense", or a pair of images'
                )
            return ConvICNN(shape, width=width, strong_convexity=strong_convexity, init_std=init_std, dropout=dropout)

        if rank < 1 or not 0 <= dropout < 1:
            raise ValueError(f"w2gn: rank is {rank} and dropout {dropout}; they must be at least 1, and within [0, 1)")
        super().__init__(
            shape,
            potential,
            reverse=reverse,
            pretraining=Pretraining(
                steps=pretrain_steps,
                tolerance=3e-5 / dim if pretrain_tolerance is None else pretrain_tolerance,
                batch_size=batch_size_pretrain,
                optimizer=pretrain_optimizer,
                lr=pretrain_lr,
                betas=(pretrain_beta1, pretrain_beta2),
                weight_decay=weight_decay,
                points=pretrain_points,
                scale=pretrain_scale,
            ),
        )
        weights = {"dim": float(dim), "dim-up-to-50": float(min(dim, 50))}
        self.cycle_weight = weights[cycle_weight] if isinstance(cycle_weight, str) else cycle_weight
        self.cycle_source = cycle_source
        self.l1 = l1
        betas = (adam_beta1, adam_beta2), (conjugate_beta1, conjugate_beta2)
        networks = self.potential, self.conjugate
        groups = [
            {"params": network.parameters(), "betas": pair} for network, pair in zip(networks, betas, strict=True)
        ]
        self.optimizer = adam(groups, lr=lr, weight_decay=weight_decay)

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        return [self.optimizer]

    def pair_objective(self, points: Tensor, images: Tensor) -> Losses:
        """Losses: "loss", its parts "dual" and "cycle".

        "dual" adds to the correlation E[ψ(X) - ψ(Y⁻)] the terms without gradient that make it an estimate of
        minus the squared Wasserstein-2 distance (with ½-cost): E[⟨Y⁻, Y⟩ - ½‖X‖² - ½‖Y‖²].
        """
        inverse = self.conjugate.gradient(images)
        fixed_inverse = inverse.detach()
        values, pushed = self.potential.value_and_gradient(points)
        inverse_values, returned = self.potential.value_and_gradient(inverse)
        # The derivative of ψ by Y⁻ is taken off, so that Y⁻ is fixed here and may move where it is mapped back.
        inverse_values = inverse_values - ((inverse - fixed_inverse) * returned.detach()).sum(dim=1)
        correlation = values.mean() - inverse_values.mean()
        cycle = mse_loss(returned, images)
        if self.cycle_source:
            cycle = cycle + mse_loss(self.conjugate.gradient(pushed), points)
        l1 = torch.stack([weight.abs().sum() for weight in self.parameters()]).sum()
        descended = correlation + self.cycle_weight * cycle + self.l1 * l1
        with torch.no_grad():
            fixed_terms = (
                (fixed_inverse * images).sum(dim=1)
                - 0.5 * points.square().sum(dim=1)
                - 0.5 * images.square().sum(dim=1)
            ).mean()
        dual = correlation.detach() + fixed_terms
        # What is shown estimates -W₂² and leaves the L1 term out; its gradient is that of what is descended.
        loss = dual + self.cycle_weight * cycle.detach() + (descended - descended.detach())
        return {"loss": loss, "dual": dual, "cycle": cycle.detach()}
