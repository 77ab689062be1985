"""What stands in for scikit-learn's votes of neighbors, and for its means of them."""

import copy
from typing import NamedTuple

import numpy as np
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.utils.validation import check_is_fitted

from .._core._threads import effective_n_threads
from .._core.search._vote import average_targets, predict_for_each_k, sum_votes
from .._search.growing import Blocks
from .growing import places_of_found
from .originals import ORIGINALS, asks_for, in_place_of
from .preparation import held_by, n_features_of, n_samples_of, prepare
from .private import get_weights
from .searches import kneighbors
from .targets import as_list

# Sums of votes held at a time, so that many classes and many queries need no large array.
VOTES_PER_SLICE = 1 << 20


class _Found(NamedTuple):
    """The neighbors of some queries: where they are among the samples, and their weights."""

    places: np.ndarray
    weights: np.ndarray | None
    n_threads: int


def _neighbors_of(estimator, X):
    """Return what is found for X, or None: scikit-learn takes it from here."""
    check_is_fitted(estimator, "_fit_method")
    of_samples = vars(estimator).get("_sample_weights")
    kept = {} if of_samples is None else _with_a_weight(estimator, of_samples)
    weighted = estimator.weights not in ("uniform", None)
    if weighted:
        distances, indices = estimator.kneighbors(X, **kept)
    else:
        indices, weights = estimator.kneighbors(X, return_distance=False, **kept), None
    if asks_for(estimator, "kneighbors") is not kneighbors and not _are_samples(estimator, indices):
        return None
    if weighted:
        weights = get_weights(distances, estimator.weights)
        if not (isinstance(weights, np.ndarray) and weights.shape == indices.shape):
            return None
        weights = np.ascontiguousarray(weights, dtype=np.float64)
    places = np.ascontiguousarray(places_of_found(estimator, indices), dtype=np.int64)
    if of_samples is not None:
        weights = of_samples[places] if weights is None else weights * of_samples[places]
    return _Found(places, weights, effective_n_threads(estimator.n_jobs))


def _with_a_weight(estimator, of_samples):
    """Return how kneighbors() finds the samples with a weight, as keyword arguments."""
    if of_samples.all():
        return {}
    n = np.count_nonzero(of_samples)
    if n < estimator.n_neighbors:
        raise ValueError(
            "Expected n_neighbors <= the number of samples with a weight that is not 0, but "
            f"n_neighbors = {estimator.n_neighbors}, and there are {n}"
        )
    reason = prepare(estimator)
    if isinstance(reason, str):
        raise ValueError(
            "sample_weight and class_weight must not have zeros where scikit-learn searches: "
            f"{reason}"
        )
    mask = np.zeros(estimator.n_samples_fit_, np.bool_)
    mask[estimator.sample_indices_] = of_samples > 0.0
    return {"where": mask}


class _Votes(NamedTuple):
    """What neighbors vote for: the labels of all samples, numbers of classes."""

    found: _Found
    labels: np.ndarray
    n_classes: int

    def sums(self):
        """Yield the sums of votes of each class, in slices of queries."""
        places, weights, n_threads = self.found
        n_queries = max(1, VOTES_PER_SLICE // self.n_classes)
        for start in range(0, len(places), n_queries):
            part = slice(start, start + n_queries)
            some = None if weights is None else weights[part]
            yield sum_votes(places[part], self.labels, self.n_classes, some, n_threads)

    def shares(self):
        """Return what share of the votes each class has."""
        shares = [sums / sums.sum(axis=1, keepdims=True) for sums in self.sums()]
        return shares[0] if len(shares) == 1 else np.concatenate(shares)

    def winners(self):
        """Return the class with the largest sum of each query, the first of such classes."""
        places, weights, n_threads = self.found
        if weights is None or (weights >= 0.0).all():
            k = np.array([places.shape[1]])
            return predict_for_each_k(places, self.labels, self.n_classes, weights, k, n_threads)[
                :, 0
            ]
        return np.concatenate([sums.argmax(axis=1) for sums in self.sums()])


def _votes_of(estimator, X):
    """Return the votes of the neighbors of X for each output, or None: scikit-learn counts them."""
    found = _neighbors_of(estimator, X)
    if found is None:
        return None
    if found.weights is not None and not found.weights.any(axis=1).all():
        return None  # raises
    classes = as_list(estimator.classes_, estimator)
    labels = estimator._y.reshape(-1, len(classes))
    return [
        _Votes(found, np.ascontiguousarray(labels[:, i], dtype=np.int64), some.size)
        for i, some in enumerate(classes)
    ]


def _are_samples(estimator, indices):
    """Whether these are rows of samples: an override may find anything, or nothing."""
    held = held_by(estimator)
    n_indices = held.n_indices if isinstance(held, Blocks) else estimator._y.shape[0]
    return (
        isinstance(indices, np.ndarray)
        and indices.ndim == 2
        and indices.size > 0
        and indices.dtype.kind in "iu"
        and indices.min() >= 0
        and indices.max() < n_indices
    )


def _searching_as_told(estimator):
    """Return the estimator, or a stand-in whose votes ask its kneighbors() and radius_neighbors().

    With weights="uniform" scikit-learn searches inside its vote; None means the same weights.
    """
    has_changed = isinstance(held_by(estimator), Blocks)
    if estimator.weights != "uniform" and not has_changed:
        return estimator
    twin = copy.copy(estimator)
    twin.weights = None if twin.weights == "uniform" else twin.weights
    for name in ("kneighbors", "radius_neighbors"):
        if hasattr(estimator, name):
            setattr(twin, name, getattr(estimator, name))
    if has_changed:  # their votes look the targets up by place

        def kneighbors(X, n_neighbors=None, return_distance=True):
            found = estimator.kneighbors(X, n_neighbors, return_distance)
            if not return_distance:
                return places_of_found(estimator, found)
            return found[0], places_of_found(estimator, found[1])

        twin.kneighbors = kneighbors
    return twin


def _predicts_by_probabilities(estimator):
    """Whether scikit-learn's predict() asks an override of predict_proba() where it can.

    It does for uniform weights and brute force, to which "auto" comes by the rule below.
    """
    if asks_for(estimator, "predict_proba") is predict_proba or estimator.weights != "uniform":
        return False
    n_samples = n_samples_of(estimator)
    return estimator.algorithm == "brute" or (
        estimator.algorithm == "auto"
        and (n_features_of(estimator) > 15 or estimator.n_neighbors >= n_samples // 2)
    )


@in_place_of(KNeighborsClassifier, "predict")
def predict(self, X):
    theirs = ORIGINALS[KNeighborsClassifier, "predict"]
    check_is_fitted(self, "_fit_method")
    if _predicts_by_probabilities(self):
        if not isinstance(held_by(self), Blocks):
            return theirs(self, X)
        shares = as_list(self.predict_proba(X), self)
        classes = as_list(self.classes_, self)
        outputs = [
            some[of_one.argmax(axis=1)] for some, of_one in zip(classes, shares, strict=True)
        ]
        return np.stack(outputs, axis=1) if self.outputs_2d_ else outputs[0]
    votes = _votes_of(self, X)
    if votes is None:
        return theirs(_searching_as_told(self), X)
    if not self.outputs_2d_:
        return self.classes_[votes[0].winners()]
    outputs = zip(self.classes_, votes, strict=True)
    return np.stack([classes[of_one.winners()] for classes, of_one in outputs], axis=1)


@in_place_of(KNeighborsClassifier, "predict_proba")
def predict_proba(self, X):
    votes = _votes_of(self, X)
    if votes is None:
        return ORIGINALS[KNeighborsClassifier, "predict_proba"](_searching_as_told(self), X)
    shares = [of_one.shares() for of_one in votes]
    return shares if self.outputs_2d_ else shares[0]


@in_place_of(KNeighborsRegressor, "predict")
def regressor_predict(self, X):
    theirs = ORIGINALS[KNeighborsRegressor, "predict"]
    check_is_fitted(self, "_fit_method")
    # Others are numbers that float64 does not hold, or none.
    found = _neighbors_of(self, X) if self._y.dtype.kind in "biuf" else None
    if found is None:
        return theirs(_searching_as_told(self), X)
    targets = np.ascontiguousarray(self._y.reshape(len(self._y), -1), dtype=np.float64)
    means = average_targets(found.places, targets, found.weights, found.n_threads)
    if found.weights is None and self._y.dtype.kind == "f":
        means = means.astype(self._y.dtype, copy=False)
    return means.reshape(len(means), *self._y.shape[1:])


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
