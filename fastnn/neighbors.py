"""Exact k-nearest-neighbor search and the classifiers that vote with it."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from . import _validation
from ._core._knn import find_neighbors
from ._core._threads import effective_n_threads
from ._core._vote import sum_votes

__all__ = ["KNeighborsClassifier", "kneighbors"]

ALGORITHMS = ("auto", "brute")
# Sums of votes held at a time, so that many classes and many queries need no large array.
VOTES_PER_SLICE = 1 << 20


def kneighbors(X, Y, n_neighbors=5, metric="l2", *, n_jobs=None, verbose=0):
    """Find the nearest rows of Y for each row of X, exactly.

    The neighbors are those of the distances evaluated in float64 in difference form (sum of
    \\|x - y\\|, sum of (x - y)²) on the values given; equal distances go by the smaller index. The
    result is the same, bit for bit, for any number of threads, batch size and memory layout.

    Parameters
    ----------
    X : array-like of shape (n_queries, n_features)
        float32, float64 and uint8 are taken as they are, other real dtypes widened exactly.
    Y : array-like of shape (n_samples, n_features)
    n_neighbors : int, default=5
        1 <= n_neighbors <= n_samples.
    metric : str, default="l2"
        "l1" ("manhattan", "cityblock"), "l2" ("euclidean") or "sqeuclidean".
    n_jobs : int, optional
        Threads, as in scikit-learn; None: all the cores that this process may use.
    verbose : int, default=0
        A positive number shows a progress bar.

    Returns
    -------
    distances : ndarray of shape (n_queries, n_neighbors), float64
        Ascending. Squared only for "sqeuclidean".
    indices : ndarray of shape (n_queries, n_neighbors), int64
        Rows of Y, in the order of (distance, index).

    Raises
    ------
    TypeError
        For dtypes that hold no real numbers, sparse input, and arguments of the wrong type.
    ValueError
        For NaN or infinity, empty input, shapes that do not fit, n_neighbors out of range, an
        unknown metric, n_jobs=0.

    Notes
    -----
    Beside its inputs and outputs the search holds under 64 MiB, unless n_neighbors is in the tens
    of thousands; nothing of size n_queries x n_samples is ever stored.

    Examples
    --------
    >>> import fastnn
    >>> distances, indices = fastnn.kneighbors([[0.9]], [[0.0], [1.0], [5.0]], n_neighbors=2)
    >>> indices
    array([[1, 0]])
    """
    X, Y = _validation.check_pair(X, Y)
    k = _validation.check_n_neighbors(n_neighbors, Y.shape[0])
    metric = _validation.check_metric(metric)
    return _search(X, Y, k, metric, effective_n_threads(n_jobs), verbose)


def _search(X, Y, k, metric, n_threads, verbose=0):
    """Search with arguments that have passed the border, but for NaN and infinity.

    The search meets every value anyway, so it reports what is out of range and the arrays are
    looked at only then.
    """
    if not verbose:
        return _search_quietly(X, Y, k, metric, n_threads, None)
    from tqdm.auto import tqdm

    with tqdm(total=X.shape[0], desc="kneighbors", unit=" queries", unit_scale=True) as bar:
        return _search_quietly(
            X, Y, k, metric, n_threads, lambda share: bar.update(share * X.shape[0])
        )


def _search_quietly(X, Y, k, metric, n_threads, advance):
    found = find_neighbors(X, Y, k, metric, n_threads, False, advance)
    if found is None:
        _validation.require_finite(X, "X")
        _validation.require_finite(Y, "Y")
        found = find_neighbors(X, Y, k, metric, n_threads, True, advance)
    return found


def _vote_weights(weights, distances):
    """Return the weight of each neighbor, or None where all weigh the same.

    1/distance as in scikit-learn: where neighbors are at distance 0, only they count.
    """
    if weights == "uniform":
        return None
    if weights == "distance":
        with np.errstate(divide="ignore"):
            inverse = 1.0 / distances
        infinite = np.isinf(inverse)
        rows = infinite.any(axis=1)
        inverse[rows] = infinite[rows]
        return inverse
    given = np.ascontiguousarray(weights(distances), dtype=np.float64)
    if given.shape != distances.shape:
        raise ValueError(
            f"weights must return an array of shape {distances.shape}, got one of {given.shape}"
        )
    return given


class KNeighborsClassifier(ClassifierMixin, BaseEstimator):
    """Classifier that lets the k nearest training samples vote.

    Parameters
    ----------
    n_neighbors : int, default=5
    weights : {"uniform", "distance"} or callable, default="uniform"
        "distance" weighs a neighbor by 1/distance; neighbors at distance 0 take all the weight. A
        callable maps distances of shape (n_queries, n_neighbors) to weights of that shape.
    algorithm : {"auto", "brute"}, default="auto"
        Both mean the fused exhaustive search.
    metric : str, default="l2"
        "l1" ("manhattan", "cityblock"), "l2" ("euclidean") or "sqeuclidean".
    n_jobs : int, optional
        Threads, as in scikit-learn; None: all the cores that this process may use.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    effective_metric_ : str
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only where X has feature names that are all strings.
    n_samples_fit_ : int

    See Also
    --------
    fastnn.kneighbors : The search alone.

    Examples
    --------
    >>> from fastnn.neighbors import KNeighborsClassifier
    >>> model = KNeighborsClassifier(n_neighbors=3).fit([[0], [1], [2], [3]], [0, 0, 1, 1])
    >>> model.predict([[1.1]])
    array([0])
    >>> model.predict_proba([[0.9]])
    array([[0.66666667, 0.33333333]])
    """

    def __init__(
        self, n_neighbors=5, *, weights="uniform", algorithm="auto", metric="l2", n_jobs=None
    ):
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.algorithm = algorithm
        self.metric = metric
        self.n_jobs = n_jobs

    def fit(self, X, y):
        """Keep the training samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Class labels of any sortable type.

        Returns
        -------
        KNeighborsClassifier
            This estimator. A C-contiguous X of a native dtype is kept as it is, without a copy.

        Raises
        ------
        TypeError, ValueError
            As `fastnn.kneighbors`; also for labels that are not classes and for parameters out of
            range.
        """
        self._check_parameters()
        X, y = validate_data(self, X, y, dtype="numeric", order="C", multi_output=False)
        check_classification_targets(y)
        self._fit_X = _validation.check_rows(X, "X")
        self.effective_metric_ = _validation.check_metric(self.metric)
        self.classes_, codes = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        self._y = codes.astype(np.int64, copy=False)
        self.n_samples_fit_ = self._fit_X.shape[0]
        return self

    def _check_parameters(self):
        _validation.check_metric(self.metric)
        _validation.check_n_neighbors(self.n_neighbors, np.inf)
        effective_n_threads(self.n_jobs)
        if not (callable(self.weights) or self.weights in ("uniform", "distance")):
            raise ValueError(
                f"weights must be 'uniform', 'distance' or a callable, got {self.weights!r}"
            )
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm must be one of {list(ALGORITHMS)}, got {self.algorithm!r}")

    def _check_queries(self, X):
        """Return X and the training samples in one dtype; arrays that are right come quickly."""
        check_is_fitted(self, "_fit_X")
        plain = type(X) is np.ndarray and X.dtype in _validation.NATIVE and X.ndim == 2
        if not plain or X.shape[1] != self.n_features_in_ or hasattr(self, "feature_names_in_"):
            X = validate_data(self, X, dtype="numeric", order="C", reset=False)
        return _validation.to_common_dtype(_validation.check_rows(X, "X"), self._fit_X)

    def kneighbors(self, X, n_neighbors=None, return_distance=True):
        """Find the nearest training samples of each row of X.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
        n_neighbors : int, optional
            Default: the estimator's.
        return_distance : bool, default=True

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), float64
            Only with `return_distance`.
        indices : ndarray of shape (n_queries, n_neighbors), int64

        Raises
        ------
        TypeError, ValueError
            As `fastnn.kneighbors`.
        """
        X, Y = self._check_queries(X)
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        k = _validation.check_n_neighbors(k, self.n_samples_fit_)
        n_threads = effective_n_threads(self.n_jobs)
        distances, indices = _search(X, Y, k, self.effective_metric_, n_threads)
        return (distances, indices) if return_distance else indices

    def _votes(self, X):
        """Yield (slice of the queries, sums of votes of each class) for all queries."""
        distances, indices = self.kneighbors(X)
        weights = _vote_weights(self.weights, distances)
        n_threads = effective_n_threads(self.n_jobs)
        n, n_classes = indices.shape[0], self.classes_.size
        rows = max(1, VOTES_PER_SLICE // n_classes)
        for start in range(0, n, rows):
            part = slice(start, min(start + rows, n))
            part_weights = None if weights is None else weights[part]
            yield part, sum_votes(indices[part], self._y, n_classes, part_weights, n_threads)

    def predict(self, X):
        """Return the class with the most votes for each row of X; ties go to the smallest class.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)

        Returns
        -------
        ndarray of shape (n_queries,)

        Raises
        ------
        TypeError, ValueError
            As `fastnn.kneighbors`.
        """
        winners = [votes.argmax(axis=1) for _, votes in self._votes(X)]
        return self.classes_[winners[0] if len(winners) == 1 else np.concatenate(winners)]

    def predict_proba(self, X):
        """Return each class's share of the votes for each row of X.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)

        Returns
        -------
        ndarray of shape (n_queries, n_classes), float64
            Columns in the order of `classes_`; rows sum to 1 (to 0 where all weights are 0).

        Raises
        ------
        TypeError, ValueError
            As `fastnn.kneighbors`.
        """
        shares = []
        for _, votes in self._votes(X):
            totals = votes.sum(axis=1, keepdims=True)
            totals[totals == 0.0] = 1.0
            shares.append(votes / totals)
        return np.concatenate(shares)
