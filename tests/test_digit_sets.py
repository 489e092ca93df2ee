"""MNIST and USPS from small files in their formats, and USPS from the real digits where they are at hand."""

from __future__ import annotations

import bz2
import gzip
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from datasets.base import SPLITS, ImageDataset
from datasets.cache import DataError, load_splits
from datasets.images.mnist import Mnist, read_idx
from datasets.images.usps import Usps
from tests.small_downloads import TEST, TRAIN, assert_split, place

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


def mnist_files() -> dict[str, bytes]:
    return {
        f"mnist-{name}-{kind}-ubyte.gz": gzip.compress(idx(array))
        for name, labels in (("train", TRAIN), ("t10k", TEST))
        for kind, array in (("images-idx3", digits(labels, 28)), ("labels-idx1", labels))
    }


def usps_files() -> dict[str, bytes]:
    return {
        name: bz2.compress(libsvm(digits(labels, 16).reshape(-1, 256) / 127.5 - 1, labels + 1))
        for name, labels in (("usps.bz2", TRAIN), ("usps.t.bz2", TEST))
    }


@pytest.mark.parametrize(("cls", "files"), [(Mnist, mnist_files()), (Usps, usps_files())], ids=["mnist", "usps"])
def test_splits_hold_the_files_images_with_their_labels(
    cls: type[ImageDataset], files: Mapping[str, bytes], tmp_path: Path
) -> None:
    dataset = cls()
    train, test = (digits(labels, dataset.image_shape[1])[:, None] for labels in (TRAIN, TEST))
    assert test.shape[1:] == dataset.image_shape
    place(dataset, files, tmp_path)
    assert_split(load_splits(dataset, {}, tmp_path), train, test)


def test_mnist_at_32_pixels_has_two_black_ones_on_every_side(tmp_path: Path) -> None:
    dataset = Mnist(size=32)
    place(dataset, mnist_files(), tmp_path)
    images = load_splits(dataset, {"size": 32}, tmp_path)["test"].images
    assert images.shape[1:] == dataset.image_shape == (1, 32, 32)
    np.testing.assert_array_equal(images[:, 0, 2:-2, 2:-2], digits(TEST, 28))
    assert images.sum() == digits(TEST, 28).sum()


def test_mnist_at_64_pixels_is_scaled_between_the_centers_of_pixels_and_repeated_to_color(tmp_path: Path) -> None:
    dataset = Mnist(size=64)
    place(dataset, mnist_files(), tmp_path)
    images = load_splits(dataset, {"size": 64}, tmp_path)["test"].images
    assert images.shape[1:] == dataset.image_shape == (3, 64, 64)
    assert (images == images[:, :1]).all()
    places = ((np.arange(64) + 0.5) * 28 / 64 - 0.5).clip(0, 27)  # of the large pixels' centers, among the small
    weights = np.maximum(1 - np.abs(places[:, None] - np.arange(28)), 0)
    expected = weights @ digits(TEST, 28) @ weights.T
    np.testing.assert_allclose(images[:, 0], expected, atol=1)  # rounded after each axis


def test_files_are_pinned_by_the_checksums_their_publishers_give() -> None:
    assert all(len(file.sha256) == 64 for file in Mnist.files)
    assert all(len(file.md5) == 32 for file in Usps.files)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(idx(digits(TEST, 28)))[:-100], "cannot read .*: Compressed file ended"),
        (idx(digits(TEST, 28)), "cannot read .*: Not a gzipped file"),
        (gzip.compress(idx(digits(TEST, 28))[:-1]), "has 7,839 bytes of data, its header says 7,840"),
        (gzip.compress(b"\0\0\x0d\x03" + bytes(12)), r"no IDX file of unsigned bytes: it begins with b'\\x00\\x00\\r"),
        (gzip.compress(b"\0\0\x08\x03" + bytes(3)), "no IDX file of unsigned bytes"),
        (gzip.compress(b""), "no IDX file of unsigned bytes"),
    ],
    ids=["truncated", "not compressed", "one byte short", "of floats", "no header", "empty"],
)
def test_a_file_that_is_not_idx_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message + ".* Delete it to download it again"):
        read_idx(path)


def test_images_and_labels_of_different_numbers_are_refused(tmp_path: Path) -> None:
    files = mnist_files()
    files["mnist-t10k-labels-idx1-ubyte.gz"] = gzip.compress(idx(TEST[1:]))
    dataset = Mnist()
    place(dataset, files, tmp_path)
    with pytest.raises(DataError, match=r"hold arrays \(10, 28, 28\) and \(9,\), not the"):
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
