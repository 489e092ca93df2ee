"""dSprites, MPI3D and 3D Cars from small files in their authors' formats."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from datasets.base import SPLITS, DataError, Factor, ImageSplit
from datasets.cache import load_splits
from datasets.images.cars3d import Cars3D
from datasets.images.dsprites import DSprites
from datasets.images.factor_grid import FactorGrid
from datasets.images.mpi3d import Mpi3D, Variant
from datasets.images.shapes3d import Shapes3D
from datasets.images.sprites import FACTORS as SPRITES_FACTORS
from tests.small_downloads import factors_of, flipped, place


@pytest.mark.parametrize(
    ("cls", "count", "with_all"),
    [
        (DSprites, 737_280, 884_736),
        (Shapes3D, 480_000, 576_000),
        (Mpi3D, 1_036_800, 1_244_160),
        (Cars3D, 17_568, 21_082),
    ],
)
def test_a_grid_has_an_image_for_each_combination(cls: type[FactorGrid], count: int, with_all: int) -> None:
    assert np.prod([factor.size for factor in cls.factors]) == count
    assert cls().num_images == count
    assert cls(train_on_all=True).num_images == with_all, "validation and test are there twice"


# dSprites and MPI3D

SHAPES, SCALES, TURNS = 2, 3, 5
COUNT = SHAPES * SCALES * TURNS
CLASSES = np.array(list(product([0], range(SHAPES), range(SCALES), range(TURNS))))


def bits() -> np.ndarray:
    """uint8 [30, 64, 64] of 0 and 1: the first row of image n begins with n in binary and ends with 1."""
    images = np.zeros((COUNT, 64, 64), np.uint8)
    images[:, 0, :8] = np.unpackbits(np.arange(COUNT, dtype=np.uint8)[:, None], axis=1)
    images[:, 0, 63] = 1
    return images


def npz(arrays: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def zipped(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version)
    return stream.getvalue()


def dsprites_file(**changed: Any) -> bytes:
    return npz({"metadata": np.array({"version": 1}), "imgs": bits(), "latents_classes": CLASSES} | changed)


def small_dsprites(content: bytes, root: Path, **options: Any) -> dict[str, ImageSplit]:
    dataset = DSprites(**options)
    dataset.factors = (Factor("shape", SHAPES), Factor("scale", SCALES), Factor("orientation", TURNS))
    place(dataset, {"dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz": content}, root)
    return load_splits(dataset, options, root)


def numbers_of(split: ImageSplit) -> np.ndarray:
    """What tells an image of dSprites, read from its pixels."""
    assert split.images.dtype == np.uint8
    assert np.isin(split.images, (0, 255)).all()
    assert (split.images[:, 0, 0, 63] == 255).all()
    return np.packbits(split.images[:, 0, 0, :8] == 255, axis=1)[:, 0].astype(int)


def test_dsprites_has_the_factors_of_our_sprites() -> None:
    assert DSprites.factors == SPRITES_FACTORS


@pytest.mark.parametrize("block", [7, 4096])
def test_every_image_of_dsprites_is_in_one_split_with_its_factors(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.images.dsprites.BLOCK", block)
    splits = small_dsprites(dsprites_file(), tmp_path)
    assert {name: split.images.shape for name, split in splits.items()} == {
        "train": (24, 1, 64, 64),
        "validation": (3, 1, 64, 64),
        "test": (3, 1, 64, 64),
    }
    seen = np.concatenate([numbers_of(splits[name]) for name in SPLITS])
    assert sorted(seen) == list(range(COUNT))
    assert seen.tolist() != sorted(seen)
    np.testing.assert_array_equal(np.concatenate([factors_of(splits[name]) for name in SPLITS]), CLASSES[seen, 1:])


def test_training_on_all_of_dsprites_leaves_validation_and_test_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "all").mkdir()
    some = small_dsprites(dsprites_file(), tmp_path / "some")
    everything = small_dsprites(dsprites_file(), tmp_path / "all", train_on_all=True)
    for name in ("validation", "test"):
        np.testing.assert_array_equal(everything[name].images, some[name].images)
        np.testing.assert_array_equal(factors_of(everything[name]), factors_of(some[name]))
    numbers = numbers_of(everything["train"])
    assert sorted(numbers) == list(range(COUNT))
    np.testing.assert_array_equal(numbers[:24], numbers_of(some["train"]))
    np.testing.assert_array_equal(factors_of(everything["train"]), CLASSES[numbers, 1:])


class Payload:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["metadata", "imgs", "latents_classes"])
def test_pickles_in_dsprites_are_not_loaded(name: str, tmp_path: Path) -> None:
    """The authors' own file has a pickled array: its metadata."""
    content = dsprites_file(**{name: np.array(Payload(tmp_path / "unpickled"))})
    if name == "metadata":
        small_dsprites(content, tmp_path)
    else:
        with pytest.raises(DataError, match=rf"holds {name} \(\) of object in C order, not \(30,"):
            small_dsprites(content, tmp_path)
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (dsprites_file()[:-100], "cannot read latents_classes in .*: File is not a zip file"),
        (b"<html>", "cannot read latents_classes in .*: File is not a zip file"),
        (npz({"imgs": bits()}), "cannot read latents_classes in .*: .*There is no item named 'latents_classes.npy'"),
        (
            zipped({"latents_classes.npy": b"<html><body>"}),
            "cannot read latents_classes in .*: the magic string is not correct",
        ),
        (
            flipped(zipped({"latents_classes.npy": npy(CLASSES), "imgs.npy": npy(bits())})),
            "cannot read imgs in .*: Bad CRC-32",
        ),
        (
            zipped({"latents_classes.npy": npy(CLASSES), "imgs.npy": npy(bits())[:-5000]}),
            "cannot read imgs in .*: it ends in row 28 of 30",
        ),
        (
            zipped({"latents_classes.npy": npy(CLASSES), "imgs.npy": npy(bits()) + b"\0"}),
            "cannot read imgs in .*: it goes on after its 30 rows",
        ),
        (zipped({"latents_classes.npy": npy(CLASSES, (2, 0))}), r"version \(2, 0\) of the .npy format"),
        (dsprites_file(imgs=bits()[1:]), r"holds imgs \(29, 64, 64\) of uint8 in C order, not \(30, 64, 64\) of uint8"),
        (dsprites_file(imgs=bits().astype(bool)), r"holds imgs \(30, 64, 64\) of bool"),
        (dsprites_file(imgs=np.asfortranarray(bits())), "of uint8 in Fortran order, not"),
        (dsprites_file(imgs=bits() * 255), "has a pixel 255, not 0 or 1"),
        (dsprites_file(latents_classes=CLASSES[:, 1:]), r"holds latents_classes \(30, 3\) of int64"),
        (
            dsprites_file(latents_classes=np.repeat(CLASSES[::2], 2, axis=0)),
            "does not hold the 30 combinations of 2 × 3 × 5 factors",
        ),
    ],
)
def test_a_damaged_file_of_dsprites_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message + ".* Delete it to download it again"):
        small_dsprites(content, tmp_path)


def small_mpi3d(content: bytes, root: Path) -> dict[str, ImageSplit]:
    dataset = Mpi3D(variant="real")
    dataset.factors = (Factor("object color", 2), Factor("camera height", 3), Factor("vertical axis", 5))
    place(dataset, {"mpi3d_real.npz": content}, root)
    return load_splits(dataset, {"variant": "real"}, root)


def arms() -> np.ndarray:
    """uint8 [30, 64, 64, 3], of one color each that tells its number, but for a corner that tells up from left."""
    images = np.empty((30, 64, 64, 3), np.uint8)
    images[:] = np.arange(30)[:, None, None, None] + np.array([0, 100, 200])
    images[:, :10, :20] = 255
    return images


def test_a_variant_of_mpi3d_needs_its_own_file() -> None:
    for variant in get_args(Variant):
        assert [file.name for file in Mpi3D(variant=variant).files] == [f"mpi3d_{variant}.npz"]
    assert len({file.md5 for file in Mpi3D.files}) == 3


@pytest.mark.parametrize("block", [7, 4096])
def test_factors_of_mpi3d_follow_from_the_order_of_its_images(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.images.mpi3d.BLOCK", block)
    splits = small_mpi3d(zipped({"images.npy": npy(arms())}), tmp_path)
    assert [len(splits[name].images) for name in SPLITS] == [24, 3, 3]
    images = np.concatenate([splits[name].images for name in SPLITS])
    numbers = images[:, 0, 63, 63].astype(int)
    assert sorted(numbers) == list(range(30))
    np.testing.assert_array_equal(images, arms()[numbers].transpose(0, 3, 1, 2))
    combinations = np.array(list(product(range(2), range(3), range(5))))
    np.testing.assert_array_equal(np.concatenate([factors_of(splits[name]) for name in SPLITS]), combinations[numbers])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!doctype html>", "cannot read images in .*: File is not a zip file"),
        (zipped({"images.npy": npy(arms())[:-1]}), "cannot read images in .*: it ends in row 29 of 30"),
        (flipped(zipped({"images.npy": npy(arms())})), "cannot read images in .*: Bad CRC-32"),
        (npz({"images": arms()[..., 0]}), r"holds images \(30, 64, 64\) of uint8"),
        (npz({"images": arms().astype(np.float32)}), r"holds images \(30, 64, 64, 3\) of float32"),
    ],
)
def test_a_damaged_file_of_mpi3d_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message + ".* Delete it to download it again"):
        small_mpi3d(content, tmp_path)


# 3D Cars

ELEVATIONS, AZIMUTHS = 2, 3
CARS = ("car_001_mesh", "car_003_mesh", "car_120_mesh")


def car(number: int) -> np.ndarray:
    """uint8 [128, 128, 3, 3, 2]: red tells the car, green the azimuth, blue the elevation; the upper left is white."""
    images = np.empty((128, 128, 3, AZIMUTHS, ELEVATIONS), np.uint8)
    images[:, :, 0], images[:, :, 1] = 50 * number, 50 * np.arange(AZIMUTHS)[:, None]
    images[:, :, 2] = 50 * np.arange(ELEVATIONS)
    images[:20, :40] = 255
    return images


def mat(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    savemat(stream, arrays, do_compression=True)
    return stream.getvalue()


def cars_archive(changed: Mapping[str, bytes]) -> bytes:
    """The authors' archive, with what else is in it, and cars out of order."""
    members = {"data/sprites/sprites_1.mat": b"", "data/shapes48.mat": b"", "data/cars/list.txt": b"car_001_mesh\n"}
    for number in (2, 0, 1):
        members[f"data/cars/{CARS[number]}.mat"] = mat(im=car(number), mask=np.zeros((2, 2), np.uint8))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in (members | changed).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def small_cars(content: bytes, root: Path) -> dict[str, ImageSplit]:
    dataset = Cars3D()
    dataset.factors = (
        Factor("elevation", ELEVATIONS),
        Factor("azimuth", AZIMUTHS),
        Factor("object type", len(CARS)),
    )
    place(dataset, {"nips2015-analogy-data.tar.gz": content}, root)
    return load_splits(dataset, {}, root)


def test_cars3d_numbers_cars_by_name_and_their_views_by_elevation_and_azimuth(tmp_path: Path) -> None:
    splits = small_cars(cars_archive({}), tmp_path)
    assert [len(splits[name].images) for name in SPLITS] == [14, 2, 2]
    images = np.concatenate([splits[name].images for name in SPLITS])
    factors = np.concatenate([factors_of(splits[name]) for name in SPLITS])
    assert (images.dtype, images.shape) == (np.uint8, (18, 3, 64, 64))
    assert len(np.unique(factors, axis=0)) == 18
    np.testing.assert_array_equal(images[:, :, 63, 63], 50 * factors[:, [2, 1, 0]])


def test_cars3d_is_scaled_by_lanczos_filter_and_upright(tmp_path: Path) -> None:
    images = small_cars(cars_archive({}), tmp_path)["train"].images
    for image in images:
        large = np.broadcast_to(image[:, -1, -1], (128, 128, 3)).copy()
        large[:20, :40] = 255
        thumbnail = Image.fromarray(large)
        thumbnail.thumbnail((64, 64), Image.Resampling.LANCZOS)  # as in disentanglement_lib
        np.testing.assert_array_equal(image.transpose(1, 2, 0), np.asarray(thumbnail))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (cars_archive({})[:-500], "cannot read .*: Compressed file ended"),
        (b"<html>", "cannot read .*: not a gzip file"),
        (b"", "cannot read .*: empty file"),
        (gzip.compress(b"<html>" * 200), "cannot read .*: invalid header"),
        (cars_archive({"data/cars/car_004_mesh.mat": mat(im=car(0))}), "holds 4 cars, not 3"),
        (
            cars_archive({"data/cars/car_003_mesh.mat": b"<html>" * 50}),
            "cannot read .*car_003_mesh.mat in .*: Unknown mat file",
        ),
        (
            cars_archive({"data/cars/car_003_mesh.mat": mat(im=car(1))[:-40]}),
            "cannot read data/cars/car_003_mesh.mat in .*: could not read bytes",
        ),
        (
            cars_archive({"data/cars/car_003_mesh.mat": flipped(mat(im=car(1)))}),
            "cannot read data/cars/car_003_mesh.mat in .*: Error -3 while decompressing",
        ),
        (
            cars_archive({"data/cars/car_003_mesh.mat": mat(mask=car(1))}),
            "cannot read data/cars/car_003_mesh.mat in .*: 'im'",
        ),
        (
            cars_archive({"data/cars/car_003_mesh.mat": mat(im=car(1)[..., :1])}),
            r"car_003_mesh.mat holds images \(128, 128, 3, 3, 1\) of uint8, not \(128, 128, 3, 3, 2\) of uint8",
        ),
        (cars_archive({"data/cars/car_003_mesh.mat": mat(im=car(1) / 255)}), "holds images .* of float64, not"),
    ],
)
def test_a_damaged_archive_of_cars_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message + ".* Delete it to download it again"):
        small_cars(content, tmp_path)
