"""Inception score: known answers, and the definition written out."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.base import Unmeasurable
from bench.metrics.generation.inception_score import inception_score


def score(logits: np.ndarray, seed: int = 0) -> float:
    return inception_score(logits.astype(np.float32), np.random.default_rng(seed))


def test_of_sure_and_even_labels_is_the_number_of_classes_seen() -> None:
    """Each of the ten parts sees five classes about equally often."""
    labels = np.arange(20_000) % 5
    assert score(100 * np.eye(8)[labels]) == pytest.approx(5, abs=0.01)


def test_of_one_sure_label_is_1() -> None:
    assert score(100 * np.eye(8)[np.zeros(50, dtype=int)]) == pytest.approx(1)


def test_of_labels_at_a_loss_is_1() -> None:
    assert score(np.ones((50, 8))) == pytest.approx(1)


def test_is_the_mean_over_parts_of_the_exponential_of_the_divergence() -> None:
    """Salimans et al. 2016, section 4. With as many images as parts, each part is its own marginal."""
    logits = np.random.default_rng(0).standard_normal((10, 6))
    assert score(logits) == pytest.approx(1)
    # Ten copies of a set: whatever the draw, parts are sets of its points; its own score bounds theirs.
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    marginal = probabilities.mean(axis=0)
    divergence = (probabilities * np.log(probabilities / marginal)).sum(axis=1).mean()
    many = score(np.tile(logits, (2_000, 1)))
    assert many == pytest.approx(np.exp(divergence), rel=0.01)


def test_does_not_depend_on_the_order_of_images_beyond_the_draw_of_parts() -> None:
    logits = 5 * np.random.default_rng(0).standard_normal((5_000, 20))
    ordered = logits[np.argsort(logits.argmax(axis=1))]
    assert score(ordered) == pytest.approx(score(logits), rel=0.01)
    assert score(logits, seed=1) == pytest.approx(score(logits), rel=0.01)


def test_repeats_with_its_seed_and_leaves_the_global_generator_alone() -> None:
    logits = np.random.default_rng(0).standard_normal((100, 20))
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    assert score(logits, seed=3) == score(logits, seed=3)
    assert np.random.random() == expected


def test_of_nine_images_is_unmeasurable() -> None:
    with pytest.raises(Unmeasurable, match="at least 10 images; there are 9"):
        score(np.zeros((9, 4)))


def test_of_logits_that_are_not_finite_is_unmeasurable() -> None:
    with pytest.raises(Unmeasurable, match="logits hold values that are not finite"):
        score(np.full((20, 4), np.nan))
