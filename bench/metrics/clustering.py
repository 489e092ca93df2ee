"""How well groups of images found without labels agree with the classes."""

from __future__ import annotations

import warnings

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite

_SOURCE = (
    "accuracy under the best one-to-one assignment (Kuhn 1955); normalized mutual information, arithmetic mean "
    "(Vinh et al. 2010); adjusted Rand index (Hubert and Arabie 1985)"
)
_NUM_INITIALIZATIONS = 10


def _outputs(groups: str, of: str) -> dict[str, Output]:
    return {
        f"{groups}-accuracy": Output("max", "0 to 1", f"share of images whose {of} is the one assigned to their class"),
        f"{groups}-nmi": Output("max", "0 to 1", f"normalized mutual information of {of} and class"),
        f"{groups}-ari": Output("max", "-0.5 to 1", f"Rand index of {of} and class, adjusted so that chance is 0"),
    }


def clustering_accuracy(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Share of items that agree under the best assignment of clusters to classes, each used at most once.

    Args:
        labels, clusters: integers [N]; their values need not match, nor their numbers of distinct values. Clusters
            left without a class count as errors.
    """
    from scipy.optimize import linear_sum_assignment

    _, label_index = np.unique(labels, return_inverse=True)
    _, cluster_index = np.unique(clusters, return_inverse=True)
    counts = np.zeros((label_index.max() + 1, cluster_index.max() + 1), dtype=np.int64)
    np.add.at(counts, (label_index, cluster_index), 1)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(labels))


def _agreement(prefix: str, labels: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {
        f"{prefix}-accuracy": clustering_accuracy(labels, clusters),
        f"{prefix}-nmi": float(normalized_mutual_info_score(labels, clusters)),
        f"{prefix}-ari": float(adjusted_rand_score(labels, clusters)),
    }


def _count_classes(labels: np.ndarray) -> int:
    count = len(np.unique(labels))
    if count < 2:
        raise Unmeasurable(f"the {len(labels)} images evaluated are all of one class")
    return count


@metric(
    table="clustering",
    source=f"k-means on codes; {_SOURCE}",
    outputs=_outputs("kmeans", "k-means cluster"),
    protocol={"clusters": "as many as classes", "initializations": _NUM_INITIALIZATIONS},
)
def kmeans(codes: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Clusters of k-means on the codes [N, d], k the number of classes, against labels [N].

    Raises:
        Unmeasurable: a single class, or codes that are not finite.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    require_finite(codes=codes)
    model = KMeans(_count_classes(labels), n_init=_NUM_INITIALIZATIONS, random_state=int(rng.integers(2**32)))
    with warnings.catch_warnings():
        # A collapsed encoder has fewer distinct codes than classes; its low score says so.
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters = model.fit_predict(codes.astype(np.float64))
    return _agreement("kmeans", labels, clusters)


@metric(
    name="components",
    table="clustering",
    source=f"components of the model's own mixture prior; {_SOURCE}",
    outputs=_outputs("components", "mixture component"),
)
def component_agreement(components: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The mixture component [N] the model puts each image in, against labels [N].

    Raises:
        Unmeasurable: a single class.
    """
    _count_classes(labels)
    return _agreement("components", labels, components)
