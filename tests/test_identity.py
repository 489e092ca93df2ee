"""A trial's id is a function of the trial alone. Resuming, sharing and citing results rest on it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from bench.identity import Budget, Resources, Setting, Trial

TRIAL = Trial(
    kind="transport",
    dataset=Setting("gaussians", {"dim": 4}, 1),
    method=Setting("w2gn", {"lr": 3e-4, "hidden": (64, 32), "cycle_weight": None}, 1),
    seed=0,
    budget=Budget(1000, None, 256),
    metrics=(Setting("cosine", {"num_samples": 4096}, 1), Setting("l2-uvp", {"num_samples": 4096}, 1)),
    splits=("test",),
    sweep="gaussians",
    scale="quick",
)


def test_the_id_of_a_trial_is_pinned() -> None:
    # Golden: if this changes, every result anybody has counts as never run.
    assert TRIAL.id == "72ac02d39d5631bf9740f3d46259a96758a4c29e44c61e9a2a6ca71fbfdbafd0"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"kind": "autoencoding"},
        {"dataset": Setting("gaussians", {"dim": 8}, 1)},
        {"dataset": Setting("gaussians", {"dim": 4}, 2)},
        {"method": Setting("w2gn", {"lr": 1e-4, "hidden": (64, 32), "cycle_weight": None}, 1)},
        {"method": Setting("w2gn", TRIAL.method.options, 2)},
        {"budget": Budget(1001, None, 256)},
        {"metrics": TRIAL.metrics[:1]},
        {"splits": ("validation", "test")},
    ],
)
def test_whatever_decides_the_numbers_decides_the_id(change: dict[str, object]) -> None:
    assert dataclasses.replace(TRIAL, **change).id != TRIAL.id


@pytest.mark.parametrize(
    "change",
    [
        {"sweep": "other"},
        {"scale": "paper"},
        {"published": "w2gn/gaussians"},
        {"resources": Resources(2, 0.5, 8.0, {"a100": 1.0})},
        {"timeout": 60.0},
        {"about": {"method": {"family": "OT map"}}},
        {"method": Setting("w2gn", {"cycle_weight": None, "hidden": [64, 32], "lr": 0.0003}, 1)},
    ],
)
def test_nothing_else_does(change: dict[str, object]) -> None:
    assert dataclasses.replace(TRIAL, **change).id == TRIAL.id


def test_a_trial_comes_back_from_its_record_through_json() -> None:
    again = Trial.from_record(json.loads(json.dumps(TRIAL.to_record())))
    assert again.id == TRIAL.id
    assert again.to_record() == json.loads(json.dumps(TRIAL.to_record()))
