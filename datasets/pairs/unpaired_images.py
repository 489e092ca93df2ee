"""Images of one kind to images of another, unpaired: style transfer.

The experiment of Korotin et al., "Wasserstein-2 Generative Networks" (2021, arXiv 1909.13082), with crops and
augmentation as in its authors' code. Theirs were folders of 256×256 photographs and paintings; without folders, patches
of photographs that ship with scikit-image serve.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from datasets.base import DataError, Picture, Supplies
from datasets.pairs.empirical import EmpiricalPair, as_points, draw
from datasets.photographs import read_photograph

GROUPS = {
    "skimage:day": ("coffee.png", "motorcycle_left.png"),
    "skimage:night": ("rocket.jpg", "hubble_deep_field.jpg"),
}
MARGIN = 256 / 200
"""Side of what is stored to that of an image: as much as rotation needs, in the proportions of the authors' crop."""
WINDOW = 82
"""Pixels of a photograph that a patch shows, margin included."""
PATCHES = {"train": 600, "validation": 75, "test": 75}
"""Of each photograph."""
BLOCK = 96
"""Side in pixels of what is held out in one piece."""
HELD_OUT_BLOCKS = 6
"""Of as many blocks of a photograph, row by row, one is for test, and one for validation."""
HELD_OUT = 0.1
"""Share of a folder's images that are for validation, and for test."""

DEGREES = 10.0
JITTER = 0.025
NOISE = 0.01
LUMA = (0.299, 0.587, 0.114)
COLUMNS = 8
MOST_WIDTH = 960


class UnpairedImages(EmpiricalPair):
    """Square RGB images in [0, 1] from two folders, drawn at random, 80/10/10% of the files by a fixed permutation.

    An image is scaled so that its shorter side is 1.28 · `size` pixels, and its middle is what is drawn. Augmentation
    is that of the authors: rotated by up to 10°, half of them mirrored, brightness, contrast and saturation changed by
    up to 2.5%, hue by up to 9°, and noise of deviation 0.01. Here the changes of color come in this order and not a
    random one, and the hue is turned in the plane of YIQ, which keeps the luma, so that all of them are one matrix an
    image. All splits are augmented alike. The variances are those of the images as they are.

    "skimage:day" and "skimage:night" are patches of 82×82 pixels at random places of two photographs each, 750 of
    each photograph. Patches overlap, but not with those of another split: every sixth block of 96×96 pixels is held out
    for test and every sixth for validation, and patches for training touch neither. Held-out patches show some tens of
    places, so no map comes to an energy distance of 0: from 512 augmented training images of 64×64 pixels to as many
    for test it is about 0.1 for the nights and 0.9 for the days, and to those for validation 1.1 for both, where two
    draws of training images are 0.01 apart, and day and night 25.

    Args:
        source: path of a folder, searched with all its folders for images in any format that Pillow reads, or
            "skimage:day" or "skimage:night".
        target: the same.
        size: pixels of a side; a multiple of 8, at least 16.
        augment: whether images are augmented, or drawn as they are.

    Raises:
        ValueError: the size is no such number, a name that begins with "skimage:" is neither of those, or a path is
            empty.
    """

    name = "unpaired-images"
    summary = "images of one folder to those of another; patches of day to night by default"
    license = (
        "that of the images; those of scikit-image are free of restrictions (its documentation tells their origin)"
    )
    citation = "Korotin et al. 2021, Wasserstein-2 Generative Networks, arXiv 1909.13082"
    url = "https://github.com/iamalexkorotin/Wasserstein2GenerativeNetworks"
    version = 2

    def __init__(
        self, *, source: str = "skimage:day", target: str = "skimage:night", size: int = 64, augment: bool = True
    ) -> None:
        for option, name in {"source": source, "target": target}.items():
            if not name or (name.startswith("skimage:") and name not in GROUPS):
                raise ValueError(
                    f'unpaired-images: {option} is "{name}"; it must be the path of a folder of images, or one of '
                    + ", ".join(GROUPS)
                )
        if size < 16 or size % 8:
            raise ValueError(f"unpaired-images: size is {size}; it must be a multiple of 8, at least 16")
        self.kinds = {"source": source, "target": target}
        self.size = size
        self.stored_size = math.ceil(MARGIN * size)
        self.augment = augment
        self.image_shape = (3, size, size)
        self.dim = 3 * size * size

    def ingredients(self) -> Mapping[str, Any]:
        """Of each file of a folder its path inside, size and time of change: to read them all costs too much.

        Groups that ship with scikit-image are known by their names.
        """
        return {
            side: kind if kind in GROUPS else _fingerprint(Path(kind).expanduser()) for side, kind in self.kinds.items()
        }

    def build(self, supplies: Supplies) -> dict[str, np.ndarray]:
        """Images with their margins, uint8 [N, 3, S, S], of each side and split.

        `RandomState` because NumPy promises never to change its stream, as `Generator`'s may between versions.
        """
        arrays = {}
        for side, kind in self.kinds.items():
            made = self._patches(kind) if kind in GROUPS else self._photographs(kind)
            arrays.update({f"{side}-{split}": images for split, images in made.items()})
        return arrays

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        border = (self.stored_size - self.size) // 2
        inside = slice(border, border + self.size)
        self.whole = arrays
        super().load({name: images[..., inside, inside] for name, images in arrays.items()})

    def source(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        return self._draw("source", count, generator, split)

    def target(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        return self._draw("target", count, generator, split)

    def render(self, push: Callable[[Tensor], Tensor], split: str) -> Picture:
        columns = min(COLUMNS, MOST_WIDTH // self.size)
        inputs, targets = (
            images[np.linspace(0, len(images) - 1, columns).astype(int)]
            for images in (self.arrays[f"{side}-{split}"] for side in ("source", "target"))
        )
        pushed = (255 * push(as_points(inputs)).clamp(0, 1)).round().to(torch.uint8).numpy()
        rows = np.stack([inputs, pushed.reshape(inputs.shape), targets])
        height, width = 3 * self.size, columns * self.size
        pixels = rows.transpose(0, 3, 1, 4, 2).reshape(height, width, 3)
        return Picture(pixels, "Source images, what the map makes of each, and images of the target")

    def _draw(self, side: str, count: int, generator: torch.Generator, split: str) -> Tensor:
        if not self.augment:
            return as_points(draw(self.arrays[f"{side}-{split}"], count, generator))
        rows = draw(self.whole[f"{side}-{split}"], count, generator)
        return augment(as_points(rows).view(rows.shape), self.size, generator).flatten(start_dim=1)

    def _patches(self, group: str) -> dict[str, np.ndarray]:
        """Patches of each photograph of a group, whose splits do not overlap."""
        random = np.random.RandomState(0)
        found: dict[str, list[np.ndarray]] = {split: [] for split in PATCHES}
        for path in _files(group):
            photograph = read_photograph(path)
            corners = _corners(photograph.width, photograph.height, random)
            for split, places in corners.items():
                crops = (photograph.crop((x, y, x + WINDOW, y + WINDOW)) for x, y in places)
                found[split].extend(self._stored(crop) for crop in crops)
        return {split: np.stack(patches) for split, patches in found.items()}

    def _photographs(self, folder: str) -> dict[str, np.ndarray]:
        """The images of a folder."""
        files = _files(folder)
        images, skipped = [], []
        for path in files:
            try:
                images.append(self._stored(read_photograph(path)))
            except DataError:
                skipped.append(path)
        if len(images) < 3:
            raise DataError(
                f"{folder}: {len(images)} of {len(files)} files are images; name a folder of at least 3, one a split"
            )
        if skipped:
            warnings.warn(
                f"{folder}: {len(skipped)} of {len(files)} files are no images, the first {skipped[0]}", stacklevel=2
            )
        stacked = np.stack(images)
        order = np.random.RandomState(0).permutation(len(images))
        held_out = max(1, round(HELD_OUT * len(images)))
        test, validation, train = np.split(order, [held_out, 2 * held_out])
        return {"train": stacked[train], "validation": stacked[validation], "test": stacked[test]}

    def _stored(self, image: Image.Image) -> np.ndarray:
        """The middle of an image with its margin, uint8 [3, S, S]."""
        side = (self.stored_size, self.stored_size)
        return np.asarray(ImageOps.fit(image, side, Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def augment(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Random views [N, 3, size, size] of images [N, 3, S, S] in [0, 1], as `UnpairedImages` tells."""
    count = len(images)

    def uniform(reach: float) -> Tensor:
        return reach * (2 * torch.rand(count, generator=generator) - 1)

    angle = torch.deg2rad(uniform(DEGREES))
    mirror = 1.0 - 2.0 * torch.randint(2, (count,), generator=generator)
    scale = size / images.shape[-1]
    zero = torch.zeros(count)
    across = torch.stack([mirror * angle.cos(), -angle.sin(), zero], dim=1)
    down = torch.stack([mirror * angle.sin(), angle.cos(), zero], dim=1)
    grid = affine_grid(scale * torch.stack([across, down], dim=1), [count, 3, size, size], align_corners=False)
    views = grid_sample(images, grid, align_corners=False)

    brightness, contrast, saturation = (1 + uniform(JITTER) for _ in range(3))
    matrix = _chroma_matrix(saturation, 2 * math.pi * uniform(JITTER))
    grey = torch.einsum("c,nchw->n", torch.tensor(LUMA), views) / size**2
    colored = torch.einsum("n,nij,njhw->nihw", brightness * contrast, matrix, views)
    shifted = colored + (brightness * (1 - contrast) * grey)[:, None, None, None]
    return (shifted + NOISE * torch.randn(views.shape, generator=generator)).clamp(0, 1)


def _corners(width: int, height: int, random: np.random.RandomState) -> dict[str, np.ndarray]:
    """Left and top [PATCHES, 2] of the patches of each split in a photograph of `width` by `height` pixels."""
    rows, columns = np.mgrid[: height // BLOCK, : width // BLOCK]
    blocks = BLOCK * np.stack([columns.ravel(), rows.ravel()], axis=1)
    held_out = {"validation": blocks[HELD_OUT_BLOCKS // 2 :: HELD_OUT_BLOCKS], "test": blocks[::HELD_OUT_BLOCKS]}
    corners = {
        split: np.resize(places, (PATCHES[split], 2)) + random.randint(0, BLOCK - WINDOW + 1, (PATCHES[split], 2))
        for split, places in held_out.items()
    }
    everywhere = np.stack(np.meshgrid(np.arange(width - WINDOW + 1), np.arange(height - WINDOW + 1)), -1).reshape(-1, 2)
    free = np.ones(len(everywhere), bool)
    for block in np.concatenate(list(held_out.values())):
        free &= ~((everywhere < block + BLOCK) & (block < everywhere + WINDOW)).all(axis=1)
    chosen = random.randint(0, np.count_nonzero(free), PATCHES["train"])
    return {"train": everywhere[free][chosen], **corners}


def _chroma_matrix(saturation: Tensor, hue: Tensor) -> Tensor:
    """[N] factors and angles -> [N, 3, 3]: scales and turns the chroma of RGB colors, and keeps their luma."""
    to_yiq = torch.tensor([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])
    turned = torch.zeros(len(hue), 3, 3)
    turned[:, 0, 0] = 1
    turned[:, 1, 1] = turned[:, 2, 2] = saturation * hue.cos()
    turned[:, 2, 1] = saturation * hue.sin()
    turned[:, 1, 2] = -turned[:, 2, 1]
    return torch.linalg.inv(to_yiq) @ turned @ to_yiq


def _fingerprint(folder: Path) -> str:
    """Changes with the names, sizes and times of change of the files under a folder.

    Raises:
        DataError: there is no such folder, or nothing in it.
    """
    facts = [(path.relative_to(folder).as_posix(), path.stat()) for path in _files(str(folder))]
    listed = json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in facts])
    return hashlib.sha256(listed.encode()).hexdigest()


def _files(kind: str) -> list[Path]:
    """The photographs of a group, or every file under a folder, in the order of their paths.

    Raises:
        DataError: there is no such folder, or nothing in it.
    """
    if kind in GROUPS:
        import skimage  # slow to import, which listing the datasets should not be

        return [Path(skimage.__path__[0]) / "data" / name for name in GROUPS[kind]]
    folder = Path(kind).expanduser()
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    if not found:
        raise DataError(f"there is no folder {folder} with files in it: name a folder of images")
    return found
