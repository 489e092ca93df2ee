"""Which published tables sweeps.toml can reproduce: for what numbers it plans trials at the authors' settings."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.identity import Trial, canonical_json
from bench.metrics.base import all_metrics
from bench.published import load_published, published_rows
from bench.registry import all_datasets
from bench.statistics.reproduction import is_needed
from bench.sweeps import load_sweeps

Planned = Mapping[str, list[Trial]]


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    """The numbers of methods, datasets and metrics of ours, by table."""
    frame = load_published()
    outputs = {output for metric in all_metrics().values() for output in metric.outputs}
    ours = (frame["method"] != "") & frame["dataset"].isin(all_datasets()) & frame["metric"].isin(outputs)
    return frame.set_index(frame["paper"] + "/" + frame["table"])[ours.to_numpy()]


@pytest.fixture(scope="module")
def planned() -> Planned:
    """The trials at paper scale of each table that a sweep names."""
    found: dict[str, list[Trial]] = {}
    for sweep in load_sweeps(Path(__file__).parent.parent / "sweeps.toml", "paper"):
        for key in sweep.published:
            found.setdefault(key, []).extend(sweep.trials())
    return found


def unplanned(numbers: pd.DataFrame, trials: Iterable[Trial]) -> list[str]:
    """The numbers that none of the trials will have measured."""
    measured = [(t.spec, {output for m in t.metrics for output in all_metrics()[m.name].outputs}) for t in trials]
    return [
        f"{row['method_published']}, {row['dataset_published']}, {row['metric_published']}"
        for row in published_rows(numbers)
        if not any(row["metric"] in outputs and is_needed(row, spec) for spec, outputs in measured)
    ]


def test_every_table_with_a_number_that_could_be_ours_is_served_by_a_sweep(
    published: pd.DataFrame, planned: Planned
) -> None:
    for key, numbers in published.groupby(level=0):
        assert len(unplanned(numbers, planned.get(str(key), []))) < len(numbers), key


@pytest.mark.parametrize(
    "key",
    [
        "cwae/readme",
        "rae/table-1",
        "two-stage-vae/table-1",
        "two-stage-vae/table-2",
        "w2-benchmark/hd-pairs",
        "w2-benchmark/hd-pairs-recomputed",
        "w2gn/domain-adaptation",
        "w2gn/gaussians",
        "w2gn/latent-space",
        "wae/table-1",
        "wae/table-1-submission",
    ],
)
def test_all_numbers_of_methods_of_ours_are_planned(published: pd.DataFrame, planned: Planned, key: str) -> None:
    assert unplanned(published.loc[[key]], planned[key]) == []


def test_a_table_has_no_setting_twice(planned: Planned) -> None:
    def setting(trial: Trial) -> str:
        """What trials share that are taken for seeds of one setting."""
        spec: dict[str, Any] = trial.spec
        return canonical_json([spec["dataset"], spec["method"], spec["budget"], spec["seed"]])

    for key, trials in planned.items():
        twice = [name for name, count in Counter(map(setting, trials)).items() if count > 1]
        assert twice == [], key


def test_sweeps_name_tables_of_their_datasets(planned: Planned) -> None:
    table = load_published()
    datasets = table.groupby(table["paper"] + "/" + table["table"])["dataset"].agg(set)
    for key, trials in planned.items():
        for sweep in {trial.sweep for trial in trials}:
            assert {trial.dataset.name for trial in trials if trial.sweep == sweep} & datasets[key], f"{sweep}: {key}"


@pytest.mark.parametrize(
    ("dataset", "shape", "kl", "mmd"),
    [
        ("mnist", (1, 32, 32), 0.312, 0.03),
        ("cifar10", (3, 32, 32), 0.024, 0.006),
        ("celeba", (3, 64, 64), 0.09024, None),
    ],
)
def test_the_vae_and_the_wae_of_the_rae_paper_have_the_weights_of_its_code(
    published: pd.DataFrame, dataset: str, shape: tuple[int, int, int], kl: float, mmd: float | None
) -> None:
    table = published.loc[["rae/table-1"]]
    table = table[table["dataset"] == dataset]
    vae = table[table["method_published"] == "VAE"]
    assert set(vae["method"]) == {"beta-vae"}
    # Theirs is Σ (x − x̂)² / channels + kl · KL, ours ½ Σ (x − x̂)² + β KL.
    assert [json.loads(text)["beta"] for text in vae["params"]] == pytest.approx([kl * shape[0] / 2] * 4)
    if mmd is not None:  # CelebA's has the WAE authors' weights
        # Theirs is the mean of (x − x̂)² + mmd · MMD, ours 0.05 Σ (x − x̂)² + λ MMD.
        wae = table[table["method_published"] == "WAE (MMD)"]
        penalties = [json.loads(text)["penalty"] for text in wae["params"]]
        assert penalties == pytest.approx([mmd * 0.05 * math.prod(shape)] * 4)
