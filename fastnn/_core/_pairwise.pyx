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

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport prange, threadid
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
from ._threads cimport Threads, gather
from ._tiles cimport Expansion, Panels, choose_expansion, new_panels

cnp.import_array()

cdef enum:
    # Packed rows of one side that are held at a time: what stays in the last-level cache.
    CHUNK_BYTES = 4 << 20
    # Panels of X that a task takes through a chunk of Y.
    GROUP_PANELS = 8
    # A block of panels of Y stays in L2 while the group's panels pass.
    BLOCK_BYTES = 192 << 10
    MIN_PARALLEL_WORK = 1 << 18
    # Up to here blocks are about as quick as tiles.
    BLOCK_FEATURES = 16
    BLOCK_POINTS = FNN_MAX_BLOCK_POINTS
    ROWS_PER_TASK = 256
    # Differences between two looks at signals, for each thread: see _scan.pyx.
    STEP_WORK = 1 << 28

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


cdef object fill_by_blocks(Rows X, Rows Y, Norm norm, const Target *target, int n_threads):
    cdef Py_ssize_t d = Y.n_features, n_y = Y.n_rows, first = 0, last, i, n_blocks, group = 64
    cdef Py_ssize_t held = max(1, CHUNK_BYTES // (8 * d * BLOCK_POINTS)) * BLOCK_POINTS
    cdef Py_ssize_t n_groups = (X.n_rows + group - 1) // group
    cdef fnn_block_points kernel = block_kernel(norm)
    cdef cnp.ndarray memory = aligned_bytes(8 * d * (min(held, n_y) + BLOCK_POINTS))
    cdef double *points = <double *>cnp.PyArray_DATA(memory)
    while first < n_y:
        last = min(first + held, n_y)
        n_blocks = (last - first + BLOCK_POINTS - 1) // BLOCK_POINTS
        with nogil:
            for i in prange(
                n_blocks, num_threads=max(1, min(n_threads, n_blocks)), schedule="static",
                use_threads_if=n_threads > 1,
            ):
                fill_block(Y, first + i * BLOCK_POINTS, points + i * BLOCK_POINTS * d)
            for i in prange(
                n_groups, num_threads=max(1, min(n_threads, n_groups)), schedule="dynamic",
                use_threads_if=n_threads > 1,
            ):
                compare_with_blocks(
                    X, i * group, min((i + 1) * group, X.n_rows), points, first, last, kernel,
                    target,
                )
        PyErr_CheckSignals()
        first = last


# ---- rows ----------------------------------------------------------------------------------------


cdef void fill_rows(
    Py_ssize_t first_x,
    Py_ssize_t last_x,
    Py_ssize_t n_y,
    const Target *target,
    ExactDistances exact,
    int n_threads,
) noexcept nogil:
    """For Chebyshev distances, and weights that tiles do not suit: no packing."""
    cdef Py_ssize_t n_tasks = (n_y + ROWS_PER_TASK - 1) // ROWS_PER_TASK, task
    for task in prange(
        n_tasks,
        num_threads=max(1, min(n_threads, n_tasks)),
        schedule="static",
        use_threads_if=n_threads > 1,
    ):
        fill_rows_task(
            first_x, last_x, task * ROWS_PER_TASK, min((task + 1) * ROWS_PER_TASK, n_y), target,
            exact, threadid(),
        )


cdef void fill_rows_task(
    Py_ssize_t first_x,
    Py_ssize_t last_x,
    Py_ssize_t start,
    Py_ssize_t stop,
    const Target *target,
    ExactDistances exact,
    int thread,
) noexcept nogil:
    cdef double distances[ROWS_PER_TASK]
    cdef Py_ssize_t x
    for x in range(first_x, last_x):
        evaluate_row(x, start, stop - start, target, exact, thread, distances)
        write_row(distances, x, start, stop - start, target)


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
    cdef Py_ssize_t n_x = x_rows.n_rows, n_y = y_rows.n_rows, d = y_rows.n_features
    cdef Py_ssize_t packed_row = (d + expansion.tile.step) // expansion.tile.step
    cdef Py_ssize_t held, held_x, held_y, x, y, task, n_groups, n_blocks, block, first = 0, step
    cdef Panels queries, samples
    cdef Target target
    packed_row *= expansion.tile.word_bytes
    # Whole panels.
    held = CHUNK_BYTES // packed_row
    held_x = max(expansion.tile.rows, held // expansion.tile.rows * expansion.tile.rows)
    held_y = max(expansion.tile.cols, held // expansion.tile.cols * expansion.tile.cols)
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
    if <double>n_x * n_y * d < MIN_PARALLEL_WORK:
        n_threads = 1
    cdef Threads _gathered = gather(n_threads)
    if d <= BLOCK_FEATURES and not expansion.integer and not y_rows.weighted:
        fill_by_blocks(x_rows, y_rows, expansion.norm, &target, n_threads)
        return
    cdef ExactDistances exact = new_distances(x_rows, y_rows, expansion.norm, n_threads)
    if expansion.norm == CHEBYSHEV or (y_rows.weighted and not y_rows.has_mild_weights()):
        step = max(1, n_threads * STEP_WORK // (n_y * d))
        while first < n_x:
            with nogil:
                fill_rows(first, min(first + step, n_x), n_y, &target, exact, n_threads)
            PyErr_CheckSignals()
            first += step
        return
    queries = new_panels(expansion, True, min(held_x, n_x), d, np.zeros(d), 1.0)
    samples = new_panels(expansion, False, min(held_y, n_y), d, np.zeros(d), 1.0)
    block = max(1, BLOCK_BYTES // samples.panel_bytes)
    for x in range(0, n_x, held_x):
        with nogil:
            queries.pack(x_rows, x, min(held_x, n_x - x), n_threads)
        for y in range(x if symmetric else 0, n_y, held_y):
            with nogil:
                samples.pack(y_rows, y, min(held_y, n_y - y), n_threads)
                n_groups = (queries.n_panels + GROUP_PANELS - 1) // GROUP_PANELS
                n_blocks = (samples.n_panels + block - 1) // block
                for task in prange(
                    n_groups * n_blocks,
                    num_threads=max(1, min(n_threads, n_groups * n_blocks)),
                    schedule="dynamic",
                    use_threads_if=n_threads > 1,
                ):
                    fill_group(
                        queries, task % n_groups * GROUP_PANELS,
                        min((task % n_groups + 1) * GROUP_PANELS, queries.n_panels), x,
                        samples, task // n_groups * block,
                        min((task // n_groups + 1) * block, samples.n_panels), y,
                        &target, exact, threadid(),
                    )
            PyErr_CheckSignals()
