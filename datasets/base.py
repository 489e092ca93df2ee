"""The two contracts a dataset fulfils: `ImageDataset` (autoencoding) and `PairDataset` (transport).

A dataset is one file with one class. The keyword-only arguments of its constructor are its options; they and
`version` identify its content. Construction is cheap and touches no file: properties such as `image_shape` are known
from the options alone, which is what sweeps.toml is validated against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Factor:
    """A ground-truth factor of variation: integers 0 … size-1."""

    name: str
    size: int


@dataclass(frozen=True)
class RemoteFile:
    """A file a dataset needs: fetched from `url`, or placed by hand, and verified."""

    name: str
    url: str
    sha256: str


@dataclass(frozen=True)
class ImageSplit:
    """Arrays of one split; labels and factors are None where the dataset has none.

    images: uint8 [N, C, H, W]; labels: int64 [N]; factors: int64 [N, F].
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    factors: np.ndarray | None = None


class Dataset:
    """What both contracts share. Not subclassed directly."""

    name: ClassVar[str]
    """Lower-case and hyphenated, as in sweeps.toml."""
    version: ClassVar[int] = 1
    """Raise it when content changes: caches are rebuilt, and old rows no longer count as done."""
    summary: ClassVar[str]
    license: ClassVar[str]
    citation: ClassVar[str]
    url: ClassVar[str] = ""
    files: ClassVar[tuple[RemoteFile, ...]] = ()


class ImageDataset(Dataset):
    """Images, and where the set has them class labels and ground-truth factors.

    Set in the constructor: `image_shape` (channels, height, width), `num_classes` (0 without labels) and `factors`
    (empty without ground truth).
    """

    image_shape: tuple[int, int, int]
    num_classes: int = 0
    factors: tuple[Factor, ...] = ()

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        """Makes the arrays of the splits "train", "validation" and "test" from `files` (by `RemoteFile.name`).

        Deterministic. `datasets.cache` calls it once a machine and memory-maps the outcome afterwards.
        """
        raise NotImplementedError


class PairDataset(Dataset):
    """Samplers of a source and a target distribution, and where known the optimal map between them.

    Set in the constructor: `dim`, `source_variance` and `target_variance` (traces of the covariances).
    """

    dim: int
    has_true_map: ClassVar[bool] = False
    source_variance: float
    target_variance: float

    def source(self, count: int, generator: torch.Generator) -> Tensor:
        """-> [count, dim] float32 on the CPU, drawn from `generator` alone."""
        raise NotImplementedError

    def target(self, count: int, generator: torch.Generator) -> Tensor:
        """-> [count, dim] float32 on the CPU, drawn from `generator` alone."""
        raise NotImplementedError

    def true_map(self, points: Tensor) -> Tensor:
        """[B, dim] source points -> [B, dim], the optimal map for squared Euclidean cost; needs `has_true_map`."""
        raise NotImplementedError

    def true_inverse(self, points: Tensor) -> Tensor:
        """[B, dim] target points -> [B, dim], its inverse; needs `has_true_map`."""
        raise NotImplementedError
