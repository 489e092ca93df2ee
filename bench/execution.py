"""The executors: "ray" hands trials to Ray Tune, "inline" runs them in this process.

Ray executes; it is not the truth. Trials write their own rows; whatever left none when the executor is done gets its
row here. Both executors run the same function on the same records, with the same number of threads a trial, and so
give the same numbers.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from bench.checkpoints import CHECKPOINT_SECONDS
from bench.identity import Resources, Trial
from bench.ray_session import ray_session
from bench.store import Store
from bench.trial import Outcome, missing_row, run_trial

REPORT_SECONDS = 2.0
"""How often a worker tells the driver of its progress: often enough to watch, too seldom to be a load."""


class Display(Protocol):
    """What an executor tells of its trials as they go; see `bench.progress`."""

    def started(self, trial: Trial) -> None: ...
    def advanced(self, trial: Trial, stage: str, step: int, planned: int | None, loss: float) -> None: ...
    def ended(self, trial: Trial, outcome: Outcome) -> None: ...


def execute(
    trials: Sequence[Trial],
    store: Store,
    data_root: Path,
    display: Display,
    *,
    executor: str,
    address: str | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> bool:
    """Runs the trials; afterwards each has a row. Returns whether it ran to the end rather than being interrupted.

    Trials that ask for more than there is are not queued: they would wait for ever. Their rows say so.
    checkpoint_seconds: see `bench.checkpoints`.

    Raises RaySessionError where Ray cannot start, StoreError where results cannot be written.
    """
    run = _run_ray if executor == "ray" else _run_inline
    before = {trial: store.stamp(trial.sweep, trial.id) for trial in trials}
    unwritten = Outcome("lost", "WorkerDied", "its process died, twice, before it could write a row")
    try:
        with _terminate_as_interrupt():
            run(trials, store, data_root, display, address, checkpoint_seconds)
    except KeyboardInterrupt:
        unwritten = Outcome("interrupted", "KeyboardInterrupt", "the run was interrupted before it ended")
    except BaseException as error:
        unwritten = Outcome("lost", type(error).__name__, f"the run ended before it: {error}")
        raise
    finally:
        _reconcile(before, store, display, unwritten)
    return unwritten.status != "interrupted"


def _run_inline(
    trials: Sequence[Trial],
    store: Store,
    data_root: Path,
    display: Display,
    address: str | None,
    checkpoint_seconds: float,
) -> None:
    import torch

    available = Resources(os.cpu_count() or 1, torch.cuda.device_count())
    for trial in _placeable(trials, available, store, display):
        display.started(trial)

        def report(stage: str, step: int, planned: int | None, loss: float, trial: Trial = trial) -> None:
            display.advanced(trial, stage, step, planned, loss)

        # Through the record, as a worker gets it.
        outcome = run_trial(Trial.from_record(trial.to_record()), store, data_root, report, checkpoint_seconds)
        display.ended(trial, outcome)


def _run_ray(
    trials: Sequence[Trial],
    store: Store,
    data_root: Path,
    display: Display,
    address: str | None,
    checkpoint_seconds: float,
) -> None:
    with ray_session(address, {trial.method.name for trial in trials}):
        import ray
        from ray import tune

        cluster = ray.cluster_resources()
        available = Resources(int(cluster.get("CPU", 0)), cluster.get("GPU", 0))
        placeable = _placeable(trials, available, store, display)
        if not placeable:
            return
        callback = _display_callback(tune, placeable, display)
        on_gpu = any(trial.resources.gpus for trial in placeable)
        with tempfile.TemporaryDirectory(prefix="bench-ray-") as scratch:
            tune.Tuner(
                tune.with_resources(
                    _worker,
                    lambda config: tune.PlacementGroupFactory(
                        [{"CPU": config["run"]["resources"]["cpus"], "GPU": config["run"]["resources"]["gpus"]}]
                    ),
                ),
                param_space={
                    "run": tune.grid_search([trial.to_record() for trial in placeable]),
                    "results": str(store.root),
                    "data": str(data_root),
                    "checkpoint_seconds": checkpoint_seconds,
                },
                # Reused processes save two seconds a trial; on a GPU they would keep memory, so there each is fresh.
                tune_config=tune.TuneConfig(reuse_actors=not on_gpu),
                run_config=tune.RunConfig(
                    name="bench",
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[callback],
                    # Trials catch their own errors: what is left to retry is a process that died.
                    failure_config=tune.FailureConfig(max_failures=1),
                ),
            ).fit()


def _worker(config: dict[str, Any]) -> dict[str, Any]:
    """Runs one trial in a process of Ray's; its result is only for the display, rows are the truth."""
    from ray import tune

    trial = Trial.from_record(config["run"])
    last = time.monotonic()

    def report(stage: str, step: int, planned: int | None, loss: float) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_SECONDS:
            last = time.monotonic()
            tune.report({"stage": stage, "step": step, "planned": planned, "loss": loss})

    outcome = run_trial(trial, Store(config["results"]), Path(config["data"]), report, config["checkpoint_seconds"])
    return {"status": outcome.status, "error_type": outcome.error_type, "error": outcome.error}


def _display_callback(tune: Any, planned: Sequence[Trial], display: Display) -> Any:
    """A Tune callback that tells the display what workers report."""

    class Callback(tune.Callback):
        def __init__(self) -> None:
            self.display = display
            self.ours = {(trial.sweep, trial.id): trial for trial in planned}

        def __reduce__(self) -> tuple[Any, ...]:
            return tune.Callback, ()  # Tune saves callbacks with the experiment; a terminal cannot be saved

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.display.started(self._our(trial))

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            if "stage" in result:
                told = (result["stage"], result["step"], result["planned"], result["loss"])
                self.display.advanced(self._our(trial), *told)
            elif "status" in result:
                outcome = Outcome(result["status"], result["error_type"], result["error"])
                self.display.ended(self._our(trial), outcome)

        def _our(self, trial: Any) -> Trial:
            record = trial.config["run"]
            return self.ours[record["sweep"], record["trial_id"]]

    return Callback()


def _placeable(trials: Sequence[Trial], available: Resources, store: Store, display: Display) -> list[Trial]:
    """The trials that fit the machines; the others get a row that says what they lack."""
    placeable = []
    for trial in trials:
        asked = trial.resources
        if asked.cpus <= available.cpus and asked.gpus <= available.gpus:
            placeable.append(trial)
            continue
        outcome = Outcome(
            "lost",
            "ResourcesUnavailable",
            f"sweep {trial.sweep} asks for {asked.cpus} CPUs and {asked.gpus:g} GPUs a trial, and there are "
            f"{available.cpus} CPUs and {available.gpus:g} GPUs; change its resources, or run it where they are",
        )
        if store.status(trial.sweep, trial.id) != "ok":
            missing_row(trial, store, outcome)
        display.ended(trial, outcome)
    return placeable


def _reconcile(before: Mapping[Trial, Any], store: Store, display: Display, outcome: Outcome) -> None:
    """Gives a row with this outcome to every trial that wrote none: its process died, or it never began.

    before: the stamp of each trial's row file from before the run. An ok row of an earlier run stays.
    """
    for trial, stamp in before.items():
        if store.stamp(trial.sweep, trial.id) != stamp:
            continue
        display.ended(trial, outcome)
        if store.status(trial.sweep, trial.id) != "ok":
            missing_row(trial, store, outcome)


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Makes SIGTERM do what Ctrl-C does, so that schedulers' kills are reconciled too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
