"""Wasserstein-2 generative networks: optimal maps as gradients of input-convex potentials, without minimax.

Korotin, Egiazarian, Asadulaev, Safin, Burnaev (2021), "Wasserstein-2 Generative Networks", arXiv 1909.13082.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from methods.base import Losses, Sampler, Shape, TransportMap
from methods.parts.icnn import DenseICNN


class W2GN(TransportMap):
    """Two convex potentials ψ and ψ̄ with push = ∇ψ and pull = ∇ψ̄.

    ψ minimizes the dual E[ψ(X) + ψ*(Y)] of the transport problem with its conjugate ψ* evaluated at ∇ψ̄(Y); a cycle
    penalty makes the maps inverse to each other, so that no inner maximization is needed. The defaults are those of
    the paper's Gaussians experiment, as in its authors' code.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        hidden: widths of the potentials; None is max(128, D), max(128, D), max(64, D).
        rank: number of squares in each quadratic form of the potentials.
        strong_convexity: modulus m of both potentials: each map stretches every direction by at least m.
        init_std: standard deviation of the initial weights.
        dropout: dropout probability in the potentials.
        cycle_weight: weight λ of each cycle term; None is min(D, 50).
        cycle_source: whether ∇ψ̄(∇ψ(X)) ≈ X is asked for as well as ∇ψ(∇ψ̄(Y)) ≈ Y.
        lr: Adam's learning rate, both potentials.
        adam_beta1, adam_beta2: Adam's decay rates for ψ.
        conjugate_beta1, conjugate_beta2: Adam's decay rates for ψ̄.
        weight_decay: Adam's L2 penalty.
        l1: weight of the L1 norm of all weights in the loss.
        batch_size_pretrain: points in a pretraining batch.
        pretrain_steps: most updates spent on ∇ψ(x) ≈ x before training (0: none).
        pretrain_tolerance: pretraining ends once the mean squared distance of ∇ψ(x) to x is below this.
        pretrain_lr: Adam's learning rate in pretraining (β 0.8, 0.9).
        pretrain_scale: the source is blown up by this factor in pretraining.
    """

    name = "w2gn"
    paper = "Korotin et al. 2021, arXiv 1909.13082"
    summary = "gradients of two input-convex potentials, tied by a cycle penalty"
    family = "OT map"

    def __init__(
        self,
        shape: Shape,
        *,
        hidden: tuple[int, ...] | None = None,
        rank: int = 1,
        strong_convexity: float = 0.05,
        init_std: float = 0.05,
        dropout: float = 0.0,
        cycle_weight: float | None = None,
        cycle_source: bool = True,
        lr: float = 3e-4,
        adam_beta1: float = 0.8,
        adam_beta2: float = 0.99,
        conjugate_beta1: float = 0.4,
        conjugate_beta2: float = 0.4,
        weight_decay: float = 0.0,
        l1: float = 1e-10,
        batch_size_pretrain: int = 256,
        pretrain_steps: int = 10_000,
        pretrain_tolerance: float = 3e-5,
        pretrain_lr: float = 1e-3,
        pretrain_scale: float = 3.0,
    ) -> None:
        super().__init__(shape)
        dim = self.dim
        widths = hidden or (max(128, dim), max(128, dim), max(64, dim))

        def potential() -> DenseICNN:
            return DenseICNN(
                dim, widths, rank=rank, strong_convexity=strong_convexity, init_std=init_std, dropout=dropout
            )

        self.potential = potential()
        self.conjugate = potential()
        self.conjugate.load_state_dict(self.potential.state_dict())
        self.cycle_weight = min(dim, 50) if cycle_weight is None else cycle_weight
        self.cycle_source = cycle_source
        self.l1 = l1
        self.batch_size_pretrain = batch_size_pretrain
        self.pretrain_steps = pretrain_steps
        self.pretrain_tolerance = pretrain_tolerance
        self.pretrain_lr = pretrain_lr
        self.pretrain_scale = pretrain_scale
        self.weight_decay = weight_decay
        self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=lr, betas=betas, weight_decay=weight_decay)
            for network, betas in (
                (self.potential, (adam_beta1, adam_beta2)),
                (self.conjugate, (conjugate_beta1, conjugate_beta2)),
            )
        ]

    def push(self, points: Tensor) -> Tensor:
        return self.potential.gradient(points).detach()

    def pull(self, points: Tensor) -> Tensor:
        return self.conjugate.gradient(points).detach()

    def prepare(self, source: Sampler, target: Sampler) -> Iterator[Losses]:
        """Trains ψ until ∇ψ is the identity on the blown-up source, and starts ψ̄ as its copy."""
        optimizer = torch.optim.Adam(
            self.potential.parameters(), lr=self.pretrain_lr, betas=(0.8, 0.9), weight_decay=self.weight_decay
        )
        for _ in range(self.pretrain_steps):
            points = self.pretrain_scale * source(self.batch_size_pretrain)
            residual = (self.potential.gradient(points) - points).square().sum(dim=1).mean()
            optimizer.zero_grad()
            (residual + self._l1_penalty(self.potential)).backward()
            optimizer.step()
            self.potential.clamp_weights()
            yield {"identity": residual.detach()}
            if residual.item() < self.pretrain_tolerance:
                break
        self.conjugate.load_state_dict(self.potential.state_dict())

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        """One update of both potentials; losses: "loss", its parts "dual" and "cycle".

        "dual" adds to the correlation E[ψ(X) - ψ(Y⁻)] the terms without gradient that make it an estimate of
        minus the squared Wasserstein-2 distance (with ½-cost): E[⟨Y⁻, Y⟩ - ½‖X‖² - ½‖Y‖²].
        """
        inverse = self.conjugate.gradient(target_points)
        fixed_inverse = inverse.detach()
        values, pushed = self.potential.value_and_gradient(source_points)
        correlation = values.mean() - self.potential(fixed_inverse).mean()
        cycle = mse_loss(self.potential.gradient(inverse), target_points)
        if self.cycle_source:
            cycle = cycle + mse_loss(self.conjugate.gradient(pushed), source_points)
        loss = correlation + self.cycle_weight * cycle
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        (loss + self._l1_penalty(self.potential) + self._l1_penalty(self.conjugate)).backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.potential.clamp_weights()
        self.conjugate.clamp_weights()

        with torch.no_grad():
            fixed_terms = (
                (fixed_inverse * target_points).sum(dim=1)
                - 0.5 * source_points.square().sum(dim=1)
                - 0.5 * target_points.square().sum(dim=1)
            ).mean()
        dual = correlation.detach() + fixed_terms
        return {"loss": dual + self.cycle_weight * cycle.detach(), "dual": dual, "cycle": cycle.detach()}

    def _l1_penalty(self, network: DenseICNN) -> Tensor:
        return self.l1 * torch.stack([weight.abs().sum() for weight in network.parameters()]).sum()
