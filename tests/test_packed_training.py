"""Models trained as one end where each of them ends alone; what cannot be trained so is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.environment import seed_torch
from bench.packed_draws import DrawError
from bench.packed_training import Pack, PackError, can_pack
from bench.registry import all_methods, find_method
from bench.training import calculating
from methods.base import Autoencoder, Losses, Method
from tests import packable
from tests.packable import Affine

PACKED = sorted(name for name, method in all_methods().items() if can_pack(method))
NOT_BATCHED = {
    "sinkhorn-ae": "iterates until its marginals fit",
    "guided-vae": "resamples one model's bases after another's",
    "vitae": "resamples one model's images after another's",
}
"""Methods whose update is a step down an objective that cannot be computed for several models at once, and why."""
IMAGES = (1, 16, 16)
EPSILON = 1e-3
"""Adam's: where a gradient is zero but for rounding, a smaller one makes steps of the rounding."""
Batches = list[tuple[Tensor, ...]]


@pytest.fixture
def double() -> Iterator[None]:
    """In double precision rounding cannot be taken for anything else, nor anything else for rounding."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(method: str | type[Method], count: int = 3, each: Sequence[dict[str, Any]] = (), **params: Any) -> list[Any]:
    """Models of seeds 0, 1, …, as a trial makes them; `each` has what is to differ besides."""
    method_class: Any = find_method(method) if isinstance(method, str) else method
    params = {**method_class.check_params, **params}
    models = []
    for seed in range(count):
        seed_torch("initialization", seed=seed)
        own = each[seed] if each else {}
        model = method_class(IMAGES if issubclass(method_class, Autoencoder) else 2, **params, **own)
        model.planned_steps, model.steps_per_epoch = 20, 5
        for group in (group for optimizer in model.optimizers for group in optimizer.param_groups):
            if "eps" in group:
                group["eps"] = EPSILON
        models.append(model.train())
    return models


def streams(count: int = 3) -> list[Tensor]:
    """Where the random streams of training begin."""
    states = []
    for seed in range(count):
        seed_torch("training", seed=seed)
        states.append(torch.get_rng_state())
    return states


def batches(model: Method, updates: int, count: int = 3) -> list[Batches]:
    """For each update, the batch of each model."""
    stream = torch.Generator().manual_seed(1)

    def batch() -> tuple[Tensor, ...]:
        if isinstance(model, Autoencoder):
            return (torch.rand(8, *IMAGES, generator=stream),)
        return torch.randn(16, 2, generator=stream), 2 + torch.randn(16, 2, generator=stream)

    return [[batch() for _ in range(count)] for _ in range(updates)]


def train_alone(
    models: list[Any], states: list[Tensor], data: list[Batches]
) -> tuple[list[list[Losses]], list[Tensor]]:
    """The losses of each update and model, and where the random streams end."""
    losses: list[list[Losses]] = [[] for _ in data]
    ends = []
    for at, (model, state) in enumerate(zip(models, states, strict=True)):
        torch.set_rng_state(state)
        for step, batch in enumerate(data):
            losses[step].append({name: value.detach() for name, value in model.train_step(*batch[at]).items()})
        ends.append(torch.get_rng_state())
    return losses, ends


def train_packed(
    models: list[Any], states: list[Tensor], data: list[Batches]
) -> tuple[list[list[Losses]], list[Tensor]]:
    pack = Pack(models, states)
    losses = [pack.step(batch) for batch in data]
    pack.check()
    pack.unstack()
    return losses, [stream.get_state() for stream in pack.streams]


def assert_same(packed: list[Any], alone: list[Any], rtol: float = 1e-6, atol: float = 1e-9) -> None:
    """Parameters, buffers, optimizers and all else that the models hold."""
    for one, other in zip(packed, alone, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=rtol, atol=atol)
        for mine, theirs in zip(one.optimizers, other.optimizers, strict=True):
            ours, others = mine.state_dict(), theirs.state_dict()
            assert ours["param_groups"] == others["param_groups"]
            assert ours["state"].keys() == others["state"].keys()
            torch.testing.assert_close(ours["state"], others["state"], rtol=rtol, atol=atol)
        for module, again in zip(one.modules(), other.modules(), strict=True):
            scalars = [{k: v for k, v in vars(m).items() if type(v) in (int, float, bool)} for m in (module, again)]
            assert scalars[0] == scalars[1]


@pytest.mark.parametrize("name", PACKED)
def test_every_method_that_packs_trains_as_it_does_alone(double: None, name: str) -> None:
    packed, alone = make(name), make(name)
    data = batches(alone[0], 5)
    expected, ends = train_alone(alone, streams(), data)
    losses, packed_ends = train_packed(packed, streams(), data)
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=1e-9)
    assert all(torch.equal(one, other) for one, other in zip(packed_ends, ends, strict=True))
    assert_same(packed, alone)
    moved = zip(make(name)[0].parameters(), packed[0].parameters(), strict=True)
    assert any(not torch.equal(before, after) for before, after in moved)


def test_methods_that_do_not_pack_are_known() -> None:
    refused = {name for name, method in all_methods().items() if not method.packs}
    assert refused == NOT_BATCHED.keys()
    for name in NOT_BATCHED:
        assert not can_pack(find_method(name))


def test_methods_with_an_update_of_their_own_do_not_pack() -> None:
    own = {name for name, method in all_methods().items() if "train_step" in vars(method)}
    assert {"wae-gan", "geco", "factor-vae"} <= own
    assert not own & set(PACKED)
    assert not can_pack(find_method("linear")), "it does not train"
    assert not can_pack(find_method("tests.faulty:Shift"))
    assert can_pack(Affine)


@pytest.mark.parametrize(
    ("method", "params", "each"),
    [
        ("beta-vae", {}, [{"beta": 0.5}, {"beta": 4.0}, {"beta": 100.0}]),
        ("beta-vae", {}, [{"lr": 1e-2}, {"lr": 1e-3}, {"lr": 1e-3}]),
        ("w2gn", {}, [{"cycle_weight": 0.1}, {"cycle_weight": 2.0}, {"cycle_weight": 30.0}]),
        ("w2gn", {}, [{"adam_beta1": 0.8}, {"adam_beta1": 0.5}, {"adam_beta1": 0.8}]),
        ("wae-mmd", {"schedule": "smooth"}, [{"lr": 1e-2, "penalty": 1.0}, {"lr": 1e-3}, {"penalty": 0.1}]),
        (Affine, {"descent": "sgd"}, [{"weight": 0.1, "lr": 0.01}, {"weight": 1.0}, {"weight": 3.0}]),
        (packable.Anneals, {"descent": "sgd"}, [{"weight": 0.1}, {"weight": 1.0}, {"weight": 1.0}]),
    ],
)
def test_models_whose_floats_differ_train_as_each_does_alone(
    double: None, method: str | type[Method], params: dict[str, Any], each: list[dict[str, Any]]
) -> None:
    packed, alone, plain = make(method, each=each, **params), make(method, each=each, **params), make(method, **params)
    data = batches(alone[0], 4)
    expected, ends = train_alone(alone, streams(), data)
    losses, packed_ends = train_packed(packed, streams(), data)
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=1e-9)
    assert all(torch.equal(one, other) for one, other in zip(packed_ends, ends, strict=True))
    assert_same(packed, alone)
    train_alone(plain, streams(), data)
    differing = [
        any(not torch.allclose(p, q, rtol=1e-4) for p, q in zip(m.parameters(), n.parameters(), strict=True))
        for m, n in zip(packed, plain, strict=True)
    ]
    assert any(differing), "these floats are to matter"


@pytest.mark.parametrize(
    ("each", "what"),
    [
        ([{"order": 2}, {"order": 2}, {"order": 3}], "differ in order"),
        ([{"width": 2}, {"width": 2}, {"width": 3}], "shrinking has not the same shape"),
        ([{"descent": "adam"}, {"descent": "sgd"}, {"descent": "adam"}], "optimizer"),
        ([{"descent": "lbfgs"}] * 3, "LBFGS is no elementwise optimizer"),
        ([{"weight": 1.0}, {"weight": None}, {"weight": 1.0}], "differ in weight"),
    ],
)
def test_models_that_differ_in_more_than_floats_are_refused(each: list[dict[str, Any]], what: str) -> None:
    with pytest.raises(PackError, match=what):
        Pack(make(Affine, each=each), streams())


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.register_parameter("another", torch.nn.Parameter(torch.ones(1))),
        lambda model: model.register_buffer("another", torch.ones(1)),
        lambda model: model.add_module("another", torch.nn.ReLU()),
        lambda model: setattr(model, "another", 0.5),
        lambda model: setattr(model, "another", [1, 2]),
        lambda model: setattr(model, "another", iter([1])),
    ],
    ids=["parameter", "buffer", "module", "float", "list", "iterator"],
)
def test_what_only_one_model_has_is_found(change: Callable[[Any], object]) -> None:
    for at in range(3):
        models = make(Affine)
        change(models[at])
        with pytest.raises(PackError):
            Pack(models, streams())


@pytest.mark.parametrize("method", [packable.DrawsInPlace, packable.DrawsMasks, packable.DrawsOrders])
def test_what_cannot_be_drawn_beforehand_is_refused_before_anything_has_changed(method: type[Method]) -> None:
    models, states = make(method), streams()
    before = copy.deepcopy([model.state_dict() for model in models])
    torch.manual_seed(5)
    here = torch.get_rng_state()
    pack = Pack(models, states)
    with pytest.raises(PackError, match="draws random numbers in a way that cannot be packed"):
        pack.step(batches(models[0], 1)[0])
    assert torch.equal(torch.get_rng_state(), here)
    assert all(torch.equal(stream.get_state(), state) for stream, state in zip(pack.streams, states, strict=True))
    for model, was in zip(models, before, strict=True):
        torch.testing.assert_close(model.state_dict(), was, rtol=0, atol=0)


def test_a_pack_whose_losses_are_not_those_of_its_models_does_not_begin() -> None:
    models = make(packable.Mixes)
    before = copy.deepcopy([list(model.parameters()) for model in models])
    with pytest.raises(PackError, match=r"its losses are .* and those of its models alone"):
        Pack(models, streams()).step(batches(models[0], 1)[0])
    assert all(map(torch.equal, before[at], model.parameters()) for at, model in enumerate(models))


@pytest.mark.parametrize("method", [packable.DrawsLess, packable.DrawsMore])
def test_an_objective_that_comes_to_draw_other_numbers_is_found(method: type[Method]) -> None:
    models = make(method)
    data, pack = batches(models[0], 3), Pack(models, streams())
    for batch in data[:2]:
        pack.step(batch)
    with pytest.raises(DrawError, match="the same random numbers"):
        pack.step(data[2])


def test_models_that_come_to_differ_are_found() -> None:
    models = make(packable.Counts)
    pack = Pack(models, streams())
    pack.step(batches(models[0], 1)[0])
    with pytest.raises(PackError, match="differ in called"):
        pack.check()


def test_settings_of_optimizers_that_come_to_differ_are_found() -> None:
    models = make(Affine)
    data, pack = batches(models[0], 2), Pack(models, streams())
    pack.step(data[0])
    models[1].optimizer.param_groups[0]["lr"] = 0.5
    with pytest.raises(PackError, match="settings have become different"):
        pack.step(data[1])


@pytest.mark.parametrize(
    ("method", "params", "each"),
    [
        (Affine, {"descent": "sgd"}, []),
        (Affine, {}, [{"lr": 0.05}, {"lr": 0.01}, {"lr": 0.05}]),
        ("w2gn", {}, []),
        ("two-stage-vae", {}, []),
        ("wae-mmd", {"schedule": "smooth"}, []),
    ],
)
@pytest.mark.parametrize("order", ["packed first", "alone first"])
def test_training_goes_over_from_alone_to_packed_and_back(
    double: None, method: str | type[Method], params: dict[str, Any], each: list[dict[str, Any]], order: str
) -> None:
    changing, alone = make(method, each=each, **params), make(method, each=each, **params)
    data = batches(alone[0], 6)
    expected, ends = train_alone(alone, streams(), data)
    first, second = (train_packed, train_alone) if order == "packed first" else (train_alone, train_packed)
    begun, states = first(changing, streams(), data[:3])
    ended, states = second(changing, states, data[3:])
    torch.testing.assert_close([*begun, *ended], expected, rtol=1e-6, atol=1e-9)
    assert all(torch.equal(one, other) for one, other in zip(states, ends, strict=True))
    assert_same(changing, alone)


@pytest.mark.parametrize("updates", [(0, 1, 1), (1, 1, 2)])
def test_optimizers_that_have_not_come_equally_far_are_refused(updates: tuple[int, ...]) -> None:
    models, states = make(Affine), streams()
    for at, count in enumerate(updates):
        train_alone([models[at]], [states[at]], batches(models[at], count, 1))
    with pytest.raises(PackError, match="differ in steps_done"):
        Pack(models, states)
    for model in models:
        model.steps_done = 0
    with pytest.raises(PackError, match="not come equally far"):
        Pack(models, states)


@pytest.mark.parametrize("name", ["vae", "wae-mmd", "w2gn"])
def test_in_single_precision_differences_are_those_of_rounding(name: str) -> None:
    packed, alone = make(name), make(name)
    data = batches(alone[0], 5)
    expected, _ = train_alone(alone, streams(), data)
    losses, _ = train_packed(packed, streams(), data)
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["vae", "w2gn"])
def test_in_bfloat16_the_pack_calculates_as_its_models_do(name: str) -> None:
    packed, alone, plain = make(name), make(name), make(name)
    data = batches(alone[0], 5)
    pack = Pack(packed, streams(), "bfloat16")
    losses = [pack.step(batch)[0]["loss"] for batch in data]
    torch.set_rng_state(streams()[0])
    expected = []
    for batch in data:
        with calculating("bfloat16", torch.device("cpu")):
            expected.append(alone[0].train_step(*batch[0])["loss"].detach())
    torch.testing.assert_close(losses, expected, rtol=1e-2, atol=1e-3)
    exact, _ = train_alone(plain, streams(), data)
    assert losses != [own[0]["loss"] for own in exact]
    assert all(parameter.dtype == torch.float32 for parameter in packed[0].parameters())
