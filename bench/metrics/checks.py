"""Conditions under which a number would mean nothing; what fails them is a row with a reason, not a value."""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Unmeasurable


def require_finite(**arrays: np.ndarray) -> None:
    """Raises Unmeasurable naming the first array that holds NaN or infinity."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise Unmeasurable(f"{name.replace('_', ' ')} hold values that are not finite")
