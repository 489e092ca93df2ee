"""How points are drawn from a split, and factors are made targets, for metrics of disentanglement."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.base import Unmeasurable
from bench.metrics.disentanglement.points import choose, draw, scaled_targets
from tests.factor_codes import factor_grid, linear_mix, random_factors

FACTORS = random_factors(500, 4, 3)
CODES = linear_mix(FACTORS, 6)


class TestDraw:
    def test_the_order_of_points_does_not_matter(self) -> None:
        order = np.random.default_rng(1).permutation(500)
        expected = draw(CODES, FACTORS, 100, np.random.default_rng(0))
        found = draw(CODES[order], FACTORS[order], 100, np.random.default_rng(0))
        assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))

    def test_nor_does_it_where_codes_have_equal_norms(self) -> None:
        factors = factor_grid(5, 4, 3, repeats=3)
        order = np.random.default_rng(1).permutation(len(factors))
        for codes in (factors.astype(np.float32), np.zeros((len(factors), 2), dtype=np.float32)):
            expected = draw(codes, factors, 30, np.random.default_rng(0))
            found = draw(codes[order], factors[order], 30, np.random.default_rng(0))
            assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))

    def test_order_and_sign_of_latents_do_not_matter(self) -> None:
        turned = CODES[:, [3, 5, 0, 1, 4, 2]] * np.array([1, -1, -1, 1, -1, 1], dtype=np.float32)
        expected = choose(CODES, FACTORS, 100, np.random.default_rng(0))
        assert np.array_equal(choose(turned, FACTORS, 100, np.random.default_rng(0)), expected)

    def test_all_points_are_as_likely(self) -> None:
        rng = np.random.default_rng(0)
        counts = np.bincount(np.concatenate([choose(CODES[:20], FACTORS[:20], 5, rng) for _ in range(400)]))
        assert np.square(counts - 100).sum() / 100 < 43.8  # χ² of 19 degrees of freedom, the 0.999 quantile

    def test_points_are_drawn_once_and_with_their_factors(self) -> None:
        codes, factors = draw(FACTORS + 0.5, FACTORS, 500, np.random.default_rng(0))
        assert np.array_equal(codes, factors + 0.5)
        assert len(np.unique(choose(CODES, None, 500, np.random.default_rng(0)))) == 500

    @pytest.mark.parametrize("count", [0, -1])
    def test_no_points_are_unmeasurable(self, count: int) -> None:
        with pytest.raises(Unmeasurable, match=f"{count} points were asked for"):
            draw(CODES, FACTORS, count, np.random.default_rng(0))


def test_targets_are_scaled_factors_or_a_column_a_value() -> None:
    factors = np.array([[2, 5], [4, 1], [3, 9]])
    assert scaled_targets(factors, (1,)).tolist() == [[0, 0, 1, 0], [1, 1, 0, 0], [0.5, 0, 0, 1]]
    with pytest.raises(Unmeasurable, match="one_hot names factor 2; factors are numbered 0 to 1"):
        scaled_targets(factors, (2,))
