"""A trial of a search: trained as any trial, measured on the validation split at milestones, stopped where told to."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.environment import reproducible, seed_torch
from bench.evidence import Evidence
from bench.identity import Trial
from bench.measurement import measure
from bench.outcomes import Outcome
from bench.storage.store import Store
from bench.training import Training, Watch, never, run_stage
from bench.trial import Run
from bench.tuning.search import REDUCTION, RUNGS, Milestone
from methods.base import Method


class StoppedError(Exception):
    """The searcher does not want the trial to go on."""


def run_search_trial(trial: Trial, output: str, data_root: Path, reached: Callable[[Milestone], bool]) -> Outcome:
    """Runs a trial of a search; writes nothing. Its metric is that of `output`, its split the validation split.

    reached: takes each milestone as it is reached, and returns whether to stop the trial there.

    The outcome's status is "completed", "stopped", or as of any trial; errors are caught as for any trial.
    """
    run = _SearchRun(trial, output, data_root, reached)
    with reproducible(trial.resources.cpus):
        return run.attempt()


class _SearchRun(Run):
    def __init__(self, trial: Trial, output: str, data_root: Path, reached: Callable[[Milestone], bool]) -> None:
        super().__init__(trial, Store(data_root), data_root, _silent)  # a store in which it keeps nothing
        self.output = output
        self.reached = reached

    def attempt(self) -> Outcome:
        outcome = super().attempt()
        if outcome.error_type == StoppedError.__name__:
            return Outcome("stopped")
        if outcome.status != "ok":
            return outcome
        final = self._milestone(RUNGS - 1, self.cost["steps"], self.metric_rows)
        self.reached(final)
        return Outcome("completed") if final.value is not None else Outcome("failed", "Unmeasurable", final.reason)

    def train(
        self,
        method: Any,
        streams: Callable[[str], tuple[Any, ...]],
        next_batch: Callable[..., tuple[Tensor, ...]],
        evidence_of: Callable[[Any, str], Evidence],
        ended: Callable[[int], bool] = never,
    ) -> Iterator[Training]:
        steps = method.planned_steps if method.trains else 0
        rungs = {max(1, round(steps / REDUCTION ** (RUNGS - 1 - rung))): rung for rung in range(RUNGS - 1)}

        def watched(step: int) -> bool:
            if ended(step):
                return True
            if step in rungs:
                rows = self._measured_so_far(method, streams, evidence_of)
                if self.reached(self._milestone(rungs[step], step, rows)):
                    raise StoppedError
            return False

        return super().train(method, streams, next_batch, evidence_of, watched)

    def keep(self, method: Method, evidence: Evidence) -> None:
        """Nothing: rows, curves and artifacts are those of the trials that are compared."""

    def _measured_so_far(
        self,
        method: Any,
        streams: Callable[[str], tuple[Any, ...]],
        evidence_of: Callable[[Any, str], Evidence],
    ) -> list[dict[str, Any]]:
        """The metric's rows, if training ended here. It is a copy that is finished and measured."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            judged = copy.deepcopy(method)
            watch = Watch(_silent, self.trial.timeout)
            watch.start(spent=self.watch.seconds)
            seed_torch("finishing", **self.axes)
            run_stage(watch, "finish", judged.finish(*streams("finish")))
            judged.eval()
            (setting,), (split,) = self.trial.metrics, self.trial.splits
            return measure(setting, evidence_of(judged, split), self.trial.resources.cpus, {})

    def _milestone(self, rung: int, step: int, rows: list[dict[str, Any]]) -> Milestone:
        row = next(row for row in rows if row["metric"] == self.output)
        return Milestone(rung, step, row["value"], row["reason"], self.watch.seconds)


def _silent(stage: str, step: int, planned: int | None, loss: float) -> None:
    """Displays are told of whole trials of a search only."""
