"""The loop of an exhaustive search: see _scan.pyx."""

from libc.stdint cimport int32_t, int64_t

from ._collect cimport Collector
from ._index cimport Block, Chunk, FlatIndex, Mode
from ._lists cimport Visits
from .._rows cimport ExactDistances, Rows
from .._tiles cimport Panels


ctypedef fused lane_t:
    float
    int32_t
    int64_t


cdef enum Stage:
    BEFORE
    PACK
    COMPARE
    FINISH


# Queries that meet a block together: packed, panel after panel.
cdef struct QueryGroup:
    const char *panels
    Py_ssize_t n_panels, n_queries
    # They are in a row from this one on, unless they have numbers.
    Py_ssize_t first
    const int64_t *numbers


cdef class Scan:
    """One slice of queries, compared with all samples of an index, or with those they visit."""

    cdef FlatIndex index
    cdef Collector collector
    cdef ExactDistances exact
    cdef Panels queries
    cdef Visits visits
    cdef Mode mode
    cdef int n_threads
    cdef Py_ssize_t n_queries, n_samples, n_splits, step_rows, piece_rows
    # Panels of queries of a task, or GROUP_QUERIES, and how many such groups there are.
    cdef Py_ssize_t group_panels, n_groups
    # Whether a task is a block of samples for all queries, or some queries for all samples.
    cdef bint by_blocks
    # [n_threads][GROUP_PANELS]: panels of the queries that visit a list.
    cdef char *gathered
    # Of every query: the error's share.
    cdef double *query_errors
    # [n_threads][GROUP_PANELS][panels of a block] tiles of partial sums, where rows are long.
    cdef char *partial_sums
    cdef Py_ssize_t partial_bytes
    # The phase: samples start to stop, and the chunk that holds them.
    cdef Stage stage
    cdef Py_ssize_t start, stop, first_of_chunk
    cdef void *chunk
    # Samples that are packed for good, and room for those that are packed on the way.
    cdef Chunk resident, moving
    # Tasks (BY_ROWS) or samples.
    cdef int64_t n_done
    cdef int64_t is_not_finite
    cdef object keep_alive

    cdef object prepare_tiles(self, Rows X)
    cdef object share_out(self)
    cdef object cut_into_pieces(self)
    cdef bint run(self, object advance, double share) except -1
    cdef Py_ssize_t next_phase(self) noexcept nogil
    cdef Py_ssize_t next_step(self) noexcept nogil
    cdef void run_task(self, Py_ssize_t task, int thread) noexcept nogil
    cdef bint has_failed(self) noexcept nogil
    cdef void scan_block(self, Py_ssize_t task, int thread) noexcept nogil
    cdef void scan_queries(self, Py_ssize_t task, int thread) noexcept nogil
    cdef void scan_list(self, Py_ssize_t task, int thread) noexcept nogil
    cdef void gather(
        self, const int64_t *numbers, Py_ssize_t n_queries, int thread, QueryGroup *group
    ) noexcept nogil
    cdef QueryGroup group_of(self, Py_ssize_t first_panel, Py_ssize_t last_panel) noexcept nogil
    cdef void scan_group(
        self,
        Chunk chunk,
        const Block *block,
        Py_ssize_t split,
        const QueryGroup *group,
        int thread,
    ) noexcept nogil
    cdef char *partial_tiles(self, Py_ssize_t panel_of_group, int thread) noexcept nogil
    cdef Py_ssize_t add_parts(
        self,
        Chunk chunk,
        const Block *block,
        const QueryGroup *group,
        int thread,
    ) noexcept nogil
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
    ) noexcept nogil
    cdef lane_t threshold(self, double bound, double error, lane_t *tile) noexcept nogil
    cdef void scan_rows(self, Py_ssize_t task, int thread) noexcept nogil
    cdef void compare_rows(
        self,
        Py_ssize_t start,
        Py_ssize_t stop,
        Py_ssize_t split,
        Py_ssize_t first_query,
        Py_ssize_t last_query,
        bint preselect,
        int thread,
    ) noexcept nogil
    cdef void take_possible(
        self,
        Py_ssize_t split,
        Py_ssize_t query,
        Py_ssize_t row,
        const int64_t *ids,
        const double *approx,
        Py_ssize_t n,
        int thread,
    ) noexcept nogil
    cdef double approx_limit(self, Py_ssize_t slot) noexcept nogil
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
    FlatIndex index, Py_ssize_t n_queries, Py_ssize_t query_bytes, int n_threads,
    bint visiting=*,
)
cdef int scan_threads(FlatIndex index, Py_ssize_t n_queries, int n_threads)
cdef Mode mode_of_visits(FlatIndex index, Visits visits)
cdef int visit_threads(FlatIndex index, Visits visits, int n_threads)
cdef Mode mode_for(FlatIndex index, Py_ssize_t n_queries, bint by_rows)
cdef Scan new_scan(
    FlatIndex index, Rows X, Mode mode, Collector collector, int n_threads, Visits visits=*
)
