"""The W2 benchmark: the authors' source, the gradient of their networks, and their table's reference rows."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from bench.published import load_published, published_table
from bench.supplies import DataFolder
from datasets.base import DataError, RemoteFile
from datasets.cache import load_pair
from datasets.pairs.w2_benchmark import DIMENSIONS, W2Benchmark
from methods.transport.linear import Linear

SHARED = Path(os.environ.get("BENCH_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data") / "w2benchmark"
REAL = [dim for dim in DIMENSIONS if (SHARED / f"{dim}_v1.pt").exists()]
needs_files = pytest.mark.skipif(
    not REAL, reason=f"the authors' potentials are not in {SHARED}; BENCH_TEST_DATA names another folder"
)
MOMENT_POINTS = 2**14
"""Points the authors estimate the moments of the linear map on, which adds up to 0.8 points to its error."""


def random_potential(dim: int, seed: int) -> dict[str, Tensor]:
    """A network in the layout of the authors' files, with the signs of a convex one."""
    generator = torch.Generator().manual_seed(seed)
    widths = [max(2 * dim, 64), max(2 * dim, 64), max(dim, 32)]

    def random(*shape: int) -> Tensor:
        return 0.2 * torch.randn(shape, generator=generator)

    state = {}
    for layer, width in enumerate(widths):
        state[f"quadratic_layers.{layer}.quadratic_decomposed"] = random(dim, 1, width)
        state[f"quadratic_layers.{layer}.weight"] = random(width, dim)
        state[f"quadratic_layers.{layer}.bias"] = random(width)
    state["convex_layers.0.weight"] = random(widths[1], widths[0]).abs()
    state["convex_layers.1.weight"] = random(widths[2], widths[1]).abs()
    state["final_layer.weight"] = random(1, widths[2]).abs()
    return state


def value(state: dict[str, Tensor], points: Tensor) -> Tensor:
    """ψ at points [B, D], as the authors' network computes it."""

    def quadratic(layer: int) -> Tensor:
        name = f"quadratic_layers.{layer}"
        squares = torch.einsum("bi,iro->bro", points, state[f"{name}.quadratic_decomposed"]).square().sum(dim=1)
        return squares + points @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    hidden = quadratic(0)
    for layer in (1, 2):
        hidden = torch.celu(hidden @ state[f"convex_layers.{layer - 1}.weight"].T + quadratic(layer))
    return (hidden @ state["final_layer.weight"].T)[:, 0] + 0.005 * points.square().sum(dim=1)


def place(dataset: W2Benchmark, root: Path, *contents: bytes) -> None:
    """Puts files in a data folder, and has the dataset accept them."""
    (root / "files").mkdir(exist_ok=True)
    files = []
    for file, content in zip(dataset.files, contents, strict=True):
        (root / "files" / file.name).write_bytes(content)
        files.append(RemoteFile(file.name, "http://127.0.0.1:1/", hashlib.sha256(content).hexdigest()))
    dataset.files = tuple(files)


def saved(state: object, path: Path) -> bytes:
    torch.save(state, path)
    return path.read_bytes()


def made(dim: int, root: Path) -> tuple[W2Benchmark, list[dict[str, Tensor]]]:
    """A pair of random potentials, built and loaded as the harness does it."""
    dataset = W2Benchmark(dim=dim)
    states = [random_potential(dim, seed) for seed in (1, 2)]
    place(dataset, root, *(saved(state, root / "potential.pt") for state in states))
    load_pair(dataset, {"dim": dim}, root, DataFolder(root))
    return dataset, states


def draws(dataset: W2Benchmark, count: int, seed: int = 0) -> Tensor:
    return dataset.source(count, torch.Generator().manual_seed(seed))


# The source


def test_the_source_is_the_authors_mixture():
    """Centers and factors as their sampler prints them at D = 2, seeded with 0."""
    dataset = W2Benchmark(dim=2)
    centers = torch.tensor([[1.0999, 1.0999], [0, -1.0999], [-1.0999, 0]])
    factors = torch.tensor(
        [
            [[0.1761, 0.4032], [0.3898, -0.2040]],
            [[0.4345, -0.0692], [-0.1073, 0.4267]],
            [[0.0434, 0.4378], [0.4344, 0.0695]],
        ]
    )
    torch.testing.assert_close(dataset.centers, centers, atol=5e-5, rtol=0)
    torch.testing.assert_close(dataset.factors, factors, atol=5e-5, rtol=0)


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_the_source_has_total_variance_d(dim: int):
    dataset = W2Benchmark(dim=dim)
    assert dataset.source_variance == pytest.approx(dim, rel=1e-6)
    points = draws(dataset, 20_000).double()
    assert points.var(dim=0).sum().item() == pytest.approx(dim, rel=0.02)
    assert points.mean(dim=0).abs().max() < 0.04


def test_the_source_leaves_global_generators_alone():
    np.random.seed(1)
    expected, before = np.random.random(), torch.get_rng_state()
    np.random.seed(1)
    first = draws(W2Benchmark(dim=4), 100)
    assert np.random.random() == expected
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, draws(W2Benchmark(dim=4), 100))


def test_dimensions_without_a_pair_are_refused():
    with pytest.raises(ValueError, match=r"dim is 3; there are pairs for 2, 4, .*, 256"):
        W2Benchmark(dim=3)


# The map, on potentials made here


@pytest.mark.parametrize("dim", [2, 64])
def test_the_true_map_is_the_standardized_gradient_of_both_potentials(dim: int, tmp_path: Path):
    dataset, states = made(dim, tmp_path)
    points = draws(dataset, 100).double().requires_grad_()
    doubles = [{name: weight.double() for name, weight in state.items()} for state in states]
    (gradient,) = torch.autograd.grad(sum(value(state, points).sum() for state in doubles), points)
    mapped = dataset.true_map(points.detach())
    scale = (mapped[0] - mapped[1]).norm() / (gradient[0] - gradient[1]).norm()
    torch.testing.assert_close(mapped - mapped.mean(dim=0), scale * (gradient - gradient.mean(dim=0)))


def test_the_target_has_mean_0_and_total_variance_d(tmp_path: Path):
    dataset, _ = made(8, tmp_path)
    points = dataset.target(100_000, torch.Generator().manual_seed(5)).double()
    assert dataset.target_variance == 8
    assert points.mean(dim=0).abs().max() < 0.015
    assert points.var(dim=0).sum().item() == pytest.approx(8, rel=0.02)


def test_the_true_map_gives_what_it_gets_and_does_not_depend_on_the_batch(tmp_path: Path):
    dataset, _ = made(4, tmp_path)
    points = draws(dataset, 5000)
    mapped = dataset.true_map(points)
    assert mapped.dtype == torch.float32
    assert mapped.shape == points.shape
    torch.testing.assert_close(torch.cat([dataset.true_map(part) for part in points.split(7)]), mapped)


def test_the_true_map_is_monotone(tmp_path: Path):
    dataset, _ = made(4, tmp_path)
    left, right = draws(dataset, 1000, 1), draws(dataset, 1000, 2)
    assert ((dataset.true_map(left) - dataset.true_map(right)) * (left - right)).sum(dim=1).min() > 0


def test_the_pair_is_kept_and_then_needs_no_files(tmp_path: Path):
    first, _ = made(2, tmp_path)
    again = W2Benchmark(dim=2)
    again.files = first.files
    for file in first.files:
        (tmp_path / "files" / file.name).unlink()
    load_pair(again, {"dim": 2}, tmp_path, DataFolder(tmp_path))
    points = draws(first, 100)
    assert torch.equal(first.true_map(points), again.true_map(points))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: {**state, "final_layer.weight": torch.ones(1, 31)},
            r"final_layer.weight is \(1, 31\) and should",
        ),
        (lambda state: {**state, "more": torch.ones(1)}, r"more is \(1,\) and should be absent"),
        (lambda state: {n: w for n, w in state.items() if n != "final_layer.weight"}, "final_layer.weight is absent"),
        (lambda state: list(state.values()), "is no PyTorch state dict"),
    ],
    ids=["a wrong shape", "one too many", "one too few", "no state dict"],
)
def test_a_file_with_other_tensors_is_refused(change, message: str, tmp_path: Path):
    dataset, good = W2Benchmark(dim=2), random_potential(2, 1)
    path = tmp_path / "potential.pt"
    place(dataset, tmp_path, saved(good, path), saved(change(good), path))
    with pytest.raises(DataError, match=message) as raised:
        dataset.build(DataFolder(tmp_path))
    assert "w2-benchmark-2_v2.pt" in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"other", b"PK\x03\x04 broken off"], ids=["empty", "text", "half an archive"])
def test_a_file_that_is_no_state_dict_is_refused(content: bytes, tmp_path: Path):
    dataset = W2Benchmark(dim=2)
    place(dataset, tmp_path, content, content)
    with pytest.raises(DataError, match=r"w2-benchmark-2_v1\.pt is no PyTorch state dict"):
        dataset.build(DataFolder(tmp_path))


def test_files_with_other_checksums_are_refused(tmp_path: Path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "w2-benchmark-256_v1.pt").write_bytes(b"other")
    with pytest.raises(DataError, match="git blob 2c660c94439ea86a2ef56f09d0b0c79a78276ba0"):
        W2Benchmark(dim=256).build(DataFolder(tmp_path))


# The authors' potentials


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Published and recomputed reference rows."""
    published = load_published()
    return pd.concat(
        [published_table(published, f"w2-benchmark/{name}") for name in ("hd-pairs", "hd-pairs-recomputed")]
    )


@needs_files
@pytest.mark.parametrize("dim", REAL)
def test_the_reference_rows_are_the_published_ones(dim: int, rows: pd.DataFrame, tmp_path: Path):
    """Two references differ from one another by up to 0.4 points in the linear map and 3.4 in the identity.

    That is noise of 4,096 and 16,384 points; 0.2 is allowed for ours. A source seeded with 1 in place of 0 is off by 8
    to 46 points in the linear map from D = 4 on.
    """
    dataset = W2Benchmark(dim=dim)
    (tmp_path / "files").mkdir()
    for file in dataset.files:
        (tmp_path / "files" / file.name).symlink_to(SHARED / file.name.removeprefix("w2-benchmark-"))
    dataset.load(dataset.build(DataFolder(tmp_path)))

    linear = Linear(dim, num_samples=MOMENT_POINTS)
    streams = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    linear.prepare(lambda count: dataset.source(count, streams[0]), lambda count: dataset.target(count, streams[1]))
    points = draws(dataset, 65_536)
    images = dataset.true_map(points)

    def l2_uvp(mapped: Tensor) -> float:
        return 100 * (mapped - images).square().sum(dim=1).mean().item() / dataset.target_variance

    def cosine(mapped: Tensor) -> float:
        return torch.cosine_similarity((mapped - points).flatten(), (images - points).flatten(), dim=0).item()

    found = {
        ("linear", "l2-uvp"): (l2_uvp(linear.push(points)), 0.6),
        ("identity", "l2-uvp"): (l2_uvp(points), 3.4),
        ("linear", "cosine"): (cosine(linear.push(points)), 0.01),
        ("constant", "cosine"): (cosine(torch.zeros_like(points)), 0.01),
    }
    here = rows[rows["dataset_options"] == json.dumps({"dim": dim})]
    for (method, metric), (ours, tolerance) in found.items():
        theirs = here.loc[(here["method"] == method) & (here["metric"] == metric), "value"]
        assert len(theirs) == (2 if metric == "l2-uvp" else 1)
        for reference in theirs:
            assert ours == pytest.approx(reference, abs=tolerance), (method, metric)
    assert l2_uvp(torch.zeros_like(points)) == pytest.approx(100, abs=1)
