"""The k nearest neighbors by lower bounds: most pairs are left alone, the others decided exactly.

    rows --fastnn/_search/bounded.py--> codes: a few bytes each, whose distances are lower bounds
      1. seeds: the samples with the smallest bounds; the k-th of their exact distances is a first
         limit for each query
      2. the codes of all pairs meet in the loop of _scan.pyx, tile by tile
           pairs whose bound is within the limit --> push()
             those whose finer bound, of more codes, is too, and then the approximate distance
               --> exact distances --> a lower limit

What is skipped is proven to be too far, so the result is the very same as that of _collect.pyx's:

    Let D(x, y) be the exact distance, c(x), c(y) the codes, with
    unit |c(x) - c(y)| <= D(x, y) + margin(x) + margin(y): for the proof see _search/bounded.py.
    If k samples have evaluated distances of at most t, a sample y can be among the k nearest only
    if its evaluated distance is, and that differs from D by a factor of at most
    1 + (d + 8) 2^-53 [see _index.pyx], so that
        |c(x) - c(y)| <= (t (1 + (d + 8) 2^-52) + margin(x) + margin(y)) / unit.
    With the largest margin of all samples, and once more than twice that factor for the rounding of
    the right side and of its square, this is the radius of a query among codes. Distances of codes
    are whole numbers (L2: roots of such), and exact. Finer codes may be float32: their distances,
    as those of rows, are compared with what approximate ones may be at most.
"""

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int64_t

import numpy as np

cimport numpy as cnp

from ._collect cimport Collector, ListOfNearest, Within
from ._index cimport BY_ROWS, BY_TILES, FlatIndex, Mode
from .._jobs cimport IEEEScope, ieee_scope, run_job, threads_for
from .._rows cimport L2, ExactDistances, Rows, new_distances, norm_of, rows_of
from ._scan cimport Scan, mode_for, new_scan, scan_threads, slice_size
from ._topk cimport Candidate, select_first
from .._tuning cimport (
    FINISH_QUERIES,
    MAX_PENDING,
    MAX_SLICE_QUERIES,
    RADIUS_LIST_BYTES,
    nanoseconds_to_compare,
)

from ._flat import find_neighbors

cnp.import_array()

cdef enum:
    MAX_STAGES = 2


cdef Py_ssize_t keep_within(
    double limit, int64_t *indices, Py_ssize_t n, const double *distances
) noexcept nogil:
    """Move the indices of distances within a limit, or that say nothing, to the front."""
    cdef Py_ssize_t kept = 0, i
    for i in range(n):
        if distances[i] <= limit or not distances[i] <= DBL_MAX:
            indices[kept] = indices[i]
            kept += 1
    return kept


cdef class BoundFilter:
    """What pairs of a slice of queries have to pass, once the first stage has left them.

    Parameters
    ----------
    X, Y : Rows
        Of the slice, and all samples.
    metric : {"l1", "l2", "sqeuclidean"}
    stages : list of (query codes, sample codes, query margins, sample margin, unit)
    n_threads : int
    """

    # Between the rows themselves; between the codes of a finer stage, or None.
    cdef ExactDistances rows, finer
    # Of bytes, approximate distances are exact.
    cdef bint exact_at_once
    cdef bint rooted, squared
    cdef double slack
    cdef int n_threads
    cdef const double *query_margins[MAX_STAGES]
    cdef double sample_margins[MAX_STAGES]
    cdef double units[MAX_STAGES]
    # Of each thread, a cache line apart: pairs that came, and pairs that bounds left.
    cdef int64_t *counts
    cdef object keep_alive

    def __init__(self, Rows X, Rows Y, str metric, list stages, int n_threads):
        cdef Py_ssize_t i
        cdef cnp.ndarray margins
        self.rows = new_distances(X, Y, norm_of(metric), n_threads)
        self.exact_at_once = self.rows.approximates and self.rows.approx_error == 1.0
        self.exact_at_once &= self.rows.approx_underflow == 0.0
        self.rooted, self.squared = metric == "l2", metric == "sqeuclidean"
        self.slack = 1.0 + (Y.n_features + 8) * 2.0 ** -51
        self.n_threads = n_threads
        for i, stage in enumerate(stages):
            margins, self.sample_margins[i], self.units[i] = stage[2:]
            self.query_margins[i] = <const double *>cnp.PyArray_DATA(margins)
        self.finer = None
        if len(stages) > 1:
            self.finer = new_distances(
                rows_of(stages[1][0]), rows_of(stages[1][1]), self.rows.norm, n_threads
            )
        counts = np.zeros((n_threads, 8), np.int64)
        self.counts = <int64_t *>cnp.PyArray_DATA(counts)
        self.keep_alive = stages, counts

    cdef double code_radius(self, int stage, Py_ssize_t query, double limit) noexcept nogil:
        """How far codes may be apart if distances, as they are returned, are within a limit."""
        cdef double margins = self.query_margins[stage][query] + self.sample_margins[stage]
        limit = sqrt(limit) if self.squared else limit
        return (limit * self.slack + margins) * self.slack / self.units[stage]

    cdef Py_ssize_t filter(
        self, Py_ssize_t query, double limit, int64_t *indices, Py_ssize_t n, double *distances,
        int thread,
    ) noexcept nogil:
        """Move the pairs that may be within a limit to the front; return how many."""
        cdef double code_radius
        self.counts[8 * thread] += n
        if self.finer is not None:
            code_radius = self.code_radius(1, query, limit)
            if self.finer.norm == L2:
                code_radius = code_radius * code_radius * (1.0 + 2.0 ** -50)
            self.finer.approximate(query, 1, 0, indices, n, thread, distances)
            code_radius = code_radius * self.finer.approx_error + self.finer.approx_underflow
            n = keep_within(code_radius, indices, n, distances)
        self.counts[8 * thread + 1] += n
        if self.rows.approximates and not self.exact_at_once:
            if self.rooted:
                limit = limit * limit * (1.0 + 2.0 ** -50)
            self.rows.approximate(query, 1, 0, indices, n, thread, distances)
            limit = limit * self.rows.approx_error + self.rows.approx_underflow
            n = keep_within(limit, indices, n, distances)
        return n

    cdef void evaluate(
        self, Py_ssize_t query, const int64_t *indices, Py_ssize_t n, double *distances, int thread
    ) noexcept nogil:
        """The distances that are returned, from the query to some samples."""
        cdef Py_ssize_t i
        if self.exact_at_once:
            self.rows.approximate(query, 1, 0, indices, n, thread, distances)
        else:
            self.rows.evaluate(query, 0, indices, n, thread, distances)
        if self.rooted:
            for i in range(n):
                distances[i] = sqrt(distances[i])

    cdef void add_counts(self, int64_t *totals) noexcept:
        cdef int thread
        for thread in range(self.n_threads):
            totals[0] += self.counts[8 * thread]
            totals[1] += self.counts[8 * thread + 1]


cdef class NearestBeyondBounds(ListOfNearest):
    """The k nearest of every query of a slice; what is scanned are the codes."""

    cdef BoundFilter bound_filter
    # [n_splits][n_queries]: how far codes of neighbors are apart at most, and neighbors themselves.
    cdef double *code_radii
    cdef double *limits
    # [n_queries][n_seeds]
    cdef const int64_t *seeds
    cdef Py_ssize_t n_seeds

    def __init__(self, BoundFilter bound_filter, Py_ssize_t k):
        self.bound_filter, self.k, self.capacity = bound_filter, k, k + MAX_PENDING
        self.list_bytes = self.capacity * sizeof(Candidate)

    cdef object begin(self, Py_ssize_t n_splits, const double *terms, const double *query_errors):
        Collector.begin(self, n_splits, terms, query_errors)
        self.make_lists(2, INFINITY)
        self.code_radii = self.numbers
        self.limits = self.code_radii + self.n_splits * self.n_queries

    # ---- limits ---------------------------------------------------------------------------

    cdef int init_limits(self, const int64_t *seeds, Py_ssize_t n_seeds) except -1:
        """Set the first limits: the exact distances of k seeds for each query."""
        cdef Py_ssize_t n_tasks = self.n_finish_tasks()
        cdef Py_ssize_t n_features = self.bound_filter.rows.Y.n_features
        cdef double n_differences = <double>self.n_queries * n_seeds * n_features
        self.seeds, self.n_seeds = seeds, n_seeds
        return run_job(
            init_limit_task, <void *>self, n_tasks,
            threads_for(self.n_threads, n_tasks, nanoseconds_to_compare(n_differences)),
        )

    cdef void init_limit(self, Py_ssize_t query, int thread) noexcept nogil:
        cdef Candidate *items = self.scratch + thread * self.n_splits * self.capacity
        cdef double *distances = self.scratch_distances + thread * self.n_splits * self.capacity
        cdef const int64_t *seeds = self.seeds + query * self.n_seeds
        cdef Py_ssize_t i, split
        self.bound_filter.evaluate(query, seeds, self.n_seeds, distances, thread)
        for i in range(self.n_seeds):
            items[i].key, items[i].index = -distances[i], seeds[i]
        select_first(items, self.n_seeds, self.k)
        for split in range(self.n_splits):
            self.lower(split * self.n_queries + query, query, -items[self.k - 1].key)

    cdef void lower(self, Py_ssize_t slot, Py_ssize_t query, double limit) noexcept nogil:
        """Pass no pairs of which the distance is proven to be above the limit."""
        cdef double code_radius = self.bound_filter.code_radius(0, query, limit)
        if not code_radius < self.code_radii[slot]:
            return
        self.code_radii[slot], self.limits[slot] = code_radius, limit
        if self.mode == BY_TILES:
            # Lanes are whole numbers, and have to exceed the bound, which is cut to one.
            self.bounds[slot] = self.key_of(query, code_radius) - 1.0

    cdef double limit(self, Py_ssize_t slot) noexcept nogil:
        return self.unrooted(self.code_radii[slot])

    # ---- candidates -----------------------------------------------------------------------

    cdef void take(
        self, Py_ssize_t slot, Py_ssize_t query, double distance, int64_t index, int thread
    ) noexcept nogil:
        self.push(slot, query, 0.0, index, thread)

    cdef void push(
        self, Py_ssize_t slot, Py_ssize_t query, double low, int64_t index, int thread
    ) noexcept nogil:
        self.candidates[slot * self.capacity + self.counts[slot]].index = index
        self.counts[slot] += 1
        if self.counts[slot] == self.capacity:
            self.settle(slot, query, thread)

    cdef void settle(self, Py_ssize_t slot, Py_ssize_t query, int thread) noexcept nogil:
        """Evaluate the pending pairs, keep the k nearest, and lower the limit."""
        cdef Candidate *items = self.candidates + slot * self.capacity
        cdef int64_t *indices = self.scratch_indices + thread * self.n_splits * self.capacity
        cdef double *distances = self.scratch_distances + thread * self.n_splits * self.capacity
        cdef Py_ssize_t first = self.settled[slot], n = self.counts[slot] - first, i
        for i in range(n):
            indices[i] = items[first + i].index
        n = self.bound_filter.filter(query, self.limits[slot], indices, n, distances, thread)
        self.bound_filter.evaluate(query, indices, n, distances, thread)
        for i in range(n):
            items[first + i].key, items[first + i].index = -distances[i], indices[i]
        if first + n >= self.k:
            select_first(items, first + n, self.k)
            self.lower(slot, query, -items[self.k - 1].key)
        self.counts[slot] = self.settled[slot] = min(first + n, self.k)


cdef void init_limit_task(void *nearest, Py_ssize_t task, int thread) noexcept nogil:
    cdef Py_ssize_t n = (<NearestBeyondBounds>nearest).n_queries
    cdef Py_ssize_t start = task * FINISH_QUERIES, query
    for query in range(start, min(start + FINISH_QUERIES, n)):
        (<NearestBeyondBounds>nearest).init_limit(query, thread)


cdef class WithinBeyondBounds(Within):
    """All samples within the radius of each query of a slice; what is scanned are the codes."""

    cdef BoundFilter bound_filter
    # How far codes of neighbors are apart at most, by query.
    cdef double *code_radii

    def __init__(self, BoundFilter bound_filter, double radius, bint by_distance):
        Within.__init__(self, radius, by_distance)
        self.bound_filter, self.many_hits = bound_filter, 0

    cdef object begin(self, Py_ssize_t n_splits, const double *terms, const double *query_errors):
        cdef Py_ssize_t query
        code_radii = np.empty(self.exact.X.n_rows)
        self.code_radii = <double *>cnp.PyArray_DATA(code_radii)
        for query in range(len(code_radii)):
            self.code_radii[query] = self.bound_filter.code_radius(0, query, self.radius)
        Within.begin(self, n_splits, terms, query_errors)
        self.keep_alive = self.keep_alive, code_radii

    cdef double bound_of(self, Py_ssize_t query) noexcept nogil:
        return self.key_of(query, self.code_radii[query]) - 1.0

    cdef double limit(self, Py_ssize_t slot) noexcept nogil:
        return self.unrooted(self.code_radii[slot % self.n_queries])

    cdef void take(
        self, Py_ssize_t slot, Py_ssize_t query, double distance, int64_t index, int thread
    ) noexcept nogil:
        self.push(slot, query, 0.0, index, thread)

    cdef Py_ssize_t find_distances(
        self, Py_ssize_t query, int64_t *indices, Py_ssize_t n, int thread, double *distances
    ) noexcept nogil:
        n = self.bound_filter.filter(query, self.radius, indices, n, distances, thread)
        self.bound_filter.evaluate(query, indices, n, distances, thread)
        return n


cdef BoundFilter filter_for(
    Rows queries, Rows samples, str metric, bounds, encoded, Py_ssize_t start, Py_ssize_t stop,
    int n_threads,
):
    """Return what pairs of queries start to stop have to pass; `encoded` are all queries' codes."""
    stages = [
        (codes[start:stop], bounds.codes[i], margins[start:stop], bounds.margins[i],
         bounds.units[i])
        for i, (codes, margins) in enumerate(encoded)
    ]
    return BoundFilter(queries.part(start, stop), samples, metric, stages, n_threads)


cdef Scan scan_of_codes(
    FlatIndex index, Rows codes, Mode mode, Collector collector, int n_threads
):
    """Return a scan in which all queries meet a block before the next.

    So the rows that are asked for meanwhile come from the cache.
    """
    cdef Scan scan = new_scan(index, codes, mode, collector, n_threads)
    if mode != BY_ROWS and not scan.by_blocks:
        scan.step_rows = index.block_rows
    return scan


def find_neighbors_by_bounds(
    X,
    Y,
    Py_ssize_t k,
    str metric,
    bounds,
    int n_threads,
    object advance=None,
    bint exclude_self=False,
):
    """Return (distances, indices, how many pairs each stage left) of the k nearest, or None.

    Parameters
    ----------
    X, Y : Rows, or ndarray of shape (n_queries, d) and (n_samples, d)
        As for `_flat.find_neighbors`.
    k : int
        1 <= k <= n_samples; with exclude_self k < n_samples.
    metric : {"l1", "l2", "sqeuclidean"}
    bounds : object of `fastnn/_search/bounded.py`
        Made for Y.
    n_threads : int
    advance : callable or None
        Called with the share of the work done since the last call.
    exclude_self : bool
        X is Y, and no row is its own neighbor.

    Returns
    -------
    (ndarray of float64, ndarray of int64, list of int), or None
        The first two of shape (n_queries, k). What was left are pairs after the codes of the first
        stage, and after all. None where the bounds cannot serve such queries.
    """
    cdef Rows queries = rows_of(X), samples = queries if Y is X else rows_of(Y), part, codes
    cdef Py_ssize_t first = 0, start, size, n_seeds, step
    cdef Py_ssize_t n_queries = queries.n_rows, wanted = k + exclude_self
    cdef cnp.npy_intp[2] shape = [n_queries, k]
    cdef int64_t[2] left = [0, 0]
    cdef IEEEScope _ieee = ieee_scope()
    cdef FlatIndex index = bounds.index, seed_index
    cdef NearestBeyondBounds nearest
    cdef BoundFilter bound_filter
    cdef Scan scan
    cdef Mode mode
    cdef cnp.ndarray seeds
    cdef int threads
    distances = cnp.PyArray_EMPTY(2, shape, cnp.NPY_FLOAT64, 0)
    indices = cnp.PyArray_EMPTY(2, shape, cnp.NPY_INT64, 0)
    n_seeds = wanted + bounds.more_seeds
    step, seed_index = bounds.seed_step, bounds.seed_index
    if len(seed_index) < n_seeds:
        step, seed_index = 1, index
    n_seeds = min(n_seeds, len(index))
    while first < n_queries:
        part = queries.part(first, first + MAX_SLICE_QUERIES)
        encoded = bounds.encode(part, n_threads)
        if encoded is None:
            return None
        codes = rows_of(encoded[0][0])
        seeds = find_neighbors(codes, seed_index, n_seeds, index.metric, n_threads)[1]
        seeds *= step
        mode = mode_for(index, codes.n_rows, False)
        threads = scan_threads(index, codes.n_rows, n_threads)
        size = slice_size(index, codes.n_rows, (wanted + MAX_PENDING) * sizeof(Candidate), threads)
        for start in range(0, codes.n_rows, size):
            bound_filter = filter_for(
                part, samples, metric, bounds, encoded, start, start + size, threads
            )
            nearest = NearestBeyondBounds(bound_filter, wanted)
            nearest.write_to(
                <double *>cnp.PyArray_DATA(distances) + (first + start) * k,
                <int64_t *>cnp.PyArray_DATA(indices) + (first + start) * k,
                first + start if exclude_self else -1,
            )
            scan = scan_of_codes(
                index, codes.part(start, start + size), mode, nearest, threads
            )
            nearest.init_limits(<const int64_t *>cnp.PyArray_DATA(seeds) + start * n_seeds, n_seeds)
            scan.run(advance, <double>scan.n_queries / n_queries)
            bound_filter.add_counts(left)
        first += MAX_SLICE_QUERIES
    return distances, indices, list(left)


def find_within_radius_by_bounds(
    X, Y, double radius, str metric, bounds, int n_threads, bint by_distance,
    bint exclude_self=False,
):
    """Return (slices of the rows within the radius, how many pairs each stage left), or None.

    Parameters
    ----------
    X, Y, metric, bounds, n_threads, exclude_self
        As for `find_neighbors_by_bounds`.
    radius, by_distance
        As for `_flat.find_within_radius`, whose slices are returned.
    """
    cdef Rows queries = rows_of(X), samples = queries if Y is X else rows_of(Y), part, codes
    cdef Py_ssize_t first = 0, size
    cdef int64_t[2] left = [0, 0]
    cdef IEEEScope _ieee = ieee_scope()
    cdef FlatIndex index = bounds.index
    cdef WithinBeyondBounds within
    cdef BoundFilter bound_filter
    cdef Mode mode = mode_for(index, queries.n_rows, False)
    n_threads = scan_threads(index, queries.n_rows, n_threads)
    slices = []
    while first < queries.n_rows:
        size = slice_size(index, queries.n_rows, RADIUS_LIST_BYTES, n_threads)
        part = queries.part(first, first + size)
        encoded = bounds.encode(part, n_threads)
        if encoded is None:
            return None
        codes = rows_of(encoded[0][0])
        bound_filter = filter_for(part, samples, metric, bounds, encoded, 0, part.n_rows, n_threads)
        within = WithinBeyondBounds(bound_filter, radius, by_distance)
        within.first_self = first if exclude_self else -1
        scan_of_codes(index, codes, mode, within, n_threads).run(None, 0.0)
        slices.append(within.results())
        bound_filter.add_counts(left)
        first += size
    return slices, list(left)
