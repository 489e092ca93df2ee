"""sweeps.toml -> sweeps -> trials, and everything that can be said against a sweeps.toml before anything runs."""

from bench.sweeps.file import SweepsError, load_sweeps
from bench.sweeps.reader import SCALES
from bench.sweeps.sweep import Sweep

__all__ = ["SCALES", "Sweep", "SweepsError", "load_sweeps"]
