"""Transport by one potential whose conjugate is solved for at each batch, from where a network predicts its solution.

Amos (2023), "On amortizing convex optimal transport", arXiv 2210.12153.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from methods.base import Losses, Sampler, Shape, TransportMap
from methods.parts.conjugate import LBFGS, conjugate_points
from methods.parts.icnn import DenseICNN, Potential
from methods.parts.mlp import DensePotential, ResidualMLP
from methods.parts.optimization import adam, cosine_decay, set_learning_rate, update

PRETRAINING_BOUND = 5.0
"""Both networks learn the identity on the cube of this half-width, as for the authors' W2 benchmark."""
PRETRAINING_LR = 1e-3
PRETRAINING_TOLERANCE = 1e-6
INVERSE = LBFGS(tolerance=1e-5)


class AmortizedConjugate(TransportMap):
    """A potential f with push = ∇f, which minimizes the dual E[f(X)] + E[f*(Y)] of the transport problem.

    f*(y) = max_x ⟨x, y⟩ - f(x). A network h predicts the maximizer, L-BFGS started from h(Y) finds it, and with

        X̂ = argmax_x ⟨x, Y⟩ - f(x)   held fixed (envelope theorem),

    f descends E[f(X) - f(X̂)] and h descends E‖h(Y) - X̂‖² ("regression") or E[f(h(Y)) - ⟨h(Y), Y⟩] ("objective").
    pull(y) is the maximizer for y: the inverse of ∇f where f is convex. The defaults are the paper's best setting on
    the W2 benchmark, where it is trained for 250,001 updates on batches of 1024.

    Theirs is Adam with a weight decay of 1e-4, and their inverse is solved to the tolerance of training, where ours is
    more precise. Their line search tries powers of ⅔; this one shortens steps by the secant rule. Their third
    amortization, the cycle loss, is W2GN's, which is a method of its own.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        potential: "mlp" is not held convex, and the paper's better choice; "icnn" is DenseICNN.
        hidden: widths of f; None is 2b, 2b, b with b = max(D, 32).
        amortization: loss of h.
        amortizer_hidden: widths of h; None is as for f.
        lr: learning rate of Adam, both networks, at the start of a cosine decay over the planned steps.
        lr_floor: share of the learning rate at the end.
        adam_beta1, adam_beta2: Adam's decay rates.
        tolerance: in training, L-BFGS is done with a point once no entry of ∇f(x) - y is larger.
        max_iterations: iterations of L-BFGS in training at most.
        finetune: whether pull refines h's prediction by L-BFGS, to 1e-5 in at most 100 iterations.
        pretrain_steps: most updates spent on ∇f(x) ≈ x and h(x) ≈ x before training.
        batch_size_pretrain: points in a pretraining batch.
    """

    name = "amortized-conjugate"
    paper = "Amos 2023, arXiv 2210.12153"
    summary = "a potential whose conjugate is predicted by a network and solved to the end by L-BFGS"
    family = "OT map"
    check_params: ClassVar[Mapping[str, Any]] = {"lr": 5e-3, "pretrain_steps": 200, "batch_size_pretrain": 64}

    def __init__(
        self,
        shape: Shape,
        *,
        potential: Literal["mlp", "icnn"] = "mlp",
        hidden: tuple[int, ...] | None = None,
        amortization: Literal["regression", "objective"] = "regression",
        amortizer_hidden: tuple[int, ...] | None = None,
        lr: float = 5e-4,
        lr_floor: float = 1e-4,
        adam_beta1: float = 0.5,
        adam_beta2: float = 0.5,
        tolerance: float = 1e-3,
        max_iterations: int = 100,
        finetune: bool = True,
        pretrain_steps: int = 10_001,
        batch_size_pretrain: int = 1024,
    ) -> None:
        super().__init__(shape)
        base = max(self.dim, 32)
        widths = (2 * base, 2 * base, base)
        self.amortization = amortization
        self.finetune = finetune
        self.lr, self.lr_floor = lr, lr_floor
        self.pretrain_steps, self.batch_size_pretrain = pretrain_steps, batch_size_pretrain
        self.solver = LBFGS(tolerance=tolerance, max_iterations=max_iterations)
        self.potential: Potential = _POTENTIALS[potential](self.dim, widths if hidden is None else hidden)
        self.amortizer = ResidualMLP(self.dim, widths if amortizer_hidden is None else amortizer_hidden, nn.ELU)
        betas = (adam_beta1, adam_beta2)
        self.potential_optimizer = adam(self.potential.parameters(), lr=lr, betas=betas)
        self.amortizer_optimizer = adam(self.amortizer.parameters(), lr=lr, betas=betas)
        self.steps_taken = 0

    def push(self, points: Tensor) -> Tensor:
        return self.potential.gradient(points).detach()

    def pull(self, points: Tensor) -> Tensor:
        predicted = self.amortizer(points)
        if not self.finetune:
            return predicted
        return conjugate_points(self.potential.value_and_gradient, points, predicted, INVERSE)[0]

    def prepare(self, source: Sampler, target: Sampler) -> Iterator[Losses]:
        """Trains ∇f and h to be the identity, on uniform points."""
        networks = [*self.potential.parameters(), *self.amortizer.parameters()]
        optimizer = adam(networks, lr=PRETRAINING_LR)
        for _ in range(self.pretrain_steps):
            points = torch.rand(self.batch_size_pretrain, self.dim, device=networks[0].device)
            points = PRETRAINING_BOUND * (2 * points - 1)
            errors = self.potential.gradient(points) - points, self.amortizer(points) - points
            identity, amortizer_identity = (error.square().sum(dim=1).mean() for error in errors)
            update(optimizer, identity + amortizer_identity)
            self.potential.clamp_weights()
            yield {"identity": identity.detach(), "amortizer identity": amortizer_identity.detach()}
            if max(identity.item(), amortizer_identity.item()) < PRETRAINING_TOLERANCE:
                break

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        factor = cosine_decay(self.steps_taken, self.planned_steps, self.lr_floor)
        self.steps_taken += 1
        set_learning_rate(self.potential_optimizer, self.lr * factor)
        set_learning_rate(self.amortizer_optimizer, self.lr * factor)

        predicted = self.amortizer(target_points)
        maximizers, iterations = conjugate_points(
            self.potential.value_and_gradient, target_points, predicted.detach(), self.solver
        )
        if self.amortization == "regression":
            amortization = (predicted - maximizers).square().mean()
        else:
            amortization = (self.potential(predicted) - (predicted * target_points).sum(dim=1)).mean()
        update(self.amortizer_optimizer, amortization)

        correlation = self.potential(source_points).mean() - self.potential(maximizers).mean()
        update(self.potential_optimizer, correlation)
        self.potential.clamp_weights()
        dual = correlation.detach() + (maximizers * target_points).sum(dim=1).mean()
        return {
            "dual": dual,
            "amortization": amortization.detach(),
            "iterations": torch.tensor(float(iterations)),
        }


def _dense_icnn(dim: int, hidden: tuple[int, ...]) -> Potential:
    """Of the strong convexity and initialization that the W2 benchmark gives its solvers."""
    return DenseICNN(dim, hidden, strong_convexity=1e-4, init_std=0.1)


_POTENTIALS = {"mlp": DensePotential, "icnn": _dense_icnn}
