"""A trial's files from one results folder to another, byte for byte, and which of them are fit to be copied.

Only files are copied that lie in the folder themselves: what a symbolic link leads to is not the folder's own, and may
be anything on this machine. Needs no torch.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.storage.files import copy
from bench.storage.store import Store

NOT_OWN = "a folder or a symbolic link, which is not copied"


def is_own(path: Path) -> bool:
    """Whether a path, of a folder without symbolic links, is a file, and no symbolic link leads to it."""
    return path.is_file() and path.resolve() == path


def own_artifacts(store: Store, trial_id: str) -> dict[str, Path]:
    """Name -> path of those artifacts of a trial that can be copied."""
    return {name: path for name, path in store.artifacts(trial_id).items() if is_own(path)}


def not_copied(store: Store, sweep: str, trial_id: str) -> list[str]:
    """A sentence on each of a trial's curves and artifacts that are not copied along with its rows."""
    curves = store.curves_path(sweep, trial_id)
    found = [curves] if curves.exists() else []
    found += store.artifacts(trial_id).values()
    return [f"{path}: {NOT_OWN}" for path in found if not is_own(path)]


def adopt_artifacts(source: Store, into: Store, trial_id: str) -> None:
    """Copies a trial's artifacts in place of those that are there; none are replaced by nothing.

    Raises OSError where the disk refuses, as the others here do.
    """
    if artifacts := own_artifacts(source, trial_id):
        with into.replacing_artifacts(trial_id) as fresh:
            for name, path in artifacts.items():
                shutil.copyfile(path, fresh / name)


def adopt_curves(source: Store, into: Store, sweep: str, trial_id: str) -> None:
    """Copies a trial's curves, if there are any."""
    path = source.curves_path(sweep, trial_id)
    if is_own(path):
        copy(path, into.curves_path(sweep, trial_id))


def adopt_rows(source: Store, into: Store, sweep: str, name: str) -> None:
    """Copies a file of rows, of a trial or across seeds."""
    copy(source.rows_path(sweep, name), into.rows_path(sweep, name))


def drop_trial(store: Store, sweep: str, trial_id: str) -> None:
    """Removes a trial's rows and curves and, where no other sweep has rows of it, its artifacts."""
    store.rows_path(sweep, trial_id).unlink(missing_ok=True)
    store.curves_path(sweep, trial_id).unlink(missing_ok=True)
    if not any((store.root / "rows").glob(f"*/{trial_id}.parquet")):
        shutil.rmtree(store.artifacts_path(trial_id), ignore_errors=True)
