"""Fidelity and diversity apart, from balls that reach from each image's features to its k-th nearest neighbor's.

Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991) and density and coverage (Naeem et al. 2020,
arXiv 2002.09797), together in one pass over the distances.
"""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.metrics.generation.judged import COMBINATIONS, NETWORKS, QUALIFIERS, Judged, comparison_protocol

PRECISION_NEIGHBORS = 3
DENSITY_NEIGHBORS = 5

_ROWS = 512  # of the distance matrix held at once


def manifold_scores(measured: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Precision, recall, density and coverage of features [M, D] with respect to those of real images [N, D].

    precision: share of measured points in some reference point's ball (k = 3). recall: the reverse. density: how many
    reference balls (k = 5) hold a measured point, averaged and divided by k. coverage: share of reference balls (k = 5)
    that hold one. A point is no neighbor of its own. As in the authors' code, points on the surface belong to the balls
    of precision and recall, and not to those of density and coverage.

    Raises:
        Unmeasurable: a side has no more than five images, or features that are not finite.
    """
    m, n = len(measured), len(reference)
    if min(m, n) <= DENSITY_NEIGHBORS:
        raise Unmeasurable(
            f"distances to the nearest {DENSITY_NEIGHBORS} neighbors need more than {DENSITY_NEIGHBORS} images "
            f"on each side; there are {m} and {n}"
        )
    require_finite(features=measured, reference_features=reference)
    center = reference.mean(axis=0, dtype=np.float64)  # differences of large norms would lose digits
    measured, reference = measured - center, reference - center
    near, far = _squared_radii(reference, PRECISION_NEIGHBORS, DENSITY_NEIGHBORS)
    (measured_near,) = _squared_radii(measured, PRECISION_NEIGHBORS)

    precise = np.zeros(m, dtype=bool)
    recalled, covered = np.empty((2, n), dtype=bool)
    held = 0
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        distances = _squared_distances(reference[rows], measured)
        precise |= (distances <= near[rows, None]).any(axis=0)
        recalled[rows] = (distances <= measured_near).any(axis=1)
        inside = distances < far[rows, None]
        covered[rows] = inside.any(axis=1)
        held += int(inside.sum())
    return {
        "precision": float(precise.mean()),
        "recall": float(recalled.mean()),
        "density": held / (DENSITY_NEIGHBORS * m),
        "coverage": float(covered.mean()),
    }


def _squared_radii(points: np.ndarray, *neighbors: int) -> np.ndarray:
    """Squared distance of each point to its k-th nearest other one, for each k: [len(neighbors), N]."""
    nearest = np.full((len(points), max(neighbors)), np.inf)
    for start in range(0, len(points), _ROWS):
        distances = _squared_distances(points[start : start + _ROWS], points[start:])  # of each pair once
        count = len(distances)
        np.fill_diagonal(distances, np.inf)
        _keep_smallest(nearest[start : start + count], distances)
        _keep_smallest(nearest[start + count :], distances[:, count:].T)
    return np.sort(nearest, axis=1)[:, [k - 1 for k in neighbors]].T


def _keep_smallest(known: np.ndarray, more: np.ndarray) -> None:
    """Overwrites each row of known with the smallest values of its own and of the same row of more."""
    count = known.shape[1]
    known[:] = np.partition(np.hstack([known, more]), count - 1, axis=1)[:, :count]


def _squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of all rows, [len(left), len(right)]."""
    left_norms, right_norms = (np.einsum("nd,nd->n", points, points) for points in (left, right))
    distances = left @ right.T
    distances *= -2
    distances += left_norms[:, None]
    distances += right_norms
    return np.maximum(distances, 0, out=distances)


_MEANINGS = {
    "precision": ("[0, 1]", "share of {} that lie among real images' features"),
    "recall": ("[0, 1]", "share of real images that lie among the features of {}"),
    "density": ("0 upwards", "how densely real images' features surround {}; 1 for equal distributions"),
    "coverage": ("[0, 1]", "share of real images with one of the {} nearby"),
}


def _register(judged: Judged, extractor: str) -> None:
    ending = f"{QUALIFIERS[extractor]}-{judged.ending}"

    @metric(
        name=f"prdc{ending}",
        table=judged.table,
        source="Kynkäänniemi et al. 2019, arXiv 1904.06991 (precision, recall; their features are VGG-16's); "
        "Naeem et al. 2020, arXiv 2002.09797 (density, coverage)",
        outputs={
            f"{score}{ending}": Output("max", unit, f"{meaning.format(judged.meaning)} ({NETWORKS[extractor]})")
            for score, (unit, meaning) in _MEANINGS.items()
        },
        arrays={"measured": f"{judged.array}/{extractor}", "reference": f"images/{extractor}"},
        protocol=comparison_protocol(
            judged,
            extractor,
            neighbors={"precision, recall": PRECISION_NEIGHBORS, "density, coverage": DENSITY_NEIGHBORS},
            distance="Euclidean",
        ),
    )
    def scores(measured: np.ndarray, reference: np.ndarray, *, num_samples: int = 10_000) -> dict[str, float]:
        return {f"{score}{ending}": value for score, value in manifold_scores(measured, reference).items()}


for _judged, _extractor in COMBINATIONS:
    _register(_judged, _extractor)
