"""What a table of options in a sweeps.toml stands for: every combination of its grids and random draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

from bench.environment import numpy_generator
from bench.options import Option, defaults, describe_type, fits, nearest, normalize

Wrong = Callable[[str, str], None]
"""`wrong(key, message)` notes a mistake."""

MOST_SETTINGS = 10_000
"""That one table of options may stand for: more are a slip, and would take hours to be listed."""
LONGEST = 80
"""Characters of a value in a message."""
DISTRIBUTIONS = {
    "uniform": lambda rng, low, high: float(rng.uniform(low, high)),
    "log-uniform": lambda rng, low, high: float(math.exp(rng.uniform(math.log(low), math.log(high)))),
    "integer": lambda rng, low, high: int(rng.integers(low, high, endpoint=True)),
}


def expand(key: str, given: Any, schema: Mapping[str, Option], what: str, wrong: Wrong) -> list[dict[str, Any]]:
    """Every combination a table of options stands for, defaults filled in.

    A value is itself, a list is a grid, and { distribution, low, high, draws } is a number of random draws;
    several distributions of one table are drawn together, the i-th of each with the i-th of the others.
    """
    if not isinstance(given, dict):
        wrong(key, f"must be a table of options, not {shown(given)}")
        return []
    axes: dict[str, list[Any]] = {}
    drawn: dict[str, list[Any]] = {}
    for name, value in given.items():
        at = f"{key}.{name}"
        if name not in schema:
            wrong(at, f"no such {what}: {nearest(name, schema)}")
            continue
        annotation = schema[name].type
        if isinstance(value, dict):
            drawn[name] = _draws(at, value, annotation, wrong)
            continue
        values = value if isinstance(value, list) and not fits(value, annotation) else [value]
        if not values:
            wrong(at, "the grid is empty")
        for item in values:
            if not fits(item, annotation):
                wrong(at, f"must be {describe_type(annotation)}, not {shown(item)}")
        values = [normalize(item, annotation) for item in values if fits(item, annotation)]
        if len(set(values)) < len(values):
            wrong(at, "the grid names a value twice")
        axes[name] = values
    lengths = {len(values) for values in drawn.values() if values}
    if len(lengths) > 1:
        wrong(key, "distributions of one table are drawn together, so all need the same number of draws")
        return []
    joint = [dict(zip(drawn, values, strict=True)) for values in zip(*drawn.values(), strict=False)] or [{}]
    size = math.prod(map(len, axes.values())) * len(joint)
    if size > MOST_SETTINGS:
        wrong(key, f"its grids stand for {size:,} settings; at most {MOST_SETTINGS:,} are read")
        return []
    product = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return [{**defaults(schema), **fixed, **random} for fixed, random in itertools.product(product, joint)]


def _draws(key: str, given: Mapping[str, Any], annotation: Any, wrong: Wrong) -> list[Any]:
    expected = {"distribution", "low", "high", "draws"}
    for name in given.keys() - expected:
        wrong(f"{key}.{name}", f"unknown key: {nearest(name, expected)}")
    for name in expected - given.keys():
        wrong(key, f"a distribution needs {name}")
    if given.keys() != expected:
        return []
    name, low, high, draws = given["distribution"], given["low"], given["high"], given["draws"]
    if not isinstance(name, str) or name not in DISTRIBUTIONS:
        wrong(f"{key}.distribution", f'no distribution "{name}": {nearest(str(name), DISTRIBUTIONS)}')
        return []
    kind = int if name == "integer" else float
    if not (fits(low, kind) and fits(high, kind) and low < high and (name != "log-uniform" or low > 0)):
        numbers = "whole numbers" if kind is int else "numbers"
        wrong(key, f"low and high must be {numbers}, low below high{', both above 0' if 'log' in name else ''}")
        return []
    if math.isinf(high - low):
        wrong(key, "low and high lie too far apart")
        return []
    if not fits(draws, int) or not 1 <= draws <= MOST_SETTINGS:
        wrong(f"{key}.draws", f"must be a whole number from 1 to {MOST_SETTINGS:,}, not {shown(draws)}")
        return []
    values = []
    for index in range(draws):
        # A stream for each draw: more draws, other methods or other hyperparameters change none of them.
        rng = numpy_generator("draw", key=key, distribution=name, index=index)
        values.append(DISTRIBUTIONS[name](rng, low, high))
    if not all(fits(value, annotation) for value in values):
        wrong(key, f"must be {describe_type(annotation)}; the distribution {name} gives others")
        return []
    return values


def shown(value: Any) -> str:
    """A value as it stands in a message: a long one is cut."""
    try:
        text = f'"{value}"' if isinstance(value, str) else str(value)
    except ValueError:  # Python writes no numbers of thousands of digits
        return "numbers of thousands of digits"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
