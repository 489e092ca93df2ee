"""CIFAR-10, from its authors' archive of binary records."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datasets.base import DataError, ImageDataset, ImageSplit, RemoteFile
from datasets.images.splits import stratified_validation

ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"
RECORD = 1 + 3 * 32 * 32


class Cifar10(ImageDataset):
    """60,000 photographs of ten kinds of things: the official 10,000 for test, 50,000 for training less 10%.

    Those 10% of each class are for validation. Of the authors' three archives this is the one for C programs, which
    holds plain bytes; the one for Python holds the same as pickles, which may run code when they are read.
    """

    name = "cifar10"
    summary = "60,000 color photographs of ten classes, 32×32, official test set"
    license = "not stated; published for research"
    citation = "Krizhevsky: Learning multiple layers of features from tiny images. 2009"
    url = "https://www.cs.toronto.edu/~kriz/cifar.html"
    image_shape = (3, 32, 32)
    num_images = 60_000
    num_classes = 10
    files = (
        RemoteFile(
            ARCHIVE,
            f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            size=170_052_171,
        ),
    )

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        images, labels = _read(files[ARCHIVE], [f"data_batch_{number}.bin" for number in range(1, 6)])
        parts = {
            name: ImageSplit(images=images[chosen], labels=labels[chosen])
            for name, chosen in stratified_validation(labels).items()
        }
        return {**parts, "test": ImageSplit(*_read(files[ARCHIVE], ["test_batch.bin"]))}


def _read(path: Path, batches: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 3, 32, 32] and labels int64 [N] of the named files of an archive.

    A record is the label and the pixels, channel by channel and row by row, a byte each.
    """
    pieces = []
    try:
        with tarfile.open(path, "r:gz") as archive:
            for batch in batches:
                file = archive.extractfile(f"{FOLDER}/{batch}")
                content = file.read() if file else b""
                if not content or len(content) % RECORD:
                    raise DataError(
                        f"{path}: {batch} has {len(content):,} bytes, which is no multiple of a record's {RECORD:,}. "
                        "Delete it to download it again"
                    )
                pieces.append(np.frombuffer(content, np.uint8).reshape(-1, RECORD))
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}. Delete it to download it again") from error
    records = np.concatenate(pieces)
    if records[:, 0].max() > 9:
        raise DataError(f"{path} has a label {records[:, 0].max()}, not 0 to 9. Delete it to download it again")
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
