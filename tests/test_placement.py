"""A trial runs on one node, so it fits where one node has all that it asks for."""

from __future__ import annotations

import pytest

from bench.identity import Resources
from bench.placement import fits, misfit, request

SMALL = {"CPU": 2.0, "memory": 4e9}
LARGE = {"CPU": 8.0, "GPU": 1.0, "memory": 64e9, "a100": 1.0}


@pytest.mark.parametrize(
    ("asked", "nodes", "there_is_room"),
    [
        (Resources(2), [SMALL], True),
        (Resources(3), [SMALL, SMALL], False),  # two nodes are not one
        (Resources(1, 0.25), [SMALL, LARGE], True),
        (Resources(4, 2.0), [LARGE, LARGE], False),
        (Resources(1, 0.0, 5.0), [SMALL], False),
        (Resources(1, 0.0, 5.0), [{"CPU": 1.0}], True),  # it is not known how much memory there is
        (Resources(1, 1.0, None, {"a100": 1.0}), [SMALL, LARGE], True),
        (Resources(1, 1.0, None, {"h100": 1.0}), [SMALL, LARGE], False),
        (Resources(1), [], False),
    ],
)
def test_a_trial_fits_where_one_node_has_it_all(
    asked: Resources, nodes: list[dict[str, float]], there_is_room: bool
) -> None:
    assert fits(asked, nodes) == there_is_room


def test_what_is_asked_of_ray_has_its_names_and_units() -> None:
    asked = request(Resources(4, 0.25, 16.0, {"a100": 1.0}))
    assert asked == {"CPU": 4, "GPU": 0.25, "memory": 16e9, "a100": 1.0}


def test_a_misfit_is_said_with_what_is_asked_and_what_there_is() -> None:
    text = misfit("zoo", Resources(1, 64, 8.0), [SMALL, SMALL, LARGE])
    assert "sweep zoo asks for 1 CPU, 64 GPUs, 8 GB memory a trial, and no machine has that" in text
    assert "there are: 2 CPUs, 0 GPUs, 4 GB memory; 8 CPUs, 1 GPU, 64 GB memory." in text
