"""What stands in for scikit-learn's votes of neighbors, and for its means of them."""

import copy
from typing import NamedTuple

import numpy as np
from sklearn.neighbors import (
    KNeighborsClassifier,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.utils.validation import check_is_fitted

from .._core._threads import effective_n_threads
from .._core.search._vote import predict_for_each_k, sum_votes
from .originals import ORIGINALS, asks_for, in_place_of
from .private import get_weights
from .searches import kneighbors

# Sums of votes held at a time, so that many classes and many queries need no large array.
VOTES_PER_SLICE = 1 << 20


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
