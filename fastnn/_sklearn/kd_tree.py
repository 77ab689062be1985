"""scikit-learn's `KDTree` with the kernels' searches, and a periodic box."""

import math
import numbers

import numpy as np
from sklearn.neighbors import KDTree as ScikitLearnsKDTree

from .. import _validation
from .._core._threads import effective_n_threads
from .._observation import observe
from .._search.metric_spaces import MetricSpace, space_of
from .._search.planner import TREE_FEATURES
from .._search.protocol import ragged, within_each_radius
from .._search.searcher import Searcher

# Names that scikit-learn's tree has, for the kernels' metrics.
METRICS = {
    "euclidean": "l2",
    "l2": "l2",
    "manhattan": "l1",
    "cityblock": "l1",
    "l1": "l1",
    "chebyshev": "chebyshev",
    "infinity": "chebyshev",
}


class KDTree:
    """k-d tree with the interface of `sklearn.neighbors.KDTree`.

    Neighbors are exact and ascend by (distance, index). What the kernels do not serve (other
    metrics, weights of samples) is a tree of scikit-learn, which this returns instead; and so is
    what `kernel_density`, `two_point_correlation` and attributes of its nodes come from. Of more
    than 16 features there is no tree: searches use what suits, as ``algorithm="auto"`` does.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Of float32, float64 or uint8 there is no other copy than the tree's.
    leaf_size : int, default=40
        For scikit-learn's tree.
    metric : str or DistanceMetric, default="minkowski"
        "euclidean", "manhattan" or "chebyshev", by any of the names that scikit-learn has for them.
    sample_weight : array-like of shape (n_samples,), optional
        For scikit-learn's tree.
    boxsize : float or array-like of shape (n_features,), optional
        Features are periodic with these periods, as in `scipy.spatial.KDTree`: samples have to be
        at least 0 and less, queries may be anywhere. 0 is for a feature that is not.
    n_jobs : int, optional
        Threads; None means all cores.
    **kwargs
        Of the metric: p for "minkowski".

    Attributes
    ----------
    data : ndarray of shape (n_samples, n_features)

    Raises
    ------
    TypeError, ValueError
        As scikit-learn's; and for samples outside of the box, or a metric that knows none.

    Examples
    --------
    >>> from fastnn.neighbors import KDTree
    >>> tree = KDTree([[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]], boxsize=1.0)
    >>> distances, indices = tree.query([[0.0, 0.0]], k=2)
    >>> indices, distances.round(3)
    (array([[2, 0]]), array([[0.141, 0.141]]))
    >>> tree.query_radius([[0.0, 0.0]], 0.2, count_only=True)
    array([2])
    """

    valid_metrics = ScikitLearnsKDTree.valid_metrics

    def __new__(
        cls, X, leaf_size=40, metric="minkowski", sample_weight=None, *, boxsize=None, n_jobs=None,
        **kwargs,
    ):  # fmt: skip
        def theirs():
            return ScikitLearnsKDTree(X, leaf_size, metric, sample_weight, **kwargs)

        kernel = _kernel_of(metric, **kwargs)
        usable = isinstance(leaf_size, numbers.Integral) and leaf_size >= 1
        try:
            rows = _validation.check_rows(X, "X") if kernel and usable else None
        except (TypeError, ValueError):
            rows = None
        if rows is None or sample_weight is not None or not _validation.is_finite(rows):
            tree = theirs()  # or its error
            if boxsize is not None:
                raise ValueError(
                    "boxsize needs a metric that is 'euclidean', 'manhattan' or 'chebyshev', "
                    f"samples of equal weight, and dense samples, got metric={metric!r}"
                )
            return tree
        self = super().__new__(cls)
        periods = None if boxsize is None else _check_box(boxsize, rows)
        if periods is not None:
            rows = np.ascontiguousarray(rows, np.float64)
        self._parameters = leaf_size, metric, kwargs
        self._n_threads = n_jobs
        self.data, self._theirs = rows, None
        algorithm = "kd_tree" if periods is not None or rows.shape[1] <= TREE_FEATURES else "auto"
        self._searcher = Searcher(rows, MetricSpace(kernel, periods=periods), algorithm)
        if algorithm == "kd_tree":
            self._searcher.build_now(effective_n_threads(n_jobs))
        return self

    # ---- searches --------------------------------------------------------------------------------

    def query(
        self, X, k=1, return_distance=True, dualtree=False, breadth_first=False, sort_results=True,
        *, distance_upper_bound=math.inf,
    ):  # fmt: skip
        """Return the k nearest samples of each row of X.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
        k : int, default=1
        return_distance : bool, default=True
        dualtree, breadth_first, sort_results : bool
            Not used: results are sorted.
        distance_upper_bound : float, default=inf
            Where less than k samples are at most so far away, the others have distance infinity and
            index n_samples.

        Returns
        -------
        distances : ndarray of shape (n_queries, k), float64
            If return_distance.
        indices : ndarray of shape (n_queries, k), int64

        Raises
        ------
        TypeError, ValueError
            As scikit-learn's; for a bound that is NaN or negative.
        """
        bound = _validation.check_number(
            distance_upper_bound, "distance_upper_bound", 0.0, finite=False
        )
        queries = self._check_queries(X)
        if not (isinstance(k, numbers.Integral) and 1 <= k <= len(self.data)):
            return self._scikit_learns().query(X, k, return_distance)  # raises, or gives nothing
        with observe("KDTree.query"):
            found = self._searcher.kneighbors(
                queries, int(k), effective_n_threads(self._n_threads), max_distance=bound
            )
        return (found.distances, found.indices) if return_distance else found.indices

    def query_radius(
        self, X, r, return_distance=False, count_only=False, sort_results=False
    ):  # fmt: skip
        """Return all samples within a radius of each row of X, or how many there are.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
        r : float or array-like of shape (n_queries,)
        return_distance : bool, default=False
        count_only : bool, default=False
            Count them, which takes no memory for each.
        sort_results : bool, default=False
            Neighbors ascend by (distance, index), and not by index.

        Returns
        -------
        counts : ndarray of shape (n_queries,), int64
            If count_only.
        indices : ndarray of shape (n_queries,), object
            Of arrays of int64.
        distances : ndarray of shape (n_queries,), object
            Of arrays of float64; if return_distance.

        Raises
        ------
        TypeError, ValueError
            As scikit-learn's.
        """
        queries = self._check_queries(X)
        radii = np.atleast_1d(np.asarray(r))
        if (
            (count_only and return_distance)
            or (sort_results and not return_distance)
            or radii.dtype.kind not in "biuf"
            or radii.shape not in ((1,), (len(queries),))
        ):
            return self._scikit_learns().query_radius(
                X, r, return_distance, count_only, sort_results
            )  # raises
        radii = np.where(np.isnan(radii), -1.0, radii).astype(np.float64)
        n_threads, largest = effective_n_threads(self._n_threads), float(radii.max())
        with observe("KDTree.query_radius"):
            if count_only:
                return self._searcher.count_neighbors(queries, radii, n_threads)
            with_distances = return_distance or len(radii) > 1
            slices, *_ = self._searcher.radius_neighbors(
                queries, largest, n_threads, sort_results, False, with_distances
            )
        if len(radii) > 1:
            slices = list(within_each_radius(slices, radii))
        indices = ragged((counts, indices) for counts, _, indices in slices)
        if not return_distance:
            return indices
        return indices, ragged((counts, distances) for counts, distances, _ in slices)

    def _check_queries(self, X):
        """Return queries as the kernels take them, inside of the box if there is one."""
        space = self._searcher.space
        try:
            rows = self.data if X is self.data else _validation.check_rows(X, "X")
        except (TypeError, ValueError):
            rows = None
        if rows is None or rows.shape[1] != self.data.shape[1] or not _validation.is_finite(rows):
            self._scikit_learns().query(X)  # raises
            space.require_valid(rows, "X")
        if space.periods is None:
            return rows
        finite = np.isfinite(space.periods)
        rows = rows.astype(np.float64)
        np.mod(rows, space.periods, out=rows, where=finite)
        return rows

    # ---- what scikit-learn's tree is for ---------------------------------------------------------

    def _scikit_learns(self):
        """Return scikit-learn's tree of the same samples, made once."""
        if self._theirs is None:
            leaf_size, metric, kwargs = self._parameters
            self._theirs = ScikitLearnsKDTree(self.data, leaf_size, metric, **kwargs)
        return self._theirs

    def __getattr__(self, name):
        if name.startswith("_") or not hasattr(ScikitLearnsKDTree, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if self._searcher.space.periods is not None:
            raise AttributeError(f"scikit-learn's tree, which has {name!r}, knows no periodic box")
        return getattr(self._scikit_learns(), name)

    def __reduce__(self):
        state = self.data, self._searcher, self._parameters, self._n_threads
        return _restored, (type(self), *state)


def _restored(cls, data, searcher, parameters, n_threads):
    tree = object.__new__(cls)
    tree.data, tree._searcher, tree._parameters = data, searcher, parameters
    tree._n_threads, tree._theirs = n_threads, None
    return tree


def _kernel_of(metric, **parameters):
    """Return the kernels' metric, or None."""
    if metric in ("minkowski", "p"):
        space = space_of("minkowski", **parameters)
        return None if isinstance(space, str) or not space.is_plain else space.kernel
    return METRICS.get(metric) if isinstance(metric, str) and not parameters else None


def _check_box(boxsize, rows):
    """Return the periods of features, infinity where there is none, for samples inside."""
    box = np.asarray(boxsize)
    if box.dtype.kind not in "iuf" or box.shape not in ((), (1,), (rows.shape[1],)):
        raise ValueError(
            f"boxsize must be a number or one for each of {rows.shape[1]} features, got {boxsize!r}"
        )
    box = np.broadcast_to(box.astype(np.float64), rows.shape[1])
    if not (np.isfinite(box) & (box >= 0.0)).all():
        raise ValueError(f"boxsize must be finite and at least 0, got {boxsize!r}")
    periods = np.where(box > 0.0, box, math.inf)
    outside = ((rows < 0) | (rows >= periods)) & (box > 0.0)
    for row, feature in np.argwhere(outside)[:1]:
        raise ValueError(
            f"X must be inside of the box, at least 0 and less than {periods[feature]:g} in "
            f"feature {feature}, got {rows[row, feature]:g} in row {row}"
        )
    return periods
