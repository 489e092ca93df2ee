"""The Street View House Numbers' cropped digits, from their authors' MATLAB files."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datasets.base import DataError, ImageDataset, ImageSplit, RemoteFile
from datasets.images.splits import stratified_validation

FOLDER = "http://ufldl.stanford.edu/housenumbers/"
TRAIN, TEST = "svhn-train_32x32.mat", "svhn-test_32x32.mat"


class Svhn(ImageDataset):
    """99,289 digits of house numbers, in color: the official 26,032 for test, 73,257 for training less 10%.

    Those 10% of each class are for validation. The class is the digit (0 is stored as 10). The 531,131 easier "extra"
    digits are left out, as is usual where images are modelled. The checksums are tensorflow_datasets'.
    """

    name = "svhn"
    summary = "99,289 digits of house numbers, in color, 32×32, official test set"
    license = "non-commercial use only"
    citation = (
        "Netzer, Wang, Coates, Bissacco, Wu, Ng: Reading digits in natural images with unsupervised feature learning. "
        "NIPS workshop on deep learning and unsupervised feature learning 2011"
    )
    url = "https://ufldl.stanford.edu/housenumbers/"
    image_shape = (3, 32, 32)
    num_images = 99_289
    num_classes = 10
    files = (
        RemoteFile(
            TRAIN,
            FOLDER + "train_32x32.mat",
            sha256="435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            size=182_040_794,
        ),
        RemoteFile(
            TEST,
            FOLDER + "test_32x32.mat",
            sha256="cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            size=64_275_384,
        ),
    )

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        images, labels = _read(files[TRAIN])
        parts = {
            name: ImageSplit(images=images[chosen], labels=labels[chosen])
            for name, chosen in stratified_validation(labels).items()
        }
        return {**parts, "test": ImageSplit(*_read(files[TEST]))}


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 3, 32, 32] and digits int64 [N] of a file with X [32, 32, 3, N] and y [N, 1], 1 to 10."""
    from scipy.io import loadmat  # slow to import, which listing the datasets should not be
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(path, variable_names=["X", "y"])
    # NotImplementedError is what the reader raises of a MATLAB 7.3 file, which is HDF5; the others, of damaged ones.
    except (OSError, LookupError, MatReadError, NotImplementedError, TypeError, ValueError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}. Delete it to download it again") from error
    if missing := {"X", "y"} - found.keys():
        raise DataError(f"{path} has no variable {min(missing)}. Delete it to download it again")
    images, labels = found["X"], found["y"]
    count = images.shape[-1]
    if (images.shape, images.dtype, labels.shape) != ((32, 32, 3, count), np.uint8, (count, 1)):
        raise DataError(
            f"{path} holds X {images.shape} of {images.dtype} and y {labels.shape}, not [32, 32, 3, N] of uint8 and "
            "[N, 1]. Delete it to download it again"
        )
    if not np.isin(labels, np.arange(1, 11)).all():
        raise DataError(f"{path} has labels that are not 1 to 10. Delete it to download it again")
    return images.transpose(3, 2, 0, 1), labels[:, 0].astype(np.int64) % 10
