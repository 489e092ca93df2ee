"""The tables as Markdown, CSV, LaTeX and Parquet, and the charts as SVG, PNG and PDF, in files beside the pages."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import vl_convert
from pyarrow import csv, parquet

from bench.report.cells import CELL_SCHEMA, cell_table
from bench.report.charts import Chart
from bench.report.files import FORMULA, SHOWN, attempt, file_name
from bench.report.latex import latex
from bench.report.leaderboards import Board, flatten
from bench.report.readings import readings
from bench.report.records import Section

PNG_SCALE = 2.0


def export_tables(sections: Sequence[tuple[Section, Sequence[Board]]], folder: Path) -> list[str]:
    """Writes tables/<board>.{md,csv,tex} and leaderboard.parquet; returns a sentence a file that was not written.

    A CSV file holds the board's lines of leaderboard.parquet, see `bench.report.cells`.
    """
    problems: list[str] = []
    tables = [CELL_SCHEMA.empty_table()]
    for section, boards in sections:
        for board in boards:
            table = cell_table(section, board)
            tables.append(table)
            stem = f"tables/{file_name(board.slug)}"
            problems += attempt(folder / f"{stem}.csv", partial(comma_separated, table))
            problems += attempt(folder / f"{stem}.md", partial(_encoded, markdown, board))
            problems += attempt(folder / f"{stem}.tex", partial(_encoded, latex, section, board))
    return problems + attempt(folder / "leaderboard.parquet", partial(_parquet, pa.concat_tables(tables)))


def export_chart(chart: Chart, folder: Path) -> list[str]:
    """Writes charts/<chart>.{svg,png,pdf}; returns a sentence a file that was not written.

    Some 110 ms; threads do not help, vl_convert holds the interpreter's lock. Vega draws the SVG, on a white ground;
    the others are made from it, which is several times as fast.
    """
    stem = folder / "charts" / file_name(chart.slug)
    try:
        svg = str(vl_convert.vegalite_to_svg({**chart.spec, "title": chart.title}))
    except Exception as error:
        return [f"{stem.name}.svg, .png and .pdf could not be written: {type(error).__name__}: {error}"]
    return [
        *attempt(stem.with_name(f"{stem.name}.svg"), svg.encode),
        *attempt(stem.with_name(f"{stem.name}.png"), lambda: bytes(vl_convert.svg_to_png(svg, scale=PNG_SCALE))),
        *attempt(stem.with_name(f"{stem.name}.pdf"), lambda: bytes(vl_convert.svg_to_pdf(svg))),
    ]


def markdown(board: Board) -> str:
    """A pipe table; the best values bold. Below it, what its marks mean."""
    heading, *rows = [
        [_escape_markdown(name), *(_markdown_cell(text) for text in texts)] for name, *texts in flatten(board)
    ]
    rule = ["---", *["---:"] * (len(heading) - 1)]
    lines = ["| " + " | ".join(row) + " |" for row in (heading, rule, *rows)]
    notes = [_escape_markdown(sentence) for sentence in readings(board)]
    notes += [f"[{letter}] {_escape_markdown(note)}" for note, letter in board.notes.items()]
    return "\n".join([f"**{_escape_markdown(board.title)}**", "", *lines, "", *(f"{note}  " for note in notes)]) + "\n"


def comma_separated(table: pa.Table) -> bytes:
    """A line a cell, for programs: every digit, empty for null, no text that is a formula."""
    for place, column in enumerate(table.schema):
        if column.type == pa.string():
            table = table.set_column(place, column, pc.replace_substring_regex(table[place], FORMULA, SHOWN))
    buffer = io.BytesIO()
    csv.write_csv(table, buffer)
    return buffer.getvalue()


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _encoded(render: Callable[..., str], *arguments: Section | Board) -> bytes:
    return render(*arguments).encode()


def _markdown_cell(text: str) -> str:
    return f"**{_escape_markdown(text[1:-1])}**" if _is_best(text) else _escape_markdown(text)


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\|*_`<>\[\]&~$])", r"\\\1", " ".join(text.split()))


def _is_best(text: str) -> bool:
    return len(text) > 2 and text[0] == text[-1] == "*"
