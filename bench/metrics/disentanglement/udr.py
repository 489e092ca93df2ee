"""Unsupervised disentanglement ranking: whether models trained from several seeds find the same latents.

Disentangled representations of the same data are alike up to order, sign and scale of the latents; entangled ones are
so in no particular way (Duan et al. 2020, arXiv 1905.12614). The procedure is that of disentanglement_lib, whose
authors are the paper's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite

INFORMATIVE_ABOVE = 0.01
"""KL divergence in nats, averaged over points, of a latent's posterior from its prior N(0, 1)."""
LASSO_PENALTY = 0.1
_LASSO_TOLERANCE = 1e-8
"""Relative duality gap at which the weights are found; at scikit-learn's default they depend on the latents' order."""


@metric(
    table="disentanglement",
    source="Duan et al. 2020, arXiv 1905.12614; disentanglement_lib's procedure",
    outputs={
        "udr-lasso": Output(
            "max", "0 to 1", "how far the latents of other seeds' models tell this one's, one by one, by Lasso weights"
        ),
        "udr-spearman": Output(
            "max", "0 to 1", "how far latents pair off with those of other seeds' models, by rank correlation"
        ),
    },
    protocol={
        "informative": f"latents of a KL divergence above {INFORMATIVE_ABOVE} nats",
        "lasso": f"penalty {LASSO_PENALTY}, standardized latents",
        "average": "median over the other models",
    },
    across_seeds=True,
)
def udr(
    posterior_means: list[np.ndarray], posterior_log_variances: list[np.ndarray], *, num_samples: int = 1000
) -> dict[str, list[float]]:
    """UDR of each model from the Gaussian posteriors [N, d] of the same N points under every model.

    Two models are compared by the absolute similarities of their informative latents: of each latent of either model,
    the square of its largest similarity over the sum of all, averaged over the latents of a model, then over both. The
    score of a model is the median over the others. A latent similar to none counts as 0, as do models without
    informative latents.

    Returns:
        One value a model, by rank correlation, and by the Lasso weights with which the other's latents predict its own.

    Raises:
        Unmeasurable: a single model, fewer points than asked for, or posteriors that are not finite.
    """
    if len(posterior_means) < 2:
        raise Unmeasurable("UDR compares models of several seeds; there is one")
    available = min(len(means) for means in posterior_means)
    if available < num_samples:
        raise Unmeasurable(f"the split has {available:,} points, {num_samples:,} were asked for")
    require_finite(
        posterior_means=np.concatenate(posterior_means, axis=None),
        posterior_log_variances=np.concatenate(posterior_log_variances, axis=None),
    )
    latents = [
        _standardized(means[:num_samples, informative(means[:num_samples], log_variances[:num_samples])])
        for means, log_variances in zip(posterior_means, posterior_log_variances, strict=True)
    ]
    return {
        "udr-lasso": _medians(_lasso_similarities(latents), len(latents)),
        "udr-spearman": _medians(_rank_similarities(latents), len(latents)),
    }


def informative(means: np.ndarray, log_variances: np.ndarray) -> np.ndarray:
    """Which latents of Gaussian posteriors [N, d] are not collapsed to the prior N(0, 1), bool [d]."""
    means, log_variances = means.astype(np.float64), log_variances.astype(np.float64)
    with np.errstate(over="ignore"):
        divergences = (np.square(means) + np.exp(log_variances) - log_variances - 1) / 2
    return divergences.mean(axis=0) > INFORMATIVE_ABOVE


def relative_strength(similarities: np.ndarray) -> float:
    """How far rows and columns of [d, e] pair off: 1 for a permutation, 0 for zeros or where there are none."""
    if not similarities.size:
        return 0.0
    scores = []
    for axis in (0, 1):
        largest, total = similarities.max(axis=axis), similarities.sum(axis=axis)
        scores.append(np.divide(largest**2, total, out=np.zeros_like(total), where=total > 0).mean())
    return float(np.mean(scores))


Similarities = Iterator[tuple[int, int, np.ndarray]]
"""Of ordered pairs (i, j) of models: how similar the latents of model i are to those of model j, [d_i, d_j]."""


def _medians(similarities: Similarities, models: int) -> list[float]:
    """Of each model j, the median over models i."""
    scores = np.zeros((models, models))
    for i, j, matrix in similarities:
        scores[i, j] = relative_strength(matrix)
    return [float(np.median(np.delete(scores[:, j], j))) for j in range(models)]


def _rank_similarities(latents: list[np.ndarray]) -> Similarities:
    """Absolute Spearman correlations; 0 with a constant latent."""
    from scipy.stats import rankdata

    ranks = [_standardized(rankdata(of_model, axis=0)) for of_model in latents]
    for i, left in enumerate(ranks):
        for j, right in enumerate(ranks):
            if i != j:
                yield i, j, np.abs(left.T @ right) / len(left)


def _lasso_similarities(latents: list[np.ndarray]) -> Similarities:
    """Absolute weights of model i's latents in Lasso regressions of model j's on them."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import Lasso

    for i, predictors in enumerate(latents):
        others = [j for j in range(len(latents)) if j != i]
        targets = np.concatenate([latents[j] for j in others], axis=1)
        weights = np.zeros((targets.shape[1], predictors.shape[1]))
        if weights.size:
            # The Gram matrix once for all targets, whose regressions are apart from one another.
            lasso = Lasso(
                LASSO_PENALTY,
                fit_intercept=False,
                precompute=True,
                tol=_LASSO_TOLERANCE,
                random_state=0,
                max_iter=10_000,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                weights = np.abs(lasso.fit(predictors, targets).coef_).reshape(weights.shape)
        splits = np.cumsum([latents[j].shape[1] for j in others])[:-1]
        for j, part in zip(others, np.split(weights, splits), strict=True):
            yield i, j, part.T


def _standardized(latents: np.ndarray) -> np.ndarray:
    """Latents [N, d] with zero mean and unit variance; constant ones with zeros."""
    centered = latents.astype(np.float64) - latents.mean(axis=0, dtype=np.float64)
    centered[:, np.ptp(latents, axis=0) == 0] = 0
    deviations = centered.std(axis=0)
    return np.divide(centered, deviations, out=centered, where=deviations > 0)
