"""`python -m bench show`: one trial or published table with everything known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from bench.commands import results_option, run_again
from bench.errors import UserError
from bench.options import nearest
from bench.printing import print_line, print_table
from bench.published import find_table, load_published, printed, published_rows
from bench.storage.reading import Results
from bench.storage.store import Store

COST = ("steps", "train_seconds", "eval_seconds", "peak_memory_bytes", "parameters", "device", "threads", "resumed")
HOW = ("packed", "compiled", "precision")
PROVENANCE = ("started_at", "git_sha", "git_dirty", "python", "torch", "cuda", "device_name", "ray", "packages")


def show_published(key: str, console: Console) -> None:
    """Prints a published table number by number, with what is known of how each was measured.

    Raises UserError where no table of that name is on record.
    """
    table = find_table(load_published(), key)
    first = table.iloc[0]
    where = f", arXiv {first['arxiv']}" if first["arxiv"] else ""
    print_line(console, f"{first['title']}{where}, {first['table_published']} ({key})\n")
    notes: dict[str, int] = {}
    lines = []
    for row in published_rows(table):
        told = [row["protocol"], f"theirs is {row['departure']}" if row["departure"] else "", row["note"]]
        mark = notes.setdefault("; ".join(filter(None, [*told, f"{row['source']} ({row['status']})"])), len(notes) + 1)
        options = [json.loads(row[name]) for name in ("dataset_options", "params")]
        dataset, method = (
            " ".join([row[name], *(f"{key}={value}" for key, value in chosen.items())])
            for name, chosen in zip(("dataset", "method"), options, strict=True)
        )
        count = "" if pd.isna(row["n_samples"]) else f"{row['n_samples']:,}"
        theirs = [row["method_published"], row["dataset_published"], row["metric_published"], printed(row)]
        ours = [method or "none", dataset, row["metric"], row["split"], row["feature_extractor"], count]
        lines.append([*theirs, *ours, str(mark)])
    heading = ["method", "dataset", "metric", "published", "our method", "our dataset", "our metric", "split"]
    print_table(console, [*heading, "features", "samples", "note"], lines)
    print_line(console, "")
    for note, mark in notes.items():
        print_line(console, f"[{mark}] {note}")


def show_trial(prefix: str, results: Path, console: Console) -> int:
    """Prints the trial whose id begins with `prefix`: 0 where it ended ok, else 1.

    Raises UserError where no trial's id does, several trials' ids do, or its record does not say what was run.
    """
    store = Store(results)
    found = store.read()
    trial_id = find_trial(prefix, found, store.root)
    record = found.trials[found.sweeps_of(trial_id)[0], trial_id]
    rows = found.rows[found.rows["trial_id"] == trial_id]

    def line(name: str, value: Any) -> None:
        console.print(f"{name:18} {_plain(value)}", markup=False, highlight=False, soft_wrap=True)

    try:
        planned = _planned(record)
    except (KeyError, TypeError) as other:
        where = f"the record of {trial_id} in {store.root}"
        raise UserError(f"{where} does not say what was run; a run of its sweep with --force writes it anew") from other
    line("trial", trial_id)
    for name, value in planned.items():
        line(name, value)
    line("again with", run_again(trial_id, record["scale"], results_option(results)))
    if rows.empty:
        console.print("it has not run yet")
        return 1
    first = rows.iloc[0]
    error = f": {first['error_type']}: {first['error']}" if pd.notna(first["error"]) else ""
    line("status", f"{first['status']}{error}")
    table = Table("metric", "split", "value", "samples", "protocol", box=None, header_style="bold")
    shown = ""
    for _, row in rows[rows["metric"].notna()].iterrows():
        value = f"{row['value']:.6g}" if pd.notna(row["value"]) else f"none: {row['reason']}"
        samples = f"{row['n_samples']:.0f}" if pd.notna(row["n_samples"]) else ""
        table.add_row(
            row["metric"], row["split"], value, samples, "the same" if row["protocol"] == shown else row["protocol"]
        )
        shown = row["protocol"]
    if table.row_count:
        console.print(table)
    for column in (*COST, *HOW, *PROVENANCE):
        line(column, first[column])
    for path in store.artifacts(trial_id).values():
        line("artifact", path)
    return 0 if first["status"] == "ok" else 1


def _planned(record: Mapping[str, Any]) -> dict[str, str]:
    """What a trial's record says was to be run, in words by name. Raises KeyError or TypeError for another record."""
    spec = record["spec"]
    told = {"sweep": f"{record['sweep']} at {record['scale']} scale"}
    for name, options in (("dataset", "options"), ("method", "params")):
        told[name] = f"{spec[name]['name']} version {spec[name]['version']} {json.dumps(spec[name][options])}"
    return {**told, "seed": str(spec["seed"]), "budget": json.dumps(spec["budget"])}


def find_trial(prefix: str, found: Results, where: Path) -> str:
    """The id, of the trials found in the folder `where`, that begins with `prefix`.

    Raises UserError where no trial's id does, or several trials' ids do.
    """
    known = {trial_id for _, trial_id in found.trials}
    matches = sorted(trial_id for trial_id in known if trial_id.startswith(prefix))
    if not matches:
        near = nearest(prefix, [trial_id[: len(prefix)] for trial_id in known]) if known else "no trials"
        raise UserError(f'no trial "{prefix}" in {where}: {near}')
    if len(matches) > 1:
        raise UserError(f'"{prefix}" begins {len(matches)} trial ids: {", ".join(m[:16] for m in matches[:5])}')
    return matches[0]


def _plain(value: Any) -> str:
    if pd.isna(value):
        return "unknown"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
