"""The checkpoint of a trial: what it needs to go on after its process was killed, as one file that appears whole."""

from __future__ import annotations

CHECKPOINT_SECONDS = 120.0
"""From one checkpoint of a trial to the next, unless said otherwise."""
