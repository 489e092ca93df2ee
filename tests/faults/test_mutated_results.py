"""1,000 damaged result files: no verb fails for them, the sound ones are all in the report, the damaged ones named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.storage.result_files import read_row_file
from bench.storage.store import Store
from tests.faults.command_lines import run_command_lines
from tests.faults.damaged_results import damage, write_results

FILES = 50
"""Damaged in a folder of some 80 trials: rows, curves, points, pictures, plans and the list of conflicts."""
BATCHES = range(20)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    root = tmp_path_factory.mktemp("sound") / "results"
    return root, write_results(root)


@pytest.mark.parametrize("batch", [pytest.param(k, marks=pytest.mark.slow if k else ()) for k in BATCHES])
def test_of_1000_damaged_result_files_none_gives_a_traceback_and_sound_ones_stay_in_the_report(
    batch: int, sound: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    """20 folders with 50 damaged files each; the first alone unless slow tests run too."""
    original, values = sound
    root = tmp_path / "results"
    shutil.copytree(original, root)
    shutil.copy(original.with_name("sweeps.toml"), tmp_path)
    rng = np.random.default_rng([9, batch])
    files = sorted(path for path in root.rglob("*") if path.is_file())
    how = {files[k]: damage(files[k], rng) for k in rng.choice(len(files), FILES, replace=False)}
    rows = {path.stem: path for path in how if path.parts[-3] == "rows"}
    read = Store(root).read()
    intact = [trial_id for trial_id in values if trial_id not in rows]
    damaged = [trial_id for trial_id in values if trial_id in rows]

    found = read.rows.drop_duplicates("trial_id").set_index("trial_id")["value"]
    assert {trial_id: found[trial_id] for trial_id in intact} == {trial_id: values[trial_id] for trial_id in intact}
    before = Store(original).read().rows
    for path in rows.values():
        if how[path] == "bytes" and not any(str(path) in problem for problem in read.problems):
            kept, now = (read_row_file(at).table for at in (original / path.relative_to(root), path))
            assert now.equals(kept), f"{path}: other rows, and no word"

    results, sweeps = ["--results", str(root)], str(tmp_path / "sweeps.toml")
    lines = [
        ["report", *results, "--out", str(tmp_path / "reports")],
        ["report", *results, "--out", str(tmp_path / "compared"), "--compare", str(original)],
        ["show", intact[0], *results],
        *(["show", trial_id, *results] for trial_id in damaged[:15]),
        ["merge", str(root), "--out", str(tmp_path / "merged")],
        ["merge", str(original), str(root), "--out", str(tmp_path / "both")],
        ["run", sweeps, "--dry-run", *results],
        *(["run", sweeps, "--dry-run", "--only", trial_id, *results] for trial_id in damaged[:5]),
        ["run", sweeps, "--dry-run", *results[:1], str(tmp_path / "merged")],
        ["doctor", *results],
        ["doctor", "--repair", *results],
        ["report", *results, "--out", str(tmp_path / "repaired")],
    ]
    for line, answer in zip(lines, run_command_lines(lines, tmp_path), strict=True):
        assert not answer.traceback, f"{line}\n{answer.traceback}"
        assert answer.status in (0, 1, 2), line
        if line[0] == "report":
            assert answer.status == 0, answer.messages
        if answer.status == 2:
            assert answer.messages.startswith("error: "), line
        told = "".join((answer.output + answer.messages).splitlines())
        assert told.isprintable(), f"{line}: {told!r}"

    entrance = (tmp_path / "reports" / "index.html").read_text()
    for path, kind in how.items():
        if kind == "bytes" and path.stem in rows and any(str(path) in problem for problem in read.problems):
            assert path.name in entrance
    unplanned = {path.stem for path in how if path.parent.name == "plans"}
    for trial_id in intact:
        if f"{before.set_index('trial_id')['sweep'][trial_id]}" not in "".join(unplanned):
            assert f"{values[trial_id]:.6g}" in (tmp_path / "reports" / "trials" / f"{trial_id}.html").read_text()
