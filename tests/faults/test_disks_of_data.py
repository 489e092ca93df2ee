"""`prepare` into a disk that is full or read-only: it says where and what to do, takes nothing half-written for whole,
and completes when it is repeated."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli import main
from datasets.base import RemoteFile
from datasets.cache import load_splits
from datasets.images.mnist import Mnist
from tests.faults.disks import Disk, mounted
from tests.small_downloads import assert_split
from tests.test_digit_sets import TEST, TRAIN, digits, idx_files
from tests.test_downloads import Server


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 2 MB where the data go."""
    with mounted(tmp_path / "data", 2048) as small:
        yield small


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves small files in place of MNIST's, which take some 160 KB, and so do the arrays that are built of them."""
    with Server() as server:
        files = idx_files(Mnist).items()
        remote = [RemoteFile(name, server.offer(body), hashlib.sha256(body).hexdigest()) for name, body in files]
        monkeypatch.setattr(Mnist, "files", tuple(remote))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def prepare(disk: Disk, *options: str) -> int:
    return main(["prepare", "mnist", "--data", str(disk.path), *options])


def whole(disk: Disk) -> list[str]:
    """The names of the downloads and of built data that readers take for whole."""
    found = [*disk.path.glob("files/[!.]*"), *disk.path.glob("datasets/mnist/[!.]*")]
    return sorted(path.name for path in found)


def check_completes(disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(disk) == 0
    assert "mnist: ready after" in capsys.readouterr().out
    assert prepare(disk, "--verify") == 0
    train, test = (digits(labels, 28)[:, None] for labels in (TRAIN, TEST))
    assert_split(load_splits(Mnist(), {}, disk.path), train, test)
    assert not list(disk.path.rglob(".*.unfinished"))


@pytest.mark.parametrize("room", [0, 60])
def test_a_download_that_the_disk_has_no_room_for_goes_on_when_there_is(
    disk: Disk, server: Server, capsys: pytest.CaptureFixture[str], room: int
) -> None:
    disk.fill(but_kilobytes=room)
    assert prepare(disk) == 1
    told = capsys.readouterr().out
    assert f"mnist: cannot write {disk.path / 'files'}" in told
    assert "No space left on device. Set BENCH_DATA to a folder that can be written and has room" in told
    assert "0 of 1 datasets ready" in told
    assert "mnist-train-images-idx3-ubyte.gz" not in whole(disk)
    assert prepare(disk, "--verify") == 1

    disk.make_room()
    capsys.readouterr()
    check_completes(disk, capsys)
    resumed = [asked for asked in server.requests if asked]
    assert len(resumed) == (1 if room else 0), server.requests


@pytest.mark.parametrize("room", [0, 60, 165])
def test_arrays_that_the_disk_has_no_room_for_are_built_when_there_is(
    disk: Disk, server: Server, capsys: pytest.CaptureFixture[str], room: int
) -> None:
    (disk.path / "files").mkdir()
    for file, (name, body) in zip(Mnist.files, idx_files(Mnist).items(), strict=True):
        assert file.name == name
        (disk.path / "files" / name).write_bytes(body)
    disk.fill(but_kilobytes=room)
    assert prepare(disk) == 1
    told = capsys.readouterr().out
    assert f"mnist: cannot write {disk.path / 'datasets' / 'mnist'}" in told
    assert "No space left on device. Set BENCH_DATA to a folder that can be written and has room" in told
    assert prepare(disk, "--verify") == 1
    assert not [name for name in whole(disk) if "ubyte" not in name]
    assert not list(disk.path.rglob("*.npy"))

    disk.make_room()
    capsys.readouterr()
    check_completes(disk, capsys)
    assert server.requests == []


def test_a_read_only_folder_is_named_and_what_lies_in_it_is_used(
    disk: Disk, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.make_read_only()
    assert prepare(disk) == 1
    told = capsys.readouterr().out
    assert f"mnist: cannot write {disk.path / 'files'}: Read-only file system. Set BENCH_DATA to a folder" in told
    disk.make_writable()
    check_completes(disk, capsys)
    disk.make_read_only()
    assert prepare(disk) == 0
