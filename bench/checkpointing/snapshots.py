"""The state of an object as plain JSON and tensors, without pickle; `bench.checkpointing.restoration` is the way back.

Known by type are: modules with all their parameters (and gradients), buffers and attributes; what has `state_dict` and
`load_state_dict`, such as optimizers and schedulers; generators of random numbers of torch, NumPy and Python; objects
of classes written in Python, by their attributes; functions, by name and closure. Anything else is refused, as what
would be missing later could not be told: iterators under way, files, objects of other languages.
"""

from __future__ import annotations

import functools
import pathlib
import random
import re
import types
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim

Json = Any
"""What `json` reads and writes; whole numbers of any length, and floats that are not finite."""

SCALARS = (type(None), bool, int, float, str)
CONSTANTS = (
    type,
    types.ModuleType,
    types.BuiltinFunctionType,
    torch.dtype,
    torch.device,
    torch.memory_format,
    bytes,
    complex,
    range,
    slice,
    Enum,
    pathlib.PurePath,
    re.Pattern,
    weakref.ref,
)
"""What is as it was made: only compared, by name."""
STREAMS: dict[type, tuple[Callable[[Any], Any], Callable[[Any, Any], object]]] = {
    torch.Generator: (torch.Generator.get_state, torch.Generator.set_state),
    np.random.Generator: (lambda stream: stream.bit_generator.state, lambda stream, state: _set_bits(stream, state)),
    np.random.RandomState: (lambda stream: stream.get_state(legacy=False), np.random.RandomState.set_state),
    random.Random: (lambda stream: stream.getstate(), lambda stream, state: stream.setstate(state)),
}
"""How the state of a generator of random numbers is read and set."""
MODULE_INTERNALS = frozenset(vars(nn.Module())) - {"training"}
"""What torch keeps in a module besides: hooks, and the three dictionaries that are walked by themselves."""
PYTHON_CLASS = 1 << 9
"""Flag of a class that was made by a `class` statement, which keeps its state in `__dict__` (Py_TPFLAGS_HEAPTYPE)."""


class SnapshotError(Exception):
    """An object that cannot be saved, or that a snapshot does not fit; the message names the attribute."""


@dataclass(frozen=True)
class Snapshot:
    """tree: what there was, by type, with the tensors' names. tensors: copies on the CPU."""

    tree: Json
    tensors: dict[str, Tensor]


def capture(value: object, name: str) -> Snapshot:
    """The state of an object, called `name` in errors. Raises SnapshotError for what it does not know."""
    walk = _Capture()
    return Snapshot(walk.node(value, name), walk.tensors)


@dataclass
class _Capture:
    tensors: dict[str, Tensor] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)  # id of an object -> its number
    alive: list[object] = field(default_factory=list)  # by number; ids are unique only among what is alive

    def node(self, value: Any, path: str) -> Json:
        if type(value) in SCALARS:
            return value
        if isinstance(value, CONSTANTS):
            return {"kind": "constant", "name": name_of(value)}
        if id(value) in self.seen:
            return {"kind": "same", "as": self.seen[id(value)]}
        number = self.seen[id(value)] = len(self.alive)
        self.alive.append(value)
        return {"number": number, "class": name_of(type(value)), **self.parts(value, str(number), path)}

    def parts(self, value: Any, number: str, path: str) -> dict[str, Json]:
        """What there is to an object, as its kind goes."""
        if isinstance(value, Tensor):
            return self.tensor(value, number, path)
        if isinstance(value, np.ndarray | np.generic):
            if type(value) is np.memmap or value.dtype.kind not in "biufc":
                raise SnapshotError(f"{path} is an array of another kind than numbers in memory")
            self.tensors[number] = torch.from_numpy(np.array(value, order="C"))
            return {"kind": "array", "scalar": isinstance(value, np.generic)}
        for stream, (read, _) in STREAMS.items():
            if isinstance(value, stream):
                return {"kind": "stream", "state": self.node(read(value), path)}
        if isinstance(value, nn.Module):
            plain = {name: item for name, item in vars(value).items() if name not in MODULE_INTERNALS}
            parts = (value._parameters, value._buffers, value._modules, plain)
            return {"kind": "module", "parts": [self.named(part, path) for part in parts]}
        if _is_stateful(value):
            # Whose state says nothing of the parameters themselves, which may be held nowhere else.
            groups = value.param_groups if isinstance(value, optim.Optimizer) else []
            parameters = [[self.node(item, path) for item in group["params"]] for group in groups]
            return {"kind": "stateful", "parameters": parameters, "state": self.node(value.state_dict(), path)}
        if isinstance(value, dict):
            items = [[self.node(k, path), self.node(v, f"{path}[{k!r}]")] for k, v in value.items()]
            return {"kind": "dict", "items": items}
        if isinstance(value, list | deque | set | tuple | frozenset):
            items = [self.node(item, f"{path}[{index}]") for index, item in enumerate(value)]
            return {"kind": "frozen" if isinstance(value, tuple | frozenset) else "container", "items": items}
        if isinstance(value, types.CellType):
            return {"kind": "cell", "content": self.node(value.cell_contents, path)}
        inside = inside_of(value)
        if inside is None:
            raise SnapshotError(f"{path} is a {name_of(type(value))}, whose state cannot be saved")
        return {"kind": "object", "name": name_of(value), "parts": self.named(inside, path)}

    def named(self, items: Mapping[str, Any], path: str) -> dict[str, Json]:
        return {name: self.node(item, f"{path}.{name}") for name, item in items.items()}

    def tensor(self, value: Tensor, number: str, path: str) -> dict[str, Json]:
        if type(value) not in (Tensor, nn.Parameter) or value.layout != torch.strided:
            raise SnapshotError(f"{path} is a {name_of(type(value))} of layout {value.layout}, which cannot be saved")
        if not value.is_leaf:
            raise SnapshotError(f"{path} is a tensor with a gradient graph, which cannot be saved; detach it")
        self.tensors[number] = _copy(value)
        if value.grad is not None:
            self.tensors[f"{number}.grad"] = _copy(value.grad)
        return {"kind": "tensor", "device": str(value.device), "requires_grad": value.requires_grad}


def name_of(value: Any) -> str:
    """What an object is called that cannot change: equal names, equal objects."""
    if isinstance(value, weakref.ref):
        return "weakref"
    if isinstance(value, types.ModuleType):
        return value.__name__
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value) if isinstance(value, CONSTANTS) else name_of(type(value))


def inside_of(value: Any) -> dict[str, Any] | None:
    """What an object of a class written in Python, or a function, holds; None for objects that hold it elsewhere."""
    if isinstance(value, types.FunctionType):
        return dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
    if isinstance(value, types.MethodType):
        return {"self": value.__self__}
    if isinstance(value, functools.partial):
        return {"function": value.func, "arguments": value.args, "keywords": value.keywords}
    bases = type(value).__mro__[:-1]
    if not all(base.__flags__ & PYTHON_CLASS for base in bases) or any(vars(base).get("__slots__") for base in bases):
        return None
    return getattr(value, "__dict__", None)


def _is_stateful(value: Any) -> bool:
    return all(callable(getattr(type(value), name, None)) for name in ("state_dict", "load_state_dict"))


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _set_bits(stream: np.random.Generator, state: Any) -> None:
    stream.bit_generator.state = state
