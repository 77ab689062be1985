"""Samples that are added and removed, without building indexes again.

Samples are in blocks, each with a searcher of its own: its index, if it has one, is made once. What
is added is a new block. As long as the last block is half as large as the one before or larger, the
two become one, so that n samples are in O(log n) blocks and each row is copied O(log n) times. What
is removed stays in its block, whose searches leave it out, until half of the block is gone; then
the rest is copied.

A sample has the index that it got when it was added, for good; others never get it. Within a block
and from block to block indices ascend. So the nearest by (distance, index) of all blocks are those
of one search in all samples, bit for bit.
"""

import math
from typing import NamedTuple

import numpy as np

from .base import BaseSearcher
from .ivf import Recall
from .merging import merge_found
from .protocol import Subset
from .searcher import as_narrow_as
from .subsets import Part, in_order, read_where, without_itself

# The last two blocks become one if the last has this share of the samples of the one before.
MERGED_SHARE = 0.5
# A block is copied if less than this share of its samples is left.
KEPT_SHARE = 0.5


class Block(NamedTuple):
    """Samples that were added, or are searched, together.

    Attributes
    ----------
    rows : ndarray of shape (n, d)
    indices : ndarray of shape (n,), int64
        Ascending.
    left : Subset or None
        Of the rows: those that have not been removed; None: all.
    """

    rows: np.ndarray
    indices: np.ndarray
    left: Subset | None = None

    @property
    def n_left(self):
        return len(self.rows) if self.left is None else len(self.left)

    def rows_left(self):
        return self.rows if self.left is None else self.rows[self.left.mask]

    def indices_left(self):
        return self.indices if self.left is None else self.indices[self.left.mask]

    def among(self, subset):
        """Return which rows are in a Subset of all indices and left, as a Subset, or None: all."""
        if subset is None:
            return self.left
        if not subset.has_indices:
            return Subset(subset.mask[self.indices])
        indices, first, last = subset.indices, self.indices[0], self.indices[-1]
        start, stop = np.searchsorted(indices, [first, last + 1])
        return Subset(None, np.searchsorted(self.indices, indices[start:stop]), len(self.rows))

    def without(self, indices):
        """Return the block without the samples that have one of these indices, ascending."""
        start, stop = np.searchsorted(indices, [self.indices[0], self.indices[-1] + 1])
        if start == stop:
            return self
        mask = np.ones(len(self.rows), np.bool_) if self.left is None else self.left.mask.copy()
        mask[np.searchsorted(self.indices, indices[start:stop])] = False
        if np.count_nonzero(mask) >= KEPT_SHARE * len(mask):
            return self._replace(left=Subset(mask, stays=True))
        return Block(self.rows[mask], self.indices[mask])

    def joined(self, other):
        """Return one block of what is left of two."""
        rows = np.concatenate([self.rows_left(), other.rows_left()])
        return Block(rows, np.concatenate([self.indices_left(), other.indices_left()]))


def _subset_of(subset, mask):
    """Return the part of a subset that a mask chooses."""
    if not subset.has_indices:
        return Subset(subset.mask & mask)
    return Subset(None, subset.indices[mask[subset.indices]], len(mask))


class Blocks(NamedTuple):
    """All samples, which is what has to be kept of a GrowingSearcher.

    Attributes
    ----------
    blocks : tuple of Block
        None of them empty.
    n_indices : int
        How many samples have been added so far.
    empty : ndarray of shape (0, d)
        No rows, of a dtype that holds all samples, and of their number of features.
    """

    blocks: tuple
    n_indices: int
    empty: np.ndarray

    @classmethod
    def of(cls, rows):
        """Return the samples of a fit."""
        return cls((Block(rows, np.arange(len(rows))),), len(rows), rows[:0])

    @property
    def n_samples(self):
        return sum(block.n_left for block in self.blocks)

    def rows(self):
        """Return the rows of all samples."""
        return np.concatenate([self.empty, *(block.rows_left() for block in self.blocks)])

    def indices(self):
        """Return the indices of all samples, ascending."""
        return np.concatenate(
            [np.empty(0, np.int64), *(block.indices_left() for block in self.blocks)]
        )

    def append(self, rows):
        """Return these samples and more, in a dtype of their own if they need a wider one."""
        narrow, first = as_narrow_as(rows, self.empty.dtype, equal_nan=True), self.n_indices
        # A copy: the array may get other values for the next call.
        rows = rows.copy() if narrow is rows else narrow
        blocks = [*self.blocks, Block(rows, np.arange(first, first + len(rows)))]
        while len(blocks) > 1 and blocks[-1].n_left >= MERGED_SHARE * blocks[-2].n_left:
            blocks[-2:] = [blocks[-2].joined(blocks[-1])]
        empty = np.concatenate([self.empty, rows[:0]])
        return Blocks(tuple(blocks), first + len(rows), empty)

    def remove(self, indices):
        """Return what is left without some samples, whose indices ascend."""
        blocks = (block.without(indices) for block in self.blocks)
        return self._replace(blocks=tuple(block for block in blocks if block.n_left))


class GrowingSearcher(BaseSearcher):
    """Searches in blocks of samples.

    Parameters
    ----------
    contents : Blocks
    like : Searcher
        Of any rows: blocks are searched by the same rules.
    searchers : list of Searcher
        Those of blocks that there are.

    Attributes
    ----------
    contents, space, algorithm, recall, calibration_queries
    """

    def __init__(self, contents, like, searchers=()):
        known = {id(searcher.Y): searcher for searcher in searchers}
        self.contents, self._like = contents, like
        self.searchers = []
        for i, block in enumerate(contents.blocks):
            # An index by name is for the first block, the largest as a rule.
            algorithm = "auto" if i and like.algorithm != "brute" else like.algorithm
            searcher = known.get(id(block.rows))
            if searcher is None or searcher.algorithm != algorithm:
                searcher = like.of_other_rows(block.rows, algorithm)
            self.searchers.append(searcher)
        self.space, self.algorithm = like.space, like.algorithm
        self.recall, self.calibration_queries = like.recall, like.calibration_queries
        self._indices = None

    def with_contents(self, contents):
        """Return a searcher of other samples, with the searchers of blocks that are the same."""
        return GrowingSearcher(contents, self._like, self.searchers)

    @property
    def Y(self):
        """A copy of all rows."""
        return self.contents.rows()

    @property
    def n_indices(self):
        return self.contents.n_indices

    @property
    def n_samples(self):
        return self.contents.n_samples

    @property
    def indices(self):
        if self._indices is None:
            self._indices = self.contents.indices()
        return self._indices

    @property
    def latest_plan(self):
        return self._first.latest_plan

    @property
    def _first(self):
        """The searcher of the first block."""
        return self.searchers[0] if self.searchers else self._like

    @property
    def nbytes(self):
        of_blocks = sum(
            block.indices.nbytes + (0 if block.left is None else len(block.rows))
            for block in self.contents.blocks
        )
        return of_blocks + sum(searcher.nbytes for searcher in self.searchers)

    # ---- searches --------------------------------------------------------------------------------

    def read_where(self, where, n_queries):
        there, n = self.indices, self.n_indices
        parts = read_where(where, n_queries, n)
        if len(there) == n:
            return parts
        mask = np.zeros(n, np.bool_)
        mask[there] = True
        return [Part(queries, _subset_of(subset, mask)) for queries, subset in parts]

    def _searched(self, subset):
        """Yield (block, searcher, Subset of its rows or None) where there is anything to find."""
        for block, searcher in zip(self.contents.blocks, self.searchers, strict=True):
            some = block.among(subset)
            if some is None or len(some):
                yield block, searcher, some

    def find_neighbors(
        self, X, k, n_threads, advance=None, exclude_self=False, subset=None, max_distance=math.inf
    ):
        wanted = k + exclude_self
        chosen, distances, indices = self.latest_plan, [], []
        for block, searcher, some in self._searched(subset):
            n_here = len(block.rows) if some is None else len(some)
            share = block.n_left / self.n_samples
            tell = advance and (lambda done, share=share: advance(done * share))
            found, plan = searcher.find_neighbors(
                X, min(wanted, n_here), n_threads, tell, False, some, max_distance
            )
            chosen = plan if searcher is self._first else chosen
            distances.append(found[0])
            indices.append(block.indices.take(found[1], mode="clip"))  # beyond is nobody
        found = merge_found(distances, indices, wanted)
        if exclude_self:
            found = without_itself(*found, self.indices, k, not self.space.largest_first)
        return found, chosen

    def find_within_radius(
        self, X, radii, n_threads, sort_results, exclude_self, with_distances, subset=None
    ):
        chosen, found = self.latest_plan, []
        evaluates = with_distances or sort_results
        for block, searcher, some in self._searched(subset):
            slices, plan = searcher.find_within_radius(
                X, radii, n_threads, False, False, evaluates, some
            )
            chosen = plan if searcher is self._first else chosen
            found.append([(n, distances, block.indices[i]) for n, distances, i in slices])
        if not found:
            nothing = np.empty(0), np.empty(0, np.int64)
            return [(np.zeros(len(X), np.int64), *nothing)], chosen
        own = self.indices if exclude_self else None
        ((counts, distances, indices),) = in_order(found, [None] * len(found), len(X), own)
        if sort_results:
            owners = np.repeat(np.arange(len(X)), counts)
            order = np.lexsort((indices, distances, owners))
            distances, indices = distances[order], indices[order]
        return [(counts, distances, indices)], chosen

    def find_counts(self, X, radii, n_threads, subset=None):
        chosen, counts = self.latest_plan, np.zeros(len(X), np.int64)
        for _, searcher, some in self._searched(subset):
            counts_here, plan = searcher.find_counts(X, radii, n_threads, some)
            chosen = plan if searcher is self._first else chosen
            counts += counts_here
        return counts, chosen

    # ---- a recall below 1 ------------------------------------------------------------------------

    def recall_of(self, k, n_threads):
        """Return the lowest Recall of the blocks; without lists a block is searched exactly."""
        recalls = [
            searcher.recall_of(min(k, block.n_left), n_threads, block.left)
            for block, searcher in zip(self.contents.blocks, self.searchers, strict=True)
        ]
        return min(recalls, key=lambda recall: recall.measured, default=Recall.exact(self.recall))

    @property
    def lists_state(self):
        states = tuple(searcher.lists_state for searcher in self.searchers)
        return states if any(states) else None

    def restore_lists(self, states, with_settings=True):
        for searcher, state in zip(self.searchers, states, strict=True):
            if state is not None:
                searcher.restore_lists(state, with_settings)
