"""What is wrong in a results folder is found and put right, and nothing is ever deleted."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench.cli import main
from bench.storage import reading
from bench.storage.doctor import YOUNG_SECONDS, examine, repair
from bench.storage.store import Store
from tests.test_identity import TRIAL

A, B, C = (letter * 64 for letter in "abc")
POINT = {"stage": "train", "step": 1, "seconds": 0.1, "name": "loss", "value": 2.0}


def add(store: Store, trial_id: str, value: float = 0.5) -> Path:
    row = {"trial_id": trial_id, "sweep": "s", "scale": "quick", "status": "ok", "metric": "mse", "value": value}
    store.write_curves("s", trial_id, [POINT])
    return store.write_rows([row], {"sweep": "s", "scale": "quick"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    add(store, A)
    add(store, B)
    with store.replacing_artifacts(A) as folder:
        (folder / "samples.png").write_bytes(b"1")
    store.write_plan("s", "quick", {A: {}, B: {}}, extend=False)
    return store


def later() -> float:
    return Path("/").stat().st_mtime + 1e9


def contents(root: Path) -> list[bytes]:
    """Of every file there is, wherever it lies."""
    return sorted(path.read_bytes() for path in root.rglob("*") if path.is_file())


def test_a_sound_folder_has_nothing_wrong(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert examine(store.root, now=later()) == []
    assert main(["doctor", "--results", str(store.root)]) == 0
    assert "nothing wrong" in capsys.readouterr().out


def test_what_is_damaged_foreign_or_left_over_is_put_aside_and_kept(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    root = store.root
    broken = {
        f"rows/s/{B}.parquet": "cannot be read as Parquet",
        "rows/notes.txt": "not a file of ours",
        "rows/s/.x.parquet.1.tmp": "half a file",
        f"curves/s/{B}.parquet": "cannot be read as Parquet",
        f"curves/s/{C}.parquet": "cannot be read as Parquet",
        f"artifacts/{C}": "has no rows",
        f"artifacts/.{C}.77": "killed as it wrote them",
        f"artifacts/{A}/weights.safetensors": "cannot be read as safetensors",
        f"checkpoints/s/{A}.safetensors": "cannot be read as safetensors",
        "tuning/s-quick/x/00001.parquet": "not a readable trial of a search",
        "plans/t-quick.json": "not a readable plan",
        "compact/s.rows.parquet": "a damaged copy",
        "compact/other": "not a file of ours",
        "conflicts.parquet": "cannot be read as Parquet",
        "conflicts/1/rows/s/x.parquet": "cannot be read as Parquet",
    }
    for name in broken:
        path = root / name
        if name.startswith("artifacts") and not path.suffix.startswith(".safe"):
            path.mkdir(parents=True)
            path /= "samples.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"broken {name}".encode())
    before = contents(root)

    findings = examine(root, now=later())
    assert {finding.path.relative_to(root).as_posix() for finding in findings} == set(broken)
    for finding in findings:
        assert broken[finding.path.relative_to(root).as_posix()] in finding.what
    assert contents(root) == before  # looking changes nothing

    for finding in findings:
        assert root / "quarantine" in repair(store, finding).parents
    assert contents(root) == before
    assert examine(root, now=later()) == []
    found = store.read()
    assert (found.problems, found.rows["trial_id"].tolist()) == ([], [A])


def test_a_record_that_makes_another_id_is_told(store: Store) -> None:
    altered = TRIAL.to_record() | {"spec": TRIAL.spec | {"seed": 99}}
    sound, row = replace(TRIAL, seed=5), {"sweep": TRIAL.sweep, "scale": TRIAL.scale, "status": "ok"}
    store.write_rows([row | {"trial_id": sound.id}], sound.to_record())
    rows = store.write_rows([row | {"trial_id": TRIAL.id}], altered)
    store.write_plan("z", "quick", {sound.id: sound.to_record()}, extend=False)
    assert [finding.path for finding in examine(store.root)] == [rows]
    store.write_plan("z", "quick", {TRIAL.id: altered}, extend=False)
    told = {finding.path: finding.what for finding in examine(store.root)}
    assert told == {
        rows: "its record of the trial makes another id, so it was altered",
        store.plan_path("z", "quick"): f"its record of {TRIAL.id[:12]} makes another id, so it was altered",
    }


def test_a_checkpoint_is_left_over_once_its_trial_has_ended(store: Store) -> None:
    for trial_id in (A, C):  # with an ok row, and with none
        path = store.checkpoint_path("s", trial_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"weight": np.zeros(1)}, path)
    (finding,) = examine(store.root, now=later())
    assert finding.path == store.checkpoint_path("s", A)
    assert "a checkpoint of a trial that has ended" in finding.what
    assert examine(store.root) == []  # it may be running again


def test_what_a_run_may_be_writing_is_left_alone(store: Store) -> None:
    store.write_curves("s", C, [POINT])
    (store.root / "rows" / "s" / ".x.parquet.1.tmp").write_bytes(b"half")
    written = (store.root / "rows" / "s" / ".x.parquet.1.tmp").stat().st_mtime
    assert examine(store.root, now=written + YOUNG_SECONDS / 2) == []
    assert len(examine(store.root, now=written + 2 * YOUNG_SECONDS)) == 2


def test_a_trial_under_another_name_is_moved_to_its_own_and_a_second_one_put_aside(store: Store) -> None:
    path = store.rows_path("s", A)
    whole = path.read_bytes()
    for name in ("one", "two"):
        path.with_name(f"{name}.parquet").write_bytes(whole)
    path.unlink()
    findings = examine(store.root)
    assert [(finding.path.stem, finding.home) for finding in findings] == [("one", path), ("two", path)]
    assert [repair(store, finding) for finding in findings] == [
        path,
        store.root / "quarantine" / "rows" / "s" / "two.parquet",
    ]
    assert path.read_bytes() == whole
    assert store.read().problems == []
    path.with_name("three.parquet").write_bytes(whole)
    (finding,) = examine(store.root)
    assert finding.home is None
    assert f"those of a trial that has its file, {path}" in finding.what


def test_a_damaged_file_is_written_anew_from_its_copy(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "MANY", 1)
    store.compact("s")
    path = store.rows_path("s", A)
    rows, record = store.trial_rows("s", A), store.trial_record("s", A)
    when = path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.write(b"\0" * 100)
    os.utime(path, ns=(when, when))
    assert store.status("s", A) is None
    assert main(["doctor", "--results", str(store.root)]) == 1
    assert main(["doctor", "--results", str(store.root), "--repair"]) == 0
    assert "written anew from its copy" in capsys.readouterr().out
    assert (store.trial_rows("s", A), store.trial_record("s", A)) == (rows, record)
    assert (store.root / "quarantine" / "rows" / "s" / path.name).is_file()


def test_what_was_put_aside_twice_under_one_name_is_kept_twice(store: Store) -> None:
    for number in range(3):
        store.rows_path("s", B).write_bytes(b"broken %d" % number)
        (finding,) = examine(store.root)
        repair(store, finding)
    kept = sorted((store.root / "quarantine" / "rows" / "s").iterdir())
    assert [path.read_bytes() for path in kept] == [b"broken 0", b"broken 1", b"broken 2"]
