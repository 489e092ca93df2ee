"""Metrics of several models at once, measured when the trials that differ in their seeds alone are done.

A trial leaves the arrays that such a metric needs among its artifacts. The values, one a model, go to a file of rows
of their own, which is written anew whenever the setting is made up of other trials than before.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.identity import Setting, Trial, canonical_json
from bench.measurement import array_key, metric_rows, no_value
from bench.metrics.base import Unmeasurable, all_metrics
from bench.options import typed
from bench.store import Store
from bench.trial import ACROSS_SEEDS


def measure_across_seeds(trials: Iterable[Trial], store: Store) -> None:
    """Measures what the trials' metrics ask of all seeds together, where it has not been measured on the same trials.

    Raises StoreError where rows cannot be written.
    """
    for setting, planned in _by_setting(trials).items():
        first = planned[0]
        asked = [metric for metric in first.metrics if all_metrics()[metric.name].across_seeds]
        done = [trial for trial in planned if store.status(trial.sweep, trial.id) == "ok"]
        members = {trial.id: store.stamp(trial.sweep, trial.id) for trial in done}
        if not asked or not done or store.members(first.sweep, setting) == members:
            continue
        arrays = [_load(trial, store) for trial in done]
        shared = [store.first_row(trial.sweep, trial.id) for trial in done]
        rows = [
            {**shared[model], **row}
            for metric in asked
            for split in first.splits
            for model, row in _measure(metric, split, arrays)
        ]
        store.write_rows_across(first.sweep, setting, rows, members)


def _by_setting(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """Trials that differ in their seeds alone, in order of seeds, by a hash of everything else."""
    settings = defaultdict(list)
    for trial in sorted(trials, key=lambda trial: trial.seed):
        rest = canonical_json({**trial.spec, "seed": None, "sweep": trial.sweep, "scale": trial.scale})
        settings[hashlib.sha256(rest.encode()).hexdigest()].append(trial)
    return dict(settings)


def _load(trial: Trial, store: Store) -> Mapping[str, np.ndarray]:
    """The arrays a trial has left, by `array_key`."""
    path = store.artifacts(trial.id).get(ACROSS_SEEDS)
    if path is None:
        return {}
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def _measure(
    setting: Setting, split: str, arrays: Sequence[Mapping[str, np.ndarray]]
) -> Iterable[tuple[int, dict[str, Any]]]:
    """(position of the model, metric columns of a row); a model that left no arrays has said why in its own rows."""
    metric = all_metrics()[setting.name]
    options = typed(setting.options, metric.options)
    keys = {parameter: array_key(name, options, split) for parameter, name in metric.parameters.items()}
    models = [model for model, stored in enumerate(arrays) if all(key in stored for key in keys.values())]
    if not models:
        return
    given = {parameter: [arrays[model][key] for model in models] for parameter, key in keys.items()}
    try:
        values: Mapping[str, Sequence[float | Unmeasurable]] = metric.compute(**given, **options)
    except Exception as error:
        values = {name: [no_value(error)] * len(models) for name in metric.outputs}
    count = len(next(iter(given.values()))[0])
    for position, model in enumerate(models):
        own = {name: of_all[position] for name, of_all in values.items()}
        for row in metric_rows(metric, options, own, split, count, models=len(models)):
            yield model, row
