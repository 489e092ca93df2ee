"""What MNIST and the sets made in its likeness share: four files in IDX format, 28×28 pixels, ten classes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from datasets.base import DataError, ImageDataset, ImageSplit, RemoteFile
from datasets.images.splits import stratified_validation


class IdxImages(ImageDataset):
    """70,000 grey images: the official 10,000 for test, 60,000 for training less 10% of each class (validation).

    `files` are those of `idx_files` under the dataset's name. The option `size` is described where it is offered, as in
    `Mnist`.
    """

    num_images = 70_000
    num_classes = 10

    def __init__(self, *, size: Literal[28, 32, 64] = 28) -> None:
        self.size = size
        self.image_shape = (3 if size == 64 else 1, size, size)

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        whole = {name: self._read(files, name) for name in ("train", "t10k")}
        images, labels = whole["train"]
        parts = {name: (images[chosen], labels[chosen]) for name, chosen in stratified_validation(labels).items()}
        parts["test"] = whole["t10k"]
        return {name: ImageSplit(self._resize(images), labels) for name, (images, labels) in parts.items()}

    def _read(self, files: Mapping[str, Path], name: str) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 [N, 28, 28] and labels int64 [N]."""
        images_path, labels_path = (
            files[f"{self.name}-{name}-{kind}-ubyte.gz"] for kind in ("images-idx3", "labels-idx1")
        )
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or not len(labels):
            raise DataError(
                f"{images_path} and {labels_path} hold arrays {images.shape} and {labels.shape}, not the [N, 28, 28] "
                f"and [N] of {self.name}: delete them to download them again"
            )
        if labels.max() >= self.num_classes:
            raise DataError(f"{labels_path} has a label {labels.max()}, not 0 to 9. Delete it to download it again")
        return images, labels.astype(np.int64)

    def _resize(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, 28, 28] -> [N, *image_shape]."""
        if self.size == 64:
            resized = np.empty((len(images), *self.image_shape), np.uint8)
            for image, large in zip(images, resized, strict=True):
                large[:] = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR))
            return resized
        margin = (self.size - 28) // 2
        return np.pad(images, ((0, 0), (margin, margin), (margin, margin)))[:, None]


def idx_files(name: str, folder: str, facts: Mapping[str, tuple[str, int]]) -> tuple[RemoteFile, ...]:
    """The files of the dataset `name` at the address `folder`.

    Args:
        name: of the dataset.
        folder: their address, with a slash at its end.
        facts: SHA-256 and bytes of each, by MNIST's names less "-ubyte.gz".
    """
    return tuple(
        RemoteFile(f"{name}-{file}-ubyte.gz", f"{folder}{file}-ubyte.gz", sha256=sha256, size=size)
        for file, (sha256, size) in facts.items()
    )


def read_idx(path: Path) -> np.ndarray:
    """The array of unsigned bytes in a gzipped IDX file, uint8.

    The format: two zero bytes, the type (8: unsigned bytes), the number of axes, the length of each as a big-endian
    32-bit integer, and the elements in C order.

    Raises:
        DataError: the file is not gzipped, not of that format, or not whole.
    """
    try:
        with gzip.open(path) as stream:
            content = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}. Delete it to download it again") from error
    if content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise DataError(
            f"{path} is no IDX file of unsigned bytes: it begins with {content[:4]!r}. Delete it to download it again"
        )
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4)
    elements = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    expected = int(np.prod(shape, dtype=np.uint64))
    if len(elements) != expected:
        raise DataError(
            f"{path} has {len(elements):,} bytes of data, its header says {expected:,}. Delete it to download it again"
        )
    return elements.reshape(shape)
