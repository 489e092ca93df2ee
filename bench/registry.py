"""Finds methods and datasets by walking their packages: adding one is adding a file.

A method from outside the repository is a plug-in: "package.module:Class", or one that an installed package offers in
the entry-point group `bench.methods`. Its code runs with all rights of who runs it, so it is imported when it is named
by a sweeps.toml or on a command line, and at no other time.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import TypeVar

from bench.errors import UserError
from bench.options import nearest
from datasets.base import Dataset, ImageDataset
from methods.base import Autoencoder, Method, TransportMap

KINDS = ("autoencoding", "transport")


class UnknownNameError(UserError):
    """No method or dataset of that name; the message has the nearest one."""


def kind_of(found: type[Method] | type[Dataset] | Dataset) -> str:
    """ "autoencoding" or "transport"."""
    cls = found if inspect.isclass(found) else type(found)
    return "autoencoding" if issubclass(cls, Autoencoder | ImageDataset) else "transport"


Named = TypeVar("Named", type[Method], type[Dataset])


def _walk(package: ModuleType, base: Named) -> dict[str, Named]:
    """Classes with a name of their own under a package, by that name; raises ValueError where two share one."""
    found: dict[str, Named] = {}
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            module = importlib.import_module(info.name)
        except Exception as error:
            raise UserError(f"{info.name} cannot be imported: {type(error).__name__}: {error}") from error
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
def all_methods() -> dict[str, type[Method]]:
    """Every method under `methods/`, by name."""
    import methods

    return _walk(methods, Method)


@cache
def plug_ins() -> dict[str, EntryPoint]:
    """The methods that installed packages offer, by name; no name of ours is theirs. Nothing of them is imported."""
    return {entry.name: entry for entry in entry_points(group="bench.methods") if entry.name not in all_methods()}


def is_plug_in(name: str) -> bool:
    """Whether `find_method` would import code from outside the repository."""
    return name not in all_methods() and (":" in name or name in plug_ins())


@cache
def all_datasets() -> dict[str, type[Dataset]]:
    """Every dataset by name."""
    import datasets

    return _walk(datasets, Dataset)


def find_method(name: str) -> type[Method]:
    """The class of a method's name. That of a plug-in is imported: `name` must be the user's.

    Raises UnknownNameError, with the nearest name or with what went wrong on import.
    """
    known = all_methods()
    if name in known:
        return known[name]
    if not is_plug_in(name):
        raise UnknownNameError(f'no method "{name}": {nearest(name, [*known, *plug_ins()])}')
    try:
        cls = (plug_ins().get(name) or EntryPoint(name, name, "bench.methods")).load()
    except (Exception, SystemExit) as error:  # a module that is a program ends itself
        raise UnknownNameError(f'method "{name}" cannot be imported: {error}') from error
    if not (inspect.isclass(cls) and issubclass(cls, Autoencoder | TransportMap)):
        raise UnknownNameError(f'"{name}" is neither an Autoencoder nor a TransportMap')
    return cls


def find_dataset(name: str) -> type[Dataset]:
    """The class of a dataset's name. Raises UnknownNameError with the nearest one."""
    known = all_datasets()
    if name not in known:
        raise UnknownNameError(f'no dataset "{name}": {nearest(name, known)}')
    return known[name]


def part_versions(parts: Iterable[str]) -> dict[str, int]:
    """Versions of image datasets and methods of the repository, by name.

    Raises UnknownNameError, with the nearest name.
    """
    methods = all_methods()
    return {name: (methods[name] if name in methods else find_dataset(name)).version for name in parts}
