"""What an objective draws at random: recorded at one call of it, drawn beforehand for others, and replayed there."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

DRAWS = {torch.randn: True, torch.randn_like: True, torch.rand: False, torch.rand_like: False}
"""What an objective may draw by, and whether it is normal, else uniform."""


class DrawError(Exception):
    """An objective does not draw as it did when it was recorded."""


@dataclass(frozen=True)
class Draw:
    """Numbers that an objective draws at once."""

    normal: bool
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def fill(self, out: Tensor, stream: torch.Generator) -> Tensor:
        return out.normal_(generator=stream) if self.normal else out.uniform_(generator=stream)

    def empty(self, *models: int) -> Tensor:
        """Memory for the draws of one model, or of several."""
        room = 1 + sum((length - 1) * step for length, step in zip(self.size, self.stride, strict=True))
        strides = (*(room for _ in models), *self.stride)
        return torch.empty_strided((*models, *self.size), strides, dtype=self.dtype, device=self.device)


class Recording(TorchFunctionMode):
    """Notes what is drawn within its block."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[Draw] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in DRAWS and (kwargs or {}).get("generator") is None:
            self.draws.append(Draw(DRAWS[function], tuple(result.shape), result.stride(), result.dtype, result.device))
        return result


class Replaying(TorchFunctionMode):
    """Gives what was drawn beforehand to whoever draws within its block, which is to draw as it did when recorded."""

    def __init__(self, draws: Sequence[Draw], noise: Sequence[Tensor]) -> None:
        super().__init__()
        self.left = deque(zip(draws, noise, strict=True))

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in DRAWS and (kwargs or {}).get("generator") is None:
            if not self.left or self.left[0][0].normal != DRAWS[function]:
                raise DrawError("its objective does not draw the same random numbers at every update")
            return self.left.popleft()[1]
        return function(*args, **(kwargs or {}))

    def require_end(self) -> None:
        if self.left:
            raise DrawError("its objective does not draw the same random numbers at every update")
