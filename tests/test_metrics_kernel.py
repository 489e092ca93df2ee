"""KID: the U-statistic against plain loops, against torch-fidelity, and its expectation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from bench.metrics.base import Unmeasurable
from bench.metrics.generation import kernel
from bench.metrics.generation.kernel import kernel_distance
from bench.torchvision_compat import import_torchvision


def features(count: int, shift: float = 0, seed: int = 0, dim: int = 16) -> np.ndarray:
    points = np.random.default_rng(seed).standard_normal((count, dim)) + shift
    return points.astype(np.float32)


def test_is_the_sum_over_pairs_of_different_images() -> None:
    """Bińkowski et al. 2018, equation 4, term by term; the sides differ in size."""
    first, second = features(7), features(5, shift=0.5, seed=1)

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / 16 + 1) ** 3

    expected = (
        sum(k(x, y) for x, y in itertools.permutations(first, 2)) / (7 * 6)
        + sum(k(x, y) for x, y in itertools.permutations(second, 2)) / (5 * 4)
        - 2 * sum(k(x, y) for x in first for y in second) / (7 * 5)
    )
    assert kernel_distance(first, second) == pytest.approx(expected, rel=1e-5)


def test_agrees_with_torch_fidelity_on_one_subset_of_all() -> None:
    import_torchvision()
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    first, second = features(300), features(300, shift=0.2, seed=1)
    theirs = kid_features_to_metric(
        torch.from_numpy(first).double(),
        torch.from_numpy(second).double(),
        kid_subsets=1,
        kid_subset_size=300,
        verbose=False,
    )
    assert kernel_distance(first, second) == pytest.approx(theirs[KEY_METRIC_KID_MEAN], rel=1e-5)


def test_lies_among_torch_fidelitys_random_subsets() -> None:
    """Their mean has the same expectation: within four of its standard errors."""
    import_torchvision()
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    first, second = features(3000), features(3000, shift=0.1, seed=1)
    theirs = kid_features_to_metric(
        torch.from_numpy(first), torch.from_numpy(second), kid_subset_size=100, verbose=False
    )
    error = theirs[KEY_METRIC_KID_STD] / np.sqrt(100)
    assert abs(kernel_distance(first, second) - theirs[KEY_METRIC_KID_MEAN]) < 4 * error


def test_of_equal_distributions_is_0_on_average_and_at_times_negative() -> None:
    values = np.array([kernel_distance(features(60, seed=2 * i), features(60, seed=2 * i + 1)) for i in range(200)])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert 0.2 < (values < 0).mean() < 0.9


def test_of_constant_features_is_that_of_one_pair() -> None:
    first, second = np.full((4, 2), 1.0, np.float32), np.full((3, 2), 2.0, np.float32)
    assert kernel_distance(first, second) == pytest.approx((1 + 1) ** 3 + (4 + 1) ** 3 - 2 * (2 + 1) ** 3)


def test_does_not_depend_on_the_order_of_images_or_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = features(50), features(40, shift=0.3, seed=1)
    value = kernel_distance(first, second)
    assert kernel_distance(first[::-1], second[np.random.default_rng(0).permutation(40)]) == pytest.approx(value)
    monkeypatch.setattr(kernel, "_ROWS", 7)
    assert kernel_distance(first, second) == pytest.approx(value)


@pytest.mark.parametrize(("smallest", "tolerance"), [(0, 1e-8), (1.4, 1e-6), (10, 1e-9)])
def test_of_features_of_any_size_is_that_in_float64(smallest: float, tolerance: float) -> None:
    """Entries in [10, 11] are multiplied in float64; in float32 the distance would be off by 0.005."""
    first, second = (smallest + np.random.default_rng(seed).random((500, 64)).astype(np.float32) for seed in (0, 1))
    assert kernel_distance(first, second) == pytest.approx(exact_distance(first, second), abs=tolerance)


def exact_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The U-statistic over kernel matrices in float64."""
    x, y = first.astype(np.float64), second.astype(np.float64)
    among_x, among_y, across = ((a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (among_x, among_y)]
    return float(sum(within) - 2 * across.mean())


def test_of_huge_features_is_finite() -> None:
    assert np.isfinite(kernel_distance(features(4) * np.float32(1e30), features(4, seed=1)))


def test_of_one_image_is_unmeasurable() -> None:
    with pytest.raises(Unmeasurable, match="needs two images on each side; there are 5 and 1"):
        kernel_distance(features(5), features(1))


def test_of_features_that_are_not_finite_is_unmeasurable() -> None:
    with pytest.raises(Unmeasurable, match="reference features hold values that are not finite"):
        kernel_distance(features(3), np.full((3, 16), np.inf, dtype=np.float32))
