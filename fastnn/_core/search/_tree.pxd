"""A k-d tree of wide nodes: its memory, and how to go about it. See _tree.pyx."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cimport numpy as cnp

from .._dispatch cimport FNN_BLOCK_BOXES
from .._rows cimport Norm
from .._tuning cimport LEAF_POINTS, MAX_RANGES

ctypedef fused Value:
    float
    double
    uint8_t


cdef enum:
    FAN_OUT = FNN_BLOCK_BOXES
    # LEAF_POINTS * FAN_OUT ** MAX_LEVELS exceeds any number of samples.
    MAX_LEVELS = 20


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


cdef class Tree:
    cdef readonly cnp.ndarray Y
    cdef readonly str metric
    cdef readonly object weights
    cdef readonly object periods
    cdef readonly double max_distance
    cdef const double *weight_data
    cdef const double *period_data
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

    cdef object set_up(
        self, cnp.ndarray Y, str metric, object weights, double max_distance, object periods
    )
    cdef object load(self, cnp.ndarray points, cnp.ndarray boxes, cnp.ndarray indices)
    cdef object plan_levels(self)
    cdef object allocate(self)
    cdef int build(self, int n_threads, advance) except -1
    cdef int sort_into_leaves(self, Sorting *sorting, int n_threads, advance) except -1
    cdef void keep_samples(self, const uint64_t *items) noexcept nogil
    cdef void pack_leaves(self, Py_ssize_t first, Py_ssize_t last) noexcept nogil
    cdef void bound_nodes(self) noexcept nogil
    cdef void pack_leaf(self, const Value *rows, Py_ssize_t leaf) noexcept nogil
    cdef void bound_node(
        self, const Value *rows, Py_ssize_t level, Py_ssize_t node
    ) noexcept nogil


cdef inline Py_ssize_t n_children(Tree tree, Py_ssize_t level, Py_ssize_t node) noexcept nogil:
    return min(<Py_ssize_t>FAN_OUT, tree.n_nodes[level - 1] - node * FAN_OUT)


cdef inline char *boxes_of(Tree tree, Py_ssize_t level, Py_ssize_t node) noexcept nogil:
    """The boxes of a node's children: all their lower ends, then the upper ones."""
    return tree.boxes + 2 * (tree.first_node[level] + node) * tree.box_bytes


cdef inline bint is_counted(Tree tree, Py_ssize_t feature) noexcept nogil:
    """Whether it has a weight; else it is taken as 0: squares of differences may overflow."""
    return tree.weight_data == NULL or tree.weight_data[feature] != 0.0


cdef bint all_finite(cnp.ndarray X, int n_threads) except -1
