"""The entry to all searches: rows in, neighbors out."""

import contextlib
import logging
import math
import time
from typing import NamedTuple

import numpy as np

from .. import _validation
from .._core._jobs import ieee_arithmetic
from .base import BaseSearcher, count_in_slices
from .bounded import BoundedSearch, design_bounds
from .brute import BruteForce
from .costs import SearchCosts, current_costs
from .ivf import (
    TRIED_QUERIES,
    Calibration,
    InvertedLists,
    Recall,
    share_to_miss,
    train_centroids,
)
from .kd_tree import KDTreeSearch, count_neighbors, tree_of, try_tree
from .metric_spaces import MetricSpace
from .planner import (
    TREE_FEATURES,
    BoundEstimate,
    CountNeighbors,
    DesignBounds,
    Plan,
    Request,
    Statistics,
    TryLists,
    plan,
)
from .protocol import (
    CannotServe,
    NonFiniteError,
    Samples,
    build_lock,
    within_each_radius,
)
from .sampling import spread_out
from .subsets import FEW_QUERIES, require_valid_among

__all__ = ["ALGORITHMS", "Searcher"]

logger = logging.getLogger("fastnn")

ALGORITHMS = {
    "brute": BruteForce,
    "bounded": BoundedSearch,
    "kd_tree": KDTreeSearch,
    "ivf": InvertedLists,
}

NOTHING_YET = Plan("brute", "nothing has been searched for yet")

# How many times as long as building takes for a sample a search takes for a query, about.
TREE_QUERY_COST = 8.0


class History(NamedTuple):
    """What has been searched for: pairs of what belongs to neighbors, and to those within radii.

    Attributes
    ----------
    n_queries : tuple of int
    plans : tuple of (int, Plan)
        For how many pairs the plan was made, and the plan, or None.
    latest : Plan
    """

    n_queries: tuple = (0, 0)
    plans: tuple = ((0, None), (0, None))
    latest: Plan = NOTHING_YET

    def with_queries(self, within_radius, n):
        for_neighbors, for_radii = self.n_queries
        both = (for_neighbors, for_radii + n) if within_radius else (for_neighbors + n, for_radii)
        return History(both, self.plans, self.latest)

    def with_plan(self, within_radius, n_pairs, chosen):
        plans = list(self.plans)
        plans[within_radius] = n_pairs, chosen
        return History(self.n_queries, tuple(plans), self.latest)


class Searcher(BaseSearcher):
    """Rows to search in, by any algorithm that serves.

    "auto" is settled by the first search that is large enough to make up for an index, small ones
    before it included, and planned again whenever all that has been searched for is twice as much:
    see `planner`.

    Parameters
    ----------
    Y : ndarray of shape (n, d), float32, float64 or uint8
        C-contiguous; searches evaluate the values.
    space : MetricSpace, or {"l1", "l2", "sqeuclidean", "chebyshev", "ip"}
    algorithm : {"auto", "brute", "bounded", "kd_tree", "ivf"}, default="auto"
        "ivf" serves the k nearest with a recall below 1; the rest as "auto" does.
    memory : int or "none", optional
        Bytes that packed copies of the rows may take between searches; None: as many as the rows.
    recall : float, default=1.0
        The share of the k nearest that "auto" and "ivf" may be content with; the others are exact.
    calibration_queries : ndarray of shape (m, d), optional
        What the recall is measured with; None: some of the rows.

    Attributes
    ----------
    Y, space, algorithm, recall, calibration_queries
    """

    def __init__(
        self, Y, space, algorithm="auto", memory=None, recall=1.0, calibration_queries=None
    ):
        self.Y, self.algorithm, self.memory = Y, algorithm, memory
        self.recall, self.calibration_queries = recall, calibration_queries
        self.space = (MetricSpace(space) if isinstance(space, str) else space).of_rows(Y)
        if self.space.kernel in ("chebyshev", "ip") and Y.dtype == _validation.UINT8:
            Y = Y.astype(_validation.FLOAT32)  # there are no kernels for bytes
        self.samples = Samples(Y, self.space, 0 if memory == "none" else memory)
        self._history = History()
        if algorithm != "auto" and not (algorithm == "ivf" and recall == 1.0):
            self._history = History(latest=Plan(algorithm, f"algorithm={algorithm!r}"))
        # What was built, by name; a str says why it could not be.
        self._built = {}
        self._design = self._centroids = None
        # Of the same rows in wider types, for queries that need these.
        self._wider = {}

    def of_other_rows(self, Y, algorithm):
        """Return a searcher of other rows by the same rules but for the algorithm."""
        return Searcher(
            Y, self.space, algorithm, self.memory, self.recall, self.calibration_queries
        )

    @property
    def latest_plan(self):
        """The plan of the last search, or of the next small one."""
        return self._history.latest

    @property
    def nbytes(self):
        """How many bytes are held beside the rows."""
        # Copies, as other threads may add to them.
        built = sum(a.nbytes for a in self._built.copy().values() if not isinstance(a, str))
        if self.calibration_queries is not None:
            built += self.calibration_queries.nbytes
        if self._centroids is not None and "ivf" not in self._built:  # a trial's
            built += self._centroids.nbytes
        return built + sum(wider.Y.nbytes + wider.nbytes for wider in self._wider.copy().values())

    def __sizeof__(self):
        return object.__sizeof__(self) + self.nbytes

    def build_now(self, n_threads):
        """Make the index that has been asked for by name before the first search."""
        self._build(self.algorithm, None, 1, None, n_threads)

    # ---- searches --------------------------------------------------------------------------------

    @property
    def n_indices(self):
        return len(self.Y)

    @property
    def indices(self):
        return np.arange(len(self.Y))

    def find_neighbors(
        self, X, k, n_threads, advance=None, exclude_self=False, subset=None, max_distance=math.inf
    ):
        searcher, X = self._agreeing(X, n_threads)
        progress = Progress(advance)

        def search(algorithm, X, subset):
            arguments = X, k, n_threads, progress.of_the_rest(), exclude_self, subset
            if isinstance(algorithm, InvertedLists):
                setting = searcher._setting(algorithm, k, n_threads, subset)
                return algorithm.kneighbors(*arguments, setting.n_probes)
            if isinstance(algorithm, KDTreeSearch):
                return algorithm.kneighbors(*arguments, max_distance)
            return algorithm.kneighbors(*arguments)

        found, chosen = searcher._search(X, k, None, n_threads, search, subset, progress)
        self._note(chosen)
        return found, chosen

    def find_within_radius(
        self, X, radii, n_threads, sort_results, exclude_self, with_distances, subset=None
    ):
        searcher, X = self._agreeing(X, n_threads)
        largest, each = float(radii.max()), len(radii) > 1

        def search(algorithm, X, subset):
            if each and isinstance(algorithm, KDTreeSearch):
                return algorithm.radius_neighbors(
                    X, largest, n_threads, sort_results, exclude_self, with_distances, subset, radii
                )
            slices = algorithm.radius_neighbors(
                X, largest, n_threads, sort_results, exclude_self, with_distances or each, subset
            )
            return list(within_each_radius(slices, radii)) if each else slices

        slices, chosen = searcher._search(X, 1, largest, n_threads, search, subset)
        self._note(chosen)
        return slices, chosen

    def find_counts(self, X, radii, n_threads, subset=None):
        searcher, X = self._agreeing(X, n_threads)

        def search(algorithm, X, subset):
            if isinstance(algorithm, KDTreeSearch):
                return algorithm.count_within(X, radii, n_threads, subset)

            def count(rows):
                some = radii if len(radii) == 1 else radii[rows]
                slices = algorithm.radius_neighbors(
                    X[rows], float(some.max()), n_threads, False, False, len(radii) > 1, subset
                )
                if len(radii) > 1:
                    slices = within_each_radius(slices, some)
                return np.concatenate([counts for counts, _, _ in slices])

            return count_in_slices(len(X), len(self.Y), count)

        counts, chosen = searcher._search(X, 1, float(radii.max()), n_threads, search, subset)
        self._note(chosen)
        return counts, chosen

    def _search_subset(self, X, k, radius, n_threads, search, subset):
        """Return what `search` finds among some samples, and the plan followed.

        By an index that is there, or else by those of the rows that are left: where they lie, or of
        a copy.
        """
        name = self._algorithm_for(subset, k, radius)
        reason = f"{len(subset):,} of {len(self.Y):,} samples are searched"
        try:
            may_copy = name != self.algorithm and radius is None
            if name == "brute" and may_copy and len(X) > FEW_QUERIES:
                copied = Searcher(self.samples.values[subset.indices], self.space)
                (distances, indices), chosen = copied._search(X, k, radius, n_threads, search)
                return (distances, subset.indices[indices]), Plan(chosen.algorithm, reason)
            try:
                algorithm = self._build(name, X, k, radius, n_threads)
                return search(algorithm, X, subset), Plan(name, reason)
            except CannotServe:
                brute = self._build("brute", X, k, radius, n_threads)
                return search(brute, X, subset), Plan("brute", reason)
        except NonFiniteError:  # queries have been checked
            require_valid_among(self.space, self.samples.values, subset)
            raise

    def _algorithm_for(self, subset, k, radius):
        if self.space.for_brute_force or self.algorithm == "brute":
            return "brute"
        if self.algorithm in ("kd_tree", "bounded"):
            return self.algorithm
        name = next((name for name in ("kd_tree", "bounded") if name in self._built), "brute")
        return "brute" if name == "kd_tree" and self._tree_is_slower(subset, k, radius) else name

    def _tree_is_slower(self, subset, k, radius):
        """Whether a tree of all samples visits more than there are to compare with."""
        n, d = self.samples.values.shape
        costs = SearchCosts(
            current_costs(), n, d, self.samples.values.itemsize, self.space.kernel,
            _has_bytes_in_tiles(self.samples.values, self.space),
            radius is not None,
        )  # fmt: skip
        among = round(k * n / max(1, len(subset)))
        points = costs.uniform_points(n, among, radius is not None)
        return costs.search(k, points) > current_costs().query + len(subset) * costs.pair

    def _agreeing(self, X, n_threads):
        """Return a searcher and queries of one dtype; normalized rows are float64 anyway."""
        if X is self.Y:
            return self, self.samples.values
        dtype = self.samples.values.dtype
        if X.dtype == dtype or self.space.normalized or self.space.mapping:
            return self, X
        _kept = ieee_arithmetic()
        X = as_narrow_as(X, dtype)
        wide = np.result_type(X, dtype)
        if wide == dtype:
            return self, X.astype(dtype, copy=False)
        wider = self._wider.get(wide)
        if wider is None:
            wider = self.of_other_rows(self.Y.astype(wide), self.algorithm)
            self._share_lists(wider, n_threads)
            if self.algorithm != "brute":  # which builds nothing but the rows
                self._wider[wide] = wider
        return wider, X.astype(wide, copy=False)

    def _search(self, X, k, radius, n_threads, search, subset=None, progress=None):
        """Return what `search` finds with the algorithm that suits, and the plan followed."""
        if subset is not None and not subset.stays:
            return self._search_subset(X, k, radius, n_threads, search, subset)
        building = len(self.Y) / (len(self.Y) + TREE_QUERY_COST * len(X))
        of_building = progress and progress.of_a_part(building)
        try:
            chosen = self._plan(X, k, radius, n_threads, of_building)
            try:
                algorithm = self._build(chosen.algorithm, X, k, radius, n_threads, of_building)
                return search(algorithm, X, subset), chosen
            except CannotServe as error:
                chosen = Plan("brute", str(error))
                return search(self._build("brute", X, k, radius, n_threads), X, subset), chosen
        except NonFiniteError:
            self.space.require_valid(X, "X")
            self.space.require_valid(self.samples.values, "Y")
            raise

    def _build(self, name, X, k, radius, n_threads, advance=None):
        """Return an algorithm, built once.

        Raises
        ------
        CannotServe
        """
        built = self._built.get(name)
        if built is None:
            with build_lock:
                if name not in self._built:  # nobody else was quicker
                    self._built[name] = self._new(name, X, k, radius, n_threads, advance)
                built = self._built[name]
        if isinstance(built, str):
            raise CannotServe(built)
        return built

    def _new(self, name, X, k, radius, n_threads, advance):
        start = time.perf_counter()
        if name == "bounded" and self._design is None:
            self._design_bounds(X, k, radius, n_threads, quick=False)
        design = self._design
        try:
            if name == "ivf":
                design = self._centroids = self._centroids or train_centroids(
                    self.samples, n_threads
                )
            built = ALGORITHMS[name].build(self.samples, design, n_threads, advance)
        except CannotServe as error:
            return str(error)
        logger.debug("%s built in %.3g s", name, time.perf_counter() - start)
        return built

    # ---- the plan --------------------------------------------------------------------------------

    def _note(self, chosen):
        # Not without need: the lock may be held for as long as another searcher builds.
        if chosen != self._history.latest:
            with build_lock:
                self._history = self._history._replace(latest=chosen)

    def _plan(self, X, k, radius, n_threads, advance):
        """Return the plan for such queries, and note that they were asked for."""
        if self.space.for_brute_force:
            return Plan("brute", f"metric {self.space.kernel!r} has no other search")
        within = radius is not None
        approximate = self.recall < 1.0 and not within
        if self.algorithm not in ("auto", "ivf") or (self.algorithm == "ivf" and approximate):
            return Plan(self.algorithm, f"algorithm={self.algorithm!r}")
        with build_lock:
            self._history = self._history.with_queries(within, len(X))
        history = self._history
        n_pairs = history.n_queries[within] * len(self.Y)
        n_settled, chosen = history.plans[within]
        if chosen is not None and n_pairs < 2 * n_settled:
            return chosen
        if chosen is None or chosen.algorithm not in ("bounded", "ivf"):
            chosen = self._best_plan(X, k, radius, n_threads, history.n_queries[within], advance)
        with build_lock:
            self._history = self._history.with_plan(within, n_pairs, chosen)
        if chosen.algorithm != history.latest.algorithm:
            logger.debug("algorithm 'auto' chose %r: %s", *chosen)
        return chosen

    def _best_plan(self, X, k, radius, n_threads, n_expected, advance):
        values, within = self.samples.values, radius is not None
        request = Request(
            n_queries=len(X),
            n_expected=n_expected,
            n_samples=len(values),
            n_features=values.shape[1],
            k=k,
            metric=self.space.kernel,
            value_bytes=_value_bytes(values, self.space),
            bytes_in_tiles=_has_bytes_in_tiles(values, self.space),
            within_radius=within,
            n_threads=n_threads,
            recall=1.0 if within else self.recall,
        )
        costs, statistics = current_costs(), Statistics(has_tree="kd_tree" in self._built)
        step = plan(request, costs, statistics)
        while not isinstance(step, Plan):
            statistics = self._take(step, statistics, X, k, radius, n_threads, advance)
            step = plan(request, costs, statistics)
        if values.shape[1] <= TREE_FEATURES and step.algorithm != "kd_tree":
            self._drop_tree(within)
        return step

    def _take(self, step, statistics, X, k, radius, n_threads, advance):
        """Return the statistics with what a step says."""
        if isinstance(step, CountNeighbors):
            return statistics._replace(n_within=count_neighbors(self.samples, X, radius, n_threads))
        if isinstance(step, DesignBounds):
            estimate = self._design_bounds(X, k, radius, n_threads, step.quick)
            return statistics._replace(**{"quick_look" if step.quick else "design": estimate})
        if isinstance(step, TryLists):
            return statistics._replace(visited=self._try_lists(k, n_threads))
        if step.n_samples == len(self.samples):
            tree = self._build("kd_tree", X, k, radius, n_threads, advance).tree
        else:
            some = spread_out(len(self.samples), step.n_samples, 0.5)
            tree = tree_of(self.samples, some, n_threads)
        trial = try_tree(
            self.samples, tree, X, step.k, n_threads, step.n_affordable, step.many_points
        )
        return statistics.with_trial(trial)

    def _design_bounds(self, X, k, radius, n_threads, quick):
        """Return what bounds would take, or False if there are none."""
        if radius is not None and self.space.kernel == "sqeuclidean":
            radius = math.sqrt(max(radius, 0.0))
        design = design_bounds(
            self.samples.rows(n_threads), self.space.kernel, n_threads,
            self.samples.queries(X, n_threads), k, radius, quick,
        )  # fmt: skip
        if not quick and "bounded" not in self._built:
            self._design = design
        if design is None:
            return False
        return BoundEstimate(design.pair_cost, design.row_cost, tuple(design.survivor_fractions))

    # ---- a recall below 1 ------------------------------------------------------------------------

    @property
    def _plan_of_lists(self):
        """The plan of searches for the k nearest if they visit lists, or None."""
        if self.space.for_brute_force:
            return None
        chosen = self._history.plans[False][1]
        if self.algorithm == "ivf" and chosen is None:
            chosen = Plan("ivf", "algorithm='ivf'")
        return chosen if self.recall < 1.0 and chosen and chosen.algorithm == "ivf" else None

    @property
    def lists_state(self):
        """What `restore_lists` takes, or None while searches visit no lists."""
        lists, chosen = self._built.get("ivf"), self._plan_of_lists
        if chosen is None or not isinstance(lists, InvertedLists):
            return None
        return lists.state, chosen

    def restore_lists(self, state, with_settings=True):
        """Go on with the lists of another searcher of the same rows."""
        lists, chosen = state
        self._built["ivf"] = lists = InvertedLists.restore(self.samples, lists)
        if not with_settings:
            lists.settings.clear()
            lists.settings_of_subset = len(self.samples), lists.settings
        self._history = History(plans=((0, chosen), (0, None)), latest=chosen)

    def _share_lists(self, wider, n_threads):
        """Let a searcher of the same rows in a wider type visit the lists that are visited here."""
        if self._plan_of_lists is not None:
            with contextlib.suppress(CannotServe, NonFiniteError):  # the search tells
                self._build("ivf", None, 1, None, n_threads)
        if self.lists_state is not None:
            wider.restore_lists(self.lists_state)

    def recall_of(self, k, n_threads, subset=None):
        """Return the Recall of searches for the k nearest."""
        if self._plan_of_lists is None:
            return Recall.exact(self.recall)
        try:
            lists = self._build("ivf", None, k, None, n_threads)
            return self._setting(lists, k, n_threads, subset).recall
        except CannotServe:
            return Recall.exact(self.recall)
        except NonFiniteError:
            _validation.require_finite(self.samples.values, "Y")
            raise

    def _setting(self, lists, k, n_threads, subset):
        """Return how many lists queries for the k nearest, in all samples or a subset, visit.

        Raises
        ------
        CannotServe
            If no calibration can tell.
        """
        asked, lists = (k, self.recall), lists.among(subset)
        if asked not in lists.settings:
            with build_lock:
                if asked not in lists.settings:  # nobody else was quicker
                    known = self._calibrate(
                        lists.centroids, lists.sizes, k, None, n_threads, subset
                    )
                    lists.settings[asked] = known.setting(self.recall)
        return lists.settings[asked]

    def _try_lists(self, k, n_threads):
        """Return what share of the samples queries would visit, or False without lists."""
        try:
            self._centroids = self._centroids or train_centroids(self.samples, n_threads)
            centroids = self._centroids
            n_queries = len(
                centroids.calibration_rows
                if self.calibration_queries is None
                else self.calibration_queries
            )
            share_to_miss(self.recall, n_queries)
            known = self._calibrate(centroids, centroids.sizes, k, TRIED_QUERIES, n_threads)
        except CannotServe:
            return False
        return known.visited(known.n_probes_missing(1.0 - self.recall))

    def _calibrate(self, centroids, sizes, k, n_queries, n_threads, subset=None):
        """Return a Calibration by so many queries; None: all."""

        def kneighbors(X, k, n_threads):
            exact = Searcher(self.samples.values, self.space)
            exact.samples = self.samples
            try:
                return exact.find_neighbors(X, k, n_threads, subset=subset)[0][1]
            except ValueError:  # of the samples: queries have been checked
                raise NonFiniteError from None

        n_samples = len(self.samples if subset is None else subset)
        return Calibration.of(
            self.samples, n_samples, centroids, sizes, k, self.calibration_queries, n_queries,
            n_threads, kneighbors,
        )  # fmt: skip

    def _drop_tree(self, within):
        """Drop a tree that was built for a trial, unless searches of the other sort use it."""
        _, other = self._history.plans[not within]
        if other is None or other.algorithm != "kd_tree":
            with build_lock:
                self._built.pop("kd_tree", None)

    # ---- pickles ---------------------------------------------------------------------------------

    def __getstate__(self):
        state = {
            name: value
            for name, value in vars(self).items()
            if name not in ("_design", "_centroids", "_wider")
        }
        return state | {"_built": self._built.copy()}  # other threads may add to it

    def __setstate__(self, state):
        vars(self).update(state)
        self._design = self._centroids = None
        self._wider = {}


def _has_bytes_in_tiles(values, space):
    return space.mapping == "bits" or (values.dtype == _validation.UINT8 and space.is_plain)


def _value_bytes(values, space):
    """Return how many bytes a value has as the kernels take it."""
    if space.mapping == "bits":
        return 1
    return 8 if space.normalized or space.mapping else values.itemsize


class Progress:
    """Tells how much of a search is done, also where it has to start again."""

    def __init__(self, advance):
        self._advance, self._done = advance, 0.0

    def of_a_part(self, part):
        """Return what a step calls that takes this share of the time, once."""
        if self._advance is None:
            return None

        def tell(share):
            self._done += share * part
            self._advance(share * part)

        return tell

    def of_the_rest(self):
        """Return what another search calls, for what the first one has not told."""
        return self.of_a_part(1.0 - self._done)


def as_narrow_as(X, dtype, equal_nan=False):
    """Return X in this dtype if that holds all of its values, so that the samples stay as they are.

    Lists of numbers come as float64, and converting the samples for each query would take longer
    than the search.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        narrow = X.astype(dtype)
    return narrow if np.array_equal(narrow, X, equal_nan=equal_nan) else X
