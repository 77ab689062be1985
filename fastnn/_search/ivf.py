"""Inverted lists: a query visits the lists of samples near it, as many as a recall asks for.

**Lists.** Centroids come from k-means on some of the samples; each sample is in the list of its
nearest centroid. Centroids are rows like the others, so assigning is our own exact search for one
neighbor, and the lists are the same for any number of threads and instruction set. The samples stay
where they are; lists hold their numbers.

**Which lists a query visits.** With D_1 <= D_2 <= ... the distances to the centroids, the j-th
nearest list has the score

    j - D_1 / D_j,   at least j - 1 and less than j,

or 0 as long as the lists before it have no more than k samples. A query visits the lists with a
score of at most `n_probes`, a real number: about so many, and the last one only if it is nearly as
near as the first. More probes only add lists, and within these the neighbors are decided exactly;
so recall rises with the number, and with that of all lists the search is exact.

**Calibration.** m samples that k-means has not seen, drawn at random, are queries. Their neighbors
among all other samples are found exactly; missed(p) is the share of them that p probes miss. The
number of probes is the smallest p with

    (m missed(p) + 1) / (m + 1) <= 1 - recall,

so that the expected recall of another query like these is at least `recall` [1]_. That is an
expectation over the draw of the m queries, too; so p grows further until the recall that was
measured exceeds `recall` - SLACK by SLACK_Z standard errors. Where m is too small for any of this,
the search is exact.

References
----------
.. [1] A. N. Angelopoulos, S. Bates, A. Fisch, L. Lei, T. Schuster, "Conformal risk control", ICLR
   2024, theorem 1.
"""

import bisect
import copy
import math
from typing import NamedTuple

import numpy as np
from scipy import sparse

from .._core.search._flat import find_neighbors
from .._core.search._index import FlatIndex
from .._core.search._lists import Visits, list_scores
from .protocol import CannotServe, KeptForSubset, NonFiniteError
from .sampling import spread_out

# Of n samples there are about LISTS n^LISTS_POWER lists: see bench/sweep_lists.py.
LISTS, LISTS_POWER = 14.0, 0.27
# Rows that k-means sees for each list, and its rounds.
TRAINING_ROWS, ROUNDS = 40, 5
# Queries of a calibration, at most, and as a share of the samples; a few of them tell whether lists
# may pay.
CALIBRATION_QUERIES, CALIBRATION_SHARE, TRIED_QUERIES = 500, 0.1, 50
# Fewer rows are too few to learn from.
MIN_SAMPLES = 1000
# Values that are summed at a time.
SUMMED_VALUES = 1 << 21
# Settings hold for a subset until there is less than this share of what there was.
SETTLED_SHARE = 0.9
# How far below `recall` the true one may be, but for one in some hundred draws of the queries: in
# standard errors, and those of an interval of 95 %.
SLACK, SLACK_Z, INTERVAL_Z = 0.01, 3.0, 1.96


class Recall(NamedTuple):
    """What share of the true neighbors a search finds.

    Attributes
    ----------
    asked : float
        What `recall` asks for.
    measured : float
        The mean over `n_queries` queries; 1.0 where the search is exact.
    interval : (float, float)
        The expected recall is in it with a confidence of about 95 %.
    n_queries : int
        0 where the search is exact.
    visited : float
        The share of the samples that a query visits.
    """

    asked: float
    measured: float
    interval: tuple[float, float]
    n_queries: int
    visited: float

    @classmethod
    def exact(cls, asked):
        return cls(asked, 1.0, (1.0, 1.0), 0, 1.0)


class Setting(NamedTuple):
    """How many lists queries visit, and what recall that gives."""

    n_probes: float
    recall: Recall


def n_lists_of(n):
    """Return how many lists n rows have."""
    return int(LISTS * n**LISTS_POWER)


# ---- training ------------------------------------------------------------------------------------


class Centroids:
    """Where lists are.

    Parameters
    ----------
    samples : Samples
    values : ndarray of shape (n_lists, d)
    sizes : ndarray of shape (n_lists,)
        How many samples are in each list, about.
    calibration_rows : ndarray of shape (m,), int64
        Samples, in random order, that training has not seen.
    """

    def __init__(self, samples, values, sizes, calibration_rows):
        self.values, self.sizes, self.calibration_rows = values, sizes, calibration_rows
        self.index = FlatIndex(samples.space.rows(values), samples.metric)

    def __len__(self):
        return len(self.values)

    @property
    def nbytes(self):
        return sum(a.nbytes for a in (self.values, self.calibration_rows, self.index))

    def nearest(self, X, n, n_threads, advance=None):
        """Return (distances, indices) of the n nearest centroids of each row.

        Raises
        ------
        NonFiniteError
        """
        found = find_neighbors(X, self.index, n, self.index.metric, n_threads, False, advance)
        if found is None:
            raise NonFiniteError
        return found

    def lists_of(self, X, n_threads, advance=None):
        """Return the list that each row belongs to."""
        return self.nearest(X, 1, n_threads, advance)[1][:, 0]


def train_centroids(samples, n_threads):
    """Return Centroids by k-means on some of the samples.

    Raises
    ------
    CannotServe
        If there are too few.
    NonFiniteError
    """
    n, d = samples.values.shape
    if samples.space.mapping == "sphere":
        raise CannotServe("two features need no lists")
    if samples.space.mapping == "bits":
        raise CannotServe("means of zeros and ones are none")
    if n < MIN_SAMPLES:
        raise CannotServe(f"{n:,} samples are too few for lists")
    n_lists, m = n_lists_of(n), min(CALIBRATION_QUERIES, int(CALIBRATION_SHARE * n))
    chosen = random_rows(n, min(n, m + TRAINING_ROWS * n_lists))
    training = np.sort(chosen[m:])
    values = samples.rows(n_threads).values_to_compare(training)
    dtype = centroid_dtype(samples)
    X = samples.space.rows(samples.values[training], n_threads)
    means = values[(np.arange(n_lists) * len(training)) // n_lists, :d].astype(dtype)
    for _ in range(ROUNDS):
        lists = Centroids(samples, means, None, None).lists_of(X, n_threads)
        sums, sizes = sums_of_lists(values, lists, n_lists)
        moved = sums[:, :d] / np.maximum(sizes, 1)[:, None]
        moved = (np.rint(moved) if dtype == np.uint8 else moved).astype(dtype)
        # A list that nothing is in stays where it is; and so does one whose sum overflows.
        moves = (sizes > 0) & np.isfinite(moved).all(axis=1)
        means = np.where(moves[:, None], moved, means)
    return Centroids(samples, means, sizes * (n / len(training)), chosen[:m])


def centroid_dtype(samples):
    """Return the dtype of centroids: that of the samples, unless means of bytes would be coarse."""
    dtype = samples.values.dtype
    return np.dtype(np.float32) if dtype == np.uint8 and samples.space.normalized else dtype


def random_rows(n, n_wanted):
    """Return different numbers below n in random order, always the same."""
    # Of NumPy's generators this one keeps its numbers from release to release.
    rng = np.random.RandomState(0)
    if 2 * n_wanted > n:
        return rng.permutation(n)[:n_wanted]
    drawn = rng.randint(0, n, 2 * n_wanted, dtype=np.int64)
    return drawn[np.sort(np.unique(drawn, return_index=True)[1])][:n_wanted]


def sums_of_lists(values, lists, n_lists):
    """Return the float64 sums of each list's rows, added in their order, and how many there are."""
    sums, step = np.zeros((n_lists, values.shape[1])), max(1, SUMMED_VALUES // values.shape[1])
    for start in range(0, len(values), step):
        some = lists[start : start + step]
        members = (np.ones(len(some)), (some, np.arange(len(some))))
        membership = sparse.csr_array(members, shape=(n_lists, len(some)))
        with np.errstate(over="ignore", invalid="ignore"):
            sums += membership @ values[start : start + step].astype(np.float64)
    return sums, np.bincount(lists, minlength=n_lists)


# ---- which lists queries visit -------------------------------------------------------------------


class ListRanking:
    """The lists near queries, and which of them they visit.

    Parameters
    ----------
    centroids : Centroids
    sizes : ndarray of shape (n_lists,), float64
        Of the lists.
    k : int
        How many neighbors are wanted.
    n_probes : float
    starts : ndarray of shape (n_lists + 1,), int64, optional
        Where lists start in the index; for `visits`.
    """

    def __init__(self, centroids, sizes, k, n_probes, starts=None):
        self.centroids, self.sizes, self.starts = centroids, sizes, starts
        self.n_probes = n_probes
        self.n_first = k + 1  # a query may be a sample, and not its own neighbor
        covering = 1 + int(np.searchsorted(np.cumsum(np.sort(sizes)), self.n_first))
        # No list further away has a score as low.
        self.n_ranked = min(max(int(n_probes) + 1, covering), len(sizes))
        # A list, its distance and its score.
        self.query_bytes = 24 * self.n_ranked

    def scores(self, X, n_threads):
        """Return (lists, scores) near each row of X, nearest first: (n_queries, n_ranked) each."""
        distances, lists = self.centroids.nearest(X, self.n_ranked, n_threads)
        return lists, list_scores(distances, lists, self.sizes, self.n_first)

    def visits(self, X, n_threads):
        """Return which lists the rows of X visit, as a scan takes it."""
        return Visits(self.starts, *self.scores(X, n_threads), self.n_probes)


class Calibration:
    """Queries whose neighbors are known, and how many probes find these.

    Parameters
    ----------
    samples : Samples
    n_samples : int
        How many of them are in lists.
    centroids : Centroids
    sizes : ndarray of shape (n_lists,)
        Of the lists.
    X : ndarray of shape (m, d)
    neighbors : ndarray of shape (m, k), int64
        The nearest samples of each query.
    n_threads : int
    """

    @classmethod
    def of(cls, samples, n_samples, centroids, sizes, k, queries, n_queries, n_threads, kneighbors):
        """Return the Calibration by some queries.

        Parameters
        ----------
        samples, n_samples, centroids, sizes, n_threads
        k : int
        queries : ndarray of shape (m, d), or None
            None: samples that training has not seen.
        n_queries : int or None
            How many of them; None: all.
        kneighbors : callable
            Returns the indices of the k nearest samples, exactly.

        Raises
        ------
        CannotServe
            If a sample does not have k others.
        """
        itself = None
        if queries is None:
            itself = centroids.calibration_rows[:n_queries, None]
            if not len(itself):
                raise CannotServe("no sample is left that a calibration could have for a query")
            X = samples.values[itself[:, 0]]
        else:
            X = queries[spread_out(len(queries), n_queries or len(queries), 0.5)]
            X = _as_dtype(X, samples.values.dtype)
        wanted = k + (itself is not None)
        if wanted > n_samples:
            raise CannotServe(f"{n_samples:,} samples are too few for a calibration with k={k}")
        neighbors = kneighbors(X, wanted, n_threads)
        if itself is not None:
            of_itself = neighbors == itself
            of_itself[~of_itself.any(axis=1), -1] = True  # it is behind equal rows
            neighbors = neighbors[~of_itself].reshape(len(X), k)
        return cls(samples, n_samples, centroids, sizes, X, neighbors, n_threads)

    def __init__(self, samples, n_samples, centroids, sizes, X, neighbors, n_threads):
        m, k = neighbors.shape
        X = samples.space.rows(X, n_threads)
        ranking = ListRanking(centroids, sizes, k, len(centroids))
        self.n_samples, self.n_queries = n_samples, m
        lists, self.scores = ranking.scores(X, n_threads)
        self.sizes = sizes[lists]
        by_list = np.empty_like(self.scores)
        np.put_along_axis(by_list, lists, self.scores, axis=1)
        # [m, k]: how many probes find this neighbor.
        self.needed = np.empty((m, k))
        step = max(1, SUMMED_VALUES // (k * samples.values.shape[1]))
        for start in range(0, m, step):  # so that not all rows are copied at once
            of_some = slice(start, start + step)
            found = samples.space.rows(samples.values[neighbors[of_some].ravel()], n_threads)
            theirs = centroids.lists_of(found, n_threads).reshape(-1, k)
            self.needed[of_some] = np.take_along_axis(by_list[of_some], theirs, axis=1)

    def n_probes_missing(self, share):
        """Return the smallest number of probes that miss no more of the neighbors."""
        ascending = np.sort(self.needed, axis=None)
        n_found = math.ceil((1.0 - share) * len(ascending))
        return float(ascending[max(n_found, 1) - 1])

    def recall(self, n_probes):
        """Return the mean recall."""
        return float((self.needed <= n_probes).mean())

    def interval(self, n_probes, z):
        """Return the mean recall less and plus z standard errors.

        These are of the queries and one more that finds nothing, as in `share_to_miss`: so there is
        an error even where all find everything.
        """
        recalls = np.append((self.needed <= n_probes).mean(axis=1), 0.0)
        error = z * float(recalls.std()) / math.sqrt(len(recalls))
        return max(float(recalls.mean()) - error, 0.0), min(self.recall(n_probes) + error, 1.0)

    def visited(self, n_probes):
        """Return the share of the samples that a query meets."""
        n_visited = np.where(self.scores <= n_probes, self.sizes, 0).sum(axis=1)
        return float(n_visited.mean() / self.n_samples)

    def setting(self, recall):
        """Return the Setting for a recall.

        Raises
        ------
        CannotServe
            If there are too few queries to tell.
        """
        numbers = np.unique(self.needed)
        enough = self.n_probes_missing(share_to_miss(recall, self.n_queries))

        def is_sure(n_probes):
            low, _ = self.interval(n_probes, SLACK_Z)
            return low >= recall - SLACK

        numbers = numbers[np.searchsorted(numbers, enough) :]
        # Of the largest it is true: that finds all.
        n_probes = float(numbers[bisect.bisect_left(numbers[:-1], True, key=is_sure)])
        measured, interval = self.recall(n_probes), self.interval(n_probes, INTERVAL_Z)
        visited = self.visited(n_probes)
        return Setting(n_probes, Recall(recall, measured, interval, self.n_queries, visited))


def _as_dtype(X, dtype):
    """Return X in this dtype, rounded where it has to be."""
    if dtype == np.uint8 and X.dtype != dtype:
        X = np.rint(X).clip(0, 255)
    return X.astype(dtype, copy=False)


def share_to_miss(recall, n_queries):
    """Return the share of the neighbors that a calibration may miss.

    Raises
    ------
    CannotServe
        If there are too few queries to tell.
    """
    if n_queries < fewest_queries(recall):
        raise CannotServe(f"{n_queries} queries cannot confirm a recall of {recall:g}")
    return max(((1.0 - recall) * (n_queries + 1) - 1.0) / n_queries, 0.0)


def fewest_queries(recall):
    """Return how many queries can confirm a recall below 1, if they find all of their neighbors."""
    needed = max(1.0 / (1.0 - recall), (1.0 + SLACK_Z) / (1.0 - recall + SLACK))
    return math.ceil(needed * (1.0 - 1e-12)) - 1


# ---- the search ----------------------------------------------------------------------------------


class InvertedLists:
    """Samples in lists, by their nearest centroids; queries visit the lists near them.

    Parameters
    ----------
    samples : Samples
    centroids : Centroids
    order : ndarray of shape (n,), int64
        The samples list by list.
    sizes : ndarray of shape (n_lists,), float64
        Of the lists.

    Attributes
    ----------
    settings : dict of (int, float) to Setting
        By number of neighbors and recall: see `Searcher`.
    settings_of_subset : (int, dict)
        How many samples there were when those of the latest subset were found, and these.
    """

    name = "ivf"

    def __init__(self, samples, centroids, order, sizes):
        self.samples, self.centroids, self.sizes = samples, centroids, sizes
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.index = FlatIndex(samples.rows(), samples.metric, 0, None, order)
        self.settings = {}
        # How many samples there were when those were found for the latest subset, and they.
        self.settings_of_subset = len(order), self.settings
        self._kept = KeptForSubset()
        self._rankings = {}

    @classmethod
    def build(cls, samples, centroids, n_threads, advance=None):
        lists = centroids.lists_of(samples.rows(n_threads), n_threads, advance)
        # Numbers of up to 16 bits are sorted in linear time.
        lists = lists.astype(np.min_scalar_type(len(centroids)))
        sizes = np.bincount(lists, minlength=len(centroids)).astype(np.float64)
        return cls(samples, centroids, np.argsort(lists, kind="stable"), sizes)

    @property
    def state(self):
        """What `restore` takes: all but the samples."""
        centroids = self.centroids.values, self.centroids.calibration_rows
        n, settings = self.settings_of_subset
        return (
            *centroids, self.index.order, self.sizes, self.settings.copy(), (n, settings.copy())
        )  # fmt: skip

    @classmethod
    def restore(cls, samples, state):
        values, calibration_rows, order, sizes, settings, of_subset = state
        values = values.astype(centroid_dtype(samples), copy=False)
        lists = cls(samples, Centroids(samples, values, sizes, calibration_rows), order, sizes)
        lists.settings.update(settings)
        lists.settings_of_subset = of_subset
        return lists

    def __reduce__(self):
        return InvertedLists.restore, (self.samples, self.state)

    @property
    def nbytes(self):
        arrays = self.sizes, self.starts, self.index.order, self.index
        return self.centroids.nbytes + sum(a.nbytes for a in arrays) + self._kept.nbytes

    def among(self, subset):
        """Return the same lists without the samples that are not in a subset.

        Settings stay those of the latest subset that has been asked for, until a tenth of what
        there was then is gone.
        """
        return self if subset is None else self._kept.get(subset, lambda: self._among(subset))

    def _among(self, subset):
        order = self.index.order
        kept = subset.mask[order]
        lists = np.repeat(np.arange(len(self.sizes)), np.diff(self.starts))[kept]
        sizes = np.bincount(lists, minlength=len(self.sizes)).astype(np.float64)
        centroids = copy.copy(self.centroids)
        rows = centroids.calibration_rows
        centroids.calibration_rows = rows[subset.mask[rows]]
        some = InvertedLists(self.samples, centroids, order[kept], sizes)
        n, settings = self.settings_of_subset
        if len(subset) < SETTLED_SHARE * n:
            n, settings = len(subset), {}
        self.settings_of_subset, some.settings = (n, settings), settings
        return some

    def kneighbors(
        self, X, k, n_threads, advance=None, exclude_self=False, subset=None, n_probes=math.inf
    ):
        """Return (distances, indices) of the k nearest samples among those within n_probes."""
        if subset is not None:
            some = self.among(subset)
            return some.kneighbors(X, k, n_threads, advance, exclude_self, None, n_probes)
        ranking = self._ranking(k, min(n_probes, len(self.sizes)))
        found = find_neighbors(
            self.samples.queries(X, n_threads), self.index, k, self.samples.metric, n_threads,
            False, advance, exclude_self, ranking,
        )  # fmt: skip
        if found is None:
            raise NonFiniteError
        return found

    def _ranking(self, k, n_probes):
        """Return a ListRanking, made once."""
        if (k, n_probes) not in self._rankings:
            self._rankings[k, n_probes] = ListRanking(
                self.centroids, self.sizes, k, n_probes, self.starts
            )
        return self._rankings[k, n_probes]
