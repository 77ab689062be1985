"""The loop of an exhaustive search: panels of queries meet panels of samples, tile by tile.

The way of the data for one slice of queries:

    samples, unless they are resident  --pack-->  panels
      few queries: each thread packs blocks of its own, and compares them with all queries
      many: all pack a chunk together (it stays in L3), and each compares some queries with it
      a block of those panels (stays in L2) x each panel of queries (stays in L1)
      (rows that are long: part by part of the depth, with partial sums in a buffer)
        scan kernel: tile of sums in registers, compared with each query's threshold
          lanes above it --> the collector: the k nearest, or all within a radius (_collect.pyx)

Three modes share this loop:

BY_BOUNDS, for floats: the tiles are float32 and only preselect, with the errors of _index.pyx. A
collector sets a bound L such that it needs no pair with kappa < L; all pairs with kappa~ + E >= L
are pushed, and float64 distances in difference form alone decide about them. Where most pairs of a
block pass, its rows are compared as they are.

BY_TILES, for uint8: integer tiles are exact, so keys decide by themselves. Those of quads are half
of 2 q.s - |s|², rounded up; a bit for each sample says whether it was.

BY_ROWS, for few queries (the time is that of reading the samples) and for values that no frame
holds: float64 distances row by row.

With *visits* a task is a list of samples and the queries that visit it, gathered panel by panel.
"""

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, fabs, floor, nextafterf
from libc.stdint cimport INT32_MAX, INT32_MIN, int32_t, int64_t, uint32_t, uint64_t

import numpy as np

cimport numpy as cnp

from .._dispatch cimport (
    FNN_MAX_TILE_ROWS,
    FNN_APPROX_QUERIES,
    fnn_lowest_bit,
    fnn_scan_arguments,
    fnn_tile,
    fnn_tile_lanes,
)
from ._index cimport BY_BOUNDS, BY_ROWS, Block
from .._jobs cimport fnn_fetch_add, fnn_load, fnn_store, run_job, threads_for
from .._rows cimport CHEBYSHEV, L2, UINT8, aligned_bytes, has_approx_distances, new_distances
from .._tiles cimport new_panels
from .._tuning cimport (
    CACHED_QUERY_BYTES,
    CHUNK_BYTES,
    FEATURES_PER_NORMALIZED_QUERY,
    FEATURES_PER_QUERY_OF_BYTES,
    FEW_ROWS,
    GROUP_PANELS,
    GROUP_QUERIES,
    MAX_HELD_ROWS,
    MAX_NORMALIZED_QUERIES,
    MAX_APPROX_QUERIES,
    MAX_ROW_QUERIES,
    MAX_SLICE_QUERIES,
    MAX_VISITING_QUERIES,
    MIN_BYTES_PER_LIST_BYTE,
    MIN_PIECES,
    PIECE_WORK,
    SLICE_CANDIDATE_BYTES,
    SLICE_PANEL_BYTES,
    SPLIT_LIST_BYTES,
    nanoseconds_to_compare,
    nanoseconds_to_pack,
    nanoseconds_to_read,
)

cnp.import_array()


cdef int64_t INT64_LOW = -(<int64_t>1 << 61)


cdef Py_ssize_t few_queries(FlatIndex index) noexcept:
    """Return up to how many queries are compared with rows sooner than with panels."""
    cdef Py_ssize_t few = MAX_ROW_QUERIES, d = index.rows.n_features
    if index.rows.weighted:
        few = 0
    elif index.rows.normalized:
        few = min(<Py_ssize_t>MAX_NORMALIZED_QUERIES, d // FEATURES_PER_NORMALIZED_QUERY)
    elif has_approx_distances(index.rows, index.norm):
        few = MAX_APPROX_QUERIES
        if index.rows.value_type == UINT8:
            few = max(1, min(few, d // FEATURES_PER_QUERY_OF_BYTES))
    if index.resident_rows == index.n_samples:
        few = min(few, <Py_ssize_t>1)
    return few


cdef Mode mode_for(FlatIndex index, Py_ssize_t n_queries, bint by_rows):
    """Choose how so many queries are compared with an index."""
    if by_rows or n_queries <= few_queries(index):
        return BY_ROWS
    index.plan()
    return index.mode


cdef int scan_threads(FlatIndex index, Py_ssize_t n_queries, int n_threads):
    cdef double n_differences = <double>n_queries * index.n_samples * index.rows.n_features
    cdef double n_bytes = <double>index.n_samples * index.rows.row_bytes
    return threads_for(
        n_threads, index.n_samples,
        nanoseconds_to_compare(n_differences) + nanoseconds_to_read(n_bytes),
    )


cdef Mode mode_of_visits(FlatIndex index, Visits visits):
    """Choose how the queries that visit a list are compared with it."""
    cdef Py_ssize_t few = min(<Py_ssize_t>MAX_ROW_QUERIES, few_queries(index))
    return mode_for(index, index.n_samples, visits.n_visits <= few * visits.n_visited)


cdef int visit_threads(FlatIndex index, Visits visits, int n_threads):
    """Like `scan_threads`, for lists of average length."""
    cdef double n_values = <double>index.n_samples / visits.n_lists * index.rows.n_features
    return threads_for(
        n_threads, visits.n_visited,
        nanoseconds_to_compare(visits.n_visits * n_values)
        + nanoseconds_to_pack(visits.n_visited * n_values),
    )


cdef Py_ssize_t slice_size(
    FlatIndex index, Py_ssize_t n_queries, Py_ssize_t query_bytes, int n_threads,
    bint visiting=False,
):
    """Return how many queries go together, of which each takes `query_bytes` beside panels.

    `visiting`: they meet a part of the samples, so that packing these counts for more; and each
    thread has lists of its own.
    """
    cdef Py_ssize_t most = MAX_SLICE_QUERIES, list_bytes = SLICE_CANDIDATE_BYTES
    if visiting:
        most, list_bytes = MAX_VISITING_QUERIES, SPLIT_LIST_BYTES // n_threads
    cdef Py_ssize_t panel_bytes = 8 * index.rows.n_features
    if index.is_planned:
        panel_bytes = index.packed_row_bytes
    cdef Py_ssize_t size = max(1, min(
        most, SLICE_PANEL_BYTES // panel_bytes, list_bytes // query_bytes
    ))
    return max(size, min(n_queries, 2 * FNN_MAX_TILE_ROWS * n_threads))


cdef Scan new_scan(
    FlatIndex index, Rows X, Mode mode, Collector collector, int n_threads, Visits visits=None
):
    """Return a scan of an index for a slice of queries, with its collector."""
    cdef Scan scan = Scan.__new__(Scan)
    cdef const double *terms = NULL
    scan.index, scan.collector, scan.mode, scan.n_threads = index, collector, mode, n_threads
    scan.visits = visits
    scan.n_queries, scan.n_samples = X.n_rows, index.n_samples
    scan.exact = new_distances(X, index.rows, index.norm, n_threads)
    collector.attach(index, scan.exact, mode, n_threads)
    collector.in_order = visits is None and index.row_ids == NULL
    scan.stage, scan.stop = BEFORE, 0
    if mode == BY_ROWS:
        scan.n_splits = n_threads
        scan.cut_into_pieces()
    else:
        scan.prepare_tiles(X if index.tile_rows is index.rows else X.as_float32())
        terms = scan.queries.terms
    collector.begin(scan.n_splits, terms, scan.query_errors)
    return scan


ctypedef fused word_t:
    uint32_t
    uint64_t


cdef inline void copy_words(
    const word_t *source, Py_ssize_t stride, Py_ssize_t depth, word_t *place
) noexcept nogil:
    """Copy a row from panel to panel."""
    cdef Py_ssize_t step
    for step in range(depth):
        place[step * stride] = source[step * stride]


cdef class Scan:
    cdef object prepare_tiles(self, Rows X):
        cdef FlatIndex index = self.index
        cdef Py_ssize_t depth, q
        self.queries = new_panels(
            index.expansion, True, X.n_rows, X.n_features, index.center, index.scale
        )
        self.queries.pack(X, 0, X.n_rows, self.n_threads)
        query_errors = np.zeros(X.n_rows)
        self.query_errors = <double *>cnp.PyArray_DATA(query_errors)
        if self.mode == BY_BOUNDS:
            for q in range(X.n_rows):
                self.query_errors[q] = index.error(self.queries.magnitudes[q])
                if self.query_errors[q] == INFINITY:
                    self.queries.clear_row(q)
                    self.is_not_finite |= not X.is_finite_row(q)
        depth = self.queries.depth
        self.partial_bytes = 0
        if index.part_depth < depth:  # a lane is as wide as a word
            self.partial_bytes = GROUP_PANELS * index.block_rows * self.queries.width
            self.partial_bytes *= index.expansion.tile.word_bytes
        partial_sums = np.empty(self.n_threads * self.partial_bytes, dtype=np.uint8)
        self.partial_sums = <char *>cnp.PyArray_DATA(partial_sums)
        gathered = None
        if self.visits is not None:
            gathered = aligned_bytes(self.n_threads * GROUP_PANELS * self.queries.panel_bytes)
            self.gathered = <char *>cnp.PyArray_DATA(gathered)
        self.keep_alive = query_errors, partial_sums, gathered
        self.share_out()

    cdef object share_out(self):
        """Decide who packs and compares what."""
        cdef Py_ssize_t size = self.index.block_rows
        cdef double list_bytes = self.n_queries * self.collector.list_bytes
        cdef double packed_bytes = self.n_samples * self.index.packed_row_bytes
        self.by_blocks = self.n_threads == 1 or self.visits is not None or (
            self.n_samples >= size * self.n_threads
            and self.n_queries * self.index.packed_row_bytes <= CACHED_QUERY_BYTES
            and list_bytes * self.n_threads <= SPLIT_LIST_BYTES
            and list_bytes * (self.n_threads - 1) * MIN_BYTES_PER_LIST_BYTE <= packed_bytes
        )
        self.n_splits = self.n_threads if self.by_blocks else 1
        self.group_panels = max(
            1, min(<Py_ssize_t>GROUP_PANELS, self.queries.n_panels // (4 * self.n_threads))
        )
        self.n_groups = (self.queries.n_panels + self.group_panels - 1) // self.group_panels
        if self.by_blocks:
            self.step_rows = self.n_samples
        else:  # whole blocks
            self.step_rows = max(size, CHUNK_BYTES // self.index.packed_row_bytes // size * size)

    cdef object cut_into_pieces(self):
        """Divide the rows among tasks, in whole steps of what exact distances hold."""
        cdef Py_ssize_t n_queries = min(self.n_queries, <Py_ssize_t>GROUP_QUERIES)
        cdef Py_ssize_t rows = PIECE_WORK // (n_queries * self.exact.Y.n_features)
        if self.n_threads > 1:
            rows = min(rows, self.n_samples // (MIN_PIECES * self.n_threads))
        self.piece_rows = max(self.exact.held, rows // self.exact.held * self.exact.held)
        self.n_groups = (self.n_queries + GROUP_QUERIES - 1) // GROUP_QUERIES

    cdef bint run(self, object advance, double share) except -1:
        """Go through all samples, and finish; return False where a value is not finite.

        `advance` is called with each part of `share`.
        """
        cdef Py_ssize_t n_packed = 0, n_tasks
        if self.mode != BY_ROWS:
            self.resident = self.index.resident
            if self.resident is not None:
                n_packed = self.resident.n_rows
            if n_packed < self.n_samples:
                self.moving = self.index.new_chunk(
                    self.n_threads * self.index.block_rows if self.by_blocks
                    else min(self.step_rows, self.n_samples - n_packed)
                )
        n_tasks = self.next_step()
        run_job(
            run_scan_task, <void *>self, n_tasks, self.n_threads, advance, share,
            next_scan_phase, &self.n_done,
            n_tasks if self.mode == BY_ROWS or self.visits is not None else self.n_samples,
        )
        if fnn_load(&self.is_not_finite) or fnn_load(&self.index.is_not_finite):
            return False
        if fnn_load(&self.collector.out_of_memory):
            raise MemoryError()
        return True

    cdef bint has_failed(self) noexcept nogil:
        return (
            fnn_load(&self.is_not_finite) or fnn_load(&self.index.is_not_finite)
            or fnn_load(&self.collector.out_of_memory)
        )

    cdef Py_ssize_t next_phase(self) noexcept nogil:
        """Go on to the next step, or within one; return how many tasks that is."""
        if self.stage == FINISH or self.has_failed():
            return 0
        if self.stage == PACK:
            self.stage = COMPARE
            return self.n_groups
        if self.mode != BY_ROWS and not self.by_blocks:
            fnn_store(&self.n_done, self.stop)
        return self.next_step()

    cdef Py_ssize_t next_step(self) noexcept nogil:
        cdef Py_ssize_t n_packed = 0 if self.resident is None else self.resident.n_rows
        cdef Py_ssize_t size = self.index.block_rows, end = self.n_samples
        self.start, self.stage = self.stop, COMPARE
        if self.start == end:
            self.stage = FINISH
            return self.collector.n_finish_tasks()
        if self.visits is not None:
            self.stop, self.chunk = end, <void *>self.moving
            return self.visits.n_lists
        if self.mode == BY_ROWS:
            self.stop = end
            return self.n_groups * ((end + self.piece_rows - 1) // self.piece_rows)
        if self.start < n_packed:
            end, self.chunk, self.first_of_chunk = n_packed, <void *>self.resident, 0
        else:
            self.chunk, self.first_of_chunk = <void *>self.moving, self.start
        self.stop = min(self.start + self.step_rows, end)
        if self.by_blocks:
            return (self.stop - self.start + size - 1) // size
        if self.start < n_packed:
            return self.n_groups
        self.stage = PACK
        return self.index.n_parts(self.stop - self.start)

    cdef void run_task(self, Py_ssize_t task, int thread) noexcept nogil:
        if self.stage == FINISH:
            self.collector.finish_task(task, thread)
        elif self.stage == PACK:
            self.index.pack_part(<Chunk>self.chunk, task, self.start, self.stop)
        elif self.has_failed():
            return
        elif self.visits is not None:
            self.scan_list(task, thread)
        elif self.mode == BY_ROWS:
            self.scan_rows(task, thread)
        elif self.by_blocks:
            self.scan_block(task, thread)
        else:
            self.scan_queries(task, thread)

    # ---- tiles ----------------------------------------------------------------------------

    cdef void scan_block(self, Py_ssize_t task, int thread) noexcept nogil:
        """Compare all queries with a block of samples, for the list of this thread.

        A block comes to a thread's own cache once, and is packed there. Cores that share no cache
        would pay for each other's panels as for those in memory.
        """
        cdef Py_ssize_t size = self.index.block_rows, cols = self.index.expansion.tile.cols
        cdef Py_ssize_t first = self.start + task * size, panel = first // cols
        cdef bint packs = self.chunk == <void *>self.moving
        cdef QueryGroup group
        cdef Block block
        if packs:
            panel = thread * (size // cols)
        block = self.index.block(first, min(first + size, self.stop), panel)
        if packs:
            self.index.pack(<Chunk>self.chunk, &block)
        panel = 0
        while panel < self.queries.n_panels:
            group = self.group_of(panel, min(panel + GROUP_PANELS, self.queries.n_panels))
            self.scan_group(<Chunk>self.chunk, &block, thread, &group, thread)
            panel += GROUP_PANELS
        fnn_fetch_add(&self.n_done, block.stop - block.first)

    cdef void scan_queries(self, Py_ssize_t task, int thread) noexcept nogil:
        """Compare a group of queries with the samples of a step."""
        cdef Py_ssize_t size = self.index.block_rows, cols = self.index.expansion.tile.cols
        cdef Py_ssize_t first = self.start, panel = task * self.group_panels
        cdef QueryGroup group = self.group_of(
            panel, min(panel + self.group_panels, self.queries.n_panels)
        )
        cdef Block block
        while first < self.stop:
            block = self.index.block(
                first, min(first + size, self.stop), (first - self.first_of_chunk) // cols
            )
            self.scan_group(<Chunk>self.chunk, &block, 0, &group, thread)
            first += size
        # Whole samples: the end of the phase adds what is left of them.
        fnn_fetch_add(&self.n_done, (self.stop - self.start) // self.n_groups)

    cdef void scan_list(self, Py_ssize_t task, int thread) noexcept nogil:
        """Compare the queries that visit a list with its samples, for the list of this thread."""
        cdef Py_ssize_t size = self.index.block_rows, i, n
        cdef Py_ssize_t first = self.visits.starts[task], stop = self.visits.starts[task + 1]
        cdef const int64_t *queries = self.visits.queries + self.visits.query_starts[task]
        cdef Py_ssize_t n_queries = (
            self.visits.query_starts[task + 1] - self.visits.query_starts[task]
        )
        cdef QueryGroup group
        cdef Block block
        if self.mode == BY_ROWS:
            for i in range(n_queries):
                self.compare_rows(
                    first, stop, thread, queries[i], queries[i] + 1,
                    self.exact.approximates, thread,
                )
            first = stop
        while first < stop and n_queries > 0:
            block = self.index.block(
                first, min(first + size, stop), thread * (size // self.index.expansion.tile.cols)
            )
            self.index.pack(<Chunk>self.chunk, &block)
            i = 0
            while i < n_queries:
                n = min(n_queries - i, GROUP_PANELS * self.queries.width)
                self.gather(queries + i, n, thread, &group)
                self.scan_group(<Chunk>self.chunk, &block, thread, &group, thread)
                i += n
            first += size
        fnn_fetch_add(&self.n_done, 1)

    cdef void gather(
        self, const int64_t *numbers, Py_ssize_t n_queries, int thread, QueryGroup *group
    ) noexcept nogil:
        """Pack some queries side by side: copy them, word by word, from where they are packed."""
        cdef Py_ssize_t width = self.queries.width, word = self.index.expansion.tile.word_bytes
        cdef Py_ssize_t panel_bytes = self.queries.panel_bytes, i
        cdef char *target = self.gathered + thread * GROUP_PANELS * panel_bytes
        cdef const char *source
        cdef char *place
        group.panels, group.numbers, group.first = target, numbers, 0
        group.n_queries, group.n_panels = n_queries, (n_queries + width - 1) // width
        for i in range(n_queries):
            source = self.queries.data + numbers[i] // width * panel_bytes
            source += numbers[i] % width * word
            place = target + i // width * panel_bytes + i % width * word
            if word == 4:
                copy_words(<const uint32_t *>source, width, self.queries.depth, <uint32_t *>place)
            else:
                copy_words(<const uint64_t *>source, width, self.queries.depth, <uint64_t *>place)

    cdef QueryGroup group_of(self, Py_ssize_t first_panel, Py_ssize_t last_panel) noexcept nogil:
        """The queries of some panels in a row."""
        cdef QueryGroup group
        group.panels = self.queries.data + first_panel * self.queries.panel_bytes
        group.n_panels, group.numbers = last_panel - first_panel, NULL
        group.first = first_panel * self.queries.width
        group.n_queries = min(last_panel * self.queries.width, self.n_queries) - group.first
        return group

    cdef void scan_group(
        self,
        Chunk chunk,
        const Block *block,
        Py_ssize_t split,
        const QueryGroup *group,
        int thread,
    ) noexcept nogil:
        """Compare a group of queries with a block."""
        cdef Py_ssize_t panel, done = self.add_parts(chunk, block, group, thread)
        cdef double common_error = 0.0
        cdef fnn_tile_lanes tile
        cdef char *partial
        if self.index.norm == CHEBYSHEV:
            # The smallest of many lanes has no place for an error.
            for panel in range(block.first, block.stop):
                common_error = max(common_error, self.index.errors[self.index.row_id(panel)])
        for panel in range(group.n_panels):
            partial = self.partial_tiles(panel, thread)
            if self.mode == BY_BOUNDS:
                self.scan_panel(
                    chunk, block, split, group, panel, done, partial, common_error, tile.f32, thread
                )
            elif self.index.norm == L2:
                self.scan_panel(
                    chunk, block, split, group, panel, done, partial, common_error, tile.i32, thread
                )
            else:
                self.scan_panel(
                    chunk, block, split, group, panel, done, partial, common_error, tile.i64, thread
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
        Chunk chunk,
        const Block *block,
        const QueryGroup *group,
        int thread,
    ) noexcept nogil:
        """Add up all but the last part of the depth; return how many steps that is."""
        cdef fnn_tile *kernel = &self.index.expansion.tile
        cdef Py_ssize_t word = kernel.word_bytes, tile_bytes = kernel.rows * kernel.cols * word
        cdef Py_ssize_t part = self.index.part_depth, done = 0, panel, sample
        cdef Py_ssize_t first = block.first_panel, last = block.first_panel + block.n_panels
        cdef char *target
        while chunk.samples.depth - done > part:
            for sample in range(first, last):
                for panel in range(group.n_panels):
                    target = self.partial_tiles(panel, thread)
                    target += (sample - first) * tile_bytes
                    kernel.partial(
                        part,
                        group.panels + panel * self.queries.panel_bytes
                        + done * kernel.rows * word,
                        chunk.samples.data + sample * chunk.samples.panel_bytes
                        + done * kernel.cols * word,
                        target if done > 0 else chunk.starts + sample * kernel.cols * word,
                        kernel.cols if done > 0 else 0,
                        target,
                    )
            done += part
        return done

    cdef void scan_panel(
        self,
        Chunk chunk,
        const Block *block,
        Py_ssize_t split,
        const QueryGroup *group,
        Py_ssize_t panel,
        Py_ssize_t done,
        char *partial,
        double common_error,
        lane_t *tile,
        int thread,
    ) noexcept nogil:
        """One panel of a group against a block, from step `done` of the depth."""
        cdef fnn_scan_arguments arguments
        cdef lane_t thresholds[FNN_MAX_TILE_ROWS]
        cdef uint32_t hits[FNN_MAX_TILE_ROWS]
        cdef double errors[FNN_MAX_TILE_ROWS]
        cdef Py_ssize_t rows = self.queries.width, cols = chunk.samples.width
        cdef Py_ssize_t n_rows = min(rows, group.n_queries - panel * rows)
        cdef Py_ssize_t slot = split * self.n_queries, hit, r, query, together, n_hits = 0, place
        cdef int64_t numbers[FNN_MAX_TILE_ROWS]
        cdef int64_t index, sample
        cdef uint32_t bits
        cdef double low, error, bound
        # Lanes hold a sample's share of the error already, but for Chebyshev distances.
        cdef double share = 1.0 if self.index.norm == CHEBYSHEV else 2.0
        cdef int column
        cdef const double *bounds = self.collector.bounds + slot
        for r in range(rows):
            errors[r] = 0.0
            query = panel * rows + r
            if r < n_rows:
                numbers[r] = query = (
                    group.first + query if group.numbers == NULL else group.numbers[query]
                )
                if lane_t is float:
                    errors[r] = self.query_errors[query]
            thresholds[r] = self.threshold(
                bounds[query] if r < n_rows else INFINITY, errors[r] + common_error, tile
            )
        # Panels are counted from the block's first.
        arguments.depth = self.queries.depth - done
        arguments.first_panel = 0
        arguments.n_panels = block.n_panels
        arguments.queries = (
            <lane_t *>(group.panels + panel * self.queries.panel_bytes) + done * rows
        )
        arguments.samples = (
            <lane_t *>(chunk.samples.data + block.first_panel * chunk.samples.panel_bytes)
            + done * cols
        )
        arguments.sample_stride = chunk.samples.depth * cols
        if done == 0:
            arguments.initial = <lane_t *>chunk.starts + block.first_panel * cols
            arguments.initial_panel_stride = cols
            arguments.initial_row_stride = 0
        else:
            arguments.initial = partial
            arguments.initial_panel_stride = rows * cols
            arguments.initial_row_stride = cols
        arguments.thresholds = thresholds
        arguments.tile = tile
        arguments.hits = hits
        while True:
            hit = self.index.expansion.tile.scan(&arguments)
            if hit == arguments.n_panels:
                return
            arguments.first_panel = hit + 1
            index = block.first + hit * cols
            for r in range(n_rows):
                bits, query = hits[r], numbers[r]
                while bits:
                    column = fnn_lowest_bit(bits)
                    bits &= bits - 1
                    if tile[r * cols + column] > thresholds[r]:
                        low = tile[r * cols + column]
                        sample = self.index.row_id(index + column)
                        if lane_t is int32_t:
                            if self.index.expansion.quads:
                                place = (block.first_panel + hit) * cols + column
                                low = 2.0 * low - chunk.parities[place]
                        if lane_t is float:
                            error = self.index.errors[sample]
                            low = low - errors[r] - share * error
                            if low != low:  # both are infinite
                                low = -INFINITY
                        bound = bounds[query]
                        self.collector.push(slot + query, query, low, sample, thread)
                        if bounds[query] != bound:
                            thresholds[r] = self.threshold(
                                bounds[query], errors[r] + common_error, tile
                            )
                        n_hits += 1
            if lane_t is float:
                if (
                    self.collector.many_hits > 0
                    and n_hits > n_rows * self.collector.many_hits
                    and 2 * n_hits > n_rows * (hit + 1) * cols
                ):
                    for r in range(n_rows):
                        self.collector.settle(slot + numbers[r], numbers[r], thread)
                    together = n_rows if group.numbers == NULL else 1
                    r = 0
                    while r < n_rows:
                        self.compare_rows(
                            index + cols, block.stop, split, numbers[r], numbers[r] + together,
                            False, thread,
                        )
                        r += together
                    return

    cdef lane_t threshold(self, double bound, double error, lane_t *tile) noexcept nogil:
        """What a lane must exceed. For integers later indices lose ties, so that is the bound;
        where samples come in another order, ties must pass.
        """
        cdef lane_t low, high
        if lane_t is float:
            # Lanes equal to bound - error must pass: strictly below it, whatever the rounding.
            return nextafterf(<float>(bound - error), -INFINITY)
        elif lane_t is int32_t:
            low, high = INT32_MIN, INT32_MAX
        else:
            low, high = INT64_LOW, -INT64_LOW
        if not self.collector.in_order:
            bound -= 1.0
        if self.index.expansion.quads:  # whose lanes are halves, rounded up
            bound = floor(0.5 * bound)
        return low if not bound > low else high if bound >= high else <lane_t>bound

    # ---- rows -----------------------------------------------------------------------------

    cdef void scan_rows(self, Py_ssize_t task, int thread) noexcept nogil:
        """Compare a group of queries with a piece of the samples, for the list of this thread."""
        cdef Py_ssize_t start = task // self.n_groups * self.piece_rows
        cdef Py_ssize_t first = task % self.n_groups * GROUP_QUERIES
        self.compare_rows(
            start, min(start + self.piece_rows, self.n_samples), thread,
            first, min(first + GROUP_QUERIES, self.n_queries),
            self.exact.approximates, thread,
        )
        fnn_fetch_add(&self.n_done, 1)

    cdef void compare_rows(
        self,
        Py_ssize_t start,
        Py_ssize_t stop,
        Py_ssize_t split,
        Py_ssize_t first_query,
        Py_ssize_t last_query,
        bint preselect,
        int thread,
    ) noexcept nogil:
        """Compare some queries, of which nothing is pending, with the samples in some places.

        `preselect`: exact distances are for those rows alone that may matter.
        """
        cdef double distances[FNN_APPROX_QUERIES * MAX_HELD_ROWS]
        cdef Py_ssize_t place = start, step = 1, first, last, query, n
        cdef Py_ssize_t row
        cdef const int64_t *ids
        if preselect:
            step = FNN_APPROX_QUERIES
        while place < stop:
            n = min(self.exact.held, stop - place)
            row, ids = place, NULL
            if self.index.row_ids != NULL:
                row, ids = 0, self.index.row_ids + place
            if not preselect:
                self.exact.fetch(row, ids, n, thread)
            first = first_query
            while first < last_query:
                last = min(first + step, last_query)
                if preselect:
                    self.exact.approximate(first, last - first, row, ids, n, thread, distances)
                    for query in range(first, last):
                        self.take_possible(
                            split, query, row, ids, distances + (query - first) * n, n, thread
                        )
                else:
                    self.exact.to_fetched(first, row, ids, n, thread, distances)
                    self.take_all(split, first, row, ids, n, distances, thread)
                first = last
            place += n

    cdef void take_possible(
        self,
        Py_ssize_t split,
        Py_ssize_t query,
        Py_ssize_t row,
        const int64_t *ids,
        const double *approx,
        Py_ssize_t n,
        int thread,
    ) noexcept nogil:
        """Evaluate what approximate distances leave, a few at a time, as that lowers the limit."""
        cdef int64_t possible[FEW_ROWS]
        cdef double distances[FEW_ROWS]
        cdef Py_ssize_t slot = split * self.n_queries + query, i, m = 0
        cdef double limit = self.approx_limit(slot)
        for i in range(n):
            # What overflows says nothing.
            if approx[i] <= limit or not approx[i] <= DBL_MAX:
                possible[m] = i if ids == NULL else ids[i]
                m += 1
                if m == FEW_ROWS:
                    self.exact.evaluate(query, row, possible, m, thread, distances)
                    self.take_all(split, query, row, possible, m, distances, thread)
                    limit = self.approx_limit(slot)
                    m = 0
        self.exact.evaluate(query, row, possible, m, thread, distances)
        self.take_all(split, query, row, possible, m, distances, thread)

    cdef double approx_limit(self, Py_ssize_t slot) noexcept nogil:
        cdef double limit = self.collector.limit(slot)
        if limit < 0.0:
            return limit
        return limit * self.exact.approx_error + self.exact.approx_underflow

    cdef void take_all(
        self,
        Py_ssize_t split,
        Py_ssize_t query,
        Py_ssize_t row,
        const int64_t *index,
        Py_ssize_t n,
        const double *distances,
        int thread,
    ) noexcept nogil:
        cdef Py_ssize_t slot = split * self.n_queries + query, sample, i
        cdef double limit = self.collector.limit(slot)
        for i in range(n):
            if distances[i] <= limit or not distances[i] <= DBL_MAX:
                sample = row + (i if index == NULL else index[i])
                if not fabs(distances[i]) <= DBL_MAX:
                    self.require_finite(query, sample)
                self.collector.take(
                    slot, query, self.collector.rooted(distances[i]), sample, thread
                )
                limit = self.collector.limit(slot)

    cdef void require_finite(self, Py_ssize_t query, Py_ssize_t sample) noexcept nogil:
        """A distance may be infinite because it overflows, or because a value is."""
        if not (self.exact.X.is_finite_row(query) and self.exact.Y.is_finite_row(sample)):
            fnn_store(&self.is_not_finite, True)


cdef void run_scan_task(void *scan, Py_ssize_t task, int thread) noexcept nogil:
    (<Scan>scan).run_task(task, thread)


cdef Py_ssize_t next_scan_phase(void *scan) noexcept nogil:
    return (<Scan>scan).next_phase()
