"""Memorization: copies are told from new images, and the statistic is that of the paper."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.base import Unmeasurable
from bench.metrics.generation import memorization as module
from bench.metrics.generation.memorization import memorization, nearest_distances


def images_of_the_dataset(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 4, 4), dtype=np.uint8)


TRAIN, HELD_OUT = images_of_the_dataset(500, 0), images_of_the_dataset(300, 1)


def as_samples(images: np.ndarray) -> np.ndarray:
    """Images as a decoder gives them."""
    return images.astype(np.float32) / np.float32(255)


def test_samples_that_are_training_images_are_copies() -> None:
    copies = as_samples(TRAIN[:200])
    scores = memorization(copies, TRAIN, HELD_OUT)
    assert scores["memorized-share"] == 1
    # No pair has the sample farther off, so U = 0: the least there is.
    assert scores["data-copying-z"] == pytest.approx(-200 * 300 / 2 / np.sqrt(200 * 300 * 501 / 12))


def test_new_images_of_the_same_distribution_are_none() -> None:
    scores = memorization(as_samples(images_of_the_dataset(300, 2)), TRAIN, HELD_OUT)
    assert scores["memorized-share"] == 0
    assert abs(scores["data-copying-z"]) < 3


def test_copies_with_a_little_noise_are_copies() -> None:
    noise = 0.01 * np.random.default_rng(3).standard_normal(TRAIN[:200].shape)
    scores = memorization((TRAIN[:200] / 255 + noise).astype(np.float32), TRAIN, HELD_OUT)
    assert scores["memorized-share"] == 1
    assert scores["data-copying-z"] < -15


def test_some_copies_among_new_images_are_counted() -> None:
    samples = as_samples(np.concatenate([TRAIN[:30], images_of_the_dataset(270, 2)]))
    assert memorization(samples, TRAIN, HELD_OUT)["memorized-share"] == pytest.approx(0.1)


def test_a_copy_of_an_image_that_occurs_twice_is_a_copy() -> None:
    doubled = np.concatenate([TRAIN, TRAIN])
    assert memorization(as_samples(TRAIN[:50]), doubled, HELD_OUT)["memorized-share"] == 1


def test_samples_farther_off_than_new_images_score_above_0() -> None:
    flat = np.zeros((300, 1, 4, 4), dtype=np.float32)
    scores = memorization(flat, TRAIN, HELD_OUT)
    assert scores["data-copying-z"] > 15
    assert scores["memorized-share"] == 0


def test_the_score_is_the_mann_whitney_test_of_the_paper() -> None:
    """Z of Meehan et al. 2020, section 3, pair by pair."""
    samples = (0.9 * as_samples(images_of_the_dataset(40, 4)) + 0.1 * as_samples(TRAIN[:40])).astype(np.float32)
    held_out, train = HELD_OUT[:60], as_samples(TRAIN)

    def nearest(image: np.ndarray) -> float:
        return min(np.sqrt(((image.astype(np.float64) - other) ** 2).sum()) for other in train)

    of_samples = [nearest(image) for image in samples]
    of_held_out = [nearest(image) for image in as_samples(held_out)]
    u = sum((q > p) + 0.5 * (q == p) for q in of_samples for p in of_held_out)
    expected = (u - 40 * 60 / 2) / np.sqrt(40 * 60 * (40 + 60 + 1) / 12)
    assert memorization(samples, TRAIN, held_out)["data-copying-z"] == pytest.approx(expected, rel=1e-9)


def test_under_equal_distributions_the_score_has_mean_0_and_deviation_1() -> None:
    scores = [
        memorization(
            as_samples(images_of_the_dataset(60, 3 * seed + 10)),
            images_of_the_dataset(100, 3 * seed + 11),
            images_of_the_dataset(60, 3 * seed + 12),
        )["data-copying-z"]
        for seed in range(150)
    ]
    # The training set is shared, so that distances of both sets vary jointly: the score's spread stays at 1.
    assert np.mean(scores) == pytest.approx(0, abs=0.3)
    assert np.std(scores) == pytest.approx(1, abs=0.25)


class TestNearestDistances:
    def test_they_are_those_of_all_pairs_whatever_the_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        differences = (HELD_OUT.reshape(300, 1, 16) / 255.0) - (TRAIN.reshape(1, 500, 16) / 255.0)
        expected = np.sort(np.sqrt((differences**2).sum(axis=2)), axis=1)[:, :2]
        assert nearest_distances(HELD_OUT, TRAIN) == pytest.approx(expected, abs=1e-6)
        for block in (1, 7, 100):
            monkeypatch.setattr(module, "_BLOCK", block)
            assert nearest_distances(HELD_OUT, TRAIN) == pytest.approx(expected, abs=1e-6)

    def test_they_are_exactly_0_for_equal_images(self) -> None:
        large = np.random.default_rng(5).integers(0, 256, (20, 3, 64, 64), dtype=np.uint8)
        assert (nearest_distances(as_samples(large), large)[:, 0] == 0).all()

    def test_order_does_not_matter(self) -> None:
        order = np.random.default_rng(6).permutation(len(TRAIN))
        assert np.array_equal(nearest_distances(HELD_OUT, TRAIN), nearest_distances(HELD_OUT, TRAIN[order]))


def test_a_single_training_image_is_unmeasurable() -> None:
    with pytest.raises(Unmeasurable, match="there is one training image"):
        memorization(as_samples(HELD_OUT), TRAIN[:1], HELD_OUT)


def test_held_out_images_that_are_training_images_leave_the_score_unmeasurable() -> None:
    """Even the best generated images lie farther from training images than those from themselves."""
    scores = memorization(as_samples(TRAIN[:50]), TRAIN, TRAIN[:100])
    assert scores["memorized-share"] == 1
    reason = scores["data-copying-z"]
    assert isinstance(reason, Unmeasurable)
    assert str(reason) == "all 100 held-out images are training images, at distance 0"
    assert isinstance(memorization(as_samples(TRAIN), TRAIN, HELD_OUT)["data-copying-z"], float)


def test_samples_with_nan_are_unmeasurable() -> None:
    with pytest.raises(Unmeasurable, match="samples hold values that are not finite"):
        memorization(np.full((5, 1, 4, 4), np.nan, dtype=np.float32), TRAIN, HELD_OUT)
