/* Tiles of bytes, four features a step: products of unsigned and signed bytes (NEON: of signed
 * ones), added to sums of 32 bits without saturation. An isa_*.c file names the instruction set,
 * its geometry and the tile; FNN_EMULATED has the instruction in plain C, for tests where no CPU
 * has it. */
#include "fnn_kernels.h"
#include "fnn_simd.h"
#include "fnn_tile_loops.h"

FNN_INLINE i32v i32_add_quads(i32v sum, i32v q, i32v s) {
#if defined(FNN_EMULATED)
    uint8_t x[sizeof(i32v)];
    int8_t y[sizeof(i32v)];
    int32_t sums[FNN_LANES(i32v, int32_t)];
    memcpy(x, &q, sizeof x);
    memcpy(y, &s, sizeof y);
    i32_store(sums, sum);
    for (size_t i = 0; i < sizeof x; ++i) sums[i / 4] += x[i] * y[i];
    return i32_load(sums);
#elif defined(FNN_DOTPROD)
    return (i32v)vdotq_s32((int32x4_t)sum, (int8x16_t)q, (int8x16_t)s);
#elif defined(FNN_ISA_AVX512)
    return (i32v)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)q, (__m512i)s);
#else
    return (i32v)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)q, (__m256i)s);
#endif
}

FNN_DEFINE_ACCUMULATE(quad_u8, i32, i32v, int32_t, FNN_ROWS, i32_add_quads)
FNN_DEFINE_SCAN(quad_u8, i32, i32v, int32_t, FNN_ROWS)

const fnn_tile FNN_QUADS = {
    FNN_ROWS, 2 * FNN_LANES(i32v, int32_t), 4, 4, quad_u8_scan, quad_u8_partial, NULL};
