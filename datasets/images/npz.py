"""Arrays of NumPy's .npz archives, read block by block and never as pickles."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from datasets.base import DataError
from datasets.images.blocks import read_blocks


def read_npz(
    path: Path, name: str, shape: tuple[int, ...], dtype: type[np.generic], block: int
) -> Iterator[np.ndarray]:
    """The array `name` of an archive, as pieces [n, …] with n = `block` but for the last.

    Args:
        shape, dtype: those it must have. So no array of objects is read, which could run code.

    Raises:
        DataError: the file is no archive, is damaged or lacks the array, or the array is another one.
    """
    wanted = np.dtype(dtype)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            if (version := npy.read_magic(stream)) != (1, 0):
                raise ValueError(f"version {version} of the .npy format, not (1, 0)")
            found_shape, fortran_order, found = npy.read_array_header_1_0(stream)
            if (found_shape, found) != (shape, wanted) or fortran_order:
                raise DataError(
                    f"{path} holds {name} {found_shape} of {found} in {'Fortran' if fortran_order else 'C'} order, "
                    f"not {shape} of {wanted} in C order. Delete it to download it again"
                )
            yield from read_blocks(stream, shape, wanted, block)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"cannot read {name} in {path}: {error}. Delete it to download it again") from error
