"""FactorVAE score, β-VAE score and IRS: known answers, and agreement with the reference algorithms as plain loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from bench.metrics.base import Unmeasurable
from bench.metrics.disentanglement.interventions import (
    beta_vae_score,
    draw_batches,
    draw_pairs,
    factor_vae_score,
    interventional_robustness,
)
from bench.metrics.disentanglement.points import choose
from tests.factor_codes import factor_grid, linear_mix

FACTORS = np.random.default_rng(0).integers(0, 10, (3000, 10))
FEW = np.random.default_rng(0).integers(0, (4, 3, 5), (500, 3))


def factor_vae(codes: np.ndarray, factors: np.ndarray = FACTORS, seed: int = 0, **options: int) -> float:
    options = {"num_samples": len(factors), "train_votes": 2000, "test_votes": 1000, **options}
    return factor_vae_score(codes, factors, np.random.default_rng(seed), **options)["factor-vae-score"]


def beta_vae(codes: np.ndarray, factors: np.ndarray = FACTORS, seed: int = 0, **options: int) -> float:
    options = {"num_samples": len(factors), "train_votes": 2000, "test_votes": 1000, **options}
    return beta_vae_score(codes, factors, np.random.default_rng(seed), **options)["beta-vae-score"]


def irs(codes: np.ndarray, factors: np.ndarray = FACTORS, seed: int = 0) -> float:
    return interventional_robustness(codes, factors, np.random.default_rng(seed), num_samples=len(factors))["irs"]


SCORES = {"factor-vae-score": factor_vae, "beta-vae-score": beta_vae, "irs": irs}
EACH = pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
Score = Callable[..., float]


class TestKnownAnswers:
    @EACH
    def test_codes_equal_to_the_factors_score_1(self, score: Score) -> None:
        assert score(FACTORS.astype(np.float32)) == 1

    @EACH
    def test_codes_given_twice_score_1(self, score: Score) -> None:
        assert score(np.tile(FACTORS, 2).astype(np.float32)) == 1

    def test_constant_codes_score_0_and_by_the_classifier_chance(self) -> None:
        codes = np.full((3000, 10), 0.3, dtype=np.float32)
        assert factor_vae(codes) == 0
        assert irs(codes) == 0
        assert beta_vae(codes) == pytest.approx(0.1, abs=0.05)

    def test_codes_that_ignore_the_factors_score_chance(self) -> None:
        """Of uniform codes, the 99th percentile of deviations is 0.99 of the largest one, whatever is held fixed."""
        codes = np.random.default_rng(1).uniform(size=(3000, 10)).astype(np.float32)
        assert factor_vae(codes) == pytest.approx(0.1, abs=0.05)
        assert beta_vae(codes) == pytest.approx(0.1, abs=0.05)
        assert irs(codes) == pytest.approx(0.01, abs=0.02)

    def test_one_latent_can_tell_two_factors_apart_but_not_by_being_the_one_that_varies_least(self) -> None:
        factors = np.random.default_rng(0).integers(0, 10, (2000, 2))
        assert factor_vae(factors[:, :1].astype(np.float32), factors) == pytest.approx(0.5, abs=0.06)
        assert beta_vae(factors[:, :1].astype(np.float32), factors) == 1
        assert irs(factors[:, :1].astype(np.float32), factors) == 1

    def test_a_latent_of_a_small_spread_is_pruned(self) -> None:
        """With latents 0 and 1 for factors 0 and 1, of which 1 has a standard deviation of 0.04, no vote tells them."""
        factors = np.random.default_rng(0).integers(0, 2, (2000, 2))
        both = factors.astype(np.float32) * [2, 2]
        assert factor_vae(both, factors) == 1
        assert factor_vae(both * [1, 0.04], factors) == pytest.approx(0.5, abs=0.06)
        assert factor_vae(both * 0.04, factors) == 0


class TestAgreement:
    """With the reference algorithms as loops over votes, on the same draws; tolerances are of rounding."""

    CODES = linear_mix(FEW, 4)

    @pytest.mark.parametrize("seed", [0, 1])
    def test_factor_vae_score(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        order = choose(self.CODES, FEW, 500, rng)
        codes, factors = self.CODES[order], FEW[order]
        fixed, points = draw_batches(factors, 300, 8, rng)
        spread = np.var(codes, axis=0, ddof=1)
        votes = {"train": np.zeros((3, 4)), "test": np.zeros((3, 4))}
        for number, (factor, batch) in enumerate(zip(fixed, points, strict=True)):
            latent = np.argmin(np.var(codes[batch], axis=0, ddof=1) / spread)
            votes["train" if number < 200 else "test"][factor, latent] += 1
        classifier = np.argmax(votes["train"], axis=0)
        accuracy = np.sum(votes["test"][classifier, np.arange(4)]) / np.sum(votes["test"])

        found = factor_vae(self.CODES, FEW, seed, train_votes=200, test_votes=100, batch=8)
        assert 0.4 < found < 1
        assert found == pytest.approx(accuracy, abs=1e-12)

    @pytest.mark.parametrize("seed", [0, 1])
    def test_beta_vae_score(self, seed: int) -> None:
        """The classifier is what the study's was, liblinear's: each factor against the rest, the likeliest chosen."""
        from sklearn.linear_model import LogisticRegression

        rng = np.random.default_rng(seed)
        order = choose(self.CODES, FEW, 500, rng)
        codes, factors = self.CODES[order].astype(np.float64), FEW[order]
        fixed, left, right = draw_pairs(factors, 300, 8, rng)
        features = np.zeros((300, 4))
        for number in range(300):
            for one, other in zip(left[number], right[number], strict=True):
                features[number] += np.abs(codes[one] - codes[other]) / 8
        probabilities = []
        for factor in range(3):
            model = LogisticRegression(solver="liblinear", tol=1e-10).fit(features[:200], fixed[:200] == factor)
            probabilities.append(model.predict_proba(features[200:])[:, 1])
        accuracy = np.mean(np.argmax(probabilities, axis=0) == fixed[200:])

        found = beta_vae(self.CODES, FEW, seed, train_votes=200, test_votes=100, batch=8)
        assert 0.4 < found < 1
        assert found == pytest.approx(accuracy, abs=1e-12)

    @staticmethod
    def reference_irs(codes: np.ndarray, factors: np.ndarray) -> float:
        codes = codes.astype(np.float64)
        largest = np.max(np.abs(codes - codes.mean(axis=0)), axis=0)
        matrix = np.zeros((codes.shape[1], factors.shape[1]))
        for latent, factor in np.ndindex(*matrix.shape):
            deviations = []
            for value in np.unique(factors[:, factor]):
                group = codes[factors[:, factor] == value, latent]
                deviations.append(np.quantile(np.abs(group - np.mean(group)), 0.99))
            matrix[latent, factor] = 1 - np.mean(deviations) / largest[latent]
        return float(np.average(matrix.max(axis=1), weights=largest))

    def test_irs(self) -> None:
        assert 0.05 < irs(self.CODES, FEW) < 0.95
        assert irs(self.CODES, FEW) == pytest.approx(self.reference_irs(self.CODES, FEW), abs=1e-12)

    def test_irs_of_a_factor_of_more_than_20_values_differs_by_the_reference_s_bins(self) -> None:
        factors = factor_grid(40, 3, repeats=10)
        binned = np.column_stack([np.digitize(f, np.histogram(f, 20)[1][:-1]) for f in factors.T])
        codes = linear_mix(factors / [40, 3], 4)
        assert irs(codes, factors) == pytest.approx(self.reference_irs(codes, factors), abs=1e-12)
        equal = factors.astype(np.float32)
        assert irs(equal, factors) == 1
        assert self.reference_irs(equal, binned) == pytest.approx(0.974, abs=0.002)


class TestDraws:
    def test_points_of_a_batch_share_the_fixed_factor_only(self) -> None:
        fixed, points = draw_batches(FEW, 400, 16, np.random.default_rng(0))
        for factor in range(3):
            values = FEW[points[fixed == factor]]
            shared = (values == values[:, :1]).all(axis=1)
            assert shared[:, factor].all()
            assert not np.delete(shared, factor, axis=1).any()

    def test_pairs_share_the_fixed_factor_pair_by_pair(self) -> None:
        fixed, left, right = draw_pairs(FEW, 400, 16, np.random.default_rng(0))
        equal = FEW[left] == FEW[right]
        for factor in range(3):
            assert equal[fixed == factor][..., factor].all()
            assert equal[fixed == factor].mean(axis=(0, 1))[factor - 1] < 0.5
        assert (np.ptp(FEW[left, fixed[:, None]], axis=1) > 0).mean() > 0.9

    def test_all_points_of_a_value_are_as_likely(self) -> None:
        """On a full grid, that is drawing the other factors at random. χ² tests of counts, at the 0.999 quantile."""
        grid = np.stack(np.unravel_index(np.arange(32), (2, 16)), axis=1)
        fixed, points = draw_batches(grid, 2000, 16, np.random.default_rng(0))
        counts = np.bincount(points[fixed == 0].ravel() % 16, minlength=16)
        assert np.square(counts - counts.mean()).sum() / counts.mean() < 37.7  # 15 degrees of freedom
        fixed, _, right = draw_pairs(grid, 2000, 16, np.random.default_rng(0))
        counts = np.bincount(right.ravel(), minlength=32)
        assert np.square(counts - counts.mean()).sum() / counts.mean() < 61.1  # 31

    def test_a_value_of_fewer_points_than_a_batch_is_drawn_with_replacement(self) -> None:
        factors = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]])
        fixed, points = draw_batches(factors, 200, 64, np.random.default_rng(0))
        alone = (fixed == 0) & (points == 4).all(axis=1)
        assert alone.any()
        assert set(map(tuple, factors[points[alone]].reshape(-1, 2))) == {(2, 0)}


class TestInvariance:
    @EACH
    def test_order_and_sign_of_latents_do_not_matter(self, score: Score) -> None:
        """But for the last digit of sums, which may decide a vote."""
        codes = linear_mix(FEW, 4)
        changed = np.ascontiguousarray(codes[:, [2, 0, 3, 1]] * np.array([1, -1, -1, 1], dtype=np.float32))
        assert score(changed, FEW) == pytest.approx(score(codes, FEW), abs=2e-3)

    @EACH
    def test_order_of_points_does_not_matter_at_all(self, score: Score) -> None:
        codes, order = linear_mix(FEW, 4), np.random.default_rng(3).permutation(500)
        assert score(codes[order], FEW[order]) == score(codes, FEW)

    @pytest.mark.parametrize("score", [factor_vae, beta_vae])
    def test_votes_are_drawn_from_the_generator(self, score: Score) -> None:
        codes = linear_mix(FEW, 4)
        assert score(codes, FEW, 1) == score(codes, FEW, 1) != score(codes, FEW, 2)


class TestUnmeasurable:
    @EACH
    def test_too_few_points(self, score: Score) -> None:
        options: Mapping[str, Any] = {"num_samples": 10_000}
        metrics = {"factor_vae": factor_vae_score, "beta_vae": beta_vae_score, "irs": interventional_robustness}
        with pytest.raises(Unmeasurable, match="the split has 500 points, 10,000 were asked for"):
            metrics[score.__name__](linear_mix(FEW, 4), FEW, np.random.default_rng(0), **options)

    @EACH
    def test_codes_with_nan(self, score: Score) -> None:
        with pytest.raises(Unmeasurable, match="not finite"):
            score(np.full((500, 2), np.nan, dtype=np.float32), FEW)

    @EACH
    def test_a_factor_with_one_value(self, score: Score) -> None:
        with pytest.raises(Unmeasurable, match=r"factor 1 \(of 0 to 2\) has a single value"):
            score(linear_mix(FEW, 4), FEW * [1, 0, 1])

    @pytest.mark.parametrize("score", [factor_vae, beta_vae])
    def test_one_factor(self, score: Score) -> None:
        with pytest.raises(Unmeasurable, match="the dataset has one"):
            score(linear_mix(FEW, 4), FEW[:, :1])

    def test_a_batch_of_one_point_has_no_variance(self) -> None:
        with pytest.raises(Unmeasurable, match="a vote compares two points"):
            factor_vae(linear_mix(FEW, 4), FEW, batch=1)

    def test_training_votes_of_one_factor(self) -> None:
        with pytest.raises(Unmeasurable, match="all 1 training votes are of one factor"):
            beta_vae(linear_mix(FEW, 4), FEW, train_votes=1)
