"""Transport by two potentials: what solvers share whose maps are the gradients ∇ψ and ∇ψ̄."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.base import Losses, Sampler, Shape, TransportMap, Unsupported
from methods.parts.icnn import DenseICNN, Potential
from methods.parts.optimization import adam

Noise = Literal["normal", "uniform", "source"]
PretrainingOptimizer = Literal["adam", "adamax"]


@dataclass(frozen=True)
class Pretraining:
    """How ψ is made to start as ∇ψ(x) ≈ x, after which ψ̄ is its copy.

    steps: most updates (0: none). tolerance: it ends once the mean squared error, over all entries, is below this.
    lr, betas, weight_decay: the optimizer's. points: draws of N(0, I), of the uniform distribution on [0, 1]^D, or of
    ψ's side of the pair. scale: they are blown up by this factor, about the center of the cube where they fill it.
    """

    steps: int = 5000
    tolerance: float = 1e-3
    batch_size: int = 1024
    optimizer: PretrainingOptimizer = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-10
    points: Noise = "normal"
    scale: float = 3.0


class PotentialPair(TransportMap):
    """Potentials ψ, of the source, and ψ̄, of the target, with push = ∇ψ and pull = ∇ψ̄.

    Solvers treat the two sides differently. A subclass writes `pair_objective`, or `train_step` with `sides`, for ψ on
    the source's side; `reverse` solves from the target to the source instead, and pushes with the gradient that then is
    the inverse.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        network: makes a potential; it is called twice.
        reverse: whether the roles of source and target are exchanged.
        pretraining: see there.
    """

    family = "OT map"

    def __init__(
        self, shape: Shape, network: Callable[[], Potential], *, reverse: bool, pretraining: Pretraining
    ) -> None:
        super().__init__(shape)
        self.reverse = reverse
        self.pretraining = pretraining
        self.potential, self.conjugate = network(), network()
        self.conjugate.load_state_dict(self.potential.state_dict())

    def push(self, points: Tensor) -> Tensor:
        return (self.conjugate if self.reverse else self.potential).gradient(points).detach()

    def pull(self, points: Tensor) -> Tensor:
        return (self.potential if self.reverse else self.conjugate).gradient(points).detach()

    def prepare(self, source: Sampler, target: Sampler) -> Iterator[Losses]:
        """Trains ψ until ∇ψ is the identity, and starts ψ̄ as its copy."""
        settings = self.pretraining
        optimizers: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": adam, "adamax": torch.optim.Adamax}
        optimizer = optimizers[settings.optimizer](
            self.potential.parameters(), lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
        )
        for _ in range(settings.steps):
            points = self._pretraining_points(target if self.reverse else source)
            loss = (self.potential.gradient(points) - points).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.potential.clamp_weights()
            yield {"identity": loss.detach()}
            if loss.item() < settings.tolerance:
                break
        self.conjugate.load_state_dict(self.potential.state_dict())

    def _pretraining_points(self, side: Sampler) -> Tensor:
        """[B, D], of what `pretraining` says."""
        settings = self.pretraining
        if settings.points == "source":
            return settings.scale * side(settings.batch_size)
        like = next(self.parameters())
        points = torch.empty(settings.batch_size, self.dim, dtype=like.dtype, device=like.device)
        if settings.points == "normal":
            return settings.scale * points.normal_()
        return 0.5 + settings.scale * (points.uniform_() - 0.5)

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        return self.pair_objective(*self.sides(source_points, target_points))

    def pair_objective(self, points: Tensor, images: Tensor) -> Losses:
        """What both potentials descend together, first: ψ is of `points`, ψ̄ of `images`, independent batches [B, D]."""
        raise Unsupported(f"{self.name} has no single objective")

    def after_update(self, losses: Losses) -> None:
        self.potential.clamp_weights()
        self.conjugate.clamp_weights()

    def sides(self, source_points: Tensor, target_points: Tensor) -> tuple[Tensor, Tensor]:
        """What ψ is of, and what ψ̄ is of."""
        return (target_points, source_points) if self.reverse else (source_points, target_points)


def benchmark_widths(dim: int) -> tuple[int, ...]:
    """Of the networks of the W2 benchmark (arXiv 2106.01954)."""
    return max(2 * dim, 64), max(2 * dim, 64), max(dim, 32)


def benchmark_potential(dim: int, *, convex: bool) -> DenseICNN:
    """The network of every solver of the W2 benchmark (arXiv 2106.01954); not convex ones are not clamped."""
    return DenseICNN(
        dim,
        benchmark_widths(dim),
        rank=1,
        strong_convexity=1e-4,
        init_std=0.1,
        convex=convex,
    )
