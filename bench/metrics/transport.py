"""How good a transport map is: against the true map where it is known, against the target's samples elsewhere.

L2-UVP and cosine follow Korotin et al., "Do Neural Optimal Transport Solvers Work?" (2021, arXiv 2106.01954);
the energy distance is that of Székely and Rizzo (2013). Arrays are float64 [N, D].
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from bench.metrics.base import Output, Unmeasurable, metric

CHUNK_ROWS = 1024
"""Rows of a distance matrix held at once."""


@metric(
    table="transport",
    source="Korotin et al. 2021, arXiv 2106.01954",
    outputs={"l2-uvp": Output("min", "%", "squared error of the map as a share of the target's variance")},
    protocol={"variance": "trace of the covariance of the target, exact"},
)
def l2_uvp(
    pushed: np.ndarray, true_pushed: np.ndarray, target_variance: float, *, num_samples: int = 4096
) -> dict[str, float]:
    """100 · E‖T̂(x) - T*(x)‖² / Var(Q): 0 for the true map, 100 for the constant map to the target's mean."""
    return {"l2-uvp": _unexplained_variance(pushed, true_pushed, target_variance)}


@metric(
    table="transport",
    version=2,
    source="Korotin et al. 2021, arXiv 2106.01954",
    outputs={"l2-uvp-inverse": Output("min", "%", "squared error of the inverse as a share of the source's variance")},
    protocol={"variance": "trace of the covariance of the source", "points": "true images of samples of the source"},
)
def l2_uvp_inverse(
    source: np.ndarray, recovered: np.ndarray, source_variance: float, *, num_samples: int = 4096
) -> dict[str, float]:
    """100 · E‖T̂⁻¹(T*(x)) - x‖² / Var(P)."""
    return {"l2-uvp-inverse": _unexplained_variance(recovered, source, source_variance)}


@metric(
    table="transport",
    source="Korotin et al. 2021, arXiv 2106.01954",
    outputs={"cosine": Output("max", "[-1, 1]", "alignment of the displacements with the true map's")},
)
def cosine(
    source: np.ndarray, pushed: np.ndarray, true_pushed: np.ndarray, *, num_samples: int = 4096
) -> dict[str, float]:
    """⟨T̂ - id, T* - id⟩ / (‖T̂ - id‖ ‖T* - id‖) in L²(P); 0 by definition for the identity.

    Raises Unmeasurable where the true map is the identity.
    """
    moved, true_moved = pushed - source, true_pushed - source
    true_norm = np.linalg.norm(true_moved)
    if true_norm == 0:
        raise Unmeasurable("the true map is the identity, so displacements have no direction to align with")
    norm = np.linalg.norm(moved)
    return {"cosine": float((moved * true_moved).sum() / (norm * true_norm)) if norm > 0 else 0.0}


@metric(
    table="transport",
    source="Székely & Rizzo 2013, Energy statistics",
    outputs={"energy-distance": Output("min", "distance", "squared energy distance of pushed points to the target")},
    protocol={"estimator": "U-statistic of 2E|X-Y| - E|X-X'| - E|Y-Y'|"},
)
def energy_distance(pushed: np.ndarray, target: np.ndarray, *, num_samples: int = 4096) -> dict[str, float]:
    """2 E‖X - Y‖ - E‖X - X'‖ - E‖Y - Y'‖, unbiased: 0 in expectation, and at times below it, where X and Y agree.

    Raises Unmeasurable with fewer than two points on either side.
    """
    if min(len(pushed), len(target)) < 2:
        raise Unmeasurable("the unbiased energy distance needs two points of each distribution")
    across = _distance_sum(pushed, target) / (len(pushed) * len(target))
    within = sum(_distance_sum(points, points) / (len(points) * (len(points) - 1)) for points in (pushed, target))
    return {"energy-distance": float(2 * across - within)}


def _unexplained_variance(mapped: np.ndarray, true_mapped: np.ndarray, variance: float) -> float:
    return float(100 * np.square(mapped - true_mapped).sum(axis=1).mean() / variance)


def _distance_sum(left: np.ndarray, right: np.ndarray) -> float:
    """Σᵢⱼ ‖leftᵢ - rightⱼ‖, in bounded memory."""
    return sum(float(cdist(left[i : i + CHUNK_ROWS], right).sum()) for i in range(0, len(left), CHUNK_ROWS))
