"""Fréchet distances: closed forms for Gaussians, their bias, and images with more and more noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.metrics.base import Unmeasurable, all_metrics
from bench.metrics.extractors import EXTRACTORS, Extractor, extract_features
from bench.metrics.generation.frechet import feature_statistics, frechet_distance
from tests.image_features import CPU, noisy, random_torchvision_inception, smooth_images


def exact_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Of features [N, D] with N < D: the trace of the root is the nuclear norm of the product of centered features."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    roots = [(features - features.mean(axis=0)) / np.sqrt(len(features) - 1) for features in (first, second)]
    return float(
        np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
        + sum(np.square(root).sum() for root in roots)
        - 2 * np.linalg.norm(roots[0] @ roots[1].T, ord="nuc")
    )


def image_distance(extractor: Extractor, images: np.ndarray, others: np.ndarray) -> float:
    measured, reference = (feature_statistics(extract_features(extractor, each, CPU)) for each in (others, images))
    return frechet_distance(measured, reference)


class TestDistanceOfGaussians:
    """Closed forms of |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½)."""

    def test_of_equal_covariances_is_the_squared_distance_of_the_means(self) -> None:
        root = np.random.default_rng(0).standard_normal((6, 6))
        offset = np.arange(6.0)
        first = {"mu": np.zeros(6), "sigma": root @ root.T}
        assert frechet_distance(first, {**first, "mu": offset}) == pytest.approx(offset @ offset)

    def test_of_unit_and_fourfold_variance_is_the_dimension(self) -> None:
        first = {"mu": np.zeros(64), "sigma": np.eye(64)}
        assert frechet_distance(first, {**first, "sigma": 4 * np.eye(64)}) == pytest.approx(64)

    def test_of_diagonal_covariances_compares_standard_deviations(self) -> None:
        a, b = np.random.default_rng(0).random((2, 10))
        first, second = ({"mu": np.zeros(10), "sigma": np.diag(v)} for v in (a, b))
        assert frechet_distance(first, second) == pytest.approx(((np.sqrt(a) - np.sqrt(b)) ** 2).sum())

    def test_is_symmetric(self) -> None:
        rng = np.random.default_rng(0)
        first, second = (feature_statistics(rng.standard_normal((50, 8)) * scale) for scale in (1, 2))
        assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))

    def test_of_equal_statistics_is_0_up_to_rounding(self) -> None:
        statistics = feature_statistics(np.random.default_rng(0).standard_normal((500, 64)))
        assert frechet_distance(statistics, statistics) == pytest.approx(0, abs=1e-9)

    def test_of_singular_covariances_is_exact_up_to_rounding(self) -> None:
        rng = np.random.default_rng(0)
        first, second = rng.standard_normal((20, 200)), rng.standard_normal((20, 200)) + 0.1
        distance = frechet_distance(feature_statistics(first), feature_statistics(second))
        assert distance == pytest.approx(exact_distance(first, second), abs=1e-3)

    def test_of_singular_covariances_with_a_decaying_spectrum_is_low_by_a_millionth_of_their_traces(self) -> None:
        rng = np.random.default_rng(0)
        axes = np.linalg.qr(rng.standard_normal((300, 300)))[0] / np.arange(1, 301)[:, None]
        first, second = rng.standard_normal((20, 300)) @ axes, (1.2 * rng.standard_normal((20, 300)) + 0.1) @ axes
        statistics = feature_statistics(first), feature_statistics(second)
        trace = sum(np.trace(each["sigma"]) for each in statistics)
        error = frechet_distance(*statistics) - exact_distance(first, second)
        assert -2e-6 * trace < error < 1e-9 * trace

    def test_of_constant_features_is_that_of_the_means(self) -> None:
        statistics = [feature_statistics(np.full((5, 4), value, dtype=np.float32)) for value in (1, 3)]
        assert frechet_distance(*statistics) == pytest.approx(4 * 2**2)

    @pytest.mark.parametrize(("count", "expected"), [(100, 22.0), (1_000, 2.20), (10_000, 0.217)])
    def test_between_samples_of_one_distribution_shrinks_with_their_size(self, count: int, expected: float) -> None:
        """The bias in 64 dimensions."""
        rng = np.random.default_rng(0)
        statistics = [feature_statistics(rng.standard_normal((count, 64))) for _ in range(2)]
        assert frechet_distance(*statistics) == pytest.approx(expected, rel=0.1)


class TestStatistics:
    def test_are_mean_and_unbiased_covariance_in_float64(self) -> None:
        features = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32) + 1000
        statistics = feature_statistics(features)
        centered = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(statistics["mu"], features.mean(axis=0, dtype=np.float64), rtol=1e-12)
        np.testing.assert_allclose(statistics["sigma"], centered.T @ centered / 29, rtol=1e-9)

    def test_do_not_depend_on_the_order_of_images(self) -> None:
        features = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
        forwards, backwards = feature_statistics(features), feature_statistics(features[::-1])
        for name in ("mu", "sigma"):
            np.testing.assert_allclose(forwards[name], backwards[name], atol=1e-14)

    def test_of_one_image_have_no_covariance(self) -> None:
        with pytest.raises(Unmeasurable, match="at least two images; there are 1"):
            feature_statistics(np.ones((1, 4), dtype=np.float32))

    def test_of_features_that_are_not_finite_do_not_exist(self) -> None:
        with pytest.raises(Unmeasurable, match="features hold values that are not finite"):
            feature_statistics(np.array([[1, np.nan], [2, 3]], dtype=np.float32))


class TestOfImages:
    def test_grows_with_noise(self) -> None:
        images = smooth_images(48, channels=1)
        values = [
            image_distance(EXTRACTORS["efficientnet-lite0"], images, noisy(images, scale)) for scale in (0, 0.05, 0.2)
        ]
        assert values[0] == pytest.approx(0, abs=1e-3)
        assert values[0] + 1 < values[1] < values[2]

    def test_over_the_inception_of_torchvision_is_that_of_gwae(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As their code runs it: the whole network with its last two layers emptied, on images in [0, 1]."""
        extractor = random_torchvision_inception(tmp_path, monkeypatch)
        from torchvision.models import inception_v3

        network = inception_v3(weights=None, transform_input=True, init_weights=False)
        network.load_state_dict(torch.load(tmp_path / "torchvision.pth", weights_only=True))
        network.dropout, network.fc = torch.nn.Sequential(), torch.nn.Sequential()
        network.eval()
        images = smooth_images(6, size=64)
        decoded = noisy(images, 0.1)
        with torch.no_grad():
            features = [
                network(torch.nn.AdaptiveAvgPool2d((299, 299))(batch)).numpy()
                for batch in (torch.from_numpy(images).float() / 255, torch.from_numpy(decoded))
            ]
        theirs = exact_distance(*features)
        assert theirs > 0.01
        assert image_distance(extractor, images, decoded) == pytest.approx(theirs, rel=1e-3)


def test_only_distances_over_the_inception_of_2015_are_called_fid() -> None:
    metrics = {name: metric for name, metric in all_metrics().items() if name.startswith(("fid", "fd-"))}
    assert set(metrics) == {
        f"{name}-{judged}"
        for name in ("fid", "fid-torchvision", "fd-efficientnet-lite0")
        for judged in ("generation", "reconstruction", "interpolation")
    }
    unqualified = {name for name in metrics if name.count("-") == 1}
    for name, metric in metrics.items():
        (output,) = metric.outputs.values()
        protocol = metric.protocol_for({"num_samples": 10_000})
        assert (protocol["extractor"] == "inception-v3-compat") == (name in unqualified)
        assert output.meaning.startswith("FID of") == (name in unqualified)
        assert protocol["weights_sha256"] == EXTRACTORS[metric.arrays[0].split("/")[1]].weights_sha256
