"""Trials of a pack from start to finish: each is prepared, evaluated and recorded by itself, trained with the others.

A pack that fails falls back to its trials one by one, from the start; what a trial does wrong is then its own.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from bench.checkpointing.checkpoints import CHECKPOINT_SECONDS, remove_checkpoint
from bench.environment import reproducible
from bench.identity import Trial
from bench.limits import LimitError
from bench.outcomes import Outcome
from bench.packed_training import Pack, global_stream, set_global_stream
from bench.storage.store import Store, StoreError
from bench.training import Report, Training
from bench.trial import Run, run_trial


def run_pack(
    trials: Sequence[Trial],
    store: Store,
    data_root: Path,
    reports: Sequence[Report],
    noted: Callable[[str], None],
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> list[Outcome]:
    """Runs trials that train as one model, or a single one, and writes the results of each; see `run_trial`.

    Args:
        reports: take the progress of each trial. noted: takes why a pack fell back to its trials one by one.
    """

    def alone(trial: Trial, report: Report) -> Outcome:
        return run_trial(trial, store, data_root, report, checkpoint_seconds)

    if len(trials) == 1:
        return [alone(trials[0], reports[0])]
    ids = tuple(trial.id for trial in trials)
    runs = [
        Run(trial, store, data_root, report, checkpoint_seconds, ids)
        for trial, report in zip(trials, reports, strict=True)
    ]
    with reproducible(trials[0].resources.cpus):
        try:
            _train(runs)
        except StoreError:
            raise
        except (Exception, LimitError) as error:
            reason = _reason(error, runs)
        else:
            return [_conclude(run, store) for run in runs]
    noted(f"{len(trials)} trials of {trials[0].sweep} that were packed run one by one: {reason}")
    runs.clear()
    gc.collect()  # a run and its generator refer to each other, and hold the memory that may have been short
    return [alone(trial, report) for trial, report in zip(trials, reports, strict=True)]


def _train(runs: Sequence[Run]) -> None:
    """Prepares each run, and makes the updates of all."""
    trainings: list[Training] = []
    streams: list[Tensor] = []
    for run in runs:
        training = run.begin()
        run.watch.run_at(0.0)
        if training is not None:
            trainings.append(training)
            streams.append(global_stream(run.device))
    # Where a kill came between the checkpoints of two of them, they do not stand at the same step.
    together = len(trainings) == len(runs) and len({training.done for training in trainings}) == 1
    if together:
        with runs[0].limits:
            run_together(trainings, streams)
        return
    for training, stream in zip(trainings, streams, strict=True):
        run = next(run for run in runs if run.watch is training.watch)
        run.watch.run_at(1.0)
        with run.limits:
            set_global_stream(stream, run.device)
            training.run()
        run.watch.run_at(0.0)


def run_together(trainings: Sequence[Training], streams: Sequence[Tensor]) -> None:
    """Makes the updates of several trainings that stand at the same step, as one model.

    Each one's clock runs at its share. streams: where the random streams of their training stand.

    Raises PackError where they cannot be trained so; DivergedError, TimedOutError where one of them ends.
    """
    first = trainings[0]
    for training in trainings:
        training.watch.run_at(1 / len(trainings))
    pack = Pack([training.method for training in trainings], streams, first.precision)
    for step in range(first.done + 1, first.steps + 1):
        losses = pack.step([training.next_batch() for training in trainings])
        if step == first.steps or first.is_point(step):
            pack.check()
            for training, own in zip(trainings, losses, strict=True):
                training.watch.record("train", step, first.steps, own)
        if step < first.steps and first.due():
            pack.unstack()
            for training, stream in zip(trainings, pack.streams, strict=True):
                set_global_stream(stream.get_state(), pack.device)
                training.save(step)
    pack.unstack()
    for training in trainings:
        training.watch.run_at(0.0)


def _reason(error: BaseException, runs: Sequence[Run]) -> str:
    passed = [run.limits.passed for run in runs if run.limits.passed]
    if isinstance(error, LimitError) and passed:
        return passed[0][2]
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _conclude(run: Run, store: Store) -> Outcome:
    run.watch.run_at(1.0)
    outcome = run.write(run.attempt())
    remove_checkpoint(store, store.checkpoint_path(run.trial.sweep, run.trial.id))
    return outcome
