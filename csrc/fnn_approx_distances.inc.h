/* Approximate distances: which rows are worth an exact one. */

/* Rows are asked for so far ahead: more than the processor does by itself for two in a row, and
 * what it cannot know of rows that an index names. */
#define FNN_BYTES_AHEAD 6144

#define FNN_ADD_SQUARE_F32(sum, d) f32_multiply_add(d, d, sum)
#define FNN_ADD_SQUARE_F64(sum, d) f64_multiply_add(d, d, sum)
#define FNN_ADD_MAGNITUDE_F32(sum, d) ((sum) + f32_magnitude(d))
#define FNN_ADD_MAGNITUDE_F64(sum, d) ((sum) + f64_magnitude(d))

/* ROWS rows meet QUERIES queries, whose loads they share; each lane sums what it meets. */
#define FNN_DEFINE_APPROX_SOME(name, prefix, vector, element, ADD, SQUARED)                  \
    FNN_INLINE void name##_some(const element *x, ptrdiff_t query_stride, const int QUERIES, \
                                const element *y, ptrdiff_t stride, const int ROWS,          \
                                const ptrdiff_t *ahead, ptrdiff_t d, ptrdiff_t n,            \
                                double *distances) {                                         \
        const ptrdiff_t lanes = FNN_LANES(vector, element), whole = d - d % lanes;           \
        vector sums[FNN_APPROX_QUERIES][2];                                                  \
        FNN_UNROLL                                                                           \
        for (int q = 0; q < QUERIES; ++q) FNN_UNROLL                                         \
        for (int r = 0; r < ROWS; ++r) sums[q][r] = prefix##_splat(0);                       \
        for (ptrdiff_t k = 0; k < whole; k += lanes) {                                       \
            vector values[2];                                                                \
            FNN_UNROLL                                                                       \
            for (int r = 0; r < ROWS; ++r) {                                                 \
                const element *place = y + r * stride + k;                                   \
                values[r] = prefix##_load(place);                                            \
                FNN_PREFETCH((const char *)place + ahead[r]);                                \
            }                                                                                \
            FNN_UNROLL                                                                       \
            for (int q = 0; q < QUERIES; ++q) {                                              \
                const vector query = prefix##_load(x + q * query_stride + k);                \
                FNN_UNROLL                                                                   \
                for (int r = 0; r < ROWS; ++r) {                                             \
                    const vector difference = query - values[r];                             \
                    sums[q][r] = ADD(sums[q][r], difference);                                \
                }                                                                            \
            }                                                                                \
        }                                                                                    \
        for (int q = 0; q < QUERIES; ++q)                                                    \
            for (int r = 0; r < ROWS; ++r) {                                                 \
                double total = prefix##_sum(sums[q][r]);                                     \
                for (ptrdiff_t k = whole; k < d; ++k) {                                      \
                    const double difference =                                                \
                        (double)x[q * query_stride + k] - (double)y[r * stride + k];         \
                    total += SQUARED ? difference * difference : fabs(difference);           \
                }                                                                            \
                distances[q * n + r] = total;                                                \
            }                                                                                \
    }
FNN_DEFINE_APPROX_SOME(approx_squares_f32, f32, f32v, float, FNN_ADD_SQUARE_F32, 1)
FNN_DEFINE_APPROX_SOME(approx_squares_f64, f64, f64v, double, FNN_ADD_SQUARE_F64, 1)
FNN_DEFINE_APPROX_SOME(approx_absolutes_f32, f32, f32v, float, FNN_ADD_MAGNITUDE_F32, 0)
FNN_DEFINE_APPROX_SOME(approx_absolutes_f64, f64, f64v, double, FNN_ADD_MAGNITUDE_F64, 0)

/* The same for bytes, whose sums are exact: see FNN_DEFINE_BYTE_SUM. */
#define FNN_DEFINE_APPROX_BYTES_SOME(name, prefix, vector, BYTES, STEP)                           \
    FNN_INLINE void name##_some(const uint8_t *x, ptrdiff_t query_stride, const int QUERIES,      \
                                const uint8_t *y, ptrdiff_t stride, const int ROWS,               \
                                const ptrdiff_t *ahead, ptrdiff_t d, ptrdiff_t n,                 \
                                double *distances) {                                              \
        const ptrdiff_t all_whole = d - d % (BYTES);                                              \
        int64_t totals[FNN_APPROX_QUERIES][2] = {{0}};                                            \
        for (ptrdiff_t start = 0; start < d; start += FNN_BYTES_PER_SUM) {                        \
            const ptrdiff_t end = start + FNN_BYTES_PER_SUM;                                      \
            const ptrdiff_t whole = end < all_whole ? end : all_whole;                            \
            vector sums[FNN_APPROX_QUERIES][2];                                                   \
            FNN_UNROLL                                                                            \
            for (int q = 0; q < QUERIES; ++q) FNN_UNROLL                                          \
            for (int r = 0; r < ROWS; ++r) sums[q][r] = prefix##_splat(0);                        \
            for (ptrdiff_t k = start; k < whole; k += (BYTES)) {                                  \
                FNN_UNROLL                                                                        \
                for (int r = 0; r < ROWS; ++r)                                                    \
                    FNN_PREFETCH((const char *)(y + r * stride + k) + ahead[r]);                  \
                FNN_UNROLL                                                                        \
                for (int q = 0; q < QUERIES; ++q) FNN_UNROLL                                      \
                for (int r = 0; r < ROWS; ++r)                                                    \
                    sums[q][r] += STEP(x + q * query_stride + k, y + r * stride + k);             \
            }                                                                                     \
            if (end >= d && all_whole < d) {                                                      \
                uint8_t last_of_x[FNN_APPROX_QUERIES][BYTES], last_of_y[2][BYTES];                \
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
FNN_DEFINE_APPROX_BYTES_SOME(approx_squares_u8, i32, i32v, FNN_HALF_BYTES, i32_byte_squares)
FNN_DEFINE_APPROX_BYTES_SOME(approx_absolutes_u8, i64, i64v, (ptrdiff_t)sizeof(i64v), sad_of)

#define FNN_DEFINE_APPROX(name, element)                                                    \
    static void name(const void *queries, ptrdiff_t query_stride, ptrdiff_t n_queries,      \
                     const void *rows, ptrdiff_t stride, const int64_t *index, ptrdiff_t n, \
                     ptrdiff_t d, double *distances) {                                      \
        const element *x = queries, *y = rows;                                              \
        const ptrdiff_t row_bytes = stride * (ptrdiff_t)sizeof(element);                    \
        const ptrdiff_t rows_ahead = (FNN_BYTES_AHEAD / row_bytes + 2) / 2 * 2;             \
        ptrdiff_t i = 0, apart = stride, ahead[2] = {FNN_BYTES_AHEAD, FNN_BYTES_AHEAD};     \
        for (; i + 2 <= n; i += 2, distances += 2) {                                        \
            const element *pair = y + (index ? index[i] : i) * stride;                      \
            if (index) {                                                                    \
                apart = (index[i + 1] - index[i]) * stride;                                 \
                for (int r = 0; r < 2; ++r)                                                 \
                    ahead[r] = i + r + rows_ahead < n                                       \
                                   ? (index[i + r + rows_ahead] - index[i + r]) * row_bytes \
                                   : 0;                                                     \
            }                                                                               \
            if (n_queries == 1)                                                             \
                name##_some(x, query_stride, 1, pair, apart, 2, ahead, d, n, distances);    \
            else if (n_queries == 2)                                                        \
                name##_some(x, query_stride, 2, pair, apart, 2, ahead, d, n, distances);    \
            else if (n_queries == 3)                                                        \
                name##_some(x, query_stride, 3, pair, apart, 2, ahead, d, n, distances);    \
            else                                                                            \
                name##_some(x, query_stride, 4, pair, apart, 2, ahead, d, n, distances);    \
        }                                                                                   \
        for (ptrdiff_t q = 0; i < n && q < n_queries; ++q)                                  \
            name##_some(x + q * query_stride, query_stride, 1,                              \
                        y + (index ? index[i] : i) * stride, stride, 1, ahead, d, n,        \
                        distances + q * n);                                                 \
    }
FNN_DEFINE_APPROX(approx_squares_f32, float)
FNN_DEFINE_APPROX(approx_squares_f64, double)
FNN_DEFINE_APPROX(approx_squares_u8, uint8_t)
FNN_DEFINE_APPROX(approx_absolutes_f32, float)
FNN_DEFINE_APPROX(approx_absolutes_f64, double)
FNN_DEFINE_APPROX(approx_absolutes_u8, uint8_t)

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
