"""How well images of another dataset are told from those of the dataset trained on: area under the ROC curve."""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.metrics.ranks import share_above

RIDGE = 1e-6
"""Added to the covariance's diagonal, as a share of its mean: a latent that is constant has variance 0."""

_PROTOCOL = {"outlier_images": "bilinear, antialiased, grey by luma"}
"""How they are brought to the size and the channels of the dataset's."""

_MEANING = "chance that an image of another dataset looks stranger than a test image"


@metric(
    name="outlier-auc",
    table="latent",
    source="area under the ROC curve: Hanley and McNeil 1982; score as the method's authors",
    outputs={"outlier-auc": Output("max", "0 to 1", f"{_MEANING} by the method's own score; 0.5 by guessing")},
    protocol=_PROTOCOL,
)
def outlier_auc(
    scores: np.ndarray, outlier_scores: np.ndarray, *, outliers: str = "digits", num_samples: int = 10_000
) -> dict[str, float]:
    """The method's own scores of test images [N] and of outliers [M], which should be higher.

    Raises:
        Unmeasurable: scores that are not finite.
    """
    require_finite(scores=scores, outlier_scores=outlier_scores)
    return {"outlier-auc": share_above(outlier_scores, scores)}


@metric(
    name="outlier-auc-gaussian",
    table="latent",
    source="area under the ROC curve: Hanley and McNeil 1982; Mahalanobis distance: Lee et al. 2018, arXiv 1807.03888, "
    "here of one Gaussian, fitted to codes of training images",
    outputs={
        "outlier-auc-gaussian": Output(
            "max", "0 to 1", f"{_MEANING} by a Gaussian fitted to training codes; 0.5 by guessing"
        )
    },
    protocol={
        **_PROTOCOL,
        "score": "negative log-likelihood of the code under a Gaussian of the training codes' mean and covariance",
        "covariance": f"full, plus {RIDGE:g} of its mean variance",
    },
)
def outlier_auc_gaussian(
    train_codes: np.ndarray,
    codes: np.ndarray,
    outlier_codes: np.ndarray,
    *,
    outliers: str = "digits",
    num_samples: int = 10_000,
    num_train: int = 10_000,
) -> dict[str, float]:
    """Codes of training images [K, d], of test images [N, d] and of outliers [M, d], which should be less likely.

    Less likely under a Gaussian fitted to the training codes, whatever the model's prior; `outlier-auc-standard-normal`
    takes N(0, I) instead.

    Raises:
        Unmeasurable: codes that are not finite, training codes that are all the same, or no more of them than latents.
    """
    require_finite(train_codes=train_codes, codes=codes, outlier_codes=outlier_codes)
    distances = _mahalanobis(train_codes, np.concatenate([codes, outlier_codes]))
    return {"outlier-auc-gaussian": share_above(distances[len(codes) :], distances[: len(codes)])}


@metric(
    name="outlier-auc-standard-normal",
    table="latent",
    source="area under the ROC curve: Hanley and McNeil 1982; score of the code of GWAE (Nakagawa et al. 2023, "
    "arXiv 2209.07007) for models without a critic",
    outputs={
        "outlier-auc-standard-normal": Output(
            "max", "0 to 1", f"{_MEANING} by its code's density under N(0, I); 0.5 by guessing"
        )
    },
    protocol={**_PROTOCOL, "score": "negative log-likelihood of the drawn code under N(0, I), whatever the prior"},
)
def outlier_auc_standard_normal(
    drawn_codes: np.ndarray, outlier_drawn_codes: np.ndarray, *, outliers: str = "digits", num_samples: int = 10_000
) -> dict[str, float]:
    """Drawn codes of test images [N, d] and of outliers [M, d], which should be less likely under N(0, I).

    The score −log N(z | 0, I) grows with the code's length and with nothing else.

    Raises:
        Unmeasurable: codes that are not finite.
    """
    require_finite(drawn_codes=drawn_codes, outlier_drawn_codes=outlier_drawn_codes)
    inside, outside = (np.square(codes.astype(np.float64)).sum(axis=1) for codes in (drawn_codes, outlier_drawn_codes))
    return {"outlier-auc-standard-normal": share_above(outside, inside)}


def _mahalanobis(train_codes: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distances [N]: negative log-likelihoods, but for a factor and a constant."""
    from scipy.linalg import cholesky, solve_triangular

    count, latents = train_codes.shape
    if count <= latents:
        raise Unmeasurable(f"a covariance of {latents} latents needs more training codes than {count}")
    if (train_codes == train_codes[0]).all():
        raise Unmeasurable(f"the {count:,} training codes are all the same")
    train = train_codes.astype(np.float64)
    mean = train.mean(axis=0)
    covariance = np.atleast_2d(np.cov(train, rowvar=False))
    covariance[np.diag_indices(latents)] += RIDGE * np.trace(covariance) / latents
    whitened = solve_triangular(cholesky(covariance, lower=True), (codes - mean).T, lower=True)
    return np.square(whitened).sum(axis=0)
