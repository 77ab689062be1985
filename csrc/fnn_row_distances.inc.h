/* Exact distances, row by row. */

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
                parts[r][p] += TERM(query, WIDEN(y[r] + k + p * lanes));                   \
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
                          TERM(WIDEN(x_tail + p * lanes), WIDEN(y_tail + p * lanes)));     \
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
FNN_INLINE f64v squared_difference(f64v x, f64v y) { return square(x - y); }
FNN_INLINE f64v absolute_difference(f64v x, f64v y) { return magnitude(x - y); }
FNN_INLINE f64v negative_product(f64v x, f64v y) { return -x * y; }
FNN_DEFINE_ROW_DISTANCES(square_differences_f32, float, widen_f32, squared_difference)
FNN_DEFINE_ROW_DISTANCES(square_differences_f64, double, widen_f64, squared_difference)
FNN_DEFINE_ROW_DISTANCES(absolute_differences_f32, float, widen_f32, absolute_difference)
FNN_DEFINE_ROW_DISTANCES(absolute_differences_f64, double, widen_f64, absolute_difference)
FNN_DEFINE_ROW_DISTANCES(negative_products_f32, float, widen_f32, negative_product)
FNN_DEFINE_ROW_DISTANCES(negative_products_f64, double, widen_f64, negative_product)

/* Nearly: differences, and short chains of their squares, in float32, and the chains' totals in
 * float64. So a sum is wrong by FNN_CHAIN_STEPS + 3 roundings of 2^-24 of itself at most, unless it
 * is so small that squares underflow. */
#define FNN_CHAIN_STEPS 16
FNN_INLINE void chain_squares(const float *x, const float *const *y, const int ROWS, ptrdiff_t n,
                              double *sums) {
    const ptrdiff_t lanes = FNN_LANES(f32v, float), whole = n - n % lanes;
    double totals[4][FNN_LANES(f32v, float)];
    memset(totals, 0, sizeof totals);
    for (ptrdiff_t start = 0; start < whole; start += FNN_CHAIN_STEPS * lanes) {
        const ptrdiff_t rest = start + FNN_CHAIN_STEPS * lanes, end = rest < whole ? rest : whole;
        float chains[FNN_LANES(f32v, float)];
        f32v squares[4];
        FNN_UNROLL
        for (int r = 0; r < ROWS; ++r) squares[r] = f32_splat(0);
        for (ptrdiff_t k = start; k < end; k += lanes) {
            const f32v query = f32_load(x + k);
            FNN_UNROLL
            for (int r = 0; r < ROWS; ++r) {
                const f32v difference = query - f32_load(y[r] + k);
                squares[r] = f32_multiply_add(difference, difference, squares[r]);
            }
        }
        FNN_UNROLL
        for (int r = 0; r < ROWS; ++r) {
            f32_store(chains, squares[r]);
            for (ptrdiff_t i = 0; i < lanes; ++i) totals[r][i] += (double)chains[i];
        }
    }
    for (int r = 0; r < ROWS; ++r) {
        sums[r] = 0.0;
        for (ptrdiff_t i = 0; i < lanes; ++i) sums[r] += totals[r][i];
        for (ptrdiff_t k = whole; k < n; ++k) {
            const double difference = (double)x[k] - (double)y[r][k];
            sums[r] += difference * difference;
        }
    }
}
static void chain_squares_f32(const void *query, const void *rows, ptrdiff_t stride,
                              const int64_t *index, ptrdiff_t n, ptrdiff_t n_features,
                              double *distances) {
    const ptrdiff_t row_bytes = stride * (ptrdiff_t)sizeof(float);
    const float *y[4];
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (int r = 0; r < 4; ++r) y[r] = (const float *)row_at(rows, row_bytes, index, i + r, n);
        chain_squares(query, y, 4, n_features, distances + i);
    }
    for (; i < n; ++i) {
        y[0] = (const float *)row_at(rows, row_bytes, index, i, n);
        chain_squares(query, y, 1, n_features, distances + i);
    }
}

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
