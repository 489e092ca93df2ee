"""What the command line understands: the verbs, their options, and what their help says."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path

EPILOG = """\
exit status:
  0    every planned trial is ok
  1    some trial failed, diverged, timed out or was lost; its row says why
  2    nothing was run: a mistake in sweeps.toml, a filter that matches nothing, a folder that cannot be written
  130  interrupted; the same command goes on where it stopped
"""

TUNE_EPILOG = """\
What is searched stands in sweeps.toml under [sweep.NAME.tuning]; docs/tuning.md tells how. Trials of searches lie apart
from the rows, in tuning/ of the results folder. Those that have ended are not run again; then the sweep's own setting
and the one that won are run with all seeds of the sweep, as by `run`.

exit status: that of `run`; also 1 where of a search no trial came to its end
"""

REPRODUCE_EPILOG = """\
The trials are those of the sweeps that say published = "PAPER/TABLE", as far as the table has their dataset, method and
hyperparameters; finished ones do not run again. For instance, on a laptop:

  python -m bench reproduce w2gn/gaussians --where "dim<=64" --cpu

exit status: that of `run`, whatever the verdicts
"""

PREPARE_EPILOG = """\
Datasets named alone have their default options; those of a sweep have the sweep's. A download that breaks off goes on
where it stopped when the command is given again.

exit status:
  0  all are ready
  1  some are not; the lines say why
  2  no dataset or sweep of that name
"""

VERIFY_EPILOG = """\
A trial is run from the record among its rows, whatever sweeps.toml says now, into a temporary folder (on a cluster,
point TMPDIR to a file system that all nodes share). Compared are the values of its metrics and its training curves, not
its times, and not metrics across seeds. Where method, dataset or metric have another version by now, it says so and
compares nothing. What differs in the environment is printed, as it may explain a difference in numbers.

exit status:
  0    all came out bitwise the same
  1    some did not, or could not be compared; the lines say why
  2    nothing was run: no such trial
  130  interrupted
"""

DOCTOR_EPILOG = """\
With --repair, a trial's file under another name goes to its own, a damaged one is written anew if compact/ has a copy
of it as it was last written, and what no reader uses goes to quarantine/ in the results folder, under the path it had.
Files younger than an hour that a run may still be busy with are left alone. The next `run` runs those trials again
whose rows were damaged.

exit status:
  0  nothing wrong, or all put right
  1  something is wrong; the lines say what
"""

MERGE_EPILOG = """\
Nothing in the folders named is changed; --out may be a results folder already, and what it holds takes part. Of runs of
a trial with the same numbers one is kept: one with curves and artifacts, and of such the one that started first. Of
runs with different numbers all are: the one that started first among the rows, the others in conflicts/1, conflicts/2,
…, results folders of their own, listed in conflicts.parquet. A run that --out has among its rows stays there. But a
trial that ended ok is kept rather than one that diverged, and either rather than one that failed, timed out or got
lost. Files that cannot be read, symbolic links and foreign folders are named and skipped. A merge that was
stopped goes on when the command is given again.

exit status:
  0  no trial came out differently in two folders
  1  some did; the lines say which and by how much
  2  a folder without results, or one that cannot be written
"""


Verb = Callable[[argparse.Namespace], int]


def parser(functions: Mapping[str, Verb]) -> argparse.ArgumentParser:
    """The parser of command lines. functions: what each verb does with its options, which have it as `verb`."""
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description="Compares optimal-transport autoencoders and neural optimal-transport maps.",
        epilog="Begin with: python -m bench run sweeps.toml && python -m bench report",
    )
    verbs = made.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, text: str, epilog: str | None = None) -> argparse.ArgumentParser:
        layout = argparse.RawDescriptionHelpFormatter
        added = verbs.add_parser(name, help=text, description=text, epilog=epilog, formatter_class=layout)
        added.set_defaults(verb=functions[name])
        return added

    def results(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--results",
            type=_place,
            default=Path("results"),
            metavar="DIR|URL",
            help="results folder, or where pyarrow finds one, such as s3://bucket/results (default: results)",
        )

    def scale(added: argparse.ArgumentParser, default: str = "quick") -> None:
        added.add_argument(
            "--scale",
            choices=("quick", "paper"),
            default=default,
            help=f"quick: minutes on a laptop; paper: the papers' own settings (default: {default})",
        )

    def data(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--data",
            type=Path,
            metavar="DIR",
            help="folder of datasets and caches (default: $BENCH_DATA or ~/.cache/ot-bench)",
        )

    def where(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--where",
            action="append",
            default=[],
            metavar="CONDITION",
            help='only trials with such options, as "dim<=64" or "method=w2gn"; may be given several times',
        )

    def seeds(added: argparse.ArgumentParser) -> None:
        added.add_argument("--seeds", type=_positive, metavar="N", help="seeds 0 … N-1 in place of each sweep's own")

    def sweeps_file(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--sweeps",
            type=Path,
            default=Path("sweeps.toml"),
            metavar="FILE",
            help="where sweeps stand (default: sweeps.toml)",
        )

    def execution(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--executor",
            choices=("ray", "inline"),
            default="ray",
            help="ray: in parallel, through Ray Tune (default); inline: one after another in this process",
        )
        added.add_argument(
            "--address",
            help="address of a running Ray cluster, such as auto or ray://host:10001 (default: start one here); "
            "docs/cluster.md tells more",
        )
        added.add_argument("--cpu", action="store_true", help="run on CPUs even what asks for GPUs")

    added = verb("run", "Run the trials of a sweeps.toml that have no ok row yet.", EPILOG)
    added.add_argument("sweeps", type=Path, help="the file that says what to run, such as sweeps.toml")
    scale(added)
    added.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="SWEEP, SWEEP/METHOD or SWEEP/METHOD/DATASET, with * and ?, or the first 8 or more digits of a trial id, "
        "planned or on record in --results; may be given several times",
    )
    where(added)
    added.add_argument("--all", action="store_true", help="also the sweeps marked optional = true")
    seeds(added)
    execution(added)
    results(added)
    data(added)
    added.add_argument(
        "--checkpoint-seconds",
        type=_seconds,
        default=120.0,
        metavar="N",
        help="seconds of a trial from one checkpoint to the next, which a killed trial goes on from (default: 120; "
        "0: no checkpoints)",
    )
    added.add_argument(
        "--prepare", action="store_true", help="download and build what datasets a machine lacks when a trial needs it"
    )
    added.add_argument(
        "--wait",
        type=float,
        default=15.0,
        metavar="MINUTES",
        help="how long trials wait for a node of a cluster that has what they ask for (default: 15)",
    )
    added.add_argument("--dry-run", action="store_true", help="show what would run and for how long, and run nothing")
    added.add_argument(
        "--retry-failed",
        action="store_true",
        help="run failed, diverged and timed-out trials again (lost and interrupted ones always are)",
    )
    added.add_argument("--force", action="store_true", help="run trials again that have an ok row; it is replaced")

    added = verb("tune", "Search for settings of methods on the validation split, and run the best.", TUNE_EPILOG)
    added.add_argument("sweeps", type=Path, help="the file that says what to search, such as sweeps.toml")
    scale(added)
    added.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="SWEEP, SWEEP/METHOD or SWEEP/METHOD/DATASET, with * and ?; may be given several times",
    )
    added.add_argument("--all", action="store_true", help="also the sweeps marked optional = true")
    execution(added)
    added.add_argument(
        "--max-concurrent",
        type=_positive,
        metavar="N",
        help="trials of a search at a time (default: as many as fit); 1 gives the same search whenever it is run",
    )
    results(added)
    data(added)
    added.add_argument("--retry-failed", action="store_true", help="run failed, diverged and timed-out trials again")

    added = verb(
        "reproduce",
        "Run what a published table needs, and say of each number if it comes out.",
        REPRODUCE_EPILOG,
    )
    added.add_argument("table", metavar="PAPER/TABLE", help="such as w2gn/gaussians; `list published` has them")
    scale(added, default="paper")
    where(added)
    seeds(added)
    added.add_argument("--no-run", action="store_true", help="run nothing; print the table from the rows there are")
    added.add_argument("--csv", type=Path, metavar="FILE", help="also write the table as CSV, with all its numbers")
    sweeps_file(added)
    execution(added)
    results(added)
    data(added)

    added = verb("prepare", "Download and build datasets, once for all trials.", PREPARE_EPILOG)
    added.add_argument("datasets", nargs="*", metavar="DATASET", help="names of datasets; `list datasets` has them")
    added.add_argument("--all", action="store_true", help="all datasets: tens of GB, for hours")
    added.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="NAME",
        help="the datasets of a sweep; may be given several times",
    )
    sweeps_file(added)
    scale(added)
    data(added)
    added.add_argument(
        "--verify",
        action="store_true",
        help="download and build nothing; compare what is there with its checksums",
    )

    added = verb("report", "Render leaderboards and plots from the rows; needs no torch.")
    results(added)
    added.add_argument(
        "--out", type=_folder, default=Path("reports"), metavar="DIR", help="folder to write (default: reports)"
    )
    added.add_argument(
        "--compare", type=_folder, metavar="DIR", help="another results folder: also say what changed since it"
    )

    added = verb("list", "List what there is.")
    added.add_argument("what", choices=("methods", "datasets", "metrics", "sweeps", "published"))
    sweeps_file(added)

    added = verb("show", "Show a trial, or a published table: every number, and how it was measured.")
    added.add_argument(
        "what", metavar="TRIAL|PAPER/TABLE", help="a trial id or its beginning, or such as w2gn/gaussians"
    )
    results(added)

    added = verb("verify", "Run recorded trials again and compare the numbers, bit by bit.", VERIFY_EPILOG)
    added.add_argument("trials", nargs="*", metavar="TRIAL", help="a trial id, or its beginning")
    added.add_argument(
        "--sample",
        type=_positive,
        metavar="N",
        help="N of the trials that ended ok, spread over sweeps and methods; always the same for the same results",
    )
    added.add_argument(
        "--plug-in",
        action="append",
        default=[],
        metavar="METHOD",
        help="a method from outside the repository whose code may run, as its trials name it; no other is imported",
    )
    execution(added)
    results(added)
    data(added)

    added = verb("doctor", "Find what is damaged, doubled, foreign or left over among results.", DOCTOR_EPILOG)
    results(added)
    added.add_argument("--repair", action="store_true", help="put it right, or aside; nothing is deleted")

    added = verb("merge", "Join the results of several machines in one folder.", MERGE_EPILOG)
    added.add_argument("folders", nargs="+", type=_place, metavar="DIR|URL", help="results folders")
    added.add_argument("--out", type=_folder, required=True, metavar="DIR", help="results folder to write, new or not")

    added = verb("check", "Run a method through its contract on a tiny dataset, in seconds.")
    added.add_argument("method", help="a method's name, or package.module:Class")
    return made


def _folder(text: str) -> Path:
    if "://" in text:
        raise argparse.ArgumentTypeError(f"must be a folder of this machine, not {text}")
    return Path(text)


def _place(text: str) -> Path | str:
    """A folder, or the text of a URL."""
    return text if "://" in text else Path(text)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, not {text}")
    return value
