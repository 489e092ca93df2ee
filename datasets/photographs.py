"""Photographs on disk: read upright in RGB, and told apart by content."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from datasets.base import DataError

UNREADABLE = (
    *(OSError, ValueError, TypeError, SyntaxError, OverflowError, MemoryError, struct.error),
    Image.DecompressionBombError,
)
"""What Pillow raises of files that are damaged, too large or no images."""


def read_photograph(path: Path, *, of_any_size: bool = False, on_white: bool = False) -> Image.Image:
    """Any format that Pillow reads, as an RGB image turned upright; Pillow holds 4 bytes a pixel of it.

    Args:
        of_any_size: reads more than 179 megapixels too, which Pillow takes for an attack: for the user's own files.
        on_white: lays what is transparent on white; by default its hidden colors show.

    Raises:
        DataError: there is no such file, or Pillow cannot read it, or its pixels are fractions or wide integers.
    """
    try:
        with _of_any_size() if of_any_size else nullcontext(), Image.open(path) as image:
            ImageOps.exif_transpose(image, in_place=True)
            image.load()
            if on_white and image.has_transparency_data:
                layers = Image.new("RGBA", image.size, "white"), image.convert("RGBA")
                return Image.alpha_composite(*layers).convert("RGB")
            return _rgb(image)
    except FileNotFoundError as error:
        raise DataError(f"there is no photograph {path}: correct the path") from error
    except UNREADABLE as error:
        raise DataError(f"cannot read {path} as a photograph: {error}. Give a file that Pillow can read") from error


def content_sha256(paths: Sequence[Path]) -> str:
    """One hash of the content of files, in their order.

    Raises:
        DataError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}. Correct the path, or what may be read") from error
    return digest.hexdigest()


def _rgb(image: Image.Image) -> Image.Image:
    """An image in RGB, 16-bit greys scaled to 8 bits, where Pillow would clip them.

    Raises:
        ValueError: pixels are fractions, whose range is unknown, or integers beyond 16 bits.
    """
    if image.mode == "F":
        raise ValueError("its pixels are fractions, of which no one knows what is white; save it with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        greys = np.asarray(image).astype(np.int64)
        if greys.min() < 0 or greys.max() > 65535:
            raise ValueError("its pixels are beyond 16 bits; save it with 8 or 16 bits")
        image = Image.fromarray((greys / 257).round().astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


@contextmanager
def _of_any_size() -> Iterator[None]:
    """Lifts Pillow's limit, which it checks again while it reads a TIFF."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
