/* Distances of points of which values are missing (NaN), from a block of points at once.
 *
 * A lane is a point. Where one has no value, no other NaN is needed to tell: the difference is NaN,
 * and NaN equals nothing. Features are those that the query has, in their order; each lane adds its
 * terms one after the other, so that the result is the same on every ISA. */
#define FNN_MISSING_VECTORS 4

FNN_INLINE uint32_t missing_squares_some(const double *query, const int32_t *features, ptrdiff_t n,
                                         const double *points, ptrdiff_t width, double factor,
                                         double limit, double *distances) {
    const ptrdiff_t lanes = FNN_LANES(f64v, double);
    const i64v one = f64_to_bits(f64_splat(1.0));
    f64v sums[FNN_MISSING_VECTORS], counts[FNN_MISSING_VECTORS];
    uint32_t bits = 0;
    FNN_UNROLL
    for (int v = 0; v < FNN_MISSING_VECTORS; ++v) sums[v] = counts[v] = f64_splat(0.0);
    for (ptrdiff_t k = 0; k < n; ++k) {
        const f64v value = f64_splat(query[k]);
        const double *row = points + features[k] * width;
        FNN_UNROLL
        for (int v = 0; v < FNN_MISSING_VECTORS; ++v) {
            const f64v gap = value - f64_load(row + v * lanes);
            const i64v both = f64_equal(gap, gap);
            sums[v] += f64_from_bits(f64_to_bits(gap * gap) & both);
            counts[v] += f64_from_bits(one & both);
        }
    }
    FNN_UNROLL
    for (int v = 0; v < FNN_MISSING_VECTORS; ++v) {
        const f64v distance = sums[v] / counts[v] * f64_splat(factor);
        f64_store(distances + v * lanes, distance);
        bits |= f64_at_most(distance, f64_splat(limit)) << (v * lanes);
    }
    return bits;
}

static uint32_t missing_squares(const double *query, const int32_t *features, ptrdiff_t n,
                                const double *points, ptrdiff_t width, double factor, double limit,
                                double *distances) {
    const ptrdiff_t step = FNN_MISSING_VECTORS * FNN_LANES(f64v, double);
    uint32_t bits = 0;
    for (ptrdiff_t i = 0; i < width; i += step)
        bits |= missing_squares_some(query, features, n, points + i, width, factor, limit,
                                     distances + i)
                << i;
    return bits;
}
_Static_assert(FNN_MAX_BLOCK_POINTS % (FNN_MISSING_VECTORS * FNN_LANES(f64v, double)) == 0,
               "a block has whole steps");
