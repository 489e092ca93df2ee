"""Several models that differ in their seeds, trained as one batched model.

Parameters of all models are stacked, [S, ...], and the models' own become views of the stack; the objective runs once
for all of them under `torch.func.vmap`, and elementwise optimizers step the stack. So each model has the gradient and
the update that it would have alone, but for the order of floating-point sums. What is random in an objective is drawn
beforehand, for each model from its own stream, in the order in which it alone would draw it.

Only methods that leave `train_step` as it is can be packed; see `methods.base`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.func import functional_call, vmap

from bench.checkpointing.snapshots import MODULE_INTERNALS, SCALARS, SnapshotError, capture
from bench.packed_draws import Draw, Recording, Replaying
from bench.training import calculating, upload
from methods.base import Losses, Method, descends

Batch = tuple[Tensor, ...]

ELEMENTWISE = (optim.Adam, optim.AdamW, optim.Adamax, optim.RMSprop, optim.SGD)
"""Optimizers under which no entry of a parameter depends on another."""
AGREE = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 3e-2}
"""Relative difference to a model's loss alone, at the first update, above which something is wrong with the pack."""


class PackError(Exception):
    """These models cannot be trained as one; the message says why."""


def can_pack(method: type[Method]) -> bool:
    """Whether a method's update is one step down its objective, as packing needs it."""
    return method.trains and method.packs and descends(method)


class Pack:
    """Models of one method, stacked; from now on their parameters and buffers are views of the stack.

    Args:
        methods: in training mode; alike but for the values of parameters, buffers and attributes that are floats.
        states: of the random streams of their training, as `torch.Generator.get_state` gives them.

    Raises:
        PackError: they are not alike, or something of theirs cannot be stacked.
    """

    def __init__(self, methods: Sequence[Method], states: Sequence[Tensor], precision: str = "float32") -> None:
        self.methods: Sequence[Any] = methods  # of either contract
        self.precision = precision
        self.device = next(methods[0].parameters()).device
        self.streams = [torch.Generator(self.device) for _ in methods]
        for stream, state in zip(self.streams, states, strict=True):
            stream.set_state(state)
        self.varying = _varying(methods)
        self.floats: dict[tuple[str, str], list[float]] = {}
        self.values: dict[tuple[str, str], Tensor] = {}
        self.parameters = _stack([dict(method.named_parameters()) for method in methods])
        self.buffers = _stack([dict(method.named_buffers()) for method in methods])
        self.optimizers = [_StackedOptimizer(self, index) for index in range(len(methods[0].optimizers))]
        self.draws: list[Draw] = []
        self.noise: list[Tensor] = []
        self.started = False
        self.model = _Objective(methods[0])
        self.objective = vmap(self._objective)

    def step(self, batches: Sequence[Batch]) -> list[Losses]:
        """One update of all models, each on its own batch; returns the losses of each, without their gradients.

        Raises PackError at the first update, before a parameter has changed, where the pack's losses are not those that
        the models have alone, and before anything has changed where what they draw cannot be drawn beforehand.
        """
        for method in self.methods:
            method.before_update()
        alone = None if self.started else self._probe(batches)
        for draw, out in zip(self.draws, self.noise, strict=True):
            for own, stream in zip(out, self.streams, strict=True):
                draw.fill(own, stream)
        stacked = tuple(torch.stack(parts) for parts in zip(*batches, strict=True))
        with calculating(self.precision, self.device):
            losses = self.objective(self.parameters, self.buffers, self._values(), tuple(self.noise), stacked)
            objective = next(iter(losses.values()))
            if alone is not None:
                _require_agreement(objective.detach(), alone, AGREE[self.precision])
                self.started = True
            for parameter in self.parameters.values():
                parameter.grad = None
            objective.sum().backward()
        for optimizer in self.optimizers:
            optimizer.sync()
        for optimizer in self.optimizers:
            optimizer.step()
        each = [{name: value.detach()[at] for name, value in losses.items()} for at in range(len(self.methods))]
        for method, own in zip(self.methods, each, strict=True):
            method.after_update(own)
        return each

    def unstack(self) -> None:
        """Gives the models' own optimizers the state that they would have alone."""
        for optimizer in self.optimizers:
            optimizer.unstack()

    def _objective(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        varying: Mapping[tuple[str, str], Tensor],
        noise: tuple[Tensor, ...],
        batch: Batch,
    ) -> Losses:
        """The objective of one model, under vmap."""
        named = {f"method.{name}": value for name, value in (*parameters.items(), *buffers.items())}
        replaying = Replaying(self.draws, noise)
        with _attributes(self.methods[0], varying), replaying if noise else nullcontext():
            losses = functional_call(self.model, named, batch)
        replaying.require_end()
        return losses

    def _values(self) -> dict[tuple[str, str], Tensor]:
        """The floats that differ as they are now, [S] each: `before_update` may have changed them."""
        floats = {
            (name, attribute): [getattr(method.get_submodule(name), attribute) for method in self.methods]
            for name, attribute in self.varying
        }
        if floats != self.floats:
            dtype = next(iter(self.parameters.values())).dtype
            self.floats = floats
            self.values = {key: upload(torch.tensor(each, dtype=dtype), self.device) for key, each in floats.items()}
        return self.values

    def _probe(self, batches: Sequence[Batch]) -> Tensor:
        """Each model's objective alone, [S], and what it draws; streams and buffers are left as they were."""
        values, drawn = [], []
        for at, (method, batch) in enumerate(zip(self.methods, batches, strict=True)):
            before = self.streams[at].get_state()
            buffers = {name: stack[at].clone() for name, stack in self.buffers.items()}
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
                set_global_stream(before, self.device)
                with Recording() as recording, calculating(self.precision, self.device):
                    values.append(next(iter(method.objective(*batch).values())).detach())
                after = global_stream(self.device)
            for name, value in buffers.items():
                self.buffers[name][at].copy_(value)
            for draw in recording.draws:
                draw.fill(draw.empty(), self.streams[at])
            again = self.streams[at].get_state()
            self.streams[at].set_state(before)
            if not torch.equal(again, after):
                raise PackError("its objective draws random numbers in a way that cannot be packed")
            drawn.append(recording.draws)
        if any(draws != drawn[0] for draws in drawn):
            raise PackError("its models do not draw the same random numbers")
        self.draws = drawn[0]
        self.noise = [draw.empty(len(self.methods)) for draw in self.draws]
        return torch.stack(values)

    def check(self) -> None:
        """Raises PackError where models have come to differ in what their common objective does not know of."""
        if _varying(self.methods) - self.varying:
            raise PackError("its models have come to differ in more than parameters and buffers")


class _StackedOptimizer:
    """The optimizer of one place in all models, over the stack, whose memory its parts share: one for models in a row
    that have equal settings."""

    def __init__(self, pack: Pack, index: int) -> None:
        self.pack, self.own = pack, [method.optimizers[index] for method in pack.methods]
        kind = type(self.own[0])
        if kind not in ELEMENTWISE or any(type(optimizer) is not kind for optimizer in self.own):
            raise PackError(f"{kind.__name__} is no elementwise optimizer, or not that of all")
        names = {id(parameter): name for name, parameter in pack.methods[0].named_parameters()}
        self.parts: list[_Part] = []
        for at, group in enumerate(self.own[0].param_groups):
            stacks = [pack.parameters[names[id(parameter)]] for parameter in group["params"]]
            settings = [_settings(optimizer.param_groups[at]) for optimizer in self.own]
            first = 0
            for end in range(1, len(settings) + 1):
                if end == len(settings) or settings[end] != settings[first]:
                    leaves = [stack.detach()[first:end] for stack in stacks]
                    self.parts.append(_Part(at, slice(first, end), stacks, leaves))
                    first = end
        self.stacked = kind([{**self._settings_of(part)[0], "params": part.leaves} for part in self.parts])
        for part in self.parts:
            for position, leaf in enumerate(part.leaves):
                states = [
                    optimizer.state.get(optimizer.param_groups[part.group]["params"][position], {})
                    for optimizer in self.own[part.models]
                ]
                if any(states):
                    self.stacked.state[leaf] = _stack_state(states, leaf)

    def sync(self) -> None:
        """Takes over the settings of the models' own optimizers, which schedules change."""
        for part, group in zip(self.parts, self.stacked.param_groups, strict=True):
            settings = self._settings_of(part)
            if any(other != settings[0] for other in settings):
                raise PackError("its optimizers' settings have become different")
            group.update(settings[0])

    def _settings_of(self, part: _Part) -> list[dict[str, Any]]:
        return [_settings(optimizer.param_groups[part.group]) for optimizer in self.own[part.models]]

    def step(self) -> None:
        for part in self.parts:
            for stack, leaf in zip(part.stacks, part.leaves, strict=True):
                leaf.grad = None if stack.grad is None else stack.grad[part.models]
        self.stacked.step()

    def unstack(self) -> None:
        for part in self.parts:
            for position, leaf in enumerate(part.leaves):
                state = self.stacked.state.get(leaf, {})
                for at, optimizer in enumerate(self.own[part.models]):
                    parameter = optimizer.param_groups[part.group]["params"][position]
                    if state:
                        optimizer.state[parameter] = {
                            name: value[at] if value.shape == leaf.shape else value.clone()
                            for name, value in state.items()
                        }


@dataclass(frozen=True)
class _Part:
    """Models, a slice of the pack, whose group of parameters has equal settings; the stacks, and their leaf of each."""

    group: int
    models: slice
    stacks: list[Tensor]
    leaves: list[Tensor]


class _Objective(nn.Module):
    """A method's objective as a module's `forward`, which `functional_call` asks for."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method: Any = method  # of either contract

    def forward(self, *batch: Tensor) -> Losses:
        return self.method.objective(*batch)


def _require_agreement(packed: Tensor, alone: Tensor, tolerance: float) -> None:
    """The losses [S] of the pack and of its models alone must agree but for rounding."""
    if not torch.allclose(packed, alone, rtol=tolerance, atol=tolerance, equal_nan=True):
        raise PackError(f"its losses are {packed.tolist()}, and those of its models alone {alone.tolist()}")


def _stack(named: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Name -> the tensors of all models, [S, ...], of which these become views."""
    if any(other.keys() != named[0].keys() for other in named):
        raise PackError("its models do not consist of the same parameters and buffers")
    stacks = {}
    for name, first in named[0].items():
        tensors = [other[name] for other in named]
        if any(tensor.shape != first.shape or tensor.dtype != first.dtype for tensor in tensors):
            raise PackError(f"{name} has not the same shape in all models")
        stack = torch.stack([tensor.detach() for tensor in tensors])
        for at, tensor in enumerate(tensors):
            tensor.data = stack[at]
        stacks[name] = stack.requires_grad_(first.requires_grad)
    return stacks


def _varying(methods: Sequence[Method]) -> set[tuple[str, str]]:
    """(module, attribute) of what is a float, and not the same in all models.

    Raises PackError where anything else is not, but for parameters, buffers and optimizers.
    """
    modules = [dict(method.named_modules()) for method in methods]
    kinds = [{name: type(module) for name, module in own.items()} for own in modules]
    if any(own != kinds[0] for own in kinds):
        raise PackError("its models do not consist of the same modules")
    varying = set()
    for name in modules[0]:
        attributes = [vars(own[name]) for own in modules]
        for attribute in dict.fromkeys(chain(*attributes)):
            values = [own.get(attribute) for own in attributes]
            if attribute in MODULE_INTERNALS or _are_optimizers(values[0]) or _alike(values):
                continue
            if not all(type(value) is float for value in values):
                raise PackError(f"its models differ in {name}.{attribute}".replace(" .", " "))
            varying.add((name, attribute))
    return varying


def _are_optimizers(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return bool(values) and all(isinstance(item, optim.Optimizer) for item in values)


def _alike(values: Sequence[Any]) -> bool:
    first, *others = values
    if type(first) in SCALARS:
        return all(type(value) is type(first) and value == first for value in others)
    try:
        snapshots = [capture(value, "") for value in values]
    except SnapshotError as error:
        raise PackError(str(error)) from error
    return all(
        snapshot.tree == snapshots[0].tree
        and all(torch.equal(tensor, snapshots[0].tensors[name]) for name, tensor in snapshot.tensors.items())
        for snapshot in snapshots
    )


@contextmanager
def _attributes(method: Method, values: Mapping[tuple[str, str], Tensor]) -> Iterator[None]:
    """Within its block these attributes of a method's modules have these values."""
    modules = {name: method.get_submodule(name) for name, _ in values}
    before = {(name, attribute): getattr(modules[name], attribute) for name, attribute in values}
    try:
        for (name, attribute), value in values.items():
            setattr(modules[name], attribute, value)
        yield
    finally:
        for (name, attribute), value in before.items():
            setattr(modules[name], attribute, value)


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _stack_state(states: Sequence[Mapping[str, Any]], like: Tensor) -> dict[str, Any]:
    """Of an optimizer: what has the shape of a parameter is stacked, all else must be the same for all models."""
    if any(state.keys() != states[0].keys() for state in states):
        raise PackError("its optimizers have not come equally far")
    stacked = {}
    for name, first in states[0].items():
        values = [state[name] for state in states]
        if name != "step" and isinstance(first, Tensor) and first.shape == like.shape[1:]:
            stacked[name] = torch.stack(values)
        elif all(torch.equal(torch.as_tensor(value), torch.as_tensor(first)) for value in values):
            stacked[name] = first.clone() if isinstance(first, Tensor) else first
        else:
            raise PackError(f"its optimizers have not come equally far: {name}")
    return stacked


def global_stream(device: torch.device) -> Tensor:
    """The state of torch's global generator of a device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_global_stream(state: Tensor, device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
