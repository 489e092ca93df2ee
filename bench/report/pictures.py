"""Pictures of trials for the page: image grids as they are, 2-D transport as drawings."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

GRIDS = {
    "samples.png": "Samples: decoded draws of the prior",
    "reconstructions.png": "Reconstructions: inputs above outputs",
    "traversals.png": "Traversals: a row a latent dimension, from its 5th to its 95th percentile",
}
RENDERED = "transport.png"
TRANSPORT = "transport.parquet"
TRANSPORT_TITLE = "Transport: target grey, pushed points in color, source lighter"
LIMIT = 4_000_000
"""Bytes above which a picture is left out of the page."""
CAPTION_LIMIT = 300
"""Characters of a caption that an artifact brings along."""
SMALL = 160
"""Pixels below which a grid is shown enlarged."""
DRAWING = 200
"""Side of a drawing of 2-D points in pixels."""


class PictureError(Exception):
    """A picture that cannot be shown; the message says which and why."""


@dataclass(frozen=True)
class Picture:
    """What the page shows of an artifact: a grid of images as a data URI, or a drawing as SVG; the other is empty."""

    name: str
    caption: str
    width: int
    height: int
    uri: str = ""
    svg: str = ""


def pictures(artifacts: Mapping[str, Path], color: str) -> tuple[list[Picture], list[str]]:
    """The pictures among a trial's artifacts, and a sentence for each that cannot be shown."""
    found, problems = [], []
    for name in (*GRIDS, RENDERED, TRANSPORT):
        if name in artifacts:
            try:
                found.append(_drawing(artifacts[name], color) if name == TRANSPORT else _grid(artifacts[name]))
            except PictureError as error:
                problems.append(str(error))
    return found, problems


def _grid(path: Path) -> Picture:
    """A grid of images at a whole-number zoom, written anew as PNG so that nothing but pixels gets into the page."""
    try:
        if path.stat().st_size > LIMIT:
            raise PictureError(f"{path}: larger than {LIMIT // 1_000_000} MB, left out")
        with Image.open(path, formats=["PNG"]) as image:
            pixels = image.convert("L" if image.mode in ("1", "L", "I;16") else "RGB")
            caption = GRIDS.get(path.name) or str(image.info.get("Description", ""))[:CAPTION_LIMIT]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path}: not a readable PNG ({type(error).__name__})") from error
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG", optimize=True)
    zoom = max(1, 2 * SMALL // pixels.width) if pixels.width < SMALL else 1
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(path.name, caption, zoom * pixels.width, zoom * pixels.height, uri=uri)


def _drawing(path: Path, color: str) -> Picture:
    """Source, target and pushed points as one SVG: each set a path of dots, in whole units of a tenth of a pixel."""
    try:
        points = pd.read_parquet(path, columns=["set", "x", "y"])
        sets = {str(name): frame[["x", "y"]].astype(float) for name, frame in points.groupby("set")}
    except (OSError, ValueError, KeyError) as error:
        raise PictureError(f"{path}: not readable as points ({type(error).__name__})") from error
    shown = {name: sets[name].dropna() for name in ("source", "target", "pushed") if name in sets}
    reference = shown.get("target")
    if reference is None or reference.empty:
        raise PictureError(f"{path}: has no points of the target")
    center = (reference.max() + reference.min()) / 2
    reach = 1.25 * max(float((reference - center).abs().to_numpy().max()), 1e-9)
    paths = []
    for name, frame in shown.items():
        inside = frame[((frame - center).abs() <= reach).all(axis=1)]
        placed = ((inside - center) / reach * 5 * DRAWING + 5 * DRAWING).round().astype(int)
        dots = "".join(f"M{x} {10 * DRAWING - y}h0" for x, y in placed.itertuples(index=False))
        stroke = f' stroke="{color}"' if name == "pushed" else ""
        paths.append(f'<path class="{name}"{stroke} d="{dots}"/>')
    box = f'viewBox="0 0 {10 * DRAWING} {10 * DRAWING}" width="{DRAWING}" height="{DRAWING}"'
    head = f'<svg class="points" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{TRANSPORT_TITLE}" {box}>'
    svg = f"{head}{''.join(paths)}</svg>"
    return Picture(path.name, TRANSPORT_TITLE, DRAWING, DRAWING, svg=svg)
