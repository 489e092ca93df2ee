"""Small NORB from small files in its authors' format."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.base import DataError, ImageSplit
from datasets.cache import load_splits
from datasets.images.smallnorb import TESTING, TRAINING, SmallNorb
from tests.small_downloads import factors_of, flipped, place

CATEGORIES = {TRAINING: np.arange(100) % 5, TESTING: np.arange(50) % 5}
FIRST = {TRAINING: 0, TESTING: 100}
"""Every pixel of the first camera's photograph is its row's number, counted from here; the second camera's is white."""


def matrix(array: np.ndarray) -> bytes:
    """A file in the authors' format."""
    magic = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54, "float64": 0x1E3D4C53}[array.dtype.name]
    lengths = [*array.shape, 1, 1][: max(3, array.ndim)]
    header = np.array([magic, array.ndim, *lengths], "<i4")
    return gzip.compress(header.tobytes() + array.tobytes(), mtime=0)


def info(chunk: str) -> np.ndarray:
    """Toy, elevation, azimuth in steps of 10 degrees and lighting, int32 [N, 4]."""
    row = np.arange(len(CATEGORIES[chunk]))
    return np.stack([row % 10, row % 9, 2 * (row % 18), row % 6], axis=1).astype(np.int32)


def pairs(chunk: str) -> np.ndarray:
    photographs = np.full((len(CATEGORIES[chunk]), 2, 96, 96), 255, np.uint8)
    photographs[:, 0] = (FIRST[chunk] + np.arange(len(photographs)))[:, None, None]
    return photographs


def norb_files() -> dict[str, bytes]:
    contents = {
        chunk: {"dat": pairs(chunk), "cat": CATEGORIES[chunk].astype(np.int32), "info": info(chunk)}
        for chunk in (TRAINING, TESTING)
    }
    return {
        f"{chunk}-{kind}.mat.gz": matrix(array) for chunk, kinds in contents.items() for kind, array in kinds.items()
    }


def small_norb(changed: Mapping[str, bytes], root: Path, **options: Any) -> dict[str, ImageSplit]:
    dataset = SmallNorb(**options)
    place(dataset, norb_files() | changed, root)
    return load_splits(dataset, options, root)


def rows_of(split: ImageSplit) -> np.ndarray:
    """Numbers of the rows of all files, read from the pixels, where the factors and classes are those of the rows."""
    assert split.images.dtype == np.uint8
    assert split.images.shape[1:] == SmallNorb.image_shape
    rows = split.images[:, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(split.images, np.broadcast_to(rows[:, None, None, None], split.images.shape))
    categories = np.concatenate([CATEGORIES[TRAINING], CATEGORIES[TESTING]])[rows]
    _, elevation, azimuth, lighting = np.concatenate([info(TRAINING), info(TESTING)])[rows].T
    np.testing.assert_array_equal(split.labels, categories)
    expected = np.stack([categories, elevation, azimuth / 2, lighting], axis=1)
    np.testing.assert_array_equal(factors_of(split), expected)
    return rows


@pytest.mark.parametrize("block", [7, 1000])
def test_smallnorb_keeps_the_official_test_toys_and_the_first_camera(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.images.smallnorb.BLOCK", block)
    splits = small_norb({}, tmp_path)
    rows = {name: rows_of(split) for name, split in splits.items()}
    assert sorted(rows["test"]) == list(range(100, 150))
    assert rows["test"].tolist() != sorted(rows["test"])
    assert sorted([*rows["train"], *rows["validation"]]) == list(range(100))
    assert np.bincount(rows["validation"] % 5).tolist() == [2] * 5


def test_training_on_all_of_smallnorb_leaves_validation_and_test_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "all").mkdir()
    some = small_norb({}, tmp_path / "some")
    everything = small_norb({}, tmp_path / "all", train_on_all=True)
    for name in ("validation", "test"):
        np.testing.assert_array_equal(rows_of(everything[name]), rows_of(some[name]))
    rows = rows_of(everything["train"])
    assert sorted(rows) == list(range(150))
    assert rows.tolist() != sorted(rows)


def test_smallnorb_counts_its_images() -> None:
    assert SmallNorb().num_images == 2 * 5 * 5 * 9 * 18 * 6 == 48_600
    assert SmallNorb(train_on_all=True).num_images == 48_600 + 2_430 + 24_300


def test_smallnorb_is_scaled_by_lanczos_filter_and_upright(tmp_path: Path) -> None:
    photographs = pairs(TESTING)
    photographs[:, 0] = np.random.RandomState(0).randint(0, 256, (96, 96))
    images = small_norb({f"{TESTING}-dat.mat.gz": matrix(photographs)}, tmp_path)["test"].images
    scaled = Image.fromarray(photographs[0, 0]).resize((64, 64), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(images, np.broadcast_to(np.asarray(scaled), images.shape))


DAT, CAT, INFO = (f"{TRAINING}-{kind}.mat.gz" for kind in ("dat", "cat", "info"))


def changed_info(column: int, value: int) -> bytes:
    rows = info(TRAINING)
    rows[3, column] = value
    return matrix(rows)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (DAT, matrix(pairs(TRAINING))[:-10], "cannot read .*: Compressed file ended"),
        (DAT, b"<html>", "cannot read .*: Not a gzipped file"),
        (DAT, flipped(matrix(pairs(TRAINING))), "cannot read .*: CRC check failed"),
        (DAT, gzip.compress(b""), r"is no matrix \['N', 2, 96, 96\] of uint8: it begins with the numbers \[\]"),
        (DAT, gzip.compress(b"<html>"), "cannot read .*: buffer size must be a multiple"),
        (DAT, matrix(pairs(TRAINING)[:, :1]), r"is no matrix .*numbers \[507333717, 4, 100, 1, 96, 96\]"),
        (DAT, matrix(pairs(TRAINING)[:0]), "is no matrix"),
        (
            DAT,
            gzip.compress(gzip.decompress(matrix(pairs(TRAINING)))[:-1]),
            "cannot read .*: it ends in row 99 of 100",
        ),
        (
            DAT,
            gzip.compress(gzip.decompress(matrix(pairs(TRAINING))) + b"\0"),
            "cannot read .*: it goes on after its 100 rows",
        ),
        (CAT, matrix(np.zeros(100)), r"is no matrix \['N'\] of int32: .*numbers \[507333715, 1, 100, 1, 1\]"),
        (INFO, matrix(info(TRAINING)[:, :3]), r"is no matrix \['N', 4\] of int32"),
    ],
)
def test_a_damaged_file_of_smallnorb_is_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message + ".* Delete it to download it again"):
        small_norb({name: content}, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (CAT, matrix(np.zeros(99, np.int32)), "hold 100, 99 and 100 rows"),
        (CAT, matrix(np.full(100, 5, np.int32)), "categories must be 0 to 4"),
        (CAT, matrix(np.full(100, -1, np.int32)), "categories must be 0 to 4"),
        (INFO, changed_info(1, 9), "elevations 0 to 8"),
        (INFO, changed_info(2, 3), "azimuths 0, 2 to 34"),
        (INFO, changed_info(2, 36), "azimuths 0, 2 to 34"),
        (INFO, changed_info(3, 6), "lightings 0 to 5"),
    ],
)
def test_files_of_smallnorb_that_do_not_fit_are_refused(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message + ".*elete them to download them again"):
        small_norb({name: content}, tmp_path)
