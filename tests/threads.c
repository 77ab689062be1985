/* Jobs and their threads, without Python, for ThreadSanitizer: as in fastnn/_core/search/_scan.pyx they
 * pack a chunk of samples, compare panels of queries with it, raise a flag, and go on to the next
 * chunk, until that is enough. Several callers do so at a time, some looks stop their jobs, and a
 * forked child does its own alone.
 *
 *     .ci/run threads
 *
 * Returns 0 if all have counted what one thread counts.
 */
#include "fnn_kernels.h"
#include "fnn_atomics.h"
#include "fnn_jobs.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Chunks are scanned until so many of them have been. */
enum {
    CALLERS = 3,
    THREADS = 4,
    FEATURES = 19,
    QUERIES = 150,
    SAMPLES = 3000,
    CHUNK = 256,
    ENOUGH = 9
};

static const fnn_kernels *kernels;
static float queries[QUERIES][FEATURES], samples[SAMPLES][FEATURES];
static double center[FEATURES];
static float *query_panels;

/* What a caller's job works on: packed samples, the accumulators' starts, -|s|^2 / 2. */
typedef struct {
    float *sample_panels, *starts;
    ptrdiff_t first, n; /* the chunk */
    int packs;
    int64_t found;      /* a flag that some thread raises and all look at */
    int64_t *hits;      /* of each panel of queries */
    ptrdiff_t n_chunks; /* that have been scanned */
} counting;

static void *allocate(size_t n_bytes) {
    void *memory = aligned_alloc(64, (n_bytes + 63) / 64 * 64);
    if (!memory) abort();
    return memory;
}

static ptrdiff_t panels_of(ptrdiff_t n, ptrdiff_t width) { return (n + width - 1) / width; }

static void pack(float (*rows)[FEATURES], ptrdiff_t n, ptrdiff_t width, float *panel) {
    const void *each[FNN_MAX_TILE_COLS];
    for (ptrdiff_t r = 0; r < n; ++r) each[r] = rows[r];
    kernels->pack_f32_as_f32(each, 0, n, width, FEATURES, center, 1.0, panel);
}

/* One panel of samples of the chunk. */
static void pack_samples(const counting *all, ptrdiff_t panel) {
    const ptrdiff_t cols = kernels->dot_f32.cols, done = panel * cols, left = all->n - done;
    double sums[FNN_MAX_TILE_COLS];
    float *target = all->sample_panels + done * FEATURES;
    pack(samples + all->first + done, left < cols ? left : cols, cols, target);
    kernels->squares_f32(target, cols, FEATURES, sums);
    for (ptrdiff_t c = 0; c < cols; ++c)
        all->starts[done + c] = c < left ? (float)(-0.5 * sums[c]) : -1e30f;
}

/* How many pairs of a panel of queries and the chunk are within a distance. */
static int64_t scan(const counting *all, ptrdiff_t query_panel) {
    const fnn_tile *tile = &kernels->dot_f32;
    fnn_tile_lanes lanes;
    float thresholds[FNN_MAX_TILE_ROWS];
    uint32_t hits[FNN_MAX_TILE_ROWS];
    double sums[FNN_MAX_TILE_ROWS];
    const float *packed = query_panels + query_panel * tile->rows * FEATURES;
    int64_t count = 0;
    fnn_scan_arguments arguments = {.depth = FEATURES,
                                    .n_panels = panels_of(all->n, tile->cols),
                                    .queries = packed,
                                    .samples = all->sample_panels,
                                    .sample_stride = tile->cols * FEATURES,
                                    .initial = all->starts,
                                    .initial_panel_stride = tile->cols,
                                    .thresholds = thresholds,
                                    .tile = &lanes,
                                    .hits = hits};
    kernels->squares_f32(packed, tile->rows, FEATURES, sums);
    for (ptrdiff_t r = 0; r < tile->rows; ++r) {
        const int used = query_panel * tile->rows + r < QUERIES;
        thresholds[r] = used ? (float)(0.5 * (sums[r] - 0.6 * FEATURES)) : 1e30f;
    }
    for (ptrdiff_t panel = 0; panel < arguments.n_panels; ++panel) {
        arguments.first_panel = panel;
        panel = tile->scan(&arguments);
        if (panel == arguments.n_panels) break;
        for (ptrdiff_t r = 0; r < tile->rows; ++r)
            for (uint32_t bits = hits[r]; bits; bits &= bits - 1) ++count;
    }
    return count;
}

static void run_task(void *context, ptrdiff_t task, int thread) {
    counting *all = context;
    (void)thread;
    if (all->packs) {
        pack_samples(all, task);
        return;
    }
    const int64_t count = scan(all, task);
    all->hits[task] += count;
    if (count > 0) fnn_store(&all->found, 1);
}

static ptrdiff_t next_phase(void *context) {
    counting *all = context;
    if (all->packs) {
        all->packs = 0;
        return panels_of(QUERIES, kernels->dot_f32.rows);
    }
    all->first += all->n;
    ++all->n_chunks;
    if (all->first >= SAMPLES || (all->n_chunks == ENOUGH && fnn_load(&all->found))) return 0;
    all->n = SAMPLES - all->first < CHUNK ? SAMPLES - all->first : CHUNK;
    all->packs = 1;
    return panels_of(all->n, kernels->dot_f32.cols);
}

static int64_t count_with(int n_threads) {
    const ptrdiff_t n_groups = panels_of(QUERIES, kernels->dot_f32.rows);
    counting all = {.n = CHUNK, .packs = 1, .hits = calloc((size_t)n_groups, sizeof(int64_t))};
    all.sample_panels = allocate(sizeof(float) * FEATURES * (CHUNK + FNN_MAX_TILE_COLS));
    all.starts = allocate(sizeof(float) * (CHUNK + FNN_MAX_TILE_COLS));
    const fnn_job job = {.context = &all,
                         .run_task = run_task,
                         .next_phase = next_phase,
                         .n_tasks = panels_of(CHUNK, kernels->dot_f32.cols),
                         .n_threads = n_threads};
    int64_t total = 0;
    if (!fnn_run(&job)) abort();
    for (ptrdiff_t i = 0; i < n_groups; ++i) total += all.hits[i];
    free(all.hits);
    free(all.sample_panels);
    free(all.starts);
    return all.n_chunks == ENOUGH ? total : -1;
}

static void *call(void *result) {
    *(int64_t *)result = count_with(THREADS);
    return NULL;
}

/* Whether several callers at a time count as many. */
static int all_count(int64_t expected) {
    pthread_t callers[CALLERS];
    int64_t found[CALLERS];
    int equal = 1;
    for (int i = 0; i < CALLERS; ++i)
        if (pthread_create(&callers[i], NULL, call, &found[i])) abort();
    for (int i = 0; i < CALLERS; ++i) {
        pthread_join(callers[i], NULL);
        equal &= found[i] == expected;
    }
    return equal;
}

/* ---- jobs that are stopped --------------------------------------------------------------------
 */

static void count_task(void *context, ptrdiff_t task, int thread) {
    (void)task;
    (void)thread;
    fnn_fetch_add(context, 1);
    usleep(100);
}

static int stop(void *watcher, ptrdiff_t n_done) {
    (void)n_done;
    return ++*(int *)watcher == 2; /* it is not called again */
}

static int is_stopped_in_time(void) {
    int64_t n_run = 0;
    int n_looks = 0;
    const fnn_job job = {.context = &n_run,
                         .run_task = count_task,
                         .n_tasks = 1000000,
                         .n_threads = THREADS,
                         .look = stop,
                         .watcher = &n_looks};
    return !fnn_run(&job) && n_looks == 2 && n_run < job.n_tasks;
}

static int child_counts(int64_t expected) {
    int status;
    const pid_t child = fork();
    if (child == 0) _exit(count_with(THREADS) != expected || fnn_count_helpers() != 0);
    return waitpid(child, &status, 0) == child && status == 0;
}

static void fill(float *values, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; ++i) values[i] = (float)rand() / (float)RAND_MAX * 2.0f - 1.0f;
}

int main(void) {
    const fnn_kernels *tables[4];
    const ptrdiff_t n_tables = fnn_available(tables, 4);
    fill(queries[0], QUERIES * FEATURES);
    fill(samples[0], SAMPLES * FEATURES);
    for (ptrdiff_t i = 0; i < n_tables; ++i) {
        kernels = tables[i];
        const ptrdiff_t rows = kernels->dot_f32.rows;
        query_panels = allocate(sizeof(float) * FEATURES * (QUERIES + FNN_MAX_TILE_ROWS));
        for (ptrdiff_t q = 0; q < QUERIES; q += rows)
            pack(queries + q, QUERIES - q < rows ? QUERIES - q : rows, rows,
                 query_panels + q * FEATURES);
        const int64_t expected = count_with(1);
        for (int round = 0; round < 20; ++round)
            if (count_with(THREADS) != expected || !all_count(expected) || expected <= 0) {
                printf("%s: threads disagree\n", kernels->name);
                return 1;
            }
        if (!child_counts(expected)) {
            printf("%s: a forked child does not count as many\n", kernels->name);
            return 1;
        }
        printf("%s: %lld pairs, whoever counts\n", kernels->name, (long long)expected);
        free(query_panels);
    }
    if (!is_stopped_in_time()) {
        printf("a job goes on though a look has stopped it\n");
        return 1;
    }
    return 0;
}
