"""What a trial leaves to be looked at and used again: weights, and the picture and points of a transport map.

What is drawn of autoencoders is in `bench.diagnostics`.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save
from torch import Tensor, nn

from bench.environment import seed_torch
from bench.evidence import PairEvidence
from bench.metrics.base import Unmeasurable

POINTS = 1000


def save_weights(method: nn.Module, folder: Path) -> None:
    """Parameters and buffers as weights.safetensors, which `load_state_dict` takes back."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in method.state_dict().items()}
    if tensors:
        (folder / "weights.safetensors").write_bytes(save(tensors))  # save_file hides what the disk says


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
