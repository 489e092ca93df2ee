"""Which images the metrics over features judge, and how their names tell the extractors apart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from bench.metrics.extractors import EXTRACTORS


@dataclass(frozen=True)
class Judged:
    """Images a method makes: the array's name, the ending of metrics' names, their table, and what they are."""

    array: str
    ending: str
    table: str
    meaning: str


JUDGED = (
    Judged("samples", "generation", "generation", "decoded draws of the prior"),
    Judged("reconstructions", "reconstruction", "reconstruction", "reconstructions"),
    Judged("interpolations", "interpolation", "generation", "images decoded midway between two images' codes"),
)

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


def comparison_protocol(extractor: str, **facts: Any) -> dict[str, Any]:
    """Facts of a comparison with the dataset's images over an extractor's features."""
    return {
        **EXTRACTORS[extractor].protocol(),
        "reference_images": "as many as num_samples, or the whole split where it has fewer",
        **facts,
    }
