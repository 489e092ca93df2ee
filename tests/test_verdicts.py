"""Known answers for the verdicts on published numbers."""

from __future__ import annotations

import pytest

from bench.statistics.intervals import Interval
from bench.statistics.verdicts import verdict


def published(text: str, uncertainty: float | None = None) -> dict[str, object]:
    bound = text[0] if text[0] in "<>~" else ""
    return {"value": float(text.strip("<>~")), "bound": bound, "uncertainty": uncertainty, "value_published": text}


@pytest.mark.parametrize(
    ("ours", "text", "uncertainty", "direction", "word"),
    [
        (Interval(0.4, None), "<1", None, "min", "agrees"),
        (Interval(1.2, None), "<1", None, "min", "worse"),
        (Interval(60.0, None), ">50", None, "min", "agrees"),
        (Interval(20.0, None), ">50", None, "min", "better"),
        (Interval(3.7, None), "3.7", None, "min", "undecided"),
        (Interval(3.79, 0.05), "3.7", None, "min", "agrees"),  # 0.05 of interval and 0.05 of rounding
        (Interval(3.81, 0.05), "3.7", None, "min", "worse"),
        (Interval(3.50, 0.05), "3.7", None, "min", "better"),
        (Interval(3.50, 0.05), "3.7", None, "max", "worse"),
        (Interval(50.0, 1.0), "55.0", 4.2, "min", "agrees"),
        (Interval(50.4, 0.5), "~49", None, "min", "agrees"),  # a whole unit where it is called approximate
        (Interval(0.0061, 0.00005), "6e-3", None, "max", "agrees"),
    ],
)
def test_verdicts(ours: Interval, text: str, uncertainty: float | None, direction: str, word: str):
    assert verdict(ours, published(text, uncertainty), direction).word == word
