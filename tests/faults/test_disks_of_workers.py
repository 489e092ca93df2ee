"""Disks that are full, read-only or gone while Ray's workers write to them: they wait, and when their patience is over
the run stops and says why; nothing finished is lost, and a second run completes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench.trial
from bench.cli import main
from tests.faults.disks import Disk, mounted
from tests.faults.paced import LOG
from tests.faults.test_disks import PAIRS, arguments, ok_trials, row_files, when_finished

ROOT = Path(__file__).parent.parent.parent
TRIALS = 8
SWEEPS = PAIRS.replace("[0, 1, 2, 3]", str(list(range(TRIALS))))
SAID = {
    "full": "No space left on device; make room there",
    "read-only": "Read-only file system; make it writable",
    "gone": "another folder lies there than before, or none, as when a disk is unmounted; mount it again",
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 4 MB where the results go."""
    with mounted(tmp_path / "results", 4096) as small:
        yield small


def run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Runs a sweep through Ray."""
    command = [sys.executable, "-m", "bench", *arguments(folder, text, "ray")]
    environment = os.environ | {LOG: str(folder / "log")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(
    "fault", ["gone", *(pytest.param(name, marks=pytest.mark.slow) for name in ("full", "read-only"))]
)
def test_a_run_whose_workers_have_no_patience_left_stops_and_says_why_and_the_next_does_the_rest(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    impatient = SWEEPS.replace("paced:Paced", "impatient:Impatient")
    place = disk.path
    do, undo = disk.fault(fault)
    when_finished(1, place, do)
    done = run(tmp_path, impatient)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith(f"error: cannot write {'to ' if fault == 'gone' else ''}{place}")
    assert SAID[fault] in done.stderr
    assert "nothing that was finished is lost" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    begun = {line.split()[1] for line in (tmp_path / "log").read_text().splitlines() if line.startswith("begin")}
    assert len(begun) < TRIALS  # it does not train what it cannot keep
    finished = row_files(disk.path)
    assert 1 <= len(finished) < TRIALS
    assert ok_trials(disk.path) == len(finished)
    if fault == "gone":
        assert [path for path in place.rglob("*") if path.is_file()] == []

    undo()
    monkeypatch.setattr(bench.trial, "PATIENCE_SECONDS", 0.0)  # the method's module sets it: is set back afterwards
    monkeypatch.setattr(bench.trial, "RETRY_SECONDS", 0.01)
    assert main(arguments(tmp_path, impatient)) == 0
    assert ok_trials(place) == TRIALS
    assert row_files(place).items() >= finished.items()


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(SAID))
def test_workers_wait_until_the_disk_is_as_it_was(disk: Disk, tmp_path: Path, fault: str) -> None:
    do, undo = disk.fault(fault)
    when_finished(1, disk.path, lambda: (do(), time.sleep(5), undo()))
    done = run(tmp_path, SWEEPS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ok_trials(tmp_path / "results") == TRIALS
    begun = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("begin")]
    assert len(begun) == TRIALS
