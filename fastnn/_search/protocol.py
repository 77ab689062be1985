"""What an algorithm provides, and what it gets."""

from typing import NamedTuple, Protocol

import numpy as np

from .._core._threads import RenewedLock

# Held while what searches share is built: once, by the first that needs it.
build_lock = RenewedLock()


class CannotServe(Exception):
    """This algorithm cannot serve such values; brute force can, or finds out what is wrong."""


class NonFiniteError(Exception):
    """A search has met NaN or infinity."""


class Neighbors(NamedTuple):
    """The k nearest samples of each query.

    Attributes
    ----------
    distances : ndarray of shape (n_queries, k), float64
        Ascending.
    indices : ndarray of shape (n_queries, k), int64
    algorithm, reason : str
        What found them, and why it was chosen.
    """

    distances: np.ndarray
    indices: np.ndarray
    algorithm: str
    reason: str


class RadiusNeighbors(NamedTuple):
    """All samples within a radius of each query.

    Attributes
    ----------
    slices : list of (counts, distances, indices)
        Of queries in a row: how many neighbors each has (int64), their distances (float64; None if
        they are not wanted) and indices (int64), query after query.
    algorithm, reason : str
    """

    slices: list
    algorithm: str
    reason: str


class Subset:
    """Some of the samples, told by either of two arrays; the other is made when it is needed.

    Parameters
    ----------
    mask : ndarray of shape (n_samples,), bool, optional
    indices : ndarray of int64, optional
        Ascending.
    n_samples : int, optional
        Of all, with indices.
    stays : bool
        Whether these are most of the samples, for searches to come as well: what is made for them
        is kept, and searches are planned as for all.
    """

    def __init__(self, mask=None, indices=None, n_samples=None, stays=False):
        self._mask, self._indices, self._n_samples = mask, indices, n_samples
        self._n = np.count_nonzero(mask) if indices is None else len(indices)
        self.stays = stays

    def __reduce__(self):
        return Subset, (self._mask, self._indices, self._n_samples, self.stays)

    def __len__(self):
        return self._n

    @property
    def mask(self):
        if self._mask is None:
            mask = np.zeros(self._n_samples, np.bool_)
            mask[self._indices] = True
            self._mask = mask
        return self._mask

    @property
    def indices(self):
        if self._indices is None:
            self._indices = np.flatnonzero(self._mask)
        return self._indices

    @property
    def has_indices(self):
        """Whether indices need not be made first."""
        return self._indices is not None

    def own(self, rows):
        """Return these numbers of samples, -1 for those that are not among them."""
        return np.where(np.isin(rows, self.indices, assume_unique=True), rows, -1)


class KeptForSubset:
    """What an algorithm has made for the latest subset that stays."""

    def __init__(self):
        self._latest = None, None

    def __reduce__(self):
        return KeptForSubset, ()

    def get(self, subset, make):
        """Return what `make` gives, the same again for the same subset."""
        if not subset.stays:
            return make()
        known, made = self._latest
        if known is not subset:
            made = make()
            self._latest = subset, made
        return made

    @property
    def nbytes(self):
        _, made = self._latest
        return 0 if made is None else made.nbytes


class Samples:
    """The rows that are searched, as a metric has them; shared by the algorithms.

    Parameters
    ----------
    values : ndarray of shape (n, d), float32, float64 or uint8
        C-contiguous.
    space : MetricSpace
    memory : int, optional
        Bytes that packed copies of the rows may take between searches; None: as many as the rows.
    """

    def __init__(self, values, space, memory=None):
        self.values, self.space, self.memory = values, space, memory
        self._rows = None

    def __len__(self):
        return len(self.values)

    def __getstate__(self):
        return self.values, self.space, self.memory

    def __setstate__(self, state):
        self.__init__(*state)

    def part(self, subset):
        """Return a copy of some of the samples."""
        return Samples(self.values[subset.indices], self.space, self.memory)

    @property
    def metric(self):
        """The kernels' metric."""
        return self.space.kernel

    def rows(self, n_threads=1):
        """Return the rows as kernels take them."""
        if self._rows is None:
            with build_lock:
                if self._rows is None:
                    self._rows = self.space.rows(self.values, n_threads)
        return self._rows

    def queries(self, X, n_threads=1):
        """Return queries, or the samples themselves, as kernels take them."""
        return self.rows(n_threads) if X is self.values else self.space.rows(X, n_threads)


class Algorithm(Protocol):
    """A search in one set of samples.

    `build` returns it, or raises CannotServe if it cannot serve the samples. Queries are arrays of
    the samples' dtype, or the samples' array itself. Distances are the kernels': see `MetricSpace`.
    """

    name: str

    @classmethod
    def build(cls, samples, design, n_threads, advance=None):
        """Return the algorithm; `design` is what the planner's steps have prepared for it."""

    @property
    def nbytes(self):
        """How many bytes are held beside the samples."""

    def kneighbors(self, X, k, n_threads, advance=None, exclude_self=False, subset=None):
        """Return (distances, indices); `subset`: a Subset that is searched, None: all samples.

        Raises
        ------
        CannotServe
            For such queries; nothing has been found then.
        NonFiniteError
        """

    def radius_neighbors(
        self, X, radius, n_threads, sort_results, exclude_self=False, with_distances=True,
        subset=None,
    ):  # fmt: skip
        """Return slices of neighbors: see `RadiusNeighbors`."""


def ragged(slices):
    """Return an object array with one array per query, views of the slices' results."""
    rows = []
    for counts, values in slices:
        stops = np.cumsum(counts).tolist()
        rows += [values[i:j] for i, j in zip([0, *stops], stops, strict=False)]
    result = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):  # at once NumPy would take rows of one length for a 2-D array
        result[i] = row
    return result


def within_each_radius(slices, radii):
    """Yield what is left of `slices` within a radius of its own for each query."""
    start = 0
    for counts, distances, indices in slices:
        stop = start + len(counts)
        near = distances <= np.repeat(radii[start:stop], counts)
        owners = np.repeat(np.arange(len(counts)), counts)[near]
        yield np.bincount(owners, minlength=len(counts)), distances[near], indices[near]
        start = stop
