"""GWAE: its losses against the formulas, its critic, its priors and what it scores as unlike its images."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn, optim

from methods.autoencoders.gwae import GWAE, GWAEPrior
from methods.base import Unsupported
from methods.parts.autoencoding import NetworkAutoencoder
from methods.parts.normalization import PosteriorNorm
from methods.parts.priors import GaussianMixturePrior
from tests.blurred_bars import SHAPE, digits, trained
from tests.gradients import assert_same_gradients

WEIGHTS = {"reconstruction_weight": 2.0, "critic_weight": 3.0, "entropy_weight": 0.5}


def written_out(model: GWAE, images: Tensor) -> Tensor:
    """The objective by loops over images and pairs of them, in the order of random numbers of the method's."""
    outputs = model.encoder(images)
    mean, log_variance = outputs[:, :3], outputs[:, 3:]
    if model.latent_batch_norm:
        variance = log_variance.exp().mean(dim=0) + mean.var(dim=0)
        mean, log_variance = (mean - mean.mean(dim=0)) / variance.sqrt(), log_variance - variance.log()
    codes = mean + log_variance.exp().sqrt() * torch.randn_like(mean)
    z = model.code_prior(len(images), model.device)
    x, decoded = model.decoder(z), model.decoder(codes)
    n = len(images)

    unit = model.log_distance_scale.exp() / (sum(z[:, k].std() for k in range(3)) / 3)
    distortions = [
        (unit * (z[i] - z[j]).square().sum().sqrt() - (x[i] - x[j]).square().sum().sqrt()).abs()
        for i in range(n)
        for j in range(n)
        if i != j
    ]
    distortion = torch.stack(distortions).sum() / n**2
    reconstruction = sum(0.5 * ((images[i] - decoded[i]) ** 2).sum() for i in range(n)) / n
    entropy = -log_variance.sum() / n
    if model.matching == "mmd":

        def k(a: Tensor, b: Tensor) -> Tensor:
            return torch.exp(-(a - b).square().mean() / 3)

        rows = [k(codes[i], codes[j]) + k(z[i], z[j]) - 2 * k(codes[i], z[j]) for i in range(n) for j in range(n)]
        discrepancy = torch.stack(rows).mean()
    else:
        at_samples = model.critic(x, z)
        if model.mixed_potential:
            at_samples = (at_samples + model.critic(model.decoder(codes.detach()), codes.detach())) / 2
        discrepancy = at_samples.mean() - model.critic(images, codes).mean()
        if model.learned_similarity:
            difference = model.critic.image_features(images) - model.critic.image_features(decoded)
            reconstruction = reconstruction + 0.5 * difference.square().sum() / n
    return distortion + 2 * reconstruction + 3 * discrepancy + 0.5 * entropy


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"matching": "mmd"},
        {"learned_similarity": True},
        {"mixed_potential": True},
        {"latent_batch_norm": True},
        {"prior": "gaussian-mixture", "num_components": 3},
        {"prior": "causal", "matching": "mmd"},
        {"prior": "uniform"},
    ],
)
def test_gwae_minimizes_its_formula_with_its_gradients(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=3, width=4, **WEIGHTS, **options)
    if model.matching == "critic":
        model.critic.eval()  # spectral norm then takes no step of power iteration from one evaluation to the next
    images = digits(6)
    weights = [p for name, p in model.named_parameters() if not name.startswith("critic")]
    torch.manual_seed(2)
    found = model.objective(images)["loss"]
    torch.manual_seed(2)
    expected = written_out(model, images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert_same_gradients(found, expected, weights)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_loss_of_the_critic_is_its_formula_image_by_image(mixed: bool) -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=3, width=4, mixed_potential=mixed)
    model.critic.eval()
    images, codes = digits(5), torch.randn(5, 3)
    torch.manual_seed(2)
    with torch.no_grad():
        z = model.draw_prior(5)
        x, decoded = model.decoder(z), model.decoder(codes)
    weight = torch.rand(5)
    expected = 0.0
    for i in range(5):
        data = model.critic(images[i : i + 1], codes[i : i + 1]).item()
        sample = model.critic(x[i : i + 1], z[i : i + 1]).item()
        if mixed:
            sample = (sample + model.critic(decoded[i : i + 1], codes[i : i + 1]).item()) / 2
        between = [
            (weight[i] * real[i] + (1 - weight[i]) * fake[i])[None].requires_grad_()
            for real, fake in ((images, x), (codes, z))
        ]
        slopes = torch.autograd.grad(model.critic(*between), between)
        norm = math.sqrt(sum(slope.square().sum().item() for slope in slopes))
        expected += data - sample + 10 * ((norm - 1) ** 2 + 1e-4 * (data**2 + sample**2))
    torch.manual_seed(2)
    assert model.critic_step(images, codes).item() == pytest.approx(expected / 5, rel=1e-4)


def test_without_a_critic_gwae_is_trained_by_adam_alone() -> None:
    model = GWAE(SHAPE, latent_dim=3, width=4, matching="mmd")
    assert isinstance(model.optimizer, optim.Adam)
    assert not hasattr(model, "critic")
    assert set(model.train_step(digits())) == {"loss", "gromov_wasserstein", "reconstruction", "mmd", "entropy"}
    with pytest.raises(Unsupported, match='matching = "critic"'):
        model.score(digits())


def test_with_a_critic_gwae_is_trained_by_rmsprop() -> None:
    model = GWAE(SHAPE, latent_dim=3, width=4)
    assert isinstance(model.optimizer, optim.RMSprop)
    assert isinstance(model.critic_optimizer, optim.RMSprop)


@pytest.mark.parametrize("option", ["learned_similarity", "mixed_potential"])
def test_what_is_of_the_critic_needs_one(option: str) -> None:
    with pytest.raises(ValueError, match='need matching = "critic", not "mmd"'):
        GWAE(SHAPE, matching="mmd", **{option: True})


def test_normed_posteriors_are_a_mixture_of_mean_0_and_variance_1() -> None:
    torch.manual_seed(0)
    mean, log_variance = PosteriorNorm(4)(5 + 3 * torch.randn(16, 4), torch.randn(16, 4) - 2)
    torch.testing.assert_close(mean.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(log_variance.exp().mean(dim=0) + mean.var(dim=0), torch.ones(4))


def test_the_norm_of_posteriors_starts_from_the_first_batch_and_then_averages() -> None:
    norm = PosteriorNorm(1)
    # Means ±1 and ±3 have variances 2 and 18 (n − 1 in the denominator); those of the posteriors are e^0.
    norm(torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1))
    assert norm.running_mean.item() == pytest.approx(2)
    assert norm.running_log_variance.item() == pytest.approx(math.log(3))
    norm(torch.tensor([[-3.0], [3.0]]), torch.zeros(2, 1))
    assert norm.running_mean.item() == pytest.approx(1)
    assert norm.running_log_variance.item() == pytest.approx((math.log(3) + math.log(19)) / 2)
    mean, log_variance = norm.eval()(torch.tensor([[1.0]]), torch.zeros(1, 1))
    assert mean.item() == 0
    assert log_variance.item() == pytest.approx(-(math.log(3) + math.log(19)) / 2)


def test_gwae_trains_the_critic_apart() -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=3, width=4)
    images = digits()
    before = {name: p.clone() for name, p in model.named_parameters()}

    def moved() -> set[str]:
        return {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}

    model.critic_step(images, torch.randn(32, 3))
    assert moved() == {"critic"}
    before = {name: p.clone() for name, p in model.named_parameters()}
    NetworkAutoencoder.train_step(model, images)
    assert moved() == {"encoder", "decoder", "code_prior", "log_distance_scale"}


def test_gwae_gives_the_critic_its_number_of_steps() -> None:
    model = GWAE(SHAPE, latent_dim=3, width=4, critic_steps=3)
    model.train_step(digits())
    steps = {int(state["step"]) for state in model.critic_optimizer.state.values()}
    assert steps == {3}


def test_the_critic_of_gwae_learns_to_tell_joints_apart() -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=3, width=4, critic_lr=3e-3)
    images = digits()
    for _ in range(25):
        model.critic_step(images, torch.randn(32, 3) + 2)
    with torch.no_grad():
        prior_codes = model.sample_prior(32)
        ours = (images, torch.randn(32, 3) + 2)
        data, prior = model.critic.compare(ours, (model.decoder(prior_codes), prior_codes))
    assert (prior - data).mean() > 1


def test_the_score_of_gwae_is_the_critics_value_at_a_draw_of_the_posterior_and_its_decoding() -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=3, width=4).eval()
    images = digits()
    torch.manual_seed(2)
    score = model.score(images)
    torch.manual_seed(2)
    codes = model.draw_codes(images)
    assert score.std() > 0
    torch.testing.assert_close(score, model.critic(model.decode(codes), codes)[:, 0])


def test_the_score_of_gwae_is_higher_for_what_its_critic_learned_to_tell_from_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=3, width=4, critic_lr=3e-3)
    for _ in range(25):
        with torch.no_grad():
            codes = torch.randn(32, 3) + 2
            images = model.decoder(codes)
        model.critic_step(images, codes)
    scores = []
    with torch.no_grad():
        for codes in (torch.randn(32, 3) + 2, model.sample_prior(32)):
            monkeypatch.setattr(model, "draw_codes", lambda _, codes=codes: codes)
            scores.append(model.score(digits()))
    like_data, like_samples = scores
    assert (like_data < like_samples.mean()).all()
    assert like_samples.mean() - like_data.mean() > 1


def test_every_layer_of_the_critic_has_spectral_norm_1() -> None:
    torch.manual_seed(0)
    critic = GWAE(SHAPE, latent_dim=3, width=4).critic
    for _ in range(30):  # of power iteration
        critic(digits(), torch.randn(32, 3))
    weights = [module.weight for module in critic.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(weights) == 3 + 1 + 3 + 3
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, rel=0.02)


def test_the_critic_sees_one_pixel_at_the_end_of_its_convolutions() -> None:
    critic = GWAE((3, 64, 64), latent_dim=4, width=4).critic
    filters = [module.out_channels for module in critic.image_features if isinstance(module, nn.Conv2d)]
    assert filters == [8, 16, 32, 64, 128, 256]
    assert critic.image_features(torch.rand(2, 3, 64, 64)).shape == (2, 64)


@pytest.mark.parametrize("prior", get_args(GWAEPrior))
def test_gwae_samples_each_prior_and_learns_its_parameters(prior: GWAEPrior) -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=3, width=4, prior=prior, num_components=4, critic_steps=1)
    before = [p.clone() for p in model.code_prior.parameters()]
    trained(model, 3)
    with torch.no_grad():
        assert model.sample_prior(7).shape == (7, 3)
    moved = [not torch.equal(p, q) for p, q in zip(before, model.code_prior.parameters(), strict=True)]
    # The logits of the mixture have no gradient: membership is drawn.
    assert moved.count(False) == (1 if prior == "gaussian-mixture" else 0)
    assert bool(moved) == (prior not in ("normal", "uniform", "sphere"))


def test_the_uniform_prior_of_gwae_has_unit_variance() -> None:
    torch.manual_seed(0)
    codes = GWAE(SHAPE, latent_dim=2, width=4, prior="uniform").draw_prior(20_000)
    assert codes.abs().max().item() == pytest.approx(math.sqrt(3), abs=1e-3)
    assert codes.var(dim=0).tolist() == pytest.approx([1, 1], abs=0.03)


def test_gwae_tells_the_causes_in_its_causal_prior_alone() -> None:
    mask = GWAE(SHAPE, latent_dim=3, width=4, prior="causal").causal_mask()
    assert mask.shape == (3, 3)
    with pytest.raises(Unsupported, match='prior = "causal"'):
        GWAE(SHAPE, latent_dim=3, width=4).causal_mask()


def test_gwae_draws_codes_of_each_component() -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=2, width=4, prior="gaussian-mixture", num_components=3).eval()
    assert isinstance(model.code_prior, GaussianMixturePrior)
    model.code_prior.means.data = torch.tensor([[-50.0, 0.0], [0.0, 50.0], [50.0, 50.0]])
    codes = model.component_codes(20)
    assert codes.shape == (3, 20, 2)
    members = model.code_prior.log_responsibilities(codes.flatten(end_dim=1)).argmax(dim=1)
    assert members.tolist() == [0] * 20 + [1] * 20 + [2] * 20


def test_gwae_assigns_images_to_the_component_nearest_their_code() -> None:
    torch.manual_seed(0)
    model = GWAE(SHAPE, latent_dim=2, width=4, prior="gaussian-mixture", num_components=3).eval()
    images = digits(3)
    assert isinstance(model.code_prior, GaussianMixturePrior)
    with torch.no_grad():
        model.code_prior.means.copy_(model.encode(images).flip(0) * math.sqrt(1 + 1e-5))
        model.code_prior.factors.copy_(1e-3 * torch.eye(2).expand(3, 2, 2))
    assert model.components(images).tolist() == [2, 1, 0]


def test_gwae_has_components_only_with_the_mixture() -> None:
    with pytest.raises(Unsupported, match="gaussian-mixture"):
        GWAE(SHAPE, latent_dim=2, width=4).components(digits())
    with pytest.raises(Unsupported, match="gaussian-mixture"):
        GWAE(SHAPE, latent_dim=2, width=4).component_codes(3)
