"""How far mapped points are from samples of the distribution they should follow, where no true map is needed."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.sliced import random_directions, sliced_w2

CHUNK_ROWS = 1024
"""Rows of a distance matrix held at once."""
MODE_RADIUS = 3
"""Standard deviations of a mode within which a point belongs to it."""
_ENERGY = {"estimator": "U-statistic of 2E|X-Y| - E|X-X'| - E|Y-Y'|"}
_SLICED = {"directions": "columns of random orthonormal matrices"}


@metric(
    table="transport",
    source="Székely & Rizzo 2013, Energy statistics",
    outputs={"energy-distance": Output("min", "distance", "squared energy distance of pushed points to the target")},
    protocol=_ENERGY,
)
def energy_distance(pushed: np.ndarray, target: np.ndarray, *, num_samples: int = 4096) -> dict[str, float]:
    """2 E‖X - Y‖ - E‖X - X'‖ - E‖Y - Y'‖, unbiased: 0 in expectation, and at times below it, where X and Y agree.

    Raises Unmeasurable with fewer than two points on either side.
    """
    return {"energy-distance": _energy(pushed, target)}


@metric(
    table="transport",
    source="Székely & Rizzo 2013, Energy statistics",
    outputs={
        "energy-distance-inverse": Output("min", "distance", "squared energy distance of pulled points to the source")
    },
    protocol=_ENERGY,
)
def energy_distance_inverse(pulled: np.ndarray, source: np.ndarray, *, num_samples: int = 4096) -> dict[str, float]:
    """The energy distance of the inverse map's points to the source; see `energy_distance`."""
    return {"energy-distance-inverse": _energy(pulled, source)}


@metric(
    name="sliced-w2",
    table="transport",
    source="Bonneel et al. 2015, Sliced and Radon Wasserstein barycenters",
    outputs={"sliced-w2": Output("min", "squared distance", "squared sliced W2 of pushed points to the target")},
    protocol=_SLICED,
)
def sliced_w2_forward(
    pushed: np.ndarray,
    target: np.ndarray,
    rng: np.random.Generator,
    *,
    projections: int = 1000,
    num_samples: int = 4096,
) -> dict[str, float]:
    """Squared 2-Wasserstein distance along a random direction, averaged; |m|²/D for a translate by m.

    Biased upwards by the finite samples. Raises Unmeasurable without projections, or for sets of different size.
    """
    return {"sliced-w2": _sliced(pushed, target, projections, rng)}


@metric(
    table="transport",
    source="Bonneel et al. 2015, Sliced and Radon Wasserstein barycenters",
    outputs={
        "sliced-w2-inverse": Output("min", "squared distance", "squared sliced W2 of pulled points to the source")
    },
    protocol=_SLICED,
)
def sliced_w2_inverse(
    pulled: np.ndarray,
    source: np.ndarray,
    rng: np.random.Generator,
    *,
    projections: int = 1000,
    num_samples: int = 4096,
) -> dict[str, float]:
    """The sliced distance of the inverse map's points to the source; see `sliced_w2_forward`."""
    return {"sliced-w2-inverse": _sliced(pulled, source, projections, rng)}


@metric(
    table="transport",
    source="Korotin et al. 2021, Continuous Wasserstein-2 Barycenter Estimation, arXiv 2102.01752",
    outputs={
        "bw-uvp": Output("min", "%", "squared Bures-Wasserstein distance to the target, as a share of its variance")
    },
    protocol={
        "moments": "mean and unbiased covariance of both samples",
        "normalization": "distance over variance; the paper's halves of both cancel",
    },
)
def bw_uvp(
    pushed: np.ndarray, target: np.ndarray, target_variance: float, *, num_samples: int = 4096
) -> dict[str, float]:
    """100 · (|μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁^½ Σ₂ Σ₁^½)^½)) / Var(Q): what is wrong with mean and covariance.

    100 for the constant map to the target's mean; up to about 50 · D / N for two samples of one distribution.
    Raises Unmeasurable with fewer than two points on either side.
    """
    if min(len(pushed), len(target)) < 2:
        raise Unmeasurable("a covariance needs two points of each distribution")
    means = [points.mean(axis=0) for points in (pushed, target)]
    roots = [_covariance_root(points - mean) for points, mean in zip((pushed, target), means, strict=True)]
    # With Σ = RᵀR, tr (Σ₁^½ Σ₂ Σ₁^½)^½ is the sum of the singular values of R₁R₂ᵀ.
    shared = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    traces = sum(np.square(root).sum() for root in roots)
    distance = np.square(means[0] - means[1]).sum() + traces - 2 * shared
    return {"bw-uvp": float(100 * distance / target_variance)}


@metric(
    table="transport",
    version=2,
    source="points within 3 deviations of a mode: Srivastava et al. 2017, arXiv 1705.07761; here by shares of points",
    outputs={"mode-coverage": Output("max", "%", "share of the target's modes that get their part of pushed points")},
    protocol={
        "assignment": f"nearest mode, if it is within {MODE_RADIUS} standard deviations",
        "part": "min_share of the points that a mode would have if all had as many",
    },
)
def mode_coverage(
    pushed: np.ndarray, modes: np.ndarray, mode_deviation: float, *, min_share: float = 0.25, num_samples: int = 4096
) -> dict[str, float]:
    """Of modes [K, D], the share in percent that have at least `min_share` · N/K of the N points.

    A mode has the points that are nearest to it and no farther than three of its standard deviations.
    """
    distances = cdist(pushed, modes)
    near = distances.min(axis=1) <= MODE_RADIUS * mode_deviation
    counts = np.bincount(distances.argmin(axis=1)[near], minlength=len(modes))
    return {"mode-coverage": float(100 * (counts >= min_share * len(pushed) / len(modes)).mean())}


@metric(
    table="transport",
    source="domain adaptation by transport of features: Korotin et al. 2021, arXiv 1909.13082; Seguy et al. 2018",
    outputs={"one-nn-accuracy": Output("max", "0 to 1", "accuracy on pushed points of 1-NN fitted on the target")},
    protocol={
        "classifier": "nearest neighbor, Euclidean distance",
        "fitted on": "the target's training split, with its labels",
        "tested on": "all pushed points of the source's split, against the source's labels",
    },
)
def one_nn_accuracy(
    labeled_pushed: np.ndarray, source_labels: np.ndarray, labeled_target: np.ndarray, target_labels: np.ndarray
) -> dict[str, float]:
    """Share of pushed points [N, D] whose nearest target point [M, D] has their own label."""
    from sklearn.neighbors import KNeighborsClassifier

    center = labeled_target.mean(axis=0)  # distances are accurate around 0
    classifier = KNeighborsClassifier(n_neighbors=1).fit(labeled_target - center, target_labels)
    return {"one-nn-accuracy": float(classifier.score(labeled_pushed - center, source_labels))}


def _energy(points: np.ndarray, others: np.ndarray) -> float:
    if min(len(points), len(others)) < 2:
        raise Unmeasurable("the unbiased energy distance needs two points of each distribution")
    center = others.mean(axis=0)  # distances are accurate around 0
    points, others = points - center, others - center
    across = _distance_sum(points, others) / (len(points) * len(others))
    within = sum(_distance_sum(both, both) / (len(both) * (len(both) - 1)) for both in (points, others))
    return float(2 * across - within)


def _distance_sum(left: np.ndarray, right: np.ndarray) -> float:
    """Σᵢⱼ ‖leftᵢ - rightⱼ‖, in bounded memory and as matrix products."""
    left_squares, right_squares = (np.einsum("nd,nd->n", points, points) for points in (left, right))
    total = 0.0
    for start in range(0, len(left), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        squares = left_squares[rows, None] + right_squares - 2 * left[rows] @ right.T
        total += float(np.sqrt(squares.clip(min=0)).sum())
    return total


def _sliced(points: np.ndarray, others: np.ndarray, projections: int, rng: np.random.Generator) -> float:
    if projections < 1:
        raise Unmeasurable(f"{projections} projections were asked for")
    if len(points) != len(others):
        raise Unmeasurable(f"sorted samples are compared one by one, but there are {len(points)} and {len(others)}")
    return sliced_w2(points, others, random_directions(points.shape[1], projections, rng))


def _covariance_root(centered: np.ndarray) -> np.ndarray:
    """R [min(N, D), D] with RᵀR the unbiased covariance of centered points [N, D]."""
    count, dim = centered.shape
    root = np.linalg.qr(centered, mode="r") if count > dim else centered
    return root / np.sqrt(count - 1)
