"""Results on any file system that pyarrow knows, such as s3://bucket/results, behind a folder of this machine.

The folder is a whole results folder, so whatever reads or writes one works as it does elsewhere. What is written goes
there first and is then sent; what others have sent is brought by `pull`. A file that could not be sent stays, and is
sent by the next run on this machine. Credentials are those that the environment gives to pyarrow.

    <mirror>/.url              where it is a mirror of
    <mirror>/.sent/<path>      which version there a file here is the same as
    <mirror>/.unsent/<path>    what could not be sent, and why

Copies for fast reading (compact/) are of this machine, and not sent. Needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from bench.storage.files import replacing
from bench.storage.reading import sweep_folders
from bench.storage.store import Store, StoreError
from datasets.root import data_root

PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before a request that failed is repeated; after the last it counts as failed. pyarrow repeats some before."""
AT_ONCE = 16
"""Files that are sent or brought at once: what takes time is waiting."""
WHOLE_AT_ONCE = ("s3", "gcs", "abfs")
"""File systems on which a file appears when it is whole; on others it is written under another name and moved."""
OF_THIS_MACHINE = ("compact", "quarantine")

Answer = TypeVar("Answer")


def open_store(results: Path | str) -> Store:
    """The results in a folder, or at a URL.

    Raises StoreError for a URL that pyarrow cannot open, or that holds credentials.
    """
    if "://" in str(results):
        return MirrorStore(str(results))
    url = mirror_url(Path(results))
    return Store(results) if url is None else MirrorStore(url)


def mirror_url(results: Path) -> str | None:
    """The URL that a folder is this machine's mirror of; None for others, which must not say what to connect to."""
    url = results.resolve() / ".url"
    return url.read_text() if url.parent.parent == _mirrors() and url.is_file() else None


def local_results(results: Path | str) -> Path:
    """The folder of results, with all that there is at the moment where they lie elsewhere. Raises StoreError."""
    store = open_store(results)
    store.pull()
    return store.root


class MirrorStore(Store):
    """Results at a URL, and the folder of this machine that is like them."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.filesystem, self.base = _connect(self.url)
        name = re.sub(r"[^A-Za-z0-9]+", "-", self.base).strip("-")[-40:]
        super().__init__(_mirrors() / f"{name}-{hashlib.sha256(self.url.encode()).hexdigest()[:16]}")
        if not (self.root / ".url").exists():
            _write(self.root / ".url", self.url)

    @property
    def location(self) -> str:
        return self.url

    def mark(self) -> str | None:
        return None  # each machine has its own folder

    def check_writable(self) -> None:
        super().check_writable()
        probe = f"{self.base}/.writable"
        try:
            _again(lambda: self._upload(b"", probe))
            with suppress(FileNotFoundError):  # another run that starts may have been faster
                _again(lambda: self.filesystem.delete_file(probe))
        except OSError as error:
            raise StoreError(f"results cannot be written to {self.url}: {_said(error)}") from error

    def written(self, path: Path) -> None:
        """Sends a file, or all files of a folder and nothing else; what cannot be sent is noted, see `unsent`.

        Rows of a trial that is not ok give way to those that another machine has sent since these were last looked at.
        """
        if not path.is_dir():
            name = self._name(path)
            if name.startswith("rows/") and not self._outranks(name):
                self._send_unless_newer(name)
            else:
                self._send(name)
            return
        names = {self._name(file) for file in _files(path)}
        if not names:
            return  # another process of this machine is replacing it, and sends that
        _at_once(self._send, names)
        for name in self._listing(self._name(path)).keys() - names:
            self.removed(self.root / name)

    def removed(self, path: Path) -> None:
        name = self._name(path)
        try:
            _again(lambda: self.filesystem.delete_file(f"{self.base}/{name}"))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._note_unsent(name, error)
            return
        self._forget(name)

    def pull(self) -> None:
        """Brings what others have sent, removes what they have removed, and sends what could not be sent before.

        Raises StoreError where the URL does not answer.
        """
        there = self._listing()
        here = {self._name(path) for path in _files(self.root)}
        names = {name for name in there.keys() | here if _is_ours(name)}
        rows = {name for name in names if name.startswith("rows/")}
        for some in (names - rows, rows):  # rows last: a trial with rows has everything else
            _at_once(lambda name: self._settle(name, there.get(name)), sorted(some))

    def fetch(self, sweep: str, trial_id: str) -> None:
        """Brings the rows and the checkpoint of one trial, and sends what could not be sent before."""
        of_trial = {f"rows/{sweep}/{trial_id}.parquet", f"checkpoints/{sweep}/{trial_id}.safetensors"}
        names = sorted(self._unsent().keys() | of_trial)
        for name, info in zip(names, self._infos(names), strict=True):
            self._settle(name, info)

    def unsent(self) -> str | None:
        """Says so where files could not be sent."""
        noted = self._unsent()
        if not noted:
            return None
        return (
            f"{len(noted)} files could not be sent to {self.url} ({noted[min(noted)]}); they are kept in "
            f"{self.root}, and the same command sends them"
        )

    # One file

    def _settle(self, name: str, there: fs.FileInfo | None) -> None:
        """Makes a file the same here and there."""
        path, seen = self.root / name, self._seen(name)
        stamp = _stamp(path)
        changed = stamp is not None and (seen is None or seen[1] != stamp)
        if there is None:
            if changed:
                self._send(name)
            elif stamp is not None and self._infos([name])[0] is None:  # it was there, and others have removed it
                path.unlink(missing_ok=True)
                self._forget(name)
        elif seen is None or seen[0] != _version(there):
            if changed and self._outranks(name):
                self._send(name)
            else:
                self._bring(name, there)
        elif changed:
            self._send(name)
        elif stamp is None:
            self._bring(name, there)

    def _outranks(self, name: str) -> bool:
        """Whether a file that was never sent is to replace another one there: those of a trial that is ok here are."""
        top, _, rest = name.partition("/")
        first = rest.partition("/")[0]
        if top in ("rows", "curves"):
            return self.status(first, PurePosixPath(name).stem) == "ok"
        sweeps = sweep_folders(self.root / "rows") if top == "artifacts" else []
        return any(self.status(sweep.name, first) == "ok" for sweep in sweeps)

    def _send_unless_newer(self, name: str) -> None:
        try:
            (there,), seen = self._infos([name]), self._seen(name)
            if there is not None and (seen is None or seen[0] != _version(there)):
                self._bring(name, there)
                return
        except StoreError as error:
            self._note_unsent(name, error)
            return
        self._send(name)

    def _send(self, name: str) -> None:
        path = self.root / name
        try:
            stamp, data = _stamp(path), path.read_bytes()
            _again(lambda: self._upload(data, f"{self.base}/{name}"))
            (info,) = self._infos([name])
        except FileNotFoundError:
            return  # another process of this machine has replaced or removed it, and sends that
        except (OSError, StoreError) as error:
            self._note_unsent(name, error)
            return
        if info is not None:
            self._remember(name, info, stamp)

    def _upload(self, data: bytes, target: str) -> None:
        whole = self.filesystem.type_name in WHOLE_AT_ONCE
        folder, _, name = target.rpartition("/")
        path = target if whole else f"{folder}/.{name}.{secrets.token_hex(4)}.part"
        if not whole:
            self.filesystem.create_dir(folder)
        with self.filesystem.open_output_stream(path) as stream:
            stream.write(data)
        if not whole:
            self.filesystem.move(path, target)

    def _bring(self, name: str, there: fs.FileInfo) -> None:
        def download() -> bytes:
            with self.filesystem.open_input_stream(f"{self.base}/{name}") as stream:
                return stream.read()

        try:
            data = _again(download)
        except FileNotFoundError:
            return  # removed since it was listed
        except OSError as error:
            raise StoreError(f"cannot read {self.url}: {name}: {_said(error)}; try again") from error
        path = self.root / name
        try:
            _write(path, data)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
        self._remember(name, there, _stamp(path))

    # What is known of files

    def _listing(self, folder: str = "") -> dict[str, fs.FileInfo]:
        selector = fs.FileSelector(f"{self.base}/{folder}".rstrip("/"), allow_not_found=True, recursive=True)
        try:
            infos = _again(lambda: self.filesystem.get_file_info(selector))
        except OSError as error:
            raise StoreError(f"cannot read {self.url}: {_said(error)}; is it there, and are you allowed to?") from error
        found = {info.path.removeprefix(f"{self.base}/"): info for info in infos if info.is_file}
        return {name: info for name, info in found.items() if _is_ours(name)}

    def _infos(self, names: Iterable[str]) -> list[fs.FileInfo | None]:
        paths = [f"{self.base}/{name}" for name in names]
        try:
            infos = _again(lambda: self.filesystem.get_file_info(paths))
        except OSError as error:
            raise StoreError(f"cannot read {self.url}: {_said(error)}; try again") from error
        return [info if info.is_file else None for info in infos]

    def _seen(self, name: str) -> tuple[list[int], list[int] | None] | None:
        """The version there, and the stamp here, when the two were the same."""
        try:
            version, stamp = json.loads((self.root / ".sent" / name).read_text())
        except (OSError, ValueError):
            return None
        return version, stamp

    def _remember(self, name: str, there: fs.FileInfo, stamp: list[int] | None) -> None:
        _write(self.root / ".sent" / name, json.dumps([_version(there), stamp]))
        (self.root / ".unsent" / name).unlink(missing_ok=True)

    def _forget(self, name: str) -> None:
        for state in (".sent", ".unsent"):
            (self.root / state / name).unlink(missing_ok=True)

    def _note_unsent(self, name: str, error: Exception) -> None:
        _write(self.root / ".unsent" / name, _said(error))

    def _unsent(self) -> dict[str, str]:
        """Why files could not be sent, by their names."""
        noted = {}
        for path in _files(self.root / ".unsent"):
            with suppress(FileNotFoundError):  # another process of this machine has sent it
                noted[path.relative_to(self.root / ".unsent").as_posix()] = path.read_text()
        return {name: why for name, why in noted.items() if _is_ours(name)}

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _mirrors() -> Path:
    return (data_root() / "results").resolve()


@cache
def _connect(url: str) -> tuple[fs.FileSystem, str]:
    shown = urlsplit(url)
    if "@" in shown.netloc:
        raise StoreError(
            f"{shown.scheme}://…{shown.netloc.rpartition('@')[2]}{shown.path}: credentials do not belong into a URL, "
            "which is printed and recorded; give them in the environment (AWS_ACCESS_KEY_ID, …)"
        )
    # Small files go in one request, not in three.
    whole = f"{'&' if shown.query else '?'}allow_delayed_open=true" if shown.scheme == "s3" else ""
    try:
        filesystem, base = fs.FileSystem.from_uri(url + whole)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StoreError(f"cannot open {url}: {_said(error)}") from error
    return filesystem, base.rstrip("/")


def _is_ours(name: str) -> bool:
    """Whether a path is a file in a results folder, leads out of none, and is nothing of one machine alone."""
    parts = name.split("/")
    return not any(part.startswith(".") or not part or "\\" in part or "\0" in part for part in parts) and (
        parts[0] not in OF_THIS_MACHINE
    )


def _version(there: fs.FileInfo) -> list[int]:
    return [there.size or 0, there.mtime_ns or 0]


def _stamp(path: Path) -> list[int] | None:
    """Of a file here; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _files(folder: Path) -> list[Path]:
    """All files in a folder and in those in it, but for folders that others remove meanwhile."""
    return [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]


def _write(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def _again(request: Callable[[], Answer]) -> Answer:
    """The answer to a request, which is repeated where it fails. Raises OSError."""
    for pause in PAUSES:
        try:
            return request()
        except FileNotFoundError:
            raise
        except OSError:
            time.sleep(pause)
    return request()


def _at_once(act: Callable[[str], None], names: Iterable[str]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in threads.map(act, names):
            pass


def _said(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
