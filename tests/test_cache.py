from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest

from datasets import cache
from datasets.base import DataError, Factor, ImageDataset, ImageSplit, RemoteFile
from datasets.cache import array_sha256, data_root, load_splits, splits_entry, verify
from datasets.downloads import MissingFileError

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


def empty_the_manifest(entry: Path) -> None:
    (entry / "manifest.json").write_text('{"arrays": []}')


def change_a_type(entry: Path) -> None:
    path = entry / "train-labels.npy"
    path.write_bytes(path.read_bytes().replace(b"<i8", b"<f8"))


def break_a_header(entry: Path) -> None:
    path = entry / "train-labels.npy"
    path.write_bytes(path.read_bytes().replace(b"{'descr'", b'({["""de'))


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
        empty_the_manifest,
        change_a_type,
        break_a_header,
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
    save = cache._save

    def save_and_die(path: Path, array: np.ndarray) -> None:
        save(path, array)
        os.kill(os.getpid(), signal.SIGKILL)

    cache._save = save_and_die  # in a process of its own, which dies of it
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

    monkeypatch.setattr(cache, "_save", full)
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


def test_verification_finds_an_array_that_changed(ramps: Ramps, tmp_path: Path) -> None:
    entry = splits_entry(ramps, {"size": 4}, tmp_path)
    with pytest.raises(DataError, match="is missing or incomplete"):
        verify(entry)
    load_splits(ramps, {"size": 4}, tmp_path)
    verify(entry)
    assert entry.size == sum(file.stat().st_size for file in entry.path.iterdir()) > 0
    with (entry.path / "train-images.npy").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\xff")
    with pytest.raises(DataError, match=r"^train-images in .* changed since they were built: delete that folder"):
        verify(entry)


def test_an_entry_that_another_machine_finished_first_is_read(
    ramps: Ramps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = splits_entry(ramps, {"size": 4}, tmp_path).path
    build = ramps.build

    def build_while_another_does(files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        monkeypatch.setattr(ramps, "build", build)
        elsewhere = tmp_path / "elsewhere"
        load_splits(ramps, {"size": 4}, elsewhere)
        (elsewhere / entry.relative_to(tmp_path)).rename(entry)
        return build(files)

    monkeypatch.setattr(ramps, "build", build_while_another_does)
    assert load_splits(ramps, {"size": 4}, tmp_path)["train"].images.shape == (4, 1, 4, 4)
    assert [path.name for path in entries(tmp_path)] == [entry.name]


def test_what_a_build_says_of_a_file_names_its_address_checksum_and_folder(
    ramps: Ramps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        raise DataError(f"cannot read {files['levels']}: damaged. Delete it to download it again")

    (tmp_path / "files").mkdir()
    checksums = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("levels", "labels")}
    for name in checksums:
        (tmp_path / "files" / name).write_text(name)
    ramps.files = tuple(RemoteFile(name, f"http://127.0.0.1:1/{name}", sha256) for name, sha256 in checksums.items())
    monkeypatch.setattr(ramps, "build", fail)
    with pytest.raises(DataError, match=r"levels: damaged\. Delete it to download it again\. ") as raised:
        load_splits(ramps, {"size": 4}, tmp_path)
    for fact in ("http://127.0.0.1:1/levels", checksums["levels"], str(tmp_path / "files")):
        assert fact in str(raised.value)
    assert "labels" not in str(raised.value)


def test_a_missing_file_is_named_also_where_nothing_can_be_written(tmp_path: Path) -> None:
    """No lock is needed to find out, so none is asked for: `datasets` is a file here, in which no lock can lie."""
    (tmp_path / "datasets").write_text("no folder")
    dataset = Ramps()
    dataset.files = (RemoteFile("levels", "http://127.0.0.1:1/levels", "00"),)
    with pytest.raises(MissingFileError, match="levels is not in"):
        load_splits(dataset, {"size": 4}, tmp_path)


def test_data_root_is_bench_data_or_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    assert data_root() == tmp_path / "data"
    monkeypatch.setenv("BENCH_DATA", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_root() == tmp_path / ".cache" / "ot-bench"
