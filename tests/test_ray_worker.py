"""What a worker of Ray and its driver do where others come in between; without starting Ray."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import execution, ray_trials
from bench.execution import Way, execute
from bench.identity import Resources, Trial
from bench.outcomes import Outcome, missing_row
from bench.storage import mirror
from bench.storage.store import Store
from bench.sweeps import load_sweeps
from bench.training import Report
from bench.warned import warnings_noted

SWEEPS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 16
steps = 1
datasets.gaussians = { dim = 2 }
methods.linear = {}
"""


class Silent:
    """A display that keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def started(self, trial: Trial) -> None: ...
    def advanced(self, trial: Trial, stage: str, step: int, planned: int | None, loss: float) -> None: ...
    def ended(self, trial: Trial, outcome: Outcome) -> None: ...
    def noted(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def trial(sweeps_file: Callable[[str], Path]) -> Trial:
    (sweep,) = load_sweeps(sweeps_file(SWEEPS), "quick")
    (trial,) = sweep.trials()
    return trial


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    store.check_writable()
    return store


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A cluster without nodes is joined that is none; gives what is asked of it."""

    @contextmanager
    def session(*arguments: Any) -> Iterator[bool]:
        yield True

    asked: list[Any] = []
    monkeypatch.setattr(execution, "ray_session", session)
    monkeypatch.setattr(execution, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(ray_trials, "nodes", dict)
    monkeypatch.setattr(ray_trials, "check_nodes", lambda work: None)
    monkeypatch.setattr(ray_trials, "ask_for", lambda resources: asked.append(list(resources)))
    return asked


def work_in(results: str, data: Path) -> ray_trials.Work:
    return ray_trials.Work(results, None, False, str(data), 0.0, False)


def outcomes(trial: Trial, results: str, data: Path, known: str | None = None) -> list[Any]:
    runs = json.dumps([{"trial": trial.to_record(), "known": known}])
    return ray_trials._worker({"runs": runs, "work": asdict(work_in(results, data))})["outcomes"]


def test_what_another_run_left_undone_is_done(trial: Trial, store: Store, data_folder: Path) -> None:
    missing_row(trial, store, Outcome("interrupted", "KeyboardInterrupt", "another run was interrupted"))
    assert outcomes(trial, str(store.root), data_folder) == [("ok", None, None)]
    assert store.status(trial.sweep, trial.id) == "ok"


@pytest.mark.parametrize("status", ["ok", "diverged"])
def test_what_has_ended_since_the_run_began_is_not_repeated(
    trial: Trial, store: Store, data_folder: Path, status: str
) -> None:
    missing_row(trial, store, Outcome(status))
    before = store.stamp(trial.sweep, trial.id)
    assert outcomes(trial, str(store.root), data_folder) == [(status, None, None)]
    assert store.stamp(trial.sweep, trial.id) == before
    known = store.fingerprint(trial.sweep, trial.id)
    assert outcomes(trial, str(store.root), data_folder, known) == [("ok", None, None)]


def test_results_that_a_node_cannot_read_are_said_in_the_row(
    trial: Trial, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "PAUSES", ())
    ((status, kind, error),) = outcomes(trial, "nonsense://bucket/results", data_folder)
    assert (status, kind) == ("lost", "StoreError")
    assert "cannot open nonsense://" in error


def test_a_trial_whose_node_went_after_it_had_written_its_row_is_not_taken_for_one_of_before(
    trial: Trial, store: Store, joined: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = itertools.chain([{"first": {"CPU": 1.0}}], itertools.repeat({"second": {"CPU": 1.0}}))
    monkeypatch.setattr(ray_trials, "nodes", lambda: next(nodes))
    known = []

    def fit(runs: ray_trials.Runs, work: ray_trials.Work, tell: ray_trials.Tell) -> None:
        tell(("started", (trial.sweep, trial.id)))
        known.append(runs[0][0]["known"])
        if len(known) == 1:
            missing_row(trial, store, Outcome("ok"))  # and its node goes before it can say so
        else:
            tell(("ended", (trial.sweep, trial.id), "ok"))

    monkeypatch.setattr(ray_trials, "fit", fit)
    execute([(trial,)], store, Path("data"), Silent(), Way())
    assert known == [None, None]
    assert store.status(trial.sweep, trial.id) == "ok"


def test_a_cluster_is_asked_for_each_kind_of_node_and_at_last_for_none(
    trial: Trial, store: Store, joined: list[Any]
) -> None:
    resources = [Resources(custom={"a100": 1}), Resources(custom={"h100": 1})]
    packs = [(replace(trial, seed=seed, resources=asked),) for seed, asked in enumerate(resources)]
    display = Silent()
    execute(packs, store, Path("data"), display, Way(wait_seconds=0.05))
    assert joined == [resources, []]
    assert "2 trials wait for a node" in display.notes[0]
    assert [store.status(trial.sweep, trial.id) for (trial,) in packs] == ["lost", "lost"]


WARNED = (
    "pairs/tests.faulty:Iterates: this trial has no checkpoints: state['method'].factors is a builtins.list_iterator"
)


@pytest.fixture
def unsavable(sweeps_file: Callable[[str], Path]) -> list[Trial]:
    """Two trials that warn, as no checkpoint can hold what they keep."""
    text = SWEEPS.replace("methods.linear", 'methods."tests.faulty:Iterates"').replace(
        "steps = 1", "steps = 2\nseeds = 2"
    )
    return load_sweeps(sweeps_file(text), "quick")[0].trials()


def test_warnings_of_trials_in_this_process_are_noted_once(
    unsavable: list[Trial], store: Store, data_folder: Path, recwarn: pytest.WarningsRecorder
) -> None:
    display = Silent()
    way = Way("inline", checkpoint_seconds=1e-9)
    assert execute([(trial,) for trial in unsavable], store, data_folder, display, way)
    assert [store.status(trial.sweep, trial.id) for trial in unsavable] == ["ok", "ok"]
    assert [note[: len(WARNED)] for note in display.notes] == [WARNED]
    assert not [warning for warning in recwarn if "checkpoint" in str(warning.message)]


def test_warnings_of_trials_in_workers_are_noted_once(
    unsavable: list[Trial], store: Store, joined: list[Any], data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(runs: ray_trials.Runs, work: ray_trials.Work, tell: ray_trials.Tell) -> None:
        for pack in runs:
            config = {"runs": json.dumps(pack), "work": asdict(work)}
            trial = SimpleNamespace(config=config)
            watch = ray_trials._Watch([run["trial"] for run in pack], tell)
            watch.on_trial_result(0, [], trial, ray_trials._worker(config))

    monkeypatch.setattr(ray_trials, "nodes", lambda: {"here": {"CPU": 1.0}})
    monkeypatch.setattr(ray_trials, "fit", fit)
    display = Silent()
    assert execute([(trial,) for trial in unsavable], store, data_folder, display, Way(checkpoint_seconds=1e-9))
    assert [note[: len(WARNED)] for note in display.notes] == [WARNED]


def test_each_trial_of_a_pack_is_told_to_advance_in_few_messages(
    unsavable: list[Trial], store: Store, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=0.1)  # a tenth of a second from one look to the next

    def run_prepared(pack: Any, store: Any, data: Any, reports: list[Report], *others: Any, **options: Any) -> Any:
        for step in range(100):
            for report in reports:
                report("train", step, 100, 0.5)
        return [Outcome("ok") for _ in pack]

    pack = [{"trial": trial.to_record(), "known": None} for trial in unsavable]
    config = {"runs": json.dumps(pack), "work": asdict(work_in(str(store.root), data_folder))}
    told: list[Any] = []
    watch = ray_trials._Watch([run["trial"] for run in pack], told.append)
    messages: list[Any] = []
    monkeypatch.setattr(ray_trials, "run_prepared", run_prepared)
    monkeypatch.setattr(ray_trials, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(ray_trials.tune, "report", messages.append)
    ray_trials._worker(config)
    for message in messages:
        watch.on_trial_result(0, [], SimpleNamespace(config=config), message)
    assert 5 <= len(messages) <= 200 * 0.1 / ray_trials.REPORT_SECONDS + 1
    for trial in unsavable:
        steps = [step for _, key, _, step, *_ in told if key == (trial.sweep, trial.id)]
        assert len(steps) >= len(messages) - 1
        assert steps == sorted(set(steps))
        assert steps[-1] > 80


def test_warnings_of_others_are_shown_as_ever(recwarn: pytest.WarningsRecorder) -> None:
    notes: list[str] = []
    with warnings_noted(notes.append, "sweep"):
        warnings.warn_explicit("of another", UserWarning, "/elsewhere/package.py", 1)
        warnings.warn_explicit("of ours", UserWarning, execution.__file__, 1)
    assert [str(warning.message) for warning in recwarn] == ["of another"]
    assert notes == ["sweep: of ours"]


def test_a_row_that_this_machine_does_not_see_yet_is_not_replaced(
    trial: Trial, store: Store, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as shared:  # a folder whose listing is from before the run
        shared.setattr(Store, "stamp", lambda *arguments: None)
        shared.setattr(Store, "status", lambda *arguments: None)
        execute([(trial,)], store, data_folder, Silent(), Way("inline"))
    assert store.status(trial.sweep, trial.id) == "ok"
