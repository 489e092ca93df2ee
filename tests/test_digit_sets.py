"""MNIST, its two likenesses and USPS from small files in their formats; USPS also from real digits, where at hand."""

from __future__ import annotations

import bz2
import gzip
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from datasets.base import SPLITS, DataError, ImageDataset
from datasets.cache import load_splits
from datasets.images.fashion_mnist import FashionMnist
from datasets.images.idx import IdxImages, read_idx
from datasets.images.kmnist import Kmnist
from datasets.images.mnist import Mnist
from datasets.images.usps import Usps
from tests.small_downloads import TEST, TRAIN, assert_split, place

IDX_SETS: list[type[IdxImages]] = [Mnist, FashionMnist, Kmnist]

TEST_DATA = Path(os.environ.get("BENCH_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


def idx(array: np.ndarray) -> bytes:
    """As the MNIST files are made, before compression."""
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def libsvm(greys: np.ndarray, labels: np.ndarray) -> bytes:
    lines = [
        f"{label} " + " ".join(f"{place}:{grey:g}" for place, grey in enumerate(row, start=1)) + " \n"
        for row, label in zip(greys, labels, strict=True)
    ]
    return "".join(lines).encode()


def digits(labels: np.ndarray, side: int) -> np.ndarray:
    """uint8 [N, side, side], no two alike."""
    images = np.random.RandomState(side).randint(0, 256, size=(len(labels), side, side)).astype(np.uint8)
    images[:, 0, 0] = np.arange(len(labels))
    return images


def idx_files(cls: type[IdxImages]) -> dict[str, bytes]:
    return {
        f"{cls.name}-{name}-{kind}-ubyte.gz": gzip.compress(idx(array), mtime=0)
        for name, labels in (("train", TRAIN), ("t10k", TEST))
        for kind, array in (("images-idx3", digits(labels, 28)), ("labels-idx1", labels))
    }


def usps_files() -> dict[str, bytes]:
    return {
        name: bz2.compress(libsvm(digits(labels, 16).reshape(-1, 256) / 127.5 - 1, labels + 1))
        for name, labels in (("usps.bz2", TRAIN), ("usps.t.bz2", TEST))
    }


@pytest.mark.parametrize(("cls", "files"), [*((cls, idx_files(cls)) for cls in IDX_SETS), (Usps, usps_files())])
def test_splits_hold_the_files_images_with_their_labels(
    cls: type[ImageDataset], files: Mapping[str, bytes], tmp_path: Path
) -> None:
    dataset = cls()
    train, test = (digits(labels, dataset.image_shape[1])[:, None] for labels in (TRAIN, TEST))
    assert test.shape[1:] == dataset.image_shape
    place(dataset, files, tmp_path)
    assert_split(load_splits(dataset, {}, tmp_path), train, test)


@pytest.mark.parametrize("cls", IDX_SETS)
def test_at_32_pixels_two_black_ones_are_on_every_side(cls: type[IdxImages], tmp_path: Path) -> None:
    dataset = cls(size=32)
    place(dataset, idx_files(cls), tmp_path)
    images = load_splits(dataset, {"size": 32}, tmp_path)["test"].images
    assert images.shape[1:] == dataset.image_shape == (1, 32, 32)
    np.testing.assert_array_equal(images[:, 0, 2:-2, 2:-2], digits(TEST, 28))
    assert images.sum() == digits(TEST, 28).sum()


@pytest.mark.parametrize("cls", IDX_SETS)
def test_at_64_pixels_images_are_scaled_between_the_centers_of_pixels_and_repeated_to_color(
    cls: type[IdxImages], tmp_path: Path
) -> None:
    dataset = cls(size=64)
    place(dataset, idx_files(cls), tmp_path)
    images = load_splits(dataset, {"size": 64}, tmp_path)["test"].images
    assert images.shape[1:] == dataset.image_shape == (3, 64, 64)
    assert (images == images[:, :1]).all()
    places = ((np.arange(64) + 0.5) * 28 / 64 - 0.5).clip(0, 27)  # of the large pixels' centers, among the small
    weights = np.maximum(1 - np.abs(places[:, None] - np.arange(28)), 0)
    expected = weights @ digits(TEST, 28) @ weights.T
    np.testing.assert_allclose(images[:, 0], expected, atol=1)  # rounded after each axis


@pytest.mark.parametrize("cls", IDX_SETS)
def test_four_files_of_a_set_in_idx_format_are_pinned_by_sha256_and_size(cls: type[IdxImages]) -> None:
    assert {file.name for file in cls.files} == set(idx_files(cls))
    assert all(len(bytes.fromhex(file.sha256)) == 32 and file.size > 0 for file in cls.files)
    assert all(file.url.endswith(file.name.removeprefix(f"{cls.name}-")) for file in cls.files)
    assert len({file.sha256 for each in IDX_SETS for file in each.files}) == 12


def test_files_of_usps_are_pinned_by_md5() -> None:
    assert all(len(bytes.fromhex(file.md5)) == 16 for file in Usps.files)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(idx(digits(TEST, 28)))[:-100], "cannot read .*: Compressed file ended"),
        (idx(digits(TEST, 28)), "cannot read .*: Not a gzipped file"),
        (b"<!doctype html>", "cannot read .*: Not a gzipped file"),
        (gzip.compress(idx(digits(TEST, 28)))[:60] + bytes(7000), "cannot read .*: "),
        (gzip.compress(idx(digits(TEST, 28))[:-1]), "has 7,839 bytes of data, its header says 7,840"),
        (gzip.compress(b"\0\0\x0d\x03" + bytes(12)), r"no IDX file of unsigned bytes: it begins with b'\\x00\\x00\\r"),
        (gzip.compress(b"\0\0\x08\x03" + bytes(3)), "no IDX file of unsigned bytes"),
        (gzip.compress(b""), "no IDX file of unsigned bytes"),
    ],
    ids=["truncated", "not compressed", "a web page", "corrupt", "one byte short", "of floats", "no header", "empty"],
)
def test_a_file_that_is_not_idx_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message + ".* Delete it to download it again"):
        read_idx(path)


@pytest.mark.parametrize(
    ("kind", "array", "message"),
    [
        ("labels-idx1", TEST[1:], r"hold arrays \(10, 28, 28\) and \(9,\), not the .* of kmnist: delete them"),
        ("images-idx3", digits(TEST, 27), r"hold arrays \(10, 27, 27\) and \(10,\), not the"),
        ("labels-idx1", TEST + 1, "t10k-labels-idx1-ubyte.gz has a label 10, not 0 to 9. Delete it"),
    ],
    ids=["a label less", "smaller images", "another label"],
)
def test_arrays_that_are_not_images_of_ten_classes_are_refused(
    kind: str, array: np.ndarray, message: str, tmp_path: Path
) -> None:
    dataset = Kmnist()
    place(dataset, idx_files(Kmnist) | {f"kmnist-t10k-{kind}-ubyte.gz": gzip.compress(idx(array))}, tmp_path)
    with pytest.raises(DataError, match=message):
        load_splits(dataset, {}, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (usps_files()["usps.t.bz2"][:-100], "cannot read .*: Compressed file ended"),
        (libsvm(np.zeros((2, 256)), np.array([1, 2])), "cannot read .*: Invalid data stream"),
        (bz2.compress(b"import os\n"), "cannot read .*: could not convert"),
        (bz2.compress(libsvm(np.zeros((2, 257)), np.array([1, 2]))), "cannot read .*: n_features was set to 256"),
        (bz2.compress(libsvm(np.zeros((2, 256)), np.array([0, 1]))), "holds no digits: labels must be 1 to 10"),
        (bz2.compress(libsvm(np.full((2, 256), 1.5), np.array([1, 2]))), "holds no digits: .* greys -1 to 1"),
        (bz2.compress(b""), "holds no digits"),
    ],
    ids=["truncated", "not compressed", "another text", "too many greys", "other labels", "other greys", "empty"],
)
def test_a_file_that_is_not_usps_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    dataset = Usps()
    place(dataset, {**usps_files(), "usps.t.bz2": content}, tmp_path)
    with pytest.raises(DataError, match=message + ".* Delete it to download it again"):
        load_splits(dataset, {}, tmp_path)


@pytest.mark.skipif(not (TEST_DATA / "usps" / "usps.h5").exists(), reason="needs usps.h5 in BENCH_TEST_DATA")
def test_the_real_digits_survive_the_text_format(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")

    with h5py.File(TEST_DATA / "usps" / "usps.h5") as file:
        pieces = {name: (file[name]["data"][:300], file[name]["target"][:300]) for name in ("train", "test")}
    names = {"train": "usps.bz2", "test": "usps.t.bz2"}
    files = {
        names[name]: bz2.compress(libsvm(2 * greys - 1, labels.astype(int) + 1))
        for name, (greys, labels) in pieces.items()
    }
    dataset = Usps()
    place(dataset, files, tmp_path)
    splits = load_splits(dataset, {}, tmp_path)
    assert sum(len(splits[name].images) for name in SPLITS) == 600
    greys, labels = pieces["test"]
    np.testing.assert_array_equal(splits["test"].labels, labels)
    np.testing.assert_allclose(splits["test"].images.reshape(-1, 256) / 255, greys, atol=0.51 / 255)
