"""`python -m bench check METHOD`: the contract of `methods.base`, run on tiny made-up data in seconds."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from safetensors.torch import load_file
from torch import Tensor

from bench.artifacts import save_weights
from bench.checkpointing.resumption import check_resumption
from bench.environment import generator, reproducible, seed_torch
from bench.options import fits, options_of
from bench.registry import find_method
from methods.base import Autoencoder, Losses, Method, Unsupported

STEPS = 60
RESUMED_STEPS = 12
BATCH = 32
DIM = 3
IMAGE_SHAPE = (1, 28, 28)
OTHER_IMAGE_SHAPES = ((1, 8, 8), (3, 32, 32), (1, 64, 64))


@dataclass(frozen=True)
class Verdict:
    """One clause of the contract: whether it holds (None where it does not apply), and what was seen."""

    clause: str
    passed: bool | None
    detail: str


def check_method(name: str) -> list[Verdict]:
    """Verdicts on a method. Clauses that need a trained method are missing where it cannot be built or trained.

    Raises UnknownNameError where there is no such method.
    """
    cls = find_method(name)
    check = _AutoencoderCheck(cls) if issubclass(cls, Autoencoder) else _TransportCheck(cls)
    with reproducible(threads=1):
        check.run()
    return check.verdicts


def print_verdicts(verdicts: list[Verdict], console: Console) -> bool:
    """Prints a table; returns whether nothing failed."""
    table = Table("", "clause", "seen", box=None, header_style="bold")
    marks = {True: Text("pass", "green"), False: Text("FAIL", "red"), None: Text("n/a")}
    for verdict in verdicts:
        table.add_row(marks[verdict.passed], Text(verdict.clause), Text(verdict.detail))
    console.print(table)
    return all(verdict.passed is not False for verdict in verdicts)


class _Check:
    """The clauses common to both kinds; subclasses say what data looks like and what a trained method gives."""

    shape: Any

    def __init__(self, cls: type[Method]) -> None:
        self.cls = cls
        self.verdicts: list[Verdict] = []

    def run(self) -> None:
        if not self._clause("says what it is", self._metadata) or not self._clause("hyperparameters", self._signature):
            return
        trained: list[Any] = []
        if not self._clause("trains with finite losses", lambda: self._trains(trained)):
            return
        method = trained[0]
        self._clause("shapes and ranges", lambda: self._shapes(method))
        self._clause("what not every method gives", lambda: self._extras(method))
        self._clause("does not depend on the batch", lambda: self._batches(method))
        self._clause("training helps", lambda: self._learns(method))
        self._clause("same seed, same numbers", lambda: self._repeats(method))
        self._clause("state saved and loaded", lambda: self._restores(method))
        self._clause("goes on from a checkpoint", self._resumes)

    def _clause(self, clause: str, examine: Callable[[], str | None]) -> bool:
        """Notes what `examine` returns (None: does not apply), or the error it raises; returns whether it held."""
        try:
            detail = examine()
        except Exception as error:
            self.verdicts.append(Verdict(clause, False, f"{type(error).__name__}: {error}"))
            return False
        self.verdicts.append(Verdict(clause, None if detail is None else True, detail or "does not apply"))
        return True

    def _metadata(self) -> str:
        for attribute in ("name", "paper", "summary", "family"):
            value = getattr(self.cls, attribute, None)
            _require(isinstance(value, str) and value, f"the class attribute {attribute} is not a text")
        return f"{self.cls.name}, version {self.cls.version}: {self.cls.summary}"

    def _signature(self) -> str:
        schema = options_of(self.cls)
        for option in schema.values():
            _require(fits(option.default, option.type), f"{option.name}: the default is not of its type")
        json.dumps({option.name: option.default for option in schema.values()}, allow_nan=False)
        unknown = self.cls.check_params.keys() - schema.keys()
        _require(not unknown, f"check_params names {', '.join(unknown)}, which the constructor has not")
        return ", ".join(schema) or "none"

    def _build(self, seed: int = 0, shape: Any = None) -> Any:
        seed_torch("check", seed=seed)
        return self.cls(self.shape if shape is None else shape, **self.cls.check_params)

    def _planned(self) -> Any:
        method = self._build()
        method.planned_steps = STEPS if method.trains else 0
        method.steps_per_epoch = 10
        return method.train()

    def _train(self) -> tuple[Any, list[Losses]]:
        method = self._planned()
        losses = list(method.prepare(*self.feed("prepare")) or ())
        next_batch = self.batches()
        losses += [method.train_step(*next_batch()) for _ in range(method.planned_steps)]
        losses += list(method.finish(*self.feed("finish")) or ())
        method.eval()
        return method, losses

    def _trains(self, out: list[Any]) -> str | None:
        method, losses = self._train()
        out.append(method)
        for values in losses:
            _require(len(values) > 0, "train_step returned no loss")
            for name, value in values.items():
                number = float(value.detach())
                _require(math.isfinite(number), f"the loss {name} is {number}")
        return f"{len(losses)} updates, losses {', '.join(losses[-1])}" if losses else None

    def _batches(self, method: Any) -> str:
        whole = self.outputs(method, slice(None))
        parts = [self.outputs(method, part) for part in (slice(0, 5), slice(5, None))]
        for name in whole:
            gap = (torch.cat([part[name] for part in parts]) - whole[name]).abs().max().item()
            _require(
                gap < 1e-4, f"{name} of a batch differs by {gap:.1e} from that of its parts: is eval mode respected?"
            )
        return f"{', '.join(whole)} alike whole and in parts"

    def _learns(self, method: Any) -> str | None:
        if not method.trains:
            return None
        before, after = self.misfit(self._build().eval()), self.misfit(method)
        _require(after < before, f"{self.misfit_name} {before:.4g} before training, {after:.4g} after")
        return f"{self.misfit_name} {before:.4g} -> {after:.4g}"

    def _repeats(self, method: Any) -> str:
        _equal(self.everything(method), self.everything(self._train()[0]))
        return "bitwise"

    def _restores(self, method: Any) -> str:
        fresh = self._build(seed=1)
        with tempfile.TemporaryDirectory() as folder:
            save_weights(method, Path(folder))
            saved = Path(folder) / "weights.safetensors"
            if saved.exists():
                fresh.load_state_dict(load_file(saved))
        fresh.eval()
        _equal(self.everything(method), self.everything(fresh))
        return f"{len(method.state_dict())} tensors, outputs bitwise equal"

    def _resumes(self) -> str | None:
        if not self.cls.trains:
            return None
        next_batch = self.batches()
        batches = [next_batch() for _ in range(RESUMED_STEPS)]
        return check_resumption(self._planned, lambda: self.feed("prepare"), batches)

    misfit_name: str

    def feed(self, stage: str) -> tuple[Any, ...]:
        """The arguments of `prepare` and `finish`."""
        raise NotImplementedError

    def batches(self) -> Callable[[], tuple[Tensor, ...]]:
        """Makes the function that gives `train_step` its arguments."""
        raise NotImplementedError

    def outputs(self, method: Any, part: slice) -> dict[str, Tensor]:
        """What a method makes of part of a fixed batch."""
        raise NotImplementedError

    def everything(self, method: Any) -> dict[str, Tensor]:
        """All that must repeat and survive being saved: the outputs on the batch, and what else a method gives."""
        return self.outputs(method, slice(None))

    def misfit(self, method: Any) -> float:
        """How badly a method fits the data."""
        raise NotImplementedError

    def _shapes(self, method: Any) -> str:
        raise NotImplementedError

    def _extras(self, method: Any) -> str | None:
        """Names what of the contract's optional parts the method gives, and it is sound."""
        raise NotImplementedError


class _AutoencoderCheck(_Check):
    shape = IMAGE_SHAPE
    misfit_name = "reconstruction MSE"

    def __init__(self, cls: type[Method]) -> None:
        super().__init__(cls)
        self.images = _blobs(256, IMAGE_SHAPE)
        self.batch = self.images[:BATCH]

    def feed(self, stage: str) -> tuple[Any, ...]:
        order = generator("check", stage=stage)

        def endless() -> Iterator[Tensor]:
            while True:
                yield self.images[torch.randint(len(self.images), (BATCH,), generator=order)]

        return (endless(),)

    def batches(self) -> Callable[[], tuple[Tensor, ...]]:
        (stream,) = self.feed("train")
        return lambda: (next(stream),)

    def outputs(self, method: Any, part: slice) -> dict[str, Tensor]:
        with torch.no_grad():
            seed_torch("check", outputs=True)
            codes = method.encode(self.batch[part])
            found = {"codes": codes, "reconstructions": method.decode(codes)}
            with contextlib.suppress(Unsupported):
                found["posterior means"], found["posterior log-variances"] = method.posterior(self.batch[part])
            with contextlib.suppress(Unsupported):
                found["components"] = method.components(self.batch[part])
            return found

    def everything(self, method: Any) -> dict[str, Tensor]:
        found = super().everything(method)
        with torch.no_grad():
            seed_torch("check", prior=True)
            found["prior codes"] = method.sample_prior(BATCH)
            found["samples"] = method.decode(found["prior codes"])
            found["drawn codes"] = method.draw_codes(self.batch)
            with contextlib.suppress(Unsupported):
                found["rates"], found["distortions"] = method.rate_distortion(self.batch)
            with contextlib.suppress(Unsupported):
                found["scores"] = method.score(self.batch)
        return found

    def misfit(self, method: Any) -> float:
        outputs = self.outputs(method, slice(None))
        return (outputs["reconstructions"] - self.batch).square().mean().item()

    def _shapes(self, method: Any) -> str:
        outputs = self.outputs(method, slice(None))
        _require(outputs["codes"].shape == (BATCH, method.latent_dim), f"codes are {list(outputs['codes'].shape)}")
        with torch.no_grad():
            prior = method.sample_prior(7)
            samples = method.decode(prior)
        _require(prior.shape == (7, method.latent_dim), f"sample_prior(7) gives {list(prior.shape)}")
        for name, images in (("reconstructions", outputs["reconstructions"]), ("samples", samples)):
            _require(images.shape[1:] == IMAGE_SHAPE, f"{name} are {list(images.shape)}")
            low, high = images.min().item(), images.max().item()
            _require(low >= 0 and high <= 1, f"{name} lie in [{low:.3g}, {high:.3g}], not in [0, 1]")
        for shape in OTHER_IMAGE_SHAPES:
            other = self._build(shape=shape).eval()
            with torch.no_grad():
                decoded = other.decode(other.encode(_blobs(2, shape)))
            _require(decoded.shape == (2, *shape), f"images {shape} come back as {list(decoded.shape)}")
        return f"codes [B, {method.latent_dim}], images in [0, 1], also at 8, 32 and 64 pixels"

    def _extras(self, method: Any) -> str | None:
        everything = self.everything(method)
        per_code, per_image = (BATCH, method.latent_dim), (BATCH,)
        shapes = {
            "drawn codes": per_code,
            "posterior means": per_code,
            "posterior log-variances": per_code,
            "rates": per_image,
            "distortions": per_image,
            "scores": per_image,
            "components": per_image,
        }
        given = [name for name in shapes if name in everything]
        for name in given:
            values = everything[name]
            _require(values.shape == shapes[name], f"{name} are {list(values.shape)}, not {list(shapes[name])}")
            _require(bool(torch.isfinite(values).all()), f"{name} are not finite")
        if "components" in given:
            _require(everything["components"].dtype == torch.int64, "components are not int64")
        if "rates" in given:
            low, likelihood = everything["rates"].min().item(), getattr(method, "likelihood", None)
            _require(low > -1e-3, f"rates are divergences, and one is {low:.3g}")
            _require(likelihood in ("gaussian", "bernoulli"), f"the likelihood is {likelihood!r}")
        return ", ".join(given)


class _TransportCheck(_Check):
    shape = DIM
    misfit_name = "energy distance to the target"

    def __init__(self, cls: type[Method]) -> None:
        super().__init__(cls)
        self.source_points, self.target_points = (sampler(BATCH * 8) for sampler in self.feed("evaluation"))
        self.batch = self.source_points[:BATCH]

    def feed(self, stage: str) -> tuple[Any, ...]:
        order = generator("check", stage=stage)
        scale, shift = torch.tensor([2.0, 0.7, 1.3]), torch.tensor([0.5, -0.5, 0.0])
        return (
            lambda count: torch.randn(count, DIM, generator=order),
            lambda count: torch.randn(count, DIM, generator=order) * scale + shift,
        )

    def batches(self) -> Callable[[], tuple[Tensor, ...]]:
        source, target = self.feed("train")
        return lambda: (source(BATCH), target(BATCH))

    def outputs(self, method: Any, part: slice) -> dict[str, Tensor]:
        with torch.no_grad():
            found = {"pushed": method.push(self.batch[part])}
            with contextlib.suppress(Unsupported):
                found["pulled"] = method.pull(self.batch[part])
            return found

    def misfit(self, method: Any) -> float:
        with torch.no_grad():
            pushed = method.push(self.source_points)
        between = torch.cdist(pushed, self.target_points).mean()
        within = torch.cdist(pushed, pushed).mean() + torch.cdist(self.target_points, self.target_points).mean()
        return (2 * between - within).item()

    def _shapes(self, method: Any) -> str:
        for name, points in self.outputs(method, slice(None)).items():
            _require(points.shape == (BATCH, DIM), f"{name} points are {list(points.shape)}")
            _require(not points.requires_grad, f"{name} points carry a gradient")
            _require(bool(torch.isfinite(points).all()), f"{name} points are not finite")
        shape = OTHER_IMAGE_SHAPES[1]
        images = _blobs(2, shape).flatten(start_dim=1)
        with torch.no_grad():
            pushed = self._build(shape=shape).eval().push(images)
        _require(pushed.shape == images.shape, f"images {list(images.shape)} come back as {list(pushed.shape)}")
        return f"{' and '.join(self.outputs(method, slice(None)))}, [B, {DIM}], also where points are images"

    def _extras(self, method: Any) -> str | None:
        return "pulled" if "pulled" in self.outputs(method, slice(None)) else None


def _blobs(count: int, shape: tuple[int, int, int]) -> Tensor:
    """Images of a bright disc at random places: [count, *shape] in [0, 1]."""
    channels, height, width = shape
    centers = torch.rand(count, 2, 1, 1, generator=generator("check", images=list(shape))) * 0.5 + 0.25
    y = torch.linspace(0, 1, height).view(1, -1, 1)
    x = torch.linspace(0, 1, width).view(1, 1, -1)
    images = torch.exp(-((y - centers[:, 0]) ** 2 + (x - centers[:, 1]) ** 2) / 0.02)
    return images.unsqueeze(1).expand(count, channels, height, width).contiguous()


def _require(holds: bool | str, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    for name in first:
        gap = (first[name] - second[name]).abs().max().item()
        _require(torch.equal(first[name], second[name]), f"{name} differ by up to {gap:.1e}")
