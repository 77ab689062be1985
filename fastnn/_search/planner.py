"""Which algorithm suits a search: a pure function of sizes, costs and what trials have said.

`plan` returns a Plan, or the step that would reveal more: a trial of a tree, a count of neighbors,
a design of bounds. The caller (`searcher`) takes the step, adds its result to the statistics and
asks again. So the rules can be read and tested without data.

- Up to TREE_FEATURES features it is the tree or brute force. Formulas say how many samples a tree
  would visit in a uniform cloud (`costs`). It visits fewer if samples lie in clusters or near a
  surface, and more where many are equal, or as far from a query as its neighbors. Only a tree can
  tell: some queries are tried in it; or in one of some samples, where the time for all could be
  lost. A tree of m samples that for k m / n neighbors, which are as far away, visits t times as
  many as the formula says stands for one of n that does so t^(log m / log n) times; and for one
  that visits n / m times as many samples if t is large, since then most are in the way.

  Brute force compares bytes without rounding. Of floats it can only say in float32 that samples
  are about as far away as the k-th, and evaluates all of these; so ties are counted where the tree
  visits many.
- Beyond, where bounds could serve and looking takes a few percent of brute force at most, bounds
  are designed on a sample of the rows and queries. The share of pairs that they would leave, and
  what the steps cost each, say which is quicker. Where designing would take too long, a quick look,
  with few directions, says first whether to go on.
- Where a recall below 1 is enough, lists of samples are the alternative. Their centroids are
  trained, if that takes a few percent of the exact search at most, and the neighbors of a few
  samples say what share of all samples queries would visit.
"""

import math
from typing import NamedTuple

from .._core.search._kd_tree import LEAF_SAMPLES
from .costs import SearchCosts, family_of
from .ivf import CALIBRATION_QUERIES, ROUNDS, TRAINING_ROWS, TRIED_QUERIES, n_lists_of

# With more features no tree is considered.
TREE_FEATURES = 16
# By the model, a tree that takes less than this share of brute force pays clearly. Then it is tried
# as a whole, since it will be needed, if building it takes no more than the first share of brute
# force, and else if it takes no more than the second. If that is too much, one of some samples is
# tried that takes the third, or up to the fourth if it is as small as makes sense. If this visits
# clearly less than a tree of a uniform cloud, there is one more, up to the last.
CLEAR_SHARE = 0.75
CLEAR_WHOLE_SHARE, WHOLE_SHARE, PART_SHARE, SMALL_PART_SHARE = 0.25, 0.015, 0.007, 0.02
SECOND_SHARE = 0.1
MIN_TRIAL_SAMPLES = 1024
CLEARLY_LESS, CLEARLY_MORE = 0.7, 2.0
# Up to so many samples a tree that pays clearly needs no trial: there is little to lose.
FEW_SAMPLES = 2048
# The queries of a trial may take this share of brute force.
QUERY_SHARE = 0.005

# Bounds are designed if that takes at most this share of brute force; or if a quick look, which may
# take that share, says that they are promising;
DESIGN_SHARE = 0.012
QUICK_SHARE = 0.033
# and they have to be so much quicker, since a sample tells only so much. Codes are made for up to
# AGAIN times the queries of this search.
CLEARLY_QUICKER = 0.8
AGAIN = 8
# Milliseconds that it takes, for each feature and beside: a quick look, and the design.
QUICK_MS, QUICK_OVERHEAD_MS = 0.003, 1.5
DESIGN_MS, DESIGN_OVERHEAD_MS = 0.011, 1.0
# Trying lists may take this share of an exact search.
TRIED_LISTS_SHARE = 0.1


class Plan(NamedTuple):
    algorithm: str
    reason: str


class Request(NamedTuple):
    """What is to be searched.

    Attributes
    ----------
    n_queries, n_expected : int
        Of this search; and with those before it, as many more of which may be expected.
    n_samples, n_features, k : int
    metric : {"l1", "l2", "sqeuclidean", "chebyshev"}
    value_bytes : int
        Of a value as trees hold it.
    bytes_in_tiles : bool
        Whether tiles take values as whole numbers.
    within_radius : bool
        Whether all neighbors within a radius are wanted, and not the k nearest.
    n_threads : int
    recall : float
        The share of the true neighbors that is enough.
    """

    n_queries: int
    n_expected: int
    n_samples: int
    n_features: int
    k: int
    metric: str
    value_bytes: int = 4
    bytes_in_tiles: bool = False
    within_radius: bool = False
    n_threads: int = 1
    recall: float = 1.0


class BoundEstimate(NamedTuple):
    """What bounds would take, in nanoseconds, and leave.

    Attributes
    ----------
    pair_cost, row_cost : float
        Of a pair, and of a row that is encoded.
    survivor_fractions : tuple of float
        The share of pairs that each stage leaves.
    """

    pair_cost: float
    row_cost: float
    survivor_fractions: tuple


class Statistics(NamedTuple):
    """What steps have said so far.

    Attributes
    ----------
    has_tree : bool
    trials : tuple of Trial
        In the order in which they were asked for.
    n_within : float or None
        How many neighbors a query has within the radius.
    quick_look, design : BoundEstimate, False or None
        None: nobody has looked; False: there are no bounds.
    visited : float, False or None
        The share of the samples that queries visit by lists; False: there are no lists.
    """

    has_tree: bool = False
    trials: tuple = ()
    n_within: float | None = None
    quick_look: BoundEstimate | bool | None = None
    design: BoundEstimate | bool | None = None
    visited: float | bool | None = None

    def with_trial(self, trial):
        return self._replace(trials=(*self.trials, trial))


# ---- steps ---------------------------------------------------------------------------------------


class CountNeighbors(NamedTuple):
    """Count how many neighbors queries have within the radius."""


class TryTree(NamedTuple):
    """Try some queries in a tree of so many samples.

    Attributes
    ----------
    n_samples, k : int
    affordable : float
        Nanoseconds that the queries may take.
    costs : SearchCosts
    many_points : float
        If a query visits more, ties are to be counted.
    """

    n_samples: int
    k: int
    affordable: float
    costs: SearchCosts
    many_points: float

    def n_affordable(self, points):
        """Return how many queries may be tried that visit so many points each."""
        return int(self.affordable / self.costs.search(self.k, points))


class DesignBounds(NamedTuple):
    """Design bounds, or at least look quickly whether they may be worthwhile."""

    quick: bool


class TryLists(NamedTuple):
    """Train centroids, and see what share of the samples queries would visit."""


def plan(request, costs, statistics):
    """Return a Plan, or the step that tells more.

    Parameters
    ----------
    request : Request
    costs : Costs
    statistics : Statistics
    """
    if request.n_features <= TREE_FEATURES:
        return _tree_or_brute(request, costs, statistics)
    step = _bounds_or_brute(request, costs, statistics)
    if request.recall < 1.0 and isinstance(step, Plan):
        step = _lists_or_exact(step, request, costs, statistics)
    return step


# ---- few features --------------------------------------------------------------------------------


def _tree_or_brute(request, costs, statistics):
    n, n_queries, k = request.n_samples, request.n_expected, request.k
    model = SearchCosts(
        costs, n, request.n_features, request.value_bytes, request.metric,
        request.bytes_in_tiles, request.within_radius,
    )  # fmt: skip
    build = 0.0 if statistics.has_tree else model.build(n)
    least = build + n_queries * model.search(1, min(n, LEAF_SAMPLES))
    if least > n_queries * model.brute(1):
        return Plan("brute", "a search too short to make up for a tree")
    if request.within_radius:
        if statistics.n_within is None:
            return CountNeighbors()
        k = max(1, round(statistics.n_within))
    brute = n_queries * model.brute(k)
    uniform = points = model.uniform_points(n, k, request.within_radius)

    def share():
        return (build + n_queries * model.search(k, points)) / brute

    reason = "by the formula for a uniform cloud "
    for i, m in enumerate(_sizes_of_trials(model, brute, build, share() < CLEAR_SHARE)):
        of_these, reason = max(1, round(k * m / n)), ""
        expected = model.uniform_points(m, of_these)
        if i == len(statistics.trials):
            affordable = QUERY_SHARE * brute
            return TryTree(m, of_these, affordable, model, CLEARLY_MORE * expected)
        trial = statistics.trials[i]
        build = 0.0 if m == n else build
        times = trial.points / expected
        points = uniform * times ** (math.log(m) / math.log(n) if m < n else 1.0)
        if times > CLEARLY_MORE:
            points = trial.points * n / m
            brute = n_queries * model.brute(k, (trial.ties or 0.0) * n / m)
        if share() < 1.0 or times > CLEARLY_LESS:
            break
    reason += f"a tree visits about {min(points, n):,.0f} of {n:,} samples for a query"
    reason += f", and takes about {share():.2g} of the time of brute force"
    return Plan("kd_tree" if share() < 1.0 else "brute", reason)


def _sizes_of_trials(model, brute, build, is_clear):
    """Return how many samples to try: some, and more of them should these be promising."""
    n = model.n
    if is_clear and n <= FEW_SAMPLES:
        return []
    if build <= (CLEAR_WHOLE_SHARE if is_clear else WHOLE_SHARE) * brute:
        return [n]
    shares = {n: build / brute}
    while min(shares) >= 2 * MIN_TRIAL_SAMPLES:
        m = min(shares) // 2
        shares[m] = model.build(m) / brute
    first = max((m for m in shares if shares[m] <= PART_SHARE), default=min(shares))
    if shares[first] > SMALL_PART_SHARE:
        return []
    return sorted({first, max(m for m in shares if shares[m] <= SECOND_SHARE)})


# ---- many features -------------------------------------------------------------------------------


def _bounds_or_brute(request, costs, statistics):
    family = family_of(request.metric)
    if family == "chebyshev":
        return Plan("brute", f"no bounds for metric {request.metric!r}")
    n, d = request.n_samples, request.n_features
    pair = costs.pair_in_tiles(family, "u" if request.bytes_in_tiles else "f", d)
    whole_ms = 1e-6 * _queries_of_codes(request) * n * pair / request.n_threads

    def share(estimate):
        return _share_of_brute(estimate, request, pair)

    if DESIGN_OVERHEAD_MS + DESIGN_MS * d > DESIGN_SHARE * whole_ms:
        if QUICK_OVERHEAD_MS + QUICK_MS * d > QUICK_SHARE * whole_ms:
            return Plan("brute", "a search too short for a look at bounds")
        if statistics.quick_look is None:
            return DesignBounds(quick=True)
        if not statistics.quick_look or share(statistics.quick_look) > 1.0:
            return Plan("brute", "bounds do not look promising")
    if statistics.design is None:
        return DesignBounds(quick=False)
    if not statistics.design:
        return Plan("brute", "there are no bounds for such values")
    survivors = ", then ".join(
        f"{100 * fraction:.2g} %" for fraction in statistics.design.survivor_fractions
    )
    reason = f"bounds leave {survivors} of the pairs of a sample, an estimated "
    reason += f"{share(statistics.design):.2g} of the time of brute force"
    return Plan("bounded" if share(statistics.design) < CLEARLY_QUICKER else "brute", reason)


def _queries_of_codes(request):
    """Return how many queries codes may be made for: those before, as many of which may come again.

    But not for the sake of many searches that are all small.
    """
    return min(request.n_expected, AGAIN * request.n_queries)


def _share_of_brute(estimate, request, pair):
    """Return the share of the time of brute force, at `pair` a pair, that bounds take."""
    n, n_queries = request.n_samples, _queries_of_codes(request)
    rows = (n + n_queries) * estimate.row_cost
    return (n_queries * n * estimate.pair_cost + rows) / (n_queries * n * pair)


# ---- a recall below 1 ----------------------------------------------------------------------------


def _lists_or_exact(exact, request, costs, statistics):
    """Return the plan of lists if it is cheaper than an exact plan, or the step that tells more."""
    n, n_queries, d = request.n_samples, request.n_expected, request.n_features
    pair = costs.pair_in_tiles(family_of(request.metric), "u" if request.bytes_in_tiles else "f", d)
    per_query = n * pair
    if exact.algorithm == "bounded":
        per_query *= _share_of_brute(statistics.design, request, pair)
    n_lists, whole = n_lists_of(n), n_queries * per_query
    assigned = n_lists * pair + costs.query + costs.neighbor
    training = ROUNDS * TRAINING_ROWS * n_lists * (assigned + costs.summed_feature * d)
    if training + TRIED_QUERIES * per_query > TRIED_LISTS_SHARE * whole:
        return exact
    building = n * assigned + CALIBRATION_QUERIES * per_query
    if building > CLEARLY_QUICKER * whole:
        return exact
    if statistics.visited is None:
        return TryLists()
    if not statistics.visited:
        return exact
    taken = costs.neighbor * request.k * (1 + math.log(n / request.k))
    visited = statistics.visited * n * (pair + costs.listed_pair) + assigned + taken
    share = (building + n_queries * visited) / whole
    reason = f"queries visit about {100 * statistics.visited:.2g} % of the samples for a recall of "
    reason += f"{request.recall:g}, in an estimated {share:.2g} of the time of an exact search"
    return Plan("ivf", reason) if share < CLEARLY_QUICKER else exact
