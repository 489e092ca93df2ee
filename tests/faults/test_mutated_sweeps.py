"""1,000 damaged sweeps.toml files: each is read as it is, or refused with a message that names the place."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from tests.faults.mutations import mutated_toml

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 60
"""Seconds after which reading a file counts as hanging; it takes milliseconds."""
SMALL = """\
[sweep.tiny]
kind = "transport"
metrics = ["l2-uvp", "cosine"]
batch_size = 16
seeds = [0, 3]
steps = 3
timeout = 20.0
resources = { cpus = 1, gpus = 0.0 }
datasets.gaussians = { dim = [2, 4] }
methods.w2gn = { lr = { distribution = "log-uniform", low = 1e-4, high = 1e-2, draws = 2 }, hidden = [8, 8] }
methods.identity = {}
shared = {}

[sweep.tiny.quick]
seeds = 1
[sweep.tiny.paper]
title = "larger"
steps = 30
published = ["w2gn/gaussians"]
"""


def single_sweeps(text: str) -> list[str]:
    """Each sweep of a file as a file of its own."""
    blocks = re.split(r"^(?=\[sweep\.[\w-]+\])", text, flags=re.MULTILINE)[1:]
    return [block for block in blocks if block.startswith("[sweep.")]


@contextmanager
def patience() -> Iterator[None]:
    """Raises TimeoutError in what takes longer than PATIENCE."""

    def give_up(signum: int, frame: object) -> None:
        raise TimeoutError(f"more than {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def dry_run(content: bytes, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, output and messages of a run that shows what it would do with a sweeps.toml."""
    path = folder / "sweeps.toml"
    path.write_bytes(content)
    with patience():
        status = main(["run", str(path), "--all", "--dry-run", "--results", str(folder / "results")])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("numbers", [range(100), pytest.param(range(100, 1_000), marks=pytest.mark.slow)])
def test_of_1000_damaged_sweep_files_none_gives_a_traceback_and_each_mistake_has_its_place(
    numbers: range, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """1,000 files: sweeps of the real sweeps.toml one by one, and a small one that uses every feature.

    The first 100 alone unless slow tests run too.
    """
    originals = [SMALL] * 10 + single_sweeps((REPOSITORY / "sweeps.toml").read_text())
    assert len(originals) > 30
    assert dry_run(SMALL.encode(), tmp_path, capsys)[0] == 0  # also imports what takes longer than a file may
    counts = {0: 0, 2: 0}
    for number in numbers:
        rng = np.random.default_rng([8, number])
        content = mutated_toml(originals[rng.integers(len(originals))], rng)
        try:
            status, _, messages = dry_run(content, tmp_path, capsys)
        except BaseException as error:
            (tmp_path / f"{number}.toml").write_bytes(content)
            raise AssertionError(f"mutation {number}, kept as {tmp_path}/{number}.toml: {error!r}") from error
        counts[status] += 1
        if status == 2:
            first, *rest = messages.splitlines()
            assert re.fullmatch(
                rf"error: {re.escape(str(tmp_path))}/sweeps\.toml: \d+ mistakes?, nothing was run", first
            )
            assert rest, number
            for line in rest:
                assert re.match(r"  ((sweep [^,]+, )?\S.*: \S|… and \d+ more$)", line), f"{number}: {line!r}"
            assert len(messages) < 20_000, number
            assert "".join(messages.splitlines()).isprintable(), f"{number}: {messages!r}"
    assert min(counts.values()) > len(numbers) / 10, (
        counts
    )  # both happen: the damage is neither harmless nor always the same
