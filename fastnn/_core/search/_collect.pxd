"""Collectors: what becomes of the pairs that a scan finds. See _collect.pyx."""

from libc.stdint cimport int64_t

from ._index cimport FlatIndex, Mode
from .._rows cimport ExactDistances, Norm
from ._topk cimport Candidate


cdef class Collector:
    # [n_splits][n_queries]: keys that lanes have to reach (integers: exceed) to be pushed.
    cdef double *bounds
    cdef Mode mode
    # Whether samples come in the order of their indices.
    cdef bint in_order
    cdef bint root
    cdef Norm norm
    cdef int n_threads
    cdef Py_ssize_t n_splits, n_queries
    # Hits of a query in a block from which on rows are sooner than tiles; 0: never.
    cdef Py_ssize_t many_hits
    # About what the list of a slot takes.
    cdef Py_ssize_t list_bytes
    # The exact distance.
    cdef ExactDistances exact
    cdef FlatIndex index
    # Of the queries: a(q), and the errors' shares.
    cdef const double *terms
    cdef const double *query_errors
    # For MemoryError, as soon as the threads are back.
    cdef int64_t out_of_memory
    # Query q is sample first_self + q and left out, unless first_self is negative.
    cdef Py_ssize_t first_self
    cdef object keep_alive

    cdef object attach(self, FlatIndex index, ExactDistances exact, Mode mode, int n_threads)
    cdef object begin(self, Py_ssize_t n_splits, const double *terms, const double *query_errors)
    cdef double rooted(self, double distance) noexcept nogil
    cdef double unrooted(self, double distance) noexcept nogil
    cdef double key_of(self, Py_ssize_t query, double distance) noexcept nogil
    cdef double lower_bound(self, Py_ssize_t query, double distance, int64_t index) noexcept nogil

    cdef void push(
        self, Py_ssize_t slot, Py_ssize_t query, double low, int64_t index, int thread
    ) noexcept nogil
    cdef void settle(self, Py_ssize_t slot, Py_ssize_t query, int thread) noexcept nogil
    cdef void take(
        self, Py_ssize_t slot, Py_ssize_t query, double distance, int64_t index, int thread
    ) noexcept nogil
    cdef double limit(self, Py_ssize_t slot) noexcept nogil
    cdef void finish_query(self, Py_ssize_t query, int thread) noexcept nogil
    cdef void finish_task(self, Py_ssize_t task, int thread) noexcept nogil
    cdef Py_ssize_t n_finish_tasks(self) noexcept nogil


cdef class ListOfNearest(Collector):
    # Room for candidates of each slot.
    cdef Py_ssize_t k, capacity
    cdef void *memory
    # [n_splits][n_queries][capacity]: the settled, whose keys are -distance, then the pending.
    cdef Candidate *candidates
    cdef Py_ssize_t *counts
    cdef Py_ssize_t *settled
    # What is kept of each slot beside its list, so many numbers of each; NULL: nothing.
    cdef double *numbers
    # [n_threads][n_splits * capacity] each
    cdef Candidate *scratch
    cdef int64_t *scratch_indices
    cdef double *scratch_distances
    # Where the neighbors go, k of each query, or k - 1 without itself.
    cdef double *distances
    cdef int64_t *indices

    cdef object make_lists(self, Py_ssize_t n_numbers, double first_number)
    cdef void write_to(self, double *distances, int64_t *indices, Py_ssize_t first_self)
    cdef double distance_of(self, Py_ssize_t query, double key) noexcept nogil
    cdef Py_ssize_t gather(self, Py_ssize_t query, Candidate *items) noexcept nogil
    cdef void merge(self, Py_ssize_t query, Candidate *items, int thread) noexcept nogil


# Numbers are [n_splits][n_queries][k]: the largest lower bounds so far, descending.
cdef class Nearest(ListOfNearest):
    cdef void compact(self, Py_ssize_t slot, Py_ssize_t query, int thread) noexcept nogil
    cdef void raise_bound(self, Py_ssize_t slot, double bound) noexcept nogil
    cdef Py_ssize_t keep_possible(
        self, const Candidate *items, Py_ssize_t n, double bound, Py_ssize_t query, Candidate *kept
    ) noexcept nogil
    cdef void evaluate(
        self, Candidate *items, Py_ssize_t n, Py_ssize_t query, int thread
    ) noexcept nogil
    cdef void cut(self, Py_ssize_t slot, Py_ssize_t query) noexcept nogil


# The settled, whose keys are -distance, then the pending, of which only the index is known.
cdef struct Hits:
    Candidate *items
    Py_ssize_t n
    Py_ssize_t settled
    Py_ssize_t capacity


cdef class Within(Collector):
    cdef double radius
    cdef bint by_distance
    # [n_splits][n_queries]
    cdef Hits *hits
    # [n_queries]: how many neighbors there are; where the first is written, and where to.
    cdef object counts
    cdef int64_t *found
    cdef const int64_t *starts
    cdef double *distances
    cdef int64_t *indices

    cdef double bound_of(self, Py_ssize_t query) noexcept nogil
    cdef bint has_room(self, Hits *hits) noexcept nogil
    cdef Py_ssize_t find_distances(
        self, Py_ssize_t query, int64_t *indices, Py_ssize_t n, int thread, double *distances
    ) noexcept nogil
    cdef void keep(self, Hits *hits, double distance, int64_t index) noexcept nogil
    cdef object results(self)
    cdef void write(self, Py_ssize_t query) noexcept nogil
    cdef void merge(
        self, const Hits *hits, double *distances, int64_t *indices, Py_ssize_t n
    ) noexcept nogil
