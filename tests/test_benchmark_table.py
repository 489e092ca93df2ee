"""What benchmarks save, and the tables made of it."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.table import (
    BEGIN,
    END,
    GPU_HEADLINES,
    GPU_PACKED,
    GPU_REFERENCE,
    HEADLINES,
    REFERENCE,
    ROOT,
    keep,
    pages,
    seconds,
)

TIMED = "tests/benchmarks/bench_things.py::test_a_thing[small|1]"
RACED = next(iter(HEADLINES))
STATS = {"median": 0.0123456, "q1": 0.0119, "q3": 0.0131, "rounds": 5}
MACHINE = {"processor": "Abacus", "cores": 10, "system": "Wood", "python": "3.11.7", "torch": "2.6.0"}
GPU = {"gpu": "Calculator", "cuda": "12.8"}
RACE = {"steps_a_second": 1234.5, "peer_steps_a_second": 613.2, "times_as_fast": 2.013, "quartiles": [1.95, 2.1]}


def benchmark(fullname: str, **values: Any) -> dict[str, Any]:
    return {"fullname": fullname, "extra_info": {}, "stats": STATS, **values}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository whose pages have markers and no results yet."""
    for name in ("README.md", "docs/measured.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    (tmp_path / REFERENCE).parent.mkdir(parents=True)
    for name in ("bench_things", "bench_peers_w2gn"):
        (tmp_path / f"tests/benchmarks/{name}.py").write_text(f'"""Seconds of {name}.\n\nMore.\n"""\n')
    return tmp_path


def render(root: Path, *benchmarks: dict[str, Any], **hardware: str) -> tuple[str, str]:
    """What the README and docs/measured.md say after a run is kept; twice, which must change nothing."""
    run = root / "run.json"
    run.write_text(json.dumps({"machine_info": MACHINE | hardware, "benchmarks": benchmarks}))
    keep(run, root)
    for _ in range(2):
        texts = pages(root)
        for path, text in texts.items():
            path.write_text(text)
    assert pages(root) == texts
    assert all(text.startswith("before\n") and text.endswith("\nafter\n") for text in texts.values())
    return texts[root / "README.md"], texts[root / "docs/measured.md"]


def test_each_suite_has_a_table_under_its_docstring_and_the_machine_is_named(root: Path) -> None:
    once = benchmark("tests/benchmarks/bench_things.py::test_b", stats=STATS | {"rounds": 1})
    _, docs = render(root, benchmark(TIMED), benchmark(RACED, extra_info=RACE), once)
    expected = rf"""{BEGIN}
Machine: Abacus, 10 cores, Wood; Python 3.11.7, torch 2.6.0.

### bench_peers_w2gn

Seconds of bench_peers_w2gn.

|  | updates a second | the peer's | times as fast |
| --- | --- | --- | --- |
| updates beside the authors loop, 8-1 | 1,230 | 613 | 2.01 (1.95 to 2.10) |

### bench_things

Seconds of bench_things.

|  | median | quartiles | rounds |
| --- | --- | --- | --- |
| a thing, small\|1 | 12.3 ms | 11.9 ms to 13.1 ms | 5 |
| b | 12.3 ms |  | 1 |
{END}"""
    assert expected in docs


def test_other_numbers_that_a_suite_notes_are_columns(root: Path) -> None:
    _, docs = render(root, benchmark(TIMED, extra_info={"updates_a_second": 81.0004}))
    assert "| rounds | updates a second |" in docs
    assert "| 5 | 81 |" in docs


def test_the_readme_has_the_headlines_and_leaves_out_what_was_not_measured(root: Path) -> None:
    readme, _ = render(root, benchmark(TIMED), benchmark(RACED, extra_info=RACE))
    assert "old" not in readme
    assert "Abacus, 10 cores" in readme
    assert [line for line in readme.splitlines() if line.startswith("|")] == [
        "| one update | beside | times as fast |",
        "| --- | --- | --- |",
        "| W2GN, D = 8, one thread | its authors' loop | 2.01 (1.95 to 2.10) |",
    ]


def test_a_run_on_a_gpu_has_tables_of_its_own_after_those_of_the_cpu(root: Path) -> None:
    slow, fast = RACE | {"times_as_fast": 1.5}, RACE | {"times_as_fast": 9.0}
    packed = benchmark(f"{GPU_PACKED}[8]", extra_info=RACE)
    render(root, benchmark(TIMED), benchmark(RACED, extra_info=slow))
    before = (root / REFERENCE).read_text()
    readme, docs = render(root, benchmark(RACED, extra_info=fast), packed, **GPU)
    assert (root / REFERENCE).read_text() == before
    assert [line for line in readme.splitlines() if line.startswith(("|", "Machine"))] == [
        "Machine: Abacus, 10 cores, Wood; Python 3.11.7, torch 2.6.0.",
        "| one update | beside | times as fast |",
        "| --- | --- | --- |",
        "| W2GN, D = 8, one thread | its authors' loop | 1.50 (1.95 to 2.10) |",
        "Machine: Calculator (CUDA 12.8), Abacus, 10 cores, Wood; Python 3.11.7, torch 2.6.0.",
        "| one update | beside | times as fast |",
        "| --- | --- | --- |",
        "| W2GN, D = 8 | its authors' loop | 9.00 (1.95 to 2.10) |",
        "| W2GN, D = 8, one of sixteen packed seeds | its authors' loop | 2.01 (1.95 to 2.10) |",
    ]
    cpu, _, gpu = docs.partition("Machine: Calculator")
    assert "### bench_things" in cpu
    assert "1.50 (" in cpu
    assert "### bench_things" not in gpu
    assert "9.00 (" in gpu
    readme, _ = render(root, benchmark(RACED, extra_info=fast))
    assert readme.count("9.00 (") == 2, "another reference of the CPU leaves the GPU's"


def test_a_page_without_markers_is_named(root: Path) -> None:
    (root / "README.md").write_text(f"before\n{BEGIN}\n")
    with pytest.raises(ValueError, match=r"README\.md lacks .*end of measured"):
        render(root, benchmark(TIMED))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1234.5, "1,230 s"), (1.004, "1 s"), (0.99996, "1 s"), (0.9994, "999 ms"), (2.346e-5, "23.5 µs"), (4e-8, "40 ns")],
)
def test_seconds_have_three_digits_and_a_unit(value: float, expected: str) -> None:
    assert seconds(value) == expected


def test_the_pages_show_the_reference() -> None:
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, "run python -m tests.benchmarks.table"


def test_references_have_the_headlines_and_only_benchmarks_that_exist() -> None:
    def names(path: Path) -> list[str]:
        return [each["fullname"] for each in json.loads((ROOT / path).read_text(encoding="utf-8"))["benchmarks"]]

    assert set(HEADLINES) <= set(names(REFERENCE))
    on_gpu = names(GPU_REFERENCE) if (ROOT / GPU_REFERENCE).exists() else []
    for name in {*GPU_HEADLINES, *names(REFERENCE), *on_gpu}:
        file, _, test = name.partition("::")
        assert f"\ndef {test.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8"), name


SUITE = """
import pytest

@pytest.mark.parametrize("what", ["one", "two"])
def test_nothing(benchmark, what):
    benchmark.extra_info["operations"] = 1 / 3
    benchmark.pedantic(int, rounds=2)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """That of the benchmarks of a repository which has one file of them."""
    folder = tmp_path / "tests" / "benchmarks"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "tests/benchmarks/conftest.py", folder)
    (folder / "bench_nothing.py").write_text(SUITE)
    return folder


def run_tox(folder: Path, *selected: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command of tox.ini."""
    ini = configparser.ConfigParser()
    ini.read(ROOT / "tox.ini")
    command = ini["testenv:benchmarks"]["commands"].replace("\\", "").replace("{posargs}", "").split()
    return subprocess.run(
        [sys.executable, *command[1:], *selected],
        cwd=folder.parents[1],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def saved_runs(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("000*.json"))]


def test_a_run_is_saved_without_who_and_where_and_compared_with_the_last(folder: Path) -> None:
    """First with nothing to compare with, then with the same; then a part of it, after a run on a GPU."""

    def run(*selected: str) -> str:
        done = run_tox(folder, *selected)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "NOW" not in run()
    second = run()
    assert "test_nothing[two] (NOW)" in second
    assert "test_nothing[two] (0001_" in second
    *_, cpu = saved_runs(folder)
    on_gpu = [each | {"commit": "that of the GPU's run"} for each in cpu["benchmarks"]]
    (path,) = folder.rglob("0002_*.json")
    gpu = {"machine_info": cpu["machine_info"] | GPU, "benchmarks": on_gpu}
    path.with_name("0003_gpu.json").write_text(json.dumps(gpu))
    assert "test_nothing[two] (0003_" in run("-k", "two")

    saved = saved_runs(folder)
    assert [len(run["benchmarks"]) for run in saved] == [2, 2, 2, 2]
    assert saved[3]["benchmarks"][0] == saved[1]["benchmarks"][0], "what was not measured again is the CPU's last"
    assert set(saved[0]) == {"machine_info", "benchmarks"}
    assert set(saved[0]["machine_info"]) == set(MACHINE)
    (first, _) = saved[0]["benchmarks"]
    assert first["fullname"] == "tests/benchmarks/bench_nothing.py::test_nothing[one]"
    assert first["extra_info"] == {"operations": 0.33333}
    assert "data" not in first["stats"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cuda", "sees no GPU: see whether nvidia-smi"), ("tpu", "BENCH_DEVICE is tpu: it must be cpu or cuda")],
)
def test_a_device_that_is_not_there_is_said_and_nothing_is_measured(folder: Path, name: str, expected: str) -> None:
    done = run_tox(folder, BENCH_DEVICE=name, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert expected in done.stdout
    assert saved_runs(folder) == []
