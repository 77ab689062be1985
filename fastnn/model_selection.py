"""Choosing k, weights and metric without touching the test set.

The k nearest neighbors are the first k of more, so for each metric and split one search with the
largest k serves every k and every weighting::

    metric, split --> lists of neighbors, as long as the largest k
        folds, a validation set   one search of the test rows among the training rows
        leave-one-out             one search of all rows among themselves
        bootstrap                 one search of all rows among themselves, longer; each resample
                                  takes the rows it holds, as often as it holds them
    --> every weighting, every k --> scores
        accuracy       a vote that notes the leading class after each neighbor
        other scorers  an estimator that has these lists for its neighbors

What the kernels do not serve is fitted and scored candidate by candidate, as GridSearchCV does.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.random import Generator, RandomState
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from scipy.stats import rankdata
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import (
    BaseShuffleSplit,
    LeaveOneOut,
    ShuffleSplit,
    StratifiedShuffleSplit,
    check_cv,
    train_test_split,
)
from sklearn.utils import get_tags, indexable
from sklearn.utils.validation import check_is_fitted

from . import _validation
from ._core._threads import effective_n_threads
from ._core.search._vote import neighbors_in_resample, predict_for_each_k
from ._search.metric_spaces import space_of
from ._search.searcher import Searcher
from ._sklearn.preparation import labels_of, samples_of
from ._sklearn.private import (
    BaseSearchCV,
    Interval,
    StrOptions,
    fit_context,
    get_weights,
    num_samples,
    safe_indexing,
    safe_split,
    yield_masked_array_for_each_param,
)
from .neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    NearestNeighbors,
)

__all__ = [
    "Bootstrap",
    "HoldoutTest",
    "HoldoutWarning",
    "KNeighborsClassifierCV",
    "KNeighborsRegressorCV",
    "train_val_test_split",
]

# The largest k that is tried by default.
DEFAULT_LARGEST = 30


# ---- splits --------------------------------------------------------------------------------------


def train_val_test_split(
    X: Any,
    y: ArrayLike,
    *,
    val_size: float = 1000,
    test_size: float = 0.2,
    stratify: bool | ArrayLike | None = True,
    shuffle: bool = True,
    random_state: int | RandomState | Generator | None = 0,
) -> Any:
    """Split data into a training, a validation and a test set.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), or any sequence
    y : array-like of shape (n_samples,)
    val_size, test_size : int or float, default=1000 and 0.2
        A number of samples, or a fraction of all of them (rounded up).
    stratify : bool, None or array-like of shape (n_samples,), default=True
        Whether each set has the classes of `y`, or of this array, in the same proportions. None is
        False.
    shuffle : bool, default=True
        False: the sets are the first, the next and the last samples, which `stratify` must allow.
    random_state : int, RandomState, Generator or None, default=0
        The same number, the same sets: a test set that changes from run to run is soon known.

    Returns
    -------
    X_train, X_val, X_test, y_train, y_val, y_test
        Of the types of `X` and `y`.

    Raises
    ------
    TypeError
        If a size is no number or `y` is None.
    ValueError
        If a size is out of range, nothing is left to train on, the lengths of X and y differ,
        samples are to be stratified but not shuffled, or a class would not be in each set.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastnn.model_selection import train_val_test_split
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_val, X_test, *_ = train_val_test_split(X, y, val_size=300)
    >>> len(X_train), len(X_val), len(X_test)
    (1137, 300, 360)
    """
    if y is None:
        raise TypeError("y must be array-like, got None")
    X, y = indexable(X, y)
    groups = stratify
    if stratify is None or isinstance(stratify, (bool, np.bool_)):
        groups = y if stratify else None
    if groups is not None and not shuffle:
        raise ValueError("stratify must be False or None with shuffle=False, got True or an array")
    n = num_samples(X)
    if n < 3:
        raise ValueError(f"X must hold at least 3 samples, one for each set, got {n}")
    n_val = _check_size(val_size, "val_size", n)
    n_test = _check_size(test_size, "test_size", n)
    if n_val + n_test >= n:
        raise ValueError(
            f"val_size and test_size must leave samples to train on, got {n_val} and {n_test} "
            f"of {n}"
        )
    sizes = {"train": n - n_val - n_test, "val": n_val, "test": n_test}
    if groups is not None:
        indexable(X, groups)
    classes = None if groups is None else _check_classes(groups, sizes)
    random_state = _validation.check_random_state(random_state)

    def split(rows, size):
        of_rows = None if classes is None else classes[rows]
        return train_test_split(
            rows,
            test_size=size,
            stratify=of_rows,
            shuffle=shuffle,
            random_state=random_state if shuffle else None,
        )

    rest, test = split(np.arange(n), n_test)
    train, val = split(rest, n_val)
    if classes is not None:
        for name, rows in (("training", train), ("validation", val), ("test", test)):
            lacking = np.flatnonzero(np.bincount(classes[rows], minlength=classes.max() + 1) == 0)
            if lacking.size:
                row = np.flatnonzero(classes == lacking[0])[0]
                raise ValueError(
                    f"y must have members of each class for each set, got too few of class "
                    f"{np.asarray(groups)[row]}: the {name} set would have none. Raise its size, "
                    "or use stratify=False"
                )
    return tuple(safe_indexing(values, rows) for values in (X, y) for rows in (train, val, test))


def _check_classes(y, sizes):
    """Return the classes of y as numbers, if there are enough of each for three sets."""
    y = np.asarray(y)
    # Column by column, as NumPy does not order rows of objects.
    columns = [np.unique(column, return_inverse=True)[1] for column in y.reshape(len(y), -1).T]
    values, first, classes, counts = np.unique(
        np.stack(columns, axis=1),
        return_index=True,
        return_inverse=True,
        return_counts=True,
        axis=0,
    )
    if counts.min() < len(sizes):
        raise ValueError(
            f"y must have at least {len(sizes)} members of each class, one for each set, got "
            f"{counts.min()} of class {y[first[counts.argmin()]]}; stratify=False does without"
        )
    for name, size in sizes.items():
        if size < len(values):
            raise ValueError(
                f"the {name} set must hold at least {len(values)} samples, one of each class, got "
                f"{name}_size = {size}; stratify=False does without"
            )
    return classes.ravel()


def _check_size(size, name, n):
    """Return a number or fraction of n samples as a number."""
    if isinstance(size, (bool, np.bool_)):
        raise TypeError(f"{name} must be a number, got bool")
    if isinstance(size, Integral):
        low, high, number = 1, n - 1, int(size)
    else:
        low, high, number = 0, 1, math.ceil(_validation.check_number(size, name) * n)
    if not low <= size <= high or not 1 <= number < n:
        raise ValueError(
            f"{name} must be an integer from 1 to {n - 1} or a fraction between 0 and 1, got {size}"
        )
    return number


class Bootstrap(BaseShuffleSplit):
    """Splitter that trains on resamples and tests on what they leave out.

    A resample is as many rows as there are, drawn with replacement; rows that it lacks, about 37 %,
    are the test set. A draw that leaves out no row is repeated.

    Parameters
    ----------
    n_splits : int, default=10
    random_state : int, RandomState, Generator or None, default=None

    Notes
    -----
    A training set holds its rows in ascending order, each as often as it was drawn; a test set is
    ascending, too. That decides about ties between neighbors.

    Examples
    --------
    >>> from fastnn.model_selection import Bootstrap
    >>> for train, test in Bootstrap(2, random_state=0).split([[0], [1], [2], [3]]):
    ...     print(train, test)
    [0 0 1 3] [2]
    [3 3 3 3] [0 1 2]
    """

    def __init__(
        self, n_splits: int = 10, *, random_state: int | RandomState | Generator | None = None
    ) -> None:
        self.n_splits = n_splits
        self.random_state = random_state

    def _iter_indices(self, X, y=None, groups=None):
        n = num_samples(X)
        if n < 2:
            raise ValueError(f"the bootstrap needs at least 2 samples, got n_samples = {n}")
        random_state = _validation.check_random_state(self.random_state)
        for _ in range(self.n_splits):
            counts = np.ones(n, int)
            while counts.all():
                counts = np.bincount(random_state.randint(0, n, n), minlength=n)
            yield np.repeat(np.arange(n), counts), np.flatnonzero(counts == 0)


# ---- neighbors of each split ---------------------------------------------------------------------


class _Samples:
    """The data of a selection, and how it is searched."""

    def __init__(self, X, y, whole, n_jobs):
        self.X, self.y, self.n = X, y, num_samples(X)
        self.labels = labels_of(whole)
        self.rows = samples_of(whole)  # a str says why they are not
        self.n_jobs = n_jobs
        self.n_threads = effective_n_threads(n_jobs)

    def part(self, rows):
        return safe_indexing(self.X, rows), safe_indexing(self.y, rows)

    def make_search(self, metric):
        """Return a function of (queries, samples, k, advance), or None: not for the kernels.

        Queries and samples are rows, and None for all of them.
        """
        space = space_of(metric)
        if isinstance(space, str) or isinstance(self.rows, str):
            return None
        whole = Searcher(self.rows, space)

        def search(queries, samples, k, advance):
            searcher = whole if samples is None else Searcher(self.rows[samples], space)
            Q = self.rows if queries is None else self.rows[queries]
            return searcher.kneighbors(Q, k, self.n_threads, advance)[:2]

        return search

    def make_slow_search(self, metric):
        """Return such a function for any metric, of all rows among all of them."""
        model = NearestNeighbors(metric=metric, n_jobs=self.n_jobs).fit(self.X)
        return lambda queries, samples, k, advance: model.kneighbors(self.X, k)


class _Folds:
    """Splits whose test rows are searched for among their training rows."""

    # Whether all that is held out is scored together, and not split by split.
    pooled = False

    def __init__(self, samples, splits):
        self.samples, self.splits = samples, splits
        self.n_scores = len(splits)
        self.n_queries = sum(len(test) for _, test in splits)

    def smallest_training_set(self):
        """Return (number of rows, what it is called)."""
        sizes = [len(train) for train, _ in self.splits]
        smallest = int(np.argmin(sizes))
        return sizes[smallest], f"the training samples of split {smallest}"

    def find_neighbors(self, search, k, advance):
        """Yield (columns of the scores, train, test, distances, positions in train)."""
        for i, (train, test) in enumerate(self.splits):
            distances, indices = search(
                test, train, min(k, len(train)), partial(_advance_by_share, advance, len(test))
            )
            yield slice(i, i + 1), train, test, distances, indices


class _Resamples(_Folds):
    """Splits of the bootstrap: neighbors in a resample are taken from those in the whole."""

    def find_neighbors(self, search, k, advance):
        n = self.samples.n
        k = min(k, n)
        length = min(n, k + spare_neighbors(k))
        distances, indices = search(
            None, None, length, lambda share: advance(share * self.n_queries)
        )
        for i, (train, test) in enumerate(self.splits):
            counts = np.bincount(train, minlength=n)
            kept = neighbors_in_resample(indices[test], distances[test], counts, k)
            self._extend(kept, search, test, counts, length)
            yield slice(i, i + 1), train, test, *kept[:2]

    def _extend(self, kept, search, test, counts, length):
        """Complete the neighbors of queries whose list was too short, with longer ones."""
        short = np.flatnonzero(kept[2] < kept[0].shape[1])
        while short.size:
            length = min(2 * length, self.samples.n)
            distances, indices = search(test[short], None, length, None)
            longer = neighbors_in_resample(indices, distances, counts, kept[0].shape[1])
            for values, more in zip(kept, longer, strict=True):
                values[short] = more
            short = short[longer[2] < kept[0].shape[1]]


def spare_neighbors(k):
    """Return by how much a list is longer than k, so that a resample hardly ever needs more.

    A list holds on average as many rows of a resample as it is long; the number has the variance
    of Poisson's distribution.
    """
    return math.ceil(4 * math.sqrt(k)) + 8


class _LeaveOneOut(_Folds):
    """Every row by itself: all are searched for among all, and leave themselves out."""

    def __init__(self, samples, counts_hits):
        self.samples, self.pooled = samples, not counts_hits
        self.n_scores = samples.n if counts_hits else 1
        self.n_queries = samples.n

    @property
    def splits(self):
        return list(LeaveOneOut().split(self.samples.X))

    def smallest_training_set(self):
        return self.samples.n - 1, "the samples but one"

    def find_neighbors(self, search, k, advance):
        n = self.samples.n
        k = min(k, n - 1)
        distances, indices = search(None, None, k + 1, partial(_advance_by_share, advance, n))
        rows = np.arange(n)
        others = indices != rows[:, None]
        # Where duplicates with smaller indices crowd a row out of its list, the last is too many.
        others[others.all(axis=1), -1] = False
        distances, indices = distances[others], indices[others]
        yield slice(None), rows, rows, distances.reshape(n, k), indices.reshape(n, k)


def _advance_by_share(advance, n_queries, share):
    advance(share * n_queries)


# ---- scores of all candidates --------------------------------------------------------------------


class _PrecomputedNeighbors:
    """Knows the neighbors of some queries (the very object), and searches for those of others.

    What it gives are copies: functions of weights and scorers may change them.
    """

    # (queries, distances, indices); None in a clone.
    _known = None

    def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        is_known = X is not None and self._known is not None and X is self._known[0]
        if not is_known or not 1 <= k <= self._known[1].shape[1]:
            return super().kneighbors(X, n_neighbors, return_distance)
        _, distances, indices = self._known
        found = indices[:, :k].copy()
        return (distances[:, :k].copy(), found) if return_distance else found


class _PrecomputedKNNClassifier(_PrecomputedNeighbors, KNeighborsClassifier):
    pass


class _PrecomputedKNNRegressor(_PrecomputedNeighbors, KNeighborsRegressor):
    pass


class _Scores:
    """The scores of all candidates, and the times that they took.

    The arrays are of shape (metrics, numbers of neighbors, weights, splits), the order of
    GridSearchCV's candidates.
    """

    def __init__(self, samples, splits, grid, scorer, counts_hits):
        self.samples, self.splits, self.scorer = samples, splits, scorer
        self.counts_hits = counts_hits
        self.metrics, self.numbers, self.weights = grid
        shape = (*map(len, grid), splits.n_scores)
        self.scores, self.fit_times, self.score_times = (
            np.empty(shape),
            np.zeros(shape),
            np.zeros(shape),
        )
        # The vote wants numbers that ascend.
        self.ascending, self.place = np.unique(
            np.array(self.numbers, np.int64), return_inverse=True
        )

    def evaluate(self, estimator, advance):
        """Fill the arrays."""
        for m, metric in enumerate(self.metrics):
            search = self.samples.make_search(metric)
            if search is None and self.splits.pooled:
                search = self.samples.make_slow_search(metric)
            if search is None:
                self._evaluate_one_by_one(m, estimator, advance)
            else:
                self._evaluate_together(m, estimator.set_params(metric=metric), search, advance)

    def _evaluate_together(self, m, estimator, search, advance):
        """Score all candidates of a metric by the neighbors for the largest k.

        Where a training set has fewer, as many as it has are found.
        """
        start = time.perf_counter()
        largest = int(self.ascending[-1])
        n_candidates = len(self.numbers) * len(self.weights)
        for columns, *found in self.splits.find_neighbors(search, largest, advance):
            width = self.scores[m, 0, 0, columns].size
            searched = time.perf_counter()
            self.fit_times[m, ..., columns] = (searched - start) / (n_candidates * width)
            for w, weights in enumerate(self.weights):
                start = time.perf_counter()
                values = self._score_by_hits(weights, *found) if self.counts_hits else None
                if values is None:
                    values = self._score_by_scorer(weights, estimator, *found)
                self.scores[m, :, w, columns] = values
                seconds = (time.perf_counter() - start) / (len(self.numbers) * width)
                self.score_times[m, :, w, columns] = seconds
            start = time.perf_counter()

    def _score_by_hits(self, weights, train, test, distances, indices):
        """Return the hits of each number of neighbors, or None: such weights are not known."""
        if callable(weights):
            return None
        values = get_weights(distances, weights)
        if values is not None and not values[:, 0].all():  # the nearest is infinitely far away
            return None
        labels = self.samples.labels
        n_classes = int(labels.max()) + 1
        numbers = self.ascending[self.ascending <= indices.shape[1]]
        winners = predict_for_each_k(
            indices, labels[train], n_classes, values, numbers, self.samples.n_threads
        )
        hits = winners == labels[test][:, None]
        one_by_one = self.splits.n_scores == self.samples.n == len(test)
        scores = hits.T if one_by_one else hits.mean(axis=0)[:, None]
        missing = np.full((len(self.ascending) - len(numbers), scores.shape[1]), np.nan)
        return np.concatenate([scores, missing])[self.place]

    def _score_by_scorer(self, weights, estimator, train, test, distances, indices):
        """Return the scores of an estimator that has these neighbors."""
        kind = _PrecomputedKNNClassifier if is_classifier(estimator) else _PrecomputedKNNRegressor
        everything = self.splits.pooled
        X, y = (self.samples.X, self.samples.y) if everything else self.samples.part(train)
        queries, truth = (X, y) if everything else self.samples.part(test)
        model = kind(weights=weights, metric=estimator.metric, n_jobs=estimator.n_jobs).fit(X, y)
        model._known = queries, distances, indices
        return [
            [self._score(copy.copy(model).set_params(n_neighbors=k), queries, truth)]
            for k in self.numbers
        ]

    def _score(self, model, queries, truth):
        """Return a candidate's score, and NaN where it has none, as GridSearchCV does."""
        try:
            return self.scorer(model, queries, truth)
        except Exception:  # of a scorer, or a function of weights
            warnings.warn(
                "Scoring failed. The score on this split for n_neighbors="
                f"{model.n_neighbors}, weights={model.weights!r}, metric={model.metric!r} is NaN. "
                f"Details:\n{traceback.format_exc()}",
                UserWarning,
                stacklevel=6,
            )
            return np.nan

    def _evaluate_one_by_one(self, m, estimator, advance):
        """Fit and score each candidate of a metric by itself, as GridSearchCV does."""
        X, y = self.samples.X, self.samples.y
        candidates = list(itertools.product(enumerate(self.numbers), enumerate(self.weights)))
        for s, (train, test) in enumerate(self.splits.splits):
            for (i, k), (w, weights) in candidates:
                model = clone(estimator).set_params(
                    metric=self.metrics[m], n_neighbors=k, weights=weights
                )
                start = time.perf_counter()
                X_train, y_train = safe_split(model, X, y, train)
                queries, truth = safe_split(model, X, y, test, train)
                model.fit(X_train, y_train)
                fitted = time.perf_counter()
                self.scores[m, i, w, s] = self._score(model, queries, truth)
                self.fit_times[m, i, w, s] = fitted - start
                self.score_times[m, i, w, s] = time.perf_counter() - fitted
                advance(len(test) / len(candidates))

    def format_results(self, candidates):
        """Return the dict `cv_results_`: keys and values of GridSearchCV."""
        results = {}

        def add(name, values, by_split=False):
            values = values.reshape(len(candidates), -1)
            if by_split:
                results.update((f"split{i}_{name}", column) for i, column in enumerate(values.T))
            means = np.average(values, axis=1)
            deviations = (values - means[:, None]) ** 2
            results[f"mean_{name}"] = means
            results[f"std_{name}"] = np.sqrt(np.average(deviations, axis=1))

        add("fit_time", self.fit_times)
        add("score_time", self.score_times)
        results.update(yield_masked_array_for_each_param(candidates))
        results["params"] = candidates
        add("test_score", self.scores, by_split=True)
        means = results["mean_test_score"]
        if not np.isfinite(means).all():
            warnings.warn(f"One or more of the test scores are non-finite: {means}", stacklevel=3)
        # Those without a score are tied with the worst.
        lowest = np.nan_to_num(means, nan=np.nanmin(means, initial=np.inf) - 1)
        results["rank_test_score"] = rankdata(-lowest, method="min").astype(np.int32)
        return results


# ---- estimators ----------------------------------------------------------------------------------

_DOCUMENTATION = """{summary}

    All candidates are scored by one search for neighbors per metric and split, whatever the number
    of values for `n_neighbors` and `weights`. The results are those of scikit-learn's GridSearchCV
    with the same splitter over `fastnn.neighbors.{base}`, bit for bit but for the times.

    Parameters
    ----------
    n_neighbors : int or array-like of int, optional
        None: 1 to 30, or to the size of the smallest training set if that is less.
    weights : {{"uniform", "distance"}}, callable, None, or list of them, \
            default=("uniform", "distance")
    metric : str or callable, or list of them, default="minkowski"
        Metrics that the kernels do not serve are fitted candidate by candidate.
    cv : int, splitter, iterable, float, "loo" or "bootstrap", optional
        An int (None: 5), splitter or iterable of (train, test): as in scikit-learn. A float: one
        split, with this fraction of the samples for validation{float_split}. "loo": leave-one-out,
        as `sklearn.model_selection.LeaveOneOut`; scores other than the accuracy of a single label,
        which a sample by itself does not have, are those of all samples together, as one split.
        "bootstrap":
        `fastnn.model_selection.Bootstrap` with `n_resamples`.
    scoring : str or callable, optional
        As in scikit-learn; a callable has the signature scorer(estimator, X, y). None: {score}.
    refit : bool, default=True
        Whether to fit the best candidate on all samples: without it there is no `predict`.
    n_resamples : int, default=10
        Of cv="bootstrap".
    random_state : int, RandomState, Generator or None, default=None
        Of a float or "bootstrap" for `cv`.
    n_jobs : int, optional
        Threads, as in scikit-learn; None: all the cores that this process may use.
    verbose : int, default=0
        A positive number shows a progress bar.

    Attributes
    ----------
    cv_results_ : dict of ndarrays
        Keys and values as in scikit-learn's GridSearchCV. The time of a search is divided evenly
        among its candidates, as `mean_fit_time`.
    best_params_ : dict
        With "metric", "n_neighbors" and "weights". Of candidates with the same score the first.
    best_score_ : float
        The mean score of the best candidate.
    best_index_ : int
    best_estimator_ : {base}
        Fitted on all samples, if `refit`.
    refit_time_ : float
        Seconds, if `refit`.
    scorer_ : callable
    n_splits_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,){classes}

    Notes
    -----
    A number of neighbors beyond a training set is an error, where GridSearchCV warns and goes on
    with NaN. A candidate whose score fails otherwise has NaN, with a warning, as there.

    Examples
    --------
{example}
    """


class _KNeighborsCV(BaseSearchCV):
    """The search for k, weights and metric, for classifiers and regressors."""

    best_params_: dict[str, Any]
    best_score_: float
    best_index_: int
    best_estimator_: Any
    cv_results_: dict[str, Any]
    n_splits_: int

    _parameter_constraints: ClassVar[dict] = {
        "n_neighbors": ["array-like", Integral, None],
        "weights": [StrOptions({"uniform", "distance"}), callable, list, tuple, None],
        "metric": [str, callable, list, tuple],
        "cv": [
            "cv_object",
            Interval(Real, 0, 1, closed="neither"),
            StrOptions({"loo", "bootstrap"}),
        ],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "refit": ["boolean"],
        "n_resamples": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state", Generator],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }
    # What methods of scikit-learn's search look at.
    multimetric_ = False

    def __init__(
        self,
        n_neighbors: ArrayLike | int | None = None,
        weights: Any = ("uniform", "distance"),
        metric: Any = "minkowski",
        *,
        cv: Any = None,
        scoring: str | Callable[..., Any] | None = None,
        refit: bool = True,
        n_resamples: int = 10,
        random_state: int | RandomState | Generator | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.metric = metric
        self.cv = cv
        self.scoring = scoring
        self.refit = refit
        self.n_resamples = n_resamples
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def estimator(self) -> Any:
        """The estimator whose parameters are chosen."""
        return self._base(metric=_as_list(self.metric, "metric")[0], n_jobs=self.n_jobs)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags = get_tags(self.estimator).target_tags
        return tags

    def _run_search(self, evaluate_candidates):
        raise NotImplementedError  # scikit-learn's fit() would call it

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: Any, *, groups: ArrayLike | None = None) -> Self:
        """Score all candidates, and fit the best on all samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        groups : array-like of shape (n_samples,), optional
            For a splitter that keeps groups together.

        Returns
        -------
        self : object

        Raises
        ------
        TypeError, ValueError
            For parameters and data that scikit-learn refuses, for a sparse `y`, and where a
            training set has fewer samples than any number of neighbors to try.
        """
        if issparse(y):
            raise TypeError(f"y must be dense, got a sparse {type(y).__name__}; use toarray()")
        whole = self.estimator.fit(X, y)  # raises whatever is wrong with the data
        X, y, groups = indexable(X, y, groups)
        self.scorer_ = check_scoring(whole, self.scoring)
        counts_hits = (
            is_classifier(self)
            and self.scoring in (None, "accuracy")
            and labels_of(whole).ndim == 1
        )
        samples = _Samples(X, y, whole, self.n_jobs)
        splits = self._make_splits(samples, groups, counts_hits)
        grid = self._make_grid(splits)
        scores = _Scores(samples, splits, grid, self.scorer_, counts_hits)
        with _progress(self.verbose, len(grid[0]) * splits.n_queries) as advance:
            scores.evaluate(self.estimator, advance)
        names = ("metric", "n_neighbors", "weights")
        candidates = [dict(zip(names, values, strict=True)) for values in itertools.product(*grid)]
        self.n_splits_ = splits.n_scores
        self.cv_results_ = scores.format_results(candidates)
        self.best_index_ = self.cv_results_["rank_test_score"].argmin()
        self.best_score_ = self.cv_results_["mean_test_score"][self.best_index_]
        self.best_params_ = candidates[self.best_index_]
        if self.refit:
            self._refit(X, y)
        return self

    def _make_splits(self, samples, groups, counts_hits):
        cv, classifies = self.cv, is_classifier(self)
        if (isinstance(cv, str) and cv == "loo") or (isinstance(cv, LeaveOneOut) and counts_hits):
            return _LeaveOneOut(samples, counts_hits)
        if isinstance(cv, str):
            cv = Bootstrap(self.n_resamples, random_state=self.random_state)
        elif isinstance(cv, Real) and not isinstance(cv, Integral):
            kind = StratifiedShuffleSplit if classifies else ShuffleSplit
            cv = kind(
                1, test_size=float(cv), random_state=_validation.legacy_seed(self.random_state)
            )
        else:
            cv = check_cv(cv, samples.y, classifier=classifies)
        splits = list(cv.split(samples.X, samples.y, groups))
        if not splits:
            raise ValueError(f"cv must give at least one split, got {self.cv!r}")
        return (_Resamples if type(cv) is Bootstrap else _Folds)(samples, splits)

    def _make_grid(self, splits):
        """Return the metrics, numbers of neighbors and weights to try."""
        smallest, name = splits.smallest_training_set()
        if self.n_neighbors is None:
            numbers = range(1, min(DEFAULT_LARGEST, smallest) + 1)
        else:
            numbers = [self.n_neighbors] if np.ndim(self.n_neighbors) == 0 else self.n_neighbors
        too_many = [k for k in numbers if _validation.check_integer(k, "n_neighbors", 1) > smallest]
        if too_many and len(too_many) == len(numbers):
            raise ValueError(f"n_neighbors must be at most {smallest}, {name}, got {too_many[0]}")
        if too_many:
            warnings.warn(
                f"n_neighbors from {min(too_many)} on are more than {smallest}, {name}: their "
                "scores are NaN",
                UserWarning,
                stacklevel=3,
            )
        metrics, weights = _as_list(self.metric, "metric"), _as_list(self.weights, "weights")
        for name, values in (("metric", metrics), ("weights", weights)):
            for value in values:
                self.estimator.set_params(**{name: value})._validate_params()
        return metrics, _as_list(numbers, "n_neighbors"), weights

    def _refit(self, X, y):
        start = time.perf_counter()
        self.best_estimator_ = self.estimator.set_params(**self.best_params_).fit(X, y)
        self.refit_time_ = time.perf_counter() - start
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_


def _as_list(values, name):
    """Return a list of values for a single one, too."""
    if isinstance(values, str) or callable(values) or values is None:
        return [values]
    if len(values) == 0:
        raise ValueError(f"{name} must have at least one value, got none")
    return list(values)


@contextmanager
def _progress(verbose, n_queries):
    """Give a function that counts queries, on a progress bar if wanted."""
    if not verbose:
        yield lambda n_done: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_queries, desc="fit", unit=" queries", unit_scale=True) as bar:
        yield bar.update


class KNeighborsClassifierCV(_KNeighborsCV):
    __doc__ = _DOCUMENTATION.format(
        summary="K-nearest-neighbors classifier that chooses k, weights and metric by validation.",
        base="KNeighborsClassifier",
        float_split=",\n        stratified by class",
        score="accuracy",
        classes="\n    classes_ : ndarray of shape (n_classes,)",
        example="""    >>> from sklearn.datasets import load_digits
    >>> from fastnn.model_selection import KNeighborsClassifierCV
    >>> X, y = load_digits(return_X_y=True)
    >>> search = KNeighborsClassifierCV(range(1, 21), metric=["l1", "l2"], cv=5).fit(X, y)
    >>> search.best_params_
    {'metric': 'l2', 'n_neighbors': 4, 'weights': 'distance'}
    >>> print(f"{search.best_score_:.4f}")
    0.9672""",
    )
    _base = KNeighborsClassifier


class KNeighborsRegressorCV(_KNeighborsCV):
    __doc__ = _DOCUMENTATION.format(
        summary="K-nearest-neighbors regression that chooses k, weights and metric by validation.",
        base="KNeighborsRegressor",
        float_split="",
        score="R²",
        classes="",
        example="""    >>> from sklearn.datasets import load_diabetes
    >>> from fastnn.model_selection import KNeighborsRegressorCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> search = KNeighborsRegressorCV(range(1, 41), cv="loo").fit(X, y)
    >>> search.best_params_
    {'metric': 'minkowski', 'n_neighbors': 18, 'weights': 'distance'}""",
    )
    _base = KNeighborsRegressor


# ---- the test set --------------------------------------------------------------------------------


class HoldoutWarning(UserWarning):
    """A test set is scored again."""


class HoldoutTest:
    """A test set that is meant to be scored once.

    What is chosen by its test score has seen the test set, and the score is too good. So the first
    score counts; each further one comes with a warning that repeats the first and its time.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    scoring : str or callable, optional
        As in scikit-learn, for one score. None: the estimator's `score`.

    Raises
    ------
    TypeError
        If `scoring` is anything else.

    Attributes
    ----------
    first_score_ : float
        There after the first score, as are the others.
    first_time_ : datetime
        When that was, with the local time zone.
    n_scores_ : int
        How often the set has been scored.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastnn.model_selection import (
    ...     HoldoutTest, KNeighborsClassifierCV, train_val_test_split)
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_val, X_test, y_train, y_val, y_test = train_val_test_split(X, y, val_size=300)
    >>> test = HoldoutTest(X_test, y_test)
    >>> search = KNeighborsClassifierCV(range(1, 11)).fit(X_train, y_train)
    >>> print(f"{test.score(search):.3f}")
    0.983
    """

    def __init__(
        self, X: ArrayLike, y: ArrayLike, *, scoring: str | Callable[..., Any] | None = None
    ) -> None:
        if not (scoring is None or isinstance(scoring, str) or callable(scoring)):
            raise TypeError(
                f"scoring must be a string, a callable or None, got {type(scoring).__name__}"
            )
        self.X, self.y = indexable(X, y)
        self.scoring = scoring

    def score(self, estimator: Any) -> float:
        """Return the estimator's score on the test set; warn unless it is the first.

        Parameters
        ----------
        estimator : object
            Fitted.

        Returns
        -------
        float

        Warns
        -----
        HoldoutWarning
            If the set has been scored before.

        Raises
        ------
        TypeError
            If `scoring` returns anything but a number.
        """
        check_is_fitted(estimator)
        score = check_scoring(estimator, self.scoring)(estimator, self.X, self.y)
        score = _validation.as_number(score, "scoring")
        if not hasattr(self, "first_score_"):
            self.first_score_, self.first_time_ = score, datetime.now().astimezone()
            self.n_scores_ = 1
        else:
            self.n_scores_ += 1
            warnings.warn(
                f"this test set has been scored before: {self.first_score_:.6g} on "
                f"{self.first_time_:%Y-%m-%d at %H:%M:%S}. That score counts; choose between "
                "models by a validation set",
                HoldoutWarning,
                stacklevel=2,
            )
        return score
