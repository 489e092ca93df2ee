"""Applies a map of colors to images of any size, strip by strip.

    from datasets.pairs.recoloring import recolor_file

    recolor_file(method.push, "photograph.jpg", "recolored.png")

for a trained transport method of points in [0, 1]³, or any function of tensors [B, 3]. What does not fit in memory goes
through `recolor` as a memory-mapped array, such as an uncompressed TIFF:

    source = tifffile.memmap("scan.tif", mode="r")
    recolored = tifffile.memmap("recolored.tif", shape=source.shape, dtype="uint8", photometric="rgb")
    recolor(method.push, source, recolored)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datasets.base import DataError
from datasets.photographs import read_photograph

COLORS = 1 << 24
CHUNK = 1 << 14
"""Colors pushed at once: what a map needs for them is a few hundred numbers each."""

Push = Callable[[Tensor], Tensor]


def recolor(push: Push, image: np.ndarray, recolored: np.ndarray, *, tile_rows: int = 64) -> None:
    """Writes what a map makes of an image's colors.

    Every color is pushed once, however many pixels have it; so the map must give a point the same image wherever it
    stands. Beside the arrays this takes 70 MB for the table of all 16.7 million colors, some 30 bytes a pixel of a
    strip, and what the map needs for 16,384 points.

    Args:
        push: maps points float32 [B, 3] in [0, 1], on the CPU, to points [B, 3]; values outside [0, 1] are clipped.
        image: uint8 [H, W, 3], perhaps memory-mapped.
        recolored: uint8 [H, W, 3] to write to, perhaps memory-mapped, perhaps `image` itself.
        tile_rows: rows of a strip.

    Raises:
        ValueError: an array is not of that type and shape, or the map gives values that are not finite.
    """
    for array in (image, recolored):
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.shape != image.shape:
            raise ValueError(f"recolor needs arrays uint8 [H, W, 3] of one shape, not {array.dtype} {array.shape}")
    colors = _ColorTable(push)
    for top in range(0, len(image), tile_rows):
        recolored[top : top + tile_rows] = colors.apply(image[top : top + tile_rows])


def recolor_file(push: Push, path: str | Path, output: str | Path, *, tile_rows: int = 64) -> None:
    """Recolors a photograph, as `recolor`, and writes it in the format of the output's suffix.

    Pillow decodes and encodes whole images: this takes 4 bytes a pixel, 400 MB for 100 megapixels, beside what
    `recolor` takes.

    Raises:
        DataError: the photograph cannot be read, or the output cannot be written.
        ValueError: the map gives values that are not finite.
    """
    photograph = read_photograph(Path(path), of_any_size=True)
    colors = _ColorTable(push)
    for top in range(0, photograph.height, tile_rows):
        strip = (0, top, photograph.width, min(top + tile_rows, photograph.height))
        photograph.paste(Image.fromarray(colors.apply(np.asarray(photograph.crop(strip)))), strip)
    try:
        photograph.save(output)
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot write {output}: {error}. Give a suffix that Pillow knows, in a folder with room"
        ) from error


class _ColorTable:
    """What a map makes of the colors it has met."""

    def __init__(self, push: Push) -> None:
        self.push = push
        self.pushed = np.zeros((COLORS, 3), np.uint8)
        self.known = np.zeros(COLORS, bool)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> uint8 [H, W, 3]."""
        red, green, blue = np.moveaxis(pixels, -1, 0).astype(np.int32)
        colors = red << 16 | green << 8 | blue
        new = np.unique(colors[~self.known[colors]])
        for chunk in np.split(new, range(CHUNK, len(new), CHUNK)):
            self.pushed[chunk] = self._push(chunk)
        self.known[new] = True
        return self.pushed[colors]

    @torch.no_grad()
    def _push(self, colors: np.ndarray) -> np.ndarray:
        """Numbers of colors int32 [N] -> the colors they are mapped to, uint8 [N, 3]."""
        bytes_ = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=1)
        pushed = self.push(torch.from_numpy(bytes_).float() / 255)
        if not torch.isfinite(pushed).all():
            raise ValueError("the map gives values that are not finite: there is nothing to draw")
        return (255 * pushed.clamp(0, 1)).round().to(torch.uint8).numpy()
