/* Arithmetic as IEEE 754 has it by default.
 *
 * The control word of a thread may flush numbers below the normal range to zero, or round other
 * than to nearest: torch.set_flush_denormal sets it, say. Results are the same for everyone, so
 * kernels set IEEE's modes, and the caller has its own back afterwards.
 */
#ifndef FNN_IEEE_H
#define FNN_IEEE_H

#include <stdint.h>

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

static inline uint64_t fnn_control_word(void) {
#if defined(__SSE2__) || defined(_M_X64)
    return _mm_getcsr();
#elif defined(__aarch64__) && defined(__GNUC__)
    uint64_t word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return word;
#else
    return 0;
#endif
}

static inline void fnn_set_control_word(uint64_t word) {
#if defined(__SSE2__) || defined(_M_X64)
    _mm_setcsr((unsigned)word);
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("msr fpcr, %0" : : "r"(word));
#else
    (void)word;
#endif
}

/* Set IEEE's modes; return the control word as it was. */
static inline uint64_t fnn_set_ieee(void) {
    const uint64_t before = fnn_control_word();
#if defined(__SSE2__) || defined(_M_X64)
    /* The six flags stay; no exception traps. */
    const uint64_t ieee = (before & 0x3f) | 0x1f80;
#else
    /* FZ16, RMode, FZ, DN. */
    const uint64_t ieee = before & ~(((uint64_t)1 << 19) | ((uint64_t)15 << 22));
#endif
    if (ieee != before) fnn_set_control_word(ieee);
    return before;
}

#endif
