"""The checkpoint of a trial: what it needs to go on after its process was killed, as one file that appears whole.

A trial has one, its latest, at results/checkpoints/<sweep>/<trial_id>.safetensors, written whenever enough seconds have
passed, and removed once its rows are there. A trial that goes on from it ends with the numbers of one that was never
killed, on a CPU bitwise. Tensors are safetensors, all else is JSON in its header; nothing in it is ever run.

`prepare` and `finish` are not saved half-way: a trial killed there begins that stage again.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.checkpointing.restoration import restoration
from bench.checkpointing.snapshots import Snapshot, SnapshotError, capture
from bench.environment import peak_memory
from bench.storage.files import replacing
from bench.storage.store import Store, StoreError
from bench.training import Watch
from methods.base import Losses, Method

CHECKPOINT_SECONDS = 120.0
"""From one checkpoint of a trial to the next, unless said otherwise."""
LARGEST_BYTES = 8 * 2**30
"""Of a checkpoint; a trial that needs more goes without."""
FORMAT = 1

Stage = Literal["train", "finish", "evaluate"]


@dataclass(frozen=True)
class Position:
    """How far a trial has come: to update `step` of "train", or before "finish" or "evaluate"."""

    stage: Stage
    step: int


class GlobalGenerators:
    """torch's own random generators, of the CPU and of the device where that is a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def state_dict(self) -> dict[str, Tensor]:
        states = {"cpu": torch.get_rng_state()}
        return states | ({"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {})

    def load_state_dict(self, states: Mapping[str, Tensor]) -> None:
        torch.set_rng_state(states["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"], self.device)


class Checkpoint:
    """That of one trial, which the trial offers its state to as it goes.

    Args:
        path: where it lies in the store.
        origin: what decides the numbers, as JSON: a checkpoint of another origin is not gone on from.
        rows: tells apart the rows of the trial's last run that ended, None without: one from before is not either.
        every: seconds from one to the next; 0 writes none, and goes on from none.
        watch: the losses so far and the clock, which go along.
    """

    def __init__(
        self,
        store: Store,
        path: Path,
        origin: Mapping[str, Any],
        rows: str | None,
        every: float,
        watch: Watch,
        device: torch.device,
    ) -> None:
        self.store, self.path, self.watch, self.device = store, path, watch, device
        self.generators = GlobalGenerators(device)
        self.origin = {"format": FORMAT, **origin}
        self.rows = rows
        self.every = every or math.inf
        self.last = time.perf_counter()
        self.warned = False
        self.misfit = ""
        self.saved = self._read() if every else None

    def resume(self, method: Method, state: Mapping[str, object]) -> Position | None:
        """Brings a trial to where it was when the checkpoint was written, and says where that is.

        None where there is no checkpoint of its origin; or, with nothing changed, where the method lacks what it had
        then: preparing may make it.

        state: what training has besides the method, made as what was offered was.
        """
        if self.saved is None:
            return None
        header, snapshot = self.saved
        position = Position(**header["position"])
        try:
            if position.stage == "evaluate":
                weights, _ = restoration(snapshot)
                method.load_state_dict(weights)
            else:
                _, apply = restoration(snapshot, {"method": method, "generators": self.generators, **state})
                apply()
        except SnapshotError as error:
            self.misfit = str(error)
            return None
        self.saved = None
        self.watch.resume(header["curves"], header["seconds"], header["peak_memory_bytes"], header["resumed"])
        return position

    def due(self) -> bool:
        """Whether it is time for one."""
        return time.perf_counter() - self.last >= self.every

    def write(self, position: Position, method: Method, state: Mapping[str, object]) -> None:
        """Writes a checkpoint. That it cannot is a warning, the first time: trials do without."""
        if math.isinf(self.every):
            return
        try:
            # What is evaluated lives in what `state_dict` has; see `methods.base`.
            training = {"method": method, "generators": self.generators, **state}
            saved = dict(method.state_dict()) if position.stage == "evaluate" else training
            self._write(position, capture(saved, "state"))
        except SnapshotError as error:
            self._warn(f"this trial has no checkpoints: {error}")
            self.every = math.inf
        except (OSError, SafetensorError, StoreError) as error:
            self._warn(f"no checkpoint could be written to {self.path}: {error}; the trial goes on without")
        self.last = time.perf_counter()

    def abandon(self) -> None:
        """Gives up to go on from what does not fit even when all is prepared; then the trial begins anew."""
        if self.saved is not None:
            self._warn(f"{self.path} does not fit what it was written from: {self.misfit}; the trial begins anew")
            self.saved = None

    def _write(self, position: Position, snapshot: Snapshot) -> None:
        size = sum(tensor.nbytes for tensor in snapshot.tensors.values())
        if size > LARGEST_BYTES:
            raise OSError(f"it would take {size:,} bytes, more than the {LARGEST_BYTES:,} allowed")
        header = {
            "origin": self.origin,
            "rows": self.rows,
            "position": {"stage": position.stage, "step": position.step},
            "curves": self.watch.curves,
            "seconds": self.watch.seconds,
            "peak_memory_bytes": max(peak_memory(self.device) or 0, self.watch.earlier_peak),
            "resumed": self.watch.resumed,
            "tree": snapshot.tree,
        }
        text = json.dumps(header)
        self.store.check_there()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.path.parent).free
        if free < 2 * size:
            raise OSError(f"it would take {size:,} bytes, and only {free:,} are free there")
        with replacing(self.path) as temporary:
            save_file(snapshot.tensors, temporary, {"header": text, "sha256": _digest(text, snapshot.tensors)})
        self.store.written(self.path)

    def _read(self) -> tuple[dict[str, Any], Snapshot] | None:
        """The header and the snapshot; None, with a warning where there is a file, if it cannot be gone on from."""
        try:
            with safe_open(self.path, "pt") as file:
                metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict
            if _digest(metadata["header"], tensors) != metadata["sha256"]:
                raise ValueError("its contents are not what was written")
            header = json.loads(metadata["header"])
            was, rows = header["origin"], header["rows"]
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._warn(f"{self.path} is damaged ({error}); the trial begins anew")
            return None
        other = sorted(name for name in self.origin.keys() | was.keys() if self.origin.get(name) != was.get(name))
        if other:
            self._warn(f"{self.path} was written with another {', '.join(other)}; the trial begins anew")
            return None
        if self.rows not in (None, rows):
            return None  # the trial ended after it, and is run again from the start
        return header, Snapshot(header["tree"], tensors)

    def _warn(self, text: str) -> None:
        if not self.warned:
            warnings.warn(text, stacklevel=3)
        self.warned = True


def stages(method: Any, given: tuple[Any, ...], run: Callable[[Iterator[Losses] | None], object]) -> Iterator[None]:
    """Prepares a method, and yields whenever a checkpoint may fit it: as it was made; when `prepare` was called, which
    may keep what it is given; and when what that yields has been run."""
    yield
    losses = method.prepare(*given)
    yield
    run(losses)
    yield


def remove_checkpoint(store: Store, path: Path) -> None:
    """Removes a trial's checkpoint, and what killed processes have left half-written. That it cannot is a warning."""
    for found in (path, *path.parent.glob(f".{path.name}.*.tmp")):
        if found.exists():
            try:
                found.unlink(missing_ok=True)
                store.removed(found)
            except OSError as error:
                warnings.warn(f"{found} is not needed any more and cannot be removed: {error.strerror}", stacklevel=2)


def _digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(f"\n{name} {tensors[name].dtype} {list(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
