"""A whole results folder as data frames: the rows of all trials, their curves, and what was planned.

Takes copies of many files (see `bench.storage.compaction`) for what they hold, and the files themselves for the rest.
Needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.storage.compaction import MANY, copy_path, read_copy, write_copy
from bench.storage.files import in_parallel
from bench.storage.metadata import UNREADABLE, plan_files, read_plan
from bench.storage.result_files import UnreadableError, one_line, read_curve_file, read_row_file
from bench.storage.schema import CURVE_SCHEMA, ROW_SCHEMA
from bench.storage.tables import Files, Stamp, frame, joined, stamps

READ: dict[str, Callable[[Path, Stamp], Files]] = {"rows": read_row_file, "curves": read_curve_file}
SCHEMAS = {"rows": ROW_SCHEMA, "curves": CURVE_SCHEMA}
AT_ONCE = 500
"""Files read before they are put together."""
STRAY = "not a file of ours: results lie in rows/SWEEP/TRIAL.parquet"

Plans = dict[tuple[str, str], dict[str, dict[str, Any]]]
"""(sweep, scale) -> the trials it consists of, by id, as they were planned."""


@dataclass
class Results:
    """What lies under a results folder.

    rows: columns of ROW_SCHEMA. trials: (sweep, trial_id) -> the trial as it was planned, from plans and from the rows'
    own files. problems: one sentence a file that could not be read.
    """

    rows: pd.DataFrame
    trials: dict[tuple[str, str], dict[str, Any]]
    plans: Plans
    problems: list[str] = field(default_factory=list)

    def sweeps_of(self, trial_id: str) -> list[str]:
        """The sweeps that know the trial, planned or with rows."""
        return sorted(sweep for sweep, known in self.trials if known == trial_id)

    @property
    def planned(self) -> dict[tuple[str, str], list[str]]:
        """(sweep, scale) -> the ids of its trials."""
        return {key: list(trials) for key, trials in self.plans.items()}


def read_results(root: Path) -> Results:
    """Everything readable of a results folder; foreign and corrupt files are named in `problems` and left alone."""
    plans, problems = read_plans(plan_files(root))
    trials = {(sweep, trial_id): trial for (sweep, _), plan in plans.items() for trial_id, trial in plan.items()}
    tables = [ROW_SCHEMA.empty_table()]
    for folder in sweep_folders(root / "rows"):
        files, unreadable = files_of(root, folder.name, "rows")
        problems += unreadable
        files = files.only(holding(files))
        tables.append(files.table)
        trials |= {(folder.name, head.file): json.loads(head.trial) for head in files.heads if head.trial}
    problems += [f"{path}: {STRAY}" for path in strays(root / "rows")]
    return Results(frame(pa.concat_tables(tables)), trials, plans, problems + _conflicting(root))


def read_plans(paths: Iterable[Path]) -> tuple[Plans, list[str]]:
    """The plans that these files, see `plan_files`, make together, and one sentence a file that is none."""
    plans: Plans = {}
    problems = []
    for path in paths:
        try:
            key, trials = read_plan(path)
            for trial_id, record in trials.items():
                plans.setdefault(key, {}).setdefault(trial_id, record)
        except UNREADABLE as error:
            problems.append(f"{path}: not a readable plan ({one_line(error)})")
    return plans, problems


def read_curves(root: Path, trial_ids: Iterable[str] | None = None, sweep: str = "*") -> pd.DataFrame:
    """Curves of the given trials, or of all, in a sweep or in any; columns of CURVE_SCHEMA.

    Unreadable files are passed over.
    """
    tables = [CURVE_SCHEMA.empty_table()]
    for folder in sorted((root / "curves").glob(sweep)):
        if trial_ids is None:
            tables.append(files_of(root, folder.name, "curves")[0].table)
            continue
        for trial_id in sorted(set(trial_ids)):
            with suppress(UnreadableError):
                tables.append(read_curve_file(folder / f"{trial_id}.parquet").table)
    return frame(pa.concat_tables(tables))


def compact(root: Path, sweep: str) -> None:
    """Copies the rows and the curves of a sweep into one file each, where they are many and no copy has them all.

    Raises OSError where the disk refuses.
    """
    for what in SCHEMAS:
        copied, others, _ = _found(root, sweep, what)
        files = joined([copied, *others])
        if others and len(files.heads) >= MANY:
            write_copy(copy_path(root, sweep, what), files)


def files_of(root: Path, sweep: str, what: str) -> tuple[Files, list[str]]:
    """A sweep's "rows" or "curves" in the order of their files, and one sentence a file that cannot be read."""
    copied, others, problems = _found(root, sweep, what)
    return joined([copied, *others]), problems


def holding(files: Files) -> list[bool]:
    """Whether each of a sweep's files of rows holds: not those across seeds of trials that have run again since.

    A run will measure these anew.
    """
    now = {head.file: head.sha256 for head in files.heads}
    return [
        head.members is None or all(now.get(trial_id) == known for trial_id, known in json.loads(head.members).items())
        for head in files.heads
    ]


def sweep_folders(folder: Path) -> list[Path]:
    """The folders of sweeps in a folder of rows or curves."""
    return [path for path in sorted(folder.glob("[!._]*")) if path.is_dir()]


def strays(folder: Path) -> list[Path]:
    """Files of a folder of rows or curves where no results lie; hidden ones are none."""
    paths = [path for path in sorted(folder.glob("**/[!._]*")) if not path.is_dir()]
    return [path for path in paths if path.parent.parent != folder or path.suffix != ".parquet"]


def _found(root: Path, sweep: str, what: str) -> tuple[Files, list[Files], list[str]]:
    """What a copy holds, what other files do, and one sentence a file that cannot be read."""
    folder = root / what / sweep
    now = stamps(folder)
    copied = read_copy(copy_path(root, sweep, what), SCHEMAS[what], now)
    names = sorted(now.keys() - {head.file for head in copied.heads})

    def read(path: Path) -> Files | str:
        try:
            return READ[what](path, now[path.stem])
        except UnreadableError as error:
            return f"{path}: {error}"

    others: list[Files] = []
    problems: list[str] = []
    for first in range(0, len(names), AT_ONCE):
        found = in_parallel(read, [folder / f"{name}.parquet" for name in names[first : first + AT_ONCE]])
        problems += [problem for problem in found if isinstance(problem, str)]
        if read_whole := [files for files in found if isinstance(files, Files)]:
            together = joined(read_whole)
            # A table read from a file keeps the file's bytes in memory, ten times what its few lines take.
            others.append(Files(together.heads, together.table.combine_chunks()))
    return copied, others, problems


def _conflicting(root: Path) -> list[str]:
    """A sentence on the trials that came out otherwise elsewhere, where there are any."""
    path = root / "conflicts.parquet"
    if not path.exists():
        return []
    try:
        ids = list(dict.fromkeys(pq.read_table(path, columns=["trial_id"])["trial_id"].to_pylist()))
    except (pa.ArrowException, OSError, KeyError) as error:
        return [f"{path}: cannot be read as Parquet ({one_line(error)})"]
    named = ", ".join(trial_id[:12] for trial_id in ids[:5]) + (", …" if len(ids) > 5 else "")
    return [f"{path}: of {len(ids)} trials another run gave other numbers, which are not used here: {named}"]
