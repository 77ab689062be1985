"""Sizes of blocks and of tasks, and what work is worth: each number once, with its reason.

Chosen by bench/ratios.py and flat around these values. Only speed depends on them, but for those
that say otherwise. Caches are those of most CPUs: 32 KiB, 512 KiB or more, and some MiB for all.
"""

from ._dispatch cimport FNN_MAX_BLOCK_POINTS

cdef enum:
    # ---- threads -------------------------------------------------------------------------------
    # What a thread has to save to be worth waking: 20 to 60 microseconds pass until it is there.
    MIN_NANOSECONDS_PER_THREAD = 40000
    # Queries whose neighbors one task sorts and writes.
    FINISH_QUERIES = 16
    # Votes that one task counts, classes with them.
    VOTES_PER_TASK = 1 << 13
    # How many tasks there are for each thread, so that a late one does not decide.
    TASKS_PER_THREAD = 8
    # Bytes. No two threads should write to a line, or to the next, which is fetched with it.
    CACHE_LINE = 64

    # ---- tiles ---------------------------------------------------------------------------------
    # A block of panels stays in the second-level cache while the panels of a group pass.
    BLOCK_BYTES = 192 << 10
    PAIRWISE_BLOCK_BYTES = 384 << 10  # of one side alone: results go to memory
    MAX_BLOCK_ROWS = 2048
    GROUP_PANELS = 8
    # Rows longer than twice this are taken in parts of about this: a part of a panel of samples
    # and one of a panel of queries stay in the first-level cache together, and blocks keep several
    # panels.
    PART_BYTES = 1 << 10
    # Packed samples that the threads share: what stays in the last-level cache, alone, and beside
    # the results.
    CHUNK_BYTES = 8 << 20
    PAIRWISE_CHUNK_BYTES = 4 << 20
    # Up to so many rows are the queries, on whichever side they are.
    MAX_FEW_QUERIES = 128
    # Panels that a task packs, and features of a panel that are moved at a time.
    PANELS_PER_TASK = 8
    PACKING_STRIP = 64
    # Features of a strip of the encoder, and of a network's first layer: of a panel of rows, they
    # fit the first-level cache.
    ENCODER_STRIP = 512
    NETWORK_STRIP = 128

    # ---- exhaustive search ---------------------------------------------------------------------
    # What the panels of a slice of queries may take, and what a collector may hold for them.
    SLICE_PANEL_BYTES = 8 << 20
    SLICE_CANDIDATE_BYTES = 16 << 20
    MAX_SLICE_QUERIES = 4096
    MAX_VISITING_QUERIES = 16384
    # Of a row that is packed next, so much is asked for: the processor does the rest by itself.
    ASKED_BYTES = 512
    # A guess of what a query's neighbors within a radius take.
    RADIUS_LIST_BYTES = 4096
    # Up to here candidates, or the largest lower bounds, are kept in order.
    MAX_SORTED = 24
    # Queries that a thread takes through block after block: they stay in the second-level cache.
    CACHED_QUERY_BYTES = 512 << 10
    # What lists may take where each thread has its own: a limit, and how many times as much the
    # samples have to take, as more lists let more pairs pass.
    SPLIT_LIST_BYTES = 32 << 20
    MIN_BYTES_PER_LIST_BYTE = 16
    # Rows whose distances are evaluated at a time: what stays in the second-level cache.
    MAX_HELD_ROWS = 256
    HELD_BYTES = 128 << 10
    # Queries that a task compares with the same rows while these are in the cache,
    GROUP_QUERIES = 64
    # and up to how many of them that costs less than packing: with approximate distances (of bytes,
    # and of normalized rows, one for so many features), and otherwise. Of weighted rows none.
    MAX_APPROX_QUERIES = 12
    FEATURES_PER_QUERY_OF_BYTES = 16
    MAX_NORMALIZED_QUERIES = 4
    FEATURES_PER_NORMALIZED_QUERY = 96
    MAX_ROW_QUERIES = 2
    # Exact distances that are evaluated together where few are needed.
    FEW_ROWS = 16
    # A piece of the samples that some queries are compared with row by row: differences of values,
    # and how many pieces there are for each thread, so that a late one does not decide.
    PIECE_WORK = 1 << 21
    MIN_PIECES = 8
    # Pairs of a query that are decided together: rows further on are asked for meanwhile.
    MAX_PENDING = 48

    # ---- tree ----------------------------------------------------------------------------------
    # A multiple of 8 up to FNN_MAX_BLOCK_POINTS. Times are flat from 16 to 32.
    LEAF_POINTS = 24
    # Ranges of samples that are split side by side before each is left to one thread, and what is
    # not worth it.
    MAX_RANGES = 64
    MIN_RANGE = 1 << 10
    # Queries that are sorted together, and those of the first slice within a radius.
    TREE_SLICE_QUERIES = 1 << 16
    FIRST_RADIUS_QUERIES = 1 << 8
    # Neighbors within a radius that are held before they are copied to where they belong.
    SLICE_PAIRS = 1 << 20
    # Of a task: queries, values to check, leaves to pack.
    TREE_QUERIES_PER_TASK = 32
    VALUES_PER_TASK = 1 << 14
    LEAVES_PER_TASK = 32
    # Queries ahead whose row, and room for results, are asked for: they are anywhere.
    PREFETCH_AHEAD = 4

    # ---- pairwise distances --------------------------------------------------------------------
    # Up to here blocks are about as quick as tiles. Which of the two gives an entry depends on it.
    MAX_BLOCK_FEATURES = 16
    BLOCK_ROWS_PER_TASK = 16 * FNN_MAX_BLOCK_POINTS
    # Rows of X and of Y of a task without tiles or blocks.
    ROWS_PER_TASK = 256
    QUERIES_PER_TASK = 16
    # Blocks of rows with missing values that a task packs.
    MISSING_BLOCKS_PER_TASK = 64

    # ---- training ------------------------------------------------------------------------------
    # Sums are over tasks or chunks: on what is marked with * the last bits of results depend.
    # * Rows of a block of a linear model, and values and derivatives of one of a circuit.
    HALF_L2_BYTES = 256 << 10
    # * Gradients of a round's tasks: what all of them may take, and how many there are at most.
    GRADIENT_BYTES = 32 << 20
    MAX_GRADIENTS = 16
    # * Fewer rows than this do not pay for a gradient of their own; with more, a round ends, and
    # sums in float32 do not grow longer.
    MIN_GRADIENT_ROWS = 64
    MAX_GRADIENT_ROWS = 256
    # * Scores of a task: some ten microseconds. Values of the rectifier's.
    SCORES_PER_TASK = 1 << 13
    RECTIFIED_PER_TASK = 1 << 15
    # Scores that a thread combines at a time, in the first-level cache, and points of a landscape
    # that a task combines them for.
    COMBINED_SCORES = 1 << 11
    POINTS_PER_TASK = 64
    # * Rows of a network that are held at a time: a multiple of all tiles' columns.
    CHUNK_ROWS = 512
    # Panels of rows that share the weights that are read, and panels of inputs of a task: each asks
    # for the next one's values.
    MAX_STRIP_PANELS = 4
    MAX_INPUT_PANELS = 4
    # * More rows of a circuit would not make the loops over a block faster (measured on 10 to 130
    # units); fewer than a vector has lanes would waste it.
    MAX_TAPE_ROWS = 128
    MIN_TAPE_ROWS = 8
    # * Derivatives are summed over the rows of a task, then over the tasks. Each takes an array of
    # sums, so they are not many.
    MAX_TAPE_SUMS = 32


# ---- what work takes ---------------------------------------------------------------------------
# One thread, about, on any machine: only whether a second one is worth waking depends on it.


cdef inline double nanoseconds_to_pack(double n_values) noexcept nogil:
    """For values that are read, converted or copied."""
    return 0.5 * n_values


cdef inline double nanoseconds_to_compare(double n_differences) noexcept nogil:
    """For multiply-adds, or differences, of a tile."""
    return 0.03 * n_differences


cdef inline double nanoseconds_to_read(double n_bytes) noexcept nogil:
    """For bytes that are only met: what few queries wait for."""
    return 0.03 * n_bytes


cdef inline double nanoseconds_to_descend(double n_queries) noexcept nogil:
    """For queries of a tree, which take it 0.2 to 10 microseconds each."""
    return 200.0 * n_queries


cdef inline double nanoseconds_to_build(double n_samples) noexcept nogil:
    """For samples of a tree."""
    return 100.0 * n_samples
