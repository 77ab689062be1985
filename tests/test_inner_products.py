"""Inner products: the largest first, by the sum in float64."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import fastnn
import oracles
from fastnn import metrics
from fastnn.neighbors import (
    KNeighborsClassifier,
    NearestNeighbors,
    kneighbors_of_blocks,
    precomputed_knn,
)


def products(X, Y):
    with np.errstate(over="ignore", invalid="ignore"):
        return (X.astype(np.float64)[:, None] * Y.astype(np.float64)).sum(axis=2)


def largest(X, Y, k):
    exact = products(X, Y)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(exact, order, 1), order


def rows(rng, n, d, dtype):
    if dtype == np.uint8:
        return rng.integers(0, 256, (n, d), dtype=dtype)
    X = (rng.standard_normal((n, d)) + rng.standard_normal(d)).astype(dtype)
    X[n // 2 :] = X[: n - n // 2]  # ties
    return X


@pytest.mark.parametrize("isa", fastnn.available_isas())
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("d", [1, 2, 3, 7, 8, 9, 16, 17, 33, 130, 300])
def test_the_largest_come_first(isa, dtype, d, rng):
    before = fastnn.get_isa()
    fastnn.set_isa(isa)
    try:
        for n, n_queries in ((1, 1), (5, 3), (300, 1), (300, 40), (1500, 30)):
            X, Y = rows(rng, n_queries, d, dtype), rows(rng, n, d, dtype)
            for k in (1, min(7, n), n):
                for n_jobs in (1, 2):
                    found = fastnn.kneighbors(X, Y, k, "ip", n_jobs=n_jobs)
                    oracles.assert_same(found, largest(X, Y, k))
    finally:
        fastnn.set_isa(before)


@given(
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([1e-200, 1e-40, 1.0, 1e18, 1e150, 1e200]),
    offset=st.sampled_from([0.0, 1.0, 1e6]),
)
def test_hard_values(seed, scale, offset):
    rng = np.random.default_rng(seed)
    Y = (rng.integers(-3, 4, (120, 5)) + offset * rng.integers(0, 2, (120, 1))) * scale
    X = rng.standard_normal((20, 5)) * rng.choice([1.0, 1e-5, 1e5], (20, 1))
    oracles.assert_same(fastnn.kneighbors(X, Y, 9, "ip"), largest(X, Y, 9))
    model = NearestNeighbors(metric="ip").fit(Y)
    for _ in range(3):  # panels stay from the second search on
        oracles.assert_same(model.kneighbors(X, 9), largest(X, Y, 9))


def test_products_that_overflow_and_values_that_are_not_finite():
    Y = np.array([[1e300, 0.0], [-1e300, 1.0], [1.0, 1.0]])
    distances, indices = fastnn.kneighbors([[1e300, 0.0]], Y, 3, "ip")
    np.testing.assert_array_equal(indices, [[0, 2, 1]])
    np.testing.assert_array_equal(distances, [[np.inf, 1e300, -np.inf]])
    for wrong in (np.nan, np.inf, -np.inf):
        for n in (1, 50):
            X = np.ones((n, 2))
            X[-1, 1] = wrong
            with pytest.raises(ValueError, match="X must"):
                fastnn.kneighbors(X, Y, 1, "ip")
            with pytest.raises(ValueError, match="Y must"):
                fastnn.kneighbors(Y, X, 1, "ip")
    zeros = fastnn.kneighbors([[0.0, 0.0]], Y, 3, "ip")[0]
    assert not np.signbit(zeros).any()


@pytest.mark.parametrize("sort_results", [False, True])
@pytest.mark.parametrize("n_queries", [1, 60])
def test_at_least_so_much(sort_results, n_queries, rng):
    X, Y = rows(rng, n_queries, 20, np.float32), rows(rng, 500, 20, np.float32)
    exact = products(X, Y)
    radius = float(np.sort(exact, axis=1)[:, -30].max())
    distances, indices = fastnn.radius_neighbors(X, Y, radius, "ip", sort_results=sort_results)
    for i in range(n_queries):
        expected = np.flatnonzero(exact[i] >= radius)
        if sort_results:
            expected = expected[np.lexsort((expected, -exact[i][expected]))]
        np.testing.assert_array_equal(indices[i], expected)
        np.testing.assert_array_equal(distances[i], exact[i][expected])
    counts = fastnn.radius_neighbors(X, Y, radius, "ip", count_only=True)
    np.testing.assert_array_equal(counts, (exact >= radius).sum(axis=1))
    model = NearestNeighbors(metric="ip", radius=radius).fit(Y)
    radii = radius * rng.random(n_queries)
    found = model.radius_neighbors(X, radii, return_distance=False)
    for i in range(n_queries):
        np.testing.assert_array_equal(found[i], np.flatnonzero(exact[i] >= radii[i]))
    counts = model.radius_neighbors(X, radii, count_only=True)
    np.testing.assert_array_equal(counts, (exact >= radii[:, None]).sum(axis=1))
    among = products(Y, Y) >= radius
    np.fill_diagonal(among, False)
    counts = model.radius_neighbors(None, count_only=True)
    np.testing.assert_array_equal(counts, among.sum(axis=1))
    graph = scipy.sparse.vstack(
        list(model.iter_radius_neighbors_graph(X, mode="distance", max_pairs=50))
    )
    np.testing.assert_array_equal(graph.toarray(), np.where(exact >= radius, exact, 0.0))


def test_estimators(rng):
    X, Y = rows(rng, 20, 9, np.float64), rows(rng, 300, 9, np.float64)
    model = NearestNeighbors(n_neighbors=5, metric="ip").fit(Y)
    oracles.assert_same(model.kneighbors(X), largest(X, Y, 5))
    exact = products(Y, Y)
    np.fill_diagonal(exact, -np.inf)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :5]
    itself = np.take_along_axis(exact, order, 1), order
    oracles.assert_same(model.kneighbors(), itself)
    oracles.assert_same(precomputed_knn(Y, 5, "ip", include_self=False)[::-1], itself)
    mask = rng.random(300) < 0.3
    distances, indices = largest(X, Y[mask], 5)
    oracles.assert_same(model.kneighbors(X, where=mask), (distances, np.flatnonzero(mask)[indices]))
    assert model.effective_algorithm_ == "brute"
    model.partial_fit(X).remove(np.arange(0, 300, 2))
    left, all_rows = model.sample_indices_, np.concatenate([Y, X])
    distances, indices = largest(X, all_rows[left], 5)
    oracles.assert_same(model.kneighbors(X), (distances, left[indices]))
    graph = NearestNeighbors(n_neighbors=5, metric="ip").fit(Y).kneighbors_graph(X, mode="distance")
    np.testing.assert_array_equal(graph.data.reshape(20, 5), largest(X, Y, 5)[0])
    for algorithm in ("auto", "brute", "bounded", "kd_tree", "ivf"):
        recall = 0.9 if algorithm == "ivf" else 1.0
        found = fastnn.kneighbors(X, Y, 5, "ip", algorithm=algorithm, recall=recall)
        oracles.assert_same(found, largest(X, Y, 5))


def test_blocks(rng):
    X, Y = rows(rng, 20, 9, np.float32), rows(rng, 300, 9, np.float32)
    blocks = [Y[:100], Y[100:130], Y[130:]]
    oracles.assert_same(kneighbors_of_blocks(X, blocks, 7, "ip"), largest(X, Y, 7))


def test_what_is_not_served(rng):
    X = rng.random((9, 3))
    for parameters, words in (
        ({"algorithm": "kd_tree"}, "metric 'ip' needs algorithm 'auto' or 'brute', got 'kd_tree'"),
        ({"metric_params": {"w": 1}}, "metric 'ip' takes no metric_params"),
    ):
        with pytest.raises(ValueError, match=words):
            NearestNeighbors(metric="ip", **parameters).fit(X)
    with pytest.raises(ValueError, match="dense samples, got sparse"):
        NearestNeighbors(metric="ip").fit(scipy.sparse.csr_array(X))
    model = NearestNeighbors(metric="ip").fit(X)
    assert model.metric == model.effective_metric_ == "ip"
    with pytest.raises(ValueError, match="The 'metric' parameter"):
        KNeighborsClassifier(metric="ip").fit(X, np.arange(9) % 2)
    with pytest.raises(ValueError, match="ip"):
        metrics.pairwise_distances(X, metric="ip")
    with pytest.raises(TypeError, match="no kernel takes 'ip' of uint8"):
        fastnn._core.search._index.FlatIndex(np.zeros((2, 2), np.uint8), "ip")


def test_a_product_of_zero_is_no_limit():
    Y = np.array([[0.0, 1.0], [0.5, 0.0], [0.25, 0.0]])
    oracles.assert_same(
        fastnn.kneighbors([[1.0, 0.0]], Y, 1, "ip"), (np.array([[0.5]]), np.array([[1]]))
    )
    oracles.assert_same(
        fastnn.kneighbors([[1.0, 0.0]], Y, 2, "ip"), (np.array([[0.5, 0.25]]), np.array([[1, 2]]))
    )


def test_infinity_whose_products_are_positive():
    Y = np.ones((9, 2))
    Y[4, 1] = np.inf
    for n in (1, 60):
        with pytest.raises(ValueError, match="Y must"):
            fastnn.kneighbors(np.ones((n, 2)), Y, 1, "ip")
