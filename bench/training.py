"""Training: batches, budget, precision, early stopping, curves, divergence and the time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.compiling import compiled_step
from bench.environment import generator, seed_torch
from bench.identity import Budget
from datasets.base import PairDataset
from methods.base import Autoencoder, Losses, Sampler

CURVE_POINTS = 200
"""About as many points as a stage's curve has: enough to draw, few enough to keep."""
EXPLODED = 1e18
"""A loss of this size, of either sign, has diverged: squared gradients, which Adam keeps, overflow float32 near there,
and what goes on is no training. Sound adversarial losses and multipliers are many orders of magnitude below."""
UPLOAD = 4096
"""Images copied to a GPU at once."""

Report = Callable[[str, int, int | None, float], None]
"""`report(stage, step, planned steps or None, loss)`: progress for displays."""


class DivergedError(Exception):
    """A loss exploded or is not a number, or a parameter is not finite."""


class TimedOutError(Exception):
    """The trial's time limit passed."""


@dataclass
class Watch:
    """Follows the losses of a trial: keeps its curves, tells displays, stops what diverges or takes too long.

    timeout: seconds the trial may take from the start of its training on, or None.
    earlier_peak: bytes of memory at the peak of attempts that this one goes on from, 0 without.
    resumed: how many such attempts there are.
    """

    report: Report
    timeout: float | None = None
    curves: list[dict[str, Any]] = field(default_factory=list)
    earlier_peak: int = 0
    resumed: int = 0
    method: nn.Module | None = None
    spent: float = 0.0
    since: float = 0.0
    rate: float = 0.0

    def start(self, method: nn.Module | None = None, spent: float = 0.0) -> None:
        """Starts the clock of the curves and of the time limit, `spent` seconds before now; from now on the method's
        parameters are watched too."""
        self.method = method
        self.spent = spent
        self.run_at(1.0)

    def run_at(self, rate: float) -> None:
        """From now on a second on the wall counts for so many: 1/S in a pack of S trials, 0 while others are run."""
        self.spent, self.since, self.rate = self.seconds, time.perf_counter(), rate

    def resume(self, curves: list[dict[str, Any]], seconds: float, peak: int, resumed: int) -> None:
        """Goes on from an earlier attempt: its curves, seconds, peak of memory, and how many it had gone on from."""
        self.curves, self.earlier_peak, self.resumed = curves, peak, resumed + 1
        self.spent += seconds

    @property
    def seconds(self) -> float:
        """Since the start, 0 before it, with the attempts that this one goes on from."""
        return self.spent + (self.rate * (time.perf_counter() - self.since) if self.rate else 0.0)

    def record(self, stage: str, step: int, planned: int | None, losses: Losses) -> None:
        """Takes one update's losses. Raises DivergedError or TimedOutError."""
        seconds = self.seconds
        values = {name: float(value.detach()) for name, value in losses.items()}
        self.curves += [
            {"stage": stage, "step": step, "seconds": seconds, "name": name, "value": value}
            for name, value in values.items()
        ]
        for name, value in values.items():
            if not abs(value) < EXPLODED:
                raise DivergedError(f"{name} is {value:g} at step {step} of {stage}")
        finite = {name: each.isfinite().all() for name, each in self.method.named_parameters()} if self.method else {}
        if finite and not torch.stack([*finite.values()]).all():  # at once: each read waits for a GPU
            name = next(name for name, sound in finite.items() if not sound)
            raise DivergedError(f"the parameter {name} is not finite after step {step} of {stage}")
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
        # Beside the images, so that a batch's index need not be copied to a GPU.
        self.waiting = torch.empty(0, dtype=torch.int64, device=images.device if isinstance(images, Tensor) else "cpu")

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        while len(self.waiting) < self.batch_size:
            epoch = torch.randperm(len(self.images), generator=self.order)
            self.waiting = torch.cat([self.waiting, epoch.to(self.waiting.device)])
        index, self.waiting = self.waiting[: self.batch_size], self.waiting[self.batch_size :]
        if isinstance(self.images, Tensor):
            batch = self.images[index]
        else:
            batch = upload(torch.from_numpy(self.images[index.numpy()]), self.device)
        return batch.float().div_(255)

    def state_dict(self) -> dict[str, Tensor]:
        return {"order": self.order.get_state(), "waiting": self.waiting.cpu()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.order.set_state(state["order"])
        self.waiting = state["waiting"].to(self.waiting.device)


def upload(batch: Tensor, device: torch.device) -> Tensor:
    """The batch on the device: on a GPU by way of memory that it reads itself, so that nobody waits for the copy."""
    return batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch.to(device)


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


class Draws:
    """A sampler: `draw(count, stream)` of a pair, on the device."""

    def __init__(
        self, draw: Callable[[int, torch.Generator], Tensor], stream: torch.Generator, device: torch.device
    ) -> None:
        self.draw, self.stream, self.device = draw, stream, device

    def __call__(self, count: int) -> Tensor:
        return upload(self.draw(count, self.stream), self.device)

    def state_dict(self) -> dict[str, Tensor]:
        return {"stream": self.stream.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.stream.set_state(state["stream"])


def samplers(pair: PairDataset, device: torch.device, **axes: Any) -> tuple[Sampler, Sampler]:
    """Source and target samplers, each on a stream of its own derived from `axes`."""
    return Draws(pair.source, generator("source", **axes), device), Draws(
        pair.target, generator("target", **axes), device
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


@dataclass
class Training:
    """The updates that a method is to be given, each on a fresh batch.

    steps: how many, or fewer where `ended(step)` says so. done: how many have been made before. due, save: whether it
    is time to save where it stands, and what does so, given the number made. precision: see `bench.identity.Budget`.
    compile: whether the objective is compiled.
    """

    watch: Watch
    method: Any
    steps: int
    next_batch: Callable[[], tuple[Tensor, ...]]
    ended: Callable[[int], bool] = never
    done: int = 0
    due: Callable[[], bool] = lambda: False
    save: Callable[[int], None] = lambda step: None
    precision: str = "float32"
    compile: bool = False

    def run(self) -> None:
        """Makes them."""
        device = next((parameter.device for parameter in self.method.parameters()), torch.device("cpu"))
        update = compiled_step(self.method) if self.compile else self.method.train_step
        for step in range(self.done + 1, self.steps + 1):
            batch = self.next_batch()
            with calculating(self.precision, device):
                losses = update(*batch)
            end = step == self.steps or self.ended(step)
            if end or self.is_point(step):
                self.watch.record("train", step, self.steps, losses)
            if end:
                return
            if self.due():
                self.save(step)

    def is_point(self, step: int) -> bool:
        """Whether the curves have a point there, beside the last."""
        return step == 1 or step % max(1, self.steps // CURVE_POINTS) == 0


def calculating(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Within its block matrix products and convolutions are calculated in a precision; parameters stay float32."""
    match precision:
        case "float32":
            return nullcontext()
        case "tf32":
            return _tf32()
        case _:
            return torch.autocast(device.type, dtype=getattr(torch, precision))


@contextmanager
def _tf32() -> Iterator[None]:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


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

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]

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
