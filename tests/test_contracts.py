"""Every registered method and dataset fulfils its contract: one test each, not a file a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.check import check_method
from bench.identity import Budget
from bench.options import defaults, fits, options_of
from bench.registry import UnknownNameError, all_datasets, all_methods, find_dataset, find_method
from bench.supplies import DataFolder
from bench.training import EarlyStopping, Watch
from datasets.base import SPLITS, ImageDataset, PairDataset
from datasets.cache import load_pair, load_splits
from methods.base import Autoencoder

# Options under which a dataset is small enough to build in a test.
SMALL: dict[str, dict[str, Any]] = {
    "solids": {"size": 32, "train": 200, "validation": 20, "test": 50},
    "sprites": {"size": 32, "train": 200, "validation": 20, "test": 50},
    "domain-adaptation": {"steps": 50},
    "latent": {"images": "digits", "latent_dim": 3, "width": 4, "steps": 20},
    "unpaired-images": {"size": 16, "augment": False},
}
# Made from files that are not at hand; their own tests write small ones of the same format.
ELSEWHERE = {name for name, cls in all_datasets().items() if cls.files} | {"w2-benchmark", "image-folder"}

AUTOENCODERS = [name for name, cls in all_methods().items() if issubclass(cls, Autoencoder) and cls.trains]
IMAGES = [name for name, cls in all_datasets().items() if issubclass(cls, ImageDataset) and name not in ELSEWHERE]
PAIRS = [name for name, cls in all_datasets().items() if issubclass(cls, PairDataset) and name not in ELSEWHERE]


def small_pair(name: str, data_folder: Path) -> PairDataset:
    cls = find_dataset(name)
    options = {**defaults(options_of(cls)), **SMALL.get(name, {})}
    dataset = cls(**options)
    assert isinstance(dataset, PairDataset)
    load_pair(dataset, options, data_folder, DataFolder(data_folder))
    return dataset


@pytest.mark.parametrize("name", all_methods())
def test_method_fulfils_its_contract(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With narrow networks where the method has a width, which takes half the time."""
    cls = find_method(name)
    if "width" in options_of(cls):
        monkeypatch.setattr(cls, "check_params", {"width": 8, **cls.check_params})
    failed = [f"{verdict.clause}: {verdict.detail}" for verdict in check_method(name) if verdict.passed is False]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("name", [name for name in AUTOENCODERS if name != "geco"])  # its objective changes
def test_the_validation_loss_of_an_autoencoder_is_one_number_and_changes_nothing(name: str) -> None:
    cls = find_method(name)
    torch.manual_seed(0)
    method: Any = cls((1, 8, 8), latent_dim=4, **cls.check_params)
    method.steps_per_epoch, method.planned_steps = 2, 10
    method.train().train_step(torch.rand(8, 1, 8, 8))
    images = np.random.default_rng(0).integers(256, size=(16, 1, 8, 8), dtype=np.uint8)
    watch = Watch(lambda *_: None)
    early = EarlyStopping(watch, method, images, Budget(10, None, 8, 2), torch.device("cpu"), seed=0)
    state = {key: value.clone() for key, value in method.state_dict().items()}
    generator = torch.get_rng_state()
    first, second = early.validation_loss(1), early.validation_loss(1)
    assert first.shape == ()
    assert first.isfinite()
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, state[key]) for key, value in method.state_dict().items())


@pytest.mark.parametrize("name", all_datasets())
def test_dataset_says_what_it_is(name: str) -> None:
    cls = find_dataset(name)
    for attribute in ("summary", "license", "citation"):
        assert getattr(cls, attribute), f"{attribute} is empty"
    for option in options_of(cls).values():
        assert fits(option.default, option.type), option.name


@pytest.mark.parametrize("name", IMAGES)
def test_images_come_in_the_stated_shape_with_labels_and_factors_in_range(name: str, data_folder: Path) -> None:
    cls = find_dataset(name)
    options = {**defaults(options_of(cls)), **SMALL.get(name, {})}
    dataset = cls(**options)
    assert isinstance(dataset, ImageDataset)
    splits = load_splits(dataset, options, data_folder)
    assert set(splits) == set(SPLITS)
    for split in splits.values():
        assert split.images.dtype == np.uint8
        assert split.images.shape[1:] == dataset.image_shape
        assert split.images.max() > 128
        assert (split.labels is not None) == (dataset.num_classes > 0)
        assert (split.factors is not None) == bool(dataset.factors)
        if split.labels is not None:
            assert split.labels.shape == (len(split.images),)
            assert 0 <= split.labels.min() <= split.labels.max() < dataset.num_classes
        if split.factors is not None:
            assert split.factors.shape == (len(split.images), len(dataset.factors))
            assert (split.factors >= 0).all()
            assert (split.factors < [factor.size for factor in dataset.factors]).all()


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_sample_from_the_given_generator_with_the_stated_variance(name: str, data_folder: Path) -> None:
    dataset = small_pair(name, data_folder)
    for draw, variance in ((dataset.source, dataset.source_variance), (dataset.target, dataset.target_variance)):
        torch.manual_seed(0)
        points = draw(20_000, torch.Generator().manual_seed(3))
        torch.manual_seed(1)
        assert torch.equal(points, draw(20_000, torch.Generator().manual_seed(3)))
        assert points.shape == (20_000, dataset.dim)
        assert points.dtype == torch.float32
        assert points.var(dim=0).sum().item() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("name", [n for n in PAIRS if find_dataset(n).has_true_map])
def test_the_true_map_carries_source_to_target(name: str, data_folder: Path) -> None:
    dataset = small_pair(name, data_folder)
    points = dataset.source(20_000, torch.Generator().manual_seed(0))
    pushed = dataset.true_map(points)
    assert pushed.var(dim=0).sum().item() == pytest.approx(dataset.target_variance, rel=0.05)


def test_a_method_outside_the_repository_is_named_by_module_and_class() -> None:
    assert find_method("tests.faulty:Shift").name == "shift"
    for wrong in ("tests.faulty:Absent", "tests.absent:Shift", "tests.faulty:os", "w2gm"):
        with pytest.raises(UnknownNameError, match=wrong.split(":")[-1]):
            find_method(wrong)


def test_the_contract_check_fails_methods_that_break_it() -> None:
    failed = {
        name: [verdict.clause for verdict in check_method(f"tests.faulty:{name}") if verdict.passed is False]
        for name in ("Shift", "TurnsNaN", "Raises", "Forgets", "Misjudges", "Iterates")
    }
    assert failed == {
        "Shift": [],
        "TurnsNaN": ["trains with finite losses"],
        "Raises": ["trains with finite losses"],
        "Forgets": ["state saved and loaded"],
        "Misjudges": ["what not every method gives"],
        "Iterates": ["goes on from a checkpoint"],
    }
