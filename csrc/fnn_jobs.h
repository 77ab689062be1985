/* Jobs: how the threads of the process share the tasks of a parallel loop.
 *
 * A job is a number of tasks, or several phases of tasks one after the other. The thread that calls
 * fnn_run begins with them at once, and helpers join it when they come. A phase is over when its
 * tasks are, and so is a job: nobody waits for a thread that holds no task, whether it has begun or
 * not. A helper that comes late finds nothing left, and has delayed nobody. That is what a parallel
 * region of OpenMP cannot give: it ends with a barrier of all its threads, and on a busy machine
 * the caller then waits for one that has not been given a core.
 *
 * Helpers are threads of the process that are started when they are first needed, and shared by all
 * jobs. They look for the next job for some microseconds and then sleep. Several callers at a time
 * have the cores between them: see `share` in fnn_jobs.c. In a forked child, which has no helpers,
 * and where one cannot be started, the caller does all tasks itself.
 */
#ifndef FNN_JOBS_H
#define FNN_JOBS_H

#include <stddef.h>
#include <stdint.h>

/* `thread` is below the job's n_threads, the caller's is 0, and no two threads have the same. */
typedef void (*fnn_run_task)(void *context, ptrdiff_t task, int thread);
/* Called when all tasks of a phase are done, by one of the threads: returns how many the next phase
 * has, below 2^31; 0 if the job is done. */
typedef ptrdiff_t (*fnn_next_phase)(void *context);
/* Called by the calling thread every FNN_LOOK_SECONDS or so: returns whether the job has to stop.
 * `n_done` tasks of the phase are done. */
typedef int (*fnn_look)(void *watcher, ptrdiff_t n_done);

#define FNN_LOOK_SECONDS 0.05

typedef struct {
    void *context;
    fnn_run_task run_task;
    fnn_next_phase next_phase; /* NULL: there is one phase */
    ptrdiff_t n_tasks;         /* of the first phase, below 2^31 */
    int n_threads;             /* at most, the caller's included; at least 1 */
    fnn_look look;             /* or NULL */
    void *watcher;
    const int64_t *is_committed; /* or NULL: while it is not 0, a job that has to stop goes on */
} fnn_job;

/* Do the job. Returns 0 if `look` has stopped it, after all tasks that had begun, and all phases to
 * which it is committed. Else 1. */
int fnn_run(const fnn_job *job);

/* How many nanoseconds a caller has lately waited for its helpers, about: 0 where cores are free.
 */
int64_t fnn_expected_delay(void);

/* How many helpers there are. */
int fnn_count_helpers(void);

#endif
