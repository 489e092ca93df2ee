"""A sweeps.toml from disk to sweeps, with every mistake in it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.grid import LONGEST
from bench.options import nearest
from bench.sweeps.reader import SCALES, read_sweep
from bench.sweeps.sweep import Sweep

MOST_TOLD = 20
"""Mistakes in a message."""
DEEPEST = 20
"""Levels of tables and lists within each other."""


@dataclass(frozen=True)
class Mistake:
    """One thing wrong with a sweeps.toml."""

    sweep: str
    key: str
    message: str

    def __str__(self) -> str:
        where = f"sweep {_cut(self.sweep)}, {_cut(self.key)}" if self.sweep else _cut(self.key)
        return f"{where}: {' '.join(self.message.split())}"


class SweepsError(UserError):
    """A sweeps.toml that cannot be run, with every mistake in it."""

    def __init__(self, path: Path, mistakes: Sequence[Mistake]) -> None:
        self.path, self.mistakes = path, list(mistakes)
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
        lines = [f"  {mistake}" for mistake in mistakes[:MOST_TOLD]]
        lines += [f"  … and {len(mistakes) - MOST_TOLD} more"] if len(mistakes) > MOST_TOLD else []
        super().__init__("\n".join([f"{path}: {count}, nothing was run", *lines]))


def load_sweeps(path: Path, scale: str) -> list[Sweep]:
    """The sweeps of a file at a scale.

    Raises SweepsError with all the mistakes of the file, at either scale: one found only when the other scale is run,
    after a week, would be found too late.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        if _nests_deeper(document, DEEPEST):
            raise RecursionError
    except OSError as error:
        raise SweepsError(path, [Mistake("", "file", f"cannot be read: {error.strerror or error}")]) from error
    except RecursionError as error:
        raise SweepsError(
            path, [Mistake("", "file", f"nests tables or lists in more than {DEEPEST} levels")]
        ) from error
    except ValueError as error:  # also what tomllib lets through: texts that are not UTF-8, numbers too long to read
        raise SweepsError(path, [Mistake("", "file", f"is not TOML: {error}")]) from error

    mistakes: list[Mistake] = []
    for key in document.keys() - {"sweep"}:
        mistakes.append(Mistake("", key, f"unknown key: {nearest(key, ['sweep'])}; sweeps are named [sweep.NAME]"))
    tables = document.get("sweep", {})
    if not isinstance(tables, dict) or not tables:
        mistakes.append(Mistake("", "sweep", "the file names no sweep; begin one with [sweep.NAME]"))
        tables = {}
    sweeps: dict[str, list[Sweep]] = {name: [] for name in SCALES}
    for name, table in tables.items():
        found: dict[Mistake, None] = {}
        for at in SCALES:
            sweep, wrong = read_sweep(name, at, table)
            found |= {Mistake(name, key, message): None for key, message in wrong}
            if sweep is not None:
                sweeps[at].append(sweep)
        mistakes += found
    if mistakes:
        raise SweepsError(path, mistakes)
    return sweeps[scale]


def _nests_deeper(table: Mapping[str, Any], levels: int) -> bool:
    """Whether tables and lists lie within each other in more levels than these; without recursion."""
    inner: list[Any] = [table]
    for _ in range(levels):
        inner = [value for outer in inner for value in (outer.values() if isinstance(outer, dict) else outer)]
        inner = [value for value in inner if isinstance(value, dict | list)]
    return bool(inner)


def _cut(name: str) -> str:
    """A name as it stands in a message: on one line, and not for pages."""
    name = " ".join(name.split())
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
