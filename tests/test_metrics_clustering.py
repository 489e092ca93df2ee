"""Clustering metrics: values that hold whatever the names of the clusters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from bench.metrics import clustering as module
from bench.metrics.base import Unmeasurable
from bench.metrics.clustering import (
    clustering_accuracy,
    component_agreement,
    gaussian_mixture,
    kmeans,
    kmeans_of_images,
    purity,
    separation,
)

LABELS = np.repeat(np.arange(4), 50)
AGREEMENT = ("accuracy", "nmi", "ari", "purity")
FITTED = pytest.mark.parametrize(("cluster", "prefix"), [(kmeans, "kmeans"), (gaussian_mixture, "gaussian-mixture")])
Cluster = Callable[..., Mapping[str, Any]]


def blobs(labels: np.ndarray, distance: float = 10) -> np.ndarray:
    """Codes in 4 dimensions, one blob a label."""
    noise = np.random.default_rng(0).standard_normal((len(labels), 4))
    return (distance * np.eye(4)[labels] + 0.1 * noise).astype(np.float32)


def agreement(scores: Mapping[str, Any], prefix: str) -> list[float]:
    return [scores[f"{prefix}-{name}"] for name in AGREEMENT]


def of_components(components: np.ndarray, labels: np.ndarray, codes: np.ndarray | None = None) -> Mapping[str, Any]:
    if codes is None:
        codes = np.random.default_rng(1).standard_normal((len(labels), 4))
    return component_agreement(components, codes, labels, np.random.default_rng(0))


class TestAgreement:
    def test_renamed_labels_score_1(self) -> None:
        renamed = np.array([30, 10, 40, 20])[LABELS]
        assert agreement(of_components(renamed, LABELS), "components") == pytest.approx([1, 1, 1, 1])

    def test_random_components_score_chance(self) -> None:
        rng = np.random.default_rng(0)
        scores = of_components(rng.integers(0, 4, 4000), rng.integers(0, 4, 4000))
        assert agreement(scores, "components") == pytest.approx([0.25, 0, 0, 0.25], abs=0.05)
        assert scores["components-ari"] == pytest.approx(0, abs=0.01)

    def test_of_two_clusters_in_one_class_only_one_counts_for_accuracy(self) -> None:
        clusters = np.where(np.arange(200) % 2, LABELS, LABELS + 4)  # every class split evenly
        assert clustering_accuracy(LABELS, clusters) == 0.5
        assert purity(LABELS, clusters) == 1

    def test_of_two_classes_in_one_cluster_only_one_counts(self) -> None:
        assert clustering_accuracy(LABELS, LABELS // 2) == 0.5
        assert purity(LABELS, LABELS // 2) == 0.5

    def test_accuracy_is_the_best_over_all_assignments(self) -> None:
        rng = np.random.default_rng(1)
        labels, clusters = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
        best = max(np.mean(np.array(order)[clusters] == labels) for order in permutations(range(4)))
        assert clustering_accuracy(labels, clusters) == pytest.approx(best)

    def test_purity_counts_the_majority_of_each_cluster(self) -> None:
        rng = np.random.default_rng(2)
        labels, clusters = rng.integers(0, 4, 60), rng.integers(5, 12, 60)
        majorities = [max((labels[clusters == c] == k).sum() for k in range(4)) for c in np.unique(clusters)]
        assert purity(labels, clusters) == pytest.approx(sum(majorities) / 60)

    def test_nmi_is_mutual_information_over_the_mean_entropy(self) -> None:
        rng = np.random.default_rng(3)
        labels = rng.integers(0, 4, 300)
        clusters = np.where(rng.random(300) < 0.5, labels, rng.integers(0, 6, 300))
        joint = np.array([[np.mean((labels == k) & (clusters == c)) for c in range(6)] for k in range(4)])
        rows, columns = joint.sum(axis=1), joint.sum(axis=0)
        information = sum(p * np.log(p / (rows[k] * columns[c])) for (k, c), p in np.ndenumerate(joint) if p > 0)
        entropies = [-(p[p > 0] * np.log(p[p > 0])).sum() for p in (rows, columns)]
        expected = information / np.mean(entropies)
        assert of_components(clusters, labels)["components-nmi"] == pytest.approx(expected, abs=1e-9)

    def test_ari_is_the_excess_of_agreeing_pairs_over_chance(self) -> None:
        rng = np.random.default_rng(4)
        labels = rng.integers(0, 3, 40)
        clusters = np.where(rng.random(40) < 0.5, labels, rng.integers(0, 5, 40))
        pairs = [(i, j) for i in range(40) for j in range(i)]
        same_class = np.array([labels[i] == labels[j] for i, j in pairs])
        same_cluster = np.array([clusters[i] == clusters[j] for i, j in pairs])
        both, chance = (same_class & same_cluster).sum(), same_class.sum() * same_cluster.sum() / len(pairs)
        expected = (both - chance) / ((same_class.sum() + same_cluster.sum()) / 2 - chance)
        assert of_components(clusters, labels)["components-ari"] == pytest.approx(expected, abs=1e-9)


class TestSeparation:
    CODES = np.random.default_rng(5).standard_normal((60, 3))
    CLUSTERS = np.random.default_rng(6).integers(0, 4, 60)

    def test_silhouette_compares_the_own_cluster_with_the_nearest_other(self) -> None:
        values = []
        groups = [np.equal(self.CLUSTERS, c) for c in range(4)]
        for i, code in enumerate(self.CODES):
            distances = np.sqrt(((self.CODES - code) ** 2).sum(axis=1))
            own = groups[self.CLUSTERS[i]]
            within = distances[own].sum() / (own.sum() - 1)
            nearest = min(distances[groups[c]].mean() for c in range(4) if c != self.CLUSTERS[i])
            values.append((nearest - within) / max(nearest, within))
        silhouette, _ = separation(self.CODES, self.CLUSTERS, np.random.default_rng(0))
        assert silhouette == pytest.approx(np.mean(values), abs=1e-9)

    def test_calinski_harabasz_is_a_ratio_of_variances(self) -> None:
        center = self.CODES.mean(axis=0)
        groups = [self.CODES[np.equal(self.CLUSTERS, c)] for c in range(4)]
        between = sum(len(group) * ((group.mean(axis=0) - center) ** 2).sum() for group in groups) / 3
        within = sum(((group - group.mean(axis=0)) ** 2).sum() for group in groups) / 56
        _, calinski_harabasz = separation(self.CODES, self.CLUSTERS, np.random.default_rng(0))
        assert calinski_harabasz == pytest.approx(between / within, rel=1e-9)

    def test_far_clusters_are_separate_and_random_ones_are_not(self) -> None:
        separate = of_components(LABELS, LABELS, blobs(LABELS))
        mixed = of_components(np.arange(200) % 4, LABELS, blobs(LABELS))
        assert separate["components-silhouette"] > 0.95
        assert separate["components-calinski-harabasz"] > 1000
        assert mixed["components-silhouette"] < 0.05
        assert mixed["components-calinski-harabasz"] < 5

    def test_many_codes_are_sampled_for_the_silhouette(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole, calinski_harabasz = separation(blobs(LABELS, 0.3), LABELS, np.random.default_rng(0))
        monkeypatch.setattr(module, "SILHOUETTE_POINTS", 120)
        sampled = [separation(blobs(LABELS, 0.3), LABELS, np.random.default_rng(seed)) for seed in (0, 0, 1)]
        assert sampled[0] == sampled[1] != sampled[2]
        assert sampled[0][0] == pytest.approx(whole, abs=0.05)
        assert sampled[0][1] == calinski_harabasz

    def test_a_single_cluster_has_no_separation_but_an_agreement(self) -> None:
        scores = of_components(np.zeros(200, dtype=np.int64), LABELS)
        assert agreement(scores, "components") == pytest.approx([0.25, 0, 0, 0.25])
        for name in ("silhouette", "calinski-harabasz"):
            assert isinstance(scores[f"components-{name}"], Unmeasurable)
            assert str(scores[f"components-{name}"]) == "all codes are in one cluster"

    def test_codes_without_spread_have_no_separation(self) -> None:
        scores = of_components(LABELS, LABELS, np.ones((200, 2)))
        assert str(scores["components-silhouette"]) == (
            "the codes have no spread within clusters: 1 distinct values for 4 clusters"
        )


@FITTED
class TestFittedClusters:
    def test_separate_blobs_are_found(self, cluster: Cluster, prefix: str) -> None:
        scores = cluster(blobs(LABELS), LABELS, np.random.default_rng(0))
        assert agreement(scores, prefix) == pytest.approx([1, 1, 1, 1])
        assert scores[f"{prefix}-silhouette"] > 0.95

    def test_other_numbers_of_clusters_than_classes_work(self, cluster: Cluster, prefix: str) -> None:
        halves = cluster(blobs(LABELS), LABELS, np.random.default_rng(0), clusters=2)
        assert halves[f"{prefix}-accuracy"] == pytest.approx(0.5)
        eighths = cluster(blobs(LABELS), LABELS, np.random.default_rng(0), clusters=8)
        assert eighths[f"{prefix}-purity"] == 1
        assert eighths[f"{prefix}-accuracy"] < 0.9
        one = cluster(blobs(LABELS), LABELS, np.random.default_rng(0), clusters=1)
        assert one[f"{prefix}-accuracy"] == 0.25

    def test_order_of_images_and_latents_and_signs_do_not_matter(self, cluster: Cluster, prefix: str) -> None:
        rng = np.random.default_rng(2)
        codes = rng.standard_normal((200, 4)).astype(np.float32)  # no clear clusters: starts decide
        scores = cluster(codes, LABELS, np.random.default_rng(5))
        order = rng.permutation(200)
        assert cluster(codes[order], LABELS[order], np.random.default_rng(5)) == scores
        mirrored = codes[:, [2, 0, 3, 1]] * np.array([1, -1, -1, 1], dtype=np.float32)
        assert cluster(mirrored, LABELS, np.random.default_rng(5)) == pytest.approx(scores, rel=1e-6)

    def test_the_generator_decides(self, cluster: Cluster, prefix: str) -> None:
        codes = np.random.default_rng(2).standard_normal((200, 4)).astype(np.float32)
        np.random.seed(3)
        scores = [cluster(codes, LABELS, np.random.default_rng(seed), clusters=12) for seed in (5, 5, 6)]
        assert scores[0] == scores[1] != scores[2]
        assert np.random.random() == np.random.RandomState(3).random()  # the global one is left alone

    def test_the_scale_of_codes_does_not_matter(self, cluster: Cluster, prefix: str) -> None:
        codes = blobs(LABELS, 0.2)
        scores = cluster(codes, LABELS, np.random.default_rng(0))
        for scale in (2.0**-60, 2.0**60):
            scaled = cluster(codes * np.float32(scale), LABELS, np.random.default_rng(0))
            assert scaled == pytest.approx(scores, rel=1e-6)

    def test_collapsed_codes_score_the_largest_class_without_a_warning(self, cluster: Cluster, prefix: str) -> None:
        labels = np.array([0] * 30 + [1] * 10)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scores = cluster(np.full((40, 3), 0.1, dtype=np.float32), labels, np.random.default_rng(0))
        assert agreement(scores, prefix) == pytest.approx([0.75, 0, 0, 0.75])
        assert isinstance(scores[f"{prefix}-silhouette"], Unmeasurable)

    def test_codes_with_nan_are_unmeasurable(self, cluster: Cluster, prefix: str) -> None:
        codes = blobs(LABELS)
        codes[7, 1] = np.nan
        with pytest.raises(Unmeasurable, match="codes hold values that are not finite"):
            cluster(codes, LABELS, np.random.default_rng(0))

    def test_more_clusters_than_images_are_unmeasurable(self, cluster: Cluster, prefix: str) -> None:
        with pytest.raises(Unmeasurable, match="201 clusters were asked for of 200 images"):
            cluster(blobs(LABELS), LABELS, np.random.default_rng(0), clusters=201)

    def test_a_single_class_is_unmeasurable(self, cluster: Cluster, prefix: str) -> None:
        one_class = np.zeros(200, dtype=np.int64)
        with pytest.raises(Unmeasurable, match="200 images evaluated are all of one class"):
            cluster(blobs(LABELS), one_class, np.random.default_rng(0))

    def test_fewer_images_than_latents_work(self, cluster: Cluster, prefix: str) -> None:
        labels = np.repeat([0, 1], 10)
        codes = np.random.default_rng(3).standard_normal((20, 50)) + 10 * labels[:, None]
        assert agreement(cluster(codes, labels, np.random.default_rng(0)), prefix) == pytest.approx([1, 1, 1, 1])


def test_a_mixture_tells_a_narrow_cluster_within_a_wide_one_and_kmeans_does_not() -> None:
    labels = np.repeat([0, 1], 300)
    codes = np.random.default_rng(7).standard_normal((600, 2)) * np.where(labels, 5, 0.1)[:, None]
    assert gaussian_mixture(codes, labels, np.random.default_rng(0))["gaussian-mixture-accuracy"] > 0.95
    assert kmeans(codes, labels, np.random.default_rng(0))["kmeans-accuracy"] < 0.8


def test_kmeans_of_images_is_kmeans_on_their_pixels() -> None:
    rng = np.random.default_rng(8)
    images = (
        rng.integers(0, 90, (200, 1, 4, 4), dtype=np.uint8)
        + np.uint8(25) * LABELS.astype(np.uint8)[:, None, None, None]
    )
    of_pixels = kmeans(images.reshape(200, 16).astype(np.float32), LABELS, np.random.default_rng(0))
    found = kmeans_of_images(images, LABELS, np.random.default_rng(0))
    assert agreement(found, "kmeans-data") == agreement(of_pixels, "kmeans")
    assert 0.3 < found["kmeans-data-accuracy"] < 1


def test_components_of_a_single_class_are_unmeasurable() -> None:
    with pytest.raises(Unmeasurable, match="all of one class"):
        of_components(LABELS, np.zeros(200, dtype=np.int64))


def test_protocol_says_the_number_of_clusters() -> None:
    from bench.metrics.base import all_metrics

    metric = all_metrics()["kmeans"]
    assert metric.protocol_for({"clusters": None})["clusters"] == "as many as classes"
    assert metric.protocol_for({"clusters": 20})["clusters"] == 20
    assert metric.protocol_for({"clusters": 0})["clusters"] == 0
