"""DCI by its protocols: known answers, and agreement with scikit-learn's classifiers and the papers' formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from bench.metrics.base import Unmeasurable
from bench.metrics.disentanglement.boosting import fit_classifiers
from bench.metrics.disentanglement.dci import (
    dci,
    dci_histogram,
    dci_random_forest,
    disentanglement_and_completeness,
    split_gains,
)
from bench.metrics.disentanglement.points import choose, import_disent
from tests.factor_codes import linear_mix, random_factors

Scores = Mapping[str, Any]
FACTORS = np.random.default_rng(0).integers(0, 4, (450, 3))


def entropy(probabilities: np.ndarray, base: float) -> float:
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum() / np.log(base))


def expected_scores(importance: np.ndarray) -> tuple[float, float]:
    """Equations of the paper: 1 - entropy of the relative importances, averaged by importance."""
    num_codes, num_factors = importance.shape
    per_code = [1 - entropy(row / row.sum(), base=num_factors) for row in importance]
    per_factor = [1 - entropy(column / column.sum(), base=num_codes) for column in importance.T]
    return (
        float(np.average(per_code, weights=importance.sum(axis=1))),
        float(np.average(per_factor, weights=importance.sum(axis=0))),
    )


def boosted_scores(codes: np.ndarray, factors: np.ndarray = FACTORS, seed: int = 0, threads: int = 1) -> Scores:
    return dci(codes, factors, np.random.default_rng(seed), threads, num_train=300, num_test=150)


def histogram_scores(codes: np.ndarray, factors: np.ndarray = FACTORS, seed: int = 0) -> Scores:
    return dci_histogram(codes, factors, np.random.default_rng(seed), num_train=300, num_test=150)


def forest_scores(codes: np.ndarray, factors: np.ndarray = FACTORS, seed: int = 0, threads: int = 1) -> Scores:
    return dci_random_forest(codes, factors, np.random.default_rng(seed), threads, num_samples=450)


PROTOCOLS = {"dci": boosted_scores, "dci-histogram": histogram_scores, "dci-random-forest": forest_scores}
EACH_PROTOCOL = pytest.mark.parametrize(("name", "scores"), PROTOCOLS.items(), ids=PROTOCOLS)
Protocol = Callable[..., Scores]


class TestFormulas:
    @pytest.mark.parametrize(
        ("importance", "disentanglement", "completeness"),
        [
            (np.eye(10), 1, 1),
            (np.vstack([np.eye(10), np.zeros((1, 10))]), 1, 1),
            (np.zeros((10, 10)), 0, 0),
            (np.vstack([np.eye(5), np.eye(5)]), 1, 1 - np.log(2) / np.log(10)),
            (np.hstack([np.eye(5), np.eye(5)]), 1 - np.log(2) / np.log(10), 1),
        ],
        ids=["diagonal", "unused code", "all zero", "two codes a factor", "one code for two factors"],
    )
    def test_scores_of_importance_matrices_are_exact(
        self, importance: np.ndarray, disentanglement: float, completeness: float
    ) -> None:
        found = disentanglement_and_completeness(importance)
        assert found == pytest.approx((disentanglement, completeness), abs=1e-8)

    def test_any_importance_matrix_scores_as_the_paper_says(self) -> None:
        importance = np.random.default_rng(0).gamma(0.5, size=(7, 4))
        assert disentanglement_and_completeness(importance) == pytest.approx(expected_scores(importance), abs=1e-8)


class TestEachProtocol:
    @EACH_PROTOCOL
    def test_codes_equal_to_the_factors_score_1(self, name: str, scores: Protocol) -> None:
        found = scores(FACTORS.astype(np.float32))
        assert found == pytest.approx(dict.fromkeys(found, 1), abs=1e-5)
        assert list(found) == [f"{name}-{what}" for what in ("disentanglement", "completeness", "informativeness")]

    @EACH_PROTOCOL
    def test_shuffled_codes_are_neither_disentangled_nor_complete(self, name: str, scores: Protocol) -> None:
        found = scores(np.random.default_rng(1).permutation(FACTORS).astype(np.float32))
        assert 0 <= found[f"{name}-disentanglement"] < 0.2
        assert 0 <= found[f"{name}-completeness"] < 0.2

    @EACH_PROTOCOL
    def test_constant_codes_are_neither_disentangled_nor_complete(self, name: str, scores: Protocol) -> None:
        found = scores(np.ones((450, 4), dtype=np.float32))
        assert found[f"{name}-disentanglement"] == pytest.approx(0, abs=1e-9)
        assert found[f"{name}-completeness"] == pytest.approx(0, abs=1e-9)

    @EACH_PROTOCOL
    def test_shift_scale_sign_and_order_of_codes_hardly_matter(self, name: str, scores: Protocol) -> None:
        codes = linear_mix(FACTORS, 4)
        assert scores(np.ascontiguousarray(3 - 2 * codes[:, ::-1])) == pytest.approx(scores(codes), abs=0.03)

    @EACH_PROTOCOL
    def test_the_order_of_points_does_not_matter_at_all(self, name: str, scores: Protocol) -> None:
        codes, order = linear_mix(FACTORS, 4), np.random.default_rng(2).permutation(450)
        assert scores(codes[order], FACTORS[order]) == scores(codes)

    @EACH_PROTOCOL
    def test_the_points_are_drawn_from_the_generator(self, name: str, scores: Protocol) -> None:
        codes = linear_mix(FACTORS, 4)
        first, again, other = (scores(codes, seed=seed) for seed in (1, 1, 2))
        assert first == again
        assert first != other

    @EACH_PROTOCOL
    def test_the_global_generator_neither_matters_nor_changes(self, name: str, scores: Protocol) -> None:
        codes = linear_mix(FACTORS, 4).round(1)  # ties, which trees break at random
        results = []
        for seed in (1, 2):
            np.random.seed(seed)
            results.append(scores(codes))
            after = np.random.random()
            np.random.seed(seed)
            assert after == np.random.random()
        assert results[0] == results[1]

    @EACH_PROTOCOL
    def test_one_latent_or_one_factor_is_unmeasurable(self, name: str, scores: Protocol) -> None:
        codes = linear_mix(FACTORS, 4)
        with pytest.raises(Unmeasurable, match="the codes have one"):
            scores(codes[:, :1])
        with pytest.raises(Unmeasurable, match="the dataset has one"):
            scores(codes, FACTORS[:, :1])

    @EACH_PROTOCOL
    def test_a_factor_with_one_value_is_unmeasurable_and_named(self, name: str, scores: Protocol) -> None:
        factors = FACTORS * [0, 1, 1]
        with pytest.raises(Unmeasurable, match=r"factor 0 \(of 0 to 2\) has a single value"):
            scores(linear_mix(factors, 4), factors)

    @EACH_PROTOCOL
    def test_codes_with_nan_are_unmeasurable(self, name: str, scores: Protocol) -> None:
        with pytest.raises(Unmeasurable, match="not finite"):
            scores(np.full((450, 4), np.nan, dtype=np.float32))

    @EACH_PROTOCOL
    def test_too_few_points_are_unmeasurable(self, name: str, scores: Protocol) -> None:
        with pytest.raises(Unmeasurable, match="the split has 400 points, 450 were asked for"):
            scores(linear_mix(FACTORS, 4)[:400], FACTORS[:400])


class TestBoosting:
    """Every number is compared bit for bit."""

    @pytest.mark.parametrize("codes", ["distinct", "tied", "equal to the targets"])
    @pytest.mark.parametrize("threads", [1, 3])
    def test_classifiers_are_those_of_scikit_learn_fitted_one_after_another(self, codes: str, threads: int) -> None:
        from sklearn.ensemble import GradientBoostingClassifier

        rng = np.random.default_rng(0)
        targets = rng.integers(0, (2, 7, 3), (450, 3)) * [1, 3, -2] + [5, 0, 0]
        mixed = linear_mix(targets, 4)
        features = {"distinct": mixed, "tied": mixed.round(0), "equal to the targets": targets}[codes]
        train, test = slice(300), slice(300, None)
        ours, theirs = np.random.RandomState(3), np.random.RandomState(3)
        found = fit_classifiers(features[train], targets[train], features[test], ours, threads)
        for classifier, target in zip(found, targets.T, strict=True):
            expected = GradientBoostingClassifier(random_state=theirs).fit(features[train], target[train])
            assert classifier.importances.tolist() == expected.feature_importances_.tolist()
            assert classifier.predictions.tolist() == expected.predict(features[test]).tolist()
        assert ours.randint(2**31) == theirs.randint(2**31)

    def test_a_classifier_whose_trees_never_split_predicts_the_larger_class(self) -> None:
        targets = (np.arange(90)[:, None] % 3 == 0).astype(int) + 4
        (found,) = fit_classifiers(np.zeros((90, 2)), targets, np.ones((5, 2)), np.random.RandomState(0), 2)
        assert found.importances.tolist() == [0, 0]
        assert found.predictions.tolist() == [4] * 5

    def test_scores_are_those_of_the_reference_implementation(self) -> None:
        codes = linear_mix(FACTORS, 4)
        rng = np.random.default_rng(3)
        points = choose(codes, FACTORS, 450, rng)
        train, test = points[:300], points[300:]
        before = np.random.get_state()
        np.random.seed(rng.integers(2**32))
        reference = import_disent("_dci")._compute_dci(codes[train].T, FACTORS[train].T, codes[test].T, FACTORS[test].T)
        np.random.set_state(before)
        found = boosted_scores(codes, seed=3, threads=2)
        assert 0.01 < found["dci-disentanglement"] < 0.9
        assert found == {
            "dci-disentanglement": reference["dci.disentanglement"],
            "dci-completeness": reference["dci.completeness"],
            "dci-informativeness": pytest.approx(reference["dci.informativeness_test"], abs=1e-15),
        }


class TestHistogram:
    @pytest.mark.parametrize(("order", "least", "greatest"), [("as the factors", 0.9, 1), ("shuffled", 0, 0.2)])
    def test_ten_factors_of_ten_values_end_to_end(self, order: str, least: float, greatest: float) -> None:
        factors = 1 + random_factors(2000, *[10] * 10)
        codes = factors if order == "as the factors" else np.random.default_rng(1).permutation(factors)
        generator = np.random.default_rng(0)
        found = dci_histogram(codes.astype(np.float32), factors, generator, num_train=1000, num_test=1000)
        assert least <= found["dci-histogram-disentanglement"] <= greatest
        assert least <= found["dci-histogram-completeness"] <= greatest

    def test_gains_are_those_of_the_splits_that_the_trees_make(self) -> None:
        """A tree that splits by latent 0, then by latents 1 and 2; gains of gradients p - y and curvatures p(1 - p)."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        rng = np.random.default_rng(0)
        codes = rng.integers(0, 2, (800, 3))
        classes = (rng.random(800) < 0.1 + 0.5 * codes[:, 0] + 0.3 * codes[:, 0] * codes[:, 1]).astype(int)
        gradients = classes.mean() - classes
        curvature = classes.mean() * (1 - classes.mean())

        def gain(members: np.ndarray, latent: int) -> float:
            sides = [gradients[members & (codes[:, latent] == side)] for side in (0, 1)]
            parts = [side.sum() ** 2 / (curvature * len(side)) for side in sides]
            return sum(parts) - gradients[members].sum() ** 2 / (curvature * members.sum())

        expected = np.array([gain(np.ones(800, bool), 0), 0, 0])
        for side in (0, 1):
            gains = [gain(codes[:, 0] == side, latent) for latent in (1, 2)]
            expected[1 + int(np.argmax(gains))] += max(gains)
        model = HistGradientBoostingClassifier(max_iter=1, max_depth=2, early_stopping=False, random_state=0)
        assert split_gains(model.fit(codes, classes), 3) == pytest.approx(expected / expected.sum(), rel=1e-5)
        assert (expected > 0).sum() >= 2

    def test_the_number_of_threads_does_not_matter(self) -> None:
        from threadpoolctl import threadpool_limits

        codes, found = linear_mix(FACTORS, 4), []
        for threads in (1, 2):
            with threadpool_limits(threads):
                found.append(histogram_scores(codes))
        assert found[0] == found[1]

    def test_values_are_near_those_of_the_study(self) -> None:
        codes = linear_mix(FACTORS, 4)
        found, study = histogram_scores(codes), boosted_scores(codes)
        for what in ("disentanglement", "completeness", "informativeness"):
            assert found[f"dci-histogram-{what}"] == pytest.approx(study[f"dci-{what}"], abs=0.1)


class TestRandomForest:
    def test_agrees_with_the_authors_procedure(self) -> None:
        """Depth by cross-validation over all targets; Gini importances; 1 - 6 times the squared error, not below 0."""
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.model_selection import cross_validate

        codes = linear_mix(FACTORS, 4)
        rng = np.random.default_rng(5)
        points = choose(codes, FACTORS, 450, rng)
        train, test = points[:301], points[301:]
        seed = int(rng.integers(2**32))
        targets = [(FACTORS[:, 0] == value).astype(float) for value in range(4)]
        targets += [FACTORS[:, 1] / 3, FACTORS[:, 2] / 3]
        best_error, best_depth = np.inf, 0
        for depth in (2, 4, 8, 12):
            forest = RandomForestRegressor(n_estimators=10, max_depth=depth, random_state=seed)
            folds = [
                cross_validate(forest, codes[train], target[train], scoring="neg_mean_squared_error", cv=5)
                for target in targets
            ]
            error = -np.mean([np.mean(fold["test_score"]) for fold in folds])
            if error < best_error:
                best_error, best_depth = error, depth
        importance, informativeness = np.empty((4, 6)), []
        for index, target in enumerate(targets):
            forest = RandomForestRegressor(n_estimators=10, max_depth=best_depth, random_state=seed)
            forest.fit(codes[train], target[train])
            importance[:, index] = forest.feature_importances_
            informativeness.append(max(0, 1 - 6 * np.mean((forest.predict(codes[test]) - target[test]) ** 2)))
        disentanglement, completeness = expected_scores(importance)

        generator = np.random.default_rng(5)
        found = dci_random_forest(codes, FACTORS, generator, 2, num_samples=450, one_hot=(0,))
        assert best_depth > 2
        assert found == pytest.approx(
            {
                "dci-random-forest-disentanglement": disentanglement,
                "dci-random-forest-completeness": completeness,
                "dci-random-forest-informativeness": np.mean(informativeness),
            },
            abs=1e-8,
        )

    def test_the_number_of_threads_does_not_matter(self) -> None:
        codes = linear_mix(FACTORS, 4)
        assert forest_scores(codes, threads=1) == forest_scores(codes, threads=3)

    def test_codes_that_tell_nothing_are_a_sixth_informative(self) -> None:
        """The mean of a factor uniform on k/3 has squared error 5/36, and 1 - 6 · 5/36 = 1/6."""
        found = forest_scores(np.ones((450, 4), dtype=np.float32))
        assert found["dci-random-forest-informativeness"] == pytest.approx(1 / 6, abs=0.05)

    def test_one_hot_of_a_factor_there_is_not_is_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="one_hot names factor 3; factors are numbered 0 to 2"):
            dci_random_forest(
                linear_mix(FACTORS, 4), FACTORS, np.random.default_rng(0), 1, num_samples=60, one_hot=(3,)
            )

    def test_fewer_training_points_than_folds_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="4 training points are fewer than the 5 folds"):
            dci_random_forest(linear_mix(FACTORS, 4), FACTORS, np.random.default_rng(0), 1, num_samples=6)
