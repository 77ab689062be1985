"""The vote of the neighbors: sums of weights per class."""

from cython.parallel cimport prange
from libc.stdint cimport int64_t

import numpy as np

cdef enum:
    MIN_PARALLEL_VOTES = 1 << 16


cdef void add_votes(
    const int64_t *neighbors,
    const double *weights,
    Py_ssize_t k,
    const int64_t *labels,
    double *sums,
) noexcept nogil:
    """Add each neighbor's weight (1 where weights is NULL) to its class, nearest first."""
    cdef Py_ssize_t j
    for j in range(k):
        sums[labels[neighbors[j]]] += weights[j] if weights != NULL else 1.0


def sum_votes(
    const int64_t[:, ::1] neighbors,
    const int64_t[::1] labels,
    Py_ssize_t n_classes,
    weights,
    int n_threads,
):
    """Return the sum of weights of each class among each query's neighbors.

    Parameters
    ----------
    neighbors : ndarray of shape (n_queries, k), int64
        Indices into `labels`.
    labels : ndarray of shape (n_samples,), int64
        Classes 0 to n_classes - 1.
    n_classes : int
    weights : ndarray of shape (n_queries, k), float64, or None
        None counts each neighbor as 1.
    n_threads : int

    Returns
    -------
    ndarray of shape (n_queries, n_classes), float64
    """
    cdef Py_ssize_t n = neighbors.shape[0], k = neighbors.shape[1], i
    sums = np.zeros((n, n_classes))
    cdef double[:, ::1] sums_view = sums
    cdef const double[:, ::1] weights_view = weights
    if n == 0 or k == 0:
        return sums
    if n * (k + n_classes) < MIN_PARALLEL_VOTES:
        n_threads = 1
    for i in prange(n, nogil=True, num_threads=n_threads, use_threads_if=n_threads > 1):
        add_votes(
            &neighbors[i, 0],
            NULL if weights_view is None else &weights_view[i, 0],
            k,
            &labels[0],
            &sums_view[i, 0],
        )
    return sums
