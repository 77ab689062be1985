"""Votes of neighbors, for one k or for every k at once, and means of their targets."""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

import numpy as np

from .._jobs cimport IEEEScope, ieee_scope, run_job, run_task_t, threads_for
from .._tuning cimport CACHE_LINE, VOTES_PER_TASK, nanoseconds_to_pack


cdef struct Election:
    # What tasks share. Weights may be NULL: each neighbor counts as 1.
    const int64_t *neighbors
    const double *weights
    const int64_t *labels
    Py_ssize_t n_queries, n_neighbors, n_classes, queries_per_task
    # [n_queries][n_classes]; or [n_threads][stride], of which all are 0 between queries.
    double *sums
    Py_ssize_t stride
    # Values of k, ascending, and the winners for each: [n_queries][n_numbers].
    const int64_t *numbers
    Py_ssize_t n_numbers
    int64_t *winners


cdef int run_election(
    Election *e, run_task_t run_task, Py_ssize_t votes_per_query, int n_threads
) except -1:
    cdef Py_ssize_t n_tasks
    e.queries_per_task = max(1, VOTES_PER_TASK // votes_per_query)
    n_tasks = (e.n_queries + e.queries_per_task - 1) // e.queries_per_task
    return run_job(run_task, e, n_tasks, n_threads)


cdef void sum_votes_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Election *e = <const Election *>context
    cdef Py_ssize_t first = task * e.queries_per_task, query
    for query in range(first, min(first + e.queries_per_task, e.n_queries)):
        add_votes(
            e.neighbors + query * e.n_neighbors,
            NULL if e.weights == NULL else e.weights + query * e.n_neighbors,
            e.n_neighbors, e.labels, e.sums + query * e.n_classes,
        )


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
    const double[:, ::1] weights,
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
    cdef IEEEScope _ieee = ieee_scope()
    cdef Py_ssize_t n = neighbors.shape[0], k = neighbors.shape[1]
    cdef double n_votes = <double>n * (k + n_classes)
    cdef Election e
    sums = np.zeros((n, n_classes))
    cdef double[:, ::1] sums_view = sums
    if n == 0 or k == 0:
        return sums
    e.neighbors, e.labels = &neighbors[0, 0], &labels[0]
    e.weights = NULL if weights is None else &weights[0, 0]
    e.n_queries, e.n_neighbors, e.n_classes = n, k, n_classes
    e.sums = &sums_view[0, 0]
    n_threads = threads_for(n_threads, n, nanoseconds_to_pack(n_votes))
    run_election(&e, sum_votes_task, k + n_classes, n_threads)
    return sums


cdef void predict_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Election *e = <const Election *>context
    cdef Py_ssize_t first = task * e.queries_per_task, query
    for query in range(first, min(first + e.queries_per_task, e.n_queries)):
        predict_as_votes_come_in(
            e,
            e.neighbors + query * e.n_neighbors,
            NULL if e.weights == NULL else e.weights + query * e.n_neighbors,
            e.sums + thread * e.stride, e.winners + query * e.n_numbers,
        )


cdef void predict_as_votes_come_in(
    const Election *e, const int64_t *neighbors, const double *weights, double *sums,
    int64_t *winners,
) noexcept nogil:
    """Note the leading class when each of the numbers of votes is reached.

    Sums only grow, so that the leader changes only to the class that has just been voted for.
    """
    cdef Py_ssize_t j = 0, i
    cdef int64_t leader = 0, label
    for i in range(e.n_numbers):
        while j < e.numbers[i]:
            label = e.labels[neighbors[j]]
            sums[label] += weights[j] if weights != NULL else 1.0
            if sums[label] > sums[leader] or (sums[label] == sums[leader] and label < leader):
                leader = label
            j += 1
        winners[i] = leader
    for i in range(j):
        sums[e.labels[neighbors[i]]] = 0.0


def predict_for_each_k(
    const int64_t[:, ::1] neighbors,
    const int64_t[::1] labels,
    Py_ssize_t n_classes,
    const double[:, ::1] weights,
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
    cdef IEEEScope _ieee = ieee_scope()
    cdef Py_ssize_t n = neighbors.shape[0], n_numbers = numbers.shape[0], k
    cdef Election e
    winners = np.empty((n, n_numbers), np.int64)
    cdef int64_t[:, ::1] winners_view = winners
    if winners.size == 0:
        return winners
    k = numbers[n_numbers - 1]
    e.neighbors, e.labels = &neighbors[0, 0], &labels[0]
    e.weights = NULL if weights is None else &weights[0, 0]
    e.n_queries, e.n_neighbors, e.n_classes = n, neighbors.shape[1], n_classes
    e.numbers, e.n_numbers, e.winners = &numbers[0], n_numbers, &winners_view[0, 0]
    n_threads = threads_for(n_threads, n, nanoseconds_to_pack(2.0 * n * k))
    # No two threads write to the same cache line.
    e.stride = n_classes + 2 * CACHE_LINE // sizeof(double)
    e.sums = <double *>calloc(n_threads * e.stride, sizeof(double))
    if e.sums == NULL:
        raise MemoryError()
    try:
        run_election(&e, predict_task, k, n_threads)
    finally:
        free(e.sums)
    return winners


cdef struct Averages:
    # Weights may be NULL: each neighbor counts as 1.
    const int64_t *neighbors
    const double *weights
    # [n_samples][n_outputs], and [n_queries][n_outputs].
    const double *targets
    double *means
    Py_ssize_t n_queries, n_neighbors, n_outputs, queries_per_task


cdef void average_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Averages *a = <const Averages *>context
    cdef Py_ssize_t first = task * a.queries_per_task, query
    for query in range(first, min(first + a.queries_per_task, a.n_queries)):
        average(
            a.neighbors + query * a.n_neighbors,
            NULL if a.weights == NULL else a.weights + query * a.n_neighbors,
            a.n_neighbors, a.targets, a.n_outputs, a.means + query * a.n_outputs,
        )


cdef void average(
    const int64_t *neighbors,
    const double *weights,
    Py_ssize_t k,
    const double *targets,
    Py_ssize_t n_outputs,
    double *means,
) noexcept nogil:
    """Set the mean of the neighbors' targets, added up nearest first."""
    cdef Py_ssize_t i, j
    cdef double weight, total = 0.0
    cdef const double *row
    for i in range(n_outputs):
        means[i] = 0.0
    for j in range(k):
        weight = weights[j] if weights != NULL else 1.0
        row = targets + neighbors[j] * n_outputs
        total += weight
        for i in range(n_outputs):
            means[i] += weight * row[i]
    for i in range(n_outputs):
        means[i] /= total


def average_targets(
    const int64_t[:, ::1] neighbors,
    const double[:, ::1] targets,
    const double[:, ::1] weights,
    int n_threads,
):
    """Return the means of the targets of each query's neighbors.

    Parameters
    ----------
    neighbors : ndarray of shape (n_queries, k), int64
        Indices into `targets`; k is at least 1.
    targets : ndarray of shape (n_samples, n_outputs), float64
    weights : ndarray of shape (n_queries, k), float64, or None
        None counts each neighbor as 1. Where their sum is 0, means are NaN.
    n_threads : int

    Returns
    -------
    ndarray of shape (n_queries, n_outputs), float64
        sum(weight * target) / sum(weight)
    """
    cdef IEEEScope _ieee = ieee_scope()
    cdef Py_ssize_t n = neighbors.shape[0], k = neighbors.shape[1], n_values, n_tasks
    cdef Averages a
    means = np.empty((n, targets.shape[1]))
    cdef double[:, ::1] means_view = means
    if means.size == 0:
        return means
    a.neighbors, a.targets, a.means = &neighbors[0, 0], &targets[0, 0], &means_view[0, 0]
    a.weights = NULL if weights is None else &weights[0, 0]
    a.n_queries, a.n_neighbors, a.n_outputs = n, k, targets.shape[1]
    n_values = k * a.n_outputs
    a.queries_per_task = max(1, VOTES_PER_TASK // n_values)
    n_tasks = (n + a.queries_per_task - 1) // a.queries_per_task
    n_threads = threads_for(n_threads, n, nanoseconds_to_pack(<double>n * n_values))
    run_job(average_task, &a, n_tasks, n_threads)
    return means


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
