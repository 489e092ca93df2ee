"""Color transfer: pixels of photographs as points, and maps of colors applied to whole images."""

from __future__ import annotations

import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.supplies import DataFolder
from datasets.base import DataError
from datasets.cache import load_pair
from datasets.pairs.color_transfer import ColorTransfer
from datasets.pairs.empirical import draw, total_variance
from datasets.pairs.recoloring import recolor, recolor_file
from datasets.photographs import read_photograph


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loaded(root: Path, **options: str) -> ColorTransfer:
    pair = ColorTransfer(**options)
    load_pair(pair, {"source": "sklearn:china", "target": "sklearn:flower", **options}, root, DataFolder(root))
    return pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> ColorTransfer:
    return loaded(tmp_path_factory.mktemp("data"))


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, size=(height, width, 3)).astype(np.uint8)


def invert(points: Tensor) -> Tensor:
    return 1 - points


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_draws_are_pixels_from_the_generator_alone(pair: ColorTransfer, side: str, split: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    points = getattr(pair, side)(500, generator(), split)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(points, getattr(pair, side)(500, generator(), split))
    assert not torch.equal(points, getattr(pair, side)(500, generator(1), split))
    assert (points.shape, points.dtype) == ((500, 3), torch.float32)
    photograph = np.asarray(read_photograph(shipped(side))).reshape(-1, 3)
    colors = {bytes(color) for color in photograph}
    assert {bytes(color) for color in (255 * points).round().to(torch.uint8).numpy()} <= colors


def shipped(side: str) -> Path:
    import sklearn

    name = {"source": "china.jpg", "target": "flower.jpg"}[side]
    return Path(sklearn.__path__[0]) / "datasets" / "images" / name


@pytest.mark.parametrize("side", ["source", "target"])
def test_every_pixel_is_in_one_split(pair: ColorTransfer, side: str) -> None:
    splits = [np.asarray(pair.arrays[f"{side}-{split}"]) for split in ("train", "validation", "test")]
    assert [len(pixels) for pixels in splits] == [218_624, 27_328, 27_328]
    whole = np.asarray(read_photograph(shipped(side))).reshape(-1, 3)
    # Rows sorted by color are the same rows.
    ours, theirs = (rows[np.lexsort(rows.T)] for rows in (np.vstack(splits), whole))
    np.testing.assert_array_equal(ours, theirs)


def test_stated_variances_are_those_of_the_samples(pair: ColorTransfer) -> None:
    for sample, variance in [(pair.source, pair.source_variance), (pair.target, pair.target_variance)]:
        assert sample(200_000, generator()).double().var(dim=0).sum().item() == pytest.approx(variance, rel=0.01)


def test_total_variance_is_the_trace_of_the_covariance() -> None:
    rows = 100 + np.random.RandomState(0).randn(50, 4, 3).astype(np.float32)
    expected = rows.reshape(50, 12).astype(np.float64).var(axis=0).sum()
    assert total_variance(rows) == pytest.approx(expected, rel=1e-6)
    assert total_variance((255 * (rows > 100)).astype(np.uint8)) == pytest.approx(
        (rows > 100).reshape(50, -1).var(0).sum()
    )


def test_rows_are_drawn_evenly() -> None:
    counts = np.bincount(draw(np.arange(20), 20_000, generator()), minlength=20)
    assert np.abs(counts / 1000 - 1).max() < 0.12


def test_large_photographs_are_represented_by_every_kth_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.pairs.color_transfer.MOST_PIXELS", 100)
    gradient = np.stack([np.arange(250).reshape(10, 25)] * 3, axis=-1).astype(np.uint8)
    Image.fromarray(gradient).save(tmp_path / "gradient.png")
    arrays = ColorTransfer(source=str(tmp_path / "gradient.png")).build(DataFolder(tmp_path))
    kept = np.concatenate([arrays[f"source-{split}"] for split in ("train", "validation", "test")])
    assert sorted(kept[:, 0].tolist()) == list(range(0, 250, 3))


def test_a_photograph_changed_in_place_is_built_anew(tmp_path: Path) -> None:
    path = tmp_path / "photograph.png"
    Image.fromarray(np.full((20, 20, 3), 10, np.uint8)).save(path)
    assert loaded(tmp_path, source=str(path)).source(1, generator())[0, 0].item() == pytest.approx(10 / 255)
    Image.fromarray(np.full((20, 20, 3), 20, np.uint8)).save(path)
    assert loaded(tmp_path, source=str(path)).source(1, generator())[0, 0].item() == pytest.approx(20 / 255)


@pytest.mark.parametrize("name", ["", "sklearn:", "sklearn:dog"])
def test_unknown_shipped_photographs_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f'color-transfer: target is "{name}"; .* sklearn:china, sklearn:flower'):
        ColorTransfer(target=name)


def test_photographs_are_looked_for_only_when_needed(tmp_path: Path) -> None:
    missing = tmp_path / "missing.jpg"
    pair = ColorTransfer(source=str(missing))
    with pytest.raises(
        DataError, match=r"missing\.jpg.*: correct the path|cannot read .*missing\.jpg.*Correct the path"
    ):
        pair.ingredients()
    missing.write_text("no picture")
    with pytest.raises(
        DataError, match=r"cannot read .*missing\.jpg as a photograph.*Give a file that Pillow can read"
    ):
        pair.build(DataFolder(tmp_path))


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    pixels = random_image(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_photograph(tmp_path / "turned.png")), np.rot90(pixels, -1))


def test_grey_photographs_and_those_with_transparency_become_rgb(tmp_path: Path) -> None:
    for mode in ("L", "RGBA", "P", "1", "CMYK"):
        path = tmp_path / f"{mode}.tif"
        Image.fromarray(random_image(5, 5)).convert(mode).save(path)
        assert read_photograph(path).mode == "RGB"


@pytest.mark.parametrize("tile_rows", [1, 7, 64])
def test_recoloring_in_strips_is_recoloring_at_once(tile_rows: int) -> None:
    image = random_image(50, 40)
    matrix = torch.tensor([[0.2, 0.5, 0.1], [0.9, -0.3, 0.2], [0.4, 0.4, 0.4]])
    points = torch.from_numpy(image).float().view(-1, 3) / 255
    expected = (255 * (points @ matrix).clamp(0, 1)).round().to(torch.uint8).view(image.shape).numpy()
    recolored = np.empty_like(image)
    recolor(lambda colors: colors @ matrix, image, recolored, tile_rows=tile_rows)
    assert np.abs(recolored.astype(int) - expected).max() <= 1  # a product of another batch may round elsewhere
    assert (recolored == expected).mean() > 0.999


def test_the_identity_leaves_every_color_alone() -> None:
    image = random_image(300, 300)
    recolor(lambda points: points, image, image)
    np.testing.assert_array_equal(image, random_image(300, 300))


def test_each_color_is_pushed_once() -> None:
    pushed: list[Tensor] = []

    def push(points: Tensor) -> Tensor:
        pushed.append(points)
        return invert(points)

    image = random_image(200, 200) // 64 * 64
    recolored = np.empty_like(image)
    recolor(push, image, recolored, tile_rows=10)
    assert len(torch.cat(pushed)) == len(torch.cat(pushed).unique(dim=0)) == 64
    np.testing.assert_array_equal(recolored, 255 - image)


def test_colors_are_clipped_when_they_are_drawn() -> None:
    image = random_image(10, 10)
    recolored = np.empty_like(image)
    recolor(lambda points: 3 * points - 1, image, recolored)
    np.testing.assert_array_equal(recolored, np.clip(3 * image.astype(int) - 255, 0, 255))


def test_maps_without_finite_values_are_not_drawn() -> None:
    with pytest.raises(ValueError, match="not finite"):
        recolor(lambda points: points / 0 * 0, random_image(4, 4), random_image(4, 4))


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 5, 3), np.uint8)])
def test_recoloring_takes_bytes_in_three_channels(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"arrays uint8 \[H, W, 3\] of one shape"):
        recolor(invert, random_image(4, 4), array)


def test_files_are_recolored_in_the_format_of_the_outputs_suffix(tmp_path: Path) -> None:
    image = random_image(130, 21)
    Image.fromarray(image).save(tmp_path / "source.png")
    recolor_file(invert, tmp_path / "source.png", tmp_path / "output.tif")
    with Image.open(tmp_path / "output.tif") as output:
        assert output.format == "TIFF"
        np.testing.assert_array_equal(np.asarray(output), 255 - image)
    for name in ("output.nonsense", "no-such-folder/output.png"):
        with pytest.raises(DataError, match=f"cannot write .*{name}"):
            recolor_file(invert, tmp_path / "source.png", tmp_path / name)


def test_memory_grows_by_four_bytes_a_pixel(tmp_path: Path) -> None:
    """Each process recolors a large file; its peak beyond that of a small one is the decoded photograph."""
    script = """
        import resource, sys
        from datasets.pairs.recoloring import recolor_file
        recolor_file(lambda points: 1 - points, sys.argv[1], sys.argv[2])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    peaks = []
    for side in (500, 4000):
        Image.new("RGB", (side, side), "teal").save(tmp_path / f"{side}.png")
        arguments = [str(tmp_path / f"{side}.png"), str(tmp_path / "output.png")]
        run = [sys.executable, "-c", textwrap.dedent(script), *arguments]
        done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        peaks.append(int(done.stdout) * (1 if sys.platform == "darwin" else 1024))
    assert peaks[1] - peaks[0] < 1.4 * 4 * 16_000_000


def test_the_picture_shows_both_photographs_and_the_recolored_source(pair: ColorTransfer) -> None:
    picture = pair.render(invert, "test")
    source, target = (np.asarray(pair.arrays[f"{side}-picture"]) for side in ("source", "target"))
    assert picture.pixels.shape == (214, 3 * 320 + 2 * 8, 3)
    np.testing.assert_array_equal(picture.pixels[:, :320], source)
    np.testing.assert_array_equal(picture.pixels[:, 328:648], target)
    np.testing.assert_array_equal(picture.pixels[:, 656:], 255 - source)
    assert (picture.pixels[:, 320:328] == 255).all()
    assert picture.caption


def test_panels_of_any_proportions_fit_the_picture(tmp_path: Path) -> None:
    Image.fromarray(random_image(900, 20)).save(tmp_path / "tall.png")
    Image.fromarray(random_image(20, 900)).save(tmp_path / "wide.png")
    pair = loaded(tmp_path, source=str(tmp_path / "tall.png"), target=str(tmp_path / "wide.png"))
    assert pair.render(invert, "test").pixels.shape == (320, 7 + 8 + 320 + 8 + 7, 3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_only_photographs_that_are_named_may_be_of_any_size(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"large.{suffix}"
    Image.fromarray(random_image(20, 30)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_photograph(path, of_any_size=True).size == (30, 20)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(DataError, match=r"cannot read .*large.* decompression bomb"):
        read_photograph(path)


@pytest.mark.parametrize("error", [OverflowError, MemoryError, struct.error, Image.DecompressionBombError])
def test_whatever_pillow_raises_of_a_damaged_file_is_told(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "damaged.png"
    Image.fromarray(random_image(4, 6)).save(path)

    def fail(*_: object, **__: object) -> None:
        raise error("damaged")

    monkeypatch.setattr("PIL.ImageOps.exif_transpose", fail)
    with pytest.raises(DataError, match=r"cannot read .*damaged\.png as a photograph: damaged"):
        read_photograph(path)


@pytest.mark.parametrize(("dtype", "suffix"), [("uint16", "png"), (">u2", "tif"), ("int32", "tif")])
def test_greys_of_16_bits_are_scaled_to_8(dtype: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"grey.{suffix}"
    Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype)).save(path)
    expected = np.repeat([[[0], [1], [128], [255]]], 3, axis=2)
    np.testing.assert_array_equal(np.asarray(read_photograph(path)), expected)


@pytest.mark.parametrize(("pixels", "what"), [(np.float32(0.5), "fractions"), (np.int32(70_000), "beyond 16 bits")])
def test_pixels_of_unknown_range_are_refused(pixels: np.generic, what: str, tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), pixels)).save(tmp_path / "depth.tif")
    with pytest.raises(DataError, match=what):
        read_photograph(tmp_path / "depth.tif")
