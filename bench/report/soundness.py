"""What of the results the report can show: records and rows that have the shape the harness gives them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from bench.storage.reading import Results

IDENTITY = ("kind", "dataset", "dataset_options", "dataset_version", "method", "method_version", "params", "seed")
"""Columns of a row that say what was run; the store itself asks for trial, sweep, scale and status."""
OUTPUT = ("metric", "table", "unit", "meaning", "source")
"""Texts that a record says of each metric; its direction may be null."""


def sound(results: Results) -> Results:
    """The results without what cannot be shown: trials whose rows or record the harness did not write.

    Each is named among the problems. A trial whose record is unusable is known by its rows, if those are usable.
    """
    trials = {key: record for key, record in results.trials.items() if _is_record(record)}
    plans = {key: {i: r for i, r in plan.items() if _is_record(r)} for key, plan in results.plans.items()}
    problems = [
        f"plan of {sweep} at {scale} scale: the record of trial {trial_id[:16]} is not one of ours, it is left out"
        for (sweep, scale), plan in results.plans.items()
        for trial_id in plan
        if trial_id not in plans[sweep, scale]
    ]
    rows = results.rows
    empty = rows[list(IDENTITY)].isna().any(axis=1)
    unreadable = ~(_is_object(rows["dataset_options"]) & _is_object(rows["params"]))
    unreadable |= rows["protocol"].notna() & ~_is_object(rows["protocol"])
    measured = rows["metric"].notna()
    unplaced = measured & (rows["table"].isna() | rows["metric_version"].isna())
    # What is not finite is recorded as no value, with its reason.
    wrong = empty | unreadable | unplaced | np.isinf(rows["value"].astype(float))
    for sweep, trial_id in sorted(set(zip(rows.loc[wrong, "sweep"], rows.loc[wrong, "trial_id"], strict=True))):
        problems.append(f"rows of trial {trial_id[:16]} in {sweep}: not as the harness writes them, they are left out")
    return Results(rows[~wrong], trials, plans, [*results.problems, *problems])


def _is_object(texts: pd.Series) -> pd.Series:
    """Whether each text is a JSON object."""
    return texts.map({text: _parses(text) for text in texts.unique()}).astype(bool)


def _parses(text: Any) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (TypeError, ValueError):
        return False


def _is_record(record: Any) -> bool:
    """Whether a trial's record has the parts the report reads, of the types it reads them as."""
    try:
        spec, about = record["spec"], record.get("about", {})
        named = [spec["dataset"]["options"], spec["method"]["params"], spec["budget"], about]
        named += [about.get(part, {}) for part in ("method", "dataset", "metrics")]
        texts = [record["sweep"], record["scale"], spec["kind"], spec["dataset"]["name"], spec["method"]["name"]]
        numbers = [spec["seed"], spec["dataset"]["version"], spec["method"]["version"]]
        asked = [metric["name"] for metric in spec["metrics"]]
        asked += [output[name] for output in about.get("metrics", {}).values() for name in OUTPUT]
        return (
            all(isinstance(part, dict) for part in named)
            and all(isinstance(text, str) for text in [*texts, *asked, *spec["splits"]])
            and all(isinstance(number, int) for number in numbers)
            and all("direction" in output for output in about.get("metrics", {}).values())
            and isinstance(record["published"], str | list | None)
        )
    except (KeyError, TypeError, AttributeError):
        return False
