"""What changed between two results folders: on the page, on the command line, and in words."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from bench.cli import main
from bench.report import write_report
from bench.report.changes import Changes, ChangesError, compare, print_changes
from tests import report_fixture as fixture


class NewVersion(fixture.Trial):
    """A trial of the same setting by a newer version of the method."""

    @property
    def spec(self) -> dict[str, Any]:
        return {**super().spec, "method": {**super().spec["method"], "version": 2}}


def compared(root: Path, old: list[fixture.Trial], new: list[fixture.Trial]) -> Changes:
    fixture.write(root / "old", old, pictures=False)
    fixture.write(root / "new", new, pictures=False)
    return compare(root / "old", root / "new")


def lines(changes: Changes, title: str) -> list[tuple[str, ...]]:
    return [tuple(line.texts) for name, _, found in changes.tables if name == title for line in found]


def with_values(trial: fixture.Trial, **values: float) -> fixture.Trial:
    return replace(trial, values={**trial.values, **values})


def test_a_folder_is_the_same_as_itself_bit_for_bit(tmp_path: Path):
    changes = compared(tmp_path, fixture.sprites(), fixture.sprites())
    assert changes.summary == [
        "Of 12 numbers in both, 12 are the same bit for bit; 0 changed, and 0 of these can be told apart.",
        "Trials: 8 same.",
    ]
    assert changes.tables == []


class Elsewhere(fixture.Trial):
    """A trial run from another commit, with changes that were not committed."""

    def rows(self) -> list[dict[str, Any]]:
        return [{**row, "git_sha": "f" * 40, "git_dirty": True} for row in super().rows()]


def test_environments_are_said_as_on_other_pages(tmp_path: Path):
    old = fixture.sprites()
    changes = compared(tmp_path, old, [Elsewhere(**vars(trial)) for trial in old])
    assert lines(changes, "Environments of the trials") == [
        ("git sha", "0123456789", "ffffffffff"),
        ("git dirty", "no", "yes"),
    ]


def test_a_changed_number_has_old_new_difference_verdict_and_ranks(tmp_path: Path):
    old = fixture.sprites()
    new = [with_values(t, mse=0.035 + 0.0001 * t.seed) if t.method == "ae" else t for t in old]
    changes = compared(tmp_path, old, new)
    assert lines(changes, "Numbers that changed") == [
        ("ae", "sprites, quick", "sprites", "mse", "0.0100", "0.0351 ± 0.0006", "+0.0251", "worse", "1 → 3")
    ]
    assert [(texts[0], texts[-1]) for texts in lines(changes, "Other ranks of the same numbers")] == [
        ("vae", "2 → 1"),
        ("beta-vae", "3 → 2"),
    ]


def test_a_change_smaller_than_what_is_shown_is_neither_better_nor_worse(tmp_path: Path):
    old = fixture.sprites()
    new = [with_values(trial, mig=float(trial.values["mig"]) * (1 + 1e-9)) for trial in old]
    found = lines(compared(tmp_path, old, new), "Numbers that changed")
    assert len(found) == 4
    assert {texts[-2] for texts in found} == {"same to these digits"}


def test_trials_added_removed_and_ended_otherwise_are_counted_by_setting(tmp_path: Path):
    old = [trial for trial in fixture.sprites() if trial.method != "gwae"]
    new = [trial for trial in fixture.sprites() if trial.method != "vae"]
    new[0] = replace(new[0], status="failed")
    changes = compared(tmp_path, old, new)
    assert lines(changes, "Trials") == [
        ("ae", "sprites, quick", "1", "status ok → failed"),
        ("gwae", "sprites, quick", "2", "added, the whole setting"),
        ("vae", "sprites, quick", "2", "removed, the whole setting"),
    ]
    assert "3 numbers added, 3 removed." in changes.summary


def test_a_new_version_of_a_method_is_compared_and_said(tmp_path: Path):
    newer = [NewVersion(**vars(trial)) for trial in fixture.sprites()]
    changes = compared(tmp_path, fixture.sprites(), newer)
    assert changes.summary[0].startswith("Of 12 numbers in both, 12 are the same bit for bit")
    assert lines(changes, "Trials")[0] == ("ae", "sprites, quick", "2", "method version 1 → 2")


def test_a_new_version_of_a_metric_is_said_and_not_compared(tmp_path: Path):
    newer = [replace(trial, metric_version=2) for trial in fixture.sprites()]
    changes = compared(tmp_path, fixture.sprites(), newer)
    assert "12 numbers measured otherwise now, and not compared." in changes.summary
    assert ("mig", "sprites, quick", "4", "metric version 1 → 2") in lines(changes, "Measured otherwise")
    assert not lines(changes, "Numbers that changed")


def test_what_the_trials_ran_on_is_said_where_it_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fixture.write(tmp_path / "old", fixture.sprites(), pictures=False)
    rows = fixture.Trial.rows
    monkeypatch.setattr(fixture.Trial, "rows", lambda trial: [{**row, "torch": "2.14.0"} for row in rows(trial)])
    fixture.write(tmp_path / "new", fixture.sprites(), pictures=False)
    changes = compare(tmp_path / "old", tmp_path / "new")
    assert lines(changes, "Environments of the trials") == [("torch", "2.13.0+cpu", "2.14.0")]


def test_the_page_links_to_trials_escapes_what_it_shows_and_goes_with_the_next_report(tmp_path: Path):
    trials = fixture.sprites()[:2]
    old = [replace(trial, params={"name": name}) for trial in trials for name in (fixture.HOSTILE, "other")]
    new = [with_values(trial, mig=0.9) for trial in old]
    changes = compared(tmp_path, old, new)
    reports = tmp_path / "reports"
    write_report(tmp_path / "new", reports, changes)
    page = (reports / "changes.html").read_text()
    assert '<script>alert("x")' not in page
    assert "ae name=&lt;script&gt;" in page
    assert f'href="trials/{changes.changed_cells(5)[0].trial_id}.html"' in page
    assert "changes.html" in (reports / "index.html").read_text()
    told = pd.read_csv(reports / "changes.csv")
    assert told["change"].value_counts().to_dict() == {"same": 4, "changed": 2}
    write_report(tmp_path / "new", reports)
    assert not (reports / "changes.html").exists()


def test_the_command_line_prints_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    compared(tmp_path, fixture.sprites(), [with_values(trial, mig=0.9) for trial in fixture.sprites()])
    folders = ["--results", str(tmp_path / "new"), "--out", str(tmp_path / "reports")]
    assert main(["report", *folders, "--compare", str(tmp_path / "old")]) == 0
    printed = capsys.readouterr().out
    assert "Of 12 numbers in both, 8 are the same bit for bit; 4 changed" in printed
    assert "| ae | sprites, quick | sprites | mig |" in printed


def test_many_changes_are_cut_and_the_rest_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    changes = compared(tmp_path, fixture.sprites(), [with_values(trial, mig=0.9) for trial in fixture.sprites()])
    monkeypatch.setattr("bench.report.changes.PRINTED_LINES", 3)
    monkeypatch.setattr("bench.report.changes.SHOWN_LINES", 2)
    output = io.StringIO()
    print_changes(changes, Console(file=output, width=200))
    assert "… and 1 more, on the page changes.html" in output.getvalue()
    assert changes.tables[0][0] == "Numbers that changed, the 2 that changed most of 4"
    assert len(changes.tables[0][2]) == 2


def test_against_nothing_everything_is_added_or_removed(tmp_path: Path):
    fixture.write(tmp_path / "some", fixture.sprites(), pictures=False)
    (tmp_path / "none" / "rows").mkdir(parents=True)
    assert "12 numbers added, 0 removed." in compare(tmp_path / "none", tmp_path / "some").summary
    assert "0 numbers added, 12 removed." in compare(tmp_path / "some", tmp_path / "none").summary
    assert compare(tmp_path / "none", tmp_path / "none").summary[-1] == "Trials: none."


def test_a_trial_that_was_only_planned_has_run_now(tmp_path: Path):
    fixture.write(tmp_path / "old", [], planned_only=fixture.sprites()[:1])
    fixture.write(tmp_path / "new", fixture.sprites()[:1], pictures=False)
    changes = compare(tmp_path / "old", tmp_path / "new")
    assert lines(changes, "Trials") == [("ae", "sprites, quick", "1", "status not run yet → ok")]
    assert "3 numbers added, 0 removed." in changes.summary


def test_old_files_that_cannot_be_read_are_named(tmp_path: Path):
    fixture.write(tmp_path / "some", fixture.sprites(), pictures=False)
    (tmp_path / "some" / "rows" / "sprites" / "corrupt.parquet").write_bytes(b"PAR1 no")
    summary = compare(tmp_path / "some", tmp_path / "some").summary
    assert any(sentence.startswith("Left out: ") and "corrupt.parquet" in sentence for sentence in summary)


def test_a_folder_without_results_says_what_to_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ChangesError, match="it has neither rows/ nor plans/"):
        compare(tmp_path / "nothing", tmp_path)
    assert main(["report", "--results", str(tmp_path), "--compare", str(tmp_path / "nothing")]) == 2
    assert "holds no results" in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()
