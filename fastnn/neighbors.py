"""Exact nearest-neighbor search, and scikit-learn's neighbors estimators on top of it.

The estimators are scikit-learn's own classes with another search: constructors, methods,
attributes, warnings and errors are theirs. What the kernels do not serve (other metrics, sparse and
precomputed input, the ball tree) is left to scikit-learn's own code; the logger "fastnn" says so,
once, at level INFO.

All names of `sklearn.neighbors` can be imported from here; these are scikit-learn's as they are:
BallTree, KDTree, KernelDensity, NearestCentroid, NeighborhoodComponentsAnalysis,
sort_graph_by_row_values, VALID_METRICS and VALID_METRICS_SPARSE.
"""

import numpy as np
import sklearn.neighbors
from sklearn.neighbors import (
    VALID_METRICS,
    VALID_METRICS_SPARSE,
    BallTree,
    KDTree,
    KernelDensity,
    NearestCentroid,
    NeighborhoodComponentsAnalysis,
    sort_graph_by_row_values,
)
from sklearn.utils.validation import check_is_fitted

from . import _drop_in, _validation
from ._core._threads import effective_n_threads
from ._preparation import forget, prepare
from ._scikit_learn import StrOptions, graph, validate_params
from ._search.metric_spaces import check_pair
from ._search.searcher import ALGORITHMS, Searcher

__all__ = [
    "VALID_METRICS",
    "VALID_METRICS_SPARSE",
    "BallTree",
    "KDTree",
    "KNeighborsClassifier",
    "KNeighborsRegressor",
    "KNeighborsTransformer",
    "KernelDensity",
    "LocalOutlierFactor",
    "NearestCentroid",
    "NearestNeighbors",
    "NeighborhoodComponentsAnalysis",
    "RadiusNeighborsClassifier",
    "RadiusNeighborsRegressor",
    "RadiusNeighborsTransformer",
    "kneighbors",
    "kneighbors_graph",
    "precomputed_knn",
    "radius_neighbors",
    "radius_neighbors_graph",
    "sort_graph_by_row_values",
]


def kneighbors(
    X,
    Y,
    n_neighbors=5,
    metric="minkowski",
    *,
    p=2,
    metric_params=None,
    algorithm="auto",
    n_jobs=None,
    verbose=0,
):
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
    metric : str, default="minkowski"
        "minkowski", "l1" ("manhattan", "cityblock"), "l2" ("euclidean"), "sqeuclidean", "chebyshev"
        or "cosine" (half the squared L2 distance of the rows divided by their norms, in float64).
    p : float, default=2
        Of "minkowski": 1 (L1), 2 (L2) or infinity (Chebyshev).
    metric_params : dict, optional
        Of "minkowski": ``{"w": weights}`` of the features, for p of 1 and 2.
    algorithm : {"auto", "brute", "bounded", "kd_tree"}, default="auto"
        How to search: all pairs; few of them, by lower bounds on the distances of all; or with a
        k-d tree. "auto" looks at the data. The result is the same.
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
        For NaN or infinity, empty input, shapes that do not fit, n_neighbors out of range, a metric
        that the kernels do not serve, n_jobs=0.

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
    X, searcher = _searcher_of(X, Y, metric, p, metric_params, algorithm)
    k = _validation.check_n_neighbors(n_neighbors, len(searcher.Y))
    return _search(searcher, X, k, effective_n_threads(n_jobs), verbose)


def radius_neighbors(
    X,
    Y,
    radius=1.0,
    metric="minkowski",
    *,
    p=2,
    metric_params=None,
    algorithm="auto",
    sort_results=False,
    n_jobs=None,
):
    """Find all rows of Y within a radius of each row of X, exactly.

    Parameters are those of `kneighbors`, but:

    Parameters
    ----------
    X : array-like of shape (n_queries, n_features)
    Y : array-like of shape (n_samples, n_features)
    radius : float, default=1.0
        At least 0; squared for "sqeuclidean". Rows at this very distance are neighbors.
    metric : str, default="minkowski"
    p : float, default=2
    metric_params : dict, optional
    algorithm : {"auto", "brute", "bounded", "kd_tree"}, default="auto"
    sort_results : bool, default=False
        Neighbors ascend by (distance, index), or by index alone.
    n_jobs : int, optional

    Returns
    -------
    distances : ndarray of shape (n_queries,) of ndarrays, float64
        Of each query's neighbors.
    indices : ndarray of shape (n_queries,) of ndarrays, int64

    Raises
    ------
    TypeError, ValueError
        As `kneighbors`, and for a radius that is negative or NaN.

    Examples
    --------
    >>> import fastnn
    >>> distances, indices = fastnn.radius_neighbors([[0.9]], [[0.0], [1.0], [5.0]], radius=1.0)
    >>> indices[0]
    array([0, 1])
    """
    X, searcher = _searcher_of(X, Y, metric, p, metric_params, algorithm)
    radius = _validation.check_number(radius, "radius", 0.0)
    n_threads = effective_n_threads(n_jobs)
    slices, *_ = searcher.radius_neighbors(X, radius, n_threads, bool(sort_results))
    distances = _drop_in.ragged((counts, distances) for counts, distances, _ in slices)
    return distances, _drop_in.ragged((counts, indices) for counts, _, indices in slices)


def _searcher_of(X, Y, metric, p, metric_params, algorithm):
    """Return queries and a searcher for arguments that pass the border."""
    parameters = dict(metric_params or {})
    if metric == "minkowski":
        parameters = {"p": p, **parameters}
    X, Y, space = check_pair(X, Y, metric, **parameters)
    _validation.check_name(algorithm, ("auto", *ALGORITHMS), "algorithm")
    return X, Searcher(Y, space, algorithm)


def _search(searcher, X, k, n_threads, verbose, exclude_self=False):
    """Search with arguments that have passed the border, with a progress bar if wanted.

    NaN and infinity among them are left to the index, whose searches meet every value anyway.
    """
    if not verbose:
        return searcher.kneighbors(X, k, n_threads, None, exclude_self)[:2]
    from tqdm.auto import tqdm

    with tqdm(total=X.shape[0], desc="kneighbors", unit=" queries", unit_scale=True) as bar:

        def advance(share):
            bar.update(share * X.shape[0])

        return searcher.kneighbors(X, k, n_threads, advance, exclude_self)[:2]


# ---- estimators ----------------------------------------------------------------------------------


class _Neighbors:
    """Puts the kernels in the place of scikit-learn's searches.

    `algorithm` may be "bounded" too. The ball tree is scikit-learn's, and so are the metrics that
    "kd_tree" may be named with; "auto" takes the tree for all that the kernels serve.
    """

    _fit = _drop_in.fit_neighbors
    _native_algorithms = ("auto", "brute", "bounded", "kd_tree")

    @property
    def _tree(self):
        """scikit-learn's tree, for what the kernels do not serve: radii that differ, say."""
        if vars(self).get("_tree") is None and "_has_lazy_tree" in vars(self):
            vars(self)["_tree"] = sklearn.neighbors.KDTree(
                self._fit_X,
                self.leaf_size,
                metric=self.effective_metric_,
                **self.effective_metric_params_,
            )
        return vars(self).get("_tree")

    @_tree.setter
    def _tree(self, tree):
        vars(self)["_tree"] = tree

    def __init_subclass__(cls, **arguments):
        super().__init_subclass__(**arguments)
        constraints = getattr(cls, "_parameter_constraints", {})
        if "algorithm" in constraints:
            names = {"auto", "ball_tree", "kd_tree", "brute", "bounded"}
            cls._parameter_constraints = {**constraints, "algorithm": [StrOptions(names)]}

    @property
    def effective_algorithm_(self):
        """What a search uses: "brute", "bounded" or "kd_tree"; scikit-learn's, where it searches.

        With ``algorithm="auto"`` searches settle it: a large one, or many.
        """
        return self._index_or_method()[0]

    def explain_algorithm(self):
        """Return why `effective_algorithm_` is what it is, as a sentence."""
        return "{}: {}".format(*self._index_or_method())

    def _index_or_method(self):
        check_is_fitted(self)
        prepared = prepare(self)
        if isinstance(prepared, str):
            return self._fit_method, f"scikit-learn's own, for {prepared}"
        return prepared.searcher.latest_plan


class _KNeighbors(_Neighbors):
    kneighbors = _drop_in.kneighbors


class _RadiusNeighbors(_Neighbors):
    radius_neighbors = _drop_in.radius_neighbors


class NearestNeighbors(_KNeighbors, _RadiusNeighbors, sklearn.neighbors.NearestNeighbors):
    """Searches for the k nearest neighbors, or all within a radius.

    Parameters, attributes and methods are those of `sklearn.neighbors.NearestNeighbors`. The k
    nearest ascend by (distance, index); those within a radius by index, or with
    ``sort_results=True`` by (distance, index).

    Examples
    --------
    >>> from fastnn.neighbors import NearestNeighbors
    >>> model = NearestNeighbors(n_neighbors=2).fit([[0.0], [1.0], [5.0]])
    >>> model.kneighbors([[0.9]], return_distance=False)
    array([[1, 0]])
    >>> model.radius_neighbors([[4.5]], radius=1.0)[1][0]
    array([2])
    """


class KNeighborsClassifier(_KNeighbors, sklearn.neighbors.KNeighborsClassifier):
    """Classifier that lets the k nearest training samples vote.

    Parameters, attributes and methods are those of `sklearn.neighbors.KNeighborsClassifier`. Among
    neighbors at the same distance those with the smaller index come first; among classes with the
    same votes the smallest wins.

    Examples
    --------
    >>> from fastnn.neighbors import KNeighborsClassifier
    >>> model = KNeighborsClassifier(n_neighbors=3).fit([[0], [1], [2], [3]], [0, 0, 1, 1])
    >>> model.predict([[1.1]])
    array([0])
    >>> model.predict_proba([[0.9]])
    array([[0.66666667, 0.33333333]])
    """

    predict = _drop_in.predict
    predict_proba = _drop_in.predict_proba

    def fit(self, X, y):
        """Fit the classifier: see `sklearn.neighbors.KNeighborsClassifier.fit`."""
        if self._fit_plain(X, y):
            return self
        return super().fit(X, y)

    def _fit_plain(self, X, y):
        """Fit what is plainly right: scikit-learn's checks take longer than a small search.

        Returns False, and leaves the rest to scikit-learn, for parameters and data out of the
        ordinary, wrong ones among them.
        """
        metric = (
            {1: "manhattan", 2: "euclidean"}.get(self.p)
            if self.metric == "minkowski"
            else (self.metric)
        )
        plain = (
            type(X) is type(y) is np.ndarray
            and X.dtype in _validation.NATIVE
            and X.ndim == 2
            and X.size > 0
            and X.flags.c_contiguous
            and y.dtype.kind in "iu"
            and y.shape == (X.shape[0],)
            and type(metric) is str
            and metric in _PLAIN_METRICS
            and type(self.n_neighbors) is type(self.leaf_size) is int
            and min(self.n_neighbors, self.leaf_size) >= 1
            and self.weights in ("uniform", "distance")
            and self.algorithm in ("auto", "brute")
            and type(self.p) is int
            and self.p >= 1
            and self.metric_params is None
            and (self.n_jobs is None or type(self.n_jobs) is int)
            and type(self) is KNeighborsClassifier
            and _drop_in.asks_for(self, "_fit") is _drop_in.fit_neighbors
        )
        if not plain or not _validation.is_finite(X):
            return False
        classes, labels = np.unique(y, return_inverse=True)
        if 2 * classes.size > y.size:  # scikit-learn warns that these may not be classes
            return False
        vars(self).pop("feature_names_in_", None)
        forget(self)
        self.n_features_in_ = X.shape[1]
        self.outputs_2d_ = False
        self.classes_ = classes
        self._y = labels.astype(np.intp, copy=False)
        self.effective_metric_params_ = {}
        self.effective_metric_ = metric
        self._fit_X = X
        self._tree = None
        self._fit_method = "brute"
        self.n_samples_fit_ = X.shape[0]
        return True


_PLAIN_METRICS = ("l1", "manhattan", "cityblock", "l2", "euclidean", "sqeuclidean")


class KNeighborsRegressor(_KNeighbors, sklearn.neighbors.KNeighborsRegressor):
    """Regression by the mean of the k nearest training samples.

    Parameters, attributes and methods are those of `sklearn.neighbors.KNeighborsRegressor`.

    Examples
    --------
    >>> from fastnn.neighbors import KNeighborsRegressor
    >>> model = KNeighborsRegressor(n_neighbors=2).fit([[0], [1], [2], [3]], [0.0, 0.0, 1.0, 1.0])
    >>> model.predict([[1.4]])
    array([0.5])
    """


class KNeighborsTransformer(_KNeighbors, sklearn.neighbors.KNeighborsTransformer):
    """Turns samples into the graph of their k nearest neighbors.

    Parameters, attributes and methods are those of `sklearn.neighbors.KNeighborsTransformer`: with
    mode="distance" k + 1 neighbors per row, itself among them. Rows of the graph ascend by
    (distance, index), as Isomap, DBSCAN, t-SNE and scanpy expect of precomputed graphs.

    Examples
    --------
    >>> from fastnn.neighbors import KNeighborsTransformer
    >>> graph = KNeighborsTransformer(n_neighbors=1).fit_transform([[0.0], [1.0], [3.0]])
    >>> graph.toarray()
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 2., 0.]])
    """


class RadiusNeighborsClassifier(_RadiusNeighbors, sklearn.neighbors.RadiusNeighborsClassifier):
    """Classifier that lets all training samples within a radius vote.

    Parameters, attributes and methods are those of `sklearn.neighbors.RadiusNeighborsClassifier`.

    Examples
    --------
    >>> from fastnn.neighbors import RadiusNeighborsClassifier
    >>> model = RadiusNeighborsClassifier(radius=1.0).fit([[0], [1], [2], [3]], [0, 0, 1, 1])
    >>> model.predict([[0.4]])
    array([0])
    """

    predict_proba = _drop_in.radius_predict_proba


class RadiusNeighborsRegressor(_RadiusNeighbors, sklearn.neighbors.RadiusNeighborsRegressor):
    """Regression by the mean of all training samples within a radius.

    Parameters, attributes and methods are those of `sklearn.neighbors.RadiusNeighborsRegressor`.

    Examples
    --------
    >>> from fastnn.neighbors import RadiusNeighborsRegressor
    >>> model = RadiusNeighborsRegressor(radius=1.0).fit([[0], [1], [2]], [0.0, 1.0, 5.0])
    >>> model.predict([[0.5]])
    array([0.5])
    """

    predict = _drop_in.radius_regressor_predict


class RadiusNeighborsTransformer(_RadiusNeighbors, sklearn.neighbors.RadiusNeighborsTransformer):
    """Turns samples into the graph of all neighbors within a radius.

    Parameters, attributes and methods are those of `sklearn.neighbors.RadiusNeighborsTransformer`.

    Examples
    --------
    >>> from fastnn.neighbors import RadiusNeighborsTransformer
    >>> model = RadiusNeighborsTransformer(radius=1.5)
    >>> model.fit_transform([[0.0], [1.0], [3.0]]).toarray()
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 0., 0.]])
    """


class LocalOutlierFactor(_KNeighbors, sklearn.neighbors.LocalOutlierFactor):
    """Finds outliers by the local density of their neighbors.

    Parameters, attributes and methods are those of `sklearn.neighbors.LocalOutlierFactor`.

    Examples
    --------
    >>> from fastnn.neighbors import LocalOutlierFactor
    >>> LocalOutlierFactor(n_neighbors=2).fit_predict([[-1.1], [0.2], [101.1], [0.3]])
    array([ 1,  1, -1,  1])
    """


# ---- graphs --------------------------------------------------------------------------------------


@validate_params(
    graph.kneighbors_graph._skl_parameter_constraints, prefer_skip_nested_validation=False
)
def kneighbors_graph(
    X,
    n_neighbors,
    *,
    mode="connectivity",
    metric="minkowski",
    p=2,
    metric_params=None,
    include_self=False,
    n_jobs=None,
):
    """Return the sparse graph of the k nearest neighbors among the rows of X.

    Parameters and errors are those of `sklearn.neighbors.kneighbors_graph`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), or a fitted estimator
    n_neighbors : int
    mode : {"connectivity", "distance"}, default="connectivity"
        What edges hold: ones, or distances.
    metric : str or callable, default="minkowski"
    p : float, default=2
    metric_params : dict, optional
    include_self : bool or "auto", default=False
        Whether a sample is its own first neighbor; "auto": in mode "connectivity".
    n_jobs : int, optional

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        Rows ascend by (distance, index).

    Raises
    ------
    TypeError, ValueError
        As scikit-learn's.

    Examples
    --------
    >>> from fastnn.neighbors import kneighbors_graph
    >>> kneighbors_graph([[0.0], [3.0], [1.0]], 1, mode="distance").toarray()
    array([[0., 0., 1.],
           [0., 0., 2.],
           [1., 0., 0.]])
    """
    if not isinstance(X, graph.KNeighborsMixin):
        X = NearestNeighbors(
            n_neighbors=n_neighbors, metric=metric, p=p, metric_params=metric_params, n_jobs=n_jobs
        ).fit(X)
    return graph.kneighbors_graph(
        X,
        n_neighbors,
        mode=mode,
        metric=metric,
        p=p,
        metric_params=metric_params,
        include_self=include_self,
        n_jobs=n_jobs,
    )


@validate_params(
    graph.radius_neighbors_graph._skl_parameter_constraints, prefer_skip_nested_validation=False
)
def radius_neighbors_graph(
    X,
    radius,
    *,
    mode="connectivity",
    metric="minkowski",
    p=2,
    metric_params=None,
    include_self=False,
    n_jobs=None,
):
    """Return the sparse graph of all neighbors within a radius among the rows of X.

    Parameters and errors are those of `sklearn.neighbors.radius_neighbors_graph`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), or a fitted estimator
    radius : float
    mode : {"connectivity", "distance"}, default="connectivity"
        What edges hold: ones, or distances.
    metric : str or callable, default="minkowski"
    p : float, default=2
    metric_params : dict, optional
    include_self : bool or "auto", default=False
        Whether a sample is its own first neighbor; "auto": in mode "connectivity".
    n_jobs : int, optional

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        Rows ascend by index.

    Raises
    ------
    TypeError, ValueError
        As scikit-learn's.

    Examples
    --------
    >>> from fastnn.neighbors import radius_neighbors_graph
    >>> radius_neighbors_graph([[0.0], [3.0], [1.0]], 1.5, mode="distance").toarray()
    array([[0., 0., 1.],
           [0., 0., 0.],
           [1., 0., 0.]])
    """
    if not isinstance(X, graph.RadiusNeighborsMixin):
        X = NearestNeighbors(
            radius=radius, metric=metric, p=p, metric_params=metric_params, n_jobs=n_jobs
        ).fit(X)
    return graph.radius_neighbors_graph(
        X,
        radius,
        mode=mode,
        metric=metric,
        p=p,
        metric_params=metric_params,
        include_self=include_self,
        n_jobs=n_jobs,
    )


def precomputed_knn(
    X,
    n_neighbors,
    metric="minkowski",
    *,
    p=2,
    metric_params=None,
    algorithm="auto",
    include_self=True,
    n_jobs=None,
    verbose=0,
):
    """Return the neighbors of each row of X among all of them, for UMAP and openTSNE.

    Two conventions, both with the indices first:

    - UMAP's `precomputed_knn`: exactly n_neighbors columns of which the sample itself is the first,
      at distance 0 (``include_self=True``);
    - openTSNE's `PrecomputedNeighbors`: n_neighbors columns without the sample itself
      (``include_self=False``).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    n_neighbors : int
        The number of columns: at most n_samples with the sample itself, else n_samples - 1.
    metric, p, metric_params, algorithm
        As for `kneighbors`.
    include_self : bool, default=True
        Whether the sample itself is the first column. It is even where it has duplicates.
    n_jobs : int, optional
        Threads, as in scikit-learn; None: all the cores that this process may use.
    verbose : int, default=0
        A positive number shows a progress bar.

    Returns
    -------
    indices : ndarray of shape (n_samples, n_neighbors), int64
    distances : ndarray of shape (n_samples, n_neighbors), float64

    Raises
    ------
    TypeError, ValueError
        As `kneighbors`.

    Examples
    --------
    >>> from fastnn.neighbors import precomputed_knn
    >>> indices, distances = precomputed_knn([[0.0], [1.0], [3.0]], n_neighbors=2)
    >>> indices
    array([[0, 1],
           [1, 0],
           [2, 1]])
    """
    X, searcher = _searcher_of(X, X, metric, p, metric_params, algorithm)
    n = X.shape[0]
    n_threads = effective_n_threads(n_jobs)
    k = _validation.check_n_neighbors(n_neighbors, n if include_self else n - 1) - include_self
    itself = np.arange(n)[:, None]
    if k == 0:
        _validation.require_finite(X, "X")
        return itself, np.zeros((n, 1))
    distances, indices = _search(searcher, X, k, n_threads, verbose, exclude_self=True)
    if not include_self:
        return indices, distances
    return np.hstack([itself, indices]), np.hstack([np.zeros((n, 1)), distances])
