"""Parallel loops, one runner for all of them: see _jobs.pyx."""

from libc.stdint cimport int64_t, uint64_t


# One task, by a thread of this number: the caller's is 0.
ctypedef void (*run_task_t)(void *context, Py_ssize_t task, int thread) noexcept nogil
# Prepare the next phase when all tasks of one are done; return how many it has, or 0: that was all.
ctypedef Py_ssize_t (*next_phase_t)(void *context) noexcept nogil


cdef extern from "fnn_atomics.h" nogil:
    # Of counters and flags that threads change while others look at them.
    int64_t fnn_load(int64_t *counter)
    void fnn_store(int64_t *counter, int64_t value)
    int64_t fnn_fetch_add(int64_t *counter, int64_t value)


cdef class IEEEScope:
    """The calling thread computes as IEEE 754 has it for as long as this object lives."""

    cdef uint64_t before


cdef IEEEScope ieee_scope()
cdef int threads_for(int n_threads, Py_ssize_t n_tasks, double nanoseconds) noexcept nogil
cdef int run_job(
    run_task_t run_task, void *context, Py_ssize_t n_tasks, int n_threads, object advance=*,
    double total=*, next_phase_t next_phase=*, int64_t *n_done=*, double n_units=*,
    const int64_t *is_committed=*,
) except -1
