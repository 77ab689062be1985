"""Pairwise distances: tiles of products turned into distances, entry by entry.

An entry depends on its two rows alone, bit for bit (and, in its last digits, on whether the
instruction set has fused multiply-adds): rows are packed as they are, around no center that others
would have a say in, and precision goes by the dtype.

Rows of up to BLOCK_FEATURES floats meet blocks of rows, feature by feature: exact distances, in
difference form, the very numbers that a search for neighbors gives. All else meets in tiles.

Tiles are float64, or integers. An entry comes from the expansion d = a(x) + a(y) - beta t (see
_tiles.pxd) unless cancellation could spoil it; then it is evaluated in float64 difference form. Let
S = a(x) + a(y) for L2 (the squared norms) and the two sums of magnitudes for L1. The expansion's
error is at most rate * S, so entries with d <= S * rate / tolerance are evaluated again. Rows that
are bit-identical are among them, so they are at distance exactly 0.

A term meets n = 64 + 8 + d / 512 additions on its way through the three levels of the sums, so
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1) 2 |q.s| contributes
gamma_n S for L2 and 2 gamma_n S for L1, the terms a gamma_n S: rate = 2 or 3 gamma_{n+8}, where the
8 are for the rounding of weighted rows, too. The tolerance is 1e-12, and for float32 values, whose
distances are rounded to float32, 1e-9. (Float32 tiles would be twice as fast. Their proven error is
several times 1e-6 S, and rows of one value, whose rounding errors agree in sign, come near it.)
"""

from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int64_t
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from ._dispatch cimport (
    FNN_MAX_BLOCK_POINTS,
    FNN_MAX_TILE_COLS,
    FNN_MAX_TILE_ROWS,
    FNN_SUM_DEPTH,
    FNN_SUMS_PER_TOTAL,
    active_kernels,
    fnn_block_points,
    fnn_expand,
    fnn_expansion,
    fnn_kernels,
)
from ._jobs cimport IEEEScope, ieee_scope, run_job, threads_for
from ._rows cimport (
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
from ._tiles cimport Expansion, Panels, choose_expansion, new_panels
from ._tuning cimport nanoseconds_to_compare, nanoseconds_to_pack

cnp.import_array()

cdef enum:
    # Packed rows of one side that are held at a time: what stays in the last-level cache.
    CHUNK_BYTES = 4 << 20
    # Panels of X that a task takes through a chunk of Y.
    GROUP_PANELS = 8
    # A block of panels of Y stays in L2 while the group's panels pass.
    BLOCK_BYTES = 192 << 10
    # Up to here blocks are about as quick as tiles.
    BLOCK_FEATURES = 16
    BLOCK_POINTS = FNN_MAX_BLOCK_POINTS
    # Rows of X that a task takes through the blocks that are held,
    BLOCK_GROUP = 64
    # and rows of X and of Y of a task without tiles or blocks; blocks that one fills.
    ROWS_PER_TASK = 256
    QUERIES_PER_TASK = 16
    BLOCK_ROWS_PER_TASK = 16 * BLOCK_POINTS

# Relative errors of entries, by the type of what is returned.
cdef double FLOAT64_TOLERANCE = 1e-12
cdef double FLOAT32_TOLERANCE = 1e-9
# Sums outside this range may have met underflow or overflow of products, or of squares of
# differences before they are weighted, by up to 2^100.
cdef double SMALLEST_SAFE_SIZE = 2.0 ** -700
cdef double LARGEST_SAFE_SIZE = 2.0 ** 800


cdef struct Target:
    # Where tiles of distances go: out[x, y], and out[y, x] too when X is Y.
    char *out
    bint float32_out
    Py_ssize_t n_columns
    bint symmetric
    fnn_expand expand
    # All but what belongs to one query.
    fnn_expansion expansion


cdef double cancellation_limit(Expansion expansion, Rows rows, double tolerance):
    """rate / tolerance, as in the module's docstring."""
    if expansion.integer:
        return -1.0
    cdef double n = FNN_SUM_DEPTH + FNN_SUMS_PER_TOTAL + 8.0
    n += rows.n_features / <double>(FNN_SUM_DEPTH * FNN_SUMS_PER_TOTAL)
    n *= 2.0 ** -53
    return (2.0 if expansion.squared else 3.0) * n / (1.0 - n) / tolerance


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
    cdef const double *terms = samples.terms + panel_y * cols
    # For L2 the terms are the squared norms: they are the sizes, too.
    cdef bint squared = queries.expansion.squared
    cdef const double *sizes = terms if squared else samples.magnitudes + panel_y * cols
    cdef double distances[FNN_MAX_TILE_COLS]
    cdef fnn_expansion expansion = target.expansion
    cdef bint fetched = False
    expansion.beta = queries.expansion.beta
    for r in range(n_rows):
        expansion.term = queries.terms[panel_x * rows + r]
        expansion.size = (
            expansion.term if squared else queries.magnitudes[panel_x * rows + r]
        )
        if target.expand(&expansion, &tile[r * cols], terms, sizes, n_cols, distances):
            # Where one row's entries are spoiled, others' are, and share the rows of Y.
            if not fetched:
                exact.fetch(first_y, NULL, n_cols, thread)
                fetched = True
            evaluate_again(
                &expansion, &tile[r * cols], terms, sizes, n_cols, first_x + r, first_y, target,
                exact, thread, distances,
            )
        write_row(distances, first_x + r, first_y, n_cols, target)


cdef void evaluate_again(
    const fnn_expansion *expansion,
    const double *sums,
    const double *terms,
    const double *sizes,
    Py_ssize_t n_cols,
    Py_ssize_t x,
    Py_ssize_t first_y,
    const Target *target,
    ExactDistances exact,
    int thread,
    double *distances,
) noexcept nogil:
    """Evaluate the entries of one row of a tile that cancellation or range could have spoiled.

    The tile's rows of Y have been fetched.
    """
    cdef int64_t spoiled[FNN_MAX_TILE_COLS]
    cdef double evaluated[FNN_MAX_TILE_COLS]
    cdef Py_ssize_t c, n = 0, i
    cdef double both
    for c in range(n_cols):
        both = expansion.size + sizes[c]
        if (
            not expansion.term + terms[c] - expansion.beta * sums[c] > both * expansion.again
            or not expansion.smallest < both
            or not both < expansion.largest
        ):
            spoiled[n] = c
            n += 1
    exact.to_some_fetched(x, first_y, spoiled, n, thread, evaluated)
    for i in range(n):
        distances[spoiled[i]] = sqrt(evaluated[i]) if target.expansion.root else evaluated[i]


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
    cdef Py_ssize_t c
    exact.evaluate(x, first_y, NULL, n, thread, distances)
    if target.expansion.root:
        for c in range(n):
            distances[c] = sqrt(distances[c])


cdef void write_row(
    const double *distances,
    Py_ssize_t x,
    Py_ssize_t first_y,
    Py_ssize_t n_cols,
    const Target *target,
) noexcept nogil:
    cdef float *out_f32 = <float *>target.out
    cdef double *out_f64 = <double *>target.out
    cdef Py_ssize_t n = target.n_columns, c
    cdef Py_ssize_t start = max(0, x - first_y) if target.symmetric else 0
    for c in range(start, n_cols):
        if target.float32_out:
            out_f32[x * n + first_y + c] = <float>distances[c]
        else:
            out_f64[x * n + first_y + c] = distances[c]
    if target.symmetric:
        for c in range(start, n_cols):
            if target.float32_out:
                out_f32[(first_y + c) * n + x] = <float>distances[c]
            else:
                out_f64[(first_y + c) * n + x] = distances[c]


cdef void fill_group(
    Panels queries,
    Py_ssize_t first_panel,
    Py_ssize_t last_panel,
    Py_ssize_t start_x,
    Panels samples,
    Py_ssize_t first_sample,
    Py_ssize_t last_sample,
    Py_ssize_t start_y,
    const Target *target,
    ExactDistances exact,
    int thread,
) noexcept nogil:
    """One task: a group of panels of X against a block of panels of Y."""
    cdef double tile[FNN_MAX_TILE_ROWS * FNN_MAX_TILE_COLS]
    cdef Py_ssize_t x, y, first_x, first_y
    for x in range(first_panel, last_panel):
        first_x = start_x + x * queries.width
        for y in range(first_sample, last_sample):
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
    cdef double row[BLOCK_FEATURES]
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
    cdef double query[BLOCK_FEATURES]
    cdef double distances[BLOCK_POINTS]
    cdef Py_ssize_t d = X.n_features, x, y
    for x in range(first_x, last_x):
        X.fetch(x, 0, d, query)
        y = first_y
        while y < last_y:
            # Below the diagonal the mirror image is written.
            if not (target.symmetric and y + BLOCK_POINTS <= x):
                kernel(
                    query, NULL, points + (y - first_y) * d, BLOCK_POINTS, d, INFINITY,
                    target.expansion.root, distances,
                )
                write_row(
                    distances, x, y, min(<Py_ssize_t>BLOCK_POINTS, last_y - y), target
                )
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
        self.held = max(1, CHUNK_BYTES // (8 * d * BLOCK_POINTS)) * BLOCK_POINTS
        self.memory = aligned_bytes(8 * d * (min(self.held, Y.n_rows) + BLOCK_POINTS))
        self.points = <double *>cnp.PyArray_DATA(self.memory)

    cdef Py_ssize_t next_phase(self) noexcept nogil:
        if self.is_filling:
            self.is_filling = False
            return (self.X.n_rows + BLOCK_GROUP - 1) // BLOCK_GROUP
        self.first, self.last = self.last, min(self.last + self.held, self.Y.n_rows)
        self.is_filling = True
        return (self.last - self.first + BLOCK_ROWS_PER_TASK - 1) // BLOCK_ROWS_PER_TASK

    cdef void run_task(self, Py_ssize_t task) noexcept nogil:
        cdef Py_ssize_t d = self.Y.n_features, y, start = task * BLOCK_GROUP
        if not self.is_filling:
            compare_with_blocks(
                self.X, start, min(start + BLOCK_GROUP, self.X.n_rows), self.points, self.first,
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
            evaluate_row(x, start, n, self.target, self.exact, thread, distances)
            write_row(distances, x, start, n, self.target)


cdef void run_row_task(void *fill, Py_ssize_t task, int thread) noexcept nogil:
    (<RowFill>fill).run_task(task, thread)


cdef int fill_by_rows(ExactDistances exact, const Target *target, int n_threads) except -1:
    cdef RowFill fill = RowFill.__new__(RowFill)
    cdef Py_ssize_t n_groups = (exact.X.n_rows + QUERIES_PER_TASK - 1) // QUERIES_PER_TASK
    fill.exact, fill.target = exact, target
    fill.n_pieces = (exact.Y.n_rows + ROWS_PER_TASK - 1) // ROWS_PER_TASK
    return run_job(run_row_task, <void *>fill, n_groups * fill.n_pieces, n_threads)


# ---- tiles ---------------------------------------------------------------------------------------


cdef enum Stage:
    PACK_X
    PACK_Y
    FILL


cdef class TileFill:
    """Panels of X against panels of Y, a chunk of each at a time: phases pack these, then fill."""

    cdef Rows X, Y
    cdef Panels queries, samples
    cdef ExactDistances exact
    cdef const Target *target
    cdef Stage stage
    # Rows of a chunk of each side, and where the present ones begin.
    cdef Py_ssize_t held_x, held_y, x, y
    # Panels of Y that stay in L2, and groups of panels of X.
    cdef Py_ssize_t block_panels, n_groups

    cdef Py_ssize_t pack_x(self) noexcept nogil:
        self.stage = PACK_X
        self.queries.hold(min(self.held_x, self.X.n_rows - self.x))
        return self.queries.n_panels

    cdef Py_ssize_t pack_y(self) noexcept nogil:
        self.stage = PACK_Y
        self.samples.hold(min(self.held_y, self.Y.n_rows - self.y))
        return self.samples.n_panels

    cdef Py_ssize_t next_phase(self) noexcept nogil:
        if self.stage == PACK_X:
            self.y = self.x if self.target.symmetric else 0
            return self.pack_y()
        if self.stage == PACK_Y:
            self.stage = FILL
            self.n_groups = (self.queries.n_panels + GROUP_PANELS - 1) // GROUP_PANELS
            return self.n_groups * (
                (self.samples.n_panels + self.block_panels - 1) // self.block_panels
            )
        self.y += self.held_y
        if self.y < self.Y.n_rows:
            return self.pack_y()
        self.x += self.held_x
        return self.pack_x() if self.x < self.X.n_rows else 0

    cdef void run_task(self, Py_ssize_t task, int thread) noexcept nogil:
        if self.stage == PACK_X:
            self.queries.pack_held(task, self.X, self.x)
        elif self.stage == PACK_Y:
            self.samples.pack_held(task, self.Y, self.y)
        else:
            self.fill_some(
                task % self.n_groups * GROUP_PANELS, task // self.n_groups * self.block_panels,
                thread,
            )

    cdef void fill_some(self, Py_ssize_t group, Py_ssize_t block, int thread) noexcept nogil:
        """A group of panels of X against a block of panels of Y, from these on."""
        fill_group(
            self.queries, group, min(group + GROUP_PANELS, self.queries.n_panels), self.x,
            self.samples, block, min(block + self.block_panels, self.samples.n_panels), self.y,
            self.target, self.exact, thread,
        )


cdef void run_tile_task(void *fill, Py_ssize_t task, int thread) noexcept nogil:
    (<TileFill>fill).run_task(task, thread)


cdef Py_ssize_t next_tile_phase(void *fill) noexcept nogil:
    return (<TileFill>fill).next_phase()


cdef int fill_by_tiles(
    ExactDistances exact, Expansion expansion, const Target *target, int n_threads
) except -1:
    cdef TileFill fill = TileFill.__new__(TileFill)
    cdef Py_ssize_t rows = expansion.tile.rows, cols = expansion.tile.cols
    cdef Py_ssize_t d = exact.Y.n_features, packed_row, held
    packed_row = (d + expansion.tile.step) // expansion.tile.step * expansion.tile.word_bytes
    held = CHUNK_BYTES // packed_row
    fill.X, fill.Y, fill.exact, fill.target = exact.X, exact.Y, exact, target
    # Whole panels.
    fill.held_x, fill.held_y = max(rows, held // rows * rows), max(cols, held // cols * cols)
    no_center = np.zeros(d)
    fill.queries = new_panels(
        expansion, True, min(fill.held_x, fill.X.n_rows), d, no_center, 1.0
    )
    fill.samples = new_panels(
        expansion, False, min(fill.held_y, fill.Y.n_rows), d, no_center, 1.0
    )
    fill.block_panels = max(1, BLOCK_BYTES // fill.samples.panel_bytes)
    return run_job(
        run_tile_task, <void *>fill, fill.pack_x(), n_threads, None, 1.0, next_tile_phase
    )


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
        Moved in the same way; arrays, plain rows: C-contiguous, finite, of one dtype: float32,
        float64, or uint8 with d <= 32,768 (and not for "chebyshev").
    metric : {"l1", "l2", "sqeuclidean", "chebyshev"}
    out : ndarray of shape (n_x, n_y)
        C-contiguous; float32 if X is, else float64.
    symmetric : bool
        X is Y: half of the work is done, and out is exactly symmetric.
    n_threads : int
    """
    cdef const fnn_kernels *kernels = active_kernels()
    cdef Rows x_rows = rows_of(X), y_rows = x_rows if Y is X else rows_of(Y)
    cdef Expansion expansion = choose_expansion(
        kernels, y_rows.value_type, norm_of(metric), norm_of(metric) == CHEBYSHEV
    )
    cdef IEEEScope _ieee = ieee_scope()
    cdef Py_ssize_t n_x = x_rows.n_rows, n_y = y_rows.n_rows, d = y_rows.n_features
    cdef ExactDistances exact
    cdef Target target
    target.out = <char *>cnp.PyArray_DATA(out)
    target.float32_out = out.dtype == np.float32
    target.n_columns = n_y
    target.symmetric = symmetric
    target.expand = kernels.expand
    target.expansion.root = metric == "l2"
    target.expansion.again = cancellation_limit(
        expansion, y_rows, FLOAT32_TOLERANCE if target.float32_out else FLOAT64_TOLERANCE
    )
    target.expansion.smallest = SMALLEST_SAFE_SIZE
    target.expansion.largest = LARGEST_SAFE_SIZE
    # Short rows take as long as what is written.
    n_threads = threads_for(
        n_threads, n_x * n_y,
        nanoseconds_to_compare(<double>n_x * n_y * d) + nanoseconds_to_pack(<double>n_x * n_y),
    )
    if d <= BLOCK_FEATURES and not expansion.integer and not y_rows.weighted:
        fill_by_blocks(x_rows, y_rows, expansion.norm, &target, n_threads)
        return
    exact = new_distances(x_rows, y_rows, expansion.norm, n_threads)
    if expansion.norm == CHEBYSHEV or (y_rows.weighted and not y_rows.has_mild_weights()):
        fill_by_rows(exact, &target, n_threads)
    else:
        fill_by_tiles(exact, expansion, &target, n_threads)
