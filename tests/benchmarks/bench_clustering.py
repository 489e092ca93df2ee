"""Seconds of clusterings, probes and outlier scores of 10,000 codes, each beside the bare library, one thread.

Both compute in float64. The scores of a model's own components, the linear probe of factors and the two outlier scores
of codes under Gaussians have no reference beside them.

python -m pytest tests/benchmarks/bench_clustering.py --benchmark-enable
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.metrics.clustering import component_agreement, gaussian_mixture, kmeans
from bench.metrics.outliers import outlier_auc, outlier_auc_gaussian, outlier_auc_standard_normal
from bench.metrics.probes import knn_probe, linear_probe, linear_probe_factors, linear_transfer

COUNT, LATENTS, CLASSES = 10_000, 10, 10


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, CLASSES, COUNT)


@pytest.fixture(scope="module")
def codes(labels: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    centers = rng.standard_normal((CLASSES, LATENTS))
    return (centers[labels] + rng.standard_normal((COUNT, LATENTS))).astype(np.float32)


@pytest.fixture(scope="module")
def factors() -> np.ndarray:
    """The factors of sprites."""
    return np.random.default_rng(2).integers(0, (3, 6, 40, 32, 32), (COUNT, 5))


@pytest.fixture(scope="module")
def codes_of_factors(factors: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(3)
    mixed = (factors / factors.max(axis=0)) @ rng.standard_normal((5, LATENTS))
    return (mixed + 0.1 * rng.standard_normal((COUNT, LATENTS))).astype(np.float32)


def test_kmeans(benchmark: BenchmarkFixture, codes: np.ndarray, labels: np.ndarray) -> None:
    benchmark.pedantic(kmeans, setup=lambda: ((codes, labels, np.random.default_rng(0)), {}), rounds=3, warmup_rounds=1)


def test_kmeans_of_scikit_learn(benchmark: BenchmarkFixture, codes: np.ndarray, labels: np.ndarray) -> None:
    from sklearn.cluster import KMeans

    clusterer = KMeans(CLASSES, n_init=10, random_state=0)
    benchmark.pedantic(clusterings_of_scikit_learn, (clusterer, codes, labels), rounds=3, warmup_rounds=1)


def test_gaussian_mixture(benchmark: BenchmarkFixture, codes: np.ndarray, labels: np.ndarray) -> None:
    benchmark.pedantic(
        gaussian_mixture, setup=lambda: ((codes, labels, np.random.default_rng(0)), {}), rounds=3, warmup_rounds=1
    )


def test_gaussian_mixture_of_scikit_learn(benchmark: BenchmarkFixture, codes: np.ndarray, labels: np.ndarray) -> None:
    from sklearn.mixture import GaussianMixture

    clusterer = GaussianMixture(CLASSES, n_init=3, random_state=0)
    benchmark.pedantic(clusterings_of_scikit_learn, (clusterer, codes, labels), rounds=3, warmup_rounds=1)


def clusterings_of_scikit_learn(clusterer: Any, codes: np.ndarray, labels: np.ndarray) -> None:
    """Clusters and the scores that the library has."""
    from sklearn import metrics

    points = codes.astype(np.float64)
    clusters = clusterer.fit_predict(points)
    metrics.normalized_mutual_info_score(labels, clusters)
    metrics.adjusted_rand_score(labels, clusters)
    metrics.silhouette_score(points, clusters)
    metrics.calinski_harabasz_score(points, clusters)


def test_components(benchmark: BenchmarkFixture, codes: np.ndarray, labels: np.ndarray) -> None:
    benchmark.pedantic(component_agreement, (labels[::-1], codes, labels, np.random.default_rng(0)), rounds=3)


def test_linear_probe(benchmark: BenchmarkFixture, codes: np.ndarray, labels: np.ndarray) -> None:
    benchmark.pedantic(linear_probe, (codes, labels, codes, labels), rounds=3, warmup_rounds=1)


def test_linear_probe_by_a_pipeline(benchmark: BenchmarkFixture, codes: np.ndarray, labels: np.ndarray) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def reference() -> None:
        points = codes.astype(np.float64)
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000)).fit(points, labels).score(points, labels)

    benchmark.pedantic(reference, rounds=3, warmup_rounds=1)


def test_knn_probe(benchmark: BenchmarkFixture, codes: np.ndarray, labels: np.ndarray) -> None:
    benchmark.pedantic(knn_probe, (codes, labels, codes, labels), rounds=3, warmup_rounds=1)


def test_knn_of_scikit_learn(benchmark: BenchmarkFixture, codes: np.ndarray, labels: np.ndarray) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    def reference() -> None:
        points = codes.astype(np.float64)
        KNeighborsClassifier(5).fit(points, labels).score(points, labels)

    benchmark.pedantic(reference, rounds=3, warmup_rounds=1)


def test_linear_probe_of_factors(
    benchmark: BenchmarkFixture, codes_of_factors: np.ndarray, factors: np.ndarray
) -> None:
    benchmark.pedantic(linear_probe_factors, (codes_of_factors, factors, codes_of_factors, factors), rounds=1)


def test_linear_transfer(benchmark: BenchmarkFixture, codes_of_factors: np.ndarray, factors: np.ndarray) -> None:
    benchmark.pedantic(linear_transfer, (codes_of_factors, factors, np.random.default_rng(0)), rounds=1)


def test_linear_transfer_by_the_authors_steps(
    benchmark: BenchmarkFixture, codes_of_factors: np.ndarray, factors: np.ndarray
) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_validate

    def reference() -> None:
        points = codes_of_factors.astype(np.float64)
        for upper in (2 * factors >= factors.max(axis=0)).T:
            for strength in (0.3, 0.03, 0.003):
                classifier = LogisticRegression(l1_ratio=1, solver="liblinear", C=strength)
                cross_validate(classifier, points, upper, scoring="accuracy", cv=5)

    benchmark.pedantic(reference, rounds=1)


def test_outlier_auc(benchmark: BenchmarkFixture, codes: np.ndarray) -> None:
    benchmark(outlier_auc, codes[:, 0], codes[:, 1])


def test_outlier_auc_of_scikit_learn(benchmark: BenchmarkFixture, codes: np.ndarray) -> None:
    from sklearn.metrics import roc_auc_score

    truth, scores = np.repeat([0, 1], COUNT), np.concatenate([codes[:, 0], codes[:, 1]])
    benchmark(roc_auc_score, truth, scores)


def test_outlier_auc_gaussian(benchmark: BenchmarkFixture, codes: np.ndarray) -> None:
    benchmark(outlier_auc_gaussian, codes, codes, codes)


def test_outlier_auc_standard_normal(benchmark: BenchmarkFixture, codes: np.ndarray) -> None:
    benchmark(outlier_auc_standard_normal, codes, codes)
