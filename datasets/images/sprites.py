"""Sprites on dSprites' grid of factors, rendered here: ground truth for disentanglement, without a download.

A sprite's center moves by whole pixels of the 64×64 image, so there are only 3 × 6 × 40 appearances. Each is drawn
once, finely, and an image is a window cut from it. Results on these images are not results on dSprites: the grid is
the same, but the shapes are drawn with smooth edges, and not exactly its shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from datasets.base import Factor, ImageDataset, ImageSplit
from datasets.images.rendered import check_counts, draw

FACTORS = (Factor("shape", 3), Factor("scale", 6), Factor("orientation", 40), Factor("posX", 32), Factor("posY", 32))
SIZES = tuple(factor.size for factor in FACTORS)
GRID = int(np.prod(SIZES))
"""Number of images: 737,280."""

SCALES = np.linspace(0.5, 1, SIZES[1])
ANGLES = np.linspace(0, 2 * np.pi, SIZES[2]) % (2 * np.pi)
PATCH = 64 - (SIZES[3] - 1)
"""Pixels of a square that holds any sprite: its 32 positions fill the 64 pixels of an image."""
RADIUS = 16.3
"""In pixels of 64: every shape at scale 1 lies in this circle about its center, which a patch holds however it is
turned. No multiple of the distance of samples, so that no straight edge runs along samples, where rounding decides."""
SUBSAMPLES = 8
"""Per pixel and axis: an edge pixel has one of 65 greys."""


class Sprites(ImageDataset):
    """White squares, ellipses and hearts on black, varied in shape, scale, orientation and position.

    As in dSprites the 40 orientations divide the whole turn into 39 steps, both ends included: orientations 0 and 39
    look the same. All other images of a shape differ, as neither a square's quarter turn nor an ellipse's half turn
    is a whole number of steps. A core makes hundreds of thousands of images a second.

    Images are drawn from the grid in the order of one fixed permutation, train from its beginning, validation and
    test from its end. So the splits are disjoint points of the grid, a larger training set contains the smaller one,
    and the test set is the same for every training set. The exception is a training set of the whole grid, 737,280
    images: validation and test are then part of it, as in the study by Locatello et al. (2019), which trains on all
    images and draws the evaluation points from among them.

    Args:
        size: pixels of a side.
        train: number of training images.
        validation: number of validation images.
        test: number of test images.
        stride: keeps every so-manieth orientation and position, with all shapes and scales: a coarser grid, on which
            evaluation is faster (DCI's cost grows with the factors' sizes) and fewer images tell the whole story.

    Raises:
        ValueError: a split is empty, or the splits do not fit in the grid.
    """

    name = "sprites"
    summary = "squares, ellipses and hearts on dSprites' grid of five factors, rendered here with smooth edges"
    license = "Apache-2.0 (rendered by this package)"
    citation = "grid of factors: Matthey, Higgins, Hassabis, Lerchner: dSprites. 2017"
    url = "https://github.com/google-deepmind/dsprites-dataset"

    def __init__(
        self,
        *,
        size: Literal[32, 64] = 64,
        train: int = 40_000,
        validation: int = 5_000,
        test: int = 5_000,
        stride: Literal[1, 2, 4, 8] = 1,
    ) -> None:
        self.strides = (1, 1, stride, stride, stride)
        self.factors = tuple(
            Factor(factor.name, factor.size // step) for factor, step in zip(FACTORS, self.strides, strict=True)
        )
        grid = math.prod(factor.size for factor in self.factors)
        counts = {"train": train, "validation": validation, "test": test}
        check_counts(self.name, counts, grid)
        self.size = size
        self.grid = grid
        self.counts = counts
        self.num_images = sum(counts.values())
        self.image_shape = (1, size, size)

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        splits = {}
        for split, numbers in draw(self.counts, self.grid).items():
            factors = np.stack(np.unravel_index(numbers, [factor.size for factor in self.factors]), axis=-1)
            images = render(index_of(factors * self.strides), self.size)
            splits[split] = ImageSplit(images=images, factors=factors.astype(np.int64))
        return splits


def factors_of(indices: np.ndarray) -> np.ndarray:
    """Image numbers int [N] in 0 … 737,279, in dSprites' order (posY fastest) -> factors int64 [N, 5].

    Raises ValueError where a number is out of range.
    """
    return np.stack(np.unravel_index(indices, SIZES), axis=-1).astype(np.int64)


def index_of(factors: np.ndarray) -> np.ndarray:
    """The inverse of `factors_of`: int [N, 5] -> int64 [N]; raises ValueError where a factor is out of range."""
    return np.ravel_multi_index(tuple(np.moveaxis(factors, -1, 0)), SIZES).astype(np.int64)


def render(indices: np.ndarray, size: Literal[32, 64]) -> np.ndarray:
    """Image numbers int [N] -> uint8 [N, 1, size, size], the share of a pixel's area covered, from 0 to 255.

    posX grows to the right, posY downwards, orientation clockwise.
    """
    shape, scale, orientation, x, y = factors_of(indices).T
    left, top = SIZES[3] - 1 - x, SIZES[4] - 1 - y
    fine = 64 // size
    windows = sliding_window_view(_canvases(fine), (size, size), axis=(-2, -1))
    chosen = windows[shape, scale, orientation, top % fine, left % fine, top // fine, left // fine]
    return chosen[:, None]


@cache
def _canvases(fine: int) -> np.ndarray:
    """Every appearance amid black, such that any window of 64 pixels is an image.

    An output pixel is `fine`×`fine` pixels of 64. Windows begin at any of those, hence a canvas for each phase:
    -> uint8 [3, 6, 40, fine (y), fine (x), S, S].
    """
    border = SIZES[3] - 1
    canvas = np.pad(_appearances(), ((0, 0), (0, 0), (0, 0), (border, border), (border, border)))
    side = (canvas.shape[-1] - fine + 1) // fine
    phases = np.empty((*SIZES[:3], fine, fine, side, side), dtype=np.uint8)
    for y in range(fine):
        for x in range(fine):
            cut = canvas[..., y : y + side * fine, x : x + side * fine]
            blocks = cut.reshape(*SIZES[:3], side, fine, side, fine)
            phases[..., y, x, :, :] = np.rint(255 * blocks.mean(axis=(-3, -1)))
    return phases


def _appearances() -> np.ndarray:
    """Coverage in [0, 1] of a patch with the sprite in its middle: float32 [3, 6, 40, PATCH, PATCH]."""
    drawn = np.empty((*SIZES[:3], PATCH, PATCH), dtype=np.float32)
    samples = ((np.arange(PATCH * SUBSAMPLES) + 0.5) / SUBSAMPLES - PATCH / 2) / RADIUS
    x, y = samples[None, :], samples[:, None]
    for number, inside in enumerate(SHAPES):
        for orientation, angle in enumerate(ANGLES):
            right, down = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
            for scale, factor in enumerate(SCALES):
                hit = inside(right / factor, down / factor)
                blocks = hit.reshape(PATCH, SUBSAMPLES, PATCH, SUBSAMPLES)
                drawn[number, scale, orientation] = blocks.mean(axis=(1, 3))
    return drawn


# Shapes in the unit circle: do the points (right, down) lie inside?


def _square(right: np.ndarray, down: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(right), np.abs(down)) <= np.sqrt(0.5)


def _ellipse(right: np.ndarray, down: np.ndarray) -> np.ndarray:
    return right**2 + (down / 0.6) ** 2 <= 1


def _heart(right: np.ndarray, down: np.ndarray) -> np.ndarray:
    """A square standing on a corner, with half a disk on each of its two upper sides.

    With half sides of 1, the circle through the lower corner that touches both disks has its center √2·t above the
    square's and the radius √2·(1 + t), where t = (√2 - 1) / (3 - √2).
    """
    t = (np.sqrt(2) - 1) / (3 - np.sqrt(2))
    unit = np.sqrt(2) * (1 + t)
    a, b = unit * (right - down) / np.sqrt(2) + t, unit * (-right - down) / np.sqrt(2) + t  # along the sides, upwards
    return (np.maximum(np.abs(a), np.abs(b)) <= 1) | ((a - 1) ** 2 + b**2 <= 1) | (a**2 + (b - 1) ** 2 <= 1)


SHAPES: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (_square, _ellipse, _heart)
"""In the order of the factor "shape"."""
