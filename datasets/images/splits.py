"""Fixed splits of sets that come without official ones."""

from __future__ import annotations

import numpy as np

from datasets.base import SPLITS

VALIDATION, TEST = 0.1, 0.2


def stratified_split(labels: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Indices of "train" (70%), "validation" (10%) and "test" (20%), each class split alike (to the nearest item).

    The order within a split is random, so that its first k items are a fair sample of it. `RandomState` because
    NumPy promises never to change its stream, as `Generator`'s may between versions.

    Args:
        labels: int [N].
        seed: of the permutation.
    """
    order = np.random.RandomState(seed).permutation(len(labels))
    split_of = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        validation, test = round(VALIDATION * len(members)), round(TEST * len(members))
        split_of[members] = 0
        split_of[members[:validation]] = 1
        split_of[members[validation : validation + test]] = 2
    return {name: order[split_of[order] == number] for number, name in enumerate(SPLITS)}
