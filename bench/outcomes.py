"""What came of a trial: its status, its error in words, and the columns of its rows that say so."""

from __future__ import annotations

import errno
import shlex
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.identity import Trial, canonical_json
from bench.storage.store import Store
from datasets.root import data_root

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN)


@dataclass
class Outcome:
    """What came of a trial: its status, and the error where there was one."""

    status: str
    error_type: str | None = None
    error: str | None = None


def missing_row(trial: Trial, store: Store, outcome: Outcome) -> None:
    """Writes the row of a trial that could not write its own."""
    store.write_rows([{**identity_columns(trial), **outcome_columns(outcome)}], trial.to_record())


def identity_columns(trial: Trial) -> dict[str, Any]:
    """Of every row of the trial."""
    return {
        "trial_id": trial.id,
        "sweep": trial.sweep,
        "scale": trial.scale,
        "kind": trial.kind,
        "dataset": trial.dataset.name,
        "dataset_options": canonical_json(dict(trial.dataset.options)),
        "dataset_version": trial.dataset.version,
        "method": trial.method.name,
        "method_version": trial.method.version,
        "params": canonical_json(dict(trial.method.options)),
        "seed": trial.seed,
    }


def outcome_columns(outcome: Outcome) -> dict[str, Any]:
    """Of every row of the trial."""
    return {"status": outcome.status, "error_type": outcome.error_type, "error": outcome.error}


def how_to_prepare(trial: Trial, folder: Path) -> str:
    """The commands for a trial whose data lack in a folder."""
    scale = "" if trial.scale == "quick" else f" --scale {trial.scale}"
    data = "" if folder == data_root().resolve() else f" --data {shlex.quote(str(folder))}"
    return (
        f"Run `python -m bench prepare --sweep {trial.sweep}{scale}{data}` (with --sweeps FILE where the sweep is not "
        "in sweeps.toml), then this with --retry-failed."
    )


def disk_refused(error: Exception) -> bool:
    """Whether an error comes of a disk that is full, read-only or gone."""
    at: BaseException | None = error
    while at is not None and not isinstance(at, OSError):
        at = at.__cause__
    return at is not None and at.errno in DISK_ERRORS


def describe_error(error: Exception) -> str:
    """The message, and where in the code it came from: enough to find it, short enough for a table."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{error} ({Path(frame.filename).name}:{frame.lineno}, in {frame.name})"
