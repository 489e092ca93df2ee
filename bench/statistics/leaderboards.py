"""Aggregation over seeds, ties and ranks within a column of a leaderboard.

What is pooled: values of one method setting over seeds, within one BOARD key. A different split, metric version,
protocol or number of samples is a different number, and gets a column of its own.

What is best: among the complete cells of a column (every planned seed measured), the one with the best mean; and
with it every cell that cannot be told from it. With two seeds or more on both sides, that is a two-sided t-test at
5% that does not reject: paired over the seeds when both have the same ones (all methods see the same data and batches
under a seed), Welch's otherwise. With one seed there is no test, and only cells equal to three significant digits tie.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bench.statistics.intervals import CONFIDENCE, t_interval

BOARD = ["dataset", "dataset_options", "dataset_version", "split", "metric", "metric_version", "protocol", "n_samples"]
"""Columns that must agree for values to be pooled, ranked or compared."""


def leaderboard(rows: pd.DataFrame, planned: pd.DataFrame) -> pd.DataFrame:
    """One line a (board column, method setting): mean, interval, completeness, rank and marks.

    Args:
        rows: measured values, one line a (trial, metric): BOARD, `setting`, `seed`, `value`, `direction`. Lines
            without a value are passed over.
        planned: one line a planned trial: `dataset`, `dataset_options`, `setting`, `seed` and `ranked` (False for
            reference methods, which are yardsticks: neither ranked nor marked).

    Returns:
        BOARD, setting, direction, mean, half_width (NaN for one seed), n_ok, n_planned, complete, ranked, rank (1 is
        best; missing where not complete, not ranked, or neither way is better), best (the best or indistinguishable
        from it; none where all are), tied (best, and not the only one). A setting without any value in a column has
        no line in it.
    """
    measured = rows.loc[rows["value"].notna(), [*BOARD, "setting", "seed", "value", "direction"]]
    counts = planned.groupby(["dataset", "dataset_options", "setting"])["seed"].nunique().to_dict()
    ranked_settings = planned.groupby("setting")["ranked"].all()
    lines = []
    for key, column in measured.groupby(BOARD, dropna=False, sort=False):
        board = dict(zip(BOARD, key, strict=True))
        direction = column["direction"].iloc[0]
        seeds, values, places = column["seed"].array, column["value"].to_numpy(), column.groupby("setting").indices
        samples = {
            setting: pd.Series(values[places[setting]], seeds[places[setting]])
            for setting in dict.fromkeys(column["setting"])
        }
        cells = pd.DataFrame([_cell(board, setting, sample, counts) for setting, sample in samples.items()])
        cells["direction"] = direction
        cells["ranked"] = cells["setting"].map(ranked_settings).astype(bool)
        eligible = cells[cells["complete"] & cells["ranked"]]
        compared = eligible if pd.notna(direction) else eligible.iloc[:0]
        cells["rank"] = compared["mean"].rank(method="min", ascending=direction == "min").reindex(cells.index)
        best = _best({setting: samples[setting] for setting in compared["setting"]}, direction)
        cells["best"] = cells["setting"].isin(best)
        cells["tied"] = cells["best"] & (len(best) > 1)
        lines.append(cells)
    columns = [*BOARD, "setting", "mean", "half_width", "n_ok", "n_planned", "complete"]
    columns += ["direction", "ranked", "rank", "best", "tied"]
    return pd.concat(lines, ignore_index=True)[columns] if lines else pd.DataFrame(columns=columns)


def distinguishable(one: pd.Series, other: pd.Series, level: float = 1 - CONFIDENCE) -> bool:
    """Whether two samples of values, each indexed by seed, differ by the rule in the module's docstring."""
    if min(len(one), len(other)) < 2:
        return f"{one.mean():.3g}" != f"{other.mean():.3g}"
    if one.index.equals(other.index) or set(one.index) == set(other.index):
        differences = (one - other.reindex(one.index)).to_numpy()
        if np.ptp(differences) <= 1e-12 * np.abs(differences).max():
            return bool(differences[0] != 0)  # no spread, no t statistic
        # What scipy's ttest_1samp computes, without its checks: they are most of the time a leaderboard takes.
        statistic = differences.mean() / (differences.std(ddof=1) / math.sqrt(len(differences)))
        return bool(2 * stats.t.sf(abs(statistic), len(differences) - 1) < level)
    if one.nunique() == other.nunique() == 1:
        return bool(one.iloc[0] != other.iloc[0])
    return bool(stats.ttest_ind(one, other, equal_var=False).pvalue < level)


def _cell(board: Mapping[str, Any], setting: str, values: pd.Series, counts: Mapping[Hashable, int]) -> dict[str, Any]:
    mean, half_width = t_interval(values.to_numpy())
    planned = counts.get((board["dataset"], board["dataset_options"], setting), 0)
    return {
        **board,
        "setting": setting,
        "mean": mean,
        "half_width": math.nan if half_width is None else half_width,
        "n_ok": len(values),
        "n_planned": max(planned, len(values)),
        "complete": len(values) >= planned,
    }


def _best(samples: Mapping[str, pd.Series], direction: str) -> set[str]:
    """The best and what cannot be told from it; none where that is all of several."""
    if not samples:
        return set()
    pick = min if direction == "min" else max
    leader = pick(samples, key=lambda setting: samples[setting].mean())
    best = {setting for setting, values in samples.items() if not distinguishable(values, samples[leader])}
    return best if len(best) < len(samples) or len(samples) == 1 else set()
