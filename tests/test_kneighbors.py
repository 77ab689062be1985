"""fastnn.kneighbors against the oracle, and the invariants it promises."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import datasets_for_search as data
import fastnn
import oracles
from fastnn._search.searcher import Searcher
from oracles import assert_same

DTYPES = [np.float32, np.float64, np.uint8]
METRICS = ["l1", "l2", "sqeuclidean", "chebyshev"]
# Around the widths of vectors, panels and words.
DEPTHS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 97, 130]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("dtype", "generator"), data.CASES, ids=data.CASE_NAMES)
def test_equals_the_oracle(isa, rng, dtype, generator, metric):
    for d in (1, 5, 16, 33, 128):
        both = data.make(generator, rng, 420, d, dtype)
        X, Y = np.ascontiguousarray(both[::7]), both
        for k in (1, 10, 100):
            assert_same(fastnn.kneighbors(X, Y, k, metric), oracles.kneighbors(X, Y, k, metric))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", DEPTHS)
def test_every_tail(isa, rng, d, dtype, metric):
    for n_queries, n_samples in [(1, 1), (2, 3), (5, 16), (6, 17), (7, 31), (13, 33), (50, 100)]:
        X = data.make(data.normal, rng, n_queries, d, dtype)
        Y = data.make(data.normal, rng, n_samples, d, dtype)
        for k in {1, min(3, n_samples), n_samples}:
            assert_same(fastnn.kneighbors(X, Y, k, metric), oracles.kneighbors(X, Y, k, metric))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_offset_cloud_of_a_thousand_queries(isa, rng, dtype, metric):
    """Centre 1e3, spread 0.1, d=128: where norm expansion has a recall of 0.003."""
    Y = data.make(data.offset, rng, 3000, 128, dtype)
    X = data.make(data.offset, rng, 1000, 128, dtype)
    assert_same(fastnn.kneighbors(X, Y, 10, metric), oracles.kneighbors(X, Y, 10, metric))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_answer_for_any_number_of_threads(isa, rng, dtype, metric):
    Y = data.make(data.duplicated, rng, 5000, 40, dtype)
    for n_queries in (1, 3, 30, 500):
        X = data.make(data.normal, rng, n_queries, 40, dtype)
        one = fastnn.kneighbors(X, Y, 12, metric, n_jobs=1)
        for n_jobs in (2, 3, 7, -1, None):
            assert_same(fastnn.kneighbors(X, Y, 12, metric, n_jobs=n_jobs), one)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_answer_for_any_batch_size(rng, dtype, metric):
    both = data.make(data.near_ties, rng, 900, 20, dtype)
    X, Y = both[:60], both[60:]
    whole = fastnn.kneighbors(X, Y, 9, metric)
    for size in (1, 4, 5, 6, 17):
        parts = [fastnn.kneighbors(X[i : i + size], Y, 9, metric) for i in range(0, 60, size)]
        assert_same([np.concatenate(p) for p in zip(*parts, strict=True)], whole)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_many_chunks_and_slices(rng, dtype, metric):
    """More rows than one packed chunk holds, more queries than one slice."""
    Y = data.make(data.normal, rng, 70_000, 3, dtype)
    X = data.make(data.normal, rng, 9_000, 3, dtype)
    distances, indices = fastnn.kneighbors(X, Y, 4, metric)
    some = rng.choice(9_000, 40, replace=False)
    assert_same((distances[some], indices[some]), oracles.kneighbors(X[some], Y, 4, metric))


def test_wide_rows(isa, rng):
    """More features than a block of samples is long, and than int32 sums of bytes allow."""
    Y = rng.integers(0, 256, (40, 45_000), dtype=np.uint8)
    X = rng.integers(0, 256, (7, 45_000), dtype=np.uint8)
    for metric in METRICS:
        assert_same(fastnn.kneighbors(X, Y, 5, metric), oracles.kneighbors(X, Y, 5, metric))
        assert_same(
            fastnn.kneighbors(X.astype(np.float32), Y.astype(np.float32), 5, metric),
            oracles.kneighbors(X, Y, 5, metric),
        )


def test_extreme_bytes(isa):
    """All 0 against all 255, the largest sums that bytes can give."""
    for d in (1, 8, 1000, 39_999, 40_001):
        Y = np.zeros((20, d), np.uint8)
        Y[::3] = 255
        X = np.zeros((6, d), np.uint8)
        X[::2] = 255
        for metric in METRICS:
            assert_same(fastnn.kneighbors(X, Y, 20, metric), oracles.kneighbors(X, Y, 20, metric))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_values_among_many_queries(rng, dtype):
    """Some rows too large for any tile: the search must fall back, not overflow."""
    Y = data.make(data.normal, rng, 600, 9, dtype)
    Y[::50] *= dtype(1e25)
    X = data.make(data.normal, rng, 40, 9, dtype)
    X[3] *= dtype(1e30)
    for metric in METRICS:
        assert_same(fastnn.kneighbors(X, Y, 30, metric), oracles.kneighbors(X, Y, 30, metric))


@pytest.mark.parametrize("metric", METRICS)
def test_identical_rows_are_at_distance_zero_and_ordered_by_index(rng, metric):
    Y = np.repeat(rng.standard_normal((30, 11)), 5, axis=0)[rng.permutation(150)]
    distances, indices = fastnn.kneighbors(Y, Y, 5, metric)
    assert (distances == 0.0).all()
    assert (np.diff(indices, axis=1) > 0).all()


@settings(max_examples=150)
@given(data=st.data())
def test_any_finite_values(data):
    """Hypothesis picks shapes and values, extremes and ties among them."""
    dtype = data.draw(st.sampled_from(DTYPES))
    d = data.draw(st.integers(1, 20))
    n = data.draw(st.integers(1, 60))
    n_queries = data.draw(st.integers(1, 12))
    if dtype == np.uint8:
        values = st.integers(0, 255)
    else:
        width = np.dtype(dtype).itemsize * 8
        values = st.floats(allow_nan=False, allow_infinity=False, width=width)
    X = data.draw(hnp.arrays(dtype, (n_queries, d), elements=values))
    Y = data.draw(hnp.arrays(dtype, (n, d), elements=values))
    k = data.draw(st.integers(1, n))
    metric = data.draw(st.sampled_from(METRICS))
    assert_same(fastnn.kneighbors(X, Y, k, metric), oracles.kneighbors(X, Y, k, metric))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_row_is_its_own_neighbor(isa, rng, dtype, metric):
    for generator in (data.normal, data.duplicated, data.constant, data.integers):
        X = data.make(generator, rng, 300, 17, dtype)
        searcher = Searcher(X, metric, "brute")
        for k in (1, 3, 10, 299):
            expected = oracles.kneighbors_of_itself(X, k, metric)
            for n_threads in (1, 2, 5):
                found = searcher.kneighbors(X, k, n_threads, exclude_self=True)[:2]
                assert_same(found, expected)


def test_cosine(rng):
    X, Y = rng.standard_normal((30, 9)), rng.standard_normal((200, 9))
    Y[7], X[3] = 0.0, 0.0
    Y[9] = 4.0 * X[5]
    Y[10] *= 1e-300
    Y[11] *= 1e300
    distances, indices = fastnn.kneighbors(X, Y, 200, "cosine")
    all_distances = np.take_along_axis(
        sklearn.metrics.pairwise.cosine_distances(X, np.ldexp(Y, -np.frexp(Y)[1].max(1)[:, None])),
        indices,
        axis=1,
    )
    both_zero = (indices == 7) & (np.arange(30) == 3)[:, None]
    np.testing.assert_allclose(distances[~both_zero], all_distances[~both_zero], atol=1e-15)
    assert indices[5, 0] == 9
    assert distances[5, 0] == 0.0
    # Unlike in scikit-learn, rows of zeros are identical to each other.
    assert indices[3, 0] == 7
    assert distances[3, 0] == 0.0
    np.testing.assert_allclose(distances[3, 1:], 1.0, atol=1e-15)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert distances.max() <= 2.0


def test_cosine_of_opposite_rows_is_at_most_two():
    X = np.random.default_rng(0).random((500, 7))
    distances, _ = fastnn.kneighbors(X, -X, 1, "cosine")
    assert fastnn.pairwise_distances(X, -X, "cosine").max() <= 2.0
    assert distances.max() <= 2.0


@pytest.mark.parametrize("algorithm", ["brute", "bounded", "kd_tree"])
@pytest.mark.parametrize("d", [3, 7, 70])
def test_opposite_rows_are_all_the_same_distance_away(rng, algorithm, d):
    """Whichever side of 2 rounding has left them on."""
    X = rng.standard_normal((20, d))
    for x in X:
        Y = -x * rng.random((300, 1))
        queries = np.tile(x, (70, 1))
        found = fastnn.kneighbors(queries, Y, 40, "cosine", algorithm=algorithm)
        assert_same(found, oracles.kneighbors(queries, Y, 40, "cosine"))
    assert oracles.distances(X, -X, "cosine").max() == 2.0


def test_permuting_samples_permutes_indices(rng):
    X, Y = rng.standard_normal((20, 6)), rng.standard_normal((200, 6))
    order = rng.permutation(200)
    distances, indices = fastnn.kneighbors(X, Y, 7)
    permuted_distances, permuted = fastnn.kneighbors(X, Y[order], 7)
    np.testing.assert_array_equal(order[permuted], indices)
    np.testing.assert_array_equal(permuted_distances, distances)


def test_metric_aliases(rng):
    X, Y = rng.standard_normal((5, 4)), rng.standard_normal((30, 4))
    for canonical, alias in [("l1", "manhattan"), ("l1", "cityblock"), ("l2", "euclidean")]:
        assert_same(fastnn.kneighbors(X, Y, 3, alias), fastnn.kneighbors(X, Y, 3, canonical))


@pytest.mark.parametrize("n_queries", [1, 40])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_non_finite_values_are_refused_wherever_they_are(rng, dtype, value, n_queries):
    X = rng.standard_normal((n_queries, 5)).astype(dtype)
    Y = rng.standard_normal((300, 5)).astype(dtype)
    what = "NaN" if np.isnan(value) else "infinity"
    for row in (0, 299):
        bad = Y.copy()
        bad[row, 3] = value
        with pytest.raises(ValueError, match=rf"Y must .* {what} at row {row}, column 3"):
            fastnn.kneighbors(X, bad)
    bad = X.copy()
    bad[-1, 0] = value
    with pytest.raises(ValueError, match=rf"X must .* {what} at row {n_queries - 1}, column 0"):
        fastnn.kneighbors(bad, Y)


def test_progress_bar(rng, capsys):
    X, Y = rng.standard_normal((100, 5)), rng.standard_normal((1000, 5))
    quiet = fastnn.kneighbors(X, Y, 3)
    assert capsys.readouterr().err == ""
    assert_same(fastnn.kneighbors(X, Y, 3, verbose=1), quiet)
    assert "kneighbors: 100%" in capsys.readouterr().err


def test_inputs_are_left_alone(rng):
    X, Y = rng.standard_normal((9, 5)), rng.standard_normal((40, 5))
    X.flags.writeable = Y.flags.writeable = False
    before = X.copy(), Y.copy()
    fastnn.kneighbors(X, Y, 3)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])


@pytest.mark.parametrize("algorithm", ["auto", "brute", "kd_tree"])
@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean", "chebyshev", "cosine"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_all_within_a_radius(rng, dtype, metric, algorithm):
    X, Y = rng.integers(0, 60, (30, 4)).astype(dtype), rng.integers(0, 60, (400, 4)).astype(dtype)
    radius = float(np.median(oracles.kneighbors(X, Y, 20, metric)[0][:, -1]))
    for sort_results in (False, True):
        distances, indices = fastnn.radius_neighbors(
            X, Y, radius, metric, algorithm=algorithm, sort_results=sort_results
        )
        for found_d, found_i, (d, i) in zip(
            distances, indices, oracles.radius_neighbors(X, Y, radius, metric), strict=True
        ):
            order = slice(None) if sort_results else np.argsort(i)
            np.testing.assert_array_equal(found_i, i[order])
            np.testing.assert_array_equal(found_d, d[order])


@pytest.mark.parametrize("p", [1, 2])
def test_weights_of_minkowski_distances(rng, p):
    X, Y, w = rng.random((20, 5)), rng.random((300, 5)), rng.random(5)
    arguments = {"metric": "minkowski", "p": p, "metric_params": {"w": w}}
    expected = oracles.kneighbors(X, Y, 7, ("minkowski", p, tuple(w)))
    assert_same(fastnn.kneighbors(X, Y, 7, **arguments), expected)
    radius = float(np.median(expected[0]))
    counts = [len(found) for found in fastnn.radius_neighbors(X, Y, radius, **arguments)[1]]
    whole = oracles.distances(X, Y, ("minkowski", p, tuple(w)))
    np.testing.assert_array_equal(counts, (whole <= radius).sum(axis=1))
    indices, distances = fastnn.neighbors.precomputed_knn(Y, 4, include_self=False, **arguments)
    found = fastnn.kneighbors(Y, Y, 5, **arguments)
    np.testing.assert_array_equal(indices, found[1][:, 1:])
    np.testing.assert_array_equal(distances, found[0][:, 1:])


def test_the_default_metric_is_that_of_the_estimators(rng):
    X = rng.random((50, 3))
    assert_same(fastnn.kneighbors(X, X, 3), fastnn.kneighbors(X, X, 3, "l2"))
    assert_same(fastnn.kneighbors(X, X, 3, p=1), fastnn.kneighbors(X, X, 3, "l1"))
    for algorithm in ("brute", "kd_tree"):
        found = fastnn.neighbors.precomputed_knn(X, 3, algorithm=algorithm)
        assert_same(found[::-1], fastnn.neighbors.precomputed_knn(X, 3)[::-1])


@pytest.mark.parametrize("radius", [-1.0, np.nan, -np.inf])
def test_radii_that_are_refused(radius):
    with pytest.raises(ValueError, match="radius must be a number >= 0"):
        fastnn.radius_neighbors([[0.0]], [[1.0]], radius)
    with pytest.raises(TypeError, match="radius must be a number"):
        fastnn.radius_neighbors([[0.0]], [[1.0]], "wide")


@pytest.mark.parametrize("algorithm", ["brute", "bounded", "kd_tree"])
def test_all_rows_are_within_an_infinite_radius(rng, algorithm):
    X = rng.random((40, 3))
    _, indices = fastnn.radius_neighbors(X[:5], X, np.inf, algorithm=algorithm)
    assert all(np.array_equal(row, np.arange(40)) for row in indices)


def test_defaults_of_the_functions(rng, capsys):
    X, Y = rng.random((20, 3)), rng.random((30, 3))
    assert fastnn.kneighbors(X, Y)[1].shape == (20, 5)
    found, expected = (fastnn.radius_neighbors(X, Y, *radius) for radius in ((), (1.0,)))
    for ours, plain in zip(found, expected, strict=True):
        for row, other in zip(ours, plain, strict=True):
            np.testing.assert_array_equal(row, other)
    assert sum(map(len, expected[1])) < 600, "some are further away"
    plain = fastnn.neighbors.precomputed_knn(X, n_neighbors=3)
    assert capsys.readouterr().err == ""
    np.testing.assert_equal(fastnn.neighbors.precomputed_knn(X, n_neighbors=3, verbose=1), plain)
    assert "queries" in capsys.readouterr().err
