"""Gradient-boosted classifiers of several targets at once: scikit-learn's GradientBoostingClassifier, tree for tree.

In every round of boosting each classifier fits one tree to each class's residuals (a single one for two classes). The
trees of a round do not depend on one another, nor do the classifiers of different targets; scikit-learn fits them one
after another. Here the trees of a round, of all classes and targets, are spread over threads. Values are those of
GradientBoostingClassifier with its defaults, fitted to one target after another, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

ROUNDS = 100
LEARNING_RATE = 0.1
DEPTH = 3
_TREE_SEEDS = 2**31 - 1
"""A tree draws one integer below this from its generator, which then decides between equally good splits."""
_LEAF = -1  # children of a leaf in scikit-learn's arrays


@dataclass(frozen=True)
class Boosted:
    """What a classifier of one target has learnt.

    importances: float64 [d], the shares of the features in all impurity reduction; zeros where no tree splits.
    predictions: [M], classes of the test points.
    """

    importances: np.ndarray
    predictions: np.ndarray


def fit_classifiers(
    features: np.ndarray,
    targets: np.ndarray,
    test_features: np.ndarray,
    random_state: np.random.RandomState,
    threads: int,
) -> list[Boosted]:
    """A boosted classifier of each target from all features; the number of threads does not matter to the values.

    Args:
        features: float [N, d]; compared in float32.
        targets: [N, T], each with two values at least.
        test_features: float [M, d].
        random_state: left as T calls of GradientBoostingClassifier().fit would leave it.
    """
    train, test = (np.asfortranarray(array, dtype=np.float32) for array in (features, test_features))
    classifiers = [_Classifier(train, target, test, random_state) for target in targets.T]
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(ROUNDS):
            for classifier in classifiers:
                classifier.begin_round()
            trees = [(classifier, number) for classifier in classifiers for number in range(classifier.trees)]
            importances = pool.map(lambda tree: tree[0].fit_tree(tree[1]), trees)
            for (classifier, _), importance in zip(trees, importances, strict=True):
                classifier.importances.append(importance)
    return [classifier.boosted() for classifier in classifiers]


class _Replayed(np.random.RandomState):
    """Gives integers drawn before: trees fitted side by side get those they would draw one after another."""

    def __init__(self, integers: Iterable[int]) -> None:
        super().__init__(0)
        self._integers = iter(integers)

    def randint(self, low: int, high: int) -> int:  # type: ignore[override]  # as a tree's splitter calls it
        return next(self._integers)


class _Classifier:
    """One target's classifier: its scores of each class at the train and the test points so far.

    trees: how many a round has; two classes share one tree and one score.
    importances: of each tree fitted, by round and class, what each feature contributed to it.
    """

    def __init__(
        self, train: np.ndarray, target: np.ndarray, test: np.ndarray, random_state: np.random.RandomState
    ) -> None:
        from sklearn._loss.loss import HalfBinomialLoss, HalfMultinomialLoss

        self.train, self.test = train, test
        self.classes, encoded = np.unique(target, return_inverse=True)
        self.encoded = encoded.astype(np.float64)
        epsilon = np.finfo(np.float64).eps
        priors = np.clip(np.bincount(encoded) / len(encoded), epsilon, 1 - epsilon)
        if len(priors) == 2:
            self.loss = HalfBinomialLoss()
            self.shrinkage = 1.0
            self.indicators = self.encoded[:, None]
            start = self.loss.link.link(priors[1:])
        else:
            self.loss = HalfMultinomialLoss(n_classes=len(priors))
            self.shrinkage = (len(priors) - 1) / len(priors)
            self.indicators = np.asfortranarray(encoded[:, None] == np.arange(len(priors)), dtype=np.float64)
            start = self.loss.link.link(priors[None])[0]
        self.trees = len(start)
        self.scores = np.asfortranarray(np.tile(start, (len(train), 1)))
        self.test_scores = np.asfortranarray(np.tile(start, (len(test), 1)))
        seeds = random_state.randint(0, _TREE_SEEDS, size=(ROUNDS, self.trees))
        self.generators = [_Replayed(column) for column in seeds.T]
        self.importances: list[np.ndarray] = []

    def begin_round(self) -> None:
        """Computes the residuals that the trees of this round are fitted to."""
        gradient = self.loss.gradient(y_true=self.encoded, raw_prediction=self.scores)
        self.residuals = -gradient.reshape(self.scores.shape)

    def fit_tree(self, number: int) -> np.ndarray:
        """Fits the tree of one class and adds it to the scores; a round's trees may be fitted in any order, or at once.

        Returns what each feature contributed, float64 [d]; of a tree that does not split, [0, d].
        """
        from sklearn.tree import DecisionTreeRegressor

        residuals, indicators = self.residuals[:, number], self.indicators[:, number]
        model = DecisionTreeRegressor(max_depth=DEPTH, random_state=self.generators[number])
        tree = model.fit(self.train, residuals, check_input=False).tree_
        leaves = tree.apply(self.train)
        steps = np.zeros(tree.node_count)
        for leaf in np.flatnonzero(tree.children_left == _LEAF):
            members = np.flatnonzero(leaves == leaf)
            steps[leaf] = LEARNING_RATE * self._newton_step(residuals[members], indicators[members])
        self.scores[:, number] += steps[leaves]
        self.test_scores[:, number] += steps[tree.apply(self.test)]
        importance = tree.compute_feature_importances(normalize=False)
        return importance[None] if tree.node_count > 1 else importance[None][:0]

    def _newton_step(self, residuals: np.ndarray, indicators: np.ndarray) -> float:
        """Towards a lower loss, for the points of a leaf (Friedman 2001, algorithms 5 and 6)."""
        probabilities = indicators - residuals
        curvature = (probabilities * (1 - probabilities)).mean()
        if abs(curvature) < 1e-150:
            return 0.0
        return residuals.mean() * self.shrinkage / curvature

    def boosted(self) -> Boosted:
        split = np.concatenate(self.importances)
        importances = split.mean(axis=0) if len(split) else np.zeros(self.train.shape[1])
        if importances.sum() > 0:
            importances = importances / importances.sum()
        chosen = (self.test_scores[:, 0] >= 0).astype(int) if self.trees == 1 else self.test_scores.argmax(axis=1)
        return Boosted(importances, self.classes[chosen])
