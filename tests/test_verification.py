"""Recorded trials run again give the numbers they gave, and where they do not, or cannot, it is said."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from bench.across import recorded_trials
from bench.cli import main
from bench.driver import run_sweeps
from bench.errors import UserError
from bench.identity import Resources, Setting, Trial
from bench.recorded import changes_since
from bench.storage.store import Store
from bench.verification import sample_trials, verify_trials
from methods.transport.identity import Identity

PAIRS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp", "cosine"]
batch_size = 16
steps = 5
datasets.gaussians = {}
methods.identity = {}
methods."tests.faulty:Shift" = {}
"""


@pytest.fixture
def results(sweeps_file: Callable[[str], Path], tmp_path: Path) -> Path:
    """Two trials that ended ok."""
    folder = tmp_path / "results"
    console = Console(file=io.StringIO())
    assert run_sweeps(sweeps_file(PAIRS), results=folder, executor="inline", console=console) == 0
    return folder


def verify(results: Path, *prefixes: str, sample: int | None = None, cpu: bool = False) -> tuple[int, str]:
    """The exit status and what was printed; the tests' own plug-in may run."""
    output = io.StringIO()
    console = Console(file=output, width=200)
    status = verify_trials(
        prefixes,
        sample=sample,
        cpu=cpu,
        executor="inline",
        results=results,
        plug_ins=["tests.faulty:Shift"],
        console=console,
    )
    return status, output.getvalue()


def trial_of(results: Path, method: str) -> Trial:
    records = Store(results).read().trials.values()
    return Trial.from_record(next(r for r in records if r["spec"]["method"]["name"] == method))


def rewrite(results: Path, trial: Trial, **columns: object) -> None:
    """Sets columns in all rows of a trial."""
    store = Store(results)
    rows = [row | columns for row in store.trial_rows(trial.sweep, trial.id)]
    store.write_rows(rows, store.trial_record(trial.sweep, trial.id) or {})


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_trials_come_out_bitwise_the_same_and_the_recorded_results_are_left_alone(results: Path) -> None:
    before = contents(results)
    status, printed = verify(results, sample=2)
    assert status == 0
    assert printed.count("bitwise the same  ") == 2
    assert "2 of 2 numbers the same" in printed
    assert "2 of 2 trials came out bitwise the same" in printed
    assert contents(results) == before


def test_a_number_that_does_not_come_out_is_shown_with_both_values_and_by_how_much(results: Path) -> None:
    trial = trial_of(results, "identity")
    rows = Store(results).trial_rows(trial.sweep, trial.id)
    again = next(row["value"] for row in rows if row["metric"] == "l2-uvp")
    altered = [row | ({"value": again * 2} if row["metric"] == "l2-uvp" else {}) for row in rows]
    Store(results).write_rows(altered, trial.to_record())
    status, printed = verify(results, trial.id[:8])
    assert status == 1
    assert "different" in printed
    assert "1 of 2 numbers the same" in printed
    assert f"{again * 2:.17g}" in printed
    assert f"{again:.17g}" in printed
    assert "0.5" in printed
    assert "0 of 1 trials" in printed


def test_a_curve_that_differs_is_a_difference_and_its_first_step_is_named(results: Path) -> None:
    trial = trial_of(results, "tests.faulty:Shift")
    store = Store(results)
    curves = store.read_curves([trial.id])
    first = int(curves.loc[curves["step"] >= 2, "step"].min())
    losses = curves["value"].where(curves["step"] < first, curves["value"] + 1e-9)
    points = [
        {"stage": "train", "step": step, "seconds": 0.0, "name": "loss", "value": loss}
        for step, loss in zip(curves["step"], losses, strict=True)
    ]
    store.write_curves(trial.sweep, trial.id, points)
    status, printed = verify(results, trial.id)
    assert status == 1
    assert "2 of 2 numbers the same" in printed
    assert f"curves: differ from step {first} of train on, loss first" in printed


def test_what_differs_in_the_environment_is_told_also_where_the_numbers_are_the_same(results: Path) -> None:
    rewrite(results, trial_of(results, "identity"), torch="1.0", device_name="abacus")
    status, printed = verify(results, sample=2)
    assert status == 0
    (line,) = [line for line in printed.splitlines() if line.startswith("environment")]
    assert "torch 1.0 → " in line
    assert "device_name abacus → " in line
    assert trial_of(results, "identity").id[:12] in line
    assert trial_of(results, "tests.faulty:Shift").id[:12] not in line


def test_a_method_of_another_version_is_said_and_not_run(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = trial_of(results, "identity")
    monkeypatch.setattr(Identity, "version", Identity.version + 1)
    monkeypatch.setattr("bench.verification.execute", lambda *a, **k: pytest.fail("it ran"))
    status, printed = verify(results, trial.id)
    assert status == 1
    assert f"method identity was version {trial.method.version} and is now {Identity.version}" in printed


def test_changes_since_are_of_names_options_and_versions(results: Path) -> None:
    trial = trial_of(results, "identity")
    assert changes_since(trial) == []
    unknown = replace(trial, method=Setting("identify", {}, 1))
    assert changes_since(unknown) == ['no method "identify": did you mean "identity"?']
    dataset = replace(trial.dataset, version=99, options={**trial.dataset.options, "color": "red"})
    version, option = changes_since(replace(trial, dataset=dataset))
    assert version.startswith("dataset gaussians was version 99 and is now")
    assert option == "dataset gaussians has no option color"
    metrics = (replace(trial.metrics[0], version=99), Setting("l3-uvp", {}, 1))
    version, unknown_metric = changes_since(replace(trial, metrics=metrics))
    assert version.startswith(f"metric {trial.metrics[0].name} was version 99 and is now")
    assert unknown_metric == 'no metric "l3-uvp"'


def test_a_trial_that_failed_or_has_no_rows_has_nothing_to_compare(results: Path) -> None:
    failed, missing = (trial_of(results, name) for name in ("identity", "tests.faulty:Shift"))
    rewrite(results, failed, status="failed")
    (results / "rows" / missing.sweep / f"{missing.id}.parquet").unlink()
    status, printed = verify(results, failed.id, missing.id)
    assert status == 1
    assert "it ended failed" in printed
    assert "no rows" in printed


def test_a_record_that_was_altered_or_is_of_another_harness_is_not_run(results: Path) -> None:
    altered, foreign = (trial_of(results, name) for name in ("identity", "tests.faulty:Shift"))
    store = Store(results)
    store.write_rows(store.trial_rows(altered.sweep, altered.id), replace(altered, seed=7).to_record())
    store.write_rows(store.trial_rows(foreign.sweep, foreign.id), {"sweep": foreign.sweep, "spec": {}})
    status, printed = verify(results, altered.id, foreign.id)
    assert status == 1
    assert "its record makes another id" in printed
    assert "not of this version of the harness" in printed


def test_a_plan_that_says_nothing_of_a_trial_or_a_record_with_no_number_stops_nothing(results: Path) -> None:
    trial = trial_of(results, "identity")
    store = Store(results)
    record = trial.to_record()
    method = {**record["spec"]["method"], "params": {"epsilon": float("nan")}}
    store.write_rows(store.trial_rows(trial.sweep, trial.id), record | {"spec": {**record["spec"], "method": method}})
    store.write_plan("odd", "quick", {"c" * 64: {}}, extend=False)
    status, printed = verify(results, trial.id, "c" * 64)
    assert status == 1
    assert "not of this version of the harness" in printed
    assert "no rows" in printed
    assert trial.id not in {recorded.id for recorded in recorded_trials(store)}


def test_a_trial_that_fails_this_time_is_said_with_its_error(results: Path) -> None:
    trial = trial_of(results, "identity")
    rows = Store(results).trial_rows(trial.sweep, trial.id)
    Store(results).write_rows(rows, replace(trial, resources=Resources(cpus=1, gpus=64)).to_record())
    status, printed = verify(results, trial.id)
    assert status == 1
    assert "this time it ended lost: ResourcesUnavailable" in printed
    assert "64 GPUs" in printed
    status, printed = verify(results, trial.id, cpu=True)
    assert status == 0


def test_metrics_across_seeds_are_said_not_to_be_verified(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.verification._across_seeds", lambda trials: ["udr"])
    assert "metrics across seeds are not verified: udr" in verify(results, sample=1)[1]


def test_an_interrupt_ends_with_its_own_status(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.packed_trials.run_trial", interrupted)
    status, printed = verify(results, sample=1)
    assert status == 130
    assert "interrupted" in printed


def test_a_sample_takes_turns_among_sweeps_and_their_methods_and_is_always_the_same() -> None:
    lines = [
        {"sweep": sweep, "method": method, "trial_id": f"{order:02}{sweep}{method}", "status": "ok"}
        for sweep, method, orders in (("s", "a", range(6)), ("s", "b", (20, 21)), ("t", "c", (30,)))
        for order in orders
    ]
    rows = pd.DataFrame([*lines, {"sweep": "u", "method": "d", "trial_id": "00", "status": "failed"}])
    drawn = sample_trials(rows, 5)
    assert drawn["trial_id"].tolist() == ["00sa", "30tc", "20sb", "01sa", "21sb"]
    shuffled = rows.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(sample_trials(shuffled, 5), drawn)
    pd.testing.assert_frame_equal(sample_trials(pd.concat([rows, rows]), 3), drawn.head(3))
    assert len(sample_trials(rows, 100)) == 9


def test_no_trial_named_or_none_to_draw_from_is_an_error_of_the_user(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--sample N"):
        verify(results)
    with pytest.raises(UserError, match='no trial "0123abcd"'):
        verify(results, "0123abcd")
    with pytest.raises(UserError, match="nothing to draw from"):
        verify(tmp_path / "empty", sample=1)


def test_the_command_line_verifies(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trial = trial_of(results, "identity")
    assert main(["verify", trial.id[:8], "--results", str(results), "--executor", "inline"]) == 0
    assert "bitwise the same" in capsys.readouterr().out
    assert main(["verify", "--results", str(results)]) == 2


def test_each_sweep_that_has_rows_of_a_trial_is_verified(results: Path) -> None:
    trial = trial_of(results, "identity")
    rows = [row | {"sweep": "twin"} for row in Store(results).trial_rows("pairs", trial.id)]
    Store(results).write_rows(rows, replace(trial, sweep="twin").to_record())
    status, printed = verify(results, trial.id)
    assert status == 0
    assert "2 of 2 trials" in printed
