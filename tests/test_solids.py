from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.options import defaults, options_of
from datasets.base import ImageSplit
from datasets.cache import load_splits
from datasets.images import solids
from datasets.images.convex import Capsule, Cube, Cylinder, Solid
from datasets.images.shapes3d import Shapes3D
from datasets.images.solids import GRID, SHAPES, Solids, factors_of, index_of, render

FLOOR, WALL, OBJECT = range(3)
CUBE, SPHERE = 0, 2
Size = Literal[32, 64]
PINNED = {32: "8a1c1ec4d69b9d64", 64: "019c90d111b01078"}
"""SHA-256 of the images of every scene, each in other hues."""
both_sizes = pytest.mark.parametrize("size", [32, 64])


def draw(
    *, hues: Sequence[int] = (1, 6, 9), scale: int = 7, shape: int = CUBE, orientation: int = 7, size: Size = 64
) -> np.ndarray:
    """One image, int64 [3, size, size]."""
    return render(index_of(np.array([[*hues, scale, shape, orientation]])), size)[0].astype(np.int64)


def changed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which pixels of two images differ: [64, 64]."""
    return (one != other).any(axis=0)


# What is where in an image, found the other way round: points of the scene are projected into it.


def project(points: np.ndarray, orientation: int) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, in pixels of 64, at which the camera sees points [3, N]."""
    angle = np.radians(45 - 30 + 60 * orientation / 14)
    eye = np.array([4.6 * np.sin(angle), 2.35, 4.6 * np.cos(angle)])
    forward = np.array([0, 0.55, 0]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    seen = np.stack([right, np.cross(forward, right), forward]) @ (points - eye[:, None])
    return tuple(32 + 32 / 0.36 * seen[:2] / seen[2])


def pixels(points: np.ndarray, orientation: int) -> np.ndarray:
    """Which pixels at least one of the points falls into: [64, 64]."""
    column, row = (np.floor(place).astype(int) for place in project(points, orientation))
    inside = (column >= 0) & (column < 64) & (row >= 0) & (row < 64)
    marked = np.zeros((64, 64), dtype=bool)
    marked[row[inside], column[inside]] = True
    return marked


@cache
def body(shape: int, scale: int) -> np.ndarray:
    """30,000 random points [3, N] of a solid."""
    x, y, z = np.random.RandomState(0).uniform([[-0.7], [0], [-0.7]], [[0.7], [1.5], [0.7]], (3, 120_000))
    within = (
        lambda: (np.abs(x) < 0.55) & (np.abs(z) < 0.55) & (y < 1.1),
        lambda: (x**2 + z**2 < 0.58**2) & (y < 1.15),
        lambda: x**2 + (y - 0.66) ** 2 + z**2 < 0.66**2,
        lambda: x**2 + (y - np.clip(y, 0.45, 1.05)) ** 2 + z**2 < 0.45**2,
    )[shape]()
    return (0.75 + 0.5 * scale / 7) * np.stack([x, y, z])[:, within][:, :30_000]


def walls(orientation: int) -> np.ndarray:
    """Which pixels lie above the line on which the walls stand, its two halves being alike: [64, 64]."""
    along = np.linspace(-2.3, 8, 20_000)
    foot = np.stack([np.full_like(along, -2.3), 0 * along, along])
    column, row = project(np.concatenate([foot, foot[::-1]], axis=1), orientation)
    order = np.argsort(column)
    line = np.interp(np.arange(64) + 0.5, column[order], row[order])
    return np.arange(64)[:, None] + 0.5 < line


def shaded(shape: int, scale: int, orientation: int) -> np.ndarray:
    """Which pixels show a part of the room that the solid can darken: [64, 64]."""
    points = body(shape, scale)
    random = np.random.RandomState(1)
    lamp = np.array([[1.5], [5.6], [3.5]]) + random.uniform(-0.3, 0.3, points.shape) * [[1], [0], [1]]
    with np.errstate(divide="ignore"):
        reach = (np.array([[-2.3], [0], [-2.3]]) - lamp) / (points - lamp)
    shadow = lamp + np.where(reach > 0, reach, np.inf).min(axis=0) * (points - lamp)
    radius, turn = np.sqrt(random.uniform(0, 1, 30_000)), random.uniform(0, 2 * np.pi, 30_000)
    near = (0.75 + 0.5 * scale / 7) * radius * np.stack([np.cos(turn), 0 * turn, np.sin(turn)])
    return pixels(np.concatenate([shadow, near], axis=1), orientation)


def grown(marked: np.ndarray, by: int = 1) -> np.ndarray:
    """Those pixels [64, 64] and those around them."""
    for _ in range(by):
        padded = np.pad(marked, 1)
        marked = np.logical_or.reduce([padded[y : y + 64, x : x + 64] for y in range(3) for x in range(3)])
    return marked


def inner(marked: np.ndarray) -> np.ndarray:
    """Those of the pixels [64, 64] that have only such around them."""
    return ~grown(~marked)


every_scene = pytest.mark.parametrize(
    ("shape", "scale", "orientation"),
    [(shape, scale, orientation) for shape in range(4) for scale, orientation in ((0, 0), (0, 9), (4, 5), (7, 14))],
)
"""Of every shape, from small to large and from left to right."""


# The grid


@settings(deadline=None)
@given(st.lists(st.integers(0, GRID - 1), min_size=1, max_size=50))
def test_index_of_inverts_factors_of(numbers: list[int]) -> None:
    indices = np.array(numbers)
    np.testing.assert_array_equal(index_of(factors_of(indices)), indices)


def test_the_order_is_that_of_3d_shapes() -> None:
    assert GRID == 480_000
    numbers = np.array([0, 1, 15, 60, 480, 4800, 48_000, GRID - 1])
    assert factors_of(numbers).tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0],
        [9, 9, 9, 7, 3, 14],
    ]


def test_the_factors_are_those_of_3d_shapes() -> None:
    assert Solids().factors == Shapes3D.factors


@pytest.mark.parametrize("number", [-1, GRID])
def test_numbers_off_the_grid_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        render(np.array([number]), 64)


def test_factors_off_the_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="invalid entry"):
        index_of(np.array([[0, 0, 0, 8, 0, 0]]))


# The solids: a point is inside where a ray through it enters before and leaves behind it


def inside(solid: Solid, points: np.ndarray) -> np.ndarray:
    """For points [3, N], by rays of one oblique direction."""
    direction = np.array([[0.6], [0.5], [-0.7]])
    enter, leave = solid.meet(points - direction, direction)
    return (enter < 1) & (leave > 1)


@pytest.mark.parametrize(
    ("solid", "volume"),
    [
        (Cube(1.2), 1.2**3),
        (Cylinder(0.5, 1.4), np.pi * 0.5**2 * 1.4),
        (Capsule(0.6, 1.2), 4 / 3 * np.pi * 0.6**3),
        (Capsule(0.4, 1.5), np.pi * 0.4**2 * 0.7 + 4 / 3 * np.pi * 0.4**3),
    ],
    ids=["cube", "cylinder", "ball", "capsule"],
)
def test_volumes_are_those_of_the_solids(solid: Solid, volume: float) -> None:
    """400,000 points in a box of 2 × 2 × 2 tell a volume to 0.01."""
    points = np.random.RandomState(0).uniform([[-1], [0], [-1]], [[1], [2], [1]], (3, 400_000))
    assert 8 * inside(solid, points).mean() == pytest.approx(volume, abs=0.03)


@pytest.mark.parametrize("solid", [*SHAPES, Capsule(0.3, 2)], ids=repr)
def test_rays_meet_solids_at_their_surface_and_normals_point_out_of_it(solid: Solid) -> None:
    """From points all around: a step along the normal leads out of the solid, a step back leads into it."""
    random = np.random.RandomState(0)
    origin = random.normal(size=(3, 2000))
    origin *= 5 / np.linalg.norm(origin, axis=0)
    origin[1] = np.abs(origin[1]) + 0.1  # above the floor
    aim = np.stack(
        [random.uniform(-0.15, 0.15, 2000), random.uniform(0.3, 0.9, 2000), random.uniform(-0.15, 0.15, 2000)]
    )
    enter, leave = solid.meet(origin, aim - origin)
    assert (enter < leave).all()
    point = origin + enter * (aim - origin)
    normal = solid.normal(point)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=0), 1, atol=1e-9)
    assert ((normal * (aim - origin)).sum(axis=0) < 1e-9).all(), "a normal faces where the ray comes from"
    assert not inside(solid, point + 1e-6 * normal).any()
    assert inside(solid, point - 1e-6 * normal).all()


@pytest.mark.parametrize("solid", SHAPES, ids=repr)
def test_rays_past_a_solid_miss_it(solid: Solid) -> None:
    origin = np.array([[5.0], [0.7], [0.3]])
    above, below, beside = (np.array([[-1.0], [y], [z]]) for y, z in ((0.5, 0.01), (-0.3, 0.01), (0.01, 0.5)))
    for direction in (above, below, beside):
        enter, leave = solid.meet(origin, direction)
        assert not (enter < leave).any()


# The pictures


@both_sizes
@settings(max_examples=20, deadline=None)  # the first traces every scene
@given(numbers=st.lists(st.integers(0, GRID - 1), min_size=1, max_size=40))
def test_a_subset_is_drawn_as_its_members_are(size: Size, numbers: list[int]) -> None:
    together = render(np.array(numbers), size)
    assert together.shape == (len(numbers), 3, size, size)
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(together, np.concatenate([render(np.array([number]), size) for number in numbers]))


def test_images_at_32_are_images_at_64_averaged_over_two_by_two_pixels() -> None:
    numbers = np.random.RandomState(0).permutation(GRID)[:200]
    averaged = render(numbers, 64).reshape(200, 3, 32, 2, 32, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(render(numbers, 32), averaged, atol=1)


@both_sizes
def test_the_same_index_gives_the_same_image_anywhere(size: Size) -> None:
    """See the module for why no rounding depends on the machine. New pictures need a new `version`."""
    scene = np.arange(480)
    numbers = scene + 480 * (scene * 37 % 1000)
    assert hashlib.sha256(render(numbers, size).tobytes()).hexdigest()[:16] == PINNED[size]


def test_projection_finds_what_is_in_the_middle_of_the_image() -> None:
    for orientation in (0, 7, 14):
        np.testing.assert_allclose(project(np.array([[0.0], [0.55], [0.0]]), orientation), 32)


@every_scene
@pytest.mark.parametrize("part", [FLOOR, WALL, OBJECT], ids=["floor", "wall", "object"])
def test_a_hue_changes_all_of_its_part_and_nothing_else(part: int, shape: int, scale: int, orientation: int) -> None:
    solid, wall = pixels(body(shape, scale), orientation), walls(orientation)
    covered = (~wall, wall, solid)[part]
    hidden = np.zeros_like(solid) if part == OBJECT else solid
    possible, certain = grown(covered) & ~inner(hidden), inner(covered) & ~grown(hidden)
    for others in (0, 3, 8):
        hues = np.full((10, 3), others)
        hues[:, part] = np.arange(10)
        images = [draw(hues=row, shape=shape, scale=scale, orientation=orientation) for row in hues.tolist()]
        for one, other in zip(images, images[1:] + images[:1], strict=True):
            found = changed(one, other)
            assert not (found & ~possible).any(), "nothing else changes"
            assert found[certain].all(), "all of it changes"


@every_scene
def test_scale_and_shape_change_the_object_and_its_shadow_alone(shape: int, scale: int, orientation: int) -> None:
    def around(shape: int, scale: int) -> np.ndarray:
        return grown(pixels(body(shape, scale), orientation) | shaded(shape, scale, orientation), by=2)

    here, place = draw(shape=shape, scale=scale, orientation=orientation), around(shape, scale)
    for other, resized in (((shape + 1) % 4, scale), ((shape + 2) % 4, scale), (shape, (scale + 1) % 8)):
        found = changed(here, draw(shape=other, scale=resized, orientation=orientation))
        assert found.mean() > 0.01
        assert not (found & ~(place | around(other, resized))).any()


@pytest.mark.parametrize("shape", range(4))
def test_orientation_moves_the_rooms_corner_to_the_right(shape: int) -> None:
    """In the top row of the image there is nothing but walls, and the right one is brighter."""
    corner = np.stack([np.full(100, -2.3), np.linspace(0, 6, 100), np.full(100, -2.3)])
    found = []
    for orientation in range(15):
        top = draw(shape=shape, orientation=orientation)[:, 0].sum(axis=0)
        found.append(np.diff(top).argmax() + 1)
        columns, rows = project(corner, orientation)
        assert abs(found[-1] - np.interp(0.5, rows[::-1], columns[::-1])) <= 1
    assert (np.diff(found) > 0).all()


def test_all_images_differ() -> None:
    """All 480 scenes differ even in one hue; and in each of them, every hue of a part shows in a pixel of that part
    alone. The upper left corner is wall, the lower left one floor, and the middle of the solid is object.
    """
    scenes = factors_of(np.arange(480))
    for hue in range(10):
        scenes[:, :3] = hue
        images = render(index_of(scenes), 64)
        assert len(np.unique(images.reshape(480, -1), axis=0)) == 480
    for part, (row, column) in ((FLOOR, (63, 0)), (WALL, (0, 0)), (OBJECT, (34, 32))):
        scenes[:, :3] = 2
        colors = np.empty((10, 480, 3), dtype=np.int64)
        for hue in range(10):
            scenes[:, part] = hue
            colors[hue] = render(index_of(scenes), 64)[:, :, row, column]
        apart = np.abs(colors[:, None] - colors[None]).sum(axis=-1)
        assert apart[~np.eye(10, dtype=bool)].min() > 20


@pytest.mark.parametrize(("part", "saturation", "row"), [(FLOOR, 0.55, 63), (WALL, 0.4, 0), (OBJECT, 1.0, 34)])
def test_hues_are_tenths_of_the_color_circle_from_red(part: int, saturation: float, row: int) -> None:
    for hue in range(10):
        hues = [4, 4, 4]
        hues[part] = hue
        column = 32 if part == OBJECT else 0
        color = draw(hues=hues, shape=SPHERE)[:, row, column]
        found, saturated, _ = colorsys.rgb_to_hsv(*color / 255)
        assert abs((found - hue / 10 + 0.5) % 1 - 0.5) < 0.01
        assert saturated == pytest.approx(saturation, abs=0.02)


def test_a_lit_part_of_the_floor_has_the_lamps_light_by_the_cosine_and_42_percent_from_everywhere() -> None:
    """Red floors send all red light back: at a point of the floor far from the solid, by hand."""
    point = np.array([-0.9, 0.0, 1.1])
    (column,), (row,) = project(point[:, None], 7)
    to_lamp = np.array([1.5, 5.6, 3.5]) - point
    cosine = to_lamp[1] / np.linalg.norm(to_lamp)
    red = draw(hues=(0, 5, 5), scale=0, shape=SPHERE)[0, int(row), int(column)]
    assert red == pytest.approx(255 * (0.42 + 0.58 * cosine), abs=2)


def test_full_shadow_has_no_light_from_the_lamp() -> None:
    """On the floor close behind the large cube, seen from the right."""
    point = np.array([0.2, 0.0, -1.25])
    assert point @ point > 1.25**2, "too far for the solid to keep surrounding light away"
    (column,), (row,) = project(point[:, None], 14)
    red = draw(hues=(0, 5, 5), shape=CUBE, orientation=14)[0, int(row), int(column)]
    assert red == pytest.approx(255 * 0.42, abs=1)


def test_where_a_sphere_faces_the_lamp_it_has_full_light() -> None:
    for scale in range(8):
        assert draw(hues=(5, 5, 0), shape=SPHERE, scale=scale)[0].max() >= 254


# The splits


def small(**counts: int) -> dict[str, ImageSplit]:
    return Solids(size=32, **counts).build({})


def numbers_of(split: ImageSplit) -> np.ndarray:
    assert split.factors is not None
    return index_of(split.factors)


@both_sizes
def test_images_are_those_of_the_factors(size: Size, tmp_path: Path) -> None:
    options = {**defaults(options_of(Solids)), "size": size, "train": 50, "validation": 20, "test": 30}
    dataset = Solids(**options)
    splits = load_splits(dataset, options, tmp_path)
    assert {name: len(split.images) for name, split in splits.items()} == {"train": 50, "validation": 20, "test": 30}
    assert sum(len(split.images) for split in splits.values()) == dataset.num_images
    assert len(np.unique(np.concatenate([numbers_of(split) for split in splits.values()]))) == 100
    for split in splits.values():
        assert split.images.shape[1:] == dataset.image_shape == (3, size, size)
        np.testing.assert_array_equal(split.images, render(numbers_of(split), size))


def test_a_larger_training_set_contains_the_smaller_and_leaves_the_test_set_as_it_is() -> None:
    one, other = small(train=50, validation=20, test=30), small(train=80, validation=20, test=30)
    np.testing.assert_array_equal(numbers_of(other["train"])[:50], numbers_of(one["train"]))
    np.testing.assert_array_equal(numbers_of(other["test"]), numbers_of(one["test"]))


def test_the_whole_grid_trains_with_evaluation_points_from_within(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solids, "render", lambda indices, size: np.zeros((len(indices), 3, 1, 1), dtype=np.uint8))
    splits = small(train=GRID, validation=100, test=15_000)
    np.testing.assert_array_equal(np.sort(numbers_of(splits["train"])), np.arange(GRID))
    held_out = np.concatenate([numbers_of(splits["validation"]), numbers_of(splits["test"])])
    assert len(np.unique(held_out)) == 15_100


def test_the_whole_grid_can_be_divided() -> None:
    assert Solids(train=GRID - 2, validation=1, test=1).num_images == GRID


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^solids: train 479,999 .* set train = 480000 to train on the whole grid"):
        Solids(train=GRID - 1)
