"""Fitted samples that are added to and removed from: see `fastnn/_search/growing`."""

import copy
import numbers
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, validate_data

from .._search.growing import Blocks
from .preparation import held_by, hold, numeric_rows, prepare, queries_for
from .targets import (
    check_weights,
    joined_targets,
    joined_weights,
    with_classes,
    with_weights,
)


class Growing:
    """Samples that may be added and removed.

    The first change takes the samples from `_fit_X` to `_blocks`; all that reads `_fit_X` gets a
    copy from then on.
    """

    @property
    def _fit_X(self):
        held = held_by(self)
        if held is None:
            raise AttributeError("_fit_X")
        return held.rows() if isinstance(held, Blocks) else held

    @_fit_X.setter
    def _fit_X(self, X):
        vars(self).pop("_blocks", None)
        vars(self)["_fit_X"] = X

    @property
    def sample_indices_(self):
        """The indices of the samples that are there, ascending: an array of int64.

        Rows of the samples themselves, as in ``kneighbors()``, come in this order.
        """
        check_is_fitted(self, "_fit_method")
        held = held_by(self)
        return held.indices() if isinstance(held, Blocks) else np.arange(self.n_samples_fit_)

    def _append(self, X, y=None, classes=None, sample_weight=None):
        """Add samples, or fit. Nothing changes if that fails."""
        if held_by(self) is None:
            return self._fit_first(X, y, classes, sample_weight)
        prepared = prepare(self)
        if isinstance(prepared, str):
            raise ValueError(f"X cannot be added to samples that scikit-learn searches: {prepared}")
        if "_y" in vars(self):
            rows, targets = self._rows_and_targets(X, y, classes, sample_weight)
        else:
            rows, targets = queries_for(self, X), {}
        if isinstance(rows, str):
            raise ValueError(rows if rows.startswith("X ") else f"X must be dense, got {rows}")
        prepared.searcher.space.require_valid(rows, "X")
        hold(self, self._blocks_of(prepared).append(rows))
        self.n_samples_fit_ += len(rows)
        vars(self).update(targets)
        return self

    def _fit_first(self, X, y, classes, sample_weight):
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        before = vars(self).copy()
        try:
            self.fit(X, y, **weights)
            if classes is not None:
                vars(self).update(with_weights(self, with_classes(self, classes)))
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        # Copies: the arrays may get other values for the next call.
        self._fit_X = self._fit_X.copy()
        if "_y" in vars(self):
            self._y = self._y.copy()
        return self

    def _rows_and_targets(self, X, y, classes, sample_weight):
        """Return rows as the kernels take them, and what targets there are with theirs, by name."""
        validate_data(self, X, reset=False, skip_check_array=True)  # names and number of features
        with warnings.catch_warnings():
            # A few samples may well have a class each.
            warnings.filterwarnings("ignore", "The number of unique classes")
            # All checks and conversions are those of a fit.
            added = clone(self).fit(X, y)
        n_before, n = len(self._y), len(added._y)
        weights = None if sample_weight is None else check_weights(sample_weight, n, all_zero=True)
        targets = joined_targets(self, added)
        if classes is not None:
            twin = copy.copy(self)
            vars(twin).update(targets)
            targets |= with_classes(twin, classes)
        given = joined_weights(vars(self).get("_given_weights"), n_before, weights, n)
        return numeric_rows(added._fit_X), with_weights(self, targets, given)

    def _blocks_of(self, prepared):
        held = held_by(self)
        return held if isinstance(held, Blocks) else Blocks.of(prepared.searcher.Y)

    def remove(self, indices):
        """Remove samples; the others keep their indices.

        No later sample gets an index that was in use: `n_samples_fit_` counts all samples that
        there have been, and so do the columns of graphs and the masks of `where`. Searches give
        what they would after a fit on the samples that are left. A class stays in `classes_`
        without samples.

        Parameters
        ----------
        indices : int or array-like of int
            Of samples that are there, each any number of times.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If `indices` are not integers.
        ValueError
            If a sample is not there, or scikit-learn searches (sparse samples, for example).

        Examples
        --------
        >>> from fastnn.neighbors import NearestNeighbors
        >>> model = NearestNeighbors(n_neighbors=1).fit([[0.0], [1.0], [5.0]]).remove([0, 1])
        >>> model.partial_fit([[4.0]]).kneighbors([[0.0]], return_distance=False)
        array([[3]])
        """
        check_is_fitted(self, "_fit_method")
        indices = _check_indices(indices)
        prepared = prepare(self)
        if isinstance(prepared, str):
            raise ValueError(f"indices cannot be removed where scikit-learn searches: {prepared}")
        places = places_of(self, indices)
        if len(indices):
            targets = {}
            if "_y" in vars(self):
                given = vars(self).get("_given_weights")
                given = None if given is None else np.delete(given, places)
                targets = {"_y": np.delete(self._y, places, axis=0)}
                targets = with_weights(self, targets, given)
            hold(self, self._blocks_of(prepared).remove(indices))
            vars(self).update(targets)
        return self


class GrowingSamples(Growing):
    def partial_fit(self, X, y=None):
        """Append samples, without building the index of the others again.

        What searches give is what they would after a fit on all of them.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            New samples, which are copied and get the next unused indices.
        y : None
            Not used.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `fit` would refuse the input, if it does not match the fitted samples, or if these
            are searched by scikit-learn (sparse samples, for example).

        Examples
        --------
        >>> from fastnn.neighbors import NearestNeighbors
        >>> model = NearestNeighbors(n_neighbors=1).fit([[0.0], [1.0]]).partial_fit([[4.0]])
        >>> model.kneighbors([[5.0]], return_distance=False)
        array([[2]])
        """
        return self._append(X)


class GrowingRegressor(Growing):
    def partial_fit(self, X, y, sample_weight=None):
        """Append samples, without building the index of the others again.

        What is predicted is what it would be after a fit on all of them.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            New samples, which are copied and get the next unused indices.
        y : array-like of shape (n,) or (n, n_outputs)
            Targets.
        sample_weight : array-like of shape (n,), optional
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `fit` would refuse the input, if it does not match the fitted samples, or if these
            are searched by scikit-learn (sparse samples, for example).

        Examples
        --------
        >>> from fastnn.neighbors import KNeighborsRegressor
        >>> model = KNeighborsRegressor(n_neighbors=1).fit([[0.0], [1.0]], [0.0, 10.0])
        >>> model.partial_fit([[4.0]], [40.0]).predict([[5.0]])
        array([40.])
        """
        return self._append(X, y, None, sample_weight)


class GrowingClassifier(Growing):
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Append samples, without building the index of the others again.

        What is predicted is what it would be after a fit on all of them.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            New samples, which are copied and get the next unused indices.
        y : array-like of shape (n,) or (n, n_outputs)
            Labels, known ones or others.
        classes : array-like, or list of array-likes, optional
            Labels that will come, so that probabilities have their columns from the start; for
            several outputs a list.
        sample_weight : array-like of shape (n,), optional
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `fit` would refuse the input, if it does not match the fitted samples, or if these
            are searched by scikit-learn (sparse samples, for example).

        Examples
        --------
        >>> from fastnn.neighbors import KNeighborsClassifier
        >>> model = KNeighborsClassifier(n_neighbors=1).fit([[0.0], [1.0]], ["a", "b"])
        >>> model.partial_fit([[4.0]], ["c"]).predict([[5.0]])
        array(['c'], dtype='<U1')
        """
        return self._append(X, y, classes, sample_weight)


def _check_indices(indices):
    """Return indices, ascending, each once."""
    try:
        array = np.atleast_1d(np.asarray(indices))
    except ValueError:  # ragged
        array = np.empty((0, 0), object)
    if array.size == 0 and array.ndim == 1:
        array = array.astype(np.int64)
    if array.ndim != 1 or np.ma.is_masked(indices):
        raise ValueError("indices must be a number or an array of shape (n,), nothing masked")
    if array.dtype == object and all(isinstance(index, numbers.Integral) for index in array):
        raise ValueError(f"indices must be among sample_indices_, got {max(array, key=abs)}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got dtype {array.dtype}")
    return np.unique(array)


def places_of(estimator, indices):
    """Return where samples are among those that are there, and so their targets, by their indices.

    Raises
    ------
    ValueError
        If one is not there.
    """
    held = held_by(estimator)
    if not isinstance(held, Blocks) or held.n_samples == held.n_indices:  # nothing was removed
        wrong = (indices < 0) | (indices >= estimator.n_samples_fit_)
        places = indices
    else:
        there = prepare(estimator).searcher.indices
        places = np.minimum(np.searchsorted(there, indices), max(len(there) - 1, 0))
        wrong = there[places] != indices if len(there) else np.ones(indices.shape, np.bool_)
    if wrong.any():
        raise ValueError(f"indices must be among sample_indices_, got {indices[wrong][0]}")
    return places


def places_of_found(estimator, indices):
    """Return where the targets of neighbors are."""
    return places_of(estimator, indices) if isinstance(held_by(estimator), Blocks) else indices
