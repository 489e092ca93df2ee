"""The columns of result files, their versions, and what becomes of files of earlier versions. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa

SCHEMA_VERSION = 3
"""Raise it with every change of ROW_SCHEMA, and say in MIGRATIONS what becomes of rows of the version before."""
STATUSES = ("ok", "failed", "diverged", "timeout", "interrupted", "lost")
UNENDED = ("interrupted", "lost")
"""Of trials that did not come to an end: they always run again."""

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
        ("resumed", pa.int32()),  # how often it went on from a checkpoint; its seconds are of all attempts
        ("packed", pa.int32()),  # trials that trained as one model with it, itself included; its seconds are its share
        ("compiled", pa.bool_()),
        ("precision", pa.string()),
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

MEASURED = ("trial_id", "metric", "split", "n_samples", "protocol", "metric_version")
"""Columns that no two lines of a file of rows have in common."""

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


def _never_resumed(rows: pa.Table) -> pa.Table:
    """Before version 2 there were no checkpoints."""
    kept = rows.drop_columns(["resumed"]) if "resumed" in rows.column_names else rows
    return kept.append_column("resumed", pa.repeat(pa.scalar(0, pa.int32()), len(rows)))


def _plainly_trained(rows: pa.Table) -> pa.Table:
    """Before version 3 each trial trained alone, as it was written, in float32."""
    for name, value in (("packed", pa.scalar(1, pa.int32())), ("compiled", pa.scalar(False)), ("precision", "float32")):
        kept = rows.drop_columns([name]) if name in rows.column_names else rows
        rows = kept.append_column(name, pa.repeat(pa.scalar(value) if isinstance(value, str) else value, len(rows)))
    return rows


MIGRATIONS: Mapping[int, Callable[[pa.Table], pa.Table]] = {1: _never_resumed, 2: _plainly_trained}
"""Version -> what makes its rows those of the next version. Files stay as they are; readers see the result."""


def current(rows: pa.Table) -> pa.Table:
    """Rows of any version as rows of this one: the columns of ROW_SCHEMA; metadata stays.

    Raises ValueError for a table that is none of ours, and for one of a version that is yet to come.
    """
    metadata = rows.schema.metadata
    if len(set(rows.column_names)) < rows.num_columns:
        raise ValueError("it has a column twice")
    empty = [name for name in IDENTIFYING if name in rows.column_names and rows[name].null_count]
    if empty:
        raise ValueError(f"its column {empty[0]} has a line without a value")
    unknown = set(rows["status"].unique().to_pylist()) - set(STATUSES) if "status" in rows.column_names else set()
    if unknown:
        raise ValueError(f"it has the status {min(unknown)!a}, and there are {', '.join(STATUSES)}")
    if "schema_version" not in rows.column_names:
        raise ValueError("it lacks the column schema_version")
    versions = rows["schema_version"].unique().to_pylist()
    if len(versions) != 1 or not isinstance(versions[0], int) or versions[0] < 1:
        raise ValueError(f"its lines have the schema versions {', '.join(map(str, versions)) or 'of an empty file'}")
    (version,) = versions
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"or of a later version: its schema is version {version}, this harness knows {SCHEMA_VERSION}; update it"
        )
    for earlier in range(version, SCHEMA_VERSION):
        rows = MIGRATIONS[earlier](rows)
    if rows.schema.equals(ROW_SCHEMA) and version == SCHEMA_VERSION:
        return rows
    missing = [name for name in ROW_SCHEMA.names if name not in rows.column_names]
    if missing:
        raise ValueError(f"it lacks the column {missing[0]}")
    position = ROW_SCHEMA.get_field_index("schema_version")
    rows = rows.select(ROW_SCHEMA.names).cast(ROW_SCHEMA)
    now = pa.repeat(pa.scalar(SCHEMA_VERSION, pa.int32()), len(rows))
    return rows.set_column(position, ROW_SCHEMA.field(position), now).replace_schema_metadata(metadata)
