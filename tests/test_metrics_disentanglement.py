"""MIG and DCI: known answers, and agreement with the formulas of the papers written out anew."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bench.metrics.base import Unmeasurable
from bench.metrics.disentanglement import _import_disent, dci, mig


def uniform_factors(count: int, num_factors: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, size, (count, num_factors))


def linear_mix(factors: np.ndarray, num_codes: int) -> np.ndarray:
    """Codes that are random linear mixtures of the factors, with a little noise."""
    rng = np.random.default_rng(1)
    mixed = factors @ rng.standard_normal((factors.shape[1], num_codes))
    return (mixed + 0.1 * rng.standard_normal(mixed.shape)).astype(np.float32)


def entropy(probabilities: np.ndarray, base: float) -> float:
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum() / np.log(base))


class TestMIG:
    FACTORS = uniform_factors(3000, num_factors=10, size=10)

    def score(self, codes: np.ndarray, **options: int) -> float:
        return mig(codes, self.FACTORS, np.random.default_rng(0), **{"num_samples": 3000, **options})["mig"]

    def test_codes_equal_to_the_factors_score_nearly_1(self) -> None:
        assert 0.9 <= self.score(self.FACTORS.astype(np.float32)) <= 1

    def test_constant_codes_score_0(self) -> None:
        assert self.score(np.full((3000, 10), 0.3, dtype=np.float32)) == pytest.approx(0, abs=1e-12)

    def test_codes_given_twice_score_0(self) -> None:
        assert self.score(np.tile(self.FACTORS, 2).astype(np.float32)) == pytest.approx(0, abs=1e-12)

    def test_shift_and_scale_of_codes_do_not_matter(self) -> None:
        codes = linear_mix(self.FACTORS, 6)
        assert self.score(codes * 4 - 2) == pytest.approx(self.score(codes), abs=1e-3)

    def test_agrees_with_the_formula_of_the_paper(self) -> None:
        """Gap of plug-in mutual informations, codes in 20 bins of equal width, over the factor's entropy."""
        codes, factors = linear_mix(self.FACTORS, 5), self.FACTORS
        gaps = []
        for factor in factors.T:
            marginal = np.bincount(factor) / len(factor)
            informations = []
            for code in codes.T.astype(np.float64):
                joint = np.histogram2d(code, factor, bins=(20, 10))[0] / len(factor)
                outer = np.outer(joint.sum(axis=1), joint.sum(axis=0))
                positive = joint > 0
                informations.append((joint[positive] * np.log(joint[positive] / outer[positive])).sum())
            second, first = np.sort(informations)[-2:]
            gaps.append((first - second) / entropy(marginal, base=np.e))
        assert self.score(codes) == pytest.approx(np.mean(gaps), abs=1e-12)

    def test_the_points_are_drawn_from_the_generator(self) -> None:
        codes = linear_mix(self.FACTORS, 5)
        scores = [mig(codes, self.FACTORS, np.random.default_rng(s), num_samples=500)["mig"] for s in (1, 1, 2)]
        assert scores[0] == scores[1] != scores[2]

    def test_too_few_points_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="the split has 3,000 points, 10,000 were asked for"):
            self.score(linear_mix(self.FACTORS, 5), num_samples=10_000)

    def test_one_latent_dimension_is_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="the codes have one"):
            self.score(linear_mix(self.FACTORS, 1))

    def test_codes_with_nan_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="codes hold values that are not finite"):
            self.score(np.full((3000, 10), np.nan, dtype=np.float32))

    def test_a_factor_with_one_value_is_unmeasurable_and_named(self) -> None:
        factors = self.FACTORS.copy()
        factors[:, 4] = 2
        with pytest.raises(Unmeasurable, match=r"factor 4 \(of 0 to 9\) has a single value"):
            mig(linear_mix(factors, 5), factors, np.random.default_rng(0), num_samples=3000)


class TestDCI:
    FACTORS = uniform_factors(600, num_factors=3, size=4)

    def scores(self, codes: np.ndarray, seed: int = 0) -> dict[str, float]:
        return dci(codes, self.FACTORS, np.random.default_rng(seed), num_train=400, num_test=200)

    def test_codes_equal_to_the_factors_score_1(self) -> None:
        assert self.scores(self.FACTORS.astype(np.float32)) == pytest.approx(
            {"dci-disentanglement": 1, "dci-completeness": 1, "dci-informativeness": 1}, abs=1e-6
        )

    def test_shuffled_codes_score_chance(self) -> None:
        scores = self.scores(np.random.default_rng(1).permutation(self.FACTORS).astype(np.float32))
        assert 0 <= scores["dci-disentanglement"] < 0.2
        assert 0 <= scores["dci-completeness"] < 0.2
        assert scores["dci-informativeness"] == pytest.approx(0.25, abs=0.1)

    def test_constant_codes_score_0(self) -> None:
        scores = self.scores(np.ones((600, 4), dtype=np.float32))
        assert scores["dci-disentanglement"] == pytest.approx(0, abs=1e-9)
        assert scores["dci-completeness"] == pytest.approx(0, abs=1e-9)

    def test_agrees_with_the_formulas_of_the_paper(self) -> None:
        """Entropies of relative importances of boosted trees; codes and factors weighted by their importance."""
        from sklearn.ensemble import GradientBoostingClassifier

        codes, factors = linear_mix(self.FACTORS, 4), self.FACTORS
        rng = np.random.default_rng(3)
        points = rng.permutation(600)
        train, test = points[:400], points[400:]
        classifiers = np.random.RandomState(rng.integers(2**32))
        importance, accuracies = np.empty((4, 3)), []
        for index, factor in enumerate(factors.T):
            model = GradientBoostingClassifier(random_state=classifiers).fit(codes[train], factor[train])
            importance[:, index] = model.feature_importances_
            accuracies.append(model.score(codes[test], factor[test]))
        per_code = [1 - entropy(row / row.sum(), base=3) for row in importance]
        per_factor = [1 - entropy(column / column.sum(), base=4) for column in importance.T]

        scores = self.scores(codes, seed=3)
        expected = np.average(per_code, weights=importance.sum(axis=1))
        assert 0.01 < scores["dci-disentanglement"] < 0.9
        assert scores["dci-disentanglement"] == pytest.approx(expected, abs=1e-8)
        expected = np.average(per_factor, weights=importance.sum(axis=0))
        assert scores["dci-completeness"] == pytest.approx(expected, abs=1e-8)
        assert scores["dci-informativeness"] == pytest.approx(np.mean(accuracies), abs=1e-12)

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
        library = _import_disent("_dci")
        assert library._disentanglement(importance) == pytest.approx(disentanglement, abs=1e-8)
        assert library._completeness(importance) == pytest.approx(completeness, abs=1e-8)

    def test_the_global_generator_neither_matters_nor_changes(self) -> None:
        codes = linear_mix(self.FACTORS, 4).round(1)  # ties, which trees break at random
        results = []
        for seed in (1, 2):
            np.random.seed(seed)
            results.append(self.scores(codes))
            after = np.random.random()
            np.random.seed(seed)
            assert after == np.random.random()
        assert results[0] == results[1]

    def test_too_few_points_are_unmeasurable(self) -> None:
        codes = linear_mix(self.FACTORS, 4)
        with pytest.raises(Unmeasurable, match="the split has 600 points, 15,000 were asked for"):
            dci(codes, self.FACTORS, np.random.default_rng(0))

    def test_one_latent_or_one_factor_is_unmeasurable(self) -> None:
        codes = linear_mix(self.FACTORS, 4)
        with pytest.raises(Unmeasurable, match="the codes have one"):
            self.scores(codes[:, :1])
        with pytest.raises(Unmeasurable, match="the dataset has one"):
            dci(codes, self.FACTORS[:, :1], np.random.default_rng(0), num_train=400, num_test=200)

    def test_a_factor_with_one_value_is_unmeasurable_and_named(self) -> None:
        factors = self.FACTORS.copy()
        factors[:, 0] = 2
        with pytest.raises(Unmeasurable, match=r"factor 0 \(of 0 to 2\) has a single value in the 400 points"):
            dci(linear_mix(factors, 4), factors, np.random.default_rng(0), num_train=400, num_test=200)


def test_computing_prints_nothing() -> None:
    code = """
import numpy as np
from bench.metrics.disentanglement import mig
factors = np.arange(40).reshape(20, 2) % 3
mig(factors.astype("float32"), factors, np.random.default_rng(0), num_samples=20)
"""
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
