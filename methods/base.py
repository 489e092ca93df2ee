"""The two contracts a method fulfils: `Autoencoder` and `TransportMap`.

A method is one file with one class. The keyword-only arguments of its constructor, with their types and defaults, are
its hyperparameters; defaults are the paper's. The class owns its optimizers: `train_step` is one update, whatever
that takes; where that is one step down `objective`, it need not be written, and several seeds can be trained as one
batched model. Randomness comes from torch's global generator, which the harness seeds before construction, training and
evaluation. Everything the trained method needs lives in parameters and buffers, so that `state_dict` restores it.

A trial that was killed goes on from a checkpoint of all that the method holds. For that nothing need be done: modules,
optimizers, schedulers, random generators, tensors, numbers, containers and objects of classes in Python may be kept in
attributes, whether made in the constructor, in `prepare` or by `train_step`. An iterator under way cannot be saved, nor
a tensor with its gradient graph; `python -m bench check` says so. An object may say what its state is by `state_dict`
and `load_state_dict`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor, nn, optim

Losses = dict[str, Tensor]
"""Named losses of one update: scalar tensors, detached or not. The first is the one progress displays show."""

Sampler = Callable[[int], Tensor]
"""`sampler(count)` draws fresh points, [count, D]."""


Shape = int | tuple[int, int, int]
"""What a point is: a vector of D numbers, or an image (channels, height, width) laid out as one."""

Likelihood = Literal["gaussian", "bernoulli"]
"""Observation models p(x | z) of images in [0, 1] around their decoding; the Gaussian has unit variance."""


class Unsupported(Exception):
    """This method cannot do what was asked, by its nature; the message says why in one sentence."""


class Method(nn.Module):
    """What both contracts share. Not subclassed directly."""

    name: ClassVar[str]
    """Lower-case and hyphenated, as in sweeps.toml."""
    version: ClassVar[int] = 1
    """Raise it when a change alters results: old rows then no longer count as done."""
    paper: ClassVar[str]
    """Whose method this is: authors, year, identifier."""
    summary: ClassVar[str]
    """One line for lists and reports."""
    family: ClassVar[str]
    """"AE", "VAE", "WAE", "GW", "OT map" or "reference": methods of a family share a hue in charts."""
    trains: ClassVar[bool] = True
    """False where all the work is done in `prepare`; the training budget then does not apply."""
    packs: ClassVar[bool] = True
    """False where `objective` cannot be computed for several models at once (`torch.func.vmap`)."""

    check_params: ClassVar[Mapping[str, Any]] = {}
    """Hyperparameters under which `python -m bench check` takes seconds: narrow networks, short preparations."""

    planned_steps: int = 0
    """Number of updates the budget allows; set by the harness before `prepare`, for schedules and two-stage methods."""
    steps_per_epoch: int = 0
    """Updates that make one pass over the training set (0 for samplers); set like `planned_steps`."""

    @property
    def optimizers(self) -> Sequence[optim.Optimizer]:
        """All that step together, once an update, in a method that leaves `train_step` as it is."""
        raise NotImplementedError

    def before_update(self) -> None:
        """Called before each update of such a method: the place for schedules of learning rates."""

    def after_update(self, losses: Losses) -> None:
        """Called after it, with its losses: the place for projections of parameters, in place, and for counters."""

    def descend(self, losses: Losses) -> Losses:
        """One step of all `optimizers` down the first of the losses, which it returns."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        next(iter(losses.values())).backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.after_update(losses)
        return losses


def descends(method: type[Method]) -> bool:
    """Whether its update is one step of its optimizers down `objective`: it leaves `train_step` as it is."""
    return getattr(method, "train_step", None) in (Autoencoder.train_step, TransportMap.train_step)


class Autoencoder(Method):
    """Maps images to codes and back, and draws codes from a prior.

    All but training is called in eval mode, without gradients, in chunks of any size. What not every autoencoder can
    tell, from `posterior` on, raises Unsupported by default; metrics that need it then have no value.

    Args:
        image_shape: (channels, height, width).
        latent_dim: length of a code; every subclass has this hyperparameter.
    """

    likelihood: Likelihood
    """The p(x | z) of `rate_distortion`; only where that is supported."""

    def __init__(self, image_shape: tuple[int, int, int], *, latent_dim: int = 64) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.latent_dim = latent_dim

    def encode(self, images: Tensor) -> Tensor:
        """[B, C, H, W] in [0, 1] -> [B, latent_dim]: the code used in evaluation (a posterior's mean)."""
        raise NotImplementedError

    def draw_codes(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, latent_dim]: a draw of each posterior; by default the code, a posterior of one point."""
        return self.encode(images)

    def decode(self, codes: Tensor) -> Tensor:
        """[B, latent_dim] -> [B, C, H, W] in [0, 1]."""
        raise NotImplementedError

    def sample_prior(self, count: int) -> Tensor:
        """-> [count, latent_dim], codes whose decodings are the method's generated samples."""
        raise NotImplementedError

    def prepare(self, batches: Iterator[Tensor]) -> Iterator[Losses] | None:
        """Once, before training (pretraining, closed forms); its cost counts.

        `batches` is endless and apart from the training batches. Written as a generator that yields losses, it shows
        progress, leaves a curve and is watched for divergence as training is.
        """

    def train_step(self, images: Tensor) -> Losses:
        """One update on a batch [B, C, H, W] in [0, 1], however many optimizers it takes; by default one step of all
        `optimizers` down `objective`."""
        self.before_update()
        return self.descend(self.objective(images))

    def objective(self, images: Tensor) -> Losses:
        """[B, C, H, W] -> what training minimizes, first, and its parts, without an update: also for early stopping."""
        raise Unsupported(f"{self.name} has no single objective to stop by")

    def finish(self, batches: Iterator[Tensor]) -> Iterator[Losses] | None:
        """Once, after training (a density or a map fitted to the codes); like `prepare`, its cost counts."""

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, H, W] -> mean and log-variance, [B, latent_dim] each, of a Gaussian with diagonal covariance."""
        raise Unsupported(f"{self.name} has no Gaussian posterior")

    def rate_distortion(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, H, W] -> KL(q(z | x) ‖ p(z)) and −log p(x | z) at one draw of z, [B] each, in nats.

        With all constants, so that minus their sum estimates a lower bound of log p(x) without bias. Only where the
        prior is N(0, I).
        """
        raise Unsupported(f"{self.name} has no evidence lower bound")

    def score(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B]: how unlike its training images the model itself finds each image, upwards."""
        raise Unsupported(f"{self.name} has no outlier score of its own")

    def components(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B] int64: the component of the model's own mixture that each image falls in."""
        raise Unsupported(f"{self.name} has no mixture of its own")

    def component_codes(self, count: int) -> Tensor:
        """-> [K, count, latent_dim]: draws of each of the K components of the model's own mixture."""
        raise Unsupported(f"{self.name} has no mixture of its own")

    def causal_mask(self) -> Tensor:
        """-> [latent_dim, latent_dim] in [0, 1]: how far dimension j (column) of the prior is a cause of i (row)."""
        raise Unsupported(f"{self.name} has no causal prior")


class TransportMap(Method):
    """Maps points of a source distribution to a target distribution.

    Points are rows of D numbers, also where they are images, D = C · H · W, in C order: a method that needs the image
    unflattens it. `push` and `pull` are called in eval mode under `torch.no_grad()`, in chunks of any size; a map
    that is a gradient enables it itself and returns detached points.

    Args:
        shape: dimension D of the points, or (channels, height, width) of the images they are.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.dim = shape if isinstance(shape, int) else math.prod(shape)

    def push(self, points: Tensor) -> Tensor:
        """[B, D] source points -> [B, D]."""
        raise NotImplementedError

    def pull(self, points: Tensor) -> Tensor:
        """[B, D] target points -> [B, D], where the method has an inverse."""
        raise Unsupported(f"{self.name} has no inverse map")

    def prepare(self, source: Sampler, target: Sampler) -> Iterator[Losses] | None:
        """Once, before training; see `Autoencoder.prepare`. The samplers are apart from the training batches."""

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        """One update on independent batches [B, D] of source and target; by default as of an autoencoder."""
        self.before_update()
        return self.descend(self.objective(source_points, target_points))

    def objective(self, source_points: Tensor, target_points: Tensor) -> Losses:
        """[B, D] each -> what training minimizes, first, and its parts, without an update."""
        raise Unsupported(f"{self.name} has no single objective")

    def finish(self, source: Sampler, target: Sampler) -> Iterator[Losses] | None:
        """Once, after training."""
