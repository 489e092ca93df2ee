"""What a section says of its methods across datasets and metrics: the frames, and which charts are worth drawing.

A task is a column of a board. Settings are compared over tasks only where every planned seed was measured; references
are left out. A method with several settings is represented by the one at its own defaults, where there is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bench.report.charts import Axis, Chart, log_axis, scatter
from bench.report.comparison_charts import estimates, profiles, rank_diagram
from bench.report.headlines import headline, values_of
from bench.report.leaderboards import Board
from bench.report.records import Section
from bench.report.sensitivities import sensitivity_chart, settings_frame
from bench.statistics.aggregates import (
    anchors,
    interquartile_means,
    normalized,
    performance_profiles,
    probabilities_of_improvement,
)
from bench.statistics.fronts import on_front
from bench.statistics.paired import paired_comparisons
from bench.statistics.ranks import RankComparison, compare_ranks
from bench.statistics.tuning import default_and_tuned
from bench.words import listed

LINES, CURVES = 30, 6
"""Settings in a chart that has a line for each, one below the other or as curves: the leading ones."""
THRESHOLDS = np.linspace(0, 1, 26)
SCORE = "Score 0 is the worst of the settings' means on a dataset, 1 the best."
FEWEST = 3
"""Settings for whose ranks and scores a chart is drawn: of two, one is always 0 and the other 1."""
AT_DEFAULTS = " Of several settings of a method, the one at its defaults is compared."
TUNED = ["metric", "where", "method", "direction", "rule", "default", "default_mean", "default_half_width"]
TUNED += ["tuned", "tuned_mean", "tuned_half_width", "n_compared", "n_left_out", "n_tied"]


@dataclass(frozen=True)
class Comparisons:
    """charts: in the order to show. tuned: a line a (metric, dataset, method) whose settings were compared.

    Columns of `tuned`: metric, where (the dataset in words), method, direction ("min" or "max"), rule ("validation" or
    "oracle", see `bench.statistics.tuning.RULES`), default and tuned (the settings in words; default is missing where
    none is at the method's defaults), of both mean and half_width (NaN for one seed), n_compared, n_left_out
    (incomplete settings), n_tied.
    """

    charts: list[Chart]
    tuned: pd.DataFrame


def comparisons(section: Section, boards: list[Board], colors: Mapping[str, str]) -> Comparisons:
    """The comparisons of a section from its boards. colors: method -> "#rrggbb", of the whole report."""
    settings = settings_frame(section)
    cells = headline(section, boards, settings)
    if cells.empty:
        return Comparisons([], pd.DataFrame(columns=TUNED))
    mine = {method: colors[method] for method in settings["method"]}
    tested = cells[cells["split"] == "test"]
    shown = tested.drop(columns="label").merge(_representatives(settings), on="setting")
    charts: list[Chart] = []
    for place, (_, of_table) in enumerate(shown.groupby("table", sort=False)):
        charts += _over_datasets(section, of_table, mine, is_first=place == 0)
    if len(section.datasets) == 1:
        charts += _differences(section, shown[shown["table"] == cells["table"].iloc[0]], mine)
        charts += _over_metrics(section, shown, mine)
    if charts and shown["setting"].nunique() < tested["setting"].nunique():
        charts[0] = replace(charts[0], caption=charts[0].caption + AT_DEFAULTS)
    first = tested[tested["table"] == cells["table"].iloc[0]]
    values = values_of(section, first[first["complete"]].rename(columns={"where": "task"}))
    charts += sensitivity_chart(section, values, settings, str(cells["metric"].iloc[0]), mine)
    return Comparisons(charts, _tuned(section, cells, settings))


def _representatives(settings: pd.DataFrame) -> pd.DataFrame:
    """setting, label: of a method the one at its defaults, by the method's name, else all by their own labels."""
    defaults = settings.groupby("method")["is_default"].transform("sum")
    chosen = settings[settings["is_default"] | (defaults != 1)]
    alone = chosen.groupby("method")["setting"].transform("size") == 1
    return chosen.assign(label=chosen["label"].where(~alone, chosen["method"]))[["setting", "label"]]


def _over_datasets(section: Section, cells: pd.DataFrame, colors: Mapping[str, str], *, is_first: bool) -> list[Chart]:
    """The charts of one metric over several datasets; only ranks and means, folded, where it is not the first one.

    cells: of that metric, as `headline` gives them.
    """
    compared = cells[cells["complete"]].rename(columns={"where": "task"})
    found = compare_ranks(compared)
    kept = compared.merge(found.by_task[["setting", "task"]], on=["setting", "task"])
    tasks = kept["task"].nunique()
    if len(found.ranks) < 2 or tasks < 2:
        return []
    slug = f"{section.slug}-{cells['metric'].iloc[0]}"
    over = f"{cells['metric'].iloc[0]} over {tasks} datasets"
    names = kept.drop_duplicates("setting")[["setting", "label", "method"]]
    values = values_of(section, kept)
    scores = normalized(values, anchors(values))
    middle = interquartile_means(scores, _rng(slug)).merge(names, on="setting").sort_values("iqm", ascending=False)
    if middle.empty:
        return []
    fewest = int(values.groupby(["setting", "task"]).size().min())
    charts = []
    if len(middle) >= FEWEST:
        charts += _ranks(slug, over, found, names, colors)
        charts += _means(slug, over, middle, _coverage(fewest), colors) if fewest >= 2 else []
    if is_first and fewest >= 2:
        charts += _improvement(slug, over, values, middle["setting"].iloc[0], names, colors)
    if is_first and len(middle) >= FEWEST:
        charts += _profiles(slug, over, scores, middle, colors) if fewest >= 2 else []
        charts += _against_time(section, slug, over, middle, kept, colors)
    note = _left_out(cells, found)
    return [
        replace(chart, caption=chart.caption + note * (place == 0), folded=chart.folded or not is_first)
        for place, chart in enumerate(charts)
    ]


def _ranks(slug: str, over: str, found: RankComparison, names: pd.DataFrame, colors: Mapping[str, str]) -> list[Chart]:
    """None where no difference of ranks could be large enough to count."""
    if found.critical_difference >= len(found.ranks) - 1:
        return []
    labels = names.set_index("setting")["label"]
    ranks = found.ranks.merge(names, on="setting", sort=False).head(LINES)
    by_task = found.by_task.merge(names, on="setting")
    shown = set(ranks["label"])
    groups = [[labels[setting] for setting in group if labels[setting] in shown] for group in found.groups]
    chart = rank_diagram(
        ranks, by_task[by_task["label"].isin(shown)], [group for group in groups if len(group) > 1], colors
    )
    caption = (
        "Dots are ranks on a dataset, ticks their averages. Bars on the right join settings that cannot be told apart "
        f"at 5% by Nemenyi's test, which corrects for all pairs: the critical difference is "
        f"{found.critical_difference:.2g}. Friedman's test that all rank alike has p = {found.p:.2g}."
    )
    return [Chart.of(f"{slug}-ranks", f"Average rank by {over}", caption, chart)]


def _means(slug: str, over: str, middle: pd.DataFrame, note: str, colors: Mapping[str, str]) -> list[Chart]:
    lines = middle.head(LINES).rename(columns={"iqm": "estimate"})
    chart = estimates(lines, "interquartile mean score (higher is better)", colors)
    caption = f"The mean of the middle half of all runs, with 95% intervals by a bootstrap over seeds. {SCORE}{note}"
    return [Chart.of(f"{slug}-iqm", f"Interquartile mean score by {over}", caption, chart)]


def _profiles(
    slug: str, over: str, scores: pd.DataFrame, middle: pd.DataFrame, colors: Mapping[str, str]
) -> list[Chart]:
    leading = middle.head(CURVES)
    curves = performance_profiles(scores[scores["setting"].isin(leading["setting"])], THRESHOLDS)
    named = leading[["setting", "label", "method"]].merge(curves, on="setting", sort=False)
    caption = "The share of runs, upwards, whose score is above the one across, with 95% intervals at each score."
    caption += f" The {CURVES} settings of the best interquartile means." if len(middle) > CURVES else ""
    made = Chart.of(f"{slug}-profile", f"Performance profile by {over}", caption, profiles(named, colors))
    return [replace(made, folded=True)]


def _improvement(
    slug: str, over: str, values: pd.DataFrame, best: str, names: pd.DataFrame, colors: Mapping[str, str]
) -> list[Chart]:
    """The probability that the best setting improves on each other one."""
    label = names.set_index("setting")["label"][best]
    against = probabilities_of_improvement(values, best, _rng(slug)).merge(names, on="setting", sort=False)
    against = against.sort_values("probability").head(LINES).rename(columns={"probability": "estimate"})
    chart = estimates(against, "probability of improvement", colors, 0.5, (0, 1))
    caption = (
        f"The probability that of two runs on a dataset the one of {label} is better, mean over the datasets, with "
    )
    caption += "95% intervals by a bootstrap over seeds."
    caption += " Where the interval holds 0.5, neither can be said to be ahead."
    return [Chart.of(f"{slug}-improvement", f"{label} against each of the others, by {over}", caption, chart)]


def _against_time(
    section: Section, slug: str, over: str, middle: pd.DataFrame, kept: pd.DataFrame, colors: Mapping[str, str]
) -> list[Chart]:
    trials = section.trials.rename(columns={"where": "task"}).merge(kept[["setting", "task"]], on=["setting", "task"])
    trials = trials[(trials["status"] == "ok") & (trials["train_seconds"] > 0)]
    logs = trials.assign(x=np.log(trials["train_seconds"].astype(float)))
    seconds = logs.groupby(["setting", "task"])["x"].mean().groupby("setting").mean().map(np.exp).reset_index()
    points = middle.rename(columns={"iqm": "y"}).merge(seconds, on="setting").head(LINES)
    if len(points) < 2:
        return []
    front = points.loc[on_front(points, {"x": "min", "y": "max"}), "label"]
    x_axis = log_axis("training time, s (geometric mean over datasets)", list(points["x"]))
    y_axis = Axis("interquartile mean score (higher is better)")
    chart = scatter(points[["label", "method", "x", "y"]], x_axis, y_axis, colors, list(front))
    caption = f"The line joins settings that no other one beats in both time and score. {SCORE}"
    return [Chart.of(f"{slug}-time", f"Score against training time, by {over}", caption, chart)]


def _differences(section: Section, cells: pd.DataFrame, colors: Mapping[str, str]) -> list[Chart]:
    """The best setting of one dataset against each other one, seed by seed. cells: of one metric."""
    compared = cells[cells["complete"]].sort_values("mean", ascending=bool((cells["direction"] == "min").all()))
    if len(compared) < 2:
        return []
    names = compared[["setting", "label", "method"]]
    values = values_of(section, compared.rename(columns={"where": "task"}))
    in_order = values.sort_values("setting", key=lambda column: column.map(list(names["setting"]).index), kind="stable")
    pairs = paired_comparisons(in_order)
    best = pairs[(pairs["one"] == names["setting"].iloc[0]) & pairs["p"].notna()]
    if best.empty:
        return []
    lines = best.rename(columns={"other": "setting"}).merge(names, on="setting", sort=False).head(LINES)
    lines = lines.assign(estimate=-lines["difference"])
    least, most = min(lines["estimate"].min(), 0), max(lines["estimate"].max(), 0)
    room = most - least  # with two seeds an interval can be many times as wide as all differences
    lines["low"], lines["high"] = (
        (lines["estimate"] + sign * lines["half_width"]).clip(least - room, most + room) for sign in (-1, 1)
    )
    metric, label = compared["metric"].iloc[0], names["label"].iloc[0]
    better = {"min": "right", "max": "left"}[compared["direction"].iloc[0]]
    told = list(best.merge(names, left_on="other", right_on="setting", sort=False).query("p_holm < 0.05")["label"])
    others = "each" if len(told) == len(best) else listed(told) or "none"
    caption = (
        "Mean differences with 95% t intervals (wide ones cut), seed by seed where seeds are the same. "
        f"{label} has a better mean than what lies {better} of the line. With Holm's correction for all "
        f"{len(pairs):,} pairs of settings, it differs at 5% from {others}."
    )
    chart = estimates(lines, f"difference in {metric}", colors, 0.0)
    return [Chart.of(f"{section.slug}-{metric}-differences", f"Difference from {label} by {metric}", caption, chart)]


def _over_metrics(section: Section, cells: pd.DataFrame, colors: Mapping[str, str]) -> list[Chart]:
    """Ranks of one dataset's settings over the first metric of each table."""
    found = compare_ranks(cells[cells["complete"]].rename(columns={"metric": "task"}))
    metrics = list(dict.fromkeys(found.by_task["task"]))
    if len(found.ranks) < FEWEST or len(metrics) < FEWEST:
        return []
    names = cells.drop_duplicates("setting")[["setting", "label", "method"]]
    ranks = found.ranks.merge(names, on="setting", sort=False).head(LINES)
    by_task = found.by_task.merge(names, on="setting")
    chart = rank_diagram(ranks, by_task[by_task["label"].isin(ranks["label"])], [], colors)
    caption = (
        f"Dots are ranks by {listed(metrics)}, ticks their averages. Metrics of the same runs are not independent, so "
        f"no difference of these ranks is called significant.{_left_out(cells, found)}"
    )
    return [Chart.of(f"{section.slug}-ranks", f"Average rank over {len(metrics)} metrics", caption, chart)]


def _tuned(section: Section, cells: pd.DataFrame, settings: pd.DataFrame) -> pd.DataFrame:
    """In the order of the metrics, the datasets and the methods."""
    where = section.trials[["dataset", "dataset_options", "where"]].drop_duplicates()
    found = default_and_tuned(cells, settings).merge(where, on=["dataset", "dataset_options"])
    labels = settings.set_index("setting")["label"]
    for side in ("default", "tuned"):
        texts = zip(found["method"], found[side].map(labels), strict=True)
        told = [label if pd.isna(label) else label.removeprefix(method).strip() for method, label in texts]
        found[side] = pd.Series(told, index=found.index, dtype=object)
    orders = {"metric": list(section.outputs), "where": list(where["where"]), "method": list(settings["method"])}
    in_order = found.sort_values(list(orders), key=lambda column: column.map(orders[str(column.name)].index))
    return in_order[TUNED].reset_index(drop=True)


def _left_out(cells: pd.DataFrame, found: RankComparison) -> str:
    """A sentence on what the comparison lacks; empty where it lacks nothing."""
    labels = cells.drop_duplicates("setting").set_index("setting")["label"]
    incomplete = sorted(set(labels) - set(cells.loc[cells["complete"], "label"]))
    names = [labels[setting] for setting in found.dropped_settings] + incomplete + found.dropped_tasks
    return f" Left out, as not measured throughout: {listed(names)}." if names else ""


def _coverage(fewest: int) -> str:
    """How far to trust the bootstrap's intervals: see `bench.statistics.aggregates`."""
    if fewest >= 5:
        return ""
    covered = "80 to 93" if fewest == 2 else "83 to 97"
    return f" With {fewest} seeds, such intervals covered the truth in {covered}% of simulations."


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]))
