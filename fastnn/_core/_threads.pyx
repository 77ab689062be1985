"""The thread policy: how many threads a call may use. How they share work is in _jobs.pyx.

The loops run on threads of our own. OpenMP, where there is one, only says how many threads others
leave to us: what OMP_NUM_THREADS, threadpoolctl or omp_set_num_threads limit is its loops.
"""

import os
from functools import lru_cache
from threading import RLock


cdef extern from "fnn_openmp.h" nogil:
    const int FNN_OPENMP
    int omp_get_max_threads()


cdef enum:
    # Absurd wishes are cut down to this: each thread has scratch of its own.
    MAX_THREADS_PER_CORE = 16

cdef bint in_forked_child = False


def _mark_forked_child():
    # The threads that help do not survive a fork. That children start none of their own leaves the
    # workers of a fork pool a core each.
    global in_forked_child
    in_forked_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked_child)


class RenewedLock:
    """A lock that is free in a forked child, where its holder may be missing.

    Its holder may take it again: a kernel that is called meanwhile may run signal handlers, and
    these may call anything.
    """

    def __init__(self):
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self):
        self._lock = RLock()

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
    """Return the OpenMP standard of this build as a date (201511), or 0: built without OpenMP."""
    return FNN_OPENMP


def limit_from_outside():
    """Return how many threads others leave to us, or 0: nobody has set a limit."""
    cdef int limit
    wanted = os.environ.get("OMP_NUM_THREADS")
    if not FNN_OPENMP:
        # One number for each level of nesting.
        outermost = (wanted or "").split(",")[0].strip()
        return int(outermost) if outermost.isdecimal() else 0
    limit = omp_get_max_threads()
    # In joblib's workers the variable is set, too.
    return limit if wanted is not None or limit < available_cores() else 0


def describe_threads():
    """Return (threads with n_jobs=None, the reason)."""
    if in_forked_child:
        return 1, "forked child process: its parent's threads do not survive fork"
    cores, limit = available_cores(), limit_from_outside()
    if limit and "OMP_NUM_THREADS" in os.environ:
        return limit, f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}"
    if limit:
        return limit, f"limited to {limit} (threadpoolctl or omp_set_num_threads); {cores} cores"
    return cores, f"{cores} cores available to this process (affinity and cgroup limits counted)"


def effective_n_threads(n_jobs=None):
    """Return the number of threads for `n_jobs` (int or None), as in scikit-learn.

    None means all that this process may use; negative values count back from the number of cores
    (-1: all of them). Never more than OMP_NUM_THREADS, threadpoolctl or the parent of a worker
    process leave. Forked children always use one. No core gets more than 16 threads.

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
    if in_forked_child:
        return 1
    cdef int cores = available_cores()
    if FNN_OPENMP and wanted is None and omp_get_max_threads() <= cores:
        return omp_get_max_threads()  # whether or not that is a limit
    limit = limit_from_outside()
    if wanted is None:
        return limit or cores
    if wanted < 0:
        wanted = max(1, cores + 1 + wanted)
    return min(wanted, limit or MAX_THREADS_PER_CORE * cores)
