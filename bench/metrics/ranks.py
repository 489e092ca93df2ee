"""What depends on the order of numbers alone, and an order of items that does not depend on how they came."""

from __future__ import annotations

import numpy as np


def share_above(first: np.ndarray, second: np.ndarray) -> float:
    """Share of pairs in which the first's value is above the second's, ties counted half, in [0, 1].

    This is the Mann-Whitney statistic over the number of pairs, and the area under the ROC curve of a classifier that
    scores `first` as positives and `second` as negatives.

    Args:
        first: float [N]. second: float [M]. Neither is empty.
    """
    from scipy.stats import rankdata  # half a second, and most trials need none

    ranks = rankdata(np.concatenate([first, second]))[: len(first)]
    return float((ranks.mean() - (len(first) + 1) / 2) / len(second))


def order_by_norm(codes: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """Indices that sort codes [N, d] by their norms, and equal ones by label, where labels [N] or [N, F] are given.

    Algorithms that draw items or break ties by position give the same answer for the same items in whatever order, with
    the latents in whatever order and of whatever sign, when they run on items sorted so.
    """
    # Squares are added in order of size, so that the last digit does not depend on the order of the latents.
    norms = np.sort(np.square(codes.astype(np.float64)), axis=1).sum(axis=1)
    order = np.argsort(norms, kind="stable")
    if labels is None or (np.diff(norms[order]) > 0).all():
        return order
    return np.lexsort((*np.atleast_2d(labels.T), norms))
