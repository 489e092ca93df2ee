"""Reconstruction metrics: values that follow from the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.base import Unmeasurable
from bench.metrics.reconstruction import mse, psnr, ssim, structural_similarity_per_image
from bench.torchvision_compat import import_torchvision

BLACK = np.zeros((2, 3, 8, 8), dtype=np.uint8)


def shifted(*offsets: float) -> np.ndarray:
    """Reconstructions of black images, each off by a constant intensity."""
    return np.stack([np.full((3, 8, 8), offset, dtype=np.float32) for offset in offsets])


def test_constant_error_is_squared() -> None:
    assert mse(BLACK, shifted(0.1, 0.1))["mse"] == pytest.approx(0.01)
    assert psnr(BLACK, shifted(0.1, 0.1))["psnr"] == pytest.approx(20)


def test_psnr_averages_decibels_not_errors() -> None:
    assert mse(BLACK, shifted(0.1, 0.01))["mse"] == pytest.approx((0.01 + 0.0001) / 2)
    assert psnr(BLACK, shifted(0.1, 0.01))["psnr"] == pytest.approx((20 + 40) / 2)


def test_white_for_black_is_the_worst() -> None:
    assert mse(BLACK, shifted(1, 1))["mse"] == 1
    assert psnr(BLACK, shifted(1, 1))["psnr"] == 0


def test_perfect_reconstruction_has_no_error_and_the_capped_psnr() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert mse(images, images / 255)["mse"] == 0
    assert psnr(images, images / 255)["psnr"] == 100


def test_all_images_count_when_there_are_many() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (600, 1, 4, 4), dtype=np.uint8)
    reconstructions = rng.random((600, 1, 4, 4), dtype=np.float32)
    assert mse(images, reconstructions)["mse"] == pytest.approx(np.mean((images / 255 - reconstructions) ** 2))


def test_reconstructions_with_nan_are_unmeasurable() -> None:
    with pytest.raises(Unmeasurable, match="reconstructions hold values that are not finite"):
        mse(BLACK, shifted(0.1, np.nan))


def test_one_channel_does_not_stand_for_three() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 8\).*\(2, 1, 8, 8\)"):
        mse(BLACK, shifted(0.1, 0.1)[:, :1])


def naive_ssim(image: np.ndarray, other: np.ndarray) -> float:
    """SSIM of two grey images [H, W] in [0, 1] as the paper has it, window by window."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for row in range(image.shape[0] - 10):
        for column in range(image.shape[1] - 10):
            x, y = (a[row : row + 11, column : column + 11] for a in (image, other))
            mean_x, mean_y = (window * x).sum(), (window * y).sum()
            variance_x = (window * (x - mean_x) ** 2).sum()
            variance_y = (window * (y - mean_y) ** 2).sum()
            covariance = (window * (x - mean_x) * (y - mean_y)).sum()
            c1, c2 = 0.01**2, 0.03**2
            values.append(
                (2 * mean_x * mean_y + c1)
                * (2 * covariance + c2)
                / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
            )
    return float(np.mean(values))


class TestStructuralSimilarity:
    @pytest.fixture
    def images(self) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 256, (5, 3, 20, 17), dtype=np.uint8)

    @pytest.fixture
    def reconstructions(self, images: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(1).standard_normal(images.shape)
        return (images / 255 + 0.2 * noise).clip(0, 1).astype(np.float32)

    def test_every_window_of_every_channel_counts(self, images: np.ndarray, reconstructions: np.ndarray) -> None:
        expected = [
            np.mean([naive_ssim(x / 255, y) for x, y in zip(image, other, strict=True)])
            for image, other in zip(images, reconstructions.astype(np.float64), strict=True)
        ]
        assert structural_similarity_per_image(images, reconstructions) == pytest.approx(expected, abs=1e-12)
        assert ssim(images, reconstructions)["ssim"] == pytest.approx(np.mean(expected), abs=1e-12)

    def test_torchmetrics_agrees_away_from_the_borders(self, images: np.ndarray, reconstructions: np.ndarray) -> None:
        """It pads the images and averages over the borders too; its map of SSIM is the same within them."""
        import_torchvision()
        import torch
        from torchmetrics.functional.image import structural_similarity_index_measure

        _, full = structural_similarity_index_measure(
            torch.from_numpy(reconstructions).double(),
            torch.from_numpy(images / 255),
            data_range=1.0,
            return_full_image=True,
        )
        expected = full[:, :, 5:-5, 5:-5].mean(dim=(1, 2, 3)).numpy()
        assert structural_similarity_per_image(images, reconstructions) == pytest.approx(expected, abs=1e-9)

    def test_flat_images_compare_by_brightness_alone(self) -> None:
        white = np.full((1, 1, 16, 16), 255, dtype=np.uint8)
        grey = np.full((1, 1, 16, 16), 0.5, dtype=np.float32)
        assert ssim(white, grey)["ssim"] == pytest.approx((2 * 0.5 + 1e-4) / (1 + 0.25 + 1e-4))

    def test_equal_images_score_1(self, images: np.ndarray) -> None:
        assert ssim(images, (images / 255).astype(np.float32))["ssim"] == pytest.approx(1, abs=1e-6)
        assert ssim(images * 0, np.zeros(images.shape, dtype=np.float32))["ssim"] == 1

    def test_a_negative_scores_below_0(self, images: np.ndarray) -> None:
        assert ssim(images, (1 - images / 255).astype(np.float32))["ssim"] < -0.5

    def test_all_images_count_when_there_are_many(self) -> None:
        images = np.random.default_rng(2).integers(0, 256, (600, 1, 11, 11), dtype=np.uint8)
        similarities = structural_similarity_per_image(images, np.where(np.arange(600) < 300, images.T, 0).T / 255)
        assert similarities[:300] == pytest.approx(np.ones(300))
        assert (similarities[300:] < 0.1).all()

    def test_images_smaller_than_the_window_are_unmeasurable(self) -> None:
        with pytest.raises(Unmeasurable, match="images are 8 × 8 pixels, the window of SSIM is 11 × 11"):
            ssim(BLACK, shifted(0, 0))

    def test_reconstructions_with_nan_are_unmeasurable(self, images: np.ndarray) -> None:
        with pytest.raises(Unmeasurable, match="reconstructions hold values that are not finite"):
            ssim(images, np.full(images.shape, np.nan, dtype=np.float32))
