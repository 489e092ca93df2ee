"""Built datasets on this machine, as read-only memory maps.

    <root>/datasets/<name>/<key>/          one built dataset: manifest.json and <array>.npy

The key is a hash of what the arrays follow from: name, version (which is to be raised when their making changes),
options and checksums of the files. An entry is built under a lock in a temporary folder and renamed when whole, so a
reader never sees half of one and processes that start together build it once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from datasets.base import SPLITS, DataError, Dataset, ImageDataset, ImageSplit, PairDataset, Supplies
from datasets.downloads import MOVE_ELSEWHERE, GetFile, by_hand, local, locked, unfinished, writing
from datasets.root import data_root as data_root

MANIFEST = "manifest.json"


def load_splits(
    dataset: ImageDataset, options: Mapping[str, Any], root: Path, get_file: GetFile = local
) -> dict[str, ImageSplit]:
    """The splits "train", "validation" and "test" of a dataset, memory-mapped and read-only; built if need be.

    Args:
        dataset: the instance made with `options`.
        options: every option it was constructed with, defaults included.
        root: see `data_root`.
        get_file: whether files may be downloaded (`fetch`) or must be there (`local`).

    Raises:
        DataError: a file or folder cannot be had, or the cache cannot be written.
    """
    files: dict[str, Path] = {}

    def collect() -> None:
        files.update({file.name: get_file(file, root) for file in dataset.files})

    def build() -> dict[str, np.ndarray]:
        folders = {folder: root / "folders" / folder for folder in dataset.folders}
        try:
            splits = dataset.build({**files, **folders})
        except DataError as error:
            concerned = [by_hand(file, root) for file in dataset.files if file.name in str(error)]
            raise DataError(". ".join([str(error).removesuffix("."), *concerned])) from error
        made = {
            (split, field.name): getattr(splits[split], field.name) for split in SPLITS for field in fields(ImageSplit)
        }
        return {f"{split}-{name}": array for (split, name), array in made.items() if array is not None}

    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in SPLITS}
    for name, array in remember(splits_entry(dataset, options, root), build, collect).items():
        split, _, field_name = name.partition("-")
        found[split][field_name] = array
    return {name: ImageSplit(**arrays) for name, arrays in found.items()}


def load_pair(dataset: PairDataset, options: Mapping[str, Any], root: Path, supplies: Supplies) -> None:
    """Hands a pair of distributions its arrays, built if need be and kept where the dataset wants that.

    Args:
        dataset: the instance made with `options`.
        options: every option it was constructed with, defaults included.
        root: see `data_root`.
        supplies: what `dataset.build` may ask for.

    Raises:
        DataError: a file cannot be had, or the cache cannot be written.
    """
    entry = pair_entry(dataset, options, root, supplies)

    def build() -> Mapping[str, np.ndarray]:
        return dataset.build(supplies)

    def collect() -> None:
        for file in dataset.files:
            supplies.file(file)

    dataset.load(remember(entry, build, collect) if entry else build())


@dataclass(frozen=True)
class Entry:
    """The place of built arrays: in `folder`, under the hash of everything they follow from."""

    identity: Mapping[str, Any]
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def size(self) -> int:
        """Bytes on disk; 0 where there is nothing."""
        return sum(file.stat().st_size for file in self.path.glob("*"))


def splits_entry(dataset: ImageDataset, options: Mapping[str, Any], root: Path) -> Entry:
    """Where the splits of a dataset are, or will be; arguments as for `load_splits`."""
    own = {folder: _contents(root / "folders" / folder) for folder in dataset.folders}
    identity = {**_identity(dataset, options), **({"folders": own} if own else {})}
    return Entry(identity, root / "datasets" / dataset.name)


def pair_entry(dataset: PairDataset, options: Mapping[str, Any], root: Path, supplies: Supplies) -> Entry | None:
    """Where the arrays of a pair are, or will be, None where none are kept; arguments as for `load_pair`."""
    if not dataset.cached or type(dataset).build is PairDataset.build:
        return None
    made_from = {"ingredients": dict(dataset.ingredients()), "parts": dict(supplies.versions(dataset.parts))}
    return Entry({**_identity(dataset, options), **made_from}, root / "datasets" / dataset.name)


def remember(
    entry: Entry, build: Callable[[], Mapping[str, np.ndarray]], collect: Callable[[], None] = lambda: None
) -> dict[str, np.ndarray]:
    """Arrays by name, memory-mapped and read-only: those of an entry, built first if need be.

    Args:
        build: makes them, under the entry's lock.
        collect: what `build` needs; called before there is a lock, which a folder that cannot be written does not give.

    Raises:
        DataError: the cache cannot be written, or what `build` and `collect` raise.
    """
    arrays = _open(entry)
    if arrays is not None:
        return arrays
    collect()
    with locked(entry.path):
        arrays = _open(entry)  # another process may have built it while this one waited
        if arrays is None:
            _write(entry, build())
            arrays = _open(entry)
    if arrays is None:
        raise DataError(f"{entry.path} was written but cannot be read back; is the disk sound? {MOVE_ELSEWHERE}")
    return arrays


def verify(entry: Entry) -> None:
    """Compares every array of an entry with the checksum it was built with.

    Raises:
        DataError: there is no whole entry, or an array has changed since.
    """
    arrays = _open(entry)
    if arrays is None:
        raise DataError(f"{entry.path} is missing or incomplete: prepare it without --verify")
    facts = json.loads((entry.path / MANIFEST).read_text())["arrays"]
    changed = [name for name, array in arrays.items() if array_sha256(array) != facts[f"{name}.npy"]["sha256"]]
    if changed:
        raise DataError(f"{', '.join(changed)} in {entry.path} changed since they were built: delete that folder")


def files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder and its subfolders, links followed, in no certain order."""
    for parent, _, names in os.walk(folder, followlinks=True):
        yield from (Path(parent) / name for name in names)


def array_sha256(array: np.ndarray) -> str:
    """SHA-256 of an array's elements in C order, as it stands in manifests."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


# Built arrays


def _identity(dataset: Dataset, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "version": dataset.version,
        "options": dict(options),
        "files": {file.name: file.sha256 or file.git_blob or file.md5 for file in dataset.files},
    }


def _contents(folder: Path) -> str:
    """A hash of the names, sizes and times of a folder's files: reading gigabytes at every start would take too long.

    Raises DataError where there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: make it and put the images there, or link to where they are")
    stats = sorted((path.relative_to(folder).as_posix(), path.stat()) for path in files_below(folder))
    facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _write(entry: Entry, built: Mapping[str, np.ndarray]) -> None:
    """Writes a whole entry in place of whatever is there; the caller holds its lock."""
    part = unfinished(entry.path)
    with writing(entry.path):
        try:
            shutil.rmtree(part, ignore_errors=True)  # of a build that was killed
            part.mkdir()
            facts = {}
            for name, array in built.items():
                path = part / f"{name}.npy"
                _save(path, array)
                facts[path.name] = {
                    "shape": array.shape,
                    "dtype": str(array.dtype),
                    "bytes": path.stat().st_size,
                    "sha256": array_sha256(array),
                }
            (part / MANIFEST).write_text(json.dumps({**entry.identity, "arrays": facts}, indent=2) + "\n")
            if _open(entry) is None:
                shutil.rmtree(entry.path, ignore_errors=True)  # damaged
            part.rename(entry.path)
        except OSError:
            if _open(entry) is None:  # else another machine, which the lock did not reach, was faster
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        # Not as a file of the operating system's, to which NumPy writes and hides what the disk says.
        np.lib.format.write_array(SimpleNamespace(write=file.write), array, allow_pickle=False)


def _open(entry: Entry) -> dict[str, np.ndarray] | None:
    """The arrays of an entry, or None where it is missing or damaged.

    Sizes are compared, not checksums: reading gigabytes at every start would defeat the memory map.
    """
    try:
        manifest = json.loads((entry.path / MANIFEST).read_text())
        found: dict[str, np.ndarray] = {}
        for file_name, facts in manifest.pop("arrays").items():
            file = entry.path / file_name
            array = np.load(file, mmap_mode="r", allow_pickle=False)
            if (file.stat().st_size, list(array.shape), str(array.dtype)) != (
                facts["bytes"],
                facts["shape"],
                facts["dtype"],
            ):
                return None
            found[file.stem] = array
        return found if manifest == json.loads(json.dumps(entry.identity)) else None
    except Exception:  # what is damaged can be anything
        return None
