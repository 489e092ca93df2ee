"""Files that appear whole or not at all, and many of them read at once."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

Read = TypeVar("Read")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` (hidden, so that readers of the folder pass over it), renamed to it at the end."""
    temporary = beside(path)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # else the name may outlast a power cut, and the contents not
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A fresh, hidden folder beside `path`, renamed to it at the end; what was there before is removed."""
    fresh, old = beside(path), beside(path)
    try:
        fresh.mkdir(parents=True)
        yield fresh
        while fresh.exists():
            with suppress(FileNotFoundError):
                path.rename(old)
                shutil.rmtree(old)
            try:
                fresh.rename(path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process has put its own there
                    raise
    finally:
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)


def beside(path: Path) -> Path:
    """A name in the same folder that no other process has, hidden from readers."""
    # Not by the process alone: machines that share a folder have processes of the same number.
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def copy(source: Path, target: Path) -> None:
    """Copies a file, byte for byte."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def in_parallel(read: Callable[[Path], Read], paths: Sequence[Path]) -> list[Read]:
    """What `read` makes of each path. Small files take their time in Arrow, outside of Python's lock."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return list(threads.map(read, paths))
