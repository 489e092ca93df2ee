"""Aggregation over seeds, ties, ranks and verdicts: data frames in, data frames out.

What is pooled: values of one method setting over seeds, within one BOARD key. A different split, metric version,
protocol or number of samples is a different number, and gets a column of its own.

What is best: among the complete cells of a column (every planned seed measured), the one with the best mean; and
with it every cell that cannot be told from it. With two seeds or more on both sides, that is a two-sided t-test at
5% that does not reject: paired over the seeds when both have the same ones (all methods see the same data and batches
under a seed), Welch's otherwise. With one seed there is no test, and only cells equal to three significant digits tie.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

BOARD = ["dataset", "dataset_options", "dataset_version", "split", "metric", "metric_version", "protocol", "n_samples"]
"""Columns that must agree for values to be pooled, ranked or compared."""

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean with the half-width of its interval; None where one value gives no interval."""

    mean: float
    half_width: float | None


class Verdict(NamedTuple):
    """How ours stands to a published number, in one word, and why."""

    word: str
    reason: str


def t_interval(values: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """Mean and half-width of the Student-t interval; raises ValueError for no values."""
    array = np.asarray(values, dtype=float)
    if not array.size:
        raise ValueError("no values, no interval")
    if array.size == 1:
        return Interval(float(array[0]), None)
    quantile = stats.t.ppf(0.5 + confidence / 2, array.size - 1)
    return Interval(float(array.mean()), float(quantile * array.std(ddof=1) / math.sqrt(array.size)))


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
    measured = rows[rows["value"].notna()]
    counts = planned.groupby(["dataset", "dataset_options", "setting"])["seed"].nunique()
    ranked_settings = planned.groupby("setting")["ranked"].all()
    lines = []
    for key, column in measured.groupby(BOARD, dropna=False, sort=False):
        board = dict(zip(BOARD, key, strict=True))
        direction = column["direction"].iloc[0]
        samples = {
            setting: group.set_index("seed")["value"] for setting, group in column.groupby("setting", sort=False)
        }
        cells = pd.DataFrame([_cell(board, str(setting), values, counts) for setting, values in samples.items()])
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
    if set(one.index) == set(other.index):
        differences = (one - other.reindex(one.index)).to_numpy()
        if np.ptp(differences) <= 1e-12 * np.abs(differences).max():
            return bool(differences[0] != 0)  # no spread, no t statistic
        return bool(stats.ttest_1samp(differences, 0).pvalue < level)
    if one.nunique() == other.nunique() == 1:
        return bool(one.iloc[0] != other.iloc[0])
    return bool(stats.ttest_ind(one, other, equal_var=False).pvalue < level)


def verdict(ours: Interval, published: Mapping[str, Any], direction: str) -> Verdict:
    """Compares a cell with a comparable published number (a row of `bench.published`).

    "agrees": our interval and theirs overlap, theirs being ± its stated uncertainty and its rounding, or the bound
    holds for our mean. "better" and "worse": they do not. "undecided": one seed has no interval, and the published
    number is no bound.
    """
    value, bound = float(published["value"]), published["bound"]
    if bound in ("<", ">"):
        holds = ours.mean < value if bound == "<" else ours.mean > value
        if holds:
            return Verdict("agrees", f"our mean satisfies {bound}{value:g}")
        return Verdict("better" if (bound == ">") == (direction == "min") else "worse", f"not {bound}{value:g}")
    if ours.half_width is None:
        return Verdict("undecided", "one seed has no interval")
    uncertainty = published["uncertainty"]
    theirs = 0.0 if pd.isna(uncertainty) else float(uncertainty)
    margin = ours.half_width + theirs + _rounding(published["value_published"], value, approximate=bound == "~")
    difference = ours.mean - value
    if abs(difference) <= margin:
        return Verdict("agrees", "the intervals overlap")
    better = (difference < 0) == (direction == "min")
    return Verdict("better" if better else "worse", "the intervals do not overlap")


def _cell(board: Mapping[str, Any], setting: str, values: pd.Series, counts: pd.Series) -> dict[str, Any]:
    mean, half_width = t_interval(values.to_numpy())
    planned = int(counts.get((board["dataset"], board["dataset_options"], setting), 0))
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


def _rounding(text: str, value: float, *, approximate: bool) -> float:
    """Half a unit of the last printed digit; a whole one where the number is called approximate."""
    printed = text.strip("<>~ ")
    try:
        matches = float(printed) == value
    except ValueError:
        matches = False
    mantissa, _, exponent = (printed if matches else f"{value:g}").partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return unit if approximate else unit / 2
