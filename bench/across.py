"""Metrics of several models at once, measured when trials that differ in their seeds alone are done.

A trial leaves the arrays that such a metric needs among its artifacts. The values, one a model, go to a file of rows
of their own, which is written anew whenever the setting is made up of other trials than before, and counts only as
long as these are the setting's rows.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from bench.environment import reproducible
from bench.identity import Setting, Trial, canonical_json
from bench.measurement import array_key, metric_rows, no_value
from bench.metrics.base import Unmeasurable, all_metrics
from bench.options import typed
from bench.storage.store import Store
from bench.trial import ACROSS_SEEDS

Arrays = Mapping[str, np.ndarray]
"""What a trial has left, by `array_key`."""


def measure_across_seeds(trials: Sequence[Trial], store: Store) -> None:
    """Measures what the settings of these trials ask of all seeds together, on every seed that has an ok row.

    Seeds that were run before count, whether or not they are among these trials.

    Raises StoreError where rows cannot be written.
    """
    wanted = {_setting(trial) for trial in trials if _asked(trial)}
    if not wanted:
        return
    known = {(trial.sweep, trial.id): trial for trial in [*recorded_trials(store), *trials]}
    settings: dict[str, list[Trial]] = defaultdict(list)
    for trial in sorted(known.values(), key=lambda trial: trial.seed):
        settings[_setting(trial)].append(trial)
    for setting in sorted(wanted):
        of_setting = settings[setting]
        done = [trial for trial in of_setting if store.status(trial.sweep, trial.id) == "ok"]
        members = {trial.id: store.fingerprint(trial.sweep, trial.id) for trial in done}
        sweep = of_setting[0].sweep
        if not done:
            store.drop_rows_across(sweep, setting)
        elif store.members(sweep, setting) != members:
            with reproducible(done[0].resources.cpus):
                rows = list(_rows(done, store))
            store.write_rows_across(sweep, setting, rows, members)


def _asked(trial: Trial) -> list[Setting]:
    return [metric for metric in trial.metrics if all_metrics()[metric.name].across_seeds]


def _setting(trial: Trial) -> str:
    """A hash of all that decides a trial's numbers but its seed; those of two sweeps are apart."""
    rest = canonical_json({**trial.spec, "seed": None, "sweep": trial.sweep})
    return hashlib.sha256(rest.encode()).hexdigest()


def recorded_trials(store: Store) -> Iterator[Trial]:
    """The trials the store knows of, from plans and rows, at versions of metrics that there still are."""
    for (_, trial_id), record in store.read().trials.items():
        with suppress(KeyError, TypeError, ValueError):  # a record of another version of the harness
            trial = Trial.from_record(record)
            if trial.id == trial_id and all(metric.name in all_metrics() for metric in trial.metrics):
                yield trial


def _rows(trials: Sequence[Trial], store: Store) -> Iterator[dict[str, Any]]:
    own = [store.trial_rows(trial.sweep, trial.id) for trial in trials]
    arrays = [_load(trial, store) for trial in trials]
    for metric in _asked(trials[0]):
        outputs = all_metrics()[metric.name].outputs
        for split in trials[0].splits:
            told = [any(row["metric"] in outputs and row["split"] == split for row in rows) for rows in own]
            for model, row in _measure(metric, split, arrays):
                if not told[model]:  # a trial that could not make the arrays has said why
                    yield {**own[model][0], **row}


def _load(trial: Trial, store: Store) -> Arrays:
    """Empty where the file is missing or damaged."""
    path = store.artifacts(trial.id).get(ACROSS_SEEDS)
    try:
        with np.load(path or "", allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}


def _measure(setting: Setting, split: str, arrays: Sequence[Arrays]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(position of the model, metric columns of a row), for every model."""
    metric = all_metrics()[setting.name]
    options = typed(setting.options, metric.options)
    keys = {parameter: array_key(setting, split, parameter) for parameter in metric.parameters}
    models = [model for model, stored in enumerate(arrays) if all(key in stored for key in keys.values())]
    given = {parameter: [arrays[model][key] for model in models] for parameter, key in keys.items()}
    try:
        found = metric.compute(**given, **options) if models else {}
        values = [{name: of_all[position] for name, of_all in found.items()} for position in range(len(models))]
    except Exception as error:
        values = [dict.fromkeys(metric.outputs, no_value(error))] * len(models)
    count = len(next(iter(given.values()))[0]) if models else None
    lost = dict.fromkeys(metric.outputs, Unmeasurable(f"{ACROSS_SEEDS} is not among the trial's artifacts, or damaged"))
    for model in range(len(arrays)):
        own = values[models.index(model)] if model in models else lost
        for row in metric_rows(metric, options, own, split, count, models=len(models)):
            yield model, row
