from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.base import ImageSplit
from datasets.images import sprites
from datasets.images.sprites import GRID, RADIUS, SCALES, SIZES, Sprites, factors_of, index_of, render

SQUARE, ELLIPSE, HEART = range(3)
Size = Literal[32, 64]
both_sizes = pytest.mark.parametrize("size", [32, 64])


def draw(
    size: Size, *, shape: int = HEART, scale: int = 5, orientation: int = 0, x: int = 16, y: int = 16
) -> np.ndarray:
    """One image [size, size] in [0, 1]."""
    return render(index_of(np.array([[shape, scale, orientation, x, y]])), size)[0, 0] / 255


def centroid(image: np.ndarray) -> np.ndarray:
    """(x, y) of the center of mass, in pixels from the image's upper left corner."""
    middles = np.arange(len(image)) + 0.5
    return np.array([image.sum(axis=0) @ middles, image.sum(axis=1) @ middles]) / image.sum()


# The grid


@settings(deadline=None)
@given(st.lists(st.integers(0, GRID - 1), min_size=1, max_size=50))
def test_index_of_inverts_factors_of(numbers: list[int]) -> None:
    indices = np.array(numbers)
    np.testing.assert_array_equal(index_of(factors_of(indices)), indices)


@settings(deadline=None)
@given(st.tuples(*(st.integers(0, size - 1) for size in SIZES)))
def test_factors_of_inverts_index_of(factors: tuple[int, ...]) -> None:
    wanted = np.array([factors])
    np.testing.assert_array_equal(factors_of(index_of(wanted)), wanted)


def test_the_order_is_that_of_dsprites() -> None:
    assert GRID == 737_280
    numbers = np.array([0, 1, 32, 1024, 40_960, 245_760, GRID - 1])
    assert factors_of(numbers).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0],
        [0, 0, 1, 0, 0],
        [0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [2, 5, 39, 31, 31],
    ]


def test_factors_have_dsprites_names() -> None:
    assert [factor.name for factor in Sprites().factors] == ["shape", "scale", "orientation", "posX", "posY"]
    assert tuple(factor.size for factor in Sprites().factors) == (3, 6, 40, 32, 32)


@pytest.mark.parametrize("number", [-1, GRID])
def test_numbers_off_the_grid_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        render(np.array([number]), 64)


def test_factors_off_the_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="invalid entry"):
        index_of(np.array([[0, 6, 0, 0, 0]]))


# The pictures


@both_sizes
@settings(max_examples=20, deadline=None)  # the first draws every appearance
@given(numbers=st.lists(st.integers(0, GRID - 1), min_size=1, max_size=20))
def test_a_subset_is_drawn_as_its_members_are(size: Size, numbers: list[int]) -> None:
    together = render(np.array(numbers), size)
    assert together.shape == (len(numbers), 1, size, size)
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(together, np.concatenate([render(np.array([number]), size) for number in numbers]))


@both_sizes
def test_areas_are_those_of_the_shapes_at_every_scale_and_orientation(size: Size) -> None:
    """Square 2r², ellipse 0.6πr², heart (4 + π)r² / 1.78361² with r the radius of the circle around the shape.

    The tolerance is what rounding an upright square's side to the distance of samples, 1/8 pixel of 64, can do.
    """
    number = np.arange(3 * 6 * 40)
    factors = np.stack([*np.unravel_index(number, SIZES[:3]), number % 32, number % 31], axis=-1)
    areas = render(index_of(factors), size).sum(axis=(1, 2, 3)).reshape(3, 6, 40) / 255
    radii = RADIUS * size / 64 * SCALES
    for shape, unit in ((SQUARE, 2), (ELLIPSE, 0.6 * np.pi), (HEART, (4 + np.pi) / 1.78361**2)):
        np.testing.assert_allclose(areas[shape], (unit * radii**2)[:, None] * np.ones(40), rtol=0.02)


@both_sizes
@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE, HEART])
def test_positions_move_the_centroid_by_equal_steps(shape: int, size: Size) -> None:
    step = size / 64
    at = np.array([centroid(draw(size, shape=shape, orientation=7, x=x, y=3)) for x in range(32)])
    np.testing.assert_allclose(np.diff(at, axis=0), np.tile([step, 0], (31, 1)), atol=0.01)
    at = np.array([centroid(draw(size, shape=shape, orientation=7, x=3, y=y)) for y in range(32)])
    np.testing.assert_allclose(np.diff(at, axis=0), np.tile([0, step], (31, 1)), atol=0.01)


@both_sizes
def test_the_grid_of_positions_lies_in_the_middle_of_the_image(size: Size) -> None:
    corners = [centroid(draw(size, shape=SQUARE, x=x, y=x)) for x in (0, 31)]
    np.testing.assert_allclose(np.mean(corners, axis=0), [size / 2, size / 2], atol=1e-6)


@both_sizes
def test_the_whole_sprite_is_visible_everywhere(size: Size) -> None:
    """So every position shows the same area as the middle one."""
    for shape in (SQUARE, ELLIPSE, HEART):
        for orientation in range(40):
            appearance = {"shape": shape, "orientation": orientation}
            whole = draw(size, **appearance).sum()
            for x, y in ((0, 0), (0, 31), (31, 0), (31, 31)):
                assert draw(size, **appearance, x=x, y=y).sum() == pytest.approx(whole, rel=1e-3)


def test_images_at_32_are_images_at_64_averaged_over_two_by_two_pixels() -> None:
    numbers = np.random.RandomState(0).permutation(GRID)[:200]
    averaged = render(numbers, 64).reshape(200, 1, 32, 2, 32, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(render(numbers, 32), averaged, atol=1)


@both_sizes
def test_the_end_of_the_turn_is_its_beginning_and_all_else_differs(size: Size) -> None:
    for shape in (SQUARE, ELLIPSE, HEART):
        for scale in range(6):
            turned = np.array([draw(size, shape=shape, scale=scale, orientation=turn) for turn in range(40)])
            np.testing.assert_array_equal(turned[0], turned[39])
            assert len(np.unique(turned.reshape(40, -1), axis=0)) == 39


@pytest.mark.parametrize(
    ("shape", "turn", "same"),
    [
        (SQUARE, np.pi / 2, True),
        (SQUARE, np.pi / 4, False),
        (ELLIPSE, np.pi, True),
        (ELLIPSE, np.pi / 2, False),
        (HEART, 2 * np.pi, True),
        (HEART, np.pi, False),
    ],
)
def test_a_turn_by_its_symmetry_leaves_a_shape_as_it_is(shape: int, turn: float, same: bool) -> None:
    random = np.random.RandomState(0)
    angle, radius = random.uniform(0, 2 * np.pi, 1000), random.uniform(0, 1, 1000)
    inside = sprites.SHAPES[shape]
    before = inside(radius * np.cos(angle), radius * np.sin(angle))
    after = inside(radius * np.cos(angle + turn), radius * np.sin(angle + turn))
    assert before.any()
    assert np.array_equal(before, after) == same


def test_no_shape_leaves_the_unit_circle_and_each_touches_it() -> None:
    angle = np.linspace(0, 2 * np.pi, 721)
    for inside in sprites.SHAPES:
        assert not inside(1.001 * np.cos(angle), 1.001 * np.sin(angle)).any()
        assert inside(0.999 * np.cos(angle), 0.999 * np.sin(angle)).any()


def test_orientation_turns_clockwise() -> None:
    """The heart's point, below its center, goes to the left."""
    upright, turned = draw(64), draw(64, orientation=10)
    widths = (upright > 0.5).sum(axis=1)
    assert widths[widths > 0][0] > widths[widths > 0][-1], "the upright heart stands on its point"
    heights = (turned > 0.5).sum(axis=0)
    assert heights[heights > 0][0] < heights[heights > 0][-1]


def test_the_upright_heart_is_its_own_mirror_image_with_a_notch_on_top() -> None:
    left, right = draw(64, x=15), draw(64, x=16)  # mirrored positions about the middle of the image
    np.testing.assert_array_equal(left, right[:, ::-1])
    top = np.argmax(left > 0.5, axis=0)
    notch = int(centroid(left)[0])
    assert top[notch] > top[notch - 6]


# The splits


def build(**counts: int) -> dict[str, ImageSplit]:
    return Sprites(size=32, **counts).build({})


def numbers(split: ImageSplit) -> np.ndarray:
    assert split.factors is not None
    return index_of(split.factors)


def test_images_are_those_of_the_factors() -> None:
    for split in build(train=50, validation=20, test=30).values():
        np.testing.assert_array_equal(split.images, render(numbers(split), 32))


def test_a_larger_training_set_contains_the_smaller_and_leaves_the_test_set_as_it_is() -> None:
    small, large = build(train=50, validation=20, test=30), build(train=80, validation=20, test=30)
    np.testing.assert_array_equal(numbers(large["train"])[:50], numbers(small["train"]))
    np.testing.assert_array_equal(numbers(large["test"]), numbers(small["test"]))


def test_the_whole_grid_trains_with_evaluation_points_from_within(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sprites, "render", lambda indices, size: np.zeros((len(indices), 1, size, size), dtype=np.bool_)
    )
    splits = build(train=GRID, validation=100, test=15_000)
    np.testing.assert_array_equal(np.sort(numbers(splits["train"])), np.arange(GRID))
    held_out = np.concatenate([numbers(splits["validation"]), numbers(splits["test"])])
    assert len(np.unique(held_out)) == 15_100


def test_the_whole_grid_can_be_divided() -> None:
    Sprites(train=GRID - 2, validation=1, test=1)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train": 0}, r"train = 0, but a split needs at least one image"),
        ({"test": -1}, r"test = -1, but a split needs at least one image"),
        (
            {"train": GRID - 1},
            r"train 737,279 \+ validation 5,000 \+ test 5,000 images do not fit .* set train = 737280",
        ),
        ({"train": GRID + 1}, r"do not fit in the grid of 737,280"),
        ({"train": GRID, "test": GRID}, r"do not fit in the grid of 737,280"),
    ],
)
def test_counts_that_do_not_fit_are_refused(counts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sprites(**counts)
