"""Aggregates over tasks × seeds: Agarwal et al. 2021, Deep RL at the edge of the statistical precipice.

A task is a column of a leaderboard, as a rule a metric on one dataset. Frames have one line a (`task`, `setting`,
`seed`). Tasks are taken as given, seeds as a sample: the intervals are for the same tasks with other seeds.

The bootstrap is stratified: each setting's seeds are drawn anew within each task. The paper takes percentiles of
resamples of n out of n seeds; with 3 to 5 seeds these cover 82 to 92% where 95% are stated. Here n − 1 out of n are
drawn, which makes the variance of means unbiased (Rao & Wu 1988, Resampling inference with complex survey data), and
the interval is the estimate ± t times the bootstrap's standard error, t with Σ(n − 1) degrees of freedom. A share of
runs near 0 or 1 hardly varies between resamples; its half-width is at least ln(1/0.05)/N for N runs, the rule of three
(Hanley & Lippman-Hand 1983, If nothing goes wrong, is everything all right?).

Simulated coverage of the 95% intervals, with 3, 5 or 10 seeds, 5 to 20 tasks and noise that differs between tasks:
interquartile mean 0.90 to 0.97 with normal noise; with exponential noise 0.90 to 0.96, but 0.85 to 0.93 with 3 seeds on
5 tasks; performance profile 0.90 and more at each threshold; probability of improvement 0.94 and more. With 2 seeds the
interquartile mean's falls to 0.83.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bench.statistics.intervals import CONFIDENCE

RESAMPLES = 2000


def anchors(values: pd.DataFrame, reference: str | None = None) -> pd.DataFrame:
    """The values of each task that become the scores 0 and 1.

    Args:
        values: task, setting, seed, value, direction ("min" or "max").
        reference: the setting whose mean becomes 0; without one it is the worst mean. The best mean becomes 1.

    Returns:
        task, zero, one; both NaN for a task without the reference or where all means (or the best and the reference's)
        are equal, which tells nothing of the settings.
    """
    measured = values.dropna(subset=["value"])
    lines = []
    for task, column in measured.groupby("task", sort=False):
        direction = column["direction"].iloc[0]
        of_settings = column.groupby("setting")["value"].mean()
        best, worst = (of_settings.min(), of_settings.max())[:: 1 if direction == "min" else -1]
        zero = worst if reference is None else of_settings.get(reference, math.nan)
        usable = zero != best and not math.isnan(zero)
        lines.append({"task": task, "zero": zero if usable else math.nan, "one": best if usable else math.nan})
    return pd.DataFrame(lines, columns=["task", "zero", "one"])


def normalized(values: pd.DataFrame, anchors: pd.DataFrame) -> pd.DataFrame:
    """The values with their `score`, (value − zero) / (one − zero); higher is better whatever the direction.

    Tasks without anchors and lines without a value are left out. The anchors count as fixed numbers, although they come
    from few seeds too: of scores by the means of infinitely many, 95% intervals cover the interquartile mean in 0.90 to
    0.97. One very bad setting presses the others' scores together near 1.
    """
    joined = values.dropna(subset=["value"]).merge(anchors.dropna(), on="task")
    scores = (joined["value"] - joined["zero"]) / (joined["one"] - joined["zero"])
    return joined.drop(columns=["zero", "one"]).assign(score=scores)


def interquartile_means(
    scores: pd.DataFrame, rng: np.random.Generator, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Mean of the middle half of all runs' scores, in which each run counts once.

    Args:
        scores: task, setting, seed, score.

    Returns:
        One line a setting, in the order of appearance: setting, iqm, low, high (NaN unless each task has two seeds),
        n_tasks, n_runs.
    """
    lines = []
    for setting, strata in _strata(scores, "score").items():
        runs = np.concatenate(list(strata.values()))
        iqm, half = float(_iqm(runs)), math.nan
        if min(map(len, strata.values())) >= 2:
            drawn = [_drawn(len(of_task), resamples, rng) for of_task in strata.values()]
            picked = [of_task[index] for of_task, index in zip(strata.values(), drawn, strict=True)]
            error = float(_iqm(np.concatenate(picked, axis=1)).std(ddof=1))
            half = _t(len(runs) - len(strata), confidence) * error
        interval = {"iqm": iqm, "low": iqm - half, "high": iqm + half}
        lines.append({"setting": setting, **interval, "n_tasks": len(strata), "n_runs": len(runs)})
    return pd.DataFrame(lines, columns=["setting", "iqm", "low", "high", "n_tasks", "n_runs"])


def performance_profiles(
    scores: pd.DataFrame, thresholds: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Share of a setting's runs whose score is above each threshold.

    A share is linear in the runs, so the bootstrap's variance has a closed form and nothing is drawn. The intervals
    hold at each threshold by itself, not for the whole curve at once.

    Args:
        scores: task, setting, seed, score.

    Returns:
        One line a (setting, threshold): setting, threshold, share, low, high (0 to 1; NaN unless each task has two
        seeds).
    """
    levels = np.asarray(thresholds, dtype=float)
    frames = []
    for setting, strata in _strata(scores, "score").items():
        counts = np.array([len(of_task) for of_task in strata.values()])
        runs = int(counts.sum())
        of_tasks = np.array([(of_task[:, None] > levels).mean(axis=0) for of_task in strata.values()])
        share = counts @ of_tasks / runs
        half = np.full(len(levels), math.nan)
        if counts.min() >= 2:
            variances = of_tasks * (1 - of_tasks) / (counts - 1)[:, None]
            error = np.sqrt((counts / runs) ** 2 @ variances)
            half = np.maximum(_t(runs - len(strata), confidence) * error, _rule_of_three(runs, confidence))
        frame = {"threshold": levels, "share": share, "low": _share(share - half), "high": _share(share + half)}
        frames.append(pd.DataFrame({"setting": setting, **frame}))
    columns = ["setting", "threshold", "share", "low", "high"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def probabilities_of_improvement(
    values: pd.DataFrame,
    over: str,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """How likely a run of the setting `over` is better than a run of each other one on a task, the mean over tasks.

    Ties count half (Mann & Whitney's U over all pairs of runs, each task of the same weight).

    Args:
        values: task, setting, seed, value, direction ("min" or "max").

    Returns:
        One line a setting other than `over`, in the order of appearance: setting, probability, low, high (0 to 1; NaN
        unless both have two seeds on each task), n_tasks (that both have; a setting without any has no line).
    """
    signs = np.where(values["direction"] == "max", 1.0, -1.0)
    settings = _strata(values.assign(score=values["value"] * signs), "score")
    lead = settings.pop(over, {})
    lines = []
    for setting, strata in settings.items():
        tasks = [task for task in lead if task in strata]
        if not tasks:
            continue
        wins = [
            (np.sign(np.subtract.outer(lead[task], strata[task])) + 1) / 2  # 1 better, 1/2 tied, 0 worse
            for task in tasks
        ]
        probability = float(np.mean([table.mean() for table in wins]))
        low = high = math.nan
        if min(min(table.shape) for table in wins) >= 2:
            resampled = np.zeros(resamples)
            for table in wins:
                one, other = (_drawn(count, resamples, rng) for count in table.shape)
                resampled += table[one[:, :, None], other[:, None, :]].mean(axis=(1, 2)) / len(tasks)
            freedom = sum(sum(table.shape) - 2 for table in wins)
            runs = min(sum(table.shape[side] for table in wins) for side in (0, 1))
            half = max(_t(freedom, confidence) * resampled.std(ddof=1), _rule_of_three(runs, confidence))
            low, high = (float(_share(np.asarray(end))) for end in (probability - half, probability + half))
        lines.append({"setting": setting, "probability": probability, "low": low, "high": high, "n_tasks": len(tasks)})
    return pd.DataFrame(lines, columns=["setting", "probability", "low", "high", "n_tasks"])


def _strata(frame: pd.DataFrame, name: str) -> dict[str, Mapping[str, np.ndarray]]:
    """setting -> task -> its values over seeds, in the order of appearance."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, values in frame.dropna(subset=[name]).groupby(["setting", "task"], sort=False)[name]:
        setting, task = (str(part) for part in key)
        found.setdefault(setting, {})[task] = values.to_numpy(dtype=float)
    return dict(found)


def _drawn(count: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Indices [resamples, count − 1] of runs drawn with replacement."""
    return rng.integers(0, count, size=(resamples, count - 1))


def _iqm(values: np.ndarray) -> np.ndarray:
    """Over the last axis, the mean without the lowest and the highest quarter."""
    count = values.shape[-1]
    return np.sort(values, axis=-1)[..., count // 4 : count - count // 4].mean(axis=-1)


def _t(freedom: int, confidence: float) -> float:
    return float(stats.t.ppf(0.5 + confidence / 2, freedom))


def _rule_of_three(runs: int, confidence: float) -> float:
    return -math.log(1 - confidence) / runs


def _share(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 1)
