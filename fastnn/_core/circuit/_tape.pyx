"""The tape: an expression laid flat, and its values and derivatives for one row or for many.

Every wire has a slot: first the variables, then the constants, then the gates' outputs, each after
its inputs, and the expression's own value last. One row takes an array of slots, and gates are done
run by run: neighbors of one kind in one loop. Many rows are done in blocks of rows that stay in the
cache, gate by gate, so that the loops over a block are vectorized. Both ways round alike, and both
add up the derivatives in the same order: the results are the same, bit for bit.
"""

from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

import numpy as np

from .._dispatch cimport active_kernels, fnn_gate, fnn_kernels
from .._jobs cimport IEEEScope, ieee_scope, run_job, threads_for
from .._tuning cimport (
    HALF_L2_BYTES,
    MAX_TAPE_ROWS,
    MAX_TAPE_SUMS,
    MIN_TAPE_ROWS,
    nanoseconds_to_pack,
)


cdef struct Rows:
    # What the tasks work on. Inputs are variables that have a value for each row.
    Py_ssize_t n
    Py_ssize_t block_rows
    Py_ssize_t task_rows
    Py_ssize_t n_tasks
    Py_ssize_t n_inputs
    const double *X
    const int32_t *input_slots
    const double *variables
    double *values
    # NULL where derivatives are not wanted:
    const double *upstream
    Py_ssize_t upstream_step
    double *dX
    double *sums
    void *tape
    const fnn_kernels *kernels
    # Of each thread, so many values.
    double *scratch
    Py_ssize_t scratch_values


cdef class Tape:
    """Gates in the order of their evaluation; filled by compiled code alone."""

    def __cinit__(self, Py_ssize_t n_variables, Py_ssize_t n_constants, Py_ssize_t n_gates):
        self.n_variables = n_variables
        self.n_constants = n_constants
        self.n_gates = n_gates
        self.n_slots = n_variables + n_constants + n_gates
        self.kinds = <uint8_t *>malloc(n_gates + 1)
        self.left = <int32_t *>malloc((3 * n_gates + 1) * sizeof(int32_t))
        self.values = <double *>calloc(2 * self.n_slots, sizeof(double))
        if self.kinds == NULL or self.left == NULL or self.values == NULL:
            raise MemoryError()
        self.right = self.left + n_gates
        self.run_starts = self.right + n_gates
        self.gradients = self.values + self.n_slots

    def __dealloc__(self):
        free(self.kinds)
        free(self.left)
        free(self.values)

    cdef void find_runs(self) noexcept:
        """Note where runs start: gates of one kind, independent where they come in vectors."""
        cdef const fnn_gate *gates = active_kernels().gates
        cdef Py_ssize_t first_gate = self.n_variables + self.n_constants, k
        cdef Py_ssize_t run_slot = 0
        self.n_runs = 0
        for k in range(self.n_gates):
            if (
                k == 0
                or self.kinds[k] != self.kinds[k - 1]
                or (
                    gates[self.kinds[k]].takes_vectors
                    and (self.left[k] >= run_slot or self.right[k] >= run_slot)
                )
            ):
                self.run_starts[self.n_runs] = <int32_t>k
                self.n_runs += 1
                run_slot = first_gate + k
        self.run_starts[self.n_runs] = <int32_t>self.n_gates

    cdef void run_forward(self, const fnn_gate *gates, double *values) noexcept nogil:
        cdef Py_ssize_t first_gate = self.n_variables + self.n_constants, run, start
        for run in range(self.n_runs):
            start = self.run_starts[run]
            gates[self.kinds[start]].forward_run(
                self.left + start,
                self.right + start,
                first_gate + start,
                self.run_starts[run + 1] - start,
                values,
            )

    cdef void run_backward(
        self, const fnn_gate *gates, const double *values, double upstream, double *gradients
    ) noexcept nogil:
        cdef Py_ssize_t first_gate = self.n_variables + self.n_constants, run, start
        memset(gradients, 0, self.n_slots * sizeof(double))
        gradients[self.n_slots - 1] = upstream
        for run in range(self.n_runs - 1, -1, -1):
            start = self.run_starts[run]
            gates[self.kinds[start]].backward_run(
                self.left + start,
                self.right + start,
                first_gate + start,
                self.run_starts[run + 1] - start,
                values,
                gradients,
            )

    def slots(self):
        """Return copies of the values and derivatives of the last run, by slot."""
        both = np.empty((2, self.n_slots))
        cdef double[:, ::1] view = both
        memcpy(&view[0, 0], self.values, 2 * self.n_slots * sizeof(double))
        return both[0], both[1]

    def variable_gradients(self):
        """Return a copy of the derivatives of the last run with respect to the variables."""
        gradients = np.empty(self.n_variables)
        cdef double[::1] view = gradients
        if self.n_variables:
            memcpy(&view[0], self.gradients, self.n_variables * sizeof(double))
        return gradients

    def value_and_gradient(self, const double[::1] variables):
        """Return the value and its derivatives, and leave the tape as it is.

        Parameters
        ----------
        variables : ndarray of shape (n_variables,), float64

        Returns
        -------
        value : float
        gradient : ndarray of shape (n_variables,), float64
        """
        slots = np.empty((2, self.n_slots))
        cdef double[:, ::1] view = slots
        cdef double *values = &view[0, 0]
        cdef const fnn_gate *gates = active_kernels().gates
        cdef IEEEScope _ieee = ieee_scope()
        with nogil:
            memcpy(values, self.values, self.n_slots * sizeof(double))
            if self.n_variables:
                memcpy(values, &variables[0], self.n_variables * sizeof(double))
            self.run_forward(gates, values)
            self.run_backward(gates, values, 1.0, &view[1, 0])
        return float(view[0, self.n_slots - 1]), slots[1, : self.n_variables].copy()

    def evaluate_rows(
        self,
        const double[:, ::1] X,
        const int32_t[::1] input_slots,
        const double[::1] variables,
        double[::1] values,
        int n_threads,
    ):
        """Write the value of each row.

        Parameters
        ----------
        X : ndarray of shape (n, n_inputs), float64
        input_slots : ndarray of shape (n_inputs,), int32
            The variable of each column.
        variables : ndarray of shape (n_variables,), float64
            What the others are in every row.
        values : ndarray of shape (n,), float64
            Receives the values.
        n_threads : int
        """
        cdef Rows rows = rows_of(self, X, input_slots, variables)
        if rows.n:
            rows.values = &values[0]
            run_rows(self, &rows, n_threads)

    def differentiate_rows(
        self,
        const double[:, ::1] X,
        const int32_t[::1] input_slots,
        const double[::1] variables,
        const double[::1] upstream,
        double[::1] values,
        double[:, ::1] dX,
        int n_threads,
    ):
        """Write the values and their derivatives with respect to the inputs, each times `upstream`.

        Parameters
        ----------
        X, input_slots, variables, values, n_threads
            As in `evaluate_rows`.
        upstream : ndarray of shape (n,) or (1,), float64
            What the derivatives of each row, or of all rows, are multiplied by.
        dX : ndarray of shape (n, n_inputs), float64
            Receives the derivatives.

        Returns
        -------
        ndarray of shape (n_variables,), float64
            The derivatives with respect to the other variables, summed over the rows; undefined for
            inputs.
        """
        cdef Rows rows = rows_of(self, X, input_slots, variables)
        sums = np.zeros((rows.n_tasks + 1, self.n_variables + 1))
        cdef double[:, ::1] sums_view = sums
        if rows.n:
            rows.upstream = &upstream[0]
            rows.upstream_step = 1 if upstream.shape[0] == rows.n else 0
            rows.values = &values[0]
            rows.dX = &dX[0, 0] if rows.n_inputs else NULL
            rows.sums = &sums_view[0, 0]
            run_rows(self, &rows, n_threads)
        return sums.sum(axis=0)[: self.n_variables]


cdef Rows rows_of(
    Tape tape,
    const double[:, ::1] X,
    const int32_t[::1] input_slots,
    const double[::1] variables,
):
    """Return rows and their partition, which depends on the shapes alone."""
    cdef Rows rows
    cdef Py_ssize_t block_rows = HALF_L2_BYTES // (2 * sizeof(double) * tape.n_slots), n_blocks
    memset(&rows, 0, sizeof(rows))
    rows.n = X.shape[0]
    rows.n_inputs = X.shape[1]
    rows.block_rows = max(
        MIN_TAPE_ROWS, min(MAX_TAPE_ROWS, block_rows // MIN_TAPE_ROWS * MIN_TAPE_ROWS)
    )
    n_blocks = (rows.n + rows.block_rows - 1) // rows.block_rows
    rows.task_rows = rows.block_rows * max(1, (n_blocks + MAX_TAPE_SUMS - 1) // MAX_TAPE_SUMS)
    rows.n_tasks = (rows.n + rows.task_rows - 1) // rows.task_rows
    if rows.n and rows.n_inputs:
        rows.X = &X[0, 0]
        rows.input_slots = &input_slots[0]
    if tape.n_variables:
        rows.variables = &variables[0]
    return rows


cdef int run_rows(Tape tape, Rows *rows, int n_threads) except -1:
    """Do all tasks."""
    cdef IEEEScope _ieee = ieee_scope()
    cdef double n_values = <double>rows.n * (tape.n_gates + 1)
    n_threads = threads_for(n_threads, rows.n_tasks, nanoseconds_to_pack(n_values))
    rows.tape, rows.kernels = <void *>tape, active_kernels()
    rows.scratch_values = (1 if rows.upstream == NULL else 2) * tape.n_slots * rows.block_rows
    cdef double[::1] scratch = np.empty(n_threads * rows.scratch_values)
    rows.scratch = &scratch[0]
    return run_job(run_rows_task, rows, rows.n_tasks, n_threads)


cdef void run_rows_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Rows *rows = <const Rows *>context
    run_task(
        <Tape>rows.tape, rows, task, rows.kernels, rows.scratch + thread * rows.scratch_values
    )


cdef void run_task(
    Tape tape, const Rows *rows, Py_ssize_t task, const fnn_kernels *kernels, double *values
) noexcept nogil:
    """Do some blocks, one after the other.

    The sums of derivatives stay lane by lane until the last of them; only the inputs' and the
    gates' start anew with each block.
    """
    cdef Py_ssize_t width = rows.block_rows, n_leaves = tape.n_variables + tape.n_constants
    cdef Py_ssize_t end = min(rows.n, (task + 1) * rows.task_rows)
    cdef Py_ssize_t start = task * rows.task_rows, n, slot
    cdef double *gradients = values + tape.n_slots * width
    for slot in range(n_leaves):
        fill(
            values + slot * width,
            rows.variables[slot] if slot < tape.n_variables else tape.values[slot],
            width,
        )
    if rows.upstream != NULL:
        memset(gradients, 0, n_leaves * width * sizeof(double))
    while start < end:
        n = min(width, end - start)
        block_forward(tape, rows, start, n, kernels.gates, values)
        if rows.upstream != NULL:
            block_backward(tape, rows, start, n, kernels.gates, values, gradients)
        start += width
    if rows.upstream != NULL:
        for slot in range(tape.n_variables):
            rows.sums[task * (tape.n_variables + 1) + slot] = kernels.sum_f64(
                gradients + slot * width, width
            )


cdef void block_forward(
    Tape tape,
    const Rows *rows,
    Py_ssize_t start,
    Py_ssize_t n,
    const fnn_gate *gates,
    double *values,
) noexcept nogil:
    cdef Py_ssize_t width = rows.block_rows, first_gate = tape.n_variables + tape.n_constants
    cdef Py_ssize_t n_inputs = rows.n_inputs, j, k
    cdef const double *X = rows.X + start * n_inputs
    for j in range(n_inputs):
        read_column(X + j, n_inputs, n, values + rows.input_slots[j] * width)
    for k in range(tape.n_gates):
        gates[tape.kinds[k]].forward(
            values + tape.left[k] * width,
            values + tape.right[k] * width,
            n,
            values + (first_gate + k) * width,
        )
    memcpy(rows.values + start, values + (tape.n_slots - 1) * width, n * sizeof(double))


cdef void block_backward(
    Tape tape,
    const Rows *rows,
    Py_ssize_t start,
    Py_ssize_t n,
    const fnn_gate *gates,
    const double *values,
    double *gradients,
) noexcept nogil:
    cdef Py_ssize_t width = rows.block_rows, first_gate = tape.n_variables + tape.n_constants
    cdef Py_ssize_t n_inputs = rows.n_inputs, i, j, k, left, right
    cdef Py_ssize_t step = rows.upstream_step
    cdef const double *upstream = rows.upstream + step * start
    cdef double *dX = rows.dX + start * n_inputs
    cdef double *column
    for j in range(n_inputs):
        memset(gradients + rows.input_slots[j] * width, 0, n * sizeof(double))
    memset(gradients + first_gate * width, 0, tape.n_gates * width * sizeof(double))
    column = gradients + (tape.n_slots - 1) * width
    if step:
        for i in range(n):
            column[i] += upstream[i]
    else:
        for i in range(n):
            column[i] += upstream[0]
    for k in range(tape.n_gates - 1, -1, -1):
        left, right = tape.left[k], tape.right[k]
        gates[tape.kinds[k]].backward(
            values + left * width,
            values + right * width,
            values + (first_gate + k) * width,
            gradients + (first_gate + k) * width,
            n,
            NULL if is_constant(tape, left) else gradients + left * width,
            NULL if is_constant(tape, right) else gradients + right * width,
        )
    for j in range(n_inputs):
        write_column(gradients + rows.input_slots[j] * width, n, n_inputs, dX + j)


cdef bint is_constant(Tape tape, Py_ssize_t slot) noexcept nogil:
    return tape.n_variables <= slot < tape.n_variables + tape.n_constants


cdef void read_column(
    const double *source, Py_ssize_t stride, Py_ssize_t n, double *column
) noexcept nogil:
    """Four at a time: with few inputs the plain loop would take a fifth of the whole."""
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        column[i] = source[0]
        column[i + 1] = source[stride]
        column[i + 2] = source[2 * stride]
        column[i + 3] = source[3 * stride]
        source += 4 * stride
        i += 4
    while i < n:
        column[i] = source[0]
        source += stride
        i += 1


cdef void write_column(
    const double *column, Py_ssize_t n, Py_ssize_t stride, double *target
) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        target[0] = column[i]
        target[stride] = column[i + 1]
        target[2 * stride] = column[i + 2]
        target[3 * stride] = column[i + 3]
        target += 4 * stride
        i += 4
    while i < n:
        target[0] = column[i]
        target += stride
        i += 1


cdef void fill(double *values, double value, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        values[i] = value
