"""The transport pairs: exact moments and maps, and reproducible draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.supplies import DataFolder
from datasets.base import PairDataset
from datasets.cache import load_pair
from datasets.pairs.gaussians import Gaussians
from datasets.pairs.toy2d import Toy2D

TOY_SHAPES = ["8-gaussians", "25-gaussians", "49-gaussians", "100-gaussians", "swiss-roll"]
PAIRS = [Gaussians(dim=2), Gaussians(dim=16), *(Toy2D(shape=shape) for shape in TOY_SHAPES)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: getattr(pair, "shape", f"gaussians-{pair.dim}"))
@pytest.mark.parametrize("side", ["source", "target"])
def test_draws_come_from_the_generator_alone(pair: PairDataset, side: str):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = getattr(pair, side)(100, generator())
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, getattr(pair, side)(100, generator()))
    assert not torch.equal(first, getattr(pair, side)(100, generator(1)))
    assert first.shape == (100, pair.dim)
    assert first.dtype == torch.float32


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: getattr(pair, "shape", f"gaussians-{pair.dim}"))
def test_stated_variances_are_those_of_the_samples(pair: PairDataset):
    for sample, variance in [(pair.source, pair.source_variance), (pair.target, pair.target_variance)]:
        points = sample(400_000, generator()).double()
        assert points.var(dim=0).sum().item() == pytest.approx(variance, rel=0.01)


@pytest.mark.parametrize("shape", TOY_SHAPES)
def test_toy_targets_are_white(shape: str):
    points = Toy2D(shape=shape).target(400_000, generator()).double()
    torch.testing.assert_close(points.mean(dim=0), torch.zeros(2, dtype=torch.float64), atol=0.006, rtol=0)
    torch.testing.assert_close(torch.cov(points.T), torch.eye(2, dtype=torch.float64), atol=0.012, rtol=0)


def test_eight_gaussians_lie_on_a_circle_of_radius_12_deviations():
    points = Toy2D(shape="8-gaussians").target(20_000, generator()).double()
    radii = points.norm(dim=1) * np.sqrt(73)  # whitening divides by √(12²/2 + 1)
    assert radii.mean().item() == pytest.approx(12, abs=0.1)
    assert radii.std().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("shape", "side"), [("25-gaussians", 5), ("49-gaussians", 7), ("100-gaussians", 10)])
def test_grids_have_side_times_side_equal_components(shape: str, side: int):
    points = Toy2D(shape=shape).target(200_000, generator()).double()
    steps = points * np.sqrt(9**2 * (side**2 - 1) / 12 + 1) / 9 + (side - 1) / 2
    cells = steps.round().clamp(0, side - 1)
    assert (steps - cells).std().item() == pytest.approx(1 / 9, rel=0.02)
    counts = torch.unique(cells, dim=0, return_counts=True)[1]
    assert len(counts) == side * side
    assert counts.double().div(len(points)).mul(side * side).sub(1).abs().max() < 0.15


@pytest.mark.parametrize("shape", TOY_SHAPES[:-1])
def test_modes_are_the_centers_of_the_targets_components(shape: str):
    pair = Toy2D(shape=shape)
    assert pair.has_modes
    (modes, deviation), points = pair.modes(), pair.target(100_000, generator())
    assert len(modes) == int(shape.split("-")[0])
    nearest = torch.cdist(points, modes).argmin(dim=1)
    counts = torch.bincount(nearest, minlength=len(modes))
    means = torch.zeros_like(modes).index_add_(0, nearest, points) / counts.unsqueeze(1)
    assert (means - modes).norm(dim=1).max() < 5 * deviation / counts.min().sqrt()
    torch.testing.assert_close(pair.whitening, deviation * torch.eye(2), atol=1e-6, rtol=0)
    spread = torch.cov((points - modes[nearest]).T)
    torch.testing.assert_close(spread / deviation**2, torch.eye(2), atol=0.02, rtol=0)


def test_the_swiss_roll_has_no_modes():
    pair = Toy2D(shape="swiss-roll")
    assert not pair.has_modes
    with pytest.raises(ValueError, match="no modes"):
        pair.modes()


def test_swiss_roll_is_a_spiral_in_scikit_learns_parameters():
    from sklearn.datasets import make_swiss_roll

    pair = Toy2D(shape="swiss-roll")
    theirs = make_swiss_roll(n_samples=50_000, noise=0.8, random_state=0)[0][:, [0, 2]] / 7.5
    ours = pair.target(50_000, generator()) @ torch.linalg.inv(pair.whitening) + pair.mean
    for quantile in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(
            np.quantile(np.linalg.norm(ours, axis=1), quantile),
            np.quantile(np.linalg.norm(theirs, axis=1), quantile),
            rtol=0.02,
        )


def test_gaussians_on_the_line_are_refused():
    with pytest.raises(ValueError, match="dim is 1"):
        Gaussians(dim=1)


@pytest.mark.parametrize("dim", [2, 16, 64, 512])
def test_the_true_map_carries_one_covariance_to_the_other_as_a_gradient(dim: int):
    pair = Gaussians(dim=dim)
    matrix = pair.true_map(torch.eye(dim, dtype=torch.float64)).T.numpy()
    source_covariance = pair.source_factor @ pair.source_factor.T
    target_covariance = pair.target_factor @ pair.target_factor.T
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > 0
    np.testing.assert_allclose(matrix @ source_covariance @ matrix.T, target_covariance, atol=1e-12)


def test_a_loaded_pair_is_the_one_that_was_built(tmp_path: Path):
    for _ in ("built", "found"):
        pair = Gaussians(dim=8)
        load_pair(pair, {"dim": 8}, tmp_path, DataFolder(tmp_path))
        points = pair.source(100, generator())
        assert torch.equal(points, Gaussians(dim=8).source(100, generator()))
        assert torch.equal(pair.true_map(points), Gaussians(dim=8).true_map(points))


def test_samples_have_the_stated_covariances():
    pair = Gaussians(dim=4)
    for sample, factor in [(pair.source, pair.source_factor), (pair.target, pair.target_factor)]:
        covariance = torch.cov(sample(400_000, generator()).double().T)
        np.testing.assert_allclose(covariance, factor @ factor.T, atol=0.04)


def test_the_pair_is_the_authors_own():
    """Their notebook prints the squared distance with ½-cost at D = 1024: the rotations decide its decimals."""
    pair = Gaussians(dim=1024)
    correlation = np.linalg.svd(pair.source_factor.T @ pair.target_factor, compute_uv=False).sum()
    assert pair.source_variance - correlation == pytest.approx(180.0493504018043, abs=1e-9)
