"""The runs of one trial in several results folders: which have the same numbers, and which are kept. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow as pa

from bench.differences import MEASUREMENT
from bench.storage.adoption import is_own, own_artifacts
from bench.storage.store import Store

TELLING = ("ok", "diverged")
"""Ends that are the trial's own doing."""
PREFERRED = (*TELLING, "failed", "timeout", "interrupted", "lost")

Numbers = tuple[str, frozenset[tuple[Any, ...]]]


@dataclass(frozen=True)
class Run:
    """A trial as a folder has it."""

    store: Store
    sweep: str
    trial_id: str
    table: pa.Table = field(repr=False)

    @property
    def status(self) -> str:
        return self.table["status"][0].as_py()

    @property
    def rows(self) -> pd.DataFrame:
        return self.table.to_pandas()

    @cached_property
    def numbers(self) -> Numbers:
        """Equal for runs with the same numbers, bit by bit."""
        *measurements, values = (self.table[name].to_pylist() for name in (*MEASUREMENT, "value"))
        bits = [None if value is None else value.hex() for value in values]
        return self.status, frozenset(zip(*measurements, bits, strict=True))

    @cached_property
    def fingerprint(self) -> str | None:
        return self.store.fingerprint(self.sweep, self.trial_id)

    @property
    def has_artifacts(self) -> bool:
        return bool(own_artifacts(self.store, self.trial_id))

    @property
    def has_curves(self) -> bool:
        return is_own(self.store.curves_path(self.sweep, self.trial_id))

    @cached_property
    def preference(self) -> tuple[int, float, str]:
        """Least for the run to keep: how it ended, when it started, and, for a fixed order, its bytes."""
        ended = PREFERRED.index(self.status) if self.status in PREFERRED else len(PREFERRED)
        started = self.table["started_at"][0].as_py()
        return ended, started.timestamp() if started else float("inf"), self.fingerprint or ""

    def is_in(self, folder: Store) -> bool:
        """Whether it lies among the rows of this folder."""
        return self.store.root == folder.root

    def is_conflict_of(self, folder: Store) -> bool:
        """Whether it lies under the conflicts of this folder."""
        return folder.root in self.store.root.parents


def distinct(runs: Sequence[Run], into: Store) -> list[Run]:
    """The runs of a trial that are kept, one of each set of numbers; the first is the trial's result.

    What `into` has stays: its own run is the first unless another one ended better. Of runs with the same numbers the
    one is kept that has most of curves and artifacts, and among such `into`'s.
    """

    def order(run: Run) -> tuple[int, bool, tuple[int, float, str]]:
        return run.preference[0], not run.is_in(into), run.preference

    ordered = sorted(runs, key=order)
    telling = [run for run in ordered if run.status in TELLING]
    alike: dict[Numbers, list[Run]] = {}
    for run in telling or ordered[:1]:
        alike.setdefault(run.numbers, []).append(run)
    return [
        min(
            group,
            key=lambda run: (-run.has_curves - run.has_artifacts, not run.is_in(into), not run.is_conflict_of(into)),
        )
        for group in alike.values()
    ]


def with_artifacts(runs: Iterable[Run], into: Store) -> Run:
    """Of the runs of a trial in several sweeps, which share its artifacts, the one whose artifacts are kept."""
    return min(runs, key=lambda run: (run.status != "ok", not run.has_artifacts, not run.is_in(into), run.preference))
