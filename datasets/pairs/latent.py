"""Noise to the codes of an autoencoder: transport in latent space, with any transport method for the map.

Section 5.2 of Korotin et al., "Wasserstein-2 Generative Networks" (2021, arXiv 1909.13082). The codes of the training
images are to be reached by maps, those of the test images to be measured against. What comes of decoding mapped noise
is measured by the autoencoding method `latent-ot`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from datasets.base import PairDataset, Supplies

SMALLEST_DEVIATION = 1e-6
"""Codes in a dimension that the autoencoder does not use are divided by this."""


class Latent(PairDataset):
    """N(0, I) to codes, standardized in every dimension by mean and deviation of the training images' codes.

    The autoencoder is trained once a machine and kept, with its own defaults but for what is set here.

    Args:
        images: name of the image dataset, with its default options.
        autoencoder: name of the autoencoder.
        latent_dim: length D of a code.
        width: the autoencoder's number of base filters.
        lr: its learning rate.
        steps: updates it is trained for.
        batch_size: images in each.
    """

    name = "latent"
    summary = "a standard normal to the codes of a trained autoencoder"
    license = "that of the images"
    citation = "Korotin et al. 2021, Wasserstein-2 Generative Networks, arXiv 1909.13082"
    cached = False  # the codes themselves are

    def __init__(
        self,
        *,
        images: str = "mnist-5k",
        autoencoder: str = "ae",
        latent_dim: int = 8,
        width: int = 16,
        lr: float = 3e-3,
        steps: int = 600,
        batch_size: int = 64,
    ) -> None:
        for option, value in {
            "latent_dim": latent_dim,
            "width": width,
            "steps": steps,
            "batch_size": batch_size,
        }.items():
            if value < 1:
                raise ValueError(f"latent: {option} is {value}; it must be at least 1")
        self.dim = latent_dim
        self.parts = (images, autoencoder)
        self.images = images
        self.autoencoder = autoencoder
        self.params = {"latent_dim": latent_dim, "width": width, "lr": lr}
        self.steps = steps
        self.batch_size = batch_size
        self.source_variance = float(latent_dim)

    def build(self, supplies: Supplies) -> dict[str, np.ndarray]:
        """Standardized codes [N, D] of each split."""
        codes = supplies.codes(self.images, self.autoencoder, self.params, steps=self.steps, batch_size=self.batch_size)
        mean = codes["train"].mean(axis=0)
        deviation = codes["train"].std(axis=0).clip(min=SMALLEST_DEVIATION)
        return {split: (points - mean) / deviation for split, points in codes.items()}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.codes = {split: torch.from_numpy(np.ascontiguousarray(points)) for split, points in arrays.items()}
        self.target_variance = float(arrays["train"].astype(np.float64).var(axis=0).sum())

    def source(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        return torch.randn(count, self.dim, generator=generator)

    def target(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        """Codes of random images, with replacement."""
        codes = self.codes[split]
        return codes[torch.randint(len(codes), (count,), generator=generator)]
