"""scikit-learn's handwritten digits, 8×8: small enough for tests that train."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datasets.base import ImageDataset, ImageSplit
from datasets.images.splits import stratified_split


class Digits(ImageDataset):
    """1,797 digits of 8×8 pixels: the test part of the UCI set, which is the part scikit-learn ships.

    Grey levels 0 … 16 are scaled to 0 … 255. The split is ours, about 70/10/20% of each class, by a fixed permutation.
    """

    name = "digits"
    summary = "1,797 handwritten digits, 8×8, as shipped with scikit-learn, our own split"
    license = "CC BY 4.0"
    citation = "Alpaydin, Kaynak: Optical Recognition of Handwritten Digits. UCI Machine Learning Repository 1998"
    url = "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits"
    image_shape = (1, 8, 8)
    num_images = 1_797
    num_classes = 10

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        from sklearn.datasets import load_digits

        source = load_digits()
        images = np.rint(source.images * (255 / 16)).astype(np.uint8)[:, None]
        return {
            name: ImageSplit(images=images[chosen], labels=source.target[chosen].astype(np.int64))
            for name, chosen in stratified_split(source.target).items()
        }
