"""Whether published numbers are reproduced: a published table beside our trials, as a data frame."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.published import comparison, is_of, printed, published_rows, spread
from bench.statistics.intervals import t_interval
from bench.statistics.leaderboards import BOARD
from bench.statistics.verdicts import NOT_COMPARABLE, NOT_RUN, verdict

Record = Mapping[str, Any]
"""A trial as it was planned: what `Trial.to_record` gives, and plans and row files hold."""

COLUMNS = {
    "dataset": "as the paper calls it",
    "method": "as the paper calls it",
    "metric": "as the paper calls it",
    "published": "the number as printed, with its ±",
    "ours": "method and dataset of ours, with the options of theirs",
    "trial": "id of the first of our trials",
    "seeds": "number of our values",
    "mean": "of our values",
    "half_width": "of the 95% t interval of our mean; missing for one seed",
    "difference": "our mean less the published value; missing for a bound",
    "low": "lower end of the 95% prediction interval for the published number, given our seeds",
    "high": "its upper end",
    "verdict": "a word of bench.statistics.verdicts",
    "fields": "of a number that is not comparable, the fields of the protocol that differ",
    "reason": "the verdict's reason in words",
    "spread": "of a number that is not comparable, how far papers differ about it",
}
"""The columns of `reproduction`, and what stands in them."""


def reproduction(
    table: pd.DataFrame, published: pd.DataFrame, trials: Sequence[Record], rows: pd.DataFrame
) -> pd.DataFrame:
    """The numbers of a published table beside ours, with a verdict each.

    Args:
        table: rows of `load_published`. published: all of them, for the spread over papers.
        trials: records of those that may reproduce it, at one scale. rows: the store's rows, of these and other trials.

    Returns:
        COLUMNS; a line a number and a setting of ours, in the order of the table.
    """
    mine = rows[rows["trial_id"].isin([trial["trial_id"] for trial in trials])].drop_duplicates(["trial_id", *BOARD])
    by_trial = dict(list(mine.groupby("trial_id")))
    lines = []
    for theirs in published_rows(table):
        settings: dict[str, list[Record]] = {}
        for trial in {trial["trial_id"]: trial for trial in trials}.values():
            if is_needed(theirs, trial["spec"]):
                # Trials that differ in their seeds alone.
                rest = json.dumps({**trial["spec"], "seed": None}, sort_keys=True)
                settings.setdefault(rest, []).append(trial)
        described = {
            "dataset": theirs["dataset_published"],
            "method": theirs["method_published"],
            "metric": theirs["metric_published"],
            "published": printed(theirs),
        }
        for seeds in settings.values():
            of_seeds = [by_trial[trial["trial_id"]] for trial in seeds if trial["trial_id"] in by_trial]
            ours = pd.concat(of_seeds) if of_seeds else mine.iloc[:0]
            lines += [{**described, **line} for line in _compared(theirs, seeds, ours, published)]
        if not settings:
            lines.append({**described, "verdict": NOT_RUN, "reason": _why_none(theirs, trials)})
    texts = dict.fromkeys(("ours", "trial", "fields", "reason", "spread"), "")
    return pd.DataFrame([{**texts, **line} for line in lines], columns=list(COLUMNS))


def _compared(
    theirs: Mapping[str, Any], seeds: Sequence[Record], ours: pd.DataFrame, published: pd.DataFrame
) -> list[dict[str, Any]]:
    """Lines of one published number and one setting: that of the protocol that agrees, else of each measured."""
    label = {"ours": _ours(theirs, seeds[0]), "trial": seeds[0]["trial_id"]}
    of_metric = ours[ours["metric"] == theirs["metric"]]
    measured = of_metric[of_metric["value"].notna()]
    if measured.empty:
        return [
            {
                **label,
                "seeds": 0,
                "verdict": NOT_RUN,
                "reason": _why_not_measured(theirs["metric"], seeds, ours, of_metric),
            }
        ]
    lines = []
    for _, group in measured.groupby(BOARD, dropna=False, sort=False):
        values = group.sort_values("seed")["value"].tolist()
        mean, half_width = t_interval(values)
        line = {**label, "seeds": len(values), "mean": mean, "half_width": half_width}
        if pd.notna(theirs["value"]) and theirs["bound"] not in ("<", ">"):
            line["difference"] = mean - theirs["value"]
        fair = comparison(theirs, group.iloc[0].to_dict(), seeds[0])
        if fair.comparable:
            word, reason, low, high = verdict(values, len(seeds), theirs, str(group["direction"].iloc[0]))
            lines.append({**line, "low": low, "high": high, "verdict": word, "reason": reason})
            continue
        method = seeds[0]["spec"]["method"]
        range_ = spread(published, theirs["dataset"], theirs["metric"], method["name"], method["params"])
        fields = ", ".join(fair.differences)
        told = {"verdict": NOT_COMPARABLE, "fields": fields, "reason": fair.reason, "spread": range_}
        lines.append({**line, **told})
    return [line for line in lines if line["verdict"] != NOT_COMPARABLE] or lines


def is_needed(theirs: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Whether a trial (its `spec`) is of the dataset, method and hyperparameters that a published number names."""
    dataset, method = spec["dataset"], spec["method"]
    wanted = json.loads(theirs["dataset_options"])
    same = theirs["dataset"] == dataset["name"] and all(dataset["options"].get(k) == v for k, v in wanted.items())
    return same and is_of(theirs, method["name"], method["params"])


def _why_none(theirs: Mapping[str, Any], trials: Sequence[Record]) -> str:
    if not theirs["method"]:
        return "the harness has no such method"
    if theirs["method"] not in {trial["spec"]["method"]["name"] for trial in trials}:
        return f"no trial of {theirs['method']} is planned"
    return f"no trial of {theirs['method']} with these options on this dataset is planned"


def _why_not_measured(metric: str, seeds: Sequence[Record], ours: pd.DataFrame, of_metric: pd.DataFrame) -> str:
    """Of a setting that should have a number and has none."""
    if len(of_metric):
        return str(of_metric["reason"].iloc[0])
    asked = seeds[0].get("about", {}).get("metrics", {})
    if asked and metric not in asked:
        return "the sweep does not ask for this metric"
    ended = ours.drop_duplicates("trial_id")
    bad = ended[ended["status"] != "ok"]
    if len(bad):
        first = bad.iloc[0]
        told = f": {first['error_type']}: {first['error']}" if pd.notna(first["error"]) else ""
        return f"{len(bad)} of {len(seeds)} trials {first['status']}{told}"
    return (
        f"{len(ended)} of {len(seeds)} trials measured something else" if len(ended) else f"{len(seeds)} trials to run"
    )


def _ours(theirs: Mapping[str, Any], trial: Record) -> str:
    """The method, with those hyperparameters that the table fixes or that are not the method's defaults."""
    changed = trial.get("about", {}).get("method", {}).get("changed", {})
    method = trial["spec"]["method"]
    options = {**{name: method["params"][name] for name in json.loads(theirs["params"])}, **changed}
    return " ".join([method["name"], *(f"{name}={value}" for name, value in options.items())])
