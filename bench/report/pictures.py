"""Pictures of trials: image grids as files, points and matrices as drawings that stand in a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from bench.report.drawings import causal_mask, isometry, latent_plane, transport

CAPTIONS = {
    "samples.png": "Samples: decoded draws of the prior",
    "components.png": "Samples of each component: a row a component of the method's own mixture",
    "reconstructions.png": "Reconstructions: inputs above outputs",
    "manifold.png": "Learned manifold: decodings of a grid over the prior, dimension 1 to the right, 2 upwards",
    "latent.parquet": "Latent space: draws of the prior beside codes of images, which take the color of their class",
    "causal-mask.parquet": "Causal mask: how far a dimension of the prior is a cause of another; blank 0, full color 1",
    "isometry.parquet": "Isometry: pairs of codes against their images, on a line through 0 where distances are kept",
    "interpolations.png": "Interpolations: a pair of images at the ends, decodings of the line between their codes",
    "neighbors.png": "Nearest neighbors: samples above the training images nearest to them, pixel by pixel",
    "traversals.png": "Traversals: a row a latent dimension, from its 5th to its 95th percentile",
    "transport.png": "",  # brings its own
    "transport.parquet": "Transport: target grey, pushed points in color, source lighter",
}
"""What the artifacts that are shown show, in the order in which they are."""
DRAWINGS: dict[str, Callable[[pd.DataFrame, str, str], str]] = {
    "latent.parquet": latent_plane,
    "causal-mask.parquet": causal_mask,
    "isometry.parquet": isometry,
    "transport.parquet": transport,
}
"""How those that are tables are drawn, from the table, the method's color and the caption."""
LIMIT = 4_000_000
"""Bytes above which a picture is left out of the report."""
CAPTION_LIMIT = 300
"""Characters of a caption that an artifact brings along."""
SMALL = 160
"""Pixels below which a grid is shown enlarged."""


class PictureError(Exception):
    """A picture that cannot be shown; the message says which and why."""


@dataclass(frozen=True)
class Picture:
    """What pages show of an artifact: a grid of images as a file with its size in pixels on them, or a drawing as SVG.

    file: its name in the folder of the trial's pictures. What belongs to the other is empty.
    """

    name: str
    caption: str
    width: int = 0
    height: int = 0
    file: str = ""
    svg: str = ""


def pictures(artifacts: Mapping[str, Path], color: str, folder: Path) -> tuple[list[Picture], list[str]]:
    """The pictures among a trial's artifacts, and a sentence for each that cannot be shown.

    Grids are written to `folder`, which is made where there are any.
    """
    found, problems = [], []
    for name in CAPTIONS:
        if name in artifacts:
            try:
                found.append(_drawing(artifacts[name], color) if name in DRAWINGS else _grid(artifacts[name], folder))
            except PictureError as error:
                problems.append(str(error))
    return found, problems


def _grid(path: Path, folder: Path) -> Picture:
    """A grid of images at a whole-number zoom, written anew as PNG so that nothing but pixels gets into the report."""
    try:
        if path.stat().st_size > LIMIT:
            raise PictureError(f"{path}: larger than {LIMIT // 1_000_000} MB, left out")
        with Image.open(path, formats=["PNG"]) as image:
            pixels = image.convert("L" if image.mode in ("1", "L", "I;16") else "RGB")
            caption = CAPTIONS[path.name] or str(image.info.get("Description", ""))[:CAPTION_LIMIT]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path}: not a readable PNG ({type(error).__name__})") from error
    folder.mkdir(parents=True, exist_ok=True)
    pixels.save(folder / path.name, "PNG", compress_level=1)  # a third of the time, a tenth more bytes
    zoom = max(1, 2 * SMALL // pixels.width) if pixels.width < SMALL else 1
    return Picture(path.name, caption, zoom * pixels.width, zoom * pixels.height, file=path.name)


def _drawing(path: Path, color: str) -> Picture:
    """A table as a drawing."""
    caption = CAPTIONS[path.name]
    try:
        svg = DRAWINGS[path.name](pd.read_parquet(path), color, caption)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PictureError(f"{path}: cannot be drawn ({type(error).__name__}: {error})") from error
    return Picture(path.name, caption, svg=svg)
