"""A published table beside our rows: which verdict each number gets, and what is said where there is none."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from bench.errors import UserError
from bench.identity import Budget, Setting, Trial
from bench.published import load_published, published_table
from bench.reproduction import reproduce
from bench.statistics.reproduction import COLUMNS, reproduction
from bench.storage.schema import ROW_SCHEMA
from bench.storage.store import Store

SWEEPS = """
[sweep.pairs]
kind = "transport"
published = ["w2gn/gaussians", "w2gn/latent-space"]
metrics.l2-uvp = { num_samples = 1024 }
seeds = 2
batch_size = 16
datasets.gaussians = { dim = [2, 4] }
methods.lsot = {}
methods.linear = {}

[sweep.pairs.quick]
steps = 4

[sweep.pairs.paper]
steps = 5001
resources = { cpus = 1, gpus = 1 }
"""


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return load_published()


def trial(seed: int, dim: int = 8, scale: str = "paper", steps: int = 5001) -> Trial:
    return Trial(
        kind="transport",
        dataset=Setting("gaussians", {"dim": dim}, 1),
        method=Setting("w2gn", {"lr": 3e-4}, 1),
        seed=seed,
        budget=Budget(steps, None, 256),
        metrics=(Setting("l2-uvp", {}, 1),),
        splits=("test",),
        sweep="gaussians",
        scale=scale,
    )


def row(of: Trial, value: float | None, **changed: Any) -> dict[str, Any]:
    """A row of the store; what does not matter here is missing."""
    return {
        **dict.fromkeys(ROW_SCHEMA.names),
        "trial_id": of.id,
        "sweep": of.sweep,
        "scale": of.scale,
        "dataset": of.dataset.name,
        "dataset_options": json.dumps(dict(of.dataset.options)),
        "dataset_version": 1,
        "seed": of.seed,
        "status": "ok",
        "metric": "l2-uvp",
        "split": "test",
        "value": value,
        "direction": "min",
        "n_samples": 1024,
        "protocol": "{}",
        "metric_version": 1,
        **changed,
    }


def records(trials: list[Trial]) -> list[dict[str, Any]]:
    return [trial.to_record() for trial in trials]


def w2gn(published: pd.DataFrame, dim: int) -> pd.DataFrame:
    table = published_table(published, "w2gn/gaussians")
    chosen = (table["method"] == "w2gn") & (table["dataset_options"] == json.dumps({"dim": dim}))
    return table[chosen & (table["metric"] == "l2-uvp") & (table["bound"] != "~")]


def one(published: pd.DataFrame, trials: list[Trial], rows: list[dict[str, Any]], dim: int = 8) -> dict[str, Any]:
    """The only line of the reproduction of W2GN's number for a dimension: <1 for 8, 1.1 for 256."""
    found = reproduction(w2gn(published, dim), published, records(trials), pd.DataFrame(rows, columns=ROW_SCHEMA.names))
    assert list(found.columns) == list(COLUMNS)
    assert len(found) == 1
    return {str(name): value for name, value in found.iloc[0].items()}


def test_a_bound_that_our_interval_keeps_is_reproduced(published: pd.DataFrame):
    trials = [trial(seed) for seed in range(3)]
    line = one(published, trials, [row(t, value) for t, value in zip(trials, (0.3, 0.31, 0.32), strict=True)])
    assert line["verdict"] == "reproduced"
    assert (line["published"], line["seeds"]) == ("<1", 3)
    assert line["mean"] == pytest.approx(0.31)
    assert line["half_width"] == pytest.approx(0.02484, abs=1e-5)  # 4.3027 · 0.01 / √3
    assert (line["low"], line["high"]) == (pytest.approx(0.26032, abs=1e-5), pytest.approx(0.35968, abs=1e-5))
    assert pd.isna(line["difference"])  # from a bound it means nothing


def test_a_number_outside_of_our_interval_is_not(published: pd.DataFrame):
    trials = [trial(seed, dim=256) for seed in range(3)]
    line = one(published, trials, [row(t, 2 + t.seed / 10) for t in trials], dim=256)
    assert (line["published"], line["verdict"]) == ("1.1", "worse")


def test_a_shorter_run_is_not_comparable_and_the_field_is_named(published: pd.DataFrame):
    trials = [trial(seed, steps=500) for seed in range(2)]
    line = one(published, trials, [row(t, 0.5, n_samples=4096) for t in trials])
    assert (line["verdict"], line["fields"]) == ("not comparable", "training, n_samples")
    assert line["reason"] == "500 of the paper's 5,001 steps; 1,024 samples, ours 4,096"
    assert line["mean"] == 0.5  # shown all the same
    assert pd.isna(line["low"])


def test_of_two_protocols_the_one_that_agrees_is_compared(published: pd.DataFrame):
    trials = [trial(seed) for seed in range(2)]
    rows = [row(t, 1e-4 * count, n_samples=count) for t in trials for count in (1024, 2048)]
    line = one(published, trials, rows)
    assert (line["mean"], line["seeds"], line["verdict"]) == (pytest.approx(0.1024), 2, "reproduced")


def test_numbers_of_two_protocols_are_never_pooled(published: pd.DataFrame):
    trials = [trial(seed) for seed in range(2)]
    rows = [row(t, 0.1 * count, n_samples=count) for t in trials for count in (512, 2048)]
    found = reproduction(w2gn(published, 8), published, records(trials), pd.DataFrame(rows, columns=ROW_SCHEMA.names))
    assert found["mean"].tolist() == [51.2, 204.8]
    assert found["seeds"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ([], "2 trials to run"),
        ([{"status": "failed", "metric": None, "error_type": "Oops", "error": "no"}], "1 of 2 trials failed: Oops: no"),
        ([{"reason": "the map has no inverse"}], "the map has no inverse"),
        ([{"metric": "cosine", "value": 0.9}], "1 of 2 trials measured something else"),
    ],
)
def test_what_was_not_measured_says_why(published: pd.DataFrame, outcome: list[dict[str, Any]], reason: str):
    trials = [trial(seed) for seed in range(2)]
    line = one(published, trials, [{**row(t, None), **changed} for t, changed in zip(trials, outcome, strict=False)])
    assert (line["verdict"], line["reason"], line["seeds"]) == ("not run", reason, 0)


def test_a_metric_that_no_trial_asks_for_is_said_before_they_run(published: pd.DataFrame):
    records_ = [{**record, "about": {"metrics": {"cosine": {}}}} for record in records([trial(0)])]
    found = reproduction(w2gn(published, 8), published, records_, pd.DataFrame(columns=ROW_SCHEMA.names))
    assert found["reason"].tolist() == ["the sweep does not ask for this metric"]


def test_a_number_that_no_sweep_is_for_says_so(published: pd.DataFrame):
    table = published_table(published, "w2gn/latent-space")
    found = reproduction(table, published, records([trial(0)]), pd.DataFrame(columns=ROW_SCHEMA.names))
    assert set(found["verdict"]) == {"not run"}
    reasons = dict(zip(found["method"], found["reason"], strict=True))
    assert reasons["WGAN (joeylitalien repo)"] == "the harness has no such method"
    assert reasons["AE reconstruct (MSE AE)"] == "no trial of ae is planned"


def test_where_the_protocol_is_not_pinned_the_spread_over_papers_is_shown(published: pd.DataFrame):
    table = published_table(published, "wae/table-1")
    wae = table[(table["method"] == "wae-mmd") & (table["metric"] == "fid-generation")]
    of = Trial(
        **{
            **vars(trial(0)),
            "kind": "autoencoding",
            "dataset": Setting("celeba", {"crop": 140}, 1),
            "method": Setting("wae-mmd", {"kernel": "imq", "prior": "normal", "density": "prior"}, 1),
        }
    )
    rows = [row(of, 60.0, metric="fid-generation", protocol='{"extractor": "inception-v3-compat"}')]
    line = reproduction(wae, published, records([of]), pd.DataFrame(rows, columns=ROW_SCHEMA.names)).iloc[0]
    assert line["fields"] == "n_samples"
    assert line["spread"] == "6 papers report 51.29 to 62.9"


def printed(path: Path, results: Path, key: str = "w2gn/gaussians", **options: Any) -> tuple[int, str]:
    output = io.StringIO()
    asked = {"scale": "quick", "conditions": ["dim<=2"], "seeds": None, "cpu": False, "run": True, "csv": None}
    status = reproduce(
        key,
        **{**asked, **options},
        sweeps_file=path,
        executor="inline",
        address=None,
        results=results,
        data=None,
        console=Console(file=output, width=200),
    )
    return status, output.getvalue()


def test_the_command_runs_what_the_table_needs_and_no_more(sweeps_file: Any, tmp_path: Path):
    path = sweeps_file(SWEEPS)
    status, text = printed(path, tmp_path / "results", csv=tmp_path / "table.csv")
    assert status == 0
    rows = Store(tmp_path / "results").read().rows
    assert set(zip(rows["method"], rows["dataset_options"], strict=True)) == {("lsot", '{"dim":2}')}
    assert rows["trial_id"].nunique() == 2
    line = next(line for line in text.splitlines() if line.startswith("| LSOT (Large-scale OT) | Gaussian pair D=2 |"))
    assert "not comparable (training, departure) [1]" in line
    assert "1 not comparable" in text
    assert (
        "0 of 1 number can be compared; for the others the paper leaves open, or does otherwise: departure (1)" in text
    )
    table = pd.read_csv(tmp_path / "table.csv")
    assert list(table.columns) == list(COLUMNS)
    assert table["mean"].tolist() == [pytest.approx(rows.loc[rows["metric"] == "l2-uvp", "value"].mean(), rel=1e-12)]
    assert "nothing to run" in printed(path, tmp_path / "results")[1]


def test_without_running_the_table_is_printed_from_what_there_is(sweeps_file: Any, tmp_path: Path):
    text = printed(sweeps_file(SWEEPS), tmp_path, scale="paper", run=False)[1]
    assert "2 trials to run" in text
    assert not (tmp_path / "rows").exists()


def test_a_table_that_cannot_be_written_is_said_before_the_run(sweeps_file: Any, tmp_path: Path):
    with pytest.raises(UserError, match="cannot be written to"):
        printed(sweeps_file(SWEEPS), tmp_path / "results", csv=tmp_path / "nowhere" / "table.csv")
    assert not (tmp_path / "results").exists()


def test_a_seed_that_diverged_withholds_the_verdict(published: pd.DataFrame):
    trials = [trial(seed) for seed in range(3)]
    rows = [row(t, 0.3) for t in trials[:2]] + [row(trials[2], None, metric=None, status="diverged")]
    line = one(published, trials, rows)
    assert (line["verdict"], line["reason"]) == ("undecided", "2 of 3 seeds have a value")


def test_an_unknown_table_names_the_nearest(sweeps_file: Any, tmp_path: Path):
    with pytest.raises(UserError, match='did you mean "w2gn/gaussians"'):
        printed(sweeps_file(SWEEPS), tmp_path, key="w2gn/gausians")


def test_a_table_without_a_sweep_is_printed_and_says_so(sweeps_file: Any, tmp_path: Path):
    status, text = printed(sweeps_file(SWEEPS), tmp_path, key="swae/table-2", conditions=[])
    assert status == 0
    assert 'no sweep says published = "swae/table-2"' in text
    assert "2 numbers: 2 not run" in text
