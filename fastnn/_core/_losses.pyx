"""Losses of scores and their gradients: blocks of rows over the threads, sums over fixed blocks."""

from cpython.exc cimport PyErr_CheckSignals
from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.stdint cimport int64_t

import numpy as np

from ._dispatch cimport active_kernels, fnn_linear, fnn_row_losses, fnn_where_positive
from ._threads cimport Threads, gather

cdef enum:
    # Scores of a task: 128 KiB of float32.
    TASK_SCORES = 1 << 15
    # Of the rectifier: as much, so that its tasks are cheap to divide.
    TASK_VALUES = 1 << 15
    MIN_PARALLEL_SCORES = 1 << 15
    # Scores that a thread combines at a time: they stay in the first-level cache.
    COMBINED_SCORES = 1 << 11
    # Points of a landscape between two checks for Ctrl-C, times the scores of each.
    SLICE_SCORES = 1 << 26


cdef fnn_row_losses losses_named(const fnn_linear *kernels, str loss):
    return kernels.softmax_losses if loss == "softmax" else kernels.svm_losses


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
    cdef Py_ssize_t n = scores.shape[0], n_classes = scores.shape[1]
    cdef Py_ssize_t rows_per_task = max(1, TASK_SCORES // n_classes)
    cdef Py_ssize_t n_tasks = (n + rows_per_task - 1) // rows_per_task, task, start
    cdef const fnn_linear *kernels
    if floating is float:
        kernels = &active_kernels().linear_f32
    else:
        kernels = &active_kernels().linear_f64
    cdef fnn_row_losses losses = losses_named(kernels, loss)
    sums = np.empty(n_tasks)
    cdef double[::1] sums_view = sums
    if n * n_classes < MIN_PARALLEL_SCORES:
        n_threads = 1
    cdef Threads _gathered = gather(n_threads)
    for task in prange(
        n_tasks, nogil=True, num_threads=n_threads, schedule="static",
        use_threads_if=n_threads > 1,
    ):
        start = task * rows_per_task
        sums_view[task] = losses(
            &scores[start, 0],
            &labels[start],
            &weights[start],
            min(rows_per_task, n - start),
            n_classes,
            margin,
            &gradient[start, 0],
        )
    return float(sums.sum())


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
    cdef Py_ssize_t n_terms = terms.shape[0], n = terms.shape[1], n_classes = terms.shape[2]
    cdef Py_ssize_t n_points = coefficients.shape[0], n_directions = coefficients.shape[1]
    cdef Py_ssize_t block_rows = max(1, COMBINED_SCORES // n_classes)
    cdef Py_ssize_t n_blocks = (n + block_rows - 1) // block_rows
    cdef Py_ssize_t slice_points = max(1, SLICE_SCORES // max(1, n * n_classes))
    cdef Py_ssize_t first, last, point, block, rows
    cdef const fnn_linear *kernels
    if floating is float:
        kernels = &active_kernels().linear_f32
        dtype = np.float32
    else:
        kernels = &active_kernels().linear_f64
        dtype = np.float64
    cdef fnn_row_losses losses = losses_named(kernels, loss)
    cdef floating[:, ::1] scratch = np.empty((n_threads, block_rows * n_classes), dtype)
    cdef floating *combined
    sums = np.empty((n_blocks, n_points))
    cdef double[:, ::1] sums_view = sums
    if n_directions == 0:
        coefficients = np.zeros((n_points, 1))
    cdef Threads _gathered = gather(n_threads)
    for first in range(0, n_points, slice_points):
        last = min(first + slice_points, n_points)
        for block in prange(
            n_blocks, nogil=True, num_threads=n_threads, schedule="static",
            use_threads_if=n_threads > 1,
        ):
            rows = min(block_rows, n - block * block_rows)
            combined = &scratch[threadid(), 0]
            for point in range(first, last):
                combine(
                    &terms[0, block * block_rows, 0],
                    n_terms,
                    n * n_classes,
                    &coefficients[point, 0],
                    rows * n_classes,
                    combined,
                )
                sums_view[block, point] = losses(
                    combined,
                    &labels[block * block_rows],
                    &weights[block * block_rows],
                    rows,
                    n_classes,
                    margin,
                    combined,
                )
        PyErr_CheckSignals()
    return sums.sum(axis=0)


def where_positive(
    const floating[::1] x, const floating[::1] values, floating[::1] out, int n_threads
):
    """Write 0 to `out` where x <= 0 and `values` elsewhere; `out` may be `x` or `values`."""
    cdef Py_ssize_t n = x.shape[0], n_tasks = (n + TASK_VALUES - 1) // TASK_VALUES, task, start
    cdef fnn_where_positive kernel
    if floating is float:
        kernel = active_kernels().where_positive_f32
    else:
        kernel = active_kernels().where_positive_f64
    if n_tasks < 2:
        n_threads = 1
    cdef Threads _gathered = gather(n_threads)
    for task in prange(
        n_tasks, nogil=True, num_threads=n_threads, schedule="static",
        use_threads_if=n_threads > 1,
    ):
        start = task * TASK_VALUES
        kernel(&x[start], &values[start], min(<Py_ssize_t>TASK_VALUES, n - start), &out[start])
