"""Autoencoders with spatial transformers: warps of known images, and objectives against their formulas in loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from methods.autoencoders.guided_vae import DeformablePCA, GuidedVAE
from methods.autoencoders.vitae import VITAE
from methods.parts.autoencoding import squared_error
from methods.parts.networks import ImageShape, Network
from methods.parts.spatial import AffineTransformer, DiffeomorphicTransformer
from tests.blurred_bars import SHAPE, digits, trained
from tests.gradients import assert_same_gradients


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# Warps


def _give(transformer: AffineTransformer, numbers: list[float]) -> AffineTransformer:
    """The transformer, whose network now gives these six numbers for any code."""
    with torch.no_grad():
        transformer.network[-1].weight.zero_()
        transformer.network[-1].bias.copy_(torch.tensor(numbers))
    return transformer


def _pixel_by_pixel(image: Tensor, matrix: Tensor) -> Tensor:
    """An image [C, H, W] under (A, t) [2, 3]: each pixel is a mean of four, weighted by their closeness."""
    _, height, width = image.shape
    pixels = []
    for row in range(height):
        for column in range(width):
            position = torch.tensor([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1, 1.0]).to(matrix)
            x, y = matrix @ position
            u = ((x + 1) * width / 2 - 0.5).clamp(0, width - 1)
            v = ((y + 1) * height / 2 - 0.5).clamp(0, height - 1)
            left, top = int(min(u.item(), width - 2)), int(min(v.item(), height - 2))
            upper = (left + 1 - u) * image[:, top, left] + (u - left) * image[:, top, left + 1]
            lower = (left + 1 - u) * image[:, top + 1, left] + (u - left) * image[:, top + 1, left + 1]
            pixels.append((top + 1 - v) * upper + (v - top) * lower)
    return torch.stack(pixels, dim=1).view(image.shape)


def test_no_transformation_leaves_images_as_they_are() -> None:
    transformer = _give(AffineTransformer(3, 4), [0.0] * 6)
    torch.testing.assert_close(transformer(digits(), torch.randn(32, 3)), digits())


def test_a_quarter_turn_is_that_of_the_pixels() -> None:
    transformer = _give(AffineTransformer(3, 4), [-1.0, -1.0, 0.0, 1.0, -1.0, 0.0])  # with the identity, x, y = −y, x
    expected = torch.rot90(digits(), 1, dims=(2, 3))
    torch.testing.assert_close(transformer(digits(), torch.randn(32, 3)), expected)


def test_a_shift_by_two_pixels_repeats_the_border() -> None:
    transformer = _give(AffineTransformer(3, 4), [0.0, 0.0, 2 * 2 / 8, 0.0, 0.0, 0.0])
    images = digits()
    expected = torch.cat([images[..., 2:], images[..., -1:], images[..., -1:]], dim=3)
    torch.testing.assert_close(transformer(images, torch.randn(32, 3)), expected)


def test_images_that_are_not_square_are_warped_pixel_by_pixel() -> None:
    transformer = _give(AffineTransformer(3, 4), [0.2, -0.3, 0.1, 0.4, -0.1, -0.2])
    images, codes = torch.rand(2, 3, 4, 6), torch.randn(2, 3)
    expected = [
        _pixel_by_pixel(image, matrix) for image, matrix in zip(images, transformer.matrices(codes), strict=True)
    ]
    torch.testing.assert_close(transformer(images, codes), torch.stack(expected))


# Guided VAE


def test_the_guide_without_a_transformation_is_linear() -> None:
    guide = DeformablePCA(SHAPE, [2, 3], units=4)
    _give(guide.transformer, [0.0] * 6)
    codes = torch.randn(6, 5)
    expected = codes[:, 2:] @ guide.basis.weight.T + guide.basis.bias
    torch.testing.assert_close(guide(codes), expected.view(6, *SHAPE))


def test_overlap_of_an_orthogonal_basis_is_0_whatever_its_lengths() -> None:
    guide = DeformablePCA(SHAPE, [1, 3], units=4)
    with torch.no_grad():
        guide.basis.weight.zero_()
        guide.basis.weight[:3] = torch.diag(torch.tensor([1.0, 2.0, 3.0]))
    assert guide.overlap().item() == 0
    with torch.no_grad():
        guide.basis.weight[0] = 1.0
    # Inner products of (1, 0, 0), (1, 2, 0) and (1, 0, 3) are 1, each counted twice.
    assert guide.overlap().item() == pytest.approx(6)


def test_guided_vae_adds_the_error_of_the_guide_and_the_overlap_of_its_basis() -> None:
    model = GuidedVAE(SHAPE, latent_dim=4, width=2, guided_dims=2, guide_weight=3.0, overlap_weight=0.5)
    images = torch.rand(4, *SHAPE)
    torch.manual_seed(2)
    found = model.objective(images)["loss"]

    torch.manual_seed(2)
    mean, log_variance = model.posterior(images)
    posterior = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    codes = posterior.rsample()
    expected = kl_divergence(posterior, Independent(Normal(torch.zeros(4), torch.ones(4)), 1)).mean()
    decoded = model.decoder(codes)
    basis = model.guide.basis.weight
    for image, reconstruction, code in zip(images, decoded, codes, strict=True):
        content = model.guide.basis.bias
        for k in range(2):
            content = content + code[2 + k] * basis[:, k]
        matrix = torch.eye(2, 3) + model.guide.transformer.network(code[:2]).view(2, 3)
        explained = _pixel_by_pixel(content.view(SHAPE), matrix)
        expected = expected + 0.5 * ((image - reconstruction) ** 2).sum() / 4
        expected = expected + 3.0 * ((image - explained) ** 2).sum() / 4
    expected = expected + 0.5 * 2 * (basis[:, 0] @ basis[:, 1]) ** 2

    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert_same_gradients(found, expected, model.parameters())


def test_moving_orthogonal_images_explains_bars_better_than_as_many_principal_components() -> None:
    model = trained(GuidedVAE(SHAPE, latent_dim=4, width=4, lr=1e-2, guide_weight=10.0), 300)
    images = digits()
    singular_values = torch.linalg.svdvals((images - images.mean(dim=0)).flatten(start_dim=1))
    with torch.no_grad():
        explained = model.guide(model.encode(images))
        lengths = model.guide.basis.weight.square().sum(dim=0)
        assert squared_error(images, explained) < singular_values[4:].square().sum() / len(images)
        assert model.guide.overlap() < 0.01 * math.prod(lengths.tolist())


def test_guided_vae_asks_for_both_parts_of_a_code() -> None:
    for guided_dims in (0, 4):
        with pytest.raises(ValueError, match=f"guided_dims is {guided_dims}.*at least 1"):
            GuidedVAE(SHAPE, latent_dim=4, guided_dims=guided_dims)


# VITAE


def test_a_velocity_and_its_opposite_lead_there_and_back() -> None:
    transformer = DiffeomorphicTransformer(3, 4)
    codes = torch.randn(5, 3)
    there = transformer.matrices(codes)
    with torch.no_grad():
        transformer.network[-1].weight.neg_()
        transformer.network[-1].bias.neg_()
    back = transformer.matrices(codes)
    last_row = torch.tensor([0.0, 0.0, 1.0]).expand(5, 1, 3)
    product = torch.cat([there, last_row], dim=1) @ torch.cat([back, last_row], dim=1)
    torch.testing.assert_close(product, torch.eye(3).expand(5, 3, 3))


def test_the_exponential_of_a_spin_is_a_turn() -> None:
    transformer = _give(DiffeomorphicTransformer(3, 4), [0.0, -math.pi / 2, 0.0, math.pi / 2, 0.0, 0.0])
    turned = transformer(digits(), torch.randn(32, 3))
    torch.testing.assert_close(turned, torch.rot90(digits(), 1, dims=(2, 3)), atol=1e-5, rtol=1e-5)


def test_vitae_minimizes_the_negative_evidence_bound_of_perspective_and_appearance() -> None:
    model = VITAE(SHAPE, latent_dim=5, perspective_dims=3, width=2)
    images = torch.rand(4, *SHAPE)
    torch.manual_seed(2)
    found = model.objective(images)["loss"]

    torch.manual_seed(2)
    noise = torch.randn(4, 5)
    expected = torch.zeros(())
    codes = []
    for encoder, part in zip(model.encoder.parts, noise.split([3, 2], dim=1), strict=True):
        mean, log_variance = encoder(images).chunk(2, dim=1)
        deviation = (0.5 * log_variance).exp()
        expected = expected + kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0)).sum() / 4
        codes.append(mean + deviation * part)
    appearances = model.decoder.appearance(codes[1])
    velocities = model.decoder.transformer.network(codes[0]).view(4, 2, 3)
    for image, appearance, velocity in zip(images, appearances, velocities, strict=True):
        square = torch.cat([velocity, torch.zeros(1, 3)])
        power, exponential = torch.eye(3), torch.eye(3)
        for n in range(1, 15):
            power = power @ square / n
            exponential = exponential + power
        expected = expected + 0.5 * ((image - _pixel_by_pixel(appearance, exponential[:2])) ** 2).sum() / 4

    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert_same_gradients(found, expected, model.parameters())


def test_perspective_moves_one_appearance_and_appearance_takes_its_place() -> None:
    model = VITAE(SHAPE, latent_dim=4, perspective_dims=2, width=4).eval()
    perspective, appearance = torch.randn(2), torch.randn(2)
    codes = torch.cat([perspective, appearance]).repeat(2, 1)
    codes[1, :2] += 1.0
    still = model.decoder.appearance(appearance[None])[0]
    matrices = model.decoder.transformer.matrices(codes[:, :2])
    expected = torch.stack([_pixel_by_pixel(still, matrix) for matrix in matrices])
    torch.testing.assert_close(model.decode(codes), expected)
    assert not torch.allclose(matrices[0], matrices[1])


@pytest.mark.parametrize("network", ["conv", "dcgan", "mlp"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (1, 32, 32), (3, 64, 64)])
def test_vitae_halves_its_code_and_decodes_to_images(network: Network, shape: ImageShape) -> None:
    model = VITAE(shape, network=network, latent_dim=7, width=2).eval()
    images = torch.rand(2, *shape)
    codes = model.encode(images)
    assert codes.shape == (2, 7)
    assert model.decoder.sizes == [3, 4]
    decoded = model.decode(codes)
    assert decoded.shape == images.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1


def test_vitae_learns_to_reconstruct_and_moves_what_it_shows() -> None:
    model = trained(VITAE(SHAPE, latent_dim=4, width=4, lr=1e-2, likelihood="bernoulli"), 200)
    images = digits()
    spread = squared_error(images, images.mean(dim=0).expand_as(images))
    with torch.no_grad():
        codes = model.encode(images)
        error = squared_error(images, model.decode(codes))
        assert error < 0.5 * spread
        codes[:, :2] = codes[:, :2].roll(1, dims=0)
        assert squared_error(images, model.decode(codes)) > 2 * error


def test_vitae_asks_for_both_parts_of_a_code() -> None:
    for perspective_dims in (0, 4):
        with pytest.raises(ValueError, match=f"perspective_dims is {perspective_dims}.*at least 1"):
            VITAE(SHAPE, latent_dim=4, perspective_dims=perspective_dims)
