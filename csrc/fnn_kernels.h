/* The table of micro-kernels: what the compiled modules see of csrc/.
 *
 * A "tile" kernel combines a panel of `rows` queries with a panel of `cols` samples. Panels are
 * packed depth-major: step k of a panel holds its `rows` (or `cols`) values side by side, so the
 * inner loop reads both with unit stride. A step is one *word* of the element type and covers
 * `step` consecutive features:
 *
 *     family    word     features/step   accumulates (keys: larger is nearer)     lanes
 *     dot_f32   float    1               + q * s                                  float
 *     chain_f32  float   1               + q * s, in short chains: the product alone
 *     max_f32   float    1               - max(q, s)                              float
 *     chebyshev_f32  float 1               min(., -|q - s|)                         float
 *     dot_f64   double   1               + q * s                                  double
 *     max_f64   double   1               - max(q, s)                              double
 *     dot_u8    2 int16  2               + q0 * s0 + q1 * s1                      int32
 *     quad_u8   4 bytes  4               + q0 * s0 + ... + q3 * s3 (s signed)     int32
 *     narrow_u8 4 bytes  4               the same, of bytes that have seven bits  int32
 *     sad_u8    8 uint8  8               - sum |q - s|                            int64
 *
 * Absolute differences come out of max: |q - s| = 2 max(q, s) - q - s. That is two instructions a
 * vector (max, and a subtraction that runs on the multiply pipes as an FMA) where the direct form
 * takes three; the sums of q and of s are added outside the loop, like the norms of a dot product.
 *
 * Shapes: every pointer to a panel is aligned to 64 bytes; rows beyond the data are packed as
 * zeros and are kept out by an initial value of -infinity (samples) or a threshold of +infinity
 * (queries). Depth may be any number from 1. Nothing here allocates, raises, or aliases its
 * inputs with its outputs.
 */
#ifndef FNN_KERNELS_H
#define FNN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* No ISA has larger tiles: the callers' buffers for one tile have this size. */
#define FNN_MAX_TILE_ROWS 12
#define FNN_MAX_TILE_COLS 32
typedef union {
    float f32[FNN_MAX_TILE_ROWS * FNN_MAX_TILE_COLS];
    int32_t i32[FNN_MAX_TILE_ROWS * FNN_MAX_TILE_COLS];
    int64_t i64[FNN_MAX_TILE_ROWS * FNN_MAX_TILE_COLS];
} fnn_tile_lanes;

/* Products are summed in three levels: FNN_SUM_DEPTH steps in registers (twice as many where lanes
 * have 32 bits), FNN_SUMS_PER_TOTAL of these sums in the lanes' own type, their totals in float64.
 * So rounding does not grow with the depth, at a few percent of the rate of one long sum. */
#define FNN_SUM_DEPTH 64
#define FNN_SUMS_PER_TOTAL 8

typedef struct {
    ptrdiff_t depth;                /* steps */
    ptrdiff_t first_panel;          /* where to start */
    ptrdiff_t n_panels;             /* where to stop */
    const void *queries;            /* [depth][rows] words */
    const void *samples;            /* [n_panels][depth][cols] words ... */
    ptrdiff_t sample_stride;        /* ... with so many words from panel to panel */
    const void *initial;            /* where the accumulators start: [n_panels][rows][cols] lanes */
    ptrdiff_t initial_panel_stride; /* lanes from panel to panel */
    ptrdiff_t initial_row_stride;   /* lanes from row to row; 0: one row serves them all */
    const void *thresholds;         /* [rows] lanes */
    void *tile;                     /* out: [rows][cols] lanes of the tile that was hit */
    uint32_t *hits;                 /* out: [rows] bit masks over the columns */
} fnn_scan_arguments;

/* Go through the sample panels; stop at the first tile in which a lane exceeds its row's
 * threshold, fill `tile` and `hits`, and return its number (n_panels when there is none). */
typedef ptrdiff_t (*fnn_scan)(const fnn_scan_arguments *arguments);

/* tile[rows][cols] = initial + the sum over the steps, in the lanes' own type: a part of the depth,
 * for the next part or a scan to start from. `tile` and `initial` may be the same array. */
typedef void (*fnn_partial)(ptrdiff_t depth, const void *queries, const void *samples,
                            const void *initial, ptrdiff_t initial_row_stride, void *tile);

/* tile[rows][cols] = the sum over all steps, in float64 whatever the lanes' type. */
typedef void (*fnn_product)(ptrdiff_t depth, const void *queries, const void *samples,
                            double *tile);

typedef struct {
    ptrdiff_t rows, cols; /* queries and samples of one tile */
    ptrdiff_t step;       /* features covered by a word */
    ptrdiff_t word_bytes;
    fnn_scan scan; /* scan and partial, or product, are NULL where no caller needs them */
    fnn_partial partial;
    fnn_product product;
} fnn_tile;

/* Pack `n_features` values, from `first` on, of `n_rows` <= `width` rows into one panel of `width`;
 * (value - center[feature]) * scale is what is stored, where a center applies. */
typedef void (*fnn_pack)(const void *const *rows, ptrdiff_t first, ptrdiff_t n_rows,
                         ptrdiff_t width, ptrdiff_t n_features, const double *center, double scale,
                         void *panel);

/* The same values as they lie: panel[r][k] for features k < `n_features` <= `width`, zeros beyond.
 * It is the panel for products along the rows. */
typedef void (*fnn_copy)(const void *const *rows, ptrdiff_t first, ptrdiff_t n_rows,
                         ptrdiff_t width, ptrdiff_t n_features, const double *center, double scale,
                         void *panel);

/* sums[r] = sum over the depth of a packed panel's column r: of squares, values or magnitudes. */
typedef void (*fnn_panel_sums)(const void *panel, ptrdiff_t width, ptrdiff_t depth, double *sums);

/* distances[i] = exact distance (L1, squared L2 or Chebyshev) from `query` to row index[i] of
 * `rows` (to row i where index is NULL), in difference form with float64 sums in one fixed order
 * (that of NumPy's sum, no FMA): bit-identical on every ISA. */
typedef void (*fnn_row_distances)(const void *query, const void *rows, ptrdiff_t stride,
                                  const int64_t *index, ptrdiff_t n, ptrdiff_t n_features,
                                  double *distances);

typedef struct {
    fnn_row_distances f32, f64, u8;
} fnn_row_family;

/* distances[q][i], of [n_queries][n]: about the L1 or squared L2 distance from query q to row
 * index[i] (to row i where index is NULL), for up to FNN_APPROX_QUERIES queries. Terms and sums are
 * of the values' type: all are nonnegative, so that the error is relative; of bytes there is none.
 */
#define FNN_APPROX_QUERIES 4
typedef void (*fnn_approx_distances)(const void *queries, ptrdiff_t query_stride,
                                     ptrdiff_t n_queries, const void *rows, ptrdiff_t stride,
                                     const int64_t *index, ptrdiff_t n, ptrdiff_t n_features,
                                     double *distances);

typedef struct {
    fnn_approx_distances f32, f64, u8;
} fnn_approx_family;

/* moved[k] = values[k] * scale / norm, in float64. */
typedef void (*fnn_move)(const void *values, ptrdiff_t n, double scale, double norm, double *moved);

/* What a block holds: so many boxes, or points in a multiple of these. */
#define FNN_BLOCK_BOXES 8
#define FNN_MAX_BLOCK_POINTS 32

/* distances[i] = exact distance (L1, squared L2 or Chebyshev) from `query` to point i of a block,
 * the very number that the row distances give, with terms times `weights` unless those are NULL
 * (Chebyshev distances have none), and in periodic blocks with differences around circles of
 * `periods`, which others do not look at; returns the bits of those that are at most `limit`.
 * A block holds `width` points, feature by feature:
 * points[n_features][width]. With `root` the distances' roots are stored, if any is within the
 * limit. */
typedef uint32_t (*fnn_block_points)(const double *query, const double *weights,
                                     const double *periods, const void *points, ptrdiff_t width,
                                     ptrdiff_t n_features, double limit, int root,
                                     double *distances);

/* The same for boxes low <= x <= high, [n_features][FNN_BLOCK_BOXES] each. Terms are rounded and
 * added as those of points are, and rounding is monotone: the result is at most what any point in
 * the box gets. */
typedef uint32_t (*fnn_block_boxes)(const double *query, const double *weights,
                                    const double *periods, const void *low, const void *high,
                                    ptrdiff_t n_features, double limit, double *distances);

typedef struct {
    fnn_block_points points;
    fnn_block_boxes boxes;
} fnn_block;

typedef struct {
    fnn_block f32, f64, u8;
} fnn_block_family;

/* distances[i] = factor / m * the sum of squares of differences over the m features that both the
 * query and point i of a block have, NaN if there are none; returns the bits of those that are at
 * most `limit`. query[n] holds what the query has of the `features`; points[feature][width], NaN
 * where a value is missing, width FNN_MAX_BLOCK_POINTS. */
typedef uint32_t (*fnn_missing_points)(const double *query, const int32_t *features, ptrdiff_t n,
                                       const double *points, ptrdiff_t width, double factor,
                                       double limit, double *distances);

/* Take each row of a packed panel around a center of its own, about its mean (see short_center),
 * and give the sums of squares, of squares times how often a tile's product rounds the feature's,
 * and of values, and whether the row is short: products with other short rows, and their sums in
 * chains, are exact. Each has room for FNN_MAX_TILE_COLS; behind the panel is a vector of padding.
 */
typedef void (*fnn_center_panel)(void *panel, ptrdiff_t width, ptrdiff_t depth, double *centers,
                                 double *squares, double *rounded, double *values, int *is_short);

/* What turns one row of a tile of sums into distances: see fastnn/_core/search/_pairwise.pyx. Of
 * the query: */
typedef struct {
    double term, size, short_size, center, shift, factor;
    double beta;
    /* Distances up to so many times both sizes are spoiled; negative: none is. */
    double cancellation_threshold;
    double smallest, largest; /* so are those of sizes outside this range */
    int root;                 /* of the distance */
    int half;                 /* of it, and at most 2 */
} fnn_expansion;

/* The same of the samples; centers, shifts and short sizes are NULL where rows were packed around
 * no centers of their own, factors where products count as they are. */
typedef struct {
    const double *terms, *sizes, *short_sizes, *centers, *shifts, *factors;
} fnn_sides;

/* distances[i] = term + y.terms[i] - beta * factor * y.factors[i] * sums[i] + (center -
 * y.centers[i]) * (shift - y.shifts[i]) for a tile's columns, as floats where `narrow`; returns a
 * bit for each that is spoiled by cancellation or range. */
typedef uint32_t (*fnn_expand)(const fnn_expansion *expansion, const double *sums,
                               const fnn_sides *y, ptrdiff_t n, int narrow, void *distances);

/* Linear scores and their gradients. A few weight vectors (the classes) meet many rows, which are
 * used where they lie: packing them for tiles would cost as much as the arithmetic, and ten classes
 * would leave a third of a tile's columns idle. Weights and gradients are packed strip by strip:
 * FNN_DOT_STRIP features of the first weight vector, the same of the second, and so on; the last
 * strip is as narrow as what is left. */
#define FNN_DOT_STRIP 512
/* Rows of one call, at most. */
#define FNN_MAX_BLOCK_ROWS 128

/* scores[r][w] = the sum over k of rows[r][k] * weights[w][k]: in the weights' type within a strip,
 * in float64 from strip to strip. */
typedef void (*fnn_dot_rows)(const void *const *rows, ptrdiff_t n_rows, const void *weights,
                             ptrdiff_t n_weights, ptrdiff_t n_features, double *scores);

/* gradient[w][k] += the sum over r of factors[r][w] * rows[r][k]. `ahead` are as many rows that
 * come next, and on their way to the second-level cache meanwhile; NULL: none. */
typedef void (*fnn_add_outer)(const void *const *rows, const void *const *ahead, ptrdiff_t n_rows,
                              const void *factors, ptrdiff_t n_weights, ptrdiff_t n_features,
                              void *gradient);

/* The sum of the rows' losses, each times its weight; NaN where a score
 * is not finite. `gradient`, [n_rows][n_classes], receives the weighted losses' derivatives; it
 * may be the scores themselves. `margin` counts for the SVM alone. */
typedef double (*fnn_row_losses)(const void *scores, const int64_t *labels, const double *weights,
                                 ptrdiff_t n_rows, ptrdiff_t n_classes, double margin,
                                 void *gradient);

/* One step of gradient descent with momentum. */
typedef struct {
    double factor, decay; /* the gradient is factor * gradient + decay * weights */
    double rate, momentum;
    int nesterov;
} fnn_sgd;

/* velocity = momentum * velocity - rate * gradient; weights += velocity, or with nesterov
 * momentum * velocity - rate * gradient. Returns the sum of the new weights' squares. */
typedef double (*fnn_sgd_step)(const fnn_sgd *step, const void *gradient, ptrdiff_t n,
                               void *velocity, void *weights);

/* One step of Adam (Kingma and Ba, 2014). `rate` holds the corrections of the moments' bias. */
typedef struct {
    double factor, decay; /* the gradient is factor * gradient + decay * weights */
    double rate, beta_1, beta_2, epsilon;
} fnn_adam;

/* means and squares decay towards the gradient and its square; weights -= rate * means /
 * (root of squares + epsilon). Returns the sum of the new weights' squares. */
typedef double (*fnn_adam_step)(const fnn_adam *step, const void *gradient, ptrdiff_t n,
                                void *means, void *squares, void *weights);

/* sum[i] += addend[i] */
typedef void (*fnn_add)(const void *addend, ptrdiff_t n, void *sum);

typedef struct {
    fnn_dot_rows dot_rows;
    fnn_add_outer add_outer;
    fnn_row_losses svm_losses, softmax_losses;
    fnn_add add;
    fnn_sgd_step sgd_step;
    fnn_adam_step adam_step;
} fnn_linear;

/* Of a network's layer: values[i] = f(values[i]), and gradients[i] *= f'(x) where
 * outputs[i] = f(x). */
typedef void (*fnn_activation_forward)(ptrdiff_t n, void *values);
typedef void (*fnn_activation_backward)(const void *outputs, ptrdiff_t n, void *gradients);

typedef struct {
    fnn_activation_forward forward;
    fnn_activation_backward backward;
} fnn_activation;

typedef struct {
    fnn_activation relu, tanh, logistic;
} fnn_activations;

/* out[i] = x[i] <= 0 ? 0 : values[i], so that NaN is not lost. `out` may be `values` or `x`. */
typedef void (*fnn_where_positive)(const void *x, const void *values, ptrdiff_t n, void *out);

/* The gates of circuits: see fnn_gates.inc.h. Of gates with one input, `right` is not read,
 * but may be read.
 *
 * forward: outputs[i] = value of (left[i], right[i]). backward: sums += upstream[i] times the local
 * derivative, for each input whose sums are given (NULL: not wanted); both sums may be one array.
 * The runs do the same for gates that stand in slots first, first + 1, ... of one array of values;
 * left[k] and right[k] are the slots of inputs. Gates of a run may depend on earlier ones of it,
 * but not where takes_vectors is set. */
typedef void (*fnn_gate_forward)(const double *left, const double *right, ptrdiff_t n,
                                 double *outputs);
typedef void (*fnn_gate_backward)(const double *left, const double *right, const double *outputs,
                                  const double *upstream, ptrdiff_t n, double *left_sums,
                                  double *right_sums);
typedef void (*fnn_gate_forward_run)(const int32_t *left, const int32_t *right, ptrdiff_t first,
                                     ptrdiff_t n, double *values);
typedef void (*fnn_gate_backward_run)(const int32_t *left, const int32_t *right, ptrdiff_t first,
                                      ptrdiff_t n, const double *values, double *sums);

typedef struct {
    fnn_gate_forward forward;
    fnn_gate_backward backward;
    fnn_gate_forward_run forward_run;
    fnn_gate_backward_run backward_run;
    int takes_vectors;
} fnn_gate;

enum {
    FNN_ADD,
    FNN_SUBTRACT,
    FNN_MULTIPLY,
    FNN_DIVIDE,
    FNN_MAX,
    FNN_POWER,
    FNN_CONSTANT_POWER, /* no derivative for the exponent */
    FNN_SQUARE,         /* from here on with one input */
    FNN_NEGATE,
    FNN_EXP,
    FNN_LOG,
    FNN_TANH,
    FNN_SIGMOID,
    FNN_RELU,
    FNN_N_GATES
};

typedef double (*fnn_sum)(const double *values, ptrdiff_t n);

typedef struct {
    const char *name;
    fnn_tile dot_f32, chain_f32, max_f32, chebyshev_f32, dot_f64, max_f64, dot_u8, sad_u8;
    /* On CPUs that have it; else its rows are 0. */
    fnn_tile quad_u8;
    int quads_are_signed; /* those of the queries, too */
    /* The same for bytes of seven bits; baseline: rows are 0, too. */
    fnn_tile narrow_u8;
    /* dot's partial for a third, two thirds and all of the rows of a tile. */
    fnn_partial dot_thirds_f32[3], dot_thirds_f64[3];
    fnn_pack pack_f32_as_f32, pack_f32_as_f64, pack_f64_as_f32, pack_f64_as_f64;
    fnn_pack pack_u8_as_s16, pack_u8_as_u8, pack_u8_as_quads, pack_u8_as_f32;
    fnn_copy copy_f32, copy_f64, copy_u8_as_f32;
    fnn_panel_sums squares_f32, values_f32, magnitudes_f32;
    fnn_panel_sums squares_f64, values_f64, magnitudes_f64;
    fnn_row_family square_differences, absolute_differences, largest_difference;
    /* Sums of -x y, so that the largest inner product comes first; none of bytes. */
    fnn_row_family negative_products;
    fnn_row_distances chain_squares_f32;
    fnn_approx_family approx_squares, approx_absolutes;
    fnn_move move_f32, move_f64, move_u8;
    fnn_block_family block_squares, block_absolutes, block_largest;
    fnn_block block_periodic_squares, block_periodic_absolutes, block_periodic_largest;
    fnn_missing_points missing_squares;
    fnn_center_panel center_panel_f32, center_panel_f64;
    fnn_expand expand;
    fnn_linear linear_f32, linear_u8, linear_f64; /* named for the rows; bytes meet floats */
    fnn_where_positive where_positive_f32, where_positive_f64;
    fnn_activations activations_f32, activations_f64;
    fnn_gate gates[FNN_N_GATES];
    fnn_sum sum_f64;
} fnn_kernels;

/* All tables that this build holds and this CPU can run, best first; returns how many. */
ptrdiff_t fnn_available(const fnn_kernels **tables, ptrdiff_t capacity);

/* Ask for a cache line that is needed soon. */
static inline void fnn_prefetch(const void *address) {
#if defined(__GNUC__)
    __builtin_prefetch(address);
#else
    (void)address;
#endif
}

/* The same for the second-level cache. */
static inline void fnn_prefetch_l2(const void *address) {
#if defined(__GNUC__)
    __builtin_prefetch(address, 0, 2);
#else
    (void)address;
#endif
}

/* The position of the lowest set bit; bits != 0. */
static inline int fnn_lowest_bit(uint32_t bits) {
#if defined(__GNUC__)
    return __builtin_ctz(bits);
#else
    int position = 0;
    while (!(bits & 1u)) {
        bits >>= 1;
        ++position;
    }
    return position;
#endif
}

#endif
