"""When "auto" takes which algorithm. No clock is read: plans are functions of the data."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn
from fastnn._core.search._kd_tree import LEAF_SAMPLES, KDTree
from fastnn._search import planner
from fastnn._search.costs import SearchCosts, current_costs
from fastnn._search.kd_tree import Trial
from fastnn._search.planner import (
    BoundEstimate,
    CountNeighbors,
    DesignBounds,
    Plan,
    Request,
    Statistics,
    TryTree,
    plan,
)
from fastnn._search.searcher import Searcher


def clusters(rng, n, d, width=0.003):
    return rng.random((200, d))[rng.integers(0, 200, n)] + width * rng.standard_normal((n, d))


def has_tree(searcher):
    return "kd_tree" in searcher._built


def choice(Y, X, k=10, metric="l2", radius=None):
    """Return the searcher after one search, and what found the neighbors."""
    searcher = Searcher(Y, metric)
    if radius is None:
        found = searcher.kneighbors(X, k, 2)
    else:
        found = searcher.radius_neighbors(X, radius, 2, False)
    return searcher, Plan(found.algorithm, found.reason)


@pytest.mark.parametrize("k", [1, 10, 24])
@pytest.mark.parametrize(("n", "d"), [(1000, 2), (20_000, 3), (20_000, 6), (50_000, 9)])
@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean", "chebyshev"])
def test_the_formula_says_how_many_samples_are_visited(metric, n, d, k, rng):
    Y, X = rng.random((n, d)), rng.random((500, d))
    visited = KDTree(Y, metric, 2).kneighbors(X, k, 2)[2] / len(X)
    estimate = SearchCosts(current_costs(), n, d, 8, metric, False).uniform_points(n, k)
    assert estimate / 1.6 < visited < 1.6 * estimate


def test_few_features_and_many_queries_make_a_tree(rng):
    Y = rng.random((20_000, 3)).astype(np.float32)
    _, chosen = choice(Y, Y)
    assert chosen.algorithm == "kd_tree"
    assert "of 20,000 samples for a query" in chosen.reason


def test_many_features_make_none(rng):
    Y = rng.random((5000, 16)).astype(np.float32)
    searcher, chosen = choice(Y, Y)
    assert chosen.algorithm == "brute"
    assert not has_tree(searcher)
    assert chosen.reason.startswith("a tree visits about 4,")


def test_clusters_are_seen(rng):
    """In a trial of some samples, in one of more, and in the tree itself."""
    Y = clusters(rng, 20_000, 14).astype(np.float32)
    for n_queries in (500, 2000, 20_000):
        assert choice(Y, Y[:n_queries])[1].algorithm == "kd_tree"


@pytest.mark.parametrize(("n", "n_queries"), [(20_000, 20_000), (20_000, 2000), (200_000, 3000)])
def test_equal_samples_are_seen(n, n_queries):
    """By the formula for a uniform cloud a tree pays; but here it looks at all samples."""
    Y = np.zeros((n, 3), np.uint8)
    searcher, chosen = choice(Y, Y[:n_queries].copy())
    assert chosen.algorithm == "brute"
    assert not has_tree(searcher)
    assert f"visits about {n:,} of {n:,}" in chosen.reason


def test_equal_floats_are_worse_without_a_tree(rng):
    """Tiles cannot tell which of them are neighbors, and evaluate them all."""
    Y = rng.random((20_000, 3)).astype(np.float32)
    Y[::2] = 0.0
    assert choice(Y, Y[:2000].copy())[1].algorithm == "kd_tree"


def test_few_samples_need_no_trial(rng):
    Y = rng.random((2000, 2))
    _, chosen = choice(Y, Y)
    assert chosen.algorithm == "kd_tree"
    assert chosen.reason.startswith("by the formula")


@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean", "chebyshev"])
def test_radii(metric, rng):
    """In a few dimensions neighbors are found by the tree; in many a ball meets most leaves."""
    Y = rng.random((10_000, 3))
    assert choice(Y, Y, metric=metric, radius=0.001)[1].algorithm == "kd_tree"
    Y = rng.random((5000, 16))
    radius = float(np.quantile(fastnn.pairwise_distances(Y[:50], Y, metric), 0.01))
    assert choice(Y, Y, metric=metric, radius=radius)[1].algorithm == "brute"


def test_short_searches_make_no_tree(rng):
    Y = rng.random((20_000, 3))
    assert choice(Y, Y[:10])[1] == ("brute", "a search too short to make up for a tree")


def test_short_searches_add_up(rng):
    Y = rng.random((20_000, 3))
    searcher = Searcher(Y, "l2")
    used = [searcher.kneighbors(row[None], 3, 2).algorithm for row in Y[:1000]]
    assert used[0] == "brute"
    assert used[-1] == "kd_tree"
    assert used == sorted(used), "it does not go back and forth"


def test_wider_queries_tell_what_they_used(rng):
    Y = rng.random((20_000, 3)).astype(np.float32)
    _, chosen = choice(Y, rng.random((20_000, 3)))
    assert chosen.algorithm == "kd_tree"
    assert "of 20,000 samples" in chosen.reason


class Dropping(dict):
    """Of an index: another thread drops the tree as soon as this one has looked for it."""

    def __contains__(self, kind):
        found = super().__contains__(kind)
        if found and kind == "kd_tree":
            del self[kind]
        return found


def test_another_thread_may_drop_the_tree(rng):
    Y = rng.random((20_000, 3))
    searcher, _ = choice(Y, Y)
    searcher._built = Dropping(searcher._built)
    np.testing.assert_array_equal(
        searcher.kneighbors(Y[:50], 3, 2).indices,
        Searcher(Y, "l2", "brute").kneighbors(Y[:50], 3, 2).indices,
    )


def test_threads_share_an_index(rng):
    """Each of them chooses, and some choices drop the tree of others."""
    Y = rng.random((20_000, 9)).astype(np.float32)
    index = Searcher(Y, "l2")
    radius = float(np.quantile(fastnn.pairwise_distances(Y[:50], Y), 0.01))
    neighbors = Searcher(Y, "l2", "brute").kneighbors(Y[:3000], 10, 2)[1]
    slices = Searcher(Y, "l2", "brute").radius_neighbors(Y[:300], radius, 2, False).slices
    counts = np.concatenate([part[0] for part in slices])

    def search(i):
        for n in (30, 300, 3000):
            np.testing.assert_array_equal(index.kneighbors(Y[:n], 10, 1)[1], neighbors[:n])
            slices = index.radius_neighbors(Y[:300], radius, 1, False).slices
            found = np.concatenate([part[0] for part in slices])
            np.testing.assert_array_equal(found, counts)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(search, range(8)))


def test_a_tree_that_is_there_serves_both(rng):
    """A tree for neighbors takes no time to make for radii, and stays where radii do without."""
    Y = rng.random((60_000, 9)).astype(np.float32)
    searcher, _ = choice(Y, Y)
    tree = searcher._built["kd_tree"]
    assert searcher.radius_neighbors(Y[:5], 0.01, 2, False).algorithm == "kd_tree"
    radius = float(np.quantile(fastnn.pairwise_distances(Y[:50], Y), 0.01))
    assert searcher.radius_neighbors(Y[:3000], radius, 2, False).algorithm == "brute"
    assert searcher.kneighbors(Y[:20], 10, 2).algorithm == "kd_tree"
    assert searcher._built["kd_tree"] is tree


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_named(bad, rng):
    Y = rng.random((30_000, 3))
    spoiled = Y.copy()
    spoiled[4321, 1] = bad
    for X, samples, name in ((Y, spoiled, "Y"), (spoiled, Y, "X")):
        with pytest.raises(ValueError, match=f"{name} must hold finite numbers, .* at row 4321"):
            fastnn.kneighbors(X, samples, 3)
        with pytest.raises(ValueError, match=f"{name} must hold finite numbers"):
            Searcher(samples, "l2").radius_neighbors(X, 0.01, 2, False)


@pytest.mark.parametrize("n", [1, 2, 23, 24, 25, 100])
def test_few_samples_and_many_queries(n, rng):
    """No logarithm of one sample, no trial of more samples than there are."""
    Y, X = rng.random((n, 2)), rng.random((30_000, 2))
    expected = fastnn.kneighbors(X, Y, n, algorithm="brute")
    for found, right in zip(fastnn.kneighbors(X, Y, n), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_trials_are_as_large_as_they_may_be():
    costs = SearchCosts(current_costs(), 1_000_000, 8, 4, "l2", False)
    whole = costs.build(1_000_000)
    sizes = planner._sizes_of_trials
    assert sizes(costs, 1000 * whole, whole, False) == [1_000_000]
    assert sizes(costs, 20 * whole, whole, False) == [250_000, 1_000_000]
    assert sizes(costs, 20 * whole, whole, True) == [1_000_000]
    assert sizes(costs, 1e-4 * whole, whole, True) == []
    assert sizes(costs, 1e-4 * whole, 0.0, False) == [1_000_000]


# ---- rules, without data -------------------------------------------------------------------------


def request(n_queries=10_000, n_samples=100_000, n_features=3, **others):
    defaults = {"n_expected": n_queries, "k": 10, "metric": "l2"}
    return Request(
        n_queries=n_queries, n_samples=n_samples, n_features=n_features, **{**defaults, **others}
    )


def test_codes_are_for_queries_that_come_again():
    """But not for many searches that are all small."""
    asked = request(2000, 2000, 3072, bytes_in_tiles=True)
    costs = current_costs()
    assert plan(asked, costs, Statistics()).reason == "a search too short for a look at bounds"
    assert isinstance(plan(asked._replace(n_expected=16_000), costs, Statistics()), DesignBounds)
    small = asked._replace(n_queries=1, n_expected=16_000)
    assert plan(small, costs, Statistics()).algorithm == "brute"


def test_a_tree_is_tried_before_it_is_chosen():
    asked = request()
    step = plan(asked, current_costs(), Statistics())
    assert isinstance(step, TryTree)
    assert step.n_samples == asked.n_samples
    few, all_of_them = (Trial(points, 5.0) for points in (200.0, 100_000.0))
    assert plan(asked, current_costs(), Statistics().with_trial(few)).algorithm == "kd_tree"
    assert plan(asked, current_costs(), Statistics().with_trial(all_of_them)).algorithm == "brute"


def test_ties_make_brute_force_dearer():
    """The tree visits half of all samples, which brute force would have to evaluate."""
    asked = request(n_queries=50_000)
    without, with_ties = (
        plan(asked, current_costs(), Statistics().with_trial(Trial(50_000.0, ties)))
        for ties in (0.0, 50_000.0)
    )
    assert (without.algorithm, with_ties.algorithm) == ("brute", "kd_tree")


def test_a_tree_that_is_built_costs_nothing_more():
    asked = request(n_queries=20, n_samples=50_000)
    costs, few = current_costs(), Trial(100.0, 5.0)
    assert plan(asked, costs, Statistics()).algorithm == "brute"
    step = plan(asked, costs, Statistics(has_tree=True))
    assert isinstance(step, TryTree)
    assert plan(asked, costs, Statistics(has_tree=True).with_trial(few)).algorithm == "kd_tree"


def test_earlier_queries_count():
    costs = current_costs()
    assert plan(request(n_queries=10), costs, Statistics()).algorithm == "brute"
    step = plan(request(n_queries=10, n_expected=10_000), costs, Statistics())
    assert isinstance(step, TryTree)


def test_neighbors_within_a_radius_are_counted_first():
    asked, costs = request(within_radius=True), current_costs()
    assert isinstance(plan(asked, costs, Statistics()), CountNeighbors)
    step = plan(asked, costs, Statistics(n_within=7.4))
    assert isinstance(step, TryTree)
    assert step.k == 7


def test_small_trials_come_first_where_a_tree_may_not_pay():
    asked, costs = request(n_queries=2000, n_samples=1_000_000, n_features=14), current_costs()
    step = plan(asked, costs, Statistics())
    assert isinstance(step, TryTree)
    assert step.n_samples < asked.n_samples
    hopeless = Statistics().with_trial(Trial(float(step.n_samples), None))
    assert plan(asked, costs, hopeless).algorithm == "brute"
    promising = Statistics().with_trial(Trial(30.0, None))
    assert not isinstance(plan(asked, costs, promising), TryTree) or (
        plan(asked, costs, promising).n_samples > step.n_samples
    )


def test_a_search_in_a_tree_takes_time_too():
    """What brute force takes has to make up for building the tree and for a leaf of each query."""
    costs, n = current_costs(), 100_000
    model = SearchCosts(costs, n, 3, 4, "l2", False)
    saved = model.brute(1) - model.search(1, LEAF_SAMPLES)
    few, enough = int(model.build(n) / saved), int(model.build(n) / saved) + 1
    assert few * model.brute(1) > model.build(n)
    chosen = plan(request(n_queries=few, n_samples=n), costs, Statistics())
    assert chosen == ("brute", "a search too short to make up for a tree")
    later = plan(request(n_queries=enough, n_samples=n), costs, Statistics())
    assert later[-1] != "a search too short to make up for a tree"


def test_a_small_trial_looks_for_as_many_neighbors_as_its_samples_have():
    asked, costs = request(n_queries=2000, n_samples=1_000_000, n_features=14), current_costs()
    for k in (10, 1000):
        step = plan(asked._replace(k=k), costs, Statistics())
        assert step.n_samples < asked.n_samples
        assert step.k == max(1, round(k * step.n_samples / asked.n_samples))


def test_what_a_trial_has_built_is_paid_for():
    """After a trial in a tree of all samples, that it is there counts, not what it took."""
    costs, n, k = current_costs(), 100_000, 10
    model = SearchCosts(costs, n, 8, 4, "l2", False)
    n_queries = int(model.build(n) / (0.99 * planner.WHOLE_SHARE * model.brute(k)))
    asked = request(n_queries=n_queries, n_samples=n, n_features=8)
    step = plan(asked, costs, Statistics())
    assert (type(step), step.n_samples) == (TryTree, n)
    points = np.linspace(24.0, n, 200_000)
    shares = np.array([model.search(k, p) / model.brute(k) for p in points[::100]])
    nearly = points[::100][np.flatnonzero(shares < 1.0 - 0.3 * planner.WHOLE_SHARE)[-1]]
    found = plan(asked, costs, Statistics().with_trial(Trial(nearly, 0.0)))
    assert found.algorithm == "kd_tree"


@pytest.mark.parametrize("times", [0.9, 1.1])
def test_small_trials_are_scaled_up_with_care(times):
    """What they visit more or less than expected changes the estimate by about as much."""
    asked, costs = request(n_queries=2000, n_samples=1_000_000, n_features=9), current_costs()
    model = SearchCosts(costs, asked.n_samples, 9, 4, "l2", False)
    step = plan(asked, costs, Statistics())
    assert step.n_samples < asked.n_samples
    expected = model.uniform_points(step.n_samples, step.k)
    trial = Statistics().with_trial(Trial(times * expected, None))
    reason = plan(asked, costs, trial).reason
    visited = float(reason.split("about ")[1].split(" of")[0].replace(",", ""))
    uniform = model.uniform_points(asked.n_samples, asked.k)
    assert visited == pytest.approx(uniform * times, rel=0.05)


@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean"])
def test_bounds_are_designed_before_they_are_chosen(metric):
    asked, costs = request(n_features=784, metric=metric), current_costs()
    step = plan(asked, costs, Statistics())
    assert step == DesignBounds(quick=False)
    pair = costs.pair_in_tiles("l1" if metric == "l1" else "l2", "f", 784)
    for share, algorithm in ((0.1, "bounded"), (0.79, "bounded"), (0.81, "brute"), (3.0, "brute")):
        estimate = BoundEstimate(share * pair, 0.0, (0.03, 0.001))
        chosen = plan(asked, costs, Statistics(design=estimate))
        assert chosen.algorithm == algorithm
        assert "bounds leave 3 %, then 0.1 % of the pairs" in chosen.reason
    rows_alone = BoundEstimate(0.0, pair * 10_000, (0.0,))
    assert plan(asked, costs, Statistics(design=rows_alone)).algorithm == "brute"
    assert plan(asked, costs, Statistics(design=False)) == (
        "brute", "there are no bounds for such values",
    )  # fmt: skip


def test_a_quick_look_where_a_design_would_take_too_long():
    asked, costs = request(n_queries=500, n_samples=30_000, n_features=784), current_costs()
    assert plan(asked, costs, Statistics()) == DesignBounds(quick=True)
    pair = costs.pair_in_tiles("l2", "f", 784)
    for look in (False, BoundEstimate(1.01 * pair, 0.0, (0.5,))):
        chosen = plan(asked, costs, Statistics(quick_look=look))
        assert chosen == ("brute", "bounds do not look promising")
    promising = Statistics(quick_look=BoundEstimate(0.99 * pair, 0.0, (0.5,)))
    assert plan(asked, costs, promising) == DesignBounds(quick=False)


def test_looks_at_bounds_may_take_a_share_of_the_time_of_all_threads():
    costs, d = current_costs(), 784
    pair = costs.pair_in_tiles("l2", "f", d)
    for n_threads in (1, 8):
        look = planner.QUICK_OVERHEAD_MS + planner.QUICK_MS * d
        n_queries = 1e6 * n_threads * look / planner.QUICK_SHARE / pair / 10_000
        for n, step in (
            (0.99 * n_queries, Plan("brute", "a search too short for a look at bounds")),
            (1.01 * n_queries, DesignBounds(quick=True)),
        ):
            asked = request(int(n), 10_000, n_features=d, n_threads=n_threads)
            assert plan(asked, costs, Statistics()) == step


@pytest.mark.parametrize(("share", "algorithm"), [(0.79, "bounded"), (0.81, "brute")])
def test_samples_and_queries_have_to_be_encoded(share, algorithm):
    asked, costs = request(n_queries=90_000, n_samples=100_000, n_features=784), current_costs()
    brute = 90_000 * 100_000 * costs.pair_in_tiles("l2", "f", 784)
    rows_alone = BoundEstimate(0.0, share * brute / 190_000, (0.0,))
    assert plan(asked, costs, Statistics(design=rows_alone)).algorithm == algorithm


def test_short_searches_and_metrics_without_bounds_are_brute_force():
    costs = current_costs()
    short = plan(request(n_queries=10, n_samples=1000, n_features=784), costs, Statistics())
    assert short == ("brute", "a search too short for a look at bounds")
    chosen = plan(request(n_features=784, metric="chebyshev"), costs, Statistics())
    assert chosen == ("brute", "no bounds for metric 'chebyshev'")
