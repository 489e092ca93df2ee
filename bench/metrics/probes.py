"""How much simple classifiers can tell from codes: trained on codes of training images, tested on those of others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.metrics.disentanglement.points import require_varying, scaled_targets
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
    protocol={**_LINEAR, "average": "over factors"},
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
    """The linear probe's accuracy on codes [N, d], averaged over the factors [N, F].

    Raises:
        Unmeasurable: a factor with a single value among the training images, or codes that are not finite.
    """
    require_varying(train_factors)
    train_codes, codes = _standardized(train_codes, codes)
    accuracies = [
        _linear_accuracy(train_codes, train_factor, codes, factor)
        for train_factor, factor in zip(train_factors.T, factors.T, strict=True)
    ]
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
        "classes": "factor at least midway between its least and its greatest value, or below; "
        "of those in one_hot, each value or another",
        "classifier": f"logistic regression, L1, the best C of {', '.join(map(str, TRANSFER_STRENGTHS))}",
        "solver": "liblinear, at most 100 iterations",
        "validation": f"{TRANSFER_FOLDS} stratified folds",
        "average": "over factors, and values of those in one_hot",
    },
)
def linear_transfer(
    codes: np.ndarray,
    factors: np.ndarray,
    rng: np.random.Generator,
    *,
    num_samples: int = 10_000,
    one_hot: tuple[int, ...] = (),
) -> dict[str, float]:
    """Mean over factors [N, F] of the accuracy of telling their halves from draws of the posterior [N, d].

    As in vaetc, C is the best on the validation folds themselves, which flatters slightly. Departures from it: it takes
    all images of the test split, this `num_samples`; for 3D Shapes it has a column for each value of the shape, here to
    be asked for by one_hot = [4]; its folds are of images as they come, these of shuffled ones; and a factor that does
    not vary counts as 1 there.

    Raises:
        Unmeasurable: a factor has a single value, or fewer images in a half than folds, no factor has a number in
            `one_hot`, or codes are not finite or beyond what liblinear takes.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    require_finite(codes=codes)
    if np.abs(codes).max() >= LIBLINEAR_LIMIT:
        raise Unmeasurable(f"codes reach {np.abs(codes).max():g}; liblinear takes values below {LIBLINEAR_LIMIT:g}")
    require_varying(factors)
    order = order_by_norm(codes, factors)
    codes, targets = codes[order].astype(np.float64), scaled_targets(factors[order], one_hot)
    folds = StratifiedKFold(TRANSFER_FOLDS, shuffle=True, random_state=int(rng.integers(2**32)))
    seed = int(rng.integers(2**31))  # liblinear visits coordinates in random order
    accuracies = []
    for number, upper in enumerate((targets >= 0.5).T):
        fewest = min(upper.sum(), (~upper).sum())
        if fewest < TRANSFER_FOLDS:
            raise Unmeasurable(
                f"a half of target {number} (of 0 to {targets.shape[1] - 1}) has {fewest} images, fewer than "
                f"{TRANSFER_FOLDS} folds"
            )
        with _bounded_work():
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

    with _bounded_work():
        classifier = LogisticRegression(max_iter=LINEAR_ITERATIONS).fit(train_codes, train_classes)
        return float((classifier.predict(codes) == classes).mean())


@contextmanager
def _bounded_work() -> Iterator[None]:
    """The protocols bound the iterations: a classifier that reaches the bound is as good as any other.

    Products of matrices are on one thread, since on several they are summed in another order, which may decide a
    prediction.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _require_classes(train_labels: np.ndarray) -> None:
    if (train_labels == train_labels[0]).all():
        raise Unmeasurable(f"the {len(train_labels)} training images are all of one class")
