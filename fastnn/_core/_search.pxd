"""The frame of every search: see _search.pyx."""

from libc.stdint cimport int32_t, int64_t

from ._rows cimport ExactDistances, Rows
from ._tiles cimport Expansion, Panels


cdef enum Mode:
    BY_BOUNDS
    BY_TILES
    BY_ROWS


ctypedef fused lane_t:
    float
    int32_t
    int64_t


cdef class SearchPlan:
    """What a search has decided before its first slice of queries."""

    cdef Rows X, Y
    cdef object center
    cdef double scale
    cdef Mode mode
    cdef int n_threads
    cdef Py_ssize_t slice_queries


cdef class TileSearch:
    cdef Mode mode
    cdef Expansion expansion
    cdef Panels queries, samples
    cdef Rows X, Y
    cdef ExactDistances exact
    cdef Py_ssize_t n_queries, n_samples, n_features, n_splits, block_rows
    # Steps of depth that are taken at a time; all of them unless rows are long.
    cdef Py_ssize_t part_depth
    # [n_threads][GROUP_PANELS][panels of a block] tiles of partial sums, where there are parts.
    cdef char *partial_sums
    cdef Py_ssize_t partial_bytes
    cdef Py_ssize_t chunk_rows
    cdef int n_threads
    cdef bint root
    cdef double rate, underflow, scale
    cdef object keep_alive
    # [n_splits][n_queries]
    cdef double *bounds
    # For every block of block_rows samples, the largest magnitude in it.
    cdef double *block_magnitudes
    # The accumulators' start for each packed sample, in the tile's lane type.
    cdef char *initial
    cdef int out_of_range

    cdef object prepare_tiles(self, object center)
    cdef void push(
        self, Py_ssize_t slot, Py_ssize_t query, double key, int64_t index, int thread
    ) noexcept nogil
    cdef double row_limit(self, Py_ssize_t slot) noexcept nogil
    cdef double error(self, Py_ssize_t query, double magnitude) noexcept nogil
    cdef double error_of(self, Py_ssize_t query, int64_t sample) noexcept nogil
    cdef double key_of(self, Py_ssize_t query, double distance) noexcept nogil
    cdef double rooted(self, double distance) noexcept nogil
    cdef double unrooted(self, double distance) noexcept nogil
    cdef void scan(self, Py_ssize_t start, Py_ssize_t stop)
    cdef void scan_chunk(self, Py_ssize_t start, Py_ssize_t stop) noexcept nogil
    cdef void start_accumulators(self, Py_ssize_t start) noexcept nogil
    cdef void scan_group(
        self,
        Py_ssize_t start,
        Py_ssize_t n_blocks,
        Py_ssize_t split,
        Py_ssize_t first_panel,
        Py_ssize_t last_panel,
        int thread,
    ) noexcept nogil
    cdef char *partial_tiles(self, Py_ssize_t panel_of_group, int thread) noexcept nogil
    cdef Py_ssize_t add_parts(
        self,
        Py_ssize_t first_panel,
        Py_ssize_t last_panel,
        Py_ssize_t first,
        Py_ssize_t last,
        int thread,
    ) noexcept nogil
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
    ) noexcept nogil
    cdef lane_t threshold(self, double bound, double error, lane_t *tile) noexcept nogil
    cdef void scan_rows(self, Py_ssize_t start, Py_ssize_t stop) noexcept nogil
    cdef void scan_rows_split(
        self,
        Py_ssize_t start,
        Py_ssize_t stop,
        Py_ssize_t split,
        Py_ssize_t first_query,
        Py_ssize_t last_query,
        int thread,
    ) noexcept nogil
    cdef bint scan_all(self, object advance, double share, bint any_range) except -1


cdef SearchPlan plan_search(
    Rows X, Rows Y, str metric, int n_threads, bint by_rows, Py_ssize_t query_bytes
)
