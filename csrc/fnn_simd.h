/* The few vector operations that the micro-kernels are written on.
 *
 * Arithmetic (+, -, *) works on the types as it stands: GCC's and Clang's vector extensions, or
 * plain scalars with one lane elsewhere. What the extensions lack (fused multiply-add, max,
 * comparison to a bit mask, byte sums) is spelled per instruction set here and nowhere else. The
 * including isa_*.c defines FNN_ISA_AVX512, FNN_ISA_AVX2 or FNN_ISA_BASELINE.
 */
#ifndef FNN_SIMD_H
#define FNN_SIMD_H

#include "fnn_vectors.h"

#include <math.h>

/* Widening is exact. GCC 12 takes __builtin_convertvector apart into pairs, so x86 is spelled out.
 */
FNN_INLINE f64v f64_from_f32half(f32half v) {
#if defined(FNN_ISA_AVX512)
    return _mm512_cvtps_pd((__m256)v);
#elif defined(FNN_ISA_AVX2)
    return _mm256_cvtps_pd((__m128)v);
#elif defined(FNN_VECTOR_BYTES)
    return __builtin_convertvector(v, f64v);
#else
    return (double)v;
#endif
}

FNN_INLINE f32half f32half_from_f64(f64v v) {
#if defined(FNN_ISA_AVX512)
    return (f32half)_mm512_cvtpd_ps(v);
#elif defined(FNN_ISA_AVX2)
    return (f32half)_mm256_cvtpd_ps(v);
#elif defined(FNN_VECTOR_BYTES)
    return __builtin_convertvector(v, f32half);
#else
    return (float)v;
#endif
}

/* As many bytes as f32v has floats, widened. */
FNN_INLINE f32v f32_from_u8(const uint8_t *source) {
#if defined(FNN_ISA_AVX512)
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)source)));
#elif defined(FNN_ISA_AVX2)
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)source)));
#else
    float values[FNN_LANES(f32v, float)];
    for (ptrdiff_t i = 0; i < FNN_LANES(f32v, float); ++i) values[i] = source[i];
    return f32_load(values);
#endif
}

/* As many bytes as f64v has doubles, widened. */
FNN_INLINE f64v f64_from_u8(const uint8_t *source) {
#if defined(FNN_ISA_AVX512)
    return _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)source)));
#elif defined(FNN_ISA_AVX2)
    int32_t four;
    memcpy(&four, source, sizeof four);
    return _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)));
#else
    double values[FNN_LANES(f64v, double)];
    for (ptrdiff_t i = 0; i < FNN_LANES(f64v, double); ++i) values[i] = source[i];
    return f64_load(values);
#endif
}

/* Of half as many bytes as a vector has: squares of differences, added up in pairs. */
#define FNN_HALF_BYTES ((ptrdiff_t)sizeof(i32v) / 2)
FNN_INLINE i32v i32_byte_squares(const uint8_t *x, const uint8_t *y) {
#if defined(FNN_ISA_AVX512)
    const __m512i a = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)x));
    const __m512i b = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)y));
    const __m512i difference = _mm512_sub_epi16(a, b);
    return (i32v)_mm512_madd_epi16(difference, difference);
#elif defined(FNN_ISA_AVX2)
    const __m256i a = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)x));
    const __m256i b = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)y));
    const __m256i difference = _mm256_sub_epi16(a, b);
    return (i32v)_mm256_madd_epi16(difference, difference);
#elif defined(__SSE2__)
    const __m128i zero = _mm_setzero_si128();
    const __m128i a = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)x), zero);
    const __m128i b = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)y), zero);
    const __m128i difference = _mm_sub_epi16(a, b);
    return (i32v)_mm_madd_epi16(difference, difference);
#else
    int32_t sums[FNN_LANES(i32v, int32_t)];
    for (ptrdiff_t i = 0; i < FNN_LANES(i32v, int32_t); ++i) {
        const int32_t first = x[2 * i] - y[2 * i], second = x[2 * i + 1] - y[2 * i + 1];
        sums[i] = first * first + second * second;
    }
    return i32_load(sums);
#endif
}

/* The sum of a vector's lanes: halves are added to each other, again and again. */
#if defined(FNN_ISA_AVX512)
FNN_INLINE double f64_sum(f64v v) { return _mm512_reduce_add_pd(v); }
#elif defined(FNN_ISA_AVX2)
FNN_INLINE double f64_sum(f64v v) {
    const __m128d sum = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(sum, _mm_unpackhi_pd(sum, sum)));
}
#elif defined(FNN_VECTOR_BYTES)
FNN_INLINE double f64_sum(f64v v) { return v[0] + v[1]; }
#else
FNN_INLINE double f64_sum(f64v v) { return v; }
#endif

/* The largest of a vector's lanes. */
FNN_INLINE double f64_largest(f64v v) {
#if defined(FNN_ISA_AVX512)
    return _mm512_reduce_max_pd(v);
#elif defined(FNN_ISA_AVX2)
    const __m128d most = _mm_max_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(most, _mm_unpackhi_pd(most, most)));
#elif defined(FNN_VECTOR_BYTES)
    return v[0] > v[1] ? v[0] : v[1];
#else
    return v;
#endif
}

/* Sums of integers, in any order. */
#if defined(FNN_ISA_AVX512)
FNN_INLINE int64_t i32_sum(i32v v) { return _mm512_reduce_add_epi32((__m512i)v); }
FNN_INLINE int64_t i64_sum(i64v v) { return _mm512_reduce_add_epi64((__m512i)v); }
#elif defined(__SSE2__)
FNN_INLINE int64_t i32_sum(i32v v) {
#if defined(FNN_ISA_AVX2)
    __m128i sum =
        _mm_add_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
#else
    __m128i sum = (__m128i)v;
#endif
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}
FNN_INLINE int64_t i64_sum(i64v v) {
#if defined(FNN_ISA_AVX2)
    const __m128i sum =
        _mm_add_epi64(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
#else
    const __m128i sum = (__m128i)v;
#endif
    int64_t lanes[2];
    memcpy(lanes, &sum, sizeof sum);
    return lanes[0] + lanes[1];
}
#else
FNN_INLINE int64_t i32_sum(i32v v) {
    int32_t lanes[FNN_LANES(i32v, int32_t)];
    int64_t sum = 0;
    i32_store(lanes, v);
    for (ptrdiff_t i = 0; i < FNN_LANES(i32v, int32_t); ++i) sum += lanes[i];
    return sum;
}
FNN_INLINE int64_t i64_sum(i64v v) {
    int64_t lanes[FNN_LANES(i64v, int64_t)], sum = 0;
    i64_store(lanes, v);
    for (ptrdiff_t i = 0; i < FNN_LANES(i64v, int64_t); ++i) sum += lanes[i];
    return sum;
}
#endif

/* The bits of a number as an integer and back, lane by lane. */
#define FNN_DEFINE_BITS(prefix, vector, bits)      \
    FNN_INLINE bits prefix##_to_bits(vector v) {   \
        bits b;                                    \
        memcpy(&b, &v, sizeof b);                  \
        return b;                                  \
    }                                              \
    FNN_INLINE vector prefix##_from_bits(bits b) { \
        vector v;                                  \
        memcpy(&v, &b, sizeof v);                  \
        return v;                                  \
    }
FNN_DEFINE_BITS(f32, f32v, i32v)
FNN_DEFINE_BITS(f64, f64v, i64v)
#undef FNN_DEFINE_BITS

/* All ones where it holds. */
#if defined(FNN_VECTOR_BYTES)
FNN_INLINE i64v f64_less(f64v a, f64v b) { return a < b; }
FNN_INLINE i64v f64_equal(f64v a, f64v b) { return a == b; }
#else
FNN_INLINE i64v f64_less(f64v a, f64v b) { return -(i64v)(a < b); }
FNN_INLINE i64v f64_equal(f64v a, f64v b) { return -(i64v)(a == b); }
#endif
FNN_INLINE f64v f64_select(i64v condition, f64v yes, f64v no) {
    return f64_from_bits((f64_to_bits(yes) & condition) | (f64_to_bits(no) & ~condition));
}
FNN_INLINE f64v f64_magnitude(f64v x) {
    return f64_from_bits(f64_to_bits(x) & i64_splat(INT64_MAX));
}
FNN_INLINE f32v f32_magnitude(f32v x) {
    return f32_from_bits(f32_to_bits(x) & i32_splat(INT32_MAX));
}
FNN_INLINE f64v f64_with_sign_of(f64v magnitude, f64v x) {
    return f64_from_bits(f64_to_bits(magnitude) | (f64_to_bits(x) & i64_splat(INT64_MIN)));
}

/* Zero where x is, or is below; values elsewhere, also where x is NaN. */
#if defined(FNN_VECTOR_BYTES)
FNN_INLINE f32v f32_where_positive(f32v x, f32v values) {
    return f32_from_bits(f32_to_bits(values) & ~(x <= (f32v){0}));
}
FNN_INLINE f64v f64_where_positive(f64v x, f64v values) {
    return f64_from_bits(f64_to_bits(values) & ~(x <= (f64v){0}));
}
#else
FNN_INLINE f32v f32_where_positive(f32v x, f32v values) { return x <= 0 ? 0 : values; }
FNN_INLINE f64v f64_where_positive(f64v x, f64v values) { return x <= 0 ? 0 : values; }
#endif

FNN_INLINE f64v f64_sqrt(f64v v) {
#if defined(FNN_ISA_AVX512)
    return _mm512_sqrt_pd(v);
#elif defined(FNN_ISA_AVX2)
    return _mm256_sqrt_pd(v);
#elif defined(__SSE2__)
    return _mm_sqrt_pd(v);
#elif defined(FNN_NEON)
    return (f64v)vsqrtq_f64((float64x2_t)v);
#else
    double x[FNN_LANES(f64v, double)];
    f64_store(x, v);
    for (ptrdiff_t i = 0; i < FNN_LANES(f64v, double); ++i) x[i] = sqrt(x[i]);
    return f64_load(x);
#endif
}

FNN_INLINE f32v f32_sqrt(f32v v) {
#if defined(FNN_ISA_AVX512)
    return _mm512_sqrt_ps(v);
#elif defined(FNN_ISA_AVX2)
    return _mm256_sqrt_ps(v);
#elif defined(__SSE2__)
    return _mm_sqrt_ps(v);
#elif defined(FNN_NEON)
    return (f32v)vsqrtq_f32((float32x4_t)v);
#else
    float x[FNN_LANES(f32v, float)];
    f32_store(x, v);
    for (ptrdiff_t i = 0; i < FNN_LANES(f32v, float); ++i) x[i] = sqrtf(x[i]);
    return f32_load(x);
#endif
}

/* The bits of the lanes in which a <= b. */
FNN_INLINE uint32_t f64_at_most(f64v a, f64v b) {
#if defined(FNN_ISA_AVX512)
    return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ);
#elif defined(FNN_ISA_AVX2)
    return (uint32_t)_mm256_movemask_pd((__m256d)(a <= b));
#elif defined(__SSE2__)
    return (uint32_t)_mm_movemask_pd((__m128d)(a <= b));
#else
    double x[FNN_LANES(f64v, double)], y[FNN_LANES(f64v, double)];
    uint32_t bits = 0;
    f64_store(x, a);
    f64_store(y, b);
    for (ptrdiff_t i = 0; i < FNN_LANES(f64v, double); ++i) bits |= (uint32_t)(x[i] <= y[i]) << i;
    return bits;
#endif
}

#if defined(FNN_ISA_AVX512)

FNN_INLINE f32v f32_multiply_add(f32v a, f32v b, f32v c) { return _mm512_fmadd_ps(a, b, c); }
FNN_INLINE f64v f64_multiply_add(f64v a, f64v b, f64v c) { return _mm512_fmadd_pd(a, b, c); }
FNN_INLINE f32v f32_minus(f32v c, f32v a) { return c - a; }
FNN_INLINE f64v f64_minus(f64v c, f64v a) { return c - a; }
FNN_INLINE f32v f32_max(f32v a, f32v b) { return _mm512_max_ps(a, b); }
FNN_INLINE f64v f64_max(f64v a, f64v b) { return _mm512_max_pd(a, b); }
FNN_INLINE f32v f32_min(f32v a, f32v b) { return _mm512_min_ps(a, b); }
FNN_INLINE f64v f64_min(f64v a, f64v b) { return _mm512_min_pd(a, b); }
FNN_INLINE f64v f64_scale(f64v x, f64v n) { return _mm512_scalef_pd(x, n); }
FNN_INLINE i32v i32_pair_dot(i32v a, i32v b) {
    return (i32v)_mm512_madd_epi16((__m512i)a, (__m512i)b);
}
FNN_INLINE i64v i64_byte_sad(i64v a, i64v b) {
    return (i64v)_mm512_sad_epu8((__m512i)a, (__m512i)b);
}
/* Of unsigned and signed bytes; sums of two that do not fit would be cut off. */
FNN_INLINE i16v i16_byte_dot(i32v a, i32v b) {
    return (i16v)_mm512_maddubs_epi16((__m512i)a, (__m512i)b);
}
typedef uint32_t f32mask, i32mask, i64mask;
FNN_INLINE f32mask f32_greater(f32v a, f32v b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
FNN_INLINE i32mask i32_greater(i32v a, i32v b) {
    return _mm512_cmpgt_epi32_mask((__m512i)a, (__m512i)b);
}
FNN_INLINE i64mask i64_greater(i64v a, i64v b) {
    return _mm512_cmpgt_epi64_mask((__m512i)a, (__m512i)b);
}
FNN_INLINE uint32_t f32_bits(f32mask m) { return m; }
FNN_INLINE uint32_t i32_bits(i32mask m) { return m; }
FNN_INLINE uint32_t i64_bits(i64mask m) { return m; }

#elif defined(FNN_ISA_AVX2)

FNN_INLINE f32v f32_multiply_add(f32v a, f32v b, f32v c) { return _mm256_fmadd_ps(a, b, c); }
FNN_INLINE f64v f64_multiply_add(f64v a, f64v b, f64v c) { return _mm256_fmadd_pd(a, b, c); }
/* c - a on the multiply pipes: max and add share their two pipes on Zen, so a plain subtraction
 * would halve the rate of the max family (25 against 48 lanes a nanosecond, measured). */
FNN_INLINE f32v f32_minus(f32v c, f32v a) { return _mm256_fnmadd_ps(a, _mm256_set1_ps(1.0f), c); }
FNN_INLINE f64v f64_minus(f64v c, f64v a) { return _mm256_fnmadd_pd(a, _mm256_set1_pd(1.0), c); }
FNN_INLINE f32v f32_max(f32v a, f32v b) { return _mm256_max_ps(a, b); }
FNN_INLINE f64v f64_max(f64v a, f64v b) { return _mm256_max_pd(a, b); }
FNN_INLINE f32v f32_min(f32v a, f32v b) { return _mm256_min_ps(a, b); }
FNN_INLINE f64v f64_min(f64v a, f64v b) { return _mm256_min_pd(a, b); }
FNN_INLINE i32v i32_pair_dot(i32v a, i32v b) {
    return (i32v)_mm256_madd_epi16((__m256i)a, (__m256i)b);
}
FNN_INLINE i64v i64_byte_sad(i64v a, i64v b) {
    return (i64v)_mm256_sad_epu8((__m256i)a, (__m256i)b);
}
FNN_INLINE i16v i16_byte_dot(i32v a, i32v b) {
    return (i16v)_mm256_maddubs_epi16((__m256i)a, (__m256i)b);
}
typedef i32v f32mask, i32mask;
typedef i64v i64mask;
FNN_INLINE f32mask f32_greater(f32v a, f32v b) { return a > b; }
FNN_INLINE i32mask i32_greater(i32v a, i32v b) { return a > b; }
FNN_INLINE i64mask i64_greater(i64v a, i64v b) { return a > b; }
FNN_INLINE uint32_t f32_bits(f32mask m) { return (uint32_t)_mm256_movemask_ps((__m256)m); }
FNN_INLINE uint32_t i32_bits(i32mask m) { return (uint32_t)_mm256_movemask_ps((__m256)m); }
FNN_INLINE uint32_t i64_bits(i64mask m) { return (uint32_t)_mm256_movemask_pd((__m256d)m); }

#else /* baseline */

FNN_INLINE f32v f32_multiply_add(f32v a, f32v b, f32v c) {
#if defined(FNN_NEON)
    return (f32v)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}
FNN_INLINE f64v f64_multiply_add(f64v a, f64v b, f64v c) {
#if defined(FNN_NEON)
    return (f64v)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}
FNN_INLINE f32v f32_minus(f32v c, f32v a) { return c - a; }
FNN_INLINE f64v f64_minus(f64v c, f64v a) { return c - a; }

#if defined(__SSE2__)
FNN_INLINE f32v f32_max(f32v a, f32v b) { return _mm_max_ps(a, b); }
FNN_INLINE f64v f64_max(f64v a, f64v b) { return _mm_max_pd(a, b); }
FNN_INLINE f32v f32_min(f32v a, f32v b) { return _mm_min_ps(a, b); }
FNN_INLINE f64v f64_min(f64v a, f64v b) { return _mm_min_pd(a, b); }
FNN_INLINE i32v i32_pair_dot(i32v a, i32v b) {
    return (i32v)_mm_madd_epi16((__m128i)a, (__m128i)b);
}
FNN_INLINE i64v i64_byte_sad(i64v a, i64v b) { return (i64v)_mm_sad_epu8((__m128i)a, (__m128i)b); }
#elif defined(FNN_NEON)
FNN_INLINE f32v f32_max(f32v a, f32v b) { return (f32v)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
FNN_INLINE f64v f64_max(f64v a, f64v b) { return (f64v)vmaxq_f64((float64x2_t)a, (float64x2_t)b); }
FNN_INLINE f32v f32_min(f32v a, f32v b) { return (f32v)vminq_f32((float32x4_t)a, (float32x4_t)b); }
FNN_INLINE f64v f64_min(f64v a, f64v b) { return (f64v)vminq_f64((float64x2_t)a, (float64x2_t)b); }
FNN_INLINE i32v i32_pair_dot(i32v a, i32v b) {
    const int16x8_t x = (int16x8_t)a, y = (int16x8_t)b;
    return (i32v)vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
}
FNN_INLINE i64v i64_byte_sad(i64v a, i64v b) {
    return (i64v)vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(vabdq_u8((uint8x16_t)a, (uint8x16_t)b))));
}
#else
/* Plain C, lane by lane through memory; with vector extensions the compiler still vectorizes. */
FNN_INLINE f32v f32_max(f32v a, f32v b) {
    float x[FNN_LANES(f32v, float)], y[FNN_LANES(f32v, float)];
    f32_store(x, a);
    f32_store(y, b);
    for (ptrdiff_t i = 0; i < FNN_LANES(f32v, float); ++i) x[i] = x[i] > y[i] ? x[i] : y[i];
    return f32_load(x);
}
FNN_INLINE f64v f64_max(f64v a, f64v b) {
    double x[FNN_LANES(f64v, double)], y[FNN_LANES(f64v, double)];
    f64_store(x, a);
    f64_store(y, b);
    for (ptrdiff_t i = 0; i < FNN_LANES(f64v, double); ++i) x[i] = x[i] > y[i] ? x[i] : y[i];
    return f64_load(x);
}
FNN_INLINE f32v f32_min(f32v a, f32v b) { return -f32_max(-a, -b); }
FNN_INLINE f64v f64_min(f64v a, f64v b) { return -f64_max(-a, -b); }
FNN_INLINE i32v i32_pair_dot(i32v a, i32v b) {
    int16_t x[sizeof(i32v) / 2], y[sizeof(i32v) / 2];
    int32_t sums[sizeof(i32v) / 4];
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (size_t i = 0; i < sizeof(i32v) / 4; ++i)
        sums[i] = (int32_t)x[2 * i] * y[2 * i] + (int32_t)x[2 * i + 1] * y[2 * i + 1];
    return i32_load(sums);
}
FNN_INLINE i64v i64_byte_sad(i64v a, i64v b) {
    uint8_t x[sizeof(i64v)], y[sizeof(i64v)];
    int64_t sums[sizeof(i64v) / 8] = {0};
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (size_t i = 0; i < sizeof(i64v); ++i)
        sums[i / 8] += x[i] > y[i] ? x[i] - y[i] : y[i] - x[i];
    return i64_load(sums);
}
#endif

#if defined(FNN_VECTOR_BYTES)
typedef i32v f32mask, i32mask;
typedef i64v i64mask;
#else
typedef int32_t f32mask, i32mask;
typedef int64_t i64mask;
#endif
/* All ones where greater; the sign of a lane is its bit. */
#if defined(FNN_VECTOR_BYTES)
FNN_INLINE f32mask f32_greater(f32v a, f32v b) { return a > b; }
FNN_INLINE i32mask i32_greater(i32v a, i32v b) { return a > b; }
FNN_INLINE i64mask i64_greater(i64v a, i64v b) { return a > b; }
#else
FNN_INLINE f32mask f32_greater(f32v a, f32v b) { return -(a > b); }
FNN_INLINE i32mask i32_greater(i32v a, i32v b) { return -(a > b); }
FNN_INLINE i64mask i64_greater(i64v a, i64v b) { return -(a > b); }
#endif

FNN_INLINE uint32_t i32_bits(i32mask m) {
#if defined(__SSE2__)
    return (uint32_t)_mm_movemask_ps((__m128)m);
#else
    int32_t lanes[sizeof(i32v) / 4];
    uint32_t bits = 0;
    memcpy(lanes, &m, sizeof lanes);
    for (size_t i = 0; i < sizeof(i32v) / 4; ++i) bits |= (uint32_t)(lanes[i] & 1) << i;
    return bits;
#endif
}
FNN_INLINE uint32_t f32_bits(f32mask m) { return i32_bits(m); }
FNN_INLINE uint32_t i64_bits(i64mask m) {
#if defined(__SSE2__)
    return (uint32_t)_mm_movemask_pd((__m128d)m);
#else
    int64_t lanes[sizeof(i64v) / 8];
    uint32_t bits = 0;
    memcpy(lanes, &m, sizeof lanes);
    for (size_t i = 0; i < sizeof(i64v) / 8; ++i) bits |= (uint32_t)(lanes[i] & 1) << i;
    return bits;
#endif
}

#endif /* instruction sets */

/* Whole numbers of at most 51 bits: the nearest one, and 2^n. Adding 1.5 * 2^52 rounds, and leaves
 * the number in the lowest bits. */
#define FNN_TO_WHOLE 6755399441055744.0
FNN_INLINE f64v f64_round(f64v x) { return (x + FNN_TO_WHOLE) - FNN_TO_WHOLE; }
FNN_INLINE f64v f64_power_of_two(f64v n) {
    const u64v whole = (u64v)f64_to_bits(n + FNN_TO_WHOLE);
    return f64_from_bits((i64v)((whole << 52) + 0x3ff0000000000000u));
}

#if !defined(FNN_ISA_AVX512)
/* x 2^n, in two factors, so that it overflows and loses digits as a product does. */
FNN_INLINE f64v f64_scale(f64v x, f64v n) {
    const f64v half = f64_round(0.5 * n);
    return x * f64_power_of_two(half) * f64_power_of_two(n - half);
}
#endif

#endif
