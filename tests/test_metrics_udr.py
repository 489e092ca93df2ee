"""UDR: known answers, and agreement with the reference procedure as plain loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from bench.metrics.base import Unmeasurable
from bench.metrics.disentanglement.udr import informative, relative_strength, udr

SOURCES = np.random.default_rng(0).standard_normal((1000, 5))
BOTH = pytest.mark.parametrize("output", ["udr-lasso", "udr-spearman"])


def scores(means: list[np.ndarray], log_variances: list[np.ndarray] | None = None) -> Mapping[str, Any]:
    """Of posteriors that are narrow unless it is said otherwise, so that all latents are informative."""
    narrow = [np.full_like(of_model, -4) for of_model in means]
    return udr(means, log_variances or narrow, num_samples=len(means[0]))


def rearranged(latents: np.ndarray, seed: int) -> np.ndarray:
    """The latents in another order, with other signs."""
    rng = np.random.default_rng(seed)
    return rng.permutation(latents, axis=1) * rng.choice([-1, 1], latents.shape[1])


def rotated(seed: int, count: int = 5) -> np.ndarray:
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((5, 5)))[0]
    return SOURCES @ rotation[:, :count]


class TestKnownAnswers:
    def test_models_alike_up_to_order_sign_and_scale_score_nearly_1(self) -> None:
        """By Lasso 1 - its penalty: the weight of the one latent that tells the other, shrunk by 0.1.

        By rank less the small correlations of 1,000 random points, which the relative strength counts.
        """
        models = [SOURCES, 3 * rearranged(SOURCES, 1), rearranged(SOURCES, 2) + 5]
        found = scores(models)
        assert found["udr-spearman"] == pytest.approx([0.89] * 3, abs=0.005)
        assert found["udr-lasso"] == pytest.approx([0.9] * 3, abs=1e-6)

    def test_uncorrelated_latents_alike_score_1_by_rank(self) -> None:
        """All sign patterns of five latents, each as often: rank correlations are 0 or 1."""
        signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 5)).reshape(5, -1).T
        assert scores([signs, rearranged(signs, 1)])["udr-spearman"] == pytest.approx([1, 1], abs=1e-12)

    def test_rotated_latents_score_less(self) -> None:
        found = scores([rotated(1), rotated(2), rotated(3)])
        assert max(found["udr-lasso"]) < 0.6
        assert max(found["udr-spearman"]) < 0.5

    @BOTH
    def test_models_of_unrelated_latents_score_nearly_0(self, output: str) -> None:
        rng = np.random.default_rng(1)
        assert max(scores([rng.standard_normal((1000, 5)) for _ in range(3)])[output]) < 0.06

    @BOTH
    def test_a_model_unlike_the_others_scores_less_than_they(self, output: str) -> None:
        alike = [rearranged(SOURCES, seed) for seed in range(4)]
        *others, odd = scores([*alike, rotated(1)])[output]
        assert odd < 0.6 < min(others)

    @pytest.mark.parametrize(
        ("similarities", "score"),
        [
            (np.eye(3), 1),
            (np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1.0]]), 2 / 3),
            (np.ones((3, 3)), 1 / 3),
            (np.zeros((3, 3)), 0),
            (np.eye(3)[:2], (1 + 2 / 3) / 2),
            (np.zeros((0, 3)), 0),
        ],
    )
    def test_relative_strength(self, similarities: np.ndarray, score: float) -> None:
        assert relative_strength(similarities) == pytest.approx(score, abs=1e-12)


class TestCollapsedLatents:
    def test_a_latent_is_informative_above_a_divergence_of_a_hundredth(self) -> None:
        """KL(N(μ, 1) ‖ N(0, 1)) = μ²/2, and KL(N(0, σ²) ‖ N(0, 1)) = (σ² - log σ² - 1)/2."""
        means = np.tile(np.sqrt([0.019, 0.021, 0, 0]), (10, 1))
        variances = np.tile([1, 1, 0.83, 0.80], (10, 1))  # divergences of 0.0082 and 0.0116
        assert informative(means, np.log(variances)).tolist() == [False, True, False, True]

    @BOTH
    def test_latents_collapsed_to_the_prior_do_not_matter(self, output: str) -> None:
        rng = np.random.default_rng(1)
        models = [rearranged(SOURCES, 1), rotated(2)]
        widened, log_variances = [], []
        for model in models:
            noise = 0.05 * rng.standard_normal((1000, 2))
            widened.append(np.hstack([noise, model]))
            log_variances.append(np.hstack([np.zeros_like(noise), np.full_like(model, -4)]))
        assert scores(widened, log_variances)[output] == pytest.approx(scores(models)[output], abs=1e-6)

    @BOTH
    def test_a_model_without_informative_latents_scores_0(self, output: str) -> None:
        collapsed = np.zeros((1000, 5))
        log_variances = [collapsed, *[np.full((1000, 5), -4.0)] * 2]
        found = scores([collapsed, SOURCES, rearranged(SOURCES, 1)], log_variances)[output]
        assert found[0] == 0
        assert found[1:] == pytest.approx([found[1]] * 2, abs=1e-6)

    @BOTH
    def test_constant_latents_of_a_narrow_posterior_count_as_similar_to_none(self, output: str) -> None:
        widened = np.hstack([SOURCES, np.full((1000, 5), 0.3)])
        found = scores([widened, rearranged(widened, 1)])[output]
        assert found == pytest.approx(np.array(scores([SOURCES, rearranged(SOURCES, 1)])[output]) / 2, abs=1e-6)


class TestAgreement:
    """With the reference's loops over models and latents."""

    def models(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        rng = np.random.default_rng(2)
        means = [rearranged(SOURCES, 1) + 0.3 * rng.standard_normal((1000, 5)), rotated(2), rotated(3), rotated(4)]
        log_variances = [np.full((1000, 5), -2.0) for _ in means]
        means[1][:, 3] = 0.01 * rng.standard_normal(1000)
        log_variances[1][:, 3] = 0
        return means, log_variances

    @staticmethod
    def reference(
        means: list[np.ndarray], log_variances: list[np.ndarray], output: str
    ) -> tuple[list[float], list[list[int]]]:
        from sklearn.linear_model import Lasso

        kept = []
        for mean, log_variance in zip(means, log_variances, strict=True):
            divergence = np.mean(0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1), axis=0)
            kept.append([latent for latent in range(mean.shape[1]) if divergence[latent] > 0.01])
        scaled = [(mean - mean.mean(axis=0)) / mean.std(axis=0) for mean in means]
        result = []
        for j, target in enumerate(scaled):
            pairs = []
            for i, source in enumerate(scaled):
                if i == j:
                    continue
                matrix = np.zeros((len(kept[i]), len(kept[j])))
                for column, latent in enumerate(kept[j]):
                    if output == "udr-lasso":
                        matrix[:, column] = np.abs(Lasso(alpha=0.1).fit(source[:, kept[i]], target[:, latent]).coef_)
                    else:
                        for row, other in enumerate(kept[i]):
                            matrix[row, column] = abs(spearmanr(source[:, other], target[:, latent]).statistic)
                strengths = [np.max(vector) ** 2 / np.sum(vector) if np.any(vector) else 0.0 for vector in matrix.T]
                per_row = [np.max(vector) ** 2 / np.sum(vector) if np.any(vector) else 0.0 for vector in matrix]
                pairs.append((np.mean(strengths) + np.mean(per_row)) / 2)
            result.append(float(np.median(pairs)))
        return result, kept

    @pytest.mark.parametrize(("output", "tolerance"), [("udr-lasso", 1e-3), ("udr-spearman", 1e-10)])
    def test_scores(self, output: str, tolerance: float) -> None:
        """The reference's Lasso stops at a relative gap of 1e-4."""
        means, log_variances = self.models()
        expected, kept = self.reference(means, log_variances, output)
        assert len(kept[1]) == 4
        assert 0.05 < min(expected) < max(expected) < 0.9
        assert scores(means, log_variances)[output] == pytest.approx(expected, abs=tolerance)


class TestInvariance:
    @BOTH
    def test_order_and_sign_of_one_models_latents_do_not_matter(self, output: str) -> None:
        models = [rearranged(SOURCES, 1), rotated(2), rotated(3)]
        changed = [models[0], rearranged(models[1], 5), models[2]]
        assert scores(changed)[output] == pytest.approx(scores(models)[output], abs=1e-6)

    @BOTH
    def test_order_of_points_does_not_matter(self, output: str) -> None:
        models, order = [rearranged(SOURCES, 1), rotated(2)], np.random.default_rng(0).permutation(1000)
        assert scores([model[order] for model in models])[output] == pytest.approx(scores(models)[output], abs=1e-10)

    @BOTH
    def test_order_of_models_is_the_order_of_scores(self, output: str) -> None:
        models = [SOURCES, rotated(2), rotated(3)]
        assert scores(models[::-1])[output] == pytest.approx(scores(models)[output][::-1], abs=1e-12)


class TestUnmeasurable:
    def test_a_single_model(self) -> None:
        with pytest.raises(Unmeasurable, match="UDR compares models of several seeds; there is one"):
            scores([SOURCES])

    def test_too_few_points(self) -> None:
        with pytest.raises(Unmeasurable, match="the split has 500 points, 1,000 were asked for"):
            udr([SOURCES[:500]] * 2, [SOURCES[:500]] * 2)

    def test_means_with_nan(self) -> None:
        with pytest.raises(Unmeasurable, match="posterior means hold values that are not finite"):
            scores([SOURCES, SOURCES * np.nan])
