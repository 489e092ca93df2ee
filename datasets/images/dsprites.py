"""dSprites, from its authors' NumPy archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from datasets.base import DataError, Factor, ImageSplit, RemoteFile
from datasets.images.factor_grid import BLOCK, FactorGrid
from datasets.images.npz import read_npz

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
COMMIT = "fa310c66517cfc1939d77fe17c725154efc97127"


class DSprites(FactorGrid):
    """737,280 white squares, ellipses and hearts on black, one for each combination of five factors.

    The authors' sixth factor, color, has one value and is left out. Pixels are 0 or 255. Orientations 0 and 39 are the
    same turn, as the 40 divide the whole one into 39 steps.

    There are no official splits: 80% are for training, 10% for validation and 10% for test, by one fixed permutation.

    Args:
        train_on_all: train on the whole grid, as the study by Locatello et al. (arXiv 1811.12359) does; validation and
            test are then part of what is trained on.
    """

    name = "dsprites"
    summary = "737,280 white squares, ellipses and hearts on black, 64×64, on a grid of five factors"
    license = "Apache-2.0; images made with LÖVE, zlib/libpng license"
    citation = "Matthey, Higgins, Hassabis, Lerchner: dSprites. Disentanglement testing Sprites dataset. 2017"
    url = "https://github.com/google-deepmind/dsprites-dataset"
    image_shape = (1, 64, 64)
    factors = (
        Factor("shape", 3),
        Factor("scale", 6),
        Factor("orientation", 40),
        Factor("posX", 32),
        Factor("posY", 32),
    )
    files = (
        RemoteFile(
            FILE,
            f"https://raw.githubusercontent.com/google-deepmind/dsprites-dataset/{COMMIT}/{FILE}",
            git_blob="d98996d3f8ee1550e06b9d4ed78d0beb478910d5",
        ),
    )

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        path, columns = files[FILE], 1 + len(self.factors)
        classes = np.concatenate(
            list(read_npz(path, "latents_classes", (self.grid_size, columns), np.int64, self.grid_size))
        )
        return self.split(self._images(path), self.number(path, classes[:, 1:]), path.parent)

    def _images(self, path: Path) -> Iterator[np.ndarray]:
        """uint8 [n, 1, 64, 64] at a time."""
        for bits in read_npz(path, "imgs", (self.grid_size, 64, 64), np.uint8, BLOCK):
            if bits.max() > 1:
                raise DataError(f"{path} has a pixel {bits.max()}, not 0 or 1. Delete it to download it again")
            yield bits[:, None] * np.uint8(255)
