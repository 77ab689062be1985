"""Whether the tree is quicker than an exhaustive search: by a model, and by a trial.

Times are nanoseconds of one thread.

**How many samples the tree looks at.** Let n samples lie uniformly in a cube, and a leaf with b of
them be a cube of side 1, which makes it a cube of side s = (n / b)^(1/d) in all. The k nearest of a
query are within a ball of k / b leaves' volume, of radius r; the tree looks at the leaves that the
ball meets, whose number is on average the volume of the cube of side 1 thickened by the ball. That
is Steiner's formula [1]_, with c_j the volume of the unit ball of j dimensions in the metric,

    sum over j of C(d, j) c_j r^j,   c_d r^d = k / b.

Near the border there is less to look at, and with many features all of the cube is near it: r is
taken (1 - 1/s)^0.9 times as long, which fits what was counted for 1 to 16 features, 10^3 to 10^6
samples and k up to 24 to a quarter, mostly; of more neighbors it expects up to twice too many.

The tree looks at fewer samples if they lie in clusters, or near a surface, and at more where many
are equal, or as far from a query as its neighbors. Only a tree can tell: some queries are tried in
it; or in one of some samples, where the time for all could be lost. A tree of m samples that for
k m / n neighbors, which are as far away, looks at t times as many as the formula says stands for
one of n that does so t^(log m / log n) times; and for one that looks at n / m times as many samples
if t is large, since then most are in the way.

**Ties.** The exhaustive search compares bytes without rounding. Of floats it can only say in
float32 that samples are about as far away as the k-th, and evaluates all of these; so they are
counted where the tree looks at many.

**Constants** were fitted to an AMD Zen 4, where AVX2 and AVX-512 hardly differ, and without AVX
all that is compared here takes two to three times as long.

References
----------
.. [1] R. Schneider, "Convex Bodies: The Brunn-Minkowski Theory", 2nd ed., section 4.2.
"""

import functools
import math

import numpy as np

from ._bounds import spread_out
from ._core._kd_tree import LEAF_SAMPLES, MAX_SORTED_NEIGHBORS

__all__ = ["TREE_FEATURES", "tree_pays"]

# With more features no tree is looked at.
TREE_FEATURES = 16
# By the model, a tree that takes less than this share of an exhaustive search pays clearly. Then it
# is tried as a whole, since it will be needed, if building it takes no more than the first share of
# the exhaustive search, and else if it takes no more than the second. If that is too much, one of
# some samples is tried that takes the third, or up to the fourth if it is as small as makes sense.
# If this looks at clearly less than a tree of a uniform cloud, there is one more, up to the last.
CLEAR_SHARE = 0.75
CLEAR_WHOLE_SHARE, WHOLE_SHARE, PART_SHARE, SMALL_PART_SHARE = 0.25, 0.025, 0.01, 0.03
SECOND_SHARE = 0.12
MIN_TRIAL_SAMPLES = 1024
CLEARLY_LESS, CLEARLY_MORE = 0.7, 2.0
# Up to so many samples a tree that pays clearly needs no trial: there is little to lose.
FEW_SAMPLES = 2048
# Queries may take this share; but some there are.
QUERY_SHARE = 0.0075
MIN_TRIAL_QUERIES, MAX_TRIAL_QUERIES = 4, 256
# On which neighbors within a radius are counted.
COUNTED_SAMPLES, COUNTED_QUERIES = 1024, 64

# A pair in tiles: what it takes beside the features, and for each. "u" are bytes.
PAIR_COST = {
    ("l1", "f"): (0.09, 0.03),
    ("l1", "u"): (0.14, 0.002),
    ("l2", "f"): (0.09, 0.0165),
    ("l2", "u"): (0.07, 0.011),
    ("chebyshev", "f"): (0.07, 0.072),
    ("chebyshev", "u"): (0.07, 0.072),
}
# An evaluated distance.
TIE_COST = 30.0
# In one dimension float32 tells few near samples apart: many are evaluated.
ONE_FEATURE_COST = 0.1
QUERY_COST = 300.0
# A neighbor, or what is one for a while, and one within a radius: without a tree, and in it.
TAKEN_COST, TAKEN_WITHIN_COST = 60.0, 40.0
TREE_TAKEN_COST, TREE_TAKEN_WITHIN_COST = 40.0, 20.0
# A sample that the tree looks at.
POINT_COST = 3.5
# A sample on each level of halving, while the tree is built: beside the features, and for each.
SPLIT_COST, SPLIT_FEATURE_COST, BUILD_OVERHEAD = 6.0, 0.3, 40_000.0
# Samples of so many bytes are so far from the processor that it waits as long as it computes.
FAR_BYTES = 28e6


class SearchCosts:
    """Estimates for samples of one shape, type and metric.

    Parameters
    ----------
    n, n_features : int
    value_bytes : int
        Of a value as trees hold it.
    metric : {"l1", "l2", "sqeuclidean", "chebyshev"}
    bytes_in_tiles : bool
        Whether tiles take values as whole numbers.
    within_radius : bool
        Whether neighbors are those within a radius, of which k are to be expected.
    """

    def __init__(self, n, n_features, value_bytes, metric, bytes_in_tiles, within_radius=False):
        self.n, self.d, self.within = n, n_features, within_radius
        self.metric = "l2" if metric == "sqeuclidean" else metric
        beside, a_feature = PAIR_COST[self.metric, "u" if bytes_in_tiles else "f"]
        self.pair = beside + a_feature * n_features
        self.tie = 0.0 if bytes_in_tiles else TIE_COST
        if n_features == 1 and self.metric == "l2" and not bytes_in_tiles:
            self.pair += ONE_FEATURE_COST
        self.row_bytes = value_bytes * n_features

    def exhaustive(self, k, ties=0.0):
        """Return what a query for k neighbors takes without a tree."""
        if self.within:
            taken = TAKEN_WITHIN_COST * k
        else:
            taken = TAKEN_COST * k * (1 + math.log(self.n / k)) + self.tie * ties
        return QUERY_COST + self.n * self.pair + taken

    def build(self, n):
        """Return what a tree of n samples takes to build."""
        levels = max(1.0, math.log2(n / LEAF_SAMPLES))
        split = SPLIT_COST + SPLIT_FEATURE_COST * self.d
        return BUILD_OVERHEAD + n * levels * split * self._waiting(n)

    def search(self, k, points):
        """Return what a query takes, for which the tree looks at so many samples."""
        taken = (TREE_TAKEN_WITHIN_COST if self.within else TREE_TAKEN_COST) * k
        return QUERY_COST + taken + POINT_COST * points * self._waiting(self.n)

    def _waiting(self, n):
        return 1.0 + n * self.row_bytes / FAR_BYTES

    def uniform_points(self, n, k, within_radius=False):
        """Return how many of n samples, uniform in a cube, the tree looks at for k neighbors."""
        if k > MAX_SORTED_NEIGHBORS and not within_radius:
            k = 2 * k + 48  # so many are collected before there is a limit
        side = max(1.0, (n / LEAF_SAMPLES) ** (1 / self.d))
        radius = (k / LEAF_SAMPLES / _unit_ball(self.metric, self.d)) ** (1 / self.d)
        radius *= (1 - 1 / side) ** 0.9
        leaves = sum(volume * radius**j for j, volume in enumerate(_volumes(self.metric, self.d)))
        return min(float(n), LEAF_SAMPLES * leaves)


@functools.cache
def _volumes(metric, d):
    """Return the coefficients C(d, j) c_j of Steiner's formula."""
    return [math.comb(d, j) * _unit_ball(metric, j) for j in range(d + 1)]


def _unit_ball(metric, j):
    if metric == "l1":
        return 2.0**j / math.factorial(j)
    if metric == "l2":
        return math.pi ** (j / 2) / math.gamma(j / 2 + 1)
    return 2.0**j


def tree_pays(index, X, n_queries, k, radius, n_threads, advance=None):
    """Return whether a tree is quicker for as many queries as these, and why (str).

    Parameters
    ----------
    index : Index
    X : ndarray of shape (n, n_features)
        Some queries, as the index's searches get them.
    n_queries, k : int
    radius : float or None
        Instead of k.
    n_threads : int
    advance : callable or None
        Is told of the construction, should the tree be needed.
    """
    n, within = len(index.Y), radius is not None
    costs = _costs_of(index, within)
    build = 0.0 if index.has_tree else costs.build(n)
    if build + n_queries * costs.search(1, min(n, LEAF_SAMPLES)) > n_queries * costs.exhaustive(1):
        return False, "a search too short to make up for a tree"
    if within:
        k = max(1, round(_neighbors_within(index, X, radius, n_threads)))
    exhaustive = n_queries * costs.exhaustive(k)
    uniform = points = costs.uniform_points(n, k, within)

    def share():
        return (build + n_queries * costs.search(k, points)) / exhaustive

    reason = "by the formula for a uniform cloud "
    for m in _sizes_of_trials(costs, exhaustive, build, share() < CLEAR_SHARE):
        of_these, reason = max(1, round(k * m / n)), ""
        if m == n:
            tree, build = index.tree(n_threads, advance), 0.0
        else:
            tree = index.tree_of_some(m, n_threads)
        trial = _Trial(index, X, tree, of_these, n_threads)
        trial.run(QUERY_SHARE * exhaustive, costs)
        times = trial.points / costs.uniform_points(m, of_these)
        points = uniform * times ** (math.log(m) / math.log(n) if m < n else 1.0)
        if times > CLEARLY_MORE:
            points = trial.points * n / m
            exhaustive = n_queries * costs.exhaustive(k, trial.ties() * n / m)
        if share() < 1.0 or times > CLEARLY_LESS:
            break
    reason += f"a tree looks at about {min(points, n):,.0f} of {n:,} samples for a query"
    reason += f", and takes about {share():.2g} of the time of an exhaustive search"
    return share() < 1.0, reason


def _costs_of(index, within_radius):
    (n, d), space = index.Y.shape, index.space
    value_bytes = 8 if space.unit else index.Y.itemsize
    bytes_in_tiles = index.Y.dtype == np.uint8 and space.is_plain
    return SearchCosts(n, d, value_bytes, index.metric, bytes_in_tiles, within_radius)


def _sizes_of_trials(costs, exhaustive, build, is_clear):
    """Return how many samples to try: some, and more of them should these be promising."""
    n = costs.n
    if is_clear and n <= FEW_SAMPLES:
        return []
    if build <= (CLEAR_WHOLE_SHARE if is_clear else WHOLE_SHARE) * exhaustive:
        return [n]
    shares = {n: build / exhaustive}
    while min(shares) >= 2 * MIN_TRIAL_SAMPLES:
        m = min(shares) // 2
        shares[m] = costs.build(m) / exhaustive
    first = max((m for m in shares if shares[m] <= PART_SHARE), default=min(shares))
    if shares[first] > SMALL_PART_SHARE:
        return []
    return sorted({first, max(m for m in shares if shares[m] <= SECOND_SHARE)})


class _Trial:
    """Some queries in a tree.

    Attributes
    ----------
    points : float
        How many samples the tree looks at for a query; infinity if it cannot serve.
    """

    def __init__(self, index, X, tree, k, n_threads):
        self.index, self.X, self.tree, self.k, self.n_threads = index, X, tree, k, n_threads

    def run(self, affordable, costs):
        """Try as many queries as take the time that is given; how long one takes, a few tell."""
        self._try(MIN_TRIAL_QUERIES)
        n_queries = int(affordable / costs.search(self.k, self.points))
        if n_queries > MIN_TRIAL_QUERIES:
            self._try(min(n_queries, MAX_TRIAL_QUERIES))

    def _try(self, n_queries):
        tried = self.X[spread_out(len(self.X), n_queries, 0.5)]
        self.queries = self.index.tree_queries(tried, self.tree)
        found = self.tree.kneighbors(self.queries, self.k, self.n_threads)
        self.distances = None if found is None else found[0]
        self.points = math.inf if found is None else found[2] / len(tried)

    def ties(self):
        """Return how many samples are as near to a query as its neighbors."""
        if self.distances is None:
            return 0.0
        few = range(min(MIN_TRIAL_QUERIES, len(self.queries)))
        within = [
            self.tree.radius_neighbors(
                self.queries[i : i + 1], self.distances[i, -1], 1, with_distances=False
            )
            for i in few
        ]
        return sum(len(indices) for ((*_, indices),) in within) / len(few)


def _neighbors_within(index, X, radius, n_threads):
    """Return how many neighbors a query has within a radius, by those among some samples."""
    m = min(len(index.Y), COUNTED_SAMPLES)
    tree = index.tree_of_some(m, n_threads)
    queries = index.tree_queries(X[spread_out(len(X), COUNTED_QUERIES, 0.5)], tree)
    slices = tree.radius_neighbors(queries, radius, n_threads, with_distances=False) or []
    return sum(len(indices) for *_, indices in slices) / len(queries) * len(index.Y) / m
