"""The C tables' declarations and the active one; other compiled modules cimport from here."""

from libc.stdint cimport int64_t, uint32_t


cdef extern from "fnn_kernels.h" nogil:
    enum:
        FNN_MAX_TILE_ROWS
        FNN_MAX_TILE_COLS
        FNN_SUM_DEPTH
        FNN_SUMS_PER_TOTAL

    ctypedef struct fnn_scan_arguments:
        Py_ssize_t depth
        Py_ssize_t first_panel
        Py_ssize_t n_panels
        const void *queries
        const void *samples
        Py_ssize_t sample_stride
        const void *initial
        Py_ssize_t initial_panel_stride
        Py_ssize_t initial_row_stride
        const void *thresholds
        void *tile
        uint32_t *hits

    ctypedef Py_ssize_t (*fnn_scan)(const fnn_scan_arguments *) noexcept nogil
    ctypedef void (*fnn_partial)(
        Py_ssize_t, const void *, const void *, const void *, Py_ssize_t, void *
    ) noexcept nogil
    ctypedef void (*fnn_product)(Py_ssize_t, const void *, const void *, double *) noexcept nogil

    ctypedef struct fnn_tile:
        Py_ssize_t rows
        Py_ssize_t cols
        Py_ssize_t step
        Py_ssize_t word_bytes
        fnn_scan scan
        fnn_partial partial
        fnn_product product

    ctypedef void (*fnn_pack)(
        const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, double, void *
    ) noexcept nogil
    ctypedef void (*fnn_panel_sums)(const void *, Py_ssize_t, Py_ssize_t, double *) noexcept nogil
    ctypedef void (*fnn_row_distances)(
        const void *, const void *, Py_ssize_t, const int64_t *, Py_ssize_t, Py_ssize_t, double *
    ) noexcept nogil

    ctypedef struct fnn_row_family:
        fnn_row_distances f32
        fnn_row_distances f64
        fnn_row_distances u8

    ctypedef struct fnn_expansion:
        double term
        double size
        double beta
        double again
        double smallest
        double largest
        double unscale
        int root

    ctypedef int (*fnn_expand)(
        const fnn_expansion *, const double *, const double *, const double *, Py_ssize_t, double *
    ) noexcept nogil

    ctypedef struct fnn_kernels:
        const char *name
        fnn_tile dot_f32
        fnn_tile max_f32
        fnn_tile largest_f32
        fnn_tile dot_f64
        fnn_tile max_f64
        fnn_tile dot_u8
        fnn_tile sad_u8
        fnn_pack pack_f32_as_f32
        fnn_pack pack_f32_as_f64
        fnn_pack pack_f64_as_f32
        fnn_pack pack_f64_as_f64
        fnn_pack pack_u8_as_s16
        fnn_pack pack_u8_as_u8
        fnn_panel_sums squares_f32
        fnn_panel_sums values_f32
        fnn_panel_sums magnitudes_f32
        fnn_panel_sums squares_f64
        fnn_panel_sums values_f64
        fnn_panel_sums magnitudes_f64
        fnn_row_family square_differences
        fnn_row_family absolute_differences
        fnn_row_family largest_difference
        fnn_expand expand

    Py_ssize_t fnn_available(const fnn_kernels **tables, Py_ssize_t capacity)
    int fnn_lowest_bit(uint32_t bits)


# The table in use. Read it once per call: set_isa() may change it at any time.
cdef const fnn_kernels *active_kernels() noexcept nogil
