"""The report on recorded rows: what stands on the page, what it links to, and what cannot break it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import vl_convert

from bench.published import load_published
from bench.report import write_report
from bench.report.leaderboards import Board, Line, boards
from bench.report.page import embedded
from bench.report.records import MISSING, Section, sections
from bench.store import Store
from tests import report_fixture as fixture

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    trials, missing = fixture.default_sweeps()
    return fixture.write(
        tmp_path_factory.mktemp("results"), [*trials, *fixture.gaussians("paper", 5001, 3)], planned_only=missing
    )


@pytest.fixture(scope="module")
def page(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(store.root, tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="module")
def html(page: Path) -> str:
    return page.read_text()


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


@pytest.fixture(scope="module")
def elements(html: str) -> Elements:
    return Elements(html)


@cache
def sections_under(root: Path) -> list[Section]:
    return sections(Store(root).read(), load_published()["metric"].value_counts().to_dict())


def section_of(store: Store, sweep: str, scale: str = "quick") -> Section:
    return next(s for s in sections_under(store.root) if (s.sweep, s.scale) == (sweep, scale))


def board_of(section: Section, slug: str) -> Board:
    return next(b for b in boards(section, load_published()) if b.slug == f"{section.slug}-{slug}")


def line_of(board: Board, label: str) -> Line:
    return next(line for line in board.lines if line.setting.label == label)


# The page


def test_the_report_imports_no_torch_and_nothing_that_needs_it(store: Store, tmp_path: Path):
    program = (
        "import sys; from pathlib import Path; from bench.report import write_report;"
        f"write_report(Path({str(store.root / 'nothing')!r}), Path({str(tmp_path)!r}));"
        "print([name for name in ('torch', 'methods', 'datasets', 'bench.metrics', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_address_on_the_page_exists(elements: Elements, page: Path):
    ids = [found["id"] for found in elements.attributes if "id" in found]
    assert len(ids) == len(set(ids))
    links = {found["href"] or "" for found in elements.attributes if "href" in found}
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert all((page.parent / link).is_file() for link in links if not link.startswith("#"))


def test_every_number_leads_to_a_trial_with_its_settings_and_its_command(html: str, store: Store):
    for sweep in ("gaussians", "mnist"):
        for trial_id in section_of(store, sweep).trials["trial_id"]:
            assert f'id="trial-{trial_id}"' in html
            assert f"--scale quick --only {trial_id[:16]} --force" in html
    cells = re.findall(r'<td[^>]* data-sort="[\d.e-]+">(.*?)</td>', html, re.DOTALL)
    measured = [cell for cell in cells if "±" in cell]
    assert len(measured) > 100
    assert all('<a href="#trial-' in cell for cell in measured)


def test_the_page_loads_nothing_from_elsewhere(elements: Elements):
    sources = [
        found[name] or "" for found in elements.attributes for name in ("src", "srcset", "data") if name in found
    ]
    assert all(source.startswith("data:") for source in sources)
    assert not [found["href"] for found in elements.attributes if (found.get("href") or "").startswith(("http", "//"))]


def test_hostile_text_is_text(html: str, elements: Elements):
    assert '<script>alert("x")' not in html
    assert fixture.HOSTILE in elements.text


def test_no_text_can_end_a_script_element():
    text = embedded({"name": "</script><script>alert(1)</script><!-- &"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"name": "</script><script>alert(1)</script><!-- &"}


def test_each_sweep_says_how_it_was_run_and_how_it_ended(elements: Elements):
    assert (
        "trained for 1,000 updates of batch size 256 with seeds 0, 1 and 2; scored on the test split." in elements.text
    )
    assert "32 of 36 trials ended ok, 3 not run yet, 1 failed." in elements.text
    assert "107 of 108 trials ended ok, 1 diverged." in elements.text


def test_what_failed_is_listed_with_its_error(elements: Elements):
    assert "diverged RuntimeError the loss became NaN at step 37" in elements.text


def test_reasons_stand_in_footnotes(elements: Elements):
    assert "the weights pt_inception-2015-12-05-6726825d.pth cannot be fetched: no network" in elements.text
    assert "the method has no mixture of its own" in elements.text


def test_pictures_are_embedded_once_each(html: str, store: Store):
    pictures = re.findall(r'src="(data:image/png;base64,[^"]+)"', html)
    assert len(pictures) == len(set(pictures))
    autoencoders = [
        t for s in ("mnist", "sprites") for t in section_of(store, s).trials.query("status == 'ok'")["trial_id"]
    ]
    assert len(pictures) == 3 * len(autoencoders)
    assert html.count('<svg class="points"') == 12 + 6 * 2 + 6 * 3  # toy2d, and the Gaussians of dimension 2


def test_charts_are_data_on_the_page_and_vega_is_there_once(html: str):
    specs = re.findall(r'<script type="application/json" id="spec-[^"]+">(.*?)</script>', html, re.DOTALL)
    assert len(specs) > 20
    assert all(json.loads(spec)["$schema"].startswith("https://vega.github.io/schema/vega-lite") for spec in specs)
    assert html.count("window.vegaEmbed") == 1


# Leaderboards


def test_a_grid_has_a_column_an_option_in_the_order_of_numbers(store: Store):
    board = board_of(section_of(store, "gaussians"), "l2-uvp")
    assert (board.axis, [column.heading for column in board.columns]) == ("dim", ["2", "4", "8", "16", "32", "64"])


def test_one_dataset_has_a_column_a_metric(store: Store):
    board = board_of(section_of(store, "mnist"), "reconstruction")
    assert [(column.heading, column.arrow) for column in board.columns] == [("mse", "↓"), ("psnr", "↑")]


def test_what_readers_ask_for_first_comes_first(store: Store):
    assert [b.columns[0].metric for b in boards(section_of(store, "gaussians"), load_published())] == [
        "l2-uvp",
        "cosine",
    ]
    tables = [b.title for b in boards(section_of(store, "mnist"), load_published())]
    assert tables == ["Generation", "Clustering", "Reconstruction"]


def test_settings_of_a_method_are_told_apart_by_what_differs(store: Store):
    labels = [setting.label for setting in section_of(store, "mnist").settings.values()]
    assert {"vae", "wae-mmd kernel=imq", "wae-mmd kernel=rbf", "gwae prior=neural"} <= set(labels)


def test_scales_are_never_on_one_board(store: Store):
    quick, paper = (section_of(store, "gaussians", scale) for scale in ("quick", "paper"))
    assert set(quick.trials["trial_id"]).isdisjoint(paper.trials["trial_id"])
    assert line_of(board_of(paper, "l2-uvp"), "w2gn").planned == 18
    assert line_of(board_of(quick, "l2-uvp"), "w2gn").planned == 12


def test_published_values_stand_beside_ours_with_a_verdict(store: Store):
    paper = board_of(section_of(store, "gaussians", "paper"), "l2-uvp")
    first = line_of(paper, "w2gn").published[0]
    assert first is not None
    assert (first.text, first.verdict) == ("<1", "agrees")
    third = line_of(paper, "lsot epsilon=0.1").published[2]
    assert third is not None
    assert (third.text, third.verdict) == ("7.5", "worse")


def test_at_quick_scale_nothing_is_compared_and_the_reason_is_given(store: Store):
    board = board_of(section_of(store, "gaussians"), "l2-uvp")
    cells = [cell for line in board.lines for cell in line.published if cell]
    assert cells
    assert {cell.verdict for cell in cells} == {"not comparable"}
    assert "quick scale: 1,000 of the paper's 5,001 steps" in board.notes
    common = line_of(board, "w2gn").common
    assert common is not None
    assert common.reason == "quick scale: 1,000 of the paper's 5,001 steps"


def test_references_come_last_and_are_not_marked(store: Store):
    board = board_of(section_of(store, "gaussians"), "l2-uvp")
    assert [line.setting.label for line in board.lines][-3:] == ["linear", "identity", "constant"]
    assert not any(cell.best for line in board.lines[-3:] for cell in line.cells)
    assert all(cell.best for cell in line_of(board, "w2gn").cells)


def test_ties_with_the_best_are_marked(store: Store):
    cells = {line.setting.label: line.cells[0] for line in board_of(section_of(store, "mnist"), "reconstruction").lines}
    assert [label for label, cell in cells.items() if cell.best] == ["latent-ot", "ae", "wae-gan"]


def test_lines_are_in_order_of_the_first_metric_that_could_be_measured(store: Store):
    lines = board_of(section_of(store, "mnist"), "generation").lines  # its first column is FID, without any value
    means = [line.cells[1].mean for line in lines if line.cells[1].rank > 0]
    assert len(means) == 7
    assert means == sorted(means)


def test_incomplete_cells_say_so_and_why(store: Store):
    board = board_of(section_of(store, "mnist"), "reconstruction")
    cell = line_of(board, "swae").cells[0]
    assert (cell.seeds, cell.best) == ("2/3", False)
    assert board.notes["1 of 3 failed"] == cell.mark
    assert line_of(board, "gwae prior=neural").cells[0].mark == board.notes["1 of 3 not run yet"]


def test_an_unmeasurable_metric_shows_its_reason_and_no_value(store: Store):
    board = board_of(section_of(store, "mnist"), "generation")
    assert board.columns[0].metric == "fid-generation"
    cell = line_of(board, "ae").cells[0]
    assert (cell.text, cell.mean) == ("—", None)
    letters = {letter: note for note, letter in board.notes.items()}
    assert letters[cell.mark].startswith("the weights")


def test_two_protocols_are_two_columns_that_say_what_differs(tmp_path: Path):
    trials = fixture.sprites()
    changed = [replace(trial, n_samples=500) if trial.method == "vae" else trial for trial in trials]
    board = board_of(section_of(fixture.write(tmp_path, changed, pictures=False), "sprites"), "disentanglement")
    migs = [column for column in board.columns if column.metric == "mig"]
    assert sorted(column.detail for column in migs) == ["n samples 2000", "n samples 500"]
    position = board.columns.index(next(column for column in migs if "500" in column.detail))
    assert [line.setting.label for line in board.lines if line.cells[position].text] == ["vae"]


def test_rows_of_settings_no_longer_planned_are_left_out_and_counted(tmp_path: Path):
    store = fixture.write(tmp_path, fixture.sprites(), pictures=False)
    old = replace(fixture.sprites()[0], steps=7)
    store.write_rows(old.rows(), old.record)
    section = section_of(store, "sprites")
    assert old.id not in set(section.trials["trial_id"])
    assert section.superseded == 1
    html = write_report(tmp_path, tmp_path / "reports").read_text()
    assert "Rows of 1 trial with settings no longer planned are left out." in Elements(html).text


def test_without_a_plan_everything_is_shown(tmp_path: Path):
    store = fixture.write(tmp_path, fixture.sprites(), pictures=False)
    (tmp_path / "plans" / "sprites-quick.json").unlink()
    assert len(section_of(store, "sprites").trials) == 8


def test_a_plan_without_rows_is_not_run_yet(tmp_path: Path):
    store = fixture.write(tmp_path, [], planned_only=fixture.sprites())
    assert set(section_of(store, "sprites").trials["status"]) == {MISSING}
    text = Elements(write_report(tmp_path, tmp_path / "reports").read_text()).text
    assert "0 of 8 trials ended ok, 8 not run yet." in text
    assert "Nothing has been measured yet." in text


def test_the_same_trial_in_two_sweeps_has_two_addresses(tmp_path: Path):
    twins = [replace(trial, sweep="again") for trial in fixture.sprites()]
    fixture.write(tmp_path, [*fixture.sprites(), *twins], pictures=False)
    ids = [
        found["id"]
        for found in Elements(write_report(tmp_path, tmp_path / "reports").read_text()).attributes
        if "id" in found
    ]
    assert len(ids) == len(set(ids))


# What cannot break the page


def test_an_empty_folder_says_what_to_run(tmp_path: Path):
    text = Elements(write_report(tmp_path / "results", tmp_path / "reports").read_text()).text
    assert "No results yet" in text
    assert "python -m bench run sweeps.toml" in text


def test_unreadable_files_are_named_and_lose_nothing(tmp_path: Path):
    trials = fixture.sprites()
    store = fixture.write(tmp_path, trials)
    (tmp_path / "rows" / "sprites" / "corrupt.parquet").write_bytes(b"PAR1 no")
    (store.artifacts(trials[0].id)["samples.png"]).write_bytes(b"no picture")
    published = tmp_path / "published"
    published.mkdir()
    (published / "bad.csv").write_text("no,such,columns\n")
    text = Elements(write_report(tmp_path, tmp_path / "reports").read_text()).text
    assert "corrupt.parquet: cannot be read as Parquet" in text
    assert "samples.png: not a readable PNG" in text
    assert "bad.csv, line 1: the column 'paper' is missing" in text
    assert "8 of 8 trials ended ok." in text


def test_a_failing_export_is_named_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fixture.write(tmp_path, fixture.sprites(), pictures=False)

    def fail(*_: object, **__: object) -> None:
        raise ValueError("no such font")

    monkeypatch.setattr(vl_convert, "svg_to_png", fail)
    page = write_report(tmp_path, tmp_path / "reports")
    assert "sprites-quick-time.png could not be written: ValueError: no such font" in Elements(page.read_text()).text
    assert (page.parent / "charts" / "sprites-quick-time.svg").is_file()


def test_rows_without_their_record_are_still_shown(tmp_path: Path):
    import pyarrow.parquet as pq

    store = fixture.write(tmp_path, fixture.sprites(), pictures=False)
    (tmp_path / "plans" / "sprites-quick.json").unlink()
    for path in (tmp_path / "rows" / "sprites").iterdir():
        pq.write_table(pq.read_table(path, partitioning=None).replace_schema_metadata(None), path)
    board = board_of(section_of(store, "sprites"), "disentanglement")
    assert {line.setting.label for line in board.lines} == {"ae", "vae", "beta-vae", "gwae"}
    assert write_report(tmp_path, tmp_path / "reports").is_file()


def test_a_trial_of_more_points_than_altair_allows_is_drawn(tmp_path: Path):
    trials = [replace(fixture.mnist()[0], seed=seed) for seed in range(150)]
    fixture.write(tmp_path, trials, pictures=False)
    assert "could not be written" not in write_report(tmp_path, tmp_path / "reports").read_text()


# Exports


def test_charts_are_exported_as_svg_and_png(page: Path):
    folder = page.parent / "charts"
    assert (folder / "gaussians-quick-l2-uvp.svg").read_text().startswith("<svg")
    assert (folder / "gaussians-quick-l2-uvp.png").read_bytes().startswith(b"\x89PNG")
    assert {path.stem for path in folder.glob("*.svg")} == {path.stem for path in folder.glob("*.png")}
    assert not list(page.parent.glob("**/.*"))


def test_the_page_says_the_same_as_its_exports(page: Path, elements: Elements):
    markdown = unescape((page.parent / "tables" / "sprites-quick-reconstruction.md").read_text())
    for value in re.findall(r"\d\.\d{3,}", markdown):
        assert value in elements.text
