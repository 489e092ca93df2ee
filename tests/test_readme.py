"""What the README shows is what works."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.check import check_method
from bench.driver import run_sweeps
from bench.metrics.base import all_metrics
from bench.options import defaults, options_of
from bench.registry import find_dataset
from bench.sweeps import load_sweeps
from datasets.cache import load_splits

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = dict(
    zip(("Denoising", "Quantiles"), re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL), strict=True)
)

SWEEPS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp", "l2-uvp-inverse"]
batch_size = 8
steps = 1
datasets.gaussians = { dim = 4 }
methods.constant = {}
methods."readme_quantiles:Quantiles" = {}

[sweep.images]
kind = "autoencoding"
metrics = ["mse"]
batch_size = 32
steps = 100
shared = { width = 4 }
datasets.digits = {}
methods.untrained = {}
methods."readme_denoising:Denoising" = { lr = 1e-2 }
"""


@pytest.fixture(autouse=True)
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in EXAMPLES.items():
        (tmp_path / f"readme_{name.lower()}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(("name", "lines"), [("Denoising", 25), ("Quantiles", 50)])
def test_the_examples_are_short_files(name: str, lines: int) -> None:
    assert len(EXAMPLES[name].splitlines()) <= lines


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_fulfil_the_contract(name: str) -> None:
    verdicts = check_method(f"readme_{name.lower()}:{name}")
    assert [verdict for verdict in verdicts if verdict.passed is False] == []


def test_the_examples_run_and_are_better_than_doing_nothing(sweeps_file: Callable[[str], Path], tmp_path: Path) -> None:
    assert run_sweeps(sweeps_file(SWEEPS), results=tmp_path / "results", executor="inline") == 0
    rows = pd.read_parquet(tmp_path / "results" / "rows")
    uvp = rows[rows["metric"] == "l2-uvp"].set_index("method")["value"]
    assert 0 < uvp["readme_quantiles:Quantiles"] < 50 < uvp["constant"]
    mse = rows[rows["metric"] == "mse"].set_index("method")["value"]
    assert 0 < mse["readme_denoising:Denoising"] < 0.7 * mse["untrained"]


def test_the_sketch_of_a_sweep_is_valid(sweeps_file: Callable[[str], Path]) -> None:
    sketch = re.search(r"## sweeps.toml\n\n((?:    .*\n|\n)+)", README)
    assert sketch is not None
    text = "\n".join(line[4:] for line in sketch.group(1).splitlines())
    (sweep,) = load_sweeps(sweeps_file(text), "quick")
    assert len(sweep.trials()) == 6 * 3 * 3


def test_ci_runs_the_test_command_of_the_readme() -> None:
    (command,) = re.findall(r"^    (python3 .*tox)$", README, flags=re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_files_the_readme_links_to_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_the_default_sweeps_ask_for_no_more_points_than_there_are(scale: str, data_folder: Path) -> None:
    for sweep in load_sweeps(ROOT / "sweeps.toml", scale):
        for dataset, metrics in sweep.datasets if sweep.kind == "autoencoding" else ():
            if find_dataset(dataset.name).files:
                continue  # not without downloading them
            size = dataset.options.get("test") or len(_test_images(dataset.name, data_folder))
            for setting in metrics:
                metric = all_metrics()[setting.name]
                asked = sum(value for name, value in setting.options.items() if name.startswith("num_"))
                own = not any(name.startswith(("train_", "outlier_")) for name in metric.arrays)
                if own and metric.bases & {"factors", "drawn_codes", "prior_codes", "samples"}:
                    assert asked <= size, f"{sweep.name}: {setting.name}"


def _test_images(name: str, folder: Path) -> np.ndarray:
    cls = find_dataset(name)
    return load_splits(cls(), defaults(options_of(cls)), folder)["test"].images
