"""Linear models: scores, gradients and steps of a few weight vectors.

The way of a row: it is read from memory once, in a block of rows that fits the second-level cache;
scored (dot_rows), turned into its loss and the loss's derivatives, and added to the gradient
(add_outer) while it is still there.

Blocks belong to tasks, and tasks to rounds. A task keeps a gradient of its own, so that tasks share
nothing; at the end of a round they are added up in order, strip by strip, and after the last round
of a batch each strip takes its step.

Rows may be bytes, or any numbers, that stand for (x - mean) * scale. They are used as they are:

    W . ((x - mean) scale) + b = V . x + (b - V . mean)        with V = W scale, feature by feature,
    dL/dW = scale (dL/dV - mean dL/db).

Weights are kept as the kernels want them, in strips of features: see csrc/fnn_kernels.h.
"""

from cython cimport floating
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from .._dispatch cimport (
    FNN_DOT_STRIP,
    FNN_MAX_BLOCK_ROWS,
    active_kernels,
    fnn_kernels,
    fnn_linear,
)
from .._tuning cimport (
    GRADIENT_BYTES,
    HALF_L2_BYTES,
    MAX_GRADIENTS,
    MAX_GRADIENT_ROWS,
    MIN_GRADIENT_ROWS,
    nanoseconds_to_compare,
    nanoseconds_to_pack,
)
from ._model cimport GRADIENT, SCORES, Model, Run, count_panels, row_at

cnp.import_array()


cdef pack_strips(matrix, packed):
    """Write a matrix as the kernels want weights: strip by strip, one-dimensional."""
    n_rows = len(matrix)
    for start in range(0, matrix.shape[1], FNN_DOT_STRIP):
        strip = matrix[:, start : start + FNN_DOT_STRIP]
        packed[start * n_rows :][: strip.size].reshape(strip.shape)[:] = strip


cdef unpack_strips(packed, Py_ssize_t n_rows, dtype):
    """Return the matrix of `n_rows` rows that `pack_strips` has packed."""
    matrix = np.empty((n_rows, packed.size // n_rows), dtype)
    for start in range(0, matrix.shape[1], FNN_DOT_STRIP):
        strip = matrix[:, start : start + FNN_DOT_STRIP]
        strip[:] = packed[start * n_rows :][: strip.size].reshape(strip.shape)
    return matrix


cdef void add_bias(
    const double *sums, const double *bias, Py_ssize_t n, Py_ssize_t n_outputs, floating *scores
) noexcept nogil:
    cdef Py_ssize_t r, c
    for r in range(n):
        for c in range(n_outputs):
            scores[r * n_outputs + c] = <floating>(sums[r * n_outputs + c] + bias[c])


cdef void add_rows(
    const floating *derivatives, Py_ssize_t n, Py_ssize_t n_outputs, double *sums
) noexcept nogil:
    cdef Py_ssize_t r, c
    for r in range(n):
        for c in range(n_outputs):
            sums[c] += derivatives[r * n_outputs + c]


cdef void unscale(
    double bias_gradient, const floating *mean, const floating *scale, Py_ssize_t n,
    floating *gradient,
) noexcept nogil:
    """dL/dW = scale (dL/dV - mean dL/db), for some features of an output."""
    cdef floating g = <floating>bias_gradient
    cdef Py_ssize_t k
    for k in range(n):
        gradient[k] = (gradient[k] - g * mean[k]) * scale[k]


cdef void multiply(
    const floating *values, const floating *factors, Py_ssize_t n, floating *products
) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(n):
        products[k] = values[k] * factors[k]


cdef class LinearModel(Model):
    """Weights of shape (n_outputs, d) and a bias.

    Parameters
    ----------
    X, n_outputs, y, loss, margin, alpha, sample_weights, n_threads
        See `Model`.
    mean, scale : ndarray of shape (d,), float64, or None
        Rows stand for (x - mean) * scale.
    with_bias : bool
        Whether training changes the bias, too.
    """

    # Of the weights' type; NULL where rows are as they are.
    cdef const char *mean
    cdef const char *scale
    # V = W scale, and b - V . mean: the weights and the bias themselves without a scale.
    cdef char *V
    cdef double *effective_bias
    cdef const fnn_linear *row_kernels
    # Of a round's tasks: gradients, and those of the bias.
    cdef char *gradients
    cdef double *bias_gradients
    cdef Py_ssize_t gradient_bytes, max_tasks, rows_per_task, block_rows, n_strips
    # [n_threads]: sums, then scores of a block.
    cdef double *scratch

    def __init__(
        self, X, Py_ssize_t n_outputs, y=None, str loss="softmax", double margin=1.0,
        double alpha=0.0, sample_weights=None, mean=None, scale=None, bint with_bias=True,
        int n_threads=1,
    ):
        cdef const fnn_kernels *kernels = active_kernels()
        cdef Py_ssize_t size = n_outputs * <Py_ssize_t>X.shape[1], n_tasks
        self.set_up(X, y, n_outputs, loss, margin, alpha, sample_weights, n_threads)
        self.row_kernels = &kernels.linear_u8 if X.dtype == np.uint8 else self.linear
        self.make_parameters([size, n_outputs], [n_outputs])
        self.parameters[1].is_fixed = not with_bias
        self.V = self.parameters[0].values
        self.effective_bias = <double *>self.parameters[1].values
        self.mean = self.scale = NULL
        if scale is not None:
            self.V = self.allocate(size * self.itemsize)
            self.effective_bias = <double *>self.allocate(n_outputs * sizeof(double))
            parts = mean.astype(self.dtype), scale.astype(self.dtype)
            self.keep_alive.extend(parts)
            self.mean = <const char *>cnp.PyArray_DATA(parts[0])
            self.scale = <const char *>cnp.PyArray_DATA(parts[1])
        self.n_strips = count_panels(self.n_features, FNN_DOT_STRIP)
        # At least three, which share the weights that are read.
        self.block_rows = max(
            3, min(<Py_ssize_t>FNN_MAX_BLOCK_ROWS, HALF_L2_BYTES // self.row_bytes)
        )
        self.max_tasks = GRADIENT_BYTES // (size * self.itemsize)
        self.max_tasks = max(2, min(<Py_ssize_t>MAX_GRADIENTS, self.max_tasks))
        n_tasks = min(
            self.max_tasks, count_panels(self.n_rows, self.find_rows_per_task(self.n_rows))
        )
        self.make_sums(n_tasks, self.n_strips)
        self.gradient_bytes = count_panels(size * self.itemsize, 64) * 64
        self.gradients = NULL
        if y is not None:
            self.gradients = self.allocate(n_tasks * self.gradient_bytes, zeroed=False)
            self.bias_gradients = <double *>self.allocate(n_tasks * n_outputs * sizeof(double))
        self.scratch = <double *>self.allocate(
            n_threads * 2 * FNN_MAX_BLOCK_ROWS * n_outputs * sizeof(double), zeroed=False
        )

    # ---- weights -------------------------------------------------------------------------------

    cdef pack(self, Py_ssize_t layer, matrix, packed):
        pack_strips(matrix, packed)

    cdef unpack(self, Py_ssize_t layer, packed, dtype):
        return unpack_strips(packed, self.n_outputs, dtype)

    cdef refresh_all(self):
        cdef Py_ssize_t strip
        if self.scale == NULL:
            return
        for strip in range(self.n_strips):
            self.scale_strip(strip)
        self.shift_bias()

    cdef Py_ssize_t width_of(self, Py_ssize_t strip) noexcept nogil:
        return min(<Py_ssize_t>FNN_DOT_STRIP, self.n_features - strip * FNN_DOT_STRIP)

    cdef void scale_strip(self, Py_ssize_t strip) noexcept nogil:
        """V = W scale"""
        cdef Py_ssize_t width = self.width_of(strip), first = strip * FNN_DOT_STRIP, c, at
        for c in range(self.n_outputs):
            at = first * self.n_outputs + c * width
            if self.wide:
                multiply(
                    <double *>self.parameters[0].values + at, <double *>self.scale + first, width,
                    <double *>self.V + at,
                )
            else:
                multiply(
                    <float *>self.parameters[0].values + at, <float *>self.scale + first, width,
                    <float *>self.V + at,
                )

    cdef void shift_bias(self) noexcept nogil:
        """b - V . mean, the bias of rows as they are."""
        cdef const void *mean = self.mean
        cdef const double *bias = <const double *>self.parameters[1].values
        cdef Py_ssize_t c
        self.linear.dot_rows(
            &mean, 1, self.V, self.n_outputs, self.n_features, self.effective_bias
        )
        for c in range(self.n_outputs):
            self.effective_bias[c] = bias[c] - self.effective_bias[c]

    # ---- phases --------------------------------------------------------------------------------

    cdef double nanoseconds(self, Py_ssize_t n_rows) noexcept:
        cdef double n_values = <double>n_rows * self.n_features
        return nanoseconds_to_compare(n_values * self.n_outputs) + nanoseconds_to_pack(
            0.1 * n_values
        )

    cdef Py_ssize_t count_most_tasks(self, Py_ssize_t n_rows) noexcept:
        return max(self.n_strips, count_panels(n_rows, MIN_GRADIENT_ROWS))

    cdef Py_ssize_t find_rows_per_task(self, Py_ssize_t n_rows) noexcept nogil:
        cdef Py_ssize_t rows = count_panels(n_rows, self.max_tasks)
        return max(<Py_ssize_t>MIN_GRADIENT_ROWS, min(<Py_ssize_t>MAX_GRADIENT_ROWS, rows))

    cdef Py_ssize_t max_round_rows(self, const Run *run) noexcept nogil:
        if run != NULL and run.method == SCORES:
            return self.n_rows
        return self.max_tasks * MAX_GRADIENT_ROWS

    cdef Py_ssize_t start_rows(self, const Run *run) noexcept nogil:
        cdef Py_ssize_t n = run.stop - run.first
        self.rows_per_task = self.block_rows
        if run.method != SCORES:
            self.rows_per_task = self.find_rows_per_task(n)
            self.n_losses = count_panels(n, self.rows_per_task)
        return count_panels(n, self.rows_per_task)

    cdef Py_ssize_t start_updates(self, const Run *run) noexcept nogil:
        return self.n_strips + 1

    cdef Py_ssize_t start_refresh(self, const Run *run) noexcept nogil:
        return 0 if self.scale == NULL else 1

    cdef void row_task(self, const Run *run, Py_ssize_t task, int thread) noexcept nogil:
        """Add up losses and gradients of some rows, block by block."""
        cdef Py_ssize_t first = run.first + task * self.rows_per_task
        cdef Py_ssize_t last = min(first + self.rows_per_task, run.stop)
        cdef double *sums = self.scratch + thread * 2 * FNN_MAX_BLOCK_ROWS * self.n_outputs
        if run.method != SCORES:
            self.losses[task] = self.hits[task] = 0.0
        if run.method >= GRADIENT:
            memset(self.gradients + task * self.gradient_bytes, 0, self.gradient_bytes)
            memset(
                self.bias_gradients + task * self.n_outputs, 0, self.n_outputs * sizeof(double)
            )
        while first < last:
            self.run_block(
                run, task, first, min(self.block_rows, last - first),
                first + 2 * self.block_rows <= last, sums,
            )
            first += self.block_rows

    cdef void run_block(
        self, const Run *run, Py_ssize_t task, Py_ssize_t first, Py_ssize_t n, bint asks_ahead,
        double *sums,
    ) noexcept nogil:
        """Take n rows, at most a block, all the way. With asks_ahead n rows after them come next.
        """
        cdef const void *rows[FNN_MAX_BLOCK_ROWS]
        cdef const void *next_rows[FNN_MAX_BLOCK_ROWS]
        cdef void *scores = sums + FNN_MAX_BLOCK_ROWS * self.n_outputs
        cdef double *bias_gradient = self.bias_gradients + task * self.n_outputs
        if run.method == SCORES:
            scores = run.scores + first * self.n_outputs * self.itemsize
        self.find_rows(run, first, n, rows)
        self.row_kernels.dot_rows(rows, n, self.V, self.n_outputs, self.n_features, sums)
        if self.wide:
            add_bias(sums, self.effective_bias, n, self.n_outputs, <double *>scores)
        else:
            add_bias(sums, self.effective_bias, n, self.n_outputs, <float *>scores)
        if run.method == SCORES:
            return
        self.losses[task] += self.add_losses(run, first, n, scores, &self.hits[task])
        if run.method < GRADIENT:
            return
        if asks_ahead:
            self.find_rows(run, first + n, n, next_rows)
        self.row_kernels.add_outer(
            rows, next_rows if asks_ahead else NULL, n, scores, self.n_outputs, self.n_features,
            self.gradients + task * self.gradient_bytes,
        )
        if self.wide:
            add_rows(<double *>scores, n, self.n_outputs, bias_gradient)
        else:
            add_rows(<float *>scores, n, self.n_outputs, bias_gradient)

    cdef void find_rows(
        self, const Run *run, Py_ssize_t first, Py_ssize_t n, const void **rows
    ) noexcept nogil:
        cdef Py_ssize_t r
        for r in range(n):
            rows[r] = self.rows + self.row_bytes * row_at(run, first + r)

    cdef void update_task(self, const Run *run, Py_ssize_t task, int thread) noexcept nogil:
        """A strip of the weights; the last task is the bias."""
        cdef Py_ssize_t at = task * FNN_DOT_STRIP * self.n_outputs, c
        cdef double *sums = self.scratch + thread * 2 * FNN_MAX_BLOCK_ROWS * self.n_outputs
        if task == self.n_strips:
            for c in range(self.n_outputs):
                sums[c] = self.bias_gradient(c)
            self.update(run, &self.parameters[1], 0, self.n_outputs, sums)
            return
        self.sum_strip(task)
        self.squares[task] = self.update(
            run, &self.parameters[0], at, self.width_of(task) * self.n_outputs,
            self.gradients + at * self.itemsize,
        )
        if self.scale != NULL:
            self.scale_strip(task)

    cdef double bias_gradient(self, Py_ssize_t c) noexcept nogil:
        """Return a round's, over its tasks."""
        cdef double total = 0.0
        cdef Py_ssize_t task
        for task in range(self.n_losses):
            total += self.bias_gradients[task * self.n_outputs + c]
        return total

    cdef void sum_strip(self, Py_ssize_t strip) noexcept nogil:
        """Add up a strip's gradients over a round's tasks; make dL/dV dL/dW."""
        cdef Py_ssize_t width = self.width_of(strip), first = strip * FNN_DOT_STRIP, task, c
        cdef char *gradient = self.gradients + first * self.n_outputs * self.itemsize
        for task in range(1, self.n_losses):
            self.linear.add(gradient + task * self.gradient_bytes, width * self.n_outputs, gradient)
        if self.scale == NULL:
            return
        for c in range(self.n_outputs):
            if self.wide:
                unscale(
                    self.bias_gradient(c), <double *>self.mean + first,
                    <double *>self.scale + first, width, <double *>gradient + c * width,
                )
            else:
                unscale(
                    self.bias_gradient(c), <float *>self.mean + first,
                    <float *>self.scale + first, width, <float *>gradient + c * width,
                )

    cdef void refresh_task(self, const Run *run, Py_ssize_t task) noexcept nogil:
        self.shift_bias()
