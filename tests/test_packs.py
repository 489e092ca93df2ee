"""Which trials are packed: a function of what is planned, which users are told of and may decide."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import bench.packs
from bench.driver import run_sweeps
from bench.identity import Trial, canonical_json
from bench.options import defaults, options_of
from bench.packs import describe, packs
from bench.registry import all_datasets, all_methods
from bench.storage.schema import SCHEMA_VERSION
from bench.storage.store import Store
from bench.sweeps import SweepsError, load_sweeps
from methods.base import Autoencoder

PAIRS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 16
steps = 5
seeds = 6
datasets.gaussians = {}
"""
AFFINE = 'methods."tests.packable:Affine" = {}\n'
SweepsFile = Callable[[str], Path]
Plan = Callable[[str], list[Trial]]


@pytest.fixture
def plan(sweeps_file: SweepsFile) -> Plan:
    return lambda text: [trial for sweep in load_sweeps(sweeps_file(text), "quick") for trial in sweep.trials()]


def sizes(trials: list[Trial]) -> list[int]:
    return [len(pack) for pack in packs(trials)]


def run(path: Path, results: Path, **options: Any) -> tuple[int, str]:
    """The exit status and what was printed."""
    output = io.StringIO()
    status = run_sweeps(path, results=results, executor="inline", console=Console(file=output, width=200), **options)
    return status, output.getvalue()


def test_every_trial_is_in_one_pack_in_the_order_of_the_plan(plan: Plan) -> None:
    trials = plan(
        PAIRS + AFFINE + "methods.identity = {}\n" + 'methods."tests.packable:Counts" = { lr = [0.1, 0.2] }\n'
    )
    found = packs(trials)
    assert sorted(trials.index(trial) for pack in found for trial in pack) == list(range(len(trials)))
    assert [trials.index(pack[0]) for pack in found] == sorted(trials.index(pack[0]) for pack in found)


def test_seeds_and_floats_may_differ_within_a_pack_and_nothing_else(plan: Plan) -> None:
    assert sizes(plan(PAIRS + AFFINE)) == [6]
    floats = "{ lr = [0.1, 0.2], weight = [1.0, 2.0] }"
    assert sizes(plan(PAIRS + f'methods."tests.packable:Affine" = {floats}\n')) == [8, 8, 8]
    assert sizes(plan(PAIRS + 'methods."tests.packable:Affine" = { order = [1, 2] }\n')) == [6, 6]
    assert sizes(plan(PAIRS + 'methods."tests.packable:Affine" = { descent = ["sgd", "adam"] }\n')) == [6, 6]
    assert sizes(plan(PAIRS.replace("gaussians = {}", "gaussians = { dim = [2, 3] }") + AFFINE)) == [6, 6]
    assert sizes(plan(PAIRS + AFFINE + 'methods."tests.packable:Counts" = {}\n')) == [6, 6]
    shorter = "[sweep.pairs.quick]\nsteps = 4\n"
    assert sizes([*plan(PAIRS + AFFINE), *plan(PAIRS + AFFINE + shorter)]) == [6, 6]
    assert sizes(plan(PAIRS + AFFINE + PAIRS.replace("sweep.pairs", "sweep.other") + AFFINE)) == [6, 6]


def test_what_cannot_train_as_one_model_trains_alone(plan: Plan) -> None:
    for method in ('"tests.faulty:Shift"', "identity", "lsot"):
        assert sizes(plan(PAIRS + "pack = 4\n" + f"methods.{method} = {{}}\n")) == [1] * 6
    for option in ("resources = { memory_gb = 4 }", "compile = true"):
        assert sizes(plan(PAIRS + "pack = 4\n" + AFFINE + option + "\n")) == [1] * 6
    images = """
[sweep.images]
kind = "autoencoding"
metrics = ["mse"]
batch_size = 16
epochs = 1
seeds = 3
pack = 3
datasets.digits = {}
methods.vae = { network = "mlp" }
methods.sinkhorn-ae = { network = "mlp" }
"""
    assert sizes(plan(images)) == [3, 1, 1, 1]
    assert sizes(plan(images + "patience = 2\n")) == [1] * 6


def test_a_sweep_says_how_many_train_as_one(plan: Plan) -> None:
    few = PAIRS.replace("seeds = 6", "seeds = 4") + AFFINE
    assert sizes(plan(few)) == [1] * 4, "it does not pay"
    assert sizes(plan(few + "pack = 8\n")) == [4]
    assert sizes(plan(PAIRS + AFFINE + "pack = 1\n")) == [1] * 6
    assert sizes(plan(PAIRS + AFFINE + "pack = 4\n")) == [3, 3]
    assert sizes(plan(PAIRS + AFFINE + "pack = 100\n")) == [6]
    large = 'methods.w2gn = { hidden = "benchmark" }\n'
    dims = PAIRS.replace("gaussians = {}", "gaussians = { dim = 256 }")
    assert sizes(plan(dims + large)) == [1] * 6, "it does not pay"
    assert sizes(plan(dims + large + "pack = 2\n")) == [2, 2, 2]


def test_on_a_gpu_what_is_large_for_a_cpu_is_packed(plan: Plan) -> None:
    assert sizes(plan(PAIRS.replace("seeds = 6", "seeds = 4") + AFFINE + "resources = { gpus = 1 }\n")) == [4]
    large = PAIRS.replace("gaussians = {}", "gaussians = { dim = 64 }").replace("seeds = 6", "seeds = 20")
    large = large.replace("batch_size = 16", "batch_size = 1024") + "methods.w2gn = {}\n"
    assert sizes(plan(large)) == [1] * 20
    assert sizes(plan(large + "resources = { gpus = 1 }\n")) == [10, 10]


def test_packs_depend_on_the_plan_and_not_on_what_is_done(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    path = sweeps_file(PAIRS + AFFINE + "pack = 2\n")
    trials = load_sweeps(path, "quick")[0].trials()
    store = Store(tmp_path)
    run(path, tmp_path, conditions=["seed=1"])
    assert store.trial_rows("pairs", trials[1].id)[0]["packed"] == 1
    status, printed = run(path, tmp_path)
    assert status == 0
    packed = [store.trial_rows("pairs", trial.id)[0]["packed"] for trial in trials]
    assert packed == [1, 1, 2, 2, 2, 2], "seed 0 was to be packed with seed 1, not with seed 2"
    assert "pairs: tests.packable:Affine trains 2 × 2 trials as one model" in printed


def test_runs_and_dry_runs_say_what_is_packed(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    path = sweeps_file(PAIRS + AFFINE + "methods.identity = {}\npack = 3\n")
    line = "pairs: tests.packable:Affine trains 2 × 3 trials as one model\n"
    for dry in (True, False):
        _, printed = run(path, tmp_path, dry_run=dry)
        assert line in printed
        assert "identity trains" not in printed
    assert "as one model" not in run(path, tmp_path)[1], "all is done"


def test_descriptions_count_packs_of_each_size(plan: Plan) -> None:
    trials = plan(PAIRS + 'methods."tests.packable:Affine" = { order = [1, 2] }\npack = 3\n')
    (line,) = describe(packs(trials[:9]))
    assert line == "pairs: tests.packable:Affine trains 3 × 3 trials as one model"
    (line,) = describe(packs(plan(PAIRS.replace("seeds = 6", "seeds = 8") + AFFINE + "pack = 3\n")))
    assert line == "pairs: tests.packable:Affine trains 2 × 3 trials as one model and 1 × 2 trials as one model"


def test_the_cost_of_an_update_can_be_told_of_all_methods() -> None:
    counted = []
    for name, method in all_methods().items():
        if not bench.packs.can_pack(method):
            continue
        dataset = "digits" if issubclass(method, Autoencoder) else "gaussians"
        params = canonical_json({**defaults(options_of(method)), **method.check_params})
        options = canonical_json(defaults(options_of(all_datasets()[dataset])))
        counted.append(bench.packs._operations(name, params, dataset, options))
    assert len(counted) > 15
    assert all(0 < operations < 1e9 for operations in counted)


def test_a_method_that_cannot_be_made_is_left_to_its_trials(plan: Plan) -> None:
    text = PAIRS + 'methods.w2gn = { network = "conv" }\n'
    assert sizes(plan(text)) == [1] * 6


def test_ids_do_not_depend_on_how_a_trial_is_run(plan: Plan) -> None:
    (trial,) = plan(PAIRS.replace("seeds = 6", "seeds = 1") + AFFINE)
    for change in ({"pack": 5}, {"pack": 1}, {"compile": True}):
        changed = dataclasses.replace(trial, **change)
        assert changed.id == trial.id
        assert Trial.from_record(changed.to_record()) == changed
    rough = dataclasses.replace(trial, budget=dataclasses.replace(trial.budget, precision="bfloat16"))
    assert rough.id != trial.id
    assert Trial.from_record(rough.to_record()) == rough
    assert "precision" not in trial.spec["budget"]


def test_records_from_before_packs_are_read(plan: Plan) -> None:
    trial = plan(PAIRS + AFFINE)[0]
    record = {name: value for name, value in trial.to_record().items() if name not in ("compile", "pack")}
    assert Trial.from_record(record) == trial


def test_rows_of_version_2_were_trained_alone_as_written_in_float32(sweeps_file: SweepsFile, tmp_path: Path) -> None:
    path = sweeps_file(PAIRS.replace("seeds = 6", "seeds = 1") + AFFINE)
    run(path, tmp_path)
    (file,) = (tmp_path / "rows").rglob("*.parquet")
    table = pq.read_table(file, partitioning=None)
    # Compaction seals files with checksums, which this one is without, as those that other tools write.
    older = table.drop_columns(["packed", "compiled", "precision"]).replace_schema_metadata(
        {"trial": (table.schema.metadata or {}).get(b"trial", b"{}")}
    )
    pq.write_table(older.set_column(0, "schema_version", pa.array([2] * len(older), pa.int32())), file)
    found = Store(tmp_path).read()
    assert found.problems == []
    columns = ["schema_version", "packed", "compiled", "precision", "resumed"]
    assert found.rows[columns].drop_duplicates().to_numpy().tolist() == [[SCHEMA_VERSION, 1, False, "float32", 0]]
    assert "nothing to run" in run(path, tmp_path)[1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('precision = "float8"', ["precision", 'no precision "float8"', "float32"]),
        ("pack = 0", ["pack", "must be a number of trials of at least 1, not 0"]),
        ("pack = true", ["pack", "must be"]),
        ("compile = 3", ["compile", "must be", "3"]),
    ],
)
def test_mistakes_are_named_with_their_place(plan: Plan, line: str, words: list[str]) -> None:
    with pytest.raises(SweepsError) as refused:
        plan(PAIRS + line + "\n" + AFFINE)
    for word in ["pairs", *words]:
        assert word in str(refused.value)


def test_a_method_may_have_a_precision_of_its_own(plan: Plan) -> None:
    text = PAIRS + AFFINE + 'methods."tests.packable:Counts" = { precision = "bfloat16" }\n'
    trials = plan(text)
    assert {trial.method.name[15:]: trial.budget.precision for trial in trials} == {
        "Affine": "float32",
        "Counts": "bfloat16",
    }
    with pytest.raises(SweepsError, match=r"methods.tests.packable:Counts.precision: no precision"):
        plan(text.replace("bfloat16", "float8"))


def test_tf32_needs_a_gpu(plan: Plan) -> None:
    text = PAIRS + 'precision = "tf32"\n'
    with pytest.raises(SweepsError, match=r'precision: "tf32" is of GPUs'):
        plan(text + AFFINE)
    (budget,) = {trial.budget for trial in plan(text + "resources = { gpus = 0.5 }\n" + AFFINE)}
    assert budget.precision == "tf32"
