"""Searches for neighbors among the chunks of a Dask array, and votes of what they find.

    fit:     rows --> a Shard for each chunk (its searcher, and the targets of its rows)
    search:  chunks of queries x Shards --> cells, the k nearest of a Shard for each query
             cells --merged, `split_every` at a time--> the k nearest of all

A task is a pure function of what it is given. Shards tell their size, so that queries go to them.
"""

from functools import partial

import dask
import dask.array as da
import numpy as np
from dask import is_dask_collection
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted

from .. import _validation
from .. import neighbors as local
from .._core._threads import effective_n_threads
from .._search.merging import first_of
from .._search.metric_spaces import check_space, metric_parameters
from .._search.searcher import ALGORITHMS, Searcher
from ..neighbors._blocks import search_block
from ._collections import (
    as_column,
    as_rows,
    as_targets,
    as_they_are,
    check_chunk,
    check_names,
    check_numbers,
    check_width,
    checked,
    class_numbers,
    classes_of,
    of_each_chunk,
    ranges_of,
    score,
)

# What the queries of a task take, about, with one thread: a task cannot be interrupted.
TASK_SECONDS = 5.0
DIFFERENCES_PER_SECOND = 2e10
MIN_TASK_QUERIES, MAX_TASK_QUERIES = 256, 1 << 16
# Behind all that is found.
NO_DISTANCE, NO_INDEX = np.inf, np.iinfo(np.int64).max


# ---- what tasks do -------------------------------------------------------------------------------


class Shard:
    """Some samples, ready to be searched: rows of one chunk.

    Parameters
    ----------
    first : int
        The number of its first row.
    searcher : Searcher or None
        None if there are no rows.
    targets : ndarray of shape (n,) or (n, n_outputs), or None
    """

    def __init__(self, first, searcher, targets):
        self.first, self.searcher, self.targets = first, searcher, targets

    def __len__(self):
        return 0 if self.searcher is None else len(self.searcher.Y)

    def __sizeof__(self):
        """Where tasks run depends on what their arguments take."""
        size = object.__sizeof__(self)
        if self.searcher is not None:
            size += self.searcher.Y.nbytes + self.searcher.__sizeof__()
        return size + (0 if self.targets is None else self.targets.nbytes)

    @classmethod
    def of(cls, rows, of_chunk, targets=None, *, n_features, space, algorithm, recall):
        rows = check_chunk(rows, of_chunk, n_features)
        if targets is not None and len(targets) != len(rows):
            raise ValueError(
                f"y must have a value for each row, got {len(targets)} for {len(rows)}"
            )
        searcher = Searcher(rows, space, algorithm, recall=recall) if len(rows) else None
        return cls(int(of_chunk[0, 0]), searcher, targets)


def cell_dtype(k, targets=None):
    """Return the dtype of a query's neighbors; `targets` has those of the samples."""
    fields = [("distance", np.float64, (k,)), ("index", np.int64, (k,))]
    if targets is not None:
        fields.append(("target", targets.dtype, (k, *targets.shape[1:])))
    return np.dtype(fields)


def search_shard(X, of_chunk, shard, *, k, cell, n_features, n_jobs):
    """Return the k nearest of a shard's samples for each row of X, an array of cells (n, 1)."""
    X = check_chunk(X, of_chunk, n_features)
    cells = np.zeros((len(X), 1), cell)
    cells["distance"], cells["index"] = NO_DISTANCE, NO_INDEX
    k = min(k, len(shard))
    if len(X) == 0 or k == 0:
        return cells
    n_threads = effective_n_threads(n_jobs)
    distances, indices = search_block(shard.searcher, X, k, n_threads, shard.first, "Y")
    cells["distance"][:, 0, :k], cells["index"][:, 0, :k] = distances, indices
    if "target" in cell.names:
        cells["target"][:, 0, :k] = shard.targets[indices - shard.first]
    return cells


def merge_cells(cells, axis=None, keepdims=True):
    """Return the nearest of each query's cells, (n, n_cells), as (n, 1) or (n,)."""
    n, n_cells, k = cells["distance"].shape
    merged = np.empty(n, cells.dtype)
    together = {
        name: cells[name].reshape(n, n_cells * k, *cells[name].shape[3:])
        for name in cells.dtype.names
    }
    first = first_of(together["distance"], together["index"], k)
    for name, values in together.items():
        merged[name] = values[np.arange(n)[:, None], first]
    return merged[:, None] if keepdims else merged


def without_itself(cells, of_chunk, *, cell):
    """Return the neighbors of samples but each sample itself, as scikit-learn has them.

    Where k + 1 duplicates come before it, the first of them is left out.
    """
    others = cells["index"] != of_chunk[0, 0] + np.arange(len(cells))[:, None]
    others[others.all(axis=1), 0] = False
    left = np.empty(len(cells), cell)
    for name in cell.names:
        left[name] = cells[name][others].reshape(left[name].shape)
    return left


def rows_of_shard(shard, *, n_features):
    return np.empty((0, n_features)) if shard.searcher is None else shard.searcher.Y


def require_kept(collection):
    """Raise a RuntimeError if what was persisted is kept by a client other than the current one."""
    kept = [v for v in dict(collection.__dask_graph__()).values() if hasattr(v, "client")]
    if not kept:
        return
    from distributed import get_client

    try:
        client = get_client()
    except ValueError:
        client = None
    if any(future.client is not client or future.cancelled() for future in kept):
        raise RuntimeError(
            "the samples are kept by a Dask client that is closed, or is not the current one: call "
            "fit again, or use persist=False"
        )


# ---- estimators ----------------------------------------------------------------------------------


class _Neighbors(BaseEstimator):
    """What the estimators share: all but what they do with neighbors."""

    def _fit(self, X, rows, targets=None):
        """Take samples; `rows` are X as a Dask array."""
        self._check_parameters()
        n, d = rows.shape
        space = check_space(
            self.metric, **metric_parameters(self.metric, self.p, self.metric_params)
        )
        space.require_fit(d)
        if space.largest_first:
            raise ValueError(f"metric {self.metric!r} is not served over Dask")
        arguments = [rows, "ij", ranges_of(rows), "ir"]
        if targets is not None:
            arguments += [targets, "it"[: targets.ndim]]
        of = partial(
            Shard.of, n_features=d, space=space, algorithm=self.algorithm,
            recall=_validation.check_recall(self.recall),
        )  # fmt: skip
        shards = da.blockwise(
            of, "i", *arguments, dtype=object, concatenate=True, align_arrays=False,
            adjust_chunks={"i": 1}, meta=np.empty(0, object), token="shard",
        )  # fmt: skip
        if self.persist:
            (shards,) = dask.persist(shards)
            of_each_chunk(len, shards)  # what is wrong with some rows is raised here
            # Queries of the samples themselves are those that are kept.
            rows = da.blockwise(
                partial(rows_of_shard, n_features=d), "ij", shards, "i", new_axes={"j": d},
                adjust_chunks={"i": rows.chunks[0]}, dtype=rows.dtype,
                meta=np.empty((0, 0), rows.dtype),
            )  # fmt: skip
        self._rows, self._shards, self._targets = rows, shards, targets
        self.n_samples_fit_, self.n_features_in_ = n, d
        check_names(self, X, reset=True)
        return self

    def _check_parameters(self):
        _validation.check_name(self.algorithm, ("auto", *ALGORITHMS), "algorithm")
        _validation.check_recall(self.recall)
        k = _validation.check_integer(self.n_neighbors, "n_neighbors")
        _validation.check_n_neighbors(k, max(1, k))
        _validation.check_integer(self.split_every, "split_every", 2)
        effective_n_threads(self.n_jobs)

    def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
        """Find the nearest samples of each query.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_queries, n_features), optional
            If None, the samples themselves; a sample is not its own neighbor.
        n_neighbors : int, optional
            None: as the estimator says.
        return_distance : bool, default=True

        Returns
        -------
        distances : array of shape (n_queries, n_neighbors), float64
            Only with `return_distance`. Dask arrays if X is a Dask collection or None (errors then
            surface on compute); otherwise NumPy arrays.
        indices : array of shape (n_queries, n_neighbors), int64

        Raises
        ------
        ValueError
            For n_neighbors out of range, another number of features, NaN and infinity.
        """
        cells = self._cells(X, n_neighbors)
        names = ("distance", "index") if return_distance else ("index",)
        fields = tuple(_field(cells, name) for name in names)
        if X is not None and not is_dask_collection(X):
            fields = dask.compute(*fields)
        return fields if return_distance else fields[0]

    def _cells(self, X, n_neighbors=None, with_targets=False):
        """Return a Dask array of shape (n_queries,) of each query's neighbors."""
        check_is_fitted(self, "_shards")
        self._check_parameters()
        require_kept(self._shards)
        itself = X is None
        n_neighbors = self.n_neighbors if n_neighbors is None else n_neighbors
        k = _validation.check_n_neighbors(n_neighbors, self.n_samples_fit_ - itself)
        if not itself:
            check_names(self, X, reset=False)
        queries = self._rows if itself else as_rows(X, "X", self._task_queries())
        check_width(queries, self)
        targets = self._targets if with_targets else None
        dtype = cell_dtype(k + itself, targets)
        search = partial(
            search_shard, k=k + itself, cell=dtype, n_features=self.n_features_in_,
            n_jobs=self.n_jobs,
        )  # fmt: skip
        ranges = ranges_of(queries)
        found = da.blockwise(
            search, "qi", queries, "qd", ranges, "qr", self._shards, "i", dtype=dtype,
            concatenate=True, align_arrays=False, meta=np.empty((0, 0), dtype),
            adjust_chunks={"q": queries.chunks[0]}, token="search-shard",
        )  # fmt: skip
        cells = da.reduction(
            found, as_they_are, merge_cells, combine=merge_cells, axis=1, dtype=dtype,
            concatenate=True, split_every=self.split_every, meta=np.empty(0, dtype),
        )  # fmt: skip
        if not itself:
            return cells
        left = cell_dtype(k, targets)
        return da.blockwise(
            partial(without_itself, cell=left), "q", cells, "q", ranges, "qr", dtype=left,
            meta=np.empty(0, left), concatenate=True, align_arrays=False,
            adjust_chunks={"q": queries.chunks[0]},
        )  # fmt: skip

    def _task_queries(self):
        """Return how many queries a task takes, where that is for us to say."""
        differences = max(self._rows.chunks[0]) * self.n_features_in_
        n = int(TASK_SECONDS * DIFFERENCES_PER_SECOND / differences)
        return max(MIN_TASK_QUERIES, min(n, MAX_TASK_QUERIES))


def _field(cells, name):
    """Return a field of the cells, shape (n, k)."""
    values = cells.dtype[name]
    return da.blockwise(
        partial(field_of, name), "qk", cells, "q",
        new_axes={"k": values.shape[0]}, dtype=values.base, meta=np.empty((0, 0), values.base),
    )  # fmt: skip


def field_of(name, cells):
    return np.ascontiguousarray(cells[name])


class NearestNeighbors(_Neighbors):
    """Searches for the k nearest neighbors among samples in the chunks of a Dask array.

    Parameters
    ----------
    n_neighbors : int, default=5
    algorithm, metric, p, metric_params, recall
        As for `fastnn.kneighbors`. With a recall below 1 each chunk keeps it for its own rows;
        "auto" then depends on what has been searched for before, "ivf" does not.
    n_jobs : int, default=1
        Threads within a task. Dask runs as many tasks at a time as it has threads.
    persist : bool, default=True
        Whether `fit` reads the samples and keeps them and their search structures in Dask's memory
        (on the workers of a cluster). If False, each search reads them again: for samples larger
        than memory.
    split_every : int, default=8
        How many chunks' results are merged at a time.

    Attributes
    ----------
    n_samples_fit_, n_features_in_ : int

    See Also
    --------
    fastnn.neighbors.NearestNeighbors : For samples in memory.
    fastnn.neighbors.kneighbors_of_blocks : For samples beyond memory, without Dask.

    Examples
    --------
    >>> import dask.array as da
    >>> from fastnn.dask import NearestNeighbors
    >>> samples = da.arange(1000.0, chunks=300).reshape(-1, 1)
    >>> model = NearestNeighbors(n_neighbors=2).fit(samples)
    >>> model.kneighbors([[299.9]])[1]
    array([[300, 299]])
    >>> model.kneighbors(samples)[1].compute().shape
    (1000, 2)
    """

    def __init__(
        self,
        *,
        n_neighbors=5,
        algorithm="auto",
        metric="minkowski",
        p=2,
        metric_params=None,
        recall=1.0,
        n_jobs=1,
        persist=True,
        split_every=8,
    ):
        self.n_neighbors = n_neighbors
        self.algorithm = algorithm
        self.metric = metric
        self.p = p
        self.metric_params = metric_params
        self.recall = recall
        self.n_jobs = n_jobs
        self.persist = persist
        self.split_every = split_every

    def fit(self, X, y=None):
        """Take the samples.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_samples, n_features)
            Chunks are searched one by one. Rows of a memory-mapped file are read by the tasks.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            As `fastnn.kneighbors`; with ``persist=False``, NaN and infinity only where searches
            meet them.
        """
        return self._fit(X, as_rows(X, "X"))


class _Votes(_Neighbors):
    """Neighbors whose targets are put together: by a local estimator that is told all of them."""

    def __init__(
        self,
        n_neighbors=5,
        *,
        weights="uniform",
        algorithm="auto",
        p=2,
        metric="minkowski",
        metric_params=None,
        recall=1.0,
        n_jobs=1,
        persist=True,
        split_every=8,
    ):
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.algorithm = algorithm
        self.p = p
        self.metric = metric
        self.metric_params = metric_params
        self.recall = recall
        self.n_jobs = n_jobs
        self.persist = persist
        self.split_every = split_every

    def _check_parameters(self):
        super()._check_parameters()
        if not callable(self.weights) and self.weights is not None:
            _validation.check_name(self.weights, ("uniform", "distance"), "weights")

    def _combine(self, X, *results, **what):
        """Return what the local estimator makes of the neighbors of X.

        `results`: the dtype and the shape for each query, of each array that is wanted.
        """
        cells = self._cells(X, with_targets=True)
        arrays = []
        for i, (dtype, shape) in enumerate(results):
            axes = dict(zip("ab", shape, strict=False))
            combine = partial(
                combine_cells, kind=self._kind, weights=self.weights, n_jobs=self.n_jobs,
                empty=np.empty((0, *shape), dtype), output=i, **what,
            )  # fmt: skip
            arrays.append(
                da.blockwise(
                    combine, "q" + "".join(axes), cells, "q", dtype=dtype, new_axes=axes,
                    meta=np.empty((0,) * (1 + len(axes)), dtype),
                )
            )  # fmt: skip
        if X is None or is_dask_collection(X):
            return arrays
        return list(dask.compute(*arrays))


class _Found:
    """Has found the neighbors of some queries; the samples are these neighbors."""

    def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
        indices = np.arange(self._distances.size).reshape(self._distances.shape)
        return (self._distances.copy(), indices) if return_distance else indices


class _FoundClassifier(_Found, local.KNeighborsClassifier):
    pass


class _FoundRegressor(_Found, local.KNeighborsRegressor):
    pass


def combine_cells(cells, *, kind, weights, n_jobs, empty, output, method="predict", classes=None):
    """Return what a local estimator predicts for queries with these neighbors."""
    if len(cells) == 0:
        return empty
    model = kind(cells["index"].shape[1], weights=weights, n_jobs=n_jobs)
    targets = cells["target"]
    model._distances = np.ascontiguousarray(cells["distance"])
    model._y = targets.reshape(-1, *targets.shape[2:])
    model._fit_method, model._fit_X = "brute", model._y
    model.outputs_2d_ = isinstance(classes, list)
    model.classes_ = classes
    combined = getattr(model, method)(model._distances)
    return combined[output] if isinstance(combined, list) else combined


class KNeighborsClassifier(ClassifierMixin, _Votes):
    """k-nearest-neighbors classifier for samples in the chunks of a Dask array.

    Parameters
    ----------
    n_neighbors : int, default=5
    weights : {"uniform", "distance"}, callable or None, default="uniform"
        As for `fastnn.neighbors.KNeighborsClassifier`.
    algorithm, p, metric, metric_params, recall, n_jobs, persist, split_every
        As for `NearestNeighbors`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or a list of them for several outputs
    n_samples_fit_, n_features_in_ : int

    Examples
    --------
    >>> import dask.array as da
    >>> from fastnn.dask import KNeighborsClassifier
    >>> samples = da.arange(1000.0, chunks=300).reshape(-1, 1)
    >>> model = KNeighborsClassifier(n_neighbors=3).fit(samples, samples[:, 0] >= 300)
    >>> model.predict([[299.0], [300.6]])
    array([False,  True])
    """

    _kind = _FoundClassifier

    def fit(self, X, y):
        """Take the samples and their classes.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_samples, n_features)
        y : Dask collection or array-like of shape (n_samples,) or (n_samples, n_outputs)
            Its distinct values are gathered, which reads it once more than the samples unless
            `persist`; the classes themselves stay with their samples.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            As `NearestNeighbors.fit`; if `y` holds NaN, numbers that are no classes, or too few.
        """
        rows = as_rows(X, "X")
        y = as_column(as_targets(y, rows))
        if self.persist:
            (y,) = dask.persist(y)
        columns = [y] if y.ndim == 1 else [y[:, j] for j in range(y.shape[1])]
        classes = [classes_of(column, rows) for column in columns]
        classes = classes[0] if y.ndim == 1 else classes
        self._fit(X, rows, class_numbers(y, classes, self.persist))
        self.classes_ = classes
        return self

    def predict(self, X=None):
        """Return the class that wins the vote of each query's neighbors.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_queries, n_features), optional
            None: the samples, whose own classes do not vote.

        Returns
        -------
        array of shape (n_queries,) or (n_queries, n_outputs)
            A Dask array for Dask collections, else NumPy's.
        """
        check_is_fitted(self)
        several = isinstance(self.classes_, list)
        dtype = np.result_type(*self.classes_) if several else self.classes_.dtype
        shape = (len(self.classes_),) if several else ()
        return self._combine(X, (dtype, shape), classes=self.classes_)[0]

    def predict_proba(self, X=None):
        """Return the share of each class in the vote of each query's neighbors.

        Parameters
        ----------
        X : as for `predict`

        Returns
        -------
        array of shape (n_queries, n_classes), float64, or a list of them for several outputs
        """
        check_is_fitted(self)
        several = isinstance(self.classes_, list)
        results = [
            (np.float64, (len(classes),))
            for classes in (self.classes_ if several else [self.classes_])
        ]
        shares = self._combine(X, *results, classes=self.classes_, method="predict_proba")
        return shares if several else shares[0]

    def score(self, X, y, sample_weight=None):
        """Return the accuracy of `predict`."""
        return score(accuracy_score, y, self.predict(X), sample_weight)


class KNeighborsRegressor(RegressorMixin, _Votes):
    """k-nearest-neighbors regression for samples in the chunks of a Dask array.

    Parameters
    ----------
    n_neighbors, weights, algorithm, p, metric, metric_params, recall, n_jobs, persist, split_every
        As for `KNeighborsClassifier`.

    Attributes
    ----------
    n_samples_fit_, n_features_in_ : int

    Examples
    --------
    >>> import dask.array as da
    >>> from fastnn.dask import KNeighborsRegressor
    >>> samples = da.arange(1000.0, chunks=300).reshape(-1, 1)
    >>> model = KNeighborsRegressor(n_neighbors=3).fit(samples, 2.0 * samples[:, 0])
    >>> model.predict([[299.1]])
    array([598.])
    """

    _kind = _FoundRegressor

    def fit(self, X, y):
        """Take the samples and their targets.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_samples, n_features)
        y : Dask collection or array-like of shape (n_samples,) or (n_samples, n_outputs)

        Returns
        -------
        self
        """
        rows = as_rows(X, "X")
        y = as_targets(y, rows)
        if y.dtype.kind not in "biuf":
            raise ValueError(f"y must hold numbers, got dtype {y.dtype}")
        return self._fit(X, rows, checked(check_numbers, y, rows, y.dtype))

    def predict(self, X=None):
        """Return the weighted mean of the targets of each query's neighbors.

        Parameters
        ----------
        X : Dask array or data frame, or array-like, of shape (n_queries, n_features), optional
            None: the samples, whose own targets do not count.

        Returns
        -------
        array of shape (n_queries,) or (n_queries, n_outputs)
            Of the targets' dtype, if that is a float and neighbors have no weights; else float64. A
            Dask array for Dask collections, else NumPy's.
        """
        check_is_fitted(self)
        y = self._targets
        weighted = callable(self.weights) or self.weights == "distance"
        dtype = y.dtype if y.dtype.kind == "f" and not weighted else np.dtype(np.float64)
        return self._combine(X, (dtype, y.shape[1:]))[0]

    def score(self, X, y, sample_weight=None):
        """Return R² of `predict`."""
        return score(r2_score, y, self.predict(X), sample_weight)
