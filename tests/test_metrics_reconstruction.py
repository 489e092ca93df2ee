"""Reconstruction metrics: values that follow from the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.base import Unmeasurable
from bench.metrics.reconstruction import mse, psnr

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


def test_num_samples_bounds_the_images() -> None:
    assert mse(BLACK, shifted(0.1, 0.5), num_samples=1)["mse"] == pytest.approx(0.01)


def test_reconstructions_with_nan_are_unmeasurable() -> None:
    with pytest.raises(Unmeasurable, match="reconstructions hold values that are not finite"):
        mse(BLACK, shifted(0.1, np.nan))


def test_one_channel_does_not_stand_for_three() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 8\).*\(2, 1, 8, 8\)"):
        mse(BLACK, shifted(0.1, 0.1)[:, :1])
