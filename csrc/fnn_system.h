/* What systems differ in: locks, conditions, and the clock. */
#ifndef FNN_SYSTEM_H
#define FNN_SYSTEM_H

#if defined(_WIN32)
#include <windows.h>

typedef SRWLOCK mutex;
typedef CONDITION_VARIABLE condition;
#define MUTEX_INITIALIZER SRWLOCK_INIT

static void init(mutex *m, condition *c) {
    InitializeSRWLock(m);
    InitializeConditionVariable(c);
}
static void destroy(mutex *m, condition *c) {
    (void)m;
    (void)c;
}
static void lock(mutex *m) { AcquireSRWLockExclusive(m); }
static void unlock(mutex *m) { ReleaseSRWLockExclusive(m); }
static void wait_for(condition *c, mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static void wait_a_while(condition *c, mutex *m, double seconds) {
    SleepConditionVariableSRW(c, m, (DWORD)(1e3 * seconds) + 1, 0);
}
static void signal_one(condition *c) { WakeConditionVariable(c); }
static void signal_all(condition *c) { WakeAllConditionVariable(c); }
static void yield(void) { SwitchToThread(); }
static double seconds_now(void) {
    LARGE_INTEGER ticks, rate;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&rate);
    return (double)ticks.QuadPart / (double)rate.QuadPart;
}
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;
#define MUTEX_INITIALIZER PTHREAD_MUTEX_INITIALIZER

static void init(mutex *m, condition *c) {
    pthread_mutex_init(m, NULL);
    pthread_cond_init(c, NULL);
}
static void destroy(mutex *m, condition *c) {
    pthread_cond_destroy(c);
    pthread_mutex_destroy(m);
}
static void lock(mutex *m) { pthread_mutex_lock(m); }
static void unlock(mutex *m) { pthread_mutex_unlock(m); }
static void wait_for(condition *c, mutex *m) { pthread_cond_wait(c, m); }
static void wait_a_while(condition *c, mutex *m, double seconds) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(1e9 * seconds);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(c, m, &until);
}
static void signal_one(condition *c) { pthread_cond_signal(c); }
static void signal_all(condition *c) { pthread_cond_broadcast(c); }
static void yield(void) { sched_yield(); }
static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#endif

#endif
