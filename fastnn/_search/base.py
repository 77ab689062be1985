"""What all searches have in common: distances in the metric's terms, and samples by `where`."""

import math

import numpy as np

from .protocol import Neighbors, RadiusNeighbors, within_each_radius
from .subsets import in_order, parts_between, parts_of, read_where, without_itself

# Queries of the first slice, and pairs that are held at a time: 64 MiB.
FIRST_QUERIES, PAIRS_AT_A_TIME = 64, 1 << 22


class BaseSearcher:
    """Rows to search in.

    A subclass has the attributes `space`, a MetricSpace, and `latest_plan`, and these methods:

    find_neighbors(X, k, n_threads, advance, exclude_self, subset, max_distance)
        The k nearest: ((distances, indices), Plan), with the kernels' distances. `subset` is the
        Subset that is searched, None: all. Who is further away than `max_distance` need not be
        found: distances are infinite then.
    find_within_radius(X, radii, n_threads, sort_results, exclude_self, with_distances, subset)
        All within a radius, for each query or one for all of them, which is a kernel's distance:
        (slices, Plan).
    find_counts(X, radii, n_threads, subset)
        How many these are: (counts, Plan).
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
        limit = self.space.radius(max_distance) if max_distance < math.inf else math.inf
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
            displaced = not self.space.largest_first
            distances, indices = without_itself(distances, indices, own, k, displaced)
        return (distances, indices), chosen

    def radius_neighbors(
        self, X, radius, n_threads, sort_results, exclude_self=False, with_distances=True,
        where=None,
    ):  # fmt: skip
        """Return all samples within a radius of each row of X.

        Parameters and errors are those of `kneighbors`, but:

        Parameters
        ----------
        radius : float, or ndarray of shape (n_queries,) or (1,), float64
            Not NaN.
        sort_results : bool
            Neighbors ascend by (distance, index), or by index alone.
        with_distances : bool

        Returns
        -------
        RadiusNeighbors
        """
        asked = np.atleast_1d(np.asarray(radius, np.float64))
        radii = self._kernel_radii(asked)
        evaluates = with_distances or self.space.mapping == "sphere"
        arguments = n_threads, sort_results
        if where is None:
            slices, chosen = self.find_within_radius(
                X, radii, *arguments, exclude_self, evaluates, None
            )
        else:
            self.space.require_valid(X, "X")
            found = []
            for queries, subset in where:
                some, of_some = (X, radii) if queries is None else (X[queries], radii)
                if queries is not None and len(radii) > 1:
                    of_some = radii[queries]
                slices, chosen = self.find_within_radius(
                    some, of_some, *arguments, False, evaluates, subset
                )
                found.append(slices)
            own = self.indices if exclude_self else None
            slices = in_order(found, [part.queries for part in where], len(X), own)
        if evaluates:
            slices = [(counts, self.space.distances(found), i) for counts, found, i in slices]
        if self.space.mapping == "sphere":  # of which the kernels' radius is a little too large
            slices = within_each_radius(slices, np.broadcast_to(asked, len(X)))
        if not with_distances:
            slices = ((counts, None, i) for counts, _, i in slices)
        return RadiusNeighbors(list(slices), *chosen)

    def _kernel_radii(self, radii):
        return np.array([self.space.radius(radius) for radius in radii.tolist()])

    def radius_slices(
        self, X, radius, n_threads, sort_results, exclude_self=False, with_distances=True,
        where=None, max_pairs=PAIRS_AT_A_TIME,
    ):  # fmt: skip
        """Yield what `radius_neighbors` finds for some queries at a time.

        Parameters and errors are those of `radius_neighbors`, but:

        Parameters
        ----------
        radius : float
        max_pairs : int
            How many neighbors a slice has at most, unless one query has more. They are counted
            first where there could be more.

        Yields
        ------
        counts, distances, indices
            See `RadiusNeighbors`.
        """
        own, stops = self.indices if exclude_self else None, [len(X)]
        if len(X) * self.n_indices > max_pairs:
            counts = self.count_neighbors(X, np.array([radius]), n_threads, exclude_self, where)
            stops = stops_of_slices(counts, max_pairs)
        start = 0
        for stop in stops:
            parts = None if where is None else parts_between(where, start, stop)
            found = self.radius_neighbors(
                X[start:stop], radius, n_threads, sort_results, False, with_distances, parts
            )
            own_here = None if own is None else own[start:stop]
            yield in_order([found.slices], [None], stop - start, own_here)[0]
            start = stop

    def count_neighbors(self, X, radii, n_threads, exclude_self=False, where=None):
        """Return how many samples are within a radius of each row of X, (n_queries,) of int64.

        Parameters and errors are those of `radius_neighbors`, but:

        Parameters
        ----------
        radii : ndarray of shape (n_queries,) or (1,), float64
            Not NaN.
        """
        if self.space.mapping == "sphere" or self.space.for_brute_force:
            return self._count_by_distances(X, radii, n_threads, exclude_self, where)
        of_kernels = self._kernel_radii(radii)
        if where is None:
            counts, _ = self.find_counts(X, of_kernels, n_threads, None)
            return counts - (exclude_self & (radii >= 0.0))
        self.space.require_valid(X, "X")
        counts = np.zeros(len(X), np.int64)
        for queries, subset in where:
            rows = slice(None) if queries is None else queries
            each = len(radii) > 1
            some = of_kernels[rows] if each else of_kernels
            counts[rows], _ = self.find_counts(X[rows], some, n_threads, subset)
            if exclude_self:
                is_within = (radii[rows] if each else radii) >= 0.0
                counts[rows] -= (subset.own(self.indices[rows]) >= 0) & is_within
        return counts

    def _count_by_distances(self, X, radii, n_threads, exclude_self, where):
        """Return the same where the kernels' radius is not the metric's, or none has distance 0."""
        own = self.indices if exclude_self else None

        def count(rows):
            parts = None if where is None else parts_of(where, rows)
            some = radii if len(radii) == 1 else radii[rows]
            found = self.radius_neighbors(X[rows], some, n_threads, False, False, True, parts)
            own_here = None if own is None else own[rows]
            return in_order([found.slices], [None], len(rows), own_here)[0][0]

        return count_in_slices(len(X), self.n_indices, count)


def stops_of_slices(counts, most):
    """Return where slices of queries end that have at most so many neighbors, or one query."""
    stops, ends, start = [], np.cumsum(counts), 0
    while start < len(counts):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + most, side="right")))
        stops.append(stop)
        start = stop
    return stops


def count_in_slices(n_queries, n_samples, count):
    """Return counts of neighbors where they have to be listed, some queries at a time.

    These are drawn from all over, so that each slice tells how many may be next.

    Parameters
    ----------
    n_queries, n_samples : int
    count : callable
        Returns the counts of some queries, whose numbers ascend.
    """
    counts = np.zeros(n_queries, np.int64)
    order = np.random.RandomState(0).permutation(n_queries)
    start, size = 0, max(1, min(FIRST_QUERIES, PAIRS_AT_A_TIME // max(1, n_samples)))
    while start < n_queries:
        rows = np.sort(order[start : start + size])
        counts[rows] = found = count(rows)
        start += len(rows)
        size = PAIRS_AT_A_TIME * len(rows) // max(1, int(found.sum()))
        size = max(1, min(size, 4 * len(rows)))
    return counts
