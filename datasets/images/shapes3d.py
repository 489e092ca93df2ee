"""3D Shapes, from its authors' HDF5 file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datasets.base import DataError, Factor, ImageSplit, RemoteFile
from datasets.images.factor_grid import BLOCK, FactorGrid

FILE = "3dshapes.h5"


class Shapes3D(FactorGrid):
    """480,000 renderings of an object in a room, one for each combination of six factors.

    Factors are numbered in the order of their values. There are no official splits: 80% are for training, 10% for
    validation and 10% for test, by one fixed permutation.

    The publishers give no checksum. The one here, and the size, are those that TensorFlow Datasets pins; besides, it is
    checked that all combinations are there.

    Args:
        train_on_all: train on the whole grid, as the study by Locatello et al. (arXiv 1811.12359) does; validation and
            test are then part of what is trained on.
    """

    name = "shapes3d"
    summary = "480,000 renderings of an object in a room, 64×64, on a grid of six factors"
    license = "Apache-2.0"
    citation = "Burgess, Kim: 3D Shapes dataset. 2018"
    url = "https://github.com/google-deepmind/3d-shapes"
    image_shape = (3, 64, 64)
    factors = (
        Factor("floor hue", 10),
        Factor("wall hue", 10),
        Factor("object hue", 10),
        Factor("scale", 8),
        Factor("shape", 4),
        Factor("orientation", 15),
    )
    files = (
        RemoteFile(
            FILE,
            f"https://storage.googleapis.com/3d-shapes/{FILE}",
            sha256="0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785",
            size=267_573_662,
        ),
    )

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        import h5py  # slow to import, which listing the datasets should not be

        path = files[FILE]
        try:
            with h5py.File(path) as file:
                stored = file["images"]
                factors = self.number(path, file["labels"][...])
                if stored.shape != (len(factors), 64, 64, 3) or stored.dtype != np.uint8:
                    raise DataError(
                        f"{path} holds images {stored.shape} of {stored.dtype}, not {(len(factors), 64, 64, 3)} of "
                        "uint8. Delete it to download it again"
                    )
                starts = range(0, len(factors), BLOCK)
                blocks = (stored[start : start + BLOCK].transpose(0, 3, 1, 2) for start in starts)
                return self.split(blocks, factors, path.parent)
        except (OSError, KeyError) as error:
            raise DataError(f"cannot read {path}: {error}. Delete it to download it again") from error
