"""Transport in the latent space of an autoencoder (arXiv 1909.13082)."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import field
from types import ModuleType
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

import methods.autoencoders
import methods.transport
from methods.autoencoders.ae import ReconstructionLoss
from methods.base import Autoencoder, Losses, Method, TransportMap
from methods.parts.autoencoding import DeclaredAutoencoder, encode_epoch
from methods.parts.networks import ImageShape, Network
from methods.transport.w2gn import W2GN


class LatentOT(DeclaredAutoencoder):
    """Any autoencoder, trained as ever, then the optimal map from N(0, I) to its codes: samples decode mapped noise.

    The map may be any transport method. W2GN has the settings of its authors' latent-space experiment: potentials
    start from the identity on 3 · N(0, I), and the map to be used is the one without the correlation term (from codes
    to noise is their forward direction). Codes are standardized in every dimension, which is the last layer of their
    encoder. Given the same seed, the autoencoder is bit for bit that of a plain run without a fitted density.

    What the autoencoder tells of images and of its mixture, it tells here; not its evidence lower bound, which is one
    under another prior.

    Raises:
        ValueError: no autoencoder or map of that name, an autoencoder that is not trained, or one that lacks a setting
            given for it.
    """

    name = "latent-ot"
    version = 2
    paper = "Korotin et al. 2021, arXiv:1909.13082"
    summary = "An autoencoder, then an optimal map from N(0, I) to its codes."
    family = "OT map"
    check_params: ClassVar[Mapping[str, Any]] = {
        "map_steps": 20,
        "map_pretrain_steps": 20,
        "map_batch_size": 64,
        "map_hidden": (32, 32),
        "width": 8,
    }

    image_shape: ImageShape = field(kw_only=False)
    autoencoder: str = "ae"
    """Name of the autoencoder, with its own defaults but for the settings below."""
    autoencoder_loss: ReconstructionLoss | None = None
    """The reconstruction loss of "ae", whose "l1-mse" and "perceptual" are the paper's; None leaves it to the
    autoencoder."""
    transport: str = "w2gn"
    """Name of the map's method; with its own defaults but for the settings below."""
    map_steps: int = 100_000
    """Updates of the map, where it trains."""
    map_pretrain_steps: int | None = None
    """Most updates spent before on making it the identity, where it does; None is its method's own number, 5,000 of
    w2gn."""
    map_batch_size: int = 4096
    """Codes, and draws of noise, in each."""
    map_hidden: tuple[int, ...] = (256, 256, 128, 64)
    """Widths of w2gn's potentials."""
    map_rank: int = 4
    """Rank of their quadratic forms."""
    map_cycle_weight: float = 100.0
    """W2GN's λ; each of the two cycle terms has half of it."""
    map_lr: float | None = None
    """Of Adam, where it trains; None is its method's own, 3e-4 of w2gn."""
    latent_dim: int = 128
    """Length of a code."""
    network: Network = "conv"
    """The family of networks, see `methods.parts.networks`."""
    width: int = 32
    """Number of base filters."""
    batch_norm: bool | None = None
    """Whether the networks have batch norm; None leaves it to the autoencoder."""
    lr: float | None = None
    """The autoencoder's; None leaves it to the autoencoder."""
    density: Literal["prior"] = "prior"
    """What samples are decoded from: mapped noise, in place of any density fitted to the codes."""

    def setup(self) -> None:
        self.inner = self.build_autoencoder()
        # The map's initialization must not shift the random numbers of the autoencoder's training.
        with torch.random.fork_rng(devices=[]):
            self.map = self.build_map()
        self.map.planned_steps = self.map_steps
        self.code_mean: Tensor
        self.code_std: Tensor
        self.register_buffer("code_mean", torch.zeros(self.latent_dim))
        self.register_buffer("code_std", torch.ones(self.latent_dim))

    def build_autoencoder(self) -> Autoencoder:
        cls: Any = find(methods.autoencoders, Autoencoder, self.autoencoder)
        if not cls.trains:
            raise ValueError(f"{self.autoencoder} is not trained, so its codes are nothing to transport to")
        own = {"batch_norm": self.batch_norm, "lr": self.lr, "loss": self.autoencoder_loss}
        given = {option: value for option, value in own.items() if value is not None}
        missing = given.keys() - inspect.signature(cls).parameters.keys()
        if missing:
            raise ValueError(f"{self.autoencoder} has no {' and no '.join(sorted(missing))} to set")
        shared = {"latent_dim": self.latent_dim, "network": self.network, "width": self.width, "density": self.density}
        return cls(self.image_shape, **shared, **given)

    def build_map(self) -> TransportMap:
        cls: Any = find(methods.transport, TransportMap, self.transport)
        settings: dict[str, Any] = {}
        if cls is W2GN:
            settings = {
                "hidden": self.map_hidden,
                "rank": self.map_rank,
                "strong_convexity": 1e-6,
                "init_std": 0.1,
                "cycle_weight": self.map_cycle_weight / 2,
                "reverse": True,
                "lr": 3e-4,
                "adam_beta1": 0.5,
                "adam_beta2": 0.995,
                "conjugate_beta1": 0.5,
                "conjugate_beta2": 0.999,
                "weight_decay": 1e-10,
                "l1": 0.0,
                "batch_size_pretrain": self.map_batch_size,
                "pretrain_steps": 5000,
                "pretrain_tolerance": 1e-3 / self.latent_dim,
                "pretrain_points": "normal",
                "pretrain_lr": 1e-4,
            }
        options = inspect.signature(cls).parameters
        for option, value in {"lr": self.map_lr, "pretrain_steps": self.map_pretrain_steps}.items():
            if value is not None and option in options:
                settings[option] = value
        return cls(self.latent_dim, **settings)

    def encode(self, images: Tensor) -> Tensor:
        return self.inner.encode(images)

    def decode(self, codes: Tensor) -> Tensor:
        return self.inner.decode(codes)

    def draw_codes(self, images: Tensor) -> Tensor:
        return self.inner.draw_codes(images)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner.posterior(images)

    def score(self, images: Tensor) -> Tensor:
        return self.inner.score(images)

    def components(self, images: Tensor) -> Tensor:
        return self.inner.components(images)

    def component_codes(self, count: int) -> Tensor:
        return self.inner.component_codes(count)

    def causal_mask(self) -> Tensor:
        return self.inner.causal_mask()

    def sample_prior(self, count: int) -> Tensor:
        return self.map.push(self.draw_noise(count)) * self.code_std + self.code_mean

    def draw_noise(self, count: int) -> Tensor:
        return torch.randn(count, self.latent_dim, device=self.code_mean.device)

    def prepare(self, batches: Iterator[Tensor]) -> Iterator[Losses] | None:
        self.inner.planned_steps = self.planned_steps
        self.inner.steps_per_epoch = self.steps_per_epoch
        return self.inner.prepare(batches)

    def train_step(self, images: Tensor) -> Losses:
        return self.inner.train_step(images)

    def objective(self, images: Tensor) -> Losses:
        return self.inner.objective(images)

    def finish(self, batches: Iterator[Tensor]) -> Iterator[Losses]:
        yield from self.inner.finish(batches) or ()
        codes = encode_epoch(self.inner, batches)
        self.code_mean.copy_(codes.mean(dim=0))
        self.code_std.copy_(codes.std(dim=0).clamp(min=1e-6))
        codes = (codes - self.code_mean) / self.code_std

        def pick_codes(count: int) -> Tensor:
            return codes[torch.randint(len(codes), (count,), device=codes.device)]

        yield from self.map.prepare(self.draw_noise, pick_codes) or ()
        for _ in range(self.map_steps if self.map.trains else 0):
            yield self.map.train_step(self.draw_noise(self.map_batch_size), pick_codes(self.map_batch_size))
        yield from self.map.finish(self.draw_noise, pick_codes) or ()


Found = TypeVar("Found", bound=Method)


def find(package: ModuleType, base: type[Found], name: str) -> type[Found]:
    """The class of a method's name among the files of a package, but for this one.

    Raises ValueError, with the names there are.
    """
    known: dict[str, type[Found]] = {}
    for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if info.name == __name__:
            continue
        module = importlib.import_module(info.name)
        for cls in vars(module).values():
            if isinstance(cls, type) and issubclass(cls, base) and cls.__module__ == module.__name__:
                known |= {cls.name: cls} if "name" in vars(cls) else {}
    if name not in known:
        raise ValueError(f'no method "{name}" in {package.__name__}; there is {", ".join(sorted(known))}')
    return known[name]
