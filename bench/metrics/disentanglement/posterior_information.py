"""Disentanglement read off whole posteriors rather than their means: RMIG, JEMMIG, WSEPIN and WINDIN.

All are of Do and Tran (2020, arXiv 1908.09961) and take the Gaussian posteriors q(z|x) of N points as the aggregate
q(z) = Σ_n q(z|x_n) / N, so that noise in a latent counts against what it tells. The algorithms are those of the
authors' code (clarken92/DisentanglementMetrics) in float64, with two departures. Logarithms are of the probabilities
of bins themselves, not of ones raised to 1e-8. And where the authors raise to 1e-8 the density of each latent before
they are multiplied, and the mean of the products over points, there is no floor here: the second caps the entropy of
all latents together at 18.4 nats, which a standard Gaussian exceeds from 13 dimensions on. Values agree wherever the
floors are not reached. There are 100 bins, the default of the authors' script and of vaetc; a script of theirs that
runs it sets 200.

GWAE's code (vaetc) reports other numbers under these names: it averages over batches, makes factors binary, leaves RMIG
in nats, and takes H(z|y) for the joint entropy H(z, y), so that its JEMMIG is lower by H(y).
"""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.metrics.disentanglement.mutual_information import entropy, information, value_indices
from bench.metrics.disentanglement.points import DRAWN, choose, require_varying

BINS = 100
LIMITS = (-4.0, 4.0)
FAINTEST_PEAK = 1e-5
"""A posterior whose density is lower than this at every bin's center is a point, in the bin of its mean."""
TIED_WITHIN = 1e-12
"""Informations in nats that differ by no more are equal but for rounding."""
LOG_VARIANCES = (float(np.log(1e-8)), 80.0)
"""Log variances are clipped to this; the lower end is the authors' floor, the upper one keeps squares finite."""

_POINTS_AT_ONCE = 8192
_PAIRS_AT_ONCE = 1 << 16  # a draw and a point: bounds the memory of log densities, and keeps them in the cache


@metric(
    table="disentanglement",
    name="rmig-jemmig",
    source="Do and Tran 2020, arXiv 1908.09961, and their code (estimate by quantization)",
    outputs={
        "rmig": Output(
            "max",
            "0 to 1",
            "MIG of whole posteriors: gap between a factor's two best latents over its entropy, averaged",
        ),
        "jemmig": Output(
            "min", "nats", "joint entropy of a factor and its best latent, less that gap in nats, averaged over factors"
        ),
        "jemmig-normalized": Output(
            "max",
            "0 to 1",
            "1 less JEMMIG over its upper bound, the entropies of the factor and of uniform bins, averaged",
        ),
    },
    protocol={
        "bins": BINS,
        "limits": list(LIMITS),
        "bin_probability": "density at its center, normalized over bins",
        "faint_posteriors": f"density under {FAINTEST_PEAK:g} at every center: all in the mean's bin, or the outer one",
        "points": DRAWN,
    },
)
def rmig_jemmig(
    posterior_means: np.ndarray,
    posterior_log_variances: np.ndarray,
    factors: np.ndarray,
    rng: np.random.Generator,
    *,
    num_samples: int = 10_000,
) -> dict[str, float]:
    """RMIG and JEMMIG of posterior means and log variances [N, d], d ≥ 2, and factors [N, F].

    With z* the latent most informative of factor y, I* its information and I° that of the second best latent:
    RMIG = (I* - I°) / H(y), JEMMIG = H(z*, y) - I* + I°. Where latents tie, as collapsed ones do, rounding should not
    choose z*: of those within 1e-12 of the best it is the one of the largest joint entropy. The authors' code
    normalizes JEMMIG to a share of its bound H(y) + ln BINS, where less is better; 1 less that, as in Carbonneau et
    al.'s review, is reported here.

    Raises:
        Unmeasurable: fewer points than asked for, one latent dimension, posteriors that are not finite, or a factor
            with a single value.
    """
    means, deviations, chosen = _draw_posteriors(posterior_means, posterior_log_variances, factors, num_samples, rng)
    factors = factors[chosen]
    if means.shape[1] < 2:
        raise Unmeasurable("RMIG and JEMMIG compare two latent dimensions; the posteriors have one")
    require_varying(factors)
    joint = quantized_joint(means, deviations, factors)
    informations, joint_entropies = information(joint), entropy(joint.reshape(*joint.shape[:2], -1))
    factor_entropies = entropy(joint[0].sum(axis=-1))
    second, best = np.sort(informations, axis=0)[-2:]
    tied = informations >= best - TIED_WITHIN
    jemmig = np.where(tied, joint_entropies, -np.inf).max(axis=0) - best + second
    return {
        "rmig": float(((best - second) / factor_entropies).mean()),
        "jemmig": float(jemmig.mean()),
        "jemmig-normalized": float((1 - jemmig / (factor_entropies + np.log(BINS))).mean()),
    }


@metric(
    table="disentanglement",
    name="wsepin-windin",
    source="Do and Tran 2020, arXiv 1908.09961, and their code (estimate by sampling)",
    outputs={
        "wsepin": Output(
            "max", "nats", "what a latent tells of the data that the others do not, weighted by all that it tells"
        ),
        "windin": Output(
            "max", "nats", "what a latent tells of the data less what it shares with the others, weighted likewise"
        ),
    },
    protocol={
        "estimator": "codes drawn from the aggregate posterior, densities averaged over all points",
        "variance_floor": 1e-8,
        "points": DRAWN,
    },
)
def wsepin_windin(
    posterior_means: np.ndarray,
    posterior_log_variances: np.ndarray,
    rng: np.random.Generator,
    *,
    num_samples: int = 10_000,
    draws: int = 10_000,
) -> dict[str, float]:
    """Informativeness and separability of posteriors with means and log variances [N, d], without factors.

    With I_i = I(z_i, x), weights ρ_i = I_i / Σ I, and z_¬i all latents but z_i:
    WSEPIN = Σ ρ_i (I(z, x) - I(z_¬i, x)), WINDIN = Σ ρ_i (I_i - I(z_i, z_¬i)); both 0 where no latent tells anything.
    The two agree where posteriors are factorized, as here, but that the authors clip each information at 0. Expected
    values are over `draws` codes; time grows as num_samples · draws · d; no information exceeds ln num_samples.

    Raises:
        Unmeasurable: fewer points than asked for, no draws, or posteriors that are not finite.
    """
    if draws < 1:
        raise Unmeasurable(f"{draws} draws were asked for")
    means, deviations, _ = _draw_posteriors(posterior_means, posterior_log_variances, None, num_samples, rng)
    given, marginal = sampled_log_densities(means, deviations, draws, rng)
    # columns of both: each latent, all latents but each, all latents
    latents = means.shape[1]
    informations = np.maximum((given - marginal).mean(axis=0), 0)
    alone, others, together = informations[:latents], informations[latents:-1], informations[-1]
    if not alone.any():
        return {"wsepin": 0.0, "windin": 0.0}
    densities = marginal.mean(axis=0)
    shared = np.maximum(densities[-1] - densities[:latents] - densities[latents:-1], 0)
    weights = alone / alone.sum()
    return {"wsepin": float(weights @ (together - others)), "windin": float(weights @ (alone - shared))}


def quantized_joint(means: np.ndarray, deviations: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Joint histograms of each quantized latent and each factor.

    Args:
        means, deviations: float64 [N, d].
        factors: int [N, F], K values at most.

    Returns:
        float64 [d, F, K, BINS], each [K, BINS] of sum N.
    """
    from scipy.sparse import csr_array

    values = value_indices(factors)
    (points, width), size = values.shape, int(values.max()) + 1
    columns = (values + size * np.arange(width)).ravel()
    indicators = csr_array((np.ones(len(columns)), columns, width * np.arange(points + 1)), (points, width * size))
    joint = np.zeros((means.shape[1], width * size, BINS))
    for start in range(0, points, _POINTS_AT_ONCE):
        chunk = slice(start, start + _POINTS_AT_ONCE)
        for latent in range(means.shape[1]):
            joint[latent] += indicators[chunk].T @ quantized(means[chunk, latent], deviations[chunk, latent])
    return joint.reshape(-1, width, size, BINS)


def quantized(means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Probabilities of BINS bins between LIMITS under Gaussians with means and standard deviations [N]: [N, BINS]."""
    edges = np.linspace(*LIMITS, BINS + 1)
    centers = (edges[:-1] + edges[1:]) / 2
    standardized = (centers - means[:, None]) / deviations[:, None]
    densities = np.exp(-0.5 * standardized**2) / (deviations[:, None] * np.sqrt(2 * np.pi))
    faint = np.flatnonzero(densities.max(axis=1) < FAINTEST_PEAK)
    densities[faint] = 0
    densities[faint, np.searchsorted(edges[1:-1], means[faint], side="right")] = 1
    return densities / densities.sum(axis=1, keepdims=True)


def sampled_log_densities(
    means: np.ndarray, deviations: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Log densities of codes drawn from the aggregate of Gaussian posteriors [N, d].

    Returns:
        ln q(·|x) under the posterior each code was drawn from, and ln q(·) under the aggregate; float64
        [draws, 2 d + 1], of each latent, of all latents but each, and of all.
    """
    points, latents = means.shape
    sources = rng.integers(points, size=draws)
    noise = rng.standard_normal((draws, latents))
    codes = means[sources] + deviations[sources] * noise
    offsets = -np.log(deviations) - 0.5 * np.log(2 * np.pi)
    own = offsets[sources] - 0.5 * noise**2
    given = np.column_stack([own, own.sum(axis=1, keepdims=True) - own, own.sum(axis=1)])

    marginal = np.empty_like(given)
    centers, scales, offsets = (np.ascontiguousarray(array.T) for array in (means, 1 / deviations, offsets))
    rows = max(1, _PAIRS_AT_ONCE // points)
    logs = np.empty((latents, rows, points))
    for start in range(0, draws, rows):
        chunk = codes[start : start + rows]
        one = logs[:, : len(chunk)]
        for latent in range(latents):
            np.subtract(chunk[:, latent, None], centers[latent], out=one[latent])
            one[latent] *= scales[latent]
            np.square(one[latent], out=one[latent])
            one[latent] *= -0.5
            one[latent] += offsets[latent]
        every = one.sum(axis=0)
        block = marginal[start : start + rows]
        for latent in range(latents):
            block[:, latent] = _log_mean_exp(one[latent])
            block[:, latents + latent] = _log_mean_exp(every - one[latent])
        block[:, -1] = _log_mean_exp(every)
    return given, marginal


def _log_mean_exp(logs: np.ndarray) -> np.ndarray:
    """ln of the mean of exp over the last axis, [R, N] to [R]."""
    peaks = logs.max(axis=1, keepdims=True)
    return peaks[:, 0] + np.log(np.exp(logs - peaks).mean(axis=1))


def _draw_posteriors(
    means: np.ndarray, log_variances: np.ndarray, factors: np.ndarray | None, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means and standard deviations of `count` posteriors in float64, and their indices."""
    require_finite(posterior_means=means, posterior_log_variances=log_variances)
    chosen = choose(np.concatenate([means, log_variances], axis=1), factors, count, rng)
    deviations = np.exp(0.5 * np.clip(log_variances[chosen].astype(np.float64), *LOG_VARIANCES))
    return means[chosen].astype(np.float64), deviations, chosen
