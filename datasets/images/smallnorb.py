"""Small NORB, from its authors' six files of binary matrices."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.base import DataError, Factor, ImageDataset, ImageSplit, RemoteFile
from datasets.images.blocks import read_blocks
from datasets.images.splits import stratified_validation

FOLDER = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"
TRAINING, TESTING = "smallnorb-5x46789x9x18x6x2x96x96-training", "smallnorb-5x01235x9x18x6x2x96x96-testing"
STORED, SIZE = 96, 64
"""Pixels of a side, in the files and here."""
MAGIC: dict[type[np.generic], int] = {np.uint8: 0x1E3D4C55, np.int32: 0x1E3D4C54}
"""The number a file of such elements begins with."""
BLOCK = 1000
"""Rows read at once."""


class SmallNorb(ImageDataset):
    """48,600 photographs of 50 toys of five categories: those of 25 toys for test, of 25 others for training less 10%.

    The split by toys is official; those 10% of each category are for validation. The order within a split is random.

    As in disentanglement_lib, an image is that of the first of two cameras, scaled from 96×96 to 64×64 pixels by
    Lanczos' filter, and the toy, one of ten in its category, is no factor, but varies as if by chance. The category is
    the class too.

    Checksums and sizes are those that TensorFlow Datasets pins.

    Args:
        train_on_all: train on all images, as the study by Locatello et al. (arXiv 1811.12359) does; validation and test
            are then part of what is trained on.
    """

    name = "smallnorb"
    summary = "48,600 photographs of toys of five categories, scaled to 64×64, in four factors, official test set"
    license = "for research; may not be sold"
    citation = (
        "LeCun, Huang, Bottou: Learning methods for generic object recognition with invariance to pose and lighting. "
        "CVPR 2004"
    )
    url = FOLDER
    image_shape = (1, SIZE, SIZE)
    num_classes = 5
    factors = (Factor("category", 5), Factor("elevation", 9), Factor("azimuth", 18), Factor("lighting", 6))
    files = tuple(
        RemoteFile(f"{name}.mat.gz", f"{FOLDER}{name}.mat.gz", sha256, size=size)
        for name, sha256, size in (
            (f"{TRAINING}-dat", "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873", 131_896_188),
            (f"{TRAINING}-cat", "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa", 348),
            (f"{TRAINING}-info", "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32", 71_052),
            (f"{TESTING}-dat", "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474", 130_799_817),
            (f"{TESTING}-cat", "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff", 347),
            (f"{TESTING}-info", "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2", 10_428),
        )
    )

    def __init__(self, *, train_on_all: bool = False) -> None:
        self.train_on_all = train_on_all
        held_out = 2_430 + 24_300
        self.num_images = 48_600 + (held_out if train_on_all else 0)

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        training, testing = (self._read(files, chunk) for chunk in (TRAINING, TESTING))
        images, factors = (np.concatenate(arrays) for arrays in zip(training, testing, strict=True))
        categories, first = factors[:, 0], len(training[0])
        # RandomState because NumPy promises never to change its stream, as Generator's may between versions.
        random = np.random.RandomState(0)
        chosen = stratified_validation(categories[:first])
        chosen["test"] = first + random.permutation(len(images) - first)
        if self.train_on_all:
            chosen["train"] = random.permutation(len(images))
        return {name: ImageSplit(images[part], categories[part], factors[part]) for name, part in chosen.items()}

    def _read(self, files: Mapping[str, Path], chunk: str) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 [N, 1, 64, 64] and factors int64 [N, 4] of one of the two official sets."""
        path, category_path, info_path = (files[f"{chunk}-{kind}.mat.gz"] for kind in ("dat", "cat", "info"))
        categories = np.concatenate(list(_read_matrix(category_path, (), np.int32)))
        info = np.concatenate(list(_read_matrix(info_path, (4,), np.int32)))
        images = np.concatenate([_scale(pairs[:, 0]) for pairs in _read_matrix(path, (2, STORED, STORED), np.uint8)])
        if not len(images) == len(categories) == len(info):
            raise DataError(
                f"{path}, {category_path} and {info_path} hold {len(images):,}, {len(categories):,} and {len(info):,} "
                "rows: delete them to download them again"
            )
        _, elevation, azimuth, lighting = info.T  # the first is the toy; azimuths are in steps of 10 degrees
        factors = np.stack([categories, elevation, azimuth // 2, lighting], axis=1).astype(np.int64)
        if (azimuth % 2).any() or (factors < 0).any() or (factors >= [factor.size for factor in self.factors]).any():
            raise DataError(
                f"{category_path} or {info_path} is damaged: categories must be 0 to 4, elevations 0 to 8, azimuths "
                "0, 2 to 34 and lightings 0 to 5. Delete them to download them again"
            )
        return images, factors


def _scale(photographs: np.ndarray) -> np.ndarray:
    """uint8 [n, 96, 96] -> [n, 1, 64, 64]."""
    scaled = np.empty((len(photographs), 1, SIZE, SIZE), np.uint8)
    for photo, small in zip(photographs, scaled, strict=True):
        small[0] = np.asarray(Image.fromarray(photo).resize((SIZE, SIZE), Image.Resampling.LANCZOS))
    return scaled


def _read_matrix(path: Path, row: tuple[int, ...], dtype: type[np.generic]) -> Iterator[np.ndarray]:
    """A gzipped matrix [N, *row] of uint8 or int32, at most `BLOCK` rows at a time.

    The format, all little-endian: the number that tells the type, the number of axes, the length of each (of three
    where there are fewer) as 32-bit integers, and the elements in C order.

    Raises:
        DataError: the file is not gzipped, damaged, or holds another matrix.
    """
    axes, wanted = 1 + len(row), np.dtype(dtype).newbyteorder("<")
    try:
        with gzip.open(path) as stream:
            header = np.frombuffer(stream.read(4 * (2 + max(axes, 3))), "<i4").tolist()
            count = header[2] if len(header) > 2 else 0
            if count < 1 or header[: 2 + axes] != [MAGIC[dtype], axes, count, *row]:
                raise DataError(
                    f"{path} is no matrix {['N', *row]} of {wanted.name}: it begins with the numbers {header}. "
                    "Delete it to download it again"
                )
            yield from read_blocks(stream, (count, *row), wanted, BLOCK)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}. Delete it to download it again") from error
