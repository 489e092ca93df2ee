"""How codes fall into groups found without labels: how these agree with the classes, and how far apart they lie.

Groups are those of k-means, of a Gaussian mixture, or the model's own mixture components. What codes are good for is
what they add to `kmeans-data`, k-means on the images themselves.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.metrics.ranks import order_by_norm

KMEANS_STARTS = 10
MIXTURE_STARTS = 3
MIXTURE_ITERATIONS = 100
MIXTURE_RIDGE = 1e-6
"""Added to the variances of each component, as a share of the codes' mean variance."""
SILHOUETTE_POINTS = 10_000
"""The silhouette takes the distances of all pairs: of more points than these, as many are drawn."""

_SOURCE = (
    "accuracy under the best one-to-one assignment (Kuhn 1955); normalized mutual information, arithmetic mean "
    "(Vinh et al. 2010); adjusted Rand index (Hubert and Arabie 1985); purity (Manning et al. 2008, ch. 16); "
    "silhouette (Rousseeuw 1987); Calinski and Harabasz 1974"
)
_KMEANS = {"initialization": "k-means++", "initializations": KMEANS_STARTS}
_SEPARATION = {"silhouette_points": f"all, or {SILHOUETTE_POINTS:,} drawn of more"}


def _agreement_outputs(groups: str, of: str) -> dict[str, Output]:
    return {
        f"{groups}-accuracy": Output("max", "0 to 1", f"share of images whose {of} is the one assigned to their class"),
        f"{groups}-nmi": Output("max", "0 to 1", f"normalized mutual information of {of} and class"),
        f"{groups}-ari": Output("max", "-0.5 to 1", f"Rand index of {of} and class, adjusted so that chance is 0"),
        f"{groups}-purity": Output("max", "0 to 1", f"share of images of the class most frequent in their {of}"),
    }


def _outputs(groups: str, of: str) -> dict[str, Output]:
    return {
        **_agreement_outputs(groups, of),
        f"{groups}-silhouette": Output("max", "-1 to 1", f"how much nearer codes lie to their {of} than to the next"),
        f"{groups}-calinski-harabasz": Output(
            "max", "0 upwards", f"spread of codes between a {of} and another, over the spread within"
        ),
    }


def clustering_accuracy(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Share of items that agree under the best assignment of clusters to classes, each used at most once.

    Args:
        labels, clusters: integers [N]; their values need not match, nor their numbers of distinct values. Clusters
            left without a class count as errors.
    """
    from scipy.optimize import linear_sum_assignment

    counts = _contingency(labels, clusters)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(labels))


def purity(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Share of items whose label is the most frequent in their cluster; labels and clusters are integers [N]."""
    return float(_contingency(labels, clusters).max(axis=0).sum() / len(labels))


def _contingency(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """How many items are of each class (rows) and in each cluster (columns)."""
    classes, label_index = np.unique(labels, return_inverse=True)
    groups, cluster_index = np.unique(clusters, return_inverse=True)
    counts = np.bincount(label_index * len(groups) + cluster_index, minlength=len(classes) * len(groups))
    return counts.reshape(len(classes), len(groups))


def separation(
    codes: np.ndarray, clusters: np.ndarray, rng: np.random.Generator
) -> tuple[float | Unmeasurable, float | Unmeasurable]:
    """Mean silhouette and Calinski-Harabasz index of codes [N, d] in clusters [N], or why there is none.

    `rng` draws the points of the silhouette where there are more than SILHOUETTE_POINTS.
    """
    from sklearn.metrics import calinski_harabasz_score, silhouette_score

    groups, values = len(np.unique(clusters)), len(np.unique(codes, axis=0))
    if groups < 2 or values <= groups:
        reason = Unmeasurable(
            "all codes are in one cluster"
            if groups < 2
            else f"the codes have no spread within clusters: {values} distinct values for {groups} clusters"
        )
        return reason, reason
    scattered = float(calinski_harabasz_score(codes, clusters))
    if len(codes) > SILHOUETTE_POINTS:
        chosen = np.sort(rng.permutation(len(codes))[:SILHOUETTE_POINTS])
        codes, clusters = codes[chosen], clusters[chosen]
        if len(np.unique(clusters)) < 2:
            return Unmeasurable(f"all {SILHOUETTE_POINTS:,} codes drawn are in one cluster"), scattered
    return float(silhouette_score(codes, clusters)), scattered


def _agreement(prefix: str, labels: np.ndarray, clusters: np.ndarray) -> dict[str, float | Unmeasurable]:
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {
        f"{prefix}-accuracy": clustering_accuracy(labels, clusters),
        f"{prefix}-nmi": float(normalized_mutual_info_score(labels, clusters)),
        f"{prefix}-ari": float(adjusted_rand_score(labels, clusters)),
        f"{prefix}-purity": purity(labels, clusters),
    }


def _scores(
    prefix: str, codes: np.ndarray, labels: np.ndarray, clusters: np.ndarray, rng: np.random.Generator
) -> dict[str, float | Unmeasurable]:
    silhouette, calinski_harabasz = separation(codes, clusters, rng)
    return {
        **_agreement(prefix, labels, clusters),
        f"{prefix}-silhouette": silhouette,
        f"{prefix}-calinski-harabasz": calinski_harabasz,
    }


def _prepared(codes: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Everything sorted by the norm of the codes; these in float64, around 0, so that distances are accurate."""
    require_finite(codes=codes)
    order = order_by_norm(codes)
    codes = codes[order].astype(np.float64)
    return codes - codes.mean(axis=0), *(other[order] for other in others)


def _count_classes(labels: np.ndarray) -> int:
    count = len(np.unique(labels))
    if count < 2:
        raise Unmeasurable(f"the {len(labels)} images evaluated are all of one class")
    return count


Fit = Callable[[np.ndarray, int, int], np.ndarray]
"""Points [N, D], how many clusters, a seed -> the cluster [N] of each point."""


def _cluster(
    fit: Fit, points: np.ndarray, labels: np.ndarray, rng: np.random.Generator, clusters: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and labels, both prepared, and the clusters found."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    points, labels = _prepared(points, labels)
    count = _count_classes(labels) if clusters is None else clusters
    _count_classes(labels)
    if not 1 <= count <= len(points):
        raise Unmeasurable(f"{count} clusters were asked for of {len(points)} images")
    # Threads add up in whatever order, and a sum's last digit may decide which of two starts wins.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # A collapsed encoder has fewer distinct codes than clusters; its low scores say so.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return points, labels, fit(points, count, int(rng.integers(2**32)))


def _fit_kmeans(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    return KMeans(count, n_init=KMEANS_STARTS, random_state=seed).fit_predict(points)


def _fit_mixture(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    from sklearn.mixture import GaussianMixture

    spread = np.sqrt(np.square(points).mean())
    model = GaussianMixture(
        count,
        n_init=MIXTURE_STARTS,
        max_iter=MIXTURE_ITERATIONS,
        reg_covar=MIXTURE_RIDGE,
        random_state=seed,
    )
    return model.fit_predict(points / spread if spread > 0 else points)


def _clusters_protocol(facts: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
    return lambda options: {**facts, **({"clusters": "as many as classes"} if options["clusters"] is None else {})}


@metric(
    table="clustering",
    version=2,
    source=f"k-means on codes; {_SOURCE}",
    outputs=_outputs("kmeans", "k-means cluster"),
    protocol=_clusters_protocol({**_KMEANS, **_SEPARATION}),
)
def kmeans(
    codes: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    *,
    clusters: int | None = None,
    num_samples: int = 10_000,
) -> dict[str, float | Unmeasurable]:
    """Clusters of k-means on the codes [N, d], against labels [N]; as many as classes, if `clusters` says no other.

    Raises:
        Unmeasurable: a single class, fewer codes than clusters, or codes that are not finite. Silhouette and
            Calinski-Harabasz index alone are, where the codes are no more than the clusters' centers.
    """

    codes, labels, found = _cluster(_fit_kmeans, codes, labels, rng, clusters)
    return _scores("kmeans", codes, labels, found, rng)


@metric(
    name="kmeans-data",
    table="clustering",
    source=f"k-means on pixels; {_SOURCE}",
    outputs={
        name: Output(None, output.unit, output.meaning)
        for name, output in _agreement_outputs("kmeans-data", "k-means cluster of pixels").items()
    },
    protocol=_clusters_protocol(_KMEANS),
)
def kmeans_of_images(
    images: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    *,
    clusters: int | None = None,
    num_samples: int = 10_000,
) -> dict[str, float | Unmeasurable]:
    """Clusters of k-means on the dataset's own images [N, ...], against labels [N]: the same for every method.

    Raises:
        Unmeasurable: as for `kmeans`.
    """
    pixels = images.reshape(len(images), -1)
    _, labels, found = _cluster(_fit_kmeans, pixels, labels, rng, clusters)
    return _agreement("kmeans-data", labels, found)


@metric(
    table="clustering",
    source=f"Gaussian mixture with full covariances on codes, by expectation maximization; {_SOURCE}",
    outputs=_outputs("gaussian-mixture", "mixture component"),
    protocol=_clusters_protocol(
        {
            "covariance": f"full, plus {MIXTURE_RIDGE:g} of the codes' mean variance",
            "initialization": "k-means",
            "initializations": MIXTURE_STARTS,
            "iterations": f"at most {MIXTURE_ITERATIONS}",
            **_SEPARATION,
        }
    ),
)
def gaussian_mixture(
    codes: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    *,
    clusters: int | None = None,
    num_samples: int = 10_000,
) -> dict[str, float | Unmeasurable]:
    """Likeliest components of a Gaussian mixture fitted to the codes [N, d], against labels [N].

    Raises:
        Unmeasurable: as for `kmeans`.
    """
    codes, labels, found = _cluster(_fit_mixture, codes, labels, rng, clusters)
    return _scores("gaussian-mixture", codes, labels, found, rng)


@metric(
    name="components",
    table="clustering",
    version=2,
    source=f"components of the model's own mixture prior; {_SOURCE}",
    outputs=_outputs("components", "component of the model's own"),
    protocol=_SEPARATION,
)
def component_agreement(
    components: np.ndarray,
    codes: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    *,
    num_samples: int = 10_000,
) -> dict[str, float | Unmeasurable]:
    """The mixture component [N] the model puts each image in, against labels [N] and codes [N, d].

    Raises:
        Unmeasurable: a single class, or codes that are not finite.
    """
    codes, components, labels = _prepared(codes, components, labels)
    _count_classes(labels)
    return _scores("components", codes, labels, components, rng)
