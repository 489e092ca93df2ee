"""Seconds of an epoch of training batches, beside torchvision's data set and torch's DataLoader on the same images.

    python -m pytest tests/benchmarks/bench_batches.py --benchmark-enable          # BENCH_DEVICE=cuda: on a GPU

Batches are on the device in the end: ours from images that lie on a GPU, the DataLoader's from pinned memory.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.utils.data import DataLoader

from bench.torchvision_compat import import_torchvision
from bench.training import ImageBatches, near
from tests.benchmarks.clocks import until_done

COUNT, BATCH = 10_000, 64


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """uint8 [N, 3, 64, 64], memory-mapped as a built data set is."""
    path: Path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (COUNT, 3, 64, 64), dtype=np.uint8))
    return np.load(path, mmap_mode="r")


def test_epoch_of_batches(benchmark: BenchmarkFixture, images: np.ndarray, device: torch.device) -> None:
    batches = ImageBatches(near(images, device), BATCH, torch.Generator().manual_seed(0), device)

    def epoch() -> None:
        for _ in range(COUNT // BATCH):
            next(batches)

    benchmark.pedantic(until_done(epoch), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("workers", [0, 2])
def test_epoch_of_torchvision(
    benchmark: BenchmarkFixture, images: np.ndarray, workers: int, device: torch.device
) -> None:
    """A data set in memory, as torchvision's CIFAR-10 is, with its own code for an item and the usual transform."""
    torchvision = import_torchvision()
    dataset = torchvision.datasets.CIFAR10.__new__(torchvision.datasets.CIFAR10)  # without its download
    dataset.data = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    dataset.targets = [0] * COUNT
    dataset.transform, dataset.target_transform = torchvision.transforms.ToTensor(), None
    pinned = device.type == "cuda"
    loader = DataLoader(dataset, BATCH, shuffle=True, drop_last=True, num_workers=workers, pin_memory=pinned)

    def epoch() -> None:
        deque((batch.to(device, non_blocking=True) for batch, _ in loader), maxlen=0)

    benchmark.pedantic(until_done(epoch), rounds=3, warmup_rounds=1)
