"""Leaderboards: what stands in which column and line, what is marked, and how published values stand beside ours."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from bench.published import load_published
from bench.report.excerpts import of_method
from bench.report.leaderboards import Board, Line, boards
from bench.report.records import Section, sections
from bench.storage.store import Store
from tests import report_fixture as fixture


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    trials, missing = fixture.default_sweeps()
    return fixture.write(
        tmp_path_factory.mktemp("results"), [*trials, *fixture.gaussians("paper", 5001, 3)], planned_only=missing
    )


@cache
def sections_under(root: Path) -> list[Section]:
    return sections(Store(root).read(), load_published()["metric"].value_counts().to_dict())


def section_of(store: Store, sweep: str, scale: str = "quick") -> Section:
    return next(s for s in sections_under(store.root) if (s.sweep, s.scale) == (sweep, scale))


def board_of(section: Section, slug: str) -> Board:
    return next(b for b in boards(section, load_published()) if b.slug == f"{section.slug}-{slug}")


def line_of(board: Board, label: str) -> Line:
    return next(line for line in board.lines if line.setting.label == label)


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
    assert (first.text, first.verdict) == ("<1", "reproduced")
    third = line_of(paper, "lsot epsilon=0.1").published[2]
    assert third is not None
    assert (third.text, third.verdict) == ("7.5", "not comparable")


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


def test_a_part_of_a_board_has_the_footnotes_it_needs_from_the_first_letter_on(store: Store):
    board = board_of(section_of(store, "mnist"), "generation")
    part = of_method(board, "gwae")
    assert part is not None
    assert list(part.notes.values()) == ["a", "b"]
    texts = {letter: note for note, letter in part.notes.items()}
    (prior, *_) = part.lines
    assert [texts[letter] for letter in prior.cells[0].mark.split(",")][1] == "1 of 3 not run yet"
    assert line_of(board, prior.setting.label).cells[0].mark == "a,c"  # the whole board keeps its own


def test_two_protocols_are_two_columns_that_say_what_differs(tmp_path: Path):
    trials = fixture.sprites()
    changed = [replace(trial, n_samples=500) if trial.method == "vae" else trial for trial in trials]
    board = board_of(section_of(fixture.write(tmp_path, changed, pictures=False), "sprites"), "disentanglement")
    migs = [column for column in board.columns if column.metric == "mig"]
    assert sorted(column.detail for column in migs) == ["n samples 2000", "n samples 500"]
    position = board.columns.index(next(column for column in migs if "500" in column.detail))
    assert [line.setting.label for line in board.lines if line.cells[position].text] == ["vae"]


def test_without_a_plan_everything_is_shown(tmp_path: Path):
    store = fixture.write(tmp_path, fixture.sprites(), pictures=False)
    (tmp_path / "plans" / "sprites-quick.json").unlink()
    assert len(section_of(store, "sprites").trials) == 8
