"""`python -m bench merge`: the results of several machines in one folder.

Of a trial that ran more than once, the runs are compared by their numbers, bit by bit. One of those with the same
numbers is kept: one that has its curves and artifacts, and of such the run that started first. Where numbers differ,
all are kept: the one that started first in rows/, the others in conflicts/<number>/, results folders of their own,
which no report reads; conflicts.parquet says which these are and by how much they differ. Whether a trial ends ok or
diverges is the trial's own doing, and one against the other is a conflict, in which ok is kept in rows/. Runs that
failed, timed out, were interrupted or got lost give way to these. Artifacts are a trial's, whatever its sweeps: they
come from one run that is kept, if possible one that ended ok. Of searches see `bench.storage.search_merging`.

Where the folder to write holds a trial already, its own run stays first unless another ended better. Apart from that,
what is kept depends on the runs alone, not on the order of the folders. Files are copied byte for byte, rows last, so
that a merge that was killed goes on when it is repeated.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

import pandas as pd
import pyarrow as pa
from rich.progress import track

from bench.differences import environment_differences, in_words, number_differences, worst_numbers
from bench.errors import UserError
from bench.printing import Console, print_line
from bench.storage.adoption import adopt_artifacts, adopt_curves, adopt_rows, drop_trial, is_own, not_copied
from bench.storage.metadata import plan_files
from bench.storage.reading import STRAY, files_of, holding, read_plans, strays, sweep_folders
from bench.storage.runs import TELLING, Numbers, Run, distinct, with_artifacts
from bench.storage.search_merging import merge_searches
from bench.storage.store import Store, StoreError

NO_CONFLICTS, CONFLICTS = 0, 1
TRIAL_ID = re.compile(r"[0-9a-f]{64}")
LINK = "a symbolic link, which is not followed"
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
    stores = [store for folder in (into, *folders) for store in (folder, *_conflicts(folder))]
    found = _find(stores)
    placed: dict[Key, list[tuple[int, Run]]] = {}
    trials: dict[str, dict[Key, list[Run]]] = defaultdict(dict)
    for sweep, trial_id in sorted(found.runs):
        trials[trial_id][sweep, trial_id] = found.runs[sweep, trial_id]
    try:
        of_trials = list(trials.values())
        for runs in track(of_trials, "merging", console=console, transient=True, disable=not console.is_terminal):
            of_trial, problems = _place(runs, into)
            placed |= of_trial
            found.problems += problems
        for folder in folders:
            found.problems += _merge_plans(folder, into)
        _merge_across(found.across, into)
        searches, search_conflicts, problems = merge_searches(stores, into)
        found.problems += problems
        conflicts = conflict_table(placed)
        into.write_conflicts(conflicts)
        for sweep in dict.fromkeys(sweep for sweep, _ in placed):
            into.compact(sweep)
    except StoreError as error:
        raise StoreError(f"merging into {into.root} stopped: {error}; the same command goes on from there") from error
    except OSError as error:
        where = error.filename2 or error.filename or into.root
        reason = f"{where}: {error.strerror or error}"
        raise StoreError(
            f"merging into {into.root} stopped at {reason}; the same command goes on from there"
        ) from error
    for problem in found.problems:
        print_line(console, f"skipped {problem}")
    _show(console, found.runs, placed, into)
    if searches:
        print_line(console, f"{searches} searches in {into.root / 'tuning'}")
    for conflict in search_conflicts:
        print_line(console, f"conflict: {conflict}")
    return CONFLICTS if conflicts.num_rows or search_conflicts else NO_CONFLICTS


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
        if not any((root / name).is_dir() for name in ("rows", "tuning")):
            raise UserError(f"no results in {root}: it has no folder rows or tuning; name folders as --results does")
        if into.root == root:
            raise UserError(f"--out {root} is also to be merged; leave it out there: what it holds takes part anyway")
        if root in into.root.parents or into.root in root.parents:
            raise UserError(f"--out {into.root} and {root} lie within each other; write to a folder apart")
    return list(stores.values())


def _find(stores: Sequence[Store]) -> Found:
    """All rows in these folders."""
    found = Found()
    for store in stores:
        _add(store, found)
    return found


def _conflicts(folder: Store) -> list[Store]:
    """The folders of conflicts that earlier merges have left in a folder, whatever their numbers: those in between may
    be empty and left out."""
    numbers = sorted(int(path.name) for path in (folder.root / "conflicts").glob("[1-9]*") if path.name.isdecimal())
    found = [(folder.root / "conflicts" / str(number), folder.conflicts(number)) for number in numbers]
    return [store for path, store in found if path == store.root]  # else it lies elsewhere, behind a symbolic link


def _add(store: Store, found: Found) -> None:
    links = [path for path in sorted((store.root / "rows").glob("*")) if path.is_dir() and path.is_symlink()]
    found.problems += [f"{path}: {LINK}" for path in links]
    found.problems += [f"{path}: {STRAY}" for path in strays(store.root / "rows")]
    for folder in sweep_folders(store.root / "rows"):
        sweep = folder.name
        files, problems = files_of(store.root, sweep, "rows")
        found.problems += problems
        for head, table in files.only(holding(files)).each():
            path = store.rows_path(sweep, head.file)
            if not is_own(path):
                found.problems.append(f"{path}: {LINK}")
            elif head.members is not None:
                found.across[sweep, head.file].append(store)
            elif not TRIAL_ID.fullmatch(head.file):
                found.problems.append(f"{path}: it is not named after a trial")
            else:
                found.runs[sweep, head.file].append(Run(store, sweep, head.file, table))


def _place(runs: Mapping[Key, Sequence[Run]], into: Store) -> tuple[dict[Key, list[tuple[int, Run]]], list[str]]:
    """Brings the runs of a trial, by sweep, to their places: the first to rows/, place 0, the others to conflicts/.

    No run among the conflicts is ever replaced, and what leaves rows/ has gone there before. One whose numbers another
    place has by now is removed. Returns the runs with the numbers of their places, and a sentence on each file that
    was not copied.
    """
    placed = {key: _places(distinct(of_sweep, into), into) for key, of_sweep in runs.items()}
    residents: dict[int, list[Run]] = defaultdict(list)
    for number, run in chain.from_iterable(placed.values()):
        residents[number].append(run)
    problems = []
    for number in sorted(residents, reverse=True):
        problems += _bring(residents[number], into.conflicts(number) if number else into)
    for key, of_sweep in runs.items():
        kept = [run for _, run in placed[key][1:]]
        numbers = {run.numbers for _, run in placed[key]}
        for run in of_sweep:
            if run.is_conflict_of(into) and run not in kept and run.numbers in numbers:
                drop_trial(run.store, run.sweep, run.trial_id)
    return placed, problems


def _places(runs: Sequence[Run], into: Store) -> list[tuple[int, Run]]:
    """The places of a trial's runs in a sweep; those among the conflicts stay where they are."""
    first, *others = runs
    free = (number for number in count(1) if into.conflicts(number).fingerprint(first.sweep, first.trial_id) is None)
    return [(0, first)] + [
        (int(run.store.root.name) if run.is_conflict_of(into) else next(free), run) for run in others
    ]


def _bring(runs: Sequence[Run], target: Store) -> list[str]:
    """Copies one trial's runs, each of another sweep, to a folder; returns a sentence on each file that is not fit."""
    problems = []
    source = with_artifacts(runs, target)
    if not source.is_in(target):
        adopt_artifacts(source.store, target, source.trial_id)
    for run in runs:
        if run.is_in(target):
            continue
        problems += not_copied(run.store, run.sweep, run.trial_id)
        if not run.has_curves and target.status(run.sweep, run.trial_id) is not None:
            target.curves_path(run.sweep, run.trial_id).unlink(missing_ok=True)  # they are of the run that leaves
        adopt_curves(run.store, target, run.sweep, run.trial_id)
        adopt_rows(run.store, target, run.sweep, run.trial_id)
    return problems


def _merge_plans(folder: Store, into: Store) -> list[str]:
    """Adds the planned trials of a folder; returns a sentence on each plan that cannot be read."""
    problems = []
    for path in plan_files(folder.root):
        plans, unreadable = read_plans([path]) if is_own(path) else ({}, [f"{path}: {LINK}"])
        problems += unreadable
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
                adopt_rows(store, into, sweep, setting)
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
    print_line(console, f"{len(placed)} trials in {into.root / 'rows'}")
    if repeated:
        print_line(console, f"{repeated} ran more than once with the same numbers: one run is kept")
    if outdone:
        print_line(
            console, f"{outdone} failed, timed out or got lost in one folder and not in another: the latter is kept"
        )
    if apart := _apart(placed):
        ids = ", ".join(trial_id[:12] for trial_id in apart[:SHOWN]) + (", …" if len(apart) > SHOWN else "")
        print_line(console, f"{len(apart)} trials have other numbers in one sweep than in another: {ids}")
        print_line(console, "all are kept, each in its sweep; artifacts are of one of them")
    for (_, first), *others in list(conflicts.values())[:SHOWN]:
        for number, other in others:
            came_out = "diverged" if other.status == "diverged" else "came out with other numbers"
            where = into.conflicts(number).root
            print_line(
                console, f"conflict: {first.trial_id[:12]} of {first.sweep} {came_out} in the run kept in {where}"
            )
            environment = in_words(environment_differences(first.rows, other.rows))
            print_line(console, f"environment, kept → other: {environment or 'no difference on record'}")
            print_line(console, worst_numbers(number_differences(first.rows, other.rows), "kept", "other"))
    if len(conflicts) > SHOWN:
        print_line(
            console, f"… and {len(conflicts) - SHOWN} more conflicts; {into.root / 'conflicts.parquet'} has them all"
        )
    if conflicts:
        print_line(console, f"{len(conflicts)} trials came out differently; reports use the run in rows/")


def _apart(placed: Mapping[Key, Sequence[tuple[int, Run]]]) -> list[str]:
    """The trials whose numbers are not the same in all sweeps in which they ended ok."""
    numbers: dict[str, set[Numbers]] = defaultdict(set)
    for (_, first), *_ in placed.values():
        if first.status == "ok":
            numbers[first.trial_id].add(first.numbers)
    return [trial_id for trial_id, different in numbers.items() if len(different) > 1]
