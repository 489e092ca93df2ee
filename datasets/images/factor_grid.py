"""What image sets share that hold every combination of their factors: numbers of the factors, and the splits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from datasets.base import DataError, ImageDataset, ImageSplit
from datasets.images.scratch import disk_images

BLOCK = 4096
"""Images read at once."""


class FactorGrid(ImageDataset):
    """One image for each combination of `factors`, without official splits.

    Images are put in the order of one fixed permutation: the first 80% are for training, the next 10% for validation
    and the last 10% for test, as for the Gromov–Wasserstein autoencoder (arXiv 2209.07007).

    Args:
        train_on_all: train on the whole grid, as the study by Locatello et al. (arXiv 1811.12359) does, which draws the
            points it evaluates on from the same images. Validation and test are the same images as otherwise, and then
            part of those trained on.
    """

    def __init__(self, *, train_on_all: bool = False) -> None:
        self.train_on_all = train_on_all
        self.num_images = sum(part.stop - part.start for part in self._parts(self.grid_size).values())

    @property
    def grid_size(self) -> int:
        """Number of combinations."""
        return math.prod(factor.size for factor in self.factors)

    def split(self, blocks: Iterable[np.ndarray], factors: np.ndarray, folder: Path) -> dict[str, ImageSplit]:
        """The splits, with their images in a file in `folder`.

        Args:
            blocks: the images in any order, uint8 [n, C, H, W] at a time, so that they need not fit in memory.
            factors: int64 [N, F], those of the images in that order.
            folder: with room for all images.

        Raises:
            DataError: `folder` has no room, or cannot be written.
        """
        # RandomState because NumPy promises never to change its stream, as Generator's may between versions.
        order = np.random.RandomState(0).permutation(len(factors))
        places = np.argsort(order)
        images = disk_images((len(factors), *self.image_shape), folder)
        done = 0
        for block in blocks:
            images[places[done : done + len(block)]] = block
            done += len(block)
        factors = factors[order]
        parts = self._parts(len(factors))
        return {name: ImageSplit(images[part], factors=factors[part]) for name, part in parts.items()}

    def _parts(self, count: int) -> dict[str, slice]:
        """The splits as parts of so many permuted images."""
        validation, test = count * 8 // 10, count * 9 // 10
        return {
            "train": slice(0, count if self.train_on_all else validation),
            "validation": slice(validation, test),
            "test": slice(test, count),
        }

    def number(self, path: Path, values: np.ndarray) -> np.ndarray:
        """Values of the factors [N, F] -> their numbers int64 [N, F], in the order of the values.

        Raises:
            DataError: the values, which are from the file `path`, are not each combination once.
        """
        sizes = [factor.size for factor in self.factors]
        columns = [np.unique(column, return_inverse=True) for column in np.atleast_2d(values).T]
        if [len(found) for found, _ in columns] == sizes:
            factors = np.stack([numbers for _, numbers in columns], axis=1)
            if len(factors) == self.grid_size == len(np.unique(np.ravel_multi_index(factors.T, sizes))):
                return factors.astype(np.int64)
        raise DataError(
            f"{path} does not hold the {self.grid_size:,} combinations of {' × '.join(map(str, sizes))} factors, once "
            "each. Delete it to download it again"
        )


def combinations(sizes: Sequence[int]) -> np.ndarray:
    """All combinations of factors of these sizes, the last factor changing fastest: int64 [N, F]."""
    return np.stack(np.unravel_index(np.arange(math.prod(sizes)), sizes), axis=1).astype(np.int64)
