"""Average ranks of settings over tasks, and how far apart they must lie to count (Demšar 2006).

A task is a column of a leaderboard, as a rule a metric on one dataset. The tests take tasks as independent: several
metrics of the same trials are not, so ranks over them have an average, but no test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bench.statistics.intervals import CONFIDENCE


@dataclass(frozen=True)
class RankComparison:
    """What ranks over tasks say.

    ranks: one line a setting, best first: setting, average_rank (1 to k; tied values share their mean rank).
    by_task: one line a (setting, task): setting, task, rank.
    dropped_tasks, dropped_settings: left out so that all settings kept are measured on all tasks kept.
    statistic, p: Friedman's test that all settings rank alike, as Iman and Davenport's F.
    critical_difference: how far apart average ranks must lie to differ by Nemenyi's test.
    groups: settings that cannot be told apart, best first, each as large as can be; groups overlap.

    With fewer than two settings or tasks statistic, p and critical_difference are NaN, and there are no groups.
    """

    ranks: pd.DataFrame
    by_task: pd.DataFrame
    dropped_tasks: list[str]
    dropped_settings: list[str]
    statistic: float
    p: float
    critical_difference: float
    groups: list[list[str]]


def compare_ranks(means: pd.DataFrame, confidence: float = CONFIDENCE) -> RankComparison:
    """Average ranks with Friedman's test and Nemenyi's critical difference.

    Args:
        means: one line a (`task`, `setting`) with `mean` and the task's `direction` ("min" or "max"). Lines without a
            mean are passed over.

    Only complete blocks are compared. While a setting lacks a task, the setting or task that lacks the largest share
    is left out, settings before tasks, the last before the first.

    Friedman's statistic is corrected for ties and turned into F with k − 1 and (k − 1)(N − 1) degrees of freedom: Iman
    & Davenport 1980; Conover 1999, Practical Nonparametric Statistics, section 5.8, also for the p where all N tasks
    rank all k settings alike, (1/k!)^(N − 1). Nemenyi's critical difference is q √(k(k + 1) / 6N), q the studentized
    range's quantile over √2: Demšar 2006, Statistical comparisons of classifiers over multiple data sets, section
    3.2.2. It corrects for all pairs: of equal settings, it tells some apart in 2 to 5 of 100 comparisons with 5 to 20
    tasks (simulated for 3 to 20 settings; for two it errs in up to 7).
    """
    table, dropped_tasks, dropped_settings = _complete_blocks(means)
    directions = means.drop_duplicates("task").set_index("task")["direction"]
    signs = np.where(directions.reindex(table.columns) == "max", -1.0, 1.0)
    ranks = pd.DataFrame(stats.rankdata(table.to_numpy() * signs, axis=0), table.index, table.columns)
    average = ranks.mean(axis=1).sort_values(kind="stable")
    count, tasks = ranks.shape
    enough = count >= 2 and tasks >= 2
    statistic, p = _friedman(ranks.to_numpy()) if enough else (math.nan, math.nan)
    critical = critical_difference(count, tasks, confidence) if enough else math.nan
    return RankComparison(
        average.rename("average_rank").rename_axis("setting").reset_index(),
        ranks.loc[average.index]
        .rename_axis("setting")
        .reset_index()
        .melt("setting", var_name="task", value_name="rank"),
        dropped_tasks,
        dropped_settings,
        statistic,
        p,
        critical,
        _groups(average, critical) if enough else [],
    )


def critical_difference(settings: int, tasks: int, confidence: float = CONFIDENCE) -> float:
    """Nemenyi's, in average ranks, for two settings or more."""
    quantile = stats.studentized_range.ppf(confidence, settings, math.inf) / math.sqrt(2)
    return float(quantile * math.sqrt(settings * (settings + 1) / (6 * tasks)))


def _complete_blocks(means: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    """(setting × task without gaps, tasks left out, settings left out), in the order of appearance."""
    tasks, settings = (list(dict.fromkeys(means[name])) for name in ("task", "setting"))
    known = means[means["mean"].notna()]
    table = known.pivot(index="setting", columns="task", values="mean").reindex(index=settings, columns=tasks)
    missing = table.isna()
    while missing.to_numpy().any():
        of_settings, of_tasks = missing.mean(axis=1)[::-1], missing.mean(axis=0)[::-1]
        if of_settings.max() >= of_tasks.max():
            missing = missing.drop(index=of_settings.idxmax())
        else:
            missing = missing.drop(columns=of_tasks.idxmax())
    table = table.loc[missing.index, missing.columns].astype(float)
    return table, [t for t in tasks if t not in table.columns], [s for s in settings if s not in table.index]


def _friedman(ranks: np.ndarray) -> tuple[float, float]:
    """Iman and Davenport's F and its p, of ranks [settings, tasks]."""
    count, tasks = ranks.shape
    spread = (ranks**2).sum() - tasks * count * (count + 1) ** 2 / 4
    if spread == 0:  # every task ties all settings
        return 0.0, 1.0
    chi_squared = (count - 1) * ((ranks.sum(axis=1) - tasks * (count + 1) / 2) ** 2).sum() / spread
    left = tasks * (count - 1) - chi_squared
    if left <= 1e-9 * chi_squared:
        return math.inf, math.factorial(count) ** (1.0 - tasks)
    statistic = (tasks - 1) * chi_squared / left
    return float(statistic), float(stats.f.sf(statistic, count - 1, (count - 1) * (tasks - 1)))


def _groups(average: pd.Series, critical: float) -> list[list[str]]:
    """The longest runs of sorted average ranks that span less than the critical difference."""
    values = average.to_numpy()
    ends = np.searchsorted(values, values + critical, side="left")
    return [
        [str(setting) for setting in average.index[start:end]]
        for start, end in enumerate(ends)
        if end - start >= 2 and (start == 0 or end > ends[start - 1])
    ]
