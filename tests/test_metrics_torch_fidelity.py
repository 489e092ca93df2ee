"""FID, KID, Inception score, precision and recall end to end: our path and torch-fidelity's own, on the same images.

The Inception is torch-fidelity's with random weights of a fixed seed, so that the test needs no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.metrics.base import all_metrics
from bench.metrics.extractors import EXTRACTORS, extract_features, to_uint8
from bench.metrics.generation.frechet import feature_statistics
from bench.metrics.generation.inception_score import inception_logits
from bench.torchvision_compat import import_torchvision
from tests.image_features import CPU, noisy, random_inception, smooth_images

COUNT = 15
SEED = 5


class Images(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, images: np.ndarray) -> None:
        self.images = torch.from_numpy(to_uint8(images))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return smooth_images(COUNT, size=32)


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return noisy(smooth_images(COUNT, size=32, seed=1), 0.1)


@pytest.fixture(scope="module")
def weights_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For this module the extractor "inception-v3" expects random weights."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EXTRACTORS, "inception-v3", random_inception(folder, patch))
        yield folder / "random.pth"


@pytest.fixture(scope="module")
def ours(images: np.ndarray, samples: np.ndarray, weights_path: Path) -> dict[str, float]:
    """Every output of our metrics of samples over Inception."""
    arrays: dict[str, Any] = {"rng": np.random.default_rng(SEED)}
    for name, array in (("images", images), ("samples", samples)):
        features = extract_features(EXTRACTORS["inception-v3"], array, CPU)
        arrays[f"{name}/inception-v3"] = features
        arrays[f"{name}/inception-v3/statistics"] = feature_statistics(features)
        arrays[f"{name}/inception-v3/logits"] = inception_logits(features)
    values: dict[str, float] = {}
    for name in ("fid-generation", "kid-generation", "inception-score-generation", "prdc-generation"):
        metric = all_metrics()[name]
        values |= metric.compute(**{parameter: arrays[path] for parameter, path in metric.parameters.items()})
    return values


@pytest.fixture(scope="module")
def theirs(images: np.ndarray, samples: np.ndarray, weights_path: Path) -> dict[str, float]:
    import_torchvision()
    from torch_fidelity import calculate_metrics

    return calculate_metrics(
        input1=Images(samples),
        input2=Images(images),
        cuda=False,
        batch_size=COUNT,
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        feature_extractor="inception-v3-compat",
        feature_layer_prc="2048",
        feature_extractor_weights_path=str(weights_path),
        kid_subsets=1,
        kid_subset_size=COUNT,
        rng_seed=int(np.random.default_rng(SEED).integers(2**32)),
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )


def test_features(images: np.ndarray, weights_path: Path) -> None:
    """Within 1e-5: ours come in other batches and another layout of memory."""
    from torch_fidelity.utils import create_feature_extractor

    network = create_feature_extractor(
        "inception-v3-compat",
        ["2048", "logits_unbiased"],
        cuda=False,
        verbose=False,
        feature_extractor_weights_path=str(weights_path),
    )
    features, logits = (each.numpy() for each in network(torch.from_numpy(images[:4])))
    mine = extract_features(EXTRACTORS["inception-v3"], images[:4], CPU, batch_size=3)
    assert features.std(axis=0).max() > 0.01
    np.testing.assert_allclose(mine, features, atol=1e-5)
    np.testing.assert_allclose(inception_logits(mine), logits, atol=1e-3 * logits.std())


def test_fid(ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert theirs["frechet_inception_distance"] > 0.1
    assert ours["fid-generation"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)


def test_kid(ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert theirs["kernel_inception_distance_mean"] > 1e-4
    assert ours["kid-generation"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3, abs=1e-6)


def test_inception_score(ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert theirs["inception_score_mean"] > 1.01
    assert ours["inception-score-generation"] == pytest.approx(theirs["inception_score_mean"], abs=1e-5)


def test_precision_and_recall(ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert 0 < theirs["recall"] < theirs["precision"]
    assert ours["precision-generation"] == pytest.approx(theirs["precision"])
    assert ours["recall-generation"] == pytest.approx(theirs["recall"])
