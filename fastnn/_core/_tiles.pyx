"""The tile engine's data: see _tiles.pxd for the picture."""

from cython.parallel cimport prange
from libc.math cimport sqrt
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from ._dispatch cimport FNN_MAX_TILE_COLS, fnn_kernels

cnp.import_array()


cdef ValueType value_type_of(cnp.ndarray array) noexcept:
    """The kernels' type for an array that has passed the border."""
    cdef int number = cnp.PyArray_TYPE(array)
    return UINT8 if number == cnp.NPY_UINT8 else FLOAT32 if number == cnp.NPY_FLOAT32 else FLOAT64


cdef Norm norm_of(str metric) noexcept:
    return L1 if metric == "l1" else CHEBYSHEV if metric == "chebyshev" else L2


cdef Expansion choose_expansion(
    const fnn_kernels *kernels, ValueType value_type, Norm norm, bint float32_tiles
) noexcept nogil:
    cdef Expansion e
    cdef bint squared = norm == L2
    e.norm = norm
    e.squared = squared
    e.integer = value_type == UINT8
    e.term_sign = 1.0 if squared else -1.0
    e.beta = 1.0 if e.integer or norm == CHEBYSHEV else 2.0
    e.query_factor = 2.0 if e.integer and squared else 1.0
    e.value_bytes = 1 if value_type == UINT8 else 4 if value_type == FLOAT32 else 8
    family = kernels.square_differences if squared else kernels.absolute_differences
    if norm == CHEBYSHEV:
        family = kernels.largest_difference
    if value_type == UINT8:
        e.tile = kernels.dot_u8 if squared else kernels.sad_u8
        e.pack = kernels.pack_u8_as_s16 if squared else kernels.pack_u8_as_u8
        e.terms = NULL
        e.magnitudes = NULL
        e.exact_distances = family.u8
        return e
    e.exact_distances = family.f32 if value_type == FLOAT32 else family.f64
    if float32_tiles:
        e.tile = (
            kernels.dot_f32 if squared else kernels.max_f32 if norm == L1 else kernels.largest_f32
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


# Beyond, squares of typical values leave float64's range, and differences are taken as they are.
MAX_SCALE = 2.0 ** 440


def packing_frame(Y):
    """Return (center, scale) for packing floats: near the mean, and a power of two.

    Any values give the right neighbors; these give small error bounds. They come from a sample of
    Y's rows, so that no pass over Y is spent on them. None when no tile can serve.
    """
    sample = Y[:: max(1, Y.shape[0] // 64)].astype(np.float64)
    with np.errstate(all="ignore"):
        center = sample.mean(axis=0)
        spread = np.abs(sample - center).max()
    if not np.isfinite(spread):
        return None
    scale = 2.0 ** -float(np.frexp(spread)[1]) if spread > 0 else 1.0
    if not 1.0 / MAX_SCALE < scale < MAX_SCALE:
        return None
    # A short center keeps short values short: whole numbers give exact products. That it is a
    # float32 lets float32 rows be shifted in float32, rounding once.
    with np.errstate(over="ignore"):
        center = (np.rint(center * (32.0 * scale)) / (32.0 * scale)).astype(np.float32)
    return np.where(np.isfinite(center), center, 0.0).astype(np.float64), scale


cdef cnp.ndarray aligned_bytes(Py_ssize_t n_bytes):
    # The kernels load whole vectors; 64 bytes is a cache line and the widest vector.
    raw = np.empty(n_bytes + 64, dtype=np.uint8)
    offset = -raw.ctypes.data % 64
    return raw[offset:offset + n_bytes]


cdef Panels new_panels(
    Expansion expansion,
    bint queries,
    Py_ssize_t capacity,
    Py_ssize_t n_features,
    object center,
    double scale,
):
    cdef Panels panels = Panels.__new__(Panels)
    panels.expansion = expansion
    panels.width = expansion.tile.rows if queries else expansion.tile.cols
    panels.n_features = n_features
    panels.depth = (n_features + expansion.tile.step - 1) // expansion.tile.step
    panels.panel_bytes = panels.width * panels.depth * expansion.tile.word_bytes
    panels.scale = scale * (expansion.query_factor if queries else 1.0)
    panels.n_rows = panels.n_panels = 0

    max_panels = (capacity + panels.width - 1) // panels.width
    data = aligned_bytes(max(max_panels * panels.panel_bytes, 1))
    cdef Py_ssize_t padded = max(max_panels * panels.width, 1)
    sums = np.zeros(2 * padded)
    if expansion.integer:
        center = np.full(n_features, 128.0 if expansion.squared else 0.0)
    center_row = center.astype(np.uint8) if expansion.integer else None
    panels.keep_alive = (data, sums, center, center_row)
    panels.data = <char *>cnp.PyArray_DATA(data)
    panels.terms = <double *>cnp.PyArray_DATA(sums)
    panels.magnitudes = panels.terms + padded
    panels.center = <const double *>cnp.PyArray_DATA(center)
    if expansion.integer:
        panels.center_row = cnp.PyArray_DATA(center_row)
    return panels


cdef class Panels:
    cdef void pack(
        self, const char *rows, Py_ssize_t stride, Py_ssize_t n_rows, int n_threads
    ) noexcept nogil:
        """Pack `n_rows` rows, `stride` values apart, replacing what was packed before."""
        cdef Py_ssize_t panel
        cdef Py_ssize_t row_bytes = stride * self.expansion.value_bytes
        self.n_rows = n_rows
        self.n_panels = (n_rows + self.width - 1) // self.width
        for panel in prange(
            self.n_panels,
            num_threads=max(1, min(n_threads, self.n_panels)),
            schedule="static",
            use_threads_if=n_threads > 1,
        ):
            self.pack_panel(
                panel,
                rows + panel * self.width * row_bytes,
                stride,
                min(self.width, n_rows - panel * self.width),
            )

    cdef void pack_panel(
        self, Py_ssize_t panel, const char *rows, Py_ssize_t stride, Py_ssize_t n_rows
    ) noexcept nogil:
        cdef char *target = self.data + panel * self.panel_bytes
        cdef double *terms = self.terms + panel * self.width
        cdef double *magnitudes = self.magnitudes + panel * self.width
        cdef Py_ssize_t r
        cdef const void *each[FNN_MAX_TILE_COLS]
        for r in range(n_rows):
            each[r] = rows + r * stride * self.expansion.value_bytes
        self.expansion.pack(
            each, 0, n_rows, self.width, self.n_features, self.center, self.scale, target
        )
        if self.expansion.integer:
            # Exact, so there is no error to bound and no need for magnitudes.
            memset(terms, 0, self.width * sizeof(double))
            if self.expansion.squared:
                self.expansion.exact_distances(
                    self.center_row, rows, stride, NULL, n_rows, self.n_features, terms
                )
            return
        self.expansion.terms(target, self.width, self.depth, terms)
        if self.expansion.norm != L1:
            for r in range(self.width):
                magnitudes[r] = sqrt(terms[r])
            if self.expansion.norm == CHEBYSHEV:
                memset(terms, 0, self.width * sizeof(double))
        else:
            self.expansion.magnitudes(target, self.width, self.depth, magnitudes)
            for r in range(self.width):
                terms[r] = -terms[r]
