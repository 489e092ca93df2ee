"""Results at a URL, as machines with mirrors of their own see them; without a server, at file://."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.commands import results_option
from bench.outcomes import Outcome, missing_row
from bench.storage.doctor import YOUNG_SECONDS, examine, repair
from bench.storage.mirror import MirrorStore, open_store
from bench.storage.store import Store
from tests.test_identity import TRIAL

POINT = {"stage": "train", "step": 1, "seconds": 0.1, "name": "loss"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Store]:
    """Goes to a machine of this name; its store of the same results."""
    (tmp_path / "bucket").mkdir()

    def go(name: str) -> Store:
        monkeypatch.setenv("BENCH_DATA", str(tmp_path / name))
        return open_store(f"file://{tmp_path}/bucket")

    return go


def test_a_row_of_an_interrupted_trial_gives_way_to_an_ok_one_that_came_meanwhile(
    machine: Callable[[str], Store],
) -> None:
    here = machine("here")
    here.pull()
    missing_row(TRIAL, machine("there"), Outcome("ok"))
    missing_row(TRIAL, here, Outcome("interrupted", "KeyboardInterrupt", "the run was interrupted"))
    assert here.status(TRIAL.sweep, TRIAL.id) == "ok"
    third = machine("third")
    third.pull()
    assert third.status(TRIAL.sweep, TRIAL.id) == "ok"


def test_a_trial_that_fails_again_replaces_its_own_row(machine: Callable[[str], Store]) -> None:
    here = machine("here")
    missing_row(TRIAL, here, Outcome("lost"))
    missing_row(TRIAL, here, Outcome("failed"))
    there = machine("there")
    there.pull()
    assert there.status(TRIAL.sweep, TRIAL.id) == "failed"


def test_curves_of_a_trial_that_failed_here_never_replace_those_of_the_same_trial_that_is_ok(
    machine: Callable[[str], Store],
) -> None:
    here = machine("here")
    apart = Store(here.root)  # writes, and dies before it sends
    apart.write_curves(TRIAL.sweep, TRIAL.id, [POINT | {"value": -1.0}])
    missing_row(TRIAL, apart, Outcome("failed"))
    there = machine("there")
    there.write_curves(TRIAL.sweep, TRIAL.id, [POINT | {"value": 1.0}])
    missing_row(TRIAL, there, Outcome("ok"))
    here.pull()
    third = machine("third")
    third.pull()
    for store in (here, third):
        assert store.status(TRIAL.sweep, TRIAL.id) == "ok"
        assert store.read_curves()["value"].tolist() == [1.0]


def test_a_folder_that_doctor_puts_aside_stays_aside(machine: Callable[[str], Store]) -> None:
    here = machine("here")
    with here.replacing_artifacts(TRIAL.id) as folder:
        (folder / "samples.png").write_bytes(b"1")
    later = here.artifacts_path(TRIAL.id).stat().st_mtime + YOUNG_SECONDS + 1
    (finding,) = examine(here.root, now=later)
    aside = repair(here, finding)
    assert here.unsent() is None
    for store in (here, machine("there")):
        store.pull()
        assert not store.artifacts_path(TRIAL.id).exists()
    assert (aside / "samples.png").read_bytes() == b"1"


def test_a_run_that_starts_beside_another_can_write_too(
    machine: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MirrorStore, "_upload", lambda *arguments: None)  # the other has removed it
    machine("here").check_writable()


def test_what_two_machines_plan_at_once_is_planned_until_the_whole_is(machine: Callable[[str], Store]) -> None:
    here, there = machine("here"), machine("there")
    for store in (here, there):
        store.pull()
    here.write_plan("s", "quick", {"a": {}}, extend=True)
    there.write_plan("s", "quick", {"b": {}}, extend=True)
    third = machine("third")
    third.pull()
    (planned,) = third.read().planned.values()
    assert sorted(planned) == ["a", "b"]
    third.write_plan("s", "quick", {"c": {}}, extend=False)
    for store in (here, there):
        store.pull()
        assert store.read().planned == {("s", "quick"): ["c"]}


def test_artifacts_that_another_process_is_just_replacing_stay_where_they_were_sent(
    machine: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine("here")
    with here.replacing_artifacts(TRIAL.id) as folder:
        (folder / "samples.png").write_bytes(b"1")
    path = here.artifacts_path(TRIAL.id)
    shutil.rmtree(path)
    monkeypatch.setattr(Path, "is_dir", lambda self: True)  # as it was the moment before
    here.written(path)
    monkeypatch.undo()
    there = machine("there")
    there.pull()
    assert there.artifacts(TRIAL.id).keys() == {"samples.png"}


def test_a_folder_that_another_process_moves_while_files_are_looked_for_does_no_harm(
    machine: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine("here")
    moved = here.artifacts_path(f".{TRIAL.id}.tmp")
    moved.mkdir(parents=True)
    really = os.scandir

    def scandir(path: Any = ".") -> Any:
        if Path(path) == moved:
            moved.rmdir()
        return really(path)

    monkeypatch.setattr(os, "scandir", scandir)
    here.pull()
    assert not moved.exists()


def test_only_a_mirror_of_this_machine_says_where_its_results_lie(
    machine: Callable[[str], Store], tmp_path: Path
) -> None:
    here = machine("here")
    assert open_store(here.root).location == here.location
    assert results_option(here.root) == f" --results {here.location}"
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / ".url").write_text("s3://bucket/results?endpoint_override=elsewhere.example")
    assert open_store(foreign).location == str(foreign)
    assert results_option(foreign) == f" --results {foreign}"
