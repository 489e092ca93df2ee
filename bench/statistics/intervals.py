"""Intervals from few values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
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
    return _interval(values, lambda count: 1 / count, confidence)


def prediction_interval(
    values: Sequence[float] | np.ndarray, runs: int = 1, confidence: float = CONFIDENCE
) -> Interval:
    """Mean and half-width of the interval for the mean of `runs` further runs, given these values of ours.

    m ± t s √(1/n + 1/runs) with n − 1 degrees of freedom, where further runs are draws from the same normal
    distribution: Hahn & Meeker 1991, Statistical Intervals, section 4.8. Raises ValueError for no values and for
    runs < 1.
    """
    if runs < 1:
        raise ValueError(f"a prediction is for 1 run or more, not {runs}")
    return _interval(values, lambda count: 1 / count + 1 / runs, confidence)


def _interval(values: Sequence[float] | np.ndarray, share: Callable[[int], float], confidence: float) -> Interval:
    """share: of n values, the variance of what the interval is for, in units of the variance of one."""
    array = np.asarray(values, dtype=float)
    if not array.size:
        raise ValueError("no values, no interval")
    if array.size == 1:
        return Interval(float(array[0]), None)
    half_width = _quantile(confidence, array.size - 1) * array.std(ddof=1) * math.sqrt(share(array.size))
    return Interval(float(array.mean()), float(half_width))


@cache
def _quantile(confidence: float, freedom: int) -> float:
    """The quantile of Student's t that an interval of both sides takes; scipy needs 0.1 ms for it."""
    return float(stats.t.ppf(0.5 + confidence / 2, freedom))
