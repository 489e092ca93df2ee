"""Two runs of a trial are the same bit by bit, or it is said where and by how much they are not."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pyarrow as pa

from bench.differences import (
    curve_differences,
    environment_differences,
    in_words,
    number_differences,
    worst_numbers,
)
from bench.storage.schema import CURVE_SCHEMA, ROW_SCHEMA


def rows(**values: float | None) -> pd.DataFrame:
    """A trial's rows, a metric each, with underscores for hyphens."""
    lines = [{"metric": n.replace("_", "-"), "split": "test", "protocol": "{}", "value": v} for n, v in values.items()]
    return pa.Table.from_pylist(lines, schema=ROW_SCHEMA).to_pandas()


def curve(*points: tuple[str, int, float]) -> pd.DataFrame:
    lines = [{"stage": stage, "step": step, "name": "loss", "value": value} for stage, step, value in points]
    return pa.Table.from_pylist(lines, schema=CURVE_SCHEMA).to_pandas()


def environment(**columns: Any) -> pd.DataFrame:
    return pa.Table.from_pylist([columns, columns], schema=ROW_SCHEMA).to_pandas()


def test_the_same_numbers_are_the_same_in_any_order_and_null_is_the_same_as_null() -> None:
    found = number_differences(rows(mse=0.1, psnr=None), rows(psnr=None, mse=0.1))
    assert sorted(found["metric"]) == ["mse", "psnr"]
    assert found["same"].all()


def test_the_last_bit_makes_a_difference_and_so_does_the_sign_of_zero() -> None:
    found = number_differences(rows(mse=0.1, gap=0.0), rows(mse=math.nextafter(0.1, 1), gap=-0.0))
    assert not found["same"].any()
    assert list(found["metric"]) == ["mse", "gap"]
    assert list(found["absolute"]) == [math.nextafter(0.1, 1) - 0.1, 0]
    assert found["relative"].iloc[1] == 0


def test_differences_are_absolute_and_relative_to_the_first_and_the_worst_come_first() -> None:
    found = number_differences(rows(a=100.0, b=2.0, c=0.0, d=1.0), rows(a=101.0, b=1.0, c=0.5, d=1.0))
    assert list(found["metric"]) == ["c", "b", "a", "d"]
    assert list(found["absolute"]) == [0.5, 1, 1, 0]
    assert list(found["relative"]) == [math.inf, 0.5, 0.01, 0]
    assert list(found["same"]) == [False, False, False, True]


def test_a_number_that_only_one_run_has_is_the_worst_difference() -> None:
    found = number_differences(rows(a=1.0, b=1.0, c=None), rows(a=5.0, b=None))
    assert list(found["metric"]) == ["b", "c", "a"]
    assert not found["same"].any()
    assert found["relative"].isna().tolist() == [True, True, False]


def test_the_same_metric_by_two_protocols_is_two_measurements() -> None:
    first = rows(mse=1.0).assign(protocol='{"bins":10}')
    found = number_differences(first, first.assign(protocol='{"bins":20}'))
    assert len(found) == 2
    assert not found["same"].any()


def test_curves_differ_from_a_point_on_in_the_order_of_training() -> None:
    first = curve(("prepare", 1, 9.0), ("train", 1, 3.0), ("train", 2, 2.0), ("finish", 1, 1.0))
    second = curve(("prepare", 1, 9.0), ("train", 1, 3.0), ("train", 2, 2.5), ("finish", 1, 1.5))
    found = curve_differences(first, second)
    assert found[["stage", "step"]].to_numpy().tolist() == [["train", 2], ["finish", 1]]
    assert found[["first", "second"]].to_numpy().tolist() == [[2.0, 2.5], [1.0, 1.5]]
    assert curve_differences(first, first).empty


def test_a_curve_that_ends_earlier_differs_where_it_ends() -> None:
    found = curve_differences(curve(("train", 1, 3.0), ("train", 2, 2.0)), curve(("train", 1, 3.0)))
    assert found["step"].tolist() == [2]
    assert found["second"].isna().all()


def test_environments_differ_by_name_and_unknown_is_the_same_as_unknown() -> None:
    first = environment(torch="2.1", threads=1, git_sha="a" * 40, deterministic=True)
    second = environment(torch="2.2", threads=1, git_sha="b" * 40, cuda="12.4", deterministic=True)
    found = environment_differences(first, second)
    assert list(found["name"]) == ["git_sha", "torch", "cuda"]
    assert in_words(found) == "git_sha aaaaaaaaaaaa → bbbbbbbbbbbb, torch 2.1 → 2.2, cuda unknown → 12.4"
    assert environment_differences(first, first).empty


def test_on_a_terminal_stand_the_numbers_that_differ_and_how_many_are_left_out() -> None:
    names = [f"m{number:02}" for number in range(13)]
    first, second = rows(same=1.0, **dict.fromkeys(names, 1.0)), rows(same=1.0, **dict.fromkeys(names, 1.5))
    printed = worst_numbers(number_differences(first, second), "recorded", "again")
    assert "m09" in printed
    assert "m10" not in printed
    assert "3 more" in printed
    assert "same" not in printed
    gone = worst_numbers(number_differences(rows(mse=0.1), rows(mse=None)), "recorded", "again")
    assert gone.split() == [
        *("metric", "split", "recorded", "again", "absolute", "relative"),
        *("mse", "test", "0.10000000000000001", "none", "none", "none"),
    ]
