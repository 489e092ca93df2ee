"""The executors: "ray" hands trials to Ray Tune, "inline" runs them in this process.

Ray executes; it is not the truth. Trials write their own rows; whatever left none when the executor is done gets its
row here. Both executors run the same function on the same records, with the same number of threads a trial, and so
give the same numbers.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.checkpointing.checkpoints import CHECKPOINT_SECONDS
from bench.errors import UserError
from bench.identity import Trial
from bench.outcomes import Outcome, missing_row
from bench.packs import Pack
from bench.placement import Node, fits, misfit
from bench.preparation import run_prepared
from bench.ray_session import RaySessionError, ray_session
from bench.storage.store import Store, StoreError
from bench.training import Report
from datasets.root import data_root as default_root

if TYPE_CHECKING:
    from bench.ray_trials import Work

CHUNK = 1000
"""Trials of one fit of Tune, which keeps and saves all that it ever had: more would slow it down."""
CHUNKS_OF_SLOTS = 20
"""Trials of one fit a CPU of the cluster, where that is more: at the end of each, nodes wait for the last trials."""
ROUNDS = 5
"""Fits in which a trial may begin, where nodes go away under it; within one, a process that died gets a second."""
WAIT_SECONDS = 900.0
"""How long trials wait for a node of a cluster that has what they ask for, unless said otherwise."""
POLL_SECONDS = 5.0


class Display(Protocol):
    """What an executor tells of its trials as they go; see `bench.progress`."""

    def started(self, trial: Trial) -> None: ...
    def advanced(self, trial: Trial, stage: str, step: int, planned: int | None, loss: float) -> None: ...
    def ended(self, trial: Trial, outcome: Outcome) -> None: ...
    def noted(self, text: str) -> None: ...


@dataclass(frozen=True)
class Way:
    """How and where trials run.

    executor: "ray" or "inline". address: of a Ray cluster; None for an instance of our own. prepare: whether trials
    download and build what their datasets lack. checkpoint_seconds: see `bench.checkpointing`. wait_seconds: how
    long trials wait for a node of a cluster that has what they ask for.
    """

    executor: str = "ray"
    address: str | None = None
    prepare: bool = False
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    wait_seconds: float = WAIT_SECONDS


@dataclass
class _Told:
    """What has been heard of the trials; passed on to the display. begun: those of the present fit."""

    display: Display
    heard: bool = False
    begun: set[Trial] = field(default_factory=set)
    outcomes: dict[Trial, Outcome] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)

    def started(self, trial: Trial) -> None:
        self.heard = True
        self.begun.add(trial)
        self.display.started(trial)

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        self.outcomes[trial] = outcome
        self.display.ended(trial, outcome)

    def noted(self, text: str) -> None:
        """Takes what trials note: what many say is passed on once."""
        if text not in self.notes:
            self.notes.add(text)
            self.display.noted(text)


def execute(packs: Sequence[Pack], store: Store, data_root: Path, display: Display, way: Way) -> bool:
    """Runs the trials of all packs; afterwards each has a row. Returns whether it ran to the end rather than being
    interrupted.

    Trials that ask for more than any machine has are not run: their rows say so.

    Raises RaySessionError where Ray cannot start, and then no row is written; StoreError where results cannot be.
    """
    run = _run_ray if way.executor == "ray" else _run_inline
    before = {trial: store.stamp(trial.sweep, trial.id) for pack in packs for trial in pack}
    told = _Told(display)
    unwritten = Outcome("lost", "WorkerDied", "its process died, again and again, before it could write a row")
    try:
        with terminate_as_interrupt():
            run(packs, store, data_root, told, way)
    except KeyboardInterrupt:
        unwritten = Outcome("interrupted", "KeyboardInterrupt", "the run was interrupted before it ended")
    except BaseException as error:
        unwritten = Outcome("lost", type(error).__name__, f"the run ended before it: {error}")
        if not isinstance(error, UserError) or told.heard:
            _reconcile(before, store, told, unwritten)
        raise
    _reconcile(before, store, told, unwritten)
    return unwritten.status != "interrupted"


def _run_inline(packs: Sequence[Pack], store: Store, data_root: Path, told: _Told, way: Way) -> None:
    import torch

    here: Node = {"CPU": os.cpu_count() or 1, "GPU": torch.cuda.device_count()}
    known = {trial: store.stamp(trial.sweep, trial.id) for pack in packs for trial in pack}

    def report(trial: Trial) -> Report:
        return lambda stage, step, planned, loss: told.display.advanced(trial, stage, step, planned, loss)

    for pack in packs:
        left = []
        for trial in pack:
            status = store.status(trial.sweep, trial.id)
            if status == "ok" and store.stamp(trial.sweep, trial.id) != known[trial]:
                told.ended(trial, Outcome(status))  # another run has done it meanwhile
            else:
                left.append(trial)
        if left and not fits(left[0].resources, [here]):
            _refuse(left, [here], told)
        elif left:
            for trial in left:
                told.started(trial)
            outcomes = run_prepared(
                [Trial.from_record(trial.to_record()) for trial in left],  # through the record, as a worker gets it
                store,
                data_root,
                [report(trial) for trial in left],
                told.noted,
                way.checkpoint_seconds,
                download=way.prepare,
            )
            for trial, outcome in zip(left, outcomes, strict=True):
                told.ended(trial, outcome)


def _run_ray(packs: Sequence[Pack], store: Store, data_root: Path, told: _Told, way: Way) -> None:
    with ray_session(way.address, {pack[0].method.name for pack in packs}) as joined:
        from bench import ray_trials

        # Without --data, each node of a cluster uses the folder that is its own.
        data = None if data_root == default_root().resolve() else str(data_root)
        work = ray_trials.Work(
            store.location, store.mark() if joined else None, store.marked, data, way.checkpoint_seconds, way.prepare
        )
        if joined:
            ray_trials.check_nodes(work)
        waiting, rounds = list(packs), Counter[Pack]()
        # From before the run: what has other rows by now has ended in it, or in another run beside it.
        known = {trial: store.fingerprint(trial.sweep, trial.id) for pack in packs for trial in pack}
        while waiting:
            nodes: Mapping[str, Node] = ray_trials.nodes()
            if not nodes and not joined:
                raise RaySessionError(
                    "Ray's processes here have died, for want of memory perhaps; the same command goes on"
                )
            ready, nodes = _ready(waiting, nodes, told, way.wait_seconds if joined else 0.0)
            if not ready:
                for pack in waiting:
                    _refuse(pack, nodes.values(), told)
                return
            cpus = sum(node.get("CPU", 0.0) for node in nodes.values())
            chunk = ready[: max(CHUNK, int(CHUNKS_OF_SLOTS * cpus))]
            told.begun.clear()
            broken = _fit(chunk, known, store, work, told)
            left = {pack for pack in chunk if any(trial not in told.outcomes for trial in pack)}
            begun = {pack for pack in left if pack[0] in told.begun}
            rounds.update(begun)
            gone = bool(nodes.keys() - ray_trials.nodes().keys())
            # A process that dies twice on nodes that stay would die again.
            again = {pack for pack in left if (gone or broken or pack not in begun) and rounds[pack] < ROUNDS}
            done = set(chunk) - again
            waiting = [pack for pack in waiting if pack not in done]
            for pack in (pack for pack in chunk if pack in left - again and len(pack) > 1):
                told.display.noted(f"{len(pack)} trials of {pack[0].sweep} run one by one: their process died, packed")
                # Of one of them, or for want of memory for all; some may have their rows already.
                waiting += [(trial,) for trial in pack if store.fingerprint(trial.sweep, trial.id) == known[trial]]


def _ready(
    waiting: Sequence[Pack], nodes: Mapping[str, Node], told: _Told, wait_seconds: float
) -> tuple[list[Pack], Mapping[str, Node]]:
    """The packs that one of the nodes could take, and the nodes; waits for such a node where there is none."""
    from bench import ray_trials

    deadline, asked = time.monotonic() + wait_seconds, False
    try:
        while True:
            ready = [pack for pack in waiting if fits(pack[0].resources, nodes.values())]
            if ready or time.monotonic() >= deadline:
                return ready, nodes
            if not asked:
                asked = True
                _say_waiting(waiting, nodes.values(), told, wait_seconds)
                ray_trials.ask_for([pack[0].resources for pack in waiting])
            time.sleep(POLL_SECONDS)
            nodes = ray_trials.nodes()
    finally:
        if asked:
            ray_trials.ask_for(())


def _fit(chunk: Sequence[Pack], known: Mapping[Trial, str | None], store: Store, work: Work, told: _Told) -> bool:
    """Runs trials through Ray; returns whether Ray gave up on them, in part or all.

    known: the fingerprints of the rows that trials have from before the run.

    Raises StoreError where a worker cannot write its results and this process neither: nor could the next trial.
    """
    from bench import ray_trials

    refused: list[StoreError] = []
    ours = {(trial.sweep, trial.id): trial for pack in chunk for trial in pack}

    def tell(event: tuple[Any, ...]) -> None:
        kind, key, *rest = event
        if kind == "noted":
            told.noted(key)
        elif kind == "started":
            told.started(ours[key])
        elif kind == "advanced":
            told.display.advanced(ours[key], *rest)
        else:
            outcome = Outcome(*rest)
            told.ended(ours[key], outcome)
            if outcome.error_type == StoreError.__name__:
                try:
                    store.check_there()
                    store.check_writable()
                except StoreError as error:
                    refused.append(error)
                    raise  # Tune makes another error of it

    runs = [[{"trial": trial.to_record(), "known": known[trial]} for trial in pack] for pack in chunk]
    try:
        ray_trials.fit(runs, work, tell)
    except ray_trials.FitError as error:
        if refused:
            raise refused[0] from error
        if not told.begun:
            raise RaySessionError(f"Ray runs nothing: {error}") from error
        return True
    return False


def _say_waiting(waiting: Sequence[Pack], nodes: Collection[Node], told: _Told, wait_seconds: float) -> None:
    told.display.noted(
        f"{sum(map(len, waiting))} trials wait for a node, at most {wait_seconds / 60:g} minutes: "
        + misfit(waiting[0][0].sweep, waiting[0][0].resources, nodes)
    )


def _refuse(pack: Sequence[Trial], nodes: Collection[Node], told: _Told) -> None:
    for trial in pack:
        told.ended(trial, Outcome("lost", "ResourcesUnavailable", misfit(trial.sweep, trial.resources, nodes)))


def _reconcile(before: Mapping[Trial, Any], store: Store, told: _Told, outcome: Outcome) -> None:
    """Gives a row to every trial that wrote none: its process died, or it never began.

    before: the stamp of each trial's row file from before the run. An ok row of an earlier run stays.
    outcome: of those that nothing was heard of. One that was heard to have written its row has done so, even where
    this machine does not see it yet, as on a shared folder whose listings it keeps for a while.
    """
    store.pull()
    for trial, stamp in before.items():
        if store.stamp(trial.sweep, trial.id) != stamp:
            continue
        heard = told.outcomes.get(trial)
        if heard is not None and heard.status != "lost":
            continue
        ended = heard or outcome
        told.display.ended(trial, ended)
        if store.status(trial.sweep, trial.id) != "ok":
            missing_row(trial, store, ended)


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
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
