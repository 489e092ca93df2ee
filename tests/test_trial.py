"""What a trial leaves where other runs, disks and limits interfere."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import bench.trial
from bench.identity import Trial
from bench.outcomes import Outcome
from bench.preparation import run_prepared
from bench.storage.store import Store, StoreError
from bench.sweeps import load_sweeps
from bench.trial import Run, run_trial
from datasets.base import DataError

SWEEPS = """
[sweep.shifts]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 8
steps = 3
seeds = 1
timeout = 1.0
datasets.gaussians = { dim = 2 }
methods."tests.faulty:Shift" = {}
"""


@pytest.fixture
def trial(sweeps_file: Callable[[str], Path]) -> Trial:
    ((trial,),) = [sweep.trials() for sweep in load_sweeps(sweeps_file(SWEEPS), "quick")]
    return trial


@pytest.fixture
def data() -> Path:
    return Path(os.environ["BENCH_DATA"])


def no_report(stage: str, step: int, planned: int | None, loss: float) -> None: ...


def test_a_trial_that_failed_leaves_the_results_of_another_run_that_has_done_it_meanwhile(
    trial: Trial, data: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    late = Run(trial, store, data, no_report)
    assert run_trial(trial, store, data, no_report) == Outcome("ok")
    rows = store.trial_rows(trial.sweep, trial.id)
    assert late.write(Outcome("failed", "OutOfMemory", "too little")) == Outcome("ok")
    assert store.trial_rows(trial.sweep, trial.id) == rows


def test_a_trial_that_is_run_again_and_fails_says_so(trial: Trial, data: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    run_trial(trial, store, data, no_report)
    again = Run(trial, store, data, no_report)
    assert again.write(Outcome("failed", "OutOfMemory", "too little")).status == "failed"
    assert store.status(trial.sweep, trial.id) == "failed"


def test_waiting_for_a_disk_counts_for_no_limit_of_time(
    trial: Trial, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, refused = Store(tmp_path), []
    really = store.replacing_artifacts

    def refuse(trial_id: str) -> object:
        if len(refused) < 3:
            refused.append(trial_id)
            raise StoreError("the disk is full")
        return really(trial_id)

    monkeypatch.setattr(store, "replacing_artifacts", refuse)
    monkeypatch.setattr(bench.trial, "RETRY_SECONDS", 0.5)  # three times that is above the trial's limit
    assert run_trial(trial, store, data, no_report) == Outcome("ok")
    assert len(refused) == 3


@pytest.mark.parametrize(
    ("cause", "status"), [(OSError(errno.ENOSPC, "No space left on device"), "lost"), (None, "failed")]
)
def test_data_that_a_full_disk_refuses_is_prepared_again_by_the_next_run(
    cause: OSError | None,
    status: str,
    trial: Trial,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def build(wanted: object, root: Path) -> object:
        raise DataError("cannot write") from cause

    monkeypatch.setattr("bench.preparation._build", build)
    store = Store(tmp_path)
    (outcome,) = run_prepared([trial], store, data, [no_report], print, 0.0, download=True)
    assert outcome == Outcome(status, "DataError", "cannot write")
    assert store.status(trial.sweep, trial.id) == status


def test_a_trial_of_two_sweeps_is_known_in_both(sweeps_file: Callable[[str], Path], data: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    both = SWEEPS + SWEEPS.replace("shifts", "others")
    for sweep in load_sweeps(sweeps_file(both), "quick"):
        for trial in sweep.trials():
            run_trial(trial, store, data, no_report)
    assert sorted(sweep for sweep, _ in store.read().trials) == ["others", "shifts"]


def test_a_trial_in_tf32_is_not_run_on_a_cpu_as_if_it_were(trial: Trial, data: Path, tmp_path: Path) -> None:
    there = replace(trial, budget=replace(trial.budget, precision="tf32"))
    outcome = run_trial(there, Store(tmp_path), data, no_report)
    assert outcome.status == "failed"
    assert 'precision = "tf32" is of GPUs' in str(outcome.error)
