"""Updates of WAE-MMD, VAE and β-VAE beside pythae's, in turns in one process, on the same images and weights.

    pip install --no-deps pythae imageio
    python -m pytest tests/benchmarks/bench_peers_pythae.py --benchmark-enable -s

Batches of 64 images, of one architecture for both: ours ("mlp", "conv", "dcgan"), given to pythae as encoder and
decoder, or pythae's default one ("pythae-mlp"), put together of the same layers for ours. Once each with pythae's
trainer, as its users run it, an epoch a round, beside our batches and updates (those of "conv" compiled and in bfloat16
too, both options of sweeps); and once with its model and optimizer alone ("bare"), without the trainer's data loader,
progress bar and sums of losses, on one batch that both always get. Before the clock runs, both must have the same loss.
With BENCH_DEVICE=cuda, both are on a GPU, where our batches lie already; pythae's trainer brings each of its own there.
"""

from __future__ import annotations

import copy
import logging
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from bench.compiling import compiled_step
from bench.training import ImageBatches, calculating, near
from methods.autoencoders.beta_vae import BetaVAE
from methods.autoencoders.vae import VAE
from methods.autoencoders.wae_mmd import WAEMMD
from methods.parts.autoencoding import GaussianAutoencoder, NetworkAutoencoder
from methods.parts.networks import ChannelsLast, ImageShape
from methods.parts.optimization import adam
from tests.benchmarks.side_by_side import race

BATCH_SIZE = 64
STEPS = {"cpu": 8, "cuda": 128}
"""Of a round: on a GPU so many that an epoch of the trainer is more than its beginning and end."""
LATENT_DIM, LR = 16, 1e-4
CASES: list[tuple[str, ImageShape, int]] = [
    ("pythae-mlp", (1, 28, 28), 0),
    ("mlp", (1, 28, 28), 32),
    ("conv", (1, 28, 28), 32),
    ("dcgan", (1, 28, 28), 16),
    ("pythae-mlp", (3, 64, 64), 0),
    ("conv", (3, 64, 64), 32),
    ("dcgan", (3, 64, 64), 16),
]
"""Architecture, images, and width of ours."""
METHODS: dict[str, type[NetworkAutoencoder]] = {"wae-mmd": WAEMMD, "vae": VAE, "beta-vae": BetaVAE}


@pytest.fixture
def models() -> ModuleType:
    pytest.importorskip("pythae", reason="pythae, the peer, is not installed")
    import pythae.models

    return pythae.models


@pytest.fixture(params=CASES, ids=[f"{name}-{shape[1]}x{shape[2]}" for name, shape, _ in CASES])
def case(request: pytest.FixtureRequest) -> tuple[str, ImageShape, int]:
    return request.param


@pytest.fixture(params=list(METHODS))
def pair(
    request: pytest.FixtureRequest, models: ModuleType, case: tuple[str, ImageShape, int], device: torch.device
) -> tuple[Any, Any]:
    """Our method and pythae's model with the same weights."""
    torch.manual_seed(0)
    architecture, shape, width = case
    own: dict[str, Any] = {} if architecture == "pythae-mlp" else {"network": architecture, "width": width}
    method = METHODS[request.param](shape, latent_dim=LATENT_DIM, lr=LR, **own)
    if architecture == "pythae-mlp":
        peer = peer_model(models, request.param, shape)
        method.encoder, method.decoder = copies_of_default_networks(peer)
        method.optimizer = adam(method.parameters(), lr=LR)
    else:
        gaussian = isinstance(method, GaussianAutoencoder)
        networks = wrapped(plain(method.encoder), plain(method.decoder), gaussian)
        peer = peer_model(models, request.param, shape, *networks)
    method.planned_steps = method.steps_per_epoch = 1000
    for model in (method, peer):
        model.to(device)
    images = torch.rand(BATCH_SIZE, *shape, device=device)
    torch.manual_seed(1)
    ours = method.objective(images)["loss"].item()
    torch.manual_seed(1)
    assert ours == pytest.approx(peer({"data": images}).loss.item(), rel=1e-4)
    return method, peer


def peer_model(models: ModuleType, name: str, shape: ImageShape, *networks: nn.Module) -> Any:
    """pythae's, with the constants of ours; without networks, its own."""
    shared = {"input_dim": shape, "latent_dim": LATENT_DIM}
    if name == "wae-mmd":
        config = models.WAE_MMD_Config(**shared, reg_weight=WAEMMD.penalty, reconstruction_loss_scale=0.05)
        return models.WAE_MMD(config, *networks)
    if name == "vae":
        return models.VAE(models.VAEConfig(**shared), *networks)
    return models.BetaVAE(models.BetaVAEConfig(**shared, beta=BetaVAE.beta), *networks)


def plain(network: nn.Module) -> nn.Module:
    """A copy of its layers, without what lays memory out for speed: that is ours, and no part of the architecture."""
    return nn.Sequential(*(layer for layer in copy.deepcopy(network).children() if not isinstance(layer, ChannelsLast)))


def wrapped(encoder: nn.Module, decoder: nn.Module, gaussian: bool) -> tuple[nn.Module, nn.Module]:
    """Our networks as pythae's."""
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = encoder

        def forward(self, images: Tensor) -> Any:
            codes = self.network(images)
            if not gaussian:
                return ModelOutput(embedding=codes)
            mean, log_variance = codes.chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = decoder

        def forward(self, codes: Tensor) -> Any:
            return ModelOutput(reconstruction=self.network(codes))

    return Encoder(), Decoder()


def copies_of_default_networks(peer: Any) -> tuple[nn.Module, nn.Module]:
    """pythae's MLPs of one hidden layer; the two heads of a Gaussian encoder are one layer of ours."""
    encoder, decoder = copy.deepcopy(peer.encoder), copy.deepcopy(peer.decoder)
    heads = [getattr(encoder, name) for name in ("embedding", "log_var") if hasattr(encoder, name)]
    head = nn.Linear(heads[0].in_features, LATENT_DIM * len(heads))
    with torch.no_grad():
        head.weight.copy_(torch.cat([layer.weight for layer in heads]))
        head.bias.copy_(torch.cat([layer.bias for layer in heads]))
    unflatten = nn.Unflatten(1, peer.input_dim)
    return nn.Sequential(nn.Flatten(), *encoder.layers, head), nn.Sequential(*decoder.layers, unflatten)


def race_trainer(
    benchmark: BenchmarkFixture,
    pair: tuple[Any, Any],
    device: torch.device,
    folder: Path,
    precision: str = "float32",
    *,
    compiled: bool = False,
) -> None:
    """Ours, in some precision or compiled, beside pythae's trainer in float32, an epoch a round."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    method, peer = pair
    epoch = STEPS[device.type]
    images = torch.randint(256, (epoch * BATCH_SIZE, *method.image_shape), dtype=torch.uint8)
    logging.disable(logging.INFO)
    config = BaseTrainerConfig(
        output_dir=str(folder),
        per_device_train_batch_size=BATCH_SIZE,
        learning_rate=LR,
        no_cuda=device.type == "cpu",
    )
    trainer = BaseTrainer(peer, BaseDataset(images / 255, torch.zeros(len(images))), training_config=config)
    trainer.prepare_training()
    batches = ImageBatches(near(images.numpy(), device), BATCH_SIZE, torch.Generator().manual_seed(0), device)
    logging.disable(logging.NOTSET)

    def theirs(steps: int) -> None:
        assert steps == epoch
        assert math.isfinite(trainer.train_step(1))
        trainer.callback_handler.on_epoch_end(training_config=config)

    update = compiled_step(method) if compiled else method.train_step

    def ours(steps: int) -> None:
        for _ in range(steps):
            with calculating(precision, device):
                update(next(batches))

    race(benchmark, ours, theirs, steps=epoch)


def test_updates_beside_pythaes_trainer(
    benchmark: BenchmarkFixture, pair: tuple[Any, Any], device: torch.device, tmp_path: Path
) -> None:
    race_trainer(benchmark, pair, device, tmp_path)


@pytest.mark.parametrize("case", [CASES[2]], indirect=True, ids=["conv-28x28"])
def test_compiled_updates_beside_pythaes_trainer(
    benchmark: BenchmarkFixture, pair: tuple[Any, Any], device: torch.device, tmp_path: Path
) -> None:
    race_trainer(benchmark, pair, device, tmp_path, compiled=True)


@pytest.mark.parametrize("case", [CASES[2], CASES[5]], indirect=True, ids=["conv-28x28", "conv-64x64"])
def test_updates_in_bfloat16_beside_pythaes_trainer(
    benchmark: BenchmarkFixture, pair: tuple[Any, Any], device: torch.device, tmp_path: Path
) -> None:
    race_trainer(benchmark, pair, device, tmp_path, "bfloat16")


def test_updates_beside_pythaes_model_alone(
    benchmark: BenchmarkFixture, pair: tuple[Any, Any], device: torch.device
) -> None:
    method, peer = pair
    images = torch.rand(BATCH_SIZE, *method.image_shape, device=device)
    optimizer = torch.optim.Adam(peer.parameters(), lr=LR)

    def theirs(steps: int) -> None:
        for _ in range(steps):
            loss = peer({"data": images}).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def ours(steps: int) -> None:
        for _ in range(steps):
            method.train_step(images)

    race(benchmark, ours, theirs, steps=STEPS[device.type])
