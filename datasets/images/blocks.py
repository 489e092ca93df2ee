"""Arrays of raw elements in a stream, read block by block."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from typing import IO

import numpy as np


def read_blocks(
    stream: IO[bytes] | gzip.GzipFile, shape: tuple[int, ...], dtype: np.dtype, block: int
) -> Iterator[np.ndarray]:
    """The rest of a stream, an array in C order, as pieces [n, …] with n = `block` but for the last.

    Raises:
        ValueError: it has fewer or more elements than an array of that shape.
    """
    row = math.prod(shape[1:]) * dtype.itemsize
    for start in range(0, shape[0], block):
        count = min(block, shape[0] - start)
        content = stream.read(count * row)
        if len(content) < count * row:
            raise ValueError(f"it ends in row {start + len(content) // row:,} of {shape[0]:,}")
        yield np.frombuffer(content, dtype).reshape(count, *shape[1:])
    if stream.read(1):
        raise ValueError(f"it goes on after its {shape[0]:,} rows")
