"""Which trials of the sweeps a command line means, and on what they run."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from bench.errors import UserError
from bench.identity import Trial
from bench.options import nearest
from bench.registry import UnknownNameError
from bench.sweeps import Sweep

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
TRIAL_ID = re.compile(r"[0-9a-f]{8,64}")
CONDITION = re.compile(r"\s*([\w-]+)\s*(<=|>=|!=|=|<|>)\s*(.+?)\s*")


class ConditionError(UserError):
    """A condition of --where that cannot be read, or that no trial can meet."""


def select(
    sweeps: Sequence[Sweep],
    *,
    only: Sequence[str],
    everything: bool,
    seeds: int | None,
    recorded: Callable[[str], Sequence[Trial]] = lambda prefix: (),
) -> list[Trial]:
    """The trials to run, in the order of the file.

    only: patterns SWEEP, SWEEP/METHOD or SWEEP/METHOD/DATASET with * and ?, or the beginning of a trial id (8 digits
    at least). Optional sweeps take part when a pattern names them, or with `everything`.
    recorded: the trials that results know by the beginning of an id; asked where no sweep plans such a trial.

    Raises UnknownNameError for a pattern that matches nothing, with near matches.
    """
    trials = [t for sweep in sweeps for t in sweep.trials(None if seeds is None else range(seeds))]
    optional = {sweep.name for sweep in sweeps if sweep.optional}
    chosen: dict[str, Trial] = {}
    for pattern in only:
        matched = [
            t for t in trials if _matches(pattern, t) and (everything or t.sweep not in optional or _names(pattern, t))
        ]
        if not matched and TRIAL_ID.fullmatch(pattern):
            matched = list(recorded(pattern))
            trials += matched
        if not matched:
            near = {"/".join((t.sweep, t.method.name, t.dataset.name)[: pattern.count("/") + 1]) for t in trials}
            raise UnknownNameError(f'--only "{pattern}" matches no trial: {nearest(pattern, near)}')
        chosen |= {t.sweep + t.id: t for t in matched}
    if not only:
        chosen = {t.sweep + t.id: t for t in trials if everything or t.sweep not in optional}
    return [t for t in trials if t.sweep + t.id in chosen]


def where(trials: Sequence[Trial], conditions: Sequence[str]) -> list[Trial]:
    """The trials that meet all conditions, such as "dim<=64" or "method=w2gn".

    A name is kind, dataset, method, seed, an option of the dataset or a hyperparameter of the method; a trial without
    such an option does not meet the condition. Numbers compare as numbers; = and != also take texts, and lists as
    128x64.

    Raises ConditionError for a condition that is none, names nothing any trial has, or leaves no trial.
    """
    for condition in conditions:
        found = CONDITION.fullmatch(condition)
        if not found:
            raise ConditionError(f'--where "{condition}": expected NAME, one of = != < <= > >=, and a value')
        name = found[1]
        facts = [_facts(trial) for trial in trials]
        if not any(name in fact for fact in facts):
            known = {key for fact in facts for key in fact}
            raise ConditionError(f'--where "{condition}": no trial has "{name}": {nearest(name, known)}')
        trials = [
            t for t, fact in zip(trials, facts, strict=True) if name in fact and _holds(fact[name], *found.groups())
        ]
        if not trials:
            values = dict.fromkeys(_text(fact[name]) for fact in facts if name in fact)
            raise ConditionError(f'--where "{condition}" leaves no trial; {name} is {", ".join(values)}')
    return list(trials)


def on_cpu(trials: Sequence[Trial]) -> list[Trial]:
    """The same trials without GPUs: resources are no part of a trial's identity."""
    return [replace(trial, resources=replace(trial.resources, gpus=0.0, custom={})) for trial in trials]


def _facts(trial: Trial) -> Mapping[str, Any]:
    named = {"kind": trial.kind, "dataset": trial.dataset.name, "method": trial.method.name, "seed": trial.seed}
    return {**trial.method.options, **trial.dataset.options, **named}


def _holds(value: Any, name: str, comparison: str, wanted: str) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if comparison in ("=", "!="):
        same = float(wanted) == value if is_number and _is_number(wanted) else _text(value) == wanted
        return same == (comparison == "=")
    if not _is_number(wanted):
        raise ConditionError(f'--where "{name}{comparison}{wanted}": {comparison} takes a number')
    return is_number and COMPARISONS[comparison](value, float(wanted))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "x".join(map(_text, value))
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _matches(pattern: str, trial: Trial) -> bool:
    if len(pattern) >= 8 and trial.id.startswith(pattern):
        return True
    parts = pattern.split("/", 2)
    names = (trial.sweep, trial.method.name, trial.dataset.name)
    return all(fnmatchcase(name, part) for name, part in zip(names, parts, strict=False))


def _names(pattern: str, trial: Trial) -> bool:
    """Whether a pattern that matches a trial names its sweep, rather than any sweep."""
    return pattern.split("/")[0].strip("*") != ""
