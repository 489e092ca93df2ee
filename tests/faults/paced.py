"""A method that logs how often it ran, for harnesses that count; "tests.faults.paced:Paced" in a sweeps.toml."""

from __future__ import annotations

import os
import time

import torch
from torch import Tensor, nn

from methods.base import Losses, Sampler, Shape, TransportMap

LOG = "BENCH_FAULT_LOG"
"""Environment variable that names the log: a line "begin NUMBER" a start of a trial, "end NUMBER" a training done."""


class Paced(TransportMap):
    """Learns a translation, slowly, along a path that depends on every batch, on torch's stream and on momentum.

    Args:
        number: tells trials apart.
        step_seconds: how long an update takes.
    """

    name = "paced"
    paper = "none"
    summary = "a learned translation, slowly"
    family = "reference"

    def __init__(self, shape: Shape, *, number: int = 0, step_seconds: float = 0.05) -> None:
        super().__init__(shape)
        self.number, self.step_seconds = number, step_seconds
        self.offset = nn.Parameter(torch.zeros(self.dim))
        self.optimizer = torch.optim.Adam(self.parameters(), lr=0.01 * (number + 1))
        self._log("begin")

    def push(self, points: Tensor) -> Tensor:
        return points + self.offset

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        time.sleep(self.step_seconds)
        goal = target_points.mean(0) + 0.1 * torch.randn(self.dim)
        loss = (self.push(source_points).mean(0) - goal).square().sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}

    def finish(self, source: Sampler, target: Sampler) -> None:
        self._log("end")

    def _log(self, what: str) -> None:
        if LOG in os.environ:
            with open(os.environ[LOG], "a") as log:  # one short write: lines of several processes do not mix
                log.write(f"{what} {self.number}\n")
