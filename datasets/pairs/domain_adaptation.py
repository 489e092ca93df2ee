"""Features of two sets of digits under a classifier of one of them: does a map between them keep the classes?

Unsupervised domain adaptation as in Korotin et al., "Wasserstein-2 Generative Networks" (2021, arXiv 1909.13082): a
LeNet learns the target's classes, the map carries the features that it finds in source images to those of the target,
and a nearest-neighbor classifier of the target's features should then know the source's classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.base import SPLITS, DataError, ImageSplit, Supplies
from datasets.pairs.empirical import EmpiricalPair, as_points

SIDE = 28
"""Pixels that all images are scaled to, and that the classifier is made for."""
FEATURES = 84
CHUNK = 1000
SEED = 0


class DomainAdaptation(EmpiricalPair):
    """The 84 inputs of LeNet's last layer, for the images of two labeled sets, drawn at random within each split.

    As in the authors' code: images are scaled to 28×28 and [0, 1], the classifier is trained on the target's training
    images by Adam at its defaults (lr 1e-3) in batches of 128. They trained it for 5 epochs of MNIST, which is the
    default number of updates here, whatever the size of the set. They also changed brightness and contrast by up to 5%
    and added noise of deviation 0.005 to all images; ours are as they are, so that features are functions of them.
    On the 3,500 training images of mnist-5k it comes to 95.9% of the test images, in half a minute on one core; theirs,
    on MNIST, to 98.5%.

    Args:
        source: name of the image dataset to classify without its labels; with its default options.
        target: name of the image dataset with the same classes that the classifier is trained on.
        steps: updates of the classifier.

    Raises:
        ValueError: fewer than one step.
    """

    name = "domain-adaptation"
    summary = "features of one set of digits to those of another, under a classifier of the latter"
    license = "that of the images"
    citation = "Korotin et al. 2021, Wasserstein-2 Generative Networks, arXiv 1909.13082"
    url = "https://github.com/iamalexkorotin/Wasserstein2GenerativeNetworks"
    dim = FEATURES
    has_labels = True

    def __init__(self, *, source: str = "digits", target: str = "mnist-5k", steps: int = 2340) -> None:
        if steps < 1:
            raise ValueError(f"domain-adaptation: steps is {steps}; it must be at least 1")
        self.images = {"source": source, "target": target}
        self.parts = (source, target)
        self.steps = steps

    def build(self, supplies: Supplies) -> dict[str, np.ndarray]:
        """Features float32 [N, 84] of each side and split, their labels int64 [N], and the classifier's "accuracy".

        Raises:
            DataError: a set of images has no labels.
        """
        sides = {side: _labeled(supplies, name) for side, name in self.images.items()}
        arrays = {}
        with _one_thread(), torch.random.fork_rng():
            torch.manual_seed(SEED)
            network = LeNet(int(sides["target"]["train"][1].max()) + 1)
            _train(network, *sides["target"]["train"], self.steps)
            for side, splits in sides.items():
                for split, (images, labels) in splits.items():
                    arrays[f"{side}-{split}"] = _features(network, images).numpy()
                    arrays[f"{side}-{split}-labels"] = labels.numpy()
            test = torch.from_numpy(arrays["target-test"])
            with torch.no_grad():
                right = network.classify(test).argmax(dim=1) == sides["target"]["test"][1]
        arrays["accuracy"] = right.double().mean().numpy()
        return arrays

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().load(arrays)
        self.classifier_accuracy = float(arrays["accuracy"])

    def labeled_source(self, split: str) -> tuple[Tensor, Tensor]:
        return self._labeled("source", split)

    def labeled_target(self, split: str) -> tuple[Tensor, Tensor]:
        return self._labeled("target", split)

    def _labeled(self, side: str, split: str) -> tuple[Tensor, Tensor]:
        labels = torch.from_numpy(np.array(self.arrays[f"{side}-{split}-labels"]))
        return as_points(self.arrays[f"{side}-{split}"]), labels


class LeNet(nn.Module):
    """LeCun et al. (1998), with ReLU and max pooling as in the authors' code.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 120),
            nn.ReLU(),
            nn.Linear(120, FEATURES),
            nn.ReLU(),
        )
        self.classify = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 1, 28, 28] in [0, 1] -> logits [B, classes]."""
        return self.classify(self.features(images))


def _labeled(supplies: Supplies, name: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Images [N, 1, 28, 28] in [0, 1] and labels [N] of each split of a set."""
    found = supplies.images(name, {})
    return {split: (_scaled(found[split]), _labels(found[split], name)) for split in SPLITS}


def _scaled(split: ImageSplit) -> Tensor:
    images = torch.from_numpy(np.array(split.images)).float().mean(dim=1, keepdim=True) / 255
    if images.shape[-2:] == (SIDE, SIDE):
        return images
    return F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)


def _labels(split: ImageSplit, name: str) -> Tensor:
    if split.labels is None:
        raise DataError(f"domain-adaptation: the images of {name} have no labels; name a set that has")
    return torch.from_numpy(np.array(split.labels))


def _train(network: LeNet, images: Tensor, labels: Tensor, steps: int, batch_size: int = 128) -> None:
    """Random batches, each image once an epoch; the images left over at an epoch's end sit it out."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    batch_size = min(batch_size, len(images))
    network.train()
    for step in range(steps):
        place = step % (len(images) // batch_size)
        if place == 0:
            order = torch.randperm(len(images))
        batch = order[place * batch_size : (place + 1) * batch_size]
        loss = F.cross_entropy(network(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()


@torch.no_grad()
def _features(network: LeNet, images: Tensor) -> Tensor:
    return torch.cat([network.features(chunk) for chunk in images.split(CHUNK)])


@contextmanager
def _one_thread() -> Iterator[None]:
    """The order of sums, so the last digits, depends on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
