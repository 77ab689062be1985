"""A k-d tree of wide nodes, for few features: exact, and without any rounding margin.

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

Why no neighbor is missed. The distance of a query q to a point p is, in this order, for every
feature the difference q - p, rounded; its square or magnitude, rounded; and the sum of these in one
fixed order, rounded at each step (or their maximum). The block kernels do so lane by lane, hence
the very numbers of the row kernels, NumPy's. The bound of a box low <= p <= high is computed by the
same operations in the same order, from the gaps max(low - q, q - high, 0), each difference rounded.
Rounding is monotone: a <= b implies fl(a) <= fl(b), also where values underflow or overflow. So

    low <= p <= high      =>  fl(low - q) <= fl(p - q)  and  fl(q - high) <= fl(q - p)
                          =>  0 <= gap <= |fl(q - p)|              (fl is odd)
                          =>  fl(gap^2) <= fl(fl(q - p)^2)
    t_j <= s_j for all j  =>  each partial sum of t is <= that of s, by induction over the additions

and the computed bound is at most the computed distance of any point in the box. A box is left out
only if its bound exceeds the limit, the largest computed distance that can still matter. Samples
enter float32 boxes as they are, and float64 holds every float32.

"l2" orders by the roots, which may tie where their squares do not: the limit is then the square of
the largest root, enlarged so that it is no less than any number with that root (`limit_of`).
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cython cimport final
from libc.math cimport INFINITY, ceil, log2
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

import numpy as np

cimport numpy as cnp

from ._dispatch cimport (
    FNN_BLOCK_BOXES,
    active_kernels,
    fnn_block,
    fnn_block_family,
    fnn_kernels,
    fnn_lowest_bit,
    fnn_prefetch,
)
from ._selection cimport (
    Candidate,
    Indexed,
    insert_candidate,
    leave_out,
    precedes,
    select_first,
    select_first_of_many,
    sort_by_index,
    sort_candidates,
)
from ._jobs cimport (
    IEEEScope,
    fnn_fetch_add,
    fnn_load,
    fnn_store,
    ieee_scope,
    run_job,
    run_task_t,
    threads_for,
)
from ._rows cimport CHEBYSHEV, L1, Norm, aligned_bytes, norm_of
from ._tuning cimport (
    FIRST_RADIUS_QUERIES,
    LEAF_POINTS,
    LEAVES_PER_TASK,
    MAX_RANGES,
    MAX_SORTED,
    MIN_RANGE,
    PREFETCH_AHEAD,
    SLICE_PAIRS,
    TREE_QUERIES_PER_TASK,
    TREE_SLICE_QUERIES,
    VALUES_PER_TASK,
    nanoseconds_to_build,
    nanoseconds_to_descend,
    nanoseconds_to_pack,
)

cnp.import_array()

ctypedef fused Value:
    float
    double
    uint8_t


cdef enum:
    FAN_OUT = FNN_BLOCK_BOXES
    # LEAF_POINTS * FAN_OUT ** MAX_LEVELS exceeds any number of samples.
    MAX_LEVELS = 20
    MAX_VISITS = MAX_LEVELS * (FAN_OUT - 1) + 2
    FIRST_CAPACITY = 256

# For estimates of what a search takes.
LEAF_SAMPLES, MAX_SORTED_NEIGHBORS = LEAF_POINTS, MAX_SORTED

# What fits into half an item of the construction.
cdef double MAX_HALF = 0xFFFFFFFF


cdef enum Collect:
    SORTED
    NEAREST
    WITHIN


cdef struct Visit:
    double distance
    Py_ssize_t node
    int level


# What one thread needs for its current query.
cdef struct Search:
    fnn_block kernels
    Collect collect
    const double *weights
    double *query
    double distances[LEAF_POINTS]
    Visit visits[MAX_VISITS]
    # What a pair may have at most, as the kernels give it.
    double limit
    # Distances end here: see KDTree.
    double max_distance
    double radius
    Py_ssize_t k
    Candidate *items
    Py_ssize_t n, capacity
    # Leaves that were looked at, by all queries.
    int64_t n_leaves
    bint root, out_of_memory
    # Within a radius: instead of candidates, items are numbers of samples, of four bytes.
    bint numbers_alone
    # No two threads write to one cache line, or the next, which is fetched with it.
    char apart[128]


# Samples start to stop of a node whose children have `unit` samples each.
cdef struct Range:
    Py_ssize_t start, stop, unit


# What the construction takes beside the rows, and gives back.
cdef struct Sorting:
    const char *rows
    Py_ssize_t value_bytes, n_samples
    # Each sample, in the order of the leaves in the end, below what it is ordered by.
    uint64_t *items
    # Phases halve them, side by side, until there are enough; the last one splits each to the end.
    Range ranges[MAX_RANGES]
    Py_ssize_t n_ranges
    bint has_begun, is_last
    # MAX_RANGES of n_units for a phase, and in the last one all that is left.
    int64_t n_done, n_units
    # [n_threads][box_size]
    double *boxes
    Py_ssize_t box_size, n_features
    # What widths are multiplied by, or NULL.
    const double *factors


cdef inline void move_visit(Visit *target, const Visit *source) noexcept nogil:
    """Field by field, as the next load will be: see insert_candidate."""
    target.distance = source.distance
    target.node = source.node
    target.level = source.level


cdef inline double limit_of(double distance, bint root) noexcept nogil:
    """What the kernels may give at most for a distance of at most this one.

    A root s = fl(sqrt(t)) has t <= s^2 (1 + 2^-53)^2, and fl(s s) >= s^2 (1 - 2^-53), so that a
    factor of 1 + 2^-50 is enough. Denormal t and fl(s s) are whole multiples of 2^-1074, fl(s s) at
    least s^2 - 1/2 and t at most s^2 (1 + 2^-51): below 2^50 that makes t <= fl(s s), and beyond
    t <= fl(s s) + 1, which the factor adds.
    """
    return distance * distance * (1.0 + 2.0 ** -50) if root else distance


cdef inline void load_row(const Value *row, Py_ssize_t n_features, double *query) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n_features):
        query[j] = row[j]


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


@final
cdef class SearchMemory:
    """A Search for each thread."""

    cdef Search *searches
    cdef double *queries
    cdef int n_threads

    def __cinit__(self, int n_threads, Py_ssize_t n_features, Py_ssize_t capacity):
        cdef int i
        cdef Py_ssize_t stride = n_features + 16
        self.searches = <Search *>calloc(n_threads, sizeof(Search))
        self.queries = <double *>malloc(n_threads * stride * sizeof(double))
        self.n_threads = n_threads
        if self.searches == NULL or self.queries == NULL:
            raise MemoryError()
        for i in range(n_threads):
            self.searches[i].query = self.queries + i * stride
            self.searches[i].capacity = capacity
            self.searches[i].items = <Candidate *>malloc(capacity * sizeof(Candidate))
            if self.searches[i].items == NULL:
                raise MemoryError()

    cdef void start(self, KDTree tree, Collect collect, double radius, Py_ssize_t k) noexcept:
        cdef int i
        for i in range(self.n_threads):
            self.searches[i].kernels = tree.block_kernels()
            self.searches[i].weights = tree.weight_data
            self.searches[i].collect = collect
            self.searches[i].max_distance = tree.max_distance
            self.searches[i].radius = radius
            self.searches[i].root = tree.root
            self.searches[i].k = k

    cdef int64_t n_leaves(self) noexcept:
        cdef int64_t n = 0
        cdef int i
        for i in range(self.n_threads):
            n += self.searches[i].n_leaves
        return n

    def __dealloc__(self):
        cdef int i
        if self.searches != NULL:
            for i in range(self.n_threads):
                free(self.searches[i].items)
        free(self.searches)
        free(self.queries)


cdef inline void set_limit(Search *search, double distance) noexcept nogil:
    """Look no further than a distance, as it is returned."""
    search.limit = INFINITY if distance >= search.max_distance else limit_of(distance, search.root)


cdef void forget(Search *search) noexcept nogil:
    """Start a query."""
    cdef Py_ssize_t i
    set_limit(search, search.radius)
    if search.collect == SORTED:
        for i in range(search.k):
            search.items[i].key = -INFINITY
            search.items[i].index = INT64_MAX
    elif search.collect == NEAREST:
        search.n = 0


cdef inline void take(Search *search, double distance, int64_t index) noexcept nogil:
    """Collect a pair, whose distance is given as it is returned."""
    cdef Candidate item
    item.key = -min(distance, search.max_distance)
    item.index = index
    if search.collect == SORTED:
        if precedes(item, search.items[search.k - 1]):
            insert_candidate(search.items, search.k, item)
            set_limit(search, -search.items[search.k - 1].key)
        return
    search.items[search.n] = item
    search.n += 1
    if search.n == search.capacity:
        select_first(search.items, search.n, search.k)
        search.n = search.k
        set_limit(search, -search.items[search.k - 1].key)


cdef bint make_room(Search *search, Py_ssize_t n_more) noexcept nogil:
    """Have room behind the items for so many."""
    cdef Py_ssize_t capacity = search.capacity
    cdef Candidate *items
    if search.n + n_more <= capacity:
        return True
    capacity = max(2 * capacity, search.n + n_more)
    items = <Candidate *>realloc(search.items, capacity * sizeof(Candidate))
    if items == NULL:
        search.out_of_memory = True
        return False
    search.items = items
    search.capacity = capacity
    return True


cdef inline void take_within(
    Search *search, uint32_t bits, const uint32_t *indices
) noexcept nogil:
    """Append those of a leaf's points with these bits that are within the radius."""
    cdef Candidate *item
    cdef uint32_t *number
    cdef double distance
    cdef int i
    if not make_room(search, LEAF_POINTS):
        return
    if search.numbers_alone:
        number = <uint32_t *>search.items + search.n
        while bits:
            i = fnn_lowest_bit(bits)
            bits &= bits - 1
            number[0] = indices[i]
            number += min(search.distances[i], search.max_distance) <= search.radius
        search.n = number - <uint32_t *>search.items
        return
    item = search.items + search.n
    while bits:
        i = fnn_lowest_bit(bits)
        bits &= bits - 1
        distance = min(search.distances[i], search.max_distance)
        item.key = -distance
        item.index = indices[i]
        item += distance <= search.radius
    search.n = item - search.items


cdef inline uint32_t first_bits(Py_ssize_t n) noexcept nogil:
    return <uint32_t>-1 if n >= 32 else (<uint32_t>1 << n) - 1


@final
cdef class KDTree:
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
    """

    cdef readonly cnp.ndarray Y
    cdef readonly str metric
    cdef readonly object weights
    cdef readonly double max_distance
    cdef const double *weight_data
    # Whether searches are possible at all.
    cdef bint usable, owns_indices, root
    cdef Norm norm
    cdef Py_ssize_t value_bytes, n_samples, n_features, height
    # [n_leaves][n_features][LEAF_POINTS] values, and the row of Y that each point is.
    cdef char *points
    cdef uint32_t *indices
    # [nodes of all levels][low, high][n_features][FAN_OUT] values, level 1 first.
    cdef char *boxes
    cdef Py_ssize_t point_bytes, box_bytes
    # How many nodes a level has (level 0: leaves), and the place of its first among the boxes.
    cdef Py_ssize_t n_nodes[MAX_LEVELS]
    cdef Py_ssize_t first_node[MAX_LEVELS]
    cdef object keep_alive

    def __init__(
        self,
        cnp.ndarray Y,
        str metric,
        int n_threads,
        weights=None,
        double max_distance=INFINITY,
        advance=None,
    ):
        self.set_up(Y, metric, weights, max_distance)
        cdef IEEEScope _ieee = ieee_scope()
        self.usable = self.n_samples < MAX_HALF and all_finite(Y, n_threads)
        if not self.usable:
            return
        self.plan_levels()
        self.build(
            threads_for(n_threads, MAX_RANGES, nanoseconds_to_build(self.n_samples)), advance
        )

    cdef object set_up(self, cnp.ndarray Y, str metric, object weights, double max_distance):
        self.Y, self.metric, self.weights, self.max_distance = Y, metric, weights, max_distance
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
        arrays = None
        if self.usable:
            indices = np.asarray(<uint32_t[:self.n_nodes[0] * LEAF_POINTS]>self.indices)
            arrays = (*self.keep_alive[:2], indices)
        return _loaded, (self.Y, self.metric, self.weights, self.max_distance, arrays)

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

    cdef fnn_block block_kernels(self) noexcept:
        cdef const fnn_kernels *kernels = active_kernels()
        cdef fnn_block_family family = kernels.block_squares
        if self.norm == L1:
            family = kernels.block_absolutes
        elif self.norm == CHEBYSHEV:
            family = kernels.block_largest
        if self.value_bytes == sizeof(uint8_t):
            return family.u8
        return family.f32 if self.value_bytes == sizeof(float) else family.f64

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

    cdef inline Py_ssize_t n_children(self, Py_ssize_t level, Py_ssize_t node) noexcept nogil:
        return min(<Py_ssize_t>FAN_OUT, self.n_nodes[level - 1] - node * FAN_OUT)

    cdef inline char *boxes_of(self, Py_ssize_t level, Py_ssize_t node) noexcept nogil:
        """The boxes of a node's children: all their lower ends, then the upper ones."""
        return self.boxes + 2 * (self.first_node[level] + node) * self.box_bytes

    cdef inline bint counts(self, Py_ssize_t feature) noexcept nogil:
        """Whether it has a weight; else it is taken as 0: squares of differences may overflow."""
        return self.weight_data == NULL or self.weight_data[feature] != 0.0

    cdef void pack_leaf(self, const Value *rows, Py_ssize_t leaf) noexcept nogil:
        cdef Py_ssize_t n = min(<Py_ssize_t>LEAF_POINTS, self.n_samples - leaf * LEAF_POINTS), i, j
        cdef const uint32_t *samples = self.indices + leaf * LEAF_POINTS
        cdef Value *points = <Value *>(self.points + leaf * self.point_bytes)
        cdef Value *box = NULL
        cdef Value value, low, high
        if self.height > 0:
            box = <Value *>self.boxes_of(1, leaf // FAN_OUT) + leaf % FAN_OUT
        for j in range(self.n_features):
            low = high = self.value_of(rows, samples[0], j)
            for i in range(n):
                value = self.value_of(rows, samples[i], j)
                points[j * LEAF_POINTS + i] = value
                low = value if value < low else low
                high = value if value > high else high
            for i in range(n, LEAF_POINTS):
                points[j * LEAF_POINTS + i] = low
            if box != NULL:
                box[j * FAN_OUT] = low
                box[(self.n_features + j) * FAN_OUT] = high

    cdef inline Value value_of(
        self, const Value *rows, Py_ssize_t sample, Py_ssize_t feature
    ) noexcept nogil:
        return rows[sample * self.n_features + feature] if self.counts(feature) else <Value>0

    cdef void bound_node(
        self, const Value *rows, Py_ssize_t level, Py_ssize_t node
    ) noexcept nogil:
        """Write the box of a node among those of its parent; `rows` give the type."""
        cdef const Value *children = <const Value *>self.boxes_of(level, node)
        cdef Value *box = (
            <Value *>self.boxes_of(level + 1, node // FAN_OUT) + node % FAN_OUT
        )
        cdef Value low, high
        cdef Py_ssize_t n = self.n_children(level, node), upper = self.n_features * FAN_OUT, i, j
        for j in range(self.n_features):
            low = children[j * FAN_OUT]
            high = children[upper + j * FAN_OUT]
            for i in range(1, n):
                low = min(low, children[j * FAN_OUT + i])
                high = max(high, children[upper + j * FAN_OUT + i])
            box[j * FAN_OUT] = low
            box[upper + j * FAN_OUT] = high

    # ---- one query ------------------------------------------------------------------------

    cdef inline void find(
        self, Search *search, const char *X, Py_ssize_t query, Py_ssize_t home
    ) noexcept nogil:
        """Collect what a row of X needs: first from the leaf `home`, if it is not negative.

        With the limit that this gives, few of the boxes on the way down are worth a visit. What is
        nearer is visited first.
        """
        cdef Py_ssize_t n = 1
        self.load_query(search, X, query)
        forget(search)
        if home >= 0:
            self.scan_leaf(search, home)
        search.visits[0].distance = 0.0
        search.visits[0].level = self.height
        search.visits[0].node = 0
        while n > 0:
            n -= 1
            if search.visits[n].distance > search.limit:
                continue
            if search.visits[n].level == 0:
                if search.visits[n].node != home:
                    self.scan_leaf(search, search.visits[n].node)
            else:
                n = self.open_node(search, n)

    cdef inline void load_query(
        self, Search *search, const char *X, Py_ssize_t query
    ) noexcept nogil:
        cdef const char *row = X + query * self.n_features * self.value_bytes
        cdef Py_ssize_t j
        if self.value_bytes == sizeof(float):
            load_row(<const float *>row, self.n_features, search.query)
        elif self.value_bytes == sizeof(double):
            load_row(<const double *>row, self.n_features, search.query)
        else:
            load_row(<const uint8_t *>row, self.n_features, search.query)
        if self.weight_data != NULL:
            for j in range(self.n_features):
                if not self.counts(j):
                    search.query[j] = 0.0

    cdef inline void scan_leaf(self, Search *search, Py_ssize_t leaf) noexcept nogil:
        cdef const uint32_t *indices = self.indices + leaf * LEAF_POINTS
        cdef uint32_t bits = search.kernels.points(
            search.query, search.weights, self.points + leaf * self.point_bytes, LEAF_POINTS,
            self.n_features, search.limit, search.root, search.distances,
        )
        cdef int i
        search.n_leaves += 1
        if leaf == self.n_nodes[0] - 1:
            bits &= first_bits(self.n_samples - leaf * LEAF_POINTS)
        if search.collect == WITHIN:
            take_within(search, bits, indices)
            return
        while bits:
            i = fnn_lowest_bit(bits)
            bits &= bits - 1
            take(search, search.distances[i], indices[i])

    cdef inline uint32_t children_within(
        self, Search *search, Py_ssize_t level, Py_ssize_t node, double limit
    ) noexcept nogil:
        cdef const char *low = self.boxes_of(level, node)
        return first_bits(self.n_children(level, node)) & search.kernels.boxes(
            search.query, search.weights, low, low + self.box_bytes, self.n_features, limit,
            search.distances,
        )

    cdef inline Py_ssize_t open_node(self, Search *search, Py_ssize_t n) noexcept nogil:
        """Replace visit n by those of the node's children, the nearest last; return how many."""
        cdef Py_ssize_t level = search.visits[n].level, node = search.visits[n].node
        cdef Py_ssize_t first = n, place
        cdef uint32_t bits = self.children_within(search, level, node, search.limit)
        cdef Visit visit
        visit.level = level - 1
        while bits:
            visit.node = node * FAN_OUT + fnn_lowest_bit(bits)
            visit.distance = search.distances[fnn_lowest_bit(bits)]
            bits &= bits - 1
            place = n
            while place > first and search.visits[place - 1].distance < visit.distance:
                move_visit(&search.visits[place], &search.visits[place - 1])
                place -= 1
            move_visit(&search.visits[place], &visit)
            n += 1
        return n

    cdef Py_ssize_t nearest_leaf(
        self, Search *search, const char *X, Py_ssize_t query
    ) noexcept nogil:
        """Go to the nearest child on each level."""
        cdef Py_ssize_t level = self.height, node = 0, child, best
        cdef double least
        self.load_query(search, X, query)
        while level > 0:
            self.children_within(search, level, node, INFINITY)
            best = 0
            least = search.distances[0]
            for child in range(1, self.n_children(level, node)):
                best = child if search.distances[child] < least else best
                least = min(least, search.distances[child])
            node = node * FAN_OUT + best
            level -= 1
        return node

    # ---- many queries ---------------------------------------------------------------------

    cdef object homes_of(self, cnp.ndarray X, Py_ssize_t first, Py_ssize_t n, SearchMemory memory):
        """Return the leaf next to each of n rows of X."""
        homes = np.empty(n, dtype=np.uint32)
        cdef Descent d
        d.tree, d.searches, d.n = <void *>self, memory.searches, n
        d.rows = <const char *>cnp.PyArray_DATA(X) + first * self.n_features * self.value_bytes
        d.homes = <uint32_t *>cnp.PyArray_DATA(homes)
        run_queries(descend_task, &d, n, memory.n_threads, None, 0.0)
        return homes

    cdef object order_of(self, const uint32_t[::1] homes):
        """Return the numbers of rows in the order of their leaves, as far as it matters.

        Neighbors in space then come one after the other, and find in the caches what those before
        them have read. Leaves are counted in groups, so that there are not more of these than rows.
        """
        cdef Py_ssize_t n = homes.shape[0], i, group
        cdef int shift = 0
        while self.n_nodes[0] >> shift > n:
            shift += 1
        starts = np.zeros((self.n_nodes[0] >> shift) + 2, dtype=np.int64)
        order = np.empty(n, dtype=np.uint32)
        cdef int64_t[::1] start = starts
        cdef uint32_t[::1] row = order
        with nogil:
            for i in range(n):
                start[(homes[i] >> shift) + 1] += 1
            for group in range(1, start.shape[0]):
                start[group] += start[group - 1]
            for i in range(n):
                group = homes[i] >> shift
                row[start[group]] = i
                start[group] += 1
        return order

    def kneighbors(
        self,
        cnp.ndarray X,
        Py_ssize_t k,
        int n_threads,
        object advance=None,
        bint exclude_self=False,
    ):
        """Return the k nearest samples to each row of X, and how many were looked at; or None.

        Parameters
        ----------
        X : ndarray of shape (n_queries, n_features)
            C-contiguous, of Y's dtype.
        k : int
            1 <= k <= n_samples; with exclude_self k < n_samples.
        n_threads : int
        advance : callable or None
            Called with the share of the work done since the last call.
        exclude_self : bool
            X is Y, and no row is its own neighbor.

        Returns
        -------
        distances : ndarray of shape (n_queries, k), float64
        indices : ndarray of shape (n_queries, k), int64
        n_pairs : int
            How many distances between a query and a sample were evaluated.

        None when a value of X or Y is not finite.
        """
        cdef cnp.npy_intp[2] shape = [X.shape[0], k]
        cdef Py_ssize_t n_queries = X.shape[0], wanted = k + exclude_self, capacity = wanted
        cdef SearchMemory memory
        cdef IEEEScope _ieee = ieee_scope()
        n_threads = threads_for(n_threads, n_queries, nanoseconds_to_descend(n_queries))
        if not self.usable or (X is not self.Y and not all_finite(X, n_threads)):
            return None
        if wanted > MAX_SORTED:
            capacity = min(2 * wanted + 48, self.n_samples + 1)
        memory = SearchMemory(n_threads, self.n_features, capacity)
        memory.start(self, SORTED if wanted <= MAX_SORTED else NEAREST, INFINITY, wanted)
        distances = cnp.PyArray_EMPTY(2, shape, cnp.NPY_FLOAT64, 0)
        indices = cnp.PyArray_EMPTY(2, shape, cnp.NPY_INT64, 0)
        for first in range(0, n_queries, n_queries if X is self.Y else TREE_SLICE_QUERIES):
            n = min(TREE_SLICE_QUERIES, n_queries - first)
            n = n_queries if X is self.Y else n
            homes = None
            if X is self.Y:
                order = <uint32_t[:n_queries]>self.indices
            else:
                homes = self.homes_of(X, first, n, memory)
                order = self.order_of(homes)
            self.find_nearest(
                X, order, homes, first, memory, distances, indices, exclude_self, advance,
                <double>n / n_queries,
            )
        return distances, indices, memory.n_leaves() * LEAF_POINTS

    cdef int find_nearest(
        self,
        cnp.ndarray X,
        const uint32_t[::1] order,
        const uint32_t[::1] homes,
        Py_ssize_t first,
        SearchMemory memory,
        cnp.ndarray distances,
        cnp.ndarray indices,
        bint exclude_self,
        object advance,
        double share,
    ) except -1:
        """Write the neighbors of the rows first + order[...] of X.

        homes[0] is the leaf next to row `first`; without homes X are the samples, leaf after leaf.
        """
        cdef NearestOfSlice s
        s.tree, s.searches, s.n = <void *>self, memory.searches, order.shape[0]
        s.rows, s.row_bytes = <const char *>cnp.PyArray_DATA(X), self.n_features * self.value_bytes
        s.order, s.first = &order[0], first
        s.homes = NULL if homes is None else &homes[0]
        s.distances = <double *>cnp.PyArray_DATA(distances)
        s.indices = <int64_t *>cnp.PyArray_DATA(indices)
        s.k, s.exclude_self = distances.shape[1], exclude_self
        return run_queries(nearest_task, &s, s.n, memory.n_threads, advance, share)

    def radius_neighbors(
        self,
        cnp.ndarray X,
        double radius,
        int n_threads,
        bint sort_results=False,
        bint exclude_self=False,
        bint with_distances=True,
    ):
        """Return the samples within the radius of each row of X, or None.

        Parameters
        ----------
        X : ndarray of shape (n_queries, n_features)
            C-contiguous, of Y's dtype.
        radius : float
            Not NaN. Squared for "sqeuclidean".
        n_threads : int
        sort_results : bool
            Neighbors ascend by (distance, index), or by index alone.
        exclude_self : bool
            X is Y, and no row is its own neighbor.
        with_distances : bool

        Returns
        -------
        list of (counts, distances, indices), or None
            A slice of the queries each: how many neighbors each query has (int64), their distances
            (float64; None without) and indices (int64), query after query. None when a value of X
            or Y is not finite.
        """
        cdef Py_ssize_t n_queries = X.shape[0], first = 0, size = FIRST_RADIUS_QUERIES, n
        cdef SearchMemory memory
        cdef IEEEScope _ieee = ieee_scope()
        n_threads = threads_for(n_threads, n_queries, nanoseconds_to_descend(n_queries))
        if not self.usable or (X is not self.Y and not all_finite(X, n_threads)):
            return None
        memory = SearchMemory(n_threads, self.n_features, FIRST_CAPACITY)
        memory.start(self, WITHIN, radius, 0)
        own_leaves = self.leaves_of_samples() if X is self.Y else None
        slices = []
        while first < n_queries:
            n = min(size, n_queries - first)
            if X is self.Y:
                homes = own_leaves[first:first + n]
            else:
                homes = self.homes_of(X, first, n, memory)
            found = self.find_within(
                X, first, homes, memory, sort_results, exclude_self, with_distances
            )
            slices.append(found)
            first += n
            # Many queries at a time have more of their neighbors in common.
            size = SLICE_PAIRS * n // max(1, len(found[2]))
            size = max(<Py_ssize_t>TREE_QUERIES_PER_TASK, min(size, <Py_ssize_t>TREE_SLICE_QUERIES))
        return slices

    cdef object leaves_of_samples(self):
        cdef Py_ssize_t i
        leaves = np.empty(self.n_samples, dtype=np.uint32)
        cdef uint32_t[::1] leaf = leaves
        with nogil:
            for i in range(self.n_samples):
                leaf[self.indices[i]] = i // LEAF_POINTS
        return leaves

    cdef object find_within(
        self, cnp.ndarray X, Py_ssize_t first, const uint32_t[::1] homes, SearchMemory memory,
        bint by_distance, bint exclude_self, bint with_distances,
    ):
        """Return (counts, distances, indices) of the rows of X from `first` on."""
        cdef Py_ssize_t n = homes.shape[0]
        cdef const char *rows = <const char *>cnp.PyArray_DATA(X)
        cdef int n_threads = memory.n_threads, thread
        cdef WithinSlice w
        cdef const uint32_t[::1] order = self.order_of(homes)
        # Of each query: the thread that collected its neighbors, and where they start there.
        cdef int64_t[::1] finder = np.empty(n, dtype=np.int64)
        cdef int64_t[::1] place = np.empty(n, dtype=np.int64)
        counts = np.empty(n, dtype=np.int64)
        cdef int64_t[::1] count = counts
        for thread in range(n_threads):
            memory.searches[thread].n = 0
            memory.searches[thread].numbers_alone = not with_distances and not by_distance
        w.tree, w.searches, w.n, w.rows = <void *>self, memory.searches, n, rows
        w.order, w.first = &order[0], first
        w.finder, w.place, w.count = &finder[0], &place[0], &count[0]
        w.by_distance, w.exclude_self = by_distance, exclude_self
        run_queries(within_task, &w, n, n_threads, None, 0.0)
        for thread in range(n_threads):
            if memory.searches[thread].out_of_memory:
                raise MemoryError()
        ends = np.cumsum(counts)
        distances = np.empty(ends[n - 1]) if with_distances else None
        indices = np.empty(ends[n - 1], dtype=np.int64)
        cdef const int64_t[::1] end = ends
        cdef double *first_distance = NULL
        if with_distances:
            first_distance = <double *>cnp.PyArray_DATA(distances)
        cdef int64_t *first_index = <int64_t *>cnp.PyArray_DATA(indices)
        w.distances, w.indices, w.ends = first_distance, first_index, &end[0]
        run_queries(
            write_task, &w, n,
            threads_for(n_threads, n, nanoseconds_to_pack(2.0 * ends[n - 1])), None, 0.0,
        )
        return counts, distances, indices

    cdef Py_ssize_t collect_within(
        self, Search *search, const char *X, Py_ssize_t query, bint by_distance, bint exclude_self
    ) noexcept nogil:
        """Append a query's neighbors to those of others, in order; return how many there are."""
        cdef Py_ssize_t before = search.n
        cdef int64_t itself = query if exclude_self else -1
        self.find(search, X, query, -1)
        if not make_room(search, search.n - before):
            return 0
        if search.numbers_alone:
            search.n = before + by_index(
                <uint32_t *>search.items + before, search.n - before, itself
            )
        elif by_distance:
            search.n = before + without(search.items + before, search.n - before, itself)
            sort_candidates(search.items + before, search.n - before)
        else:
            search.n = before + by_index(search.items + before, search.n - before, itself)
        return search.n - before


# ---- tasks: some queries, or leaves, each --------------------------------------------------------


cdef void pack_task(void *tree, Py_ssize_t task, int thread) noexcept nogil:
    (<KDTree>tree).pack_leaves(task * LEAVES_PER_TASK, (task + 1) * LEAVES_PER_TASK)


cdef int run_queries(
    run_task_t run_task, void *context, Py_ssize_t n, int n_threads, advance, double share
) except -1:
    cdef Py_ssize_t n_tasks = (n + TREE_QUERIES_PER_TASK - 1) // TREE_QUERIES_PER_TASK
    return run_job(run_task, context, n_tasks, n_threads, advance, share)


cdef struct Descent:
    void *tree
    Search *searches
    Py_ssize_t n
    const char *rows
    uint32_t *homes


cdef void descend_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Descent *d = <const Descent *>context
    cdef Py_ssize_t start = task * TREE_QUERIES_PER_TASK, i
    for i in range(start, min(start + TREE_QUERIES_PER_TASK, d.n)):
        d.homes[i] = (<KDTree>d.tree).nearest_leaf(&d.searches[thread], d.rows, i)


cdef struct NearestOfSlice:
    void *tree
    Search *searches
    Py_ssize_t n
    const char *rows
    Py_ssize_t row_bytes
    # The rows first + order[i], and the leaf next to each; NULL: these are the samples themselves.
    const uint32_t *order
    Py_ssize_t first
    const uint32_t *homes
    double *distances
    int64_t *indices
    Py_ssize_t k
    bint exclude_self


cdef void nearest_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const NearestOfSlice *s = <const NearestOfSlice *>context
    cdef Search *search = &s.searches[thread]
    cdef Py_ssize_t start = task * TREE_QUERIES_PER_TASK, i, row, ahead
    for i in range(start, min(start + TREE_QUERIES_PER_TASK, s.n)):
        ahead = s.first + s.order[min(i + PREFETCH_AHEAD, s.n - 1)]
        fnn_prefetch(s.rows + ahead * s.row_bytes)
        fnn_prefetch(s.distances + ahead * s.k)
        fnn_prefetch(s.indices + ahead * s.k)
        row = s.first + s.order[i]
        (<KDTree>s.tree).find(
            search, s.rows, row, i // LEAF_POINTS if s.homes == NULL else s.homes[s.order[i]]
        )
        write_nearest(
            search, s.distances + row * s.k, s.indices + row * s.k, row if s.exclude_self else -1
        )


cdef struct WithinSlice:
    void *tree
    Search *searches
    Py_ssize_t n
    const char *rows
    const uint32_t *order
    Py_ssize_t first
    # Of each query: the thread that collected its neighbors, where they start there, how many.
    int64_t *finder
    int64_t *place
    int64_t *count
    bint by_distance, exclude_self
    # Where they are written, and where those of each query end.
    double *distances
    int64_t *indices
    const int64_t *ends


cdef void within_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const WithinSlice *w = <const WithinSlice *>context
    cdef Py_ssize_t start = task * TREE_QUERIES_PER_TASK, i, query
    for i in range(start, min(start + TREE_QUERIES_PER_TASK, w.n)):
        query = w.order[i]
        w.finder[query], w.place[query] = thread, w.searches[thread].n
        w.count[query] = (<KDTree>w.tree).collect_within(
            &w.searches[thread], w.rows, w.first + query, w.by_distance, w.exclude_self
        )


cdef void write_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const WithinSlice *w = <const WithinSlice *>context
    cdef Py_ssize_t start = task * TREE_QUERIES_PER_TASK, i, at
    for i in range(start, min(start + TREE_QUERIES_PER_TASK, w.n)):
        at = w.ends[i] - w.count[i]
        write_within(
            &w.searches[w.finder[i]], w.place[i], w.count[i],
            NULL if w.distances == NULL else w.distances + at, w.indices + at,
        )


# ---- results -------------------------------------------------------------------------------------


cdef inline Py_ssize_t without(Indexed *items, Py_ssize_t n, int64_t itself) noexcept nogil:
    """Leave out a sample, if it is not negative and there are any; return how many are left."""
    return leave_out(items, n, itself) if itself >= 0 and n > 0 else n


cdef inline Py_ssize_t by_index(Indexed *items, Py_ssize_t n, int64_t itself) noexcept nogil:
    """The same, and sort; behind the items there is room for as many."""
    n = without(items, n, itself)
    sort_by_index(items, n, items + n)
    return n


cdef void write_within(
    const Search *search, Py_ssize_t place, Py_ssize_t n, double *distances, int64_t *indices
) noexcept nogil:
    """`distances` may be NULL."""
    cdef const uint32_t *numbers = <const uint32_t *>search.items + place
    cdef Py_ssize_t i
    if search.numbers_alone:
        for i in range(n):
            indices[i] = numbers[i]
    else:
        write_pairs(search.items + place, n, distances, indices)


cdef void write_nearest(
    Search *search, double *distances, int64_t *indices, int64_t itself
) noexcept nogil:
    cdef Py_ssize_t k = search.k
    if search.collect == NEAREST:
        select_first(search.items, search.n, k)
        sort_candidates(search.items, k)
    if itself >= 0:
        k = leave_out(search.items, k, itself)
    write_pairs(search.items, k, distances, indices)


cdef void write_pairs(
    const Candidate *items, Py_ssize_t n, double *distances, int64_t *indices
) noexcept nogil:
    """`distances` may be NULL."""
    cdef Py_ssize_t i
    for i in range(n):
        indices[i] = items[i].index
    if distances != NULL:
        for i in range(n):
            distances[i] = -items[i].key


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


def _loaded(Y, metric, weights, max_distance, arrays):
    """Return the tree of a pickle."""
    cdef KDTree tree = KDTree.__new__(KDTree)
    tree.set_up(Y, metric, weights, max_distance)
    if arrays is not None:
        points, boxes, indices = arrays
        tree.load(points, boxes, indices)
    return tree
