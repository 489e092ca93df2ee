"""`python -m bench run`: which trials of a sweeps.toml still have to run, running them, and what came of it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table

from bench.across import measure_across_seeds
from bench.checkpointing.checkpoints import CHECKPOINT_SECONDS
from bench.commands import results_option
from bench.execution import WAIT_SECONDS, Way, execute
from bench.identity import Trial, canonical_json
from bench.packs import Pack, describe, packs
from bench.printing import Console, print_line
from bench.progress import RunDisplay
from bench.recorded import find_recorded
from bench.selection import on_cpu, select, where
from bench.storage.mirror import open_store
from bench.storage.schema import STATUSES, UNENDED
from bench.storage.store import Store
from bench.sweeps import Sweep, load_sweeps
from bench.tuning.tuned import with_winners
from datasets.cache import data_root

OK, NOT_ALL_OK, INTERRUPTED = 0, 1, 130
LISTED = 2_000
"""Trials that a dry run lists: more take minutes to be laid out, and nobody reads them."""
SETTLED = ("failed", "diverged", "timeout")
"""Ends that would repeat themselves: such a trial runs again only when asked to."""


def run_sweeps(
    path: Path,
    *,
    scale: str = "quick",
    only: Sequence[str] = (),
    conditions: Sequence[str] = (),
    everything: bool = False,
    seeds: int | None = None,
    cpu: bool = False,
    executor: str = "ray",
    address: str | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    prepare: bool = False,
    wait_seconds: float = WAIT_SECONDS,
    results: Path | str = Path("results"),
    data: Path | None = None,
    dry_run: bool = False,
    retry_failed: bool = False,
    force: bool = False,
    console: Console | None = None,
) -> int:
    """Runs what the arguments of `python -m bench run` say; returns its exit status.

    Raises UserError, before anything runs, for mistakes in the file, the filters or the folders.
    """
    store = open_store(results)
    store.pull()
    sweeps = with_winners(load_sweeps(path, scale), store)
    named = {method.name for sweep in sweeps for method, _ in sweep.methods}
    chosen = select(
        sweeps,
        only=only,
        everything=everything,
        seeds=seeds,
        recorded=lambda prefix: find_recorded(prefix, scale, store, named),
    )
    trials = where(chosen, conditions)
    return run_trials(
        on_cpu(trials) if cpu else trials,
        sweeps,
        store,
        (data or data_root()).resolve(),
        console or Console(),
        executor=executor,
        address=address,
        checkpoint_seconds=checkpoint_seconds,
        prepare=prepare,
        wait_seconds=wait_seconds,
        dry_run=dry_run,
        retry_failed=retry_failed,
        force=force,
    )


def run_trials(
    trials: Sequence[Trial],
    sweeps: Sequence[Sweep],
    store: Store,
    data: Path,
    console: Console,
    *,
    executor: str,
    address: str | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    prepare: bool = False,
    wait_seconds: float = WAIT_SECONDS,
    dry_run: bool = False,
    retry_failed: bool = False,
    force: bool = False,
) -> int:
    """Runs those of the trials, which are of these sweeps, that have no ok row yet; returns the exit status."""
    statuses = _statuses(trials, store)
    waiting = [trial for trial in trials if _is_waiting(statuses[trial], retry_failed=retry_failed, force=force)]
    together = _packs(trials, waiting)
    if dry_run:
        _show_plan(console, trials, statuses, waiting, store)
        _show_packs(console, together)
        return OK

    store.check_writable()
    whole = {sweep.name: {trial.id for trial in sweep.trials()} for sweep in sweeps}
    for name, of_sweep in _by_sweep(trials).items():
        records = {trial.id: trial.to_record() for trial in of_sweep}
        partly = name not in whole or not whole[name] <= records.keys()
        store.write_plan(name, of_sweep[0].scale, records, extend=partly)
    if not waiting:
        console.print(f"nothing to run: all {len(trials)} trials have their rows in {store.root / 'rows'}")
        completed = True
    else:
        done = len(trials) - len(waiting)
        console.print(f"{len(waiting)} trials to run{f', {done} already done' if done else ''}")
        _show_packs(console, together)
        with RunDisplay(console, len(waiting)) as display:
            way = Way(executor, address, prepare, checkpoint_seconds, wait_seconds)
            completed = execute(together, store, data, display, way)
    measure_across_seeds(trials, store)
    for name in _by_sweep(trials):
        store.compact(name)
    statuses = _statuses(trials, store)
    _show_summary(console, statuses, store)
    unsent = store.unsent()
    if unsent:
        print_line(console, unsent)
    if not completed:
        console.print("interrupted; the same command goes on where it stopped")
        return INTERRUPTED
    return OK if not unsent and all(status == "ok" for status in statuses.values()) else NOT_ALL_OK


def _statuses(trials: Sequence[Trial], store: Store) -> dict[Trial, str | None]:
    """The status of each trial; None without readable rows."""
    found = {sweep: store.statuses(sweep) for sweep in _by_sweep(trials)}
    return {trial: found[trial.sweep].get(trial.id) for trial in trials}


def _packs(trials: Sequence[Trial], waiting: Sequence[Trial]) -> list[Pack]:
    """Those that wait, as they are packed with all that are planned."""
    left = set(waiting)
    found = (tuple(trial for trial in pack if trial in left) for pack in packs(trials))
    return [pack for pack in found if pack]


def _show_packs(console: Console, found: Sequence[Pack]) -> None:
    for line in describe(found):
        print_line(console, line)


def _is_waiting(status: str | None, *, retry_failed: bool, force: bool) -> bool:
    if force or status is None or status in UNENDED:
        return True
    return status in SETTLED and retry_failed


def _by_sweep(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    grouped = defaultdict(list)
    for trial in trials:
        grouped[trial.sweep].append(trial)
    return dict(grouped)


def _show_plan(
    console: Console,
    trials: Sequence[Trial],
    statuses: Mapping[Trial, str | None],
    waiting: Sequence[Trial],
    store: Store,
) -> None:
    """Prints the first trials of the plan, and how long what waits may take, judged by earlier rows."""
    seconds = _expected_seconds(trials, store)
    table = Table("trial", "id", "state", "needs", "expected", box=None, header_style="bold")
    for trial in trials[:LISTED]:
        status = statuses[trial]
        state = "to run" if status is None else f"{status}, again" if trial in waiting else status
        needs = f"{trial.resources.cpus} cpu" + (f", {trial.resources.gpus:g} gpu" if trial.resources.gpus else "")
        expected = seconds.get(trial)
        table.add_row(trial.label, trial.id[:12], state, needs, "?" if expected is None else f"{expected:.0f} s")
    console.print(table)
    if len(trials) > LISTED:
        console.print(f"… and {len(trials) - LISTED:,} more; --only and --where choose among them")
    known = [seconds[trial] * trial.resources.cpus for trial in waiting if trial in seconds]
    cores = os.cpu_count() or 1
    line = f"{len(trials)} trials, {len(trials) - len(waiting)} done, {len(waiting)} to run"
    if known:
        unknown = len(waiting) - len(known)
        line += f"; about {sum(known) / cores / 60:.1f} minutes on {cores} cores"
        line += f", and {unknown} trials of unknown length" if unknown else ""
    elif waiting:
        line += "; no earlier rows to judge the time by"
    console.print(line)


def _expected_seconds(trials: Sequence[Trial], store: Store) -> dict[Trial, float]:
    """Median seconds of the ok rows with a trial's dataset, method and scale, whatever their seeds and parameters."""
    rows = store.read().rows
    rows = rows[rows["status"] == "ok"].drop_duplicates(["sweep", "trial_id"])
    if rows.empty:
        return {}
    key = ["scale", "dataset", "dataset_options", "method"]
    medians: pd.Series = (rows["train_seconds"] + rows["eval_seconds"]).groupby([rows[k] for k in key]).median()
    found = {}
    for trial in trials:
        at = (trial.scale, trial.dataset.name, canonical_json(dict(trial.dataset.options)), trial.method.name)
        if at in medians.index:
            found[trial] = float(medians[at])
    return found


def _show_summary(console: Console, statuses: Mapping[Trial, str | None], store: Store) -> None:
    """Prints how many trials of each sweep ended how, and why those that failed did."""
    counts = {sweep: Counter(statuses[t] for t in of_sweep) for sweep, of_sweep in _by_sweep(list(statuses)).items()}
    shown = [status for status in (*STATUSES, None) if any(count[status] for count in counts.values())]
    table = Table("sweep", *(status or "no row" for status in shown), box=None, header_style="bold")
    for sweep, count in counts.items():
        table.add_row(sweep, *(str(count[status]) for status in shown))
    console.print(table)
    bad = [trial for trial, status in statuses.items() if status != "ok"]
    where = results_option(store.root)
    for trial in bad[:10]:
        command = f"python -m bench show {trial.id[:12]}{where}"
        console.print(f"{statuses[trial]} {trial.label}: {command}", markup=False, soft_wrap=True)
    if len(bad) > 10:
        console.print(f"… and {len(bad) - 10} more")
    page = f"python -m bench report{where} makes the page"
    console.print(f"rows are in {store.root / 'rows'}; {page}", markup=False, soft_wrap=True)
