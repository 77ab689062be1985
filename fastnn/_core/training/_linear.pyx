"""Linear scores, their losses and gradients, and epochs of gradient descent.

The way of a row: it is read from memory once, in a block of rows that fits the second-level cache;
scored (dot_rows), turned into its loss and the loss's derivatives (svm_losses, softmax_losses), and
added to the gradient (add_outer) while it is still there.

Blocks belong to tasks, and tasks to rounds. A task keeps a gradient of its own, so that tasks share
nothing; at the end of a round they are added up in order, strip by strip, and after the last round
of a batch each strip takes its step. How rows are divided depends on the shapes alone, never on the
number of threads, and so do all sums. All batches are one job, of two or three phases each.

Rows may be bytes, or any numbers, that stand for (x - mean) * scale. They are used as they are:

    W . ((x - mean) scale) + b = V . x + (b - V . mean)        with V = W scale, feature by feature,
    dL/dW = scale (dL/dV - mean dL/db).

Weights are kept as the kernels want them, in strips of features: see csrc/fnn_kernels.h.
"""

from cython cimport floating
from libc.math cimport isfinite
from libc.stdint cimport int64_t
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from .._dispatch cimport (
    FNN_DOT_STRIP,
    FNN_MAX_BLOCK_ROWS,
    active_kernels,
    fnn_kernels,
    fnn_descend,
    fnn_linear,
    fnn_row_losses,
    fnn_step,
)
from .._jobs cimport IEEEScope, fnn_fetch_add, ieee_scope, run_job, threads_for
from .._rows cimport aligned_bytes
from .._tuning cimport (
    GRADIENT_BYTES,
    HALF_L2_BYTES,
    MAX_GRADIENTS,
    MAX_GRADIENT_ROWS,
    MIN_GRADIENT_ROWS,
    nanoseconds_to_compare,
    nanoseconds_to_pack,
)

cnp.import_array()


cdef aligned_empty(Py_ssize_t n_rows, Py_ssize_t n_columns, dtype):
    """Return an empty matrix of which each row starts at a cache line.

    Vectors as wide as a line would else be two lines each time they are loaded.
    """
    cdef Py_ssize_t itemsize = dtype.itemsize
    cdef Py_ssize_t stride = (n_columns * itemsize + 63) // 64 * 64 // itemsize
    rows = aligned_bytes(n_rows * stride * itemsize).view(dtype).reshape(n_rows, stride)
    return rows[:, :n_columns]


def pack_strips(matrix):
    """Return a matrix as the kernels want weights: strip by strip, one-dimensional."""
    packed = aligned_empty(1, matrix.size, matrix.dtype)[0]
    n_rows, n_columns = matrix.shape
    for start in range(0, n_columns, FNN_DOT_STRIP):
        strip = matrix[:, start : start + FNN_DOT_STRIP]
        target = packed[start * n_rows : start * n_rows + strip.size]
        target.reshape(strip.shape)[:] = strip
    return packed


def unpack_strips(packed, Py_ssize_t n_rows):
    """Return the matrix of `n_rows` rows that `pack_strips` has packed."""
    strips = np.split(packed, range(FNN_DOT_STRIP * n_rows, packed.size, FNN_DOT_STRIP * n_rows))
    return np.hstack([strip.reshape(n_rows, -1) for strip in strips])


cdef struct Work:
    # What the tasks of a round read, and the functions that they call.
    const fnn_linear *kernels
    fnn_row_losses row_losses
    double margin
    # Weights and scores are float64, else float32.
    bint wide
    const char *rows
    Py_ssize_t row_bytes
    # Which rows, in which order; NULL: all, as they lie.
    const int64_t *order
    const int64_t *labels
    const double *sample_weights
    Py_ssize_t n_features
    Py_ssize_t n_classes
    # Packed weights and what is added to their scores.
    const void *weights
    const double *offsets
    Py_ssize_t block_rows


cdef struct Scratch:
    # Of a block, for one thread.
    const char *rows[FNN_MAX_BLOCK_ROWS]
    const char *next_rows[FNN_MAX_BLOCK_ROWS]
    int64_t labels[FNN_MAX_BLOCK_ROWS]
    double sample_weights[FNN_MAX_BLOCK_ROWS]


cdef enum Stage:
    ROWS
    STRIPS
    OFFSETS


cdef struct Run:
    # What threads share while they go through rows together, batch after batch.
    Work work
    Py_ssize_t n_rows
    Py_ssize_t batch_size
    # A batch is one round of rows, or several.
    Py_ssize_t round_rows
    Py_ssize_t n_strips
    # Of a round's tasks: gradients (NULL: not wanted), the offsets' gradients, losses.
    char *gradients
    Py_ssize_t gradient_bytes
    double *task_offsets
    double *losses
    Py_ssize_t max_tasks
    # Of a batch of several rounds: sums over those so far.
    double *totals
    double *totals_of_offsets
    double *gradient_of_offsets
    # Where a gradient goes that takes no step, [classes][features]; NULL: nowhere.
    char *result
    # What a step changes. No rates: nothing; and nothing by a batch of which no row has a weight.
    const double *rates
    const double *batch_weights
    fnn_step step
    bint with_offsets
    const fnn_linear *kernels_of_weights
    fnn_descend descend_offsets
    char *W
    char *V
    char *velocity
    double *velocity_of_offsets
    double *offsets
    double *effective_offsets
    double *squares
    # NULL where rows are as they are.
    const char *mean
    const char *scale
    # [threads] sums and scores of a block
    double *scratch
    # Where the run is: the round's rows and its tasks, the batch's rows and its step.
    Stage stage
    Py_ssize_t first
    Py_ssize_t stop
    Py_ssize_t n_tasks
    Py_ssize_t rows_per_task
    Py_ssize_t batch_first
    Py_ssize_t batch_last
    fnn_step round_step
    int64_t n_done
    # Of the batch: losses so far, and what the penalty adds for each row.
    double loss
    double penalty
    # Of all batches before.
    double total
    # The batch's loss is not finite, and its step was not taken.
    bint has_failed


cdef void add_to_totals(
    const floating *gradient, Py_ssize_t n, bint is_first, double *totals
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        totals[i] = (0.0 if is_first else totals[i]) + gradient[i]


cdef void take_totals(const double *totals, Py_ssize_t n, floating *gradient) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        gradient[i] = <floating>totals[i]


cdef void unscale(
    double of_offset, const floating *mean, const floating *scale, Py_ssize_t n, floating *gradient
) noexcept nogil:
    """dL/dW = scale (dL/dV - mean dL/db), for some features of a class."""
    cdef floating slope = <floating>of_offset
    cdef Py_ssize_t k
    for k in range(n):
        gradient[k] = (gradient[k] - slope * mean[k]) * scale[k]


cdef void multiply(
    const floating *values, const floating *factors, Py_ssize_t n, floating *products
) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(n):
        products[k] = values[k] * factors[k]


cdef void penalize(
    const floating *gradient, const floating *weights, Py_ssize_t n, double factor, double decay,
    floating *result,
) noexcept nogil:
    cdef floating f = <floating>factor, d = <floating>decay
    cdef Py_ssize_t k
    for k in range(n):
        result[k] = gradient[k] * f + d * weights[k]


cdef void add_offsets(
    const double *sums, const double *offsets, Py_ssize_t n, Py_ssize_t n_classes, floating *scores
) noexcept nogil:
    cdef Py_ssize_t r, c
    for r in range(n):
        for c in range(n_classes):
            scores[r * n_classes + c] = <floating>(sums[r * n_classes + c] + offsets[c])


cdef void add_rows(
    const floating *derivatives, Py_ssize_t n, Py_ssize_t n_classes, double *sums
) noexcept nogil:
    cdef Py_ssize_t r, c
    for r in range(n):
        for c in range(n_classes):
            sums[c] += derivatives[r * n_classes + c]


cdef void find_rows(
    const Work *work, Py_ssize_t first, Py_ssize_t n, const char **rows
) noexcept nogil:
    cdef Py_ssize_t r, row
    for r in range(n):
        row = first + r if work.order == NULL else work.order[first + r]
        rows[r] = work.rows + work.row_bytes * row


cdef void score_block(
    const Work *work, Py_ssize_t first, Py_ssize_t n, Scratch *scratch, double *sums, void *scores
) noexcept nogil:
    """Score n rows, at most a block."""
    find_rows(work, first, n, scratch.rows)
    work.kernels.dot_rows(
        <const void *const *>scratch.rows, n, work.weights, work.n_classes, work.n_features, sums
    )
    if work.wide:
        add_offsets(sums, work.offsets, n, work.n_classes, <double *>scores)
    else:
        add_offsets(sums, work.offsets, n, work.n_classes, <float *>scores)


cdef double run_block(
    const Work *work,
    Py_ssize_t first,
    Py_ssize_t n,
    bint asks_ahead,
    Scratch *scratch,
    double *sums,
    void *scores,
    void *gradient,
    double *gradient_of_offsets,
) noexcept nogil:
    """Return the losses of n rows, at most a block, and add their gradient, unless it is NULL.

    With asks_ahead the n rows after them come next.
    """
    cdef Py_ssize_t r, row
    cdef double loss
    score_block(work, first, n, scratch, sums, scores)
    for r in range(n):
        row = first + r if work.order == NULL else work.order[first + r]
        scratch.labels[r] = work.labels[row]
        scratch.sample_weights[r] = 1.0 if work.sample_weights == NULL else work.sample_weights[row]
    loss = work.row_losses(
        scores, scratch.labels, scratch.sample_weights, n, work.n_classes, work.margin, scores
    )
    if gradient != NULL:
        if asks_ahead:
            find_rows(work, first + n, n, scratch.next_rows)
        work.kernels.add_outer(
            <const void *const *>scratch.rows,
            <const void *const *>scratch.next_rows if asks_ahead else NULL,
            n, scores, work.n_classes, work.n_features, gradient,
        )
        if work.wide:
            add_rows(<double *>scores, n, work.n_classes, gradient_of_offsets)
        else:
            add_rows(<float *>scores, n, work.n_classes, gradient_of_offsets)
    return loss


cdef double run_task(
    const Work *work,
    Py_ssize_t first,
    Py_ssize_t last,
    double *sums,
    void *gradient,
    double *gradient_of_offsets,
) noexcept nogil:
    """Return the losses of some rows; write their gradient, unless it is NULL."""
    cdef Scratch scratch
    cdef double loss = 0.0
    cdef Py_ssize_t itemsize = sizeof(double) if work.wide else sizeof(float)
    if gradient != NULL:
        memset(gradient, 0, work.n_classes * work.n_features * itemsize)
        memset(gradient_of_offsets, 0, work.n_classes * sizeof(double))
    while first < last:
        loss += run_block(
            work, first, min(work.block_rows, last - first), first + 2 * work.block_rows <= last,
            &scratch,
            sums, sums + FNN_MAX_BLOCK_ROWS * work.n_classes, gradient, gradient_of_offsets,
        )
        first += work.block_rows
    return loss


cdef struct Scoring:
    Work work
    Py_ssize_t n_rows
    # [rows][classes], and what a row takes there; [threads] sums and scores of a block.
    char *scores
    Py_ssize_t score_bytes
    double *scratch


cdef void score_task(void *context, Py_ssize_t block, int thread) noexcept nogil:
    cdef const Scoring *s = <const Scoring *>context
    cdef Scratch scratch
    cdef Py_ssize_t first = block * s.work.block_rows
    score_block(
        &s.work, first, min(s.work.block_rows, s.n_rows - first), &scratch,
        s.scratch + thread * 2 * FNN_MAX_BLOCK_ROWS * s.work.n_classes,
        s.scores + first * s.score_bytes,
    )


# ---- the rounds of a run -----------------------------------------------------------------------


cdef Py_ssize_t width_of(const Run *run, Py_ssize_t strip) noexcept nogil:
    return min(<Py_ssize_t>FNN_DOT_STRIP, run.work.n_features - strip * FNN_DOT_STRIP)


cdef Py_ssize_t start_of(const Run *run, Py_ssize_t strip) noexcept nogil:
    """Return where a strip of weights begins, in bytes."""
    cdef Py_ssize_t itemsize = sizeof(double) if run.work.wide else sizeof(float)
    return strip * FNN_DOT_STRIP * run.work.n_classes * itemsize


cdef void sum_strip(
    const Run *run, Py_ssize_t strip, bint is_first, bint is_last, Py_ssize_t n_tasks
) noexcept nogil:
    """Add up a strip's gradients over a round's tasks, and over the rounds of a batch."""
    cdef Py_ssize_t size = width_of(run, strip) * run.work.n_classes, task
    cdef char *gradient = run.gradients + start_of(run, strip)
    cdef double *totals
    for task in range(1, n_tasks):
        run.work.kernels.add(gradient + task * run.gradient_bytes, size, gradient)
    if is_first and is_last:
        return
    totals = run.totals + strip * FNN_DOT_STRIP * run.work.n_classes
    if run.work.wide:
        add_to_totals(<double *>gradient, size, is_first, totals)
        take_totals(totals, size, <double *>gradient)
    else:
        add_to_totals(<float *>gradient, size, is_first, totals)
        take_totals(totals, size, <float *>gradient)


cdef double sum_offset(
    const Run *run, Py_ssize_t c, bint is_first, Py_ssize_t n_tasks
) noexcept nogil:
    """Return the same sum for the offset of one class."""
    cdef double total = 0.0
    cdef Py_ssize_t task
    for task in range(n_tasks):
        total += run.task_offsets[task * run.work.n_classes + c]
    return total if is_first else run.totals_of_offsets[c] + total


cdef void unscale_strip(
    const Run *run, Py_ssize_t strip, bint is_first, Py_ssize_t n_tasks
) noexcept nogil:
    cdef Py_ssize_t width = width_of(run, strip), first = strip * FNN_DOT_STRIP, c
    cdef char *gradient = run.gradients + start_of(run, strip)
    cdef double slope
    for c in range(run.work.n_classes):
        slope = sum_offset(run, c, is_first, n_tasks)
        if run.work.wide:
            unscale(
                slope, <double *>run.mean + first, <double *>run.scale + first, width,
                <double *>gradient + c * width,
            )
        else:
            unscale(
                slope, <float *>run.mean + first, <float *>run.scale + first, width,
                <float *>gradient + c * width,
            )


cdef void scale_strip(const Run *run, Py_ssize_t strip) noexcept nogil:
    """V = W scale"""
    cdef Py_ssize_t width = width_of(run, strip), first = strip * FNN_DOT_STRIP, c
    cdef char *W = run.W + start_of(run, strip)
    cdef char *V = run.V + start_of(run, strip)
    for c in range(run.work.n_classes):
        if run.work.wide:
            multiply(
                <double *>W + c * width, <double *>run.scale + first, width, <double *>V + c * width
            )
        else:
            multiply(
                <float *>W + c * width, <float *>run.scale + first, width, <float *>V + c * width
            )


cdef void shift_offsets(const Run *run, const fnn_linear *kernels) noexcept nogil:
    """b - V . mean, the offsets of rows as they are; `kernels` are those of the weights' type."""
    cdef const void *mean = run.mean
    cdef Py_ssize_t c
    kernels.dot_rows(
        &mean, 1, run.V, run.work.n_classes, run.work.n_features, run.effective_offsets
    )
    for c in range(run.work.n_classes):
        run.effective_offsets[c] = run.offsets[c] - run.effective_offsets[c]


cdef void give_strip(const Run *run, Py_ssize_t strip, const fnn_step *step) noexcept nogil:
    """Write a strip's gradient of the mean loss and its penalty to the result."""
    cdef Py_ssize_t width = width_of(run, strip), start = start_of(run, strip), c, at
    for c in range(run.work.n_classes):
        at = c * run.work.n_features + strip * FNN_DOT_STRIP
        if run.work.wide:
            penalize(
                <double *>(run.gradients + start) + c * width,
                <double *>(run.W + start) + c * width, width, step.factor, step.decay,
                <double *>run.result + at,
            )
        else:
            penalize(
                <float *>(run.gradients + start) + c * width,
                <float *>(run.W + start) + c * width, width, step.factor, step.decay,
                <float *>run.result + at,
            )


cdef void finish_strip(
    const Run *run, Py_ssize_t strip, bint is_first, bint is_last, Py_ssize_t n_tasks,
    const fnn_step *step,
) noexcept nogil:
    cdef Py_ssize_t start = start_of(run, strip)
    sum_strip(run, strip, is_first, is_last, n_tasks)
    if not is_last:
        return
    if run.scale != NULL:
        unscale_strip(run, strip, is_first, n_tasks)
    if run.result != NULL:
        give_strip(run, strip, step)
    if run.rates == NULL:
        return
    run.squares[strip] = run.work.kernels.descend(
        step, run.gradients + start, width_of(run, strip) * run.work.n_classes,
        run.velocity + start, run.W + start,
    )
    if run.scale != NULL:
        scale_strip(run, strip)


cdef void finish_offsets(
    const Run *run, bint is_first, bint is_last, Py_ssize_t n_tasks, const fnn_step *step
) noexcept nogil:
    # Strips may still read the totals of the rounds before the last.
    cdef double *target = run.gradient_of_offsets if is_last else run.totals_of_offsets
    cdef fnn_step free
    cdef Py_ssize_t c
    for c in range(run.work.n_classes):
        target[c] = sum_offset(run, c, is_first, n_tasks)
    if is_last and run.rates != NULL and run.with_offsets:
        # Offsets are float64, and not decayed.
        free = step[0]
        free.decay = 0.0
        run.descend_offsets(
            &free, target, run.work.n_classes, run.velocity_of_offsets, run.offsets
        )


cdef void run_phase_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef Run *run = <Run *>context
    cdef bint is_first = run.first == run.batch_first, is_last = run.stop == run.batch_last
    cdef Py_ssize_t first
    if run.stage == ROWS:
        first = run.first + task * run.rows_per_task
        run.losses[task] = run_task(
            &run.work, first, min(first + run.rows_per_task, run.stop),
            run.scratch + thread * 2 * FNN_MAX_BLOCK_ROWS * run.work.n_classes,
            NULL if run.gradients == NULL else run.gradients + task * run.gradient_bytes,
            run.task_offsets + task * run.work.n_classes,
        )
    elif run.stage == OFFSETS:
        shift_offsets(run, run.kernels_of_weights)
    elif task < run.n_strips:
        finish_strip(run, task, is_first, is_last, run.n_tasks, &run.round_step)
    else:
        finish_offsets(run, is_first, is_last, run.n_tasks, &run.round_step)


cdef Py_ssize_t next_run_phase(void *context) noexcept nogil:
    """Rows, strips of the gradient, offsets where rows are moved; then the next round."""
    cdef Run *run = <Run *>context
    if run.stage == ROWS:
        add_losses(run)
        if run.has_failed:
            return 0
        if is_weightless(run):
            return next_round(run)
        run.stage = STRIPS
        if run.gradients != NULL:
            return run.n_strips + 1
    if run.stage == STRIPS:
        run.stage = OFFSETS
        if run.stop == run.batch_last and run.rates != NULL and run.scale != NULL:
            return 1
    return next_round(run)


cdef bint is_weightless(const Run *run) noexcept nogil:
    cdef Py_ssize_t batch = run.batch_first // run.batch_size
    return run.batch_weights != NULL and run.batch_weights[batch] == 0.0


cdef void add_losses(Run *run) noexcept nogil:
    cdef Py_ssize_t task
    for task in range(run.n_tasks):
        run.loss += run.losses[task]
    if run.stop == run.batch_last:
        run.loss += run.penalty * (run.batch_last - run.batch_first)
        run.has_failed = run.rates != NULL and not isfinite(run.loss)
        if not run.has_failed:
            run.total += run.loss


cdef Py_ssize_t next_round(Run *run) noexcept nogil:
    """Go on by a round; return how many tasks that is."""
    cdef Py_ssize_t batch, strip
    fnn_fetch_add(&run.n_done, run.stop - run.first)
    if run.stop == run.batch_last and run.stop > 0:
        run.loss = run.penalty = 0.0
        for strip in range(run.n_strips if run.rates != NULL else 0):
            run.penalty += 0.5 * run.step.decay * run.squares[strip]
    if run.stop == run.n_rows:
        return 0
    batch = run.stop // run.batch_size
    run.stage, run.first, run.batch_first = ROWS, run.stop, batch * run.batch_size
    run.batch_last = min(run.batch_first + run.batch_size, run.n_rows)
    run.stop = min(run.first + run.round_rows, run.batch_last)
    run.rows_per_task = rows_per_task(run.stop - run.first, run.max_tasks)
    run.n_tasks = (run.stop - run.first + run.rows_per_task - 1) // run.rows_per_task
    run.round_step = run.step
    run.round_step.factor = 1.0 / (run.batch_last - run.batch_first)
    if run.rates != NULL:
        run.round_step.rate = run.rates[batch]
    return run.n_tasks


cdef Py_ssize_t rows_per_task(Py_ssize_t n_rows, Py_ssize_t max_tasks) noexcept nogil:
    cdef Py_ssize_t rows = (n_rows + max_tasks - 1) // max_tasks
    return max(<Py_ssize_t>MIN_GRADIENT_ROWS, min(<Py_ssize_t>MAX_GRADIENT_ROWS, rows))


# ---- the model ---------------------------------------------------------------------------------


cdef void *data_or_null(array):
    return NULL if array is None else cnp.PyArray_DATA(array)


cdef double half_sum_of_squares(W):
    # Not BLAS, whose sums depend on the number of threads.
    return 0.5 * float(np.square(W, dtype=np.float64).sum())


cdef class LinearModel:
    """Weights of linear scores, the rows they meet, and the loss between the two.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32, float64 or uint8
        C-contiguous.
    n_classes : int
    labels : ndarray of shape (n,), int64, or None
        Classes 0 to n_classes - 1. None where only scores are wanted.
    loss : {"svm", "softmax"}
    margin : float
        Of the SVM.
    l2 : float
        The penalty l2 / 2 * (the sum of W's squares) is part of the loss; offsets are free.
    sample_weights : ndarray of shape (n,), float64, or None
        Factors of the rows' losses.
    mean, scale : ndarray of shape (d,), float64, or None
        Rows stand for (x - mean) * scale.
    with_offsets : bool
        Whether training changes the offsets too.
    n_threads : int

    Attributes
    ----------
    dtype : numpy.dtype
        Of weights, scores and gradients: float64 if `X` is, else float32.
    """

    cdef object X, labels, sample_weights
    # In the weights' type; None where rows are as they are.
    cdef object mean, scale
    # Weights W, V = W * scale (W itself without a scale) and the momentum's velocity, packed.
    cdef object W, V, velocity, velocity_of_offsets
    cdef object offsets, effective_offsets
    # Of a round: a gradient, the derivatives of the offsets, and a sum of losses for each task.
    cdef object task_gradients, task_offsets, task_losses
    # Of a batch: sums over its rounds, where it has several, and all derivatives of the offsets.
    cdef object totals, totals_of_offsets, gradient_of_offsets
    # Of a step: the sum of squares of each strip of the weights.
    cdef object squares
    cdef object scratch
    cdef readonly object dtype
    cdef Py_ssize_t n_rows, n_features, n_classes, max_tasks
    cdef bint softmax, with_offsets
    cdef double margin, l2
    cdef int n_threads

    def __init__(
        self, X, n_classes, labels=None, str loss="softmax", double margin=1.0, double l2=0.0,
        sample_weights=None, mean=None, scale=None, bint with_offsets=True, int n_threads=1,
    ):
        self.X, self.labels, self.sample_weights = X, labels, sample_weights
        self.n_rows, self.n_features, self.n_classes = X.shape[0], X.shape[1], n_classes
        self.softmax, self.margin, self.l2 = loss == "softmax", margin, l2
        self.with_offsets, self.n_threads = with_offsets, n_threads
        self.dtype = np.dtype(np.float64 if X.dtype == np.float64 else np.float32)
        self.mean = self.scale = None
        if scale is not None:
            self.mean, self.scale = mean.astype(self.dtype), scale.astype(self.dtype)
        shape = (self.n_classes, self.n_features)
        cdef Py_ssize_t size = n_classes * self.n_features
        self.max_tasks = GRADIENT_BYTES // (size * <Py_ssize_t>self.dtype.itemsize)
        self.max_tasks = max(2, min(<Py_ssize_t>MAX_GRADIENTS, self.max_tasks))
        per_task = rows_per_task(self.n_rows, self.max_tasks)
        n_tasks = min(self.max_tasks, (self.n_rows + per_task - 1) // per_task)
        self.task_gradients = aligned_empty(n_tasks, size, self.dtype)
        self.task_offsets = np.empty((n_tasks, self.n_classes))
        self.task_losses = np.empty(n_tasks)
        self.totals, self.totals_of_offsets = None, np.empty(self.n_classes)
        self.gradient_of_offsets = np.empty(self.n_classes)
        self.squares = np.empty((self.n_features + FNN_DOT_STRIP - 1) // FNN_DOT_STRIP)
        # For each thread: sums and scores of a block, in this order.
        self.scratch = np.empty((n_threads, 2 * FNN_MAX_BLOCK_ROWS * self.n_classes))
        self.set_weights(np.zeros(shape, self.dtype), np.zeros(n_classes))

    def set_weights(self, W, offsets):
        """Take over weights of shape (n_classes, d) and offsets of shape (n_classes,), at rest."""
        self.W = pack_strips(np.asarray(W, self.dtype))
        self.offsets = np.array(offsets, np.float64)
        self.velocity, self.velocity_of_offsets = np.zeros_like(self.W), np.zeros_like(self.offsets)
        if self.scale is None:
            self.V, self.effective_offsets = self.W, self.offsets
        else:
            self.V = aligned_empty(1, self.W.size, self.dtype)[0]
            self.effective_offsets = np.empty(self.n_classes)
            self.scale_weights()

    cdef scale_weights(self):
        cdef Run run
        cdef Py_ssize_t strip
        self.start(&run, None, 0, 1)
        for strip in range(run.n_strips):
            scale_strip(&run, strip)
        shift_offsets(&run, run.kernels_of_weights)

    def get_weights(self):
        """Return copies of the weights, of shape (n_classes, d), and of the offsets."""
        return unpack_strips(self.W, self.n_classes), self.offsets.copy()

    def set_moments(self, moments):
        """Take over what `get_moments` has returned, after the weights."""
        velocity, velocity_of_offsets = moments
        self.velocity = pack_strips(np.asarray(velocity, self.dtype))
        self.velocity_of_offsets = np.array(velocity_of_offsets, np.float64)

    def get_moments(self):
        """Return copies of what momentum adds to the weights and to the offsets."""
        return unpack_strips(self.velocity, self.n_classes), self.velocity_of_offsets.copy()

    cdef const fnn_linear *kernels_for(self, X):
        cdef const fnn_kernels *kernels = active_kernels()
        if X.dtype == np.uint8:
            return &kernels.linear_u8
        return &kernels.linear_f32 if X.dtype == np.float32 else &kernels.linear_f64

    cdef int threads_worth(self, Py_ssize_t n_rows, Py_ssize_t n_tasks) noexcept:
        cdef double n_values = <double>n_rows * self.n_features
        return threads_for(
            self.n_threads, n_tasks,
            nanoseconds_to_compare(n_values * self.n_classes) + nanoseconds_to_pack(0.1 * n_values),
        )

    cdef Work work_on(self, order):
        cdef Work work
        work.kernels = self.kernels_for(self.X)
        work.row_losses = work.kernels.softmax_losses if self.softmax else work.kernels.svm_losses
        work.margin = self.margin
        work.wide = self.dtype == np.float64
        work.rows = <const char *>cnp.PyArray_DATA(self.X)
        work.row_bytes = self.n_features * <Py_ssize_t>self.X.itemsize
        work.order = <const int64_t *>data_or_null(order)
        work.labels = <const int64_t *>data_or_null(self.labels)
        work.sample_weights = <const double *>data_or_null(self.sample_weights)
        work.n_features, work.n_classes = self.n_features, self.n_classes
        work.weights = cnp.PyArray_DATA(self.V)
        work.offsets = <const double *>cnp.PyArray_DATA(self.effective_offsets)
        # At least three, which share the weights that are read.
        work.block_rows = max(
            3, min(<Py_ssize_t>FNN_MAX_BLOCK_ROWS, HALF_L2_BYTES // work.row_bytes)
        )
        return work

    def scores(self):
        """Return the scores of all rows, of shape (n, n_classes)."""
        cdef IEEEScope _ieee = ieee_scope()
        cdef Scoring scoring
        cdef double[:, ::1] scratch = self.scratch
        cdef Py_ssize_t n_blocks
        scoring.work = self.work_on(None)
        scores = np.empty((self.n_rows, self.n_classes), self.dtype)
        scoring.scores, scoring.scratch = <char *>cnp.PyArray_DATA(scores), &scratch[0, 0]
        scoring.n_rows = self.n_rows
        scoring.score_bytes = self.n_classes * <Py_ssize_t>scores.itemsize
        n_blocks = (self.n_rows + scoring.work.block_rows - 1) // scoring.work.block_rows
        run_job(score_task, &scoring, n_blocks, self.threads_worth(self.n_rows, n_blocks))
        return scores

    def loss_and_gradient(self, bint with_gradient=True):
        """Return the loss over all rows and its gradient with respect to weights and offsets.

        Returns
        -------
        loss : float
            Mean of the weighted losses, plus the penalty; NaN if a score is not finite.
        gradient : ndarray of shape (n_classes, d) or None
        gradient_of_offsets : ndarray of shape (n_classes,), float64, or None
        """
        cdef Run run
        cdef double loss
        gradient, gradient_of_offsets = None, None
        self.start(&run, None, self.n_rows, self.n_rows)
        run.step.decay = self.l2
        if with_gradient:
            gradient = np.empty((self.n_classes, self.n_features), self.dtype)
            run.result = <char *>cnp.PyArray_DATA(gradient)
        else:
            run.gradients = NULL
        loss = self.go_on(&run, 0.0, None) / self.n_rows
        if self.l2:
            loss += self.l2 * half_sum_of_squares(self.W)
        if with_gradient:
            gradient_of_offsets = self.gradient_of_offsets / self.n_rows
        return loss, gradient, gradient_of_offsets

    def train(
        self, const int64_t[::1] order, Py_ssize_t batch_size, const double[::1] rates,
        double momentum=0.0, bint nesterov=False, progress=None,
    ):
        """Descend once for each batch of rows.

        Parameters
        ----------
        order : ndarray of shape (n,), int64
            Rows, batch after batch. The last batch may be smaller.
        batch_size : int
        rates : ndarray of shape (n_batches,), float64
            Step sizes.
        momentum : float
        nesterov : bool
        progress : callable or None
            Is told from time to time how many more rows are done.

        Returns
        -------
        float
            Mean of the rows' losses, each before its batch's step, and of the penalties then. Where
            it is not finite, training has ended with the batch that was not, before its step.
        """
        cdef Run run
        positions = np.asarray(order)
        self.start(&run, positions, len(positions), batch_size)
        run.rates = &rates[0]
        if self.sample_weights is not None:
            starts = np.arange(0, len(positions), batch_size)
            batch_weights = np.add.reduceat(self.sample_weights[positions], starts)
            run.batch_weights = <const double *>cnp.PyArray_DATA(batch_weights)
        run.step = fnn_step(1.0, self.l2, 0.0, momentum, nesterov)
        return self.go_on(&run, self.l2 * half_sum_of_squares(self.W), progress) / len(positions)

    cdef start(self, Run *run, order, Py_ssize_t n_rows, Py_ssize_t batch_size):
        """Prepare to go through rows, in some order or as they lie; nothing moves."""
        memset(run, 0, sizeof(Run))
        run.work = self.work_on(order)
        run.n_rows, run.batch_size, run.max_tasks = n_rows, batch_size, self.max_tasks
        run.round_rows = self.max_tasks * MAX_GRADIENT_ROWS
        run.n_strips = self.squares.size
        run.gradients = <char *>cnp.PyArray_DATA(self.task_gradients)
        run.gradient_bytes = self.task_gradients.strides[0]
        run.task_offsets = <double *>cnp.PyArray_DATA(self.task_offsets)
        run.losses = <double *>cnp.PyArray_DATA(self.task_losses)
        if batch_size > run.round_rows and self.totals is None:
            self.totals = np.empty(self.n_classes * self.n_features)
        run.totals = <double *>data_or_null(self.totals)
        run.totals_of_offsets = <double *>cnp.PyArray_DATA(self.totals_of_offsets)
        run.gradient_of_offsets = <double *>cnp.PyArray_DATA(self.gradient_of_offsets)
        run.with_offsets = self.with_offsets
        run.kernels_of_weights = &active_kernels().linear_f32
        if run.work.wide:
            run.kernels_of_weights = &active_kernels().linear_f64
        run.descend_offsets = active_kernels().linear_f64.descend
        run.W = <char *>cnp.PyArray_DATA(self.W)
        run.V = <char *>cnp.PyArray_DATA(self.V)
        run.velocity = <char *>cnp.PyArray_DATA(self.velocity)
        run.velocity_of_offsets = <double *>cnp.PyArray_DATA(self.velocity_of_offsets)
        run.offsets = <double *>cnp.PyArray_DATA(self.offsets)
        run.effective_offsets = <double *>cnp.PyArray_DATA(self.effective_offsets)
        run.squares = <double *>cnp.PyArray_DATA(self.squares)
        run.mean = <const char *>data_or_null(self.mean)
        run.scale = <const char *>data_or_null(self.scale)
        run.scratch = <double *>cnp.PyArray_DATA(self.scratch)

    cdef double go_on(self, Run *run, double penalty, progress) except? -1:
        """Return the sum of the rows' losses, with a penalty for each, or one that is not finite.

        `progress` is told how many more rows are done.
        """
        cdef IEEEScope _ieee = ieee_scope()
        cdef Py_ssize_t n_tasks = max(
            run.n_strips, min(run.max_tasks, run.batch_size // MIN_GRADIENT_ROWS)
        )
        run.penalty = penalty
        run_job(
            run_phase_task, run, next_round(run), self.threads_worth(run.batch_size, n_tasks),
            progress, run.n_rows, next_run_phase, &run.n_done, run.n_rows,
        )
        return run.loss if run.has_failed else run.total
