"""Linear scores, their losses and gradients, and epochs of gradient descent.

The way of a row: it is read from memory once, in a block of rows that fits the second-level cache;
scored (dot_rows), turned into its loss and the loss's derivatives (svm_losses, softmax_losses), and
added to the gradient (add_outer) while it is still there.

Blocks belong to tasks, and tasks to rounds. A task keeps a gradient of its own, so that tasks share
nothing; at the end of a round they are added up in order. How rows are divided depends on the
shapes alone, never on the number of threads, and so do all sums.

Rows may be bytes, or any numbers, that stand for (x - mean) * scale. They are used as they are:

    W . ((x - mean) scale) + b = V . x + (b - V . mean)        with V = W scale, feature by feature,
    dL/dW = scale (dL/dV - mean dL/db).

Weights are kept as the kernels want them, in strips of features: see csrc/fnn_kernels.h.
"""

from cpython.exc cimport PyErr_CheckSignals
from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.math cimport isfinite
from libc.stdint cimport int64_t
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from ._dispatch cimport (
    FNN_DOT_STRIP,
    FNN_MAX_BLOCK_ROWS,
    active_kernels,
    fnn_kernels,
    fnn_linear,
    fnn_row_losses,
    fnn_step,
)
from ._tiles cimport aligned_bytes

cnp.import_array()

cdef enum:
    # Rows of a block: half of the second-level cache of most CPUs, beside the weights.
    BLOCK_BYTES = 256 << 10
    # Gradients of a round's tasks: what all of them may take, and how many there are at most.
    GRADIENT_BYTES = 32 << 20
    MAX_TASKS = 16
    # Fewer rows than this do not pay for a gradient of their own; with more, a round ends, and
    # sums in float32 do not grow longer.
    MIN_TASK_ROWS = 64
    MAX_TASK_ROWS = 256
    # Multiplications under which a second thread costs more than it does.
    MIN_PARALLEL_WORK = 1 << 19
    # Multiplications between two checks for Ctrl-C: some 0.05 s.
    SLICE_WORK = 1 << 30


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


cdef void score_rows(
    const Work *work, Py_ssize_t first, Py_ssize_t n, double *sums, void *scores
) noexcept nogil:
    cdef Scratch scratch
    score_block(work, first, n, &scratch, sums, scores)


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

    cdef object X, labels, sample_weights, mean, scale, packed_scale, packed_mean, mean_row
    # Weights W, V = W * scale (W itself without a scale) and the momentum's velocity, packed.
    cdef object W, V, velocity, velocity_of_offsets
    cdef object offsets, effective_offsets
    # Of a round: a gradient, the derivatives of the offsets, and a sum of losses for each task.
    cdef object task_gradients, task_offsets, task_losses
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
        self.mean, self.scale = mean, scale
        shape = (self.n_classes, self.n_features)
        if scale is not None:
            self.packed_scale = pack_strips(np.broadcast_to(scale.astype(self.dtype), shape))
            self.mean_row = mean.astype(self.dtype)
            self.packed_mean = pack_strips(np.broadcast_to(self.mean_row, shape))
        cdef Py_ssize_t size = n_classes * self.n_features
        self.max_tasks = GRADIENT_BYTES // (size * <Py_ssize_t>self.dtype.itemsize)
        self.max_tasks = max(2, min(<Py_ssize_t>MAX_TASKS, self.max_tasks))
        n_tasks = self.tasks_of(self.n_rows)
        self.task_gradients = aligned_empty(n_tasks, size, self.dtype)
        self.task_offsets = np.empty((n_tasks, self.n_classes))
        self.task_losses = np.empty(n_tasks)
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
            self.apply_scale()

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

    cdef apply_scale(self):
        """Bring what the kernels read up to date: V = W scale, offsets - V . mean."""
        np.multiply(self.W, self.packed_scale, out=self.V)
        cdef const void *row = cnp.PyArray_DATA(self.mean_row)
        cdef double[::1] shifted = self.effective_offsets
        self.kernels_for(self.mean_row).dot_rows(
            &row, 1, cnp.PyArray_DATA(self.V), self.n_classes, self.n_features, &shifted[0]
        )
        np.subtract(self.offsets, self.effective_offsets, out=self.effective_offsets)

    cdef const fnn_linear *kernels_for(self, X):
        cdef const fnn_kernels *kernels = active_kernels()
        if X.dtype == np.uint8:
            return &kernels.linear_u8
        return &kernels.linear_f32 if X.dtype == np.float32 else &kernels.linear_f64

    cdef Py_ssize_t rows_per_task(self, Py_ssize_t n) noexcept:
        cdef Py_ssize_t rows = (n + self.max_tasks - 1) // self.max_tasks
        return max(<Py_ssize_t>MIN_TASK_ROWS, min(<Py_ssize_t>MAX_TASK_ROWS, rows))

    cdef Py_ssize_t tasks_of(self, Py_ssize_t n) noexcept:
        """Of n rows, or of a round where one does not take them all."""
        cdef Py_ssize_t rows = self.rows_per_task(n)
        return min(self.max_tasks, (n + rows - 1) // rows)

    cdef int threads_for(self, Py_ssize_t n_rows) noexcept:
        cdef bint few = <double>n_rows * self.n_features * self.n_classes < MIN_PARALLEL_WORK
        return 1 if few else self.n_threads

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
            3, min(<Py_ssize_t>FNN_MAX_BLOCK_ROWS, BLOCK_BYTES // work.row_bytes)
        )
        return work

    def terms_per_sum(self):
        """Return how many terms a lane adds up in the weights' type, at most, for a score."""
        cdef const fnn_kernels *kernels = active_kernels()
        cdef Py_ssize_t cols = kernels.dot_f32.cols
        if self.dtype == np.float64:
            cols = kernels.dot_f64.cols
        # A tile has two vectors of columns. What is left of a strip is added up in float64.
        return FNN_DOT_STRIP // (cols // 2) + 1

    def scores(self):
        """Return the scores of all rows, of shape (n, n_classes)."""
        cdef Work work = self.work_on(None)
        cdef Py_ssize_t n_blocks = (self.n_rows + work.block_rows - 1) // work.block_rows, block
        cdef Py_ssize_t slice_blocks = SLICE_WORK // (
            work.block_rows * self.n_features * self.n_classes
        ) + 1
        cdef Py_ssize_t first, last
        scores = np.empty((self.n_rows, self.n_classes), self.dtype)
        cdef char *target = <char *>cnp.PyArray_DATA(scores)
        cdef Py_ssize_t row_bytes = self.n_classes * <Py_ssize_t>scores.itemsize
        cdef double[:, ::1] scratch = self.scratch
        cdef int n_threads = max(1, min(self.threads_for(self.n_rows), n_blocks))
        for first in range(0, n_blocks, slice_blocks):
            last = min(first + slice_blocks, n_blocks)
            for block in prange(
                first, last, nogil=True, num_threads=n_threads, schedule="dynamic",
                use_threads_if=n_threads > 1,
            ):
                score_rows(
                    &work, block * work.block_rows,
                    min(work.block_rows, self.n_rows - block * work.block_rows),
                    &scratch[threadid(), 0], target + block * work.block_rows * row_bytes,
                )
            PyErr_CheckSignals()
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
        cdef double loss = self.run(None, 0, self.n_rows, with_gradient) / self.n_rows
        if self.l2:
            loss += self.l2 * half_sum_of_squares(self.W)
        if not with_gradient:
            return loss, None, None
        gradient = self.task_gradients[0] * self.dtype.type(1.0 / self.n_rows)
        if self.l2:
            gradient += self.dtype.type(self.l2) * self.W
        return loss, unpack_strips(gradient, self.n_classes), self.task_offsets[0] / self.n_rows

    cdef double run(self, order, Py_ssize_t first, Py_ssize_t last, bint with_gradient) except? -1:
        """Return the sum of the rows' losses; leave the sums of gradients with the first task."""
        cdef Py_ssize_t round_rows = self.max_tasks * MAX_TASK_ROWS, start, stop
        cdef double loss = 0.0
        gradient = offsets = 0.0
        for start in range(first, last, round_rows):
            stop = min(start + round_rows, last)
            loss += self.run_round(order, start, stop, with_gradient)
            if with_gradient:
                self.add_tasks(stop - start)
                if last - first > round_rows:
                    gradient = gradient + self.task_gradients[0].astype(np.float64)
                    offsets = offsets + self.task_offsets[0]
            if <double>(stop - first) * self.n_features * self.n_classes > SLICE_WORK:
                PyErr_CheckSignals()
        if with_gradient and last - first > round_rows:
            self.task_gradients[0], self.task_offsets[0] = gradient, offsets
        if with_gradient and self.scale is not None:
            self.scale_gradient()
        return loss

    cdef double run_round(self, order, Py_ssize_t first, Py_ssize_t last, bint with_gradient):
        """Return the sum of losses of at most a round's rows; leave gradients with the tasks."""
        cdef Work work = self.work_on(order)
        cdef double[:, ::1] offsets = self.task_offsets
        cdef double[::1] losses = self.task_losses
        cdef double[:, ::1] scratch = self.scratch
        cdef char *gradients = NULL
        cdef Py_ssize_t gradient_bytes = self.task_gradients.strides[0]
        cdef Py_ssize_t per_task = self.rows_per_task(last - first)
        cdef Py_ssize_t n_tasks = self.tasks_of(last - first), task
        cdef int n_threads = max(1, min(self.threads_for(last - first), n_tasks))
        cdef double loss = 0.0
        if with_gradient:
            gradients = <char *>cnp.PyArray_DATA(self.task_gradients)
        for task in prange(
            n_tasks, nogil=True, num_threads=n_threads, schedule="dynamic",
            use_threads_if=n_threads > 1,
        ):
            losses[task] = run_task(
                &work, first + task * per_task, min(first + (task + 1) * per_task, last),
                &scratch[threadid(), 0],
                NULL if gradients == NULL else gradients + task * gradient_bytes,
                &offsets[task, 0],
            )
        for task in range(n_tasks):
            loss += losses[task]
        return loss

    cdef add_tasks(self, Py_ssize_t n_rows):
        """Add the other tasks' gradients to the first one's."""
        cdef const fnn_linear *kernels = self.kernels_for(self.X)
        cdef Py_ssize_t n_tasks = self.tasks_of(n_rows), task, strip, start, size
        cdef Py_ssize_t n_strips = self.squares.size, itemsize = self.dtype.itemsize
        cdef Py_ssize_t strip_size = self.n_classes * FNN_DOT_STRIP
        cdef Py_ssize_t total = self.n_classes * self.n_features
        cdef Py_ssize_t gradient_bytes = self.task_gradients.strides[0]
        cdef char *gradients = <char *>cnp.PyArray_DATA(self.task_gradients)
        cdef int n_threads = self.threads_for(n_rows)
        for strip in prange(
            n_strips, nogil=True, num_threads=n_threads, schedule="static",
            use_threads_if=n_threads > 1,
        ):
            start = strip * strip_size
            size = min(strip_size, total - start)
            for task in range(1, n_tasks):
                kernels.add(
                    gradients + task * gradient_bytes + start * itemsize, size,
                    gradients + start * itemsize,
                )
        self.task_offsets[0] = self.task_offsets[:n_tasks].sum(axis=0)

    cdef scale_gradient(self):
        """dL/dW = scale (dL/dV - mean dL/db), in place."""
        gradient = self.task_gradients[0]
        offsets = self.task_offsets[0].astype(self.dtype)
        size = self.n_classes * FNN_DOT_STRIP
        for start in range(0, gradient.size, size):
            # Of a strip, all classes have one mean and one scale.
            strip = gradient[start : start + size].reshape(self.n_classes, -1)
            strip -= offsets[:, None] * self.packed_mean[start : start + strip.shape[1]]
            strip *= self.packed_scale[start : start + strip.shape[1]]

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
        cdef Py_ssize_t n = order.shape[0], first, last, told = 0, batch
        cdef Py_ssize_t slice_rows = SLICE_WORK // (self.n_features * self.n_classes) + 1
        cdef double total = 0.0, loss, penalty = self.l2 * half_sum_of_squares(self.W)
        cdef fnn_step step
        positions = np.asarray(order)
        for batch in range((n + batch_size - 1) // batch_size):
            first = batch * batch_size
            last = min(first + batch_size, n)
            loss = self.run(positions, first, last, True) + penalty * (last - first)
            total += loss
            if not isfinite(loss):
                return loss
            step = fnn_step(1.0 / (last - first), self.l2, rates[batch], momentum, nesterov)
            penalty = self.l2 * 0.5 * self.descend(&step, last - first)
            if last - told >= slice_rows or last == n:
                if progress is not None:
                    progress(last - told)
                told = last
                PyErr_CheckSignals()
        return total / n

    cdef double descend(self, const fnn_step *step, Py_ssize_t n_rows):
        """Take a step along the first task's gradient; return the weights' new sum of squares."""
        cdef const fnn_linear *kernels = self.kernels_for(self.X)
        cdef Py_ssize_t n_strips = self.squares.size, itemsize = self.dtype.itemsize, strip, start
        cdef Py_ssize_t strip_size = self.n_classes * FNN_DOT_STRIP, size
        cdef Py_ssize_t total = self.n_classes * self.n_features
        cdef char *gradient = <char *>cnp.PyArray_DATA(self.task_gradients)
        cdef char *velocity = <char *>cnp.PyArray_DATA(self.velocity)
        cdef char *W = <char *>cnp.PyArray_DATA(self.W)
        cdef double[::1] squares = self.squares
        cdef int n_threads = self.threads_for(n_rows)
        for strip in prange(
            n_strips, nogil=True, num_threads=n_threads, schedule="static",
            use_threads_if=n_threads > 1,
        ):
            start = strip * strip_size
            size = min(strip_size, total - start)
            squares[strip] = kernels.descend(
                step, gradient + start * itemsize, size, velocity + start * itemsize,
                W + start * itemsize,
            )
        if self.with_offsets:
            self.descend_offsets(step)
        if self.scale is not None:
            self.apply_scale()
        return float(self.squares.sum())

    cdef descend_offsets(self, const fnn_step *step):
        # Offsets are float64, and not decayed.
        cdef fnn_step free = step[0]
        free.decay = 0.0
        active_kernels().linear_f64.descend(
            &free, cnp.PyArray_DATA(self.task_offsets), self.n_classes,
            cnp.PyArray_DATA(self.velocity_of_offsets), cnp.PyArray_DATA(self.offsets),
        )
