"""The thread policy: how many threads a call may use, and what state they are in."""

import os
from functools import lru_cache
from threading import Lock

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free


cdef extern from "fnn_openmp.h" nogil:
    const int FNN_OPENMP
    int omp_get_max_threads()


cdef extern from "fnn_gather.h" nogil:
    int64_t fnn_gather(int n_threads, uint64_t *before)
    void fnn_release(int n_threads, const uint64_t *before)


# OpenMP ends the process when it cannot start a thread, so absurd wishes are cut down to this.
cdef enum:
    MAX_THREADS_PER_CORE = 16

cdef bint in_forked_child = False


def _mark_forked_child():
    # The threads of an OpenMP pool do not survive fork, and libgomp waits for them for ever. Any
    # library may have started the pool that we share, so a forked child always runs serially: the
    # results are the same, and workers of a fork pool do not fight over the cores.
    global in_forked_child
    in_forked_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked_child)


class RenewedLock:
    """A lock that is free in a forked child, where its holder may be missing."""

    def __init__(self):
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self):
        self._lock = Lock()

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, *error):
        self._lock.release()


@lru_cache(maxsize=1)
def available_cores():
    """Return the cores this process may use: affinity and cgroup limits counted, once."""
    from joblib import cpu_count

    return cpu_count()


def openmp_version():
    """Return the OpenMP standard of this build as a date (201511), or 0 for a serial build."""
    return FNN_OPENMP


cdef int limit_from_outside():
    """Return how many threads others leave to us, or 0: nobody has set a limit."""
    cdef int limit = omp_get_max_threads()
    # In joblib's workers the variable is set, too.
    return limit if "OMP_NUM_THREADS" in os.environ or limit < available_cores() else 0


def describe_threads():
    """Return (threads with n_jobs=None, the reason)."""
    if not FNN_OPENMP:
        return 1, "built without OpenMP"
    if in_forked_child:
        return 1, "forked child process: OpenMP's threads do not survive fork"
    cores, limit = available_cores(), limit_from_outside()
    if "OMP_NUM_THREADS" in os.environ:
        return limit, f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}"
    if limit:
        return limit, f"limited to {limit} (threadpoolctl or omp_set_num_threads); {cores} cores"
    return cores, f"{cores} cores available to this process (affinity and cgroup limits counted)"


def effective_n_threads(n_jobs=None):
    """Return the number of threads for `n_jobs` (int or None), as in scikit-learn.

    None means all that this process may use; negative values count back from the number of cores
    (-1: all of them). Never more than OMP_NUM_THREADS, threadpoolctl or the parent of a worker
    process leave. Builds without OpenMP and forked children always use one. No core gets more than
    16 threads.

    Raises
    ------
    TypeError
        If `n_jobs` is neither None nor an integer.
    ValueError
        If `n_jobs` is 0.
    """
    wanted = None
    if n_jobs is not None:
        try:
            wanted = n_jobs.__index__()
        except AttributeError:
            raise TypeError(
                f"n_jobs must be an integer or None, got {type(n_jobs).__name__}"
            ) from None
        if wanted == 0:
            raise ValueError(
                "n_jobs == 0 has no meaning; use None, a positive or a negative integer"
            )
    if not FNN_OPENMP or in_forked_child:
        return 1
    cores, limit = available_cores(), limit_from_outside()
    if wanted is None:
        return limit or cores
    if wanted < 0:
        wanted = max(1, cores + 1 + wanted)
    return min(wanted, limit or MAX_THREADS_PER_CORE * cores)


def ieee_arithmetic():
    """Have this thread compute as IEEE 754 has it until what is returned is dropped.

    That is for NumPy's conversions: modes that torch.set_flush_denormal sets, say, take small
    float32 values for 0.
    """
    return gather(1)


cdef Threads gather(int n_threads):
    """Have so many threads ready until what is returned is dropped."""
    cdef Threads threads = Threads.__new__(Threads)
    threads.n_threads = n_threads
    threads.before = <uint64_t *>calloc(n_threads, sizeof(uint64_t))
    if threads.before == NULL:
        raise MemoryError()
    if not fnn_gather(n_threads, threads.before):
        free(threads.before)
        threads.before = NULL
    return threads


cdef class Threads:
    def __dealloc__(self):
        if self.before != NULL:
            fnn_release(self.n_threads, self.before)
            free(self.before)
