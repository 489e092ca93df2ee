"""MIG, MIG-sup, modularity, DCIMIG: known answers, and agreement with disent and with the formulas written out anew."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from bench.metrics.base import Unmeasurable
from bench.metrics.disentanglement.mutual_information import (
    dcimig,
    entropy,
    equal_width_bins,
    information,
    joint_histograms,
    mig,
    mig_sup,
    modularity,
    value_indices,
)
from bench.metrics.disentanglement.points import import_disent
from tests.factor_codes import factor_grid, linear_mix, random_factors

GRID = factor_grid(4, 5, 3, repeats=2)
FACTORS = random_factors(3000, 10, 4, 7)
METRICS = [mig, mig_sup, modularity, dcimig]
every_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)


def score(metric: Callable, codes: np.ndarray, factors: np.ndarray, seed: int = 0, count: int | None = None) -> float:
    (value,) = metric(codes, factors, np.random.default_rng(seed), num_samples=count or len(codes)).values()
    return value


def reference_informations(codes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of NumPy's histograms and scikit-learn's estimate, as in disentanglement_lib: [d, F] and [F]."""
    informations = np.empty((codes.shape[1], factors.shape[1]))
    for i, code in enumerate(codes.T.astype(np.float64)):
        bins = np.digitize(code, np.histogram(code, 20)[1][:-1])
        for k, factor in enumerate(factors.T):
            informations[i, k] = mutual_info_score(factor, bins)
    return informations, np.array([mutual_info_score(factor, factor) for factor in factors.T])


class TestEstimate:
    def test_bins_are_those_of_numpy(self) -> None:
        rng = np.random.default_rng(0)
        edges = np.histogram([0.0, 0.7], 20)[1]
        whole = rng.integers(0, 41, 500) / 40
        for values in (rng.standard_normal(500), whole, -whole, edges, np.repeat([0.0, 1.0], 10), 1e-30 * whole):
            expected = np.digitize(values, np.histogram(values, 20)[1][:-1]) - 1
            assert np.array_equal(equal_width_bins(values[:, None])[:, 0], expected)

    @pytest.mark.parametrize("value", [0.0, 0.3, 1e30], ids=str)
    def test_a_constant_latent_is_in_one_bin(self, value: float) -> None:
        assert not equal_width_bins(np.full((10, 1), value)).any()

    def test_values_without_20_floats_between_them_are_in_one_bin(self) -> None:
        assert not equal_width_bins(np.array([[1.0], [np.nextafter(1.0, 2.0)]])).any()

    def test_histograms_count_pairs(self) -> None:
        left, right = random_factors(200, 3, 6), random_factors(200, 5, 2, 4, seed=1)
        counts = joint_histograms(left, right)
        assert counts.shape == (2, 3, 6, 5)
        for a, b, u, v in np.ndindex(*counts.shape):
            assert counts[a, b, u, v] == ((left[:, a] == u) & (right[:, b] == v)).sum()

    def test_values_are_counted_without_gaps(self) -> None:
        assert value_indices(np.array([[5, -1], [90, 3], [5, 3]])).tolist() == [[0, 0], [1, 1], [0, 1]]

    def test_information_is_that_of_scikit_learn(self) -> None:
        codes = linear_mix(FACTORS, 5)
        ours = information(joint_histograms(equal_width_bins(codes.astype(np.float64)), value_indices(FACTORS)))
        assert ours == pytest.approx(reference_informations(codes, FACTORS)[0], abs=1e-12)

    def test_information_of_independent_variables_is_exactly_0(self) -> None:
        counts = joint_histograms(GRID, GRID)
        assert (information(counts)[~np.eye(3, dtype=bool)] == 0).all()

    def test_entropy_of_a_uniform_variable_is_the_logarithm_of_its_values(self) -> None:
        assert entropy(np.array([[3, 3, 3, 0], [5, 0, 0, 0]])) == pytest.approx([np.log(3), 0], abs=1e-15)


class TestKnownAnswers:
    @every_metric
    def test_codes_equal_to_independent_factors_score_1(self, metric: Callable) -> None:
        assert score(metric, GRID.astype(np.float32), GRID) == pytest.approx(1, abs=1e-12)

    @every_metric
    def test_codes_equal_to_a_sample_of_factors_score_nearly_1(self, metric: Callable) -> None:
        factors = random_factors(3000, *[10] * 10)
        assert 0.9 <= score(metric, factors.astype(np.float32), factors) <= 1

    @every_metric
    def test_constant_codes_score_0(self, metric: Callable) -> None:
        assert score(metric, np.full((3000, 10), 0.3, dtype=np.float32), FACTORS) == 0

    @pytest.mark.parametrize(("metric", "expected"), [(mig, 0), (mig_sup, 1), (modularity, 1), (dcimig, 1)])
    def test_only_mig_minds_codes_given_twice(self, metric: Callable, expected: float) -> None:
        assert score(metric, np.tile(GRID, 2).astype(np.float32), GRID) == pytest.approx(expected, abs=1e-12)

    @every_metric
    def test_random_codes_score_nearly_0(self, metric: Callable) -> None:
        """But for modularity, which compares how little a latent tells of each factor."""
        factors = random_factors(20_000, 4, 4, 4)
        codes = np.random.default_rng(1).standard_normal((20_000, 5)).astype(np.float32)
        assert 0 <= score(metric, codes, factors) < (0.9 if metric is modularity else 0.002)

    @pytest.mark.parametrize(("metric", "expected"), [(mig_sup, 0), (modularity, 0), (dcimig, 0)])
    def test_latents_that_tell_two_factors_alike_score_0(self, metric: Callable, expected: float) -> None:
        factors = factor_grid(4, 4)
        both = (4 * factors[:, :1] + factors[:, 1:]).astype(np.float32)
        assert score(metric, np.hstack([both, both]), factors) == pytest.approx(expected, abs=1e-12)

    def test_mig_sup_leaves_out_latents_that_hardly_vary(self) -> None:
        noise = 0.05 * np.random.default_rng(0).standard_normal((len(GRID), 3))
        codes = np.hstack([GRID, noise]).astype(np.float32)
        assert score(mig_sup, codes, GRID) == pytest.approx(1, abs=1e-12)
        assert score(mig_sup, codes * [1, 1, 1, 4, 4, 4], GRID) < 0.8

    def test_modularity_counts_latents_that_tell_nothing_as_0(self) -> None:
        codes = np.hstack([GRID, np.zeros((len(GRID), 1))]).astype(np.float32)
        assert score(modularity, codes, GRID) == pytest.approx(3 / 4, abs=1e-12)

    def test_modularity_of_two_factors_in_one(self) -> None:
        """Each latent tells of two of ten factors alike: 1 - 1/9."""
        factors = np.tile(factor_grid(*[2] * 5), 2)
        assert score(modularity, factors[:, :5].astype(np.float32), factors) == pytest.approx(1 - 1 / 9, abs=1e-12)

    def test_dcimig_is_the_share_of_entropy_that_latents_hold(self) -> None:
        entropies = np.log([4, 5, 3])
        assert score(dcimig, GRID[:, [0, 2, 2]].astype(np.float32), GRID) == pytest.approx(
            entropies[[0, 2]].sum() / entropies.sum(), abs=1e-12
        )

    def test_factors_of_more_than_20_values_cannot_reach_1(self) -> None:
        factors = factor_grid(40, 2)
        assert score(mig, factors.astype(np.float32), factors) == pytest.approx(
            (np.log(20) / np.log(40) + 1) / 2, abs=1e-12
        )


class TestAgreement:
    CODES = linear_mix(FACTORS, 5)
    INFORMATIONS, ENTROPIES = reference_informations(CODES, FACTORS)

    def test_mig_agrees_with_disent(self) -> None:
        expected = import_disent("_mig")._compute_mig(self.CODES.T.astype(np.float64), FACTORS.T)["mig.discrete_score"]
        assert 0.01 < expected < 0.9
        assert score(mig, self.CODES, FACTORS) == pytest.approx(expected, abs=1e-9)

    def test_mig_agrees_with_the_formula_of_the_paper(self) -> None:
        gaps = []
        for informations, factor_entropy in zip(self.INFORMATIONS.T, self.ENTROPIES, strict=True):
            second, first = sorted(informations)[-2:]
            gaps.append((first - second) / factor_entropy)
        assert score(mig, self.CODES, FACTORS) == pytest.approx(np.mean(gaps), abs=1e-9)

    def test_mig_sup_agrees_with_the_formula_of_the_paper(self) -> None:
        gaps = []
        for informations in self.INFORMATIONS:
            second, first = sorted(i / h for i, h in zip(informations, self.ENTROPIES, strict=True))[-2:]
            gaps.append(first - second)
        assert score(mig_sup, self.CODES, FACTORS) == pytest.approx(np.mean(gaps), abs=1e-9)

    def test_modularity_agrees_with_the_formula_of_the_paper(self) -> None:
        scores = []
        for informations in self.INFORMATIONS:
            best = int(np.argmax(informations))
            others = sum(value**2 for k, value in enumerate(informations) if k != best)
            scores.append(1 - others / (informations[best] ** 2 * (len(informations) - 1)))
        assert score(modularity, self.CODES, FACTORS) == pytest.approx(np.mean(scores), abs=1e-9)

    def test_dcimig_agrees_with_the_formula_of_the_review(self) -> None:
        best_gaps = [0.0] * len(self.ENTROPIES)
        for informations in self.INFORMATIONS:
            best = int(np.argmax(informations))
            second, first = sorted(informations)[-2:]
            best_gaps[best] = max(best_gaps[best], first - second)
        assert score(dcimig, self.CODES, FACTORS) == pytest.approx(sum(best_gaps) / self.ENTROPIES.sum(), abs=1e-9)


class TestInvariance:
    CODES = linear_mix(FACTORS, 5)

    @every_metric
    def test_the_order_of_points_does_not_matter_at_all(self, metric: Callable) -> None:
        order = np.random.default_rng(2).permutation(len(FACTORS))
        assert score(metric, self.CODES[order], FACTORS[order]) == score(metric, self.CODES, FACTORS)

    @every_metric
    def test_order_and_sign_of_latents_do_not_matter(self, metric: Callable) -> None:
        turned = self.CODES[:, [3, 0, 4, 1, 2]] * np.array([1, -1, -1, 1, -1], dtype=np.float32)
        assert score(metric, turned, FACTORS) == pytest.approx(score(metric, self.CODES, FACTORS), abs=1e-12)

    @every_metric
    def test_shift_and_scale_of_codes_do_not_matter(self, metric: Callable) -> None:
        assert score(metric, self.CODES * 4 - 2, FACTORS) == pytest.approx(score(metric, self.CODES, FACTORS), abs=1e-3)

    @every_metric
    def test_names_of_factor_values_do_not_matter(self, metric: Callable) -> None:
        renamed = np.array([7, 100, -3, 8, 1, 0, 55, 2, 9, 4])[FACTORS]
        assert score(metric, self.CODES, renamed) == pytest.approx(score(metric, self.CODES, FACTORS), abs=1e-12)

    @every_metric
    def test_the_points_are_drawn_from_the_generator(self, metric: Callable) -> None:
        scores = [score(metric, self.CODES, FACTORS, seed=seed, count=500) for seed in (1, 1, 2)]
        assert scores[0] == scores[1] != scores[2]


class TestUnmeasurable:
    CODES = linear_mix(FACTORS, 5)

    @every_metric
    def test_too_few_points(self, metric: Callable) -> None:
        with pytest.raises(Unmeasurable, match="the split has 3,000 points, 10,000 were asked for"):
            score(metric, self.CODES, FACTORS, count=10_000)

    @every_metric
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_codes_that_are_not_finite(self, metric: Callable, value: float) -> None:
        codes = self.CODES.copy()
        codes[7, 2] = value
        with pytest.raises(Unmeasurable, match="codes hold values that are not finite"):
            score(metric, codes, FACTORS)

    @every_metric
    def test_a_factor_with_one_value_is_named(self, metric: Callable) -> None:
        factors = FACTORS.copy()
        factors[:, 1] = 2
        with pytest.raises(Unmeasurable, match=r"factor 1 \(of 0 to 2\) has a single value in the 3,000 points"):
            score(metric, self.CODES, factors)

    @every_metric
    def test_a_single_point(self, metric: Callable) -> None:
        with pytest.raises(Unmeasurable, match="has a single value in the 1 points"):
            score(metric, self.CODES[:1], FACTORS[:1])

    def test_mig_of_one_latent_dimension(self) -> None:
        with pytest.raises(Unmeasurable, match="the codes have one"):
            score(mig, self.CODES[:, :1], FACTORS)

    @pytest.mark.parametrize("metric", [mig_sup, modularity, dcimig])
    def test_one_factor(self, metric: Callable) -> None:
        with pytest.raises(Unmeasurable, match="compares two factors; the dataset has one"):
            score(metric, self.CODES, FACTORS[:, :1])

    @pytest.mark.parametrize("metric", [mig_sup, modularity, dcimig])
    def test_but_one_latent_dimension_is_enough_for_gaps_between_factors(self, metric: Callable) -> None:
        assert 0 < score(metric, GRID[:, :1].astype(np.float32), GRID) <= 1


def test_computing_prints_nothing() -> None:
    code = """
import numpy as np
from bench.metrics.disentanglement.mutual_information import dcimig, mig, mig_sup, modularity
factors = np.arange(40).reshape(20, 2) % 3
for metric in (mig, mig_sup, modularity, dcimig):
    for codes in (factors, np.zeros((20, 3))):
        metric(codes.astype("float32"), factors, np.random.default_rng(0), num_samples=20)
"""
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
