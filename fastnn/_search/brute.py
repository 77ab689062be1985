"""All pairs of queries and samples.

Tile by tile: `_core/search/_scan`; or, where values are missing, block by block:
`_core/search/_missing`.
"""

import numpy as np

from .._core.search._flat import find_neighbors, find_within_radius
from .._core.search._index import FlatIndex
from .._core.search._missing import (
    RowsWithMissing,
    fill_present_distances,
    find_present_neighbors,
)
from .protocol import KeptForSubset, NonFiniteError
from .subsets import without_itself

# Distances that are held at a time.
HELD_DISTANCES = 1 << 21


class BruteForce:
    name = "brute"

    def __init__(self, samples, index):
        self.samples, self.index = samples, index
        self._kept = KeptForSubset()

    @classmethod
    def build(cls, samples, design=None, n_threads=1, advance=None):
        if samples.space.allows_nan:
            return BruteForceAmongMissing.build(samples, n_threads)
        return cls(samples, FlatIndex(samples.rows(n_threads), samples.metric, samples.memory))

    def __reduce__(self):
        # Panels are packed again: for other tiles, perhaps.
        return BruteForce.build, (self.samples,)

    @property
    def nbytes(self):
        return self.index.nbytes + self._kept.nbytes

    def _index_of(self, subset):
        """Return an index of some of the samples, or that of all."""
        if subset is None:
            return self.index
        memory = self.samples.memory if subset.stays else 0
        return self._kept.get(
            subset,
            lambda: FlatIndex(self.index.rows, self.samples.metric, memory, None, subset.indices),
        )

    def kneighbors(self, X, k, n_threads, advance=None, exclude_self=False, subset=None):
        if exclude_self and self.samples.space.largest_first:  # others may have more than itself
            found = self.kneighbors(X, k + 1, n_threads, advance, False, subset)
            return without_itself(*found, np.arange(len(X)), k, False)
        found = find_neighbors(
            self.samples.queries(X, n_threads), self._index_of(subset), k, self.samples.metric,
            n_threads, False, advance, exclude_self,
        )  # fmt: skip
        if found is None:
            raise NonFiniteError
        return found

    def radius_neighbors(
        self, X, radius, n_threads, sort_results, exclude_self=False, with_distances=True,
        subset=None,
    ):  # fmt: skip
        found = find_within_radius(
            self.samples.queries(X, n_threads), self._index_of(subset), radius,
            self.samples.metric, n_threads, sort_results, False, exclude_self,
        )  # fmt: skip
        if found is None:
            raise NonFiniteError
        return found


class BruteForceAmongMissing:
    """The same, where NaN stands for a value that is missing."""

    name = "brute"

    def __init__(self, samples, packed):
        self.samples, self.packed = samples, packed
        self._kept = KeptForSubset()

    @classmethod
    def build(cls, samples, n_threads=1):
        return cls(samples, RowsWithMissing(_floats(samples.values), n_threads))

    def __reduce__(self):
        return BruteForceAmongMissing.build, (self.samples,)

    @property
    def nbytes(self):
        return self.packed.nbytes + self._kept.nbytes

    def _among(self, subset, n_threads):
        """Return the same of some of the samples."""
        return self._kept.get(
            subset, lambda: BruteForceAmongMissing.build(self.samples.part(subset), n_threads)
        )

    def kneighbors(self, X, k, n_threads, advance=None, exclude_self=False, subset=None):
        if subset is not None:
            part = self._among(subset, n_threads)
            distances, indices = part.kneighbors(X, k, n_threads, advance)
            return distances, subset.indices[indices]
        if exclude_self:
            found = self.kneighbors(X, k + 1, n_threads, advance)
            return without_itself(*found, np.arange(len(X)), k)
        numbers = np.arange(len(X) + 1)
        distances, indices = find_present_neighbors(
            _floats(X), self.packed, k, numbers, np.full(len(X), -1), n_threads, advance
        )
        # Too few have a feature in common with the query: others come last, at no distance.
        for query in np.flatnonzero(indices[:, -1] < 0):
            found = indices[query][indices[query] >= 0]
            others = np.setdiff1d(np.arange(len(self.samples)), found)
            indices[query, len(found) :] = others[: k - len(found)]
        return distances, indices

    def radius_neighbors(
        self, X, radius, n_threads, sort_results, exclude_self=False, with_distances=True,
        subset=None,
    ):  # fmt: skip
        if subset is not None:
            part = self._among(subset, n_threads)
            slices = part.radius_neighbors(X, radius, n_threads, sort_results)
            return [(counts, found, subset.indices[i]) for counts, found, i in slices]
        X, n, slices = _floats(X), len(self.samples), []
        size = max(1, HELD_DISTANCES // n)
        held = np.empty((min(size, len(X)), n))
        for start in range(0, len(X), size):
            part = X[start : start + size]
            distances = held[: len(part)]
            fill_present_distances(part, self.packed, distances, False, n_threads)
            if exclude_self:
                rows = np.arange(len(part))
                distances[rows, start + rows] = np.nan
            queries, indices = np.nonzero(distances <= radius)
            found = distances[queries, indices]
            if sort_results:
                order = np.lexsort((indices, found, queries))
                found, indices = found[order], indices[order]
            slices.append((np.bincount(queries, minlength=len(part)), found, indices))
        return slices


def _floats(X):
    """Return rows as float64, which may have NaN, but no infinity."""
    X = np.ascontiguousarray(X, np.float64)
    if np.isinf(X).any():
        raise NonFiniteError
    return X
