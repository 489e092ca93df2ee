"""Methods whose trials do not wait for their disk; for workers, which import what a sweeps.toml names and no test."""

from __future__ import annotations

import bench.trial
from tests.faults.paced import Paced

bench.trial.PATIENCE_SECONDS = 0.5
bench.trial.RETRY_SECONDS = 0.1


class Impatient(Paced):
    """As `Paced`, in a process whose patience is short."""

    name = "impatient"
