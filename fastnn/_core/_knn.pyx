"""The k nearest neighbors: candidates of each query in the frame of _search.pyx.

A pair's key computed with an error of at most E gives a lower bound kappa~ - E. A query's bound L
is the k-th largest lower bound so far: k samples have kappa >= L, so one with kappa~ + E < L is not
among the k nearest. All others are kept, and their distances are evaluated in float64 difference
form, which alone decides.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport sqrt
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

cimport numpy as cnp

from ._rows cimport Rows, rows_of
from ._search cimport BY_BOUNDS, BY_TILES, SearchPlan, TileSearch, plan_search
from ._selection cimport Candidate, leave_out, select_first, sort_candidates

cnp.import_array()


cdef class NeighborSearch(TileSearch):
    """The k nearest of every query of a slice."""

    cdef Py_ssize_t k, capacity
    cdef void *memory
    # [n_splits][n_queries] each; capacity candidates a slot
    cdef Candidate *candidates
    cdef Py_ssize_t *counts
    # [n_threads][n_splits * capacity] each
    cdef Candidate *scratch
    cdef int64_t *scratch_indices
    cdef double *scratch_distances

    cdef int allocate(self, Py_ssize_t k) except -1:
        """Take all of the candidates' memory in one piece."""
        self.k = k
        self.capacity = candidate_capacity(k, self.n_samples)
        cdef Py_ssize_t slots = self.n_splits * self.n_queries
        cdef Py_ssize_t per_thread = self.n_threads * self.n_splits * self.capacity, i
        self.memory = malloc(
            (slots * self.capacity + per_thread) * sizeof(Candidate)
            + slots * sizeof(Py_ssize_t)
            + per_thread * (sizeof(int64_t) + sizeof(double))
        )
        if self.memory == NULL:
            raise MemoryError()
        self.candidates = <Candidate *>self.memory
        self.scratch = self.candidates + slots * self.capacity
        self.counts = <Py_ssize_t *>(self.scratch + per_thread)
        self.scratch_indices = <int64_t *>(self.counts + slots)
        self.scratch_distances = <double *>(self.scratch_indices + per_thread)
        for i in range(slots):
            self.counts[i] = 0
        return 0

    def __dealloc__(self):
        free(self.memory)

    # ---- candidates -----------------------------------------------------------------------

    cdef void push(
        self, Py_ssize_t slot, Py_ssize_t query, double key, int64_t index, int thread
    ) noexcept nogil:
        cdef Candidate *items = self.candidates + slot * self.capacity
        items[self.counts[slot]].key = key
        items[self.counts[slot]].index = index
        self.counts[slot] += 1
        if self.counts[slot] == self.capacity:
            self.compact(slot, query, thread)

    cdef void compact(self, Py_ssize_t slot, Py_ssize_t query, int thread) noexcept nogil:
        """Raise the bound to the k-th key and drop what can no longer be among the k nearest."""
        cdef Candidate *items = self.candidates + slot * self.capacity
        cdef Py_ssize_t n = self.counts[slot], kept = self.k, i
        select_first(items, n, self.k)
        if items[self.k - 1].key > self.bounds[slot]:
            self.bounds[slot] = items[self.k - 1].key
        if self.mode == BY_BOUNDS:
            for i in range(self.k, n):
                if items[i].key + 2.0 * self.error_of(query, items[i].index) >= self.bounds[slot]:
                    items[kept] = items[i]
                    kept += 1
            if kept > self.k + (self.capacity - self.k) // 2:
                # Bounds cannot tell these apart (near-ties, duplicates): distances must.
                self.order_exactly(items, kept, query, thread)
                kept = self.k
                for i in range(kept):
                    items[i].key = self.lower_bound(query, items[i])
        self.counts[slot] = kept

    cdef void order_exactly(
        self, Candidate *items, Py_ssize_t n, Py_ssize_t query, int thread
    ) noexcept nogil:
        """Replace the keys by -distance and move the k nearest to the front."""
        cdef int64_t *indices = self.scratch_indices + thread * self.n_splits * self.capacity
        cdef double *distances = self.scratch_distances + thread * self.n_splits * self.capacity
        cdef Py_ssize_t i
        for i in range(n):
            indices[i] = items[i].index
        self.exact.evaluate(query, 0, indices, n, thread, distances)
        for i in range(n):
            items[i].key = -self.rooted(distances[i])
        select_first(items, n, self.k)

    cdef double lower_bound(self, Py_ssize_t query, Candidate item) noexcept nogil:
        """The key's lower bound for a candidate whose exact distance is known."""
        return self.key_of(query, -item.key) - self.error_of(query, item.index)

    cdef double row_limit(self, Py_ssize_t slot) noexcept nogil:
        return self.unrooted(-self.bounds[slot])

    # ---- results --------------------------------------------------------------------------

    cdef void finish(self, double *distances, int64_t *indices, Py_ssize_t first_self):
        """Write each query's k neighbors, ascending by (distance, index).

        Query q is sample first_self + q and left out, unless first_self is negative.
        """
        cdef Py_ssize_t query, width = self.k - (first_self >= 0)
        with nogil:
            for query in prange(
                self.n_queries,
                num_threads=max(1, min(self.n_threads, self.n_queries)),
                schedule="dynamic",
                chunksize=16,
                use_threads_if=self.n_threads > 1 and self.n_queries > 16,
            ):
                self.finish_query(
                    query, distances + query * width, indices + query * width,
                    first_self + query if first_self >= 0 else -1, threadid(),
                )

    cdef void finish_query(
        self, Py_ssize_t query, double *distances, int64_t *indices, int64_t itself, int thread
    ) noexcept nogil:
        cdef Candidate *items = self.scratch + thread * self.n_splits * self.capacity
        cdef Py_ssize_t n = 0, kept = 0, split, slot, i
        cdef double distance, bound
        for split in range(self.n_splits):
            slot = split * self.n_queries + query
            for i in range(self.counts[slot]):
                items[n] = self.candidates[slot * self.capacity + i]
                n += 1
        select_first(items, n, self.k)
        if self.mode == BY_BOUNDS:
            bound = items[self.k - 1].key
            for i in range(n):
                if items[i].key + 2.0 * self.error_of(query, items[i].index) >= bound:
                    items[kept] = items[i]
                    kept += 1
            self.order_exactly(items, kept, query, thread)
        sort_candidates(items, self.k)
        kept = self.k
        if itself >= 0:
            kept = leave_out(items, self.k, itself)
        for i in range(kept):
            distance = -items[i].key
            if self.mode == BY_TILES:
                distance = self.queries.terms[query] + distance
                if self.root:
                    distance = sqrt(distance)
            distances[i] = distance
            indices[i] = items[i].index


cdef Py_ssize_t candidate_capacity(Py_ssize_t k, Py_ssize_t n_samples):
    """Room for k more candidates, and for a fair number where k is small."""
    return min(2 * k + 48, max(n_samples, k) + 1)


def find_neighbors(
    X,
    Y,
    Py_ssize_t k,
    str metric,
    int n_threads,
    bint by_rows=False,
    object advance=None,
    bint exclude_self=False,
):
    """Return (distances, indices) of the k nearest rows of Y to each row of X, or None.

    Parameters
    ----------
    X, Y : Rows, or ndarray of shape (n_queries, d) and (n_samples, d)
        Moved in the same way; arrays, plain rows: C-contiguous, of one dtype: float32, float64 or
        uint8.
    k : int
        1 <= k <= n_samples; with exclude_self k < n_samples.
    metric : {"l1", "l2", "sqeuclidean", "chebyshev"}
    n_threads : int
    by_rows : bool
        Evaluate every distance in float64, for values that no tile can hold; all values are finite.
    advance : callable or None
        Called with the share of the work done since the last call.
    exclude_self : bool
        X is Y, and no row is its own neighbor.

    Returns
    -------
    (ndarray of float64, ndarray of int64), each of shape (n_queries, k), or None
        None when a value is not finite, or too large or small for tiles: the caller finds out
        which, and calls again with `by_rows`.
    """
    cdef Rows queries = rows_of(X), samples = queries if Y is X else rows_of(Y)
    cdef Py_ssize_t first = 0, n_queries = queries.n_rows, wanted = k + exclude_self
    cdef cnp.npy_intp[2] shape = [n_queries, k]
    cdef NeighborSearch search
    cdef SearchPlan plan = plan_search(
        queries, samples, metric, n_threads, by_rows,
        candidate_capacity(wanted, samples.n_rows) * sizeof(Candidate),
    )
    if plan is None:
        return None
    distances = cnp.PyArray_EMPTY(2, shape, cnp.NPY_FLOAT64, 0)
    indices = cnp.PyArray_EMPTY(2, shape, cnp.NPY_INT64, 0)
    while first < n_queries:
        search = NeighborSearch(
            plan.X.part(first, first + plan.slice_queries), plan.Y, metric, plan.mode, plan.center,
            plan.scale, plan.n_threads,
        )
        search.allocate(wanted)
        if not search.scan_all(advance, <double>search.n_queries / n_queries, by_rows):
            return None
        search.finish(
            <double *>cnp.PyArray_DATA(distances) + first * k,
            <int64_t *>cnp.PyArray_DATA(indices) + first * k,
            first if exclude_self else -1,
        )
        first += plan.slice_queries
    return distances, indices
