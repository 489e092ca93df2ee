"""The linear classifier of the study of Locatello et al. (2019, arXiv 1811.12359): one value against the rest.

It is what scikit-learn's defaults were when the study ran: liblinear's logistic regression, which penalizes the
intercept as the weight of a constant feature, for each class against the rest. Since version 0.22 they are a softmax,
which scores otherwise. Newton's method finds the same optimum, sooner.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.multiclass import OneVsRestClassifier

CLASSIFIER = "logistic regression, value against rest, L2 penalty 1, on intercepts too"
"""As metrics say it in their protocol."""


def with_constant(features: np.ndarray) -> np.ndarray:
    """Features [N, d] and a constant one, [N, d + 1], as the classifier is fitted to and applied to."""
    return np.column_stack([features, np.ones(len(features))])


def fit_one_vs_rest(features: np.ndarray, classes: np.ndarray) -> OneVsRestClassifier:
    """scikit-learn's classifier of two classes [N] or more from features [N, d + 1] with a constant one.

    Callers hold BLAS to one thread, so that products of matrices are summed in one order.
    """
    from scipy.linalg import LinAlgWarning
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    binary = LogisticRegression(solver="newton-cholesky", fit_intercept=False, tol=1e-6)
    with warnings.catch_warnings():
        # Features of extreme scale: the classifier is as good as numbers allow.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", LinAlgWarning)
        return OneVsRestClassifier(binary).fit(features, classes)
