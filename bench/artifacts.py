"""What a trial leaves to be looked at and used again: pictures, 2-D point clouds and weights."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.environment import seed_torch
from bench.evidence import ImageEvidence, PairEvidence
from bench.metrics.base import Unmeasurable

COLUMNS = 8
SAMPLES = 64
RECONSTRUCTIONS = 32
TRAVERSED_DIMENSIONS = 12
POINTS = 1000


def save_weights(method: nn.Module, folder: Path) -> None:
    """Parameters and buffers as weights.safetensors, which `load_state_dict` takes back."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in method.state_dict().items()}
    if tensors:
        save_file(tensors, folder / "weights.safetensors")


def save_image_grids(evidence: ImageEvidence, folder: Path) -> None:
    """samples.png (8×8 decoded draws of the prior), reconstructions.png (inputs above outputs) and traversals.png.

    The draws are seeded by the evaluation's stream, so methods that share a prior are seen on the same latent codes.
    A picture of what is not finite is left out: the rows say why.
    """
    for name, draw in {"samples": _samples, "reconstructions": _reconstructions, "traversals": _traversals}.items():
        with suppress(Unmeasurable):
            _save_grid(draw(evidence), folder / f"{name}.png")


def save_points(evidence: PairEvidence, folder: Path) -> None:
    """transport.parquet: source, target and pushed points of a 2-D pair, in columns set, x, y."""
    if evidence.dataset.dim != 2:
        return
    frames = []
    for name in ("source", "target", "pushed"):
        points = evidence.get(name, POINTS)
        frames.append(pd.DataFrame({"set": name, "x": points[:, 0], "y": points[:, 1]}))
    pd.concat(frames, ignore_index=True).to_parquet(folder / "transport.parquet", index=False)


def save_picture(evidence: PairEvidence, folder: Path) -> None:
    """transport.png: what the dataset draws of the map, its caption in the PNG's description; none where it draws none.

    Nothing is drawn of a map whose points are not finite: the rows say why. What goes wrong in drawing is a warning,
    since it says nothing against the numbers.
    """

    def push(points: Tensor) -> Tensor:
        seed_torch("evaluation", array="picture", **evidence.axes)
        with torch.no_grad():
            at_once = evidence.size if evidence.dataset.image_shape else len(points)
            chunks = [evidence.method.push(chunk.to(evidence.device)).cpu() for chunk in points.split(at_once)]
        pushed = torch.cat(chunks)
        if not torch.isfinite(pushed).all():
            raise Unmeasurable("pushed points are not finite")
        return pushed

    try:
        picture = evidence.dataset.render(push, evidence.axes["split"])
    except Unmeasurable:
        return
    except Exception as error:
        warnings.warn(f"{evidence.dataset.name} drew no picture: {type(error).__name__}: {error}", stacklevel=2)
        return
    if picture is not None:
        description = PngInfo()
        description.add_itxt("Description", picture.caption)
        Image.fromarray(picture.pixels).save(folder / "transport.png", optimize=True, pnginfo=description)


def _samples(evidence: ImageEvidence) -> np.ndarray:
    return evidence.get("samples", SAMPLES)


def _reconstructions(evidence: ImageEvidence) -> np.ndarray:
    """Rows of images, each above the row of their reconstructions."""
    count = min(RECONSTRUCTIONS, len(evidence.split.images)) // COLUMNS * COLUMNS
    inputs, outputs = evidence.get("images", count) / 255, evidence.get("reconstructions", count)
    rows = [half[i : i + COLUMNS] for i in range(0, count, COLUMNS) for half in (inputs, outputs)]
    return np.concatenate([*rows, inputs[:0]])


def _traversals(evidence: ImageEvidence) -> np.ndarray:
    """One row a latent dimension: the first image's code with that dimension moved across the test codes' range.

    The range is the 5th to the 95th percentile, so that every step stays where there are codes. The dimensions of
    largest spread come first.
    """
    codes = evidence.get("codes", None)
    order = np.argsort(-codes.std(axis=0), kind="stable")[:TRAVERSED_DIMENSIONS]
    low, high = np.percentile(codes, [5, 95], axis=0)
    moved = np.repeat(codes[:1], len(order) * COLUMNS, axis=0)
    for row, dimension in enumerate(order):
        moved[row * COLUMNS : (row + 1) * COLUMNS, dimension] = np.linspace(low[dimension], high[dimension], COLUMNS)
    seed_torch("evaluation", array="traversals", **evidence.axes)
    with torch.no_grad():
        return evidence.method.decode(torch.from_numpy(moved).to(evidence.device)).cpu().numpy()


def _save_grid(images: np.ndarray, path: Path) -> None:
    """[N, C, H, W] in [0, 1], N a multiple of 8, as a PNG of 8 columns, a pixel a pixel, no gaps; none for N = 0."""
    if not len(images):
        return
    count, channels, height, width = images.shape
    grid = images.reshape(count // COLUMNS, COLUMNS, channels, height, width).transpose(0, 3, 1, 4, 2)
    grid = grid.reshape(count // COLUMNS * height, COLUMNS * width, channels)
    levels = np.rint(grid.clip(0, 1) * 255).astype(np.uint8)
    Image.fromarray(levels[..., 0] if channels == 1 else levels).save(path, optimize=True)
