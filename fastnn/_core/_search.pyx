"""The frame of every search: panels of queries meet panels of samples, tile by tile.

The way of the data for one slice of queries:

    Y, a chunk of rows at a time  --pack in parallel-->  panels of samples (stay in L3)
      a block of those panels (stays in L2) x each panel of queries (stays in L1)
      (rows that are long: part by part of the depth, with partial sums in a buffer)
        scan kernel: tile of sums in registers, compared with each query's threshold
          lanes above it --> push(), which a search defines: the k nearest (_knn.pyx) or all
          samples within a radius (_radius.pyx)

Three modes share this frame:

BY_BOUNDS, for floats: the tiles are float32 and only preselect. The key of a pair is
kappa = (a(q) - d)/beta (see _tiles.pxd; larger is nearer), computed as t - a(s)/beta with an error
of at most E. A search sets a bound L such that it needs no pair with kappa < L; all pairs with
kappa~ + E >= L are pushed, and float64 distances in difference form alone decide about them.

    Let u = 2^-24, gamma_n = n u / (1 - n u), m(x) the norm (L2) or sum of magnitudes (L1) of a
    packed row (Chebyshev: the norm, which no magnitude exceeds), R = m(q) + M, M the largest m(s)
    of the block. Sums in any order obey |fl(sum) - sum| <= gamma_n sum |terms|, where n counts the
    operations (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1).
    Sources of error in kappa:
      the product with its start   L2: gamma_{d+2} (m(q) m(s) + m(s)^2 / 2) <= gamma_{d+2} R^2 / 2
                                   L1: gamma_{d+2} (m(q) + 1.5 m(s))        <= gamma_{d+2} 1.5 R
      rounding (x - c) * scale     each row moves by at most u' m(x), u' = u (1 + 2^-28), so the
      to float32                   distance by u' R:  L2: u' R^2,  L1: u' R / 2
      the float64 evaluation,      relative to d <= R^2 or R: (d + 8) 2^-53, in kappa half of it;
      its square root              the whole is taken
      underflow                    below 2^-150 a value, 2^-1074 a float64 square: packing_frame's
                                   limits keep all of it under (d + 8) 2^-110
    Chebyshev has no sum: the packing moves the distance by u' R, the subtraction by u R (1 + u'),
    beta is 1, and max rounds nothing.
    E = rate * R^2 (or R) + (d + 8) 2^-110, with 2 % on top for the rounding of E itself and of the
    norms. Rows with m(x) >= MAX_MAGNITUDE could overflow: the search says so and is repeated
    BY_ROWS.

BY_TILES, for uint8: integer tiles are exact, so keys decide by themselves.

BY_ROWS, for very few queries (the time is that of reading Y once) and for values no tile can
hold: float64 distances row by row.
"""

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport prange, threadid
from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, nextafterf, sqrt
from libc.stdint cimport INT32_MAX, INT32_MIN, int32_t, int64_t, uint32_t

import numpy as np

cimport numpy as cnp

from ._dispatch cimport (
    FNN_MAX_TILE_COLS,
    FNN_MAX_TILE_ROWS,
    active_kernels,
    fnn_lowest_bit,
    fnn_scan_arguments,
    fnn_tile,
)
from ._rows cimport CHEBYSHEV, L2, UINT8, Norm, Rows, new_distances, norm_of
from ._tiles cimport (
    choose_expansion,
    new_panels,
)
from ._tiles import packing_frame

cnp.import_array()

# ---- block sizes -------------------------------------------------------------------------------
# Chosen by bench/ratios.py on a Zen 3 core (L1d 32 KiB, L2 512 KiB) and flat around these values.
cdef enum:
    # A chunk of packed samples, shared by the threads: fits in most last-level caches.
    CHUNK_BYTES = 8 << 20
    # A block of panels that one thread goes through for all its queries: under half of L2.
    BLOCK_BYTES = 192 << 10
    # Rows longer than twice this are taken in parts of about this: a part of a panel of samples
    # and one of a panel of queries stay in L1 together, and blocks keep several panels.
    PART_BYTES = 1 << 10
    MAX_BLOCK_ROWS = 2048
    # Panels of queries that a task takes through a block, so that the block is read from L3 once.
    GROUP_PANELS = 8
    # What the panels of a slice of queries may take.
    SLICE_PANEL_BYTES = 8 << 20
    MAX_SLICE_QUERIES = 4096
    # What a search may hold for the queries of a slice.
    SLICE_CANDIDATE_BYTES = 16 << 20
    # Up to here a pass over Y costs less than packing it.
    MAX_ROW_QUERIES = 4
    # No fewer than ExactDistances hold.
    MAX_STEP_ROWS = 256
    # Multiply-adds below which starting threads costs more than it gains.
    MIN_PARALLEL_WORK = 1 << 19
    # Between two looks at signals and the progress bar: well under a second of work.
    ROW_SLICE_BYTES = 1 << 30
    # int32 holds 2 q.s - |s|^2 of centered bytes up to this many features.
    MAX_UINT8_FEATURES = 40000

cdef double MAX_MAGNITUDE = 2.0 ** 60
cdef int64_t INT64_LOW = -(<int64_t>1 << 61)


cdef double error_rate(Norm norm, Py_ssize_t n_features) noexcept nogil:
    """E / R^2 (L2) or E / R (L1, Chebyshev), but for underflow: the module's docstring."""
    cdef double u = 2.0 ** -24, n = n_features + 4
    cdef double gamma = n * u / (1.0 - n * u)
    cdef double evaluation = (n_features + 8) * 2.0 ** -53
    if norm == CHEBYSHEV:
        return 1.02 * (2.01 * u + evaluation)
    return 1.02 * ((0.5 * gamma if norm == L2 else 1.5 * gamma) + 1.01 * u + evaluation)


cdef class SearchPlan:
    pass


cdef class TileSearch:
    """The search for one slice of queries; `scan` takes Y in pieces and calls `push`."""

    def __init__(
        self,
        Rows X,
        Rows Y,
        str metric,
        Mode mode,
        object center,
        double scale,
        int n_threads,
    ):
        cdef Py_ssize_t q
        self.mode = mode
        self.expansion = choose_expansion(active_kernels(), Y.value_type, norm_of(metric), True)
        self.root = metric == "l2"
        self.n_queries = X.n_rows
        self.n_features = Y.n_features
        self.n_samples = Y.n_rows
        self.n_threads = n_threads
        self.X, self.Y = X, Y
        self.exact = new_distances(X, Y, self.expansion.norm, n_threads)
        self.scale = scale
        if mode == BY_ROWS:
            # Rows reach the caches in order, a part to each thread.
            self.n_splits = n_threads
            self.chunk_rows = max(1, ROW_SLICE_BYTES // Y.row_bytes)
            held = None
        else:
            held = self.prepare_tiles(center)
        bounds = np.full(self.n_splits * self.n_queries, -np.inf)
        self.bounds = <double *>cnp.PyArray_DATA(bounds)
        self.keep_alive = (held, bounds)
        if mode == BY_BOUNDS:
            self.rate = error_rate(self.expansion.norm, self.n_features)
            self.underflow = (self.n_features + 8) * 2.0 ** -110
            for q in range(self.n_queries):
                if not self.queries.magnitudes[q] < MAX_MAGNITUDE:
                    self.out_of_range = 1

    cdef object prepare_tiles(self, object center):
        cdef Py_ssize_t cols = self.expansion.tile.cols
        cdef Py_ssize_t row_bytes, part_bytes, n_panels, n_parts = 1, lane_bytes
        self.queries = new_panels(
            self.expansion, True, self.n_queries, self.n_features, center, self.scale
        )
        self.queries.pack(self.X, 0, self.n_queries, self.n_threads)
        n_panels = self.queries.n_panels
        self.n_splits = max(1, min(2 * self.n_threads // n_panels, 2 * self.n_threads))
        row_bytes = self.queries.depth * self.expansion.tile.word_bytes
        if row_bytes > 2 * PART_BYTES:
            n_parts = row_bytes // PART_BYTES
        self.part_depth = (self.queries.depth + n_parts - 1) // n_parts
        part_bytes = self.part_depth * self.expansion.tile.word_bytes
        self.block_rows = max(cols, min(MAX_BLOCK_ROWS, BLOCK_BYTES // part_bytes) // cols * cols)
        self.chunk_rows = max(1, CHUNK_BYTES // row_bytes // self.block_rows) * self.block_rows
        capacity = min(self.chunk_rows, self.n_samples)
        self.samples = new_panels(
            self.expansion, False, capacity, self.n_features, center, self.scale
        )
        lane_bytes = self.expansion.tile.word_bytes  # a lane is as wide as a word
        self.partial_bytes = 0
        if n_parts > 1:
            self.partial_bytes = GROUP_PANELS * self.block_rows * self.queries.width * lane_bytes
        partial_sums = np.empty(self.n_threads * self.partial_bytes, dtype=np.uint8)
        self.partial_sums = <char *>cnp.PyArray_DATA(partial_sums)
        initial = np.empty((capacity + cols) * 8, dtype=np.uint8)
        block_magnitudes = np.zeros(self.n_samples // self.block_rows + 1)
        self.initial = <char *>cnp.PyArray_DATA(initial)
        self.block_magnitudes = <double *>cnp.PyArray_DATA(block_magnitudes)
        return initial, block_magnitudes, partial_sums

    # ---- what a search defines ------------------------------------------------------------

    cdef void push(
        self, Py_ssize_t slot, Py_ssize_t query, double key, int64_t index, int thread
    ) noexcept nogil:
        """Take a pair that passed; `slot` is the query's place among those of all splits."""

    cdef double row_limit(self, Py_ssize_t slot) noexcept nogil:
        """What the exact distances may give at most for a pair to be pushed."""
        return INFINITY

    # ---- errors ---------------------------------------------------------------------------

    cdef double error(self, Py_ssize_t query, double magnitude) noexcept nogil:
        """E for a query and samples of at most this magnitude."""
        cdef double r = self.queries.magnitudes[query] + magnitude
        return self.rate * (r * r if self.expansion.squared else r) + self.underflow

    cdef double error_of(self, Py_ssize_t query, int64_t sample) noexcept nogil:
        return self.error(query, self.block_magnitudes[sample // self.block_rows])

    cdef double key_of(self, Py_ssize_t query, double distance) noexcept nogil:
        """The key that belongs to a distance, as it is returned, from this query."""
        distance = distance * self.scale
        if self.root:
            distance = distance * distance
        elif self.expansion.squared:
            distance = distance * self.scale
        return (self.queries.terms[query] - distance) / self.expansion.beta

    cdef double rooted(self, double distance) noexcept nogil:
        """The distance as it is returned, from what the exact distances give."""
        return sqrt(distance) if self.root else distance

    cdef double unrooted(self, double distance) noexcept nogil:
        """What exact distances may be at most; a little more where roots may round together."""
        return distance * distance * (1.0 + 2.0 ** -50) if self.root else distance

    # ---- scanning -------------------------------------------------------------------------

    cdef void scan(self, Py_ssize_t start, Py_ssize_t stop):
        """Compare all queries with rows start to stop of Y; start is a multiple of chunk_rows."""
        with nogil:
            if self.mode == BY_ROWS:
                self.scan_rows(start, stop)
            else:
                self.scan_chunk(start, stop)

    cdef void scan_chunk(self, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
        cdef Py_ssize_t n_blocks = (stop - start + self.block_rows - 1) // self.block_rows
        cdef Py_ssize_t group = max(
            1, min(<Py_ssize_t>GROUP_PANELS, self.queries.n_panels // (4 * self.n_threads))
        )
        cdef Py_ssize_t n_groups = (self.queries.n_panels + group - 1) // group
        cdef Py_ssize_t n_tasks = n_groups * self.n_splits, task
        self.samples.pack(self.Y, start, stop - start, self.n_threads)
        self.start_accumulators(start)
        if self.out_of_range:
            return
        for task in prange(
            n_tasks,
            num_threads=max(1, min(self.n_threads, n_tasks)),
            schedule="dynamic",
            use_threads_if=self.n_threads > 1,
        ):
            self.scan_group(
                start, n_blocks, task // n_groups,
                (task % n_groups) * group,
                min((task % n_groups + 1) * group, self.queries.n_panels),
                threadid(),
            )

    cdef void start_accumulators(self, Py_ssize_t start) noexcept nogil:
        """Fill in -a(s)/beta for every packed sample, and what nothing beats for the padding."""
        cdef Py_ssize_t i, block
        cdef Py_ssize_t padded = self.samples.n_panels * self.samples.width
        cdef double value, magnitude
        for i in range(padded):
            value = -self.samples.terms[i] / self.expansion.beta
            if not self.expansion.integer:
                (<float *>self.initial)[i] = <float>value if i < self.samples.n_rows else -INFINITY
            elif self.expansion.squared:
                (<int32_t *>self.initial)[i] = (
                    <int32_t>value if i < self.samples.n_rows else INT32_MIN
                )
            else:
                (<int64_t *>self.initial)[i] = 0 if i < self.samples.n_rows else 2 * INT64_LOW
        if self.mode == BY_BOUNDS:
            for i in range(self.samples.n_rows):
                block = (start + i) // self.block_rows
                magnitude = self.samples.magnitudes[i]
                if not magnitude < MAX_MAGNITUDE:
                    self.out_of_range = 1
                if magnitude > self.block_magnitudes[block]:
                    self.block_magnitudes[block] = magnitude

    cdef void scan_group(
        self,
        Py_ssize_t start,
        Py_ssize_t n_blocks,
        Py_ssize_t split,
        Py_ssize_t first_panel,
        Py_ssize_t last_panel,
        int thread,
    ) noexcept nogil:
        """One task: a group of query panels against one split of the chunk's blocks."""
        cdef Py_ssize_t per_block = self.block_rows // self.samples.width
        cdef Py_ssize_t block, panel, first, last, done
        cdef double tile[FNN_MAX_TILE_ROWS * FNN_MAX_TILE_COLS]
        cdef char *partial
        for block in range(
            split * n_blocks // self.n_splits, (split + 1) * n_blocks // self.n_splits
        ):
            first = block * per_block
            last = min(first + per_block, self.samples.n_panels)
            done = self.add_parts(first_panel, last_panel, first, last, thread)
            for panel in range(first_panel, last_panel):
                partial = self.partial_tiles(panel - first_panel, thread)
                if self.mode == BY_BOUNDS:
                    self.scan_panel(
                        start, split, panel, first, last, done, partial, <float *>tile, thread
                    )
                elif self.expansion.squared:
                    self.scan_panel(
                        start, split, panel, first, last, done, partial, <int32_t *>tile, thread
                    )
                else:
                    self.scan_panel(
                        start, split, panel, first, last, done, partial, <int64_t *>tile, thread
                    )

    cdef char *partial_tiles(self, Py_ssize_t panel_of_group, int thread) noexcept nogil:
        """The partial sums of one panel of queries of the group with all panels of the block."""
        return (
            self.partial_sums
            + thread * self.partial_bytes
            + panel_of_group * (self.partial_bytes // GROUP_PANELS)
        )

    cdef Py_ssize_t add_parts(
        self,
        Py_ssize_t first_panel,
        Py_ssize_t last_panel,
        Py_ssize_t first,
        Py_ssize_t last,
        int thread,
    ) noexcept nogil:
        """Add up all but the last part of the depth; return how many steps that is."""
        cdef fnn_tile *kernel = &self.expansion.tile
        cdef Py_ssize_t word = kernel.word_bytes, tile_bytes = kernel.rows * kernel.cols * word
        cdef Py_ssize_t done = 0, panel, sample
        cdef char *target
        while self.samples.depth - done > self.part_depth:
            for sample in range(first, last):
                for panel in range(first_panel, last_panel):
                    target = self.partial_tiles(panel - first_panel, thread)
                    target += (sample - first) * tile_bytes
                    kernel.partial(
                        self.part_depth,
                        self.queries.data + panel * self.queries.panel_bytes
                        + done * kernel.rows * word,
                        self.samples.data + sample * self.samples.panel_bytes
                        + done * kernel.cols * word,
                        target if done > 0 else self.initial + sample * kernel.cols * word,
                        kernel.cols if done > 0 else 0,
                        target,
                    )
            done += self.part_depth
        return done

    cdef void scan_panel(
        self,
        Py_ssize_t start,
        Py_ssize_t split,
        Py_ssize_t panel,
        Py_ssize_t first,
        Py_ssize_t last,
        Py_ssize_t done,
        char *partial,
        lane_t *tile,
        int thread,
    ) noexcept nogil:
        """One panel of queries against the panels first to last, from step `done` of the depth."""
        cdef fnn_scan_arguments arguments
        cdef lane_t thresholds[FNN_MAX_TILE_ROWS]
        cdef uint32_t hits[FNN_MAX_TILE_ROWS]
        cdef double errors[FNN_MAX_TILE_ROWS]
        cdef Py_ssize_t rows = self.queries.width, cols = self.samples.width
        cdef Py_ssize_t query = panel * rows, slot = split * self.n_queries + query
        cdef Py_ssize_t n_rows = min(rows, self.n_queries - query)
        cdef Py_ssize_t hit, r
        cdef int64_t index
        cdef uint32_t bits
        cdef int column
        for r in range(rows):
            errors[r] = 0.0
            if r < n_rows and lane_t is float:
                errors[r] = self.error_of(query + r, start + first * cols)
            thresholds[r] = self.threshold(
                self.bounds[slot + r] if r < n_rows else INFINITY, errors[r], tile
            )
        arguments.depth = self.queries.depth - done
        arguments.first_panel = first
        arguments.n_panels = last
        arguments.queries = (
            <lane_t *>(self.queries.data + panel * self.queries.panel_bytes) + done * rows
        )
        arguments.samples = <lane_t *>self.samples.data + done * cols
        arguments.sample_stride = self.samples.depth * cols
        if done == 0:
            arguments.initial = self.initial
            arguments.initial_panel_stride = cols
            arguments.initial_row_stride = 0
        else:  # panels are counted from the start of the chunk, partial sums from `first`
            arguments.initial = <lane_t *>partial - first * rows * cols
            arguments.initial_panel_stride = rows * cols
            arguments.initial_row_stride = cols
        arguments.thresholds = thresholds
        arguments.tile = tile
        arguments.hits = hits
        while True:
            hit = self.expansion.tile.scan(&arguments)
            if hit == last:
                return
            arguments.first_panel = hit + 1
            index = start + hit * cols
            for r in range(n_rows):
                bits = hits[r]
                while bits:
                    column = fnn_lowest_bit(bits)
                    bits &= bits - 1
                    if tile[r * cols + column] > thresholds[r]:
                        self.push(
                            slot + r, query + r, tile[r * cols + column] - errors[r],
                            index + column, thread,
                        )
                        thresholds[r] = self.threshold(self.bounds[slot + r], errors[r], tile)

    cdef lane_t threshold(self, double bound, double error, lane_t *tile) noexcept nogil:
        """What a lane must exceed. For integers later indices lose ties, so that is the bound."""
        cdef lane_t low, high
        if lane_t is float:
            # Lanes equal to bound - error must pass: strictly below it, whatever the rounding.
            return nextafterf(<float>(bound - error), -INFINITY)
        elif lane_t is int32_t:
            low, high = INT32_MIN, INT32_MAX
        else:
            low, high = INT64_LOW, -INT64_LOW
        return low if bound <= low else high if bound >= high else <lane_t>bound

    cdef void scan_rows(self, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
        cdef Py_ssize_t group = MAX_ROW_QUERIES
        cdef Py_ssize_t n_groups = (self.n_queries + group - 1) // group
        cdef Py_ssize_t n_tasks = n_groups * self.n_splits, n = stop - start, split, task
        for task in prange(
            n_tasks,
            num_threads=max(1, min(self.n_threads, n_tasks)),
            schedule="dynamic",
            use_threads_if=self.n_threads > 1,
        ):
            split = task // n_groups
            self.scan_rows_split(
                start + split * n // self.n_splits, start + (split + 1) * n // self.n_splits, split,
                (task % n_groups) * group, min((task % n_groups + 1) * group, self.n_queries),
                threadid(),
            )

    cdef void scan_rows_split(
        self,
        Py_ssize_t start,
        Py_ssize_t stop,
        Py_ssize_t split,
        Py_ssize_t first_query,
        Py_ssize_t last_query,
        int thread,
    ) noexcept nogil:
        cdef double distances[MAX_STEP_ROWS]
        cdef Py_ssize_t row, query, slot, n, i
        cdef double limit
        row = start
        while row < stop:
            n = min(self.exact.held, stop - row)
            self.exact.fetch(row, NULL, n, thread)
            for query in range(first_query, last_query):
                slot = split * self.n_queries + query
                self.exact.to_fetched(query, row, NULL, n, thread, distances)
                limit = self.row_limit(slot)
                for i in range(n):
                    if not distances[i] <= DBL_MAX:
                        self.out_of_range = 1
                    if distances[i] <= limit:
                        self.push(
                            slot, query, -self.rooted(distances[i]),
                            row + i, thread,
                        )
                        limit = self.row_limit(slot)
            row += n

    cdef bint scan_all(self, object advance, double share, bint any_range) except -1:
        """Go through all of Y; return False as soon as values are out of range, if that matters.

        `advance` is called with each piece's part of `share`. Between pieces Ctrl-C takes effect.
        """
        cdef Py_ssize_t start = 0, stop
        while start < self.n_samples:
            stop = min(start + self.chunk_rows, self.n_samples)
            self.scan(start, stop)
            if self.out_of_range and not any_range:
                return False
            PyErr_CheckSignals()
            if advance is not None:
                advance(share * (stop - start) / self.n_samples)
            start = stop
        return True


cdef SearchPlan plan_search(
    Rows X, Rows Y, str metric, int n_threads, bint by_rows, Py_ssize_t query_bytes
):
    """Choose the mode and the slices of queries, of which each takes `query_bytes` beside panels.

    Returns None if no tile can hold such values.
    """
    cdef SearchPlan plan = SearchPlan()
    cdef Py_ssize_t n_queries = X.n_rows, n_features = Y.n_features
    if metric == "chebyshev" and Y.value_type == UINT8:
        X, Y = X.as_float32(), Y.as_float32()
    plan.mode = BY_TILES if Y.value_type == UINT8 else BY_BOUNDS
    if by_rows or n_queries <= MAX_ROW_QUERIES:
        plan.mode = BY_ROWS
    elif plan.mode == BY_TILES and n_features > MAX_UINT8_FEATURES and metric != "l1":
        X, Y, plan.mode = X.as_float32(), Y.as_float32(), BY_BOUNDS
    elif plan.mode == BY_BOUNDS and n_features >= 1 << 22:
        plan.mode = BY_ROWS  # d * 2^-24 leaves no room for error bounds
    plan.X, plan.Y, plan.center, plan.scale = X, Y, None, 1.0
    if plan.mode == BY_BOUNDS:
        frame = packing_frame(Y)
        if frame is None:
            return None
        plan.center, plan.scale = frame
    if <double>n_queries * Y.n_rows * n_features < MIN_PARALLEL_WORK:
        n_threads = 1
    plan.n_threads = n_threads
    plan.slice_queries = max(1, min(
        MAX_SLICE_QUERIES, SLICE_PANEL_BYTES // (8 * n_features),
        SLICE_CANDIDATE_BYTES // query_bytes,
    ))
    plan.slice_queries = max(
        plan.slice_queries, min(n_queries, 2 * FNN_MAX_TILE_ROWS * n_threads)
    )
    return plan
