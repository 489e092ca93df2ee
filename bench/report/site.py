"""The pages of a report and what they share, written to a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.commands import results_option
from bench.report import formatting
from bench.report.addresses import Addresses
from bench.report.excerpts import leading
from bench.report.leaderboards import Board
from bench.report.records import HASH_LENGTH, HASHES, MISSING, PROVENANCE
from bench.report.sweep_view import SweepView
from bench.statistics.tuning import RULES
from bench.statistics.verdicts import EXPLANATION
from bench.words import plural

HERE = Path(__file__).parent
ASSETS = ("style.css", "page.js", "search.js")
LEADING_LINES, LEADING_COLUMNS = 10, 6
"""Of a leaderboard on the overview."""
LOCAL = "'self' file:"
"""Sources of scripts, styles and pictures: the report's own. Browsers differ in whether 'self' is said of file://."""


class Site:
    """Writes pages into a folder: each by its address there, from a template and what this shows.

    results: the folder that commands on the pages name. changed: whether there is a page of changes. A site can be
    handed to another process.
    """

    def __init__(
        self, folder: Path, to: Addresses, colors: Mapping[str, str], results: Path, *, changed: bool = False
    ) -> None:
        self.folder, self.to, self.colors, self.results = folder, to, colors, results
        self.menu = [("Overview", "index.html")]
        self.menu += [("Papers", "index.html#papers")] * bool(to.papers)
        self.menu += [("Methods", "index.html#methods")] * bool(to.methods)
        self.menu += [("Trials", "trials.html")] + [("What changed", "changes.html")] * changed
        self._templates = self._environment()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_templates"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._templates = self._environment()

    def _environment(self) -> Environment:
        made = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        made.filters |= {"embedded": embedded, "leading": _leading, "methods": methods, "told": told}
        made.globals |= {
            "to": self.to,
            "colors": self.colors,
            "format": formatting,
            "plural": plural,
            "MISSING": MISSING,
            "provenance": PROVENANCE,
            "results": self.results,
            "results_option": results_option(self.results),
            "rules": RULES,
            "verdicts_explained": EXPLANATION,
            "here": LOCAL,
            "charted": False,
        }
        return made

    def write(self, address: str, template: str, **shown: Any) -> None:
        """Writes a page. `address` is relative to the report's folder; a page with charts is given `charted=True`."""
        root = "../" * address.count("/")
        page = self._templates.get_template(template).render(root=root, menu=self.menu, current=address, **shown)
        self.write_text(address, page)

    def write_text(self, address: str, text: str) -> None:
        """Writes a file that is no page."""
        path = self.folder / address
        try:
            path.write_text(text, encoding="utf-8")
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def write_assets(self) -> list[str]:
        """Writes style and scripts; returns a sentence for what could not be made."""
        for name in ASSETS:
            self.write_text(f"assets/{name}", (HERE / "assets" / name).read_text(encoding="utf-8"))
        try:
            self.write_text("assets/vega.js", _vega())
        except Exception as error:  # the tables are worth more than the charts
            return [f"the charts cannot be shown, Vega's bundle could not be made: {error}"]
        return []


def embedded(value: Any) -> Markup:
    """JSON that may stand inside a script element: no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=True, default=str)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def methods(views: Iterable[SweepView]) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, what is known about it) of each method, family by family, references last."""
    found = {setting.method: setting for view in views for setting in view.section.settings.values()}
    in_order = sorted(found.values(), key=lambda setting: (setting.is_reference, setting.family, setting.method))
    return [(setting.method, setting.about) for setting in in_order]


def told(name: str, value: Any) -> str | Markup:
    """What a column of PROVENANCE says, in words; hashes are cut, and in full on hover."""
    if value is None or value != value:  # NaN, where pandas has it for None
        return formatting.ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in HASHES:
        return Markup('<code title="{}">{}</code>').format(value, str(value)[:HASH_LENGTH])
    return f"{value:g}" if isinstance(value, float) else str(value)


@cache
def _vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _leading(board: Board) -> Board:
    return leading(board, LEADING_LINES, LEADING_COLUMNS)
