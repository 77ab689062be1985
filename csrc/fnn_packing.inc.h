/* Packing: rows, interleaved in panels, and sums over the columns of a panel. */

/* Features are converted a strip at a time into a buffer that stays in L1, so that the arithmetic
 * runs along the rows; then the strip's words are interleaved into the panel. */
#define FNN_STRIP 64

/* out[k][r] = strip[r][k] for k < n and r < width; rows of the strip are FNN_STRIP words apart.
 * Four by four, or two by two for the wider words, in registers. */
#define FNN_DEFINE_INTERLEAVE(name, word, SIDE, TRANSPOSE)                                       \
    FNN_INLINE void name(const word *strip, ptrdiff_t width, ptrdiff_t n, word *out) {           \
        ptrdiff_t k = 0;                                                                         \
        if (width % (SIDE) == 0)                                                                 \
            for (; k + (SIDE) <= n; k += (SIDE))                                                 \
                for (ptrdiff_t r = 0; r < width; r += (SIDE))                                    \
                    TRANSPOSE(strip + r * FNN_STRIP + k, out + k * width + r, width);            \
        for (; k < n; ++k)                                                                       \
            for (ptrdiff_t r = 0; r < width; ++r) out[k * width + r] = strip[r * FNN_STRIP + k]; \
    }

/* Words of a strip and a panel, whatever they hold. */
typedef int32_t FNN_MAY_ALIAS word32;
typedef int64_t FNN_MAY_ALIAS word64;

#if defined(FNN_SHUFFLE)
typedef int32_t words4 __attribute__((vector_size(16)));
typedef int64_t words2 __attribute__((vector_size(16)));

FNN_INLINE void transpose_words32(const word32 *in, word32 *out, ptrdiff_t width) {
    words4 row[4], half[4];
    for (int r = 0; r < 4; ++r) memcpy(&row[r], in + r * FNN_STRIP, sizeof row[r]);
    half[0] = FNN_SHUFFLE(row[0], row[1], 0, 4, 1, 5);
    half[1] = FNN_SHUFFLE(row[2], row[3], 0, 4, 1, 5);
    half[2] = FNN_SHUFFLE(row[0], row[1], 2, 6, 3, 7);
    half[3] = FNN_SHUFFLE(row[2], row[3], 2, 6, 3, 7);
    row[0] = FNN_SHUFFLE(half[0], half[1], 0, 1, 4, 5);
    row[1] = FNN_SHUFFLE(half[0], half[1], 2, 3, 6, 7);
    row[2] = FNN_SHUFFLE(half[2], half[3], 0, 1, 4, 5);
    row[3] = FNN_SHUFFLE(half[2], half[3], 2, 3, 6, 7);
    for (int k = 0; k < 4; ++k) memcpy(out + k * width, &row[k], sizeof row[k]);
}
FNN_INLINE void transpose_words64(const word64 *in, word64 *out, ptrdiff_t width) {
    words2 row[2], column;
    for (int r = 0; r < 2; ++r) memcpy(&row[r], in + r * FNN_STRIP, sizeof row[r]);
    column = FNN_SHUFFLE(row[0], row[1], 0, 2);
    memcpy(out, &column, sizeof column);
    column = FNN_SHUFFLE(row[0], row[1], 1, 3);
    memcpy(out + width, &column, sizeof column);
}
FNN_DEFINE_INTERLEAVE(interleave_words32, word32, 4, transpose_words32)
FNN_DEFINE_INTERLEAVE(interleave_words64, word64, 2, transpose_words64)
#else
#define FNN_COPY_WORD(in, out, width) (*(out) = *(in))
FNN_DEFINE_INTERLEAVE(interleave_words32, word32, 1, FNN_COPY_WORD)
FNN_DEFINE_INTERLEAVE(interleave_words64, word64, 1, FNN_COPY_WORD)
#endif

/* A strip of FNN_STRIP words for every row of the panel; rows beyond the data are zeros. */
#define FNN_DECLARE_STRIP(element, word)                                          \
    element strip[FNN_MAX_TILE_COLS][FNN_STRIP * sizeof(word) / sizeof(element)]; \
    memset(strip[n_rows], 0, (size_t)(width - n_rows) * sizeof strip[0])

/* From each row to the one that follows the last, where rows lie evenly; else 0. */
static ptrdiff_t bytes_of_rows(const void *const *rows, ptrdiff_t n_rows) {
    const uintptr_t first = (uintptr_t)rows[0], last = (uintptr_t)rows[n_rows - 1];
    const uintptr_t row_bytes = n_rows > 1 ? (uintptr_t)rows[1] - first : 0;
    return last - first == row_bytes * (uintptr_t)(n_rows - 1) ? (ptrdiff_t)row_bytes * n_rows : 0;
}
/* Many rows side by side are too many streams for the processor to follow: while a strip is packed
 * that of the same row that comes next is asked for, behind a row's end that of the next panel. */
FNN_INLINE void ask_for_next_strip(const void *strip, const int is_last, const ptrdiff_t n_bytes,
                                   const ptrdiff_t panel_bytes) {
    const char *next = (const char *)strip + (is_last ? panel_bytes : n_bytes);
    for (ptrdiff_t i = 0; i < n_bytes; i += 64) FNN_PREFETCH(next + i);
    (void)next;
}

/* value - center is rounded once to `target`: in float where both are floats (the callers' centers
 * are), else in double. */
#define FNN_DEFINE_PACK(name, source, target, arithmetic, word, INTERLEAVE)                       \
    static void name(const void *const *rows, ptrdiff_t first, ptrdiff_t n_rows, ptrdiff_t width, \
                     ptrdiff_t n_features, const double *center, double scale, void *panel) {     \
        const ptrdiff_t rows_bytes = bytes_of_rows(rows, n_rows);                                 \
        const ptrdiff_t strip_bytes = FNN_STRIP * (ptrdiff_t)sizeof(source);                      \
        word *out = panel;                                                                        \
        const arithmetic factor = (arithmetic)scale;                                              \
        arithmetic shift[FNN_STRIP];                                                              \
        FNN_DECLARE_STRIP(target, word);                                                          \
        for (ptrdiff_t start = 0; start < n_features; start += FNN_STRIP) {                       \
            const ptrdiff_t left = n_features - start, n = left < FNN_STRIP ? left : FNN_STRIP;   \
            const ptrdiff_t to_next = rows_bytes - start * (ptrdiff_t)sizeof(source);             \
            for (ptrdiff_t k = 0; k < n; ++k) shift[k] = (arithmetic)center[first + start + k];   \
            for (ptrdiff_t r = 0; r < n_rows; ++r) {                                              \
                const source *row = (const source *)rows[r] + first + start;                      \
                ask_for_next_strip(row, left <= FNN_STRIP, strip_bytes, to_next);                 \
                for (ptrdiff_t k = 0; k < n; ++k)                                                 \
                    strip[r][k] = (target)((row[k] - shift[k]) * factor);                         \
            }                                                                                     \
            INTERLEAVE((const word *)strip, width, n, out + start * width);                       \
        }                                                                                         \
    }
FNN_DEFINE_PACK(pack_f32_as_f32, float, float, float, word32, interleave_words32)
FNN_DEFINE_PACK(pack_f32_as_f64, float, double, double, word64, interleave_words64)
FNN_DEFINE_PACK(pack_f64_as_f32, double, float, double, word32, interleave_words32)
FNN_DEFINE_PACK(pack_f64_as_f64, double, double, double, word64, interleave_words64)
FNN_DEFINE_PACK(pack_u8_as_f32, uint8_t, float, float, word32, interleave_words32)

#define FNN_DEFINE_COPY(name, source, target)                                                     \
    static void name(const void *const *rows, ptrdiff_t first, ptrdiff_t n_rows, ptrdiff_t width, \
                     ptrdiff_t n_features, const double *center, double scale, void *panel) {     \
        const target factor = (target)scale;                                                      \
        target shift[FNN_MAX_TILE_COLS];                                                          \
        for (ptrdiff_t k = 0; k < n_features; ++k) shift[k] = (target)center[first + k];          \
        for (ptrdiff_t r = 0; r < n_rows; ++r) {                                                  \
            const source *row = (const source *)rows[r] + first;                                  \
            target *out = (target *)panel + r * width;                                            \
            for (ptrdiff_t k = 0; k < n_features; ++k) out[k] = (row[k] - shift[k]) * factor;     \
            for (ptrdiff_t k = n_features; k < width; ++k) out[k] = 0;                            \
        }                                                                                         \
    }
FNN_DEFINE_COPY(copy_f32, float, float)
FNN_DEFINE_COPY(copy_f64, double, double)
FNN_DEFINE_COPY(copy_u8_as_f32, uint8_t, float)

/* Centers and scales are whole numbers here: (value - 128) * 1 or * 2 fits an int16, so products
 * and their sums are exact. Words are pairs of features; a last odd one is paired with zero. */
static void pack_u8_as_s16(const void *const *rows, ptrdiff_t first, ptrdiff_t n_rows,
                           ptrdiff_t width, ptrdiff_t n_features, const double *center,
                           double scale, void *panel) {
    const int16_t offset = (int16_t)center[0], factor = (int16_t)scale;
    word32 *out = panel;
    FNN_DECLARE_STRIP(int16_t, word32);
    for (ptrdiff_t start = 0; start < n_features; start += 2 * FNN_STRIP) {
        const ptrdiff_t left = n_features - start, n = left < 2 * FNN_STRIP ? left : 2 * FNN_STRIP;
        for (ptrdiff_t r = 0; r < n_rows; ++r) {
            const uint8_t *row = (const uint8_t *)rows[r] + first + start;
            for (ptrdiff_t k = 0; k < n; ++k) strip[r][k] = (int16_t)((row[k] - offset) * factor);
            if (n % 2) strip[r][n] = 0;
        }
        interleave_words32((const word32 *)strip, width, (n + 1) / 2, out + start / 2 * width);
    }
}

/* Words are four features: values less the center's, signed, or as they are. */
static void pack_u8_as_quads(const void *const *rows, ptrdiff_t first, ptrdiff_t n_rows,
                             ptrdiff_t width, ptrdiff_t n_features, const double *center,
                             double scale, void *panel) {
    const uint8_t offset = (uint8_t)center[0];
    word32 *out = panel;
    FNN_DECLARE_STRIP(uint8_t, word32);
    (void)scale;
    for (ptrdiff_t start = 0; start < n_features; start += 4 * FNN_STRIP) {
        const ptrdiff_t left = n_features - start, n = left < 4 * FNN_STRIP ? left : 4 * FNN_STRIP;
        for (ptrdiff_t r = 0; r < n_rows; ++r) {
            const uint8_t *row = (const uint8_t *)rows[r] + first + start;
            for (ptrdiff_t k = 0; k < n; ++k) strip[r][k] = (uint8_t)(row[k] - offset);
            memset(strip[r] + n, 0, (size_t)((4 - n % 4) % 4));
        }
        interleave_words32((const word32 *)strip, width, (n + 3) / 4, out + start / 4 * width);
    }
}

static void pack_u8_as_u8(const void *const *rows, ptrdiff_t first, ptrdiff_t n_rows,
                          ptrdiff_t width, ptrdiff_t n_features, const double *center, double scale,
                          void *panel) {
    word64 *out = panel;
    FNN_DECLARE_STRIP(uint8_t, word64);
    (void)center;
    (void)scale;
    for (ptrdiff_t start = 0; start < n_features; start += 8 * FNN_STRIP) {
        const ptrdiff_t left = n_features - start, n = left < 8 * FNN_STRIP ? left : 8 * FNN_STRIP;
        for (ptrdiff_t r = 0; r < n_rows; ++r) {
            memcpy(strip[r], (const uint8_t *)rows[r] + first + start, (size_t)n);
            memset(strip[r] + n, 0, (size_t)((8 - n % 8) % 8));
        }
        interleave_words64((const word64 *)strip, width, (n + 7) / 8, out + start / 8 * width);
    }
}

/* In two levels, so that the error hardly grows with the depth. Whole vectors are read: what a
 * narrow panel has beside its width is the next step's, or padding. */
#define FNN_DEFINE_PANEL_SUMS(name, element, WIDEN, TERM)                                 \
    FNN_INLINE void name##_over(const element *values, ptrdiff_t width, ptrdiff_t depth,  \
                                const int n, double *sums) {                              \
        const ptrdiff_t lanes = FNN_LANES(f64v, double);                                  \
        f64v all[4], part[4];                                                             \
        FNN_UNROLL                                                                        \
        for (int i = 0; i < n; ++i) all[i] = f64_splat(0.0);                              \
        for (ptrdiff_t start = 0; start < depth; start += FNN_SUM_DEPTH) {                \
            const ptrdiff_t left = depth - start;                                         \
            FNN_UNROLL                                                                    \
            for (int i = 0; i < n; ++i) part[i] = f64_splat(0.0);                         \
            for (ptrdiff_t k = left < FNN_SUM_DEPTH ? left : FNN_SUM_DEPTH; k > 0; --k) { \
                FNN_UNROLL                                                                \
                for (int i = 0; i < n; ++i) part[i] += TERM(WIDEN(values + i * lanes));   \
                values += width;                                                          \
            }                                                                             \
            FNN_UNROLL                                                                    \
            for (int i = 0; i < n; ++i) all[i] += part[i];                                \
        }                                                                                 \
        FNN_UNROLL                                                                        \
        for (int i = 0; i < n; ++i) f64_store(sums + i * lanes, all[i]);                  \
    }                                                                                     \
    static void name(const void *panel, ptrdiff_t width, ptrdiff_t depth, double *sums) { \
        const ptrdiff_t lanes = FNN_LANES(f64v, double);                                  \
        double whole[FNN_MAX_TILE_COLS];                                                  \
        ptrdiff_t row = 0;                                                                \
        for (; row + 3 * lanes < width; row += 4 * lanes)                                 \
            name##_over((const element *)panel + row, width, depth, 4, whole + row);      \
        for (; row + lanes < width; row += 2 * lanes)                                     \
            name##_over((const element *)panel + row, width, depth, 2, whole + row);      \
        for (; row < width; row += lanes)                                                 \
            name##_over((const element *)panel + row, width, depth, 1, whole + row);      \
        memcpy(sums, whole, (size_t)width * sizeof *sums);                                \
    }
FNN_INLINE f64v widen_f32(const float *values) { return f64_from_f32half(f32half_load(values)); }
FNN_INLINE f64v widen_f64(const double *values) { return f64_load(values); }
FNN_INLINE f64v itself(f64v v) { return v; }
FNN_INLINE f64v square(f64v v) { return v * v; }
FNN_INLINE f64v magnitude(f64v v) { return f64_magnitude(v); }
FNN_DEFINE_PANEL_SUMS(squares_f32, float, widen_f32, square)
FNN_DEFINE_PANEL_SUMS(values_f32, float, widen_f32, itself)
FNN_DEFINE_PANEL_SUMS(magnitudes_f32, float, widen_f32, magnitude)
FNN_DEFINE_PANEL_SUMS(squares_f64, double, widen_f64, square)
FNN_DEFINE_PANEL_SUMS(values_f64, double, widen_f64, itself)
FNN_DEFINE_PANEL_SUMS(magnitudes_f64, double, widen_f64, magnitude)
