"""Copies of many files are what the files are, as long as these stay, and never stand in the way of what is newer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from bench.storage import reading
from bench.storage.compaction import copy_path
from bench.storage.store import Store
from bench.storage.tables import frame

IDS = [letter * 64 for letter in "abc"]


def row(trial_id: str, **columns: Any) -> dict[str, Any]:
    return {"trial_id": trial_id, "sweep": "s", "scale": "quick", "status": "ok", "metric": "mse", **columns}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three trials with one, two and three rows and curves, rows across two of them, and a second sweep."""
    monkeypatch.setattr(reading, "MANY", 1)
    store = Store(tmp_path)
    for count, trial_id in enumerate(IDS, start=1):
        rows = [row(trial_id, value=float(i), n_samples=i, reason=None) for i in range(count)]
        store.write_rows(rows, {"sweep": "s", "n": count})
        point = {"stage": "train", "seconds": 0.1, "name": "loss", "value": 2.0}
        store.write_curves("s", trial_id, [{**point, "step": step} for step in range(count)])
    made_from = {trial_id: store.fingerprint("s", trial_id) for trial_id in IDS[:2]}
    store.write_rows_across("s", "setting", [row(trial_id, metric="udr", value=0.5) for trial_id in IDS[:2]], made_from)
    store.write_rows([row("d" * 64, value=4.0) | {"sweep": "t"}], {"sweep": "t"})
    return store


def assert_same(store: Store, before: reading.Results) -> None:
    after = store.read()
    assert_frame_equal(after.rows, before.rows)
    assert (after.trials, after.problems) == (before.trials, before.problems)


def test_results_are_the_same_with_and_without_copies(store: Store) -> None:
    before, curves = store.read(), store.read_curves()
    assert len(before.rows) == 9
    store.compact("s")
    assert copy_path(store.root, "s", "rows").is_file()
    assert_same(store, before)
    assert_frame_equal(store.read_curves(), curves)
    assert store.statuses("s") == dict.fromkeys(IDS, "ok")


def test_readers_take_the_copy(store: Store) -> None:
    store.compact("s")
    path = store.rows_path("s", IDS[0])
    size, when = path.stat().st_size, path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.write(bytes(size))
    os.utime(path, ns=(when, when))  # damaged on the disk: as far as anyone can tell it is the file that was copied
    assert store.read().problems == []
    assert len(store.read().rows) == 9


def test_a_trial_that_runs_again_is_read_from_its_own_file(store: Store) -> None:
    store.compact("s")
    store.write_rows([row(IDS[1], value=77.0)], {"sweep": "s"})
    rows = store.read().rows
    assert rows.loc[(rows["trial_id"] == IDS[1]) & (rows["metric"] == "mse"), "value"].tolist() == [77.0]
    assert "udr" not in set(rows["metric"])  # it was made from the earlier run
    assert list(dict.fromkeys(rows["trial_id"])) == [*IDS, "d" * 64]


def test_trials_of_later_are_added_to_a_copy_and_gone_ones_left_out(store: Store) -> None:
    store.compact("s")
    store.write_rows([row("0" * 64, value=9.0)], {"sweep": "s"})
    store.rows_path("s", IDS[2]).unlink()
    now = store.read()
    assert set(now.rows["trial_id"]) == {"0" * 64, *IDS[:2], "d" * 64}
    store.compact("s")
    assert_same(store, now)
    whole = reading.files_of(store.root, "s", "rows")[0]
    assert [head.file for head in whole.heads] == ["0" * 64, *IDS[:2], "setting"]


def test_a_damaged_copy_is_as_none(store: Store) -> None:
    before = store.read()
    store.compact("s")
    path = copy_path(store.root, "s", "rows")
    whole = path.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], bytes([*whole[:40], whole[40] ^ 1, *whole[41:]])):
        path.write_bytes(broken)
        assert_same(store, before)


def test_a_file_written_while_it_is_copied_is_not_taken_for_the_copy(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reading.READ["rows"]

    def slow(path: Path, stamp: tuple[int, int]) -> Any:
        files = read(path, stamp)
        if path.stem == IDS[0]:
            store.write_rows([row(IDS[0], value=55.0)], {"sweep": "s"})
        return files

    monkeypatch.setitem(reading.READ, "rows", slow)
    store.compact("s")
    monkeypatch.setitem(reading.READ, "rows", read)
    rows = store.read().rows
    assert rows.loc[rows["trial_id"] == IDS[0], "value"].tolist() == [55.0]


def test_few_files_are_not_copied(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MANY", 5)
    store.compact("s")
    assert not (store.root / "compact").exists()


def test_pandas_reads_the_rows_once_beside_a_copy(store: Store) -> None:
    before = len(pd.read_parquet(store.root / "rows"))
    store.compact("s")
    assert len(pd.read_parquet(store.root / "rows")) == before


def test_a_frame_is_what_arrow_makes_of_a_table(store: Store) -> None:
    for what, sweep in (("rows", "s"), ("rows", "t"), ("curves", "s"), ("rows", "none")):
        table = reading.files_of(store.root, sweep, what)[0].table
        assert_frame_equal(frame(table), table.to_pandas())
