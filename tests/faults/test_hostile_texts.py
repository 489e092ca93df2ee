"""Every text of results that come from others: none runs in the report, commands the terminal, or leads elsewhere.

60 texts stand, in turns, in every text of 40 trials: columns of rows, records, curves, points, plans, names of
artifacts, the descriptions of pictures, and the columns of published tables.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console as AnyConsole

from bench.cli import main
from bench.identity import NAME
from bench.printing import Console, print_table
from bench.published import PUBLISHED, READERS, _anything, _required
from bench.storage.schema import ROW_SCHEMA
from bench.storage.store import Store
from tests import report_fixture as fixture
from tests.chromium import CHROMIUM, Chromium

RUN = "window.ran=1"
TEXTS = [
    *(
        f"<script>{RUN}</script>",
        f"</script><script>{RUN}</script>",
        f'"><script>{RUN}</script>',
        f"'><svg onload={RUN}>",
    ),
    *(
        f'<img src=x onerror="{RUN}">',
        f'" onmouseover="{RUN}" x="',
        f"' onfocus='{RUN}' autofocus='",
        f"`onclick={RUN}`",
    ),
    *(f"javascript:{RUN}", f"JaVaScRiPt:{RUN}", f"java\tscript:{RUN}", f"data:text/html,<script>{RUN}</script>"),
    *(
        f'<iframe srcdoc="<script>parent.{RUN}</script>">',
        f"<a href='javascript:{RUN}'>x</a>",
        f"<details open ontoggle={RUN}>",
    ),
    *(
        '<base href="http://evil.invalid/">',
        '<link rel=stylesheet href="//evil.invalid/x.css">',
        "http://evil.invalid/x.png",
    ),
    *(
        '<meta http-equiv="refresh" content="0;url=http://evil.invalid/">',
        '<form action="http://evil.invalid/"><input>',
    ),
    *(
        "<!--",
        "-->",
        "]]>",
        "<![CDATA[",
        "<style>*{display:none}</style>",
        "<plaintext>",
        "<textarea>",
        "</table></body>",
    ),
    *(
        "{{ 7 * 7 }}",
        "{% raw %}",
        "{{ config }}",
        "${7*7}",
        "#{7*7}",
        "%s%n",
        "{0.__class__}",
        "__proto__",
        "constructor",
    ),
    *(
        f"'; {RUN}; '",
        f"\\'; {RUN}; //",
        f"\u2028{RUN}\u2029",
        "\\u003cscript\\u003e",
        "&lt;script&gt;",
        "&#60;script&#62;",
    ),
    *('=HYPERLINK("http://evil.invalid","x")', "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\t=1+1", "a,b;c\nd"),
    *(
        "\\input{/etc/passwd}",
        "\\write18{id}",
        "$$\\def\\x{}$$",
        "[x](javascript:alert(1))",
        "![x](http://evil.invalid)",
    ),
    *("../../../evil", "/etc/passwd", "..\\..\\evil", "a/../../b", "CON", ".", "%2e%2e%2f", "~root", "a\x00b", "-rf"),
    *("\x1b]0;title\x07", "\x1b[2J\x1b[31mred", "\u202egnp.exe", "[bold red]x[/]", "[/nothing]", ":smile:", "\x9b31m"),
]
TRIALS = 40


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile") / "results"
    texts = itertools.cycle(TEXTS)
    store = Store(root)
    plans: dict[str, dict[str, Any]] = {}
    trials = [*fixture.toy2d(), *fixture.sprites(), *fixture.mnist()[: TRIALS - 20]]
    assert len(trials) == TRIALS
    for trial in trials:
        options, params = ({next(texts): next(texts), next(texts): [next(texts)], "size": 3} for _ in range(2))
        record = trial.record
        record["spec"]["dataset"] |= {"name": next(texts), "options": options}
        record["spec"]["method"] |= {"name": next(texts), "params": params}
        record |= {"title": next(texts), "published": [f"{next(texts)}", "evil/table"]}
        record["about"] = {
            "method": {name: next(texts) for name in ("family", "paper", "summary")} | {"changed": params},
            "dataset": {name: next(texts) for name in ("summary", "license", "citation")} | {"changed": options},
            "metrics": {},
        }
        rows = []
        for row in trial.rows():
            hostile = {name: next(texts) for name in ROW_SCHEMA.names if isinstance(row.get(name), str)}
            names = {name: row[name] for name in ("trial_id", "sweep", "scale", "status")}
            objects = {"dataset_options": json.dumps(options), "params": json.dumps(params)}
            protocol = {"protocol": json.dumps({next(texts): next(texts), "extractor": next(texts)})}
            rows.append(row | hostile | names | objects | (protocol if "metric" in row else {}))
            if "metric" in row:
                about = {name: next(texts) for name in ("metric", "table", "unit", "meaning", "source")}
                record["about"]["metrics"][rows[-1]["metric"]] = about | {"direction": "min"}
        rows = rows[:1] + [row for row in rows[1:] if row.get("metric") != rows[0].get("metric")]
        record["spec"]["metrics"] = [{"name": next(texts), "options": {}, "version": 1}]
        store.write_rows(rows, record)
        store.write_curves(trial.sweep, trial.id, [point | {"name": next(texts)} for point in fixture.curves(trial)])
        plans.setdefault(trial.sweep, {})[trial.id] = record
        with store.replacing_artifacts(trial.id) as folder:
            _artifacts(folder, texts)
    for sweep, plan in plans.items():
        store.write_plan(sweep, "quick", plan, extend=False)
    _published(root / "published", texts)
    return root


def _artifacts(folder: Path, texts: Iterator[str]) -> None:
    for _ in range(5):
        name = next(texts).replace("/", "∕").replace("\x00", "")
        (folder / (name if name not in (".", "") else "x")).write_text("x")
    description = PngInfo()
    description.add_itxt("Description", next(texts).replace("\x00", ""))
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "transport.png", pnginfo=description)
    points = pd.DataFrame({"set": [next(texts), "source", "target", "pushed"], "x": 0.5, "y": [0.0, 1.0, 2.0, 3.0]})
    points.to_parquet(folder / "transport.parquet", index=False)


def _published(folder: Path, texts: Iterator[str]) -> None:
    folder.mkdir()
    with next(iter(sorted(PUBLISHED.glob("*.csv")))).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:20]
    stated = [name for name, reader in READERS.items() if reader in (_anything, _required)]
    with (folder / "evil.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(READERS))
        writer.writeheader()
        for row in rows:
            hostile = {name: next(texts).replace("\x00", "") or "x" for name in stated}
            writer.writerow(row | hostile | {"paper": "evil", "table": "table"})


@pytest.fixture(scope="module")
def report(results: Path) -> Path:
    before = set(results.parent.rglob("*"))
    folder = results.parent / "reports"
    assert main(["report", "--results", str(results), "--out", str(folder)]) == 0
    new = set(results.parent.rglob("*")) - before - {folder}
    assert all(folder in path.parents for path in new)
    return folder


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_no_text_runs_or_asks_for_anything_on_any_page(report: Path, tmp_path: Path) -> None:
    browser = Chromium(tmp_path / "profile")
    try:
        pages = sorted(report.rglob("*.html"))
        assert len(pages) > TRIALS
        for page in pages:
            browser.open(page.as_uri())
            assert browser.run("window.ran === undefined && document.body !== null"), page
            assert browser.errors == [], page
            asked = [
                address for address in browser.requests if not address.startswith(("file:", "about:", "data:image"))
            ]
            assert asked == [], page
            links = browser.run("[...document.querySelectorAll('[href], [src]')].map((e) => e.href || e.src).flat()")
            for link in links:
                assert link.startswith("file:"), f"{page}: {link!r}"
                target = Path(urllib.parse.unquote(urllib.parse.urlsplit(link).path))
                assert target.is_relative_to(report), f"{page}: {link}"
                assert target.exists(), f"{page}: {link}"
            moved = browser.run("location.href")
            assert moved == page.as_uri()
    finally:
        browser.close()


def test_no_cell_of_an_exported_table_is_a_formula(report: Path) -> None:
    files = [*(report / "tables").glob("*.csv")]
    assert files
    for path in files:
        for row in csv.reader(io.StringIO(path.read_text())):
            for cell in row:
                number = cell.lstrip("+-").replace(".", "").replace("e", "").replace("-", "").isdigit()
                assert number or not cell.startswith(("=", "+", "-", "@", "\t", "\r")), f"{path}: {cell!r}"


def test_no_text_commands_the_terminal(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [path.stem for path in sorted((results / "rows").rglob("*.parquet"))]
    assert all(map(NAME.fullmatch, ids))
    for trial_id in ids:
        assert main(["show", trial_id, "--results", str(results)]) in (0, 1)
    shutil.copytree(results, tmp_path / "results")
    for path in (tmp_path / "results" / "rows").rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    for line in (
        ["merge", str(results), str(tmp_path / "results"), "--out", str(tmp_path / "merged")],
        ["doctor", "--results", str(results)],
        ["run", str(tmp_path / "\x1b[2Jsweeps.toml"), "--dry-run"],
        ["show", "evil/\x1b[2Jtable"],
        ["verify", ids[0], "--executor", "inline", "--results", str(results)],
        ["report", "--results", str(results), "--out", str(tmp_path / "r"), "--compare", str(tmp_path / "merged")],
    ):
        assert main(line) in (0, 1, 2), line
    told = capsys.readouterr()
    seen = "".join((told.out + told.err).splitlines())
    assert not set(seen) & {"\x1b", "\x07", "\x9b", "\u202e", "\x00"}
    assert "[bold red]x[/]" in seen  # what a text says is printed as it is


def test_a_terminal_shows_texts_and_obeys_none(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console()
    console.file, console._force_terminal = io.StringIO(), True
    print_table(console, ["text"], [[text] for text in TEXTS])
    plain = AnyConsole(file=io.StringIO(), force_terminal=True, width=console.width)
    print_table(plain, ["text"], [["x"]])
    for command in ("\x1b]", "\x1b[2J", "\x1b[31m", "\x07", "\x9b", "\u202e"):
        assert command not in console.file.getvalue()
    assert "[bold red]x[/]" in console.file.getvalue()
