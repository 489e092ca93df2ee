"""Every benchmark runs on one thread, unless it starts more itself."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # read by libraries that are loaded later, and by threads that start later


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Limits BLAS, OpenMP and torch, in case they were loaded before."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)
