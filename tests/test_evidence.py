"""Arrays for metrics: each made once, the same whoever asks first and however much is asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench import evidence as evidence_module
from bench.evidence import ImageEvidence, PairEvidence, midpoints
from bench.metrics.base import Unmeasurable
from datasets.base import ImageSplit
from datasets.pairs.gaussians import Gaussians
from methods.base import Autoencoder
from methods.transport.constant import Constant

COUNT = 610
CPU = torch.device("cpu")


class Counting(Autoencoder):
    """Codes are the first pixels, decoding repeats them; counts the items that go through."""

    name = "counting"
    likelihood = "gaussian"

    def __init__(self) -> None:
        super().__init__((1, 4, 4), latent_dim=3)
        self.seen: Counter[str] = Counter()

    def encode(self, images: Tensor) -> Tensor:
        self.seen["encode"] += len(images)
        return images.flatten(1)[:, :3] - 0.5

    def draw_codes(self, images: Tensor) -> Tensor:
        return self.encode(images) + 0.1 * torch.randn(len(images), 3)

    def decode(self, codes: Tensor) -> Tensor:
        self.seen["decode"] += len(codes)
        return torch.sigmoid(codes.sum(dim=1)).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4)

    def sample_prior(self, count: int) -> Tensor:
        self.seen["sample_prior"] += count
        return torch.randn(count, 3)

    def rate_distortion(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.seen["rate_distortion"] += len(images)
        return images.flatten(1).mean(dim=1), 1 + images.flatten(1).mean(dim=1)


def split(count: int = COUNT, seed: int = 0) -> ImageSplit:
    rng = np.random.default_rng(seed)
    return ImageSplit(rng.integers(0, 256, (count, 1, 4, 4), dtype=np.uint8), labels=rng.integers(0, 3, count))


def make(tmp_path: Path, seed: int = 0) -> ImageEvidence:
    return ImageEvidence(
        Counting(),
        split(),
        CPU,
        {"seed": seed, "dataset": "made-up", "split": "test"},
        train=split(700, seed=1),
        find_images=lambda name: ImageSplit(np.full((90, 3, 8, 8), 200, dtype=np.uint8)),
        cache=tmp_path,
    )


RANDOM = ("samples", "prior_codes", "drawn_codes", "interpolations")


@pytest.mark.parametrize("name", [*RANDOM, "images", "codes", "reconstructions", "labels"])
def test_fewer_items_are_the_first_of_more(tmp_path: Path, name: str) -> None:
    few, more = make(tmp_path).get(name, 100), make(tmp_path).get(name, 600)
    grown = make(tmp_path)
    assert len(grown.get(name, 100)) == 100
    np.testing.assert_array_equal(few, more[:100])
    np.testing.assert_array_equal(grown.get(name, 600), more)


@pytest.mark.parametrize("name", RANDOM)
def test_what_was_asked_before_does_not_matter(tmp_path: Path, name: str) -> None:
    alone, later = make(tmp_path), make(tmp_path)
    for other in ("codes", "samples", "drawn_codes", "prior_codes"):
        later.get(other, 300)
    np.testing.assert_array_equal(alone.get(name, 500), later.get(name, 500))


@pytest.mark.parametrize("name", RANDOM)
def test_random_arrays_depend_on_the_seed_and_do_not_repeat(tmp_path: Path, name: str) -> None:
    array = make(tmp_path).get(name, 500)
    assert not np.array_equal(array, make(tmp_path, seed=1).get(name, 500))
    assert not np.array_equal(array[:250], array[250:])


def test_everything_is_made_once_however_many_ask(tmp_path: Path) -> None:
    evidence = make(tmp_path)
    for count in (100, COUNT, None):
        for name in ("codes", "reconstructions", "rates"):
            evidence.get(name, count)
        evidence.get("distortions", count, {"likelihood": "gaussian", "num_samples": 5})
        evidence.get("samples", count)
    samples = 750  # whole chunks
    assert evidence.method.seen == {
        "encode": COUNT,
        "decode": COUNT + samples,
        "sample_prior": samples,
        "rate_distortion": COUNT,
    }


def test_samples_are_as_many_as_asked_for_and_images_no_more_than_there_are(tmp_path: Path) -> None:
    evidence = make(tmp_path)
    assert len(evidence.get("samples", 2000)) == evidence.length("samples", 2000) == 2000
    assert len(evidence.get("codes", 2000)) == evidence.length("codes", 2000) == COUNT
    assert len(evidence.get("samples", None)) == COUNT


def test_other_splits_and_datasets_go_through_the_same_method(tmp_path: Path) -> None:
    evidence = make(tmp_path)
    train = split(700, seed=1)
    np.testing.assert_allclose(
        evidence.get("train_codes", None), train.images.reshape(700, -1)[:, :3] / 255 - 0.5, atol=1e-6
    )
    np.testing.assert_array_equal(evidence.get("train_labels", 50), train.labels[:50])
    outliers = evidence.get("outlier_codes", None, {"outliers": "bright"})
    np.testing.assert_allclose(outliers, np.full((90, 3), 200 / 255 - 0.5), atol=1e-6)


def test_images_of_other_sizes_and_colors_become_like_ours(tmp_path: Path) -> None:
    assert make(tmp_path).get("outlier_images", None, {"outliers": "bright"}).shape == (90, 1, 4, 4)


def test_a_distortion_under_another_likelihood_has_no_value(tmp_path: Path) -> None:
    with pytest.raises(Unmeasurable, match="the method's likelihood is gaussian, asked for is bernoulli"):
        make(tmp_path).get("distortions", 10, {"likelihood": "bernoulli"})


@pytest.mark.parametrize("name", ["posterior_means", "scores", "components"])
def test_what_a_method_has_not_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unmeasurable, match="counting"):
        make(tmp_path).get(name, 10)


def test_what_a_dataset_has_not_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unmeasurable, match="no ground-truth factors"):
        make(tmp_path).get("factors", 10)


def test_values_that_are_not_finite_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = make(tmp_path)
    monkeypatch.setattr(evidence.method, "encode", lambda images: images.flatten(1)[:, :3] / 0)
    with pytest.raises(Unmeasurable, match="codes has values that are not finite"):
        evidence.get("codes", 10)


@dataclass(frozen=True)
class Mean:
    """An extractor that counts."""

    name: str = "mean"


def test_features_are_made_once_and_derived_values_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()

    def features(extractor: Mean, images: np.ndarray, *_: object) -> np.ndarray:
        seen["remembered" if len(_) == 2 else "extracted"] += len(images)
        return images.reshape(len(images), -1).astype(np.float32)

    def total(array: np.ndarray) -> float:
        seen["derived"] += 1
        return float(array.sum())

    monkeypatch.setitem(evidence_module.EXTRACTORS, "mean", Mean())
    monkeypatch.setitem(evidence_module.DERIVED, "total", total)
    monkeypatch.setattr(evidence_module, "extract_features", features)
    monkeypatch.setattr(evidence_module, "remembered_features", features)
    evidence = make(tmp_path)
    for count in (600, 200, 600):
        for name in ("images/mean", "samples/mean", "samples/mean/total"):
            evidence.get(name, count)
    assert seen == {"remembered": COUNT, "extracted": 750, "derived": 2}
    assert evidence.get("samples/mean/total", 200) == pytest.approx(evidence.get("samples", 200).sum(), rel=1e-5)


class TestMidpoints:
    def test_of_orthogonal_codes_lie_on_their_circle(self) -> None:
        np.testing.assert_allclose(midpoints(np.array([[2.0, 0]]), np.array([[0, 2.0]])), [[2**0.5, 2**0.5]])

    def test_of_equal_codes_are_those_codes(self) -> None:
        codes = np.random.default_rng(0).standard_normal((5, 3))
        np.testing.assert_allclose(midpoints(codes, codes), codes)

    def test_of_codes_of_equal_length_agree_with_the_formula_of_spherical_interpolation(self) -> None:
        one, other = np.random.default_rng(0).standard_normal((2, 20, 4))
        other *= np.linalg.norm(one, axis=1, keepdims=True) / np.linalg.norm(other, axis=1, keepdims=True)
        for midpoint, a, b in zip(midpoints(one, other), one, other, strict=True):
            angle = np.arccos(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
            weight = np.sin(angle / 2) / np.sin(angle)
            np.testing.assert_allclose(midpoint, weight * (a + b))

    def test_have_the_direction_between_and_the_mean_length(self) -> None:
        np.testing.assert_allclose(midpoints(np.array([[6.0, 0]]), np.array([[0, 2.0]])), [[8**0.5, 8**0.5]])

    def test_of_zero_and_opposite_codes_are_straight_midway(self) -> None:
        codes, others = np.array([[0.0, 0], [1, 1], [3, 0], [0, 0]]), np.array([[0.0, 0], [-1, -1], [-1, 0], [2, 4]])
        np.testing.assert_allclose(midpoints(codes, others), (codes + others) / 2)

    @pytest.mark.parametrize("dimension", [1, 2, 3, 64])
    def test_are_never_longer_than_the_longer_code(self, dimension: int) -> None:
        one, other = np.random.default_rng(0).standard_normal((2, 5000, dimension)).astype(np.float32)
        middle = midpoints(one, other)
        assert middle.dtype == np.float32
        lengths = [np.linalg.norm(codes, axis=1) for codes in (one, other, middle)]
        assert (lengths[2] <= 1.00001 * np.maximum(lengths[0], lengths[1])).all()

    def test_in_one_dimension_are_the_straight_ones(self) -> None:
        codes, others = np.array([[1.0], [1.0]]), np.array([[-0.5], [0.5]])
        np.testing.assert_allclose(midpoints(codes, others), [[0.25], [0.75]])


class TestPairs:
    def make(self) -> PairEvidence:
        dataset = Gaussians(dim=2)
        return PairEvidence(Constant(2), dataset, CPU, {"seed": 0, "dataset": "gaussians", "split": "test"})

    @pytest.mark.parametrize("name", ["source", "target", "true_pushed", "pushed"])
    def test_fewer_points_are_the_first_of_more(self, name: str) -> None:
        np.testing.assert_array_equal(self.make().get(name, 50), self.make().get(name, 3000)[:50])

    def test_the_true_map_is_that_of_the_source_points(self) -> None:
        evidence = self.make()
        points = torch.tensor(evidence.get("source", 40)).float()
        expected = evidence.dataset.true_map(points).double().numpy()
        np.testing.assert_allclose(evidence.get("true_pushed", 40), expected, atol=1e-5)

    def test_variances_are_the_datasets(self) -> None:
        assert self.make().get("target_variance", 10) == self.make().dataset.target_variance
