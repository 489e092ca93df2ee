from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.options import defaults, fits, options_of
from bench.registry import all_datasets
from datasets.base import Dataset, ImageDataset, ImageSplit
from datasets.cache import array_sha256, load_splits
from datasets.images.digits import Digits
from datasets.images.image_folder import ImageFolder
from datasets.images.mnist_5k import Mnist5k
from datasets.images.solids import Solids
from datasets.images.splits import stratified_split
from datasets.images.sprites import Sprites

FEW = {"train": 3000, "validation": 200, "test": 500}

IMAGE_SETS: list[tuple[type[ImageDataset], dict[str, Any]]] = [
    (Digits, {}),
    (Mnist5k, {"size": 28}),
    (Mnist5k, {"size": 32}),
    (Solids, {"size": 32, **FEW}),
    (Solids, {"size": 64, **FEW}),
    (Sprites, {"size": 32, **FEW}),
    (Sprites, {"size": 64, **FEW}),
]

GOLDEN = {
    ("digits", 8, "train"): ("00a95fed8b5a", "7db0f2a70e28"),
    ("digits", 8, "validation"): ("a61677b71845", "dda1c846b0ff"),
    ("digits", 8, "test"): ("52d8afaa03a3", "32b9b969ca6e"),
    ("mnist-5k", 28, "train"): ("dd7b002b58e2", "c7dfd31513b9"),
    ("mnist-5k", 28, "validation"): ("254088f6d306", "e27cabb53aa5"),
    ("mnist-5k", 28, "test"): ("15781b75cabf", "0240f1ffdfe3"),
    ("mnist-5k", 32, "train"): ("29e1e3fa9c50", "c7dfd31513b9"),
    ("mnist-5k", 32, "validation"): ("b8d75d872b80", "e27cabb53aa5"),
    ("mnist-5k", 32, "test"): ("e0a4f015c6e7", "0240f1ffdfe3"),
    ("solids", 32, "train"): ("d771d5dafa0b", "477e6ae36647"),
    ("solids", 32, "validation"): ("86de1b156a36", "23ba8f24e104"),
    ("solids", 32, "test"): ("72fae4fd9a74", "87ddfd5f64eb"),
    ("solids", 64, "train"): ("6030600c96d1", "477e6ae36647"),
    ("solids", 64, "validation"): ("8a0eb758ec9d", "23ba8f24e104"),
    ("solids", 64, "test"): ("7eb6ad593aa5", "87ddfd5f64eb"),
    ("sprites", 32, "train"): ("815d87995444", "54764d14c9fc"),
    ("sprites", 32, "validation"): ("cc44176e5815", "e894c29de04e"),
    ("sprites", 32, "test"): ("bee6983df632", "cd5a135cde44"),
    ("sprites", 64, "train"): ("780cd2706935", "54764d14c9fc"),
    ("sprites", 64, "validation"): ("f8b3fc794711", "e894c29de04e"),
    ("sprites", 64, "test"): ("e398eb466ea3", "cd5a135cde44"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(params=IMAGE_SETS, ids=lambda pair: f"{pair[0].name}-{pair[0](**pair[1]).image_shape[1]}")
def built(request: pytest.FixtureRequest, root: Path) -> tuple[ImageDataset, dict[str, ImageSplit]]:
    cls, options = request.param
    dataset = cls(**options)
    return dataset, load_splits(dataset, options, root)


@pytest.mark.parametrize("cls", all_datasets().values(), ids=lambda cls: cls.name)
def test_every_dataset_says_what_and_whose_it_is(cls: type[Dataset]) -> None:
    assert cls.__doc__
    for text in (cls.name, cls.summary, cls.license, cls.citation):
        assert text.strip()
    assert cls.url.startswith("https://") or not cls.url
    assert cls.name == cls.name.lower().replace("_", "-")
    for option in options_of(cls).values():
        assert fits(option.default, option.type), f"{cls.name}: default of {option.name}"


def test_every_image_dataset_made_from_nothing_is_tested_here() -> None:
    registered = {cls for cls in all_datasets().values() if issubclass(cls, ImageDataset) and not cls.files}
    assert {cls for cls, _ in IMAGE_SETS} == registered - {ImageFolder}


@pytest.mark.parametrize("cls", {cls: None for cls, _ in IMAGE_SETS}, ids=lambda cls: cls.name)
def test_defaults_construct_without_touching_data(
    cls: type[ImageDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    dataset = cls(**defaults(options_of(cls)))
    assert len(dataset.image_shape) == 3
    assert dataset.num_classes or dataset.factors
    assert not (tmp_path / "data").exists()


def test_arrays_are_as_declared(built: tuple[ImageDataset, dict[str, ImageSplit]]) -> None:
    dataset, splits = built
    assert list(splits) == ["train", "validation", "test"]
    for split in splits.values():
        count = len(split.images)
        assert split.images.shape == (count, *dataset.image_shape)
        assert split.images.dtype == np.uint8
        assert (split.images.min(), split.images.max()) == (0, 255)
        if dataset.num_classes:
            assert split.labels is not None
            assert split.labels.dtype == np.int64
            assert np.array_equal(np.unique(split.labels), np.arange(dataset.num_classes))
            assert split.labels.shape == (count,)
        else:
            assert split.labels is None
        if dataset.factors:
            assert split.factors is not None
            assert split.factors.dtype == np.int64
            assert split.factors.shape == (count, len(dataset.factors))
            assert (split.factors.min(axis=0) == 0).all()
            assert (split.factors.max(axis=0) + 1 == [factor.size for factor in dataset.factors]).all()
        else:
            assert split.factors is None


def test_no_image_is_in_two_splits(built: tuple[ImageDataset, dict[str, ImageSplit]]) -> None:
    dataset, splits = built
    keys: dict[str, set[bytes]] = {}
    for name, split in splits.items():
        rows = split.images if split.factors is None else split.factors
        keys[name] = {row.tobytes() for row in rows}
        assert len(keys[name]) == len(rows), f"{dataset.name}: {name} repeats an image"
    assert not keys["train"] & keys["validation"]
    assert not keys["train"] & keys["test"]
    assert not keys["validation"] & keys["test"]


def test_splits_are_fixed(built: tuple[ImageDataset, dict[str, ImageSplit]]) -> None:
    """Content that changes needs a new `version`, or old results would pass for results on the new content."""
    dataset, splits = built
    for name, split in splits.items():
        truth = split.factors if split.labels is None else split.labels
        assert truth is not None
        found = (array_sha256(split.images)[:12], array_sha256(truth)[:12])
        assert found == GOLDEN[dataset.name, dataset.image_shape[1], name]


def test_mnist_5k_has_350_50_and_100_digits_of_each_class(root: Path) -> None:
    splits = load_splits(Mnist5k(), {"size": 28}, root)
    for name, count in (("train", 350), ("validation", 50), ("test", 100)):
        labels = splits[name].labels
        assert labels is not None
        assert np.bincount(labels).tolist() == [count] * 10


def test_mnist_5k_at_32_is_28_with_two_black_pixels_around(root: Path) -> None:
    for name, split in load_splits(Mnist5k(size=32), {"size": 32}, root).items():
        native = load_splits(Mnist5k(), {"size": 28}, root)[name].images
        np.testing.assert_array_equal(split.images[:, :, 2:-2, 2:-2], native)
        assert split.images.sum(dtype=np.int64) == native.sum(dtype=np.int64)


def test_mnist_5k_is_mnist(root: Path) -> None:
    """Mean 0.1307 and standard deviation 0.3081 are those of the full training set."""
    splits = load_splits(Mnist5k(), {"size": 28}, root)
    pixels = np.concatenate([split.images for split in splits.values()]) / 255
    assert pixels.mean() == pytest.approx(0.1307, abs=0.002)
    assert pixels.std() == pytest.approx(0.3081, abs=0.002)


def test_digits_are_scikit_learns_with_16_as_255(root: Path) -> None:
    from sklearn.datasets import load_digits

    splits = load_splits(Digits(), {}, root)
    images = np.concatenate([split.images for split in splits.values()])
    assert np.unique(images).tolist() == [round(level * 255 / 16) for level in range(17)]
    assert sorted(row.tobytes() for row in np.rint(images / 255 * 16).astype(np.uint8)) == sorted(
        row.tobytes() for row in load_digits().images.astype(np.uint8)
    )


@pytest.mark.parametrize("name", ["train", "validation", "test"])
@pytest.mark.parametrize("dataset", [Mnist5k(), Digits()], ids=lambda dataset: dataset.name)
def test_the_first_items_of_a_split_are_a_fair_sample(dataset: ImageDataset, name: str, root: Path) -> None:
    options = {"size": 28} if dataset.name == "mnist-5k" else {}
    labels = load_splits(dataset, options, root)[name].labels
    assert labels is not None
    # 100 draws miss 10 of a class by 3 standard deviations about once in 400.
    assert (np.abs(np.bincount(labels[:100], minlength=10) - 10) <= 9).all()


def test_a_stratified_split_holds_every_item_once_and_each_class_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 14])
    split = stratified_split(labels)
    assert sorted(np.concatenate(list(split.values())).tolist()) == list(range(164))
    assert {name: np.bincount(labels[chosen]).tolist() for name, chosen in split.items()} == {
        "train": [70, 35, 10],
        "validation": [10, 5, 1],
        "test": [20, 10, 3],
    }


def test_a_stratified_split_depends_on_its_seed_alone() -> None:
    labels = np.repeat(np.arange(10), 20)
    np.testing.assert_array_equal(stratified_split(labels)["train"], stratified_split(labels)["train"])
    assert not np.array_equal(stratified_split(labels)["test"], stratified_split(labels, seed=1)["test"])
