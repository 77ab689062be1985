"""Models that are trained: parameters, the losses of rows, and epochs of gradient descent.

A linear model is a network without hidden layers, and both are trained in the same way. A batch
is one round of three phases, or several rounds if it has many rows:

    rows       scores, losses and their derivatives; what gradients are computed from
    updates    gradients; after the batch's last round each parameter takes its step
    refresh    what depends on the parameters is computed again

All batches are one job. `Model` has what is the same in both: the rounds, the losses and the
optimizers. A subclass has the tasks of the phases and the order of its weights in memory.

How rows are divided depends on the shapes alone, never on the number of threads, and so do all
sums.
"""

from cython cimport floating
from libc.math cimport exp, fabs, isfinite, log, log1p, pow, sqrt
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from .._dispatch cimport (
    FNN_MAX_BLOCK_ROWS,
    active_kernels,
    fnn_adam,
    fnn_kernels,
    fnn_sgd,
)
from .._jobs cimport IEEEScope, fnn_fetch_add, fnn_store, ieee_scope, run_job, threads_for
from .._rows cimport aligned_bytes

cnp.import_array()

LOSSES = {
    "softmax": SOFTMAX,
    "svm": SVM,
    "hinge": HINGE,
    "squared_error": SQUARED_ERROR,
    "poisson": POISSON,
    "log_loss": LOG_LOSS,
}


# ---- losses ------------------------------------------------------------------------------------


cdef double count_hits(
    const floating *scores, Py_ssize_t n_rows, Py_ssize_t n_outputs, const int64_t *labels,
    const double *weights,
) noexcept nogil:
    """Return the weight of the rows whose highest score is their class's."""
    cdef double hits = 0.0
    cdef floating highest
    cdef Py_ssize_t r, k, best
    for r in range(n_rows):
        best, highest = 0, scores[0]
        for k in range(1, n_outputs):
            best = k if scores[k] > highest else best
            highest = scores[k] if scores[k] > highest else highest
        hits += weights[r] if labels[r] == best else 0.0
        scores += n_outputs
    return hits


cdef double target_loss(
    Loss loss, double s, double t, double margin, double *derivative
) noexcept nogil:
    """Return the loss of a score `s` where `t` is wanted, and note its derivative."""
    cdef double e, sign
    if loss == HINGE:
        sign = 2.0 * t - 1.0
        e = margin - sign * s
        derivative[0] = -sign if e > 0.0 else 0.0
        return (e if e > 0.0 else 0.0) + 0.0 * s  # NaN of what is not finite
    if loss == SQUARED_ERROR:
        derivative[0] = s - t
        return 0.5 * (s - t) * (s - t)
    if loss == POISSON:
        e = exp(s)
        derivative[0] = e - t
        return e - t * s + (t * log(t) - t if t > 0.0 else 0.0)
    e = exp(-fabs(s))
    derivative[0] = (1.0 if s >= 0.0 else e) / (1.0 + e) - t
    return log1p(e) + (s if s > 0.0 else 0.0) - t * s


cdef double target_losses(
    Loss loss, double margin, floating *scores, const char *const *targets,
    const double *weights, Py_ssize_t n_rows, Py_ssize_t n_outputs, double *hits,
) noexcept nogil:
    """As fnn_row_losses, of rows of wanted values; a hit has all labels right."""
    cdef double total = 0.0, row_loss, derivative
    cdef const floating *wanted
    cdef Py_ssize_t r, k
    cdef bint is_hit
    for r in range(n_rows):
        wanted = <const floating *>targets[r]
        row_loss, is_hit = 0.0, True
        for k in range(n_outputs):
            is_hit = is_hit and (scores[k] > 0) == (wanted[k] > 0)
            row_loss += target_loss(loss, scores[k], wanted[k], margin, &derivative)
            scores[k] = <floating>(weights[r] * derivative)
        total += weights[r] * row_loss
        hits[0] += weights[r] * is_hit
        scores += n_outputs
    return total


# ---- sums --------------------------------------------------------------------------------------


cdef void add_to_totals(
    floating *gradient, Py_ssize_t n, bint is_first, double *totals
) noexcept nogil:
    """Add a gradient to sums in float64, and replace it with them."""
    cdef Py_ssize_t i
    for i in range(n):
        totals[i] = (0.0 if is_first else totals[i]) + gradient[i]
        gradient[i] = <floating>totals[i]


cdef void add_to_gradient(
    const floating *gradient, const floating *values, Py_ssize_t n, bint is_first, double factor,
    double decay, double *totals,
) noexcept nogil:
    """Add a gradient to sums in float64; with a factor, make them factor * sum + decay * value."""
    cdef Py_ssize_t i
    for i in range(n):
        totals[i] = (0.0 if is_first else totals[i]) + gradient[i]
    if factor != 0.0:
        for i in range(n):
            totals[i] = factor * totals[i] + decay * values[i]


cdef class Model:
    """Parameters, rows, and the loss of the parameters on the rows.

    Subclasses `LinearModel` and `Network` document the parameters of theirs; these are common.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32, float64 or uint8
        C-contiguous.
    y : ndarray of shape (n,), int64; of shape (n, n_outputs) and the model's dtype; or None
        Classes, or wanted values, which must be 0 or 1 for "log_loss" and "hinge". None where only
        scores are wanted.
    loss : {"softmax", "svm", "log_loss", "hinge", "squared_error", "poisson"}
        The first two of classes. The others of a score s where t is wanted, summed over a row's
        outputs: log(1 + exp(s)) - t s; max(0, margin - (2 t - 1) s); (s - t)² / 2; and
        exp(s) - t s + t log t - t.
    margin : float
        Of "svm" and "hinge".
    alpha : float
        Strength of the L2 penalty, of which biases are free.
    sample_weights : ndarray of shape (n,), float64, or None
        Factors of the rows' losses, at least 0; None: 1 each.
    n_threads : int

    Attributes
    ----------
    dtype : numpy.dtype
        Of weights and scores: float64 if `X` is, else float32. Biases are float64.
    steps : int
        Steps of the optimizer so far.

    Notes
    -----
    With the weights w of the n rows of a batch and their losses L, the loss of the batch is
    sum(w L) / n + alpha / 2 |W|² in a linear model, and (sum(w L) + alpha / 2 |W|²) / sum(w) in a
    network, as in scikit-learn. A batch whose weights are all 0 takes no step.
    """

    def __cinit__(self, *args, **kwargs):
        self.parameters = NULL

    def __dealloc__(self):
        free(self.parameters)

    cdef set_up(
        self, X, y, Py_ssize_t n_outputs, str loss, double margin, double alpha, sample_weights,
        int n_threads,
    ):
        cdef const fnn_kernels *kernels = active_kernels()
        self.X, self.y, self.sample_weights = X, y, sample_weights
        self.n_rows, self.n_features, self.n_outputs = X.shape[0], X.shape[1], n_outputs
        self.loss, self.margin, self.alpha, self.n_threads = LOSSES[loss], margin, alpha, n_threads
        self.wide = X.dtype == np.float64
        self.dtype = np.dtype(np.float64 if self.wide else np.float32)
        self.itemsize = self.dtype.itemsize
        self.row_bytes = self.n_features * <Py_ssize_t>X.itemsize
        self.rows = <const char *>cnp.PyArray_DATA(X)
        self.labels, self.targets, self.weights_of_rows = NULL, NULL, NULL
        if y is not None and y.ndim == 1:
            self.labels = <const int64_t *>cnp.PyArray_DATA(y)
        elif y is not None:
            self.targets = <const char *>cnp.PyArray_DATA(y)
        if sample_weights is not None:
            self.weights_of_rows = <const double *>cnp.PyArray_DATA(sample_weights)
        self.linear = &kernels.linear_f64 if self.wide else &kernels.linear_f32
        self.label_losses = self.linear.svm_losses
        if self.loss == SOFTMAX:
            self.label_losses = self.linear.softmax_losses
        self.keep_alive = []

    cdef char *allocate(self, Py_ssize_t n_bytes, bint zeroed=True):
        """Return memory that lives as long as the model does."""
        array = aligned_bytes(max(n_bytes, 1))
        if zeroed:
            array[:] = 0
        self.keep_alive.append(array)
        return <char *>cnp.PyArray_DATA(array)

    cdef make_parameters(self, list sizes, list n_units):
        """Allocate weights and biases in turn, of these sizes with padding, for so many units."""
        cdef Py_ssize_t i
        cdef Parameters *parameters
        self.n_parameters, self.n_units = len(sizes), n_units
        self.parameters = <Parameters *>calloc(self.n_parameters, sizeof(Parameters))
        if self.parameters == NULL:
            raise MemoryError()
        self.values = [
            aligned_zeros(size, np.dtype(np.float64) if i % 2 else self.dtype)
            for i, size in enumerate(sizes)
        ]
        self.first_moments = self.second_moments = self.totals = None
        for i in range(self.n_parameters):
            parameters = &self.parameters[i]
            parameters.values = <char *>cnp.PyArray_DATA(self.values[i])
            parameters.is_bias, parameters.itemsize = i % 2, self.values[i].itemsize
            parameters.kernels = &active_kernels().linear_f64 if i % 2 else self.linear

    cdef make_sums(self, Py_ssize_t n_losses, Py_ssize_t n_squares):
        self.losses = <double *>self.allocate(n_losses * sizeof(double))
        self.hits = <double *>self.allocate(n_losses * sizeof(double))
        self.squares = <double *>self.allocate(n_squares * sizeof(double))
        self.n_squares = n_squares

    cdef make_moments(self, bint with_squares):
        if self.first_moments is None:
            self.first_moments = [aligned_zeros(v.size, v.dtype) for v in self.values]
        if with_squares and self.second_moments is None:
            self.second_moments = [aligned_zeros(v.size, v.dtype) for v in self.values]
        for i in range(self.n_parameters):
            self.parameters[i].first_moments = <char *>cnp.PyArray_DATA(self.first_moments[i])
            if self.second_moments is not None:
                self.parameters[i].second_moments = <char *>cnp.PyArray_DATA(self.second_moments[i])

    cdef make_totals(self):
        if self.totals is None:
            self.totals = [np.empty(v.size) for v in self.values]
        for i in range(self.n_parameters):
            self.parameters[i].totals = <double *>cnp.PyArray_DATA(self.totals[i])

    # ---- parameters ----------------------------------------------------------------------------

    cdef pack_all(self, list arrays, matrices):
        for i, matrix in enumerate(matrices):
            if i % 2:
                arrays[i][:len(matrix)] = matrix
            else:
                self.pack(i // 2, np.asarray(matrix), arrays[i])

    cdef list unpack_all(self, list arrays, dtype=None):
        """Return copies of weights and biases in turn, of their shapes; None: of their types."""
        return [
            array[:self.n_units[i // 2]].astype(dtype or array.dtype) if i % 2
            else self.unpack(i // 2, array, dtype or array.dtype)
            for i, array in enumerate(arrays)
        ]

    def set_weights(self, weights, biases):
        """Take over the layers' weights and biases, two lists; the optimizer starts anew."""
        self.pack_all(self.values, [part for pair in zip(weights, biases) for part in pair])
        self.start_anew()

    cdef start_anew(self):
        self.first_moments = self.second_moments = None
        self.steps = 0
        self.refresh_all()

    def save(self):
        """Return copies of all parameters as they are in memory, for `restore`."""
        return [array.copy() for array in self.values]

    def restore(self, saved):
        """Take over parameters of a model of the same layers; the optimizer starts anew."""
        for array, values in zip(self.values, saved):
            array[:] = values
        self.start_anew()

    def get_weights(self):
        """Return copies of the layers' weights and biases, as two lists."""
        parts = self.unpack_all(self.values)
        return parts[::2], parts[1::2]

    def set_moments(self, moments):
        """Take over what `get_moments` has returned, after the weights."""
        self.steps, first, second = moments
        self.make_moments(second is not None)
        self.pack_all(self.first_moments, first)
        if second is not None:
            self.pack_all(self.second_moments, second)

    def get_moments(self):
        """Return the number of steps and what the optimizer keeps: moments of the gradients."""
        self.make_moments(False)
        second = None if self.second_moments is None else self.unpack_all(self.second_moments)
        return self.steps, self.unpack_all(self.first_moments), second

    def is_finite(self):
        """Whether all weights and biases are."""
        return all(np.isfinite(array).all() for array in self.values)

    cdef double half_sum_of_squares(self):
        # Not BLAS, whose sums depend on the number of threads.
        if self.alpha == 0.0:
            return 0.0
        return 0.5 * sum(float(np.square(W, dtype=np.float64).sum()) for W in self.values[::2])

    # ---- scores, losses, epochs ----------------------------------------------------------------

    def scores(self):
        """Return the scores of all rows, of shape (n, n_outputs)."""
        cdef Run run
        scores = np.empty((self.n_rows, self.n_outputs), self.dtype)
        self.start(&run, SCORES, None, self.n_rows)
        run.scores = <char *>cnp.PyArray_DATA(scores)
        self.go_on(&run, None)
        return scores

    def loss_and_gradient(self, bint with_gradient=True, dtype=np.float64):
        """Return the loss over all rows, as of one batch, and its gradient.

        Parameters
        ----------
        with_gradient : bool
        dtype : dtype
            Of gradients, whose sums are float64.

        Returns
        -------
        loss : float
            NaN if a score is not finite.
        gradients : list of ndarray, or None
            With respect to the weights of each layer.
        bias_gradients : list of ndarray, or None
        """
        cdef Run run
        batch_weights = self.sum_weights(None, self.n_rows)
        if with_gradient:
            self.make_totals()
        self.start(&run, GRADIENT if with_gradient else LOSS, batch_weights, self.n_rows)
        self.go_on(&run, None)
        loss = run.total / run.total_divisor
        if not with_gradient:
            return loss, None, None
        parts = self.unpack_all(self.totals, dtype)
        return loss, parts[::2], parts[1::2]

    def train(
        self, const int64_t[::1] order, Py_ssize_t batch_size, const double[::1] rates,
        double momentum=0.0, bint nesterov=False, adam=None, progress=None,
    ):
        """Take one step for each batch of rows.

        Parameters
        ----------
        order : ndarray of shape (n,), int64
            Rows, batch after batch. The last batch may be smaller.
        batch_size : int
        rates : ndarray of shape (n_batches,), float64
            Step sizes.
        momentum : float
        nesterov : bool
        adam : tuple of float, or None
            beta_1, beta_2 and epsilon of Adam, which then replaces momentum.
        progress : callable or None
            Is called from time to time with how many more rows are done.

        Returns
        -------
        loss : float
            Mean of the batches' losses, each before its step, by what they are divided by. Where it
            is not finite, training has ended with the batch that was not, before its step.
        accuracy : float
            Weighted share of the rows whose class, or all of whose labels, the same scores tell.
        """
        cdef Run run
        positions = np.asarray(order)
        batch_weights = self.sum_weights(positions, batch_size)
        self.make_moments(adam is not None)
        if batch_size > self.max_round_rows(NULL):
            self.make_totals()
        self.start(&run, SGD if adam is None else ADAM, batch_weights, batch_size)
        run.order, run.n_rows, run.rates = &order[0], order.shape[0], &rates[0]
        run.sgd.momentum, run.sgd.nesterov = momentum, nesterov
        if adam is not None:
            run.adam.beta_1, run.adam.beta_2, run.adam.epsilon = adam
        self.go_on(&run, progress)
        if run.has_failed:
            return run.loss, np.nan
        return run.total / run.total_divisor, run.hits / float(batch_weights.sum())

    cdef sum_weights(self, order, batch_size):
        """Return the sum of the rows' weights for each batch."""
        n = self.n_rows if order is None else len(order)
        if self.sample_weights is None:
            weights = np.ones(n)
        else:
            weights = self.sample_weights if order is None else self.sample_weights[order]
        return np.add.reduceat(weights, np.arange(0, n, batch_size))

    # ---- the rounds of a run -------------------------------------------------------------------

    cdef start(self, Run *run, Method method, batch_weights, Py_ssize_t batch_size):
        """Prepare to go through all rows as they lie."""
        memset(run, 0, sizeof(Run))
        run.model, run.method = <void *>self, method
        run.n_rows, run.batch_size = self.n_rows, batch_size
        if batch_weights is not None:
            run.batch_weights = <const double *>cnp.PyArray_DATA(batch_weights)
            run.half_squares = self.half_sum_of_squares()
        run.n_steps, run.n_rounds = self.steps, self.n_rounds

    cdef int go_on(self, Run *run, progress) except -1:
        cdef IEEEScope _ieee = ieee_scope()
        cdef Py_ssize_t n = min(
            min(run.n_rows, run.batch_size), max(1, self.max_round_rows(run))
        )
        run.n_threads = threads_for(
            self.n_threads, self.count_most_tasks(n), self.nanoseconds(n)
        )
        try:
            run_job(
                run_phase_task, run, self.next_round(run), run.n_threads, progress, run.n_rows,
                next_run_phase, &run.n_done, run.n_rows, &run.is_committed,
            )
        finally:
            self.steps, self.n_rounds = run.n_steps, run.n_rounds
        return 0

    cdef Py_ssize_t next_round(self, Run *run) noexcept nogil:
        """Go on to the next round; return how many tasks its first phase has."""
        cdef Py_ssize_t batch, batch_first
        if run.stop == run.n_rows:
            return 0
        run.phase, run.first = ROWS, run.stop
        batch = run.first // run.batch_size
        batch_first = batch * run.batch_size
        run.batch_last = min(batch_first + run.batch_size, run.n_rows)
        run.stop = min(run.first + self.max_round_rows(run), run.batch_last)
        run.begins_batch, run.ends_batch = run.first == batch_first, run.stop == run.batch_last
        run.n_rounds += 1
        if run.batch_weights != NULL:
            run.divisor = <double>(run.batch_last - batch_first)
            if self.divides_by_weight:
                run.divisor = run.batch_weights[batch]
        run.is_weightless = run.method >= SGD and run.batch_weights[batch] == 0.0
        fnn_store(&run.is_committed, False)
        return self.start_rows(run)

    cdef void set_step(self, Run *run) noexcept nogil:
        cdef double divisor = run.divisor, rate = 0.0
        if run.method >= SGD:
            rate = run.rates[run.first // run.batch_size]
            run.n_steps += run.ends_batch
            fnn_store(&run.is_committed, run.ends_batch)
        run.sgd.factor = run.adam.factor = 1.0 / divisor
        run.sgd.decay = run.adam.decay = (
            self.alpha / divisor if self.divides_by_weight else self.alpha
        )
        run.sgd.rate = run.adam.rate = rate
        if run.method == ADAM and run.ends_batch:
            run.adam.rate = (
                rate * sqrt(1.0 - pow(run.adam.beta_2, <double>run.n_steps))
                / (1.0 - pow(run.adam.beta_1, <double>run.n_steps))
            )
        run.bias_sgd, run.bias_adam = run.sgd, run.adam
        run.bias_sgd.decay = run.bias_adam.decay = 0.0

    cdef Py_ssize_t next_phase(self, Run *run) noexcept nogil:
        """Return how many tasks the next phase has; 0 at the end of the run."""
        cdef Py_ssize_t n_tasks
        if run.phase == ROWS:
            self.end_rows(run)
            if run.has_failed:
                return 0
            if run.method >= GRADIENT and not run.is_weightless:
                run.phase = UPDATES
                self.set_step(run)
                return self.start_updates(run)
        if run.phase == UPDATES:
            run.phase = REFRESH
            n_tasks = 0
            if run.method >= SGD and run.ends_batch:
                n_tasks = self.start_refresh(run)
            if n_tasks > 0:
                return n_tasks
        self.end_round(run)
        return self.next_round(run)

    cdef void end_rows(self, Run *run) noexcept nogil:
        cdef Py_ssize_t i
        if run.method == SCORES:
            return
        for i in range(self.n_losses):
            run.loss += self.losses[i]
            run.hits += self.hits[i]
        if not run.ends_batch:
            return
        run.loss += self.alpha * run.half_squares * (
            1.0 if self.divides_by_weight else run.divisor
        )
        run.has_failed = run.method >= SGD and not isfinite(run.loss)
        if not run.has_failed:
            run.total += run.loss
            run.total_divisor += run.divisor

    cdef void end_round(self, Run *run) noexcept nogil:
        cdef Py_ssize_t i
        fnn_fetch_add(&run.n_done, run.stop - run.first)
        if not run.ends_batch:
            return
        run.loss = 0.0
        if run.method >= SGD and not run.is_weightless:
            run.half_squares = 0.0
            for i in range(self.n_squares):
                run.half_squares += 0.5 * self.squares[i]

    # ---- what the tasks of subclasses call -----------------------------------------------------

    cdef double add_losses(
        self, const Run *run, Py_ssize_t first, Py_ssize_t n, void *scores, double *hits
    ) noexcept nogil:
        """Return the losses of n rows, at most a block; their derivatives replace the scores."""
        cdef int64_t labels[FNN_MAX_BLOCK_ROWS]
        cdef const char *targets[FNN_MAX_BLOCK_ROWS]
        cdef double weights[FNN_MAX_BLOCK_ROWS]
        cdef Py_ssize_t r, row
        for r in range(n):
            row = row_at(run, first + r)
            weights[r] = 1.0 if self.weights_of_rows == NULL else self.weights_of_rows[row]
            if self.labels != NULL:
                labels[r] = self.labels[row]
            else:
                targets[r] = self.targets + row * self.n_outputs * self.itemsize
        if self.labels == NULL and self.wide:
            return target_losses(
                self.loss, self.margin, <double *>scores, targets, weights, n, self.n_outputs,
                hits,
            )
        if self.labels == NULL:
            return target_losses(
                self.loss, self.margin, <float *>scores, targets, weights, n, self.n_outputs, hits,
            )
        if self.wide:
            hits[0] += count_hits(<double *>scores, n, self.n_outputs, labels, weights)
        else:
            hits[0] += count_hits(<float *>scores, n, self.n_outputs, labels, weights)
        return self.label_losses(
            scores, labels, weights, n, self.n_outputs, self.margin, scores
        )

    cdef double update(
        self, const Run *run, Parameters *parameters, Py_ssize_t at, Py_ssize_t n, void *gradient
    ) noexcept nogil:
        """Add a gradient of n values to its batch's; with the last one, take the step.

        Return the sum of the squares of the new values.
        """
        cdef Py_ssize_t byte = at * parameters.itemsize
        cdef const fnn_sgd *sgd = &run.bias_sgd if parameters.is_bias else &run.sgd
        cdef const fnn_adam *adam = &run.bias_adam if parameters.is_bias else &run.adam
        cdef double factor = sgd.factor if run.ends_batch else 0.0
        if run.method == GRADIENT and parameters.itemsize == sizeof(double):
            add_to_gradient(
                <double *>gradient, <double *>parameters.values + at, n, run.begins_batch, factor,
                sgd.decay, parameters.totals + at,
            )
        elif run.method == GRADIENT:
            add_to_gradient(
                <float *>gradient, <float *>parameters.values + at, n, run.begins_batch, factor,
                sgd.decay, parameters.totals + at,
            )
        elif not (run.begins_batch and run.ends_batch):
            if parameters.itemsize == sizeof(double):
                add_to_totals(<double *>gradient, n, run.begins_batch, parameters.totals + at)
            else:
                add_to_totals(<float *>gradient, n, run.begins_batch, parameters.totals + at)
        if run.method == GRADIENT or not run.ends_batch or parameters.is_fixed:
            return 0.0
        if run.method == SGD:
            return parameters.kernels.sgd_step(
                sgd, gradient, n, parameters.first_moments + byte, parameters.values + byte
            )
        return parameters.kernels.adam_step(
            adam, gradient, n, parameters.first_moments + byte, parameters.second_moments + byte,
            parameters.values + byte,
        )

    # ---- what subclasses have ------------------------------------------------------------------

    cdef pack(self, Py_ssize_t layer, matrix, packed):
        """Write the weights of a layer in their order in memory, one-dimensional."""
        raise NotImplementedError()

    cdef unpack(self, Py_ssize_t layer, packed, dtype):
        """Return a copy of what `pack` has packed, of its shape."""
        raise NotImplementedError()

    cdef refresh_all(self):
        """Compute again what depends on the parameters."""

    cdef double nanoseconds(self, Py_ssize_t n_rows) noexcept:
        """Return what so many rows take one thread, about."""
        return 0.0

    cdef Py_ssize_t count_most_tasks(self, Py_ssize_t n_rows) noexcept:
        """Return how many tasks a phase of so many rows has, at most."""
        return 1

    cdef Py_ssize_t max_round_rows(self, const Run *run) noexcept nogil:
        """Return how many rows a round has, at most; NULL: in training."""
        return 1

    cdef Py_ssize_t start_rows(self, const Run *run) noexcept nogil:
        """Prepare a phase, and return how many tasks it has."""
        return 0

    cdef Py_ssize_t start_updates(self, const Run *run) noexcept nogil:
        return 0

    cdef Py_ssize_t start_refresh(self, const Run *run) noexcept nogil:
        return 0

    cdef void row_task(self, const Run *run, Py_ssize_t task, int thread) noexcept nogil:
        pass

    cdef void update_task(self, const Run *run, Py_ssize_t task, int thread) noexcept nogil:
        pass

    cdef void refresh_task(self, const Run *run, Py_ssize_t task) noexcept nogil:
        pass


cdef aligned_zeros(Py_ssize_t size, dtype):
    array = aligned_bytes(size * dtype.itemsize).view(dtype)
    array[:] = 0
    return array


cdef void run_phase_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Run *run = <const Run *>context
    if run.phase == ROWS:
        (<Model>run.model).row_task(run, task, thread)
    elif run.phase == UPDATES:
        (<Model>run.model).update_task(run, task, thread)
    else:
        (<Model>run.model).refresh_task(run, task)


cdef Py_ssize_t next_run_phase(void *run) noexcept nogil:
    return (<Model>(<Run *>run).model).next_phase(<Run *>run)
