"""Known answers of the aggregates over tasks × seeds, and how often their intervals cover the truth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.statistics.aggregates import (
    anchors,
    interquartile_means,
    normalized,
    performance_profiles,
    probabilities_of_improvement,
)


def frame(values: np.ndarray, direction: str = "max") -> pd.DataFrame:
    """Values [settings, tasks, seeds] as lines, their scores the same; settings s0, s1, …, tasks t0, t1, …"""
    setting, task, seed = np.indices(values.shape).reshape(3, -1)
    lines = pd.DataFrame({"setting": setting, "task": task, "seed": seed, "direction": direction})
    lines["setting"], lines["task"] = "s" + lines["setting"].astype(str), "t" + lines["task"].astype(str)
    return lines.assign(value=values.reshape(-1), score=values.reshape(-1))


def rng(seed: int | list[int] = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_scores_run_from_the_worst_mean_to_the_best_in_either_direction():
    values = np.array([[[1.0, 3.0]], [[4.0, 4.0]], [[6.0, 6.0]]])
    for direction, expected in (("max", [-0.25, 0.25, 0.5, 0.5, 1, 1]), ("min", [1.25, 0.75, 0.5, 0.5, 0, 0])):
        lines = frame(values, direction)
        assert normalized(lines, anchors(lines))["score"].tolist() == expected


def test_a_named_reference_has_the_score_0():
    lines = frame(np.array([[[1.0, 3.0]], [[4.0, 4.0]], [[6.0, 6.0]]]))
    scores = normalized(lines, anchors(lines, reference="s1"))
    assert scores.groupby("setting")["score"].mean().to_dict() == {"s0": -1, "s1": 0, "s2": 1}


def test_tasks_that_tell_nothing_apart_or_lack_the_reference_have_no_scores():
    equal = frame(np.ones((2, 1, 2)))
    assert anchors(equal)[["zero", "one"]].isna().all(axis=None)
    assert normalized(equal, anchors(equal)).empty
    lacking = frame(np.arange(8.0).reshape(2, 2, 2)).query("setting != 's0' or task != 't1'")
    assert anchors(lacking, reference="s0").set_index("task")["zero"].isna().to_dict() == {"t0": False, "t1": True}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5))
def test_the_interquartile_mean_is_scipy_s_trimmed_mean_of_all_runs(number: int, tasks: int, seeds: int):
    values = rng(number).normal(size=(2, tasks, seeds))
    found = interquartile_means(frame(values), rng(), resamples=20)
    assert found["setting"].tolist() == ["s0", "s1"]
    np.testing.assert_allclose(found["iqm"], [stats.trim_mean(of_one.reshape(-1), 0.25) for of_one in values])
    assert found["n_runs"].tolist() == [tasks * seeds] * 2
    assert found["low"].isna().all() == (seeds == 1)


def test_the_same_generator_gives_the_same_intervals():
    lines = frame(rng().normal(size=(2, 3, 4)))
    first, second = (interquartile_means(lines, rng(5), resamples=50) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_profiles_are_the_shares_of_runs_above_thresholds():
    values = np.array([[[0.1, 0.5, 0.9], [0.2, 0.6, 1.0]]])
    found = performance_profiles(frame(values), [0, 0.5, 1])
    np.testing.assert_allclose(found["share"], [1, 0.5, 0])
    # 2 of 6 above 0.5 in one stratum, 1 of 6 in the other; every stratum's p(1 − p) is 2/9, over n − 1 = 2.
    expected = stats.t.ppf(0.975, 4) * math.sqrt(2 * 0.25 * (2 / 9) / 2)
    assert found["high"][1] == pytest.approx(min(0.5 + expected, 1))
    assert found["low"][0] == pytest.approx(1 - math.log(20) / 6)  # no run below in six: the rule of three


def test_probability_of_improvement_is_mann_and_whitney_s_u_averaged_over_tasks():
    values = rng(1).normal(size=(3, 4, 5)).round(1)
    for direction in ("max", "min"):
        found = probabilities_of_improvement(frame(values, direction), "s1", rng(), resamples=20)
        for line in found.to_dict("records"):
            other = values[int(line["setting"][1:])]
            won = [stats.mannwhitneyu(a, b).statistic / 25 for a, b in zip(values[1], other, strict=True)]
            expected = np.mean(won) if direction == "max" else 1 - np.mean(won)
            assert line["probability"] == pytest.approx(expected)
        assert found["setting"].tolist() == ["s0", "s2"]


def test_probability_is_over_the_tasks_both_have_and_of_nobody_without_the_leader():
    lines = frame(np.array([[[1.0, 2.0], [5.0, 6.0]], [[0.0, 0.5], [9.0, 9.5]]]))
    both = probabilities_of_improvement(lines.query("setting == 's0' or task == 't0'"), "s0", rng())
    assert both[["probability", "n_tasks"]].to_numpy().tolist() == [[1.0, 1]]
    assert both["low"][0] < 1  # four wins of four are no certainty
    assert probabilities_of_improvement(lines, "unknown", rng()).empty


def test_one_seed_has_no_intervals():
    lines = frame(rng().normal(size=(2, 3, 1)))
    assert performance_profiles(lines, [0.0])["low"].isna().all()
    assert probabilities_of_improvement(lines, "s0", rng())["low"].isna().all()


@pytest.mark.parametrize(("noise", "stated"), [("normal", 0.90), ("exponential", 0.85)])
@pytest.mark.parametrize(("tasks", "seeds"), [(5, 3), (5, 10), (10, 5), (20, 3)])
def test_intervals_of_interquartile_means_and_profiles_cover_what_the_docstring_states(
    noise: str, stated: float, tasks: int, seeds: int
):
    draw = rng([tasks, seeds])

    def with_noise(shape: tuple[int, ...]) -> np.ndarray:
        return mean + spread * (draw.normal(size=shape) if noise == "normal" else draw.exponential(size=shape) - 1)

    mean, spread = draw.uniform(0, 1, (tasks, 1)), draw.uniform(0.05, 0.3, (tasks, 1))
    lines = frame(with_noise((300, tasks, seeds)))  # 300 settings are 300 repetitions
    population = with_noise((tasks, 20_000)).reshape(-1)
    found = interquartile_means(lines, rng(), resamples=300)
    truth = stats.trim_mean(population, 0.25)
    luck = 2 * math.sqrt(0.1 * 0.9 / 300)
    assert stated - luck <= ((found["low"] <= truth) & (truth <= found["high"])).mean() <= 0.97 + luck
    levels = [0.1, 0.5, 0.9]
    profiles = performance_profiles(lines, levels)
    shares = profiles["threshold"].map(dict(zip(levels, (population[:, None] > levels).mean(axis=0), strict=True)))
    covered = (profiles["low"] <= shares) & (shares <= profiles["high"])
    assert covered.groupby(profiles["threshold"]).mean().min() >= 0.90 - luck


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
@pytest.mark.parametrize(("tasks", "seeds"), [(5, 3), (10, 5), (20, 10)])
def test_intervals_of_the_probability_of_improvement_cover_it_94_times_in_a_hundred(
    shift: float, tasks: int, seeds: int
):
    draw = rng([tasks, seeds])
    truth = stats.norm.cdf(shift / math.sqrt(2))
    covered = []
    for _ in range(250):
        values = draw.normal(size=(2, tasks, seeds)) + np.array([[[shift]], [[0.0]]])
        line = probabilities_of_improvement(frame(values), "s0", draw, resamples=150).iloc[0]
        covered.append(line["low"] <= truth <= line["high"])
    assert np.mean(covered) >= 0.94 - 2 * math.sqrt(0.06 * 0.94 / 250)
