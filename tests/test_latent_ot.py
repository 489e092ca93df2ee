"""Transport in the latent space of an autoencoder."""

from __future__ import annotations

from itertools import islice, repeat
from typing import Any

import pytest
import torch

import methods.autoencoders
from methods.autoencoders.ae import AE
from methods.autoencoders.latent_ot import LatentOT, find
from methods.base import Autoencoder, Unsupported
from methods.parts.autoencoding import encode_epoch
from methods.parts.divergences import sliced_wasserstein
from tests.blurred_bars import SHAPE, digits, trained

MAP: dict[str, Any] = {
    "map_steps": 3,
    "map_pretrain_steps": 2,
    "map_batch_size": 16,
    "map_hidden": (16, 8),
    "map_rank": 1,
}


@pytest.mark.parametrize("name", ["ae", "vae", "wae-mmd", "gwae"])
def test_latent_ot_trains_the_very_autoencoder_of_a_plain_run(name: str) -> None:
    torch.manual_seed(0)
    cls: Any = find(methods.autoencoders, Autoencoder, name)
    plain = trained(cls(SHAPE, latent_dim=2, width=4), 4)
    torch.manual_seed(0)
    composed = trained(LatentOT(SHAPE, autoencoder=name, latent_dim=2, width=4, **MAP), 4)
    ours = composed.inner.state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in plain.state_dict().items())
    assert torch.equal(plain.encode(digits()), composed.encode(digits()))
    assert torch.equal(plain.decode(torch.ones(1, 2)), composed.decode(torch.ones(1, 2)))


def test_latent_ot_tells_of_its_autoencoder_what_does_not_hang_on_the_prior() -> None:
    torch.manual_seed(0)
    model = LatentOT(SHAPE, autoencoder="vae", latent_dim=2, width=4, **MAP).eval()
    images = digits()
    for ours, theirs in zip(model.posterior(images), model.inner.posterior(images), strict=True):
        assert torch.equal(ours, theirs)
    torch.manual_seed(2)
    draws = model.draw_codes(images)
    torch.manual_seed(2)
    assert torch.equal(draws, model.inner.draw_codes(images))
    torch.manual_seed(2)
    scores = model.score(images)
    torch.manual_seed(2)
    assert torch.equal(scores, model.inner.score(images))
    with pytest.raises(Unsupported, match="latent-ot"):
        model.rate_distortion(images)
    with pytest.raises(Unsupported, match="vae has no mixture"):
        model.components(images)


def test_latent_ot_tells_of_the_mixture_of_its_autoencoder() -> None:
    model = LatentOT(SHAPE, autoencoder="vade", latent_dim=2, width=4, **MAP).eval()
    assert torch.equal(model.components(digits()), model.inner.components(digits()))
    assert model.component_codes(3).shape == (10, 3, 2)


def test_latent_ot_fits_no_density_beside_its_map() -> None:
    model = trained(LatentOT(SHAPE, autoencoder="rae", latent_dim=2, width=4, **MAP), 4)
    assert not hasattr(model.inner, "fitted_density")
    assert torch.isfinite(model.sample_prior(5)).all()


def test_latent_ot_passes_the_reconstruction_loss_on_where_there_is_a_choice() -> None:
    model: Any = LatentOT(SHAPE, autoencoder_loss="l1-mse", latent_dim=2, width=4, **MAP)
    assert list(model.objective(digits())) == ["loss", "absolute", "squared"]
    with pytest.raises(ValueError, match="rae has no loss to set"):
        LatentOT(SHAPE, autoencoder="rae", autoencoder_loss="l1-mse")


def test_latent_ot_leaves_the_random_numbers_of_training_alone() -> None:
    torch.manual_seed(0)
    AE(SHAPE, latent_dim=2, width=4)
    expected = torch.rand(1)
    torch.manual_seed(0)
    LatentOT(SHAPE, latent_dim=2, width=4, **MAP)
    assert torch.equal(torch.rand(1), expected)


def test_latent_ot_maps_noise_to_the_codes() -> None:
    torch.manual_seed(0)
    settings = {**MAP, "map_steps": 300, "map_pretrain_steps": 300, "map_batch_size": 128, "map_hidden": (32, 32)}
    model = LatentOT(SHAPE, latent_dim=2, width=4, lr=1e-2, map_lr=3e-3, **settings)
    images = digits(256)
    trained(model, 60, images)
    codes, noise = model.encode(images), model.draw_noise(256)
    mapped = sliced_wasserstein(codes, model.sample_prior(256), 200)
    assert mapped < 0.25 * sliced_wasserstein(codes, noise, 200)
    # That is not the standardization's merit alone.
    gaussian_fit = noise * model.code_std + model.code_mean
    assert mapped < 0.8 * sliced_wasserstein(codes, gaussian_fit, 200)


def test_latent_ot_restores_its_map_from_its_state() -> None:
    torch.manual_seed(0)
    model = trained(LatentOT(SHAPE, latent_dim=2, width=4, **MAP), 4)
    other = LatentOT(SHAPE, latent_dim=2, width=4, **MAP).eval()
    other.load_state_dict(model.state_dict())
    torch.manual_seed(3)
    expected = model.sample_prior(5)
    torch.manual_seed(3)
    assert torch.equal(other.sample_prior(5), expected)


@pytest.mark.parametrize("name", ["linear", "lsot"])
def test_any_transport_method_may_be_the_map(name: str) -> None:
    torch.manual_seed(0)
    model = LatentOT(SHAPE, latent_dim=2, width=4, lr=1e-2, transport=name, map_steps=200, map_batch_size=64)
    images = digits(256)
    trained(model, 60, images)
    assert model.map.name == name
    mapped = sliced_wasserstein(model.encode(images), model.sample_prior(256), 200)
    assert mapped < 0.5 * sliced_wasserstein(model.encode(images), model.draw_noise(256), 200)


def test_latent_ot_names_the_methods_there_are() -> None:
    for name in ("latent-ot", "wea-mmd"):
        with pytest.raises(ValueError, match=f'no method "{name}" .* there is .*\\bae, .*wae-mmd'):
            LatentOT(SHAPE, autoencoder=name)
    with pytest.raises(ValueError, match=r'no method "vae" .* w2gn'):
        LatentOT(SHAPE, transport="vae")
    with pytest.raises(ValueError, match="untrained is not trained"):
        LatentOT(SHAPE, autoencoder="untrained")


def test_batches_are_taken_one_epoch_at_a_time_for_the_map() -> None:
    model = LatentOT(SHAPE, latent_dim=2, width=4, **MAP)
    model.steps_per_epoch = 3
    assert encode_epoch(model, islice(repeat(digits(5)), 3)).shape == (15, 2)
