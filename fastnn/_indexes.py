"""Kinds of exact search behind one interface, and the choice among them.

| kind      | what it does                                            | serves                   |
|-----------|---------------------------------------------------------|--------------------------|
| "brute"   | all pairs, tile by tile (`_core/_scan`)                 | everything               |
| "bounded" | all pairs of bounds, few of the rows (`_core/_bounded`) | L1, L2; many features    |
| "kd_tree" | few pairs at all (`_core/_kd_tree`)                     | L1, L2, Chebyshev;       |
|           |                                                         | few features             |

All return the same neighbors and distances, bit for bit. "auto" is settled by the first search that
is large enough to make up for an index, small ones before it included, and looked at again whenever
all that has been searched for is twice as much:

- up to TREE_FEATURES features, the tree or an exhaustive search: see `_tree_choice`;
- else, where bounds could serve and looking takes a few percent of an exhaustive search at most,
  bounds are planned on a sample of the rows and queries. The share of pairs that they would leave,
  and what the steps cost each, say which kind is quicker. Where planning would take too long, a
  plan with few directions, at a glance, says first whether to go on.
"""

import collections
import logging
import math
import time

import numpy as np

from . import _validation
from ._bounds import TILE_COST, bounds_for, spread_out
from ._core._bounded import find_neighbors_by_bounds, find_within_radius_by_bounds
from ._core._index import FlatIndex
from ._core._jobs import ieee_arithmetic
from ._core._kd_tree import KDTree
from ._core._search import find_neighbors, find_within_radius
from ._core._threads import RenewedLock
from ._metric_space import MetricSpace
from ._tree_choice import TREE_FEATURES, tree_pays

__all__ = ["ALGORITHMS", "Index"]

logger = logging.getLogger("fastnn")

ALGORITHMS = ("auto", "brute", "bounded", "kd_tree")

# How many times as long as building takes for a sample a search takes for a query, about.
TREE_QUERY_COST = 8.0
# Bounds are planned if that takes at most this share of an exhaustive search; or if a glance, which
# may take that share, says that they are promising;
PLAN_SHARE = 0.012
GLANCE_SHARE = 0.025
# and the bounds have to be so much quicker, since a sample tells only so much.
CLEARLY = 0.8
# Milliseconds that planning bounds takes, for each feature and beside: at a glance, and well.
GLANCE_COST, GLANCE_OVERHEAD = 0.001, 0.5
PLAN_COST, PLAN_OVERHEAD = 0.011, 1.0


# Held while an index makes what its searches share.
making = RenewedLock()


class Progress:
    """Tells how much of a search is done, also where it has to start again."""

    def __init__(self, advance):
        self._advance, self._done = advance, 0.0
        self.advance = None if advance is None else self._tell

    def _tell(self, share):
        self._done += share
        self._advance(share)

    def of_a_part(self, part):
        """Return what a step calls that takes this share of the time, once."""
        if self.advance is None:
            return None
        return lambda share: self._tell(share * part)

    def of_the_rest(self):
        """Return what another search calls, for what the first one has not told."""
        if self.advance is None:
            return None
        left = 1.0 - self._done
        return lambda share: self._advance(share * left)


class Index:
    """Rows to search in, by any kind of search that serves.

    Parameters
    ----------
    Y : ndarray of shape (n, d), float32, float64 or uint8
        C-contiguous; values are looked at by the searches.
    space : MetricSpace, or {"l1", "l2", "sqeuclidean", "chebyshev"}
    algorithm : {"auto", "brute", "bounded", "kd_tree"}, default="auto"

    Attributes
    ----------
    kind : {"brute", "bounded", "kd_tree"}
        What the last search used, or the next small one would use.
    reason : str
        Why.
    """

    def __init__(self, Y, space, algorithm="auto"):
        self.Y, self.algorithm = Y, algorithm
        self.space = MetricSpace(space) if isinstance(space, str) else space
        self.metric = self.space.kernel
        self.kind, self.reason = "brute", "nothing has been searched for yet"
        if algorithm != "auto":
            self.kind, self.reason = algorithm, f"algorithm={algorithm!r}"
        # For neighbors and for radii: how many distances the choice was made for, and the choice;
        # and how many queries there were.
        self._choices = {}
        self._n_queries = collections.Counter()
        self._structures = {}
        # Of the same rows in wider types, for queries that need these.
        self._wider = {}

    # ---- searches --------------------------------------------------------------------------------

    def kneighbors(self, X, k, n_threads, advance=None, exclude_self=False):
        """Return (distances, indices) of the k nearest rows of Y.

        Parameters are those of `_core._search.find_neighbors`; `X` is an array that has passed the
        border, or `Y` itself.

        Raises
        ------
        ValueError
            For NaN and infinity.
        """
        index, X = self._agreeing(X)
        distances, indices = index._nearest(X, k, n_threads, advance, exclude_self)
        self.kind, self.reason = index.kind, index.reason
        return self.space.distances(distances), indices

    def radius_neighbors(
        self, X, radius, n_threads, by_distance, exclude_self=False, with_distances=True
    ):
        """Return slices of neighbors within a radius: see `_core._search.find_within_radius`."""
        index, X = self._agreeing(X)
        radius = self.space.radius(radius)
        slices = index._within(X, radius, n_threads, by_distance, exclude_self, with_distances)
        self.kind, self.reason = index.kind, index.reason
        if not with_distances:
            return [(counts, None, indices) for counts, _, indices in slices]
        return [(counts, self.space.distances(found), i) for counts, found, i in slices]

    def _agreeing(self, X):
        """Return an index and queries of one dtype; unit rows are float64 anyway."""
        if X.dtype == self.Y.dtype or self.space.unit:
            return self, X
        _kept = ieee_arithmetic()
        X = _as_narrow_as(X, self.Y.dtype)
        dtype = np.result_type(X, self.Y)
        if dtype == self.Y.dtype:
            return self, X.astype(dtype, copy=False)
        wider = self._wider.get(dtype)
        if wider is None:
            wider = Index(self.Y.astype(dtype), self.space, self.algorithm)
            if self.algorithm != "brute":  # which has nothing to make but the rows
                self._wider[dtype] = wider
        return wider, X.astype(dtype, copy=False)

    def _queries(self, X, n_threads):
        """Return queries as the kernels take them."""
        return self._flat(n_threads).rows if X is self.Y else self.space.rows(X, n_threads)

    def _flat(self, n_threads):
        return self._structure("brute", n_threads)

    def _rows(self, X, n_threads):
        return self._queries(X, n_threads), self._flat(n_threads).rows

    def _nearest(self, X, k, n_threads, advance, exclude_self):
        found, progress = None, Progress(advance)
        part = progress.of_a_part(len(self.Y) / (len(self.Y) + TREE_QUERY_COST * len(X)))
        kind = self._choose(X, k, None, n_threads, part)
        if kind == "kd_tree":
            tree = self.tree(n_threads, part)
            found = tree.kneighbors(
                self.tree_queries(X, tree), k, n_threads, progress.of_the_rest(), exclude_self
            )
            if found is not None:
                *found, n_pairs = found
                self._log("the tree looked at %d of %d pairs", n_pairs, len(X) * len(self.Y))
        elif kind == "bounded" and (bounds := self._bounds(X, k, None, n_threads)):
            found = self._logged(
                X,
                find_neighbors_by_bounds(
                    *self._rows(X, n_threads), k, self.metric, bounds, n_threads,
                    progress.advance, exclude_self,
                ),
            )  # fmt: skip
        if found is None:
            found = find_neighbors(
                self._queries(X, n_threads), self._flat(n_threads), k, self.metric, n_threads,
                False, progress.of_the_rest(), exclude_self,
            )  # fmt: skip
        if found is None:
            _require_finite(X, self.Y)
        return found

    def _within(self, X, radius, n_threads, by_distance, exclude_self, with_distances):
        kind = self._choose(X, 1, radius, n_threads)
        found = None
        if kind == "kd_tree":
            tree = self.tree(n_threads)
            found = tree.radius_neighbors(
                self.tree_queries(X, tree), radius, n_threads, by_distance, exclude_self,
                with_distances,
            )  # fmt: skip
        elif kind == "bounded" and (bounds := self._bounds(X, 1, radius, n_threads)):
            found = self._logged(
                X,
                find_within_radius_by_bounds(
                    *self._rows(X, n_threads), radius, self.metric, bounds, n_threads,
                    by_distance, exclude_self,
                ),
            )  # fmt: skip
            found = None if found is None else found[0]
        if found is None:
            found = find_within_radius(
                self._queries(X, n_threads), self._flat(n_threads), radius, self.metric, n_threads,
                by_distance, False, exclude_self,
            )  # fmt: skip
        if found is None:
            _require_finite(X, self.Y)
        return found

    def _bounds(self, X, k, radius, n_threads):
        """Return bounds for the samples, or None if none could serve."""
        if "planned" not in self._structures:
            self._structures["planned"] = self._plan(X, k, radius, n_threads)
        bounds = self._structures["planned"] and self._structure("bounded", n_threads)
        if bounds is None and self.algorithm == "bounded":
            self.reason = "there are no bounds for such values"
        return bounds

    def _logged(self, X, found):
        """Log what bounds have left, and return the rest of what was found by them."""
        if found is None:
            return None
        n_pairs = len(X) * len(self.Y)
        shares = (f"{100 * n / n_pairs:.3g} %" for n in found[-1])
        self._log("of the pairs, codes left %s, and all bounds %s", *shares)
        return found[:-1]

    # ---- the choice ------------------------------------------------------------------------------

    def _choose(self, X, k, radius, n_threads, advance=None):
        """Return the kind that suits such queries."""
        if self.algorithm != "auto":
            return self.algorithm
        of_radius, before = radius is not None, self.kind
        # As many more may be expected as there were.
        self._n_queries[of_radius] += len(X)
        n_distances = self._n_queries[of_radius] * len(self.Y)
        settled, *choice = self._choices.get(of_radius, (0,))
        if n_distances >= 2 * settled:
            choice = self._best_kind(X, k, radius, n_threads, advance)
            self._choices[of_radius] = n_distances, *choice
        self.kind, self.reason = choice
        if self.kind != before:
            self._log("algorithm 'auto' chose %r: %s", self.kind, self.reason)
        return choice[0]

    def _best_kind(self, X, k, radius, n_threads, advance=None):
        n, d = self.Y.shape
        if d <= TREE_FEATURES:
            within = radius is not None
            n_queries = self._n_queries[within]
            pays, reason = tree_pays(self, X, n_queries, k, radius, n_threads, advance)
            if not pays and self._choices.get(not within, (0, "brute"))[1] != "kd_tree":
                with making:
                    self._structures.pop("kd_tree", None)
            return ("kd_tree" if pays else "brute"), reason
        if (of_mode := self._choices.get(radius is not None)) and of_mode[1] == "bounded":
            return of_mode[1:]
        family = "l2" if self.metric == "sqeuclidean" else self.metric
        type_ = "u" if self.Y.dtype == np.uint8 and self.space.is_plain else "f"
        if (family, type_) not in TILE_COST:
            return "brute", f"no bounds for metric {self.metric!r}"
        exhaustive = 1e-6 * len(X) * n * (d * TILE_COST[family, type_])
        whole = exhaustive / n_threads
        if PLAN_OVERHEAD + PLAN_COST * d > PLAN_SHARE * whole:
            if GLANCE_OVERHEAD + GLANCE_COST * d > GLANCE_SHARE * whole:
                return "brute", "a search too short for a look at bounds"
            bounds = self._plan(X, k, radius, n_threads, at_a_glance=True)
            if bounds is None or self._cost(bounds, X) > exhaustive:
                return "brute", "bounds do not look promising"
        bounds = self._plan(X, k, radius, n_threads)
        if bounds is None:
            return "brute", "there are no bounds for such values"
        if "bounded" not in self._structures:
            self._structures["planned"] = bounds
        share = self._cost(bounds, X) / exhaustive
        stages = ", then ".join(f"{100 * left:.2g} %" for left in bounds.alive)
        reason = f"bounds leave {stages} of the pairs of a sample"
        reason += f", an estimated {share:.2g} of the time of an exhaustive search"
        return ("bounded" if share < CLEARLY else "brute"), reason

    def _cost(self, bounds, X):
        """Return the milliseconds that making bounds and searching by them would take."""
        n, n_queries = len(self.Y), len(X)
        return 1e-6 * (n_queries * n * bounds.pair_cost + (n + n_queries) * bounds.row_cost)

    def _plan(self, X, k, radius, n_threads, at_a_glance=False):
        if radius is not None and self.metric == "sqeuclidean":
            radius = math.sqrt(max(radius, 0.0))
        return bounds_for(
            self._flat(n_threads).rows, self.metric, n_threads, self._queries(X, n_threads), k,
            radius, at_a_glance,
        )  # fmt: skip

    def _structure(self, kind, n_threads, advance=None):
        """Return the rows, the tree or the bounds for the kernels, made once."""
        structure = self._structures.get(kind)
        if structure is None:
            with making:
                if kind not in self._structures:  # nobody else was quicker
                    start = time.perf_counter()
                    self._structures[kind] = self._made(kind, n_threads, advance)
                    self._log("%s made in %.3g s", kind, time.perf_counter() - start)
                structure = self._structures[kind]
        return structure

    def _made(self, kind, n_threads, advance):
        if kind == "brute":
            return FlatIndex(self.space.rows(self.Y, n_threads), self.metric)
        if kind == "bounded":
            return self._structures["planned"].make(n_threads)
        return self._tree_of(slice(None), n_threads, advance)

    # ---- trees -----------------------------------------------------------------------------------

    @property
    def has_tree(self):
        return "kd_tree" in self._structures

    def tree(self, n_threads, advance=None):
        return self._structure("kd_tree", n_threads, advance)

    def tree_of_some(self, n, n_threads):
        """Return a tree of n samples from all over."""
        return self._tree_of(spread_out(len(self.Y), n, 0.5), n_threads)

    def _tree_of(self, some, n_threads, advance=None):
        # Not the exhaustive search's rows: to it bytes may be float32.
        values = self.space.rows(self.Y, n_threads).values_to_compare(some)
        return KDTree(values, self.metric, n_threads, self.space.weights, self.space.most, advance)

    def tree_queries(self, X, tree):
        """Return queries as a tree takes them."""
        if X is self.Y:
            return tree.Y
        return self.space.rows(X).values_to_compare().astype(tree.Y.dtype, copy=False)

    def _log(self, message, *arguments):
        logger.debug(message, *arguments)


def _require_finite(X, Y):
    """Raise for what a search has met."""
    _validation.require_finite(X, "X")
    _validation.require_finite(Y, "Y")


def _as_narrow_as(X, dtype):
    """Return X in this dtype if that holds all of its values, so that the samples stay as they are.

    Lists of numbers come as float64, and converting the samples for each query would take longer
    than the search.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        narrow = X.astype(dtype)
    return narrow if np.array_equal(narrow, X) else X
