"""What runs on a GPU, on one that is pretended; `tests.test_pretended_gpu` has pytest run this in a process of its own.

python -m pytest -p tests.pretend_gpu tests/on_pretended_gpu.py
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import bench.check
from bench.check import _AutoencoderCheck, _TransportCheck
from bench.environment import reproducible, seed_torch
from bench.identity import Trial
from bench.options import options_of
from bench.outcomes import Outcome
from bench.registry import all_methods, find_method
from bench.storage.store import Store
from bench.sweeps import load_sweeps
from bench.training import Draws, ImageBatches, Training, Watch, near, samplers, upload
from bench.tuning.search_trial import run_search_trial
from datasets.pairs.gaussians import Gaussians
from methods.base import Autoencoder, Method, Unsupported
from tests.pretend_gpu import CPU, GPU, PretendGPU, Wait, WrongDeviceError
from tests.test_packed_trials import IMAGES, PAIRS, VAE, W2GN, alone, assert_same_numbers, in_training, packed, rows_of

UPDATES = 2
SMALL = {"width": 4, "pretrain_steps": 3, "conjugate_steps": 10}
READ, COPY, PLACES = "aten._local_scalar_dense.default", "aten._to_copy.default", "aten.nonzero.default"
WAITING = {
    "amortized-conjugate": {READ, PLACES},  # conjugates are iterated until all have converged; those that have leave
    "mm-v1": {READ},  # conjugates are iterated until they have converged
    "monge-gap": {READ},  # POT iterates Sinkhorn's plans to a tolerance, and takes ε as a number
    "sinkhorn-ae": {READ, COPY},  # POT looks after Sinkhorn's plans on the way
    "ot-cfm": {COPY},  # a discrete plan is solved for on the CPU
    "qc": {COPY},  # the same
    "vae-gan": {COPY},  # who learns depends on the losses, which are read at once
}
"""Methods whose updates make the processor wait for a GPU, by what: their algorithms ask for it."""


# The instrument


def on_gpu(*shape: int) -> Tensor:
    return torch.ones(shape, device="cuda")


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: on_gpu(2, 3) + torch.ones(2, 3),
        lambda: torch.ones(()).add_(on_gpu()),
        lambda: torch.cat([on_gpu(2), torch.ones(2)]),
        lambda: on_gpu(2, 3) @ torch.ones(3, 2),
        lambda: torch.nn.Linear(3, 2)(on_gpu(2, 3)),
        lambda: torch.ones(3)[torch.zeros(1, dtype=torch.int64, device="cuda")],
        lambda: torch.randn(2, device="cuda", generator=torch.Generator()),
        lambda: torch.empty(2).normal_(generator=torch.Generator("cuda")),
        lambda: on_gpu(2).numpy(),
    ],
)
def test_what_a_gpu_refuses_is_refused(attempt: Callable[[], object]) -> None:
    with pytest.raises((WrongDeviceError, TypeError), match=r"two devices|on cuda:0|generator of|to numpy"):
        attempt()


@pytest.mark.parametrize(
    ("expected", "attempt"),
    [
        (1, lambda: on_gpu().item()),
        (1, lambda: on_gpu(2).cpu()),
        (1, lambda: torch.ones(2).to("cuda")),
        (1, lambda: torch.tensor([1.0, 2.0], device="cuda")),
        (1, lambda: on_gpu(3).nonzero()),
        (1, lambda: on_gpu(3)[on_gpu(3) > 0]),
        (1, lambda: on_gpu(3)[torch.tensor([0, 1])]),
        (1, lambda: torch.equal(on_gpu(3), on_gpu(3))),
        (1, lambda: bool((on_gpu(3) > 0).all())),
        (1, lambda: torch.cov(on_gpu(3, 4))),
        (0, lambda: upload(torch.ones(2), GPU)),
        (0, lambda: on_gpu(3) * 2.0 + torch.tensor(1.0)),
        (0, lambda: on_gpu(3)[torch.zeros(1, dtype=torch.int64, device="cuda")]),
        (0, lambda: on_gpu(3).index_put_((on_gpu(3) > 0,), torch.tensor(2.0))),
        (1, lambda: on_gpu(3).index_put_((on_gpu(3) > 0,), on_gpu(3))),
        (0, lambda: on_gpu(3).masked_fill(on_gpu(3) > 0, 2.0)),
    ],
)
def test_what_waits_for_a_gpu_is_noted(expected: int, attempt: Callable[[], object], gpu: PretendGPU) -> None:
    with gpu.noting() as waits:
        attempt()
    assert len(waits) == expected, waits


def test_numbers_are_calculated_in_place_through_views_and_back() -> None:
    points = torch.arange(6.0, device="cuda").view(2, 3)
    points[1].mul_(10)
    points.T[0].add_(torch.tensor(1.0))
    assert points.is_cuda
    assert points.tolist() == [[1, 1, 2], [31, 40, 50]]
    layer = torch.nn.Linear(3, 2)
    weight = layer.weight
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, fused=True)
    there = torch.nn.Linear(3, 2)
    there.load_state_dict(layer.state_dict())
    other = torch.optim.Adam(there.parameters(), lr=0.1, fused=True)
    layer.to("cuda")
    assert layer.weight is weight
    for _ in range(3):
        for module, stepping, batch in ((layer, optimizer, points), (there, other, points.cpu())):
            stepping.zero_grad()
            module(batch).square().sum().backward()
            stepping.step()
    assert torch.equal(layer.weight.cpu(), there.weight)


# Methods


def life(cls: type[Method], device: torch.device, gpu: PretendGPU) -> tuple[dict[str, Tensor], set[Wait]]:
    """All the numbers of a method's life in double precision, and what its updates made the processor wait for."""
    check = (_AutoencoderCheck if issubclass(cls, Autoencoder) else _TransportCheck)(cls)
    check.batch = check.batch.double().to(device)
    method = check._planned().double().to(device)
    assert {tensor.device for tensor in method.state_dict().values()} <= {device}
    numbers: dict[str, Tensor] = {}
    seed_torch("pretended")

    def keep(name: str, tensors: dict[str, Tensor]) -> None:
        numbers.update({f"{name}: {key}": value.detach().cpu().double() for key, value in tensors.items()})

    def stage(name: str) -> None:
        for step, losses in enumerate(getattr(method, name)(*(on(device, given) for given in check.feed(name))) or ()):
            keep(f"{name} {step}", losses)

    stage("prepare")
    waits: set[Wait] = set()
    next_batch = check.batches()
    for step in range(UPDATES if method.trains else 0):
        batch = [upload(part.double(), device) for part in next_batch()]
        with gpu.noting() as noted:
            losses = method.train_step(*batch)
        keep(f"update {step}", losses)
        waits |= set(noted)
    stage("finish")
    method.eval()
    keep("trained", check.everything(method))
    if isinstance(method, Autoencoder):
        for name, give in (("component codes", lambda: method.component_codes(3)), ("mask", method.causal_mask)):
            with torch.no_grad(), suppress(Unsupported):
                keep("trained", {name: give()})
    keep("state", method.state_dict())
    return numbers, waits


def on(device: torch.device, given: Any) -> Any:
    """What `prepare` and `finish` take, on a device."""
    if callable(given):
        return Draws(lambda count, _: given(count).double(), torch.Generator(), device)
    return (upload(batch.double(), device) for batch in given)


@pytest.mark.parametrize("name", all_methods())
def test_a_method_has_the_numbers_of_the_cpu_and_does_not_wait(
    name: str, gpu: PretendGPU, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = all_methods()[name]
    small = {option: value for option, value in SMALL.items() if option in options_of(cls)}
    monkeypatch.setattr(cls, "check_params", {**cls.check_params, **small})
    monkeypatch.setattr(bench.check, "BATCH", 16)
    with reproducible(threads=1):
        torch.set_default_dtype(torch.float64)
        try:
            here, _ = life(cls, CPU, gpu)
            there, waits = life(cls, GPU, gpu)
        finally:
            torch.set_default_dtype(torch.float32)
    assert there.keys() == here.keys()
    for key, expected in here.items():
        torch.testing.assert_close(
            there[key], expected, rtol=1e-5, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
        )
    assert {wait.operation for wait in waits} == WAITING.get(name, set()), waits


# Trials


@pytest.fixture
def plan(sweeps_file: Callable[[str], Path]) -> Callable[..., list[Trial]]:
    def trials(text: str, gpus: float = 1) -> list[Trial]:
        sweeps = load_sweeps(
            sweeps_file(text.replace("seeds = 3", f"seeds = 3\nresources = {{ gpus = {gpus} }}")), "quick"
        )
        return [trial for sweep in sweeps for trial in sweep.trials()]

    return trials


IMAGES = IMAGES.replace("steps = 20", "steps = 8")
PAIRS = PAIRS.replace("steps = 40", "steps = 12")
EARLY = IMAGES.replace("steps = 8", "epochs = 2\npatience = 1").replace("batch_size = 32", "batch_size = 256")
HAMMERSLEY = 'methods.sinkhorn-ae = { network = "mlp", width = 4, latent_dim = 4, prior = "hammersley" }\n'
MLP = VAE.replace("width", "batch_norm = false, width")


@pytest.mark.parametrize(
    ("text", "room"),
    [(EARLY + MLP, 2**34), (EARLY + MLP, 0), (PAIRS + W2GN, 2**34)],
    ids=["vae, images on the GPU", "vae, images in main memory", "w2gn"],
)
def test_a_trial_has_the_numbers_of_the_cpu(
    plan: Callable[..., list[Trial]],
    tmp_path: Path,
    text: str,
    room: int,
    gpu: PretendGPU,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (room, room))
    here, there = plan(text, gpus=0)[:1], plan(text)[:1]
    assert alone(here, tmp_path / "cpu") == [Outcome("ok")]
    assert alone(there, tmp_path / "gpu") == [Outcome("ok")]
    assert rows_of(tmp_path / "gpu", there[0])["device"].unique().tolist() == ["cuda"]
    assert_same_numbers(tmp_path / "cpu", tmp_path / "gpu", here, rtol=1e-6)
    artifacts = (Store(tmp_path / folder).artifacts_path(here[0].id) for folder in ("cpu", "gpu"))
    expected, found = ({path.name for path in folder.iterdir()} for folder in artifacts)
    assert found == expected


@pytest.fixture
def own_stream(gpu: PretendGPU) -> None:
    """The GPU draws from a stream of its own, as it does in truth."""
    gpu.common_stream = False


@pytest.mark.usefixtures("own_stream")
@pytest.mark.parametrize("text", [EARLY + VAE, PAIRS + W2GN, IMAGES + HAMMERSLEY], ids=["vae", "w2gn", "sinkhorn-ae"])
def test_a_trial_killed_again_and_again_ends_bitwise_as_an_undisturbed_one(
    plan: Callable[..., list[Trial]], tmp_path: Path, text: str
) -> None:
    trials = plan(text)[:1]
    for step in (1, 5):
        assert packed(trials, tmp_path / "killed", 1e-9, in_training(step))[0] is None
    assert packed(trials, tmp_path / "killed", 1e-9)[0] == [Outcome("ok")]
    assert alone(trials, tmp_path / "whole") == [Outcome("ok")]
    assert rows_of(tmp_path / "killed", trials[0])["resumed"][0] == 2
    assert_same_numbers(tmp_path / "killed", tmp_path / "whole", trials)


@pytest.mark.usefixtures("own_stream")
@pytest.mark.parametrize("text", [IMAGES + VAE, PAIRS + W2GN], ids=["vae", "w2gn"])
def test_each_trial_of_a_pack_leaves_what_it_leaves_alone_also_when_killed(
    plan: Callable[..., list[Trial]], tmp_path: Path, text: str
) -> None:
    trials = plan(text)
    assert packed(trials, tmp_path / "packed", 1e-9, in_training(5, of=2))[0] is None
    assert packed(trials, tmp_path / "packed", 1e-9) == ([Outcome("ok")] * 3, [])
    alone(trials, tmp_path / "alone")
    assert_same_numbers(tmp_path / "packed", tmp_path / "alone", trials, rtol=1e-3)
    assert {rows_of(tmp_path / "packed", trial)["packed"][0] for trial in trials} == {3}


@pytest.mark.usefixtures("own_stream")
@pytest.mark.parametrize("method", ["DrawsMasks", "DrawsOrders"])
def test_a_pack_that_draws_what_cannot_be_drawn_beforehand_runs_one_by_one(
    plan: Callable[..., list[Trial]], tmp_path: Path, method: str
) -> None:
    outcomes, notes = packed(plan(PAIRS + f'methods."tests.packable:{method}" = {{}}\n'), tmp_path)
    assert outcomes == [Outcome("ok")] * 3
    assert "random" in notes[0]


@pytest.mark.usefixtures("own_stream")
def test_early_stopping_leaves_the_random_numbers_of_training_alone(
    plan: Callable[..., list[Trial]], tmp_path: Path
) -> None:
    curves = []
    for folder, text in ((tmp_path / "with", EARLY), (tmp_path / "without", EARLY.replace("patience = 1", ""))):
        (trial, *_) = plan(text + VAE)
        assert alone([trial], folder) == [Outcome("ok")]
        curve = Store(folder).read_curves([trial.id])
        curves.append(curve[curve["stage"] == "train"]["value"].tolist())
    assert curves[0] == curves[1]


@pytest.mark.usefixtures("own_stream")
def test_a_search_trial_ends_as_a_trial_of_its_own(plan: Callable[..., list[Trial]], tmp_path: Path) -> None:
    """Whatever is measured on the way."""
    (trial, *_) = plan(
        EARLY.replace("[sweep.images]", '[sweep.images]\nsplits = ["validation"]').replace(', "latent-sliced-w2"', "")
        + VAE
    )
    reached: list[Any] = []
    data = Path(os.environ["BENCH_DATA"])
    outcome = run_search_trial(trial, "mse", data, lambda milestone: reached.append(milestone) or False)
    assert outcome == Outcome("completed")
    assert len(reached) > 2
    assert alone([trial], tmp_path) == [Outcome("ok")]
    assert reached[-1].value == rows_of(tmp_path, trial)["value"][0]


# Training


@pytest.mark.parametrize("resident", [True, False])
def test_training_waits_at_the_points_of_its_curve_alone(
    resident: bool, gpu: PretendGPU, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.training.CURVE_POINTS", 2)
    images = np.zeros((64, 1, 8, 8), np.uint8)
    batches = ImageBatches(near(images, GPU) if resident else images, 8, torch.Generator(), GPU)
    method = find_method("vae")((1, 8, 8), latent_dim=2, network="mlp", width=2).to(GPU)
    watch = Watch(lambda *_: None)
    watch.start(method)
    next(batches)  # the order of an epoch is uploaded at once
    with gpu.noting() as waits:
        Training(watch, method, 7, lambda: (next(batches),)).run()
    points = {point["step"] for point in watch.curves}
    assert points == {1, 3, 6, 7}
    losses = len(watch.curves) // len(points)
    assert {wait.line.split(":")[0] for wait in waits} == {"bench/training.py"}
    assert len(waits) == len(points) * (losses + 1), "each loss, and whether parameters are finite"


def test_samplers_do_not_wait(gpu: PretendGPU) -> None:
    source, target = samplers(Gaussians(dim=2), GPU, stage="train", seed=0)
    with gpu.noting() as waits:
        assert source(3).device == target(3).device == GPU
    assert not waits
