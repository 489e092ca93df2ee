"""A file of rows or curves, written with checksums, read and checked. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.identity import NAME
from bench.storage.files import replacing
from bench.storage.metadata import members, trial_record
from bench.storage.schema import CURVE_SCHEMA, MEASURED, current
from bench.storage.tables import Files, Head, Stamp


class UnreadableError(Exception):
    """A file is damaged or not one of ours; the message says which and why, to be read after its path."""


class MisplacedError(UnreadableError):
    """A file holds the rows of one trial, and they belong to rows/`sweep`/`trial_id`.parquet."""

    def __init__(self, sweep: str, trial_id: str) -> None:
        super().__init__("not a file of ours, its rows are of another trial or sweep than its name and folder say")
        self.sweep, self.trial_id = sweep, trial_id


def write_file(path: Path, table: pa.Table, metadata: Mapping[str, str]) -> None:
    """Writes rows or curves, with checksums of lines and metadata. Raises OSError where the disk refuses."""
    # Parquet has checksums of its pages, and none of its metadata.
    sealed = {**metadata, "sha256": _digest({key.encode(): value.encode() for key, value in metadata.items()})}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        # Of 42 columns with a few lines each there is little to compress, and it doubles the time to read them.
        pq.write_table(table.replace_schema_metadata(sealed), temporary, compression="none", write_page_checksum=True)


def read_row_file(path: Path, stamp: Stamp = (0, 0)) -> Files:
    """Reads rows/SWEEP/NAME.parquet, of this version of the schema or an earlier one. Raises UnreadableError."""
    data, table = _read(path)
    try:
        table = current(table)
        head = _checked(table, path.parent.name, path.stem)
    except (pa.ArrowException, ValueError, RecursionError) as error:
        raise UnreadableError(f"not a file of ours, {one_line(error)}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    return Files([Head(path.stem, stamp, len(table), sha256, *head)], table.replace_schema_metadata(None))


def read_curve_file(path: Path, stamp: Stamp = (0, 0)) -> Files:
    """Reads curves/SWEEP/TRIAL.parquet. Raises UnreadableError."""
    _, table = _read(path)
    try:
        table = table.select(CURVE_SCHEMA.names).cast(CURVE_SCHEMA).replace_schema_metadata(None)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise UnreadableError(f"not a file of ours, {one_line(error)}") from error
    if not table.num_rows:
        raise UnreadableError("not a file of ours, it has no points")
    if any(table[name].null_count for name in ("stage", "step", "name")):
        raise UnreadableError("not a file of ours, a point has no stage, step or name")
    if set(table["trial_id"].unique().to_pylist()) - {path.stem}:
        raise UnreadableError("not a file of ours, its points are of another trial than its name says")
    return Files([Head(path.stem, stamp, len(table))], table)


def one_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _read(path: Path) -> tuple[bytes, pa.Table]:
    """A file's bytes, and the table in them."""
    try:
        data = path.read_bytes()
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
            table.validate(full=True)  # else texts that are not UTF-8 fail later, each where it is used
            return data, table
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UnreadableError(f"cannot be read as Parquet ({one_line(error)})") from error


def _checked(table: pa.Table, sweep: str, name: str) -> tuple[str | None, str | None]:
    """The JSON of a trial's record, and of the members of rows across seeds.

    Raises ValueError where this is not what the harness writes under this name; the message says what is wrong.
    """
    metadata = table.schema.metadata or {}
    if metadata.get(b"sha256", _digest(metadata).encode()) != _digest(metadata).encode():
        raise ValueError("its metadata are damaged")
    found = {column: set(table[column].unique().to_pylist()) for column in ("sweep", "scale", "trial_id")}
    # Files are named after these, and commands that people type state them.
    if not all(NAME.fullmatch(text) for texts in found.values() for text in texts):
        raise ValueError("its sweep, scale or trial is no plain name")
    if b"trial" in metadata:
        trial_record(metadata[b"trial"])
    across = members(metadata) is not None
    if found["sweep"] != {sweep} or not (across or found["trial_id"] == {name}):
        if not across and len(found["sweep"]) == len(found["trial_id"]) == 1:
            raise MisplacedError(*found["sweep"], *found["trial_id"])
        raise ValueError("its rows are of several trials or sweeps")
    lines = list(zip(*(table[column].to_pylist() for column in MEASURED), strict=True))
    if len(set(lines)) < len(lines):
        raise ValueError("it has a measurement twice")
    trial, made_from = (metadata[key].decode() if key in metadata else None for key in (b"trial", b"members"))
    return trial, made_from


def _digest(metadata: Mapping[bytes, bytes]) -> str:
    """SHA-256 of all metadata but the checksum itself and what Arrow adds."""
    told = sorted((key, value) for key, value in metadata.items() if key not in (b"sha256", b"ARROW:schema"))
    return hashlib.sha256(repr(told).encode()).hexdigest()
