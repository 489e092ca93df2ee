"""Whether generated images are copies of training images, by their nearest neighbors pixel by pixel."""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.metrics.generation.judged import MADE_FROM
from bench.metrics.ranks import share_above

COPY_RATIO = 1 / 3
"""A copy is nearer to its nearest training image than this times its distance to the second nearest."""

_BLOCK = 2048  # reference images, as float32, that are searched at a time
_CHUNK = 64  # queries at a time whose distances are computed anew in float64


def nearest_distances(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Euclidean distances of images to the two nearest of others; see `nearest`."""
    return nearest(queries, references)[0]


def nearest(queries: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two nearest of others to each image, in memory bounded by the queries.

    Args:
        queries: uint8, or float in [0, 1], [N, C, H, W].
        references: the same, [K, C, H, W], K ≥ 2.

    Returns:
        Euclidean distances, float64 [N, 2], ascending, exactly 0 where the images agree as float32; and the places of
        the two among the references, [N, 2].
    """
    from sklearn.neighbors import NearestNeighbors

    points = _as_points(queries)
    indices = np.empty((len(points), 0), dtype=np.int64)
    distances = np.empty((len(points), 0))
    for start in range(0, len(references), _BLOCK):
        block = _as_points(references[start : start + _BLOCK])
        search = NearestNeighbors(n_neighbors=min(2, len(block)), algorithm="brute").fit(block)
        block_distances, block_indices = search.kneighbors(points)
        indices = np.hstack([indices, block_indices + start])
        distances = np.hstack([distances, block_distances])
        best = np.argsort(distances, axis=1, kind="stable")[:, :2]
        indices = np.take_along_axis(indices, best, axis=1)
        distances = np.take_along_axis(distances, best, axis=1)
    # The search expands (a - b)², which leaves rounding in place of the 0 between equal images.
    for start in range(0, len(points), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        neighbors = _as_points(references[indices[chunk].ravel()]).reshape(-1, 2, points.shape[1])
        distances[chunk] = np.linalg.norm(points[chunk, None].astype(np.float64) - neighbors, axis=2)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)


@metric(
    table="generation",
    source=(
        "Mann-Whitney test for data copying: Meehan et al. 2020, arXiv 2004.05675, over the whole space; "
        "share of copies: Yoon et al. 2023, Diffusion probabilistic models generalize when they fail to memorize"
    ),
    outputs={
        "data-copying-z": Output(
            None,
            "standard deviations",
            "how much farther from the training images samples lie than new images do; far below 0: copies",
        ),
        "memorized-share": Output(
            "min", "0 to 1", "share of samples three times nearer to one training image than to any other"
        ),
    },
    protocol={
        "made_from": MADE_FROM["samples"],
        "distance": "Euclidean, of pixels in [0, 1]",
        "cells": 1,
        "copy_ratio": "1/3",
    },
)
def memorization(
    samples: np.ndarray,
    train_images: np.ndarray,
    images: np.ndarray,
    *,
    num_samples: int = 1_000,
    num_train: int = 50_000,
) -> dict[str, float | Unmeasurable]:
    """Nearest training neighbors of generated images, beside those of images that were not trained on.

    The score of the test is 0 in expectation, of standard deviation 1, where both sets lie equally near; it grows with
    the square root of their size. It is high for samples that are bad, so that only low values tell of copies.

    Args:
        samples: generated, float [M, C, H, W] in [0, 1].
        train_images: uint8 [K, C, H, W].
        images: held out, uint8 [N, C, H, W].

    Raises:
        Unmeasurable: fewer than two training images, or samples that are not finite. For the score alone, all images
            that should be held out are training images, as in an evaluation of the training split.
    """
    require_finite(samples=samples)
    if len(train_images) < 2:
        raise Unmeasurable("a copy is told by its two nearest training images; there is one training image")
    of_samples = nearest_distances(samples, train_images)
    of_images = nearest_distances(images, train_images)
    return {
        "data-copying-z": _copying_score(of_samples[:, 0], of_images[:, 0]),
        "memorized-share": float((of_samples[:, 0] <= COPY_RATIO * of_samples[:, 1]).mean()),
    }


def _copying_score(of_samples: np.ndarray, of_images: np.ndarray) -> float | Unmeasurable:
    """The Mann–Whitney test's score of distances [M] and [N], high where those of samples are."""
    if not of_images.any():
        return Unmeasurable(f"all {len(of_images):,} held-out images are training images, at distance 0")
    m, n = len(of_samples), len(of_images)
    return float((share_above(of_samples, of_images) - 0.5) * np.sqrt(12 * m * n / (m + n + 1)))


def _as_points(images: np.ndarray) -> np.ndarray:
    """float32 [N, C·H·W] in [0, 1], rounded as methods get them."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    return flat / np.float32(255) if images.dtype == np.uint8 else flat
