"""Kinds of exact search behind one interface, and the choice among them.

| kind      | what it does                                            | serves                   |
|-----------|---------------------------------------------------------|--------------------------|
| "brute"   | all pairs, tile by tile (`_core/_scan`)                 | everything               |
| "bounded" | all pairs of bounds, few of the rows (`_core/_bounded`) | L1, L2; many features    |
| "kd_tree" | few pairs at all (`_core/_kd_tree`)                     | L1, L2, Chebyshev;       |
|           |                                                         | few features             |

All return the same neighbors and distances, bit for bit. "auto" is settled by the first search that
is large enough to make up for an index, and looked at again by larger ones:

- up to TREE_FEATURES features, and TREE_SAMPLES samples or more: the tree;
- else, where bounds could serve and looking takes no more than PILOT_SHARE of an exhaustive search,
  bounds are made for a sample of the rows, and some queries are compared with it. The share of
  pairs that the bounds leave, and what the steps cost each, say which kind is quicker.
"""

import logging
import math
import time

import numpy as np

from . import _validation
from ._bounds import bounds_for
from ._core._bounded import find_neighbors_by_bounds
from ._core._index import FlatIndex
from ._core._kd_tree import KDTree
from ._core._search import find_neighbors, find_within_radius
from ._metric_space import MetricSpace

__all__ = ["ALGORITHMS", "Index"]

logger = logging.getLogger("fastnn")

ALGORITHMS = ("auto", "brute", "bounded", "kd_tree")

# Up to so many features a tree looks at so few samples that nothing else keeps up, from so many
# samples and queries on.
TREE_FEATURES = 6
TREE_SAMPLES = 1000
TREE_QUERIES = 100
TREE_METRICS = ("l1", "l2", "sqeuclidean", "chebyshev")
# Looking takes at most this share of an exhaustive search,
PILOT_SHARE = 0.04
# with so many rows and queries,
PILOT_ROWS = 512
PILOT_QUERIES = 32
# and the bounds have to be so much quicker, since a sample tells only so much.
CLEARLY = 0.8
# Nanoseconds on one core for one feature of one pair: in tiles, by metric and dtype, and row by
# row, from the cache or beyond; for one feature and direction of a projection. Only ratios matter.
TILE_COST = {("l1", "f"): 0.02, ("l1", "u"): 0.004, ("l2", "f"): 0.013, ("l2", "u"): 0.007}
ROW_COST = {"u": 0.03, "f": 0.14}
PROJECTION_COST = 0.035
# Milliseconds that finding directions takes, for each feature and beside.
PILOT_COST, PILOT_OVERHEAD = 0.004, 1.5


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
        # The largest number of distances that the choice has been made for.
        self._settled = 0
        self._structures = {}

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
        return self.space.distances(distances), indices

    def radius_neighbors(self, X, radius, n_threads, by_distance, exclude_self=False):
        """Return slices of neighbors within a radius: see `_core._search.find_within_radius`."""
        index, X = self._agreeing(X)
        radius = self.space.radius(radius)
        slices = index._within(X, radius, n_threads, by_distance, exclude_self)
        return [(counts, self.space.distances(found), i) for counts, found, i in slices]

    def _agreeing(self, X):
        """Return an index and queries of one dtype; unit rows are float64 anyway."""
        if X.dtype == self.Y.dtype or self.space.unit:
            return self, X
        X, rows = _validation.to_common_dtype(_as_narrow_as(X, self.Y.dtype), self.Y)
        return (self if rows is self.Y else Index(rows, self.space, self.algorithm)), X

    def _queries(self, X, n_threads):
        """Return queries as the kernels take them."""
        return self._flat(n_threads).rows if X is self.Y else self.space.rows(X, n_threads)

    def _flat(self, n_threads):
        return self._structure("brute", n_threads)

    def _nearest(self, X, k, n_threads, advance, exclude_self):
        self._choose(X, k, n_threads)
        found = None
        queries, flat = self._queries(X, n_threads), self._flat(n_threads)
        if self.kind == "kd_tree":
            tree = self._structure("kd_tree", n_threads)
            found = tree.kneighbors(
                self._tree_queries(X, tree), k, n_threads, advance, exclude_self
            )
        elif self.kind == "bounded":
            bounds = self._structure("bounded", n_threads)
            if bounds is not None:
                found = find_neighbors_by_bounds(
                    queries, flat.rows, k, self.metric, bounds, n_threads, advance, exclude_self
                )
            if found is not None:
                self._log(
                    "bounds left %.3g %% of the pairs", 100 * found[2] / (len(X) * len(self.Y))
                )
                found = found[:2]
            elif self.algorithm == "bounded":
                self.reason = "there are no bounds for such values"
        if found is None:
            found = find_neighbors(
                queries, flat, k, self.metric, n_threads, False, advance, exclude_self
            )
        if found is None:
            _require_finite(X, self.Y)
        return found

    def _within(self, X, radius, n_threads, by_distance, exclude_self):
        found = None
        if self._is_for_tree(len(X)) or self.algorithm == "kd_tree":
            tree = self._structure("kd_tree", n_threads)
            found = tree.radius_neighbors(
                self._tree_queries(X, tree), radius, n_threads, by_distance, exclude_self
            )
        if found is None:
            queries, flat = self._queries(X, n_threads), self._flat(n_threads)
            found = find_within_radius(
                queries, flat, radius, self.metric, n_threads, by_distance, False, exclude_self
            )
        if found is None:
            _require_finite(X, self.Y)
        return found

    # ---- the choice ------------------------------------------------------------------------------

    def _choose(self, X, k, n_threads):
        if self.algorithm != "auto":
            self.kind, self.reason = self.algorithm, f"algorithm={self.algorithm!r}"
            return
        n_distances = len(X) * len(self.Y)
        if n_distances < 2 * self._settled:
            return
        before = self.kind
        self.kind, self.reason = self._best_kind(X, k, n_threads)
        self._settled = n_distances
        if self.kind != before:
            self._log("algorithm 'auto' chose %r: %s", self.kind, self.reason)

    def _is_for_tree(self, n_queries):
        n, d = self.Y.shape
        return (
            self.algorithm == "auto"
            and d <= TREE_FEATURES
            and n >= TREE_SAMPLES
            and n_queries >= TREE_QUERIES
        )

    def _best_kind(self, X, k, n_threads):
        n, d = self.Y.shape
        if self._is_for_tree(len(X)):
            return "kd_tree", f"{d} features: a tree looks at few of {n} samples"
        if "bounded" in self._structures:
            return self.kind, self.reason
        family = "l2" if self.metric == "sqeuclidean" else self.metric
        type_ = "u" if self.Y.dtype == np.uint8 and self.space.is_plain else "f"
        if (family, type_) not in TILE_COST:
            return "brute", f"no bounds for metric {self.metric!r}"
        exhaustive = 1e-6 * len(X) * n * d * TILE_COST[family, type_]
        pilot = PILOT_OVERHEAD + PILOT_COST * d
        if pilot > PILOT_SHARE * exhaustive / n_threads:
            return "brute", "a search too short for a look at bounds"
        alive = self._pairs_left(X, k, n_threads)
        if alive is None:
            return "brute", "there are no bounds for such values"
        share, width, n_directions = alive
        tile = TILE_COST[family, type_ if family == "l1" else "f"]
        bounded = 1e-6 * (
            n * d * n_directions * PROJECTION_COST
            + len(X) * n * (2.0 * width * tile + share * d * ROW_COST[type_])
        )
        reason = f"bounds leave {100 * share:.2g} % of the pairs of a sample"
        reason += f", an estimated {bounded / exhaustive:.2g} of the time of an exhaustive search"
        return ("bounded" if bounded < CLEARLY * exhaustive else "brute"), reason

    def _pairs_left(self, X, k, n_threads):
        """Return (share of pairs that bounds leave, width of bounding rows, directions), or None.

        The limit of a query is the distance of as large a share of the sample as k is of all rows.
        """
        sample = self.Y[:: max(1, len(self.Y) // PILOT_ROWS)][:PILOT_ROWS].copy()
        queries = X[:: max(1, len(X) // PILOT_QUERIES)][:PILOT_QUERIES].copy()
        sample, queries = self.space.rows(sample), self.space.rows(queries)
        bounds = bounds_for(sample, self.metric, n_threads, finer=False)
        moved = None if bounds is None else bounds.move(queries, n_threads)
        if moved is None:
            return None
        rows, margins = moved[0]
        # A query may be a row of the sample, hence one more.
        rank = min(len(sample), math.ceil(k * len(sample) / len(self.Y)) + (X is self.Y))
        exact = find_neighbors(queries, sample, rank, self.metric, n_threads)
        near = find_neighbors(rows, bounds.index, len(sample), bounds.metric, n_threads)
        if exact is None or near is None:
            return None
        limits = exact[0][:, -1:]
        if self.metric == "sqeuclidean":
            limits = np.sqrt(limits)
        reach = (limits + margins[:, None] + bounds.margin) / bounds.unit
        n_directions = rows.shape[1] if bounds.metric == "l2" else 1
        return float((near[0] <= reach).mean()), rows.shape[1], n_directions

    def _structure(self, kind, n_threads):
        """Return the rows, the tree or the bounds for the kernels, made once."""
        if kind not in self._structures:
            start = time.perf_counter()
            if kind == "brute":
                made = FlatIndex(self.space.rows(self.Y, n_threads), self.metric)
            elif kind == "kd_tree":
                # Trees hold floats; these have room for every byte.
                rows = self._flat(n_threads).rows.values_to_compare()
                rows = rows.astype(np.float32) if rows.dtype == np.uint8 else rows
                made = KDTree(rows, self.metric, n_threads, self.space.weights)
            else:
                made = bounds_for(self._flat(n_threads).rows, self.metric, n_threads)
            self._structures[kind] = made
            self._log("%s made in %.3g s", kind, time.perf_counter() - start)
        return self._structures[kind]

    def _tree_queries(self, X, tree):
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
