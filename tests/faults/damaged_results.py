"""A results folder of several sweeps, and damage to its files that knows what they hold."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.identity import Trial
from bench.sweeps import load_sweeps
from tests import report_fixture as fixture
from tests.faults.mutations import mutated_bytes

PLANNED = """\
[sweep.tiny]
kind = "transport"
metrics = ["l2-uvp", "cosine"]
batch_size = 16
seeds = 20
steps = 3
datasets.gaussians = { dim = 2 }
methods.identity = {}
"""
"""A sweeps.toml, all of whose trials have results."""
TEXTS = (
    *(
        "",
        " ",
        "{}",
        "[]",
        "null",
        "0",
        "NaN",
        "{",
        '{"a": {"b": [1, {"c": null}]}}',
        '{"extractor": 3}',
        "x" * 100_000,
    ),
    *("[" * 5_000, '{"a":' * 5_000, "../../etc/passwd", "/etc/passwd", "a/b", ".", "..", "\x00", "\x1b[2J", "\ud7ff"),
    *(
        "1e400",
        '{"dim": 1e400}',
        '{"dim": NaN}',
        '{"": ""}',
        "ok",
        "lost",
        "unheard-of",
        "test",
        "min",
        "max",
        "é\u202e",
    ),
)
NUMBERS = (0, 1, -1, 2**31 - 1, 2**31, -(2**63), 2**63 - 1)
FLOATS = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 5e-324, 1.8e308, -1.0)
JUNK = (
    None,
    True,
    0,
    -1,
    2**70,
    1.5,
    float("inf"),
    "",
    "x",
    "../..",
    "\x1b[2J",
    [],
    [[]],
    {},
    {"x": {}},
    ["x", 1],
    "é" * 9_999,
)
"""What stands in place of a part of a JSON document."""


def write_results(root: Path) -> dict[str, float]:
    """Writes the sound results; returns a value of each trial that ended ok, by its id."""
    trials = [*fixture.gaussians(seeds=1), *fixture.toy2d(), *fixture.mnist()[:9]]
    store = fixture.write(root, trials)
    values = {t.id: float(next(iter(t.values.values()))) for t in trials if t.status == "ok"}
    path = root.with_name("sweeps.toml")
    path.write_text(PLANNED)
    planned = load_sweeps(path, "quick")[0].trials()
    for number, trial in enumerate(planned):
        values[trial.id] = 1 + number / 7
        store.write_rows(_rows(trial, values[trial.id]), trial.to_record())
    store.write_plan("tiny", "quick", {trial.id: trial.to_record() for trial in planned}, extend=False)
    line = {"sweep": "tiny", "trial_id": planned[0].id, "number": 1, "metric": "l2-uvp", "kept": 1.0, "other": 2.0}
    pq.write_table(pa.Table.from_pylist([line]), root / "conflicts.parquet")
    return values


def damage(path: Path, rng: np.random.Generator) -> str:
    """Damages a file in one of many ways; returns "bytes" where it knew nothing of what is in it, else "content"."""
    if rng.random() < 0.5 or path.suffix not in (".parquet", ".json"):
        path.write_bytes(mutated_bytes(path.read_bytes(), rng))
        return "bytes"
    if path.suffix == ".json":
        path.write_text(json.dumps(mutated_json(json.loads(path.read_text()), rng)))
        return "content"
    table = pq.read_table(path, partitioning=None)
    for _ in range(rng.integers(1, 3)):
        table = TABLE_CHANGES[rng.integers(len(TABLE_CHANGES))](table, rng)
    pq.write_table(table, path)
    return "content"


def mutated_json(document: Any, rng: np.random.Generator) -> Any:
    """The document with up to 3 parts of it gone, under another name, or something else."""
    document = copy.deepcopy(document)
    for _ in range(rng.integers(1, 4)):
        node: Any = document
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
            if not keys:
                break
            key = keys[rng.integers(len(keys))]
            inner = node[key]
            if isinstance(inner, dict | list) and inner and rng.random() < 0.85:
                node = inner
                continue
            match rng.integers(3):
                case 0:
                    del node[key]
                case 1 if isinstance(node, dict):
                    node[str(rng.choice(["x", "", "..", "<b>", "spec", "name"]))] = node.pop(key)
                case _:
                    node[key] = JUNK[rng.integers(len(JUNK))]
            break
    return document


def _rows(trial: Trial, value: float) -> list[dict[str, Any]]:
    like = fixture.Trial(
        "tiny", "identity", "gaussians", trial.seed, {"l2-uvp": value, "cosine": 0.5}, {"dim": 2}, kind="transport"
    )
    return [row | {"trial_id": trial.id} for row in like.rows()]


def _without(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    return table.remove_column(int(rng.integers(table.num_columns))) if table.num_columns else table


def _renamed(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    names = list(table.column_names)
    if names:
        names[rng.integers(len(names))] = str(rng.choice(["", "x", "value", "trial_id", "__index_level_0__"]))
    return table.rename_columns(names)


def _swapped(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    names = list(table.column_names)
    if len(names) > 1:
        first, second = rng.choice(len(names), size=2, replace=False)
        names[first], names[second] = names[second], names[first]
    return table.rename_columns(names)


def _retyped(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """A column of a type that it never has, its values as they may be."""
    count = len(table)
    columns = [
        pa.nulls(count),
        pa.array(["1"] * count, pa.large_string()),
        pa.array(["a"] * count).dictionary_encode(),
        pa.array([[1, None]] * count),
        pa.array([{"a": 1}] * count, pa.struct([("a", pa.int64())])),
        pa.array([b"\xff\xfe"] * count, pa.binary()),
        pa.array([10**30] * count, pa.decimal128(38)),
        pa.array([2**62] * count, pa.timestamp("ns")),
        pa.array([True] * count),
        pa.array([1.5] * count, pa.float32()),
    ]
    if not table.num_columns:
        return table
    return _with(table, int(rng.integers(table.num_columns)), columns[rng.integers(len(columns))])


def _cell(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """One value of a column, or all, become others of its type, or null."""
    if not table.num_columns or not len(table):
        return table
    position = int(rng.integers(table.num_columns))
    kind = table.schema.field(position).type
    pool: tuple[Any, ...] = (None,)
    if pa.types.is_string(kind):
        pool = (None, *TEXTS)
    elif pa.types.is_floating(kind):
        pool = (None, *FLOATS)
    elif pa.types.is_integer(kind):
        pool = (None, *(number for number in NUMBERS if abs(number) < 2 ** (kind.bit_width - 1)))
    elif pa.types.is_timestamp(kind):
        pool = (None, 0, -(2**62), 2**62)
    chosen = pool[rng.integers(len(pool))]
    column = table[position].cast(pa.int64()) if pa.types.is_timestamp(kind) else table[position]
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:  # an earlier change
        return table
    places = range(len(values)) if rng.random() < 0.5 else [rng.integers(len(values))]
    for place in places:
        values[place] = chosen
    return _with(table, position, pa.array(values, kind))


def _not_utf8(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """A column of texts that are none."""
    texts = [position for position, field in enumerate(table.schema) if pa.types.is_string(field.type)]
    if not texts:
        return table
    count = len(table)
    offsets = np.arange(count + 1, dtype=np.int32) * 2
    broken = pa.Array.from_buffers(
        pa.string(), count, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"\xff\xc0" * count)]
    )
    return _with(table, texts[rng.integers(len(texts))], broken)


def _lines(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """No lines, each of them often, or in another order."""
    match rng.integers(3):
        case 0:
            return table.slice(0, 0)
        case 1:
            return pa.concat_tables([table] * int(rng.choice([2, 500])))
        case _:
            return table.take(rng.permutation(len(table)))


def _foreign(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """A file of somebody else."""
    made = [{}, {"x": [1, 2]}, {"trial_id": ["a"], "value": [1.0]}, {"": [None]}, {f"c{k}": [k] for k in range(2_000)}]
    return pa.table(made[rng.integers(len(made))])


def _metadata(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """The record of the trial, or what else is noted with the lines, is damaged."""
    metadata: Mapping[bytes, bytes] = table.schema.metadata or {}
    kept = {key: value for key, value in metadata.items() if key != b"sha256"}
    chosen = [b"trial", b"members", b"pandas", b"x"][rng.choice(4, p=[0.7, 0.1, 0.1, 0.1])]
    if b"trial" in kept and chosen == b"trial" and rng.random() < 0.8:
        kept[chosen] = json.dumps(mutated_json(json.loads(kept[chosen]), rng)).encode()
    else:
        kept[chosen] = [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 5_000, b'{"a": 1}', b'"x"'][rng.integers(8)]
    return table.replace_schema_metadata(kept)


def _with(table: pa.Table, position: int, column: pa.Array) -> pa.Table:
    return table.set_column(position, table.column_names[position], column)


TABLE_CHANGES: tuple[Callable[[pa.Table, np.random.Generator], pa.Table], ...] = (
    *(_without, _renamed, _swapped, _retyped, _cell, _cell, _cell, _not_utf8, _lines, _foreign),
    *(_metadata, _metadata, _metadata),
)
