"""What stands in for scikit-learn's searches, in our estimators and under `fastnn.accel` alike.

Each function here has the signature of the scikit-learn method that it replaces. It searches with
the kernels where they serve the estimator's metric and data, and else calls the method itself,
which also raises scikit-learn's errors: nothing is checked twice, no message is copied.

    estimator.fit --> fit_neighbors: scikit-learn's, with "auto" decided in favor of the kernels
    estimator.kneighbors, .radius_neighbors --> prepare() --> an index of the samples, or a reason
                                            --> the search, or scikit-learn's method and a log entry
"""

import copy
import functools
import numbers
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.neighbors import (
    BallTree,
    KDTree,
    KNeighborsClassifier,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.utils.validation import check_is_fitted

from ._core._threads import effective_n_threads
from ._core._vote import predict_for_each_k, sum_votes
from ._observation import observe
from ._preparation import forget, prepare, queries_for, refuse_non_finite
from ._scikit_learn import KNeighborsMixin, NeighborsBase, RadiusNeighborsMixin, get_weights
from ._search.metric_spaces import space_of

# What scikit-learn's own classes do, whatever accel puts in its place.
ORIGINALS = {
    (owner, name): vars(owner)[name]
    for owner, name in [
        (NeighborsBase, "_fit"),
        (KNeighborsMixin, "kneighbors"),
        (RadiusNeighborsMixin, "radius_neighbors"),
        (KNeighborsClassifier, "predict"),
        (KNeighborsClassifier, "predict_proba"),
        (RadiusNeighborsClassifier, "predict_proba"),
        (RadiusNeighborsRegressor, "predict"),
    ]
}


def in_place_of(owner, name):
    """Return a decorator for a method that stands in for another: all but the module is that one's.

    So one can see whose method an estimator has.
    """
    return functools.wraps(ORIGINALS[owner, name], assigned=("__name__", "__qualname__", "__doc__"))


def asks_for(estimator, name):
    """Return the function that ``estimator.name(...)`` calls, whoever has put it there."""
    if name in vars(estimator):
        return vars(estimator)[name]
    return getattr(type(estimator), name)


# Sums of votes held at a time, so that many classes and many queries need no large array.
VOTES_PER_SLICE = 1 << 20
# scikit-learn's own estimators are fitted for these without a tree; ours know more.
THEIR_ALGORITHMS = ("auto", "brute")
# What scikit-learn lets a k-d tree have, and the kernels serve.
TREE_METRICS = ("euclidean", "l2", "minkowski", "manhattan", "cityblock", "l1", "chebyshev")


# ---- methods -------------------------------------------------------------------------------------


@in_place_of(NeighborsBase, "_fit")
def fit_neighbors(self, X, y=None):
    theirs = ORIGINALS[NeighborsBase, "_fit"]
    forget(self)
    vars(self).pop("_has_lazy_tree", None)
    algorithm = self.algorithm
    native = algorithm in getattr(self, "_native_algorithms", THEIR_ALGORITHMS)
    if not native or algorithm == "brute":
        return theirs(self, X, y)
    space = space_of(self.metric, **{**_minkowski_p(self), **(self.metric_params or {})})
    if algorithm != "bounded" and (isinstance(space, str) or issparse(X)):
        return theirs(self, X, y)
    if algorithm == "auto" and _misfits(space, X):
        return theirs(self, X, y)  # raises
    if algorithm == "kd_tree" and not (self.metric in TREE_METRICS and space.is_plain):
        return theirs(self, X, y)  # most raise
    if algorithm == "kd_tree" and isinstance(X, (NeighborsBase, KDTree, BallTree)):
        return theirs(self, X, y)  # takes over how that was fitted, with its metric
    # scikit-learn would build a tree that nothing looks at, or does not know the name.
    self.algorithm = "brute"
    try:
        theirs(self, X, y)
    finally:
        self.algorithm = algorithm
    if algorithm == "kd_tree":
        self._fit_method, self._has_lazy_tree = algorithm, True
    return self


def _misfits(space, X):
    """Whether there is not a weight for each feature."""
    return space.weights is not None and space.weights.shape != np.shape(X)[1:]


def _minkowski_p(estimator):
    return {"p": estimator.p} if estimator.metric == "minkowski" else {}


@in_place_of(KNeighborsMixin, "kneighbors")
def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
    theirs = ORIGINALS[KNeighborsMixin, "kneighbors"]
    k = self.n_neighbors if n_neighbors is None else n_neighbors
    fitted = "_fit_X" in vars(self)
    limit = self.n_samples_fit_ - (X is None) if fitted else 0
    if not (isinstance(k, numbers.Integral) and 1 <= k <= limit) or self.n_jobs == 0:
        return theirs(self, X, n_neighbors, return_distance)  # raises
    reason = prepared = prepare(self)
    if not isinstance(prepared, str):
        reason = queries = None if X is None else queries_for(self, X)
    if isinstance(reason, str):
        with observe("kneighbors", reason):
            return theirs(self, X, n_neighbors, return_distance)
    with observe("kneighbors"):
        n_threads = effective_n_threads(self.n_jobs)
        searcher = prepared.searcher
        queries = searcher.Y if X is None else queries
        try:
            distances, indices, *_ = searcher.kneighbors(
                queries, int(k), n_threads, None, exclude_self=X is None
            )
        except ValueError:
            refuse_non_finite(self, queries)  # in scikit-learn's words
            raise
        return (distances, indices) if return_distance else indices


@in_place_of(RadiusNeighborsMixin, "radius_neighbors")
def radius_neighbors(self, X=None, radius=None, return_distance=True, sort_results=False):
    theirs = ORIGINALS[RadiusNeighborsMixin, "radius_neighbors"]
    r = self.radius if radius is None else radius
    fitted = "_fit_X" in vars(self)
    usable = isinstance(r, numbers.Real) and r >= 0 and (return_distance or not sort_results)
    if not (fitted and usable) or self.n_jobs == 0:
        return theirs(self, X, radius, return_distance, sort_results)  # raises, or odd radii
    reason = prepared = prepare(self)
    if not isinstance(prepared, str):
        reason = queries = None if X is None else queries_for(self, X)
    if isinstance(reason, str):
        with observe("radius_neighbors", reason):
            return theirs(self, X, radius, return_distance, sort_results)
    with observe("radius_neighbors"):
        n_threads = effective_n_threads(self.n_jobs)
        searcher = prepared.searcher
        queries = searcher.Y if X is None else queries
        try:
            slices, *_ = searcher.radius_neighbors(
                queries, float(r), n_threads, sort_results, X is None, return_distance
            )
        except ValueError:
            refuse_non_finite(self, queries)
            raise
        indices = ragged((counts, indices) for counts, _, indices in slices)
        if not return_distance:
            return indices
        return ragged((counts, distances) for counts, distances, _ in slices), indices


def ragged(slices):
    """Return an object array with one array per query, views of the slices' results."""
    rows = []
    for counts, values in slices:
        stops = np.cumsum(counts).tolist()
        rows += [values[i:j] for i, j in zip([0, *stops], stops, strict=False)]
    result = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):  # at once NumPy would take rows of one length for a 2-D array
        result[i] = row
    return result


# ---- votes ---------------------------------------------------------------------------------------


class _Votes(NamedTuple):
    """What votes: some queries' neighbors, with their weights, for the classes of samples."""

    indices: np.ndarray
    labels: np.ndarray
    n_classes: int
    weights: np.ndarray | None
    n_threads: int

    def sums(self):
        """Yield the sums of votes of each class, in slices of queries."""
        n_queries = max(1, VOTES_PER_SLICE // self.n_classes)
        for start in range(0, len(self.indices), n_queries):
            part = slice(start, start + n_queries)
            weights = None if self.weights is None else self.weights[part]
            yield sum_votes(
                self.indices[part], self.labels, self.n_classes, weights, self.n_threads
            )

    def winners(self):
        """Return the class with the largest sum of each query, the first of such classes."""
        if self.weights is None or (self.weights >= 0.0).all():
            k = np.array([self.indices.shape[1]])
            return predict_for_each_k(
                self.indices, self.labels, self.n_classes, self.weights, k, self.n_threads
            )[:, 0]
        return np.concatenate([sums.argmax(axis=1) for sums in self.sums()])


def _votes_of(estimator, X):
    """Return the votes of the neighbors of X, or None: scikit-learn counts them."""
    check_is_fitted(estimator, "_fit_method")
    if estimator.outputs_2d_:
        return None
    weighted = estimator.weights not in ("uniform", None)
    if weighted:
        distances, indices = estimator.kneighbors(X)
    else:
        indices, weights = estimator.kneighbors(X, return_distance=False), None
    if asks_for(estimator, "kneighbors") is not kneighbors and not _are_samples(estimator, indices):
        return None
    if weighted:
        weights = get_weights(distances, estimator.weights)
        if not (isinstance(weights, np.ndarray) and weights.shape == indices.shape):
            return None
        weights = np.ascontiguousarray(weights, dtype=np.float64)
        if not weights.any(axis=1).all():
            return None
    indices = np.ascontiguousarray(indices, dtype=np.int64)
    labels = np.ascontiguousarray(estimator._y, dtype=np.int64)
    n_threads = effective_n_threads(estimator.n_jobs)
    return _Votes(indices, labels, estimator.classes_.size, weights, n_threads)


def _are_samples(estimator, indices):
    """Whether these are rows of samples: an override may find anything, or nothing."""
    return (
        isinstance(indices, np.ndarray)
        and indices.ndim == 2
        and indices.size > 0
        and indices.dtype.kind in "iu"
        and indices.min() >= 0
        and indices.max() < estimator._y.shape[0]
    )


def _searching_as_told(estimator):
    """Return the estimator, or a stand-in whose votes ask its kneighbors() and radius_neighbors().

    With weights="uniform" scikit-learn searches inside its vote; None means the same weights.
    """
    if estimator.weights != "uniform":
        return estimator
    twin = copy.copy(estimator)
    twin.weights = None
    for name in ("kneighbors", "radius_neighbors"):
        if hasattr(estimator, name):
            setattr(twin, name, getattr(estimator, name))
    return twin


def _predicts_by_probabilities(estimator):
    """Whether scikit-learn's predict() asks an override of predict_proba() where it can.

    It does for uniform weights and brute force, to which "auto" comes by the rule below.
    """
    if asks_for(estimator, "predict_proba") is predict_proba or estimator.weights != "uniform":
        return False
    n_samples, n_features = estimator._fit_X.shape
    return estimator.algorithm == "brute" or (
        estimator.algorithm == "auto"
        and (n_features > 15 or estimator.n_neighbors >= n_samples // 2)
    )


@in_place_of(KNeighborsClassifier, "predict")
def predict(self, X):
    theirs = ORIGINALS[KNeighborsClassifier, "predict"]
    check_is_fitted(self, "_fit_method")
    if _predicts_by_probabilities(self):
        return theirs(self, X)
    votes = _votes_of(self, X)
    if votes is None:
        return theirs(_searching_as_told(self), X)
    return self.classes_[votes.winners()]


@in_place_of(KNeighborsClassifier, "predict_proba")
def predict_proba(self, X):
    votes = _votes_of(self, X)
    if votes is None:
        return ORIGINALS[KNeighborsClassifier, "predict_proba"](_searching_as_told(self), X)
    shares = [sums / sums.sum(axis=1, keepdims=True) for sums in votes.sums()]
    return shares[0] if len(shares) == 1 else np.concatenate(shares)


@in_place_of(RadiusNeighborsClassifier, "predict_proba")
def radius_predict_proba(self, X):
    check_is_fitted(self, "_fit_method")
    return ORIGINALS[RadiusNeighborsClassifier, "predict_proba"](_searching_as_told(self), X)


@in_place_of(RadiusNeighborsRegressor, "predict")
def radius_regressor_predict(self, X):
    theirs = ORIGINALS[RadiusNeighborsRegressor, "predict"]
    check_is_fitted(self, "_fit_method")
    if self._y.dtype.kind == "f":
        return theirs(self, X)
    # For a query without neighbors scikit-learn writes NaN into an array of the targets' type.
    twin = copy.copy(self)
    twin._y = self._y.astype(np.float64)
    return theirs(twin, X)


REPLACEMENTS = {
    (NeighborsBase, "_fit"): fit_neighbors,
    (KNeighborsMixin, "kneighbors"): kneighbors,
    (RadiusNeighborsMixin, "radius_neighbors"): radius_neighbors,
    (KNeighborsClassifier, "predict"): predict,
    (KNeighborsClassifier, "predict_proba"): predict_proba,
    (RadiusNeighborsClassifier, "predict_proba"): radius_predict_proba,
    (RadiusNeighborsRegressor, "predict"): radius_regressor_predict,
}
