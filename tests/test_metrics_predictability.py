"""SAP and explicitness: known answers, and agreement with the study's algorithms written out anew."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from bench.metrics.base import Unmeasurable
from bench.metrics.disentanglement.points import choose, import_disent
from bench.metrics.disentanglement.predictability import explicitness, sap
from tests.factor_codes import linear_mix, random_factors, threads_during

TRAIN, TEST = 800, 400
FACTORS = random_factors(TRAIN + TEST, 4, 2, 6)
CODES = linear_mix(FACTORS, 4)
every_metric = pytest.mark.parametrize("metric", [sap, explicitness], ids=lambda metric: metric.__name__)


def score(metric: Callable, codes: np.ndarray, factors: np.ndarray = FACTORS, seed: int = 0, test: int = TEST) -> float:
    (value,) = metric(codes, factors, np.random.default_rng(seed), num_train=len(codes) - test, num_test=test).values()
    return value


def split(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Training and test codes, training and test factors, as the metrics draw them from their generator."""
    order = choose(codes, factors, len(codes), np.random.default_rng(seed))
    train, test = order[:TRAIN], order[TRAIN:]
    codes = codes.astype(np.float64)
    return codes[train], codes[test], factors[train], factors[test]


def in_order_of_norm(codes: np.ndarray) -> np.ndarray:
    """Codes, of norms up to 1, with a latent added that says how the points are sorted before they are drawn."""
    return np.column_stack([codes, 10 + np.arange(len(codes)) / 10])


class TestSAP:
    def test_codes_equal_to_the_factors_score_far_above_random_ones_but_below_1(self) -> None:
        """Ten values are more than one linear classifier each tells from the rest by a single number."""
        factors = random_factors(1500, *[10] * 3)
        assert 0.2 < score(sap, factors.astype(np.float32), factors) < 0.4
        noise = np.random.default_rng(1).standard_normal((1500, 3)).astype(np.float32)
        assert 0 <= score(sap, noise, factors) < 0.05

    def test_codes_equal_to_the_factors_score_nearly_1_where_factors_are_continuous(self) -> None:
        """The known answer of disentanglement_lib's test; the study's settings take factors as discrete."""
        codes = random_factors(3000, *[10] * 10).astype(np.float64).T
        compute = import_disent("_sap")._compute_sap
        parts = codes[:, :2000], codes[:, :2000], codes[:, 2000:], codes[:, 2000:]
        assert 0.9 <= compute(*parts, continuous_factors=True)["sap.score"] <= 1
        factors = codes.T.astype(np.int64)
        assert score(sap, codes.T, factors, test=1000) < 0.4

    def test_codes_equal_to_factors_of_two_values_score_one_half(self) -> None:
        """One latent predicts all points, the others half of them."""
        factors = random_factors(4000, 2, 2, 2)
        assert score(sap, factors.astype(np.float32), factors, test=2000) == pytest.approx(0.5, abs=0.03)

    def test_constant_codes_score_0(self) -> None:
        assert score(sap, np.full((TRAIN + TEST, 4), 0.3, dtype=np.float32)) == 0

    def test_codes_given_twice_score_0(self) -> None:
        assert score(sap, np.tile(FACTORS, 2).astype(np.float32)) == 0

    def test_agrees_with_the_algorithm_of_the_study(self) -> None:
        train_codes, test_codes, train_factors, test_factors = split(CODES, FACTORS)
        gaps = []
        for factor in range(FACTORS.shape[1]):
            accuracies = []
            for latent in range(CODES.shape[1]):
                classifier = LinearSVC(C=0.01, class_weight="balanced", random_state=0)
                classifier.fit(train_codes[:, [latent]], train_factors[:, factor])
                hits = classifier.predict(test_codes[:, [latent]]) == test_factors[:, factor]
                accuracies.append(hits.sum() / TEST)
            second, first = sorted(accuracies)[-2:]
            gaps.append(first - second)
        assert np.mean(gaps) > 0.01
        assert score(sap, CODES) == pytest.approx(np.mean(gaps), abs=1e-12)

    def test_one_latent_dimension_is_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="the codes have one"):
            score(sap, CODES[:, :1])

    def test_the_global_generator_neither_matters_nor_changes(self) -> None:
        results = []
        for seed in (1, 2):
            np.random.seed(seed)
            results.append(score(sap, CODES.round(1)))
            after = np.random.random()
            np.random.seed(seed)
            assert after == np.random.random()
        assert results[0] == results[1]


class TestExplicitness:
    def test_codes_that_hold_each_value_apart_score_1(self) -> None:
        indicators = np.concatenate(
            [np.eye(size)[factor] for size, factor in zip((4, 2, 6), FACTORS.T, strict=True)], axis=1
        )
        assert score(explicitness, indicators.astype(np.float32)) == 1

    def test_codes_equal_to_factors_of_two_values_score_1(self) -> None:
        factors = random_factors(TRAIN + TEST, 2, 2)
        assert score(explicitness, factors.astype(np.float32), factors) == 1

    def test_constant_codes_score_as_at_random(self) -> None:
        assert score(explicitness, np.full((TRAIN + TEST, 4), 0.3, dtype=np.float32)) == 0.5

    def test_random_codes_score_nearly_as_at_random(self) -> None:
        noise = np.random.default_rng(1).standard_normal(CODES.shape).astype(np.float32)
        assert score(explicitness, noise) == pytest.approx(0.5, abs=0.05)

    def test_a_constant_latent_does_not_matter(self) -> None:
        assert score(explicitness, np.hstack([CODES, np.ones((len(CODES), 1), np.float32)])) == pytest.approx(
            score(explicitness, CODES), abs=1e-6
        )

    def test_codes_given_twice_hardly_matter(self) -> None:
        """They halve the penalty on weights."""
        assert score(explicitness, np.tile(CODES, 2)) == pytest.approx(score(explicitness, CODES), abs=5e-3)

    def test_agrees_with_the_algorithm_of_the_study(self) -> None:
        """One classifier a value, their probabilities normalized, and the area counted over pairs of test points."""
        train_codes, test_codes, train_factors, test_factors = split(CODES, FACTORS)
        mean, deviation = train_codes.mean(axis=0), train_codes.std(axis=0)
        train_codes, test_codes = (train_codes - mean) / deviation, (test_codes - mean) / deviation
        per_factor = []
        for train_factor, test_factor in zip(train_factors.T, test_factors.T, strict=True):
            values = np.unique(train_factor)
            columns = []
            for value in values:
                model = LogisticRegression(solver="liblinear", tol=1e-10).fit(train_codes, train_factor == value)
                columns.append(model.predict_proba(test_codes)[:, 1])
            probabilities = np.stack(columns, axis=1)
            probabilities /= probabilities.sum(axis=1, keepdims=True)
            areas = []
            for value, column in zip(values, probabilities.T, strict=True):
                of_value, of_rest = column[test_factor == value], column[test_factor != value]
                above = (of_value[:, None] > of_rest).mean()
                areas.append(above + 0.5 * (of_value[:, None] == of_rest).mean())
            per_factor.append(np.mean(areas))
        assert 0.6 < np.mean(per_factor) < 0.999
        assert score(explicitness, CODES) == pytest.approx(np.mean(per_factor), abs=1e-6)

    @pytest.mark.parametrize("classes", [2, 3])
    def test_values_missing_from_training_or_test_points_are_left_out(self, classes: int) -> None:
        order = np.random.default_rng(0).permutation(300)
        factors = np.empty((300, 1), dtype=np.int64)
        factors[order] = np.arange(300)[:, None] % classes
        factors[order[0]] = 7  # a training point
        factors[order[-1]] = 8  # a test point
        assert score(explicitness, in_order_of_norm(np.eye(classes)[factors[:, 0] % classes]), factors, test=100) > 0.99

    def test_one_value_in_common_is_enough(self) -> None:
        order = np.random.default_rng(0).permutation(300)
        factors = np.empty((300, 1), dtype=np.int64)
        factors[order] = np.where(np.arange(300) < 200, np.arange(300) % 2, 1 + np.arange(300) % 2)[:, None]
        assert score(explicitness, in_order_of_norm((factors == 1).astype(np.float64)), factors, test=100) == 1

    def test_no_value_in_common_is_unmeasurable(self) -> None:
        order = np.random.default_rng(0).permutation(300)
        factors = np.empty((300, 1), dtype=np.int64)
        factors[order] = np.where(np.arange(300) < 200, np.arange(300) % 2, 2 + np.arange(300) % 2)[:, None]
        with pytest.raises(Unmeasurable, match="no value of factor 0 is among both the training and the test points"):
            score(explicitness, in_order_of_norm(np.zeros((300, 1))), factors, test=100)

    def test_a_factor_with_one_value_among_test_points_is_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match=r"factor 0 \(of 0 to 2\) has a single value in the 1 points"):
            score(explicitness, CODES, test=1)


@every_metric
def test_order_and_sign_of_latents_do_not_matter(metric: Callable) -> None:
    turned = CODES[:, [3, 0, 2, 1]] * np.array([1, -1, -1, 1], dtype=np.float32)
    assert score(metric, turned) == pytest.approx(score(metric, CODES), abs=1e-3)


@every_metric
def test_the_order_of_points_does_not_matter_at_all(metric: Callable) -> None:
    order = np.random.default_rng(2).permutation(len(CODES))
    assert score(metric, CODES[order], FACTORS[order]) == score(metric, CODES)


def test_explicitness_is_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads_during(monkeypatch, LogisticRegression, "fit", lambda: score(explicitness, CODES)) == {1}


@every_metric
def test_the_points_are_drawn_from_the_generator(metric: Callable) -> None:
    scores = [score(metric, CODES, seed=seed) for seed in (1, 1, 2)]
    assert scores[0] == scores[1] != scores[2]


@every_metric
def test_too_few_points_are_unmeasurable(metric: Callable) -> None:
    with pytest.raises(Unmeasurable, match="the split has 1,200 points, 15,000 were asked for"):
        metric(CODES, FACTORS, np.random.default_rng(0))


@every_metric
def test_codes_with_nan_are_unmeasurable(metric: Callable) -> None:
    with pytest.raises(Unmeasurable, match="codes hold values that are not finite"):
        score(metric, np.full_like(CODES, np.nan))


@every_metric
def test_a_factor_with_one_value_is_unmeasurable_and_named(metric: Callable) -> None:
    factors = FACTORS.copy()
    factors[:, 1] = 2
    with pytest.raises(Unmeasurable, match=r"factor 1 \(of 0 to 2\) has a single value in the 800 points"):
        score(metric, CODES, factors)


def test_computing_prints_nothing() -> None:
    code = """
import numpy as np
from bench.metrics.disentanglement.predictability import explicitness, sap
factors = np.arange(80).reshape(40, 2) % 3
for codes in (factors, np.zeros((40, 3)), np.tile(factors, 9), 1e6 * factors, 1e30 * factors):
    for metric in (explicitness, sap):
        metric(codes.astype("float32"), factors, np.random.default_rng(0), num_train=30, num_test=10)
"""
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
