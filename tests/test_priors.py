"""Moments, supports and independence of the priors."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from methods.parts.causal import CausalGraph, CausalLinear, CausalPrior, neural_sort
from methods.parts.priors import (
    FIXED_PRIORS,
    FactorizedNeuralPrior,
    GaussianMixturePrior,
    LeakySiLU,
    NeuralPrior,
    NormalPrior,
    PriorName,
    SpherePrior,
    UniformPrior,
    VectorQuantizedPrior,
    draw_gumbel,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_normal_prior_has_unit_covariance() -> None:
    torch.testing.assert_close(torch.cov(NormalPrior(3)(50_000, CPU).T), torch.eye(3), atol=0.03, rtol=0)


def test_sphere_prior_is_centered_on_the_unit_sphere() -> None:
    codes = SpherePrior(3)(20_000, CPU)
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(20_000))
    torch.testing.assert_close(codes.mean(dim=0), torch.zeros(3), atol=0.02, rtol=0)


def test_uniform_prior_fills_the_cube() -> None:
    codes = UniformPrior(2)(20_000, CPU)
    assert codes.abs().max() <= 1
    torch.testing.assert_close(codes.var(dim=0), torch.full((2,), 1 / 3), atol=0.01, rtol=0)


def test_codes_are_projected_into_the_support() -> None:
    outputs = 5 * torch.randn(10, 4)
    assert NormalPrior(4).project(outputs) is outputs
    torch.testing.assert_close(SpherePrior(4).project(outputs).norm(dim=1), torch.ones(10))
    assert UniformPrior(4).project(outputs).abs().max() <= 1


def test_a_scale_multiplies_draws_and_projected_codes() -> None:
    for name, cls in FIXED_PRIORS.items():
        standard, scaled = cls(4), cls(4, 3.0)
        torch.manual_seed(1)
        draws = standard(10, CPU)
        torch.manual_seed(1)
        torch.testing.assert_close(scaled(10, CPU), 3 * draws)
        outputs = torch.randn(10, 4)
        factor = 1 if name == "normal" else 3
        torch.testing.assert_close(scaled.project(outputs), factor * standard.project(outputs))


def test_the_scale_enters_the_spread_of_the_normal_prior_alone() -> None:
    spreads = [cls(4, 3.0).squared_spread() for cls in (NormalPrior, SpherePrior, UniformPrior)]
    assert spreads == [2 * 4 * 9, 2, 4]


@pytest.mark.parametrize(("name", "ratio"), [("normal", 1.0), ("sphere", 1.0), ("uniform", 2 / 3)])
def test_spread_is_the_mean_squared_distance_of_two_draws(name: PriorName, ratio: float) -> None:
    prior = FIXED_PRIORS[name](6)
    squared = (prior(50_000, CPU) - prior(50_000, CPU)).square().sum(dim=1).mean()
    assert squared.item() == pytest.approx(ratio * prior.squared_spread(), rel=0.02)


def test_leaky_silu_on_known_values() -> None:
    x = torch.tensor([-2.0, 0.0, 3.0])
    torch.testing.assert_close(LeakySiLU()(x), 0.8 * x * torch.sigmoid(x) + 0.2 * x)


@pytest.mark.parametrize(
    "build", [NeuralPrior, FactorizedNeuralPrior, CausalPrior, lambda dim: GaussianMixturePrior(dim, 5)]
)
def test_a_learned_prior_gives_standardized_batches(build: type[NeuralPrior]) -> None:
    prior = build(4)
    for name, weights in prior.named_parameters():
        if name.endswith("weight") and not name.startswith("batch_norm"):
            weights.data *= 3  # at the start the networks are so flat that the ε of batch norm would show
    codes = prior(256, CPU)
    assert codes.shape == (256, 4)
    torch.testing.assert_close(codes.mean(dim=0), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(codes.var(dim=0, unbiased=False), torch.ones(4), atol=0.01, rtol=0)


def test_a_learned_prior_in_eval_mode_keeps_the_law_it_was_trained_with() -> None:
    prior = NeuralPrior(4)
    for _ in range(20):
        prior(2048, CPU)
    codes = prior.eval()(20_000, CPU)
    torch.testing.assert_close(codes.mean(dim=0), torch.zeros(4), atol=0.1, rtol=0)
    torch.testing.assert_close(codes.var(dim=0), torch.ones(4), atol=0.15, rtol=0)
    assert prior(1, CPU).shape == (1, 4)


def test_each_dimension_of_the_factorized_prior_sees_its_own_noise_alone() -> None:
    prior = FactorizedNeuralPrior(3).eval()
    jacobian = torch.autograd.functional.jacobian(lambda noise: prior.network(noise[None])[0], torch.randn(3))
    assert (jacobian.diagonal() != 0).all()
    assert (jacobian - torch.diag(jacobian.diagonal()) == 0).all()


def test_the_dimensions_of_the_neural_prior_share_their_noise() -> None:
    prior = NeuralPrior(3).eval()
    jacobian = torch.autograd.functional.jacobian(lambda noise: prior.network(noise[None])[0], torch.randn(3))
    assert (jacobian != 0).all()


def test_the_mixture_draws_components_by_their_weights() -> None:
    prior = GaussianMixturePrior(1, 2).eval()
    with torch.no_grad():
        prior.means.copy_(torch.tensor([[-100.0], [100.0]]))
        prior.logits.copy_(torch.tensor([0.25, 0.75]).log() + 3)  # softmax takes the 3 away
    assert (prior(20_000, CPU) > 0).float().mean().item() == pytest.approx(0.75, abs=0.02)


def test_responsibilities_of_the_mixture_are_those_of_torch_distributions() -> None:
    prior = GaussianMixturePrior(3, 4)
    prior.factors.data += 0.5 * torch.randn(4, 3, 3)
    for _ in range(5):
        prior(512, CPU)  # moves the running moments away from 0 and 1
    prior.double().eval()
    points = torch.randn(6, 3, dtype=torch.float64)
    codes = prior.batch_norm(points)
    covariances = prior.factors.mT @ prior.factors
    mixture = MixtureSameFamily(Categorical(logits=prior.logits), MultivariateNormal(prior.means, covariances))
    expected = mixture.component_distribution.log_prob(points[:, None]) + prior.logits.log_softmax(0)
    torch.testing.assert_close(prior.log_responsibilities(codes), expected.log_softmax(1))


def test_draws_of_a_component_have_the_covariance_that_responsibilities_assume() -> None:
    prior = GaussianMixturePrior(2, 2).eval()
    with torch.no_grad():
        prior.means.zero_()
        prior.factors.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0]]).expand(2, 2, 2))
    expected = prior.factors[0].T @ prior.factors[0]
    torch.testing.assert_close(torch.cov(prior(50_000, CPU).T), expected, rtol=0.05, atol=0.05)


def test_draws_of_the_components_are_standardized_as_the_mixture_is() -> None:
    prior = GaussianMixturePrior(2, 3)
    prior.factors.data += 0.3 * torch.randn(3, 2, 2)
    for _ in range(20):
        prior(2048, CPU)  # moves the running moments to the mixture's
    prior.eval()
    mean, variance = prior.batch_norm.running_mean, prior.batch_norm.running_var
    codes = prior.component_codes(40_000)
    assert codes.shape == (3, 40_000, 2)
    for component, center, factor in zip(codes, prior.means, prior.factors, strict=True):
        torch.testing.assert_close(component.mean(dim=0), (center - mean) / variance.sqrt(), atol=0.02, rtol=0.02)
        covariance = (factor.T @ factor) / (variance[:, None] * variance).sqrt()
        torch.testing.assert_close(torch.cov(component.T), covariance, atol=0.02, rtol=0.03)


def test_gumbel_noise_makes_argmax_draw_by_softmax() -> None:
    scores = torch.tensor([0.2, 0.3, 0.5]).log().expand(50_000, 3)
    drawn = (scores + draw_gumbel(scores)).argmax(dim=1)
    assert (drawn.bincount() / 50_000).tolist() == pytest.approx([0.2, 0.3, 0.5], abs=0.01)


def test_quantized_vectors_come_in_the_proportions_of_their_cells() -> None:
    prior = VectorQuantizedPrior(1, 3)
    # The cells end at −1 and 1, where the standard normal has 0.1587 on either side.
    prior.embeddings.data = torch.tensor([[-2.0], [0.0], [2.0]])
    values, counts = prior(50_000, CPU).unique(return_counts=True)
    assert values.tolist() == [-2, 0, 2]
    assert (counts / 50_000).tolist() == pytest.approx([0.1587, 0.6827, 0.1587], abs=0.01)


def test_relaxed_sorting_of_known_scores() -> None:
    # Rows of ((n − 1 − 2r) s_i − Σ_k |s_i − s_k|) for s = (0, 2, 1), before softmax.
    logits = torch.tensor([[-3.0, 1.0, 0.0], [-3.0, -3.0, -2.0], [-3.0, -7.0, -4.0]])
    torch.testing.assert_close(neural_sort(torch.tensor([0.0, 2.0, 1.0])), logits.softmax(dim=1))


def test_hard_causal_graphs_are_acyclic_draws_of_their_probabilities() -> None:
    graph = CausalGraph(4).eval()
    with torch.no_grad():
        draws = torch.vmap(lambda _: graph(), randomness="different")(torch.empty(3000))
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert (torch.linalg.matrix_power(draws, 4) == 0).all()  # no path of as many edges as there are nodes
    torch.testing.assert_close(draws.mean(dim=0), graph.probabilities(), atol=0.04, rtol=0)


def test_relaxed_causal_graphs_are_graded_and_learned() -> None:
    graph = CausalGraph(4)
    mask = graph()
    assert ((mask >= 0) & (mask <= 1)).all()
    assert ((mask > 0.01) & (mask < 0.99)).any()
    gradients = torch.autograd.grad(mask.square().sum(), list(graph.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_relaxed_causal_graphs_are_the_hard_ones_where_scores_are_far_apart() -> None:
    graph = CausalGraph(4)
    graph.scores.data = torch.tensor([0.0, 3000.0, 1000.0, 2000.0])
    graph.edge_scores.data = 1000 * torch.randn(4, 4).sign()
    torch.testing.assert_close(graph(), graph.eval()(), atol=1e-5, rtol=0)
    # Node 1 is first: nothing follows from it, and it from every other that has an edge to it.
    assert graph()[:, 1].tolist() == [0, 0, 0, 0]
    assert graph()[1, [0, 2, 3]].tolist() == (graph.edge_scores[1, [0, 2, 3]] > 0).float().tolist()


def test_a_causal_layer_lets_effects_take_of_their_causes_alone() -> None:
    layer = CausalLinear(3)
    mask = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # 0 causes 1, and 1 causes 2
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x[None], mask)[0], torch.randn(3))
    assert (jacobian != 0).tolist() == [[True, False, False], [True, True, False], [False, True, True]]
    torch.testing.assert_close(jacobian.diagonal(), torch.ones(3))


def test_causes_reach_through_the_chain_of_the_causal_prior() -> None:
    prior = CausalPrior(3).eval()
    mask = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    prior.graph.register_forward_hook(lambda *_: mask)
    with torch.no_grad():
        torch.manual_seed(1)
        noise = torch.randn(50_000, 3)
        torch.manual_seed(1)
        codes = prior(50_000, CPU)
    fitted = torch.linalg.lstsq(torch.cat([noise, torch.ones(50_000, 1)], dim=1), codes).solution[:3].T
    steps = torch.eye(3)
    for layer in prior.layers:
        steps = (torch.eye(3) + layer.weight.T * mask) @ steps
    torch.testing.assert_close(fitted, steps.detach() / (1 + 1e-5) ** 0.5, atol=1e-3, rtol=1e-3)
    assert steps[2, 0] != 0  # the cause of a cause


def test_a_mixture_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 components"):
        GaussianMixturePrior(3, 1)
