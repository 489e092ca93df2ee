"""`python -m bench prepare`: datasets downloaded, built and checked before anything runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from bench.errors import UserError
from bench.identity import Trial, canonical_json
from bench.options import defaults, nearest, options_of, typed
from bench.outcomes import Outcome, disk_refused, missing_row
from bench.packed_trials import run_pack
from bench.printing import Console
from bench.registry import UnknownNameError, all_datasets, find_dataset
from bench.storage.store import Store
from bench.supplies import DataFolder
from bench.sweeps import load_sweeps
from bench.training import Report
from bench.warned import warnings_noted
from datasets.base import DataError, ImageDataset, PairDataset
from datasets.cache import Entry, data_root, load_pair, load_splits, pair_entry, splits_entry, verify
from datasets.downloads import fetch, local

Wanted = tuple[str, Mapping[str, Any]]
"""A dataset's name and all its options."""


def prepare(
    names: Sequence[str],
    *,
    everything: bool = False,
    sweeps: Sequence[str] = (),
    sweeps_file: Path = Path("sweeps.toml"),
    scale: str = "quick",
    data: Path | None = None,
    check: bool = False,
    console: Console | None = None,
) -> bool:
    """Downloads and builds datasets, or with `check` compares those that are there with their checksums.

    Args:
        names: datasets, with their default options.
        everything: all datasets that are not made from folders of the user's own, with their default options.
        sweeps: sweeps of `sweeps_file`, with the options that they give their datasets at `scale`.

    Returns:
        Whether all are ready; what is wrong with the others is printed.

    Raises:
        UserError: there is nothing to prepare, or no dataset or sweep of that name.
    """
    console = console or Console()
    root = (data or data_root()).resolve()
    wanted = [*_by_name(_all_but_own_folders() if everything else names), *_of_sweeps(sweeps_file, sweeps, scale)]
    unique = {canonical_json([name, dict(options)]): (name, options) for name, options in wanted}
    if not unique:
        raise UserError("say what to prepare: names of datasets, --sweep NAME or --all")
    ready = [_prepare_one(dataset, root, check, console) for dataset in unique.values()]
    console.print(f"{sum(ready)} of {len(ready)} datasets ready in {root}", highlight=False, soft_wrap=True)
    return all(ready)


def run_prepared(
    pack: Sequence[Trial],
    store: Store,
    data_root: Path,
    reports: Sequence[Report],
    noted: Callable[[str], None],
    checkpoint_seconds: float,
    *,
    download: bool,
) -> list[Outcome]:
    """Runs the trials of a pack, see `run_pack`; with `download`, what their dataset lacks is downloaded and built.

    Processes of one machine, or that share the data folder, wait for the one that does so. noted: takes warnings too.
    """
    with warnings_noted(noted, f"{pack[0].sweep}/{pack[0].method.name}"):
        if download:
            try:
                for wanted in _of_trial(pack[0]):
                    _build(wanted, data_root)
            except Exception as error:
                refused = disk_refused(error)
                if refused or isinstance(error, DataError):
                    outcome = Outcome("lost" if refused else "failed", type(error).__name__, str(error))
                    for trial in pack:
                        if store.status(trial.sweep, trial.id) != "ok":
                            missing_row(trial, store, outcome)
                    return [outcome for _ in pack]
                # Whatever else it is, the trials will say, each in its row.
                noted(f"{pack[0].dataset.name} could not be prepared: {error}")
        return run_pack(pack, store, data_root, reports, noted, checkpoint_seconds)


def _prepare_one(wanted: Wanted, root: Path, check: bool, console: Console) -> bool:
    name, options = wanted
    schema = options_of(find_dataset(name))
    changed = " ".join(f"{key}={value}" for key, value in options.items() if value != schema[key].default)
    label = f"{name} {changed}".rstrip()
    started = time.perf_counter()
    try:
        entry = _check(wanted, root) if check else _build(wanted, root)
    except Exception as error:  # the others are to be prepared all the same
        kind = "" if isinstance(error, DataError) else f"{type(error).__name__}: "
        console.print(f"{label}: {kind}{error}", style="red", highlight=False, soft_wrap=True, markup=False)
        return False
    if not entry:
        said = "made anew by every trial, nothing of its own to check" if check else "ready, made anew by every trial"
    elif check:
        said = f"as it was built, in {entry.path}"
    else:
        said = f"ready after {time.perf_counter() - started:.1f} s, {decimal(entry.size)} in {entry.path}"
    console.print(f"{label}: {said}", highlight=False, soft_wrap=True, markup=False)
    return True


def _build(wanted: Wanted, root: Path) -> Entry | None:
    dataset, options = _construct(wanted)
    if isinstance(dataset, ImageDataset):
        load_splits(dataset, options, root, fetch)
    else:
        load_pair(dataset, options, root, DataFolder(root, fetch))
    return _entry(dataset, options, root)


def _check(wanted: Wanted, root: Path) -> Entry | None:
    dataset, options = _construct(wanted)
    entry = _entry(dataset, options, root)
    if entry:
        verify(entry)
    for file in dataset.files:
        if (root / "files" / file.name).exists():  # not needed any more, once a dataset is built
            local(file, root)
    return entry


def _construct(wanted: Wanted) -> tuple[ImageDataset | PairDataset, dict[str, Any]]:
    name, options = wanted
    cls = find_dataset(name)
    values = typed(options, options_of(cls))
    dataset = cls(**values)
    assert isinstance(dataset, ImageDataset | PairDataset)
    return dataset, values


def _entry(dataset: ImageDataset | PairDataset, options: Mapping[str, Any], root: Path) -> Entry | None:
    if isinstance(dataset, ImageDataset):
        return splits_entry(dataset, options, root)
    return pair_entry(dataset, options, root, DataFolder(root))


def _by_name(names: Iterable[str]) -> list[Wanted]:
    try:
        return [(name, defaults(options_of(find_dataset(name)))) for name in names]
    except UnknownNameError as error:
        raise UserError(str(error)) from error


def _of_sweeps(path: Path, names: Sequence[str], scale: str) -> list[Wanted]:
    """Datasets of the named sweeps, and those whose images their metrics take for outliers."""
    if not names:
        return []
    sweeps = {sweep.name: sweep for sweep in load_sweeps(path, scale)}
    unknown = [name for name in names if name not in sweeps]
    if unknown:
        raise UserError(f'{path} has no sweep "{unknown[0]}": {nearest(unknown[0], sweeps)}')
    trials = [trial for name in names for trial in sweeps[name].trials()]
    return [wanted for trial in trials for wanted in _of_trial(trial)]


def _of_trial(trial: Trial) -> list[Wanted]:
    return [(trial.dataset.name, trial.dataset.options), *_by_name(trial.outliers)]


def _all_but_own_folders() -> list[str]:
    return [name for name, cls in all_datasets().items() if not (issubclass(cls, ImageDataset) and cls().folders)]
