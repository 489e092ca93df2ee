"""A snapshot back into an object that was made alike: by the same code from the same arguments.

What is there is changed in place, so that whoever else holds a parameter, a list or a random generator holds the
restored one. Tensors, arrays, numbers, texts and plain containers need not be there yet. Everything else must be, as
its code is not saved: where it is not, SnapshotError names it, and nothing has been changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim

from bench.checkpointing.snapshots import MODULE_INTERNALS, STREAMS, Json, Snapshot, SnapshotError, inside_of, name_of

FROZEN: dict[str, Callable[[list[Any]], Any]] = {"builtins.tuple": tuple, "builtins.frozenset": frozenset}
EMPTY: dict[str, Callable[[], Any]] = {"builtins.dict": dict, "builtins.list": list, "builtins.set": set}
"""What can be made anew, by name of the class."""
ABSENT: Any = object()


def restoration(snapshot: Snapshot, present: Any = ABSENT) -> tuple[Any, Callable[[], None]]:
    """The object restored, and what must be called for it to have its state: until then nothing is changed.

    present: an object of the same making, which is changed in place. Raises SnapshotError where it lacks something.
    """
    walk = _Restoration(snapshot.tensors)
    value = walk.value(snapshot.tree, present, "state")

    def apply() -> None:
        with torch.no_grad():
            for action in walk.actions:
                action()

    return value, apply


@dataclass
class _Restoration:
    tensors: Mapping[str, Tensor]
    actions: list[Callable[[], object]] = field(default_factory=list)
    made: dict[int, Any] = field(default_factory=dict)

    def value(self, node: Json, present: Any, path: str) -> Any:
        """The value of a node: `present`, to be changed in place, where it is of the same class, else a new one."""
        if not isinstance(node, dict):
            return node
        if node["kind"] == "same":
            return self.made[node["as"]]
        if node["kind"] == "constant":
            if present is ABSENT or name_of(present) != node["name"]:
                raise SnapshotError(f"{path} is not {node['name']}")
            return present
        if name_of(type(present)) != node["class"]:
            present = ABSENT
        made = RESTORE[node["kind"]](self, node, present, path)
        self.made[node["number"]] = made
        return made

    def restore_tensor(self, node: Json, present: Any, path: str) -> Tensor:
        saved, gradient = self.tensors[str(node["number"])], self.tensors.get(f"{node['number']}.grad")
        same_form = present is not ABSENT and (present.shape, present.dtype) == (saved.shape, saved.dtype)
        # What is expanded, or part of a gradient graph, cannot be written to.
        if not (same_form and present.is_leaf and 0 not in present.stride()):
            if node["class"] == name_of(nn.Parameter):
                raise SnapshotError(f"{path} is not a parameter of shape {list(saved.shape)}")
            present = saved.to(node["device"])

        def act() -> None:
            present.copy_(saved)
            present.requires_grad_(node["requires_grad"])
            present.grad = None if gradient is None else gradient.to(present.device)

        self.actions.append(act)
        return present

    def restore_array(self, node: Json, present: Any, path: str) -> Any:
        saved = self.tensors[str(node["number"])].numpy()
        if node["scalar"]:
            return saved[()]
        if present is ABSENT or present.shape != saved.shape or present.dtype != saved.dtype:
            return saved.copy()
        self.actions.append(lambda: np.copyto(present, saved))
        return present

    def restore_stream(self, node: Json, present: Any, path: str) -> Any:
        self.require(present, node, path)
        state = self.value(node["state"], ABSENT, path)
        write = next(write for stream, (_, write) in STREAMS.items() if isinstance(present, stream))
        self.actions.append(lambda: write(present, state))
        return present

    def restore_stateful(self, node: Json, present: Any, path: str) -> Any:
        self.require(present, node, path)
        groups = [group["params"] for group in present.param_groups] if isinstance(present, optim.Optimizer) else []
        if list(map(len, groups)) != list(map(len, node["parameters"])):
            raise SnapshotError(f"{path} has other groups of parameters")
        for here, saved in zip(itertools.chain(*groups), itertools.chain(*node["parameters"]), strict=True):
            if self.value(saved, here, path) is not here:
                raise SnapshotError(f"{path} is of other parameters")
        state = self.value(node["state"], ABSENT, path)
        self.actions.append(lambda: present.load_state_dict(state))
        return present

    def restore_module(self, node: Json, present: Any, path: str) -> Any:
        self.require(present, node, path)
        self.made[node["number"]] = present
        inside = (present._parameters, present._buffers, present._modules, vars(present))
        for saved, items in zip(node["parts"], inside, strict=True):
            self.fill(saved, items, path, kept=MODULE_INTERNALS if items is inside[-1] else frozenset())
        return present

    def restore_object(self, node: Json, present: Any, path: str) -> Any:
        self.require(present, node, path)
        self.made[node["number"]] = present
        inside = inside_of(present)
        if inside is None or name_of(present) != node["name"]:
            raise SnapshotError(f"{path} is not {node['name']}")
        self.fill(node["parts"], inside, path)
        return present

    def restore_dict(self, node: Json, present: Any, path: str) -> Any:
        made = self.made[node["number"]] = self.container(node, present, path)
        keys = [self.value(key, ABSENT, path) for key, _ in node["items"]]
        items = {
            key: self.value(item, made.get(key, ABSENT), f"{path}[{key!r}]")
            for key, (_, item) in zip(keys, node["items"], strict=True)
        }
        self.refill(made, made.update, items, at_once=present is ABSENT)
        return made

    def restore_container(self, node: Json, present: Any, path: str) -> Any:
        made = self.made[node["number"]] = self.container(node, present, path)
        is_set = isinstance(made, set)
        items = self.items(node, () if is_set else made, path)
        self.refill(made, made.update if is_set else made.extend, items, at_once=present is ABSENT)
        return made

    def container(self, node: Json, present: Any, path: str) -> Any:
        """What is there, or an empty one of its class."""
        if present is ABSENT and node["class"] in EMPTY:
            return EMPTY[node["class"]]()
        self.require(present, node, path)
        return present

    def refill(self, made: Any, add: Callable[[Any], None], items: Any, *, at_once: bool) -> None:
        """Plans to make the items of a container these; what is new, and nobody's yet, gets them at once."""

        def act() -> None:
            made.clear()
            add(items)

        if at_once:
            act()
        else:
            self.actions.append(act)

    def restore_frozen(self, node: Json, present: Any, path: str) -> Any:
        items = self.items(node, present if isinstance(present, tuple) else (), path)
        if node["class"] in FROZEN:
            return FROZEN[node["class"]](items)
        self.require(present, node, path)
        return type(present)._make(items) if hasattr(present, "_make") else type(present)(items)

    def restore_cell(self, node: Json, present: Any, path: str) -> Any:
        self.require(present, node, path)
        content = self.value(node["content"], present.cell_contents, path)
        self.actions.append(lambda: setattr(present, "cell_contents", content))
        return present

    def items(self, node: Json, present: Sequence[Any], path: str) -> list[Any]:
        """The items of a sequence, each in place of that at the same index where there is one."""
        beside = itertools.chain(present, itertools.repeat(ABSENT))
        return [
            self.value(item, here, f"{path}[{index}]")
            for index, (item, here) in enumerate(zip(node["items"], beside, strict=False))
        ]

    def fill(
        self, saved: Mapping[str, Json], items: dict[str, Any], path: str, kept: frozenset[str] = frozenset()
    ) -> None:
        """Plans to make the items those saved, and those `kept`, in place."""
        values = {name: self.value(node, items.get(name, ABSENT), f"{path}.{name}") for name, node in saved.items()}

        def act() -> None:
            for name in [name for name in items if name not in values and name not in kept]:
                del items[name]
            items.update(values)

        self.actions.append(act)

    def require(self, present: Any, node: Json, path: str) -> None:
        if present is ABSENT:
            raise SnapshotError(f"{path} is not there as a {node['class']}")


RESTORE = {
    "tensor": _Restoration.restore_tensor,
    "array": _Restoration.restore_array,
    "stream": _Restoration.restore_stream,
    "stateful": _Restoration.restore_stateful,
    "module": _Restoration.restore_module,
    "object": _Restoration.restore_object,
    "dict": _Restoration.restore_dict,
    "container": _Restoration.restore_container,
    "frozen": _Restoration.restore_frozen,
    "cell": _Restoration.restore_cell,
}
