"""`python -m bench reproduce PAPER/TABLE`: runs what a published table needs, and prints it beside what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from bench.driver import run_trials
from bench.printing import print_line, print_table
from bench.published import find_table, load_published, published_rows
from bench.report.formatting import measurement, number, plural
from bench.selection import on_cpu, where
from bench.statistics.reproduction import is_needed, reproduction
from bench.statistics.verdicts import EXPLANATION
from bench.store import Store
from bench.sweeps import Sweep, load_sweeps
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

    Without `run` it only prints. Raises UserError for a table that is not on record, or for which there is no sweep.
    """
    console = console or Console()
    published = load_published()
    table = find_table(published, key)
    sweeps = [sweep for sweep in load_sweeps(sweeps_file, scale) if key in sweep.published]
    planned = [t for sweep in sweeps for t in sweep.trials(None if seeds is None else range(seeds))]
    needed = where(
        [trial for trial in planned if any(is_needed(row, trial.spec) for row in published_rows(table))], conditions
    )
    if conditions:
        table = table[[any(is_needed(row, trial.spec) for trial in needed) for row in published_rows(table)]]
    status = 0
    store = Store(results)
    if run and needed:
        trials = on_cpu(needed) if cpu else needed
        status = run_trials(
            trials, sweeps, store, (data or data_root()).resolve(), console, executor=executor, address=address
        )
    found = reproduction(table, published, [trial.to_record() for trial in needed], store.read().rows)
    if csv:
        found.to_csv(csv, index=False)
    _show(console, key, table, found, sweeps)
    return status


def _show(console: Console, key: str, table: pd.DataFrame, found: pd.DataFrame, sweeps: Sequence[Sweep]) -> None:
    first = table.iloc[0]
    print_line(console, f"{first['title']}, {first['table_published']} ({key}), {first['source']}\n")
    if not sweeps:
        print_line(console, f'no sweep says published = "{key}", so nothing of it can be run')
    notes: dict[str, int] = {}
    lines = [_cells(line, notes) for line in published_rows(found)]
    heading = [name for name in lines[0] if name != "metric" or found["metric"].nunique() > 1]
    print_table(console, heading, [[cells[name] for name in heading] for cells in lines])
    print_line(console, "")
    for note, mark in notes.items():
        print_line(console, f"[{mark}] {note}")
    counts = found["verdict"].value_counts()
    summary = ", ".join(f"{count} {word}" for word, count in counts.items())
    print_line(console, f"\n{plural(len(found), 'number')}: {summary}")
    print_line(console, EXPLANATION)


def _cells(line: Mapping[str, Any], notes: dict[str, int]) -> dict[str, str]:
    """A line of the printed table by its heading; the reason's place among the notes follows the verdict."""
    mark = notes.setdefault("; ".join(filter(None, [line["reason"], line["spread"]])), len(notes) + 1)
    half_width = None if pd.isna(line["half_width"]) else line["half_width"]
    told = f"({line['fields']}) " if line["fields"] else ""
    return {
        **{name: str(line[name]) for name in ("dataset", "method", "metric", "published")},
        "ours": "" if pd.isna(line["mean"]) else measurement(line["mean"], half_width),
        "seeds": "" if pd.isna(line["seeds"]) else str(int(line["seeds"])),
        "difference": "" if pd.isna(line["difference"]) else f"{line['difference']:+.3g}",
        "predicted": "" if pd.isna(line["low"]) else f"{number(line['low'])} to {number(line['high'])}",
        "verdict": f"{line['verdict']} {told}[{mark}]",
    }
