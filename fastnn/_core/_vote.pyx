"""The vote of the neighbors: sums of weights per class, for one k or for every k at once."""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

import numpy as np

from ._threads cimport Threads, gather


cdef enum:
    MIN_PARALLEL_VOTES = 1 << 16
    # Between the sums of two threads, so that they share no cache line.
    PADDING = 16


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
    cdef Threads _gathered = gather(n_threads)
    for i in prange(n, nogil=True, num_threads=n_threads, use_threads_if=n_threads > 1):
        add_votes(
            &neighbors[i, 0],
            NULL if weights_view is None else &weights_view[i, 0],
            k,
            &labels[0],
            &sums_view[i, 0],
        )
    return sums


cdef void elect_as_votes_come_in(
    const int64_t *neighbors,
    const double *weights,
    const int64_t *labels,
    const int64_t *numbers,
    Py_ssize_t n_numbers,
    double *sums,
    int64_t *winners,
) noexcept nogil:
    """Note the leading class when each of the numbers of votes is reached.

    Sums only grow, so that the leader changes only to the class that has just been voted for.
    """
    cdef Py_ssize_t j = 0, i
    cdef int64_t leader = 0, label
    for i in range(n_numbers):
        while j < numbers[i]:
            label = labels[neighbors[j]]
            sums[label] += weights[j] if weights != NULL else 1.0
            if sums[label] > sums[leader] or (sums[label] == sums[leader] and label < leader):
                leader = label
            j += 1
        winners[i] = leader


def elect_for_each_k(
    const int64_t[:, ::1] neighbors,
    const int64_t[::1] labels,
    Py_ssize_t n_classes,
    weights,
    const int64_t[::1] numbers,
    int n_threads,
):
    """Return the class with the largest sum of weights among the first k neighbors, for each k.

    Of classes with equal sums the smallest wins; the sums are those of sum_votes, bit for bit.

    Parameters
    ----------
    neighbors : ndarray of shape (n_queries, n_neighbors), int64
        Indices into `labels`, nearest first.
    labels : ndarray of shape (n_samples,), int64
        Classes 0 to n_classes - 1.
    n_classes : int
    weights : ndarray of shape (n_queries, n_neighbors), float64, or None
        Not negative. None counts each neighbor as 1.
    numbers : ndarray of shape (n_numbers,), int64
        The values of k: ascending, from 1 to n_neighbors.
    n_threads : int

    Returns
    -------
    ndarray of shape (n_queries, n_numbers), int64
    """
    cdef Py_ssize_t n = neighbors.shape[0], n_numbers = numbers.shape[0], i
    winners = np.empty((n, n_numbers), np.int64)
    cdef int64_t[:, ::1] winners_view = winners
    cdef const double[:, ::1] weights_view = weights
    if winners.size == 0:
        return winners
    if n * (numbers[n_numbers - 1] + n_classes) < MIN_PARALLEL_VOTES:
        n_threads = 1
    cdef Threads _gathered = gather(n_threads)
    cdef Py_ssize_t stride = n_classes + PADDING
    cdef double *all_sums = <double *>calloc(n_threads * stride, sizeof(double))
    if all_sums == NULL:
        raise MemoryError()
    cdef double *sums
    for i in prange(n, nogil=True, num_threads=n_threads, use_threads_if=n_threads > 1):
        sums = all_sums + threadid() * stride
        memset(sums, 0, n_classes * sizeof(double))
        elect_as_votes_come_in(
            &neighbors[i, 0],
            NULL if weights_view is None else &weights_view[i, 0],
            &labels[0],
            &numbers[0],
            n_numbers,
            sums,
            &winners_view[i, 0],
        )
    free(all_sums)
    return winners


cdef Py_ssize_t repeat_neighbors(
    const int64_t *neighbors,
    const double *distances,
    Py_ssize_t n_neighbors,
    const int64_t *counts,
    const int64_t *starts,
    Py_ssize_t k,
    double *kept_distances,
    int64_t *kept,
) noexcept nogil:
    """Take each neighbor as often as it was drawn until there are k; return how many there are."""
    cdef Py_ssize_t n = 0, j, copy
    for j in range(n_neighbors):
        for copy in range(counts[neighbors[j]]):
            if n == k:
                return n
            kept_distances[n] = distances[j]
            kept[n] = starts[neighbors[j]] + copy
            n += 1
    return n


def neighbors_in_resample(
    const int64_t[:, ::1] neighbors,
    const double[:, ::1] distances,
    const int64_t[::1] counts,
    Py_ssize_t k,
):
    """Return each query's neighbors in a sample drawn with replacement, from those in the whole.

    The resample holds row i counts[i] times in succession, rows in ascending order. Neighbors
    ascend by (distance, index), which keeps to that order.

    Parameters
    ----------
    neighbors : ndarray of shape (n_queries, n_neighbors), int64
        Rows of the whole, ascending by (distance, index).
    distances : ndarray of shape (n_queries, n_neighbors), float64
    counts : ndarray of shape (n_samples,), int64
        How often each row was drawn; 0 for the queries themselves.
    k : int

    Returns
    -------
    distances : ndarray of shape (n_queries, k), float64
    neighbors : ndarray of shape (n_queries, k), int64
        Positions in the resample.
    found : ndarray of shape (n_queries,), int64
        How many of the k there are; the rest is undefined.
    """
    cdef Py_ssize_t n = neighbors.shape[0], i
    kept_distances = np.empty((n, k))
    kept = np.empty((n, k), np.int64)
    found = np.empty(n, np.int64)
    cdef double[:, ::1] kept_distances_view = kept_distances
    cdef int64_t[:, ::1] kept_view = kept
    cdef int64_t[::1] found_view = found
    cdef const int64_t[::1] starts = np.cumsum(counts) - counts
    if n == 0:
        return kept_distances, kept, found
    with nogil:
        for i in range(n):
            found_view[i] = repeat_neighbors(
                &neighbors[i, 0],
                &distances[i, 0],
                neighbors.shape[1],
                &counts[0],
                &starts[0],
                k,
                &kept_distances_view[i, 0],
                &kept_view[i, 0],
            )
    return kept_distances, kept, found
