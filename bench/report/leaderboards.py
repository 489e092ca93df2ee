"""Leaderboards: a section's rows laid out as a paper would, with the published numbers beside ours."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from bench.published import STATUSES, comparison, is_of, published_table
from bench.report.columns import DATASET, Column, board_keys, layout
from bench.report.formatting import ABSENT, measurement
from bench.report.records import MISSING, Section, Setting
from bench.statistics.leaderboards import leaderboard
from bench.statistics.verdicts import NOT_COMPARABLE, NOT_RUN, UNDECIDED, verdict

EXPLAINED = (NOT_COMPARABLE, UNDECIDED)
"""Verdicts whose reason stands in a footnote; that of the others follows from the two numbers."""


@dataclass
class Cell:
    """What stands where a setting meets a column; `mean` is None where nothing was measured.

    trial: the trial it leads to, the first seed's. seeds: "2/3" where not all planned seeds were measured. mark:
    letter of the footnote that says why. rivals: how many cells of its column are ranked.
    """

    text: str
    mean: float | None = None
    half_width: float | None = None
    ok: int = 0
    planned: int = 0
    best: bool = False
    rank: float = math.nan
    rivals: int = 0
    trial: str = ""
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


class Value(NamedTuple):
    """A row of the section, as far as cells need it: its BOARD key, and its place among the section's rows."""

    key: tuple[Any, ...]
    place: int
    trial_id: str
    seed: int
    value: float
    reason: str | None


@dataclass
class Measured:
    """A section's frames, indexed by what cells look up.

    lines: (column's key, setting) -> line of the leaderboard. values: (setting, dataset, options, metric) -> rows.
    trials: (setting, dataset, options) -> [(trial_id, status)].
    """

    lines: dict[tuple[Any, str], dict[str, Any]]
    values: dict[tuple[str, ...], list[Value]]
    trials: dict[tuple[str, ...], list[tuple[str, str]]]

    @classmethod
    def of(cls, section: Section) -> Measured:
        measured = leaderboard(section.rows, section.trials)
        lines = zip(board_keys(measured), _lines(measured), strict=True)
        made = cls({(key, str(line["setting"])): line for key, line in lines}, {}, {})
        rows = section.rows
        keys = _tuples(rows[["setting", *DATASET, "metric"]])
        reasons = rows["reason"].astype(object).where(rows["reason"].notna(), None)
        facts = _tuples(rows[["trial_id", "seed", "value"]].assign(reason=reasons))
        for place, (key, board_key, fact) in enumerate(zip(keys, board_keys(rows), facts, strict=True)):
            made.values.setdefault(key, []).append(Value(board_key, place, *fact))
        trials = section.trials
        keys, ends = _tuples(trials[["setting", *DATASET]]), _tuples(trials[["trial_id", "status"]])
        for key, (trial_id, status) in zip(keys, ends, strict=True):
            made.trials.setdefault(key, []).append((trial_id, status))
        return made


def boards(section: Section, published: pd.DataFrame) -> list[Board]:
    """The leaderboards of a section, in the order of the metrics asked for."""
    measured = Measured.of(section)
    table = published_table(published, *section.published)
    made = []
    for slug, title, columns, axis in layout(section):
        board = Board(f"{section.slug}-{slug}", title, axis, len(section.datasets) > 1, columns)
        _fill(board, section, measured, table)
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


def _fill(board: Board, section: Section, measured: Measured, table: pd.DataFrame) -> None:
    datasets = list(dict.fromkeys(column.dataset for column in board.columns))
    candidates = [_candidates(table, column) for column in board.columns]
    for setting in section.settings.values():
        cells, published = [], []
        for column, theirs in zip(board.columns, candidates, strict=True):
            line = measured.lines.get((column.key, setting.key))
            values = measured.values.get((setting.key, *column.dataset, column.metric), [])
            cells.append(_cell(board, setting, line, values, measured.trials.get((setting.key, *column.dataset), [])))
            published.append(_published_cell(board, section, setting, column, line, values, theirs))
        here = [trial for dataset in datasets for trial in measured.trials.get((setting.key, *dataset), [])]
        ok = sum(status == "ok" for _, status in here)
        board.lines.append(Line(setting, cells, published, ok, len(here), math.nan))
    _rank(board)
    board.lines.sort(key=lambda line: (line.setting.is_reference, math.isnan(line.rank), line.rank))
    board.others = _others(board, section, candidates)
    everything = [*(line.published for line in board.lines), *(cells for _, cells in board.others)]
    for position, column in enumerate(board.columns):
        column.has_published = any(cells[position] for cells in everything)


def _rank(board: Board) -> None:
    """Ranks lines: by the mean rank over a grid; where columns are metrics, by the first that has a ranking."""
    rivals = [
        sum(not math.isnan(line.cells[position].rank) for line in board.lines) for position in range(len(board.columns))
    ]
    ranked = [position for position, number in enumerate(rivals) if number]
    for line in board.lines:
        for cell, number in zip(line.cells, rivals, strict=True):
            cell.rivals = number
        ranks = [line.cells[k].rank for k in (ranked if board.is_grid else ranked[:1])]
        known = [rank for rank in ranks if not math.isnan(rank)]
        line.rank = sum(known) / len(known) if known else math.nan


def _cell(
    board: Board,
    setting: Setting,
    line: dict[str, Any] | None,
    values: Sequence[Value],
    trials: Sequence[tuple[str, str]],
) -> Cell:
    """values: of the setting, metric and dataset, whatever their protocol, with or without value."""
    known = [value for value in values if not math.isnan(value.value)]
    if not trials or (line is None and known):
        return Cell("")  # not planned on this dataset, or measured under the protocol of another column
    if line is not None and line["complete"]:
        notes = []
    else:
        reasons = dict.fromkeys(_of_any(setting, value.reason) for value in values if value.reason)
        ended = Counter(status for _, status in trials if status != "ok")
        notes = [*reasons, *(f"{number} of {len(trials)} {status}" for status, number in ended.most_common())]
    if line is None:
        if all(status == MISSING for _, status in trials):
            return Cell(MISSING, planned=len(trials), trial=trials[0][0])
        text = ABSENT if reasons else str(ended.most_common()[0][0]) if ended else ABSENT
        return Cell(text, planned=len(trials), trial=trials[0][0], mark=board.mark(*notes))
    half_width = None if math.isnan(line["half_width"]) else line["half_width"]
    return Cell(
        measurement(line["mean"], half_width),
        mean=line["mean"],
        half_width=half_width,
        ok=line["n_ok"],
        planned=line["n_planned"],
        best=line["best"],
        rank=line["rank"],
        trial=min(known, key=lambda value: value.seed).trial_id,
        seeds="" if line["complete"] else f"{line['n_ok']}/{line['n_planned']}",
        mark=board.mark(*notes),
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
    values: Sequence[Value],
    candidates: Sequence[dict[str, Any]],
) -> PublishedCell | None:
    found = [published for published in candidates if _is_of(published, setting)]
    if not found:
        return None
    if line is None:
        return _shown(board, found[0], NOT_RUN, "there is no number of ours")
    ours = [value for value in values if value.key == column.key and not math.isnan(value.value)]
    (row,) = _lines(section.rows.iloc[[ours[0].place]])
    fair = comparison(found[0], row, section.records[ours[0].trial_id])
    if not fair.comparable:
        return _shown(board, found[0], NOT_COMPARABLE, fair.reason)
    values_of_seeds = [value.value for value in ours]
    word, reason, *_ = verdict(values_of_seeds, int(line["n_planned"]), found[0], column.direction)
    return _shown(board, found[0], word, reason)


def _candidates(table: pd.DataFrame, column: Column) -> list[dict[str, Any]]:
    """The published numbers of a column's metric on its dataset: as the sweep names tables, the best attested first."""
    dataset, options = column.dataset
    ours = json.loads(options)
    rows = table[(table["dataset"] == dataset) & (table["metric"] == column.metric)]
    fitting = [r for r in _lines(rows) if all(ours.get(k) == v for k, v in json.loads(r["dataset_options"]).items())]
    places = {key: place for place, key in enumerate(dict.fromkeys(zip(table["paper"], table["table"], strict=True)))}
    return sorted(fitting, key=lambda row: (places[row["paper"], row["table"]], STATUSES.index(row["status"])))


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


def _others(
    board: Board, section: Section, candidates: Sequence[Sequence[dict[str, Any]]]
) -> list[tuple[str, list[PublishedCell | None]]]:
    ours = section.settings.values()
    found: dict[str, list[PublishedCell | None]] = {}
    for position, theirs in enumerate(candidates):
        for published in theirs:
            if not any(_is_of(published, setting) for setting in ours):
                cells = found.setdefault(published["method_published"], [None] * len(board.columns))
                cells[position] = cells[position] or _shown(board, published, NOT_RUN, "")
    return sorted(found.items())


def _lines(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in line.items()} for line in frame.to_dict("records")]


def _tuples(frame: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """The lines of a frame. From an array of objects they come ten times as fast as from one of texts."""
    return frame.astype(object).itertuples(index=False, name=None)


def _published_text(cell: PublishedCell | None) -> str:
    return "" if cell is None else " ".join(filter(None, [f"{cell.text} ({cell.verdict})", _bracket(cell.mark)]))


def _bracket(mark: str) -> str:
    return f"[{mark}]" if mark else ""
