"""Searches as functions: rows in, neighbors out."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _validation
from .._core._threads import effective_n_threads
from .._search.metric_spaces import check_pair, metric_parameters
from .._search.protocol import ragged
from .._search.searcher import ALGORITHMS, Searcher
from .._search.subsets import require_enough


def kneighbors(
    X: ArrayLike,
    Y: ArrayLike,
    n_neighbors: int = 5,
    metric: str = "minkowski",
    *,
    p: float = 2,
    metric_params: dict[str, Any] | None = None,
    algorithm: Literal["auto", "brute", "bounded", "kd_tree", "ivf"] = "auto",
    recall: float = 1.0,
    where: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the nearest rows of Y for each row of X: exactly, unless `recall` asks for less.

    The neighbors are those of the distances evaluated in float64 in difference form (sum of
    \\|x - y\\|, sum of (x - y)²) on the values given; equal distances go by the smaller index. The
    result is the same, bit for bit, for any number of threads, batch size and memory layout; with a
    recall below 1 where the algorithm is named.

    Parameters
    ----------
    X : array-like of shape (n_queries, n_features)
        float32, float64 and uint8 are taken as they are, other real dtypes widened exactly.
    Y : array-like of shape (n_samples, n_features)
    n_neighbors : int, default=5
        1 <= n_neighbors <= n_samples.
    metric : str, default="minkowski"
        "minkowski", "l1" ("manhattan", "cityblock"), "l2" ("euclidean"), "sqeuclidean",
        "chebyshev", "cosine" (half the squared L2 distance of the rows divided by their norms, in
        float64), "correlation" (the same of rows less their means), "haversine" (the arc between
        points of the unit sphere, rows of latitude and longitude in radians, from their chord:
        within 5e-16), "nan_euclidean" (NaN is a missing value, see
        `fastnn.metrics.nan_euclidean_distances`), "hamming" (of zeros and ones: the share of the
        features in which rows differ) or "ip" (inner products instead of distances, the
        largest first: sums in float64).
    p : float, default=2
        Of "minkowski": 1 (L1), 2 (L2) or infinity (Chebyshev).
    metric_params : dict, optional
        Of "minkowski": ``{"w": weights}`` of the features, for p of 1 and 2.
    algorithm : {"auto", "brute", "bounded", "kd_tree", "ivf"}, default="auto"
        How to search: all pairs; few of them, by lower bounds on the distances of all; or with a
        k-d tree. The result is the same. "ivf" visits lists of rows near each query, as many as
        `recall` asks for. "auto" takes whatever is cheapest for these data.
    recall : float, default=1.0
        The share of the true neighbors that is found on average: above 0 and at most 1. Below 1,
        some of the rows returned may not be among the nearest; their distances are exact. See
        :ref:`approximate_search`.
    where : array-like of bool of shape (n_samples,), or pair of array-likes, optional
        Which rows of Y may be found, at a cost that follows how many these are; or, as a tuple, the
        groups of X's rows and of Y's: each query finds rows of its own group. Searches are exact
        then, whatever `recall` says.
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
        that the kernels do not serve, a recall outside (0, 1], n_jobs=0.

    Notes
    -----
    Nothing of size n_queries x n_samples is ever stored. Beyond inputs, outputs and an index, a
    search of C-contiguous float32, float64 or uint8 holds under 64 MiB, unless n_neighbors is in
    the tens of thousands. Other dtypes and layouts are copied; "correlation", "haversine" and
    "nan_euclidean" work on copies in float64.

    Examples
    --------
    >>> import fastnn
    >>> distances, indices = fastnn.kneighbors([[0.9]], [[0.0], [1.0], [5.0]], n_neighbors=2)
    >>> indices
    array([[1, 0]])
    """
    X, searcher = _searcher_of(X, Y, metric, p, metric_params, algorithm, recall)
    k = _validation.check_n_neighbors(n_neighbors, len(searcher.Y))
    parts = None if where is None else searcher.read_where(where, len(X))
    require_enough(parts, k)
    return _search(searcher, X, k, effective_n_threads(n_jobs), verbose, where=parts)


def radius_neighbors(
    X: ArrayLike,
    Y: ArrayLike,
    radius: float = 1.0,
    metric: str = "minkowski",
    *,
    p: float = 2,
    metric_params: dict[str, Any] | None = None,
    algorithm: Literal["auto", "brute", "bounded", "kd_tree"] = "auto",
    sort_results: bool = False,
    count_only: bool = False,
    where: Any = None,
    n_jobs: int | None = None,
) -> Any:
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
    count_only : bool, default=False
        Count them, and hold none of them.
    where : array-like of bool of shape (n_samples,), or pair of array-likes, optional
    n_jobs : int, optional

    Returns
    -------
    distances : ndarray of shape (n_queries,) of ndarrays, float64
        Of each query's neighbors.
    indices : ndarray of shape (n_queries,) of ndarrays, int64
    counts : ndarray of shape (n_queries,), int64
        Instead of both, with count_only.

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
    radius = _validation.check_number(radius, "radius", 0.0, finite=False)
    n_threads = effective_n_threads(n_jobs)
    parts = None if where is None else searcher.read_where(where, len(X))
    if count_only:
        return searcher.count_neighbors(X, np.array([radius]), n_threads, where=parts)
    slices, *_ = searcher.radius_neighbors(X, radius, n_threads, bool(sort_results), where=parts)
    distances = ragged((counts, distances) for counts, distances, _ in slices)
    return distances, ragged((counts, indices) for counts, _, indices in slices)


def precomputed_knn(
    X: ArrayLike,
    n_neighbors: int,
    metric: str = "minkowski",
    *,
    p: float = 2,
    metric_params: dict[str, Any] | None = None,
    algorithm: Literal["auto", "brute", "bounded", "kd_tree", "ivf"] = "auto",
    include_self: bool = True,
    recall: float = 1.0,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
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
    recall : float, default=1.0
        As for `kneighbors`.
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
    X, searcher = _searcher_of(X, X, metric, p, metric_params, algorithm, recall)
    n = X.shape[0]
    n_threads = effective_n_threads(n_jobs)
    k = _validation.check_n_neighbors(n_neighbors, n if include_self else n - 1) - include_self
    itself = np.arange(n)[:, None]
    if k == 0:
        searcher.space.require_valid(X, "X")
        return itself, np.zeros((n, 1))
    distances, indices = _search(searcher, X, k, n_threads, verbose, exclude_self=True)
    if not include_self:
        return indices, distances
    return np.hstack([itself, indices]), np.hstack([np.zeros((n, 1)), distances])


def _searcher_of(X, Y, metric, p, metric_params, algorithm, recall=None):
    """Return queries and a searcher for arguments that pass the border.

    `recall`: None where there is none to ask for.
    """
    X, Y, space = check_pair(X, Y, metric, **metric_parameters(metric, p, metric_params))
    names = [name for name in ALGORITHMS if name != "ivf" or recall is not None]
    _validation.check_name(algorithm, ("auto", *names), "algorithm")
    recall = 1.0 if recall is None else _validation.check_recall(recall)
    return X, Searcher(Y, space, algorithm, recall=recall)


def _search(searcher, X, k, n_threads, verbose, exclude_self=False, where=None):
    """Search with arguments that have passed the border, with a progress bar if wanted.

    NaN and infinity among them are left to the index, whose searches meet every value anyway.
    """
    if not verbose:
        return searcher.kneighbors(X, k, n_threads, None, exclude_self, where)[:2]
    from tqdm.auto import tqdm

    with tqdm(total=X.shape[0], desc="kneighbors", unit=" queries", unit_scale=True) as bar:

        def advance(share):
            bar.update(share * X.shape[0])

        return searcher.kneighbors(X, k, n_threads, advance, exclude_self, where)[:2]
