"""Metrics that move the rows: the same neighbors as by the formula, and no copy of the samples."""

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import DistanceMetric

import datasets_for_search as data
import fastnn
import oracles
from fastnn._search.metric_spaces import space_of
from fastnn._search.searcher import Searcher
from fastnn.neighbors import NearestNeighbors
from oracles import assert_same

# Around the widths of vectors, the leaves of sums and the strips of panels.
WIDTHS = (1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 300)


def some_rows(rng, n, d, dtype):
    rows = rng.standard_normal((n, d)) * 40.0 + 100.0
    rows[n // 2 :] -= 100.0 if dtype != np.uint8 else 20.0
    rows[3], rows[4] = rows[2], 2.0 * rows[2]
    rows[n // 3] = 0.0
    return np.clip(rows, 0, 255).astype(dtype) if dtype == np.uint8 else rows.astype(dtype)


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_cosine_is_the_formula_bit_for_bit(rng, isa, dtype, d):
    Y = some_rows(rng, 150, d, dtype)
    for n_queries in (1, 4, 5, 40):
        X = np.vstack([Y[: n_queries // 2], some_rows(rng, n_queries + 7, d, dtype)])[:n_queries]
        expected = oracles.kneighbors(X, Y, 9, "cosine")
        for n_threads in (1, 2):
            assert_same(fastnn.kneighbors(X, Y, 9, "cosine", n_jobs=n_threads), expected)


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("p", [1, 2])
def test_weighted_distances_are_the_formula_bit_for_bit(rng, isa, dtype, p, d):
    Y = some_rows(rng, 150, d, dtype)
    w = rng.random(d) * 10.0
    w[rng.random(d) < 0.2] = 0.0
    for n_queries in (1, 4, 5, 40):
        X = np.vstack([Y[: n_queries // 2], some_rows(rng, n_queries + 7, d, dtype)])[:n_queries]
        model = NearestNeighbors(metric="minkowski", p=p, metric_params={"w": w}).fit(Y)
        assert_same(model.kneighbors(X, 9), oracles.kneighbors(X, Y, 9, ("minkowski", p, tuple(w))))


def test_integer_weights_keep_ties(rng):
    """Sums of whole numbers are exact, so ties are ties, and go by the index."""
    for _ in range(30):
        w = rng.integers(1, 8, 7).astype(float)
        theirs = DistanceMetric.get_metric("minkowski", p=2, w=w)
        X, Y = (rng.integers(-3, 4, (n, 7)).astype(float) for n in (20, 100))
        order = np.argsort(theirs.pairwise(X, Y), axis=1, kind="stable")[:, :10]
        model = NearestNeighbors(metric="minkowski", p=2, metric_params={"w": w}).fit(Y)
        np.testing.assert_array_equal(model.kneighbors(X, 10)[1], order)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("weight", [1e-300, 1e-60, 1.0, 1e60, 1e300])
@pytest.mark.parametrize("size", [1e-150, 1e-30, 1.0, 1e30, 1e150])
def test_extreme_weights_and_values(rng, p, weight, size):
    """A weight meets a difference when that is rounded, in tiles as well as row by row."""
    X, Y = rng.standard_normal((9, 5)) * size, rng.standard_normal((60, 5)) * size
    w = np.array([weight, 1.0, 2.0, weight, 0.0])
    model = NearestNeighbors(metric="minkowski", p=p, metric_params={"w": w}, n_jobs=1).fit(Y)
    expected = oracles.kneighbors(X, Y, 7, ("minkowski", p, tuple(w)))
    assert_same(model.kneighbors(X, 7), expected)
    assert_same(model.kneighbors(X[:2], 7), [whole[:2] for whole in expected])


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("kind", ["brute", "bounded", "kd_tree"])
def test_what_has_no_weight_may_overflow(rng, p, kind):
    X, Y = rng.standard_normal((150, 5)), rng.standard_normal((1200, 5))
    w = np.array([1.0, 0.0, 2.0, 0.0, 0.5])
    oracle = "minkowski", p, tuple(w)
    expected = oracles.kneighbors(X, Y, 7, oracle)
    pairwise = oracles.distances(X, Y, oracle)
    for values in (X, Y):
        values[:, 1] *= 1e300
        values[::2, 3] = -1.7e308
        values[1::2, 3] = 1.7e308
    index = Searcher(Y, space_of("minkowski", p=p, w=w), kind)
    for n in (2, 9, len(X)):
        assert_same(index.kneighbors(X[:n], 7, 2), [part[:n] for part in expected])
    found = fastnn.pairwise_distances(X, Y, "minkowski", p=p, w=w)
    np.testing.assert_allclose(found, pairwise, rtol=1e-12)


def test_cosine_of_extreme_rows(rng):
    Y = rng.standard_normal((300, 20))
    Y *= 10.0 ** rng.integers(-307, 307, (300, 1))
    Y[0], Y[1], Y[2] = 5e-324, 1.7e308, 0.0
    Y[3, ::2] = 1e-310
    X = Y[::7].copy()
    for n in (3, len(X)):
        found = fastnn.kneighbors(X[:n], Y, 12, "cosine")
        assert_same(found, oracles.kneighbors(X[:n], Y, 12, "cosine"))


@pytest.mark.parametrize("metric", ["cosine", "minkowski"])
def test_all_kinds_of_index_agree(rng, metric):
    for d in (3, 6, 70):
        Y = some_rows(rng, 1500, d, np.float32)
        parameters = {} if metric == "cosine" else {"p": 1, "w": rng.random(d)}
        space = space_of(metric, **parameters)
        for X in (Y[:130], Y):
            found = [
                Searcher(Y, space, kind).kneighbors(X, 5, 2, exclude_self=X is Y)
                for kind in ("brute", "auto", "bounded", "kd_tree")
            ]
            for other in found[1:]:
                assert_same(other, found[0])
        within = [
            Searcher(Y, space, kind).radius_neighbors(Y[:130], found[0][0].mean(), 2, True).slices
            for kind in ("brute", "kd_tree")
        ]
        for ours, other in zip(*within, strict=True):
            for values, others in zip(ours, other, strict=True):
                np.testing.assert_array_equal(values, others)


@pytest.mark.parametrize("metric", ["cosine", "minkowski"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("n_queries", [1, 40])
def test_non_finite_values_are_refused(rng, metric, value, n_queries):
    w = {"metric_params": {"w": np.r_[0.0, np.ones(8)]}} if metric == "minkowski" else {}
    X, Y = rng.random((n_queries, 9)), rng.random((100, 9))
    model = NearestNeighbors(metric=metric, **w).fit(Y)
    X[0, 0] = value
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        model.kneighbors(X)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        model.radius_neighbors(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("d", [40, 97, 600])
@pytest.mark.parametrize("n_queries", [1, 2, 3, 4, 5])
def test_few_queries_under_cosine(rng, dtype, d, n_queries, isa):
    """Products of rows tell which are worth an exact distance; norms may be extreme, or zero."""
    Y = data.make(data.normal, rng, 900, d, dtype)
    Y[:30] = Y[450:480]  # duplicates are at the same distance
    X = Y[rng.integers(0, 900, n_queries)].copy()
    if dtype != np.uint8:
        Y[100:140] *= 10.0 ** np.linspace(-30, 18, 40, dtype=dtype)[:, None]
        # Products in float32 do not tell these apart.
        Y[300:600] = Y[3] * (1 + 1e-5 * rng.standard_normal((300, d)))
        X[0], X[-1] = Y[3], Y[450]
        X[0] *= dtype(1e-25)
    Y[200:205] = 0
    for queries in (X, np.zeros_like(X)):
        expected = oracles.kneighbors(queries, Y, 12, "cosine")
        np.testing.assert_array_equal(
            fastnn.kneighbors(queries, Y, 12, "cosine", algorithm="brute"), expected
        )


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("metric", ["cosine", "minkowski"])
def test_samples_are_not_copied(rng, metric, dtype):
    Y = rng.integers(0, 256, (20_000, 256)).astype(dtype)
    w = {"metric_params": {"w": rng.random(256)}} if metric == "minkowski" else {}
    models = [NearestNeighbors(metric=metric, algorithm="brute", **w).fit(Y) for _ in range(2)]
    tracemalloc.start()
    try:
        for model, X in zip(models, (Y[:1], Y[:200]), strict=True):
            model.kneighbors(X)
        # Panels of a chunk, and two numbers a row.
        assert tracemalloc.get_traced_memory()[1] < 15 << 20
        # A search that comes again keeps panels, within its budget.
        model.kneighbors(Y[:200].astype(np.float64))
        assert tracemalloc.get_traced_memory()[1] < (17 << 20) + Y.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("d", [2, 50, 3000])
def test_pairwise_cosine_of_nearly_parallel_rows(rng, isa, d):
    """Norms are rounded, which moves rows by some 1e-15 of themselves: no relative error holds."""
    X = rng.standard_normal((60, d))
    Y = 3.0 * X + 10.0 ** -rng.integers(1, 12, (60, 1)) * rng.standard_normal((60, d))
    units = [
        Z / np.sqrt(np.square(Z).sum(axis=1, keepdims=True)) for Z in map(np.longdouble, (X, Y))
    ]
    exact = 0.5 * oracles.distances(*units, "sqeuclidean", np.longdouble)
    assert exact.min() < 1e-18
    error = np.abs(fastnn.pairwise_distances(X, Y, "cosine") - exact)
    assert (error <= 1e-12 * exact + 1e-14 * np.sqrt(exact) + 1e-29).all()


@pytest.mark.parametrize("longer", [1.0, 1.01, 30.0, 1e6])
@pytest.mark.parametrize("d", [30, 784, 5000])
def test_pairwise_cosine_of_float32_rows_in_like_directions(rng, isa, d, longer):
    """Their products are spoiled; how long they are must not spoil what they are replaced by."""
    X = rng.random((40, d)).astype(np.float32)
    apart = 10.0 ** rng.uniform(-6, 0, (40, 1))
    Y = (longer * (X + apart * rng.standard_normal((40, d)))).astype(np.float32)
    exact = oracles.distances(X.astype(np.float64), Y.astype(np.float64), "cosine")
    found = fastnn.pairwise_distances(X, Y, "cosine")
    assert (np.abs(found - exact) <= 2e-6 * exact).all()


def test_pairwise_cosine_where_lengths_make_most_of_differences(rng, isa):
    """Squares of differences are rounded in one direction, and most of their sum is subtracted."""
    signs = np.where(np.arange(4096) % 2, 1.0, -1.0)
    aside = np.repeat([1.0, -1.0], 2048)
    longer = rng.integers(1 << 14, 1 << 15, (64, 1)) * 2.0**-12
    X = (8 * signs + longer * (signs + aside / 8)).astype(np.float32)
    Y = (8 * signs[None]).astype(np.float32)
    exact = oracles.distances(X, Y, "cosine")
    assert (np.abs(fastnn.pairwise_distances(X, Y, "cosine") - exact) <= 2e-6 * exact).all()


@pytest.mark.parametrize("d", [5, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_pairwise_cosine_of_rows_of_zeros(rng, isa, dtype, d):
    X = rng.integers(0, 200, (70, d)).astype(dtype)
    X[::3] = 0
    expected = oracles.distances(X, X, "cosine")
    assert set(expected[0]) >= {0.0, 1.0}
    for found in (
        fastnn.pairwise_distances(X, X[:], "cosine"),
        fastnn.pairwise_distances(X, metric="cosine"),
    ):
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-15)
        np.testing.assert_array_equal(found[::3], expected[::3].astype(found.dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pairwise_cosine_over_the_range_of_the_type(rng, isa, dtype):
    """Rows are divided by their norms whatever these are, beside others of any size."""
    X = rng.standard_normal((40, 80))
    scales = 10.0 ** rng.integers(-18, 18, (40, 1)) if dtype == np.float32 else 1.0
    if dtype == np.float64:
        scales = 10.0 ** rng.integers(-150, 150, (40, 1))
    found = fastnn.pairwise_distances((X * scales).astype(dtype), metric="cosine")
    expected = oracles.distances((X * scales).astype(dtype), X * scales, "cosine")
    np.testing.assert_allclose(
        found, expected, rtol=1e-5 if dtype == np.float32 else 1e-11, atol=1e-13
    )


def test_differences_whose_squares_have_no_room():
    X = np.array([[0.0], [1e-170], [1e-150], [1e150], [1e200]])
    with np.errstate(over="ignore"):
        found = fastnn.pairwise_distances(X, metric="l2")[0]
    np.testing.assert_allclose(found[[0, 2, 3]], [0.0, 1e-150, 1e150], rtol=1e-12)
    assert found[1] == 0.0
    assert found[4] == np.inf
    np.testing.assert_array_equal(fastnn.pairwise_distances(X, metric="l1")[0], X[:, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pairwise_distances_have_the_dtype_of_their_rows(rng, dtype):
    X, Y = rng.random((30, 9)).astype(dtype), rng.random((40, 9)).astype(dtype)
    w = rng.random(9)
    for metric, parameters in (("cosine", {}), ("minkowski", {"p": 2, "w": w})):
        found = fastnn.pairwise_distances(X, Y, metric, **parameters)
        expected = oracles.distances(X, Y, metric if metric == "cosine" else (metric, 2, tuple(w)))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=1e-13 if dtype == np.float64 else 1e-6)


def test_pairwise_weighted_distances_of_near_rows(rng):
    """Weights meet the differences, not the rows, whose rounding would show here."""
    X = 1e6 + rng.standard_normal((50, 8))
    w = rng.random(8)
    for p in (1, 2):
        found = fastnn.pairwise_distances(X, metric="minkowski", p=p, w=w)
        expected = oracles.distances(X, X, ("minkowski", p, tuple(w)))
        np.testing.assert_allclose(found, expected, rtol=1e-13)
        np.testing.assert_allclose(
            found, DistanceMetric.get_metric("minkowski", p=p, w=w).pairwise(X), rtol=1e-13
        )


@pytest.mark.parametrize("algorithm", ["brute", "bounded", "kd_tree"])
@pytest.mark.parametrize("radius", [0.0, 0.3, 1.2, 1.99, 2.0, 2.5])
def test_radii_of_cosine(algorithm, radius, rng):
    Y = np.concatenate([rng.standard_normal((300, 70)), -np.ones((1, 70))])
    X = np.concatenate([rng.standard_normal((9, 70)), np.ones((1, 70)), Y[:3]])
    exact = oracles.distances(X, Y, "cosine")
    distances, indices = fastnn.radius_neighbors(X, Y, radius, "cosine", algorithm=algorithm)
    for i, within in enumerate(exact <= radius):
        np.testing.assert_array_equal(indices[i], np.flatnonzero(within))
        np.testing.assert_array_equal(distances[i], exact[i, within])


def test_which_spaces_are_plain():
    assert space_of("l2").is_plain
    assert not space_of("cosine").is_plain
    assert not space_of("minkowski", p=2, w=np.ones(3)).is_plain
