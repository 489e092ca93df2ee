"""The USPS digits, from LIBSVM's text files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datasets.base import DataError, ImageDataset, ImageSplit, RemoteFile
from datasets.images.splits import stratified_validation

FOLDER = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"


class Usps(ImageDataset):
    """9,298 handwritten digits from envelopes, 16×16: the official 2,007 for test, 7,291 less 10% for training.

    Those 10% of each class are for validation. Greys come as -1 … 1 and are rounded to 0 … 255 (torchvision cuts off
    the fraction instead, so its pixels are at times one lower).
    """

    name = "usps"
    summary = "9,298 handwritten digits from envelopes, 16×16, official test set"
    license = "not stated; published for research"
    citation = "Hull: A database for handwritten text recognition research. IEEE TPAMI 1994"
    url = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html"
    image_shape = (1, 16, 16)
    num_images = 9_298
    num_classes = 10
    files = (
        RemoteFile("usps.bz2", FOLDER + "usps.bz2", md5="ec16c51db3855ca6c91edd34d0e9b197"),
        RemoteFile("usps.t.bz2", FOLDER + "usps.t.bz2", md5="8ea070ee2aca1ac39742fdd1ef5ed118"),
    )

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        images, labels = _read(files["usps.bz2"])
        parts = {
            name: ImageSplit(images=images[chosen], labels=labels[chosen])
            for name, chosen in stratified_validation(labels).items()
        }
        return {**parts, "test": ImageSplit(*_read(files["usps.t.bz2"]))}


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 1, 16, 16] and digits int64 [N] of a file whose lines are "label 1:grey … 256:grey".

    A label is the digit plus 1.
    """
    from sklearn.datasets import load_svmlight_file  # slow to import, which listing the datasets should not be

    try:
        greys, labels = load_svmlight_file(str(path), n_features=256, zero_based=False, dtype=np.float32)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}. Delete it to download it again") from error
    greys = greys.toarray()
    if not (len(labels) and np.isin(labels, np.arange(1, 11)).all() and (np.abs(greys) <= 1).all()):
        raise DataError(
            f"{path} holds no digits: labels must be 1 to 10, greys -1 to 1. Delete it to download it again"
        )
    images = np.rint((greys + 1) * (255 / 2)).astype(np.uint8)
    return images.reshape(-1, 1, 16, 16), labels.astype(np.int64) - 1
