"""What merging does with the files beside a trial's rows, and with files that no harness wrote."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.cli import main
from bench.storage.metadata import plan_name
from bench.storage.store import Store
from tests.merged_folders import X, Y, Z, add, contents, merge


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "a", tmp_path / "b"


def picture(folder: Path, trial_id: str = X) -> str:
    return Store(folder).artifacts(trial_id)["samples.png"].read_text()


def test_curves_and_artifacts_are_not_replaced_by_none(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    out, (a, _) = tmp_path / "out", machines
    add(out, X, {"mse": 1.0}, hour=5)
    add(a, X, {"mse": 1.0}, hour=0)
    for name in ("artifacts", "curves"):
        shutil.rmtree(a / name)
    before = contents(out)
    assert merge(out, a)[0] == 0
    assert contents(out) == before


def test_of_the_same_numbers_the_run_that_has_its_curves_and_artifacts_is_kept(
    tmp_path: Path, machines: tuple[Path, Path]
) -> None:
    a, b = machines
    add(a, X, {"mse": 1.0}, hour=0)
    add(b, X, {"mse": 1.0}, hour=5)
    for name in ("artifacts", "curves"):
        shutil.rmtree(a / name)
    assert merge(tmp_path / "out", a, b)[0] == 0
    assert contents(tmp_path / "out") == contents(b)
    add(tmp_path / "there", X, {"mse": 1.0}, hour=9)
    shutil.rmtree(tmp_path / "there" / "curves")
    assert merge(tmp_path / "there", b)[0] == 0
    assert contents(tmp_path / "there") == contents(b)


def test_a_trial_that_failed_in_another_sweep_leaves_the_artifacts_of_the_one_that_ended_ok(
    tmp_path: Path, machines: tuple[Path, Path]
) -> None:
    a, b = machines
    add(a, X, {"mse": 1.0}, hour=1, sweep="first")
    add(b, X, {}, hour=2, sweep="second", status="failed")
    for artifacts_too in (True, False):
        out = tmp_path / f"out{artifacts_too}"
        if not artifacts_too:
            shutil.rmtree(b / "artifacts")
        for _ in range(2):
            assert merge(out, a, b)[0] == 0
            assert [Store(out).status(sweep, X) for sweep in ("first", "second")] == ["ok", "failed"]
            assert picture(out) == "1"


def test_artifacts_of_a_trial_in_two_sweeps_come_from_the_run_that_started_first_and_stay(
    tmp_path: Path, machines: tuple[Path, Path]
) -> None:
    a, b = machines
    add(a, X, {"mse": 1.0}, hour=2, sweep="first")
    add(b, X, {"mse": 2.0}, hour=1, sweep="second")
    for order in ((a, b), (b, a)):
        out = tmp_path / f"from {order[0].name}"
        status, printed = merge(out, *order)
        assert status == 0
        assert f"1 trials have other numbers in one sweep than in another: {X[:12]}" in printed
        assert picture(out) == "1"
        before = contents(out)
        merge(out, b, a)
        assert contents(out) == before


def test_curves_of_a_run_that_failed_do_not_stand_beside_the_rows_of_another(
    tmp_path: Path, machines: tuple[Path, Path]
) -> None:
    out, (a, _) = tmp_path / "out", machines
    add(out, X, {}, hour=0, status="failed")
    add(a, X, {"mse": 1.0}, hour=5)
    shutil.rmtree(a / "curves")
    merge(out, a)
    assert Store(out).status("s", X) == "ok"
    assert Store(out).read_curves([X]).empty


def test_a_plan_cannot_lead_out_of_the_folder(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    a, _ = machines
    add(a, X, {"mse": 1.0})
    victim = tmp_path / "victim" / "settings-user.json"
    victim.parent.mkdir()
    victim.write_text("precious")
    record = {"trial_id": Y, "sweep": "s", "scale": "quick"}
    plans = {
        "x.json": {"sweep": "../../victim/settings", "scale": "user", "trials": {Y: record}},
        "other.json": {"sweep": "s", "scale": "quick", "trials": {Y: record}},
        "id-quick.json": {"sweep": "id", "scale": "quick", "trials": {"../../victim": record}},
        "record-quick.json": {"sweep": "record", "scale": "quick", "trials": {Y: {**record, "sweep": "../../victim"}}},
        "odd-quick.json": {"sweep": "odd", "scale": "quick", "trials": {Y: 5}},
    }
    for name, plan in plans.items():
        (a / "plans" / name).write_text(json.dumps(plan))
    status, printed = merge(tmp_path / "out", a)
    assert status == 0
    for name in plans:
        assert f"{name}: not a readable plan" in printed
    assert victim.read_text() == "precious"
    assert {path.name for path in tmp_path.rglob("*.json")} == {
        plan_name("s", "quick", [X]),
        "settings-user.json",
        *plans,
    }
    assert Store(tmp_path / "out").read().planned == {("s", "quick"): [X]}


def test_a_row_file_s_own_words_cannot_lead_out_of_the_folder(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    a, _ = machines
    add(a, X, {"mse": 1.0})
    rows = a / "rows" / "s" / f"{X}.parquet"
    table = pq.read_table(rows, partitioning=None)
    evil = {"trial": json.dumps({"trial_id": Y, "sweep": "../../victim", "scale": "quick"})}
    pq.write_table(table.replace_schema_metadata(evil), rows.with_name(f"{Y}.parquet"))
    columns = {name: table[name].to_pylist()[0] for name in ("schema_version", "scale", "status")}
    outside = {**columns, "sweep": "../../victim", "trial_id": Z}
    pq.write_table(pa.Table.from_pylist([outside], schema=table.schema), rows.with_name(f"{Z}.parquet"))
    add(a, "short", {"mse": 1.0})
    _, printed = merge(tmp_path / "out", a)
    assert f"{Y}.parquet: not a file of ours, its record of the trial is not one of ours" in printed
    assert f"{Z}.parquet: not a file of ours, its sweep, scale or trial is no plain name" in printed
    assert "short.parquet: it is not named after a trial" in printed
    assert [path.stem for path in (tmp_path / "out" / "rows").rglob("*.parquet")] == [X]


def test_symbolic_links_are_named_and_not_followed(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    a, b = machines
    secret = tmp_path / "secret"
    secret.write_text("secret")
    add(a, X, {"mse": 1.0})
    add(a, Y, {"mse": 1.0})
    add(b, Y, {"mse": 1.0})
    add(b, Y, {"mse": 1.0}, sweep="t")
    links = {
        Path("artifacts", X, "weights.safetensors"): secret,
        Path("curves", "s", f"{X}.parquet"): secret,
        Path("rows", "s", f"{Y}.parquet"): b / "rows" / "s" / f"{Y}.parquet",
        Path("rows", "t"): b / "rows" / "t",
        Path("plans", "t-quick.json"): b / "plans" / "t-quick.json",
    }
    for path, target in links.items():
        (a / path).unlink(missing_ok=True)
        os.symlink(target, a / path)
    status, printed = merge(tmp_path / "out", a)
    assert status == 0
    for path in links:
        (line,) = [line for line in printed.splitlines() if line.startswith(f"skipped {a / path}: ")]
        assert "a symbolic link" in line
    planned = {f"plans/{plan_name('s', 'quick', [trial_id])}" for trial_id in (X, Y)}
    expected = {f"rows/s/{X}.parquet", f"artifacts/{X}/samples.png", *planned}
    assert contents(tmp_path / "out").keys() == expected


def test_a_folder_among_artifacts_is_named_and_the_merge_goes_on(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    a, _ = machines
    for trial_id in (X, Y):
        add(a, trial_id, {"mse": 1.0})
    (a / "artifacts" / X / "extra").mkdir()
    status, printed = merge(tmp_path / "out", a)
    assert status == 0
    assert "extra: a folder or a symbolic link, which is not copied" in printed
    assert contents(tmp_path / "out") == contents(a)


def test_an_unreadable_plan_in_the_folder_is_kept_and_named(tmp_path: Path, machines: tuple[Path, Path]) -> None:
    out, (a, _) = tmp_path / "out", machines
    add(out, X, {"mse": 1.0})
    add(a, Y, {"mse": 1.0})
    (plan,) = (out / "plans").iterdir()
    half = plan.read_text()[:-5]
    plan.write_text(half)
    assert merge(out, a)[0] == 0
    assert plan.read_text() == half
    found = Store(out).read()
    assert found.planned == {("s", "quick"): [Y]}
    assert [str(plan) in problem for problem in found.problems] == [True]


def test_a_record_that_does_not_say_what_was_run_is_told_by_show(
    machines: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    a, _ = machines
    add(a, X, {"mse": 1.0})
    assert main(["show", X[:8], "--results", str(a)]) == 2
    assert f"the record of {X} in {a} does not say what was run" in capsys.readouterr().err


@pytest.mark.parametrize("metadata", [{"members": "[1]"}, {"trial": "[]"}, {"trial": "5"}, {"members": '{"../x": ""}'}])
def test_rows_with_other_metadata_are_named_and_stop_no_verb(
    metadata: dict[str, str], tmp_path: Path, machines: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    a, _ = machines
    add(a, X, {"mse": 1.0})
    rows = a / "rows" / "s" / f"{X}.parquet"
    table = pq.read_table(rows, partitioning=None)
    pq.write_table(table.replace_schema_metadata(metadata), rows.with_name(f"{Y}.parquet"))
    status, printed = merge(tmp_path / "out", a)
    assert status == 0
    assert f"{Y}.parquet: not a file of ours, its " in printed
    assert main(["show", Y, "--results", str(a)]) == 2
    assert f'no trial "{Y}"' in capsys.readouterr().err
    assert main(["report", "--results", str(a), "--out", str(tmp_path / "reports")]) == 0
    assert f"{Y}.parquet: not a file of ours" in (tmp_path / "reports" / "index.html").read_text()
