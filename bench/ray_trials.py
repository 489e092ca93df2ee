"""Trials through Ray Tune: one fit of it, its worker, and what the two tell the driver."""

from __future__ import annotations

import contextlib
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import GetTimeoutError, RayError
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.identity import Resources, Trial
from bench.placement import Node, fits, request
from bench.preparation import run_prepared
from bench.ray_session import RaySessionError
from bench.storage.mirror import open_store
from bench.storage.schema import UNENDED
from bench.storage.store import MARK, Store, StoreError
from bench.training import Report
from datasets.root import data_root

REPORT_SECONDS = 2.0
"""How often a worker tells the driver of its progress: often enough to watch, too seldom to be a load."""
LOOK_SECONDS = 10.0
"""How often a fit looks which nodes there are."""
CHECK_SECONDS = 120.0
"""In which a node that is asked for its folders has to answer; starting a process with the code takes some."""

UNREACHABLE = (RayError, ConnectionError, RuntimeError, OSError)
"""What is raised where Ray does not answer any more."""

Tell = Callable[[tuple[Any, ...]], None]
"""Takes ("started" | "advanced" | "ended", (sweep, trial_id), …), or ("noted", text)."""
Runs = Sequence[Sequence[Mapping[str, Any]]]
"""Packs of {"trial": the trial's record, "known": the fingerprint of the rows it has from before the run}."""


class FitError(Exception):
    """A fit broke off, as it does when Ray's memory monitor ends a process; trials may be without their rows."""


@dataclass(frozen=True)
class Work:
    """What a worker needs to know of a run.

    results: folder or URL. mark: what lies in the folder's file of MARK; None where that is not to be looked at.
    marked: whether there is such a file; where it has gone, so has the folder.
    data: None for the data folder that is each node's own. prepare: whether to download what a dataset lacks.
    """

    results: str
    mark: str | None
    marked: bool
    data: str | None
    checkpoint_seconds: float
    prepare: bool

    def misplaced(self) -> str | None:
        """Says so where this machine does not see the results folder of the driver."""
        if self.mark is None:
            return None
        with contextlib.suppress(OSError):
            if Path(self.results, MARK).read_text() == self.mark:
                return None
        return (
            f"{platform.node()} does not see the results folder {self.results}; give --results a folder that all nodes "
            "share, or a URL such as s3://bucket/results"
        )


def nodes() -> dict[str, Node]:
    """What each living node has, by its id. Raises RaySessionError where Ray does not answer any more."""
    try:
        return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    except UNREACHABLE as error:
        raise RaySessionError(f"Ray does not answer any more ({error}); the same command goes on") from error


def ask_for(resources: Sequence[Resources]) -> None:
    """Tells a cluster that can grow to have a node for each kind of these, until it is told otherwise."""
    from ray.autoscaler.sdk import request_resources

    kinds = {json.dumps(asked, sort_keys=True): asked for asked in map(request, resources)}
    with contextlib.suppress(*UNREACHABLE):  # which `nodes` will say
        request_resources(bundles=[*kinds.values()])


def check_nodes(work: Work) -> None:
    """Raises RaySessionError where a node does not see the results folder: better before a run than after it."""
    check = ray.remote(num_cpus=0, max_retries=0)(_misplaced)
    answers = [
        check.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(work)
        for node in nodes()
    ]
    for answer in answers:
        try:
            if misplaced := ray.get(answer, timeout=CHECK_SECONDS):
                raise RaySessionError(misplaced)
        except GetTimeoutError as error:
            raise RaySessionError(f"a node of the cluster does not start a process in {CHECK_SECONDS:.0f} s") from error
        except ray.exceptions.RuntimeEnvSetupError as error:
            raise RaySessionError(f"the code cannot be set up on a node: {error}") from error
        except ray.exceptions.RayTaskError as error:
            raise RaySessionError(f"a node lacks what the code needs: {error.cause}; install it there") from error
        except RayError:
            continue  # the node has gone meanwhile


def fit(runs: Runs, work: Work, tell: Tell) -> None:
    """Runs packs of trials to their ends, each at most twice where its process dies.

    Ends before that when no node is left that could take any of those that have not ended.
    Raises FitError where Ray gives up on all of them.
    """
    try:
        if ray.util.client.ray.is_connected():
            _fit_on_head(runs, work, tell)
        else:
            _fit(runs, work, tell)
    except (RayError, tune.TuneError) as error:
        raise FitError(str(error)) from error


def _fit_on_head(runs: Runs, work: Work, tell: Tell) -> None:
    """A fit beside the cluster's head, for a driver outside of the cluster."""
    events = Queue(actor_options={"num_cpus": 0})
    there = ray.remote(num_cpus=0, max_retries=0, resources={"node:__internal_head__": 0.001})(_fit)
    running = there.remote(runs, work, events.put)
    ended: list[Any] = []
    while not ended:
        ended, _ = ray.wait([running], timeout=1.0)
        while True:
            try:
                tell(events.get_nowait())
            except Empty:
                break
    ray.get(running)


def _fit(runs: Runs, work: Work, tell: Tell) -> None:
    watch = _Watch([run["trial"] for pack in runs for run in pack], tell)
    on_gpu = any(pack[0]["trial"]["resources"]["gpus"] for pack in runs)
    with tempfile.TemporaryDirectory(prefix="bench-ray-", ignore_cleanup_errors=True) as scratch:
        tune.Tuner(
            tune.with_resources(_worker, _placement),
            # As texts: Tune copies the whole grid for each trial, which of nested records takes longer than the trials.
            param_space={"runs": tune.grid_search([json.dumps(pack) for pack in runs]), "work": asdict(work)},
            # Reused processes save two seconds a trial; on a GPU they would keep memory, so there each is fresh.
            tune_config=tune.TuneConfig(reuse_actors=not on_gpu, trial_dirname_creator=lambda trial: trial.trial_id),
            run_config=tune.RunConfig(
                name="bench",
                storage_path=scratch,
                verbose=0,
                callbacks=[watch],
                stop=NoNode(watch.open.values),
                # Trials catch their own errors: what is left to retry is a process that died.
                failure_config=tune.FailureConfig(max_failures=1),
            ),
        ).fit()


def _placement(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    return tune.PlacementGroupFactory([request(Resources(**_records(config)[0]["resources"]))])


def _records(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of the trials of a pack."""
    return [run["trial"] for run in json.loads(config["runs"])]


def _misplaced(work: Work) -> str | None:
    return work.misplaced()


def _worker(config: dict[str, Any]) -> dict[str, Any]:
    """Runs the trials of a pack in a process of Ray's; its result is only for the display, rows are the truth."""
    runs, work = json.loads(config["runs"]), Work(**config["work"])
    trials = [Trial.from_record(run["trial"]) for run in runs]
    if misplaced := work.misplaced():
        return {"outcomes": [("lost", "ResultsNotShared", misplaced) for _ in trials]}
    data = Path(work.data) if work.data else data_root().resolve()
    notes: list[str] = []
    last, advanced = time.monotonic(), dict[int, tuple[Any, ...]]()

    def report(at: int) -> Report:
        def tell(*progress: Any) -> None:
            nonlocal last
            advanced[at] = progress
            if time.monotonic() - last >= REPORT_SECONDS:
                last = time.monotonic()
                tune.report({"advanced": [*advanced.items()]})  # of all trials of the pack that have since the last
                advanced.clear()

        return tell

    try:
        store = open_store(work.results)
        store.marked = work.marked
        left = [trial for trial, run in zip(trials, runs, strict=True) if not _has_ended(trial, run["known"], store)]
        reports = [report(trials.index(trial)) for trial in left]
        outcomes = (
            run_prepared(left, store, data, reports, notes.append, work.checkpoint_seconds, download=work.prepare)
            if left
            else []
        )
    except StoreError as error:
        return {"outcomes": [("lost", StoreError.__name__, str(error)) for _ in trials], "notes": notes}
    if unsent := store.unsent():
        return {"outcomes": [("lost", "NotUploaded", f"{platform.node()}: {unsent}") for _ in trials], "notes": notes}
    ended = {trial: astuple(outcome) for trial, outcome in zip(left, outcomes, strict=True)}
    before = {trial: (store.status(trial.sweep, trial.id), None, None) for trial in trials if trial not in ended}
    return {"outcomes": [{**before, **ended}[trial] for trial in trials], "notes": notes}


def _has_ended(trial: Trial, known: str | None, store: Store) -> bool:
    """Whether a trial has come to its end since the run began: in a process that died before it could say so, or in
    another run. known: the fingerprint of the rows it has from before."""
    store.fetch(trial.sweep, trial.id)
    status = store.status(trial.sweep, trial.id)
    return status not in (None, *UNENDED) and store.fingerprint(trial.sweep, trial.id) != known


class _Watch(tune.Callback):
    """Passes on what workers report, and knows which trials have not ended."""

    def __init__(self, records: Sequence[Mapping[str, Any]], tell: Tell) -> None:
        self.tell = tell
        self.open = {_key(record): Resources(**record["resources"]) for record in records}

    def __reduce__(self) -> tuple[Any, ...]:
        return tune.Callback, ()  # Tune saves callbacks with the experiment; a terminal cannot be saved

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        for record in _records(trial.config):
            self.tell(("started", _key(record)))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        keys = [_key(record) for record in _records(trial.config)]
        if "advanced" in result:
            for at, progress in result["advanced"]:
                self.tell(("advanced", keys[at], *progress))
        elif "outcomes" in result:
            for note in result.get("notes", ()):
                self.tell(("noted", note))
            for key, outcome in zip(keys, result["outcomes"], strict=True):
                self.open.pop(key, None)
                self.tell(("ended", key, *outcome))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        for record in _records(trial.config):
            self.open.pop(_key(record), None)


class NoNode(tune.Stopper):
    """Ends a fit when no node is left that could take any open trial: it would wait for ever.

    asked: what each open trial asks for. ended: whether it has ended the fit.
    """

    def __init__(self, asked: Callable[[], Iterable[Resources]]) -> None:
        self.asked = asked
        self.ended = False
        self.looked = time.monotonic()

    def __reduce__(self) -> tuple[Any, ...]:
        return tune.stopper.NoopStopper, ()  # saved with the experiment, as callbacks are

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if time.monotonic() - self.looked < LOOK_SECONDS:
            return False
        self.looked = time.monotonic()
        there = list(nodes().values())
        self.ended = self.ended or not any(fits(resources, there) for resources in self.asked())
        return self.ended


def _key(record: Mapping[str, Any]) -> tuple[str, str]:
    return record["sweep"], record["trial_id"]
