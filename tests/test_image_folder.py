"""Images of one's own: splits, classes, pixels, and what is said of folders that are not as they should be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.base import DataError
from datasets.cache import load_splits
from datasets.images.image_folder import ImageFolder


def write(path: Path, color: Sequence[int], width: int = 8, height: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), tuple(color)).save(path)


def greys(images: np.ndarray) -> list[int]:
    """The red channel's upper left pixel of each image: what tells those of one color apart."""
    return images[:, 0, 0, 0].tolist()


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """40 cats, of greys 0 to 39, and 20 dogs, of greys 100 to 119."""
    folder = tmp_path / "folders" / "pets"
    for kind, first, count in (("cats", 0, 40), ("dogs", 100, 20)):
        for grey in range(first, first + count):
            write(folder / kind / f"{grey:03}.png", [grey] * 3)
    return folder


def test_images_without_splits_are_split_70_10_20_class_by_class(pets: Path, tmp_path: Path) -> None:
    options = {"folder": "pets", "size": 4, "channels": 3, "classes": 2}
    splits = load_splits(ImageFolder(folder="pets", size=4, classes=2), options, tmp_path)
    seen = []
    for split, cats, dogs in (("train", 28, 14), ("validation", 4, 2), ("test", 8, 4)):
        images, labels = splits[split].images, splits[split].labels
        assert labels is not None
        assert images.shape == (cats + dogs, 3, 4, 4)
        assert np.bincount(labels).tolist() == [cats, dogs]
        assert [int(grey >= 100) for grey in greys(images)] == labels.tolist()
        seen += greys(images)
    assert sorted(seen) == [*range(40), *range(100, 120)]


def test_without_classes_subfolders_mean_nothing(pets: Path, tmp_path: Path) -> None:
    write(pets / "200.jpg", [200] * 3)
    write(pets / ".thumbnails" / "201.png", [201] * 3)
    splits = load_splits(ImageFolder(folder="pets"), {"folder": "pets"}, tmp_path)
    assert all(split.labels is None for split in splits.values())
    assert sorted(grey for split in splits.values() for grey in greys(split.images)) == [
        *range(40),
        *range(100, 120),
        200,
    ]


@pytest.mark.parametrize("with_validation", [True, False])
def test_splits_that_are_there_are_kept(with_validation: bool, tmp_path: Path) -> None:
    folder = tmp_path / "folders" / "given"
    for grey in range(20):
        write(folder / "train" / f"{grey:02}.png", [grey] * 3)
        write(folder / "test" / f"{grey:02}.png", [100 + grey] * 3)
    if with_validation:
        write(folder / "validation" / "0.png", [50] * 3)
    splits = load_splits(ImageFolder(folder="given"), {}, tmp_path)
    assert greys(splits["test"].images) == list(range(100, 120))
    if with_validation:
        assert greys(splits["validation"].images) == [50]
        assert greys(splits["train"].images) == list(range(20))
    else:
        assert len(splits["validation"].images) == 2
        assert sorted(greys(splits["validation"].images) + greys(splits["train"].images)) == list(range(20))


def test_the_central_square_is_kept_and_scaled(tmp_path: Path) -> None:
    stripes = np.zeros((20, 40, 3), np.uint8)
    stripes[:, 10:30] = [255, 0, 0]  # the central square is red
    for split in ("train", "validation", "test"):
        path = tmp_path / "folders" / "images" / split / "0.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(stripes).save(path)
    color = load_splits(ImageFolder(size=5), {"size": 5}, tmp_path)["test"].images
    assert color.tolist() == [[[[255] * 5] * 5, [[0] * 5] * 5, [[0] * 5] * 5]]
    grey = load_splits(ImageFolder(size=5, channels=1), {"size": 5, "channels": 1}, tmp_path)["test"].images
    assert grey.tolist() == [[[[76] * 5] * 5]]  # 0.299 · 255, ITU-R 601's luma


def test_photographs_stand_upright(tmp_path: Path) -> None:
    """A camera held sideways says so in the photograph's EXIF data."""
    upper_half = np.zeros((8, 8, 3), np.uint8)
    upper_half[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    for split in ("train", "validation", "test"):
        path = tmp_path / "folders" / "images" / split / "0.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(upper_half).save(path, exif=exif)
    image = load_splits(ImageFolder(size=8), {}, tmp_path)["train"].images[0, 0]
    assert (image[:, 4:] == 255).all()
    assert (image[:, :4] == 0).all()


def test_links_are_followed_and_what_is_transparent_lies_on_white(pets: Path, tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        path = tmp_path / "folders" / "images" / split
        path.mkdir(parents=True)
        (path / "linked").symlink_to(pets / "dogs", target_is_directory=True)
    folder = tmp_path / "folders" / "images" / "test"
    Image.new("RGBA", (8, 8), (200, 10, 10, 0)).save(folder / "0.png")
    Image.fromarray(np.full((8, 8), 257 * 50, np.uint16)).save(folder / "1.png")  # grey 50 in 16 bits
    splits = load_splits(ImageFolder(), {}, tmp_path)
    assert greys(splits["train"].images) == list(range(100, 120))
    assert greys(splits["test"].images) == [255, 50, *range(100, 120)]


def test_arrays_are_made_anew_when_an_image_changes(pets: Path, tmp_path: Path) -> None:
    def brightest() -> int:
        return max(split.images.max() for split in load_splits(ImageFolder(folder="pets"), {}, tmp_path).values())

    assert brightest() == 119
    write(pets / "cats" / "000.png", [250] * 3)
    os.utime(pets / "cats" / "000.png", (0, 0))
    assert brightest() == 250


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*folders.pets: make it and put the images there"):
        load_splits(ImageFolder(folder="pets"), {}, tmp_path)


def test_what_cannot_be_used_is_named(pets: Path, tmp_path: Path) -> None:
    def load(classes: int = 0) -> None:
        load_splits(ImageFolder(folder="pets", classes=classes), {"classes": classes}, tmp_path)

    with pytest.raises(DataError, match=r"pets has 2 classes \(cats, dogs\), not 3"):
        load(classes=3)
    write(pets / "bird.png", [0] * 3)
    with pytest.raises(DataError, match=r"bird\.png is in no class: put it into a folder named like its class"):
        load(classes=2)
    (pets / "bird.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"cannot read .*bird\.png as a photograph"):
        load()
    (pets / "bird.png").unlink()
    write(pets / "train" / "0.png", [0] * 3)
    with pytest.raises(DataError, match="pets has a folder train; it needs both train and test"):
        load()
    (pets / "test").mkdir()
    with pytest.raises(DataError, match=r"pets has a folder (cats|dogs) beside train, test; splits are train, valid"):
        load()
    shutil.rmtree(pets / "cats")
    shutil.rmtree(pets / "dogs")
    with pytest.raises(DataError, match="pets has no images for validation"):
        load()


@pytest.mark.parametrize("folder", ["", "/etc", "../elsewhere", "a/../../b"])
def test_a_folder_elsewhere_is_refused(folder: str) -> None:
    with pytest.raises(ValueError, match="give the name of one in"):
        ImageFolder(folder=folder)
