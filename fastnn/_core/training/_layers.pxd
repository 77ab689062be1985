"""Dense layers: see _layers.pyx."""

from .._dispatch cimport fnn_activation, fnn_pack, fnn_partial
from ._model cimport Parameters


cdef struct Tiles:
    # The tile engine for one type of weights: products of a third, two thirds and all of the rows
    # of a tile, ...
    const fnn_partial *partial
    fnn_pack pack
    Py_ssize_t rows
    Py_ssize_t cols
    Py_ssize_t itemsize
    Py_ssize_t tile_bytes
    # Zeros, for what starts from nothing.
    const double *zeros
    # NULL: the identity.
    const fnn_activation *activation


cdef struct Layer:
    const Tiles *tiles
    Py_ssize_t n_in
    Py_ssize_t n_out
    # Panels of units as queries, of inputs as queries in backward, of inputs as samples.
    Py_ssize_t out_panels
    Py_ssize_t back_panels
    Py_ssize_t in_panels
    # [out_panels][n_in][rows of a tile], and [units]
    Parameters *weights
    Parameters *bias
    # [units][columns of a tile]: the bias, for tiles to start from.
    char *start
    # [back_panels][n_out][rows of a tile]; NULL in the first layer.
    char *transposed
    # Panels along the rows of a round, of gradients of the outputs and of inputs (NULL in the first
    # layer).
    char *gradients_along_rows
    char *inputs_along_rows
    # [panels of rows][n_out]: sums of the outputs' gradients.
    double *gradient_sums
    # Of a panel of rows, in a thread's scratch, in bytes.
    Py_ssize_t panel_bytes
    Py_ssize_t outputs_at
    Py_ssize_t gradients_at


cdef void forward(const Layer *layer, const char *inputs, char *outputs) noexcept nogil
cdef void forward_strip(
    const Layer *layer, Py_ssize_t k, Py_ssize_t first, Py_ssize_t width, const char *inputs,
    char *outputs,
) noexcept nogil
cdef void backward(const Layer *layer, const char *gradients, char *input_gradients) noexcept nogil
cdef void store_for_gradient(
    const Layer *layer, const char *inputs, const char *gradients, Py_ssize_t panel, Py_ssize_t n
) noexcept nogil
cdef void gradient_tile(
    const Layer *layer, Py_ssize_t k, Py_ssize_t n, const char *inputs, Py_ssize_t width,
    char *tile, char *gradient,
) noexcept nogil
cdef void bias_gradient(
    const Layer *layer, Py_ssize_t n_panels, double *gradient
) noexcept nogil
cdef void broadcast_bias(const Layer *layer) noexcept nogil
cdef void transpose_panel(const Layer *layer, Py_ssize_t panel) noexcept nogil
