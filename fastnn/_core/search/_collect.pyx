"""Collectors: what becomes of the pairs that a scan finds.

A scan tells of a pair in one of two ways. `push` gives a lower bound of its key (integer tiles: the
key itself); the pair is *pending* until `settle` evaluates its distance. `take` gives the distance,
where rows were compared rather than tiles. Splits of the samples have lists of their own, which are
merged in the end: the order of pairs is total, so it does not matter how they came together.

- `Nearest`: the k nearest. If k samples have lower bounds of at least L, one whose key is below L
  by more than its error cannot be among the k nearest; L only rises. Where bounds cannot tell
  samples apart (near-ties, duplicates), the pending are settled, and L is the k-th's own.
- `Within`: all within a radius. The bound is the key of the radius itself. Lists are settled before
  they grow, so that they hold no more than twice what is found.
"""

from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

import numpy as np

cimport numpy as cnp

from ._index cimport BY_BOUNDS, BY_ROWS, BY_TILES
from .._jobs cimport fnn_load, fnn_store, run_job, threads_for
from .._rows cimport PRODUCT
from ._topk cimport (
    insert_key,
    leave_out,
    precedes,
    select_first_of_many,
    sort_candidates,
)
from .._tuning cimport FINISH_QUERIES, MAX_SORTED, RADIUS_LIST_BYTES, nanoseconds_to_pack

cnp.import_array()

cdef enum:
    FIRST_CAPACITY = 32


cdef class Collector:
    """What a scan hands its pairs to; of splits and queries, slot = split * n_queries + query."""

    cdef object attach(self, FlatIndex index, ExactDistances exact, Mode mode, int n_threads):
        self.index, self.exact, self.mode, self.n_threads = index, exact, mode, n_threads
        self.root, self.norm = index.metric == "l2", index.norm

    cdef object begin(self, Py_ssize_t n_splits, const double *terms, const double *query_errors):
        self.n_splits, self.n_queries = n_splits, self.exact.X.n_rows
        self.terms, self.query_errors = terms, query_errors
        bounds = np.full(n_splits * self.n_queries, -np.inf)
        self.bounds = <double *>cnp.PyArray_DATA(bounds)
        self.keep_alive = bounds

    # ---- units ----------------------------------------------------------------------------

    cdef double rooted(self, double distance) noexcept nogil:
        """The distance as it is returned, from what exact distances give."""
        return sqrt(distance) if self.root else distance

    cdef double unrooted(self, double distance) noexcept nogil:
        """What exact distances may be at most; a little more where roots may round together."""
        return distance * distance * (1.0 + 2.0 ** -50) if self.root else distance

    cdef double key_of(self, Py_ssize_t query, double distance) noexcept nogil:
        """The key that belongs to a distance, as it is returned, from this query."""
        distance = distance * self.index.scale
        if self.root:
            distance = distance * distance
        elif self.index.is_quadratic():
            distance = distance * self.index.scale
        return (self.terms[query] - distance) / self.index.expansion.beta

    cdef double lower_bound(self, Py_ssize_t query, double distance, int64_t index) noexcept nogil:
        """A key that a sample of this distance is sure to have."""
        cdef double error = self.query_errors[query] + self.index.errors[index], key
        if error == INFINITY:
            return -INFINITY
        key = self.key_of(query, distance) - error
        return key if key > -1e300 else -INFINITY

    # ---- what a scan calls ----------------------------------------------------------------

    cdef void push(
        self, Py_ssize_t slot, Py_ssize_t query, double low, int64_t index, int thread
    ) noexcept nogil:
        """Take a pair whose key is at least `low`."""

    cdef void settle(self, Py_ssize_t slot, Py_ssize_t query, int thread) noexcept nogil:
        """Evaluate what is pending."""

    cdef void take(
        self, Py_ssize_t slot, Py_ssize_t query, double distance, int64_t index, int thread
    ) noexcept nogil:
        """Take a pair of this distance, as it is returned; nothing of the slot is pending."""

    cdef double limit(self, Py_ssize_t slot) noexcept nogil:
        """What exact distances may be at most for a pair to be taken."""
        return INFINITY

    # ---- when all pairs have come ---------------------------------------------------------

    cdef Py_ssize_t n_finish_tasks(self) noexcept nogil:
        return (self.n_queries + FINISH_QUERIES - 1) // FINISH_QUERIES

    cdef void finish_task(self, Py_ssize_t task, int thread) noexcept nogil:
        cdef Py_ssize_t start = task * FINISH_QUERIES, query
        for query in range(start, min(start + FINISH_QUERIES, self.n_queries)):
            self.finish_query(query, thread)

    cdef void finish_query(self, Py_ssize_t query, int thread) noexcept nogil:
        """Decide what is left of a query."""


cdef class ListOfNearest(Collector):
    """What collectors of the k nearest have in common: their lists, and k of each in the end."""

    cdef object make_lists(self, Py_ssize_t n_numbers, double first_number):
        """Have an empty list for each slot, and so many numbers beside it."""
        cdef Py_ssize_t slots = self.n_splits * self.n_queries, i
        cdef Py_ssize_t per_thread = self.n_threads * self.n_splits * self.capacity
        self.memory = malloc(
            (slots * self.capacity + per_thread) * sizeof(Candidate)
            + slots * (2 * sizeof(Py_ssize_t) + n_numbers * sizeof(double))
            + per_thread * (sizeof(int64_t) + sizeof(double))
        )
        if self.memory == NULL:
            raise MemoryError()
        self.candidates = <Candidate *>self.memory
        self.scratch = self.candidates + slots * self.capacity
        self.counts = <Py_ssize_t *>(self.scratch + per_thread)
        self.settled = self.counts + slots
        self.scratch_indices = <int64_t *>(self.settled + slots)
        self.scratch_distances = <double *>(self.scratch_indices + per_thread)
        self.numbers = self.scratch_distances + per_thread if n_numbers > 0 else NULL
        memset(self.counts, 0, 2 * slots * sizeof(Py_ssize_t))
        for i in range(slots * n_numbers):
            self.numbers[i] = first_number

    def __dealloc__(self):
        free(self.memory)

    cdef void write_to(self, double *distances, int64_t *indices, Py_ssize_t first_self):
        """Have each query's neighbors written there, ascending by (distance, index)."""
        self.distances, self.indices, self.first_self = distances, indices, first_self

    cdef void finish_query(self, Py_ssize_t query, int thread) noexcept nogil:
        cdef Candidate *items = self.scratch + thread * self.n_splits * self.capacity
        cdef Py_ssize_t n = self.k, i
        self.merge(query, items, thread)
        sort_candidates(items, self.k)
        if self.first_self >= 0:
            n = leave_out(items, self.k, self.first_self + query)
        for i in range(n):
            self.distances[query * n + i] = self.distance_of(query, items[i].key)
            self.indices[query * n + i] = items[i].index

    cdef double distance_of(self, Py_ssize_t query, double key) noexcept nogil:
        """The distance, as it is returned, that belongs to a key in the end."""
        return -key

    cdef Py_ssize_t gather(self, Py_ssize_t query, Candidate *items) noexcept nogil:
        """Copy the lists of all splits; return how many candidates that are."""
        cdef Py_ssize_t n = 0, split, slot
        for split in range(self.n_splits):
            slot = split * self.n_queries + query
            memcpy(
                items + n, self.candidates + slot * self.capacity,
                self.counts[slot] * sizeof(Candidate),
            )
            n += self.counts[slot]
        return n

    cdef void merge(self, Py_ssize_t query, Candidate *items, int thread) noexcept nogil:
        """Have the k nearest of all splits at the front of `items`, with their last keys."""
        cdef Py_ssize_t split, n
        for split in range(self.n_splits):
            self.settle(split * self.n_queries + query, query, thread)
        n = self.gather(query, items)
        select_first_of_many(items, n, self.k)


cdef class Nearest(ListOfNearest):
    """The k nearest of each query."""

    def __init__(self, Py_ssize_t k, Py_ssize_t n_samples):
        self.k = k
        # Room for k more candidates, and for a fair number where k is small.
        self.capacity = min(2 * k + 48, max(n_samples, k) + 1)
        self.list_bytes = self.capacity * sizeof(Candidate)
        self.many_hits = 2 * self.capacity

    cdef object begin(self, Py_ssize_t n_splits, const double *terms, const double *query_errors):
        Collector.begin(self, n_splits, terms, query_errors)
        self.make_lists(self.k if self.k <= MAX_SORTED and self.mode != BY_ROWS else 0, -INFINITY)

    cdef void push(
        self, Py_ssize_t slot, Py_ssize_t query, double low, int64_t index, int thread
    ) noexcept nogil:
        cdef Candidate *items = self.candidates + slot * self.capacity
        items[self.counts[slot]].key = low
        items[self.counts[slot]].index = index
        self.counts[slot] += 1
        if self.numbers != NULL and insert_key(self.numbers + slot * self.k, self.k, low):
            self.raise_bound(slot, self.numbers[slot * self.k + self.k - 1])
        if self.counts[slot] == self.capacity:
            self.compact(slot, query, thread)

    cdef void compact(self, Py_ssize_t slot, Py_ssize_t query, int thread) noexcept nogil:
        """Raise the bound to the k-th key and drop what can no longer be among the k nearest."""
        cdef Candidate *items = self.candidates + slot * self.capacity
        cdef Py_ssize_t n = self.counts[slot], kept = self.k
        if self.settled[slot] > 0:
            # There have been near-ties before.
            self.settle(slot, query, thread)
            return
        if self.numbers != NULL:
            kept = self.keep_possible(items, n, self.bounds[slot], query, items)
        else:
            select_first_of_many(items, n, self.k)
            self.raise_bound(slot, items[self.k - 1].key)
            if self.mode == BY_BOUNDS:  # else the others lose ties
                kept += self.keep_possible(
                    items + self.k, n - self.k, self.bounds[slot], query, items + self.k
                )
        self.counts[slot] = kept
        if kept > self.k + (self.capacity - self.k) // 2:
            if self.mode == BY_BOUNDS:
                self.settle(slot, query, thread)
            else:  # ties that come in another order
                select_first_of_many(items, kept, self.k)
                self.counts[slot] = self.k

    cdef void raise_bound(self, Py_ssize_t slot, double bound) noexcept nogil:
        if bound > self.bounds[slot]:
            self.bounds[slot] = bound

    cdef Py_ssize_t keep_possible(
        self, const Candidate *items, Py_ssize_t n, double bound, Py_ssize_t query, Candidate *kept
    ) noexcept nogil:
        """Copy what may have a key of at least the bound; return how many that are."""
        cdef Py_ssize_t n_kept = 0, i
        cdef double error = 0.0
        for i in range(n):
            if self.mode == BY_BOUNDS:
                error = self.query_errors[query] + self.index.errors[items[i].index]
            if error == INFINITY or items[i].key + 2.0 * error >= bound:
                kept[n_kept] = items[i]
                n_kept += 1
        return n_kept

    cdef void evaluate(
        self, Candidate *items, Py_ssize_t n, Py_ssize_t query, int thread
    ) noexcept nogil:
        """Replace lower bounds by -distance."""
        cdef int64_t *indices = self.scratch_indices + thread * self.n_splits * self.capacity
        cdef double *distances = self.scratch_distances + thread * self.n_splits * self.capacity
        cdef Py_ssize_t i
        for i in range(n):
            indices[i] = items[i].index
        self.exact.evaluate(query, 0, indices, n, thread, distances)
        for i in range(n):
            items[i].key = -self.rooted(distances[i])

    cdef void settle(self, Py_ssize_t slot, Py_ssize_t query, int thread) noexcept nogil:
        cdef Candidate *items = self.candidates + slot * self.capacity
        cdef Py_ssize_t n = self.counts[slot], done = self.settled[slot]
        if self.mode != BY_BOUNDS:
            return  # keys are distances
        self.evaluate(items + done, n - done, query, thread)
        self.settled[slot] = n
        self.cut(slot, query)

    cdef void cut(self, Py_ssize_t slot, Py_ssize_t query) noexcept nogil:
        """Keep the k nearest of what is settled, which is all there is."""
        cdef Candidate *items = self.candidates + slot * self.capacity
        if self.counts[slot] < self.k:
            return
        select_first_of_many(items, self.counts[slot], self.k)
        self.counts[slot] = self.settled[slot] = self.k
        if self.mode == BY_ROWS:
            self.raise_bound(slot, items[self.k - 1].key)
        else:
            self.raise_bound(
                slot,
                self.lower_bound(query, -items[self.k - 1].key, items[self.k - 1].index),
            )

    cdef void take(
        self, Py_ssize_t slot, Py_ssize_t query, double distance, int64_t index, int thread
    ) noexcept nogil:
        cdef Candidate *items = self.candidates + slot * self.capacity
        cdef Candidate item
        item.key, item.index = -distance, index
        # After a cut the k-th is in its place.
        if self.counts[slot] >= self.k and not precedes(item, items[self.k - 1]):
            return
        items[self.counts[slot]] = item
        self.counts[slot] += 1
        self.settled[slot] = self.counts[slot]
        if self.counts[slot] == self.capacity or self.counts[slot] == self.k:
            self.cut(slot, query)

    cdef double limit(self, Py_ssize_t slot) noexcept nogil:
        if self.counts[slot] < self.k:
            return INFINITY
        if (
            self.in_order and self.norm != PRODUCT
            and self.candidates[slot * self.capacity + self.k - 1].key == 0.0
        ):
            return -1.0  # later rows lose ties
        return self.unrooted(-self.candidates[slot * self.capacity + self.k - 1].key)

    # ---- results --------------------------------------------------------------------------

    cdef double distance_of(self, Py_ssize_t query, double key) noexcept nogil:
        return self.rooted(self.terms[query] - key) if self.mode == BY_TILES else -key

    cdef void merge(self, Py_ssize_t query, Candidate *items, int thread) noexcept nogil:
        cdef Py_ssize_t n, n_settled = 0, split
        for split in range(self.n_splits):
            n_settled += self.settled[split * self.n_queries + query]
        if self.mode != BY_BOUNDS or n_settled > 0:
            ListOfNearest.merge(self, query, items, thread)
            return
        n = self.gather(query, items)
        select_first_of_many(items, n, self.k)
        n = self.k + self.keep_possible(
            items + self.k, n - self.k, items[self.k - 1].key, query, items + self.k
        )
        self.evaluate(items, n, query, thread)
        select_first_of_many(items, n, self.k)


cdef class Within(Collector):
    """All samples within the radius of each query."""

    def __init__(self, double radius, bint by_distance):
        self.radius, self.by_distance = radius, by_distance
        self.list_bytes = RADIUS_LIST_BYTES
        self.many_hits = 128

    cdef object begin(self, Py_ssize_t n_splits, const double *terms, const double *query_errors):
        Collector.begin(self, n_splits, terms, query_errors)
        cdef Py_ssize_t slots = n_splits * self.n_queries, slot
        self.counts = np.empty(self.n_queries, dtype=np.int64)
        self.found = <int64_t *>cnp.PyArray_DATA(self.counts)
        self.hits = <Hits *>calloc(slots, sizeof(Hits))
        if self.hits == NULL:
            raise MemoryError()
        if self.mode != BY_ROWS:
            for slot in range(slots):
                self.bounds[slot] = self.bound_of(slot % self.n_queries)

    def __dealloc__(self):
        cdef Py_ssize_t i
        if self.hits != NULL:
            for i in range(self.n_splits * self.n_queries):
                free(self.hits[i].items)
        free(self.hits)

    cdef double bound_of(self, Py_ssize_t query) noexcept nogil:
        cdef double key
        if self.mode == BY_TILES:
            # Integer lanes have to exceed the bound; a little too low does no harm.
            return self.terms[query] - self.unrooted(self.radius) - 1.0
        if self.query_errors[query] == INFINITY:
            return -INFINITY
        key = self.key_of(query, self.radius)
        return key if key > -1e38 else -INFINITY

    cdef double limit(self, Py_ssize_t slot) noexcept nogil:
        return self.unrooted(self.radius)

    cdef void push(
        self, Py_ssize_t slot, Py_ssize_t query, double low, int64_t index, int thread
    ) noexcept nogil:
        cdef Hits *hits = &self.hits[slot]
        if hits.n == hits.capacity:
            self.settle(slot, query, thread)
            if not self.has_room(hits):
                return
        hits.items[hits.n].index = index
        hits.n += 1

    cdef bint has_room(self, Hits *hits) noexcept nogil:
        """Grow a list that is more than half full of neighbors."""
        cdef Py_ssize_t capacity = max(<Py_ssize_t>FIRST_CAPACITY, 2 * hits.capacity)
        cdef Candidate *grown
        if 2 * hits.n < hits.capacity:
            return True
        if not fnn_load(&self.out_of_memory):
            grown = <Candidate *>realloc(hits.items, capacity * sizeof(Candidate))
            if grown != NULL:
                hits.items, hits.capacity = grown, capacity
                return True
        fnn_store(&self.out_of_memory, True)
        return hits.n < hits.capacity

    cdef void settle(self, Py_ssize_t slot, Py_ssize_t query, int thread) noexcept nogil:
        """Keep those of the pending that are neighbors."""
        cdef Hits *hits = &self.hits[slot]
        cdef int64_t indices[FIRST_CAPACITY]
        cdef double distances[FIRST_CAPACITY]
        cdef Py_ssize_t done = hits.settled, n, m, i
        hits.n, n = hits.settled, hits.n
        while done < n:
            m = min(<Py_ssize_t>FIRST_CAPACITY, n - done)
            for i in range(m):
                indices[i] = hits.items[done + i].index
            done += m
            m = self.find_distances(query, indices, m, thread, distances)
            for i in range(m):
                self.keep(hits, distances[i], indices[i])
        hits.settled = hits.n

    cdef Py_ssize_t find_distances(
        self, Py_ssize_t query, int64_t *indices, Py_ssize_t n, int thread, double *distances
    ) noexcept nogil:
        """Evaluate distances, as they are returned; move those that matter to the front."""
        cdef Py_ssize_t i
        self.exact.evaluate(query, 0, indices, n, thread, distances)
        for i in range(n):
            distances[i] = self.rooted(distances[i])
        return n

    cdef void keep(self, Hits *hits, double distance, int64_t index) noexcept nogil:
        if distance <= self.radius:
            hits.items[hits.n].key = -distance
            hits.items[hits.n].index = index
            hits.n += 1

    cdef void take(
        self, Py_ssize_t slot, Py_ssize_t query, double distance, int64_t index, int thread
    ) noexcept nogil:
        cdef Hits *hits = &self.hits[slot]
        if hits.n == hits.capacity and not self.has_room(hits):
            return
        self.keep(hits, distance, index)
        hits.settled = hits.n

    # ---- results --------------------------------------------------------------------------

    cdef void finish_query(self, Py_ssize_t query, int thread) noexcept nogil:
        """Settle what is pending, leave out the query itself, and count the rest."""
        cdef Py_ssize_t total = 0, split, kept, i
        cdef int64_t itself = self.first_self + query if self.first_self >= 0 else -1
        cdef Hits *hits
        for split in range(self.n_splits):
            self.settle(split * self.n_queries + query, query, thread)
            hits = &self.hits[split * self.n_queries + query]
            kept = 0
            for i in range(hits.n):
                if hits.items[i].index != itself:
                    hits.items[kept] = hits.items[i]
                    kept = kept + 1
            hits.n = hits.settled = kept
            total = total + kept
        self.found[query] = total

    cdef object results(self):
        """Return (counts, distances, indices) of the slice, one query after the other."""
        cdef Py_ssize_t n_tasks = self.n_finish_tasks(), n_found
        starts = np.concatenate(([0], np.cumsum(self.counts)))
        n_found = starts[self.n_queries]
        distances = np.empty(n_found)
        indices = np.empty(n_found, dtype=np.int64)
        self.starts = <const int64_t *>cnp.PyArray_DATA(starts)
        self.distances = <double *>cnp.PyArray_DATA(distances)
        self.indices = <int64_t *>cnp.PyArray_DATA(indices)
        run_job(
            write_task, <void *>self, n_tasks,
            threads_for(self.n_threads, n_tasks, nanoseconds_to_pack(10.0 * n_found)),
        )
        return self.counts, distances, indices

    cdef void write(self, Py_ssize_t query) noexcept nogil:
        """Write a query's neighbors in order: split after split, each of which ascends by index."""
        cdef double *distances = self.distances + self.starts[query]
        cdef int64_t *indices = self.indices + self.starts[query]
        cdef Py_ssize_t n = 0, split
        cdef Hits *hits
        for split in range(self.n_splits):
            hits = &self.hits[split * self.n_queries + query]
            if self.by_distance:
                sort_candidates(hits.items, hits.n)
            self.merge(hits, distances, indices, n)
            n = n + hits.n
            free(hits.items)
            hits.items = NULL
            hits.n = hits.settled = hits.capacity = 0

    cdef void merge(
        self, const Hits *hits, double *distances, int64_t *indices, Py_ssize_t n
    ) noexcept nogil:
        """Merge a split's neighbors with the n that are written already, from behind."""
        cdef Py_ssize_t i = n - 1, j = hits.n - 1, place = n + hits.n - 1
        cdef bint later
        cdef Candidate item
        while j >= 0:
            item = hits.items[j]
            later = i >= 0 and (
                indices[i] > item.index
                if not self.by_distance
                else distances[i] > -item.key
                or (distances[i] == -item.key and indices[i] > item.index)
            )
            if later:
                distances[place], indices[place] = distances[i], indices[i]
                i = i - 1
            else:
                distances[place], indices[place] = -item.key, item.index
                j = j - 1
            place = place - 1


cdef void write_task(void *context, Py_ssize_t task, int thread) noexcept nogil:
    cdef Py_ssize_t start = task * FINISH_QUERIES, query
    for query in range(start, min(start + FINISH_QUERIES, (<Within>context).n_queries)):
        (<Within>context).write(query)
