"""Fixed splits of sets that come without official ones, or without one for validation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

VALIDATION, TEST = 0.1, 0.2


def stratified_split(labels: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Indices of "train" (70%), "validation" (10%) and "test" (20%), each class split alike (to the nearest item).

    The order within a split is random, so that its first k items are a fair sample of it.

    Args:
        labels: int [N].
        seed: of the permutation.
    """
    return _split(labels, {"validation": VALIDATION, "test": TEST}, seed)


def stratified_validation(labels: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """As `stratified_split`, of an official training set: indices of "train" (90%) and "validation" (10%)."""
    return _split(labels, {"validation": VALIDATION}, seed)


def _split(labels: np.ndarray, shares: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    """Indices by split: those held out, of the given shares, and "train", which has the rest.

    `RandomState` because NumPy promises never to change its stream, as `Generator`'s may between versions.
    """
    random = np.random.RandomState(seed)
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in ("train", *shares)}
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        counts = [round(share * len(members)) for share in shares.values()]
        cuts = len(members) - np.cumsum(counts[::-1])[::-1]
        for name, piece in zip(pieces, np.split(members, cuts), strict=True):
            pieces[name].append(piece)
    return {name: random.permutation(np.concatenate(members)) for name, members in pieces.items()}
