"""A results folder as the default sweeps would leave it, with all that can go wrong: what the report's tests read.

Numbers are made up by formula; every record, row, curve and picture goes through `Store`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from bench.storage.store import Store

FAMILIES = {
    **dict.fromkeys(("w2gn", "lsot"), "OT map"),
    **dict.fromkeys(("identity", "constant", "linear", "untrained"), "reference"),
    **dict.fromkeys(("vae", "beta-vae"), "VAE"),
    **dict.fromkeys(("wae-mmd", "wae-gan", "swae"), "WAE"),
    **dict.fromkeys(("ae", "latent-ot"), "AE"),
    "gwae": "GW",
}
HOSTILE = '<script>alert("x")</script> </script> & "quotes" \\textbf{_%$}'


def output(metric: str, table: str, direction: str, unit: str, meaning: str) -> dict[str, str]:
    about = {"metric": metric, "table": table, "direction": direction, "unit": unit, "meaning": meaning}
    return {**about, "source": "a paper"}


OUTPUTS = {
    "l2-uvp": output("l2-uvp", "transport", "min", "%", "squared distance to the true map over the target's variance"),
    "cosine": output("cosine", "transport", "max", "-1 to 1", "cosine between the map's and the true displacement"),
    "energy-distance": output("energy-distance", "transport", "min", "0 upwards", "pushed against target points"),
    "mse": output("mse", "reconstruction", "min", "squared intensity", "mean squared error of reconstructions"),
    "psnr": output("psnr", "reconstruction", "max", "dB", "peak signal-to-noise ratio of reconstructions"),
    "fd-efficientnet-lite0-generation": output(
        "fd-efficientnet-lite0-generation", "generation", "min", "0 upwards", "Fréchet distance of samples to images"
    ),
    "fid-generation": output("fid-generation", "generation", "min", "0 upwards", "FID of samples"),
    "mig": output("mig", "disentanglement", "max", "0 to 1", "mutual information gap"),
    "dci-disentanglement": output("dci", "disentanglement", "max", "0 to 1", "DCI disentanglement"),
    "kmeans-accuracy": output("kmeans", "clustering", "max", "0 to 1", "accuracy of k-means on codes"),
    "components-accuracy": output("components", "clustering", "max", "0 to 1", "accuracy of the model's own mixture"),
}
PROTOCOLS = {
    "fd-efficientnet-lite0-generation": {"extractor": "efficientnet-lite0", "weights_sha256": "5793"},
    "fid-generation": {"extractor": "inception-v3-compat", "weights_sha256": "6726"},
    "mig": {"bins": 20},
}


@dataclass
class Trial:
    """One trial to be written: what identifies it, and what came of it."""

    sweep: str
    method: str
    dataset: str
    seed: int
    values: Mapping[str, float | str]  # a text is the reason why there is no value
    options: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "autoencoding"
    scale: str = "quick"
    status: str = "ok"
    error: str | None = None
    steps: int = 1000
    published: str | None = None
    n_samples: int = 1024
    metric_version: int = 1
    seconds: float = 12.0

    @property
    def spec(self) -> dict[str, Any]:
        asked = dict.fromkeys(OUTPUTS[name]["metric"] for name in self.values)
        return {
            "kind": self.kind,
            "dataset": {"name": self.dataset, "options": dict(self.options), "version": 1},
            "method": {"name": self.method, "params": dict(self.params), "version": 1},
            "seed": self.seed,
            "budget": {"steps": self.steps, "epochs": None, "batch_size": 256},
            "metrics": [{"name": name, "options": {}, "version": self.metric_version} for name in asked],
            "splits": ["test"],
        }

    @property
    def id(self) -> str:
        return hashlib.sha256(json.dumps(self.spec, sort_keys=True).encode()).hexdigest()

    @property
    def record(self) -> dict[str, Any]:
        return {
            "trial_id": self.id,
            "sweep": self.sweep,
            "scale": self.scale,
            "published": self.published,
            "resources": {"cpus": 1, "gpus": 0},
            "timeout": None,
            "spec": self.spec,
            "about": {
                "method": {
                    "family": FAMILIES[self.method],
                    "paper": "Author et al. 2020, arXiv 0000.00000",
                    "summary": f"what {self.method} does, in one line",
                    "changed": dict(self.changed),
                },
                "dataset": {"summary": f"{self.dataset}, in one line", "license": "CC0", "citation": "Someone 2020"},
                "metrics": {name: OUTPUTS[name] for name in self.values},
            },
        }

    def rows(self) -> list[dict[str, Any]]:
        shared = {
            "schema_version": 1,
            "trial_id": self.id,
            "sweep": self.sweep,
            "scale": self.scale,
            "kind": self.kind,
            "dataset": self.dataset,
            "dataset_options": json.dumps(dict(self.options), sort_keys=True),
            "dataset_version": 1,
            "method": self.method,
            "method_version": 1,
            "params": json.dumps(dict(self.params), sort_keys=True),
            "seed": self.seed,
            "status": self.status,
            "steps": self.steps if self.status == "ok" else 37,
            "train_seconds": self.seconds,
            "eval_seconds": 1.5,
            "peak_memory_bytes": 400 * 2**20,
            "parameters": 123_456,
            "device": "cpu",
            "threads": 1,
            "started_at": datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
            "git_sha": "0123456789abcdef",
            "git_dirty": False,
            "python": "3.11.9",
            "torch": "2.13.0+cpu",
            "device_name": "a processor",
            "ray": "2.60.0",
            "packages": "cafe",
            "deterministic": True,
        }
        if self.status != "ok":
            return [{**shared, "error_type": "RuntimeError", "error": self.error or "it went wrong"}]
        return [
            {
                **shared,
                "table": OUTPUTS[name]["table"],
                "metric": name,
                "split": "test",
                "value": None if isinstance(value, str) else float(value),
                "reason": value if isinstance(value, str) else None,
                "direction": OUTPUTS[name]["direction"],
                "n_samples": self.n_samples,
                "protocol": json.dumps({"num_samples": self.n_samples, **PROTOCOLS.get(name, {})}),
                "metric_version": self.metric_version,
            }
            for name, value in self.values.items()
        ]


def write(root: Path, trials: list[Trial], *, planned_only: list[Trial] | None = None, pictures: bool = True) -> Store:
    """Writes trials (rows, curves, artifacts) and the plans; `planned_only` are planned and have no rows."""
    store = Store(root)
    plans: dict[tuple[str, str], dict[str, Any]] = {}
    for trial in [*trials, *(planned_only or [])]:
        plans.setdefault((trial.sweep, trial.scale), {})[trial.id] = trial.record
    for (sweep, scale), plan in plans.items():
        store.write_plan(sweep, scale, plan, extend=False)
    for trial in trials:
        store.write_rows(trial.rows(), trial.record)
        store.write_curves(trial.sweep, trial.id, curves(trial))
        if pictures and trial.status == "ok":
            write_artifacts(store, trial)
    return store


def curves(trial: Trial) -> list[dict[str, Any]]:
    rng = np.random.default_rng(trial.seed)
    names = ("loss", "reconstruction", "penalty")[: 1 + 2 * (trial.kind == "autoencoding")]
    return [
        {"stage": "train", "step": step, "seconds": step / 50, "name": name, "value": float(value)}
        for k, name in enumerate(names)
        for step in range(0, trial.steps + 1, max(trial.steps // 40, 1))
        for value in [(1 + k) * np.exp(-4 * step / max(trial.steps, 1)) + 0.05 + 0.01 * rng.random()]
    ]


def write_artifacts(store: Store, trial: Trial) -> None:
    rng = np.random.default_rng(int(trial.id[:8], 16))
    with store.replacing_artifacts(trial.id) as folder:
        if trial.kind == "autoencoding":
            side = 64 if trial.dataset == "sprites" else 28
            for name, rows in (("samples", 8), ("reconstructions", 8), ("traversals", 10)):
                Image.fromarray(blobs(rng, rows, side)).save(folder / f"{name}.png")
        elif trial.dataset == "toy2d" or trial.options.get("dim") == 2:
            angle = rng.integers(0, 8, 1000) * np.pi / 4
            target = 1.3 * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.1 * rng.normal(size=(1000, 2))
            clouds = {"source": rng.normal(size=(1000, 2)), "target": target}
            clouds["pushed"] = target + 0.15 * rng.normal(size=(1000, 2))
            frames = [pd.DataFrame({"set": name, "x": p[:, 0], "y": p[:, 1]}) for name, p in clouds.items()]
            pd.concat(frames).to_parquet(folder / "transport.parquet", index=False)


def blobs(rng: np.random.Generator, rows: int, side: int) -> np.ndarray:
    """uint8 [rows·side, 8·side]: a soft bright spot a tile."""
    grid = np.mgrid[0:side, 0:side]
    centers = rng.uniform(0.3, 0.7, size=(rows, 8, 2, 1, 1)) * side
    squares = ((grid - centers) ** 2).sum(axis=2) / (0.02 * side**2)
    return (255 * np.exp(-squares)).astype(np.uint8).transpose(0, 2, 1, 3).reshape(rows * side, 8 * side)


def default_sweeps() -> tuple[list[Trial], list[Trial]]:
    """(trials with rows, trials only planned) of the default sweeps, at quick scale."""
    trials, missing = [*gaussians(), *toy2d(), *sprites()], []
    for trial in mnist():
        (missing if (trial.method, trial.seed) == ("gwae", 2) else trials).append(trial)
    return trials, missing


def gaussians(scale: str = "quick", steps: int = 1000, seeds: int = 2) -> list[Trial]:
    settings: list[tuple[str, dict[str, Any]]] = [("w2gn", {})]
    settings += [("lsot", {"map": "barycentric", "epsilon": epsilon}) for epsilon in (0.01, 0.1)]
    settings += [("linear", {}), ("identity", {}), ("constant", {})]
    trials = []
    for method, params in settings:
        for dim in (2, 4, 8, 16, 32, 64):
            for seed in range(seeds):
                rng = np.random.default_rng([dim, seed, len(method)])
                level = {"w2gn": 0.02 * dim**0.7, "lsot": 1.5 * dim**0.8, "linear": 0.003 * dim, "identity": 30.0}
                uvp = level.get(method, 100.0) * (1 + 4 * params.get("epsilon", 0)) * (1 + 0.1 * rng.random())
                lost = method == "lsot" and dim == 64 and seed == 1 and params["epsilon"] == 0.1
                cosine = "a map that does not move has no displacement" if method == "identity" else 1 - uvp / 210
                trials.append(
                    Trial(
                        "gaussians",
                        method,
                        "gaussians",
                        seed,
                        {"l2-uvp": uvp, "cosine": cosine},
                        options={"dim": dim},
                        params=params,
                        changed={"epsilon": 0.1} if params.get("epsilon") == 0.1 else {},
                        kind="transport",
                        scale=scale,
                        steps=steps,
                        published="w2gn/gaussians",
                        status="diverged" if lost else "ok",
                        error="the loss became NaN at step 37",
                        seconds=3 + dim * len(method) / 8,
                    )
                )
    return trials


def toy2d() -> list[Trial]:
    levels = {"w2gn": 0.01, "lsot": 0.04, "linear": 0.11, "identity": 0.12}
    shapes = ("8-gaussians", "25-gaussians", "swiss-roll")
    return [
        Trial("toy2d", method, "toy2d", 0, {"energy-distance": level * (1 + k / 3)}, {"shape": shape}, kind="transport")
        for method, level in levels.items()
        for k, shape in enumerate(shapes)
    ]


def mnist() -> list[Trial]:
    kernels = [("wae-mmd", {"kernel": kernel}) for kernel in ("imq", "rbf")]
    priors = [("gwae", {"prior": prior}) for prior in ("neural", "factorized-neural", "gaussian-mixture")]
    settings = [("ae", {}), ("vae", {}), ("beta-vae", {}), *kernels, ("wae-gan", {}), ("swae", {}), *priors]
    trials = []
    for k, (method, params) in enumerate([*settings, ("latent-ot", {"autoencoder": "ae"}), ("untrained", {})]):
        for seed in range(3):
            rng = np.random.default_rng([k, seed])
            bad = 5 if method == "untrained" else 1
            mixture = params.get("prior") == "gaussian-mixture"
            values: dict[str, float | str] = {
                "mse": bad * (0.01 + 0.002 * (k % 5)) * (1 + 0.05 * rng.random()),
                "psnr": 20 - 5 * (bad > 1) - (k % 5) + rng.random(),
                "fd-efficientnet-lite0-generation": bad * (40 + 9 * ((k * 5) % 7)) * (1 + 0.06 * rng.random()),
                "fid-generation": "the weights pt_inception-2015-12-05-6726825d.pth cannot be fetched: no network",
                "kmeans-accuracy": 0.5 + 0.02 * k + 0.05 * rng.random() - 0.3 * (bad > 1),
                "components-accuracy": 0.6 + 0.01 * seed if mixture else f"{method} has no mixture of its own",
            }
            failed = method == "swae" and seed == 1
            trials.append(
                Trial(
                    "mnist",
                    method,
                    "mnist-5k",
                    seed,
                    values,
                    params={"latent_dim": 8, **params},
                    status="failed" if failed else "ok",
                    error=HOSTILE,
                    published="two-stage-vae/table-1",
                    n_samples=1000,
                    seconds=20 + 7 * k,
                )
            )
    return trials


def sprites() -> list[Trial]:
    return [
        Trial(
            "sprites",
            method,
            "sprites",
            seed,
            {"mig": 0.05 + 0.03 * k + 0.02 * seed, "dci-disentanglement": 0.1 + 0.05 * k, "mse": 0.01 * (k + 1)},
            options={"size": 64, "subset": 5000},
            n_samples=2000,
        )
        for k, method in enumerate(("ae", "vae", "beta-vae", "gwae"))
        for seed in range(2)
    ]
