"""Known answers of the comparison of all pairs, and how often it errs when nothing differs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.statistics.leaderboards import distinguishable
from bench.statistics.paired import compare, holm, paired_comparisons


def column(samples: dict[str, dict[int, float]]) -> pd.DataFrame:
    """Values of one column: setting -> seed -> value."""
    return pd.DataFrame(
        [
            {"setting": setting, "seed": seed, "value": value}
            for setting, of_seeds in samples.items()
            for seed, value in of_seeds.items()
        ]
    )


def test_same_seeds_are_compared_by_the_paired_t_test():
    one, other = [1.0, 5.0, 9.0], [1.4, 5.3, 9.8]
    line = paired_comparisons(column({"a": dict(enumerate(one)), "b": dict(enumerate(other))})).iloc[0]
    expected = stats.ttest_rel(one, other)
    low, high = expected.confidence_interval()
    assert (line["one"], line["other"], line["n_shared"], line["test"]) == ("a", "b", 3, "paired")
    assert line["difference"] == pytest.approx(-0.5)
    assert line["p"] == line["p_holm"] == pytest.approx(expected.pvalue)
    assert line["half_width"] == pytest.approx((high - low) / 2)


def test_other_seeds_are_compared_by_welch_s_test():
    one, other = {0: 1.0, 1: 5.0, 2: 9.0}, {1: 11.0, 2: 12.0, 3: 13.0, 4: 14.5}
    line = paired_comparisons(column({"a": one, "b": other})).iloc[0]
    expected = stats.ttest_ind(list(one.values()), list(other.values()), equal_var=False)
    low, high = expected.confidence_interval()
    assert (line["n_shared"], line["test"]) == (2, "Welch")
    assert line["p"] == pytest.approx(expected.pvalue)
    assert line["half_width"] == pytest.approx((high - low) / 2)


def test_one_seed_gives_a_difference_and_no_test():
    line = paired_comparisons(column({"a": {0: 1.0, 1: 2.0}, "b": {0: 4.0}})).iloc[0]
    assert (line["difference"], line["test"], line["n_shared"]) == (-2.5, "", 1)
    assert line[["half_width", "p", "p_holm"]].isna().all()


def test_constant_shifts_differ_and_equal_samples_do_not():
    shared = {0: 0.1, 1: 0.2, 2: 0.7}
    samples = {"a": shared, "same": shared, "shifted": {seed: value + 0.3 for seed, value in shared.items()}}
    p = paired_comparisons(column(samples)).set_index(["one", "other"])["p"]
    assert p.to_dict() == {("a", "same"): 1, ("a", "shifted"): 0, ("same", "shifted"): 0}


def test_fewer_than_two_settings_make_no_pair():
    assert paired_comparisons(column({"a": {0: 1.0, 1: 2.0}, "b": {0: math.nan}})).empty


def test_two_values_for_one_seed_are_an_error():
    twice = pd.concat([column({"a": {0: 1.0}}), column({"a": {0: 2.0}})])
    with pytest.raises(ValueError, match="two values for one seed"):
        paired_comparisons(twice)


def test_holm_s_adjustment_is_that_of_his_paper():
    adjusted = holm(np.array([0.01, 0.04, math.nan, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, math.nan, 0.06, 0.02])
    assert holm(np.array([0.7, 0.6])).tolist() == [1, 1]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni_s_and_keeps_the_order(p: list[float]):
    given_p = np.array(p)
    adjusted = holm(given_p)
    assert (adjusted >= given_p).all()
    assert (adjusted <= np.minimum(len(p) * given_p, 1) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(given_p)]) >= 0).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_it_is_the_rule_by_which_leaderboards_mark_the_best(number: int, same_seeds: bool):
    draws = np.random.default_rng(number).normal(size=(2, 4)) + np.array([[0.0], [1.5]])
    one = pd.Series(draws[0], index=range(4))
    other = pd.Series(draws[1], index=range(4) if same_seeds else range(1, 5))
    line = paired_comparisons(column({"a": one.to_dict(), "b": other.to_dict()})).iloc[0]
    assert (line["p"] < 0.05) == distinguishable(one, other)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_paired_intervals_cover_the_true_difference_95_times_in_a_hundred(seeds: int):
    rng = np.random.default_rng(seeds)
    hits = []
    for _ in range(40):  # columns of 100 settings, each of which is in one pair that counts
        luck = rng.normal(0, 3, size=seeds)  # what the settings share under a seed
        samples = rng.normal(size=(100, seeds)) + luck
        pairs = paired_comparisons(
            column({f"{k:03}": dict(enumerate(values.tolist())) for k, values in enumerate(samples)})
        )
        mine = pairs[pairs["other"].astype(int) - pairs["one"].astype(int) == 1].iloc[::2]
        hits += (mine["difference"].abs() <= mine["half_width"]).tolist()
    assert len(hits) == 40 * 50
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("seeds", [3, 10])
def test_holm_finds_a_difference_where_there_is_none_in_at_most_5_of_a_hundred_columns(seeds: int):
    rng = np.random.default_rng(seeds)
    columns = 2000
    samples = rng.normal(size=(columns, 6, seeds)) + rng.normal(size=(columns, 1, seeds))
    one, other = np.triu_indices(6, k=1)
    starts = 6 * np.arange(columns)[:, None]
    p = compare(samples.reshape(-1, seeds), (starts + one).ravel(), (starts + other).ravel()).p.reshape(columns, -1)
    assert np.mean(p.min(axis=1) < 0.05) > 0.25  # 15 pairs, uncorrected
    errors = [holm(of_column).min() < 0.05 for of_column in p]
    assert np.mean(errors) < 0.05 + 2 * math.sqrt(0.05 * 0.95 / columns)
