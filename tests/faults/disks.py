"""Small disks to fill, to make read-only and to take away; for tests that may mount."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Disk:
    """A file system of its own in memory, at `path`."""

    def __init__(self, path: Path, kilobytes: int) -> None:
        self.path, self.kilobytes = path, kilobytes

    def mount(self) -> None:
        """Skips the test where that is not allowed."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            _call("mount", "-t", "tmpfs", "-o", f"size={self.kilobytes}k", "tmpfs", str(self.path))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a disk cannot be mounted here, which takes root's rights ({error})")

    def fill(self) -> None:
        """Leaves no room but what is freed later."""
        with (self.path / ".filling").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def make_room(self) -> None:
        """Takes back `fill`."""
        (self.path / ".filling").unlink()

    def make_read_only(self) -> None:
        """As a kernel does with a disk that has errors."""
        _call("mount", "-o", "remount,ro", str(self.path))

    def make_writable(self) -> None:
        """Takes back `make_read_only`."""
        _call("mount", "-o", "remount,rw", str(self.path))

    def move(self, path: Path) -> None:
        """Takes it away from where it is, with all that is on it, to another place."""
        path.mkdir(parents=True, exist_ok=True)
        _call("mount", "--bind", str(self.path), str(path))
        _call("umount", "--lazy", str(self.path))
        self.path = path


@contextmanager
def mounted(path: Path, kilobytes: int) -> Iterator[Disk]:
    """A disk at `path` within the block."""
    disk = Disk(path, kilobytes)
    disk.mount()
    try:
        yield disk
    finally:
        _call("umount", "--lazy", str(disk.path))


def _call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
