/* The gates of circuits: each a value and the local derivatives that back-propagation chains.
 *
 * A gate is written once, as expressions of its inputs a and b, its value out, and the derivative
 * dout with respect to this value. Two pairs of loops come of it: over rows, for one gate on
 * many rows that lie side by side, and over runs, for many gates of one kind in one row of values.
 * They round alike, so a row's results do not depend on which of the two made them. Sums are not
 * contracted, so arithmetic is the same on every ISA; only e^x, and what is made of it, differs.
 */

/* ---- functions ----------------------------------------------------------------------------- */

/* Limits come first: the second operand of max and min is what is left of a NaN. */
FNN_INLINE f64v f64_clip(f64v x, double low, double high) {
    return f64_min(f64_splat(high), f64_max(f64_splat(low), x));
}

/* e^x for every x. */
FNN_INLINE f64v f64_exp(f64v x) {
    f64v n;
    const f64v power = f64_reduced_exponential(f64_clip(x, -746.0, 710.0), &n) + 1.0;
    return f64_scale(power, n);
}

/* By way of e^2|x| - 1, which has no cancellation near 0; beyond 20 the result is 1. */
FNN_INLINE f64v f64_tanh(f64v x) {
    f64v n;
    const f64v part = f64_reduced_exponential(f64_clip(2.0 * f64_magnitude(x), 0.0, 40.0), &n);
    const f64v scale = f64_power_of_two(n);
    const f64v excess = f64_multiply_add(scale, part, scale - 1.0);
    return f64_with_sign_of(excess / (excess + 2.0), x);
}

/* 1 / (1 + e^-x), by way of e^-|x|, which cannot overflow. */
FNN_INLINE f64v f64_sigmoid(f64v x) {
    const f64v power = f64_exp(-f64_magnitude(x));
    return f64_select(f64_less(x, f64_splat(0.0)), power, f64_splat(1.0)) / (1.0 + power);
}

/* As in FreeBSD's e_log.c: x = 2^k m with m between the roots of 1/2 and 2, s = f / (2 + f) with
 * f = m - 1, and log m = 2 s + s R(s^2), arranged so that the error is below a unit in the last
 * place. */
FNN_INLINE f64v f64_log(f64v x) {
    static const double coefficients[] = {1.531383769920937332e-01, 1.818357216161805012e-01,
                                          2.222219843214978396e-01, 2.857142874366239149e-01,
                                          3.999999999940941908e-01, 6.666666666666735130e-01};
    const f64v zero = f64_splat(0.0), infinity = f64_splat(INFINITY);
    const i64v is_tiny = f64_less(x, f64_splat(0x1p-1022));
    const u64v bits = (u64v)f64_to_bits(f64_select(is_tiny, x * 0x1p54, x));
    /* The exponent field of x / (root of 1/2): k + 1023, in place. */
    const u64v field = (bits - 0x3fe6a09e667f3bcdu + 0x3ff0000000000000u) & 0x7ff0000000000000u;
    const f64v m = f64_from_bits((i64v)(bits - field + 0x3ff0000000000000u));
    /* The lowest bits of 2^52 are a whole number. */
    const f64v k = f64_from_bits((i64v)((field >> 52) | 0x4330000000000000u)) -
                   f64_select(is_tiny, f64_splat(0x1p52 + 1023 + 54), f64_splat(0x1p52 + 1023));
    const f64v f = m - 1.0, s = f / (f + 2.0), z = s * s, half_square = 0.5 * f * f;
    f64v R = f64_splat(1.479819860511658591e-01);
    FNN_UNROLL
    for (int i = 0; i < 6; ++i) R = R * z + coefficients[i];
    const f64v of_m = s * (half_square + R * z);
    f64v result = k * 6.93147180369123816490e-01 -
                  ((half_square - (of_m + k * 1.90821492927058770002e-10)) - f);
    result = f64_select(f64_less(x, infinity), result, x); /* infinity and NaN */
    result = f64_select(f64_less(x, zero), f64_splat(NAN), result);
    return f64_select(f64_equal(x, zero), -infinity, result);
}

/* Exactly a^2 for squares, which pow need not give. */
FNN_INLINE double power_of(double a, double b) { return b == 2.0 ? a * a : pow(a, b); }

/* ---- loops --------------------------------------------------------------------------------- */

/* Not every gate reads all of its arguments. */
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#endif

/* VALUE(a, b) is what comes out of a gate, SLOPE(a, b, out, dout) the derivative that goes back to
 * an input. In runs, gate k stands in slot first + k, and left[k] and right[k] are its inputs'
 * slots. Gates come after their inputs, so loops go up for values and down for derivatives. */
#define FNN_DEFINE_FORWARD(name, VALUE)                                                        \
    static void name##_forward(const double *restrict left, const double *restrict right,      \
                               ptrdiff_t n, double *restrict outputs) {                        \
        for (ptrdiff_t i = 0; i < n; ++i) outputs[i] = VALUE(left[i], right[i]);               \
    }                                                                                          \
    static void name##_forward_run(const int32_t *left, const int32_t *right, ptrdiff_t first, \
                                   ptrdiff_t n, double *values) {                              \
        for (ptrdiff_t k = 0; k < n; ++k)                                                      \
            values[first + k] = VALUE(values[left[k]], values[right[k]]);                      \
    }

/* A function of one input that takes a vector at a time: gates of a run are independent. Single
 * gates are common in deep expressions, and would wait for a vector that is stored in parts. */
#define FNN_DEFINE_VECTOR_FORWARD(name, FUNCTION)                                              \
    static void name##_forward(const double *restrict left, const double *restrict right,      \
                               ptrdiff_t n, double *restrict outputs) {                        \
        const ptrdiff_t lanes = FNN_LANES(f64v, double), whole = n - n % lanes;                \
        double rest[FNN_LANES(f64v, double)] = {0};                                            \
        for (ptrdiff_t i = 0; i < whole; i += lanes)                                           \
            f64_store(outputs + i, FUNCTION(f64_load(left + i)));                              \
        if (whole == n) return;                                                                \
        memcpy(rest, left + whole, (size_t)(n - whole) * sizeof(double));                      \
        f64_store(rest, FUNCTION(f64_load(rest)));                                             \
        memcpy(outputs + whole, rest, (size_t)(n - whole) * sizeof(double));                   \
    }                                                                                          \
    static void name##_forward_run(const int32_t *left, const int32_t *right, ptrdiff_t first, \
                                   ptrdiff_t n, double *values) {                              \
        double part[FNN_LANES(f64v, double)] = {0};                                            \
        if (n == 1) {                                                                          \
            f64_store(part, FUNCTION(f64_splat(values[left[0]])));                             \
            values[first] = part[0];                                                           \
            return;                                                                            \
        }                                                                                      \
        for (ptrdiff_t k = 0; k < n; k += FNN_LANES(f64v, double)) {                           \
            const ptrdiff_t remain = n - k, lanes = FNN_LANES(f64v, double);                   \
            const ptrdiff_t m = remain < lanes ? remain : lanes;                               \
            for (ptrdiff_t j = 0; j < m; ++j) part[j] = values[left[k + j]];                   \
            f64_store(part, FUNCTION(f64_load(part)));                                         \
            for (ptrdiff_t j = 0; j < m; ++j) values[first + k + j] = part[j];                 \
        }                                                                                      \
    }

#define FNN_ADD_SLOPES(target, SLOPE)                                     \
    if (target) {                                                         \
        double *restrict sums = target;                                   \
        for (ptrdiff_t i = 0; i < n; ++i)                                 \
            sums[i] += SLOPE(left[i], right[i], outputs[i], upstream[i]); \
    }

/* Both inputs may be the same, and their sums then too: hence one loop after the other. */
#define FNN_DEFINE_BACKWARD(name, LEFT_SLOPE, RIGHT_SLOPE)                                       \
    static void name##_backward(const double *restrict left, const double *restrict right,       \
                                const double *restrict outputs, const double *restrict upstream, \
                                ptrdiff_t n, double *left_sums, double *right_sums) {            \
        FNN_ADD_SLOPES(left_sums, LEFT_SLOPE)                                                    \
        FNN_ADD_SLOPES(right_sums, RIGHT_SLOPE)                                                  \
    }                                                                                            \
    static void name##_backward_run(const int32_t *left, const int32_t *right, ptrdiff_t first,  \
                                    ptrdiff_t n, const double *values, double *sums) {           \
        for (ptrdiff_t k = n - 1; k >= 0; --k) {                                                 \
            const double dout = sums[first + k];                                                 \
            sums[left[k]] +=                                                                     \
                LEFT_SLOPE(values[left[k]], values[right[k]], values[first + k], dout);          \
            sums[right[k]] +=                                                                    \
                RIGHT_SLOPE(values[left[k]], values[right[k]], values[first + k], dout);         \
        }                                                                                        \
    }

/* The same for gates with one input, and for those whose other input is a constant. */
#define FNN_DEFINE_BACKWARD_TO_FIRST(name, SLOPE)                                                \
    static void name##_backward(const double *restrict left, const double *restrict right,       \
                                const double *restrict outputs, const double *restrict upstream, \
                                ptrdiff_t n, double *left_sums, double *right_sums) {            \
        FNN_ADD_SLOPES(left_sums, SLOPE)                                                         \
    }                                                                                            \
    static void name##_backward_run(const int32_t *left, const int32_t *right, ptrdiff_t first,  \
                                    ptrdiff_t n, const double *values, double *sums) {           \
        for (ptrdiff_t k = n - 1; k >= 0; --k)                                                   \
            sums[left[k]] +=                                                                     \
                SLOPE(values[left[k]], values[right[k]], values[first + k], sums[first + k]);    \
    }

/* ---- gates --------------------------------------------------------------------------------- */

#define FNN_VALUE_ADD(a, b) ((a) + (b))
#define FNN_PASS(a, b, out, dout) (dout)
FNN_DEFINE_FORWARD(add, FNN_VALUE_ADD)
FNN_DEFINE_BACKWARD(add, FNN_PASS, FNN_PASS)

#define FNN_VALUE_SUBTRACT(a, b) ((a) - (b))
#define FNN_PASS_NEGATED(a, b, out, dout) (-(dout))
FNN_DEFINE_FORWARD(subtract, FNN_VALUE_SUBTRACT)
FNN_DEFINE_BACKWARD(subtract, FNN_PASS, FNN_PASS_NEGATED)

#define FNN_VALUE_MULTIPLY(a, b) ((a) * (b))
#define FNN_TIMES_SECOND(a, b, out, dout) ((dout) * (b))
#define FNN_TIMES_FIRST(a, b, out, dout) ((dout) * (a))
FNN_DEFINE_FORWARD(multiply, FNN_VALUE_MULTIPLY)
FNN_DEFINE_BACKWARD(multiply, FNN_TIMES_SECOND, FNN_TIMES_FIRST)

#define FNN_VALUE_DIVIDE(a, b) ((a) / (b))
#define FNN_BY_DIVISOR(a, b, out, dout) ((dout) / (b))
#define FNN_OF_DIVISOR(a, b, out, dout) (-((dout) / (b) * (out)))
FNN_DEFINE_FORWARD(divide, FNN_VALUE_DIVIDE)
FNN_DEFINE_BACKWARD(divide, FNN_BY_DIVISOR, FNN_OF_DIVISOR)

/* Ties go to the first input; a NaN is the largest, as in NumPy. */
#define FNN_FIRST_IS_LARGEST(a, b) ((a) >= (b) || (a) != (a))
#define FNN_VALUE_MAX(a, b) (FNN_FIRST_IS_LARGEST(a, b) ? (a) : (b))
#define FNN_IF_FIRST(a, b, out, dout) (FNN_FIRST_IS_LARGEST(a, b) ? (dout) : 0.0)
#define FNN_IF_SECOND(a, b, out, dout) (FNN_FIRST_IS_LARGEST(a, b) ? 0.0 : (dout))
FNN_DEFINE_FORWARD(max, FNN_VALUE_MAX)
FNN_DEFINE_BACKWARD(max, FNN_IF_FIRST, FNN_IF_SECOND)

/* a^b. Where one factor is 0 since the power does not change, the other's infinity is no matter. */
#define FNN_OF_BASE(a, b, out, dout) ((b) == 0.0 ? 0.0 : (dout) * ((b) * power_of(a, (b) - 1.0)))
#define FNN_OF_EXPONENT(a, b, out, dout) ((a) == 0.0 && (b) > 0.0 ? 0.0 : (dout) * ((out) * log(a)))
FNN_DEFINE_FORWARD(power, power_of)
FNN_DEFINE_BACKWARD(power, FNN_OF_BASE, FNN_OF_EXPONENT)
FNN_DEFINE_BACKWARD_TO_FIRST(constant_power, FNN_OF_BASE)

#define FNN_VALUE_SQUARE(a, b) ((a) * (a))
#define FNN_TIMES_TWICE(a, b, out, dout) ((dout) * (2.0 * (a)))
FNN_DEFINE_FORWARD(square, FNN_VALUE_SQUARE)
FNN_DEFINE_BACKWARD_TO_FIRST(square, FNN_TIMES_TWICE)

#define FNN_VALUE_NEGATE(a, b) (-(a))
FNN_DEFINE_FORWARD(negate, FNN_VALUE_NEGATE)
FNN_DEFINE_BACKWARD_TO_FIRST(negate, FNN_PASS_NEGATED)

#define FNN_TIMES_OUT(a, b, out, dout) ((dout) * (out))
FNN_DEFINE_VECTOR_FORWARD(exp, f64_exp)
FNN_DEFINE_BACKWARD_TO_FIRST(exp, FNN_TIMES_OUT)

#define FNN_BY_FIRST(a, b, out, dout) ((dout) / (a))
FNN_DEFINE_VECTOR_FORWARD(log, f64_log)
FNN_DEFINE_BACKWARD_TO_FIRST(log, FNN_BY_FIRST)

#define FNN_OF_TANH(a, b, out, dout) ((dout) * (1.0 - (out) * (out)))
FNN_DEFINE_VECTOR_FORWARD(tanh, f64_tanh)
FNN_DEFINE_BACKWARD_TO_FIRST(tanh, FNN_OF_TANH)

#define FNN_OF_SIGMOID(a, b, out, dout) ((dout) * ((out) * (1.0 - (out))))
FNN_DEFINE_VECTOR_FORWARD(sigmoid, f64_sigmoid)
FNN_DEFINE_BACKWARD_TO_FIRST(sigmoid, FNN_OF_SIGMOID)

/* As in where_positive: NaN is not lost, and the derivative at 0 is 0. */
#define FNN_VALUE_RELU(a, b) ((a) <= 0.0 ? 0.0 : (a))
#define FNN_IF_POSITIVE(a, b, out, dout) ((a) <= 0.0 ? 0.0 : (dout))
FNN_DEFINE_FORWARD(relu, FNN_VALUE_RELU)
FNN_DEFINE_BACKWARD_TO_FIRST(relu, FNN_IF_POSITIVE)

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/* The sum in eight parts, so that it is one order of additions on every ISA. */
static double sum_f64(const double *values, ptrdiff_t n) {
    double parts[8] = {0};
    const ptrdiff_t whole = n - n % 8;
    for (ptrdiff_t i = 0; i < whole; i += 8)
        for (ptrdiff_t j = 0; j < 8; ++j) parts[j] += values[i + j];
    for (ptrdiff_t i = whole; i < n; ++i) parts[i - whole] += values[i];
    return ((parts[0] + parts[4]) + (parts[2] + parts[6])) +
           ((parts[1] + parts[5]) + (parts[3] + parts[7]));
}

#define FNN_GATE(name, forward, is_vector) \
    {forward##_forward, name##_backward, forward##_forward_run, name##_backward_run, is_vector}
#define FNN_GATES                                               \
    {[FNN_ADD] = FNN_GATE(add, add, 0),                         \
     [FNN_SUBTRACT] = FNN_GATE(subtract, subtract, 0),          \
     [FNN_MULTIPLY] = FNN_GATE(multiply, multiply, 0),          \
     [FNN_DIVIDE] = FNN_GATE(divide, divide, 0),                \
     [FNN_MAX] = FNN_GATE(max, max, 0),                         \
     [FNN_POWER] = FNN_GATE(power, power, 0),                   \
     [FNN_CONSTANT_POWER] = FNN_GATE(constant_power, power, 0), \
     [FNN_SQUARE] = FNN_GATE(square, square, 0),                \
     [FNN_NEGATE] = FNN_GATE(negate, negate, 0),                \
     [FNN_EXP] = FNN_GATE(exp, exp, 1),                         \
     [FNN_LOG] = FNN_GATE(log, log, 1),                         \
     [FNN_TANH] = FNN_GATE(tanh, tanh, 1),                      \
     [FNN_SIGMOID] = FNN_GATE(sigmoid, sigmoid, 1),             \
     [FNN_RELU] = FNN_GATE(relu, relu, 0)}
