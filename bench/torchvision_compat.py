"""Imports torchvision beside a torch it was not built for.

torch-fidelity and disent import torchvision. Its published wheels link CUDA libraries, so beside a CPU build of torch
its compiled operators fail to load, and the import then dies on declaring meta kernels for operators that do not
exist. Nothing we use needs those operators: declaring their signatures is enough for the rest to work.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_keep_alive: list[object] = []  # operators vanish with the library object that declared them


@cache
def import_torchvision() -> ModuleType:
    """Imports torchvision, declaring `nms` and `qnms` first where its own could not be loaded.

    Call it before importing anything that imports torchvision. A torchvision that imports as it is stays untouched;
    one that needed the cure has transforms, datasets and models, while its operators and its image decoding raise
    when called. Any other error of the import is raised as it is.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    import torch

    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _keep_alive.append(library)
    return importlib.import_module("torchvision")
