/* The threads of a scan, without Python, for ThreadSanitizer: as in fastnn/_core/_scan.pyx they pack
 * a chunk of samples together, wait for each other, compare panels of queries with it, raise flags
 * that the others look at, and go on to the next chunk until one of them says that it is enough.
 *
 *     .ci/run threads
 *
 * Returns 0 if the threads together have counted what one alone counts.
 */
#include "fnn_kernels.h"
#include "fnn_team.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Chunks are scanned until so many of them have been. */
enum { THREADS = 4, FEATURES = 19, QUERIES = 150, SAMPLES = 3000, CHUNK = 256, ENOUGH = 9 };

static const fnn_kernels *kernels;
static float queries[QUERIES][FEATURES], samples[SAMPLES][FEATURES];
static double center[FEATURES];
/* Packed queries and samples, and the accumulators' starts, -|s|^2 / 2. */
static float *query_panels, *sample_panels, *starts;

typedef struct {
    fnn_team team;
    int n_threads;
    int64_t found;      /* a flag that some thread raises and all look at */
    int ends[2];        /* of even and odd chunks, as thread 0 says */
    int64_t *hits;      /* of each panel of queries */
    ptrdiff_t n_chunks; /* that have been scanned */
} job;

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
static void pack_samples(ptrdiff_t first, ptrdiff_t panel, ptrdiff_t n) {
    const ptrdiff_t cols = kernels->dot_f32.cols, done = panel * cols;
    double sums[FNN_MAX_TILE_COLS];
    float *target = sample_panels + done * FEATURES;
    pack(samples + first + done, n - done < cols ? n - done : cols, cols, target);
    kernels->squares_f32(target, cols, FEATURES, sums);
    for (ptrdiff_t c = 0; c < cols; ++c)
        starts[done + c] = done + c < n ? (float)(-0.5 * sums[c]) : -1e30f;
}

/* How many pairs of a panel of queries and the chunk are within a distance. */
static int64_t scan(ptrdiff_t query_panel, ptrdiff_t n) {
    const fnn_tile *tile = &kernels->dot_f32;
    fnn_tile_lanes lanes;
    float thresholds[FNN_MAX_TILE_ROWS];
    uint32_t hits[FNN_MAX_TILE_ROWS];
    double sums[FNN_MAX_TILE_ROWS];
    const float *packed = query_panels + query_panel * tile->rows * FEATURES;
    int64_t count = 0;
    fnn_scan_arguments arguments = {.depth = FEATURES,
                                    .n_panels = panels_of(n, tile->cols),
                                    .queries = packed,
                                    .samples = sample_panels,
                                    .sample_stride = tile->cols * FEATURES,
                                    .initial = starts,
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

static void go_on(job *all, int thread) {
    fnn_member member = {&all->team, all->n_threads, 0};
    const ptrdiff_t n_groups = panels_of(QUERIES, kernels->dot_f32.rows);
    ptrdiff_t step = 0;
    for (ptrdiff_t first = 0; first < SAMPLES; first += CHUNK, ++step) {
        const ptrdiff_t n = SAMPLES - first < CHUNK ? SAMPLES - first : CHUNK;
        const ptrdiff_t n_panels = panels_of(n, kernels->dot_f32.cols);
        for (ptrdiff_t i; (i = fnn_next_task(&member, n_panels)) >= 0;) pack_samples(first, i, n);
        fnn_wait_for_all(&member, n_panels);
        for (ptrdiff_t i; (i = fnn_next_task(&member, n_groups)) >= 0;) {
            const int64_t count = scan(i, n);
            all->hits[i] += count;
            if (count > 0) fnn_store(&all->found, 1);
        }
        if (thread == 0) {
            all->n_chunks = step + 1;
            all->ends[step % 2] = step + 1 == ENOUGH && fnn_load(&all->found);
        }
        fnn_wait_for_all(&member, n_groups);
        if (all->ends[step % 2]) break;
    }
}

typedef struct {
    job *all;
    int thread;
} part;

static void *run(void *argument) {
    const part *mine = argument;
    go_on(mine->all, mine->thread);
    return NULL;
}

static int64_t count_with(int n_threads) {
    const ptrdiff_t n_groups = panels_of(QUERIES, kernels->dot_f32.rows);
    job all = {.n_threads = n_threads, .hits = calloc((size_t)n_groups, sizeof(int64_t))};
    pthread_t threads[THREADS];
    part parts[THREADS];
    int64_t total = 0;
    for (int i = 0; i < n_threads; ++i) {
        parts[i] = (part){&all, i};
        if (pthread_create(&threads[i], NULL, run, &parts[i])) abort();
    }
    for (int i = 0; i < n_threads; ++i) pthread_join(threads[i], NULL);
    for (ptrdiff_t i = 0; i < n_groups; ++i) total += all.hits[i];
    free(all.hits);
    return all.n_chunks == ENOUGH ? total : -1;
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
        sample_panels = allocate(sizeof(float) * FEATURES * (CHUNK + FNN_MAX_TILE_COLS));
        starts = allocate(sizeof(float) * (CHUNK + FNN_MAX_TILE_COLS));
        for (ptrdiff_t q = 0; q < QUERIES; q += rows)
            pack(queries + q, QUERIES - q < rows ? QUERIES - q : rows, rows,
                 query_panels + q * FEATURES);
        const int64_t expected = count_with(1);
        for (int round = 0; round < 20; ++round)
            if (count_with(THREADS) != expected || expected <= 0) {
                printf("%s: threads disagree\n", kernels->name);
                return 1;
            }
        printf("%s: %lld pairs, whoever counts\n", kernels->name, (long long)expected);
        free(query_panels);
        free(sample_panels);
        free(starts);
    }
    return 0;
}
