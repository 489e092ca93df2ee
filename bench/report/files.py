"""Files of the report that are worth having but not worth losing the pages for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

FORMULA = r"^([=+\-@\t\r])"
"""How texts begin that spreadsheets compute instead of showing them; no name of ours does."""
SHOWN = r"'\1"


def file_name(slug: str) -> str:
    """The slug with nothing in it that means something to a file system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", slug).strip(".-") or "unnamed"


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with an apostrophe before each text that a spreadsheet would take for a formula."""
    return frame.replace(FORMULA, SHOWN, regex=True)


def attempt(path: Path, make: Callable[[], bytes]) -> list[str]:
    """Writes what `make` returns. What goes wrong becomes a sentence that names the file, and leaves no half of it."""
    try:
        content = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except Exception as error:
        path.unlink(missing_ok=True)
        return [f"{path.name} could not be written: {type(error).__name__}: {error}"]
    return []
