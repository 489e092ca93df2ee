"""Splits of images that are rendered on a grid of factors, any number of them at will."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def check_counts(name: str, counts: Mapping[str, int], grid: int) -> None:
    """Raises ValueError where a split is empty, or where `draw` cannot take so many points from the grid.

    Args:
        name: of the dataset, for the message.
        counts: images of "train", "validation" and "test".
        grid: number of points.
    """
    for split, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}: {split} = {count}, but a split needs at least one image")
    held_out = counts["validation"] + counts["test"]
    drawn = max(grid, held_out) if counts["train"] == grid else counts["train"] + held_out
    if drawn > grid:
        raise ValueError(
            f"{name}: {' + '.join(f'{split} {count:,}' for split, count in counts.items())} images do not fit in "
            f"the grid of {grid:,}; draw fewer, or set train = {grid} to train on the whole grid and evaluate on it"
        )


def draw(counts: Mapping[str, int], grid: int) -> dict[str, np.ndarray]:
    """Points of the grid int64 [count], by split, in the order of one fixed permutation.

    Train is taken from its beginning, validation and test from its end. So the splits are disjoint, a larger training
    set contains the smaller one, and the test set is the same for every training set. The exception is a training set
    of the whole grid: validation and test are then part of it, as in the study by Locatello et al. (2019), which
    trains on all images and draws the evaluation points from among them.
    """
    # RandomState because NumPy promises never to change its stream, as Generator's may between versions.
    order = np.random.RandomState(0).permutation(grid)
    held_out = order[grid - counts["validation"] - counts["test"] :]
    return {
        "train": order[: counts["train"]],
        "validation": held_out[: counts["validation"]],
        "test": held_out[counts["validation"] :],
    }
