"""Lists of samples, and of the queries that visit them.

A query knows the lists it visits; a scan goes list by list, so that queries that visit the same one
share its tiles.
"""

from libc.stdint cimport int64_t

import numpy as np

cimport numpy as cnp

cnp.import_array()


cdef class Visits:
    """The queries that visit each list.

    Parameters
    ----------
    starts : ndarray of shape (n_lists + 1,), int64
        Where the samples of each list start in the index, and where the last one ends.
    lists : ndarray of shape (n_queries, n_ranked), int64
        Lists in the order in which each query would visit them.
    n_of_query : ndarray of shape (n_queries,), int64
        How many of them it visits.

    Attributes
    ----------
    n_visits, n_visited : int
        How many visits there are, and to how many lists.
    """

    def __init__(self, const int64_t[::1] starts, const int64_t[:, ::1] lists,
                 const int64_t[::1] n_of_query):
        cdef Py_ssize_t query, i, n_queries = len(n_of_query)
        self.n_lists, self.starts = len(starts) - 1, &starts[0]
        self.n_visits = self.n_visited = 0
        query_starts = np.zeros(self.n_lists + 2, np.int64)
        cdef int64_t[::1] ends = query_starts
        for query in range(n_queries):
            self.n_visits += n_of_query[query]
            for i in range(n_of_query[query]):
                ends[lists[query, i] + 2] += 1
        for i in range(self.n_lists):
            self.n_visited += ends[i + 2] > 0
            ends[i + 2] += ends[i + 1]
        queries = np.empty(self.n_visits, np.int64)
        cdef int64_t[::1] visitors = queries
        for query in range(n_queries):
            for i in range(n_of_query[query]):
                # The next place of this list; in the end, where the next list starts.
                visitors[ends[lists[query, i] + 1]] = query
                ends[lists[query, i] + 1] += 1
        self.query_starts = <const int64_t *>cnp.PyArray_DATA(query_starts)
        self.queries = <const int64_t *>cnp.PyArray_DATA(queries)
        self.keep_alive = starts, query_starts, queries
