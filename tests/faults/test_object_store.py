"""Results in an object store that fails one request in five, or all for a time: nothing that was finished is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import fs

from bench.cli import main
from bench.driver import run_sweeps
from bench.outcomes import Outcome, missing_row
from bench.storage import mirror
from bench.storage.mirror import MirrorStore, local_results, open_store
from bench.storage.store import Store, StoreError
from tests.faults.flaky_s3 import FlakyS3, serving
from tests.test_identity import TRIAL

SWEEPS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp", "cosine"]
batch_size = 16
steps = 5
seeds = 3
datasets.gaussians = { dim = 2 }
methods."tests.faulty:Shift" = {}
methods.linear = {}
"""
NUMBERS = ["trial_id", "status", "metric", "value", "steps"]


@pytest.fixture
def s3() -> FlakyS3:
    return FlakyS3(0.2, np.random.default_rng(20))


@pytest.fixture
def url(s3: FlakyS3, request: pytest.FixtureRequest, on_machine: Callable[[str], None]) -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with serving(s3, f"bucket-{abs(hash(request.node.name))}") as url:
        yield url


@pytest.fixture
def on_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Goes to a machine of this name, with data and mirrors of its own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")

    def go(name: str) -> None:
        monkeypatch.setenv("BENCH_DATA", str(tmp_path / name))

    go("here")
    return go


def numbers(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "rows").sort_values(["trial_id", "metric"])[NUMBERS].reset_index(drop=True)


def test_with_one_request_in_five_failing_a_sweep_completes_and_another_machine_reads_it(
    sweeps_file: Callable[[str], Path], url: str, s3: FlakyS3, on_machine: Callable[[str], None], tmp_path: Path
) -> None:
    path = sweeps_file(SWEEPS)
    assert main(["run", str(path), "--executor", "inline", "--results", url]) == 0
    assert s3.answered["failed"] >= 10
    run_sweeps(path, executor="inline", results=tmp_path / "undisturbed")
    on_machine("there")
    there = local_results(url)
    assert there.is_relative_to(tmp_path / "there")
    pd.testing.assert_frame_equal(numbers(there), numbers(tmp_path / "undisturbed"))
    assert len(list((there / "artifacts").glob("*/*.safetensors"))) == 6
    before = (there / "rows").stat()
    assert main(["run", str(path), "--executor", "inline", "--results", url]) == 0  # nothing is run again
    assert (there / "rows").stat().st_mtime_ns == before.st_mtime_ns


def test_what_an_outage_kept_from_the_store_is_kept_here_and_sent_by_the_next_run(
    sweeps_file: Callable[[str], Path],
    url: str,
    s3: FlakyS3,
    on_machine: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = sweeps_file(SWEEPS)
    assert main(["run", str(path), "--executor", "inline", "--results", url, "--only", "pairs/linear"]) == 0
    store = open_store(url)
    s3.share = 1.0
    with monkeypatch.context() as impatient:
        impatient.setattr(mirror, "PAUSES", ())
        missing_row(TRIAL, store, Outcome("lost", "WorkerDied", "in the outage"))
        assert "1 files could not be sent" in (store.unsent() or "")
        assert main(["run", str(path), "--executor", "inline", "--results", url]) == 2
    assert "cannot read s3://" in capsys.readouterr().err

    s3.share = 0.2
    assert main(["run", str(path), "--executor", "inline", "--results", url]) == 0
    assert "3 trials to run, 3 already done" in capsys.readouterr().out
    assert store.unsent() is None
    on_machine("there")
    assert Store(local_results(url)).status(TRIAL.sweep, TRIAL.id) == "lost"


def test_a_lost_row_that_was_kept_back_never_replaces_an_ok_one(
    url: str, s3: FlakyS3, on_machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.share = 1.0
    monkeypatch.setattr(mirror, "PAUSES", ())
    missing_row(TRIAL, open_store(url), Outcome("lost", "WorkerDied", "in the outage"))
    s3.share = 0.0
    on_machine("there")
    missing_row(TRIAL, open_store(url), Outcome("ok"))
    on_machine("here")
    store = open_store(url)
    assert store.status(TRIAL.sweep, TRIAL.id) == "lost"
    store.pull()
    assert store.status(TRIAL.sweep, TRIAL.id) == "ok"
    assert store.unsent() is None


def test_an_ok_row_of_a_killed_process_is_sent_though_another_machine_said_lost(
    url: str, s3: FlakyS3, on_machine: Callable[[str], None]
) -> None:
    s3.share = 0.0
    killed = Store(open_store(url).root)  # writes, and dies before it sends
    missing_row(TRIAL, killed, Outcome("ok"))
    on_machine("there")
    missing_row(TRIAL, open_store(url), Outcome("lost", "WorkerDied", ""))
    on_machine("here")
    open_store(url).pull()
    on_machine("elsewhere")
    store = open_store(url)
    store.fetch(TRIAL.sweep, TRIAL.id)
    assert store.status(TRIAL.sweep, TRIAL.id) == "ok"


def test_what_was_removed_there_goes_here_and_what_was_changed_here_stays(url: str, s3: FlakyS3) -> None:
    s3.share = 0.0
    store = open_store(url)
    assert isinstance(store, MirrorStore)
    store.write_plan("one", "quick", {}, extend=False)
    store.write_plan("two", "quick", {}, extend=False)
    for name in ("one", "two"):
        store.filesystem.delete_file(f"{store.base}/plans/{name}-quick.json")
    store.plan_path("two", "quick").write_text("{}")
    store.pull()
    assert not store.plan_path("one", "quick").exists()
    assert store.plan_path("two", "quick").read_text() == "{}"


def test_names_that_lead_out_of_the_folder_are_passed_over(
    url: str, s3: FlakyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.share = 0.0
    store = open_store(url)
    names = ["../out", "rows/../../out", "/out", "rows//out", ".url", "rows/.out", "compact/out", "plans/in.json"]
    infos = [fs.FileInfo(f"results/{name}", fs.FileType.File, size=1, mtime=1.0) for name in names]
    assert isinstance(store, MirrorStore)
    store.base = "results"
    asked: list[str] = []
    monkeypatch.setattr(mirror, "_again", lambda request: infos)
    monkeypatch.setattr(store, "_bring", lambda name, info: asked.append(name))
    store.pull()
    assert asked == ["plans/in.json"]


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(StoreError, match="credentials do not belong into a URL") as caught:
        open_store("s3://key:secret@bucket/results")
    assert "secret" not in str(caught.value)


def test_a_url_of_no_file_system_says_so() -> None:
    with pytest.raises(StoreError, match="cannot open nowhere://results: Unrecognized filesystem"):
        open_store("nowhere://results")
