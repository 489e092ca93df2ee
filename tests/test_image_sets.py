"""CIFAR-10, CelebA and 3D Shapes from small files in their authors' formats."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import h5py
import numpy as np
import pytest
from PIL import Image

from datasets.base import SPLITS, DataError, Factor, ImageDataset
from datasets.cache import load_splits
from datasets.images import scratch
from datasets.images.celeba import CelebA, Crop
from datasets.images.cifar10 import Cifar10
from datasets.images.scratch import disk_images
from datasets.images.shapes3d import Shapes3D
from tests.small_downloads import TEST, TRAIN, assert_split, place


@pytest.mark.parametrize("dataset", [Cifar10, CelebA, Shapes3D])
def test_files_are_pinned_by_sha256_and_size(dataset: type[ImageDataset]) -> None:
    for file in dataset.files:
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.size > 0
        assert file.url.startswith("https://")


# CIFAR-10


def photographs(labels: np.ndarray) -> np.ndarray:
    """uint8 [N, 3, 32, 32], no two alike."""
    images = np.random.RandomState(len(labels)).randint(0, 256, size=(len(labels), 3, 32, 32)).astype(np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    return images


def records(images: np.ndarray, labels: np.ndarray) -> bytes:
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))


def cifar_batches() -> dict[str, bytes]:
    images = photographs(TRAIN)
    batches = {
        f"data_batch_{number + 1}.bin": records(images[40 * number :][:40], TRAIN[40 * number :][:40])
        for number in range(5)
    }
    return {**batches, "test_batch.bin": records(photographs(TEST), TEST)}


def cifar_archive(batches: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_cifar_splits_hold_the_records(tmp_path: Path) -> None:
    dataset = Cifar10()
    place(dataset, {"cifar-10-binary.tar.gz": cifar_archive(cifar_batches())}, tmp_path)
    assert photographs(TEST).shape[1:] == dataset.image_shape
    assert_split(load_splits(dataset, {}, tmp_path), photographs(TRAIN), photographs(TEST))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (cifar_archive(cifar_batches())[:-2000], "cannot read .*: Compressed file ended"),
        (b"<html>", "cannot read .*: not a gzip file"),
        (b"", "cannot read .*: empty file"),
        (cifar_archive({}), "cannot read .*: .*data_batch_1.bin' not found"),
        (cifar_archive(cifar_batches() | {"data_batch_2.bin": bytes(3074)}), "data_batch_2.bin has 3,074 bytes"),
        (cifar_archive(cifar_batches() | {"data_batch_2.bin": b""}), "data_batch_2.bin has 0 bytes"),
        (cifar_archive(cifar_batches() | {"test_batch.bin": b"\x0a" + bytes(3072)}), "has a label 10, not 0 to 9"),
    ],
    ids=["truncated", "a web page", "empty", "without batches", "one byte more", "an empty batch", "another label"],
)
def test_a_damaged_cifar_archive_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    dataset = Cifar10()
    place(dataset, {"cifar-10-binary.tar.gz": content}, tmp_path)
    with pytest.raises(DataError, match=message + ".* Delete it to download it again"):
        load_splits(dataset, {}, tmp_path)


def test_a_folder_in_place_of_a_cifar_batch_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    dataset = Cifar10()
    place(dataset, {"cifar-10-binary.tar.gz": stream.getvalue()}, tmp_path)
    with pytest.raises(DataError, match=r"data_batch_1.bin has 0 bytes"):
        load_splits(dataset, {}, tmp_path)


# CelebA

PARTITION = {"000001.jpg": 0, "000002.jpg": 1, "000003.jpg": 0, "000004.jpg": 2, "000005.jpg": 0}


def face(number: int) -> Image.Image:
    """A photograph of 178×218 pixels whose red grows downwards, green to the right, and blue by its number."""
    rows, columns = np.mgrid[:218, :178]
    return Image.fromarray(np.stack([rows, columns, np.full_like(rows, 40 * number)], axis=2).astype(np.uint8))


def jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=100, subsampling=0)
    return stream.getvalue()


def celeba_zip(photos: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in photos.items():
            archive.writestr(f"img_align_celeba/{name}", content)
    return stream.getvalue()


def faces() -> dict[str, bytes]:
    return {name: jpeg(face(number)) for number, name in enumerate(PARTITION, start=1)}


def celeba_files() -> dict[str, bytes]:
    smiling = [1, -1, -1, 1, 1]
    attributes = "".join(f"{name} -1  {smile}\n" for name, smile in zip(PARTITION, smiling, strict=True))
    return {
        "img_align_celeba.zip": celeba_zip(faces()),
        "list_eval_partition.txt": "".join(f"{name} {part}\n" for name, part in PARTITION.items()).encode(),
        "list_attr_celeba.txt": f"5\nBald Smiling \n{attributes}".encode(),
    }


def test_celeba_splits_are_the_lists_and_in_its_order(tmp_path: Path) -> None:
    dataset = CelebA()
    place(dataset, celeba_files(), tmp_path)
    splits = load_splits(dataset, {}, tmp_path)
    numbers = {name: np.rint(split.images[:, 2].mean(axis=(1, 2)) / 40).tolist() for name, split in splits.items()}
    assert numbers == {"train": [1, 3, 5], "validation": [2], "test": [4]}
    for split in splits.values():
        assert (split.images.dtype, split.images.shape[1:]) == (np.uint8, dataset.image_shape)
        assert split.labels is None


@pytest.mark.parametrize("crop", get_args(Crop))
def test_celeba_is_cut_to_its_central_square_or_taken_whole(crop: Crop, tmp_path: Path) -> None:
    dataset = CelebA(crop=crop)
    place(dataset, celeba_files(), tmp_path)
    image = load_splits(dataset, {"crop": crop}, tmp_path)["test"].images[0]
    inside = slice(3, -3)  # filters are cut off at the border
    for grows, side in ((image[0].mean(axis=1), 218), (image[1].mean(axis=0), 178)):
        cut = side if crop == "none" else crop
        places = (side - cut) / 2 + (np.arange(64) + 0.5) * cut / 64 - 0.5  # of the pixels, in the photograph
        np.testing.assert_allclose(grows[inside], places[inside], atol=1)


@pytest.mark.parametrize(
    ("crop", "box", "resampling"),
    [
        (140, (19, 39, 159, 179), Image.Resampling.LANCZOS),
        (144, (17, 37, 161, 181), Image.Resampling.BILINEAR),
        (148, (15, 35, 163, 183), Image.Resampling.BILINEAR),
        ("none", (0, 0, 178, 218), Image.Resampling.BILINEAR),
    ],
)
def test_each_crop_of_celeba_is_scaled_by_its_papers_filter(
    crop: Crop, box: tuple[int, int, int, int], resampling: Image.Resampling, tmp_path: Path
) -> None:
    noise = jpeg(Image.fromarray(np.random.RandomState(0).randint(0, 256, (218, 178, 3)).astype(np.uint8)))
    dataset = CelebA(crop=crop)
    place(dataset, celeba_files() | {"img_align_celeba.zip": celeba_zip(faces() | {"000004.jpg": noise})}, tmp_path)
    image = load_splits(dataset, {"crop": crop}, tmp_path)["test"].images[0]
    with Image.open(io.BytesIO(noise)) as photo:
        expected = np.asarray(photo.crop(box).resize((64, 64), resampling))
    np.testing.assert_array_equal(image, expected.transpose(2, 0, 1))


def test_an_attribute_of_celeba_is_the_class(tmp_path: Path) -> None:
    dataset = CelebA(attribute="Smiling")
    assert (dataset.num_classes, CelebA().num_classes) == (2, 0)
    place(dataset, celeba_files(), tmp_path)
    splits = load_splits(dataset, {"attribute": "Smiling"}, tmp_path)
    labels = {name: split.labels for name, split in splits.items()}
    assert {name: None if label is None else label.tolist() for name, label in labels.items()} == {
        "train": [1, 0, 1],
        "validation": [0],
        "test": [1],
    }


def test_an_unknown_attribute_of_celeba_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    dataset = CelebA(attribute="Smilling")
    place(dataset, celeba_files(), tmp_path)
    with pytest.raises(DataError, match='has no attribute "Smilling", but Bald, Smiling'):
        load_splits(dataset, {}, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "img_align_celeba.zip",
            celeba_files()["img_align_celeba.zip"][:-10],
            "cannot read the list of photographs in .*: File is not a zip",
        ),
        ("img_align_celeba.zip", celeba_zip({}), "cannot read 000001.jpg in .*: .*There is no item named"),
        (
            "img_align_celeba.zip",
            celeba_zip(faces() | {"000003.jpg": faces()["000003.jpg"][:3000]}),
            "cannot read 000003.jpg in .*: image file is truncated",
        ),
        (
            "img_align_celeba.zip",
            celeba_zip(faces() | {"000003.jpg": b"import os"}),
            "cannot read 000003.jpg in .*: cannot identify image file",
        ),
        (
            "img_align_celeba.zip",
            celeba_zip(faces() | {"000004.jpg": jpeg(Image.new("RGB", (218, 178)))}),
            "000004.jpg has 218×178 pixels, not 178×218",
        ),
        ("list_eval_partition.txt", b"000001.jpg 0\n000002.jpg 1\n000003.jpg 3\n", "is no list of splits"),
        ("list_eval_partition.txt", b"000001.jpg 0\n000002.jpg 1\n000003", "is no list of splits"),
        ("list_eval_partition.txt", b"", "is no list of splits"),
        ("list_eval_partition.txt", b"\xff\xd8", "cannot read .*: 'ascii' codec"),
        (
            "list_attr_celeba.txt",
            celeba_files()["list_attr_celeba.txt"][:-20],
            "there must be 5 of a name and 2 values",
        ),
        ("list_attr_celeba.txt", b"1\nBald Smiling\n000001.jpg -1 2\n", "is damaged: .* -1 or 1"),
        ("list_attr_celeba.txt", b"1\nBald Smiling\n000001.jpg -1 1\n", "lacks 000002.jpg"),
        ("list_attr_celeba.txt", b"", 'no attribute "Smiling", but none: delete it to download it again'),
    ],
)
def test_damaged_celeba_files_are_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    dataset = CelebA(attribute="Smiling")
    place(dataset, celeba_files() | {name: content}, tmp_path)
    with pytest.raises(DataError, match=f"{message}.*"):
        load_splits(dataset, {}, tmp_path)


# 3D Shapes

FACTORS = (Factor("floor hue", 3), Factor("wall hue", 2), Factor("scale", 5))
VALUES = np.array(list(product([0.0, 0.1, 0.2], [0.0, 0.5], np.linspace(0.75, 1.25, 5))))
COUNT = len(VALUES)


def rooms() -> np.ndarray:
    """uint8 [30, 64, 64, 3], of one color each that tells its number, but for a corner that tells up from left."""
    images = np.empty((COUNT, 64, 64, 3), np.uint8)
    images[:] = np.arange(COUNT)[:, None, None, None] + np.array([0, 100, 200])
    images[:, :10, :20] = 255
    return images


def shapes_file(images: np.ndarray, values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("images", data=images, compression="gzip", chunks=(1, *images.shape[1:]))
        file.create_dataset("labels", data=values)
    return stream.getvalue()


def small_shapes(content: bytes, root: Path) -> Shapes3D:
    dataset = Shapes3D()
    dataset.factors = FACTORS
    place(dataset, {"3dshapes.h5": content}, root)
    return dataset


def test_shapes_have_six_factors_of_480_000_combinations() -> None:
    assert np.prod([factor.size for factor in Shapes3D.factors]) == 480_000
    assert len(Shapes3D.factors) == 6


@pytest.mark.parametrize("block", [7, 4096])
def test_every_shape_is_in_one_split_with_its_factors(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.images.shapes3d.BLOCK", block)
    splits = load_splits(small_shapes(shapes_file(rooms(), VALUES), tmp_path), {}, tmp_path)
    assert [len(splits[name].images) for name in SPLITS] == [24, 3, 3]
    seen = []
    for split in splits.values():
        assert split.factors is not None
        assert (split.images.dtype, split.factors.dtype) == (np.uint8, np.int64)
        numbers = split.images[:, 0, 63, 63].astype(int)
        np.testing.assert_array_equal(split.images, rooms()[numbers].transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(split.factors, np.stack(np.unravel_index(numbers, (3, 2, 5)), axis=1))
        seen += numbers.tolist()
    assert sorted(seen) == list(range(COUNT))
    assert seen != sorted(seen)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (shapes_file(rooms(), VALUES)[:-3000], "cannot read .*: .*truncated file"),
        (b"<html>", "cannot read .*: .*file signature not found"),
        (shapes_file(rooms()[:-1], VALUES), r"holds images \(29, 64, 64, 3\) of uint8, not \(30, 64, 64, 3\)"),
        (shapes_file(rooms().astype(np.int16), VALUES), "holds images .* of int16"),
        (shapes_file(rooms(), np.repeat(VALUES[::2], 2, axis=0)), "does not hold the 30 combinations of 3 × 2 × 5"),
        (shapes_file(rooms(), VALUES[:, :2]), "does not hold the 30 combinations"),
        (shapes_file(rooms(), VALUES[:, 0]), "does not hold the 30 combinations"),
    ],
    ids=["truncated", "a web page", "an image less", "other pixels", "repeated", "a factor less", "no table"],
)
def test_a_damaged_file_of_shapes_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message + ".* Delete it to download it again"):
        load_splits(small_shapes(content, tmp_path), {}, tmp_path)


def test_a_file_of_shapes_without_labels_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("images", data=rooms())
    with pytest.raises(DataError, match=r"cannot read .*labels.* Delete it"):
        load_splits(small_shapes(stream.getvalue(), tmp_path), {}, tmp_path)


# Images on disk


def test_images_on_disk_leave_no_file(tmp_path: Path) -> None:
    images = disk_images((2, 3, 4, 4), tmp_path)
    assert isinstance(images, np.memmap)
    images[1] = 7
    assert (images[0] == 0).all()
    assert (images[1] == 7).all()
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room_for_images_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**9))
    with pytest.raises(DataError, match=r"has room for 1.0 GB, 2.5 are needed. Set BENCH_DATA"):
        disk_images((100_000, 3, 64, 64), tmp_path)


def test_a_folder_that_is_not_there_holds_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot write in .*missing"):
        disk_images((1, 3, 64, 64), tmp_path / "missing")
