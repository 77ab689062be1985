/* Counters and flags that threads share: int64_t, sequentially consistent. And what a thread does
 * while it waits for one to change. */
#ifndef FNN_ATOMICS_H
#define FNN_ATOMICS_H

#include <stdint.h>

#if defined(_MSC_VER)
#include <intrin.h>

static inline int64_t fnn_load(int64_t *counter) { return _InterlockedOr64(counter, 0); }
static inline void fnn_store(int64_t *counter, int64_t value) {
    _InterlockedExchange64(counter, value);
}
/* Returns what it was before. */
static inline int64_t fnn_fetch_add(int64_t *counter, int64_t value) {
    return _InterlockedExchangeAdd64(counter, value);
}
/* Returns whether it was as expected; if not, *expected is what it was. */
static inline int fnn_compare_exchange(int64_t *counter, int64_t *expected, int64_t value) {
    const int64_t before = *expected;
    *expected = _InterlockedCompareExchange64(counter, value, before);
    return *expected == before;
}
static inline void fnn_pause(void) { _mm_pause(); }
#else
static inline int64_t fnn_load(int64_t *counter) {
    return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}
static inline void fnn_store(int64_t *counter, int64_t value) {
    __atomic_store_n(counter, value, __ATOMIC_SEQ_CST);
}
static inline int64_t fnn_fetch_add(int64_t *counter, int64_t value) {
    return __atomic_fetch_add(counter, value, __ATOMIC_SEQ_CST);
}
static inline int fnn_compare_exchange(int64_t *counter, int64_t *expected, int64_t value) {
    return __atomic_compare_exchange_n(counter, expected, value, 0, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}
static inline void fnn_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
#endif

#endif
