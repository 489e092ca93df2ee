"""What the disentanglement metrics share: drawing points, conditions on them, targets, disent's private formulas."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np

from bench.metrics.base import Unmeasurable
from bench.metrics.checks import require_finite
from bench.metrics.ranks import order_by_norm
from bench.torchvision_compat import import_torchvision

DRAWN = "drawn from the split without replacement"
"""How `choose` takes the points, as metrics say it in their protocol under `points`."""


def choose(codes: np.ndarray, factors: np.ndarray | None, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of `count` of the points, without replacement, in random order.

    The same points in another order, or with latents in another order or of another sign, give the same draw: they
    are sorted by the norms of codes [N, d], and by factors [N, F] where these are equal, before they are drawn. Points
    that are equal in both count as the same.

    The numbers of points decide the values of these metrics, so a split that has too few is no reason to use fewer.

    Returns:
        int64 [count].

    Raises:
        Unmeasurable: fewer points than asked for, or none.
    """
    if count < 1:
        raise Unmeasurable(f"{count} points were asked for")
    if len(codes) < count:
        raise Unmeasurable(f"the split has {len(codes):,} points, {count:,} were asked for")
    return order_by_norm(codes, factors)[rng.permutation(len(codes))[:count]]


def draw(codes: np.ndarray, factors: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The codes and factors of `count` points, drawn as by `choose`.

    Args:
        codes: [N, d]; returned in float64, since bins of a narrow range have no distinct edges in float32.
        factors: [N, F].

    Returns:
        float64 [count, d] and [count, F].

    Raises:
        Unmeasurable: fewer points than asked for, none, or codes that are not finite.
    """
    require_finite(codes=codes)
    chosen = choose(codes, factors, count, rng)
    return codes[chosen].astype(np.float64), factors[chosen]


def require_varying(factors: np.ndarray) -> None:
    """Raises Unmeasurable naming the first factor of [N, F] that has a single value."""
    constant = np.flatnonzero((factors == factors[:1]).all(axis=0))
    if len(constant):
        raise Unmeasurable(
            f"factor {constant[0]} (of 0 to {factors.shape[1] - 1}) has a single value in the {len(factors):,} points"
        )


def scaled_targets(factors: np.ndarray, one_hot: tuple[int, ...]) -> np.ndarray:
    """Factors [N, F], each of which varies, as targets float64 [N, T] in [0, 1].

    A factor is scaled to [0, 1]; those whose numbers are in `one_hot` become a column a value.

    Raises:
        Unmeasurable: no factor of a number in `one_hot`.
    """
    unknown = [index for index in one_hot if not 0 <= index < factors.shape[1]]
    if unknown:
        raise Unmeasurable(f"one_hot names factor {unknown[0]}; factors are numbered 0 to {factors.shape[1] - 1}")
    columns = []
    for index, factor in enumerate(factors.T):
        if index in one_hot:
            columns.append(factor[:, None] == np.unique(factor))
        else:
            columns.append(((factor - factor.min()) / np.ptp(factor))[:, None])
    return np.concatenate(columns, axis=1, dtype=np.float64)


def import_disent(module: str) -> ModuleType:
    """A module of disent.metrics; its import warns about a compiler that the metrics do not use."""
    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"disent.metrics.{module}")


@contextmanager
def global_numpy_seeded_from(rng: np.random.Generator) -> Iterator[None]:
    """NumPy's global generator seeded by a draw of `rng`, and as it was afterwards: for libraries that use it."""
    state = np.random.get_state()
    np.random.seed(rng.integers(2**32))
    try:
        yield
    finally:
        np.random.set_state(state)
