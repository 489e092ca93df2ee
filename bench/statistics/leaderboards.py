"""Aggregation over seeds, ties and ranks within a column of a leaderboard.

What is pooled: values of one method setting over seeds, within one BOARD key. A different split, metric version,
protocol or number of samples is a different number, and gets a column of its own.

What is best: among the complete cells of a column (every planned seed measured), the one with the best mean; and
with it every cell that cannot be told from it. With two seeds or more on both sides, that is a two-sided t-test at
5% that does not reject: paired over the seeds when both have the same ones (all methods see the same data and batches
under a seed), Welch's otherwise. With one seed there is no test, and only cells equal to three significant digits tie.
These marks are not corrected for many comparisons: see `bench.statistics.paired` for what is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bench.statistics.intervals import CONFIDENCE
from bench.statistics.paired import compare

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
    counts = planned.groupby(["dataset", "dataset_options", "setting"])["seed"].nunique()
    ranked_settings = planned.groupby("setting")["ranked"].all()
    lines = []
    for key, column in measured.groupby(BOARD, dropna=False, sort=False):
        board: dict[str, Any] = dict(zip(BOARD, key, strict=True))
        table = _by_seed(column)
        cells = _cells(table)
        places = [(board["dataset"], board["dataset_options"], setting) for setting in cells["setting"]]
        expected = counts.reindex(pd.MultiIndex.from_tuples(places)).fillna(0).to_numpy(dtype=int)
        cells["n_planned"] = np.maximum(expected, cells["n_ok"])
        cells["complete"] = cells["n_ok"] >= expected
        cells["direction"] = direction = column["direction"].iloc[0]
        cells["ranked"] = cells["setting"].map(ranked_settings).astype(bool)
        compared = cells["complete"] & cells["ranked"] & pd.notna(direction)
        cells["rank"] = cells["mean"].where(compared).rank(method="min", ascending=direction == "min")
        cells["best"] = _best(table.to_numpy(), compared.to_numpy(), direction)
        cells["tied"] = cells["best"] & (cells["best"].sum() > 1)
        lines.append(cells.assign(**board))
    columns = [*BOARD, "setting", "mean", "half_width", "n_ok", "n_planned", "complete"]
    columns += ["direction", "ranked", "rank", "best", "tied"]
    return pd.concat(lines, ignore_index=True)[columns] if lines else pd.DataFrame(columns=columns)


def distinguishable(one: pd.Series, other: pd.Series, level: float = 1 - CONFIDENCE) -> bool:
    """Whether two samples of values, each indexed by seed, differ by the rule in the module's docstring."""
    table = pd.DataFrame({"one": one, "other": other}).to_numpy(dtype=float).T
    return bool(_told_apart(table, np.array([0]), np.array([1]), level)[0])


def _told_apart(table: np.ndarray, first: np.ndarray, second: np.ndarray, level: float = 1 - CONFIDENCE) -> np.ndarray:
    """table: [settings, seeds]; first, second: lines of the pairs."""
    p = compare(table, first, second).p
    means = [f"{mean:.3g}" for mean in np.nanmean(table, axis=1)]
    unequal = np.array([means[one] != means[other] for one, other in zip(first, second, strict=True)], dtype=bool)
    return np.where(np.isnan(p), unequal, p < level)


def _by_seed(column: pd.DataFrame) -> pd.DataFrame:
    """setting × seed, settings in the order of appearance; of a seed that ran twice, the later value."""
    once = column.drop_duplicates(["setting", "seed"], keep="last")
    return once.pivot(index="setting", columns="seed", values="value").reindex(column["setting"].unique())


def _cells(table: pd.DataFrame) -> pd.DataFrame:
    """setting, mean, half_width, n_ok of each line."""
    n_ok = table.count(axis=1).to_numpy()
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, np.where(n_ok > 1, n_ok - 1, np.nan))
    half_width = quantile * table.std(axis=1, ddof=1).to_numpy() / np.sqrt(n_ok)
    cells = {"setting": table.index.to_numpy(), "mean": table.mean(axis=1).to_numpy(), "half_width": half_width}
    return pd.DataFrame({**cells, "n_ok": n_ok})


def _best(table: np.ndarray, compared: np.ndarray, direction: str) -> np.ndarray:
    """Of each line whether it is the best compared or cannot be told from it; none where that is all of several."""
    found = np.zeros(len(table), dtype=bool)
    places = np.flatnonzero(compared)
    if not len(places):
        return found
    means = np.nanmean(table[places], axis=1)
    leader = places[means.argmin() if direction == "min" else means.argmax()]
    best = places[~_told_apart(table, places, np.full_like(places, leader))]
    if len(best) < len(places) or len(places) == 1:
        found[best] = True
    return found
