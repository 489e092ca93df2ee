"""How far the aggregate posterior is from the prior, as distributions in the space of codes, from samples of both."""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.latent.samples import at_most, exactly
from bench.metrics.sliced import random_directions, sliced_w2

IMQ_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
TILE = 256
"""Rows and columns of a kernel matrix held at once, which fit the processor's cache."""
SINKHORN_STEPS = 1000
SINKHORN_TOLERANCE = 1e-5


@metric(
    name="latent-mmd",
    table="latent",
    source="Gretton et al. 2012, eq. 3; kernel: Tolstikhin et al. 2018, arXiv 1711.01558, and its code",
    outputs={
        "latent-mmd": Output(
            "min",
            "squared MMD",
            "kernel distance of drawn codes to the model's own prior, in its units; about 0, or below, "
            "where they agree",
        )
    },
    protocol={
        "prior": "the model's own",
        "estimator": "U-statistic",
        "kernel": "sum of inverse multiquadratics C / (C + r²), C = 2d · {.1, .2, .5, 1, 2, 5, 10}, whatever the prior",
    },
)
def latent_mmd(drawn_codes: np.ndarray, prior_codes: np.ndarray, *, num_samples: int = 10_000) -> dict[str, float]:
    """Unbiased estimate of the squared maximum mean discrepancy of codes [N, d] and draws of the prior [M, d].

    The kernel is WAE's for N(0, I), the same for every method. It is blunt on a scale well below 1, such as that of
    codes on the unit sphere in many dimensions, whose values compare with one another only.

    Raises:
        Unmeasurable: codes that are not finite, or a single one.
    """
    codes, noise = at_most(num_samples, drawn_codes=drawn_codes, prior_codes=prior_codes)
    across = sum(_imq(rows, columns).sum() for rows in _tiles(codes) for columns in _tiles(noise))
    mean_across = across / (len(codes) * len(noise))
    return {"latent-mmd": float(_mean_imq_within(codes) + _mean_imq_within(noise) - 2 * mean_across)}


@metric(
    name="latent-sliced-w2",
    table="latent",
    source="Bonneel et al. 2015; as an objective: Kolouri et al. 2018, arXiv 1804.01947",
    outputs={
        "latent-sliced-w2": Output(
            "min",
            "squared distance",
            "squared 2-Wasserstein distance of drawn codes to the model's own prior, in its units, "
            "averaged over directions",
        )
    },
    protocol={"prior": "the model's own", "directions": "columns of random orthonormal matrices"},
)
def latent_sliced_w2(
    drawn_codes: np.ndarray,
    prior_codes: np.ndarray,
    rng: np.random.Generator,
    *,
    projections: int = 1000,
    num_samples: int = 10_000,
) -> dict[str, float]:
    """Squared sliced 2-Wasserstein distance of codes [N, d] and draws of the prior [N, d]; |m|²/d for a translate by m.

    Biased upwards by the finite samples.

    Raises:
        Unmeasurable: codes that are not finite, fewer than asked for, or no projections.
    """
    if projections < 1:
        raise Unmeasurable(f"{projections} projections were asked for")
    codes, noise = exactly(num_samples, drawn_codes=drawn_codes, prior_codes=prior_codes)
    latents = codes.shape[1]
    whole_frames = -(-projections // latents) * latents  # so that fewer projections are the first of more
    directions = random_directions(latents, whole_frames, rng)[:, :projections]
    return {"latent-sliced-w2": sliced_w2(codes, noise, directions)}


@metric(
    name="latent-sinkhorn",
    table="latent",
    source="Feydy et al. 2019, arXiv 1810.08278, eq. 3; potentials computed by POT",
    outputs={
        "latent-sinkhorn": Output(
            "min",
            "squared distance",
            "Sinkhorn divergence of drawn codes to the model's own prior, in its units: blurred squared W2, debiased",
        )
    },
    protocol={
        "prior": "the model's own",
        "cost": "squared Euclidean",
        "entropy": "relative to the product of the marginals, and part of each of the three values",
        "epsilon_unit": "mean squared distance of two draws of the prior",
        "iterations": f"in the log domain, at most {SINKHORN_STEPS}, until marginals are within {SINKHORN_TOLERANCE:g}",
    },
)
def latent_sinkhorn(
    drawn_codes: np.ndarray, prior_codes: np.ndarray, *, epsilon: float = 0.5, num_samples: int = 1000
) -> dict[str, float]:
    """OT_ε(P, Q) − ½ OT_ε(P, P) − ½ OT_ε(Q, Q) of codes [N, d] and draws of the prior [N, d], not negative.

    `epsilon` is a share of the prior's mean squared distance (2d for N(0, I)). A small one, 0.1 say, is closer to
    W2² where samples are dense, but in 64 dimensions it takes collapsed codes for better than draws of the prior: each
    of 1,000 points is then coupled to itself alone, at no cost, and there is nothing to debias with. POT's own
    divergence, which leaves the entropies out, suffers from that the most.

    Raises:
        Unmeasurable: codes that are not finite, or fewer than asked for; a prior of one point; no convergence, where
            codes are hundreds of times as far apart as draws of the prior; no positive `epsilon`.
    """
    if not epsilon > 0:
        raise Unmeasurable(f"epsilon is a share above 0; {epsilon:g} was asked for")
    codes, noise = exactly(num_samples, drawn_codes=drawn_codes, prior_codes=prior_codes)
    spread = 2 * noise.var(axis=0, ddof=1).sum()
    if not spread > 0:
        raise Unmeasurable(f"the {len(noise):,} draws of the prior are all the same")
    across, of_codes, of_noise = (
        _entropic_cost(x, y, epsilon * spread) for x, y in ((codes, noise), (codes, codes), (noise, noise))
    )
    return {"latent-sinkhorn": max(across - (of_codes + of_noise) / 2, 0.0)}


def _imq(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Σ_s 2ds / (2ds + ‖x_i − y_j‖²) of [n, d] and [m, d] -> [n, m]."""
    squared = np.maximum(np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2 * x @ y.T, 0)
    values = np.zeros_like(squared)
    for scale in IMQ_SCALES:
        constant = 2 * x.shape[1] * scale
        values += constant / (constant + squared)
    return values


def _tiles(points: np.ndarray) -> list[np.ndarray]:
    return [points[start : start + TILE] for start in range(0, len(points), TILE)]


def _mean_imq_within(points: np.ndarray) -> float:
    """Mean of the kernel over pairs of different points [n, d]."""
    tiles = _tiles(points)
    total = 0.0
    for i, rows in enumerate(tiles):
        among = _imq(rows, rows)
        total += among.sum() - np.trace(among)
        total += 2 * sum(_imq(rows, others).sum() for others in tiles[i + 1 :])
    return total / (len(points) * (len(points) - 1))


def _entropic_cost(x: np.ndarray, y: np.ndarray, epsilon: float) -> float:
    """min over couplings P of ⟨P, ‖x_i − y_j‖²⟩ + ε KL(P ‖ a ⊗ b) for uniform a, b, by its dual ⟨a, f⟩ + ⟨b, g⟩."""
    from ot import dist
    from ot.bregman import sinkhorn_log

    a, b = (np.full(len(points), 1 / len(points)) for points in (x, y))
    cost = dist(x, y)
    with np.errstate(over="ignore"):  # in marginals far from convergence
        _, log = sinkhorn_log(
            a, b, cost, epsilon, numItermax=SINKHORN_STEPS, stopThr=SINKHORN_TOLERANCE, log=True, warn=False
        )
    error = log["err"][-1]
    if not error < SINKHORN_TOLERANCE:
        raise Unmeasurable(f"marginals are off by {error:.1g} after {SINKHORN_STEPS} of Sinkhorn's iterations")
    # POT's plan is exp(log_u + log_v − cost / ε); relative to a ⊗ b its potentials are f = ε (log_u − log a), …
    return float(epsilon * (a @ (log["log_u"] - np.log(a)) + b @ (log["log_v"] - np.log(b))))
