"""Searches among rows of which values are missing: NaN.

The distance of two rows is taken over the features that both have, and made up for the others:

    d(x, y)² = n_features / m * (the sum of squares of differences over m features),

NaN where m = 0 [1]_. Every distance is evaluated in float64, in difference form, block of samples
by block, in one order: ties go to the smaller index, and results do not depend on threads.

A query may ask for several lists at once, each of the k nearest that have a value of one feature.
All come from one pass over the samples: of a block, those within the largest limit of the query's
lists are visited one by one.

    queries, some for a task --> blocks of samples, one after the other (each stays in the cache)
        kernel: distances, and who is within the limit --> the lists that want this sample

References
----------
.. [1] J. K. Dixon, "Pattern recognition with partly missing data", IEEE Transactions on Systems,
   Man, and Cybernetics 9 (1979).
"""

from libc.math cimport INFINITY, NAN, isnan, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memmove

import numpy as np

cimport numpy as cnp

from .._dispatch cimport FNN_MAX_BLOCK_POINTS, active_kernels, fnn_lowest_bit, fnn_missing_points
from .._jobs cimport IEEEScope, ieee_scope, run_job, threads_for
from .._tuning cimport (
    MISSING_BLOCKS_PER_TASK,
    QUERIES_PER_TASK,
    nanoseconds_to_compare,
    nanoseconds_to_pack,
)

cnp.import_array()

cdef enum:
    WIDTH = FNN_MAX_BLOCK_POINTS


cdef class RowsWithMissing:
    """Samples, packed in blocks: [n_blocks][n_features][WIDTH], NaN beyond the last. Immutable.

    Parameters
    ----------
    values : ndarray of shape (n, d), float64
        C-contiguous; NaN or finite.
    n_threads : int
    """

    cdef readonly Py_ssize_t n_rows, n_features, n_blocks
    cdef const double *values
    cdef double *blocks
    cdef object keep_alive

    def __init__(self, const double[:, ::1] values, int n_threads):
        self.n_rows, self.n_features = values.shape[0], values.shape[1]
        self.n_blocks = (self.n_rows + WIDTH - 1) // WIDTH
        self.values = &values[0, 0]
        blocks = np.empty((self.n_blocks, self.n_features, WIDTH))
        self.blocks = <double *>cnp.PyArray_DATA(blocks)
        self.keep_alive = values, blocks
        cdef Py_ssize_t n_tasks = self.n_tasks()
        n_threads = threads_for(
            n_threads, n_tasks, nanoseconds_to_pack(<double>self.n_rows * self.n_features)
        )
        run_job(pack_task, <void *>self, n_tasks, n_threads)

    def __len__(self):
        return self.n_rows

    @property
    def nbytes(self):
        return self.keep_alive[1].nbytes

    cdef Py_ssize_t n_tasks(self) noexcept nogil:
        return (self.n_blocks + MISSING_BLOCKS_PER_TASK - 1) // MISSING_BLOCKS_PER_TASK

    cdef const double *block(self, Py_ssize_t block) noexcept nogil:
        return self.blocks + block * self.n_features * WIDTH

    cdef void pack(self, Py_ssize_t block) noexcept nogil:
        cdef double *target = self.blocks + block * self.n_features * WIDTH
        cdef Py_ssize_t i, k, row
        for i in range(WIDTH):
            row = block * WIDTH + i
            for k in range(self.n_features):
                target[k * WIDTH + i] = (
                    self.values[row * self.n_features + k] if row < self.n_rows else NAN
                )


cdef void pack_task(void *rows, Py_ssize_t task, int thread) noexcept nogil:
    cdef Py_ssize_t first = task * MISSING_BLOCKS_PER_TASK, block
    for block in range(
        first, min(first + MISSING_BLOCKS_PER_TASK, (<RowsWithMissing>rows).n_blocks)
    ):
        (<RowsWithMissing>rows).pack(block)


cdef class Comparison:
    """Queries of a search, and what they have; what the threads share."""

    cdef RowsWithMissing samples
    cdef fnn_missing_points kernel
    cdef Py_ssize_t n_queries, n_features
    # [n_queries][n_features]: the features that a query has, side by side, and their values.
    cdef int32_t *features
    cdef double *values
    cdef int64_t *n_present
    cdef object keep_alive

    cdef object set_up(self, const double[:, ::1] X, RowsWithMissing samples):
        self.samples, self.kernel = samples, active_kernels().missing_squares
        self.n_queries, self.n_features = X.shape[0], X.shape[1]
        present = ~np.isnan(X)
        # Those that are there come first, in their order.
        order = np.argsort(~present, axis=1, kind="stable").astype(np.int32)
        values = np.take_along_axis(np.asarray(X), order, axis=1)
        n_present = present.sum(axis=1)
        self.features = <int32_t *>cnp.PyArray_DATA(order)
        self.values = <double *>cnp.PyArray_DATA(values)
        self.n_present = <int64_t *>cnp.PyArray_DATA(n_present)
        self.keep_alive = order, values, n_present

    cdef uint32_t compare(
        self, Py_ssize_t query, Py_ssize_t block, double limit, double *distances
    ) noexcept nogil:
        """Find squared distances to a block; return the bits of those within the limit."""
        return self.kernel(
            self.values + query * self.n_features, self.features + query * self.n_features,
            self.n_present[query], self.samples.block(block), WIDTH, <double>self.n_features, limit,
            distances,
        )

    cdef double nanoseconds(self) noexcept nogil:
        return nanoseconds_to_compare(
            4.0 * self.n_queries * self.samples.n_rows * self.n_features
        )

    cdef Py_ssize_t n_tasks(self) noexcept nogil:
        return (self.n_queries + QUERIES_PER_TASK - 1) // QUERIES_PER_TASK


cdef class Lists(Comparison):
    """Lists of the k nearest, each of the samples that have a value of one feature."""

    cdef Py_ssize_t k
    # Of each list: the feature, or -1 for any sample. Of each query: where its lists start.
    cdef const int64_t *wanted
    cdef const int64_t *starts
    # [n_lists][k], ascending by (distance, index); infinite and -1 where there is none.
    cdef double *distances
    cdef int64_t *indices
    # [n_queries]: squared distances that some list has a place for.
    cdef double *limits

    cdef void search(self, Py_ssize_t first, Py_ssize_t stop) noexcept nogil:
        cdef double distances[WIDTH]
        cdef Py_ssize_t block, query
        cdef uint32_t bits
        cdef int i
        for query in range(first, stop):
            self.limits[query] = INFINITY
        for block in range(self.samples.n_blocks):
            for query in range(first, stop):
                bits = self.compare(query, block, self.limits[query], distances)
                while bits:
                    i = fnn_lowest_bit(bits)
                    bits &= bits - 1
                    self.offer(query, block, i, distances[i])

    cdef void offer(
        self, Py_ssize_t query, Py_ssize_t block, int i, double distance
    ) noexcept nogil:
        """Hand a sample to the lists of a query that have a place for it."""
        cdef const double *column = self.samples.block(block) + i
        cdef int64_t index = block * WIDTH + i, slot
        cdef double worst = 0.0
        cdef bint taken = False
        if distance > self.limits[query]:
            return
        distance = sqrt(distance)
        for slot in range(self.starts[query], self.starts[query + 1]):
            if self.wanted[slot] < 0 or not isnan(column[self.wanted[slot] * WIDTH]):
                taken |= self.insert(slot * self.k, distance, index)
            worst = max(worst, self.distances[slot * self.k + self.k - 1])
        if taken:
            # Roots may round together.
            self.limits[query] = worst * worst * (1.0 + 2.0 ** -50)

    cdef bint insert(self, Py_ssize_t first, double distance, int64_t index) noexcept nogil:
        """Take a sample into a list if it is nearer than the last; indices come ascending."""
        cdef double *distances = self.distances + first
        cdef int64_t *indices = self.indices + first
        cdef Py_ssize_t place = self.k
        if indices[self.k - 1] >= 0 and not distance < distances[self.k - 1]:
            return False
        while place > 0 and (indices[place - 1] < 0 or distance < distances[place - 1]):
            place -= 1
        memmove(distances + place + 1, distances + place, (self.k - 1 - place) * sizeof(double))
        memmove(indices + place + 1, indices + place, (self.k - 1 - place) * sizeof(int64_t))
        distances[place], indices[place] = distance, index
        return True


cdef void search_task(void *lists, Py_ssize_t task, int thread) noexcept nogil:
    cdef Py_ssize_t first = task * QUERIES_PER_TASK
    (<Lists>lists).search(first, min(first + QUERIES_PER_TASK, (<Lists>lists).n_queries))


def find_present_neighbors(
    const double[:, ::1] X,
    RowsWithMissing Y,
    Py_ssize_t k,
    const int64_t[::1] starts,
    const int64_t[::1] wanted,
    int n_threads,
    object advance=None,
):
    """Return (distances, indices) of lists of the k nearest samples that have a value.

    Parameters
    ----------
    X : ndarray of shape (n_queries, d), float64
        C-contiguous; NaN or finite.
    Y : RowsWithMissing
    k : int
        At least 1.
    starts : ndarray of shape (n_queries + 1,), int64
        Query q has the lists starts[q] to starts[q + 1].
    wanted : ndarray of shape (n_lists,), int64
        The feature that samples of a list have; -1: any sample will do.
    n_threads : int
    advance : callable or None
        Called with the share of the work done since the last call.

    Returns
    -------
    (ndarray of float64, ndarray of int64), each of shape (n_lists, k)
        Ascending by (distance, index). Samples that have no feature in common with the query
        are not found; NaN and -1 stand where there are too few others.
    """
    cdef Lists lists = Lists.__new__(Lists)
    cdef IEEEScope _ieee = ieee_scope()
    cdef Py_ssize_t n_lists = wanted.shape[0]
    cdef cnp.npy_intp[2] shape = [n_lists, k]
    distances = cnp.PyArray_EMPTY(2, shape, cnp.NPY_FLOAT64, 0)
    indices = cnp.PyArray_EMPTY(2, shape, cnp.NPY_INT64, 0)
    distances.fill(np.inf)
    indices.fill(-1)
    lists.set_up(X, Y)
    limits = np.empty(lists.n_queries)
    lists.k, lists.limits = k, <double *>cnp.PyArray_DATA(limits)
    lists.starts = &starts[0]
    lists.distances = <double *>cnp.PyArray_DATA(distances)
    lists.indices = <int64_t *>cnp.PyArray_DATA(indices)
    if n_lists > 0:
        lists.wanted = &wanted[0]
        n_threads = threads_for(n_threads, lists.n_tasks(), lists.nanoseconds())
        run_job(search_task, <void *>lists, lists.n_tasks(), n_threads, advance, 1.0)
    distances[np.asarray(indices) < 0] = np.nan
    return distances, indices


cdef class Matrix(Comparison):
    """All distances."""

    cdef double *out
    cdef bint squared

    cdef void fill(self, Py_ssize_t query) noexcept nogil:
        cdef double distances[WIDTH]
        cdef Py_ssize_t n = self.samples.n_rows, block, i
        cdef double *out = self.out + query * n
        for block in range(self.samples.n_blocks):
            self.compare(query, block, INFINITY, distances)
            for i in range(min(<Py_ssize_t>WIDTH, n - block * WIDTH)):
                out[block * WIDTH + i] = distances[i] if self.squared else sqrt(distances[i])


cdef void fill_task(void *matrix, Py_ssize_t task, int thread) noexcept nogil:
    cdef Py_ssize_t first = task * QUERIES_PER_TASK, query
    for query in range(first, min(first + QUERIES_PER_TASK, (<Matrix>matrix).n_queries)):
        (<Matrix>matrix).fill(query)


def fill_present_distances(
    const double[:, ::1] X, RowsWithMissing Y, double[:, ::1] out, bint squared, int n_threads
):
    """Write the distances between all rows of X and of Y to `out`.

    Parameters
    ----------
    X, Y, n_threads
        As for `find_present_neighbors`.
    out : ndarray of shape (n_queries, n_samples), float64
    squared : bool
    """
    cdef Matrix matrix = Matrix.__new__(Matrix)
    cdef IEEEScope _ieee = ieee_scope()
    matrix.set_up(X, Y)
    matrix.out, matrix.squared = &out[0, 0], squared
    n_threads = threads_for(n_threads, matrix.n_tasks(), matrix.nanoseconds())
    run_job(fill_task, <void *>matrix, matrix.n_tasks(), n_threads)
