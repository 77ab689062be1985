"""Losses of scores and their gradients: blocks of rows over the threads, sums over fixed blocks."""

from cython cimport floating
from libc.stdint cimport int64_t

import numpy as np

from .._dispatch cimport active_kernels, fnn_linear, fnn_row_losses, fnn_where_positive
from .._jobs cimport IEEEScope, ieee_scope, run_job, threads_for
from .._tuning cimport (
    COMBINED_SCORES,
    POINTS_PER_TASK,
    RECTIFIED_PER_TASK,
    SCORES_PER_TASK,
    nanoseconds_to_pack,
)


def find_label_outside(const int64_t[::1] labels, Py_ssize_t n_classes):
    """Return the first row whose label is not one of 0 to n_classes - 1, or -1."""
    cdef Py_ssize_t row
    for row in range(labels.shape[0]):
        if not 0 <= labels[row] < n_classes:
            return row
    return -1


cdef fnn_row_losses losses_named(const fnn_linear *kernels, str loss):
    return kernels.softmax_losses if loss == "softmax" else kernels.svm_losses


cdef struct Scores:
    # What tasks share: some rows each.
    const char *scores
    char *gradient
    Py_ssize_t value_bytes, n_rows, n_classes, rows_per_task
    const int64_t *labels
    const double *weights
    fnn_row_losses losses
    double margin
    # [n_tasks]
    double *sums


cdef void sum_losses_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Scores *s = <const Scores *>context
    cdef Py_ssize_t start = task * s.rows_per_task, at = start * s.n_classes * s.value_bytes
    s.sums[task] = s.losses(
        s.scores + at, s.labels + start, s.weights + start,
        min(s.rows_per_task, s.n_rows - start), s.n_classes, s.margin, s.gradient + at,
    )


def sum_losses(
    const floating[:, ::1] scores,
    const int64_t[::1] labels,
    const double[::1] weights,
    str loss,
    double margin,
    floating[:, ::1] gradient,
    int n_threads,
):
    """Return the sum of the weighted losses of all rows, and write their derivatives.

    Parameters
    ----------
    scores : ndarray of shape (n, n_classes), float32 or float64
    labels : ndarray of shape (n,), int64
        Classes 0 to n_classes - 1.
    weights : ndarray of shape (n,), float64
    loss : {"svm", "softmax"}
    margin : float
        Of the SVM.
    gradient : ndarray of the shape and dtype of `scores`
        Receives the derivatives; may be `scores` itself.
    n_threads : int

    Returns
    -------
    float
        NaN if any score is not finite.
    """
    cdef IEEEScope _ieee = ieee_scope()
    cdef Py_ssize_t n = scores.shape[0], n_classes = scores.shape[1], n_tasks
    cdef Scores s
    cdef const fnn_linear *kernels
    if floating is float:
        kernels = &active_kernels().linear_f32
    else:
        kernels = &active_kernels().linear_f64
    s.rows_per_task = max(1, SCORES_PER_TASK // n_classes)
    n_tasks = (n + s.rows_per_task - 1) // s.rows_per_task
    sums = np.empty(n_tasks)
    cdef double[::1] sums_view = sums
    s.scores, s.gradient = <const char *>&scores[0, 0], <char *>&gradient[0, 0]
    s.value_bytes, s.n_rows, s.n_classes = sizeof(floating), n, n_classes
    s.labels, s.weights = &labels[0], &weights[0]
    s.losses, s.margin, s.sums = losses_named(kernels, loss), margin, &sums_view[0]
    n_threads = threads_for(n_threads, n_tasks, nanoseconds_to_pack(2.0 * n * n_classes))
    run_job(sum_losses_task, &s, n_tasks, n_threads)
    return float(sums.sum()) if n_tasks > 1 else sums_view[0]


cdef void combine(
    const floating *terms,
    Py_ssize_t n_terms,
    Py_ssize_t term_stride,
    const double *coefficients,
    Py_ssize_t n,
    floating *combined,
) noexcept nogil:
    """combined = terms[0] + the sum over t of coefficients[t] * terms[1 + t]."""
    cdef Py_ssize_t i, t
    cdef floating coefficient
    for i in range(n):
        combined[i] = terms[i]
    for t in range(n_terms - 1):
        coefficient = <floating>coefficients[t]
        for i in range(n):
            combined[i] += coefficient * terms[(t + 1) * term_stride + i]


cdef struct Combinations:
    # What tasks share: a block of rows and some points each.
    const char *terms
    Py_ssize_t value_bytes, n_terms, n_rows, n_classes, block_rows, n_blocks, n_points
    const double *coefficients
    const int64_t *labels
    const double *weights
    fnn_row_losses losses
    double margin
    # [n_threads][scores of a block]
    char *scratch
    # [n_blocks][n_points]
    double *sums


cdef void combine_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Combinations *c = <const Combinations *>context
    cdef Py_ssize_t block = task % c.n_blocks, row = block * c.block_rows
    cdef Py_ssize_t n_rows = min(c.block_rows, c.n_rows - row), n = n_rows * c.n_classes, point
    cdef Py_ssize_t first = task // c.n_blocks * POINTS_PER_TASK, stride = c.n_rows * c.n_classes
    cdef const char *terms = c.terms + row * c.n_classes * c.value_bytes
    cdef char *combined = c.scratch + thread * c.block_rows * c.n_classes * c.value_bytes
    cdef const double *coefficients
    for point in range(first, min(first + POINTS_PER_TASK, c.n_points)):
        coefficients = c.coefficients + point * (c.n_terms - 1)
        if c.value_bytes == sizeof(float):
            combine(<const float *>terms, c.n_terms, stride, coefficients, n, <float *>combined)
        else:
            combine(<const double *>terms, c.n_terms, stride, coefficients, n, <double *>combined)
        c.sums[block * c.n_points + point] = c.losses(
            combined, c.labels + row, c.weights + row, n_rows, c.n_classes, c.margin, combined
        )


def losses_of_combinations(
    const floating[:, :, ::1] terms,
    const double[:, ::1] coefficients,
    const int64_t[::1] labels,
    const double[::1] weights,
    str loss,
    double margin,
    int n_threads,
):
    """Return the sums of weighted losses of many linear combinations of scores.

    Parameters
    ----------
    terms : ndarray of shape (1 + n_directions, n, n_classes), float32 or float64
        The scores at the origin, then those along each direction.
    coefficients : ndarray of shape (n_points, n_directions), float64
    labels : ndarray of shape (n,), int64
    weights : ndarray of shape (n,), float64
    loss : {"svm", "softmax"}
    margin : float
    n_threads : int

    Returns
    -------
    ndarray of shape (n_points,), float64
    """
    cdef IEEEScope _ieee = ieee_scope()
    cdef Py_ssize_t n_terms = terms.shape[0], n = terms.shape[1], n_classes = terms.shape[2]
    cdef Py_ssize_t n_points = coefficients.shape[0], n_tasks
    cdef Combinations c
    cdef const fnn_linear *kernels
    if floating is float:
        kernels = &active_kernels().linear_f32
    else:
        kernels = &active_kernels().linear_f64
    c.block_rows = max(1, COMBINED_SCORES // n_classes)
    c.n_blocks = (n + c.block_rows - 1) // c.block_rows
    n_tasks = c.n_blocks * ((n_points + POINTS_PER_TASK - 1) // POINTS_PER_TASK)
    n_threads = threads_for(
        n_threads, n_tasks, nanoseconds_to_pack(2.0 * n_points * n * n_classes)
    )
    sums = np.empty((c.n_blocks, n_points))
    cdef double[:, ::1] sums_view = sums
    cdef floating[::1] scratch = np.empty(
        n_threads * c.block_rows * n_classes, np.float32 if floating is float else np.float64
    )
    c.terms, c.value_bytes, c.n_terms = <const char *>&terms[0, 0, 0], sizeof(floating), n_terms
    c.n_rows, c.n_classes, c.n_points = n, n_classes, n_points
    c.coefficients = NULL if n_terms == 1 else &coefficients[0, 0]
    c.labels, c.weights = &labels[0], &weights[0]
    c.losses, c.margin = losses_named(kernels, loss), margin
    c.scratch, c.sums = <char *>&scratch[0], &sums_view[0, 0]
    run_job(combine_task, &c, n_tasks, n_threads)
    return sums.sum(axis=0)


cdef struct Rectifier:
    const char *x
    const char *values
    char *out
    Py_ssize_t value_bytes, n
    fnn_where_positive kernel


cdef void where_positive_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Rectifier *r = <const Rectifier *>context
    cdef Py_ssize_t start = task * RECTIFIED_PER_TASK, at = start * r.value_bytes
    r.kernel(r.x + at, r.values + at, min(<Py_ssize_t>RECTIFIED_PER_TASK, r.n - start), r.out + at)


def where_positive(
    const floating[::1] x, const floating[::1] values, floating[::1] out, int n_threads
):
    """Write 0 to `out` where x <= 0 and `values` elsewhere; `out` may be `x` or `values`."""
    cdef IEEEScope _ieee = ieee_scope()
    cdef Py_ssize_t n = x.shape[0], n_tasks = (n + RECTIFIED_PER_TASK - 1) // RECTIFIED_PER_TASK
    cdef Rectifier r
    if n == 0:
        return
    r.x, r.values, r.out = <const char *>&x[0], <const char *>&values[0], <char *>&out[0]
    r.value_bytes, r.n = sizeof(floating), n
    if floating is float:
        r.kernel = active_kernels().where_positive_f32
    else:
        r.kernel = active_kernels().where_positive_f64
    run_job(
        where_positive_task, &r, n_tasks,
        threads_for(n_threads, n_tasks, nanoseconds_to_pack(0.5 * n)),
    )
