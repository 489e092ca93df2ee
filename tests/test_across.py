"""Metrics of several models at once: rows appear when the seeds are done, and follow the trials they were made from."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from bench.driver import run_sweeps
from bench.metrics import base
from bench.metrics.base import Output, Unmeasurable, metric
from bench.store import Store

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


def run(path: Path, results: Path, **options: object) -> pd.DataFrame:
    """The rows of the metric after a run."""
    run_sweeps(path, results=results, executor="inline", console=Console(file=io.StringIO()), **options)  # type: ignore[arg-type]
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
