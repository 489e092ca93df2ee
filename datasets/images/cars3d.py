"""3D Cars, from the MATLAB files in its authors' archive."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.base import DataError, Factor, ImageSplit, RemoteFile
from datasets.images.factor_grid import FactorGrid, combinations

ARCHIVE = "nips2015-analogy-data.tar.gz"
MEMBER = re.compile(r"(\./)?data/cars/car_\d+_mesh\.mat")
STORED, SIZE = 128, 64
"""Pixels of a side, in the archive and here."""


class Cars3D(FactorGrid):
    """17,568 renderings of 183 car models on white, each from 4 elevations and 24 azimuths in steps of 15 degrees.

    The images of 128×128 pixels are scaled to 64×64 by Lanczos' filter, and the factors are those of
    disentanglement_lib. Car models are numbered in the order of their files' names.

    There are no official splits: 80% are for training, 10% for validation and 10% for test, by one fixed permutation.

    The publishers give no checksum, and the address is not encrypted; the MD5 is the one that disent pins.

    Args:
        train_on_all: train on the whole grid, as the study by Locatello et al. (arXiv 1811.12359) does; validation and
            test are then part of what is trained on.
    """

    name = "cars3d"
    summary = "17,568 renderings of 183 car models, scaled to 64×64, on a grid of three factors"
    license = "not stated; published for research"
    citation = "Reed, Zhang, Zhang, Lee: Deep visual analogy-making. NeurIPS 2015"
    url = "https://papers.nips.cc/paper/5845-deep-visual-analogy-making"
    image_shape = (3, SIZE, SIZE)
    factors = (Factor("elevation", 4), Factor("azimuth", 24), Factor("object type", 183))
    files = (RemoteFile(ARCHIVE, f"http://www.scottreed.info/files/{ARCHIVE}", md5="4e866a7919c1beedf53964e6f7a23686"),)

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        path = files[ARCHIVE]
        elevations, azimuths, models = (factor.size for factor in self.factors)
        cars = self._read(path)
        if len(cars) != models:
            raise DataError(f"{path} holds {len(cars)} cars, not {models}. Delete it to download it again")
        factors = combinations((models, elevations, azimuths))[:, [1, 2, 0]]
        return self.split((cars[name] for name in sorted(cars)), factors, path.parent)

    def _read(self, path: Path) -> dict[str, np.ndarray]:
        """The scaled images of each car by the name of its file, uint8 [elevations · azimuths, 3, 64, 64]."""
        cars = {}
        try:
            with tarfile.open(path, "r:gz") as archive:
                for member in archive:
                    if MEMBER.fullmatch(member.name) and (file := archive.extractfile(member)):
                        cars[member.name] = self._scale(path, member.name, file.read())
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise DataError(f"cannot read {path}: {error}. Delete it to download it again") from error
        return cars

    def _scale(self, path: Path, name: str, content: bytes) -> np.ndarray:
        """The images in a MATLAB file, where they are uint8 [128, 128, 3, azimuths, elevations], scaled."""
        from scipy.io import loadmat  # slow to import, which listing the datasets should not be

        try:
            images = loadmat(io.BytesIO(content), variable_names=["im"])["im"]
        except Exception as error:  # what the reader raises is not documented, and a damaged file can raise anything
            raise DataError(f"cannot read {name} in {path}: {error}. Delete it to download it again") from error
        elevations, azimuths, _ = (factor.size for factor in self.factors)
        shape = (STORED, STORED, 3, azimuths, elevations)
        if images.shape != shape or images.dtype != np.uint8:
            raise DataError(
                f"{path}: {name} holds images {images.shape} of {images.dtype}, not {shape} of uint8. "
                "Delete it to download it again"
            )
        views = images.transpose(4, 3, 0, 1, 2).reshape(-1, STORED, STORED, 3)
        scaled = np.empty((len(views), SIZE, SIZE, 3), np.uint8)
        for view, small in zip(views, scaled, strict=True):
            small[:] = np.asarray(Image.fromarray(view).resize((SIZE, SIZE), Image.Resampling.LANCZOS))
        return scaled.transpose(0, 3, 1, 2)
