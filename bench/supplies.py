"""What datasets of pairs are made from: files, image datasets, and codes of autoencoders trained for the purpose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.environment import generator, reproducible, seed_torch
from bench.options import defaults, options_of, typed
from bench.registry import all_methods, find_dataset, part_versions
from bench.training import ImageBatches, Training, Watch, run_stage
from datasets.base import SPLITS, ImageDataset, ImageSplit, RemoteFile
from datasets.cache import Entry, load_splits, remember
from datasets.downloads import GetFile, local
from methods.base import Autoencoder

CODES_VERSION = 1
"""Raise it when autoencoders come to be trained or applied otherwise: their codes are then made anew."""
CHUNK = 250
"""Images encoded at once."""


@dataclass(frozen=True)
class DataFolder:
    """`datasets.base.Supplies`, with everything kept under a data folder; `get_file` is `local` or `fetch`."""

    root: Path
    get_file: GetFile = local

    def versions(self, parts: Iterable[str]) -> Mapping[str, int]:
        return part_versions(parts)

    def file(self, file: RemoteFile) -> Path:
        return self.get_file(file, self.root)

    def images(self, dataset: str, options: Mapping[str, Any]) -> Mapping[str, ImageSplit]:
        found, filled = _image_dataset(dataset, options)
        return load_splits(found, filled, self.root, self.get_file)

    def codes(
        self, dataset: str, autoencoder: str, params: Mapping[str, Any], *, steps: int, batch_size: int
    ) -> Mapping[str, np.ndarray]:
        """The autoencoder trains on one core of the CPU, with streams of seed 0, so all machines agree as far as
        their arithmetic does.

        Raises ValueError where the names or hyperparameters are not what they should be, and DivergedError.
        """
        found, filled = _image_dataset(dataset, {})
        cls = all_methods().get(autoencoder)
        if cls is None or not issubclass(cls, Autoencoder):
            raise ValueError(f"{autoencoder} is no autoencoder of the repository")
        schema = options_of(cls)
        unknown = params.keys() - schema.keys()
        if unknown:
            raise ValueError(f"{autoencoder} has no hyperparameter {', '.join(sorted(unknown))}")
        params = {**defaults(schema), **params}
        splits = load_splits(found, filled, self.root, self.get_file)
        identity = {
            "dataset": {"name": dataset, "version": found.version, "options": filled},
            "autoencoder": {"name": autoencoder, "version": cls.version, "params": params},
            "steps": steps,
            "batch_size": batch_size,
            "version": CODES_VERSION,
        }

        def build() -> dict[str, np.ndarray]:
            with reproducible(threads=1), torch.random.fork_rng():
                seed_torch("codes", **identity)
                method = cls(found.image_shape, **typed(params, schema))
                _train(method, splits["train"].images, steps, batch_size)
                return {split: _encode(method, splits[split].images) for split in SPLITS}

        return remember(Entry(identity, self.root / "codes"), build)


def _image_dataset(name: str, options: Mapping[str, Any]) -> tuple[ImageDataset, dict[str, Any]]:
    """An image dataset, and all its options."""
    cls = find_dataset(name)
    if not issubclass(cls, ImageDataset):
        raise ValueError(f"{name} is no dataset of images")
    filled = {**defaults(options_of(cls)), **options}
    return cls(**typed(filled, options_of(cls))), filled


def _train(method: Autoencoder, images: np.ndarray, steps: int, batch_size: int) -> None:
    watch = Watch(report=lambda stage, step, planned, loss: None)
    method.steps_per_epoch = -(-len(images) // batch_size)
    method.planned_steps = steps
    device = torch.device("cpu")
    batches = {
        stage: ImageBatches(images, batch_size, generator("codes", stage=stage), device)
        for stage in ("prepare", "train", "finish")
    }
    method.train()
    run_stage(watch, "prepare", method.prepare(batches["prepare"]))
    Training(watch, method, steps, lambda: (next(batches["train"]),)).run()
    run_stage(watch, "finish", method.finish(batches["finish"]))
    method.eval()


@torch.no_grad()
def _encode(method: Autoencoder, images: np.ndarray) -> np.ndarray:
    chunks = np.split(np.asarray(images), range(CHUNK, len(images), CHUNK))
    return np.concatenate([method.encode(torch.tensor(chunk).float() / 255).numpy() for chunk in chunks])
