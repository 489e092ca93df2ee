"""Comparison of all pairs of settings within one column of a leaderboard.

The correction for many comparisons is Holm's, over all pairs of the column. It is applied here only. The marks "best"
of `bench.statistics.leaderboards` are not corrected: each says how one setting stands to the leader, at 5%. Among many
settings some will differ from the leader by chance, so for a statement on all of them read `p_holm`, or the critical
difference of `bench.statistics.ranks`, which holds for all pairs of settings at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from bench.statistics.intervals import CONFIDENCE

PAIRED, WELCH = "paired", "Welch"
COLUMNS = ["one", "other", "n_shared", "test", "difference", "half_width", "p", "p_holm"]


def paired_comparisons(values: pd.DataFrame, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """All pairs of settings, each compared by a two-sided t test over seeds.

    Args:
        values: of one BOARD column, one line a (`setting`, `seed`) with its `value`. Lines without a value are passed
            over.

    Returns:
        One line a pair, in the settings' order: one, other (settings), n_shared (seeds that both have), test,
        difference (mean of one minus mean of other), half_width (of its t interval), p, and p_holm (Holm 1979, A simple
        sequentially rejective multiple test procedure, over all pairs that have a p).

        test is "paired" (over the differences on each seed: all methods see the same data and batches under a seed)
        where both have the same two seeds or more, "Welch" (unequal variances) where the seeds are not the same and
        both have two, and empty where one seed leaves no test: half_width, p and p_holm are then missing. Differences
        without any spread have p = 0, or 1 where they are 0.

    Raises ValueError where a setting has a seed twice.
    """
    known = values[values["value"].notna()]
    names = list(dict.fromkeys(known["setting"]))
    if known.duplicated(["setting", "seed"]).any():
        raise ValueError("a setting has two values for one seed; values of one column only can be compared")
    if len(names) < 2:
        return pd.DataFrame(columns=COLUMNS)
    table = known.pivot(index="setting", columns="seed", values="value").reindex(names).to_numpy(dtype=float)
    first, second = np.triu_indices(len(names), k=1)
    measured = ~np.isnan(table)
    shared = (measured[first] & measured[second]).sum(axis=1)
    difference, error, freedom, p, same = compare(table, first, second)
    several = ~np.isnan(p)
    quantile = stats.t.ppf(0.5 + confidence / 2, np.where(several, freedom, np.nan))
    return pd.DataFrame(
        {
            "one": np.asarray(names, dtype=object)[first],
            "other": np.asarray(names, dtype=object)[second],
            "n_shared": shared,
            "test": np.select([several & same, several], [PAIRED, WELCH], ""),
            "difference": difference,
            "half_width": quantile * error,
            "p": p,
            "p_holm": holm(p),
        },
        columns=COLUMNS,
    )


class Pairs(NamedTuple):
    """Arrays over pairs: mean difference, its standard error, degrees of freedom, p, and whether seeds are the same.

    p is NaN where a side has no second value.
    """

    difference: np.ndarray
    error: np.ndarray
    freedom: np.ndarray
    p: np.ndarray
    same: np.ndarray


def compare(table: np.ndarray, first: np.ndarray, second: np.ndarray) -> Pairs:
    """The t tests of `paired_comparisons`.

    table: [settings, seeds], NaN without value. first, second: the lines of each pair.
    """
    measured = ~np.isnan(table)
    same = (measured[first] == measured[second]).all(axis=1)
    difference, error, freedom = _welch(table, first, second)
    difference[same], error[same], freedom[same] = _one_sample(table[first[same]] - table[second[same]])
    p = _p(difference, error, freedom)
    counts = measured.sum(axis=1)
    p[np.minimum(counts[first], counts[second]) < 2] = np.nan
    return Pairs(difference, error, freedom, p, same)


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p values of Holm 1979: min(1, the running maximum of (m − k + 1) p_(k)); missing ones stay missing."""
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return adjusted


def _one_sample(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, standard error, degrees of freedom) of each line, whose missing values are passed over."""
    counts = (~np.isnan(differences)).sum(axis=1)
    means = np.nansum(differences, axis=1) / counts
    squares = np.nansum((differences - means[:, None]) ** 2, axis=1)
    freedom = np.maximum(counts - 1, 1)
    # The difference of equal shifts is not exactly constant in floating point.
    size = np.nanmax(np.abs(differences), axis=1, initial=0)
    error = np.sqrt(squares / freedom / counts)
    return means, np.where(error <= 1e-12 * size, 0, error), freedom.astype(float)


def _welch(table: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(difference, standard error, degrees of freedom) of each pair, as if their seeds had nothing in common."""
    means, errors, freedom = _one_sample(table)
    one, other = errors[first] ** 2, errors[second] ** 2
    scale = one**2 / freedom[first] + other**2 / freedom[second]
    combined = np.divide((one + other) ** 2, scale, out=np.ones_like(scale), where=scale > 0)
    difference = means[first] - means[second]
    same = np.abs(difference) <= 1e-12 * np.abs(means[first])  # means of equal values round differently
    return np.where(same, 0, difference), np.sqrt(one + other), combined


def _p(difference: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    spread = error > 0
    t = np.divide(np.abs(difference), error, out=np.zeros_like(error), where=spread)
    return np.where(spread, 2 * stats.t.sf(t, freedom), (difference == 0).astype(float))
