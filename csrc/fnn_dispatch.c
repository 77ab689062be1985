/* Which tables this CPU can run. Compiled at baseline flags: nothing here may use more. */
#include "fnn_kernels.h"

extern const fnn_kernels fnn_kernels_baseline;
#if defined(FNN_HAVE_X86_TABLES)
extern const fnn_kernels fnn_kernels_avx2, fnn_kernels_avx512;
#endif

ptrdiff_t fnn_available(const fnn_kernels **tables, ptrdiff_t capacity) {
    ptrdiff_t n = 0;
#if defined(FNN_HAVE_X86_TABLES)
    /* libgcc's and compiler-rt's checks ask the operating system too (XGETBV), not CPUID alone. */
    __builtin_cpu_init();
    if (n < capacity && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        tables[n++] = &fnn_kernels_avx512;
    if (n < capacity && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        tables[n++] = &fnn_kernels_avx2;
#endif
    if (n < capacity) tables[n++] = &fnn_kernels_baseline;
    return n;
}
