"""What lies under results/, and how it is written. Needs no torch.

    results/rows/<sweep>/<trial_id>.parquet     one row a metric; written once, last, as the trial ends
    results/rows/<sweep>/<setting>.parquet      rows of metrics across the seeds of a setting
    results/curves/<sweep>/<trial_id>.parquet   training curves
    results/artifacts/<trial_id>/               pictures and weights
    results/checkpoints/<sweep>/<trial_id>.safetensors   what a killed trial goes on from; gone once it has its rows
    results/plans/<sweep>-<scale>.json          the trials a sweep consists of, so that missing ones can be told
    results/plans/<sweep>-<scale>.<part>.json   those that runs of a part of the sweep have added since
    results/compact/                            copies of many rows and curves in one file; see `compaction`
    results/conflicts/<number>/                 results of trials that came out otherwise elsewhere; see `merging`
    results/conflicts.parquet                   which these are, and by how much they differ
    results/quarantine/                         what `doctor` has put aside, under the path it had
    results/published/*.csv                     checked in; read by bench.published

Every file is written under a temporary name in its own folder and renamed, so that a reader never sees half of one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import UserError
from bench.storage.files import beside, replacing, replacing_folder
from bench.storage.metadata import members, plan_files, plan_name, trial_record
from bench.storage.reading import Results, compact, files_of, read_curves, read_plans, read_results
from bench.storage.result_files import UnreadableError, read_row_file, write_file
from bench.storage.schema import CURVE_SCHEMA, ROW_SCHEMA, SCHEMA_VERSION
from bench.storage.tables import Stamp, stamp

MARK = ".mark"
ROOM = 2**16
"""Bytes of the file that tells whether results can be written: about what a trial's rows and curves take."""
REMEDIES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, your quota is used up",
    errno.EROFS: "make it writable, which it may no longer be because of a fault",
    errno.EACCES: "make it writable for you",
    errno.EPERM: "make it writable for you",
}


class StoreError(UserError):
    """Results cannot be written or read; the message says where and what to do."""


class Store:
    """A results folder."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).resolve()
        self.marked = (self.root / MARK).exists()

    def written(self, path: Path) -> None:
        """Called with every file that has been put in its place, or folder of artifacts; see `bench.storage.mirror`."""

    def removed(self, path: Path) -> None:
        """Called with every file that has been removed."""

    # Elsewhere: a folder is its own place, and has nothing to bring or to send

    @property
    def location(self) -> str:
        """What `bench.storage.mirror.open_store` opens these results from, on any machine that reaches them."""
        return str(self.root)

    def pull(self) -> None:
        """Brings here what other machines have written."""

    def fetch(self, sweep: str, trial_id: str) -> None:
        """Brings the rows and the checkpoint of a trial here."""

    def unsent(self) -> str | None:
        """Says so where what was written here has not got to `location`."""
        return None

    def mark(self) -> str | None:
        """What the file MARK in the folder holds: by that a machine tells whether it sees this folder or another."""
        path = self.root / MARK
        if not path.exists():
            own = beside(path)
            own.write_text(uuid.uuid4().hex)
            try:
                with suppress(FileExistsError):
                    os.link(own, path)  # of runs that start together the first makes it, whole
            except OSError:  # a file system without links
                own.replace(path)
            own.unlink(missing_ok=True)
        return path.read_text()

    # Writing

    def check_writable(self) -> None:
        """Raises StoreError where results could not be written: better before a run than after it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with replacing(self.root / ".writable") as path:
                path.write_bytes(bytes(ROOM))
            (self.root / ".writable").unlink(missing_ok=True)  # another run that starts may have been faster
            self.marked = self.mark() is not None
        except OSError as error:
            raise StoreError(
                f"results cannot be written to {self.root}: {_reason(error)}; or choose another with --results"
            ) from error

    def check_there(self) -> None:
        """Raises StoreError where the folder is not the one it was, as when its disk is taken away."""
        if self.marked and not (self.root / MARK).exists():
            raise StoreError(
                f"cannot write to {self.root}: another folder lies there than before, or none, as when a disk is "
                f"unmounted; mount it again; nothing that was finished is lost"
            )

    def write_rows(self, rows: Sequence[Mapping[str, Any]], trial: Mapping[str, Any]) -> Path:
        """Writes a trial's file of rows, replacing an earlier one. `trial` goes along as metadata.

        Raises ValueError for columns the schema does not know, StoreError where the disk refuses.
        """
        first = rows[0]
        return self._write_rows(first["sweep"], first["trial_id"], rows, {"trial": json.dumps(trial)})

    def write_rows_across(
        self, sweep: str, setting: str, rows: Sequence[Mapping[str, Any]], members: Mapping[str, str | None]
    ) -> Path:
        """Writes the rows of metrics across the seeds of a setting, made from trials with these fingerprints by id."""
        return self._write_rows(sweep, setting, rows, {"members": json.dumps(members, sort_keys=True)})

    def drop_rows_across(self, sweep: str, setting: str) -> None:
        """Removes what `write_rows_across` wrote: none of the trials it was made from is ok any more."""
        self.rows_path(sweep, setting).unlink(missing_ok=True)
        self.removed(self.rows_path(sweep, setting))

    def write_curves(self, sweep: str, trial_id: str, points: Sequence[Mapping[str, Any]]) -> Path:
        """Writes a trial's training curves; `points` have the columns of CURVE_SCHEMA but trial_id."""
        table = _table([{"trial_id": trial_id, **point} for point in points], CURVE_SCHEMA)
        return self._write(self.curves_path(sweep, trial_id), table, {})

    @contextmanager
    def replacing_artifacts(self, trial_id: str) -> Iterator[Path]:
        """A fresh folder that becomes the trial's artifacts when the block ends without an error."""
        final = self.artifacts_path(trial_id)
        self.check_there()
        try:
            with replacing_folder(final) as fresh:
                yield fresh
        except OSError as error:
            raise _refused(final, error) from error
        self.written(final)

    def write_plan(self, sweep: str, scale: str, trials: Mapping[str, Mapping[str, Any]], *, extend: bool) -> None:
        """Records which trials a sweep consists of at a scale; `extend` keeps those recorded before.

        What is added gets a file of its own, named after its trials: whoever adds others at the same time, on any
        machine, writes another file.
        """
        path, earlier = self.plan_path(sweep, scale), plan_files(self.root, f"{sweep}-{scale}")
        if extend:
            planned = read_plans(earlier)[0].get((sweep, scale), {})
            trials = {trial_id: record for trial_id, record in trials.items() if trial_id not in planned}
            if not trials:
                return
            path = path.with_name(plan_name(sweep, scale, trials))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_text(json.dumps({"sweep": sweep, "scale": scale, "trials": trials}, indent=1))
            replaced = [] if extend else [part for part in earlier if part != path]
            for part in replaced:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise _refused(path, error) from error
        self.written(path)
        for part in replaced:
            self.removed(part)

    def conflicts(self, number: int) -> Store:
        """The folder of what came out otherwise elsewhere: number 1 of trials with two results, 2 of a third, …"""
        return Store(self.root / "conflicts" / str(number))

    def write_conflicts(self, table: pa.Table) -> None:
        """Writes which trials, by trial_id, have results under `conflicts`; no file where there are none."""
        if table.num_rows:
            self._write(self.root / "conflicts.parquet", table, {})
        else:
            (self.root / "conflicts.parquet").unlink(missing_ok=True)

    def compact(self, sweep: str) -> None:
        """Makes later reading of a sweep of many trials fast, see `bench.storage.compaction`; safe at any time.

        A disk that refuses leaves everything as it is.
        """
        with suppress(OSError):
            compact(self.root, sweep)

    # Reading

    def status(self, sweep: str, trial_id: str) -> str | None:
        """The status of a trial; None where it has no rows, or a damaged file of them."""
        try:
            return read_row_file(self.rows_path(sweep, trial_id)).table["status"][0].as_py()
        except UnreadableError:
            return None

    def statuses(self, sweep: str) -> dict[str, str]:
        """The status of every trial of a sweep that has rows, by id."""
        files, _ = files_of(self.root, sweep, "rows")
        return {head.file: table["status"][0].as_py() for head, table in files.each() if head.members is None}

    def trial_rows(self, sweep: str, trial_id: str) -> list[dict[str, Any]]:
        """A trial's rows, see ROW_SCHEMA. Raises UnreadableError."""
        return read_row_file(self.rows_path(sweep, trial_id)).table.to_pylist()

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

    def stamp(self, sweep: str, trial_id: str) -> Stamp | None:
        """Changes whenever a trial's rows are written; None without rows. Compares no clocks."""
        return stamp(self.rows_path(sweep, trial_id))

    def read(self) -> Results:
        """Everything readable; foreign and corrupt files are named in `problems` and left alone."""
        return read_results(self.root)

    def read_curves(self, trial_ids: Iterable[str] | None = None, sweep: str = "*") -> pd.DataFrame:
        """Curves of the given trials, or of all, in a sweep or in any; columns of CURVE_SCHEMA.

        Unreadable files are passed over.
        """
        return read_curves(self.root, trial_ids, sweep)

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

    def checkpoint_path(self, sweep: str, trial_id: str) -> Path:
        """Where a trial's checkpoint lies; see `bench.checkpointing.checkpoints`."""
        return self.root / "checkpoints" / sweep / f"{trial_id}.safetensors"

    def plan_path(self, sweep: str, scale: str) -> Path:
        """Where the plan of a sweep at a scale lies, as it was last run whole."""
        return self.root / "plans" / plan_name(sweep, scale)

    def _write_rows(
        self, sweep: str, name: str, rows: Sequence[Mapping[str, Any]], metadata: Mapping[str, str]
    ) -> Path:
        table = _table([{**row, "schema_version": SCHEMA_VERSION} for row in rows], ROW_SCHEMA)
        return self._write(self.rows_path(sweep, name), table, metadata)

    def _write(self, path: Path, table: pa.Table, metadata: Mapping[str, str]) -> Path:
        self.check_there()
        try:
            write_file(path, table, metadata)
        except OSError as error:
            raise _refused(path, error) from error
        self.written(path)
        return path


def _refused(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot write {path}: {_reason(error)}; nothing that was finished is lost")


def _reason(error: OSError) -> str:
    """What the disk says, and what to do about it."""
    said = os.strerror(error.errno) if error.errno else str(error)
    return f"{said}; {REMEDIES.get(error.errno or 0, 'see that the disk is there and sound')}"


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    unknown = sorted({name for row in rows for name in row} - set(schema.names))
    if unknown:
        raise ValueError(f"columns the schema does not know: {', '.join(unknown)}")
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
