"""`python -m bench verify`: recorded trials run again, into a folder of their own, and their numbers compared.

Compared are the values of every metric and every point of the training curves, bit by bit; not times and memory, and
not metrics across seeds, which are functions of several trials. Recorded results are only read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa

from bench.differences import curve_differences, environment_differences, in_words, number_differences, worst_numbers
from bench.errors import UserError
from bench.execution import Way, execute
from bench.identity import Trial
from bench.metrics.base import all_metrics
from bench.printing import Console, print_line
from bench.progress import RunDisplay
from bench.recorded import changes_since
from bench.selection import on_cpu
from bench.showing import find_trial
from bench.storage.reading import Results
from bench.storage.schema import ROW_SCHEMA
from bench.storage.store import Store
from datasets.cache import data_root

ALL_SAME, NOT_ALL_SAME, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True)
class Recorded:
    """A trial to verify. unfit: why there is nothing to compare it with; None where there is."""

    trial_id: str
    sweep: str
    trial: Trial | None
    unfit: str | None = None

    @property
    def label(self) -> str:
        return self.trial.label if self.trial else self.sweep


@dataclass(frozen=True)
class Rerun:
    """A trial's recorded run beside its new one; columns as `bench.differences` gives them.

    points: how many points the recorded curves have.
    """

    numbers: pd.DataFrame
    curves: pd.DataFrame
    environment: pd.DataFrame
    points: int

    @property
    def same(self) -> bool:
        return bool(self.numbers["same"].all()) and self.curves.empty


def verify_trials(
    prefixes: Sequence[str],
    *,
    sample: int | None = None,
    cpu: bool = False,
    executor: str = "ray",
    address: str | None = None,
    results: Path = Path("results"),
    data: Path | None = None,
    plug_ins: Sequence[str] = (),
    console: Console | None = None,
) -> int:
    """Runs what the arguments of `python -m bench verify` say; returns its exit status: 0 only if all are the same.

    Raises UserError where no trial is named, a name fits none or several, or nothing is there to sample from.
    """
    console = console or Console()
    store = Store(results)
    found = store.read()
    if not prefixes and sample is None:
        raise UserError("which trials? Give ids, or their beginnings, or --sample N")
    keys = [key for prefix in prefixes for key in _recorded_keys(find_trial(prefix, found, store.root), found)]
    if sample is not None:
        drawn = sample_trials(found.rows, sample)
        if drawn.empty:
            raise UserError(f"no trial in {store.root} has ended ok: there is nothing to draw from")
        print_line(console, f"{len(drawn)} drawn of the trials that ended ok:")
        for sweep, method, trial_id in drawn.itertuples(index=False):
            print_line(console, f"  {trial_id[:12]} {sweep}/{method}")
        keys += list(zip(drawn["sweep"], drawn["trial_id"], strict=True))
    recorded = [_recorded(sweep, trial_id, store, plug_ins) for sweep, trial_id in dict.fromkeys(keys)]
    trials = [each.trial for each in recorded if each.trial and not each.unfit]
    trials = on_cpu(trials) if cpu else trials
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as folder:
        again = Store(folder)
        completed = True
        if trials:
            with RunDisplay(console, len(trials)) as display:
                root = (data or data_root()).resolve()
                completed = execute([(trial,) for trial in trials], again, root, display, Way(executor, address))
        verdicts = {each: each.unfit or _compare(each.sweep, each.trial_id, store, again) for each in recorded}
    _show(console, verdicts, _across_seeds(trials))
    if not completed:
        return INTERRUPTED
    same = all(isinstance(verdict, Rerun) and verdict.same for verdict in verdicts.values())
    return ALL_SAME if same else NOT_ALL_SAME


def sample_trials(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Draws trials that ended ok: sweeps take turns, and within a sweep its methods do.

    Order within a method, and which sweep and method comes first, are by trial id. Ids are hashes, so that this is as
    good as chance, and yet the same for the same results; a larger sample contains the smaller ones.

    Args:
        rows: columns of `bench.storage.schema.ROW_SCHEMA`.
        count: how many to draw; all, where there are fewer.

    Returns:
        sweep, method and trial_id, a line a trial.
    """
    trials = rows.loc[rows["status"] == "ok", ["sweep", "method", "trial_id"]].drop_duplicates()
    trials = trials.sort_values(["trial_id", "sweep"])
    trials["turn"] = trials.groupby(["sweep", "method"]).cumcount()
    trials = trials.sort_values("turn", kind="stable")
    trials["turn"] = trials.groupby("sweep").cumcount()
    trials = trials.sort_values("turn", kind="stable")
    return trials.drop(columns="turn").head(count).reset_index(drop=True)


def _recorded_keys(trial_id: str, found: Results) -> list[tuple[str, str]]:
    """(sweep, trial_id) of each sweep that has rows of a trial; of the sweep that plans it where none has."""
    sweeps = found.rows.loc[found.rows["trial_id"] == trial_id, "sweep"].unique()
    return [(sweep, trial_id) for sweep in sorted(sweeps) or found.sweeps_of(trial_id)[:1]]


def _recorded(sweep: str, trial_id: str, store: Store, plug_ins: Sequence[str]) -> Recorded:
    """The trial as its file of rows has it. plug_ins: those that may be imported."""
    status, record = store.status(sweep, trial_id), store.trial_record(sweep, trial_id)
    if status is None:
        return Recorded(trial_id, sweep, None, "it has no rows to compare with")
    try:
        trial = replace(Trial.from_record(record or {}), sweep=sweep)
        made = trial.id
    except (KeyError, TypeError, ValueError) as error:
        return Recorded(trial_id, sweep, None, f"its record is not of this version of the harness ({error!r})")
    changes = changes_since(trial, plug_ins)
    if made != trial_id:
        changes.append(f"its record makes another id, {made[:12]}")
    if status != "ok":
        changes.append(f"it ended {status}: there are no numbers to compare with")
    return Recorded(trial_id, sweep, trial, "; ".join(changes) or None)


def _compare(sweep: str, trial_id: str, store: Store, again: Store) -> Rerun | str:
    """The comparison, or why there is none."""
    first, second = (_rows(sweep, trial_id, of) for of in (store, again))
    outcome = second.iloc[0]
    if outcome["status"] != "ok":
        return f"this time it ended {outcome['status']}: {outcome['error_type']}: {outcome['error']}"
    curves = [of.read_curves([trial_id], sweep) for of in (store, again)]
    return Rerun(
        number_differences(first, second),
        curve_differences(*curves),
        environment_differences(first, second),
        len(curves[0]),
    )


def _rows(sweep: str, trial_id: str, store: Store) -> pd.DataFrame:
    """A trial's own rows, without those across seeds."""
    return pa.Table.from_pylist(store.trial_rows(sweep, trial_id), schema=ROW_SCHEMA).to_pandas()


def _across_seeds(trials: Sequence[Trial]) -> list[str]:
    return sorted({metric.name for t in trials for metric in t.metrics if all_metrics()[metric.name].across_seeds})


def _show(console: Console, verdicts: Mapping[Recorded, Rerun | str], across: Sequence[str]) -> None:
    for each, verdict in verdicts.items():
        where = f"{each.trial_id[:12]} {each.label}"
        if isinstance(verdict, str):
            print_line(console, f"not compared      {where}: {verdict}")
            continue
        told = "bitwise the same" if verdict.same else "different"
        numbers = f"{verdict.numbers['same'].sum()} of {len(verdict.numbers)} numbers the same"
        print_line(console, f"{told:16}  {where}: {numbers}, curves: {_curves(verdict)}")
        if not verdict.numbers["same"].all():
            print_line(console, worst_numbers(verdict.numbers, "recorded", "again"))
    _show_environments(console, verdicts)
    if across:
        print_line(console, f"metrics across seeds are not verified: {', '.join(across)}")
    same = sum(isinstance(verdict, Rerun) and verdict.same for verdict in verdicts.values())
    print_line(console, f"{same} of {len(verdicts)} trials came out bitwise the same; times are not compared")


def _curves(verdict: Rerun) -> str:
    if verdict.curves.empty:
        return f"the same at {verdict.points} points" if verdict.points else "none"
    first = verdict.curves.iloc[0]
    return f"differ from step {first['step']} of {first['stage']} on, {first['name']} first"


def _show_environments(console: Console, verdicts: Mapping[Recorded, Rerun | str]) -> None:
    """What is different from when they were recorded, trials with the same differences together."""
    groups: dict[str, list[str]] = {}
    for each, verdict in verdicts.items():
        if isinstance(verdict, Rerun) and len(verdict.environment):
            groups.setdefault(in_words(verdict.environment), []).append(each.trial_id[:12])
    for text, ids in groups.items():
        print_line(console, f"environment, recorded → now: {text} ({', '.join(ids)})")
