/* Tiles: sums over the features of a panel of queries and a panel of samples. */
#include "fnn_tile_loops.h"

/* One family: how a step changes an accumulator, for a query word already broadcast. */
#define FNN_STEP_DOT_F32(sum, q, s) f32_multiply_add(q, s, sum)
#define FNN_STEP_MAX_F32(sum, q, s) f32_minus(sum, f32_max(q, s))
#define FNN_STEP_CHEBYSHEV_F32(sum, q, s) f32_min(sum, f32_min(q - s, s - q))
#define FNN_STEP_DOT_F64(sum, q, s) f64_multiply_add(q, s, sum)
#define FNN_STEP_MAX_F64(sum, q, s) f64_minus(sum, f64_max(q, s))
#define FNN_STEP_DOT_U8(sum, q, s) ((sum) + i32_pair_dot(q, s))
#define FNN_STEP_SAD_U8(sum, q, s) ((sum) - i64_byte_sad(q, s))

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

FNN_DEFINE_ACCUMULATE(dot_f32, f32, f32v, float, FNN_ROWS, FNN_STEP_DOT_F32)
FNN_DEFINE_ACCUMULATE(max_f32, f32, f32v, float, FNN_MAX_ROWS, FNN_STEP_MAX_F32)
FNN_DEFINE_ACCUMULATE(dot_f64, f64, f64v, double, FNN_ROWS, FNN_STEP_DOT_F64)
FNN_DEFINE_ACCUMULATE(max_f64, f64, f64v, double, FNN_MAX_ROWS, FNN_STEP_MAX_F64)
FNN_DEFINE_ACCUMULATE(dot_u8, i32, i32v, int32_t, FNN_ROWS, FNN_STEP_DOT_U8)
FNN_DEFINE_ACCUMULATE(sad_u8, i64, i64v, int64_t, FNN_ROWS, FNN_STEP_SAD_U8)
FNN_DEFINE_ACCUMULATE(chebyshev_f32, f32, f32v, float, FNN_MAX_ROWS, FNN_STEP_CHEBYSHEV_F32)
FNN_DEFINE_PRODUCT(dot_f32, f32, f32v, float, FNN_ROWS)
FNN_DEFINE_PRODUCT(dot_f64, f64, f64v, double, FNN_ROWS)
FNN_DEFINE_PARTIAL(dot_f64, f64, f64v, double, FNN_ROWS)
FNN_DEFINE_PRODUCT(max_f64, f64, f64v, double, FNN_MAX_ROWS)
FNN_DEFINE_PRODUCT(dot_u8, i32, i32v, int32_t, FNN_ROWS)
FNN_DEFINE_PRODUCT(sad_u8, i64, i64v, int64_t, FNN_ROWS)
FNN_DEFINE_SCAN(dot_f32, f32, f32v, float, FNN_ROWS)
FNN_DEFINE_SCAN(max_f32, f32, f32v, float, FNN_MAX_ROWS)
FNN_DEFINE_SCAN(dot_u8, i32, i32v, int32_t, FNN_ROWS)
FNN_DEFINE_SCAN(sad_u8, i64, i64v, int64_t, FNN_ROWS)
FNN_DEFINE_SCAN(chebyshev_f32, f32, f32v, float, FNN_MAX_ROWS)

/* Four features a step of bytes that have seven bits, 0 to 127 times -64 to 63: two products of two
 * steps fit 16 bits, 4 * 127 * 64 < 2^15. Sums of them become 32 bits wide. */
#if defined(FNN_NARROW_ROWS)
FNN_INLINE i32v i32_add_narrow(i32v sum, i16v products) {
    return sum + i32_pair_dot((i32v)products, i32_splat(0x10001));
}
FNN_INLINE void narrow_u8_accumulate(i32v sums[FNN_NARROW_ROWS][2], ptrdiff_t depth,
                                     const int32_t *q, const int32_t *s) {
    const ptrdiff_t lanes = FNN_LANES(i32v, int32_t);
    for (; depth > 1; depth -= 2) {
        const i32v s00 = i32_load(s), s01 = i32_load(s + lanes);
        const i32v s10 = i32_load(s + 2 * lanes), s11 = i32_load(s + 3 * lanes);
        FNN_UNROLL
        for (int r = 0; r < FNN_NARROW_ROWS; ++r) {
            const i32v q0 = i32_splat(q[r]), q1 = i32_splat(q[FNN_NARROW_ROWS + r]);
            sums[r][0] = i32_add_narrow(sums[r][0], i16_byte_dot(q0, s00) + i16_byte_dot(q1, s10));
            sums[r][1] = i32_add_narrow(sums[r][1], i16_byte_dot(q0, s01) + i16_byte_dot(q1, s11));
        }
        q += 2 * FNN_NARROW_ROWS;
        s += 4 * lanes;
    }
    if (depth > 0) {
        const i32v s0 = i32_load(s), s1 = i32_load(s + lanes);
        FNN_UNROLL
        for (int r = 0; r < FNN_NARROW_ROWS; ++r) {
            const i32v word = i32_splat(q[r]);
            sums[r][0] = i32_add_narrow(sums[r][0], i16_byte_dot(word, s0));
            sums[r][1] = i32_add_narrow(sums[r][1], i16_byte_dot(word, s1));
        }
    }
}
FNN_DEFINE_SCAN(narrow_u8, i32, i32v, int32_t, FNN_NARROW_ROWS)
#endif

/* Layers of networks seldom have whole tiles of units: 100 are eight of 12 and a third of one. */
_Static_assert(FNN_ROWS % 3 == 0, "a tile has thirds");
#define FNN_DEFINE_THIRDS(name, prefix, vector, lane, STEP)                                      \
    FNN_DEFINE_ACCUMULATE_SOME(third_##name, prefix, vector, lane, FNN_ROWS / 3, FNN_ROWS, STEP) \
    FNN_DEFINE_ACCUMULATE_SOME(thirds_##name, prefix, vector, lane, 2 * FNN_ROWS / 3, FNN_ROWS,  \
                               STEP)                                                             \
    FNN_DEFINE_PARTIAL(third_##name, prefix, vector, lane, FNN_ROWS / 3)                         \
    FNN_DEFINE_PARTIAL(thirds_##name, prefix, vector, lane, 2 * FNN_ROWS / 3)
FNN_DEFINE_THIRDS(dot_f32, f32, f32v, float, FNN_STEP_DOT_F32)
FNN_DEFINE_THIRDS(dot_f64, f64, f64v, double, FNN_STEP_DOT_F64)
