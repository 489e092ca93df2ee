"""What the authors of autoencoders draw of one: grids of images as PNG, and points and matrices as Parquet.

Whatever is random is seeded by the evaluation's streams, so methods that share a prior are seen on the same codes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from bench.environment import seed_torch
from bench.evidence import ImageEvidence
from bench.metrics.base import Unmeasurable
from bench.metrics.generation.memorization import nearest
from methods.base import Unsupported

COLUMNS = 8
SAMPLES = 64
RECONSTRUCTIONS = 32
NEIGHBORS = 16
INTERPOLATIONS = 8
TRAVERSED_DIMENSIONS = 12
SHOWN_COMPONENTS = 16
MANIFOLD_SIDE = 16
POINTS = 1000
PAIRS = 500


def save_diagnostics(evidence: ImageEvidence, folder: Path) -> None:
    """A file a diagnostic, with its name in `DIAGNOSTICS`.

    What the method does not have, and what has values that are not finite, is left out: the rows say why. What goes
    wrong in drawing is a warning, since it says nothing against the numbers.
    """
    for name, draw in DIAGNOSTICS.items():
        try:
            drawn = draw(evidence)
            if isinstance(drawn, pd.DataFrame):
                drawn.to_parquet(folder / name, index=False)
            else:
                _save_grid(drawn, folder / name)
        except (Unmeasurable, Unsupported):
            continue
        except Exception as error:
            warnings.warn(f"{name} was not drawn: {type(error).__name__}: {error}", stacklevel=2)


def _samples(evidence: ImageEvidence) -> np.ndarray:
    return _rows(evidence.get("samples", SAMPLES))


def _reconstructions(evidence: ImageEvidence) -> np.ndarray:
    """Images above their reconstructions."""
    images, reconstructions = (evidence.get(name, RECONSTRUCTIONS) for name in ("images", "reconstructions"))
    return _interleaved(images / 255, reconstructions)


def _neighbors(evidence: ImageEvidence) -> np.ndarray:
    """Samples above the training images nearest to them in Euclidean distance of pixels: copies would show."""
    samples, images = evidence.get("samples", NEIGHBORS), evidence.train.images
    _, indices = nearest(samples, images)
    return _interleaved(samples, images[indices[:, 0]] / 255)


def _interpolations(evidence: ImageEvidence) -> np.ndarray:
    """A pair of images a row, and between them decodings on the line between their codes, as in arXiv 1711.01558."""
    count = min(INTERPOLATIONS, evidence.length("images", None) // 2)
    images, codes = (_pairs(evidence.get(name, 2 * count)) for name in ("images", "codes"))
    weights = np.linspace(0, 1, COLUMNS)[1:-1, None]
    between = _decode(evidence, (1 - weights) * codes[0][:, None] + weights * codes[1][:, None], "interpolations")
    ends = images[:, :, None] / 255
    return np.concatenate([ends[0], between, ends[1]], axis=1)


def _traversals(evidence: ImageEvidence) -> np.ndarray:
    """One row a latent dimension: the first image's code with that dimension moved across the codes' range.

    The range is the 5th to the 95th percentile, so that every step stays where there are codes. The dimensions of
    largest spread come first.
    """
    codes = evidence.get("codes", None)
    order = np.argsort(-codes.std(axis=0), kind="stable")[:TRAVERSED_DIMENSIONS]
    low, high = np.percentile(codes, [5, 95], axis=0)
    moved = np.tile(codes[0], (len(order), COLUMNS, 1))
    for row, dimension in enumerate(order):
        moved[row, :, dimension] = np.linspace(low[dimension], high[dimension], COLUMNS)
    return _decode(evidence, moved, "traversals")


def _manifold(evidence: ImageEvidence) -> np.ndarray:
    """Decodings of a grid over the prior's support, for codes of two dimensions; the second grows upwards.

    The grid reaches from the 1st to the 99th percentile of draws of the prior.
    """
    if evidence.method.latent_dim != 2:
        raise Unmeasurable("only codes of two dimensions fill a plane")
    low, high = np.percentile(evidence.get("prior_codes", POINTS), [1, 99], axis=0)
    first, second = np.linspace(low, high, MANIFOLD_SIDE).T
    return _decode(evidence, np.stack(np.meshgrid(first, second[::-1]), axis=2), "manifold")


def _components(evidence: ImageEvidence) -> np.ndarray:
    """One row a component of the method's own mixture: decoded draws of it."""
    seed_torch("evaluation", array="component_codes", **evidence.axes)
    with torch.no_grad():
        codes = evidence.method.component_codes(COLUMNS)[:SHOWN_COMPONENTS].cpu().numpy()
    return _decode(evidence, codes, "component_samples")


def _latent(evidence: ImageEvidence) -> pd.DataFrame:
    """Draws of the prior and codes in a plane: set, label (empty where there is none) and two coordinates.

    In more than two dimensions these are along the codes' principal axes. The coordinates' columns say which.
    """
    codes, prior_codes = evidence.get("codes", POINTS), evidence.get("prior_codes", POINTS)
    if codes.shape[1] < 2:
        raise Unmeasurable("codes of one dimension fill no plane")
    names = ["dimension 1", "dimension 2"]
    if codes.shape[1] > 2:
        names = ["principal axis 1", "principal axis 2"]
        center, axes = codes.mean(axis=0), _principal_axes(codes)
        codes, prior_codes = (codes - center) @ axes, (prior_codes - center) @ axes
    try:
        labels = evidence.get("labels", POINTS).astype(str)
    except Unmeasurable:
        labels = np.full(len(codes), "")
    frames = []
    for name, points, label in (("draws of the prior", prior_codes, ""), ("codes of images", codes, labels)):
        coordinates = dict(zip(names, points.T.astype(np.float32), strict=True))
        frames.append(pd.DataFrame({"set": name, "label": label, **coordinates}))
    return pd.concat(frames, ignore_index=True)


def _isometry(evidence: ImageEvidence) -> pd.DataFrame:
    """Squared distances of disjoint pairs of codes and of their images: of the data, and of draws of the prior.

    The Δz–Δx plot of arXiv 2209.07007, whose authors' code draws that of the prior.
    """
    frames = []
    for name, codes, images, unit in (
        ("images and their codes", "codes", "images", 255),
        ("decoded draws of the prior", "prior_codes", "samples", 1),
    ):
        count = evidence.length(images, 2 * PAIRS) // 2 * 2
        between_codes = _squared_distances(evidence.get(codes, count))
        between_images = _squared_distances(evidence.get(images, count) / unit)
        columns = {"Δz: squared distance of codes": between_codes, "Δx: squared distance of images": between_images}
        frames.append(pd.DataFrame({"set": name, **columns}))
    return pd.concat(frames, ignore_index=True)


def _causal_mask(evidence: ImageEvidence) -> pd.DataFrame:
    """The matrix of a causal prior, a line an element: effect and cause, numbered from 1, and strength."""
    with torch.no_grad():
        mask: Tensor = evidence.method.causal_mask().cpu()
    if not mask.isfinite().all():
        raise Unmeasurable("the causal mask has values that are not finite")
    effect, cause = np.indices(mask.shape).reshape(2, -1) + 1
    return pd.DataFrame({"effect": effect, "cause": cause, "strength": mask.flatten().numpy()})


DIAGNOSTICS: dict[str, Callable[[ImageEvidence], np.ndarray | pd.DataFrame]] = {
    "samples.png": _samples,
    "reconstructions.png": _reconstructions,
    "neighbors.png": _neighbors,
    "interpolations.png": _interpolations,
    "traversals.png": _traversals,
    "manifold.png": _manifold,
    "components.png": _components,
    "latent.parquet": _latent,
    "isometry.parquet": _isometry,
    "causal-mask.parquet": _causal_mask,
}


def _decode(evidence: ImageEvidence, codes: np.ndarray, name: str) -> np.ndarray:
    """Codes [..., d] -> images [..., C, H, W]; raises Unmeasurable where they are not finite."""
    points = torch.from_numpy(codes.reshape(-1, codes.shape[-1]).astype(np.float32))
    seed_torch("evaluation", array=name, **evidence.axes)
    with torch.no_grad():
        chunks = [evidence.method.decode(chunk.to(evidence.device)).cpu() for chunk in points.split(evidence.size)]
    images = torch.cat(chunks).numpy()
    if not np.isfinite(images).all():
        raise Unmeasurable(f"{name} are not finite")
    return images.reshape(*codes.shape[:-1], *images.shape[1:])


def _rows(images: np.ndarray) -> np.ndarray:
    """[N, C, H, W] -> [rows, columns, C, H, W]; what fills no row is left out."""
    count = len(images) // COLUMNS
    return images[: count * COLUMNS].reshape(count, COLUMNS, *images.shape[1:])


def _interleaved(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Two times [N, C, H, W] -> [2 · rows, columns, C, H, W], each row of one above that of the other."""
    rows = np.stack([_rows(upper), _rows(lower)], axis=1)
    return rows.reshape(-1, *rows.shape[2:])


def _pairs(items: np.ndarray) -> np.ndarray:
    """[2 N, ...] -> [2, N, ...]: the first half and the second."""
    return items.reshape(2, -1, *items.shape[1:])


def _squared_distances(points: np.ndarray) -> np.ndarray:
    """[2 N, ...] -> float32 [N], between the points of the first half and those of the second."""
    first, second = _pairs(points.reshape(len(points), -1).astype(np.float64))
    return np.square(first - second).sum(axis=1).astype(np.float32)


def _principal_axes(points: np.ndarray) -> np.ndarray:
    """The two directions of largest variance of points [N, d], as columns [d, 2], their largest entry positive."""
    _, directions = np.linalg.eigh(np.cov(points.T.astype(np.float64)))
    axes = directions[:, [-1, -2]]
    return axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])


def _save_grid(grid: np.ndarray, path: Path) -> None:
    """[rows, columns, C, H, W] in [0, 1] as PNG, a pixel a pixel, no gaps; none of an empty grid."""
    if not grid.size:
        return
    rows, columns, channels, height, width = grid.shape
    pixels = grid.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
    levels = np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
    Image.fromarray(levels[..., 0] if channels == 1 else levels).save(path, optimize=True)
