"""Seconds of the disentanglement metrics from trees, interventions and several models, beside their references.

10 latents, 6 factors of the sizes of 3D Shapes:

    python -m pytest tests/benchmarks/bench_disentanglement_models.py --benchmark-enable

References are disent's functions where it has the metric for codes, and else the authors' algorithm as loops in NumPy
and scikit-learn; those of interventions look codes up, where the authors' render and encode images.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.metrics.base import all_metrics
from bench.metrics.disentanglement.points import import_disent

TRAIN, TEST, BATCH, MODELS = 10_000, 5_000, 64, 5
FACTORS = np.random.default_rng(0).integers(0, (10, 10, 10, 8, 4, 15), (TRAIN + TEST, 6))
_rng = np.random.default_rng(1)
CODES = (FACTORS @ _rng.standard_normal((6, 10)) + 0.1 * _rng.standard_normal((TRAIN + TEST, 10))).astype(np.float32)
MEANS = [CODES[:1000] @ _rng.standard_normal((10, 10)).astype(np.float32) for _ in range(MODELS)]
LOG_VARIANCES = [np.full_like(means, -3) for means in MEANS]


def ours(name: str, threads: int = 1, **options: int) -> None:
    metric = all_metrics()[name]
    count = None if "num_train" in metric.options else TRAIN
    arrays = {
        "codes": CODES[:count],
        "drawn_codes": CODES[:count],
        "factors": FACTORS[:count],
        "posterior_means": MEANS,
        "posterior_log_variances": LOG_VARIANCES,
        "rng": np.random.default_rng(0),
        "threads": threads,
    }
    metric.compute(*(arrays[array] for array in metric.parameters.values()), **options)


def reference_dci(train: int, test: int) -> None:
    codes, factors = CODES[: train + test].astype(np.float64).T, FACTORS[: train + test].T
    np.random.seed(0)
    import_disent("_dci")._compute_dci(codes[:, :train], factors[:, :train], codes[:, train:], factors[:, train:])


@pytest.mark.parametrize("side", ["reference", "ours, 1 thread", "ours, 2 threads", "histogram"])
@pytest.mark.parametrize("points", [(1_000, 500), (TRAIN, TEST)], ids=lambda points: f"{points[0]}-{points[1]}")
def test_dci(benchmark: BenchmarkFixture, points: tuple[int, int], side: str) -> None:
    benchmark.group = f"dci {points}"
    sizes = {"num_train": points[0], "num_test": points[1]}
    runs: dict[str, Callable[[], None]] = {
        "reference": lambda: reference_dci(*points),
        "ours, 1 thread": lambda: ours("dci", 1, **sizes),
        "ours, 2 threads": lambda: ours("dci", 2, **sizes),
        "histogram": lambda: ours("dci-histogram", **sizes),
    }
    import_disent("_dci")
    benchmark.pedantic(runs[side], rounds=1)


def reference_dci_random_forest() -> None:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import cross_validate, train_test_split

    targets = FACTORS[:TRAIN] / FACTORS[:TRAIN].max(axis=0)
    codes, test_codes, targets, _ = train_test_split(CODES[:TRAIN], targets, test_size=0.33, random_state=42)
    errors = {}
    for depth in (2, 4, 8, 12):
        forest = RandomForestRegressor(max_depth=depth, n_estimators=10, random_state=42)
        scores = [
            cross_validate(forest, codes, target, scoring="neg_mean_squared_error", cv=5)["test_score"].mean()
            for target in targets.T
        ]
        errors[depth] = -np.mean(scores)
    forest = RandomForestRegressor(max_depth=min(errors, key=errors.__getitem__), n_estimators=10)
    for target in targets.T:
        forest.fit(codes, target).predict(test_codes)


def reference_factor_vae_score() -> None:
    spread = np.var(CODES[:TRAIN], axis=0, ddof=1)
    votes = np.zeros((6, 10))
    rng, members = np.random.RandomState(0), _members()
    for _ in range(TRAIN + TEST):
        factor = rng.randint(6)
        points = rng.choice(members[factor][FACTORS[rng.randint(TRAIN), factor]], BATCH)
        votes[factor, np.argmin(np.var(CODES[points], axis=0, ddof=1) / spread)] += 1


def reference_beta_vae_score() -> None:
    """Left points at random, and to each a right one of the same value, by the classifier of the study's time."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    rng, members = np.random.RandomState(0), _members()
    features, labels = [], []
    for _ in range(TRAIN + TEST):
        factor = rng.randint(6)
        left = rng.randint(TRAIN, size=BATCH)
        right = np.empty_like(left)
        for value in np.unique(FACTORS[left, factor]):
            of_value = FACTORS[left, factor] == value
            right[of_value] = rng.choice(members[factor][value], of_value.sum())
        features.append(np.mean(np.abs(CODES[left] - CODES[right]), axis=0))
        labels.append(factor)
    classifier = OneVsRestClassifier(LogisticRegression(solver="liblinear"))
    classifier.fit(features[:TRAIN], labels[:TRAIN]).score(features[TRAIN:], labels[TRAIN:])


def _members() -> list[list[np.ndarray]]:
    """Of each factor and value, the points that have it."""
    return [[np.flatnonzero(factor == value) for value in range(factor.max() + 1)] for factor in FACTORS[:TRAIN].T]


def reference_irs() -> None:
    codes, factors = CODES[:TRAIN].astype(np.float64), FACTORS[:TRAIN]
    deviations = np.zeros((10, 6))
    for index, factor in enumerate(factors.T):
        values = np.unique(factor)
        for value in values:
            group = codes[factor == value]
            deviations[:, index] += np.percentile(np.abs(group - group.mean(axis=0)), 99, axis=0)
        deviations[:, index] /= len(values)
    largest = np.max(np.abs(codes - codes.mean(axis=0)), axis=0)
    np.average((1 - deviations / largest[:, None]).max(axis=1), weights=largest)


def reference_udr() -> None:
    """Both outputs: Lasso and rank correlations of every ordered pair of models."""
    from scipy.stats import spearmanr
    from sklearn.linear_model import Lasso

    scaled = [(means - means.mean(axis=0)) / means.std(axis=0) for means in MEANS]
    for i, left in enumerate(scaled):
        for j, right in enumerate(scaled):
            if i != j:
                Lasso(alpha=0.1).fit(left, right)
                for row in left.T:
                    for column in right.T:
                        spearmanr(row, column)


REFERENCES: dict[str, Callable[[], None]] = {
    "dci-random-forest": reference_dci_random_forest,
    "factor-vae-score": reference_factor_vae_score,
    "beta-vae-score": reference_beta_vae_score,
    "irs": reference_irs,
    "udr": reference_udr,
}


@pytest.mark.parametrize("side", ["ours", "reference"])
@pytest.mark.parametrize("name", REFERENCES)
def test_seconds(benchmark: BenchmarkFixture, name: str, side: str) -> None:
    benchmark.group = name
    run = REFERENCES[name] if side == "reference" else lambda: ours(name)
    benchmark.pedantic(run, rounds=1 if "forest" in name else 3, warmup_rounds=1)  # what is imported is not timed
