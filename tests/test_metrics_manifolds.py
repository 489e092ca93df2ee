"""Precision, recall, density and coverage: known answers, torch-fidelity, and the definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from bench.metrics.base import Unmeasurable
from bench.metrics.generation import manifolds
from bench.metrics.generation.manifolds import manifold_scores
from bench.torchvision_compat import import_torchvision


def features(count: int, scale: float = 1, seed: int = 0, dim: int = 8) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal((count, dim))).astype(np.float32)


def naive_scores(measured: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Ball by ball: Kynkäänniemi et al. 2019, equations 1 to 3; Naeem et al. 2020, equations 4 and 5."""

    def radius(points: np.ndarray, i: int, k: int) -> float:
        others = np.delete(points, i, axis=0)
        return float(np.sort(cdist(points[i : i + 1], others)[0])[k - 1])

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        return float(cdist(x[None], y[None])[0, 0])

    precision = np.mean(
        [any(distance(x, y) <= radius(reference, i, 3) for i, y in enumerate(reference)) for x in measured]
    )
    recall = np.mean([any(distance(x, y) <= radius(measured, i, 3) for i, y in enumerate(measured)) for x in reference])
    held = [[distance(x, y) < radius(reference, i, 5) for i, y in enumerate(reference)] for x in measured]
    return {
        "precision": float(precision),
        "recall": float(recall),
        "density": np.sum(held) / (5 * len(measured)),
        "coverage": float(np.any(held, axis=0).mean()),
    }


@pytest.mark.parametrize("scale", [0.5, 1, 1.5])
def test_agree_with_their_definitions(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, reference = features(23, scale, seed=1), features(31)
    expected = naive_scores(measured, reference)
    assert manifold_scores(measured, reference) == pytest.approx(expected, abs=1e-12)
    monkeypatch.setattr(manifolds, "_ROWS", 4)
    assert manifold_scores(measured, reference) == pytest.approx(expected, abs=1e-12)


def test_precision_and_recall_agree_with_torch_fidelity() -> None:
    import_torchvision()
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    measured, reference = features(600, 0.8, seed=1), features(500)
    theirs = prc_features_to_metric(
        torch.from_numpy(measured).double(), torch.from_numpy(reference).double(), verbose=False
    )
    ours = manifold_scores(measured, reference)
    assert 0.1 < ours["recall"] < ours["precision"] < 1
    assert ours["precision"] == pytest.approx(theirs[KEY_METRIC_PRECISION], abs=1e-6)
    assert ours["recall"] == pytest.approx(theirs[KEY_METRIC_RECALL], abs=1e-6)


def test_of_samples_that_vary_too_little_are_precise_and_miss_much() -> None:
    """Features shrunk to 0.1 σ against 3 σ: exchanged arguments would exchange the scores."""
    scores = manifold_scores(features(1000, 0.1, seed=1), features(1000, 3))
    assert scores["precision"] > 0.8
    assert scores["recall"] < 0.3
    assert scores["coverage"] < 0.3
    exchanged = manifold_scores(features(1000, 3), features(1000, 0.1, seed=1))
    assert exchanged["precision"] < 0.3
    assert exchanged["recall"] > 0.8


def test_of_equal_distributions_have_their_expectations() -> None:
    """Naeem et al. 2020, section 3.3: density 1 and coverage 1 - ((N - 1) … (N - k)) / ((2N - 1) … (2N - k))."""
    count = 1000
    scores = [manifold_scores(features(count, seed=2 * i), features(count, seed=2 * i + 1)) for i in range(4)]
    k = np.arange(1, 6)
    coverage = 1 - np.prod((count - k) / (2 * count - k))
    assert np.mean([score["density"] for score in scores]) == pytest.approx(1, abs=0.05)
    assert np.mean([score["coverage"] for score in scores]) == pytest.approx(coverage, abs=0.01)


def test_of_the_reference_itself_are_1() -> None:
    """On whole numbers of mean 0, whose distances are exact: the k-th neighbor lies on the surface of its ball."""
    half = np.random.default_rng(0).integers(-(10**6), 10**6, (100, 8))
    points = np.concatenate([half, -half]).astype(np.float32)
    expected = {"precision": 1, "recall": 1, "density": 1, "coverage": 1}
    assert manifold_scores(points, points) == pytest.approx(expected)


def test_of_images_far_away_are_0() -> None:
    scores = manifold_scores(features(100) + 100, features(100, seed=1))
    assert scores == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_one_outlier_among_real_images_raises_precision_and_not_density() -> None:
    """What Naeem et al. 2020 hold against precision: the outlier's ball takes in everything."""
    reference = np.concatenate([features(300), np.full((1, 8), 20, dtype=np.float32)])
    measured = features(300, seed=1) + 5
    assert manifold_scores(measured, reference)["precision"] > 0.9
    assert manifold_scores(measured, reference)["density"] < 0.3


def test_do_not_depend_on_the_order_of_images_nor_on_an_offset() -> None:
    measured, reference = features(80, seed=1), features(90)
    scores = manifold_scores(measured, reference)
    assert manifold_scores(measured[::-1], np.random.default_rng(0).permutation(reference)) == scores
    assert manifold_scores(measured + 64, reference + 64) == pytest.approx(scores, abs=0.01)


def test_of_constant_features_are_defined() -> None:
    """Balls have radius 0: closed ones hold their center, open ones nothing."""
    same = np.full((10, 4), 0.3, dtype=np.float32)
    assert manifold_scores(same, same) == {"precision": 1, "recall": 1, "density": 0, "coverage": 0}
    assert set(manifold_scores(same + 1, same).values()) == {0}


@pytest.mark.parametrize("sizes", [(5, 50), (50, 5)])
def test_of_five_images_are_unmeasurable(sizes: tuple[int, int]) -> None:
    with pytest.raises(Unmeasurable, match=f"more than 5 images on each side; there are {sizes[0]} and {sizes[1]}"):
        manifold_scores(features(sizes[0]), features(sizes[1]))


def test_of_features_that_are_not_finite_are_unmeasurable() -> None:
    with pytest.raises(Unmeasurable, match="features hold values that are not finite"):
        manifold_scores(np.full((10, 8), np.nan, dtype=np.float32), features(10))
