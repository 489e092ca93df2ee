"""Leaderboards: a section's rows laid out as a paper would, with the published numbers beside ours."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from bench.published import STATUSES, comparison, is_of, published_table
from bench.report.columns import DATASET, Column, board_keys, layout
from bench.report.formatting import ABSENT, measurement
from bench.report.records import MISSING, Section, Setting
from bench.statistics.intervals import Interval
from bench.statistics.leaderboards import leaderboard
from bench.statistics.verdicts import verdict

NOT_COMPARED = "not comparable"
EXPLAINED = (NOT_COMPARED, "undecided")
"""Verdicts whose reason stands in a footnote; that of the others follows from the two numbers."""


@dataclass
class Cell:
    """What stands where a setting meets a column; `mean` is None where nothing was measured.

    seeds: "2/3" where not all planned seeds were measured. mark: letter of the footnote that says why.
    """

    text: str
    mean: float | None = None
    half_width: float | None = None
    ok: int = 0
    planned: int = 0
    best: bool = False
    rank: float = math.nan
    anchor: str = ""
    seeds: str = ""
    mark: str = ""


@dataclass
class PublishedCell:
    """A published number: as printed, with its verdict and reason, and where it was read.

    bound: "<", ">" or "~" where the paper gives no exact value, else empty.
    """

    text: str
    value: float
    bound: str
    verdict: str
    reason: str
    source: str
    mark: str


@dataclass
class Line:
    """A setting's line: its cells, the published ones beside them, and its trials ok and planned."""

    setting: Setting
    cells: list[Cell]
    published: list[PublishedCell | None]
    ok: int
    planned: int
    rank: float

    @property
    def common(self) -> PublishedCell | None:
        """The published cell that speaks for all, where verdict and reason are the same in all of them."""
        cells = [cell for cell in self.published if cell]
        return cells[0] if cells and len({(cell.verdict, cell.mark) for cell in cells}) == 1 else None


@dataclass
class Board:
    """A table of the report. `axis` names the option that varies along the columns of a grid.

    others: published methods that were not run here, as (name, cells). notes: text -> letter of the footnote.
    """

    slug: str
    title: str
    axis: str
    is_grid: bool
    columns: list[Column]
    lines: list[Line] = field(default_factory=list)
    others: list[tuple[str, list[PublishedCell | None]]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    def mark(self, *notes: str) -> str:
        """The letters of the footnotes with these texts, made where there are none yet: a … z, aa …"""
        for note in notes:
            number = len(self.notes)
            letters = (chr(96 + number // 26) if number >= 26 else "") + chr(97 + number % 26)
            self.notes.setdefault(note, letters)
        return ",".join(self.notes[note] for note in notes)


def boards(section: Section, published: pd.DataFrame) -> list[Board]:
    """The leaderboards of a section, in the order of the metrics asked for."""
    measured = leaderboard(section.rows, section.trials)
    lines = zip(board_keys(measured), _lines(measured), strict=True)
    results = {(key, str(line["setting"])): line for key, line in lines}
    table = published_table(published, section.published or "")
    made = []
    for slug, title, columns, axis in layout(section):
        board = Board(f"{section.slug}-{slug}", title, axis, len(section.datasets) > 1, columns)
        _fill(board, section, results, table)
        made.append(board)
    return made


def flatten(board: Board) -> list[list[str]]:
    """The board as rows of texts, the heading first: what the exports write. The best values are wrapped in *…*."""
    heading = ["method"]
    for column in board.columns:
        heading.append(" ".join(filter(None, [board.axis, column.heading, column.arrow, column.detail])))
        heading += ["published"] if column.has_published and not board.is_grid else []
    rows = [[*heading, "ok/planned"]]
    for line in board.lines:
        texts = [line.setting.label]
        for column, cell, other in zip(board.columns, line.cells, line.published, strict=True):
            text = " ".join(filter(None, [cell.text, f"({cell.seeds})" if cell.seeds else "", _bracket(cell.mark)]))
            texts.append(f"*{text}*" if cell.best else text)
            texts += [_published_text(other)] if column.has_published and not board.is_grid else []
        rows.append([*texts, f"{line.ok}/{line.planned}"])
        if board.is_grid and any(line.published):
            rows.append([f"{line.setting.label}, published", *map(_published_text, line.published), ""])
    for name, cells in board.others:
        texts = [f"{name}, published"]
        for column, other in zip(board.columns, cells, strict=True):
            texts += [] if board.is_grid else [""]
            texts += [_published_text(other)] if board.is_grid or column.has_published else []
        rows.append([*texts, ""])
    return rows


def _fill(
    board: Board, section: Section, results: Mapping[tuple[Any, str], dict[str, Any]], table: pd.DataFrame
) -> None:
    datasets = {column.dataset for column in board.columns}
    measured = dict(list(section.rows.groupby(["setting", *DATASET, "metric"])))
    for setting in section.settings.values():
        trials = section.trials[section.trials["setting"] == setting.key]
        cells, published = [], []
        for column in board.columns:
            line = results.get((column.key, setting.key))
            rows = measured.get((setting.key, *column.dataset, column.metric), section.rows.iloc[:0])
            cells.append(_cell(board, setting, line, rows, _on_dataset(trials, column)))
            published.append(_published_cell(board, section, setting, column, line, rows, table))
        here = [key in datasets for key in zip(trials["dataset"], trials["dataset_options"], strict=True)]
        ok = int((trials.loc[here, "status"] == "ok").sum())
        board.lines.append(Line(setting, cells, published, ok, sum(here), math.nan))
    _rank(board)
    board.lines.sort(key=lambda line: (line.setting.is_reference, math.isnan(line.rank), line.rank))
    board.others = _others(board, section, table)
    everything = [*(line.published for line in board.lines), *(cells for _, cells in board.others)]
    for position, column in enumerate(board.columns):
        column.has_published = any(cells[position] for cells in everything)


def _rank(board: Board) -> None:
    """Ranks lines: by the mean rank over a grid; where columns are metrics, by the first that has a ranking."""
    ranked = [k for k in range(len(board.columns)) if not all(math.isnan(line.cells[k].rank) for line in board.lines)]
    for line in board.lines:
        ranks = [line.cells[k].rank for k in (ranked if board.is_grid else ranked[:1])]
        known = [rank for rank in ranks if not math.isnan(rank)]
        line.rank = sum(known) / len(known) if known else math.nan


def _on_dataset(frame: pd.DataFrame, column: Column) -> pd.DataFrame:
    dataset, options = column.dataset
    return frame[(frame["dataset"] == dataset) & (frame["dataset_options"] == options)]


def _cell(
    board: Board, setting: Setting, line: dict[str, Any] | None, rows: pd.DataFrame, trials: pd.DataFrame
) -> Cell:
    """rows: of the setting, metric and dataset, whatever their protocol, with or without value."""
    if trials.empty or (line is None and rows["value"].notna().any()):
        return Cell("")  # not planned on this dataset, or measured under the protocol of another column
    reasons = [_of_any(setting, reason) for reason in rows["reason"].dropna().drop_duplicates()]
    ended = trials.loc[trials["status"] != "ok", "status"].value_counts()
    notes = [*reasons, *(f"{number} of {len(trials)} {status}" for status, number in ended.items())]
    if line is None:
        if (trials["status"] == MISSING).all():
            return Cell(MISSING, planned=len(trials), anchor=trials["anchor"].iloc[0])
        text = ABSENT if reasons else str(ended.index[0]) if len(ended) else ABSENT
        return Cell(text, planned=len(trials), anchor=trials["anchor"].iloc[0], mark=board.mark(*notes))
    half_width = None if math.isnan(line["half_width"]) else line["half_width"]
    return Cell(
        measurement(line["mean"], half_width),
        mean=line["mean"],
        half_width=half_width,
        ok=line["n_ok"],
        planned=line["n_planned"],
        best=line["best"],
        rank=line["rank"],
        anchor=rows[rows["value"].notna()].sort_values("seed")["anchor"].iloc[0],
        seeds="" if line["complete"] else f"{line['n_ok']}/{line['n_planned']}",
        mark="" if line["complete"] else board.mark(*notes),
    )


def _of_any(setting: Setting, reason: str) -> str:
    """A reason that begins with the method's name, said of any method, so that methods share the footnote."""
    return "the method" + reason.removeprefix(setting.method) if reason.startswith(f"{setting.method} ") else reason


def _published_cell(
    board: Board,
    section: Section,
    setting: Setting,
    column: Column,
    line: dict[str, Any] | None,
    rows: pd.DataFrame,
    table: pd.DataFrame,
) -> PublishedCell | None:
    found = [published for published in _candidates(table, column) if _is_of(published, setting)]
    if not found:
        return None
    if line is None:
        return _shown(board, found[0], NOT_COMPARED, "there is no number of ours to compare with")
    row = next(r for key, r in zip(board_keys(rows), _lines(rows), strict=True) if key == column.key)
    fair = comparison(found[0], row, section.records[row["trial_id"]])
    if not fair.comparable:
        return _shown(board, found[0], NOT_COMPARED, fair.reason)
    half_width = None if math.isnan(line["half_width"]) else line["half_width"]
    return _shown(board, found[0], *verdict(Interval(line["mean"], half_width), found[0], column.direction))


def _candidates(table: pd.DataFrame, column: Column) -> list[dict[str, Any]]:
    """The published numbers of a column's metric on its dataset, the best attested first."""
    dataset, options = column.dataset
    ours = json.loads(options)
    rows = table[(table["dataset"] == dataset) & (table["metric"] == column.metric)]
    fitting = [r for r in _lines(rows) if all(ours.get(k) == v for k, v in json.loads(r["dataset_options"]).items())]
    return sorted(fitting, key=lambda row: STATUSES.index(row["status"]))


def _is_of(published: Mapping[str, Any], setting: Setting) -> bool:
    return is_of(published, setting.method, json.loads(setting.params))


def _shown(board: Board, published: Mapping[str, Any], word: str, reason: str) -> PublishedCell:
    uncertainty = "" if pd.isna(published["uncertainty"]) else f" ± {published['uncertainty']:g}"
    source = f"{published['title']}, {published['table_published']}, “{published['method_published']}”"
    return PublishedCell(
        text=published["value_published"] + uncertainty,
        value=float(published["value"]),
        bound=published["bound"],
        verdict=word,
        reason=reason,
        source=f"{source} ({published['source']}; {published['status']})",
        mark=board.mark(reason) if word in EXPLAINED else "",
    )


def _others(board: Board, section: Section, table: pd.DataFrame) -> list[tuple[str, list[PublishedCell | None]]]:
    ours = section.settings.values()
    found: dict[str, list[PublishedCell | None]] = {}
    for position, column in enumerate(board.columns):
        for published in _candidates(table, column):
            if not any(_is_of(published, setting) for setting in ours):
                cells = found.setdefault(published["method_published"], [None] * len(board.columns))
                cells[position] = cells[position] or _shown(board, published, "not run here", "")
    return sorted(found.items())


def _lines(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in line.items()} for line in frame.to_dict("records")]


def _published_text(cell: PublishedCell | None) -> str:
    return "" if cell is None else " ".join(filter(None, [f"{cell.text} ({cell.verdict})", _bracket(cell.mark)]))


def _bracket(mark: str) -> str:
    return f"[{mark}]" if mark else ""
