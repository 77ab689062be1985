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

/* The sums of four vectors' lanes, in a third of the steps that one vector after the other takes.
 * Floats are added up within each 16 bytes as such, and these sums in float64. */
#if defined(FNN_ISA_AVX512)
FNN_INLINE void f32_sum_four(f32v a, f32v b, f32v c, f32v d, double *sums) {
    const __m512 ab = _mm512_unpacklo_ps(a, b) + _mm512_unpackhi_ps(a, b);
    const __m512 cd = _mm512_unpacklo_ps(c, d) + _mm512_unpackhi_ps(c, d);
    const __m512 all = _mm512_shuffle_ps(ab, cd, 0x44) + _mm512_shuffle_ps(ab, cd, 0xee);
    const __m512d wide = _mm512_cvtps_pd(_mm512_castps512_ps256(all)) +
                         _mm512_cvtps_pd(_mm512_extractf32x8_ps(all, 1));
    _mm256_storeu_pd(sums, _mm512_castpd512_pd256(wide) + _mm512_extractf64x4_pd(wide, 1));
}
#elif defined(FNN_ISA_AVX2)
FNN_INLINE void f32_sum_four(f32v a, f32v b, f32v c, f32v d, double *sums) {
    const __m256 ab = _mm256_unpacklo_ps(a, b) + _mm256_unpackhi_ps(a, b);
    const __m256 cd = _mm256_unpacklo_ps(c, d) + _mm256_unpackhi_ps(c, d);
    const __m256 all = _mm256_shuffle_ps(ab, cd, 0x44) + _mm256_shuffle_ps(ab, cd, 0xee);
    _mm256_storeu_pd(sums, _mm256_cvtps_pd(_mm256_castps256_ps128(all)) +
                               _mm256_cvtps_pd(_mm256_extractf128_ps(all, 1)));
}
#else
FNN_INLINE void f32_sum_four(f32v a, f32v b, f32v c, f32v d, double *sums) {
    sums[0] = f32_sum(a), sums[1] = f32_sum(b), sums[2] = f32_sum(c), sums[3] = f32_sum(d);
}
#endif
FNN_INLINE void f64_sum_four(f64v a, f64v b, f64v c, f64v d, double *sums) {
    sums[0] = f64_sum(a), sums[1] = f64_sum(b), sums[2] = f64_sum(c), sums[3] = f64_sum(d);
}

/* A tile is n_rows x n_weights sums along one strip; both are constants where this is inlined. The
 * first weights of a group of rows ask for the next group: interleaved streams are more than
 * the processor follows by itself. */
#define FNN_DEFINE_DOT_TILE(name, prefix, vector, lane, element, LOAD)                            \
    static FNN_NOINLINE double name##_rest(const element *x, const lane *w, ptrdiff_t k,          \
                                           ptrdiff_t n) {                                         \
        double sum = 0;                                                                           \
        for (; k < n; ++k) sum += (double)x[k] * (double)w[k];                                    \
        return sum;                                                                               \
    }                                                                                             \
                                                                                                  \
    FNN_INLINE void name##_tile(const int n_rows, const int n_weights, const element *const *x,   \
                                const element *const *ahead, const lane *w, ptrdiff_t n,          \
                                double *scores, ptrdiff_t stride) {                               \
        const ptrdiff_t lanes = FNN_LANES(vector, lane), whole = n - n % lanes;                   \
        vector sums[FNN_DOT_ROWS][FNN_DOT_WEIGHTS];                                               \
        FNN_UNROLL                                                                                \
        for (int r = 0; r < n_rows; ++r) FNN_UNROLL                                               \
        for (int c = 0; c < n_weights; ++c) sums[r][c] = prefix##_splat(0);                       \
        for (ptrdiff_t k = 0; k < whole; k += lanes) {                                            \
            vector value[FNN_DOT_ROWS];                                                           \
            FNN_UNROLL                                                                            \
            for (int r = 0; r < n_rows; ++r) {                                                    \
                value[r] = LOAD(x[r] + k);                                                        \
                FNN_KEEP(value[r]);                                                               \
                if (ahead) FNN_PREFETCH(ahead[r] + k);                                            \
            }                                                                                     \
            FNN_UNROLL                                                                            \
            for (int c = 0; c < n_weights; ++c) {                                                 \
                vector weight = prefix##_load(w + c * n + k);                                     \
                FNN_KEEP(weight);                                                                 \
                FNN_UNROLL                                                                        \
                for (int r = 0; r < n_rows; ++r)                                                  \
                    sums[r][c] = prefix##_multiply_add(value[r], weight, sums[r][c]);             \
            }                                                                                     \
        }                                                                                         \
        FNN_UNROLL                                                                                \
        for (int r = 0; r < n_rows; ++r) FNN_UNROLL                                               \
        for (int c = 0; c < n_weights; c += 4) {                                                  \
            const vector none = prefix##_splat(0);                                                \
            const int more = n_weights - c;                                                       \
            double four[4];                                                                       \
            prefix##_sum_four(sums[r][c], more > 1 ? sums[r][c + 1] : none,                       \
                              more > 2 ? sums[r][c + 2] : none, more > 3 ? sums[r][c + 3] : none, \
                              four);                                                              \
            FNN_UNROLL                                                                            \
            for (int i = 0; i < (more < 4 ? more : 4); ++i) {                                     \
                if (whole < n) four[i] += name##_rest(x[r], w + (c + i) * n, whole, n);           \
                scores[r * stride + c + i] += four[i];                                            \
            }                                                                                     \
        }                                                                                         \
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
 * pass. Rows of a power of two bytes fall into one set of the first cache, so where more weights
 * follow, the first ones copy what they read to a panel (from bytes: widened), and the others read
 * that. */
#define FNN_OUTER_CASE(name, width)                                                               \
    case width:                                                                                   \
        if (x)                                                                                    \
            name##_tile(width, 1, x, ahead, k, n_rows, factors + c, n_weights, panel, out, step); \
        else                                                                                      \
            name##_tile(width, 0, x, ahead, k, n_rows, factors + c, n_weights, panel, out, step); \
        break;
#define FNN_DEFINE_ADD_OUTER(name, prefix, vector, lane, element, LOAD)                            \
    FNN_INLINE void name##_tile(const int n_weights, const int first, const element *const *x,     \
                                const element *const *ahead, ptrdiff_t k, ptrdiff_t n_rows,        \
                                const lane *factors, ptrdiff_t stride, lane *panel,                \
                                lane *gradient, ptrdiff_t n) {                                     \
        const ptrdiff_t lanes = FNN_LANES(vector, lane);                                           \
        const int copies = stride > n_weights;                                                     \
        vector sums[FNN_OUTER_WEIGHTS][2];                                                         \
        FNN_UNROLL                                                                                 \
        for (int c = 0; c < n_weights; ++c) {                                                      \
            sums[c][0] = prefix##_load(gradient + c * n);                                          \
            sums[c][1] = prefix##_load(gradient + c * n + lanes);                                  \
        }                                                                                          \
        for (ptrdiff_t r = 0; r < n_rows; ++r) {                                                   \
            vector x0, x1;                                                                         \
            if (first) {                                                                           \
                x0 = LOAD(x[r] + k);                                                               \
                x1 = LOAD(x[r] + k + lanes);                                                       \
                if (ahead)                                                                         \
                    for (ptrdiff_t i = 0; i < 2 * lanes; i += 64 / (ptrdiff_t)sizeof(element))     \
                        FNN_PREFETCH_L2(ahead[r] + k + i);                                         \
                if (copies) {                                                                      \
                    prefix##_store(panel + 2 * lanes * r, x0);                                     \
                    prefix##_store(panel + 2 * lanes * r + lanes, x1);                             \
                }                                                                                  \
            } else {                                                                               \
                x0 = prefix##_load(panel + 2 * lanes * r);                                         \
                x1 = prefix##_load(panel + 2 * lanes * r + lanes);                                 \
            }                                                                                      \
            FNN_UNROLL                                                                             \
            for (int c = 0; c < n_weights; ++c) {                                                  \
                vector factor = prefix##_splat(factors[r * stride + c]);                           \
                FNN_KEEP(factor);                                                                  \
                sums[c][0] = prefix##_multiply_add(x0, factor, sums[c][0]);                        \
                sums[c][1] = prefix##_multiply_add(x1, factor, sums[c][1]);                        \
            }                                                                                      \
        }                                                                                          \
        FNN_UNROLL                                                                                 \
        for (int c = 0; c < n_weights; ++c) {                                                      \
            prefix##_store(gradient + c * n, sums[c][0]);                                          \
            prefix##_store(gradient + c * n + lanes, sums[c][1]);                                  \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    /* Features k to k + columns of all gradients. Where they do not fill a tile, zeros do. */     \
    FNN_INLINE void name##_columns(const element *const *rows, const element *const *ahead,        \
                                   ptrdiff_t k, ptrdiff_t columns, ptrdiff_t n_rows,               \
                                   const lane *factors, ptrdiff_t n_weights, lane *panel,          \
                                   lane *gradient, ptrdiff_t n) {                                  \
        const ptrdiff_t both = 2 * FNN_LANES(vector, lane);                                        \
        FNN_ALIGNED lane edge[FNN_OUTER_WEIGHTS * 2 * FNN_LANES(vector, lane)];                    \
        const int is_whole = columns == both;                                                      \
        if (!is_whole) {                                                                           \
            memset(panel, 0, (size_t)(n_rows * both) * sizeof(lane));                              \
            for (ptrdiff_t r = 0; r < n_rows; ++r)                                                 \
                for (ptrdiff_t i = 0; i < columns; ++i) panel[r * both + i] = rows[r][k + i];      \
        }                                                                                          \
        for (ptrdiff_t c = 0; c < n_weights;) {                                                    \
            const ptrdiff_t more = n_weights - c;                                                  \
            const ptrdiff_t tiles = (more + FNN_OUTER_WEIGHTS - 1) / FNN_OUTER_WEIGHTS;            \
            const ptrdiff_t width = (more + tiles - 1) / tiles, step = is_whole ? n : both;        \
            const element *const *x = is_whole && c == 0 ? rows : NULL;                            \
            lane *own = gradient + c * n, *out = is_whole ? own : edge;                            \
            for (ptrdiff_t i = 0; i < width && !is_whole; ++i) {                                   \
                memset(edge + i * both, 0, (size_t)both * sizeof(lane));                           \
                memcpy(edge + i * both, own + i * n, (size_t)columns * sizeof(lane));              \
            }                                                                                      \
            switch (width) { FNN_FOR_WIDTHS(FNN_OUTER_CASE, name) }                                \
            for (ptrdiff_t i = 0; i < width && !is_whole; ++i)                                     \
                memcpy(own + i * n, edge + i * both, (size_t)columns * sizeof(lane));              \
            c += width;                                                                            \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    static void name(const void *const *rows, const void *const *ahead, ptrdiff_t n_rows,          \
                     const void *factors, ptrdiff_t n_weights, ptrdiff_t n_features,               \
                     void *gradient) {                                                             \
        const ptrdiff_t both = 2 * FNN_LANES(vector, lane);                                        \
        lane *g = gradient;                                                                        \
        FNN_ALIGNED lane panel[FNN_MAX_BLOCK_ROWS * 2 * FNN_LANES(vector, lane)];                  \
        for (ptrdiff_t start = 0; start < n_features; start += FNN_DOT_STRIP) {                    \
            const ptrdiff_t left = n_features - start,                                             \
                            n = left < FNN_DOT_STRIP ? left : FNN_DOT_STRIP;                       \
            for (ptrdiff_t k = 0; k < n; k += both)                                                \
                name##_columns((const element *const *)rows, (const element *const *)ahead,        \
                               start + k, both < n - k ? both : n - k, n_rows, factors, n_weights, \
                               panel, g + k, n);                                                   \
            g += n_weights * n;                                                                    \
        }                                                                                          \
    }

FNN_DEFINE_DOT_ROWS(dot_rows_f32, f32, f32v, float, float, f32_load)
FNN_DEFINE_DOT_ROWS(dot_rows_u8, f32, f32v, float, uint8_t, f32_from_u8)
FNN_DEFINE_DOT_ROWS(dot_rows_f64, f64, f64v, double, double, f64_load)
FNN_DEFINE_ADD_OUTER(add_outer_f32, f32, f32v, float, float, f32_load)
FNN_DEFINE_ADD_OUTER(add_outer_u8, f32, f32v, float, uint8_t, f32_from_u8)
FNN_DEFINE_ADD_OUTER(add_outer_f64, f64, f64v, double, double, f64_load)
