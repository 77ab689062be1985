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
from scipy.sparse import issparse
from sklearn.neighbors import BallTree, KDTree

from .._core._threads import effective_n_threads
from .._observation import observe
from .._search.growing import Blocks
from .._search.metric_spaces import space_of
from .._search.protocol import ragged, within_each_radius
from .._search.subsets import require_enough
from .originals import ORIGINALS, in_place_of
from .preparation import (
    forget,
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

    def fit(X, y):
        theirs(self, X, y)
        forget(self)  # what was made for the samples before, which a fit that fails leaves
        return self

    algorithm = self.algorithm
    native = algorithm in getattr(self, "_native_algorithms", THEIR_ALGORITHMS)
    if not native or algorithm == "brute":
        return fit(X, y)
    space = space_of(self.metric, **{**_minkowski_p(self), **(self.metric_params or {})})
    if algorithm not in ("bounded", "ivf") and (isinstance(space, str) or issparse(X)):
        return fit(X, y)
    if algorithm == "auto" and _misfits(space, X):
        return fit(X, y)  # raises
    if algorithm == "kd_tree" and not (self.metric in TREE_METRICS and space.is_plain):
        return fit(X, y)  # most raise
    if algorithm == "kd_tree" and isinstance(X, (NeighborsBase, KDTree, BallTree)):
        return fit(X, y)  # takes over how that was fitted, with its metric
    # scikit-learn would build a tree that nothing looks at, or does not know the name.
    self.algorithm = "brute"
    try:
        fit(X, y)
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


WHERE = """\
where : array-like of bool of shape (n_samples_fit,), or pair of array-likes, optional
    Which samples may be found, at a cost that follows how many these are; or, as a tuple, the
    groups of the queries and of the samples: each query finds samples of its own group. The search
    among them is exact, whatever `recall` says.
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
        reason = queries = None if X is None else queries_for(self, X)
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


@in_place_of(RadiusNeighborsMixin, "radius_neighbors", WHERE)
def radius_neighbors(
    self, X=None, radius=None, return_distance=True, sort_results=False, *, where=None
):
    theirs = ORIGINALS[RadiusNeighborsMixin, "radius_neighbors"]
    r = self.radius if radius is None else radius
    radii = _radii_of_queries(r)
    r = r if radii is None else radii.max()
    if isinstance(r, np.ndarray) and r.ndim == 0 and r.dtype.kind in "biuf":
        r = float(r)
    fitted = held_by(self) is not None
    usable = isinstance(r, numbers.Real) and r >= 0 and (return_distance or not sort_results)
    if not (fitted and usable) or self.n_jobs == 0:
        if isinstance(held_by(self), Blocks):
            raise ValueError(
                "radius must be a number of at least 0, or one for each query, n_jobs not 0, and "
                f"sort_results go with return_distance; got radius={r!r}, n_jobs={self.n_jobs}, "
                f"sort_results={sort_results}, return_distance={return_distance}"
            )
        return theirs(self, X, radius, return_distance, sort_results)  # raises as a rule
    reason = prepared = prepare(self)
    if not isinstance(prepared, str):
        reason = queries = None if X is None else queries_for(self, X)
    if radii is not None and not isinstance(reason, str):
        n_queries = n_samples_of(self) if X is None else len(queries)
        reason = reason if len(radii) == n_queries else "radii that do not fit the queries"
    if isinstance(reason, str):
        _refuse(self, where, reason)
        with observe("radius_neighbors", reason):
            return theirs(self, X, radius, return_distance, sort_results)
    with observe("radius_neighbors"):
        n_threads = effective_n_threads(self.n_jobs)
        searcher = prepared.searcher
        queries = searcher.Y if X is None else queries
        if where is not None:
            where = searcher.read_where(where, len(queries))
        try:
            slices, *_ = searcher.radius_neighbors(
                queries,
                float(r),
                n_threads,
                sort_results,
                X is None,
                return_distance or radii is not None,
                where,
            )
        except ValueError:
            refuse_non_finite(self, queries)
            raise
        if radii is not None:
            slices = list(within_each_radius(slices, radii))
        indices = ragged((counts, indices) for counts, _, indices in slices)
        if not return_distance:
            return indices
        return ragged((counts, distances) for counts, distances, _ in slices), indices


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
    """Return an array with a radius for each query, which scikit-learn's trees take, or None."""
    if isinstance(radius, numbers.Real) or np.ndim(radius) == 0:
        return None
    radii = np.asarray(radius)
    return radii if radii.ndim == 1 and radii.size and radii.dtype.kind in "biuf" else None
