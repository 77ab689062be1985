"""What stands in for scikit-learn's searches, in our estimators and under `fastnn.accel` alike.

Each function here has the signature of the scikit-learn method that it replaces. It searches with
the kernels where they serve the estimator's metric and data, and else calls the method itself,
which also raises scikit-learn's errors: nothing is checked twice, no message is copied.

    estimator.fit --> fit_neighbors: scikit-learn's, with "auto" decided in favor of the kernels
    estimator.kneighbors, .radius_neighbors --> prepare() --> a searcher, or a reason why not
                                            --> the search, or scikit-learn's method and a log entry
"""

import numbers

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.neighbors import BallTree, KDTree
from sklearn.utils.validation import check_is_fitted

from .. import _validation
from .._core._threads import effective_n_threads
from .._observation import observe
from .._search.growing import Blocks
from .._search.metric_spaces import may_be_bits, space_of
from .._search.protocol import ragged
from .._search.subsets import require_enough
from .kd_tree import KDTree as OurKDTree
from .originals import ORIGINALS, in_place_of
from .preparation import (
    discard_searches,
    held_by,
    n_samples_of,
    prepare,
    queries_for,
    refuse_non_finite,
)
from .private import KNeighborsMixin, NeighborsBase, RadiusNeighborsMixin

# scikit-learn's own estimators are fitted for these without a tree; ours know more.
THEIR_ALGORITHMS = ("auto", "brute")
# What scikit-learn lets a k-d tree have, and the kernels serve.
TREE_METRICS = ("euclidean", "l2", "minkowski", "manhattan", "cityblock", "l1", "chebyshev")


@in_place_of(NeighborsBase, "_fit")
def fit_neighbors(self, X, y=None):
    theirs = ORIGINALS[NeighborsBase, "_fit"]
    if isinstance(X, NeighborsBase) and isinstance(held_by(X), Blocks):
        X = X._fit_X
    if isinstance(X, OurKDTree):
        X = X.samples_for(self)

    def fit(X, y):
        theirs(self, X, y)
        discard_searches(self)  # of the samples before, which a fit that fails leaves
        return self

    if self.metric == "ip" and getattr(self, "_knows_inner_products", False):
        return _fit_to_inner_products(self, X, fit)
    algorithm = self.algorithm
    native = algorithm in getattr(self, "_native_algorithms", THEIR_ALGORITHMS)
    if not native or algorithm == "brute":
        return fit(X, y)
    space = space_of(self.metric, **{**_minkowski_p(self), **(self.metric_params or {})})
    if algorithm not in ("bounded", "ivf") and (isinstance(space, str) or issparse(X)):
        return fit(X, y)
    if not isinstance(space, str) and space.mapping == "bits" and not may_be_bits(X):
        return fit(X, y)
    if algorithm == "auto" and _misfits(space, X):
        return fit(X, y)  # raises
    if algorithm == "kd_tree" and not (self.metric in TREE_METRICS and space.is_plain):
        return fit(X, y)  # most raise
    if algorithm == "kd_tree" and isinstance(X, (NeighborsBase, KDTree, BallTree)):
        return fit(X, y)  # takes over how that was fitted, with its metric
    # scikit-learn would build a tree that nothing uses, or does not know the name.
    self.algorithm = "brute"
    try:
        fit(X, y)
    finally:
        self.algorithm = algorithm
    if algorithm == "kd_tree":
        self._fit_method, self._has_lazy_tree = algorithm, True
    return self


def _fit_to_inner_products(self, X, fit):
    if self.algorithm not in ("auto", "brute"):
        raise ValueError(f"metric 'ip' needs algorithm 'auto' or 'brute', got {self.algorithm!r}")
    if issparse(X):
        raise ValueError("metric 'ip' needs dense samples, got sparse ones")
    if self.metric_params is not None:
        raise ValueError(f"metric 'ip' takes no metric_params, got {self.metric_params!r}")
    # scikit-learn, which checks the rest, does not know the name.
    algorithm = self.algorithm
    self.metric, self.algorithm = "euclidean", "brute"
    try:
        fit(X, None)
    finally:
        self.metric, self.algorithm = "ip", algorithm
    self.effective_metric_ = "ip"
    return self


def _misfits(space, X):
    """Whether there is not a weight for each feature."""
    return space.weights is not None and space.weights.shape != np.shape(X)[1:]


def _minkowski_p(estimator):
    return {"p": estimator.p} if estimator.metric == "minkowski" else {}


WHERE = """\
where : array-like of bool of shape (n_samples_fit,), or pair of array-likes, optional
    Which samples may be found, at a cost that follows how many these are; or, as a tuple, the
    groups of the queries and of the samples: each query finds samples of its own group. With
    X=None queries are those of `sample_indices_`; masks have a place for removed samples, too. The
    search among them is exact, whatever `recall` says.
"""


@in_place_of(KNeighborsMixin, "kneighbors", WHERE)
def kneighbors(self, X=None, n_neighbors=None, return_distance=True, *, where=None):
    theirs = ORIGINALS[KNeighborsMixin, "kneighbors"]
    k = self.n_neighbors if n_neighbors is None else n_neighbors
    held = held_by(self)
    limit = 0 if held is None else n_samples_of(self) - (X is None)
    if not (isinstance(k, numbers.Integral) and 1 <= k <= limit) or self.n_jobs == 0:
        if isinstance(held, Blocks):
            _refuse_k(self, k, limit)
        return theirs(self, X, n_neighbors, return_distance)  # raises
    reason = prepared = prepare(self)
    if not isinstance(prepared, str):
        reason = queries = None if X is None else queries_for(self, X, prepared.searcher.space)
    if isinstance(reason, str):
        _refuse(self, where, reason)
        with observe("kneighbors", reason):
            return theirs(self, X, n_neighbors, return_distance)
    with observe("kneighbors"):
        n_threads = effective_n_threads(self.n_jobs)
        searcher = prepared.searcher
        queries = searcher.Y if X is None else queries
        if where is not None:
            where = searcher.read_where(where, len(queries))
            require_enough(where, k, X is None)
        try:
            distances, indices, *_ = searcher.kneighbors(
                queries, int(k), n_threads, None, X is None, where
            )
        except ValueError:
            refuse_non_finite(self, queries)  # in scikit-learn's words
            raise
        return (distances, indices) if return_distance else indices


COUNT_ONLY = """\
count_only : bool, default=False
    Return how many neighbors each query has, (n_queries,) of int64, and hold none of them.
"""


@in_place_of(RadiusNeighborsMixin, "radius_neighbors", WHERE + COUNT_ONLY)
def radius_neighbors(
    self, X=None, radius=None, return_distance=True, sort_results=False, *, where=None,
    count_only=False,
):  # fmt: skip
    theirs = ORIGINALS[RadiusNeighborsMixin, "radius_neighbors"]
    asked = self.radius if radius is None else radius
    radii, each = _radii_of_queries(asked)
    usable = radii is not None and radii.max() >= 0 and (return_distance or not sort_results)
    held = held_by(self)
    if held is None or not usable or self.n_jobs == 0:
        if isinstance(held, Blocks):
            raise ValueError(
                "radius must be a number of at least 0, or one for each query, n_jobs not 0, and "
                f"sort_results go with return_distance; got radius={asked!r}, n_jobs="
                f"{self.n_jobs}, sort_results={sort_results}, return_distance={return_distance}"
            )
        return theirs(self, X, radius, return_distance, sort_results)  # raises as a rule
    reason = prepared = prepare(self)
    if not isinstance(prepared, str):
        reason = queries = None if X is None else queries_for(self, X, prepared.searcher.space)
    if each and not isinstance(reason, str):
        n_queries = n_samples_of(self) if X is None else len(queries)
        reason = reason if len(radii) == n_queries else "radii that do not fit the queries"
    if isinstance(reason, str):
        _refuse(self, where, reason)
        with observe("radius_neighbors", reason):
            found = theirs(self, X, radius, return_distance, sort_results)
        if not count_only:
            return found
        return np.array([len(row) for row in (found[1] if return_distance else found)])
    with observe("radius_neighbors"):
        n_threads, searcher = effective_n_threads(self.n_jobs), prepared.searcher
        queries = searcher.Y if X is None else queries
        parts = None if where is None else searcher.read_where(where, len(queries))
        try:
            if count_only:
                return searcher.count_neighbors(queries, radii, n_threads, X is None, parts)
            slices, *_ = searcher.radius_neighbors(
                queries, radii, n_threads, sort_results, X is None, return_distance, parts
            )
        except ValueError:
            refuse_non_finite(self, queries)
            raise
        indices = ragged((counts, indices) for counts, _, indices in slices)
        if not return_distance:
            return indices
        return ragged((counts, distances) for counts, distances, _ in slices), indices


def iter_radius_neighbors_graph(
    self, X=None, radius=None, mode="connectivity", sort_results=False, *, max_pairs=1 << 22,
    where=None,
):  # fmt: skip
    """Yield `radius_neighbors_graph` in slices, for graphs of more pairs than memory holds.

    Parameters
    ----------
    X : array-like of shape (n_queries, n_features), optional
        None: the samples, none of which is its own neighbor.
    radius : float, optional
        None: the estimator's.
    mode : {"connectivity", "distance"}, default="connectivity"
        What edges hold: ones, or distances.
    sort_results : bool, default=False
        Rows ascend by (distance, index) instead of by index.
    max_pairs : int, default=4194304
        How many edges a slice has at most, unless a single query has more. They are counted first.
    where : array-like of bool of shape (n_samples_fit,), or pair of array-likes, optional
        As in `radius_neighbors`.

    Yields
    ------
    scipy.sparse.csr_array of shape (n_rows, n_samples_fit)
        The next rows. Indices have 32 bits if they fit. (`radius_neighbors_graph` gives a matrix,
        for which ``*`` means another thing.)

    Raises
    ------
    TypeError, ValueError
        As `radius_neighbors`; for another mode; where scikit-learn searches (sparse samples, for
        example).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.neighbors import NearestNeighbors
    >>> model = NearestNeighbors(radius=1.0).fit(np.arange(200.0)[:, None])
    >>> [graph.shape for graph in model.iter_radius_neighbors_graph(max_pairs=250)]
    [(125, 200), (75, 200)]
    """
    check_is_fitted(self)
    radius = _validation.check_number(
        self.radius if radius is None else radius, "radius", 0.0, finite=False
    )
    _validation.check_name(mode, ("connectivity", "distance"), "mode")
    max_pairs = _validation.check_integer(max_pairs, "max_pairs", 1)
    reason = prepared = prepare(self)
    if not isinstance(prepared, str):
        reason = queries = None if X is None else queries_for(self, X, prepared.searcher.space)
    if isinstance(reason, str):
        raise ValueError(f"slices cannot be had where scikit-learn searches: {reason}")
    searcher, n_threads = prepared.searcher, effective_n_threads(self.n_jobs)
    queries = searcher.Y if X is None else queries
    refuse_non_finite(self, queries)
    parts = None if where is None else searcher.read_where(where, len(queries))
    with_distances = mode == "distance"
    slices = searcher.radius_slices(
        queries, radius, n_threads, sort_results and with_distances, X is None, with_distances,
        parts, max_pairs,
    )  # fmt: skip
    return (_graph_of(*found, self.n_samples_fit_) for found in slices)


def _graph_of(counts, distances, indices, n_columns):
    """Return neighbors as a graph, whose edges are 1 without distances."""
    values = np.ones(len(indices)) if distances is None else distances
    starts = np.concatenate([[0], np.cumsum(counts)])
    return narrowed(csr_array((values, indices, starts), shape=(len(counts), n_columns)))


def narrowed(graph):
    """Give a sparse graph indices of 32 bits, if they fit."""
    if max(*graph.shape, graph.nnz) <= np.iinfo(np.int32).max:
        graph.indices = graph.indices.astype(np.int32, copy=False)
        graph.indptr = graph.indptr.astype(np.int32, copy=False)
    return graph


@in_place_of(KNeighborsMixin, "kneighbors_graph")
def kneighbors_graph(self, X=None, n_neighbors=None, mode="connectivity"):
    theirs = ORIGINALS[KNeighborsMixin, "kneighbors_graph"]
    return narrowed(theirs(self, X, n_neighbors, mode))


@in_place_of(RadiusNeighborsMixin, "radius_neighbors_graph")
def radius_neighbors_graph(
    self, X=None, radius=None, mode="connectivity", sort_results=False
):  # fmt: skip
    theirs = ORIGINALS[RadiusNeighborsMixin, "radius_neighbors_graph"]
    return narrowed(theirs(self, X, radius, mode, sort_results))


def _refuse(self, where, reason):
    if where is not None:
        raise ValueError(f"where cannot be given where scikit-learn searches: {reason}")
    if isinstance(held_by(self), Blocks):
        raise ValueError(
            f"samples have been added or removed, and scikit-learn cannot search them: {reason}"
        )


def _refuse_k(self, k, limit):
    """Raise an error after changes: scikit-learn would speak of the samples that once were."""
    if self.n_jobs == 0:
        raise ValueError("n_jobs must not be 0")
    if not isinstance(k, numbers.Integral):
        raise TypeError(f"n_neighbors must be an integer, got {k!r}")
    raise ValueError(
        f"Expected 1 <= n_neighbors <= the number of samples that are left, but n_neighbors = {k}, "
        f"and there are {n_samples_of(self)}"
    )


def _radii_of_queries(radius):
    """Return radii as an array, or None, and whether there is one for each query.

    scikit-learn's trees take that, too.
    """
    if isinstance(radius, numbers.Real):
        return np.array([radius], np.float64), False
    radii = np.asarray(radius)
    if radii.ndim > 1 or not radii.size or radii.dtype.kind not in "biuf":
        return None, False
    if np.isnan(radii).any():
        raise ValueError("radius must not be NaN, got an array with NaN")
    return np.atleast_1d(radii.astype(np.float64)), radii.ndim == 1
