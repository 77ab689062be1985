/* Steps of the optimizers. */

#define FNN_DEFINE_SGD(prefix, vector, lane)                                                      \
    static void add_##prefix(const void *addend, ptrdiff_t n, void *sum) {                        \
        const ptrdiff_t lanes = FNN_LANES(vector, lane), whole = n - n % lanes;                   \
        const lane *source = addend;                                                              \
        lane *target = sum;                                                                       \
        for (ptrdiff_t i = 0; i < whole; i += lanes)                                              \
            prefix##_store(target + i, prefix##_load(target + i) + prefix##_load(source + i));    \
        for (ptrdiff_t i = whole; i < n; ++i) target[i] += source[i];                             \
    }                                                                                             \
                                                                                                  \
    FNN_INLINE vector prefix##_sgd(const fnn_sgd *step, vector g, vector *v, vector w) {          \
        const vector momentum = prefix##_splat((lane)step->momentum);                             \
        const vector factor = prefix##_splat((lane)step->factor);                                 \
        const vector decay = prefix##_splat((lane)step->decay);                                   \
        const vector move = prefix##_splat((lane)step->rate) * (factor * g + decay * w);          \
        *v = momentum * *v - move;                                                                \
        return w + (step->nesterov ? momentum * *v - move : *v);                                  \
    }                                                                                             \
                                                                                                  \
    static double sgd_step_##prefix(const fnn_sgd *step, const void *gradient, ptrdiff_t n,       \
                                    void *velocity, void *weights) {                              \
        const ptrdiff_t lanes = FNN_LANES(vector, lane), whole = n - n % lanes, rest = n - whole; \
        const lane *g = gradient;                                                                 \
        lane *v = velocity, *w = weights;                                                         \
        lane last_g[FNN_LANES(vector, lane)] = {0}, last_v[FNN_LANES(vector, lane)] = {0};        \
        lane last_w[FNN_LANES(vector, lane)] = {0};                                               \
        vector squares = prefix##_splat(0);                                                       \
        for (ptrdiff_t i = 0; i < whole; i += lanes) {                                            \
            vector moved = prefix##_load(v + i);                                                  \
            const vector now =                                                                    \
                prefix##_sgd(step, prefix##_load(g + i), &moved, prefix##_load(w + i));           \
            prefix##_store(v + i, moved);                                                         \
            prefix##_store(w + i, now);                                                           \
            squares += now * now;                                                                 \
        }                                                                                         \
        memcpy(last_g, g + whole, (size_t)rest * sizeof(lane));                                   \
        memcpy(last_v, v + whole, (size_t)rest * sizeof(lane));                                   \
        memcpy(last_w, w + whole, (size_t)rest * sizeof(lane));                                   \
        vector moved = prefix##_load(last_v);                                                     \
        const vector now =                                                                        \
            prefix##_sgd(step, prefix##_load(last_g), &moved, prefix##_load(last_w));             \
        prefix##_store(last_v, moved);                                                            \
        prefix##_store(last_w, now);                                                              \
        memcpy(v + whole, last_v, (size_t)rest * sizeof(lane));                                   \
        memcpy(w + whole, last_w, (size_t)rest * sizeof(lane));                                   \
        return prefix##_sum(squares + now * now);                                                 \
    }

/* Plain loops, but for the root: the compiler makes vectors of them. */
#define FNN_DEFINE_ADAM(prefix, vector, lane)                                                 \
    static double adam_step_##prefix(const fnn_adam *step, const void *gradient, ptrdiff_t n, \
                                     void *means, void *squares, void *weights) {             \
        const ptrdiff_t lanes = FNN_LANES(vector, lane);                                      \
        const lane factor = (lane)step->factor, decay = (lane)step->decay;                    \
        const lane rate = (lane)step->rate, epsilon = (lane)step->epsilon;                    \
        const lane beta_1 = (lane)step->beta_1, beta_2 = (lane)step->beta_2;                  \
        const lane *gradients = gradient;                                                     \
        lane *m = means, *v = squares, *w = weights;                                          \
        double total = 0.0;                                                                   \
        for (ptrdiff_t start = 0; start < n; start += lanes) {                                \
            const ptrdiff_t left = n - start, k = left < lanes ? left : lanes;                \
            lane part[4][FNN_LANES(vector, lane)] = {{0}};                                    \
            memcpy(part[0], gradients + start, (size_t)k * sizeof(lane));                     \
            memcpy(part[1], m + start, (size_t)k * sizeof(lane));                             \
            memcpy(part[2], v + start, (size_t)k * sizeof(lane));                             \
            memcpy(part[3], w + start, (size_t)k * sizeof(lane));                             \
            vector now = prefix##_load(part[3]);                                              \
            const vector g = factor * prefix##_load(part[0]) + decay * now;                   \
            const vector mean = beta_1 * prefix##_load(part[1]) + (1 - beta_1) * g;           \
            const vector square = beta_2 * prefix##_load(part[2]) + (1 - beta_2) * g * g;     \
            now -= rate * mean / (prefix##_sqrt(square) + epsilon);                           \
            prefix##_store(part[1], mean);                                                    \
            prefix##_store(part[2], square);                                                  \
            prefix##_store(part[3], now);                                                     \
            memcpy(m + start, part[1], (size_t)k * sizeof(lane));                             \
            memcpy(v + start, part[2], (size_t)k * sizeof(lane));                             \
            memcpy(w + start, part[3], (size_t)k * sizeof(lane));                             \
            total += prefix##_sum(now * now);                                                 \
        }                                                                                     \
        return total;                                                                         \
    }
FNN_DEFINE_ADAM(f32, f32v, float)
FNN_DEFINE_ADAM(f64, f64v, double)
FNN_DEFINE_SGD(f32, f32v, float)
FNN_DEFINE_SGD(f64, f64v, double)

#define FNN_DEFINE_WHERE_POSITIVE(prefix, vector, lane)                                      \
    static void where_positive_##prefix(const void *x, const void *values, ptrdiff_t n,      \
                                        void *out) {                                         \
        const ptrdiff_t lanes = FNN_LANES(vector, lane), whole = n - n % lanes;              \
        const lane *condition = x, *source = values;                                         \
        lane *target = out;                                                                  \
        for (ptrdiff_t i = 0; i < whole; i += lanes)                                         \
            prefix##_store(target + i, prefix##_where_positive(prefix##_load(condition + i), \
                                                               prefix##_load(source + i)));  \
        for (ptrdiff_t i = whole; i < n; ++i) target[i] = condition[i] <= 0 ? 0 : source[i]; \
    }
FNN_DEFINE_WHERE_POSITIVE(f32, f32v, float)
FNN_DEFINE_WHERE_POSITIVE(f64, f64v, double)
