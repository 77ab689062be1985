"""When "auto" takes the tree. No clock is read: choices are functions of the data."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn
from fastnn import _tree_choice
from fastnn._core._kd_tree import KDTree
from fastnn._indexes import Index
from fastnn._tree_choice import SearchCosts


def clusters(rng, n, d, width=0.003):
    return rng.random((200, d))[rng.integers(0, 200, n)] + width * rng.standard_normal((n, d))


def choice(Y, X, k=10, metric="l2", radius=None):
    """Return the index after one search."""
    index = Index(Y, metric)
    if radius is None:
        index.kneighbors(X, k, 2)
    else:
        index.radius_neighbors(X, radius, 2, False)
    return index


@pytest.mark.parametrize("k", [1, 10, 24])
@pytest.mark.parametrize(("n", "d"), [(1000, 2), (20_000, 3), (20_000, 6), (50_000, 9)])
@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean", "chebyshev"])
def test_the_formula_says_how_many_samples_are_looked_at(metric, n, d, k, rng):
    Y, X = rng.random((n, d)), rng.random((500, d))
    looked_at = KDTree(Y, metric, 2).kneighbors(X, k, 2)[2] / len(X)
    estimate = SearchCosts(n, d, 8, metric, False).uniform_points(n, k)
    assert estimate / 1.6 < looked_at < 1.6 * estimate


def test_few_features_and_many_queries_make_a_tree(rng):
    Y = rng.random((20_000, 3)).astype(np.float32)
    index = choice(Y, Y)
    assert index.kind == "kd_tree"
    assert "of 20,000 samples for a query" in index.reason


def test_many_features_make_none(rng):
    Y = rng.random((5000, 16)).astype(np.float32)
    index = choice(Y, Y)
    assert index.kind == "brute"
    assert not index.has_tree
    assert index.reason.startswith("a tree looks at about 4,9")


def test_clusters_are_seen(rng):
    """In a trial of some samples, in one of more, and in the tree itself."""
    Y = clusters(rng, 20_000, 14).astype(np.float32)
    for n_queries in (500, 2000, 20_000):
        assert choice(Y, Y[:n_queries]).kind == "kd_tree"


@pytest.mark.parametrize(("n", "n_queries"), [(20_000, 20_000), (20_000, 2000), (200_000, 1000)])
def test_equal_samples_are_seen(n, n_queries):
    """By the formula for a uniform cloud a tree pays; but here it looks at all samples."""
    Y = np.zeros((n, 3), np.uint8)
    index = choice(Y, Y[:n_queries].copy())
    assert index.kind == "brute"
    assert not index.has_tree
    assert f"looks at about {n:,} of {n:,}" in index.reason


def test_equal_floats_are_worse_without_a_tree(rng):
    """Tiles cannot tell which of them are neighbors, and evaluate them all."""
    Y = rng.random((20_000, 3)).astype(np.float32)
    Y[::2] = 0.0
    index = choice(Y, Y[:2000].copy())
    assert index.kind == "kd_tree"


def test_few_samples_need_no_trial(rng):
    Y = rng.random((2000, 2))
    index = choice(Y, Y)
    assert index.kind == "kd_tree"
    assert index.reason.startswith("by the formula")


@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean", "chebyshev"])
def test_radii(metric, rng):
    """In a few dimensions neighbors are found by the tree; in many a ball meets most leaves."""
    Y = rng.random((10_000, 3))
    assert choice(Y, Y, metric=metric, radius=0.001).kind == "kd_tree"
    Y = rng.random((5000, 16))
    radius = float(np.quantile(fastnn.pairwise_distances(Y[:50], Y, metric), 0.01))
    assert choice(Y, Y, metric=metric, radius=radius).kind == "brute"


def test_short_searches_make_no_tree(rng):
    Y = rng.random((20_000, 3))
    index = choice(Y, Y[:10])
    assert (index.kind, index.reason) == ("brute", "a search too short to make up for a tree")


def test_short_searches_add_up(rng):
    Y = rng.random((20_000, 3))
    index = Index(Y, "l2")
    kinds = []
    for row in Y[:1000]:
        index.kneighbors(row[None], 3, 2)
        kinds.append(index.kind)
    assert kinds[0] == "brute"
    assert kinds[-1] == "kd_tree"
    assert kinds == sorted(kinds), "it does not go back and forth"


def test_wider_queries_tell_what_they_used(rng):
    Y = rng.random((20_000, 3)).astype(np.float32)
    index = choice(Y, rng.random((20_000, 3)))
    assert index.kind == "kd_tree"
    assert "of 20,000 samples" in index.reason


class Dropping(dict):
    """Of an index: another thread drops the tree as soon as this one has looked for it."""

    def __contains__(self, kind):
        found = super().__contains__(kind)
        if found and kind == "kd_tree":
            del self[kind]
        return found


def test_another_thread_may_drop_the_tree(rng):
    Y = rng.random((20_000, 3))
    index = choice(Y, Y)
    index._structures = Dropping(index._structures)
    np.testing.assert_array_equal(
        index.kneighbors(Y[:50], 3, 2)[1], Index(Y, "l2", "brute").kneighbors(Y[:50], 3, 2)[1]
    )


def test_threads_share_an_index(rng):
    """Each of them chooses, and some choices drop the tree of others."""
    Y = rng.random((20_000, 9)).astype(np.float32)
    index = Index(Y, "l2")
    radius = float(np.quantile(fastnn.pairwise_distances(Y[:50], Y), 0.01))
    neighbors = Index(Y, "l2", "brute").kneighbors(Y[:3000], 10, 2)[1]
    slices = Index(Y, "l2", "brute").radius_neighbors(Y[:300], radius, 2, False)
    counts = np.concatenate([part[0] for part in slices])

    def search(i):
        for n in (30, 300, 3000):
            np.testing.assert_array_equal(index.kneighbors(Y[:n], 10, 1)[1], neighbors[:n])
            slices = index.radius_neighbors(Y[:300], radius, 1, False)
            found = np.concatenate([part[0] for part in slices])
            np.testing.assert_array_equal(found, counts)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(search, range(8)))


def test_a_tree_that_is_there_serves_both(rng):
    """A tree for neighbors takes no time to make for radii, and stays where radii do without."""
    Y = rng.random((60_000, 9)).astype(np.float32)
    index = choice(Y, Y)
    tree = index.tree(2)
    index.radius_neighbors(Y[:5], 0.01, 2, False)
    assert index.kind == "kd_tree"
    radius = float(np.quantile(fastnn.pairwise_distances(Y[:50], Y), 0.01))
    index.radius_neighbors(Y[:3000], radius, 2, False)
    assert index.kind == "brute", index.reason
    index.kneighbors(Y[:20], 10, 2)
    assert index.kind == "kd_tree"
    assert index.tree(2) is tree


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_named(bad, rng):
    Y = rng.random((30_000, 3))
    spoiled = Y.copy()
    spoiled[4321, 1] = bad
    for X, samples, name in ((Y, spoiled, "Y"), (spoiled, Y, "X")):
        with pytest.raises(ValueError, match=f"{name} must hold finite numbers, .* at row 4321"):
            fastnn.kneighbors(X, samples, 3)
        with pytest.raises(ValueError, match=f"{name} must hold finite numbers"):
            Index(samples, "l2").radius_neighbors(X, 0.01, 2, False)


@pytest.mark.parametrize("n", [1, 2, 23, 24, 25, 100])
def test_few_samples_and_many_queries(n, rng):
    """No logarithm of one sample, no trial of more samples than there are."""
    Y, X = rng.random((n, 2)), rng.random((30_000, 2))
    expected = fastnn.kneighbors(X, Y, n, algorithm="brute")
    for found, right in zip(fastnn.kneighbors(X, Y, n), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_trials_are_as_large_as_they_may_be():
    costs = SearchCosts(1_000_000, 8, 4, "l2", False)
    whole = costs.build(1_000_000)
    sizes = _tree_choice._sizes_of_trials
    assert sizes(costs, 1000 * whole, whole, False) == [1_000_000]
    assert sizes(costs, 20 * whole, whole, False) == [250_000, 1_000_000]
    assert sizes(costs, 20 * whole, whole, True) == [1_000_000]
    assert sizes(costs, 1e-4 * whole, whole, True) == []
    assert sizes(costs, 1e-4 * whole, 0.0, False) == [1_000_000]
