"""Lists of samples, and of the queries that visit them.

A query knows the lists it visits; a scan goes list by list, so that queries that visit the same one
share its tiles.
"""

from libc.stdint cimport int64_t

import numpy as np

cimport numpy as cnp

cnp.import_array()


def list_scores(
    const double[:, ::1] distances, const int64_t[:, ::1] lists, const double[::1] sizes,
    double n_first,
):
    """Return j - D_1 / D_j of the j-th nearest list of each query, or 0 as long as it comes first.

    Parameters
    ----------
    distances : ndarray of shape (n_queries, n_ranked), float64
        Of the lists' centroids, ascending.
    lists : ndarray of shape (n_queries, n_ranked), int64
    sizes : ndarray of shape (n_lists,), float64
    n_first : float
        Lists come first until they have as many samples.

    Returns
    -------
    ndarray of shape (n_queries, n_ranked), float64
        Ascending.
    """
    cdef Py_ssize_t query, j
    cdef double before
    scores = np.empty((distances.shape[0], distances.shape[1]))
    cdef double[:, ::1] out = scores
    for query in range(distances.shape[0]):
        before = 0.0
        for j in range(distances.shape[1]):
            out[query, j] = 0.0
            if before >= n_first:
                out[query, j] = j  # of lists that are equally near
                if distances[query, j] > distances[query, 0]:
                    out[query, j] = j + 1 - distances[query, 0] / distances[query, j]
            before += sizes[lists[query, j]]
    return scores


cdef class Visits:
    """The queries that visit each list.

    Parameters
    ----------
    starts : ndarray of shape (n_lists + 1,), int64
        Where the samples of each list start in the index, and where the last one ends.
    lists : ndarray of shape (n_queries, n_ranked), int64
        Lists in the order in which each query would visit them.
    scores : ndarray of shape (n_queries, n_ranked), float64
        Their scores, ascending.
    n_probes : float
        Up to this score they are visited.
    """

    def __init__(
        self, const int64_t[::1] starts, const int64_t[:, ::1] lists,
        const double[:, ::1] scores, double n_probes,
    ):
        cdef Py_ssize_t query, i, n_queries = lists.shape[0], n_ranked = lists.shape[1]
        cdef int64_t place
        self.n_lists, self.starts = len(starts) - 1, &starts[0]
        self.n_visits = self.n_visited = 0
        query_starts = np.zeros(self.n_lists + 2, np.int64)
        cdef int64_t[::1] ends = query_starts
        for query in range(n_queries):
            for i in range(n_ranked):
                if scores[query, i] > n_probes:
                    break
                ends[lists[query, i] + 2] += 1
                self.n_visits += 1
        for i in range(self.n_lists):
            self.n_visited += ends[i + 2] > 0
            ends[i + 2] += ends[i + 1]
        queries = np.empty(self.n_visits, np.int64)
        cdef int64_t[::1] visitors = queries
        for query in range(n_queries):
            for i in range(n_ranked):
                if scores[query, i] > n_probes:
                    break
                # The next place of this list; in the end, where the next list starts.
                place = ends[lists[query, i] + 1]
                visitors[place] = query
                ends[lists[query, i] + 1] += 1
        self.query_starts = <const int64_t *>cnp.PyArray_DATA(query_starts)
        self.queries = <const int64_t *>cnp.PyArray_DATA(queries)
        self.keep_alive = starts, query_starts, queries
