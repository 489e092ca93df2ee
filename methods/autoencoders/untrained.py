"""The reference floor: networks that were never trained."""

from __future__ import annotations

from methods.parts.autoencoding import NetworkAutoencoder


class Untrained(NetworkAutoencoder):
    """The networks all methods share, as they are initialized; decodes N(0, I). Whatever learns must beat it."""

    name = "untrained"
    paper = "none: a reference"
    summary = "The shared networks at initialization: the floor every trained method must rise above."
    family = "reference"
    trains = False
