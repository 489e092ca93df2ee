"""Which charts a section gets, and the frames they are drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.report.charts import Axis, Chart, against_option, log_axis, metric_axis, scatter, training_curves
from bench.report.columns import DATASET, dataset_headings
from bench.report.leaderboards import Board
from bench.report.metric_charts import LINES, metric_charts, numbers, option_axis
from bench.report.records import Section
from bench.statistics.fronts import on_front

TRADE_OFFS = (
    ("reconstruction", "generation"),
    ("disentanglement", "reconstruction"),
    ("disentanglement", "generation"),
)
"""Pairs of tables whose first metrics are worth seeing against each other."""
CURVE_POINTS = 120
CURVE_PANELS = 24


def figures(section: Section, boards: list[Board], curves: pd.DataFrame, colors: Mapping[str, str]) -> list[Chart]:
    """The charts of a section: its metrics with every seed, trade-offs, time, and training curves.

    curves: columns of the store's curves, of the section's trials.
    """
    mine = {setting.method: colors[setting.method] for setting in section.settings.values()}
    made = metric_charts(section, boards, mine)
    made += _trade_offs(section, boards, mine)
    made += _time(section, boards, mine)
    made += _curves(section, curves, mine)
    captions: set[str] = set()
    for position, chart in enumerate(made):
        made[position] = replace(chart, caption="" if chart.caption in captions else chart.caption)
        captions.add(chart.caption)
    return made


def first_losses(curves: pd.DataFrame) -> pd.DataFrame:
    """Of each trial the loss that progress displays show: the first one recorded in training, else at all."""
    in_order = curves.sort_values("stage", key=lambda stage: stage != "train", kind="stable")
    first = in_order.drop_duplicates("trial_id")[["trial_id", "stage", "name"]]
    return curves.merge(first, on=["trial_id", "stage", "name"])


def thinned(values: list[Any], limit: int = CURVE_POINTS) -> list[Any]:
    """At most about `limit` of the values, evenly, with the first and the last."""
    stride = math.ceil(len(values) / limit) or 1
    kept = values[::stride]
    return kept if not values or (len(values) - 1) % stride == 0 else [*kept, values[-1]]


def _trade_offs(section: Section, boards: list[Board], colors: Mapping[str, str]) -> list[Chart]:
    measured = {} if len(section.datasets) > 1 else _first_measured(section, boards)
    made = []
    for across, up in TRADE_OFFS:
        if across in measured and up in measured:
            made += _scatter(section, f"{across}-{up}", measured[across], measured[up], colors)
    return made


def _time(section: Section, boards: list[Board], colors: Mapping[str, str]) -> list[Chart]:
    """Time against the option of a grid; for a single dataset, a metric against time."""
    ended = section.trials[(section.trials["status"] == "ok") & (section.trials["train_seconds"] > 0)]
    if ended.empty or not boards:
        return []
    points = ended[["label", "method", "seed"]].assign(value=ended["train_seconds"].astype(float))
    label = "training time, s"
    if len(section.datasets) == 1:
        measured = _first_measured(section, boards)
        quality = next(
            (measured[table] for table in ("generation", "disentanglement", "transport") if table in measured), None
        )
        references = [s.label for s in section.settings.values() if s.is_reference]
        times = points[~points["label"].isin(references)].groupby("label", sort=False)["value"].mean()
        if quality is None:
            return []
        against = ("training time", log_axis(label, list(times)), times)
        return _scatter(section, "time", against, quality, colors, section.outputs[quality[0]]["direction"])
    options = numbers(boards[0])
    if not options:
        return []
    place = {column.dataset: x for column, x in zip(boards[0].columns, options, strict=True)}
    points["x"] = [place.get(key, math.nan) for key in ended[DATASET].itertuples(index=False, name=None)]
    points = points.dropna(subset=["x"])
    grouped = points.groupby(["label", "method", "x"], sort=False)["value"]
    means = grouped.mean().rename("mean").reset_index().assign(low=math.nan, high=math.nan)
    nothing = pd.DataFrame(columns=["label", "method", "x", "value", "printed"])
    axis = boards[0].axis
    chart = against_option(
        points, means, nothing, option_axis(axis, options), log_axis(label, list(points["value"])), colors
    )
    return [Chart.of(f"{section.slug}-time", f"Training time against {axis}", "Dots are seeds, lines means.", chart)]


def _curves(section: Section, curves: pd.DataFrame, colors: Mapping[str, str]) -> list[Chart]:
    """The first loss of each setting; over a grid of datasets, on the one in its middle."""
    datasets = list(section.datasets.itertuples(index=False, name=None))
    dataset, options = datasets[len(datasets) // 2]
    trials = section.trials[(section.trials["dataset"] == dataset) & (section.trials["dataset_options"] == options)]
    losses = first_losses(curves[curves["trial_id"].isin(trials["trial_id"])]).dropna(subset=["value"])
    same, runs = losses["name"].nunique() == 1, dict(list(losses.groupby("trial_id", sort=False)))
    drawn = trials[trials["trial_id"].isin(list(runs))]
    leading = drawn["label"].drop_duplicates().head(CURVE_PANELS)
    lines = []
    for trial in drawn[drawn["label"].isin(leading)].to_dict("records"):
        run = runs[trial["trial_id"]]
        panel = trial["label"] if same else f"{trial['label']}: {run['name'].iloc[0]}"
        line = {"panel": panel, "method": trial["method"], "run": f"seed {trial['seed']}"}
        for step, value in thinned(list(zip(run["step"], run["value"], strict=True))):
            lines.append({**line, "step": int(step), "value": float(f"{value:.4g}")})
    if not lines:
        return []
    where = ""
    if len(datasets) > 1:
        axis, headings = dataset_headings(section)
        where = " on " + " ".join(filter(None, [axis, headings[len(datasets) // 2]]))
    caption = (
        f"The first loss of each method over its updates{where}; a line a seed. Different losses are not comparable."
    )
    chart = training_curves(pd.DataFrame(lines), colors)
    return [Chart.of(f"{section.slug}-curves", "Training curves", caption, chart)]


Quantity = tuple[str, Axis, "pd.Series[float]"]
"""A name, an axis, and a mean a setting, indexed by label."""


def _scatter(
    section: Section, slug: str, x: Quantity, y: Quantity, colors: Mapping[str, str], direction: str | None = None
) -> list[Chart]:
    """direction: of y, where x is a cost and the settings that no other one beats in both are joined."""
    means = pd.DataFrame({"x": x[2], "y": y[2]}).dropna().rename_axis("label").reset_index()
    if len(means) < 2:
        return []
    methods = {setting.label: setting.method for setting in section.settings.values()}
    means["method"] = means["label"].map(methods)
    front = means.loc[on_front(means, {"x": "min", "y": direction}), "label"] if direction in ("min", "max") else []
    caption = "Means over seeds, a point a setting; references and settings that lack a seed are left out."
    caption += " The line joins those that no other one beats in both." if len(front) else ""
    chart = scatter(means, x[1], y[1], colors, list(front))
    return [Chart.of(f"{section.slug}-{slug}", f"{y[0]} against {x[0]}", caption, chart)]


def _first_measured(section: Section, boards: list[Board]) -> dict[str, Quantity]:
    """Of each table, the first metric that has values, of the leading settings.

    References are left out: they lie far off, and would press the methods into a corner. So are cells that lack a seed:
    on a front, a setting that failed would stand as one that nothing beats.
    """
    found: dict[str, Quantity] = {}
    for board in boards:
        for position, column in enumerate(board.columns):
            about = section.outputs[column.metric]
            compared = [line for line in board.lines if not line.setting.is_reference][:LINES]
            cells = {line.setting.label: line.cells[position] for line in compared}
            values = {label: None if cell.seeds else cell.mean for label, cell in cells.items()}
            known = pd.Series({label: value for label, value in values.items() if value is not None}, dtype=float)
            if len(known) and about["table"] not in found:
                found[about["table"]] = (column.metric, metric_axis(column.metric, about, list(known)), known)
    return found
