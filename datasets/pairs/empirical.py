"""Pairs that are known by finite sets of points alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from datasets.base import PairDataset

CHUNK_ELEMENTS = 1 << 22


class EmpiricalPair(PairDataset):
    """Points drawn with replacement from the rows of arrays, which `build` names "source-train" … "target-test".

    Rows are bytes 0 … 255, for points in [0, 1], or points in float32; of any shape, flattened in C order. The
    variances are those of the training rows.
    """

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.source_variance = total_variance(arrays["source-train"])
        self.target_variance = total_variance(arrays["target-train"])

    def source(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        return as_points(draw(self.arrays[f"source-{split}"], count, generator))

    def target(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        return as_points(draw(self.arrays[f"target-{split}"], count, generator))


def draw(rows: np.ndarray, count: int, generator: torch.Generator) -> np.ndarray:
    """`count` random rows, with replacement; `rows` may be memory-mapped."""
    return rows[torch.randint(len(rows), (count,), generator=generator).numpy()]


def as_points(rows: np.ndarray) -> Tensor:
    """Rows [N, …] of bytes or numbers as points float32 [N, D]; bytes become 0 … 1."""
    points = torch.from_numpy(np.array(rows, dtype=np.float32)).flatten(start_dim=1)
    return points / 255 if rows.dtype == np.uint8 else points


def total_variance(rows: np.ndarray) -> float:
    """The trace of the covariance of `as_points(rows)`, which is not held as a whole."""
    step = max(1, CHUNK_ELEMENTS // rows[0].size)
    total, squares = torch.zeros(rows[0].size, dtype=torch.float64), 0.0
    for start in range(0, len(rows), step):
        points = as_points(rows[start : start + step]).double()
        total += points.sum(dim=0)
        squares += float(points.square().sum())
    return squares / len(rows) - float((total / len(rows)).square().sum())
