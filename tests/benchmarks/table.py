"""Writes what was measured last into README.md and docs/measured.md, between their markers.

    python -m tests.benchmarks.table               # from the references, measured/0000_*.json
    python -m tests.benchmarks.table SAVED.json    # one of which that saved run becomes first

There is a reference of a CPU and, once a run with BENCH_DEVICE=cuda has become it, one of a GPU, whose tables follow.
`tox -e benchmarks` says where it has saved a run, and compares with the one before, or else with the CPU's reference.
"""

from __future__ import annotations

import argparse
import ast
import json
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path("tests/benchmarks/measured/0000_reference.json")
GPU_REFERENCE = REFERENCE.with_name("0000_gpu_reference.json")
"""Of a name before the other's, since what is saved last in this order is what runs are compared with."""
BEGIN, END = "<!-- measured; written by python -m tests.benchmarks.table -->", "<!-- end of measured -->"

LOOP = "tests/benchmarks/bench_peers_w2gn.py::test_updates_beside_the_authors_loop"
PACKED = "tests/benchmarks/bench_peers_w2gn.py::test_eight_packed_seeds_beside_the_authors_loop"
COMPILED = "tests/benchmarks/bench_peers_w2gn.py::test_compiled_updates_beside_the_authors_loop"
GPU_PACKED = "tests/benchmarks/bench_peers_w2gn.py::test_sixteen_packed_seeds_beside_the_authors_loop"
TRAINER = "tests/benchmarks/bench_peers_pythae.py::test_updates_beside_pythaes_trainer"
COMPILED_BESIDE_TRAINER = "tests/benchmarks/bench_peers_pythae.py::test_compiled_updates_beside_pythaes_trainer"
BFLOAT16 = "tests/benchmarks/bench_peers_pythae.py::test_updates_in_bfloat16_beside_pythaes_trainer"
HEADLINES = {
    f"{LOOP}[8-1]": ("W2GN, D = 8, one thread", "its authors' loop"),
    f"{LOOP}[16-1]": ("W2GN, D = 16, one thread", "its authors' loop"),
    f"{LOOP}[64-1]": ("W2GN, D = 64, one thread", "its authors' loop"),
    f"{LOOP}[256-1]": ("W2GN, D = 256, one thread", "its authors' loop"),
    f"{COMPILED}[64]": ("W2GN, D = 64, one thread, compiled", "its authors' loop"),
    f"{PACKED}[8]": ("W2GN, D = 8, one of eight packed seeds, two threads", "its authors' loop, two threads"),
    f"{PACKED}[16]": ("W2GN, D = 16, one of eight packed seeds, two threads", "its authors' loop, two threads"),
    f"{TRAINER}[wae-mmd-pythae-mlp-28x28]": ("WAE-MMD, 28×28, pythae's MLP", "pythae's trainer"),
    f"{TRAINER}[wae-mmd-conv-28x28]": ("WAE-MMD, 28×28, convolutional", "pythae's trainer"),
    f"{TRAINER}[wae-mmd-conv-64x64]": ("WAE-MMD, 64×64, convolutional", "pythae's trainer"),
    f"{TRAINER}[beta-vae-pythae-mlp-28x28]": ("β-VAE, 28×28, pythae's MLP", "pythae's trainer"),
    f"{TRAINER}[beta-vae-conv-28x28]": ("β-VAE, 28×28, convolutional", "pythae's trainer"),
    f"{TRAINER}[beta-vae-conv-64x64]": ("β-VAE, 64×64, convolutional", "pythae's trainer"),
    f"{COMPILED_BESIDE_TRAINER}[wae-mmd-conv-28x28]": ("WAE-MMD, 28×28, convolutional, compiled", "pythae's trainer"),
    f"{COMPILED_BESIDE_TRAINER}[beta-vae-conv-28x28]": ("β-VAE, 28×28, convolutional, compiled", "pythae's trainer"),
    f"{BFLOAT16}[beta-vae-conv-28x28]": ("β-VAE, 28×28, convolutional, in bfloat16", "pythae's trainer, in float32"),
    f"{BFLOAT16}[beta-vae-conv-64x64]": ("β-VAE, 64×64, convolutional, in bfloat16", "pythae's trainer, in float32"),
}
"""What the README shows: a benchmark's name, one update of what, beside what."""
GPU_HEADLINES = {
    **{name: (update.removesuffix(", one thread"), peer) for name, (update, peer) in HEADLINES.items()},
    **{f"{COMPILED}[{dim}]": (f"W2GN, D = {dim}, compiled", "its authors' loop") for dim in (8, 16, 64, 256)},
    **{
        f"{GPU_PACKED}[{dim}]": (f"W2GN, D = {dim}, one of sixteen packed seeds", "its authors' loop")
        for dim in (8, 16, 64)
    },
}
"""The same of a GPU; what is measured on a CPU alone is left out with all else that its reference lacks."""

Results = dict[str, Any]
"""`machine_info`, and `benchmarks` as a list, as conftest.py has them saved."""


def pages(root: Path = ROOT) -> dict[Path, str]:
    """The files that show results, with their text as it should be.

    Raises:
        ValueError: a file lacks the markers.
    """
    references = [path for path in (root / REFERENCE, root / GPU_REFERENCE) if path.exists()]
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in references]
    blocks = {
        root / "README.md": [headlines(results) for results in runs],
        root / "docs" / "measured.md": [suites(results, root) for results in runs],
    }
    return {path: between_markers(path, "\n\n".join(parts)) for path, parts in blocks.items()}


def between_markers(path: Path, block: str) -> str:
    head, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} lacks one of the lines {BEGIN} and {END}")
    return f"{head}{begin}\n{block}\n{end}{tail}"


def headlines(results: Results) -> str:
    measured = {each["fullname"]: each["extra_info"] for each in results["benchmarks"]}
    shown = GPU_HEADLINES if of_gpu(results) else HEADLINES
    rows = [[update, peer, times_as_fast(measured[name])] for name, (update, peer) in shown.items() if name in measured]
    return f"{machine(results)}\n\n" + markdown(["one update", "beside", "times as fast"], rows)


def suites(results: Results, root: Path) -> str:
    """A table for each file of benchmarks, under the first line of its docstring."""

    def file(benchmark: dict[str, Any]) -> str:
        return benchmark["fullname"].partition("::")[0]

    parts = [machine(results)]
    for name, benchmarks in groupby(sorted(results["benchmarks"], key=file), key=file):
        docstring = ast.get_docstring(ast.parse((root / name).read_text(encoding="utf-8"))) or ""
        parts += [f"### {Path(name).stem}", docstring.partition("\n")[0], table(list(benchmarks))]
    return "\n\n".join(parts)


def of_gpu(results: Results) -> bool:
    return "gpu" in results["machine_info"]


def machine(results: Results) -> str:
    info = results["machine_info"]
    hardware = f"{info['processor']}, {info['cores']} cores"
    if of_gpu(results):
        hardware = f"{info['gpu']} (CUDA {info['cuda']}), {hardware}"
    return f"Machine: {hardware}, {info['system']}; Python {info['python']}, torch {info['torch']}."


def table(suite: list[dict[str, Any]]) -> str:
    """Of one suite, whose benchmarks have the same extra_info."""
    if "times_as_fast" in suite[0]["extra_info"]:
        header = ["", "updates a second", "the peer's", "times as fast"]
        rows = []
        for each in suite:
            extra = each["extra_info"]
            speeds = significant(extra["steps_a_second"]), significant(extra["peer_steps_a_second"])
            rows.append([label(each), *speeds, times_as_fast(extra)])
        return markdown(header, rows)
    extras = list(suite[0]["extra_info"])
    header = ["", "median", "quartiles", "rounds", *(name.replace("_", " ") for name in extras)]
    rows = []
    for each in suite:
        stats = each["stats"]
        quartiles = f"{seconds(stats['q1'])} to {seconds(stats['q3'])}" if stats["rounds"] > 1 else ""
        numbers = [significant(each["extra_info"][name]) for name in extras]
        rows.append([label(each), seconds(stats["median"]), quartiles, str(stats["rounds"]), *numbers])
    return markdown(header, rows)


def label(benchmark: dict[str, Any]) -> str:
    """`test_epoch_of_torchvision[2]` is "epoch of torchvision, 2"."""
    test, _, case = benchmark["fullname"].rpartition("::")[2].removesuffix("]").partition("[")
    words = test.removeprefix("test_").replace("_", " ")
    return f"{words}, {case}" if case else words


def times_as_fast(extra_info: dict[str, Any]) -> str:
    low, high = extra_info["quartiles"]
    return f"{extra_info['times_as_fast']:.2f} ({low:.2f} to {high:.2f})"


def seconds(value: float) -> str:
    """Three significant digits, in the largest unit of which it is at least one."""
    value = float(f"{value:.3g}")
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{significant(value / size)} {unit}"
    return f"{significant(value / 1e-9)} ns"


def significant(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.12g}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def keep(run: Path, root: Path = ROOT) -> None:
    """Makes a saved run the reference of a CPU or of a GPU, with a benchmark a line, so that another result is another
    line."""
    results = json.loads(run.read_text(encoding="utf-8"))
    info, *lines = (json.dumps(each, ensure_ascii=False) for each in (results["machine_info"], *results["benchmarks"]))
    text = f'{{"machine_info": {info},\n"benchmarks": [\n' + ",\n".join(lines) + "\n]}\n"
    (root / (GPU_REFERENCE if of_gpu(results) else REFERENCE)).write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "saved", type=Path, nargs="?", help="a saved run, which becomes the reference of a CPU or of a GPU"
    )
    options = parser.parse_args()
    if options.saved:
        keep(options.saved)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
