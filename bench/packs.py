"""Which trials train as one model: those that differ in their seeds and in floats alone, where that pays.

Packed, the S models of a pack share the fixed cost of every operation. It pays where an update is short beside that: on
a GPU, which one small model leaves idle, almost always; on a CPU core only for the smallest. A sweep's `pack` says
otherwise. What is packed depends on the trials that are planned, and not on how many workers there are or what is done
already: so a sweep's numbers are the same wherever it runs.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.identity import Trial, canonical_json
from bench.options import options_of, typed
from bench.packed_training import can_pack
from bench.registry import find_dataset, find_method
from datasets.base import ImageDataset

MOST = {"cuda": 16, "cpu": 8}
"""Trials in a pack: with more, a GPU is filled, and a failure costs more."""
LEAST = {"cuda": 2, "cpu": 5}
"""Trials for which it pays: on a CPU core a batched operation takes about as long as four plain ones."""
SMALL = {"cuda": 3e10, "cpu": 2e7}
"""Floating-point operations of an update's forward pass, below which packing pays. CPU: measured, see
tests/benchmarks/bench_packs.py. GPU: an estimate, the few milliseconds in float32 that an update's launches take."""

EXAMPLES = 8
"""Of a batch on which operations are counted: more than batch norm needs."""

Pack = tuple[Trial, ...]


def packs(trials: Sequence[Trial]) -> list[Pack]:
    """All the trials, each in one pack, of one trial or several; packs in the order of their first trials."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(_key(trial) if _may_pack(trial) else trial.id + trial.sweep, []).append(trial)
    found = []
    for group in groups.values():
        count = math.ceil(len(group) / _most(group))
        size = math.ceil(len(group) / count)
        found += [tuple(group[at : at + size]) for at in range(0, len(group), size)]
    place = {trial: at for at, trial in enumerate(trials)}
    return sorted(found, key=lambda pack: place[pack[0]])


def describe(found: Sequence[Pack]) -> list[str]:
    """What is packed, in words, a line a sweep and method; nothing where nothing is."""
    sizes: dict[tuple[str, str], Counter[int]] = {}
    for pack in found:
        if len(pack) > 1:
            sizes.setdefault((pack[0].sweep, pack[0].method.name), Counter())[len(pack)] += 1
    return [
        f"{sweep}: {method} trains "
        + " and ".join(f"{count} × {size} trials as one model" for size, count in sorted(counts.items(), reverse=True))
        for (sweep, method), counts in sizes.items()
    ]


def _key(trial: Trial) -> str:
    """Equal for trials that may train as one model."""
    params = {name: "a float" if isinstance(value, float) else value for name, value in trial.method.options.items()}
    record = {**trial.to_record(), "trial_id": None, "about": None}
    record["spec"] = {**trial.spec, "seed": None, "method": [trial.method.name, trial.method.version, params]}
    return canonical_json(record)


def _may_pack(trial: Trial) -> bool:
    asked = trial.pack is None or trial.pack > 1
    # Early stopping ends each at a step of its own; a limit of memory is one trial's; compilers know no batched models.
    alike = trial.budget.patience is None and trial.resources.memory_gb is None and not trial.compile
    return asked and alike and can_pack(find_method(trial.method.name))


def _most(group: Sequence[Trial]) -> int:
    """The most of these trials, which may train as one model, in a pack; 1 where packing does not pay."""
    trial = group[0]
    if trial.pack is not None:
        return trial.pack
    device = "cuda" if trial.resources.gpus else "cpu"
    if len(group) < LEAST[device]:
        return 1
    method, dataset = trial.method, trial.dataset
    operations = _operations(
        method.name, canonical_json(dict(method.options)), dataset.name, canonical_json(dict(dataset.options))
    )
    return MOST[device] if trial.budget.batch_size * operations < SMALL[device] else 1


@cache
def _operations(method: str, params: str, dataset: str, options: str) -> float:
    """Floating-point operations of the objective's forward pass, an example; infinite where that cannot be told."""
    for device in ("meta", "cpu"):  # without the numbers where that is possible, for speed
        with suppress(Exception), torch.random.fork_rng(devices=[]):  # of whatever kind: the trial itself will say
            return _count(find_method(method), json.loads(params), find_dataset(dataset), json.loads(options), device)
    return math.inf


def _count(method: Any, params: Mapping[str, Any], dataset: Any, options: Mapping[str, Any], device: str) -> float:
    with torch.device(device), FlopCounterMode(display=False) as counter:
        data = dataset(**typed(options, options_of(dataset)))
        is_images = isinstance(data, ImageDataset)
        shape = data.image_shape if is_images else data.image_shape or data.dim
        model = method(shape, **typed(params, options_of(method)))
        model.objective(*([torch.rand(EXAMPLES, *shape)] if is_images else [torch.randn(EXAMPLES, data.dim)] * 2))
    return counter.get_total_flops() / EXAMPLES
