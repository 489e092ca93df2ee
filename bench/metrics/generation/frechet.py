"""Fréchet distance between the features of two sets of images: FID, and the same over other networks.

Features are summarized by mean and covariance, as if Gaussian; the distance between those Gaussians is
|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½). It is biased upwards by finite samples (by 22 / 2.2 / 0.2 for 100 / 1,000 /
10,000 images with 64 features), so the numbers of images belong to the measurement.
"""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, derived, metric
from bench.metrics.checks import require_finite
from bench.metrics.generation.judged import COMBINATIONS, NETWORKS, Judged, comparison_protocol
from bench.torchvision_compat import import_torchvision

Statistics = dict[str, np.ndarray]
"""mu: mean [D]; sigma: covariance [D, D], unbiased; both float64."""

NAMES = {
    "inception-v3": "fid",
    "inception-v3-torchvision": "fid-torchvision",
    "efficientnet-lite0": "fd-efficientnet-lite0",
}
"""Only distances over the Inception of Heusel et al. are called FID without qualification."""

SOURCES = {
    "inception-v3": "Heusel et al. 2017, arXiv 1706.08500; Inception and distance by torch-fidelity",
    "inception-v3-torchvision": "FID of Heusel et al. 2017, arXiv 1706.08500, over the features of GWAE's code "
    "(Nakagawa et al. 2023, arXiv 2209.07007): not comparable with FID over the Inception of 2015; "
    "their reconstructions decode a draw of each posterior, ours its mean",
    "efficientnet-lite0": "distance of Heusel et al. 2017, arXiv 1706.08500, over features of EfficientNet-Lite0: "
    "not FID",
}

_VERSION = 2  # of all: they share their arithmetic


@derived("statistics")
def feature_statistics(features: np.ndarray) -> Statistics:
    """Mean and covariance of features [N, D]. Raises Unmeasurable where N < 2, or where features are not finite."""
    if len(features) < 2:
        raise Unmeasurable(f"a covariance needs at least two images; there are {len(features)}")
    require_finite(features=features)
    import_torchvision()
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics

    return fid_features_to_statistics(torch.from_numpy(features.astype(np.float64)))


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson and Landau 1982).

    From the eigenvalues of Σ₁Σ₂ in float64. With singular covariances (fewer images than features) rounding moves it
    by up to about 1e-6 of their traces, downwards, also below 0; by far less with more images.
    """
    import_torchvision()
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    return fid_statistics_to_metric(first, second, verbose=False)[KEY_METRIC_FID]


def _register(judged: Judged, extractor: str) -> None:
    name = f"{NAMES[extractor]}-{judged.ending}"
    what = "FID" if NAMES[extractor] == "fid" else f"Fréchet distance ({NETWORKS[extractor]})"

    @metric(
        name=name,
        table=judged.table,
        version=_VERSION,
        source=SOURCES[extractor],
        outputs={name: Output("min", "0 upwards", f"{what} of {judged.meaning} against images")},
        arrays={
            "measured": f"{judged.array}/{extractor}/statistics",
            "reference": f"images/{extractor}/statistics",
        },
        protocol=comparison_protocol(judged, extractor, covariance="unbiased, float64"),
    )
    def distance(measured: Statistics, reference: Statistics, *, num_samples: int = 10_000) -> dict[str, float]:
        return {name: frechet_distance(measured, reference)}


for _judged, _extractor in COMBINATIONS:
    _register(_judged, _extractor)
