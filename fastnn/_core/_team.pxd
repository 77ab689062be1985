"""Threads of one parallel region that share out tasks and wait for each other."""

from libc.stdint cimport int64_t


cdef extern from "fnn_team.h" nogil:
    ctypedef struct fnn_team:
        int64_t taken

    ctypedef struct fnn_member:
        int n_members

    fnn_member fnn_join(fnn_team *team)
    Py_ssize_t fnn_next_task(fnn_member *member, Py_ssize_t n_tasks)
    void fnn_wait_for_all(fnn_member *member, Py_ssize_t n_tasks)
    # Of flags that some thread sets and others look at meanwhile.
    int64_t fnn_load(int64_t *flag)
    void fnn_store(int64_t *flag, int64_t value)
    double omp_get_wtime()
