"""Rows to Parquet and back. The only file that knows what lies under results/.

    results/rows/<sweep>/<trial_id>.parquet     one row a metric; written once, last, as the trial ends
    results/rows/<sweep>/<setting>.parquet      rows of metrics across the seeds of a setting
    results/curves/<sweep>/<trial_id>.parquet   training curves
    results/artifacts/<trial_id>/               pictures and weights
    results/plans/<sweep>-<scale>.json          the trials a sweep consists of, so that missing ones can be told
    results/conflicts/<number>/                 results of trials that came out otherwise elsewhere; see bench.merging
    results/conflicts.parquet                   which these are, and by how much they differ
    results/published/*.csv                     checked in; read by bench.published

Every file is written under a temporary name in its own folder and renamed, so that a reader never sees half of one.
Needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import UserError
from bench.files import in_parallel, replacing
from bench.identity import NAME
from bench.metadata import UNREADABLE, members, read_plan, trial_record

SCHEMA_VERSION = 1
STATUSES = ("ok", "failed", "diverged", "timeout", "interrupted", "lost")

ROW_SCHEMA = pa.schema(
    [
        # identity
        ("schema_version", pa.int32()),
        ("trial_id", pa.string()),
        ("sweep", pa.string()),
        ("scale", pa.string()),
        ("kind", pa.string()),
        ("dataset", pa.string()),
        ("dataset_options", pa.string()),
        ("dataset_version", pa.int32()),
        ("method", pa.string()),
        ("method_version", pa.int32()),
        ("params", pa.string()),
        ("seed", pa.int64()),
        # outcome
        ("status", pa.string()),
        ("error_type", pa.string()),
        ("error", pa.string()),
        # metric
        ("table", pa.string()),
        ("metric", pa.string()),
        ("split", pa.string()),
        ("value", pa.float64()),
        ("direction", pa.string()),
        ("n_samples", pa.int64()),
        ("protocol", pa.string()),
        ("metric_version", pa.int32()),
        ("reason", pa.string()),
        # cost
        ("steps", pa.int64()),
        ("train_seconds", pa.float64()),
        ("eval_seconds", pa.float64()),
        ("peak_memory_bytes", pa.int64()),
        ("parameters", pa.int64()),
        ("device", pa.string()),
        ("threads", pa.int32()),
        # provenance
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("git_sha", pa.string()),
        ("git_dirty", pa.bool_()),
        ("python", pa.string()),
        ("torch", pa.string()),
        ("cuda", pa.string()),
        ("device_name", pa.string()),
        ("ray", pa.string()),
        ("packages", pa.string()),
        ("deterministic", pa.bool_()),
    ]
)

IDENTIFYING = ("trial_id", "sweep", "scale", "status")
"""Columns without which a row cannot be told apart from others."""

CURVE_SCHEMA = pa.schema(
    [
        ("trial_id", pa.string()),
        ("stage", pa.string()),  # prepare, train or finish
        ("step", pa.int64()),
        ("seconds", pa.float64()),
        ("name", pa.string()),
        ("value", pa.float64()),
    ]
)


class StoreError(UserError):
    """Results cannot be written or read; the message says where and what to do."""


@dataclass
class Results:
    """What lies under a results folder, as data frames.

    rows: columns of ROW_SCHEMA. trials: trial_id -> the trial as it was planned, from plans and from the rows' own
    files. plans: (sweep, scale) -> the same of each trial it consists of. problems: one sentence a file that could not
    be read.
    """

    rows: pd.DataFrame
    trials: dict[str, dict[str, Any]]
    plans: dict[tuple[str, str], dict[str, dict[str, Any]]]
    problems: list[str] = field(default_factory=list)

    @property
    def planned(self) -> dict[tuple[str, str], list[str]]:
        """(sweep, scale) -> the ids of its trials."""
        return {key: list(trials) for key, trials in self.plans.items()}


class Store:
    """A results folder."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).resolve()

    def written(self, path: Path) -> None:
        """Called with every file that has been put in its place, or folder of artifacts; see `bench.mirror`."""

    def removed(self, path: Path) -> None:
        """Called with every file that has been removed."""

    # Writing

    def check_writable(self) -> None:
        """Raises StoreError where results could not be written: better before a run than after it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with replacing(self.root / ".writable") as path:
                path.write_text("")
            (self.root / ".writable").unlink()
        except OSError as error:
            raise StoreError(
                f"results cannot be written to {self.root}: {error.strerror or error}; choose another with --results"
            ) from error

    def write_rows(self, rows: Sequence[Mapping[str, Any]], trial: Mapping[str, Any]) -> Path:
        """Writes a trial's file of rows, replacing an earlier one. `trial` goes along as metadata.

        Raises ValueError for columns the schema does not know, StoreError where the disk refuses.
        """
        table = _table(rows, ROW_SCHEMA)
        table = table.replace_schema_metadata({"trial": json.dumps(trial)})
        first = rows[0]
        return self._write_parquet(self.rows_path(first["sweep"], first["trial_id"]), table)

    def write_rows_across(
        self, sweep: str, setting: str, rows: Sequence[Mapping[str, Any]], members: Mapping[str, str | None]
    ) -> Path:
        """Writes the rows of metrics across the seeds of a setting, made from trials with these fingerprints by id."""
        metadata = {"members": json.dumps(members, sort_keys=True)}
        return self._write_parquet(
            self.rows_path(sweep, setting), _table(rows, ROW_SCHEMA).replace_schema_metadata(metadata)
        )

    def drop_rows_across(self, sweep: str, setting: str) -> None:
        """Removes what `write_rows_across` wrote: none of the trials it was made from is ok any more."""
        self.rows_path(sweep, setting).unlink(missing_ok=True)
        self.removed(self.rows_path(sweep, setting))

    def write_curves(self, sweep: str, trial_id: str, points: Sequence[Mapping[str, Any]]) -> Path:
        """Writes a trial's training curves; `points` have the columns of CURVE_SCHEMA but trial_id."""
        table = _table([{"trial_id": trial_id, **point} for point in points], CURVE_SCHEMA)
        return self._write_parquet(self.curves_path(sweep, trial_id), table)

    @contextmanager
    def replacing_artifacts(self, trial_id: str) -> Iterator[Path]:
        """A fresh folder that becomes the trial's artifacts when the block ends without an error."""
        final = self.artifacts_path(trial_id)
        fresh = final.with_name(f".{trial_id}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            fresh.mkdir(parents=True)
            yield fresh
            shutil.rmtree(final, ignore_errors=True)
            fresh.rename(final)
            self.written(final)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def write_plan(
        self, sweep: str, scale: str, trials: Mapping[str, Mapping[str, Any]], *, extend: bool
    ) -> Path | None:
        """Records which trials a sweep consists of at a scale; `extend` keeps those recorded before.

        Returns where a plan is kept that should have been extended and cannot be read; None where there is none.
        """
        path, aside = self.plan_path(sweep, scale), None
        merged = dict(trials)
        if extend and path.exists():
            try:
                merged = read_plan(path)[1] | merged
            except UNREADABLE:
                aside = path.replace(path.with_name(f"{path.name}.unreadable"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"sweep": sweep, "scale": scale, "trials": merged}, indent=1))
        self.written(path)
        return aside

    def conflicts(self, number: int) -> Store:
        """The folder of what came out otherwise elsewhere: number 1 of trials with two results, 2 of a third, …"""
        return Store(self.root / "conflicts" / str(number))

    def write_conflicts(self, table: pa.Table) -> None:
        """Writes which trials, by trial_id, have results under `conflicts`; no file where there are none."""
        if table.num_rows:
            self._write_parquet(self.root / "conflicts.parquet", table)
        else:
            (self.root / "conflicts.parquet").unlink(missing_ok=True)

    # Reading

    def status(self, sweep: str, trial_id: str) -> str | None:
        """The status of a trial; None where it has no rows, or an unreadable file of them."""
        try:
            column = pq.read_table(self.rows_path(sweep, trial_id), columns=["status"], partitioning=None)["status"]
        except (pa.ArrowException, OSError, KeyError):
            return None
        return column[0].as_py() if len(column) else None

    def trial_rows(self, sweep: str, trial_id: str) -> list[dict[str, Any]]:
        """A trial's rows as they were written. Raises OSError or ArrowException where they cannot be read."""
        return pq.read_table(self.rows_path(sweep, trial_id), partitioning=None).to_pylist()

    def trial_record(self, sweep: str, trial_id: str) -> dict[str, Any] | None:
        """A trial as the file of its rows has it, see `Trial.from_record`; None where it has none that can be read."""
        try:
            metadata = pq.read_schema(self.rows_path(sweep, trial_id)).metadata or {}
            return trial_record(metadata[b"trial"])
        except (pa.ArrowException, OSError, KeyError, ValueError):
            return None

    def members(self, sweep: str, setting: str) -> dict[str, str] | None:
        """The `members` that were given with the rows of a setting; None where it has none that can be read."""
        try:
            return members(pq.read_schema(self.rows_path(sweep, setting)).metadata)
        except (pa.ArrowException, OSError, ValueError):
            return None

    def fingerprint(self, sweep: str, trial_id: str) -> str | None:
        """The SHA-256 of a trial's file of rows; None without rows."""
        try:
            return hashlib.sha256(self.rows_path(sweep, trial_id).read_bytes()).hexdigest()
        except OSError:
            return None

    def stamp(self, sweep: str, trial_id: str) -> tuple[int, int] | None:
        """Changes whenever a trial's rows are written; None without rows. Compares no clocks."""
        try:
            found = self.rows_path(sweep, trial_id).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def read(self) -> Results:
        """Everything readable; foreign and corrupt files are named in `problems` and left alone."""
        tables: list[pa.Table] = []
        plans, problems = self.read_plans()
        trials = {trial_id: trial for plan in plans.values() for trial_id, trial in plan.items()}
        for path, table, problem in self.row_files():
            problems += [problem] if problem else []
            if table is not None:
                metadata = table.schema.metadata or {}
                if b"trial" in metadata:
                    trials[path.stem] = json.loads(metadata[b"trial"])
                tables.append(table.replace_schema_metadata(None))
        rows = pa.concat_tables(tables) if tables else ROW_SCHEMA.empty_table()
        return Results(rows.to_pandas(), trials, plans, problems + self._conflicting())

    def read_plans(self) -> tuple[dict[tuple[str, str], dict[str, dict[str, Any]]], list[str]]:
        """The plans by (sweep, scale), see `Results`, and one sentence a file that is none."""
        plans: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        problems = []
        for path in sorted((self.root / "plans").glob("[!._]*.json")):
            try:
                key, trials = read_plan(path)
                plans[key] = trials
            except UNREADABLE as error:
                problems.append(f"{path}: not a readable plan ({_one_line(error)})")
        return plans, problems

    def row_files(self) -> list[tuple[Path, pa.Table | None, str]]:
        """Every file among the rows: its path, its table with metadata, and what is wrong where there is no table.

        Nothing is wrong with rows across seeds of trials that have run again since; they have no table either.
        """
        paths = [path for path in sorted((self.root / "rows").glob("**/[!._]*")) if not path.is_dir()]
        read = in_parallel(self._read_rows, paths)
        return [(path, table, problem) for path, (table, problem) in zip(paths, read, strict=True)]

    def _conflicting(self) -> list[str]:
        """A sentence on the trials that came out otherwise elsewhere, where there are any."""
        path = self.root / "conflicts.parquet"
        if not path.exists():
            return []
        try:
            ids = list(dict.fromkeys(pq.read_table(path, columns=["trial_id"])["trial_id"].to_pylist()))
        except (pa.ArrowException, OSError, KeyError) as error:
            return [f"{path}: cannot be read as Parquet ({_one_line(error)})"]
        named = ", ".join(trial_id[:12] for trial_id in ids[:5]) + (", …" if len(ids) > 5 else "")
        return [f"{path}: of {len(ids)} trials another run gave other numbers, which are not used here: {named}"]

    def _read_rows(self, path: Path) -> tuple[pa.Table | None, str]:
        """A file of rows, or what is wrong with it; neither for rows across seeds that are out of date."""
        try:
            table = pq.ParquetFile(path).read(use_threads=False)
            if not table.schema.equals(ROW_SCHEMA):
                names = set(table.column_names)
                missing = [name for name in ROW_SCHEMA.names if name not in names]
                if missing:
                    return None, f"{path}: not a file of ours, it lacks the column {missing[0]}"
                table = table.select(ROW_SCHEMA.names).cast(ROW_SCHEMA.with_metadata(table.schema.metadata))
            empty = [name for name in IDENTIFYING if table[name].null_count]
            if empty:
                return None, f"{path}: not a file of ours, its column {empty[0]} has a line without a value"
            # Files are named after these, and commands that people type state them.
            names = {text for name in ("sweep", "scale", "trial_id") for text in table[name].unique().to_pylist()}
            if not all(map(NAME.fullmatch, names)):
                return None, f"{path}: not a file of ours, its sweep, scale or trial is no plain name"
            metadata = table.schema.metadata or {}
            trial_record(metadata.get(b"trial", b"{}"))
            made_from = members(metadata) or {}
            if any(self.fingerprint(path.parent.name, trial) != known for trial, known in made_from.items()):
                return None, ""  # rows across seeds of trials that have run again; a run will measure them anew
            return table, ""
        except (pa.ArrowException, OSError, KeyError) as error:
            return None, f"{path}: cannot be read as Parquet ({_one_line(error)})"
        except ValueError as error:
            return None, f"{path}: not a file of ours, {_one_line(error)}"

    def read_curves(self, trial_ids: Iterable[str] | None = None, sweep: str = "*") -> pd.DataFrame:
        """Curves of the given trials, or of all, in a sweep or in any; columns of CURVE_SCHEMA.

        Unreadable files are passed over.
        """
        wanted = None if trial_ids is None else set(trial_ids)
        paths = sorted((self.root / "curves").glob(f"{sweep}/[!._]*.parquet"))
        chosen = [path for path in paths if wanted is None or path.stem in wanted]
        tables = [table for table in in_parallel(_read_curves, chosen) if table is not None]
        return (pa.concat_tables(tables) if tables else CURVE_SCHEMA.empty_table()).to_pandas()

    def artifacts(self, trial_id: str) -> dict[str, Path]:
        """Name -> path of a trial's artifacts."""
        return {path.name: path for path in sorted(self.artifacts_path(trial_id).glob("[!.]*"))}

    def rows_path(self, sweep: str, name: str) -> Path:
        """Where the rows of a trial, or of a setting across seeds, lie."""
        return self.root / "rows" / sweep / f"{name}.parquet"

    def curves_path(self, sweep: str, trial_id: str) -> Path:
        """Where a trial's curves lie."""
        return self.root / "curves" / sweep / f"{trial_id}.parquet"

    def artifacts_path(self, trial_id: str) -> Path:
        """The folder of a trial's artifacts."""
        return self.root / "artifacts" / trial_id

    def plan_path(self, sweep: str, scale: str) -> Path:
        """Where the plan of a sweep at a scale lies."""
        return self.root / "plans" / f"{sweep}-{scale}.json"

    def _write_parquet(self, path: Path, table: pa.Table) -> Path:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                # Of 41 columns with a few lines each there is little to compress, and it doubles the time to read them.
                pq.write_table(table, temporary, compression="none")
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
        self.written(path)
        return path


def _read_curves(path: Path) -> pa.Table | None:
    try:
        return pq.ParquetFile(path).read(use_threads=False).select(CURVE_SCHEMA.names).cast(CURVE_SCHEMA)
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    unknown = sorted({name for row in rows for name in row} - set(schema.names))
    if unknown:
        raise ValueError(f"columns the schema does not know: {', '.join(unknown)}")
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def _one_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
