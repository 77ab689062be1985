"""The k nearest neighbors by lower bounds: most pairs are left alone, the others decided exactly.

    rows --fastnn/_bounds.py--> bounding rows: a few numbers each, whose distances are lower bounds
      1. seeds: the samples with the smallest bounds; the k-th of their exact distances is a first
         limit for each query
      2. the bounding rows of all pairs meet in the loop of _scan.pyx, tile by tile
           pairs whose bound is within the limit --> push()
             where rows are long: those whose finer bound is, too
               --> exact distances --> a lower limit

What is skipped is proven to be too far, so the result is the very same as that of _collect.pyx's:

    Let D(x, y) be the exact distance, b(x), b(y) the exact bounding rows, with
    |b(x) - b(y)| <= D(x, y), and b~ the rows as they are stored, |b~(x) - b(x)| <= margin(x): the
    proofs of both stand in fastnn/_bounds.py. If k samples have evaluated distances of at most t,
    a sample y can be among the k nearest only if its evaluated distance is, and that differs from
    D by a factor of at most 1 + (d + 8) 2^-53 [see _index.pyx], so that
        |b~(x) - b~(y)| <= t (1 + (d + 8) 2^-52) + margin(x) + margin(y).
    With the largest margin of all samples this is the reach of a query. That the tiles evaluate
    |b~(x) - b~(y)| in float32 is a matter of the frame: a pair is passed over only if it is beyond
    the reach by more than E.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, floor, sqrt
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

import numpy as np

cimport numpy as cnp

from ._collect cimport Collector, ListOfNearest
from ._index cimport BY_BOUNDS, BY_ROWS, BY_TILES, FlatIndex, Mode
from ._rows cimport L2, ExactDistances, Rows, new_distances, norm_of, rows_of
from ._scan cimport Scan, mode_for, new_scan, slice_size, threads_for
from ._selection cimport Candidate, select_first
from ._threads cimport Threads, gather

from ._search import find_neighbors

cnp.import_array()

cdef enum:
    # Pairs of a query that are decided together: rows further on are asked for meanwhile.
    MAX_PENDING = 48
    # Of the rows themselves: a part of most last-level caches.
    CHUNK_ROW_BYTES = 8 << 20
    # Beyond the k that a limit takes; with them, it is lower.
    MORE_SEEDS = 24
    # Queries that are moved at a time.
    MAX_SLICE_ROWS = 4096
    # Multiplications below which starting threads costs more than it gains.
    MIN_PARALLEL_VALUES = 1 << 16


cdef class NearestBeyondBounds(ListOfNearest):
    """The k nearest of every query of a slice; what is scanned are the bounding rows."""

    # Between the rows themselves.
    cdef ExactDistances row_distances
    cdef bint rooted_distance, squared_distance
    cdef double slack, sample_margin, unit
    cdef const double *query_margins
    # Between the finer bounding rows; None: there are none.
    cdef ExactDistances finer
    cdef double finer_sample_margin
    cdef const double *finer_query_margins
    cdef void *memory
    # [n_splits][n_queries][capacity]: exact distances (keys are -distance), then pending indices.
    cdef Candidate *candidates
    cdef Py_ssize_t *counts
    cdef Py_ssize_t *exact_counts
    cdef double *reaches
    # What neighbors are within, not squared.
    cdef double *limits
    # [n_threads][n_splits * capacity]
    cdef int64_t *scratch_indices
    cdef double *scratch_distances
    # Exact distances of each thread, a cache line apart.
    cdef int64_t *evaluated

    def __init__(
        self, Rows X, Rows Y, str metric, Py_ssize_t k, cnp.ndarray margins, double sample_margin,
        double unit, int n_threads, finer=None,
    ):
        self.k, self.capacity = k, k + MAX_PENDING
        self.list_bytes = self.capacity * sizeof(Candidate)
        self.row_distances = new_distances(X, Y, norm_of(metric), n_threads)
        self.rooted_distance = metric == "l2"
        self.squared_distance = metric == "sqeuclidean"
        self.slack = 1.0 + (Y.n_features + 8) * 2.0 ** -51
        self.query_margins, self.sample_margin = <double *>cnp.PyArray_DATA(margins), sample_margin
        self.unit = unit * (1.0 - 2.0 ** -50)
        self.finer = None
        cdef cnp.ndarray finer_margins
        if finer is not None:
            X, Y, finer_margins, self.finer_sample_margin = finer
            self.finer = new_distances(X, Y, L2, n_threads)
            self.finer_query_margins = <double *>cnp.PyArray_DATA(finer_margins)

    cdef object begin(self, Py_ssize_t n_splits, const double *terms, const double *query_errors):
        Collector.begin(self, n_splits, terms, query_errors)
        cdef Py_ssize_t slots = self.n_splits * self.n_queries, i
        cdef Py_ssize_t per_thread = self.n_threads * self.n_splits * self.capacity
        self.memory = malloc(
            (slots * self.capacity + per_thread) * sizeof(Candidate)
            + slots * (2 * sizeof(Py_ssize_t) + 2 * sizeof(double))
            + per_thread * (sizeof(int64_t) + sizeof(double))
            + 8 * self.n_threads * sizeof(int64_t)
        )
        if self.memory == NULL:
            raise MemoryError()
        self.candidates = <Candidate *>self.memory
        self.scratch = self.candidates + slots * self.capacity
        self.counts = <Py_ssize_t *>(self.scratch + per_thread)
        self.exact_counts = self.counts + slots
        self.reaches = <double *>(self.exact_counts + slots)
        self.limits = self.reaches + slots
        self.scratch_indices = <int64_t *>(self.limits + slots)
        self.scratch_distances = <double *>(self.scratch_indices + per_thread)
        self.evaluated = <int64_t *>(self.scratch_distances + per_thread)
        memset(self.counts, 0, 2 * slots * sizeof(Py_ssize_t))
        memset(self.evaluated, 0, 8 * self.n_threads * sizeof(int64_t))
        for i in range(slots):
            self.reaches[i] = self.limits[i] = INFINITY

    def __dealloc__(self):
        free(self.memory)

    # ---- limits ---------------------------------------------------------------------------

    cdef void plant(self, const int64_t *seeds, Py_ssize_t n_seeds):
        """Set the first limits: the exact distances of k seeds for each query."""
        cdef Py_ssize_t query
        with nogil:
            for query in prange(
                self.n_queries, num_threads=max(1, min(self.n_threads, self.n_queries)),
                schedule="dynamic", chunksize=16, use_threads_if=self.n_threads > 1,
            ):
                self.plant_query(query, seeds + query * n_seeds, n_seeds, threadid())

    cdef void plant_query(
        self, Py_ssize_t query, const int64_t *seeds, Py_ssize_t n_seeds, int thread
    ) noexcept nogil:
        cdef Candidate *items = self.scratch + thread * self.n_splits * self.capacity
        cdef double *distances = self.scratch_distances + thread * self.n_splits * self.capacity
        cdef Py_ssize_t i, split
        self.evaluate(query, seeds, n_seeds, distances, thread)
        for i in range(n_seeds):
            items[i].key, items[i].index = -distances[i], seeds[i]
        select_first(items, n_seeds, self.k)
        for split in range(self.n_splits):
            self.lower(split * self.n_queries + query, query, -items[self.k - 1].key)

    cdef void evaluate(
        self, Py_ssize_t query, const int64_t *indices, Py_ssize_t n, double *distances, int thread
    ) noexcept nogil:
        """The distances that are returned, from the query to some samples."""
        cdef Py_ssize_t i
        self.row_distances.evaluate(query, 0, indices, n, thread, distances)
        self.evaluated[8 * thread] += n
        if self.rooted_distance:
            for i in range(n):
                distances[i] = sqrt(distances[i])

    cdef void lower(self, Py_ssize_t slot, Py_ssize_t query, double limit) noexcept nogil:
        """Pass no pairs of which the distance is proven to be above the limit."""
        cdef double bound, reach
        limit = sqrt(limit) if self.squared_distance else limit
        reach = self.reach(limit, self.query_margins[query] + self.sample_margin) / self.unit
        if not reach < self.reaches[slot]:
            return
        self.reaches[slot], self.limits[slot] = reach, limit
        if self.mode == BY_TILES:
            # Lanes are -|codes of x - codes of y|, and have to exceed the bound.
            self.bounds[slot] = -reach - 1.0
        elif self.mode == BY_BOUNDS:
            bound = self.key_of(query, reach)
            self.bounds[slot] = bound if bound > -1e38 else -INFINITY

    cdef double reach(self, double limit, double margins) noexcept nogil:
        """How far bounding rows of neighbors may be apart."""
        return (limit * self.slack + margins) * self.slack

    cdef double limit(self, Py_ssize_t slot) noexcept nogil:
        return self.unrooted(self.reaches[slot])

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
            self.decide(slot, query, thread)

    cdef void decide(self, Py_ssize_t slot, Py_ssize_t query, int thread) noexcept nogil:
        """Evaluate the pending pairs, keep the k nearest, and lower the limit."""
        cdef Candidate *items = self.candidates + slot * self.capacity
        cdef int64_t *indices = self.scratch_indices + thread * self.n_splits * self.capacity
        cdef double *distances = self.scratch_distances + thread * self.n_splits * self.capacity
        cdef Py_ssize_t first = self.exact_counts[slot], n = self.counts[slot] - first, i
        for i in range(n):
            indices[i] = items[first + i].index
        if self.finer is not None:
            n = self.sift(slot, query, indices, n, distances, thread)
        self.evaluate(query, indices, n, distances, thread)
        for i in range(n):
            items[first + i].key, items[first + i].index = -distances[i], indices[i]
        if first + n >= self.k:
            select_first(items, first + n, self.k)
            self.lower(slot, query, -items[self.k - 1].key)
        self.counts[slot] = self.exact_counts[slot] = min(first + n, self.k)

    cdef Py_ssize_t sift(
        self, Py_ssize_t slot, Py_ssize_t query, int64_t *indices, Py_ssize_t n,
        double *distances, int thread,
    ) noexcept nogil:
        """Keep what finer bounds leave; return how many that are."""
        cdef Py_ssize_t kept = 0, i
        cdef double reach = self.reach(
            self.limits[slot], self.finer_query_margins[query] + self.finer_sample_margin
        )
        self.finer.evaluate(query, 0, indices, n, thread, distances)
        for i in range(n):
            if sqrt(distances[i]) <= reach:
                indices[kept] = indices[i]
                kept += 1
        return kept

    # ---- results --------------------------------------------------------------------------

    cdef void merge(self, Py_ssize_t query, Candidate *items, int thread) noexcept nogil:
        cdef Py_ssize_t n = 0, split, slot
        for split in range(self.n_splits):
            slot = split * self.n_queries + query
            self.decide(slot, query, thread)
            memcpy(
                items + n, self.candidates + slot * self.capacity,
                self.counts[slot] * sizeof(Candidate),
            )
            n += self.counts[slot]
        select_first(items, n, self.k)

    cdef int64_t n_evaluated(self) noexcept:
        cdef int64_t total = 0
        cdef int thread
        for thread in range(self.n_threads):
            total += self.evaluated[8 * thread]
        return total


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
    """Return (distances, indices, how many were evaluated) of the k nearest rows of Y, or None.

    Parameters
    ----------
    X, Y : Rows, or ndarray of shape (n_queries, d) and (n_samples, d)
        As for `_search.find_neighbors`.
    k : int
        1 <= k <= n_samples; with exclude_self k < n_samples.
    metric : {"l1", "l2", "sqeuclidean"}
    bounds : object of `fastnn/_bounds.py`
        Made for Y: `index` (of the bounding rows) and `margin`, `unit` (what a distance of 1
        between bounding rows stands for), `finer` ([] or a second stage's rows and margin), and
        `move`, which returns rows and margins of each stage for queries.
    n_threads : int
    advance : callable or None
        Called with the share of the work done since the last call.
    exclude_self : bool
        X is Y, and no row is its own neighbor.

    Returns
    -------
    (ndarray of float64, ndarray of int64, int), or None
        The first two of shape (n_queries, k); how many distances were evaluated. None where the
        bounds cannot serve such queries.
    """
    cdef Rows queries = rows_of(X), samples = queries if Y is X else rows_of(Y), part, rows
    cdef Py_ssize_t first = 0, start, size, n_seeds, blocks
    cdef Py_ssize_t n_queries = queries.n_rows, wanted = k + exclude_self
    cdef cnp.npy_intp[2] shape = [n_queries, k]
    cdef int64_t evaluated = 0
    cdef Threads _gathered = gather(n_threads)
    cdef FlatIndex index = bounds.index
    cdef NearestBeyondBounds nearest
    cdef Scan scan
    cdef Mode mode
    cdef cnp.ndarray seeds
    cdef int threads
    distances = cnp.PyArray_EMPTY(2, shape, cnp.NPY_FLOAT64, 0)
    indices = cnp.PyArray_EMPTY(2, shape, cnp.NPY_INT64, 0)
    while first < n_queries:
        part = queries.part(first, first + MAX_SLICE_ROWS)
        moved = bounds.move(part, n_threads)
        if moved is None:
            return None
        rows, margins = rows_of(moved[0][0]), moved[0][1]
        n_seeds = min(wanted + MORE_SEEDS, samples.n_rows)
        found = find_neighbors(rows, index, n_seeds, index.metric, n_threads)
        if found is None:
            return None
        seeds = found[1]
        mode = mode_for(index, rows.n_rows, False)
        threads = threads_for(index, rows.n_rows, n_threads)
        size = slice_size(index, rows.n_rows, (wanted + MAX_PENDING) * sizeof(Candidate), threads)
        for start in range(0, rows.n_rows, size):
            finer = None
            if bounds.finer:
                finer = (
                    rows_of(moved[1][0]).part(start, start + size), rows_of(bounds.finer[0][0]),
                    moved[1][1][start:start + size], bounds.finer[0][1],
                )
            nearest = NearestBeyondBounds(
                part.part(start, start + size), samples, metric, wanted,
                margins[start:start + size], bounds.margin, bounds.unit, threads, finer,
            )
            scan = new_scan(index, rows.part(start, start + size), mode, nearest, threads)
            if mode != BY_ROWS:  # which has no blocks
                # All queries meet a chunk before the next, so that its rows come from the cache.
                blocks = max(1, CHUNK_ROW_BYTES // (samples.row_bytes * index.block_rows))
                scan.step_rows = min(scan.step_rows, blocks * index.block_rows)
            nearest.plant(<const int64_t *>cnp.PyArray_DATA(seeds) + start * n_seeds, n_seeds)
            if not scan.run(advance, <double>scan.n_queries / n_queries):
                return None
            nearest.finish(
                <double *>cnp.PyArray_DATA(distances) + (first + start) * k,
                <int64_t *>cnp.PyArray_DATA(indices) + (first + start) * k,
                first + start if exclude_self else -1,
            )
            evaluated += nearest.n_evaluated()
        first += MAX_SLICE_ROWS
    return distances, indices, evaluated


# ---- sums of groups of features -----------------------------------------------------------------


ctypedef fused value_t:
    float
    double
    uint8_t


cdef void add_groups(
    const value_t *row, const int64_t *groups, Py_ssize_t n_features, double *sums, double *size
) noexcept nogil:
    cdef Py_ssize_t j
    cdef double value, total = 0.0
    for j in range(n_features):
        value = row[j]
        sums[groups[j]] += value
        total += value if value >= 0 else -value
    size[0] = total


def sum_groups(
    const value_t[:, ::1] X, const int64_t[::1] groups, const double[::1] centers, double unit,
    uint8_t[:, ::1] codes, double[::1] sizes, int n_threads,
):
    """Write codes for the sums of groups of features, and the rows' L1 norms.

    A code is floor((sum - center) / unit) + 128, cut to 0 to 255.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32, float64 or uint8
    groups : ndarray of shape (d,), int64
        Each feature's group.
    centers : ndarray of shape (n_groups,), float64
    unit : float
    codes : ndarray of shape (n, n_groups), uint8
    sizes : ndarray of shape (n,), float64
    n_threads : int
    """
    cdef Py_ssize_t n = X.shape[0], d = X.shape[1], n_groups = centers.shape[0], i, g
    cdef double[:, ::1] scratch = np.empty((n_threads, n_groups + 8))
    cdef double *totals
    if n * d < MIN_PARALLEL_VALUES:
        n_threads = 1
    for i in prange(
        n, nogil=True, num_threads=n_threads, schedule="static", use_threads_if=n_threads > 1
    ):
        totals = &scratch[threadid(), 0]
        memset(totals, 0, n_groups * sizeof(double))
        add_groups(&X[i, 0], &groups[0], d, totals, &sizes[i])
        for g in range(n_groups):
            codes[i, g] = code_of((totals[g] - centers[g]) / unit)


cdef uint8_t code_of(double value) noexcept nogil:
    # What is not finite becomes a code too: the row's norm tells.
    value = floor(value) + 128.0
    return <uint8_t>value if 0.0 <= value <= 255.0 else 255 if value > 255.0 else 0
