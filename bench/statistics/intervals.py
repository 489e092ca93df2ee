"""Intervals from few values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean with the half-width of its interval; None where one value gives no interval."""

    mean: float
    half_width: float | None


def t_interval(values: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """Mean and half-width of the Student-t interval; raises ValueError for no values."""
    array = np.asarray(values, dtype=float)
    if not array.size:
        raise ValueError("no values, no interval")
    if array.size == 1:
        return Interval(float(array[0]), None)
    quantile = stats.t.ppf(0.5 + confidence / 2, array.size - 1)
    return Interval(float(array.mean()), float(quantile * array.std(ddof=1) / math.sqrt(array.size)))
