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
    random = np.random.RandomState(seed)
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in SPLITS}
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        validation, test = round(VALIDATION * len(members)), round(TEST * len(members))
        cut = np.split(members, [len(members) - validation - test, len(members) - test])
        for name, piece in zip(SPLITS, cut, strict=True):
            pieces[name].append(piece)
    return {name: random.permutation(np.concatenate(pieces[name])) for name in SPLITS}
