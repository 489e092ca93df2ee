"""Two runs at once on one results folder, and a report or a merge beside them: the same rows in the end, never half a
file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from bench.storage.store import Store
from tests.faults.paced import LOG, Log

ROOT = Path(__file__).parent.parent.parent
TRIALS = 8
SWEEPS = f"""
[sweep.paced]
kind = "transport"
metrics = ["l2-uvp", "cosine"]
batch_size = 16
steps = 5
datasets.gaussians = {{}}
methods."tests.faults.paced:Paced" = {{ number = {list(range(TRIALS))}, step_seconds = 0.1 }}
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    (folder / "sweeps.toml").write_text(SWEEPS)
    command = [sys.executable, "-m", "bench", *arguments]
    environment = os.environ | {LOG: str(folder / "log")}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def start_run(folder: Path, results: str, executor: str = "inline") -> subprocess.Popen[str]:
    options = ["--results", str(folder / results), "--data", str(folder / "data"), "--executor", executor]
    return start(folder, "run", str(folder / "sweeps.toml"), *options)


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit status and what was printed, which is no traceback."""
    printed, _ = process.communicate(timeout=300)
    assert "Traceback" not in printed, printed
    return process.returncode, printed


def numbers(results: Path) -> pd.DataFrame:
    found = Store(results).read()
    assert found.problems == []
    columns = ["trial_id", "status", "metric", "value", "steps"]
    return found.rows[columns].sort_values(["trial_id", "metric"]).reset_index(drop=True)


def check_runs_at_once(folder: Path, executors: tuple[str, ...]) -> None:
    runs = [start_run(folder, "results", executor) for executor in executors]
    for process in runs:
        status, printed = end(process)
        assert status == 0, printed
    attempts = Log(folder / "log").read()
    often = Counter(attempt.number for attempt in attempts)
    assert set(often) == set(range(TRIALS))
    assert max(often.values()) <= len(executors)
    assert all(attempt.ended for attempt in attempts)
    assert not list((folder / "results").rglob(".*.tmp"))

    assert end(start_run(folder, "calm"))[0] == 0
    pd.testing.assert_frame_equal(numbers(folder / "results"), numbers(folder / "calm"), check_exact=True)
    for path in (folder / "calm" / "artifacts").rglob("weights.safetensors"):
        assert (folder / "results" / path.relative_to(folder / "calm")).read_bytes() == path.read_bytes()
    assert "nothing to run" in end(start_run(folder, "results"))[1]


def test_two_runs_at_once_end_in_the_rows_of_one(tmp_path: Path) -> None:
    check_runs_at_once(tmp_path, ("inline", "inline"))


@pytest.mark.slow
def test_two_runs_through_ray_at_once_end_in_the_rows_of_one(tmp_path: Path) -> None:
    check_runs_at_once(tmp_path, ("ray", "ray"))


def test_reports_and_merges_beside_a_run_see_whole_trials_only(tmp_path: Path) -> None:
    results = tmp_path / "results"
    run = start_run(tmp_path, "results")
    while not list(results.glob("rows/*/[!.]*.parquet")):
        assert run.poll() is None, run.communicate()[0]
    for number in range(100):
        running = run.poll() is None
        report = start(tmp_path, "report", "--results", str(results), "--out", str(tmp_path / "reports"))
        merge = start(tmp_path, "merge", str(results), "--out", str(tmp_path / f"merged-{number}"))
        for process in (report, merge):
            status, printed = end(process)
            assert status == 0, printed
        merged = Store(tmp_path / f"merged-{number}").read()
        assert merged.problems == []
        assert set(merged.rows["status"]) == {"ok"}
        assert (merged.rows.groupby("trial_id").size() == 2).all()
        for trial_id in merged.rows["trial_id"].unique():
            assert "weights.safetensors" in Store(tmp_path / f"merged-{number}").artifacts(trial_id)
        if not running:
            break
    assert end(run)[0] == 0
    pd.testing.assert_frame_equal(numbers(tmp_path / f"merged-{number}"), numbers(results), check_exact=True)
