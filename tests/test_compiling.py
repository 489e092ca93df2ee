"""Compiled updates end where those of the method as it is written end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import torch

from bench.registry import all_methods
from bench.training import compiled_step
from methods.base import descends
from tests.test_packed_training import batches, make

QUICK = ("vae", "w2gn")
"""Of each kind one; the others take minutes."""
COMPILED = sorted(name for name, method in all_methods().items() if method.trains and descends(method))

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles by a C++ compiler")


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    torch.compiler.reset()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in COMPILED]
)
def test_compiled_updates_are_those_of_the_method(name: str) -> None:
    (plain,), (compiled,) = make(name, 1), make(name, 1)
    update = compiled_step(compiled)
    for (batch,) in batches(plain, 3, 1):
        torch.manual_seed(2)
        expected = plain.train_step(*batch)
        after = torch.get_rng_state()
        torch.manual_seed(2)
        losses = update(*batch)
        assert torch.equal(torch.get_rng_state(), after)
        torch.testing.assert_close(losses, expected, rtol=1e-7, atol=1e-7)
    assert "objective" not in vars(compiled)
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict(), rtol=1e-6, atol=1e-6)
