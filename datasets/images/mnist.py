"""MNIST as its authors split it, from the four files in IDX format."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from datasets.base import ImageDataset, ImageSplit, RemoteFile
from datasets.cache import DataError
from datasets.images.splits import stratified_validation

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"


class Mnist(ImageDataset):
    """70,000 handwritten digits: the official 10,000 for test, 60,000 for training less 10% of each class (validation).

    Args:
        size: 28; 32 with two black pixels added on every side; or 64, scaled bilinearly and repeated to 3 channels, as
            for the Gromov–Wasserstein autoencoder (arXiv 2209.07007).
    """

    name = "mnist"
    summary = "70,000 handwritten digits, 28×28, padded to 32×32 or scaled to 64×64, official test set"
    license = "CC BY-SA 3.0"
    citation = (
        "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition. Proc. IEEE 1998"
    )
    url = "https://yann.lecun.org/exdb/mnist/"
    num_classes = 10
    files = tuple(
        RemoteFile(f"mnist-{name}", MIRROR + name, sha256)
        for name, sha256 in {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        }.items()
    )

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
        images_path, labels_path = (files[f"mnist-{name}-{kind}-ubyte.gz"] for kind in ("images-idx3", "labels-idx1"))
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
            raise DataError(
                f"{images_path} and {labels_path} hold arrays {images.shape} and {labels.shape}, not the [N, 28, 28] "
                "and [N] of MNIST: delete them to download them again"
            )
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
