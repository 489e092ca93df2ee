"""Unsupervised scores: known answers, and agreement with disent's formulas where those are sound."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from bench.metrics.base import Unmeasurable, all_metrics
from bench.metrics.disentanglement.points import import_disent
from bench.metrics.disentanglement.unsupervised import (
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    mean_pairwise_information,
)
from tests.factor_codes import factor_grid, linear_mix, random_factors, threads_during

CODES = linear_mix(random_factors(500, 4, 6, 3), 3)


def scores(codes: np.ndarray, seed: int = 0, count: int | None = None) -> dict[str, float | Unmeasurable]:
    compute = all_metrics()["unsupervised-scores"].compute
    return dict(compute(codes, np.random.default_rng(seed), num_samples=count or len(codes)))


def with_covariance(covariance: np.ndarray, count: int = 100) -> np.ndarray:
    """Codes whose sample covariance is the one given."""
    noise = np.random.default_rng(0).standard_normal((count, len(covariance)))
    noise -= noise.mean(axis=0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise, rowvar=False)).T)
    return white @ np.linalg.cholesky(covariance).T


class TestTotalCorrelation:
    @pytest.mark.parametrize("correlation", [0.0, 0.5, -0.9])
    def test_of_two_correlated_latents(self, correlation: float) -> None:
        """-½ ln(1 - r²), whatever their scales."""
        covariance = np.array([[4, 2 * 3 * correlation], [2 * 3 * correlation, 9]])
        assert gaussian_total_correlation(with_covariance(covariance)) == pytest.approx(
            -0.5 * np.log(1 - correlation**2), abs=1e-9
        )

    def test_agrees_with_disent(self) -> None:
        expected = import_disent("_unsupervised")._gaussian_total_correlation(np.cov(CODES.T.astype(np.float64)))
        assert expected > 0.1
        assert gaussian_total_correlation(CODES.astype(np.float64)) == pytest.approx(expected, abs=1e-9)

    def test_a_constant_latent_adds_nothing(self) -> None:
        codes = CODES.astype(np.float64)
        dead = np.hstack([codes, np.full((len(codes), 1), 0.3)])
        assert gaussian_total_correlation(dead) == gaussian_total_correlation(codes)

    @pytest.mark.parametrize("codes", [np.tile(CODES, 2), np.column_stack([CODES, CODES.sum(axis=1)])])
    def test_of_linearly_dependent_latents_is_infinite(self, codes: np.ndarray) -> None:
        result = gaussian_total_correlation(codes.astype(np.float64))
        assert isinstance(result, Unmeasurable)
        assert f"vary in {codes.shape[1]} latent dimensions but span only 3" in str(result)

    def test_of_no_more_points_than_latents_is_infinite(self) -> None:
        result = gaussian_total_correlation(np.random.default_rng(0).standard_normal((4, 6)))
        assert str(result).endswith("the 4 codes vary in 6 latent dimensions but span only 3")


class TestWassersteinCorrelation:
    @pytest.mark.parametrize("correlation", [0.0, 0.5, -0.9, 0.9999])
    def test_of_two_correlated_latents_of_variance_1(self, correlation: float) -> None:
        """Eigenvalues of the covariance are 1 ± r: 4 - 2 (√(1 + r) + √(1 - r)), of a variance of 2."""
        codes = with_covariance(np.array([[1, correlation], [correlation, 1]]))
        expected = 4 - 2 * (np.sqrt(1 + correlation) + np.sqrt(1 - correlation))
        assert gaussian_wasserstein_correlation(codes) == pytest.approx((expected, expected / 2), abs=1e-9)

    def test_of_a_latent_given_twice(self) -> None:
        once = with_covariance(np.eye(2))[:, :1]
        assert gaussian_wasserstein_correlation(np.tile(once, 2)) == pytest.approx(
            (4 - 2 * np.sqrt(2), 2 - np.sqrt(2)), abs=1e-7
        )

    def test_agrees_with_disent(self) -> None:
        covariance = np.cov(CODES.T.astype(np.float64))
        expected = import_disent("_unsupervised")._gaussian_wasserstein_correlation(covariance)
        assert expected > 0.1
        distance, normalized = gaussian_wasserstein_correlation(CODES.astype(np.float64))
        assert distance == pytest.approx(expected, abs=1e-9)
        assert normalized == pytest.approx(expected / np.trace(covariance), abs=1e-9)


class TestMutualInformationScore:
    def test_of_equal_latents_is_their_entropy(self) -> None:
        grid = factor_grid(5)
        assert mean_pairwise_information(np.tile(grid, 3).astype(np.float64)) == pytest.approx(np.log(5), abs=1e-12)

    def test_of_independent_latents_is_0(self) -> None:
        assert mean_pairwise_information(factor_grid(4, 5, 3).astype(np.float64)) == 0

    def test_agrees_with_the_algorithm_of_the_study(self) -> None:
        bins = [np.digitize(code, np.histogram(code, 20)[1][:-1]) for code in CODES.T.astype(np.float64)]
        pairs = [mutual_info_score(bins[i], bins[j]) for i in range(3) for j in range(3) if i != j]
        assert mean_pairwise_information(CODES.astype(np.float64)) == pytest.approx(np.mean(pairs), abs=1e-9)

    def test_of_one_latent_is_unmeasurable(self) -> None:
        assert isinstance(mean_pairwise_information(CODES[:, :1].astype(np.float64)), Unmeasurable)


class TestMetric:
    def test_constant_codes_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="no latent dimension varies among the 50 codes"):
            scores(np.full((50, 4), 0.3, dtype=np.float32))

    def test_independent_codes_score_0(self) -> None:
        assert list(scores(factor_grid(4, 5, 3).astype(np.float32)).values()) == pytest.approx([0] * 4, abs=1e-12)

    def test_one_latent_has_no_correlation_and_no_pairs(self) -> None:
        *correlations, information = scores(CODES[:, :1]).values()
        assert correlations == pytest.approx([0, 0, 0], abs=1e-12)
        assert isinstance(information, Unmeasurable)

    def test_drawn_codes_have_a_metric_of_their_own(self) -> None:
        drawn = all_metrics()["unsupervised-scores-drawn"]
        assert drawn.arrays == ("drawn_codes",)
        values = drawn.compute(CODES, np.random.default_rng(0), num_samples=500)
        assert dict(values) == {f"{name}-drawn": value for name, value in scores(CODES).items()}
        assert set(values) == set(drawn.outputs)

    def test_order_of_points_order_and_sign_of_latents_do_not_matter(self) -> None:
        turned = CODES[np.random.default_rng(1).permutation(500)][:, [2, 0, 1]] * np.array([1, -1, -1], np.float32)
        assert scores(turned) == pytest.approx(scores(CODES), abs=1e-9)
        assert scores(turned, count=100) == pytest.approx(scores(CODES, count=100), abs=1e-9)

    def test_sums_are_on_one_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert threads_during(monkeypatch, np, "cov", lambda: scores(CODES)) == {1}

    def test_the_points_are_drawn_from_the_generator(self) -> None:
        results = [scores(CODES, seed=seed, count=100) for seed in (1, 1, 2)]
        assert results[0] == results[1] != results[2]

    def test_too_few_points_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="the split has 500 points, 10,000 were asked for"):
            scores(CODES, count=10_000)
        with pytest.raises(Unmeasurable, match="a covariance needs two points, one was asked for"):
            scores(CODES, count=1)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_codes_that_are_not_finite_are_unmeasurable(self, value: float) -> None:
        with pytest.raises(Unmeasurable, match="codes hold values that are not finite"):
            scores(np.where(np.arange(3) == 1, value, CODES))


def test_computing_prints_nothing() -> None:
    code = """
import numpy as np
from bench.metrics.base import _REGISTRY
import bench.metrics.disentanglement.unsupervised
codes = np.arange(60).reshape(20, 3) % 7
for scale in (1e-30, 1, 1e30):
    scaled = (scale * codes).astype("float32")
    _REGISTRY["unsupervised-scores"].compute(scaled, np.random.default_rng(0), num_samples=20)
"""
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
