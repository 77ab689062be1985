"""Dense layers: forward, backward, and the gradient of their weights.

All products are tiles of the tile engine. Its "queries" are units, its "samples" the rows of a
batch, or for gradients of weights the inputs of the layer:

    outputs = W inputs + bias               [units] x [rows],     along the inputs
    gradients of inputs = W' gradients      [inputs] x [rows],    along the units
    gradient of W = gradients inputs'       [units] x [inputs],   along the rows

Weights stay packed as queries, [panel of units][input][unit], all through training. A layer's
outputs, [unit][row] for a panel of rows, are the next layer's samples as they are.
"""

from cython cimport floating

from .._dispatch cimport FNN_MAX_TILE_COLS, FNN_MAX_TILE_ROWS, fnn_partial
from .._tuning cimport CHUNK_ROWS
from ._model cimport count_panels


cdef fnn_partial partial_of(const Tiles *t, Py_ssize_t n_rows) noexcept nogil:
    """Return what multiplies n_rows rows of a tile, or some more: those are not used."""
    return t.partial[2 if 3 * n_rows > 2 * t.rows else 1 if 3 * n_rows > t.rows else 0]


cdef void forward(const Layer *layer, const char *inputs, char *outputs) noexcept nogil:
    """Write W inputs + bias of a panel of rows."""
    cdef Py_ssize_t k
    for k in range(layer.out_panels):
        forward_strip(layer, k, 0, layer.n_in, inputs, outputs)


cdef void forward_strip(
    const Layer *layer, Py_ssize_t k, Py_ssize_t first, Py_ssize_t width, const char *inputs,
    char *outputs,
) noexcept nogil:
    """Add the part of some inputs to the outputs of the k-th panel of units."""
    cdef const Tiles *t = layer.tiles
    cdef char *tile = outputs + k * t.tile_bytes
    partial_of(t, layer.n_out - k * t.rows)(
        width, layer.weights.values + (k * layer.n_in + first) * t.rows * t.itemsize, inputs,
        tile if first > 0 else layer.start + k * t.tile_bytes, t.cols, tile,
    )


cdef void backward(const Layer *layer, const char *gradients, char *input_gradients) noexcept nogil:
    """Write W' gradients of a panel of rows."""
    cdef const Tiles *t = layer.tiles
    cdef Py_ssize_t k
    for k in range(layer.back_panels):
        partial_of(t, layer.n_in - k * t.rows)(
            layer.n_out, layer.transposed + k * layer.n_out * t.rows * t.itemsize, gradients,
            t.zeros, 0, input_gradients + k * t.tile_bytes,
        )


cdef void store_for_gradient(
    const Layer *layer, const char *inputs, const char *gradients, Py_ssize_t panel, Py_ssize_t n
) noexcept nogil:
    """Store what the gradient of W is computed from, of the n rows of a panel, along the rows."""
    cdef const Tiles *t = layer.tiles
    cdef double *sums = layer.gradient_sums + panel * layer.n_out
    pack_transposed(t, gradients, layer.n_out, n, t.rows, panel, layer.gradients_along_rows)
    if layer.inputs_along_rows != NULL:
        pack_transposed(t, inputs, layer.n_in, n, t.cols, panel, layer.inputs_along_rows)
    if t.itemsize == sizeof(double):
        sum_rows(<double *>gradients, n, layer.n_out, t.cols, sums)
    else:
        sum_rows(<float *>gradients, n, layer.n_out, t.cols, sums)


cdef void gradient_tile(
    const Layer *layer, Py_ssize_t k, Py_ssize_t n, const char *inputs, Py_ssize_t width,
    char *tile, char *gradient,
) noexcept nogil:
    """Write the gradient of the weights between a panel of inputs and the k-th panel of units.

    Summed over n rows, and in the order of the weights; `tile` is overwritten.
    """
    cdef const Tiles *t = layer.tiles
    cdef const void *units[FNN_MAX_TILE_ROWS]
    cdef Py_ssize_t r, n_units = min(t.rows, layer.n_out - k * t.rows)
    partial_of(t, n_units)(
        n, layer.gradients_along_rows + k * CHUNK_ROWS * t.rows * t.itemsize, inputs, t.zeros, 0,
        tile,
    )
    for r in range(n_units):
        units[r] = tile + r * t.cols * t.itemsize
    t.pack(units, 0, n_units, t.rows, width, t.zeros, 1.0, gradient)


cdef void bias_gradient(
    const Layer *layer, Py_ssize_t n_panels, double *gradient
) noexcept nogil:
    cdef Py_ssize_t j, k
    for k in range(layer.n_out):
        gradient[k] = 0.0
        for j in range(n_panels):
            gradient[k] += layer.gradient_sums[j * layer.n_out + k]


cdef void broadcast_bias(const Layer *layer) noexcept nogil:
    cdef const Tiles *t = layer.tiles
    cdef const double *bias = <const double *>layer.bias.values
    cdef Py_ssize_t k, r
    for k in range(layer.n_out):
        for r in range(t.cols):
            if t.itemsize == sizeof(double):
                (<double *>layer.start)[k * t.cols + r] = bias[k]
            else:
                (<float *>layer.start)[k * t.cols + r] = <float>bias[k]


cdef void transpose_panel(const Layer *layer, Py_ssize_t panel) noexcept nogil:
    """Pack the weights of a panel of inputs, as queries, for `backward`."""
    cdef const Tiles *t = layer.tiles
    cdef Py_ssize_t R = t.rows, k, r
    cdef Py_ssize_t n_inputs = min(R, layer.n_in - panel * R)
    cdef const void *rows[FNN_MAX_TILE_ROWS]
    for k in range(layer.out_panels):
        for r in range(n_inputs):
            rows[r] = layer.weights.values + (k * layer.n_in + panel * R + r) * R * t.itemsize
        t.pack(
            rows, 0, n_inputs, R, min(R, layer.n_out - k * R), t.zeros, 1.0,
            layer.transposed + (panel * layer.n_out + k * R) * R * t.itemsize,
        )


cdef void pack_transposed(
    const Tiles *t, const char *values, Py_ssize_t n_units, Py_ssize_t n_rows, Py_ssize_t width,
    Py_ssize_t panel, char *target,
) noexcept nogil:
    """Pack values of a panel of rows, [unit][row], as panels of `width` units along the rows."""
    cdef const void *units[FNN_MAX_TILE_COLS]
    cdef Py_ssize_t k, u, n
    for k in range(count_panels(n_units, width)):
        n = min(width, n_units - k * width)
        for u in range(n):
            units[u] = values + (k * width + u) * t.cols * t.itemsize
        t.pack(
            units, 0, n, width, n_rows, t.zeros, 1.0,
            target + (k * CHUNK_ROWS + panel * t.cols) * width * t.itemsize,
        )


cdef void sum_rows(
    const floating *gradients, Py_ssize_t n_rows, Py_ssize_t n_units, Py_ssize_t n_columns,
    double *sums,
) noexcept nogil:
    cdef Py_ssize_t r, k
    for k in range(n_units):
        sums[k] = 0.0
        for r in range(n_rows):
            sums[k] += gradients[k * n_columns + r]
