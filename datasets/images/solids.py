"""A solid in the corner of a room on 3D Shapes' grid of factors, rendered here: disentanglement in color.

Hues move nothing, so there are only 8 × 4 × 15 scenes. Each is ray-traced once, in white: what light the floor, the
walls and the object send to each pixel. An image is the sum of the three, each times its color.

The same image comes out on any machine: rays are followed by +, -, ×, ÷ and √ alone, which IEEE 754 rounds alike
everywhere, and the light of a ray is a whole number, so that sums and products after it are exact.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from datasets.base import Factor, ImageDataset, ImageSplit
from datasets.images.convex import Capsule, Cube, Cylinder, Solid
from datasets.images.rendered import check_counts, draw

FACTORS = (
    Factor("floor hue", 10),
    Factor("wall hue", 10),
    Factor("object hue", 10),
    Factor("scale", 8),
    Factor("shape", 4),
    Factor("orientation", 15),
)
SIZES = tuple(factor.size for factor in FACTORS)
GRID = int(np.prod(SIZES))
"""Number of images: 480,000."""

SHAPES: tuple[Solid, ...] = (Cube(1.1), Cylinder(0.58, 1.15), Capsule(0.66, 1.32), Capsule(0.45, 1.5))
"""In the order of the factor "shape", at scale 1: a cube, a cylinder, a sphere and a capsule."""
SCALES = np.linspace(0.75, 1.25, SIZES[3])
ANGLES = np.linspace(-30, 30, SIZES[5])
"""In degrees, from the room's diagonal."""
SATURATIONS = (0.55, 0.4, 1.0)
"""Of floor, walls and object: the object stands out in a room of its own hue."""

# The room: y points upwards, the floor is y = 0, the walls are x = WALL and z = WALL. The solid stands on the origin.
WALL = -2.3
DISTANCE, HEIGHT = 4.6, 2.35
"""Of the camera: from the axis x = z = 0, around which it moves, and above the floor."""
AIM = 0.55
"""Height of the point on the axis that is seen in the middle of the image."""
VIEW = 0.36
"""Half of what the image is wide, at a distance of 1."""
LAMP = np.array([1.5, 5.6, 3.5])
LAMP_WIDTH = 0.6
"""The lamp is a horizontal square, and every ray of a pixel is lit from another point of it: shadows are soft."""
AMBIENT = 0.42
"""Light that comes from everywhere; the lamp gives the rest to what faces it."""

LATTICE = tuple(((i + 0.5) / 16, (i % 4 * 4 + i // 4 + 0.5) / 16) for i in range(16))
"""Where rays go through a pixel of 64×64: x and y in (0, 1), spread evenly, no two in a row or a column."""
BRIGHTEST = 256
"""Of a ray's light, a whole number."""
BLOCK = 16
"""Images colored at once: few enough for the processor's cache."""


class Solids(ImageDataset):
    """Cubes, cylinders, spheres and capsules in a room, varied in the hues of floor, walls and object, scale, shape
    and orientation.

    The factors, their sizes and their order are those of 3D Shapes, as are the four shapes and the range of the
    orientation, -30° to 30°, by which the camera goes around the object. It is not 3D Shapes: room, light, colors and
    proportions are ours. So results on it are never compared with those published on 3D Shapes. After some 5 seconds of
    ray tracing, a core makes tens of thousands of images a second.

    Images are drawn from the grid in the order of one fixed permutation, train from its beginning, validation and
    test from its end. So the splits are disjoint points of the grid, a larger training set contains the smaller one,
    and the test set is the same for every training set. The exception is a training set of the whole grid, 480,000
    images: validation and test are then part of it.

    Args:
        size: pixels of a side.
        train: number of training images.
        validation: number of validation images.
        test: number of test images.

    Raises:
        ValueError: a split is empty, or the splits do not fit in the grid.
    """

    name = "solids"
    summary = "a solid in a room on 3D Shapes' grid of six factors, in color, rendered here"
    license = "Apache-2.0 (rendered by this package)"
    citation = "grid of factors: Burgess, Kim: 3D Shapes dataset. 2018"
    url = "https://github.com/google-deepmind/3d-shapes"
    factors = FACTORS

    def __init__(
        self, *, size: Literal[32, 64] = 64, train: int = 40_000, validation: int = 5_000, test: int = 5_000
    ) -> None:
        self.counts = {"train": train, "validation": validation, "test": test}
        check_counts(self.name, self.counts, GRID)
        self.size = size
        self.image_shape = (3, size, size)
        self.num_images = sum(self.counts.values())

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        return {
            split: ImageSplit(images=render(numbers, self.size), factors=factors_of(numbers))
            for split, numbers in draw(self.counts, GRID).items()
        }


def factors_of(indices: np.ndarray) -> np.ndarray:
    """Image numbers int [N] in 0 … 479,999, in 3D Shapes' order (orientation fastest) -> factors int64 [N, 6].

    Raises ValueError where a number is out of range.
    """
    return np.stack(np.unravel_index(indices, SIZES), axis=-1).astype(np.int64)


def index_of(factors: np.ndarray) -> np.ndarray:
    """The inverse of `factors_of`: int [N, 6] -> int64 [N]; raises ValueError where a factor is out of range."""
    return np.ravel_multi_index(tuple(np.moveaxis(factors, -1, 0)), SIZES).astype(np.int64)


def render(indices: np.ndarray, size: Literal[32, 64]) -> np.ndarray:
    """Image numbers int [N] -> uint8 [N, 3, size, size], RGB.

    Hues grow from red through green and blue. With orientation the camera moves to the right around the object, and
    the room's corner with it in the image.
    """
    factors = factors_of(indices)
    hues, (scale, shape, orientation) = factors[:, :3], factors[:, 3:].T
    light, palette = _light(size), _palette()
    images = np.empty((len(indices), 3, size, size), dtype=np.uint8)
    for start in range(0, len(indices), BLOCK):
        block = slice(start, start + BLOCK)
        colors = palette[np.arange(3), hues[block]].swapaxes(1, 2)
        # Exact in whatever order: the products are multiples of 1/(BRIGHTEST × rays of a pixel), of 22 bits at most.
        seen = np.matmul(colors, light[scale[block], shape[block], orientation[block]])
        images[block] = (seen + 0.5).reshape(-1, 3, size, size)
    return images


@cache
def _palette() -> np.ndarray:
    """Colors of floor, walls and object by hue: whole numbers, float32 [3, 10, RGB]."""
    colors = [[colorsys.hsv_to_rgb(hue / 10, saturation, 1) for hue in range(10)] for saturation in SATURATIONS]
    return np.rint(255 * np.array(colors)).astype(np.float32)


@cache
def _light(size: Literal[32, 64]) -> np.ndarray:
    """From white floor, walls and object to each pixel, in [0, 1]: float32 [8, 4, 15, 3, size × size]."""
    fine = 64 // size
    blocks = _scenes().reshape(*SIZES[3:], 3, size, fine, size, fine)
    light = blocks.sum(axis=(-3, -1), dtype=np.float32) / (BRIGHTEST * len(LATTICE) * fine**2)
    return light.reshape(*SIZES[3:], 3, size * size)


@cache
def _scenes() -> np.ndarray:
    """Sums over a pixel's rays of the light from white floor, walls and object: uint16 [8, 4, 15, 3, 64, 64]."""
    scenes = np.zeros((*SIZES[3:], 3, 64, 64), dtype=np.uint16)
    for orientation, angle in enumerate(ANGLES):
        for across, along in LATTICE:
            eye, direction = _camera(angle, across, along)
            lamp = LAMP + LAMP_WIDTH * np.array([along - 0.5, 0, 0.5 - across])
            for shape, solid in enumerate(SHAPES):
                for scale, factor in enumerate(SCALES):
                    light, part = _trace(eye, direction, _column(*lamp), solid, factor)
                    for number in range(3):
                        scenes[scale, shape, orientation, number] += np.where(part == number, light, 0)
    return scenes


# One ray of each pixel. Points and directions are float64 [3, 64, 64], or [3, 1, 1].


def _camera(angle: float, across: float, along: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the camera is, and the directions of its rays (of no certain length) through that point of each pixel."""
    turn = math.radians(45 + angle)
    cos, sin = round(math.cos(turn), 12), round(math.sin(turn), 12)  # their last digits depend on the machine
    length = math.sqrt(DISTANCE * DISTANCE + (HEIGHT - AIM) * (HEIGHT - AIM))
    ahead, dip = DISTANCE / length, (HEIGHT - AIM) / length
    right = VIEW / 32 * (np.arange(64) - 32 + across)
    down = VIEW / 32 * (np.arange(64)[:, None] - 32 + along)
    forth = ahead - dip * down
    direction = np.broadcast_arrays(cos * right - sin * forth, -dip - ahead * down, -sin * right - cos * forth)
    return _column(DISTANCE * sin, HEIGHT, DISTANCE * cos), np.stack(direction)


def _trace(
    eye: np.ndarray, direction: np.ndarray, lamp: np.ndarray, solid: Solid, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """The light that rays meet, uint16 [64, 64], and what sends it: 0 floor, 1 walls, 2 object."""
    planes = (_column(WALL, 0, WALL) - eye) / direction
    planes = np.where(planes > 0, planes, np.inf)
    nearest = planes.argmin(axis=0)
    enter, leave = solid.meet(eye / scale, direction / scale)
    hit = enter < leave
    point = eye + np.where(hit, enter, planes.min(axis=0)) * direction
    normal = np.where(hit, solid.normal(point / scale), nearest == _column(0, 1, 2))

    to_lamp = lamp - point
    cosine = _dot(normal, to_lamp) / np.sqrt(_dot(to_lamp, to_lamp))
    enter, leave = solid.meet(point / scale, to_lamp / scale)
    lit = hit | (enter >= leave)  # a convex solid throws no shadow on what of it faces the lamp
    # Near the solid less of the surrounding light comes down to the floor.
    near = np.where(hit, 0, np.maximum(0, 1 - _dot(point, point) / (scale * scale)))
    light = AMBIENT * (1 - near * near / 2) + (1 - AMBIENT) * lit * np.maximum(0, cosine)
    return np.rint(BRIGHTEST * light).astype(np.uint16), np.where(hit, 2, nearest != 1)


def _column(x: float, y: float, z: float) -> np.ndarray:
    return np.array([x, y, z]).reshape(3, 1, 1)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Written out, as how NumPy orders a sum depends on the machine. Of the first axis."""
    products = a * b
    return products[0] + products[1] + products[2]
