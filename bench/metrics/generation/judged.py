"""Which images the metrics over features judge, and how their names tell the extractors apart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from bench.metrics.extractors import EXTRACTORS


@dataclass(frozen=True)
class Judged:
    """Images a method makes.

    array: its name. ending: of metrics' names. table: that of these metrics. meaning: what the images are, in meanings.
    made_from: the same in protocols, where it says which codes were decoded.
    """

    array: str
    ending: str
    table: str
    meaning: str
    made_from: str


JUDGED = (
    Judged("samples", "generation", "generation", "decoded draws of the prior", "decoded draws of the prior"),
    Judged("reconstructions", "reconstruction", "reconstruction", "reconstructions", "decoded posterior means"),
    Judged(
        "interpolations",
        "interpolation",
        "generation",
        "images decoded midway between two images' codes",
        "decoded midway on the great circle between posterior means of random pairs",
    ),
)
MADE_FROM = {judged.array: judged.made_from for judged in JUDGED}
"""By array, for metrics of one of them alone. Codes of a method without posteriors stand for their means."""

NETWORKS = {
    "inception-v3": "Inception",
    "inception-v3-torchvision": "torchvision's Inception",
    "efficientnet-lite0": "EfficientNet-Lite0",
}
"""How meanings name the networks of EXTRACTORS."""

QUALIFIERS = {
    "inception-v3": "",
    "inception-v3-torchvision": "-torchvision",
    "efficientnet-lite0": "-efficientnet-lite0",
}
"""What follows a metric's base name: only values over the first extractor go without qualification."""

COMBINATIONS = tuple(product(JUDGED, EXTRACTORS))


def comparison_protocol(judged: Judged, extractor: str, **facts: Any) -> dict[str, Any]:
    """Facts of a comparison of judged images with the dataset's own over an extractor's features."""
    return {
        **EXTRACTORS[extractor].protocol(),
        "made_from": judged.made_from,
        "reference_images": "as many as num_samples, or the whole split where it has fewer",
        **facts,
    }
