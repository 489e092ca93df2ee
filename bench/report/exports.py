"""The tables as Markdown, CSV and LaTeX, and the charts as SVG and PNG, in files beside the page."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import vl_convert

from bench.report.charts import Chart
from bench.report.leaderboards import Board, flatten

PNG_SCALE = 2.0
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": r"$-$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "—": "---",
}
SUPERSCRIPT = re.compile("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")
PLAIN = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def export_tables(boards: list[Board], folder: Path) -> list[str]:
    """Writes tables/<board>.{md,csv,tex}; returns a sentence for each file that could not be written."""
    writers: dict[str, Callable[[Board], str]] = {"md": markdown, "csv": comma_separated, "tex": latex}
    problems = []
    for board in boards:
        for suffix, render in writers.items():
            problems += _attempt(folder / "tables" / f"{file_name(board.slug)}.{suffix}", _text(render, board))
    return problems


def export_charts(charts: list[Chart], folder: Path) -> list[str]:
    """Writes charts/<chart>.{svg,png}; returns a sentence for each file that could not be written."""
    problems = []
    for chart in charts:
        path = folder / "charts" / file_name(chart.slug)
        problems += _attempt(path.with_name(f"{path.name}.svg"), _svg(chart))
        problems += _attempt(path.with_name(f"{path.name}.png"), _png(chart))
    return problems


def file_name(slug: str) -> str:
    """The slug with nothing in it that means something to a file system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", slug).strip(".-") or "unnamed"


def markdown(board: Board) -> str:
    """A pipe table; the best values bold."""
    heading, *rows = [[_markdown_cell(text) for text in row] for row in flatten(board)]
    rule = ["---", *["---:"] * (len(heading) - 1)]
    lines = ["| " + " | ".join(row) + " |" for row in (heading, rule, *rows)]
    notes = [f"[{letter}] {_escape_markdown(note)}" for note, letter in board.notes.items()]
    return "\n".join([f"**{_escape_markdown(board.title)}**", "", *lines, "", *(f"{note}  " for note in notes)]) + "\n"


def latex(board: Board) -> str:
    """A booktabs tabular; the best values bold."""
    heading, *rows = [[_latex_cell(text) for text in row] for row in flatten(board)]
    lines = [
        f"% {board.title}; needs \\usepackage{{booktabs}}",
        rf"\begin{{tabular}}{{l{'r' * (len(heading) - 1)}}}",
        r"\toprule",
        " & ".join(heading) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(f"% [{letter}] {' '.join(note.split())}" for note, letter in board.notes.items()),
    ]
    return "\n".join(lines) + "\n"


def comma_separated(board: Board) -> str:
    """A line a cell, for programs: full precision, the column's key, and the published number with its verdict."""
    buffer = io.StringIO()
    names = [
        "method",
        "setting",
        "params",
        "budget",
        *board.columns[0].facts,
        "direction",
        "mean",
        "half_width",
        "n_ok",
    ]
    names += ["n_planned", "best", "note", "published", "published_source", "verdict", "verdict_reason"]
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    for line in board.lines:
        for column, cell, published in zip(board.columns, line.cells, line.published, strict=True):
            ours = {
                "method": line.setting.method,
                "setting": line.setting.label,
                "params": line.setting.params,
                "budget": line.setting.budget,
                "direction": column.direction,
                "mean": "" if cell.mean is None else repr(float(cell.mean)),
                "half_width": "" if cell.half_width is None else repr(float(cell.half_width)),
                "n_ok": cell.ok,
                "n_planned": cell.planned,
                "best": int(cell.best),
                "note": "; ".join(note for note, letter in board.notes.items() if letter in cell.mark.split(",")),
            }
            theirs = (
                {}
                if published is None
                else {
                    "published": published.text,
                    "published_source": published.source,
                    "verdict": published.verdict,
                    "verdict_reason": published.reason,
                }
            )
            writer.writerow({**column.facts, **ours, **theirs})
    return buffer.getvalue()


def write_atomically(path: Path, content: bytes) -> None:
    """Writes under a temporary name in the same folder and renames, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _attempt(path: Path, make: Callable[[], bytes]) -> list[str]:
    """No export is worth losing the page for: whatever goes wrong becomes a sentence in it."""
    try:
        write_atomically(path, make())
    except Exception as error:
        return [f"{path.name} could not be written: {type(error).__name__}: {error}"]
    return []


def _text(render: Callable[[Board], str], board: Board) -> Callable[[], bytes]:
    return lambda: render(board).encode()


def _svg(chart: Chart) -> Callable[[], bytes]:
    return lambda: str(vl_convert.vegalite_to_svg({**chart.spec, "title": chart.title})).encode()


def _png(chart: Chart) -> Callable[[], bytes]:
    return lambda: bytes(vl_convert.vegalite_to_png({**chart.spec, "title": chart.title}, scale=PNG_SCALE))


def _markdown_cell(text: str) -> str:
    return f"**{_escape_markdown(text[1:-1])}**" if _is_best(text) else _escape_markdown(text)


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", " ".join(text.split()))


def _latex_cell(text: str) -> str:
    best = _is_best(text)
    plain = "".join(LATEX.get(character, character) for character in (text[1:-1] if best else text))
    plain = SUPERSCRIPT.sub(lambda found: f"$^{{{found[0].translate(PLAIN)}}}$", plain)
    return rf"\textbf{{{plain}}}" if best else plain


def _is_best(text: str) -> bool:
    return len(text) > 2 and text[0] == text[-1] == "*"
