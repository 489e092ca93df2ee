"""Signatures as schemas: the keyword-only parameters of a constructor or a metric are what sweeps.toml may set."""

from __future__ import annotations

import difflib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

WHOLE_NUMBERS = range(-(2**63), 2**63)
"""Those that TOML, Parquet and tensors have; Python reads larger ones."""


@dataclass(frozen=True)
class Option:
    """A keyword-only parameter: its name, annotated type and default."""

    name: str
    type: Any
    default: Any


def options_of(target: Callable[..., Any]) -> Mapping[str, Option]:
    """Keyword-only parameters of a function, or of a class's constructor, in order.

    Raises TypeError where one lacks an annotation or a default: that is a mistake of the author, not of the user.
    """
    return _read_options(target)


@cache
def _read_options(target: Callable[..., Any]) -> Mapping[str, Option]:
    """Each of thousands of trials asks, and resolving annotations takes half a millisecond."""
    function = target.__init__ if inspect.isclass(target) else target
    # The constructor of a dataclass has annotations of several modules, which only the classes themselves can resolve.
    hints = typing.get_type_hints(target if is_dataclass(target) else function)
    found = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.name not in hints or parameter.default is inspect.Parameter.empty:
            raise TypeError(f"{target.__qualname__}: option {parameter.name!r} needs a type and a default")
        found[parameter.name] = Option(parameter.name, hints[parameter.name], parameter.default)
    return found


def positional_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a function's positional parameters."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds)


def fits(value: Any, annotation: Any) -> bool:
    """Whether a TOML value is of an annotated type: bool, int, float, str, Literal, tuple, or a union with None."""
    origin = get_origin(annotation)
    if annotation is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, member) for member in get_args(annotation))
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(annotation))
    if origin is tuple:
        members = get_args(annotation)
        if not isinstance(value, list | tuple):
            return False
        if len(members) == 2 and members[1] is Ellipsis:
            return all(fits(item, members[0]) for item in value)
        return len(value) == len(members) and all(fits(item, m) for item, m in zip(value, members, strict=True))
    if annotation is float:
        return fits(value, int) or (isinstance(value, float) and math.isfinite(value))
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool) and value in WHOLE_NUMBERS
    if annotation is None or annotation is types.NoneType:
        return value is None
    return isinstance(annotation, type) and isinstance(value, annotation)


def normalize(value: Any, annotation: Any) -> Any:
    """The one spelling of a value that fits: 1 becomes 1.0 for a float, a list becomes a tuple."""
    if value is None:
        return None
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return normalize(value, next(member for member in get_args(annotation) if fits(value, member)))
    if origin is tuple:
        members = get_args(annotation)
        kinds = [members[0]] * len(value) if len(members) == 2 and members[1] is Ellipsis else members
        return tuple(normalize(item, kind) for item, kind in zip(value, kinds, strict=True))
    if annotation is float:
        return float(value)
    return value


def typed(options: Mapping[str, Any], schema: Mapping[str, Option]) -> dict[str, Any]:
    """Options as they went through JSON, back in the types that a signature declares."""
    return {name: normalize(value, schema[name].type) for name, value in options.items()}


def describe_type(annotation: Any) -> str:
    """The type in words a user of sweeps.toml understands."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        members = [m for m in get_args(annotation) if m is not types.NoneType]
        return " or ".join(describe_type(m) for m in members)
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(annotation))
    if origin is tuple:
        return f"a list of {describe_type(get_args(annotation)[0])}"
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return names.get(annotation, str(annotation))


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean "x"?' for the nearest known name, else a list of what there is."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f'did you mean "{close[0]}"?'
    return "there is " + ", ".join(known) if known else "there is none"


def defaults(options: Mapping[str, Option]) -> dict[str, Any]:
    """Every option at its default."""
    return {name: option.default for name, option in options.items()}
