"""Pareto fronts by hand and against the definition."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.statistics.fronts import on_front

DIRECTIONS = {"seconds": "min", "accuracy": "max"}


def front(points: list[tuple[float, float]]) -> list[bool]:
    return on_front(pd.DataFrame(points, columns=["seconds", "accuracy"]), DIRECTIONS).tolist()


def test_fast_ones_and_good_ones_are_on_the_front_and_slow_worse_ones_are_not():
    assert front([(1, 0.5), (2, 0.4), (3, 0.9), (4, 0.9), (5, 0.95)]) == [True, False, True, False, True]


def test_equal_points_share_the_front_and_equal_in_one_does_not():
    assert front([(1, 0.5), (1, 0.5), (1, 0.4), (0.5, 0.4)]) == [True, True, False, True]


def test_a_point_without_a_quantity_is_not_on_the_front_and_hides_none():
    assert front([(math.nan, 1.0), (1, 0.5), (0.1, math.nan)]) == [False, True, False]
    assert front([(math.nan, math.nan)]) == [False]
    assert front([]) == []


def test_a_front_is_of_two_quantities():
    with pytest.raises(ValueError, match="two quantities, not of 1"):
        on_front(pd.DataFrame({"seconds": [1.0]}), {"seconds": "min"})


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=25))
def test_it_is_what_the_definition_says(points: list[tuple[int, int]]):
    def dominated(point: tuple[int, int]) -> bool:
        return any(o[0] <= point[0] and o[1] >= point[1] and o != point for o in points)

    assert front([(float(x), float(y)) for x, y in points]) == [not dominated(point) for point in points]
