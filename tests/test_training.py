"""Batches depend on the seed alone, and losses are watched."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench.environment import generator, reproducible
from bench.identity import Budget
from bench.training import (
    DivergedError,
    EarlyStopping,
    ImageBatches,
    TimedOutError,
    Training,
    Watch,
    calculating,
    near,
    run_stage,
    samplers,
)
from datasets.pairs.gaussians import Gaussians
from methods.base import Autoencoder, Losses
from tests.faulty import Shift

IMAGES = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)


def no_report(stage: str, step: int, planned: int | None, loss: float) -> None:
    pass


def batches(batch_size: int, seed: int = 0) -> ImageBatches:
    return ImageBatches(IMAGES, batch_size, generator("test", seed=seed), torch.device("cpu"))


def test_batches_are_floats_between_0_and_1_of_the_asked_size() -> None:
    batch = next(batches(4))
    assert batch.shape == (4, 1, 1, 1)
    assert batch.dtype == torch.float32
    assert 0 <= batch.min() <= batch.max() <= 9 / 255 + 1e-7


def test_every_image_comes_once_an_epoch_also_when_batches_straddle_epochs() -> None:
    stream = batches(3)
    seen = torch.cat([next(stream).flatten() for _ in range(10)]).mul(255).round().int().tolist()
    for epoch in range(3):
        assert sorted(seen[epoch * 10 : (epoch + 1) * 10]) == list(range(10))


def test_batches_repeat_for_a_seed_and_differ_between_seeds() -> None:
    first, again, other = batches(10), batches(10), batches(10, seed=1)
    one = next(first)
    assert torch.equal(one, next(again))
    assert not torch.equal(one, next(other))


def test_batches_of_images_on_the_device_are_those_of_the_memory_map() -> None:
    resident = ImageBatches(torch.from_numpy(IMAGES), 4, generator("test", seed=0), torch.device("cpu"))
    mapped = batches(4)
    for _ in range(6):
        assert torch.equal(next(resident), next(mapped))


@pytest.mark.parametrize(
    ("share", "free", "moved"), [(1.0, 21, True), (1.0, 19, False), (0.25, 81, True), (0.25, 79, False)]
)
def test_images_go_to_a_gpu_that_has_room_for_twice_as_many(
    share: float, free: int, moved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 100))
    monkeypatch.setattr(torch, "empty", lambda shape, dtype, device: torch.zeros(shape, dtype=dtype))
    images = near(IMAGES, torch.device("cuda"), share)
    assert isinstance(images, torch.Tensor) is moved
    np.testing.assert_array_equal(np.asarray(images), IMAGES)


def test_a_batch_may_be_larger_than_the_set() -> None:
    assert len(next(batches(25))) == 25


def test_samplers_of_a_stage_repeat_whatever_was_drawn_elsewhere() -> None:
    axes = {"seed": 0, "dataset": ["gaussians", {"dim": 2}]}
    source, target = samplers(Gaussians(dim=2), torch.device("cpu"), stage="train", **axes)
    torch.rand(7)
    again, _ = samplers(Gaussians(dim=2), torch.device("cpu"), stage="train", **axes)
    target(5)
    assert torch.equal(source(3), again(3))


def test_a_loss_that_is_no_number_stops_the_run_and_says_where() -> None:
    watch = Watch(no_report)
    with pytest.raises(DivergedError, match="critic is nan at step 7 of train"):
        watch.record("train", 7, 10, {"loss": torch.tensor(1.0), "critic": torch.tensor(math.nan)})
    assert [point["name"] for point in watch.curves] == ["loss", "critic"]


def test_the_time_limit_stops_the_run() -> None:
    watch = Watch(no_report, timeout=1.0)
    watch.start(spent=2.0)
    with pytest.raises(TimedOutError, match="time limit"):
        watch.record("train", 1, 10, {"loss": torch.tensor(1.0)})


def test_training_makes_the_planned_updates_and_keeps_first_and_last_of_the_curve() -> None:
    watch, taken = Watch(no_report), []

    class Counted(Shift):
        def train_step(self, source_points: torch.Tensor, target_points: torch.Tensor) -> Losses:
            taken.append(1)
            return super().train_step(source_points, target_points)

    points = torch.zeros(4, 2)
    Training(watch, Counted(2), 1001, lambda: (points, points + 1)).run()
    steps = [point["step"] for point in watch.curves]
    assert len(taken) == 1001
    assert steps[0] == 1
    assert steps[-1] == 1001
    assert len(steps) < 300


def test_a_stage_that_yields_losses_leaves_a_curve_that_thins_out() -> None:
    watch = Watch(no_report)
    run_stage(watch, "prepare", ({"loss": torch.tensor(1.0 / (i + 1))} for i in range(5000)))
    assert 50 < len(watch.curves) < 500
    run_stage(watch, "finish", None)
    assert {point["stage"] for point in watch.curves} == {"prepare"}


class Objectives(Autoencoder):
    """Has one objective after another, whatever the images; draws a random number each time."""

    name = "objectives"

    def __init__(self, values: list[float]) -> None:
        super().__init__((1, 1, 1))
        self.values = iter(values)
        self.steps_per_epoch = 2
        self.modes: list[bool] = []

    def objective(self, images: torch.Tensor) -> Losses:
        self.modes.append(self.training)
        torch.rand(1)
        return {"loss": torch.tensor(next(self.values))}

    def train_step(self, images: torch.Tensor) -> Losses:
        assert self.training
        return {"loss": torch.rand(())}


def stopped(values: list[float], patience: int | None, steps: int = 20) -> tuple[Objectives, Watch]:
    watch, method = Watch(no_report), Objectives(values)
    ended = EarlyStopping(watch, method, IMAGES, Budget(steps, None, 10, patience), torch.device("cpu"), seed=0)
    torch.manual_seed(0)
    Training(watch, method, steps, lambda: (torch.zeros(1),), ended).run()
    return method, watch


def curve(watch: Watch, stage: str) -> list[tuple[int, float]]:
    return [(point["step"], point["value"]) for point in watch.curves if point["stage"] == stage]


def test_training_ends_when_the_validation_loss_has_not_improved_for_patience_epochs() -> None:
    method, watch = stopped([3.0, 2.0, 2.5, 2.0], patience=2)
    assert curve(watch, "validation") == [(1, 3.0), (2, 2.0), (3, 2.5), (4, 2.0)]
    assert curve(watch, "train")[-1][0] == 8
    assert method.modes == [False] * 4


def test_training_uses_its_whole_budget_while_the_validation_loss_improves() -> None:
    _, watch = stopped([float(-i) for i in range(10)], patience=1)
    assert curve(watch, "train")[-1][0] == 20


def test_early_stopping_does_not_shift_the_random_numbers_of_training() -> None:
    _, patient = stopped([3.0, 2.0, 2.5, 2.0], patience=2)
    _, plain = stopped([], patience=None)
    assert curve(patient, "train") == curve(plain, "train")[: len(curve(patient, "train"))]


def test_a_validation_loss_that_is_not_a_number_is_a_divergence() -> None:
    with pytest.raises(DivergedError, match="validation"):
        stopped([math.nan], patience=2)


def test_the_validation_loss_is_the_mean_over_full_batches() -> None:
    method = Objectives([1.0, 2.0, 6.0])
    early = EarlyStopping(Watch(no_report), method, IMAGES, Budget(1, None, 3, 1), torch.device("cpu"), seed=0)
    assert early.validation_loss(1).item() == 3.0


def test_tf32_is_allowed_in_its_block_alone() -> None:
    def allowed() -> set[bool]:
        return {torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32}

    with reproducible(threads=1):
        assert allowed() == {False}
        with calculating("tf32", torch.device("cuda")):
            assert allowed() == {True}
        assert allowed() == {False}
