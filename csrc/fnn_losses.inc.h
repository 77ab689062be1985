/* Losses of scores and their gradients. */

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
