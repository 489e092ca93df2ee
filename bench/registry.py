"""Finds methods and datasets by walking their packages: adding one is adding a file."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
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
    """Every method by name: those under `methods/`, then those of the entry-point group `bench.methods`."""
    import methods

    found = _walk(methods, Method)
    for entry in entry_points(group="bench.methods"):
        found.setdefault(entry.name, entry.load())
    return found


@cache
def all_datasets() -> dict[str, type[Dataset]]:
    """Every dataset by name."""
    import datasets

    return _walk(datasets, Dataset)


def find_method(name: str) -> type[Method]:
    """The class of a registered name, or of "package.module:Class".

    Raises UnknownNameError, with the nearest name or with what went wrong on import.
    """
    if ":" in name:
        module_name, _, class_name = name.partition(":")
        try:
            cls = getattr(importlib.import_module(module_name), class_name)
        except Exception as error:
            raise UnknownNameError(f'method "{name}" cannot be imported: {error}') from error
        if not (inspect.isclass(cls) and issubclass(cls, Autoencoder | TransportMap)):
            raise UnknownNameError(f'"{name}" is neither an Autoencoder nor a TransportMap')
        return cls
    known = all_methods()
    if name not in known:
        raise UnknownNameError(f'no method "{name}": {nearest(name, known)}')
    return known[name]


def find_dataset(name: str) -> type[Dataset]:
    """The class of a dataset's name. Raises UnknownNameError with the nearest one."""
    known = all_datasets()
    if name not in known:
        raise UnknownNameError(f'no dataset "{name}": {nearest(name, known)}')
    return known[name]


def part_versions(parts: Iterable[str]) -> dict[str, int]:
    """Versions of image datasets and methods, by name.

    Raises UnknownNameError, with the nearest name.
    """
    methods = all_methods()
    return {name: (methods[name] if name in methods else find_dataset(name)).version for name in parts}
