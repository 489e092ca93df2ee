"""RMIG, JEMMIG, WSEPIN, WINDIN: known answers, and agreement with the authors' algorithms written out anew."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from bench.metrics.base import Unmeasurable
from bench.metrics.disentanglement import posterior_information
from bench.metrics.disentanglement.points import choose
from bench.metrics.disentanglement.posterior_information import quantized, rmig_jemmig, wsepin_windin
from tests.factor_codes import factor_grid, linear_mix, random_factors

SIZES = (4, 5, 3)
GRID = factor_grid(*SIZES, repeats=2)
TIGHT = -12.0
"""A log variance that leaves means a tenth apart without overlap."""
FACTORS = random_factors(400, 4, 3)


def posteriors(latents: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Means that mix the factors, and log variances that differ from one point and latent to another."""
    means = linear_mix(FACTORS - FACTORS.mean(axis=0), latents)
    log_variances = np.random.default_rng(5).uniform(-4, 0, means.shape).astype(np.float32)
    return means, log_variances


def quantized_scores(
    means: np.ndarray, log_variances: np.ndarray | float, factors: np.ndarray, seed: int = 0
) -> dict[str, float]:
    log_variances = np.broadcast_to(np.float32(log_variances), means.shape)
    return dict(rmig_jemmig(means, log_variances, factors, np.random.default_rng(seed), num_samples=len(means)))


def sampled_scores(
    means: np.ndarray, log_variances: np.ndarray | float, draws: int = 200, seed: int = 0
) -> dict[str, float]:
    log_variances = np.broadcast_to(np.float32(log_variances), means.shape)
    return dict(wsepin_windin(means, log_variances, np.random.default_rng(seed), num_samples=len(means), draws=draws))


class TestQuantization:
    def test_wide_posteriors_fill_bins_with_their_share(self) -> None:
        edges = np.linspace(-4, 4, 101)
        shares = np.diff(norm.cdf(edges, loc=0.3, scale=0.7))
        assert quantized(np.array([0.3]), np.array([0.7]))[0] == pytest.approx(shares, abs=1e-4)

    @pytest.mark.parametrize(("mean", "index"), [(0.001, 50), (-0.001, 49), (3.999, 99), (-70, 0), (70, 99)])
    def test_narrow_posteriors_and_far_ones_are_points(self, mean: float, index: int) -> None:
        assert quantized(np.array([mean]), np.array([1e-4]))[0].tolist() == np.eye(100)[index].tolist()

    def test_what_a_posterior_has_beyond_the_limits_is_shared_among_the_bins(self) -> None:
        probabilities = quantized(np.array([3.9]), np.array([0.5]))[0]
        assert probabilities.sum() == pytest.approx(1, abs=1e-12)
        assert probabilities[-10:].sum() > 0.8


class TestRMIG:
    def test_tight_posteriors_of_one_factor_each_score_best(self) -> None:
        """A factor is all that is in its latent: the joint entropy is the information."""
        scores = quantized_scores(GRID / 2, TIGHT, GRID)
        assert scores == pytest.approx({"rmig": 1, "jemmig": 0, "jemmig-normalized": 1}, abs=1e-9)

    def test_posteriors_equal_to_the_prior_score_0(self) -> None:
        """JEMMIG is then the entropies of a factor and of a Gaussian in bins of width 0.08."""
        factor_entropies = np.log(SIZES)
        gaussian = 0.5 * math.log(2 * math.pi * math.e) - math.log(0.08)
        scores = quantized_scores(np.zeros(GRID.shape), 0, GRID)
        assert scores["rmig"] == pytest.approx(0, abs=1e-12)
        assert scores["jemmig"] == pytest.approx(factor_entropies.mean() + gaussian, abs=1e-3)
        assert scores["jemmig-normalized"] == pytest.approx(
            np.mean((math.log(100) - gaussian) / (factor_entropies + math.log(100))), abs=1e-3
        )

    def test_of_latents_that_tie_that_of_the_largest_joint_entropy_counts(self) -> None:
        """Collapsed posteriors tell nothing: a Gaussian's entropy in bins is ½ ln(2πe σ²) less their width's."""
        log_variances = np.array([-3, -1, -2], dtype=np.float32)
        expected = np.log(SIZES).mean() + 0.5 * math.log(2 * math.pi * math.e) - 0.5 - math.log(0.08)
        for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):
            scores = quantized_scores(np.zeros(GRID.shape), log_variances[order], GRID)
            assert scores["jemmig"] == pytest.approx(expected, abs=1e-3)

    def test_latents_given_twice_have_no_gap(self) -> None:
        scores = quantized_scores(np.tile(GRID / 2, 2), TIGHT, GRID)
        assert scores["rmig"] == pytest.approx(0, abs=1e-12)
        assert scores["jemmig"] == pytest.approx(np.log(SIZES).mean(), abs=1e-9)

    def test_noise_in_posteriors_counts_against_what_they_tell(self) -> None:
        scores = [quantized_scores(GRID / 2, value, GRID) for value in (TIGHT, -4, -2, 0)]
        for better, worse in pairwise(scores):
            assert better["rmig"] > worse["rmig"]
            assert better["jemmig"] < worse["jemmig"]
            assert better["jemmig-normalized"] > worse["jemmig-normalized"]

    def test_agrees_with_the_algorithm_of_the_authors(self) -> None:
        """To the 1e-8 under their logarithms, which changes no probability that matters."""
        means, log_variances = posteriors()
        means[:5] *= 1000
        points, latents = means.shape
        edges = [-4 + 0.08 * b for b in range(101)]
        rmig, jemmig, normalized = [], [], []
        conditional = np.zeros((latents, points, 100))
        for i, n in np.ndindex(latents, points):
            deviation = math.exp(0.5 * float(log_variances[n, i]))
            for b, (low, high) in enumerate(pairwise(edges)):
                standardized = ((low + high) / 2 - float(means[n, i])) / deviation
                conditional[i, n, b] = math.exp(-0.5 * standardized**2) / (deviation * math.sqrt(2 * math.pi))
            if conditional[i, n].max() < 1e-5:
                inside = [b for b in range(100) if edges[b] <= means[n, i] < edges[b + 1]]
                conditional[i, n] = np.eye(100)[inside[0] if inside else (0 if means[n, i] < 0 else 99)]
            conditional[i, n] /= conditional[i, n].sum()
        for factor in FACTORS.T:
            values = sorted(set(factor.tolist()))
            share = np.array([(factor == value).mean() for value in values])
            factor_entropy = -(share * np.log(share)).sum()
            informations, entropies = [], []
            for i in range(latents):
                joint = np.stack([conditional[i, factor == value].sum(axis=0) for value in values], axis=1) / points
                log_joint = np.log(np.clip(joint, 1e-8, 1))
                log_marginal = np.log(np.clip(conditional[i].mean(axis=0), 1e-8, 1))
                informations.append((joint * (log_joint - log_marginal[:, None] - np.log(share))).sum())
                entropies.append(-(joint * log_joint).sum())
            best, second = np.argsort(informations)[::-1][:2]
            gap = informations[best] - informations[second]
            rmig.append(gap / factor_entropy)
            jemmig.append(entropies[best] - gap)
            normalized.append(1 - jemmig[-1] / (factor_entropy + np.log(100)))
        scores = quantized_scores(means, log_variances, FACTORS)
        assert 0.01 < scores["rmig"] < 0.9
        expected = {"rmig": np.mean(rmig), "jemmig": np.mean(jemmig), "jemmig-normalized": np.mean(normalized)}
        assert scores == pytest.approx(expected, abs=1e-6)

    def test_chunks_of_points_do_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        means, log_variances = posteriors()
        whole = quantized_scores(means, log_variances, FACTORS)
        monkeypatch.setattr(posterior_information, "_POINTS_AT_ONCE", 7)
        assert quantized_scores(means, log_variances, FACTORS) == pytest.approx(whole, abs=1e-12)

    def test_order_of_points_order_and_sign_of_latents_do_not_matter(self) -> None:
        means, log_variances = posteriors()
        expected = quantized_scores(means, log_variances, FACTORS)
        order = np.random.default_rng(2).permutation(len(means))
        assert quantized_scores(means[order], log_variances[order], FACTORS[order]) == pytest.approx(expected, abs=1e-9)
        turned = means[:, [2, 0, 1]] * np.array([1, -1, -1], dtype=np.float32)
        assert quantized_scores(turned, log_variances[:, [2, 0, 1]], FACTORS) == pytest.approx(expected, abs=1e-9)

    def test_one_latent_dimension_is_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="the posteriors have one"):
            quantized_scores(posteriors(1)[0], 0, FACTORS)

    def test_a_factor_with_one_value_is_unmeasurable_and_named(self) -> None:
        with pytest.raises(Unmeasurable, match=r"factor 1 \(of 0 to 1\) has a single value in the 400 points"):
            quantized_scores(posteriors()[0], 0, FACTORS * [1, 0])


class TestWSEPIN:
    def test_separate_latents_score_what_they_tell(self) -> None:
        """Weighted by what they tell: Σ ln²K / Σ ln K, to the last digit, for posteriors without overlap."""
        means = factor_grid(4, 2)
        entropies = np.log([4, 2])
        expected = np.square(entropies).sum() / entropies.sum()
        assert sampled_scores(means, TIGHT) == pytest.approx({"wsepin": expected, "windin": expected}, abs=1e-9)

    def test_latents_given_twice_score_0(self) -> None:
        assert sampled_scores(np.tile(factor_grid(4, 2), 2), TIGHT) == pytest.approx(
            {"wsepin": 0, "windin": 0}, abs=1e-9
        )

    @pytest.mark.parametrize("log_variance", [-30, 0, 90])
    def test_equal_posteriors_score_0(self, log_variance: float) -> None:
        assert sampled_scores(np.full((50, 3), 0.3), log_variance) == pytest.approx(
            {"wsepin": 0, "windin": 0}, abs=1e-9
        )

    def test_a_latent_that_tells_nothing_does_not_matter(self) -> None:
        """But for the draws: 1 / √2,000 of a few nats."""
        means, log_variances = posteriors()
        idle = np.zeros((len(means), 1))
        more = sampled_scores(np.hstack([means, idle]), np.hstack([log_variances, idle]), draws=2000)
        assert more == pytest.approx(sampled_scores(means, log_variances, draws=2000), abs=0.1)

    def test_one_latent_scores_all_that_it_tells(self) -> None:
        assert sampled_scores(factor_grid(5), TIGHT) == pytest.approx({"wsepin": np.log(5), "windin": np.log(5)})

    def test_information_of_a_gaussian_channel(self) -> None:
        """Means of variance S² with noise of variance 1: ½ ln(1 + S²), within sampling error."""
        means = 3 * np.random.default_rng(0).standard_normal((3000, 1))
        assert sampled_scores(means, 0, draws=3000)["windin"] == pytest.approx(0.5 * np.log(10), abs=0.05)

    def test_agrees_with_the_algorithm_of_the_authors(self) -> None:
        """Products of densities, in a case in which none is near their floor of 1e-8 where it matters."""
        means, log_variances = (array[:60] for array in posteriors())
        points, latents = means.shape
        rng = np.random.default_rng(3)
        chosen = choose(np.hstack([means, log_variances]), None, points, rng)
        sources = rng.integers(points, size=80)
        centers = means[chosen].astype(np.float64)
        deviations = np.exp(0.5 * log_variances[chosen].astype(np.float64))
        codes = centers[sources] + deviations[sources] * rng.standard_normal((80, latents))

        subsets = [[i] for i in range(latents)] + [[j for j in range(latents) if j != i] for i in range(latents)]
        subsets.append(list(range(latents)))
        entropy_given, entropy = np.zeros(len(subsets)), np.zeros(len(subsets))
        for code, source in zip(codes, sources, strict=True):
            densities = np.maximum(norm.pdf(code, centers, deviations), 1e-8)
            for index, subset in enumerate(subsets):
                products = densities[:, subset].prod(axis=1)
                entropy_given[index] -= math.log(products[source]) / 80
                entropy[index] -= math.log(max(products.mean(), 1e-8)) / 80
        informations = np.maximum(entropy - entropy_given, 0)
        weights = informations[:latents] / informations[:latents].sum()
        wsepin = windin = 0.0
        for i in range(latents):
            shared = max(entropy[i] + entropy[latents + i] - entropy[-1], 0)
            wsepin += weights[i] * (informations[-1] - informations[latents + i])
            windin += weights[i] * (informations[i] - shared)
        scores = sampled_scores(means, log_variances, draws=80, seed=3)
        assert 0.05 < scores["wsepin"] < 2
        assert scores == pytest.approx({"wsepin": wsepin, "windin": windin}, abs=1e-6)

    def test_chunks_of_draws_do_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        means, log_variances = posteriors()
        whole = sampled_scores(means, log_variances)
        monkeypatch.setattr(posterior_information, "_PAIRS_AT_ONCE", 3 * len(means))
        assert sampled_scores(means, log_variances) == pytest.approx(whole, abs=1e-12)

    def test_order_and_sign_of_latents_matter_no_more_than_draws(self) -> None:
        means, log_variances = posteriors()
        expected = sampled_scores(means, log_variances, draws=4000)
        turned = means[:, [2, 0, 1]] * np.array([1, -1, -1], dtype=np.float32)
        scores = sampled_scores(turned, log_variances[:, [2, 0, 1]], draws=4000)
        assert scores == pytest.approx(expected, abs=0.05)

    def test_many_latents_neither_underflow_nor_overflow(self) -> None:
        means = 50 * np.random.default_rng(0).standard_normal((30, 300))
        for log_variance in (-40, 0, 80):
            assert all(-1e-9 < value < np.log(30) + 1e-9 for value in sampled_scores(means, log_variance).values())

    def test_order_of_points_does_not_matter_at_all(self) -> None:
        means, log_variances = posteriors()
        order = np.random.default_rng(2).permutation(len(means))
        assert sampled_scores(means[order], log_variances[order]) == sampled_scores(means, log_variances)

    def test_no_draws_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="0 draws were asked for"):
            sampled_scores(*posteriors(), draws=0)

    def test_the_draws_are_of_the_generator(self) -> None:
        scores = [sampled_scores(*posteriors(), seed=seed)["wsepin"] for seed in (1, 1, 2)]
        assert scores[0] == scores[1] != scores[2]


class TestUnmeasurable:
    def test_too_few_points(self) -> None:
        means, log_variances = posteriors()
        with pytest.raises(Unmeasurable, match="the split has 400 points, 10,000 were asked for"):
            rmig_jemmig(means, log_variances, FACTORS, np.random.default_rng(0))
        with pytest.raises(Unmeasurable, match="the split has 400 points, 10,000 were asked for"):
            wsepin_windin(means, log_variances, np.random.default_rng(0))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_posteriors_that_are_not_finite(self, value: float) -> None:
        means, log_variances = posteriors()
        means[3, 1] = log_variances[4, 0] = value
        with pytest.raises(Unmeasurable, match="posterior means hold values that are not finite"):
            quantized_scores(means, 0, FACTORS)
        with pytest.raises(Unmeasurable, match="posterior log variances hold values that are not finite"):
            sampled_scores(np.zeros_like(means), log_variances)


def test_computing_prints_nothing() -> None:
    code = """
import numpy as np
from bench.metrics.disentanglement.posterior_information import rmig_jemmig, wsepin_windin
factors = np.arange(40).reshape(20, 2) % 3
for means in (factors, np.zeros((20, 2)), 1e30 * factors):
    for log_variance in (-1e30, -3, 1e30):
        arrays = means.astype("float32"), np.full_like(means, log_variance, dtype="float32")
        for scores in (
            rmig_jemmig(*arrays, factors, np.random.default_rng(0), num_samples=20),
            wsepin_windin(*arrays, np.random.default_rng(0), num_samples=20, draws=10),
        ):
            assert np.isfinite(list(scores.values())).all(), scores
"""
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
