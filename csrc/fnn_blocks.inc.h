/* Exact distances, from a block of points or boxes at once. */

/* A lane is a point, and goes through its features in the order of the row distances. Eight points
 * at once share the loads of the query. */

FNN_INLINE f64v add(f64v sum, f64v term) { return sum + term; }
/* Of zeros of both signs it is the sum's that stays. */
FNN_INLINE f64v larger(f64v sum, f64v term) { return f64_max(term, sum); }

/* How far the query is from the point, or outside of the box, in feature k. */
#define FNN_DEFINE_GAP(prefix, element, WIDEN)                                            \
    FNN_INLINE f64v prefix##_gap(f64v query, const double *periods, ptrdiff_t k,          \
                                 const element *low, const element *high) {               \
        (void)periods, (void)k;                                                           \
        if (!high) return query - WIDEN(low);                                             \
        return f64_max(f64_max(WIDEN(low) - query, query - WIDEN(high)), f64_splat(0.0)); \
    }
FNN_DEFINE_GAP(f32, float, widen_f32)
FNN_DEFINE_GAP(f64, double, widen_f64)
FNN_DEFINE_GAP(u8, uint8_t, f64_from_u8)

/* The same on a circle, on which all values are from 0 to its period: the way within, or around,
 * which is a period less. For points of a box that is at least what the corner that is further away
 * has. An infinite period is that of a line, with values of any size. */
FNN_INLINE f64v f64_periodic_gap(f64v query, const double *periods, ptrdiff_t k, const double *low,
                                 const double *high) {
    const f64v period = f64_splat(periods[k]);
    if (periods[k] == INFINITY) return f64_gap(query, periods, k, low, high);
    if (!high) {
        const f64v within = f64_magnitude(query - f64_load(low));
        return f64_min(within, period - within);
    }
    const f64v below = f64_load(low) - query, above = query - f64_load(high);
    const f64v within = f64_max(f64_max(below, above), f64_splat(0.0));
    const f64v furthest = f64_max(f64_magnitude(below), f64_magnitude(above));
    return f64_min(within, f64_max(period - furthest, f64_splat(0.0)));
}

/* A term times the weight of its feature, where there are weights. */
FNN_INLINE f64v weigh(f64v term, const double *weights, ptrdiff_t k) {
    return weights ? f64_splat(weights[k]) * term : term;
}

/* One feature after the other, for maxima and for fewer terms than there are partial sums. */
#define FNN_DEFINE_BLOCK_IN_ORDER(name, element, GAP, TERM, ADD)                               \
    FNN_INLINE void name##_in_order(                                                           \
        const double *query, const double *weights, const double *periods, const element *low, \
        const element *high, ptrdiff_t width, ptrdiff_t n, const int n_vectors, f64v *sums) {  \
        const ptrdiff_t lanes = FNN_LANES(f64v, double);                                       \
        for (ptrdiff_t k = 0; k < n; ++k) {                                                    \
            const f64v value = f64_splat(query[k]);                                            \
            FNN_UNROLL                                                                         \
            for (int v = 0; v < n_vectors; ++v) {                                              \
                const f64v gap =                                                               \
                    GAP(value, periods, k, low + v * lanes, high ? high + v * lanes : NULL);   \
                sums[v] = ADD(sums[v], weigh(TERM(gap), weights, k));                          \
            }                                                                                  \
            low += width;                                                                      \
            if (high) high += width;                                                           \
        }                                                                                      \
    }

/* One vector of sums over many terms: a call of its own keeps the loops over few terms short. */
#define FNN_DEFINE_BLOCK_SUM(name, element, GAP, TERM)                                           \
    static FNN_NOINLINE void name##_sum(                                                         \
        const double *query, const double *weights, const double *periods, const element *low,   \
        const element *high, ptrdiff_t width, ptrdiff_t n, f64v *sum) {                          \
        if (n > FNN_LEAF) {                                                                      \
            const ptrdiff_t half = n / 2 - n / 2 % FNN_PARTIAL_SUMS;                             \
            f64v rest;                                                                           \
            name##_sum(query, weights, periods, low, high, width, half, sum);                    \
            name##_sum(query + half, weights ? weights + half : NULL,                            \
                       periods ? periods + half : NULL, low + half * width,                      \
                       high ? high + half * width : NULL, width, n - half, &rest);               \
            *sum += rest;                                                                        \
            return;                                                                              \
        }                                                                                        \
        const ptrdiff_t whole = n - n % FNN_PARTIAL_SUMS;                                        \
        f64v r[FNN_PARTIAL_SUMS];                                                                \
        FNN_UNROLL                                                                               \
        for (int p = 0; p < FNN_PARTIAL_SUMS; ++p) r[p] = f64_splat(0.0);                        \
        for (ptrdiff_t k = 0; k < whole; k += FNN_PARTIAL_SUMS) FNN_UNROLL                       \
        for (int p = 0; p < FNN_PARTIAL_SUMS; ++p) {                                             \
            const f64v gap = GAP(f64_splat(query[k + p]), periods, k + p, low + (k + p) * width, \
                                 high ? high + (k + p) * width : NULL);                          \
            r[p] += weigh(TERM(gap), weights, k + p);                                            \
        }                                                                                        \
        r[0] = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));                \
        name##_in_order(query + whole, weights ? weights + whole : NULL,                         \
                        periods ? periods + whole : NULL, low + whole * width,                   \
                        high ? high + whole * width : NULL, width, n - whole, 1, r);             \
        *sum = r[0];                                                                             \
    }

#define FNN_DEFINE_BLOCK(name, element, GAP, TERM, ADD, IN_ORDER)                                 \
    FNN_DEFINE_BLOCK_IN_ORDER(name, element, GAP, TERM, ADD)                                      \
    FNN_DEFINE_BLOCK_SUM(name, element, GAP, TERM)                                                \
    FNN_INLINE uint32_t name##_some(const double *query, const double *weights,                   \
                                    const double *periods, const element *low,                    \
                                    const element *high, ptrdiff_t width, ptrdiff_t n_features,   \
                                    f64v limits, const int n_vectors, double *distances) {        \
        const ptrdiff_t lanes = FNN_LANES(f64v, double);                                          \
        f64v sums[FNN_BLOCK_BOXES];                                                               \
        uint32_t bits = 0;                                                                        \
        FNN_UNROLL                                                                                \
        for (int v = 0; v < n_vectors; ++v) sums[v] = f64_splat(0.0);                             \
        if (!(IN_ORDER))                                                                          \
            for (int v = 0; v < n_vectors; ++v)                                                   \
                name##_sum(query, weights, periods, low + v * lanes,                              \
                           high ? high + v * lanes : NULL, width, n_features, &sums[v]);          \
        else if (weights)                                                                         \
            name##_in_order(query, weights, periods, low, high, width, n_features, n_vectors,     \
                            sums);                                                                \
        else                                                                                      \
            name##_in_order(query, NULL, periods, low, high, width, n_features, n_vectors, sums); \
        FNN_UNROLL                                                                                \
        for (int v = 0; v < n_vectors; ++v) {                                                     \
            f64_store(distances + v * lanes, sums[v]);                                            \
            bits |= f64_at_most(sums[v], limits) << (v * lanes);                                  \
        }                                                                                         \
        return bits;                                                                              \
    }                                                                                             \
    static uint32_t name##_boxes(const double *query, const double *weights,                      \
                                 const double *periods, const void *low, const void *high,        \
                                 ptrdiff_t n_features, double limit, double *distances) {         \
        return name##_some(query, weights, periods, low, high, FNN_BLOCK_BOXES, n_features,       \
                           f64_splat(limit), FNN_BLOCK_BOXES / FNN_LANES(f64v, double),           \
                           distances);                                                            \
    }                                                                                             \
    static uint32_t name##_points(                                                                \
        const double *query, const double *weights, const double *periods, const void *points,    \
        ptrdiff_t width, ptrdiff_t n_features, double limit, int root, double *distances) {       \
        const ptrdiff_t lanes = FNN_LANES(f64v, double), step = FNN_BLOCK_BOXES;                  \
        const element *block = points;                                                            \
        uint32_t bits = 0;                                                                        \
        for (ptrdiff_t i = 0; i < width; i += step)                                               \
            bits |= name##_some(query, weights, periods, block + i, NULL, width, n_features,      \
                                f64_splat(limit), (int)(step / lanes), distances + i)             \
                    << i;                                                                         \
        if (root && bits)                                                                         \
            for (ptrdiff_t i = 0; i < width; i += lanes)                                          \
                f64_store(distances + i, f64_sqrt(f64_load(distances + i)));                      \
        return bits;                                                                              \
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
FNN_DEFINE_BLOCK(block_periodic_squares, double, f64_periodic_gap, square, add, FNN_FEW_FEATURES)
FNN_DEFINE_BLOCK(block_periodic_absolutes, double, f64_periodic_gap, magnitude, add,
                 FNN_FEW_FEATURES)
FNN_DEFINE_BLOCK(block_periodic_largest, double, f64_periodic_gap, magnitude, larger, 1)
