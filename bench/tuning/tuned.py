"""What searches on record have found: their trials, the winners, and sweeps with these among their trials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import Any

import pandas as pd
import pyarrow as pa

from bench.environment import git_state
from bench.identity import Budget, Setting, canonical_json
from bench.statistics.searches import winners
from bench.storage.store import Store
from bench.sweeps import Sweep
from bench.tuning.search import Milestone, Search, SearchTrial, searches_of
from bench.tuning.search_records import SEARCH_SCHEMA, mark_winner, read_searches, write_search_trial


def write_trial(store: Store, search: Search, trial: SearchTrial) -> None:
    """Puts an ended trial of a search on record. Raises StoreError where the disk refuses."""
    write_search_trial(store, _lines(search, trial))


def read_trials(store: Store, search: Search) -> list[SearchTrial]:
    """The trials of a search on record, in the order of their numbers."""
    frame = _frame(store, search)
    return [_trial(search, lines) for _, lines in frame.groupby("number", sort=True)]


def settle(store: Store, search: Search) -> SearchTrial | None:
    """Puts on record which trial of a search won; returns it. None where none was trained to the end."""
    frame = _frame(store, search)
    best = winners(frame)
    number = None if best.empty else int(best["number"].iloc[0])
    tables = [pa.Table.from_pandas(lines, SEARCH_SCHEMA, preserve_index=False) for _, lines in frame.groupby("number")]
    mark_winner(store, tables, number)
    return next((trial for trial in read_trials(store, search) if trial.number == number), None)


def with_winners(sweeps: Sequence[Sweep], store: Store) -> list[Sweep]:
    """The sweeps, with the settings among theirs that won the searches they state, as far as these are done."""
    return [replace(sweep, winners=tuple(_winners(sweep, store))) if sweep.tuning else sweep for sweep in sweeps]


def _winners(sweep: Sweep, store: Store) -> list[tuple[Setting, Setting, Budget]]:
    found = []
    for search in searches_of(sweep):
        frame = _frame(store, search)
        for chosen in frame.loc[frame["won"], "chosen"].unique():
            setting = search.setting(json.loads(chosen))
            if (setting, search.trial.budget) not in sweep.methods:  # it may be the sweep's own that won
                found.append((search.trial.dataset, setting, search.trial.budget))
    return found


def _frame(store: Store, search: Search) -> pd.DataFrame:
    """The lines of a search's trials on record, but for records that were altered: those trials run again."""
    frame = read_searches(store.root, search.trial.sweep, search.trial.scale, search.id)
    told = [*zip(frame["chosen"], frame["trial_id"], strict=True)]
    makes_id = {pair: _makes_id(search, *pair) for pair in set(told)}
    return frame[pd.Series([makes_id[pair] for pair in told], frame.index, dtype=bool)]


def _makes_id(search: Search, chosen: str, trial_id: str) -> bool:
    """Whether the trial with what a record says was chosen has the id that it says."""
    try:
        return search.candidate(json.loads(chosen)).id == trial_id
    except (KeyError, TypeError, ValueError):
        return False


def _lines(search: Search, trial: SearchTrial) -> list[dict[str, Any]]:
    """The lines of `bench.tuning.search_records`, one a milestone, or one where there is none."""
    candidate = search.candidate(trial.chosen)
    shared = {
        "search": search.id,
        "number": trial.number,
        "trial_id": candidate.id,
        "sweep": candidate.sweep,
        "scale": candidate.scale,
        "dataset": candidate.dataset.name,
        "dataset_options": canonical_json(dict(candidate.dataset.options)),
        "method": candidate.method.name,
        "params": canonical_json(dict(candidate.method.options)),
        "chosen": canonical_json(dict(trial.chosen)),
        "seed": candidate.seed,
        "metric": search.tuning.output,
        "direction": search.tuning.direction,
        "algorithm": search.tuning.search,
        "scheduler": search.tuning.scheduler,
        "state": trial.state,
        "error": trial.error,
        "started_at": trial.started_at,
        "won": False,  # which is known when all have ended
        "git_sha": git_state()[0],
        **_versions(),
    }
    milestones = [
        {"rung": m.rung, "step": m.step, "value": m.value, "reason": m.reason, "seconds": m.seconds}
        for m in trial.milestones
    ]
    return [{**shared, **milestone} for milestone in milestones or [{}]]


def _trial(search: Search, lines: pd.DataFrame) -> SearchTrial:
    first = lines.iloc[0]
    milestones = [
        Milestone(int(line["rung"]), int(line["step"]), _known(line["value"]), _known(line["reason"]), line["seconds"])
        for line in lines[lines["rung"].notna()].to_dict("records")
    ]
    started_at = first["started_at"].to_pydatetime()
    chosen = {name: json.loads(first["chosen"])[name] for name in search.space}
    return SearchTrial(int(first["number"]), chosen, milestones, first["state"], _known(first["error"]), started_at)


def _known(value: Any) -> Any:
    return None if pd.isna(value) else value


@cache
def _versions() -> dict[str, str]:
    return {package: version(package) for package in ("torch", "optuna")}
