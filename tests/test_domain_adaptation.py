"""Domain adaptation: features of two sets of digits under a classifier of the second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from bench.options import defaults, options_of
from bench.supplies import DataFolder
from datasets.base import SPLITS, DataError, ImageSplit, Supplies
from datasets.cache import load_pair
from datasets.pairs.domain_adaptation import DomainAdaptation, LeNet

STEPS = 100


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Bars:
    """Supplies of two sets: "bars", in one of two places, and "thick-bars", of another size and color."""

    def images(self, dataset: str, options: Mapping[str, Any]) -> Mapping[str, ImageSplit]:
        assert options == {}
        random = np.random.RandomState(0)
        splits = {}
        for split, count in zip(SPLITS, (200, 20, 60), strict=True):
            labels = np.arange(count) % 2
            side, channels = {"bars": (28, 1), "thick-bars": (14, 3), "no-labels": (28, 1)}[dataset]
            images = random.randint(0, 100, size=(count, channels, side, side)).astype(np.uint8)
            images[labels == 0, :, :, side // 4 : side // 2] = 200
            images[labels == 1, :, side // 2 : 3 * side // 4] = 200
            splits[split] = ImageSplit(images, None if dataset == "no-labels" else labels.astype(np.int64))
        return splits


BARS = cast(Supplies, Bars())  # the pair asks for nothing else


@pytest.fixture(scope="module")
def bars() -> DomainAdaptation:
    pair = DomainAdaptation(source="thick-bars", target="bars", steps=STEPS)
    pair.load(pair.build(BARS))
    return pair


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> DomainAdaptation:
    root = tmp_path_factory.mktemp("data")
    pair = DomainAdaptation(steps=STEPS)
    load_pair(pair, {**defaults(options_of(DomainAdaptation)), "steps": STEPS}, root, DataFolder(root))
    return pair


@pytest.mark.parametrize("side", ["source", "target"])
def test_draws_are_features_from_the_generator_alone(bars: DomainAdaptation, side: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    points = getattr(bars, side)(300, generator(), "test")
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(points, getattr(bars, side)(300, generator(), "test"))
    assert not torch.equal(points, getattr(bars, side)(300, generator(1), "test"))
    assert (points.shape, points.dtype) == ((300, 84), torch.float32)
    rows = {row.tobytes() for row in np.asarray(bars.arrays[f"{side}-test"])}
    assert {row.tobytes() for row in points.numpy()} <= rows


def test_splits_keep_their_labels_in_order(bars: DomainAdaptation) -> None:
    for labeled in (bars.labeled_source, bars.labeled_target):
        for split, count in zip(SPLITS, (200, 20, 60), strict=True):
            points, labels = labeled(split)
            assert (points.shape, points.dtype) == ((count, 84), torch.float32)
            assert labels.tolist() == [number % 2 for number in range(count)]


def test_stated_variances_are_those_of_the_training_features(bars: DomainAdaptation) -> None:
    for labeled, variance in [
        (bars.labeled_source, bars.source_variance),
        (bars.labeled_target, bars.target_variance),
    ]:
        points = labeled("train")[0].double()
        assert points.var(dim=0, correction=0).sum().item() == pytest.approx(variance, rel=1e-6)


def test_the_classifier_learns_the_target_and_sees_the_source_at_its_size(bars: DomainAdaptation) -> None:
    assert bars.classifier_accuracy == 1
    points, labels = bars.labeled_source("test")
    target_points, target_labels = bars.labeled_target("train")
    nearest = torch.cdist(points, target_points).argmin(dim=1)
    assert (target_labels[nearest] == labels).double().mean() > 0.9


def test_building_is_deterministic_and_leaves_torch_as_it_was(bars: DomainAdaptation) -> None:
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    again = DomainAdaptation(source="thick-bars", target="bars", steps=STEPS).build(BARS)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert set(again) == set(bars.arrays)
    for name, array in again.items():
        np.testing.assert_array_equal(array, bars.arrays[name])


def test_images_without_labels_are_refused() -> None:
    with pytest.raises(DataError, match="the images of no-labels have no labels; name a set that has"):
        DomainAdaptation(source="no-labels", target="bars").build(BARS)


def test_a_classifier_that_does_not_train_is_refused() -> None:
    with pytest.raises(ValueError, match="steps is 0; it must be at least 1"):
        DomainAdaptation(steps=0)


def test_lenet_is_the_one_of_the_authors() -> None:
    network = LeNet(10)
    assert [tuple(weight.shape) for weight in network.parameters() if weight.dim() > 1] == [
        (6, 1, 5, 5),
        (16, 6, 5, 5),
        (120, 256),
        (84, 120),
        (10, 84),
    ]
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_the_default_pair_is_of_real_digits(digits: DomainAdaptation) -> None:
    """Without a map the target's classes are found in the source far better than by chance, and far from always."""
    assert [len(digits.labeled_source(split)[1]) for split in SPLITS] == [1259, 179, 359]
    assert [len(digits.labeled_target(split)[1]) for split in SPLITS] == [3500, 500, 1000]
    assert digits.classifier_accuracy > 0.8
    target_points, target_labels = digits.labeled_target("train")
    points, labels = digits.labeled_source("test")
    found = target_labels[torch.cdist(points, target_points).argmin(dim=1)]
    assert 0.2 < (found == labels).double().mean() < 0.9


def test_features_are_made_anew_when_the_version_of_either_set_rises(tmp_path: Path) -> None:
    options: dict[str, Any] = {"source": "thick-bars", "target": "bars", "steps": 1}
    built = []

    class Versioned(Bars):
        def __init__(self, **versions: int) -> None:
            self.known = versions

        def versions(self, parts: Iterable[str]) -> Mapping[str, int]:
            return {name: self.known[name.replace("-", "_")] for name in parts}

        def images(self, dataset: str, options: Mapping[str, Any]) -> Mapping[str, ImageSplit]:
            built.append(dataset)
            return super().images(dataset, options)

    for supplies, times in [
        (Versioned(bars=1, thick_bars=1), 1),
        (Versioned(bars=1, thick_bars=1), 1),
        (Versioned(bars=2, thick_bars=1), 2),
        (Versioned(bars=2, thick_bars=2), 3),
    ]:
        load_pair(DomainAdaptation(**options), options, tmp_path, cast(Supplies, supplies))
        assert len(built) == 2 * times


def test_an_unknown_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no-such-set"):
        DomainAdaptation(source="no-such-set").build(DataFolder(tmp_path))
