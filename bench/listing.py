"""`python -m bench list`: what there is, at once where it was listed before and is the same since."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.printing import print_table
from bench.remembered import ROOT, fingerprint, recall, remember


@dataclass(frozen=True)
class Listing:
    """A table of texts, or a page in Markdown. lasts: False where plug-ins take part, whose changes are not seen."""

    heading: list[str] = field(default_factory=list)
    lines: list[list[str]] = field(default_factory=list)
    page: str = ""
    lasts: bool = True


def show_list(what: str, sweeps: Path, console: Console) -> None:
    """Prints the methods, datasets, metrics, sweeps (of a file) or published tables.

    Datasets and metrics are laid out on a terminal; elsewhere they are the Markdown of docs/datasets.md and
    docs/metrics.md.

    Raises UserError for mistakes in the file.
    """
    found = _listing(what, sweeps)
    if what == "published":
        print_table(console, found.heading, found.lines)
    elif not found.page:
        table = Table(*found.heading, box=None, header_style="bold")
        for line in found.lines:
            table.add_row(*line)
        console.print(table)
    elif console.is_terminal:
        from rich.markdown import Markdown

        console.print(Markdown(found.page))
    else:
        print(found.page, end="")


def _listing(what: str, sweeps: Path) -> Listing:
    """As it was remembered, or made anew."""
    files = [*(ROOT / "results" / "published").glob("*.csv"), *([sweeps.resolve()] if what == "sweeps" else [])]
    made_from = fingerprint(files)
    if (known := recall(what, made_from)) is not None:
        return Listing(**known)
    from bench.catalog import catalog

    made = catalog(what, sweeps)
    if made.lasts:
        remember(what, made_from, asdict(made))
    return made
