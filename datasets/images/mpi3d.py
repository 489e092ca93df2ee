"""MPI3D, from its authors' NumPy archives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from datasets.base import Factor, ImageSplit, RemoteFile
from datasets.images.factor_grid import BLOCK, FactorGrid, combinations
from datasets.images.npz import read_npz

Variant = Literal["toy", "realistic", "real"]
FILES = {
    variant: RemoteFile(
        f"mpi3d_{variant}.npz",
        f"https://huggingface.co/datasets/waleedgondal/mpi3d/resolve/main/mpi3d_{variant}.npz",
        md5=md5,
    )
    for variant, md5 in {
        "toy": "55889cb7c7dfc655d6e0277beee88868",
        "realistic": "59a6225b88b635365f70c91b3e52f70f",
        "real": "0f33f609918fb5c97996692f91129802",
    }.items()
}


class Mpi3D(FactorGrid):
    """1,036,800 images of a robot's arm that holds an object, one for each combination of seven factors.

    Factors are numbered as in the authors' table: colors white, green, red, blue, brown and olive; shapes cone, cube,
    cylinder, hexagonal, pyramid and sphere; sizes small and large; the camera at the top, in the center and at the
    bottom; backgrounds purple, sea green and salmon; and the two axes of the arm.

    There are no official splits: 80% are for training, 10% for validation and 10% for test, by one fixed permutation.
    An archive has 12.7 GB, and building needs twice as much besides.

    The publishers give no checksums. These MD5s are those that disent pins for the files at the authors' former
    address.

    Args:
        variant: "toy", simple renderings; "realistic" renderings; or "real", photographs.
        train_on_all: train on the whole grid, as the study by Locatello et al. (arXiv 1811.12359) does with other sets;
            validation and test are then part of what is trained on.
    """

    name = "mpi3d"
    summary = "1,036,800 renderings or photographs of a robot's arm with an object, 64×64, on a grid of seven factors"
    license = "CC BY 4.0"
    citation = (
        "Gondal, Wüthrich, Miladinović, Locatello, Breidt, Volchkov, Akpo, Bachem, Schölkopf, Bauer: On the transfer "
        "of inductive bias from simulation to the real world: a new disentanglement dataset. NeurIPS 2019"
    )
    url = "https://github.com/rr-learning/disentanglement_dataset"
    image_shape = (3, 64, 64)
    factors = (
        Factor("object color", 6),
        Factor("object shape", 6),
        Factor("object size", 2),
        Factor("camera height", 3),
        Factor("background color", 3),
        Factor("horizontal axis", 40),
        Factor("vertical axis", 40),
    )
    files = tuple(FILES.values())

    def __init__(self, *, variant: Variant = "toy", train_on_all: bool = False) -> None:
        super().__init__(train_on_all=train_on_all)
        self.files = (FILES[variant],)

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        path = files[self.files[0].name]
        blocks = read_npz(path, "images", (self.grid_size, 64, 64, 3), np.uint8, BLOCK)
        factors = combinations([factor.size for factor in self.factors])
        return self.split((block.transpose(0, 3, 1, 2) for block in blocks), factors, path.parent)
