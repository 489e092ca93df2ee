"""The folder of a report takes away its own files, and nothing that its list of files leads to elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report.folder import MANIFEST, replacing


@pytest.mark.parametrize(
    "name", ["..", ".", "trials", "/", "../empty/../out/index.html", "trials/../../empty/file", "a\0b"]
)
def test_a_list_of_files_that_names_folders_or_leads_outside_does_no_harm(name: str, tmp_path: Path) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty"
    (out / "trials").mkdir(parents=True)
    empty.mkdir()
    (out / "index.html").write_text("mine")
    (out / MANIFEST).write_text(f"{name}\n")
    with replacing(out) as fresh:
        (fresh / "page.html").write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "empty"}
    assert {path.name for path in out.iterdir()} == {"trials", "index.html", "page.html", MANIFEST}


def test_what_only_the_earlier_report_had_is_removed_with_its_folder(tmp_path: Path) -> None:
    with replacing(tmp_path) as fresh:
        (fresh / "trials").mkdir()
        (fresh / "trials" / "a.html").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    with replacing(tmp_path) as fresh:
        (fresh / "index.html").write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "index.html", MANIFEST}
