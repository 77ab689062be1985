/* Distances from sums: rows around centers of their own, and tiles turned into distances. */

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
    const f64v threshold = f64_splat(e->cancellation_threshold), smallest = f64_splat(e->smallest);
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
        if (e->cancellation_threshold >= 0.0)
            spoiled |= (all & ~(f64_at_most(threshold * both, d) & f64_at_most(smallest, both) &
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
