"""All pairs of queries and samples, tile by tile: `_core/search/_scan`."""

from .._core.search._flat import find_neighbors, find_within_radius
from .._core.search._index import FlatIndex
from .protocol import NonFiniteError


class BruteForce:
    name = "brute"

    def __init__(self, samples, index):
        self.samples, self.index = samples, index

    @classmethod
    def build(cls, samples, design=None, n_threads=1, advance=None):
        return cls(samples, FlatIndex(samples.rows(n_threads), samples.metric, samples.memory))

    def __reduce__(self):
        # Panels are packed anew: for other tiles, perhaps.
        return BruteForce.build, (self.samples,)

    @property
    def nbytes(self):
        return self.index.nbytes

    def kneighbors(self, X, k, n_threads, advance=None, exclude_self=False):
        found = find_neighbors(
            self.samples.queries(X, n_threads), self.index, k, self.samples.metric, n_threads,
            False, advance, exclude_self,
        )  # fmt: skip
        if found is None:
            raise NonFiniteError
        return found

    def radius_neighbors(
        self, X, radius, n_threads, sort_results, exclude_self=False, with_distances=True
    ):
        found = find_within_radius(
            self.samples.queries(X, n_threads), self.index, radius, self.samples.metric, n_threads,
            sort_results, False, exclude_self,
        )  # fmt: skip
        if found is None:
            raise NonFiniteError
        return found
