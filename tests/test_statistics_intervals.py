"""Known answers and coverage of the intervals from few values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.statistics.intervals import Interval, prediction_interval, t_interval


def test_interval_of_one_to_five_is_the_textbook_one():
    mean, half_width = t_interval([1, 2, 3, 4, 5])
    assert mean == 3
    assert half_width == pytest.approx(2.776445 * math.sqrt(2.5) / math.sqrt(5), rel=1e-6)


def test_one_value_has_no_interval_and_none_is_an_error():
    assert t_interval([0.25]) == Interval(0.25, None)
    with pytest.raises(ValueError, match="no values"):
        t_interval([])


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_interval_covers_the_true_mean_95_times_in_a_hundred(count: int):
    draws = np.random.default_rng(count).normal(3.0, 2.0, size=(4000, count))
    hits = [abs(mean - 3.0) <= half_width for mean, half_width in map(t_interval, draws)]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.012)


def test_prediction_of_one_run_from_one_to_five_is_the_textbook_one():
    mean, half_width = prediction_interval([1, 2, 3, 4, 5])
    assert mean == 3
    assert half_width == pytest.approx(2.776445 * math.sqrt(2.5) * math.sqrt(1 / 5 + 1), rel=1e-6)


def test_prediction_of_very_many_runs_is_the_interval_of_the_mean():
    values = [0.3, 0.1, 0.7]
    assert prediction_interval(values, runs=10**9).half_width == pytest.approx(t_interval(values).half_width)


def test_one_value_predicts_nothing_and_no_runs_are_an_error():
    assert prediction_interval([0.25], runs=3) == Interval(0.25, None)
    with pytest.raises(ValueError, match="1 run or more"):
        prediction_interval([1, 2], runs=0)


@pytest.mark.parametrize("count", [2, 3, 5, 10])
@pytest.mark.parametrize("runs", [1, 4])
def test_prediction_covers_the_mean_of_further_runs_95_times_in_a_hundred(count: int, runs: int):
    draws = np.random.default_rng([count, runs]).normal(3.0, 2.0, size=(4000, count + runs))
    hits = [
        abs(interval.mean - row[count:].mean()) <= interval.half_width
        for row in draws
        if (interval := prediction_interval(row[:count], runs)).half_width is not None
    ]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.012)
