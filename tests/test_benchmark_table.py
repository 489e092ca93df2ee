"""What benchmarks save, and the tables made of it."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.table import BEGIN, END, HEADLINES, REFERENCE, ROOT, keep, pages, seconds

TIMED = "tests/benchmarks/bench_things.py::test_a_thing[small|1]"
RACED = next(iter(HEADLINES))
STATS = {"median": 0.0123456, "q1": 0.0119, "q3": 0.0131, "rounds": 5}
MACHINE = {"processor": "Abacus", "cores": 10, "system": "Wood", "python": "3.11.7", "torch": "2.6.0"}
RACE = {"steps_a_second": 1234.5, "peer_steps_a_second": 613.2, "times_as_fast": 2.013, "quartiles": [1.95, 2.1]}


def benchmark(fullname: str, **values: Any) -> dict[str, Any]:
    return {"fullname": fullname, "extra_info": {}, "stats": STATS, **values}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository whose pages have markers and no results yet."""
    for name in ("README.md", "docs/speed.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    (tmp_path / REFERENCE).parent.mkdir(parents=True)
    for name in ("bench_things", "bench_peers_w2gn"):
        (tmp_path / f"tests/benchmarks/{name}.py").write_text(f'"""Seconds of {name}.\n\nMore.\n"""\n')
    return tmp_path


def render(root: Path, *benchmarks: dict[str, Any]) -> tuple[str, str]:
    """What the README and docs/speed.md say after a run is kept; twice, which must change nothing."""
    run = root / "run.json"
    run.write_text(json.dumps({"machine_info": MACHINE, "benchmarks": benchmarks}))
    keep(run, root)
    for _ in range(2):
        texts = pages(root)
        for path, text in texts.items():
            path.write_text(text)
    assert pages(root) == texts
    assert all(text.startswith("before\n") and text.endswith("\nafter\n") for text in texts.values())
    return texts[root / "README.md"], texts[root / "docs/speed.md"]


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


def test_the_reference_has_the_headlines_and_only_benchmarks_that_exist() -> None:
    names = [each["fullname"] for each in json.loads((ROOT / REFERENCE).read_text(encoding="utf-8"))["benchmarks"]]
    assert set(HEADLINES) <= set(names)
    for name in names:
        file, _, test = name.partition("::")
        assert f"\ndef {test.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8"), name


SUITE = """
import pytest

@pytest.mark.parametrize("what", ["one", "two"])
def test_nothing(benchmark, what):
    benchmark.extra_info["operations"] = 1 / 3
    benchmark.pedantic(int, rounds=2)
"""


def test_a_run_is_saved_without_who_and_where_and_compared_with_the_last(tmp_path: Path) -> None:
    """By the command of tox.ini: first with nothing to compare with, then with the same, then with a part of it."""
    folder = tmp_path / "tests" / "benchmarks"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "tests/benchmarks/conftest.py", folder)
    (folder / "bench_nothing.py").write_text(SUITE)
    ini = configparser.ConfigParser()
    ini.read(ROOT / "tox.ini")
    command = ini["testenv:benchmarks"]["commands"].replace("\\", "").replace("{posargs}", "").split()
    outputs = []
    for selected in ([], [], ["-k", "two"]):
        done = subprocess.run([sys.executable, *command[1:], *selected], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        outputs.append(done.stdout)
    assert "NOW" not in outputs[0]
    assert "test_nothing[two] (NOW)" in outputs[1]
    assert "test_nothing[two] (0001_" in outputs[1]
    assert "test_nothing[two] (0002_" in outputs[2]
    saved = [json.loads(path.read_text()) for path in sorted(folder.rglob("000*.json"))]
    assert [len(run["benchmarks"]) for run in saved] == [2, 2, 2]
    assert saved[2]["benchmarks"][0] == saved[1]["benchmarks"][0]
    assert set(saved[0]) == {"machine_info", "benchmarks"}
    assert set(saved[0]["machine_info"]) == set(MACHINE)
    (first, _) = saved[0]["benchmarks"]
    assert first["fullname"] == "tests/benchmarks/bench_nothing.py::test_nothing[one]"
    assert first["extra_info"] == {"operations": 0.33333}
    assert "data" not in first["stats"]
