"""scikit-learn's `KDTree` with the kernels' searches, and a periodic box."""

import math
import numbers

import numpy as np
from sklearn.neighbors import KDTree as ScikitLearnsKDTree
from sklearn.utils import check_array

from .. import _validation
from .._core._threads import effective_n_threads
from .._observation import observe
from .._search.metric_spaces import MetricSpace, space_of
from .._search.planner import TREE_FEATURES
from .._search.protocol import ragged
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

    Neighbors are exact and ascend by (distance, index). Other metrics, and samples with weights,
    are left to a tree of scikit-learn; and so are `kernel_density`, `two_point_correlation` and
    what tells of nodes. Of more than 16 features there is no tree: searches use what suits, as
    ``algorithm="auto"`` does.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Arrays of float32, float64 or uint8 are not copied, except into the tree. They must not
        change afterwards.
    leaf_size : int, default=40
        Of scikit-learn's tree; no effect on these searches.
    metric : str or DistanceMetric, default="minkowski"
        "euclidean", "manhattan" or "chebyshev", by any of scikit-learn's names, or another one of
        its metrics.
    sample_weight : array-like of shape (n_samples,), optional
        For `kernel_density`.
    boxsize : float or array-like of shape (n_features,), optional
        Features are periodic with these periods, as in `scipy.spatial.KDTree`: samples have to be
        at least 0 and less than the period, queries may be anywhere. 0 is for a feature that is
        not periodic.
    n_jobs : int, optional
        Threads; None means all cores.
    **kwargs
        Parameters of the metric, such as p for "minkowski".

    Attributes
    ----------
    data : ndarray of shape (n_samples, n_features)

    Raises
    ------
    TypeError, ValueError
        As scikit-learn's; for samples outside of the box, or a metric that has no box.

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

    def __init__(
        self, X, leaf_size=40, metric="minkowski", sample_weight=None, *, boxsize=None, n_jobs=None,
        **kwargs,
    ):  # fmt: skip
        n_threads = effective_n_threads(n_jobs)
        self._parameters = leaf_size, metric, sample_weight, kwargs
        self._n_jobs, self._theirs, self._searcher = n_jobs, None, None
        kernel = _kernel_of(metric, **kwargs)
        usable = isinstance(leaf_size, numbers.Integral) and leaf_size >= 1
        rows = _rows_or_none(X) if kernel and usable and sample_weight is None else None
        if rows is None:
            if boxsize is not None:
                raise ValueError(
                    "boxsize needs dense, finite samples without weights, and metric 'euclidean', "
                    f"'manhattan' or 'chebyshev', got {metric!r}"
                )
            self._theirs = ScikitLearnsKDTree(X, leaf_size, metric, sample_weight, **kwargs)
            return
        periods = None if boxsize is None else _check_box(boxsize, rows)
        if periods is not None:
            rows = np.ascontiguousarray(rows, np.float64)
        named = periods is not None or rows.shape[1] <= TREE_FEATURES
        space = MetricSpace(kernel, periods=periods)
        self._searcher = Searcher(rows, space, "kd_tree" if named else "auto")
        if named:
            self._searcher.build_now(n_threads)

    @property
    def data(self):
        return np.asarray(self._theirs.data) if self._searcher is None else self._searcher.Y

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
            For other metrics: see scikit-learn. Else they have no effect; results are sorted.
        distance_upper_bound : float, default=inf
            If fewer than k samples lie within this distance, the remaining places hold infinity
            and n_samples.

        Returns
        -------
        distances : ndarray of shape (n_queries, k), float64
            If return_distance.
        indices : ndarray of shape (n_queries, k), int64

        Raises
        ------
        TypeError, ValueError
            As scikit-learn's; for a bound that is NaN or negative, or with another metric.
        """
        bound = _validation.check_number(
            distance_upper_bound, "distance_upper_bound", 0.0, finite=False
        )
        if self._searcher is None:
            if bound < math.inf:
                raise ValueError(
                    "distance_upper_bound needs metric 'euclidean', 'manhattan' or 'chebyshev', "
                    f"got {self._parameters[1]!r}"
                )
            return self._theirs.query(X, k, return_distance, dualtree, breadth_first, sort_results)
        queries = self._check_queries(X)
        if not (isinstance(k, numbers.Integral) and 1 <= k <= len(self.data)):
            return self._plain_tree().query(X, k, return_distance)  # raises, or gives nothing
        with observe("KDTree.query"):
            found = self._searcher.kneighbors(
                queries, int(k), effective_n_threads(self._n_jobs), max_distance=bound
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
            Neighbors ascend by (distance, index) instead of by index.

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
        if self._searcher is None:
            return self._theirs.query_radius(X, r, return_distance, count_only, sort_results)
        queries = self._check_queries(X)
        radii = _check_radii(r, len(queries))
        if (
            radii is None
            or (count_only and return_distance)
            or (sort_results and not return_distance)
        ):
            return self._plain_tree().query_radius(
                X, r, return_distance, count_only, sort_results
            )  # raises
        n_threads = effective_n_threads(self._n_jobs)
        with observe("KDTree.query_radius"):
            if count_only:
                return self._searcher.count_neighbors(queries, radii, n_threads)
            slices, *_ = self._searcher.radius_neighbors(
                queries, radii, n_threads, sort_results, False, return_distance
            )
        indices = ragged((counts, indices) for counts, _, indices in slices)
        if not return_distance:
            return indices
        return indices, ragged((counts, distances) for counts, distances, _ in slices)

    def _check_queries(self, X):
        """Return queries as the kernels take them, inside of the box if there is one."""
        rows = self.data if X is self.data else _rows_or_none(X)
        if rows is None:
            rows = check_array(X, dtype=np.float64, order="C")  # raises, or knows more types
        if rows.shape[1] != self.data.shape[1]:
            raise ValueError("query data dimension must match training data dimension")
        periods = self._searcher.space.periods
        if periods is None:
            return rows
        rows = rows.astype(np.float64)
        return np.mod(rows, periods, out=rows, where=np.isfinite(periods))

    def samples_for(self, estimator):
        """Return what an estimator that is fitted with this tree takes.

        Raises
        ------
        ValueError
            For a periodic box, which estimators do not have.
        """
        if self.is_periodic:
            raise ValueError(
                "X must not be a tree with a periodic box, which estimators do not have"
            )
        if self._searcher is not None:
            given = {"p": estimator.p} if estimator.metric == "minkowski" else {}
            space = space_of(estimator.metric, **{**given, **(estimator.metric_params or {})})
            if not isinstance(space, str) and self._searcher.space.is_same(space):
                return self.data
        return self._plain_tree()  # whose metric estimators take over

    # ---- what scikit-learn's tree is for ---------------------------------------------------------

    def kernel_density(
        self, X, h, kernel="gaussian", atol=0, rtol=1e-8, breadth_first=True, return_log=False
    ):
        """Return the density at each row of X: see `sklearn.neighbors.KDTree.kernel_density`."""
        tree = self._scikit_learns()
        return tree.kernel_density(X, h, kernel, atol, rtol, breadth_first, return_log)

    def two_point_correlation(self, X, r, dualtree=False):
        """Return how many pairs of a sample and a row of X are within each radius.

        See `sklearn.neighbors.KDTree.two_point_correlation`.
        """
        return self._scikit_learns().two_point_correlation(X, r, dualtree)

    @property
    def is_periodic(self):
        """Whether there is a box."""
        return self._searcher is not None and self._searcher.space.periods is not None

    def _scikit_learns(self):
        """Return scikit-learn's tree of the same samples."""
        if self.is_periodic:
            raise ValueError("scikit-learn's tree, which does this, has no periodic box")
        return self._plain_tree()

    def _plain_tree(self):
        """Return the same without a box, made once."""
        if self._theirs is None:
            leaf_size, metric, _, kwargs = self._parameters
            self._theirs = ScikitLearnsKDTree(self.data, leaf_size, metric, **kwargs)
        return self._theirs

    def __getattr__(self, name):
        if name.startswith("_") or not hasattr(ScikitLearnsKDTree, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if self.is_periodic:
            raise AttributeError(f"scikit-learn's tree, which has {name!r}, has no periodic box")
        return getattr(self._scikit_learns(), name)

    def __getstate__(self):
        state = vars(self).copy()
        return state if self._searcher is None else state | {"_theirs": None}

    def __setstate__(self, state):
        vars(self).update(state)


def _kernel_of(metric, **parameters):
    """Return the kernels' metric, or None."""
    if not isinstance(metric, str):
        return None
    if metric not in ("minkowski", "p"):
        return METRICS.get(metric) if not parameters else None
    if not isinstance(parameters.get("p", 2), numbers.Real):
        return None
    space = space_of("minkowski", **parameters)
    return None if isinstance(space, str) or not space.is_plain else space.kernel


def _rows_or_none(X):
    """Return finite rows as the kernels take them, or None."""
    try:
        rows = _validation.check_rows(X, "X")
    except (TypeError, ValueError):
        return None
    return rows if _validation.is_finite(rows) else None


def _check_radii(r, n_queries):
    """Return radii of shape (1,) or (n_queries,), or None. NaN has nothing within."""
    try:
        radii = np.atleast_1d(np.asarray(r))
    except ValueError:  # ragged
        return None
    if radii.dtype.kind not in "biuf" or radii.shape not in ((1,), (n_queries,)):
        return None
    return np.where(np.isnan(radii), -1.0, radii).astype(np.float64)


def _check_box(boxsize, rows):
    """Return the periods of features, infinity where there is none, for samples inside."""
    try:
        box = np.asarray(boxsize)
    except ValueError:  # ragged
        box = np.empty(0, object)
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
