/* What threads need before they begin: to be awake, each on a core of its own, and arithmetic as
 * IEEE 754 has it.
 *
 * Cores. Linux in a virtual machine may take the core of a sleeping thread for one that is out of
 * reach, and wake the thread on the core of its caller. There it waits for the caller's time slice
 * to end: 4 ms at the start of a parallel region, and as much at its end, for work of one. So the
 * caller waits for the others, and goes to another core itself if they do not come.
 *
 * Arithmetic. Whoever has numbers below the normal range flushed to zero, or rounded other than to
 * nearest, in the caller's thread or in one that serves it, gets the same results as all others;
 * and has his modes back afterwards.
 */
#ifndef FNN_GATHER_H
#define FNN_GATHER_H

#include "fnn_team.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

/* ---- arithmetic --------------------------------------------------------------------------- */

/* A thread's control word. */
static inline uint64_t fnn_arithmetic(void) {
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

static inline void fnn_set_arithmetic(uint64_t word) {
#if defined(__SSE2__) || defined(_M_X64)
    _mm_setcsr((unsigned)word);
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("msr fpcr, %0" : : "r"(word));
#else
    (void)word;
#endif
}

/* The word with all modes as IEEE 754 has them by default. */
static inline uint64_t fnn_ieee(uint64_t word) {
#if defined(__SSE2__) || defined(_M_X64)
    /* The six flags stay; no exception traps. */
    return (word & 0x3f) | 0x1f80;
#else
    /* FZ16, RMode, FZ, DN. */
    return word & ~(((uint64_t)1 << 19) | ((uint64_t)15 << 22));
#endif
}

/* Set them; returns whether they were others. */
static inline int64_t fnn_take_ieee(uint64_t *before) {
    *before = fnn_arithmetic();
    if (fnn_ieee(*before) == *before) return 0;
    fnn_set_arithmetic(fnn_ieee(*before));
    return 1;
}

/* ---- cores -------------------------------------------------------------------------------- */

/* Seconds; a thread that sleeps on a core of its own is there in less than half of them. */
#define FNN_PATIENCE 2e-4

/* Go to another core, and be free to come back. */
static inline void fnn_make_way(void) {
#if defined(__linux__) && defined(CPU_CLR) /* with _GNU_SOURCE, which Python.h sets */
    cpu_set_t allowed, others;
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    others = allowed;
    CPU_CLR(here, &others);
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
        sched_setaffinity(0, sizeof allowed, &allowed);
#endif
}

static inline void fnn_wait_for_others(int64_t *n_there, int n_members) {
    double patience = omp_get_wtime() + FNN_PATIENCE;
    for (int moved = 0; fnn_load(n_there) < n_members - 1;) {
        fnn_pause();
        if (omp_get_wtime() < patience) continue;
        if (moved) return; /* the cores are busy otherwise */
        fnn_make_way();
        moved = 1;
        patience += FNN_PATIENCE;
    }
}

/* ---- both --------------------------------------------------------------------------------- */

/* `before`, [n_threads], zeros: receives the control words that fnn_release needs. Returns whether
 * it does. */
static inline int64_t fnn_gather(int n_threads, uint64_t *before) {
    int64_t changed = 0;
#if defined(_OPENMP)
    if (n_threads > 1) {
        int64_t n_there = 0;
#pragma omp parallel num_threads(n_threads)
        {
            const int thread = omp_get_thread_num();
            if (fnn_take_ieee(&before[thread])) fnn_fetch_add(&changed);
            if (thread == 0)
                fnn_wait_for_others(&n_there, omp_get_num_threads());
            else
                fnn_fetch_add(&n_there);
        }
        return changed;
    }
#endif
    (void)n_threads;
    changed = fnn_take_ieee(before);
    return changed;
}

static inline void fnn_release(int n_threads, const uint64_t *before) {
#if defined(_OPENMP)
    if (n_threads > 1) {
#pragma omp parallel num_threads(n_threads)
        if (before[omp_get_thread_num()] != 0) fnn_set_arithmetic(before[omp_get_thread_num()]);
        return;
    }
#endif
    (void)n_threads;
    fnn_set_arithmetic(before[0]);
}

#endif
