"""What linear models and networks share: see _model.pyx."""

from libc.stdint cimport int64_t, uint64_t

from .._dispatch cimport fnn_adam, fnn_linear, fnn_row_losses, fnn_sgd


cdef enum Loss:
    SOFTMAX
    SVM
    HINGE
    SQUARED_ERROR
    POISSON
    LOG_LOSS


cdef enum Method:
    SCORES
    LOSS
    GRADIENT
    SGD
    ADAM


cdef enum Phase:
    ROWS
    UPDATES
    REFRESH


cdef struct Parameters:
    # Weights or a bias, and what the optimizer keeps for them: one order of values in all arrays.
    char *values
    char *first_moments
    char *second_moments
    # Gradients of a batch's rounds so far.
    double *totals
    Py_ssize_t itemsize
    const fnn_linear *kernels
    # A bias has no penalty.
    bint is_bias
    bint is_fixed


cdef struct Run:
    void *model
    Method method
    # Which rows, in which order; NULL: all, as they lie.
    const int64_t *order
    Py_ssize_t n_rows
    Py_ssize_t batch_size
    # Of each batch: its step size, and the sum of its rows' weights.
    const double *rates
    const double *batch_weights
    # Where scores go.
    char *scores
    int n_threads
    # The round, and the batch that it belongs to.
    Phase phase
    Py_ssize_t first
    Py_ssize_t stop
    Py_ssize_t batch_last
    bint begins_batch
    bint ends_batch
    bint is_weightless
    uint64_t n_rounds
    int64_t n_steps
    # What sums over the batch's rows are divided by.
    double divisor
    fnn_sgd sgd
    fnn_sgd bias_sgd
    fnn_adam adam
    fnn_adam bias_adam
    int64_t n_done
    # The step has begun, and is taken to its end even if the run has to stop.
    int64_t is_committed
    # Of the batch so far; then of all batches before.
    double loss
    double half_squares
    double total
    double total_divisor
    double hits
    # The batch's loss is not finite, and its step was not taken.
    bint has_failed


cdef inline Py_ssize_t row_at(const Run *run, Py_ssize_t i) noexcept nogil:
    return i if run.order == NULL else run.order[i]


cdef inline Py_ssize_t count_panels(Py_ssize_t n, Py_ssize_t width) noexcept nogil:
    return (n + width - 1) // width


cdef class Model:
    cdef object X, y, sample_weights
    cdef readonly object dtype
    # Steps and rounds so far.
    cdef readonly int64_t steps
    cdef uint64_t n_rounds
    cdef Py_ssize_t n_rows, n_features, n_outputs, itemsize, row_bytes
    cdef bint wide, divides_by_weight
    cdef Loss loss
    cdef double margin, alpha
    cdef int n_threads
    # Pointers into objects, for threads.
    cdef const char *rows
    cdef const int64_t *labels
    cdef const char *targets
    cdef const double *weights_of_rows
    cdef const fnn_linear *linear
    cdef fnn_row_losses label_losses
    # Weights and bias of each layer in turn: arrays, and where they are.
    cdef Py_ssize_t n_parameters
    cdef Parameters *parameters
    cdef list values, first_moments, second_moments, totals, n_units
    # Of a round: losses and hits of parts of its rows, in order; squares of parts of the weights.
    cdef double *losses
    cdef double *hits
    cdef double *squares
    cdef Py_ssize_t n_losses, n_squares
    cdef list keep_alive

    cdef set_up(
        self, X, y, Py_ssize_t n_outputs, str loss, double margin, double alpha, sample_weights,
        int n_threads,
    )
    cdef char *allocate(self, Py_ssize_t n_bytes, bint zeroed=*)
    cdef make_parameters(self, list sizes, list n_units)
    cdef make_moments(self, bint with_squares)
    cdef make_totals(self)
    cdef start_anew(self)
    cdef pack_all(self, list arrays, matrices)
    cdef sum_weights(self, order, batch_size)
    cdef make_sums(self, Py_ssize_t n_losses, Py_ssize_t n_squares)

    # ---- what a subclass has -------------------------------------------------------------------

    cdef pack(self, Py_ssize_t layer, matrix, packed)
    cdef unpack(self, Py_ssize_t layer, packed, dtype)
    cdef refresh_all(self)
    cdef double nanoseconds(self, Py_ssize_t n_rows) noexcept
    cdef Py_ssize_t count_most_tasks(self, Py_ssize_t n_rows) noexcept
    cdef Py_ssize_t max_round_rows(self, const Run *run) noexcept nogil
    cdef Py_ssize_t start_rows(self, const Run *run) noexcept nogil
    cdef Py_ssize_t start_updates(self, const Run *run) noexcept nogil
    cdef Py_ssize_t start_refresh(self, const Run *run) noexcept nogil
    cdef void row_task(self, const Run *run, Py_ssize_t task, int thread) noexcept nogil
    cdef void update_task(self, const Run *run, Py_ssize_t task, int thread) noexcept nogil
    cdef void refresh_task(self, const Run *run, Py_ssize_t task) noexcept nogil

    # ---- what it calls -------------------------------------------------------------------------

    cdef double add_losses(
        self, const Run *run, Py_ssize_t first, Py_ssize_t n, void *scores, double *hits
    ) noexcept nogil
    cdef double update(
        self, const Run *run, Parameters *parameters, Py_ssize_t at, Py_ssize_t n, void *gradient
    ) noexcept nogil

    # ---- runs ----------------------------------------------------------------------------------

    cdef list unpack_all(self, list arrays, dtype=*)
    cdef double half_sum_of_squares(self)
    cdef start(self, Run *run, Method method, batch_weights, Py_ssize_t batch_size)
    cdef int go_on(self, Run *run, progress) except -1
    cdef Py_ssize_t next_round(self, Run *run) noexcept nogil
    cdef Py_ssize_t next_phase(self, Run *run) noexcept nogil
    cdef void set_step(self, Run *run) noexcept nogil
    cdef void end_rows(self, Run *run) noexcept nogil
    cdef void end_round(self, Run *run) noexcept nogil
