"""The convolutional input-convex network: its hand-written gradient, its convexity, its sizes."""

from __future__ import annotations

import math

import pytest
import torch

from methods.parts.conv_icnn import ConvICNN

Shape = tuple[int, int, int]
SHAPES: list[Shape] = [(1, 8, 8), (3, 16, 16), (2, 9, 13), (1, 8, 21)]


def network(shape: Shape, dropout: float = 0.0) -> ConvICNN:
    """A potential in double precision with weights large enough to bend."""
    torch.manual_seed(0)
    return ConvICNN(shape, width=8, strong_convexity=0.3, init_std=0.3, dropout=dropout).double()


def images(count: int, shape: Shape) -> torch.Tensor:
    return torch.randn(count, math.prod(shape), dtype=torch.float64)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_equals_autograd(shape, dropout):
    potential = network(shape, dropout)
    points = images(8, shape).requires_grad_()
    values, gradients = potential.value_and_gradient(points)
    (expected,) = torch.autograd.grad(values.sum(), points, retain_graph=True)
    torch.testing.assert_close(gradients, expected)


def test_parts_are_the_whole():
    potential = network((1, 8, 8))
    points = images(8, (1, 8, 8))
    values, gradients = potential.value_and_gradient(points)
    torch.testing.assert_close(potential(points), values)
    torch.testing.assert_close(potential.gradient(points), gradients)


def test_dropout_drops_in_training_alone():
    potential = network((1, 8, 8), dropout=0.4)
    points = images(8, (1, 8, 8))
    whole = network((1, 8, 8))(points)
    assert not torch.allclose(potential.train()(points), whole)
    torch.testing.assert_close(potential.eval()(points), whole)


@pytest.mark.parametrize("shape", SHAPES)
def test_training_through_the_gradient_equals_double_backward(shape):
    potential = network(shape)
    points = images(4, shape).requires_grad_()
    wanted = [points, *potential.parameters()]
    found = torch.autograd.grad((potential.gradient(points) - 1).square().mean(), wanted)
    (by_autograd,) = torch.autograd.grad(potential(points).sum(), points, create_graph=True)
    expected = torch.autograd.grad((by_autograd - 1).square().mean(), wanted)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("shape", SHAPES)
def test_midpoints_lie_below_chords_by_the_strong_convexity(shape):
    potential = network(shape)
    left, right = images(300, shape), images(300, shape)
    with torch.no_grad():
        chord, middle = (potential(left) + potential(right)) / 2, potential((left + right) / 2)
    assert (chord - middle >= 0.3 / 8 * (left - right).square().sum(dim=1) - 1e-9).all()


def test_gradient_is_monotone_with_the_modulus():
    potential = network((1, 8, 8))
    left, right = images(300, (1, 8, 8)), images(300, (1, 8, 8))
    with torch.no_grad():
        product = ((potential.gradient(left) - potential.gradient(right)) * (left - right)).sum(dim=1)
    assert (product >= 0.3 * (left - right).square().sum(dim=1) - 1e-9).all()


def test_negative_weights_break_convexity_until_clamped():
    potential = network((1, 8, 8))
    left, right = images(300, (1, 8, 8)), images(300, (1, 8, 8))

    def lowest_gap() -> float:
        with torch.no_grad():
            return float(((potential(left) + potential(right)) / 2 - potential((left + right) / 2)).min())

    with torch.no_grad():
        potential.output_weight.neg_()
    assert lowest_gap() < 0
    potential.clamp_weights()
    assert lowest_gap() >= 0


@pytest.mark.parametrize("sign", [1, -1])
def test_training_steps_and_clamping_keep_it_convex(sign):
    """Descent of ψ drives the weights down, below 0 where they are not clamped; of -ψ, up."""
    potential = network((1, 8, 8))
    optimizer = torch.optim.Adam(potential.parameters(), lr=0.05)
    for _ in range(5):
        optimizer.zero_grad()
        (sign * potential(images(16, (1, 8, 8))).mean()).backward()
        optimizer.step()
        potential.clamp_weights()
    assert all(weight.min() >= 0 for weight in potential.nonnegative_weights())
    left, right = images(300, (1, 8, 8)), images(300, (1, 8, 8))
    with torch.no_grad():
        gap = (potential(left) + potential(right)) / 2 - potential((left + right) / 2)
    assert gap.min() >= -1e-9


@pytest.mark.parametrize(("side", "stages"), [(8, 1), (16, 2), (20, 3), (64, 4), (128, 5)])
def test_images_are_halved_until_no_side_is_longer_than_4(side, stages):
    potential = ConvICNN((3, side, side), width=4)
    assert len(potential.conv_weights) == stages
    assert potential.dense_weights[0].shape[1] <= 4 * 4 * 4


def test_at_128_the_matrices_have_the_papers_sizes():
    potential = ConvICNN((3, 128, 128))
    assert [tuple(weight.shape) for weight in potential.dense_weights] == [(128, 2048), (64, 128), (32, 64)]
    assert potential.output_weight.shape == (32,)
    assert [tuple(weight.shape) for weight in potential.square_weights] == [(128, 3, 3, 3)] + [(128, 128, 3, 3)] * 3


@pytest.mark.parametrize(("shape", "width"), [((1, 7, 64), 8), ((1, 8, 8), 2)])
def test_what_is_too_small_is_refused(shape, width):
    with pytest.raises(ValueError, match="at least"):
        ConvICNN(shape, width=width)
