"""The dense input-convex network: its hand-written gradient, its convexity, its strong convexity."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from methods.parts.icnn import NARROW, DenseICNN

SHAPES = [((6,), 1), ((16, 8), 1), ((16, 12, 8), 3)]


def network(hidden: tuple[int, ...], rank: int, dropout: float = 0.0, dim: int = 5) -> DenseICNN:
    """A potential on R^dim in double precision with weights large enough to bend."""
    torch.manual_seed(0)
    return DenseICNN(dim, hidden, rank=rank, strong_convexity=0.3, init_std=0.5, dropout=dropout).double()


@pytest.mark.parametrize(("hidden", "rank"), SHAPES)
def test_gradient_equals_autograd(hidden, rank):
    potential = network(hidden, rank)
    points = torch.randn(64, 5, dtype=torch.float64, requires_grad=True)
    values, gradients = potential.value_and_gradient(points)
    (expected,) = torch.autograd.grad(potential(points).sum(), points)
    torch.testing.assert_close(gradients, expected)
    torch.testing.assert_close(values, potential(points))
    torch.testing.assert_close(potential.gradient(points), expected)


@pytest.mark.parametrize(("hidden", "rank"), SHAPES)
def test_training_through_the_gradient_equals_double_backward(hidden, rank):
    potential = network(hidden, rank)
    points = torch.randn(64, 5, dtype=torch.float64, requires_grad=True)
    wanted = [points, *potential.parameters()]
    loss = (potential.gradient(points) - 1).square().mean()
    (by_autograd,) = torch.autograd.grad(potential(points).sum(), points, create_graph=True)
    reference = (by_autograd - 1).square().mean()
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    expected = torch.autograd.grad(reference, wanted, allow_unused=True)
    for name, ours, theirs in zip(["points", *dict(potential.named_parameters())], found, expected, strict=True):
        if theirs is None:  # a bias no gradient depends on
            theirs = torch.zeros_like(ours) if ours is not None else None
        torch.testing.assert_close(ours, theirs, msg=lambda text, name=name: f"{name}: {text}")


def test_dropout_drops_the_same_entries_in_value_and_gradient():
    potential = network((16, 12, 8), 2, dropout=0.4).train()
    points = torch.randn(64, 5, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    values, gradients = potential.value_and_gradient(points)
    (expected,) = torch.autograd.grad(values.sum(), points, retain_graph=True)
    torch.testing.assert_close(gradients, expected)
    assert not torch.allclose(values, potential.eval()(points))


@pytest.mark.parametrize("dim", [3, NARROW])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize(("hidden", "rank"), SHAPES)
def test_derivatives_of_values_and_gradients_are_those_of_finite_differences(hidden, rank, dropout, dim):
    potential = network(hidden, rank, dropout, dim)
    names = [name for name, _ in potential.named_parameters()]

    def evaluate(points, *weights):
        torch.manual_seed(1)  # the same entries are dropped each time
        return functional_call(potential, dict(zip(names, weights, strict=True)), (points,))

    potential.forward = potential.value_and_gradient
    points = torch.randn(4, dim, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(evaluate, (points, *potential.parameters()), fast_mode=True)


def test_values_and_gradients_are_not_differentiated_twice():
    potential = network((16, 8), 1)
    points = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    (once,) = torch.autograd.grad(potential.gradient(points).square().sum(), points, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        once.sum().backward()


@pytest.mark.filterwarnings("error")  # of operations that vmap does one network after the other
@pytest.mark.parametrize(("hidden", "rank"), SHAPES)
def test_several_networks_at_once_are_each_by_itself(hidden, rank):
    networks = [network(hidden, rank), network(hidden, rank)]
    with torch.no_grad():
        networks[1].square_weight.mul_(0.5)
    networks[0].forward = networks[0].value_and_gradient
    points = torch.randn(2, 20, 5, dtype=torch.float64)
    parameters, _ = stack_module_state(networks)

    def evaluate(weights, points):
        return functional_call(networks[0], weights, (points,))

    values, gradients = vmap(evaluate)(parameters, points)
    (values.square().sum() + gradients.square().sum()).backward()
    for at, own in enumerate(networks):
        expected_values, expected_gradients = own.value_and_gradient(points[at])
        torch.testing.assert_close(values[at], expected_values)
        torch.testing.assert_close(gradients[at], expected_gradients)
        (expected_values.square().sum() + expected_gradients.square().sum()).backward()
        for name, weight in own.named_parameters():
            torch.testing.assert_close(parameters[name].grad[at], weight.grad)


@pytest.mark.parametrize(("hidden", "rank"), SHAPES)
def test_midpoints_lie_below_chords_by_the_strong_convexity(hidden, rank):
    potential = network(hidden, rank)
    left, right = 3 * torch.randn(2, 1000, 5, dtype=torch.float64)
    with torch.no_grad():
        gap = (potential(left) + potential(right)) / 2 - potential((left + right) / 2)
    assert (gap >= 0.3 / 8 * (left - right).square().sum(dim=1) - 1e-9).all()


def test_gradient_is_monotone_with_the_modulus():
    potential = network((16, 12, 8), 2)
    left, right = 3 * torch.randn(2, 1000, 5, dtype=torch.float64)
    with torch.no_grad():
        product = ((potential.gradient(left) - potential.gradient(right)) * (left - right)).sum(dim=1)
    assert (product >= 0.3 * (left - right).square().sum(dim=1) - 1e-9).all()


def test_negative_weights_break_convexity_until_clamped():
    potential = network((16, 12, 8), 1)
    left, right = 3 * torch.randn(2, 1000, 5, dtype=torch.float64)

    def lowest_gap() -> float:
        with torch.no_grad():
            return float(((potential(left) + potential(right)) / 2 - potential((left + right) / 2)).min())

    with torch.no_grad():
        potential.output_weight.sub_(1)
    assert lowest_gap() < 0
    potential.clamp_weights()
    assert lowest_gap() >= 0


def test_a_network_without_hidden_layers_is_refused():
    with pytest.raises(ValueError, match="at least one width"):
        DenseICNN(5, ())
