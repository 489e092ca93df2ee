"""What is drawn of an autoencoder: of one whose codes are pixels of an image, and of mixtures and a graph there are."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from bench.diagnostics import DIAGNOSTICS, save_diagnostics
from bench.evidence import ImageEvidence
from datasets.base import ImageSplit
from methods.autoencoders.gwae import GWAE
from methods.autoencoders.vade import VaDE
from methods.autoencoders.vampprior_vae import VampPriorVAE
from methods.base import Autoencoder
from methods.parts.causal import CausalPrior
from methods.parts.priors import GaussianMixturePrior

SHAPE = (1, 2, 2)
SMALL: dict[str, Any] = {"network": "mlp", "latent_dim": 2, "width": 2, "batch_norm": False}
EVERYTHING = set(DIAGNOSTICS)


class Pixels(Autoencoder):
    """The code is the first pixels; their decoding is these, and 0 for the others. The prior is uniform."""

    name = "pixels"

    def encode(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, : self.latent_dim]

    def decode(self, codes: Tensor) -> Tensor:
        return torch.nn.functional.pad(codes, (0, 4 - self.latent_dim)).clamp(0, 1).view(-1, *self.image_shape)

    def sample_prior(self, count: int) -> Tensor:
        return torch.rand(count, self.latent_dim)

    def component_codes(self, count: int) -> Tensor:
        return torch.tensor([0.0, 0.6, 1.0])[:, None, None].expand(3, count, self.latent_dim)

    def causal_mask(self) -> Tensor:
        return torch.tensor([[0.0, 0.0], [0.75, 0.0]])


class Plain(Pixels):
    """Without a mixture and without a mask."""

    component_codes = Autoencoder.component_codes
    causal_mask = Autoencoder.causal_mask


def evidence(method: Autoencoder, *, labeled: bool = True, seed: int = 0) -> ImageEvidence:
    images = np.random.default_rng(0).integers(256, size=(40, *SHAPE), dtype=np.uint8)
    labels = np.arange(40) % 3 if labeled else None
    train = ImageSplit(np.stack([np.full(SHAPE, level, np.uint8) for level in (0, 128, 255)]))
    return ImageEvidence(
        method,
        ImageSplit(images, labels),
        torch.device("cpu"),
        {"seed": seed, "dataset": ["random", {}], "split": "test"},
        train=train,
        find_images=lambda _: train,
        cache=Path("unused"),
    )


def drawn(method: Autoencoder, folder: Path, **options: bool) -> ImageEvidence:
    found = evidence(method.eval(), **options)
    save_diagnostics(found, folder)
    return found


def tiles(path: Path) -> np.ndarray:
    """The images of a grid, [rows, columns, H, W], in [0, 1]."""
    pixels = np.asarray(Image.open(path)) / 255
    rows, columns = (length // 2 for length in pixels.shape)
    return pixels.reshape(rows, 2, columns, 2).transpose(0, 2, 1, 3)


def test_everything_is_drawn_of_codes_in_a_plane(tmp_path: Path) -> None:
    drawn(Pixels(SHAPE, latent_dim=2), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == EVERYTHING


def test_what_a_method_does_not_have_is_left_out_without_a_word(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    drawn(Plain(SHAPE, latent_dim=3), tmp_path)
    missing = {"components.png", "causal-mask.parquet", "manifold.png"}
    assert {path.name for path in tmp_path.iterdir()} == EVERYTHING - missing
    assert not recwarn.list


def test_what_is_drawn_is_a_function_of_the_streams(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        drawn(Pixels(SHAPE, latent_dim=2), tmp_path / name)
    for name in EVERYTHING:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_an_interpolation_starts_and_ends_with_its_images(tmp_path: Path) -> None:
    images = drawn(Pixels(SHAPE, latent_dim=2), tmp_path).get("images", 16)[:, 0] / 255
    grid = tiles(tmp_path / "interpolations.png")
    assert grid.shape == (8, 8, 2, 2)
    assert grid[:, 0] == pytest.approx(images[:8], abs=1e-6)
    assert grid[:, -1] == pytest.approx(images[8:], abs=1e-6)
    third = 4 / 7 * images[:8, 0] + 3 / 7 * images[8:, 0]
    assert grid[:, 3, 0] == pytest.approx(third, abs=0.5 / 255 + 1e-6)
    assert not grid[:, 1:-1, 1].any()  # decodings have only the pixels of the code


def test_the_nearest_neighbor_of_a_sample_is_the_training_image_of_its_level(tmp_path: Path) -> None:
    samples = drawn(Pixels(SHAPE, latent_dim=2), tmp_path).get("samples", 16)[:, 0]
    grid = tiles(tmp_path / "neighbors.png")
    levels = np.array([0, 128, 255]) / 255
    nearest = levels[np.abs(samples.mean(axis=(1, 2))[:, None] - levels).argmin(axis=1)]
    assert len(set(nearest)) > 1
    for k in range(2):
        assert grid[2 * k] == pytest.approx(samples[8 * k : 8 * k + 8], abs=0.5 / 255 + 1e-6)
        assert (grid[2 * k + 1] == nearest[8 * k : 8 * k + 8, None, None]).all()


def test_a_manifold_s_first_dimension_grows_to_the_right_and_its_second_upwards(tmp_path: Path) -> None:
    drawn(Pixels(SHAPE, latent_dim=2), tmp_path)
    first, second = tiles(tmp_path / "manifold.png")[:, :, 0].transpose(2, 0, 1)
    assert first.shape == (16, 16)
    assert (np.diff(first, axis=1) > 0).all()
    assert (np.diff(second, axis=0) < 0).all()
    assert (first[0] == first).all()
    assert first[0, [0, -1]] == pytest.approx([0.01, 0.99], abs=0.02)  # percentiles of the uniform prior


def test_each_component_has_a_row(tmp_path: Path) -> None:
    drawn(Pixels(SHAPE, latent_dim=2), tmp_path)
    grid = tiles(tmp_path / "components.png")
    assert grid.shape == (3, 8, 2, 2)
    assert (grid[:, :, 0] == np.array([0.0, 0.6, 1.0])[:, None, None]).all()


def mixture_of_gwae() -> tuple[Autoencoder, Tensor]:
    method = GWAE(SHAPE, prior="gaussian-mixture", num_components=3, matching="mmd", **SMALL)
    mixture = method.code_prior
    assert isinstance(mixture, GaussianMixturePrior)
    mixture.factors.zero_()
    return method, mixture.means.mul_(50)


def mixture_of_vade() -> tuple[Autoencoder, Tensor]:
    method = VaDE(SHAPE, num_components=3, **SMALL)
    method.log_variances.fill_(-30)
    return method, method.means.mul_(50)


def mixture_of_vampprior_vae() -> tuple[Autoencoder, Tensor]:
    """Of more components than are drawn."""
    method = VampPriorVAE(SHAPE, pseudo_inputs=20, **SMALL)
    method.pseudo_images.uniform_()
    output = [layer for layer in method.encoder.modules() if isinstance(layer, nn.Linear)][-1]
    output.weight[:2].mul_(500)
    output.weight[2:].zero_()
    output.bias[2:].fill_(-30)
    return method, method.posterior(method.pseudo_images)[0][:16]


@pytest.mark.parametrize("build", [mixture_of_gwae, mixture_of_vade, mixture_of_vampprior_vae])
def test_narrow_components_of_a_mixture_are_drawn_as_the_decodings_of_their_means(
    build: Callable[[], tuple[Autoencoder, Tensor]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        method, means = build()
        drawn(method, tmp_path)
        expected = method.decode(means)[:, 0].numpy()
    grid = tiles(tmp_path / "components.png")
    assert grid.shape == (len(means), 8, 2, 2)
    assert grid == pytest.approx(np.broadcast_to(expected[:, None], grid.shape), abs=0.5 / 255 + 1e-4)
    assert grid[:, 0].std(axis=0).max() > 0.05  # rows differ


def test_codes_in_a_plane_are_drawn_as_they_are(tmp_path: Path) -> None:
    found = drawn(Pixels(SHAPE, latent_dim=2), tmp_path)
    table = pd.read_parquet(tmp_path / "latent.parquet")
    codes = table[table["set"] == "codes of images"]
    assert (codes[["dimension 1", "dimension 2"]].to_numpy() == found.get("codes", 40)).all()
    assert list(codes["label"]) == [str(k % 3) for k in range(40)]
    draws = table[table["set"] == "draws of the prior"]
    assert (draws[["dimension 1", "dimension 2"]].to_numpy() == found.get("prior_codes", 1000)).all()


def test_codes_of_more_dimensions_are_drawn_along_their_principal_axes(tmp_path: Path) -> None:
    from sklearn.decomposition import PCA

    found = drawn(Plain(SHAPE, latent_dim=4), tmp_path, labeled=False)
    table = pd.read_parquet(tmp_path / "latent.parquet")
    assert set(table["label"]) == {""}
    for name, array in (("codes of images", "codes"), ("draws of the prior", "prior_codes")):
        ours = table.loc[table["set"] == name, ["principal axis 1", "principal axis 2"]].to_numpy()
        theirs = PCA(2).fit(found.get("codes", 40)).transform(found.get(array, len(ours)))
        assert np.abs(ours) == pytest.approx(np.abs(theirs), abs=1e-5)


def test_codes_that_keep_distances_lie_on_a_line_of_isometry(tmp_path: Path) -> None:
    drawn(Plain(SHAPE, latent_dim=4), tmp_path)
    table = pd.read_parquet(tmp_path / "isometry.parquet")
    assert dict(table["set"].value_counts()) == {"decoded draws of the prior": 500, "images and their codes": 20}
    assert table.iloc[:, 1].to_numpy() == pytest.approx(table.iloc[:, 2].to_numpy(), rel=1e-5)
    assert (table.iloc[:, 1] > 0).all()


def test_a_causal_mask_has_effects_as_rows(tmp_path: Path) -> None:
    drawn(Pixels(SHAPE, latent_dim=2), tmp_path)
    table = pd.read_parquet(tmp_path / "causal-mask.parquet")
    assert table.to_numpy().tolist() == [[1, 1, 0], [1, 2, 0], [2, 1, 0.75], [2, 2, 0]]


def test_the_causal_mask_of_gwae_is_drawn_as_the_probabilities_of_its_edges(tmp_path: Path) -> None:
    method = GWAE(SHAPE, prior="causal", matching="mmd", **SMALL)
    prior = method.code_prior
    assert isinstance(prior, CausalPrior)
    with torch.no_grad():
        prior.graph.scores.copy_(torch.tensor([0.0, math.log(3)]))  # the second comes first, an effect, in 3 of 4 draws
        prior.graph.edge_scores.zero_()  # and an edge is there in 1 of 2
    drawn(method, tmp_path)
    table = pd.read_parquet(tmp_path / "causal-mask.parquet")
    expected = [[1, 1, 0], [1, 2, 0.125], [2, 1, 0.375], [2, 2, 0]]
    assert table.to_numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_nothing_is_drawn_of_what_is_not_finite(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    class Broken(Plain):
        def decode(self, codes: Tensor) -> Tensor:
            return super().decode(codes) * torch.nan

    drawn(Broken(SHAPE, latent_dim=2), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"latent.parquet"}
    assert not recwarn.list


def test_what_goes_wrong_in_drawing_is_a_warning_and_costs_nothing_else(tmp_path: Path) -> None:
    class Faulty(Pixels):
        def causal_mask(self) -> Tensor:
            raise RuntimeError("no memory")

    with pytest.warns(UserWarning, match=r"causal-mask.parquet was not drawn: RuntimeError: no memory"):
        drawn(Faulty(SHAPE, latent_dim=2), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == EVERYTHING - {"causal-mask.parquet"}
