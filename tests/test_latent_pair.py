"""The pair "latent" and the codes it is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.identity import Trial
from bench.registry import find_dataset
from bench.supplies import DataFolder
from bench.sweeps import load_sweeps
from datasets.cache import load_pair
from datasets.pairs.latent import Latent
from methods.autoencoders.ae import AE

SMALL = {"images": "digits", "latent_dim": 3, "width": 4, "steps": 20, "batch_size": 16}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def pair(root: Path) -> Latent:
    dataset = Latent(**SMALL)
    load_pair(dataset, SMALL, root, DataFolder(root))
    return dataset


def test_codes_are_standardized_by_the_training_images(pair: Latent) -> None:
    points = pair.codes["train"]
    torch.testing.assert_close(points.mean(dim=0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(points.std(dim=0), torch.ones(3), atol=1e-3, rtol=0)
    assert pair.target_variance == pytest.approx(3, rel=1e-3)
    assert pair.codes["test"].std(dim=0).min() > 0.5


def test_draws_are_codes_of_the_split(pair: Latent) -> None:
    drawn = pair.target(50, torch.Generator().manual_seed(0), "test")
    assert drawn.shape == (50, 3)
    assert drawn.dtype == torch.float32
    known = {tuple(row) for row in pair.codes["test"].tolist()}
    assert all(tuple(row) in known for row in drawn.tolist())


def test_the_autoencoder_trains_once_and_gives_the_same_codes_anywhere(
    pair: Latent, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Latent(**SMALL)
    load_pair(elsewhere, SMALL, tmp_path, DataFolder(tmp_path))
    for split, codes in pair.codes.items():
        assert torch.equal(codes, elsewhere.codes[split])
    monkeypatch.setattr("bench.supplies.Training.run", lambda *_: pytest.fail("trained again"))
    load_pair(Latent(**SMALL), SMALL, root, DataFolder(root))


def test_the_autoencoder_trains_anew_under_another_version_of_codes(
    pair: Latent, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.supplies.CODES_VERSION", 2)
    again = Latent(**SMALL)
    load_pair(again, SMALL, root, DataFolder(root))
    assert not torch.equal(again.codes["train"], pair.codes["train"])


def test_training_leaves_the_global_streams_to_their_owner(tmp_path: Path) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    load_pair(Latent(**SMALL), SMALL, tmp_path, DataFolder(tmp_path))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"autoencoder": "linear"}, "linear is no autoencoder"),
        ({"autoencoder": "vea"}, "vea"),
        ({"images": "toy2d"}, "toy2d is no dataset of images"),
    ],
)
def test_names_that_are_no_autoencoder_or_image_dataset_are_refused(
    options: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match=message):
        load_pair(Latent(**{**SMALL, **options}), {**SMALL, **options}, tmp_path, DataFolder(tmp_path))


def test_a_length_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="latent_dim is 0"):
        Latent(latent_dim=0)


def test_a_new_version_of_what_a_pair_is_made_from_is_another_trial(
    sweeps_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
    [sweep.latent]
    kind = "transport"
    metrics = ["energy-distance"]
    batch_size = 8
    steps = 1
    datasets.latent = {}
    methods.identity = {}
    """

    def trial() -> Trial:
        return load_sweeps(sweeps_file(text), "quick")[0].trials()[0]

    before = trial()
    assert before.spec["dataset"]["parts"] == {"mnist-5k": find_dataset("mnist-5k").version, "ae": AE.version}
    assert Trial.from_record(before.to_record()).id == before.id
    monkeypatch.setattr(AE, "version", AE.version + 1)
    assert trial().id != before.id
