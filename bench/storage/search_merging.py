"""The searches of several results folders in one; `bench.storage.merging` does this for rows.

What a trial of a search proposes depends on the trials before it, so a search is kept as a whole. Of two folders that
agree on all trials which both have, as where a search was killed on one machine and went on on another, the trials are
put together, and the winner is chosen of them all. Where a trial came out otherwise, the runs of the search stay apart:
the one that started first in tuning/, the other under conflicts/<number>/. Trials that failed, timed out or got lost
give way to others of the same setting. Needs no torch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bench.statistics.searches import winners
from bench.storage.adoption import NOT_OWN, is_own
from bench.storage.files import copy
from bench.storage.result_files import UnreadableError
from bench.storage.store import Store
from bench.tuning.search_records import mark_winner, read_search_file

TELLING = ("completed", "stopped", "diverged")
"""Ends that are the trial's own doing."""


@dataclass
class SearchRun:
    """A search as a folder has it.

    place: tuning/SWEEP-SCALE/SEARCH, from the folder. trials: the lines of its trials by the names of their files.
    """

    store: Store
    place: Path
    trials: dict[str, pa.Table]

    @cached_property
    def order(self) -> tuple[Any, ...]:
        """Least for the run that started first; the same whatever folder it lies in."""
        started = min(pc.min(table["started_at"]).as_py() for table in self.trials.values())
        return started, [(name, str(numbers(table))) for name, table in sorted(self.trials.items())]

    def differences(self, other: SearchRun) -> list[str]:
        """The trials, by the names of their files, that contradict those of another run of the search."""
        return [name for name in self.trials.keys() & other.trials.keys() if self._differs(other, name)]

    def _differs(self, other: SearchRun, name: str) -> bool:
        one, two = self.trials[name], other.trials[name]
        if is_telling(one) and is_telling(two):
            return numbers(one) != numbers(two)
        return bool(one["trial_id"][0] != two["trial_id"][0])


def merge_searches(stores: Sequence[Store], into: Store) -> tuple[int, list[str], list[str]]:
    """Brings the searches of these folders, of which the first is `into`, to their places in it.

    Returns how many searches it has, and a sentence on each that has another run among the conflicts and on each file
    that was skipped. Raises StoreError or OSError where the disk refuses.
    """
    found: dict[Path, list[SearchRun]] = defaultdict(list)
    problems: list[str] = []
    for store in stores:
        runs, unfit = _runs(store)
        problems += unfit
        for run in runs:
            found[run.place].append(run)
    conflicts: list[str] = []
    for place, of_search in sorted(found.items()):
        kept = {
            _number(run.store, into): run for run in of_search if into.root in (run.store.root, *run.store.root.parents)
        }
        for run in sorted((run for run in of_search if run not in kept.values()), key=lambda run: run.order):
            number = next(k for k in count() if k not in kept or not kept[k].differences(run))
            target = into.conflicts(number) if number else into
            _add(run, kept.setdefault(number, SearchRun(target, place, {})))
        for number, run in sorted(kept.items()):
            _settle(run)
            if number and 0 in kept:
                conflicts.append(_conflict(kept[0], run))
    return len(found), conflicts, problems


def numbers(table: pa.Table) -> list[tuple[Any, ...]]:
    """Equal for trials with the same setting, milestones and numbers, bit by bit."""
    *rest, values = (table[name].to_pylist() for name in ("trial_id", "state", "rung", "step", "value"))
    return sorted(zip(*rest, [None if value is None else value.hex() for value in values], strict=True), key=str)


def is_telling(table: pa.Table) -> bool:
    """Whether a trial's end is its own doing."""
    return table["state"][0].as_py() in TELLING


def _runs(store: Store) -> tuple[list[SearchRun], list[str]]:
    """The searches of a folder, and a sentence on each file among them that is none of ours."""
    runs: dict[Path, SearchRun] = {}
    problems = []
    for path in sorted((store.root / "tuning").glob("*/*/[!.]*")):
        if not is_own(path):
            problems.append(f"{path}: {NOT_OWN}")
            continue
        try:
            table = read_search_file(path)
        except UnreadableError as error:
            problems.append(f"{path}: {error}")
            continue
        place = path.parent.relative_to(store.root)
        runs.setdefault(place, SearchRun(store, place, {})).trials[path.name] = table
    return list(runs.values()), problems


def _number(store: Store, into: Store) -> int:
    """Of a folder of conflicts in `into`; 0 for `into` itself."""
    return 0 if store.root == into.root else int(store.root.name)


def _add(run: SearchRun, kept: SearchRun) -> None:
    """Copies those trials of a run that the other, which agrees with it, lacks or has no end of."""
    for name, table in run.trials.items():
        if name not in kept.trials or (is_telling(table) and not is_telling(kept.trials[name])):
            copy(run.store.root / run.place / name, kept.store.root / kept.place / name)
            kept.trials[name] = table


def _settle(run: SearchRun) -> None:
    """Marks the winner, where any trial is marked as one."""
    if not any(table["won"][0].as_py() for table in run.trials.values()):
        return
    best = winners(pa.concat_tables(run.trials.values()).to_pandas())["number"].tolist()
    mark_winner(run.store, run.trials.values(), best[0] if best else None)


def _conflict(first: SearchRun, other: SearchRun) -> str:
    line = next(iter(first.trials.values())).slice(0, 1).to_pylist()[0]
    both = first.trials.keys() & other.trials.keys()
    return (
        f"the search of {line['method']} on {line['dataset']} in {first.place.parts[1]} came out otherwise, "
        f"in {len(first.differences(other))} of {len(both)} trials, in the run kept in {other.store.root / other.place}"
    )
