"""What tiles need of the samples: see _index.pyx."""

from libc.stdint cimport int64_t

from .._rows cimport Norm, Rows
from .._tiles cimport Expansion, Panels


cdef enum Mode:
    BY_BOUNDS
    BY_TILES
    BY_ROWS


# Samples first to stop, and the panels of a chunk that hold them.
cdef struct Block:
    Py_ssize_t first, stop
    Py_ssize_t first_panel, n_panels


cdef class Chunk:
    """Room for packed samples, and where their accumulators start."""

    cdef Panels samples
    cdef Py_ssize_t n_rows
    # In the tile's lane type.
    cdef char *starts
    # Of quads: what a(s) / 2 leaves.
    cdef char *parities
    cdef object keep_alive


cdef class FlatIndex:
    cdef readonly Rows rows
    cdef readonly str metric
    # Of those that are scanned: in this order; NULL: all rows in their own.
    cdef readonly Py_ssize_t n_samples
    cdef readonly object order
    cdef const int64_t *row_ids
    # Whether all values are bytes below 128.
    cdef readonly bint narrow
    # What resident panels may take.
    cdef readonly Py_ssize_t budget
    cdef bint is_planned
    cdef int n_searches
    # How it is searched for more than a few queries.
    cdef Mode mode
    cdef Norm norm
    cdef Expansion expansion
    # As tiles have them: bytes may be floats there.
    cdef Rows tile_rows
    cdef object center
    cdef double scale
    # E = rate * m^2 or rate * m, and the rest.
    cdef double rate, underflow
    # Samples that threads take at a time, and steps of depth; what a packed row takes.
    cdef Py_ssize_t block_rows, part_depth, packed_row_bytes
    cdef readonly Py_ssize_t most_block_rows
    # [n_samples], of BY_BOUNDS: how far a sample's key may be off by its own share.
    cdef float *errors
    # The first samples, if they are packed once for all searches.
    cdef Chunk resident
    cdef int64_t is_not_finite
    cdef object keep_alive

    cdef object plan(self)
    cdef object cache_panels(self, int n_threads)
    cdef bint is_quadratic(self) noexcept nogil
    cdef int64_t row_id(self, Py_ssize_t place) noexcept nogil
    cdef double error(self, double magnitude) noexcept nogil
    cdef Chunk new_chunk(self, Py_ssize_t n_rows)
    cdef Block block(
        self, Py_ssize_t first, Py_ssize_t stop, Py_ssize_t first_panel
    ) noexcept nogil
    cdef Py_ssize_t n_parts(self, Py_ssize_t n_rows) noexcept nogil
    cdef void pack_part(
        self, Chunk chunk, Py_ssize_t part, Py_ssize_t start, Py_ssize_t stop
    ) noexcept nogil
    cdef void pack(self, Chunk chunk, const Block *block) noexcept nogil
    cdef void ask_for_rows(self, Py_ssize_t start, Py_ssize_t stop) noexcept nogil
    cdef void start_accumulators(
        self, Chunk chunk, Py_ssize_t panel, Py_ssize_t first, Py_ssize_t n
    ) noexcept nogil


cdef FlatIndex index_of(object rows, str metric)
