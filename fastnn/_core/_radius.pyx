"""All neighbors within a radius: growing lists of candidates in the frame of _search.pyx.

The bound of a query is the key of the radius itself, so it does not move. What passes is kept by
its index alone; at the end of a slice the exact distances decide. Memory grows with the results.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, malloc, realloc

import numpy as np

cimport numpy as cnp

from ._rows cimport Rows, rows_of
from ._search cimport BY_ROWS, BY_TILES, SearchPlan, TileSearch, plan_search
from ._selection cimport Candidate, sort_by_index, sort_candidates

cnp.import_array()

cdef enum:
    FIRST_CAPACITY = 32
    # A guess of what a query's candidates take, for the size of a slice.
    QUERY_BYTES = 4096


cdef struct Hits:
    int64_t *indices
    Py_ssize_t n
    Py_ssize_t capacity


cdef class RadiusSearch(TileSearch):
    """All samples within the radius of every query of a slice."""

    cdef double radius
    cdef bint by_distance
    # [n_splits][n_queries]
    cdef Hits *hits
    # [n_queries]: the neighbors, ascending, and how many there are
    cdef Candidate **neighbors
    cdef Py_ssize_t *counts
    cdef bint out_of_memory

    cdef int start(self, double radius, bint by_distance) except -1:
        cdef Py_ssize_t slots = self.n_splits * self.n_queries, slot
        self.radius = radius
        self.by_distance = by_distance
        self.hits = <Hits *>calloc(slots, sizeof(Hits))
        self.neighbors = <Candidate **>calloc(self.n_queries, sizeof(Candidate *))
        self.counts = <Py_ssize_t *>calloc(self.n_queries, sizeof(Py_ssize_t))
        if self.hits == NULL or self.neighbors == NULL or self.counts == NULL:
            raise MemoryError()
        if self.mode != BY_ROWS:
            for slot in range(slots):
                self.bounds[slot] = self.bound(slot % self.n_queries)
        return 0

    def __dealloc__(self):
        cdef Py_ssize_t i
        if self.hits != NULL:
            for i in range(self.n_splits * self.n_queries):
                free(self.hits[i].indices)
        if self.neighbors != NULL:
            for i in range(self.n_queries):
                free(self.neighbors[i])
        free(self.hits)
        free(self.neighbors)
        free(self.counts)

    cdef double bound(self, Py_ssize_t query) noexcept nogil:
        cdef double key
        if self.mode == BY_TILES:
            # Integer lanes have to exceed the bound; a little too low does no harm.
            return self.queries.terms[query] - self.unrooted(self.radius) - 1.0
        key = self.key_of(query, self.radius)
        return key if key > -1e38 else -INFINITY

    cdef double row_limit(self, Py_ssize_t slot) noexcept nogil:
        return self.unrooted(self.radius)

    cdef void push(
        self, Py_ssize_t slot, Py_ssize_t query, double key, int64_t index, int thread
    ) noexcept nogil:
        cdef Hits *hits = &self.hits[slot]
        cdef Py_ssize_t capacity
        cdef int64_t *grown
        if hits.n == hits.capacity:
            capacity = max(<Py_ssize_t>FIRST_CAPACITY, 2 * hits.capacity)
            grown = <int64_t *>realloc(hits.indices, capacity * sizeof(int64_t))
            if grown == NULL:
                self.out_of_memory = True
                return
            hits.indices = grown
            hits.capacity = capacity
        hits.indices[hits.n] = index
        hits.n += 1

    # ---- results --------------------------------------------------------------------------

    cdef object finish(self, Py_ssize_t first_self):
        """Return (counts, distances, indices) of the slice, one query after the other.

        Query q is sample first_self + q and left out, unless first_self is negative.
        """
        cdef Py_ssize_t query, n_threads = max(1, min(self.n_threads, self.n_queries))
        cdef bint parallel = self.n_threads > 1
        cdef int64_t[::1] starts
        with nogil:
            for query in prange(
                self.n_queries, num_threads=n_threads, schedule="dynamic", chunksize=16,
                use_threads_if=parallel,
            ):
                self.decide(query, first_self + query if first_self >= 0 else -1, threadid())
        if self.out_of_memory:
            raise MemoryError()
        counts = np.empty(self.n_queries, dtype=np.int64)
        for query in range(self.n_queries):
            counts[query] = self.counts[query]
        starts = np.concatenate(([0], np.cumsum(counts)))
        distances = np.empty(starts[self.n_queries])
        indices = np.empty(starts[self.n_queries], dtype=np.int64)
        cdef double *distances_data = <double *>cnp.PyArray_DATA(distances)
        cdef int64_t *indices_data = <int64_t *>cnp.PyArray_DATA(indices)
        with nogil:
            for query in prange(
                self.n_queries, num_threads=n_threads, schedule="dynamic", chunksize=16,
                use_threads_if=parallel,
            ):
                self.write(query, distances_data + starts[query], indices_data + starts[query])
        return counts, distances, indices

    cdef void decide(self, Py_ssize_t query, int64_t itself, int thread) noexcept nogil:
        """Evaluate the exact distances of a query's candidates; keep and sort its neighbors."""
        cdef Py_ssize_t n = 0, first = 0, kept = 0, split, i
        cdef Hits *hits
        cdef Candidate *items
        cdef double *distances
        for split in range(self.n_splits):
            n += self.hits[split * self.n_queries + query].n
        if n == 0:
            return
        items = <Candidate *>malloc(n * sizeof(Candidate))
        distances = <double *>malloc(n * sizeof(double))
        self.neighbors[query] = items
        if items == NULL or distances == NULL:
            self.out_of_memory = True
            free(distances)
            return
        for split in range(self.n_splits):
            hits = &self.hits[split * self.n_queries + query]
            self.exact.evaluate(query, 0, hits.indices, hits.n, thread, distances + first)
            for i in range(hits.n):
                distances[first + i] = self.rooted(distances[first + i])
                if distances[first + i] <= self.radius and hits.indices[i] != itself:
                    items[kept].key = -distances[first + i]
                    items[kept].index = hits.indices[i]
                    kept = kept + 1
            first = first + hits.n
            free(hits.indices)
            hits.indices = NULL
        if self.by_distance:
            sort_candidates(items, kept)
        elif self.n_splits > 1:  # each split's candidates come in order
            sort_by_index(items, kept)
        free(distances)
        self.counts[query] = kept

    cdef void write(self, Py_ssize_t query, double *distances, int64_t *indices) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(self.counts[query]):
            distances[i] = -self.neighbors[query][i].key
            indices[i] = self.neighbors[query][i].index
        free(self.neighbors[query])
        self.neighbors[query] = NULL


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
    X, Y : Rows, or ndarray of shape (n_queries, d) and (n_samples, d)
        Moved in the same way; arrays, plain rows: C-contiguous, of one dtype: float32, float64 or
        uint8.
    radius : float
        Not NaN. Squared for "sqeuclidean".
    metric : {"l1", "l2", "sqeuclidean", "chebyshev"}
    n_threads : int
    by_distance : bool
        Neighbors ascend by (distance, index), or by index alone.
    by_rows : bool
        Evaluate every distance in float64, for values that no tile can hold; all values are finite.
    exclude_self : bool
        X is Y, and no row is its own neighbor.

    Returns
    -------
    list of (counts, distances, indices), or None
        A slice of the queries each: how many neighbors each query has (int64), their distances
        (float64) and indices (int64), query after query. None when a value is not finite, or too
        large or small for tiles: the caller finds out which, and calls again with `by_rows`.
    """
    cdef Rows queries = rows_of(X), samples = queries if Y is X else rows_of(Y)
    cdef Py_ssize_t first = 0, n_queries = queries.n_rows
    cdef RadiusSearch search
    cdef SearchPlan plan = plan_search(queries, samples, metric, n_threads, by_rows, QUERY_BYTES)
    if plan is None:
        return None
    slices = []
    while first < n_queries:
        search = RadiusSearch(
            plan.X.part(first, first + plan.slice_queries), plan.Y, metric, plan.mode, plan.center,
            plan.scale, plan.n_threads,
        )
        search.start(radius, by_distance)
        if not search.scan_all(None, 0.0, by_rows):
            return None
        slices.append(search.finish(first if exclude_self else -1))
        first += plan.slice_queries
    return slices
