"""The numbers by which a section's methods are compared over datasets: of each table the first metric."""

from __future__ import annotations

import pandas as pd

from bench.report.columns import board_keys
from bench.report.leaderboards import Board
from bench.report.records import Section
from bench.statistics.leaderboards import BOARD


def headline(section: Section, boards: list[Board], settings: pd.DataFrame) -> pd.DataFrame:
    """Of each table the measured cells of its first metric that has a direction, references left out.

    Of a metric measured in several ways on a dataset and split, the first way counts.

    settings: as `settings_frame` gives them.

    Returns:
        Lines as of a leaderboard (BOARD, setting, mean, half_width, n_ok, complete, direction), with table, where (the
        dataset in words), label and method, in the order of the tables.
    """
    cells = _cells(boards, settings)
    columns = cells[cells["direction"].isin(["min", "max"])][BOARD].drop_duplicates()
    columns = columns.drop_duplicates(["dataset", "dataset_options", "metric", "split"])
    columns = columns.assign(table=columns["metric"].map(lambda metric: section.outputs[metric]["table"]))
    order = {metric: place for place, metric in enumerate(section.outputs)}
    first = columns.assign(place=columns["metric"].map(order)).sort_values("place", kind="stable")
    first = first[first["metric"] == first.groupby("table")["metric"].transform("first")]
    where = section.trials[["dataset", "dataset_options", "where"]].drop_duplicates()
    return first.drop(columns="place").merge(where, on=["dataset", "dataset_options"]).merge(cells, on=BOARD)


def values_of(section: Section, cells: pd.DataFrame) -> pd.DataFrame:
    """The values behind cells that have a `task`, a line a seed: task, setting, seed, value, direction.

    Of a seed that ran twice, under records that differ, the later value.
    """
    pairs = zip(board_keys(cells), cells["setting"], strict=True)
    tasks = dict(zip(pairs, cells["task"], strict=True))
    rows = section.rows[section.rows["metric"].isin(cells["metric"]) & section.rows["value"].notna()]
    of_rows = [tasks.get(pair) for pair in zip(board_keys(rows), rows["setting"], strict=True)]
    values = rows.assign(task=pd.Series(of_rows, index=rows.index, dtype=object))
    found = values.dropna(subset=["task"])[["task", "setting", "seed", "value", "direction"]]
    return found.drop_duplicates(["task", "setting", "seed"], keep="last")


def _cells(boards: list[Board], settings: pd.DataFrame) -> pd.DataFrame:
    """The boards' measured cells as lines of a leaderboard with label and method, references left out."""
    lines = [
        (*column.key, line.setting.key, cell.mean, cell.half_width, cell.ok, cell.ok >= cell.planned, column.direction)
        for board in boards
        for position, column in enumerate(board.columns)
        for line in board.lines
        if (cell := line.cells[position]).mean is not None
    ]
    names = [*BOARD, "setting", "mean", "half_width", "n_ok", "complete", "direction"]
    cells = pd.DataFrame(lines, columns=names).astype({"half_width": float, "complete": bool})
    return cells.merge(settings[["setting", "label", "method"]], on="setting")
