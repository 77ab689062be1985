"""Searches of a flat index, in slices of queries."""

from libc.stdint cimport int64_t

cimport numpy as cnp

from ._collect cimport Nearest, Within
from ._index cimport BY_ROWS, FlatIndex, Mode, index_of
from .._jobs cimport IEEEScope, ieee_scope
from .._rows cimport Rows, rows_of
from ._lists cimport Visits
from ._scan cimport (
    Scan,
    mode_for,
    mode_of_visits,
    new_scan,
    scan_threads,
    slice_size,
    visit_threads,
)

cnp.import_array()


def find_neighbors(
    X,
    Y,
    Py_ssize_t k,
    str metric,
    int n_threads,
    bint by_rows=False,
    object advance=None,
    bint exclude_self=False,
    object ranking=None,
):
    """Return (distances, indices) of the k nearest rows of Y to each row of X, or None.

    Parameters
    ----------
    X : Rows, or ndarray of shape (n_queries, d)
        Moved in the same way as those of `Y`. Arrays, plain rows: C-contiguous, of one dtype:
        float32, float64 or uint8.
    Y : FlatIndex, Rows, or ndarray of shape (n_samples, d)
    k : int
        1 <= k <= n_samples; with exclude_self k < n_samples.
    metric : {"l1", "l2", "sqeuclidean", "chebyshev"}
    n_threads : int
    by_rows : bool
        Evaluate every distance.
    advance : callable or None
        Called with the share of the work done since the last call.
    exclude_self : bool
        X has the rows of Y, and no row is its own neighbor.
    ranking : ListRanking of `fastnn/_search/ivf.py`, or None
        Which lists of samples queries visit; Y is a FlatIndex with an order. None: they meet all.

    Returns
    -------
    (ndarray of float64, ndarray of int64), each of shape (n_queries, k), or None
        None when a value is not finite: the caller finds out which.
    """
    cdef FlatIndex index = index_of(Y, metric)
    cdef Rows queries = rows_of(X)
    cdef Py_ssize_t first = 0, n_queries = queries.n_rows, wanted = k + exclude_self, size, of_query
    cdef cnp.npy_intp[2] shape = [n_queries, k]
    cdef Nearest nearest = Nearest(wanted, len(index))
    cdef Rows some
    cdef Visits visits = None
    cdef Scan scan
    cdef IEEEScope _ieee = ieee_scope()
    cdef int threads = scan_threads(index, n_queries, n_threads)
    cdef Mode mode = mode_for(index, n_queries, by_rows)
    if mode != BY_ROWS and ranking is None:
        index.cache_panels(threads)
    of_query = nearest.list_bytes
    if ranking is not None:
        of_query += ranking.query_bytes // n_threads
    size = slice_size(index, n_queries, of_query, n_threads, ranking is not None)
    distances = cnp.PyArray_EMPTY(2, shape, cnp.NPY_FLOAT64, 0)
    indices = cnp.PyArray_EMPTY(2, shape, cnp.NPY_INT64, 0)
    while first < n_queries:
        if first > 0:
            nearest = Nearest(wanted, len(index))
        nearest.write_to(
            <double *>cnp.PyArray_DATA(distances) + first * k,
            <int64_t *>cnp.PyArray_DATA(indices) + first * k,
            first if exclude_self else -1,
        )
        some = queries.part(first, first + size)
        if ranking is not None:
            visits = ranking.visits(some, n_threads)
            mode, threads = mode_of_visits(index, visits), visit_threads(index, visits, n_threads)
        scan = new_scan(index, some, mode, nearest, threads, visits)
        if not scan.run(advance, <double>scan.n_queries / n_queries):
            return None
        first += size
    return distances, indices


def find_within_radius(
    X,
    Y,
    double radius,
    str metric,
    int n_threads,
    bint by_distance,
    bint by_rows=False,
    bint exclude_self=False,
):
    """Return the rows of Y within the radius of each row of X, or None.

    Parameters
    ----------
    X, Y, metric, n_threads, by_rows, exclude_self
        As for `find_neighbors`.
    radius : float
        Not NaN. Squared for "sqeuclidean".
    by_distance : bool
        Neighbors ascend by (distance, index), or by index alone.

    Returns
    -------
    list of (counts, distances, indices), or None
        A slice of the queries each: how many neighbors each query has (int64), their distances
        (float64) and indices (int64), query after query. None when a value is not finite: the
        caller finds out which.
    """
    cdef FlatIndex index = index_of(Y, metric)
    cdef Rows queries = rows_of(X)
    cdef Py_ssize_t first = 0, n_queries = queries.n_rows, size
    cdef Within within = Within(radius, by_distance)
    cdef Scan scan
    cdef IEEEScope _ieee = ieee_scope()
    n_threads = scan_threads(index, n_queries, n_threads)
    cdef Mode mode = mode_for(index, n_queries, by_rows)
    if mode != BY_ROWS:
        index.cache_panels(n_threads)
    size = slice_size(index, n_queries, within.list_bytes, n_threads)
    slices = []
    while first < n_queries:
        if first > 0:
            within = Within(radius, by_distance)
        within.first_self = first if exclude_self else -1
        scan = new_scan(index, queries.part(first, first + size), mode, within, n_threads)
        if not scan.run(None, 0.0):
            return None
        slices.append(within.results())
        first += size
    return slices
