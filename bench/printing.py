"""Tables for people: laid out on a terminal; elsewhere as Markdown, which a file or a pull request takes as it is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(console: Console, heading: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Prints lines of texts under a heading; the lines' texts are printed as they are."""
    if console.is_terminal:
        table = Table(*heading, box=None, header_style="bold")
        for cells in lines:
            table.add_row(*map(Text, cells))
        console.print(table)
        return
    for cells in (heading, ["---"] * len(heading), *lines):
        print_line(console, "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")


def print_line(console: Console, text: str) -> None:
    """Prints a text as it is, wrapped on a terminal only."""
    console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)
