"""Searches of several machines in one folder: put together where they agree, kept apart and told where they do not."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from bench.storage.store import Store
from bench.tuning.search_records import read_searches, write_search_trial
from tests.merged_folders import START, X, add, contents, merge

SEARCH = "e" * 64


def search(
    folder: Path, values: Mapping[int, float | None], *, hour: int = 0, won: int | None = None, **columns: Any
) -> None:
    """Trials of a search that started at this hour, with the values at their ends; those without one were lost."""
    for number, value in values.items():
        trial = {"search": SEARCH, "number": number, "trial_id": f"{number:064d}", "sweep": "s", "scale": "quick"}
        trial |= {
            "dataset": "d",
            "dataset_options": "{}",
            "method": "m",
            "params": "{}",
            "chosen": f'{{"lr":{number}}}',
        }
        trial |= {"seed": 7, "metric": "mse", "direction": "min", "algorithm": "optuna", "scheduler": "none"}
        trial |= {"state": "lost" if value is None else "completed", "won": number == won}
        trial |= {"started_at": START + timedelta(hours=hour, minutes=number), **columns}
        reached = [] if value is None else [{"rung": 2, "step": 9, "value": value, "seconds": float(hour)}]
        write_search_trial(Store(folder), [trial | milestone for milestone in reached or [{}]])


def found(folder: Path) -> dict[int, float]:
    """The values of the trials, by number; of lost ones NaN."""
    return read_searches(folder, "s", "quick").set_index("number")["value"].to_dict()


def winners(folder: Path) -> list[int]:
    frame = read_searches(folder, "s", "quick")
    return frame.loc[frame["won"], "number"].tolist()


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "a", tmp_path / "b"


def test_a_search_of_one_folder_is_copied_byte_for_byte(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    a, b = machines
    search(a, {0: 1.0, 1: None}, won=0)
    add(b, X, {"mse": 1.0})
    status, printed = merge(tmp_path / "out", a, b)
    assert status == 0
    assert f"1 searches in {tmp_path / 'out' / 'tuning'}" in printed
    assert contents(tmp_path / "out") == contents(a) | contents(b)


def test_a_search_that_went_on_elsewhere_is_whole_again_with_one_winner(
    tmp_path: Path, machines: tuple[Path, Path]
) -> None:
    a, b = machines
    search(a, {0: 0.1, 1: 3.0, 2: 2.0}, hour=5, won=0)
    search(b, {1: 3.0, 2: 2.0, 3: 0.05, 4: 4.0}, hour=3, won=3)
    for number, order in enumerate(itertools.permutations(machines)):
        out = tmp_path / f"out{number}"
        for _ in range(2):
            assert merge(out, *order)[0] == 0
            assert found(out) == {0: 0.1, 1: 3.0, 2: 2.0, 3: 0.05, 4: 4.0}
            assert winners(out) == [3]
        seconds = read_searches(out, "s", "quick").set_index("number")["seconds"].to_dict()
        assert seconds == {0: 5.0, 1: 3.0, 2: 3.0, 3: 3.0, 4: 3.0}  # of the same record the one that started first
        assert not (out / "conflicts").exists()


def test_a_search_under_way_has_no_winner_yet(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    a, b = machines
    search(a, {0: 1.0})
    search(b, {1: 2.0})
    assert merge(tmp_path / "out", a, b)[0] == 0
    assert winners(tmp_path / "out") == []


def test_a_lost_trial_gives_way_to_one_that_came_to_its_end(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    a, b = machines
    search(a, {0: None, 1: 2.0}, hour=0, won=1)
    search(b, {0: 1.0, 1: None}, hour=5, won=0)
    for number, order in enumerate(itertools.permutations(machines)):
        assert merge(tmp_path / f"out{number}", *order)[0] == 0
        assert found(tmp_path / f"out{number}") == {0: 1.0, 1: 2.0}
        assert winners(tmp_path / f"out{number}") == [0]


@pytest.mark.parametrize("other", ["value", "setting"])
def test_a_search_that_came_out_otherwise_is_kept_apart_and_told_again(
    tmp_path: Path, machines: tuple[Path, Path], other: str
) -> None:
    a, b = machines
    search(a, {0: 1.0, 1: 2.0, 2: 3.0}, hour=5, won=0)
    if other == "value":
        search(b, {0: 1.0, 1: 0.5}, hour=3, won=1)
    else:
        search(b, {0: 1.0}, hour=3)
        search(b, {1: 0.5}, hour=3, won=1, trial_id="f" * 64)
    for number, order in enumerate(itertools.permutations(machines)):
        out = tmp_path / f"out{number}"
        for _ in range(2):
            status, printed = merge(out, *order)
            assert status == 1
            assert (
                "conflict: the search of m on d in s-quick came out otherwise, in 1 of 2 trials, in the run" in printed
            )
            assert str(out / "conflicts" / "1" / "tuning" / "s-quick" / SEARCH[:16]) in printed.replace("\n", "")
            assert contents(out / "tuning") == contents(b / "tuning")
            assert contents(out / "conflicts" / "1" / "tuning") == contents(a / "tuning")
    copied = tmp_path / "copied"
    assert merge(copied, tmp_path / "out0")[0] == 1  # conflicts of earlier merges take part
    assert contents(copied) == contents(tmp_path / "out0")


def test_the_search_that_the_folder_has_stays_first(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    out, (a, _) = tmp_path / "out", machines
    search(out, {0: 2.0}, hour=9)
    search(a, {0: 1.0}, hour=0)
    assert merge(out, a)[0] == 1
    assert found(out) == {0: 2.0}
    assert found(out / "conflicts" / "1") == {0: 1.0}


def test_what_is_no_trial_of_a_search_is_named_and_stays_behind(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    a, b = machines
    search(a, {0: 1.0, 1: 2.0, 2: 3.0})
    add(a, X, {"mse": 1.0})
    folder = a / "tuning" / "s-quick" / SEARCH[:16]
    (folder / "00001.parquet").write_bytes(b"no Parquet")
    shutil.move(folder / "00002.parquet", folder / "00007.parquet")
    (folder / "00008.parquet").symlink_to(folder / "00000.parquet")
    search(b, {0: 1.0})
    (a / "tuning" / "linked-quick").symlink_to(b / "tuning" / "s-quick")
    status, printed = merge(tmp_path / "out", a)
    assert status == 0
    for name, why in {
        folder / "00001.parquet": "not a readable trial of a search",
        folder / "00007.parquet": "its lines are of another trial",
        folder / "00008.parquet": "a folder or a symbolic link",
        a / "tuning" / "linked-quick" / SEARCH[:16] / "00000.parquet": "a folder or a symbolic link",
    }.items():
        (line,) = [line for line in printed.splitlines() if line.startswith(f"skipped {name}: ")]
        assert why in line
    assert found(tmp_path / "out") == {0: 1.0}


def test_a_damaged_record_in_the_folder_is_replaced_by_a_sound_one(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    out, (a, _) = tmp_path / "out", machines
    for folder in (out, a):
        search(folder, {0: 1.0, 1: 2.0})
    (damaged,) = out.rglob("00001.parquet")
    damaged.write_bytes(b"no Parquet")
    assert merge(out, a)[0] == 0
    assert pd.read_parquet(out / "tuning")["number"].tolist() == [0, 1]
    assert pq.read_schema(damaged)
