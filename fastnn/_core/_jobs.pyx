"""Parallel loops: the one place where threads meet, the clock is read, and Ctrl-C takes effect.

    kernel --run_job(task, context, n_tasks, n_threads)--> csrc/fnn_jobs.c: caller and helpers
                                                         take tasks until there are none
             every 50 ms, on the calling thread alone <--  look: signals, progress

A kernel that calls `run_job` holds the GIL, which is released meanwhile. Tasks are some 10 to 1000
microseconds long: short enough for threads to end together, and for Ctrl-C to take effect at once.
How rows become tasks is a function of the shapes, never of the threads, where sums depend on it.
"""

from cpython.exc cimport PyErr_CheckSignals

from ._tuning cimport MIN_NANOSECONDS_PER_THREAD


cdef extern from "fnn_ieee.h" nogil:
    uint64_t fnn_control_word()
    void fnn_set_control_word(uint64_t word)
    uint64_t fnn_set_ieee()


cdef extern from "fnn_jobs.h" nogil:
    ctypedef int (*fnn_look)(void *watcher, Py_ssize_t n_done) noexcept nogil

    ctypedef struct fnn_job:
        void *context
        run_task_t run_task
        next_phase_t next_phase
        Py_ssize_t n_tasks
        int n_threads
        fnn_look look
        void *watcher
        const int64_t *is_committed

    int fnn_run(const fnn_job *job)
    int64_t fnn_expected_delay()
    int fnn_count_helpers()


def count_helpers():
    """Return how many threads have been started to help those that call kernels."""
    return fnn_count_helpers()


# ---- arithmetic ----------------------------------------------------------------------------------


cdef IEEEScope ieee_scope():
    cdef IEEEScope scope = IEEEScope.__new__(IEEEScope)
    scope.before = fnn_set_ieee()
    return scope


cdef class IEEEScope:
    def __dealloc__(self):
        if fnn_control_word() & ~<uint64_t>0x3f != self.before & ~<uint64_t>0x3f:
            fnn_set_control_word(self.before)


def ieee_arithmetic():
    """Have this thread compute as IEEE 754 has it until what is returned is dropped.

    That is for NumPy's conversions: modes that torch.set_flush_denormal sets, say, take small
    float32 values for 0.
    """
    return ieee_scope()


# ---- loops ---------------------------------------------------------------------------------------


cdef int threads_for(int n_threads, Py_ssize_t n_tasks, double nanoseconds) noexcept nogil:
    """Return how many of the threads so many tasks are worth, which take one thread so long.

    Each has to save more than it takes to wake it, and to wait for it where cores are busy.
    """
    cdef double most
    if n_threads == 1 or nanoseconds < 2 * MIN_NANOSECONDS_PER_THREAD:
        return 1
    most = nanoseconds / (MIN_NANOSECONDS_PER_THREAD + fnn_expected_delay())
    return max(1, <int>min(<double>n_threads, min(<double>n_tasks, most)))


cdef class Watcher:
    """Checks for signals and moves the progress bar on behalf of a running job."""

    cdef object advance, error
    # What `advance` has been told so far, of `total`.
    cdef double total, told, n_units
    cdef int64_t *n_done

    cdef object tell(self, Py_ssize_t n_done):
        cdef double share
        if self.advance is None:
            return
        if self.n_done != NULL:
            n_done = fnn_load(self.n_done)
        share = self.total * n_done / self.n_units
        if share > self.told:
            # Before the call, which may raise.
            self.told, share = share, share - self.told
            # Units that count one each are whole.
            self.advance(<Py_ssize_t>share if self.total == self.n_units else share)


cdef int look(void *context, Py_ssize_t n_done) noexcept with gil:
    cdef Watcher watcher = <Watcher>context
    try:
        PyErr_CheckSignals()
        watcher.tell(n_done)
    except BaseException as error:
        watcher.error = error
        return True
    return False


cdef int run_job(
    run_task_t run_task,
    void *context,
    Py_ssize_t n_tasks,
    int n_threads,
    object advance=None,
    double total=1.0,
    next_phase_t next_phase=NULL,
    int64_t *n_done=NULL,
    double n_units=0.0,
    const int64_t *is_committed=NULL,
) except -1:
    """Call run_task(context, task, thread) for all tasks of a job, by up to n_threads threads.

    Parameters
    ----------
    run_task, context
        The function, and what it works on. No tasks of a phase depend on each other.
    n_tasks : int
        Of the first phase, numbers from 0 on: threads take them in this order.
    n_threads : int
        At least 1; `thread` is below it.
    advance : callable or None
        Called now and then with the part of `total` that has been done since the last call.
    total : float
        What a whole job is worth.
    next_phase : function or NULL
        NULL: there is one phase.
    n_done : pointer or NULL
        To how many of `n_units` are done; NULL: that is how many tasks are.
    is_committed : pointer or NULL
        While that is not 0, Ctrl-C does not end the job.
    """
    cdef fnn_job job
    cdef Watcher watcher = Watcher.__new__(Watcher)
    cdef bint is_stopped
    if n_tasks <= 0:
        return 0
    watcher.advance, watcher.total, watcher.n_done = advance, total, n_done
    watcher.n_units = n_units if n_done != NULL else <double>n_tasks
    job.context, job.run_task, job.next_phase = context, run_task, next_phase
    job.n_tasks, job.n_threads = n_tasks, n_threads
    job.look, job.watcher = look, <void *>watcher
    job.is_committed = is_committed
    with nogil:
        is_stopped = not fnn_run(&job)
    if is_stopped:
        raise watcher.error
    watcher.tell(n_tasks)
    return 0
