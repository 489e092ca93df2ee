"""What single latent dimensions tell of single factors: MIG, MIG-sup, modularity and DCIMIG.

All four read one matrix, the mutual information of every latent with every factor, estimated as in the large study of
Locatello et al. (2019, arXiv 1811.12359): codes are posterior means, each latent is cut into 20 bins of equal width,
and the joint histogram stands for the joint distribution. Their formulas differ only in which gaps of that matrix
they take. Factors are discrete. The matrix is computed here rather than by disent, which agrees with it, because
scikit-learn's estimate changed between versions and moved MIG; it costs about 10 ms for 10,000 points, 10 latents and
6 factors. GWAE's package (vaetc) has scores of the same names of factors made binary, and its MIG-sup is not divided by
their entropies.
"""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.disentanglement.points import DRAWN, draw, require_varying

BINS = 20
ACTIVE_VARIANCE = 0.01
"""MIG-sup is averaged over latents whose codes vary more than this, as in its authors' code."""

_PROTOCOL = {"bins": BINS, "binning": "equal width, for each latent", "points": DRAWN}


def equal_width_bins(codes: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin of each code, from its latent's minimum to its maximum; an edge belongs to the bin above it.

    Args:
        codes: float64 [N, d], finite.

    Returns:
        int64 [N, d] in 0 to bins - 1; all 0 for a latent whose range is too narrow to be divided.
    """
    indices = np.zeros(codes.shape, dtype=np.int64)
    for latent, values in enumerate(codes.T):
        edges = np.linspace(values.min(), values.max(), bins + 1)[1:-1]
        if (np.diff(edges) > 0).all():
            indices[:, latent] = np.searchsorted(edges, values, side="right")
    return indices


def value_indices(factors: np.ndarray) -> np.ndarray:
    """Values of each factor of [N, F] counted from 0 in ascending order, without gaps."""
    return np.stack([np.unique(factor, return_inverse=True)[1] for factor in factors.T], axis=1)


def joint_histograms(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """How often each pair of values occurs, for each variable of `left` with each of `right`.

    Args:
        left: int [N, a] in 0 to A - 1.
        right: int [N, b] in 0 to B - 1.

    Returns:
        float64 [a, b, A, B], whole numbers.
    """
    variables, sizes = (left.shape[1], right.shape[1]), (left.max() + 1, right.max() + 1)
    counts = np.empty((*variables, *sizes))
    # cell of the pair (u, v) of left's variable and right's variable b: (b, u, v), flattened
    right_cells = right + np.arange(variables[1]) * (sizes[0] * sizes[1])
    for index, values in enumerate(left.T):
        cells = right_cells + (values * sizes[1])[:, None]
        counts[index] = np.bincount(cells.ravel(), minlength=counts[index].size).reshape(counts[index].shape)
    return counts


def information(joint: np.ndarray) -> np.ndarray:
    """Mutual information in nats of the two variables of joint histograms or distributions [..., A, B].

    Exactly 0 where histograms are independent: their counts are whole numbers, so the ratio under the logarithm is 1.

    Returns:
        float64 [...], at least 0.
    """
    total = joint.sum(axis=(-2, -1), keepdims=True)
    independent = joint.sum(axis=-1, keepdims=True) * joint.sum(axis=-2, keepdims=True)
    ratio = np.divide(joint * total, independent, out=np.ones_like(joint), where=joint > 0)
    return np.maximum((joint / total * np.log(ratio)).sum(axis=(-2, -1)), 0)


def entropy(histograms: np.ndarray) -> np.ndarray:
    """Entropy in nats of histograms or distributions [..., A]."""
    probabilities = histograms / histograms.sum(axis=-1, keepdims=True)
    logarithms = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return -(probabilities * logarithms).sum(axis=-1)


def informations_and_entropies(codes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mutual information of each latent with each factor, and the entropy of each factor.

    Args:
        codes: float64 [N, d], finite.
        factors: int [N, F].

    Returns:
        float64 [d, F] and [F], in nats.

    Raises:
        Unmeasurable: a factor has a single value, hence no information to be had.
    """
    require_varying(factors)
    joint = joint_histograms(equal_width_bins(codes), value_indices(factors))
    return information(joint), entropy(joint[0].sum(axis=-2))


@metric(
    table="disentanglement",
    version=2,
    source="mutual information gap: Chen et al. 2018, arXiv 1802.04942; protocol of Locatello et al. 2019",
    outputs={
        "mig": Output(
            "max", "0 to 1", "gap between the two latents most informative of a factor, over its entropy, averaged"
        )
    },
    protocol=_PROTOCOL,
)
def mig(
    codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator, *, num_samples: int = 10_000
) -> dict[str, float]:
    """Mutual information gap of codes [N, d], d ≥ 2, and factors [N, F], over `num_samples` of the N points.

    Raises:
        Unmeasurable: fewer points than asked for, one latent dimension, codes that are not finite, or a factor with a
            single value.
    """
    codes, factors = draw(codes, factors, num_samples, rng)
    if codes.shape[1] < 2:
        raise Unmeasurable("MIG compares two latent dimensions; the codes have one")
    informations, entropies = informations_and_entropies(codes, factors)
    return {"mig": float((_gap(informations.T) / entropies).mean())}


@metric(
    table="disentanglement",
    source="Li et al. 2020, arXiv 2002.10549, section 4, and its code (active latents); estimate as for MIG",
    outputs={
        "mig-sup": Output(
            "max", "0 to 1", "gap between the two factors an active latent tells most of, averaged over active latents"
        )
    },
    protocol={**_PROTOCOL, "active": f"variance of the codes above {ACTIVE_VARIANCE}"},
)
def mig_sup(
    codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator, *, num_samples: int = 10_000
) -> dict[str, float]:
    """MIG the other way round: how far each latent of codes [N, d] tells of one of the factors [N, F], F ≥ 2, only.

    Information is in shares of each factor's entropy. 0 where no latent is active.

    Raises:
        Unmeasurable: fewer points than asked for, one factor, codes that are not finite, or a factor with a single
            value.
    """
    codes, factors = draw(codes, factors, num_samples, rng)
    _require_two_factors(factors, "MIG-sup")
    informations, entropies = informations_and_entropies(codes, factors)
    active = codes.var(axis=0, ddof=1) > ACTIVE_VARIANCE
    return {"mig-sup": float(_gap(informations[active] / entropies).mean()) if active.any() else 0.0}


@metric(
    table="disentanglement",
    source="Ridgeway and Mozer 2018, arXiv 1802.05312; protocol of Locatello et al. 2019",
    outputs={
        "modularity": Output(
            "max", "0 to 1", "1 less the squared information on a latent's other factors over that on its main one"
        )
    },
    protocol=_PROTOCOL,
)
def modularity(
    codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator, *, num_samples: int = 10_000
) -> dict[str, float]:
    """1 - Σ_{k ≠ best} I(z_i, v_k)² / (I(z_i, v_best)² (F - 1)), averaged over the latents of codes [N, d].

    A latent that tells nothing of any factor counts 0.

    Raises:
        Unmeasurable: fewer points than asked for, one factor, codes that are not finite, or a factor with a single
            value.
    """
    codes, factors = draw(codes, factors, num_samples, rng)
    _require_two_factors(factors, "modularity")
    squares = np.square(informations_and_entropies(codes, factors)[0])
    best = squares.max(axis=1)
    shared = (squares.sum(axis=1) - best) / (factors.shape[1] - 1)
    return {"modularity": float((1 - np.divide(shared, best, out=np.ones_like(best), where=best > 0)).mean())}


@metric(
    table="disentanglement",
    source="3CharM or DCIMIG: Sepliarskaia et al. 2019, arXiv 1910.05587; formula as in Carbonneau et al. 2020's code",
    outputs={
        "dcimig": Output(
            "max", "0 to 1", "what the latent most its own tells of each factor beyond any other, over all entropy"
        )
    },
    protocol=_PROTOCOL,
)
def dcimig(
    codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator, *, num_samples: int = 10_000
) -> dict[str, float]:
    """Σ_k max_i gap_i / Σ_k H(v_k), over the latents i that tell most of factor k; codes [N, d], factors [N, F], F ≥ 2.

    gap_i is the information of latent i on its best factor, less that on its second best.

    Raises:
        Unmeasurable: fewer points than asked for, one factor, codes that are not finite, or a factor with a single
            value.
    """
    codes, factors = draw(codes, factors, num_samples, rng)
    _require_two_factors(factors, "DCIMIG")
    informations, entropies = informations_and_entropies(codes, factors)
    best_gaps = np.zeros(factors.shape[1])
    np.maximum.at(best_gaps, informations.argmax(axis=1), _gap(informations))
    return {"dcimig": float(best_gaps.sum() / entropies.sum())}


def _gap(rows: np.ndarray) -> np.ndarray:
    """The largest of each row less the second largest."""
    second, first = np.sort(rows, axis=1)[:, -2:].T
    return first - second


def _require_two_factors(factors: np.ndarray, name: str) -> None:
    if factors.shape[1] < 2:
        raise Unmeasurable(f"{name} compares two factors; the dataset has one")
