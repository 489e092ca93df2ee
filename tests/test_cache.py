from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest

from datasets import cache
from datasets.base import Factor, ImageDataset, ImageSplit, RemoteFile
from datasets.cache import DataError, array_sha256, data_root, fetch, load_splits

SPAWN = multiprocessing.get_context("spawn")


class Ramps(ImageDataset):
    """Constant images; leaves a line in `log` for every build."""

    name = "ramps"
    summary = "constant images"
    license = "none"
    citation = "none"
    num_classes = 2
    factors = (Factor("level", 4),)
    log: Path | None = None

    def __init__(self, *, size: int = 4) -> None:
        self.size = size
        self.image_shape = (1, size, size)

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        if self.log is not None:
            with self.log.open("a") as stream:
                stream.write("built\n")
        level = np.arange(4)
        images = np.broadcast_to(level[:, None, None, None], (4, *self.image_shape)).astype(np.uint8)
        whole = ImageSplit(images=images, labels=level % 2, factors=level[:, None])
        return {"train": whole, "validation": ImageSplit(images[:2]), "test": ImageSplit(images[2:])}


@pytest.fixture
def ramps(tmp_path: Path) -> Ramps:
    dataset = Ramps()
    dataset.log = tmp_path / "builds"
    return dataset


def builds(dataset: Ramps) -> int:
    assert dataset.log is not None
    return len(dataset.log.read_text().splitlines()) if dataset.log.exists() else 0


def entries(root: Path) -> list[Path]:
    """Folders a reader could take for a built dataset, or that a build left behind."""
    return sorted(path for path in (root / "datasets").glob("*/*") if path.is_dir())


# Built datasets


def test_splits_are_what_build_returned(ramps: Ramps, tmp_path: Path) -> None:
    splits = load_splits(ramps, {"size": 4}, tmp_path)
    assert list(splits) == ["train", "validation", "test"]
    for name, expected in ramps.build({}).items():
        for field in ("images", "labels", "factors"):
            found, wanted = getattr(splits[name], field), getattr(expected, field)
            if wanted is None:
                assert found is None
            else:
                np.testing.assert_array_equal(found, wanted)
                assert found.dtype == wanted.dtype


def test_arrays_are_read_only_memory_maps(ramps: Ramps, tmp_path: Path) -> None:
    train = load_splits(ramps, {"size": 4}, tmp_path)["train"]
    for array in (train.images, train.labels, train.factors):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_a_dataset_is_built_once(ramps: Ramps, tmp_path: Path) -> None:
    for _ in range(3):
        load_splits(ramps, {"size": 4}, tmp_path)
    assert builds(ramps) == 1


def test_options_version_and_files_each_have_their_own_entry(tmp_path: Path) -> None:
    load_splits(Ramps(), {"size": 4}, tmp_path)
    assert load_splits(Ramps(size=6), {"size": 6}, tmp_path)["train"].images.shape == (4, 1, 6, 6)

    class NextRamps(Ramps):
        version = 2

    load_splits(NextRamps(), {"size": 4}, tmp_path)

    content = b"level"
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "levels").write_bytes(content)

    class FileRamps(Ramps):
        files = (RemoteFile("levels", "http://127.0.0.1:1/levels", hashlib.sha256(content).hexdigest()),)

        def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
            assert files["levels"].read_bytes() == content
            return super().build(files)

    load_splits(FileRamps(), {"size": 4}, tmp_path)
    assert len(entries(tmp_path)) == 4


def test_a_change_of_the_code_is_another_entry(ramps: Ramps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_splits(ramps, {"size": 4}, tmp_path)
    changed = tmp_path / "changed.py"
    changed.write_text(Path(__file__).read_text() + "# changed\n")
    monkeypatch.setattr(cache.inspect, "getfile", lambda _: str(changed))
    load_splits(ramps, {"size": 4}, tmp_path)
    assert builds(ramps) == 2


def test_the_manifest_says_what_an_entry_is(ramps: Ramps, tmp_path: Path) -> None:
    splits = load_splits(ramps, {"size": 4}, tmp_path)
    (entry,) = entries(tmp_path)
    manifest = json.loads((entry / "manifest.json").read_text())
    assert (manifest["dataset"], manifest["version"], manifest["options"]) == ("ramps", 1, {"size": 4})
    assert sorted(manifest["arrays"]) == [
        "test-images.npy",
        "train-factors.npy",
        "train-images.npy",
        "train-labels.npy",
        "validation-images.npy",
    ]
    assert manifest["arrays"]["train-images.npy"]["shape"] == [4, 1, 4, 4]
    assert manifest["arrays"]["train-images.npy"]["dtype"] == "uint8"
    assert (
        manifest["arrays"]["train-images.npy"]["sha256"] == hashlib.sha256(splits["train"].images.tobytes()).hexdigest()
    )


def test_array_sha256_is_of_the_elements_in_c_order() -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert array_sha256(array.T.copy().T) == hashlib.sha256(bytes(range(6))).hexdigest()


def lose_an_array(entry: Path) -> None:
    (entry / "train-images.npy").unlink()


def cut_an_array_short(entry: Path) -> None:
    os.truncate(entry / "train-images.npy", 140)


def lengthen_an_array(entry: Path) -> None:
    with (entry / "train-labels.npy").open("ab") as stream:
        stream.write(b"more")


def exchange_an_array(entry: Path) -> None:
    np.save(entry / "train-images.npy", np.zeros((4, 1, 2, 8), dtype=np.uint8))


def empty_an_array(entry: Path) -> None:
    (entry / "test-images.npy").write_bytes(b"")


def lose_the_manifest(entry: Path) -> None:
    (entry / "manifest.json").unlink()


def break_the_manifest(entry: Path) -> None:
    (entry / "manifest.json").write_text('{"arrays": ')


@pytest.mark.parametrize(
    "damage",
    [
        lose_an_array,
        cut_an_array_short,
        lengthen_an_array,
        exchange_an_array,
        empty_an_array,
        lose_the_manifest,
        break_the_manifest,
    ],
)
def test_a_damaged_entry_is_rebuilt(damage: Callable[[Path], None], ramps: Ramps, tmp_path: Path) -> None:
    load_splits(ramps, {"size": 4}, tmp_path)
    (entry,) = entries(tmp_path)
    damage(entry)
    splits = load_splits(ramps, {"size": 4}, tmp_path)
    assert builds(ramps) == 2
    assert entries(tmp_path) == [entry]
    np.testing.assert_array_equal(splits["train"].images[:, 0, 0, 0], [0, 1, 2, 3])


class SlowRamps(Ramps):
    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        time.sleep(0.5)  # long enough for the other process to arrive
        return super().build(files)


def _load_together(root: Path, barrier: Barrier) -> None:
    dataset = SlowRamps()
    dataset.log = root / "builds"
    barrier.wait()
    assert load_splits(dataset, {"size": 4}, root)["train"].images.sum() == 16 * (0 + 1 + 2 + 3)


def test_processes_that_start_together_build_once(tmp_path: Path) -> None:
    barrier = SPAWN.Barrier(2)
    processes = [SPAWN.Process(target=_load_together, args=(tmp_path, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "builds").read_text() == "built\n"


def _die_after_the_first_array(root: Path) -> None:
    save = np.save

    def save_and_die(path: Path, array: np.ndarray) -> None:
        save(path, array)
        os.kill(os.getpid(), signal.SIGKILL)

    cache.np.save = save_and_die  # type: ignore[assignment]  # in a process of its own, which dies of it
    load_splits(Ramps(), {"size": 4}, root)


def test_a_build_killed_half_way_leaves_nothing_to_read_and_is_done_again(tmp_path: Path, ramps: Ramps) -> None:
    process = SPAWN.Process(target=_die_after_the_first_array, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (left,) = entries(tmp_path)
    assert left.name.startswith(".")
    assert [path.name for path in left.iterdir()] == ["train-images.npy"]

    splits = load_splits(ramps, {"size": 4}, tmp_path)
    assert builds(ramps) == 1
    assert splits["train"].images.shape == (4, 1, 4, 4)
    assert [path.name for path in entries(tmp_path) if path.name.startswith(".")] == []


def test_a_full_disk_is_named_and_leaves_nothing(ramps: Ramps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, array: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache.np, "save", full)
    with pytest.raises(DataError, match=r"cannot write .*ramps.*: No space left on device\. Set BENCH_DATA"):
        load_splits(ramps, {"size": 4}, tmp_path)
    assert entries(tmp_path) == []


def test_a_root_that_cannot_be_written_is_named(ramps: Ramps, tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.write_text("not a folder")
    with pytest.raises(DataError, match=r"cannot write .*file.datasets.ramps: .*Set BENCH_DATA"):
        load_splits(ramps, {"size": 4}, root)
    assert builds(ramps) == 0


def test_an_error_of_a_build_is_passed_on_and_leaves_nothing(
    ramps: Ramps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        raise RuntimeError("no such digit")

    monkeypatch.setattr(ramps, "build", fail)
    with pytest.raises(RuntimeError, match="no such digit"):
        load_splits(ramps, {"size": 4}, tmp_path)
    assert entries(tmp_path) == []


def test_data_root_is_bench_data_or_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    assert data_root() == tmp_path / "data"
    monkeypatch.setenv("BENCH_DATA", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_root() == tmp_path / ".cache" / "ot-bench"


# Downloads

CONTENT = bytes(range(256)) * 5000  # more than one chunk
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `pages` (path -> status, body, announced length); counts requests."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, bytes, int]] = {}
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def offer(self, body: bytes, status: int = 200, length: int | None = None) -> str:
        """-> the address at which `body` is now."""
        path = f"/{len(self.pages)}"
        self.pages[path] = (status, body, len(body) if length is None else length)
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        status, body, length = self.server.pages[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in http.server
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def assert_says_how_to_place_it(error: BaseException, file: RemoteFile, root: Path) -> None:
    for fact in (file.url, file.sha256, str(root / "files"), f'"{file.name}"'):
        assert fact in str(error)
    visible = [path.name for path in (root / "files").iterdir() if not path.name.endswith(".lock")]
    assert set(visible) <= {file.name}, "an unfinished download is left"


def test_a_file_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    file = RemoteFile("digits.bin", server.offer(CONTENT), SHA256)
    for _ in range(2):
        path = fetch(file, tmp_path)
        assert path == tmp_path / "files" / "digits.bin"
        assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_file_placed_by_hand_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "digits.bin").write_bytes(CONTENT)
    fetch(RemoteFile("digits.bin", "http://127.0.0.1:1/digits.bin", SHA256), tmp_path)


def test_another_file_placed_by_hand_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    placed = tmp_path / "files" / "digits.bin"
    placed.write_bytes(b"other")
    file = RemoteFile("digits.bin", "http://127.0.0.1:1/digits.bin", SHA256)
    with pytest.raises(DataError, match=f"has SHA-256 {hashlib.sha256(b'other').hexdigest()}") as raised:
        fetch(file, tmp_path)
    assert_says_how_to_place_it(raised.value, file, tmp_path)
    assert placed.read_bytes() == b"other"


def test_a_file_can_be_verified_by_its_identifier_in_git(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    placed = tmp_path / "files" / "greeting"
    placed.write_bytes(b"hello\n")
    # What `git hash-object` prints for that content.
    file = RemoteFile("greeting", "http://127.0.0.1:1/greeting", git_blob="ce013625030ba8dba906f756967f9e9ca394464a")
    assert fetch(file, tmp_path) == placed
    placed.write_bytes(b"hello")
    with pytest.raises(DataError, match="has git blob b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0: delete it"):
        fetch(file, tmp_path)
    with pytest.raises(ValueError, match="one of them"):
        RemoteFile("greeting", "http://127.0.0.1:1/greeting")


def test_a_file_can_be_verified_by_its_md5(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    placed = tmp_path / "files" / "greeting"
    placed.write_bytes(b"hello\n")
    # What `md5sum` prints for that content.
    file = RemoteFile("greeting", "http://127.0.0.1:1/greeting", md5="b1946ac92492d2347c6235b4d2611184")
    assert fetch(file, tmp_path) == placed
    placed.write_bytes(b"hello")
    with pytest.raises(DataError, match="has MD5 5d41402abc4b2a76b9719d911017c592: delete it"):
        fetch(file, tmp_path)
    with pytest.raises(ValueError, match="one of them"):
        RemoteFile("greeting", "http://127.0.0.1:1/greeting", sha256="00", md5="00")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/digits.bin", "no-such-scheme://here", "digits.bin"])
def test_an_address_that_cannot_be_reached_is_named(url: str, tmp_path: Path) -> None:
    file = RemoteFile("digits.bin", url, SHA256)
    with pytest.raises(DataError, match=r"cannot download digits\.bin: ") as raised:
        fetch(file, tmp_path)
    assert_says_how_to_place_it(raised.value, file, tmp_path)


@pytest.mark.parametrize(
    ("status", "body", "length", "message"),
    [
        (404, b"gone", None, "Not Found"),
        (200, b"other", None, f"5 bytes with SHA-256 {hashlib.sha256(b'other').hexdigest()} arrived"),
        (200, CONTENT, len(CONTENT) + 1, r"1,280,000 bytes|IncompleteRead"),
        (200, b"\n<!DOCTYPE html><title>Sign in</title>", None, "a web page arrived instead of the file"),
        (200, b"\xef\xbb\xbf<HTML lang=en>", None, "a web page arrived instead of the file"),
    ],
    ids=["missing", "another file", "broken off", "web page", "web page with a byte-order mark"],
)
def test_a_download_that_is_not_the_file_is_refused(
    status: int, body: bytes, length: int | None, message: str, server: Server, tmp_path: Path
) -> None:
    # What arrives "broken off" is the whole content, one byte short of what was announced.
    expected = hashlib.sha256(CONTENT + b"!").hexdigest()
    file = RemoteFile("digits.bin", server.offer(body, status, length), expected)
    with pytest.raises(DataError, match=message) as raised:
        fetch(file, tmp_path)
    assert_says_how_to_place_it(raised.value, file, tmp_path)
    assert not (tmp_path / "files" / "digits.bin").exists()


def test_a_file_that_looks_like_a_web_page_is_accepted_if_it_is_the_file(server: Server, tmp_path: Path) -> None:
    page = b"<html>data</html>"
    fetch(RemoteFile("page.html", server.offer(page), hashlib.sha256(page).hexdigest()), tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_during_a_download_is_no_network_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / ".digits.bin.unfinished").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"cannot write .*digits\.bin: No space left on device\. Set BENCH_DATA"):
        fetch(RemoteFile("digits.bin", server.offer(CONTENT), SHA256), tmp_path)
    assert not (tmp_path / "files" / "digits.bin").exists()
