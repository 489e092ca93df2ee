"""Where data lies on this machine. Imports nothing else, so that it can be asked at once."""

from __future__ import annotations

import os
from pathlib import Path


def data_root() -> Path:
    """The folder of all data: the environment variable BENCH_DATA, else ~/.cache/ot-bench."""
    return Path(os.environ.get("BENCH_DATA") or Path.home() / ".cache" / "ot-bench").expanduser()
