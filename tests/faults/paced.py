"""A method that logs what it does, for harnesses that count, and the reader of that log.

"tests.faults.paced:Paced" in a sweeps.toml.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from methods.base import Losses, Sampler, Shape, TransportMap

LOG = "BENCH_FAULT_LOG"
"""Environment variable that names the log: lines "begin|train|end NUMBER STEP PID", as a trial is begun, at each of its
updates, and as its training is done; STEP counts the updates made before, those before a checkpoint among them."""


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
        self.updates = 0
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
        self._log("train")
        self.updates += 1
        return {"loss": loss}

    def finish(self, source: Sampler, target: Sampler) -> None:
        self._log("end")

    def _log(self, what: str) -> None:
        if LOG in os.environ:
            with open(os.environ[LOG], "a") as log:  # one short write: lines of several processes do not mix
                log.write(f"{what} {self.number} {self.updates} {os.getpid()}\n")


@dataclass(eq=False)
class Attempt:
    """A trial from where a process took it up.

    start: updates it found made, None before it makes one of its own. updates: its own. read: when the last of them
    was read, by `time.monotonic`. ended: whether it trained to the end.
    """

    number: int
    pid: int
    start: int | None = None
    updates: int = 0
    read: float = 0.0
    ended: bool = False


class Log:
    """What the log says so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.attempts: list[Attempt] = []
        self.overlapping: set[int] = set()
        """Numbers of trials of which an attempt went on after the next had begun."""
        self._of_process: dict[int, Attempt] = {}
        self._of_trial: dict[int, Attempt] = {}
        self._offset = 0

    def read(self) -> list[Attempt]:
        """All attempts in the order in which they began."""
        with open(self.path) as log:
            log.seek(self._offset)
            text = log.read()
        whole = text[: text.rfind("\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            what, *numbers = line.split()
            self._take(what, *map(int, numbers))
        return self.attempts

    def under_way(self) -> list[Attempt]:
        """The last attempt of each process."""
        return list(self._of_process.values())

    def _take(self, what: str, number: int, step: int, pid: int) -> None:
        if what == "begin":
            attempt = self._of_process[pid] = self._of_trial[number] = Attempt(number, pid)
            self.attempts.append(attempt)
            return
        attempt = self._of_process[pid]
        if attempt is not self._of_trial[number]:
            self.overlapping.add(number)
        if what == "end":
            attempt.ended = True
            return
        if attempt.start is None:
            attempt.start = step
        attempt.updates += 1
        attempt.read = time.monotonic()
