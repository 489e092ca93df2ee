"""`python -m bench tune`, whole and in this process: what is searched, recorded, chosen and then run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from bench.cli import main
from bench.driver import run_sweeps
from bench.storage.store import Store
from bench.tuning import tuning
from bench.tuning.search_records import SEARCH_SCHEMA, read_searches
from bench.tuning.tuning import tune_sweeps
from bench.tuning.tuning_table import SEARCH_SEED

SweepsFile = Callable[[str], Path]

DIGITS = """
[sweep.digits]
kind = "autoencoding"
metrics = { mse = {}, latent-sliced-w2 = { num_samples = 100 } }
batch_size = 32
steps = 32
seeds = 2
splits = ["validation", "test"]
datasets.digits = {}
methods.ae = { latent_dim = 4, width = 4, density = "gaussian" }
"""
TUNING = """
[sweep.digits.tuning]
metric = "mse"
trials = 6
methods.ae = { lr = { distribution = "log-uniform", low = 1e-4, high = 1e-1 } }
"""
PAIRS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 16
steps = 20
splits = ["validation", "test"]
datasets.gaussians = {}
methods."tests.faulty:Shift" = {}
methods."tests.faulty:TurnsNaN" = {}
[sweep.pairs.tuning]
metric = "l2-uvp"
trials = 3
scheduler = "none"
search = "random"
"""
LR = '= { lr = { distribution = "uniform", low = 0.01, high = 0.1 } }\n'


def tune(path: Path, results: Path, **options: Any) -> tuple[int, str]:
    """The exit status and what was printed."""
    output = io.StringIO()
    console = Console(file=output, width=200)
    status = tune_sweeps(path, results=results, executor="inline", console=console, **options)
    return status, output.getvalue()


def searched(results: Path, sweep: str) -> pd.DataFrame:
    return read_searches(results, sweep, "quick")


def facts(frame: pd.DataFrame) -> pd.DataFrame:
    """What two runs of one search have in common."""
    return frame.drop(columns=["seconds", "started_at", "git_sha"])


def test_the_winner_of_a_search_is_run_with_all_seeds_and_stays_planned(
    sweeps_file: SweepsFile, tmp_path: Path
) -> None:
    path = sweeps_file(DIGITS + TUNING)
    status, printed = tune(path, tmp_path)
    assert status == 0, printed
    lines = searched(tmp_path, "digits")
    assert list(lines.columns) == SEARCH_SCHEMA.names
    assert set(lines["number"]) == set(range(6))
    assert set(lines["seed"]) == {SEARCH_SEED}
    assert set(lines.loc[lines["state"] == "stopped", "step"]) <= {2, 8}
    ended = lines[(lines["state"] == "completed") & (lines["rung"] == 2)]
    best = ended.loc[ended["value"].idxmin()]
    assert list(lines.loc[lines["won"], "number"].unique()) == [best["number"]]

    rows = pd.read_parquet(tmp_path / "rows").drop_duplicates("trial_id")
    learning_rates = rows["params"].map(lambda text: json.loads(text)["lr"])
    assert sorted(zip(learning_rates, rows["seed"], strict=True)) == sorted(
        (lr, seed) for lr in {1e-4, json.loads(best["chosen"])["lr"]} for seed in (0, 1)
    )
    assert f"lr={json.loads(best['chosen'])['lr']:.4g}" in printed

    output = io.StringIO()
    assert run_sweeps(path, results=tmp_path, executor="inline", console=Console(file=output)) == 0
    assert "nothing to run: all 4 trials" in output.getvalue()


def test_a_trial_that_is_not_stopped_has_the_numbers_of_a_plain_run(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    # A metric of the prior that is fitted after training, and so also on the way, of a copy.
    table = TUNING.replace('"mse"', '"latent-sliced-w2"').replace("trials = 6", 'trials = 2\nscheduler = "none"')
    tune(sweeps_file(DIGITS + table), tmp_path)
    found = searched(tmp_path, "digits").query("number == 1")
    assert found["value"].nunique() == 3
    lr, seeds = json.loads(found["chosen"].iloc[0])["lr"], f"seeds = [{SEARCH_SEED}]"
    plain = DIGITS.replace("seeds = 2", seeds).replace("width = 4,", f"width = 4, lr = {lr!r},")
    run_sweeps(sweeps_file(plain), results=tmp_path, executor="inline", console=Console(file=io.StringIO()))
    rows = pd.read_parquet(tmp_path / "rows").query("seed == @SEARCH_SEED and metric == 'latent-sliced-w2'")
    assert rows.set_index("split")["value"]["validation"] == found["value"].iloc[-1]


def test_a_killed_search_goes_on_as_if_undisturbed(
    sweeps_file: SweepsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sweeps_file(DIGITS + TUNING)
    tune(path, tmp_path / "undisturbed")
    run_search_trial, begun = tuning.run_search_trial, []

    def interrupted(*arguments: Any) -> Any:
        begun.append(arguments)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return run_search_trial(*arguments)

    monkeypatch.setattr(tuning, "run_search_trial", interrupted)
    status, printed = tune(path, tmp_path / "killed")
    assert (status, len(searched(tmp_path / "killed", "digits")["number"].unique())) == (130, 2)
    assert "the same command goes on" in printed
    status, printed = tune(path, tmp_path / "killed")
    assert status == 0
    assert "4 trials to search, 2 already done" in printed
    pd.testing.assert_frame_equal(
        facts(searched(tmp_path / "killed", "digits")), facts(searched(tmp_path / "undisturbed", "digits"))
    )
    assert len(begun) == 7  # six, and the one that was interrupted


def test_a_search_with_more_trials_goes_on_and_may_have_another_winner(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    tune(sweeps_file(DIGITS + TUNING.replace("trials = 6", "trials = 1")), tmp_path)
    assert list(searched(tmp_path, "digits").query("won")["number"].unique()) == [0]
    # The sweep's own setting has won, and is no trial more.
    assert pd.read_parquet(tmp_path / "rows")["trial_id"].nunique() == 2
    tune(sweeps_file(DIGITS + TUNING), tmp_path)
    lines = searched(tmp_path, "digits")
    assert set(lines["number"]) == set(range(6))
    assert len(lines.query("won")["number"].unique()) == 1


def test_a_search_of_which_no_trial_comes_to_its_end_says_so_and_harms_no_other(
    sweeps_file: SweepsFile, tmp_path: Path
) -> None:
    text = PAIRS + 'methods."tests.faulty:Shift" ' + LR + 'methods."tests.faulty:TurnsNaN" ' + LR
    status, printed = tune(sweeps_file(text), tmp_path)
    assert status == 1
    lines = searched(tmp_path, "pairs")
    states = lines.drop_duplicates(["search", "number"]).groupby("method")["state"].agg(list).to_dict()
    assert states == {"tests.faulty:Shift": ["completed"] * 3, "tests.faulty:TurnsNaN": ["diverged"] * 3}
    assert "none: no trial came to the end" in printed
    assert lines.query("won")["method"].unique().tolist() == ["tests.faulty:Shift"]


def test_only_chosen_places_are_searched(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    text = PAIRS + 'methods."tests.faulty:Shift" ' + LR + 'methods."tests.faulty:TurnsNaN" ' + LR
    status, _ = tune(sweeps_file(text), tmp_path, only=["pairs/*Shift"])
    assert status == 0
    assert set(searched(tmp_path, "pairs")["method"]) == {"tests.faulty:Shift"}


def test_a_file_without_searches_is_told_how_to_state_one(
    sweeps_file: SweepsFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", str(sweeps_file(DIGITS)), "--results", str(tmp_path)]) == 2
    assert "add a table [sweep.NAME.tuning]" in capsys.readouterr().err
    other = DIGITS.replace("sweep.digits", "sweep.other")
    command = ["tune", str(sweeps_file(DIGITS + TUNING + other)), "--only", "other", "--results", str(tmp_path)]
    assert main(command) == 2
    assert "digits does; name one with --only" in capsys.readouterr().err


def test_a_record_that_cannot_be_read_is_a_trial_that_runs_again(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    path = sweeps_file(DIGITS + TUNING)
    tune(path, tmp_path)
    before = searched(tmp_path, "digits")
    broken = sorted((tmp_path / "tuning").rglob("*.parquet"))[2]
    broken.write_bytes(broken.read_bytes()[:100])
    _, printed = tune(path, tmp_path)
    assert "1 trials to search, 5 already done" in printed
    assert set(searched(tmp_path, "digits")["number"]) == set(before["number"])


def test_going_on_with_a_search_changes_nothing_of_its_records_but_who_won(
    sweeps_file: SweepsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = PAIRS + 'methods."tests.faulty:Shift" ' + LR
    tune(sweeps_file(search), tmp_path)
    before = searched(tmp_path, "pairs")
    monkeypatch.setattr("bench.tuning.tuned._versions", lambda: {"torch": "later", "optuna": "later"})
    tune(sweeps_file(search.replace("trials = 3", "trials = 8")), tmp_path)
    after = searched(tmp_path, "pairs")
    assert after.loc[after["won"], "number"].nunique() == 1
    assert not after.loc[after["won"], "number"].isin(before.loc[before["won"], "number"]).any()
    earlier = after[after["number"] < 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(earlier.drop(columns="won"), before.drop(columns="won"), check_exact=True)
    assert set(after.loc[after["number"] >= 3, "torch"]) == {"later"}


@pytest.mark.parametrize("chosen", ["{}", '{"lr":"a text"}', '{"lr":0.05}', '{"nonsense":1}'])
def test_a_record_that_was_altered_is_a_trial_that_runs_again(
    sweeps_file: SweepsFile, tmp_path: Path, chosen: str
) -> None:
    path = sweeps_file(PAIRS + 'methods."tests.faulty:Shift" ' + LR)
    tune(path, tmp_path, only=["pairs/tests.faulty:Shift"])
    before = searched(tmp_path, "pairs")
    winner = before[before["won"]].iloc[0]
    (file,) = (tmp_path / "tuning").rglob(f"{winner['number']:05d}.parquet")
    lines = pq.read_table(file)
    altered = lines.set_column(
        lines.schema.get_field_index("chosen"), "chosen", pa.array([chosen] * len(lines), pa.string())
    )
    pq.write_table(altered, file)
    planned = Store(tmp_path).read().planned
    assert run_sweeps(path, results=tmp_path, executor="inline", dry_run=True) == 0
    _, printed = tune(path, tmp_path, only=["pairs/tests.faulty:Shift"])
    assert "1 trials to search, 2 already done" in printed
    pd.testing.assert_frame_equal(facts(searched(tmp_path, "pairs")), facts(before), check_exact=True)
    assert Store(tmp_path).read().planned == planned
