"""The aggregate posterior dimension by dimension: its marginals, how normal it is, how many latents carry anything."""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.latent.samples import at_most, exactly

ACTIVE_VARIANCE = 0.01
RANK_TOLERANCE = 1e-10
"""Correlations with an eigenvalue below this are of codes in a subspace; float32 codes know no smaller ones."""


@metric(
    name="latent-ks",
    table="latent",
    source="Kolmogorov–Smirnov statistic of two samples, scipy.stats.ks_2samp",
    outputs={
        "latent-ks-mean": Output(
            "min",
            "0 to 1",
            "gap between the distribution functions of drawn codes and the model's own prior, mean over dimensions",
        ),
        "latent-ks-max": Output("min", "0 to 1", "the same in the dimension where it is widest"),
    },
    protocol={"prior": "the model's own"},
)
def latent_ks(drawn_codes: np.ndarray, prior_codes: np.ndarray, *, num_samples: int = 10_000) -> dict[str, float]:
    """sup |F − G| of the marginals of codes [N, d] and draws of the prior [N, d]; near √(1.5 / N) where they agree.

    Raises:
        Unmeasurable: codes that are not finite, or fewer than asked for.
    """
    from scipy.stats import ks_2samp

    codes, noise = exactly(num_samples, drawn_codes=drawn_codes, prior_codes=prior_codes)
    gaps = ks_2samp(codes, noise, axis=0, method="asymp").statistic
    return {"latent-ks-mean": float(gaps.mean()), "latent-ks-max": float(gaps.max())}


@metric(
    name="latent-normality",
    table="latent",
    source="Lilliefors 1967 (marginals); Gnanadesikan and Kettenring 1972 (radius)",
    outputs={
        "latent-normality-marginal": Output(
            "min",
            "0 to 1",
            "gap between each dimension of drawn codes and the normal of its mean and variance, averaged; "
            "meant for normal priors",
        ),
        "latent-normality-radius": Output(
            "min",
            "0 to 1",
            "gap between the Mahalanobis distances of drawn codes and those of a normal distribution; "
            "meant for normal priors",
        ),
    },
    protocol={"gap": "Kolmogorov–Smirnov statistic", "radius": "against the beta law of a normal sample's distances"},
)
def latent_normality(drawn_codes: np.ndarray, *, num_samples: int = 10_000) -> dict[str, float | Unmeasurable]:
    """How far codes [N, d] are from any normal distribution, whatever its mean and covariance; below 1/√N for one.

    The marginals may be normal and their joint distribution not; then squared Mahalanobis distances D² show it. Of a
    normal sample N D² / (N − 1)² has the law Beta(d/2, (N − d − 1)/2). A constant dimension has a gap of ½, the limit
    of a spike and a normal ever narrower.

    Raises:
        Unmeasurable: codes that are not finite, or fewer than asked for. For the radius alone, codes that do not span
            all dimensions.
    """
    from scipy.special import ndtr
    from scipy.stats import ks_1samp

    (codes,) = exactly(num_samples, drawn_codes=drawn_codes)
    varying = codes.max(axis=0) > codes.min(axis=0)
    deviations = np.where(varying, codes.std(axis=0, ddof=1), 1)
    standardized = np.where(varying, (codes - codes.mean(axis=0)) / deviations, 0)
    gaps = ks_1samp(standardized, ndtr, axis=0, method="asymp").statistic
    return {
        "latent-normality-marginal": float(gaps.mean()),
        "latent-normality-radius": _radius_gap(standardized),
    }


@metric(
    table="latent",
    source="Burda et al. 2016, arXiv 1509.00519, section 4",
    outputs={
        "active-units": Output(
            "max",
            "latent dimensions",
            "dimensions of the code that vary with the image, by an absolute threshold, "
            "which codes on a sphere of many dimensions fall under",
        )
    },
    protocol={"threshold": f"variance of the posterior mean above {ACTIVE_VARIANCE}"},
)
def active_units(codes: np.ndarray, *, num_samples: int = 10_000) -> dict[str, float]:
    """Number of dimensions of codes [N, d], posterior means where there are posteriors, with variance above 0.01.

    The threshold is absolute: it means what it says where the prior has variance about 1 in each dimension.

    Raises:
        Unmeasurable: codes that are not finite, or a single one.
    """
    (means,) = at_most(num_samples, codes=codes)
    return {"active-units": float((means.var(axis=0) > ACTIVE_VARIANCE).sum())}


def _radius_gap(standardized: np.ndarray) -> float | Unmeasurable:
    """Kolmogorov–Smirnov statistic of the Mahalanobis distances of [N, d], dimensions of mean 0 and variance 1 or 0."""
    from scipy.special import betainc
    from scipy.stats import ks_1samp

    count, latents = standardized.shape
    correlations = standardized.T @ standardized / (count - 1)
    eigenvalues, axes = np.linalg.eigh(correlations)
    rank = int((eigenvalues > RANK_TOLERANCE).sum())
    if rank < latents:
        return Unmeasurable(f"the {count:,} codes span {rank} of {latents} dimensions")
    if count < latents + 2:
        return Unmeasurable(f"{count:,} codes are too few for the Mahalanobis distances of {latents} dimensions")
    squared = np.square(standardized @ axes / np.sqrt(eigenvalues)).sum(axis=1)
    shares = np.minimum(squared * count / (count - 1) ** 2, 1)
    shape = (latents / 2, (count - latents - 1) / 2)
    return float(ks_1samp(shares, lambda share: betainc(*shape, share), method="asymp").statistic)
