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

/* ---- tiles ------------------------------------------------------------------------------ */

/* One family: how a step changes an accumulator, for a query word already broadcast. */
#define FNN_STEP_DOT_F32(sum, q, s) f32_multiply_add(q, s, sum)
#define FNN_STEP_MAX_F32(sum, q, s) f32_minus(sum, f32_max(q, s))
#define FNN_STEP_LARGEST_F32(sum, q, s) f32_min(sum, f32_min(q - s, s - q))
#define FNN_STEP_DOT_F64(sum, q, s) f64_multiply_add(q, s, sum)
#define FNN_STEP_MAX_F64(sum, q, s) f64_minus(sum, f64_max(q, s))
#define FNN_STEP_DOT_U8(sum, q, s) ((sum) + i32_pair_dot(q, s))
#define FNN_STEP_SAD_U8(sum, q, s) ((sum) - i64_byte_sad(q, s))

/* prefix: the vector operations; lane: the C type of a lane and of a packed word. */
#define FNN_DEFINE_ACCUMULATE(name, prefix, vector, lane, ROWS, STEP)                            \
    FNN_INLINE void name##_accumulate(vector sums[ROWS][2], ptrdiff_t depth, const lane *q,      \
                                      const lane *s) {                                           \
        FNN_UNROLL_STEPS for (ptrdiff_t k = 0; k < depth; ++k) {                                 \
            const vector s0 = prefix##_load(s), s1 = prefix##_load(s + FNN_LANES(vector, lane)); \
            FNN_UNROLL                                                                           \
            for (int r = 0; r < (ROWS); ++r) {                                                   \
                const vector word = prefix##_splat(q[r]);                                        \
                sums[r][0] = STEP(sums[r][0], word, s0);                                         \
                sums[r][1] = STEP(sums[r][1], word, s1);                                         \
            }                                                                                    \
            q += (ROWS);                                                                         \
            s += 2 * FNN_LANES(vector, lane);                                                    \
        }                                                                                        \
    }

/* Panels of queries stream by, which no processor notices by itself: they are asked for so far
 * ahead, a few steps at a time. */
#define FNN_QUERY_BYTES_AHEAD 4096
#define FNN_STEPS_ASKED_FOR 8
FNN_INLINE void ask_for_queries(const void *queries, const ptrdiff_t n_bytes) {
    const char *ahead = (const char *)queries + FNN_QUERY_BYTES_AHEAD;
    for (ptrdiff_t i = 0; i < n_bytes; i += 64) FNN_PREFETCH(ahead + i);
    (void)ahead;
}

#define FNN_DEFINE_PRODUCT(name, prefix, vector, lane, ROWS)                                     \
    static void name##_product(ptrdiff_t depth, const void *queries, const void *samples,        \
                               double *tile) {                                                   \
        const ptrdiff_t lanes = FNN_LANES(vector, lane);                                         \
        const ptrdiff_t sum_depth = FNN_SUM_DEPTH * 8 / (ptrdiff_t)sizeof(lane);                 \
        const lane *q = queries, *s = samples;                                                   \
        lane totals[(ROWS) * 2 * FNN_LANES(vector, lane)];                                       \
        for (int part = 0; depth > 0; ++part) {                                                  \
            const ptrdiff_t n = depth < sum_depth ? depth : sum_depth;                           \
            const int first = part % FNN_SUMS_PER_TOTAL == 0;                                    \
            vector sums[ROWS][2];                                                                \
            FNN_UNROLL                                                                           \
            for (int r = 0; r < (ROWS); ++r) sums[r][0] = sums[r][1] = prefix##_splat(0);        \
            ptrdiff_t k = 0;                                                                     \
            for (; k + FNN_STEPS_ASKED_FOR <= n; k += FNN_STEPS_ASKED_FOR) {                     \
                ask_for_queries(q + k * (ROWS),                                                  \
                                FNN_STEPS_ASKED_FOR * (ROWS) * (ptrdiff_t)sizeof(lane));         \
                name##_accumulate(sums, FNN_STEPS_ASKED_FOR, q + k * (ROWS), s + k * 2 * lanes); \
            }                                                                                    \
            name##_accumulate(sums, n - k, q + k * (ROWS), s + k * 2 * lanes);                   \
            if (!first) {                                                                        \
                FNN_UNROLL                                                                       \
                for (int r = 0; r < (ROWS); ++r) {                                               \
                    sums[r][0] += prefix##_load(totals + 2 * lanes * r);                         \
                    sums[r][1] += prefix##_load(totals + 2 * lanes * r + lanes);                 \
                }                                                                                \
            }                                                                                    \
            FNN_UNROLL                                                                           \
            for (int r = 0; r < (ROWS); ++r) {                                                   \
                prefix##_store(totals + 2 * lanes * r, sums[r][0]);                              \
                prefix##_store(totals + 2 * lanes * r + lanes, sums[r][1]);                      \
            }                                                                                    \
            q += n * (ROWS);                                                                     \
            s += n * 2 * lanes;                                                                  \
            depth -= n;                                                                          \
            if (depth > 0 && part % FNN_SUMS_PER_TOTAL < FNN_SUMS_PER_TOTAL - 1) continue;       \
            if (part < FNN_SUMS_PER_TOTAL)                                                       \
                for (ptrdiff_t i = 0; i < 2 * lanes * (ROWS); ++i) tile[i] = (double)totals[i];  \
            else                                                                                 \
                for (ptrdiff_t i = 0; i < 2 * lanes * (ROWS); ++i) tile[i] += (double)totals[i]; \
        }                                                                                        \
    }

/* The same in short chains of float32 sums: each term is rounded few times, which FNN_ROUNDINGS
 * bounds for feature k, and totals are float64. Where registers are many, FNN_CHAINS chains are
 * summed in them; where they are few, sums become totals while the next chain goes on. */
#if defined(FNN_ISA_AVX512) || defined(FNN_ISA_AVX2) || defined(FNN_NEON)
#define FNN_PRODUCT_ROUNDINGS 0
#else
#define FNN_PRODUCT_ROUNDINGS 1
#endif
#define FNN_ROUNDINGS(k)                                   \
    (FNN_PRODUCT_ROUNDINGS + FNN_CHAIN - (k) % FNN_CHAIN + \
     (FNN_CHAINS > 1 ? FNN_CHAINS - (k) / FNN_CHAIN % FNN_CHAINS : 0))
#define FNN_CHAIN_COLS (2 * FNN_LANES(f32v, float))
/* Products of short rows (see center_panel_f32) are whole multiples, below 2^18.2, of one number.
 */
_Static_assert(FNN_CHAIN *FNN_CHAINS <= 32, "sums of short rows are exact");

FNN_DEFINE_ACCUMULATE(chain, f32, f32v, float, FNN_CHAIN_ROWS, FNN_STEP_DOT_F32)

FNN_INLINE void start_chain(f32v sums[FNN_CHAIN_ROWS][2]) {
    FNN_UNROLL
    for (int r = 0; r < FNN_CHAIN_ROWS; ++r) sums[r][0] = sums[r][1] = f32_splat(0);
}
FNN_INLINE void end_chain(f32v sums[FNN_CHAIN_ROWS][2], float *ended) {
    FNN_UNROLL
    for (int r = 0; r < FNN_CHAIN_ROWS; ++r) {
        f32_store(ended + FNN_CHAIN_COLS * r, sums[r][0]);
        f32_store(ended + FNN_CHAIN_COLS * r + FNN_CHAIN_COLS / 2, sums[r][1]);
    }
}
/* totals[i] += sums[i] */
FNN_INLINE void add_to_totals(const float *sums, const ptrdiff_t n, double *totals) {
    FNN_UNROLL
    for (ptrdiff_t i = 0; i < n; i += FNN_LANES(f64v, double))
        f64_store(totals + i, f64_load(totals + i) + f64_from_f32half(f32half_load(sums + i)));
}

static void chain_product(ptrdiff_t depth, const void *queries, const void *samples, double *tile) {
    enum { size = FNN_CHAIN_ROWS * (int)FNN_CHAIN_COLS };
    const float *q = queries, *s = samples;
    float ended[FNN_CHAIN_ROWS * FNN_CHAIN_COLS] FNN_ALIGNED;
    memset(ended, 0, sizeof ended);
    memset(tile, 0, sizeof(double) * FNN_CHAIN_ROWS * (size_t)FNN_CHAIN_COLS);
#if FNN_CHAINS > 1
    enum { part_size = size / FNN_CHAINS };
    while (depth > 0) {
        f32v totals[FNN_CHAIN_ROWS][2];
        int part = 0;
        start_chain(totals);
        for (; part < FNN_CHAINS && depth > 0; ++part, depth -= FNN_CHAIN) {
            f32v sums[FNN_CHAIN_ROWS][2];
            start_chain(sums);
            ask_for_queries(q, FNN_CHAIN * FNN_CHAIN_ROWS * (ptrdiff_t)sizeof(float));
            if (depth >= FNN_CHAIN)
                chain_accumulate(sums, FNN_CHAIN, q, s);
            else
                chain_accumulate(sums, depth, q, s);
            FNN_UNROLL
            for (int r = 0; r < FNN_CHAIN_ROWS; ++r) {
                totals[r][0] += sums[r][0];
                totals[r][1] += sums[r][1];
            }
            add_to_totals(ended + part * part_size, part_size, tile + part * part_size);
            q += FNN_CHAIN * FNN_CHAIN_ROWS;
            s += FNN_CHAIN * FNN_CHAIN_COLS;
        }
        for (; part < FNN_CHAINS; ++part)
            add_to_totals(ended + part * part_size, part_size, tile + part * part_size);
        end_chain(totals, ended);
    }
    add_to_totals(ended, size, tile);
#else
    enum { steps = 4, part_size = size / (FNN_CHAIN / steps) };
    f32v sums[FNN_CHAIN_ROWS][2];
    for (; depth >= FNN_CHAIN; depth -= FNN_CHAIN) {
        start_chain(sums);
        for (int part = 0; part < FNN_CHAIN / steps; ++part) {
            ask_for_queries(q, steps * FNN_CHAIN_ROWS * (ptrdiff_t)sizeof(float));
            chain_accumulate(sums, steps, q, s);
            add_to_totals(ended + part * part_size, part_size, tile + part * part_size);
            q += steps * FNN_CHAIN_ROWS;
            s += steps * FNN_CHAIN_COLS;
        }
        end_chain(sums, ended);
    }
    add_to_totals(ended, size, tile);
    if (depth > 0) {
        start_chain(sums);
        chain_accumulate(sums, depth, q, s);
        end_chain(sums, ended);
        add_to_totals(ended, size, tile);
    }
#endif
}

/* A part keeps its sums in one level. */
#define FNN_DEFINE_PARTIAL(name, prefix, vector, lane, ROWS)                                    \
    FNN_INLINE void name##_start(vector sums[ROWS][2], const lane *initial,                     \
                                 ptrdiff_t row_stride) {                                        \
        FNN_UNROLL                                                                              \
        for (int r = 0; r < (ROWS); ++r) {                                                      \
            sums[r][0] = prefix##_load(initial + r * row_stride);                               \
            sums[r][1] = prefix##_load(initial + r * row_stride + FNN_LANES(vector, lane));     \
        }                                                                                       \
    }                                                                                           \
                                                                                                \
    static void name##_partial(ptrdiff_t depth, const void *queries, const void *samples,       \
                               const void *initial, ptrdiff_t initial_row_stride, void *tile) { \
        vector sums[ROWS][2];                                                                   \
        name##_start(sums, initial, initial_row_stride);                                        \
        name##_accumulate(sums, depth, queries, samples);                                       \
        FNN_UNROLL                                                                              \
        for (int r = 0; r < (ROWS); ++r) {                                                      \
            lane *row = (lane *)tile + 2 * r * FNN_LANES(vector, lane);                         \
            prefix##_store(row, sums[r][0]);                                                    \
            prefix##_store(row + FNN_LANES(vector, lane), sums[r][1]);                          \
        }                                                                                       \
    }

/* So does the scan: its callers allow for depth * 2^-24 (see _index.pyx). */
#define FNN_DEFINE_SCAN(name, prefix, vector, lane, ROWS)                                  \
    FNN_DEFINE_PARTIAL(name, prefix, vector, lane, ROWS)                                   \
    static ptrdiff_t name##_scan(const fnn_scan_arguments *a) {                            \
        const ptrdiff_t depth = a->depth, cols = 2 * FNN_LANES(vector, lane);              \
        const lane *queries = a->queries, *thresholds = a->thresholds;                     \
        for (ptrdiff_t panel = a->first_panel; panel < a->n_panels; ++panel) {             \
            vector sums[ROWS][2];                                                          \
            name##_start(sums, (const lane *)a->initial + panel * a->initial_panel_stride, \
                         a->initial_row_stride);                                           \
            name##_accumulate(sums, depth, queries,                                        \
                              (const lane *)a->samples + panel * a->sample_stride);        \
            vector threshold = prefix##_splat(thresholds[0]);                              \
            prefix##mask any = prefix##_greater(sums[0][0], threshold);                    \
            any |= prefix##_greater(sums[0][1], threshold);                                \
            FNN_UNROLL                                                                     \
            for (int r = 1; r < (ROWS); ++r) {                                             \
                threshold = prefix##_splat(thresholds[r]);                                 \
                any |= prefix##_greater(sums[r][0], threshold);                            \
                any |= prefix##_greater(sums[r][1], threshold);                            \
            }                                                                              \
            if (prefix##_bits(any) == 0) continue;                                         \
            FNN_UNROLL                                                                     \
            for (int r = 0; r < (ROWS); ++r) {                                             \
                lane *row = (lane *)a->tile + r * cols;                                    \
                threshold = prefix##_splat(thresholds[r]);                                 \
                a->hits[r] = prefix##_bits(prefix##_greater(sums[r][0], threshold)) |      \
                             prefix##_bits(prefix##_greater(sums[r][1], threshold))        \
                                 << FNN_LANES(vector, lane);                               \
                prefix##_store(row, sums[r][0]);                                           \
                prefix##_store(row + FNN_LANES(vector, lane), sums[r][1]);                 \
            }                                                                              \
            return panel;                                                                  \
        }                                                                                  \
        return a->n_panels;                                                                \
    }

FNN_DEFINE_ACCUMULATE(dot_f32, f32, f32v, float, FNN_ROWS, FNN_STEP_DOT_F32)
FNN_DEFINE_ACCUMULATE(max_f32, f32, f32v, float, FNN_MAX_ROWS, FNN_STEP_MAX_F32)
FNN_DEFINE_ACCUMULATE(dot_f64, f64, f64v, double, FNN_ROWS, FNN_STEP_DOT_F64)
FNN_DEFINE_ACCUMULATE(max_f64, f64, f64v, double, FNN_MAX_ROWS, FNN_STEP_MAX_F64)
FNN_DEFINE_ACCUMULATE(dot_u8, i32, i32v, int32_t, FNN_ROWS, FNN_STEP_DOT_U8)
FNN_DEFINE_ACCUMULATE(sad_u8, i64, i64v, int64_t, FNN_ROWS, FNN_STEP_SAD_U8)
FNN_DEFINE_ACCUMULATE(largest_f32, f32, f32v, float, FNN_MAX_ROWS, FNN_STEP_LARGEST_F32)
FNN_DEFINE_PRODUCT(dot_f32, f32, f32v, float, FNN_ROWS)
FNN_DEFINE_PRODUCT(max_f32, f32, f32v, float, FNN_MAX_ROWS)
FNN_DEFINE_PRODUCT(dot_f64, f64, f64v, double, FNN_ROWS)
FNN_DEFINE_PARTIAL(dot_f64, f64, f64v, double, FNN_ROWS)
FNN_DEFINE_PRODUCT(max_f64, f64, f64v, double, FNN_MAX_ROWS)
FNN_DEFINE_PRODUCT(dot_u8, i32, i32v, int32_t, FNN_ROWS)
FNN_DEFINE_PRODUCT(sad_u8, i64, i64v, int64_t, FNN_ROWS)
FNN_DEFINE_SCAN(dot_f32, f32, f32v, float, FNN_ROWS)
FNN_DEFINE_SCAN(max_f32, f32, f32v, float, FNN_MAX_ROWS)
FNN_DEFINE_SCAN(dot_u8, i32, i32v, int32_t, FNN_ROWS)
FNN_DEFINE_SCAN(sad_u8, i64, i64v, int64_t, FNN_ROWS)
FNN_DEFINE_SCAN(largest_f32, f32, f32v, float, FNN_MAX_ROWS)

/* ---- packing ---------------------------------------------------------------------------- */

/* Features are converted a strip at a time into a buffer that stays in L1, so that the arithmetic
 * runs along the rows; then the strip's words are interleaved into the panel. */
#define FNN_STRIP 64

/* out[k][r] = strip[r][k] for k < n and r < width; rows of the strip are FNN_STRIP words apart.
 * Four by four, or two by two for the wider words, in registers. */
#define FNN_DEFINE_INTERLEAVE(name, word, SIDE, TRANSPOSE)                                       \
    FNN_INLINE void name(const word *strip, ptrdiff_t width, ptrdiff_t n, word *out) {           \
        ptrdiff_t k = 0;                                                                         \
        if (width % (SIDE) == 0)                                                                 \
            for (; k + (SIDE) <= n; k += (SIDE))                                                 \
                for (ptrdiff_t r = 0; r < width; r += (SIDE))                                    \
                    TRANSPOSE(strip + r * FNN_STRIP + k, out + k * width + r, width);            \
        for (; k < n; ++k)                                                                       \
            for (ptrdiff_t r = 0; r < width; ++r) out[k * width + r] = strip[r * FNN_STRIP + k]; \
    }

/* Words of a strip and a panel, whatever they hold. */
typedef int32_t FNN_MAY_ALIAS word32;
typedef int64_t FNN_MAY_ALIAS word64;

#if defined(FNN_SHUFFLE)
typedef int32_t words4 __attribute__((vector_size(16)));
typedef int64_t words2 __attribute__((vector_size(16)));

FNN_INLINE void transpose_words32(const word32 *in, word32 *out, ptrdiff_t width) {
    words4 row[4], half[4];
    for (int r = 0; r < 4; ++r) memcpy(&row[r], in + r * FNN_STRIP, sizeof row[r]);
    half[0] = FNN_SHUFFLE(row[0], row[1], 0, 4, 1, 5);
    half[1] = FNN_SHUFFLE(row[2], row[3], 0, 4, 1, 5);
    half[2] = FNN_SHUFFLE(row[0], row[1], 2, 6, 3, 7);
    half[3] = FNN_SHUFFLE(row[2], row[3], 2, 6, 3, 7);
    row[0] = FNN_SHUFFLE(half[0], half[1], 0, 1, 4, 5);
    row[1] = FNN_SHUFFLE(half[0], half[1], 2, 3, 6, 7);
    row[2] = FNN_SHUFFLE(half[2], half[3], 0, 1, 4, 5);
    row[3] = FNN_SHUFFLE(half[2], half[3], 2, 3, 6, 7);
    for (int k = 0; k < 4; ++k) memcpy(out + k * width, &row[k], sizeof row[k]);
}
FNN_INLINE void transpose_words64(const word64 *in, word64 *out, ptrdiff_t width) {
    words2 row[2], column;
    for (int r = 0; r < 2; ++r) memcpy(&row[r], in + r * FNN_STRIP, sizeof row[r]);
    column = FNN_SHUFFLE(row[0], row[1], 0, 2);
    memcpy(out, &column, sizeof column);
    column = FNN_SHUFFLE(row[0], row[1], 1, 3);
    memcpy(out + width, &column, sizeof column);
}
FNN_DEFINE_INTERLEAVE(interleave_words32, word32, 4, transpose_words32)
FNN_DEFINE_INTERLEAVE(interleave_words64, word64, 2, transpose_words64)
#else
#define FNN_COPY_WORD(in, out, width) (*(out) = *(in))
FNN_DEFINE_INTERLEAVE(interleave_words32, word32, 1, FNN_COPY_WORD)
FNN_DEFINE_INTERLEAVE(interleave_words64, word64, 1, FNN_COPY_WORD)
#endif

/* A strip of FNN_STRIP words for every row of the panel; rows beyond the data are zeros. */
#define FNN_DECLARE_STRIP(element, word)                                          \
    element strip[FNN_MAX_TILE_COLS][FNN_STRIP * sizeof(word) / sizeof(element)]; \
    memset(strip[n_rows], 0, (size_t)(width - n_rows) * sizeof strip[0])

/* From each row to the one that follows the last, where rows lie evenly; else 0. */
static ptrdiff_t bytes_of_rows(const void *const *rows, ptrdiff_t n_rows) {
    const uintptr_t first = (uintptr_t)rows[0], last = (uintptr_t)rows[n_rows - 1];
    const uintptr_t row_bytes = n_rows > 1 ? (uintptr_t)rows[1] - first : 0;
    return last - first == row_bytes * (uintptr_t)(n_rows - 1) ? (ptrdiff_t)row_bytes * n_rows : 0;
}
/* Many rows side by side are too many streams for the processor to follow: while a strip is packed
 * that of the same row that comes next is asked for, behind a row's end that of the next panel. */
FNN_INLINE void ask_for_next_strip(const void *strip, const int is_last, const ptrdiff_t n_bytes,
                                   const ptrdiff_t panel_bytes) {
    const char *next = (const char *)strip + (is_last ? panel_bytes : n_bytes);
    for (ptrdiff_t i = 0; i < n_bytes; i += 64) FNN_PREFETCH(next + i);
    (void)next;
}

/* value - center is rounded once to `target`: in float where both are floats (the callers' centers
 * are), else in double. */
#define FNN_DEFINE_PACK(name, source, target, arithmetic, word, INTERLEAVE)                       \
    static void name(const void *const *rows, ptrdiff_t first, ptrdiff_t n_rows, ptrdiff_t width, \
                     ptrdiff_t n_features, const double *center, double scale, void *panel) {     \
        const ptrdiff_t rows_bytes = bytes_of_rows(rows, n_rows);                                 \
        const ptrdiff_t strip_bytes = FNN_STRIP * (ptrdiff_t)sizeof(source);                      \
        word *out = panel;                                                                        \
        const arithmetic factor = (arithmetic)scale;                                              \
        arithmetic shift[FNN_STRIP];                                                              \
        FNN_DECLARE_STRIP(target, word);                                                          \
        for (ptrdiff_t start = 0; start < n_features; start += FNN_STRIP) {                       \
            const ptrdiff_t left = n_features - start, n = left < FNN_STRIP ? left : FNN_STRIP;   \
            const ptrdiff_t to_next = rows_bytes - start * (ptrdiff_t)sizeof(source);             \
            for (ptrdiff_t k = 0; k < n; ++k) shift[k] = (arithmetic)center[first + start + k];   \
            for (ptrdiff_t r = 0; r < n_rows; ++r) {                                              \
                const source *row = (const source *)rows[r] + first + start;                      \
                ask_for_next_strip(row, left <= FNN_STRIP, strip_bytes, to_next);                 \
                for (ptrdiff_t k = 0; k < n; ++k)                                                 \
                    strip[r][k] = (target)((row[k] - shift[k]) * factor);                         \
            }                                                                                     \
            INTERLEAVE((const word *)strip, width, n, out + start * width);                       \
        }                                                                                         \
    }
FNN_DEFINE_PACK(pack_f32_as_f32, float, float, float, word32, interleave_words32)
FNN_DEFINE_PACK(pack_f32_as_f64, float, double, double, word64, interleave_words64)
FNN_DEFINE_PACK(pack_f64_as_f32, double, float, double, word32, interleave_words32)
FNN_DEFINE_PACK(pack_f64_as_f64, double, double, double, word64, interleave_words64)
FNN_DEFINE_PACK(pack_u8_as_f32, uint8_t, float, float, word32, interleave_words32)

#define FNN_DEFINE_COPY(name, source, target)                                                     \
    static void name(const void *const *rows, ptrdiff_t first, ptrdiff_t n_rows, ptrdiff_t width, \
                     ptrdiff_t n_features, const double *center, double scale, void *panel) {     \
        const target factor = (target)scale;                                                      \
        target shift[FNN_MAX_TILE_COLS];                                                          \
        for (ptrdiff_t k = 0; k < n_features; ++k) shift[k] = (target)center[first + k];          \
        for (ptrdiff_t r = 0; r < n_rows; ++r) {                                                  \
            const source *row = (const source *)rows[r] + first;                                  \
            target *out = (target *)panel + r * width;                                            \
            for (ptrdiff_t k = 0; k < n_features; ++k) out[k] = (row[k] - shift[k]) * factor;     \
            for (ptrdiff_t k = n_features; k < width; ++k) out[k] = 0;                            \
        }                                                                                         \
    }
FNN_DEFINE_COPY(copy_f32, float, float)
FNN_DEFINE_COPY(copy_f64, double, double)
FNN_DEFINE_COPY(copy_u8_as_f32, uint8_t, float)

/* Centers and scales are whole numbers here: (value - 128) * 1 or * 2 fits an int16, so products
 * and their sums are exact. Words are pairs of features; a last odd one is paired with zero. */
static void pack_u8_as_s16(const void *const *rows, ptrdiff_t first, ptrdiff_t n_rows,
                           ptrdiff_t width, ptrdiff_t n_features, const double *center,
                           double scale, void *panel) {
    const int16_t offset = (int16_t)center[0], factor = (int16_t)scale;
    word32 *out = panel;
    FNN_DECLARE_STRIP(int16_t, word32);
    for (ptrdiff_t start = 0; start < n_features; start += 2 * FNN_STRIP) {
        const ptrdiff_t left = n_features - start, n = left < 2 * FNN_STRIP ? left : 2 * FNN_STRIP;
        for (ptrdiff_t r = 0; r < n_rows; ++r) {
            const uint8_t *row = (const uint8_t *)rows[r] + first + start;
            for (ptrdiff_t k = 0; k < n; ++k) strip[r][k] = (int16_t)((row[k] - offset) * factor);
            if (n % 2) strip[r][n] = 0;
        }
        interleave_words32((const word32 *)strip, width, (n + 1) / 2, out + start / 2 * width);
    }
}

static void pack_u8_as_u8(const void *const *rows, ptrdiff_t first, ptrdiff_t n_rows,
                          ptrdiff_t width, ptrdiff_t n_features, const double *center, double scale,
                          void *panel) {
    word64 *out = panel;
    FNN_DECLARE_STRIP(uint8_t, word64);
    (void)center;
    (void)scale;
    for (ptrdiff_t start = 0; start < n_features; start += 8 * FNN_STRIP) {
        const ptrdiff_t left = n_features - start, n = left < 8 * FNN_STRIP ? left : 8 * FNN_STRIP;
        for (ptrdiff_t r = 0; r < n_rows; ++r) {
            memcpy(strip[r], (const uint8_t *)rows[r] + first + start, (size_t)n);
            memset(strip[r] + n, 0, (size_t)((8 - n % 8) % 8));
        }
        interleave_words64((const word64 *)strip, width, (n + 7) / 8, out + start / 8 * width);
    }
}

/* In two levels, so that the error hardly grows with the depth. Whole vectors are read: what a
 * narrow panel has beside its width is the next step's, or padding. */
#define FNN_DEFINE_PANEL_SUMS(name, element, WIDEN, TERM)                                 \
    FNN_INLINE void name##_over(const element *values, ptrdiff_t width, ptrdiff_t depth,  \
                                const int n, double *sums) {                              \
        const ptrdiff_t lanes = FNN_LANES(f64v, double);                                  \
        f64v all[4], part[4];                                                             \
        FNN_UNROLL                                                                        \
        for (int i = 0; i < n; ++i) all[i] = f64_splat(0.0);                              \
        for (ptrdiff_t start = 0; start < depth; start += FNN_SUM_DEPTH) {                \
            const ptrdiff_t left = depth - start;                                         \
            FNN_UNROLL                                                                    \
            for (int i = 0; i < n; ++i) part[i] = f64_splat(0.0);                         \
            for (ptrdiff_t k = left < FNN_SUM_DEPTH ? left : FNN_SUM_DEPTH; k > 0; --k) { \
                FNN_UNROLL                                                                \
                for (int i = 0; i < n; ++i) part[i] += TERM(WIDEN(values + i * lanes));   \
                values += width;                                                          \
            }                                                                             \
            FNN_UNROLL                                                                    \
            for (int i = 0; i < n; ++i) all[i] += part[i];                                \
        }                                                                                 \
        FNN_UNROLL                                                                        \
        for (int i = 0; i < n; ++i) f64_store(sums + i * lanes, all[i]);                  \
    }                                                                                     \
    static void name(const void *panel, ptrdiff_t width, ptrdiff_t depth, double *sums) { \
        const ptrdiff_t lanes = FNN_LANES(f64v, double);                                  \
        double whole[FNN_MAX_TILE_COLS];                                                  \
        ptrdiff_t row = 0;                                                                \
        for (; row + 3 * lanes < width; row += 4 * lanes)                                 \
            name##_over((const element *)panel + row, width, depth, 4, whole + row);      \
        for (; row + lanes < width; row += 2 * lanes)                                     \
            name##_over((const element *)panel + row, width, depth, 2, whole + row);      \
        for (; row < width; row += lanes)                                                 \
            name##_over((const element *)panel + row, width, depth, 1, whole + row);      \
        memcpy(sums, whole, (size_t)width * sizeof *sums);                                \
    }
FNN_INLINE f64v widen_f32(const float *values) { return f64_from_f32half(f32half_load(values)); }
FNN_INLINE f64v widen_f64(const double *values) { return f64_load(values); }
FNN_INLINE f64v itself(f64v v) { return v; }
FNN_INLINE f64v square(f64v v) { return v * v; }
FNN_INLINE f64v magnitude(f64v v) { return f64_magnitude(v); }
FNN_DEFINE_PANEL_SUMS(squares_f32, float, widen_f32, square)
FNN_DEFINE_PANEL_SUMS(values_f32, float, widen_f32, itself)
FNN_DEFINE_PANEL_SUMS(magnitudes_f32, float, widen_f32, magnitude)
FNN_DEFINE_PANEL_SUMS(squares_f64, double, widen_f64, square)
FNN_DEFINE_PANEL_SUMS(values_f64, double, widen_f64, itself)
FNN_DEFINE_PANEL_SUMS(magnitudes_f64, double, widen_f64, magnitude)

/* ---- exact distances, row by row -------------------------------------------------------- */

/* The one order of every float64 sum, NumPy's pairwise summation, so that a distance is the very
 * number that np.sum gives for the same terms: eight interleaved partial sums over at most
 * FNN_LEAF terms, longer sums halved at a multiple of eight, no FMA. */
#define FNN_PARTIAL_SUMS 8
#define FNN_LEAF 128
#define FNN_PARTS (FNN_PARTIAL_SUMS / FNN_LANES(f64v, double))

/* The next rows are asked for early. That they may come in any order is one reason; the other is
 * that the processor's own prefetching does not follow four interleaved rows (from memory, 12 ms
 * become 6 for 100,000 x 128). */
#define FNN_PREFETCH_AHEAD 4
#define FNN_PREFETCH_LINES 8

FNN_INLINE const char *row_at(const void *rows, ptrdiff_t row_bytes, const int64_t *index,
                              ptrdiff_t i, ptrdiff_t n) {
    if (i + FNN_PREFETCH_AHEAD < n) {
        const ptrdiff_t ahead = i + FNN_PREFETCH_AHEAD;
        const char *next = (const char *)rows + (index ? index[ahead] : ahead) * row_bytes;
        for (ptrdiff_t line = 0; line < FNN_PREFETCH_LINES && line * 64 < row_bytes; ++line)
            FNN_PREFETCH(next + line * 64);
    }
    return (const char *)rows + (index ? index[i] : i) * row_bytes;
}

FNN_INLINE double sum_of_parts(const f64v parts[FNN_PARTS]) {
    double r[FNN_PARTIAL_SUMS];
    FNN_UNROLL
    for (int p = 0; p < FNN_PARTS; ++p) f64_store(r + p * FNN_LANES(f64v, double), parts[p]);
    return ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
}

/* ROWS rows at once share the query's loads and hide the latency of the additions; each row's
 * terms are added in the same order whatever ROWS is. */
#define FNN_DEFINE_ROW_SUMS(name, ROWS, element, WIDEN, TERM)                              \
    static void name##_leaf(const element *x, const element *const y[ROWS], ptrdiff_t n,   \
                            double sums[ROWS]) {                                           \
        const ptrdiff_t whole = n - n % FNN_PARTIAL_SUMS, lanes = FNN_LANES(f64v, double); \
        f64v parts[ROWS][FNN_PARTS];                                                       \
        FNN_UNROLL                                                                         \
        for (int r = 0; r < (ROWS); ++r) FNN_UNROLL                                        \
        for (int p = 0; p < FNN_PARTS; ++p) parts[r][p] = f64_splat(0.0);                  \
        for (ptrdiff_t k = 0; k < whole; k += FNN_PARTIAL_SUMS) FNN_UNROLL                 \
        for (int p = 0; p < FNN_PARTS; ++p) {                                              \
            const f64v query = WIDEN(x + k + p * lanes);                                   \
            FNN_UNROLL                                                                     \
            for (int r = 0; r < (ROWS); ++r)                                               \
                parts[r][p] += TERM(query - WIDEN(y[r] + k + p * lanes));                  \
        }                                                                                  \
        FNN_UNROLL                                                                         \
        for (int r = 0; r < (ROWS); ++r) sums[r] = sum_of_parts(parts[r]);                 \
        if (whole == n) return;                                                            \
        element x_tail[FNN_PARTIAL_SUMS] = {0}, y_tail[FNN_PARTIAL_SUMS] = {0};            \
        double terms[FNN_PARTIAL_SUMS];                                                    \
        memcpy(x_tail, x + whole, (size_t)(n - whole) * sizeof(element));                  \
        for (int r = 0; r < (ROWS); ++r) {                                                 \
            memcpy(y_tail, y[r] + whole, (size_t)(n - whole) * sizeof(element));           \
            FNN_UNROLL                                                                     \
            for (int p = 0; p < FNN_PARTS; ++p)                                            \
                f64_store(terms + p * lanes,                                               \
                          TERM(WIDEN(x_tail + p * lanes) - WIDEN(y_tail + p * lanes)));    \
            for (ptrdiff_t i = 0; i < n - whole; ++i) sums[r] += terms[i];                 \
        }                                                                                  \
    }                                                                                      \
    static void name(const element *x, const element *const y[ROWS], ptrdiff_t n,          \
                     double sums[ROWS]) {                                                  \
        if (n <= FNN_LEAF) {                                                               \
            name##_leaf(x, y, n, sums);                                                    \
            return;                                                                        \
        }                                                                                  \
        const ptrdiff_t half = n / 2 - n / 2 % FNN_PARTIAL_SUMS;                           \
        const element *rest[ROWS];                                                         \
        double rest_sums[ROWS];                                                            \
        for (int r = 0; r < (ROWS); ++r) rest[r] = y[r] + half;                            \
        name(x, y, half, sums);                                                            \
        name(x + half, rest, n - half, rest_sums);                                         \
        for (int r = 0; r < (ROWS); ++r) sums[r] += rest_sums[r];                          \
    }

#define FNN_DEFINE_ROW_DISTANCES(name, element, WIDEN, TERM)                                      \
    FNN_DEFINE_ROW_SUMS(name##_of_four, 4, element, WIDEN, TERM)                                  \
    FNN_DEFINE_ROW_SUMS(name##_of_two, 2, element, WIDEN, TERM)                                   \
    FNN_DEFINE_ROW_SUMS(name##_of_one, 1, element, WIDEN, TERM)                                   \
    static void name(const void *query, const void *rows, ptrdiff_t stride, const int64_t *index, \
                     ptrdiff_t n, ptrdiff_t n_features, double *distances) {                      \
        const ptrdiff_t row_bytes = stride * (ptrdiff_t)sizeof(element);                          \
        const element *y[4];                                                                      \
        ptrdiff_t i = 0;                                                                          \
        for (; i + 4 <= n; i += 4) {                                                              \
            for (int r = 0; r < 4; ++r)                                                           \
                y[r] = (const element *)row_at(rows, row_bytes, index, i + r, n);                 \
            name##_of_four(query, y, n_features, distances + i);                                  \
        }                                                                                         \
        for (; i + 2 <= n; i += 2) {                                                              \
            for (int r = 0; r < 2; ++r)                                                           \
                y[r] = (const element *)row_at(rows, row_bytes, index, i + r, n);                 \
            name##_of_two(query, y, n_features, distances + i);                                   \
        }                                                                                         \
        for (; i < n; ++i) {                                                                      \
            y[0] = (const element *)row_at(rows, row_bytes, index, i, n);                         \
            name##_of_one(query, y, n_features, distances + i);                                   \
        }                                                                                         \
    }
FNN_DEFINE_ROW_DISTANCES(square_differences_f32, float, widen_f32, square)
FNN_DEFINE_ROW_DISTANCES(square_differences_f64, double, widen_f64, square)
FNN_DEFINE_ROW_DISTANCES(absolute_differences_f32, float, widen_f32, magnitude)
FNN_DEFINE_ROW_DISTANCES(absolute_differences_f64, double, widen_f64, magnitude)

/* The largest difference: one value is rounded, in no order. Maxima may lose a NaN, sums do not. */
#define FNN_DEFINE_LARGEST_DIFFERENCE(name, element, WIDEN)                                       \
    static void name(const void *query, const void *rows, ptrdiff_t stride, const int64_t *index, \
                     ptrdiff_t n, ptrdiff_t n_features, double *distances) {                      \
        const ptrdiff_t row_bytes = stride * (ptrdiff_t)sizeof(element);                          \
        const ptrdiff_t lanes = FNN_LANES(f64v, double);                                          \
        const ptrdiff_t whole = n_features - n_features % lanes;                                  \
        const element *x = query;                                                                 \
        for (ptrdiff_t i = 0; i < n; ++i) {                                                       \
            const element *y = (const element *)row_at(rows, row_bytes, index, i, n);             \
            double largest, sum;                                                                  \
            f64v part = f64_splat(0.0), part_sum = part;                                          \
            for (ptrdiff_t k = 0; k < whole; k += lanes) {                                        \
                const f64v difference = magnitude(WIDEN(x + k) - WIDEN(y + k));                   \
                part = f64_max(part, difference);                                                 \
                part_sum += difference;                                                           \
            }                                                                                     \
            largest = f64_largest(part);                                                          \
            sum = f64_sum(part_sum);                                                              \
            for (ptrdiff_t k = whole; k < n_features; ++k) {                                      \
                const double difference = fabs((double)x[k] - (double)y[k]);                      \
                largest = difference > largest ? difference : largest;                            \
                sum += difference;                                                                \
            }                                                                                     \
            distances[i] = sum == sum ? largest : sum;                                            \
        }                                                                                         \
    }
FNN_DEFINE_LARGEST_DIFFERENCE(largest_difference_f32, float, widen_f32)
FNN_DEFINE_LARGEST_DIFFERENCE(largest_difference_f64, double, widen_f64)

/* Whole numbers: exact in any order. Two sums at a time hide the additions' latency. 32-bit lanes
 * take 2 * 255^2 a step: 255^2 * 16384 < 2^31. */
#define FNN_BYTES_PER_SUM 16384
FNN_INLINE i64v sad_of(const uint8_t *x, const uint8_t *y) {
    i64v a, b;
    memcpy(&a, x, sizeof a);
    memcpy(&b, y, sizeof b);
    return i64_byte_sad(a, b);
}

/* As many bytes as a vector has: the last n % bytes of a row, with zeros before them, or behind
 * them where the row is shorter than a vector. */
FNN_INLINE void take_last(const uint8_t *row, ptrdiff_t n, const ptrdiff_t bytes, uint8_t *last) {
#if defined(FNN_ISA_AVX512)
    const ptrdiff_t left = n % bytes;
    const __mmask64 mask = ((__mmask64)1 << left) - 1;
    if (bytes == 64)
        _mm512_storeu_si512(last, _mm512_maskz_loadu_epi8(mask, row + n - left));
    else
        _mm256_storeu_si256((__m256i *)last,
                            _mm256_maskz_loadu_epi8((__mmask32)mask, row + n - left));
#else
    enum { widest = 32 };
    static const uint8_t keep[2 * widest] = {[widest] = 0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff,
                                             0xff};
    const ptrdiff_t left = n % bytes;
    if (n < bytes) {
        memset(last, 0, (size_t)bytes);
        memcpy(last, row, (size_t)left);
    } else {
        const uint8_t *end = row + n - bytes, *mask = keep + widest - bytes + left;
        for (ptrdiff_t i = 0; i < bytes; ++i) last[i] = end[i] & mask[i];
    }
#endif
}

/* BYTES is what a STEP takes. */
#define FNN_DEFINE_BYTE_SUM(name, prefix, vector, BYTES, STEP)                 \
    FNN_INLINE int64_t name(const uint8_t *x, const uint8_t *y, ptrdiff_t n) { \
        const ptrdiff_t whole = n - n % (BYTES);                               \
        vector first = prefix##_splat(0), second = first;                      \
        ptrdiff_t k = 0;                                                       \
        for (; k + 2 * (BYTES) <= whole; k += 2 * (BYTES)) {                   \
            first += STEP(x + k, y + k);                                       \
            second += STEP(x + k + (BYTES), y + k + (BYTES));                  \
        }                                                                      \
        if (k < whole) first += STEP(x + k, y + k);                            \
        if (whole < n) {                                                       \
            uint8_t last_of_x[BYTES], last_of_y[BYTES];                        \
            take_last(x, n, BYTES, last_of_x);                                 \
            take_last(y, n, BYTES, last_of_y);                                 \
            second += STEP(last_of_x, last_of_y);                              \
        }                                                                      \
        return prefix##_sum(first + second);                                   \
    }
FNN_DEFINE_BYTE_SUM(byte_squares, i32, i32v, FNN_HALF_BYTES, i32_byte_squares)
FNN_DEFINE_BYTE_SUM(byte_magnitudes, i64, i64v, (ptrdiff_t)sizeof(i64v), sad_of)

#define FNN_DEFINE_BYTE_DISTANCES(name, SUM)                                                      \
    static void name(const void *query, const void *rows, ptrdiff_t stride, const int64_t *index, \
                     ptrdiff_t n, ptrdiff_t n_features, double *distances) {                      \
        for (ptrdiff_t i = 0; i < n; ++i) {                                                       \
            const uint8_t *x = query, *y = (const uint8_t *)row_at(rows, stride, index, i, n);    \
            int64_t total = 0;                                                                    \
            for (ptrdiff_t start = 0; start < n_features; start += FNN_BYTES_PER_SUM) {           \
                const ptrdiff_t left = n_features - start;                                        \
                total += SUM(x + start, y + start,                                                \
                             left < FNN_BYTES_PER_SUM ? left : FNN_BYTES_PER_SUM);                \
            }                                                                                     \
            distances[i] = (double)total;                                                         \
        }                                                                                         \
    }
FNN_DEFINE_BYTE_DISTANCES(square_differences_u8, byte_squares)
FNN_DEFINE_BYTE_DISTANCES(absolute_differences_u8, byte_magnitudes)

/* The sum of a vector's lanes. */
FNN_INLINE double f32_sum(f32v v) {
#if defined(FNN_VECTOR_BYTES)
    f32half halves[2];
    memcpy(halves, &v, sizeof v);
    return f64_sum(f64_from_f32half(halves[0]) + f64_from_f32half(halves[1]));
#else
    return (double)v;
#endif
}

/* ---- rough distances: which rows are worth an exact one ----------------------------------- */

/* The stream of rows is asked for so far ahead: more than the processor does by itself for two. */
#define FNN_BYTES_AHEAD 6144

#define FNN_ADD_SQUARE_F32(sum, d) f32_multiply_add(d, d, sum)
#define FNN_ADD_SQUARE_F64(sum, d) f64_multiply_add(d, d, sum)
#define FNN_ADD_MAGNITUDE_F32(sum, d) ((sum) + f32_magnitude(d))
#define FNN_ADD_MAGNITUDE_F64(sum, d) ((sum) + f64_magnitude(d))

/* ROWS rows meet QUERIES queries, whose loads they share; each lane sums what it meets. */
#define FNN_DEFINE_ROUGH_SOME(name, prefix, vector, element, ADD, SQUARED)                       \
    FNN_INLINE void name##_some(const element *x, ptrdiff_t query_stride, const int QUERIES,     \
                                const element *y, ptrdiff_t stride, const int ROWS, ptrdiff_t d, \
                                ptrdiff_t n, double *distances) {                                \
        const ptrdiff_t lanes = FNN_LANES(vector, element), whole = d - d % lanes;               \
        vector sums[FNN_ROUGH_QUERIES][2];                                                       \
        FNN_UNROLL                                                                               \
        for (int q = 0; q < QUERIES; ++q) FNN_UNROLL                                             \
        for (int r = 0; r < ROWS; ++r) sums[q][r] = prefix##_splat(0);                           \
        for (ptrdiff_t k = 0; k < whole; k += lanes) {                                           \
            vector values[2];                                                                    \
            FNN_UNROLL                                                                           \
            for (int r = 0; r < ROWS; ++r) {                                                     \
                const element *place = y + r * stride + k;                                       \
                values[r] = prefix##_load(place);                                                \
                FNN_PREFETCH((const char *)place + FNN_BYTES_AHEAD);                             \
            }                                                                                    \
            FNN_UNROLL                                                                           \
            for (int q = 0; q < QUERIES; ++q) {                                                  \
                const vector query = prefix##_load(x + q * query_stride + k);                    \
                FNN_UNROLL                                                                       \
                for (int r = 0; r < ROWS; ++r) {                                                 \
                    const vector difference = query - values[r];                                 \
                    sums[q][r] = ADD(sums[q][r], difference);                                    \
                }                                                                                \
            }                                                                                    \
        }                                                                                        \
        for (int q = 0; q < QUERIES; ++q)                                                        \
            for (int r = 0; r < ROWS; ++r) {                                                     \
                double total = prefix##_sum(sums[q][r]);                                         \
                for (ptrdiff_t k = whole; k < d; ++k) {                                          \
                    const double difference =                                                    \
                        (double)x[q * query_stride + k] - (double)y[r * stride + k];             \
                    total += SQUARED ? difference * difference : fabs(difference);               \
                }                                                                                \
                distances[q * n + r] = total;                                                    \
            }                                                                                    \
    }
FNN_DEFINE_ROUGH_SOME(rough_squares_f32, f32, f32v, float, FNN_ADD_SQUARE_F32, 1)
FNN_DEFINE_ROUGH_SOME(rough_squares_f64, f64, f64v, double, FNN_ADD_SQUARE_F64, 1)
FNN_DEFINE_ROUGH_SOME(rough_absolutes_f32, f32, f32v, float, FNN_ADD_MAGNITUDE_F32, 0)
FNN_DEFINE_ROUGH_SOME(rough_absolutes_f64, f64, f64v, double, FNN_ADD_MAGNITUDE_F64, 0)

/* The same for bytes, whose sums are exact: see FNN_DEFINE_BYTE_SUM. */
#define FNN_DEFINE_ROUGH_BYTES_SOME(name, prefix, vector, BYTES, STEP)                            \
    FNN_INLINE void name##_some(const uint8_t *x, ptrdiff_t query_stride, const int QUERIES,      \
                                const uint8_t *y, ptrdiff_t stride, const int ROWS, ptrdiff_t d,  \
                                ptrdiff_t n, double *distances) {                                 \
        const ptrdiff_t all_whole = d - d % (BYTES);                                              \
        int64_t totals[FNN_ROUGH_QUERIES][2] = {{0}};                                             \
        for (ptrdiff_t start = 0; start < d; start += FNN_BYTES_PER_SUM) {                        \
            const ptrdiff_t end = start + FNN_BYTES_PER_SUM;                                      \
            const ptrdiff_t whole = end < all_whole ? end : all_whole;                            \
            vector sums[FNN_ROUGH_QUERIES][2];                                                    \
            FNN_UNROLL                                                                            \
            for (int q = 0; q < QUERIES; ++q) FNN_UNROLL                                          \
            for (int r = 0; r < ROWS; ++r) sums[q][r] = prefix##_splat(0);                        \
            for (ptrdiff_t k = start; k < whole; k += (BYTES)) {                                  \
                FNN_UNROLL                                                                        \
                for (int r = 0; r < ROWS; ++r)                                                    \
                    FNN_PREFETCH((const char *)(y + r * stride + k) + FNN_BYTES_AHEAD);           \
                FNN_UNROLL                                                                        \
                for (int q = 0; q < QUERIES; ++q) FNN_UNROLL                                      \
                for (int r = 0; r < ROWS; ++r)                                                    \
                    sums[q][r] += STEP(x + q * query_stride + k, y + r * stride + k);             \
            }                                                                                     \
            if (end >= d && all_whole < d) {                                                      \
                uint8_t last_of_x[FNN_ROUGH_QUERIES][BYTES], last_of_y[2][BYTES];                 \
                FNN_UNROLL                                                                        \
                for (int q = 0; q < QUERIES; ++q)                                                 \
                    take_last(x + q * query_stride, d, BYTES, last_of_x[q]);                      \
                FNN_UNROLL                                                                        \
                for (int r = 0; r < ROWS; ++r) take_last(y + r * stride, d, BYTES, last_of_y[r]); \
                FNN_UNROLL                                                                        \
                for (int q = 0; q < QUERIES; ++q) FNN_UNROLL                                      \
                for (int r = 0; r < ROWS; ++r) sums[q][r] += STEP(last_of_x[q], last_of_y[r]);    \
            }                                                                                     \
            FNN_UNROLL                                                                            \
            for (int q = 0; q < QUERIES; ++q) FNN_UNROLL                                          \
            for (int r = 0; r < ROWS; ++r) totals[q][r] += prefix##_sum(sums[q][r]);              \
        }                                                                                         \
        for (int q = 0; q < QUERIES; ++q)                                                         \
            for (int r = 0; r < ROWS; ++r) distances[q * n + r] = (double)totals[q][r];           \
    }
FNN_DEFINE_ROUGH_BYTES_SOME(rough_squares_u8, i32, i32v, FNN_HALF_BYTES, i32_byte_squares)
FNN_DEFINE_ROUGH_BYTES_SOME(rough_absolutes_u8, i64, i64v, (ptrdiff_t)sizeof(i64v), sad_of)

#define FNN_DEFINE_ROUGH(name, element)                                                \
    static void name(const void *queries, ptrdiff_t query_stride, ptrdiff_t n_queries, \
                     const void *rows, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t d,     \
                     double *distances) {                                              \
        const element *x = queries, *y = rows;                                         \
        ptrdiff_t i = 0;                                                               \
        for (; i + 2 <= n; i += 2, y += 2 * stride, distances += 2) {                  \
            if (n_queries == 1)                                                        \
                name##_some(x, query_stride, 1, y, stride, 2, d, n, distances);        \
            else if (n_queries == 2)                                                   \
                name##_some(x, query_stride, 2, y, stride, 2, d, n, distances);        \
            else if (n_queries == 3)                                                   \
                name##_some(x, query_stride, 3, y, stride, 2, d, n, distances);        \
            else                                                                       \
                name##_some(x, query_stride, 4, y, stride, 2, d, n, distances);        \
        }                                                                              \
        for (ptrdiff_t q = 0; i < n && q < n_queries; ++q)                             \
            name##_some(x + q * query_stride, query_stride, 1, y, stride, 1, d, n,     \
                        distances + q * n);                                            \
    }
FNN_DEFINE_ROUGH(rough_squares_f32, float)
FNN_DEFINE_ROUGH(rough_squares_f64, double)
FNN_DEFINE_ROUGH(rough_squares_u8, uint8_t)
FNN_DEFINE_ROUGH(rough_absolutes_f32, float)
FNN_DEFINE_ROUGH(rough_absolutes_f64, double)
FNN_DEFINE_ROUGH(rough_absolutes_u8, uint8_t)

/* Each value by itself, so that the compiler's vectors give the same bits on every ISA. */
#define FNN_DEFINE_MOVE(name, element)                                                          \
    static void name(const void *values, ptrdiff_t n, double scale, double norm, double *out) { \
        const element *x = values;                                                              \
        if (scale == 1.0 && norm == 1.0)                                                        \
            for (ptrdiff_t k = 0; k < n; ++k) out[k] = (double)x[k];                            \
        else                                                                                    \
            for (ptrdiff_t k = 0; k < n; ++k) out[k] = (double)x[k] * scale / norm;             \
    }
FNN_DEFINE_MOVE(move_f32, float)
FNN_DEFINE_MOVE(move_f64, double)
FNN_DEFINE_MOVE(move_u8, uint8_t)

/* ---- exact distances, a block of points or boxes at once ---------------------------------- */

/* A lane is a point, and goes through its features in the order of the row distances. Eight points
 * at once share the loads of the query. */

FNN_INLINE f64v add(f64v sum, f64v term) { return sum + term; }
/* Of zeros of both signs it is the sum's that stays. */
FNN_INLINE f64v larger(f64v sum, f64v term) { return f64_max(term, sum); }

/* How far the query is from the point, or outside of the box. */
#define FNN_DEFINE_GAP(prefix, element, WIDEN)                                            \
    FNN_INLINE f64v prefix##_gap(f64v query, const element *low, const element *high) {   \
        if (!high) return query - WIDEN(low);                                             \
        return f64_max(f64_max(WIDEN(low) - query, query - WIDEN(high)), f64_splat(0.0)); \
    }
FNN_DEFINE_GAP(f32, float, widen_f32)
FNN_DEFINE_GAP(f64, double, widen_f64)
FNN_DEFINE_GAP(u8, uint8_t, f64_from_u8)

/* A term times the weight of its feature, where there are weights. */
FNN_INLINE f64v weigh(f64v term, const double *weights, ptrdiff_t k) {
    return weights ? f64_splat(weights[k]) * term : term;
}

/* One feature after the other, for maxima and for fewer terms than there are partial sums. */
#define FNN_DEFINE_BLOCK_IN_ORDER(name, element, GAP, TERM, ADD)                              \
    FNN_INLINE void name##_in_order(const double *query, const double *weights,               \
                                    const element *low, const element *high, ptrdiff_t width, \
                                    ptrdiff_t n, const int n_vectors, f64v *sums) {           \
        const ptrdiff_t lanes = FNN_LANES(f64v, double);                                      \
        for (ptrdiff_t k = 0; k < n; ++k) {                                                   \
            const f64v value = f64_splat(query[k]);                                           \
            FNN_UNROLL                                                                        \
            for (int v = 0; v < n_vectors; ++v) {                                             \
                const f64v gap = GAP(value, low + v * lanes, high ? high + v * lanes : NULL); \
                sums[v] = ADD(sums[v], weigh(TERM(gap), weights, k));                         \
            }                                                                                 \
            low += width;                                                                     \
            if (high) high += width;                                                          \
        }                                                                                     \
    }

/* One vector of sums over many terms: a call of its own keeps the loops over few terms short. */
#define FNN_DEFINE_BLOCK_SUM(name, element, GAP, TERM)                                            \
    static FNN_NOINLINE void name##_sum(const double *query, const double *weights,               \
                                        const element *low, const element *high, ptrdiff_t width, \
                                        ptrdiff_t n, f64v *sum) {                                 \
        if (n > FNN_LEAF) {                                                                       \
            const ptrdiff_t half = n / 2 - n / 2 % FNN_PARTIAL_SUMS;                              \
            f64v rest;                                                                            \
            name##_sum(query, weights, low, high, width, half, sum);                              \
            name##_sum(query + half, weights ? weights + half : NULL, low + half * width,         \
                       high ? high + half * width : NULL, width, n - half, &rest);                \
            *sum += rest;                                                                         \
            return;                                                                               \
        }                                                                                         \
        const ptrdiff_t whole = n - n % FNN_PARTIAL_SUMS;                                         \
        f64v r[FNN_PARTIAL_SUMS];                                                                 \
        FNN_UNROLL                                                                                \
        for (int p = 0; p < FNN_PARTIAL_SUMS; ++p) r[p] = f64_splat(0.0);                         \
        for (ptrdiff_t k = 0; k < whole; k += FNN_PARTIAL_SUMS) FNN_UNROLL                        \
        for (int p = 0; p < FNN_PARTIAL_SUMS; ++p) {                                              \
            const f64v gap = GAP(f64_splat(query[k + p]), low + (k + p) * width,                  \
                                 high ? high + (k + p) * width : NULL);                           \
            r[p] += weigh(TERM(gap), weights, k + p);                                             \
        }                                                                                         \
        r[0] = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));                 \
        name##_in_order(query + whole, weights ? weights + whole : NULL, low + whole * width,     \
                        high ? high + whole * width : NULL, width, n - whole, 1, r);              \
        *sum = r[0];                                                                              \
    }

#define FNN_DEFINE_BLOCK(name, element, GAP, TERM, ADD, IN_ORDER)                                  \
    FNN_DEFINE_BLOCK_IN_ORDER(name, element, GAP, TERM, ADD)                                       \
    FNN_DEFINE_BLOCK_SUM(name, element, GAP, TERM)                                                 \
    FNN_INLINE uint32_t name##_some(const double *query, const double *weights,                    \
                                    const element *low, const element *high, ptrdiff_t width,      \
                                    ptrdiff_t n_features, f64v limits, const int n_vectors,        \
                                    double *distances) {                                           \
        const ptrdiff_t lanes = FNN_LANES(f64v, double);                                           \
        f64v sums[FNN_BLOCK_BOXES];                                                                \
        uint32_t bits = 0;                                                                         \
        FNN_UNROLL                                                                                 \
        for (int v = 0; v < n_vectors; ++v) sums[v] = f64_splat(0.0);                              \
        if (!(IN_ORDER))                                                                           \
            for (int v = 0; v < n_vectors; ++v)                                                    \
                name##_sum(query, weights, low + v * lanes, high ? high + v * lanes : NULL, width, \
                           n_features, &sums[v]);                                                  \
        else if (weights)                                                                          \
            name##_in_order(query, weights, low, high, width, n_features, n_vectors, sums);        \
        else                                                                                       \
            name##_in_order(query, NULL, low, high, width, n_features, n_vectors, sums);           \
        FNN_UNROLL                                                                                 \
        for (int v = 0; v < n_vectors; ++v) {                                                      \
            f64_store(distances + v * lanes, sums[v]);                                             \
            bits |= f64_at_most(sums[v], limits) << (v * lanes);                                   \
        }                                                                                          \
        return bits;                                                                               \
    }                                                                                              \
    static uint32_t name##_boxes(const double *query, const double *weights, const void *low,      \
                                 const void *high, ptrdiff_t n_features, double limit,             \
                                 double *distances) {                                              \
        return name##_some(query, weights, low, high, FNN_BLOCK_BOXES, n_features,                 \
                           f64_splat(limit), FNN_BLOCK_BOXES / FNN_LANES(f64v, double),            \
                           distances);                                                             \
    }                                                                                              \
    static uint32_t name##_points(const double *query, const double *weights, const void *points,  \
                                  ptrdiff_t width, ptrdiff_t n_features, double limit, int root,   \
                                  double *distances) {                                             \
        const ptrdiff_t lanes = FNN_LANES(f64v, double), step = FNN_BLOCK_BOXES;                   \
        const element *block = points;                                                             \
        uint32_t bits = 0;                                                                         \
        for (ptrdiff_t i = 0; i < width; i += step)                                                \
            bits |= name##_some(query, weights, block + i, NULL, width, n_features,                \
                                f64_splat(limit), (int)(step / lanes), distances + i)              \
                    << i;                                                                          \
        if (root && bits)                                                                          \
            for (ptrdiff_t i = 0; i < width; i += lanes)                                           \
                f64_store(distances + i, f64_sqrt(f64_load(distances + i)));                       \
        return bits;                                                                               \
    }
#define FNN_FEW_FEATURES (n_features < FNN_PARTIAL_SUMS)
FNN_DEFINE_BLOCK(block_squares_f32, float, f32_gap, square, add, FNN_FEW_FEATURES)
FNN_DEFINE_BLOCK(block_squares_f64, double, f64_gap, square, add, FNN_FEW_FEATURES)
FNN_DEFINE_BLOCK(block_squares_u8, uint8_t, u8_gap, square, add, FNN_FEW_FEATURES)
FNN_DEFINE_BLOCK(block_absolutes_f32, float, f32_gap, magnitude, add, FNN_FEW_FEATURES)
FNN_DEFINE_BLOCK(block_absolutes_f64, double, f64_gap, magnitude, add, FNN_FEW_FEATURES)
FNN_DEFINE_BLOCK(block_absolutes_u8, uint8_t, u8_gap, magnitude, add, FNN_FEW_FEATURES)
FNN_DEFINE_BLOCK(block_largest_f32, float, f32_gap, magnitude, larger, 1)
FNN_DEFINE_BLOCK(block_largest_f64, double, f64_gap, magnitude, larger, 1)
FNN_DEFINE_BLOCK(block_largest_u8, uint8_t, u8_gap, magnitude, larger, 1)

/* ---- pairwise distances ------------------------------------------------------------------ */

/* x > 0, rounded down to a power of two. */
FNN_INLINE double power_of_two_in(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= UINT64_C(0x7ff0000000000000);
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* About the mean of a row from `low` to `high`, and short: a multiple of 1/32 of what the row
 * spans, rounded up to a power of two. Whole numbers without it are whole and short, too. */
FNN_INLINE double short_center(double mean, double low, double high) {
    const double unit = 0x1p-4 * power_of_two_in(high - low), center = rint(mean / unit) * unit;
    if (!(low < high)) return low;
    return fabs(center) <= high - low + fabs(low) ? center : 0.0;
}

#define FNN_EPSILON(element) (sizeof(element) == sizeof(float) ? 0x1p-23 : 0x1p-52)

/* A packed panel of rows, each taken around its own center, and sums over what is left of it.
 * Columns go by one or two vectors at a time; lanes beside a narrow panel's width have the center 0
 * and are written as they were. Values are summed with compensation (Knuth's TwoSum) from
 * FNN_SUM_DEPTH to FNN_SUM_DEPTH. Rows are short if `grid` plus any of their values has no digit
 * that this sum cuts off: if they are
 * whole multiples, below 2^9.1, of one number. */
#define FNN_DEFINE_CENTER_PANEL(name, prefix, vector, element, WIDEN, ROUNDINGS)                   \
    FNN_INLINE void name##_find(const element *v, const ptrdiff_t width, const ptrdiff_t depth,    \
                                const int n, double *centers, element *grids) {                    \
        enum { lanes = FNN_LANES(vector, element), doubles = FNN_LANES(f64v, double) };            \
        element least[2 * lanes], most[2 * lanes];                                                 \
        double total[2 * lanes];                                                                   \
        vector low[2], high[2];                                                                    \
        f64v sums[2 * lanes / doubles];                                                            \
        for (int i = 0; i < n; ++i) low[i] = high[i] = prefix##_load(v + i * lanes);               \
        FNN_UNROLL                                                                                 \
        for (int i = 0; i < n * lanes / doubles; ++i) sums[i] = f64_splat(0.0);                    \
        for (ptrdiff_t k = 0; k < depth; ++k, v += width) {                                        \
            FNN_UNROLL                                                                             \
            for (int i = 0; i < n; ++i) {                                                          \
                const vector x = prefix##_load(v + i * lanes);                                     \
                low[i] = prefix##_min(low[i], x);                                                  \
                high[i] = prefix##_max(high[i], x);                                                \
            }                                                                                      \
            FNN_UNROLL                                                                             \
            for (int i = 0; i < n * lanes / doubles; ++i) sums[i] += WIDEN(v + i * doubles);       \
        }                                                                                          \
        for (int i = 0; i < n; ++i) {                                                              \
            prefix##_store(least + i * lanes, low[i]);                                             \
            prefix##_store(most + i * lanes, high[i]);                                             \
        }                                                                                          \
        FNN_UNROLL                                                                                 \
        for (int i = 0; i < n * lanes / doubles; ++i) f64_store(total + i * doubles, sums[i]);     \
        for (int r = 0; r < n * lanes; ++r) {                                                      \
            const double l = (double)least[r], h = (double)most[r];                                \
            centers[r] = (element)short_center(total[r] / (double)depth, l, h);                    \
            grids[r] = (element)(0x1.8p-8 / FNN_EPSILON(element) * power_of_two_in(h - l));        \
        }                                                                                          \
    }                                                                                              \
    FNN_INLINE void name##_take(element *v, const ptrdiff_t width, const ptrdiff_t depth,          \
                                const int n, const double *centers, const element *grids,          \
                                double *squares, double *rounded, double *values, int *is_short) { \
        enum { lanes = FNN_LANES(vector, element), doubles = FNN_LANES(f64v, double) };            \
        element center[2 * lanes], cut[2 * lanes];                                                 \
        vector cut_off[2];                                                                         \
        f64v all[2 * lanes / doubles], weighed[2 * lanes / doubles], lost[2 * lanes / doubles];    \
        f64v sum[2 * lanes / doubles];                                                             \
        for (int r = 0; r < n * lanes; ++r) center[r] = (element)centers[r];                       \
        for (int i = 0; i < n; ++i) cut_off[i] = prefix##_splat(0);                                \
        FNN_UNROLL                                                                                 \
        for (int i = 0; i < n * lanes / doubles; ++i)                                              \
            all[i] = weighed[i] = lost[i] = sum[i] = f64_splat(0.0);                               \
        for (ptrdiff_t start = 0; start < depth; start += FNN_SUM_DEPTH) {                         \
            const ptrdiff_t end = start + FNN_SUM_DEPTH < depth ? start + FNN_SUM_DEPTH : depth;   \
            f64v part[2 * lanes / doubles], part_of_sum[2 * lanes / doubles];                      \
            FNN_UNROLL                                                                             \
            for (int i = 0; i < n * lanes / doubles; ++i)                                          \
                part[i] = part_of_sum[i] = f64_splat(0.0);                                         \
            for (ptrdiff_t k = start; k < end; ++k, v += width) {                                  \
                const f64v roundings = f64_splat(ROUNDINGS);                                       \
                FNN_UNROLL                                                                         \
                for (int i = 0; i < n; ++i) {                                                      \
                    const vector grid = prefix##_load(grids + i * lanes);                          \
                    const vector x =                                                               \
                        prefix##_load(v + i * lanes) - prefix##_load(center + i * lanes);          \
                    prefix##_store(v + i * lanes, x);                                              \
                    cut_off[i] =                                                                   \
                        prefix##_max(cut_off[i], prefix##_magnitude(x - ((x + grid) - grid)));     \
                }                                                                                  \
                FNN_UNROLL                                                                         \
                for (int i = 0; i < n * lanes / doubles; ++i) {                                    \
                    const f64v x = WIDEN(v + i * doubles), square = x * x;                         \
                    part[i] += square;                                                             \
                    weighed[i] = f64_multiply_add(square, roundings, weighed[i]);                  \
                    part_of_sum[i] += x;                                                           \
                }                                                                                  \
            }                                                                                      \
            FNN_UNROLL                                                                             \
            for (int i = 0; i < n * lanes / doubles; ++i) {                                        \
                const f64v x = part_of_sum[i], next = sum[i] + x, added = next - sum[i];           \
                all[i] += part[i];                                                                 \
                lost[i] += (sum[i] - (next - added)) + (x - added);                                \
                sum[i] = next;                                                                     \
            }                                                                                      \
        }                                                                                          \
        FNN_UNROLL                                                                                 \
        for (int i = 0; i < n * lanes / doubles; ++i) {                                            \
            f64_store(squares + i * doubles, all[i]);                                              \
            f64_store(rounded + i * doubles, weighed[i]);                                          \
            f64_store(values + i * doubles, sum[i] + lost[i]);                                     \
        }                                                                                          \
        for (int i = 0; i < n; ++i) prefix##_store(cut + i * lanes, cut_off[i]);                   \
        for (int r = 0; r < n * lanes; ++r) is_short[r] = cut[r] == 0;                             \
    }                                                                                              \
    static void name(void *panel, ptrdiff_t width, ptrdiff_t depth, double *centers,               \
                     double *squares, double *rounded, double *values, int *is_short) {            \
        enum { lanes = FNN_LANES(vector, element) };                                               \
        element *v = panel, grids[FNN_MAX_TILE_COLS];                                              \
        ptrdiff_t r = 0;                                                                           \
        for (; r + lanes < width; r += 2 * lanes)                                                  \
            name##_find(v + r, width, depth, 2, centers + r, grids + r);                           \
        if (r < width) name##_find(v + r, width, depth, 1, centers + r, grids + r);                \
        for (r = width; r < FNN_MAX_TILE_COLS; ++r) centers[r] = 0.0;                              \
        for (r = 0; r + lanes < width; r += 2 * lanes)                                             \
            name##_take(v + r, width, depth, 2, centers + r, grids + r, squares + r, rounded + r,  \
                        values + r, is_short + r);                                                 \
        if (r < width)                                                                             \
            name##_take(v + r, width, depth, 1, centers + r, grids + r, squares + r, rounded + r,  \
                        values + r, is_short + r);                                                 \
    }
FNN_DEFINE_CENTER_PANEL(center_panel_f32, f32, f32v, float, widen_f32, (double)FNN_ROUNDINGS(k))
FNN_DEFINE_CENTER_PANEL(center_panel_f64, f64, f64v, double, widen_f64,
                        FNN_SUM_DEPTH + FNN_SUMS_PER_TOTAL +
                            (double)(depth / (FNN_SUM_DEPTH * FNN_SUMS_PER_TOTAL)))

static uint32_t expand(const fnn_expansion *e, const double *sums, const fnn_sides *y, ptrdiff_t n,
                       int narrow, void *distances) {
    const f64v term = f64_splat(e->term), beta = f64_splat(e->beta), factor = f64_splat(e->factor);
    const f64v size = f64_splat(e->size), short_size = f64_splat(e->short_size);
    const f64v center = f64_splat(e->center), shift = f64_splat(e->shift);
    const f64v again = f64_splat(e->again), smallest = f64_splat(e->smallest);
    const f64v largest = f64_splat(e->largest), half = f64_splat(0.5), most = f64_splat(2.0);
    const ptrdiff_t lanes = FNN_LANES(f64v, double);
    const uint32_t all = (1u << lanes) - 1;
    uint32_t spoiled = 0;
    for (ptrdiff_t i = 0; i < n; i += lanes) {
        f64v sum = f64_load(sums + i), both = size + f64_load(y->sizes + i), d;
        if (y->factors) sum *= factor * f64_load(y->factors + i);
        d = (term + f64_load(y->terms + i)) - beta * sum;
        if (y->centers) {
            d += (center - f64_load(y->centers + i)) * (shift - f64_load(y->shifts + i));
            both = f64_min(both, short_size + f64_load(y->short_sizes + i));
        }
        if (e->again >= 0.0)
            spoiled |= (all & ~(f64_at_most(again * both, d) & f64_at_most(smallest, both) &
                                f64_at_most(both, largest)))
                       << i;
        if (e->root) d = f64_sqrt(d);
        if (e->half) d = f64_min(d * half, most);
        if (narrow)
            f32half_store((float *)distances + i, f32half_from_f64(d));
        else
            f64_store((double *)distances + i, d);
    }
    return spoiled;
}

/* ---- linear scores and gradients --------------------------------------------------------- */

/* Sums of a tile, its rows and one vector of weights leave some registers to the compiler, which
 * would else keep a sum in memory. Ten classes, the usual number, are two tiles, and one where
 * there are 32 registers: rows of others' arrays seldom start at a cache line, and so cost twice
 * the loads. */
#if defined(FNN_ISA_AVX512)
#define FNN_DOT_ROWS 2
#define FNN_DOT_WEIGHTS 10
#define FNN_OUTER_WEIGHTS 10
#define FNN_FOR_WIDTHS(CASE, ...) \
    CASE(__VA_ARGS__, 10)         \
    CASE(__VA_ARGS__, 9)          \
    CASE(__VA_ARGS__, 8)          \
    CASE(__VA_ARGS__, 7) CASE(__VA_ARGS__, 6) FNN_FOR_FIVE_WIDTHS(CASE, __VA_ARGS__)
#else
#define FNN_DOT_ROWS 2
#define FNN_DOT_WEIGHTS 5
#define FNN_OUTER_WEIGHTS 5
#define FNN_FOR_WIDTHS(CASE, ...) FNN_FOR_FIVE_WIDTHS(CASE, __VA_ARGS__)
#endif
#define FNN_FOR_FIVE_WIDTHS(CASE, ...) \
    CASE(__VA_ARGS__, 5)               \
    CASE(__VA_ARGS__, 4) CASE(__VA_ARGS__, 3) CASE(__VA_ARGS__, 2) CASE(__VA_ARGS__, 1)

/* A tile is n_rows x n_weights sums along one strip; both are constants where this is inlined. The
 * first weights of a group of rows ask for the next group: interleaved streams are more than
 * the processor follows by itself. */
#define FNN_DEFINE_DOT_TILE(name, prefix, vector, lane, element, LOAD)                           \
    FNN_INLINE void name##_tile(const int n_rows, const int n_weights, const element *const *x,  \
                                const element *const *ahead, const lane *w, ptrdiff_t n,         \
                                double *scores, ptrdiff_t stride) {                              \
        const ptrdiff_t lanes = FNN_LANES(vector, lane), whole = n - n % lanes;                  \
        vector sums[FNN_DOT_ROWS][FNN_DOT_WEIGHTS];                                              \
        FNN_UNROLL                                                                               \
        for (int r = 0; r < n_rows; ++r) FNN_UNROLL                                              \
        for (int c = 0; c < n_weights; ++c) sums[r][c] = prefix##_splat(0);                      \
        for (ptrdiff_t k = 0; k < whole; k += lanes) {                                           \
            vector value[FNN_DOT_ROWS];                                                          \
            FNN_UNROLL                                                                           \
            for (int r = 0; r < n_rows; ++r) {                                                   \
                value[r] = LOAD(x[r] + k);                                                       \
                FNN_KEEP(value[r]);                                                              \
                if (ahead) FNN_PREFETCH(ahead[r] + k);                                           \
            }                                                                                    \
            FNN_UNROLL                                                                           \
            for (int c = 0; c < n_weights; ++c) {                                                \
                vector weight = prefix##_load(w + c * n + k);                                    \
                FNN_KEEP(weight);                                                                \
                FNN_UNROLL                                                                       \
                for (int r = 0; r < n_rows; ++r)                                                 \
                    sums[r][c] = prefix##_multiply_add(value[r], weight, sums[r][c]);            \
            }                                                                                    \
        }                                                                                        \
        FNN_UNROLL                                                                               \
        for (int r = 0; r < n_rows; ++r) FNN_UNROLL                                              \
        for (int c = 0; c < n_weights; ++c) {                                                    \
            double sum = prefix##_sum(sums[r][c]);                                               \
            for (ptrdiff_t k = whole; k < n; ++k) sum += (double)x[r][k] * (double)w[c * n + k]; \
            scores[r * stride + c] += sum;                                                       \
        }                                                                                        \
    }

#define FNN_DOT_CASE(name, width)                                                 \
    case width:                                                                   \
        name##_tile(n_rows, width, x, next, w + c * n, n, scores + c, n_weights); \
        break;
#define FNN_DEFINE_DOT_ROWS(name, prefix, vector, lane, element, LOAD)                             \
    FNN_DEFINE_DOT_TILE(name, prefix, vector, lane, element, LOAD)                                 \
    FNN_INLINE void name##_group(const int n_rows, const element *const *x,                        \
                                 const element *const *ahead, const lane *w, ptrdiff_t n,          \
                                 ptrdiff_t n_weights, double *scores) {                            \
        for (ptrdiff_t c = 0; c < n_weights;) {                                                    \
            const ptrdiff_t left = n_weights - c;                                                  \
            const ptrdiff_t tiles = (left + FNN_DOT_WEIGHTS - 1) / FNN_DOT_WEIGHTS;                \
            const ptrdiff_t width = (left + tiles - 1) / tiles;                                    \
            const element *const *next = c == 0 ? ahead : NULL;                                    \
            switch (width) { FNN_FOR_WIDTHS(FNN_DOT_CASE, name) }                                  \
            c += width;                                                                            \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    static void name(const void *const *rows, ptrdiff_t n_rows, const void *weights,               \
                     ptrdiff_t n_weights, ptrdiff_t n_features, double *scores) {                  \
        const element *const *all = (const element *const *)rows;                                  \
        const lane *w = weights;                                                                   \
        memset(scores, 0, (size_t)(n_rows * n_weights) * sizeof *scores);                          \
        for (ptrdiff_t start = 0; start < n_features; start += FNN_DOT_STRIP) {                    \
            const ptrdiff_t left = n_features - start,                                             \
                            n = left < FNN_DOT_STRIP ? left : FNN_DOT_STRIP;                       \
            for (ptrdiff_t r = 0; r < n_rows;) {                                                   \
                const int together = n_rows - r >= FNN_DOT_ROWS ? FNN_DOT_ROWS : 1;                \
                const element *x[FNN_DOT_ROWS], *ahead[FNN_DOT_ROWS];                              \
                for (int i = 0; i < together; ++i) {                                               \
                    const ptrdiff_t next = r + together + i;                                       \
                    x[i] = all[r + i] + start;                                                     \
                    /* After the last rows come the first ones' next strip. */                     \
                    ahead[i] = next < n_rows ? all[next] + start                                   \
                               : left > n    ? all[(next - n_rows) % n_rows] + start + n           \
                                             : x[i];                                               \
                }                                                                                  \
                if (together == 1)                                                                 \
                    name##_group(1, x, ahead, w, n, n_weights, scores + r * n_weights);            \
                else                                                                               \
                    name##_group(FNN_DOT_ROWS, x, ahead, w, n, n_weights, scores + r * n_weights); \
                r += together;                                                                     \
            }                                                                                      \
            w += n_weights * n;                                                                    \
        }                                                                                          \
    }

/* Two vectors of features of up to FNN_OUTER_WEIGHTS gradients stay in registers while all rows
 * pass. Rows of a power of two bytes fall into one set of the first cache, so the first weights
 * copy what they read to a panel (from bytes: widened), and the others read that. */
#define FNN_OUTER_CASE(name, width)                                                             \
    case width:                                                                                 \
        if (c == 0)                                                                             \
            name##_tile(width, 1, x, next, start + k, n_rows, f + c, n_weights, panel, out, n); \
        else                                                                                    \
            name##_tile(width, 0, x, next, start + k, n_rows, f + c, n_weights, panel, out, n); \
        break;
#define FNN_DEFINE_ADD_OUTER(name, prefix, vector, lane, element, LOAD)                         \
    FNN_INLINE void name##_tile(const int n_weights, const int first, const element *const *x,  \
                                const element *const *ahead, ptrdiff_t k, ptrdiff_t n_rows,     \
                                const lane *factors, ptrdiff_t stride, lane *panel,             \
                                lane *gradient, ptrdiff_t n) {                                  \
        const ptrdiff_t lanes = FNN_LANES(vector, lane);                                        \
        vector sums[FNN_OUTER_WEIGHTS][2];                                                      \
        FNN_UNROLL                                                                              \
        for (int c = 0; c < n_weights; ++c) {                                                   \
            sums[c][0] = prefix##_load(gradient + c * n);                                       \
            sums[c][1] = prefix##_load(gradient + c * n + lanes);                               \
        }                                                                                       \
        for (ptrdiff_t r = 0; r < n_rows; ++r) {                                                \
            vector x0, x1;                                                                      \
            if (first) {                                                                        \
                x0 = LOAD(x[r] + k);                                                            \
                x1 = LOAD(x[r] + k + lanes);                                                    \
                if (ahead)                                                                      \
                    for (ptrdiff_t i = 0; i < 2 * lanes; i += 64 / (ptrdiff_t)sizeof(element))  \
                        FNN_PREFETCH_L2(ahead[r] + k + i);                                      \
                prefix##_store(panel + 2 * lanes * r, x0);                                      \
                prefix##_store(panel + 2 * lanes * r + lanes, x1);                              \
            } else {                                                                            \
                x0 = prefix##_load(panel + 2 * lanes * r);                                      \
                x1 = prefix##_load(panel + 2 * lanes * r + lanes);                              \
            }                                                                                   \
            FNN_UNROLL                                                                          \
            for (int c = 0; c < n_weights; ++c) {                                               \
                vector factor = prefix##_splat(factors[r * stride + c]);                        \
                FNN_KEEP(factor);                                                               \
                sums[c][0] = prefix##_multiply_add(x0, factor, sums[c][0]);                     \
                sums[c][1] = prefix##_multiply_add(x1, factor, sums[c][1]);                     \
            }                                                                                   \
        }                                                                                       \
        FNN_UNROLL                                                                              \
        for (int c = 0; c < n_weights; ++c) {                                                   \
            prefix##_store(gradient + c * n, sums[c][0]);                                       \
            prefix##_store(gradient + c * n + lanes, sums[c][1]);                               \
        }                                                                                       \
    }                                                                                           \
                                                                                                \
    static void name(const void *const *rows, const void *const *ahead, ptrdiff_t n_rows,       \
                     const void *factors, ptrdiff_t n_weights, ptrdiff_t n_features,            \
                     void *gradient) {                                                          \
        const ptrdiff_t lanes = FNN_LANES(vector, lane);                                        \
        const element *const *x = (const element *const *)rows;                                 \
        const element *const *next = (const element *const *)ahead;                             \
        const lane *f = factors;                                                                \
        lane *g = gradient;                                                                     \
        FNN_ALIGNED lane panel[FNN_MAX_BLOCK_ROWS * 2 * FNN_LANES(vector, lane)];               \
        for (ptrdiff_t start = 0; start < n_features; start += FNN_DOT_STRIP) {                 \
            const ptrdiff_t left = n_features - start,                                          \
                            n = left < FNN_DOT_STRIP ? left : FNN_DOT_STRIP;                    \
            const ptrdiff_t whole = n - n % (2 * lanes);                                        \
            for (ptrdiff_t k = 0; k < whole; k += 2 * lanes) {                                  \
                for (ptrdiff_t c = 0; c < n_weights;) {                                         \
                    const ptrdiff_t more = n_weights - c;                                       \
                    const ptrdiff_t tiles = (more + FNN_OUTER_WEIGHTS - 1) / FNN_OUTER_WEIGHTS; \
                    const int width = (int)((more + tiles - 1) / tiles);                        \
                    lane *out = g + c * n + k;                                                  \
                    switch (width) { FNN_FOR_WIDTHS(FNN_OUTER_CASE, name) }                     \
                    c += width;                                                                 \
                }                                                                               \
            }                                                                                   \
            for (ptrdiff_t c = 0; c < n_weights; ++c)                                           \
                for (ptrdiff_t k = whole; k < n; ++k) {                                         \
                    lane sum = 0;                                                               \
                    for (ptrdiff_t r = 0; r < n_rows; ++r)                                      \
                        sum += f[r * n_weights + c] * (lane)x[r][start + k];                    \
                    g[c * n + k] += sum;                                                        \
                }                                                                               \
            g += n_weights * n;                                                                 \
        }                                                                                       \
    }

FNN_DEFINE_DOT_ROWS(dot_rows_f32, f32, f32v, float, float, f32_load)
FNN_DEFINE_DOT_ROWS(dot_rows_u8, f32, f32v, float, uint8_t, f32_from_u8)
FNN_DEFINE_DOT_ROWS(dot_rows_f64, f64, f64v, double, double, f64_load)
FNN_DEFINE_ADD_OUTER(add_outer_f32, f32, f32v, float, float, f32_load)
FNN_DEFINE_ADD_OUTER(add_outer_u8, f32, f32v, float, uint8_t, f32_from_u8)
FNN_DEFINE_ADD_OUTER(add_outer_f64, f64, f64v, double, double, f64_load)

/* ---- losses ------------------------------------------------------------------------------ */

/* e^x for x <= 0, to about two units in the last place: x = n ln 2 + r with |r| <= ln 2 / 2, and
 * e^x = 2^n e^r with the Taylor polynomial of e^r. Adding 1.5 * 2^(digits - 1) rounds to a whole
 * number n and leaves it in the lowest bits; ln 2 is taken in two parts, the first of few digits,
 * so that n times it is exact. What would fall below the normal numbers stays at their end. */
FNN_INLINE f32v f32_exponential(f32v x) {
    static const float inverse_factorials[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6,
                                               0.5f,       1.0f,       1.0f};
    const f32v to_whole = f32_splat(12582912.0f), clipped = f32_max(x, f32_splat(-87.0f));
    const f32v shifted = f32_multiply_add(clipped, f32_splat(1.44269504f), to_whole);
    const f32v n = shifted - to_whole;
    f32v r = f32_multiply_add(n, f32_splat(-0.693359375f), clipped);
    r = f32_multiply_add(n, f32_splat(2.12194440e-4f), r);
    f32v power = f32_splat(1.0f / 5040);
    FNN_UNROLL
    for (int i = 0; i < 7; ++i)
        power = f32_multiply_add(power, r, f32_splat(inverse_factorials[i]));
    return f32_from_bits(f32_to_bits(power) +
                         ((f32_to_bits(shifted) - f32_to_bits(to_whole)) << 23));
}

/* x = n ln 2 + r as above; returns e^r - 1 without cancellation. The polynomial is evaluated in
 * pairs of terms, pairs of pairs, and so on: deep circuits wait for one number at a time. */
FNN_INLINE f64v f64_reduced_exponential(f64v x, f64v *n) {
    static const double inverse_factorials[] = {
        0.5,           1.0 / 6,        1.0 / 24,        1.0 / 120,
        1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
        1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
    *n = f64_round(x * 1.4426950408889634);
    f64v r = f64_multiply_add(*n, f64_splat(-0.693145751953125), x);
    r = f64_multiply_add(*n, f64_splat(-1.42860682030941723e-6), r);
    const f64v square = r * r, fourth = square * square;
    f64v pairs[6], fours[3];
    FNN_UNROLL
    for (int i = 0; i < 6; ++i)
        pairs[i] = f64_multiply_add(f64_splat(inverse_factorials[2 * i + 1]), r,
                                    f64_splat(inverse_factorials[2 * i]));
    FNN_UNROLL
    for (int i = 0; i < 3; ++i) fours[i] = f64_multiply_add(pairs[2 * i + 1], square, pairs[2 * i]);
    const f64v power =
        f64_multiply_add(f64_multiply_add(fours[2], fourth, fours[1]), fourth, fours[0]);
    return f64_multiply_add(square, power, r);
}

FNN_INLINE f64v f64_exponential(f64v x) {
    f64v n;
    const f64v power = f64_reduced_exponential(f64_max(f64_splat(-708.0), x), &n);
    return (power + 1.0) * f64_power_of_two(n);
}

/* Rows whose exponentials are taken in one go, whatever the number of classes. */
#define FNN_LOSS_ROWS 64

/* Conditions become masks, not branches: which margins are missed is anyone's guess. A score times
 * zero is NaN unless it is finite. */
#define FNN_DEFINE_LOSSES(prefix, vector, lane)                                                 \
    /* Four sums at a time: additions that wait for each other would set the pace. */           \
    FNN_INLINE lane sum_of_positive_##prefix(const lane *values, ptrdiff_t n) {                 \
        lane sums[4] = {0, 0, 0, 0};                                                            \
        const ptrdiff_t whole = n - n % 4;                                                      \
        for (ptrdiff_t i = 0; i < whole; i += 4) FNN_UNROLL                                     \
        for (int j = 0; j < 4; ++j) sums[j] += values[i + j] > 0 ? values[i + j] : 0;           \
        for (ptrdiff_t i = whole; i < n; ++i) sums[0] += values[i] > 0 ? values[i] : 0;         \
        return (sums[0] + sums[1]) + (sums[2] + sums[3]);                                       \
    }                                                                                           \
                                                                                                \
    /* Returns 0, or NaN unless all are finite. */                                              \
    static double ones_where_positive_##prefix(lane *values, ptrdiff_t n) {                     \
        const ptrdiff_t lanes = FNN_LANES(vector, lane), whole = n - n % lanes;                 \
        vector spoiled = prefix##_splat(0);                                                     \
        lane rest = 0;                                                                          \
        for (ptrdiff_t i = 0; i < whole; i += lanes) {                                          \
            const vector value = prefix##_load(values + i);                                     \
            spoiled += value * 0;                                                               \
            prefix##_store(values + i, prefix##_where_positive(value, prefix##_splat(1)));      \
        }                                                                                       \
        for (ptrdiff_t i = whole; i < n; ++i) {                                                 \
            rest += values[i] * 0;                                                              \
            values[i] = (lane)(values[i] > 0);                                                  \
        }                                                                                       \
        return prefix##_sum(spoiled) + (double)rest;                                            \
    }                                                                                           \
                                                                                                \
    static double svm_losses_##prefix(const void *scores, const int64_t *labels,                \
                                      const double *weights, ptrdiff_t n_rows,                  \
                                      ptrdiff_t n_classes, double margin, void *gradient) {     \
        double total = 0.0;                                                                     \
        for (ptrdiff_t start = 0; start < n_rows; start += FNN_LOSS_ROWS) {                     \
            const ptrdiff_t left = n_rows - start,                                              \
                            n = left < FNN_LOSS_ROWS ? left : FNN_LOSS_ROWS;                    \
            const lane *first_s = (const lane *)scores + start * n_classes;                     \
            lane *first_g = (lane *)gradient + start * n_classes;                               \
            for (ptrdiff_t r = 0; r < n; ++r) {                                                 \
                const lane *s = first_s + r * n_classes;                                        \
                lane *g = first_g + r * n_classes;                                              \
                const ptrdiff_t y = (ptrdiff_t)labels[start + r];                               \
                const lane right = s[y], shift = (lane)margin - right;                          \
                for (ptrdiff_t c = 0; c < n_classes; ++c) g[c] = s[c] + shift;                  \
                g[y] = right * 0;                                                               \
                total += weights[start + r] * (double)sum_of_positive_##prefix(g, n_classes);   \
            }                                                                                   \
            total += ones_where_positive_##prefix(first_g, n * n_classes);                      \
            for (ptrdiff_t r = 0; r < n; ++r) {                                                 \
                lane *g = first_g + r * n_classes;                                              \
                const lane gain = (lane)weights[start + r];                                     \
                const lane count = sum_of_positive_##prefix(g, n_classes);                      \
                for (ptrdiff_t c = 0; c < n_classes; ++c) g[c] *= gain;                         \
                g[labels[start + r]] = -count * gain;                                           \
            }                                                                                   \
        }                                                                                       \
        return total;                                                                           \
    }                                                                                           \
                                                                                                \
    static void exponentials_##prefix(lane *values, ptrdiff_t n) {                              \
        const ptrdiff_t lanes = FNN_LANES(vector, lane), whole = n - n % lanes;                 \
        lane rest[FNN_LANES(vector, lane)] = {0};                                               \
        for (ptrdiff_t i = 0; i < whole; i += lanes)                                            \
            prefix##_store(values + i, prefix##_exponential(prefix##_load(values + i)));        \
        memcpy(rest, values + whole, (size_t)(n - whole) * sizeof(lane));                       \
        prefix##_store(rest, prefix##_exponential(prefix##_load(rest)));                        \
        memcpy(values + whole, rest, (size_t)(n - whole) * sizeof(lane));                       \
    }                                                                                           \
                                                                                                \
    static double softmax_losses_##prefix(const void *scores, const int64_t *labels,            \
                                          const double *weights, ptrdiff_t n_rows,              \
                                          ptrdiff_t n_classes, double margin, void *gradient) { \
        double total = 0.0, of_label[FNN_LOSS_ROWS];                                            \
        (void)margin;                                                                           \
        for (ptrdiff_t start = 0; start < n_rows; start += FNN_LOSS_ROWS) {                     \
            const ptrdiff_t left = n_rows - start,                                              \
                            n = left < FNN_LOSS_ROWS ? left : FNN_LOSS_ROWS;                    \
            const lane *first_s = (const lane *)scores + start * n_classes;                     \
            lane *first_g = (lane *)gradient + start * n_classes;                               \
            for (ptrdiff_t r = 0; r < n; ++r) {                                                 \
                const lane *s = first_s + r * n_classes;                                        \
                lane *g = first_g + r * n_classes;                                              \
                lane largest = s[0], spoiled = 0;                                               \
                for (ptrdiff_t c = 0; c < n_classes; ++c) {                                     \
                    largest = s[c] > largest ? s[c] : largest;                                  \
                    spoiled += s[c] * 0;                                                        \
                }                                                                               \
                of_label[r] = (double)s[labels[start + r]] - (double)largest + (double)spoiled; \
                for (ptrdiff_t c = 0; c < n_classes; ++c) g[c] = s[c] - largest;                \
            }                                                                                   \
            exponentials_##prefix(first_g, n * n_classes);                                      \
            for (ptrdiff_t r = 0; r < n; ++r) {                                                 \
                lane *g = first_g + r * n_classes;                                              \
                const double weight = weights[start + r];                                       \
                double sum = 0.0;                                                               \
                for (ptrdiff_t c = 0; c < n_classes; ++c) sum += (double)g[c];                  \
                const lane gain = (lane)(weight / sum);                                         \
                for (ptrdiff_t c = 0; c < n_classes; ++c) g[c] *= gain;                         \
                g[labels[start + r]] -= (lane)weight;                                           \
                total += weight * (log(sum) - of_label[r]);                                     \
            }                                                                                   \
        }                                                                                       \
        return total;                                                                           \
    }
FNN_DEFINE_LOSSES(f32, f32v, float)
FNN_DEFINE_LOSSES(f64, f64v, double)

/* ---- descent ----------------------------------------------------------------------------- */

#define FNN_DEFINE_DESCENT(prefix, vector, lane)                                                  \
    static void add_##prefix(const void *addend, ptrdiff_t n, void *sum) {                        \
        const ptrdiff_t lanes = FNN_LANES(vector, lane), whole = n - n % lanes;                   \
        const lane *source = addend;                                                              \
        lane *target = sum;                                                                       \
        for (ptrdiff_t i = 0; i < whole; i += lanes)                                              \
            prefix##_store(target + i, prefix##_load(target + i) + prefix##_load(source + i));    \
        for (ptrdiff_t i = whole; i < n; ++i) target[i] += source[i];                             \
    }                                                                                             \
                                                                                                  \
    FNN_INLINE vector prefix##_descend(const fnn_step *step, vector g, vector *v, vector w) {     \
        const vector momentum = prefix##_splat((lane)step->momentum);                             \
        const vector factor = prefix##_splat((lane)step->factor);                                 \
        const vector decay = prefix##_splat((lane)step->decay);                                   \
        const vector move = prefix##_splat((lane)step->rate) * (factor * g + decay * w);          \
        *v = momentum * *v - move;                                                                \
        return w + (step->nesterov ? momentum * *v - move : *v);                                  \
    }                                                                                             \
                                                                                                  \
    static double descend_##prefix(const fnn_step *step, const void *gradient, ptrdiff_t n,       \
                                   void *velocity, void *weights) {                               \
        const ptrdiff_t lanes = FNN_LANES(vector, lane), whole = n - n % lanes, rest = n - whole; \
        const lane *g = gradient;                                                                 \
        lane *v = velocity, *w = weights;                                                         \
        lane last_g[FNN_LANES(vector, lane)] = {0}, last_v[FNN_LANES(vector, lane)] = {0};        \
        lane last_w[FNN_LANES(vector, lane)] = {0};                                               \
        vector squares = prefix##_splat(0);                                                       \
        for (ptrdiff_t i = 0; i < whole; i += lanes) {                                            \
            vector moved = prefix##_load(v + i);                                                  \
            const vector now =                                                                    \
                prefix##_descend(step, prefix##_load(g + i), &moved, prefix##_load(w + i));       \
            prefix##_store(v + i, moved);                                                         \
            prefix##_store(w + i, now);                                                           \
            squares += now * now;                                                                 \
        }                                                                                         \
        memcpy(last_g, g + whole, (size_t)rest * sizeof(lane));                                   \
        memcpy(last_v, v + whole, (size_t)rest * sizeof(lane));                                   \
        memcpy(last_w, w + whole, (size_t)rest * sizeof(lane));                                   \
        vector moved = prefix##_load(last_v);                                                     \
        const vector now =                                                                        \
            prefix##_descend(step, prefix##_load(last_g), &moved, prefix##_load(last_w));         \
        prefix##_store(last_v, moved);                                                            \
        prefix##_store(last_w, now);                                                              \
        memcpy(v + whole, last_v, (size_t)rest * sizeof(lane));                                   \
        memcpy(w + whole, last_w, (size_t)rest * sizeof(lane));                                   \
        return prefix##_sum(squares + now * now);                                                 \
    }

/* Plain loops, but for the root: the compiler makes vectors of them. */
#define FNN_DEFINE_ADAM(prefix, vector, lane)                                                  \
    static double adapt_##prefix(const fnn_adam_step *step, const void *gradient, ptrdiff_t n, \
                                 void *means, void *squares, void *weights) {                  \
        const ptrdiff_t lanes = FNN_LANES(vector, lane);                                       \
        const lane factor = (lane)step->factor, decay = (lane)step->decay;                     \
        const lane rate = (lane)step->rate, epsilon = (lane)step->epsilon;                     \
        const lane beta_1 = (lane)step->beta_1, beta_2 = (lane)step->beta_2;                   \
        const lane *gradients = gradient;                                                      \
        lane *m = means, *v = squares, *w = weights;                                           \
        double total = 0.0;                                                                    \
        for (ptrdiff_t start = 0; start < n; start += lanes) {                                 \
            const ptrdiff_t left = n - start, k = left < lanes ? left : lanes;                 \
            lane part[4][FNN_LANES(vector, lane)] = {{0}};                                     \
            memcpy(part[0], gradients + start, (size_t)k * sizeof(lane));                      \
            memcpy(part[1], m + start, (size_t)k * sizeof(lane));                              \
            memcpy(part[2], v + start, (size_t)k * sizeof(lane));                              \
            memcpy(part[3], w + start, (size_t)k * sizeof(lane));                              \
            vector now = prefix##_load(part[3]);                                               \
            const vector g = factor * prefix##_load(part[0]) + decay * now;                    \
            const vector mean = beta_1 * prefix##_load(part[1]) + (1 - beta_1) * g;            \
            const vector square = beta_2 * prefix##_load(part[2]) + (1 - beta_2) * g * g;      \
            now -= rate * mean / (prefix##_sqrt(square) + epsilon);                            \
            prefix##_store(part[1], mean);                                                     \
            prefix##_store(part[2], square);                                                   \
            prefix##_store(part[3], now);                                                      \
            memcpy(m + start, part[1], (size_t)k * sizeof(lane));                              \
            memcpy(v + start, part[2], (size_t)k * sizeof(lane));                              \
            memcpy(w + start, part[3], (size_t)k * sizeof(lane));                              \
            total += prefix##_sum(now * now);                                                  \
        }                                                                                      \
        return total;                                                                          \
    }
FNN_DEFINE_ADAM(f32, f32v, float)
FNN_DEFINE_ADAM(f64, f64v, double)
FNN_DEFINE_DESCENT(f32, f32v, float)
FNN_DEFINE_DESCENT(f64, f64v, double)

#define FNN_DEFINE_WHERE_POSITIVE(prefix, vector, lane)                                      \
    static void where_positive_##prefix(const void *x, const void *values, ptrdiff_t n,      \
                                        void *out) {                                         \
        const ptrdiff_t lanes = FNN_LANES(vector, lane), whole = n - n % lanes;              \
        const lane *condition = x, *source = values;                                         \
        lane *target = out;                                                                  \
        for (ptrdiff_t i = 0; i < whole; i += lanes)                                         \
            prefix##_store(target + i, prefix##_where_positive(prefix##_load(condition + i), \
                                                               prefix##_load(source + i)));  \
        for (ptrdiff_t i = whole; i < n; ++i) target[i] = condition[i] <= 0 ? 0 : source[i]; \
    }
FNN_DEFINE_WHERE_POSITIVE(f32, f32v, float)
FNN_DEFINE_WHERE_POSITIVE(f64, f64v, double)

#include "fnn_gates.inc.h"

/* ---- activations of layers ----------------------------------------------------------------- */

/* The gates' functions are of doubles, and exact enough for them; floats take the same way. */
#define FNN_DEFINE_ACTIVATION(name, prefix, lane, FUNCTION, SLOPE)                      \
    static void name##_##prefix(ptrdiff_t n, void *values) {                            \
        const ptrdiff_t lanes = FNN_LANES(f64v, double);                                \
        lane *v = values;                                                               \
        for (ptrdiff_t start = 0; start < n; start += lanes) {                          \
            const ptrdiff_t left = n - start, m = left < lanes ? left : lanes;          \
            double part[FNN_LANES(f64v, double)] = {0};                                 \
            for (ptrdiff_t i = 0; i < m; ++i) part[i] = (double)v[start + i];           \
            f64_store(part, FUNCTION(f64_load(part)));                                  \
            for (ptrdiff_t i = 0; i < m; ++i) v[start + i] = (lane)part[i];             \
        }                                                                               \
    }                                                                                   \
    static void name##_chain_##prefix(const void *outputs, ptrdiff_t n, void *slopes) { \
        const lane *out = outputs;                                                      \
        lane *s = slopes;                                                               \
        for (ptrdiff_t i = 0; i < n; ++i) s[i] *= SLOPE(out[i]);                        \
    }
#define FNN_TANH_SLOPE(out) (1 - (out) * (out))
#define FNN_LOGISTIC_SLOPE(out) ((out) * (1 - (out)))
#define FNN_DEFINE_RELU(prefix)                                                       \
    static void relu_##prefix(ptrdiff_t n, void *values) {                            \
        where_positive_##prefix(values, values, n, values);                           \
    }                                                                                 \
    static void relu_chain_##prefix(const void *outputs, ptrdiff_t n, void *slopes) { \
        where_positive_##prefix(outputs, slopes, n, slopes);                          \
    }
FNN_DEFINE_ACTIVATION(tanh, f32, float, f64_tanh, FNN_TANH_SLOPE)
FNN_DEFINE_ACTIVATION(tanh, f64, double, f64_tanh, FNN_TANH_SLOPE)
FNN_DEFINE_ACTIVATION(logistic, f32, float, f64_sigmoid, FNN_LOGISTIC_SLOPE)
FNN_DEFINE_ACTIVATION(logistic, f64, double, f64_sigmoid, FNN_LOGISTIC_SLOPE)
FNN_DEFINE_RELU(f32)
FNN_DEFINE_RELU(f64)
#define FNN_ACTIVATIONS(prefix)                                                       \
    {                                                                                 \
        {relu_##prefix, relu_chain_##prefix}, {tanh_##prefix, tanh_chain_##prefix}, { \
            logistic_##prefix, logistic_chain_##prefix                                \
        }                                                                             \
    }

/* ---- the table -------------------------------------------------------------------------- */

#define FNN_COLS(vector, lane) (2 * FNN_LANES(vector, lane))
const fnn_kernels FNN_TABLE = {
    .name = FNN_NAME,
    .dot_f32 = {FNN_ROWS, FNN_COLS(f32v, float), 1, 4, dot_f32_scan, dot_f32_partial,
                dot_f32_product},
    .max_f32 = {FNN_MAX_ROWS, FNN_COLS(f32v, float), 1, 4, max_f32_scan, max_f32_partial,
                max_f32_product},
    .largest_f32 = {FNN_MAX_ROWS, FNN_COLS(f32v, float), 1, 4, largest_f32_scan,
                    largest_f32_partial, NULL},
    .chain_f32 = {FNN_CHAIN_ROWS, FNN_COLS(f32v, float), 1, 4, NULL, NULL, chain_product},
    .dot_f64 = {FNN_ROWS, FNN_COLS(f64v, double), 1, 8, NULL, dot_f64_partial, dot_f64_product},
    .max_f64 = {FNN_MAX_ROWS, FNN_COLS(f64v, double), 1, 8, NULL, NULL, max_f64_product},
    .dot_u8 = {FNN_ROWS, FNN_COLS(i32v, int32_t), 2, 4, dot_u8_scan, dot_u8_partial,
               dot_u8_product},
    .sad_u8 = {FNN_ROWS, FNN_COLS(i64v, int64_t), 8, 8, sad_u8_scan, sad_u8_partial,
               sad_u8_product},
    .pack_f32_as_f32 = pack_f32_as_f32,
    .pack_f32_as_f64 = pack_f32_as_f64,
    .pack_f64_as_f32 = pack_f64_as_f32,
    .pack_f64_as_f64 = pack_f64_as_f64,
    .pack_u8_as_s16 = pack_u8_as_s16,
    .pack_u8_as_u8 = pack_u8_as_u8,
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
    .rough_squares = {rough_squares_f32, rough_squares_f64, rough_squares_u8},
    .rough_absolutes = {rough_absolutes_f32, rough_absolutes_f64, rough_absolutes_u8},
    .move_f32 = move_f32,
    .move_f64 = move_f64,
    .move_u8 = move_u8,
    .square_differences = {square_differences_f32, square_differences_f64, square_differences_u8},
    .absolute_differences = {absolute_differences_f32, absolute_differences_f64,
                             absolute_differences_u8},
    .largest_difference = {largest_difference_f32, largest_difference_f64, NULL},
    .block_squares = {{block_squares_f32_points, block_squares_f32_boxes},
                      {block_squares_f64_points, block_squares_f64_boxes},
                      {block_squares_u8_points, block_squares_u8_boxes}},
    .block_absolutes = {{block_absolutes_f32_points, block_absolutes_f32_boxes},
                        {block_absolutes_f64_points, block_absolutes_f64_boxes},
                        {block_absolutes_u8_points, block_absolutes_u8_boxes}},
    .block_largest = {{block_largest_f32_points, block_largest_f32_boxes},
                      {block_largest_f64_points, block_largest_f64_boxes},
                      {block_largest_u8_points, block_largest_u8_boxes}},
    .center_panel_f32 = center_panel_f32,
    .center_panel_f64 = center_panel_f64,
    .expand = expand,
    .linear_f32 = {dot_rows_f32, add_outer_f32, svm_losses_f32, softmax_losses_f32, add_f32,
                   descend_f32, adapt_f32},
    .linear_u8 = {dot_rows_u8, add_outer_u8, svm_losses_f32, softmax_losses_f32, add_f32,
                  descend_f32, adapt_f32},
    .linear_f64 = {dot_rows_f64, add_outer_f64, svm_losses_f64, softmax_losses_f64, add_f64,
                   descend_f64, adapt_f64},
    .where_positive_f32 = where_positive_f32,
    .where_positive_f64 = where_positive_f64,
    .activations_f32 = FNN_ACTIVATIONS(f32),
    .activations_f64 = FNN_ACTIVATIONS(f64),
    .gates = FNN_GATES,
    .sum_f64 = sum_f64,
};
