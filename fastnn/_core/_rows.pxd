"""Rows as a metric has them, and the exact distances between them: see _rows.pyx."""

from libc.stdint cimport int64_t

cimport numpy as cnp

from ._dispatch cimport (
    fnn_approx_distances,
    fnn_dot_rows,
    fnn_kernels,
    fnn_linear,
    fnn_move,
    fnn_row_distances,
)


cdef enum ValueType:
    FLOAT32
    FLOAT64
    UINT8


cdef enum Norm:
    L1
    L2
    CHEBYSHEV
    # Minus the inner product.
    PRODUCT


cdef Norm norm_of(str metric) noexcept
cdef cnp.ndarray aligned_bytes(Py_ssize_t n_bytes)
cdef fnn_row_distances row_distances_of(
    const fnn_kernels *kernels, ValueType value_type, Norm norm
) noexcept nogil


cdef class Rows:
    # As given: C-contiguous.
    cdef readonly cnp.ndarray values
    cdef readonly Py_ssize_t n_rows
    # What tiles and distances see: one more than given for normalized rows.
    cdef readonly Py_ssize_t n_features
    cdef readonly bint normalized, weighted, transformed
    # What tiles and distances see.
    cdef ValueType value_type
    cdef const char *data
    cdef Py_ssize_t n_given, value_bytes, row_bytes
    cdef fnn_move move
    # [n_given]: of the terms, and what features are multiplied by for tiles; NULL without weights.
    cdef const double *weights
    cdef const double *factors
    # [n_rows] of normalized rows, whose values are value * scale / norm.
    cdef const double *scales
    cdef const double *norms
    cdef object keep_alive

    cdef void fetch(
        self, Py_ssize_t row, Py_ssize_t first, Py_ssize_t n, double *values
    ) noexcept nogil
    cdef bint is_finite_row(self, Py_ssize_t row) noexcept nogil
    cdef Rows part(self, Py_ssize_t start, Py_ssize_t stop)
    cdef Rows as_float32(self)


cdef Rows rows_of(object rows)


cdef bint has_approx_distances(Rows rows, Norm norm) noexcept


cdef class ExactDistances:
    """The exact distances, in difference form, between rows of X and of Y, two Rows."""

    cdef Rows X, Y
    cdef Norm norm
    cdef fnn_row_distances kernel
    # What tells which rows are worth an exact distance, if anything: a kernel for rows as they lie,
    # or one for normalized rows; and its relative and absolute error.
    cdef bint approximates
    cdef fnn_approx_distances approx_kernel
    cdef fnn_dot_rows dot_kernel
    cdef double approx_error, approx_underflow
    # Of the terms of weighted distances.
    cdef fnn_row_distances sum_kernel
    # Rows of Y that are fetched at a time.
    cdef readonly Py_ssize_t held
    # [n_threads]: a query, terms, zeros and the fetched rows, where rows are transformed.
    cdef double *scratch
    cdef Py_ssize_t scratch_values
    cdef object keep_alive

    cdef object set_up(self, Rows X, Rows Y, Norm norm, int n_threads)
    cdef void find_approx_kernel(self, const fnn_kernels *kernels) noexcept
    cdef void approximate(
        self,
        Py_ssize_t query,
        Py_ssize_t n_queries,
        Py_ssize_t first,
        const int64_t *index,
        Py_ssize_t n,
        int thread,
        double *distances,
    ) noexcept nogil
    cdef void approximate_normalized(
        self,
        Py_ssize_t query,
        Py_ssize_t first,
        const int64_t *index,
        Py_ssize_t n,
        int thread,
        double *distances,
    ) noexcept nogil
    cdef void fetch(
        self, Py_ssize_t first, const int64_t *index, Py_ssize_t n, int thread
    ) noexcept nogil
    cdef void to_fetched(
        self,
        Py_ssize_t query,
        Py_ssize_t first,
        const int64_t *index,
        Py_ssize_t n,
        int thread,
        double *distances,
    ) noexcept nogil
    cdef void to_some_fetched(
        self,
        Py_ssize_t query,
        Py_ssize_t first,
        const int64_t *chosen,
        Py_ssize_t n,
        int thread,
        double *distances,
    ) noexcept nogil
    cdef void evaluate(
        self,
        Py_ssize_t query,
        Py_ssize_t first,
        const int64_t *index,
        Py_ssize_t n,
        int thread,
        double *distances,
    ) noexcept nogil


cdef ExactDistances new_distances(Rows X, Rows Y, Norm norm, int n_threads)
