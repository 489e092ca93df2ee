"""Omniglot, from its authors' archives of drawings."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from datasets.base import DataError, ImageDataset, ImageSplit, RemoteFile
from datasets.images.splits import stratified_validation

FOLDER = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
BACKGROUND, EVALUATION = "images_background", "images_evaluation"
SIDE = 105
"""Pixels of a drawing's side as stored."""


class Omniglot(ImageDataset):
    """32,460 drawings of 1,623 characters of 50 alphabets, by 20 people each.

    The authors' 20 "evaluation" alphabets (13,180 drawings) are for test, their 30 "background" alphabets (19,280) for
    training, less two drawings of each character, which are for validation. So all the test's classes are new.
    The class is the alphabet; alphabets are numbered in their names' order over both parts. The 28×28 "OMNIGLOT" of
    importance weighted autoencoders (arXiv 1509.00519) is another file, split otherwise: results do not compare. The
    checksums are tensorflow_datasets'.

    Args:
        size: 28, white on black as MNIST, scaled by a bilinear filter that covers all pixels; or 64, black on white as
            stored, interpolated bilinearly between the four nearest pixels and repeated to 3 channels, as in the code
            of the Gromov–Wasserstein autoencoder (arXiv 2209.07007).
    """

    name = "omniglot"
    summary = "32,460 handwritten characters of 50 alphabets, scaled to 28×28 or 64×64, official test alphabets"
    license = "MIT"
    citation = (
        "Lake, Salakhutdinov, Tenenbaum: Human-level concept learning through probabilistic program induction. "
        "Science 2015"
    )
    url = "https://github.com/brendenlake/omniglot"
    num_images = 32_460
    num_classes = 50
    files = (
        RemoteFile(
            f"omniglot-{BACKGROUND}.zip",
            f"{FOLDER}{BACKGROUND}.zip",
            sha256="ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
            size=9_464_212,
        ),
        RemoteFile(
            f"omniglot-{EVALUATION}.zip",
            f"{FOLDER}{EVALUATION}.zip",
            sha256="1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
            size=6_462_886,
        ),
    )

    def __init__(self, *, size: Literal[28, 64] = 28) -> None:
        self.size = size
        self.image_shape = (3 if size == 64 else 1, size, size)

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        images, characters = self._read(files[f"omniglot-{BACKGROUND}.zip"], BACKGROUND)
        test_images, test_characters = self._read(files[f"omniglot-{EVALUATION}.zip"], EVALUATION)
        alphabets = sorted({alphabet for alphabet, _ in characters + test_characters})
        labels, test_labels = (
            np.array([alphabets.index(alphabet) for alphabet, _ in each], np.int64)
            for each in (characters, test_characters)
        )
        numbers = np.unique(characters, axis=0, return_inverse=True)[1].reshape(-1)
        parts = {
            name: ImageSplit(images=images[chosen], labels=labels[chosen])
            for name, chosen in stratified_validation(numbers).items()
        }
        return {**parts, "test": ImageSplit(images=test_images, labels=test_labels)}

    def _read(self, path: Path, folder: str) -> tuple[np.ndarray, list[tuple[str, str]]]:
        """Images uint8 [N, *image_shape] of an archive in its names' order, with alphabet and character of each."""
        name = "the list of drawings"
        try:
            with zipfile.ZipFile(path) as archive:
                names = sorted(name for name in archive.namelist() if name.endswith(".png"))
                places = [name.split("/") for name in names]
                if not names or any(len(place) != 4 or place[0] != folder for place in places):
                    raise DataError(
                        f"{path} does not hold drawings {folder}/ALPHABET/CHARACTER/….png. "
                        "Delete it to download it again"
                    )
                images = np.empty((len(names), *self.image_shape), np.uint8)
                for name, image in zip(names, images, strict=True):
                    with archive.open(name) as file, Image.open(file, formats=["PNG"]) as drawing:
                        if drawing.size != (SIDE, SIDE):  # known from the header, before anything is decoded
                            raise DataError(
                                f"{path}: {name} has {drawing.width}×{drawing.height} pixels, not {SIDE}×{SIDE}. "
                                "Delete it to download it again"
                            )
                        image[:] = self._scale(drawing.convert("L"))
        except (OSError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"cannot read {name} in {path}: {error}. Delete it to download it again") from error
        return images, [(alphabet, character) for _, alphabet, character, _ in places]

    def _scale(self, drawing: Image.Image) -> np.ndarray:
        """Black on white, 105×105 -> uint8 [size, size]."""
        if self.size == 28:
            return 255 - np.asarray(drawing.resize((28, 28), Image.Resampling.BILINEAR))
        centers = (np.arange(self.size) + 0.5) * SIDE / self.size - 0.5
        weights = np.maximum(1 - np.abs(centers[:, None] - np.arange(SIDE)), 0)
        return np.rint(weights @ np.asarray(drawing) @ weights.T).astype(np.uint8)
