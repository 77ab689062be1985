/* Activations of layers. */

/* The gates' functions are of doubles, and exact enough for them; floats take the same way. */
#define FNN_DEFINE_ACTIVATION(name, prefix, lane, FUNCTION, DERIVATIVE)                       \
    static void name##_##prefix(ptrdiff_t n, void *values) {                                  \
        const ptrdiff_t lanes = FNN_LANES(f64v, double);                                      \
        lane *v = values;                                                                     \
        for (ptrdiff_t start = 0; start < n; start += lanes) {                                \
            const ptrdiff_t left = n - start, m = left < lanes ? left : lanes;                \
            double part[FNN_LANES(f64v, double)] = {0};                                       \
            for (ptrdiff_t i = 0; i < m; ++i) part[i] = (double)v[start + i];                 \
            f64_store(part, FUNCTION(f64_load(part)));                                        \
            for (ptrdiff_t i = 0; i < m; ++i) v[start + i] = (lane)part[i];                   \
        }                                                                                     \
    }                                                                                         \
    static void name##_backward_##prefix(const void *outputs, ptrdiff_t n, void *gradients) { \
        const lane *out = outputs;                                                            \
        lane *g = gradients;                                                                  \
        for (ptrdiff_t i = 0; i < n; ++i) g[i] *= DERIVATIVE(out[i]);                         \
    }
#define FNN_TANH_DERIVATIVE(out) (1 - (out) * (out))
#define FNN_LOGISTIC_DERIVATIVE(out) ((out) * (1 - (out)))
#define FNN_DEFINE_RELU(prefix)                                                             \
    static void relu_##prefix(ptrdiff_t n, void *values) {                                  \
        where_positive_##prefix(values, values, n, values);                                 \
    }                                                                                       \
    static void relu_backward_##prefix(const void *outputs, ptrdiff_t n, void *gradients) { \
        where_positive_##prefix(outputs, gradients, n, gradients);                          \
    }
FNN_DEFINE_ACTIVATION(tanh, f32, float, f64_tanh, FNN_TANH_DERIVATIVE)
FNN_DEFINE_ACTIVATION(tanh, f64, double, f64_tanh, FNN_TANH_DERIVATIVE)
FNN_DEFINE_ACTIVATION(logistic, f32, float, f64_sigmoid, FNN_LOGISTIC_DERIVATIVE)
FNN_DEFINE_ACTIVATION(logistic, f64, double, f64_sigmoid, FNN_LOGISTIC_DERIVATIVE)
FNN_DEFINE_RELU(f32)
FNN_DEFINE_RELU(f64)
#define FNN_ACTIVATIONS(prefix)                                                             \
    {                                                                                       \
        {relu_##prefix, relu_backward_##prefix}, {tanh_##prefix, tanh_backward_##prefix}, { \
            logistic_##prefix, logistic_backward_##prefix                                   \
        }                                                                                   \
    }
