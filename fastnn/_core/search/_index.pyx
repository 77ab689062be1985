"""The flat index: rows, and what tiles need of them, made when it is first needed.

Immutable for its users, and shared by threads: what is made later is made once, under a lock.

- The *plan* comes with the first search by tiles: the frame (center, scale) in which floats are
  packed, the sizes of blocks, room for the samples' error shares.
- *Panels* are packed chunk by chunk by each search. An index that is searched again keeps those of
  its first samples, as many as its budget has room for: what a search that comes alone would lose
  by it, the second one has back.

**Errors of keys.** The key of a pair is kappa = (a(q) - d)/beta (see _tiles.pxd; larger is nearer).
Tiles in float32 give kappa~ with an error of at most E(q, s) <= e(q) + e(s):

    Let u = 2^-24, gamma_n = n u / (1 - n u), m(x) the norm (L2) or sum of magnitudes (L1) of a
    packed row (Chebyshev: the norm, which no magnitude exceeds), R = m(q) + m(s). Sums in any order
    obey |fl(sum) - sum| <= gamma_n sum |terms|, where n counts the operations (Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd ed., section 3.1). Sources of error in kappa:
      the product with its start   L2: gamma_{d+2} (m(q) m(s) + m(s)^2 / 2) <= gamma_{d+2} R^2 / 2
                                   L1: gamma_{d+2} (m(q) + 1.5 m(s))        <= gamma_{d+2} 1.5 R
      rounding (x - c) * scale     each row moves by at most u' m(x), u' = u (1 + 2^-28), so the
      to float32                   distance by u' R:  L2: u' R^2,  L1: u' R / 2
      the float64 evaluation,      relative to d <= R^2 or R: (d + 8) 2^-53, in kappa half of it;
      its square root              the whole is taken
      underflow                    below 2^-150 a value, 2^-1074 a float64 square: packing_frame's
                                   limits keep all of it under (d + 8) 2^-110
    An inner product, whose negative is the distance, is the product alone, without a center, and
    beta is 1: m(q) m(s) is at most R^2 / 4, so that the terms for L2 are enough.
    Chebyshev has no sum: the packing moves the distance by u' R, the subtraction by u R (1 + u'),
    beta is 1, and max rounds nothing.
    Since R^2 <= 2 m(q)^2 + 2 m(s)^2, each row has a share of its own:
    e(x) = 2 rate m(x)^2 (or rate m(x)) + (d + 8) 2^-110, with 2 % on top for the rounding of e
    itself (to float32), of the norms, and of adding e(s) to the accumulators' start, which is less
    than e(s) u.

So one row cannot spoil the rest: a sample's share is added to where its own accumulators start,
-a(s)/beta + e(s), a query's to its own threshold. Rows with m(x) >= MAX_MAGNITUDE could overflow:
they are packed as zeros with e(x) = infinity, and every pair with them is decided exactly.
"""

from libc.math cimport INFINITY
from libc.stdint cimport INT32_MIN, int32_t, int64_t

import numpy as np

cimport numpy as cnp

from .._dispatch cimport active_kernels, fnn_prefetch
from .._jobs cimport fnn_store, run_job, threads_for
from .._rows cimport CHEBYSHEV, L1, L2, PRODUCT, UINT8, Norm, norm_of, rows_of
from .._tiles cimport choose_scan, new_panels
from .._tuning cimport (
    ASKED_BYTES,
    BLOCK_BYTES,
    CACHE_LINE,
    MAX_BLOCK_ROWS,
    PANELS_PER_TASK,
    PART_BYTES,
    nanoseconds_to_pack,
)

from .._threads import RenewedLock
from .._tiles import packing_frame

cnp.import_array()

cdef enum:
    # int32 holds 2 q.s - |s|^2 of centered bytes up to this many features.
    MAX_UINT8_FEATURES = 40000
    # From here on d * 2^-24 leaves no room for error bounds.
    MAX_FLOAT_FEATURES = 1 << 22

cdef double MAX_MAGNITUDE = 2.0 ** 60


cdef double error_rate(Norm norm, Py_ssize_t n_features) noexcept nogil:
    """E / R^2 (L2) or E / R (L1, Chebyshev), but for underflow: the module's docstring."""
    cdef double u = 2.0 ** -24, n = n_features + 4
    cdef double gamma = n * u / (1.0 - n * u)
    cdef double evaluation = (n_features + 8) * 2.0 ** -53
    if norm == CHEBYSHEV:
        return 1.02 * (2.01 * u + evaluation)
    return 1.02 * ((1.5 * gamma if norm == L1 else 0.5 * gamma) + 1.01 * u + evaluation)


# Held while an index makes what is made later.
index_lock = RenewedLock()


cdef FlatIndex index_of(object rows, str metric):
    """Return a flat index as it is, and one of rows."""
    return rows if isinstance(rows, FlatIndex) else FlatIndex(rows, metric)


cdef class Chunk:
    pass


cdef struct Residents:
    void *index
    void *chunk
    Py_ssize_t n_rows


cdef void pack_resident(void *context, Py_ssize_t part, int thread) noexcept nogil:
    cdef const Residents *residents = <const Residents *>context
    (<FlatIndex>residents.index).pack_part(
        <Chunk>residents.chunk, part, 0, residents.n_rows
    )


cdef class FlatIndex:
    """Samples to compare all queries with.

    Parameters
    ----------
    rows : Rows, or ndarray of shape (n, d), float32, float64 or uint8
        Arrays: C-contiguous.
    metric : {"l1", "l2", "sqeuclidean", "chebyshev", "ip"}
    budget : int, optional
        Bytes that resident panels may take; None: as many as the rows.
    block_rows : int, optional
        Samples that are scanned together, at most; None: as suits the caches.
    order : ndarray of int64, optional
        All samples, or some, in the order in which they are scanned; None: all in their own.
    narrow : bool
        Whether all values are bytes below 128: for some tiles that is half of the work.
    """

    def __init__(
        self, rows, str metric, budget=None, block_rows=None, order=None, bint narrow=False
    ):
        cdef const int64_t[::1] ids
        self.rows = rows_of(rows)
        self.metric = metric
        self.budget = self.rows.values.nbytes if budget is None else budget
        self.most_block_rows = MAX_BLOCK_ROWS if block_rows is None else block_rows
        self.norm = norm_of(metric)
        if self.norm in (CHEBYSHEV, PRODUCT) and self.rows.value_type == UINT8:
            raise TypeError(f"no kernel takes {metric!r} of uint8")
        self.order, self.row_ids, self.narrow = order, NULL, narrow
        self.n_samples = self.rows.n_rows
        if order is not None:
            ids = order
            self.row_ids, self.n_samples = &ids[0], ids.shape[0]

    def __len__(self):
        return self.n_samples

    def __reduce__(self):
        # Panels are packed anew: for other tiles, perhaps.
        return FlatIndex, (
            self.rows, self.metric, self.budget, self.most_block_rows, self.order, self.narrow
        )

    @property
    def nbytes(self):
        """How many bytes are held beside the rows."""
        resident = self.resident_rows * (self.packed_row_bytes + 8) if self.is_planned else 0
        return resident + (0 if self.keep_alive is None else self.keep_alive.nbytes)

    @property
    def resident_rows(self):
        """How many samples are packed for good."""
        return 0 if self.resident is None else self.resident.n_rows

    # ---- the plan -------------------------------------------------------------------------

    cdef object plan(self):
        """Decide how tiles take the rows."""
        cdef Py_ssize_t d = self.rows.n_features, n_parts = 1, row_bytes, part_bytes, cols
        with index_lock:
            if self.is_planned:
                return
            rows = self.tile_rows = self.rows
            self.mode = BY_TILES if self.rows.value_type == UINT8 else BY_BOUNDS
            if self.mode == BY_TILES and d > MAX_UINT8_FEATURES and self.norm != L1:
                self.tile_rows, self.mode = self.rows.as_float32(), BY_BOUNDS
            self.center, self.scale = None, 1.0
            if self.mode == BY_BOUNDS:
                frame = None
                if d < MAX_FLOAT_FEATURES:
                    frame = packing_frame(self.tile_rows, self.norm != PRODUCT)
                if frame is None:
                    self.mode = BY_ROWS
                else:
                    self.center, self.scale = frame
            self.expansion = choose_scan(
                active_kernels(), self.tile_rows.value_type, self.norm, self.narrow
            )
            cols = self.expansion.tile.cols
            row_bytes = (d + self.expansion.tile.step - 1) // self.expansion.tile.step
            row_bytes *= self.expansion.tile.word_bytes
            if row_bytes > 2 * PART_BYTES:
                n_parts = row_bytes // PART_BYTES
            self.part_depth = (row_bytes // self.expansion.tile.word_bytes + n_parts - 1) // n_parts
            part_bytes = self.part_depth * self.expansion.tile.word_bytes
            self.block_rows = min(self.most_block_rows, BLOCK_BYTES // part_bytes)
            self.block_rows = max(cols, self.block_rows // cols * cols)
            self.packed_row_bytes = row_bytes
            self.rate = error_rate(self.norm, d) * (2.0 if self.is_quadratic() else 1.0)
            self.underflow = (d + 8) * 2.0 ** -110
            errors = np.zeros(self.rows.n_rows if self.mode == BY_BOUNDS else 0, np.float32)
            self.errors = <float *>cnp.PyArray_DATA(errors)
            self.keep_alive = errors
            self.is_planned = True

    cdef object cache_panels(self, int n_threads):
        """Pack what the budget has room for, if this is another search by tiles."""
        cdef Py_ssize_t n, n_parts
        cdef Residents residents
        with index_lock:
            self.n_searches += 1
            if self.n_searches != 2:
                return
            n = self.budget // self.packed_row_bytes
            if n < self.n_samples:
                n = n // self.block_rows * self.block_rows
            n = min(n, self.n_samples)
            if n > 0:
                chunk = self.new_chunk(n)
                residents = Residents(<void *>self, <void *>chunk, n)
                n_parts = self.n_parts(n)
                n_threads = threads_for(
                    n_threads, n_parts, nanoseconds_to_pack(<double>n * self.rows.n_features)
                )
                run_job(pack_resident, &residents, n_parts, n_threads)
                self.resident = chunk

    cdef bint is_quadratic(self) noexcept nogil:
        """Whether distances grow with the square of the values."""
        return self.norm == L2 or self.norm == PRODUCT

    cdef int64_t row_id(self, Py_ssize_t place) noexcept nogil:
        """The sample that is scanned in this place."""
        return place if self.row_ids == NULL else self.row_ids[place]

    # ---- packing --------------------------------------------------------------------------

    cdef double error(self, double magnitude) noexcept nogil:
        """e(x) of a row of this magnitude."""
        if not magnitude < MAX_MAGNITUDE:
            return INFINITY
        return (
            self.rate * (magnitude * magnitude if self.is_quadratic() else magnitude)
            + self.underflow
        )

    cdef Chunk new_chunk(self, Py_ssize_t n_rows):
        cdef Chunk chunk = Chunk.__new__(Chunk)
        chunk.samples = new_panels(
            self.expansion, False, n_rows, self.rows.n_features, self.center, self.scale
        )
        starts = np.empty((n_rows + self.expansion.tile.cols) * 8, dtype=np.uint8)
        parities = np.empty(n_rows + self.expansion.tile.cols, dtype=np.uint8)
        chunk.n_rows = n_rows
        chunk.starts = <char *>cnp.PyArray_DATA(starts)
        chunk.parities = <char *>cnp.PyArray_DATA(parities)
        chunk.keep_alive = starts, parities
        return chunk

    cdef Block block(
        self, Py_ssize_t first, Py_ssize_t stop, Py_ssize_t first_panel
    ) noexcept nogil:
        """The samples in places first to stop, in the panels from this one on."""
        cdef Block block
        cdef Py_ssize_t width = self.expansion.tile.cols
        block.first, block.stop, block.first_panel = first, stop, first_panel
        block.n_panels = (stop - first + width - 1) // width
        return block

    cdef Py_ssize_t n_parts(self, Py_ssize_t n_rows) noexcept nogil:
        """How many parts there are for threads to pack."""
        cdef Py_ssize_t part_rows = PANELS_PER_TASK * self.expansion.tile.cols
        return (n_rows + part_rows - 1) // part_rows

    cdef void pack_part(
        self, Chunk chunk, Py_ssize_t part, Py_ssize_t start, Py_ssize_t stop
    ) noexcept nogil:
        """Pack one part of the samples start to stop."""
        cdef Py_ssize_t part_rows = PANELS_PER_TASK * self.expansion.tile.cols
        cdef Py_ssize_t first = start + part * part_rows
        cdef Block block = self.block(first, min(first + part_rows, stop), part * PANELS_PER_TASK)
        self.pack(chunk, &block)

    cdef void pack(self, Chunk chunk, const Block *block) noexcept nogil:
        cdef Py_ssize_t width = chunk.samples.width, i, first, n
        for i in range(block.n_panels):
            first = block.first + i * width
            n = min(width, block.stop - first)
            if self.row_ids != NULL:
                self.ask_for_rows(first + width, min(first + 2 * width, block.stop))
            chunk.samples.pack_panel(
                block.first_panel + i, self.tile_rows, first if self.row_ids == NULL else 0, n,
                NULL if self.row_ids == NULL else self.row_ids + first,
            )
            self.start_accumulators(chunk, block.first_panel + i, first, n)

    cdef void ask_for_rows(self, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
        """Have rows that lie anywhere on their way to the cache while others are packed."""
        cdef Py_ssize_t place, byte, n_bytes = min(self.rows.row_bytes, <Py_ssize_t>ASKED_BYTES)
        cdef const char *row
        for place in range(start, stop):
            row = self.rows.data + self.row_ids[place] * self.rows.row_bytes
            byte = 0
            while byte < n_bytes:
                fnn_prefetch(row + byte)
                byte += CACHE_LINE

    cdef void start_accumulators(
        self, Chunk chunk, Py_ssize_t panel, Py_ssize_t first, Py_ssize_t n
    ) noexcept nogil:
        """Fill in -a(s)/beta + e(s) for a panel, and what nothing beats for the padding."""
        cdef Py_ssize_t width = chunk.samples.width, i, sample
        cdef const double *magnitudes = chunk.samples.magnitudes
        cdef const double *terms = chunk.samples.terms
        cdef double error
        cdef int64_t centered
        for i in range(panel * width, (panel + 1) * width):
            sample = i - panel * width
            if sample >= n:
                if self.mode == BY_BOUNDS:
                    (<float *>chunk.starts)[i] = -INFINITY
                elif self.norm == L2:
                    (<int32_t *>chunk.starts)[i] = INT32_MIN
                else:
                    (<int64_t *>chunk.starts)[i] = -(<int64_t>1 << 62)
            elif self.mode == BY_BOUNDS:
                sample = self.row_id(first + sample)
                error = self.error(magnitudes[i])
                self.errors[sample] = <float>error
                if error == INFINITY:
                    chunk.samples.clear_row(i)
                    (<float *>chunk.starts)[i] = INFINITY
                    if not self.tile_rows.is_finite_row(sample):
                        fnn_store(&self.is_not_finite, True)
                else:
                    (<float *>chunk.starts)[i] = <float>(error - terms[i] / self.expansion.beta)
            elif self.expansion.quads:
                # The tile is (q - a) . (s - c), which is (q - c) . (s - c) + (c - a) sum (s - c).
                centered = <int64_t>magnitudes[i] - self.expansion.offset * self.rows.n_features
                centered *= self.expansion.offset - self.expansion.query_offset
                (<int32_t *>chunk.starts)[i] = <int32_t>(-centered - ((<int64_t>terms[i]) >> 1))
                chunk.parities[i] = (<int64_t>terms[i]) & 1
            elif self.norm == L2:
                (<int32_t *>chunk.starts)[i] = <int32_t>(-terms[i])
            else:
                (<int64_t *>chunk.starts)[i] = 0
