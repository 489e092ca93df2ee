"""Autoencoders with a discriminator, and their losses, against the formulas written out."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn, optim
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional as F

from methods.autoencoders.aae import AAE
from methods.autoencoders.ali import ALI
from methods.autoencoders.avb import AVB
from methods.autoencoders.gwae import GWAE
from methods.base import Autoencoder, Likelihood, Unsupported
from methods.parts.adversaries import (
    DenseJointCritic,
    JointCritic,
    discriminator_loss,
    gradient_penalty,
    non_saturating_loss,
)
from methods.parts.joint_adversary import JointAdversary
from methods.parts.networks import ImageShape
from tests.blurred_bars import SHAPE, digits
from tests.gradients import cross_entropy, found_gradients, gradients


def same_parameters(optimizer: optim.Optimizer, expected: Iterable[nn.Parameter]) -> bool:
    return {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in expected}


# Losses


def test_discriminator_minimizes_the_cross_entropy_of_ones_and_zeros() -> None:
    logits, other = 3 * torch.randn(7), 3 * torch.randn(5)
    torch.testing.assert_close(discriminator_loss(logits, other), cross_entropy(logits, 1) + cross_entropy(other, 0))


def test_undecided_discriminator_loses_two_bits() -> None:
    assert discriminator_loss(torch.zeros(3), torch.zeros(4)).item() == pytest.approx(2 * math.log(2))


def test_generator_minimizes_the_cross_entropy_of_ones() -> None:
    logits = 3 * torch.randn(7)
    torch.testing.assert_close(non_saturating_loss(logits), cross_entropy(logits, 1))


def test_gradient_penalty_and_its_gradient_are_those_of_a_loop() -> None:
    torch.manual_seed(0)
    first, last = nn.Linear(5, 6), nn.Linear(6, 1)

    def judge(x: Tensor, z: Tensor) -> Tensor:
        return last(torch.tanh(first(torch.cat([x, z], dim=1))))

    real = torch.randn(4, 3), torch.randn(4, 2)
    fake = torch.randn(4, 3), torch.randn(4, 2)
    torch.manual_seed(1)
    found = gradient_penalty(judge, real, fake)

    torch.manual_seed(1)
    penalties = []
    for i, weight in enumerate(torch.rand(4)):
        point = torch.cat([weight * a[i] + (1 - weight) * b[i] for a, b in zip(real, fake, strict=True)])
        hidden = torch.tanh(first.weight @ point + first.bias)
        slope = (last.weight[0] * (1 - hidden**2)) @ first.weight  # of the critic at the point, by the chain rule
        penalties.append((slope.square().sum().sqrt() - 1) ** 2)
    expected = torch.stack(penalties).mean()
    torch.testing.assert_close(found, expected)
    weights = [first.weight, first.bias, last.weight]  # the last bias has no part in a slope
    torch.testing.assert_close(torch.autograd.grad(found, weights), torch.autograd.grad(expected, weights))


def test_gradient_penalty_of_a_linear_critic_is_known() -> None:
    # ∇ has 12 entries of 2 and 4 of 3: its norm is √(48 + 36), wherever it is taken.
    def critic(images: Tensor, codes: Tensor) -> Tensor:
        return 2 * images.flatten(1).sum(1, keepdim=True) + 3 * codes.sum(1, keepdim=True)

    real, fake = (torch.rand(5, 3, 2, 2), torch.rand(5, 4)), (torch.rand(5, 3, 2, 2), torch.rand(5, 4))
    assert gradient_penalty(critic, real, fake).item() == pytest.approx((math.sqrt(84) - 1) ** 2, rel=1e-5)


def test_gradient_penalty_interpolates_all_arguments_with_one_weight() -> None:
    # Between (0, 0) and (1, 1) the two arguments stay equal, so that this critic's gradient is 0 and the penalty 1.
    def critic(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().sum(dim=1)

    zeros, ones = torch.zeros(9, 2), torch.ones(9, 2)
    assert gradient_penalty(critic, (zeros, zeros), (ones, ones)).item() == pytest.approx(1)


# Discriminators of pairs


@pytest.mark.parametrize("critic_class", [JointCritic, DenseJointCritic])
def test_pairs_are_compared_in_their_order(critic_class: type[JointCritic | DenseJointCritic]) -> None:
    torch.manual_seed(0)
    critic = critic_class(SHAPE, 3, 2, spectral=False)
    one, other = (torch.rand(4, *SHAPE), torch.randn(4, 3)), (torch.rand(2, *SHAPE), torch.randn(2, 3))
    first, second = critic.compare(one, other)
    torch.testing.assert_close(first, critic(*one))
    torch.testing.assert_close(second, critic(*other))


def test_dense_discriminator_of_pairs_has_three_hidden_layers() -> None:
    torch.manual_seed(0)
    critic = DenseJointCritic(SHAPE, 3, 2, dropout=0.9).eval()
    images, codes = torch.rand(4, *SHAPE), torch.randn(4, 3)
    hidden = torch.cat([images.flatten(1), codes], dim=1)
    *inner, last = [layer for layer in critic.modules() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in inner] == [64, 64, 64]
    for layer in inner:
        hidden = hidden @ layer.weight.T + layer.bias
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
    torch.testing.assert_close(critic(images, codes), hidden @ last.weight.T + last.bias)


@pytest.mark.parametrize("method", [ALI, AVB])
def test_discriminator_of_pairs_has_an_optimizer_of_its_own(method: type[JointAdversary]) -> None:
    model = method(SHAPE, latent_dim=3, width=4)
    adversary = list(model.adversary.parameters())
    others = {id(p) for p in model.parameters()} - {id(p) for p in adversary}
    assert same_parameters(model.adversary_optimizer, adversary)
    assert same_parameters(model.optimizer, [p for p in model.parameters() if id(p) in others])


def test_avb_discriminator_learns_alone() -> None:
    torch.manual_seed(0)
    model = AVB(SHAPE, latent_dim=3, width=4)
    model.adversary_loss(digits()).backward()
    assert {id(p) for p in model.parameters() if p.grad is not None} == {id(p) for p in model.adversary.parameters()}


def test_avb_updates_both_sides_from_where_they_stood() -> None:
    torch.manual_seed(0)
    model = AVB(SHAPE, latent_dim=3, width=4, batch_norm=False)
    start, images = copy.deepcopy(model), digits()
    torch.manual_seed(2)
    model.train_step(images)
    torch.manual_seed(2)
    adversary = gradients(start.adversary_loss(images), start.adversary)
    torch.testing.assert_close(found_gradients(model.adversary), adversary)
    loss = start.objective(images)["loss"]
    torch.testing.assert_close(found_gradients(model.encoder), gradients(loss, start.encoder))
    torch.testing.assert_close(found_gradients(model.decoder), gradients(loss, start.decoder))


@pytest.mark.parametrize(("shape", "method"), [((1, 8, 16), ALI), ((1, 16, 8), AVB), ((3, 8, 16), GWAE)])
def test_convolutions_judge_square_images_alone(shape: ImageShape, method: type[Autoencoder]) -> None:
    settings: dict[str, Any] = {"latent_dim": 3, "width": 4, "network": "mlp"}
    with pytest.raises(ValueError, match=f"takes square images, not {shape[1]} x {shape[2]}"):
        method(shape, **settings)


def test_dense_discriminator_judges_images_of_any_shape() -> None:
    model = ALI((1, 8, 16), latent_dim=3, width=4, network="mlp", adversary_network="mlp")
    assert model.train_step(torch.rand(4, 1, 8, 16))["loss"].isfinite()


# ALI


@pytest.mark.parametrize("network", ["conv", "mlp"])
@pytest.mark.parametrize("family", ["gaussian", "deterministic"])
def test_ali_swaps_the_labels_of_the_discriminator(
    family: Literal["gaussian", "deterministic"], network: Literal["conv", "mlp"]
) -> None:
    torch.manual_seed(0)
    model = ALI(
        SHAPE,
        latent_dim=3,
        width=4,
        batch_norm=False,
        posterior_family=family,
        adversary_network=network,
        adversary_dropout=0.0,
    )
    start, images = copy.deepcopy(model), digits()
    torch.manual_seed(2)
    losses = model.train_step(images)

    torch.manual_seed(2)
    prior = torch.randn(32, 3)
    codes = start.encoder(images)
    if family == "gaussian":
        codes = codes[:, :3] + (codes[:, 3:] / 2).exp() * torch.randn(32, 3)
    encoded, decoded = start.adversary(images, codes), start.adversary(start.decoder(prior), prior)
    objective = cross_entropy(encoded, 0) + cross_entropy(decoded, 1)
    discriminator = cross_entropy(encoded, 1) + cross_entropy(decoded, 0)
    torch.testing.assert_close(losses, {"loss": objective, "discriminator": discriminator})
    for part, loss in [("encoder", objective), ("decoder", objective), ("adversary", discriminator)]:
        expected = gradients(loss, getattr(start, part))
        torch.testing.assert_close(found_gradients(getattr(model, part)), expected, rtol=1e-4, atol=1e-6)
        moved = zip(getattr(model, part).parameters(), getattr(start, part).parameters(), strict=True)
        assert all(not torch.equal(now, before) for now, before in moved)


def test_deterministic_ali_has_no_posterior_but_the_code() -> None:
    model = ALI(SHAPE, latent_dim=3, width=4, posterior_family="deterministic").eval()
    images = digits()
    assert torch.equal(model.draw_codes(images), model.encode(images))
    with pytest.raises(Unsupported, match='only with posterior_family = "gaussian"'):
        model.posterior(images)


# AVB


class KnownDensity(JointCritic):
    """What T has to add to ½‖z‖² to be the log-ratio of N(mean, deviation² I) and N(0, I)."""

    def __init__(self, law: Normal) -> None:
        super().__init__(SHAPE, 2, 1)
        self.law = law

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        del images
        return (self.law.log_prob(codes) + 0.5 * math.log(2 * math.pi)).sum(dim=1, keepdim=True)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.7, 0.5), (-0.2, 1.5)])
def test_avb_estimates_the_kl_divergence_where_the_discriminator_is_optimal(mean: float, deviation: float) -> None:
    """Whatever Gaussian the codes, here draws of N(0.7, 0.5² I), are contrasted with."""
    torch.manual_seed(0)
    model = AVB(SHAPE, latent_dim=2, width=4)
    posterior = Normal(0.7, 0.5)
    model.adversary = KnownDensity(Normal((0.7 - mean) / deviation, 0.5 / deviation))
    codes = posterior.sample((50_000, 2))
    found = model.divergences(torch.empty(0), codes, torch.full((1, 2), mean), torch.full((1, 2), deviation))
    expected = (posterior.log_prob(codes) - Normal(0.0, 1.0).log_prob(codes)).sum(dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    analytic = 2 * kl_divergence(posterior, Normal(torch.tensor(0.0), torch.tensor(1.0))).item()
    assert found.mean().item() == pytest.approx(analytic, rel=0.02)


class Quadratic(JointCritic):
    """a z² + b z + c of codes of length 1."""

    def __init__(self, *coefficients: float) -> None:
        super().__init__(SHAPE, 1, 1)
        self.coefficients = nn.Parameter(torch.tensor(coefficients))

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        del images
        a, b, c = self.coefficients
        return a * codes.square() + b * codes + c


def test_avb_discriminator_is_optimal_where_it_is_the_log_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    """For codes of N(1, 0.5²), log q − log p is −2 (z − 1)² + ½ z² + log 2: the network's part is without ½ z²."""
    torch.manual_seed(0)
    model = AVB(SHAPE, latent_dim=1, width=4, adaptive_contrast=False)
    codes = 1 + 0.5 * torch.randn(200_000, 1)
    monkeypatch.setattr(model, "center_and_scales", lambda images: (torch.zeros_like(codes), torch.empty(0)))
    monkeypatch.setattr(model, "draw", lambda center, scales: codes)

    def slope(*coefficients: float) -> Tensor:
        model.adversary = quadratic = Quadratic(*coefficients)
        return torch.autograd.grad(model.adversary_loss(torch.empty(0)), quadratic.coefficients)[0]

    assert slope(-2.0, 4.0, math.log(2) - 2).abs().max() < 0.01
    assert slope(2.0, -4.0, 2 - math.log(2)).abs().max() > 0.1  # the log-ratio of the labels swapped


def test_avb_posterior_has_the_mean_and_the_variance_it_is_normalized_by() -> None:
    torch.manual_seed(0)
    model = AVB(SHAPE, latent_dim=3, width=4, noise_bases=1, batch_norm=False)
    center, scales = model.center_and_scales(digits(1).repeat(64, 1, 1, 1))
    scales = 100 * scales  # they start near exp(−5)
    codes = model.draw(center, scales)
    mean, deviation = model.contrast(center, scales)
    torch.testing.assert_close(codes.mean(dim=0), mean[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(codes.std(dim=0, unbiased=False), deviation[0], rtol=1e-2, atol=0)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("adaptive", [True, False])
def test_avb_minimizes_distortion_plus_log_ratio(adaptive: bool, likelihood: Likelihood) -> None:
    torch.manual_seed(0)
    model = AVB(
        SHAPE, latent_dim=3, width=4, noise_bases=2, batch_norm=False, adaptive_contrast=adaptive, likelihood=likelihood
    )
    images = digits()
    torch.manual_seed(2)
    found = model.objective(images)

    torch.manual_seed(2)
    noise = torch.randn(2, 32, 32)
    outputs = model.encoder(images)
    center, scales = outputs[:, :3], [F.elu(outputs[:, 3 * k : 3 * k + 3] - 5) + 1 for k in (1, 2)]
    codes = center + sum(a * v(eps) for a, v, eps in zip(scales, model.noise_networks, noise, strict=True))
    mean, deviation = torch.zeros(32, 3), torch.ones(32, 3)
    if adaptive:
        mean, deviation = center.detach(), (scales[0] ** 2 + scales[1] ** 2 + 1e-4).sqrt().detach()
    normalized = (codes - mean) / deviation
    standard = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
    ratio = model.adversary(images, normalized)[:, 0] + 0.5 * (normalized**2).sum(dim=1)
    divergence = ratio + Independent(Normal(mean, deviation), 1).log_prob(codes) - standard.log_prob(codes)
    decoded = model.decoder(codes)
    distortion = (
        0.5 * F.mse_loss(decoded, images, reduction="sum")
        if likelihood == "gaussian"
        else F.binary_cross_entropy(decoded, images, reduction="sum")
    ) / 32
    expected = distortion + divergence.mean()
    torch.testing.assert_close(found["loss"], expected)
    for part in (model.encoder, model.decoder, model.noise_networks):
        torch.testing.assert_close(gradients(found["loss"], part), gradients(expected, part), rtol=1e-4, atol=1e-5)


# AAE


def test_aae_updates_autoencoder_then_discriminator_then_encoder() -> None:
    torch.manual_seed(0)
    model = AAE(SHAPE, latent_dim=3, width=4, adversary_width=8, prior_scale=2.0, lr=1e-3, adversary_lr=1e-2)
    by_hand, images = copy.deepcopy(model), digits()
    torch.manual_seed(2)
    losses = model.train_step(images)

    torch.manual_seed(2)
    encoder, decoder, discriminator = by_hand.encoder, by_hand.decoder, by_hand.discriminator
    autoencoder_adam = optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    reconstruction = 0.5 * F.mse_loss(decoder(encoder(images)), images, reduction="sum") / 32
    reconstruction.backward()
    autoencoder_adam.step()

    codes = encoder(images).detach()
    adversary = cross_entropy(discriminator(2 * torch.randn(32, 3)), 1) + cross_entropy(discriminator(codes), 0)
    adversary.backward()
    optim.Adam(discriminator.parameters(), lr=1e-2).step()

    encoder.zero_grad()
    fooling = cross_entropy(discriminator(encoder(images)), 1)
    fooling.backward()
    optim.Adam(encoder.parameters(), lr=1e-2).step()

    expected = {"reconstruction": reconstruction, "regularizer": fooling, "discriminator": adversary}
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(dict(model.named_parameters()), dict(by_hand.named_parameters()), rtol=1e-3, atol=1e-5)
