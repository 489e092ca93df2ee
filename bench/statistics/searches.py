"""Who won a search, and how its trials ended: on lines of `bench.tuning.search_records`, one a milestone."""

from __future__ import annotations

import pandas as pd


def search_trials(lines: pd.DataFrame) -> pd.DataFrame:
    """One line a (search, number): that of the last milestone it reached, in the order of search and number."""
    ordered = lines.sort_values(["search", "number", "rung"], na_position="first", kind="stable")
    return ordered.drop_duplicates(["search", "number"], keep="last", ignore_index=True)


def winners(lines: pd.DataFrame) -> pd.DataFrame:
    """Of each search the trial of the best value among those trained to the end, of equals the first.

    A trial that was stopped cannot win, however good it was by then: it was measured on another budget.
    """
    ended = search_trials(lines)
    ended = ended[(ended["state"] == "completed") & ended["value"].notna()]
    scores = ended["value"].where(ended["direction"] == "min", -ended["value"])
    best = ended.assign(score=scores).sort_values(["search", "score", "number"], kind="stable")
    return best.drop_duplicates("search", ignore_index=True).drop(columns="score")


def ends(lines: pd.DataFrame) -> pd.DataFrame:
    """How many trials of a search ended how, and when: search, state, step of the last milestone (0 for none), n."""
    trials = search_trials(lines)
    trials = trials.assign(step=trials["step"].fillna(0).astype("int64"))
    counted = trials.groupby(["search", "state", "step"], sort=True).size()
    return counted.rename("n").reset_index()
