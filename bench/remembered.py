"""What code says of itself, remembered: importing the methods, datasets and metrics takes seconds.

It lies in listings/ of the data folder, each under its name, beside a hash of what it was made from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from bench.storage.files import replacing
from datasets.root import data_root

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("bench", "datasets", "methods")


def fingerprint(files: Iterable[Path] = ()) -> str:
    """SHA-256 of all code of the repository's packages, of the plug-ins' names, and of some files beside these.

    Of contents, not of times: a checkout may bring other code with any time.
    """
    code = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    digest = hashlib.sha256(repr(sorted(entry_points(group="bench.methods"))).encode())
    for path in sorted({*code, *files}):
        digest.update(f"{path}\0".encode())
        with suppress(OSError):  # a file that cannot be read: what it is needed for will say so
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def recall(name: str, made_from: str) -> Any | None:
    """What was remembered under a name, where it was made from the same; else None."""
    try:
        found = json.loads(_path(name).read_text(encoding="utf-8"))
        return found["content"] if found["made_from"] == made_from else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(name: str, made_from: str, content: Any) -> None:
    """Keeps plain JSON for the next time, where the data folder can be written."""
    path = _path(name)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"made_from": made_from, "content": content}), encoding="utf-8")


def _path(name: str) -> Path:
    return data_root() / "listings" / f"{name}.json"
