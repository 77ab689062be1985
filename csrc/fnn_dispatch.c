/* Which tables this CPU can run. Compiled at baseline flags: nothing here may use more. */
#include "fnn_kernels.h"

extern const fnn_kernels fnn_kernels_baseline;

#if defined(FNN_HAVE_QUADS) || defined(FNN_HAVE_EMULATED_QUADS)
extern const fnn_tile fnn_quads_avx2, fnn_quads_avx512, fnn_quads_neon, fnn_quads_emulated;

static const fnn_kernels *with_quads(const fnn_kernels *table, const fnn_tile *quads,
                                     const char *name, fnn_kernels *copy) {
    *copy = *table;
    copy->name = name;
    copy->quad_u8 = *quads;
    return copy;
}
#endif

#if defined(FNN_HAVE_X86_TABLES)
#include <cpuid.h>

extern const fnn_kernels fnn_kernels_avx2, fnn_kernels_avx512;

/* AMD's family 19h, whose members with AVX-512 are Zen 4. It takes the larger of two vectors of 64
 * bytes at half the rate of vectors of 32: tiles of maxima take 1.7 times as long. */
static int is_zen4(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx) return 0;
    return __get_cpuid(1, &a, &b, &c, &d) && ((a >> 8) & 15) + ((a >> 20) & 255) == 0x19;
}

static const fnn_kernels *avx512(void) {
    static fnn_kernels for_zen4;
    if (!is_zen4()) return &fnn_kernels_avx512;
    for_zen4 = fnn_kernels_avx512;
    for_zen4.max_f32 = fnn_kernels_avx2.max_f32;
    for_zen4.max_f64 = fnn_kernels_avx2.max_f64;
    for_zen4.chebyshev_f32 = fnn_kernels_avx2.chebyshev_f32;
    return &for_zen4;
}

#if defined(FNN_HAVE_QUADS)
/* AVX-VNNI, the VEX form, has a leaf of its own; AVX2 has been found already. */
static int has_avx_vnni(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
#endif
#endif

#if defined(FNN_HAVE_QUADS) && defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
#define FNN_HWCAP_DOTPROD (1ul << 20)
static int has_dotprod(void) { return (getauxval(AT_HWCAP) & FNN_HWCAP_DOTPROD) != 0; }
#elif defined(__APPLE__) /* all that there are */
static int has_dotprod(void) { return 1; }
#else
static int has_dotprod(void) { return 0; }
#endif
#endif

ptrdiff_t fnn_available(const fnn_kernels **tables, ptrdiff_t capacity) {
    ptrdiff_t n = 0;
#if defined(FNN_HAVE_X86_TABLES)
    /* libgcc's and compiler-rt's checks ask the operating system too (XGETBV), not CPUID alone. */
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
#if defined(FNN_HAVE_QUADS)
        static fnn_kernels vnni;
        if (n < capacity && __builtin_cpu_supports("avx512vnni"))
            tables[n++] = with_quads(avx512(), &fnn_quads_avx512, "avx512_vnni", &vnni);
#endif
        if (n < capacity) tables[n++] = avx512();
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
#if defined(FNN_HAVE_QUADS)
        static fnn_kernels vnni;
        if (n < capacity && has_avx_vnni())
            tables[n++] = with_quads(&fnn_kernels_avx2, &fnn_quads_avx2, "avx2_vnni", &vnni);
#endif
        if (n < capacity) tables[n++] = &fnn_kernels_avx2;
    }
#endif
#if defined(FNN_HAVE_QUADS) && defined(__aarch64__)
    static fnn_kernels dotprod;
    if (n < capacity && has_dotprod()) {
        tables[n++] = with_quads(&fnn_kernels_baseline, &fnn_quads_neon, "neon_dotprod", &dotprod);
        dotprod.quads_are_signed = 1;
    }
#endif
    if (n < capacity) tables[n++] = &fnn_kernels_baseline;
#if defined(FNN_HAVE_EMULATED_QUADS)
    static fnn_kernels emulated;
    if (n < capacity)
        tables[n++] =
            with_quads(&fnn_kernels_baseline, &fnn_quads_emulated, "emulated_vnni", &emulated);
#endif
    return n;
}
