"""Clustering metrics: values that hold whatever the names of the clusters."""

from __future__ import annotations

import warnings
from itertools import permutations

import numpy as np
import pytest

from bench.metrics.base import Unmeasurable
from bench.metrics.clustering import clustering_accuracy, component_agreement, kmeans

LABELS = np.repeat(np.arange(4), 50)


def blobs(labels: np.ndarray) -> np.ndarray:
    """Codes in 4 dimensions, one far-apart blob a label."""
    noise = np.random.default_rng(0).standard_normal((len(labels), 4))
    return (10 * np.eye(4)[labels] + 0.1 * noise).astype(np.float32)


def test_renamed_labels_score_1() -> None:
    renamed = np.array([30, 10, 40, 20])[LABELS]
    assert component_agreement(renamed, LABELS) == pytest.approx(
        {"components-accuracy": 1, "components-nmi": 1, "components-ari": 1}
    )


def test_random_components_score_chance() -> None:
    rng = np.random.default_rng(0)
    scores = component_agreement(rng.integers(0, 4, 4000), rng.integers(0, 4, 4000))
    assert scores["components-ari"] == pytest.approx(0, abs=0.01)
    assert scores["components-nmi"] == pytest.approx(0, abs=0.01)
    assert scores["components-accuracy"] == pytest.approx(0.25, abs=0.05)


def test_of_two_clusters_in_one_class_only_one_counts() -> None:
    clusters = np.where(np.arange(200) % 2, LABELS, LABELS + 4)  # every class split evenly
    assert clustering_accuracy(LABELS, clusters) == 0.5


def test_of_two_classes_in_one_cluster_only_one_counts() -> None:
    assert clustering_accuracy(LABELS, LABELS // 2) == 0.5


def test_accuracy_is_the_best_over_all_assignments() -> None:
    rng = np.random.default_rng(1)
    labels, clusters = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    best = max(np.mean(np.array(order)[clusters] == labels) for order in permutations(range(4)))
    assert clustering_accuracy(labels, clusters) == pytest.approx(best)


def test_kmeans_finds_separate_blobs() -> None:
    scores = kmeans(blobs(LABELS), LABELS, np.random.default_rng(0))
    assert scores == pytest.approx({"kmeans-accuracy": 1, "kmeans-nmi": 1, "kmeans-ari": 1})


def test_kmeans_repeats_with_the_same_generator() -> None:
    codes = np.random.default_rng(2).standard_normal((200, 4)).astype(np.float32)
    scores = [kmeans(codes, LABELS, np.random.default_rng(5)) for _ in range(2)]
    assert scores[0] == scores[1]


def test_collapsed_codes_score_the_largest_class_without_a_warning() -> None:
    labels = np.array([0] * 30 + [1] * 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = kmeans(np.ones((40, 3), dtype=np.float32), labels, np.random.default_rng(0))
    assert scores == pytest.approx({"kmeans-accuracy": 0.75, "kmeans-nmi": 0, "kmeans-ari": 0})


def test_codes_with_nan_are_unmeasurable() -> None:
    codes = blobs(LABELS)
    codes[7, 1] = np.nan
    with pytest.raises(Unmeasurable, match="codes hold values that are not finite"):
        kmeans(codes, LABELS, np.random.default_rng(0))


def test_a_single_class_is_unmeasurable() -> None:
    one_class = np.zeros(200, dtype=np.int64)
    with pytest.raises(Unmeasurable, match="200 images evaluated are all of one class"):
        kmeans(blobs(LABELS), one_class, np.random.default_rng(0))
    with pytest.raises(Unmeasurable, match="all of one class"):
        component_agreement(LABELS, one_class)
