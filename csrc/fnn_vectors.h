/* Vectors of the instruction set that is compiled for, and how they are loaded and stored. */
#ifndef FNN_VECTORS_H
#define FNN_VECTORS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(FNN_ISA_AVX512) || defined(FNN_ISA_AVX2)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__) && defined(__GNUC__)
#include <arm_neon.h>
#define FNN_NEON 1
#endif

#if defined(__GNUC__)
#define FNN_INLINE static inline __attribute__((always_inline))
#define FNN_NOINLINE __attribute__((noinline))
#define FNN_UNROLL _Pragma("GCC unroll 16")
#define FNN_UNROLL_STEPS _Pragma("GCC unroll 4")
#define FNN_PREFETCH(address) __builtin_prefetch(address)
#define FNN_PREFETCH_L2(address) __builtin_prefetch(address, 0, 2)
#define FNN_MAY_ALIAS __attribute__((may_alias))
#define FNN_ALIGNED __attribute__((aligned(64)))
#else
#define FNN_INLINE static inline
#define FNN_NOINLINE
#define FNN_UNROLL
#define FNN_UNROLL_STEPS
#define FNN_PREFETCH(address) ((void)(address))
#define FNN_PREFETCH_L2(address) ((void)(address))
#define FNN_MAY_ALIAS
#define FNN_ALIGNED
#endif

/* Keeps a value that several instructions use in a register. Compilers that fold a load into each
 * of them load it as often, and loads, not multiplications, would set the pace. */
#if defined(__GNUC__) && (defined(FNN_ISA_AVX512) || defined(FNN_ISA_AVX2))
#define FNN_KEEP(v) __asm__("" : "+v"(v))
#else
#define FNN_KEEP(v) ((void)0)
#endif

#if defined(FNN_ISA_AVX512)
#define FNN_VECTOR_BYTES 64
#elif defined(FNN_ISA_AVX2)
#define FNN_VECTOR_BYTES 32
#elif defined(__GNUC__)
#define FNN_VECTOR_BYTES 16
#endif

/* FNN_SHUFFLE(a, b, positions...): lanes of a, then of b, in the order of the positions. */
#if defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 12)
#define FNN_SHUFFLE(...) __builtin_shufflevector(__VA_ARGS__)
#endif

#if defined(FNN_VECTOR_BYTES)
typedef float f32v __attribute__((vector_size(FNN_VECTOR_BYTES)));
typedef double f64v __attribute__((vector_size(FNN_VECTOR_BYTES)));
typedef int16_t i16v __attribute__((vector_size(FNN_VECTOR_BYTES)));
typedef int32_t i32v __attribute__((vector_size(FNN_VECTOR_BYTES)));
typedef int64_t i64v __attribute__((vector_size(FNN_VECTOR_BYTES)));
typedef uint64_t u64v __attribute__((vector_size(FNN_VECTOR_BYTES)));
/* As many floats as f64v has doubles. */
typedef float f32half __attribute__((vector_size(FNN_VECTOR_BYTES / 2)));
#else
typedef float f32v;
typedef double f64v;
typedef int32_t i32v;
typedef int64_t i64v;
typedef uint64_t u64v;
typedef float f32half;
#endif

#define FNN_LANES(vector, element) ((ptrdiff_t)(sizeof(vector) / sizeof(element)))

#if defined(FNN_VECTOR_BYTES)
/* value - 0 is value for every value, -0.0 included, and folds into a broadcast. */
#define FNN_SPLAT(vector, value) ((value) - (vector){0})
#else
#define FNN_SPLAT(vector, value) (value)
#endif

#define FNN_DEFINE_MEMORY(prefix, vector, element)                                              \
    FNN_INLINE vector prefix##_load(const element *source) {                                    \
        vector v;                                                                               \
        memcpy(&v, source, sizeof v);                                                           \
        return v;                                                                               \
    }                                                                                           \
    FNN_INLINE void prefix##_store(element *target, vector v) { memcpy(target, &v, sizeof v); } \
    FNN_INLINE vector prefix##_splat(element value) { return FNN_SPLAT(vector, value); }
FNN_DEFINE_MEMORY(f32, f32v, float)
FNN_DEFINE_MEMORY(f64, f64v, double)
FNN_DEFINE_MEMORY(i32, i32v, int32_t)
FNN_DEFINE_MEMORY(i64, i64v, int64_t)
FNN_DEFINE_MEMORY(f32half, f32half, float)
#undef FNN_DEFINE_MEMORY

#endif
