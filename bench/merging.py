"""`python -m bench merge`: the results of several machines in one folder.

Of a trial that ran more than once, the runs are compared by their numbers, bit by bit. One of those with the same
numbers is kept: the run that started first. Where numbers differ, all are kept: the one that started first in rows/,
the others in conflicts/<number>/, results folders of their own, which no report reads; conflicts.parquet says which
these are and by how much they differ. Whether a trial ends ok or diverges is the trial's own doing, and one against the
other is a conflict, in which ok is kept in rows/. Runs that failed, timed out, were interrupted or got lost give way to
these.

What is kept depends on the runs alone, not on the order of the folders. Files are copied byte for byte, rows last, so
that a merge that was killed goes on when it is repeated.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from rich.console import Console
from rich.progress import track

from bench.differences import MEASUREMENT, environment_differences, in_words, number_differences, worst_numbers
from bench.errors import UserError
from bench.store import Store, StoreError

NO_CONFLICTS, CONFLICTS = 0, 1
TELLING = ("ok", "diverged")
"""Ends that are the trial's own doing."""
PREFERRED = (*TELLING, "failed", "timeout", "interrupted", "lost")
SHOWN = 10
"""Conflicts shown on the terminal."""

CONFLICT_SCHEMA = pa.schema(
    [
        ("sweep", pa.string()),
        ("trial_id", pa.string()),
        ("number", pa.int32()),  # the other run lies in conflicts/<number>/
        ("metric", pa.string()),
        ("split", pa.string()),
        ("n_samples", pa.float64()),
        ("protocol", pa.string()),
        ("kept", pa.float64()),
        ("other", pa.float64()),
        ("absolute", pa.float64()),
        ("relative", pa.float64()),
        ("environment", pa.string()),  # what differs, as JSON: name -> [kept, other]
    ]
)

Key = tuple[str, str]
"""Sweep and trial_id, or sweep and setting."""


@dataclass(frozen=True)
class Run:
    """A trial as a folder has it."""

    store: Store
    sweep: str
    trial_id: str
    table: pa.Table = field(repr=False)

    @property
    def status(self) -> str:
        return self.table["status"][0].as_py()

    @property
    def rows(self) -> pd.DataFrame:
        return self.table.to_pandas()

    @cached_property
    def numbers(self) -> tuple[str, frozenset[tuple[Any, ...]]]:
        """Equal for runs with the same numbers, bit by bit."""
        *measurements, values = (self.table[name].to_pylist() for name in (*MEASUREMENT, "value"))
        bits = [None if value is None else value.hex() for value in values]
        return self.status, frozenset(zip(*measurements, bits, strict=True))

    @cached_property
    def fingerprint(self) -> str | None:
        return self.store.fingerprint(self.sweep, self.trial_id)

    @cached_property
    def preference(self) -> tuple[int, float, str]:
        """Least for the run to keep: how it ended, when it started, and, for a fixed order, its bytes."""
        ended = PREFERRED.index(self.status) if self.status in PREFERRED else len(PREFERRED)
        started = self.table["started_at"][0].as_py()
        return ended, started.timestamp() if started else float("inf"), self.fingerprint or ""


@dataclass
class Found:
    """What folders hold: runs by trial, files of rows across seeds, and a sentence on each file that is neither."""

    runs: dict[Key, list[Run]] = field(default_factory=lambda: defaultdict(list))
    across: dict[Key, list[Store]] = field(default_factory=lambda: defaultdict(list))
    problems: list[str] = field(default_factory=list)


def merge_results(sources: Sequence[Path], out: Path, console: Console | None = None) -> int:
    """Does what the arguments of `python -m bench merge` say; returns its exit status: 1 where results conflict.

    Raises UserError for folders that are not there or overlap, StoreError where the disk refuses.
    """
    console = console or Console()
    into = Store(out)
    folders = _checked(sources, into)
    into.check_writable()
    found = _find([into, *folders])
    placed: dict[Key, list[tuple[int, Run]]] = {}
    try:
        keys = sorted(found.runs)
        for key in track(keys, "merging", console=console, transient=True, disable=not console.is_terminal):
            placed[key] = _place(distinct(found.runs[key]), into)
        for folder in folders:
            found.problems += _merge_plans(folder, into)
        _merge_across(found.across, into)
        conflicts = conflict_table(placed)
        into.write_conflicts(conflicts)
    except OSError as error:
        where = error.filename2 or error.filename or into.root
        reason = f"{where}: {error.strerror or error}"
        raise StoreError(
            f"merging into {into.root} stopped at {reason}; the same command goes on from there"
        ) from error
    for problem in found.problems:
        _line(console, f"skipped {problem}")
    _show(console, found.runs, placed, into)
    return CONFLICTS if conflicts.num_rows else NO_CONFLICTS


def distinct(runs: Sequence[Run]) -> list[Run]:
    """The runs of a trial that are kept, one of each set of numbers; the first is the trial's result."""
    ordered = sorted(runs, key=lambda run: run.preference)
    telling = [run for run in ordered if run.status in TELLING]
    kept: dict[Any, Run] = {}
    for run in telling or ordered[:1]:
        kept.setdefault(run.numbers, run)
    return list(kept.values())


def conflict_table(placed: Mapping[Key, Sequence[tuple[int, Run]]]) -> pa.Table:
    """The numbers in which the first run of a trial and each of its others differ; columns of CONFLICT_SCHEMA.

    placed: by (sweep, trial_id) the trial's runs with the numbers of their places; the first's is 0.
    """
    frames = []
    for (sweep, trial_id), ((_, first), *others) in placed.items():
        for number, other in others:
            changes = environment_differences(first.rows, other.rows).itertuples(index=False)
            numbers = number_differences(first.rows, other.rows).rename(columns={"first": "kept", "second": "other"})
            lines = numbers[~numbers["same"]].drop(columns="same")
            environment = json.dumps({name: [kept, then] for name, kept, then in changes}, default=str)
            frames.append(lines.assign(sweep=sweep, trial_id=trial_id, number=number, environment=environment))
    if not frames:
        return CONFLICT_SCHEMA.empty_table()
    return pa.Table.from_pandas(pd.concat(frames)[CONFLICT_SCHEMA.names], CONFLICT_SCHEMA, preserve_index=False)


def _checked(sources: Sequence[Path], into: Store) -> list[Store]:
    """The folders to merge, once each. Raises UserError for one without results, or that writing would change."""
    stores = {Store(source).root: Store(source) for source in sources}
    for root in stores:
        if not (root / "rows").is_dir():
            raise UserError(f"no results in {root}: it has no folder rows; name folders as --results does")
        if into.root == root:
            raise UserError(f"--out {root} is also to be merged; leave it out there: what it holds takes part anyway")
        if root in into.root.parents or into.root in root.parents:
            raise UserError(f"--out {into.root} and {root} lie within each other; write to a folder apart")
    return list(stores.values())


def _find(folders: Sequence[Store]) -> Found:
    """Everything in these folders, and in what earlier merges have left there as conflicts."""
    found = Found()
    for folder in folders:
        _add(folder, found)
        for number in count(1):
            conflicts = folder.conflicts(number)
            if not conflicts.root.is_dir():
                break
            _add(conflicts, found)
    return found


def _add(store: Store, found: Found) -> None:
    for path, table, problem in store.row_files():
        found.problems += [problem] if problem else []
        if table is None:
            continue
        sweep, name = path.parent.name, path.stem
        if path.relative_to(store.root).parts != ("rows", sweep, f"{name}.parquet"):
            found.problems.append(f"{path}: no results lie there, they lie in rows/SWEEP/TRIAL.parquet")
        elif store.members(sweep, name) is not None:
            found.across[sweep, name].append(store)
        elif set(zip(table["sweep"].to_pylist(), table["trial_id"].to_pylist(), strict=True)) == {(sweep, name)}:
            found.runs[sweep, name].append(Run(store, sweep, name, table))
        else:
            found.problems.append(f"{path}: its rows are not of the one trial, and the sweep, that it is named after")


def _place(runs: Sequence[Run], into: Store) -> list[tuple[int, Run]]:
    """Brings the runs of a trial to their places: the first to rows/, place 0, the others to conflicts/<number>/.

    No run among the conflicts is ever replaced, and what leaves rows/ has gone there before.
    """
    first, *others = runs
    placed = [(0, first)]
    for run in others:
        for number in count(1):
            occupant = into.conflicts(number).fingerprint(run.sweep, run.trial_id)
            if occupant is None:
                into.conflicts(number).adopt_trial(run.store, run.sweep, run.trial_id)
            if occupant in (None, run.fingerprint):
                placed.append((number, run))
                break
    if into.fingerprint(first.sweep, first.trial_id) != first.fingerprint:
        into.adopt_trial(first.store, first.sweep, first.trial_id)
    return placed


def _merge_plans(folder: Store, into: Store) -> list[str]:
    """Adds the planned trials of a folder; returns a sentence on each plan that cannot be read."""
    plans, problems = folder.read_plans()
    for (sweep, scale), trials in plans.items():
        into.write_plan(sweep, scale, trials, extend=True)
    return problems


def _merge_across(found: Mapping[Key, Sequence[Store]], into: Store) -> None:
    """Copies rows across seeds that hold for the merged trials; measures anew where the seeds are others by now."""
    for (sweep, setting), stores in found.items():
        holding = [
            (len(members), store.fingerprint(sweep, setting) or "", store)
            for store in stores
            if (members := store.members(sweep, setting))
            and all(into.fingerprint(sweep, trial_id) == known for trial_id, known in members.items())
        ]
        if holding:
            _, fingerprint, store = max(holding, key=lambda candidate: candidate[:2])
            if into.fingerprint(sweep, setting) != fingerprint:
                into.adopt_rows(store, sweep, setting)
    if found:
        from bench.across import measure_across_seeds, recorded_trials  # torch, which merging needs for nothing else

        measure_across_seeds(list(recorded_trials(into)), into)


def _show(
    console: Console, runs: Mapping[Key, Sequence[Run]], placed: Mapping[Key, Sequence[tuple[int, Run]]], into: Store
) -> None:
    conflicts = {key: of_trial for key, of_trial in placed.items() if len(of_trial) > 1}
    telling = {key: [run for run in runs[key] if run.status in TELLING] for key in placed}
    repeated = sum(key not in conflicts and len({run.fingerprint for run in telling[key]}) > 1 for key in placed)
    outdone = sum(0 < len(telling[key]) < len(runs[key]) for key in placed)
    _line(console, f"{len(placed)} trials in {into.root / 'rows'}")
    if repeated:
        _line(console, f"{repeated} ran more than once with the same numbers: the run that started first is kept")
    if outdone:
        _line(console, f"{outdone} failed, timed out or got lost in one folder and not in another: the latter is kept")
    for (_, first), *others in list(conflicts.values())[:SHOWN]:
        for number, other in others:
            came_out = "diverged" if other.status == "diverged" else "came out with other numbers"
            where = into.conflicts(number).root
            _line(console, f"conflict: {first.trial_id[:12]} of {first.sweep} {came_out} in the run kept in {where}")
            environment = in_words(environment_differences(first.rows, other.rows))
            _line(console, f"environment, kept → other: {environment or 'no difference on record'}")
            _line(console, worst_numbers(number_differences(first.rows, other.rows), "kept", "other"))
    if len(conflicts) > SHOWN:
        _line(console, f"… and {len(conflicts) - SHOWN} more conflicts; {into.root / 'conflicts.parquet'} has them all")
    if conflicts:
        _line(console, f"{len(conflicts)} trials came out differently; reports use the run that started first")


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
