"""Few pairs at all, by a k-d tree (`_core/search/_kd_tree`), and trials that tell how few."""

import logging
import math
from typing import NamedTuple

import numpy as np

from .._core.search._kd_tree import KDTree
from .protocol import CannotServe
from .sampling import spread_out

logger = logging.getLogger("fastnn")

MIN_TRIAL_QUERIES, MAX_TRIAL_QUERIES = 4, 256
# On which neighbors within a radius are counted.
COUNTED_SAMPLES, COUNTED_QUERIES = 1024, 64


class KDTreeSearch:
    name = "kd_tree"

    def __init__(self, samples, tree):
        self.samples, self.tree = samples, tree
        self._latest = None, None

    def __getstate__(self):
        return self.samples, self.tree

    def __setstate__(self, state):
        self.__init__(*state)

    @classmethod
    def build(cls, samples, design=None, n_threads=1, advance=None):
        return cls(samples, tree_of(samples, slice(None), n_threads, advance))

    @property
    def nbytes(self):
        return self.tree.nbytes

    def kneighbors(
        self, X, k, n_threads, advance=None, exclude_self=False, subset=None, max_distance=math.inf
    ):
        """Return (distances, indices) of the k nearest, of infinity beyond the largest distance."""
        found = self.tree.kneighbors(
            queries_for(self.samples, X, self.tree), k, n_threads, advance, exclude_self,
            self._leaves_of(subset), max_distance,
        )  # fmt: skip
        if found is None:
            raise CannotServe("the tree cannot serve such values")
        distances, indices, n_pairs = found
        logger.debug("the tree visited %d of %d pairs", n_pairs, len(X) * len(self.samples))
        return distances, indices

    def count_within(self, X, radii, n_threads, subset=None):
        """Return how many samples are within the radius of each query, or one for all of them."""
        counts = self.tree.count_within(
            queries_for(self.samples, X, self.tree), radii, n_threads, self._leaves_of(subset)
        )
        if counts is None:
            raise CannotServe("the tree cannot serve such values")
        return counts

    def radius_neighbors(
        self, X, radius, n_threads, sort_results, exclude_self=False, with_distances=True,
        subset=None, radii=None,
    ):  # fmt: skip
        """Return slices of neighbors, within a radius or, if there are `radii`, each its own."""
        found = self.tree.radius_neighbors(
            queries_for(self.samples, X, self.tree), radius, n_threads, sort_results, exclude_self,
            with_distances, self._leaves_of(subset), radii,
        )  # fmt: skip
        if found is None:
            raise CannotServe("the tree cannot serve such values")
        return found

    def _leaves_of(self, subset):
        """Return which samples may be found, as a tree takes it; the next search may need it."""
        if subset is None:
            return None
        mask, leaves = self._latest
        if mask is None or not np.array_equal(mask, subset.mask):
            leaves = self.tree.leaves_where(subset.mask)
            self._latest = subset.mask.copy(), leaves
        return leaves


def tree_of(samples, some, n_threads, advance=None):
    """Return a tree of the samples that an index or slice chooses."""
    space = samples.space
    values = samples.rows(n_threads).values_to_compare(some)
    return KDTree(
        values, space.kernel, n_threads, space.weights, space.max_distance, advance, space.periods
    )


def queries_for(samples, X, tree):
    """Return queries as a tree takes them; the samples of a tree of all of them are its own."""
    if X is samples.values and len(tree.Y) == len(X):
        return tree.Y
    return samples.space.rows(X).values_to_compare().astype(tree.Y.dtype, copy=False)


# ---- trials --------------------------------------------------------------------------------------


class Trial(NamedTuple):
    """What a tree did for some queries.

    Attributes
    ----------
    points : float
        How many samples the tree visits for a query; infinity if it cannot serve.
    ties : float or None
        How many samples are as near to a query as its neighbors; None if nobody has counted.
    """

    points: float
    ties: float | None


def try_tree(samples, tree, X, k, n_threads, n_affordable, many_points):
    """Return the Trial of some of the queries X.

    Parameters
    ----------
    samples : Samples
    tree : KDTree
        Of all samples or some of them.
    X : ndarray
    k : int
    n_threads : int
    n_affordable : callable
        How many queries may be tried, of how many points each visits.
    many_points : float
        If a query visits more, ties are counted.
    """
    queries, distances, points = _some_neighbors(samples, tree, X, k, n_threads, MIN_TRIAL_QUERIES)
    n_queries = n_affordable(points)
    if n_queries > MIN_TRIAL_QUERIES:
        n_queries = min(n_queries, MAX_TRIAL_QUERIES)
        queries, distances, points = _some_neighbors(samples, tree, X, k, n_threads, n_queries)
    ties = _count_ties(tree, queries, distances) if points > many_points else None
    return Trial(points, ties)


def _some_neighbors(samples, tree, X, k, n_threads, n_queries):
    """Return some queries, the distances of their neighbors, and how many points one visits."""
    queries = queries_for(samples, X[spread_out(len(X), n_queries, 0.5)], tree)
    found = tree.kneighbors(queries, k, n_threads)
    if found is None:
        return queries, None, math.inf
    return queries, found[0], found[2] / len(queries)


def _count_ties(tree, queries, distances):
    if distances is None:
        return 0.0
    few = range(min(MIN_TRIAL_QUERIES, len(queries)))
    within = [
        tree.radius_neighbors(queries[i : i + 1], distances[i, -1], 1, with_distances=False)
        for i in few
    ]
    return sum(len(indices) for ((*_, indices),) in within) / len(few)


def count_neighbors(samples, X, radius, n_threads):
    """Return how many neighbors a query has within a radius, by those among some samples."""
    n = len(samples)
    m = min(n, COUNTED_SAMPLES)
    tree = tree_of(samples, spread_out(n, m, 0.5), n_threads)
    queries = queries_for(samples, X[spread_out(len(X), COUNTED_QUERIES, 0.5)], tree)
    slices = tree.radius_neighbors(queries, radius, n_threads, with_distances=False) or []
    return sum(len(indices) for *_, indices in slices) / len(queries) * n / m
