"""Reads the pages of a report as tests look at them, and the sections that they are made of."""

from __future__ import annotations

from functools import cache
from html.parser import HTMLParser
from pathlib import Path

from bench.published import load_published
from bench.report import write_report
from bench.report.records import Section, sections
from bench.storage.store import Store


class Elements(HTMLParser):
    """Attributes of every element, and the text outside of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read_pages(page: Path) -> dict[str, Elements]:
    found = page.parent.rglob("*.html")
    return {path.relative_to(page.parent).as_posix(): Elements(path.read_text()) for path in found}


def entrance(root: Path) -> Elements:
    """The first page of a report on the results under `root`."""
    return Elements(write_report(root, root / "reports").read_text())


@cache
def sections_under(root: Path) -> list[Section]:
    return sections(Store(root).read(), load_published()["metric"].value_counts().to_dict())


def section_of(store: Store, sweep: str, scale: str = "quick") -> Section:
    return next(s for s in sections_under(store.root) if (s.sweep, s.scale) == (sweep, scale))
