"""Command lines that the harness tells people to type."""

from __future__ import annotations

import shlex
from pathlib import Path

from bench.storage.mirror import mirror_url

DEFAULT = Path("results")


def results_option(results: Path) -> str:
    """What a command needs to find these results: " --results DIR", or nothing where they lie in the default folder."""
    url = mirror_url(results)
    if url is not None:
        return f" --results {shlex.quote(url)}"
    return "" if results.resolve() == DEFAULT.resolve() else f" --results {shlex.quote(str(results))}"


def run_again(trial_id: str, scale: str, where: str) -> str:
    """The command that runs a trial, whether or not it has run before. where: `results_option` of its results."""
    return f"python -m bench run sweeps.toml --scale {scale} --only {trial_id[:16]} --force{where}"
