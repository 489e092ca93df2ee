"""A board as LaTeX that needs booktabs and graphicx: best in bold, published values beside ours, notes below.

A board too wide for a page is set in panels, one too long in several floats.
"""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench.report.columns import Column, meaning, measurement
from bench.report.files import file_name
from bench.report.leaderboards import Board, Cell, Line, PublishedCell
from bench.report.readings import readings
from bench.report.records import Section
from bench.report.tex import escape

LINE_WIDTH = 92
"""Characters of \\footnotesize in the 345 points of an article's line, about."""
SHRINK = 1.1
"""How much wider than the line a panel may be; it is scaled down."""
COLUMN_GAP = 2.5
"""Characters that the space between two columns takes."""
PAGE_LINES = 53
"""Lines of \\footnotesize on a page, less a caption."""
HEADING_WIDTH = 18
"""Characters after which a column's heading is broken."""
STACK = r"\begin{tabular}[b]{@{}r@{}}"


@dataclass(frozen=True)
class Group:
    """Columns that stay together: one of the board, with the published values beside ours. Texts are LaTeX.

    headings: one a column. rows: for each row of the board, one text a column.
    """

    headings: list[str]
    rows: list[list[str]]

    @property
    def width(self) -> float:
        texts = zip(self.headings, *self.rows, strict=True)
        return sum(max(map(_width, column)) + COLUMN_GAP for column in texts)


@dataclass(frozen=True)
class Rows:
    """The names of a board's rows, and the positions of those that a rule sets apart from the ones before."""

    names: list[str]
    rules: set[int]


def latex(section: Section, board: Board) -> str:
    """One or several `table` environments, with caption, label `tab:<slug>` and notes.

    The notes say what ± and bold mean and what is not ranked, how each column was measured, why a value is missing and
    why a published value is not comparable. The preamble needs \\usepackage{booktabs,graphicx}.
    """
    rows, groups, last = _content(board)
    names_width = max(map(_width, rows.names), default=0) + COLUMN_GAP
    pieces: list[tuple[int, str]] = []
    panels = _panels(groups, LINE_WIDTH * SHRINK - names_width, last.width)
    for position, panel in enumerate(panels):
        pieces += _tabulars(board.axis, rows, panel, [last] if position == len(panels) - 1 else [])
    pieces += [(math.ceil(_width(note) / LINE_WIDTH), note) for note in _notes(section, board)]
    return "\n".join(_floats(section, board, pieces))


def _content(board: Board) -> tuple[Rows, list[Group], Group]:
    """The rows' names, a group of columns a column of the board, and the counts of trials."""
    names: list[str] = []
    rules: set[int] = set()
    counts: list[str] = []
    cells: list[list[list[str]]] = []
    beside = [column.has_published and not board.is_grid for column in board.columns]
    kind = None
    for line in board.lines:
        if kind not in (None, line.setting.is_reference):
            rules.add(len(names))
        kind = line.setting.is_reference
        names.append(escape(line.setting.label))
        counts.append(f"{line.ok}/{line.planned}")
        cells.append([_ours_and_theirs(line, position, both) for position, both in enumerate(beside)])
        if board.is_grid and any(line.published):
            common = line.common
            names.append(rf"\quad published{_verdict(common, ', {}') if common else ''}")
            counts.append("")
            cells.append([[_theirs(cell, verdict=common is None)] for cell in line.published])
    if board.others:
        rules.add(len(names))
    for name, published in board.others:
        names.append(f"{escape(name)}, published")
        counts.append("")
        texts = [_theirs(cell, verdict=False) for cell in published]
        cells.append([["", text] if both else [text] for text, both in zip(texts, beside, strict=True)])
    headings = [_headings(board, column) for column in board.columns]
    columns = zip(*cells, strict=True) if cells else ([] for _ in headings)
    groups = [Group(heading, list(rows)) for heading, rows in zip(headings, columns, strict=True)]
    return Rows(names, rules - {0}), groups, Group(["ok/planned"], [[count] for count in counts])


def _headings(board: Board, column: Column) -> list[str]:
    arrow = "" if board.is_grid else column.arrow
    lines = [*_broken("\N{NO-BREAK SPACE}".join(filter(None, [column.heading, arrow]))), *_broken(column.detail)]
    return [_stacked(lines), *(["published"] if column.has_published and not board.is_grid else [])]


def _broken(heading: str) -> list[str]:
    """The heading in lines, broken after spaces and hyphens."""
    lines = textwrap.wrap(heading.replace("-", "- "), HEADING_WIDTH, break_long_words=False)
    return [line.replace("- ", "-") for line in lines]


def _stacked(lines: list[str]) -> str:
    texts = [escape(line) for line in lines]
    return texts[0] if len(texts) == 1 else "".join([STACK, r" \\ ".join(texts), r"\end{tabular}"])


def _ours_and_theirs(line: Line, position: int, both: bool) -> list[str]:
    ours = _ours(line.cells[position])
    return [ours, _theirs(line.published[position], verdict=True)] if both else [ours]


def _ours(cell: Cell) -> str:
    text = rf"\textbf{{{escape(cell.text)}}}" if cell.best else escape(cell.text)
    return text + (f" ({cell.seeds})" if cell.seeds else "") + _mark(cell.mark)


def _theirs(cell: PublishedCell | None, *, verdict: bool) -> str:
    return "" if cell is None else escape(cell.text) + (_verdict(cell, r" {{\scriptsize ({})}}") if verdict else "")


def _verdict(cell: PublishedCell, words: str) -> str:
    """The verdict, or where a note gives it with its reason the note's mark."""
    return _mark(cell.mark) or words.format(escape(cell.verdict))


def _mark(mark: str) -> str:
    return rf"\textsuperscript{{{mark}}}" if mark else ""


def _panels(groups: list[Group], width: float, last: float) -> list[list[Group]]:
    """The groups in as few panels as hold them and, in the last, one more; evenly filled, and at least one panel."""
    number = math.ceil((last + sum(group.width for group in groups)) / max(width, 1))
    size = max(math.ceil(len(groups) / number), 1)
    return [groups[start : start + size] for start in range(0, len(groups), size)] or [[]]


def _tabulars(axis: str, rows: Rows, groups: list[Group], last: list[Group]) -> Iterator[tuple[int, str]]:
    """(lines it takes, LaTeX) of a panel's tabular; of several where it has more rows than a page has lines.

    axis: what varies along `groups`, set above them.
    """
    spanned = sum(len(group.headings) for group in groups)
    headings = list(itertools.chain.from_iterable(group.headings for group in [*groups, *last]))
    head = [_row("method", headings)]
    if axis and spanned:
        spanner = [rf"\multicolumn{{{spanned}}}{{c}}{{{escape(axis)}}}", *("" for _ in last)]
        head = [_row("", spanner) + rf" \cmidrule(lr){{2-{1 + spanned}}}", *head]
    size = PAGE_LINES - 10
    for start in range(0, max(len(rows.names), 1), size):
        body = []
        for position in range(start, min(start + size, len(rows.names))):
            if position in rows.rules and position > start:
                body.append(r"\midrule")
            texts = itertools.chain.from_iterable(group.rows[position] for group in [*groups, *last])
            body.append(_row(rows.names[position], texts))
        tabular = [
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * len(headings)}}}",
            r"\toprule",
            *head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
        ]
        yield len(body) + len(head) + 3, "\n".join(tabular)


def _row(name: str, texts: Iterable[str]) -> str:
    return " & ".join([name, *texts]) + r" \\"


def _notes(section: Section, board: Board) -> list[str]:
    """What stands under the table, a paragraph each."""
    verdicts = {cell.mark: cell.verdict for cell in _published(board) if cell.mark}
    notes = [escape(sentence) for sentence in readings(board)]
    groups: dict[str, dict[str, str]] = {}
    for column in board.columns:
        name = column.metric if board.is_grid else " ".join(filter(None, [column.heading, column.detail]))
        groups.setdefault(measurement(column, section), {})[name] = meaning(column, section)
    for how, meanings in groups.items():
        texts = [f"\\emph{{{escape(name)}}}: {escape(text)}." for name, text in meanings.items()]
        notes.append(" ".join([*texts, f"Measured with {escape(how)}." if how else ""]).strip())
    for text, letter in board.notes.items():
        prefix = f"{escape(verdicts[letter])}: " if letter in verdicts else ""
        notes.append(f"{_mark(letter)}~{prefix}{escape(text)}.")
    sources = dict.fromkeys(re.sub(r", “.*” ", " ", cell.source) for cell in _published(board))
    notes += [f"Published values: {escape('; '.join(sources))}."] if sources else []
    return notes


def _published(board: Board) -> Iterable[PublishedCell]:
    rows = [*(line.published for line in board.lines), *(cells for _, cells in board.others)]
    return filter(None, itertools.chain.from_iterable(rows))


def _floats(section: Section, board: Board, pieces: list[tuple[int, str]]) -> Iterator[str]:
    """The pieces, with as many in each float as a page holds."""
    pages: list[list[str]] = [[]]
    taken = 0
    for lines, piece in pieces:
        if pages[-1] and taken + lines > PAGE_LINES:
            pages.append([])
            taken = 0
        pages[-1].append(piece)
        taken += lines
    title = escape(f"{section.title}, {section.scale} scale: {board.title}")
    for position, page in enumerate(pages):
        first = position == 0
        yield "\n".join(
            [
                *(["% needs \\usepackage{booktabs,graphicx}"] if first else [r"\clearpage"]),
                r"\begin{table}[tbp]",
                r"\centering",
                *([] if first else [r"\addtocounter{table}{-1}"]),
                rf"\caption{{{title}{'.' if first else ' (continued).'}}}\smallskip",
                *([rf"\label{{tab:{file_name(board.slug)}}}"] if first else []),
                r"\footnotesize",
                *(f"{piece}\\par\\medskip" if _is_table(piece) else f"\\raggedright {piece}\\par" for piece in page),
                r"\end{table}",
                "",
            ]
        )


def _is_table(piece: str) -> bool:
    return piece.startswith(r"\resizebox")


def _width(tex: str) -> int:
    """Characters that a text takes in print, about; of stacked lines, the longest."""
    lines = tex.removeprefix(STACK).split(r"\\")
    return max(len(re.sub(r"\\[A-Za-z]+ ?|[{}$\\]", "", line).strip()) for line in lines)
