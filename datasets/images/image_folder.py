"""One's own images, in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Literal

import numpy as np
from PIL import Image

from datasets.base import SPLITS, DataError, ImageDataset, ImageSplit
from datasets.cache import files_below
from datasets.images.scratch import disk_images
from datasets.images.splits import stratified_split, stratified_validation
from datasets.photographs import read_photograph

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


class ImageFolder(ImageDataset):
    """Images in a folder of one's own, `$BENCH_DATA/folders/<folder>`, cut to their central square and scaled.

    The folder has the subfolders train, test and, if there are to be other images than a tenth of those for training,
    validation; or none of them, and images are split at random, by a fixed permutation, into 70, 10 and 20%. With
    `classes`, a class is a subfolder of a split, or of the whole, and classes are split alike; without, subfolders mean
    nothing. Links are followed; what is transparent lies on white.

    A trial's settings hold the folder's name, not what is in it, so that results compare only where the folders are the
    same; an image that changes, comes or goes makes the arrays anew.

    Args:
        folder: its name under `$BENCH_DATA/folders`.
        size: pixels of a side, scaled bicubically.
        channels: 3 for color, 1 for grey by luma.
        classes: how many there are; 0 for images without classes.
    """

    name = "image-folder"
    summary = "one's own images from a folder, cut square and scaled"
    license = "that of the images"
    citation = "that of the images"
    identifying = "whatever the images show"

    def __init__(
        self, *, folder: str = "images", size: int = 64, channels: Literal[1, 3] = 3, classes: int = 0
    ) -> None:
        if not folder or PurePath(folder).is_absolute() or ".." in PurePath(folder).parts:
            raise ValueError(f'image-folder: folder is "{folder}"; give the name of one in $BENCH_DATA/folders')
        if size < 1 or classes < 0:
            raise ValueError(f"image-folder: size is {size} and classes {classes}; they cannot be below 1 and 0")
        self.folders = (folder,)
        self.image_shape = (channels, size, size)
        self.num_classes = classes

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        folder = files[self.folders[0]]
        given = [split for split in SPLITS if (folder / split).is_dir()]
        if given and not {"train", "test"} <= set(given):
            raise DataError(f"{folder} has a folder {given[0]}; it needs both train and test, or no splits at all")
        if given and (others := [path.name for path in folder.iterdir() if path.is_dir() and path.name not in SPLITS]):
            raise DataError(
                f"{folder} has a folder {others[0]} beside {', '.join(given)}; splits are {', '.join(SPLITS)}"
            )
        paths = {split: _images(folder / split) for split in given} or {"train": _images(folder)}
        labels = self._labels(folder, paths, given)
        if "validation" not in paths:
            divide = stratified_validation if given else stratified_split
            whole = paths["train"], labels["train"]
            for split, chosen in divide(whole[1]).items():
                paths[split], labels[split] = [whole[0][i] for i in chosen], whole[1][chosen]
        for split in SPLITS:
            if not paths[split]:
                raise DataError(
                    f"{folder} has no images for {split}; there must be some, {', '.join(sorted(SUFFIXES))}"
                )
        return {
            split: ImageSplit(
                images=self._read(paths[split], folder.parent), labels=labels[split] if self.num_classes else None
            )
            for split in SPLITS
        }

    def _labels(self, folder: Path, paths: Mapping[str, Sequence[Path]], given: Sequence[str]) -> dict[str, np.ndarray]:
        """int64 [N] by split: numbers of the class folders in their alphabetical order, or zeros without classes."""
        if not self.num_classes:
            return {split: np.zeros(len(images), np.int64) for split, images in paths.items()}
        roots = {split: folder / split if given else folder for split in paths}
        parts = {split: [path.relative_to(roots[split]).parts for path in images] for split, images in paths.items()}
        names = sorted({names[0] for split in parts.values() for names in split if len(names) > 1})
        stray = [
            path for split in parts for path, names in zip(paths[split], parts[split], strict=True) if len(names) == 1
        ]
        if stray:
            raise DataError(f"{stray[0]} is in no class: put it into a folder named like its class, or set classes = 0")
        if len(names) != self.num_classes:
            raise DataError(f"{folder} has {len(names)} classes ({', '.join(names[:20])}), not {self.num_classes}")
        number = {name: i for i, name in enumerate(names)}
        return {split: np.array([number[names[0]] for names in of], np.int64) for split, of in parts.items()}

    def _read(self, paths: Sequence[Path], folder: Path) -> np.ndarray:
        """uint8 [N, C, H, W], on disk."""
        channels, size, _ = self.image_shape
        images = disk_images((len(paths), *self.image_shape), folder)
        for number, path in enumerate(paths):
            upright = read_photograph(path, on_white=True).convert("RGB" if channels == 3 else "L")
            side = min(upright.size)
            left, top = (upright.width - side) // 2, (upright.height - side) // 2
            square = upright.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
            images[number] = np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1)
        return images


def _images(folder: Path) -> list[Path]:
    """Images anywhere in a folder, in alphabetical order; hidden ones are left out."""
    found = (path for path in files_below(folder) if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
