"""The two contracts a dataset fulfils: `ImageDataset` (autoencoding) and `PairDataset` (transport).

A dataset is one file with one class. The keyword-only arguments of its constructor are its options; they and
`version` identify its content. Construction is cheap and touches no file: properties such as `image_shape` are known
from the options alone, which is what sweeps.toml is validated against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

SPLITS = ("train", "validation", "test")


class DataError(Exception):
    """Data cannot be had or kept; the message says what, where and what to do."""


@dataclass(frozen=True)
class Factor:
    """A ground-truth factor of variation: integers 0 … size-1."""

    name: str
    size: int


@dataclass(frozen=True)
class RemoteFile:
    """A file a dataset needs: fetched from `url`, or placed by hand, and verified.

    sha256: of the whole file, in hexadecimal.
    git_blob: where no SHA-256 is known, the identifier of the content in its authors' git repository.
    md5: where that is all that is known. It tells damaged files and other versions, not forged ones.
    size: in bytes, 0 where it is not known.
    """

    name: str
    url: str
    sha256: str = ""
    git_blob: str = ""
    md5: str = ""
    size: int = 0

    def __post_init__(self) -> None:
        if [self.sha256, self.git_blob, self.md5].count("") != 2:
            raise ValueError(
                f"{self.name}: a file is verified by its SHA-256, its identifier in git or its MD5, one of them"
            )

    @property
    def checksum(self) -> str:
        """What it is verified by, and its value, in words."""
        kind = "SHA-256" if self.sha256 else "git blob" if self.git_blob else "MD5"
        return f"{kind} {self.sha256 or self.git_blob or self.md5}"


@dataclass(frozen=True)
class ImageSplit:
    """Arrays of one split; labels and factors are None where the dataset has none.

    images: uint8 [N, C, H, W]; labels: int64 [N]; factors: int64 [N, F].
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    factors: np.ndarray | None = None


@dataclass(frozen=True)
class Picture:
    """Pixels uint8 [H, W, 3] and a sentence that says what they show."""

    pixels: np.ndarray
    caption: str


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
    identifying: ClassVar[str] = ""
    """What in it identifies people, in a sentence; empty where nothing does."""
    files: tuple[RemoteFile, ...] = ()
    """Of the class, or set in the constructor where options decide."""


class ImageDataset(Dataset):
    """Images, and where the set has them class labels and ground-truth factors.

    Set in the constructor: `image_shape` (channels, height, width), `num_images` of all splits (0 where only the files
    tell), `num_classes` (0 without labels) and `factors` (empty without ground truth).
    """

    image_shape: tuple[int, int, int]
    folders: tuple[str, ...] = ()
    """Folders of the user's own that it is made from, under <data folder>/folders; set in the constructor."""
    num_images: int = 0
    num_classes: int = 0
    factors: tuple[Factor, ...] = ()

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        """Makes the arrays of the splits "train", "validation" and "test" from `files` (by `RemoteFile.name`) and
        `folders` (by their names).

        Deterministic. `datasets.cache` calls it once a machine and memory-maps the outcome afterwards.
        """
        raise NotImplementedError


class Supplies(Protocol):
    """What a pair of distributions may ask for while it builds its arrays; `bench.supplies` has it."""

    def versions(self, parts: Iterable[str]) -> Mapping[str, int]:
        """Versions of image datasets and methods, by name."""

    def file(self, file: RemoteFile) -> Path:
        """The local path of a file with the right checksum, downloaded if need be."""

    def images(self, dataset: str, options: Mapping[str, Any]) -> Mapping[str, ImageSplit]:
        """The splits of an image dataset of that name."""

    def codes(
        self, dataset: str, autoencoder: str, params: Mapping[str, Any], *, steps: int, batch_size: int
    ) -> Mapping[str, np.ndarray]:
        """Codes float32 [N, d] of each split of an image dataset, by an autoencoder trained for them once a machine."""


class PairDataset(Dataset):
    """Samplers of a source and a target distribution, and where known the optimal map between them.

    Set in the constructor: `dim`, and `image_shape` where points are images. After `load`, whatever the pair is made
    of, there are `source_variance` and `target_variance`, the traces of the covariances.
    """

    dim: int
    image_shape: tuple[int, int, int] | None = None
    """(channels, height, width) where points are images in [0, 1], laid out in C order."""
    source_variance: float
    target_variance: float

    has_true_map: ClassVar[bool] = False
    has_labels: ClassVar[bool] = False
    has_modes: bool = False
    """Where options decide, set in the constructor."""

    parts: tuple[str, ...] = ()
    """Names of the image datasets and autoencoders it is made from; set in the constructor. Their versions belong to
    its identity."""

    cached: ClassVar[bool] = True
    """Whether what `build` makes is kept on disk; False where making it costs no more than reading it."""

    def ingredients(self) -> Mapping[str, Any]:
        """What decides the built arrays beside name, version, options, files and the dataset's module."""
        return {}

    def build(self, supplies: Supplies) -> dict[str, np.ndarray]:
        """Arrays that drawing needs, by name; by default none. Deterministic; once a machine where `cached`."""
        return {}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes what `build` made, memory-mapped and read-only, before anything below is called."""

    def source(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        """-> [count, dim] float32 on the CPU, drawn from `generator` alone.

        `split` tells apart the points a map may be trained on and those it is measured on, where there are only so
        many; a distribution that gives fresh points ignores it.
        """
        raise NotImplementedError

    def target(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        """-> [count, dim] float32 on the CPU, drawn from `generator` alone."""
        raise NotImplementedError

    def true_map(self, points: Tensor) -> Tensor:
        """[B, dim] source points -> [B, dim], the optimal map for squared Euclidean cost; needs `has_true_map`."""
        raise NotImplementedError

    def labeled_source(self, split: str) -> tuple[Tensor, Tensor]:
        """All source points of a split [N, dim] with their classes int64 [N]; needs `has_labels`."""
        raise NotImplementedError

    def labeled_target(self, split: str) -> tuple[Tensor, Tensor]:
        """All target points of a split [N, dim] with their classes int64 [N]; needs `has_labels`."""
        raise NotImplementedError

    def modes(self) -> tuple[Tensor, float]:
        """Centers [K, dim] of the target's K equally likely modes, and the standard deviation of each of them in any
        direction; needs `has_modes`.
        """
        raise NotImplementedError

    def render(self, push: Callable[[Tensor], Tensor], split: str) -> Picture | None:
        """Draws what a map does, where points are more than dots; `push` maps points [B, dim] on the CPU."""
        return None
