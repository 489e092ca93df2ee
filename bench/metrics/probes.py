"""How much simple classifiers can tell from codes: trained on codes of training images, tested on those of others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.metrics.ranks import order_by_norm

LINEAR_ITERATIONS = 1_000
TRANSFER_STRENGTHS = (0.3, 0.03, 0.003)
TRANSFER_FOLDS = 5
LIBLINEAR_LIMIT = 1e30
"""liblinear does not work with greater values."""

_LINEAR = {
    "classifier": "multinomial logistic regression, L2 penalty of strength 1",
    "codes": "standardized by the training codes",
    "solver": f"L-BFGS, at most {LINEAR_ITERATIONS:,} iterations",
}


@metric(
    table="clustering",
    source="linear classifier probes: Alain and Bengio 2016, arXiv 1610.01644",
    outputs={"linear-probe": Output("max", "0 to 1", "accuracy of a linear classifier of the codes, on test images")},
    protocol=_LINEAR,
)
def linear_probe(
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    codes: np.ndarray,
    labels: np.ndarray,
    *,
    num_samples: int = 10_000,
    num_train: int = 10_000,
) -> dict[str, float]:
    """Accuracy on codes [N, d] and labels [N] of logistic regression on train_codes [K, d] and train_labels [K].

    Raises:
        Unmeasurable: training images of one class, or codes that are not finite.
    """
    _require_classes(train_labels)
    train_codes, codes = _standardized(train_codes, codes)
    return {"linear-probe": _linear_accuracy(train_codes, train_labels, codes, labels)}


@metric(
    table="disentanglement",
    source="linear classifier probes: Alain and Bengio 2016, arXiv 1610.01644, one for each factor",
    outputs={
        "linear-probe-factors": Output(
            "max", "0 to 1", "accuracy of linear classifiers of the codes, a factor each, on test images"
        )
    },
    protocol={**_LINEAR, "average": "over the factors that vary"},
)
def linear_probe_factors(
    train_codes: np.ndarray,
    train_factors: np.ndarray,
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    num_samples: int = 10_000,
    num_train: int = 10_000,
) -> dict[str, float]:
    """The linear probe's accuracy, averaged over those of the factors [N, F] that vary among the training images.

    Raises:
        Unmeasurable: no factor varies, or codes are not finite.
    """
    varying = _varying(train_factors)
    train_codes, codes = _standardized(train_codes, codes)
    accuracies = [_linear_accuracy(train_codes, train_factors[:, f], codes, factors[:, f]) for f in varying]
    return {"linear-probe-factors": float(np.mean(accuracies))}


@metric(
    table="clustering",
    source="nearest neighbor classification: Cover and Hart 1967",
    outputs={
        "knn-probe": Output("max", "0 to 1", "accuracy of the vote of the nearest training codes, on test images")
    },
    protocol={"distance": "Euclidean, of codes as they are", "vote": "majority, ties to the smaller label"},
)
def knn_probe(
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    codes: np.ndarray,
    labels: np.ndarray,
    *,
    neighbors: int = 5,
    num_samples: int = 10_000,
    num_train: int = 10_000,
) -> dict[str, float]:
    """Accuracy on codes [N, d] and labels [N] of the `neighbors` nearest of train_codes [K, d] with train_labels [K].

    Raises:
        Unmeasurable: training images of one class, fewer than `neighbors`, or codes that are not finite.
    """
    from sklearn.neighbors import KNeighborsClassifier

    require_finite(train_codes=train_codes, codes=codes)
    _require_classes(train_labels)
    if not 1 <= neighbors <= len(train_codes):
        raise Unmeasurable(f"{neighbors} neighbors were asked for of {len(train_codes)} training images")
    order = order_by_norm(train_codes, train_labels)
    train = train_codes[order].astype(np.float64)
    center = train.mean(axis=0)  # distances are accurate around 0
    classifier = KNeighborsClassifier(neighbors).fit(train - center, train_labels[order])
    return {"knn-probe": float((classifier.predict(codes - center) == labels).mean())}


@metric(
    table="disentanglement",
    source="linear transferability, as GWAE's authors evaluate it: Nakagawa et al. 2022, arXiv 2209.07007, vaetc",
    outputs={
        "linear-transfer": Output(
            "max", "0 to 1", "accuracy of sparse linear classifiers of each factor's upper half, by cross-validation"
        )
    },
    arrays={"codes": "drawn_codes"},
    protocol={
        "codes": "draws of the posterior",
        "classes": "factor at least midway between its least and its greatest value, or below",
        "classifier": f"logistic regression, L1, the best C of {', '.join(map(str, TRANSFER_STRENGTHS))}",
        "solver": "liblinear, at most 100 iterations",
        "validation": f"{TRANSFER_FOLDS} stratified folds",
        "average": "over the factors that vary",
    },
)
def linear_transfer(
    codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator, *, num_samples: int = 10_000
) -> dict[str, float]:
    """Mean over varying factors [N, F] of the accuracy of telling their halves from codes [N, d].

    As in vaetc, C is the best on the validation folds themselves, which flatters slightly. A factor that does not
    vary, which counts as 1 there, is left out here.

    Raises:
        Unmeasurable: no factor varies, one has fewer images in a half than folds, or codes are not finite or beyond
            what liblinear takes.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    require_finite(codes=codes)
    if np.abs(codes).max() >= LIBLINEAR_LIMIT:
        raise Unmeasurable(f"codes reach {np.abs(codes).max():g}; liblinear takes values below {LIBLINEAR_LIMIT:g}")
    order = order_by_norm(codes)
    codes, factors = codes[order].astype(np.float64), factors[order]
    folds = StratifiedKFold(TRANSFER_FOLDS, shuffle=True, random_state=int(rng.integers(2**32)))
    seed = int(rng.integers(2**31))  # liblinear visits coordinates in random order
    accuracies = []
    for f in _varying(factors):
        upper = 2 * factors[:, f] >= factors[:, f].min() + factors[:, f].max()
        fewest = min(upper.sum(), (~upper).sum())
        if fewest < TRANSFER_FOLDS:
            raise Unmeasurable(f"a half of factor {f} has {fewest} images, fewer than {TRANSFER_FOLDS} folds")
        with _unconverged_allowed():
            accuracies.append(
                max(
                    cross_val_score(
                        LogisticRegression(l1_ratio=1, solver="liblinear", C=strength, random_state=seed),
                        codes,
                        upper,
                        cv=folds,
                    ).mean()
                    for strength in TRANSFER_STRENGTHS
                )
            )
    return {"linear-transfer": float(np.mean(accuracies))}


def _standardized(train_codes: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.preprocessing import StandardScaler

    require_finite(train_codes=train_codes, codes=codes)
    scaler = StandardScaler().fit(train_codes.astype(np.float64))
    return scaler.transform(train_codes.astype(np.float64)), scaler.transform(codes.astype(np.float64))


def _linear_accuracy(
    train_codes: np.ndarray, train_classes: np.ndarray, codes: np.ndarray, classes: np.ndarray
) -> float:
    from sklearn.linear_model import LogisticRegression

    with _unconverged_allowed():
        classifier = LogisticRegression(max_iter=LINEAR_ITERATIONS).fit(train_codes, train_classes)
    return float((classifier.predict(codes) == classes).mean())


@contextmanager
def _unconverged_allowed() -> Iterator[None]:
    """The protocols bound the iterations: a classifier that reaches the bound is as good as any other."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _require_classes(train_labels: np.ndarray) -> None:
    if (train_labels == train_labels[0]).all():
        raise Unmeasurable(f"the {len(train_labels)} training images are all of one class")


def _varying(factors: np.ndarray) -> np.ndarray:
    """Indices of the factors with more than one value."""
    varying = np.flatnonzero((factors != factors[0]).any(axis=0))
    if not len(varying):
        raise Unmeasurable(f"none of the {factors.shape[1]} factors varies among the {len(factors)} images")
    return varying
