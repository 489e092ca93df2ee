"""SVHN, STL-10 and Omniglot from small files in their authors' formats."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torch.nn import functional as F

from datasets.base import DataError, ImageDataset
from datasets.cache import load_splits
from datasets.images.omniglot import Omniglot
from datasets.images.stl10 import Stl10
from datasets.images.svhn import Svhn
from tests.small_downloads import TEST, TRAIN, assert_split, place


def photographs(labels: np.ndarray, side: int) -> np.ndarray:
    """uint8 [N, 3, side, side] of 4×4 tiles, no two alike."""
    tiles = np.random.RandomState(len(labels)).randint(0, 256, (len(labels), 3, side // 4, side // 4)).astype(np.uint8)
    tiles[:, 0, 0, 0] = np.arange(len(labels))
    return tiles.repeat(4, axis=2).repeat(4, axis=3)


@pytest.mark.parametrize(("dataset", "count"), [(Svhn, 2), (Stl10, 1), (Omniglot, 2)])
def test_files_are_pinned_by_sha256_and_size(dataset: type[ImageDataset], count: int) -> None:
    assert len({file.sha256 for file in dataset.files}) == count
    assert all(len(bytes.fromhex(file.sha256)) == 32 and file.size > 0 for file in dataset.files)


# SVHN


def mat(**variables: np.ndarray) -> bytes:
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=True)
    return stream.getvalue()


def numbers(labels: np.ndarray) -> dict[str, np.ndarray]:
    """X [32, 32, 3, N] and y [N, 1], where 0 is written 10."""
    images = photographs(labels, 32)
    return {"X": images.transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]}


def svhn_files() -> dict[str, bytes]:
    return {"svhn-train_32x32.mat": mat(**numbers(TRAIN)), "svhn-test_32x32.mat": mat(**numbers(TEST))}


def test_svhn_splits_hold_the_files_images_with_10_as_0(tmp_path: Path) -> None:
    dataset = Svhn()
    place(dataset, svhn_files(), tmp_path)
    assert photographs(TEST, 32).shape[1:] == dataset.image_shape
    assert_split(load_splits(dataset, {}, tmp_path), photographs(TRAIN, 32), photographs(TEST, 32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (mat(**numbers(TEST))[:-100], "cannot read .*: could not read bytes"),
        (
            mat(**numbers(TEST))[:400] + bytes(40) + mat(**numbers(TEST))[440:],
            "cannot read .*: Error -3 while decompressing",
        ),
        (b"<!doctype html><title>Moved</title>" + bytes(200), "cannot read .*: Unknown mat file type"),
        (b"", "cannot read .*: Mat file appears to be"),
        (mat(X=numbers(TEST)["X"]), "has no variable y"),
        (mat(y=numbers(TEST)["y"]), "has no variable X"),
        (mat(**numbers(TEST) | {"X": np.zeros((32, 3, 32, 10), np.uint8)}), r"holds X \(32, 3, 32, 10\) of uint8"),
        (mat(**numbers(TEST) | {"X": np.zeros((32, 32, 3, 10))}), r"holds X \(32, 32, 3, 10\) of float64"),
        (mat(**numbers(TEST[1:]) | {"X": numbers(TEST)["X"]}), r"and y \(9, 1\), not .* \[N, 1\]"),
        (mat(**numbers(TEST) | {"y": TEST[:, None]}), "has labels that are not 1 to 10"),
        (mat(**numbers(TEST) | {"y": TEST[:, None] + 1.5}), "has labels that are not 1 to 10"),
    ],
    ids=[
        *("truncated", "corrupt", "a web page", "empty", "no labels", "no images"),
        *("another shape", "another type", "a label less", "a label 0", "no whole numbers"),
    ],
)
def test_a_damaged_file_of_svhn_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    dataset = Svhn()
    place(dataset, {**svhn_files(), "svhn-test_32x32.mat": content}, tmp_path)
    with pytest.raises(DataError, match=message + ".* Delete it to download it again"):
        load_splits(dataset, {}, tmp_path)


# STL-10


@cache
def stl_files() -> dict[str, bytes]:
    """Images column by column, and classes from 1, in the order of the authors' archive."""
    stored = {name: photographs(labels, 96).swapaxes(2, 3).tobytes() for name, labels in stl_labels().items()}
    return {
        "test_X.bin": stored["test"],
        "test_y.bin": (TEST + 1).astype(np.uint8).tobytes(),
        "train_X.bin": stored["train"],
        "train_y.bin": (TRAIN + 1).astype(np.uint8).tobytes(),
        "unlabeled_X.bin": stored["unlabeled"],
        "class_names.txt": b"airplane\n",
    }


def stl_labels() -> dict[str, np.ndarray]:
    return {"train": TRAIN, "test": TEST, "unlabeled": np.zeros(30, int)}


def stl_archive(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        folder = tarfile.TarInfo("stl10_binary")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            member = tarfile.TarInfo(f"stl10_binary/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("block", [7, 1000])
def test_stl_splits_hold_the_labeled_images_upright(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.images.stl10.BLOCK", block)
    dataset = Stl10()
    assert dataset.num_images == 5_000 + 8_000
    place(dataset, {"stl10_binary.tar.gz": stl_archive(stl_files())}, tmp_path)
    assert photographs(TEST, 96).shape[1:] == dataset.image_shape
    assert_split(load_splits(dataset, {}, tmp_path), photographs(TRAIN, 96), photographs(TEST, 96))


def test_stl_trains_on_the_unlabeled_images_and_validates_on_all_labeled_ones_where_asked(tmp_path: Path) -> None:
    dataset = Stl10(unlabeled=True)
    assert dataset.num_images == 5_000 + 8_000 + 100_000
    place(dataset, {"stl10_binary.tar.gz": stl_archive(stl_files())}, tmp_path)
    splits = load_splits(dataset, {"unlabeled": True}, tmp_path)
    for split, part in (("train", "unlabeled"), ("validation", "train"), ("test", "test")):
        np.testing.assert_array_equal(splits[split].images, photographs(stl_labels()[part], 96))
    assert splits["train"].labels is None
    np.testing.assert_array_equal(splits["validation"].labels, TRAIN)
    np.testing.assert_array_equal(splits["test"].labels, TEST)


def stl_without(name: str) -> dict[str, bytes]:
    return {each: content for each, content in stl_files().items() if each != name}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (stl_archive(stl_files())[:-3000], "cannot read .*: Compressed file ended"),
        (stl_archive(stl_files())[:5000] + bytes(9000), "cannot read .*: "),
        (b"<html>", "cannot read .*: not a gzip file"),
        (b"", "cannot read .*: empty file"),
        (stl_archive(stl_without("train_y.bin")), "has no file stl10_binary/train_y.bin"),
        (stl_archive(stl_without("unlabeled_X.bin")), "has no file stl10_binary/unlabeled_X.bin"),
        (stl_archive({**stl_files(), "test_X.bin": bytes(27649)}), "test_X.bin has 27,649 bytes, .* image's 27,648"),
        (stl_archive({**stl_files(), "train_X.bin": b""}), "train_X.bin has 0 bytes"),
        (stl_archive({**stl_files(), "test_y.bin": bytes(range(10))}), "test_y.bin must have .* has 10 of 0 to 9"),
        (stl_archive({**stl_files(), "test_y.bin": bytes(range(1, 10))}), "each of 10 images, but has 9 of 1 to 9"),
    ],
    ids=[
        *("truncated", "corrupt", "a web page", "empty", "no labels", "no unlabeled images"),
        *("one byte more", "no images", "a label 0", "a label less"),
    ],
)
def test_a_damaged_archive_of_stl_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    dataset = Stl10(unlabeled=True)
    place(dataset, {"stl10_binary.tar.gz": content}, tmp_path)
    with pytest.raises(DataError, match=message + ".* Delete it to download it again"):
        load_splits(dataset, {}, tmp_path)


# Omniglot

CHARACTERS = {
    "images_background": ("Cyrillic/character01", "Cyrillic/character02", "Arcadian/character01"),
    "images_evaluation": ("Bengali/character01",),
}
Size = Literal[28, 64]


def drawing(character: str, number: int) -> np.ndarray:
    """Where one of a character's 20 drawings has ink: bool [105, 105], no two alike."""
    ink = np.zeros((105, 105), bool)
    ink[60:90, 10:30] = True
    ink[:20] = np.random.RandomState(sum(character.encode()) * 20 + number).rand(20, 105) < 0.5
    return ink


def png(ink: np.ndarray) -> bytes:
    """Black ink on white, one bit a pixel."""
    stream = io.BytesIO()
    Image.fromarray(~ink).save(stream, "PNG")
    return stream.getvalue()


@cache
def drawings(part: str) -> dict[str, bytes]:
    return {
        f"{part}/{character}/0001_{number:02}.png": png(drawing(character, number))
        for character in CHARACTERS[part]
        for number in range(1, 21)
    }


def zipped(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("images_background/", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def omniglot_files() -> dict[str, bytes]:
    return {f"omniglot-{part}.zip": zipped(drawings(part)) for part in CHARACTERS}


def scaled(ink: np.ndarray, size: Size) -> np.ndarray:
    """The image [size, size] expected of a drawing, in the units of its pixels."""
    if size == 64:  # as torchvision scales a tensor without antialiasing
        stored = torch.from_numpy(255.0 * ~ink)[None, None]
        return F.interpolate(stored, (64, 64), mode="bilinear", align_corners=False)[0, 0].numpy()
    centers = (np.arange(28) + 0.5) * 105 / 28 - 0.5
    weights = np.maximum(1 - np.abs(centers[:, None] - np.arange(105)) * 28 / 105, 0)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights @ (255.0 * ink) @ weights.T


@pytest.mark.parametrize("size", get_args(Size))
def test_omniglot_tests_on_the_evaluation_alphabets_in_their_files_order(size: Size, tmp_path: Path) -> None:
    dataset = Omniglot(size=size)
    place(dataset, omniglot_files(), tmp_path)
    split = load_splits(dataset, {"size": size}, tmp_path)["test"]
    assert split.labels is not None
    assert (split.images.dtype, split.images.shape) == (np.uint8, (20, *dataset.image_shape))
    assert (split.labels.dtype, split.labels.tolist()) == (np.int64, [1] * 20)
    expected = [scaled(drawing("Bengali/character01", number), size) for number in range(1, 21)]
    for channel in range(dataset.image_shape[0]):
        np.testing.assert_allclose(split.images[:, channel], expected, atol=1)  # rounded after each axis


def test_omniglot_validates_on_two_drawings_of_each_background_character_and_trains_on_18(tmp_path: Path) -> None:
    dataset = Omniglot()
    place(dataset, omniglot_files(), tmp_path)
    splits = load_splits(dataset, {}, tmp_path)
    characters = CHARACTERS["images_background"]
    expected = np.stack([scaled(drawing(each, number), 28) for each in characters for number in range(1, 21)])
    seen: list[int] = []
    for name, count in (("train", 18), ("validation", 2)):
        images, labels = splits[name].images, splits[name].labels
        errors = np.abs(images - expected).max(axis=(2, 3))
        assert (errors.min(axis=1) <= 1).all()
        found = errors.argmin(axis=1)
        assert np.bincount(found // 20).tolist() == [count] * 3
        np.testing.assert_array_equal(labels, np.array([2, 2, 0])[found // 20])  # Arcadian, Bengali, Cyrillic
        seen += found.tolist()
    assert sorted(seen) == list(range(60))


@pytest.mark.parametrize(("size", "ink", "paper"), [(28, 255, 0), (64, 0, 255)])
def test_ink_of_omniglot_is_white_on_black_at_28_pixels_and_black_on_white_at_64(
    size: Size, ink: int, paper: int, tmp_path: Path
) -> None:
    dataset = Omniglot(size=size)
    place(dataset, omniglot_files(), tmp_path)
    images = load_splits(dataset, {"size": size}, tmp_path)["test"].images
    row, column = 75 * size // 105, 20 * size // 105  # in the middle of the block of ink that all drawings have
    assert (images[:, :, row, column] == ink).all()
    assert (images[:, :, row, size - column] == paper).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(drawings("images_evaluation"))[:-10], "cannot read the list of drawings in .*: File is not a zip"),
        (b"<html>", "cannot read the list of drawings in .*: File is not a zip"),
        (b"", "cannot read the list of drawings in .*: File is not a zip"),
        (zipped({}), "does not hold drawings images_evaluation/ALPHABET/CHARACTER"),
        (zipped(drawings("images_background")), "does not hold drawings images_evaluation/ALPHABET/CHARACTER"),
        (zipped({"images_evaluation/Bengali/0001_01.png": b""}), "does not hold drawings"),
    ],
    ids=["truncated", "a web page", "empty", "without drawings", "the other part", "other folders"],
)
def test_a_damaged_archive_of_omniglot_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    dataset = Omniglot()
    place(dataset, {**omniglot_files(), "omniglot-images_evaluation.zip": content}, tmp_path)
    with pytest.raises(DataError, match=message + ".* Delete it to download it again"):
        load_splits(dataset, {}, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(drawing("", 1))[:-30], "cannot read {name} in .*: image file is truncated"),
        (png(drawing("", 1)).replace(b"IDAT", b"IDAT\xff\xff\xff"), "cannot read {name} in .*: "),
        (b"<html>", "cannot read {name} in .*: cannot identify image file"),
        (png(drawing("", 1)[1:]), "{name} has 105×104 pixels, not 105×105"),
    ],
    ids=["truncated", "corrupt", "a web page", "a row less"],
)
def test_a_damaged_drawing_of_omniglot_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    name = "images_evaluation/Bengali/character01/0001_07.png"
    files = zipped({**drawings("images_evaluation"), name: content})
    dataset = Omniglot()
    place(dataset, {**omniglot_files(), "omniglot-images_evaluation.zip": files}, tmp_path)
    with pytest.raises(DataError, match=message.format(name=name) + ".* Delete it to download it again"):
        load_splits(dataset, {}, tmp_path)
