"""What all searches have in common: distances in the metric's terms, and samples by `where`."""

import numpy as np

from .protocol import Neighbors, RadiusNeighbors, within_each_radius
from .subsets import in_order, read_where, without_itself


class BaseSearcher:
    """Rows to search in.

    A subclass has the attributes `space`, a MetricSpace, and `latest_plan`, and these methods:

    find_neighbors(X, k, n_threads, advance, exclude_self, subset)
        The k nearest: ((distances, indices), Plan), with the kernels' distances. `subset` is the
        Subset that is searched, None: all.
    find_within_radius(X, radius, n_threads, sort_results, exclude_self, with_distances, subset)
        All within a radius, which is a kernel's distance: (slices, Plan).
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

    def kneighbors(self, X, k, n_threads, advance=None, exclude_self=False, where=None):
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

        Returns
        -------
        Neighbors

        Raises
        ------
        ValueError
            For NaN and infinity.
        """
        if where is None:
            found, chosen = self.find_neighbors(X, k, n_threads, advance, exclude_self, None)
        else:
            found, chosen = self._find_neighbors_of_parts(
                X, k, n_threads, advance, exclude_self, where
            )
        distances, indices = found
        return Neighbors(self.space.distances(distances), indices, *chosen)

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
