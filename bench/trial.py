"""One trial from start to finish: data, method, training, metrics, rows. However it ends, it leaves its rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.artifacts import save_picture, save_points, save_weights
from bench.checkpointing.checkpoints import CHECKPOINT_SECONDS, Checkpoint, Position, Stage, remove_checkpoint, stages
from bench.diagnostics import save_diagnostics
from bench.environment import (
    code_and_machine,
    generator,
    peak_memory,
    provenance,
    reproducible,
    reset_peak_memory,
    seed_torch,
)
from bench.evidence import Evidence, ImageEvidence, PairEvidence
from bench.identity import Trial
from bench.limits import LimitError, Limits, describe_out_of_memory
from bench.measurement import measure
from bench.options import defaults, options_of, typed
from bench.outcomes import Outcome, describe_error, disk_refused, how_to_prepare, identity_columns, outcome_columns
from bench.registry import find_dataset, find_method
from bench.storage.schema import UNENDED
from bench.storage.store import Store, StoreError
from bench.supplies import DataFolder
from bench.training import (
    DivergedError,
    EarlyStopping,
    ImageBatches,
    Report,
    TimedOutError,
    Training,
    Watch,
    near,
    never,
    run_stage,
    samplers,
)
from datasets.base import ImageDataset, ImageSplit, PairDataset
from datasets.cache import load_pair, load_splits
from datasets.downloads import MissingFileError
from methods.base import Autoencoder, Method, Sampler, TransportMap, descends

PATIENCE_SECONDS = 3600.0
"""How long a trial that is done waits for a disk that refuses its results, asking every RETRY_SECONDS."""
RETRY_SECONDS = 2.0
ACROSS_SEEDS = "across-seeds.npz"
"""The artifact with the arrays that metrics across seeds need; see `bench.across`."""


def run_trial(
    trial: Trial, store: Store, data_root: Path, report: Report, checkpoint_seconds: float = CHECKPOINT_SECONDS
) -> Outcome:
    """Runs a trial and writes its rows, curves and artifacts; goes on from its checkpoint where it was killed before.

    Catches what the trial raises: its row says what happened. An interrupt passes through, and leaves no row.
    Raises StoreError where the rows themselves cannot be written.
    """
    run = Run(trial, store, data_root, report, checkpoint_seconds)
    with reproducible(trial.resources.cpus):
        outcome = run.write(run.attempt())
    remove_checkpoint(store, store.checkpoint_path(trial.sweep, trial.id))
    return outcome


class Run:
    """A trial under way, and what is known of it so far. Trials of a search run in the same way, and keep less.

    pack: ids of the trials that train as one model with it, itself among them; empty where it trains alone.
    """

    def __init__(
        self,
        trial: Trial,
        store: Store,
        data_root: Path,
        report: Report,
        checkpoint_seconds: float = 0.0,
        pack: tuple[str, ...] = (),
    ) -> None:
        self.trial = trial
        self.store = store
        self.data_root = data_root
        self.device = torch.device("cuda" if trial.resources.gpus else "cpu")
        self.started_at = datetime.now(UTC)
        self.watch = Watch(report, trial.timeout)
        self.limits = Limits(lambda: self.watch.seconds, trial.timeout, trial.resources.memory_gb)
        self.checkpoint_seconds = checkpoint_seconds
        self.pack = pack
        self.before = store.fingerprint(trial.sweep, trial.id)
        self.cost: dict[str, Any] = {"device": str(self.device), "threads": trial.resources.cpus}
        self.cost |= {"packed": len(pack) or 1, "precision": trial.budget.precision}
        self.metric_rows: list[dict[str, Any]] = []
        self.kept: dict[str, np.ndarray] = {}  # arrays for metrics across seeds
        # What derives the random streams that all methods share.
        self.axes = {"seed": trial.seed, "dataset": [trial.dataset.name, dict(trial.dataset.options)]}
        self.measuring = self.measure()

    def begin(self) -> Training | None:
        """Goes as far as to the updates that are to be made; None where all is done. Raises what goes wrong."""
        with self.limits:
            return next(self.measuring, None)

    def attempt(self) -> Outcome:
        """Does what is left to do, and says what came of it."""
        try:
            with self.limits:
                for training in self.measuring:
                    training.run()
        except LimitError:
            assert self.limits.passed is not None
            return Outcome(*self.limits.passed)
        except DivergedError as error:
            return Outcome("diverged", "Diverged", str(error))
        except TimedOutError as error:
            return Outcome("timeout", "TimedOut", str(error))
        except MissingFileError as error:
            return Outcome("failed", "MissingFile", f"{how_to_prepare(self.trial, self.data_root)} {error}")
        except StoreError:
            raise
        except Exception as error:
            memory = describe_out_of_memory(error)
            if memory is not None:
                return Outcome("failed", "OutOfMemory", memory)
            # What a disk refuses is no fault of the trial's: a lost trial runs again.
            status = "lost" if disk_refused(error) else "failed"
            return Outcome(status, type(error).__name__, describe_error(error))
        return Outcome("ok")

    def measure(self) -> Iterator[Training]:
        """Trains and evaluates; leaves metric rows and cost behind. The updates are for others to make: it gives them
        away, and goes on when they have been made."""
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("the sweep asks for a GPU and torch sees none; set resources.gpus = 0 to use the CPU")
        if self.device.type == "cpu" and self.trial.budget.precision == "tf32":
            raise RuntimeError('precision = "tf32" is of GPUs; on a CPU it would be "float32", which is another trial')
        reset_peak_memory(self.device)
        dataset_class = find_dataset(self.trial.dataset.name)
        options = typed(self.trial.dataset.options, options_of(dataset_class))
        dataset = dataset_class(**options)
        for outliers in self.trial.outliers:
            self._test_images(outliers)  # that it is missing is better known before training
        if isinstance(dataset, ImageDataset):
            yield from self._measure_autoencoder(dataset, load_splits(dataset, options, self.data_root))
        else:
            assert isinstance(dataset, PairDataset)
            load_pair(dataset, options, self.data_root, DataFolder(self.data_root))
            yield from self._measure_map(dataset)

    def _measure_autoencoder(self, dataset: ImageDataset, splits: Mapping[str, ImageSplit]) -> Iterator[Training]:
        method = self._build(dataset.image_shape)
        assert isinstance(method, Autoencoder)
        budget, gpu_share = self.trial.budget, min(self.trial.resources.gpus, 1.0)
        images = near(splits["train"].images, self.device, gpu_share)
        method.steps_per_epoch = -(-len(images) // budget.batch_size)
        method.planned_steps = (
            budget.steps if budget.steps is not None else round((budget.epochs or 0) * method.steps_per_epoch)
        )

        def batches(stage: str) -> ImageBatches:
            return ImageBatches(images, budget.batch_size, generator(f"{stage}-batches", **self.axes), self.device)

        def evidence_of(method: Autoencoder, split: str) -> ImageEvidence:
            return ImageEvidence(
                method,
                splits[split],
                self.device,
                {**self.axes, "split": split},
                train=splits["train"],
                find_images=self._test_images,
                cache=self.data_root,
            )

        ended = EarlyStopping(self.watch, method, splits["validation"].images, budget, self.device, **self.axes)
        yield from self.train(
            method, lambda stage: (batches(stage),), lambda images: (next(images),), evidence_of, ended
        )
        for split in self.trial.splits:
            evidence = evidence_of(method, split)
            self.evaluate(evidence)
        self._patiently(self.keep, method, evidence)

    def _measure_map(self, dataset: PairDataset) -> Iterator[Training]:
        method = self._build(dataset.image_shape or dataset.dim)
        assert isinstance(method, TransportMap)
        budget = self.trial.budget
        method.planned_steps = budget.steps or 0

        def pair(stage: str) -> tuple[Sampler, Sampler]:
            return samplers(dataset, self.device, stage=stage, **self.axes)

        def evidence_of(method: TransportMap, split: str) -> PairEvidence:
            return PairEvidence(method, dataset, self.device, {**self.axes, "split": split})

        def draw(source: Sampler, target: Sampler) -> tuple[Tensor, Tensor]:
            return source(budget.batch_size), target(budget.batch_size)

        yield from self.train(method, pair, draw, evidence_of)
        for split in self.trial.splits:
            evidence = evidence_of(method, split)
            self.evaluate(evidence)
        self._patiently(self.keep, method, evidence)

    def _test_images(self, name: str) -> ImageSplit:
        """The test split of a dataset with its default options."""
        dataset_class = find_dataset(name)
        dataset = dataset_class()
        assert isinstance(dataset, ImageDataset)
        return load_splits(dataset, defaults(options_of(dataset_class)), self.data_root)["test"]

    def _build(self, shape: Any) -> Method:
        method_class = find_method(self.trial.method.name)
        params = typed(self.trial.method.options, options_of(method_class))
        # Not a function of the method: those that share a network start from the same weights.
        seed_torch("initialization", **self.axes)
        method = method_class(shape, **params).to(self.device)
        self.cost["compiled"] = self.trial.compile and descends(method_class)
        self.cost["parameters"] = sum(p.numel() for p in method.parameters())
        return method

    def train(
        self,
        method: Any,
        streams: Callable[[str], tuple[Any, ...]],
        next_batch: Callable[..., tuple[Tensor, ...]],
        evidence_of: Callable[[Any, str], Evidence],
        ended: Callable[[int], bool] = never,
    ) -> Iterator[Training]:
        """Prepares, trains and finishes the method; goes on from a checkpoint where there is one.

        streams: what `prepare`, `finish` and, in "train", `next_batch` take, anew at each call. evidence_of: what a
        method makes of a split, for subclasses that measure on the way.
        """
        steps = method.planned_steps if method.trains else 0
        training = streams("train")
        checkpoint = self._checkpoint()
        state = {"streams": training, "ended": ended}

        def save(stage: Stage, step: int) -> None:
            checkpoint.write(Position(stage, step), method, state)

        def offer(stage: Stage, step: int) -> None:
            if checkpoint.due():
                save(stage, step)

        self.watch.start(method)
        method.train()
        try:
            seed_torch("preparation", **self.axes)
            for _ in stages(method, streams("prepare"), lambda losses: run_stage(self.watch, "prepare", losses)):
                at = checkpoint.resume(method, state)
                if at is not None:
                    break
            else:
                checkpoint.abandon()
                seed_torch("training", **self.axes)
                at = Position("train", 0)
            offer(at.stage, at.step)
            if at.stage == "train":
                yield Training(
                    self.watch,
                    method,
                    steps,
                    lambda: next_batch(*training),
                    ended,
                    done=at.step,
                    due=checkpoint.due,
                    save=lambda step: save("train", step),
                    precision=self.trial.budget.precision,
                    compile=self.cost["compiled"],
                )
                offer("finish", steps)
            if at.stage != "evaluate":
                seed_torch("finishing", **self.axes)
                run_stage(self.watch, "finish", method.finish(*streams("finish")))
                offer("evaluate", steps)
        finally:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            trained = [point["step"] for point in self.watch.curves if point["stage"] == "train"]
            self.cost |= {"steps": max(trained, default=0), "train_seconds": self.watch.seconds}
        method.eval()

    def _checkpoint(self) -> Checkpoint:
        """The trial's, of this code on this machine."""
        trial, status = self.trial, self.store.status(self.trial.sweep, self.trial.id)
        ended = status not in (None, *UNENDED)
        rows = f"{status} {self.store.fingerprint(trial.sweep, trial.id)}" if ended else None
        origin = {
            "trial": trial.id,
            "threads": trial.resources.cpus,
            "device": str(self.device),
            "pack": list(self.pack),
            "compiled": self.cost["compiled"],
            **code_and_machine(find_method(trial.method.name), self.device),
        }
        path = self.store.checkpoint_path(trial.sweep, trial.id)
        return Checkpoint(self.store, path, origin, rows, self.checkpoint_seconds, self.watch, self.device)

    def evaluate(self, evidence: Evidence) -> None:
        """Adds the rows of the trial's metrics."""
        start = time.perf_counter()
        for setting in self.trial.metrics:
            self.metric_rows += measure(setting, evidence, self.trial.resources.cpus, self.kept)
        self.cost["eval_seconds"] = self.cost.get("eval_seconds", 0.0) + time.perf_counter() - start

    def keep(self, method: Method, evidence: Evidence) -> None:
        """Writes the artifacts: weights, and what was drawn or is to be drawn of the last split."""
        with self.store.replacing_artifacts(self.trial.id) as folder:
            save_weights(method, folder)
            if isinstance(evidence, ImageEvidence):
                save_diagnostics(evidence, folder)
            if isinstance(evidence, PairEvidence):
                save_points(evidence, folder)
                save_picture(evidence, folder)
            if self.kept:
                np.savez_compressed(folder / ACROSS_SEEDS, allow_pickle=False, **self.kept)

    def write(self, outcome: Outcome) -> Outcome:
        """Writes curves, then rows: a trial with rows has everything else; returns the outcome that is on record.

        Where another run has meanwhile done the trial, and this one failed, the other's results stay.
        """
        trial, store = self.trial, self.store
        changed = outcome.status != "ok" and store.fingerprint(trial.sweep, trial.id) != self.before
        if changed and store.status(trial.sweep, trial.id) == "ok":
            return Outcome("ok")
        if self.watch.curves:
            self._patiently(self.store.write_curves, self.trial.sweep, self.trial.id, self.watch.curves)
        shared = {
            **identity_columns(self.trial),
            **outcome_columns(outcome),
            **self.cost,
            "resumed": self.watch.resumed,
            "peak_memory_bytes": max(peak_memory(self.device) or 0, self.watch.earlier_peak) or None,
            "started_at": self.started_at,
            **provenance(self.device),
        }
        metrics = (self.metric_rows if outcome.status == "ok" else []) or [{}]
        rows = [{**shared, **metric} for metric in metrics]
        self._patiently(self.store.write_rows, rows, self.trial.to_record())
        return outcome

    def _patiently(self, write: Callable[..., object], *arguments: Any) -> None:
        """Writes, and waits where the disk refuses: a trial that is done should not be lost for want of room. Waiting
        counts for no limit of time."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        rate = self.watch.rate
        while True:
            try:
                write(*arguments)
                break
            except StoreError as error:
                if time.monotonic() > deadline:
                    raise
                self.watch.run_at(0.0)
                self.watch.report(f"waits, {error}", 0, None, math.nan)
                time.sleep(RETRY_SECONDS)
        self.watch.run_at(rate)
