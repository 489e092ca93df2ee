"""Methods that leave `train_step` as it is; those that cannot train as one model each fail in their own way.

Named "tests.packable:Class" in a sweeps.toml.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from methods.base import Losses, Shape, TransportMap


class Affine(TransportMap):
    """Learns a translation and a factor of normed points: the smallest sound method, and the base of the others.

    Args:
        weight: of the loss.
        lr: the optimizer's.
        order: of the moments that are to agree.
        width: entries of a parameter that does nothing else than shrink.
        descent: the optimizer.
    """

    name = "affine"
    paper = "none"
    summary = "a learned translation and factor"
    family = "reference"

    def __init__(
        self,
        shape: Shape,
        *,
        weight: float = 1.0,
        lr: float = 0.05,
        order: int = 2,
        width: int = 2,
        descent: Literal["adam", "sgd", "lbfgs"] = "adam",
    ) -> None:
        super().__init__(shape)
        self.weight, self.order, self.steps_done = weight, order, 0
        self.offset = nn.Parameter(torch.randn(self.dim))
        self.factor = nn.Parameter(torch.ones(()))
        self.shrinking = nn.Parameter(torch.ones(width))
        self.register_buffer("fate", torch.rand(()))
        self.norm = nn.BatchNorm1d(self.dim, affine=False)
        kinds = {"adam": optim.Adam, "sgd": optim.SGD, "lbfgs": optim.LBFGS}
        self.optimizer: optim.Optimizer = kinds[descent](self.parameters(), lr=lr)

    @property
    def optimizers(self) -> Sequence[optim.Optimizer]:
        return [self.optimizer]

    def push(self, points: Tensor) -> Tensor:
        return self.factor * self.norm(points) + self.offset

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        pushed = self.push(source_points + 0.1 * torch.randn_like(source_points))
        difference = pushed.pow(self.order).mean(dim=0) - target_points.pow(self.order).mean(dim=0)
        distance = difference.square().sum()
        return {"loss": self.weight * distance + self.shrinking.square().sum(), "distance": distance}

    def after_update(self, losses: Losses) -> None:
        self.steps_done += 1


class Anneals(Affine):
    """Its weight falls with each update."""

    name = "anneals"

    def before_update(self) -> None:
        self.weight *= 0.5


class DrawsInPlace(Affine):
    """Draws by a method of tensors."""

    name = "draws-in-place"

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        return super().objective(source_points + torch.empty_like(source_points).normal_(), target_points)


class DrawsMasks(Affine):
    """Has dropout."""

    name = "draws-masks"

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        return super().objective(F.dropout(source_points, 0.5), target_points)


class DrawsOrders(Affine):
    """Draws permutations."""

    name = "draws-orders"

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        return super().objective(source_points[torch.randperm(len(source_points))], target_points)


class DrawsLess(Affine):
    """Draws for two updates what it does not draw later."""

    name = "draws-less"

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        losses = super().objective(source_points, target_points)
        if self.steps_done < 2:
            losses["loss"] = losses["loss"] + torch.rand_like(source_points).mean()
        return losses


class DrawsMore(Affine):
    """Draws from the third update on what it did not draw before."""

    name = "draws-more"

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        losses = super().objective(source_points, target_points)
        if self.steps_done >= 2:
            losses["loss"] = losses["loss"] + torch.rand_like(source_points).mean()
        return losses


class Counts(Affine):
    """Counts in its objective, which of all models' is called for one."""

    name = "counts"
    called = 0

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        self.called += 1
        return super().objective(source_points, target_points)


class Branches(Affine):
    """Asks what its loss is."""

    name = "branches"

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        losses = super().objective(source_points, target_points)
        return losses if losses["loss"].item() > 0 else {"loss": -losses["loss"]}


class Mixes(Affine):
    """Is another method where it trains as one model with others."""

    name = "mixes"

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        losses = super().objective(source_points, target_points)
        factor = 2.0 if torch._C._functorch.is_batchedtensor(losses["loss"]) else 1.0
        return {name: factor * value for name, value in losses.items()}


class TurnsNaN(Affine):
    """Its loss is no number from the tenth update on, for seeds whose fate is below `luck`."""

    name = "turns-nan"

    def __init__(self, shape: Shape, *, luck: float = 0.5) -> None:
        super().__init__(shape)
        self.luck = luck

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        losses = super().objective(source_points, target_points)
        lost = (self.fate < self.luck) & (self.steps_done >= 9)
        return {"loss": torch.where(lost, torch.nan, losses["loss"])}


class Unmeasurable(Affine):
    """Its evaluation fails for seeds whose fate is below `luck`."""

    name = "unmeasurable"

    def __init__(self, shape: Shape, *, luck: float = 0.5) -> None:
        super().__init__(shape)
        self.luck = luck

    def push(self, points: Tensor) -> Tensor:
        if not self.training and self.fate < self.luck:
            raise RuntimeError("it cannot be evaluated")
        return super().push(points)


class DiesInPacks(Affine):
    """Its process is killed where it trains as one model with others."""

    name = "dies-in-packs"

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        losses = super().objective(source_points, target_points)
        if torch._C._functorch.is_batchedtensor(losses["loss"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return losses


class Recovers(Affine):
    """Fails where the file named by the environment variable BENCH_TEST_FAULT exists."""

    name = "recovers"

    def after_update(self, losses: Losses) -> None:
        super().after_update(losses)
        if Path(os.environ.get("BENCH_TEST_FAULT", "/nowhere")).exists() and self.steps_done == 30:
            raise RuntimeError("the fault is there")
