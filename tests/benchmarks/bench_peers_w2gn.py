"""W2GN's updates beside those of its authors' own loop, in turns in one process, on the same points and weights.

    BENCH_PEER_W2GN=/path/to/checkout python -m pytest tests/benchmarks/bench_peers_w2gn.py --benchmark-enable -s

The checkout is one of github.com/iamalexkorotin/Wasserstein2GenerativeNetworks. What is run of it is the body of the
training loop of its notebook on Gaussians, up to where it scores and plots, with its networks. Points are drawn
beforehand for both. Before the clock runs, three updates of both must have the same losses and the same weights. With
BENCH_DEVICE=cuda, both are on a GPU.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from bench.compiling import compiled_step
from bench.packed_training import Pack, global_stream
from bench.packs import MOST
from methods.base import Losses
from methods.parts.icnn import DenseICNN
from methods.transport.w2gn import W2GN
from tests.benchmarks.side_by_side import race

CHECKOUT = "BENCH_PEER_W2GN"
NOTEBOOK = "notebooks/W2GN_gaussians_high_dimensions.ipynb"
BATCH_SIZE = 256

Update = Callable[..., Losses]


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> Iterator[Path]:
    if CHECKOUT not in os.environ:
        pytest.skip(f"{CHECKOUT} is not set: it names a checkout of the W2GN authors' repository")
    path = Path(os.environ[CHECKOUT])
    if not (path / NOTEBOOK).is_file():
        pytest.fail(f"{CHECKOUT} is {path}, which has no {NOTEBOOK}")
    monkeypatch.syspath_prepend(path)
    if device.type == "cpu":
        monkeypatch.setattr(Tensor, "cuda", lambda self: self)  # the code asks for a GPU
    yield path
    for name in [name for name in sys.modules if name.partition(".")[0] == "src"]:
        del sys.modules[name]


class AuthorsLoop:
    """The authors' program from before its loop on, with weights and points that are given.

    Args:
        method: what the weights are of; theirs start as copies.
        points, images: batches [B, D] that every step gets, on the device of both.
    """

    def __init__(self, checkout: Path, method: W2GN, points: Tensor, images: Tensor) -> None:
        network = importlib.import_module("src.icnn").DenseICNN
        widths = method.potential.hidden
        self.potentials = [
            network(method.dim, widths, rank=1, dropout=0, strong_convexity=0.05).to(points.device) for _ in range(2)
        ]
        for theirs, ours in zip(self.potentials, (method.potential, method.conjugate), strict=True):
            copy_weights(theirs, ours)
        points, images = (batch.clone().requires_grad_() for batch in (points, images))  # as their sampler's are
        potential, conjugate = self.potentials
        self.names: dict[str, Any] = {
            "torch": torch,
            "compute_l1_norm": function(checkout / "src" / "tools.py", "compute_l1_norm"),
            "D": potential,
            "D_conj": conjugate,
            "D_opt": torch.optim.Adam(potential.parameters(), lr=3e-4, betas=(0.8, 0.99)),
            "D_conj_opt": torch.optim.Adam(conjugate.parameters(), lr=3e-4, betas=(0.4, 0.4)),
            "X_sampler": Fixed(points),
            "Y_sampler": Fixed(images),
            "BATCH_SIZE": BATCH_SIZE,
            "L1": 1e-10,
            "LAMBDA": min(method.dim, 50),
            "loss_history": [],
        }
        self.step = loop_body(checkout / NOTEBOOK)

    def __call__(self, steps: int) -> None:
        for _ in range(steps):
            exec(self.step, self.names)

    def losses(self) -> tuple[float, float]:
        """Cycle terms, and what the last step descended."""
        cycle = self.names["cycle_loss_YXY"] + self.names["cycle_loss_XYX"]
        return cycle.item(), self.names["W_loss"].item()


class Fixed:
    """A sampler that always draws the same."""

    def __init__(self, points: Tensor) -> None:
        self.points = points

    def sample(self, count: int) -> Tensor:
        assert count == len(self.points)
        return self.points


def loop_body(notebook: Path) -> CodeType:
    """The statements of the notebook's training loop before the first one that scores."""
    cells = json.loads(notebook.read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (training,) = [source for source in sources if "Fitting the monotone generative mapping" in source]
    (loop,) = [node for node in ast.parse(training).body if isinstance(node, ast.For)]
    end = next(at for at, node in enumerate(loop.body) if isinstance(node, ast.If))
    return compile(ast.Module(loop.body[:end], type_ignores=[]), str(notebook), "exec")


def function(file: Path, name: str) -> Any:
    """One function of a module whose imports are not wanted."""
    (found,) = [node for node in ast.parse(file.read_text()).body if getattr(node, "name", None) == name]
    names: dict[str, Any] = {"torch": torch}
    exec(compile(ast.Module([found], type_ignores=[]), str(file), "exec"), names)
    return names[name]


@torch.no_grad()
def copy_weights(theirs: nn.Module, ours: DenseICNN) -> None:
    """Ours into theirs, whose quadratic forms of all layers are apart."""
    squares = ours.square_weight.split(ours.hidden, dim=1)
    linears, biases = ours.linear_weight.split(ours.hidden), ours.bias.split(ours.hidden)
    layers = zip(theirs.quadratic_layers, squares, linears, biases, strict=True)
    for (quadratic, _), square, linear, bias in layers:
        quadratic.quadratic_decomposed.copy_(square.permute(2, 0, 1))
        quadratic.weight.copy_(linear)
        quadratic.bias.copy_(bias)
    for (carried, _), weight in zip(theirs.convex_layers, ours.convex_weights, strict=True):
        carried.weight.copy_(weight)
    theirs.final_layer.weight.copy_(ours.output_weight[None])


def assert_same_updates(method: W2GN, update: Update, peer: AuthorsLoop, points: Tensor, images: Tensor) -> None:
    """Three of both: what is descended and its cycle terms, and all weights in the end."""
    for _ in range(3):
        losses = update(points, images)
        peer(1)
        cycle, descended = peer.losses()
        inverses = peer.names["Y_inv"]
        constant = ((inverses * images).sum(dim=1) - 0.5 * (points.square() + images.square()).sum(dim=1)).mean()
        assert losses["cycle"].item() == pytest.approx(cycle, rel=1e-4)
        assert losses["loss"].item() == pytest.approx(descended + constant.item(), rel=1e-4)
    for theirs, ours in zip(peer.potentials, (method.potential, method.conjugate), strict=True):
        expected = DenseICNN(method.dim, ours.hidden).to(points.device)
        expected.load_state_dict(ours.state_dict())
        before = {name: weight.clone() for name, weight in theirs.named_parameters()}
        copy_weights(theirs, expected)
        for name, weight in theirs.named_parameters():
            torch.testing.assert_close(weight, before[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dim", [8, 16, 64, 256])
def test_updates_beside_the_authors_loop(
    benchmark: BenchmarkFixture,
    checkout: Path,
    dim: int,
    threads: int,
    device: torch.device,
    request: pytest.FixtureRequest,
) -> None:
    if threads > 1:
        request.getfixturevalue("cpu")  # one thread gives a GPU its work
    torch.set_num_threads(threads)
    method = make(dim, device)
    race_updates(benchmark, checkout, method, method.train_step)


@pytest.mark.parametrize("dim", [8, 16, 64, 256])
def test_compiled_updates_beside_the_authors_loop(
    benchmark: BenchmarkFixture, checkout: Path, dim: int, device: torch.device, request: pytest.FixtureRequest
) -> None:
    """With `compile = true`."""
    if dim != 64:
        request.getfixturevalue("gpu")
    torch.compiler.reset()  # else what was compiled for another dimension is compiled anew for any
    method = make(dim, device)
    race_updates(benchmark, checkout, method, compiled_step(method))


@pytest.mark.parametrize("dim", [8, 16])
def test_eight_packed_seeds_beside_the_authors_loop(
    benchmark: BenchmarkFixture, checkout: Path, dim: int, cpu: torch.device
) -> None:
    """On two cores; a step is one of one seed."""
    torch.set_num_threads(2)
    race_packed(benchmark, checkout, dim, cpu)


@pytest.mark.parametrize("dim", [8, 16, 64])
def test_sixteen_packed_seeds_beside_the_authors_loop(
    benchmark: BenchmarkFixture, checkout: Path, dim: int, gpu: torch.device
) -> None:
    """A step is one of one seed."""
    race_packed(benchmark, checkout, dim, gpu)


def make(dim: int, device: torch.device) -> W2GN:
    torch.manual_seed(0)
    return W2GN(dim).to(device)


def race_updates(benchmark: BenchmarkFixture, checkout: Path, method: W2GN, update: Update) -> None:
    points, images = torch.randn(2, BATCH_SIZE, method.dim, device=next(method.parameters()).device)
    peer = AuthorsLoop(checkout, method, points, images)
    assert_same_updates(method, update, peer, points, images)

    def ours(steps: int) -> None:
        for _ in range(steps):
            update(points, images)

    race(benchmark, ours, peer)


def race_packed(benchmark: BenchmarkFixture, checkout: Path, dim: int, device: torch.device) -> None:
    """A pack of as many seeds as it has at most on the device, beside the authors' loop with the first."""
    seeds = MOST[device.type]
    torch.manual_seed(0)
    methods = [W2GN(dim).to(device) for _ in range(seeds)]
    batches = [tuple(torch.randn(2, BATCH_SIZE, dim, device=device)) for _ in methods]
    peer = AuthorsLoop(checkout, methods[0], *batches[0])
    pack = Pack(methods, [global_stream(device)] * seeds)

    def ours(steps: int) -> None:
        for _ in range(-(-steps // seeds)):
            pack.step(batches)

    race(benchmark, ours, peer, steps=6 * seeds)
