"""Small disks to fill, to make read-only and to take away; for tests that may mount."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


class Disk:
    """A file system of its own in memory, at `path`, for so many kilobytes and, if stated, files and folders."""

    def __init__(self, path: Path, kilobytes: int, files: int | None = None) -> None:
        self.path = path
        self.size = f"size={kilobytes}k" + (f",nr_inodes={files + 1}" if files is not None else "")

    def mount(self) -> None:
        """Skips the test where that is not allowed."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            _call("mount", "-t", "tmpfs", "-o", self.size, "tmpfs", str(self.path))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a disk cannot be mounted here, which takes root's rights ({error})")

    def fill(self, but_kilobytes: int = 0) -> None:
        """Leaves no room but so much and what is freed later."""
        with (self.path / ".filling").open("ab", buffering=0) as file:
            with suppress(OSError):
                while True:
                    file.write(bytes(4096))
            file.truncate(file.tell() - 1024 * but_kilobytes)

    def make_room(self) -> None:
        """Takes back `fill`."""
        (self.path / ".filling").unlink()

    def make_read_only(self) -> None:
        """As a kernel does with a disk that has errors."""
        deadline = time.monotonic() + 10
        while True:
            try:
                return _call("mount", "-o", "remount,ro", str(self.path))
            except subprocess.CalledProcessError:  # while a file is open to be written
                if time.monotonic() > deadline:
                    raise

    def make_writable(self) -> None:
        """Takes back `make_read_only`."""
        _call("mount", "-o", "remount,rw", str(self.path))

    def move(self, path: Path) -> None:
        """Takes it away from where it is, with all that is on it, to another place."""
        path.mkdir(parents=True, exist_ok=True)
        _call("mount", "--bind", str(self.path), str(path))
        _call("umount", "--lazy", str(self.path))
        self.path = path

    def fault(self, name: str) -> tuple[Callable[[], None], Callable[[], None]]:
        """What makes it "full", "read-only" or "gone", and what takes that back."""
        place = self.path
        return {
            "full": (self.fill, self.make_room),
            "read-only": (self.make_read_only, self.make_writable),
            "gone": (lambda: self.move(place.with_name("elsewhere")), lambda: self.move(place)),
        }[name]


@contextmanager
def mounted(path: Path, kilobytes: int, files: int | None = None) -> Iterator[Disk]:
    """A disk at `path` within the block."""
    disk = Disk(path, kilobytes, files)
    disk.mount()
    try:
        yield disk
    finally:
        _call("umount", "--lazy", str(disk.path))


def _call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
