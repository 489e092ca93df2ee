"""Inception score: how surely Inception names what it sees in single images, and how much that varies among them.

It looks at no reference images, so it says nothing of how alike to the dataset the images are.
"""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, derived, metric
from bench.metrics.checks import require_finite
from bench.metrics.extractors import EXTRACTORS, InceptionV3
from bench.metrics.generation.judged import JUDGED, Judged
from bench.torchvision_compat import import_torchvision

SPLITS = 10
"""The score is the mean over as many equal parts of the images, in random order."""


@derived("logits")
def inception_logits(features: np.ndarray) -> np.ndarray:
    """float32 [N, 2048] of the extractor "inception-v3" -> float32 [N, 1008]; see `InceptionV3.logits`."""
    inception = EXTRACTORS["inception-v3"]
    assert isinstance(inception, InceptionV3)
    return inception.logits(features)


def inception_score(logits: np.ndarray, rng: np.random.Generator) -> float:
    """exp E KL(p(y|x) ‖ p(y)), from 1 to the number of classes; logits [N, classes].

    Raises:
        Unmeasurable: fewer than ten images, or logits that are not finite.
    """
    if len(logits) < SPLITS:
        raise Unmeasurable(f"the Inception score needs at least {SPLITS} images; there are {len(logits)}")
    require_finite(logits=logits)
    import_torchvision()
    import torch
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    seed = int(rng.integers(2**32))
    return isc_features_to_metric(torch.tensor(logits), SPLITS, shuffle=True, rng_seed=seed)[KEY_METRIC_ISC_MEAN]


def _register(judged: Judged) -> None:
    name = f"inception-score-{judged.ending}"

    @metric(
        name=name,
        table=judged.table,
        source="Salimans et al. 2016, arXiv 1606.03498; score by torch-fidelity",
        outputs={
            name: Output("max", "[1, 1008]", f"how sure and how varied Inception's labels are of {judged.meaning}")
        },
        arrays={"logits": f"{judged.array}/inception-v3/logits"},
        protocol={
            **EXTRACTORS["inception-v3"].protocol(),
            "made_from": judged.made_from,
            "layer": "logits without bias",
            "splits": SPLITS,
        },
    )
    def score(logits: np.ndarray, rng: np.random.Generator, *, num_samples: int = 10_000) -> dict[str, float]:
        return {name: inception_score(logits, rng)}


for _judged in JUDGED:
    _register(_judged)
