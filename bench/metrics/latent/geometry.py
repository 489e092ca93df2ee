"""Whether distances between codes are those between images, up to a unit of length."""

from __future__ import annotations

import warnings

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.latent.samples import at_most, exactly

TIE = 1e-9
"""Relative spread below which distances differ by rounding alone."""


@metric(
    table="latent",
    source="Mémoli 2011; Peyré, Cuturi and Solomon 2016; computed by POT",
    outputs={
        "gromov-wasserstein": Output(
            "min",
            "squared distance, mean 1",
            "how much distances change when codes are matched with images; 0 if isometric",
        )
    },
    protocol={
        "loss": "squared difference of Euclidean distances, those of codes and of images each scaled to mean 1",
        "solver": "conditional gradient from the pairing of each image with its code",
    },
)
def gromov_wasserstein(codes: np.ndarray, images: np.ndarray, *, num_samples: int = 500) -> dict[str, float]:
    """Σ (‖z_i − z_k‖ − ‖x_j − x_l‖)² P_ij P_kl at a local minimum over couplings P of codes [N, d] and images [N, ...].

    The problem is not convex: the value is an upper bound of the squared Gromov–Wasserstein distance, and at most the
    mean squared difference under the method's own pairing, where the solver starts.

    Raises:
        Unmeasurable: codes that are not finite, fewer than asked for, or codes or images that are all the same.
    """
    from ot.gromov import gromov_wasserstein as solve
    from scipy.spatial.distance import squareform

    codes, images = exactly(num_samples, codes=codes, images=images)
    between_codes, between_images = squareform(_distances(codes, "codes")), squareform(_distances(images, "images"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an inner linear program cut short, which bounds the value no less
        log = solve(between_codes, between_images, G0=np.eye(len(codes)) / len(codes), symmetric=True, log=True)[1]
    return {"gromov-wasserstein": max(float(log["gw_dist"]), 0.0)}


def isometry_correlation(codes: np.ndarray, images: np.ndarray) -> float:
    """Pearson's correlation of ‖z_i − z_j‖² and ‖x_i − x_j‖² over all pairs of codes [N, d] and images [N, ...].

    1 where distances between codes are those between images but for a factor. The authors plot 10,000 disjoint pairs.

    Raises:
        Unmeasurable: the distances between codes, or those between images, are all the same.
    """
    distances = []
    for what, points in (("codes", codes), ("images", images)):
        squared = np.square(_distances(points, what))
        if not squared.std() > TIE * squared.mean():
            raise Unmeasurable(f"the distances between the {len(points):,} {what} are all the same")
        distances.append(squared)
    return float(np.corrcoef(*distances)[0, 1].clip(-1, 1))


def _distances(points: np.ndarray, what: str) -> np.ndarray:
    """Euclidean distances of all pairs of [N, ...], scaled to mean 1, [N (N − 1) / 2].

    Raises:
        Unmeasurable: the points are all the same.
    """
    from scipy.spatial.distance import pdist

    distances = pdist(points.reshape(len(points), -1))
    mean = distances.mean()
    if not mean > 0:
        raise Unmeasurable(f"the {len(points):,} {what} are all the same")
    return distances / mean


def _register_correlation(name: str, codes: str, images: str, meaning: str) -> None:
    @metric(
        name=name,
        table="latent",
        source="the Δz–Δx plots of Nakagawa et al. 2023, arXiv 2209.07007, and their code",
        outputs={
            name: Output("max", "-1 to 1", f"correlation of distances between codes with those between {meaning}")
        },
        arrays={"codes": codes, "images": images},
        protocol={"correlation": "Pearson's, of squared Euclidean distances", "pairs": "all"},
    )
    def correlation(codes: np.ndarray, images: np.ndarray, *, num_samples: int = 1000) -> dict[str, float]:
        return {name: isometry_correlation(*at_most(num_samples, codes=codes, images=images))}


for _name, _codes, _images, _meaning in (
    ("data", "codes", "images", "their images"),
    ("generated", "prior_codes", "samples", "their decodings, for draws of the prior"),
):
    _register_correlation(f"isometry-correlation-{_name}", _codes, _images, _meaning)
