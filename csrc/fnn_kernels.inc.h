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
            name##_accumulate(sums, n, q, s);                                                    \
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

/* The scan keeps the sums in one level: its callers allow for depth * 2^-24 (see _knn.pyx). */
#define FNN_DEFINE_SCAN(name, prefix, vector, lane, ROWS)                                       \
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
    }                                                                                           \
                                                                                                \
    static ptrdiff_t name##_scan(const fnn_scan_arguments *a) {                                 \
        const ptrdiff_t depth = a->depth, cols = 2 * FNN_LANES(vector, lane);                   \
        const lane *queries = a->queries, *thresholds = a->thresholds;                          \
        for (ptrdiff_t panel = a->first_panel; panel < a->n_panels; ++panel) {                  \
            vector sums[ROWS][2];                                                               \
            name##_start(sums, (const lane *)a->initial + panel * a->initial_panel_stride,      \
                         a->initial_row_stride);                                                \
            name##_accumulate(sums, depth, queries,                                             \
                              (const lane *)a->samples + panel * a->sample_stride);             \
            vector threshold = prefix##_splat(thresholds[0]);                                   \
            prefix##mask any = prefix##_greater(sums[0][0], threshold);                         \
            any |= prefix##_greater(sums[0][1], threshold);                                     \
            FNN_UNROLL                                                                          \
            for (int r = 1; r < (ROWS); ++r) {                                                  \
                threshold = prefix##_splat(thresholds[r]);                                      \
                any |= prefix##_greater(sums[r][0], threshold);                                 \
                any |= prefix##_greater(sums[r][1], threshold);                                 \
            }                                                                                   \
            if (prefix##_bits(any) == 0) continue;                                              \
            FNN_UNROLL                                                                          \
            for (int r = 0; r < (ROWS); ++r) {                                                  \
                lane *row = (lane *)a->tile + r * cols;                                         \
                threshold = prefix##_splat(thresholds[r]);                                      \
                a->hits[r] = prefix##_bits(prefix##_greater(sums[r][0], threshold)) |           \
                             prefix##_bits(prefix##_greater(sums[r][1], threshold))             \
                                 << FNN_LANES(vector, lane);                                    \
                prefix##_store(row, sums[r][0]);                                                \
                prefix##_store(row + FNN_LANES(vector, lane), sums[r][1]);                      \
            }                                                                                   \
            return panel;                                                                       \
        }                                                                                       \
        return a->n_panels;                                                                     \
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

/* value - center is rounded once to `target`: in float where both are floats (the callers' centers
 * are), else in double. */
#define FNN_DEFINE_PACK(name, source, target, arithmetic, word, INTERLEAVE)                     \
    static void name(const void *rows, ptrdiff_t stride, ptrdiff_t n_rows, ptrdiff_t width,     \
                     ptrdiff_t n_features, const double *center, double scale, void *panel) {   \
        word *out = panel;                                                                      \
        const arithmetic factor = (arithmetic)scale;                                            \
        arithmetic shift[FNN_STRIP];                                                            \
        FNN_DECLARE_STRIP(target, word);                                                        \
        for (ptrdiff_t start = 0; start < n_features; start += FNN_STRIP) {                     \
            const ptrdiff_t left = n_features - start, n = left < FNN_STRIP ? left : FNN_STRIP; \
            for (ptrdiff_t k = 0; k < n; ++k) shift[k] = (arithmetic)center[start + k];         \
            for (ptrdiff_t r = 0; r < n_rows; ++r) {                                            \
                const source *row = (const source *)rows + r * stride + start;                  \
                for (ptrdiff_t k = 0; k < n; ++k)                                               \
                    strip[r][k] = (target)((row[k] - shift[k]) * factor);                       \
            }                                                                                   \
            INTERLEAVE((const word *)strip, width, n, out + start * width);                     \
        }                                                                                       \
    }
FNN_DEFINE_PACK(pack_f32_as_f32, float, float, float, word32, interleave_words32)
FNN_DEFINE_PACK(pack_f32_as_f64, float, double, double, word64, interleave_words64)
FNN_DEFINE_PACK(pack_f64_as_f32, double, float, double, word32, interleave_words32)
FNN_DEFINE_PACK(pack_f64_as_f64, double, double, double, word64, interleave_words64)

/* Centers and scales are whole numbers here: (value - 128) * 1 or * 2 fits an int16, so products
 * and their sums are exact. Words are pairs of features; a last odd one is paired with zero. */
static void pack_u8_as_s16(const void *rows, ptrdiff_t stride, ptrdiff_t n_rows, ptrdiff_t width,
                           ptrdiff_t n_features, const double *center, double scale, void *panel) {
    const int16_t offset = (int16_t)center[0], factor = (int16_t)scale;
    word32 *out = panel;
    FNN_DECLARE_STRIP(int16_t, word32);
    for (ptrdiff_t start = 0; start < n_features; start += 2 * FNN_STRIP) {
        const ptrdiff_t left = n_features - start, n = left < 2 * FNN_STRIP ? left : 2 * FNN_STRIP;
        for (ptrdiff_t r = 0; r < n_rows; ++r) {
            const uint8_t *row = (const uint8_t *)rows + r * stride + start;
            for (ptrdiff_t k = 0; k < n; ++k) strip[r][k] = (int16_t)((row[k] - offset) * factor);
            if (n % 2) strip[r][n] = 0;
        }
        interleave_words32((const word32 *)strip, width, (n + 1) / 2, out + start / 2 * width);
    }
}

static void pack_u8_as_u8(const void *rows, ptrdiff_t stride, ptrdiff_t n_rows, ptrdiff_t width,
                          ptrdiff_t n_features, const double *center, double scale, void *panel) {
    word64 *out = panel;
    FNN_DECLARE_STRIP(uint8_t, word64);
    (void)center;
    (void)scale;
    for (ptrdiff_t start = 0; start < n_features; start += 8 * FNN_STRIP) {
        const ptrdiff_t left = n_features - start, n = left < 8 * FNN_STRIP ? left : 8 * FNN_STRIP;
        for (ptrdiff_t r = 0; r < n_rows; ++r) {
            memcpy(strip[r], (const uint8_t *)rows + r * stride + start, (size_t)n);
            memset(strip[r] + n, 0, (size_t)((8 - n % 8) % 8));
        }
        interleave_words64((const word64 *)strip, width, (n + 7) / 8, out + start / 8 * width);
    }
}

/* In two levels, so that the error hardly grows with the depth. */
#define FNN_DEFINE_PANEL_SUMS(name, element, TERM)                                                 \
    static void name(const void *panel, ptrdiff_t width, ptrdiff_t depth, double *sums) {          \
        const element *values = panel;                                                             \
        double part[FNN_MAX_TILE_COLS];                                                            \
        for (ptrdiff_t r = 0; r < width; ++r) sums[r] = 0.0;                                       \
        for (ptrdiff_t start = 0; start < depth; start += FNN_SUM_DEPTH) {                         \
            const ptrdiff_t left = depth - start, n = left < FNN_SUM_DEPTH ? left : FNN_SUM_DEPTH; \
            for (ptrdiff_t r = 0; r < width; ++r) part[r] = 0.0;                                   \
            for (ptrdiff_t k = 0; k < n; ++k, values += width)                                     \
                for (ptrdiff_t r = 0; r < width; ++r) {                                            \
                    const double v = (double)values[r];                                            \
                    part[r] += TERM;                                                               \
                }                                                                                  \
            for (ptrdiff_t r = 0; r < width; ++r) sums[r] += part[r];                              \
        }                                                                                          \
    }
FNN_DEFINE_PANEL_SUMS(squares_f32, float, v *v)
FNN_DEFINE_PANEL_SUMS(values_f32, float, v)
FNN_DEFINE_PANEL_SUMS(magnitudes_f32, float, (v < 0 ? -v : v))
FNN_DEFINE_PANEL_SUMS(squares_f64, double, v *v)
FNN_DEFINE_PANEL_SUMS(values_f64, double, v)
FNN_DEFINE_PANEL_SUMS(magnitudes_f64, double, (v < 0 ? -v : v))

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

FNN_INLINE f64v widen_f32(const float *values) { return f64_from_f32half(f32half_load(values)); }
FNN_INLINE f64v widen_f64(const double *values) { return f64_load(values); }

FNN_INLINE f64v square(f64v difference) { return difference * difference; }
FNN_INLINE f64v magnitude(f64v difference) { return f64_max(difference, -difference); }

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
            double values[FNN_LANES(f64v, double)], sums[FNN_LANES(f64v, double)];                \
            double largest = 0.0, sum = 0.0;                                                      \
            f64v part = f64_splat(0.0), part_sum = part;                                          \
            for (ptrdiff_t k = 0; k < whole; k += lanes) {                                        \
                const f64v difference = magnitude(WIDEN(x + k) - WIDEN(y + k));                   \
                part = f64_max(part, difference);                                                 \
                part_sum += difference;                                                           \
            }                                                                                     \
            f64_store(values, part);                                                              \
            f64_store(sums, part_sum);                                                            \
            for (ptrdiff_t k = 0; k < n_features - whole + lanes; ++k) {                          \
                const ptrdiff_t rest = whole + k - lanes;                                         \
                const double difference =                                                         \
                    k < lanes ? values[k] : fabs((double)x[rest] - (double)y[rest]);              \
                largest = difference > largest ? difference : largest;                            \
                sum += k < lanes ? sums[k] : difference;                                          \
            }                                                                                     \
            distances[i] = sum == sum ? largest : sum;                                            \
        }                                                                                         \
    }
FNN_DEFINE_LARGEST_DIFFERENCE(largest_difference_f32, float, widen_f32)
FNN_DEFINE_LARGEST_DIFFERENCE(largest_difference_f64, double, widen_f64)

/* Whole numbers: exact in any order, so the compiler may choose it. 255^2 * 16384 < 2^31. */
#define FNN_BYTES_PER_SUM 16384
#define FNN_DEFINE_BYTE_DISTANCES(name, TERM)                                                     \
    static void name(const void *query, const void *rows, ptrdiff_t stride, const int64_t *index, \
                     ptrdiff_t n, ptrdiff_t n_features, double *distances) {                      \
        for (ptrdiff_t i = 0; i < n; ++i) {                                                       \
            const uint8_t *x = query, *y = (const uint8_t *)row_at(rows, stride, index, i, n);    \
            int64_t total = 0;                                                                    \
            for (ptrdiff_t start = 0; start < n_features; start += FNN_BYTES_PER_SUM) {           \
                const ptrdiff_t left = n_features - start,                                        \
                                stop = left < FNN_BYTES_PER_SUM ? left : FNN_BYTES_PER_SUM;       \
                int32_t sum = 0;                                                                  \
                for (ptrdiff_t k = start; k < start + stop; ++k) {                                \
                    const int difference = x[k] - y[k];                                           \
                    sum += TERM;                                                                  \
                }                                                                                 \
                total += sum;                                                                     \
            }                                                                                     \
            distances[i] = (double)total;                                                         \
        }                                                                                         \
    }
FNN_DEFINE_BYTE_DISTANCES(square_differences_u8, difference *difference)
FNN_DEFINE_BYTE_DISTANCES(absolute_differences_u8, (difference < 0 ? -difference : difference))

/* ---- distances from sums ----------------------------------------------------------------- */

static int expand(const fnn_expansion *e, const double *sums, const double *terms,
                  const double *sizes, ptrdiff_t n, double *distances) {
    const double term = e->term, beta = e->beta, size = e->size, again = e->again;
    const double smallest = e->smallest, largest = e->largest, unscale = e->unscale;
    int64_t spoiled = 0;
    for (ptrdiff_t i = 0; i < n; ++i) distances[i] = term + terms[i] - beta * sums[i];
    if (again >= 0.0)
        for (ptrdiff_t i = 0; i < n; ++i) {
            const double both = size + sizes[i];
            spoiled |= !(distances[i] > both * again) | !(smallest < both) | !(both < largest);
        }
    if (e->root)
        for (ptrdiff_t i = 0; i < n; ++i) distances[i] = sqrt(distances[i]) * unscale;
    else
        for (ptrdiff_t i = 0; i < n; ++i) distances[i] *= unscale;
    return spoiled != 0;
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
    .dot_f64 = {FNN_ROWS, FNN_COLS(f64v, double), 1, 8, NULL, NULL, dot_f64_product},
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
    .squares_f32 = squares_f32,
    .values_f32 = values_f32,
    .magnitudes_f32 = magnitudes_f32,
    .squares_f64 = squares_f64,
    .values_f64 = values_f64,
    .magnitudes_f64 = magnitudes_f64,
    .square_differences = {square_differences_f32, square_differences_f64, square_differences_u8},
    .absolute_differences = {absolute_differences_f32, absolute_differences_f64,
                             absolute_differences_u8},
    .largest_difference = {largest_difference_f32, largest_difference_f64, NULL},
    .expand = expand,
};
