"""Result files one after another in one table, with what is known of each. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

Stamp = tuple[int, int]
"""Inode and time of modification in nanoseconds: other ones for every state a path has had. Compares no clocks."""


@dataclass(frozen=True)
class Head:
    """What is known of a file of rows or curves.

    file: its name without suffix. stamp: from before it was read. lines: how many it has. Of rows also: sha256, of the
    file; trial, the JSON of its record, None where it has none; members, of rows across seeds the JSON of the
    fingerprints, by trial id, they were made from, None for those of a trial.
    """

    file: str
    stamp: Stamp
    lines: int
    sha256: str | None = None
    trial: str | None = None
    members: str | None = None


@dataclass(frozen=True)
class Files:
    """Files one after another. table: the lines of all."""

    heads: list[Head]
    table: pa.Table

    def only(self, kept: Sequence[bool]) -> Files:
        """The files for which `kept`, in the order of heads, says so."""
        if all(kept):
            return self
        lines = np.repeat(np.asarray(kept, dtype=bool), [head.lines for head in self.heads])
        return Files([head for head, keep in zip(self.heads, kept, strict=True) if keep], self.table.filter(lines))

    def each(self) -> Iterator[tuple[Head, pa.Table]]:
        """Every file and its lines."""
        first = 0
        for head in self.heads:
            yield head, self.table.slice(first, head.lines)
            first += head.lines


def joined(parts: Sequence[Files]) -> Files:
    """All files in the order of their names; at least one part."""
    heads = [head for part in parts for head in part.heads]
    table = pa.concat_tables([part.table for part in parts])
    if all(before.file <= after.file for before, after in pairwise(heads)):
        return Files(heads, table)
    first = np.cumsum([0, *(head.lines for head in heads)])
    order = sorted(range(len(heads)), key=lambda at: heads[at].file)
    lines = np.concatenate([np.arange(first[at], first[at + 1]) for at in order])
    return Files([heads[at] for at in order], table.take(lines))


def stamps(folder: Path) -> dict[str, Stamp]:
    """The stamps of the Parquet files of a folder, by their names without suffix; none where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return dict(sorted(_stamps(entries)))
    except OSError:
        return {}


def stamp(path: Path) -> Stamp | None:
    """The stamp of a file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def frame(table: pa.Table) -> pd.DataFrame:
    """What `table.to_pandas()` is, in a fraction of the time where texts repeat."""
    texts = [field.name for field in table.schema if field.type == pa.string()]
    made = table.drop_columns(texts).to_pandas()
    columns = {}
    for name in table.column_names:
        if name not in texts:
            columns[name] = made[name]
            continue
        encoded = table[name].combine_chunks().dictionary_encode()
        values = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
        codes = encoded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)
        columns[name] = pd.Series(values[codes], dtype="str")
    return pd.DataFrame(columns)


def _stamps(entries: Iterator[os.DirEntry[str]]) -> Iterator[tuple[str, Stamp]]:
    for entry in entries:
        name, suffix = os.path.splitext(entry.name)
        if suffix == ".parquet" and name[:1] not in (".", "_"):
            try:
                found = entry.stat()
            except OSError:
                continue  # it has gone, or leads nowhere
            yield name, (found.st_ino, found.st_mtime_ns)
