"""Seconds of the metrics over features, each beside torch-fidelity's own on the same images or features.

python -m pytest tests/benchmarks/bench_generation.py --benchmark-enable --benchmark-group-by=group

Images are 3x32x32, and there is one thread; on a busy machine, --benchmark-timer=time.process_time counts CPU seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.metrics.base import Unmeasurable
from bench.metrics.extractors import EXTRACTORS, extract_features, remembered_features
from bench.metrics.generation.frechet import feature_statistics, frechet_distance
from bench.metrics.generation.inception_score import inception_score
from bench.metrics.generation.kernel import kernel_distance
from bench.metrics.generation.manifolds import manifold_scores
from bench.torchvision_compat import import_torchvision

CPU = torch.device("cpu")
EFFICIENTNET = EXTRACTORS["efficientnet-lite0"]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10_000, 3, 32, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def samples(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(images.shape, dtype=np.float32)
    return (images / np.float32(255) + np.float32(0.1) * noise).clip(0, 1)


@pytest.fixture(scope="module")
def features() -> tuple[torch.Tensor, torch.Tensor]:
    """Rectified mixtures of a few causes, as the last layers of networks give, 10,000 each."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((64, 2048)).astype(np.float32) / 8
    first, second = rng.standard_normal((2, 10_000, 64)).astype(np.float32)
    return torch.from_numpy((first @ mixing).clip(0)), torch.from_numpy((1.1 * second @ mixing).clip(0))


def once(benchmark: BenchmarkFixture, function: Callable[..., Any], *arguments: Any) -> Any:
    return benchmark.pedantic(function, arguments, rounds=1)


def our_distance(images: np.ndarray, samples: np.ndarray) -> float:
    """As a trial does it: in chunks of 250 images."""
    return frechet_distance(*(feature_statistics(in_chunks(extract_features, each)) for each in (images, samples)))


def in_chunks(extract: Callable[..., np.ndarray], images: np.ndarray, *folder: Path) -> np.ndarray:
    starts = range(0, len(images), 250)
    return np.concatenate([extract(EFFICIENTNET, images[start : start + 250], CPU, *folder) for start in starts])


def their_distance(images: np.ndarray, samples: np.ndarray) -> float:
    """torch-fidelity's pipeline with its own settings, over the same network registered with it."""
    import_torchvision()
    from torch_fidelity import FeatureExtractorBase, calculate_metrics, register_feature_extractor
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    class EfficientNet(FeatureExtractorBase):
        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)
            self.network = EFFICIENTNET.load(CPU)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("1280",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "1280"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.network(batch),)

    class Images(torch.utils.data.Dataset[torch.Tensor]):
        def __init__(self, images: np.ndarray) -> None:
            self.images = torch.from_numpy(images)

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> torch.Tensor:
            return self.images[index]

    if "efficientnet-lite0" not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor("efficientnet-lite0", EfficientNet)
    found = calculate_metrics(
        input1=Images(images),
        input2=Images((samples * 255).round().astype(np.uint8)),
        fid=True,
        feature_extractor="efficientnet-lite0",
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    return found["frechet_inception_distance"]


@pytest.mark.parametrize("count", [1_000, 10_000])
@pytest.mark.parametrize("distance", [our_distance, their_distance])
def test_frechet_efficientnet(
    benchmark: BenchmarkFixture,
    images: np.ndarray,
    samples: np.ndarray,
    count: int,
    distance: Callable[[np.ndarray, np.ndarray], float],
) -> None:
    benchmark.group = f"Fréchet distance, EfficientNet-Lite0, {count:,} images"
    distance(images[:100], samples[:100])  # imports, and loads the network
    assert once(benchmark, distance, images[:count], samples[:count]) > 0.1


def test_remembered_features(benchmark: BenchmarkFixture, images: np.ndarray, tmp_path: Path) -> None:
    benchmark.group = "features of 1,000 reference images in later trials"
    in_chunks(remembered_features, images[:1000], tmp_path)
    once(benchmark, in_chunks, remembered_features, images[:1000], tmp_path)


@pytest.mark.parametrize("name", ["inception-v3", "inception-v3-torchvision"])
def test_inception_features(benchmark: BenchmarkFixture, images: np.ndarray, name: str) -> None:
    benchmark.group = "Inception features of 20 images"
    try:
        once(benchmark, extract_features, EXTRACTORS[name], images[:20], CPU)
    except Unmeasurable as error:
        pytest.skip(str(error))  # it names the weights that are missing, and where they are looked for


def our_kernel_distance(first: torch.Tensor, second: torch.Tensor) -> None:
    kernel_distance(first.numpy(), second.numpy())


def their_kernel_distance(first: torch.Tensor, second: torch.Tensor) -> None:
    import_torchvision()
    from torch_fidelity.metric_kid import kid_features_to_metric

    kid_features_to_metric(first, second, verbose=False)


def our_manifold_scores(first: torch.Tensor, second: torch.Tensor) -> None:
    manifold_scores(first.numpy(), second.numpy())


def their_precision_and_recall(first: torch.Tensor, second: torch.Tensor) -> None:
    import_torchvision()
    from torch_fidelity.metric_prc import prc_features_to_metric

    prc_features_to_metric(first, second, verbose=False)


def our_inception_score(first: torch.Tensor, second: torch.Tensor) -> None:
    inception_score(first[:, :1008].numpy(), np.random.default_rng(0))


def their_inception_score(first: torch.Tensor, second: torch.Tensor) -> None:
    import_torchvision()
    from torch_fidelity.metric_isc import isc_features_to_metric

    isc_features_to_metric(first[:, :1008])


@pytest.mark.parametrize(
    ("group", "function"),
    [
        ("kernel distance", our_kernel_distance),
        ("kernel distance", their_kernel_distance),
        ("precision, recall (ours: density, coverage too)", our_manifold_scores),
        ("precision, recall (ours: density, coverage too)", their_precision_and_recall),
        ("Inception score", our_inception_score),
        ("Inception score", their_inception_score),
    ],
)
def test_over_features(
    benchmark: BenchmarkFixture,
    features: tuple[torch.Tensor, torch.Tensor],
    group: str,
    function: Callable[[torch.Tensor, torch.Tensor], None],
) -> None:
    benchmark.group = f"{group}, 10,000 features of 2048 dimensions"
    function(*(each[:2000] for each in features))  # imports
    once(benchmark, function, *features)
