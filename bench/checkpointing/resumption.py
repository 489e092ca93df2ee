"""The clause of `bench.check` on checkpoints: a method that goes on from one is the one that was never stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.checkpointing.checkpoints import GlobalGenerators, stages
from bench.checkpointing.restoration import restoration
from bench.checkpointing.snapshots import SnapshotError, capture


def check_resumption(
    make: Callable[[], Any], given: Callable[[], tuple[Any, ...]], batches: Sequence[tuple[Tensor, ...]]
) -> str:
    """Trains a method, and another from half-way on; says what was compared.

    make: a new method. given: what its `prepare` takes, anew. batches: the arguments of each `train_step`.

    Raises SnapshotError where its state cannot be saved, ValueError where the two end in different states.
    """
    half = len(batches) // 2
    generators = GlobalGenerators(torch.device("cpu"))
    method, other = make(), make()
    for _ in stages(method, given(), lambda losses: list(losses or ())):
        pass
    for batch in batches[:half]:
        method.train_step(*batch)
    saved = capture({"method": method, "generators": generators}, method.name)
    for batch in batches[half:]:
        method.train_step(*batch)

    misfit: SnapshotError | None = None
    for _ in stages(other, given(), lambda losses: list(losses or ())):
        try:
            _, apply = restoration(saved, {"method": other, "generators": generators})
        except SnapshotError as error:
            misfit = error
            continue
        apply()
        break
    else:
        raise ValueError(f"one that was made and prepared alike is not: {misfit}")
    for batch in batches[half:]:
        other.train_step(*batch)

    whole, resumed = capture(method, method.name), capture(other, method.name)
    if json.dumps(whole.tree) != json.dumps(resumed.tree):
        raise ValueError("what it holds besides tensors differs after going on from a checkpoint")
    for name, tensor in whole.tensors.items():
        if not torch.equal(tensor, resumed.tensors[name]):
            raise ValueError(f"a tensor of shape {list(tensor.shape)} differs after going on from a checkpoint")
    return f"{len(whole.tensors)} tensors bitwise equal after {len(batches)} updates"
