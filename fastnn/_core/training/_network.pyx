"""Networks of fully connected layers: their loss, its gradient, and epochs of descent.

All products are tiles of the tile engine. Its "queries" are units, its "samples" the rows of a
batch, or for gradients the inputs of a layer:

    outputs = f(W inputs + offsets)     [units] x [rows],     along the inputs
    slopes of inputs = W' slopes        [inputs] x [rows],    along the units
    gradient = slopes inputs'           [units] x [inputs],   along the rows

Weights stay packed as queries, [panel of units][input][unit], all through training, and so does
what the optimizer remembers of them. A layer's outputs, [unit][row] for a panel of rows, are the
next layer's samples as they are. So a batch takes two rounds of tasks, and a short third one:

    for each panel of rows:        pack it, go forward, loss, go backward; lay by the slopes and
                                   the hidden outputs as panels along the rows
    for each panel of inputs:      gradient tile by tile, and each tile's step of descent
    for each panel of inputs:      pack the new weights for the way back

All batches are one job, and these are its phases. Sums over a batch run in the order of its rows,
in parts that depend on the shapes alone, never on the number of threads.

Rows may be bytes, or any numbers, that stand for (x - mean) * scale.
"""

from cython cimport floating
from libc.math cimport isfinite, pow, sqrt
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from .._dispatch cimport (
    FNN_MAX_TILE_COLS,
    FNN_MAX_TILE_ROWS,
    active_kernels,
    fnn_activation,
    fnn_adam_step,
    fnn_copy,
    fnn_kernels,
    fnn_linear,
    fnn_pack,
    fnn_panel_sums,
    fnn_prefetch_l2,
    fnn_row_losses,
    fnn_step,
    fnn_tile,
)
from .._jobs cimport (
    IEEEScope,
    fnn_fetch_add,
    fnn_load,
    fnn_store,
    ieee_scope,
    run_job,
    threads_for,
)
from .._rows cimport aligned_bytes
from .._tuning cimport (
    CACHE_LINE,
    MAX_INPUT_PANELS,
    MAX_STRIP_PANELS,
    CHUNK_ROWS,
    NETWORK_STRIP,
    nanoseconds_to_compare,
)

cnp.import_array()


cdef enum Method:
    FORWARD
    GRADIENT
    SGD
    ADAM


cdef struct Layer:
    Py_ssize_t n_in
    Py_ssize_t n_out
    # Of units, as queries; of inputs, as queries on the way back, and as samples of gradients.
    Py_ssize_t out_panels
    Py_ssize_t back_panels
    Py_ssize_t in_panels
    # [out_panels][n_in][rows of a tile]: the weights, and what the optimizer remembers of them.
    char *weights
    char *first_moments
    char *second_moments
    char *gradient
    # [units]: the same of the offsets.
    char *offsets
    char *first_moments_of_offsets
    char *second_moments_of_offsets
    char *gradient_of_offsets
    # [units][columns of a tile]: the offsets, for tiles to start from.
    char *starts
    # [back_panels][n_out][rows of a tile]; NULL in the first layer.
    char *transposed
    # Panels along the rows of a chunk, of slopes and of inputs (NULL in the first layer).
    char *slopes_along_rows
    char *inputs_along_rows
    # [panels of rows][n_out]: sums of slopes.
    double *slope_sums
    # Where outputs and slopes of a panel of rows stand in a thread's scratch, in bytes.
    Py_ssize_t outputs_at
    Py_ssize_t slopes_at


cdef struct Batch:
    # A chunk of rows on their way.
    const void *rows[CHUNK_ROWS]
    int64_t labels[CHUNK_ROWS]
    double sample_weights[CHUNK_ROWS]
    Py_ssize_t start
    Py_ssize_t n_rows
    Py_ssize_t n_panels
    # Panels of rows that go together.
    Py_ssize_t group
    double losses[CHUNK_ROWS]
    double hits[CHUNK_ROWS]
    uint64_t key
    # Of gradients: whether they start anew, and whether the step follows.
    bint first
    bint last
    # None of the batch's rows has a weight: it takes no step.
    bint is_weightless
    fnn_step step
    fnn_adam_step adam


cdef enum Stage:
    ALL_LAYERS
    STEPS
    WAY_BACK


cdef struct Run:
    # What threads share while they go through rows together, chunk by chunk.
    void *network
    Method method
    const int64_t *order
    Py_ssize_t n_rows
    Py_ssize_t batch_size
    # Of each batch: its step size, and the sum of its rows' weights.
    const double *rates
    const double *batch_weights
    # Where scores go; NULL: to their losses.
    char *scores
    # Of Adam's, and chunks: those before the run.
    int64_t steps
    uint64_t chunks
    int n_threads
    # Where the run is, and where it ends for now. Panels of inputs that a task of STEPS takes, and
    # how many of these tasks there are.
    Stage stage
    Py_ssize_t stop
    Py_ssize_t row
    Py_ssize_t chunk
    Py_ssize_t task_panels
    Py_ssize_t n_tasks
    int64_t n_done
    # Of the batch so far; the penalty is added to its losses.
    double loss
    double penalty
    # Of all batches before.
    double total
    double hits
    # The batch's loss is not finite, and its step was not taken.
    bint has_failed


cdef uint64_t mixed(uint64_t x) noexcept nogil:
    """Steele, Lea and Flood's SplitMix64."""
    x = x + <uint64_t>0x9e3779b97f4a7c15
    x = (x ^ (x >> 30)) * <uint64_t>0xbf58476d1ce4e5b9
    x = (x ^ (x >> 27)) * <uint64_t>0x94d049bb133111eb
    return x ^ (x >> 31)


cdef void drop(
    floating *outputs, floating *slopes, Py_ssize_t n_units, Py_ssize_t n_columns, uint64_t key,
    double rate,
) noexcept nogil:
    """Silence units of rows with the probability `rate`, and scale what is left.

    With slopes the way back: the outputs are as they were before, and slopes silenced and scaled.
    """
    cdef floating factor = <floating>(1.0 / (1.0 - rate)), again = <floating>(1.0 - rate)
    cdef uint64_t limit = <uint64_t>(rate * 18446744073709549568.0)
    cdef Py_ssize_t i
    cdef bint kept
    for i in range(n_units * n_columns):
        kept = mixed(key + <uint64_t>i) >= limit
        if slopes == NULL:
            outputs[i] = outputs[i] * factor if kept else 0
        else:
            outputs[i] = outputs[i] * again
            slopes[i] = slopes[i] * factor if kept else 0


cdef double copy_scores(
    const floating *outputs, Py_ssize_t n_rows, Py_ssize_t n_classes, Py_ssize_t n_columns,
    const int64_t *labels, const double *weights, floating *scores,
) noexcept nogil:
    """Lay scores out row by row; return the weight of rows with the highest where the label is."""
    cdef Py_ssize_t r, k, best
    cdef double hits = 0.0
    for r in range(n_rows):
        best = 0
        for k in range(n_classes):
            scores[r * n_classes + k] = outputs[k * n_columns + r]
            if outputs[k * n_columns + r] > outputs[best * n_columns + r]:
                best = k
        if labels != NULL and labels[r] == best:
            hits += weights[r]
    return hits


cdef void copy_slopes(
    const floating *scores, Py_ssize_t n_rows, Py_ssize_t n_classes, Py_ssize_t n_columns,
    floating *slopes,
) noexcept nogil:
    cdef Py_ssize_t r, k
    for k in range(n_classes):
        for r in range(n_columns):
            slopes[k * n_columns + r] = scores[r * n_classes + k] if r < n_rows else 0


cdef void sum_slopes(
    const floating *slopes, Py_ssize_t n_rows, Py_ssize_t n_units, Py_ssize_t n_columns,
    double *sums,
) noexcept nogil:
    cdef Py_ssize_t r, k
    cdef double total
    for k in range(n_units):
        total = 0.0
        for r in range(n_rows):
            total += slopes[k * n_columns + r]
        sums[k] = total


cdef void add_up(
    const double *sums, Py_ssize_t n_panels, Py_ssize_t n_units, bint first, floating *totals
) noexcept nogil:
    cdef Py_ssize_t j, k
    cdef double total
    for k in range(n_units):
        total = 0.0 if first else totals[k]
        for j in range(n_panels):
            total += sums[j * n_units + k]
        totals[k] = <floating>total


cdef void broadcast(
    const floating *offsets, Py_ssize_t n_units, Py_ssize_t n_columns, floating *starts
) noexcept nogil:
    cdef Py_ssize_t k, r
    for k in range(n_units):
        for r in range(n_columns):
            starts[k * n_columns + r] = offsets[k]


cdef void ask_for(
    const void *const *rows, Py_ssize_t first_row, Py_ssize_t last_row, Py_ssize_t first_byte,
    Py_ssize_t n_bytes,
) noexcept nogil:
    """Ask for some bytes of rows, which processors do not foresee."""
    cdef Py_ssize_t r, line
    for r in range(first_row, last_row):
        for line in range((n_bytes + CACHE_LINE - 1) // CACHE_LINE):
            fnn_prefetch_l2(<const char *>rows[r] + first_byte + line * CACHE_LINE)


cdef Py_ssize_t panels_of(Py_ssize_t n, Py_ssize_t width) noexcept nogil:
    return (n + width - 1) // width


cdef class Network:
    """Layers, the rows that they meet, and the loss between the two.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32, float64 or uint8
        C-contiguous.
    sizes : sequence of int
        Units of each layer, beginning with d; the last are the classes.
    labels : ndarray of shape (n,), int64, or None
        Classes. None where only scores are wanted.
    loss : {"softmax", "svm"}
    activation : {"relu", "tanh", "logistic", "identity"}
        Of all layers but the last.
    alpha : float
        The penalty alpha / 2 * (the sum of the weights' squares) / (the sum of the weights of the
        batch's rows) is part of the loss; offsets are free.
    dropout : float
        Share of the hidden units that training silences.
    seed : int
        Of dropout.
    mean : ndarray of shape (d,), float64, or None
    scale : float
        Rows stand for (x - mean) * scale.
    sample_weights : ndarray of shape (n,), float64, or None
        How much each row counts, at least 0; None: 1 each.
    n_threads : int

    Attributes
    ----------
    dtype : numpy.dtype
        Of weights, scores and gradients: float64 if `X` is, else float32.
    steps : int
        Steps so far.
    has_overflowed : bool
        Whether the last `scores` met sums of the first layer that are not finite. Rows with NaN or
        infinity have such sums, but later layers may hide them.
    """

    cdef object X, labels, sample_weights, mean, zeros
    cdef readonly object dtype
    cdef public int64_t steps
    cdef int64_t overflowed
    cdef object keep_alive, scratch, squares
    cdef Layer *layers
    cdef Py_ssize_t n_layers, n_rows, n_features, n_classes, scratch_bytes, itemsize
    cdef Py_ssize_t tile_rows, tile_cols, work_per_row, tile_at, strips_at, scores_at, columns_at
    cdef bint wide, softmax
    cdef double margin, alpha, dropout, scale
    cdef uint64_t seed, chunks
    cdef int n_threads
    cdef const fnn_linear *linear
    cdef const fnn_activation *activation
    cdef fnn_tile tile
    cdef fnn_pack pack_rows, pack
    cdef fnn_copy copy_rows
    cdef fnn_panel_sums magnitudes
    cdef Batch *batch
    # Pointers into objects, for threads.
    cdef const char *rows
    cdef const int64_t *labels_of_rows
    cdef const double *weights_of_rows
    cdef const double *mean_row
    cdef const double *no_means
    cdef double *panel_squares
    cdef char *scratch_of_threads
    cdef Py_ssize_t row_bytes, n_input_panels, n_back_panels

    def __cinit__(self, X, sizes, *args, **kwargs):
        self.layers = <Layer *>calloc(len(sizes) - 1, sizeof(Layer))
        self.batch = <Batch *>calloc(1, sizeof(Batch))
        if self.layers == NULL or self.batch == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.layers)
        free(self.batch)

    def __init__(
        self, X, sizes, labels=None, str loss="softmax", str activation="relu", double alpha=0.0,
        double dropout=0.0, seed=0, mean=None, double scale=1.0, sample_weights=None,
        int n_threads=1,
    ):
        self.X, self.labels, self.sample_weights = X, labels, sample_weights
        self.n_rows, self.n_features, self.n_classes = X.shape[0], X.shape[1], sizes[len(sizes) - 1]
        self.softmax, self.margin, self.alpha = loss == "softmax", 1.0, alpha
        self.dropout, self.seed, self.chunks, self.steps = dropout, seed, 0, 0
        self.wide = X.dtype == np.float64
        self.dtype = np.dtype(np.float64 if self.wide else np.float32)
        self.itemsize = self.dtype.itemsize
        self.mean, self.scale = np.zeros(self.n_features) if mean is None else mean, scale
        self.mean_row = <const double *>cnp.PyArray_DATA(self.mean)
        self.rows = <const char *>cnp.PyArray_DATA(X)
        self.row_bytes = self.n_features * <Py_ssize_t>X.itemsize
        self.labels_of_rows = NULL
        if labels is not None:
            self.labels_of_rows = <const int64_t *>cnp.PyArray_DATA(labels)
        self.weights_of_rows = NULL
        if sample_weights is not None:
            self.weights_of_rows = <const double *>cnp.PyArray_DATA(sample_weights)
        self.n_threads = n_threads
        self.keep_alive = []
        self.choose_kernels(activation)
        self.n_layers = len(sizes) - 1
        self.work_per_row = sum(a * b for a, b in zip(sizes, sizes[1:]))
        for i in range(self.n_layers):
            self.make_layer(i, sizes[i], sizes[i + 1])
        self.lay_out_scratch()

    @property
    def has_overflowed(self):
        return bool(fnn_load(&self.overflowed))

    cdef choose_kernels(self, activation):
        cdef const fnn_kernels *kernels = active_kernels()
        self.zeros = np.zeros(FNN_MAX_TILE_COLS)
        self.no_means = <const double *>cnp.PyArray_DATA(self.zeros)
        self.tile = kernels.dot_f64 if self.wide else kernels.dot_f32
        self.tile_rows, self.tile_cols = self.tile.rows, self.tile.cols
        self.linear = &kernels.linear_f64 if self.wide else &kernels.linear_f32
        self.pack = kernels.pack_f64_as_f64 if self.wide else kernels.pack_f32_as_f32
        self.pack_rows = kernels.pack_u8_as_f32 if self.X.dtype == np.uint8 else self.pack
        self.magnitudes = kernels.magnitudes_f64 if self.wide else kernels.magnitudes_f32
        self.copy_rows = kernels.copy_f64 if self.wide else kernels.copy_f32
        if self.X.dtype == np.uint8:
            self.copy_rows = kernels.copy_u8_as_f32
        functions = &kernels.activations_f64 if self.wide else &kernels.activations_f32
        self.activation = NULL
        if activation == "relu":
            self.activation = &functions.relu
        elif activation == "tanh":
            self.activation = &functions.tanh
        elif activation == "logistic":
            self.activation = &functions.logistic

    cdef char *allocate(self, Py_ssize_t n, Py_ssize_t itemsize):
        array = aligned_bytes(max(n, 1) * itemsize)
        array[:] = 0
        self.keep_alive.append(array)
        return <char *>cnp.PyArray_DATA(array)

    cdef make_layer(self, Py_ssize_t i, Py_ssize_t n_in, Py_ssize_t n_out):
        cdef Layer *layer = &self.layers[i]
        layer.n_in, layer.n_out = n_in, n_out
        layer.out_panels = panels_of(n_out, self.tile_rows)
        layer.back_panels = panels_of(n_in, self.tile_rows)
        layer.in_panels = panels_of(n_in, self.tile_cols)
        cdef Py_ssize_t units = layer.out_panels * self.tile_rows, size = units * n_in
        layer.weights = self.allocate(size, self.itemsize)
        layer.offsets = self.allocate(units, self.itemsize)
        layer.starts = self.allocate(units * self.tile_cols, self.itemsize)
        if i > 0:
            layer.transposed = self.allocate(
                layer.back_panels * self.tile_rows * n_out, self.itemsize
            )
        if self.labels is None:
            return
        layer.first_moments = self.allocate(size, self.itemsize)
        layer.first_moments_of_offsets = self.allocate(units, self.itemsize)
        layer.gradient_of_offsets = self.allocate(units, self.itemsize)
        layer.slopes_along_rows = self.allocate(units * CHUNK_ROWS, self.itemsize)
        layer.slope_sums = <double *>self.allocate(
            panels_of(CHUNK_ROWS, self.tile_cols) * n_out, sizeof(double)
        )
        if i > 0:
            layer.inputs_along_rows = self.allocate(
                layer.in_panels * self.tile_cols * CHUNK_ROWS, self.itemsize
            )

    cdef lay_out_scratch(self):
        """Settle what stands where in a thread's scratch, and allocate it for all threads."""
        cdef Py_ssize_t i, at = 0, tile_size = self.tile_rows * self.tile_cols * self.itemsize
        cdef Py_ssize_t size
        for i in range(self.n_layers):
            size = MAX_STRIP_PANELS * self.layers[i].out_panels * tile_size
            self.layers[i].outputs_at = at
            at += size
            if self.labels is not None:
                self.layers[i].slopes_at = at
                at += size
        self.tile_at = at  # a tile, and the same transposed
        at += 2 * tile_size
        self.strips_at = at
        at += MAX_STRIP_PANELS * NETWORK_STRIP * self.tile_cols * self.itemsize
        self.scores_at = at
        at += (self.tile_cols * self.n_classes * self.itemsize + 63) // 64 * 64
        self.columns_at = at
        if self.labels is not None:
            at += CHUNK_ROWS * self.tile_cols * self.itemsize
        self.scratch_bytes = (at + 63) // 64 * 64
        self.scratch = aligned_bytes(self.n_threads * self.scratch_bytes)
        self.scratch_of_threads = <char *>cnp.PyArray_DATA(self.scratch)
        self.n_input_panels = self.n_back_panels = 0
        for i in range(self.n_layers):
            self.n_input_panels += self.layers[i].in_panels
            if i > 0:
                self.n_back_panels += self.layers[i].back_panels
        self.squares = np.zeros(self.n_input_panels)
        self.panel_squares = <double *>cnp.PyArray_DATA(self.squares)

    # ---- weights -----------------------------------------------------------------------------

    def set_weights(self, weights, offsets):
        """Take over the layers' weights, of shape (n_in, n_out) each, and offsets, at rest."""
        cdef Py_ssize_t i, task
        for i in range(self.n_layers):
            self.put(self.layers[i].weights, i, weights[i])
            self.put_offsets(self.layers[i].offsets, i, offsets[i])
        self.forget()
        self.refresh_offsets()
        for task in range(self.n_back_panels):
            self.transpose_task(task)

    def get_weights(self):
        """Return copies of the layers' weights and offsets, as two lists."""
        return (
            [self.take(self.layers[i].weights, i) for i in range(self.n_layers)],
            [self.take_offsets(self.layers[i].offsets, i) for i in range(self.n_layers)],
        )

    def get_moments(self):
        """Return what the optimizer remembers."""
        moments = [self.steps]
        for i in range(self.n_layers):
            moments.append(self.take(self.layers[i].first_moments, i))
            moments.append(self.take_offsets(self.layers[i].first_moments_of_offsets, i))
            if self.layers[i].second_moments != NULL:
                moments.append(self.take(self.layers[i].second_moments, i))
                moments.append(self.take_offsets(self.layers[i].second_moments_of_offsets, i))
        return moments

    def set_moments(self, moments):
        """Take over what `get_moments` has returned, after the weights."""
        rest = iter(moments)
        self.steps = next(rest)
        if len(moments) > 1 + 2 * self.n_layers:
            self.make_second_moments()
        for i in range(self.n_layers):
            self.put(self.layers[i].first_moments, i, next(rest))
            self.put_offsets(self.layers[i].first_moments_of_offsets, i, next(rest))
            if self.layers[i].second_moments != NULL:
                self.put(self.layers[i].second_moments, i, next(rest))
                self.put_offsets(self.layers[i].second_moments_of_offsets, i, next(rest))

    cdef make_second_moments(self):
        cdef Layer *layer
        for i in range(self.n_layers):
            layer = &self.layers[i]
            if layer.second_moments == NULL:
                units = layer.out_panels * self.tile_rows
                layer.second_moments = self.allocate(units * layer.n_in, self.itemsize)
                layer.second_moments_of_offsets = self.allocate(units, self.itemsize)

    cdef make_gradients(self):
        cdef Layer *layer
        for i in range(self.n_layers):
            layer = &self.layers[i]
            if layer.gradient == NULL:
                units = layer.out_panels * self.tile_rows
                layer.gradient = self.allocate(units * layer.n_in, self.itemsize)

    cdef forget(self):
        cdef Layer *layer
        cdef Py_ssize_t units
        self.steps = 0
        if self.labels is None:
            return
        for i in range(self.n_layers):
            layer = &self.layers[i]
            units = layer.out_panels * self.tile_rows
            memset(layer.first_moments, 0, units * layer.n_in * self.itemsize)
            memset(layer.first_moments_of_offsets, 0, units * self.itemsize)
            if layer.second_moments != NULL:
                memset(layer.second_moments, 0, units * layer.n_in * self.itemsize)
                memset(layer.second_moments_of_offsets, 0, units * self.itemsize)

    cdef view(self, char *data, Py_ssize_t n):
        """Return an array that shares memory of ours."""
        return np.asarray(<cnp.uint8_t[:n * self.itemsize]>(<cnp.uint8_t *>data)).view(self.dtype)

    cdef unit_rows(self, char *data, Py_ssize_t i):
        """Return what is packed for the weights of layer i, as (panels, units, inputs)."""
        cdef Layer *layer = &self.layers[i]
        shape = (layer.out_panels, layer.n_in, self.tile_rows)
        flat = self.view(data, layer.out_panels * layer.n_in * self.tile_rows)
        return flat.reshape(shape).transpose(0, 2, 1)

    cdef put(self, char *data, Py_ssize_t i, matrix):
        cdef Layer *layer = &self.layers[i]
        padded = np.zeros((layer.out_panels * self.tile_rows, layer.n_in), self.dtype)
        padded[:layer.n_out] = np.asarray(matrix).T
        self.unit_rows(data, i)[:] = padded.reshape(layer.out_panels, self.tile_rows, layer.n_in)

    cdef take(self, char *data, Py_ssize_t i):
        cdef Layer *layer = &self.layers[i]
        rows = self.unit_rows(data, i).reshape(-1, layer.n_in)[:layer.n_out]
        return np.array(rows.T, order="C")  # a copy in any case

    cdef put_offsets(self, char *data, Py_ssize_t i, offsets):
        self.view(data, self.layers[i].n_out)[:] = offsets

    cdef take_offsets(self, char *data, Py_ssize_t i):
        return self.view(data, self.layers[i].n_out).copy()

    cdef double half_sum_of_squares(self):
        cdef double total = 0.0
        for i in range(self.n_layers):
            packed = self.unit_rows(self.layers[i].weights, i)
            total += 0.5 * float(np.square(packed, dtype=np.float64).sum())
        return total

    # ---- loss and gradient ---------------------------------------------------------------------

    def scores(self):
        """Return the scores of all rows, of shape (n, n_classes)."""
        cdef Run run
        scores = np.empty((self.n_rows, self.n_classes), self.dtype)
        self.start(&run, FORWARD, self.n_rows, self.n_rows)
        run.scores = <char *>cnp.PyArray_DATA(scores)
        fnn_store(&self.overflowed, False)
        self.go_on(&run, run.n_rows, None)
        return scores

    def loss_and_gradient(self, bint with_gradient=True):
        """Return the loss over all rows and its gradient with respect to weights and offsets.

        Without dropout. The penalty counts as that of one batch.

        Returns
        -------
        loss : float
            NaN if a score is not finite.
        gradient : list of ndarray of shape (n_in, n_out), or None
        gradient_of_offsets : list of ndarray of shape (n_out,), or None
        """
        cdef Run run
        cdef double dropout = self.dropout
        cdef Py_ssize_t i
        gradients, of_offsets = None, None
        self.dropout = 0.0
        if with_gradient:
            self.make_gradients()
        # One chunk is one batch, so that sums go on in float64 from chunk to chunk.
        self.start(&run, GRADIENT if with_gradient else FORWARD, self.n_rows, CHUNK_ROWS)
        while run.row < self.n_rows:
            self.go_on(&run, self.n_rows if not with_gradient else run.row + 1, None)
            if not with_gradient:
                break
            g = [self.take(self.layers[i].gradient, i).astype(np.float64)
                 for i in range(self.n_layers)]
            b = [self.take_offsets(self.layers[i].gradient_of_offsets, i).astype(np.float64)
                 for i in range(self.n_layers)]
            if gradients is None:
                gradients, of_offsets = g, b
            else:
                gradients = [one + other for one, other in zip(gradients, g)]
                of_offsets = [one + other for one, other in zip(of_offsets, b)]
        self.dropout = dropout
        n = self.n_rows if self.sample_weights is None else self.sample_weights.sum()
        loss = (run.total + self.alpha * self.half_sum_of_squares()) / n
        if not with_gradient:
            return loss, None, None
        weights = self.get_weights()[0]
        gradients = [(g + self.alpha * w) / n for g, w in zip(gradients, weights)]
        return loss, gradients, [b / n for b in of_offsets]

    def train(
        self, const int64_t[::1] order, Py_ssize_t batch_size, const double[::1] rates,
        double momentum=0.0, bint nesterov=False, adam=None, progress=None,
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
        adam : tuple of float, or None
            beta_1, beta_2 and epsilon of Adam, in the place of momentum.
        progress : callable or None
            Is told from time to time how many more rows are done.

        Returns
        -------
        loss : float
            Weighted mean of the rows' losses, each before its batch's step, with the penalties
            then. Where it is not finite, training has ended with the batch that was not, before its
            step.
        accuracy : float
            Of the scores that the losses are of, with the same weights.
        """
        cdef Run run
        cdef double[::1] batch_weights = self.sum_weights(np.asarray(order), batch_size)
        self.start(&run, SGD if adam is None else ADAM, order.shape[0], batch_size)
        run.order, run.rates, run.batch_weights = &order[0], &rates[0], &batch_weights[0]
        self.batch.step = fnn_step(1.0, 0.0, 0.0, momentum, nesterov)
        if adam is not None:
            self.batch.adam = fnn_adam_step(1.0, 0.0, 0.0, adam[0], adam[1], adam[2])
            self.make_second_moments()
        if batch_size > CHUNK_ROWS:
            self.make_gradients()
        run.penalty = self.alpha * self.half_sum_of_squares()
        self.go_on(&run, run.n_rows, progress)
        if run.has_failed:
            return run.loss, np.nan
        self.steps = run.steps
        weight = np.sum(batch_weights)
        return run.total / weight, run.hits / weight

    cdef sum_weights(self, order, batch_size):
        """Return the sum of the rows' weights for each batch."""
        starts = np.arange(0, len(order), batch_size)
        weights = np.ones(len(order))
        if self.sample_weights is not None:
            weights = self.sample_weights[order]
        return np.add.reduceat(weights, starts)

    cdef void start(
        self, Run *run, Method method, Py_ssize_t n_rows, Py_ssize_t batch_size
    ) noexcept:
        """Prepare to go through rows as they lie."""
        memset(run, 0, sizeof(Run))
        run.network = <void *>self
        run.method, run.n_rows, run.batch_size = method, n_rows, batch_size
        run.steps, run.chunks = self.steps, self.chunks

    cdef int go_on(self, Run *run, Py_ssize_t stop, progress) except -1:
        """Go on to the end of the chunk that has row `stop`, or of one whose loss is not finite."""
        cdef IEEEScope _ieee = ieee_scope()
        cdef Py_ssize_t chunk_rows = min(run.n_rows, min(run.batch_size, <Py_ssize_t>CHUNK_ROWS))
        cdef Py_ssize_t n_tasks = max(self.n_input_panels, panels_of(chunk_rows, self.tile_cols))
        run.n_threads = threads_for(
            self.n_threads, n_tasks, nanoseconds_to_compare(<double>chunk_rows * self.work_per_row)
        )
        run.stop = stop
        run_job(
            run_phase_task, run, self.next_chunk(run), run.n_threads, progress, run.n_rows,
            next_run_phase, &run.n_done, run.n_rows,
        )
        self.chunks = run.chunks + run.chunk
        return 0

    cdef Py_ssize_t next_chunk(self, Run *run) noexcept nogil:
        """Go on to the next chunk; return how many tasks its first phase has."""
        self.find_chunk(run)
        run.stage = ALL_LAYERS
        return panels_of(self.batch.n_panels, self.batch.group)

    cdef Py_ssize_t next_phase(self, Run *run) noexcept nogil:
        """Through all layers and back, gradients and steps, the way back; then the next chunk."""
        if run.stage == ALL_LAYERS:
            self.add_losses(run)
            if run.has_failed:
                return 0
            if run.method >= GRADIENT and not self.batch.is_weightless:
                run.stage = STEPS
                return self.count_steps(run)
        if run.stage == STEPS and self.has_stepped(run) and self.n_back_panels > 0:
            run.stage = WAY_BACK
            return self.n_back_panels
        self.end_chunk(run)
        return 0 if run.row >= run.stop else self.next_chunk(run)

    cdef bint has_stepped(self, const Run *run) noexcept nogil:
        return self.batch.last and run.method >= SGD and not self.batch.is_weightless

    cdef void add_losses(self, Run *run) noexcept nogil:
        cdef Py_ssize_t panel
        if run.scores == NULL:
            for panel in range(self.batch.n_panels):
                run.loss += self.batch.losses[panel]
                run.hits += self.batch.hits[panel]
        if self.batch.last:
            run.loss += run.penalty
            run.has_failed = run.method >= SGD and not isfinite(run.loss)
            if not run.has_failed:
                run.total += run.loss

    cdef void end_chunk(self, Run *run) noexcept nogil:
        run.row += self.batch.n_rows
        run.chunk += 1
        fnn_fetch_add(&run.n_done, self.batch.n_rows)
        if self.batch.last:
            run.loss = 0.0
        if self.has_stepped(run):
            run.penalty = self.alpha * 0.5 * self.sum_of_squares()

    cdef void run_task(self, const Run *run, Py_ssize_t task, int thread) noexcept nogil:
        cdef char *scratch = self.scratch_of_threads + thread * self.scratch_bytes
        cdef Py_ssize_t first = task * self.batch.group
        if run.stage == ALL_LAYERS:
            self.run_group(run, first, min(self.batch.group, self.batch.n_panels - first), scratch)
        elif run.stage == WAY_BACK:
            self.transpose_task(task)
        elif task < run.n_tasks - 1:
            self.gradient_task(run, task, run.task_panels, scratch)
        else:
            self.step_all_offsets(run)

    cdef double sum_of_squares(self) noexcept nogil:
        cdef double total = 0.0
        cdef Py_ssize_t i
        for i in range(self.n_input_panels):
            total += self.panel_squares[i]
        return total

    cdef void find_chunk(self, Run *run) noexcept nogil:
        """Note where the rows of a chunk are, how it is divided, and what its step will be."""
        cdef Batch *batch = self.batch
        cdef Py_ssize_t number = run.row // run.batch_size, first = number * run.batch_size
        cdef Py_ssize_t last = min(first + run.batch_size, run.n_rows)
        cdef Py_ssize_t n = min(<Py_ssize_t>CHUNK_ROWS, last - run.row), r, row
        for r in range(n):
            row = run.row + r if run.order == NULL else run.order[run.row + r]
            batch.rows[r] = self.rows + row * self.row_bytes
            batch.sample_weights[r] = 1.0
            if self.weights_of_rows != NULL:
                batch.sample_weights[r] = self.weights_of_rows[row]
            if self.labels_of_rows != NULL:
                batch.labels[r] = self.labels_of_rows[row]
        batch.start, batch.n_rows, batch.n_panels = run.row, n, panels_of(n, self.tile_cols)
        batch.group = min(panels_of(batch.n_panels, run.n_threads), <Py_ssize_t>MAX_STRIP_PANELS)
        batch.first, batch.last = run.row == first, run.row + n == last
        batch.key = mixed(self.seed ^ mixed(run.chunks + <uint64_t>run.chunk + 1))
        batch.is_weightless = run.method >= SGD and run.batch_weights[number] == 0.0
        if run.method >= SGD and not batch.is_weightless:
            run.steps += batch.first
            self.set_step(run.batch_weights[number], run.rates[number], run.steps)

    cdef void set_step(self, double weight, double rate, int64_t number) noexcept nogil:
        cdef Batch *batch = self.batch
        batch.step.factor = batch.adam.factor = 1.0 / weight
        batch.step.decay = batch.adam.decay = self.alpha / weight
        batch.step.rate = rate
        batch.adam.rate = (
            rate * sqrt(1.0 - pow(batch.adam.beta_2, <double>number))
            / (1.0 - pow(batch.adam.beta_1, <double>number))
        )

    # ---- the way of a chunk --------------------------------------------------------------------

    cdef void run_group(
        self, const Run *run, Py_ssize_t first, Py_ssize_t n, char *scratch
    ) noexcept nogil:
        """Take n panels of rows, from `first` on, all the way."""
        cdef Py_ssize_t p
        self.first_layer(first, n, scratch)
        for p in range(n):
            if run.scores != NULL and not self.is_finite(p, scratch):
                fnn_store(&self.overflowed, True)
            self.finish_layer(0, first + p, p, scratch, run.method >= SGD)
            self.next_layers(first + p, p, scratch, run.method >= SGD)
            if run.scores != NULL:
                self.give_scores(run, first + p, p, scratch)
                continue
            self.lose(first + p, p, scratch)
            if run.method >= GRADIENT:
                self.go_back(first + p, p, scratch)

    cdef Py_ssize_t rows_of(self, Py_ssize_t panel) noexcept nogil:
        return min(self.tile_cols, self.batch.n_rows - panel * self.tile_cols)

    cdef char *outputs_of(self, Py_ssize_t i, Py_ssize_t p, char *scratch) noexcept nogil:
        """Where the outputs of layer i stand for the p-th panel of a group."""
        cdef Layer *layer = &self.layers[i]
        cdef Py_ssize_t size = layer.out_panels * self.tile_rows * self.tile_cols * self.itemsize
        return scratch + layer.outputs_at + p * size

    cdef char *slopes_of(self, Py_ssize_t i, Py_ssize_t p, char *scratch) noexcept nogil:
        cdef Layer *layer = &self.layers[i]
        cdef Py_ssize_t size = layer.out_panels * self.tile_rows * self.tile_cols * self.itemsize
        return scratch + layer.slopes_at + p * size

    cdef void first_layer(self, Py_ssize_t first, Py_ssize_t n, char *scratch) noexcept nogil:
        """Multiply strip by strip; panels of rows share the weights that are read."""
        cdef Layer *layer = &self.layers[0]
        cdef Py_ssize_t start, width, next_bytes, p, i, s
        cdef Py_ssize_t tile_bytes = self.tile_rows * self.tile_cols * self.itemsize
        cdef Py_ssize_t strip_bytes = NETWORK_STRIP * self.tile_cols * self.itemsize
        cdef Py_ssize_t first_row = first * self.tile_cols
        cdef Py_ssize_t value_bytes = self.row_bytes // self.n_features
        cdef Py_ssize_t n_rows = min(n * self.tile_cols, self.batch.n_rows - first_row)
        cdef Py_ssize_t n_shares = layer.out_panels * n, share
        cdef char *weights
        cdef char *tile
        for s in range(panels_of(layer.n_in, NETWORK_STRIP)):
            start = s * NETWORK_STRIP
            width = min(<Py_ssize_t>NETWORK_STRIP, layer.n_in - start)
            next_bytes = min(<Py_ssize_t>NETWORK_STRIP, layer.n_in - start - width) * value_bytes
            for p in range(n):
                self.pack_rows(
                    &self.batch.rows[first_row + p * self.tile_cols], start,
                    self.rows_of(first + p), self.tile_cols, width, self.mean_row, self.scale,
                    scratch + self.strips_at + p * strip_bytes,
                )
            for i in range(layer.out_panels):
                weights = layer.weights + (i * layer.n_in + start) * self.tile_rows * self.itemsize
                for p in range(n):
                    # A share of the rows' next strip, beside each tile.
                    share = i * n + p
                    ask_for(
                        self.batch.rows, first_row + share * n_rows // n_shares,
                        first_row + (share + 1) * n_rows // n_shares,
                        (start + width) * value_bytes, next_bytes,
                    )
                    tile = self.outputs_of(0, p, scratch) + i * tile_bytes
                    self.tile.partial(
                        width, weights, scratch + self.strips_at + p * strip_bytes,
                        tile if start > 0 else layer.starts + i * tile_bytes, self.tile_cols, tile,
                    )

    cdef bint is_finite(self, Py_ssize_t p, char *scratch) noexcept nogil:
        """Whether the first layer's sums are, for the p-th panel of a group."""
        cdef double sums[FNN_MAX_TILE_COLS]
        cdef double total = 0.0
        cdef Py_ssize_t r
        self.magnitudes(self.outputs_of(0, p, scratch), self.tile_cols, self.layers[0].n_out, sums)
        for r in range(self.tile_cols):
            total += sums[r]
        return isfinite(total)

    cdef void finish_layer(
        self, Py_ssize_t i, Py_ssize_t panel, Py_ssize_t p, char *scratch, bint is_training
    ) noexcept nogil:
        """Apply the activation, and in training dropout, to hidden outputs."""
        cdef Py_ssize_t n = self.layers[i].n_out
        cdef char *outputs = self.outputs_of(i, p, scratch)
        if i == self.n_layers - 1:
            return
        if self.activation != NULL:
            self.activation.activate(n * self.tile_cols, outputs)
        if is_training and self.dropout > 0.0:
            self.drop_units(i, panel, p, scratch, False)

    cdef void drop_units(
        self, Py_ssize_t i, Py_ssize_t panel, Py_ssize_t p, char *scratch, bint back
    ) noexcept nogil:
        cdef Py_ssize_t n = self.layers[i].n_out
        cdef uint64_t key = mixed(self.batch.key ^ mixed(<uint64_t>(i * CHUNK_ROWS + panel)))
        cdef char *outputs = self.outputs_of(i, p, scratch)
        cdef char *slopes = self.slopes_of(i, p, scratch) if back else NULL
        if self.wide:
            drop(<double *>outputs, <double *>slopes, n, self.tile_cols, key, self.dropout)
        else:
            drop(<float *>outputs, <float *>slopes, n, self.tile_cols, key, self.dropout)

    cdef void next_layers(
        self, Py_ssize_t panel, Py_ssize_t p, char *scratch, bint is_training
    ) noexcept nogil:
        cdef Py_ssize_t tile_bytes = self.tile_rows * self.tile_cols * self.itemsize, i, k
        cdef Layer *layer
        for i in range(1, self.n_layers):
            layer = &self.layers[i]
            for k in range(layer.out_panels):
                self.tile.partial(
                    layer.n_in, layer.weights + k * layer.n_in * self.tile_rows * self.itemsize,
                    self.outputs_of(i - 1, p, scratch), layer.starts + k * tile_bytes,
                    self.tile_cols, self.outputs_of(i, p, scratch) + k * tile_bytes,
                )
            self.finish_layer(i, panel, p, scratch, is_training)

    cdef void give_scores(
        self, const Run *run, Py_ssize_t panel, Py_ssize_t p, char *scratch
    ) noexcept nogil:
        cdef char *outputs = self.outputs_of(self.n_layers - 1, p, scratch)
        cdef Py_ssize_t n = self.rows_of(panel)
        cdef Py_ssize_t row = self.batch.start + panel * self.tile_cols
        cdef char *scores = run.scores + row * self.n_classes * self.itemsize
        if self.wide:
            copy_scores(
                <double *>outputs, n, self.n_classes, self.tile_cols, NULL, NULL, <double *>scores
            )
        else:
            copy_scores(
                <float *>outputs, n, self.n_classes, self.tile_cols, NULL, NULL, <float *>scores
            )

    cdef void lose(self, Py_ssize_t panel, Py_ssize_t p, char *scratch) noexcept nogil:
        """Note the losses of a panel's rows; leave their slopes with the last layer."""
        cdef char *outputs = self.outputs_of(self.n_layers - 1, p, scratch)
        cdef char *slopes = self.slopes_of(self.n_layers - 1, p, scratch)
        cdef char *scores = scratch + self.scores_at
        cdef Py_ssize_t n = self.rows_of(panel), C = self.tile_cols, c = self.n_classes
        cdef const int64_t *labels = &self.batch.labels[panel * C]
        cdef const double *weights = &self.batch.sample_weights[panel * C]
        cdef double hits
        cdef fnn_row_losses row_losses = self.linear.svm_losses
        if self.softmax:
            row_losses = self.linear.softmax_losses
        if self.wide:
            hits = copy_scores(<double *>outputs, n, c, C, labels, weights, <double *>scores)
        else:
            hits = copy_scores(<float *>outputs, n, c, C, labels, weights, <float *>scores)
        self.batch.hits[panel] = hits
        self.batch.losses[panel] = row_losses(
            scores, labels, weights, n, c, self.margin, scores
        )
        if self.wide:
            copy_slopes(<double *>scores, n, c, C, <double *>slopes)
        else:
            copy_slopes(<float *>scores, n, c, C, <float *>slopes)

    cdef void go_back(self, Py_ssize_t panel, Py_ssize_t p, char *scratch) noexcept nogil:
        """Carry the slopes back through the layers, and lay by what gradients are made of."""
        cdef Py_ssize_t tile_bytes = self.tile_rows * self.tile_cols * self.itemsize, i, k
        cdef Layer *layer
        cdef char *slopes
        for i in range(self.n_layers - 1, -1, -1):
            self.lay_by(i, panel, p, scratch)
            if i == 0:
                return
            layer = &self.layers[i]
            slopes = self.slopes_of(i - 1, p, scratch)
            for k in range(layer.back_panels):
                self.tile.partial(
                    layer.n_out,
                    layer.transposed + k * layer.n_out * self.tile_rows * self.itemsize,
                    self.slopes_of(i, p, scratch), self.no_means, 0, slopes + k * tile_bytes,
                )
            if self.dropout > 0.0:
                self.drop_units(i - 1, panel, p, scratch, True)
            if self.activation != NULL:
                self.activation.chain(
                    self.outputs_of(i - 1, p, scratch), layer.n_in * self.tile_cols, slopes
                )

    cdef void lay_by(
        self, Py_ssize_t i, Py_ssize_t panel, Py_ssize_t p, char *scratch
    ) noexcept nogil:
        cdef Layer *layer = &self.layers[i]
        cdef Py_ssize_t n = self.rows_of(panel)
        cdef char *slopes = self.slopes_of(i, p, scratch)
        cdef double *sums = layer.slope_sums + panel * layer.n_out
        self.turn(slopes, layer.n_out, n, self.tile_rows, panel, layer.slopes_along_rows)
        if i > 0:
            self.turn(
                self.outputs_of(i - 1, p, scratch), layer.n_in, n, self.tile_cols, panel,
                layer.inputs_along_rows,
            )
        if self.wide:
            sum_slopes(<double *>slopes, n, layer.n_out, self.tile_cols, sums)
        else:
            sum_slopes(<float *>slopes, n, layer.n_out, self.tile_cols, sums)

    cdef void turn(
        self, const char *values, Py_ssize_t n_units, Py_ssize_t n_rows, Py_ssize_t width,
        Py_ssize_t panel, char *target,
    ) noexcept nogil:
        """Pack values, [unit][row], as panels of `width` units along the rows."""
        cdef const void *units[FNN_MAX_TILE_COLS]
        cdef Py_ssize_t k, u, n
        for k in range(panels_of(n_units, width)):
            n = min(width, n_units - k * width)
            for u in range(n):
                units[u] = values + (k * width + u) * self.tile_cols * self.itemsize
            self.pack(
                units, 0, n, width, n_rows, self.no_means, 1.0,
                target + (k * CHUNK_ROWS + panel * self.tile_cols) * width * self.itemsize,
            )

    # ---- gradients and steps -------------------------------------------------------------------

    cdef Py_ssize_t count_steps(self, Run *run) noexcept nogil:
        """Divide the gradients of a chunk into tasks; the last one is all offsets."""
        cdef Py_ssize_t size = self.n_input_panels // (4 * run.n_threads), i
        run.task_panels = max(<Py_ssize_t>1, min(<Py_ssize_t>MAX_INPUT_PANELS, size))
        run.n_tasks = 1
        for i in range(self.n_layers):
            run.n_tasks += panels_of(self.layers[i].in_panels, run.task_panels)
        return run.n_tasks

    cdef void step_all_offsets(self, const Run *run) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(self.n_layers):
            self.step_offsets(run, &self.layers[i])
        self.refresh_offsets()

    cdef void gradient_task(
        self, const Run *run, Py_ssize_t task, Py_ssize_t size, char *scratch
    ) noexcept nogil:
        """Do so many panels of inputs of one layer, at most."""
        cdef Py_ssize_t i = 0, panels_before = 0, panel, last
        while task >= panels_of(self.layers[i].in_panels, size):
            task = task - panels_of(self.layers[i].in_panels, size)
            panels_before = panels_before + self.layers[i].in_panels
            i = i + 1
        last = min((task + 1) * size, self.layers[i].in_panels)
        for panel in range(task * size, last):
            self.panel_squares[panels_before + panel] = self.gradient_panel(
                run, i, panel, panel + 1 < last, scratch
            )

    cdef double gradient_panel(
        self, const Run *run, Py_ssize_t i, Py_ssize_t panel, bint asks_ahead, char *scratch
    ) noexcept nogil:
        """Do a panel of inputs of one layer; return the sum of the squares of its weights."""
        cdef Layer *layer = &self.layers[i]
        cdef Py_ssize_t n = self.batch.n_rows, first = panel * self.tile_cols, k
        cdef Py_ssize_t width = min(self.tile_cols, layer.n_in - first)
        cdef Py_ssize_t value_bytes = self.row_bytes // self.n_features
        cdef char *columns = scratch + self.columns_at
        cdef char *tile = scratch + self.tile_at
        cdef char *turned = tile + self.tile_rows * self.tile_cols * self.itemsize
        cdef double squares = 0.0
        if i == 0:
            self.copy_rows(
                self.batch.rows, first, n, self.tile_cols, width, self.mean_row, self.scale, columns
            )
        else:
            columns = layer.inputs_along_rows + first * CHUNK_ROWS * self.itemsize
        for k in range(layer.out_panels):
            if i == 0 and asks_ahead:
                ask_for(
                    self.batch.rows, k * n // layer.out_panels, (k + 1) * n // layer.out_panels,
                    (first + width) * value_bytes, width * value_bytes,
                )
            self.tile.partial(
                n, layer.slopes_along_rows + k * CHUNK_ROWS * self.tile_rows * self.itemsize,
                columns, self.no_means, 0, tile,
            )
            self.turn_tile(tile, width, turned)
            squares = squares + self.step_weights(
                run, layer, (k * layer.n_in + first) * self.tile_rows * self.itemsize,
                width * self.tile_rows, turned,
            )
        return squares

    cdef void turn_tile(self, const char *tile, Py_ssize_t width, char *turned) noexcept nogil:
        """[unit][input] becomes [input][unit], as weights are packed."""
        cdef const void *rows[FNN_MAX_TILE_ROWS]
        cdef Py_ssize_t r
        for r in range(self.tile_rows):
            rows[r] = tile + r * self.tile_cols * self.itemsize
        self.pack(rows, 0, self.tile_rows, self.tile_rows, width, self.no_means, 1.0, turned)

    cdef double step_weights(
        self, const Run *run, Layer *layer, Py_ssize_t at, Py_ssize_t n, char *gradient
    ) noexcept nogil:
        cdef Batch *batch = self.batch
        if run.method == GRADIENT or not (batch.first and batch.last):
            if batch.first:
                memset(layer.gradient + at, 0, n * self.itemsize)
            self.linear.add(gradient, n, layer.gradient + at)
            gradient = layer.gradient + at
        if run.method == GRADIENT or not batch.last:
            return 0.0
        if run.method == SGD:
            return self.linear.descend(
                &batch.step, gradient, n, layer.first_moments + at, layer.weights + at
            )
        return self.linear.adapt(
            &batch.adam, gradient, n, layer.first_moments + at, layer.second_moments + at,
            layer.weights + at,
        )

    cdef void step_offsets(self, const Run *run, Layer *layer) noexcept nogil:
        cdef Batch *batch = self.batch
        cdef fnn_step step = batch.step
        cdef fnn_adam_step adam = batch.adam
        cdef char *gradient = layer.gradient_of_offsets
        if self.wide:
            add_up(layer.slope_sums, batch.n_panels, layer.n_out, batch.first, <double *>gradient)
        else:
            add_up(layer.slope_sums, batch.n_panels, layer.n_out, batch.first, <float *>gradient)
        step.decay = adam.decay = 0.0
        if run.method == SGD and batch.last:
            self.linear.descend(
                &step, gradient, layer.n_out, layer.first_moments_of_offsets, layer.offsets
            )
        elif run.method == ADAM and batch.last:
            self.linear.adapt(
                &adam, gradient, layer.n_out, layer.first_moments_of_offsets,
                layer.second_moments_of_offsets, layer.offsets,
            )

    # ---- after a step ------------------------------------------------------------------------

    cdef void refresh_offsets(self) noexcept nogil:
        cdef Py_ssize_t i
        cdef Layer *layer
        for i in range(self.n_layers):
            layer = &self.layers[i]
            if self.wide:
                broadcast(
                    <double *>layer.offsets, layer.n_out, self.tile_cols, <double *>layer.starts
                )
            else:
                broadcast(
                    <float *>layer.offsets, layer.n_out, self.tile_cols, <float *>layer.starts
                )

    cdef void transpose_task(self, Py_ssize_t task) noexcept nogil:
        """Pack a panel of inputs of one layer, in the place of units, for the way back."""
        cdef Py_ssize_t i = 1, k, r, n_inputs, n_units, R = self.tile_rows
        cdef const void *rows[FNN_MAX_TILE_ROWS]
        while task >= self.layers[i].back_panels:
            task = task - self.layers[i].back_panels
            i = i + 1
        cdef Layer *layer = &self.layers[i]
        n_inputs = min(R, layer.n_in - task * R)
        for k in range(layer.out_panels):
            n_units = min(R, layer.n_out - k * R)
            for r in range(n_inputs):
                rows[r] = layer.weights + (k * layer.n_in + task * R + r) * R * self.itemsize
            self.pack(
                rows, 0, n_inputs, R, n_units, self.no_means, 1.0,
                layer.transposed + (task * layer.n_out + k * R) * R * self.itemsize,
            )


cdef void run_phase_task(void *run, Py_ssize_t task, int thread) noexcept nogil:
    (<Network>(<Run *>run).network).run_task(<Run *>run, task, thread)


cdef Py_ssize_t next_run_phase(void *run) noexcept nogil:
    return (<Network>(<Run *>run).network).next_phase(<Run *>run)
