"""The two ladder autoencoders: their objectives in the terms of their papers, and how layers make a code."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

from methods.autoencoders.ladder_vae import LadderVAE, merge
from methods.autoencoders.vladder_ae import VLadderAE
from methods.base import Unsupported
from methods.parts.autoencoding import squared_error
from methods.parts.ladder import layer_sizes
from methods.parts.networks import ImageShape, Network
from tests.blurred_bars import SHAPE, digits, trained
from tests.gradients import assert_same_gradients

LADDERS = pytest.mark.parametrize("cls", [LadderVAE, VLadderAE])


@LADDERS
@pytest.mark.parametrize("network", ["conv", "dcgan", "mlp"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (1, 32, 32), (3, 64, 64)])
def test_codes_are_vectors_and_decode_to_images(
    cls: type[LadderVAE | VLadderAE], network: Network, shape: ImageShape
) -> None:
    model = cls(shape, network=network, latent_dim=7, width=2).eval()
    images = torch.rand(2, *shape)
    codes = model.encode(images)
    assert codes.shape == model.draw_codes(images).shape == model.sample_prior(2).shape == (2, 7)
    assert torch.equal(codes, model.encode(images))
    decoded = model.decode(codes)
    assert decoded.shape == images.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1


@LADDERS
@pytest.mark.parametrize("num_layers", [2, 3, 4])
def test_every_dimension_of_the_code_has_a_part_in_the_image(cls: type[LadderVAE | VLadderAE], num_layers: int) -> None:
    torch.manual_seed(0)
    model = cls(SHAPE, latent_dim=6, num_layers=num_layers, width=4).eval()
    codes = model.sample_prior(4).requires_grad_()
    model.decode(codes).square().sum().backward()
    assert codes.grad is not None
    assert (codes.grad != 0).all()


@LADDERS
def test_every_parameter_is_trained(cls: type[LadderVAE | VLadderAE]) -> None:
    torch.manual_seed(0)
    model = cls(SHAPE, latent_dim=6, width=4)
    model.objective(digits())["loss"].backward()
    still = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not still
    optimized = {id(parameter) for group in model.optimizer.param_groups for parameter in group["params"]}
    assert optimized == {id(parameter) for parameter in model.parameters()}


@LADDERS
def test_ladders_learn_to_reconstruct(cls: type[LadderVAE | VLadderAE]) -> None:
    torch.manual_seed(0)
    images = nn.functional.interpolate(digits(), scale_factor=2)
    model = cls((1, 16, 16), latent_dim=4, num_layers=2, width=4, lr=1e-2)
    trained(model, 150, images)
    spread = squared_error(images, images.mean(dim=0).expand_as(images))
    assert squared_error(images, model.decode(model.encode(images))) < 0.5 * spread


def test_layers_have_the_sizes_of_the_paper() -> None:
    assert layer_sizes(124, [16, 8, 4, 2, 1]) == [64, 32, 16, 8, 4]


def test_the_first_layer_has_what_is_left_over_and_every_layer_something() -> None:
    assert layer_sizes(64, [1, 1, 1]) == [22, 21, 21]
    assert layer_sizes(4, [8, 4, 2, 1]) == [1, 1, 1, 1]


@pytest.mark.parametrize(("latent_dim", "num_layers"), [(2, 3), (8, 1)])
def test_a_ladder_needs_two_layers_and_a_dimension_for_each(latent_dim: int, num_layers: int) -> None:
    with pytest.raises(ValueError, match=f"a code of {latent_dim} dimensions cannot have {num_layers} layers"):
        LadderVAE(SHAPE, latent_dim=latent_dim, num_layers=num_layers)


# Merging


def test_merging_equally_sure_gaussians_gives_the_mean_of_means_and_half_the_variance() -> None:
    mean, log_variance = merge(*(torch.tensor(value) for value in (4.0, math.log(9.0), -2.0, math.log(9.0))))
    # N(1, 4.5), seen from N(-2, 9).
    assert mean.item() == pytest.approx((1 - -2) / 3)
    assert log_variance.exp().item() == pytest.approx(4.5 / 9)


def test_merging_weighs_means_by_precision() -> None:
    torch.manual_seed(0)
    mean, log_variance, prior_mean, prior_log_variance = torch.randn(4, 5, 3, dtype=torch.float64)
    precision, prior_precision = (-log_variance).exp(), (-prior_log_variance).exp()
    variance = 1 / (precision + prior_precision)
    expected = (mean * precision + prior_mean * prior_precision) * variance
    found, found_log_variance = merge(mean, log_variance, prior_mean, prior_log_variance)
    spread = (0.5 * prior_log_variance).exp()
    torch.testing.assert_close(prior_mean + spread * found, expected)
    torch.testing.assert_close(spread**2 * found_log_variance.exp(), variance)


def test_merging_is_the_normalized_product_of_densities() -> None:
    grid = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    one, other = (torch.tensor(values, dtype=torch.float64) for values in ((1.5, -0.7), (-0.5, 0.4)))
    product = sum(Normal(mean, (0.5 * log).exp()).log_prob(grid) for mean, log in (one, other))
    assert isinstance(product, Tensor)
    weights = product.softmax(dim=0)
    mean = (weights * grid).sum()
    variance = (weights * (grid - mean) ** 2).sum()
    found, found_log_variance = merge(*one, *other)
    spread = (0.5 * other[1]).exp()
    torch.testing.assert_close(other[0] + spread * found, mean)
    torch.testing.assert_close(spread**2 * found_log_variance.exp(), variance)


def test_merging_with_a_far_surer_gaussian_stays_finite() -> None:
    for log_variance in (-200.0, 200.0):
        merged = torch.stack(merge(*(torch.tensor(value) for value in (1.0, log_variance, 0.0, 0.0))))
        assert merged.isfinite().all()


# Ladder VAE


def by_the_paper(model: LadderVAE, images: Tensor) -> tuple[Tensor, Tensor]:
    """−log p(x | z_1) without its constant and the sum of the layers' KL, in terms of z: [B] each.

    The noise is drawn from torch's global generator, layer by layer from the top.
    """
    hidden = [images]
    for step in model.encoder.steps:
        hidden.append(step(hidden[-1]))
    kl = torch.zeros(len(images))
    z = torch.empty(0)
    for layer in reversed(range(model.num_layers)):
        mean, log_variance = model.heads[layer](hidden[layer + 1]).chunk(2, dim=1)
        evidence = Normal(mean, (0.5 * log_variance).exp())
        if layer == model.num_layers - 1:
            prior, posterior = Normal(torch.zeros_like(mean), torch.ones_like(mean)), evidence
        else:
            prior_mean, prior_log_variance = model.decoder.transitions[layer](z).chunk(2, dim=1)
            prior = Normal(prior_mean, (0.5 * prior_log_variance).exp())
            variance = 1 / (evidence.variance**-1 + prior.variance**-1)
            merged = variance * (evidence.mean / evidence.variance + prior.mean / prior.variance)
            posterior = Normal(merged, variance.sqrt())
        kl = kl + kl_divergence(Independent(posterior, 1), Independent(prior, 1))
        z = posterior.mean + posterior.stddev * torch.randn_like(mean)
    decoded = model.decoder.image(z)
    return 0.5 * torch.stack([((x - y) ** 2).sum() for x, y in zip(images, decoded, strict=True)]), kl


@pytest.mark.parametrize("num_layers", [2, 3])
@pytest.mark.parametrize("latent_batch_norm", [True, False])
def test_ladder_vae_objective_and_gradients_are_those_of_the_chain_of_gaussians(
    num_layers: int, latent_batch_norm: bool
) -> None:
    torch.manual_seed(0)
    model = LadderVAE(SHAPE, latent_dim=7, num_layers=num_layers, latent_batch_norm=latent_batch_norm, width=4)
    images = digits(8)

    torch.manual_seed(3)
    losses = model.objective(images)
    torch.manual_seed(3)
    distortion, kl = by_the_paper(model, images)
    torch.testing.assert_close(losses["reconstruction"], distortion.mean())
    torch.testing.assert_close(losses["regularizer"], kl.mean())

    assert_same_gradients(losses["loss"], (distortion + kl).mean(), model.parameters(), rtol=1e-4, atol=1e-5)


def test_ladder_vae_rate_is_the_chains_and_distortion_has_the_constant() -> None:
    torch.manual_seed(0)
    model = LadderVAE(SHAPE, latent_dim=6, width=4).eval()
    images = digits(8)
    with torch.no_grad():
        torch.manual_seed(3)
        rate, distortion = model.rate_distortion(images)
        torch.manual_seed(3)
        expected, kl = by_the_paper(model, images)
    torch.testing.assert_close(rate, kl)
    torch.testing.assert_close(distortion, expected + 32 * math.log(2 * math.pi))


def test_ladder_vae_prior_is_drawn_layer_by_layer_from_the_top() -> None:
    torch.manual_seed(0)
    model = LadderVAE(SHAPE, latent_dim=6, width=4).eval()
    codes = model.sample_prior(5)
    assert model.decoder.sizes == [4, 1, 1]
    z = codes[:, 5:]
    for layer, noise in ((1, codes[:, 4:5]), (0, codes[:, :4])):
        prior_mean, prior_log_variance = model.decoder.transitions[layer](z).chunk(2, dim=1)
        z = prior_mean + (prior_log_variance / 2).exp() * noise
    torch.testing.assert_close(model.decode(codes), model.decoder.image(z))
    assert codes.shape == (5, 6)


def test_ladder_vae_encodes_each_layer_to_its_mean_given_the_means_above() -> None:
    torch.manual_seed(0)
    model = LadderVAE(SHAPE, latent_dim=4, num_layers=2, width=4).eval()
    images = digits(8)
    low, top = model.encoder(images)
    above = model.heads[1](top)[:, :1]
    mean, log_variance = model.heads[0](low).chunk(2, dim=1)
    prior_mean, prior_log_variance = model.decoder.transitions[0](above).chunk(2, dim=1)
    share = prior_log_variance.exp() / (prior_log_variance.exp() + log_variance.exp())
    merged = share * mean + (1 - share) * prior_mean
    codes = model.encode(images)
    torch.testing.assert_close(codes[:, 3:], above)
    torch.testing.assert_close(codes[:, :3], (merged - prior_mean) / (prior_log_variance / 2).exp())
    torch.testing.assert_close(model.decode(codes), model.decoder.image(merged))


def test_ladder_vae_weight_of_the_kl_grows_linearly_to_1_in_training() -> None:
    model = LadderVAE(SHAPE, latent_dim=6, width=4, warm_up=0.25)
    model.planned_steps = 40
    weights = []
    for model.steps_done in (0, 5, 10, 40):
        weights.append(model.beta())
    assert weights == [0.0, 0.5, 1.0, 1.0]
    model.steps_done = 0
    torch.manual_seed(3)
    assert model.objective(digits())["regularizer"] == 0
    assert model.eval().beta() == 1


def test_ladder_vae_weight_of_the_kl_is_1_without_warm_up() -> None:
    model = LadderVAE(SHAPE, latent_dim=6, width=4, warm_up=0.0)
    model.planned_steps = 40
    assert model.beta() == 1


def test_ladder_vae_has_no_posterior_of_independent_dimensions() -> None:
    with pytest.raises(Unsupported, match="layers depend on each other"):
        LadderVAE(SHAPE, latent_dim=6, width=4).posterior(digits())


def test_ladder_vae_normalizes_the_upward_pass_only_where_asked() -> None:
    model = LadderVAE(SHAPE, latent_dim=6, width=4, latent_batch_norm=False)
    assert all(isinstance(head, nn.Linear) for head in model.heads)
    normalized = LadderVAE(SHAPE, latent_dim=6, width=4)
    outputs = torch.cat([head(torch.randn(50, 32)) for head in normalized.heads], dim=1)
    torch.testing.assert_close(outputs.mean(dim=0), torch.zeros(12), atol=1e-5, rtol=0)


# Variational ladder autoencoder


def test_vladder_objective_and_gradients_are_those_of_torch_distributions() -> None:
    torch.manual_seed(0)
    model = VLadderAE(SHAPE, latent_dim=7, width=4)
    images = digits(8)
    torch.manual_seed(3)
    losses = model.objective(images)

    torch.manual_seed(3)
    first, second = model.encoder.features.steps
    below = [images, first(images), second(first(images))]
    outputs = [head(inputs).chunk(2, dim=1) for head, inputs in zip(model.encoder.heads, below, strict=True)]
    posteriors = [Normal(mean, (0.5 * log_variance).exp()) for mean, log_variance in outputs]
    noise = torch.randn(8, 7).split([3, 2, 2], dim=1)
    z = [q.mean + q.stddev * draw for q, draw in zip(posteriors, noise, strict=True)]
    kl = torch.stack([kl_divergence(q, Normal(0.0, 1.0)).sum(dim=1) for q in posteriors]).sum(dim=0)
    entrances, steps = model.decoder.entrances, model.decoder.steps
    second_state = torch.cat([steps[1](z[2]), entrances[1](z[1])], dim=1)
    first_state = torch.cat([steps[0](second_state), entrances[0](z[0])], dim=1)
    decoded = model.decoder.image(first_state)
    distortion = -Independent(Normal(decoded, 1.0), 3).log_prob(images) - 32 * math.log(2 * math.pi)

    torch.testing.assert_close(losses["regularizer"], kl.mean())
    torch.testing.assert_close(losses["reconstruction"], distortion.mean(), rtol=1e-4, atol=1e-4)
    assert_same_gradients(losses["loss"], (distortion + kl).mean(), model.parameters(), rtol=1e-4, atol=1e-5)


def test_vladder_first_layer_sees_the_image_past_the_features_of_the_others() -> None:
    torch.manual_seed(0)
    model = VLadderAE(SHAPE, latent_dim=6, width=4).eval()
    images = digits(8)
    before = model.encode(images)
    with torch.no_grad():
        for parameter in model.encoder.features.parameters():
            parameter.add_(0.1)
    after = model.encode(images)
    assert torch.equal(before[:, :2], after[:, :2])
    assert (before[:, 2:] != after[:, 2:]).any(dim=0).all()
