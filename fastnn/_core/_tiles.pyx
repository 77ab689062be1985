"""The tile engine's data: see _tiles.pxd for the picture."""

from libc.math cimport sqrt
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from ._dispatch cimport FNN_MAX_TILE_COLS, fnn_kernels
from ._jobs cimport run_job, threads_for
from ._rows cimport (
    CHEBYSHEV,
    FLOAT32,
    L1,
    L2,
    PRODUCT,
    UINT8,
    aligned_bytes,
    row_distances_of,
    rows_of,
)
from ._tuning cimport PACKING_STRIP, nanoseconds_to_pack

cnp.import_array()


cdef Expansion choose_expansion(
    const fnn_kernels *kernels, ValueType value_type, Norm norm, bint float32_tiles
) noexcept nogil:
    cdef Expansion e
    cdef bint squared = norm == L2, multiplied = squared or norm == PRODUCT
    e.norm = norm
    e.squared = squared
    e.integer = value_type == UINT8
    e.quads, e.offset, e.query_offset = False, 128, 128
    e.beta = 1.0 if e.integer or norm in (CHEBYSHEV, PRODUCT) else 2.0
    e.query_factor = 2.0 if e.integer and squared else 1.0
    e.value_bytes = 1 if value_type == UINT8 else 4 if value_type == FLOAT32 else 8
    e.row_distances = row_distances_of(kernels, value_type, norm)
    if value_type == UINT8:
        e.tile = kernels.dot_u8 if squared else kernels.sad_u8
        e.pack = kernels.pack_u8_as_s16 if squared else kernels.pack_u8_as_u8
        e.terms = NULL
        e.magnitudes = NULL
        return e
    if float32_tiles:
        e.tile = (
            kernels.dot_f32 if multiplied
            else kernels.max_f32 if norm == L1 else kernels.chebyshev_f32
        )
        e.pack = kernels.pack_f32_as_f32 if value_type == FLOAT32 else kernels.pack_f64_as_f32
        e.terms = kernels.values_f32 if norm == L1 else kernels.squares_f32
        e.magnitudes = kernels.magnitudes_f32
    else:
        e.tile = kernels.dot_f64 if squared else kernels.max_f64
        e.pack = kernels.pack_f32_as_f64 if value_type == FLOAT32 else kernels.pack_f64_as_f64
        e.terms = kernels.squares_f64 if squared else kernels.values_f64
        e.magnitudes = kernels.magnitudes_f64
    return e


cdef Expansion choose_scan(
    const fnn_kernels *kernels, ValueType value_type, Norm norm, bint narrow
) noexcept nogil:
    cdef Expansion e = choose_expansion(kernels, value_type, norm, True)
    cdef bint has_quads = kernels.quad_u8.rows > 0
    if e.integer and e.squared and (has_quads or (narrow and kernels.narrow_u8.rows > 0)):
        e.quads, e.row_sums = True, kernels.absolute_differences.u8
        e.tile, e.pack, e.query_factor = kernels.quad_u8, kernels.pack_u8_as_quads, 1.0
        e.query_offset = e.offset if kernels.quads_are_signed else 0
        if not has_quads:
            e.tile, e.offset = kernels.narrow_u8, 64
    return e


# Beyond, squares of typical values leave float64's range, and differences are taken as they are.
MAX_SCALE = 2.0 ** 440
# Squares of differences meet their weights, of 2^100 at most (see Rows), when they are rounded
# already: those below 2^-1022 are below 2^-922 with their weight, beside distances of 2^-600.
MAX_WEIGHTED_SCALE = 2.0 ** 300


def packing_frame(Y, bint centered=True):
    """Return (center, scale) for packing floats: near the mean or 0, and a power of two.

    Any values give the right neighbors; these give small error bounds. They come from a sample of
    Y's rows, so that no pass over Y is spent on them. None when no tile can serve.

    Parameters
    ----------
    Y : ndarray or Rows of shape (n, d)
    """
    cdef Rows rows = rows_of(Y)
    chosen = slice(None, None, max(1, rows.n_rows // 64))
    sample = rows.values_to_compare(chosen).astype(np.float64)
    with np.errstate(all="ignore"):
        center = sample.mean(axis=0) if centered else np.zeros(rows.n_features)
        spread = np.abs(rows.weigh(sample - center)).max()
    if not np.isfinite(spread):
        return None
    scale = 2.0 ** -float(np.frexp(spread)[1]) if spread > 0 else 1.0
    most = MAX_WEIGHTED_SCALE if rows.weighted else MAX_SCALE
    if not 1.0 / most < scale < most or (rows.weighted and not rows.has_mild_weights()):
        return None
    # A short center keeps short values short: whole numbers give exact products. That it is a
    # float32 lets float32 rows be shifted in float32, rounding once.
    with np.errstate(all="ignore"):
        unit = rows.weigh(np.full(rows.n_features, 32.0 * scale))
        center = (np.rint(center * unit) / unit).astype(np.float32)
    return np.where(np.isfinite(center), center, 0.0).astype(np.float64), scale


cdef Panels new_panels(
    Expansion expansion,
    bint queries,
    Py_ssize_t capacity,
    Py_ssize_t n_features,
    object center,
    double scale,
):
    cdef Panels panels = Panels.__new__(Panels)
    panels.lay_out(expansion, queries, capacity, n_features, center, scale)
    return panels


cdef struct Packing:
    void *panels
    void *rows
    Py_ssize_t first


cdef void pack_task(void *context, Py_ssize_t panel, int thread) noexcept nogil:
    cdef const Packing *packing = <const Packing *>context
    (<Panels>packing.panels).pack_held(panel, <Rows>packing.rows, packing.first)


cdef class Panels:
    cdef lay_out(
        self,
        Expansion expansion,
        bint queries,
        Py_ssize_t capacity,
        Py_ssize_t n_features,
        object center,
        double scale,
    ):
        """Take the memory for so many rows of one side."""
        self.expansion = expansion
        self.width = expansion.tile.rows if queries else expansion.tile.cols
        self.n_features = n_features
        self.depth = (n_features + expansion.tile.step - 1) // expansion.tile.step
        self.panel_bytes = self.width * self.depth * expansion.tile.word_bytes
        if queries:
            self.panel_bytes += 64  # a vector, where panels are narrower
        self.scale = scale * (expansion.query_factor if queries else 1.0)
        self.n_rows = self.n_panels = 0

        max_panels = (capacity + self.width - 1) // self.width
        data = aligned_bytes(max_panels * self.panel_bytes)
        self.capacity = max(max_panels * self.width, 1)
        sums, rows = np.zeros(2 * self.capacity), None
        if expansion.integer:
            center = np.full(n_features, float(expansion.offset) if expansion.squared else 0.0)
            rows = np.stack([center, np.zeros(n_features)]).astype(np.uint8)
            if expansion.quads and queries:
                center = np.full(n_features, float(expansion.query_offset))
        self.keep_alive = (data, sums, center, rows)
        self.data = <char *>cnp.PyArray_DATA(data)
        self.terms = <double *>cnp.PyArray_DATA(sums)
        self.magnitudes = self.terms + self.capacity
        self.center = <const double *>cnp.PyArray_DATA(center)
        if expansion.integer:
            self.center_row = cnp.PyArray_DATA(rows)
            self.zero_row = <const char *>self.center_row + n_features

    cdef int pack(self, Rows rows, Py_ssize_t first, Py_ssize_t n_rows, int n_threads) except -1:
        """Pack `n_rows` rows from `first` on, replacing what was packed before."""
        cdef Packing packing = Packing(<void *>self, <void *>rows, first)
        self.hold(n_rows)
        n_threads = threads_for(
            n_threads, self.n_panels, nanoseconds_to_pack(<double>n_rows * self.n_features)
        )
        return run_job(pack_task, &packing, self.n_panels, n_threads)

    cdef void hold(self, Py_ssize_t n_rows) noexcept nogil:
        """Be as many panels as so many rows take."""
        self.n_rows = n_rows
        self.n_panels = (n_rows + self.width - 1) // self.width

    cdef void pack_held(self, Py_ssize_t panel, Rows rows, Py_ssize_t first) noexcept nogil:
        """Pack one of the panels that are held, of rows from `first` on."""
        cdef Py_ssize_t start = panel * self.width
        self.pack_panel(panel, rows, first + start, min(self.width, self.n_rows - start), NULL)

    cdef void pack_panel(
        self, Py_ssize_t panel, Rows rows, Py_ssize_t first, Py_ssize_t n_rows,
        const int64_t *index,
    ) noexcept nogil:
        """Pack rows first + index[r], or first + r, as one of the panels."""
        cdef char *target = self.data + panel * self.panel_bytes
        cdef double *terms = self.terms + panel * self.width
        cdef double *magnitudes = self.magnitudes + panel * self.width
        cdef const char *data = rows.data + first * rows.row_bytes
        cdef Py_ssize_t r
        cdef const void *each[FNN_MAX_TILE_COLS]
        if rows.transformed:
            self.pack_transformed(rows, first, n_rows, index, target)
        else:
            for r in range(n_rows):
                each[r] = data + (r if index == NULL else index[r]) * rows.row_bytes
            self.expansion.pack(
                each, 0, n_rows, self.width, self.n_features, self.center, self.scale, target
            )
        if self.expansion.integer:
            # Exact, so there is no error to bound and no need for magnitudes as such.
            memset(terms, 0, self.width * sizeof(double))
            if self.expansion.squared:
                self.expansion.row_distances(
                    self.center_row, data, self.n_features, index, n_rows, self.n_features, terms
                )
            if self.expansion.quads:
                self.expansion.row_sums(
                    self.zero_row, data, self.n_features, index, n_rows, self.n_features, magnitudes
                )
            return
        self.expansion.terms(target, self.width, self.depth, terms)
        if self.expansion.norm != L1:
            for r in range(self.width):
                magnitudes[r] = sqrt(terms[r])
            if self.expansion.norm != L2:
                memset(terms, 0, self.width * sizeof(double))
        else:
            self.expansion.magnitudes(target, self.width, self.depth, magnitudes)
            for r in range(self.width):
                terms[r] = -terms[r]

    cdef void clear_row(self, Py_ssize_t row) noexcept nogil:
        """Make a row of floats zero."""
        cdef Py_ssize_t bytes = self.expansion.tile.word_bytes, k
        cdef char *place = self.data + row // self.width * self.panel_bytes
        place += row % self.width * bytes
        for k in range(self.depth):
            memset(place + k * self.width * bytes, 0, bytes)

    cdef void pack_transformed(
        self, Rows rows, Py_ssize_t first, Py_ssize_t n_rows, const int64_t *index, char *target
    ) noexcept nogil:
        """Pack a panel strip by strip, transformed on the way; a step is a feature."""
        cdef double strips[FNN_MAX_TILE_COLS * PACKING_STRIP]
        cdef double no_center[PACKING_STRIP]
        cdef const void *each[FNN_MAX_TILE_COLS]
        cdef Py_ssize_t r, start = 0, k, n
        cdef double *strip
        cdef const double *center = no_center
        memset(no_center, 0, sizeof(no_center))
        for r in range(n_rows):
            each[r] = strips + r * PACKING_STRIP
        while start < self.n_features:
            n = min(<Py_ssize_t>PACKING_STRIP, self.n_features - start)
            for r in range(n_rows):
                strip = strips + r * PACKING_STRIP
                rows.fetch(first + (r if index == NULL else index[r]), start, n, strip)
                if rows.factors != NULL:
                    # Center first: what the factor rounds is then small, too.
                    for k in range(n):
                        strip[k] = (strip[k] - self.center[start + k]) * rows.factors[start + k]
            if rows.factors == NULL:
                center = self.center + start
            self.expansion.pack(
                each, 0, n_rows, self.width, n, center, self.scale,
                target + start * self.width * self.expansion.tile.word_bytes,
            )
            start += n
