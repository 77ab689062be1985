"""A k-d tree of wide nodes: what it is, and how it is built. _kd_tree.pyx searches it.

The samples are permuted into leaves of LEAF_POINTS, and every node holds the bounding boxes of up
to FAN_OUT children:

    level 2   [ box | box | ...                             ]     a node: FAN_OUT boxes side by side
    level 1   [ box | box | ... ][ box | box | ... ] ...
    leaves    [points][points]...                                 a leaf: LEAF_POINTS side by side

Node i of a level has the children FAN_OUT * i, FAN_OUT * i + 1, ... of the level below, and all but
the last of a level are full, so that there is nothing else to store. The samples of a node are
split in two, at the child that is in the middle, along the feature in which they are widest; the
halves are split again until there is one child left. A block of points or boxes lies feature by
feature, and one call of a kernel gives the distances of a query to all of it, a lane each.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.math cimport INFINITY, ceil, log2
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from .._jobs cimport (
    IEEEScope,
    fnn_fetch_add,
    fnn_load,
    fnn_store,
    ieee_scope,
    run_job,
    threads_for,
)
from .._rows cimport L1, aligned_bytes, norm_of
from ._topk cimport select_first_of_many
from .._tuning cimport (
    LEAF_POINTS,
    LEAVES_PER_TASK,
    MAX_RANGES,
    MIN_RANGE,
    VALUES_PER_TASK,
    nanoseconds_to_build,
    nanoseconds_to_pack,
)

cnp.import_array()

# What fits into half an item of the construction.
cdef double MAX_HALF = 0xFFFFFFFF


cdef inline Py_ssize_t sample_of(uint64_t item) noexcept nogil:
    return <uint32_t>item


cdef bint any_not_finite(const Value *values, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef int found = 0
    for i in range(n):
        found |= values[i] - values[i] != 0  # infinity - infinity is NaN
    return found


cdef void bound_rows(
    const Value *rows, const Sorting *sorting, Range samples, double *box
) noexcept nogil:
    """Set box to the least and then the largest values of the samples."""
    cdef Py_ssize_t d = sorting.n_features, i, j
    cdef double *low = box
    cdef double *high = box + d
    cdef const Value *row
    cdef double value
    for j in range(d):
        low[j] = INFINITY
        high[j] = -INFINITY
    for i in range(samples.start, samples.stop):
        row = rows + sample_of(sorting.items[i]) * d
        for j in range(d):
            value = row[j]
            low[j] = value if value < low[j] else low[j]
            high[j] = value if value > high[j] else high[j]


cdef Py_ssize_t widest(const double *box, const Sorting *sorting) noexcept nogil:
    cdef Py_ssize_t d = sorting.n_features, j, best = 0
    cdef double width, largest = -1.0
    for j in range(d):
        width = box[d + j] - box[j]
        if sorting.factors != NULL:
            width = width * sorting.factors[j]
        if width > largest:
            best = j
            largest = width
    return best


cdef void order_by(
    const Value *rows, Sorting *sorting, const double *box, Range samples, Py_ssize_t feature
) noexcept nogil:
    """Put above each sample how far its value is through the box, in steps of 2^-32.

    What ties by that goes by its number. A power of two keeps the widest and the narrowest boxes
    in range.
    """
    cdef double low = box[feature], high = box[sorting.n_features + feature]
    cdef double scale = 1.0, step = 0.0, place
    cdef Py_ssize_t d = sorting.n_features, i
    cdef uint64_t *items = sorting.items
    if low < high:
        if high - low > 2.0 ** 1000:
            scale = 2.0 ** -1000
        elif high - low < 2.0 ** -1000:
            scale = 2.0 ** 1000
        low = low * scale
        step = MAX_HALF / (high * scale - low)
    else:
        low = 0.0
    rows += feature
    for i in range(samples.start, samples.stop):
        place = (rows[sample_of(items[i]) * d] * scale - low) * step
        place = max(0.0, min(place, MAX_HALF))
        items[i] = <uint64_t><int64_t>place << 32 | <uint32_t>items[i]


cdef Py_ssize_t split(
    const Value *rows, Sorting *sorting, const double *box, Range samples, double *cut
) noexcept nogil:
    """Put the larger values of the widest feature first; return where the smaller ones start.

    The place is that of the middle child. The cut is the least of the larger values.
    """
    cdef uint64_t *items = sorting.items + samples.start
    cdef Py_ssize_t n = samples.stop - samples.start, feature = widest(box, sorting)
    cdef Py_ssize_t half = (n + samples.unit - 1) // samples.unit // 2 * samples.unit
    order_by(rows, sorting, box, samples, feature)
    select_first_of_many(items, n, half)
    cut[0] = rows[sample_of(items[half - 1]) * sorting.n_features + feature]
    return samples.start + half


cdef void smaller_unit(Range *samples) noexcept nogil:
    """Go down to the first level on which the samples have several children."""
    while samples.unit > LEAF_POINTS and samples.stop - samples.start <= samples.unit:
        samples.unit //= FAN_OUT


cdef void halve(
    const Value *rows, Sorting *sorting, int thread, Range *halves
) noexcept nogil:
    """Split halves[0] into itself and halves[1], which is empty if there is but one leaf."""
    cdef double *box = sorting.boxes + thread * sorting.box_size
    cdef double cut
    smaller_unit(&halves[0])
    halves[1] = halves[0]
    halves[1].start = halves[0].stop
    if halves[0].stop - halves[0].start > LEAF_POINTS:
        bound_rows(rows, sorting, halves[0], box)
        halves[1].start = split(rows, sorting, box, halves[0], &cut)
        halves[0].stop = halves[1].start


cdef Py_ssize_t next_sorting_phase(void *context) noexcept nogil:
    cdef Sorting *sorting = <Sorting *>context
    cdef Py_ssize_t i
    if sorting.is_last:
        fnn_store(&sorting.n_done, sorting.n_units)
        return 0
    if sorting.has_begun:
        sorting.n_ranges *= 2
        fnn_fetch_add(&sorting.n_done, MAX_RANGES)
    sorting.has_begun = True
    if sorting.n_ranges < MAX_RANGES and sorting.n_samples > sorting.n_ranges * MIN_RANGE:
        for i in range(sorting.n_ranges - 1, -1, -1):
            sorting.ranges[2 * i] = sorting.ranges[i]
    else:
        sorting.is_last = True
    return sorting.n_ranges


cdef void sort_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef Sorting *sorting = <Sorting *>context
    if sorting.value_bytes == sizeof(float):
        sort_range(<const float *>sorting.rows, sorting, task, thread)
    elif sorting.value_bytes == sizeof(double):
        sort_range(<const double *>sorting.rows, sorting, task, thread)
    else:
        sort_range(<const uint8_t *>sorting.rows, sorting, task, thread)


cdef void sort_range(
    const Value *rows, Sorting *sorting, Py_ssize_t task, int thread
) noexcept nogil:
    cdef double *box = sorting.boxes + thread * sorting.box_size
    if not sorting.is_last:
        halve(rows, sorting, thread, &sorting.ranges[2 * task])
        return
    bound_rows(rows, sorting, sorting.ranges[task], box)
    split_all(rows, sorting, sorting.ranges[task], box)
    fnn_fetch_add(&sorting.n_done, (sorting.n_units - sorting.n_done) // (2 * sorting.n_ranges))


cdef void split_all(
    const Value *rows, Sorting *sorting, Range samples, double *box
) noexcept nogil:
    """Split the samples until each leaf has its own.

    They are in `box`, which has room for a box of each level below behind it. That is the box of a
    node, cut at each split: to bound the samples at each would cost more than it gains.
    """
    cdef Range half
    cdef double cut, kept
    cdef Py_ssize_t d = sorting.n_features, feature
    if samples.stop - samples.start <= LEAF_POINTS:
        return
    if samples.stop - samples.start <= samples.unit:
        smaller_unit(&samples)
        box += 2 * d
        bound_rows(rows, sorting, samples, box)
    feature = widest(box, sorting)
    half = samples
    half.stop = split(rows, sorting, box, samples, &cut)
    samples.start = half.stop
    kept = box[feature]
    box[feature] = cut
    split_all(rows, sorting, half, box)
    box[feature] = kept
    kept = box[d + feature]
    box[d + feature] = cut
    split_all(rows, sorting, samples, box)
    box[d + feature] = kept


cdef class Tree:
    """The samples in a tree, for one metric.

    Parameters
    ----------
    Y : ndarray of shape (n_samples, n_features)
        C-contiguous, float32, float64 or uint8. It is kept, for pickles; searches read a copy.
    metric : {"l1", "l2", "sqeuclidean", "chebyshev"}
    n_threads : int
        For the construction.
    weights : ndarray of shape (n_features,), float64, optional
        Of the features, in the sums; finite, at least 0, and not for "chebyshev".
    max_distance : float, default=inf
        What is further counts as being so far away.
    advance : callable, optional
        Called with the share of the construction done since the last call.
    periods : ndarray of shape (n_features,), float64, optional
        Features are on circles of these lengths, and values from 0 to there; on a line where it is
        infinity. Y is float64 then.
    """

    def __init__(
        self,
        cnp.ndarray Y,
        str metric,
        int n_threads,
        weights=None,
        double max_distance=INFINITY,
        advance=None,
        periods=None,
    ):
        self.set_up(Y, metric, weights, max_distance, periods)
        cdef IEEEScope _ieee = ieee_scope()
        self.usable = self.n_samples < MAX_HALF and all_finite(Y, n_threads)
        if not self.usable:
            return
        self.plan_levels()
        self.build(
            threads_for(n_threads, MAX_RANGES, nanoseconds_to_build(self.n_samples)), advance
        )

    cdef object set_up(
        self, cnp.ndarray Y, str metric, object weights, double max_distance, object periods
    ):
        self.Y, self.metric, self.weights, self.max_distance = Y, metric, weights, max_distance
        self.periods = periods
        if periods is not None:
            self.period_data = <const double *>cnp.PyArray_DATA(periods)
        if weights is not None:
            self.weight_data = <const double *>cnp.PyArray_DATA(weights)
        self.norm = norm_of(metric)
        self.root = metric == "l2"
        self.value_bytes = cnp.PyArray_ITEMSIZE(Y)
        self.n_samples, self.n_features = Y.shape[0], Y.shape[1]

    def __dealloc__(self):
        if self.owns_indices:
            PyMem_RawFree(self.indices)

    def __reduce__(self):
        cdef cnp.npy_intp n = self.n_nodes[0] * LEAF_POINTS
        arrays = None
        if self.usable:
            indices = cnp.PyArray_SimpleNewFromData(1, &n, cnp.NPY_UINT32, self.indices)
            # A shallow copy of the tree may outlive it.
            cnp.set_array_base(indices, self)
            arrays = (*self.keep_alive[:2], indices)
        return _loaded, (
            type(self), self.Y, self.metric, self.weights, self.max_distance, self.periods, arrays
        )

    cdef object load(self, cnp.ndarray points, cnp.ndarray boxes, cnp.ndarray indices):
        """Take over what another tree has built."""
        self.usable = True
        self.plan_levels()
        self.points = <char *>cnp.PyArray_DATA(points)
        self.boxes = <char *>cnp.PyArray_DATA(boxes)
        self.indices = <uint32_t *>cnp.PyArray_DATA(indices)
        self.keep_alive = (points, boxes, indices)

    @property
    def nbytes(self):
        """How many bytes are held beside Y."""
        if not self.usable:
            return 0
        indices = self.n_nodes[0] * LEAF_POINTS * sizeof(uint32_t)
        return indices + self.keep_alive[0].nbytes + self.keep_alive[1].nbytes

    cdef object plan_levels(self):
        cdef Py_ssize_t level = 0, n_nodes = 0
        self.n_nodes[0] = (self.n_samples + LEAF_POINTS - 1) // LEAF_POINTS
        while self.n_nodes[level] > 1:
            level += 1
            self.n_nodes[level] = (self.n_nodes[level - 1] + FAN_OUT - 1) // FAN_OUT
            self.first_node[level] = n_nodes
            n_nodes += self.n_nodes[level]
        self.height = level
        self.point_bytes = LEAF_POINTS * self.n_features * self.value_bytes
        self.box_bytes = FAN_OUT * self.n_features * self.value_bytes

    cdef object allocate(self):
        cdef Py_ssize_t n_nodes = 1
        if self.height > 0:
            n_nodes = self.first_node[self.height] + 1
        points = aligned_bytes(self.n_nodes[0] * self.point_bytes)
        boxes = aligned_bytes(2 * n_nodes * self.box_bytes)
        self.points = <char *>cnp.PyArray_DATA(points)
        self.boxes = <char *>cnp.PyArray_DATA(boxes)
        self.keep_alive = (points, boxes)

    # ---- construction ---------------------------------------------------------------------

    cdef int build(self, int n_threads, advance) except -1:
        cdef Sorting sorting
        cdef size_t padded = self.n_nodes[0] * LEAF_POINTS, room = self.n_samples * sizeof(uint64_t)
        cdef Py_ssize_t n_tasks = (self.n_nodes[0] + LEAVES_PER_TASK - 1) // LEAVES_PER_TASK
        memset(&sorting, 0, sizeof(sorting))
        factors = self.weights
        if factors is not None and self.norm != L1:
            factors = np.sqrt(factors)
        sorting.factors = NULL if factors is None else <const double *>cnp.PyArray_DATA(factors)
        sorting.n_features = self.n_features
        # A box for each level and one above them, and a cache line between threads.
        sorting.box_size = 2 * self.n_features * (self.height + 2) + 8
        sorting.items = <uint64_t *>PyMem_RawMalloc(max(room, padded * sizeof(uint32_t)))
        # What is left of the items in the end.
        self.indices, self.owns_indices = <uint32_t *>sorting.items, True
        sorting.boxes = <double *>malloc(n_threads * sorting.box_size * sizeof(double))
        try:
            if sorting.items == NULL or sorting.boxes == NULL:
                raise MemoryError()
            self.sort_into_leaves(&sorting, n_threads, advance)
        finally:
            free(sorting.boxes)
        self.keep_samples(sorting.items)
        self.allocate()
        run_job(pack_task, <void *>self, n_tasks, n_threads)
        self.bound_nodes()
        return 0

    cdef int sort_into_leaves(self, Sorting *sorting, int n_threads, advance) except -1:
        """Order the items."""
        cdef Py_ssize_t i
        # All levels take about the same time.
        cdef double n_levels = max(1.0, ceil(log2(<double>self.n_nodes[0])))
        sorting.rows, sorting.value_bytes = <const char *>cnp.PyArray_DATA(self.Y), self.value_bytes
        sorting.n_samples, sorting.n_units = self.n_samples, <int64_t>(MAX_RANGES * n_levels)
        for i in range(self.n_samples):
            sorting.items[i] = i
        sorting.n_ranges = 1
        sorting.ranges[0] = Range(0, self.n_samples, LEAF_POINTS)
        while sorting.ranges[0].unit < self.n_samples:
            sorting.ranges[0].unit *= FAN_OUT
        return run_job(
            sort_task, sorting, next_sorting_phase(sorting), n_threads, advance, 1.0,
            next_sorting_phase, &sorting.n_done, <double>sorting.n_units,
        )

    cdef void keep_samples(self, const uint64_t *items) noexcept nogil:
        """Drop what items were ordered by, where they are, and the room that this leaves."""
        cdef Py_ssize_t padded = self.n_nodes[0] * LEAF_POINTS, i
        cdef uint32_t *smaller
        for i in range(self.n_samples):
            self.indices[i] = sample_of(items[i])
        for i in range(self.n_samples, padded):
            self.indices[i] = 0
        smaller = <uint32_t *>PyMem_RawRealloc(self.indices, padded * sizeof(uint32_t))
        self.indices = self.indices if smaller == NULL else smaller

    cdef void pack_leaves(self, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
        cdef const void *rows = cnp.PyArray_DATA(self.Y)
        cdef Py_ssize_t leaf
        for leaf in range(first, min(last, self.n_nodes[0])):
            if self.value_bytes == sizeof(float):
                self.pack_leaf(<const float *>rows, leaf)
            elif self.value_bytes == sizeof(double):
                self.pack_leaf(<const double *>rows, leaf)
            else:
                self.pack_leaf(<const uint8_t *>rows, leaf)

    cdef void bound_nodes(self) noexcept nogil:
        """Fill the boxes above the leaves', from the lowest level up."""
        cdef const void *rows = cnp.PyArray_DATA(self.Y)
        cdef Py_ssize_t level, node
        for level in range(1, self.height):
            for node in range(self.n_nodes[level]):
                if self.value_bytes == sizeof(float):
                    self.bound_node(<const float *>rows, level, node)
                elif self.value_bytes == sizeof(double):
                    self.bound_node(<const double *>rows, level, node)
                else:
                    self.bound_node(<const uint8_t *>rows, level, node)

    cdef void pack_leaf(self, const Value *rows, Py_ssize_t leaf) noexcept nogil:
        cdef Py_ssize_t n = min(<Py_ssize_t>LEAF_POINTS, self.n_samples - leaf * LEAF_POINTS), i, j
        cdef const uint32_t *samples = self.indices + leaf * LEAF_POINTS
        cdef Value *points = <Value *>(self.points + leaf * self.point_bytes)
        cdef Value *box = NULL
        cdef Value value, low, high
        if self.height > 0:
            box = <Value *>boxes_of(self, 1, leaf // FAN_OUT) + leaf % FAN_OUT
        for j in range(self.n_features):
            low = high = value_of(self, rows, samples[0], j)
            for i in range(n):
                value = value_of(self, rows, samples[i], j)
                points[j * LEAF_POINTS + i] = value
                low = value if value < low else low
                high = value if value > high else high
            for i in range(n, LEAF_POINTS):
                points[j * LEAF_POINTS + i] = low
            if box != NULL:
                box[j * FAN_OUT] = low
                box[(self.n_features + j) * FAN_OUT] = high

    cdef void bound_node(
        self, const Value *rows, Py_ssize_t level, Py_ssize_t node
    ) noexcept nogil:
        """Write the box of a node among those of its parent; `rows` give the type."""
        cdef const Value *children = <const Value *>boxes_of(self, level, node)
        cdef Value *box = (
            <Value *>boxes_of(self, level + 1, node // FAN_OUT) + node % FAN_OUT
        )
        cdef Value low, high
        cdef Py_ssize_t n = n_children(self, level, node), upper = self.n_features * FAN_OUT, i, j
        for j in range(self.n_features):
            low = children[j * FAN_OUT]
            high = children[upper + j * FAN_OUT]
            for i in range(1, n):
                low = min(low, children[j * FAN_OUT + i])
                high = max(high, children[upper + j * FAN_OUT + i])
            box[j * FAN_OUT] = low
            box[upper + j * FAN_OUT] = high


cdef inline Value value_of(
    Tree tree, const Value *rows, Py_ssize_t sample, Py_ssize_t feature
) noexcept nogil:
    return rows[sample * tree.n_features + feature] if is_counted(tree, feature) else <Value>0


cdef void pack_task(void *tree, Py_ssize_t task, int thread) noexcept nogil:
    (<Tree>tree).pack_leaves(task * LEAVES_PER_TASK, (task + 1) * LEAVES_PER_TASK)


cdef struct Finiteness:
    const char *values
    Py_ssize_t value_bytes, n
    int64_t is_broken


cdef void check_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef Finiteness *f = <Finiteness *>context
    cdef Py_ssize_t start = task * VALUES_PER_TASK, n = min(f.n - start, VALUES_PER_TASK)
    cdef const char *values = f.values + start * f.value_bytes
    cdef bint found
    if f.value_bytes == sizeof(float):
        found = any_not_finite(<const float *>values, n)
    else:
        found = any_not_finite(<const double *>values, n)
    if found:
        fnn_store(&f.is_broken, True)


cdef bint all_finite(cnp.ndarray X, int n_threads) except -1:
    cdef Py_ssize_t n = X.shape[0] * X.shape[1]
    cdef Py_ssize_t n_tasks = (n + VALUES_PER_TASK - 1) // VALUES_PER_TASK
    cdef Finiteness f = Finiteness(
        <const char *>cnp.PyArray_DATA(X), cnp.PyArray_ITEMSIZE(X), n, False
    )
    if f.value_bytes == sizeof(uint8_t):
        return True
    run_job(check_task, &f, n_tasks, threads_for(n_threads, n_tasks, nanoseconds_to_pack(n)))
    return not fnn_load(&f.is_broken)


def _loaded(type_, Y, metric, weights, max_distance, periods, arrays):
    """Return the tree of a pickle."""
    cdef Tree tree = type_.__new__(type_)
    tree.set_up(Y, metric, weights, max_distance, periods)
    if arrays is not None:
        points, boxes, indices = arrays
        tree.load(points, boxes, indices)
    return tree
