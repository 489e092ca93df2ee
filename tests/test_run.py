"""`python -m bench run`, whole and in this process: every planned trial has a row, however it ends."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from bench.cli import main
from bench.driver import run_sweeps
from bench.identity import Trial
from bench.storage.schema import ROW_SCHEMA
from bench.storage.store import Store, StoreError
from bench.sweeps import SweepsError

SweepsFile = Callable[[str], Path]

PAIRS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp", "l2-uvp-inverse"]
batch_size = 16
steps = 5
datasets.gaussians = {}
"""
DIGITS = """
[sweep.digits]
kind = "autoencoding"
metrics = ["mse", "kmeans"]
batch_size = 32
epochs = 0.5
seeds = 2
datasets.digits = {}
methods.ae = { latent_dim = 4 }
"""


def run(path: Path, results: Path, **options: Any) -> tuple[int, str]:
    """The exit status and what was printed."""
    output = io.StringIO()
    console = Console(file=output, width=200)
    status = run_sweeps(path, results=results, executor="inline", console=console, **options)
    return status, output.getvalue()


def rows(results: Path) -> pd.DataFrame:
    return pd.read_parquet(results / "rows")


def faulty(*names: str) -> str:
    return PAIRS + "".join(f'methods."tests.faulty:{name}" = {{}}\n' for name in names)


def test_a_run_leaves_rows_curves_and_artifacts(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    status, _ = run(sweeps_file(DIGITS), tmp_path)
    assert status == 0
    frame = rows(tmp_path)
    assert list(frame.columns) == ROW_SCHEMA.names
    assert {"mse", "kmeans-accuracy", "kmeans-nmi", "kmeans-ari"} <= set(frame["metric"])
    assert frame["value"].notna().all()
    assert (frame["status"] == "ok").all()
    # Half an epoch of 1,259 images in batches of 32.
    assert set(frame["steps"]) == {20}
    for column in ("train_seconds", "eval_seconds", "parameters", "threads", "started_at", "torch", "packages"):
        assert frame[column].notna().all(), column
    store = Store(tmp_path)
    for trial_id in frame["trial_id"].unique():
        pictures = {"samples.png", "reconstructions.png", "neighbors.png", "interpolations.png", "traversals.png"}
        assert {*pictures, "latent.parquet", "isometry.parquet", "weights.safetensors"} == set(
            store.artifacts(trial_id)
        )
        assert not store.read_curves([trial_id]).empty


def test_numbers_are_functions_of_the_seed(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    run(sweeps_file(DIGITS), tmp_path / "a")
    run(sweeps_file(DIGITS), tmp_path / "b", only=["digits"], seeds=1)
    first, second = rows(tmp_path / "a"), rows(tmp_path / "b")
    merged = first.merge(second, on=["trial_id", "metric"])
    assert set(merged["metric"]) == set(first["metric"])
    assert (merged["value_x"] == merged["value_y"]).all()
    by_seed = first[first["metric"] == "mse"].set_index("seed")["value"]
    assert by_seed[0] != by_seed[1]


def test_running_again_runs_nothing_and_says_so(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    path = sweeps_file(faulty("Shift"))
    run(path, tmp_path)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
    status, printed = run(path, tmp_path)
    assert status == 0
    assert "nothing to run" in printed
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")} == before


def test_force_runs_again(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    path = sweeps_file(faulty("Shift"))
    run(path, tmp_path)
    (file,) = (tmp_path / "rows").rglob("*.parquet")
    before = file.stat().st_mtime_ns
    run(path, tmp_path, force=True)
    assert file.stat().st_mtime_ns != before


def test_whatever_goes_wrong_has_a_row_that_says_so_and_the_others_finish(
    sweeps_file: SweepsFile, tmp_path: Path
) -> None:
    text = faulty("Raises", "TurnsNaN", "Slow", "Shift").replace("steps = 5", "steps = 15\ntimeout = 0.5")
    status, printed = run(sweeps_file(text), tmp_path)
    assert status == 1
    frame = rows(tmp_path)
    outcome = frame.drop_duplicates("method").set_index("method")
    assert outcome["status"].to_dict() == {
        "tests.faulty:Raises": "failed",
        "tests.faulty:TurnsNaN": "diverged",
        "tests.faulty:Slow": "timeout",
        "tests.faulty:Shift": "ok",
    }
    assert "the matrix is singular" in outcome.loc["tests.faulty:Raises", "error"]
    assert "nan" in outcome.loc["tests.faulty:TurnsNaN", "error"]
    assert (frame[frame["status"] != "ok"].groupby("method").size() == 1).all()
    assert frame[frame["status"] != "ok"]["value"].isna().all()
    assert "RuntimeError" in printed


def test_what_cannot_be_measured_has_a_row_with_the_reason(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    status, _ = run(sweeps_file(faulty("Shift")), tmp_path)
    frame = rows(tmp_path).set_index("metric")
    assert status == 0
    assert pd.isna(frame.loc["l2-uvp-inverse", "value"])
    assert "no inverse map" in frame.loc["l2-uvp-inverse", "reason"]
    assert frame.loc["l2-uvp", "value"] > 0


def test_failed_trials_run_again_only_when_asked(
    sweeps_file: SweepsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = tmp_path / "fault"
    fault.touch()
    monkeypatch.setenv("BENCH_TEST_FAULT", str(fault))
    path = sweeps_file(faulty("Recovers"))
    assert run(path, tmp_path / "r")[0] == 1
    fault.unlink()
    status, printed = run(path, tmp_path / "r")
    assert status == 1
    assert "nothing to run" in printed
    assert run(path, tmp_path / "r", retry_failed=True)[0] == 0
    assert set(rows(tmp_path / "r")["status"]) == {"ok"}


def test_an_interrupted_run_goes_on_where_it_stopped(
    sweeps_file: SweepsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sweeps_file(DIGITS)
    run(path, tmp_path / "whole")

    import bench.packed_trials

    really, ran = bench.packed_trials.run_trial, []

    def interrupted(trial: Trial, *rest: Any) -> Any:
        if ran:
            raise KeyboardInterrupt
        ran.append(trial.id)
        return really(trial, *rest)

    monkeypatch.setattr(bench.packed_trials, "run_trial", interrupted)
    status, printed = run(path, tmp_path / "parts")
    assert status == 130
    assert "goes on where it stopped" in printed
    frame = rows(tmp_path / "parts").drop_duplicates("trial_id")
    assert sorted(frame["status"]) == ["interrupted", "ok"]

    monkeypatch.setattr(bench.packed_trials, "run_trial", really)
    status, printed = run(path, tmp_path / "parts")
    assert status == 0
    assert "1 trials to run, 1 already done" in printed
    deterministic = ["trial_id", "metric", "value", "status", "n_samples", "protocol", "steps"]
    whole, parts = (
        rows(tmp_path / name)[deterministic].sort_values(["trial_id", "metric"]).reset_index(drop=True)
        for name in ("whole", "parts")
    )
    pd.testing.assert_frame_equal(whole, parts)


def test_an_interrupted_forced_run_keeps_the_ok_rows_it_meant_to_replace(
    sweeps_file: SweepsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sweeps_file(faulty("Shift"))
    run(path, tmp_path)

    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.packed_trials.run_trial", interrupted)
    assert run(path, tmp_path, force=True)[0] == 130
    assert set(rows(tmp_path)["status"]) == {"ok"}


def test_a_gpu_that_is_not_there_is_said_in_a_row_and_the_others_run(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    text = (
        faulty("Shift")
        + PAIRS.replace("sweep.pairs", "sweep.gpu")
        + "resources = { gpus = 64 }\nmethods.identity = {}\n"
    )
    status, _ = run(sweeps_file(text), tmp_path)
    frame = rows(tmp_path).drop_duplicates("trial_id").set_index("sweep")
    assert status == 1
    assert frame["status"].to_dict() == {"gpu": "lost", "pairs": "ok"}
    assert "64 GPUs" in frame.loc["gpu", "error"]


def test_corrupt_rows_count_as_none_and_foreign_files_stay(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    path = sweeps_file(faulty("Shift"))
    run(path, tmp_path)
    (file,) = (tmp_path / "rows").rglob("*.parquet")
    file.write_bytes(b"corrupt")
    (file.parent / "notes.txt").write_text("mine")
    status, printed = run(path, tmp_path)
    assert status == 0
    assert "1 trials to run" in printed
    assert (file.parent / "notes.txt").read_text() == "mine"


def test_dry_run_shows_the_plan_and_writes_nothing(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    path = sweeps_file(DIGITS)
    status, printed = run(path, tmp_path / "r", dry_run=True)
    assert status == 0
    assert "2 trials, 0 done, 2 to run; no earlier rows" in printed
    assert not (tmp_path / "r").exists()
    run(path, tmp_path / "r", seeds=1)
    _, printed = run(path, tmp_path / "r", dry_run=True)
    assert "2 trials, 1 done, 1 to run; about" in printed


def test_the_plan_is_the_sweep_as_it_was_last_run_whole_and_grows_by_parts(
    sweeps_file: SweepsFile, tmp_path: Path
) -> None:
    def planned() -> set[str]:
        found = Store(tmp_path).read()
        (((sweep, _), trial_ids),) = found.planned.items()
        return {found.trials[sweep, trial_id]["spec"]["method"]["name"] for trial_id in trial_ids}

    run(sweeps_file(faulty("Shift") + "methods.identity = {}\n"), tmp_path, only=["*/identity"])
    assert planned() == {"identity"}
    run(sweeps_file(faulty("Shift") + "methods.identity = {}\n"), tmp_path, only=["*/tests*"])
    assert planned() == {"identity", "tests.faulty:Shift"}
    run(sweeps_file(faulty("Shift") + "methods.identity = {}\n"), tmp_path, only=["*/identity"], seeds=2)
    assert planned() == {"identity", "tests.faulty:Shift"}
    run(sweeps_file(PAIRS + "methods.constant = {}\n"), tmp_path, only=["pairs"])
    assert planned() == {"constant"}


def test_force_keeps_an_ok_row_of_a_trial_that_no_longer_fits(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    run(sweeps_file(faulty("Shift")), tmp_path)
    status, _ = run(sweeps_file(faulty("Shift") + "resources = { gpus = 64 }\n"), tmp_path, force=True)
    assert set(rows(tmp_path)["status"]) == {"ok"}
    assert status == 0


def test_adding_methods_or_seeds_runs_only_what_is_new(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    run(sweeps_file(faulty("Shift")), tmp_path)
    _, printed = run(sweeps_file(faulty("Shift") + "methods.identity = {}\nseeds = 2\n"), tmp_path)
    assert "3 trials to run, 1 already done" in printed


def test_a_full_disk_is_said_and_what_was_written_stays(
    sweeps_file: SweepsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sweeps_file(faulty("Shift") + "seeds = 2\n")
    really, written = Store.write_rows, []

    def full(self: Store, *arguments: Any) -> Path:
        if written:
            raise StoreError("cannot write: No space left on device")
        written.append(1)
        return really(self, *arguments)

    monkeypatch.setattr(Store, "write_rows", full)
    monkeypatch.setattr("bench.trial.PATIENCE_SECONDS", 0.0)
    with pytest.raises(StoreError, match="No space left"):
        run(path, tmp_path)
    assert len(rows(tmp_path)["trial_id"].unique()) == 1


def test_a_mistaken_file_runs_nothing_and_exits_2(
    sweeps_file: SweepsFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sweeps_file(PAIRS + "methods.w2gm = {}\n")
    with pytest.raises(SweepsError):
        run(path, tmp_path / "r")
    assert main(["run", str(path), "--results", str(tmp_path / "r"), "--executor", "inline"]) == 2
    assert 'did you mean "w2gn"?' in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
