"""How well linear classifiers read factors off codes: SAP from single latents, explicitness from all of them.

Both follow disentanglement_lib, the code of Locatello et al. (2019, arXiv 1811.12359), with codes that are posterior
means and 10,000 training and 5,000 test points. Factors are discrete. What GWAE's package (vaetc) calls SAP differs:
logistic regression of binary factors, balanced accuracy, and the gap between factors rather than latents.
"""

from __future__ import annotations

import warnings

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.disentanglement.one_vs_rest import CLASSIFIER, fit_one_vs_rest, with_constant
from bench.metrics.disentanglement.points import (
    DRAWN,
    draw,
    global_numpy_seeded_from,
    import_disent,
    require_varying,
)


@metric(
    table="disentanglement",
    source="Kumar et al. 2018, arXiv 1711.00848; protocol of Locatello et al. 2019",
    outputs={
        "sap": Output("max", "0 to 1", "gap in accuracy between the two latents that predict a factor best, averaged")
    },
    protocol={"classifier": "linear SVM on one latent, C = 0.01, balanced classes", "points": DRAWN},
)
def sap(
    codes: np.ndarray,
    factors: np.ndarray,
    rng: np.random.Generator,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
) -> dict[str, float]:
    """Separated attribute predictability of codes [N, d], d ≥ 2, and factors [N, F]; disent's implementation.

    Codes equal to the factors score well below 1 where factors have many values: a linear classifier of one number
    against the rest tells little but the ends apart. They score 0.9 to 1 in disentanglement_lib's own test, which takes
    factors as continuous and the squared correlation in place of a classifier; the study's settings do not.

    Raises:
        Unmeasurable: fewer points than asked for, one latent dimension, codes that are not finite, or a factor with a
            single value among the training points.
    """
    from sklearn.exceptions import ConvergenceWarning

    codes, factors = draw(codes, factors, num_train + num_test, rng)
    if codes.shape[1] < 2:
        raise Unmeasurable("SAP compares two latent dimensions; the codes have one")
    train, test = slice(num_train), slice(num_train, None)
    require_varying(factors[train])
    disent_sap = import_disent("_sap")
    with global_numpy_seeded_from(rng), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the reference stops after as many iterations
        scores = disent_sap._compute_sap(
            codes[train].T, factors[train].T, codes[test].T, factors[test].T, continuous_factors=False
        )
    return {"sap": float(scores["sap.score"])}


@metric(
    table="disentanglement",
    source="Ridgeway and Mozer 2018, arXiv 1802.05312; protocol of Locatello et al. 2019",
    outputs={
        "explicitness": Output(
            "max",
            "0 to 1, 0.5 at random",
            "area under the ROC of telling each value of a factor from the rest, averaged",
        )
    },
    protocol={
        "classifier": CLASSIFIER,
        "codes": "standardized by the training points",
        "average": "over values seen in training and test points, then factors",
        "points": DRAWN,
    },
)
def explicitness(
    codes: np.ndarray,
    factors: np.ndarray,
    rng: np.random.Generator,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
) -> dict[str, float]:
    """How well all latents of codes [N, d] together show the factors [N, F] to a linear classifier, on test points.

    The classifier tells each value from the rest, as in the paper and in the study. A constant latent is left at 0,
    where the study's code divides by zero; a value that only training or only test points have is left out.

    Raises:
        Unmeasurable: fewer points than asked for, codes that are not finite, a factor with a single value among the
            training or among the test points, or with no value that both have.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    codes, factors = draw(codes, factors, num_train + num_test, rng)
    train, test = slice(num_train), slice(num_train, None)
    require_varying(factors[train])
    require_varying(factors[test])
    features = with_constant(StandardScaler().fit(codes[train]).transform(codes))
    areas = []
    for index, factor in enumerate(factors.T):
        with threadpool_limits(1):
            classifier = fit_one_vs_rest(features[train], factor[train])
            probabilities = classifier.predict_proba(features[test])
        seen = np.isin(classifier.classes_, factor[test])
        if not seen.any():
            raise Unmeasurable(f"no value of factor {index} is among both the training and the test points")
        occurs = factor[test][:, None] == classifier.classes_[seen]
        areas.append(roc_auc_score(occurs, probabilities[:, seen], average="macro"))
    return {"explicitness": float(np.mean(areas))}
