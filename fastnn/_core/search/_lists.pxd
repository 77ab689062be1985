"""Which queries meet which samples, if not all do: see _lists.pyx."""

from libc.stdint cimport int64_t


cdef class Visits:
    # How many lists there are, visits to them, and lists that are visited.
    cdef Py_ssize_t n_lists, n_visits, n_visited
    # [n_lists + 1]: where the samples of a list start, and where the queries that visit it do.
    cdef const int64_t *starts
    cdef const int64_t *query_starts
    # [n_visits]
    cdef const int64_t *queries
    cdef object keep_alive
