"""Made-up results in the shape of a large study: three sweeps, 30 methods, 20 metrics, 10,000 trials with their curves.

python -m tests.benchmarks.synthetic_results FOLDER writes them, for looking at the report on them by hand.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.storage.store import Store

FAMILIES = ("AE", "VAE", "WAE", "GW", "OT map", "reference")
TABLES = ("generation", "reconstruction", "disentanglement", "clustering", "latent")
METRICS = [f"{table}-{number}" for table in TABLES for number in range(4)]
LOSSES = ("loss", "reconstruction", "penalty")
STEPS = np.arange(0, 10_001, 250)


@dataclass(frozen=True)
class Sweep:
    """The methods of a sweep are the first ones of all; each has as many settings of its hyperparameters."""

    name: str
    methods: int
    settings: int
    datasets: tuple[str, ...]
    seeds: int


SWEEPS = (
    Sweep("zoo", 30, 4, ("mnist", "fashion-mnist", "cifar10", "celeba", "svhn"), 5),
    Sweep("factors", 25, 8, ("dsprites", "shapes3d", "cars3d", "smallnorb"), 5),
    Sweep("digits", 30, 10, ("mnist-5k",), 10),
)


def write_results(root: Path, share: float = 1.0) -> int:
    """Writes the results to a folder, as `run` leaves them; returns the number of trials.

    share: of the seeds, for a smaller study.
    """
    store = Store(root)
    written = 0
    for position, sweep in enumerate(SWEEPS):
        records: dict[str, Any] = {}
        seeds = max(2, round(sweep.seeds * share))
        grid = itertools.product(range(sweep.methods), range(sweep.settings), sweep.datasets, range(seeds))
        for number, (method, setting, dataset, seed) in enumerate(grid):
            rng = np.random.default_rng([position, number])
            record = _record(sweep, method, setting, dataset, seed)
            records[record["trial_id"]] = record
            status = str(rng.choice(("ok", "failed", "diverged", ""), p=(0.965, 0.02, 0.01, 0.005)))
            if status:
                store.write_rows(list(_rows(record, status, rng)), record)
                store.write_curves(sweep.name, record["trial_id"], _curves(rng))
            if status == "ok" and seed == setting == 0:
                _write_samples(store, record["trial_id"], rng)
        store.write_plan(sweep.name, "paper", records, extend=False)
        store.compact(sweep.name)
        written += len(records)
    return written


def _record(sweep: Sweep, method: int, setting: int, dataset: str, seed: int) -> dict[str, Any]:
    family = FAMILIES[method % len(FAMILIES)]
    params = {"latent_dim": 64, "beta": 0.1 * 2.0**setting, "kernel": ("imq", "rbf")[setting % 2], "lr": 1e-3}
    spec = {
        "kind": "autoencoding",
        "dataset": {"name": dataset, "options": {"size": 64}, "version": 1},
        "method": {"name": f"{family.lower().replace(' ', '-')}-{method}", "params": params, "version": 1},
        "seed": seed,
        "budget": {"steps": int(STEPS[-1]), "epochs": None, "batch_size": 128},
        "metrics": [{"name": metric, "options": {}, "version": 1} for metric in METRICS],
        "splits": ["test"],
    }
    identity = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    about = {
        "method": {
            "family": family,
            "paper": "Author et al. 2020, arXiv 0000.00000",
            "summary": f"what method {method} does, in one line",
            "changed": {"beta": params["beta"], "kernel": params["kernel"]} if setting else {},
        },
        "dataset": {"summary": f"{dataset}, in one line", "license": "CC0", "citation": "Someone 2020", "changed": {}},
        "metrics": {metric: _about(metric) for metric in METRICS},
    }
    return {
        "trial_id": identity,
        "sweep": sweep.name,
        "scale": "paper",
        "title": f"A large study: {sweep.name}",
        "published": None,
        "resources": {"cpus": 1, "gpus": 0},
        "timeout": None,
        "spec": spec,
        "about": about,
    }


def _about(metric: str) -> dict[str, str]:
    table = metric.partition("-")[0]
    direction = "min" if table in ("generation", "reconstruction") else "max"
    return {
        "metric": metric,
        "table": table,
        "direction": direction,
        "unit": "0 to 1",
        "meaning": f"what {metric} means, in a few words",
        "source": "Author et al. 2021, section 4, equation 2",
    }


def _rows(record: Mapping[str, Any], status: str, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    spec = record["spec"]
    shared = {
        "schema_version": 1,
        **{name: record[name] for name in ("trial_id", "sweep", "scale")},
        "kind": spec["kind"],
        "dataset": spec["dataset"]["name"],
        "dataset_options": json.dumps(spec["dataset"]["options"]),
        "dataset_version": 1,
        "method": spec["method"]["name"],
        "method_version": 1,
        "params": json.dumps(spec["method"]["params"], sort_keys=True),
        "seed": spec["seed"],
        "status": status,
        "steps": int(STEPS[-1]),
        "train_seconds": float(rng.uniform(100, 2_000)),
        "eval_seconds": 20.0,
        "peak_memory_bytes": 2 * 2**30,
        "parameters": 1_234_567,
        "device": "cuda",
        "threads": 4,
        "started_at": datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
        "git_sha": "0123456789abcdef",
        "git_dirty": False,
        "python": "3.11.9",
        "torch": "2.13.0",
        "cuda": "12.8",
        "device_name": "an accelerator",
        "ray": "2.60.0",
        "packages": "cafe",
        "deterministic": True,
    }
    if status != "ok":
        yield {**shared, "error_type": "RuntimeError", "error": f"the loss became NaN at step {rng.integers(9_999)}"}
        return
    level = int(hashlib.sha256(shared["method"].encode()).hexdigest()[:4], 16) / 2**17
    for position, metric in enumerate(METRICS):
        about = record["about"]["metrics"][metric]
        unmeasured = metric == "clustering-3" and shared["method"].startswith("ae")
        yield {
            **shared,
            "table": about["table"],
            "metric": metric,
            "split": "test",
            "value": None if unmeasured else 0.3 + level + 0.01 * position + 0.03 * float(rng.standard_normal()),
            "reason": f"{shared['method']} has no mixture of its own" if unmeasured else None,
            "direction": about["direction"],
            "n_samples": 10_000,
            "protocol": json.dumps({"extractor": "inception-v3", "weights_sha256": "6726", "num_samples": 10_000}),
            "metric_version": 1,
        }


def _curves(rng: np.random.Generator) -> list[dict[str, Any]]:
    points = []
    for position, name in enumerate(LOSSES):
        values = (1 + position) * np.exp(-4 * STEPS / STEPS[-1]) + 0.05 + 0.01 * rng.random(len(STEPS))
        for step, value in zip(STEPS.tolist(), values.tolist(), strict=True):
            points.append({"stage": "train", "step": step, "seconds": step / 50, "name": name, "value": value})
    return points


def _write_samples(store: Store, trial_id: str, rng: np.random.Generator) -> None:
    with store.replacing_artifacts(trial_id) as folder:
        for name in ("samples", "reconstructions"):
            coarse = Image.fromarray(rng.integers(0, 255, (4 * 4, 8 * 4, 3), dtype=np.uint8))
            coarse.resize((64 * 8, 64 * 4), Image.Resampling.BICUBIC).save(folder / f"{name}.png")


if __name__ == "__main__":
    print(write_results(Path(sys.argv[1])), "trials written")
