"""The exports: the same numbers in Markdown, CSV, LaTeX and Parquet as on the boards, and charts in three formats."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
import vl_convert
from markdown_it import MarkdownIt
from pyarrow import csv, parquet

from bench.published import load_published
from bench.report import write_report
from bench.report.cells import CELL_SCHEMA, cell_table
from bench.report.charts import Chart
from bench.report.exports import export_chart, export_tables, markdown
from bench.report.files import file_name
from bench.report.latex import latex
from bench.report.leaderboards import Board, boards, flatten
from bench.report.records import Section, sections
from bench.report.tex import escape
from bench.statistics.leaderboards import BOARD
from bench.storage.store import Store
from tests import report_fixture as fixture

Pairs = list[tuple[Section, list[Board]]]


def boards_under(root: Path) -> Pairs:
    published = load_published()
    quoted = {str(metric): int(count) for metric, count in published["metric"].value_counts().items()}
    return [(section, boards(section, published)) for section in sections(Store(root).read(), quoted)]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    trials, missing = fixture.default_sweeps()
    root = tmp_path_factory.mktemp("results")
    fixture.write(root, [*trials, *fixture.gaussians("paper", 5001, 3)], planned_only=missing, pictures=False)
    return boards_under(root)


@pytest.fixture(scope="module")
def folder(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    assert export_tables(pairs, folder) == []
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Section, Board]:
    """A board whose texts are all of them commands, in three languages, and which LaTeX has no name for."""
    text = fixture.HOSTILE + r" [*] ~^#& \\ \input{x} $$ -- | ‖x̂ − ψ‖² é 日 ⁻⁵ "
    trials = [replace(trial, params={"name": text}) for trial in fixture.sprites()]
    broken = [replace(trial, status="failed", error=text) if trial.method == "gwae" else trial for trial in trials]
    root = tmp_path_factory.mktemp("hostile")
    fixture.write(root, broken, pictures=False)
    ((section, (board, *_)),) = boards_under(root)
    for line in board.lines:
        line.setting = replace(line.setting, label=text + line.setting.label)
    board.title = text
    board.mark(text)
    return section, board


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[Section, Board]:
    """A board of 130 lines."""
    root = tmp_path_factory.mktemp("long")
    trials = [replace(fixture.sprites()[0], params={"a_long_name": number}) for number in range(130)]
    fixture.write(root, trials, pictures=False)
    return board_of(boards_under(root), "sprites-quick-reconstruction")


def board_of(pairs: Pairs, slug: str) -> tuple[Section, Board]:
    return next((section, board) for section, made in pairs for board in made if board.slug == slug)


# CSV and Parquet


def test_csv_and_parquet_hold_the_same_cells(pairs: Pairs, folder: Path):
    whole = parquet.read_table(folder / "leaderboard.parquet")
    options = csv.ConvertOptions(column_types=CELL_SCHEMA, strings_can_be_null=True)
    names = [file_name(board.slug) for _, made in pairs for board in made]
    parts = [csv.read_csv(folder / "tables" / f"{name}.csv", convert_options=options) for name in names]
    assert whole.num_rows > 200
    assert pa.concat_tables(parts).equals(whole)


def test_the_schema_is_the_documented_one_even_without_results(folder: Path, tmp_path: Path):
    assert parquet.read_schema(folder / "leaderboard.parquet").equals(CELL_SCHEMA)
    assert export_tables([], tmp_path) == []
    empty = parquet.read_table(tmp_path / "leaderboard.parquet")
    assert empty.schema.equals(CELL_SCHEMA)
    assert empty.num_rows == 0


def test_every_number_of_a_board_is_in_its_table_to_the_last_bit(pairs: Pairs):
    for section, made in pairs:
        for board in made:
            cells = cell_table(section, board).to_pylist()
            found = {(cell["setting"], *(cell[name] for name in BOARD)): cell for cell in cells if cell["method"]}
            for line in board.lines:
                for column, cell, published in zip(board.columns, line.cells, line.published, strict=True):
                    if not cell.planned:
                        continue
                    row = found.pop((line.setting.label, *column.key))
                    assert (row["mean"], row["half_width"]) == (cell.mean, cell.half_width)
                    assert (row["n_ok"], row["n_planned"], row["best"]) == (cell.ok, cell.planned, cell.best)
                    assert row["rank"] == (None if math.isnan(cell.rank) else cell.rank)
                    assert row["published_text"] == (published.text if published else None)
                    assert row["verdict"] == (published.verdict if published else None)
            assert not found


def test_a_cell_says_where_it_stands_what_it_holds_and_what_the_paper_has(pairs: Pairs):
    section, board = board_of(pairs, "gaussians-paper-l2-uvp")
    cells = cell_table(section, board).to_pylist()
    assert len(cells) == 6 * 6
    first = next(cell for cell in cells if cell["method"] == "w2gn" and cell["dataset_options"] == '{"dim": 2}')
    assert (first["sweep"], first["scale"], first["table"]) == ("gaussians", "paper", "transport")
    assert first["mean"] == pytest.approx(0.0346, abs=1e-3)
    assert (first["n_ok"], first["n_planned"], first["rank"], first["best"]) == (3, 3, 1, True)
    assert (first["published"], first["published_bound"], first["published_text"]) == (1.0, "<", "<1")
    assert "Wasserstein-2 Generative Networks" in first["published_source"]
    incomplete = next(cell for cell in cells if cell["n_ok"] < cell["n_planned"])
    assert (incomplete["rank"], incomplete["note"]) == (None, "1 of 3 diverged")


def test_published_methods_that_were_not_run_have_cells_without_a_method(tmp_path: Path):
    trials = [trial for trial in fixture.gaussians() if trial.method != "lsot"]
    fixture.write(tmp_path, trials, pictures=False)
    cells = cell_table(*board_of(boards_under(tmp_path), "gaussians-quick-l2-uvp")).to_pylist()
    (other,) = [cell for cell in cells if cell["method"] is None and cell["dataset_options"] == '{"dim": 4}']
    assert (other["setting"], other["mean"], other["published"]) == ("LSOT (Large-scale OT)", None, 3.7)


class Numbers(HTMLParser):
    """(setting, sort key) of the cells of a page's leaderboards."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, float]] = []
        self.is_board, self.setting = False, ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "section":
            self.is_board = told.get("class") == "leaderboard"
        elif tag == "tbody":
            self.setting = told.get("data-name", "")
        elif tag == "td" and self.is_board and told.get("data-sort") and told.get("class") != "count":
            self.found.append((self.setting, float(told["data-sort"])))


def test_the_page_has_the_numbers_of_the_files_to_the_last_bit(tmp_path: Path):
    fixture.write(tmp_path / "results", [*fixture.gaussians(), *fixture.sprites()], pictures=False)
    write_report(tmp_path / "results", tmp_path / "report")
    cells = parquet.read_table(tmp_path / "report" / "leaderboard.parquet").to_pylist()
    for slug in ("gaussians-quick", "sprites-quick"):
        shown = Numbers((tmp_path / "report" / "sweeps" / f"{slug}.html").read_text()).found
        mine = [cell for cell in cells if f"{cell['sweep']}-{cell['scale']}" == slug and cell["mean"] is not None]
        assert Counter(shown) == Counter((cell["setting"], cell["mean"]) for cell in mine)
        assert len(shown) > 10


# Markdown


def rendered(text: str) -> list[list[str]]:
    """The cells of the table in a text of Markdown, as a reader sees them; what is bold between asterisks."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and token.level == 4:
            marks = {"text": lambda child: child.content, "strong_open": lambda _: "*", "strong_close": lambda _: "*"}
            rows[-1].append("".join(marks[child.type](child) for child in token.children or []))
    return rows


def test_markdown_renders_to_the_board(pairs: Pairs, folder: Path):
    for _, made in pairs:
        for board in made:
            text = (folder / "tables" / f"{file_name(board.slug)}.md").read_text()
            assert rendered(text) == flatten(board)


def test_markdown_shows_any_text_as_it_is(hostile: tuple[Section, Board]):
    expected = [[" ".join(text.split()) for text in row] for row in flatten(hostile[1])]
    assert rendered(markdown(hostile[1])) == expected


# LaTeX


def document(texts: Sequence[str]) -> str:
    body = "\n\\clearpage\n".join(texts)
    return (
        f"\\documentclass{{article}}\n\\usepackage{{booktabs,graphicx}}\n\\begin{{document}}\n{body}\\end{{document}}\n"
    )


def assert_well_formed(text: str) -> None:
    """Environments and braces are balanced, and all lines of a tabular have as many cells as it has columns."""
    open_now: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            open_now.append(name)
        else:
            assert open_now.pop() == name
    assert not open_now
    bare = re.sub(r"\\[\\{}%&$#_]", " ", re.sub(r"^%.*$", "", text, flags=re.MULTILINE))
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert "#" not in bare
    assert text.isascii()
    for columns, body in re.findall(r"\\begin\{tabular\}\{(lr*)\}\n(.*?)\n\\end\{tabular\}\}", text, re.DOTALL):
        for row in re.findall(r"^(.*) \\\\(?: \\cmidrule.*)?$", body, re.MULTILINE):
            spans = sum(int(number) - 1 for number in re.findall(r"\\multicolumn\{(\d+)\}", row))
            assert len(re.findall(r"(?<!\\)&", row)) + spans == len(columns) - 1, row


def test_latex_is_well_formed(pairs: Pairs, hostile: tuple[Section, Board]):
    for section, made in pairs:
        for board in made:
            assert_well_formed(latex(section, board))
    assert_well_formed(latex(*hostile))


def test_latex_shows_the_numbers_the_best_in_bold_and_why_others_are_missing(pairs: Pairs):
    text = latex(*board_of(pairs, "gaussians-paper-l2-uvp"))
    assert re.search(r"^w2gn & \\textbf\{0\.03\d+ \$\\pm\$ 0\.\d+\} & ", text, re.MULTILINE)
    assert r"\label{tab:gaussians-paper-l2-uvp}" in text
    assert r"\multicolumn{3}{c}{dim}" in text
    assert r"\textless{}1" in text
    assert re.search(r"\\textsuperscript\{\w\}~1 of 3 diverged\.", text)
    assert r"95\% Student-t interval" in text
    assert "Measured with 1,024 samples of the test split" in text
    assert "Published values: Wasserstein-2 Generative Networks, Gaussians UVP" in text


def test_a_table_by_itself_says_what_its_marks_mean(pairs: Pairs):
    section, board = board_of(pairs, "gaussians-quick-l2-uvp")
    for text in (markdown(board), latex(section, board)):
        assert "by a two-sided t-test at 5" in text
        assert "linear, identity, constant and cells with fewer seeds than planned." in text
    # No test is claimed of single seeds.
    text = markdown(board_of(pairs, "toy2d-quick-energy-distance")[1])
    assert "told from it, of one seed to three digits, without a test." in text
    assert "Student" not in text
    # What the six words mean is said where one of them is a judgment.
    assert "Reproduced: the published number" in latex(*board_of(pairs, "gaussians-paper-l2-uvp"))
    assert "Reproduced: the published number" not in latex(section, board)


def test_latex_gives_a_reason_wherever_a_published_value_is_not_comparable(pairs: Pairs):
    text = latex(*board_of(pairs, "gaussians-quick-l2-uvp"))
    (letter,) = re.findall(
        r"^\\raggedright \\textsuperscript\{(\w)\}~not comparable: .*1,000 of the paper's 5,001 steps", text, re.M
    )
    assert rf"published\textsuperscript{{{letter}}} & \textless{{}}1 & " in text


def test_a_board_too_long_for_a_page_is_continued_and_nothing_is_lost(long: tuple[Section, Board]):
    text = latex(*long)
    assert_well_formed(text)
    assert text.count(r"\begin{table}") == 4
    assert text.count("(continued)") == 3
    assert text.count(r"\label") == 1
    names = Counter(re.findall(r"^(ae a\\_long\\_name=\d+) &", text, re.MULTILINE))
    assert names == {escape(line.setting.label): 1 for line in long[1].lines}


def test_a_board_too_wide_for_a_page_is_set_in_panels(pairs: Pairs):
    section, board = board_of(pairs, "gaussians-quick-l2-uvp")
    text = latex(section, board)
    spans = [int(number) for number in re.findall(r"\\multicolumn\{(\d+)\}\{c\}\{dim\}", text)]
    assert sum(spans) == 6
    assert len(spans) > 1
    assert text.count("ok/planned") == 1


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("a_b 50% #1 & $x$", r"a\_b 50\% \#1 \& \$x\$"),
        (r"\end{document}", r"\textbackslash{}end\{document\}"),
        ("~^<>|", r"\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}"),
        ("[1] *", r"{[}1{]} {*}"),
        ("--scale", "-{}-scale"),
        ("±0.1×10⁻⁵", r"$\pm$0.1$\times$10$^{-5}$"),
        ("σ₁², ½ – “q”", r"$\sigma$$_{1}$$^{2}$, 1/2 \textendash{} ``q''"),
        ("Székely, Poincaré, x̂, ế", r"Sz\'{e}kely, Poincar\'{e}, \^{x}, \'{\^{e}}"),
        ("two\n  lines\x00", "two lines?"),
        ("日本 😀", "?? ?"),
    ],
)
def test_text_is_text_in_latex(text: str, tex: str):
    assert escape(text) == tex


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_latex_compiles(pairs: Pairs, hostile: tuple[Section, Board], long: tuple[Section, Board], tmp_path: Path):
    everything = [(section, board) for section, made in pairs for board in made] + [hostile, long]
    source = tmp_path / "tables.tex"
    source.write_text(document([latex(section, board) for section, board in everything]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", source.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert not re.findall(r"^(?:Overfull \\[hv]box|LaTeX Warning: Float too large).*", done.stdout, re.MULTILINE)


# Charts


def chart(slug: str) -> Chart:
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": [{"x": 1, "y": 2}, {"x": 2, "y": 1}]},
        "mark": "point",
        "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
    }
    return Chart(slug, "A title", "", spec)


def test_charts_are_exported_in_three_formats(tmp_path: Path):
    assert export_chart(chart("one"), tmp_path) + export_chart(chart("two/3"), tmp_path) == []
    starts = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
    for suffix, start in starts.items():
        for name in ("one", "two-3"):
            assert (tmp_path / "charts" / f"{name}.{suffix}").read_bytes().startswith(start)
    assert len(list((tmp_path / "charts").iterdir())) == 6


def test_a_failing_export_is_named_and_the_others_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no such font")

    monkeypatch.setattr(vl_convert, "svg_to_png", fail)
    assert export_chart(chart("one"), tmp_path) == ["one.png could not be written: ValueError: no such font"]
    assert (tmp_path / "charts" / "one.svg").is_file()
    assert (tmp_path / "charts" / "one.pdf").is_file()


def test_file_names_mean_nothing_to_a_file_system():
    assert file_name("../a b/c") == "a-b-c"
    assert file_name("mnist-quick-fd@96") == "mnist-quick-fd-96"
