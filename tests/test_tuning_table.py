"""The tuning table of a sweep: what it states, and what is said of every way to get it wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.sweeps import Sweep, SweepsError, load_sweeps
from bench.tuning.search import searches_of
from bench.tuning.tuning_table import SEARCH_SEED, Domain

SweepsFile = Callable[[str], Path]

SWEEP = """
[sweep.digits]
kind = "autoencoding"
metrics = ["mse", "kmeans", "sharpness-data", "udr"]
batch_size = 32
steps = 64
seeds = 2
splits = ["validation", "test"]
datasets.digits = {}
methods.ae = {}
methods.wae-mmd = { kernel = ["imq", "rbf"], lr = 1e-3 }
"""
TUNING = """
[sweep.digits.tuning]
metric = "mse"
trials = 5
methods.wae-mmd = { penalty = { distribution = "log-uniform", low = 1, high = 100 }, kernel = ["imq", "rbf"] }
methods.ae = { latent_dim = { distribution = "integer", low = 2, high = 8 } }
"""


def sweep(path: Path) -> Sweep:
    return load_sweeps(path, "quick")[0]


def mistakes(path: Path) -> str:
    with pytest.raises(SweepsError) as raised:
        load_sweeps(path, "quick")
    return str(raised.value)


def test_a_table_states_a_search_a_method_and_dataset(sweeps_file: SweepsFile) -> None:
    found = sweep(sweeps_file(SWEEP + TUNING))
    tuning = found.tuning
    assert tuning is not None
    assert (tuning.output, tuning.direction, tuning.search, tuning.scheduler) == ("mse", "min", "optuna", "asha")
    assert tuning.spaces == {
        "wae-mmd": {
            "penalty": Domain(distribution="log-uniform", low=1, high=100),
            "kernel": Domain(choices=("imq", "rbf")),
        },
        "ae": {"latent_dim": Domain(distribution="integer", low=2, high=8)},
    }
    wae, ae = searches_of(found)
    assert wae.label == "digits/wae-mmd/digits"
    assert {trial.seed for trial in (wae.trial, ae.trial)} == {SEARCH_SEED}
    assert wae.trial.splits == ("validation",)
    assert [metric.name for metric in wae.trial.metrics] == ["mse"]
    # Both of the sweep's own settings are in the space; the default code of ae, of 64, is not in its own.
    assert [chosen["kernel"] for chosen in wae.own] == ["imq", "rbf"]
    assert ae.own == ()
    candidate = wae.candidate({"penalty": 3, "kernel": "rbf"})
    assert (candidate.method.options["penalty"], candidate.method.options["lr"]) == (3.0, 1e-3)
    assert isinstance(candidate.method.options["penalty"], float)


def test_the_number_of_trials_is_no_part_of_what_a_search_is(sweeps_file: SweepsFile) -> None:
    ids = [searches_of(sweep(sweeps_file(SWEEP + TUNING.replace("5", number))))[0].id for number in ("5", "50")]
    assert ids[0] == ids[1]
    other = searches_of(sweep(sweeps_file(SWEEP + TUNING.replace("high = 100", "high = 99"))))[0].id
    assert other != ids[0]


def test_a_table_changes_no_trial_of_its_sweep(sweeps_file: SweepsFile) -> None:
    plain, tuned = (sweep(sweeps_file(text)).trials() for text in (SWEEP, SWEEP + TUNING))
    assert [trial.id for trial in plain] == [trial.id for trial in tuned]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("trials = 5", "trial = 5", 'tuning.trial: unknown key: did you mean "trials"?'),
        ("trials = 5", "trials = 0", "tuning.trials: must be how many settings to try"),
        (
            'metric = "mse"',
            'metric = "msee"',
            'tuning.metric: must be a number that the metrics of the sweep give, not "',
        ),
        (
            'metric = "mse"',
            "metric = { mse = 1 }",
            "tuning.metric: must be a number that the metrics of the sweep give",
        ),
        ('metric = "mse"', 'metric = "sharpness-data"', "neither more nor less is better"),
        ('metric = "mse"', 'metric = "udr-lasso"', "is measured across seeds"),
        ("trials = 5", 'trials = 5\nsearch = "optna"', 'did you mean "optuna"?'),
        ("trials = 5", "trials = 5\nscheduler = 3", "tuning.scheduler: must be one of asha, none"),
        (
            "methods.ae = { l",
            "methods.aee = { l",
            'tuning.methods.aee: the sweep has no such method: did you mean "ae"?',
        ),
        ("methods.ae = { l", "methods.vae = { l", "tuning.methods.vae: the sweep has no such method"),
        ("latent_dim", "latent_dims", 'no such hyperparameter: did you mean "latent_dim"?'),
        ('"integer"', '"uniform"', "must be a whole number; the distribution uniform gives others"),
        ('"integer"', '"int"', 'no distribution "int": did you mean "integer"?'),
        ("low = 1,", "low = 0,", "low below high, above 0"),
        ("low = 2,", "low = 2.5,", "low and high must be a whole number each"),
        ("low = 2, high = 8", "low = 2", "a range to search needs high"),
        ("high = 8", "high = 8, draws = 3", "unknown key"),
        ('["imq", "rbf"] }\nmethods.ae', '["imq", "rbg"] }\nmethods.ae', "must be one of 'imq', 'rbf'"),
        ('["imq", "rbf"] }\nmethods.ae', '["imq", "imq"] }\nmethods.ae', "names a value twice"),
        ('["imq", "rbf"] }\nmethods.ae', '"imq" }\nmethods.ae', "must be a list of two or more values"),
        (', kernel = ["imq", "rbf"] }\nmethods.ae', " }\nmethods.ae", "they differ in what is not searched"),
        ('["validation", "test"]', '["test"]', 'needs splits = ["validation", "test"]'),
        ("seeds = 2", "seeds = [0, 1000000000]", "is the seed of searches"),
        (TUNING, "tuning = 3", "tuning: must be a table"),
    ],
)
def test_every_mistake_is_told(sweeps_file: SweepsFile, old: str, new: str, said: str) -> None:
    assert old in SWEEP + TUNING
    assert said in mistakes(sweeps_file((SWEEP + TUNING).replace(old, new)))
