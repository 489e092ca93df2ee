"""Results folders of few small trials, and what merging makes of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.storage.merging import merge_results
from bench.storage.store import MARK, Store

START = datetime(2026, 1, 1, tzinfo=UTC)
X, Y, Z = ("a" * 64, "b" * 64, "c" * 64)


def add(
    folder: Path,
    trial_id: str,
    values: Mapping[str, float | None],
    *,
    hour: int | None = 0,
    status: str = "ok",
    sweep: str = "s",
    **columns: Any,
) -> None:
    """A trial that started at this hour, with a curve, an artifact and a place in the plan, all of which tell it."""
    store = Store(folder)
    identity = {"schema_version": 1, "trial_id": trial_id, "sweep": sweep, "scale": "quick", "kind": "transport"}
    identity |= {"dataset": "d", "dataset_options": "{}", "dataset_version": 1, "method": "m", "method_version": 1}
    identity |= {"params": "{}", "seed": 0, "started_at": None if hour is None else START + timedelta(hours=hour)}
    metrics = [
        {"metric": metric, "split": "test", "protocol": "{}", "value": value} for metric, value in values.items()
    ]
    record = {"trial_id": trial_id, "sweep": sweep, "scale": "quick"}
    store.write_rows([{**identity, "status": status, **columns, **metric} for metric in metrics or [{}]], record)
    point = {"stage": "train", "step": 1, "seconds": 0.0, "name": "loss", "value": float(hour or 0)}
    store.write_curves(sweep, trial_id, [point])
    with store.replacing_artifacts(trial_id) as fresh:
        (fresh / "samples.png").write_text(str(hour))
    store.write_plan(sweep, "quick", {trial_id: record}, extend=True)


def merge(out: Path, *folders: Path) -> tuple[int, str]:
    """The exit status and what was printed."""
    output = io.StringIO()
    status = merge_results(folders, out, Console(file=output, width=200))
    return status, output.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    """Of every file but the mark, which no other folder has."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != MARK]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
