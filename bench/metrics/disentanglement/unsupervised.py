"""Scores of codes alone, without factors: how far latent dimensions are from independent of one another.

Defined as the unsupervised metrics of disentanglement_lib, the code of Locatello et al. (2019, arXiv 1811.12359), and
like there taken of posterior means and of drawn codes: the study finds that what decreases of the one grows of the
other. disent has the same formulas; they are written anew because its matrix square root is of an unsymmetric product,
which loses digits, or turns complex, where codes depend on one another.
"""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.metrics.disentanglement.mutual_information import BINS, equal_width_bins, information, joint_histograms
from bench.metrics.disentanglement.points import DRAWN, choose

RANK_TOLERANCE = 1e-12
"""A correlation matrix with an eigenvalue below this counts as singular; float32 codes know no smaller ones."""


def gaussian_total_correlation(codes: np.ndarray) -> float | Unmeasurable:
    """KL(N(0, Σ) ‖ N(0, diag Σ)) = -½ ln det R in nats, for the covariance Σ and correlations R of codes [N, d].

    A constant latent is independent of the others and adds 0. Infinite, so Unmeasurable, where one latent is a linear
    combination of others, as always with no more points than latents that vary.
    """
    varying = codes[:, codes.max(axis=0) > codes.min(axis=0)]
    if varying.shape[1] < 2:
        return 0.0
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(varying, rowvar=False))
    rank = int((eigenvalues > RANK_TOLERANCE).sum())
    if rank < len(eigenvalues):
        return Unmeasurable(
            f"the total correlation is infinite: the {len(codes):,} codes vary in {len(eigenvalues)} latent dimensions "
            f"but span only {rank}"
        )
    return float(max(-0.5 * np.log(eigenvalues).sum(), 0))


def gaussian_wasserstein_correlation(codes: np.ndarray) -> tuple[float, float]:
    """W2²(N(0, Σ), N(0, diag Σ)) = 2 tr Σ - 2 tr (D^½ Σ D^½)^½ with D = diag Σ, for codes [N, d]; also over tr Σ.

    Both are 0 where no latent varies.
    """
    covariance = np.atleast_2d(np.cov(codes, rowvar=False))
    total = np.trace(covariance)
    if not total > 0:
        return 0.0, 0.0
    deviations = np.sqrt(np.diag(covariance))
    eigenvalues = np.linalg.eigvalsh(covariance * np.outer(deviations, deviations))
    distance = max(2 * total - 2 * np.sqrt(np.maximum(eigenvalues, 0)).sum(), 0)
    return float(distance), float(distance / total)


def mean_pairwise_information(codes: np.ndarray) -> float | Unmeasurable:
    """Mutual information in nats of two latents of codes [N, d], in equal-width bins, averaged over pairs."""
    latents = codes.shape[1]
    if latents < 2:
        return Unmeasurable("the mutual information score is of pairs of latent dimensions; the codes have one")
    bins = equal_width_bins(codes)
    return float(information(joint_histograms(bins, bins))[~np.eye(latents, dtype=bool)].mean())


def _unsupervised_scores_of(suffix: str, array: str, what: str) -> None:
    """Registers the scores of an array of codes as a metric."""

    def unsupervised_scores(
        codes: np.ndarray, rng: np.random.Generator, *, num_samples: int = 10_000
    ) -> dict[str, float | Unmeasurable]:
        """Three distances of codes [N, d] from independence, over `num_samples` of the N points.

        Raises:
            Unmeasurable: fewer points than asked for, fewer than two, codes that are not finite, or of which no latent
                varies: the best scores would be those of a collapsed model.
        """
        from threadpoolctl import threadpool_limits

        require_finite(codes=codes)
        chosen = codes[choose(codes, None, num_samples, rng)].astype(np.float64)
        if len(chosen) < 2:
            raise Unmeasurable("a covariance needs two points, one was asked for")
        if (chosen == chosen[0]).all():
            raise Unmeasurable(f"no latent dimension varies among the {len(chosen):,} codes")
        with threadpool_limits(1):  # sums over points do not depend on the number of threads
            distance, normalized = gaussian_wasserstein_correlation(chosen)
            return {
                f"total-correlation{suffix}": gaussian_total_correlation(chosen),
                f"wasserstein-correlation{suffix}": distance,
                f"wasserstein-correlation-normalized{suffix}": normalized,
                f"mutual-information-score{suffix}": mean_pairwise_information(chosen),
            }

    metric(
        name=f"unsupervised-scores{suffix}",
        table="disentanglement",
        source="unsupervised scores of Locatello et al. 2019, arXiv 1811.12359",
        outputs={
            f"total-correlation{suffix}": Output(
                "min", "nats", f"divergence of a Gaussian fit to {what} from the product of its marginals"
            ),
            f"wasserstein-correlation{suffix}": Output(
                "min", "squared distance", f"W2² between a Gaussian fit to {what} and the product of its marginals"
            ),
            f"wasserstein-correlation-normalized{suffix}": Output(
                "min", "0 to 2", f"the same over the total variance of {what}"
            ),
            f"mutual-information-score{suffix}": Output(
                "min", "nats", f"mutual information of two latents of {what}, averaged over pairs"
            ),
        },
        arrays={"codes": array},
        protocol={"bins": BINS, "binning": "equal width, for each latent", "points": DRAWN},
    )(unsupervised_scores)


for _suffix, _array, _what in (("", "codes", "posterior means"), ("-drawn", "drawn_codes", "drawn codes")):
    _unsupervised_scores_of(_suffix, _array, _what)
