"""What all searches have in common: distances in the metric's terms, and samples by `where`."""

import math

import numpy as np

from .protocol import Neighbors, RadiusNeighbors, within_each_radius
from .subsets import in_order, parts_between, read_where, without_itself

# Queries of the first slice, and pairs that are held at a time: 64 MiB.
FIRST_QUERIES, PAIRS_AT_A_TIME = 64, 1 << 22


def next_size(n_queries, n_pairs, max_pairs):
    """Return how many queries may come next, after so many with so many pairs."""
    return max(1, min(max_pairs * n_queries // max(1, n_pairs), 16 * n_queries))


class BaseSearcher:
    """Rows to search in.

    A subclass has the attributes `space`, a MetricSpace, and `latest_plan`, and these methods:

    find_neighbors(X, k, n_threads, advance, exclude_self, subset, max_distance)
        The k nearest: ((distances, indices), Plan), with the kernels' distances. `subset` is the
        Subset that is searched, None: all. Who is further away than `max_distance` need not be
        found: distances are infinite then.
    find_within_radius(X, radius, n_threads, sort_results, exclude_self, with_distances, subset)
        All within a radius, which is a kernel's distance: (slices, Plan).
    find_counts(X, radii, n_threads, subset)
        How many these are, of a radius for each query or one for all of them: (counts, Plan).
    """

    @property
    def n_indices(self):
        """All indices of samples are less than this."""
        raise NotImplementedError

    @property
    def indices(self):
        """The samples' indices, ascending, (n_samples,)."""
        raise NotImplementedError

    def read_where(self, where, n_queries):
        """Return what `where` says as a list of Part; see `subsets.read_where`."""
        return read_where(where, n_queries, self.n_indices)

    def kneighbors(
        self, X, k, n_threads, advance=None, exclude_self=False, where=None, max_distance=math.inf
    ):
        """Return the k nearest samples of each row of X.

        Parameters
        ----------
        X : ndarray of shape (n_queries, d)
            That has passed the border, or the samples themselves.
        k : int
            1 <= k <= n; with exclude_self k < n.
        n_threads : int
        advance : callable or None
            Called with the share of the work done since the last call.
        exclude_self : bool
            X are the samples, and none is its own neighbor.
        where : list of Part, optional
            Of `subsets`: which samples are searched, each with at least k, and one more with
            exclude_self; None: all.
        max_distance : float
            Neighbors that are further away are given as infinity and `n_indices`.

        Returns
        -------
        Neighbors

        Raises
        ------
        ValueError
            For NaN and infinity.
        """
        limit = self.space.radius(max_distance)
        if where is None:
            found, chosen = self.find_neighbors(X, k, n_threads, advance, exclude_self, None, limit)
        else:
            found, chosen = self._find_neighbors_of_parts(
                X, k, n_threads, advance, exclude_self, where
            )
        distances, indices = self.space.distances(found[0]), found[1]
        if max_distance < math.inf:
            beyond = ~(distances <= max_distance)
            distances[beyond], indices[beyond] = math.inf, self.n_indices
        return Neighbors(distances, indices, *chosen)

    def _find_neighbors_of_parts(self, X, k, n_threads, advance, exclude_self, where):
        self.space.require_valid(X, "X")
        wanted = k + exclude_self
        distances, indices = np.empty((len(X), wanted)), np.empty((len(X), wanted), np.int64)
        own = np.full(len(X), -1)
        chosen = self.latest_plan
        for part in where:
            rows = slice(None) if part.queries is None else part.queries
            queries = X if part.queries is None else X[rows]
            share = len(queries) / max(1, len(X))
            tell = advance and (lambda done, share=share: advance(done * share))
            found, chosen = self.find_neighbors(
                queries, wanted, n_threads, tell, False, part.subset
            )
            distances[rows], indices[rows] = found
            if exclude_self:
                own[rows] = part.subset.own(self.indices[rows])
        if exclude_self:
            distances, indices = without_itself(distances, indices, own, k)
        return (distances, indices), chosen

    def radius_neighbors(
        self, X, radius, n_threads, sort_results, exclude_self=False, with_distances=True,
        where=None,
    ):  # fmt: skip
        """Return all samples within a radius of each row of X.

        Parameters and errors are those of `kneighbors`, but:

        Parameters
        ----------
        radius : float
            Not NaN.
        sort_results : bool
            Neighbors ascend by (distance, index), or by index alone.
        with_distances : bool

        Returns
        -------
        RadiusNeighbors
        """
        asked, radius = radius, self.space.radius(radius)
        evaluates = with_distances or self.space.mapping == "sphere"
        arguments = radius, n_threads, sort_results
        if where is None:
            slices, chosen = self.find_within_radius(X, *arguments, exclude_self, evaluates, None)
        else:
            self.space.require_valid(X, "X")
            found = []
            for part in where:
                queries = X if part.queries is None else X[part.queries]
                slices, chosen = self.find_within_radius(
                    queries, *arguments, False, evaluates, part.subset
                )
                found.append(slices)
            own = self.indices if exclude_self else None
            slices = in_order(found, [part.queries for part in where], len(X), own)
        if evaluates:
            slices = [(counts, self.space.distances(found), i) for counts, found, i in slices]
        else:
            slices = [(counts, None, i) for counts, _, i in slices]
        if self.space.mapping == "sphere":
            slices = list(within_each_radius(slices, np.full(len(X), asked)))
        return RadiusNeighbors(slices, *chosen)

    def radius_slices(
        self, X, radius, n_threads, sort_results, exclude_self=False, with_distances=True,
        where=None, max_pairs=PAIRS_AT_A_TIME,
    ):  # fmt: skip
        """Yield what `radius_neighbors` finds for a few queries at a time, about `max_pairs`.

        Parameters and errors are those of `radius_neighbors`.

        Yields
        ------
        counts, distances, indices
            See `RadiusNeighbors`.
        """
        own, start, size = self.indices if exclude_self else None, 0, FIRST_QUERIES
        while start < len(X):
            stop = min(start + size, len(X))
            parts = None if where is None else parts_between(where, start, stop)
            found = self.radius_neighbors(
                X[start:stop], radius, n_threads, sort_results, False, with_distances, parts
            )
            own_here = None if own is None else own[start:stop]
            ((counts, distances, indices),) = in_order(
                [found.slices], [None], stop - start, own_here
            )
            yield counts, distances, indices
            size = next_size(stop - start, len(indices), max_pairs)
            start = stop

    def count_neighbors(self, X, radii, n_threads, exclude_self=False, where=None):
        """Return how many samples are within a radius of each row of X, (n_queries,) of int64.

        Parameters and errors are those of `radius_neighbors`, but:

        Parameters
        ----------
        radii : ndarray of shape (n_queries,) or (1,), float64
            Not NaN; with exclude_self at least 0.
        """
        if self.space.mapping == "sphere" or self.space.allows_nan:
            return self._count_by_distances(X, radii, n_threads, exclude_self, where)
        radii = np.array([self.space.radius(radius) for radius in radii.tolist()])
        if where is None:
            counts, _ = self.find_counts(X, radii, n_threads, None)
            return counts - exclude_self
        self.space.require_valid(X, "X")
        counts = np.zeros(len(X), np.int64)
        for queries, subset in where:
            rows = slice(None) if queries is None else queries
            some = radii if len(radii) == 1 else radii[rows]
            counts[rows], _ = self.find_counts(X[rows], some, n_threads, subset)
            if exclude_self:
                counts[rows] -= subset.own(self.indices[rows]) >= 0
        return counts

    def _count_by_distances(self, X, radii, n_threads, exclude_self, where):
        """Return the same where the kernels' radius is not the metric's, or none has distance 0."""
        counts, start = [], 0
        for n, distances, indices in self.radius_slices(
            X, float(radii.max()), n_threads, False, exclude_self, True, where
        ):
            some = np.broadcast_to(radii, len(X))[start : start + len(n)]
            counts += [near for near, _, _ in within_each_radius([(n, distances, indices)], some)]
            start += len(n)
        return np.concatenate([np.empty(0, np.int64), *counts])
