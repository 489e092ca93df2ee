"""The Wasserstein autoencoders: their objectives against the formulas, priors, encoders, schedules, and adversary."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from methods.autoencoders.ae import AE
from methods.autoencoders.wae_gan import WAEGAN
from methods.autoencoders.wae_mmd import WAEMMD
from methods.base import Unsupported
from methods.parts.autoencoding import squared_error
from methods.parts.divergences import KernelName, imq_kernel, mmd
from methods.parts.priors import PriorName
from methods.parts.wasserstein import Cost, PosteriorFamily
from tests.blurred_bars import SHAPE, digits, trained


@pytest.mark.parametrize("posterior", ["deterministic", "gaussian", "additive-noise"])
@pytest.mark.parametrize("prior", ["normal", "sphere", "uniform"])
def test_wae_minimizes_weighted_cost_plus_weighted_divergence(prior: PriorName, posterior: PosteriorFamily) -> None:
    torch.manual_seed(0)
    model = WAEMMD(SHAPE, latent_dim=3, width=4, penalty=7.0, prior=prior, posterior_family=posterior, batch_norm=False)
    images = digits()
    torch.manual_seed(2)
    codes = model.draw_codes(images)
    cost = 0.05 * squared_error(images, model.decoder(codes))
    divergence = mmd(codes, model.sample_prior(32), imq_kernel({"normal": 6.0, "sphere": 2.0, "uniform": 3.0}[prior]))
    expected = (cost + 7 * divergence).item()
    torch.manual_seed(2)
    assert model.train_step(images)["loss"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("cost", "expected"), [("l2sq", 0.05 * 16), ("l2", 0.2 * 4), ("l1", 0.02 * 32)])
def test_costs_of_wae_have_the_released_weights(cost: Cost, expected: float) -> None:
    model = WAEMMD(SHAPE, latent_dim=3, width=4, cost=cost)
    model.decoder = nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (32, 3)), Constant(0.5))
    images = torch.cat([torch.zeros(16, *SHAPE), torch.ones(16, *SHAPE)])  # off by ½ in each of 64 pixels
    assert model.objective(images)["reconstruction"].item() == pytest.approx(expected, rel=1e-5)
    weighted = WAEMMD(SHAPE, latent_dim=3, width=4, cost=cost, reconstruction_weight=1.0)
    weighted.decoder = model.decoder
    released = {"l2sq": 0.05, "l2": 0.2, "l1": 0.02}[cost]
    assert weighted.objective(images)["reconstruction"].item() == pytest.approx(expected / released, rel=1e-5)


class Constant(nn.Module):
    """A decoder of one image."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, codes: Tensor) -> Tensor:
        return torch.full((len(codes), *SHAPE), self.value)


def imq_mmd(codes: Tensor, noise: Tensor, base: float) -> Tensor:
    n = len(codes)
    total = codes.new_zeros(())
    for scale in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        c = scale * base
        for i in range(n):
            for j in range(n):
                if i != j:
                    total = total + c / (c + (codes[i] - codes[j]).square().sum()) / (n * (n - 1))
                    total = total + c / (c + (noise[i] - noise[j]).square().sum()) / (n * (n - 1))
                total = total - 2 * c / (c + (codes[i] - noise[j]).square().sum()) / n**2
    return total


def rbf_mmd(codes: Tensor, noise: Tensor) -> Tensor:
    n = len(codes)
    rows = range(n)
    between = torch.stack([(codes[i] - noise[j]).square().sum() for i in rows for j in rows])
    within = torch.stack([(codes[i] - codes[j]).square().sum() for i in rows for j in rows])
    rank = (n * n - n) // 2  # counted from the largest
    bandwidth = between.sort(descending=True).values[rank - 1] + within.sort(descending=True).values[rank - 1]
    total = -2 * torch.exp(-between / (2 * bandwidth)).mean()
    for points in (codes, noise):
        for i in rows:
            for j in rows:
                if i != j:
                    squared = (points[i] - points[j]).square().sum()
                    total = total + torch.exp(-squared / (2 * bandwidth)) / (n * (n - 1))
    return total


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
@pytest.mark.parametrize(("prior", "scale"), [("normal", 1.0), ("normal", 2.0), ("sphere", 2.0), ("uniform", 2.0)])
def test_mmd_of_wae_is_the_released_one_with_its_gradient(kernel: KernelName, prior: PriorName, scale: float) -> None:
    torch.manual_seed(0)
    model = WAEMMD(SHAPE, latent_dim=3, width=4, kernel=kernel, prior=prior, prior_scale=scale)
    noise = model.draw_prior(6).double()
    codes = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    # The scale enters the kernel of the normal prior alone.
    base = {"normal": 2 * 3 * scale**2, "sphere": 2.0, "uniform": 3.0}[prior]
    expected = imq_mmd(codes, noise, base) if kernel == "imq" else rbf_mmd(codes, noise)
    found = model.divergence(codes, noise)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, codes)[0] for value in (found, expected)))


@pytest.mark.parametrize(("prior", "radius"), [("sphere", 3.0), ("uniform", 3.0)])
def test_codes_of_wae_lie_in_the_support_of_its_scaled_prior(prior: PriorName, radius: float) -> None:
    torch.manual_seed(0)
    model = WAEMMD(SHAPE, latent_dim=3, width=4, prior=prior, prior_scale=3.0)
    for codes in (model.draw_codes(digits()), model.draw_prior(32)):
        size = codes.norm(dim=1) if prior == "sphere" else codes.abs().max(dim=1).values
        assert (size <= radius + 1e-5).all()
        assert prior == "uniform" or (size >= radius - 1e-5).all()


def test_additive_noise_is_truncated_at_two_standard_deviations() -> None:
    torch.manual_seed(0)
    model = WAEMMD(SHAPE, latent_dim=3, width=4, posterior_family="additive-noise", noise_std=0.5)
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = digits(256)
    model.draw_codes(images)
    noise = seen[0] - images
    assert noise.abs().max().item() == pytest.approx(1, abs=0.01)
    # The variance of N(0, 1) truncated at 2: 1 − 4 φ(2) / (2 Φ(2) − 1).
    assert (noise / 0.5).var().item() == pytest.approx(0.7737, abs=0.02)


def test_wae_may_start_from_small_normal_weights() -> None:
    torch.manual_seed(0)
    model = WAEGAN((1, 28, 28), latent_dim=3, width=8, network="dcgan", adversary_width=64, init_std=0.01)
    parts = [*model.encoder.named_parameters(), *model.decoder.named_parameters()]
    for name, values in [*parts, *model.discriminator.named_parameters()]:
        if values.ndim > 1:
            assert values.std().item() == pytest.approx(0.01, rel=0.2), name
        else:
            assert set(values.tolist()) == {0.0 if name.endswith("bias") else 1.0}, name


def test_wae_evaluates_without_the_noise_of_its_encoder() -> None:
    for posterior in ("gaussian", "additive-noise"):
        model = WAEMMD(SHAPE, latent_dim=3, width=4, posterior_family=posterior).eval()
        assert torch.equal(model.encode(digits()), model.encode(digits()))
        assert not torch.equal(model.draw_codes(digits()), model.draw_codes(digits()))


def test_wae_tells_the_gaussian_it_draws_codes_from() -> None:
    torch.manual_seed(0)
    model = WAEMMD(SHAPE, latent_dim=3, width=4, posterior_family="gaussian").eval()
    images = digits(1)
    mean, log_variance = model.posterior(images)
    draws = model.draw_codes(images.expand(20_000, *SHAPE))
    torch.testing.assert_close(mean, model.encode(images))
    torch.testing.assert_close(draws.mean(dim=0), mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(draws.var(dim=0), log_variance[0].exp(), atol=0, rtol=0.05)


@pytest.mark.parametrize(
    "settings",
    [
        {"posterior_family": "deterministic"},
        {"posterior_family": "additive-noise"},
        {"posterior_family": "gaussian", "prior": "sphere"},
    ],
)
def test_wae_has_a_gaussian_posterior_only_where_it_draws_from_one(settings: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match="Gaussian"):
        WAEMMD(SHAPE, latent_dim=3, width=4, **settings).eval().posterior(digits())


def test_a_deterministic_encoder_draws_its_codes() -> None:
    for model in (AE(SHAPE, latent_dim=3, width=4), WAEMMD(SHAPE, latent_dim=3, width=4)):
        assert torch.equal(model.eval().draw_codes(digits()), model.encode(digits()))
        for tell in (model.posterior, model.rate_distortion, model.score):
            with pytest.raises(Unsupported, match=f"{model.name} has"):
                tell(digits())


def test_wae_pretraining_brings_the_moments_of_the_codes_to_the_priors() -> None:
    torch.manual_seed(0)
    model = WAEMMD(SHAPE, latent_dim=2, width=4, lr=1e-2, pretraining_batch=48)
    decoder = [p.clone() for p in model.decoder.parameters()]
    mismatch = [losses["moment_mismatch"].item() for losses in model.prepare(repeat(digits()))]
    assert mismatch[0] > 0.3
    assert mismatch[-1] < 0.1 or len(mismatch) == 200
    assert min(mismatch) == mismatch[-1]
    assert all(torch.equal(p, q) for p, q in zip(decoder, model.decoder.parameters(), strict=True))


def test_wae_pretraining_can_be_left_out() -> None:
    assert list(WAEMMD(SHAPE, latent_dim=2, width=4, pretraining_batch=0).prepare(repeat(digits()))) == []


def test_wae_pretraining_sees_as_many_images_as_asked_for() -> None:
    drawn = 0

    def batches() -> Iterator[Tensor]:
        nonlocal drawn
        while True:
            drawn += 1
            yield digits()

    model = WAEMMD(SHAPE, latent_dim=2, width=4, pretraining_batch=100)
    next(iter(model.prepare(batches())))
    assert drawn == 4


def test_wae_lowers_its_learning_rates_by_the_epoch() -> None:
    model = WAEGAN(SHAPE, latent_dim=2, width=4, adversary_width=8, schedule="smooth", lr=1e-3, adversary_lr=2e-3)
    trained(model, 20)
    assert model.optimizer.param_groups[0]["lr"] == pytest.approx(1e-5)
    assert model.adversary_optimizer.param_groups[0]["lr"] == pytest.approx(2e-5)


def test_wae_on_the_plateau_schedule_goes_by_its_losses() -> None:
    model = WAEGAN(SHAPE, latent_dim=2, width=4, adversary_width=8, schedule="plateau", lr=1e-3, adversary_lr=2e-3)
    losses = [model.train_step(digits())["loss"].item() for _ in range(3)]
    assert model.plateau.losses == losses
    model.plateau.factor = 0.5
    model.train_step(digits())
    assert model.optimizer.param_groups[0]["lr"] == pytest.approx(5e-4)
    assert model.adversary_optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


def test_wae_mmd_with_either_kernel_shapes_the_codes() -> None:
    for kernel in ("imq", "rbf"):
        torch.manual_seed(0)
        model = WAEMMD(SHAPE, latent_dim=2, width=4, kernel=kernel, lr=1e-2, pretraining_batch=0, penalty=50.0)
        codes = trained(model, 60, digits(128)).encode(digits(128))
        assert codes.mean(dim=0).abs().max() < 0.4
        assert codes.std(dim=0).tolist() == pytest.approx([1, 1], abs=0.4)


def test_wae_gan_gives_the_adversary_the_step_after() -> None:
    torch.manual_seed(0)
    model = WAEGAN(SHAPE, latent_dim=2, width=4, adversary_width=8)
    before = {name: p.clone() for name, p in model.named_parameters()}
    super(WAEGAN, model).train_step(digits())
    moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"encoder", "decoder"}
    losses = model.train_step(digits())
    moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"encoder", "decoder", "discriminator"}
    torch.testing.assert_close(losses["loss"], losses["reconstruction"] + 10 * losses["divergence"])


def test_the_known_prior_adds_its_log_density_to_the_logit() -> None:
    torch.manual_seed(0)
    model = WAEGAN(SHAPE, latent_dim=4, width=4, adversary_width=8, known_prior=True, prior_scale=3.0)
    codes = torch.randn(5, 4)
    density = Independent(Normal(torch.zeros(4), 3.0), 1).log_prob(codes)
    # The authors' constant is that of one dimension.
    torch.testing.assert_close(model.logits(codes) - model.discriminator(codes), density + 1.5 * math.log(2 * math.pi))


def test_wae_gan_tells_the_prior_from_codes_by_weighted_cross_entropy() -> None:
    torch.manual_seed(0)
    model = WAEGAN(SHAPE, latent_dim=3, width=4, adversary_width=8, penalty=7.0, known_prior=True, lr=0.0)
    images = digits()
    before = WAEGAN(SHAPE, latent_dim=3, width=4, adversary_width=8, penalty=7.0, known_prior=True)
    before.load_state_dict(model.state_dict())
    torch.manual_seed(2)
    found = model.train_step(images)
    torch.manual_seed(2)
    codes, _, noise = before.draw_codes(images), before.draw_prior(32), before.draw_prior(32)
    at_prior, at_codes = before.logits(noise).sigmoid(), before.logits(codes).sigmoid()
    expected = -7 * (at_prior.log().mean() + (1 - at_codes).log().mean())
    assert found["discriminator"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert found["divergence"].item() == pytest.approx(-at_codes.log().mean().item(), rel=1e-4)


def test_the_known_prior_must_be_normal() -> None:
    with pytest.raises(ValueError, match='known_prior needs prior = "normal", not "sphere"'):
        WAEGAN(SHAPE, known_prior=True, prior="sphere")
