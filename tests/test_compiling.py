"""Compiled updates end where those of the method as it is written end."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.compiling import CompileError, compiled_step
from bench.registry import all_methods
from methods.base import Losses, descends
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


@pytest.mark.parametrize(("factor", "said"), [(1.1, r"0\.1"), (float("nan"), "nan")])
def test_a_compiler_that_gets_derivatives_wrong_is_noticed_before_anything_changes(
    monkeypatch: pytest.MonkeyPatch, factor: float, said: str
) -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, loss: Tensor) -> Tensor:
            return loss.clone()

        @staticmethod
        def backward(ctx: Any, of_loss: Tensor) -> Tensor:
            return factor * of_loss

    def compile_wrongly(objective: Callable[..., Losses], options: object) -> Callable[..., Losses]:
        return lambda *batch: {name: Wrong.apply(loss) for name, loss in objective(*batch).items()}

    monkeypatch.setattr(torch, "compile", compile_wrongly)
    (method,) = make("vae", 1)
    ((batch,),) = batches(method, 1, 1)
    before, stream = copy.deepcopy(method.state_dict()), torch.get_rng_state()
    with pytest.raises(CompileError, match=f"differ from the method's own by {said} .*compiles vae wrongly"):
        compiled_step(method)(*batch)
    torch.testing.assert_close(method.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), stream)
