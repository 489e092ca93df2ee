"""What changed between two sets of results, on frames of a few lines whose answer is known."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from bench.statistics.changes import cell_changes, trial_changes

KEY = {
    "sweep": "s",
    "scale": "quick",
    "dataset": "d",
    "dataset_options": "{}",
    "dataset_version": 1,
    "split": "test",
    "metric": "mse",
    "metric_version": 1,
    "protocol": '{"bins": 10}',
    "n_samples": 100,
    "direction": "min",
}


def rows(values: dict[str, list[float]], **key: object) -> pd.DataFrame:
    """A line a (setting, seed), with the given values of seeds 0, 1, …"""
    return pd.DataFrame(
        [
            {**KEY, **key, "setting": setting, "seed": seed, "value": value}
            for setting, of_seeds in values.items()
            for seed, value in enumerate(of_seeds)
        ]
    )


def planned(frame: pd.DataFrame) -> pd.DataFrame:
    names = ["sweep", "scale", "dataset", "dataset_options", "setting", "seed"]
    return frame[names].drop_duplicates().assign(ranked=True)


def changes(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    return cell_changes(old, planned(old), new, planned(new)).set_index("setting")


def test_the_same_values_are_the_same_whatever_the_order_of_their_rows():
    old = rows({"a": [0.1, 0.2, 0.3], "b": [1.0]})
    cells = changes(old, old.iloc[::-1])
    assert list(cells["change"]) == ["same", "same"]
    assert cells["difference"].isna().all()
    assert cells["told_apart"].isna().all()


def test_one_bit_is_a_change_that_cannot_be_told_apart():
    cells = changes(rows({"a": [0.1, 0.2]}), rows({"a": [0.1, math.nextafter(0.2, 1)]}))
    assert cells.loc["a", "change"] == "changed"
    assert not cells.loc["a", "told_apart"]


def test_a_changed_cell_has_both_means_intervals_and_ranks():
    cells = changes(
        rows({"a": [1.0, 1.1, 1.2], "b": [2.0, 2.1, 2.2]}), rows({"a": [3.0, 3.2, 3.1], "b": [2.0, 2.1, 2.2]})
    )
    a, b = cells.loc["a"], cells.loc["b"]
    assert (a["old_mean"], a["new_mean"], a["difference"]) == pytest.approx((1.1, 3.1, 2.0))
    assert (a["old_half_width"], a["new_half_width"]) == pytest.approx((0.248414, 0.248414), rel=1e-5)
    assert a["told_apart"]
    assert (a["old_rank"], a["new_rank"]) == (1, 2)
    assert (b["change"], b["old_rank"], b["new_rank"]) == ("same", 2, 1)


def test_a_seed_more_is_a_change():
    cells = changes(rows({"a": [1.0, 2.0]}), rows({"a": [1.0, 2.0, 3.0]}))
    assert cells.loc["a", "change"] == "changed"
    assert (cells.loc["a", "old_n_ok"], cells.loc["a", "new_n_ok"]) == (2, 3)
    assert not cells.loc["a", "told_apart"]


def test_cells_of_one_set_only_are_added_or_removed():
    cells = changes(rows({"a": [1.0], "b": [1.0]}), rows({"b": [1.0], "c": [1.0]}))
    assert cells["change"].to_dict() == {"b": "same", "c": "added", "a": "removed"}
    assert math.isnan(cells.loc["c", "old_mean"])
    assert cells.loc["a", "old_mean"] == 1.0


def test_another_version_of_a_metric_is_said_and_not_compared():
    cells = changes(rows({"a": [1.0]}), rows({"a": [9.0]}, metric_version=2, protocol='{"bins": 20}'))
    (cell,) = cells.to_dict("records")
    assert (cell["change"], cell["differs"]) == ("measured otherwise", "metric version 1 → 2, bins 10 → 20")
    assert (cell["old_mean"], cell["new_mean"]) == (1.0, 9.0)
    assert math.isnan(cell["difference"])
    assert pd.isna(cell["told_apart"])


def test_splits_are_never_taken_for_one_another():
    cells = changes(rows({"a": [1.0]}, split="validation"), rows({"a": [1.0]}, split="test"))
    assert list(cells["change"]) == ["added", "removed"]


def test_protocols_without_a_number_of_samples_are_compared():
    old, new = rows({"a": [1.0]}, n_samples=None), rows({"a": [2.0]}, n_samples=None)
    assert changes(old, new).loc["a", "change"] == "changed"


def test_sweeps_and_scales_are_ranked_apart():
    old = pd.concat([rows({"a": [1.0], "b": [2.0]}), rows({"a": [2.0], "b": [1.0]}, scale="paper")])
    cells = changes(old, old).reset_index().set_index(["scale", "setting"])
    assert cells["new_rank"].to_dict() == {("quick", "a"): 1, ("quick", "b"): 2, ("paper", "a"): 2, ("paper", "b"): 1}


def test_against_nothing_everything_is_added_and_the_other_way_round_removed():
    some = rows({"a": [1.0, 2.0]})
    assert list(changes(some.iloc[:0], some)["change"]) == ["added"]
    assert list(changes(some, some.iloc[:0])["change"]) == ["removed"]
    assert changes(some.iloc[:0], some.iloc[:0]).empty


def test_values_that_could_not_be_measured_make_no_cell():
    assert changes(rows({"a": [math.nan]}), rows({"a": [1.0]})).loc["a", "change"] == "added"


def trials(statuses: dict[str, list[str]], version: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                **{name: KEY[name] for name in ("sweep", "scale", "dataset", "dataset_options")},
                "setting": setting,
                "seed": seed,
                "status": status,
                "version": version,
            }
            for setting, of_seeds in statuses.items()
            for seed, status in enumerate(of_seeds)
        ]
    )


def test_trials_are_added_removed_changed_or_the_same():
    found = trial_changes(trials({"a": ["ok", "failed"], "b": ["ok"]}), trials({"a": ["ok", "ok"], "c": ["lost"]}))
    told = {(line["setting"], line["seed"]): line["change"] for line in found.to_dict("records")}
    assert told == {("a", 0): "same", ("a", 1): "changed", ("c", 0): "added", ("b", 0): "removed"}
    changed = found[found["change"] == "changed"].iloc[0]
    assert (changed["old_status"], changed["new_status"]) == ("failed", "ok")


def test_a_new_version_of_the_code_is_a_change_of_the_trial():
    found = trial_changes(trials({"a": ["ok"]}), trials({"a": ["ok"]}, version=2))
    assert (found.loc[0, "change"], found.loc[0, "old_version"], found.loc[0, "new_version"]) == ("changed", 1, 2)
