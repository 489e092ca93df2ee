"""Parts of leaderboards: the leading lines for an overview, the lines of one method for its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.report.leaderboards import Board, Cell, Line, PublishedCell


def leading(board: Board, lines: int, columns: int) -> Board:
    """The first lines and columns of a board. Published methods that were not run here are left out."""
    kept = [
        replace(line, cells=line.cells[:columns], published=line.published[:columns]) for line in board.lines[:lines]
    ]
    return _part(replace(board, columns=board.columns[:columns]), kept)


def of_method(board: Board, method: str) -> Board | None:
    """The lines of a method, in columns where it has anything; None where it has nothing on the board."""
    lines = [line for line in board.lines if line.setting.method == method]
    places = [
        place
        for place in range(len(board.columns))
        if any(line.cells[place].text or line.published[place] for line in lines)
    ]
    kept = [
        replace(line, cells=[line.cells[k] for k in places], published=[line.published[k] for k in places])
        for line in lines
    ]
    return _part(replace(board, columns=[board.columns[k] for k in places]), kept) if places else None


def _part(board: Board, lines: Sequence[Line]) -> Board:
    """The board with these lines and the footnotes they refer to, which get letters of their own."""
    texts = {letter: note for note, letter in board.notes.items()}
    part = replace(board, lines=[], others=[], notes={})

    def marks(cell: Cell | PublishedCell) -> str:
        return part.mark(*(texts[letter] for letter in cell.mark.split(",")))

    for line in lines:
        cells = [replace(cell, mark=marks(cell)) if cell.mark else cell for cell in line.cells]
        published = [replace(cell, mark=marks(cell)) if cell and cell.mark else cell for cell in line.published]
        part.lines.append(replace(line, cells=cells, published=published))
    return part
