"""Threads for a call: see _threads.pyx."""

from libc.stdint cimport uint64_t


cdef class Threads:
    """Threads that are awake, and compute as IEEE 754 has it, for as long as this object lives."""

    cdef int n_threads
    # [n_threads]: the control words to restore; NULL: nothing was changed.
    cdef uint64_t *before


cdef Threads gather(int n_threads)
