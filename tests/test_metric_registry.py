"""What holds for every metric there is: recorded values, invariances, directions, and an answer to anything."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from bench.metric_docs import metrics_page
from bench.metrics.base import ARRAYS, Unmeasurable, all_metrics
from bench.options import defaults
from tests import golden_values
from tests.metric_scenarios import (
    COUNT,
    World,
    evaluate,
    models,
    reordered,
    small_options,
    with_codes,
    world,
)

METRICS = all_metrics()
EACH = pytest.mark.parametrize("name", METRICS)


@cache
def arrays(metric_is_across_seeds: bool, quality: float = 0.8) -> World:
    return models(quality) if metric_is_across_seeds else world(quality)


@cache
def values(name: str, quality: float = 0.8) -> dict[str, Any]:
    metric = METRICS[name]
    return evaluate(metric, arrays(metric.across_seeds, quality), small_options(metric))


def changed(name: str, change: Callable[[World], World]) -> dict[str, Any]:
    """The metric's values when the world is changed, or the worlds of all models."""
    metric = METRICS[name]
    given = arrays(metric.across_seeds)
    given = {"models": [change(model) for model in given["models"]]} if metric.across_seeds else change(given)
    return evaluate(metric, given, small_options(metric))


@EACH
def test_a_value_changes_only_with_its_version(name: str) -> None:
    recorded, found = golden_values.load().get(name), golden_values.measure(METRICS[name])
    renew = "python -m tests.golden_values records it"
    assert recorded is not None, f"{name} has no recorded value; {renew}"
    assert recorded["version"] == found["version"], f"{name} has a new version; {renew}"
    assert golden_values.differences(recorded, found) == [], f"raise the version of {name}, then {renew}"


def test_no_value_is_on_record_of_a_metric_that_is_gone() -> None:
    assert golden_values.load().keys() <= METRICS.keys()


def test_the_recorder_refuses_a_new_value_under_an_old_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(golden_values, "RECORDS", tmp_path / "golden" / "metrics.json")
    monkeypatch.setattr(golden_values, "all_metrics", lambda: {"mse": METRICS["mse"]})
    assert golden_values.main() == 0
    before = golden_values.RECORDS.read_text()
    monkeypatch.setattr(golden_values, "measure", lambda metric: {"version": 1, "values": {"mse": 0.5}})
    assert golden_values.main() == 1
    assert "mse, version 1: mse was 0." in capsys.readouterr().err
    assert golden_values.RECORDS.read_text() == before
    monkeypatch.setattr(golden_values, "measure", lambda metric: {"version": 2, "values": {"mse": 0.5}})
    assert golden_values.main() == 0


@EACH
def test_its_description_is_whole(name: str) -> None:
    metric = METRICS[name]
    assert metric.source
    assert metric.outputs
    assert metric.bases <= {*ARRAYS["autoencoding"]} or metric.bases <= {*ARRAYS["transport"]}
    for output in metric.outputs.values():
        assert output.unit
        assert len(output.meaning) > 10
        assert not output.meaning.endswith(".")
    json.dumps(metric.protocol_for(defaults(metric.options)), allow_nan=False)


def test_no_two_metrics_yield_an_output_of_the_same_name() -> None:
    names = [output for metric in METRICS.values() for output in metric.outputs]
    assert len(names) == len(set(names))


@EACH
def test_the_same_generator_gives_the_same_value(name: str) -> None:
    np.random.seed(5)
    state = np.random.get_state()[1].tolist()
    again = evaluate(METRICS[name], arrays(METRICS[name].across_seeds), small_options(METRICS[name]))
    assert np.random.get_state()[1].tolist() == state, "it draws from NumPy's global generator"
    assert_same(again, values(name), tolerance=0)


def test_the_page_of_metrics_is_up_to_date() -> None:
    page = Path(__file__).parent.parent / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == metrics_page(), "python -m bench list metrics > docs/metrics.md"


def assert_same(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    for output, value in expected.items():
        if isinstance(value, Unmeasurable):
            assert str(found[output]) == str(value)
        else:
            assert math.isclose(found[output], value, rel_tol=tolerance, abs_tol=1e-9), output


class TestInvariance:
    """Tolerances are relative."""

    ORDER: ClassVar[dict[str, float]] = {  # its ten parts are of other images
        f"inception-score-{of}": 0.01 for of in ("generation", "reconstruction", "interpolation")
    }
    LATENT_ORDER: ClassVar[dict[str, float]] = {
        **dict.fromkeys(["dci", "dci-histogram"], 0.03),  # trees break ties by the order of latents
        "wsepin-windin": 0.02,  # a Monte Carlo estimate, of other draws
    }
    SIGN = LATENT_ORDER

    @EACH
    def test_the_order_of_items_does_not_matter(self, name: str) -> None:
        assert_same(changed(name, reordered), values(name), self.ORDER.get(name, 1e-5))

    @EACH
    def test_the_order_of_latents_does_not_matter(self, name: str) -> None:
        order = [2, 0, 3, 1]
        found = changed(name, lambda given: with_codes(given, lambda codes, _: np.ascontiguousarray(codes[:, order])))
        assert_same(found, values(name), self.LATENT_ORDER.get(name, 1e-5))

    @EACH
    def test_the_sign_of_latents_does_not_matter(self, name: str) -> None:
        signs = np.array([-1, 1, -1, 1], dtype=np.float32)

        def flipped(codes: np.ndarray, base: str) -> np.ndarray:
            return codes if base == "posterior_log_variances" else codes * signs

        assert_same(changed(name, lambda given: with_codes(given, flipped)), values(name), self.SIGN.get(name, 1e-5))


class TestDirection:
    UNDECIDED: ClassVar[dict[str, str]] = {
        **{
            f"sharpness-{of}{end}": "noise is sharper than any image"
            for of in ("generation", "reconstruction", "interpolation")
            for end in ("", "-minimum")
        },
        "memorized-share": "neither world copies",
        **{
            f"recall{over}-{of}": "noise reaches as far as images do"
            for over in ("", "-torchvision", "-efficientnet-lite0")
            for of in ("generation", "reconstruction", "interpolation")
        },
        **{
            f"{score}{of}": "independent noise lowers dependence"
            for score in (
                *("total-correlation", "mutual-information-score"),
                *("wasserstein-correlation", "wasserstein-correlation-normalized"),
            )
            for of in ("", "-drawn")
        },
        **{
            f"inception-score-{of}": "the stand-in for the network knows no classes"
            for of in ("generation", "reconstruction", "interpolation")
        },
        "active-units": "noise is active too",
        "latent-normality-marginal": "factors take a few values, noise is normal",
        "latent-normality-radius": "factors take a few values, noise is normal",
        "gromov-wasserstein": "distances among noise are as far from those among images as among codes of few values",
    }
    """Outputs for which neither of the two worlds is better, and why."""

    @EACH
    def test_a_better_model_is_better(self, name: str) -> None:
        better, worse = values(name, 0.95), values(name, 0.2)
        for output, facts in METRICS[name].outputs.items():
            if output in self.UNDECIDED or facts.direction is None:
                continue
            difference = better[output] - worse[output]
            assert difference < 0 if facts.direction == "min" else difference > 0, output


def constant(codes: np.ndarray, base: str) -> np.ndarray:
    return np.full_like(codes, 0.25)


def first(count: int) -> Callable[[World], World]:
    return lambda given: {n: a[:count] if isinstance(a, np.ndarray) else a for n, a in given.items()}


def setting(**replaced: Any) -> Callable[[World], World]:
    """Arrays replaced by a function of what they were, in every split."""

    def change(given: World) -> World:
        made = dict(given)
        for name, array in given.items():
            base = name.removeprefix("train_").removeprefix("outlier_")
            if base in replaced:
                made[name] = replaced[base](array)
        return made

    return change


def one_image(images: np.ndarray) -> np.ndarray:
    return np.repeat(images[:1], len(images), axis=0)


def nans(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flat[7] = np.nan
    return array


DEGENERATE: dict[str, Callable[[World], World]] = {
    "constant codes": lambda given: with_codes(given, constant),
    "one dead latent": lambda given: with_codes(given, lambda codes, _: codes * np.array([1, 1, 0, 1], codes.dtype)),
    "a latent given twice": lambda given: with_codes(
        given, lambda codes, _: np.ascontiguousarray(codes[:, [0, 1, 2, 0]])
    ),
    "one latent": lambda given: with_codes(given, lambda codes, _: np.ascontiguousarray(codes[:, :1])),
    "huge codes": lambda given: with_codes(
        given, lambda codes, base: codes if "log" in base else codes * np.float32(1e18)
    ),
    "codes with NaN": lambda given: with_codes(given, lambda codes, _: nans(codes)),
    "one factor": setting(factors=lambda factors: factors[:, :1]),
    "a constant factor": setting(factors=lambda factors: factors * np.array([1, 0, 1])),
    "one class": setting(labels=np.zeros_like, components=np.zeros_like),
    "classes with gaps": setting(labels=lambda labels: 10 * labels + 3, factors=lambda factors: 10 * factors + 3),
    "one image": setting(images=one_image, samples=one_image, reconstructions=one_image, interpolations=one_image),
    "images with NaN": setting(samples=nans, reconstructions=nans, interpolations=nans),
    "scores with NaN": setting(scores=nans, rates=nans, distortions=nans),
    "equal scores": setting(scores=np.zeros_like),
    "fewer items than features": first(5),
    "one item": first(1),
    "a map that collapses": lambda given: {**given, "pushed": np.zeros((COUNT, 2)), "pulled": np.zeros((COUNT, 2))},
}


@pytest.mark.parametrize("case", DEGENERATE)
@EACH
def test_degenerate_input_has_a_finite_value_or_a_reason(name: str, case: str) -> None:
    for output, value in changed(name, DEGENERATE[case]).items():
        if isinstance(value, Unmeasurable):
            assert len(str(value)) > 10, output
        else:
            assert math.isfinite(value), output


@EACH
def test_every_output_is_there(name: str) -> None:
    assert values(name).keys() == METRICS[name].outputs.keys()
