"""Average ranks against published and scipy's answers, and the family-wise error of the critical difference."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.statistics.ranks import compare_ranks, critical_difference


def means(table: dict[str, list[float | None]], direction: str = "min") -> pd.DataFrame:
    """setting -> means on tasks t0, t1, …"""
    lines = [
        {"task": f"t{k}", "setting": setting, "mean": mean, "direction": direction}
        for setting, row in table.items()
        for k, mean in enumerate(row)
    ]
    return pd.DataFrame(lines).astype({"mean": float})


# Demšar 2006, table 6: AUC of C4.5 with parameters m and cf tuned or not, on 14 data sets.
DEMSAR = {
    "C4.5": [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.000, 0.940, 0.619, 0.972, 0.957],
    "C4.5+m": [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.000, 0.962, 0.666, 0.981, 0.978],
    "C4.5+cf": [0.771, 0.590, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1.000, 0.965, 0.614, 0.9751, 0.946],
    "C4.5+m+cf": [0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1.000, 0.962, 0.669, 0.975, 0.970],
}


def test_demsar_s_example_comes_out_as_in_his_paper():
    found = compare_ranks(means(DEMSAR, "max"))
    ranks = found.ranks.set_index("setting")["average_rank"]
    assert ranks.round(3).to_dict() == {"C4.5+m+cf": 1.964, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5": 3.143}
    chi_squared = 12 * 14 / (4 * 5) * ((ranks**2).sum() - 4 * 5**2 / 4)  # as he has it, without correction for ties
    assert chi_squared == pytest.approx(9.28, abs=0.005)
    assert 13 * chi_squared / (14 * 3 - chi_squared) == pytest.approx(3.69, abs=0.005)
    chi_squared = stats.friedmanchisquare(*DEMSAR.values()).statistic
    assert found.statistic == pytest.approx(13 * chi_squared / (14 * 3 - chi_squared))
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)


def test_critical_values_are_those_of_demsar_s_table_5():
    expected = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}
    for count, value in expected.items():
        assert critical_difference(count, 1) / math.sqrt(count * (count + 1) / 6) == pytest.approx(value, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 6), st.integers(2, 8), st.booleans())
def test_the_f_follows_from_scipy_s_friedman_statistic_with_ties_and_without(
    number: int, count: int, tasks: int, tied: bool
):
    draws = np.random.default_rng(number).normal(size=(count, tasks))
    draws = draws.round(0) if tied else draws
    if (draws == draws[0]).all():
        return
    chi_squared = stats.friedmanchisquare(*draws).statistic
    found = compare_ranks(means({f"s{k}": list(row) for k, row in enumerate(draws)}))
    left = tasks * (count - 1) - chi_squared
    if left > 1e-6:
        assert found.statistic == pytest.approx((tasks - 1) * chi_squared / left)
    else:
        assert math.isinf(found.statistic)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(2, 8))
def test_groups_hold_every_pair_that_cannot_be_told_apart_and_no_other(number: int, count: int, tasks: int):
    draws = np.random.default_rng(number).normal(size=(count, tasks)) + 0.7 * np.arange(count)[:, None]
    found = compare_ranks(means({f"s{k}": list(row) for k, row in enumerate(draws)}))
    ranks = found.ranks.set_index("setting")["average_rank"]
    together = {(a, b) for group in found.groups for a in group for b in group if a != b}
    close = {(a, b) for a in ranks.index for b in ranks.index if a != b}
    close = {(a, b) for a, b in close if abs(ranks[a] - ranks[b]) < found.critical_difference}
    assert together == close


def test_ties_share_their_rank_and_full_agreement_has_the_exact_p():
    found = compare_ranks(means({"a": [1, 1, 1], "b": [2, 2, 2], "c": [3, 3, 3]}))
    assert found.ranks["average_rank"].tolist() == [1, 2, 3]
    assert math.isinf(found.statistic)
    assert found.p == pytest.approx(1 / 36)
    same = compare_ranks(means({"a": [1, 1], "b": [1, 1]}))
    assert same.ranks["average_rank"].tolist() == [1.5, 1.5]
    assert (same.statistic, same.p, same.groups) == (0, 1, [["a", "b"]])


def test_incomplete_blocks_are_left_out_and_said():
    table = {
        "a": [1.0, 2.0, 3.0, None],
        "b": [2.0, 1.0, 4.0, 5.0],
        "c": [3.0, 3.0, 5.0, 6.0],
        "d": [0.5, None, None, None],
    }
    found = compare_ranks(means(table))
    assert found.dropped_settings == ["d"]
    assert found.dropped_tasks == ["t3"]
    assert found.ranks.set_index("setting")["average_rank"].to_dict() == {"a": 4 / 3, "b": 5 / 3, "c": 3}
    assert len(found.by_task) == 9


def test_one_task_or_one_setting_has_ranks_and_no_test():
    for table in ({"a": [1.0], "b": [2.0]}, {"a": [1.0, 2.0]}):
        found = compare_ranks(means(table))
        assert found.ranks["average_rank"].iloc[0] == 1
        assert math.isnan(found.p)
        assert math.isnan(found.critical_difference)
        assert found.groups == []


@pytest.mark.parametrize("tasks", [5, 10, 20])
@pytest.mark.parametrize("count", [2, 5, 10])
def test_nothing_is_told_apart_in_95_of_a_hundred_comparisons_of_equals(count: int, tasks: int):
    draws = np.random.default_rng([count, tasks]).normal(size=(6000, count, tasks))
    average = (draws.argsort(axis=1).argsort(axis=1) + 1).mean(axis=2)
    errors = np.ptp(average, axis=1) >= critical_difference(count, tasks)
    assert np.mean(errors) < 0.05 + 0.02 * (count == 2)  # two settings: a sign test by the normal distribution
