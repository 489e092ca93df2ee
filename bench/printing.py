"""What people read on a terminal: texts as they are, whatever stands in them, and tables.

Results and sweeps come from others. Nothing in their texts commands the terminal, nor is taken for markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move the cursor, color, rename or reorder what is seen, or that no encoding has."""


def visible(text: str) -> str:
    """The text with a replacement character for each that a terminal would obey instead of showing it."""
    return COMMANDS.sub("\ufffd", text)


class Console(rich.console.Console):
    """A console of rich's that shows texts as they are, see `visible`."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def print_table(console: rich.console.Console, heading: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Prints lines of texts under a heading; a cell's text stands on one line."""
    if console.is_terminal:
        table = Table(*heading, box=None, header_style="bold")
        for cells in lines:
            table.add_row(*map(Text, cells))
        console.print(table)
        return
    for cells in (heading, ["---"] * len(heading), *lines):
        print_line(console, "| " + " | ".join(" ".join(cell.split()).replace("|", r"\|") for cell in cells) + " |")


def print_line(console: rich.console.Console, text: str) -> None:
    """Prints a text as it is, wrapped on a terminal only."""
    console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)
