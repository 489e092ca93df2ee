"""Disks that are full, read-only or gone: nothing finished is lost, messages say what to do, a second run completes."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

import bench.trial
from bench.cli import main
from bench.storage.store import Store
from tests.faults.disks import Disk, mounted

PAIRS = """
[sweep.paced]
kind = "transport"
metrics = ["l2-uvp", "cosine"]
batch_size = 16
steps = 5
datasets.gaussians = {}
methods."tests.faults.paced:Paced" = { number = [0, 1, 2, 3], step_seconds = 0.05 }
"""
DIGITS = """
[sweep.digits]
kind = "autoencoding"
metrics = ["mse"]
batch_size = 64
steps = 5
seeds = 2
datasets.digits = {}
methods.ae = { latent_dim = 2 }
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 4 MB where the results go."""
    with mounted(tmp_path / "results", 4096) as small:
        yield small


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that is done does not wait for its disk."""
    monkeypatch.setattr(bench.trial, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(bench.trial, "RETRY_SECONDS", 0.01)


def arguments(folder: Path, text: str, executor: str = "inline") -> list[str]:
    (folder / "sweeps.toml").write_text(text)
    options = ["--results", str(folder / "results"), "--data", str(folder / "data"), "--executor", executor]
    return ["run", str(folder / "sweeps.toml"), *options]


def row_files(results: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in results.glob("rows/*/[!.]*.parquet")}


def when(ready: Callable[[], bool], do: Callable[[], object]) -> None:
    """Does something as soon as it is time, beside the run."""

    def watch() -> None:
        while not ready():
            time.sleep(0.005)
        do()

    threading.Thread(target=watch, daemon=True).start()


def when_finished(count: int, results: Path, do: Callable[[], object]) -> None:
    """Does something as soon as so many trials have their rows, beside the run."""
    when(lambda: len(list(results.glob("rows/*/[!.]*.parquet"))) >= count, do)


def ok_trials(results: Path) -> int:
    found = Store(results).read()
    assert found.problems == []
    return int(found.rows[found.rows["status"] == "ok"]["trial_id"].nunique())


def assert_equal_to_calm(command: list[str], folder: Path) -> None:
    """The numbers and weights in results/ are those of the same run without faults, and without checkpoints."""
    results, calm = folder / "results", folder / "calm"
    assert main([*(str(calm) if part == str(results) else part for part in command), "0"]) == 0
    numbers = [
        pd.read_parquet(root / "rows").sort_values(["trial_id", "metric"]).reset_index(drop=True)
        for root in (results, calm)
    ]
    columns = ["trial_id", "status", "metric", "value", "steps"]
    pd.testing.assert_frame_equal(numbers[0][columns], numbers[1][columns], check_exact=True)
    weights = list((calm / "artifacts").rglob("weights.safetensors"))
    assert weights
    for path in weights:
        assert (results / path.relative_to(calm)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_run_that_cannot_write_stops_and_says_why_and_the_next_does_the_rest(
    disk: Disk, tmp_path: Path, impatient: None, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    do, undo = disk.fault(fault)
    when_finished(1, disk.path, do)
    assert main(arguments(tmp_path, PAIRS)) == 2
    said = capsys.readouterr().err
    assert re.search(
        r"error: cannot write \S+: (No space left on device; make room|Read-only file system; make it)", said
    )
    assert "nothing that was finished is lost" in said
    finished = row_files(disk.path)
    assert 1 <= len(finished) < 4
    assert ok_trials(disk.path) == len(finished)

    undo()
    assert main(arguments(tmp_path, PAIRS)) == 0
    assert ok_trials(disk.path) == 4
    assert row_files(disk.path).items() >= finished.items()
    assert not list(disk.path.rglob(".*.tmp"))


def test_a_disk_that_is_taken_away_is_missed_and_nothing_is_written_where_it_was(
    disk: Disk, tmp_path: Path, impatient: None, capsys: pytest.CaptureFixture[str]
) -> None:
    place = disk.path
    take_away, put_back = disk.fault("gone")
    when_finished(1, place, take_away)
    assert main(arguments(tmp_path, PAIRS)) == 2
    assert f"cannot write to {place}: another folder lies there than before" in capsys.readouterr().err
    assert row_files(place) == {}
    finished = row_files(disk.path)
    assert 1 <= len(finished) < 4

    put_back()
    assert main(arguments(tmp_path, PAIRS)) == 0
    assert ok_trials(place) == 4
    assert row_files(place).items() >= finished.items()


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_run_does_not_begin_on_a_disk_that_takes_nothing(
    disk: Disk, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    disk.fault(fault)[0]()
    assert main(arguments(tmp_path, PAIRS)) == 2
    said = capsys.readouterr()
    assert "results cannot be written to" in said.err
    assert "choose another with --results" in said.err
    assert "trials to run" not in said.out


@pytest.mark.parametrize("text", [PAIRS, DIGITS], ids=["map", "autoencoder"])
def test_a_trial_that_is_done_waits_for_room_and_keeps_its_numbers(
    disk: Disk, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(bench.trial, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr("bench.progress.LINE_SECONDS", 0.0)
    when_finished(1, disk.path, lambda: (disk.fill(), time.sleep(1), disk.make_room()))
    assert main(arguments(tmp_path, text)) == 0
    assert "waits, cannot write" in capsys.readouterr().out
    assert_equal_to_calm([*arguments(tmp_path, text), "--checkpoint-seconds"], tmp_path)


@pytest.mark.parametrize("fault", ["full", "full of files", "read-only"])
def test_a_checkpoint_that_the_disk_refuses_is_one_warning_and_the_trial_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    command = [*arguments(tmp_path, PAIRS), "--where", "number=1", "--checkpoint-seconds"]
    with mounted(tmp_path / "results" / "checkpoints", 64, files=1 if fault == "full of files" else 100) as disk:
        if fault != "full of files":
            disk.fault(fault)[0]()
        assert main([*command, "1e-9"]) == 0
        assert capsys.readouterr().out.count(f"no checkpoint could be written to {disk.path}") == 1
        assert not list(disk.path.rglob("*.safetensors*"))
    assert_equal_to_calm(command, tmp_path)


def test_a_checkpoint_that_cannot_be_removed_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*arguments(tmp_path, PAIRS), "--where", "number=1", "--checkpoint-seconds"]
    with mounted(tmp_path / "results" / "checkpoints", 64) as disk:
        when(lambda: bool(list(disk.path.glob("*/[!.]*"))), disk.make_read_only)
        assert main([*command, "1e-9"]) == 0
        told = [line for line in capsys.readouterr().out.splitlines() if "Read-only file system" in line]
        assert len(told) == 2
        assert "Read-only file system" in told[0]
        assert "the trial goes on without" in told[0]
        assert told[1].endswith("is not needed any more and cannot be removed: Read-only file system")
    assert_equal_to_calm(command, tmp_path)


def test_a_full_data_folder_loses_trials_for_now_and_the_next_run_completes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path / "data", 1024) as data:
        data.fill()
        assert main(arguments(tmp_path, DIGITS)) == 1
        rows = Store(tmp_path / "results").read().rows
        assert set(rows["status"]) == {"lost"}
        assert rows["error"].str.contains("No space left on device").all()
        data.make_room()
        capsys.readouterr()
        assert main(arguments(tmp_path, DIGITS)) == 0
        assert ok_trials(tmp_path / "results") == 2


def test_a_report_on_a_full_disk_says_so(disk: Disk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, PAIRS)) == 0
    before = row_files(disk.path)
    disk.fill()
    report = ["report", "--results", str(disk.path), "--out", str(disk.path / "reports")]
    assert main(report) == 2
    assert "No space left on device" in capsys.readouterr().err
    disk.make_room()
    assert main(report) == 0
    assert row_files(disk.path) == before
