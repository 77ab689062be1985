/* The threads behind fnn_jobs.h. */
#if defined(__linux__)
#define _GNU_SOURCE /* affinity */
#endif

#include "fnn_jobs.h"
#include "fnn_atomics.h"
#include "fnn_ieee.h"
#include "fnn_system.h"

#include <stdlib.h>

/* ---- constants ------------------------------------------------------------------------------- */

enum {
    /* A thread that waits for others' tasks pauses so often, some 30 us, gives up its core so often
     * and then sleeps. To be woken takes tens of microseconds, phases of training 0.1 ms. */
    PAUSES = 1000,
    YIELDS = 100,
    /* An idle helper looks so often for the next job before it sleeps, at most and at least: twice
     * as often when one came in time, half as often when none did. Pauses first, then it offers its
     * core to others each time; all in all some 0.2 ms. */
    IDLE_PAUSES = 500,
    MAX_IDLE_TURNS = 3000,
    MIN_IDLE_TURNS = 16,
    /* Helpers that one thread wakes; each of those wakes as many. */
    WAKES = 2,
    STACK_BYTES = 2 << 20,
    CACHE_LINE = 64
};

/* ---- jobs ------------------------------------------------------------------------------------ */

/* A job that is open to helpers. It outlives its caller's call where a helper still looks at it. */
typedef struct open_job {
    fnn_job given;
    /* Guarded by the pool's lock: the list of jobs that are open; who holds this one; and which
     * numbers of threads are in use, n_threads of them. */
    struct open_job *next;
    int n_holders;
    /* Threads inside. */
    int64_t n_inside;
    char apart_1[CACHE_LINE];
    /* The phase's number, and how many of its tasks nobody has taken: (phase << 32) | left. */
    int64_t state;
    int64_t n_tasks;
    char apart_2[CACHE_LINE];
    int64_t n_unfinished;
    int64_t is_stopped;
    int64_t is_done;
    char apart_3[CACHE_LINE];
    int64_t n_sleeping;
    mutex sleep_lock;
    condition changed;
    char numbers[];
} open_job;

static int64_t left_of(int64_t state) { return state & 0xffffffff; }

/* Returns -1 if all tasks of the phase are taken. Whoever holds a task may rely on n_tasks. */
static ptrdiff_t take_task(open_job *job) {
    int64_t state = fnn_load(&job->state);
    while (left_of(state) > 0)
        if (fnn_compare_exchange(&job->state, &state, state - 1))
            return (ptrdiff_t)(fnn_load(&job->n_tasks) - left_of(state));
    return -1;
}

static void wake_sleeping(open_job *job) {
    if (fnn_load(&job->n_sleeping) == 0) return;
    lock(&job->sleep_lock);
    signal_all(&job->changed);
    unlock(&job->sleep_lock);
}

static int has_to_stop(open_job *job) {
    if (!fnn_load(&job->is_stopped)) return 0;
    return !job->given.is_committed || !fnn_load((int64_t *)job->given.is_committed);
}

/* Called by the one thread that has done the last task of a phase. */
static void end_phase(open_job *job) {
    ptrdiff_t n_tasks = 0;
    if (job->given.next_phase && !has_to_stop(job))
        n_tasks = job->given.next_phase(job->given.context);
    if (n_tasks > 0) {
        const int64_t phase = fnn_load(&job->state) >> 32;
        fnn_store(&job->n_tasks, n_tasks);
        fnn_store(&job->n_unfinished, n_tasks);
        fnn_store(&job->state, ((phase + 1) & 0x7fffffff) << 32 | n_tasks);
    } else
        fnn_store(&job->is_done, 1);
    wake_sleeping(job);
}

static void do_task(open_job *job, ptrdiff_t task, int thread) {
    if (!has_to_stop(job)) job->given.run_task(job->given.context, task, thread);
    if (fnn_fetch_add(&job->n_unfinished, -1) == 1) end_phase(job);
}

static int has_changed(open_job *job, int64_t state) {
    return fnn_load(&job->state) != state || fnn_load(&job->is_done);
}

static void pause_or_yield(int turn, int n_pauses) {
    if (turn < n_pauses)
        fnn_pause();
    else
        yield();
}

/* Wait for another phase, or for the end; `seconds` at most, unless that is 0. */
static void wait_for_change(open_job *job, int64_t state, double seconds) {
    for (int turn = 0; turn < PAUSES + YIELDS; ++turn) {
        if (has_changed(job, state)) return;
        pause_or_yield(turn, PAUSES);
    }
    lock(&job->sleep_lock);
    fnn_fetch_add(&job->n_sleeping, 1);
    if (seconds > 0.0) {
        if (!has_changed(job, state)) wait_a_while(&job->changed, &job->sleep_lock, seconds);
    } else
        while (!has_changed(job, state)) wait_for(&job->changed, &job->sleep_lock);
    fnn_fetch_add(&job->n_sleeping, -1);
    unlock(&job->sleep_lock);
}

/* ---- the pool -------------------------------------------------------------------------------- */

typedef struct helper {
    struct helper *next; /* of those that sleep */
    condition wake;
    int is_asleep;
    int idle_turns;
#if defined(__linux__)
    int64_t id;
#endif
} helper;

static struct {
    mutex lock;
    /* All guarded by the lock. `n_opened` and `n_open` are read without it, too. */
    open_job *open;
    helper *asleep;
    int n_helpers, n_idle;
    int64_t n_open;
    int64_t n_opened;
    /* Nanoseconds: see note_delay. */
    int64_t delay, delay_noted;
    int64_t is_forked;
    int is_prepared;
} pool = {.lock = MUTEX_INITIALIZER};

/* How many threads a job may have while there are others: all callers' jobs have the same part of
 * what they may have when alone. */
static int64_t share(const open_job *job) {
    const int64_t n_open = fnn_load(&pool.n_open);
    return n_open <= 1 ? job->given.n_threads : (job->given.n_threads + n_open - 1) / n_open;
}

static int wants_helpers(open_job *job) {
    return !fnn_load(&job->is_done) && fnn_load(&job->n_inside) < share(job);
}

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

/* Linux may wake a thread on the very core of the thread that wakes it, where it waits until that
 * one has done all the work: in a virtual machine a core that sleeps counts as out of reach. So
 * helpers are kept off their caller's core. */
static void steer(const helper *who) {
    cpu_set_t cores;
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE || sched_getaffinity(0, sizeof cores, &cores) != 0) return;
    if (CPU_COUNT(&cores) > 1) CPU_CLR(here, &cores);
    sched_setaffinity((pid_t)who->id, sizeof cores, &cores);
}
static void introduce(helper *me) { me->id = syscall(SYS_gettid); }
#else
static void steer(const helper *who) { (void)who; }
static void introduce(helper *me) { (void)me; }
#endif

/* With the lock held, which is given up: wake some of the helpers that a job still wants. */
static void unlock_and_wake(open_job *job) {
    helper *woken[WAKES];
    int n = 0;
    int64_t n_wanted = share(job) - fnn_load(&job->n_inside) - pool.n_idle;
    for (; n < WAKES && n < n_wanted && pool.asleep; ++n) {
        woken[n] = pool.asleep;
        pool.asleep = woken[n]->next;
        woken[n]->is_asleep = 0;
    }
    unlock(&pool.lock);
    for (int i = 0; i < n; ++i) {
        steer(woken[i]);
        signal_one(&woken[i]->wake);
    }
}

/* With the lock held: take a number in a job that wants helpers. */
static open_job *join_one(int *thread) {
    for (open_job *job = pool.open; job; job = job->next) {
        if (!wants_helpers(job)) continue;
        for (*thread = 1; job->numbers[*thread]; ++*thread) {
        }
        job->numbers[*thread] = 1;
        ++job->n_holders;
        fnn_fetch_add(&job->n_inside, 1);
        return job;
    }
    return NULL;
}

/* With the lock held. */
static void let_go(open_job *job) {
    if (--job->n_holders > 0) return;
    destroy(&job->sleep_lock, &job->changed);
    free(job);
}

static void leave(open_job *job, int thread) {
    fnn_fetch_add(&job->n_inside, -1);
    job->numbers[thread] = 0;
    let_go(job);
}

/* Do tasks of a job until it is done, or until other callers want the core. */
static void help(open_job *job, int thread) {
    for (;;) {
        const int64_t state = fnn_load(&job->state);
        const ptrdiff_t task = take_task(job);
        if (task >= 0)
            do_task(job, task, thread);
        else if (fnn_load(&job->is_done))
            break;
        else
            wait_for_change(job, state, 0.0);
        if (fnn_load(&job->n_inside) > share(job)) break;
    }
}

/* With the lock held: look for another job for a moment, and then sleep. */
static void rest(helper *me) {
    const int64_t n_opened = pool.n_opened;
    ++pool.n_idle;
    unlock(&pool.lock);
    for (int turn = 0; turn < me->idle_turns && fnn_load(&pool.n_opened) == n_opened; ++turn)
        pause_or_yield(turn, IDLE_PAUSES);
    lock(&pool.lock);
    --pool.n_idle;
    if (pool.n_opened != n_opened) {
        if (me->idle_turns < MAX_IDLE_TURNS) me->idle_turns *= 2;
        return;
    }
    if (me->idle_turns > MIN_IDLE_TURNS) me->idle_turns /= 2;
    me->is_asleep = 1;
    me->next = pool.asleep;
    pool.asleep = me;
    while (me->is_asleep) wait_for(&me->wake, &pool.lock);
}

static void serve(helper *me) {
    fnn_set_ieee();
    introduce(me);
    lock(&pool.lock);
    for (;;) {
        int thread;
        open_job *job = join_one(&thread);
        if (!job) {
            rest(me);
            continue;
        }
        unlock_and_wake(job);
        help(job, thread);
        lock(&pool.lock);
        leave(job, thread);
    }
}

#if defined(_WIN32)
static DWORD WINAPI start_serving(void *me) {
    serve(me);
    return 0;
}
static int start_thread(helper *me) {
    HANDLE thread = CreateThread(NULL, STACK_BYTES, start_serving, me, 0, NULL);
    if (!thread) return 0;
    CloseHandle(thread);
    return 1;
}
static void prepare_for_forks(void) {}
#else
static void *start_serving(void *me) {
    serve(me);
    return NULL;
}
/* Signals are for the threads of the program. */
static int start_thread(helper *me) {
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&thread, &attributes, start_serving, me);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0;
}
static void note_fork(void) { fnn_store(&pool.is_forked, 1); }
static void prepare_for_forks(void) { pthread_atfork(NULL, NULL, note_fork); }
#endif

/* With the lock held. */
static void add_helpers(int n_wanted) {
    while (pool.n_helpers < n_wanted) {
        helper *me = calloc(1, sizeof(helper));
        mutex unused;
        if (!me) return;
        init(&unused, &me->wake);
        me->idle_turns = MAX_IDLE_TURNS;
        if (!start_thread(me)) {
            destroy(&unused, &me->wake);
            free(me);
            return;
        }
        ++pool.n_helpers;
    }
}

int fnn_count_helpers(void) {
    if (fnn_load(&pool.is_forked)) return 0;
    lock(&pool.lock);
    const int n = pool.n_helpers;
    unlock(&pool.lock);
    return n;
}

/* ---- the caller ------------------------------------------------------------------------------ */

static open_job *open_to_helpers(const fnn_job *given) {
    const size_t n_threads = (size_t)given->n_threads;
    open_job *job = calloc(1, sizeof(open_job) + n_threads);
    if (!job) return NULL;
    job->given = *given;
    job->numbers[0] = 1;
    job->n_inside = job->n_holders = 1;
    job->n_tasks = job->n_unfinished = job->state = given->n_tasks;
    init(&job->sleep_lock, &job->changed);
    lock(&pool.lock);
    if (!pool.is_prepared) {
        prepare_for_forks();
        pool.is_prepared = 1;
    }
    add_helpers(given->n_threads - 1);
    job->next = pool.open;
    pool.open = job;
    fnn_fetch_add(&pool.n_open, 1);
    fnn_fetch_add(&pool.n_opened, 1);
    unlock_and_wake(job);
    return job;
}

static void close_job(open_job *job) {
    lock(&pool.lock);
    open_job **place = &pool.open;
    while (*place != job) place = &(*place)->next;
    *place = job->next;
    fnn_fetch_add(&pool.n_open, -1);
    leave(job, 0);
    /* What it had may go to another caller. */
    for (job = pool.open; job; job = job->next)
        if (wants_helpers(job)) {
            fnn_fetch_add(&pool.n_opened, 1);
            unlock_and_wake(job);
            return;
        }
    unlock(&pool.lock);
}

/* ---- what helpers cost ------------------------------------------------------------------------
 */

/* Where other programs want the cores, too, a helper may lose its own in the middle of a task, and
 * the caller waits for it. How long, on average over some of the last jobs, is what a helper has to
 * save: see threads_for in _jobs.pyx. What has been noted fades, so that helpers are tried again.
 */
#define DELAY_WEIGHT (1.0 / 64)
#define SECONDS_TO_HALVE_DELAY 0.3

int64_t fnn_expected_delay(void) {
    double delay = (double)fnn_load(&pool.delay), age;
    if (delay == 0.0) return 0;
    age = (seconds_now() - 1e-9 * (double)fnn_load(&pool.delay_noted)) / SECONDS_TO_HALVE_DELAY;
    for (; age >= 1.0 && delay >= 1.0; age -= 1.0) delay *= 0.5;
    return (int64_t)(delay * (1.0 - 0.5 * (age < 1.0 ? age : 1.0)));
}

static void note_delay(double seconds) {
    const double before = (double)fnn_expected_delay();
    fnn_store(&pool.delay, (int64_t)(before + DELAY_WEIGHT * (1e9 * seconds - before)));
    fnn_store(&pool.delay_noted, (int64_t)(1e9 * seconds_now()));
}

static void look_now(open_job *job) {
    const ptrdiff_t n_done = (ptrdiff_t)(fnn_load(&job->n_tasks) - fnn_load(&job->n_unfinished));
    if (job->given.look(job->given.watcher, n_done)) fnn_store(&job->is_stopped, 1);
}

/* Do tasks until the job is done, and look up by the clock. Returns how many seconds have passed in
 * waiting for others' tasks, beyond what the longest of one's own took: at the end of a phase, on
 * average, since a job of many phases is cut short by many small delays and has many to win. */
static double work(open_job *job) {
    double now = seconds_now(), looked = now, longest = 0.0, delay = 0.0;
    ptrdiff_t n_waits = 0;
    while (!fnn_load(&job->is_done)) {
        const int64_t state = fnn_load(&job->state);
        const ptrdiff_t task = take_task(job);
        const double before = now;
        if (task >= 0)
            do_task(job, task, 0);
        else
            wait_for_change(job, state, job->given.look ? FNN_LOOK_SECONDS : 0.0);
        now = seconds_now();
        if (task >= 0) {
            longest = now - before > longest ? now - before : longest;
        } else {
            delay += now - before > longest ? now - before - longest : 0.0;
            n_waits += has_changed(job, state); /* or it was only time to look */
        }
        if (job->given.look && !fnn_load(&job->is_stopped) && now - looked > FNN_LOOK_SECONDS) {
            look_now(job);
            looked = now = seconds_now();
        }
    }
    return n_waits > 0 ? delay / (double)n_waits : 0.0;
}

static int run_alone(const fnn_job *given) {
    open_job job = {.given = *given}; /* without room for numbers */
    job.n_tasks = job.n_unfinished = job.state = given->n_tasks;
    work(&job);
    return !job.is_stopped;
}

int fnn_run(const fnn_job *given) {
    open_job *job = NULL;
    if (given->n_tasks <= 0) return 1;
    if (given->n_threads > 1 && !fnn_load(&pool.is_forked)) job = open_to_helpers(given);
    if (!job) return run_alone(given);
    note_delay(work(job));
    const int is_stopped = (int)fnn_load(&job->is_stopped);
    close_job(job);
    return !is_stopped;
}
