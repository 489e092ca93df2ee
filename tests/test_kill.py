"""Ctrl-C, SIGTERM and kill -9 half-way: what was finished stays, and the next run does the rest."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from bench.cli import main
from bench.storage.store import Store

ROOT = Path(__file__).parent.parent
SWEEPS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 8
steps = 8
seeds = 3
datasets.gaussians = {}
methods."tests.faulty:Slow" = {}
"""


def arguments(path: Path, results: Path) -> list[str]:
    return ["run", str(path), "--results", str(results), "--executor", "inline"]


def start(path: Path, results: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench", *arguments(path, results)]
    # A shell's background jobs ignore Ctrl-C, and hand that down: a run started at a prompt does not.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def numbers(results: Path) -> pd.DataFrame:
    frame = pd.read_parquet(results / "rows").sort_values("trial_id").reset_index(drop=True)
    return frame[["trial_id", "status", "metric", "value", "steps"]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The numbers of a run that nobody kills."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "sweeps.toml").write_text(SWEEPS)
    assert main(arguments(folder / "sweeps.toml", folder)) == 0
    return numbers(folder)


@pytest.mark.parametrize(
    ("kill", "exit_status", "left"),
    [
        (signal.SIGINT, 130, {"ok", "interrupted"}),
        (signal.SIGTERM, 130, {"ok", "interrupted"}),
        (signal.SIGKILL, -signal.SIGKILL, {"ok"}),
    ],
    ids=["SIGINT", "SIGTERM", "SIGKILL"],
)
def test_a_killed_run_keeps_what_it_finished_and_the_next_equals_an_uninterrupted_one(
    whole: pd.DataFrame,
    sweeps_file: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kill: signal.Signals,
    exit_status: int,
    left: set[str],
) -> None:
    path = sweeps_file(SWEEPS)
    killed = start(path, tmp_path / "killed")
    rows = tmp_path / "killed" / "rows" / "pairs"
    deadline = time.monotonic() + 60
    while not list(rows.glob("[!.]*.parquet")):
        assert killed.poll() is None, killed.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(kill)
    killed.communicate(timeout=60)
    assert killed.returncode == exit_status
    found = Store(tmp_path / "killed").read()
    assert found.problems == []
    assert set(found.rows["status"]) == left

    assert main(arguments(path, tmp_path / "killed")) == 0
    finished = int((found.rows["status"] == "ok").sum())
    assert f"{3 - finished} trials to run, {finished} already done" in capsys.readouterr().out
    pd.testing.assert_frame_equal(numbers(tmp_path / "killed"), whole)
