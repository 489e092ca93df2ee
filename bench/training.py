"""The training loop: batches, budget, early stopping, curves, divergence and the time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.environment import generator, seed_torch
from bench.identity import Budget
from datasets.base import PairDataset
from methods.base import Autoencoder, Losses, Sampler

CURVE_POINTS = 200
"""About as many points as a stage's curve has: enough to draw, few enough to keep."""
UPLOAD = 4096
"""Images copied to a GPU at once."""

Report = Callable[[str, int, int | None, float], None]
"""`report(stage, step, planned steps or None, loss)`: progress for displays."""


class DivergedError(Exception):
    """A loss became infinite or not a number."""


class TimedOutError(Exception):
    """The trial's time limit passed."""


@dataclass
class Watch:
    """Follows the losses of a trial: keeps its curves, tells displays, stops what diverges or takes too long.

    timeout: seconds the trial may train, or None.
    """

    report: Report
    timeout: float | None = None
    curves: list[dict[str, Any]] = field(default_factory=list)
    started: float = 0.0

    def start(self) -> None:
        """Starts the clock of the curves and of the time limit."""
        self.started = time.perf_counter()

    def record(self, stage: str, step: int, planned: int | None, losses: Losses) -> None:
        """Takes one update's losses. Raises DivergedError or TimedOutError."""
        seconds = time.perf_counter() - self.started
        values = {name: float(value.detach()) for name, value in losses.items()}
        self.curves += [
            {"stage": stage, "step": step, "seconds": seconds, "name": name, "value": value}
            for name, value in values.items()
        ]
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise DivergedError(f"{bad[0]} is {values[bad[0]]} at step {step} of {stage}")
        if self.timeout is not None and seconds > self.timeout:
            raise TimedOutError(f"stopped at step {step} of {stage}, after the time limit of {self.timeout:g} s")
        self.report(stage, step, planned, next(iter(values.values()), math.nan))


class ImageBatches:
    """Endless batches of training images, float32 [B, C, H, W] in [0, 1] on the device.

    The order is a stream of random permutations of the set, a function of the generator alone.

    Args:
        images: uint8 [N, C, H, W], see `near`.
    """

    def __init__(
        self, images: np.ndarray | Tensor, batch_size: int, order: torch.Generator, device: torch.device
    ) -> None:
        self.batch_size = batch_size
        self.order = order
        self.device = device
        self.images = images
        self.waiting = torch.empty(0, dtype=torch.int64)

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        while len(self.waiting) < self.batch_size:
            self.waiting = torch.cat([self.waiting, torch.randperm(len(self.images), generator=self.order)])
        index, self.waiting = self.waiting[: self.batch_size], self.waiting[self.batch_size :]
        if isinstance(self.images, Tensor):
            batch = self.images[index.to(self.images.device)]
        else:
            batch = torch.from_numpy(self.images[index.numpy()]).to(self.device)
        return batch.float().div_(255)


def near(images: np.ndarray, device: torch.device, share: float = 1.0) -> np.ndarray | Tensor:
    """Memory-mapped images where batches are best gathered from: on a GPU if there is room, else where they are.

    Args:
        images: uint8 [N, C, H, W].
        share: of a GPU that others use too; of the memory free there, images take no more than half this share.
    """
    if device.type != "cuda" or 2 * images.nbytes > share * torch.cuda.mem_get_info(device)[0]:
        return np.asarray(images)  # a plain view, as the memory map's own class gathers more slowly
    resident = torch.empty(images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(images), UPLOAD):  # else the whole set would lie in main memory too
        resident[start : start + UPLOAD] = torch.from_numpy(np.array(images[start : start + UPLOAD]))
    return resident


def samplers(pair: PairDataset, device: torch.device, **axes: Any) -> tuple[Sampler, Sampler]:
    """Source and target samplers, each on a stream of its own derived from `axes`."""
    source_stream, target_stream = generator("source", **axes), generator("target", **axes)
    return (
        lambda count: pair.source(count, source_stream).to(device),
        lambda count: pair.target(count, target_stream).to(device),
    )


def run_stage(watch: Watch, stage: str, losses: Iterator[Losses] | None) -> None:
    """Runs a `prepare` or `finish` to its end; None means that it had nothing to yield."""
    recorded = 0.0
    for step, values in enumerate(losses or (), start=1):
        # The length is not known beforehand: points thin out as the stage grows longer.
        if step >= recorded:
            watch.record(stage, step, None, values)
            recorded = max(step + 1, step * (1 + 5 / CURVE_POINTS))


def never(step: int) -> bool:
    """Training does not end before its budget."""
    return False


def run_steps(
    watch: Watch,
    train_step: Callable[..., Losses],
    steps: int,
    next_batch: Callable[[], tuple[Tensor, ...]],
    ended: Callable[[int], bool] = never,
) -> None:
    """Runs `steps` updates, each on a fresh batch, or fewer where `ended(step)` says so."""
    every = max(1, steps // CURVE_POINTS)
    for step in range(1, steps + 1):
        losses = train_step(*next_batch())
        end = step == steps or ended(step)
        if step % every == 0 or step == 1 or end:
            watch.record("train", step, steps, losses)
        if end:
            return


class EarlyStopping:
    """Ends training when the validation loss has not improved for some epochs; the last weights stay.

    The loss is the mean of the method's objective over all full batches of the validation images, in eval mode, after
    each epoch. It is a curve of its own. Training's random numbers are those of a run without early stopping.

    Args:
        axes: derive the random streams of the validation losses.
    """

    def __init__(
        self, watch: Watch, method: Autoencoder, images: np.ndarray, budget: Budget, device: torch.device, **axes: Any
    ) -> None:
        self.watch, self.method, self.images, self.device, self.axes = watch, method, images, device, axes
        self.batch_size = min(budget.batch_size, len(images))
        self.patience = budget.patience
        self.best, self.best_epoch = math.inf, 0

    def __call__(self, step: int) -> bool:
        """Whether the update `step` was the last."""
        epoch, rest = divmod(step, self.method.steps_per_epoch)
        if self.patience is None or rest:
            return False
        loss = self.validation_loss(epoch)
        self.watch.record("validation", epoch, None, {"loss": loss})
        if loss.item() < self.best:
            self.best, self.best_epoch = loss.item(), epoch
        return epoch - self.best_epoch >= self.patience

    def validation_loss(self, epoch: int) -> Tensor:
        """Mean objective, a scalar. Gradients stay on: an objective may contain them."""
        losses = []
        self.method.eval()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            seed_torch("validation", epoch=epoch, **self.axes)
            for start in range(0, len(self.images) - self.batch_size + 1, self.batch_size):
                batch = torch.from_numpy(np.array(self.images[start : start + self.batch_size])).to(self.device)
                losses.append(next(iter(self.method.objective(batch.float() / 255).values())).detach())
        self.method.train()
        return torch.stack(losses).mean()
