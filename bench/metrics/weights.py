"""Weights of pretrained networks: found or fetched, verified by SHA-256, and read as tensors, never as pickles."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPException
from pathlib import Path
from shutil import copyfileobj

from bench.metrics.base import Unmeasurable

_TIMEOUT = 10.0  # seconds without a byte before a download counts as failed


def locate(url: str, sha256: str, variable: str) -> Path:
    """The verified file: the one that an environment variable names, else torch.hub's copy, fetched if missing.

    Args:
        url: where the file is published; the last part is its name.
        sha256: of the whole file, in hexadecimal.
        variable: the environment variable that may name a copy at hand.

    Raises:
        Unmeasurable: it cannot be had, or is another file; says how to provide it.
    """
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    given = os.environ.get(variable)
    path = Path(given) if given else folder / url.rsplit("/", 1)[-1]
    problem = "" if given or path.exists() else _download(url, path, sha256)
    problem = problem or _mismatch(path, sha256)
    if problem:
        raise Unmeasurable(
            f"{problem}; download {url} (SHA-256 {sha256}) into {folder}, "
            f"or name the file in the environment variable {variable}"
        )
    return path


def verify(path: Path, sha256: str) -> Path:
    """The path of a file that ships in a package. Raises Unmeasurable where it is not the one with this SHA-256."""
    problem = _mismatch(path, sha256)
    if problem:
        raise Unmeasurable(f"{problem}; reinstall the package it belongs to")
    return path


@contextmanager
def tensors_only() -> Iterator[None]:
    """Meanwhile torch reads tensors and plain containers only, also where a package asks it to unpickle anything."""
    variable = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    try:
        yield
    finally:
        del os.environ[variable]
        if before is not None:
            os.environ[variable] = before


def _mismatch(path: Path, sha256: str) -> str:
    """What is wrong with a file; empty where nothing is."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
    except OSError as error:
        return f"the weights cannot be read from {path}: {error.strerror or error}"
    return "" if found == sha256 else f"{path} ({size:,} bytes) is not the file expected: its SHA-256 is {found}"


@cache
def _download(url: str, target: Path, sha256: str) -> str:
    """Fetches a file into place; returns what went wrong, empty where nothing did.

    Cached, failures too: without network the timeout is paid once a process, not once a trial.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, partial.open("wb") as file:
            copyfileobj(response, file)
        problem = _mismatch(partial, sha256)
        if problem:
            return f"what came from {url} is not the file expected: {problem}"
        os.replace(partial, target)
    except (OSError, HTTPException) as error:
        return f"the weights could not be downloaded: {getattr(error, 'reason', None) or error}"
    finally:
        partial.unlink(missing_ok=True)
    return ""
