"""Small files in place of a data set's downloads, whole and damaged, and what becomes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datasets.base import ImageDataset, ImageSplit, RemoteFile

TRAIN, TEST = np.repeat(np.arange(10), 20), np.arange(10)
"""Labels of the small sets: 20 of each class and one."""


def place(dataset: ImageDataset, files: Mapping[str, bytes], root: Path) -> None:
    """Puts files where the dataset looks for its own, and has it expect their checksums."""
    assert {file.name for file in dataset.files} == set(files)
    (root / "files").mkdir()
    for name, content in files.items():
        (root / "files" / name).write_bytes(content)
    dataset.files = tuple(
        RemoteFile(name, f"http://127.0.0.1:1/{name}", hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    )


def assert_split(splits: Mapping[str, ImageSplit], train: np.ndarray, test: np.ndarray) -> None:
    """The images `test` in their order, and `train`, no two alike, of which 2 of each class are for validation.

    Args:
        train, test: uint8 [N, C, H, W], of the labels `TRAIN` and `TEST`.
    """
    found: dict[bytes, int] = {}
    for name, per_class in (("train", 18), ("validation", 2)):
        images, labels = splits[name].images, splits[name].labels
        assert labels is not None
        assert (images.dtype, images.shape[1:], labels.dtype) == (np.uint8, train.shape[1:], np.int64)
        assert np.bincount(labels).tolist() == [per_class] * 10
        found.update(zip(map(bytes, images), labels.tolist(), strict=True))
    assert found == dict(zip(map(bytes, train), TRAIN.tolist(), strict=True))
    np.testing.assert_array_equal(splits["test"].images, test)
    np.testing.assert_array_equal(splits["test"].labels, TEST)


def flipped(content: bytes) -> bytes:
    """One byte changed in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


def factors_of(split: ImageSplit) -> np.ndarray:
    assert split.factors is not None
    assert split.factors.dtype == np.int64
    return split.factors
