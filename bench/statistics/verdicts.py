"""How our numbers stand to a published one that was measured alike.

The question is whether the paper's number could be one more result of what we ran. Its answer is the 95% prediction
interval for the mean of as many further runs as the paper averaged (one, where it does not say), given our seeds. It
is wider than the interval of our mean, since one run scatters more than a mean; it takes the runs of both sides for
draws from one normal distribution, and takes no account of the paper's own ±, whose kind is rarely stated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from bench.statistics.intervals import prediction_interval

NOT_COMPARABLE = "not comparable"
NOT_RUN = "not run"
UNDECIDED = "undecided"
WIDEST = 0.2
"""Of a published number: an interval with a larger half-width would agree with too much to say that it agrees."""
EXPLANATION = (
    "Reproduced: the published number, to its printed digits, lies within the 95% prediction interval for as many "
    "further runs as the paper averaged, given our seeds; of a bound, the whole interval keeps it. Better, worse: it "
    "lies outside, as one in twenty does by chance. Undecided: a seed is missing or there is only one, or the interval "
    "crosses the bound or is wider than ±20% of the number; more seeds tell. Not comparable: the protocols differ or "
    "the paper does not say; the reason tells in what. Not run: there is no number of ours."
)
"""What the words mean, for readers of a table."""


class Verdict(NamedTuple):
    """How ours stands to a published number, in a word, and why; the prediction interval, where there is one."""

    word: str
    reason: str
    low: float = math.nan
    high: float = math.nan


def verdict(values: Sequence[float], planned: int, published: Mapping[str, Any], direction: str) -> Verdict:
    """Compares our values, one a seed, with a comparable published number (a row of `bench.published`).

    planned: number of seeds that were to be measured. A seed that diverged is no chance to leave out, so nothing is
    said of the others alone. direction: "min" or "max", whichever is better. EXPLANATION says what the words mean.
    """
    if len(values) < planned:
        return Verdict(UNDECIDED, f"{len(values)} of {planned} seeds have a value")
    value, bound = float(published["value"]), published["bound"]
    runs = 1 if pd.isna(published["runs"]) else int(published["runs"])
    mean, half_width = prediction_interval(values, runs)
    if half_width is None:
        return Verdict(UNDECIDED, "one seed has no interval")
    low, high = mean - half_width, mean + half_width
    told = f"{len(values)} seeds predict {low:.3g} to {high:.3g} for {_runs(runs)}"
    if bound in ("<", ">"):
        kept, broken = (high <= value, low >= value) if bound == "<" else (low >= value, high <= value)
        text = f"{bound}{value:g}"
        if kept:
            return Verdict("reproduced", f"{told}, all of it {text}", low, high)
        if broken:
            return Verdict(_better((bound == ">") == (direction == "min")), f"{told}, none of it {text}", low, high)
        return Verdict(UNDECIDED, f"{told}, which crosses {text}", low, high)
    margin = _rounding(published["value_published"], value, approximate=bound == "~")
    if low > value + margin or high < value - margin:
        return Verdict(_better((mean < value) == (direction == "min")), f"{told}, without {value:g}", low, high)
    if half_width > max(WIDEST * abs(value), margin):
        return Verdict(UNDECIDED, f"{told}, with {value:g} but wider than ±{WIDEST:.0%} of it", low, high)
    return Verdict("reproduced", f"{told}, with {published['value_published']}", low, high)


def _better(is_better: bool) -> str:
    return "better" if is_better else "worse"


def _runs(runs: int) -> str:
    return "a further run" if runs == 1 else f"the mean of {runs} further runs"


def _rounding(text: str, value: float, *, approximate: bool) -> float:
    """Half a unit of the last printed digit; a whole one where the number is called approximate.

    Of a cell that held several numbers, the one that is the value counts.
    """
    parts = [part.strip("<>~ ") for part in text.split("/")]
    printed = next((part for part in parts if _is(part, value)), f"{value:g}")
    mantissa, _, exponent = printed.partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return unit if approximate else unit / 2


def _is(text: str, value: float) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False
