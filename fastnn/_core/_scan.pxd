"""The only loop over samples: see _scan.pyx."""

from libc.stdint cimport int32_t, int64_t

from ._collect cimport Collector
from ._index cimport Block, Chunk, FlatIndex, Mode
from ._rows cimport ExactDistances, Rows
from ._team cimport fnn_member, fnn_team
from ._tiles cimport Panels


ctypedef fused lane_t:
    float
    int32_t
    int64_t


cdef class Scan:
    """One slice of queries, compared with all samples of an index."""

    cdef FlatIndex index
    cdef Collector collector
    cdef ExactDistances exact
    cdef Panels queries
    cdef Mode mode
    cdef int n_threads
    cdef Py_ssize_t n_queries, n_samples, n_splits, step_rows
    # Whether a task is a block of samples for all queries, or some queries for all samples.
    cdef bint by_blocks
    # Of every query: the error's share.
    cdef double *query_errors
    # [n_threads][GROUP_PANELS][panels of a block] tiles of partial sums, where rows are long.
    cdef char *partial_sums
    cdef Py_ssize_t partial_bytes
    # When threads come back for a while, and whether they do, of even and odd steps.
    cdef double deadline
    cdef bint ends[2]
    cdef int64_t is_not_finite
    cdef object keep_alive

    cdef object prepare_tiles(self, Rows X)
    cdef object share_out(self)
    cdef bint run(self, object advance, double share) except -1
    cdef Py_ssize_t go_on(self, Chunk chunk, bint packs, Py_ssize_t start, Py_ssize_t stop)
    cdef void go_on_together(
        self, fnn_team *team, Chunk chunk, bint packs, Py_ssize_t start, Py_ssize_t stop,
        Py_ssize_t *end, int thread,
    ) noexcept nogil
    cdef bint has_to_end(self) noexcept nogil
    cdef Py_ssize_t scan_blocks(
        self, Chunk chunk, bint packs, Py_ssize_t start, Py_ssize_t stop, fnn_member *member,
        int thread,
    ) noexcept nogil
    cdef void pack(
        self, Chunk chunk, Py_ssize_t start, Py_ssize_t stop, fnn_member *member
    ) noexcept nogil
    cdef Py_ssize_t scan_packed(
        self, Chunk chunk, bint packs, Py_ssize_t start, Py_ssize_t stop, fnn_member *member,
        int thread,
    ) noexcept nogil
    cdef void scan_group(
        self,
        Chunk chunk,
        const Block *block,
        Py_ssize_t split,
        Py_ssize_t first_panel,
        Py_ssize_t last_panel,
        int thread,
    ) noexcept nogil
    cdef char *partial_tiles(self, Py_ssize_t panel_of_group, int thread) noexcept nogil
    cdef Py_ssize_t add_parts(
        self,
        Chunk chunk,
        const Block *block,
        Py_ssize_t first_panel,
        Py_ssize_t last_panel,
        int thread,
    ) noexcept nogil
    cdef void scan_panel(
        self,
        Chunk chunk,
        const Block *block,
        Py_ssize_t split,
        Py_ssize_t panel,
        Py_ssize_t done,
        char *partial,
        double common_error,
        lane_t *tile,
        int thread,
    ) noexcept nogil
    cdef lane_t threshold(self, double bound, double error, lane_t *tile) noexcept nogil
    cdef Py_ssize_t scan_rows(
        self, Py_ssize_t start, Py_ssize_t stop, fnn_member *member, int thread
    ) noexcept nogil
    cdef void compare_rows(
        self,
        Py_ssize_t start,
        Py_ssize_t stop,
        Py_ssize_t split,
        Py_ssize_t first_query,
        Py_ssize_t last_query,
        bint roughly,
        int thread,
    ) noexcept nogil
    cdef void take_possible(
        self,
        Py_ssize_t split,
        Py_ssize_t query,
        Py_ssize_t row,
        const double *rough,
        Py_ssize_t n,
        int thread,
    ) noexcept nogil
    cdef double rough_limit(self, Py_ssize_t slot) noexcept nogil
    cdef void take_all(
        self,
        Py_ssize_t split,
        Py_ssize_t query,
        Py_ssize_t row,
        const int64_t *index,
        Py_ssize_t n,
        const double *distances,
        int thread,
    ) noexcept nogil
    cdef void require_finite(self, Py_ssize_t query, Py_ssize_t sample) noexcept nogil


cdef Py_ssize_t slice_size(
    FlatIndex index, Py_ssize_t n_queries, Py_ssize_t query_bytes, int n_threads
)
cdef int threads_for(FlatIndex index, Py_ssize_t n_queries, int n_threads)
cdef Mode mode_for(FlatIndex index, Py_ssize_t n_queries, bint by_rows)
cdef Scan new_scan(FlatIndex index, Rows X, Mode mode, Collector collector, int n_threads)
