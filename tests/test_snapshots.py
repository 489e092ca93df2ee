"""Whatever a method may hold comes back from JSON and tensors, in place; what cannot be saved is named."""

from __future__ import annotations

import json
import math
import random
from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.checkpointing.restoration import restoration
from bench.checkpointing.snapshots import Snapshot, SnapshotError, capture

Pair = namedtuple("Pair", ["left", "right"])


@dataclass(frozen=True)
class Frozen:
    rate: float


@dataclass
class Average:
    values: list[float] = field(default_factory=list)
    best: float = math.inf


def counter(start: int) -> Any:
    count = start

    def step() -> int:
        nonlocal count
        count += 1
        return count

    return step


class Everything(nn.Module):
    """Holds something of every kind."""

    layer: Any
    scratch: Any

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))
        self.norm = nn.BatchNorm1d(2)
        self.optimizers = [torch.optim.Adam(self.layer.parameters()), torch.optim.SGD(self.norm.parameters(), lr=0.1)]
        self.optimizer = self.optimizers[0]
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 10)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizers[1], patience=0)
        self.memory = torch.optim.LBFGS([nn.Parameter(torch.ones(2))])
        self.running = torch.zeros(2)
        self.scratch = nn.Buffer(torch.zeros(1), persistent=False)
        self.streams = (torch.Generator(), np.random.default_rng(0), np.random.RandomState(0), random.Random(0))
        self.average = Average()
        self.frozen = Frozen(0.5)
        self.count = counter(0)
        self.bound = self.average.values.append
        self.partial = partial(math.log, 2)
        self.recent: deque[int] = deque(maxlen=3)
        self.seen: set[int] = set()
        self.by_name: dict[Any, Any] = defaultdict(list)
        self.ordered = OrderedDict(a=1)
        self.pair = Pair(torch.zeros(1), 0)
        self.array = np.zeros(3)
        self.device = torch.device("cpu")
        self.none: Any = None
        self.alias = self.layer

    def step(self) -> Tensor:
        """Changes all of it."""
        stream, generator, legacy, plain = self.streams
        draws = torch.randn(4, 3, generator=stream) + generator.normal() + legacy.normal() + plain.random()
        loss = self.norm(self.layer(draws)).square().sum()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.schedule.step()
        self.plateau.step(loss.item())
        point = self.memory.param_groups[0]["params"][0]

        def closure() -> float:
            point.grad = 2 * point.detach()
            return float(point.detach().square().sum())

        self.memory.step(closure)
        self.running = self.running + 1
        self.scratch += 1
        self.average.values.append(loss.item())
        self.average.best = min(self.average.best, loss.item())
        number = self.count()
        self.recent.append(number)
        self.seen.add(number)
        self.by_name["losses", number].append(loss.detach())
        self.ordered["b"] = number
        self.pair = Pair(self.pair.left + 1, number)
        self.array += number
        self.none = {"grown": [(1, 2.5, "x"), math.nan, frozenset({1})]}
        return loss.detach()


def through_json(snapshot: Snapshot) -> Snapshot:
    return Snapshot(json.loads(json.dumps(snapshot.tree)), snapshot.tensors)


def test_whatever_a_method_holds_goes_on_as_if_nothing_had_happened() -> None:
    torch.manual_seed(0)
    one = Everything()
    for _ in range(3):
        one.step()
    saved = through_json(capture(one, "method"))
    expected = [one.step() for _ in range(3)]

    torch.manual_seed(1)
    other = Everything()
    _, apply = restoration(saved, other)
    apply()
    assert [other.step() for _ in range(3)] == expected
    whole, resumed = capture(one, "method"), capture(other, "method")
    assert json.dumps(whole.tree) == json.dumps(resumed.tree)
    assert all(torch.equal(tensor, resumed.tensors[name]) for name, tensor in whole.tensors.items())


def test_what_others_hold_is_changed_in_place() -> None:
    one, other = Everything(), Everything()
    one.step()
    held = other.layer.parametrizations.weight.original, other.average.values, other.streams[0], other.optimizers
    _, apply = restoration(through_json(capture(one, "method")), other)
    apply()
    after = other.layer.parametrizations.weight.original, other.average.values, other.streams[0], other.optimizers
    assert all(one is other for one, other in zip(held, after, strict=True))
    assert other.alias is other.layer
    assert other.optimizer is other.optimizers[0]
    other.bound(7.0)
    assert other.average.values[-1] == 7.0


def test_nothing_is_changed_where_something_is_missing() -> None:
    class Prepared(Everything):
        def prepare(self) -> None:
            self.late = torch.optim.Adam(self.norm.parameters())

    one, other = Prepared(), Prepared()
    one.step()
    one.prepare()
    saved = through_json(capture(one, "method"))
    before = capture(other, "method")
    with pytest.raises(SnapshotError, match=r"late is not there as a torch\.optim\.adam\.Adam"):
        restoration(saved, other)
    after = capture(other, "method")
    assert json.dumps(before.tree) == json.dumps(after.tree)
    assert all(torch.equal(tensor, after.tensors[name]) for name, tensor in before.tensors.items())
    other.prepare()
    _, apply = restoration(saved, other)
    apply()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (iter([1, 2]), "list_iterator"),
        ((i for i in range(3)), "generator"),
        (torch.ones(1, requires_grad=True) * 2, "gradient graph"),
        (torch.ones(2, 2).to_sparse(), "layout"),
        (np.array([object()]), "array of another kind"),
        (open(__file__, "rb"), "BufferedReader"),  # noqa: SIM115  # an open file is what cannot be saved
    ],
    ids=["iterator", "generator", "graph", "sparse", "objects", "file"],
)
def test_what_cannot_be_saved_is_named(value: Any, words: str) -> None:
    method: Any = nn.Linear(1, 1)
    method.inner = nn.Module()
    method.inner.odd = [0, {"here": value}]
    with pytest.raises(SnapshotError, match=words) as raised:
        capture(method, "shift")
    assert str(raised.value).startswith("shift.inner.odd[1]['here']")


def test_an_optimizer_of_other_parameters_does_not_fit() -> None:
    def method(order: int) -> nn.Module:
        made: Any = nn.Linear(2, 2)
        made.optimizer = torch.optim.Adam(list(made.parameters())[::order])
        return made

    with pytest.raises(SnapshotError, match=r"optimizer is of other parameters"):
        restoration(through_json(capture(method(1), "method")), method(-1))


def test_parameters_of_another_shape_do_not_fit() -> None:
    with pytest.raises(SnapshotError, match="not a parameter of shape"):
        restoration(through_json(capture(nn.Linear(2, 2), "method")), nn.Linear(3, 2))
