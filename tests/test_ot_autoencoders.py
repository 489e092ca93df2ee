"""Autoencoders with transport distances to their prior, and the losses of the plain one."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.metrics import lpips
from methods.autoencoders import ae
from methods.autoencoders.ae import AE
from methods.autoencoders.cwae import CWAE
from methods.autoencoders.sinkhorn_ae import SinkhornAE
from methods.autoencoders.swae import SWAE
from methods.parts import perceptual
from methods.parts.autoencoding import squared_error
from methods.parts.divergences import cramer_wold_to_standard_normal, sinkhorn_divergence
from methods.parts.hammersley import HammersleyPrior
from methods.parts.perceptual import PerceptualDistance, pretrained_vgg16_blocks, vgg16_blocks
from methods.parts.priors import SpherePrior
from tests.blurred_bars import SHAPE, digits, trained

CPU = torch.device("cpu")
SETTINGS: dict[str, Any] = {"latent_dim": 3, "width": 4, "batch_norm": False}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_cwae_minimizes_the_error_plus_the_logarithm_of_the_distance() -> None:
    model = CWAE(SHAPE, penalty=3.0, **SETTINGS)
    images = digits()
    codes = model.encoder(images)
    expected = squared_error(images, model.decoder(codes)) + 3 * cramer_wold_to_standard_normal(codes).log()
    torch.testing.assert_close(model.objective(images)["loss"], expected)


@pytest.mark.parametrize("prior", ["normal", "sphere", "hammersley"])
def test_sinkhorn_ae_minimizes_the_error_plus_the_weighted_divergence(prior: Any) -> None:
    model = SinkhornAE(SHAPE, prior=prior, penalty=7.0, epsilon=0.5, iterations=10, **SETTINGS)
    images = digits()
    codes = model.encoder(images)
    if prior != "normal":
        codes = F.normalize(codes)
    torch.testing.assert_close(codes, model.encode(images))
    torch.manual_seed(2)
    divergence = sinkhorn_divergence(codes, model.draw_prior(32), 0.5, 10)
    torch.manual_seed(2)
    expected = squared_error(images, model.decoder(codes)) + 7 * divergence
    torch.testing.assert_close(model.objective(images)["loss"], expected)


@pytest.mark.parametrize("build", [CWAE, partial(SinkhornAE, iterations=10)], ids=["CWAE", "SinkhornAE"])
def test_the_penalty_draws_the_codes_to_the_prior(build: Any) -> None:
    model = trained(build(SHAPE, latent_dim=2, width=4, batch_norm=True, lr=1e-2, penalty=50.0), 60, digits(128))
    codes, drawn = model.encode(digits(128)), model.sample_prior(20_000)
    assert (codes.mean(dim=0) - drawn.mean(dim=0)).abs().max() < 0.3
    assert codes.std(dim=0).tolist() == pytest.approx(drawn.std(dim=0).tolist(), abs=0.3)


@pytest.mark.parametrize("dim", [1, 2, 3, 64])
def test_hammersley_points_are_on_the_sphere_and_centered(dim: int) -> None:
    points = HammersleyPrior(dim)(2000, CPU)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(2000))
    torch.testing.assert_close(points.mean(dim=0), torch.zeros(dim), atol=0.03, rtol=0)
    torch.testing.assert_close(points.T @ points / 2000, torch.eye(dim) / dim, atol=0.05, rtol=0)


@pytest.mark.parametrize("power", [1, 2])
def test_hammersley_points_are_more_even_than_independent_draws(power: int) -> None:
    """In every coordinate, and in products of two, which show how coordinates are paired."""

    def unevenness(points: Tensor) -> float:
        """Mean square of the mean over points of coordinates, or of products of two different ones."""
        if power == 1:
            return points.mean(dim=0).square().sum().item()
        return (points.T @ points / len(points)).triu(1).square().sum().item()

    gaps = torch.tensor([[unevenness(cls(3)(100, CPU)) for cls in (HammersleyPrior, SpherePrior)] for _ in range(30)])
    even, independent = gaps.mean(dim=0)
    assert even < 0.1 * independent


def test_hammersley_points_come_from_torchs_generator() -> None:
    first = HammersleyPrior(4)(16, CPU)
    torch.manual_seed(0)
    assert torch.equal(HammersleyPrior(4)(16, CPU), first)
    assert not torch.equal(HammersleyPrior(4)(16, CPU), first)


def test_swae_penalty_grows_by_a_tenth_from_the_twelfth_of_thirty_epochs_on() -> None:
    model = SWAE(SHAPE, **SETTINGS)
    assert model.current_penalty() == 10
    model.planned_steps = 300
    penalties = {}
    for step in (0, 109, 110, 125, 299, 300):
        model.steps_done = step
        penalties[step] = model.current_penalty()
    last = 10 * 1.1**19
    assert penalties == pytest.approx({0: 10, 109: 10, 110: 11, 125: 12.1, 299: last, 300: last})
    model.steps_done = 0
    assert model.eval().current_penalty() == pytest.approx(last)


def test_ae_minimizes_the_squared_error_unless_told_otherwise() -> None:
    model = AE(SHAPE, **SETTINGS)
    losses = model.objective(digits())
    assert list(losses) == ["loss"]
    torch.testing.assert_close(losses["loss"], squared_error(digits(), model.decoder(model.encoder(digits()))))


def random_features(monkeypatch: pytest.MonkeyPatch) -> PerceptualDistance:
    """Random VGG16 features in place of the trained ones of the autoencoder."""
    blocks = vgg16_blocks()
    monkeypatch.setattr(ae, "pretrained_vgg16_blocks", lambda: blocks)
    return PerceptualDistance(blocks)


@pytest.mark.parametrize("loss", ["l1-mse", "perceptual"])
def test_ae_weighs_the_losses_of_images_between_minus_1_and_1(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    distance = random_features(monkeypatch)
    model = AE(SHAPE, loss=loss, **SETTINGS)
    images = digits(4)
    torch.manual_seed(2)
    seen = ((2 * images - 1) + 0.025 * torch.randn_like(images) + 1) / 2
    outputs = 2 * model.decoder(model.encoder(seen)) - 1
    gaps = [a - b for a, b in zip(outputs.flatten().tolist(), (2 * images - 1).flatten().tolist(), strict=True)]
    expected = sum(100 * abs(gap) + 300 * gap**2 for gap in gaps) / len(gaps)
    if loss == "perceptual":
        expected += 6 * distance(outputs, 2 * images - 1).item()
    torch.manual_seed(2)
    assert model.objective(images)["loss"].item() == pytest.approx(expected, rel=1e-4)


def test_perceptual_distance_sums_the_mean_squared_differences_after_each_block() -> None:
    blocks = vgg16_blocks()
    images, others = torch.rand(2, 2, 1, 16, 16)
    layers = [layer for block in blocks for layer in block]
    compared = [3, 8, 15, 22]  # relu1_2, relu2_2, relu3_3 and relu4_3 among torchvision's layers
    expected, x, y = 0.0, images.repeat(1, 3, 1, 1), others.repeat(1, 3, 1, 1)
    for index, layer in enumerate(layers):
        x, y = layer(x), layer(y)
        if index in compared:
            expected += (x - y).square().mean().item()
    distance = PerceptualDistance(blocks)
    assert distance(images, others).item() == pytest.approx(expected, rel=1e-4)
    assert distance(images, images) == 0


def test_features_are_neither_trained_nor_saved_but_pass_gradients_on(monkeypatch: pytest.MonkeyPatch) -> None:
    distance = random_features(monkeypatch)
    model, plain = AE(SHAPE, loss="perceptual", **SETTINGS), AE(SHAPE, **SETTINGS)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert not any(p.requires_grad for p in distance.blocks.parameters())
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    distance(images, torch.rand(1, 3, 16, 16)).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder, with nothing in it; torchvision's server is the folder beside it, with nothing in it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(perceptual, "VGG16_URL", (tmp_path / "server" / "vgg16-397923af.pth").as_uri())
    (tmp_path / "server").mkdir()
    return tmp_path / "hub" / "checkpoints"


def published(hub: Path, weights: dict[str, Tensor]) -> str:
    """Puts weights on torchvision's server; returns their SHA-256."""
    file = hub.parents[1] / "server" / "vgg16-397923af.pth"
    torch.save(weights, file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_vgg16_takes_the_weights_of_torchvision_in_order(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]  # convolutions among torchvision's layers
    given = list(vgg16_blocks().state_dict().values())
    more = [torch.zeros(1)] * 6
    names = [f"features.{place}.{kind}" for place in places for kind in ("weight", "bias")]
    weights = {**dict(zip(names, [*given, *more], strict=True)), "classifier.0.weight": torch.zeros(1)}
    monkeypatch.setattr(perceptual, "VGG16_SHA256", published(hub, weights))
    state = torch.get_rng_state()
    loaded = pretrained_vgg16_blocks().state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(*pair) for pair in zip(loaded.values(), given, strict=True))
    assert [path.name for path in hub.iterdir()] == ["vgg16-397923af.pth"]


def test_missing_vgg16_weights_are_named_with_their_place(hub: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"{hub}/vgg16-397923af.pth .*No such file.*download file://"):
        AE(SHAPE, loss="perceptual", **SETTINGS)


def test_vgg16_weights_with_another_checksum_are_not_taken(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = published(hub, {})
    monkeypatch.setattr(perceptual, "VGG16_SHA256", found[:8] + "0" * 56)  # the digits in the file's name agree
    with pytest.raises(FileNotFoundError, match="invalid hash value"):
        pretrained_vgg16_blocks()
    assert list(hub.iterdir()) == []
    (hub.parents[1] / "server" / "vgg16-397923af.pth").rename(hub / "vgg16-397923af.pth")
    with pytest.raises(ValueError, match=rf"{hub}/vgg16-397923af.pth is not .*{found}.*remove it"):
        pretrained_vgg16_blocks()


def test_the_perceptual_loss_and_lpips_take_the_same_file() -> None:
    assert (perceptual.VGG16_URL, perceptual.VGG16_SHA256) == (lpips.VGG16_URL, lpips.VGG16_SHA256)
