"""Command lines that the harness tells people to type."""

from __future__ import annotations

import shlex
from pathlib import Path

DEFAULT = Path("results")


def results_option(results: Path) -> str:
    """What a command needs to find these results: " --results DIR", or nothing where they lie in the default folder."""
    url = results / ".url"  # what the folder is a mirror of, see `bench.storage.mirror`
    if url.is_file():
        return f" --results {shlex.quote(url.read_text())}"
    return "" if results.resolve() == DEFAULT.resolve() else f" --results {shlex.quote(str(results))}"


def run_again(trial_id: str, scale: str, where: str) -> str:
    """The command that runs a trial, whether or not it has run before. where: `results_option` of its results."""
    return f"python -m bench run sweeps.toml --scale {scale} --only {trial_id[:16]} --force{where}"
