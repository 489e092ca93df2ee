"""Files and arrays on this machine: downloads checked by their hashes, and built datasets as read-only memory maps.

    <root>/files/<file>                    what datasets need from elsewhere, downloaded or placed by hand
    <root>/datasets/<name>/<key>/          one built dataset: manifest.json and <array>.npy

The key is a hash of everything the arrays follow from: name, version, options, checksums of the files, and the code
of the dataset's module. An entry is built under a lock in a temporary folder and renamed when whole, so a reader
never sees half of one and processes that start together build it once.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from datasets.base import SPLITS, Dataset, ImageDataset, ImageSplit, PairDataset, RemoteFile, Supplies

CHUNK = 1 << 20
TIMEOUT_SECONDS = 60
MOVE_ELSEWHERE = "Set BENCH_DATA to a folder that can be written and has room."


class DataError(Exception):
    """Data cannot be had or kept; the message says what, where and what to do."""


def data_root() -> Path:
    """The folder of all data: the environment variable BENCH_DATA, else ~/.cache/ot-bench."""
    return Path(os.environ.get("BENCH_DATA") or Path.home() / ".cache" / "ot-bench").expanduser()


def load_splits(dataset: ImageDataset, options: Mapping[str, Any], root: Path) -> dict[str, ImageSplit]:
    """The splits "train", "validation" and "test" of a dataset, memory-mapped and read-only; built if need be.

    Args:
        dataset: the instance made with `options`.
        options: every option it was constructed with, defaults included.
        root: see `data_root`.

    Raises:
        DataError: a file cannot be had, or the cache cannot be written.
    """

    def build() -> dict[str, np.ndarray]:
        splits = dataset.build({file.name: fetch(file, root) for file in dataset.files})
        made = {
            (split, field.name): getattr(splits[split], field.name) for split in SPLITS for field in fields(ImageSplit)
        }
        return {f"{split}-{name}": array for (split, name), array in made.items() if array is not None}

    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in SPLITS}
    for name, array in remember(_identity(dataset, options), build, root / "datasets" / dataset.name).items():
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
    if dataset.cached and type(dataset).build is not PairDataset.build:
        identity = {
            **_identity(dataset, options),
            "ingredients": dict(dataset.ingredients()),
            "parts": dict(supplies.versions(dataset.parts)),
        }
        dataset.load(remember(identity, lambda: dataset.build(supplies), root / "datasets" / dataset.name))
    else:
        dataset.load(dataset.build(supplies))


def remember(
    identity: Mapping[str, Any], build: Callable[[], Mapping[str, np.ndarray]], folder: Path
) -> dict[str, np.ndarray]:
    """Arrays by name, memory-mapped and read-only: those in `folder` of the same identity, else what `build` makes.

    Raises:
        DataError: the cache cannot be written, or what `build` raises.
    """
    entry = folder / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    arrays = _open(entry)
    if arrays is not None:
        return arrays
    with _locked(entry):
        arrays = _open(entry)  # another process may have built it while this one waited
        if arrays is None:
            _write(entry, identity, build())
            arrays = _open(entry)
    if arrays is None:
        raise DataError(f"{entry} was written but cannot be read back; is the disk sound? {MOVE_ELSEWHERE}")
    return arrays


def fetch(file: RemoteFile, root: Path) -> Path:
    """The local path of a file with the right checksum: the one already in <root>/files, else downloaded there.

    Raises:
        DataError: the address cannot be reached, or what is there or arrives is another file.
    """
    path = root / "files" / file.name
    if not path.exists():
        with _locked(path):
            if not path.exists():  # another process may have fetched it while this one waited
                _download(file, path)
    elif (found := _checksum(path, file)) != file.checksum:
        raise DataError(f"{path} has {found}: delete it to download it again. {_by_hand(file, path)}")
    return path


def array_sha256(array: np.ndarray) -> str:
    """SHA-256 of an array's elements in C order, as it stands in manifests."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


# Built arrays


def _identity(dataset: Dataset, options: Mapping[str, Any]) -> dict[str, Any]:
    code = Path(inspect.getfile(type(dataset))).read_bytes()
    return {
        "dataset": dataset.name,
        "version": dataset.version,
        "options": dict(options),
        "files": {file.name: file.sha256 or file.git_blob or file.md5 for file in dataset.files},
        "code": hashlib.sha256(code).hexdigest(),
        "license": dataset.license,
        "citation": dataset.citation,
    }


def _write(entry: Path, identity: Mapping[str, Any], built: Mapping[str, np.ndarray]) -> None:
    """Writes a whole entry in place of whatever is there; the caller holds its lock."""
    unfinished = entry.with_name(f".{entry.name}.unfinished")
    with _writing(entry):
        try:
            shutil.rmtree(unfinished, ignore_errors=True)  # of a build that was killed
            unfinished.mkdir()
            facts = {}
            for name, array in built.items():
                path = unfinished / f"{name}.npy"
                np.save(path, array)
                facts[path.name] = {
                    "shape": array.shape,
                    "dtype": str(array.dtype),
                    "bytes": path.stat().st_size,
                    "sha256": array_sha256(array),
                }
            (unfinished / "manifest.json").write_text(json.dumps({**identity, "arrays": facts}, indent=2) + "\n")
            if entry.exists():
                shutil.rmtree(entry)
            unfinished.rename(entry)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _open(entry: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an entry, or None where it is missing or damaged.

    Sizes are compared, not checksums: reading gigabytes at every start would defeat the memory map.
    """
    try:
        manifest = json.loads((entry / "manifest.json").read_text())
        found: dict[str, np.ndarray] = {}
        for file_name, facts in manifest["arrays"].items():
            path = entry / file_name
            if path.stat().st_size != facts["bytes"]:
                return None
            array = np.load(path, mmap_mode="r")
            if list(array.shape) != facts["shape"]:
                return None
            found[path.stem] = array
        return found
    except (OSError, ValueError, KeyError, TypeError):
        return None


# Downloads


def _download(file: RemoteFile, path: Path) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with _writing(path):
            with unfinished.open("wb") as out:
                out.writelines(_chunks(file, path))
            if (found := _checksum(unfinished, file)) != file.checksum:
                what = f"{unfinished.stat().st_size:,} bytes with {found} arrived"
                if _is_web_page(unfinished):
                    what = "a web page arrived instead of the file (a login, a quota, or a page that has moved)"
                raise DataError(f"cannot download {file.name}: {what}. {_by_hand(file, path)}")
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _chunks(file: RemoteFile, path: Path) -> Iterator[bytes]:
    """What the address sends, with progress on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    try:
        with (
            urllib.request.urlopen(file.url, timeout=TIMEOUT_SECONDS) as response,
            Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress,
        ):
            length = response.headers.get("Content-Length")
            task = progress.add_task(file.name, total=int(length) if length else None)
            while chunk := response.read(CHUNK):
                progress.advance(task, len(chunk))
                yield chunk
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"cannot download {file.name}: {reason}. {_by_hand(file, path)}") from error


def _by_hand(file: RemoteFile, path: Path) -> str:
    return (
        f"To place it by hand, get {file.url} ({file.checksum}) "
        f'and put it in the folder {path.parent} under the name "{path.name}".'
    )


def _is_web_page(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html"))


def _checksum(path: Path, file: RemoteFile) -> str:
    """What `file.checksum` should be, of what is at `path`."""
    with path.open("rb") as stream:
        if file.sha256:
            return f"SHA-256 {hashlib.file_digest(stream, 'sha256').hexdigest()}"
        if file.md5:
            return f"MD5 {hashlib.file_digest(stream, 'md5').hexdigest()}"
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
        return f"git blob {digest.hexdigest()}"


# Both


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the operating system frees the lock of a process that dies."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with _writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns what the file system refuses into a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}. {MOVE_ELSEWHERE}") from error
