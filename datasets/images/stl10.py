"""STL-10, from its authors' archive of binary files."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from datasets.base import DataError, ImageDataset, ImageSplit, RemoteFile
from datasets.images.scratch import disk_images
from datasets.images.splits import stratified_validation

ARCHIVE = "stl10_binary.tar.gz"
FOLDER = "stl10_binary"
LABELED = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
UNLABELED = "unlabeled_X.bin"
RECORD = 3 * 96 * 96
BLOCK = 1000
"""Images read at once."""


class Stl10(ImageDataset):
    """Photographs of ten kinds of animals and vehicles: the official 8,000 for test, 5,000 for training less 10%.

    Those 10% of each class are for validation. Classes, from 0 (stored as 1): airplane, bird, car, cat, deer, dog,
    horse, monkey, ship, truck. The checksum is tensorflow_datasets'.

    Args:
        unlabeled: trains on the 100,000 photographs without labels instead, as the authors mean it; these show other
            animals and vehicles too. All the 5,000 labeled ones are then for validation.
    """

    name = "stl10"
    summary = (
        "13,000 color photographs of ten classes, 96×96, official test set; or 100,000 more, unlabeled, to train on"
    )
    license = "not stated; photographs from ImageNet, for research"
    citation = "Coates, Lee, Ng: An analysis of single-layer networks in unsupervised feature learning. AISTATS 2011"
    url = "https://cs.stanford.edu/~acoates/stl10/"
    identifying = "people are in some photographs by chance, riders among them; nobody is named"
    image_shape = (3, 96, 96)
    num_classes = 10
    files = (
        RemoteFile(
            ARCHIVE,
            f"http://ai.stanford.edu/~acoates/stl10/{ARCHIVE}",
            sha256="f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
            size=2_640_397_119,
        ),
    )

    def __init__(self, *, unlabeled: bool = False) -> None:
        self.unlabeled = unlabeled
        self.num_images = 113_000 if unlabeled else 13_000

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        path = files[ARCHIVE]
        arrays = _read(path, [*LABELED, UNLABELED] if self.unlabeled else LABELED)
        train, test = (_labeled(path, arrays, part) for part in ("train", "test"))
        if self.unlabeled:
            return {
                "train": ImageSplit(images=arrays[UNLABELED]),
                "validation": ImageSplit(*train),
                "test": ImageSplit(*test),
            }
        images, labels = train
        parts = {
            name: ImageSplit(images=images[chosen], labels=labels[chosen])
            for name, chosen in stratified_validation(labels).items()
        }
        return {**parts, "test": ImageSplit(*test)}


def _labeled(path: Path, arrays: Mapping[str, np.ndarray], part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 3, 96, 96] and classes int64 [N] of "train" or "test"."""
    images, labels = arrays[f"{part}_X.bin"], arrays[f"{part}_y.bin"]
    if len(labels) != len(images) or not np.isin(labels, np.arange(1, 11)).all():
        raise DataError(
            f"{path}: {part}_y.bin must have a label of 1 to 10 for each of {len(images):,} images, but has "
            f"{len(labels):,} of {labels.min(initial=255)} to {labels.max(initial=0)}. Delete it to download it again"
        )
    return images, labels.astype(np.int64) - 1


def _read(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named files of an archive: images uint8 [N, 3, 96, 96], on disk ("…_X.bin"); bytes uint8 [N] ("…_y.bin")."""
    arrays: dict[str, np.ndarray] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:  # in the archive's order, as to go back is to unpack from the beginning
                name = member.name.removeprefix(f"{FOLDER}/")
                file = archive.extractfile(member) if name in names else None
                if file and name.endswith("_X.bin"):
                    arrays[name] = _read_images(path, name, file, member.size)
                elif file:
                    arrays[name] = np.frombuffer(file.read(), np.uint8)
                if len(arrays) == len(names):
                    return arrays
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}. Delete it to download it again") from error
    missing = next(name for name in names if name not in arrays)
    raise DataError(f"{path} has no file {FOLDER}/{missing}. Delete it to download it again")


def _read_images(path: Path, name: str, file: IO[bytes], size: int) -> np.ndarray:
    """uint8 [N, 3, 96, 96], on disk, of images stored channel by channel and column by column."""
    count, rest = divmod(size, RECORD)
    if rest or not count:
        raise DataError(
            f"{path}: {name} has {size:,} bytes, which is no multiple of an image's {RECORD:,}. "
            "Delete it to download it again"
        )
    images = disk_images((count, 3, 96, 96), path.parent)
    for start in range(0, count, BLOCK):
        stored = np.frombuffer(file.read(min(BLOCK, count - start) * RECORD), np.uint8)
        images[start : start + BLOCK] = stored.reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2)
    return images
