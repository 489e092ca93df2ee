"""What cannot break a report: results that are missing, damaged or of somebody else, exports that fail."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vl_convert

from bench.report import write_report
from bench.storage.store import Store
from tests import report_fixture as fixture
from tests.report_pages import Elements, entrance, section_of


def test_an_empty_folder_says_what_to_run(tmp_path: Path):
    page = entrance(tmp_path)
    assert "No results yet" in page.text
    assert f"python -m bench run sweeps.toml --results {tmp_path} python -m bench report --results" in page.text
    links = {element["href"] for element in page.attributes if "href" in element}
    assert not [link for link in links if "#papers" in str(link) or "#methods" in str(link)]  # which are not there


def test_unreadable_files_are_named_and_lose_nothing(tmp_path: Path):
    trials = fixture.sprites()
    store = fixture.write(tmp_path, trials)
    (tmp_path / "rows" / "sprites" / "corrupt.parquet").write_bytes(b"PAR1 no")
    (store.artifacts(trials[0].id)["samples.png"]).write_bytes(b"no picture")
    published = tmp_path / "published"
    published.mkdir()
    (published / "bad.csv").write_text("no,such,columns\n")
    text = entrance(tmp_path).text
    assert "corrupt.parquet: cannot be read as Parquet" in text
    assert "samples.png: not a readable PNG" in text
    assert "bad.csv, line 1: the column 'paper' is missing" in text
    assert "8 of 8 trials ended ok." in text


def test_rows_and_records_that_are_not_of_the_harness_are_named_and_lose_nothing(tmp_path: Path):
    store = fixture.write(tmp_path, fixture.sprites(), pictures=False)
    good = Store(tmp_path).trial_rows("sprites", fixture.sprites()[0].id)[0]
    folder = tmp_path / "rows" / "hand"
    folder.mkdir()
    files = {
        "null": dict.fromkeys(good),
        "names": {**good, "trial_id": "n" * 64, "sweep": None},
        "p" * 64: {**good, "trial_id": "p" * 64, "sweep": "hand", "params": "[1"},
        "d" * 64: {**good, "trial_id": "d" * 64, "sweep": "hand", "dataset": None},
    }
    for name, row in files.items():
        pq.write_table(pa.Table.from_pylist([row]), folder / f"{name}.parquet")
    store.write_plan("broken", "quick", {"b" * 64: {"spec": "none"}, "c" * 64: {}}, extend=False)
    text = entrance(tmp_path).text
    assert "null.parquet: not a file of ours, its column trial_id has a line without a value" in text
    assert "names.parquet: not a file of ours, its column sweep has a line without a value" in text
    assert f"rows of trial {'p' * 16} in hand: not as the harness writes them" in text
    assert f"rows of trial {'d' * 16} in hand: not as the harness writes them" in text
    assert f"plan of broken at quick scale: the record of trial {'b' * 16} is not one of ours" in text
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
    store = fixture.write(tmp_path, fixture.sprites(), pictures=False)
    (tmp_path / "plans" / "sprites-quick.json").unlink()
    for path in (tmp_path / "rows" / "sprites").iterdir():
        pq.write_table(pq.read_table(path, partitioning=None).replace_schema_metadata(None), path)
    labels = {setting.label for setting in section_of(store, "sprites").settings.values()}
    assert labels == {"ae", "vae", "beta-vae", "gwae"}
    assert write_report(tmp_path, tmp_path / "reports").is_file()
