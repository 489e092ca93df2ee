"""How far a map is from the optimal one, where that is known.

L2-UVP and cosine follow Korotin et al., "Do Neural Optimal Transport Solvers Work?" (2021, arXiv 2106.01954). The
inverse is measured at points T*(x), so it is compared with x itself. Costs are squared distances: papers that halve
them report half of `w2-squared`.
"""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric

SOURCE = "Korotin et al. 2021, arXiv 2106.01954"
IMAGES = "true images of samples of the source"
COST = "squared Euclidean distance, not halved"


@metric(
    table="transport",
    source=SOURCE,
    outputs={"l2-uvp": Output("min", "%", "squared error of the map as a share of the target's variance")},
    protocol={"variance": "trace of the covariance of the target, as the dataset states it"},
)
def l2_uvp(
    pushed: np.ndarray, true_pushed: np.ndarray, target_variance: float, *, num_samples: int = 4096
) -> dict[str, float]:
    """100 · E‖T̂(x) - T*(x)‖² / Var(Q): 0 for the true map, 100 for the constant map to the target's mean."""
    return {"l2-uvp": 100 * mean_square(pushed - true_pushed) / target_variance}


@metric(
    table="transport",
    version=2,
    source=SOURCE,
    outputs={"l2-uvp-inverse": Output("min", "%", "squared error of the inverse as a share of the source's variance")},
    protocol={"variance": "trace of the covariance of the source, as the dataset states it", "points": IMAGES},
)
def l2_uvp_inverse(
    source: np.ndarray, recovered: np.ndarray, source_variance: float, *, num_samples: int = 4096
) -> dict[str, float]:
    """100 · E‖T̂⁻¹(T*(x)) - x‖² / Var(P)."""
    return {"l2-uvp-inverse": 100 * mean_square(recovered - source) / source_variance}


@metric(
    table="transport",
    source=SOURCE,
    outputs={"cosine": Output("max", "[-1, 1]", "alignment of the displacements with the true map's")},
)
def cosine(
    source: np.ndarray, pushed: np.ndarray, true_pushed: np.ndarray, *, num_samples: int = 4096
) -> dict[str, float]:
    """⟨T̂ - id, T* - id⟩ / (‖T̂ - id‖ ‖T* - id‖) in L²(P); 0 by definition for the identity.

    Raises Unmeasurable where the true map is the identity.
    """
    return {"cosine": _alignment(pushed - source, true_pushed - source)}


@metric(
    table="transport",
    source=SOURCE,
    outputs={"cosine-inverse": Output("max", "[-1, 1]", "alignment of the inverse's displacements with the true ones")},
    protocol={"points": IMAGES},
)
def cosine_inverse(
    source: np.ndarray, true_pushed: np.ndarray, recovered: np.ndarray, *, num_samples: int = 4096
) -> dict[str, float]:
    """⟨T̂⁻¹ - id, T*⁻¹ - id⟩ / (‖T̂⁻¹ - id‖ ‖T*⁻¹ - id‖) in L²(Q); 0 by definition for the identity.

    Raises Unmeasurable where the true map is the identity.
    """
    return {"cosine-inverse": _alignment(recovered - true_pushed, source - true_pushed)}


@metric(
    table="transport",
    source="Villani 2009, Optimal Transport, ch. 6",
    outputs={
        "w2-squared": Output(None, "squared distance", "mean squared displacement: squared W2 for an optimal map")
    },
    protocol={"cost": COST},
)
def w2_squared(source: np.ndarray, pushed: np.ndarray, *, num_samples: int = 4096) -> dict[str, float]:
    """E‖T̂(x) - x‖², which is W₂²(P, Q) if the map is optimal."""
    return {"w2-squared": mean_square(pushed - source)}


@metric(
    table="transport",
    source="Villani 2009, Optimal Transport, ch. 6",
    outputs={"w2-squared-error": Output("min", "%", "relative error of the squared W2 that the map implies")},
    protocol={"cost": COST, "known value": "that of the true map on the same points"},
)
def w2_squared_error(
    source: np.ndarray, pushed: np.ndarray, true_pushed: np.ndarray, *, num_samples: int = 4096
) -> dict[str, float]:
    """100 · |E‖T̂(x) - x‖² - E‖T*(x) - x‖²| / E‖T*(x) - x‖².

    Raises Unmeasurable where the true map is the identity.
    """
    known = mean_square(true_pushed - source)
    if known == 0:
        raise Unmeasurable("the true map is the identity, so errors are no share of its cost")
    return {"w2-squared-error": 100 * abs(mean_square(pushed - source) / known - 1)}


def mean_square(errors: np.ndarray) -> float:
    """Mean squared length of rows [N, D]."""
    return float(np.einsum("nd,nd->", errors, errors) / len(errors))


def _alignment(moved: np.ndarray, true_moved: np.ndarray) -> float:
    true_norm, norm = np.linalg.norm(true_moved), np.linalg.norm(moved)
    if true_norm == 0:
        raise Unmeasurable("the true map is the identity, so displacements have no direction to align with")
    return float(np.einsum("nd,nd->", moved, true_moved) / (norm * true_norm)) if norm > 0 else 0.0
