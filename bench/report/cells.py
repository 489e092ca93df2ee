"""The cells of the leaderboards as one table for programs: what leaderboard.parquet and the CSV files hold."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa

from bench.report.leaderboards import Board, Cell, Line, PublishedCell
from bench.report.records import Section

CELL_SCHEMA = pa.schema(
    [
        # where the cell stands
        ("sweep", pa.string()),
        ("scale", pa.string()),
        ("table", pa.string()),
        ("board", pa.string()),
        # what was measured, and how: bench.statistics.leaderboards.BOARD
        ("dataset", pa.string()),
        ("dataset_options", pa.string()),
        ("dataset_version", pa.int32()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("metric_version", pa.int32()),
        ("protocol", pa.string()),
        ("n_samples", pa.int64()),
        # of what
        ("method", pa.string()),
        ("setting", pa.string()),
        ("params", pa.string()),
        ("budget", pa.string()),
        # ours
        ("direction", pa.string()),
        ("mean", pa.float64()),
        ("half_width", pa.float64()),
        ("n_ok", pa.int32()),
        ("n_planned", pa.int32()),
        ("rank", pa.int32()),
        ("best", pa.bool_()),
        ("note", pa.string()),
        # theirs
        ("published", pa.float64()),
        ("published_bound", pa.string()),
        ("published_text", pa.string()),
        ("published_source", pa.string()),
        ("verdict", pa.string()),
        ("verdict_reason", pa.string()),
    ]
)
"""A line a cell: where a setting (or a published method) meets a column of a board. Null is what there is not.

sweep, scale, table, board: table is that of the metric (generation, transport …); board names the files of
    tables/.
dataset … n_samples: the column's key; values are comparable only where all of it agrees. dataset_options and protocol
    are JSON. The versions, the split, the protocol and n_samples are null where nothing could be measured.
method, setting, params, budget: setting is the method's name with what tells its settings apart; params and budget are
    JSON. For a published method that was not run, method is null and setting its name as printed.
direction: "min" or "max", whichever is better; null where neither is.
mean, half_width: over the seeds, in the metric's unit; the 95% Student-t interval is mean ± half_width, and one seed
    has none.
n_ok, n_planned: seeds measured, and seeds planned.
rank: among the complete cells of the column that are ranked, 1 is best. best: the best, or not to be told from it.
note: why a cell has no value, or fewer seeds than planned.
published, published_bound, published_text, published_source: the paper's number; "<" or ">" where it is a bound and
    "~" where it is approximate; as printed; where it was read.
verdict, verdict_reason: of ours on theirs, see bench.statistics.verdicts.
"""


def cell_table(section: Section, board: Board) -> pa.Table:
    """The cells of a board, in its order, in CELL_SCHEMA. Cells neither planned nor published are left out."""
    notes = {letter: note for note, letter in board.notes.items()}
    columns = [
        {
            "sweep": section.sweep,
            "scale": section.scale,
            "table": section.outputs[column.metric]["table"],
            "board": board.slug,
            **{name: _plain(value) for name, value in column.facts.items()},
            "direction": column.direction or None,
        }
        for column in board.columns
    ]
    lines = [
        {**column, **_ours(line, cell, notes), **_theirs(published)}
        for line in board.lines
        for column, cell, published in zip(columns, line.cells, line.published, strict=True)
        if cell.planned or published
    ]
    lines += [
        {**column, "setting": name, **_theirs(published)}
        for name, cells in board.others
        for column, published in zip(columns, cells, strict=True)
        if published
    ]
    return pa.Table.from_pylist(lines, schema=CELL_SCHEMA)


def _ours(line: Line, cell: Cell, notes: dict[str, str]) -> dict[str, Any]:
    return {
        "method": line.setting.method,
        "setting": line.setting.label,
        "params": line.setting.params,
        "budget": line.setting.budget,
        "mean": cell.mean,
        "half_width": cell.half_width,
        "n_ok": cell.ok,
        "n_planned": cell.planned,
        "rank": None if math.isnan(cell.rank) else int(cell.rank),
        "best": cell.best,
        "note": "; ".join(notes[letter] for letter in cell.mark.split(",") if letter) or None,
    }


def _theirs(published: PublishedCell | None) -> dict[str, Any]:
    if published is None:
        return {}
    return {
        "published": None if math.isnan(published.value) else published.value,
        "published_bound": published.bound or None,
        "published_text": published.text,
        "published_source": published.source,
        "verdict": published.verdict,
        "verdict_reason": published.reason or None,
    }


def _plain(value: Any) -> Any:
    """Whole numbers that pandas made floats of, because others of their column are missing."""
    return int(value) if isinstance(value, float) else value
