"""RAE: its objective and penalties against loops, its spectral norms, the density it samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.autoencoders.rae import RAE, mean_squared_gradient
from tests.blurred_bars import SHAPE, digits, trained

SETTINGS: dict[str, Any] = {"latent_dim": 3, "width": 4, "batch_norm": False}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_gradient_penalty_of_a_linear_decoder_is_known() -> None:
    # x̂ = W z has ∂ Σ x̂² / ∂z = 2 Wᵀ W z.
    decoder = nn.Linear(2, 3, bias=False)
    decoder.weight.data = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    codes = torch.tensor([[1.0, 1.0], [3.0, 0.0]], requires_grad=True)
    penalty = mean_squared_gradient(decoder, codes, decoder(codes))
    assert penalty.item() == pytest.approx((2**2 + 8**2 + 6**2) / 4)


def test_gradient_penalty_is_that_of_a_loop_over_images() -> None:
    model = RAE(SHAPE, regularizer="gradient-penalty", **SETTINGS)
    images = digits(4)
    total = 0.0
    for image in images:
        code = model.encoder(image[None]).detach()
        jacobian = torch.autograd.functional.jacobian(lambda z: model.decoder(z).flatten(), code).squeeze(1)
        output = model.decoder(code).flatten()
        total += sum((2 * output @ jacobian[:, j]).item() ** 2 for j in range(3))
    assert model.objective(images)["decoder"].item() == pytest.approx(total / 12, rel=1e-4)


def test_gradient_penalty_trains_the_decoder() -> None:
    model = RAE(SHAPE, regularizer="gradient-penalty", **SETTINGS)
    gradients = torch.autograd.grad(model.objective(digits())["decoder"], list(model.decoder.parameters())[:1])
    assert gradients[0].abs().max() > 0


def expected_loss(model: RAE, images: Tensor) -> tuple[float, float]:
    """Mean squared error over pixels, mean square of the codes' entries."""
    errors, squares = [], []
    for image in images:
        code = model.encoder(image[None])[0]
        output = model.decoder(code[None])[0]
        errors += [(a - b) ** 2 for a, b in zip(image.flatten().tolist(), output.flatten().tolist(), strict=True)]
        squares += [value**2 for value in code.tolist()]
    return sum(errors) / len(errors), sum(squares) / len(squares)


@pytest.mark.parametrize("regularizer", ["l2", "gradient-penalty", "spectral", "none"])
def test_rae_minimizes_errors_codes_and_its_regularizer(regularizer: Any) -> None:
    model = RAE(SHAPE, regularizer=regularizer, code_weight=0.3, decoder_weight=0.01, **SETTINGS).eval()
    images = digits(5)
    reconstruction, codes = expected_loss(model, images)
    losses = model.objective(images)
    penalty = 0.0
    if regularizer == "l2":
        weights = [w for name, w in model.decoder.named_parameters() if name.endswith("weight")]
        penalty = sum(value**2 for w in weights for value in w.flatten().tolist())
        assert losses["decoder"].item() == pytest.approx(penalty, rel=1e-4)
    elif regularizer == "gradient-penalty":
        penalty = losses["decoder"].item()
        assert penalty > 0
    else:
        assert "decoder" not in losses
    assert losses["reconstruction"].item() == pytest.approx(reconstruction, rel=1e-4)
    assert losses["codes"].item() == pytest.approx(codes, rel=1e-4)
    assert losses["loss"].item() == pytest.approx(reconstruction + 0.3 * codes + 0.01 * penalty, rel=1e-4)


def test_l2_leaves_biases_and_batch_norm_alone() -> None:
    model = RAE(SHAPE, latent_dim=3, width=4)
    parameters = dict(model.decoder.named_parameters())
    (penalty,) = (model.objective(digits())["decoder"],)
    gradients = torch.autograd.grad(penalty, list(parameters.values()), allow_unused=True)
    free = {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None}
    assert free == {name for name, w in parameters.items() if w.ndim == 1}
    assert free


def test_spectral_layers_have_norm_1() -> None:
    model = trained(RAE(SHAPE, regularizer="spectral", latent_dim=3, width=4, lr=1e-3), 60)
    layers = [*model.encoder.modules(), *model.decoder.modules()]
    weights = [layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    assert len(weights) > 4
    for layer in weights:
        # Filters of the output are rows: the second axis of a transposed convolution's kernel.
        kernel = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
        assert torch.linalg.matrix_norm(kernel.flatten(start_dim=1), ord=2).item() == pytest.approx(1, abs=0.05)


def test_spectral_weights_are_trained() -> None:
    model = RAE(SHAPE, regularizer="spectral", **SETTINGS)
    before = {name: p.clone() for name, p in model.named_parameters()}
    trained(model, 3)
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_rae_samples_the_mixture_fitted_to_its_codes() -> None:
    images = digits(128)
    model = trained(RAE(SHAPE, latent_dim=2, width=4, lr=1e-2), 60, images)
    codes, samples = model.encode(images), model.sample_prior(20_000)
    assert ((samples.mean(dim=0) - codes.mean(dim=0)).abs() < 0.05 * codes.std(dim=0)).all()
    torch.testing.assert_close(torch.cov(samples.T), torch.cov(codes.T, correction=0), rtol=0.1, atol=0.01)


def test_large_code_weights_shrink_the_codes() -> None:
    spreads = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        model = trained(RAE(SHAPE, code_weight=weight, latent_dim=2, width=4, lr=1e-2), 60)
        spreads.append(model.encode(digits()).square().mean().item())
    assert spreads[1] < 0.1 * spreads[0]
