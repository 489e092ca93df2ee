"""Rows come back as they were written, whole or not at all, and foreign files do no harm."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.storage import reading
from bench.storage import store as store_module
from bench.storage.files import replacing
from bench.storage.schema import CURVE_SCHEMA, MIGRATIONS, ROW_SCHEMA, SCHEMA_VERSION
from bench.storage.store import Store, StoreError


def row(trial_id: str = "a" * 64, **columns: Any) -> dict[str, Any]:
    return {"schema_version": 1, "trial_id": trial_id, "sweep": "s", "scale": "quick", "status": "ok", **columns}


def test_rows_come_back_with_the_columns_of_the_schema(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_rows([row(metric="mse", value=0.5), row(metric="psnr", value=None, reason="why")], {"spec": 1})
    found = store.read()
    assert list(found.rows.columns) == ROW_SCHEMA.names
    assert found.rows["value"].tolist()[0] == 0.5
    assert pd.isna(found.rows["value"].tolist()[1])
    assert found.trials == {("s", "a" * 64): {"spec": 1}}
    assert found.problems == []


def test_pandas_reads_the_folder_at_once_across_sweeps_and_null_columns(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_rows([row("a" * 64, error=None)], {})
    store.write_rows([{**row("b" * 64, error="text"), "sweep": "t", "status": "failed"}], {})
    frame = pd.read_parquet(tmp_path / "rows")
    assert sorted(frame["sweep"]) == ["s", "t"]
    assert list(frame.columns) == ROW_SCHEMA.names


def test_an_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="surprise"):
        Store(tmp_path).write_rows([row(surprise=1)], {})
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_write_that_fails_keeps_the_earlier_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.write_rows([row(metric="mse", value=1.0)], {})

    def half(table: pa.Table, where: Path, **options: Any) -> None:
        Path(where).write_bytes(b"PAR1 half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", half)
    with pytest.raises(StoreError, match="No space left on device"):
        store.write_rows([row(metric="mse", value=2.0)], {})
    assert store.read().rows["value"].tolist() == [1.0]
    assert [path.name for path in (tmp_path / "rows" / "s").iterdir()] == ["a" * 64 + ".parquet"]


def test_foreign_and_corrupt_files_are_named_and_passed_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_rows([row()], {})
    (tmp_path / "rows" / "s" / "corrupt.parquet").write_bytes(b"not parquet")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "rows" / "foreign.parquet")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "rows" / "s" / "foreign.parquet")
    (tmp_path / "rows" / "notes.txt").write_text("mine")
    found = store.read()
    assert len(found.rows) == 1
    assert len(found.problems) == 4
    assert any("corrupt.parquet" in problem for problem in found.problems)
    assert any("s/foreign.parquet" in problem and "lacks the column" in problem for problem in found.problems)


def test_half_written_temporary_files_are_not_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_rows([row()], {})
    (tmp_path / "rows" / "s" / ".b.parquet.123.tmp").write_bytes(b"half")
    assert store.read().problems == []
    assert len(pd.read_parquet(tmp_path / "rows")) == 1


def test_status_is_that_of_the_rows_and_none_for_unreadable_ones(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_rows([row("a" * 64)], {})
    store.write_rows([row("b" * 64, error="e") | {"status": "failed"}], {})
    (tmp_path / "rows" / "s" / f"{'c' * 64}.parquet").write_bytes(b"")
    assert [store.status("s", letter * 64) for letter in "abcd"] == ["ok", "failed", None, None]


def test_stamp_changes_when_rows_are_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.stamp("s", "a" * 64) is None
    store.write_rows([row()], {})
    first = store.stamp("s", "a" * 64)
    store.write_rows([row()], {})
    assert first is not None
    assert store.stamp("s", "a" * 64) != first


def test_artifacts_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.replacing_artifacts("a") as folder:
        (folder / "samples.png").write_bytes(b"1")

    def fail() -> None:
        with store.replacing_artifacts("a") as folder:
            (folder / "samples.png").write_bytes(b"2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.artifacts("a")["samples.png"].read_bytes() == b"1"
    assert len(list((tmp_path / "artifacts").iterdir())) == 1


def test_curves_come_back_for_the_trials_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    point = {"stage": "train", "step": 1, "seconds": 0.1, "name": "loss", "value": 2.0}
    store.write_curves("s", "a", [point])
    store.write_curves("s", "b", [point, point])
    assert list(store.read_curves().columns) == CURVE_SCHEMA.names
    assert len(store.read_curves(["b"])) == 2


def test_a_plan_is_replaced_or_extended(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_plan("s", "quick", {"a": {}}, extend=False)
    store.write_plan("s", "quick", {"b": {}}, extend=True)
    assert store.read().planned == {("s", "quick"): ["a", "b"]}
    store.write_plan("s", "quick", {"c": {}}, extend=False)
    assert store.read().planned == {("s", "quick"): ["c"]}


def test_what_two_extend_a_plan_by_at_once_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.write_plan("s", "quick", {"a": {}}, extend=False)

    @contextmanager
    def while_another_does(path: Path) -> Iterator[Path]:
        monkeypatch.undo()
        Store(tmp_path).write_plan("s", "quick", {"c": {}}, extend=True)
        with replacing(path) as temporary:
            yield temporary

    monkeypatch.setattr(store_module, "replacing", while_another_does)
    store.write_plan("s", "quick", {"b": {}}, extend=True)
    (planned,) = store.read().planned.values()
    assert sorted(planned) == ["a", "b", "c"]
    written = sorted((tmp_path / "plans").iterdir())
    store.write_plan("s", "quick", {"b": {}, "c": {}}, extend=True)  # as it is planned already
    assert sorted((tmp_path / "plans").iterdir()) == written


def test_a_plan_that_cannot_be_read_is_kept_and_named_when_it_is_extended(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_plan("s", "quick", {"a": {}}, extend=False)
    plan = store.plan_path("s", "quick")
    half = plan.read_text()[:-5]
    plan.write_text(half)
    store.write_plan("s", "quick", {"b": {}}, extend=True)
    found = store.read()
    assert found.planned == {("s", "quick"): ["b"]}
    assert [str(plan) in problem for problem in found.problems] == [True]
    assert plan.read_text() == half


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs a folder that nobody may write to")
def test_a_folder_that_cannot_be_written_is_said_before_a_run() -> None:
    with pytest.raises(StoreError, match="--results"):
        Store("/proc/nowhere").check_writable()


def test_a_run_that_starts_beside_another_can_write_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def then_removed_by_the_other(path: Path) -> Iterator[Path]:
        with replacing(path) as temporary:
            yield temporary
        path.unlink()

    monkeypatch.setattr(store_module, "replacing", then_removed_by_the_other)
    Store(tmp_path).check_writable()


@pytest.mark.parametrize("error", [FileExistsError(), PermissionError(1, "no links on this file system")])
def test_a_folder_is_marked_once_also_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def link(own: Path, mark: Path) -> None:
        if isinstance(error, FileExistsError):
            mark.write_text("the other's")  # which started at the same time
        raise error

    monkeypatch.setattr(os, "link", link)
    store = Store(tmp_path)
    store.check_writable()
    assert store.mark() == Store(tmp_path).mark() == (tmp_path / ".mark").read_text() != ""
    assert [path.name for path in tmp_path.iterdir()] == [".mark"]


def test_curves_without_points_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    point = {"stage": "train", "step": 1, "seconds": 0.1, "name": "loss", "value": 2.0}
    path = store.write_curves("s", "a" * 64, [point])
    pq.write_table(CURVE_SCHEMA.empty_table(), path.with_name("b.parquet"))
    monkeypatch.setattr(reading, "MANY", 1)
    store.compact("s")
    assert (tmp_path / "compact" / "s.curves.parquet").exists()
    assert store.read_curves()["trial_id"].tolist() == ["a" * 64]


def test_an_empty_folder_reads_as_no_rows(tmp_path: Path) -> None:
    found = Store(tmp_path).read()
    assert found.rows.empty
    assert list(found.rows.columns) == ROW_SCHEMA.names


def test_a_file_of_the_first_schema_reads_as_one_of_this(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_rows([row(metric="mse", value=0.5)], {"spec": 1})
    path = store.rows_path("s", "a" * 64)
    table = pq.read_table(path, partitioning=None)
    first = table.drop_columns(["resumed"])
    first = first.set_column(0, "schema_version", pa.array([1], pa.int32())).replace_schema_metadata({"trial": "{}"})
    pq.write_table(first, path)
    found = store.read()
    assert found.problems == []
    assert list(found.rows.columns) == ROW_SCHEMA.names
    assert found.rows[["schema_version", "resumed", "value"]].iloc[0].tolist() == [SCHEMA_VERSION, 0, 0.5]
    assert store.trial_rows("s", "a" * 64)[0]["resumed"] == 0


def test_a_file_of_a_later_schema_is_named_with_what_to_do(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_rows([row()], {})
    path = store.rows_path("s", "a" * 64)
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.set_column(0, "schema_version", pa.array([SCHEMA_VERSION + 1], pa.int32())), path)
    (problem,) = store.read().problems
    assert f"its schema is version {SCHEMA_VERSION + 1}, this harness knows {SCHEMA_VERSION}; update it" in problem


def test_every_version_before_this_has_a_migration() -> None:
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_one_flipped_bit_in_a_value_or_the_record_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    value = 0.123456789
    store.write_rows([row(metric="mse", value=value)], {"spec": {"seed": 41}})
    path = store.rows_path("s", "a" * 64)
    whole = path.read_bytes()
    page, record = whole.index(struct.pack("<d", value)), whole.rindex(b"41}}")
    for place in (page, record):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        (problem,) = store.read().problems
        assert "damaged" in problem or "CRC" in problem
        assert store.status("s", "a" * 64) is None  # so that it runs again


def test_a_file_that_bears_another_name_than_its_trial_is_not_counted_twice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.write_rows([row(metric="mse", value=0.5)], {})
    for copy in (path.with_name("a copy.parquet"), tmp_path / "rows" / "t" / path.name):
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    found = store.read()
    assert len(found.rows) == 1
    assert ["of another trial or sweep" in problem for problem in found.problems] == [True, True]
