"""Pairwise distances: tiles of products turned into distances, entry by entry.

An entry depends on its two rows alone, bit for bit (and, in its last digits, on the instruction
set): rows are packed around no center that others would have a say in, and precision goes by the
dtype.

Rows of up to MAX_BLOCK_FEATURES floats meet blocks of rows, feature by feature: exact distances, in
difference form, the very numbers that a search for neighbors gives. All else meets in tiles.

Tiles hold sums of products (L2) or of maxima (L1). An entry comes from an expansion (_tiles.pxd)
unless rounding could spoil it; then it is evaluated in float64 difference form. Which of the two
depends on its two rows alone. Rows that are bit-identical are among the spoiled, so they are at
distance exactly 0. Integers are exact, and none is spoiled.

L2. What two rows x and y have in common is what cancels, and much of that is in each row by itself.
So x' = x - m(x) is packed, with m(x) near the mean of the row (csrc: short_center):

    |x - y|^2 = a(x) + a(y) - 2 x'.y' + (m(x) - m(y)) (p(x) - p(y))
    a(x) = |x'|^2,  p(x) = 2 s(x) + D m(x),  s(x) = the sum of x' over the D features

Rows of float32 have tiles of float32, others of float64; u is the tile's 2^-24 or 2^-53, and all
but the product is float64, whose 2^-53 is e u. To first order (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., sections 3.1 and 4.2) the squared distance is wrong by at most

    u (Q(x) + Q(y)) + (3 + 132 e) u |x - y|^2

where Q(x) is the sum of

    W(x)               2 x'.y', where feature k meets w_k roundings: 2 sum w_k |x'_k y'_k| <= W(x) +
                       W(y) with W(x) = sum w_k x'_k^2. In tiles of float32, w_k counts the steps
                       from k to the end of its chain (FNN_ROUNDINGS), of float64 it is the length
                       of three levels of sums, 72 + D / 512. Nothing is rounded where both rows are
                       short: a number times whole ones below 2^9.1, as of pixels (center_panel)
    2/3 a(x)           x', which is rounded: |x - y| is wrong by v = u (|x'| + |y'|), and its square
                       by 2 |x - y| v <= 3 u |x - y|^2 + 2/3 u (a(x) + a(y))
    e (80 + D/64) a(x) a(x), which has two levels of sums, and the additions
    400 e a(x)         s(x), whose sum is compensated from 64 features to 64, and so wrong by 66 e u
                       sqrt(D a(x)). It meets m(x) - m(y), and D (m(x) - m(y))^2 <= 2 |x - y|^2 +
                       4 (a(x) + a(y)): D times the square of what m(x) is off the mean is at most
                       a(x)
    16 e D m(x)^2      the product of differences
    16 e p(x)^2 / D

So entries beyond (Q(x) + Q(y)) u / (t - (3 + 132 e) u) are within a relative error of t: 2e-6 for
float32, less what it takes to round the result, and 1e-12.

Cosine distances are half of |x / |x| - y / |y||^2, from the same panels and products: a(x) and Q(x)
are divided by |x|^2, m(x), p(x) and x'.y' by the norms, each within a few e u. Bytes are packed as
float32, in short rows: Q has then neither W nor the rounding of x'.

L1. Tiles are float64. Let S(x) be the sum of magnitudes. A term meets n = 64 + 8 + D / 512
additions on its way through the three levels of the sums, so the expansion is wrong by at most
3 gamma_{n+8} (S(x) + S(y)), where the 8 are for the rounding of weighted rows; the tolerance is
1e-12, and 1e-9 for float32, whose distances are rounded to it.
"""

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy, memset

import numpy as np

cimport numpy as cnp

from .._dispatch cimport (
    FNN_MAX_BLOCK_POINTS,
    FNN_MAX_TILE_COLS,
    FNN_MAX_TILE_ROWS,
    FNN_SUM_DEPTH,
    FNN_SUMS_PER_TOTAL,
    active_kernels,
    fnn_block_points,
    fnn_center_panel,
    fnn_expand,
    fnn_expansion,
    fnn_kernels,
    fnn_row_distances,
    fnn_sides,
)
from .._jobs cimport IEEEScope, ieee_scope, run_job, threads_for
from .._rows cimport (
    CHEBYSHEV,
    L1,
    L2,
    ExactDistances,
    Norm,
    Rows,
    aligned_bytes,
    new_distances,
    norm_of,
    rows_of,
)
from .._tiles cimport Expansion, Panels, choose_expansion
from .._tuning cimport (
    BLOCK_ROWS_PER_TASK,
    CACHE_LINE,
    CHUNK_BYTES,
    GROUP_QUERIES,
    MAX_BLOCK_FEATURES,
    MAX_FEW_QUERIES,
    PAIRWISE_BLOCK_BYTES,
    PAIRWISE_CHUNK_BYTES,
    QUERIES_PER_TASK,
    ROWS_PER_TASK,
    TASKS_PER_THREAD,
    nanoseconds_to_compare,
    nanoseconds_to_pack,
)

cnp.import_array()

cdef enum:
    # With more features the proof of Float32Distances does not hold.
    MAX_CHAINED_FEATURES = 1 << 16
    BLOCK_POINTS = FNN_MAX_BLOCK_POINTS

# Relative errors of entries, by the type of what is returned, whose rounding is not among them.
cdef double FLOAT64_TOLERANCE = 1e-12
cdef double FLOAT32_TOLERANCE = 1e-9
# Of squared distances with tiles of float32: 2e-6, less two roundings of 2^-24.
cdef double FLOAT32_TILE_TOLERANCE = 1.88e-6
# The same of sums of squares of differences in float32.
cdef double SMALLEST_CHAINED = 2.0 ** -90
# Sums outside this range may have met underflow or overflow of products, or of squares of
# differences before they are weighted, by up to 2^100.
cdef double SMALLEST_SAFE_SIZE = 2.0 ** -700
cdef double LARGEST_SAFE_SIZE = 2.0 ** 800
# The same in tiles of float32: what underflow takes from 2^22 products is below 2^-126.
cdef double SMALLEST_SAFE_FLOAT32_SIZE = 2.0 ** -90
cdef double LARGEST_SAFE_FLOAT32_SIZE = 2.0 ** 100


cdef struct Target:
    # Where tiles of distances go: out[x, y], and out[y, x] too when X is Y.
    char *out
    bint float32_out
    Py_ssize_t n_columns
    bint symmetric
    # out[y, x] instead.
    bint transposed
    # Whether rows are packed around centers of their own.
    bint centered
    # Whether entries that are evaluated again have the work on rows of Y in common.
    bint shares_rows
    fnn_expand expand
    # All but what belongs to one query.
    fnn_expansion expansion


cdef void set_limits(Target *target, Expansion expansion, Rows rows) noexcept:
    """What entries are evaluated again: the module's docstring."""
    cdef double u = 2.0 ** -53
    cdef double n = FNN_SUM_DEPTH + FNN_SUMS_PER_TOTAL + 8.0
    cdef bint float32_tiles = expansion.tile.word_bytes == sizeof(float)
    cdef double tolerance = FLOAT32_TOLERANCE if target.float32_out else FLOAT64_TOLERANCE
    target.expansion.smallest = SMALLEST_SAFE_FLOAT32_SIZE if float32_tiles else SMALLEST_SAFE_SIZE
    target.expansion.largest = LARGEST_SAFE_FLOAT32_SIZE if float32_tiles else LARGEST_SAFE_SIZE
    if rows.normalized:
        target.expansion.smallest, target.expansion.largest = 0.0, DBL_MAX
    if expansion.integer:
        target.expansion.cancellation_threshold = -1.0
    elif not expansion.squared:
        n += rows.n_features / <double>(FNN_SUM_DEPTH * FNN_SUMS_PER_TOTAL)
        n *= u
        target.expansion.cancellation_threshold = 3.0 * n / (1.0 - n) / tolerance
    elif float32_tiles and rows.value_bytes > 1:
        u = 2.0 ** -24
        target.expansion.cancellation_threshold = u / (FLOAT32_TILE_TOLERANCE - 4.0 * u)
    else:
        target.expansion.cancellation_threshold = u / (tolerance - 135.0 * u)


cdef class CenteredPanels(Panels):
    """Rows of floats, each packed around its own center, with the sums of the docstring.

    Magnitudes are Q. Normalized rows are packed as they are given: what belongs to their products
    and centers is multiplied by the reciprocal of the norm.
    """

    cdef fnn_center_panel center_panel
    cdef const double *scales
    cdef const double *norms
    # Of normalized rows: which sums of squares, as given, are within the range of a tile.
    cdef double smallest, largest
    # e, and whether products and sums are exact: the docstring.
    cdef double e
    cdef bint exact
    cdef double *centers
    cdef double *shifts
    cdef double *factors
    cdef double *short_sizes
    cdef object more_sums

    cdef void use(self, const fnn_kernels *kernels, Rows rows):
        cdef bint float32_tiles = self.expansion.tile.word_bytes == sizeof(float)
        self.center_panel = kernels.center_panel_f32 if float32_tiles else kernels.center_panel_f64
        self.exact = rows.value_bytes == 1
        self.e = 2.0 ** -29 if float32_tiles and not self.exact else 1.0
        self.smallest = SMALLEST_SAFE_FLOAT32_SIZE if float32_tiles else SMALLEST_SAFE_SIZE
        self.largest = LARGEST_SAFE_FLOAT32_SIZE if float32_tiles else LARGEST_SAFE_SIZE
        if rows.normalized:
            self.scales, self.norms = rows.scales, rows.norms
        self.more_sums = np.zeros(4 * self.capacity)
        self.centers = <double *>cnp.PyArray_DATA(self.more_sums)
        self.shifts = self.centers + self.capacity
        self.factors = self.shifts + self.capacity
        self.short_sizes = self.factors + self.capacity

    cdef void pack_panel(
        self, Py_ssize_t panel, Rows rows, Py_ssize_t first, Py_ssize_t n_rows,
        const int64_t *index,
    ) noexcept nogil:
        cdef char *target = self.data + panel * self.panel_bytes
        cdef const void *each[FNN_MAX_TILE_COLS]
        cdef Py_ssize_t r
        if rows.weighted:
            self.pack_transformed(rows, first, n_rows, index, target)
        else:
            for r in range(n_rows):
                each[r] = rows.data + (first + (r if index == NULL else index[r])) * rows.row_bytes
            self.expansion.pack(
                each, 0, n_rows, self.width, self.n_features, self.center, 1.0, target
            )
        self.sum_up(panel, target)
        if rows.normalized:
            for r in range(n_rows):
                self.divide_by_norm(panel * self.width + r, first + r)

    cdef void sum_up(self, Py_ssize_t panel, char *packed) noexcept nogil:
        cdef double centers[FNN_MAX_TILE_COLS]
        cdef double squares[FNN_MAX_TILE_COLS]
        cdef double rounded[FNN_MAX_TILE_COLS]
        cdef double values[FNN_MAX_TILE_COLS]
        cdef int is_short[FNN_MAX_TILE_COLS]
        cdef double d = self.n_features, m, p, size
        cdef Py_ssize_t first = panel * self.width, r
        self.center_panel(
            packed, self.width, self.depth, centers, squares, rounded, values, is_short
        )
        for r in range(self.width):
            m = centers[r]
            p = 2.0 * values[r] + d * m
            self.terms[first + r] = squares[r]
            self.centers[first + r], self.shifts[first + r] = m, p
            size = self.e * ((480.0 + d / 64.0) * squares[r] + 16.0 * (d * m * m + p * p / d))
            if not self.exact:
                size += 2.0 / 3.0 * squares[r]
            self.short_sizes[first + r] = size if is_short[r] else INFINITY
            self.magnitudes[first + r] = size + rounded[r]

    cdef void divide_by_norm(self, Py_ssize_t place, Py_ssize_t row) noexcept nogil:
        """Have the sums be those of a row of norm 1; without one, all its entries are spoiled."""
        cdef double size = self.magnitudes[place], factor
        if not (self.smallest <= size <= self.largest and self.scales[row] == 1.0):
            # A row of zeros has another feature, of 1.
            self.factors[place] = 0.0
            self.magnitudes[place] = self.short_sizes[place] = INFINITY
            return
        factor = 1.0 / self.norms[row]
        self.factors[place] = factor
        self.centers[place] *= factor
        self.shifts[place] *= factor
        self.terms[place] *= factor * factor
        self.magnitudes[place] *= factor * factor
        self.short_sizes[place] *= factor * factor


cdef Expansion expansion_of(const fnn_kernels *kernels, Rows rows, Norm norm):
    """Tiles and packing of the rows of pairwise distances."""
    cdef Py_ssize_t value_bytes = rows.value_bytes
    cdef Expansion expansion = choose_expansion(kernels, rows.value_type, norm, norm == CHEBYSHEV)
    if not expansion.squared or expansion.integer or rows.weighted or value_bytes == 8:
        return expansion
    expansion.tile = kernels.chain_f32
    expansion.pack = kernels.pack_u8_as_f32 if value_bytes == 1 else kernels.pack_f32_as_f32
    return expansion


cdef Panels panels_of(
    const fnn_kernels *kernels, Expansion expansion, bint queries, Py_ssize_t capacity, Rows rows
):
    cdef Panels panels
    cdef CenteredPanels centered
    cdef Py_ssize_t d = rows.n_given
    if not expansion.squared or expansion.integer:
        panels = Panels.__new__(Panels)
        panels.lay_out(expansion, queries, capacity, d, np.zeros(d), 1.0)
        return panels
    centered = CenteredPanels.__new__(CenteredPanels)
    centered.lay_out(expansion, queries, capacity, d, np.zeros(d), 1.0)
    centered.use(kernels, rows)
    return centered


# ---- tiles of distances --------------------------------------------------------------------------


cdef class Float32Distances(ExactDistances):
    """Squared distances between rows of float32, within FLOAT32_TILE_TOLERANCE.

    Most are found in float32: in difference form, in chains so short that no more than 19 roundings
    of u = 2^-24 meet a term. What underflow may spoil is evaluated again, in float64.

    Cosine distances take the rows as they lie, and divide none:

        |x / |x| - y / |y||^2 = (|x - y|^2 - (|x| - |y|)^2) / (|x| |y|)

    |x - y|^2 is wrong by 19 u of itself, and each norm by (D / 2 + 5) 2^-53 of itself, so that
    (|x| - |y|)^2 is wrong by (D + 10) 2^-53 (|x| + |y|) ||x| - |y||, where the last factor is at
    most |x - y|. If |x - y| is at least 2^-7 (|x| + |y|), and the numerator at least 5/8 |x - y|^2,
    that makes less than (30.4 + D 2^-21) u of the numerator. If it is not, |x - y|^2 is found in
    float64, wrong by (D + 8) 2^-53 of itself; from a numerator of at least 2^-7 |x - y|^2 on the
    error is less than (D + 10) 2^-38 of it. What is left are rows of zeros, and those in nearly the
    same direction: distances between the rows of norm 1.
    """

    cdef fnn_row_distances chains
    # Between the rows as they lie.
    cdef ExactDistances plain

    cdef object set_up(self, Rows X, Rows Y, Norm norm, int n_threads):
        cdef Rows plain_x = Rows(X.values)
        cdef Rows plain_y = plain_x if Y is X else Rows(Y.values)
        ExactDistances.set_up(self, X, Y, norm, n_threads)
        self.plain = new_distances(plain_x, plain_y, norm, n_threads)
        self.chains = active_kernels().chain_squares_f32

    cdef void evaluate(
        self,
        Py_ssize_t query,
        Py_ssize_t first,
        const int64_t *index,
        Py_ssize_t n,
        int thread,
        double *distances,
    ) noexcept nogil:
        cdef Py_ssize_t row_bytes = self.plain.Y.row_bytes, d = self.plain.Y.n_features, i
        cdef int64_t row
        self.chains(
            self.plain.X.data + query * row_bytes, self.plain.Y.data + first * row_bytes, d, index,
            n, d, distances,
        )
        for i in range(n):
            row = index[i] if index != NULL else i
            if not (
                SMALLEST_CHAINED <= distances[i] < INFINITY
                and self.finish(query, first + row, 0.625, &distances[i])
            ):
                self.evaluate_in_float64(query, first, row, thread, &distances[i])

    cdef bint finish(
        self, Py_ssize_t query, Py_ssize_t row, double share, double *distance
    ) noexcept nogil:
        """Make the distance of |x - y|^2, if the numerator is at least this share of it."""
        cdef double x, y, numerator
        if not self.Y.normalized:
            return True
        x, y = self.X.norms[query], self.Y.norms[row]
        numerator = distance[0] - (x - y) * (x - y)
        if not (numerator >= share * distance[0] >= share * 2.0 ** -14 * (x + y) * (x + y) > 0.0):
            return False
        distance[0] = numerator / (x * y)
        return True

    cdef void evaluate_in_float64(
        self, Py_ssize_t query, Py_ssize_t first, int64_t row, int thread, double *distance
    ) noexcept nogil:
        self.plain.evaluate(query, first, &row, 1, thread, distance)
        if not self.finish(query, first + row, 2.0 ** -7, distance):
            ExactDistances.evaluate(self, query, first, &row, 1, thread, distance)


cdef void write_tile(
    const double *tile,
    Panels queries,
    Py_ssize_t panel_x,
    Py_ssize_t first_x,
    Panels samples,
    Py_ssize_t panel_y,
    Py_ssize_t first_y,
    const Target *target,
    ExactDistances exact,
    int thread,
) noexcept nogil:
    """The epilogue: one tile of sums becomes distances, in the rows from first_x, first_y on."""
    cdef Py_ssize_t rows = queries.width, cols = samples.width, r
    cdef Py_ssize_t n_rows = min(rows, queries.n_rows - panel_x * rows)
    cdef Py_ssize_t n_cols = min(cols, samples.n_rows - panel_y * cols)
    cdef double distances[FNN_MAX_TILE_COLS]  # or floats
    cdef double evaluated[FNN_MAX_TILE_COLS]
    cdef int64_t chosen[FNN_MAX_TILE_COLS]
    cdef Py_ssize_t n
    cdef fnn_expansion expansion = target.expansion
    cdef fnn_sides sides = sides_of(samples, panel_y * cols, target.centered)
    cdef fnn_sides others = sides_of(queries, panel_x * rows, target.centered)
    cdef uint32_t spoiled, all = <uint32_t>((<int64_t>1 << n_cols) - 1)
    cdef bint fetched = False
    expansion.beta = queries.expansion.beta
    for r in range(n_rows):
        set_query(&expansion, &others, r)
        spoiled = all & target.expand(
            &expansion, &tile[r * cols], &sides, cols, target.float32_out, distances
        )
        if spoiled:
            n = bits_of(spoiled, chosen)
            # Where many of one row's entries are spoiled others' are, and share the rows of Y.
            if not fetched and target.shares_rows and n * n_rows >= n_cols:
                exact.fetch(first_y, NULL, n_cols, thread)
                fetched = True
            if fetched:
                exact.to_some_fetched(first_x + r, first_y, chosen, n, thread, evaluated)
            else:
                exact.evaluate(first_x + r, first_y, chosen, n, thread, evaluated)
            finish(evaluated, n, target)
            replace(chosen, n, evaluated, distances, target)
        write_row(distances, first_x + r, first_y, n_cols, target)
    if target.symmetric:
        write_mirror_image(first_x, n_rows, first_y, n_cols, target)


cdef fnn_sides sides_of(Panels panels, Py_ssize_t first, bint centered) noexcept nogil:
    cdef fnn_sides sides
    memset(&sides, 0, sizeof(sides))
    sides.terms, sides.sizes = panels.terms + first, panels.magnitudes + first
    if centered:
        sides.short_sizes = (<CenteredPanels>panels).short_sizes + first
        sides.centers = (<CenteredPanels>panels).centers + first
        sides.shifts = (<CenteredPanels>panels).shifts + first
        if (<CenteredPanels>panels).norms != NULL:
            sides.factors = (<CenteredPanels>panels).factors + first
    return sides


cdef void set_query(
    fnn_expansion *expansion, const fnn_sides *queries, Py_ssize_t r
) noexcept nogil:
    expansion.term, expansion.size = queries.terms[r], queries.sizes[r]
    if queries.centers != NULL:
        expansion.short_size = queries.short_sizes[r]
        expansion.center, expansion.shift = queries.centers[r], queries.shifts[r]
    if queries.factors != NULL:
        expansion.factor = queries.factors[r]


cdef Py_ssize_t bits_of(uint32_t bits, int64_t *places) noexcept nogil:
    """Write the places of those that are set, and return how many they are."""
    cdef Py_ssize_t n = 0, place
    for place in range(FNN_MAX_TILE_COLS):
        if bits >> place & 1:
            places[n] = place
            n += 1
    return n


cdef void replace(
    const int64_t *chosen,
    Py_ssize_t n,
    const double *evaluated,
    void *distances,
    const Target *target,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if target.float32_out:
            (<float *>distances)[chosen[i]] = <float>evaluated[i]
        else:
            (<double *>distances)[chosen[i]] = evaluated[i]


cdef void evaluate_row(
    Py_ssize_t x,
    Py_ssize_t first_y,
    Py_ssize_t n,
    const Target *target,
    ExactDistances exact,
    int thread,
    double *distances,
) noexcept nogil:
    """Distances from row x of X to n rows of Y, in float64 difference form."""
    exact.evaluate(x, first_y, NULL, n, thread, distances)
    finish(distances, n, target)


cdef void finish(double *sums, Py_ssize_t n, const Target *target) noexcept nogil:
    """Make distances of sums in difference form."""
    cdef Py_ssize_t i
    if target.expansion.root:
        for i in range(n):
            sums[i] = sqrt(sums[i])
    if target.expansion.half:
        for i in range(n):
            sums[i] = min(0.5 * sums[i], 2.0)


cdef void write_row(
    const void *distances,
    Py_ssize_t x,
    Py_ssize_t first_y,
    Py_ssize_t n_cols,
    const Target *target,
) noexcept nogil:
    """Write distances of the result's type; where X is Y, those from the diagonal on."""
    cdef Py_ssize_t size = sizeof(float) if target.float32_out else sizeof(double)
    cdef Py_ssize_t start = max(0, x - first_y) if target.symmetric else 0, c
    if target.transposed:
        for c in range(n_cols):
            memcpy(
                target.out + ((first_y + c) * target.n_columns + x) * size,
                <const char *>distances + c * size, size,
            )
    elif start < n_cols:
        memcpy(
            target.out + (x * target.n_columns + first_y + start) * size,
            <const char *>distances + start * size, (n_cols - start) * size,
        )


cdef void write_evaluated(
    const double *distances,
    Py_ssize_t x,
    Py_ssize_t first_y,
    Py_ssize_t n_cols,
    const Target *target,
) noexcept nogil:
    """The same, of up to ROWS_PER_TASK distances in float64."""
    cdef float narrowed[ROWS_PER_TASK]
    cdef Py_ssize_t c
    if not target.float32_out:
        write_row(distances, x, first_y, n_cols, target)
        return
    for c in range(n_cols):
        narrowed[c] = <float>distances[c]
    write_row(narrowed, x, first_y, n_cols, target)


cdef void write_mirror_image(
    Py_ssize_t first_x,
    Py_ssize_t n_rows,
    Py_ssize_t first_y,
    Py_ssize_t n_cols,
    const Target *target,
) noexcept nogil:
    """Column by column, so that each line of the result is met once."""
    cdef float *out_f32 = <float *>target.out
    cdef double *out_f64 = <double *>target.out
    cdef Py_ssize_t n = target.n_columns, y, x
    for y in range(first_y, first_y + n_cols):
        for x in range(first_x, min(first_x + n_rows, y)):
            if target.float32_out:
                out_f32[y * n + x] = out_f32[x * n + y]
            else:
                out_f64[y * n + x] = out_f64[x * n + y]


cdef void fill_block_of_panels(
    Panels queries,
    Py_ssize_t start_x,
    Panels samples,
    Py_ssize_t start_y,
    const Target *target,
    ExactDistances exact,
    int thread,
) noexcept nogil:
    """All panels of X that are packed against a block of panels of Y."""
    cdef double tile[FNN_MAX_TILE_ROWS * FNN_MAX_TILE_COLS]
    cdef Py_ssize_t x, y, first_x, first_y
    for x in range(queries.n_panels):
        first_x = start_x + x * queries.width
        for y in range(samples.n_panels):
            first_y = start_y + y * samples.width
            if target.symmetric and first_y + samples.width <= first_x:
                continue  # below the diagonal: its mirror image is written
            queries.expansion.tile.product(
                queries.depth, queries.data + x * queries.panel_bytes,
                samples.data + y * samples.panel_bytes, tile,
            )
            write_tile(tile, queries, x, first_x, samples, y, first_y, target, exact, thread)


# ---- blocks --------------------------------------------------------------------------------------


cdef fnn_block_points block_kernel(Norm norm) noexcept:
    cdef const fnn_kernels *kernels = active_kernels()
    if norm == L2:
        return kernels.block_squares.f64.points
    return (kernels.block_absolutes if norm == L1 else kernels.block_largest).f64.points


cdef void fill_block(Rows rows, Py_ssize_t first, double *points) noexcept nogil:
    """Write up to BLOCK_POINTS rows, from `first` on, side by side: points[feature][row]."""
    cdef double row[MAX_BLOCK_FEATURES]
    cdef Py_ssize_t d = rows.n_features, i, k
    cdef Py_ssize_t n = min(<Py_ssize_t>BLOCK_POINTS, rows.n_rows - first)
    memset(points, 0, d * BLOCK_POINTS * sizeof(double))
    for i in range(n):
        rows.fetch(first + i, 0, d, row)
        for k in range(d):
            points[k * BLOCK_POINTS + i] = row[k]


cdef void compare_with_blocks(
    Rows X,
    Py_ssize_t first_x,
    Py_ssize_t last_x,
    const double *points,
    Py_ssize_t first_y,
    Py_ssize_t last_y,
    fnn_block_points kernel,
    const Target *target,
) noexcept nogil:
    """One task: some rows of X against the blocks that hold rows first_y to last_y of Y."""
    cdef double query[MAX_BLOCK_FEATURES]
    cdef double distances[BLOCK_POINTS]
    cdef Py_ssize_t d = X.n_features, x, y, n
    for x in range(first_x, last_x):
        X.fetch(x, 0, d, query)
        y = first_y
        while y < last_y:
            # Below the diagonal the mirror image is written.
            if not (target.symmetric and y + BLOCK_POINTS <= x):
                kernel(
                    query, NULL, NULL, points + (y - first_y) * d, BLOCK_POINTS, d, INFINITY, False,
                    distances,
                )
                n = min(<Py_ssize_t>BLOCK_POINTS, last_y - y)
                finish(distances, n, target)
                write_evaluated(distances, x, y, n, target)
                if target.symmetric:
                    write_mirror_image(x, 1, y, n, target)
            y += BLOCK_POINTS


cdef class BlockFill:
    """X against blocks of Y, as many as are held at a time: phases fill these, then compare."""

    cdef Rows X, Y
    cdef const Target *target
    cdef fnn_block_points kernel
    cdef double *points
    # Rows of Y: how many are held, and which at present.
    cdef Py_ssize_t held, first, last
    cdef bint is_filling
    cdef object memory

    def __cinit__(self, Rows X, Rows Y):
        cdef Py_ssize_t d = Y.n_features
        self.X, self.Y = X, Y
        self.held = max(1, PAIRWISE_CHUNK_BYTES // (8 * d * BLOCK_POINTS)) * BLOCK_POINTS
        self.memory = aligned_bytes(8 * d * (min(self.held, Y.n_rows) + BLOCK_POINTS))
        self.points = <double *>cnp.PyArray_DATA(self.memory)

    cdef Py_ssize_t next_phase(self) noexcept nogil:
        if self.is_filling:
            self.is_filling = False
            return (self.X.n_rows + GROUP_QUERIES - 1) // GROUP_QUERIES
        self.first, self.last = self.last, min(self.last + self.held, self.Y.n_rows)
        self.is_filling = True
        return (self.last - self.first + BLOCK_ROWS_PER_TASK - 1) // BLOCK_ROWS_PER_TASK

    cdef void run_task(self, Py_ssize_t task) noexcept nogil:
        cdef Py_ssize_t d = self.Y.n_features, y, start = task * GROUP_QUERIES
        if not self.is_filling:
            compare_with_blocks(
                self.X, start, min(start + GROUP_QUERIES, self.X.n_rows), self.points, self.first,
                self.last, self.kernel, self.target,
            )
            return
        start = self.first + task * BLOCK_ROWS_PER_TASK
        y = start
        while y < min(start + BLOCK_ROWS_PER_TASK, self.last):
            fill_block(self.Y, y, self.points + (y - self.first) * d)
            y += BLOCK_POINTS


cdef void run_block_task(void *fill, Py_ssize_t task, int thread) noexcept nogil:
    (<BlockFill>fill).run_task(task)


cdef Py_ssize_t next_block_phase(void *fill) noexcept nogil:
    return (<BlockFill>fill).next_phase()


cdef int fill_by_blocks(
    Rows X, Rows Y, Norm norm, const Target *target, int n_threads
) except -1:
    cdef BlockFill fill = BlockFill(X, Y)
    fill.kernel, fill.target = block_kernel(norm), target
    return run_job(
        run_block_task, <void *>fill, fill.next_phase(), n_threads, None, 1.0, next_block_phase
    )


# ---- rows ----------------------------------------------------------------------------------------


cdef class RowFill:
    """For Chebyshev distances, and weights that tiles do not suit: no packing."""

    cdef ExactDistances exact
    cdef const Target *target
    cdef Py_ssize_t n_pieces

    cdef void run_task(self, Py_ssize_t task, int thread) noexcept nogil:
        cdef double distances[ROWS_PER_TASK]
        cdef Py_ssize_t start = task % self.n_pieces * ROWS_PER_TASK, x
        cdef Py_ssize_t n = min(<Py_ssize_t>ROWS_PER_TASK, self.exact.Y.n_rows - start)
        cdef Py_ssize_t first = task // self.n_pieces * QUERIES_PER_TASK
        for x in range(first, min(first + QUERIES_PER_TASK, self.exact.X.n_rows)):
            if self.target.symmetric and start + n <= x:
                continue  # below the diagonal: its mirror image is written
            evaluate_row(x, start, n, self.target, self.exact, thread, distances)
            write_evaluated(distances, x, start, n, self.target)
            if self.target.symmetric:
                write_mirror_image(x, 1, start, n, self.target)


cdef void run_row_task(void *fill, Py_ssize_t task, int thread) noexcept nogil:
    (<RowFill>fill).run_task(task, thread)


cdef int fill_by_rows(ExactDistances exact, const Target *target, int n_threads) except -1:
    cdef RowFill fill = RowFill.__new__(RowFill)
    cdef Py_ssize_t n_groups = (exact.X.n_rows + QUERIES_PER_TASK - 1) // QUERIES_PER_TASK
    fill.exact, fill.target = exact, target
    fill.n_pieces = (exact.Y.n_rows + ROWS_PER_TASK - 1) // ROWS_PER_TASK
    return run_job(run_row_task, <void *>fill, n_groups * fill.n_pieces, n_threads)


# ---- tiles ---------------------------------------------------------------------------------------


cdef class TileFill:
    """X against Y, a chunk of packed rows of X at a time: phases pack these, then fill.

    A task of filling packs a block of Y, which stays in the second-level cache of its thread.
    """

    cdef Rows X, Y
    cdef Panels queries
    cdef ExactDistances exact
    cdef const Target *target
    cdef bint is_packing
    # Rows of a chunk of X, where the present one begins, and rows of a block of Y.
    cdef Py_ssize_t held, x, block_rows, n_blocks
    # [n_threads]: Panels.
    cdef list blocks
    cdef void **blocks_of_threads
    # [n_threads], a cache line each: whether sums of a thread's rows were not finite.
    cdef char *has_doubtful
    cdef object pointers, flags

    cdef make_blocks(self, const fnn_kernels *kernels, Expansion expansion, int n_threads):
        """Several tasks for each thread, so that a late one does not decide."""
        cdef Py_ssize_t cols = expansion.tile.cols, panels = (self.Y.n_rows + cols - 1) // cols
        cdef Py_ssize_t bytes_of_panel = expansion.tile.word_bytes * self.queries.depth * cols
        cdef Py_ssize_t in_cache = PAIRWISE_BLOCK_BYTES // bytes_of_panel
        cdef int i
        self.block_rows = cols * max(1, min(in_cache, panels // (TASKS_PER_THREAD * n_threads)))
        self.n_blocks = (self.Y.n_rows + self.block_rows - 1) // self.block_rows
        self.blocks = [
            panels_of(kernels, expansion, False, self.block_rows, self.Y) for _ in range(n_threads)
        ]
        self.pointers = np.zeros(n_threads, dtype=np.intp)
        self.blocks_of_threads = <void **>cnp.PyArray_DATA(self.pointers)
        for i in range(n_threads):
            self.blocks_of_threads[i] = <void *>self.blocks[i]
        self.flags = np.zeros((n_threads, CACHE_LINE), dtype=np.bool_)
        self.has_doubtful = <char *>cnp.PyArray_DATA(self.flags)

    cdef Py_ssize_t pack(self) noexcept nogil:
        self.is_packing = True
        self.queries.hold(min(self.held, self.X.n_rows - self.x))
        return self.queries.n_panels

    cdef Py_ssize_t next_phase(self) noexcept nogil:
        if self.is_packing:
            self.is_packing = False
            # Rows of Y before those of X have been met as rows of X.
            return self.n_blocks - (self.x // self.block_rows if self.target.symmetric else 0)
        self.x += self.held
        return self.pack() if self.x < self.X.n_rows else 0

    cdef void run_task(self, Py_ssize_t task, int thread) noexcept nogil:
        if self.is_packing:
            self.pack_panel(self.queries, task, self.X, self.x, thread)
        else:
            # Where X is Y, the last blocks meet the most rows: they come first.
            self.fill(
                <Panels>self.blocks_of_threads[thread],
                (self.n_blocks - 1 - task) * self.block_rows, thread,
            )

    cdef void pack_panel(
        self, Panels panels, Py_ssize_t panel, Rows rows, Py_ssize_t first, int thread
    ) noexcept nogil:
        cdef const double *sizes = panels.magnitudes + panel * panels.width
        cdef Py_ssize_t r
        panels.pack_held(panel, rows, first)
        for r in range(panels.width):
            if not sizes[r] <= DBL_MAX:
                self.has_doubtful[thread * CACHE_LINE] = True

    cdef void fill(self, Panels block, Py_ssize_t y, int thread) noexcept nogil:
        cdef Py_ssize_t i
        block.hold(min(self.block_rows, self.Y.n_rows - y))
        for i in range(block.n_panels):
            self.pack_panel(block, i, self.Y, y, thread)
        fill_block_of_panels(self.queries, self.x, block, y, self.target, self.exact, thread)


cdef void run_tile_task(void *fill, Py_ssize_t task, int thread) noexcept nogil:
    (<TileFill>fill).run_task(task, thread)


cdef Py_ssize_t next_tile_phase(void *fill) noexcept nogil:
    return (<TileFill>fill).next_phase()


cdef bint fill_by_tiles(
    const fnn_kernels *kernels,
    ExactDistances exact,
    Expansion expansion,
    const Target *target,
    int n_threads,
) except -1:
    cdef TileFill fill = TileFill.__new__(TileFill)
    cdef Py_ssize_t rows = expansion.tile.rows, d = exact.Y.n_given, packed_row
    packed_row = (d + expansion.tile.step) // expansion.tile.step * expansion.tile.word_bytes
    fill.X, fill.Y, fill.exact, fill.target = exact.X, exact.Y, exact, target
    fill.held = max(rows, CHUNK_BYTES // packed_row // rows * rows)  # whole panels
    fill.queries = panels_of(kernels, expansion, True, min(fill.held, fill.X.n_rows), fill.X)
    fill.make_blocks(kernels, expansion, n_threads)
    run_job(run_tile_task, <void *>fill, fill.pack(), n_threads, None, 1.0, next_tile_phase)
    return not fill.flags.any()


# ---- all three -----------------------------------------------------------------------------------


def fill_distances(
    X,
    Y,
    str metric,
    out,
    bint symmetric,
    int n_threads,
):
    """Write the distances between all rows of X and of Y to `out`.

    Parameters
    ----------
    X, Y : Rows, or ndarray of shape (n_x, d) and (n_y, d)
        Moved in the same way; arrays, plain rows: C-contiguous, of one dtype: float32, float64, or
        uint8 with d <= 32,768 (and not for "chebyshev").
    metric : {"l1", "l2", "sqeuclidean", "chebyshev"}
        With normalized rows "sqeuclidean", which stands for half of it, the cosine distance.
    out : ndarray of shape (n_x, n_y)
        C-contiguous; float32 if X is, else float64.
    symmetric : bool
        X is Y: half of the work is done, and out is exactly symmetric.
    n_threads : int

    Returns
    -------
    bool
        Whether all values are finite; False, too, if nobody has looked.
    """
    cdef const fnn_kernels *kernels = active_kernels()
    cdef bint float32_out = out.dtype == np.float32
    cdef Rows x_rows = rows_of(X), y_rows = x_rows if Y is X else rows_of(Y)
    cdef Expansion expansion = expansion_of(kernels, y_rows, norm_of(metric))
    cdef IEEEScope _ieee = ieee_scope()
    cdef Py_ssize_t n_x = x_rows.n_rows, n_y = y_rows.n_rows, d = y_rows.n_features
    cdef ExactDistances exact
    cdef Target target
    target.out = <char *>cnp.PyArray_DATA(out)
    target.float32_out = float32_out
    target.n_columns = n_y
    target.symmetric = symmetric
    target.transposed = False
    target.expand = kernels.expand
    target.expansion.root = metric == "l2"
    target.expansion.half = y_rows.normalized
    target.centered = expansion.squared and not expansion.integer
    set_limits(&target, expansion, y_rows)
    # Short rows take as long as what is written.
    n_threads = threads_for(
        n_threads, n_x * n_y,
        nanoseconds_to_compare(<double>n_x * n_y * d) + nanoseconds_to_pack(<double>n_x * n_y),
    )
    if d <= MAX_BLOCK_FEATURES and not expansion.integer and not y_rows.weighted:
        fill_by_blocks(x_rows, y_rows, expansion.norm, &target, n_threads)
        return False
    if n_y < n_x and n_y <= MAX_FEW_QUERIES:
        # The bits are the same either way; rows of Y are packed where they are met.
        x_rows, y_rows = y_rows, x_rows
        target.transposed = True
    if (
        y_rows.value_bytes == sizeof(float) and expansion.squared and not y_rows.weighted
        and d <= MAX_CHAINED_FEATURES
    ):
        exact = Float32Distances.__new__(Float32Distances)
        exact.set_up(x_rows, y_rows, expansion.norm, n_threads)
        target.shares_rows = False
    else:
        exact = new_distances(x_rows, y_rows, expansion.norm, n_threads)
        target.shares_rows = True
    if expansion.norm == CHEBYSHEV or (y_rows.weighted and not y_rows.has_mild_weights()):
        fill_by_rows(exact, &target, n_threads)
        return False
    return fill_by_tiles(kernels, exact, expansion, &target, n_threads)


def expansions(X, Y):
    """Return what tiles give of squared L2 distances, and the bounds of its error: for tests.

    Parameters
    ----------
    X, Y : ndarray of shape (n_x, d) and (n_y, d), of float32 or float64, d > MAX_BLOCK_FEATURES

    Returns
    -------
    squares : ndarray of shape (n_x, n_y)
        Before any entry is evaluated again.
    bounds : ndarray of shape (n_x, n_y)
        Q(x) + Q(y), in units of the tile's rounding: see the module's docstring.
    """
    cdef const fnn_kernels *kernels = active_kernels()
    cdef Rows x_rows = rows_of(X), y_rows = rows_of(Y)
    cdef Expansion expansion = expansion_of(kernels, y_rows, L2)
    cdef Panels queries, samples
    cdef fnn_sides sides
    cdef fnn_expansion one
    cdef IEEEScope _ieee = ieee_scope()
    cdef double tile[FNN_MAX_TILE_ROWS * FNN_MAX_TILE_COLS]
    cdef double row[FNN_MAX_TILE_COLS]
    cdef Py_ssize_t x, y, panel, r, c
    queries = panels_of(kernels, expansion, True, x_rows.n_rows, x_rows)
    samples = panels_of(kernels, expansion, False, y_rows.n_rows, y_rows)
    queries.pack(x_rows, 0, x_rows.n_rows, 1)
    samples.pack(y_rows, 0, y_rows.n_rows, 1)
    squares, bounds = np.empty((2, len(X), len(Y)))
    one.beta, one.cancellation_threshold, one.root, one.half = expansion.beta, -1.0, False, False
    for x in range(len(X)):
        panel, r = x // queries.width, x % queries.width
        sides = sides_of(queries, x, True)
        set_query(&one, &sides, 0)
        for y in range(0, len(Y), samples.width):
            sides = sides_of(samples, y, True)
            expansion.tile.product(
                queries.depth, queries.data + panel * queries.panel_bytes,
                samples.data + y // samples.width * samples.panel_bytes, tile,
            )
            kernels.expand(
                &one, &tile[r * samples.width], &sides, samples.width, False, row
            )
            for c in range(min(samples.width, <Py_ssize_t>len(Y) - y)):
                squares[x, y + c] = row[c]
                bounds[x, y + c] = min(
                    one.size + sides.sizes[c], one.short_size + sides.short_sizes[c]
                )
    return squares, bounds
