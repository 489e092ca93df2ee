"""How autoencoders are declared, and what a fitted density does to their samples."""

from __future__ import annotations

from itertools import repeat

import pytest
import torch
from torch import Tensor, nn

from bench.options import options_of
from methods.autoencoders.ae import AE
from methods.autoencoders.beta_vae import BetaVAE
from methods.autoencoders.vae import VAE
from methods.base import Losses, Unsupported
from methods.parts.autoencoding import encode_epoch
from methods.parts.densities import Density
from tests.blurred_bars import SHAPE, digits


class Sparse(AE):
    """An autoencoder with a penalty on its codes."""

    penalty: float = 0.5
    lr: float = 1e-2

    def objective(self, images: Tensor) -> Losses:
        losses = super().objective(images)
        return {"loss": losses["loss"] + self.penalty * self.encoder(images).abs().sum(dim=1).mean()}


def test_annotated_attributes_are_the_hyperparameters() -> None:
    options = options_of(Sparse)
    assert options.keys() - options_of(AE).keys() == {"penalty"}
    assert (options["penalty"].type, options["penalty"].default) == (float, 0.5)


def test_a_subclass_changes_a_default_for_itself_alone() -> None:
    assert options_of(Sparse)["lr"].default == 1e-2
    assert options_of(AE)["lr"].default == 1e-4


def test_hyperparameters_are_keyword_arguments_and_attributes() -> None:
    model = Sparse(SHAPE, penalty=2.0, latent_dim=3, width=4)
    assert (model.penalty, model.latent_dim, model.image_shape) == (2.0, 3, SHAPE)
    assert model.optimizer.param_groups[0]["lr"] == 1e-2
    with pytest.raises(TypeError, match="unexpected keyword"):
        Sparse(SHAPE, penality=2.0)  # type: ignore[call-arg]  # misspelled on purpose
    with pytest.raises(TypeError, match="positional"):
        Sparse(SHAPE, 2.0)  # type: ignore[call-arg, arg-type]  # positional on purpose


def test_a_part_named_like_a_hyperparameter_is_an_error_of_the_author() -> None:
    class Clash(AE):
        prior: str = "normal"

        def setup(self) -> None:
            super().setup()
            self.prior = nn.Linear(1, 1)  # type: ignore[assignment]  # the mistake

    with pytest.raises(TypeError, match="prior is a hyperparameter; name the part made from it otherwise"):
        Clash(SHAPE, width=4)


def test_a_variant_starts_from_the_weights_of_what_it_varies() -> None:
    torch.manual_seed(0)
    plain = VAE(SHAPE, width=4).state_dict()
    torch.manual_seed(0)
    variant = BetaVAE(SHAPE, width=4).state_dict()
    assert plain.keys() == variant.keys()
    assert all(torch.equal(plain[name], variant[name]) for name in plain)


def test_an_update_counts_and_minimizes_the_objective() -> None:
    torch.manual_seed(0)
    model = Sparse(SHAPE, latent_dim=2, width=4)
    images = digits()
    before = model.eval().objective(images)["loss"].item()
    model.train()
    for _ in range(50):
        model.train_step(images)
    assert model.steps_done == 50
    assert model.eval().objective(images)["loss"].item() < before


def test_networks_of_a_subclass_s_own_are_the_only_ones_made_and_are_trained() -> None:
    class Linear(AE):
        def make_networks(self) -> None:
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, self.latent_dim))
            self.decoder = nn.Sequential(nn.Linear(self.latent_dim, 64), nn.Unflatten(1, SHAPE))
            self.scale = nn.Parameter(torch.ones(()))

        def decode(self, codes: Tensor) -> Tensor:
            return self.scale * super().decode(codes)

        def objective(self, images: Tensor) -> Losses:
            return {"loss": (images - self.decode(self.encode(images))).square().mean()}

    torch.manual_seed(0)
    model = Linear(SHAPE, latent_dim=2)
    torch.manual_seed(0)
    assert torch.equal(next(model.encoder.parameters()), nn.Linear(64, 2).weight)
    before = {name: value.clone() for name, value in model.named_parameters()}
    model.train_step(digits())
    assert not any(torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_codes_of_an_epoch_are_those_of_eval_mode() -> None:
    torch.manual_seed(0)
    model = AE(SHAPE, latent_dim=2, width=4).train()
    model.steps_per_epoch = 3
    codes = encode_epoch(model, repeat(digits(5)))
    assert model.training
    assert torch.equal(codes, model.eval().encode(digits(5)).repeat(3, 1))


@pytest.mark.parametrize("density", ["gaussian", "gaussian-mixture"])
def test_samples_come_from_the_density_fitted_to_the_codes(density: Density) -> None:
    torch.manual_seed(0)
    model = VAE(SHAPE, latent_dim=2, width=4, density=density)
    model.steps_per_epoch = 8
    assert model.finish(iter([digits(32)] * 8)) is None
    codes = model.eval().encode(digits(32)).detach()
    draws = model.sample_prior(20_000)
    torch.testing.assert_close(draws.mean(dim=0), codes.mean(dim=0), rtol=0, atol=0.05 * codes.std().item() + 0.02)
    torch.testing.assert_close(draws.std(dim=0), codes.std(dim=0), rtol=0.1, atol=0.01)
    assert model.draw_prior(1000).std().item() == pytest.approx(1, abs=0.1)


def test_an_autoencoder_says_what_it_cannot_tell() -> None:
    model = AE(SHAPE, width=4)
    for name in ("posterior", "rate_distortion", "score", "components"):
        with pytest.raises(Unsupported, match="ae has no"):
            getattr(model, name)(digits(2))
    with pytest.raises(Unsupported, match="ae has no mixture"):
        model.component_codes(2)
    with pytest.raises(Unsupported, match="ae has no causal prior"):
        model.causal_mask()
