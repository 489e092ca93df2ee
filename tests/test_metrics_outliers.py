"""Outlier detection: areas under ROC curves that follow from the definition."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.base import Unmeasurable
from bench.metrics.outliers import outlier_auc, outlier_auc_gaussian, outlier_auc_standard_normal
from bench.metrics.ranks import order_by_norm, share_above


def naive_area(inliers: np.ndarray, outliers: np.ndarray) -> float:
    """Of all pairs the share in which the outlier scores higher, ties counted half."""
    return float(np.mean([(o > i) + 0.5 * (o == i) for o in outliers for i in inliers]))


class TestOwnScore:
    def test_higher_scores_of_all_outliers_give_1_and_lower_ones_0(self) -> None:
        low, high = np.arange(5.0), np.arange(10.0, 13.0)
        assert outlier_auc(low, high)["outlier-auc"] == 1
        assert outlier_auc(high, low)["outlier-auc"] == 0

    def test_equal_scores_give_a_half(self) -> None:
        assert outlier_auc(np.ones(5), np.ones(7))["outlier-auc"] == 0.5

    def test_one_distribution_gives_about_a_half(self) -> None:
        rng = np.random.default_rng(0)
        area = outlier_auc(rng.standard_normal(5000), rng.standard_normal(5000))["outlier-auc"]
        assert area == pytest.approx(0.5, abs=0.03)

    def test_it_counts_pairs_and_halves_ties(self) -> None:
        rng = np.random.default_rng(1)
        scores, of_outliers = rng.integers(0, 6, 40).astype(float), rng.integers(2, 9, 25).astype(float)
        area = outlier_auc(scores, of_outliers)["outlier-auc"]
        assert area == pytest.approx(naive_area(scores, of_outliers), abs=1e-12)

    def test_it_is_the_area_that_scikit_learn_integrates(self) -> None:
        from sklearn.metrics import roc_auc_score

        rng = np.random.default_rng(2)
        scores, of_outliers = rng.standard_normal(300), rng.standard_normal(200) + 0.7
        truth = np.repeat([0, 1], [300, 200])
        expected = roc_auc_score(truth, np.concatenate([scores, of_outliers]))
        assert outlier_auc(scores, of_outliers)["outlier-auc"] == pytest.approx(expected, abs=1e-12)

    def test_scores_with_infinity_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="outlier scores hold values that are not finite"):
            outlier_auc(np.ones(3), np.array([1, np.inf]))


class TestGaussian:
    MIX = np.array([[2.0, 0.0, 0.0], [1.9, 0.3, 0.0], [0.0, 0.0, 1.0]])

    def codes(self, count: int, seed: int) -> np.ndarray:
        return (np.random.default_rng(seed).standard_normal((count, 3)) @ self.MIX.T + 5).astype(np.float32)

    def test_one_distribution_gives_about_a_half(self) -> None:
        area = outlier_auc_gaussian(self.codes(2000, 0), self.codes(2000, 1), self.codes(2000, 2))
        assert area["outlier-auc-gaussian"] == pytest.approx(0.5, abs=0.03)

    def test_codes_far_off_give_1_and_codes_at_the_center_less_than_a_half(self) -> None:
        train, codes = self.codes(2000, 0), self.codes(500, 1)
        assert outlier_auc_gaussian(train, codes, codes + 100)["outlier-auc-gaussian"] == 1
        assert outlier_auc_gaussian(train, codes, 0.1 * (codes - 5) + 5)["outlier-auc-gaussian"] < 0.05

    def test_test_images_and_outliers_are_not_interchangeable(self) -> None:
        train, codes, outliers = self.codes(2000, 0), self.codes(300, 1), self.codes(200, 2) + 1
        area = outlier_auc_gaussian(train, codes, outliers)["outlier-auc-gaussian"]
        assert area > 0.6
        assert outlier_auc_gaussian(train, outliers, codes)["outlier-auc-gaussian"] == pytest.approx(1 - area)

    def test_distance_is_in_units_of_the_spread_in_each_direction(self) -> None:
        """An outlier off the narrow axis is told though it is nearer, by Euclid, than most test images."""
        train, codes = self.codes(2000, 0), self.codes(500, 1)
        across = np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
        outliers = (5 + 1.5 * across + 0.01 * np.random.default_rng(3).standard_normal((100, 3))).astype(np.float32)
        assert outlier_auc_gaussian(train, codes, outliers)["outlier-auc-gaussian"] > 0.99

    def test_it_ranks_by_negative_log_likelihood(self) -> None:
        from scipy.stats import multivariate_normal

        train, codes, outliers = self.codes(500, 0), self.codes(100, 1), 2 * self.codes(80, 2) - 5
        density = multivariate_normal(train.mean(axis=0), np.cov(train.T))
        expected = naive_area(-density.logpdf(codes), -density.logpdf(outliers))
        area = outlier_auc_gaussian(train, codes, outliers)["outlier-auc-gaussian"]
        assert area == pytest.approx(expected, abs=1e-3)

    def test_a_constant_latent_tells_what_departs_from_it(self) -> None:
        train, codes = self.codes(500, 0), self.codes(100, 1)
        outliers = codes.copy()
        train[:, 2], codes[:, 2], outliers[:, 2] = 1, 1, 2
        assert outlier_auc_gaussian(train, codes, outliers)["outlier-auc-gaussian"] == 1

    def test_a_single_latent_works(self) -> None:
        train, codes = self.codes(500, 0)[:, :1], self.codes(100, 1)[:, :1]
        assert outlier_auc_gaussian(train, codes, codes + 100)["outlier-auc-gaussian"] == 1

    def test_rotated_and_reordered_codes_score_the_same(self) -> None:
        train, codes, outliers = self.codes(500, 0), self.codes(100, 1), self.codes(80, 2) + 1
        rotation = np.linalg.qr(np.random.default_rng(4).standard_normal((3, 3)))[0]
        area = outlier_auc_gaussian(train, codes, outliers)["outlier-auc-gaussian"]
        turned = outlier_auc_gaussian(train @ rotation, codes @ rotation, outliers @ rotation)
        assert turned["outlier-auc-gaussian"] == pytest.approx(area, abs=1e-9)
        assert outlier_auc_gaussian(train[::-1], codes[::-1], outliers)["outlier-auc-gaussian"] == pytest.approx(area)

    def test_no_more_training_codes_than_latents_is_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="a covariance of 3 latents needs more training codes than 3"):
            outlier_auc_gaussian(self.codes(3, 0), self.codes(5, 1), self.codes(5, 2))

    def test_training_codes_that_are_all_the_same_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="the 50 training codes are all the same"):
            outlier_auc_gaussian(np.full((50, 3), 0.1, dtype=np.float32), self.codes(5, 1), self.codes(5, 2))

    def test_codes_with_nan_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="outlier codes hold values that are not finite"):
            outlier_auc_gaussian(self.codes(9, 0), self.codes(5, 1), np.full((5, 3), np.nan, dtype=np.float32))


class TestStandardNormal:
    def area(self, codes: np.ndarray, outliers: np.ndarray) -> float:
        return outlier_auc_standard_normal(codes, outliers)["outlier-auc-standard-normal"]

    def test_it_ranks_by_negative_log_likelihood_under_the_standard_normal(self) -> None:
        from scipy.stats import multivariate_normal

        rng = np.random.default_rng(0)
        codes, outliers = rng.standard_normal((60, 3)), 1.5 * rng.standard_normal((40, 3)) + 0.5
        density = multivariate_normal(np.zeros(3), np.eye(3))
        expected = naive_area(-density.logpdf(codes), -density.logpdf(outliers))
        assert 0.5 < expected < 1
        assert self.area(codes, outliers) == pytest.approx(expected, abs=1e-12)

    def test_longer_codes_give_1_and_codes_nearer_0_give_0(self) -> None:
        codes = np.array([[1.0, 0], [0, -2]], dtype=np.float32)
        assert self.area(codes, np.array([[3.0, 3], [-5, 0]])) == 1
        assert self.area(codes, np.array([[0.1, 0.2]])) == 0

    def test_codes_are_measured_from_0_and_not_from_those_of_training_images(self) -> None:
        codes = np.random.default_rng(0).standard_normal((100, 3)) + 10
        assert self.area(codes, codes - 10) == 0
        assert self.area(codes, -codes) == 0.5

    def test_codes_with_nan_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="outlier drawn codes hold values that are not finite"):
            self.area(np.ones((3, 2)), np.full((3, 2), np.nan))


class TestRanks:
    def test_share_above_depends_on_which_is_first(self) -> None:
        assert share_above(np.array([2.0]), np.array([1.0, 3.0, 0.0])) == pytest.approx(2 / 3)
        assert share_above(np.array([1.0, 3.0, 0.0]), np.array([2.0])) == pytest.approx(1 / 3)

    def test_order_is_that_of_the_items_not_of_their_rows(self) -> None:
        codes = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
        shuffled = codes[np.random.default_rng(1).permutation(50)]
        assert np.array_equal(codes[order_by_norm(codes)], shuffled[order_by_norm(shuffled)])

    def test_equal_codes_are_ordered_by_label(self) -> None:
        labels = np.array([2, 0, 1])
        assert labels[order_by_norm(np.ones((3, 2)), labels)].tolist() == [0, 1, 2]
