"""The C tables' declarations and the active one; other compiled modules cimport from here."""

from libc.stdint cimport int32_t, int64_t, uint32_t


cdef extern from "fnn_kernels.h" nogil:
    enum:
        FNN_MAX_TILE_ROWS
        FNN_MAX_TILE_COLS
        FNN_APPROX_QUERIES
        FNN_SUM_DEPTH
        FNN_SUMS_PER_TOTAL
        FNN_DOT_STRIP
        FNN_MAX_BLOCK_ROWS
        FNN_ADD
        FNN_SUBTRACT
        FNN_MULTIPLY
        FNN_DIVIDE
        FNN_MAX
        FNN_POWER
        FNN_CONSTANT_POWER
        FNN_SQUARE
        FNN_NEGATE
        FNN_EXP
        FNN_LOG
        FNN_TANH
        FNN_SIGMOID
        FNN_RELU
        FNN_N_GATES
        FNN_BLOCK_BOXES
        FNN_MAX_BLOCK_POINTS

    ctypedef union fnn_tile_lanes:
        float f32[1]
        int32_t i32[1]
        int64_t i64[1]

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
        const void *const *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, double,
        void *
    ) noexcept nogil
    ctypedef fnn_pack fnn_copy
    ctypedef void (*fnn_panel_sums)(const void *, Py_ssize_t, Py_ssize_t, double *) noexcept nogil
    ctypedef void (*fnn_row_distances)(
        const void *, const void *, Py_ssize_t, const int64_t *, Py_ssize_t, Py_ssize_t, double *
    ) noexcept nogil

    ctypedef struct fnn_row_family:
        fnn_row_distances f32
        fnn_row_distances f64
        fnn_row_distances u8

    ctypedef void (*fnn_approx_distances)(
        const void *, Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t, const int64_t *, Py_ssize_t,
        Py_ssize_t, double *
    ) noexcept nogil

    ctypedef struct fnn_approx_family:
        fnn_approx_distances f32
        fnn_approx_distances f64
        fnn_approx_distances u8

    ctypedef void (*fnn_move)(const void *, Py_ssize_t, double, double, double *) noexcept nogil

    ctypedef uint32_t (*fnn_block_points)(
        const double *, const double *, const double *, const void *, Py_ssize_t, Py_ssize_t,
        double, int, double *
    ) noexcept nogil
    ctypedef uint32_t (*fnn_block_boxes)(
        const double *, const double *, const double *, const void *, const void *, Py_ssize_t,
        double, double *
    ) noexcept nogil

    ctypedef uint32_t (*fnn_missing_points)(
        const double *, const int32_t *, Py_ssize_t, const double *, Py_ssize_t, double, double,
        double *
    ) noexcept nogil

    ctypedef struct fnn_block:
        fnn_block_points points
        fnn_block_boxes boxes

    ctypedef struct fnn_block_family:
        fnn_block f32
        fnn_block f64
        fnn_block u8

    ctypedef void (*fnn_center_panel)(
        void *, Py_ssize_t, Py_ssize_t, double *, double *, double *, double *, int *
    ) noexcept nogil

    ctypedef struct fnn_expansion:
        double term
        double size
        double short_size
        double center
        double shift
        double factor
        double beta
        double cancellation_threshold
        double smallest
        double largest
        int root
        int half

    ctypedef struct fnn_sides:
        const double *terms
        const double *sizes
        const double *short_sizes
        const double *centers
        const double *shifts
        const double *factors

    ctypedef uint32_t (*fnn_expand)(
        const fnn_expansion *, const double *, const fnn_sides *, Py_ssize_t, bint, void *
    ) noexcept nogil

    ctypedef void (*fnn_dot_rows)(
        const void *const *, Py_ssize_t, const void *, Py_ssize_t, Py_ssize_t, double *
    ) noexcept nogil
    ctypedef void (*fnn_add_outer)(
        const void *const *, const void *const *, Py_ssize_t, const void *, Py_ssize_t, Py_ssize_t,
        void *
    ) noexcept nogil
    ctypedef double (*fnn_row_losses)(
        const void *, const int64_t *, const double *, Py_ssize_t, Py_ssize_t, double, void *
    ) noexcept nogil

    ctypedef struct fnn_sgd:
        double factor
        double decay
        double rate
        double momentum
        int nesterov

    ctypedef double (*fnn_sgd_step)(
        const fnn_sgd *, const void *, Py_ssize_t, void *, void *
    ) noexcept nogil

    ctypedef struct fnn_adam:
        double factor
        double decay
        double rate
        double beta_1
        double beta_2
        double epsilon

    ctypedef double (*fnn_adam_step)(
        const fnn_adam *, const void *, Py_ssize_t, void *, void *, void *
    ) noexcept nogil
    ctypedef void (*fnn_add)(const void *, Py_ssize_t, void *) noexcept nogil

    ctypedef struct fnn_linear:
        fnn_dot_rows dot_rows
        fnn_add_outer add_outer
        fnn_row_losses svm_losses
        fnn_row_losses softmax_losses
        fnn_add add
        fnn_sgd_step sgd_step
        fnn_adam_step adam_step

    ctypedef void (*fnn_activation_forward)(Py_ssize_t, void *) noexcept nogil
    ctypedef void (*fnn_activation_backward)(const void *, Py_ssize_t, void *) noexcept nogil

    ctypedef struct fnn_activation:
        fnn_activation_forward forward
        fnn_activation_backward backward

    ctypedef struct fnn_activations:
        fnn_activation relu
        fnn_activation tanh
        fnn_activation logistic

    ctypedef void (*fnn_where_positive)(
        const void *, const void *, Py_ssize_t, void *
    ) noexcept nogil

    ctypedef void (*fnn_gate_forward)(
        const double *, const double *, Py_ssize_t, double *
    ) noexcept nogil
    ctypedef void (*fnn_gate_backward)(
        const double *, const double *, const double *, const double *, Py_ssize_t, double *,
        double *
    ) noexcept nogil
    ctypedef void (*fnn_gate_forward_run)(
        const int32_t *, const int32_t *, Py_ssize_t, Py_ssize_t, double *
    ) noexcept nogil
    ctypedef void (*fnn_gate_backward_run)(
        const int32_t *, const int32_t *, Py_ssize_t, Py_ssize_t, const double *, double *
    ) noexcept nogil

    ctypedef struct fnn_gate:
        fnn_gate_forward forward
        fnn_gate_backward backward
        fnn_gate_forward_run forward_run
        fnn_gate_backward_run backward_run
        bint takes_vectors

    ctypedef double (*fnn_sum)(const double *, Py_ssize_t) noexcept nogil

    ctypedef struct fnn_kernels:
        const char *name
        fnn_partial dot_thirds_f32[3]
        fnn_partial dot_thirds_f64[3]
        fnn_tile dot_f32
        fnn_tile chain_f32
        fnn_tile max_f32
        fnn_tile chebyshev_f32
        fnn_tile dot_f64
        fnn_tile max_f64
        fnn_tile dot_u8
        fnn_tile quad_u8
        int quads_are_signed
        fnn_tile narrow_u8
        fnn_tile sad_u8
        fnn_pack pack_f32_as_f32
        fnn_pack pack_f32_as_f64
        fnn_pack pack_f64_as_f32
        fnn_pack pack_f64_as_f64
        fnn_pack pack_u8_as_s16
        fnn_pack pack_u8_as_u8
        fnn_pack pack_u8_as_quads
        fnn_pack pack_u8_as_f32
        fnn_copy copy_f32
        fnn_copy copy_f64
        fnn_copy copy_u8_as_f32
        fnn_panel_sums squares_f32
        fnn_panel_sums values_f32
        fnn_panel_sums magnitudes_f32
        fnn_panel_sums squares_f64
        fnn_panel_sums values_f64
        fnn_panel_sums magnitudes_f64
        fnn_row_family square_differences
        fnn_row_distances chain_squares_f32
        fnn_row_family absolute_differences
        fnn_row_family largest_difference
        fnn_row_family negative_products
        fnn_approx_family approx_squares
        fnn_approx_family approx_absolutes
        fnn_move move_f32
        fnn_move move_f64
        fnn_move move_u8
        fnn_missing_points missing_squares
        fnn_block_family block_squares
        fnn_block_family block_absolutes
        fnn_block_family block_largest
        fnn_block block_periodic_squares
        fnn_block block_periodic_absolutes
        fnn_block block_periodic_largest
        fnn_center_panel center_panel_f32
        fnn_center_panel center_panel_f64
        fnn_expand expand
        fnn_linear linear_f32
        fnn_linear linear_u8
        fnn_linear linear_f64
        fnn_where_positive where_positive_f32
        fnn_where_positive where_positive_f64
        fnn_activations activations_f32
        fnn_activations activations_f64
        fnn_gate gates[FNN_N_GATES]
        fnn_sum sum_f64

    Py_ssize_t fnn_available(const fnn_kernels **tables, Py_ssize_t capacity)
    int fnn_lowest_bit(uint32_t bits)
    void fnn_prefetch(const void *address)
    void fnn_prefetch_l2(const void *address)


# The table in use. set_isa() may change it at any time: kernels whose shapes have to agree come
# from one table, read once, as those of an index and of what it packs; exact distances, which are
# the same on all, may come from any.
cdef const fnn_kernels *active_kernels() noexcept nogil
