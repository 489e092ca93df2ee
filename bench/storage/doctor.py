"""`python -m bench doctor`: what in a results folder is damaged, doubled, foreign or left over, and putting it right.

Nothing is deleted: what no reader uses goes to quarantine/ in the results folder, under the path it had. What a run may
be writing just now, young temporary files and files of trials that have no rows yet, is left alone. Needs no torch.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from bench.identity import NAME
from bench.printing import Console, print_line
from bench.storage.compaction import copy_path, read_copy
from bench.storage.metadata import UNREADABLE, makes_another_id, read_plan
from bench.storage.mirror import open_store
from bench.storage.reading import SCHEMAS, STRAY, strays, sweep_folders
from bench.storage.result_files import (
    MisplacedError,
    UnreadableError,
    one_line,
    read_curve_file,
    read_row_file,
    write_file,
)
from bench.storage.schema import ROW_SCHEMA, UNENDED
from bench.storage.store import Store
from bench.storage.tables import Files, stamps
from bench.tuning.search_records import read_search_file

SOUND, FOUND = 0, 1
YOUNG_SECONDS = 3600.0
"""For so long after it was written, what looks left over may belong to a run that goes on."""
QUARANTINE = "quarantine"
ALTERED = "its record of {} makes another id, so it was altered"


@dataclass(frozen=True)
class Finding:
    """Something wrong with a path.

    home: where it belongs, if it is put there rather than aside. restored: the file as a copy still has it.
    """

    path: Path
    what: str
    home: Path | None = None
    restored: Files | None = None


def examine(root: Path, *, now: float | None = None) -> list[Finding]:
    """All that is wrong in a results folder, and in those of conflicts in it, by path.

    now: seconds since the epoch, by the clock that the files' times are of; the present if None.
    """
    store = Store(root)
    numbered = [path for path in sorted((store.root / "conflicts").glob("*")) if path.is_dir()]
    finders = (_rows, _curves, _artifacts, _checkpoints, _searches, _plans, _copies, _conflicts)
    found = [finding for finder in finders for finding in finder(store)]
    present = time.time() if now is None else now
    found += [finding for finding in _leftovers(store) if present - _modified(finding.path) > YOUNG_SECONDS]
    for path in numbered:
        found += examine(path, now=now)
    once = {finding.path: finding for finding in reversed(found)}  # of several on a path the first
    return [once[path] for path in sorted(once)]


def repair(store: Store, finding: Finding) -> Path:
    """Puts a path where it belongs, or aside; returns where it is now. Raises OSError where the disk refuses."""
    target = finding.home
    if target is None or target.exists():  # another finding's file may have got there first
        target = _aside(store.root, finding.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    gone = [path for path in (finding.path, *finding.path.rglob("*")) if not path.is_dir()]
    os.replace(finding.path, target)
    for path in gone:
        store.removed(path)
    if target == finding.home:
        store.written(target)
    if finding.restored:
        (head,) = finding.restored.heads
        told = {"trial": head.trial, "members": head.members}
        write_file(finding.path, finding.restored.table, {key: text for key, text in told.items() if text is not None})
        store.written(finding.path)
    return target


def doctor(results: Path | str, *, mend: bool, console: Console | None = None) -> int:
    """Does what the arguments of `python -m bench doctor` say; returns its exit status."""
    console, store = console or Console(), open_store(results)
    store.pull()
    findings = examine(store.root)
    for finding in findings:
        done = ""
        if mend:
            try:
                where = repair(store, finding)
                done = f"; moved to {where}" + (", and written anew from its copy" if finding.restored else "")
            except OSError as error:
                print_line(console, f"{finding.path}: {finding.what}; it cannot be moved: {error.strerror or error}")
                return FOUND
        print_line(console, f"{finding.path}: {finding.what}{done}")
    if mend and findings:
        for folder in sweep_folders(store.root / "rows"):
            store.compact(folder.name)
    print_line(console, _summary(store, findings, mended=mend))
    return SOUND if mend or not findings else FOUND


def _summary(store: Store, findings: list[Finding], *, mended: bool) -> str:
    if not findings:
        return f"{store.root}: nothing wrong"
    count = f"{len(findings)} thing{'s' if len(findings) > 1 else ''} wrong"
    if mended:
        return f"{count}, all put right; `run` runs trials again whose rows were damaged"
    return f"{count}; --repair puts them right, and deletes nothing"


def _rows(store: Store) -> Iterator[Finding]:
    folder = store.root / "rows"
    for path in strays(folder):
        yield Finding(path, STRAY)
    for sweep in sweep_folders(folder):
        now = stamps(sweep)
        copied = {
            files.heads[0].file: files
            for files in _one_by_one(read_copy(copy_path(store.root, sweep.name, "rows"), ROW_SCHEMA, now))
        }
        for name in now:
            path = sweep / f"{name}.parquet"
            try:
                (head,) = read_row_file(path).heads
                if head.trial and makes_another_id(json.loads(head.trial), name):
                    yield Finding(path, ALTERED.format("the trial"))
            except MisplacedError as error:
                home = store.rows_path(error.sweep, error.trial_id)
                if home.exists():
                    yield Finding(path, f"its rows are those of a trial that has its file, {home}")
                else:
                    yield Finding(path, f"its rows are of the trial that belongs to {home}", home=home)
            except UnreadableError as error:
                yield Finding(path, str(error), restored=copied.get(name))


def _curves(store: Store) -> Iterator[Finding]:
    folder = store.root / "curves"
    for path in strays(folder):
        yield Finding(path, "not a file of ours: curves lie in curves/SWEEP/TRIAL.parquet")
    for sweep in sweep_folders(folder):
        for name in stamps(sweep):
            try:
                read_curve_file(sweep / f"{name}.parquet")
            except UnreadableError as error:
                yield Finding(sweep / f"{name}.parquet", str(error))


def _artifacts(store: Store) -> Iterator[Finding]:
    for path in sorted((store.root / "artifacts").glob("[!.]*")):
        if not path.is_dir():
            yield Finding(path, "not a folder of a trial's artifacts")
            continue
        for weights in sorted(path.glob("*.safetensors")):
            yield from _safetensors(weights)


def _checkpoints(store: Store) -> Iterator[Finding]:
    for path in sorted((store.root / "checkpoints").glob("*/[!.]*.safetensors")):
        yield from _safetensors(path)


def _safetensors(path: Path) -> Iterator[Finding]:
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        yield Finding(path, f"cannot be read as safetensors ({one_line(error)})")


def _searches(store: Store) -> Iterator[Finding]:
    for path in sorted((store.root / "tuning").glob("*/*/[!.]*")):
        try:
            read_search_file(path)
        except UnreadableError as error:
            yield Finding(path, str(error))


def _plans(store: Store) -> Iterator[Finding]:
    for path in sorted((store.root / "plans").glob("[!.]*")):
        try:
            _, trials = read_plan(path)
        except UNREADABLE as error:
            yield Finding(path, f"not a readable plan ({one_line(error)})")
            continue
        altered = [trial_id for trial_id, record in trials.items() if makes_another_id(record, trial_id)]
        if altered:
            yield Finding(path, ALTERED.format(", ".join(trial_id[:12] for trial_id in altered[:3])))


def _copies(store: Store) -> Iterator[Finding]:
    for path in sorted((store.root / "compact").glob("[!.]*")):
        sweep, _, what = path.stem.partition(".")
        if path.suffix != ".parquet" or what not in SCHEMAS or not NAME.fullmatch(sweep):
            yield Finding(path, "not a file of ours: compact/ has copies of sweeps' rows and curves")
            continue
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                file.read()
        except (pa.ArrowException, OSError) as error:
            yield Finding(path, f"a damaged copy, which readers pass over ({one_line(error)})")


def _conflicts(store: Store) -> Iterator[Finding]:
    path = store.root / "conflicts.parquet"
    if path.exists():
        try:
            pq.read_table(path, columns=["trial_id"])
        except (pa.ArrowException, OSError, KeyError) as error:
            yield Finding(path, f"cannot be read as Parquet ({one_line(error)}); `merge` writes it anew")


def _leftovers(store: Store) -> Iterator[Finding]:
    """What writers that died have left, and files of trials without rows; checkpoints of those with them."""
    for folder in ("rows", "curves", "plans", "compact", "checkpoints", "tuning"):
        for path in sorted((store.root / folder).rglob(".*.tmp")):
            yield Finding(path, "half a file: its writer was killed")
    for path in sorted((store.root / "artifacts").glob(".*")):
        yield Finding(path, "artifacts of a trial that was killed as it wrote them")
    with_rows = {path.stem for path in (store.root / "rows").glob("*/*.parquet")}
    for path in sorted((store.root / "artifacts").glob("[!.]*")):
        if path.is_dir() and path.name not in with_rows:
            yield Finding(path, "artifacts of a trial that has no rows")
    for path in sorted((store.root / "checkpoints").glob("*/[!.]*.safetensors")):
        if store.status(path.parent.name, path.stem) not in (None, *UNENDED):
            yield Finding(path, "a checkpoint of a trial that has ended")
    for path in sorted((store.root / "curves").glob("*/[!.]*.parquet")):
        if not store.rows_path(path.parent.name, path.stem).exists():
            yield Finding(path, "curves of a trial that has no rows")


def _one_by_one(files: Files) -> Iterator[Files]:
    for head, table in files.each():
        yield Files([head], table)


def _aside(root: Path, path: Path) -> Path:
    """A free path under quarantine/, named like `path`."""
    target = root / QUARANTINE / path.relative_to(root)
    number = 1
    while target.exists():
        target = target.with_name(f"{path.name}.{number}")
        number += 1
    return target


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return float("inf")  # it has gone, or got its name
