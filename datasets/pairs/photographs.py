"""Photographs on disk: read upright in RGB, and told apart by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageOps

from datasets.cache import DataError


def read_photograph(path: Path) -> Image.Image:
    """Any format that Pillow reads, as an RGB image turned upright; Pillow holds 4 bytes a pixel of it.

    Raises:
        DataError: there is no such file, or Pillow cannot read it.
    """
    try:
        with _of_any_size():
            image = Image.open(path)
        with image:
            ImageOps.exif_transpose(image, in_place=True)
            image.load()
            return image if image.mode == "RGB" else image.convert("RGB")
    except FileNotFoundError as error:
        raise DataError(f"there is no photograph {path}: correct the path") from error
    except (OSError, ValueError, SyntaxError) as error:
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


@contextmanager
def _of_any_size() -> Iterator[None]:
    """Pillow takes more than 179 megapixels for an attack; these files are the user's own."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
