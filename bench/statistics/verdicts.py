"""How our numbers stand to the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from bench.statistics.intervals import Interval


class Verdict(NamedTuple):
    """How ours stands to a published number, in one word, and why."""

    word: str
    reason: str


def verdict(ours: Interval, published: Mapping[str, Any], direction: str) -> Verdict:
    """Compares a cell with a comparable published number (a row of `bench.published`).

    "agrees": our interval and theirs overlap, theirs being ± its stated uncertainty and its rounding, or the bound
    holds for our mean. "better" and "worse": they do not. "undecided": one seed has no interval, and the published
    number is no bound.
    """
    value, bound = float(published["value"]), published["bound"]
    if bound in ("<", ">"):
        holds = ours.mean < value if bound == "<" else ours.mean > value
        if holds:
            return Verdict("agrees", f"our mean satisfies {bound}{value:g}")
        return Verdict("better" if (bound == ">") == (direction == "min") else "worse", f"not {bound}{value:g}")
    if ours.half_width is None:
        return Verdict("undecided", "one seed has no interval")
    uncertainty = published["uncertainty"]
    theirs = 0.0 if pd.isna(uncertainty) else float(uncertainty)
    margin = ours.half_width + theirs + _rounding(published["value_published"], value, approximate=bound == "~")
    difference = ours.mean - value
    if abs(difference) <= margin:
        return Verdict("agrees", "the intervals overlap")
    better = (difference < 0) == (direction == "min")
    return Verdict("better" if better else "worse", "the intervals do not overlap")


def _rounding(text: str, value: float, *, approximate: bool) -> float:
    """Half a unit of the last printed digit; a whole one where the number is called approximate."""
    printed = text.strip("<>~ ")
    try:
        matches = float(printed) == value
    except ValueError:
        matches = False
    mantissa, _, exponent = (printed if matches else f"{value:g}").partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return unit if approximate else unit / 2
