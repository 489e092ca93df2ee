"""Unpaired images: folders and patches as points, and the authors' augmentation."""

from __future__ import annotations

import colorsys
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.metrics.transport.samples import energy_distance
from bench.options import defaults, options_of
from bench.supplies import DataFolder
from datasets.base import SPLITS, DataError
from datasets.cache import load_pair
from datasets.pairs import unpaired_images
from datasets.pairs.empirical import as_points
from datasets.pairs.unpaired_images import UnpairedImages, augment
from datasets.pairs.unpaired_images import _chroma_matrix as chroma_matrix


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loaded(root: Path, **options: Any) -> UnpairedImages:
    pair = UnpairedImages(**options)
    load_pair(pair, {**defaults(options_of(UnpairedImages)), **options}, root, DataFolder(root))
    return pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> UnpairedImages:
    return loaded(tmp_path_factory.mktemp("data"), size=32)


def folder_of(path: Path, count: int, size: tuple[int, int] = (40, 40)) -> Path:
    """A folder of images, each of one grey, 10 apart."""
    path.mkdir()
    for number in range(count):
        Image.new("RGB", size, (10 * number,) * 3).save(path / f"{number}.png")
    return path


def ramp(size: int) -> Tensor:
    """An image [1, 3, size, size] that grows from left to right in red, downwards in green."""
    line = torch.linspace(0.2, 0.8, size)
    red, green = line.expand(size, size), line[:, None].expand(size, size)
    return torch.stack([red, green, torch.full_like(red, 0.5)])[None]


@pytest.mark.parametrize("augmented", [True, False])
@pytest.mark.parametrize("side", ["source", "target"])
def test_draws_come_from_the_generator_alone(side: str, augmented: bool, data_folder: Path) -> None:
    pair = loaded(data_folder, size=16, augment=augmented)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    points = getattr(pair, side)(20, generator(), "test")
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(points, getattr(pair, side)(20, generator(), "test"))
    assert not torch.equal(points, getattr(pair, side)(20, generator(1), "test"))
    assert (points.shape, points.dtype) == ((20, 3 * 16 * 16), torch.float32)
    assert 0 <= points.min() < points.max() <= 1


def test_points_are_images_in_c_order(pair: UnpairedImages) -> None:
    assert pair.image_shape == (3, 32, 32)
    pair.augment = False
    points = pair.source(5, generator(), "test")
    rows = pair.arrays["source-test"][torch.randint(150, (5,), generator=generator()).numpy()]
    pair.augment = True
    torch.testing.assert_close(points.view(5, 3, 32, 32), torch.from_numpy(np.array(rows)).float() / 255)


def test_patches_of_the_shipped_photographs_are_evenly_split(pair: UnpairedImages) -> None:
    for side in ("source", "target"):
        assert [len(pair.arrays[f"{side}-{split}"]) for split in SPLITS] == [1200, 150, 150]
    assert pair.arrays["source-train"].dtype == np.uint8


def test_patches_of_different_splits_do_not_overlap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A photograph that numbers its pixels, cut without scaling: no number is in two splits."""
    numbers = np.arange(400 * 500)
    pixels = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=-1).reshape(400, 500, 3)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "numbers.png")
    monkeypatch.setattr(unpaired_images, "_files", lambda kind: [tmp_path / "numbers.png"])
    monkeypatch.setattr(unpaired_images, "PATCHES", dict.fromkeys(SPLITS, 40))
    arrays = UnpairedImages(size=64).build(DataFolder(tmp_path))
    seen = {}
    for split in SPLITS:
        red, green, blue = np.moveaxis(arrays[f"source-{split}"].astype(int), 1, 0)
        seen[split] = set(np.unique(red << 16 | green << 8 | blue).tolist())
    assert not seen["train"] & seen["validation"]
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]
    held_out_blocks = 3
    assert min(map(len, seen.values())) > held_out_blocks * 82 * 82


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_held_out_patches_look_like_those_for_training(pair: UnpairedImages, side: str, split: str) -> None:
    """As far as a few places of two photographs can, beside how far day is from night."""
    train, held_out = (as_points(pair.arrays[f"{side}-{name}"]).double().numpy() for name in ("train", split))
    other = as_points(pair.arrays[f"{'target' if side == 'source' else 'source'}-{split}"]).double().numpy()
    distance, of_sides = (energy_distance(held_out, points)["energy-distance"] for points in (train, other))
    assert distance < 0.1 * of_sides


def test_stated_variances_are_those_of_images_that_are_not_augmented(data_folder: Path) -> None:
    pair = loaded(data_folder, size=16, augment=False)
    for sample, variance in [(pair.source, pair.source_variance), (pair.target, pair.target_variance)]:
        assert sample(20_000, generator()).double().var(dim=0).sum().item() == pytest.approx(variance, rel=0.02)


def test_folders_are_searched_and_every_image_is_in_one_split(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "images", 18)
    Image.new("L", (30, 90), 180).save(folder / "grey.bmp")
    (folder / "deeper" / "still").mkdir(parents=True)
    Image.new("RGB", (90, 30), (190, 190, 190)).save(folder / "deeper" / "still" / "wide.jpg")
    pair = loaded(tmp_path, source=str(folder), size=16)
    levels = [np.asarray(pair.arrays[f"source-{split}"])[:, 0, 8, 8].tolist() for split in SPLITS]
    assert [len(split) for split in levels] == [16, 2, 2]
    assert sorted(level for split in levels for level in split) == list(range(0, 200, 10))


def test_files_that_are_no_images_are_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "images", 5)
    (folder / "notes.txt").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:40])
    with pytest.warns(UserWarning, match=r"images: 2 of 7 files are no images, the first .*cut\.png"):
        arrays = UnpairedImages(source=str(folder), size=16).build(DataFolder(tmp_path))
    assert sum(len(arrays[f"source-{split}"]) for split in SPLITS) == 5


def test_folders_without_enough_images_are_refused(tmp_path: Path) -> None:
    missing = UnpairedImages(target=str(tmp_path / "missing"))
    for ask in (missing.ingredients, lambda: missing.build(DataFolder(tmp_path))):
        with pytest.raises(DataError, match=r"there is no folder .*missing with files in it: name a folder of images"):
            ask()
    two = folder_of(tmp_path / "two", 2)
    (two / "notes.txt").write_text("no picture")
    with pytest.raises(DataError, match="two: 2 of 3 files are images; name a folder of at least 3"):
        UnpairedImages(source=str(two)).build(DataFolder(tmp_path))


def test_a_folder_with_other_images_is_built_anew(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "images", 4)
    before = UnpairedImages(source=str(folder)).ingredients()
    assert UnpairedImages(source=str(folder)).ingredients() == before
    folder = folder.rename(tmp_path / "elsewhere")
    assert UnpairedImages(source=str(folder)).ingredients() == before
    os.utime(folder / "0.png", (0, 0))
    assert UnpairedImages(source=str(folder)).ingredients() != before


def test_images_of_a_folder_are_not_read_to_know_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "images", 4)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("a file was opened"))
    UnpairedImages(source=str(folder)).ingredients()


def test_images_too_large_for_pillow_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "images", 4)
    Image.new("RGB", (100, 100)).save(folder / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.warns(UserWarning, match=r"1 of 5 files are no images, the first .*large\.png"):
        UnpairedImages(source=str(folder), target=str(folder), size=16).build(DataFolder(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8}, "size is 8; it must be a multiple of 8, at least 16"),
        ({"size": 60}, "size is 60; it must be a multiple of 8, at least 16"),
        ({"source": "skimage:dusk"}, 'source is "skimage:dusk"; .* one of skimage:day, skimage:night'),
        ({"target": ""}, 'target is ""; it must be the path of a folder'),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UnpairedImages(**options)


def test_sizes_need_no_files() -> None:
    for size in (16, 64, 128):
        pair = UnpairedImages(source="nowhere", target="nowhere", size=size)
        assert (pair.image_shape, pair.dim) == ((3, size, size), 3 * size * size)


@pytest.mark.parametrize("size", [16, 64, 128])
def test_what_is_drawn_is_the_middle_of_what_is_stored(size: int) -> None:
    """The authors cut 200 of 256 pixels, so the margin is 14% of a side of what is drawn."""
    pair = UnpairedImages(size=size, augment=False)
    stored = np.random.RandomState(0).randint(0, 256, (2, 3, pair.stored_size, pair.stored_size)).astype(np.uint8)
    pair.load({f"{side}-{split}": stored for side in ("source", "target") for split in SPLITS})
    border = (pair.stored_size - size) // 2
    assert border == pytest.approx(0.14 * size, abs=1)
    expected = stored[:, :, border : border + size, border : border + size]
    np.testing.assert_array_equal(pair.arrays["source-train"], expected)


def luma(colors: Tensor) -> Tensor:
    """[3, …] -> […]"""
    return torch.einsum("c,c...->...", torch.tensor(unpaired_images.LUMA), colors)


def still(monkeypatch: pytest.MonkeyPatch, **left: float) -> None:
    """Switches off all of the augmentation that is not named."""
    for name in ("DEGREES", "JITTER", "NOISE"):
        monkeypatch.setattr(unpaired_images, name, left.get(name, 0.0))


def test_without_changes_a_view_is_the_middle_or_its_mirror_image(monkeypatch: pytest.MonkeyPatch) -> None:
    still(monkeypatch)
    image = torch.rand(1, 3, 42, 42, generator=generator())
    views = augment(image.expand(400, -1, -1, -1), 32, generator())
    middle = image[0, :, 5:37, 5:37]
    plain = [torch.allclose(view, middle, atol=1e-4) for view in views]
    mirrored = [torch.allclose(view, middle.flip(-1), atol=1e-4) for view in views]
    assert all(one != other for one, other in zip(plain, mirrored, strict=True))
    assert 160 < sum(mirrored) < 240


def test_views_are_turned_by_up_to_10_degrees_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a plane in red and one in green, the gradients are turned with the view."""
    still(monkeypatch, DEGREES=10.0)
    views = augment(ramp(82).expand(500, -1, -1, -1), 64, generator())
    across = views.diff(dim=3).mean(dim=(2, 3))
    angles = torch.rad2deg(torch.atan2(across[:, 1], across[:, 0].abs()))
    assert -10.01 < angles.min() < -9.5
    assert 9.5 < angles.max() < 10.01
    assert angles.mean().abs() < 1
    lengths = across[:, :2].norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 0.6 / 81), rtol=1e-3, atol=0)


def test_the_margin_is_enough_for_the_largest_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing from outside the stored image, which would be black, gets into a view."""
    still(monkeypatch, DEGREES=10.0)
    for size in (16, 64, 128):
        stored = UnpairedImages(size=size).stored_size
        assert augment(torch.ones(200, 3, stored, stored), size, generator()).min() > 0.9999


def test_brightness_contrast_and_saturation_are_blends_with_black_mean_grey_and_grey(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The definitions of torchvision and Pillow, one after the other."""
    still(monkeypatch, JITTER=0.1)
    monkeypatch.setattr(unpaired_images, "_chroma_matrix", lambda saturation, hue: chroma_matrix(saturation, 0 * hue))
    image = 0.3 + 0.4 * torch.rand(3, 42, 42, generator=generator())
    view = augment(image[None], 32, generator(5))[0]
    draws = generator(5)
    torch.rand(1, generator=draws)  # the angle
    mirrored = torch.randint(2, (1,), generator=draws).item() == 1
    brightness, contrast, saturation = (0.9 + 0.2 * torch.rand(1, generator=draws).item() for _ in range(3))

    middle = image[:, 5:37, 5:37]
    expected = brightness * (middle.flip(-1) if mirrored else middle)
    expected = contrast * expected + (1 - contrast) * luma(expected).mean()
    expected = saturation * expected + (1 - saturation) * luma(expected)
    torch.testing.assert_close(view, expected, atol=1e-4, rtol=0)


def test_hues_are_turned_and_lumas_kept() -> None:
    colors = torch.tensor([[0.6, 0.4, 0.4], [0.4, 0.6, 0.4], [0.4, 0.4, 0.6], [0.55, 0.6, 0.4]])
    angles = torch.tensor([math.radians(9), -math.radians(9)])
    for matrix, angle in zip(chroma_matrix(torch.ones(2), angles), angles, strict=True):
        turned = colors @ matrix.T
        torch.testing.assert_close(luma(turned.T), luma(colors.T), atol=1e-6, rtol=0)
        for before, after in zip(colors.tolist(), turned.tolist(), strict=True):
            change = colorsys.rgb_to_hsv(*after)[0] - colorsys.rgb_to_hsv(*before)[0]
            change = (change + 0.5) % 1 - 0.5
            assert abs(change) == pytest.approx(9 / 360, rel=0.8)  # the plane of YIQ is not that of HSV
            assert (change > 0) == (angle < 0)


def test_grey_stays_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    still(monkeypatch, JITTER=0.3, DEGREES=10.0)
    views = augment(torch.rand(50, 1, 42, 42, generator=generator()).expand(-1, 3, -1, -1) * 0.6, 32, generator())
    assert (views.amax(dim=1) - views.amin(dim=1)).max() < 1e-3


def test_noise_has_a_deviation_of_a_hundredth(monkeypatch: pytest.MonkeyPatch) -> None:
    still(monkeypatch, NOISE=0.01)
    views = augment(torch.full((20, 3, 42, 42), 0.5), 32, generator())
    assert views.std().item() == pytest.approx(0.01, rel=0.02)


def test_the_picture_has_inputs_above_what_is_made_of_them_above_targets(pair: UnpairedImages) -> None:
    picture = pair.render(lambda points: 1 - points, "test")
    assert picture.pixels.shape == (3 * 32, 8 * 32, 3)
    chosen = np.linspace(0, 149, 8).astype(int)
    inputs, targets = (pair.arrays[f"{side}-test"][chosen] for side in ("source", "target"))
    for column in range(8):
        left = slice(32 * column, 32 * (column + 1))
        np.testing.assert_array_equal(picture.pixels[:32, left], inputs[column].transpose(1, 2, 0))
        np.testing.assert_array_equal(picture.pixels[32:64, left], 255 - inputs[column].transpose(1, 2, 0))
        np.testing.assert_array_equal(picture.pixels[64:, left], targets[column].transpose(1, 2, 0))
    assert picture.caption


def test_the_picture_is_never_wider_than_a_page() -> None:
    pair = UnpairedImages(size=256, augment=False)
    stored = np.zeros((4, 3, pair.stored_size, pair.stored_size), np.uint8)
    pair.load({f"{side}-{split}": stored for side in ("source", "target") for split in SPLITS})
    assert pair.render(lambda points: points, "test").pixels.shape == (3 * 256, 3 * 256, 3)
