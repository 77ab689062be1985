"""Distances between rows: all of them, chunk by chunk, or only the smallest.

Signatures are those of `sklearn.metrics`. Dense rows and the metrics that the kernels serve are
computed here, everything else by scikit-learn's own functions; the logger "fastnn" says so, once.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import sklearn.metrics
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.metrics import pairwise as _theirs
from sklearn.utils import gen_batches

from . import _validation
from ._core._rows import Rows
from ._core._threads import effective_n_threads
from ._core.search._missing import RowsWithMissing, fill_present_distances
from ._core.search._pairwise import fill_distances
from ._observation import observe
from ._search.brute import HELD_DISTANCES
from ._search.metric_spaces import check_pair, may_be_bits, space_of
from ._search.searcher import Searcher
from ._sklearn.private import check_chunk_size, get_chunk_n_rows

__all__ = [
    "cosine_distances",
    "euclidean_distances",
    "manhattan_distances",
    "nan_euclidean_distances",
    "pairwise_distances",
    "pairwise_distances_argmin",
    "pairwise_distances_argmin_min",
    "pairwise_distances_chunked",
]


def pairwise_distances(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    metric: str | Callable[..., Any] = "l2",
    *,
    n_jobs: int | None = None,
    ensure_all_finite: Any = True,
    out: NDArray[Any] | None = None,
    **kwds: Any,
) -> NDArray[Any]:
    """Distances between each row of X and each row of Y.

    ``"l1"``: sum of \\|x - y\\|; ``"sqeuclidean"``: sum of (x - y)²; ``"l2"``: its square root;
    ``"chebyshev"``: the largest \\|x - y\\|; ``"cosine"``: half the squared L2 distance of the rows
    divided by their norms; ``"correlation"``: the same of rows less their means; ``"haversine"``:
    the arc between two points of the unit sphere, rows of latitude and longitude in radians, from
    their chord; ``"nan_euclidean"``: see `fastnn.metrics.nan_euclidean_distances`.

    Parameters
    ----------
    X : array-like of shape (n_x, n_features)
        float32, float64 and uint8 are taken as they are, other real dtypes widened exactly.
    Y : array-like of shape (n_y, n_features), optional
        None stands for X: half of the work, an exactly symmetric result, an exactly zero diagonal.
    metric : str or callable, default="l2"
        "l1" ("manhattan", "cityblock"), "l2" ("euclidean"), "sqeuclidean", "chebyshev", "cosine",
        "correlation", "haversine", "nan_euclidean", "hamming" of zeros and ones, and "minkowski"
        with p=1 or 2 and weights w are computed here, others by
        `sklearn.metrics.pairwise_distances`.
    n_jobs : int, optional
        Threads, as in scikit-learn; None: all the cores that this process may use.
    ensure_all_finite : bool or "allow-nan", default=True
        For scikit-learn's metrics. Here infinity is always refused, and NaN but under
        "nan_euclidean".
    out : ndarray of shape (n_x, n_y), optional
        Where to write the result: C-contiguous and of the result's dtype. After an error it may
        hold anything.
    **kwds
        The metric's parameters.

    Returns
    -------
    ndarray of shape (n_x, n_y)
        float32 if the inputs are both float32, or of narrower types with at least one of floats;
        else, for bytes too, float64. An entry is a function of its two rows alone, bit for bit; see
        Notes for its error.

    Raises
    ------
    TypeError
        For dtypes that hold no real numbers, and arguments of the wrong type.
    ValueError
        For NaN or infinity, empty input, shapes that do not fit, an unknown metric, n_jobs=0.

    Notes
    -----
    With D the exact distance of the rows as given, a float64 entry is within 1e-12 D, and under
    ``"cosine"``, where norms are rounded, within 1e-12 D + 1e-14 sqrt(D) + 1e-29. For a float32
    entry the 1e-12 is 1e-6 under ``"l2"``, 2e-6 under ``"sqeuclidean"`` and ``"cosine"``, and
    otherwise 1e-9 and the rounding to float32. Without weights, entries of bytes are exact but for
    roots and norms. Bit-identical rows are at distance 0. Between instruction sets entries differ
    within these errors. Float64 entries of up to 16 features (15 under ``"cosine"``) without
    weights are the very distances of `fastnn.kneighbors`.

    Under ``"haversine"`` chords are between points that are rounded: arcs are within 5e-16 of the
    exact ones, and entries of float32 rounded to it. Under ``"correlation"`` rows of one value are
    at distance 1 from all others and at 0 from each other.

    Squares of differences and their sums, in float64, have to have room, for all of this and under
    ``"l2"``, too: where a sum is beyond 1e308 the distance is infinite, and squares below 1e-308
    lose digits, down to 5e-324, below which they count as none.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.pairwise_distances([[0.0, 0.0], [3.0, 4.0]], metric="l2")
    array([[0., 5.],
           [5., 0.]])
    """
    reason = fallback_reason(X, Y, metric, kwds)
    passes = (True, "allow-nan") if metric == "nan_euclidean" else (True,)
    if reason is None and ensure_all_finite not in passes:
        reason = f"ensure_all_finite={ensure_all_finite!r}"
    if reason is not None:
        if out is not None:
            raise ValueError(f"out cannot be given where scikit-learn computes: {reason}")
        with observe("pairwise_distances", reason):
            return sklearn.metrics.pairwise_distances(
                X, Y, metric, n_jobs=n_jobs, ensure_all_finite=ensure_all_finite, **kwds
            )
    with observe("pairwise_distances"):
        symmetric = Y is None or Y is X
        given = X, X if symmetric else Y
        X, Y, space = _checked(given, metric, kwds)
        out = _room_for(X, Y, out, given)
        n_threads = effective_n_threads(n_jobs)
        if space.allows_nan:
            _fill_among_missing(X, _with_missing(X, Y, space, n_threads), out, n_threads)
            return out
        rows = space.rows(X, n_threads)
        samples = rows if symmetric else space.rows(Y, n_threads)
        if not _fill(rows, samples, space, out, symmetric, n_threads):
            _validation.require_finite(X, "X")
            _validation.require_finite(Y, "Y")
        return out


def fallback_reason(X, Y, metric, parameters):
    """Return the reason why these arguments are for scikit-learn, or None."""
    if issparse(X) or issparse(Y):
        return "sparse input"
    space = space_of(metric, **parameters)
    if isinstance(space, str):
        return space
    if space.largest_first:
        return f"metric {metric!r}"
    if space.mapping == "bits" and not all(map(may_be_bits, (X, Y))):
        return "values other than 0 and 1"
    return None


def _room_for(X, Y, out, given):
    """Return where the distances between checked X and Y go: `out`, checked, or a new array.

    It must not overlap with X and Y as they were `given`, of which these may be copies.
    """
    shape = (X.shape[0], Y.shape[0])
    dtype = _dtype_of_distances(X)
    if out is None:
        return np.empty(shape, dtype)
    _validation.check_out(out, shape, dtype)
    if any(np.may_share_memory(out, np.asarray(rows)) for rows in given):
        raise ValueError("out must not overlap the input arrays")
    return out


def _checked(given, metric, parameters):
    """Return (X, Y, space) as `check_pair`, but small integers as float64, which distances are."""
    X, Y, space = check_pair(*given, metric, **parameters)
    if X.dtype == np.float32 and all(_validation.holds_integers(rows) for rows in given):
        same = Y is X
        X = X.astype(np.float64)
        Y = X if same else Y.astype(np.float64)
    return X, Y, space


def _dtype_of_distances(X):
    return np.float32 if X.dtype == np.float32 else np.float64


def _fill(X, Y, space, out, symmetric, n_threads):
    """Fill `out` with distances between Rows; return whether all values are seen to be finite."""
    kernel = space.kernel
    if space.mapping == "bits":
        finite = fill_distances(X, Y, kernel, out, symmetric, n_threads)
        np.divide(out, X.values.shape[1], out=out)
        return finite
    if space.mapping == "sphere":
        finite = True
        for part in gen_batches(len(X), max(1, HELD_DISTANCES // len(Y))):
            points = Rows(X.values[part])
            chords = np.empty((len(points), len(Y)))
            finite &= fill_distances(points, Y, kernel, chords, False, n_threads)
            out[part] = space.distances(chords)
        return finite
    if kernel == "chebyshev" and X.values.dtype == np.uint8 and not X.transformed:
        X, Y = Rows(X.values.astype(np.float32)), Rows(Y.values.astype(np.float32))
    return fill_distances(X, Y, kernel, out, symmetric, n_threads)


def _with_missing(X, Y, space, n_threads):
    """Return the rows of Y, of which values may be missing, as those of X, for their distances."""
    space.require_valid(X, "X")
    space.require_valid(Y, "Y")
    return RowsWithMissing(Y.astype(np.float64, copy=False), n_threads)


def _fill_among_missing(X, samples, out, n_threads, squared=False):
    """Fill `out` with distances between rows of which values are missing."""
    X = X.astype(np.float64, copy=False)
    if out.dtype == np.float64:
        fill_present_distances(X, samples, out, squared, n_threads)
        return
    for part in gen_batches(len(X), max(1, HELD_DISTANCES // len(samples))):
        distances = np.empty((len(X[part]), len(samples)))
        fill_present_distances(X[part], samples, distances, squared, n_threads)
        out[part] = distances


def euclidean_distances(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    Y_norm_squared: ArrayLike | None = None,
    squared: bool = False,
    X_norm_squared: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> NDArray[Any]:
    """L2 distances between each row of X and each row of Y: sqrt of the sum of (x - y)².

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_x, n_features)
    Y : array-like or sparse matrix of shape (n_y, n_features), optional
        None stands for X.
    Y_norm_squared, X_norm_squared : array-like, optional
        As in scikit-learn, which needs them for its formula; only sparse input makes use of them.
    squared : bool, default=False
        Return squared distances.
    n_jobs : int, optional
        Threads; None: all the cores that this process may use.

    Returns
    -------
    ndarray of shape (n_x, n_y)

    Raises
    ------
    TypeError, ValueError
        As `pairwise_distances`.

    Examples
    --------
    >>> from fastnn.metrics import euclidean_distances
    >>> euclidean_distances([[0.0, 0.0]], [[3.0, 4.0]], squared=True)
    array([[25.]])
    """
    if issparse(X) or issparse(Y):
        with observe("euclidean_distances", "sparse input"):
            return _theirs.euclidean_distances(
                X,
                Y,
                Y_norm_squared=Y_norm_squared,
                squared=squared,
                X_norm_squared=X_norm_squared,
            )
    return pairwise_distances(X, Y, "sqeuclidean" if squared else "l2", n_jobs=n_jobs)


def manhattan_distances(
    X: ArrayLike, Y: ArrayLike | None = None, *, n_jobs: int | None = None
) -> NDArray[Any]:
    """L1 distances between each row of X and each row of Y: the sum of \\|x - y\\|.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_x, n_features)
    Y : array-like or sparse matrix of shape (n_y, n_features), optional
        None stands for X.
    n_jobs : int, optional
        Threads; None: all the cores that this process may use.

    Returns
    -------
    ndarray of shape (n_x, n_y)

    Raises
    ------
    TypeError, ValueError
        As `pairwise_distances`.

    Examples
    --------
    >>> from fastnn.metrics import manhattan_distances
    >>> manhattan_distances([[0.0, 0.0]], [[3.0, 4.0]])
    array([[7.]])
    """
    return pairwise_distances(X, Y, "manhattan", n_jobs=n_jobs)


def cosine_distances(
    X: ArrayLike, Y: ArrayLike | None = None, *, n_jobs: int | None = None
) -> NDArray[np.float64]:
    """Cosine distances between each row of X and each row of Y: 1 - x·y / (\\|x\\| \\|y\\|).

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_x, n_features)
    Y : array-like or sparse matrix of shape (n_y, n_features), optional
        None stands for X.
    n_jobs : int, optional
        Threads; None: all the cores that this process may use.

    Returns
    -------
    ndarray of shape (n_x, n_y)
        Evaluated as half the squared L2 distance of the rows divided by their norms, so small
        distances are accurate. Rows of zeros are at distance 1 from others and 0 from each other.

    Raises
    ------
    TypeError, ValueError
        As `pairwise_distances`.

    Examples
    --------
    >>> from fastnn.metrics import cosine_distances
    >>> cosine_distances([[1.0, 0.0]], [[0.0, 2.0], [3.0, 0.0]])
    array([[1., 0.]])
    """
    return pairwise_distances(X, Y, "cosine", n_jobs=n_jobs)


def nan_euclidean_distances(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    squared: bool = False,
    missing_values: Any = np.nan,
    n_jobs: int | None = None,
) -> NDArray[Any]:
    """L2 distances between rows of which values are missing.

    Taken over the features that both rows have, and made up for the others [1]_: the square root of
    n_features / m times the sum of (x - y)² over m features.

    Parameters
    ----------
    X : array-like of shape (n_x, n_features)
    Y : array-like of shape (n_y, n_features), optional
        None stands for X.
    squared : bool, default=False
        Return squared distances.
    missing_values : float, default=NaN
        What stands for a missing value.
    n_jobs : int, optional
        Threads; None: all the cores that this process may use.

    Returns
    -------
    ndarray of shape (n_x, n_y)
        NaN for rows without a feature in common. float32 or float64, as of `pairwise_distances`;
        evaluated in float64, from the differences.

    Raises
    ------
    TypeError, ValueError
        As `pairwise_distances`, but for NaN.

    References
    ----------
    .. [1] J. K. Dixon, "Pattern recognition with partly missing data", IEEE Transactions on
       Systems, Man, and Cybernetics 9 (1979).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.metrics import nan_euclidean_distances
    >>> nan_euclidean_distances([[3.0, np.nan, 4.0, 1.0]], [[0.0, 2.0, np.nan, 5.0]], squared=True)
    array([[50.]])
    """
    if not isinstance(missing_values, numbers.Real):
        raise TypeError(f"missing_values must be a number, got {type(missing_values).__name__}")
    same = Y is None or Y is X
    X, Y, space = _checked((X, X if same else Y), "nan_euclidean", {})
    if not np.isnan(missing_values):
        _validation.require_finite(X, "X")
        _validation.require_finite(Y, "Y")
        X, Y = (np.where(rows == missing_values, np.nan, rows) for rows in (X, Y))
    out = np.empty((len(X), len(Y)), _dtype_of_distances(X))
    n_threads = effective_n_threads(n_jobs)
    _fill_among_missing(X, _with_missing(X, Y, space, n_threads), out, n_threads, bool(squared))
    return out


def pairwise_distances_argmin_min(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    axis: Literal[0, 1] = 1,
    metric: str | Callable[..., Any] = "euclidean",
    metric_kwargs: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the nearest row of Y for each row of X, and its distance.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_x, n_features)
    Y : array-like or sparse matrix of shape (n_y, n_features)
    axis : {0, 1}, default=1
        0: the nearest row of X for each row of Y.
    metric : str or callable, default="euclidean"
        As for `pairwise_distances`.
    metric_kwargs : dict, optional
        The metric's parameters.
    n_jobs : int, optional
        Threads; None: all the cores that this process may use.

    Returns
    -------
    argmin : ndarray of shape (n_x,), int64
        The smaller index where distances are equal.
    distances : ndarray of shape (n_x,), float64

    Raises
    ------
    TypeError, ValueError
        As `pairwise_distances`.

    Examples
    --------
    >>> from fastnn.metrics import pairwise_distances_argmin_min
    >>> pairwise_distances_argmin_min([[0.0], [4.0]], [[1.0], [3.0]])
    (array([0, 1]), array([1., 1.]))
    """
    parameters = dict(metric_kwargs or {})
    name = metric
    if isinstance(metric, str) and metric == "euclidean" and parameters.pop("squared", False):
        name = "sqeuclidean"
    reason = fallback_reason(X, Y, name, parameters)
    if reason is None and axis not in (0, 1):
        reason = f"axis {axis!r}"
    if reason is not None:
        with observe("pairwise_distances_argmin_min", reason):
            return _theirs.pairwise_distances_argmin_min(
                X, Y, axis=axis, metric=metric, metric_kwargs=metric_kwargs
            )
    with observe("pairwise_distances_argmin_min"):
        if axis == 0:
            X, Y = Y, X
        X, Y, space = check_pair(X, Y, name, **parameters)
        found = Searcher(Y, space).kneighbors(X, 1, effective_n_threads(n_jobs))
        return found.indices[:, 0], found.distances[:, 0]


def pairwise_distances_argmin(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    axis: Literal[0, 1] = 1,
    metric: str | Callable[..., Any] = "euclidean",
    metric_kwargs: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> NDArray[np.int64]:
    """Return the nearest row of Y for each row of X.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_x, n_features)
    Y : array-like or sparse matrix of shape (n_y, n_features)
    axis : {0, 1}, default=1
        0: the nearest row of X for each row of Y.
    metric : str or callable, default="euclidean"
        As for `pairwise_distances`.
    metric_kwargs : dict, optional
        The metric's parameters.
    n_jobs : int, optional
        Threads; None: all the cores that this process may use.

    Returns
    -------
    ndarray of shape (n_x,), int64
        The smaller index where distances are equal.

    Raises
    ------
    TypeError, ValueError
        As `pairwise_distances`.

    Examples
    --------
    >>> from fastnn.metrics import pairwise_distances_argmin
    >>> pairwise_distances_argmin([[0.0], [4.0]], [[1.0], [3.0]])
    array([0, 1])
    """
    return pairwise_distances_argmin_min(
        X, Y, axis=axis, metric=metric, metric_kwargs=metric_kwargs, n_jobs=n_jobs
    )[0]


def pairwise_distances_chunked(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    reduce_func: Callable[..., Any] | None = None,
    metric: str | Callable[..., Any] = "euclidean",
    n_jobs: int | None = None,
    working_memory: float | None = None,
    **kwds: Any,
) -> Iterator[Any]:
    """Yield the distance matrix in chunks of rows that fit the working memory.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_x, n_features)
    Y : array-like or sparse matrix of shape (n_y, n_features), optional
        None stands for X.
    reduce_func : callable, optional
        ``reduce_func(distances, start)`` is yielded in the place of each chunk of distances, which
        begins with row `start`: an array, list or sparse matrix with as many rows, a tuple of
        those, or None.
    metric : str or callable, default="euclidean"
        As for `pairwise_distances`.
    n_jobs : int, optional
        Threads; None: all the cores that this process may use.
    working_memory : float, optional
        MiB for a chunk; None: scikit-learn's setting.
    **kwds
        The metric's parameters.

    Yields
    ------
    ndarray of shape (n_rows, n_y), or what reduce_func returned

    Raises
    ------
    TypeError, ValueError
        As `pairwise_distances`, and as scikit-learn for what `reduce_func` returns.

    Examples
    --------
    >>> from fastnn.metrics import pairwise_distances_chunked
    >>> next(pairwise_distances_chunked([[0.0], [3.0]], metric="manhattan"))
    array([[0., 3.],
           [3., 0.]])
    """
    squared = metric == "euclidean" and kwds.pop("squared", False)
    name = "sqeuclidean" if squared else metric
    reason = fallback_reason(X, Y, name, kwds)
    if reason is not None:
        with observe("pairwise_distances_chunked", reason):
            yield from _theirs.pairwise_distances_chunked(
                X,
                Y,
                reduce_func=reduce_func,
                metric=metric,
                n_jobs=n_jobs,
                working_memory=working_memory,
                **kwds,
            )
        return
    X, Y, space = _checked((X, X if Y is None else Y), name, kwds)
    space.require_valid(X, "X")
    space.require_valid(Y, "Y")
    n_threads = effective_n_threads(n_jobs)
    may_miss = space.allows_nan
    samples = _with_missing(X, Y, space, n_threads) if may_miss else space.rows(Y, n_threads)
    n_rows = get_chunk_n_rows(8 * Y.shape[0], max_n_rows=X.shape[0], working_memory=working_memory)
    for rows in gen_batches(X.shape[0], n_rows):
        whole = Y is X and n_rows >= X.shape[0]
        distances = np.empty((len(X[rows]), len(samples)), _dtype_of_distances(X))
        if may_miss:
            _fill_among_missing(X[rows], samples, distances, n_threads)
        else:
            queries = samples if whole else space.rows(X[rows], n_threads)
            _fill(queries, samples, space, distances, whole, n_threads)
        if reduce_func is not None:
            reduced = reduce_func(distances, rows.start)
            check_chunk_size(reduced, distances.shape[0])
            distances = reduced
        yield distances
