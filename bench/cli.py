"""The command line: one short function a verb. Imports stand inside, so that `report` needs no torch."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from bench.arguments import parser
from bench.errors import UserError
from bench.printing import Console, visible

OK, NOT_ALL_OK, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    options = parser(VERBS).parse_args(arguments)
    try:
        if isinstance(getattr(options, "results", None), str):
            from bench.storage.mirror import local_results

            options.results = local_results(options.results)
        return options.verb(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough (`| head`); leave quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except UserError as error:
        print(visible(f"error: {error}"), file=sys.stderr)
        return USAGE


def run(options: argparse.Namespace) -> int:
    from bench.driver import run_sweeps

    return run_sweeps(
        options.sweeps,
        scale=options.scale,
        only=options.only,
        conditions=options.where,
        everything=options.all,
        seeds=options.seeds,
        cpu=options.cpu,
        executor=options.executor,
        address=options.address,
        checkpoint_seconds=options.checkpoint_seconds,
        prepare=options.prepare,
        wait_seconds=60.0 * options.wait,
        results=options.results,
        data=options.data,
        dry_run=options.dry_run,
        retry_failed=options.retry_failed,
        force=options.force,
    )


def tune(options: argparse.Namespace) -> int:
    from bench.tuning.tuning import tune_sweeps

    return tune_sweeps(
        options.sweeps,
        scale=options.scale,
        only=options.only,
        everything=options.all,
        cpu=options.cpu,
        executor=options.executor,
        address=options.address,
        max_concurrent=options.max_concurrent,
        results=options.results,
        data=options.data,
        retry_failed=options.retry_failed,
    )


def reproduce(options: argparse.Namespace) -> int:
    from bench.reproduction import reproduce as reproduce_table

    return reproduce_table(
        options.table,
        sweeps_file=options.sweeps,
        scale=options.scale,
        conditions=options.where,
        seeds=options.seeds,
        run=not options.no_run,
        csv=options.csv,
        cpu=options.cpu,
        executor=options.executor,
        address=options.address,
        results=options.results,
        data=options.data,
    )


def prepare(options: argparse.Namespace) -> int:
    from bench.preparation import prepare as prepare_datasets

    ready = prepare_datasets(
        options.datasets,
        everything=options.all,
        sweeps=options.sweep,
        sweeps_file=options.sweeps,
        scale=options.scale,
        data=options.data,
        check=options.verify,
    )
    return OK if ready else NOT_ALL_OK


def verify(options: argparse.Namespace) -> int:
    from bench.verification import verify_trials

    return verify_trials(
        options.trials,
        sample=options.sample,
        cpu=options.cpu,
        executor=options.executor,
        address=options.address,
        results=options.results,
        data=options.data,
        plug_ins=options.plug_in,
    )


def doctor(options: argparse.Namespace) -> int:
    from bench.storage.doctor import doctor as examine_results

    return examine_results(options.results, mend=options.repair)


def merge(options: argparse.Namespace) -> int:
    from bench.storage.merging import merge_results
    from bench.storage.mirror import local_results

    return merge_results([local_results(folder) for folder in options.folders], options.out)


def report(options: argparse.Namespace) -> int:
    from bench.report import write_report
    from bench.report.changes import compare, print_changes

    changes = compare(options.compare, options.results) if options.compare else None
    page = write_report(options.results, options.out, changes)
    if changes:
        print_changes(changes, Console())
    print(f"{page} written; open it in a browser: {page.resolve().as_uri()}")
    return OK


def list_(options: argparse.Namespace) -> int:
    from bench.listing import show_list

    show_list(options.what, options.sweeps, Console())
    return OK


def show(options: argparse.Namespace) -> int:
    from bench.showing import show_published, show_trial

    if "/" in options.what:
        show_published(options.what, Console())
        return OK
    return show_trial(options.what, options.results, Console())


def check(options: argparse.Namespace) -> int:
    from bench.check import check_method, print_verdicts

    return OK if print_verdicts(check_method(options.method), Console()) else NOT_ALL_OK


VERBS = {
    "run": run,
    "tune": tune,
    "reproduce": reproduce,
    "prepare": prepare,
    "report": report,
    "list": list_,
    "show": show,
    "verify": verify,
    "doctor": doctor,
    "merge": merge,
    "check": check,
}
