"""Known answers for the verdicts on published numbers, and how often they are wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bench.statistics.verdicts import verdict


def published(text: str, runs: int | None = None) -> dict[str, object]:
    bound = text[0] if text[0] in "<>~" else ""
    return {
        "value": float(text.split("/")[-1].strip("<>~")),
        "bound": bound,
        "runs": pd.NA if runs is None else runs,
        "value_published": text,
    }


THREE = [3.6, 3.7, 3.8]  # predicts 3.7 ± 4.3027 · 0.1 · √(4/3) = 3.7 ± 0.497 for a further run
"""Mean 3.7, standard deviation 0.1."""


@pytest.mark.parametrize(
    ("ours", "text", "direction", "word"),
    [
        (THREE, "3.7", "min", "reproduced"),
        (THREE, "4.19", "min", "reproduced"),
        (THREE, "4.21", "min", "better"),
        (THREE, "4.21", "max", "worse"),
        (THREE, "3.19", "min", "worse"),
        (THREE, "4.2", "min", "reproduced"),  # 4.15 to 4.25 as printed
        (THREE, "~5", "min", "reproduced"),  # 4 to 6, called approximate
        (THREE, "~6", "min", "better"),
        (THREE, "<4.2", "min", "reproduced"),
        (THREE, "<4", "min", "undecided"),
        (THREE, "<3.2", "min", "worse"),
        (THREE, "<3.2", "max", "better"),
        (THREE, ">3.2", "min", "reproduced"),
        (THREE, ">4.2", "min", "better"),
        (THREE, ">4.2", "max", "worse"),
        ([3.7], "3.7", "min", "undecided"),
        ([0.4], "<1", "min", "undecided"),
        ([0.5, 3.0], "1.7", "min", "undecided"),  # an interval from −18 to 22 agrees with everything
        ([3.5, 3.7, 3.9], "3.7", "min", "undecided"),  # ± 0.99 is more than 20% of it
        ([100.0, 100.0], "100", "min", "reproduced"),  # no scatter, no width
        ([0.0061, 0.00611, 0.0061], "6.1e-3", "max", "reproduced"),
        (
            [0.861, 0.8611, 0.8612],
            "0.95/0.90",
            "max",
            "worse",
        ),  # 0.895 to 0.905: the digits of the number that is meant
    ],
)
def test_verdicts(ours: list[float], text: str, direction: str, word: str):
    assert verdict(ours, len(ours), published(text), direction).word == word


def test_a_mean_of_many_runs_is_predicted_more_narrowly():
    assert verdict(THREE, 3, published("4.10"), "min").word == "reproduced"
    assert verdict(THREE, 3, published("4.10", runs=10), "min").word == "better"  # 3.7 ± 0.283


def test_nothing_is_said_of_the_seeds_that_are_left():
    found = verdict(THREE, 4, published("3.7"), "min")
    assert (found.word, found.reason) == ("undecided", "3 of 4 seeds have a value")


def test_the_reason_says_the_interval_in_words():
    found = verdict(THREE, 3, published("<4.2"), "min")
    assert found.reason == "3 seeds predict 3.2 to 4.2 for a further run, all of it <4.2"
    assert (found.low, found.high) == (pytest.approx(3.203, abs=1e-3), pytest.approx(4.197, abs=1e-3))
    assert "the mean of 10 further runs" in verdict(THREE, 3, published("3.7", runs=10), "min").reason


@pytest.mark.parametrize("runs", [1, 5])
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_same_method_is_called_better_or_worse_five_times_in_a_hundred(seeds: int, runs: int):
    draws = np.random.default_rng([seeds, runs]).normal(50.0, 1.0, size=(3000, seeds + runs))
    words = [verdict(d[:seeds], seeds, published(f"{d[seeds:].mean():.6f}", runs), "min").word for d in draws]
    assert np.mean([word in ("better", "worse") for word in words]) == pytest.approx(0.05, abs=0.012)
