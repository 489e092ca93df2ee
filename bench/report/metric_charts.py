"""Charts of metrics: over settings with every seed, or over a number that varies along a leaderboard's columns."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from bench.report.charts import Axis, Chart, against_option, metric_axis, seeds_by_setting
from bench.report.columns import board_keys
from bench.report.leaderboards import Board, PublishedCell
from bench.report.records import Section

CHARTS = 12
"""Of a section's metrics, how many have a chart at all; the tables have the rest."""
OPEN_CHARTS = 2
"""Of a board's metrics, how many have a chart that is seen at once."""
LINES, CURVES = 40, 16
"""Settings in a chart that has a line for each, one below the other or as curves: the leading ones."""
AT_LIMIT = "; a bound such as <1 is drawn at its limit"
"""Of published values in a caption."""
Key = tuple[Any, ...]
"""A column's BOARD key."""
Drawing = Callable[[], Chart]
"""Makes a chart when it is called: most are not worth their time, as they would be left out."""


def metric_charts(section: Section, boards: list[Board], colors: Mapping[str, str]) -> list[Chart]:
    """The leading charts of a section's metrics: those that are seen at once, then those that are folded away."""
    measured = _points(section)
    planned = [_drawings(section, board, measured, colors) for board in boards]
    seen = [drawing for drawings in planned for drawing in drawings[:OPEN_CHARTS]]
    folded = [drawing for drawings in planned for drawing in drawings[OPEN_CHARTS:]]
    made = [drawing() for drawing in seen[:CHARTS]]
    return made + [replace(drawing(), folded=True) for drawing in folded[: CHARTS - len(made)]]


def _drawings(
    section: Section, board: Board, measured: Mapping[Key, pd.DataFrame], colors: Mapping[str, str]
) -> list[Drawing]:
    options = numbers(board) if board.is_grid else None
    curves = [(board.axis, dict(enumerate(options)))] if options else _protocol_curves(board)
    made: list[Drawing] = []
    for position, column in enumerate(board.columns):
        for option, places in curves:
            if position == min(places) and any(board.columns[place].key in measured for place in places):
                slug = board.slug if options else f"{board.slug}-{column.metric}-{option}-{position}"
                made.append(partial(_against_option, section, board, slug, option, places, measured, colors))
        if any(position in places for _, places in curves):
            continue
        means = _means(board, position)
        if len(means) > 1:  # else there is nothing to compare; the table says it
            made.append(partial(_over_settings, section, board, position, means, measured[column.key], colors))
    return made


def _over_settings(
    section: Section, board: Board, position: int, means: pd.DataFrame, points: pd.DataFrame, colors: Mapping[str, str]
) -> Chart:
    """A column's chart over settings. means: of `_means`, of the column; points: its values, a line a seed."""
    column = board.columns[position]
    shown, left_out = means.head(LINES), len(means) - LINES
    points = points[points["label"].isin(shown["label"])]
    heading = f"{column.metric}, {column.heading}" if board.is_grid else column.metric
    title = " · ".join(filter(None, [heading, column.detail]))
    axis = metric_axis("", section.outputs[column.metric], list(points["value"]))
    caption = "Dots are seeds, ticks means, bars 95% intervals (wide ones cut)."
    if shown["published"].notna().any():
        caption += f" Grey diamonds are published values{AT_LIMIT}."
    caption += f" The table has {left_out} more settings." if left_out > 0 else ""
    return Chart.of(f"{board.slug}-{position}", title, caption, seeds_by_setting(points, shown, axis, colors))


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
) -> Chart:
    """A metric's chart over an option, given the option's value of each of the board's columns it is drawn from."""
    columns = {position: board.columns[position] for position in places}
    metric = next(iter(columns.values())).metric
    labels = [line.setting.label for line in board.lines][:CURVES]
    nothing = pd.DataFrame(columns=["label", "method", "seed", "value"])
    points = pd.concat([measured.get(columns[position].key, nothing).assign(x=x) for position, x in places.items()])
    means = pd.concat([_means(board, position).assign(x=x) for position, x in places.items()], ignore_index=True)
    points, means = points[points["label"].isin(labels)], means[means["label"].isin(labels)]
    published = [
        {"label": f"{name}, published", "method": method, "x": x, "value": cell.value, "printed": cell.text}
        for name, method, cells in _published_lines(board, labels)
        for position, x in places.items()
        if (cell := cells[position]) and not math.isnan(cell.value)
    ]
    theirs = pd.DataFrame(published, columns=["label", "method", "x", "value", "printed"])
    x_axis = option_axis(option, list(places.values()))
    y_axis = metric_axis(metric, section.outputs[metric], [*points["value"], *theirs["value"]])
    caption = "Dots are seeds, lines means, bars 95% intervals (wide ones cut)."
    caption += f" Grey and hollow: published{AT_LIMIT}." if published else ""
    chart = against_option(points, means, theirs, x_axis, y_axis, colors)
    return Chart.of(slug, f"{metric} against {option}", caption, chart)


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


def numbers(board: Board) -> list[float] | None:
    """The headings of a grid's columns as numbers, where there are at least three different ones."""
    try:
        numbers = [float(column.heading) for column in board.columns]
    except ValueError:
        return None
    return numbers if len(set(numbers)) >= 3 else None


def option_axis(name: str, options: list[float]) -> Axis:
    """Logarithmic where each value is at least half as large again as the one before."""
    ticks = sorted(set(options))
    growing = all(low > 0 and high >= 1.5 * low for low, high in itertools.pairwise(ticks))
    return Axis(name, log=growing, ticks=tuple(ticks))
