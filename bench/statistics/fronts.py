"""Pareto fronts of two quantities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd


def on_front(points: pd.DataFrame, directions: Mapping[str, str]) -> pd.Series:
    """Whether each point is on the Pareto front: no other is as good in both quantities and better in one.

    Args:
        points: one line a point.
        directions: of the two columns that count, "min" or "max".

    Returns:
        A boolean a line, indexed as the points. Equal points are on the front together; a point that lacks a quantity
        is not on it. Raises ValueError for other than two columns.
    """
    if len(directions) != 2:
        raise ValueError(f"a front is of two quantities, not of {len(directions)}: {', '.join(directions)}")
    first, second = (
        points[name].to_numpy(dtype=float) * (1 if direction == "min" else -1) for name, direction in directions.items()
    )
    known = np.flatnonzero(~np.isnan(first) & ~np.isnan(second))
    order = known[np.lexsort((second[known], first[known]))]
    least = np.minimum.accumulate(second[order]) if len(order) else second[order]
    # Sorted so, a point is dominated by an earlier one that is at least as low in the second, unless they are equal.
    before = np.concatenate([[np.inf], least[:-1]])
    equal = np.zeros(len(order), dtype=bool)
    equal[1:] = (first[order][1:] == first[order][:-1]) & (second[order][1:] == second[order][:-1])
    free = second[order] < before
    starts = np.maximum.accumulate(np.where(equal, 0, np.arange(len(order))))
    found = np.zeros(len(points), dtype=bool)
    found[order] = free[starts]
    return pd.Series(found, index=points.index)
