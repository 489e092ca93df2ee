"""Which charts a section gets, and the frames they are drawn from."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.report.charts import (
    Axis,
    Chart,
    against_option,
    log_axis,
    metric_axis,
    scatter,
    seeds_by_setting,
    training_curves,
)
from bench.report.columns import DATASET, board_keys, dataset_headings
from bench.report.leaderboards import Board, PublishedCell
from bench.report.records import Section
from bench.statistics.fronts import on_front

TRADE_OFFS = (
    ("reconstruction", "generation"),
    ("disentanglement", "reconstruction"),
    ("disentanglement", "generation"),
)
"""Pairs of tables whose first metrics are worth seeing against each other."""
OPEN_CHARTS = 2
"""Of a board's metrics, how many have a chart that is seen at once."""
CHARTS = 24
"""Of a section's metrics, how many have a chart at all; the tables have the rest."""
LINES, CURVES = 40, 16
"""Settings in a chart that has a line for each, one below the other or as curves: the leading ones."""
CURVE_POINTS = 120
CURVE_PANELS = 24


Key = tuple[Any, ...]
"""A column's BOARD key."""


def figures(section: Section, boards: list[Board], curves: pd.DataFrame, colors: Mapping[str, str]) -> list[Chart]:
    """The charts of a section: its metrics with every seed, trade-offs, time, and training curves.

    curves: columns of the store's curves, of the section's trials.
    """
    mine = {setting.method: colors[setting.method] for setting in section.settings.values()}
    points = _points(section)
    of_metrics = [chart for board in boards for chart in _metric_charts(section, board, points, mine)]
    made = sorted(of_metrics, key=lambda chart: chart.folded)[:CHARTS]
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


def _metric_charts(
    section: Section, board: Board, measured: Mapping[Key, pd.DataFrame], colors: Mapping[str, str]
) -> list[Chart]:
    options = _numbers(board) if board.is_grid else None
    if options:
        places = dict(enumerate(options))
        return _against_option(section, board, board.slug, board.axis, places, measured, colors)
    curves = _protocol_curves(board)
    made: list[Chart] = []
    for position, column in enumerate(board.columns):
        for option, places in curves:
            if position == min(places):  # one chart of all
                slug = f"{board.slug}-{column.metric}-{option}-{position}"
                made += _against_option(section, board, slug, option, places, measured, colors)
        if any(position in places for _, places in curves):
            continue
        means = _means(board, position)
        if len(means) < 2:
            continue  # nothing to compare; the table says it
        means, left_out = means.head(LINES), len(means) - LINES
        points = measured[column.key]
        points = points[points["label"].isin(means["label"])]
        about = section.outputs[column.metric]
        heading = f"{column.metric}, {column.heading}" if board.is_grid else column.metric
        title = " · ".join(filter(None, [heading, column.detail]))
        chart = seeds_by_setting(points, means, metric_axis("", about, list(points["value"])), colors)
        caption = "Dots are seeds, ticks means, bars 95% intervals (wide ones cut); grey diamonds are published values."
        caption += f" The table has {left_out} more settings." if left_out > 0 else ""
        made.append(Chart.of(f"{board.slug}-{position}", title, caption, chart))
    return made[:OPEN_CHARTS] + [replace(chart, folded=True) for chart in made[OPEN_CHARTS:]]


def _protocol_curves(board: Board) -> list[tuple[str, dict[int, float]]]:
    """Columns that differ in nothing but one number of their protocol, three at least: a metric over it.

    Of each such curve the number's name, and the numbers of its columns by position. So are k-means scores drawn
    against the number of clusters.
    """
    alike: dict[str, dict[int, float]] = {}
    names: dict[str, str] = {}
    for position, column in enumerate(board.columns):
        facts = column.facts
        protocol = json.loads(facts.pop("protocol") or "{}")
        for name, value in protocol.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                rest = json.dumps([name, facts, {**protocol, name: None}], default=str)
                alike.setdefault(rest, {})[position] = float(value)
                names[rest] = name
    return [(names[rest], places) for rest, places in alike.items() if len(set(places.values())) >= 3]


def _against_option(
    section: Section,
    board: Board,
    slug: str,
    option: str,
    places: Mapping[int, float],
    measured: Mapping[Key, pd.DataFrame],
    colors: Mapping[str, str],
) -> list[Chart]:
    """A metric's chart over an option, given the option's value of each of the board's columns it is drawn from."""
    columns = {position: board.columns[position] for position in places}
    metric = next(iter(columns.values())).metric
    labels = [line.setting.label for line in board.lines][:CURVES]
    nothing = pd.DataFrame(columns=["label", "method", "seed", "value"])
    points = pd.concat([measured.get(columns[position].key, nothing).assign(x=x) for position, x in places.items()])
    means = pd.concat([_means(board, position).assign(x=x) for position, x in places.items()], ignore_index=True)
    points, means = points[points["label"].isin(labels)], means[means["label"].isin(labels)]
    if points.empty:
        return []
    published = [
        {"label": f"{name}, published", "method": method, "x": x, "value": cell.value, "printed": cell.text}
        for name, method, cells in _published_lines(board, labels)
        for position, x in places.items()
        if (cell := cells[position]) and not math.isnan(cell.value)
    ]
    theirs = pd.DataFrame(published, columns=["label", "method", "x", "value", "printed"])
    x_axis = _option_axis(option, list(places.values()))
    y_axis = metric_axis(metric, section.outputs[metric], [*points["value"], *theirs["value"]])
    caption = "Dots are seeds, lines means, bars 95% intervals (wide ones cut)."
    caption += " Grey and hollow: published; a bound such as <1 is drawn at its limit." if published else ""
    chart = against_option(points, means, theirs, x_axis, y_axis, colors)
    return [Chart.of(slug, f"{metric} against {option}", caption, chart)]


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
    options = _numbers(boards[0])
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
        points, means, nothing, _option_axis(axis, options), log_axis(label, list(points["value"])), colors
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
    caption = "Means over seeds, a point a method; references left out."
    caption += " The line joins those that no other one beats in both." if len(front) else ""
    chart = scatter(means, x[1], y[1], colors, list(front))
    return [Chart.of(f"{section.slug}-{slug}", f"{y[0]} against {x[0]}", caption, chart)]


def _first_measured(section: Section, boards: list[Board]) -> dict[str, Quantity]:
    """Of each table, the first metric that has values.

    References are left out: they lie far off, and would press the methods into a corner.
    """
    found: dict[str, Quantity] = {}
    for board in boards:
        for position, column in enumerate(board.columns):
            about = section.outputs[column.metric]
            compared = [line for line in board.lines if not line.setting.is_reference]
            values = {line.setting.label: line.cells[position].mean for line in compared}
            known = pd.Series({label: value for label, value in values.items() if value is not None}, dtype=float)
            if len(known) and about["table"] not in found:
                found[about["table"]] = (column.metric, metric_axis(column.metric, about, list(known)), known)
    return found


def _points(section: Section) -> dict[Key, pd.DataFrame]:
    """The values of each column that has any, a line a seed: label, method, seed, value."""
    rows = section.rows[section.rows["value"].notna()]
    places: dict[Key, list[int]] = {}
    for place, key in enumerate(board_keys(rows)):
        places.setdefault(key, []).append(place)
    values = rows[["label", "method", "seed", "value"]]
    return {key: values.iloc[chosen] for key, chosen in places.items()}


def _means(board: Board, position: int) -> pd.DataFrame:
    """A column's measured cells in the board's order: label, method, mean, low, high, published, printed."""
    lines = []
    for line in board.lines:
        cell, published = line.cells[position], line.published[position]
        if cell.mean is not None:
            half = math.nan if cell.half_width is None else cell.half_width
            interval = {"mean": cell.mean, "low": cell.mean - half, "high": cell.mean + half}
            theirs = {
                "published": published.value if published else math.nan,
                "printed": published.text if published else "",
            }
            lines.append({"label": line.setting.label, "method": line.setting.method, **interval, **theirs})
    return pd.DataFrame(lines, columns=["label", "method", "mean", "low", "high", "published", "printed"])


def _published_lines(board: Board, labels: list[str]) -> list[tuple[str, str, list[PublishedCell | None]]]:
    """(name, method, cells) of each published line; one for a method, however many of its labels are drawn."""
    lines = [line for line in board.lines if line.setting.label in labels]
    ours = {line.setting.method: line.published for line in lines if any(line.published)}
    return [
        *((method, method, cells) for method, cells in ours.items()),
        *((name, "", cells) for name, cells in board.others),
    ]


def _numbers(board: Board) -> list[float] | None:
    """The headings of a grid's columns as numbers, where there are at least three different ones."""
    try:
        numbers = [float(column.heading) for column in board.columns]
    except ValueError:
        return None
    return numbers if len(set(numbers)) >= 3 else None


def _option_axis(name: str, options: list[float]) -> Axis:
    """Logarithmic where each value is at least half as large again as the one before."""
    ticks = sorted(set(options))
    growing = all(low > 0 and high >= 1.5 * low for low, high in itertools.pairwise(ticks))
    return Axis(name, log=growing, ticks=tuple(ticks))
