"""Trials that results have on record: found by their ids, and whether the code still gives their numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from bench.across import recorded_trials
from bench.errors import UserError
from bench.identity import Setting, Trial
from bench.metrics.base import all_metrics
from bench.options import options_of
from bench.registry import UnknownNameError, find_dataset, find_method, is_plug_in, part_versions
from bench.storage.store import Store


def find_recorded(prefix: str, scale: str, store: Store, named: Collection[str]) -> list[Trial]:
    """The trials on record at this scale whose ids begin with `prefix`, planned by a sweeps.toml or not.

    named: the plug-ins that the user names, see `changes_since`.

    Raises UserError where the code has changed since: what ran now would be another trial.
    """
    found = [trial for trial in recorded_trials(store) if trial.scale == scale and trial.id.startswith(prefix)]
    for trial in found:
        if changes := changes_since(trial, named):
            raise UserError(f"{trial.id[:16]} is on record in {store.root} and cannot run again: {'; '.join(changes)}")
    return found


def changes_since(trial: Trial, named: Collection[str] = ()) -> list[str]:
    """What the code no longer has as the trial was recorded with, a sentence each: its numbers would not be the same.

    Looks at names, options and versions of method, dataset (and its parts) and metrics.

    named: the plug-ins that the user names. No other is imported: results may come from anyone, and a record could
    name whatever lies on this machine.
    """
    if is_plug_in(trial.method.name) and trial.method.name not in named:
        name = trial.method.name
        return [f'"{name}" is a plug-in, imported only if sweeps.toml names it, or for verify --plug-in {name}']
    found: list[str] = []
    try:
        method = find_method(trial.method.name)
        found += _version_change("method", trial.method, method.version)
        found += [f"method {trial.method.name} has no option {o}" for o in _gone(trial.method, options_of(method))]
    except UnknownNameError as error:
        found.append(str(error))
    try:
        dataset = find_dataset(trial.dataset.name)
        found += _version_change("dataset", trial.dataset, dataset.version)
        found += [f"dataset {trial.dataset.name} has no option {o}" for o in _gone(trial.dataset, options_of(dataset))]
        parts = part_versions(trial.dataset.parts)
        for name, version in trial.dataset.parts.items():
            found += _version_change("part of the dataset", Setting(name, {}, version), parts[name])
    except UnknownNameError as error:
        found.append(str(error))
    for metric in trial.metrics:
        known = all_metrics().get(metric.name)
        if known is None:
            found.append(f'no metric "{metric.name}"')
        else:
            found += _version_change("metric", metric, known.version)
            found += [f"metric {metric.name} has no option {o}" for o in _gone(metric, known.options)]
    return found


def _version_change(what: str, recorded: Setting, now: int) -> Iterator[str]:
    if recorded.version != now:
        yield f"{what} {recorded.name} was version {recorded.version} and is now {now}"


def _gone(recorded: Setting, options: Mapping[str, object]) -> list[str]:
    return sorted(recorded.options.keys() - options.keys())
