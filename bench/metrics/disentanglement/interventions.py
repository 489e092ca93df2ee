"""Scores from holding one factor fixed while the others vary: FactorVAE score, β-VAE score and IRS.

The first two follow disentanglement_lib, the code of Locatello et al. (2019, arXiv 1811.12359), but for where the
points of an intervention come from: instead of rendering new images with the factor's value, they are drawn, with
replacement, from the split's points that have it. On the full grid of factors, every point once, that is the same
distribution.

GWAE's package (vaetc) has scores of these names that differ: factors are made binary; FactorVAE's takes batches of 100
and leaves no latent out, β-VAE's 4,000 and 1,000 pairs, and IRS the largest deviation rather than a percentile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.disentanglement.one_vs_rest import CLASSIFIER, fit_one_vs_rest, with_constant
from bench.metrics.disentanglement.points import DRAWN, draw, require_varying

PRUNED_BELOW = 0.05
"""Standard deviation of a latent that the FactorVAE score leaves out as collapsed to the prior."""
IRS_PERCENTILE = 99
_INTERVENTIONS = "with replacement from the points that share the fixed factor's value"
_CHUNK = 1024
"""Votes at a time: bounds the memory of their batches of codes."""


@dataclass(frozen=True)
class PointsByValue:
    """The points of each value of each factor, to draw points from that share one.

    order: int [F, N], points sorted by the factor.
    first, count: int [F, N], for each point where in `order` those of the same value begin, and how many they are.
    """

    order: np.ndarray
    first: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, factors: np.ndarray) -> PointsByValue:
        """factors: int [N, F]."""
        order, first, count = (np.empty(factors.T.shape, dtype=np.int64) for _ in range(3))
        for index, factor in enumerate(factors.T):
            _, value, sizes = np.unique(factor, return_inverse=True, return_counts=True)
            order[index] = np.argsort(value, kind="stable")
            first[index] = (np.cumsum(sizes) - sizes)[value]
            count[index] = sizes[value]
        return cls(order, first, count)

    def draw_sharing(self, factor: np.ndarray, point: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each point one drawn from those of the same value of the factor, itself among them; shapes broadcast."""
        offset = rng.integers(self.count[factor, point])
        return self.order[factor, self.first[factor, point] + offset]


@metric(
    table="disentanglement",
    source="Kim and Mnih 2018, arXiv 1802.05983; protocol of Locatello et al. 2019",
    outputs={
        "factor-vae-score": Output(
            "max", "0 to 1", "accuracy of telling the fixed factor from which latent varies least, by majority vote"
        )
    },
    protocol={
        "pruned": f"latents of a standard deviation under {PRUNED_BELOW}",
        "points": DRAWN,
        "interventions": _INTERVENTIONS,
    },
)
def factor_vae_score(
    codes: np.ndarray,
    factors: np.ndarray,
    rng: np.random.Generator,
    *,
    num_samples: int = 10_000,
    train_votes: int = 10_000,
    test_votes: int = 5_000,
    batch: int = 64,
) -> dict[str, float]:
    """FactorVAE score of codes [N, d] and factors [N, F], F ≥ 2, over `num_samples` of the N points.

    A vote fixes a random factor at the value of a random point, draws `batch` points that share it, and gives the
    latent whose variance among them, relative to that among all points, is least. A latent stands for the factor that
    most of its training votes were from; the score is how often that is right for test votes. It is 0 where every
    latent is pruned. The threshold is often said to be of the variance; the study's code compares it with the
    standard deviation, as is done here.

    Raises:
        Unmeasurable: fewer points than asked for, one factor, codes that are not finite, a factor with a single value,
            a batch of less than two points, or no votes.
    """
    codes, factors = _drawn(codes, factors, num_samples, rng)
    if batch < 2 or min(train_votes, test_votes) < 1:
        raise Unmeasurable(f"{train_votes} and {test_votes} votes of batches of {batch}; a vote compares two points")
    active = codes.std(axis=0, ddof=1) >= PRUNED_BELOW
    if not active.any():
        return {"factor-vae-score": 0.0}
    codes = codes[:, active]
    fixed, points = draw_batches(factors, train_votes + test_votes, batch, rng)
    latent = least_varying(codes, points)
    votes = np.zeros((codes.shape[1], factors.shape[1]), dtype=np.int64)
    np.add.at(votes, (latent[:train_votes], fixed[:train_votes]), 1)
    predicted = votes.argmax(axis=1)[latent[train_votes:]]
    return {"factor-vae-score": float((predicted == fixed[train_votes:]).mean())}


def draw_batches(
    factors: np.ndarray, votes: int, batch: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random factors [votes], and for each, points [votes, batch] of factors [N, F] that share its value."""
    fixed = rng.integers(factors.shape[1], size=votes)
    anchors = np.broadcast_to(rng.integers(len(factors), size=(votes, 1)), (votes, batch))
    return fixed, PointsByValue.of(factors).draw_sharing(fixed[:, None], anchors, rng)


def least_varying(codes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Of each batch of points [votes, batch], the latent with the least variance relative to that of all codes."""
    variances = codes.var(axis=0, ddof=1)
    chunks = (points[start : start + _CHUNK] for start in range(0, len(points), _CHUNK))
    return np.concatenate([(codes[chunk].var(axis=1, ddof=1) / variances).argmin(axis=1) for chunk in chunks])


@metric(
    table="disentanglement",
    source="Higgins et al. 2017 (ICLR, Sy2fzU9gl); protocol of Locatello et al. 2019",
    outputs={
        "beta-vae-score": Output(
            "max", "0 to 1", "accuracy of telling which factor pairs of images share from how far their codes differ"
        )
    },
    protocol={
        "classifier": CLASSIFIER,
        "points": DRAWN,
        "interventions": _INTERVENTIONS,
    },
)
def beta_vae_score(
    codes: np.ndarray,
    factors: np.ndarray,
    rng: np.random.Generator,
    *,
    num_samples: int = 10_000,
    train_votes: int = 10_000,
    test_votes: int = 5_000,
    batch: int = 64,
) -> dict[str, float]:
    """β-VAE score of codes [N, d] and factors [N, F], F ≥ 2, over `num_samples` of the N points.

    A vote takes a random factor and the mean, over `batch` pairs of points that share the value of that factor, of the
    absolute differences of their codes. A linear classifier of the factor, the study's, learns from the training votes;
    the score is its accuracy on the test votes.

    Raises:
        Unmeasurable: fewer points than asked for, one factor, codes that are not finite, a factor with a single value,
            an empty batch, or training votes that are all of one factor.
    """
    from threadpoolctl import threadpool_limits

    codes, factors = _drawn(codes, factors, num_samples, rng)
    if min(batch, train_votes, test_votes) < 1:
        raise Unmeasurable(f"{train_votes} and {test_votes} votes of {batch} pairs each")
    fixed, left, right = draw_pairs(factors, train_votes + test_votes, batch, rng)
    train, test = slice(train_votes), slice(train_votes, None)
    if (fixed[train] == fixed[0]).all():
        raise Unmeasurable(f"all {train_votes} training votes are of one factor")
    features = with_constant(mean_differences(codes, left, right))
    with threadpool_limits(1):
        predicted = fit_one_vs_rest(features[train], fixed[train]).predict(features[test])
    return {"beta-vae-score": float((predicted == fixed[test]).mean())}


def draw_pairs(
    factors: np.ndarray, votes: int, batch: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random factors [votes], and for each, pairs of points [votes, batch] that share its value, pair by pair."""
    fixed = rng.integers(factors.shape[1], size=votes)
    left = rng.integers(len(factors), size=(votes, batch))
    return fixed, left, PointsByValue.of(factors).draw_sharing(fixed[:, None], left, rng)


def mean_differences(codes: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of points [votes, batch] each, the mean absolute differences of their codes, [votes, d]."""
    chunks = (slice(start, start + _CHUNK) for start in range(0, len(left), _CHUNK))
    return np.concatenate([np.abs(codes[left[chunk]] - codes[right[chunk]]).mean(axis=1) for chunk in chunks])


@metric(
    name="irs",
    table="disentanglement",
    source="Suter et al. 2019, arXiv 1811.00007; disentanglement_lib's quantile",
    outputs={"irs": Output("max", "0 to 1", "how little a latent changes with all factors but the one it stands for")},
    protocol={"deviation": f"{IRS_PERCENTILE}th percentile", "groups": "every value of a factor", "points": DRAWN},
)
def interventional_robustness(
    codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator, *, num_samples: int = 10_000
) -> dict[str, float]:
    """Interventional robustness score of codes [N, d] and factors [N, F] over `num_samples` of the N points.

    For a latent and a factor: 1 - the deviation from the mean among points of one value of the factor, averaged over
    values, over the largest deviation among all points. A latent's score is its highest over factors; latents are
    averaged by their largest deviations. Constant latents are left out; the score is 0 where all are constant.

    disentanglement_lib's settings put factors into 20 bins first, which merges values of those that have more: codes
    equal to the factors of sprites, which have up to 40, then score 0.98 rather than 1.

    Raises:
        Unmeasurable: fewer points than asked for, codes that are not finite, or a factor with a single value.
    """
    codes, factors = draw(codes, factors, num_samples, rng)
    require_varying(factors)
    latents = np.ascontiguousarray(codes[:, np.ptp(codes, axis=0) > 0].T)
    if not len(latents):
        return {"irs": 0.0}
    deviations = np.empty((len(latents), factors.shape[1]))
    for index, factor in enumerate(factors.T):
        order = np.argsort(factor, kind="stable")
        groups = np.split(latents[:, order], np.flatnonzero(np.diff(factor[order])) + 1, axis=1)
        within = [_quantile(_deviations(group), IRS_PERCENTILE / 100) for group in groups]
        deviations[:, index] = np.mean(within, axis=0)
    largest = _deviations(latents).max(axis=1)
    robustness = (1 - deviations / largest[:, None]).max(axis=1)
    return {"irs": float(np.average(robustness, weights=largest))}


def _deviations(latents: np.ndarray) -> np.ndarray:
    """From the mean over points, of [d, N]."""
    return np.abs(latents - latents.mean(axis=1, keepdims=True))


def _quantile(rows: np.ndarray, share: float) -> np.ndarray:
    """Of each row, as np.quantile, without what that does about every call: there is one a factor value."""
    position = share * (rows.shape[1] - 1)
    below = int(position)
    parted = np.partition(rows, below, axis=1)
    above = parted[:, below + 1 :].min(axis=1) if below < position else parted[:, below]
    return parted[:, below] + (position - below) * (above - parted[:, below])


def _drawn(
    codes: np.ndarray, factors: np.ndarray, num_samples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The points that interventions are on."""
    codes, factors = draw(codes, factors, num_samples, rng)
    if factors.shape[1] < 2:
        raise Unmeasurable("the score tells factors apart; the dataset has one")
    require_varying(factors)
    return codes, factors
