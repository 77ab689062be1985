"""Rows as a metric has them: taken as they lie, and transformed, where it wants that, on the way.

| rows     | what tiles and distances see                                                   |
|----------|--------------------------------------------------------------------------------|
| plain    | the values                                                                     |
| normalized | value * scale / norm in float64 (scale: a power of two, 1 for all but extreme  |
|          | rows; norm: the root of np.sum(squares)), and a last feature that is 1 for     |
|          | rows of zeros, 0 for others                                                    |
| weighted | tiles: (value - center) * factor; distances: the values, in terms of           |
|          | weight * |x - y| or weight * (x - y)²                                          |

No transformed copy of the samples is ever made: panels are packed from strips, and the few rows
whose distances decide are fetched again.
"""

from libc.float cimport DBL_MAX
from libc.math cimport NAN, fabs, frexp, ldexp, sqrt

import numpy as np

cimport numpy as cnp

from ._dispatch cimport FNN_DOT_STRIP, FNN_MAX_BLOCK_ROWS, FNN_MAX_TILE_COLS, active_kernels
from ._jobs cimport IEEEScope, ieee_scope, run_job, threads_for
from ._tuning cimport HELD_BYTES, MAX_HELD_ROWS, nanoseconds_to_pack

cnp.import_array()


# Sums of squares in between lost nothing to underflow or overflow.
cdef double SMALLEST_SQUARES = 2.0 ** -400
# ldexp's factors, and what they make of the largest value, stay in range.
cdef int MAX_EXPONENT = 1000
# Squared distances of normalized rows end here, before they are ordered: norms are rounded, so
# opposite rows may come out a little beyond, and which do is nothing to choose among them by.
cdef double MAX_OF_NORMALIZED = 4.0
# Sums of products of a row of floats and a normalized one neither overflow nor lose digits if the
# row's norm is within this factor of 1.
cdef double MILD_NORM = 2.0 ** 60
# Up to here squares of differences stay in range until they are weighted: see packing_frame.
cdef double MAX_WEIGHT = 2.0 ** 100


cdef ValueType value_type_of(cnp.ndarray array) noexcept:
    """The kernels' type for an array that has passed the border."""
    cdef int number = cnp.PyArray_TYPE(array)
    return UINT8 if number == cnp.NPY_UINT8 else FLOAT32 if number == cnp.NPY_FLOAT32 else FLOAT64


cdef Norm norm_of(str metric) noexcept:
    if metric == "ip":
        return PRODUCT
    return L1 if metric == "l1" else CHEBYSHEV if metric == "chebyshev" else L2


cdef cnp.ndarray aligned_bytes(Py_ssize_t n_bytes):
    # The kernels load whole vectors; 64 bytes is a cache line and the widest vector.
    raw = np.empty(n_bytes + 64, dtype=np.uint8)
    offset = -raw.ctypes.data % 64
    return raw[offset:offset + n_bytes]


cdef fnn_row_distances row_distances_of(
    const fnn_kernels *kernels, ValueType value_type, Norm norm
) noexcept nogil:
    family = (
        kernels.square_differences if norm == L2
        else kernels.absolute_differences if norm == L1
        else kernels.largest_difference if norm == CHEBYSHEV
        else kernels.negative_products
    )
    if value_type == UINT8:
        return family.u8
    return family.f32 if value_type == FLOAT32 else family.f64


cdef Rows rows_of(object rows):
    """Return Rows as they are, and arrays as plain ones."""
    return rows if isinstance(rows, Rows) else Rows(rows)


cdef class Rows:
    """Rows in the place where they were given.

    Parameters
    ----------
    values : ndarray of shape (n, d), float32, float64 or uint8
        C-contiguous.
    normalized : bool, default=False
        Rows are divided by their norms.
    weights : ndarray of shape (d,), float64, optional
        Of the features in sums of magnitudes ("l1") or squares ("l2"): finite, at least 0.
    metric : {"l1", "l2"}
        Of the weights.
    n_threads : int, default=1

    Attributes
    ----------
    values : ndarray
    n_rows, n_features : int
    normalized, weighted, transformed : bool
        Whether rows are divided by their norms; whether there are weights; whether either.
    """

    def __init__(
        self, cnp.ndarray values, normalized=False, weights=None, str metric="l2", n_threads=1
    ):
        cdef const fnn_kernels *kernels = active_kernels()
        self.values = values
        self.data = <const char *>cnp.PyArray_DATA(values)
        self.n_rows, self.n_given = values.shape[0], values.shape[1]
        self.value_type = value_type_of(values)
        self.value_bytes = cnp.PyArray_ITEMSIZE(values)
        self.row_bytes = self.n_given * self.value_bytes
        self.move = (
            kernels.move_f32 if self.value_type == FLOAT32
            else kernels.move_u8 if self.value_type == UINT8
            else kernels.move_f64
        )
        self.normalized = normalized
        self.weighted = weights is not None
        self.transformed = self.normalized or self.weighted
        self.n_features = self.n_given + self.normalized
        if normalized:
            measure(self, n_threads)
        elif self.weighted:
            factors = weights if metric == "l1" else np.sqrt(weights)
            self.keep_alive = weights, factors
            self.weights = <const double *>cnp.PyArray_DATA(weights)
            self.factors = <const double *>cnp.PyArray_DATA(factors)
        if self.transformed:
            self.value_type = FLOAT64

    def __len__(self):
        return self.n_rows

    def __reduce__(self):
        if not self.weighted:
            return Rows, (self.values, self.normalized)
        weights, factors = self.keep_alive
        return Rows, (self.values, False, weights, "l1" if factors is weights else "l2")

    # ---- rows -----------------------------------------------------------------------------

    cdef void fetch(
        self, Py_ssize_t row, Py_ssize_t first, Py_ssize_t n, double *values
    ) noexcept nogil:
        """n features of a row, from `first` on, as distances take them."""
        cdef Py_ssize_t given = min(n, self.n_given - first)
        cdef double scale = 1.0, norm = 1.0
        if self.normalized:
            scale = self.scales[row]
            norm = self.norms[row] if self.norms[row] != 0.0 else 1.0
        self.move(
            self.data + row * self.row_bytes + first * self.value_bytes, given, scale, norm, values
        )
        if given < n:
            values[given] = self.norms[row] == 0.0

    cdef bint is_finite_row(self, Py_ssize_t row) noexcept nogil:
        """Whether all values of a row, as given, are finite."""
        cdef double value, sum_of_nothing = 0.0
        cdef Py_ssize_t k
        for k in range(self.n_given):
            self.move(self.data + row * self.row_bytes + k * self.value_bytes, 1, 1.0, 1.0, &value)
            sum_of_nothing += 0.0 * value
        return sum_of_nothing == 0.0

    cdef Rows part(self, Py_ssize_t start, Py_ssize_t stop):
        """Rows start to stop, of the same values."""
        if start == 0 and stop >= self.n_rows:
            return self
        cdef Rows part = Rows.__new__(Rows)
        part.values = self.values[start:stop]
        part.data = self.data + start * self.row_bytes
        part.n_rows = part.values.shape[0]
        part.n_features, part.n_given = self.n_features, self.n_given
        part.value_bytes, part.row_bytes = self.value_bytes, self.row_bytes
        part.normalized, part.weighted = self.normalized, self.weighted
        part.transformed = self.transformed
        part.value_type = self.value_type
        part.move = self.move
        part.weights, part.factors = self.weights, self.factors
        if self.normalized:
            part.scales, part.norms = self.scales + start, self.norms + start
        part.keep_alive = self.keep_alive
        return part

    cdef Rows as_float32(self):
        """Plain rows as float32."""
        return Rows(self.values.astype(np.float32))

    def values_to_compare(self, index=slice(None)):
        """Return rows as distances take them: normalized ones transformed, others as they are."""
        return self.transformed_values(index) if self.normalized else self.values[index]

    def transformed_values(self, index=slice(None)):
        """Return rows whose plain distances are the metric's, but for rounding where weighted.

        Parameters
        ----------
        index : slice or ndarray of int64
            Which rows.

        Returns
        -------
        ndarray of shape (n, n_features)
            float64; plain rows as they are.
        """
        if not self.transformed:
            return self.values[index]
        cdef IEEEScope _ieee = ieee_scope()
        cdef Py_ssize_t i, k
        cdef int64_t[:] chosen = np.arange(self.n_rows)[index]
        cdef double[:, ::1] transformed = np.empty((chosen.shape[0], self.n_features))
        for i in range(chosen.shape[0]):
            self.fetch(chosen[i], 0, self.n_features, &transformed[i, 0])
            if self.weighted:
                for k in range(self.n_given):
                    transformed[i, k] *= self.factors[k]
        return np.asarray(transformed)

    def weigh(self, values):
        """Return differences of rows as they count: times the factors, where there are weights."""
        return values * self.keep_alive[1] if self.weighted else values

    def has_mild_weights(self):
        """Whether all weights but 0 are within MAX_WEIGHT of 1."""
        weights = self.keep_alive[0]
        weights = weights[weights > 0.0]
        return bool(((weights <= MAX_WEIGHT) & (weights >= 1.0 / MAX_WEIGHT)).all())


# ---- norms ---------------------------------------------------------------------------------------


cdef struct Measurement:
    # What tasks share.
    void *rows
    Py_ssize_t rows_per_task
    fnn_row_distances squares
    const void *zeros
    # [threads][features]
    double *scratch
    double *scales
    double *norms


cdef object measure(Rows rows, int n_threads):
    """Find each row's norm, and the scale that keeps its squares in range."""
    cdef IEEEScope _ieee = ieee_scope()
    cdef Py_ssize_t n = rows.n_rows, d = rows.n_given
    cdef Py_ssize_t step = max(1, min(<Py_ssize_t>MAX_HELD_ROWS, HELD_BYTES // rows.row_bytes))
    cdef Py_ssize_t n_tasks = (n + step - 1) // step
    cdef Measurement m
    n_threads = threads_for(n_threads, n_tasks, nanoseconds_to_pack(<double>n * d))
    scales, norms = np.ones(n), np.empty(n)
    zeros = np.zeros(d, rows.values.dtype)
    scratch = np.empty(n_threads * d)
    m.rows, m.rows_per_task = <void *>rows, step
    m.squares = row_distances_of(active_kernels(), rows.value_type, L2)
    m.zeros = cnp.PyArray_DATA(zeros)
    m.scratch = <double *>cnp.PyArray_DATA(scratch)
    m.scales = <double *>cnp.PyArray_DATA(scales)
    m.norms = <double *>cnp.PyArray_DATA(norms)
    run_job(measure_task, &m, n_tasks, n_threads)
    rows.keep_alive = scales, norms
    rows.scales, rows.norms = m.scales, m.norms


cdef void measure_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Measurement *m = <const Measurement *>context
    cdef Py_ssize_t start = task * m.rows_per_task, i
    cdef Py_ssize_t stop = min(start + m.rows_per_task, (<Rows>m.rows).n_rows)
    cdef Py_ssize_t d = (<Rows>m.rows).n_given, row_bytes = (<Rows>m.rows).row_bytes
    cdef const char *values = (<Rows>m.rows).data
    m.squares(m.zeros, values + start * row_bytes, d, NULL, stop - start, d, m.norms + start)
    for i in range(start, stop):
        if (
            (<Rows>m.rows).value_type == FLOAT64
            and not SMALLEST_SQUARES <= m.norms[i] <= DBL_MAX
        ):
            m.norms[i] = scaled_squares(
                <Rows>m.rows, i, m.squares, m.zeros, m.scratch + thread * d, &m.scales[i]
            )
        m.norms[i] = sqrt(m.norms[i])


cdef double scaled_squares(
    Rows rows,
    Py_ssize_t row,
    fnn_row_distances squares,
    const void *zeros,
    double *scratch,
    double *scale,
) noexcept nogil:
    """The squares' sum of a row of float64 that is scaled so that nothing leaves the range."""
    cdef const char *values = rows.data + row * rows.row_bytes
    cdef double largest = 0.0, sum_of_squares
    cdef Py_ssize_t d = rows.n_given, k
    cdef int exponent
    rows.move(values, d, 1.0, 1.0, scratch)
    for k in range(d):
        largest = max(largest, fabs(scratch[k]))
    if 0.0 < largest <= DBL_MAX:
        frexp(largest, &exponent)
        scale[0] = ldexp(1.0, max(-MAX_EXPONENT, min(-exponent, MAX_EXPONENT)))
    rows.move(values, d, scale[0], 1.0, scratch)
    squares(zeros, scratch, d, NULL, 1, d, &sum_of_squares)
    return sum_of_squares


# ---- exact distances -----------------------------------------------------------------------------


cdef ExactDistances new_distances(Rows X, Rows Y, Norm norm, int n_threads):
    cdef ExactDistances exact = ExactDistances.__new__(ExactDistances)
    exact.set_up(X, Y, norm, n_threads)
    return exact


cdef bint has_approx_distances(Rows rows, Norm norm) noexcept:
    return not rows.weighted and norm in (L1, L2)


cdef class ExactDistances:
    cdef object set_up(self, Rows X, Rows Y, Norm norm, int n_threads):
        cdef const fnn_kernels *kernels = active_kernels()
        cdef Py_ssize_t row_bytes = Y.n_features * (8 if Y.transformed else Y.value_bytes)
        self.X, self.Y, self.norm = X, Y, norm
        self.kernel = row_distances_of(kernels, Y.value_type, norm)
        self.sum_kernel = kernels.absolute_differences.f64
        self.find_approx_kernel(kernels)
        self.held = max(1, min(<Py_ssize_t>MAX_HELD_ROWS, HELD_BYTES // row_bytes))
        if Y.transformed:
            self.held = max(self.held, <Py_ssize_t>FNN_MAX_TILE_COLS)
            self.scratch_values = (self.held + 3) * Y.n_features
            scratch = np.zeros(n_threads * self.scratch_values)
            self.scratch = <double *>cnp.PyArray_DATA(scratch)
            self.keep_alive = scratch

    cdef void find_approx_kernel(self, const fnn_kernels *kernels) noexcept:
        """Find what tells approximate distances, and their errors.

        Of normalized rows these are 2 - 2 x . y / (|x| |y|). A product is rounded three times, with
        that of x, and each lane of a strip adds at most so many: gamma_{n + 16} of the sum of
        magnitudes, which is at most 1, in float32, and what comes after is in float64, as are the
        exact distances. Twice that, and as much again for safety, is an absolute error.

        Errors of others are relative, as all terms are nonnegative. A term is rounded at most four
        times, and each lane adds at most d of them: gamma_{d + 16}, which in float64 stands for the
        exact distances' own error, too. What is below the smallest normal number may be off by the
        smallest number, each time. Those of bytes are exact.
        """
        cdef double u = 2.0 ** -24, n = self.Y.n_features + 16
        if not has_approx_distances(self.Y, self.norm):
            return
        self.approximates = True
        if self.Y.normalized:
            linear = &kernels.linear_f32
            if self.Y.value_bytes == 1:
                linear = &kernels.linear_u8
            elif self.Y.value_bytes == 8:
                linear, u = &kernels.linear_f64, 2.0 ** -53
            self.dot_kernel = linear.dot_rows
            n = min(n, <double>FNN_DOT_STRIP) + 16
            self.approx_error = 1.0
            self.approx_underflow = 4.0 * n * u / (1.0 - n * u) + 2.0 ** -40
            return
        family = kernels.approx_squares if self.norm == L2 else kernels.approx_absolutes
        self.approx_kernel = family.f32
        self.approx_underflow = (self.Y.n_features + 8) * 2.0 ** -148
        if self.Y.value_type == UINT8:
            u, self.approx_kernel, self.approx_underflow = 0.0, family.u8, 0.0
        elif self.Y.value_type == FLOAT64:
            u, n = 2.0 ** -53, 2.0 * n
            self.approx_kernel = family.f64
            self.approx_underflow = (self.Y.n_features + 8) * 2.0 ** -1070
        self.approx_error = 1.0 + 2.0 * n * u / (1.0 - n * u)

    cdef void approximate(
        self,
        Py_ssize_t query,
        Py_ssize_t n_queries,
        Py_ssize_t first,
        const int64_t *index,
        Py_ssize_t n,
        int thread,
        double *distances,
    ) noexcept nogil:
        """distances[q * n + i]: from row query + q of X to row first + index[i] of Y, about.

        NaN where nothing is known. There are at most `held` rows of Y.
        """
        cdef Py_ssize_t d = self.Y.n_features, i
        if not self.Y.normalized:
            self.approx_kernel(
                self.X.data + query * self.X.row_bytes, d, n_queries,
                self.Y.data + first * self.Y.row_bytes, d, index, n, d, distances,
            )
            return
        for i in range(n_queries):
            self.approximate_normalized(query + i, first, index, n, thread, distances + i * n)

    cdef void approximate_normalized(
        self,
        Py_ssize_t query,
        Py_ssize_t first,
        const int64_t *index,
        Py_ssize_t n,
        int thread,
        double *distances,
    ) noexcept nogil:
        cdef const void *rows[FNN_MAX_BLOCK_ROWS]
        cdef Py_ssize_t done = 0, m, i, row, d = self.Y.n_given
        cdef double norm
        cdef double *x = self.scratch + thread * self.scratch_values
        cdef void *weights = x
        self.X.fetch(query, 0, d, x)
        if self.Y.value_bytes < 8:
            weights = x + self.Y.n_features
            for i in range(d):
                (<float *>weights)[i] = <float>x[i]
        while done < n:
            m = min(n - done, <Py_ssize_t>FNN_MAX_BLOCK_ROWS)
            for i in range(m):
                row = first + (done + i if index == NULL else index[done + i])
                rows[i] = self.Y.data + row * self.Y.row_bytes
            self.dot_kernel(rows, m, weights, 1, d, distances + done)
            for i in range(done, done + m):
                row = first + (i if index == NULL else index[i])
                norm = self.Y.norms[row]
                if (
                    self.Y.scales[row] == 1.0 and 1.0 / MILD_NORM <= norm <= MILD_NORM
                    and self.X.norms[query] != 0.0
                ):
                    distances[i] = 2.0 - 2.0 * distances[i] / norm
                else:
                    distances[i] = NAN
            done += m

    cdef void fetch(
        self, Py_ssize_t first, const int64_t *index, Py_ssize_t n, int thread
    ) noexcept nogil:
        """Have up to `held` rows of Y at hand: the index's, counted from `first`."""
        cdef Py_ssize_t d = self.Y.n_features, i
        if not self.Y.transformed:
            return
        cdef double *fetched = self.scratch + thread * self.scratch_values + 3 * d
        for i in range(n):
            self.Y.fetch(first + (index[i] if index != NULL else i), 0, d, fetched + i * d)

    cdef void to_fetched(
        self,
        Py_ssize_t query,
        Py_ssize_t first,
        const int64_t *index,
        Py_ssize_t n,
        int thread,
        double *distances,
    ) noexcept nogil:
        """Distances to the rows that were fetched last, with the same arguments."""
        if self.Y.transformed:
            index = NULL
        self.to_some_fetched(query, first, index, n, thread, distances)

    cdef void to_some_fetched(
        self,
        Py_ssize_t query,
        Py_ssize_t first,
        const int64_t *chosen,
        Py_ssize_t n,
        int thread,
        double *distances,
    ) noexcept nogil:
        """Distances to those `chosen` of the rows fetched last, which are in a row from `first`."""
        cdef Py_ssize_t d = self.Y.n_features, i, k
        cdef const double *row
        cdef double difference
        if not self.Y.transformed:
            self.kernel(
                self.X.data + query * self.X.row_bytes, self.Y.data + first * self.Y.row_bytes,
                d, chosen, n, d, distances,
            )
            return
        cdef double *x = self.scratch + thread * self.scratch_values
        cdef double *terms = x + d
        cdef const double *zeros = terms + d
        cdef const double *y = zeros + d
        self.X.fetch(query, 0, d, x)
        if self.Y.weights == NULL:
            self.kernel(x, y, d, chosen, n, d, distances)
            for i in range(n):
                distances[i] = min(distances[i], MAX_OF_NORMALIZED)
            return
        for i in range(n):
            row = y + (i if chosen == NULL else chosen[i]) * d
            for k in range(d):
                difference = x[k] - row[k]
                if self.Y.weights[k] == 0.0:
                    # What has no weight does not count, unless it is not finite.
                    difference = 0.0 * x[k] + 0.0 * row[k]
                terms[k] = self.Y.weights[k] * (
                    difference * difference if self.norm == L2 else fabs(difference)
                )
            self.sum_kernel(zeros, terms, d, NULL, 1, d, &distances[i])

    cdef void evaluate(
        self,
        Py_ssize_t query,
        Py_ssize_t first,
        const int64_t *index,
        Py_ssize_t n,
        int thread,
        double *distances,
    ) noexcept nogil:
        """distances[i]: from row `query` of X to row first + index[i] (or first + i) of Y."""
        cdef Py_ssize_t done = 0, m
        if not self.Y.transformed:
            self.to_fetched(query, first, index, n, thread, distances)
            return
        while done < n:
            m = min(self.held, n - done)
            if index != NULL:
                self.fetch(first, index + done, m, thread)
                self.to_fetched(query, first, index + done, m, thread, distances + done)
            else:
                self.fetch(first + done, NULL, m, thread)
                self.to_fetched(query, first + done, NULL, m, thread, distances + done)
            done += m
