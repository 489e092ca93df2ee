"""What searches leave behind, apart from the rows of trials that are compared. Needs no torch.

    results/tuning/<sweep>-<scale>/<search>/<number>.parquet    a trial of a search: a line a milestone

`pandas.read_parquet("results/tuning")` reads them all. A file is written once its trial has ended; those of the winner
are written again to say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.storage.files import in_parallel, replacing
from bench.storage.result_files import UnreadableError, one_line
from bench.storage.store import Store, StoreError

SEARCH_SCHEMA = pa.schema(
    [
        ("search", pa.string()),  # id of the search
        ("number", pa.int32()),  # of the trial in it
        ("trial_id", pa.string()),
        ("sweep", pa.string()),
        ("scale", pa.string()),
        ("dataset", pa.string()),
        ("dataset_options", pa.string()),
        ("method", pa.string()),
        ("params", pa.string()),  # all hyperparameters
        ("chosen", pa.string()),  # those that were searched
        ("seed", pa.int64()),
        ("metric", pa.string()),
        ("direction", pa.string()),
        ("algorithm", pa.string()),  # optuna or random
        ("scheduler", pa.string()),  # asha or none
        # Of a milestone; null for a trial that reached none.
        ("rung", pa.int32()),
        ("step", pa.int64()),
        ("value", pa.float64()),  # on the validation split
        ("reason", pa.string()),
        ("seconds", pa.float64()),
        # Of the trial.
        ("state", pa.string()),  # completed, stopped, failed, diverged, timeout, lost, …
        ("error", pa.string()),
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("won", pa.bool_()),
        ("git_sha", pa.string()),
        ("torch", pa.string()),
        ("optuna", pa.string()),
    ]
)

REQUIRED = (*SEARCH_SCHEMA.names[: SEARCH_SCHEMA.names.index("rung")], "state", "won", "started_at")
"""Columns without which a line cannot be understood."""


def write_search_trial(store: Store, lines: Sequence[Mapping[str, Any]]) -> None:
    """Writes the lines of one trial of a search, replacing earlier ones.

    Raises StoreError where the disk refuses.
    """
    first = lines[0]
    folder = searches_path(store.root, first["sweep"], first["scale"]) / first["search"][:16]
    path = folder / f"{first['number']:05d}.parquet"
    store.check_there()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            pq.write_table(pa.Table.from_pylist([dict(line) for line in lines], SEARCH_SCHEMA), temporary)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    store.written(path)


def mark_winner(store: Store, trials: Iterable[pa.Table], number: int | None) -> None:
    """Puts on record which of the trials of a search won, by its number; whatever else is on record stays.

    trials: the lines of each. Raises StoreError where the disk refuses.
    """
    for lines in trials:
        won = lines["number"][0].as_py() == number
        if lines["won"][0].as_py() != won:
            write_search_trial(store, [line | {"won": won} for line in lines.to_pylist()])


def read_searches(root: Path, sweep: str, scale: str, search: str = "") -> pd.DataFrame:
    """The lines of the searches of a sweep at a scale, or of one of them by its id; columns of SEARCH_SCHEMA.

    In the order of number and rung. Files that cannot be read are passed over: their trials run again.
    """
    paths = sorted(searches_path(root, sweep, scale).glob(f"{search[:16] or '*'}/[!._]*.parquet"))
    tables = [table for table in in_parallel(_readable, paths) if table is not None]
    frame = (pa.concat_tables(tables) if tables else SEARCH_SCHEMA.empty_table()).to_pandas()
    return frame.sort_values(["search", "number", "rung"], kind="stable", ignore_index=True)


def read_search_file(path: Path) -> pa.Table:
    """The lines of tuning/SWEEP-SCALE/SEARCH/NUMBER.parquet; columns of SEARCH_SCHEMA. Raises UnreadableError."""
    try:
        table = pq.ParquetFile(path).read(use_threads=False).select(SEARCH_SCHEMA.names).cast(SEARCH_SCHEMA)
        table.validate(full=True)
        _check(table, path)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UnreadableError(f"not a readable trial of a search ({one_line(error)})") from error
    return table.replace_schema_metadata(None)


def searches_path(root: Path, sweep: str, scale: str) -> Path:
    """The folder of the searches of a sweep at a scale."""
    return root / "tuning" / f"{sweep}-{scale}"


def _check(table: pa.Table, path: Path) -> None:
    """Raises ValueError where the lines are not those of one trial of a search, the one that the path says."""
    reached = table.filter(pc.is_valid(table["rung"]))
    if any(table[name].null_count for name in REQUIRED) or any(
        reached[name].null_count for name in ("step", "seconds")
    ):
        raise ValueError("a line lacks what it needs")
    if not all(isinstance(json.loads(text), dict) for text in table["chosen"].to_pylist()):
        raise ValueError("what was chosen is not a table of hyperparameters")
    names = (table[name].to_pylist() for name in ("sweep", "scale", "search", "number"))
    places = {
        (f"{sweep}-{scale}", search[:16], f"{number:05d}.parquet")
        for sweep, scale, search, number in zip(*names, strict=True)
    }
    if places != {path.parts[-3:]}:
        raise ValueError("its lines are of another trial than its name and folders say")


def _readable(path: Path) -> pa.Table | None:
    try:
        return read_search_file(path)
    except UnreadableError:
        return None
