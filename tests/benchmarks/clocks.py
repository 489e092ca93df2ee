"""Clocks of what a GPU is given to do: they stop when it has done it, not when it has been given it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


def all_done() -> None:
    """Returns once the GPU has done all that it was given; at once where none is used."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def until_done(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which returns only once the GPU has done all of it: a round for a clock that knows no GPU."""

    @wraps(function)
    def done(*arguments: Any) -> Any:
        result = function(*arguments)
        all_done()
        return result

    return done
