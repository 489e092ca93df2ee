"""Known answers for ties and ranks of leaderboards."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from bench.statistics.leaderboards import BOARD, distinguishable, leaderboard

COLUMN = {
    "dataset": "gaussians",
    "dataset_options": "{}",
    "dataset_version": 1,
    "split": "test",
    "metric": "l2-uvp",
    "metric_version": 1,
    "protocol": "{}",
    "n_samples": 1024,
    "direction": "min",
}


def rows(values: dict[str, list[float | None]], **changed: object) -> pd.DataFrame:
    """Rows of one column: setting -> values of seeds 0, 1, …"""
    return pd.DataFrame(
        {**COLUMN, **changed, "setting": setting, "seed": seed, "value": value}
        for setting, column in values.items()
        for seed, value in enumerate(column)
    )


def plan(settings: dict[str, int], references: tuple[str, ...] = ()) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "dataset": "gaussians",
            "dataset_options": "{}",
            "setting": setting,
            "seed": seed,
            "ranked": setting not in references,
        }
        for setting, seeds in settings.items()
        for seed in range(seeds)
    )


def test_leaderboard_ranks_by_mean_in_the_metric_s_direction():
    values = {"a": [1.0, 1.1, 0.9], "b": [5.0, 5.1, 4.9], "c": [3.0, 3.1, 2.9]}
    lower = leaderboard(rows(values), plan(dict.fromkeys("abc", 3))).set_index("setting")
    assert lower["rank"].to_dict() == {"a": 1, "b": 3, "c": 2}
    assert lower["best"].to_dict() == {"a": True, "b": False, "c": False}
    assert not lower["tied"].any()
    higher = leaderboard(rows(values, direction="max"), plan(dict.fromkeys("abc", 3))).set_index("setting")
    assert higher["rank"].to_dict() == {"a": 3, "b": 1, "c": 2}


def test_indistinguishable_from_the_best_is_marked_too():
    values = {"a": [1.0, 2.0, 3.0], "b": [1.4, 1.9, 3.1], "far": [11.0, 12.0, 13.5]}
    board = leaderboard(rows(values), plan(dict.fromkeys(values, 3))).set_index("setting")
    assert board["best"].to_dict() == {"a": True, "b": True, "far": False}
    assert board["tied"].to_dict() == {"a": True, "b": True, "far": False}


def test_pairing_by_seed_sees_a_small_constant_difference():
    one = pd.Series([1.0, 5.0, 9.0], index=[0, 1, 2])
    other = pd.Series([1.10, 5.11, 9.12], index=[0, 1, 2])
    assert distinguishable(one, other)
    assert not distinguishable(one, other.set_axis([3, 4, 5]))  # Welch: other seeds


def test_equal_samples_tie_and_constant_shifts_do_not():
    one = pd.Series([1.0, 1.0], index=[0, 1])
    assert not distinguishable(one, one.copy())
    assert distinguishable(one, one + 1)
    assert distinguishable(one, (one + 1).set_axis([5, 6]))


def test_a_seed_that_ran_twice_counts_once_with_its_later_value():
    twice = pd.concat([rows({"a": [9.0]}), rows({"a": [1.0, 3.0]})], ignore_index=True)
    line = leaderboard(twice, plan({"a": 2})).iloc[0]
    assert (line["mean"], line["n_ok"], line["n_planned"]) == (2.0, 2, 2)


def test_constant_samples_of_different_length_tie_whatever_their_rounding():
    one, other = pd.Series([0.1] * 3), pd.Series([0.1] * 6)
    assert not distinguishable(one, other)
    assert distinguishable(one, other + 0.1)


def test_with_one_seed_only_equality_to_three_digits_ties():
    board = leaderboard(rows({"a": [0.12341], "b": [0.12339], "c": [0.124]}), plan(dict.fromkeys("abc", 1)))
    assert board.set_index("setting")["best"].to_dict() == {"a": True, "b": True, "c": False}
    assert board["half_width"].isna().all()


def test_incomplete_cells_are_neither_ranked_nor_best():
    board = leaderboard(rows({"a": [0.1], "b": [1.0, 1.1]}), plan({"a": 2, "b": 2})).set_index("setting")
    assert (board.loc["a", "n_ok"], board.loc["a", "n_planned"], board.loc["a", "complete"]) == (1, 2, False)
    assert math.isnan(board.loc["a", "rank"])
    assert not board.loc["a", "best"]
    assert board.loc["b", "rank"] == 1
    assert board.loc["b", "best"]


def test_an_unmeasured_seed_leaves_its_cell_incomplete():
    board = leaderboard(rows({"a": [0.1, None]}), plan({"a": 2}))
    assert board[["n_ok", "n_planned", "complete"]].to_numpy().tolist() == [[1, 2, False]]


def test_references_are_neither_ranked_nor_best():
    board = leaderboard(rows({"linear": [0.0], "w2gn": [0.5]}), plan({"linear": 1, "w2gn": 1}, ("linear",)))
    board = board.set_index("setting")
    assert math.isnan(board.loc["linear", "rank"])
    assert not board.loc["linear", "best"]
    assert board.loc["w2gn", "best"]


@pytest.mark.parametrize(
    "changed",
    [
        {"n_samples": 4096},
        {"protocol": '{"bins": 30}'},
        {"metric_version": 2},
        {"split": "validation"},
        {"dataset_version": 2},
    ],
)
def test_another_protocol_is_another_column(changed: dict[str, object]):
    both = pd.concat([rows({"a": [1.0]}), rows({"b": [0.5]}, **changed)], ignore_index=True)
    board = leaderboard(both, plan({"a": 1, "b": 1}))
    assert len(board.groupby(BOARD)) == 2
    assert board["rank"].tolist() == [1, 1]


def test_no_rows_make_an_empty_leaderboard_with_its_columns():
    board = leaderboard(rows({"a": [None]}), plan({"a": 1}))
    assert board.empty
    assert {"mean", "rank", "best", *BOARD} <= set(board.columns)
