"""The results of several machines in one folder: everything once, and contradictions kept and told."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import bench.storage.files
from bench.cli import main
from bench.errors import UserError
from bench.storage.store import Store, StoreError
from tests.merged_folders import X, Y, Z, add, contents, merge


def value(folder: Path, trial_id: str = X) -> float | None:
    return Store(folder).trial_rows("s", trial_id)[0]["value"]


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "a", tmp_path / "b"


def test_halves_make_the_whole_again_byte_for_byte(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    whole, (a, b) = tmp_path / "whole", machines
    for hour, trial_id in enumerate((X, Y, Z)):
        for folder in (whole, a if trial_id == Y else b):
            add(folder, trial_id, {"mse": hour / 7, "psnr": None}, hour=hour)
    before = contents(a) | contents(b)
    status, printed = merge(tmp_path / "out", a, b)
    assert status == 0
    assert "3 trials in" in printed
    assert contents(tmp_path / "out") == contents(whole)
    assert contents(a) | contents(b) == before


def test_of_the_same_numbers_the_run_that_started_first_is_kept_with_all_that_is_its(
    tmp_path: Path, machines: tuple[Path, Path]
) -> None:
    for folder, hour in zip(machines, (5, 3), strict=True):
        add(folder, X, {"mse": 0.1, "psnr": None}, hour=hour, train_seconds=float(hour))
    for number, order in enumerate(itertools.permutations(machines)):
        out = tmp_path / f"out{number}"
        status, printed = merge(out, *order)
        assert status == 0
        assert "1 ran more than once with the same numbers" in printed
        assert contents(out) == contents(machines[1])


def test_other_numbers_are_told_and_both_runs_are_kept_whatever_the_order(
    tmp_path: Path, machines: tuple[Path, Path]
) -> None:
    a, b = machines
    add(a, X, {"mse": 1.0, "psnr": 30.0}, hour=5, torch="2.1")
    add(b, X, {"mse": 1.5, "psnr": 30.0}, hour=3, torch="2.2")
    for number, order in enumerate(itertools.permutations(machines)):
        out = tmp_path / f"out{number}"
        status, printed = merge(out, *order)
        assert status == 1
        assert "torch 2.2 → 2.1" in printed
        assert "psnr" not in printed
        assert pd.read_parquet(out / "rows")["value"].tolist() == [1.5, 30.0]
        assert pd.read_parquet(out / "conflicts" / "1" / "rows")["value"].tolist() == [1.0, 30.0]
        for store, hour in ((Store(out), 3), (Store(out).conflicts(1), 5)):
            assert store.read_curves([X])["value"].tolist() == [hour]
            assert store.artifacts(X)["samples.png"].read_text() == str(hour)
        (line,) = pd.read_parquet(out / "conflicts.parquet").to_dict("records")
        numbers = {name: line[name] for name in ("number", "metric", "kept", "other", "absolute")}
        assert numbers == {"number": 1, "metric": "mse", "kept": 1.5, "other": 1.0, "absolute": 0.5}
        assert line["relative"] == 0.5 / 1.5
        assert json.loads(line["environment"]) == {"torch": ["2.2", "2.1"]}
        found = Store(out).read()
        assert found.rows["value"].tolist() == [1.5, 30.0]
        assert any("conflicts.parquet: of 1 trials another run gave other numbers" in p for p in found.problems)


def test_the_last_bit_of_a_number_is_a_conflict(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    add(machines[0], X, {"mse": 0.1 + 0.2})
    add(machines[1], X, {"mse": 0.3})
    assert merge(tmp_path / "out", *machines)[0] == 1


@pytest.mark.parametrize("accident", ["failed", "timeout", "interrupted", "lost"])
def test_a_trial_that_ended_ok_somewhere_is_kept_rather_than_an_accident(
    accident: str, tmp_path: Path, machines: tuple[Path, Path]
) -> None:
    add(machines[0], X, {}, status=accident, hour=None)
    add(machines[1], X, {"mse": 0.5}, hour=9)
    status, printed = merge(tmp_path / "out", *machines)
    assert status == 0
    assert "1 failed, timed out or got lost in one folder" in printed
    assert Store(tmp_path / "out").status("s", X) == "ok"
    assert not (tmp_path / "out" / "conflicts").exists()


def test_of_accidents_alone_one_is_kept(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    add(machines[0], X, {}, status="lost", hour=1)
    add(machines[1], X, {}, status="failed", hour=9)
    assert merge(tmp_path / "out", *machines)[0] == 0
    assert Store(tmp_path / "out").status("s", X) == "failed"


def test_a_trial_that_diverged_on_one_machine_only_is_a_conflict(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    add(machines[0], X, {}, status="diverged", hour=1)
    add(machines[1], X, {"mse": 0.5}, hour=9)
    status, printed = merge(tmp_path / "out", *machines)
    assert status == 1
    assert "diverged in the run kept in" in printed
    assert Store(tmp_path / "out").status("s", X) == "ok"
    assert Store(tmp_path / "out").conflicts(1).status("s", X) == "diverged"


def test_plans_are_joined(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    add(machines[0], X, {"mse": 0.5})
    add(machines[1], Y, {"mse": 0.5})
    Store(machines[1]).write_plan("s", "quick", {Z: {"trial_id": Z}}, extend=True)
    merge(tmp_path / "out", *machines)
    (planned,) = Store(tmp_path / "out").read().planned.values()
    assert sorted(planned) == [X, Y, Z]


def test_merging_into_results_that_are_there_joins_them_and_again_changes_nothing(
    tmp_path: Path, machines: tuple[Path, Path]
) -> None:
    a, b = machines
    out = tmp_path / "out"
    add(out, X, {"mse": 1.0}, hour=5)
    add(out, Z, {"mse": 1.0}, hour=5)
    add(a, X, {"mse": 2.0}, hour=3)
    add(b, X, {"mse": 3.0}, hour=4)
    add(b, Y, {"mse": 4.0}, hour=4)
    assert merge(out, a, b)[0] == 1
    assert [value(out, trial_id) for trial_id in (X, Y, Z)] == [1.0, 4.0, 1.0]
    assert [value(out / "conflicts" / number) for number in "12"] == [2.0, 3.0]
    before = contents(out)
    assert merge(out, b)[0] == 1
    assert contents(out) == before


def test_no_run_is_lost_when_a_conflict_changes_places(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    a, b = machines
    out = tmp_path / "out"
    add(a, X, {"mse": 1.0}, hour=1)
    add(b, X, {"mse": 2.0}, hour=2)
    merge(out, a, b)
    add(out, X, {"mse": 3.0}, hour=3)  # as `run --force` does
    shutil.rmtree(a)
    merge(out, b)
    values = {value(folder) for folder in (out, *(out / "conflicts").iterdir())}
    assert values == {2.0, 3.0}
    assert value(out) == 3.0
    listed = pd.read_parquet(out / "conflicts.parquet")
    assert [value(out / "conflicts" / str(number)) for number in listed["number"]] == [2.0]


def test_a_conflict_that_the_run_in_the_folder_agrees_with_by_now_is_none(
    tmp_path: Path, machines: tuple[Path, Path]
) -> None:
    a, b = machines
    out = tmp_path / "out"
    add(a, X, {"mse": 1.0}, hour=1)
    add(b, X, {"mse": 2.0}, hour=2)
    assert merge(out, a, b)[0] == 1
    add(out, X, {"mse": 2.0}, hour=9)  # as `run --force` does
    assert merge(out, b)[0] == 0
    assert value(out) == 2.0
    assert not [path for path in (out / "conflicts").rglob("*") if path.is_file()]
    assert not (out / "conflicts.parquet").exists()


def test_conflicts_of_a_merged_folder_are_merged_with_it(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    a, b = machines
    add(a, X, {"mse": 1.0}, hour=1)
    add(b, X, {"mse": 2.0}, hour=2)
    merge(tmp_path / "first", a, b)
    add(tmp_path / "c", X, {"mse": 2.0}, hour=3)
    assert merge(tmp_path / "second", tmp_path / "first", tmp_path / "c")[0] == 1
    assert contents(tmp_path / "second") == contents(tmp_path / "first")


def test_a_merge_that_was_killed_completes_when_repeated(
    tmp_path: Path, machines: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = machines
    for hour, trial_id in enumerate((X, Y, Z)):
        add(a, trial_id, {"mse": 1.0}, hour=hour)
        add(b, trial_id, {"mse": 2.0}, hour=hour + 1)
    merge(tmp_path / "whole", a, b)
    copies = 2 * 3 * len(("rows", "curve", "artifact"))
    really = shutil.copyfile
    for allowed in range(0, copies, 4):
        out, left = tmp_path / f"out{allowed}", itertools.count(allowed, -1)

        def copyfile(source: Path, target: Path, left: Any = left) -> None:
            if next(left) <= 0:
                Path(target).write_bytes(b"PAR1 half a file")
                raise KeyboardInterrupt
            really(source, target)

        monkeypatch.setattr(shutil, "copyfile", copyfile)
        with pytest.raises(KeyboardInterrupt):
            merge(out, a, b)
        monkeypatch.setattr(shutil, "copyfile", really)
        assert merge(out, a, b)[0] == 1
        assert contents(out) == contents(tmp_path / "whole")


def test_a_full_disk_is_said_with_what_to_do(
    tmp_path: Path, machines: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(source), None, str(target))

    add(machines[0], X, {"mse": 1.0})
    monkeypatch.setattr(bench.storage.files.shutil, "copyfile", full)
    with pytest.raises(StoreError, match=r"No space left on device.*; the same command goes on") as caught:
        merge(tmp_path / "out", machines[0])
    assert str(tmp_path / "out") in str(caught.value)


def test_foreign_and_corrupt_files_are_named_and_left_out(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    a, _ = machines
    add(a, X, {"mse": 1.0})
    add(a, Y, {"mse": 1.0})
    rows = a / "rows" / "s"
    (rows / f"{Y}.parquet").write_bytes(b"half a file")
    (a / "rows" / "notes.txt").write_text("mine")
    shutil.copy(rows / f"{X}.parquet", rows / "copy.parquet")
    (a / "rows" / "old" / "s").mkdir(parents=True)
    shutil.copy(rows / f"{X}.parquet", a / "rows" / "old" / "s" / f"{X}.parquet")
    (a / "plans" / "broken.json").write_text("{")
    before = contents(a)
    status, printed = merge(tmp_path / "out", a)
    assert status == 0
    skipped = [line for line in printed.splitlines() if line.startswith("skipped")]
    for name in (f"s/{Y}.parquet", "notes.txt", "copy.parquet", f"old/s/{X}.parquet", "broken.json"):
        assert sum(name in line for line in skipped) == 1, name
    assert len(skipped) == 5
    assert list(pd.read_parquet(tmp_path / "out" / "rows")["trial_id"]) == [X]
    assert contents(a) == before


def test_folders_that_are_not_there_or_overlap_are_refused_before_anything_is_written(
    tmp_path: Path, machines: tuple[Path, Path]
) -> None:
    a, b = machines
    add(a, X, {"mse": 1.0})
    with pytest.raises(UserError, match="no folder rows"):
        merge(tmp_path / "out", a, b)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="leave it out there"):
        merge(a, a)
    with pytest.raises(UserError, match="within each other"):
        merge(a / "merged", a)


def test_rows_across_seeds_are_copied_only_where_they_hold_for_the_merged_trials(
    tmp_path: Path, machines: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("bench.across.measure_across_seeds", lambda trials, store: asked.append(1))
    a, b = machines
    add(a, X, {"mse": 1.0}, hour=1)
    add(b, X, {"mse": 1.0}, hour=2)
    add(b, Y, {"mse": 1.0}, hour=2)
    merge(tmp_path / "none", a, b)
    assert asked == []
    for folder, setting, trial_id in ((a, "one", X), (b, "two", X), (b, "three", Y)):
        store = Store(folder)
        row = {**store.trial_rows("s", trial_id)[0], "metric": "udr"}
        store.write_rows_across("s", setting * 10, [row], {trial_id: store.fingerprint("s", trial_id)})
    merge(tmp_path / "out", a, b)
    assert asked == [1]
    held = {path.stem for path in (tmp_path / "out" / "rows" / "s").glob("*.parquet")}
    assert held == {X, Y, "one" * 10, "three" * 10}  # b's run of X, and with it "two", is not the one kept
    assert Store(tmp_path / "out").members("s", "one" * 10) == {X: Store(a).fingerprint("s", X)}


def test_the_command_line_merges(
    tmp_path: Path, machines: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, trial_id in zip(machines, (X, Y), strict=True):
        add(folder, trial_id, {"mse": 1.0})
    arguments = [str(folder) for folder in machines]
    assert main(["merge", *arguments, "--out", str(tmp_path / "out")]) == 0
    assert "2 trials in" in capsys.readouterr().out
    assert main(["merge", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2
    assert pq.read_table(tmp_path / "out" / "rows" / "s" / f"{X}.parquet", partitioning=None).num_rows == 1
