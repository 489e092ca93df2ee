"""Which trials of the sweeps a command line means."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from bench.identity import Trial
from bench.options import nearest
from bench.registry import UnknownNameError
from bench.sweeps import Sweep


def select(sweeps: Sequence[Sweep], *, only: Sequence[str], everything: bool, seeds: int | None) -> list[Trial]:
    """The trials to run, in the order of the file.

    only: patterns SWEEP, SWEEP/METHOD or SWEEP/METHOD/DATASET with * and ?, or the beginning of a trial id (8 digits
    at least). Optional sweeps take part when a pattern names them, or with `everything`.

    Raises UnknownNameError for a pattern that matches nothing, with near matches.
    """
    trials = [t for sweep in sweeps for t in sweep.trials(None if seeds is None else range(seeds))]
    optional = {sweep.name for sweep in sweeps if sweep.optional}
    chosen: dict[str, Trial] = {}
    for pattern in only:
        matched = [
            t for t in trials if _matches(pattern, t) and (everything or t.sweep not in optional or _names(pattern, t))
        ]
        if not matched:
            near = {"/".join((t.sweep, t.method.name, t.dataset.name)[: pattern.count("/") + 1]) for t in trials}
            raise UnknownNameError(f'--only "{pattern}" matches no trial: {nearest(pattern, near)}')
        chosen |= {t.sweep + t.id: t for t in matched}
    if not only:
        chosen = {t.sweep + t.id: t for t in trials if everything or t.sweep not in optional}
    return [t for t in trials if t.sweep + t.id in chosen]


def _matches(pattern: str, trial: Trial) -> bool:
    if len(pattern) >= 8 and trial.id.startswith(pattern):
        return True
    parts = pattern.split("/", 2)
    names = (trial.sweep, trial.method.name, trial.dataset.name)
    return all(fnmatchcase(name, part) for name, part in zip(names, parts, strict=False))


def _names(pattern: str, trial: Trial) -> bool:
    """Whether a pattern that matches a trial names its sweep, rather than any sweep."""
    return pattern.split("/")[0].strip("*") != ""
