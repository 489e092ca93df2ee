"""Warnings of our own code, told to whoever watches a run: those of a worker of Ray are printed where nobody looks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

OURS = tuple(Path(__file__).parent.parent / package for package in ("bench", "datasets", "methods"))


@contextmanager
def warnings_noted(noted: Callable[[str], None], of: str) -> Iterator[None]:
    """Within its block, `noted` takes the warnings of our code, after what they are of; others are shown as before."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def tell(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if category is UserWarning and any(Path(filename).is_relative_to(folder) for folder in OURS):
                noted(f"{of}: {message}")
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = tell
        yield
