"""Whether single latent dimensions stand for single factors of variation: DCI.

It follows the large study of Locatello et al. (2019, arXiv 1811.12359): codes are posterior means, predicted from by
gradient-boosted trees. The formulas are disent's, which repeat the study's own code.
The numbers of points decide the values (DCI of a random linear mix doubles from 1,000 to 10,000 training points), so
a split that has too few is an error, never a smaller sample.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.torchvision_compat import import_torchvision

_POINTS = "drawn from the split without replacement"


@metric(
    table="disentanglement",
    source="Eastwood and Williams 2018 (ICLR, By-7dz-AZ); protocol of Locatello et al. 2019",
    outputs={
        "dci-disentanglement": Output("max", "0 to 1", "how far each latent matters to one factor only"),
        "dci-completeness": Output("max", "0 to 1", "how far each factor is captured by one latent only"),
        "dci-informativeness": Output("max", "0 to 1", "accuracy of predicting factors from codes, on test points"),
    },
    protocol={"classifier": "gradient-boosted trees, scikit-learn's defaults", "points": _POINTS},
)
def dci(
    codes: np.ndarray,
    factors: np.ndarray,
    rng: np.random.Generator,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
) -> dict[str, float]:
    """Disentanglement, completeness and informativeness of codes [N, d] and factors [N, F], d and F ≥ 2.

    A tree ensemble predicts each factor from all latents; its feature importances say which latents it used. The cost
    grows with `num_train` and with the sum of the factors' sizes (one tree a value and boosting round).

    Raises:
        Unmeasurable: fewer points than asked for, a single latent or factor, codes that are not finite, or a factor
            with a single value.
    """
    codes, factors = _draw(codes, factors, num_train + num_test, rng)
    if codes.shape[1] < 2:
        raise Unmeasurable("completeness compares latent dimensions; the codes have one")
    if factors.shape[1] < 2:
        raise Unmeasurable("disentanglement compares factors; the dataset has one")
    train, test = slice(num_train), slice(num_train, None)
    _require_varying(factors[train])
    disent_dci = _import_disent("_dci")
    with _global_numpy_seeded_from(rng):  # the classifiers draw from the global generator
        scores = disent_dci._compute_dci(codes[train].T, factors[train].T, codes[test].T, factors[test].T)
    return {
        "dci-disentanglement": float(scores["dci.disentanglement"]),
        "dci-completeness": float(scores["dci.completeness"]),
        "dci-informativeness": float(scores["dci.informativeness_test"]),
    }


def _draw(
    codes: np.ndarray, factors: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """`count` points in random order, codes in float64: bins of a narrow range have no distinct edges in float32."""
    require_finite(codes=codes)
    if len(codes) < count:
        raise Unmeasurable(f"the split has {len(codes):,} points, {count:,} were asked for")
    chosen = rng.permutation(len(codes))[:count]
    return codes[chosen].astype(np.float64), factors[chosen]


def _require_varying(factors: np.ndarray) -> None:
    constant = np.flatnonzero((factors == factors[:1]).all(axis=0))
    if len(constant):
        raise Unmeasurable(
            f"factor {constant[0]} (of 0 to {factors.shape[1] - 1}) has a single value in the {len(factors):,} points"
        )


def _import_disent(module: str) -> ModuleType:
    """A module of disent.metrics; its import warns about a compiler that the metrics do not use."""
    import importlib

    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"disent.metrics.{module}")


@contextmanager
def _global_numpy_seeded_from(rng: np.random.Generator) -> Iterator[None]:
    state = np.random.get_state()
    np.random.seed(rng.integers(2**32))
    try:
        yield
    finally:
        np.random.set_state(state)
