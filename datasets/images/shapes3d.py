"""3D Shapes, from its authors' HDF5 file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasets.base import Factor, ImageDataset, ImageSplit, RemoteFile
from datasets.cache import DataError
from datasets.images.scratch import disk_images

if TYPE_CHECKING:
    import h5py

FILE = "3dshapes.h5"
BLOCK = 4096
"""Images read at once."""


class Shapes3D(ImageDataset):
    """480,000 renderings of an object in a room, one for each combination of six factors.

    Factors are numbered in the order of their values. There are no official splits; 80% are for training, 10% for
    validation and 10% for test, as for the Gromov–Wasserstein autoencoder (arXiv 2209.07007), here by one fixed
    permutation.

    The publishers give no checksum. The one here is the MD5 that two programs of others pin, the Gromov–Wasserstein
    autoencoder's baselines and disent; besides, it is checked that all combinations are there.
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
        RemoteFile(FILE, f"https://storage.googleapis.com/3d-shapes/{FILE}", md5="099a2078d58cec4daad0702c55d06868"),
    )

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        import h5py  # slow to import, which listing the datasets should not be

        path = files[FILE]
        try:
            with h5py.File(path) as file:
                stored = file["images"]
                factors = self._number(path, file["labels"][...])
                if stored.shape != (len(factors), 64, 64, 3) or stored.dtype != np.uint8:
                    raise DataError(
                        f"{path} holds images {stored.shape} of {stored.dtype}, not {(len(factors), 64, 64, 3)} of "
                        "uint8. Delete it to download it again"
                    )
                return self._split(path.parent, stored, factors)
        except (OSError, KeyError) as error:
            raise DataError(f"cannot read {path}: {error}. Delete it to download it again") from error

    def _split(self, folder: Path, stored: h5py.Dataset, factors: np.ndarray) -> dict[str, ImageSplit]:
        """The splits of images stored as uint8 [N, 64, 64, 3], each a file in `folder`."""
        count = len(factors)
        # RandomState because NumPy promises never to change its stream, as Generator's may between versions.
        order = np.random.RandomState(0).permutation(count)
        pieces = np.split(order, [count * 8 // 10, count * 9 // 10])
        splits = {
            name: ImageSplit(images=disk_images((len(piece), *self.image_shape), folder), factors=factors[piece])
            for name, piece in zip(("train", "validation", "test"), pieces, strict=True)
        }
        places = np.argsort(order)
        for start in range(0, count, BLOCK):
            images = stored[start : start + BLOCK].transpose(0, 3, 1, 2)
            offset = 0
            for split in splits.values():
                place = places[start : start + BLOCK] - offset
                here = (place >= 0) & (place < len(split.images))
                split.images[place[here]] = images[here]
                offset += len(split.images)
        return splits

    def _number(self, path: Path, values: np.ndarray) -> np.ndarray:
        """Values of the factors [N, 6] -> their numbers int64 [N, 6], where each combination is there once."""
        sizes = [factor.size for factor in self.factors]
        count = int(np.prod(sizes))
        columns = [np.unique(column, return_inverse=True) for column in np.atleast_2d(values).T]
        if [len(found) for found, _ in columns] == sizes:
            factors = np.stack([numbers for _, numbers in columns], axis=1)
            if len(factors) == count == len(np.unique(np.ravel_multi_index(factors.T, sizes))):
                return factors.astype(np.int64)
        raise DataError(
            f"{path} does not hold the {count:,} combinations of {' × '.join(map(str, sizes))} factors, once each. "
            "Delete it to download it again"
        )
