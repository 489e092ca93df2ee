"""Finds methods and datasets by walking their packages: adding one is adding a file. Imports those that are asked for.

A method from outside the repository is a plug-in: "package.module:Class", or one that an installed package offers in
the entry-point group `bench.methods`. Its code runs with all rights of who runs it, so it is imported when it is named
by a sweeps.toml or on a command line, and at no other time.
"""

from __future__ import annotations

import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeVar

from bench.errors import UserError
from bench.options import nearest
from datasets.base import Dataset, ImageDataset
from methods.base import Autoencoder, Method, TransportMap

KINDS = ("autoencoding", "transport")
STATED = re.compile(r'^    name = "([^"]+)"$', re.MULTILINE)
"""How a class says its name."""


class UnknownNameError(UserError):
    """No method or dataset of that name; the message has the nearest one."""


def kind_of(found: type[Method] | type[Dataset] | Dataset) -> str:
    """ "autoencoding" or "transport"."""
    cls = found if inspect.isclass(found) else type(found)
    return "autoencoding" if issubclass(cls, Autoencoder | ImageDataset) else "transport"


Named = TypeVar("Named", type[Method], type[Dataset])


def _classes(modules: Iterable[str], base: Named) -> dict[str, Named]:
    """Classes of modules with a name of their own, by that name; raises ValueError where two share one."""
    found: dict[str, Named] = {}
    for name in modules:
        try:
            module = importlib.import_module(name)
        except Exception as error:
            raise UserError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
        for cls in vars(module).values():
            if not (inspect.isclass(cls) and issubclass(cls, base) and cls.__module__ == module.__name__):
                continue
            if "name" not in vars(cls):
                continue
            if cls.name in found:
                raise ValueError(f"two classes are named {cls.name!r}: {found[cls.name]} and {cls}")
            found[cls.name] = cls
    return dict(sorted(found.items()))


@cache
def _modules(package: str) -> dict[str, set[str]]:
    """The modules under a package, with the names that their texts state: to find one, not all need be imported."""
    found = {}
    for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        spec = importlib.util.find_spec(info.name)
        if spec and spec.origin:
            found[info.name] = set(STATED.findall(Path(spec.origin).read_text(encoding="utf-8")))
    return found


def _find(name: str, package: str, base: Named) -> Named | None:
    """The class of a name; only where no module states the name as a text are all imported."""
    stating = [module for module, stated in _modules(package).items() if name in stated]
    found = _classes(stating, base).get(name)
    return found or _classes(_modules(package), base).get(name)


@cache
def all_methods() -> dict[str, type[Method]]:
    """Every method under `methods/`, by name."""
    return _classes(_modules("methods"), Method)


@cache
def _own_method(name: str) -> type[Method] | None:
    return _find(name, "methods", Method)


@cache
def plug_ins() -> dict[str, EntryPoint]:
    """The methods that installed packages offer, by name; no name of ours is theirs. Nothing of them is imported."""
    return {entry.name: entry for entry in entry_points(group="bench.methods") if not _own_method(entry.name)}


def is_plug_in(name: str) -> bool:
    """Whether `find_method` would import code from outside the repository."""
    return (":" in name or name in plug_ins()) and not _own_method(name)


@cache
def all_datasets() -> dict[str, type[Dataset]]:
    """Every dataset by name."""
    return _classes(_modules("datasets"), Dataset)


@cache
def _own_dataset(name: str) -> type[Dataset] | None:
    return _find(name, "datasets", Dataset)


def find_method(name: str) -> type[Method]:
    """The class of a method's name. That of a plug-in is imported: `name` must be the user's.

    Raises UnknownNameError, with the nearest name or with what went wrong on import.
    """
    if own := _own_method(name):
        return own
    if not is_plug_in(name):
        raise UnknownNameError(f'no method "{name}": {nearest(name, [*all_methods(), *plug_ins()])}')
    try:
        cls = (plug_ins().get(name) or EntryPoint(name, name, "bench.methods")).load()
    except (Exception, SystemExit) as error:  # a module that is a program ends itself
        raise UnknownNameError(f'method "{name}" cannot be imported: {error}') from error
    if not (inspect.isclass(cls) and issubclass(cls, Autoencoder | TransportMap)):
        raise UnknownNameError(f'"{name}" is neither an Autoencoder nor a TransportMap')
    return cls


def find_dataset(name: str) -> type[Dataset]:
    """The class of a dataset's name. Raises UnknownNameError with the nearest one."""
    if own := _own_dataset(name):
        return own
    raise UnknownNameError(f'no dataset "{name}": {nearest(name, all_datasets())}')


def part_versions(parts: Iterable[str]) -> dict[str, int]:
    """Versions of image datasets and methods of the repository, by name.

    Raises UnknownNameError, with the nearest name.
    """
    return {name: (_own_method(name) or find_dataset(name)).version for name in parts}
