/* Every micro-kernel, written once. An isa_*.c file names its instruction set and its tile
 * geometry, includes this file, and thereby defines the table FNN_TABLE.
 *
 * Geometry: a tile is FNN_ROWS queries by two vectors of samples, so that rows * 2 accumulators,
 * two vectors of samples and one of a query fill the registers (16 on AVX2: 12 + 2 + 1 + one
 * temporary). The max family needs one more register for its constant: FNN_MAX_ROWS.
 */
#include "fnn_kernels.h"
#include "fnn_simd.h"

#include <math.h>

_Static_assert(FNN_ROWS <= FNN_MAX_TILE_ROWS && FNN_MAX_ROWS <= FNN_MAX_TILE_ROWS,
               "callers' buffers hold fewer queries than a tile");
_Static_assert(2 * sizeof(f32v) <= FNN_MAX_TILE_COLS * sizeof(float),
               "callers' buffers hold fewer samples than a tile");

#include "fnn_tiles.inc.h"
#include "fnn_packing.inc.h"
#include "fnn_row_distances.inc.h"
#include "fnn_approx_distances.inc.h"
#include "fnn_blocks.inc.h"
#include "fnn_missing.inc.h"
#include "fnn_expansion.inc.h"
#include "fnn_linear.inc.h"
#include "fnn_losses.inc.h"
#include "fnn_optimizers.inc.h"
#include "fnn_gates.inc.h"
#include "fnn_activations.inc.h"

#define FNN_COLS(vector, lane) (2 * FNN_LANES(vector, lane))
const fnn_kernels FNN_TABLE = {
    .name = FNN_NAME,
    .dot_f32 = {FNN_ROWS, FNN_COLS(f32v, float), 1, 4, dot_f32_scan, dot_f32_partial,
                dot_f32_product},
    .max_f32 = {FNN_MAX_ROWS, FNN_COLS(f32v, float), 1, 4, max_f32_scan, max_f32_partial, NULL},
    .chebyshev_f32 = {FNN_MAX_ROWS, FNN_COLS(f32v, float), 1, 4, chebyshev_f32_scan,
                      chebyshev_f32_partial, NULL},
    .chain_f32 = {FNN_CHAIN_ROWS, FNN_COLS(f32v, float), 1, 4, NULL, NULL, chain_product},
    .dot_f64 = {FNN_ROWS, FNN_COLS(f64v, double), 1, 8, NULL, dot_f64_partial, dot_f64_product},
    .max_f64 = {FNN_MAX_ROWS, FNN_COLS(f64v, double), 1, 8, NULL, NULL, max_f64_product},
    .dot_u8 = {FNN_ROWS, FNN_COLS(i32v, int32_t), 2, 4, dot_u8_scan, dot_u8_partial,
               dot_u8_product},
    .sad_u8 = {FNN_ROWS, FNN_COLS(i64v, int64_t), 8, 8, sad_u8_scan, sad_u8_partial,
               sad_u8_product},
#if defined(FNN_NARROW_ROWS)
    .narrow_u8 = {FNN_NARROW_ROWS, FNN_COLS(i32v, int32_t), 4, 4, narrow_u8_scan, narrow_u8_partial,
                  NULL},
#endif
    .dot_thirds_f32 = {third_dot_f32_partial, thirds_dot_f32_partial, dot_f32_partial},
    .dot_thirds_f64 = {third_dot_f64_partial, thirds_dot_f64_partial, dot_f64_partial},
    .pack_f32_as_f32 = pack_f32_as_f32,
    .pack_f32_as_f64 = pack_f32_as_f64,
    .pack_f64_as_f32 = pack_f64_as_f32,
    .pack_f64_as_f64 = pack_f64_as_f64,
    .pack_u8_as_s16 = pack_u8_as_s16,
    .pack_u8_as_u8 = pack_u8_as_u8,
    .pack_u8_as_quads = pack_u8_as_quads,
    .pack_u8_as_f32 = pack_u8_as_f32,
    .copy_f32 = copy_f32,
    .copy_f64 = copy_f64,
    .copy_u8_as_f32 = copy_u8_as_f32,
    .squares_f32 = squares_f32,
    .values_f32 = values_f32,
    .magnitudes_f32 = magnitudes_f32,
    .squares_f64 = squares_f64,
    .values_f64 = values_f64,
    .magnitudes_f64 = magnitudes_f64,
    .approx_squares = {approx_squares_f32, approx_squares_f64, approx_squares_u8},
    .approx_absolutes = {approx_absolutes_f32, approx_absolutes_f64, approx_absolutes_u8},
    .move_f32 = move_f32,
    .move_f64 = move_f64,
    .move_u8 = move_u8,
    .chain_squares_f32 = chain_squares_f32,
    .square_differences = {square_differences_f32, square_differences_f64, square_differences_u8},
    .absolute_differences = {absolute_differences_f32, absolute_differences_f64,
                             absolute_differences_u8},
    .largest_difference = {largest_difference_f32, largest_difference_f64, NULL},
    .negative_products = {negative_products_f32, negative_products_f64, NULL},
    .missing_squares = missing_squares,
    .block_squares = {{block_squares_f32_points, block_squares_f32_boxes},
                      {block_squares_f64_points, block_squares_f64_boxes},
                      {block_squares_u8_points, block_squares_u8_boxes}},
    .block_absolutes = {{block_absolutes_f32_points, block_absolutes_f32_boxes},
                        {block_absolutes_f64_points, block_absolutes_f64_boxes},
                        {block_absolutes_u8_points, block_absolutes_u8_boxes}},
    .block_largest = {{block_largest_f32_points, block_largest_f32_boxes},
                      {block_largest_f64_points, block_largest_f64_boxes},
                      {block_largest_u8_points, block_largest_u8_boxes}},
    .block_periodic_squares = {block_periodic_squares_points, block_periodic_squares_boxes},
    .block_periodic_absolutes = {block_periodic_absolutes_points, block_periodic_absolutes_boxes},
    .block_periodic_largest = {block_periodic_largest_points, block_periodic_largest_boxes},
    .center_panel_f32 = center_panel_f32,
    .center_panel_f64 = center_panel_f64,
    .expand = expand,
    .linear_f32 = {dot_rows_f32, add_outer_f32, svm_losses_f32, softmax_losses_f32, add_f32,
                   sgd_step_f32, adam_step_f32},
    .linear_u8 = {dot_rows_u8, add_outer_u8, svm_losses_f32, softmax_losses_f32, add_f32,
                  sgd_step_f32, adam_step_f32},
    .linear_f64 = {dot_rows_f64, add_outer_f64, svm_losses_f64, softmax_losses_f64, add_f64,
                   sgd_step_f64, adam_step_f64},
    .where_positive_f32 = where_positive_f32,
    .where_positive_f64 = where_positive_f64,
    .activations_f32 = FNN_ACTIVATIONS(f32),
    .activations_f64 = FNN_ACTIVATIONS(f64),
    .gates = FNN_GATES,
    .sum_f64 = sum_f64,
};
