"""Shared by all tests: one data folder a session, and a way to write a small sweeps.toml."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the session: datasets are built once, and nothing of the user's is touched."""
    folder = tmp_path_factory.mktemp("data")
    os.environ["BENCH_DATA"] = str(folder)
    return folder


@pytest.fixture
def sweeps_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a sweeps.toml and gives its path."""

    def write(text: str) -> Path:
        path = tmp_path / "sweeps.toml"
        path.write_text(text)
        return path

    return write
