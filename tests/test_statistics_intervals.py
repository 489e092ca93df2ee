"""Known answers and coverage of the intervals from few values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.statistics.intervals import Interval, t_interval


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
