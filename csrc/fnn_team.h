/* How the threads of one parallel region share out tasks and wait for each other.
 *
 * OpenMP's own barriers will not do for batches of some 0.1 ms. Threads that wait there spin for
 * milliseconds, perhaps on the very core that the last of them needs, or go to sleep at once, and
 * to wake them takes longer than the batch. Here they spin for a moment, and then give up the core
 * again and again until all have come.
 *
 * A team is all zeros when a region begins. Each thread has a member of its own, and all call the
 * same functions in the same order. fnn_next_task hands out the numbers below n_tasks, each to one
 * thread, and then -1, which each of them takes once a round; fnn_wait_for_all returns when all
 * threads have called it, and what they have written is seen by all. Flags that one raises and
 * others look at meanwhile are int64_t, too, stored and loaded as the counters are.
 */
#ifndef FNN_TEAM_H
#define FNN_TEAM_H

#include "fnn_openmp.h"

#include <stddef.h>
#include <stdint.h>

#if defined(_MSC_VER)
#include <intrin.h>
#include <windows.h>
#else
#include <sched.h>
#endif

/* The counters stand in cache lines of their own. */
typedef struct {
    int64_t taken; /* tasks that have been asked for, of all rounds */
    int64_t padding_1[7];
    int64_t n_waiting;
    int64_t padding_2[7];
    int64_t round;
    int64_t padding_3[7];
} fnn_team;

typedef struct {
    fnn_team *team;
    int n_members;
    int64_t first; /* what `taken` was when the round began */
} fnn_member;

#if defined(_MSC_VER)
static inline int64_t fnn_fetch_add(int64_t *counter) {
    return _InterlockedExchangeAdd64(counter, 1);
}
static inline int64_t fnn_load(int64_t *counter) { return _InterlockedOr64(counter, 0); }
static inline void fnn_store(int64_t *counter, int64_t value) {
    _InterlockedExchange64(counter, value);
}
static inline void fnn_pause(void) { YieldProcessor(); }
static inline void fnn_give_way(void) { SwitchToThread(); }
#else
static inline int64_t fnn_fetch_add(int64_t *counter) {
    return __atomic_fetch_add(counter, 1, __ATOMIC_ACQ_REL);
}
static inline int64_t fnn_load(int64_t *counter) {
    return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}
static inline void fnn_store(int64_t *counter, int64_t value) {
    __atomic_store_n(counter, value, __ATOMIC_RELEASE);
}
static inline void fnn_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
static inline void fnn_give_way(void) { sched_yield(); }
#endif

/* Some 30 microseconds. */
#define FNN_PAUSES 2000

static inline fnn_member fnn_join(fnn_team *team) {
    const fnn_member member = {team, omp_get_num_threads(), 0};
    return member;
}

static inline ptrdiff_t fnn_next_task(fnn_member *member, ptrdiff_t n_tasks) {
    const int64_t task = fnn_fetch_add(&member->team->taken) - member->first;
    return task < n_tasks ? (ptrdiff_t)task : -1;
}

/* `n_tasks` is that of the calls before, each of which has ended with -1. */
static inline void fnn_wait_for_all(fnn_member *member, ptrdiff_t n_tasks) {
    fnn_team *team = member->team;
    const int64_t round = fnn_load(&team->round);
    member->first += n_tasks + member->n_members;
    if (fnn_fetch_add(&team->n_waiting) + 1 == member->n_members) {
        fnn_store(&team->n_waiting, 0);
        fnn_store(&team->round, round + 1);
        return;
    }
    for (int64_t turn = 0; fnn_load(&team->round) == round; ++turn) {
        if (turn < FNN_PAUSES)
            fnn_pause();
        else
            fnn_give_way();
    }
}

#endif
