"""The table `tuning` of a sweep: which hyperparameters of which methods are searched, by what, and for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.grid import DISTRIBUTIONS, Wrong, shown
from bench.identity import Budget, Setting, canonical_json
from bench.metrics.base import Output, all_metrics
from bench.options import describe_type, fits, nearest, normalize, options_of
from bench.registry import find_method

SEARCH_SEED = 10**9
"""The seed of every trial of a search. Sweeps do not have it, so no setting is chosen for its luck with theirs."""

KEYS = ("metric", "search", "scheduler", "trials", "methods")
SEARCHES = ("optuna", "random")
SCHEDULERS = ("asha", "none")


@dataclass(frozen=True)
class Domain:
    """The values a hyperparameter may take: one of `choices`, or where there are none, a range with both its ends.

    distribution: "uniform" or "log-uniform" of numbers, "integer" of whole ones.
    """

    choices: tuple[Any, ...] = ()
    distribution: str = ""
    low: float = 0.0
    high: float = 0.0

    def __contains__(self, value: Any) -> bool:
        if not self.choices:
            return isinstance(value, int | float) and self.low <= value <= self.high
        return canonical_json(value) in map(canonical_json, self.choices)

    def to_json(self) -> dict[str, Any]:
        if self.choices:
            return {"choices": list(self.choices)}
        return {"distribution": self.distribution, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Tuning:
    """A search for each of some methods of a sweep, on each of its datasets.

    metric: what measures the output that is searched for. trials: of a search. spaces: method -> hyperparameter -> its
    values; the other hyperparameters stay as the sweep has them.
    """

    metric: Setting
    output: str
    direction: str
    search: str
    scheduler: str
    trials: int
    spaces: Mapping[str, Mapping[str, Domain]]


def read_tuning(
    given: Mapping[str, Any],
    measured: Sequence[tuple[Setting, Sequence[Setting]]],
    methods: Sequence[tuple[Setting, Budget]],
    splits: Sequence[str],
    seeds: Sequence[int],
    wrong: Wrong,
) -> Tuning | None:
    """The table of a sweep with these datasets (each with its metrics), methods, splits and seeds.

    None where it has mistakes, which `wrong` takes.
    """
    for key in given.keys() - set(KEYS):
        wrong(f"tuning.{key}", f"unknown key: {nearest(key, KEYS)}")
    metric = _metric(given.get("metric"), measured, wrong)
    search, scheduler = (
        _one_of(f"tuning.{key}", given.get(key, known[0]), known, wrong)
        for key, known in (("search", SEARCHES), ("scheduler", SCHEDULERS))
    )
    trials = given.get("trials", 0)
    if not fits(trials, int) or trials < 1:
        wrong("tuning.trials", "must be how many settings to try, a whole number of at least 1")
    if "validation" not in splits:
        wrong("tuning", 'needs splits = ["validation", "test"]: the report compares default and tuned on the first')
    if SEARCH_SEED in seeds:
        wrong("seeds", f"{SEARCH_SEED} is the seed of searches, which no setting may be compared with")
    tables = given.get("methods")
    if not isinstance(tables, dict) or not tables:
        wrong(
            "tuning.methods", 'must state what is searched, as methods.NAME = { weight = [1, 10], kernel = ["a", "b"] }'
        )
        tables = {}
    spaces = {name: _space(name, table, methods, wrong) for name, table in tables.items()}
    known = {name: space for name, space in spaces.items() if space is not None}
    if metric is None or search is None or scheduler is None or not fits(trials, int) or len(known) < len(spaces):
        return None
    setting, name, output = metric
    return Tuning(setting, name, str(output.direction), search, scheduler, trials, known)


def _metric(
    name: Any, measured: Sequence[tuple[Setting, Sequence[Setting]]], wrong: Wrong
) -> tuple[Setting, str, Output] | None:
    """The metric of an output's name, the name, and the output."""
    found: dict[str, dict[str, Setting]] = {}
    for _, settings in measured:
        for setting in settings:
            for output in all_metrics()[setting.name].outputs:
                found.setdefault(output, {})[canonical_json(setting.to_json("options"))] = setting
    key = "tuning.metric"
    if not isinstance(name, str) or name not in found:
        wrong(key, f"must be a number that the metrics of the sweep give, not {shown(name)}: {nearest(name, found)}")
        return None
    if len(found[name]) > 1:
        wrong(key, f"the sweep measures {name} in {len(found[name])} ways, and a search needs one")
        return None
    (setting,) = found[name].values()
    metric = all_metrics()[setting.name]
    if metric.outputs[name].direction is None:
        wrong(key, f"of {name} neither more nor less is better, so nothing can be searched by it")
        return None
    if metric.across_seeds:
        wrong(key, f"{name} is measured across seeds, and a search has one")
        return None
    for dataset, settings in measured:
        if setting not in settings:
            wrong(key, f"the dataset {dataset.name} does not have what {name} needs; search it in a sweep without")
            return None
    return setting, name, metric.outputs[name]


def _one_of(key: str, value: Any, known: Sequence[str], wrong: Wrong) -> str | None:
    if value in known:
        return str(value)
    wrong(key, f"must be one of {', '.join(known)}, not {shown(value)}: {nearest(str(value), known)}")
    return None


def _space(name: str, table: Any, methods: Sequence[tuple[Setting, Budget]], wrong: Wrong) -> dict[str, Domain] | None:
    """The values of each hyperparameter of a method; None where there are mistakes."""
    key = f"tuning.methods.{name}"
    own = [(setting, budget) for setting, budget in methods if setting.name == name]
    if not own:
        wrong(key, f"the sweep has no such method: {nearest(name, {setting.name for setting, _ in methods})}")
        return None
    if not isinstance(table, dict) or not table:
        wrong(key, f"must be a table of hyperparameters and their values, not {shown(table)}")
        return None
    schema = options_of(find_method(name))
    space: dict[str, Domain | None] = {}
    for option, values in table.items():
        at = f"{key}.{option}"
        if option not in schema:
            wrong(at, f"no such hyperparameter: {nearest(option, schema)}")
            space[option] = None
        elif isinstance(values, dict):
            space[option] = _range(at, values, schema[option].type, wrong)
        else:
            space[option] = _choices(at, values, schema[option].type, wrong)
    kept = {canonical_json([_without(setting.options, table), budget.to_json()]) for setting, budget in own}
    if len(kept) > 1:
        wrong(key, "the sweep has this method with several settings, and they differ in what is not searched")
        return None
    known = {option: domain for option, domain in space.items() if domain is not None}
    return known if len(known) == len(space) else None


def _without(options: Mapping[str, Any], searched: Mapping[str, Any]) -> dict[str, Any]:
    return {option: value for option, value in options.items() if option not in searched}


def _choices(key: str, given: Any, annotation: Any, wrong: Wrong) -> Domain | None:
    if not isinstance(given, list) or fits(given, annotation) or len(given) < 2:
        wrong(key, f"must be a list of two or more values, or a distribution to search, not {shown(given)}")
        return None
    unfit = [value for value in given if not fits(value, annotation)]
    for value in unfit:
        wrong(key, f"must be {describe_type(annotation)}, not {shown(value)}")
    values = [normalize(value, annotation) for value in given if value not in unfit]
    if len({canonical_json(value) for value in values}) < len(values):
        wrong(key, "names a value twice")
        return None
    return None if unfit else Domain(choices=tuple(values))


def _range(key: str, given: Mapping[str, Any], annotation: Any, wrong: Wrong) -> Domain | None:
    expected = ("distribution", "low", "high")
    for name in given.keys() - set(expected):
        wrong(f"{key}.{name}", f"unknown key: {nearest(name, expected)}")
    if given.keys() != set(expected):
        for name in set(expected) - given.keys():
            wrong(key, f"a range to search needs {name}")
        return None
    distribution, low, high = (given[name] for name in expected)
    if distribution not in DISTRIBUTIONS:
        wrong(f"{key}.distribution", f'no distribution "{distribution}": {nearest(str(distribution), DISTRIBUTIONS)}')
        return None
    number = int if distribution == "integer" else float
    positive = distribution == "log-uniform"
    if not (fits(low, number) and fits(high, number) and low < high and (low > 0 or not positive)):
        wrong(
            key, f"low and high must be {describe_type(number)} each, low below high{', above 0' if positive else ''}"
        )
        return None
    if not fits(number(low) + (0 if number is int else 0.5), annotation):
        wrong(key, f"must be {describe_type(annotation)}; the distribution {distribution} gives others")
        return None
    return Domain(distribution=distribution, low=low, high=high)
