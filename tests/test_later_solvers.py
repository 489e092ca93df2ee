"""The solvers that came after the W2 benchmark, and the conjugates and networks they are made of."""

from __future__ import annotations

import contextlib
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from datasets.pairs.gaussians import Gaussians
from methods.base import TransportMap, Unsupported
from methods.parts.conjugate import LBFGS, conjugate_points
from methods.parts.icnn import DenseICNN
from methods.parts.mlp import DensePotential, ResidualMLP
from methods.parts.optimization import cosine_decay
from methods.transport.amortized_conjugate import AmortizedConjugate
from methods.transport.expectile_not import ExpectileNOT, expectile_loss
from methods.transport.monge_gap import MongeGap, monge_gap, sinkhorn_cost
from methods.transport.ot_cfm import OTCFM, optimal_assignment

PRECISE = LBFGS(tolerance=1e-4)


# Networks


def test_the_written_out_gradient_of_the_potential_is_autograds():
    torch.manual_seed(0)
    potential = DensePotential(4, (16, 8))
    points = torch.randn(10, 4, requires_grad=True)
    values, gradients = potential.value_and_gradient(points)
    (expected,) = torch.autograd.grad(potential(points).sum(), points)
    torch.testing.assert_close(gradients, expected)
    torch.testing.assert_close(values, potential(points))


def test_the_gradient_of_the_potential_can_be_trained():
    torch.manual_seed(0)
    potential = DensePotential(3, (8,)).double()
    points = torch.randn(6, 3, dtype=torch.float64)
    weight = potential.weights[0]
    potential.gradient(points).square().sum().backward()
    step = 1e-6
    before = potential.gradient(points).square().sum().item()
    slope = weight.grad[1, 2].item()
    with torch.no_grad():
        weight[1, 2] += step
    after = potential.gradient(points).square().sum().item()
    assert (after - before) / step == pytest.approx(slope, rel=1e-4)


def test_a_potential_without_layers_is_refused():
    with pytest.raises(ValueError, match="at least one width"):
        DensePotential(2, ())


def test_a_residual_map_without_weights_is_the_identity():
    network = ResidualMLP(3, (8, 8), torch.nn.ELU)
    for weights in network.parameters():
        torch.nn.init.zeros_(weights)
    points = torch.randn(5, 3)
    assert torch.equal(network(points), points)


def test_cosine_decay_starts_at_1_and_ends_at_the_floor():
    assert cosine_decay(0, 100, 0.01) == 1
    assert cosine_decay(50, 100, 0.01) == pytest.approx(0.505)
    assert cosine_decay(100, 100, 0.01) == pytest.approx(0.01)
    assert cosine_decay(200, 100, 0.01) == pytest.approx(0.01)


# Conjugates


def quadratic(matrix: Tensor, offset: Tensor):
    """½ xᵀ A x + bᵀ x, whose conjugate is attained at A⁻¹ (y - b)."""
    return lambda points: (
        (0.5 * (points @ matrix) * points).sum(dim=1) + points @ offset,
        points @ matrix + offset,
    )


@pytest.mark.parametrize("dim", [1, 2, 10])
def test_the_conjugate_of_a_quadratic_is_attained_where_algebra_says(dim: int):
    torch.manual_seed(0)
    root = torch.randn(dim, dim, dtype=torch.float64)
    matrix, offset = root @ root.T + 0.3 * torch.eye(dim), torch.randn(dim, dtype=torch.float64)
    slopes = torch.randn(64, dim, dtype=torch.float64)
    found, iterations = conjugate_points(quadratic(matrix, offset), slopes, torch.zeros_like(slopes), LBFGS(1e-9))
    torch.testing.assert_close(found, torch.linalg.solve(matrix, (slopes - offset).T).T, atol=1e-7, rtol=0)
    assert iterations < 100


def test_the_conjugate_of_an_icnn_is_attained_at_a_gradient_within_the_tolerance():
    torch.manual_seed(0)
    potential = DenseICNN(8, (64, 64, 32), strong_convexity=0.05, init_std=0.3)
    slopes = 2 * torch.randn(300, 8)
    found, iterations = conjugate_points(potential.value_and_gradient, slopes, slopes, PRECISE)
    assert (potential.gradient(found) - slopes).norm(dim=1).max() < 3e-4  # each entry of 8 within 1e-4
    assert iterations < PRECISE.max_iterations


def test_a_conjugate_point_does_not_depend_on_the_others():
    torch.manual_seed(0)
    potential = DenseICNN(4, (32, 16), strong_convexity=0.2, init_std=0.3).double()
    slopes = torch.randn(40, 4, dtype=torch.float64) * torch.logspace(-2, 1, 40)[:, None]
    together, _ = conjugate_points(potential.value_and_gradient, slopes, slopes, PRECISE)
    alone = [conjugate_points(potential.value_and_gradient, row, row, PRECISE)[0] for row in slopes.split(1)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-9, rtol=0)


def test_where_the_conjugate_is_already_attained_nothing_is_done():
    torch.manual_seed(0)
    potential = DenseICNN(3, (16, 16), strong_convexity=0.2)
    points = torch.randn(20, 3)
    found, iterations = conjugate_points(potential.value_and_gradient, potential.gradient(points), points, PRECISE)
    assert iterations == 0
    assert torch.equal(found, points)


def test_iterations_are_bounded_and_descend():
    matrix = torch.diag(torch.logspace(-2, 2, 6, dtype=torch.float64))
    function = quadratic(matrix, torch.zeros(6, dtype=torch.float64))
    slopes = torch.ones(1, 6, dtype=torch.float64)
    gaps = []
    for bound in (0, 2, 4, 8):
        found, iterations = conjugate_points(function, slopes, torch.zeros_like(slopes), LBFGS(1e-12, bound))
        assert iterations == bound
        gaps.append((function(found)[0] - (found * slopes).sum(dim=1)).item())
    assert all(later < earlier for earlier, later in itertools.pairwise(gaps))


def test_a_function_that_is_not_convex_is_descended_to_a_stationary_point():
    def double_well(points: Tensor) -> tuple[Tensor, Tensor]:
        return ((points.square() - 1).square().sum(dim=1), 4 * points * (points.square() - 1))

    start = torch.tensor([[0.1], [-0.1], [3.0]], dtype=torch.float64)
    found, _ = conjugate_points(double_well, torch.zeros_like(start), start, LBFGS(1e-9))
    torch.testing.assert_close(found, torch.tensor([[1.0], [-1.0], [1.0]], dtype=torch.float64))


# Monge gap


def test_the_entropic_cost_approaches_the_exact_one():
    torch.manual_seed(0)
    left, right = torch.randn(2, 30, 3, dtype=torch.float64)
    costs = torch.cdist(left, right).square().numpy()
    exact = costs[linear_sum_assignment(costs)].mean()
    assert sinkhorn_cost(left, right, 1e-3, 100_000).item() == pytest.approx(exact, abs=1e-3 * math.log(30) + 1e-3)


def test_the_gradient_of_the_entropic_cost_is_that_of_its_value():
    torch.manual_seed(0)
    left, right = torch.randn(2, 6, 2, dtype=torch.float64)
    left.requires_grad_()
    sinkhorn_cost(left, right, 1.0, 10_000).backward()
    step = torch.zeros_like(left)
    step[2, 1] = 1e-4
    with torch.no_grad():
        rise = sinkhorn_cost(left + step, right, 1.0, 10_000) - sinkhorn_cost(left - step, right, 1.0, 10_000)
    assert rise.item() / 2e-4 == pytest.approx(left.grad[2, 1].item(), abs=2e-3)


def test_the_monge_gap_of_the_gradient_of_a_convex_function_is_0():
    torch.manual_seed(0)
    points = torch.randn(60, 2, dtype=torch.float64)
    convex = DenseICNN(2, (16, 16), strong_convexity=0.5, init_std=0.2).double()
    for images in (points + 3, 2 * points, convex.gradient(points).detach()):
        epsilon = 1e-3 * torch.cdist(points, images).square().mean()
        assert abs(monge_gap(points, images, epsilon, 2000).item()) < (math.log(60) + 1) * epsilon


def test_the_monge_gap_of_a_reflection_or_rotation_is_what_optimal_transport_saves():
    torch.manual_seed(0)
    points = torch.randn(60, 2, dtype=torch.float64)
    quarter_turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    for images in (-points, points @ quarter_turn):
        costs = torch.cdist(points, images).square().numpy()
        saved = np.trace(costs) / 60 - costs[linear_sum_assignment(costs)].mean()
        assert saved > 1
        assert monge_gap(points, images, 0.01, 10_000).item() == pytest.approx(saved, abs=0.01 * math.log(60))


# Expectiles


def test_the_expectile_loss_at_one_half_is_half_the_squared_error():
    residuals = torch.linspace(-3, 3, 13)
    torch.testing.assert_close(expectile_loss(residuals, 0.5), 0.5 * residuals.square())


def test_at_expectile_1_only_positive_residuals_count():
    assert expectile_loss(torch.tensor([-2.0, 0.0, 2.0]), 1.0).tolist() == [0, 0, 4]


def test_the_minimizer_of_the_expectile_loss_rises_to_the_maximum():
    values = torch.linspace(0, 1, 101)
    offsets = torch.linspace(0, 1, 1001)
    losses = [expectile_loss(values[:, None] - offsets, tau).mean(dim=0) for tau in (0.5, 0.9, 0.999)]
    middle, high, highest = (offsets[loss.argmin()].item() for loss in losses)
    assert middle == pytest.approx(0.5)
    assert high == pytest.approx(0.75, abs=0.01)  # of U(0, 1): √τ / (√τ + √(1 - τ))
    assert highest == pytest.approx(0.97, abs=0.01)


def test_an_expectile_below_one_half_is_refused():
    with pytest.raises(ValueError, match="must lie within"):
        ExpectileNOT(2, expectile=0.3)


# Flow matching


def test_the_coupling_of_a_batch_is_the_exact_assignment():
    torch.manual_seed(0)
    sources, targets = torch.randn(2, 50, 3)
    _, expected = linear_sum_assignment(torch.cdist(sources, targets).square().numpy())
    assert optimal_assignment(sources, targets).tolist() == expected.tolist()


def test_batches_of_different_sizes_have_no_assignment():
    with pytest.raises(ValueError, match="one size, not 3 and 4"):
        optimal_assignment(torch.zeros(3, 2), torch.zeros(4, 2))


def test_pushed_and_pulled_back_points_return():
    torch.manual_seed(0)
    method = OTCFM(3, integration_steps=20).eval()
    points = torch.randn(50, 3)
    with torch.no_grad():
        pushed = method.push(points)
        assert (pushed - points).norm() > 1
        torch.testing.assert_close(method.pull(pushed), points, atol=1e-5, rtol=0)


def test_a_rotating_velocity_field_is_integrated_to_fourth_order():
    class Rotation(torch.nn.Module):
        def forward(self, places_and_times: Tensor) -> Tensor:
            x, y, _ = places_and_times.unbind(dim=1)
            return torch.stack([-y, x], dim=1)

    errors = []
    for steps in (4, 8):
        method = OTCFM(2, integration_steps=steps)
        method.velocity = Rotation()
        turned = method.push(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
        errors.append((turned - torch.tensor([[math.cos(1), math.sin(1)]])).norm().item())
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.1)


# All of them


def scores(method: TransportMap, steps: int, batch_size: int) -> list[float]:
    """L2-UVP of push and, where there is one, of pull, after training between two planar Gaussians."""
    pair = Gaussians(dim=2)
    draws = torch.Generator().manual_seed(0)
    method.planned_steps = steps
    method.train()
    for _ in method.prepare(lambda n: pair.source(n, draws), lambda n: pair.target(n, draws)) or ():
        pass
    for _ in range(steps):
        method.train_step(pair.source(batch_size, draws), pair.target(batch_size, draws))
    method.eval()
    points = pair.source(2000, draws)
    images = pair.true_map(points)
    with torch.no_grad():
        found = [100 * (method.push(points) - images).square().sum(dim=1).mean() / pair.target_variance]
        with contextlib.suppress(Unsupported):
            found.append(100 * (method.pull(images) - points).square().sum(dim=1).mean() / pair.source_variance)
    return [value.item() for value in found]


@pytest.mark.parametrize("options", [{"potential": "mlp"}, {"potential": "icnn", "amortization": "objective"}])
def test_amortized_conjugates_solve_gaussians(options: dict):
    torch.manual_seed(0)
    method = AmortizedConjugate(
        2,
        lr=1e-2,
        adam_beta1=0.9,
        adam_beta2=0.99,
        tolerance=0.1,
        pretrain_steps=100,
        batch_size_pretrain=64,
        **options,
    )
    assert max(scores(method, steps=200, batch_size=128)) < 3
    method.finetune = False
    points = torch.randn(500, 2)
    with torch.no_grad():
        coarse = method.pull(points)
        method.finetune = True
        assert 0 < (coarse - method.pull(points)).norm(dim=1).mean() < 0.5


def test_the_inverse_of_amortized_conjugates_inverts():
    torch.manual_seed(0)
    method = AmortizedConjugate(4, pretrain_steps=100, batch_size_pretrain=64)
    for _ in method.prepare(lambda n: torch.randn(n, 4), lambda n: torch.randn(n, 4)):
        pass
    points = torch.randn(50, 4)
    with torch.no_grad():
        torch.testing.assert_close(method.push(method.pull(points)), points, atol=1e-4, rtol=0)


def test_the_expectile_solver_solves_gaussians():
    torch.manual_seed(0)
    assert max(scores(ExpectileNOT(2, hidden=(64, 64), lr=2e-3), steps=600, batch_size=256)) < 5


def test_the_monge_gap_solves_gaussians():
    torch.manual_seed(0)
    method = MongeGap(2, lr=5e-3, gap_weight=1.0, gap_epsilon=0.05, sinkhorn_iterations=50)
    (forward,) = scores(method, steps=200, batch_size=128)  # there is no inverse
    assert forward < 8


def test_flow_matching_solves_gaussians():
    torch.manual_seed(0)
    assert max(scores(OTCFM(2, lr=5e-3), steps=400, batch_size=128)) < 5
