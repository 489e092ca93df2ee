"""Who wins a search, and how its trials are counted."""

from __future__ import annotations

import pandas as pd
import pytest

from bench.statistics.searches import ends, search_trials, winners


def lines(*trials: tuple[int, str, list[float | None]], direction: str = "min") -> pd.DataFrame:
    """number, state and the values at milestones of each trial."""
    return pd.DataFrame(
        [
            {
                "search": "s",
                "number": number,
                "state": state,
                "direction": direction,
                "rung": rung,
                "step": None if rung is None else 4**rung,
                "value": value,
            }
            for number, state, values in trials
            for rung, value in (list(enumerate(values)) or [(None, None)])
        ]
    )


TRIALS = (
    (0, "completed", [5.0, 4.0, 3.0]),
    (1, "stopped", [1.0]),
    (2, "completed", [2.0, 2.0, 2.0]),
    (3, "diverged", []),
    (4, "completed", [2.0, 2.0, 2.0]),
    (5, "stopped", [3.0, 9.0]),
)


@pytest.mark.parametrize(("direction", "number"), [("min", 2), ("max", 0)])
def test_the_best_at_the_end_of_training_wins_and_of_equals_the_first(direction: str, number: int) -> None:
    assert winners(lines(*TRIALS, direction=direction))["number"].tolist() == [number]


def test_where_none_came_to_the_end_none_wins() -> None:
    assert winners(lines((0, "stopped", [1.0]), (1, "failed", []))).empty
    assert winners(lines((0, "completed", [1.0, 1.0, None]))).empty


def test_a_trial_is_its_last_milestone() -> None:
    assert search_trials(lines(*TRIALS))["value"].tolist()[:3] == [3.0, 1.0, 2.0]


def test_ends_are_counted_by_state_and_step() -> None:
    counted = ends(lines(*TRIALS))
    assert {(line.state, line.step): line.n for line in counted.itertuples()} == {
        ("completed", 16): 3,
        ("diverged", 0): 1,
        ("stopped", 1): 1,
        ("stopped", 4): 1,
    }
