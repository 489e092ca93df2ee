"""Metrics of several models at once: rows appear when the seeds are done, and follow the trials they were made from."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from bench.driver import run_sweeps
from bench.metrics import base
from bench.metrics.base import Output, Unmeasurable, metric
from bench.storage.store import Store

SWEEP = """
[sweep.digits]
kind = "autoencoding"
metrics.mse = {}
metrics.agreement = { num_samples = 40 }
batch_size = 32
steps = 3
seeds = 2
datasets.digits = {}
methods.ae = { latent_dim = 4, width = 4 }
"""


@pytest.fixture(autouse=True)
def agreement() -> Iterator[list[int]]:
    """A metric across seeds: the mean distance of a model's codes to the others'; yields how often it was computed."""
    computed: list[int] = []

    @metric(
        table="disentanglement",
        source="a test",
        outputs={"agreement": Output("max", "0 to 1", "how near models are")},
        across_seeds=True,
    )
    def agreement(codes: list[np.ndarray], *, num_samples: int = 100) -> dict[str, list[float]]:
        computed.append(len(codes))
        if len(codes) < 2:
            raise Unmeasurable("one model has no other to agree with")
        assert all(array.shape == (num_samples, 4) for array in codes)
        return {"agreement": [float(abs(codes[0] - array).mean()) for array in codes]}

    yield computed
    del base._REGISTRY["agreement"]


def run(path: Path, results: Path, **options: Any) -> pd.DataFrame:
    """The rows of the metric after a run."""
    run_sweeps(path, results=results, executor="inline", console=Console(file=io.StringIO()), **options)
    rows = Store(results).read().rows
    return rows[rows["metric"] == "agreement"].sort_values("seed")


def test_every_seed_has_a_row_of_its_own(sweeps_file: Callable[[str], Path], tmp_path: Path) -> None:
    rows = run(sweeps_file(SWEEP), tmp_path)
    assert rows["seed"].tolist() == [0, 1]
    assert rows["value"].iloc[0] == 0 < rows["value"].iloc[1]
    assert rows["n_samples"].tolist() == [40, 40]
    assert json.loads(rows["protocol"].iloc[0]) == {"models": 2, "num_samples": 40}
    everything = Store(tmp_path).read().rows
    assert set(rows["trial_id"]) == set(everything["trial_id"])
    assert rows["parameters"].notna().all()
    assert pd.read_parquet(tmp_path / "rows")["metric"].value_counts().to_dict() == {"mse": 2, "agreement": 2}


def test_nothing_is_measured_again_until_another_seed_is_done(
    sweeps_file: Callable[[str], Path], tmp_path: Path, agreement: list[int]
) -> None:
    path = sweeps_file(SWEEP)
    run(path, tmp_path)
    run(path, tmp_path)
    assert agreement == [2]
    rows = run(path, tmp_path, seeds=3)
    assert agreement == [2, 3]
    assert rows["seed"].tolist() == [0, 1, 2]
    assert all(json.loads(protocol)["models"] == 3 for protocol in rows["protocol"])


def test_a_single_seed_has_a_row_with_the_reason(sweeps_file: Callable[[str], Path], tmp_path: Path) -> None:
    rows = run(sweeps_file(SWEEP), tmp_path, seeds=1)
    assert rows["value"].isna().all()
    assert rows["reason"].tolist() == ["one model has no other to agree with"]


def test_a_method_that_lacks_the_arrays_says_so_in_its_own_rows(
    sweeps_file: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("methods.autoencoders.ae.AE.encode", lambda self, images: self.encoder(images) * float("nan"))
    rows = run(sweeps_file(SWEEP), tmp_path)
    assert rows["reason"].tolist() == ["codes has values that are not finite"] * 2


def values_by_seed(rows: pd.DataFrame) -> dict[int, float]:
    return dict(zip(rows["seed"], rows["value"], strict=True))


@pytest.mark.parametrize("part", [{"seeds": 1}, {"force": True}])
def test_running_a_part_again_keeps_the_other_seeds(
    sweeps_file: Callable[[str], Path], tmp_path: Path, part: dict[str, Any]
) -> None:
    path = sweeps_file(SWEEP)
    whole = run(path, tmp_path)
    only = [whole["trial_id"].iloc[0]] if "force" in part else []
    again = run(path, tmp_path, only=only, **part)
    assert values_by_seed(again) == values_by_seed(whole)


def test_both_scales_of_one_setting_share_their_rows(sweeps_file: Callable[[str], Path], tmp_path: Path) -> None:
    path = sweeps_file(SWEEP)
    run(path, tmp_path)
    assert len(run(path, tmp_path, scale="paper")) == 2


def test_rows_do_not_outlive_the_trials_they_were_made_from(sweeps_file: Callable[[str], Path], tmp_path: Path) -> None:
    run(sweeps_file(SWEEP), tmp_path)
    path = sweeps_file(SWEEP.replace("seeds = 2", "seeds = 2\ntimeout = 1e-9"))
    assert run(path, tmp_path, force=True).empty
    assert "agreement" not in set(pd.read_parquet(tmp_path / "rows")["metric"])


def test_rows_of_a_trial_under_way_again_do_not_count(sweeps_file: Callable[[str], Path], tmp_path: Path) -> None:
    run(sweeps_file(SWEEP), tmp_path)
    store = Store(tmp_path)
    first = store.read().rows["trial_id"].iloc[0]
    rows = store.trial_rows("digits", first)
    store.write_rows([{**rows[0], "status": "failed", "metric": None, "value": None}], {})
    assert "agreement" not in set(store.read().rows["metric"])


def test_two_splits_have_rows_each(sweeps_file: Callable[[str], Path], tmp_path: Path) -> None:
    rows = run(sweeps_file(SWEEP.replace("seeds = 2", 'seeds = 2\nsplits = ["validation", "test"]')), tmp_path)
    assert rows.groupby("split").size().to_dict() == {"validation": 2, "test": 2}


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_model_whose_arrays_are_lost_says_so_and_costs_the_others_nothing(
    sweeps_file: Callable[[str], Path], tmp_path: Path, damage: str
) -> None:
    path = sweeps_file(SWEEP)
    rows = run(path, tmp_path)
    file = tmp_path / "artifacts" / rows["trial_id"].iloc[1] / "across-seeds.npz"
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:100])
    pd.testing.assert_frame_equal(run(path, tmp_path), rows)  # nothing is measured again, nothing is lost
    more = run(path, tmp_path, seeds=3)
    assert more["value"].notna().tolist() == [True, False, True]
    assert "across-seeds.npz is not among the trial's artifacts" in more["reason"].iloc[1]


def test_a_sweep_may_ask_for_nothing_else(sweeps_file: Callable[[str], Path], tmp_path: Path) -> None:
    rows = run(sweeps_file(SWEEP.replace("metrics.mse = {}\n", "")), tmp_path)
    assert rows["value"].notna().all()
    assert len(rows) == 2


def test_a_copy_of_the_results_is_as_good(
    sweeps_file: Callable[[str], Path], tmp_path: Path, agreement: list[int]
) -> None:
    path = sweeps_file(SWEEP)
    run(path, tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    assert len(run(path, tmp_path / "second")) == 2
    assert agreement == [2]
