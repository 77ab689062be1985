"""Searches in a k-d tree, for few features: exact, and without any rounding margin.

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

from cython cimport final
from libc.math cimport INFINITY, nextafter, sqrt
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc

import numpy as np

cimport numpy as cnp

from .._dispatch cimport (
    active_kernels,
    fnn_block,
    fnn_block_family,
    fnn_kernels,
    fnn_lowest_bit,
    fnn_prefetch,
)
from .._jobs cimport IEEEScope, ieee_scope, run_job, run_task_t, threads_for
from .._rows cimport CHEBYSHEV, L1
from ._topk cimport (
    Candidate,
    Indexed,
    insert_candidate,
    leave_out,
    precedes,
    select_first,
    sort_by_index,
    sort_candidates,
)
from ._tree cimport FAN_OUT, MAX_LEVELS, Tree, Value, all_finite, boxes_of, is_counted, n_children
from .._tuning cimport (
    FIRST_RADIUS_QUERIES,
    LEAF_POINTS,
    MAX_SORTED,
    PREFETCH_AHEAD,
    SLICE_PAIRS,
    TREE_QUERIES_PER_TASK,
    TREE_SLICE_QUERIES,
    nanoseconds_to_descend,
    nanoseconds_to_pack,
)

cnp.import_array()

cdef enum:
    MAX_VISITS = MAX_LEVELS * (FAN_OUT - 1) + 2
    FIRST_CAPACITY = 256

# For estimates of what a search takes.
LEAF_SAMPLES, MAX_SORTED_NEIGHBORS = LEAF_POINTS, MAX_SORTED


cdef enum Collect:
    SORTED
    NEAREST
    WITHIN
    COUNTED


cdef struct Visit:
    double distance
    Py_ssize_t node
    int level


# What one thread needs for its current query.
cdef struct Search:
    fnn_block kernels
    Collect collect
    const double *weights
    const double *periods
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
    # Leaves that all queries have visited.
    int64_t n_leaves
    bint root, out_of_memory
    # [n_leaves]: the bits of the samples of a leaf that may be found; NULL: all.
    const uint32_t *allowed
    # Within a radius: instead of candidates, items are numbers of samples, of four bytes.
    bint numbers_alone
    # No two threads write to one cache line, or the next, which is fetched with it.
    char apart[128]


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


@final
cdef class SearchMemory:
    """A Search for each thread."""

    cdef Search *searches
    cdef double *queries
    cdef int n_threads
    cdef object allowed

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

    cdef object start(
        self, KDTree tree, Collect collect, double radius, Py_ssize_t k, object allowed
    ):
        cdef int i
        cdef const uint32_t[::1] bits = allowed
        self.allowed = allowed
        for i in range(self.n_threads):
            self.searches[i].kernels = tree.block_kernels()
            self.searches[i].weights = tree.weight_data
            self.searches[i].periods = tree.period_data
            self.searches[i].collect = collect
            self.searches[i].max_distance = tree.max_distance
            self.searches[i].radius = radius
            self.searches[i].root = tree.root
            self.searches[i].k = k
            self.searches[i].allowed = NULL if allowed is None else &bits[0]

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


cdef double largest_within(double radius, bint root) noexcept nogil:
    """The largest number that the kernels may give for a distance of at most the radius."""
    cdef double largest = radius * radius
    if not root or radius < 0.0:
        return radius
    while sqrt(largest) > radius:
        largest = nextafter(largest, -INFINITY)
    while largest < INFINITY and sqrt(nextafter(largest, INFINITY)) <= radius:
        largest = nextafter(largest, INFINITY)
    return largest


cdef void start_query(Search *search) noexcept nogil:
    cdef Py_ssize_t i
    if search.collect == COUNTED:
        search.n, search.limit = 0, INFINITY
        if search.radius < search.max_distance:
            search.limit = largest_within(search.radius, search.root)
        return
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
            set_limit(search, min(-search.items[search.k - 1].key, search.radius))
        return
    search.items[search.n] = item
    search.n += 1
    if search.n == search.capacity:
        select_first(search.items, search.n, search.k)
        search.n = search.k
        set_limit(search, min(-search.items[search.k - 1].key, search.radius))


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


cdef inline int n_bits(uint32_t bits) noexcept nogil:
    """How many bits are set, counted in pairs, fours, bytes."""
    bits -= bits >> 1 & 0x55555555
    bits = (bits & 0x33333333) + (bits >> 2 & 0x33333333)
    return ((bits + (bits >> 4) & 0x0F0F0F0F) * <uint32_t>0x01010101) >> 24


cdef inline uint32_t first_bits(Py_ssize_t n) noexcept nogil:
    return <uint32_t>-1 if n >= 32 else (<uint32_t>1 << n) - 1


@final
cdef class KDTree(Tree):
    """A tree to search in; see `Tree` for the parameters."""

    cdef fnn_block block_kernels(self) noexcept:
        cdef const fnn_kernels *kernels = active_kernels()
        cdef fnn_block_family family = kernels.block_squares
        if self.period_data != NULL:
            if self.norm == CHEBYSHEV:
                return kernels.block_periodic_largest
            return (
                kernels.block_periodic_absolutes if self.norm == L1
                else kernels.block_periodic_squares
            )
        if self.norm == L1:
            family = kernels.block_absolutes
        elif self.norm == CHEBYSHEV:
            family = kernels.block_largest
        if self.value_bytes == sizeof(uint8_t):
            return family.u8
        return family.f32 if self.value_bytes == sizeof(float) else family.f64

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
        start_query(search)
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
                if not is_counted(self, j):
                    search.query[j] = 0.0

    cdef inline void scan_leaf(self, Search *search, Py_ssize_t leaf) noexcept nogil:
        cdef const uint32_t *indices = self.indices + leaf * LEAF_POINTS
        cdef uint32_t bits
        cdef int i
        if search.allowed != NULL and search.allowed[leaf] == 0:
            return
        bits = search.kernels.points(
            search.query, search.weights, search.periods, self.points + leaf * self.point_bytes,
            LEAF_POINTS, self.n_features, search.limit,
            search.root and search.collect != COUNTED, search.distances,
        )
        search.n_leaves += 1
        if search.allowed != NULL:
            bits &= search.allowed[leaf]
        if leaf == self.n_nodes[0] - 1:
            bits &= first_bits(self.n_samples - leaf * LEAF_POINTS)
        if search.collect == COUNTED:
            search.n += n_bits(bits)
            return
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
        cdef const char *low = boxes_of(self, level, node)
        return first_bits(n_children(self, level, node)) & search.kernels.boxes(
            search.query, search.weights, search.periods, low, low + self.box_bytes,
            self.n_features, limit, search.distances,
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
            for child in range(1, n_children(self, level, node)):
                best = child if search.distances[child] < least else best
                least = min(least, search.distances[child])
            node = node * FAN_OUT + best
            level -= 1
        return node

    # ---- many queries ---------------------------------------------------------------------

    cdef object nearest_leaves(
        self, cnp.ndarray X, Py_ssize_t first, Py_ssize_t n, SearchMemory memory,
    ):
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
        object leaves=None,
        double max_distance=INFINITY,
    ):
        """Return the k nearest samples to each row of X, and how many were visited; or None.

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
        leaves : ndarray of uint32, optional
            Which samples may be found, at least k: see `leaves_where`.
        max_distance : float
            No sample further away is found: there may be less than k.

        Returns
        -------
        distances : ndarray of shape (n_queries, k), float64
            Infinity where no sample was found.
        indices : ndarray of shape (n_queries, k), int64
            n_samples where no sample was found.
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
        memory.start(
            self, SORTED if wanted <= MAX_SORTED else NEAREST, max_distance, wanted, leaves
        )
        distances = cnp.PyArray_EMPTY(2, shape, cnp.NPY_FLOAT64, 0)
        indices = cnp.PyArray_EMPTY(2, shape, cnp.NPY_INT64, 0)
        for first in range(0, n_queries, n_queries if X is self.Y else TREE_SLICE_QUERIES):
            n = min(TREE_SLICE_QUERIES, n_queries - first)
            n = n_queries if X is self.Y else n
            homes = None
            if X is self.Y:
                order = <uint32_t[:n_queries]>self.indices
            else:
                homes = self.nearest_leaves(X, first, n, memory)
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
        object leaves=None,
        object radii=None,
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
        leaves : ndarray of uint32, optional
            Which samples may be found: see `leaves_where`.
        radii : ndarray of shape (n_queries,), float64, optional
            One for each query, instead of the radius.

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
        memory.start(self, WITHIN, radius, 0, leaves)
        own_leaves = self.leaves_of_samples() if X is self.Y else None
        slices = []
        while first < n_queries:
            n = min(size, n_queries - first)
            if X is self.Y:
                homes = own_leaves[first:first + n]
            else:
                homes = self.nearest_leaves(X, first, n, memory)
            found = self.find_within(
                X, first, homes, memory, sort_results, exclude_self, with_distances, radii
            )
            slices.append(found)
            first += n
            # Many queries at a time have more of their neighbors in common.
            size = SLICE_PAIRS * n // max(1, len(found[2]))
            size = max(<Py_ssize_t>TREE_QUERIES_PER_TASK, min(size, <Py_ssize_t>TREE_SLICE_QUERIES))
        return slices

    def count_within(
        self, cnp.ndarray X, const double[::1] radii, int n_threads, object leaves=None
    ):
        """Return how many samples are within the radius of each row of X, as int64; or None.

        Parameters
        ----------
        X : ndarray of shape (n_queries, n_features)
            C-contiguous, of Y's dtype.
        radii : ndarray of shape (n_queries,) or (1,), float64
            Not NaN. Squared for "sqeuclidean".
        n_threads : int
        leaves : ndarray of uint32, optional
            Which samples are counted: see `leaves_where`.

        None when a value of X or Y is not finite.
        """
        cdef Py_ssize_t n_queries = X.shape[0], first, n
        cdef SearchMemory memory
        cdef IEEEScope _ieee = ieee_scope()
        cdef CountOfSlice c
        cdef const uint32_t[::1] order
        cdef bint of_itself = X is self.Y
        n_threads = threads_for(n_threads, n_queries, nanoseconds_to_descend(n_queries))
        if not self.usable or (not of_itself and not all_finite(X, n_threads)):
            return None
        memory = SearchMemory(n_threads, self.n_features, 1)
        memory.start(self, COUNTED, 0.0, 0, leaves)
        counts = np.empty(n_queries, np.int64)
        c.tree, c.searches = <void *>self, memory.searches
        c.rows, c.row_bytes = <const char *>cnp.PyArray_DATA(X), self.n_features * self.value_bytes
        c.counts = <int64_t *>cnp.PyArray_DATA(counts)
        c.radii, c.each = &radii[0] if n_queries else NULL, radii.shape[0] > 1
        for first in range(0, n_queries, n_queries if of_itself else TREE_SLICE_QUERIES):
            if of_itself:
                n, order = n_queries, <uint32_t[:n_queries]>self.indices
            else:
                n = min(<Py_ssize_t>TREE_SLICE_QUERIES, n_queries - first)
                order = self.order_of(self.nearest_leaves(X, first, n, memory))
            c.order, c.first, c.n = &order[0], first, n
            run_queries(count_task, &c, n, n_threads, None, 0.0)
        return counts

    def leaves_where(self, cnp.ndarray mask):
        """Return the bits of each leaf's samples that a mask of all samples chooses, as uint32.

        None when a value of Y is not finite: there are no leaves.
        """
        cdef const uint8_t *chosen = <const uint8_t *>cnp.PyArray_DATA(mask)
        if not self.usable:
            return None
        leaves = np.zeros(self.n_nodes[0], np.uint32)
        cdef uint32_t[::1] bits = leaves
        cdef Py_ssize_t i
        for i in range(self.n_samples):
            bits[i // LEAF_POINTS] |= <uint32_t>chosen[self.indices[i]] << i % LEAF_POINTS
        return leaves

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
        bint by_distance, bint exclude_self, bint with_distances, const double[::1] radii,
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
        w.radii = NULL if radii is None else &radii[0]
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
            search, s.distances + row * s.k, s.indices + row * s.k, row if s.exclude_self else -1,
            (<KDTree>s.tree).n_samples,
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
    # Of all queries; NULL: all have one.
    const double *radii
    # Where they are written, and where those of each query end.
    double *distances
    int64_t *indices
    const int64_t *ends


cdef void within_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const WithinSlice *w = <const WithinSlice *>context
    cdef Py_ssize_t start = task * TREE_QUERIES_PER_TASK, i, query
    for i in range(start, min(start + TREE_QUERIES_PER_TASK, w.n)):
        query = w.order[i]
        if w.radii != NULL:
            w.searches[thread].radius = w.radii[w.first + query]
        w.finder[query], w.place[query] = thread, w.searches[thread].n
        w.count[query] = (<KDTree>w.tree).collect_within(
            &w.searches[thread], w.rows, w.first + query, w.by_distance, w.exclude_self
        )


cdef struct CountOfSlice:
    void *tree
    Search *searches
    Py_ssize_t n
    const char *rows
    Py_ssize_t row_bytes
    const uint32_t *order
    Py_ssize_t first
    # Of all queries, or one for all of them.
    const double *radii
    bint each
    int64_t *counts


cdef void count_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef const CountOfSlice *c = <const CountOfSlice *>context
    cdef Search *search = &c.searches[thread]
    cdef Py_ssize_t start = task * TREE_QUERIES_PER_TASK, i, row
    for i in range(start, min(start + TREE_QUERIES_PER_TASK, c.n)):
        row = c.first + c.order[i]
        search.radius = c.radii[row] if c.each else c.radii[0]
        (<KDTree>c.tree).find(search, c.rows, row, -1)
        c.counts[row] = search.n


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
    Search *search, double *distances, int64_t *indices, int64_t itself, int64_t nobody
) noexcept nogil:
    cdef Py_ssize_t k = search.k, i
    if search.collect == NEAREST:
        for i in range(search.n, k):  # fewer were near enough
            search.items[i].key = -INFINITY
            search.items[i].index = INT64_MAX
        select_first(search.items, max(search.n, k), k)
        sort_candidates(search.items, k)
    if itself >= 0:
        k = leave_out(search.items, k, itself)
    write_pairs(search.items, k, distances, indices)
    if search.radius < INFINITY:
        # A limit before the root is taken lets some pass that are a little further away.
        for i in range(k):
            if distances[i] > search.radius:
                distances[i] = INFINITY
                indices[i] = nobody


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
