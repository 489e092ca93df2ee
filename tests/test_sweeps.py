"""sweeps.toml: what it expands to, and what is said of every way to get it wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.registry import UnknownNameError
from bench.selection import ConditionError, on_cpu, select, where
from bench.sweeps import SCALES, Sweep, SweepsError, load_sweeps

SweepsFile = Callable[[str], Path]

GOOD = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
seeds = 2
batch_size = 16
datasets.gaussians = { dim = [2, 4] }
methods.w2gn = {}
methods.lsot = { epsilon = [0.01, 0.1] }

[sweep.pairs.quick]
steps = 10

[sweep.pairs.paper]
steps = 5001
seeds = [3, 5, 7]
methods.w2gn = { lr = 1e-4 }

[sweep.extra]
kind = "autoencoding"
optional = true
metrics.mse = { num_samples = 50 }
batch_size = 8
epochs = 1
datasets.digits = {}
methods.ae = {}
"""


def one(sweeps: list[Sweep], name: str) -> Sweep:
    return next(sweep for sweep in sweeps if sweep.name == name)


def test_a_sweep_is_every_dataset_by_method_by_seed(sweeps_file: SweepsFile) -> None:
    trials = one(load_sweeps(sweeps_file(GOOD), "quick"), "pairs").trials()
    assert len(trials) == 2 * (1 + 2) * 2
    assert len({trial.id for trial in trials}) == len(trials)
    assert {trial.budget.steps for trial in trials} == {10}


def test_a_metric_is_measured_on_those_datasets_of_a_sweep_that_allow_it(sweeps_file: SweepsFile) -> None:
    text = GOOD.replace("datasets.digits = {}", "datasets.digits = {}\ndatasets.sprites = {}")
    text = text.replace("metrics.mse = { num_samples = 50 }", "metrics = ['mig', 'kmeans', 'mse']")
    trials = one(load_sweeps(sweeps_file(text), "quick"), "extra").trials()
    measured = {trial.dataset.name: [metric.name for metric in trial.metrics] for trial in trials}
    assert measured == {"digits": ["kmeans", "mse"], "sprites": ["mig", "mse"]}


def test_a_methods_patience_is_part_of_its_budget_and_of_the_trial(sweeps_file: SweepsFile) -> None:
    patient = GOOD.replace("methods.ae = {}", "methods.ae = {}\nmethods.vae = { patience = 10 }")
    trials = one(load_sweeps(sweeps_file(patient), "quick"), "extra").trials()
    assert [trial.spec["budget"].get("patience") for trial in trials] == [None, 10]
    assert "patience" not in trials[0].spec["budget"]


def test_the_scale_replaces_values_and_merges_tables(sweeps_file: SweepsFile) -> None:
    sweep = one(load_sweeps(sweeps_file(GOOD), "paper"), "pairs")
    assert sweep.seeds == (3, 5, 7)
    assert [method.options["lr"] for method, _ in sweep.methods if method.name == "w2gn"] == [1e-4]
    assert len([method for method, _ in sweep.methods if method.name == "lsot"]) == 2


def test_options_are_filled_in_with_defaults_in_their_declared_types(sweeps_file: SweepsFile) -> None:
    text = GOOD.replace("epsilon = [0.01, 0.1]", "epsilon = 1")
    (lsot,) = [m for m, _ in one(load_sweeps(sweeps_file(text), "quick"), "pairs").methods if m.name == "lsot"]
    assert lsot.options["epsilon"] == 1.0
    assert isinstance(lsot.options["epsilon"], float)
    assert len(lsot.options) > 1


def test_a_scale_may_count_in_epochs_where_the_sweep_counts_in_steps(sweeps_file: SweepsFile) -> None:
    text = GOOD.replace("epochs = 1", "steps = 5").replace(
        "methods.ae = {}", "methods.ae = {}\n[sweep.extra.paper]\nepochs = 2"
    )
    ((_, budget),) = one(load_sweeps(sweeps_file(text), "paper"), "extra").methods
    assert (budget.steps, budget.epochs) == (None, 2.0)


def test_a_method_may_have_a_budget_of_its_own(sweeps_file: SweepsFile) -> None:
    text = GOOD.replace("methods.w2gn = {}", "methods.w2gn = { batch_size = 64, steps = 3 }", 1)
    budgets = {
        method.name: (budget.steps, budget.batch_size)
        for method, budget in one(load_sweeps(sweeps_file(text), "quick"), "pairs").methods
    }
    assert budgets == {"w2gn": (3, 64), "lsot": (10, 16)}
    text = GOOD.replace("methods.ae = {}", "methods.ae = { steps = 7 }")
    ((_, budget),) = one(load_sweeps(sweeps_file(text), "quick"), "extra").methods
    assert (budget.steps, budget.epochs) == (7, None)


def test_shared_hyperparameters_reach_every_method_and_yield_to_its_own(sweeps_file: SweepsFile) -> None:
    text = GOOD.replace(
        "methods.ae = {}", "methods.ae = {}\nmethods.vae = { latent_dim = 3 }\nshared = { latent_dim = 5 }"
    )
    sweep = one(load_sweeps(sweeps_file(text), "quick"), "extra")
    assert [method.options["latent_dim"] for method, _ in sweep.methods] == [5, 3]


def test_a_list_of_tables_gives_settings_that_are_no_grid(sweeps_file: SweepsFile) -> None:
    text = GOOD.replace("methods.w2gn = {}", "methods.w2gn = [{ lr = 1e-3 }, { rank = 2, lr = 1e-4 }]", 1).replace(
        "methods.w2gn = { lr = 1e-4 }", ""
    )
    settings = [m for m, _ in one(load_sweeps(sweeps_file(text), "quick"), "pairs").methods if m.name == "w2gn"]
    assert [(m.options["lr"], m.options["rank"]) for m in settings] == [(1e-3, 1), (1e-4, 2)]


def test_a_list_that_fits_the_hyperparameter_is_a_value_and_a_list_of_lists_a_grid(sweeps_file: SweepsFile) -> None:
    def hidden(value: str) -> list[object]:
        text = GOOD.replace("methods.w2gn = {}", f"methods.w2gn = {{ hidden = {value} }}", 1)
        sweep = one(load_sweeps(sweeps_file(text), "quick"), "pairs")
        return [method.options["hidden"] for method, _ in sweep.methods if method.name == "w2gn"]

    assert hidden("[32, 16]") == [(32, 16)]
    assert hidden("[[32, 16], [8]]") == [(32, 16), (8,)]


DRAWN = "methods.w2gn = { lr = { distribution = 'log-uniform', low = 1e-5, high = 1e-2, draws = 3 } }"


def rates(path: Path) -> list[float]:
    sweep = one(load_sweeps(path, "quick"), "pairs")
    return [method.options["lr"] for method, _ in sweep.methods if method.name == "w2gn"]


def test_a_distribution_is_drawn_the_same_whatever_else_the_sweep_holds(sweeps_file: SweepsFile) -> None:
    first = rates(sweeps_file(GOOD.replace("methods.w2gn = {}", DRAWN, 1)))
    without_lsot = GOOD.replace("methods.lsot = { epsilon = [0.01, 0.1] }", "methods.identity = {}")
    assert rates(sweeps_file(without_lsot.replace("methods.w2gn = {}", DRAWN, 1))) == first
    more = rates(sweeps_file(GOOD.replace("methods.w2gn = {}", DRAWN.replace("draws = 3", "draws = 5"), 1)))
    assert more[:3] == first
    assert len(set(more)) == 5
    assert all(1e-5 <= rate <= 1e-2 for rate in more)


def test_distributions_of_one_table_are_drawn_together(sweeps_file: SweepsFile) -> None:
    both = DRAWN.replace(" } }", " }, rank = { distribution = 'integer', low = 1, high = 9, draws = 3 } }")
    assert len(rates(sweeps_file(GOOD.replace("methods.w2gn = {}", both, 1)))) == 3


def test_adding_a_method_changes_no_other_id(sweeps_file: SweepsFile) -> None:
    before = {trial.id for trial in one(load_sweeps(sweeps_file(GOOD), "quick"), "pairs").trials()}
    more = GOOD.replace("methods.w2gn = {}", "methods.constant = {}\nmethods.w2gn = {}", 1)
    assert before < {trial.id for trial in one(load_sweeps(sweeps_file(more), "quick"), "pairs").trials()}


BAD = {
    "not TOML": ("kind = ", ["is not TOML"]),
    "no sweep": ("", ["names no sweep"]),
    "unknown key at the top": (GOOD + "\n[sweeps.x]\n", ["sweeps: unknown key", 'did you mean "sweep"']),
    "unknown key": (GOOD.replace("seeds = 2", "seed = 2"), ["sweep pairs, seed: unknown key", 'did you mean "seeds"']),
    "unknown key in a scale": (GOOD.replace("steps = 5001", "step = 5001"), ["paper.step: unknown key"]),
    "wrong type": (GOOD.replace("steps = 10", 'steps = "ten"'), ["quick.steps: must be a whole number", '"ten"']),
    "not a number": (GOOD.replace("lr = 1e-4", "lr = nan"), ["methods.w2gn.lr: must be a number"]),
    "no samples": (
        GOOD.replace("num_samples = 50", "num_samples = 0"),
        ["metrics.mse.num_samples: must be above 0"],
    ),
    "name that is no folder": (GOOD.replace("[sweep.extra]", '[sweep."../extra"]'), ["sweep ../extra, name: must be"]),
    "unknown kind": (GOOD.replace('"transport"', '"transprot"'), ['no kind "transprot"', 'did you mean "transport"']),
    "missing metrics": (GOOD.replace('metrics = ["l2-uvp"]', ""), ["sweep pairs, metrics: missing"]),
    "unknown method": (GOOD.replace("methods.lsot", "methods.lsto"), ["methods.lsto", 'did you mean "lsot"']),
    "unknown dataset": (GOOD.replace("datasets.digits", "datasets.digit"), ['did you mean "digits"']),
    "unknown metric": (GOOD.replace('"l2-uvp"', '"l2-upv"'), ["metrics.l2-upv", 'did you mean "l2-uvp"']),
    "unknown hyperparameter": (
        GOOD.replace("epsilon", "epsilom"),
        ["sweep pairs, methods.lsot.epsilom: no such hyperparameter", 'did you mean "epsilon"'],
    ),
    "unknown dataset option": (GOOD.replace("dim =", "dims ="), ["datasets.gaussians.dims", 'did you mean "dim"']),
    "unknown metric option": (GOOD.replace("num_samples", "n_samples"), ['did you mean "num_samples"']),
    "hyperparameter of a wrong type": (
        GOOD.replace("[0.01, 0.1]", '"small"'),
        ["methods.lsot.epsilon: must be a number"],
    ),
    "true is no number": (GOOD.replace("[2, 4]", "true"), ["datasets.gaussians.dim: must be a whole number, not True"]),
    "empty grid": (GOOD.replace("[0.01, 0.1]", "[]"), ["methods.lsot.epsilon: the grid is empty"]),
    "value twice": (GOOD.replace("[0.01, 0.1]", "[0.1, 0.1]"), ["the grid names a value twice"]),
    "metric of the other kind": (GOOD.replace('"l2-uvp"', '"mse"'), ["which no transport method gives"]),
    "metric the dataset cannot support": (
        GOOD.replace("metrics.mse = { num_samples = 50 }", "metrics = ['mig']"),
        ["metrics.mig: needs ground-truth factors, which the dataset digits has not"],
    ),
    "method of the other kind": (GOOD.replace("methods.lsot", "methods.vae"), ["is a method for autoencoding"]),
    "dataset of the other kind": (GOOD.replace("datasets.digits", "datasets.toy2d"), ["is a dataset for transport"]),
    "no budget": (GOOD.replace("steps = 10", ""), ["quick.steps: state the budget"]),
    "two budgets": (GOOD.replace("epochs = 1", "epochs = 1\nsteps = 1"), ["one of steps and epochs"]),
    "epochs of a sampler": (GOOD.replace("steps = 10", "epochs = 10"), ["samplers have no epochs"]),
    "patience with samplers": (GOOD.replace("steps = 10", "steps = 10\npatience = 3"), ["samplers have no epochs"]),
    "no patience": (GOOD.replace("epochs = 1", "epochs = 1\npatience = 0"), ["patience: must be above 0"]),
    "no seeds": (GOOD.replace("seeds = 2", "seeds = 0"), ["seeds: must be a number of at least 1"]),
    "seed twice": (GOOD.replace("[3, 5, 7]", "[3, 3]"), ["seeds"]),
    "negative batch": (GOOD.replace("batch_size = 16", "batch_size = -1"), ["batch_size: must be above 0"]),
    "impossible GPU": (GOOD.replace("seeds = 2", "resources = { gpus = 1.5 }"), ["resources.gpus"]),
    "custom resource with Ray's name": (
        GOOD.replace("seeds = 2", "resources = { custom = { GPU = 1 } }"),
        ["resources.custom.GPU"],
    ),
    "custom resource of half a thing more": (
        GOOD.replace("seeds = 2", "resources = { custom = { a100 = 1.5 } }"),
        ["resources.custom.a100"],
    ),
    "a grid of resources": (
        GOOD.replace("seeds = 2", "resources = { cpus = [1, 2] }"),
        ["sweep pairs, resources: stands for 2 settings"],
    ),
    "impossible memory": (GOOD.replace("seeds = 2", "resources = { memory_gb = 0 }"), ["resources.memory_gb"]),
    "unknown split": (GOOD.replace("seeds = 2", 'splits = ["tset"]'), ['did you mean "test"']),
    "unknown published table": (
        GOOD.replace("seeds = 2", 'published = "w2gn/gausians"'),
        ["published", "w2gn/gaussians"],
    ),
    "unknown distribution": (GOOD.replace("methods.w2gn = {}", DRAWN.replace("log-", "lgo-"), 1), ["no distribution"]),
    "distribution without draws": (
        GOOD.replace("methods.w2gn = {}", DRAWN.replace(", draws = 3", ""), 1),
        ["a distribution needs draws"],
    ),
    "shared hyperparameter that a method lacks": (
        GOOD.replace("epochs = 1", "epochs = 1\nshared = { latentdim = 4 }"),
        ["shared.latentdim: ae has no such hyperparameter", 'did you mean "latent_dim"'],
    ),
}


@pytest.mark.parametrize(("text", "fragments"), BAD.values(), ids=BAD.keys())
def test_a_mistake_is_said_with_its_place_and_the_nearest_name(
    sweeps_file: SweepsFile, text: str, fragments: list[str]
) -> None:
    with pytest.raises(SweepsError) as caught:
        load_sweeps(sweeps_file(text), "quick")
    message = str(caught.value)
    assert "sweeps.toml" in message
    for fragment in fragments:
        assert fragment in message


def test_all_mistakes_are_said_at_once_and_each_once(sweeps_file: SweepsFile) -> None:
    text = (
        GOOD.replace("epsilon", "epsilom").replace("seeds = 2", "seed = 2").replace("datasets.digits", "datasets.dgits")
    )
    with pytest.raises(SweepsError) as caught:
        load_sweeps(sweeps_file(text), "quick")
    assert len(caught.value.mistakes) == 3


def test_a_mistake_at_the_other_scale_is_said_too(sweeps_file: SweepsFile) -> None:
    with pytest.raises(SweepsError, match="lrr"):
        load_sweeps(sweeps_file(GOOD.replace("lr = 1e-4", "lrr = 1e-4")), "quick")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SweepsError, match="cannot be read"):
        load_sweeps(tmp_path / "absent.toml", "quick")


def chosen(path: Path, *only: str, everything: bool = False, seeds: int | None = None) -> set[str]:
    trials = select(load_sweeps(path, "quick"), only=only, everything=everything, seeds=seeds)
    return {f"{trial.sweep}/{trial.method.name}" for trial in trials}


def test_optional_sweeps_run_when_named_or_with_all(sweeps_file: SweepsFile) -> None:
    path = sweeps_file(GOOD)
    assert chosen(path) == {"pairs/w2gn", "pairs/lsot"}
    assert chosen(path, everything=True) == {"pairs/w2gn", "pairs/lsot", "extra/ae"}
    assert chosen(path, "extra") == {"extra/ae"}
    with pytest.raises(UnknownNameError):
        chosen(path, "*/ae")


def test_patterns_name_sweep_method_and_dataset(sweeps_file: SweepsFile) -> None:
    path = sweeps_file(GOOD)
    assert chosen(path, "pairs/w*") == {"pairs/w2gn"}
    assert chosen(path, "*/lsot/gauss*", "extra/ae") == {"pairs/lsot", "extra/ae"}


def test_the_beginning_of_an_id_names_a_trial(sweeps_file: SweepsFile) -> None:
    sweeps = load_sweeps(sweeps_file(GOOD), "quick")
    trial = sweeps[0].trials()[3]
    assert select(sweeps, only=[trial.id[:12]], everything=False, seeds=None) == [trial]


def test_a_pattern_that_matches_nothing_names_near_matches(sweeps_file: SweepsFile) -> None:
    with pytest.raises(UnknownNameError, match='did you mean "pairs/w2gn"'):
        chosen(sweeps_file(GOOD), "pairs/w2gm")


def test_seeds_can_be_replaced(sweeps_file: SweepsFile) -> None:
    trials = select(load_sweeps(sweeps_file(GOOD), "quick"), only=["pairs/w2gn"], everything=False, seeds=4)
    assert {trial.seed for trial in trials} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["method=w2gn"], {("w2gn", 2), ("w2gn", 4)}),
        (["dim<=2"], {("w2gn", 2), ("lsot", 2)}),
        (["dim>2", "method!=w2gn"], {("lsot", 4)}),
        (["epsilon=1e-1", "dim=2.0"], {("lsot", 2)}),  # numbers, however they are written
        (["epsilon!=1e-2"], {("lsot", 2), ("lsot", 4)}),
        (["epsilon>0.05"], {("lsot", 2), ("lsot", 4)}),  # w2gn has no such option
    ],
)
def test_conditions_choose_trials_by_their_options(
    sweeps_file: SweepsFile, conditions: list[str], expected: set[tuple[str, int]]
) -> None:
    trials = [t for t in load_sweeps(sweeps_file(GOOD), "quick")[0].trials() if t.seed == 0]
    assert {(t.method.name, t.dataset.options["dim"]) for t in where(trials, conditions)} == expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("dim", "expected NAME"),
        ("dmi<=4", 'no trial has "dmi": did you mean "dim"'),
        ("dim<2", "leaves no trial; dim is 2, 4"),
        ("dim<eight", "< takes a number"),
    ],
)
def test_a_condition_that_leaves_nothing_says_why(sweeps_file: SweepsFile, condition: str, message: str) -> None:
    trials = load_sweeps(sweeps_file(GOOD), "quick")[0].trials()
    with pytest.raises(ConditionError, match=message):
        where(trials, [condition])


def test_without_gpus_a_trial_is_the_same(sweeps_file: SweepsFile) -> None:
    text = GOOD.replace("[sweep.pairs]", "[sweep.pairs]\nresources = { cpus = 2, gpus = 0.5, custom = { a100 = 1 } }")
    trial = load_sweeps(sweeps_file(text), "quick")[0].trials()[0]
    (there,) = on_cpu([trial])
    assert (trial.resources.gpus, there.resources.gpus, there.resources.cpus) == (0.5, 0, 2)
    assert (trial.resources.custom, there.resources.custom) == ({"a100": 1}, {})
    assert there.id == trial.id


@pytest.mark.parametrize("scale", SCALES)
def test_the_sweeps_of_this_repository_are_sound(scale: str) -> None:
    sweeps = load_sweeps(Path(__file__).parent.parent / "sweeps.toml", scale)
    assert {"gaussians", "toy2d", "mnist", "sprites"} <= {sweep.name for sweep in sweeps if not sweep.optional}
    assert all(sweep.trials() for sweep in sweeps)
