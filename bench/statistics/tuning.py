"""Choice of one setting a method by a named rule, on cells of leaderboards.

What is chosen is always reported on the test split. Only complete cells take part: settings that failed for a seed,
on the split of the choice or on the test split, are left out and counted.
"""

from __future__ import annotations

import json

import pandas as pd

from bench.statistics.leaderboards import BOARD

RULES = {
    "default": "the setting at the method's own defaults",
    "validation": "the setting of the best mean on the validation split",
    "oracle": "the setting of the best mean on the test split itself: an upper bound, not a result",
}
TASK = ["dataset", "dataset_options", "dataset_version", "metric", "metric_version", "protocol"]
"""BOARD without the split and the number of samples, in which the two splits differ."""
SPLIT_FACTS = ("reference_images",)
"""What a protocol says of the split itself."""
CELL = ["setting", "mean", "half_width", "n_ok"]


def selected(cells: pd.DataFrame, settings: pd.DataFrame, rule: str) -> pd.DataFrame:
    """The setting that a rule chooses of each method, for each metric by itself.

    Args:
        cells: lines of `bench.statistics.leaderboards.leaderboard`; those of metrics without direction are passed over.
        settings: in the order of preference among equals: setting, method, is_default (whether the hyperparameters
            that vary within the sweep are at the method's own defaults).
        rule: a key of RULES.

    Returns:
        One line a (TASK, method) for which there is a choice: TASK, method, direction, setting, its mean, half_width
        and n_ok on the test split, n_compared, n_left_out (settings of the method without complete cells), n_tied
        (further settings whose mean on the split of the choice is the same). The rule "default" chooses nothing of a
        method of which two settings, or none, are at its defaults. Raises ValueError for an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"no rule {rule}: there are {', '.join(RULES)}")
    of_method = settings.groupby("method")["is_default"]
    known = settings.assign(
        preference=range(len(settings)), n_settings=of_method.transform("size"), n_default=of_method.transform("sum")
    )
    usable = cells.loc[cells["complete"].astype(bool) & cells["direction"].notna(), [*BOARD, *CELL, "direction"]]
    usable = usable.assign(protocol=usable["protocol"].map(_of_any_split)).merge(known, on="setting")
    test = usable[usable["split"] == "test"]
    judged = usable[usable["split"] == "validation"] if rule == "validation" else test
    judged, test = _of_one_size(judged), _of_one_size(test)
    scores = judged["mean"].where(judged["direction"] == "min", -judged["mean"])
    both = judged[[*TASK, "setting"]].assign(score=scores).merge(test, on=[*TASK, "setting"])
    if rule == "default":
        both = both[both["is_default"].astype(bool) & (both["n_default"] == 1)]
    competing = both.groupby([*TASK, "method"], dropna=False, sort=False)
    both = both.assign(
        n_compared=competing["score"].transform("size"), wins=both["score"] == competing["score"].transform("min")
    )
    n_tied = both.groupby([*TASK, "method"], dropna=False, sort=False)["wins"].transform("sum") - 1
    chosen = both.assign(n_tied=n_tied)[both["wins"]].sort_values("preference", kind="stable")
    chosen = chosen.drop_duplicates([*TASK, "method"])
    chosen = chosen.assign(n_left_out=0 if rule == "default" else chosen["n_settings"] - chosen["n_compared"])
    return chosen[[*TASK, "method", "direction", *CELL, "n_compared", "n_left_out", "n_tied"]].reset_index(drop=True)


def default_and_tuned(cells: pd.DataFrame, settings: pd.DataFrame) -> pd.DataFrame:
    """The default and the tuned setting of each method side by side, both on the test split.

    Tuned is by the rule "validation" where the method's settings were measured on that split, else by "oracle", which
    says no more than how far tuning could go.

    Args:
        cells, settings: as for `selected`. Methods with one complete setting have no choice, and no line.

    Returns:
        One line a (TASK, method): TASK, method, direction, rule, default, default_mean, default_half_width,
        default_n_ok (missing where no setting is at the method's defaults, or its cell is incomplete), tuned,
        tuned_mean, tuned_half_width, tuned_n_ok, n_compared, n_left_out, n_tied.
    """
    several = settings[settings.groupby("method")["setting"].transform("size") > 1]
    place = [*TASK, "method"]
    by_rule = [selected(cells, several, rule).assign(rule=rule) for rule in ("validation", "oracle")]
    tuned = pd.concat(by_rule).drop_duplicates(place)
    tuned = tuned[tuned["n_compared"] > 1]
    default = selected(cells, several, "default")
    sides = [
        frame.rename(columns={"setting": side, **{name: f"{side}_{name}" for name in CELL[1:]}})
        for side, frame in (("default", default), ("tuned", tuned))
    ]
    joined = sides[1].merge(sides[0][[*place, *_columns("default")]], on=place, how="left")
    order = [
        *place,
        "direction",
        "rule",
        *_columns("default"),
        *_columns("tuned"),
        "n_compared",
        "n_left_out",
        "n_tied",
    ]
    return joined[order]


def _of_one_size(cells: pd.DataFrame) -> pd.DataFrame:
    """Of a split that was measured on several numbers of samples, the cells of one: that which most settings have.

    Of several such the largest. Values on different numbers of samples are different numbers, as FID's bias shows.
    """
    counts = cells.groupby([*TASK, "method", "n_samples"], dropna=False)["setting"].size().rename("size").reset_index()
    counts = counts.sort_values(["size", "n_samples"], ascending=False, na_position="last", kind="stable")
    chosen = counts.drop_duplicates([*TASK, "method"]).drop(columns="size")
    return cells.merge(chosen, on=[*TASK, "method", "n_samples"])


def _columns(side: str) -> list[str]:
    return [side, *(f"{side}_{name}" for name in CELL[1:])]


def _of_any_split(protocol: str) -> str:
    facts = json.loads(protocol or "{}")
    return json.dumps({name: value for name, value in facts.items() if name not in SPLIT_FACTS}, sort_keys=True)
