"""`python -m bench tune`: searches for settings of methods, and then the trials of those that won."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.driver import INTERRUPTED, NOT_ALL_OK, run_trials
from bench.errors import UserError
from bench.execution import terminate_as_interrupt
from bench.identity import Trial, canonical_json
from bench.printing import Console, print_line, print_table
from bench.ray_session import ray_session
from bench.selection import on_cpu, select
from bench.statistics.searches import ends
from bench.storage.mirror import open_store
from bench.storage.store import Store
from bench.sweeps import Sweep, load_sweeps
from bench.tuning.search import Search, SearchTrial, searches_of
from bench.tuning.search_records import read_searches
from bench.tuning.search_trial import run_search_trial
from bench.tuning.searcher import Searcher
from bench.tuning.tuned import read_trials, settle, with_winners, write_trial
from datasets.cache import data_root

RETRIED = ("lost",)
"""States of trials that are run again, as another machine may get to their end."""
UNSUCCESSFUL = ("lost", "failed", "diverged", "timeout")
"""States of trials that are run again when asked for."""


class NothingToTuneError(UserError):
    """No sweep that was chosen states a search."""


def tune_sweeps(
    path: Path,
    *,
    scale: str = "quick",
    only: Sequence[str] = (),
    everything: bool = False,
    cpu: bool = False,
    executor: str = "ray",
    address: str | None = None,
    max_concurrent: int | None = None,
    results: Path | str = Path("results"),
    data: Path | None = None,
    retry_failed: bool = False,
    console: Console | None = None,
) -> int:
    """Does what the arguments of `python -m bench tune` say; returns its exit status.

    Raises UserError, before anything runs, for mistakes in the file, the filters or the folders.
    """
    sweeps = load_sweeps(path, scale)
    store, console, folder = open_store(results), console or Console(), (data or data_root()).resolve()
    store.pull()
    chosen = {_place(trial) for trial in select(sweeps, only=only, everything=everything, seeds=None)}
    searches = [search for sweep in sweeps for search in searches_of(sweep) if _place(search.trial) in chosen]
    if not searches:
        raise NothingToTuneError(f"none of the chosen sweeps of {path} states a search: {_how_to_state(sweeps)}")
    if cpu:
        searches = [replace(search, trial=on_cpu([search.trial])[0]) for search in searches]
    store.check_writable()
    again = UNSUCCESSFUL if retry_failed else RETRIED
    try:
        with terminate_as_interrupt():
            _run_searches(searches, store, folder, console, executor, address, max_concurrent, again)
    except KeyboardInterrupt:
        print_line(console, "interrupted; the same command goes on where it stopped")
        return INTERRUPTED
    settled = _show_searches(searches, store, console)
    tuned = with_winners(sweeps, store)
    places = {_place(search.trial) for search in searches}
    trials = [trial for sweep in tuned for trial in sweep.trials() if _place(trial) in places]
    status = run_trials(
        on_cpu(trials) if cpu else trials,
        tuned,
        store,
        folder,
        console,
        executor=executor,
        address=address,
        retry_failed=retry_failed,
    )
    return status or (0 if settled else NOT_ALL_OK)


def _place(trial: Trial) -> tuple[str, str, str]:
    """Sweep, method and dataset."""
    return trial.sweep, trial.method.name, canonical_json(trial.dataset.to_json("options"))


def _how_to_state(sweeps: Sequence[Sweep]) -> str:
    stating = [sweep.name for sweep in sweeps if sweep.tuning]
    if stating:
        return f"{', '.join(stating)} {'do' if len(stating) > 1 else 'does'}; name one with --only"
    return "add a table [sweep.NAME.tuning], see docs/tuning.md"


def _run_searches(
    searches: Sequence[Search],
    store: Store,
    data: Path,
    console: Console,
    executor: str,
    address: str | None,
    max_concurrent: int | None,
    again: Sequence[str],
) -> None:
    """Runs the trials of the searches that have not ended yet, one search after the other."""
    begun = []
    for search in searches:
        ended = [trial for trial in read_trials(store, search) if trial.state not in again]
        searcher = Searcher(search, ended)
        known = f", {len(ended)} already done" if ended else ""
        print_line(console, f"{search.label}: {len(searcher.waiting)} trials to search{known}")
        if searcher.waiting:
            begun.append((search, searcher, _recorder(search, len(searcher.waiting), store, console)))
    if executor == "inline":
        for search, searcher, record in begun:
            _search_inline(search, searcher, data, record)
    elif begun:
        with ray_session(address, {search.trial.method.name for search in searches}):
            from bench.tuning.tuning_ray import search_with_ray

            for search, searcher, record in begun:
                search_with_ray(search, searcher, data, record, max_concurrent)


def _search_inline(search: Search, searcher: Searcher, data: Path, ended: Callable[[SearchTrial], None]) -> None:
    while (trial := searcher.next()) is not None:
        # Through the record, as a worker gets it.
        candidate = Trial.from_record(search.candidate(trial.chosen).to_record())
        reached = partial(searcher.reached, trial.number)
        outcome = run_search_trial(candidate, search.tuning.output, data, reached)
        ended(searcher.ended(trial.number, outcome.status, outcome.error))


def _recorder(search: Search, total: int, store: Store, console: Console) -> Callable[[SearchTrial], None]:
    """Takes each trial of a search as it ends: puts it on record and prints it."""
    done = 0

    def record(trial: SearchTrial) -> None:
        nonlocal done
        done += 1
        write_trial(store, search, trial)
        last = trial.milestones[-1] if trial.milestones else None
        value = f" {search.tuning.output} {last.value:.4g}" if last and last.value is not None else ""
        where = f" at step {last.step}:" if last else ""
        why = f" ({trial.error})" if trial.error else ""
        print_line(console, f"{done}/{total} {search.label} {_shown(trial)}: {trial.state}{where}{value}{why}")

    return record


def _show_searches(searches: Sequence[Search], store: Store, console: Console) -> bool:
    """Puts the winners on record and prints them; returns whether every search has one."""
    lines, complete = [], True
    for search in searches:
        best = settle(store, search)
        complete = complete and best is not None
        frame = read_searches(store.root, search.trial.sweep, search.trial.scale, search.id)
        counts = [
            f"{line.n} {line.state}{f' at step {line.step}' if line.state == 'stopped' else ''}"
            for line in ends(frame).itertuples()
        ]
        options = "".join(f" {name}={value}" for name, value in search.trial.dataset.options.items())
        lines.append(
            [
                search.trial.method.name,
                search.trial.dataset.name + options,
                _shown(best) if best else "none: no trial came to the end",
                search.tuning.output,
                f"{best.value:.4g}" if best else "",
                ", ".join(counts),
            ]
        )
    print_table(console, ["method", "dataset", "best setting", "metric", "on validation", "trials"], lines)
    return complete


def _shown(trial: SearchTrial) -> str:
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in trial.chosen.items()
    )
