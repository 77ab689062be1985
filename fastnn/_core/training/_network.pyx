"""Networks of dense layers: the way of a round's rows through them and back.

    rows       panels of rows are packed strip by strip, and go forward through all layers; their
               losses; and back. What gradients are computed from is stored along the rows.
    updates    panels of inputs: their gradient tile by tile, and each tile's step
    refresh    panels of inputs: the new weights transposed, for the way back

Rows may be bytes, or any numbers, that stand for (x - mean) * scale.
"""

from cython cimport floating
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

import numpy as np

cimport numpy as cnp

from .._dispatch cimport (
    FNN_MAX_TILE_COLS,
    active_kernels,
    fnn_copy,
    fnn_kernels,
    fnn_pack,
    fnn_panel_sums,
    fnn_prefetch_l2,
)
from .._jobs cimport fnn_load, fnn_store
from .._tuning cimport (
    CACHE_LINE,
    CHUNK_ROWS,
    MAX_INPUT_PANELS,
    MAX_STRIP_PANELS,
    NETWORK_STRIP,
    nanoseconds_to_compare,
)
from ._layers cimport (
    Layer,
    Tiles,
    backward,
    bias_gradient,
    broadcast_bias,
    forward,
    forward_strip,
    gradient_tile,
    store_for_gradient,
    transpose_panel,
)
from ._model cimport GRADIENT, SCORES, SGD, Model, Run, count_panels, row_at

cnp.import_array()


cdef uint64_t splitmix64(uint64_t x) noexcept nogil:
    """Steele, Lea and Flood's SplitMix64."""
    x = x + <uint64_t>0x9e3779b97f4a7c15
    x = (x ^ (x >> 30)) * <uint64_t>0xbf58476d1ce4e5b9
    x = (x ^ (x >> 27)) * <uint64_t>0x94d049bb133111eb
    return x ^ (x >> 31)


cdef void apply_dropout(
    floating *outputs, floating *gradients, Py_ssize_t n, uint64_t key, double rate
) noexcept nogil:
    """Set outputs to zero with the probability `rate`, and scale the others up.

    With gradients backward: the outputs are as they were before, and gradients set to zero and
    scaled.
    """
    cdef floating factor = <floating>(1.0 / (1.0 - rate)), inverse = <floating>(1.0 - rate)
    cdef uint64_t limit = <uint64_t>(rate * 18446744073709549568.0)
    cdef Py_ssize_t i
    cdef bint kept
    for i in range(n):
        kept = splitmix64(key + <uint64_t>i) >= limit
        if gradients == NULL:
            outputs[i] = outputs[i] * factor if kept else 0
        else:
            outputs[i] = outputs[i] * inverse
            gradients[i] = gradients[i] * factor if kept else 0


cdef void to_rows(
    const floating *outputs, Py_ssize_t n_rows, Py_ssize_t n_units, Py_ssize_t n_columns,
    floating *scores,
) noexcept nogil:
    """Transpose [unit][column] to [row][unit]."""
    cdef Py_ssize_t r, k
    for r in range(n_rows):
        for k in range(n_units):
            scores[r * n_units + k] = outputs[k * n_columns + r]


cdef void to_columns(
    const floating *scores, Py_ssize_t n_rows, Py_ssize_t n_units, Py_ssize_t n_columns,
    floating *outputs,
) noexcept nogil:
    """Transpose [row][unit] to [unit][column]; columns without a row are zero."""
    cdef Py_ssize_t r, k
    for k in range(n_units):
        for r in range(n_columns):
            outputs[k * n_columns + r] = scores[r * n_units + k] if r < n_rows else 0


cdef void prefetch(
    const void *const *rows, Py_ssize_t first_row, Py_ssize_t last_row, Py_ssize_t first_byte,
    Py_ssize_t n_bytes,
) noexcept nogil:
    """Prefetch some bytes of rows: processors do not foresee them."""
    cdef Py_ssize_t r, line
    for r in range(first_row, last_row):
        for line in range(count_panels(n_bytes, CACHE_LINE)):
            fnn_prefetch_l2(<const char *>rows[r] + first_byte + line * CACHE_LINE)


cdef class Network(Model):
    """Dense layers with an activation between them.

    Parameters
    ----------
    X, y, loss, alpha, sample_weights, n_threads
        See `Model`.
    sizes : sequence of int
        Units of each layer, beginning with d; the last are the outputs.
    activation : {"relu", "tanh", "logistic", "identity"}
        Of all layers but the last.
    dropout : float
        Share of the hidden units that training sets to zero.
    seed : int
        Of dropout.
    mean : ndarray of shape (d,), float64, or None
    scale : float
        Rows stand for (x - mean) * scale.

    Attributes
    ----------
    has_overflowed : bool
        Whether the last `scores` met sums of the first layer that are not finite. Rows with NaN or
        infinity have such sums, but later layers may hide them.
    """

    cdef int64_t overflowed
    cdef Tiles tiles
    cdef Layer *layers
    cdef Py_ssize_t n_layers, work_per_row
    cdef fnn_pack pack_rows
    cdef fnn_copy copy_rows
    cdef fnn_panel_sums magnitudes
    cdef double dropout, scale
    cdef uint64_t seed, key
    cdef const double *mean
    # Of the round: its rows, and how they are divided into panels and groups of panels.
    cdef const void **round_rows
    cdef Py_ssize_t n_round_rows, n_panels, group, task_panels
    # Of each thread, in bytes.
    cdef char *scratch
    cdef Py_ssize_t scratch_bytes, tile_at, strips_at, scores_at, columns_at

    def __cinit__(self, *args, **kwargs):
        self.layers = NULL

    def __dealloc__(self):
        free(self.layers)

    def __init__(
        self, X, sizes, y=None, str loss="softmax", str activation="relu", double alpha=0.0,
        double dropout=0.0, seed=0, mean=None, double scale=1.0, sample_weights=None,
        int n_threads=1,
    ):
        cdef Py_ssize_t i, n_squares = 0
        self.set_up(X, y, sizes[len(sizes) - 1], loss, 1.0, alpha, sample_weights, n_threads)
        self.divides_by_weight = True
        self.dropout, self.seed, self.scale = dropout, seed, scale
        mean = np.zeros(self.n_features) if mean is None else mean
        self.keep_alive.append(mean)
        self.mean = <const double *>cnp.PyArray_DATA(mean)
        self.choose_kernels(activation)
        self.n_layers = len(sizes) - 1
        self.layers = <Layer *>calloc(self.n_layers, sizeof(Layer))
        if self.layers == NULL:
            raise MemoryError()
        units = [count_panels(n, self.tiles.rows) * self.tiles.rows for n in sizes[1:]]
        pairs = [(n_in * n, n) for n_in, n in zip(sizes, units)]
        self.make_parameters([size for pair in pairs for size in pair], list(sizes[1:]))
        self.work_per_row = sum(a * b for a, b in zip(sizes, sizes[1:]))
        for i in range(self.n_layers):
            self.make_layer(i, sizes[i], sizes[i + 1])
            n_squares += self.layers[i].in_panels
        self.make_sums(count_panels(CHUNK_ROWS, self.tiles.cols), n_squares)
        self.round_rows = <const void **>self.allocate(CHUNK_ROWS * sizeof(void *))
        self.lay_out_scratch()

    @property
    def has_overflowed(self):
        return bool(fnn_load(&self.overflowed))

    cdef choose_kernels(self, str activation):
        cdef const fnn_kernels *kernels = active_kernels()
        cdef Tiles *t = &self.tiles
        t.partial = &kernels.dot_thirds_f64[0] if self.wide else &kernels.dot_thirds_f32[0]
        t.pack = kernels.pack_f64_as_f64 if self.wide else kernels.pack_f32_as_f32
        t.rows, t.itemsize = kernels.dot_f32.rows, self.itemsize
        t.cols = kernels.dot_f64.cols if self.wide else kernels.dot_f32.cols
        t.tile_bytes = t.rows * t.cols * t.itemsize
        t.zeros = <double *>self.allocate(FNN_MAX_TILE_COLS * sizeof(double))
        self.magnitudes = kernels.magnitudes_f64 if self.wide else kernels.magnitudes_f32
        self.pack_rows = t.pack
        self.copy_rows = kernels.copy_f64 if self.wide else kernels.copy_f32
        if self.X.dtype == np.uint8:
            self.pack_rows, self.copy_rows = kernels.pack_u8_as_f32, kernels.copy_u8_as_f32
        functions = &kernels.activations_f64 if self.wide else &kernels.activations_f32
        t.activation = (
            &functions.relu if activation == "relu"
            else &functions.tanh if activation == "tanh"
            else &functions.logistic if activation == "logistic"
            else NULL
        )

    cdef make_layer(self, Py_ssize_t i, Py_ssize_t n_in, Py_ssize_t n_out):
        cdef Layer *layer = &self.layers[i]
        cdef const Tiles *t = &self.tiles
        layer.tiles, layer.n_in, layer.n_out = t, n_in, n_out
        layer.out_panels = count_panels(n_out, t.rows)
        layer.back_panels = 0 if i == 0 else count_panels(n_in, t.rows)
        layer.in_panels = count_panels(n_in, t.cols)
        layer.weights, layer.bias = &self.parameters[2 * i], &self.parameters[2 * i + 1]
        layer.panel_bytes = layer.out_panels * t.tile_bytes
        layer.start = self.allocate(layer.panel_bytes)
        if self.y is None:
            return
        layer.gradients_along_rows = self.allocate(
            layer.out_panels * t.rows * CHUNK_ROWS * t.itemsize
        )
        layer.gradient_sums = <double *>self.allocate(
            count_panels(CHUNK_ROWS, t.cols) * n_out * sizeof(double)
        )
        if i > 0:
            layer.transposed = self.allocate(layer.back_panels * t.rows * n_out * t.itemsize)
            layer.inputs_along_rows = self.allocate(
                layer.in_panels * t.cols * CHUNK_ROWS * t.itemsize
            )

    cdef lay_out_scratch(self):
        """Settle what is where in a thread's scratch, and allocate it for all threads."""
        cdef const Tiles *t = &self.tiles
        cdef Py_ssize_t i, at = 0
        for i in range(self.n_layers):
            self.layers[i].outputs_at = at
            at += MAX_STRIP_PANELS * self.layers[i].panel_bytes
            if self.y is not None:
                self.layers[i].gradients_at = at
                at += MAX_STRIP_PANELS * self.layers[i].panel_bytes
        self.tile_at = at  # a tile, and the same transposed
        at += 2 * t.tile_bytes
        self.strips_at = at
        at += MAX_STRIP_PANELS * NETWORK_STRIP * t.cols * t.itemsize
        self.scores_at = at
        at += count_panels(t.cols * self.n_outputs * t.itemsize, CACHE_LINE) * CACHE_LINE
        self.columns_at = at
        if self.y is not None:
            at += CHUNK_ROWS * t.cols * t.itemsize
        self.scratch_bytes = count_panels(at, CACHE_LINE) * CACHE_LINE
        self.scratch = self.allocate(self.n_threads * self.scratch_bytes)

    # ---- weights -------------------------------------------------------------------------------

    cdef pack(self, Py_ssize_t layer, matrix, packed):
        cdef Py_ssize_t n_in = self.layers[layer].n_in
        padded = np.zeros((self.layers[layer].out_panels, self.tiles.rows, n_in), self.dtype)
        padded.reshape(-1, n_in)[:self.layers[layer].n_out] = matrix.T
        packed.reshape(-1, n_in, self.tiles.rows)[:] = padded.transpose(0, 2, 1)

    cdef unpack(self, Py_ssize_t layer, packed, dtype):
        cdef Py_ssize_t n_in = self.layers[layer].n_in
        units = packed.reshape(-1, n_in, self.tiles.rows).transpose(0, 2, 1).reshape(-1, n_in)
        return np.array(units[:self.layers[layer].n_out].T, dtype, order="C")  # a copy in any case

    cdef refresh_all(self):
        cdef Py_ssize_t i, panel
        for i in range(self.n_layers):
            broadcast_bias(&self.layers[i])
            if self.layers[i].transposed != NULL:
                for panel in range(self.layers[i].back_panels):
                    transpose_panel(&self.layers[i], panel)

    # ---- phases --------------------------------------------------------------------------------

    cdef double nanoseconds(self, Py_ssize_t n_rows) noexcept:
        return nanoseconds_to_compare(<double>n_rows * self.work_per_row)

    cdef Py_ssize_t count_most_tasks(self, Py_ssize_t n_rows) noexcept:
        return max(self.n_squares, count_panels(n_rows, self.tiles.cols))

    cdef Py_ssize_t max_round_rows(self, const Run *run) noexcept nogil:
        return CHUNK_ROWS

    cdef Py_ssize_t start_rows(self, const Run *run) noexcept nogil:
        cdef Py_ssize_t r
        self.n_round_rows = run.stop - run.first
        for r in range(self.n_round_rows):
            self.round_rows[r] = self.rows + row_at(run, run.first + r) * self.row_bytes
        self.n_panels = self.n_losses = count_panels(self.n_round_rows, self.tiles.cols)
        self.group = count_panels(self.n_panels, run.n_threads)
        self.group = min(self.group, <Py_ssize_t>MAX_STRIP_PANELS)
        self.key = splitmix64(self.seed ^ splitmix64(run.n_rounds))
        if run.method == SCORES and run.first == 0:
            fnn_store(&self.overflowed, False)
        return count_panels(self.n_panels, self.group)

    cdef Py_ssize_t start_updates(self, const Run *run) noexcept nogil:
        """Divide the gradients of a round into tasks; the last one is all biases."""
        cdef Py_ssize_t size = self.n_squares // (4 * run.n_threads), i, n_tasks = 1
        self.task_panels = max(<Py_ssize_t>1, min(<Py_ssize_t>MAX_INPUT_PANELS, size))
        for i in range(self.n_layers):
            n_tasks += count_panels(self.layers[i].in_panels, self.task_panels)
        return n_tasks

    cdef Py_ssize_t start_refresh(self, const Run *run) noexcept nogil:
        cdef Py_ssize_t i, n_tasks = 0
        for i in range(self.n_layers):
            n_tasks += self.layers[i].back_panels
        return n_tasks

    cdef void refresh_task(self, const Run *run, Py_ssize_t task) noexcept nogil:
        cdef Py_ssize_t i = 0
        while task >= self.layers[i].back_panels:
            task = task - self.layers[i].back_panels
            i = i + 1
        transpose_panel(&self.layers[i], task)

    # ---- rows ----------------------------------------------------------------------------------

    cdef void row_task(self, const Run *run, Py_ssize_t task, int thread) noexcept nogil:
        """Take a group of panels of rows forward, and in training back."""
        cdef char *scratch = self.scratch + thread * self.scratch_bytes
        cdef Py_ssize_t first = task * self.group, p
        cdef Py_ssize_t n = min(self.group, self.n_panels - first)
        self.first_layer(first, n, scratch)
        for p in range(n):
            if run.method == SCORES and not self.has_finite_sums(p, scratch):
                fnn_store(&self.overflowed, True)
            self.go_forward(run, first + p, p, scratch)
            if run.method == SCORES:
                self.give_scores(run, first + p, p, scratch)
                continue
            self.loss_backward(run, first + p, p, scratch)
            if run.method >= GRADIENT:
                self.go_backward(run, first + p, p, scratch)

    cdef Py_ssize_t rows_in_panel(self, Py_ssize_t panel) noexcept nogil:
        return min(self.tiles.cols, self.n_round_rows - panel * self.tiles.cols)

    cdef char *outputs_of(self, Py_ssize_t i, Py_ssize_t p, char *scratch) noexcept nogil:
        """Where the outputs of layer i are for the p-th panel of a group."""
        return scratch + self.layers[i].outputs_at + p * self.layers[i].panel_bytes

    cdef char *gradients_of(self, Py_ssize_t i, Py_ssize_t p, char *scratch) noexcept nogil:
        return scratch + self.layers[i].gradients_at + p * self.layers[i].panel_bytes

    cdef void first_layer(self, Py_ssize_t first, Py_ssize_t n, char *scratch) noexcept nogil:
        """Multiply strip by strip; panels of rows share the weights that are read."""
        cdef const Layer *layer = &self.layers[0]
        cdef Py_ssize_t strip, start, width, next_bytes, p, k, share
        cdef Py_ssize_t cols = self.tiles.cols, first_row = first * cols
        cdef Py_ssize_t strip_bytes = NETWORK_STRIP * cols * self.itemsize
        cdef Py_ssize_t value_bytes = self.row_bytes // self.n_features
        cdef Py_ssize_t n_rows = min(n * cols, self.n_round_rows - first_row)
        cdef Py_ssize_t n_shares = layer.out_panels * n
        for strip in range(count_panels(layer.n_in, NETWORK_STRIP)):
            start = strip * NETWORK_STRIP
            width = min(<Py_ssize_t>NETWORK_STRIP, layer.n_in - start)
            next_bytes = min(<Py_ssize_t>NETWORK_STRIP, layer.n_in - start - width) * value_bytes
            for p in range(n):
                self.pack_rows(
                    &self.round_rows[first_row + p * cols], start,
                    self.rows_in_panel(first + p), cols,
                    width, self.mean, self.scale, scratch + self.strips_at + p * strip_bytes,
                )
            for share in range(n_shares):
                k, p = share // n, share % n
                # A share of the rows' next strip, beside each tile.
                prefetch(
                    self.round_rows, first_row + share * n_rows // n_shares,
                    first_row + (share + 1) * n_rows // n_shares,
                    (start + width) * value_bytes, next_bytes,
                )
                forward_strip(
                    layer, k, start, width, scratch + self.strips_at + p * strip_bytes,
                    self.outputs_of(0, p, scratch),
                )

    cdef bint has_finite_sums(self, Py_ssize_t p, char *scratch) noexcept nogil:
        """Whether the first layer's sums are, for the p-th panel of a group."""
        cdef double sums[FNN_MAX_TILE_COLS]
        cdef double total = 0.0
        cdef Py_ssize_t r
        self.magnitudes(self.outputs_of(0, p, scratch), self.tiles.cols, self.layers[0].n_out, sums)
        for r in range(self.tiles.cols):
            total += sums[r]
        return isfinite(total)

    cdef void go_forward(
        self, const Run *run, Py_ssize_t panel, Py_ssize_t p, char *scratch
    ) noexcept nogil:
        """Go through all layers, after the sums of the first one."""
        cdef Py_ssize_t i
        cdef char *outputs
        for i in range(self.n_layers):
            outputs = self.outputs_of(i, p, scratch)
            if i > 0:
                forward(&self.layers[i], self.outputs_of(i - 1, p, scratch), outputs)
            if i == self.n_layers - 1:
                return
            if self.tiles.activation != NULL:
                self.tiles.activation.forward(self.layers[i].n_out * self.tiles.cols, outputs)
            if run.method >= SGD and self.dropout > 0.0:
                self.drop_units(i, panel, outputs, NULL)

    cdef void go_backward(
        self, const Run *run, Py_ssize_t panel, Py_ssize_t p, char *scratch
    ) noexcept nogil:
        """Take the gradients back through all layers, and store what those of weights need."""
        cdef Py_ssize_t i, n = self.rows_in_panel(panel)
        cdef char *inputs = NULL
        cdef char *gradients
        cdef char *input_gradients
        for i in range(self.n_layers - 1, -1, -1):
            gradients = self.gradients_of(i, p, scratch)
            if i > 0:
                inputs = self.outputs_of(i - 1, p, scratch)
            store_for_gradient(&self.layers[i], inputs, gradients, panel, n)
            if i == 0:
                return
            input_gradients = self.gradients_of(i - 1, p, scratch)
            backward(&self.layers[i], gradients, input_gradients)
            if run.method >= SGD and self.dropout > 0.0:
                self.drop_units(i - 1, panel, inputs, input_gradients)
            if self.tiles.activation != NULL:
                self.tiles.activation.backward(
                    inputs, self.layers[i].n_in * self.tiles.cols, input_gradients
                )

    cdef void drop_units(
        self, Py_ssize_t i, Py_ssize_t panel, char *outputs, char *gradients
    ) noexcept nogil:
        cdef Py_ssize_t n = self.layers[i].n_out * self.tiles.cols
        cdef uint64_t key = splitmix64(self.key ^ splitmix64(<uint64_t>(i * CHUNK_ROWS + panel)))
        if self.wide:
            apply_dropout(<double *>outputs, <double *>gradients, n, key, self.dropout)
        else:
            apply_dropout(<float *>outputs, <float *>gradients, n, key, self.dropout)

    cdef void give_scores(
        self, const Run *run, Py_ssize_t panel, Py_ssize_t p, char *scratch
    ) noexcept nogil:
        cdef Py_ssize_t row = run.first + panel * self.tiles.cols
        self.copy_scores(panel, p, scratch, run.scores + row * self.n_outputs * self.itemsize)

    cdef void copy_scores(
        self, Py_ssize_t panel, Py_ssize_t p, char *scratch, char *scores
    ) noexcept nogil:
        cdef char *outputs = self.outputs_of(self.n_layers - 1, p, scratch)
        cdef Py_ssize_t n = self.rows_in_panel(panel), cols = self.tiles.cols
        if self.wide:
            to_rows(<double *>outputs, n, self.n_outputs, cols, <double *>scores)
        else:
            to_rows(<float *>outputs, n, self.n_outputs, cols, <float *>scores)

    cdef void loss_backward(
        self, const Run *run, Py_ssize_t panel, Py_ssize_t p, char *scratch
    ) noexcept nogil:
        """Note the losses of a panel's rows, and write the gradients of the last outputs."""
        cdef char *gradients = self.gradients_of(self.n_layers - 1, p, scratch)
        cdef char *scores = scratch + self.scores_at
        cdef Py_ssize_t n = self.rows_in_panel(panel), cols = self.tiles.cols
        self.copy_scores(panel, p, scratch, scores)
        self.hits[panel] = 0.0
        self.losses[panel] = self.add_losses(
            run, run.first + panel * cols, n, scores, &self.hits[panel]
        )
        if self.wide:
            to_columns(<double *>scores, n, self.n_outputs, cols, <double *>gradients)
        else:
            to_columns(<float *>scores, n, self.n_outputs, cols, <float *>gradients)

    # ---- updates -------------------------------------------------------------------------------

    cdef void update_task(self, const Run *run, Py_ssize_t task, int thread) noexcept nogil:
        """Some panels of inputs of one layer; the last task is all biases."""
        cdef char *scratch = self.scratch + thread * self.scratch_bytes
        cdef Py_ssize_t i, panels_before = 0, panel, last, n_tasks
        for i in range(self.n_layers):
            n_tasks = count_panels(self.layers[i].in_panels, self.task_panels)
            if task < n_tasks:
                break
            task = task - n_tasks
            panels_before = panels_before + self.layers[i].in_panels
        else:
            self.update_biases(run, scratch)
            return
        last = min((task + 1) * self.task_panels, self.layers[i].in_panels)
        for panel in range(task * self.task_panels, last):
            self.squares[panels_before + panel] = self.update_panel(
                run, i, panel, panel + 1 < last, scratch
            )

    cdef double update_panel(
        self, const Run *run, Py_ssize_t i, Py_ssize_t panel, bint asks_ahead, char *scratch
    ) noexcept nogil:
        """Take a panel of inputs of one layer; return the sum of the squares of its weights."""
        cdef const Layer *layer = &self.layers[i]
        cdef const Tiles *t = &self.tiles
        cdef Py_ssize_t n = self.n_round_rows, first = panel * t.cols, k
        cdef Py_ssize_t width = min(t.cols, layer.n_in - first)
        cdef Py_ssize_t value_bytes = self.row_bytes // self.n_features
        cdef char *columns = scratch + self.columns_at
        cdef char *tile = scratch + self.tile_at
        cdef double squares = 0.0
        if i > 0:
            columns = layer.inputs_along_rows + first * CHUNK_ROWS * self.itemsize
        else:
            self.copy_rows(
                self.round_rows, first, n, t.cols, width, self.mean, self.scale, columns
            )
        for k in range(layer.out_panels):
            if i == 0 and asks_ahead:
                prefetch(
                    self.round_rows, k * n // layer.out_panels, (k + 1) * n // layer.out_panels,
                    (first + width) * value_bytes, width * value_bytes,
                )
            gradient_tile(layer, k, n, columns, width, tile, tile + t.tile_bytes)
            squares = squares + self.update(
                run, layer.weights, (k * layer.n_in + first) * t.rows, width * t.rows,
                tile + t.tile_bytes,
            )
        return squares

    cdef void update_biases(self, const Run *run, char *scratch) noexcept nogil:
        cdef Py_ssize_t i
        # The gradient's place holds float64 of all units: it has as many bytes for each column.
        cdef double *gradient
        for i in range(self.n_layers):
            gradient = <double *>(scratch + self.layers[i].gradients_at)
            bias_gradient(&self.layers[i], self.n_panels, gradient)
            self.update(run, self.layers[i].bias, 0, self.layers[i].n_out, gradient)
            broadcast_bias(&self.layers[i])
