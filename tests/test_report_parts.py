"""The small pieces of the report: numbers as text, labels that keep apart, colors."""

from __future__ import annotations

import colorsys
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.report import site
from bench.report.addresses import file_names
from bench.report.charts import log_axis, metric_axis
from bench.report.colors import HUES, contrast, method_colors
from bench.report.figures import thinned
from bench.report.formatting import count, duration, measurement, memory, number
from bench.report.labels import SIDES, label_sides, spread_apart
from bench.report.lines import Run, panel, runs_by_trial
from bench.report.records import differing, option_text
from bench.words import listed


@pytest.mark.parametrize(
    ("mean", "half_width", "text"),
    [
        (0.12345, 0.0042, "0.123 ± 0.004"),
        (0.12345, 0.0012, "0.1235 ± 0.0012"),
        (98.765, 12.34, "99 ± 12"),
        (1234.5, 345.0, "1,234 ± 345"),
        (-0.5, 0.03, "−0.50 ± 0.03"),
        (0.0000123, 0.0000004, "(1.23 ± 0.04)×10⁻⁵"),
        (0.999835, 0.0000042, "0.999835 ± 0.000004"),
        (0.12345, None, "0.123"),
        (0.12345, 0.0, "0.123"),
    ],
)
def test_a_mean_has_as_many_digits_as_its_interval_supports(mean: float, half_width: float | None, text: str):
    assert measurement(mean, half_width) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (1, "1.00"),
        (0.001234, "0.00123"),
        (12.34, "12.3"),
        (999.9, "1,000"),
        (12345, "12,345"),
        (-3.14159, "−3.14"),
        (0.0000123, "1.23×10⁻⁵"),
        (1.5e9, "1.50×10⁹"),
        (math.inf, "inf"),
    ],
)
def test_a_lone_number_has_three_digits(value: float, text: str):
    assert number(value) == text


def test_times_and_sizes_are_said_as_people_say_them():
    assert [duration(x) for x in (0.003, 0.25, 9.5, 42, 90, 7300, math.nan, None)] == [
        *("< 0.1 s", "0.25 s", "9.5 s", "42 s", "1.5 min", "2.0 h", "—", "—")
    ]
    assert [memory(x) for x in (400 * 2**20, 1.5 * 2**30)] == ["400 MiB", "1.5 GiB"]
    assert [count(x) for x in (123456.0, math.nan)] == ["123,456", "—"]


def test_lists_are_sentences():
    assert [listed(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert listed([str(k) for k in range(20)], limit=3) == "0, 1, 2 and 17 more"


def test_settings_read_as_people_write_them():
    assert [option_text(x) for x in ([128, 64], 3e-4, True, None, "imq", 8)] == [
        "128×64",
        "0.0003",
        "yes",
        "none",
        "imq",
        "8",
    ]
    assert differing([{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 0}]) == ["b", "c"]


@pytest.mark.parametrize("log", [False, True])
def test_labels_are_spread_apart_and_keep_their_order(log: bool):
    values = [1.0, 1.01, 1.02, 5.0, 99.0, 100.0]
    placed = spread_apart(values, 1.0, 100.0, log, gap=0.1)
    place = math.log if log else float
    units = [(place(at) - place(1.0)) / (place(100.0) - place(1.0)) for at in placed]
    assert all(high - low >= 0.1 - 1e-9 for low, high in itertools.pairwise(units))


def test_labels_far_apart_stay_where_they_are():
    assert spread_apart([1.0, 50.0, 100.0], 1.0, 100.0, False, gap=0.1) == pytest.approx([1.0, 50.0, 100.0])


def test_a_label_moves_to_the_side_that_is_free():
    assert label_sides([0.5], [0.5], ["alone"], (500, 300), 6.0) == ["right"]
    sides = label_sides([0.5, 0.54], [0.5, 0.5], ["one", "two"], (500, 300), 6.0)
    assert sides[0] != "right"
    assert set(sides) <= set(SIDES)
    assert label_sides([1.0], [0.5], ["at the edge"], (500, 300), 6.0) == ["left"]


def hue(color: str) -> float:
    return colorsys.rgb_to_hls(*(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)))[0]


def test_each_method_has_a_color_and_families_share_a_hue():
    pairs = [
        ("vae", "VAE"),
        ("beta-vae", "VAE"),
        ("swae", "WAE"),
        ("wae-mmd", "WAE"),
        ("wae-gan", "WAE"),
        ("odd", "New"),
    ]
    colors = method_colors(pairs)
    assert len(set(colors.values())) == len(pairs)
    assert colors["beta-vae"] == HUES["VAE"].lower()
    assert hue(colors["vae"]) == pytest.approx(hue(colors["beta-vae"]), abs=0.01)
    assert [hue(colors[m]) for m in ("wae-gan", "wae-mmd")] == pytest.approx([hue(colors["swae"])] * 2, abs=0.01)
    assert abs(hue(colors["swae"]) - hue(colors["vae"])) > 0.2


@pytest.mark.parametrize("family", [*HUES, "New"])
def test_colors_of_a_family_differ_and_are_seen_on_both_pages(family: str):
    colors = method_colors((f"method {number:02}", family) for number in range(6 if family == "reference" else 18))
    assert len(set(colors.values())) == len(colors)
    style = (Path(site.__file__).parent / "assets" / "style.css").read_text()
    white, dark = re.findall(r"--paper: (#\w{6});", style)
    assert min(contrast(color, dark) for color in colors.values()) >= 3
    assert min(contrast(color, white) for color in colors.values()) >= 1.89


def test_the_pages_texts_have_the_contrast_that_is_asked_of_texts():
    style = (Path(site.__file__).parent / "assets" / "style.css").read_text()
    papers, *texts = (
        re.findall(rf"--{name}: (#\w{{6}});", style) for name in ("paper", "ink", "soft", "link", "theirs")
    )
    for paper, *shown in zip(papers, *texts, strict=True):
        assert min(contrast(paper, text) for text in shown) >= 4.5


def test_axes_are_logarithmic_where_ratios_matter():
    about = {"unit": "%", "direction": "min"}
    assert metric_axis("l2-uvp", about, [0.1, 50.0]).log
    assert metric_axis("l2-uvp", about, [0.1, 50.0]).title == "l2-uvp, % (lower is better)"
    assert not metric_axis("mig", {"unit": "0 to 1", "direction": "max"}, [0.2, 0.3]).log
    assert not metric_axis("mmd", about, [-0.1, 50.0]).log
    assert metric_axis("", {"unit": "standard deviations", "direction": None}, [0.1]).title == "standard deviations"
    assert {1.0, 2.0, 5.0, 10.0} <= set(log_axis("time", [1.5, 8.0]).ticks)


def test_thinning_keeps_the_ends():
    assert thinned(list(range(1000)), 100)[0] == 0
    assert thinned(list(range(1000)), 100)[-1] == 999
    assert len(thinned(list(range(1000)), 100)) <= 102
    assert thinned([1, 2, 3], 100) == [1, 2, 3]
    assert thinned([], 100) == []


def test_no_two_names_share_a_file_even_where_capitals_are_small_letters():
    names = file_names(["a/b", "a-b", "A-B", "a-b-2", "x" * 300, "x" * 301])
    assert list(names.values())[:4] == ["a-b", "a-b-2", "A-B-3", "a-b-2-2"]
    assert len({name.lower() for name in names.values()}) == 6
    assert max(map(len, names.values())) <= 102


def test_a_curve_says_where_it_begins_and_ends_and_keeps_its_last_point():
    run = Run("train", "loss", np.arange(3), np.array([4.0, 2.0, 1.0]))
    svg = panel([run], "loss <b>", "#000000")
    assert 'aria-label="loss &lt;b&gt;: from 4 to 1 after 2 updates"' in svg
    assert "L1600 " in svg  # the end of the field, in tenths of a pixel


def test_curves_are_thinned_leave_out_what_is_not_finite_and_are_taken_once():
    steps = list(range(1000))
    frame = pd.DataFrame({"trial_id": "t", "stage": "train", "step": steps, "name": "loss", "value": 1.0})
    frame.loc[999, "value"] = math.inf
    prepared = frame.head(1).assign(stage="prepare")
    (train, prepare) = runs_by_trial(pd.concat([prepared, frame, frame]))["t"]
    assert (train.title, prepare.title) == ("loss", "loss, prepare")
    assert len(train.steps) == 80
    assert (train.steps[0], train.steps[-1]) == (0, 998)
