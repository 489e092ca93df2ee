"""Room on disk for images too many to be held in memory while their dataset is built."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path

import numpy as np

from datasets.base import DataError
from datasets.downloads import MOVE_ELSEWHERE


def disk_images(shape: tuple[int, int, int, int], folder: Path) -> np.ndarray:
    """Black images uint8 [N, C, H, W] in a file without a name in `folder`, which is gone when the array is.

    Raises:
        DataError: the folder has no room for them twice, here and in the cache, or cannot be written.
    """
    needed = math.prod(shape)
    try:
        # Asked beforehand, because a memory map that finds the disk full kills the process.
        free = shutil.disk_usage(folder).free
        if free < 2 * needed:
            raise DataError(
                f"{folder} has room for {free / 1e9:.1f} GB, {2 * needed / 1e9:.1f} are needed. {MOVE_ELSEWHERE}"
            )
        with tempfile.TemporaryFile(dir=folder) as file:
            return np.memmap(file, np.uint8, "w+", shape=shape)
    except OSError as error:
        raise DataError(f"cannot write in {folder}: {error.strerror or error}. {MOVE_ELSEWHERE}") from error
