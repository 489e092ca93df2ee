"""Counts and lists in words."""

from __future__ import annotations

from collections.abc import Sequence


def plural(amount: int, noun: str) -> str:
    """ "1 trial", "2 trials"."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def listed(items: Sequence[str], limit: int = 12) -> str:
    """ "a, b and c", cut where it grows long."""
    if len(items) > limit:
        items = [*items[:limit], f"{len(items) - limit} more"]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
