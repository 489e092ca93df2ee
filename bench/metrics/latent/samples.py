"""The points that the metrics of this table take."""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Unmeasurable
from bench.metrics.checks import require_finite


def exactly(count: int, **arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The first `count` points of each array [N, ...], in float64, for metrics whose value hangs on their number.

    Raises:
        Unmeasurable: values that are not finite, or fewer points than asked for.
    """
    for array in arrays.values():
        if len(array) < count:
            raise Unmeasurable(f"the split has {len(array):,} points, {count:,} were asked for")
    return at_most(count, **arrays)


def at_most(count: int, **arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The first `count` points of each array [N, ...], in float64, or as many as there are.

    Raises:
        Unmeasurable: values that are not finite, or a single point.
    """
    chosen = {name: array[:count] for name, array in arrays.items()}
    require_finite(**chosen)
    for name, array in chosen.items():
        if len(array) < 2:
            raise Unmeasurable(f"{name.replace('_', ' ')} must be at least two points; there is {len(array)}")
    return tuple(array.astype(np.float64) for array in chosen.values())
