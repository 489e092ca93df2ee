"""Kernel distance between the features of two sets of images: KID, and the same over other networks.

The squared maximum mean discrepancy under the kernel k(x, y) = (x·y / D + 1)³ of Bińkowski et al. 2018. Unlike the
Fréchet distance it is unbiased, so it is 0 in expectation for equal distributions, and at times below.
"""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.metrics.generation.judged import COMBINATIONS, NETWORKS, Judged, comparison_protocol

NAMES = {
    "inception-v3": "kid",
    "inception-v3-torchvision": "kid-torchvision",
    "efficientnet-lite0": "kd-efficientnet-lite0",
}

LARGEST_IN_FLOAT32 = 4.0
"""Mean square of a feature's entries up to which inner products are of float32.

Rounding moves the distance by about 1e-9 · (mean square + 1)³: 1e-7 here, 2e-3 at a mean square of 120. Networks'
features are mostly below 1.
"""

_ROWS = 512  # of the kernel matrix held at once


def kernel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Unbiased squared MMD of features, float32 [M, D] and [N, D]: the U-statistic over all pairs.

    Bińkowski et al. and torch-fidelity average the same statistic over random subsets, of 1,000 each. The expectation
    is the same; all pairs at once have the smallest variance and need neither a seed nor 1,000 images. Inner products
    are of float32, as theirs, where features are small (see LARGEST_IN_FLOAT32), and else of float64, as are the kernel
    and its sums, which nearly cancel.

    Raises:
        Unmeasurable: fewer than two images on a side, or features that are not finite.
    """
    m, n = len(first), len(second)
    if min(m, n) < 2:
        raise Unmeasurable(f"the unbiased kernel distance needs two images on each side; there are {m} and {n}")
    require_finite(features=first, reference_features=second)
    if max(_mean_square(first), _mean_square(second)) > LARGEST_IN_FLOAT32:
        first, second = first.astype(np.float64), second.astype(np.float64)
    within = _sum_of_pairs(first) / (m * (m - 1)) + _sum_of_pairs(second) / (n * (n - 1))
    across = sum(_kernel_sum(first[i : i + _ROWS], second) for i in range(0, m, _ROWS)) / (m * n)
    return float(within - 2 * across)


def _mean_square(features: np.ndarray) -> float:
    return float(np.einsum("nd,nd->", features, features, dtype=np.float64)) / features.size


def _sum_of_pairs(features: np.ndarray) -> float:
    """Sum of the kernel over pairs i ≠ j; blocks above the diagonal count twice, for those below."""
    total = 0.0
    for start in range(0, len(features), _ROWS):
        block, rest = np.split(features[start:], [_ROWS])
        norms = np.einsum("nd,nd->n", block, block, dtype=np.float64)
        total += _kernel_sum(block, block) - float(((norms / block.shape[1] + 1) ** 3).sum())
        total += 2 * _kernel_sum(block, rest)
    return total


def _kernel_sum(left: np.ndarray, right: np.ndarray) -> float:
    """Sum of (x·y / D + 1)³ over all rows x of left and y of right."""
    inner = (left @ right.T).astype(np.float64)
    inner /= left.shape[1]
    inner += 1
    return float(np.vdot(np.square(inner), inner))


def _register(judged: Judged, extractor: str) -> None:
    name = f"{NAMES[extractor]}-{judged.ending}"
    what = "KID" if NAMES[extractor] == "kid" else f"kernel distance ({NETWORKS[extractor]})"

    @metric(
        name=name,
        table=judged.table,
        source="Bińkowski et al. 2018, arXiv 1801.01401; all pairs in place of torch-fidelity's random subsets",
        outputs={
            name: Output("min", "about 0 upwards", f"{what} of {judged.meaning} against images; at times below 0")
        },
        arrays={"measured": f"{judged.array}/{extractor}", "reference": f"images/{extractor}"},
        protocol=comparison_protocol(
            judged,
            extractor,
            kernel="(x·y / D + 1)³",
            estimator="U-statistic over all pairs",
            scale="squared MMD, not x1000",
        ),
    )
    def distance(measured: np.ndarray, reference: np.ndarray, *, num_samples: int = 10_000) -> dict[str, float]:
        return {name: kernel_distance(measured, reference)}


for _judged, _extractor in COMBINATIONS:
    _register(_judged, _extractor)
