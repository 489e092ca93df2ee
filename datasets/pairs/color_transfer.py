"""The colors of one photograph to those of another: pixels as points of a cube.

Color transfer as in Korotin et al., "Wasserstein-2 Generative Networks" (2021, arXiv 1909.13082). The map is fitted to
pixels, and `datasets.pairs.recoloring` applies it to images of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from datasets.base import Picture, Supplies
from datasets.pairs.empirical import EmpiricalPair
from datasets.pairs.recoloring import recolor
from datasets.photographs import content_sha256, read_photograph

SHIPPED = {"sklearn:china": "china.jpg", "sklearn:flower": "flower.jpg"}
HELD_OUT = 0.1
"""Share of the pixels that are for validation, and for test."""
MOST_PIXELS = 1 << 22
PANEL = (320, 320)
"""Most pixels of a panel of the picture, across and down."""
GAP = 8


class ColorTransfer(EmpiricalPair):
    """Pixels in [0, 1]³ of two photographs, drawn at random; 80/10/10% of them by a fixed permutation.

    Of a photograph of more than 2²² pixels every k-th takes part. The photographs are compared by content: another file
    under the same path is another dataset on disk, though not another trial.

    Args:
        source: path of the photograph to recolor, in any format that Pillow reads, or "sklearn:china" or
            "sklearn:flower", which ship with scikit-learn.
        target: path of the photograph whose colors it is to have.

    Raises:
        ValueError: a name that begins with "sklearn:" is neither of those, or a path is empty.
    """

    name = "color-transfer"
    summary = "pixels of one photograph to those of another, as colors in a cube"
    license = "that of the photographs; those of scikit-learn are CC BY 2.0 (Lucas Di Cioccio, dany13)"
    citation = "Korotin et al. 2021, Wasserstein-2 Generative Networks, arXiv 1909.13082"
    url = "https://github.com/iamalexkorotin/Wasserstein2GenerativeNetworks"
    dim = 3

    def __init__(self, *, source: str = "sklearn:china", target: str = "sklearn:flower") -> None:
        for option, name in {"source": source, "target": target}.items():
            if not name or (name.startswith("sklearn:") and name not in SHIPPED):
                raise ValueError(
                    f'color-transfer: {option} is "{name}"; it must be the path of a photograph, or one of '
                    + ", ".join(SHIPPED)
                )
        self.photographs = {"source": source, "target": target}

    def ingredients(self) -> Mapping[str, Any]:
        return {side: content_sha256([_locate(name)]) for side, name in self.photographs.items()}

    def build(self, supplies: Supplies) -> dict[str, np.ndarray]:
        """Pixels uint8 [N, 3] of each side and split, and each side's "picture", uint8 [h, w, 3]."""
        arrays = {}
        for side, name in self.photographs.items():
            photograph = read_photograph(_locate(name), of_any_size=True)
            pixels = np.asarray(photograph).reshape(-1, 3)
            pixels = pixels[:: -(-len(pixels) // MOST_PIXELS)]
            # RandomState because NumPy promises never to change its stream, as Generator's may between versions.
            order = np.random.RandomState(0).permutation(len(pixels))
            held_out = round(HELD_OUT * len(pixels))
            test, validation, train = np.split(order, [held_out, 2 * held_out])
            arrays[f"{side}-train"] = pixels[train]
            arrays[f"{side}-validation"] = pixels[validation]
            arrays[f"{side}-test"] = pixels[test]
            photograph.thumbnail(PANEL, Image.Resampling.LANCZOS)
            arrays[f"{side}-picture"] = np.asarray(photograph)
        return arrays

    def render(self, push: Callable[[Tensor], Tensor], split: str) -> Picture:
        source, target = (np.asarray(self.arrays[f"{side}-picture"]) for side in ("source", "target"))
        recolored = np.empty_like(source)
        recolor(push, source, recolored)
        return Picture(
            _in_a_row([source, target, recolored]),
            "Source photograph, target photograph, and the source in colors that the map gives it",
        )


def _locate(name: str) -> Path:
    if name not in SHIPPED:
        return Path(name).expanduser()
    import sklearn  # slow to import, which listing the datasets should not be

    return Path(sklearn.__path__[0]) / "datasets" / "images" / SHIPPED[name]


def _in_a_row(panels: list[np.ndarray]) -> np.ndarray:
    """Panels uint8 [h, w, 3] of any sizes side by side on white, with gaps."""
    height = max(panel.shape[0] for panel in panels)
    row = np.full((height, sum(panel.shape[1] + GAP for panel in panels) - GAP, 3), 255, np.uint8)
    left = 0
    for panel in panels:
        row[: panel.shape[0], left : left + panel.shape[1]] = panel
        left += panel.shape[1] + GAP
    return row
