"""The tile engine: rows packed into panels, and the arithmetic that turns tiles into distances.

    rows of X --pack--> panels of queries --\
                                             tile kernel --> tile of sums t --> epilogue
    rows of Y --pack--> panels of samples --/

Every distance here is an *expansion* d = a(q) + a(s) - beta * t(q, s), where t is what the kernel
accumulates and a is a term of one row alone:

    family           t                   a(x)            beta    d
    L2, floats       sum q s             sum x^2         2       squared L2
    L1, floats       -sum max(q, s)      -sum x          2       L1
    L2, uint8        sum 2 q s           sum x^2         1       squared L2 (x - 128 is packed)
    in quads         sum q s             sum x^2         2       squared L2 (see Expansion)
    L1, uint8        -sum |q - s|        0               1       L1
    Chebyshev        -max |q - s|        0               1       Chebyshev

A plain product (scores, gradients) is the first family without its terms: pack both sides, call
the tile's product, and apply another epilogue to the tile.
"""

from libc.stdint cimport int64_t

cimport numpy as cnp

from ._dispatch cimport fnn_kernels, fnn_pack, fnn_panel_sums, fnn_row_distances, fnn_tile
from ._rows cimport Norm, Rows, ValueType


cdef struct Expansion:
    fnn_tile tile
    fnn_pack pack
    # Sums over a packed panel; NULL for uint8, whose terms are distances of the rows to a center,
    # and where there are no terms.
    fnn_panel_sums terms
    fnn_panel_sums magnitudes
    fnn_row_distances row_distances
    # Distances that are sums of bytes: of quads.
    fnn_row_distances row_sums
    double beta
    # What queries are multiplied by when they are packed.
    double query_factor
    Norm norm
    # L2, whose sums are squared distances.
    bint squared
    bint integer
    # What is taken from bytes when they are packed: 128; 64 where they have seven bits.
    int offset
    # Scans of uint8 under L2 take four features a step. Queries are packed less their own offset a,
    # 0 or c, samples less c: a tile is off by (c - a) sum (s - c), and half of the other tiles'.
    bint quads
    int query_offset
    Py_ssize_t value_bytes


# For floats the tiles may have either precision, whatever that of the values. Chebyshev distances
# of floats have float32 tiles alone, those of uint8 none.
cdef Expansion choose_expansion(
    const fnn_kernels *kernels, ValueType value_type, Norm norm, bint float32_tiles
) noexcept nogil


# The same for scans, whose sums are lanes: bytes may come in quads. Narrow ones are below 128.
cdef Expansion choose_scan(
    const fnn_kernels *kernels, ValueType value_type, Norm norm, bint narrow
) noexcept nogil


cdef class Panels:
    """Rows packed for one side of the tiles, with the sums that the expansion needs."""

    cdef Expansion expansion
    # Rows that there is room for are a multiple of the width.
    cdef readonly Py_ssize_t width, depth, panel_bytes, n_features, capacity, n_rows, n_panels
    cdef double scale
    cdef const double *center
    # A row of the center's values as bytes: what the uint8 terms are distances to; a row of zeros.
    cdef const void *center_row
    cdef const void *zero_row
    cdef object keep_alive
    cdef char *data
    # a(x) and |x| (L1: the sum of magnitudes; else the L2 norm; of quads the sum of bytes) of every
    # packed row.
    cdef double *terms
    cdef double *magnitudes

    cdef lay_out(
        self,
        Expansion expansion,
        bint queries,
        Py_ssize_t capacity,
        Py_ssize_t n_features,
        object center,
        double scale,
    )
    cdef int pack(self, Rows rows, Py_ssize_t first, Py_ssize_t n_rows, int n_threads) except -1
    cdef void hold(self, Py_ssize_t n_rows) noexcept nogil
    cdef void pack_held(self, Py_ssize_t panel, Rows rows, Py_ssize_t first) noexcept nogil
    cdef void clear_row(self, Py_ssize_t row) noexcept nogil
    cdef void pack_panel(
        self, Py_ssize_t panel, Rows rows, Py_ssize_t first, Py_ssize_t n_rows,
        const int64_t *index,
    ) noexcept nogil
    cdef void pack_transformed(
        self, Rows rows, Py_ssize_t first, Py_ssize_t n_rows, const int64_t *index, char *target
    ) noexcept nogil


cdef Panels new_panels(
    Expansion expansion,
    bint queries,
    Py_ssize_t capacity,
    Py_ssize_t n_features,
    object center,
    double scale,
)
