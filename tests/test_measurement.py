"""From a metric to its rows: how many items it used, what it was measured with, and what happens when it fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.evidence import ImageEvidence
from bench.identity import Setting
from bench.measurement import measure
from bench.metrics import base
from bench.metrics.base import Output, Unmeasurable, all_metrics, metric
from bench.options import defaults
from datasets.base import ImageSplit
from methods.autoencoders.ae import AE

COUNT = 60
OUTPUTS = {name: Output("max", "0 to 1", f"the number {name}") for name in ("first", "second")}


@pytest.fixture
def evidence(tmp_path: Path) -> ImageEvidence:
    def split(count: int) -> ImageSplit:
        rng = np.random.default_rng(count)
        images = rng.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
        return ImageSplit(images, labels=np.arange(count) % 3, factors=np.stack([np.arange(count) % 3] * 2, axis=1))

    torch.manual_seed(0)
    method = AE((1, 8, 8), latent_dim=3, width=4).eval()
    axes = {"seed": 0, "dataset": ["made-up", {}], "split": "test"}
    cpu = torch.device("cpu")
    return ImageEvidence(
        method, split(COUNT), cpu, axes, train=split(90), find_images=lambda _: split(40), cache=tmp_path
    )


@pytest.fixture
def made_up() -> Iterator[Callable[..., None]]:
    """Registers a metric named "made-up" for one test."""

    def register(compute: Callable[..., Any], **facts: Any) -> None:
        metric(name="made-up", table="latent", source="a test", outputs=OUTPUTS, **facts)(compute)

    yield register
    base._REGISTRY.pop("made-up", None)


def rows(evidence: ImageEvidence, name: str, **options: Any) -> list[dict[str, Any]]:
    measured = all_metrics()[name]
    setting = Setting(name, {**defaults(measured.options), **options}, measured.version)
    return measure(setting, evidence, 1, {})


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("mse", {"num_samples": 20}, 20),
        ("mse", {}, COUNT),
        ("dci-histogram", {"num_train": 30, "num_test": 20}, 50),
        ("linear-probe", {"num_samples": 25, "num_train": 80}, 25),
        ("outlier-auc-gaussian", {"num_samples": 25, "num_train": 80}, 25),
        ("memorization", {"num_samples": 70, "num_train": 90}, 70),
        ("latent-mmd", {"num_samples": 40}, 40),
    ],
)
def test_a_row_tells_how_many_items_were_used(
    evidence: ImageEvidence, name: str, options: dict[str, int], expected: int
) -> None:
    assert {row["n_samples"] for row in rows(evidence, name, **options)} == {expected}


def test_a_row_of_samples_tells_how_many_images_they_were_compared_with(evidence: ImageEvidence) -> None:
    for row in rows(evidence, "memorization", num_samples=70, num_train=90):
        assert json.loads(row["protocol"])["reference_images"] == COUNT


def test_a_row_of_outliers_tells_the_version_of_their_dataset(evidence: ImageEvidence) -> None:
    (row,) = rows(evidence, "outlier-auc-gaussian")
    assert json.loads(row["protocol"])["outliers_version"] == 1


@pytest.mark.parametrize(
    ("compute", "values", "reason"),
    [
        (lambda codes: {"first": 0.5}, [0.5, None], "the metric gave no value"),
        (lambda codes: {"first": 0.5, "second": Unmeasurable("no reason at all")}, [0.5, None], "no reason at all"),
        (lambda codes: {"first": 0.5, "second": float("nan")}, [0.5, None], "the metric gave nan"),
        (lambda codes: {"first": 0.5, "second": codes}, [0.5, None], "the metric gave [["),
        (lambda codes: {"first": 0.5, "second": 1 / 0}, [None, None], "the metric failed: ZeroDivisionError: "),
    ],
    ids=["missing", "unmeasurable", "nan", "an array", "an exception"],
)
def test_a_metric_that_fails_leaves_rows_with_the_reason(
    evidence: ImageEvidence, made_up: Callable[..., None], compute: Callable[..., Any], values: list[Any], reason: str
) -> None:
    made_up(compute)
    found = rows(evidence, "made-up")
    assert [row["value"] for row in found] == values
    assert found[1]["reason"].startswith(reason)


def test_arrays_cannot_be_changed_by_a_metric(evidence: ImageEvidence, made_up: Callable[..., None]) -> None:
    def spoil(codes: np.ndarray) -> dict[str, float]:
        codes += 1
        return {"first": 0.0, "second": 0.0}

    before = evidence.get("codes", None).copy()
    made_up(spoil)
    assert "read-only" in rows(evidence, "made-up")[0]["reason"]
    np.testing.assert_array_equal(evidence.get("codes", None), before)


def test_a_metric_across_seeds_takes_arrays_only(made_up: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="across seeds there are arrays only"):
        made_up(lambda codes, rng: {}, across_seeds=True)
