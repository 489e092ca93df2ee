"""Seconds of the disentanglement metrics from information, predictability and posteriors, beside their references.

10 latents, 6 factors of up to 40 values, 10,000 points (and 5,000 test points), one thread; WSEPIN and WINDIN of 500
draws rather than 10,000 on both sides, since their time is proportional to them:

    python -m pytest tests/benchmarks/bench_disentanglement_information.py --benchmark-enable

References are disent's functions where it has the metric, and else the authors' algorithm in NumPy and scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.metrics.base import all_metrics
from bench.metrics.disentanglement.points import import_disent

TRAIN, TEST, DRAWS = 10_000, 5_000, 500
FACTORS = np.random.default_rng(0).integers(0, (3, 6, 40, 32, 32, 10), (TRAIN + TEST, 6))
_rng = np.random.default_rng(1)
CODES = (FACTORS @ _rng.standard_normal((6, 10)) / 20 + _rng.standard_normal((TRAIN + TEST, 10))).astype(np.float32)
LOG_VARIANCES = _rng.uniform(-4, 0, CODES.shape).astype(np.float32)
DOUBLES = CODES.astype(np.float64)


def reference_informations() -> tuple[np.ndarray, np.ndarray]:
    utils = import_disent("utils")
    bins = utils.histogram_discretize(DOUBLES[:TRAIN].T, num_bins=20)
    return utils.discrete_mutual_info(bins, FACTORS[:TRAIN].T), utils.discrete_entropy(FACTORS[:TRAIN].T)


def reference_mig() -> None:
    import_disent("_mig")._compute_mig(DOUBLES[:TRAIN].T, FACTORS[:TRAIN].T)


def reference_sap() -> None:
    train, test = slice(TRAIN), slice(TRAIN, None)
    import_disent("_sap")._compute_sap(DOUBLES[train].T, FACTORS[train].T, DOUBLES[test].T, FACTORS[test].T, False)


def reference_explicitness() -> None:
    """The study's code for test points alone, with what scikit-learn's defaults then were."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import MultiLabelBinarizer

    codes = (DOUBLES - DOUBLES[:TRAIN].mean(axis=0)) / DOUBLES[:TRAIN].std(axis=0)
    for factor in FACTORS.T:
        classifier = OneVsRestClassifier(LogisticRegression(solver="liblinear")).fit(codes[:TRAIN], factor[:TRAIN])
        indicators = MultiLabelBinarizer().fit_transform(factor[TRAIN:, None])
        roc_auc_score(indicators, classifier.predict_proba(codes[TRAIN:]))


def reference_unsupervised() -> None:
    library, utils = import_disent("_unsupervised"), import_disent("utils")
    covariance = np.cov(DOUBLES[:TRAIN].T)
    library._gaussian_total_correlation(covariance)
    library._gaussian_wasserstein_correlation(covariance)
    bins = utils.histogram_discretize(DOUBLES[:TRAIN].T, num_bins=20)
    utils.discrete_mutual_info(bins, bins)


def densities(codes: np.ndarray, points: slice | np.ndarray) -> np.ndarray:
    deviations = np.exp(0.5 * LOG_VARIANCES[points].astype(np.float64))
    return np.exp(-np.square((codes - DOUBLES[points]) / deviations) / 2) / (deviations * np.sqrt(2 * np.pi))


def reference_rmig() -> None:
    """Quantized posteriors of every latent, times indicators of each factor's values, in batches of 500."""
    edges = np.linspace(-4, 4, 101)
    centers, epsilon = (edges[1:] + edges[:-1]) / 2, 1e-8
    for latent in range(CODES.shape[1]):
        batches = []
        for start in range(0, TRAIN, 500):
            chunk = slice(start, start + 500)
            means = DOUBLES[chunk, latent, None]
            deviations = np.exp(0.5 * LOG_VARIANCES[chunk, latent, None].astype(np.float64))
            density = np.exp(-np.square(centers - means) / (2 * deviations**2)) / (deviations * np.sqrt(2 * np.pi))
            point = (means >= edges[:-1]) & (means < edges[1:])
            shares = density / np.maximum(density.sum(axis=1, keepdims=True), epsilon)
            batches.append(np.where(density.max(axis=1, keepdims=True) < 1e-5, point, shares))
        conditional = np.concatenate(batches)
        log_marginal = np.log(np.clip(conditional.mean(axis=0), epsilon, 1))
        for factor in FACTORS[:TRAIN].T:
            indicators = np.eye(factor.max() + 1)[factor]
            joint = conditional.T @ indicators / TRAIN
            log_joint = np.log(np.clip(joint, epsilon, 1))
            (joint * (log_joint - log_marginal[:, None] - np.log(indicators.mean(axis=0)))).sum()


def reference_wsepin() -> None:
    """Products of densities over subsets of latents, in batches of five draws."""
    latents = CODES.shape[1]
    rng = np.random.default_rng(0)
    sources = rng.integers(TRAIN, size=DRAWS)
    noise = rng.standard_normal((DRAWS, latents))
    codes = DOUBLES[sources] + np.exp(0.5 * LOG_VARIANCES[sources].astype(np.float64)) * noise
    subsets = [[j for j in range(latents) if j != i] for i in range(latents)] + [list(range(latents))]
    for start in range(0, DRAWS, 5):
        every = densities(codes[start : start + 5, None], slice(TRAIN))
        np.log(np.maximum(every.mean(axis=1), 1e-8))
        for subset in subsets:
            np.log(np.exp(np.log(np.maximum(every[:, :, subset], 1e-8)).sum(axis=-1)).mean(axis=1))


REFERENCES: dict[str, Callable[[], Any]] = {
    "mig": reference_mig,
    "mig-sup": reference_informations,
    "modularity": reference_informations,
    "dcimig": reference_informations,
    "sap": reference_sap,
    "explicitness": reference_explicitness,
    "unsupervised-scores": reference_unsupervised,
    "rmig-jemmig": reference_rmig,
    "wsepin-windin": reference_wsepin,
}


def ours(name: str) -> None:
    metric = all_metrics()[name]
    count = None if "num_train" in metric.options else metric.options["num_samples"].default
    arrays: dict[str, np.ndarray] = {
        "codes": CODES,
        "factors": FACTORS,
        "posterior_means": CODES,
        "posterior_log_variances": LOG_VARIANCES,
    }
    arguments = [arrays[array][:count] for array in metric.arrays]
    metric.compute(*arguments, rng=np.random.default_rng(0), **({"draws": DRAWS} if "draws" in metric.options else {}))


@pytest.mark.parametrize("side", ["ours", "reference"])
@pytest.mark.parametrize("name", REFERENCES)
def test_seconds(benchmark: BenchmarkFixture, name: str, side: str) -> None:
    benchmark.group = name
    run = REFERENCES[name] if side == "reference" else lambda: ours(name)
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
