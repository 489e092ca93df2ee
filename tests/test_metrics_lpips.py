"""LPIPS from end to end, with weights of a fixed random seed in place of the published ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.metrics import lpips as module
from bench.metrics.base import Unmeasurable
from bench.metrics.lpips import lpips

CONVOLUTIONS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)}
CONVOLUTIONS |= {17: (256, 512), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512)}
"""Of VGG16: position in its layers, channels in and out."""
ENDS = (2, 7, 14, 21, 28)
"""The last convolution of each of the five blocks; its rectified output is compared."""


@pytest.fixture(scope="module")
def vgg() -> dict[str, Tensor]:
    """Weights of VGG16; those of its classifier, which LPIPS drops, are one number each on disk."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for position, (inputs, outputs) in CONVOLUTIONS.items():
        scale = (2 / (9 * inputs)) ** 0.5
        state[f"features.{position}.weight"] = scale * torch.randn(outputs, inputs, 3, 3, generator=generator)
        state[f"features.{position}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    for position, (inputs, outputs) in {0: (25088, 4096), 3: (4096, 4096), 6: (4096, 1000)}.items():
        state[f"classifier.{position}.weight"] = torch.zeros(1).expand(outputs, inputs)
        state[f"classifier.{position}.bias"] = torch.zeros(1).expand(outputs)
    return state


@pytest.fixture(scope="module")
def linear() -> list[Tensor]:
    """LPIPS's weights of the channels of each block."""
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(1, channels, 1, 1, generator=generator) for channels in (64, 128, 256, 512, 512)]


@pytest.fixture(scope="module")
def files(vgg: dict[str, Tensor], linear: list[Tensor], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("weights")
    torch.save(vgg, folder / "first.pth")
    torch.save({f"lin{k}.model.1.weight": weight for k, weight in enumerate(linear)}, folder / "second.pth")
    return folder / "first.pth", folder / "second.pth"


@pytest.fixture
def provided(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The random weights stand for the published ones, as files that the environment names."""
    for name, file in zip(("VGG16", "LPIPS"), files, strict=True):
        monkeypatch.setattr(module, f"{name}_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
        monkeypatch.setenv(getattr(module, f"{name}_VARIABLE"), str(file))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 3, 40, 40), dtype=np.uint8)


@pytest.fixture
def reconstructions(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(images.shape)
    return (images / 255 + 0.1 * noise).clip(0, 1).astype(np.float32)


def published_distance(vgg: dict[str, Tensor], linear: list[Tensor], x: Tensor, y: Tensor) -> float:
    """LPIPS of images [N, 3, H, W] in [0, 1] as the paper and its code have it, averaged over images."""
    total = torch.zeros(len(x))
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x, y = ((2 * images - 1 - shift[:, None, None]) / scale[:, None, None] for images in (x, y))
    for position in CONVOLUTIONS:
        if position - 3 in ENDS:
            x, y = F.max_pool2d(x, 2), F.max_pool2d(y, 2)
        weight, bias = vgg[f"features.{position}.weight"], vgg[f"features.{position}.bias"]
        x, y = F.conv2d(x, weight, bias, padding=1).relu(), F.conv2d(y, weight, bias, padding=1).relu()
        if position in ENDS:
            difference = x / x.norm(dim=1, keepdim=True) - y / y.norm(dim=1, keepdim=True)
            total += (difference.square() * linear[ENDS.index(position)]).sum(dim=1).mean(dim=(1, 2))
    return float(total.mean())


@pytest.mark.usefixtures("provided")
class TestWithRandomWeights:
    def test_it_is_the_distance_of_the_paper(
        self, vgg: dict[str, Tensor], linear: list[Tensor], images: np.ndarray, reconstructions: np.ndarray
    ) -> None:
        x, y = torch.from_numpy(images / 255).float(), torch.from_numpy(reconstructions)
        native = published_distance(vgg, linear, x, y)
        assert lpips(images, reconstructions)["lpips"] == pytest.approx(native, rel=1e-4)
        larger = nn.Upsample((64, 64), mode="bilinear", align_corners=False)
        resized = published_distance(vgg, linear, larger(x), larger(y))
        assert lpips(images, reconstructions, resize=64)["lpips"] == pytest.approx(resized, rel=1e-4)
        assert resized != pytest.approx(native, rel=0.01)

    def test_equal_images_have_distance_0_and_noise_adds_to_it(
        self, images: np.ndarray, reconstructions: np.ndarray
    ) -> None:
        exact = (images / 255).astype(np.float32)
        assert lpips(images, exact)["lpips"] == pytest.approx(0, abs=1e-6)
        worse = (exact + 3 * (reconstructions - exact)).clip(0, 1)
        assert 0.001 < lpips(images, reconstructions)["lpips"] < lpips(images, worse)["lpips"]

    def test_batches_do_not_matter(
        self, images: np.ndarray, reconstructions: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = lpips(images, reconstructions)["lpips"]
        monkeypatch.setattr(module, "_BATCH", 2)
        assert lpips(images, reconstructions)["lpips"] == pytest.approx(whole, rel=1e-5)

    def test_grey_images_are_those_of_three_equal_channels(
        self, images: np.ndarray, reconstructions: np.ndarray
    ) -> None:
        grey, others = images[:, :1], reconstructions[:, :1]
        three = lpips(grey.repeat(3, axis=1), others.repeat(3, axis=1))
        assert lpips(grey, others) == three

    def test_random_generators_and_the_hub_stay_as_they_are(
        self, images: np.ndarray, reconstructions: np.ndarray
    ) -> None:
        module._load.cache_clear()
        before, hub = torch.random.get_rng_state(), torch.hub.get_dir()
        lpips(images, reconstructions)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert torch.hub.get_dir() == hub

    def test_images_too_small_for_the_network_are_unmeasurable_unless_resized(self) -> None:
        small = np.zeros((1, 1, 8, 8), dtype=np.uint8)
        with pytest.raises(Unmeasurable, match="images are 8 × 8 pixels, VGG16 needs 16 a side; set resize"):
            lpips(small, small.astype(np.float32))
        with pytest.raises(Unmeasurable, match="resized to 8 pixels"):
            lpips(small, small.astype(np.float32), resize=8)
        assert lpips(small, small.astype(np.float32), resize=64)["lpips"] == 0

    def test_reconstructions_with_nan_are_unmeasurable(self, images: np.ndarray) -> None:
        with pytest.raises(Unmeasurable, match="reconstructions hold values that are not finite"):
            lpips(images, np.full(images.shape, np.nan, dtype=np.float32))


def test_weights_that_are_not_the_published_ones_are_refused(
    files: tuple[Path, Path], images: np.ndarray, reconstructions: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    module._load.cache_clear()
    monkeypatch.setenv("BENCH_VGG16_WEIGHTS", str(files[0]))
    with pytest.raises(Unmeasurable, match=r"not the file expected.*vgg16-397923af\.pth.*BENCH_VGG16_WEIGHTS"):
        lpips(images, reconstructions)


def test_torch_fidelity_reads_the_files_we_verify() -> None:
    """It asks torch.hub for these addresses; another version that asks for others would download unverified files."""
    from bench.torchvision_compat import import_torchvision

    torchvision = import_torchvision()
    from torch_fidelity.sample_similarity_lpips import URL_VGG16_LPIPS

    asked = {URL_VGG16_LPIPS, torchvision.models.VGG16_Weights.IMAGENET1K_V1.url}
    assert asked == {module.LPIPS_URL, module.VGG16_URL}
