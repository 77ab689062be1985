/* The loops of tiles, of any instruction set: what they do in a step is up to the caller. */
#ifndef FNN_TILE_LOOPS_H
#define FNN_TILE_LOOPS_H

/* prefix: the vector operations; lane: the C type of a lane and of a packed word. */
#define FNN_DEFINE_ACCUMULATE(name, prefix, vector, lane, ROWS, STEP) \
    FNN_DEFINE_ACCUMULATE_SOME(name, prefix, vector, lane, ROWS, ROWS, STEP)
/* Of so many rows of a panel that has PANEL_ROWS. */
#define FNN_DEFINE_ACCUMULATE_SOME(name, prefix, vector, lane, ROWS, PANEL_ROWS, STEP)           \
    FNN_INLINE void name##_accumulate(vector sums[ROWS][2], ptrdiff_t depth, const lane *q,      \
                                      const lane *s) {                                           \
        FNN_UNROLL_STEPS for (ptrdiff_t k = 0; k < depth; ++k) {                                 \
            const vector s0 = prefix##_load(s), s1 = prefix##_load(s + FNN_LANES(vector, lane)); \
            FNN_UNROLL                                                                           \
            for (int r = 0; r < (ROWS); ++r) {                                                   \
                const vector word = prefix##_splat(q[r]);                                        \
                sums[r][0] = STEP(sums[r][0], word, s0);                                         \
                sums[r][1] = STEP(sums[r][1], word, s1);                                         \
            }                                                                                    \
            q += (PANEL_ROWS);                                                                   \
            s += 2 * FNN_LANES(vector, lane);                                                    \
        }                                                                                        \
    }

/* A part keeps its sums in one level. */
#define FNN_DEFINE_PARTIAL(name, prefix, vector, lane, ROWS)                                    \
    FNN_INLINE void name##_start(vector sums[ROWS][2], const lane *initial,                     \
                                 ptrdiff_t row_stride) {                                        \
        FNN_UNROLL                                                                              \
        for (int r = 0; r < (ROWS); ++r) {                                                      \
            sums[r][0] = prefix##_load(initial + r * row_stride);                               \
            sums[r][1] = prefix##_load(initial + r * row_stride + FNN_LANES(vector, lane));     \
        }                                                                                       \
    }                                                                                           \
                                                                                                \
    static void name##_partial(ptrdiff_t depth, const void *queries, const void *samples,       \
                               const void *initial, ptrdiff_t initial_row_stride, void *tile) { \
        vector sums[ROWS][2];                                                                   \
        name##_start(sums, initial, initial_row_stride);                                        \
        name##_accumulate(sums, depth, queries, samples);                                       \
        FNN_UNROLL                                                                              \
        for (int r = 0; r < (ROWS); ++r) {                                                      \
            lane *row = (lane *)tile + 2 * r * FNN_LANES(vector, lane);                         \
            prefix##_store(row, sums[r][0]);                                                    \
            prefix##_store(row + FNN_LANES(vector, lane), sums[r][1]);                          \
        }                                                                                       \
    }

/* So does the scan: its callers allow for depth * 2^-24 (see _index.pyx). */
#define FNN_DEFINE_SCAN(name, prefix, vector, lane, ROWS)                                  \
    FNN_DEFINE_PARTIAL(name, prefix, vector, lane, ROWS)                                   \
    static ptrdiff_t name##_scan(const fnn_scan_arguments *a) {                            \
        const ptrdiff_t depth = a->depth, cols = 2 * FNN_LANES(vector, lane);              \
        const lane *queries = a->queries, *thresholds = a->thresholds;                     \
        for (ptrdiff_t panel = a->first_panel; panel < a->n_panels; ++panel) {             \
            vector sums[ROWS][2];                                                          \
            name##_start(sums, (const lane *)a->initial + panel * a->initial_panel_stride, \
                         a->initial_row_stride);                                           \
            name##_accumulate(sums, depth, queries,                                        \
                              (const lane *)a->samples + panel * a->sample_stride);        \
            vector threshold = prefix##_splat(thresholds[0]);                              \
            prefix##mask any = prefix##_greater(sums[0][0], threshold);                    \
            any |= prefix##_greater(sums[0][1], threshold);                                \
            FNN_UNROLL                                                                     \
            for (int r = 1; r < (ROWS); ++r) {                                             \
                threshold = prefix##_splat(thresholds[r]);                                 \
                any |= prefix##_greater(sums[r][0], threshold);                            \
                any |= prefix##_greater(sums[r][1], threshold);                            \
            }                                                                              \
            if (prefix##_bits(any) == 0) continue;                                         \
            FNN_UNROLL                                                                     \
            for (int r = 0; r < (ROWS); ++r) {                                             \
                lane *row = (lane *)a->tile + r * cols;                                    \
                threshold = prefix##_splat(thresholds[r]);                                 \
                a->hits[r] = prefix##_bits(prefix##_greater(sums[r][0], threshold)) |      \
                             prefix##_bits(prefix##_greater(sums[r][1], threshold))        \
                                 << FNN_LANES(vector, lane);                               \
                prefix##_store(row, sums[r][0]);                                           \
                prefix##_store(row + FNN_LANES(vector, lane), sums[r][1]);                 \
            }                                                                              \
            return panel;                                                                  \
        }                                                                                  \
        return a->n_panels;                                                                \
    }

#endif
