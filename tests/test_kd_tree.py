"""The k-d tree: the exhaustive search's answers, bit for bit, whatever the data."""

import copy
import gc
import pickle
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datasets_for_search as data
import fastnn
import oracles
from fastnn._core.search._kd_tree import KDTree
from fastnn._search.searcher import Searcher
from oracles import assert_same

METRICS = ("l1", "l2", "sqeuclidean", "chebyshev")
metrics = pytest.mark.parametrize("metric", METRICS)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
CASE_NAMES = [f"{dtype.__name__}-{generator.__name__}" for dtype, generator in data.CASES]


def random_rows(rng, n, d, dtype):
    if dtype == np.uint8:
        return rng.integers(0, 256, (n, d), dtype=np.uint8)
    return rng.standard_normal((n, d)).astype(dtype)


# ---- the nearest ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "generator"), data.CASES, ids=CASE_NAMES)
@metrics
def test_hard_data(isa, metric, dtype, generator, rng):
    for n, d in ((700, 2), (300, 5), (90, 17)):
        Y = data.make(generator, rng, n, d, dtype)
        X = np.concatenate([data.make(generator, rng, 20, d, dtype), Y[:20]])
        found = KDTree(Y, metric, 2).kneighbors(X, 6, 2)
        assert_same(found, oracles.kneighbors(X, Y, 6, metric))


@pytest.mark.parametrize("d", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 97, 129, 300])
@metrics
@dtypes
def test_any_number_of_features(isa, d, metric, dtype, rng):
    """Sums of up to 8 terms, of up to 128 and of more come in different orders."""
    X, Y = (random_rows(rng, n, d, dtype) for n in (15, 400))
    found = KDTree(Y, metric, 2).kneighbors(X, 5, 2)
    assert_same(found, oracles.kneighbors(X, Y, 5, metric))


@pytest.mark.parametrize("n", [1, 2, 23, 24, 25, 47, 48, 49, 191, 192, 193, 1535, 1537, 20_000])
def test_any_number_of_samples(n, rng):
    """Around whole leaves, whole nodes and whole levels."""
    Y = rng.random((n, 3))
    X = rng.random((30, 3))
    for k in {1, min(n, 7), min(n, 24), min(n, 25), min(n, 300)}:
        assert_same(KDTree(Y, "l2", 2).kneighbors(X, k, 2), oracles.kneighbors(X, Y, k, "l2"))


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    d=st.integers(1, 9),
    levels=st.integers(1, 6),
    dtype=st.sampled_from([np.float32, np.float64, np.uint8]),
    metric=st.sampled_from(METRICS),
    exponent=st.integers(-30, 30),
)
def test_lattices(seed, n, d, levels, dtype, metric, exponent):
    """Ties and duplicates everywhere, at any scale."""
    rng = np.random.default_rng(seed)
    exponent *= dtype != np.uint8
    both = (rng.integers(0, levels, (n + 7, d)) * 10.0**exponent).astype(dtype)
    X, Y = both[:7], both[7:]
    k = int(rng.integers(1, n + 1))
    assert_same(KDTree(Y, metric, 2).kneighbors(X, k, 2), oracles.kneighbors(X, Y, k, metric))


@metrics
def test_all_samples_and_far_queries(metric, rng):
    Y = rng.random((500, 3))
    X = np.concatenate([1e6 + rng.random((5, 3)), -1e200 * np.ones((2, 3))])
    for k in (1, 500):
        assert_same(KDTree(Y, metric, 1).kneighbors(X, k, 1), oracles.kneighbors(X, Y, k, metric))


@pytest.mark.parametrize("k", [1, 24, 25, 700, 1400, 1500, 1900])
def test_roots_that_tie_where_their_squares_do_not(k, rng):
    """1 + 2^-52 has the root 1: what is further by that may come first, by its index."""
    angles = rng.uniform(0, 2 * np.pi, 2000)
    Y = np.column_stack([np.cos(angles), np.sin(angles)])
    X = np.zeros((1, 2))
    expected = oracles.kneighbors(X, Y, k, "l2")
    assert_same(KDTree(Y, "l2", 1).kneighbors(X, k, 1), expected)
    assert_same(fastnn.kneighbors(X, Y, k, algorithm="brute"), expected)


@metrics
def test_a_constant_feature(metric, rng):
    Y = np.column_stack([np.full(900, 3.0), rng.random(900)])
    assert_same(KDTree(Y, metric, 2).kneighbors(Y, 4, 2), oracles.kneighbors(Y, Y, 4, metric))


@metrics
@dtypes
def test_threads_and_batches_change_nothing(metric, dtype, rng):
    Y = random_rows(rng, 6000, 3, dtype)
    X = random_rows(rng, 3000, 3, dtype)
    expected = KDTree(Y, metric, 1).kneighbors(X, 8, 1)
    for n_threads in (2, 3, 7):
        assert_same(KDTree(Y, metric, n_threads).kneighbors(X, 8, n_threads), expected)
    tree = KDTree(Y, metric, 2)
    parts = [tree.kneighbors(X[i : i + 700], 8, 2)[:2] for i in range(0, 3000, 700)]
    assert_same([np.concatenate(p) for p in zip(*parts, strict=True)], expected)


@pytest.mark.parametrize("k", [1, 5, 40])
@metrics
def test_samples_among_themselves(metric, k, rng):
    X = np.concatenate([rng.random((700, 2)), np.full((60, 2), 0.5)])
    tree = KDTree(X, metric, 2)
    found = tree.kneighbors(X, k, 2, exclude_self=True)
    assert_same(found, oracles.kneighbors_of_itself(X, k, metric))
    assert_same(tree.kneighbors(X, k, 2), tree.kneighbors(X.copy(), k, 2))


def test_progress(rng):
    for n in (1, 20, 3000, 300_000):
        shares, Y = [], rng.random((n, 3))
        tree = KDTree(Y, "l2", 2, advance=shares.append)
        assert sum(shares) == pytest.approx(1.0)
        tree.kneighbors(rng.random((5000, 3)), 1, 2, shares.append)
        assert sum(shares) == pytest.approx(2.0)
        assert min(shares) > 0.0
    shares = []
    Searcher(Y, "l2", "kd_tree").kneighbors(Y[:9], 3, 2, shares.append)
    assert sum(shares) == pytest.approx(1.0)
    assert len(shares) >= 2  # building and searching


# ---- within a radius -----------------------------------------------------------------------------


@pytest.mark.parametrize("by_distance", [False, True])
@pytest.mark.parametrize("exclude_self", [False, True])
@metrics
@dtypes
def test_radius(metric, dtype, by_distance, exclude_self, rng):
    """On a lattice many samples are at exactly the radius."""
    Y = rng.integers(0, 9, (800, 3)).astype(dtype)
    X = Y if exclude_self else rng.integers(0, 9, (200, 3)).astype(dtype)
    for radius in (0.0, 2.0, 1e9):
        slices = KDTree(Y, metric, 2).radius_neighbors(X, radius, 2, by_distance, exclude_self)
        expected = oracles.radius_neighbors(X, Y, radius, metric, exclude_self)
        counts = np.concatenate([part[0] for part in slices])
        assert counts.tolist() == [len(row[1]) for row in expected]
        ends = np.cumsum(counts)
        distances, indices = (np.concatenate([part[i] for part in slices]) for i in (1, 2))
        for start, stop, (row_distances, row) in zip(
            np.append(0, ends), ends, expected, strict=False
        ):
            order = slice(None) if by_distance else np.argsort(row)
            np.testing.assert_array_equal(indices[start:stop], row[order])
            np.testing.assert_array_equal(distances[start:stop], row_distances[order])


@pytest.mark.parametrize("exclude_self", [False, True])
def test_radius_among_many_samples(exclude_self, rng):
    """Slices grow: they hold as many neighbors as there is room for."""
    X = np.concatenate([rng.random((30_000, 2)), np.full((500, 2), 0.25)])
    for radius in (0.0, 0.01):
        slices = KDTree(X, "l2", 2).radius_neighbors(X, radius, 2, False, exclude_self)
        brute = Searcher(X, "l2", "brute")
        expected = brute.radius_neighbors(X, radius, 2, False, exclude_self).slices
        assert 1 < len(slices) < 8
        for i in range(3):  # counts, distances, indices
            found, other = (np.concatenate([part[i] for part in s]) for s in (slices, expected))
            np.testing.assert_array_equal(found, other)


@pytest.mark.parametrize("n", [3000, 2**20 + 999])
def test_neighborhoods_of_all_sizes_ascend_by_index(n, rng):
    """From those that are sorted by insertion to those of many digits."""
    Y = rng.permutation(n).astype(np.float64)[:, None]
    tree, X = KDTree(Y, "l2", 2), Y[:100]
    for radius in (0.0, 7.0, 15.0, 16.0, 200.0, 2000.0):
        ((counts, distances, indices),) = tree.radius_neighbors(X, radius, 2)
        for found, row in zip(np.split(indices, np.cumsum(counts)[:-1]), X, strict=True):
            np.testing.assert_array_equal(found, np.flatnonzero(np.abs(Y - row) <= radius))
        ((_, without, same),) = tree.radius_neighbors(X, radius, 2, with_distances=False)
        assert without is None
        np.testing.assert_array_equal(same, indices)
        assert len(distances) == len(indices)


# ---- company -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite_gives_none(bad, dtype, rng):
    X, Y = rng.random((2, 500, 3)).astype(dtype)
    spoiled = Y.copy()
    spoiled[321, 1] = bad
    for rows, queries in ((spoiled, X), (Y, spoiled), (spoiled, spoiled)):
        assert KDTree(rows, "l2", 2).kneighbors(queries, 3, 2) is None
        assert KDTree(rows, "l2", 2).radius_neighbors(queries, 1.0, 2) is None
    with pytest.raises(ValueError, match=r"Y must hold finite numbers, got .* at row 321"):
        fastnn.kneighbors(X, spoiled, 3, algorithm="kd_tree")


@pytest.mark.parametrize(
    ("d", "dtype", "share"),
    [(1, np.float32, 2.2), (2, np.float32, 2), (3, np.float64, 2), (8, np.float32, 2)],
)
def test_takes_no_more_memory_than_twice_the_samples(rng, d, dtype, share):
    Y = rng.random((200_000, d)).astype(dtype)
    tracemalloc.start()
    try:
        tree = KDTree(Y, "l2", 2)
        assert tracemalloc.get_traced_memory()[1] < share * Y.nbytes + (64 << 10)
        tree.kneighbors(Y, 1, 2)
        assert tracemalloc.get_traced_memory()[1] < share * Y.nbytes + 17 * len(Y)
    finally:
        tracemalloc.stop()


def test_pickles_and_copies(rng):
    tree = KDTree(rng.random((900, 3)), "l1", 2)
    X = rng.random((50, 3))
    for other in (pickle.loads(pickle.dumps(tree)), copy.deepcopy(tree)):
        assert_same(other.kneighbors(X, 4, 2), tree.kneighbors(X, 4, 2))


def test_a_copy_outlives_the_tree(rng):
    """A shallow one has its memory."""
    Y = rng.random((20_000, 3))
    tree = KDTree(Y, "l2", 1)
    expected = tree.kneighbors(Y[:50], 4, 1)
    other = copy.copy(tree)
    assert sys.getrefcount(tree) > 2
    del tree
    gc.collect()
    spoil = [np.full(20_040, 2**31, np.uint32) for _ in range(50)]
    assert_same(other.kneighbors(Y[:50], 4, 1), expected)
    del spoil


@metrics
def test_bytes_are_widened(metric, rng):
    X, Y = rng.integers(0, 50, (2, 600, 3), dtype=np.uint8)
    for queries, exclude_self in ((X, False), (Y, True)):
        found = Searcher(Y, metric, "kd_tree").kneighbors(queries, 5, 2, exclude_self=exclude_self)
        expected = Searcher(Y, metric, "brute").kneighbors(queries, 5, 2, exclude_self=exclude_self)
        assert_same(found, expected)
