"""Probes: accuracies of codes that hold the classes plainly, folded, or not at all."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bench.metrics.base import Unmeasurable
from bench.metrics.probes import knn_probe, linear_probe, linear_probe_factors, linear_transfer
from tests.factor_codes import threads_during

RNG = np.random.default_rng(0)
TRAIN_LABELS, LABELS = RNG.integers(0, 4, 800), RNG.integers(0, 4, 400)
TRAIN_FACTORS, FACTORS = RNG.integers(0, (2, 3, 5), (800, 3)), RNG.integers(0, (2, 3, 5), (400, 3))


def blobs(labels: np.ndarray, seed: int) -> np.ndarray:
    return (4 * np.eye(4)[labels] + np.random.default_rng(seed).standard_normal((len(labels), 4))).astype(np.float32)


TRAIN_CODES, CODES = blobs(TRAIN_LABELS, 1), blobs(LABELS, 2)


@pytest.fixture(autouse=True)
def warnings_are_errors() -> None:
    warnings.simplefilter("error")


class TestLinearProbe:
    def test_separate_classes_are_told(self) -> None:
        assert linear_probe(TRAIN_CODES, TRAIN_LABELS, CODES, LABELS)["linear-probe"] > 0.98

    def test_random_codes_give_chance(self) -> None:
        codes = [np.random.default_rng(seed).standard_normal((n, 4)) for seed, n in ((3, 800), (4, 400))]
        score = linear_probe(codes[0], TRAIN_LABELS, codes[1], LABELS)["linear-probe"]
        assert score == pytest.approx(0.25, abs=0.08)

    def test_classes_around_each_other_are_not_linear(self) -> None:
        def rings(labels: np.ndarray) -> np.ndarray:
            angles = np.random.default_rng(len(labels)).uniform(0, 2 * np.pi, len(labels))
            return (labels + 1)[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])

        arrays = rings(TRAIN_LABELS), TRAIN_LABELS, rings(LABELS), LABELS
        assert linear_probe(*arrays)["linear-probe"] < 0.5
        assert knn_probe(*arrays)["knn-probe"] > 0.98

    def test_it_minimizes_the_penalized_cross_entropy(self) -> None:
        """The same classifier by gradient descent on Σ cross-entropy + ½‖W‖² of standardized codes."""
        rng = np.random.default_rng(5)
        train, test = 0.3 * TRAIN_CODES + rng.random((800, 4)), 0.3 * CODES + rng.random((400, 4))
        x, t = (train - train.mean(axis=0)) / train.std(axis=0), np.eye(4)[TRAIN_LABELS]
        weights, bias = np.zeros((4, 4)), np.zeros(4)
        for _ in range(3000):
            logits = x @ weights + bias
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            weights -= 1e-3 * (x.T @ (p - t) + weights)
            bias -= 1e-3 * (p - t).sum(axis=0)
        predictions = ((test - train.mean(axis=0)) / train.std(axis=0) @ weights + bias).argmax(axis=1)
        score = linear_probe(train, TRAIN_LABELS, test, LABELS)["linear-probe"]
        assert score == pytest.approx((predictions == LABELS).mean(), abs=1.5 / 400)

    def test_codes_are_standardized(self) -> None:
        scales, shift = np.array([1e-6, 1, 1e6, 1]), np.array([0, 100, 0, -3])
        plain = linear_probe(TRAIN_CODES, TRAIN_LABELS, CODES, LABELS)
        assert linear_probe(TRAIN_CODES * scales + shift, TRAIN_LABELS, CODES * scales + shift, LABELS) == plain

    def test_training_and_test_are_not_interchangeable(self) -> None:
        mislabeled = (TRAIN_LABELS + 1) % 4
        assert linear_probe(TRAIN_CODES, mislabeled, CODES, LABELS)["linear-probe"] < 0.05

    def test_order_of_images_and_latents_and_signs_do_not_matter(self) -> None:
        plain = linear_probe(TRAIN_CODES, TRAIN_LABELS, CODES, LABELS)["linear-probe"]
        order, other = np.random.default_rng(6).permutation(800), np.random.default_rng(7).permutation(400)
        mirror = np.array([1, -1, -1, 1])
        shuffled = linear_probe(TRAIN_CODES[order], TRAIN_LABELS[order], CODES[other], LABELS[other])
        mirrored = linear_probe(TRAIN_CODES[:, ::-1] * mirror, TRAIN_LABELS, CODES[:, ::-1] * mirror, LABELS)
        assert shuffled["linear-probe"] == pytest.approx(plain, abs=1 / 400)
        assert mirrored["linear-probe"] == pytest.approx(plain, abs=1 / 400)

    def test_collapsed_codes_give_the_most_frequent_class(self) -> None:
        labels = np.array([0] * 30 + [1] * 10)
        codes = np.full((40, 3), 0.1, dtype=np.float32)
        assert linear_probe(codes, labels, codes, labels)["linear-probe"] == 0.75

    def test_a_single_class_is_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="the 800 training images are all of one class"):
            linear_probe(TRAIN_CODES, 0 * TRAIN_LABELS, CODES, LABELS)

    def test_codes_with_nan_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="codes hold values that are not finite"):
            linear_probe(TRAIN_CODES, TRAIN_LABELS, np.full_like(CODES, np.nan), LABELS)


class TestLinearProbeOfFactors:
    def test_it_averages_over_the_factors(self) -> None:
        codes = [f + 0.01 * np.random.default_rng(8).standard_normal(f.shape) for f in (TRAIN_FACTORS, FACTORS)]
        for f in range(3):
            codes[0][:, f] *= f != 1  # nothing is left of factor 1
            codes[1][:, f] *= f != 1
        single = [
            linear_probe(codes[0], TRAIN_FACTORS[:, f], codes[1], FACTORS[:, f])["linear-probe"] for f in range(3)
        ]
        assert single == [1, pytest.approx(1 / 3, abs=0.1), pytest.approx(1, abs=0.01)]
        score = linear_probe_factors(codes[0], TRAIN_FACTORS, codes[1], FACTORS)["linear-probe-factors"]
        assert score == pytest.approx(np.mean(single))

    def test_a_factor_with_one_value_is_unmeasurable_and_named(self) -> None:
        with pytest.raises(Unmeasurable, match=r"factor 1 \(of 0 to 2\) has a single value in the 800 points"):
            linear_probe_factors(TRAIN_CODES, TRAIN_FACTORS * [1, 0, 1], CODES, FACTORS)

    def test_sums_are_on_one_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On several they are in another order, and the last digit may decide a prediction."""

        def run() -> None:
            linear_probe_factors(TRAIN_CODES, TRAIN_FACTORS, CODES, FACTORS)

        assert threads_during(monkeypatch, LogisticRegression, "fit", run) == {1}
        assert threads_during(monkeypatch, LogisticRegression, "predict", run) == {1}


class TestNearestNeighborProbe:
    def test_it_is_the_vote_of_the_nearest(self) -> None:
        train, test = TRAIN_CODES[:150] / 4, CODES[:60] / 4
        for neighbors in (1, 4, 5):
            predictions = []
            for code in test.astype(np.float64):
                nearest = np.argsort(((train - code) ** 2).sum(axis=1))[:neighbors]
                votes = [(TRAIN_LABELS[nearest] == label).sum() for label in range(4)]
                predictions.append(np.argmax(votes))
            score = knn_probe(train, TRAIN_LABELS[:150], test, LABELS[:60], neighbors=neighbors)["knn-probe"]
            assert score == pytest.approx(np.mean(np.array(predictions) == LABELS[:60]))

    def test_training_codes_find_themselves(self) -> None:
        assert knn_probe(TRAIN_CODES, TRAIN_LABELS, TRAIN_CODES, TRAIN_LABELS, neighbors=1)["knn-probe"] == 1

    def test_rotations_shifts_and_order_do_not_matter(self) -> None:
        train, test = TRAIN_CODES / 4, CODES / 4
        plain = knn_probe(train, TRAIN_LABELS, test, LABELS)["knn-probe"]
        turn = np.linalg.qr(np.random.default_rng(9).standard_normal((4, 4)))[0]
        assert knn_probe(train @ turn + 1e6, TRAIN_LABELS, test @ turn + 1e6, LABELS)["knn-probe"] == plain
        assert knn_probe(train[::-1], TRAIN_LABELS[::-1], test, LABELS)["knn-probe"] == plain

    def test_order_does_not_matter_even_where_all_codes_are_the_same(self) -> None:
        codes = np.full((800, 4), 0.1, dtype=np.float32)
        score = knn_probe(codes, TRAIN_LABELS, codes[:400], LABELS)
        assert score["knn-probe"] == (LABELS == 0).mean()
        assert knn_probe(codes, TRAIN_LABELS[::-1], codes[:400], LABELS) == score

    def test_more_neighbors_than_training_images_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="5 neighbors were asked for of 4 training images"):
            knn_probe(TRAIN_CODES[:4], np.arange(4), CODES, LABELS)

    def test_a_single_class_is_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="all of one class"):
            knn_probe(TRAIN_CODES, 0 * TRAIN_LABELS, CODES, LABELS)

    def test_codes_with_nan_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="train codes hold values that are not finite"):
            knn_probe(np.full_like(TRAIN_CODES, np.nan), TRAIN_LABELS, CODES, LABELS)


class TestLinearTransfer:
    CODES = TRAIN_FACTORS + 0.3 * np.random.default_rng(10).standard_normal((800, 3))

    def test_factors_in_the_codes_are_told(self) -> None:
        score = linear_transfer(self.CODES, TRAIN_FACTORS, np.random.default_rng(0))["linear-transfer"]
        assert score == pytest.approx(0.96, abs=0.03)

    def test_random_codes_give_the_larger_half(self) -> None:
        codes = np.random.default_rng(11).standard_normal((800, 3))
        halves = (TRAIN_FACTORS >= [0.5, 1, 2]).mean(axis=0)
        score = linear_transfer(codes, TRAIN_FACTORS, np.random.default_rng(0))["linear-transfer"]
        assert score == pytest.approx(np.maximum(halves, 1 - halves).mean(), abs=0.03)

    def test_it_is_the_best_strength_of_an_l1_penalty_by_cross_validation(self) -> None:
        """Every classifier anew, by proximal gradient descent on C · Σ log(1 + exp(-margin)) + |(w, b)|₁."""
        from sklearn.model_selection import StratifiedKFold

        noise = np.random.default_rng(12).standard_normal((100, 41))  # which an L2 penalty lets in
        factor = TRAIN_FACTORS[:100, :1]
        codes = noise + factor * (np.arange(41) == 0)
        rng = np.random.default_rng(3)
        order = np.argsort((codes**2).sum(axis=1))
        x, y = np.column_stack([codes, np.ones(100)])[order], 2 * factor[order, 0] - 1
        folds = list(StratifiedKFold(5, shuffle=True, random_state=int(rng.integers(2**32))).split(x, y))
        best = 0.0
        for strength in (0.3, 0.03, 0.003):
            accuracies = []
            for train, test in folds:
                w = np.zeros(42)
                for _ in range(2000):
                    slope = -(y[train] / (1 + np.exp(y[train] * (x[train] @ w)))) @ x[train]
                    moved = w - 0.02 * strength * slope
                    w = np.sign(moved) * np.maximum(np.abs(moved) - 0.02, 0)
                accuracies.append(np.mean(np.where(x[test] @ w > 0, 1, -1) == y[test]))
            best = max(best, float(np.mean(accuracies)))
        score = linear_transfer(codes, factor, np.random.default_rng(3))["linear-transfer"]
        assert score == pytest.approx(best, abs=0.011)

    def test_of_a_factor_in_one_hot_each_value_is_told_from_the_rest(self) -> None:
        columns = np.column_stack([TRAIN_FACTORS[:, 0], TRAIN_FACTORS[:, 1, None] == range(3), TRAIN_FACTORS[:, 2]])
        expected = linear_transfer(self.CODES, columns, np.random.default_rng(0))
        assert linear_transfer(self.CODES, TRAIN_FACTORS, np.random.default_rng(0), one_hot=(1,)) == expected
        assert linear_transfer(self.CODES, TRAIN_FACTORS, np.random.default_rng(0)) != expected

    def test_a_factor_with_one_value_is_unmeasurable_and_named(self) -> None:
        with pytest.raises(Unmeasurable, match=r"factor 1 \(of 0 to 2\) has a single value in the 800 points"):
            linear_transfer(self.CODES, TRAIN_FACTORS * [1, 0, 1], np.random.default_rng(0))

    def test_order_of_images_does_not_matter(self) -> None:
        plain = linear_transfer(self.CODES, TRAIN_FACTORS, np.random.default_rng(0))
        assert linear_transfer(self.CODES[::-1], TRAIN_FACTORS[::-1], np.random.default_rng(0)) == plain

    def test_the_global_generator_is_left_alone(self) -> None:
        np.random.seed(3)
        linear_transfer(self.CODES, TRAIN_FACTORS, np.random.default_rng(0))
        assert np.random.random() == np.random.RandomState(3).random()

    def test_too_few_images_in_a_half_are_unmeasurable(self) -> None:
        factors = np.zeros((800, 1), dtype=np.int64)
        factors[:4] = 1
        with pytest.raises(Unmeasurable, match=r"a half of target 0 \(of 0 to 0\) has 4 images, fewer than 5 folds"):
            linear_transfer(self.CODES, factors, np.random.default_rng(0))

    def test_codes_beyond_the_solver_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match=r"codes reach .*e\+3\d; liblinear takes values below 1e\+30"):
            linear_transfer(self.CODES * 1e31, TRAIN_FACTORS, np.random.default_rng(0))

    def test_codes_with_nan_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="codes hold values that are not finite"):
            linear_transfer(self.CODES * np.nan, TRAIN_FACTORS, np.random.default_rng(0))
