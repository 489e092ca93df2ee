"""DCI: disentanglement, completeness and informativeness (Eastwood and Williams 2018), by three protocols.

Each factor is predicted from all latents by an ensemble of trees. The importances of the latents to the trees say
which latents a factor is spread over (completeness) and which factors a latent serves (disentanglement); how well
factors are predicted is informativeness. The ensemble and the number of points decide the values: a random linear mix
scores a disentanglement of 0.15 from 1,000 training points and 0.30 from 10,000, and 0.05 by random forests. So a
protocol's values compare with its own alone, and a split that has too few points is no reason to use fewer.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.disentanglement.boosting import fit_classifiers
from bench.metrics.disentanglement.points import DRAWN, draw, import_disent, require_varying, scaled_targets

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor

FOREST_DEPTHS = (2, 4, 8, 12)
FOREST_TREES = 10
FOREST_FOLDS = 5
FOREST_HELD_OUT = 0.33


def disentanglement_and_completeness(importance: np.ndarray) -> tuple[float, float]:
    """Of importances [d, F] of d latents to F factors, d and F ≥ 2, both in [0, 1]; the formulas are disent's.

    A latent scores 1 - the entropy of its importances over factors, to base F; a factor 1 - the entropy over latents,
    to base d. Latents and factors are averaged by their shares in all importance; without any, both scores are 0.
    """
    library = import_disent("_dci")
    return float(library._disentanglement(importance)), float(library._completeness(importance))


def _outputs(name: str, informativeness: Output) -> dict[str, Output]:
    return {
        f"{name}-disentanglement": Output("max", "0 to 1", "how far each latent matters to one factor only"),
        f"{name}-completeness": Output("max", "0 to 1", "how far each factor is captured by one latent only"),
        f"{name}-informativeness": informativeness,
    }


def _scores(name: str, importance: np.ndarray, informativeness: float) -> dict[str, float]:
    disentanglement, completeness = disentanglement_and_completeness(importance)
    return {
        f"{name}-disentanglement": disentanglement,
        f"{name}-completeness": completeness,
        f"{name}-informativeness": informativeness,
    }


_ACCURACY = Output("max", "0 to 1", "accuracy of predicting factors from codes, on test points")


@dataclass(frozen=True)
class _Points:
    """Training and test points drawn from a split."""

    codes: np.ndarray
    factors: np.ndarray
    test_codes: np.ndarray
    test_factors: np.ndarray

    @classmethod
    def drawn(
        cls, codes: np.ndarray, factors: np.ndarray, num_train: int, num_test: int, rng: np.random.Generator
    ) -> _Points:
        if min(num_train, num_test) < 1:
            raise Unmeasurable(f"{num_train} training and {num_test} test points were asked for")
        codes, factors = draw(codes, factors, num_train + num_test, rng)
        _require_two(codes, factors)
        require_varying(factors[:num_train])
        return cls(codes[:num_train], factors[:num_train], codes[num_train:], factors[num_train:])


def _require_two(codes: np.ndarray, factors: np.ndarray) -> None:
    if codes.shape[1] < 2:
        raise Unmeasurable("completeness compares latent dimensions; the codes have one")
    if factors.shape[1] < 2:
        raise Unmeasurable("disentanglement compares factors; the dataset has one")


@metric(
    table="disentanglement",
    version=2,
    source="Eastwood and Williams 2018 (ICLR, By-7dz-AZ); protocol of Locatello et al. 2019",
    outputs=_outputs("dci", _ACCURACY),
    protocol={"classifier": "gradient-boosted trees, scikit-learn's defaults", "points": DRAWN},
)
def dci(
    codes: np.ndarray,
    factors: np.ndarray,
    rng: np.random.Generator,
    threads: int,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
) -> dict[str, float]:
    """DCI of codes [N, d] and factors [N, F], d and F ≥ 2, by gradient-boosted trees, as the 2019 study.

    The trees are those of scikit-learn's GradientBoostingClassifier, bit for bit. The cost grows with `num_train` and
    with the sum of the factors' sizes (one tree a value and boosting round), and falls with the threads.

    Raises:
        Unmeasurable: fewer points than asked for, a single latent or factor, codes that are not finite, or a factor
            with a single value among the training points.
    """
    points = _Points.drawn(codes, factors, num_train, num_test, rng)
    random_state = np.random.RandomState(rng.integers(2**32))
    boosted = fit_classifiers(points.codes, points.factors, points.test_codes, random_state, threads)
    predictions = np.stack([target.predictions for target in boosted], axis=1)
    importance = np.stack([target.importances for target in boosted], axis=1)
    return _scores("dci", importance, float((predictions == points.test_factors).mean()))


@metric(
    table="disentanglement",
    source="Eastwood and Williams 2018 (ICLR, By-7dz-AZ), with histogram gradient boosting (Ke et al. 2017)",
    outputs=_outputs("dci-histogram", _ACCURACY),
    protocol={
        "classifier": "histogram gradient-boosted trees of depth 3, else scikit-learn's defaults, no early stopping",
        "importance": "sum of the gains in loss of a latent's splits",
        "points": DRAWN,
    },
)
def dci_histogram(
    codes: np.ndarray,
    factors: np.ndarray,
    rng: np.random.Generator,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
) -> dict[str, float]:
    """DCI of codes [N, d] and factors [N, F], d and F ≥ 2, by boosting on histograms: fast, of the same shape as `dci`.

    Trees are as deep as those of `dci`, but see the codes in 255 bins and count importance in loss rather than in
    squared residuals, so the values are near those of `dci` and not the same.

    Raises:
        Unmeasurable: as `dci`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    points = _Points.drawn(codes, factors, num_train, num_test, rng)
    importance = np.zeros((points.codes.shape[1], points.factors.shape[1]))
    accuracies = []
    for index, (factor, test_factor) in enumerate(zip(points.factors.T, points.test_factors.T, strict=True)):
        model = HistGradientBoostingClassifier(max_depth=3, early_stopping=False, random_state=0).fit(
            points.codes, factor
        )
        accuracies.append((model.predict(points.test_codes) == test_factor).mean())
        importance[:, index] = split_gains(model, len(importance))
    return _scores("dci-histogram", importance, float(np.mean(accuracies)))


def split_gains(model: HistGradientBoostingClassifier, num_features: int) -> np.ndarray:
    """The share of each feature in the gains of all splits, float64 [d]; zeros where no tree splits.

    A split of a node with gradient G and curvature H gains L²/H_L + R²/H_R - G²/H, up to a factor. scikit-learn keeps
    the gains, but shows them nowhere in public.
    """
    gains = np.zeros(num_features)
    for trees_of_a_round in model._predictors:
        for tree in trees_of_a_round:
            splits = tree.nodes[tree.nodes["is_leaf"] == 0]
            np.add.at(gains, splits["feature_idx"], splits["gain"])
    return gains / gains.sum() if gains.sum() > 0 else gains


@metric(
    table="disentanglement",
    source="Eastwood and Williams 2018 (ICLR, By-7dz-AZ); protocol of the code of GWAE (arXiv 2209.07007), vaetc",
    outputs=_outputs(
        "dci-random-forest",
        Output("max", "0 to 1", "1 - 6 times the squared error of predicting factors, scaled to [0, 1], averaged"),
    ),
    protocol={
        "regressor": "random forest of 10 trees, depth of {2, 4, 8, 12} by 5-fold cross-validation of squared error",
        "targets": "each factor scaled to [0, 1]; those in one_hot a column a value",
        "test_points": "a third (33%)",
        "points": DRAWN,
    },
)
def dci_random_forest(
    drawn_codes: np.ndarray,
    factors: np.ndarray,
    rng: np.random.Generator,
    threads: int,
    *,
    num_samples: int = 10_000,
    one_hot: tuple[int, ...] = (),
) -> dict[str, float]:
    """DCI of draws of the posterior [N, d] and factors [N, F] by random-forest regressors, as GWAE's authors.

    Departures from their code: it takes all images of the test split, this `num_samples`; for 3D Shapes it has a column
    for each value of the shape, here to be asked for by one_hot = [4], and each then counts as a factor of its own;
    its hues are multiples of 0.1 up to 0.9 rather than scaled to [0, 1]; and a target that no latent helps to
    predict counts there as complete, here not at all. The depth is the same for all targets, as there.

    Raises:
        Unmeasurable: fewer points than asked for, so few that a fold would be empty, a single latent or target, codes
            that are not finite, a factor with a single value, or no factor of a number in `one_hot`.
    """
    codes, factors = draw(drawn_codes, factors, num_samples, rng)
    num_train = len(codes) - int(np.ceil(FOREST_HELD_OUT * len(codes)))
    if num_train < FOREST_FOLDS:
        raise Unmeasurable(f"{num_train} training points are fewer than the {FOREST_FOLDS} folds")
    require_varying(factors)
    targets = scaled_targets(factors, one_hot)
    _require_two(codes, targets)
    train, test = slice(num_train), slice(num_train, None)
    seed = int(rng.integers(2**32))
    with ThreadPoolExecutor(threads) as pool:
        depth = _chosen_depth(codes[train], targets[train], seed, pool)
        forests = list(pool.map(lambda target: _forest(codes[train], target, depth, seed), targets[train].T))
    errors = [
        np.square(forest.predict(codes[test]) - target).mean()
        for forest, target in zip(forests, targets[test].T, strict=True)
    ]
    importance = np.stack([forest.feature_importances_ for forest in forests], axis=1)
    return _scores("dci-random-forest", importance, float(np.maximum(0, 1 - 6 * np.array(errors)).mean()))


def _chosen_depth(codes: np.ndarray, targets: np.ndarray, seed: int, pool: ThreadPoolExecutor) -> int:
    """The depth whose forests have the lowest mean squared error over targets and folds; the lesser of equal ones."""
    from sklearn.model_selection import KFold

    folds = list(KFold(FOREST_FOLDS).split(codes))

    def error(job: tuple[int, np.ndarray, tuple[np.ndarray, np.ndarray]]) -> float:
        depth, target, (fit, held_out) = job
        forest = _forest(codes[fit], target[fit], depth, seed)
        return float(np.square(forest.predict(codes[held_out]) - target[held_out]).mean())

    errors = np.array(list(pool.map(error, product(FOREST_DEPTHS, targets.T, folds))))
    return FOREST_DEPTHS[errors.reshape(len(FOREST_DEPTHS), -1).mean(axis=1).argmin()]


def _forest(codes: np.ndarray, target: np.ndarray, depth: int, seed: int) -> RandomForestRegressor:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(FOREST_TREES, max_depth=depth, random_state=seed).fit(codes, target)
