/* Linear scores and gradients. */

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
