"""`python -m bench reproduce PAPER/TABLE`: runs what a published table needs, and prints it beside what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.driver import run_trials
from bench.errors import UserError
from bench.printing import Console, print_line, print_table
from bench.published import find_table, load_published, never_comparable, published_rows
from bench.report.files import without_formulas
from bench.report.paper_view import PaperLine, counted
from bench.selection import on_cpu, where
from bench.statistics.reproduction import is_needed, reproduction
from bench.statistics.verdicts import EXPLANATION
from bench.storage.mirror import open_store
from bench.sweeps import Sweep, load_sweeps
from bench.words import plural
from datasets.cache import data_root


def reproduce(
    key: str,
    *,
    sweeps_file: Path,
    scale: str,
    conditions: Sequence[str],
    seeds: int | None,
    cpu: bool,
    executor: str,
    address: str | None,
    results: Path,
    data: Path | None,
    run: bool,
    csv: Path | None,
    console: Console | None = None,
) -> int:
    """Runs what a published table needs and has no ok row yet, and prints the table; returns the status of the run.

    Without `run` it only prints. Raises UserError for a table that is not on record, and before anything runs where
    `csv` cannot be written.
    """
    console = console or Console()
    if csv:
        _write(csv, "", "a")
    published = load_published()
    table = find_table(published, key)
    sweeps = [sweep for sweep in load_sweeps(sweeps_file, scale) if key in sweep.published]
    planned = [t for sweep in sweeps for t in sweep.trials(None if seeds is None else range(seeds))]
    needed = [trial for trial in planned if any(is_needed(row, trial.spec) for row in published_rows(table))]
    if conditions and needed:
        needed = where(needed, conditions)
        table = table[[any(is_needed(row, trial.spec) for trial in needed) for row in published_rows(table)]]
    status = 0
    store = open_store(results)
    if run and needed:
        _foretell(console, [row for row in published_rows(table) if any(is_needed(row, t.spec) for t in needed)])
        trials = on_cpu(needed) if cpu else needed
        status = run_trials(
            trials, sweeps, store, (data or data_root()).resolve(), console, executor=executor, address=address
        )
    found = reproduction(table, published, [trial.to_record() for trial in needed], store.read().rows)
    _show(console, key, table, found, sweeps)
    if csv:
        _write(csv, without_formulas(found).to_csv(index=False), "w")
    return status


class TableFileError(UserError):
    """The table cannot be written; the message says where."""


def _write(path: Path, text: str, mode: str) -> None:
    try:
        with path.open(mode) as file:
            file.write(text)
    except OSError as error:
        raise TableFileError(f"the table cannot be written to {path}: {error.strerror or error}") from error


def _foretell(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Says, before hours are spent on it, how much of the table can be judged at all."""
    closed = [differences for row in rows if (differences := never_comparable(row))]
    line = f"{len(rows) - len(closed)} of {plural(len(rows), 'number')} can be compared"
    if closed:
        fields = Counter(field for differences in closed for field in differences)
        line += "; for the others the paper leaves open, or does otherwise: "
        line += ", ".join(f"{field} ({count})" for field, count in fields.items())
    print_line(console, line)


def _show(console: Console, key: str, table: pd.DataFrame, found: pd.DataFrame, sweeps: Sequence[Sweep]) -> None:
    first = table.iloc[0]
    print_line(console, f"{first['title']}, {first['table_published']} ({key}), {first['source']}\n")
    if not sweeps:
        print_line(console, f'no sweep says published = "{key}", so nothing of it can be run')
    notes: dict[str, int] = {}
    lines = [PaperLine.of(line, notes) for line in published_rows(found)]
    shown = {"method": "method", "dataset": "dataset", "metric": "metric", "published": "published", "mean": "ours"}
    shown |= {"verdict": "verdict", "difference": "difference", "predicted": "predicted", "seeds": "seeds"}
    if found["metric"].nunique() == 1:
        del shown["metric"]
    marked = [{**vars(line), "verdict": f"{line.verdict} [{line.note}]"} for line in lines]
    print_table(console, list(shown.values()), [[line[name] for name in shown] for line in marked])
    print_line(console, "")
    for note, mark in notes.items():
        print_line(console, f"[{mark}] {note}")
    counts = found["verdict"].value_counts()
    summary = ", ".join(f"{count} {word}" for word, count in counts.items())
    print_line(console, f"\n{counted(len(table), len(found))}: {summary}")
    print_line(console, EXPLANATION)
