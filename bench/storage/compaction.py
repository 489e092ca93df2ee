"""All rows of a sweep in one file, and all its curves in another, which readers take in place of thousands of files.

    results/compact/<sweep>.rows.parquet
    results/compact/<sweep>.curves.parquet

They are a copy and no more: each small file stays where it is, and the copy notes its stamp. A small file with another
stamp has been written since, and is read itself; one that is gone counts no longer. So it is safe to compact while
trials run, and to remove the folder at any time. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.storage.files import replacing
from bench.storage.tables import Files, Head, Stamp

HEAD = pa.schema(
    [
        ("file", pa.string()),
        ("inode", pa.uint64()),
        ("modified", pa.int64()),
        ("sha256", pa.string()),
        ("trial", pa.string()),
        ("members", pa.string()),
    ]
)
"""A `Head` on the first line of its file; null on the others."""
MANY = 200
"""Files from which on a run copies them."""


def copy_path(root: Path, sweep: str, what: str) -> Path:
    """Where the copy of a sweep's rows or curves lies in a results folder. what: "rows" or "curves"."""
    return root / "compact" / f"{sweep}.{what}.parquet"


def read_copy(path: Path, schema: pa.Schema, now: Mapping[str, Stamp]) -> Files:
    """Those files of a copy that are still as they were copied; none where there is no copy, or one that is damaged.

    schema: of the lines; one of another version is no copy. now: the stamps of the small files.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
            table.validate(full=True)
    except (pa.ArrowException, OSError):
        return Files([], schema.empty_table())
    if not table.schema.equals(_with_head(schema)):
        return Files([], schema.empty_table())
    is_first = table[f"{HEAD.names[0]}_"].is_valid()
    first = np.flatnonzero(is_first)
    lines = np.diff(first, append=len(table)).tolist()
    columns = [table[f"{name}_"].filter(is_first).to_pylist() for name in HEAD.names]
    heads = [
        Head(name, (inode, modified), count, *told)
        for name, inode, modified, *told, count in zip(*columns, lines, strict=True)
    ]
    return Files(heads, table.select(schema.names)).only([now.get(head.file) == head.stamp for head in heads])


def write_copy(path: Path, files: Files) -> None:
    """Writes a copy of these files, none of which is empty. Raises OSError where the disk refuses."""
    starts = np.cumsum([0, *(head.lines for head in files.heads)])[:-1]
    at = np.full(len(files.table), -1)
    at[starts] = np.arange(len(starts))
    where = pa.array(at, mask=at < 0)
    table = files.table
    values = zip(*((h.file, *h.stamp, h.sha256, h.trial, h.members) for h in files.heads), strict=True)
    for name, of_files in zip(_with_head(table.schema).names[len(table.schema) :], values, strict=True):
        kind = HEAD.field(name[:-1]).type
        table = table.append_column(pa.field(name, kind), pc.take(pa.array(of_files, kind), where))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _with_head(schema: pa.Schema) -> pa.Schema:
    """The columns of a copy of files with this schema; HEAD's get an underscore, as some are named like the lines'."""
    return pa.schema([*schema, *(column.with_name(f"{column.name}_") for column in HEAD)])
