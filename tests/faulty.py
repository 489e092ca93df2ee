"""Methods that go wrong, each in its own way; named "tests.faulty:Class" in a sweeps.toml."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from methods.autoencoders.ae import AE
from methods.base import Losses, Sampler, Shape, TransportMap


class Shift(TransportMap):
    """Learns a translation: the smallest sound method, and the base of the unsound ones."""

    name = "shift"
    paper = "none"
    summary = "a learned translation"
    family = "reference"

    def __init__(self, shape: Shape, *, lr: float = 0.05) -> None:
        super().__init__(shape)
        self.offset = nn.Parameter(torch.zeros(self.dim))
        self.optimizer = torch.optim.SGD(self.parameters(), lr=lr)

    def push(self, points: Tensor) -> Tensor:
        return points + self.offset

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        loss = (self.push(source_points).mean(0) - target_points.mean(0)).square().sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}


class TurnsNaN(Shift):
    """Its loss is not a number from the first update on."""

    name = "turns-nan"

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        return {"loss": super().train_step(source_points, target_points)["loss"] * float("nan")}


class Raises(Shift):
    """Raises in training."""

    name = "raises"

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        raise RuntimeError("the matrix is singular <b>indeed</b>")


class Dies(Shift):
    """Its process is killed, as by the kernel when memory runs out."""

    name = "dies"

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


class Slow(Shift):
    """Takes a tenth of a second an update."""

    name = "slow"

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        time.sleep(0.1)
        return super().train_step(source_points, target_points)


class Iterates(Shift):
    """Keeps an iterator, which no checkpoint can hold."""

    name = "iterates"

    def __init__(self, shape: Shape, *, lr: float = 0.05) -> None:
        super().__init__(shape, lr=lr)
        self.factors = iter([1.0, 0.5] * 1000)

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        self.optimizer.param_groups[0]["lr"] = 0.05 * next(self.factors)
        return super().train_step(source_points, target_points)


class Prepares(Shift):
    """Sound: makes its optimizer and a network only as it is prepared."""

    name = "prepares"

    def prepare(self, source: Sampler, target: Sampler) -> Iterator[Losses]:
        self.source = source
        for _ in range(3):
            self.scale = nn.Linear(1, 1)
            self.late = torch.optim.Adam([*self.scale.parameters(), self.offset], lr=0.01)
            yield {"loss": source(4).mean()}

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        loss = (self.scale(self.source(4)[:, :1]) - 1).square().mean() + self.offset.square().sum()
        self.late.zero_grad()
        loss.backward()
        self.late.step()
        return {**super().train_step(source_points, target_points), "late": loss}


class Recovers(Shift):
    """Fails while the file named by the environment variable BENCH_TEST_FAULT exists."""

    name = "recovers"

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        if os.path.exists(os.environ.get("BENCH_TEST_FAULT", "")):
            raise RuntimeError("the fault is there")
        return super().train_step(source_points, target_points)


class Forgets(AE):
    """Fits its prior after training, and keeps it where `state_dict` does not look."""

    name = "forgets"
    shift = 0.0

    def finish(self, batches: Iterator[Tensor]) -> None:
        self.shift = next(batches).mean().item()

    def sample_prior(self, count: int) -> Tensor:
        return super().sample_prior(count) + self.shift


class Misjudges(AE):
    """Scores a batch, not its images."""

    name = "misjudges"

    def score(self, images: Tensor) -> Tensor:
        return images.mean().view(1)
