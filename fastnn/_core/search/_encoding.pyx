"""Codes of rows: a few bytes each, whose distances are lower bounds: see `_search/bounded.py`.

    panel of rows: (x - center) * scale as float32 --> numbers --> codes of one or more stages
                                                        |
                     products with directions, and the norm of the rest, for L2
                     sums of groups of features, for L1

A thread packs a panel of rows and makes its numbers from it. Products go strip by strip of the
features, so that both sides of a tile stay in the caches; they are float32 within a strip and
float64 from strip to strip.
"""

from libc.math cimport fabs, sqrt
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from .._dispatch cimport (
    FNN_MAX_TILE_COLS,
    FNN_MAX_TILE_ROWS,
    FNN_SUM_DEPTH,
    FNN_SUMS_PER_TOTAL,
    active_kernels,
    fnn_kernels,
)
from .._jobs cimport IEEEScope, ieee_scope, run_job, threads_for
from .._rows cimport FLOAT32, FLOAT64, L1, L2, UINT8, Norm, Rows, rows_of
from .._tiles cimport Expansion, Panels, choose_expansion, new_panels
from .._tuning cimport ENCODER_STRIP, nanoseconds_to_compare, nanoseconds_to_pack

cnp.import_array()


# Float32 additions that a term meets on its way through a product: see FNN_SUM_DEPTH.
TERMS_PER_PRODUCT = 2 * FNN_SUM_DEPTH + FNN_SUMS_PER_TOTAL


cdef class Encoding:
    """Rows that are being encoded; what the threads share."""

    cdef void *encoder
    cdef Rows rows
    # One for each thread, and its numbers: [numbers][rows of a panel].
    cdef Panels panels
    cdef double *numbers
    # |p|² or |p|_1
    cdef double *sizes
    # [stages][rows]: what rounding took away (its norm, or sum of magnitudes), and, where there are
    # directions, the square of what they hold.
    cdef double *errors
    cdef double *held
    cdef char **codes


cdef class Encoder:
    """What turns rows into codes, by stages. Immutable.

    Parameters
    ----------
    center : ndarray of shape (d,), float64
        Its values are float32s.
    scale : float, a power of two
        Of rows; p stands for one as it is packed, (x - center) * scale rounded to float32.
    units : ndarray of shape (n_stages,), float64
        A code stands for unit * (code - middle), but for what a kind says. Numbers beyond what
        codes hold, 0 to 2 middle - 1, are cut off.
    """

    # Those that were active when the encoder was made: they belong to the panels' shapes.
    cdef const fnn_kernels *kernels
    cdef object center
    cdef double scale, middle
    cdef const double[::1] units
    cdef Norm norm
    cdef Py_ssize_t n_stages
    # Numbers of a row, all in all, and codes of each stage.
    cdef Py_ssize_t n_numbers, work_per_row
    cdef object n_codes, types
    # Of the constructor, for pickles.
    cdef object arguments

    def __init__(self, center, double scale, units, double middle=128.0):
        self.kernels, self.middle = active_kernels(), middle
        self.center, self.scale, self.units = center, scale, units
        self.n_stages = len(units)
        self.types = [np.uint8] * self.n_stages

    def __reduce__(self):
        return type(self), self.arguments

    cdef void find_numbers(self, Panels panels, double *numbers, int thread) noexcept nogil:
        """Find the numbers of the panel of a thread."""

    cdef void write(
        self, Encoding job, Py_ssize_t row, Py_ssize_t stage, const double *numbers
    ) noexcept nogil:
        """Write the codes of a stage, from numbers that are a panel's width apart."""

    cdef void encode_panel(self, Encoding job, Py_ssize_t panel, int thread) noexcept nogil:
        cdef Py_ssize_t width = job.panels.width, first = panel * width, c, stage
        cdef Py_ssize_t n = min(width, job.rows.n_rows - first)
        cdef double *numbers = job.numbers + thread * self.n_numbers * width
        job.panels.pack_panel(thread, job.rows, first, n, NULL)
        self.find_numbers(job.panels, numbers, thread)
        for c in range(n):
            job.sizes[first + c] = job.panels.terms[thread * width + c]
            for stage in range(self.n_stages):
                self.write(job, first + c, stage, numbers + c)

    def encode(self, X, int n_threads):
        """Return codes of rows, and what is known about them.

        Parameters
        ----------
        X : Rows, or ndarray of shape (n, d), float32, float64 or uint8
            Arrays: C-contiguous.
        n_threads : int

        Returns
        -------
        codes : list of ndarray of shape (n, n_codes), uint8 or float32
            Of each stage.
        sizes : ndarray of shape (n,), float64
            |p|² for L2, |p|_1 for L1, with a relative error of (d + 8) 2^-53.
        errors, held : ndarray of shape (n_stages, n), float64
            What rounding to codes took away, in the metric; the squared norm of the products.
        """
        cdef Rows rows = rows_of(X)
        cdef Encoding job = Encoding.__new__(Encoding)
        cdef Py_ssize_t n = rows.n_rows, n_panels
        cdef IEEEScope _ieee = ieee_scope()
        cdef Expansion expansion = choose_expansion(
            self.kernels, FLOAT64 if rows.value_type == FLOAT64 else FLOAT32, L2, True
        )
        if rows.value_type == UINT8:
            expansion.pack = self.kernels.pack_u8_as_f32
        if self.norm == L1:
            expansion.terms = self.kernels.magnitudes_f32
        n_panels = (n + expansion.tile.cols - 1) // expansion.tile.cols
        n_threads = threads_for(
            n_threads, n_panels,
            nanoseconds_to_compare(<double>n * self.work_per_row)
            + nanoseconds_to_pack(<double>n * rows.n_features),
        )
        job.encoder, job.rows = <void *>self, rows
        job.panels = new_panels(
            expansion, False, n_threads * expansion.tile.cols, rows.n_features, self.center,
            self.scale,
        )
        numbers = np.empty(n_threads * self.n_numbers * expansion.tile.cols)
        sizes, errors = np.empty(n), np.empty((self.n_stages, n))
        held = np.zeros((self.n_stages, n))
        codes = [np.empty((n, m), of) for m, of in zip(self.n_codes, self.types)]
        addresses = np.array([of_stage.ctypes.data for of_stage in codes], np.uintp)
        job.numbers = <double *>cnp.PyArray_DATA(numbers)
        job.sizes = <double *>cnp.PyArray_DATA(sizes)
        job.errors = <double *>cnp.PyArray_DATA(errors)
        job.held = <double *>cnp.PyArray_DATA(held)
        job.codes = <char **>cnp.PyArray_DATA(addresses)
        run_job(encode_task, <void *>job, n_panels, n_threads)
        return codes, sizes, errors, held


cdef void encode_task(void *job, Py_ssize_t panel, int thread) noexcept nogil:
    (<Encoder>(<Encoding>job).encoder).encode_panel(<Encoding>job, panel, thread)


cdef inline uint8_t encode(double value, double middle, double *rounded) noexcept nogil:
    """Cut off and round a number of units; tell what rounding takes away."""
    cdef double shifted = value + middle, most = 2.0 * middle - 1.0
    cdef uint8_t code
    shifted = shifted if shifted > 0.0 else 0.0  # NaN, too
    shifted = shifted if shifted < most else most
    code = <uint8_t>(shifted + 0.5)
    rounded[0] = shifted - code
    return code


cdef class ProjectionEncoder(Encoder):
    """Numbers are products with the first directions, and the norm of the rest of a row.

    The second stage has them as they are, in float32.

    Parameters
    ----------
    center, scale, units, middle
        As for `Encoder`.
    directions : ndarray of shape (m, d), float32
    widths : ndarray of shape (n_stages,), intp
        How many directions each stage has, at most m. Their numbers are followed by the root of
        |p|² - |products|².
    rest_center : float
        What the first stage takes from that.
    """

    cdef Panels directions
    cdef const Py_ssize_t[::1] widths
    cdef double rest_center

    def __init__(
        self, center, double scale, units, directions, widths, double rest_center, double middle
    ):
        Encoder.__init__(self, center, scale, units, middle)
        self.arguments = center, scale, units, directions, widths, rest_center, middle
        cdef Py_ssize_t m = directions.shape[0], d = directions.shape[1]
        self.norm, self.widths, self.rest_center = L2, widths, rest_center
        self.directions = new_panels(
            choose_expansion(self.kernels, FLOAT32, L2, True), True, m, d, np.zeros(d), 1.0
        )
        self.directions.pack(Rows(directions), 0, m, 1)
        self.n_numbers, self.work_per_row = self.directions.n_panels * self.directions.width, m * d
        self.n_codes = [width + 1 for width in widths]
        self.types = [np.uint8, np.float32][:self.n_stages]

    cdef void find_numbers(self, Panels panels, double *numbers, int thread) noexcept nogil:
        cdef double tile[FNN_MAX_TILE_ROWS * FNN_MAX_TILE_COLS]
        cdef Py_ssize_t rows = self.directions.width, cols = panels.width, start = 0, panel, i
        cdef const char *samples = panels.data + thread * panels.panel_bytes
        cdef const char *directions
        cdef double *sums
        memset(numbers, 0, self.n_numbers * cols * sizeof(double))
        while start < panels.depth:
            for panel in range(self.directions.n_panels):
                directions = self.directions.data + panel * self.directions.panel_bytes
                self.directions.expansion.tile.product(
                    min(<Py_ssize_t>ENCODER_STRIP, panels.depth - start),
                    directions + start * rows * sizeof(float),
                    samples + start * cols * sizeof(float), tile,
                )
                sums = numbers + panel * rows * cols
                for i in range(rows * cols):
                    sums[i] += tile[i]
            start += ENCODER_STRIP

    cdef void write(
        self, Encoding job, Py_ssize_t row, Py_ssize_t stage, const double *numbers
    ) noexcept nogil:
        cdef Py_ssize_t width = self.widths[stage], apart = job.panels.width, i
        cdef Py_ssize_t at = stage * job.rows.n_rows + row
        cdef double units = 1.0 / self.units[stage], held = 0.0, error = 0.0, rest, rounded
        cdef uint8_t *coded = <uint8_t *>job.codes[stage] + row * (width + 1)
        cdef float *floats = <float *>job.codes[stage] + row * (width + 1)
        for i in range(width):
            held += numbers[i * apart] * numbers[i * apart]
        job.held[at] = held
        rest = sqrt(max(job.sizes[row] - held, 0.0))
        if stage > 0:
            for i in range(width):
                floats[i] = <float>numbers[i * apart]
            floats[width] = <float>rest
            job.errors[at] = 2.0 ** -24 * sqrt(held + rest * rest)
            return
        for i in range(width):
            coded[i] = encode(numbers[i * apart] * units, self.middle, &rounded)
            error += rounded * rounded
        coded[width] = encode((rest - self.rest_center) * units, self.middle, &rounded)
        job.errors[at] = sqrt(error + rounded * rounded) * self.units[stage]


cdef class GroupEncoder(Encoder):
    """Numbers are sums of groups of features.

    Parameters
    ----------
    center, scale, units
        As for `Encoder`.
    order : ndarray of shape (d,), int64
        Features, so that those of a group are side by side.
    starts : list of ndarray of shape (n_groups + 1,), int64
        Of each stage: where its groups start in that order, and where the last one ends. A stage's
        groups are parts of those of the stage before.
    """

    cdef const int64_t[::1] order
    # Where the last stage's groups start; where each earlier group's parts start among the numbers.
    cdef const int64_t[::1] starts
    cdef const int64_t[::1] parts
    cdef const Py_ssize_t[::1] first_numbers

    def __init__(self, center, double scale, units, order, starts):
        Encoder.__init__(self, center, scale, units)
        self.arguments = center, scale, units, order, starts
        self.norm, self.order, self.starts = L1, order, starts[len(starts) - 1]
        self.n_codes = [len(of_stage) - 1 for of_stage in starts]
        self.first_numbers = np.cumsum([0, *self.n_codes]).astype(np.intp)
        self.n_numbers, self.work_per_row = sum(self.n_codes), 8 * len(order)
        self.parts = np.concatenate([
            np.searchsorted(fine, coarse[:len(coarse) - 1]) + self.first_numbers[i + 1]
            for i, (coarse, fine) in enumerate(zip(starts, starts[1:]))
        ] + [[self.n_numbers]])

    cdef void find_numbers(self, Panels panels, double *numbers, int thread) noexcept nogil:
        cdef Py_ssize_t cols = panels.width, group, i, c
        cdef Py_ssize_t n_fine = self.starts.shape[0] - 1, first = self.n_numbers - n_fine
        cdef const float *panel = <const float *>(
            panels.data + thread * panels.panel_bytes
        )
        cdef float sums[FNN_MAX_TILE_COLS]
        for group in range(n_fine):
            memset(sums, 0, sizeof(sums))
            for i in range(self.starts[group], self.starts[group + 1]):
                add(panel + self.order[i] * cols, cols, sums)
            for c in range(cols):
                numbers[(first + group) * cols + c] = sums[c]
        group = first - 1
        while group >= 0:
            memset(numbers + group * cols, 0, cols * sizeof(double))
            for i in range(self.parts[group], self.parts[group + 1]):
                for c in range(cols):
                    numbers[group * cols + c] += numbers[i * cols + c]
            group -= 1

    cdef void write(
        self, Encoding job, Py_ssize_t row, Py_ssize_t stage, const double *numbers
    ) noexcept nogil:
        cdef Py_ssize_t first = self.first_numbers[stage], apart = job.panels.width, i
        cdef Py_ssize_t n = self.first_numbers[stage + 1] - first
        cdef double units = 1.0 / self.units[stage], error = 0.0, rounded
        cdef uint8_t *coded = <uint8_t *>job.codes[stage] + row * n
        for i in range(n):
            coded[i] = encode(numbers[(first + i) * apart] * units, self.middle, &rounded)
            error += fabs(rounded)
        job.errors[stage * job.rows.n_rows + row] = error * self.units[stage]


cdef inline void add(const float *values, Py_ssize_t n, float *sums) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        sums[i] += values[i]
